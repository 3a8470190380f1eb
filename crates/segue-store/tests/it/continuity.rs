//! The mark outside the store: HO-STORE-1 hangs on it.

use std::fs;

use segue_proto::{Continuity, Lsn};
use segue_store::{Doubt, Hooks, Journal, Point, StoreError, witness_under};

use crate::util::{FailAt, Place, entries, flip};

#[test]
fn a_backup_taken_closed_is_noticed() {
    let place = Place::new();
    place.open().put("a", "old");
    let backup = place.back_up();
    place.open().put("a", "new");
    place.restore(&backup);
    let store = place.open();
    assert_eq!(store.opened.continuity, Continuity::Unproven);
    assert_eq!(store.opened.doubt, Some(Doubt::Opens { store: 1, mark: 2 }));
    assert_eq!(store.opened.last, Lsn(1));
}

#[test]
fn a_backup_taken_closed_is_noticed_even_if_nothing_was_written_since() {
    let place = Place::new();
    place.open().put("a", "old");
    let backup = place.back_up();
    place.open();
    place.restore(&backup);
    assert_eq!(place.look().2, Continuity::Unproven);
}

#[test]
fn a_backup_taken_open_is_noticed() {
    let place = Place::new();
    let mut store = place.open();
    store.put("a", "old");
    let backup = place.back_up();
    store.put("a", "new");
    drop(store);
    place.restore(&backup);
    let store = place.open();
    assert_eq!(store.opened.doubt, Some(Doubt::Batches { store: Lsn(1), mark: Lsn(2) }));
    assert_eq!(store.opened.entries, entries(&[("a", "old")]).into_iter().collect::<Vec<_>>());
}

#[test]
fn a_backup_that_missed_nothing_is_the_store_itself() {
    let place = Place::new();
    let mut store = place.open();
    store.put("a", "1");
    let backup = place.back_up();
    drop(store);
    place.restore(&backup);
    assert_eq!(place.look(), (entries(&[("a", "1")]), Lsn(1), Continuity::Proven));
}

#[test]
fn doubt_lasts_until_a_batch_is_durable() {
    let place = Place::new();
    place.open().put("a", "old");
    let backup = place.back_up();
    place.open().put("a", "new");
    place.restore(&backup);
    assert_eq!(place.look().2, Continuity::Unproven);
    let mut store = place.open();
    assert_eq!(store.opened.doubt, Some(Doubt::Unsettled));
    assert_eq!(store.put("actor", "new"), Lsn(2));
    drop(store);
    assert_eq!(place.look().2, Continuity::Proven);
    // The same backup again is as old as it was.
    place.restore(&backup);
    assert_eq!(place.look().2, Continuity::Unproven);
}

#[test]
fn a_later_backup_is_noticed_after_an_earlier_one_was_settled() {
    let place = Place::new();
    let backups: Vec<_> = (0..5)
        .map(|n| {
            place.open().put("a", &format!("{n}"));
            place.back_up()
        })
        .collect();
    for _ in 0..3 {
        place.open();
    }
    place.restore(&backups[0]);
    place.open().put("actor", "new");
    // Had the count gone on from the store's, one of these would be just ahead of the mark, as after a crash.
    let mark = fs::read(place.witness()).unwrap();
    for (n, backup) in backups.iter().enumerate() {
        place.restore(backup);
        fs::write(place.witness(), &mark).unwrap();
        assert_eq!(place.look().2, Continuity::Unproven, "backup {n}");
    }
}

#[test]
fn doubt_outlasts_a_crash_at_any_point_of_an_opening() {
    for point in [Point::FirstMark, Point::Counted, Point::Marked] {
        let place = Place::new();
        place.open().put("a", "old");
        let backup = place.back_up();
        place.open().put("a", "new");
        place.restore(&backup);
        for _ in 0..3 {
            assert!(place.open_with(|hooks| hooks.faults(FailAt::new(point, 1))).is_err());
        }
        assert_eq!(place.look().2, Continuity::Unproven, "{point:?}");
    }
}

#[test]
fn a_crash_between_the_two_writes_of_the_mark_is_proven() {
    for point in [Point::FirstMark, Point::Counted, Point::Marked] {
        let place = Place::new();
        place.open().put("a", "1");
        // More than once in a row, so that the distance can't grow.
        for _ in 0..4 {
            assert!(place.open_with(|hooks| hooks.faults(FailAt::new(point, 1))).is_err());
        }
        assert_eq!(place.look(), (entries(&[("a", "1")]), Lsn(1), Continuity::Proven), "{point:?}");
    }
}

