//! Hosting a mailbox: requests of other devices are handed to whoever keeps its boxes.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::keys;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::generations::Generation;
use crate::journal::Lsn;
use crate::limits::{MAILBOX_WINDOW, MAX_ASKS, MAX_OPEN, MAX_RELAYS, MAX_WATCHES, OPEN_COST};
use crate::wire::{DeviceId, Hash, Message, Relay, SessionId, Sig};
use crate::{Code, Violation};

/// Names a request of a device to the mailbox that this one hosts. A device that starts again numbers its requests
/// from 1 again; these numbers are used once, so that no answer is taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the host of a mailbox is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Almost all of them are requests.
pub enum Hosted {
    /// A device asks.
    Request {
        /// Names the request in its answer.
        ticket: Ticket,
        /// The device.
        from: DeviceId,
        /// PUT, FETCH, WATCH, DISCOVER, LOGIN, INTRODUCE, RELAY or WAKE.
        message: Message,
    },
    /// A device says or asks something of a session in custody. It is to be closed, or answered, when all is said.
    Custody {
        /// Names the request.
        ticket: Ticket,
        /// The device.
        from: DeviceId,
        /// What the link's pair speaks.
        generation: Generation,
        /// The message.
        message: Message,
    },
    /// The signature of a record that [`Endpoint::sign_hosted`] asked for.
    Signed {
        /// The session.
        session: SessionId,
        /// The record.
        record: Hash,
        /// The signature.
        sig: Sig,
    },
    /// A device has a link.
    Linked {
        /// The device.
        device: DeviceId,
        /// What the link's pair speaks.
        generation: Generation,
    },
    /// A device has no link any more: it watches nothing.
    Gone(DeviceId),
}

#[derive(Debug, Default)]
pub(super) struct Host {
    on: bool,
    queue: VecDeque<Hosted>,
    /// The requests whose answer hasn't left yet.
    open: BTreeMap<Ticket, Open>,
    /// Those whose answer waits until what it says is durable.
    leaving: VecDeque<(Lsn, Ticket)>,
    /// How many of them are each device's, kind by kind.
    counts: BTreeMap<DeviceId, [usize; 4]>,
    /// What those count that are answered at once, in bytes.
    bytes: usize,
    tickets: u64,
}

/// What is counted by itself (SERVICE-HOST-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A request that is answered at once.
    Request,
    /// A WATCH, which is answered when something comes.
    Watch,
    /// What is said of a session in custody.
    Custody,
    /// A stream of packets.
    Relay,
}

/// A request.
#[derive(Clone, Copy, Debug)]
struct Open {
    from: DeviceId,
    kind: Kind,
    /// What it counts, in bytes.
    cost: usize,
    answered: bool,
}

/// What a request or message counts, in bytes (SERVICE-HOST-4).
fn cost(message: &Message) -> usize {
    let len = match message {
        Message::Put(put) => put.envelope.len(),
        other => other.to_frame().len(),
    };
    len.max(OPEN_COST)
}

impl Host {
    pub(super) fn linked(&mut self, device: DeviceId, generation: Generation) {
        if self.on {
            self.queue.push_back(Hosted::Linked { device, generation });
        }
    }

    pub(super) fn gone(&mut self, device: &DeviceId) {
        if self.on {
            self.counts.remove(device);
            let theirs = self.open.extract_if(.., |_, open| open.from == *device);
            let bytes: usize = theirs.map(|(_, open)| open.cost).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
            self.queue.push_back(Hosted::Gone(*device));
        }
    }

    /// Answers that waited leave.
    pub(super) fn durable(&mut self, upto: Lsn) {
        while self.leaving.front().is_some_and(|(lsn, _)| *lsn <= upto) {
            self.leaving.pop_front().into_iter().for_each(|(_, ticket)| self.close(ticket));
        }
    }

    pub(super) fn signed(&mut self, session: SessionId, record: Hash, sig: Sig) {
        self.queue.push_back(Hosted::Signed { session, record, sig });
    }

    /// The answer to a request is on its way.
    pub(super) fn close(&mut self, ticket: Ticket) {
        let Some(Open { from, kind, cost, .. }) = self.open.remove(&ticket) else { return };
        if let Some(counts) = self.counts.get_mut(&from) {
            let count = &mut counts[kind as usize];
            *count = count.saturating_sub(1);
        }
        self.bytes = self.bytes.saturating_sub(cost);
    }

    /// How many of this kind a device has open.
    fn count(&self, of: &DeviceId, kind: Kind) -> usize {
        self.counts.get(of).map_or(0, |counts| counts[kind as usize])
    }

    /// Takes note of a request; its ticket.
    fn admit(&mut self, from: DeviceId, kind: Kind, cost: usize) -> Ticket {
        self.counts.entry(from).or_default()[kind as usize] += 1;
        self.bytes += cost;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.open.insert(ticket, Open { from, kind, cost, answered: false });
        ticket
    }
}

/// The number of the request that a message is; 0 if it is none.
fn request_of(message: &Message) -> u32 {
    match message {
        Message::Have(it) => it.req,
        Message::Want(it) => it.req,
        Message::Offer(it) => it.req,
        Message::Freeze(it) => it.req,
        Message::Cas(it) => it.req,
        Message::Renew(it) => it.req,
        Message::Delegate(it) => it.req,
        _ => 0,
    }
}

