//! What the machines of a session are given, and what they give back.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::data::Pick;
use crate::event::{Event, HandoffId, Policy};
use crate::fresh::Fresh;
use crate::generations::Generation;
use crate::journal::Write;
use crate::wire::codec::encode;
use crate::wire::{Announced, DeviceId, Error, Exts, Hash, Message, SessionId, SignedBody, id_of, signing_bytes};
use crate::{Code, Violation};

/// The surroundings of a step: who and when, and where its effects go.
pub struct Ctx<'a> {
    /// Now.
    pub now: Instant,
    /// This device.
    pub me: DeviceId,
    /// The clauses in force.
    pub rules: Rules,
    /// Who decides on WANTs without an OFFER.
    pub pulls: Policy,
    /// The devices with an authenticated link.
    pub peers: &'a BTreeMap<DeviceId, Peer>,
    /// Fresh nonces and numbers.
    pub fresh: &'a mut Fresh,
    /// What the step does.
    pub fx: &'a mut Effects,
}

/// A device with an authenticated link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The link's generation.
    pub generation: Generation,
    /// When it was heard last.
    pub heard: Instant,
    /// Whether the application vouches for it.
    pub trusted: bool,
}

/// What a step did, in the order in which it did it.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Goes into one batch of the journal.
    pub writes: Vec<Write>,
    /// Whether the batch promises chunks.
    pub after_chunks: bool,
    /// Messages. One that is held leaves once this step's batch, and all before it, are durable.
    pub sends: Vec<Outgoing>,
    /// Events. One that is held is told once this step's batch is durable.
    pub events: Vec<(Hold, Event)>,
    /// Signatures to ask for.
    pub signs: Vec<(SignFor, Vec<u8>)>,
    /// A manifest to fetch, with all that it names and this picks.
    pub fetch: Option<(DeviceId, Announced, Pick)>,
    /// The fetch that runs is no longer wanted.
    pub stop_fetch: bool,
    /// This device waits until it holds what the owner left.
    pub owed: bool,
    /// The record of a handoff of which this step's batch keeps what a receipt needs.
    pub receipt: Option<Hash>,
}

/// A message to a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outgoing {
    /// The receiver. Without a link to it the message is dropped: what matters is sent again when it links.
    pub to: DeviceId,
    /// Whether it waits for the journal.
    pub hold: Hold,
    /// The message.
    pub message: Message,
}

/// Whether something waits for the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// It promises nothing.
    Free,
    /// It promises what the journal must hold first.
    Durable,
}

impl Hold {
    /// Held, unless a test switched the clause off.
    pub fn by(kept: bool) -> Hold {
        if kept { Hold::Durable } else { Hold::Free }
    }
}

/// What a session asks a signature for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignFor {
    /// The OFFER with this id.
    Offer(Hash),
    /// The WANT with this id.
    Want(Hash),
    /// The record with this id.
    Record(Hash),
    /// The FINAL with this id.
    Final(Hash),
    /// The acknowledgement of the record with this id.
    Ack(Hash),
}

impl Ctx<'_> {
    /// Sends a message that promises nothing.
    pub fn send(&mut self, to: DeviceId, message: impl Into<Message>) {
        self.fx.sends.push(Outgoing { to, hold: Hold::Free, message: message.into() });
    }

    /// Sends a message that waits for the journal.
    pub fn promise(&mut self, to: DeviceId, hold: Hold, message: impl Into<Message>) {
        self.fx.sends.push(Outgoing { to, hold, message: message.into() });
    }

    /// Answers a request with an error.
    pub fn refuse(&mut self, to: DeviceId, req: u32, session: SessionId, code: Code) {
        let definite = (code.outcome() == crate::Outcome::Definite) == self.rules.keeps(Clause::ERR_DEFINITE_1);
        let session = Some(session).filter(|_| self.rules.keeps(Clause::ERR_SEND_1));
        self.send(
            to,
            Error { req, session: session.into(), code: code.into(), definite, retry_after_ms: 0, ext: Exts::empty() },
        );
    }

    /// Answers a request that broke a clause.
    pub fn refuse_for(&mut self, to: DeviceId, req: u32, session: SessionId, violation: Violation) {
        self.event(Event::Violation { peer: to, session: Some(session), violation });
        self.refuse(to, req, session, violation.code);
    }

    /// Asks for the signature of a body; `purpose` names it by its id.
    pub(super) fn sign<T: SignedBody>(&mut self, purpose: impl FnOnce(Hash) -> SignFor, body: &T) {
        let id = new_id(body);
        self.fx.signs.push((purpose(id), signing_bytes::<T>(id)));
    }

    /// Tells the application.
    pub fn event(&mut self, event: Event) {
        self.fx.events.push((Hold::Free, event));
    }

    /// Tells the application once the journal has what this step writes.
    pub fn event_when_durable(&mut self, event: Event) {
        self.fx.events.push((Hold::Durable, event));
    }

    /// The peer, if it has a link.
    pub fn peer(&self, device: &DeviceId) -> Option<Peer> {
        self.peers.get(device).copied()
    }

    /// The generation of the link with this device, if there is one.
    pub fn generation_with(&self, device: &DeviceId) -> Option<Generation> {
        self.peer(device).map(|peer| peer.generation)
    }

    /// Reports how a handoff ended.
    pub fn resolve(&mut self, id: HandoffId, session: SessionId, peer: DeviceId, result: Result<Hash, Code>) {
        self.event(Event::HandoffResolved { id, session, peer, result, reason: None });
    }
}

/// The id of a body that is being made.
pub(super) fn new_id<T: SignedBody>(body: &T) -> Hash {
    id_of::<T>(&encode(body))
}

/// Makes the name of a session fit to be shown.
pub(super) fn label(name: &str) -> String {
    crate::wire::text::clean_name(name)
}
