//! A device's own copy of a session's data.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::announce::Image;
use super::hashes::{actor_id, root};
use super::manifest::{Manifest, placed};
use super::objects::{Entry, Part, PartKind, Value};
use super::path::Tree;
use super::snapshot::Base;
use super::stream::{OpView, Stream, StreamOp};
use crate::limits::{MAX_ACTORS, MAX_MANIFEST, MAX_PARTS, MAX_PATH, MAX_STREAM_BYTES, MAX_STREAM_OPS, MAX_WRITERS};
use crate::wire::codec::{decode, encode, encoded_len};
use crate::wire::text::clean_name;
use crate::wire::{ActorId, Hash, List, Nonce, PartId, SessionId, Text, Tip, Writer};
use crate::wire::{DeviceId, Holding, Signed};
use crate::{Clause, Code, Rules, Violation};

/// The parts of a session as this device holds them, with what it takes to write, serve and compare them quickly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub(super) session: SessionId,
    pub(super) name: Text<256>,
    pub(super) parts: BTreeMap<PartId, PartState>,
    /// The ops of log and opaque parts.
    pub(super) streams: BTreeMap<PartId, Stream>,
    pub(super) tree: Tree,
    blobs: BTreeMap<Hash, Named>,
    /// The parts with a file that has a chunk list, by its path.
    listed: BTreeSet<(Text<MAX_PATH>, PartId)>,
    /// The parts with several values.
    conflicted: BTreeSet<PartId>,
    /// The parts that the owner alone writes.
    pub(super) exclusive: BTreeSet<PartId>,
    /// The bytes that all parts take in a manifest.
    encoded: usize,
    /// Who the writers are, as far as they were named. No op and no root depends on it.
    writers: BTreeMap<ActorId, Writer>,
    /// The snapshots that parts don't stand on yet.
    snapshots: BTreeMap<(PartId, Hash), Base>,
    /// What devices said that they hold of snapshots: of each device and snapshot the first that was heard.
    holdings: BTreeMap<(PartId, Hash, DeviceId), (Signed<Holding>, Holding)>,
    pub(super) image: Image,
}

/// A part, with what follows from it: its root, its encoding, and what its values and their files weigh. So a write costs
/// no more as the session grows, and a manifest no more than to copy it together.
#[derive(Clone, Debug)]
pub(super) struct PartState {
    pub(super) part: Part,
    /// None since a strand of its moved: of a log thousands of ops may come before anybody asks for its root.
    known: Option<Known>,
    /// Its strands are those of its stream, and not what somebody else's manifest says.
    follows: bool,
    /// The length of the encoding in bytes.
    len: usize,
    weight: u64,
    /// What it weighed when the weights of all were summed up.
    pub(super) counted: u64,
}

/// The root of a part and its encoding.
#[derive(Clone, Debug)]
struct Known {
    root: Hash,
    bytes: Box<[u8]>,
}

/// A blob that entries name: how long it is, and by how many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Named {
    len: u64,
    by: usize,
}

impl State {
    /// A session without parts. What `name` may not hold is left out.
    pub fn new(session: SessionId, name: &str) -> State {
        let name = Text::new(clean_name(name)).unwrap_or_default();
        let (parts, streams, blobs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        State {
            session,
            name,
            parts,
            streams,
            tree: Tree::default(),
            blobs,
            listed: BTreeSet::new(),
            conflicted: BTreeSet::new(),
            exclusive: BTreeSet::new(),
            encoded: 0,
            writers: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            holdings: BTreeMap::new(),
            image: Image::default(),
        }
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
        let anew = || root(&self.session, self.parts.iter().map(|(id, held)| (*id, held.root())));
        self.image.root().unwrap_or_else(anew)
    }

    /// All parts with their roots and what they weigh, ascending by id: the bytes of their values or ops, and of the files
    /// that they name.
    pub fn weighed(&self) -> impl Iterator<Item = (&Part, Hash, u64)> {
        self.parts.iter().map(|(id, held)| (&held.part, held.root(), self.weight(id)))
    }

    /// What a part weighs, in bytes.
    pub(super) fn weight(&self, id: &PartId) -> u64 {
        let Some(held) = self.parts.get(id) else { return 0 };
        let ops = || self.streams.get(id).map(|stream| stream.bytes() as u64);
        if has_values(held.part.kind) { held.weight } else { ops().unwrap_or(held.weight) }
    }

    /// The parts that the owner alone writes, ascending by id.
    pub fn exclusive(&self) -> impl Iterator<Item = &Part> {
        self.exclusive.iter().filter_map(|id| self.part(id))
    }

    /// Takes over a name that another device gave the session, if it has none here.
    pub fn name_as(&mut self, name: &str) {
        if self.name.is_empty() {
            self.name = Text::new(clean_name(name)).unwrap_or_default();
            self.image.forget();
        }
    }

    /// The part with this id.
    pub fn part(&self, id: &PartId) -> Option<&Part> {
        self.parts.get(id).map(|held| &held.part)
    }

    /// The parts with several values, ascending by id.
    pub fn conflicted(&self) -> impl Iterator<Item = &Part> {
        self.conflicted.iter().filter_map(|id| self.part(id))
    }

    /// All parts, ascending by id.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.values().map(|held| &held.part)
    }

