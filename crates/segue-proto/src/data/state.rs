//! A device's own copy of a session's data.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::hashes::root;
use super::manifest::Manifest;
use super::objects::{Entry, Part, PartKind};
use super::path::Tree;
use crate::limits::{MAX_MANIFEST, MAX_PARTS};
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::text::clean_name;
use crate::wire::{ActorId, Hash, Hlc, List, Nonce, Op, PartId, SessionId, Text};
use crate::{Clause, Code, Rules, UsageError, Violation};

/// The parts of a session as this device holds them, with what it takes to write, serve and compare them quickly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    session: SessionId,
    name: Text<256>,
    parts: BTreeMap<PartId, PartState>,
    tree: Tree,
    blobs: BTreeMap<Hash, Named>,
    /// The bytes that all parts take in a manifest.
    encoded: usize,
}

/// A part, with its root and the length of its encoding, so that a write costs no more as the session grows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PartState {
    part: Part,
    root: Hash,
    encoded: usize,
}

/// A blob that entries name: how long it is, and by how many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Named {
    len: u64,
    by: usize,
}

/// A write that this device is about to make.
#[derive(Clone, Debug)]
pub struct NewOp {
    /// This device's present actor.
    pub actor: ActorId,
    /// The part; it comes to be with its first op.
    pub part: PartId,
    /// The part's kind: [`PartKind::Blob`] or [`PartKind::Exclusive`] in this version.
    pub kind: u16,
    /// When it is made.
    pub hlc: Hlc,
    /// The head record under which it is made.
    pub record: Hash,
    /// Sixteen random bytes.
    pub salt: Nonce,
    /// The body: an [`Entry`] in a blob part, anything in an exclusive part.
    pub body: Vec<u8>,
}

/// Inline ops, checked and not taken in yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    parts: BTreeMap<PartId, PartState>,
    root: Hash,
}

impl Advance {
    /// The root that the session has once the ops are taken in (DATA-ROOT-1).
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The parts that change.
    pub fn parts(&self) -> impl Iterator<Item = PartId> {
        self.parts.keys().copied()
    }
}

impl State {
    /// A session without parts. What `name` may not hold is left out.
    pub fn new(session: SessionId, name: &str) -> State {
        let name = Text::new(clean_name(name)).unwrap_or_default();
        let (parts, blobs) = (BTreeMap::new(), BTreeMap::new());
        State { session, name, parts, tree: Tree::default(), blobs, encoded: 0 }
    }

    /// From a manifest that [`Manifest::open`] let pass.
    pub fn from_manifest(manifest: Manifest) -> State {
        let mut state = State::new(manifest.session, "");
        state.name = manifest.name;
        manifest.parts.into_vec().into_iter().for_each(|part| state.put(PartState::new(part)));
        state
    }

    /// The manifest of what this device holds now.
    pub fn to_manifest(&self) -> Manifest {
        let parts = self.parts.values().map(|held| held.part.clone()).collect();
        let parts = List::new(parts).unwrap_or_default();
        Manifest { session: self.session, name: self.name.clone(), parts }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The session's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The root: which ops this device holds.
    pub fn root(&self) -> Hash {
        root(&self.session, self.parts.iter().map(|(id, held)| (*id, held.root)))
    }

    /// The part with this id.
    pub fn part(&self, id: &PartId) -> Option<&Part> {
        self.parts.get(id).map(|held| &held.part)
    }

    /// All parts, ascending by id.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.values().map(|held| &held.part)
    }

    /// The length in bytes of a blob, content or chunk list, that a live entry names; none if none does.
    pub fn blob_len(&self, blob: &Hash) -> Option<u64> {
        self.blobs.get(blob).map(|named| named.len)
    }

    /// The blobs that live entries name, chunk lists included, ascending.
    pub fn blobs(&self) -> impl Iterator<Item = Hash> {
        self.blobs.keys().copied()
    }

    /// Makes the next op of an actor and takes it in (DATA-OP-3).
    ///
    /// Errors: [`UsageError::BadPart`] if the part has another kind or isn't one that this version writes, or if the
    /// entry isn't well formed or has no room in the tree; [`UsageError::TooLarge`] if a limit would be passed.
    /// The state is unchanged then.
    pub fn write(&mut self, rules: Rules, new: NewOp) -> Result<Op, UsageError> {
        let mut part = self.part_to_write(&new)?;
        if part.kind == PartKind::Blob.number() && !self.has_room(&part, &new.body) {
            return Err(UsageError::BadPart);
        }
        if !rules.keeps(Clause::DATA_OP_3) {
            part.rewind(&new.actor);
        }
        let op = next_op(&part, new).ok_or(UsageError::TooLarge)?;
        part.advance(Rules::ALL, &self.session, &op).map_err(|_| UsageError::TooLarge)?;
        let held = PartState::new(part);
        let is_new = !self.parts.contains_key(&op.part);
        let is_full = is_new && self.parts.len() == MAX_PARTS;
        if is_full || self.encoded_with([&held]) > MAX_MANIFEST {
            return Err(UsageError::TooLarge);
        }
        self.put(held);
        Ok(op)
    }

