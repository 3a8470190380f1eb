//! The ops of a log or opaque part: every one is kept, and each follows what its writer had read.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::arrivals::Arrivals;
use super::bodies::{Bodies, Place};
use super::hashes::{body_hash, op_hash, salt, strand_hash};
use super::objects::OpHeader;
use super::snapshot::{Base, Entry};
use crate::limits::{MAX_DEPS, MAX_KNOWN};
use crate::wire::{ActorId, Cover, Hash, Hlc, List, Nonce, PartId, SessionId, Tip};
use crate::{Clause, Code, Rules, Violation};

/// The strands of a log or opaque part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stream {
    strands: BTreeMap<ActorId, Strand>,
    /// What the ops take, in bytes.
    bytes: usize,
    /// Every op, in the order in which this device took them in. It follows causality, and differs between devices. A
    /// place is never used twice, so that who has read up to one goes on from there whatever was taken out.
    arrived: Arrivals,
    /// The place behind those that what is in the snapshot had.
    begins: u64,
    /// The snapshot that stands for the ops that aren't here any more.
    base: Option<Base>,
    /// Hashes of ops that are in the snapshot and that ops which are here had read.
    known: BTreeMap<(ActorId, u64), Hash>,
}

/// The ops of one writer.
#[derive(Clone, Debug)]
struct Strand {
    /// From it and an op's number comes the op's salt.
    seed: Nonce,
    /// How many ops are in the snapshot, and the hash and time of the last of them.
    gone: u64,
    last: (Hash, Hlc),
    ops: Vec<Held>,
    bodies: Bodies,
    /// What the ops name as read, all together.
    read: BTreeMap<ActorId, u64>,
}

/// An op as it is held.
#[derive(Clone, Debug)]
struct Held {
    hlc: Hlc,
    record: Hash,
    deps: Vec<(ActorId, u64)>,
    body: Place,
    /// Covers all of these.
    hash: Hash,
    /// The time of the op, or the next after those of the ops that it follows if that is later; then how many ops it
    /// follows at least. Both rise along every chain of reading, whatever the clocks said.
    order: (u64, u32),
    /// Its place among those that arrived.
    place: u64,
}

/// An op of a log or opaque part, without what its strand says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamOp {
    /// When it was made.
    pub hlc: Hlc,
    /// The head record under which it was made.
    pub record: Hash,
    /// The strands that its writer had read since its last op, ascending by actor, with the number of their last op.
    pub deps: Vec<(ActorId, u64)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An op of a log or opaque part as it lies in its strand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpView<'a> {
    /// When it was made.
    pub hlc: Hlc,
    /// The head record under which it was made.
    pub record: Hash,
    /// The strands that its writer had read since its last op.
    pub deps: &'a [(ActorId, u64)],
    /// The body.
    pub body: &'a [u8],
}

impl OpView<'_> {
    /// The op by itself.
    pub fn to_op(&self) -> StreamOp {
        StreamOp { hlc: self.hlc, record: self.record, deps: self.deps.to_vec(), body: self.body.to_vec() }
    }
}

impl StreamOp {
    /// The op as it would lie in a strand.
    pub fn view(&self) -> OpView<'_> {
        OpView { hlc: self.hlc, record: self.record, deps: &self.deps, body: &self.body }
    }
}

/// An op that was taken in, as an application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// The writer.
    pub actor: ActorId,
    /// Its number in the writer's strand, from 1.
    pub seq: u64,
    /// When it was made.
    pub hlc: Hlc,
    /// Its place in the order in which this device took the ops in, from 0. What follows is asked for from the next.
    pub place: u64,
    /// The body.
    pub body: &'a [u8],
}

impl Stream {
    /// The tips of the strands, ascending by actor.
    pub fn tips(&self) -> Vec<Tip> {
        let tip = |(actor, strand): (&ActorId, &Strand)| {
            let hash = strand.ops.last().map_or(strand.last.0, |last| last.hash);
            (strand.len() > 0).then_some(Tip { actor: *actor, seq: strand.len(), hash })
        };
        self.strands.iter().filter_map(tip).collect()
    }

    /// How many ops a writer has.
    pub fn seq(&self, actor: &ActorId) -> u64 {
        self.strands.get(actor).map_or(0, Strand::len)
    }

    /// The seed of a writer's salts, if it wrote anything here.
    pub fn seed(&self, actor: &ActorId) -> Option<Nonce> {
        self.strands.get(actor).map(|strand| strand.seed)
    }

