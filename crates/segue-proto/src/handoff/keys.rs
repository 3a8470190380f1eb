//! Where the journal keeps a session: `s` ‖ session ‖ one letter ‖ the rest.

use alloc::vec::Vec;

use crate::journal::Write;
use crate::wire::SessionId;

/// The records, by id: `Signed Record`.
pub const RECORD: u8 = b'r';
/// The nonce of this device's actor.
pub const ACTOR: u8 = b'a';
/// The session's name.
pub const NAME: u8 = b'n';
/// The GRANT that waits for its acknowledgement: the payload of its frame.
pub const GRANT: u8 = b'g';
/// The FREEZE that goes to the grantor until the head changes: the payload of its frame.
pub const FROZEN: u8 = b'z';
/// The own WANT that the newest grant to this device answers.
pub const CLAIM: u8 = b'w';
/// What a receipt needs of a handoff, by its record.
pub const RECEIPT: u8 = b'e';
/// There while the store's continuity isn't proven.
pub const UNPROVEN: u8 = b'u';
/// Manifests that are held complete, by hash.
pub const MANIFEST: u8 = b'm';
/// Which of them were fetched and are not the data yet, by hash.
pub const FETCHED: u8 = b'f';
/// The hash of the manifest that the data stands on, and the position of its parts in the log of changes.
pub const BASE: u8 = b'b';
/// The parts written since, by id: the position of the last change, and the part.
pub const PART: u8 = b'p';
/// Labelled copies: record ‖ part.
pub const COPY: u8 = b'c';

/// The name of the log of changes.
pub const LOG: u8 = b'l';
/// Ops of log and opaque parts: part ‖ actor ‖ number.
pub const OP: u8 = b'o';
/// The seeds of the strands of log and opaque parts: part ‖ actor.
pub const SEED: u8 = b'k';
/// Up to which position of its log a peer's changes are held, by device.
pub const CURSOR: u8 = b'q';

/// Snapshots: part ‖ id, with whether the part stands on it, and its position.
pub const SNAPSHOT: u8 = b't';
/// Hashes of ops in the snapshot that a part stands on, by part.
pub const KNOWN: u8 = b'j';
/// What devices hold of snapshots: part ‖ snapshot ‖ device, with the position.
pub const HOLDING: u8 = b'i';
/// The nonces and devices of writers, by actor.
pub const WRITER: u8 = b'd';
/// Ops that are set aside: part ‖ actor ‖ number, with the seed of their strand.
pub const ASIDE: u8 = b'y';
/// Values that are set aside: part ‖ actor, with the part's kind.
pub const ASIDE_VALUE: u8 = b'v';
/// Content that the data names and that isn't here, by blob: the entry that names it.
pub const MISSING: u8 = b'x';
/// Content that is here and whose place missing content takes: part ‖ blob.
pub const REPLACED: u8 = b'h';

/// The key of a session's entry.
pub fn key(session: SessionId, letter: u8, rest: &[u8]) -> Vec<u8> {
    [b"s", session.as_bytes().as_slice(), &[letter], rest].concat()
}

/// Splits a key again.
pub fn split(key: &[u8]) -> Option<(SessionId, u8, &[u8])> {
    let rest = key.strip_prefix(b"s")?;
    let (session, rest) = rest.split_first_chunk::<16>()?;
    let (letter, rest) = rest.split_first()?;
    Some((SessionId::new(*session), *letter, rest))
}

/// Puts an entry.
pub fn put(session: SessionId, letter: u8, rest: &[u8], value: Vec<u8>) -> Write {
    Write { key: key(session, letter, rest), value: Some(value) }
}

/// Deletes an entry.
pub fn delete(session: SessionId, letter: u8, rest: &[u8]) -> Write {
    Write { key: key(session, letter, rest), value: None }
}
