//! Segue's synchronization service: a mailbox of sealed envelopes, and sessions in custody (spec chapter `service`).
//!
//! Devices that are never online together put envelopes into boxes and fetch them from there. The service can neither
//! read nor forge them. For owners that delegated to it, it signs who owns next. Devices that named one another it tells
//! which of them is there, introduces them, and has one woken for another. An operator may demand accounts: then a device is let in under one, by the word of the
//! operator or by a token of an outside identity provider. [`Service`] does no I/O of its own: it
//! takes what an endpoint is asked ([`segue_proto::Endpoint::poll_hosted`]) and gives answers. What it keeps stands in a
//! [`Directory`].
#![forbid(unsafe_code)]

mod accounts;
mod custodian;
mod directory;
mod journaled;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "testing")]
pub mod laws;
mod memory;
mod often;
mod presence;
mod quota;
mod refusals;
mod service;
#[cfg(feature = "redb")]
mod store;

pub use accounts::{Allowance, Claim, Policy, Tokens};
pub use custodian::Terms;
pub use directory::{Append, Binding, Directory, Failed, Full, Note, Page, Room, Share, Unset};
pub use journaled::Journaled;
#[cfg(feature = "jwt")]
pub use jwt::{KeySet, KeySetError};
pub use memory::Memory;
pub use quota::{Quota, Used};
pub use service::{Counts, Given, Service, Waking};
#[cfg(feature = "redb")]
pub use store::Store;
