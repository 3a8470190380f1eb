//! The plan of a blob: its chunks, and the verification of each.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::list::ChunkList;
use crate::limits::{CHUNK, MAX_CHUNK, MIN_CHUNK};
use crate::wire::codec::decode;
use crate::wire::hash::blob_id;
use crate::wire::{Hash, Range};
use crate::{Clause, Code, Rules, Violation};

/// How a blob is made of chunks. Immutable, shared by `Arc` between the core and the tasks that receive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    blob: Hash,
    len: u64,
    meta: bool,
    /// Ascending by offset, without gaps.
    chunks: Vec<Chunk>,
}

/// A verifiable slice of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Its first byte's place in the blob.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Its BLAKE3 hash.
    pub hash: Hash,
}

/// A chunk whose bytes were found to match its plan. Only [`Plan::verify_chunk`] makes one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Verified {
    blob: Hash,
    index: u32,
    chunk: Chunk,
    /// A meta blob's content, which the core reads.
    bytes: Option<Vec<u8>>,
}

impl Plan {
    /// A manifest or chunk list: one chunk, whose bytes are kept when verified.
    pub fn meta(blob: Hash, len: u32) -> Plan {
        Plan { blob, len: u64::from(len), meta: true, chunks: whole(blob, len) }
    }

    /// Content without a chunk list: one chunk, or none if it is empty. `len` is at most [`CHUNK`] bytes.
    pub fn small(blob: Hash, len: u64) -> Plan {
        let chunks = u32::try_from(len).map_or(Vec::new(), |len| whole(blob, len));
        Plan { blob, len, meta: false, chunks }
    }

    /// Content with a chunk list.
    ///
    /// Errors: TRANSFER-LIST-1 if the list doesn't cover `len` bytes exactly, or a chunk's length isn't permitted.
    pub fn listed(rules: Rules, blob: Hash, len: u64, list: &ChunkList) -> Result<Plan, Violation> {
        let mut offset = 0u64;
        let place = |item: &super::ChunkRef| {
            let chunk = Chunk { offset, len: item.len, hash: item.hash };
            offset += u64::from(item.len);
            chunk
        };
        let chunks: Vec<Chunk> = list.chunks.iter().map(place).collect();
        let (last, others) = list.chunks.split_last().map_or((0, [].as_slice()), |(last, others)| (last.len, others));
        let sized = (1..=MAX_CHUNK).contains(&(last as usize))
            && others.iter().all(|chunk| (MIN_CHUNK..=MAX_CHUNK).contains(&(chunk.len as usize)));
        let covers = offset == len && len > CHUNK as u64;
        rules.ensure(Clause::TRANSFER_LIST_1, sized && covers, Code::DATA_MANIFEST)?;
        Ok(Plan { blob, len, meta: false, chunks })
    }

    /// The blob's id.
    pub fn blob(&self) -> Hash {
        self.blob
    }

    /// The blob's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the blob has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is a manifest or chunk list, which the core reads itself.
    pub fn is_meta(&self) -> bool {
        self.meta
    }