    /// The files and directories, as [`Manifest::entries`].
    pub fn entries(&self) -> impl Iterator<Item = (PartId, Entry)> {
        placed(self.parts(), self.tree.is_plain())
    }

    /// Whether each entry stands at its own path, so that [`State::entry_at`] costs no look at all others.
    pub fn is_plain(&self) -> bool {
        self.tree.is_plain()
    }

    /// The file or directory that stands at a path.
    pub fn entry_at(&self, path: &str) -> Option<(PartId, Entry)> {
        if !self.tree.is_plain() {
            return self.entries().find(|(_, entry)| &*entry.path == path);
        }
        let part = self.part(&self.tree.part(path)?)?;
        Some((part.part, part.entry()?))
    }

    /// The length in bytes of a blob, content or chunk list, that a live entry names; none if none does.
    pub fn blob_len(&self, blob: &Hash) -> Option<u64> {
        self.blobs.get(blob).map(|named| named.len)
    }

    /// The files at a path that have chunk lists, those that aren't shown included.
    pub(crate) fn listed_at<'a>(&'a self, path: &'a Text<MAX_PATH>) -> impl Iterator<Item = Entry> + 'a {
        let first = (path.clone(), PartId::new([0; 16]));
        let parts = self.listed.range(first..).take_while(move |(at, _)| at == path);
        let files = parts.filter_map(|(_, part)| self.part(part)).flat_map(Part::entries);
        files.filter(move |file| file.path == *path && file.chunks.get().is_some())
    }

    /// The blobs that a part's entries name, chunk lists included, with their lengths in bytes.
    pub fn blobs_of(&self, id: &PartId) -> Vec<(Hash, u64)> {
        self.part(id).into_iter().flat_map(Part::entries).flat_map(named).collect()
    }

    /// The blobs that entries name, chunk lists included, with their lengths in bytes; ascending.
    pub fn named_blobs(&self) -> impl Iterator<Item = (Hash, u64)> {
        self.blobs.iter().map(|(blob, named)| (*blob, named.len))
    }

    /// The blobs that live entries name, chunk lists included, ascending.
    pub fn blobs(&self) -> impl Iterator<Item = Hash> {
        self.blobs.keys().copied()
    }

    /// Who writes as an actor, if that was named.
    pub fn writer(&self, actor: &ActorId) -> Option<&Writer> {
        self.writers.get(actor)
    }

    /// Notes who writes as an actor. False if that was known, or if there is no room.
    pub fn name_writer(&mut self, writer: Writer) -> bool {
        let actor = actor_id(&writer.device, &writer.nonce);
        self.writers.len() < MAX_WRITERS && self.writers.insert(actor, writer).is_none()
    }

    /// A snapshot, that a part stands on or that may come to stand for its ops.
    pub fn snapshot(&self, part: &PartId, id: &Hash) -> Option<&Base> {
        let base = self.streams.get(part).and_then(Stream::base).filter(|base| base.id == *id);
        base.or_else(|| self.snapshots.get(&(*part, *id)))
    }

    /// The snapshots of a part that it doesn't stand on yet.
    pub(crate) fn waiting(&self, part: &PartId) -> Vec<Hash> {
        self.snapshots.keys().filter(|(of, _)| of == part).map(|(_, id)| *id).collect()
    }

