//! The ops of a log or opaque part: every one is kept, and each follows what its writer had read.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::hashes::{body_hash, op_hash, salt, strand_hash};
use super::objects::OpHeader;
use crate::limits::MAX_DEPS;
use crate::wire::{ActorId, Hash, Hlc, List, Nonce, PartId, SessionId, Tip};
use crate::{Clause, Code, Rules, Violation};

/// The strands of a log or opaque part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stream {
    strands: BTreeMap<ActorId, Strand>,
    /// What the ops take, in bytes.
    bytes: usize,
    /// Every op, in the order in which this device took them in. It follows causality, and differs between devices. A
    /// place is never used twice, so that who has read up to one goes on from there whatever was taken out.
    arrived: BTreeMap<u64, (ActorId, u64)>,
    next: u64,
}

/// The ops of one writer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Strand {
    /// From it and an op's number comes the op's salt.
    seed: Nonce,
    ops: Vec<Held>,
    /// What the ops name as read, all together.
    read: BTreeMap<ActorId, u64>,
}

/// An op as it is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    op: StreamOp,
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
            strand.ops.last().map(|last| Tip { actor: *actor, seq: strand.ops.len() as u64, hash: last.hash })
        };
        self.strands.iter().filter_map(tip).collect()
    }

    /// How many ops a writer has.
    pub fn seq(&self, actor: &ActorId) -> u64 {
        self.strands.get(actor).map_or(0, |strand| strand.ops.len() as u64)
    }

    /// The seed of a writer's salts, if it wrote anything here.
    pub fn seed(&self, actor: &ActorId) -> Option<Nonce> {
        self.strands.get(actor).map(|strand| strand.seed)
    }

    /// The op with this number.
    pub fn op(&self, actor: &ActorId, seq: u64) -> Option<&StreamOp> {
        self.held(actor, seq).map(|held| &held.op)
    }

    /// The hash of the op with this number.
    pub fn hash(&self, actor: &ActorId, seq: u64) -> Option<Hash> {
        self.held(actor, seq).map(|held| held.hash)
    }

    /// Whether the op that a tip names is held.
    pub fn covers(&self, tip: &Tip) -> bool {
        self.hash(&tip.actor, tip.seq) == Some(tip.hash)
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
        self.arrived.is_empty()
    }

    /// The ops from a place on, in the order in which this device took them in: each after those that its writer had
    /// read, each once (DATA-STREAM-1). Those without a body only name what was read (DATA-STREAM-2): they aren't here.
    pub fn arrived(&self, from: u64) -> impl Iterator<Item = Delivered<'_>> {
        self.arrived.range(from..).filter_map(|(_, (actor, seq))| self.delivered(actor, *seq))
    }

    /// The ops in the order of a log, the same on every device that holds the same ops (DATA-LOG-1).
    pub fn in_order(&self) -> Vec<Delivered<'_>> {
        let key = |(actor, seq): &&(ActorId, u64)| (self.held(actor, *seq).map(|held| held.order), *actor, *seq);
        let mut order: Vec<_> = self.arrived.values().collect();
        order.sort_by_cached_key(key);
        order.into_iter().filter_map(|(actor, seq)| self.delivered(actor, *seq)).collect()
    }

    /// What a writer has not named as read yet: the strands of others beyond what its ops name, ascending by actor. If
    /// they are more than an op can name, the rest is named by the next.
    pub fn unread(&self, actor: &ActorId) -> Vec<(ActorId, u64)> {
        let read = |of: &ActorId| self.strands.get(actor).and_then(|own| own.read.get(of)).copied().unwrap_or(0);
        let others = self.strands.iter().filter(|(of, _)| *of != actor);
        let others = others.map(|(of, strand)| (*of, strand.ops.len() as u64));
        others.filter(|(of, seq)| read(of) < *seq).take(MAX_DEPS).collect()
    }

    /// The latest time in the part.
    pub fn latest(&self) -> Hlc {
        let last = self.strands.values().filter_map(|strand| strand.ops.last()).map(|held| held.op.hlc);
        last.max().unwrap_or(Hlc::ZERO)
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
        let last = self.strands.get(actor).and_then(|strand| strand.ops.last());
        let seq = self.seq(actor) + 1;
        let ascend = op.deps.is_sorted_by(|a, b| a.0 < b.0) && op.deps.iter().all(|(of, _)| of != actor);
        let mut deps = Vec::with_capacity(op.deps.len());
        let mut order = last.map_or((0, 0), |held| held.order);
        for (of, seq) in &op.deps {
            let held = self.held(of, *seq);
            rules.ensure(Clause::DATA_OP_4, held.is_some(), Code::DATA_MANIFEST)?;
            let Some(held) = held else { continue };
            deps.push(Tip { actor: *of, seq: *seq, hash: held.hash });
            order = (order.0.max(held.order.0), order.1.max(held.order.1));
        }
        rules.ensure(Clause::DATA_OP_4, ascend, Code::DATA_MANIFEST)?;
        let deps = List::new(deps).ok_or(Violation::new(Code::WIRE_LIMIT, Clause::WIRE_CAP_1))?;
        let (salt, body_len) = (salt(seed, seq), u32::try_from(op.body.len()).unwrap_or(u32::MAX));
        let body_hash = body_hash(&salt, &op.body);
        let header = OpHeader { seq, deps, hlc: op.hlc, record: op.record, body_len, body_hash };
        let prev = last.map_or_else(|| strand_hash(session, part, actor), |held| held.hash);
        let time = u64::from_be_bytes(*op.hlc.as_bytes());
        let order = (time.max(order.0.saturating_add(1)), order.1.saturating_add(1));
        Ok((op_hash(&prev, &header), order))
    }

    /// Takes in the next op of a strand. `seed` counts for the strand's first op alone.
    ///
    /// Errors: as DATA-OP-4 says; nothing is taken in then.
    pub(super) fn push(
        &mut self,
        rules: Rules,
        (session, part): (&SessionId, &PartId),
        actor: ActorId,
        seed: Nonce,
        op: StreamOp,
    ) -> Result<(), Violation> {
        let seed = self.seed(&actor).unwrap_or(seed);
        let (hash, order) = self.place(rules, (session, part, &actor), &seed, &op)?;
        let strand =
            self.strands.entry(actor).or_insert_with(|| Strand { seed, ops: Vec::new(), read: BTreeMap::new() });
        strand.read.extend(op.deps.iter().copied());
        self.bytes += op.body.len() + OP_BYTES;
        strand.ops.push(Held { op, hash, order, place: self.next });
        self.arrived.insert(self.next, (actor, strand.ops.len() as u64));
        self.next += 1;
        Ok(())
    }

    /// Takes the ops of a strand behind its `keep`th out again, in order. The caller knows that no op that stays names
    /// one of them as read.
    pub(super) fn cut(&mut self, actor: &ActorId, keep: u64) -> Vec<(u64, StreamOp)> {
        let Some(strand) = self.strands.get_mut(actor) else { return Vec::new() };
        let at = usize::try_from(keep).unwrap_or(usize::MAX).min(strand.ops.len());
        let gone = strand.ops.split_off(at);
        strand.read = BTreeMap::new();
        strand.ops.iter().for_each(|held| strand.read.extend(held.op.deps.iter().copied()));
        if strand.ops.is_empty() {
            self.strands.remove(actor);
        }
        for held in &gone {
            self.arrived.remove(&held.place);
        }
        self.bytes -= gone.iter().map(|held| held.op.body.len() + OP_BYTES).sum::<usize>();
        (keep + 1..).zip(gone.into_iter().map(|held| held.op)).collect()
    }

    /// The writers here, ascending.
    pub fn writers(&self) -> impl Iterator<Item = ActorId> {
        self.strands.keys().copied()
    }

    /// How far the ops of each strand have to stay if each keeps its first `end` ones (all of them, where `end` says
    /// none): those ops, and all that they had read.
    pub fn kept_by(&self, end: impl Fn(&ActorId) -> Option<u64>) -> BTreeMap<ActorId, u64> {
        let own = |actor: &ActorId| end(actor).unwrap_or(u64::MAX).min(self.seq(actor));
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
        if from == 0 && upto >= strand.ops.len() as u64 {
            return strand.read.iter().map(|(of, seq)| (*of, *seq)).collect();
        }
        let place = |seq: u64| usize::try_from(seq).unwrap_or(usize::MAX).min(strand.ops.len());
        let ops = strand.ops.get(place(from)..place(upto)).unwrap_or_default();
        ops.iter().flat_map(|held| held.op.deps.iter().copied()).collect()
    }

    fn held(&self, actor: &ActorId, seq: u64) -> Option<&Held> {
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.strands.get(actor)?.ops.get(at)
    }

    fn delivered(&self, actor: &ActorId, seq: u64) -> Option<Delivered<'_>> {
        let held = self.held(actor, seq).filter(|held| !held.op.body.is_empty())?;
        Some(Delivered { actor: *actor, seq, hlc: held.op.hlc, place: held.place, body: &held.op.body })
    }
}

/// What an op takes beside its body, roughly, in bytes.
const OP_BYTES: usize = 128;
