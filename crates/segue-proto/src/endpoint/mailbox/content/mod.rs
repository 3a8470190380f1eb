//! Content of files by way of a mailbox: sealed pieces in a box of its own, and what the adapter is asked for.

mod give;
mod spare;
mod take;
mod tally;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::transfer::{Plan, Verified};
use crate::wire::{DeviceId, Hash, SessionId};

pub(super) use give::Giving;
pub(super) use spare::Spare;
pub(super) use take::Taking;

/// Names a piece of work with content that the adapter is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub u64);

/// Asks for a slice of content that this device holds, or of a chunk list: answer with
/// [`crate::Endpoint::handle_content_read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRead {
    /// Names it in the answer.
    pub id: ContentId,
    /// The session.
    pub session: SessionId,
    /// The content.
    pub blob: Hash,
    /// Its length in bytes.
    pub len: u64,
    /// Where the slice starts.
    pub offset: u64,
    /// How long it is.
    pub size: usize,
}

/// Asks for a verified chunk to be stored, as those that bulk streams bring: answer with
/// [`crate::Endpoint::handle_content_written`].
#[derive(Clone, Debug)]
pub struct ContentWrite {
    /// Names it in the answer.
    pub id: ContentId,
    /// The session.
    pub session: SessionId,
    /// The plan of the content.
    pub plan: Arc<Plan>,
    /// The chunk.
    pub chunk: Verified,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Work that the adapter is asked for.
#[derive(Debug, Default)]
pub(super) struct Works {
    count: u64,
    reads: VecDeque<ContentRead>,
    writes: VecDeque<ContentWrite>,
    /// The mailbox for which something is read.
    reading: BTreeMap<ContentId, DeviceId>,
    /// The mailbox from which a chunk came, and its content.
    writing: BTreeMap<ContentId, (DeviceId, (SessionId, Hash), Verified)>,
}

impl Works {
    fn next(&mut self) -> ContentId {
        self.count += 1;
        ContentId(self.count)
    }

    pub(super) fn gone(&mut self, service: &DeviceId) {
        self.reading.retain(|_, of| of != service);
        self.writing.retain(|_, (of, ..)| of != service);
    }
}
