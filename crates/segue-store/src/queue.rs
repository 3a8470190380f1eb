//! The batches that wait for the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use segue_proto::{Batch, Lsn};

use crate::journal::{QUEUE_BATCHES, QUEUE_BYTES, Reason, Rejected};

/// A bounded queue with one taker.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Batch>,
    bytes: usize,
    /// The last batch taken in.
    last: Lsn,
    shut: bool,
}

impl Queue {
    pub(crate) fn new(last: Lsn) -> Self {
        let inner = Inner { waiting: VecDeque::new(), bytes: 0, last, shut: false };
        Queue { inner: Mutex::new(inner), filled: Condvar::new() }
    }

    pub(crate) fn submit(&self, batch: Batch) -> Result<(), Rejected> {
        let mut inner = self.lock();
        let next = Lsn(inner.last.0.saturating_add(1));
        let size = size(&batch);
        let full = inner.waiting.len() >= QUEUE_BATCHES || inner.bytes.saturating_add(size) > QUEUE_BYTES;
        let reason = if inner.shut {
            Reason::Halted
        } else if batch.lsn != next {
            Reason::OutOfOrder(next)
        } else if full && !inner.waiting.is_empty() {
            Reason::Full
        } else {
            inner.last = next;
            inner.bytes = inner.bytes.saturating_add(size);
            inner.waiting.push_back(batch);
            drop(inner);
            self.filled.notify_one();
            return Ok(());
        };
        Err(Rejected { batch, reason })
    }

    /// Waits for batches and takes a group: all that wait, but if `split` says so only those before the first that
    /// stands behind chunks, unless that one is the very first. None once the queue is shut and empty.
    pub(crate) fn take(&self, split: impl Fn() -> bool) -> Option<Vec<Batch>> {
        let mut inner = self.lock();
        while inner.waiting.is_empty() {
            if inner.shut {
                return None;
            }
            inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let behind = inner.waiting.iter().position(|batch| batch.after_chunks).filter(|at| *at > 0);
        let end = behind.filter(|_| split()).unwrap_or(inner.waiting.len());
        let group: Vec<Batch> = inner.waiting.drain(..end).collect();
        inner.bytes = inner.waiting.iter().map(size).sum();
        Some(group)
    }

    /// Takes no more; what waits is still taken out.
    pub(crate) fn close(&self) {
        self.lock().shut = true;
        self.filled.notify_one();
    }

    /// Takes no more, and forgets what waits.
    pub(crate) fn halt(&self) {
        let mut inner = self.lock();
        inner.shut = true;
        inner.waiting.clear();
        inner.bytes = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(batch: &Batch) -> usize {
    batch.writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, Vec::len)).sum()
}
