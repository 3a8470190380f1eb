//! Handoff: who owns a session, and how that changes (spec chapter `handoff`).
//!
//! [`Chain`] says what follows from what. [`Session`] joins it with the machines of both roles; it knows devices, not
//! links, and takes and gives proven objects, so that the model runs the same code without signatures.

mod chain;
mod delegate;
mod effects;
mod head;
mod holdings;
pub mod keys;
mod lapsed;
mod pace;
mod proven;
mod reason;
mod receipt;
mod revoked;
mod session;
mod source;
mod stored;
mod target;
pub(crate) mod ttl;
mod wants;

pub use crate::fresh::Fresh;
pub use chain::{Admitted, Chain};
pub use delegate::ProvenCas;
pub use effects::{Ctx, Effects, Hold, Outgoing, Peer, SignFor};
pub use head::named;
pub use holdings::{Holdings, Inline, Release};
pub use proven::{ProvenGrant, ack_message};
pub use receipt::{Draft, Handed, Tallies};
pub use session::{Actor, ProvenAck, Session, SessionRole};
pub use source::Declined;
pub use stored::Stored;

pub use wants::LiveWant;