    /// The time of the op with this number; zero if it isn't known.
    pub fn hlc(&self, actor: &ActorId, seq: u64) -> Hlc {
        let end = || self.strands.get(actor).filter(|strand| strand.gone == seq && seq > 0).map(|strand| strand.last.1);
        self.op(actor, seq).map(|op| op.hlc).or_else(end).unwrap_or(Hlc::ZERO)
    }

    /// The op with this number.
    pub fn op(&self, actor: &ActorId, seq: u64) -> Option<OpView<'_>> {
        self.held(actor, seq).map(|(strand, held)| strand.view(held))
    }

    /// The hash of the op with this number, as far as it is known: of those in the snapshot the last of each strand is,
    /// and what an op that is here had read.
    pub fn hash(&self, actor: &ActorId, seq: u64) -> Option<Hash> {
        let end = self.strands.get(actor).filter(|strand| strand.gone == seq && seq > 0).map(|strand| strand.last.0);
        let known = || self.known.get(&(*actor, seq)).copied();
        self.held(actor, seq).map(|(_, held)| held.hash).or(end).or_else(known)
    }

    /// How many ops of a writer are in the snapshot.
    pub fn gone(&self, actor: &ActorId) -> u64 {
        self.strands.get(actor).map_or(0, |strand| strand.gone)
    }

    /// Whether the op that a tip names is held, or is in the snapshot: of most of those the hash isn't known any more.
    pub fn covers(&self, tip: &Tip) -> bool {
        let hash = self.hash(&tip.actor, tip.seq);
        hash == Some(tip.hash) || hash.is_none() && tip.seq < self.gone(&tip.actor)
    }

    /// The ends of the strands, for a snapshot of all that is here.
    pub fn ends(&self) -> Vec<Cover> {
        let end = |tip: Tip| {
            let (hlc, seed) = (self.hlc(&tip.actor, tip.seq), self.seed(&tip.actor).unwrap_or(Nonce::ZERO));
            Cover { actor: tip.actor, seq: tip.seq, hash: tip.hash, hlc, seed }
        };
        self.tips().into_iter().map(end).collect()
    }

    /// The snapshot that stands for the ops that aren't here any more.
    pub fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// The place behind those that the ops in the snapshot had; 0 if there is none. Who has read up to a lower place may lack
    /// what is in the snapshot, and starts anew: from that, and all ops that are here.
    pub fn begins(&self) -> u64 {
        self.begins
    }

    /// The place that the next op will have.
    pub fn next_place(&self) -> u64 {
        self.arrived.next()
    }

    /// Notes the hashes of ops that are in the snapshot; those that weren't known.
    pub(crate) fn know(&mut self, tips: &[Tip]) -> Vec<Tip> {
        let new = tips.iter().filter(|tip| tip.seq < self.gone(&tip.actor) && self.hash(&tip.actor, tip.seq).is_none());
        let new: Vec<_> = new.take(MAX_KNOWN.saturating_sub(self.known.len())).cloned().collect();
        self.known.extend(new.iter().map(|tip| ((tip.actor, tip.seq), tip.hash)));
        new
    }

    /// How many ops are held.
    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    /// The bytes that the ops take: 128 for each, and its body.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.arrived.len() == 0
    }

    /// The ops from a place on, in the order in which this device took them in: each after those that its writer had
    /// read, each once (DATA-STREAM-1). Those without a body only name what was read (DATA-STREAM-2): they aren't here.
    pub fn arrived(&self, from: u64) -> impl Iterator<Item = Delivered<'_>> {
        self.arrived.from(from).filter_map(|(actor, seq)| self.delivered(actor, *seq))
    }

    /// The ops in the order of a log, the same on every device that holds the same ops (DATA-LOG-1).
    pub fn in_order(&self) -> Vec<Delivered<'_>> {
        let key = |(actor, seq): &&(ActorId, u64)| (self.held(actor, *seq).map(|(_, held)| held.order), *actor, *seq);
        let mut order: Vec<_> = self.arrived.iter().collect();
        order.sort_by_cached_key(key);
        let ops = order.into_iter().filter_map(|(actor, seq)| {
            Some((self.held(actor, *seq)?.1.order, *actor, *seq, self.delivered(actor, *seq)?))
        });
        let entries = self.base.iter().flat_map(|base| base.entries.iter()).filter(|(_, entry)| !entry.body.is_empty());
        let entries = entries.map(|((actor, seq), entry)| {
            let delivered = Delivered { actor: *actor, seq: *seq, hlc: entry.hlc, place: 0, body: &entry.body };
            (entry.order, *actor, *seq, delivered)
        });
        let mut all: Vec<_> = entries.chain(ops).collect();
        if self.base.is_some() {
            all.sort_by_key(|(order, actor, seq, _)| (*order, *actor, *seq));
        }
        all.into_iter().map(|(.., delivered)| delivered).collect()
    }

    /// Whether the snapshot of a log has each op that it covers and that is here as it is here: so none who made it can
    /// change, or leave out, what this device knows.
    pub fn agrees_with(&self, other: &Base) -> bool {
        let ends: BTreeMap<_, _> = other.covers.iter().map(|tip| (tip.actor, tip.seq)).collect();
        let covered = |at: &(ActorId, u64)| ends.get(&at.0).is_some_and(|end| at.1 <= *end);
        self.entries().iter().filter(|(at, _)| covered(at)).all(|(at, entry)| other.entries.get(at) == Some(entry))
    }

    /// Every op that is held or in a snapshot of entries, with its order, for a snapshot of a log (DATA-SNAPSHOT-3).
    fn entries(&self) -> Vec<((ActorId, u64), Entry)> {
        let held = self.arrived.iter().filter_map(|(actor, seq)| {
            let (strand, held) = self.held(actor, *seq)?;
            let entry = Entry { hlc: held.hlc, order: held.order, body: strand.bodies.get(&held.body).to_vec() };
            Some(((*actor, *seq), entry))
        });
        let base = self.base.iter().flat_map(|base| base.entries.iter()).map(|(at, entry)| (*at, entry.clone()));
        base.chain(held).collect()
    }

    /// The bytes of a log's snapshot that covers these ends; none if they aren't all held.
    pub fn log_bytes(&self, covers: &[Cover]) -> Option<Vec<u8>> {
        let ends: BTreeMap<_, _> = covers.iter().map(|tip| (tip.actor, tip.seq)).collect();
        let within = |at: &(ActorId, u64)| ends.get(&at.0).is_some_and(|end| at.1 <= *end);
        let mut entries: Vec<_> = self.entries().into_iter().filter(|(at, _)| within(at)).collect();
        let whole = covers.iter().all(|tip| tip.seq <= self.seq(&tip.actor));
        entries.sort_by_key(|((actor, seq), entry)| (entry.order, *actor, *seq));
        let count: u64 = ends.values().sum();
        (whole && count == entries.len() as u64).then(|| Entry::encode_all(entries))
    }

    /// What a writer has not named as read yet: the strands of others beyond what its ops name, ascending by actor. If
    /// they are more than an op can name, the rest is named by the next.
    pub fn unread(&self, actor: &ActorId) -> Vec<(ActorId, u64)> {
        let read = |of: &ActorId| self.strands.get(actor).and_then(|own| own.read.get(of)).copied().unwrap_or(0);
        let others = self.strands.iter().filter(|(of, _)| *of != actor);
        let others = others.map(|(of, strand)| (*of, strand.len()));
        others.filter(|(of, seq)| read(of) < *seq).take(MAX_DEPS).collect()
    }

    /// The latest time in the part.
    pub fn latest(&self) -> Hlc {
        let last = |strand: &Strand| strand.ops.last().map_or(strand.last.1, |held| held.hlc);
        self.strands.values().map(last).max().unwrap_or(Hlc::ZERO)
    }

    /// The hash that an op would have as the next of its strand, and its place in the order.
    ///
    /// Errors: DATA-OP-4 if it names as read what isn't held, its own strand, or strands out of order.
    fn place(
        &self,
        rules: Rules,
        (session, part, actor): (&SessionId, &PartId, &ActorId),
        seed: &Nonce,
        op: &StreamOp,
    ) -> Result<(Hash, (u64, u32)), Violation> {
        let before = self.seq(actor);
        let seq = before + 1;
        let ascend = op.deps.is_sorted_by(|a, b| a.0 < b.0) && op.deps.iter().all(|(of, _)| of != actor);
        let mut deps = Vec::with_capacity(op.deps.len());
        let mut order = self.order(actor, before);
        for (of, seq) in &op.deps {
            let hash = self.hash(of, *seq);
            // What is in the snapshot was verified once; its hash has to come with the op.
            let forgotten = hash.is_none() && *seq > 0 && *seq < self.gone(of);
            rules.ensure(Clause::DATA_SNAPSHOT_5, !forgotten, Code::DATA_RESYNC)?;
            rules.ensure(Clause::DATA_OP_4, hash.is_some(), Code::DATA_MANIFEST)?;
            let Some(hash) = hash else { continue };
            deps.push(Tip { actor: *of, seq: *seq, hash });
            let read = self.order(of, *seq);
            order = (order.0.max(read.0), order.1.max(read.1));
        }
        rules.ensure(Clause::DATA_OP_4, ascend, Code::DATA_MANIFEST)?;
        let deps = List::new(deps).ok_or(Violation::new(Code::WIRE_LIMIT, Clause::WIRE_CAP_1))?;
        let (salt, body_len) = (salt(seed, seq), u32::try_from(op.body.len()).unwrap_or(u32::MAX));
        let body_hash = body_hash(&salt, &op.body);
        let header = OpHeader { seq, deps, hlc: op.hlc, record: op.record, body_len, body_hash };
        let prev = self.hash(actor, before).unwrap_or_else(|| strand_hash(session, part, actor));
        let time = u64::from_be_bytes(*op.hlc.as_bytes());
        let order = (time.max(order.0.saturating_add(1)), order.1.saturating_add(1));
        Ok((op_hash(&prev, &header), order))
    }

    /// Takes in the next op of a strand, and says where the strand ends now. `seed` counts for the strand's first op alone.
    ///
    /// Errors: as DATA-OP-4 says; nothing is taken in then.
    pub(super) fn push(
        &mut self,
        rules: Rules,
        (session, part): (&SessionId, &PartId),
        actor: ActorId,
        seed: Nonce,
        op: StreamOp,
    ) -> Result<Tip, Violation> {
        let seed = self.seed(&actor).unwrap_or(seed);
        let (hash, order) = self.place(rules, (session, part, &actor), &seed, &op)?;
        let strand = self.strands.entry(actor).or_insert_with(|| Strand::new(seed));
        strand.read.extend(op.deps.iter().copied());
        self.bytes += op.body.len() + OP_BYTES;
        let StreamOp { hlc, record, deps, body } = op;
        let body = strand.bodies.push(&body);
        strand.ops.push(Held { hlc, record, deps, body, hash, order, place: self.arrived.next() });
        let seq = strand.len();
        self.arrived.push((actor, seq));
        Ok(Tip { actor, seq, hash })
    }

    /// Takes the ops of a strand behind its `keep`th out again, in order. The caller knows that no op that stays names
    /// one of them as read.
    pub(super) fn cut(&mut self, actor: &ActorId, keep: u64) -> Vec<(u64, StreamOp)> {
        let Some(strand) = self.strands.get_mut(actor) else { return Vec::new() };
        // What is in a snapshot stays there.
        let keep = keep.max(strand.gone);
        let at = usize::try_from(keep - strand.gone).unwrap_or(usize::MAX).min(strand.ops.len());
        let ops = strand.ops.get(at..).unwrap_or_default();
        let gone: Vec<_> = ops.iter().map(|held| (held.place, strand.view(held).to_op())).collect();
        ops.first().map(|first| first.body).into_iter().for_each(|first| strand.bodies.cut(&first));
        strand.ops.truncate(at);
        strand.read = BTreeMap::new();
        strand.ops.iter().for_each(|held| strand.read.extend(held.deps.iter().copied()));
        if strand.len() == 0 {
            self.strands.remove(actor);
        }
        for (place, op) in &gone {
            self.arrived.remove(*place);
            self.bytes -= op.body.len() + OP_BYTES;
        }
        (keep + 1..).zip(gone.into_iter().map(|(_, op)| op)).collect()
    }

    /// The writers here, ascending.
    pub fn writers(&self) -> impl Iterator<Item = ActorId> {
        self.strands.keys().copied()
    }

    /// How far the ops of each strand have to stay if each keeps its first `end` ones (all of them, where `end` says
    /// none): those ops, and all that they had read.
    pub fn kept_by(&self, end: impl Fn(&ActorId) -> Option<u64>) -> BTreeMap<ActorId, u64> {
        let own = |actor: &ActorId| end(actor).unwrap_or(u64::MAX).max(self.gone(actor)).min(self.seq(actor));
        let mut kept: BTreeMap<_, _> = self.strands.keys().map(|actor| (*actor, own(actor))).collect();
        let mut seen: BTreeMap<ActorId, u64> = BTreeMap::new();
        while let Some((actor, upto)) =
            kept.iter().find(|(actor, upto)| seen.get(actor).copied().unwrap_or(0) < **upto).map(|(a, u)| (*a, *u))
        {
            let from = seen.insert(actor, upto).unwrap_or(0);
            for (of, seq) in self.reads(&actor, from, upto) {
                kept.entry(of).and_modify(|upto| *upto = seq.max(*upto));
            }
        }
        kept
    }

    /// What the ops of a strand from `from` to `upto` name as read.
    fn reads(&self, actor: &ActorId, from: u64, upto: u64) -> Vec<(ActorId, u64)> {
        let Some(strand) = self.strands.get(actor) else { return Vec::new() };
        if from == 0 && upto >= strand.len() {
            return strand.read.iter().map(|(of, seq)| (*of, *seq)).collect();
        }
        let place =
            |seq: u64| usize::try_from(seq.saturating_sub(strand.gone)).unwrap_or(usize::MAX).min(strand.ops.len());
        let ops = strand.ops.get(place(from)..place(upto)).unwrap_or_default();
        ops.iter().flat_map(|held| held.deps.iter().copied()).collect()
    }

    fn held(&self, actor: &ActorId, seq: u64) -> Option<(&Strand, &Held)> {
        let strand = self.strands.get(actor)?;
        Some((strand, strand.ops.get(strand.at(seq)?)?))
    }

    /// The place of an op in a log's order. Of an op in a snapshot that holds no entries it isn't known, nor needed.
    fn order(&self, actor: &ActorId, seq: u64) -> (u64, u32) {
        let entry = || self.base.as_ref()?.entries.get(&(*actor, seq)).map(|entry| entry.order);
        self.held(actor, seq).map(|(_, held)| held.order).or_else(entry).unwrap_or((0, 0))
    }

    /// Lets a snapshot stand for all ops that it covers. True if it covers ops that aren't here: then those that stay
    /// have other places, behind it.
    ///
    /// The caller has checked that it covers all that the present one does, and that it agrees with what is here.
    pub(super) fn rest_on(&mut self, base: Base) -> bool {
        let lacks = base.covers.iter().any(|tip| self.seq(&tip.actor) < tip.seq);
        let ends: BTreeMap<ActorId, u64> = base.covers.iter().map(|tip| (tip.actor, tip.seq)).collect();
        let gone = |of: &ActorId, seq: u64| ends.get(of).is_some_and(|end| seq < *end);
        let stays = |actor: &ActorId, seq: u64| ends.get(actor).is_none_or(|end| seq > *end);
        let mut known = BTreeMap::new();
        for (actor, seq) in self.arrived.iter().filter(|(actor, seq)| stays(actor, *seq)) {
            let deps = self.held(actor, *seq).into_iter().flat_map(|(_, held)| held.deps.iter());
            for (of, seq) in deps.filter(|(of, seq)| gone(of, *seq) || *seq < self.gone(of)) {
                known.extend(self.hash(of, *seq).map(|hash| ((*of, *seq), hash)));
            }
        }
        self.known = known;
        for tip in &base.covers {
            let strand = self.strands.entry(tip.actor).or_insert_with(|| Strand::new(tip.seed));
            let at = usize::try_from(tip.seq.saturating_sub(strand.gone)).unwrap_or(usize::MAX).min(strand.ops.len());
            for held in strand.ops.drain(..at) {
                self.bytes -= held.body.len() + OP_BYTES;
                self.arrived.remove(held.place);
                self.begins = self.begins.max(held.place + 1);
            }
            strand.ops.shrink_to(2 * strand.ops.len());
            strand.bodies.let_go(strand.ops.first().map(|first| &first.body));
            (strand.gone, strand.last) = (tip.seq, (tip.hash, tip.hlc));
        }
        self.bytes += base.bytes.len();
        self.bytes -= self.base.as_ref().map_or(0, |old| old.bytes.len());
        self.base = Some(base);
        if lacks {
            // Whoever has read all that was here lacks something, too.
            let order: Vec<_> = self.arrived.drain().collect();
            self.begins = self.arrived.next();
            for (actor, seq) in order {
                let place = self.arrived.next();
                self.arrived.push((actor, seq));
                let held = self.strands.get_mut(&actor).and_then(|strand| {
                    let at = strand.at(seq)?;
                    strand.ops.get_mut(at)
                });
                held.into_iter().for_each(|held| held.place = place);
            }
        }
        lacks
    }

    /// The ops that are here, in the order in which they arrived.
    pub(crate) fn left(&self) -> Vec<(ActorId, u64)> {
        self.arrived.iter().copied().collect()
    }

    /// The hashes that ops which are here need of ops in the snapshot.
    pub(crate) fn known(&self) -> Vec<Tip> {
        self.known.iter().map(|((actor, seq), hash)| Tip { actor: *actor, seq: *seq, hash: *hash }).collect()
    }

    fn delivered(&self, actor: &ActorId, seq: u64) -> Option<Delivered<'_>> {
        let (strand, held) = self.held(actor, seq).filter(|(_, held)| held.body.len() > 0)?;
        let body = strand.bodies.get(&held.body);
        Some(Delivered { actor: *actor, seq, hlc: held.hlc, place: held.place, body })
    }
}

