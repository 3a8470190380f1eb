//! A session in a service's custody: its chain, and what the service does as its grantor.
//!
//! ```text
//! owned ── FREEZE ──▶ frozen ── WANT that holds its FINAL ──▶ signing ── signed, set ──▶ owned
//!   │                    └────────── DELEGATE ─────────────────▲
//!   ├── DELEGATE ──────────────────────────────────────────────┤
//!   └── lease over, WANT ──────────────────────────────────────┘
//! ```
//!
//! It knows devices, not links, and takes and gives proven objects, as the session of a device does. It holds no data:
//! what the next owner must hold it knows by its hashes alone. Only this module assigns its state.

mod asks;
mod moves;
mod stored;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::generations::Generation;
use crate::handoff::Chain;
use crate::wire::{
    DeviceId, Error, Exts, Final, Hash, Head, List, Message, Offer, Proven, Record, SessionId, Signed, Want,
};
use crate::{Code, Outcome};

pub use stored::Kept;

/// A change of a session that a directory makes durable, if the session's head is still the one that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Set {
    /// The device that it counts against, if it brings the session.
    pub by: DeviceId,
    /// The session.
    pub session: SessionId,
    /// The head that it is for; zero for a session that isn't kept yet.
    pub expect: Hash,
    /// The head from then on.
    pub head: Hash,
    /// The records that are new, encoded, parents before children.
    pub records: Vec<Vec<u8>>,
    /// What the new owner is to be told until it acknowledges; empty for nothing, none for what it was.
    pub grant: Option<Vec<u8>>,
    /// How long the owner may be silent, in microseconds, 0 for no lease; none for what it was.
    pub lease: Option<u64>,
}

/// What a step of a session in custody did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acts {
    /// Messages, each for a device. None leaves before the changes are durable.
    pub tells: Vec<(DeviceId, Message)>,
    /// Changes, in order.
    pub sets: Vec<Set>,
    /// Records to be signed with the service's key: the id of each, and the bytes.
    pub signs: Vec<(Hash, Vec<u8>)>,
}

/// The surroundings of a step.
pub struct Around<'a> {
    /// Now.
    pub now: Instant,
    /// The clauses in force.
    pub rules: Rules,
    /// The service's tenure.
    pub tenure: Hash,
    /// The longest lease that it gives, in microseconds; 0 gives none.
    pub lease: u64,
    /// The devices that have a link, and its generation.
    pub linked: &'a BTreeMap<DeviceId, Generation>,
    /// The request number that was used last.
    pub req: &'a mut u32,
    /// What the step does.
    pub acts: &'a mut Acts,
}

/// A session in custody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Custody {
    me: DeviceId,
    chain: Chain,
    /// The device that brought the session.
    by: DeviceId,
    lease: Option<Lease>,
    frozen: Option<Frozen>,
    wants: BTreeMap<DeviceId, Waiting>,
    offer: Option<Offered>,
    signing: Option<Signing>,
    delivery: Option<Delivery>,
}

/// What the owner of a session was given beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lease {
    /// In microseconds.
    ttl: u64,
    ends: Instant,
    /// Nothing more happens by itself when it ends: it has, and whoever waited was looked at.
    over: bool,
}

/// The owner writes no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Frozen {
    to: DeviceId,
    end: Proven<Final>,
}

/// A WANT that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    want: Proven<Want>,
    req: u32,
    expires: Instant,
    generation: Generation,
    /// The request number under which the owner was shown it last.
    shown: Option<u32>,
}

/// An OFFER of the owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offered {
    offer: Proven<Offer>,
    /// What it came with.
    ext: Exts,
    /// The owner's request number.
    req: u32,
    expires: Instant,
    /// The request number under which the target was shown it last.
    shown: Option<u32>,
}

/// A record that is being signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Signing {
    id: Hash,
    record: Record,
    plan: Plan,
}

/// What a record is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Plan {
    Grant { want: Box<Proven<Want>>, req: u32, end: Box<Proven<Final>> },
    Takeover { want: Box<Proven<Want>>, req: u32 },
    Delegate { req: u32 },
}

/// What made a device the owner, until that device acknowledges it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Delivery {
    to: DeviceId,
    record: Hash,
    parent: Hash,
    want: Hash,
    message: Message,
    resend: Instant,
    pause: u64,
}

/// Queries.
impl Custody {
    /// A session that `by` brings, by its chain.
    pub fn new(me: DeviceId, by: DeviceId, chain: Chain) -> Self {
        let (lease, frozen, offer, signing, delivery) = (None, None, None, None, None);
        Custody { me, chain, by, lease, frozen, wants: BTreeMap::new(), offer, signing, delivery }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.chain.session()
    }

