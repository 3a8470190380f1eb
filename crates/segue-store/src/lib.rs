//! What a Segue device keeps on disk: its [`Journal`], with group commit and a continuity mark, and its [`Blobs`].
//!
//! A store is a directory with one user at a time:
//!
//! | file | what it is |
//! |---|---|
//! | `journal.redb` | the journal: entries by key, each with a checksum, and one row of meta |
//! | `lock` | empty; locked while the store is open |
//! | `blobs/full/<hash>` | a blob that is held completely; it was durable before it took this name |
//! | `blobs/part/<hash>` | a blob that is held in part, or not synced yet |
//!
//! The continuity mark lies in a file outside it ([`default_witness`]). There is no async runtime in here: the journal
//! has a thread of its own, and blobs are plain blocking files.
#![forbid(unsafe_code)]

mod backend;
mod blobs;
mod error;
mod faults;
mod files;
mod journal;
mod opening;
mod queue;
mod tables;
pub mod witness;
mod writer;

pub use blobs::{Blobs, MAX_DIRTY, MAX_LINKS, MAX_READ, Partial, Source, State};
pub use error::StoreError;
pub use faults::{Faults, Point};
pub use files::create_dir;
pub use journal::{ChunkSync, Hooks, Journal, Opened, QUEUE_BATCHES, QUEUE_BYTES, Reason, Rejected, Report, Stats};
pub use witness::{Doubt, default_witness, witness_under};
