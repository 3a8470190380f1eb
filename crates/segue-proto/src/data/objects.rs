//! What a manifest is made of, and the checks of a single part and a single entry.

use alloc::vec::Vec;

use super::path::check_path;
use crate::limits::{CHUNK, MAX_ACTORS, MAX_BLOB, MAX_DEPS, MAX_MANIFEST, MAX_PATH};
use crate::wire::codec::{decode, encode};
use crate::wire::hash::blob_id;
use crate::wire::schema::{Describe, Struct, wire};
use crate::wire::{Hash, Hlc, List, Op, Opt, PartId, Text, Tip};
use crate::{Clause, Code, Rules, Violation};

wire! {
    /// What an op's hash covers, besides the hash before it.
    pub struct OpHeader {
        /// Its number in the strand, from 1.
        seq: u64,
        /// The tips of other strands of the part that the writer had read since its last op.
        deps: List<Tip, MAX_DEPS>,
        /// When it was made, for display and tie-breaks.
        hlc: Hlc,
        /// The head record under which it was made.
        record: Hash,
        /// The length of the body in bytes.
        body_len: u32,
        /// The salted hash of the body.
        body_hash: Hash,
    }

    /// A named piece of a session.
    pub struct Part {
        /// Its id.
        part: PartId,
        /// What its ops do: 1 register, 2 log, 3 blob, 4 opaque, 5 exclusive.
        kind: u16,
        /// The tips of its strands, ascending by actor.
        strands: List<Tip, MAX_ACTORS>,
        /// The ops that no other has replaced, ascending by actor; none in a log or opaque part, at most one in an
        /// exclusive part.
        values: List<Value, MAX_ACTORS>,
    }

    /// An op that is the value of its part, or one of its values, with what it takes to recompute its hash.
    pub struct Value {
        /// The hash of the op before it in its strand, or of the strand if it is the first.
        prev: Hash,
        /// The op, whole.
        op: Op,
    }

    /// The body of an op of a blob part: a file, a directory, or that there is none any more.
    pub struct Entry {
        /// Where it stands in the session's tree.
        path: Text<MAX_PATH>,
        /// What it is: 0 file, 1 executable file, 2 directory, 3 removed.
        mode: u8,
        /// The length of the content in bytes; 0 if it is no file.
        len: u64,
        /// The BLAKE3 hash of the content; zero if it is no file.
        blob: Hash,
        /// The chunk list of a content longer than 65,536 bytes.
        chunks: Opt<ListRef>,
    }

    /// A chunk list, which is itself fetched as a blob.
    pub struct ListRef {
        /// The BLAKE3 hash of its encoding.
        hash: Hash,
        /// The length of its encoding in bytes.
        len: u32,
    }
}

/// The structures of this chapter, described.
pub fn parts() -> Vec<Struct> {
    alloc::vec![
        OpHeader::describe(),
        super::Manifest::describe(),
        Part::describe(),
        Value::describe(),
        Entry::describe(),
        ListRef::describe(),
        super::snapshot::LogEntry::describe(),
    ]
}

/// What the ops of a part do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum PartKind {
    /// A value; a write beats those that it names.
    Register = 1,
    /// A sequence that only grows.
    Log = 2,
    /// A file or directory: the body is an [`Entry`].
    Blob = 3,
    /// Update bytes of a data type that the application chose.
    Opaque = 4,
    /// A value that only the primary writes.
    Exclusive = 5,
}

impl PartKind {
    /// The kind with this number.
    pub const fn from_number(number: u16) -> Option<PartKind> {
        Some(match number {
            1 => PartKind::Register,
            2 => PartKind::Log,
            3 => PartKind::Blob,
            4 => PartKind::Opaque,
            5 => PartKind::Exclusive,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            PartKind::Register => "register",
            PartKind::Log => "log",
            PartKind::Blob => "blob",
            PartKind::Opaque => "opaque",
            PartKind::Exclusive => "exclusive",
        }
    }

    /// Whether the part's state is a set of values, of which a later op replaces those that its writer had read.
    /// The ops of the other kinds are kept, every one.
    pub const fn has_values(self) -> bool {
        matches!(self, PartKind::Register | PartKind::Blob | PartKind::Exclusive)
    }

    /// Whether every member writes it, and not the primary alone.
    pub const fn is_shared(self) -> bool {
        !matches!(self, PartKind::Exclusive)
    }
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryMode {
    /// A file.
    File = 0,
    /// A file that can be run.
    Executable = 1,
    /// A directory.
    Directory = 2,
    /// Nothing any more.
    Removed = 3,
}

impl EntryMode {
    /// The mode with this number.
    pub const fn from_number(number: u8) -> Option<EntryMode> {
        Some(match number {
            0 => EntryMode::File,
            1 => EntryMode::Executable,
            2 => EntryMode::Directory,
            3 => EntryMode::Removed,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

impl Entry {
    /// A file with the content that a [`ListBuilder`](crate::transfer::ListBuilder) described; none if the path is
    /// longer than [`MAX_PATH`].
    pub fn file(path: &str, executable: bool, len: u64, blob: Hash, chunks: Option<ListRef>) -> Option<Entry> {
        let mode = if executable { EntryMode::Executable } else { EntryMode::File };
        Some(Entry { path: Text::new(path)?, mode: mode.number(), len, blob, chunks: chunks.into() })
    }

    /// A directory, or with [`EntryMode::Removed`] the end of an entry; none if the path is longer than [`MAX_PATH`].
    pub fn bare(path: &str, mode: EntryMode) -> Option<Entry> {
        Some(Entry { path: Text::new(path)?, mode: mode.number(), len: 0, blob: Hash::ZERO, chunks: None.into() })
    }

    /// Decodes and checks the body of an op of a blob part.
    pub fn open(rules: Rules, body: &[u8]) -> Result<Entry, Violation> {
        let entry: Entry = decode(rules, body)?;
        entry.check(rules)?;
        Ok(entry)
    }

    /// Its encoding: the body of an op.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Whether it is a file, executable or not.
    pub fn is_file(&self) -> bool {
        matches!(EntryMode::from_number(self.mode), Some(EntryMode::File | EntryMode::Executable))
    }

    /// Whether it is a file or directory, not removed.
    pub fn is_live(&self) -> bool {
        self.mode != EntryMode::Removed.number()
    }

    /// Checks the rules of form that the encoding alone can't express.
    pub fn check(&self, rules: Rules) -> Result<(), Violation> {
        rules.ensure(Clause::WIRE_VALUE_1, EntryMode::from_number(self.mode).is_some(), Code::WIRE_VALUE)?;
        check_path(rules, &self.path)?;
        let named = match (self.is_file(), self.len) {
            (false, len) => len == 0 && self.blob.is_zero(),
            (true, 0) => self.blob == blob_id(&[]),
            (true, len) => len <= MAX_BLOB && !self.blob.is_zero(),
        };
        rules.ensure(Clause::DATA_ENTRY_1, named, Code::DATA_MANIFEST)?;
        let listed = match self.chunks.get() {
            None => self.len <= CHUNK as u64,
            Some(list) => self.len > CHUNK as u64 && (1..=MAX_MANIFEST).contains(&(list.len as usize)),
        };
        rules.ensure(Clause::DATA_MANIFEST_2, listed, Code::DATA_MANIFEST)
    }
}
