//! Whose bytes are kept as the slices that came from the socket. All streams of a node share what that may cost.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::content::{READ, READS};
use crate::transport::{LENT, Windows};

/// What the streams of a node may hold in slices. A cheap handle. Nobody waits for it: who gets nothing copies.
#[derive(Clone)]
pub(crate) struct Lending(Arc<Semaphore>);

/// What some slices may hold, in reads of the socket.
pub(super) struct Loan(OwnedSemaphorePermit);

impl Lending {
    /// For a node.
    pub(crate) fn new() -> Lending {
        Lending(Arc::new(Semaphore::new(LENT / READ)))
    }

    /// For what a stream reads ahead: slices that were joined are as long as its window at most.
    pub(super) fn ahead(&self) -> Option<Loan> {
        self.borrow(Windows::NODE.stream as usize / READ)
    }

    /// For a content.
    pub(super) fn content(&self) -> Option<Loan> {
        self.borrow(READS)
    }

    fn borrow(&self, reads: usize) -> Option<Loan> {
        self.0.clone().try_acquire_many_owned(u32::try_from(reads).ok()?).ok().map(Loan)
    }
}

impl Loan {
    /// Gives back all but so many reads.
    pub(super) fn shrink(&mut self, reads: usize) {
        drop(self.0.split(self.0.num_permits().saturating_sub(reads)));
    }
}
