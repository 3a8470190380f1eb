//! Hash contexts: every hash in Segue is BLAKE3 in `derive_key` mode under a context of its own.

use super::ids::Hash;

/// A hash under construction.
///
/// It is some 2 KB large and handed on by value, so its methods are inlined: else each would copy it.
#[derive(Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Starts a hash under `context`, one of the strings that the wire chapter lists.
    #[inline]
    pub fn new(context: &str) -> Self {
        Hasher(blake3::Hasher::new_derive_key(context))
    }
    /// Adds bytes.
    #[inline]
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }
    /// Adds a big-endian number of two bytes.
    #[inline]
    #[must_use]
    pub fn u16(self, n: u16) -> Self {
        self.bytes(&n.to_be_bytes())
    }
    /// Adds a big-endian number of four bytes.
    #[inline]
    #[must_use]
    pub fn u32(self, n: u32) -> Self {
        self.bytes(&n.to_be_bytes())
    }
    /// Adds a big-endian number of eight bytes.
    #[inline]
    #[must_use]
    pub fn u64(self, n: u64) -> Self {
        self.bytes(&n.to_be_bytes())
    }
    /// The hash.
    #[inline]
    pub fn finish(self) -> Hash {
        Hash::new(*self.0.finalize().as_bytes())
    }
}

/// The plain BLAKE3 hash of content: the id of a blob.
pub fn blob_id(content: &[u8]) -> Hash {
    Hash::new(*blake3::hash(content).as_bytes())
}
