//! The driver's end of the journal.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use segue_proto::{Batch, Lsn};
use segue_store::{Journal, Reason, Report};
use tokio::sync::mpsc;

use crate::stats::Stats;

/// Where batches go.
pub(crate) enum Log {
    /// To disk. The last LSN given to the journal and the last that is durable tell how much is under way; a batch that
    /// found the journal's queue full is held back.
    Disk { journal: Journal, reports: mpsc::UnboundedReceiver<Report>, given: Lsn, durable: Lsn, held: Option<Batch> },
    /// Nowhere: what is in memory is as durable as it will ever be.
    Memory { given: VecDeque<Lsn> },
}

impl Log {
    /// Hands over a batch. An error is the end of the store.
    pub(crate) fn submit(&mut self, batch: Batch) -> Result<(), String> {
        let lsn = batch.lsn;
        match self {
            Log::Memory { given } => {
                given.push_back(lsn);
                Ok(())
            }
            Log::Disk { journal, given, held, .. } => {
                *given = lsn;
                match journal.submit(batch) {
                    Ok(()) => Ok(()),
                    Err(rejected) if matches!(rejected.reason, Reason::Full) => {
                        *held = Some(rejected.batch);
                        Ok(())
                    }
                    Err(rejected) => Err(rejected.to_string()),
                }
            }
        }
    }

    /// Whether a batch is held back. No further one may be submitted then.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Log::Disk { held: Some(_), .. })
    }

    /// Whether everything submitted is durable.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            Log::Disk { given, durable, held, .. } => given <= durable && held.is_none(),
            Log::Memory { given } => given.is_empty(),
        }
    }

    /// The next thing that the journal says: what is durable, or that it failed.
    pub(crate) fn poll_report(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lsn, String>> {
        let Log::Disk { reports, .. } = self else { return Poll::Pending };
        match reports.poll_recv(cx) {
            Poll::Ready(Some(Report::Durable(lsn))) => Poll::Ready(self.retry().map(|()| self.reached(lsn))),
            Poll::Ready(Some(Report::Failed(error))) => Poll::Ready(Err(error.to_string())),
            // The journal says why before it goes.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// In memory, what is durable by now.
    pub(crate) fn take_memory(&mut self) -> Option<Lsn> {
        let Log::Memory { given } = self else { return None };
        given.drain(..).next_back()
    }

    /// Adds what the journal counts.
    pub(crate) fn count(&self, stats: &mut Stats) {
        if let Log::Disk { journal, .. } = self {
            let journal = journal.stats();
            stats.syncs = journal.syncs;
            stats.chunk_syncs = journal.chunk_syncs;
        }
    }

    fn reached(&mut self, lsn: Lsn) -> Lsn {
        if let Log::Disk { durable, .. } = self {
            *durable = lsn;
        }
        lsn
    }

    fn retry(&mut self) -> Result<(), String> {
        let Log::Disk { held, .. } = self else { return Ok(()) };
        held.take().map_or(Ok(()), |batch| self.submit(batch))
    }
}
