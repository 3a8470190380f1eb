//! Segue over QUIC: the async API that an application embeds.
//!
//! A [`Node`] is one device. It keeps links to other devices, creates sessions, hands them over and takes them over;
//! the application never sees a link. Behind the handle one task drives the protocol core, a journal makes durable what
//! must be, and bulk data goes from file to file, verified chunk by chunk.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use segue_quic::Node;
//! # let dir = std::env::temp_dir().join(format!("segue-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let (state, todo, any) = (dir.join("state"), dir.join("todo.txt"), "127.0.0.1:0".parse()?);
//! # std::fs::write(&todo, "buy milk")?;
//! # let phone = Node::builder().in_memory().listen(any).accept_unknown(true).open().await?;
//! # phone.on_handoff_request(|phone, request| async move { phone.accept_handoff(request.token).await.map(drop) });
//! # let (peer, address) = (phone.device(), phone.local_addr().ok_or("no address")?);
//!
//! let node = Node::builder()
//!     .state_dir(&state)
//! #   .witness(dir.join("witness"))
//!     .listen(any)
//!     .trust(peer)
//!     .open()
//!     .await?;
//! let session = node.create_session("notes", &[peer]).await?;
//! node.write_file(session, "todo.txt", &todo).await?;
//! node.connect(address, peer).await?;
//! let receipt = node.initiate_handoff(session, peer).await?;
//! println!("{peer} owns {session} since record {}", receipt.record);
//! # node.shutdown().await;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(()) }
//! ```
//!
//! [`Node::on_handoff_request`] shows the calls of Session Handoff 1.7, [`HandoffV2`] those of Session Handoff 2.
//!
//! Who a peer is, is proven inside the link, by the device's key over TLS' exporter; certificates are drawn at every
//! start and mean nothing. A peer costs at most some 16 MiB, before it is authenticated 128 KiB, and all of them 256 MiB:
//! `transport.rs` has each value and where it comes from.
#![forbid(unsafe_code)]

mod account;
mod aside;
mod backoff;
mod builder;
mod bulk;
mod compaction;
mod conflicts;
mod delegate;
mod driver;
mod entries;
mod error;
mod event;
mod files;
mod handoff_error;
mod keys;
mod login;
mod mailbox;
mod meet;
mod menu;
mod node;
mod parts;
mod picks;
mod plan;
mod presence;
mod receipt;
mod relay;
mod requests;
mod stats;
mod storage;
mod tls;
mod transport;
mod untold;
mod v2;
mod wake;

/// Bare QUIC with the settings of a node and nothing else, for measurements beside it.
#[doc(hidden)]
pub mod bare {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use segue_proto::Rules;
    use segue_proto::wire::hash::Hasher;

    pub use crate::transport::Windows;
    use crate::{OpenError, tls, transport};

    /// A socket and an endpoint over it; one that only dials, without an address.
    ///
    /// # Errors
    /// As for a node.
    pub fn endpoint(listen: Option<SocketAddr>, windows: Windows) -> Result<quinn::Endpoint, OpenError> {
        let no_log: Arc<dyn rustls::KeyLog> = Arc::new(rustls::NoKeyLog {});
        transport::endpoint(listen, Hasher::new("segue/1 bare"), windows, Rules::ALL, &no_log)
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
pub use entries::Replaced;
pub use error::{Error, OpenError};
pub use event::{EVENT_QUEUE, Event};
pub use files::FileInfo;
pub use handoff_error::HandoffError;
pub use keys::{KEY_FILE, device_id, load_or_create_key};
pub use login::Login;
pub use mailbox::{MailboxHost, Said};
pub use menu::{Candidate, Offerable};
pub use node::{Node, Receipt, Request, RequestKind};
pub use parts::{Delivered, OPS_PAGE, Ops, Register};
pub use picks::{DataType, Elsewhere, Pick};
pub use plan::{HandoffPlan, LinkInfo, PlannedFile, Stays};
pub use presence::Presence;
pub use receipt::SignedReceipt;
pub use stats::Stats;
pub use storage::{BlobSource, ReadAt};
pub use v2::{Data, Ends, HandoffEvent, HandoffV2};

pub use ed25519_dalek::SigningKey;
pub use segue_proto::{
    Ability, Code, Continuity, Generation, HandoffId, Hosted, Instant, Outcome, PendingHandoff, Policy, SessionRole,
    SessionView, SetAside, Ticket, Token, UsageError,
    account::{BadInvite, Invite},
    data::{PartKind, named_part},
    handoff::Handed,
    wire::{ActorId, DeviceId, Hash, Message, PartId, SessionId, Tally},
};
pub use segue_store::create_dir;
