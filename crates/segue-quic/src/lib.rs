//! Segue over QUIC: the async API that an application embeds.
//!
//! A [`Node`] is one device. It keeps links to other devices, creates sessions, hands them over and takes them over;
//! the application never sees a link. Behind the handle one task drives the protocol core, a journal makes durable what
//! must be, and bulk data goes from file to file, verified chunk by chunk.
//!
//! ```no_run
//! # async fn example(peer: segue_proto::wire::DeviceId) -> Result<(), Box<dyn std::error::Error>> {
//! use segue_quic::{Event, Node};
//!
//! let node = Node::builder().state_dir("state").listen("[::]:4433".parse()?).trust(peer).open().await?;
//! let session = node.create_session("notes", &[peer]).await?;
//! node.write_file(session, "todo.txt", "todo.txt".as_ref()).await?;
//! node.connect("192.0.2.7:4433".parse()?, peer).await?;
//! let receipt = node.initiate_handoff(session, peer).await?;
//! println!("{peer} owns {session} since record {}", receipt.record);
//! # Ok(()) }
//! ```
//!
//! Who a peer is, is proven inside the link, by the device's key over TLS' exporter; certificates are drawn at every
//! start and mean nothing. A peer costs at most some 16 MiB, before it is authenticated 128 KiB, and all of them 256 MiB:
//! `transport.rs` has each value and where it comes from.
#![forbid(unsafe_code)]

mod account;
mod aside;
mod compaction;
mod builder;
mod bulk;
mod conflicts;
mod driver;
mod error;
mod event;
mod files;
mod keys;
mod mailbox;
mod node;
mod parts;
mod stats;
mod storage;
mod tls;
mod transport;

/// Bare QUIC with the settings of a node and nothing else, for measurements beside it.
#[doc(hidden)]
pub mod bare {
    use std::net::SocketAddr;

    use segue_proto::wire::hash::Hasher;

    pub use crate::transport::Windows;
    use crate::{OpenError, tls, transport};

    /// A socket and an endpoint over it; one that only dials, without an address.
    ///
    /// # Errors
    /// As for a node.
    pub fn endpoint(listen: Option<SocketAddr>, windows: Windows) -> Result<quinn::Endpoint, OpenError> {
        transport::endpoint(listen, Hasher::new("segue/1 bare"), windows)
    }

    /// Dials by the name that nodes use.
    ///
    /// # Errors
    /// As quinn's.
    pub fn connect(from: &quinn::Endpoint, to: SocketAddr) -> Result<quinn::Connecting, quinn::ConnectError> {
        from.connect(crate::driver::dial::mapped(from, to), tls::SERVER_NAME)
    }

    /// Gives a connection the limits of an authenticated link.
    pub fn admit(connection: &quinn::Connection, windows: Windows) {
        transport::widen(connection, windows);
    }
}

pub use account::{Account, LinkedDevice, RevokedDevice};
pub use builder::Builder;
pub use compaction::{COMPACT_AFTER, PartSnapshot};
pub use conflicts::{Ask, Conflict, Content, KeepBoth, KeepLatest, Merge, Resolution, Strategy, Version};
pub use error::{Error, HandoffError, OpenError};
pub use event::{EVENT_QUEUE, Event};
pub use files::FileInfo;
pub use keys::{KEY_FILE, device_id, load_or_create_key};
pub use mailbox::MailboxHost;
pub use node::{Node, Receipt, Request, RequestKind};
pub use parts::{Delivered, OPS_PAGE, Register};
pub use stats::Stats;
pub use storage::{BlobSource, ReadAt};

pub use ed25519_dalek::SigningKey;
pub use segue_proto::{
    Code, Continuity, Generation, HandoffId, Hosted, Instant, Outcome, Policy, SessionRole, SessionView, SetAside, Ticket,
    Token, UsageError,
    account::{BadInvite, Invite},
    data::{PartKind, named_part},
    wire::{ActorId, DeviceId, Hash, Message, PartId, SessionId},
};