#[test]
fn a_crash_while_a_store_is_created_is_proven() {
    for point in [Point::Write, Point::Sync, Point::Created, Point::FirstMark, Point::Counted, Point::Marked] {
        for nth in 1..12 {
            let place = Place::new();
            let _ = place.open_with(|hooks| hooks.faults(FailAt::new(point, nth)));
            assert_eq!(place.look(), (entries(&[]), Lsn(0), Continuity::Proven), "{point:?} {nth}");
        }
    }
}

#[test]
fn a_crash_between_commit_and_mark_is_proven() {
    let place = Place::new();
    let mut store = place.open_with(|hooks| hooks.faults(FailAt::new(Point::Committed, 1))).unwrap();
    let (durable, failure) = store.run(1);
    assert_eq!((durable, failure.is_some()), (Lsn(0), true));
    drop(store);
    assert_eq!(place.look(), (entries(&[("1", "x")]), Lsn(1), Continuity::Proven));
}

#[test]
fn without_its_mark_a_used_store_is_in_doubt() {
    let place = Place::new();
    place.open().put("a", "1");
    fs::remove_file(place.witness()).unwrap();
    let store = place.open();
    assert_eq!(store.opened.doubt, Some(Doubt::NoMark));
}

#[test]
fn another_stores_mark_doesnt_count() {
    let (place, other) = (Place::new(), Place::new());
    place.open().put("a", "1");
    other.open().put("a", "1");
    fs::copy(other.witness(), place.witness()).unwrap();
    assert_eq!(place.open().opened.doubt, Some(Doubt::NoMark));
    // A new store in an old one's place is new.
    fs::remove_file(place.database()).unwrap();
    assert_eq!(place.look().2, Continuity::Proven);
}

#[test]
fn a_copy_of_a_store_is_in_doubt_beside_the_same_mark() {
    let (place, copy) = (Place::new(), Place::new());
    place.open().put("a", "1");
    fs::create_dir_all(copy.dir()).unwrap();
    fs::copy(place.database(), copy.database()).unwrap();
    place.open().put("a", "2");
    let hooks = Hooks::new(|_| {});
    let (_journal, opened) = Journal::open(&copy.dir(), &place.witness(), hooks).unwrap();
    assert_eq!(opened.continuity, Continuity::Unproven);
}

#[test]
fn a_mark_that_was_restored_alone_is_in_doubt() {
    let place = Place::new();
    place.open().put("a", "1");
    let mark = fs::read(place.witness()).unwrap();
    place.open();
    place.open();
    fs::write(place.witness(), mark).unwrap();
    assert_eq!(place.open().opened.doubt, Some(Doubt::StaleMark { store: 3, mark: 1 }));
}

#[test]
fn a_torn_mark_is_proven_by_its_other_slot() {
    for slot in [0, 4_096] {
        for openings in 1..4 {
            let place = Place::new();
            for _ in 0..openings {
                place.open().put("a", "1");
            }
            flip(&place.witness(), slot + 40, 3);
            let (_, last, continuity) = place.look();
            assert_eq!((last, continuity), (Lsn(openings), Continuity::Proven), "slot {slot}, {openings} openings");
        }
    }
}

#[test]
fn a_witness_inside_the_store_is_refused() {
    let place = Place::new();
    let witness = place.dir().join("state/witness");
    let error = Journal::open(&place.dir(), &witness, Hooks::new(|_| {})).err().unwrap();
    assert!(matches!(error, StoreError::WitnessInside { .. }), "{error}");
}

#[test]
fn the_default_witness_is_named_after_the_canonical_directory() {
    let place = Place::new();
    let state = place.root.path().join("state");
    let plain = witness_under(&state, &place.dir()).unwrap();
    let roundabout = witness_under(&state, &place.dir().join("../store")).unwrap();
    let other = witness_under(&state, &place.root.path().join("other")).unwrap();
    assert_eq!(plain, roundabout);
    assert_ne!(plain, other);
    assert!(plain.starts_with(state.join("segue")));
    assert_eq!(plain.extension().unwrap(), "witness");
}
