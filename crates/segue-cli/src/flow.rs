//! How much of the content has moved, over a link or by way of a mailbox, shown as a bar.

use std::fmt::Display;

use segue_quic::{Node, SessionId};

use crate::failure::Failure;
use crate::terminal::Bar;

/// Which way a session goes, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Out; it has so many bytes.
    Out { bytes: u64 },
    /// In.
    In,
}

/// What moves of one session, or of all.
pub(crate) struct Flow {
    node: Node,
    session: Option<SessionId>,
    way: Way,
    bar: Bar,
    /// The count of the node when this began.
    before: Option<u64>,
    looks: u32,
    /// What was lacking here at the last look.
    lacking: u64,
    /// What comes in all.
    total: u64,
}

impl Flow {
    pub(crate) fn new(node: &Node, session: Option<SessionId>, way: Way) -> Flow {
        let (verb, total) = match way {
            Way::Out { bytes } => ("sending", bytes),
            Way::In => ("receiving", 0),
        };
        let bar = Bar::new(total, verb);
        Flow { node: node.clone(), session, way, bar, before: None, looks: 0, lacking: 0, total: 0 }
    }

    /// What the node counted behind this moved in it.
    pub(crate) fn counted_from(mut self, count: u64) -> Flow {
        self.before = Some(count);
        self
    }

    /// Shows what has moved until now; how much that is, in bytes.
    pub(crate) async fn look(&mut self) -> Result<u64, Failure> {
        let stats = self.node.stats().await?;
        let count = match self.way {
            Way::Out { .. } => stats.bulk_tx + stats.mailed_tx,
            Way::In => stats.bulk_rx + stats.mailed_rx,
        };
        let done = count - *self.before.get_or_insert(count);
        let total = match self.way {
            Way::Out { bytes } => bytes,
            Way::In => self.coming(done).await?,
        };
        self.set(done, total.max(done));
        Ok(done)
    }

    /// What comes in all, as far as is known by now.
    async fn coming(&mut self, done: u64) -> Result<u64, Failure> {
        self.looks += 1;
        if self.looks % LOOKS == 1 {
            let lacking = self.lacks().await?;
            // A file counts until it is whole, so that only more of them say more.
            if lacking > self.lacking {
                self.total = done + lacking;
            }
            self.lacking = lacking;
        }
        Ok(self.total)
    }

    async fn lacks(&self) -> Result<u64, Failure> {
        let sessions = match self.session {
            Some(session) => vec![session],
            None => self.node.sessions().await?.into_iter().map(|view| view.id).collect(),
        };
        let mut lacking = 0;
        for session in sessions {
            let files = self.node.held_elsewhere(session).await?;
            lacking += files.iter().filter(|file| !file.left_out).map(|file| file.len).sum::<u64>();
        }
        Ok(lacking)
    }

    /// So many bytes have moved, of so many, as somebody else knows.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        self.bar.set(done, total);
    }

    /// A line above the bar.
    pub(crate) fn note(&self, line: impl Display) {
        self.bar.note(line);
    }

    /// Takes the bar away; what moved while it was shown, in words.
    pub(crate) fn finish(&self) -> String {
        self.bar.finish()
    }
}

/// One look in so many goes through the files, of which there may be many.
const LOOKS: u32 = 5;