    pub(crate) fn keep_snapshot(&mut self, part: PartId, base: Base) {
        self.snapshots.insert((part, base.id), base);
    }

    pub(crate) fn drop_snapshot(&mut self, part: &PartId, id: &Hash) -> Option<Base> {
        self.snapshots.remove(&(*part, *id))
    }

    /// What a device said that it holds of a snapshot.
    pub fn holding(&self, part: &PartId, id: &Hash, device: &DeviceId) -> Option<&(Signed<Holding>, Holding)> {
        self.holdings.get(&(*part, *id, *device))
    }

    pub(crate) fn holdings_of(&self, part: &PartId, id: &Hash) -> Vec<(Signed<Holding>, Holding)> {
        let of = (*part, *id, DeviceId::new([0; 32]))..=(*part, *id, DeviceId::new([0xff; 32]));
        self.holdings.range(of).map(|(_, holding)| holding.clone()).collect()
    }

    pub(crate) fn keep_holding(&mut self, signed: Signed<Holding>, body: Holding) {
        self.holdings.insert((body.part, body.snapshot, body.device), (signed, body));
    }

    pub(crate) fn forget_holdings(&mut self, part: &PartId, id: &Hash) {
        self.holdings.retain(|(of, snapshot, _), _| (of, snapshot) != (part, id));
    }

    /// The ops below the end of a snapshot that is here which an op had read, with their hashes: whoever stands on that
    /// snapshot needs them to verify the op (DATA-SNAPSHOT-5).
    pub(crate) fn read_below(&self, part: &PartId, op: OpView<'_>) -> Vec<Tip> {
        let Some(stream) = self.streams.get(part) else { return Vec::new() };
        let waiting = || {
            let from = (*part, Hash::ZERO)..=(*part, Hash::new([0xff; 32]));
            self.snapshots.range(from).map(|(_, base)| base)
        };
        let below = |of: &ActorId, seq: u64| {
            let covers = |base: &Base| base.covers.iter().any(|end| end.actor == *of && end.seq > seq);
            seq < stream.gone(of) || waiting().any(covers)
        };
        let read = op.deps.iter().filter(|(of, seq)| below(of, *seq));
        read.filter_map(|(of, seq)| Some(Tip { actor: *of, seq: *seq, hash: stream.hash(of, *seq)? })).collect()
    }

    /// Lets a part stand on a snapshot. True if that covers ops that aren't here.
    pub(crate) fn rest_on(&mut self, part: PartId, kind: u16, base: Base) -> bool {
        let Some(kind) = PartKind::from_number(kind) else { return false };
        let mut head = self.part(&part).cloned().unwrap_or_else(|| Part::new(part, kind));
        let stream = self.streams.entry(part).or_default();
        let lacks = stream.rest_on(base);
        head.strands = List::new(stream.tips()).unwrap_or_default();
        self.put(PartState::new(head));
        lacks
    }

    pub(crate) fn stream_mut(&mut self, part: &PartId) -> Option<&mut Stream> {
        self.image.note(*part, self.parts.get(part));
        self.streams.get_mut(part)
    }

    /// Takes the ops of a strand of a log or opaque part behind its `keep`th out again; a part without ops goes.
    pub(crate) fn cut(&mut self, id: &PartId, actor: &ActorId, keep: u64) -> Vec<(u64, StreamOp)> {
        let Some(stream) = self.streams.get_mut(id) else { return Vec::new() };
        let gone = stream.cut(actor, keep);
        let tips = stream.tips();
        match self.part(id).cloned() {
            Some(mut head) if !tips.is_empty() => {
                head.strands = List::new(tips).unwrap_or_default();
                self.put(PartState::new(head));
            }
            _ => self.remove(id),
        }
        gone
    }

    /// Forgets a part.
    pub(crate) fn remove(&mut self, id: &PartId) {
        if let Some(old) = self.parts.remove(id) {
            self.detach(&old.part);
            self.encoded -= old.len();
            self.image.note(*id, Some(&old));
        }
        self.streams.remove(id);
    }