impl Strand {
    fn new(seed: Nonce) -> Strand {
        let (ops, bodies, read) = Default::default();
        Strand { seed, gone: 0, last: (Hash::ZERO, Hlc::ZERO), ops, bodies, read }
    }

    /// Where the op with this number is among those that are here.
    fn at(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(1)?.checked_sub(self.gone)?).ok()
    }

    fn view<'a>(&'a self, held: &'a Held) -> OpView<'a> {
        OpView { hlc: held.hlc, record: held.record, deps: &held.deps, body: self.bodies.get(&held.body) }
    }

    /// What tells it from another: the hashes cover the ops, wherever their bodies lie.
    fn told(&self) -> impl PartialEq + core::hash::Hash {
        let ops: Vec<_> = self.ops.iter().map(|held| (held.hash, held.order, held.place)).collect();
        (self.seed, self.gone, self.last, ops)
    }

    fn len(&self) -> u64 {
        self.gone.saturating_add(self.ops.len() as u64)
    }
}

impl PartialEq for Strand {
    fn eq(&self, other: &Strand) -> bool {
        self.told() == other.told()
    }
}

impl Eq for Strand {}

impl core::hash::Hash for Strand {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.told().hash(state);
    }
}

/// What an op takes beside its body, roughly, in bytes.
const OP_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DeviceId, List, PartId, Proven, SessionId, Snapshot};

    const ACTOR: ActorId = ActorId::new([1; 32]);

    /// A stream of so many ops, all of them in its snapshot.
    fn resting(seq: u64) -> Stream {
        let end = Cover { actor: ACTOR, seq, hash: Hash::new([2; 32]), hlc: Hlc::ZERO, seed: Nonce::ZERO };
        let snapshot = Proven::assume(Snapshot {
            session: SessionId::new([3; 16]),
            part: PartId::new([4; 16]),
            kind: 4,
            signer: DeviceId::new([5; 32]),
            covers: List::new(alloc::vec![end.clone()]).expect("one end"),
            format: 1,
            len: 0,
            hash: Hash::ZERO,
        });
        let (signed, id, covers) = (snapshot.signed().clone(), snapshot.id(), alloc::vec![end]);
        let mut stream = Stream::default();
        stream.rest_on(Base { signed, id, covers, format: 1, bytes: Vec::new(), entries: BTreeMap::new() });
        stream
    }

    fn tips(seqs: core::ops::RangeInclusive<u64>) -> Vec<Tip> {
        seqs.map(|seq| Tip { actor: ACTOR, seq, hash: Hash::new([6; 32]) }).collect()
    }

    #[test]
    fn so_many_hashes_of_ops_in_the_snapshot_are_kept() {
        let most = MAX_KNOWN as u64;
        let mut stream = resting(most + 2);
        assert_eq!(stream.know(&tips(1..=most - 1)), tips(1..=most - 1));
        assert_eq!(stream.know(&tips(1..=most + 1)), tips(most..=most), "there is room for one");
        assert_eq!(stream.know(&tips(1..=most + 1)), []);
        assert_eq!(stream.known(), tips(1..=most));
    }

    #[test]
    fn hashes_of_other_ops_are_not_kept() {
        let mut stream = resting(3);
        assert_eq!(stream.know(&tips(1..=5)), tips(1..=2), "the snapshot names its end, and nothing behind it is here");
        assert_eq!(stream.hash(&ACTOR, 3), Some(Hash::new([2; 32])));
    }
}
