//! What the machines are given of a GRANT, and what acknowledges it.

use alloc::vec::Vec;

use super::holdings::Inline;
use crate::wire::{Final, Hash, Proven, Record, Want};

/// A GRANT whose signatures were verified: the WANT's by its target, the record's by its signer, the FINAL's by the parent's owner.
pub struct ProvenGrant {
    /// The request that it answers, or 0.
    pub req: u32,
    /// The WANT.
    pub want: Proven<Want>,
    /// The record.
    pub record: Proven<Record>,
    /// The FINAL.
    pub end: Proven<Final>,
    /// What it brings of exclusive parts.
    pub inline: Inline,
}

/// The bytes that an owner signs to acknowledge its record.
pub fn ack_message(record: &Hash) -> Vec<u8> {
    [b"segue/1 sig head".as_slice(), record.as_bytes()].concat()
}
