//! Segue's synchronization service: a mailbox of sealed envelopes, and sessions in custody (spec chapter `service`).
//!
//! Devices that are never online together put envelopes into boxes and fetch them from there. The service can neither
//! read nor forge them. For owners that delegated to it, it signs who owns next. Devices that named one another it tells
//! which of them is there. [`Service`] does no I/O of its own: it
//! takes what an endpoint is asked ([`segue_proto::Endpoint::poll_hosted`]) and gives answers. What it keeps stands in a
//! [`Directory`].
#![forbid(unsafe_code)]

mod custodian;
mod directory;
mod journaled;
mod memory;
mod presence;
mod quota;
mod service;
#[cfg(feature = "redb")]
mod store;

pub use custodian::Terms;
pub use directory::{Append, Directory, Failed, Full, Note, Page, Room, Unset};
pub use journaled::Journaled;
pub use memory::Memory;
pub use quota::Quota;
pub use service::{Counts, Given, Service};
#[cfg(feature = "redb")]
pub use store::Store;
