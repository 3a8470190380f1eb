//! Chunk lists, and how a sender makes them.

use alloc::vec::Vec;

use crate::data::ListRef;
use crate::limits::{CHUNK, MAX_CHUNK, MAX_CHUNKS};
use crate::wire::codec::encode;
use crate::wire::hash::blob_id;
use crate::wire::schema::{Describe, Struct, wire};
use crate::wire::{Hash, List};

wire! {
    /// The chunks of a blob, in the order of its bytes.
    pub struct ChunkList {
        /// The chunks.
        chunks: List<ChunkRef, MAX_CHUNKS>,
    }

    /// A chunk of a blob. It starts where the one before it ends.
    pub struct ChunkRef {
        /// Its length in bytes: 16,384 to 4,194,304, the last may be shorter.
        len: u32,
        /// Its BLAKE3 hash.
        hash: Hash,
    }
}

/// The structures of this chapter, described.
pub fn parts() -> Vec<Struct> {
    alloc::vec![ChunkList::describe(), ChunkRef::describe()]
}

/// The length in bytes of the chunks into which this implementation cuts a blob of `len` bytes: [`CHUNK`], or the
/// smallest power of two that keeps a list within [`MAX_CHUNKS`].
pub fn chunk_len(len: u64) -> u32 {
    let mut chunk = CHUNK as u64;
    while len.div_ceil(chunk) > MAX_CHUNKS as u64 && chunk < MAX_CHUNK as u64 {
        chunk *= 2;
    }
    // At most MAX_CHUNK.
    u32::try_from(chunk).unwrap_or(u32::MAX)
}

/// The id of `content`, and its chunk list and that list's encoding if it needs one.
pub fn chunk_list(content: &[u8]) -> (Hash, Option<(ListRef, Vec<u8>)>) {
    let mut builder = ListBuilder::new(content.len() as u64);
    builder.push(content);
    builder.finish()
}

/// Hashes content as it is read, in pieces of any length, with no more memory than the list.
#[derive(Clone, Debug)]
pub struct ListBuilder {
    whole: blake3::Hasher,
    chunk: blake3::Hasher,
    chunk_len: u32,
    /// The bytes in `chunk`.
    filled: u32,
    pushed: u64,
    chunks: Vec<ChunkRef>,
}

impl ListBuilder {
    /// For content of `len` bytes, at most [`MAX_BLOB`](crate::limits::MAX_BLOB).
    pub fn new(len: u64) -> ListBuilder {
        let (whole, chunk) = (blake3::Hasher::new(), blake3::Hasher::new());
        ListBuilder { whole, chunk, chunk_len: chunk_len(len), filled: 0, pushed: 0, chunks: Vec::new() }
    }

    /// Adds the next bytes of the content.
    pub fn push(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.pushed = self.pushed.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = (self.chunk_len - self.filled) as usize;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.chunk.update(now);
            // At most `room`, which is a u32.
            self.filled += now.len() as u32;
            if self.filled == self.chunk_len {
                self.end_chunk();
            }
            rest = later;
        }
    }

    /// How many bytes were added. If they aren't as many as announced, the content changed while it was read, and the
    /// result is worth nothing.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The content's id, and its chunk list and that list's encoding if the content is longer than [`CHUNK`] bytes.
    pub fn finish(mut self) -> (Hash, Option<(ListRef, Vec<u8>)>) {
        if self.filled > 0 {
            self.end_chunk();
        }
        let blob = Hash::new(*self.whole.finalize().as_bytes());
        let list = (self.pushed > CHUNK as u64).then(|| {
            let bytes = encode(&ChunkList { chunks: List::new(self.chunks).unwrap_or_default() });
            // A list of MAX_CHUNKS takes less than 2^22 bytes.
            (ListRef { hash: blob_id(&bytes), len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }, bytes)
        });
        (blob, list)
    }

    fn end_chunk(&mut self) {
        // Content that turns out longer than announced must not make the list grow without bound.
        if self.chunks.len() < MAX_CHUNKS {
            let hash = Hash::new(*self.chunk.finalize().as_bytes());
            self.chunks.push(ChunkRef { len: self.filled, hash });
        }
        self.chunk.reset();
        self.filled = 0;
    }
}