    /// Checks inline ops of exclusive parts, in the order in which they were made, and takes none of them in.
    ///
    /// Errors: DATA-OP-1 (not the next op of its strand), DATA-OP-4 (doesn't follow what the part holds), DATA-OP-5
    /// (no exclusive part that is held), WIRE-CAP-1.
    pub fn stage(&self, rules: Rules, ops: &[Op]) -> Result<Advance, Violation> {
        let mut parts: BTreeMap<PartId, Part> = BTreeMap::new();
        for op in ops {
            let held = self.part(&op.part);
            let exclusive = held.is_some_and(|part| part.kind == PartKind::Exclusive.number());
            rules.ensure(Clause::DATA_OP_5, exclusive, Code::DATA_MANIFEST)?;
            let Some(held) = held else { continue };
            parts.entry(op.part).or_insert_with(|| held.clone()).advance(rules, &self.session, op)?;
        }
        let parts: BTreeMap<_, _> = parts.into_iter().map(|(id, part)| (id, PartState::new(part))).collect();
        let fits = self.encoded_with(parts.values()) <= MAX_MANIFEST;
        rules.ensure(Clause::WIRE_CAP_1, fits, Code::LIMIT_MANIFEST)?;
        let root_of = |(id, held): (&PartId, &PartState)| (*id, parts.get(id).unwrap_or(held).root);
        let root = root(&self.session, self.parts.iter().map(root_of));
        Ok(Advance { parts, root })
    }

    /// Takes in the ops that [`State::stage`] checked against this very state.
    pub fn commit(&mut self, advance: Advance) {
        advance.parts.into_values().for_each(|held| self.put(held));
    }

    /// The encoding of a part, for the journal.
    pub fn part_bytes(&self, id: &PartId) -> Option<Vec<u8>> {
        self.part(id).map(encode)
    }

    /// Takes in a part that [`State::part_bytes`] gave, instead of what is held of that part.
    ///
    /// Errors: those of [`Manifest::open`] that concern a single part; the state is unchanged then.
    pub fn load_part(&mut self, rules: Rules, bytes: &[u8]) -> Result<(), Violation> {
        let part: Part = decode(rules, bytes)?;
        part.check(rules, &self.session)?;
        self.put(PartState::new(part));
        Ok(())
    }

    /// The part as it is before the write.
    fn part_to_write(&self, new: &NewOp) -> Result<Part, UsageError> {
        let kind = PartKind::from_number(new.kind).filter(|kind| kind.has_value()).ok_or(UsageError::BadPart)?;
        match self.part(&new.part) {
            Some(part) if part.kind != new.kind => Err(UsageError::BadPart),
            Some(part) => Ok(part.clone()),
            None => Ok(Part::new(new.part, kind)),
        }
    }

    /// Whether `body` is an entry that the session may hold instead of what `part` holds now.
    fn has_room(&mut self, part: &Part, body: &[u8]) -> bool {
        let Ok(entry) = Entry::open(Rules::ALL, body) else { return false };
        let old = part.entry();
        old.iter().for_each(|old| self.detach(part.part, old));
        let fits = !entry.is_live() || self.tree.fits(&entry.path, entry.is_file());
        let agrees = !entry.is_file() || self.blob_len(&entry.blob).is_none_or(|len| len == entry.len);
        old.iter().for_each(|old| self.attach(part.part, old));
        fits && agrees
    }

    fn put(&mut self, held: PartState) {
        let part = held.part.part;
        let old = self.part(&part).and_then(Part::entry);
        old.iter().for_each(|old| self.detach(part, old));
        held.part.entry().iter().for_each(|entry| self.attach(part, entry));
        self.encoded += held.encoded;
        let old = self.parts.insert(part, held);
        self.encoded -= old.map_or(0, |old| old.encoded);
    }

    fn attach(&mut self, part: PartId, entry: &Entry) {
        if entry.is_live() {
            self.tree.insert(&entry.path, part, entry.is_file());
        }
        for (blob, len) in named(entry) {
            self.blobs.entry(blob).or_insert(Named { len, by: 0 }).by += 1;
        }
    }

    fn detach(&mut self, part: PartId, entry: &Entry) {
        if entry.is_live() {
            self.tree.remove(&entry.path, part);
        }
        for (blob, _) in named(entry) {
            let Some(named) = self.blobs.get_mut(&blob) else { continue };
            named.by = named.by.saturating_sub(1);
            if named.by == 0 {
                self.blobs.remove(&blob);
            }
        }
    }

    /// What the manifest takes at most, in bytes, with these parts instead of those held.
    fn encoded_with<'a>(&self, parts: impl IntoIterator<Item = &'a PartState>) -> usize {
        let start = Manifest::MAX_HEADER + self.encoded;
        parts.into_iter().fold(start, |sum, new| {
            let old = self.parts.get(&new.part.part).map_or(0, |old| old.encoded);
            (sum + new.encoded).saturating_sub(old)
        })
    }
}

impl PartState {
    fn new(part: Part) -> PartState {
        PartState { root: part.root(), encoded: encode(&part).len(), part }
    }
}

/// The blobs that an entry names, with their lengths in bytes. Content of no bytes is no blob to hold.
fn named(entry: &Entry) -> impl Iterator<Item = (Hash, u64)> {
    let content = (entry.len > 0).then_some((entry.blob, entry.len));
    let list = entry.chunks.get().map(|list| (list.hash, u64::from(list.len)));
    content.into_iter().chain(list)
}

/// The next op of the writer's strand; none if the body is too long.
///
/// The writer of the part's value had read all other strands, so a new writer names that one strand as read, and a
/// writer that goes on names none.
fn next_op(part: &Part, new: NewOp) -> Option<Op> {
    let seq = part.tip(&new.actor).map_or(0, |tip| tip.seq).checked_add(1)?;
    let last = part.value.get().map(|value| value.op.actor).filter(|last| *last != new.actor);
    let read = last.and_then(|last| part.tip(&last)).cloned();
    Some(Op {
        part: new.part,
        actor: new.actor,
        seq,
        deps: List::new(read.into_iter().collect())?,
        hlc: new.hlc,
        record: new.record,
        salt: new.salt,
        body: Blob::new(new.body)?,
    })
}
