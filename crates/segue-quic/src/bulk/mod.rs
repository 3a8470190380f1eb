//! Bulk: the bytes of blobs, outside the driver. It only hears what they turned out to be.

mod buffers;
mod content;
mod keep;
pub(crate) mod mailed;
pub(crate) mod reading;
pub(crate) mod receive;
pub(crate) mod search;
pub(crate) mod serve;

use std::sync::Arc;

use quinn::VarInt;
use segue_proto::{Clause, Code, LinkId, Rules};
use tokio::sync::mpsc;

use crate::driver::Input;
use crate::stats::Counters;
use crate::storage::Storage;
use crate::transport;
pub(crate) use buffers::{BUFFER, Buffers};

/// What the tasks of a node share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) inbox: mpsc::Sender<Input>,
    pub(crate) storage: Storage,
    pub(crate) counters: Arc<Counters>,
    pub(crate) rules: Rules,
    pub(crate) buffers: Buffers,
    /// Requests of all links that may be served at the same time.
    pub(crate) serving: serve::Turns,
}

impl Shared {
    /// Tells the driver. If it is gone, so is the reason to tell.
    pub(crate) async fn tell(&self, input: Input) {
        let _ = self.inbox.send(input).await;
    }

    /// The code with which a bulk stream is stopped.
    pub(crate) fn stop_code(&self, code: Code) -> VarInt {
        if self.rules.keeps(Clause::TRANSPORT_STREAM_3) { transport::close_code(code) } else { VarInt::from_u32(0) }
    }

    /// The peer of a link broke the rules of a bulk stream.
    pub(crate) async fn broken(&self, link: LinkId, violation: segue_proto::Violation) {
        self.tell(Input::Broken { link, violation }).await;
    }
}
