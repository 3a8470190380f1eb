//! Transfer: blobs, chunks and how a target gets what it lacks (spec chapter `transfer`).
//!
//! A blob's id is the BLAKE3 hash of its content. Content of at most one chunk is verified by that id; longer content
//! by a chunk list, which is itself a blob. Manifests and chunk lists are *meta* blobs: small, fetched whole, kept in
//! memory. Everything else passes by the core: the adapter shows each chunk to a [`Plan`] and stores it once verified.

mod cut;
mod fetch;
mod gear;
mod list;
mod plan;

pub use cut::{Lengths, chunk_len, lengths};
pub use fetch::{BulkEnd, Fetch, Wanted};
pub(crate) use fetch::{Outside, Path};
pub use list::{ChunkList, ChunkRef, ListBuilder, chunk_list, equal_list, parts};
pub use plan::{Chunk, Plan, Verified, check_ranges};
