//! HO-STORE-3: what fails is reported once, and then nothing more is taken.

use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};

use segue_proto::{Code, Continuity, Lsn};
use segue_store::{ChunkSync, Hooks, Journal, Point, Reason, Report, StoreError};

use crate::util::{FailAt, Place, batch};

/// Every point that a commit passes, at one count after the other: some fall into the opening, some into its commits.
#[test]
fn a_failure_is_reported_once_and_halts_and_loses_nothing() {
    let template = Place::new();
    template.open().run(1);
    for point in [Point::Commit, Point::Chunks, Point::Write, Point::Sync, Point::Committed, Point::Told] {
        let mut halted = 0;
        for nth in (1..=10).chain([13, 17, 22, 28, 35]) {
            let place = template.copy();
            let armed = |hooks: Hooks| hooks.faults(FailAt::new(point, nth)).chunks(Arc::new(NoChunks));
            let acknowledged = match place.open_with(armed) {
                Err(error) => {
                    assert_eq!(error.code(), Code::STORE_IO, "{point:?} {nth}: {error}");
                    Lsn(1)
                }
                Ok(mut store) => {
                    let (durable, failure) = store.run(8);
                    if let Some(error) = failure {
                        assert_eq!(error.code(), Code::STORE_IO, "{point:?} {nth}: {error}");
                        // The writer has ended, so nothing follows.
                        assert!(store.reports.recv().is_err());
                        let next = Lsn(durable.0 + 2);
                        let rejected = store.journal.submit(batch(next, &[], false)).unwrap_err();
                        assert_eq!(rejected.reason, Reason::Halted);
                        halted += 1;
                    }
                    durable
                }
            };
            let (found, last, continuity) = place.look();
            assert_eq!(continuity, Continuity::Proven, "{point:?} {nth}");
            assert!(last >= acknowledged, "{point:?} {nth}: {last:?} < {acknowledged:?}");
            assert_eq!(found.len() as u64, last.0, "{point:?} {nth}");
        }
        assert!(halted >= 4, "{point:?} failed only {halted} commits");
    }
}

#[test]
fn when_the_failure_is_told_nothing_is_taken_any_more() {
    let place = Place::new();
    let shared: Arc<OnceLock<Journal>> = Arc::default();
    let (send, told) = channel();
    let seen = Arc::clone(&shared);
    let hooks = Hooks::new(move |report| {
        if matches!(report, Report::Failed(_)) {
            let taken = seen.wait().submit(batch(Lsn(2), &[], false));
            send.send(taken.map_err(|rejected| rejected.reason)).unwrap();
        }
    });
    let hooks = hooks.faults(FailAt::new(Point::Commit, 1));
    let (journal, _) = Journal::open(&place.dir(), &place.witness(), hooks).unwrap();
    let journal = shared.get_or_init(|| journal);
    journal.submit(batch(Lsn(1), &[], false)).unwrap();
    assert_eq!(told.recv().unwrap(), Err(Reason::Halted));
}

struct NoChunks;

impl ChunkSync for NoChunks {
    fn pending(&self) -> bool {
        false
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Chunks whose sync fails.
struct BadChunks;

impl ChunkSync for BadChunks {
    fn pending(&self) -> bool {
        true
    }

    fn sync(&self) -> Result<(), StoreError> {
        Err(StoreError::Halted)
    }
}

#[test]
fn chunks_that_dont_sync_halt_the_journal_before_the_batch_behind_them() {
    let place = Place::new();
    let mut store = place.open_with(|hooks| hooks.chunks(Arc::new(BadChunks))).unwrap();
    store.put("a", "1");
    assert!(store.run(1).1.is_some());
    drop(store);
    assert_eq!(place.look().1, Lsn(1));
}