    /// What is left of a copy of a part without those of its values that don't stand, and those: the other values, their
    /// tips and what they had read. What else the copy knows may come from the values that don't stand (DATA-ASIDE-2).
    ///
    /// Errors: what [`Manifest::open`] finds wrong with a part.
    pub(crate) fn sift(
        &self,
        rules: Rules,
        part: &Part,
        stands: impl Fn(&Value) -> bool,
    ) -> Result<(Part, Vec<Value>), Violation> {
        part.check(rules, &self.session, false)?;
        let (kept, aside): (Vec<_>, Vec<_>) = part.values.iter().cloned().partition(stands);
        if aside.is_empty() {
            return Ok((part.clone(), aside));
        }
        let mut tips: BTreeMap<ActorId, Tip> = BTreeMap::new();
        let own = kept.iter().filter_map(|value| part.tip(&value.op.actor));
        for tip in kept.iter().flat_map(|value| value.op.deps.iter()).chain(own) {
            tips.entry(tip.actor).and_modify(|known| *known = max_tip(known, tip)).or_insert(tip.clone());
        }
        let strands = List::new(tips.into_values().collect()).unwrap_or_default();
        Ok((Part { part: part.part, kind: part.kind, strands, values: List::new(kept).unwrap_or_default() }, aside))
    }

    /// Puts a part in the place of what is held of it.
    pub(crate) fn replace(&mut self, part: Part) {
        self.put(PartState::new(part));
    }

    /// The ops of a log or opaque part.
    pub fn stream(&self, id: &PartId) -> Option<&Stream> {
        self.streams.get(id)
    }

    /// Whether every op of a log or opaque part that `other` names is held here.
    pub fn covers(&self, other: &State) -> bool {
        let held = |part: &Part| {
            let stream = self.streams.get(&part.part);
            part.strands.iter().all(|tip| stream.is_some_and(|stream| stream.covers(tip)))
        };
        other.parts().filter(|part| !has_values(part.kind)).all(held)
    }

    /// Takes in an op of a log or opaque part. False if it was there already.
    ///
    /// Errors: DATA-KIND-1 (the part has another kind), DATA-OP-1 (not the next op of its strand), DATA-OP-4 (what it
    /// names as read isn't held), WIRE-CAP-1.
    pub fn deliver(
        &mut self,
        rules: Rules,
        part: PartId,
        kind: u16,
        (actor, seq): (ActorId, u64),
        seed: Nonce,
        op: StreamOp,
    ) -> Result<bool, Violation> {
        let full = Violation::new(Code::LIMIT_MANIFEST, Clause::WIRE_CAP_1);
        let known = self.part(&part);
        let fits = !has_values(kind) && known.is_none_or(|known| known.kind == kind);
        rules.ensure(Clause::DATA_KIND_1, fits, Code::DATA_MANIFEST)?;
        let kind = PartKind::from_number(kind).ok_or(Violation::new(Code::WIRE_VALUE, Clause::WIRE_VALUE_1))?;
        let held = self.streams.get(&part).map_or(0, |stream| stream.seq(&actor));
        if seq <= held {
            let stream = self.streams.get(&part);
            let same = stream.is_none_or(|stream| {
                // What is in a snapshot can't be compared any more.
                let seeded = stream.seed(&actor).is_none_or(|known| known == seed);
                seq <= stream.gone(&actor) || seeded && stream.op(&actor, seq) == Some(op.view())
            });
            rules.ensure(Clause::DATA_FORK_1, same, Code::DATA_FORK)?;
            if rules.keeps(Clause::DATA_STREAM_1) {
                return Ok(false);
            }
        }
        let next = seq == held + 1 || !rules.keeps(Clause::DATA_STREAM_1);
        rules.ensure(Clause::DATA_OP_1, next, Code::DATA_HASH)?;
        let crowded = held == 0 && known.is_some_and(|known| known.strands.len() >= MAX_ACTORS);
        let long = self.streams.get(&part).map_or(0, Stream::len) >= MAX_STREAM_OPS;
        let heavy = self.streams.values().map(Stream::bytes).sum::<usize>() >= MAX_STREAM_BYTES;
        if crowded || long || heavy {
            return Err(full);
        }
        if known.is_none() && !self.has_place(&PartState::new(Part::new(part, kind))) {
            return Err(full);
        }
        let stream = self.streams.entry(part).or_default();
        let tip = stream.push(rules, (&self.session, &part), actor, seed, op)?;
        if let Some(head) = self.parts.get_mut(&part).filter(|head| head.follows) {
            let before = head.len();
            self.image.note(part, Some(head));
            if head.move_tip(tip) {
                self.encoded = self.encoded + head.len() - before;
                debug_assert_eq!(head.part.strands.to_vec(), stream.tips());
                return Ok(true);
            }
        }
        let head = self.parts.get(&part).map(|held| held.part.clone());
        let mut head = head.unwrap_or_else(|| Part::new(part, kind));
        head.strands = List::new(stream.tips()).unwrap_or_default();
        self.put(PartState { follows: true, ..PartState::new(head) });
        Ok(true)
    }

