//! What an endpoint tells its application, and what the application sets.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::clause::{Clause, Rules};
use crate::generations::Generation;
use crate::limits::MAX_LINKS;
use crate::wire::{DeviceId, Hash, LoggedIn, PartId, Presence, SessionId};
use crate::{Code, Violation};

/// A link, numbered by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The device that dialled.
    Initiator,
    /// The device that was dialled.
    Responder,
}

/// A handoff that the application asked for or accepted. Numbers start again at every open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandoffId(pub u64);

/// A request that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accepted {
    /// An offer: this handoff brings the session here, and [`Event::HandoffResolved`] tells its end.
    Offer(HandoffId),
    /// A pull: the handoff is the other device's. Here [`Event::HeadChanged`] tells that it has the session.
    Pull,
}

/// Names a request that waits for the application: the id of the OFFER or WANT. It is no secret and no authority.
pub type Token = Hash;

/// Who decides on a request to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The application, by [`Event::RequestHandoff`].
    Ask,
    /// Members always get what they ask for.
    Allow,
    /// Nobody does.
    Deny,
}

/// What an application sets when it opens an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This device's key.
    pub device: DeviceId,
    /// The highest generation to speak.
    pub generation: Generation,
    /// The lowest generation to accept. Durable: a lower floor given later doesn't lower it.
    pub floor: Generation,
    /// Who decides on WANTs without an OFFER.
    pub pulls: Policy,
    /// Whether devices that the application didn't name may link. What they may learn is up to each session.
    pub accept_unknown: bool,
    /// Whether sessions that trusted devices tell of are followed without being asked for.
    pub follow: bool,
    /// The links that it has at most (TRANSPORT-LIMIT-1).
    pub links: usize,
    /// Whether it has links by way of services, and, if it hosts a mailbox, passes packets on for others.
    pub relays: bool,
    /// The clauses in force.
    pub rules: Rules,
}

impl Config {
    /// All generations, and every request is put to the application.
    pub const fn new(device: DeviceId) -> Self {
        Config {
            device,
            generation: Generation::V7,
            floor: Generation::V1_4,
            pulls: Policy::Ask,
            accept_unknown: false,
            follow: false,
            links: MAX_LINKS,
            relays: true,
            rules: Rules::ALL,
        }
    }
}

