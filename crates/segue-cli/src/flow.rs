//! How much of the content has moved, over a link or by way of a mailbox, shown as a bar.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use segue_quic::{DeviceId, Event, Node, SessionId};

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

/// How much of each session's content each mailbox has confirmed, and how much is to be there, in bytes: who reads a node's
/// events notes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mailed(Arc<Mutex<Said>>);

type Said = BTreeMap<(SessionId, DeviceId), (u64, u64)>;

impl Mailed {
    /// Whether an event says how much there is.
    pub(crate) fn hear(&self, event: &Event) -> bool {
        let Event::Mailed { session, mailbox, done, total } = event else { return false };
        self.lock().insert((*session, *mailbox), (*done, *total));
        true
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // Whoever panicked left it as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of one session, or of all; none if nothing was said.
    fn sum(&self, session: Option<SessionId>) -> Option<(u64, u64)> {
        let known = self.lock();
        let said = known.iter().filter(|((of, _), _)| session.is_none_or(|session| session == *of));
        said.map(|(_, said)| *said).reduce(|(done, total), (more, of)| (done + more, total + of))
    }
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
    mailed: Mailed,
    /// What had come by the last look, and what was in mailboxes by then.
    seen: (u64, Option<(u64, u64)>),
    /// What went over links before the first look, and until now, in bytes.
    direct: Option<(u64, u64)>,
}

impl Flow {
    pub(crate) fn new(node: &Node, session: Option<SessionId>, way: Way) -> Flow {
        let (verb, total) = match way {
            Way::Out { bytes } => (SENDING, bytes),
            Way::In => (RECEIVING, 0),
        };
        let (bar, node, mailed) = (Bar::new(total, verb), node.clone(), Mailed::default());
        let seen = (0, None);
        Flow { node, session, way, bar, meter: None, looks: 0, lacking: 0, total: 0, mailed, seen, direct: None }
    }

    /// Where to note what mailboxes have confirmed.
    pub(crate) fn mailed(&self) -> Mailed {
        self.mailed.clone()
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
        let before = self.direct.map_or(stats.bulk_tx, |(before, _)| before);
        self.direct = Some((before, stats.bulk_tx));
        let now = Instant::now();
        let meter = self.meter.get_or_insert_with(|| Meter::new(now, count));
        meter.look(now, count);
        self.bar.set_rate(meter.rate(now));
        Ok(meter.moved())
    }

    /// Shows what has moved until now; how much that is, in bytes.
    pub(crate) async fn look(&mut self) -> Result<u64, Failure> {
        let moved = self.count().await?;
        let mailed = self.mailed.sum(self.session);
        match self.way {
            Way::Out { bytes } => {
                let direct = self.direct.map_or(0, |(before, now)| now - before);
                let (done, total) = out(mailed, direct, bytes);
                self.set(done, total);
            }
            Way::In => {
                let coming = self.coming(moved).await?;
                // What a mailbox is given is shown while nothing comes from it.
                match mailed.filter(|_| self.seen.0 == moved) {
                    Some((done, total)) if self.seen.1 != mailed => {
                        self.bar.set_verb(SENDING);
                        self.set(done, total);
                    }
                    Some(_) => {}
                    None => {
                        self.bar.set_verb(RECEIVING);
                        self.set(moved, coming.max(moved));
                    }
                }
            }
        }
        self.seen = (moved, mailed);
        Ok(moved)
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

/// What to show of content that goes out: what a mailbox confirmed, of what is to be there; if some goes directly, that and
/// what the mailbox has, of all.
fn out(mailed: Option<(u64, u64)>, direct: u64, bytes: u64) -> (u64, u64) {
    let done = mailed.map_or(0, |(done, _)| done) + direct;
    let total = mailed.filter(|_| direct == 0).map_or(bytes, |(_, total)| total);
    (done, total.max(done))
}

const SENDING: &str = "sending";
const RECEIVING: &str = "receiving";

/// One look in so many goes through the files, of which there may be many.
const LOOKS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_out_is_what_mailboxes_confirmed_and_what_went_directly() {
        assert_eq!(out(None, 0, 100), (0, 100));
        assert_eq!(out(None, 30, 100), (30, 100));
        // Some of it is too long for the mailbox, or not needed.
        assert_eq!(out(Some((20, 80)), 0, 100), (20, 80));
        assert_eq!(out(Some((20, 20)), 30, 100), (50, 100));
        assert_eq!(out(Some((80, 80)), 30, 100), (110, 110));
    }

    #[test]
    fn what_mailboxes_confirmed_is_summed_up_by_session() {
        let (mailed, id) = (Mailed::default(), |at: u8| SessionId::new([at; 16]));
        let said = |session: u8, mailbox: u8, done| {
            let (session, mailbox) = (id(session), DeviceId::new([mailbox; 32]));
            Event::Mailed { session, mailbox, done, total: 10 }
        };
        assert_eq!(mailed.sum(None), None);
        for event in [said(1, 1, 1), said(1, 1, 2), said(1, 2, 3), said(2, 1, 4)] {
            assert!(mailed.hear(&event));
        }
        assert!(!mailed.hear(&Event::Closed { session: id(1) }));
        assert_eq!((mailed.sum(Some(id(1))), mailed.sum(Some(id(3)))), (Some((5, 20)), None));
        assert_eq!(mailed.sum(None), Some((9, 30)));
    }
}
