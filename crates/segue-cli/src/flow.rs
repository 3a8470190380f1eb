//! How much of the content has moved, over a link or by way of a mailbox, shown as a bar.

use std::collections::BTreeMap;
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

/// How far the content of each session is on its way to each mailbox, and here, in bytes: who reads a node's events notes
/// it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mailed(Arc<Mutex<Said>>);

/// What is there, and what is to be there in all.
type Share = (u64, u64);

#[derive(Debug, Default)]
struct Said {
    out: BTreeMap<(SessionId, DeviceId), Share>,
    coming: BTreeMap<SessionId, Share>,
}

impl Mailed {
    /// Whether an event says how much there is.
    pub(crate) fn hear(&self, event: &Event) -> bool {
        match event {
            Event::Mailed { session, mailbox, done, total } => {
                self.lock().out.insert((*session, *mailbox), (*done, *total));
            }
            Event::Progress { session, done, total } => {
                self.lock().coming.insert(*session, (*done, *total));
            }
            _ => return false,
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // Whoever panicked left it as it was.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What mailboxes confirmed of one session, or of all; none if nothing was said.
    fn sum(&self, session: Option<SessionId>) -> Option<Share> {
        let known = self.lock();
        sum(known
            .out
            .iter()
            .filter(|((of, _), _)| session.is_none_or(|session| session == *of))
            .map(|(_, share)| share))
    }

    /// What has come of one session, or of all; none if nothing was said.
    fn come(&self, session: Option<SessionId>) -> Option<Share> {
        let known = self.lock();
        sum(known.coming.iter().filter(|(of, _)| session.is_none_or(|session| session == **of)).map(|(_, share)| share))
    }

    /// What has come of each session.
    pub(crate) fn coming(&self) -> BTreeMap<SessionId, Share> {
        self.lock().coming.clone()
    }
}

fn sum<'a>(shares: impl Iterator<Item = &'a Share>) -> Option<Share> {
    shares.copied().reduce(|(done, total), (more, of)| (done + more, total + of))
}

/// What moves of one session, or of all.
pub(crate) struct Flow {
    node: Node,
    session: Option<SessionId>,
    way: Way,
    bar: Bar,
    /// What moved of the session, from the first look on.
    meter: Option<Meter>,
    /// What the node had counted by the first look.
    begun: Option<u64>,
    mailed: Mailed,
    /// What had come by the last look, and what was in mailboxes by then.
    seen: (u64, Option<Share>),
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
        Flow { node, session, way, bar, meter: None, begun: None, mailed, seen, direct: None }
    }

    /// Where to note what mailboxes have confirmed.
    pub(crate) fn mailed(&self) -> Mailed {
        self.mailed.clone()
    }

    /// What the node had counted at this time was there before.
    pub(crate) fn counted_from(mut self, at: Instant, count: u64) -> Flow {
        (self.meter, self.begun) = (Some(Meter::new(at, 0)), Some(count));
        self
    }

    /// Counts what has moved until now, of whichever session, in bytes; the first look counts from.
    pub(crate) async fn count(&mut self) -> Result<u64, Failure> {
        let stats = self.node.stats().await?;
        let count = match self.way {
            Way::Out { .. } => stats.bulk_tx + stats.mailed_tx,
            Way::In => stats.bulk_rx + stats.mailed_rx,
        };
        let before = self.direct.map_or(stats.bulk_tx, |(before, _)| before);
        self.direct = Some((before, stats.bulk_tx));
        let now = Instant::now();
        let moved = count - *self.begun.get_or_insert(count);
        // Other sessions move as well.
        let most = match self.way {
            Way::Out { bytes } => Some(bytes),
            Way::In => self.session.and(self.mailed.come(self.session)).map(|(_, total)| total),
        };
        let meter = self.meter.get_or_insert_with(|| Meter::new(now, 0));
        meter.look(now, most.map_or(moved, |most| moved.min(most)));
        self.bar.set_rate(meter.rate(now));
        Ok(moved)
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
                let come = self.mailed.come(self.session);
                // What a mailbox is given is shown while nothing comes from it.
                match mailed.filter(|_| self.seen.0 == moved) {
                    Some((done, total)) if self.seen.1 != mailed => {
                        self.bar.set_verb(SENDING);
                        self.set(done, total);
                    }
                    Some(_) => {}
                    None => {
                        self.bar.set_verb(RECEIVING);
                        come.iter().for_each(|(done, total)| self.set(*done, *total));
                    }
                }
            }
        }
        self.seen = (moved, mailed);
        Ok(moved)
    }

    /// Whether all is here that was told to come.
    pub(crate) fn is_full(&self) -> bool {
        self.mailed.come(self.session).is_some_and(|(done, total)| done == total)
    }

    /// So many bytes are there, of so many, as somebody else knows. Among them is what didn't have to move.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        self.bar.set(done, total);
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
