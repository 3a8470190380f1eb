//! What a manifest is made of, and the checks of a single part and a single entry.

use alloc::vec::Vec;

use super::hashes::{header, op_hash, part_root, strand_hash};
use super::path::check_path;
use crate::limits::{CHUNK, MAX_ACTORS, MAX_BLOB, MAX_DEPS, MAX_MANIFEST, MAX_PATH};
use crate::wire::codec::{decode, encode};
use crate::wire::hash::blob_id;
use crate::wire::schema::{Describe, Struct, wire};
use crate::wire::{ActorId, Hash, Hlc, List, Op, Opt, PartId, SessionId, Text, Tip};
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
        /// What its ops do: 1 register, 2 log, 3 blob, 4 opaque, 5 exclusive. This version uses 3 and 5.
        kind: u16,
        /// The tips of its strands, ascending by actor.
        strands: List<Tip, MAX_ACTORS>,
        /// The op that wins; there if a blob or exclusive part has any op.
        value: Opt<Value>,
    }

    /// The op that wins in a part, with what it takes to recompute its hash.
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

    /// Whether this version knows which of a part's ops wins.
    pub(super) const fn has_value(self) -> bool {
        matches!(self, PartKind::Blob | PartKind::Exclusive)
    }
}

impl Part {
    /// A part without ops.
    pub fn new(part: PartId, kind: PartKind) -> Part {
        Part { part, kind: kind.number(), strands: List::empty(), value: None.into() }
    }

    /// Its root: which ops it has.
    pub fn root(&self) -> Hash {
        part_root(self)
    }

    /// The tip of an actor's strand; none if the actor wrote nothing.
    pub fn tip(&self, actor: &ActorId) -> Option<&Tip> {
        let at = self.strands.binary_search_by(|tip| tip.actor.cmp(actor)).ok()?;
        self.strands.get(at)
    }

    /// The body of the op that wins.
    pub fn body(&self) -> Option<&[u8]> {
        self.value.get().map(|value| &*value.op.body)
    }

    /// What a blob part holds, removed entries included.
    pub fn entry(&self) -> Option<Entry> {
        let body = (self.kind == PartKind::Blob.number()).then(|| self.body()).flatten()?;
        decode(Rules::ALL, body).ok()
    }

    /// Checks all that can be known from the part alone.
    pub(super) fn check(&self, rules: Rules, session: &SessionId) -> Result<(), Violation> {
        let kind = PartKind::from_number(self.kind);
        rules.ensure(Clause::WIRE_VALUE_1, kind.is_some(), Code::WIRE_VALUE)?;
        // A strand without ops isn't listed, or one set of ops would have two roots.
        let ordered = self.strands.is_sorted_by(|a, b| a.actor < b.actor) && self.strands.iter().all(|tip| tip.seq > 0);
        rules.ensure(Clause::DATA_MANIFEST_1, ordered, Code::DATA_MANIFEST)?;
        let Some(value) = self.value.get() else {
            let complete = self.strands.is_empty() || !kind.is_some_and(PartKind::has_value);
            return rules.ensure(Clause::DATA_MANIFEST_1, complete, Code::DATA_MANIFEST);
        };
        self.check_value(rules, session, value)?;
        if kind == Some(PartKind::Blob) { Entry::open(rules, &value.op.body).map(|_| ()) } else { Ok(()) }
    }

    fn check_value(&self, rules: Rules, session: &SessionId, value: &Value) -> Result<(), Violation> {
        let op = &value.op;
        let tip = self.tip(&op.actor);
        let is_tip = op.part == self.part && tip.is_some_and(|tip| tip.seq == op.seq);
        rules.ensure(Clause::DATA_MANIFEST_1, is_tip, Code::DATA_MANIFEST)?;
        let follows = op.seq != 1 || value.prev == strand_hash(session, &op.part, &op.actor);
        let hash = op_hash(&value.prev, &header(op));
        let recomputes = follows && tip.is_none_or(|tip| tip.hash == hash);
        rules.ensure(Clause::DATA_OP_1, recomputes, Code::DATA_HASH)?;
        rules.ensure(Clause::DATA_OP_4, self.holds_deps(op), Code::DATA_MANIFEST)
    }

    /// Takes in the next op of a strand, which becomes the part's value.
    ///
    /// An inline op brings no hash: it recomputes here, and the root tells whether it is the right one.
    pub(super) fn advance(&mut self, rules: Rules, session: &SessionId, op: &Op) -> Result<(), Violation> {
        let (seq, prev) = match self.tip(&op.actor) {
            Some(tip) => (tip.seq, tip.hash),
            None => (0, strand_hash(session, &self.part, &op.actor)),
        };
        rules.ensure(Clause::DATA_OP_1, seq.checked_add(1) == Some(op.seq), Code::DATA_HASH)?;
        let follows = self.holds_deps(op) && self.follows_value(op);
        rules.ensure(Clause::DATA_OP_4, follows, Code::DATA_MANIFEST)?;
        let tip = Tip { actor: op.actor, seq: op.seq, hash: op_hash(&prev, &header(op)) };
        self.put_tip(tip)?;
        self.value = Some(Value { prev, op: op.clone() }).into();
        Ok(())
    }

    fn put_tip(&mut self, tip: Tip) -> Result<(), Violation> {
        let mut tips = core::mem::take(&mut self.strands).into_vec();
        match tips.binary_search_by(|known| known.actor.cmp(&tip.actor)) {
            Ok(at) => tips.get_mut(at).into_iter().for_each(|known| *known = tip.clone()),
            Err(at) => tips.insert(at, tip),
        }
        self.strands = List::new(tips).ok_or(Violation::new(Code::WIRE_LIMIT, Clause::WIRE_CAP_1))?;
        Ok(())
    }

    /// Takes the last op back if `actor` wrote it, as a restored backup would (the opposite of DATA-OP-3).
    pub(super) fn rewind(&mut self, actor: &ActorId) {
        let Some(value) = self.value.get().filter(|value| value.op.actor == *actor) else { return };
        let before = Tip { actor: *actor, seq: value.op.seq.saturating_sub(1), hash: value.prev };
        let others = self.strands.iter().filter(|tip| tip.actor != *actor).cloned();
        let mut tips: Vec<Tip> = others.chain((before.seq > 0).then_some(before.clone())).collect();
        tips.sort_by_key(|tip| tip.actor);
        self.strands = List::new(tips).unwrap_or_default();
        self.value = None.into();
    }

    /// Whether `op` names, ascending, ops of strands other than its own that this part has.
    fn holds_deps(&self, op: &Op) -> bool {
        let held = |dep: &Tip| {
            let tip = self.tip(&dep.actor);
            tip.is_some_and(|tip| dep.seq < tip.seq || dep == tip) && dep.seq > 0 && dep.actor != op.actor
        };
        op.deps.is_sorted_by(|a, b| a.actor < b.actor) && op.deps.iter().all(held)
    }

    /// Whether `op` was made after the part's value: by the same writer, or by one who had read it.
    fn follows_value(&self, op: &Op) -> bool {
        let Some(last) = self.value.get().map(|value| value.op.actor) else { return true };
        last == op.actor || self.tip(&last).is_some_and(|tip| op.deps.contains(tip))
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
