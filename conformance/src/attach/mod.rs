//! How subjects are attached: an adapter behind a line protocol, as a child process or in this one.
//!
//! A [`Host`] makes devices. What goes wrong with the adapter itself (it died, it says nothing, it says garbage) is no
//! output of a device: it is kept in the host, costs the case that met it, and [`Host::renew`] starts afresh.

mod child;
mod client;
mod local;
mod null;
mod serve;

use segue_proto::{Generation, Instant};
use segue_testkit::device::{Command, Device, Input, Inspect, Outputs, Refusal, Reply, Start};

pub use child::{ChildWire, GUARD};
pub use client::LineHost;
pub use local::LocalHost;
pub use null::Null;
pub use serve::{AdapterOptions, LoopWire, Server, adapter, list_mutants};

/// What an adapter says of its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Name and version of the implementation, for the report.
    pub subject: String,
    /// The generations that it speaks.
    pub generations: Vec<Generation>,
    /// The kinds of `do` that it offers, by their names.
    pub commands: Vec<String>,
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
    /// Why the device doesn't start, in words.
    fn start(&mut self, start: Start, now: Instant) -> Result<(Slot, Outputs), String>;

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
    Unsupported(String),
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
pub const COMMANDS: [&str; 27] = [
    "trust",
    "distrust",
    "create",
    "write-file",
    "write-exclusive",
    "write",
    "follow",
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
    "compact",
    "use-mailbox",
    "host-mailbox",
];
