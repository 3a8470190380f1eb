//! How much of the content has moved, over a link or by way of a mailbox, shown as a bar.

use std::fmt::Display;
use std::time::Instant;

use segue_quic::{Node, SessionId};

use crate::failure::Failure;
use crate::meter::Meter;
use crate::terminal::{Bar, throughput};

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
    /// What moved of what the node counts, from the first look on.
    meter: Option<Meter>,
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
        Flow { node: node.clone(), session, way, bar, meter: None, looks: 0, lacking: 0, total: 0 }
    }

    /// What the node had counted at this time was there before.
    pub(crate) fn counted_from(mut self, at: Instant, count: u64) -> Flow {
        self.meter = Some(Meter::new(at, count));
        self
    }

    /// Counts what has moved until now, in bytes; the first look counts from.
    pub(crate) async fn count(&mut self) -> Result<u64, Failure> {
        let stats = self.node.stats().await?;
        let count = match self.way {
            Way::Out { .. } => stats.bulk_tx + stats.mailed_tx,
            Way::In => stats.bulk_rx + stats.mailed_rx,
        };
        let now = Instant::now();
        let meter = self.meter.get_or_insert_with(|| Meter::new(now, count));
        meter.look(now, count);
        self.bar.set_rate(meter.rate(now));
        Ok(meter.moved())
    }

    /// Shows what has moved until now; how much that is, in bytes.
    pub(crate) async fn look(&mut self) -> Result<u64, Failure> {
        let done = self.count().await?;
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

    /// So many bytes are there, of so many, as somebody else knows. Among them is what didn't have to move.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        self.bar.set(done, total);
    }

    /// A line above the bar.
    pub(crate) fn note(&self, line: impl Display) {
        self.bar.note(line);
    }

    /// Takes the bar away; what moved since the first look, in words, if anything did.
    pub(crate) fn finish(&self) -> Option<String> {
        self.bar.clear();
        self.meter.as_ref().filter(|meter| meter.moved() > 0).map(|meter| throughput(meter.moved(), meter.took()))
    }
}

/// One look in so many goes through the files, of which there may be many.
const LOOKS: u32 = 5;