    /// Takes in another device's copy of a part with values: shared ones merge (DATA-MERGE-1), an exclusive one takes
    /// the place of the one here. True if anything changed.
    ///
    /// Errors: what [`Manifest::open`] finds wrong with a part; DATA-KIND-1, DATA-FORK-1, DATA-MANIFEST-4, WIRE-CAP-1.
    pub fn merge(&mut self, rules: Rules, other: &Part) -> Result<bool, Violation> {
        other.check(rules, &self.session, false)?;
        let known = self.part(&other.part);
        let fits = has_values(other.kind) && known.is_none_or(|known| known.kind == other.kind);
        rules.ensure(Clause::DATA_KIND_1, fits, Code::DATA_MANIFEST)?;
        let mut part = match (known, PartKind::from_number(other.kind)) {
            (Some(known), _) => known.clone(),
            (None, Some(kind)) => Part::new(other.part, kind),
            (None, None) => return Ok(false),
        };
        let changed = if other.kind == PartKind::Exclusive.number() {
            let differs = part != *other;
            part = other.clone();
            differs
        } else {
            part.merge(rules, other)?
        };
        if changed {
            let agree =
                part.entries().filter(Entry::is_file).all(|e| self.blob_len(&e.blob).is_none_or(|l| l == e.len));
            rules.ensure(Clause::DATA_MANIFEST_4, agree, Code::DATA_MANIFEST)?;
            let held = PartState::new(part);
            rules.ensure(Clause::WIRE_CAP_1, self.has_place(&held), Code::LIMIT_MANIFEST)?;
            self.put(held);
        }
        Ok(changed)
    }

    /// Takes in the data of another state whose log and opaque parts this one covers; returns the parts that changed.
    ///
    /// `sift` says what of a part with values counts. Errors: as [`State::merge`]; what came before the part concerned is
    /// taken in.
    pub fn absorb(
        &mut self,
        rules: Rules,
        other: &State,
        sift: impl Fn(&Part) -> Option<Part>,
    ) -> Result<Vec<PartId>, Violation> {
        let mut changed = Vec::new();
        for part in other.parts() {
            let new = if has_values(part.kind) {
                let Some(part) = sift(part) else { continue };
                self.merge(rules, &part)?
            } else if self.part(&part.part).is_none() {
                self.put(PartState::new(part.clone()));
                true
            } else {
                false
            };
            changed.extend(new.then_some(part.part));
        }
        Ok(changed)
    }

