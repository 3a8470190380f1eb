//! Serving: who may have which bytes, and how many requests at once. The bytes themselves pass by.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Endpoint;
use super::session_data::SessionData;
use crate::Code;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::event::LinkId;
use crate::handoff::{Session, SessionRole};
use crate::limits::{MAX_MEMBERS, MAX_PARTS, MAX_REQUESTS};
use crate::transfer::check_ranges;
use crate::wire::{Bytes, DeviceId, Exts, Get, Hash, Message, Range, Ranges, SessionId};

/// Asks for ranges of a blob to be sent: one unidirectional stream a range, a BYTES frame and then the bytes. Then
/// [`Endpoint::handle_served`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Where to.
    pub link: LinkId,
    /// The request.
    pub req: u32,
    /// The session.
    pub session: SessionId,
    /// The blob.
    pub blob: Hash,
    /// Its length in bytes.
    pub len: u64,
    /// The ranges.
    pub ranges: Vec<Range>,
}

impl Serve {
    /// The frame that starts the stream of a range.
    pub fn header(&self, range: &Range) -> Vec<u8> {
        let (req, blob) = (self.req, self.blob);
        Message::from(Bytes { req, blob, offset: range.offset, len: range.len, ext: Exts::empty() }).to_frame()
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Every range was written.
    Done,
    /// The blob, or a part of it, isn't there or can't be read.
    Unavailable,
}

/// What peers asked for.
#[derive(Debug, Default)]
pub(super) struct Serving {
    /// The requests that are being served.
    asked: BTreeMap<(LinkId, u32), Asked>,
    /// The bytes of blobs that were sent to devices since this one was opened, MAX_PARTS blobs each.
    sent: BTreeMap<DeviceId, BTreeMap<Hash, u64>>,
}

/// A request that is being served.
#[derive(Clone, Copy, Debug)]
struct Asked {
    by: DeviceId,
    blob: Hash,
    /// How many bytes of it.
    bytes: u64,
    /// It wasn't asked for over and over.
    counts: bool,
}

impl Serving {
    pub(super) fn link_gone(&mut self, link: LinkId) {
        self.asked.retain(|(of, _), _| *of != link);
    }

    /// Whether this much of a blob was sent to a device.
    pub(super) fn was_sent(&self, to: &DeviceId, blob: &Hash, len: u64) -> bool {
        self.sent.get(to).and_then(|sent| sent.get(blob)).is_some_and(|sent| *sent >= len)
    }

    /// Whether something that a device asked for is on its way, and brings it on.
    pub(super) fn serves(&self, to: &DeviceId) -> bool {
        self.asked.values().any(|asked| asked.by == *to && asked.counts)
    }

    fn has_room(&self, link: LinkId, req: u32) -> bool {
        let outstanding = self.asked.range((link, 0)..=(link, u32::MAX)).count();
        outstanding < MAX_REQUESTS && !self.asked.contains_key(&(link, req))
    }

    fn begin(&mut self, by: DeviceId, serve: &Serve, counts: bool) {
        let bytes = serve.ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.len));
        self.asked.insert((serve.link, serve.req), Asked { by, blob: serve.blob, bytes, counts });
    }

    /// A request has ended; false if it isn't known any more.
    fn end(&mut self, link: LinkId, req: u32, outcome: Served) -> bool {
        let Some(Asked { by: to, blob, bytes, .. }) = self.asked.remove(&(link, req)) else { return false };
        if outcome == Served::Done && (self.sent.len() < MAX_MEMBERS || self.sent.contains_key(&to)) {
            let sent = self.sent.entry(to).or_default();
            if sent.len() < MAX_PARTS || sent.contains_key(&blob) {
                let sum = sent.entry(blob).or_insert(0);
                *sum = sum.saturating_add(bytes);
            }
        }
        true
    }
}

impl Endpoint {
    /// The ranges of a request were sent, or couldn't be.
    pub fn handle_served(&mut self, now: Instant, link: LinkId, req: u32, outcome: Served) {
        if !self.serving.end(link, req, outcome) || outcome == Served::Done {
            return;
        }
        if let Some(ready) = self.links.get(&link).and_then(|link| link.ready()) {
            self.refuse(now, ready.peer, req, None, Code::DATA_UNAVAILABLE);
        }
    }

    pub(super) fn on_get(&mut self, now: Instant, link: LinkId, from: DeviceId, get: &Get) {
        let ranges = alloc::vec![Range { offset: 0, len: get.len }];
        let serve = Serve { link, req: get.req, session: get.session, blob: get.blob, len: get.len, ranges };
        self.serve(now, from, serve);
    }

    pub(super) fn on_ranges(&mut self, now: Instant, link: LinkId, from: DeviceId, ask: &Ranges) {
        if let Err(why) = check_ranges(self.config.rules, ask.len, &ask.ranges) {
            return self.refuse_for(now, from, ask.req, Some(ask.session), why);
        }
        let ranges = ask.ranges.to_vec();
        let serve = Serve { link, req: ask.req, session: ask.session, blob: ask.blob, len: ask.len, ranges };
        self.serve(now, from, serve);
    }

    fn serve(&mut self, now: Instant, from: DeviceId, serve: Serve) {
        let (rules, session, req) = (self.config.rules, serve.session, serve.req);
        let open = self.readable(now, from, 0, session) || !rules.keeps(Clause::TRANSFER_SERVE_1);
        let gives = |s: &Session<SessionData>| rules.keeps(Clause::HO_PICK_3) || s.role(rules) == SessionRole::Primary;
        let names = |s: &&Session<SessionData>| s.holdings.names(&serve.blob, serve.len);
        let named = self.sessions.get(&session).filter(names).is_some_and(gives);
        if !open || !named {
            let code = if open { Code::DATA_UNAVAILABLE } else { Code::HO_UNKNOWN_SESSION };
            return self.refuse(now, from, req, Some(session), code);
        }
        let room = self.serving.has_room(serve.link, req);
        if let Err(why) = rules.ensure(Clause::TRANSFER_SERVE_2, room, Code::LIMIT_REQUESTS) {
            return self.refuse_for(now, from, req, Some(session), why);
        }
        let counts = self.syncing.asks(now, &from, session, serve.blob);
        self.serving.begin(from, &serve, counts);
        self.out.serves.push_back(serve);
    }
}
