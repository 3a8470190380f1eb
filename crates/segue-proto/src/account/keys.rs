//! Where the journal keeps the account: `a` ‖ one letter ‖ the rest.

use alloc::vec::Vec;

use crate::journal::Write;
use crate::wire::codec::encode;
use crate::wire::{Hash, Proven, RosterEntry};

/// What every key of the account starts with; a session's start with `s`, the device's own with `d`.
pub(crate) const PREFIX: u8 = b'a';
/// The entries, by id: `Signed entry`.
const ENTRY: u8 = b'e';

/// Puts an entry.
pub(crate) fn put(entry: &Proven<RosterEntry>) -> Write {
    let key: Vec<u8> = [&[PREFIX, ENTRY], entry.id().as_bytes().as_slice()].concat();
    Write { key, value: Some(encode(entry.signed())) }
}

/// The entry's id, if the key is one of an entry.
pub(crate) fn split(key: &[u8]) -> Option<Hash> {
    let rest = key.strip_prefix(&[PREFIX, ENTRY])?;
    Some(Hash::new(*rest.first_chunk::<32>().filter(|_| rest.len() == 32)?))
}
