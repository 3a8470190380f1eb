//! Chapter transport, and all that shows on real sockets: the cases of tier B.
//!
//! Each is played in one role of the subject or in both. A misbehaviour is bound to the code that the subject has to
//! answer it with, and stands beside its honest twin.

mod bulk;
mod close;
mod frame;
mod handoff;
mod handshake;
mod link;
mod mailbox;
mod relay;
mod scene;
mod stream;

use segue_proto::{Code, Generation, Role};

use super::{Body, Case, Level, Part};
use crate::lab::Done;
use crate::loopback::Loopback;

/// A case on real sockets.
#[derive(Clone, Copy)]
pub struct Sockets {
    /// The subject's roles in which it is played.
    pub roles: &'static [Role],
    /// What is done.
    pub act: Act,
    /// Whether it can be played with a device that runs already, without an adapter.
    pub outside: Outside,
}

/// What is done in a case on real sockets.
#[derive(Clone, Copy)]
pub enum Act {
    /// Something that must work.
    Works(Play),
    /// A misbehaviour, and the nearest thing that must work.
    Refused {
        /// How the subject answers it.
        sign: Sign,
        /// What must work.
        twin: Play,
        /// What must be refused with the sign's code.
        bad: fn(&mut Loopback, Code) -> Done,
    },
}

/// A step of a case, with a subject of its own.
pub type Play = fn(&mut Loopback) -> Done;

/// How a subject refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It closes the connection with this code.
    Close(Code),
    /// The handshake fails with this code of QUIC: 0x100 and the alert of TLS.
    Handshake(u16),
    /// It stops the bulk stream with this code.
    Stop(Code),
    /// It answers by a message with this code.
    Message(Code),
    /// It tells its application of this code.
    Event(Code),
}

/// What can be judged of a device that runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It takes an adapter.
    Nothing,
    /// Any device that listens shows it.
    Device,
    /// A device that hosts a mailbox shows it.
    Service,
}

impl Sockets {
    /// Whether it is about a refusal.
    pub fn is_negative(&self) -> bool {
        matches!(self.act, Act::Refused { .. })
    }

    /// How the subject has to refuse, if it has to.
    pub fn sign(&self) -> Option<Sign> {
        match self.act {
            Act::Works(_) => None,
            Act::Refused { sign, .. } => Some(sign),
        }
    }
}

impl Sign {
    /// Its code.
    pub fn code(self) -> Code {
        match self {
            Sign::Close(code) | Sign::Stop(code) | Sign::Message(code) | Sign::Event(code) => code,
            Sign::Handshake(number) => Code::from_number(number),
        }
    }

    /// In a few words: `close WIRE_STATE`.
    pub fn words(self) -> String {
        match self {
            Sign::Close(code) => format!("close {code:?}"),
            Sign::Stop(code) => format!("stop {code:?}"),
            Sign::Message(code) => format!("message {code:?}"),
            Sign::Event(code) => format!("event {code:?}"),
            Sign::Handshake(number) => format!("handshake {number:#05x}"),
        }
    }
}

/// The cases, topic by topic.
pub(super) fn chapters() -> [&'static [Case]; 9] {
    [
        handshake::CASES,
        stream::CASES,
        close::CASES,
        link::CASES,
        frame::CASES,
        bulk::CASES,
        handoff::CASES,
        mailbox::CASES,
        relay::CASES,
    ]
}

/// The subject is dialled, and dials.
const BOTH: &[Role] = &[Role::Responder, Role::Initiator];
/// The subject is dialled.
const DIALLED: &[Role] = &[Role::Responder];
/// The subject dials.
const DIALS: &[Role] = &[Role::Initiator];

const V1_7: Generation = Generation::V1_7;
const V2: Generation = Generation::V2;

/// Something that must work.
const fn works(name: &'static str, clauses: &'static [&'static str], roles: &'static [Role], play: Play) -> Case {
    on_sockets(name, clauses, roles, Act::Works(play))
}

/// A misbehaviour beside its twin.
const fn refused(
    name: &'static str,
    clauses: &'static [&'static str],
    roles: &'static [Role],
    sign: Sign,
    twin: Play,
    bad: fn(&mut Loopback, Code) -> Done,
) -> Case {
    on_sockets(name, clauses, roles, Act::Refused { sign, twin, bad })
}

const fn on_sockets(name: &'static str, clauses: &'static [&'static str], roles: &'static [Role], act: Act) -> Case {
    let sockets = Sockets { roles, act, outside: Outside::Nothing };
    Case::of(name, clauses, Part::End, Body::Loopback(sockets))
}

impl Case {
    /// It shows on a device that runs already.
    const fn outside(mut self) -> Case {
        if let Body::Loopback(sockets) = &mut self.body {
            sockets.outside = Outside::Device;
        }
        self
    }

    /// It shows on a device that hosts a mailbox and runs already.
    const fn of_a_service(mut self) -> Case {
        if let Body::Loopback(sockets) = &mut self.body {
            sockets.outside = Outside::Service;
        }
        self
    }

    const fn part(mut self, part: Part) -> Case {
        self.part = part;
        self
    }

    const fn should(mut self) -> Case {
        self.level = Level::Should;
        self
    }
}

/// The twin of most misbehaviours: a link comes to be, and lives.
fn linked(lo: &mut Loopback) -> Done {
    lo.linked().map(|_| ())
}
