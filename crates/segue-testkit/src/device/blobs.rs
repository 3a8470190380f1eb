//! Blobs in memory, as slices at offsets: what an adapter keeps in files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use segue_proto::wire::Hash;

/// Slices of blobs, by blob and offset. Nothing here is verified: a reader checks what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blobs(BTreeMap<Hash, Blob>);

/// The slices of a blob, and as how many bytes they were found whole, which copies of the same slices share.
#[derive(Clone, Debug, Default)]
struct Blob {
    slices: BTreeMap<u64, Slice>,
    whole: Arc<AtomicU64>,
}

impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        self.slices == other.slices
    }
}

impl Eq for Blob {}

/// A slice, without the zeros at its end: so a session of a gigabyte costs a simulated disk little.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slice {
    head: Vec<u8>,
    len: usize,
}

impl Slice {
    fn new(bytes: &[u8]) -> Slice {
        let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        Slice { head: bytes[..bytes.len() - zeros].to_vec(), len: bytes.len() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        bytes.resize(self.len, 0);
        bytes
    }
}

impl Blobs {
    /// Writes a slice over whatever lies at its offset.
    pub fn put(&mut self, blob: Hash, offset: u64, bytes: &[u8]) {
        let blob = self.0.entry(blob).or_default();
        let slice = Slice::new(bytes);
        if blob.slices.get(&offset) != Some(&slice) {
            blob.slices.insert(offset, slice);
            blob.whole = Arc::default();
        }
    }

    /// The bytes of a range; none if a part of it is missing.
    pub fn read(&self, blob: &Hash, offset: u64, len: u64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if len == 0 {
            return Some(out);
        }
        let slices = &self.0.get(blob)?.slices;
        let first = *slices.range(..=offset).next_back()?.0;
        for (start, slice) in slices.range(first..) {
            let at = offset + out.len() as u64;
            let skip = usize::try_from(at.checked_sub(*start)?).ok().filter(|skip| *skip <= slice.len)?;
            let want = usize::try_from(len - out.len() as u64).ok()?;
            let end = slice.len.min(skip.saturating_add(want));
            let head = slice.head.get(skip..slice.head.len().min(end)).unwrap_or_default();
            let filled = out.len() + (end - skip);
            out.extend_from_slice(head);
            out.resize(filled, 0);
            if out.len() as u64 == len {
                return Some(out);
            }
        }
        None
    }

    /// Whether the blob is held whole and hashes to its id. Everybody holds the one without bytes, which is never asked
    /// for.
    pub fn is_whole(&self, blob: &Hash, len: u64) -> bool {
        if len == 0 {
            return blake3::hash(&[]).as_bytes() == blob.as_bytes();
        }
        let Some(held) = self.0.get(blob) else { return false };
        if held.whole.load(Ordering::Relaxed) == len {
            return true;
        }
        let whole = self.read(blob, 0, len).is_some_and(|bytes| blake3::hash(&bytes).as_bytes() == blob.as_bytes());
        if whole {
            held.whole.store(len, Ordering::Relaxed);
        }
        whole
    }

    /// Every slice: blob, offset and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Hash, u64, Vec<u8>)> {
        self.0.iter().flat_map(|(blob, held)| held.slices.iter().map(|(at, slice)| (*blob, *at, slice.bytes())))
    }

    /// How many slices there are.
    pub fn len(&self) -> usize {
        self.0.values().map(|blob| blob.slices.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_across_slices_and_never_across_a_gap() {
        let blob = Hash::new([1; 32]);
        let mut blobs = Blobs::default();
        blobs.put(blob, 0, b"abcd");
        blobs.put(blob, 4, b"efgh");
        blobs.put(blob, 10, b"kl");
        assert_eq!(blobs.read(&blob, 2, 4).as_deref(), Some(&b"cdef"[..]));
        assert_eq!(blobs.read(&blob, 5, 3).as_deref(), Some(&b"fgh"[..]));
        assert_eq!(blobs.read(&blob, 6, 3), None);
        assert_eq!(blobs.read(&blob, 10, 2).as_deref(), Some(&b"kl"[..]));
        assert_eq!(blobs.read(&blob, 10, 3), None);
        assert_eq!(blobs.read(&Hash::ZERO, 0, 0).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn everybody_holds_the_blob_without_bytes_and_no_other() {
        let blobs = Blobs::default();
        assert!(blobs.is_whole(&Hash::new(*blake3::hash(&[]).as_bytes()), 0));
        assert!(!blobs.is_whole(&Hash::new([1; 32]), 0));
    }
}
