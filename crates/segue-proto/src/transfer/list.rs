//! Chunk lists, and how a sender makes them.

use alloc::vec::Vec;

use super::cut::{Cutter, chunk_len};
use crate::data::ListRef;
use crate::limits::{CHUNK, MAX_CHUNKS};
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

/// The id of `content`, and its chunk list and that list's encoding if it needs one; cut as [`ListBuilder::new`] does.
pub fn chunk_list(content: &[u8]) -> (Hash, Option<(ListRef, Vec<u8>)>) {
    of(ListBuilder::new(content.len() as u64), content)
}

/// The same, cut as [`ListBuilder::equal`] does.
pub fn equal_list(content: &[u8]) -> (Hash, Option<(ListRef, Vec<u8>)>) {
    of(ListBuilder::equal(content.len() as u64), content)
}

fn of(mut builder: ListBuilder, content: &[u8]) -> (Hash, Option<(ListRef, Vec<u8>)>) {
    builder.push(content);
    builder.finish()
}

/// Hashes content as it is read, in pieces of any length, with no more memory than the list.
#[derive(Clone, Debug)]
pub struct ListBuilder {
    whole: blake3::Hasher,
    chunk: blake3::Hasher,
    cutter: Cutter,
    /// The bytes in `chunk`.
    filled: u32,
    pushed: u64,
    chunks: Vec<ChunkRef>,
}

impl ListBuilder {
    /// For content of `len` bytes, at most [`MAX_BLOB`](crate::limits::MAX_BLOB): cut by what it holds, so that two
    /// devices cut the same content alike, and a changed one mostly as it was (TRANSFER-CUT-1).
    pub fn new(len: u64) -> ListBuilder {
        ListBuilder::cut(Cutter::new(len))
    }

    /// The same, cut into equal chunks: for content in which nothing ever moves.
    pub fn equal(len: u64) -> ListBuilder {
        ListBuilder::cut(Cutter::Equal(chunk_len(len)))
    }

    fn cut(cutter: Cutter) -> ListBuilder {
        let (whole, chunk) = (blake3::Hasher::new(), blake3::Hasher::new());
        ListBuilder { whole, chunk, cutter, filled: 0, pushed: 0, chunks: Vec::new() }
    }

    /// Adds the next bytes of the content.
    pub fn push(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.pushed = self.pushed.saturating_add(bytes.len() as u64);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, ends) = self.cutter.next(self.filled, rest);
            let (now, later) = rest.split_at(now.min(rest.len()));
            self.chunk.update(now);
            // A chunk has at most MAX_CHUNK bytes.
            self.filled += now.len() as u32;
            if ends {
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