    /// Its chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Whether nothing of it is in memory alone.
    pub fn is_quiet(&self) -> bool {
        self.frozen.is_none() && self.wants.is_empty() && self.offer.is_none() && self.signing.is_none()
    }

    /// When [`Custody::on_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        let lease = self.lease.filter(|lease| !lease.over && !self.wants.is_empty()).map(|lease| lease.ends);
        let wants = self.wants.values().map(|waiting| waiting.expires).min();
        let offer = self.offer.as_ref().map(|offer| offer.expires);
        let resend = self.delivery.as_ref().map(|delivery| delivery.resend);
        [lease, wants, offer, resend].into_iter().flatten().min()
    }

    /// Whether a device may learn that the session is known here (HO-MEMBER-1).
    pub fn may_know(&self, device: &DeviceId) -> bool {
        let chosen = self.frozen.as_ref().is_some_and(|frozen| frozen.to == *device);
        let offered = self.offer.as_ref().is_some_and(|offer| offer.offer.body().target == *device);
        self.chain.is_member(device) || self.chain.is_grantor(device) || chosen || offered
    }

    fn head(&self) -> &Proven<Record> {
        self.chain.head()
    }

    fn owner(&self) -> DeviceId {
        self.head().body().owner
    }

    /// Whether this service signs the next record (SERVICE-GRANTOR-1).
    fn grants(&self, rules: Rules) -> Result<(), Code> {
        let grants = self.head().body().grantor == self.me;
        rules.ensure(Clause::SERVICE_GRANTOR_1, grants, Code::SVC_NOT_GRANTOR).map_err(|why| why.code)
    }

    /// Whether it may sign: its store wasn't put back since it was delegated to (SERVICE-TENURE-1).
    fn serves(&self, around: &Around<'_>) -> Result<(), Code> {
        let present = self.chain.tenure() == Some(around.tenure);
        around.rules.ensure(Clause::SERVICE_TENURE_1, present, Code::STORE_ROLLED_BACK).map_err(|why| why.code)
    }

    /// Whether the owner's lease ran out (SERVICE-LEASE-1).
    fn lapsed(&self, around: &Around<'_>) -> bool {
        let over = |lease: Lease| lease.ends <= around.now || !around.rules.keeps(Clause::SERVICE_LEASE_1);
        self.lease.is_some_and(over) && around.rules.keeps(Clause::SERVICE_LEASE_2)
    }
}

/// What is said.
impl Custody {
    fn tell(&self, around: &mut Around<'_>, to: DeviceId, message: impl Into<Message>) {
        let message = message.into();
        let generation = around.linked.get(&to);
        if generation.is_some_and(|generation| message.row().since <= *generation) {
            around.acts.tells.push((to, message));
        }
    }

    fn refuse(&self, around: &mut Around<'_>, to: DeviceId, req: u32, code: Code) {
        around.acts.tells.push((to, refusal(self.session(), req, code).into()));
    }

    /// Refuses a request that names a record, and says what came behind it.
    fn refuse_with_head(&self, around: &mut Around<'_>, to: DeviceId, req: u32, parent: &Hash, code: Code) {
        self.refuse(around, to, req, code);
        if matches!(code, Code::HO_STALE_PARENT | Code::HO_NOT_OWNER | Code::SVC_NOT_GRANTOR) {
            self.tell_head(around, to, parent);
        }
    }

    fn tell_head(&self, around: &mut Around<'_>, to: DeviceId, from: &Hash) {
        let pages = self.chain.pages(from, crate::limits::MAX_FRAME - 512);
        let last = pages.len() - 1;
        for (at, records) in pages.into_iter().enumerate() {
            let records: List<Signed<Record>, _> = List::new(records).unwrap_or_default();
            let (session, more) = (self.session(), at != last);
            self.tell(around, to, Head { session, records, more, ack: None.into(), ext: Exts::empty() });
        }
    }
}

/// ERROR of a session.
pub fn refusal(session: SessionId, req: u32, code: Code) -> Error {
    let definite = code.outcome() == Outcome::Definite;
    Error { req, session: Some(session).into(), code: code.into(), definite, retry_after_ms: 0, ext: Exts::empty() }
}

impl Around<'_> {
    /// The next request number.
    fn next_req(&mut self) -> u32 {
        *self.req = self.req.checked_add(1).unwrap_or(1);
        *self.req
    }

    fn generation(&self, device: &DeviceId) -> Generation {
        self.linked.get(device).copied().unwrap_or(Generation::V1_4)
    }
}