impl Endpoint {
    /// Hosts a mailbox from now on: requests come by [`Endpoint::poll_hosted`].
    pub fn host_mailbox(&mut self) {
        if core::mem::replace(&mut self.mailboxes.host.on, true) {
            return;
        }
        for (device, peer) in &self.peers {
            self.mailboxes.host.linked(*device, peer.generation);
        }
    }

    /// The next thing that the host of the mailbox is told.
    pub fn poll_hosted(&mut self) -> Option<Hosted> {
        self.mailboxes.host.queue.pop_front()
    }

    /// Keeps entries for the host in the journal of this device, for a mailbox that has no store of its own. An answer
    /// that tells of them leaves after the LSN that this returns.
    pub fn keep_hosted(&mut self, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Lsn {
        let writes = entries.into_iter().map(|(key, value)| keys::hosted(&key, value)).collect();
        self.commit(writes, false)
    }

    /// What [`Endpoint::keep_hosted`] kept before this device was opened, ascending by key. It is given once.
    pub fn take_hosted(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        core::mem::take(&mut self.mailboxes.book.hosted)
    }

    /// The answer of the mailbox that this device hosts: PUT_OK, ENVELOPES, FOUND, LOGGED_IN, INTRODUCE_OK, WAKE_OK or ERROR; to
    /// a RELAY, the RELAY that goes to the other device, or ERROR, see [`Endpoint::poll_relay`]. It
    /// leaves once `after` is durable (SERVICE-HOST-2): the last LSN of [`Endpoint::keep_hosted`], or the zeroth if the
    /// host made it durable itself. It
    /// is dropped if the device has no longer the link on which it asked.
    pub fn answer_hosted(&mut self, now: Instant, ticket: Ticket, after: Lsn, answer: &Message) {
        let after = if self.config.rules.keeps(Clause::SERVICE_HOST_2) { after } else { Lsn::default() };
        let host = &mut self.mailboxes.host;
        let Some(open) = host.open.get_mut(&ticket).filter(|open| !open.answered) else { return };
        open.answered = true;
        let (to, kind) = (open.from, open.kind);
        if kind == Kind::Relay {
            host.close(ticket);
            return self.relay_answered(ticket, answer);
        }
        if after <= self.durable {
            host.close(ticket);
        } else {
            host.leaving.push_back((after, ticket));
        }
        self.send(now, to, after, answer);
    }

    /// Hands a message of a session in custody to the host.
    pub(in crate::endpoint) fn on_hosted(&mut self, now: Instant, from: DeviceId, message: Message) {
        let Some(generation) = self.peers.get(&from).map(|peer| peer.generation) else { return };
        let host = &self.mailboxes.host;
        let cost = cost(&message);
        if host.count(&from, Kind::Custody) >= MAX_ASKS || host.bytes + cost > MAX_OPEN {
            let violation = Violation::new(Code::LIMIT_REQUESTS, Clause::SERVICE_HOST_4);
            let session = self.session_in_custody(&message);
            self.out.event(Event::Violation { peer: from, session, violation });
            return self.refuse(now, from, request_of(&message), session, Code::LIMIT_REQUESTS);
        }
        let host = &mut self.mailboxes.host;
        let ticket = host.admit(from, Kind::Custody, cost);
        host.queue.push_back(Hosted::Custody { ticket, from, generation, message });
    }

    /// Whether a mailbox is hosted.
    pub(super) fn hosts(&self) -> bool {
        self.mailboxes.host.on
    }

    /// Hands the beginning of a stream of packets to the host; none if as many wait as may.
    pub(super) fn ask_to_relay(&mut self, from: DeviceId, relay: Relay) -> Option<Ticket> {
        let message = Message::Relay(relay);
        let (host, cost) = (&mut self.mailboxes.host, cost(&message));
        if host.count(&from, Kind::Relay) >= MAX_RELAYS || host.bytes + cost > MAX_OPEN {
            return None;
        }
        let ticket = host.admit(from, Kind::Relay, cost);
        host.queue.push_back(Hosted::Request { ticket, from, message });
        Some(ticket)
    }

    pub(in crate::endpoint) fn on_request(&mut self, now: Instant, from: DeviceId, message: Message) {
        let (req, kind) = match &message {
            Message::Put(it) => (it.req, Kind::Request),
            Message::Fetch(it) => (it.req, Kind::Request),
            Message::Watch(it) => (it.req, Kind::Watch),
            Message::Discover(it) => (it.req, Kind::Request),
            Message::Login(it) => (it.req, Kind::Request),
            Message::Introduce(it) => (it.req, Kind::Request),
            Message::Wake(it) => (it.req, Kind::Request),
            _ => return,
        };
        if !self.mailboxes.host.on {
            if self.config.rules.keeps(Clause::SERVICE_NONE_1) {
                self.refuse(now, from, req, None, Code::SERVICE_NONE);
            }
            return;
        }
        let host = &self.mailboxes.host;
        let (count, is_watch) = (host.count(&from, kind), kind == Kind::Watch);
        let cost = if is_watch { 0 } else { cost(&message) };
        // Twice the window that devices keep to, whose answers may be on their way.
        let most = if is_watch { MAX_WATCHES } else { 2 * MAILBOX_WINDOW };
        let room = count < most && host.bytes + cost <= MAX_OPEN;
        if let Err(why) = self.config.rules.ensure(Clause::SERVICE_HOST_4, room, Code::LIMIT_REQUESTS) {
            return self.refuse_for(now, from, req, None, why);
        }
        let host = &mut self.mailboxes.host;
        let ticket = host.admit(from, kind, cost);
        host.queue.push_back(Hosted::Request { ticket, from, message });
    }
}