/// What happened. Events are hints: the queries of the endpoint are the truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A link is authenticated.
    LinkReady {
        /// The link.
        link: LinkId,
        /// The device at its other end.
        peer: DeviceId,
        /// What the pair speaks.
        generation: Generation,
    },
    /// A link ended.
    LinkClosed {
        /// The link.
        link: LinkId,
        /// The device, if it was authenticated.
        peer: Option<DeviceId>,
        /// Why.
        code: Code,
        /// The clause that the peer broke, if that was why.
        clause: Option<Clause>,
        /// Whether the other side ended it.
        remote: bool,
    },
    /// A session that this device creates exists.
    Created {
        /// The session.
        session: SessionId,
    },
    /// Another device offers a session: accept or reject it by its token.
    HandoffRequest {
        /// Names the request.
        token: Token,
        /// The session.
        session: SessionId,
        /// The device that offers.
        from: DeviceId,
        /// The session's name.
        name: String,
    },
    /// Another device asks for a session: accept or reject it by its token.
    RequestHandoff {
        /// Names the request.
        token: Token,
        /// The session.
        session: SessionId,
        /// The device that asks.
        by: DeviceId,
    },
    /// A request is void: one that waits for the application, or one that was accepted and whose acceptance was refused
    /// with a code that time mends, so that it isn't to be tried again.
    Withdrawn {
        /// Names the request.
        token: Token,
        /// The session.
        session: SessionId,
        /// Why.
        code: Code,
    },
    /// A device that can't offer hints that its session may be requested.
    Available {
        /// The session.
        session: SessionId,
        /// Its owner.
        from: DeviceId,
    },
    /// This device stands by for a session: it holds what its owner announced; or it doesn't any more.
    StoodBy {
        /// The session.
        session: SessionId,
        /// The bytes that were asked for so far.
        bytes: u64,
        /// Whether it has ended, by the user or because its limit was reached.
        ended: bool,
    },
    /// A device of the account, or one that the user vouches for, keeps a session that this device doesn't: it may be
    /// followed, and asked for.
    Told {
        /// The session.
        session: SessionId,
        /// The device.
        from: DeviceId,
        /// The session's name; empty if the device doesn't say.
        name: String,
    },
    /// Other devices changed a session's parts.
    Changed {
        /// The session.
        session: SessionId,
        /// The parts, ascending.
        parts: Vec<PartId>,
    },
    /// Ops or values that were taken in aren't part of the data any more, or came to be known in another form: what an
    /// application made of these parts, it makes anew.
    Reread {
        /// The session.
        session: SessionId,
        /// The parts, ascending.
        parts: Vec<PartId>,
    },
    /// Ops of a session were let go that all members hold in a snapshot.
    Compacted {
        /// The session.
        session: SessionId,
    },
    /// Something that a revoked device wrote past its cut is set aside: it is kept and is no part of the data
    /// (DATA-ASIDE-3). [`crate::Endpoint::set_aside`] lists it.
    SetAside {
        /// The session.
        session: SessionId,
        /// The parts that it is of, ascending.
        parts: Vec<PartId>,
    },
    /// All that a device had of a session when it linked is held here, durably.
    Synced {
        /// The session.
        session: SessionId,
        /// The device.
        peer: DeviceId,
    },
    /// All that this device has is in a mailbox that it uses, and all that was there is here, durably.
    Exchanged {
        /// The mailbox.
        mailbox: DeviceId,
    },
    /// A service answered [`Endpoint::discover`](crate::Endpoint::discover), or there is no answer.
    Found {
        /// The service.
        service: DeviceId,
        /// The number that `discover` gave.
        req: u32,
        /// Those that it tells of, or why it tells of none: `SERVICE_NONE` by a device that is none, `LINK_LOST`.
        found: Result<Vec<Presence>, Code>,
    },
    /// How a login at a service ended (SERVICE-LOGIN-1), or that it ends now: the service lets this device in no longer.
    Login {
        /// The service.
        service: DeviceId,
        /// Under which account it lets this device in, or why it doesn't: `SVC_TOKEN` for a token that isn't valid there,
        /// `SVC_LOGIN` without one, `LIMIT_QUOTA` for an account with too many devices, `SERVICE_NONE` by a device that is
        /// no service, `LINK_LOST`.
        result: Result<LoggedIn, Code>,
    },
    /// A device was introduced by a service, or answers [`Endpoint::introduce`](crate::Endpoint::introduce): this one may
    /// dial it, and no other, at any of these addresses. Nothing but the device's own key proves that it is there, so
    /// name it to [`Endpoint::handle_link_up`](crate::Endpoint::handle_link_up).
    Introduced {
        /// The service.
        service: DeviceId,
        /// The device.
        peer: DeviceId,
        /// Where it can be dialled, the likeliest first; none if it takes no calls, and dials itself.
        addresses: Vec<SocketAddr>,
    },
    /// Nothing came of [`Endpoint::introduce`](crate::Endpoint::introduce).
    NotIntroduced {
        /// The service.
        service: DeviceId,
        /// The device that was to be met.
        peer: DeviceId,
        /// Why: `SERVICE_AWAY` if it isn't there, didn't name this device or doesn't answer.
        code: Code,
    },
    /// What a service said to [`Endpoint::wake`](crate::Endpoint::wake).
    Woken {
        /// The service.
        service: DeviceId,
        /// The device that was to be woken.
        device: DeviceId,
        /// Why nothing is done about it: `SERVICE_AWAY` if the two didn't name one another there, `LIMIT_OFFERS` if it was
        /// woken too often, `SERVICE_NONE` of a service that wakes nobody, `LINK_LOST`. None if the device is there, or the
        /// service's way of waking it is being used, which promises nothing.
        code: Option<Code>,
    },
    /// Data arrives, over a link, or from a mailbox that this device uses.
    Progress {
        /// The session.
        session: SessionId,
        /// Bytes held. From a mailbox: of what was lacking.
        done: u64,
        /// Bytes in all; 0 until known. From a mailbox: what was lacking, but for what is longer than MAX_MAILED and what
        /// the mailbox turned out not to have. It grows with what the session comes to name.
        total: u64,
    },
    /// Content of a session goes into a mailbox that this device uses (SERVICE-CONTENT-1).
    ///
    /// What the mailbox held before counts, and so does the beginning of a content of which it held that. What doesn't go
    /// there counts for nothing: content that is left behind, that is longer than MAX_MAILED, for which there is no room, or
    /// that all have who might need it. So `total` may fall. Nothing is told before the mailbox has confirmed something.
    Mailed {
        /// The session.
        session: SessionId,
        /// The mailbox.
        mailbox: DeviceId,
        /// Bytes of content that the mailbox said to keep.
        done: u64,
        /// Bytes of content that are to be there in all.
        total: u64,
    },
    /// A mailbox that this device uses has no room for what it puts: LIMIT_QUOTA, and not because it puts too fast. Told once
    /// while a link lasts. Content stays out of it until there is a new link ([`Endpoint::not_mailed`](crate::Endpoint::not_mailed)),
    /// and letters are tried again after QUOTA_DELAY (SERVICE-CONTENT-1, SERVICE-PUT-3).
    Full {
        /// The mailbox.
        mailbox: DeviceId,
    },
    /// All data that was announced is held.
    Data {
        /// The session.
        session: SessionId,
        /// Its root.
        root: Hash,
    },
    /// This device is the session's primary.
    Activated {
        /// The session.
        session: SessionId,
        /// The record that says so.
        record: Hash,
    },
    /// A handoff ended: with the record, or with an error after which nothing changes any more.
    HandoffResolved {
        /// The handoff.
        id: HandoffId,
        /// The session.
        session: SessionId,
        /// The other device.
        peer: DeviceId,
        /// The record's id, or why not.
        result: Result<Hash, Code>,
        /// What the other side's user said, if they declined with a reason (HO-REASON-1).
        reason: Option<String>,
    },
    /// The deadline of a handoff passed while its GRANT is not acknowledged: it is sent on until it is.
    HandoffPending {
        /// The handoff.
        id: HandoffId,
        /// The session.
        session: SessionId,
        /// The other device.
        peer: DeviceId,
    },
    /// Exclusive parts may be written again, or another device owns by now: a write had to wait for a handoff's target.
    WritesResumed {
        /// The session.
        session: SessionId,
        /// How long it waited, in microseconds.
        waited_us: u64,
    },
    /// The session has another head.
    HeadChanged {
        /// The session.
        session: SessionId,
        /// The head's id.
        head: Hash,
        /// The primary; none if closed.
        owner: Option<DeviceId>,
    },
    /// A higher record ended this device's ownership. What it had written since is kept as labelled copies.
    Fenced {
        /// The session.
        session: SessionId,
        /// The head's id.
        head: Hash,
        /// The primary; none if closed.
        owner: Option<DeviceId>,
        /// The labelled copies made.
        copies: usize,
    },
    /// A key signed two records with one parent in one term.
    Equivocation {
        /// The session.
        session: SessionId,
        /// The key.
        key: DeviceId,
        /// The two records.
        records: [Hash; 2],
    },
    /// A peer refused something.
    Refused {
        /// The peer.
        peer: DeviceId,
        /// The session concerned.
        session: Option<SessionId>,
        /// Why.
        code: Code,
    },
    /// A peer's message broke a clause; it was refused and the link goes on.
    Violation {
        /// The peer.
        peer: DeviceId,
        /// The session concerned.
        session: Option<SessionId>,
        /// What it broke.
        violation: Violation,
    },
    /// The own wish to change a session's grantor ended: with the new grantor, or with why not. After `HO_PENDING` it may
    /// still come about.
    Delegated {
        /// The session.
        session: SessionId,
        /// The grantor from now on, or the error.
        result: Result<DeviceId, Code>,
    },
    /// The session is closed.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// The account that this device starts exists.
    AccountCreated {
        /// The account.
        account: Hash,
    },
    /// Two devices are being linked: both show this code, and both users say whether it is the same on both.
    LinkCode {
        /// The other device.
        peer: DeviceId,
        /// Its name.
        name: String,
        /// Six decimal digits.
        code: u32,
    },
    /// Linking ended: with the account, or with why not.
    LinkResolved {
        /// The other device.
        peer: DeviceId,
        /// The account, or the error. `LINK_LOST` may mean that the device was linked all the same.
        result: Result<Hash, Code>,
    },
    /// A device was linked to the account.
    DeviceLinked {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
        /// Who linked it.
        by: DeviceId,
    },
    /// A device of the account was revoked.
    DeviceRevoked {
        /// The device.
        device: DeviceId,
        /// Who revoked it.
        by: DeviceId,
    },
    /// The owner, or the grantor, of a session is revoked: a member has to take the session over.
    OwnerRevoked {
        /// The session.
        session: SessionId,
        /// The device that is revoked.
        owner: DeviceId,
    },
    /// The store failed. Nothing further leaves this device.
    Halted,
}

impl Event {
    /// Whether this says all that an earlier event said, of how far something is.
    pub(crate) fn says_more_than(&self, earlier: &Event) -> bool {
        match (self, earlier) {
            (Event::Progress { session, .. }, Event::Progress { session: before, .. }) => session == before,
            (Event::Mailed { session, mailbox, .. }, Event::Mailed { session: before, mailbox: other, .. }) => {
                (session, mailbox) == (before, other)
            }
            _ => false,
        }
    }
}
