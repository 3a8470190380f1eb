//! Streams of packets by way of a service: which this device takes, and which one that hosts a mailbox passes on.

use alloc::collections::{BTreeMap, VecDeque};

use super::Ticket;
use crate::clause::Clause;
use crate::endpoint::Endpoint;
use crate::event::LinkId;
use crate::generations::Generation;
use crate::limits::MAX_RELAYS;
use crate::wire::{DeviceId, Message, Relay};
use crate::{Code, Violation};

/// What becomes of a stream that begins with RELAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relaying {
    /// What it brings are packets of this device, for this one.
    Taken {
        /// The mailbox that passes them on.
        service: DeviceId,
        /// Whose they are.
        from: DeviceId,
    },
    /// They are for another device: [`Endpoint::poll_relay`] says whether they are passed on.
    Asked(Ticket),
}

/// Where a stream of packets is passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passing {
    /// The link of the device that they are for.
    pub link: LinkId,
    /// The first frame of the stream to it.
    pub first: Relay,
}

#[derive(Debug, Default)]
pub(super) struct Relays {
    /// What the host is asked, or was told to pass on, and between whom.
    streams: BTreeMap<Ticket, Stream>,
    said: VecDeque<(Ticket, Result<Passing, Code>)>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    from: DeviceId,
    to: DeviceId,
    passed: bool,
}

impl Relays {
    /// Whether there is room for one more between these devices.
    fn has_room(&self, from: DeviceId, to: DeviceId) -> bool {
        let passed = || self.streams.values().filter(|stream| stream.passed);
        passed().filter(|it| it.from == from).count() < MAX_RELAYS
            && passed().filter(|it| it.to == to).count() < MAX_RELAYS
    }
}

impl Endpoint {
    /// A stream begins with RELAY. One of a mailbox that this device uses brings packets to it; any other is for the host
    /// of the mailbox that this device hosts. [`Endpoint::handle_relay_end`] says when what was asked is over.
    ///
    /// Errors: GEN-USE-1, SERVICE-RELAY-6, SERVICE-RELAY-7: stop the stream; the link goes on.
    pub fn handle_relay(&mut self, link: LinkId, relay: Relay) -> Result<Relaying, Violation> {
        let rules = self.config.rules;
        let ready = self.links.get(&link).and_then(|link| link.ready());
        let (peer, generation) = ready
            .map(|ready| (ready.peer, ready.generation))
            .ok_or(Violation::new(Code::WIRE_STATE, Clause::SERVICE_RELAY_6))?;
        rules.ensure(Clause::GEN_USE_1, generation >= Generation::V7, Code::VER_NOT_PERMITTED)?;
        let (takes, passes) = (self.config.relays && self.is_mailbox(&peer), self.config.relays && self.hosts());
        if !takes && passes {
            let (from, to) = (peer, relay.device);
            let ticket = self.ask_to_relay(from, relay);
            let ticket = ticket.ok_or(Violation::new(Code::LIMIT_REQUESTS, Clause::SERVICE_RELAY_3))?;
            self.mailboxes.relays.streams.insert(ticket, Stream { from, to, passed: false });
            return Ok(Relaying::Asked(ticket));
        }
        let code = if rules.keeps(Clause::SERVICE_RELAY_6) { Code::SERVICE_NONE } else { Code::WIRE_STATE };
        if !takes {
            return Err(Violation::new(code, Clause::SERVICE_RELAY_6));
        }
        let met = self.may_meet(&relay.device);
        rules.ensure(Clause::SERVICE_RELAY_7, met.is_ok(), met.err().unwrap_or(Code::AUTH_UNKNOWN_DEVICE))?;
        Ok(Relaying::Taken { service: peer, from: relay.device })
    }

    /// What was asked, and where it is passed on to, or the code with which it is stopped. The packets go on unchanged.
    pub fn poll_relay(&mut self) -> Option<(Ticket, Result<Passing, Code>)> {
        self.mailboxes.relays.said.pop_front()
    }

    /// What was asked is over: the stream ended, or was stopped.
    pub fn handle_relay_end(&mut self, ticket: Ticket) {
        self.mailboxes.relays.streams.remove(&ticket);
        self.mailboxes.host.close(ticket);
    }

    /// Whether a device that was introduced is dialled by way of this service, while it can't be dialled directly: it
    /// answered an own introduction, so the other one doesn't dial so.
    pub fn dials_by(&self, service: &DeviceId, device: &DeviceId) -> bool {
        self.relays_by(service) && self.has_answered(device)
    }

    /// Whether packets may go by way of this service: it is a mailbox that is used, linked by generation 7.
    fn relays_by(&self, service: &DeviceId) -> bool {
        let speaks = self.peers.get(service).is_some_and(|peer| peer.generation >= Generation::V7);
        self.config.relays && speaks && self.is_mailbox(service)
    }

    /// The link with a device is gone, and with it the streams of which the host hasn't said anything.
    pub(super) fn relays_down(&mut self, device: &DeviceId) {
        let relays = &mut self.mailboxes.relays;
        let theirs = relays.streams.extract_if(.., |_, stream| stream.from == *device && !stream.passed);
        relays.said.extend(theirs.map(|(ticket, _)| (ticket, Err(Code::LINK_LOST))));
    }

    /// The host's answer.
    pub(super) fn relay_answered(&mut self, ticket: Ticket, answer: &Message) {
        let rules = self.config.rules;
        let Some(stream) = self.mailboxes.relays.streams.get(&ticket).copied() else { return };
        let room = self.mailboxes.relays.has_room(stream.from, stream.to) || !rules.keeps(Clause::SERVICE_RELAY_3);
        let result = match (answer, self.routes.get(&stream.to)) {
            (Message::Relay(_), None) => Err(Code::SERVICE_AWAY),
            (Message::Relay(_), Some(_)) if !room => Err(Code::LIMIT_REQUESTS),
            (Message::Relay(first), Some(link)) => Ok(Passing { link: *link, first: first.clone() }),
            (Message::Error(error), _) => Err(error.code.into()),
            _ => Err(Code::SERVICE_NONE),
        };
        match &result {
            Ok(_) => drop(self.mailboxes.relays.streams.insert(ticket, Stream { passed: true, ..stream })),
            Err(_) => drop(self.mailboxes.relays.streams.remove(&ticket)),
        }
        self.mailboxes.relays.said.push_back((ticket, result));
    }
}
