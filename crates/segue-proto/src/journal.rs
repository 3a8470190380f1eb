//! What the core and its journal say to each other: batches of writes with a log sequence number, and how far they
//! are durable.
//!
//! The core never touches a disk. It hands out [`Batch`]es, withholds what promises their content, and is told the
//! highest LSN that is durable. That number is cumulative, so an adapter may commit many batches with one sync.

use alloc::vec::Vec;

/// The number of a batch. LSNs ascend by one over the whole life of a store; zero stands before the first batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// One change of the journal: a put, or a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key; a later write to the same key replaces the earlier one.
    pub key: Vec<u8>,
    /// The new value; `None` deletes the key. Deleting an absent key changes nothing.
    pub value: Option<Vec<u8>>,
}

/// Writes that become durable together, or not at all. Within a batch they apply in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// One more than the batch before it.
    pub lsn: Lsn,
    /// The changes, in order.
    pub writes: Vec<Write>,
    /// The batch may only be durable once every chunk that was reported as verified before the batch was polled is
    /// durable on disk.
    pub after_chunks: bool,
}

/// Whether a store is known to go on from where it stopped. HO-STORE rules hang on it: a store that may have been
/// restored from a backup takes new actors and is entitled to nothing that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Continuity {
    /// The mark outside the store agrees with the store; a new, empty store counts as proven.
    Proven,
    /// The mark is missing, is ahead of the store, or is another store's.
    Unproven,
}
