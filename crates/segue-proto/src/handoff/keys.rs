//! Where the journal keeps a session: `s` ‖ session ‖ one letter ‖ the rest.

use alloc::vec::Vec;

use crate::journal::Write;
use crate::wire::SessionId;

macro_rules! letters {
    ($($(#[$doc:meta])* $name:ident = $letter:literal,)*) => {
        $($(#[$doc])* pub const $name: u8 = $letter;)*

        /// All of them.
        const ALL: &[u8] = &[$($letter),*];
    };
}

letters! {
    /// The records, by id: `Signed Record`.
    RECORD = b'r',
    /// The nonce of this device's actor.
    ACTOR = b'a',
    /// The session's name.
    NAME = b'n',
    /// The GRANT that waits for its acknowledgement: the payload of its frame.
    GRANT = b'g',
    /// The FREEZE that goes to the grantor until the head changes: the payload of its frame.
    FROZEN = b'z',
    /// The own WANT that the newest grant to this device answers.
    CLAIM = b'w',
    /// What a receipt needs of a handoff, by its record.
    RECEIPT = b'e',
    /// There while the store's continuity isn't proven.
    UNPROVEN = b'u',
    /// Manifests that are held complete, by hash.
    MANIFEST = b'm',
    /// Which of them were fetched and are not the data yet, by hash.
    FETCHED = b'f',
    /// The hash of the manifest that the data stands on, and the position of its parts in the log of changes.
    BASE = b'b',
    /// The parts written since, by id: the position of the last change, and the part.
    PART = b'p',
    /// Labelled copies: record ‖ part.
    COPY = b'c',
    /// The name of the log of changes.
    LOG = b'l',
    /// Ops of log and opaque parts: part ‖ actor ‖ number.
    OP = b'o',
    /// The seeds of the strands of log and opaque parts: part ‖ actor.
    SEED = b'k',
    /// Up to which position of its log a peer's changes are held, by device.
    CURSOR = b'q',
    /// Snapshots: part ‖ id, with whether the part stands on it, and its position.
    SNAPSHOT = b't',
    /// Hashes of ops in the snapshot that a part stands on, by part.
    KNOWN = b'j',
    /// What devices hold of snapshots: part ‖ snapshot ‖ device, with the position.
    HOLDING = b'i',
    /// The nonces and devices of writers, by actor.
    WRITER = b'd',
    /// Ops that are set aside: part ‖ actor ‖ number, with the seed of their strand.
    ASIDE = b'y',
    /// Values that are set aside: part ‖ actor, with the part's kind.
    ASIDE_VALUE = b'v',
    /// Content that the data names and that isn't here, by blob: the entry that names it.
    MISSING = b'x',
    /// What the user picked, if not all: the ids of parts and folders.
    PICK = b'2',
    /// What of the data came with the last handoff, if not all: the same.
    CAME = b'3',
    /// Content that is here and whose place missing content takes: part ‖ blob.
    REPLACED = b'h',
}

// Two kinds of entries under one letter would be read for each other: then this doesn't compile.
const _: () = assert!(distinct(ALL), "a letter of the journal stands twice");

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

const fn distinct(mut letters: &[u8]) -> bool {
    while let [first, rest @ ..] = letters {
        let mut others = rest;
        while let [other, more @ ..] = others {
            if *other == *first {
                return false;
            }
            others = more;
        }
        letters = rest;
    }
    true
}