    /// The encoding of a part.
    pub fn part_bytes(&self, id: &PartId) -> Option<Cow<'_, [u8]>> {
        self.parts.get(id).map(PartState::bytes)
    }

    /// Takes in a part that [`State::part_bytes`] gave, instead of what is held of that part.
    ///
    /// Errors: those of [`Manifest::open`] that concern a single part; the state is unchanged then.
    pub fn load_part(&mut self, rules: Rules, bytes: &[u8]) -> Result<(), Violation> {
        let part: Part = decode(rules, bytes)?;
        part.check(rules, &self.session, false)?;
        self.put(PartState::new(part));
        Ok(())
    }

    /// Whether there is room for a part in a manifest, instead of what is held of it.
    pub(super) fn has_place(&self, held: &PartState) -> bool {
        let is_new = !self.parts.contains_key(&held.part.part);
        (!is_new || self.parts.len() < MAX_PARTS) && self.encoded_with([held]) <= MAX_MANIFEST
    }

    pub(super) fn put(&mut self, held: PartState) {
        let old = self.parts.remove(&held.part.part);
        self.image.note(held.part.part, old.as_ref());
        if let Some(old) = old {
            self.detach(&old.part);
            self.encoded -= old.len();
        }
        self.attach(&held.part);
        self.encoded += held.len();
        self.parts.insert(held.part.part, held);
    }

    pub(super) fn attach(&mut self, part: &Part) {
        if let Some(shown) = part.entry().filter(Entry::is_live) {
            self.tree.insert(&shown.path, part.part, shown.is_file());
        }
        if part.is_conflicted() {
            self.conflicted.insert(part.part);
        }
        if part.kind == PartKind::Exclusive.number() {
            self.exclusive.insert(part.part);
        }
        for entry in part.entries() {
            if entry.chunks.get().is_some() {
                self.listed.insert((entry.path.clone(), part.part));
            }
            for (blob, len) in named(entry) {
                self.blobs.entry(blob).or_insert(Named { len, by: 0 }).by += 1;
            }
        }
    }

    pub(super) fn detach(&mut self, part: &Part) {
        if let Some(shown) = part.entry().filter(Entry::is_live) {
            self.tree.remove(&shown.path, part.part);
        }
        self.conflicted.remove(&part.part);
        self.exclusive.remove(&part.part);
        for entry in part.entries() {
            if entry.chunks.get().is_some() {
                self.listed.remove(&(entry.path.clone(), part.part));
            }
            for (blob, _) in named(entry) {
                let Some(named) = self.blobs.get_mut(&blob) else { continue };
                named.by = named.by.saturating_sub(1);
                if named.by == 0 {
                    self.blobs.remove(&blob);
                }
            }
        }
    }

    /// What the manifest takes at most, in bytes, with these parts instead of those held.
    pub(super) fn encoded_with<'a>(&self, parts: impl IntoIterator<Item = &'a PartState>) -> usize {
        let start = Manifest::MAX_HEADER + self.encoded;
        parts.into_iter().fold(start, |sum, new| {
            let old = self.parts.get(&new.part.part).map_or(0, PartState::len);
            (sum + new.len()).saturating_sub(old)
        })
    }
}

impl PartState {
    pub(super) fn new(part: Part) -> PartState {
        let files: u64 = part.entries().map(|entry| entry.len).fold(0, u64::saturating_add);
        let weight = part.values.iter().map(|value| value.op.body.len() as u64).fold(files, u64::saturating_add);
        let known = Known::of(&part);
        PartState { len: known.bytes.len(), known: Some(known), follows: false, weight, counted: 0, part }
    }

    pub(super) fn root(&self) -> Hash {
        self.known.as_ref().map_or_else(|| self.part.root(), |known| known.root)
    }

    /// Makes its root and its encoding, if they aren't known since ops came.
    pub(super) fn know(&mut self) {
        self.known.get_or_insert_with(|| Known::of(&self.part));
    }

    /// The part's encoding.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        self.known.as_ref().map_or_else(|| encode(&self.part).into(), |known| (&*known.bytes).into())
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// A strand that the part knows ends in another op now. False if the part doesn't know it.
    fn move_tip(&mut self, tip: Tip) -> bool {
        let Some(old) = self.part.strands.as_mut_slice().iter_mut().find(|old| old.actor == tip.actor) else {
            return false;
        };
        self.len = self.len + encoded_len(&tip) - encoded_len(old);
        *old = tip;
        self.known = None;
        true
    }
}

impl Known {
    fn of(part: &Part) -> Known {
        Known { root: part.root(), bytes: encode(part).into() }
    }
}

impl PartialEq for PartState {
    fn eq(&self, other: &PartState) -> bool {
        self.part == other.part
    }
}

impl Eq for PartState {}

impl core::hash::Hash for PartState {
    fn hash<H: core::hash::Hasher>(&self, hasher: &mut H) {
        self.part.hash(hasher);
    }
}

/// The blobs that an entry names, with their lengths in bytes. Content of no bytes is no blob to hold.
fn named(entry: Entry) -> impl Iterator<Item = (Hash, u64)> {
    let content = (entry.len > 0).then_some((entry.blob, entry.len));
    let list = entry.chunks.get().map(|list| (list.hash, u64::from(list.len)));
    content.into_iter().chain(list)
}

fn max_tip(a: &Tip, b: &Tip) -> Tip {
    if a.seq >= b.seq { a.clone() } else { b.clone() }
}

pub(super) fn has_values(kind: u16) -> bool {
    PartKind::from_number(kind).is_some_and(PartKind::has_values)
}
