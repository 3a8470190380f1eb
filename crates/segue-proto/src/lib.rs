//! Segue's protocol core: moves the ownership of a session between devices, without any I/O of its own.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod account;
mod clause;
mod clock;
pub mod data;
mod endpoint;
pub mod errors;
mod event;
mod fresh;
mod generations;
pub mod handoff;
mod journal;
pub mod limits;
pub mod link;
pub mod service;
pub mod sync;
pub mod transfer;
pub mod wire;

pub use clause::{Clause, Rules};
pub use clock::Instant;
pub use endpoint::{
    Asked, ContentId, ContentRead, ContentWrite, Endpoint, HeldElsewhere, Hosted, Incoming, Moving, MovingFile,
    OpenError, Outlook, Passing, PendingHandoff, Relaying, Search, Serve, Served, SessionView, SetAside, SignId,
    SignRequest, Ticket, Unwanted, UnwrapId, UnwrapRequest,
};
pub use errors::{Code, Outcome, UsageError, Violation};
pub use event::{Accepted, Config, Event, HandoffId, LinkId, Policy, Role, Token};
pub use generations::{Ability, Generation};
pub use handoff::SessionRole;
pub use journal::{Batch, Continuity, Lsn, Write};
pub use service::seal;
pub use transfer::{BulkEnd, Plan, Verified};
