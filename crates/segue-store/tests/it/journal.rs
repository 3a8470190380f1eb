//! Batches, groups, and what is found again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use segue_proto::{Continuity, Lsn};
use segue_store::{ChunkSync, Point, QUEUE_BATCHES, Reason, StoreError};

use crate::util::{Place, batch, entries};

#[test]
fn a_new_store_is_empty_and_proven() {
    let place = Place::new();
    assert_eq!(place.look(), (entries(&[]), Lsn(0), Continuity::Proven));
    assert_eq!(place.look(), (entries(&[]), Lsn(0), Continuity::Proven));
}

#[test]
fn what_is_durable_is_found_again() {
    let place = Place::new();
    let mut store = place.open();
    let id = store.opened.store_id;
    store.submit(&[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))], false);
    store.submit(&[("b", None), ("absent", None), ("", Some(""))], false);
    store.wait_for(Lsn(2));
    drop(store);
    assert_eq!(place.look(), (entries(&[("a", "3"), ("", "")]), Lsn(2), Continuity::Proven));
    let mut store = place.open();
    assert_eq!(store.opened.store_id, id);
    assert_eq!(store.put("c", "4"), Lsn(3));
}

#[test]
fn closing_commits_what_was_submitted() {
    let place = Place::new();
    let mut store = place.open();
    for n in 0..100 {
        store.submit(&[(&format!("{n}"), Some("x"))], false);
    }
    store.journal.close();
    let (found, last, _) = place.look();
    assert_eq!((found.len(), last), (100, Lsn(100)));
}

#[test]
fn batches_that_wait_share_a_commit_and_a_commit_is_one_sync() {
    let place = Place::new();
    let (mut store, keeper) = place.open_gated(Point::Commit, |hooks| hooks);
    let before = store.journal.stats();
    store.submit(&[("first", Some("x"))], false);
    keeper.arrival();
    for n in 0..500 {
        store.submit(&[(&format!("{n}"), Some("x"))], false);
    }
    keeper.pass();
    assert_eq!(store.durable(), Lsn(1));
    keeper.arrival();
    keeper.pass();
    assert_eq!(store.durable(), Lsn(501));
    let after = store.journal.stats();
    assert_eq!((after.batches, after.commits, after.syncs - before.syncs), (501, 2, 2));
}

#[test]
fn a_commit_alone_is_one_sync_too_and_growth_costs_another() {
    let place = Place::new();
    let mut store = place.open();
    let before = store.journal.stats();
    for n in 0..200 {
        store.put(&format!("key {}", n % 40), &"value ".repeat(n * 4));
    }
    let after = store.journal.stats();
    let growths = after.growths - before.growths;
    assert_eq!((after.commits, after.syncs - before.syncs), (200, 200 + growths));
    assert!((1..=4).contains(&growths), "{growths}");
}

#[test]
fn the_queue_is_bounded_and_ordered() {
    let place = Place::new();
    let (mut store, keeper) = place.open_gated(Point::Commit, |hooks| hooks);
    let rejected = store.journal.submit(batch(Lsn(2), &[], false)).unwrap_err();
    assert_eq!(rejected.reason, Reason::OutOfOrder(Lsn(1)));
    store.submit(&[], false);
    keeper.arrival();
    for _ in 0..QUEUE_BATCHES {
        store.submit(&[], false);
    }
    let next = Lsn(QUEUE_BATCHES as u64 + 2);
    let rejected = store.journal.submit(batch(next, &[("k", Some("v"))], false)).unwrap_err();
    assert_eq!((rejected.reason, rejected.batch.lsn), (Reason::Full, next));
    keeper.pass();
    assert_eq!(store.durable(), Lsn(1));
    keeper.arrival();
    store.journal.submit(rejected.batch).unwrap();
    drop(keeper);
    store.wait_for(next);
}

#[test]
fn a_store_has_one_user_and_says_where() {
    let place = Place::new();
    let store = place.open();
    let error = place.open_with(|hooks| hooks).err().unwrap();
    assert!(matches!(&error, StoreError::InUse { dir } if *dir == place.dir().canonicalize().unwrap()), "{error}");
    assert!(error.to_string().contains(place.dir().canonicalize().unwrap().to_str().unwrap()));
    drop(store);
    place.open();
}

#[test]
fn the_lock_covers_the_whole_directory_not_only_the_database() {
    let place = Place::new();
    drop(place.open());
    let lock = std::fs::File::open(place.dir().join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(place.open_with(|hooks| hooks), Err(StoreError::InUse { .. })));
    lock.unlock().unwrap();
    place.open();
}

/// Chunks that are pending until they are synced.
#[derive(Default)]
struct Chunks {
    pending: AtomicBool,
    syncs: AtomicU64,
}

impl ChunkSync for Chunks {
    fn pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.pending.store(false, Ordering::SeqCst);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn only_what_stands_behind_chunks_waits_for_them() {
    let place = Place::new();
    let chunks = Arc::new(Chunks::default());
    let hooked = Arc::clone(&chunks);
    let (mut store, keeper) = place.open_gated(Point::Commit, |hooks| hooks.chunks(hooked));
    store.submit(&[], false);
    keeper.arrival();
    chunks.pending.store(true, Ordering::SeqCst);
    for after_chunks in [false, true, false, true] {
        store.submit(&[], after_chunks);
    }
    let syncs = || chunks.syncs.load(Ordering::SeqCst);
    keeper.pass();
    assert_eq!(store.durable(), Lsn(1));
    keeper.arrival();
    assert_eq!(syncs(), 0);
    keeper.pass();
    assert_eq!(store.durable(), Lsn(2));
    keeper.arrival();
    assert_eq!(syncs(), 1);
    keeper.pass();
    assert_eq!((store.durable(), syncs()), (Lsn(5), 1));
    assert_eq!(store.journal.stats().chunk_syncs, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any writes, in any batches, over any number of openings, are what a map says.
    #[test]
    fn the_journal_is_a_map(
        openings in prop::collection::vec(
            prop::collection::vec(prop::collection::vec((0u8..12, prop::option::of(0usize..6_000)), 0..8), 0..12),
            1..4,
        )
    ) {
        let place = Place::new();
        let mut model = std::collections::BTreeMap::new();
        let mut last = Lsn(0);
        for batches in openings {
            let mut store = place.open();
            prop_assert_eq!(store.opened.last, last);
            prop_assert_eq!(&store.opened.entries.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(), &model);
            for writes in batches {
                let owned: Vec<(String, Option<String>)> =
                    writes.iter().map(|(key, len)| (format!("{key}"), len.map(|len| "v".repeat(len)))).collect();
                for (key, value) in &owned {
                    match value {
                        Some(value) => model.insert(key.clone().into_bytes(), value.clone().into_bytes()),
                        None => model.remove(key.as_bytes()),
                    };
                }
                let refs: Vec<(&str, Option<&str>)> =
                    owned.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                last = store.submit(&refs, false);
            }
        }
        prop_assert_eq!(place.look(), (model, last, Continuity::Proven));
    }
}
