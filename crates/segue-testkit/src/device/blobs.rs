//! Blobs in memory, as slices at offsets: what an adapter keeps in files.

use std::collections::BTreeMap;

use segue_proto::wire::Hash;

/// Slices of blobs, by blob and offset. Nothing here is verified: a reader checks what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blobs(BTreeMap<Hash, BTreeMap<u64, Vec<u8>>>);

impl Blobs {
    /// Writes a slice over whatever lies at its offset.
    pub fn put(&mut self, blob: Hash, offset: u64, bytes: &[u8]) {
        self.0.entry(blob).or_default().insert(offset, bytes.to_vec());
    }

    /// The bytes of a range; none if a part of it is missing.
    pub fn read(&self, blob: &Hash, offset: u64, len: u64) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if len == 0 {
            return Some(out);
        }
        let slices = self.0.get(blob)?;
        let first = *slices.range(..=offset).next_back()?.0;
        for (start, bytes) in slices.range(first..) {
            let at = offset + out.len() as u64;
            let tail = usize::try_from(at.checked_sub(*start)?).ok().and_then(|skip| bytes.get(skip..))?;
            let want = usize::try_from(len - out.len() as u64).ok()?;
            out.extend_from_slice(&tail[..tail.len().min(want)]);
            if out.len() as u64 == len {
                return Some(out);
            }
        }
        None
    }

    /// Whether the blob is held whole and hashes to its id.
    pub fn is_whole(&self, blob: &Hash, len: u64) -> bool {
        self.read(blob, 0, len).is_some_and(|bytes| blake3::hash(&bytes).as_bytes() == blob.as_bytes())
    }

    /// Every slice: blob, offset and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Hash, u64, &[u8])> {
        self.0.iter().flat_map(|(blob, slices)| slices.iter().map(|(at, bytes)| (*blob, *at, bytes.as_slice())))
    }

    /// How many slices there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
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
}
