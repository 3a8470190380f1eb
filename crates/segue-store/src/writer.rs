//! The writer's thread: takes groups of batches, commits them, reports.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use redb::Database;
use segue_proto::{Batch, Write};
use tracing::{error, warn};

use crate::error::{During, StoreError, from_redb};
use crate::faults::{Faults, Point};
use crate::journal::{ChunkSync, Counters, Hooks, Report};
use crate::opening::Lock;
use crate::queue::Queue;
use crate::tables::Meta;
use crate::witness::{Mark, Witness};

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) db: Database,
    pub(crate) meta: Meta,
    pub(crate) witness: Witness,
    /// Held for as long as the store is open. Declared last, so that it is let go of last.
    pub(crate) _lock: Lock,
}

/// Runs until the queue is shut, or the store fails.
pub(crate) fn run(mut store: Store, hooks: Hooks, queue: &Queue, counters: &Counters) {
    let Hooks { mut report, chunks, faults } = hooks;
    // However this thread ends, by a panic of the caller's `report` too, no batch is taken in for nobody.
    let _halt = HaltAtEnd(queue);
    let pending = || chunks.as_ref().is_some_and(|chunks| chunks.pending());
    while let Some(group) = queue.take(pending) {
        // The database may panic on a file that changed under it. Nothing of the store is used after that.
        let commit = AssertUnwindSafe(|| commit(&mut store, &group, chunks.as_ref(), &faults, counters));
        let result = catch_unwind(commit).unwrap_or_else(|_| Err(StoreError::corrupt("the database panicked")));
        if let Err(error) = result {
            error!(%error, "the store failed and is halted");
            queue.halt();
            // Closing a database whose last commit failed leaves its file as it is.
            drop(catch_unwind(AssertUnwindSafe(|| drop(store))));
            report(Report::Failed(error));
            return;
        }
        report(Report::Durable(store.meta.last));
    }
    if let Err(error) = store.db.close() {
        warn!(%error, "closing the store: the next opening repairs it");
    }
}

struct HaltAtEnd<'a>(&'a Queue);

impl Drop for HaltAtEnd<'_> {
    fn drop(&mut self) {
        self.0.halt();
    }
}

fn commit(
    store: &mut Store,
    group: &[Batch],
    chunks: Option<&Arc<dyn ChunkSync>>,
    faults: &Arc<dyn Faults>,
    counters: &Counters,
) -> Result<(), StoreError> {
    if let Some(chunks) = chunks.filter(|_| group.iter().any(|batch| batch.after_chunks)) {
        faults.reach(Point::Chunks).during(|| "syncing chunks".to_owned())?;
        chunks.sync()?;
        counters.chunk_syncs.fetch_add(1, Ordering::Relaxed);
    }
    faults.reach(Point::Commit).during(|| COMMITTING.to_owned())?;
    let mut meta = store.meta;
    meta.last = group.last().map_or(meta.last, |batch| batch.lsn);
    // Whatever was in doubt at this opening, the first batch has settled.
    meta.adrift = false;
    let writes: Vec<&[Write]> = group.iter().map(|batch| batch.writes.as_slice()).collect();
    transact(&store.db, &mut meta, &writes).map_err(|error| from_redb(COMMITTING, error))?;
    store.meta = meta;
    faults.reach(Point::Committed).during(|| COMMITTING.to_owned())?;
    store.witness.write(Mark::of(&meta))?;
    faults.reach(Point::Told).during(|| COMMITTING.to_owned())?;
    counters.batches.fetch_add(group.len() as u64, Ordering::Relaxed);
    counters.commits.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// One transaction: the writes, and the meta row. It costs one sync.
pub(crate) fn transact(db: &Database, meta: &mut Meta, writes: &[&[Write]]) -> Result<(), redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_durability(redb::Durability::Immediate)?;
    // One phase: a commit that a power cut tears fails its checksums, and the one before it counts. What a second
    // sync would add is a defence against peers who choose bytes so that a torn commit passes; the sum of tags in
    // the meta row has that covered.
    txn.set_two_phase_commit(false);
    // Opening verifies all anyway, so a saved allocator state would be written for nothing, with a second sync.
    txn.set_quick_repair(false);
    meta.apply(&txn, writes)?;
    meta.put(&txn)?;
    txn.commit()?;
    Ok(())
}

const COMMITTING: &str = "committing to the journal";