    /// The number of chunks.
    pub fn chunks(&self) -> u32 {
        // A list has at most MAX_CHUNKS.
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    /// The chunk with this index.
    pub fn chunk(&self, index: u32) -> Option<Chunk> {
        self.chunks.get(index as usize).copied()
    }

    /// The index of the chunk that starts just at `offset`.
    pub fn at_offset(&self, offset: u64) -> Option<u32> {
        let at = self.chunks.binary_search_by(|chunk| chunk.offset.cmp(&offset)).ok()?;
        u32::try_from(at).ok()
    }

    /// The index of the chunk that ends just at `offset`, plus one.
    fn at_end(&self, offset: u64) -> Option<u32> {
        if offset == self.len { Some(self.chunks()) } else { self.at_offset(offset) }
    }

    /// The index of the chunk that holds the byte at `offset`.
    fn holding(&self, offset: u64) -> u32 {
        let after = self.chunks.partition_point(|chunk| chunk.offset <= offset);
        u32::try_from(after.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The first chunk and the number of chunks of a stream that brings `len` bytes from `offset`, of which `asked` was asked
    /// for.
    ///
    /// Errors: TRANSFER-BYTES-1, `WIRE_STATE`, if they weren't asked for; TRANSFER-BYTES-2, `WIRE_VALUE`, if they
    /// don't start and end at chunks.
    pub(crate) fn accepts(
        &self,
        rules: Rules,
        asked: &[Range],
        offset: u64,
        len: u64,
    ) -> Result<(u32, u32), Violation> {
        let outside = Violation::new(Code::WIRE_VALUE, Clause::TRANSFER_BYTES_2);
        let end = offset.checked_add(len).filter(|end| len > 0 && *end <= self.len).ok_or(outside)?;
        let holds = |range: &Range| range.offset <= offset && end <= range.offset.saturating_add(range.len);
        rules.ensure(Clause::TRANSFER_BYTES_1, asked.iter().any(holds), Code::WIRE_STATE)?;
        let (first, after) = (self.at_offset(offset), self.at_end(end));
        let aligned = first.is_some() && after.is_some();
        rules.ensure(Clause::TRANSFER_BYTES_2, aligned, Code::WIRE_VALUE)?;
        let first = first.unwrap_or_else(|| self.holding(offset));
        let after = after.unwrap_or_else(|| self.holding(end).saturating_add(1));
        Ok((first, after.saturating_sub(first)))
    }

    /// Which chunks other content has too, by its chunk list: their indices here, and their offsets there
    /// (TRANSFER-REUSE-1). None if that isn't a chunk list for `len` bytes.
    pub fn shared(&self, rules: Rules, len: u64, list: &[u8]) -> Vec<(u32, u64)> {
        let list = decode::<ChunkList>(rules, list).and_then(|list| Plan::listed(rules, Hash::ZERO, len, &list));
        let Ok(other) = list else { return Vec::new() };
        let there: BTreeMap<(Hash, u32), u64> =
            other.chunks.iter().map(|chunk| ((chunk.hash, chunk.len), chunk.offset)).collect();
        let same = |chunk: &Chunk| there.get(&(chunk.hash, chunk.len)).copied();
        (0..).zip(&self.chunks).filter_map(|(index, chunk)| Some((index, same(chunk)?))).collect()
    }

    /// Verifies the bytes of a chunk.
    ///
    /// Errors: TRANSFER-CHUNK-1, `DATA_HASH`, if they aren't that chunk's.
    pub fn verify_chunk(&self, rules: Rules, index: u32, bytes: &[u8]) -> Result<Verified, Violation> {
        let bad = Violation::new(Code::DATA_HASH, Clause::TRANSFER_CHUNK_1);
        let chunk = self.chunk(index).ok_or(bad)?;
        let matches = bytes.len() == chunk.len as usize && blob_id(bytes) == chunk.hash;
        rules.ensure(Clause::TRANSFER_CHUNK_1, matches, Code::DATA_HASH)?;
        Ok(Verified { blob: self.blob, index, chunk, bytes: self.meta.then(|| bytes.to_vec()) })
    }
}

impl Verified {
    /// The blob.
    pub fn blob(&self) -> Hash {
        self.blob
    }

    /// The chunk's index in the plan.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The chunk's length in bytes.
    pub fn len(&self) -> u32 {
        self.chunk.len
    }

    /// Whether the chunk has no bytes: never, as no plan has such a chunk.
    pub fn is_empty(&self) -> bool {
        self.chunk.len == 0
    }

    /// The chunk.
    pub fn chunk(&self) -> Chunk {
        self.chunk
    }

    /// The content, if the blob is a manifest or chunk list.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }
}

impl core::fmt::Debug for Verified {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "chunk {} of {:?}", self.index, self.blob)
    }
}

/// Checks the ranges of a request for a blob of `len` bytes: some, none empty, ascending, not touching (WIRE-VALUE-1).
pub fn check_ranges(rules: Rules, len: u64, ranges: &[Range]) -> Result<(), Violation> {
    let mut free = Some(0);
    let ordered = ranges.iter().all(|range| {
        let end = range.offset.checked_add(range.len).filter(|end| *end <= len && range.len > 0);
        let apart = free.is_some_and(|free| range.offset >= free);
        free = end.and_then(|end| end.checked_add(1));
        apart && end.is_some()
    });
    rules.ensure(Clause::WIRE_VALUE_1, ordered && !ranges.is_empty(), Code::WIRE_VALUE)
}

/// One chunk that is the whole blob; none if that is empty.
fn whole(blob: Hash, len: u32) -> Vec<Chunk> {
    (len > 0).then_some(Chunk { offset: 0, len, hash: blob }).into_iter().collect()
}
