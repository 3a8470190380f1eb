//! How subjects are attached: an adapter behind a line protocol, as a child process or in this one.
//!
//! A [`Host`] makes devices. What goes wrong with the adapter itself (it died, it says nothing, it says garbage) is no
//! output of a device: it is kept in the host, costs the case that met it, and [`Host::renew`] starts afresh.

mod child;
mod client;
mod hollow;
mod local;
mod node;
mod nodes;
mod null;
mod serve;
mod tape;
mod wait;

use std::net::SocketAddr;

use segue_proto::{Generation, Instant};
use segue_testkit::device::{Command, Device, Input, Inspect, Outputs, Refusal, Reply, Setup, Start};

use crate::choices::Chosen;
pub use child::{ChildWire, GUARD};
pub(crate) use child::{missing, place, split};
pub use client::LineHost;
pub use hollow::Hollow;
pub use local::LocalHost;
pub use node::Node;
pub use null::Null;
pub use serve::{AdapterOptions, LoopWire, Server, adapter, list_mutants};
pub use tape::{Exchange, Player, Recorder, Reel, Tape};
pub use wait::{Place, WaitWire};

/// What an adapter says of its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Name and version of the implementation, for the report.
    pub subject: String,
    /// The generations that it speaks.
    pub generations: Vec<Generation>,
    /// The kinds of `do` that it offers, by their names.
    pub commands: Vec<String>,
    /// Those that it offers in tier B, if they are others.
    pub commands_b: Option<Vec<String>>,
    /// What it chose where the specification leaves a choice.
    pub choices: Chosen,
    /// The ways in which it can be examined.
    pub tiers: Vec<Tier>,
}

impl Hello {
    /// Whether it declares a kind of `do`, for tier A.
    pub fn offers(&self, command: &str) -> bool {
        self.offers_in(Tier::A, command)
    }

    /// Whether it declares a kind of `do` for a tier.
    pub fn offers_in(&self, tier: Tier, command: &str) -> bool {
        self.offered(tier).iter().any(|offered| offered == command)
    }

    /// The kinds of `do` that it declares for a tier.
    pub fn offered(&self, tier: Tier) -> &[String] {
        self.commands_b.as_ref().filter(|_| tier == Tier::B).unwrap_or(&self.commands)
    }
}

/// A way to examine a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// All that it does goes over the line protocol: the suite owns clock, network, disk and randomness.
    A,
    /// It runs on real sockets, and takes commands over the line protocol.
    B,
}

impl Tier {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Tier::A => "A",
            Tier::B => "B",
        }
    }
}

/// Where devices come from.
pub trait Host {
    /// What the subject says of itself.
    ///
    /// # Errors
    /// In words, if the adapter doesn't say it.
    fn hello(&mut self) -> Result<Hello, String>;

    /// Makes a device: a new one if its disk is empty, else one that goes on from its disk.
    ///
    /// # Errors
    /// Why the device doesn't start; `LINK_LOST` if the adapter is gone.
    fn start(&mut self, start: Start, now: Instant) -> Result<(Slot, Outputs), Refusal>;

    /// Makes a device on real sockets, which listens at `listen`: where it does. For tier B.
    ///
    /// # Errors
    /// Why the device doesn't start, in words.
    fn listen(&mut self, setup: &Setup, listen: SocketAddr) -> Result<(Box<dyn Node>, SocketAddr), String> {
        let _ = setup;
        Err(format!("no device of this subject listens at {listen}: it is examined in tier A alone"))
    }

    /// What went wrong with the adapter since the last [`Host::renew`]; none while it works.
    fn failure(&self) -> Option<Failure>;

    /// Forgets all devices, and starts the adapter again if it failed.
    fn renew(&mut self);
}

/// What went wrong with an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It can't be talked to any more: it ended, was silent or sent garbage.
    Broken(String),
    /// It doesn't offer what was asked for, and says so.
    Unsupported {
        /// The request, or the kind of `do`.
        asked: String,
        /// The adapter's words.
        why: String,
    },
}

/// A device of whatever kind.
pub struct Slot(pub Box<dyn Device>);

impl Device for Slot {
    fn input(&mut self, now: Instant, input: Input) -> Outputs {
        self.0.input(now, input)
    }

    fn command(&mut self, now: Instant, command: Command) -> (Result<Reply, Refusal>, Outputs) {
        self.0.command(now, command)
    }

    fn inspect(&mut self, now: Instant) -> Inspect {
        self.0.inspect(now)
    }
}

/// A line protocol's other end.
pub trait Wire {
    /// Sends a line and returns the line that answers it.
    ///
    /// # Errors
    /// Why there is none, in words.
    fn ask(&mut self, line: &str) -> Result<String, String>;

    /// Starts the other end again.
    fn restart(&mut self);
}

/// The names of `do`'s commands.
pub const COMMANDS: [&str; 41] = [
    "trust",
    "distrust",
    "create",
    "write-file",
    "write-exclusive",
    "write",
    "follow",
    "stand-by",
    "pick",
    "remove",
    "initiate",
    "cancel",
    "request",
    "consent",
    "accept",
    "reject",
    "takeover",
    "close",
    "close-link",
    "shutdown",
    "create-account",
    "invite",
    "accept-link",
    "confirm-link",
    "revoke",
    "take-in",
    "receipt",
    "verify-receipt",
    "compact",
    "use-mailbox",
    "host-mailbox",
    "host-custody",
    "delegate",
    "reclaim",
    "discover",
    "demand-accounts",
    "login",
    "meet-at",
    "introduce",
    "wake-devices",
    "wake",
];
