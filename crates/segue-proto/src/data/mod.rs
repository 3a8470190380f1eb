//! Data: parts, strands of ops, roots and manifests (spec chapter `data`).
//!
//! What is hashed is which ops there are, never the state that they make. So roots agree between devices whatever
//! they keep beside the ops, and a manifest names everything that a device must hold: each part's strands by their
//! tips, each part's winning op whole, and in the op of a file the blob with its content.

mod advance;
mod announce;
mod arrivals;
mod bodies;
mod hashes;
mod manifest;
mod objects;
mod pages;
mod part;
mod path;
mod pick;
mod roots;
mod snapshot;
mod state;
mod stream;
mod write;

pub use advance::Advance;
pub use hashes::{actor_id, body_hash, header, named_part, op_hash, root, salt, session_id, strand_hash};
pub use manifest::Manifest;
pub use objects::{Entry, EntryMode, ListRef, OpHeader, Part, PartKind, Value, parts};
pub use pages::Pages;
pub use path::check_path;
pub use pick::Pick;
pub(crate) use pick::{IN_HAVE, IN_OFFER};
pub(crate) use roots::Roots;
pub use snapshot::{Base, LogEntry};
pub use state::State;
pub use stream::{Delivered, OpView, Stream, StreamOp};
pub use write::{NewOp, Replaces, Written};
