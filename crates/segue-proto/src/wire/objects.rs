//! Signed bodies: record, FINAL, WANT, OFFER.

use super::codec::{List, Opt, Text};
use super::ids::{ActorId, DeviceId, Hash, Nonce, PartId, SessionId};
use super::schema::wire;
use super::signed::SignedBody;
use crate::clause::{Clause, Rules};
use crate::limits::{MAX_MEMBERS, MAX_PICK};
use crate::{Code, Violation};

wire! {
    /// A link of the chain of ownership. It names the one key that may sign the next.
    pub struct Record {
        /// What it does: 0 genesis, 1 grant, 2 delegate, 3 takeover, 4 close.
        kind: u8,
        /// The session.
        session: SessionId,
        /// The id of the record that it follows; zero in a genesis.
        parent: Hash,
        /// The term: 0 in a genesis, one more at every takeover.
        term: u64,
        /// The number in the chain: 0 in a genesis, one more at every record.
        n: u64,
        /// Who signs this record.
        signer: DeviceId,
        /// The primary from here on; zero in a close.
        owner: DeviceId,
        /// The one key that may sign the next record; zero in a close.
        grantor: DeviceId,
        /// Grant: the id of the WANT that it answers. Genesis and takeover: the signer's actor. Delegate: as its parent. Close: zero.
        want: Hash,
        /// Delegate: the tenure of the grantor; zero if the grantor is the owner. Else zero in this version.
        roster: Hash,
        /// In a genesis, and only there: nonce and members.
        genesis: Opt<Genesis>,
    }

    /// What only the first record of a chain says.
    pub struct Genesis {
        /// Makes the session's id unique.
        nonce: Nonce,
        /// The members besides the creator, ascending.
        members: List<DeviceId, MAX_MEMBERS>,
    }

    /// What the next owner must hold, signed by the parent's owner.
    pub struct Final {
        /// The session.
        session: SessionId,
        /// The record under which the data was written.
        parent: Hash,
        /// The root of the session's data that the manifest names, inline ops included.
        root: Hash,
        /// The root of the exclusive parts alone, inline ops included.
        exclusive: Hash,
        /// The hash of the manifest that the target holds complete.
        manifest: Hash,
        /// The manifest's length in bytes.
        manifest_len: u32,
    }

    /// What a device holds, complete, verified and durable.
    pub struct Held {
        /// The root of the manifest.
        root: Hash,
        /// The manifest's hash.
        manifest: Hash,
    }

    /// A target asks to become the owner under the next record.
    pub struct Want {
        /// The session.
        session: SessionId,
        /// The head that the target knows. The WANT dies with it.
        parent: Hash,
        /// Who wants to own; signs the WANT.
        target: DeviceId,
        /// The target's present actor in the session.
        actor: ActorId,
        /// Makes the WANT unique.
        nonce: Nonce,
        /// What it is: 0 pull, 1 answer to an OFFER, 2 standing consent.
        mode: u8,
        /// The id of the OFFER that it answers; there exactly in mode 1.
        offer: Opt<Hash>,
        /// What the target holds, if anything.
        have: Opt<Held>,
        /// For later versions: empty.
        need: List<PartId, MAX_PICK>,
        /// The parts and folders of which the target holds the content, as its user picked; empty means all. From
        /// generation 7.
        pick: List<PartId, MAX_PICK>,
        /// Milliseconds from receipt, on the grantor's clock, after which the WANT is dead.
        ttl: u32,
    }

    /// An owner invites a target to WANT.
    pub struct Offer {
        /// The session.
        session: SessionId,
        /// The head, under which the source owns.
        parent: Hash,
        /// Who offers; signs the OFFER.
        source: DeviceId,
        /// Who is invited.
        target: DeviceId,
        /// Makes the OFFER unique.
        nonce: Nonce,
        /// The root of the manifest.
        root: Hash,
        /// The hash of the manifest to fetch.
        manifest: Hash,
        /// The manifest's length in bytes.
        manifest_len: u32,
        /// The session's name, to show to the user.
        name: Text<256>,
        /// Milliseconds from receipt after which the OFFER is dead.
        ttl: u32,
    }
}

macro_rules! signed {
    ($t:ty, $name:literal, $me:ident, $rules:ident, $check:expr) => {
        impl SignedBody for $t {
            const NAME: &'static str = $name;
            const ID_CONTEXT: &'static str = concat!("segue/1 ", $name);
            const SIG_CONTEXT: &'static str = concat!("segue/1 sig ", $name);
            fn check(&self, $rules: Rules) -> Result<(), Violation> {
                let $me = self;
                $check
            }
        }
    };
}

impl Record {
    /// The body of a chain's first record: `creator` owns the session and writes as `actor` (HO-CHAIN-8).
    pub fn genesis(session: SessionId, creator: DeviceId, actor: ActorId, genesis: Genesis) -> Record {
        Record {
            kind: Kind::Genesis.number(),
            session,
            parent: Hash::ZERO,
            term: 0,
            n: 0,
            signer: creator,
            owner: creator,
            grantor: creator,
            want: Hash::new(*actor.as_bytes()),
            roster: Hash::ZERO,
            genesis: Some(genesis).into(),
        }
    }
}

signed!(Record, "record", me, rules, {
    let known = Kind::from_number(me.kind).is_some();
    rules.ensure(Clause::WIRE_VALUE_1, known, Code::WIRE_VALUE)?;
    let ascending = me.genesis.get().is_none_or(|g| g.members.windows(2).all(|w| w[0] < w[1]));
    rules.ensure(Clause::WIRE_VALUE_1, ascending, Code::WIRE_VALUE)
});
signed!(Final, "final", _me, _rules, Ok(()));
signed!(Want, "want", me, rules, {
    let mode = WantMode::from_number(me.mode);
    rules.ensure(Clause::WIRE_VALUE_1, mode.is_some(), Code::WIRE_VALUE)?;
    let offer_fits = (mode == Some(WantMode::Answer)) == me.offer.get().is_some();
    rules.ensure(Clause::WIRE_VALUE_1, offer_fits, Code::WIRE_VALUE)
});
signed!(Offer, "offer", me, rules, super::text::check_name(rules, &me.name));

/// What a record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Starts a chain.
    Genesis = 0,
    /// Makes a device the owner.
    Grant = 1,
    /// Changes the grantor and keeps the owner.
    Delegate = 2,
    /// Opens a term: a member makes itself the owner.
    Takeover = 3,
    /// Ends the session.
    Close = 4,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            0 => Kind::Genesis,
            1 => Kind::Grant,
            2 => Kind::Delegate,
            3 => Kind::Takeover,
            4 => Kind::Close,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Genesis => "genesis",
            Kind::Grant => "grant",
            Kind::Delegate => "delegate",
            Kind::Takeover => "takeover",
            Kind::Close => "close",
        }
    }
}

/// What a WANT is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WantMode {
    /// The target asks by itself.
    Pull = 0,
    /// The target answers an OFFER.
    Answer = 1,
    /// The target consents in advance.
    Standing = 2,
}

impl WantMode {
    /// The mode with this number.
    pub const fn from_number(number: u8) -> Option<WantMode> {
        Some(match number {
            0 => WantMode::Pull,
            1 => WantMode::Answer,
            2 => WantMode::Standing,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}
