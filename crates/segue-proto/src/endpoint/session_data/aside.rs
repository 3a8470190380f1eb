//! What is set aside: ops and values of revoked devices past the cut. They are kept and shown, and are no part of the
//! data, until a cut is found to reach further, a member's op turns out to stand on them, or the user takes them in.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{SessionData, has_values};
use crate::account::{Cuts, End};
use crate::clause::{Clause, Rules};
use crate::data::{Part, StreamOp, Value, header, op_hash};
use crate::handoff::keys;
use crate::journal::Write;
use crate::limits::MAX_ASIDE_BYTES;
use crate::sync::{Change, FedOp, kept};
use crate::wire::codec::{decode, encode};
use crate::wire::{ActorId, DeviceId, Hash, Hlc, List, Nonce, PartId, Tip, Writer};
use crate::{Code, Violation};

/// What came of taking something in.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct Taken {
    /// For the journal.
    pub writes: Vec<Write>,
    /// The parts that changed.
    pub changed: alloc::collections::BTreeSet<PartId>,
    /// The parts of which something was set aside.
    pub aside: alloc::collections::BTreeSet<PartId>,
    /// The parts out of which something was taken again.
    pub reread: alloc::collections::BTreeSet<PartId>,
    /// A part stands on a snapshot of ops that weren't here.
    pub resync: bool,
}

/// An op or a value that is set aside: it was written past the cut of a revoked device (DATA-ASIDE-3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The part.
    pub part: PartId,
    /// The number of its kind: [`crate::data::PartKind`].
    pub kind: u16,
    /// The writer.
    pub actor: ActorId,
    /// The writer's device; none if nobody named it.
    pub device: Option<DeviceId>,
    /// The op's number.
    pub seq: u64,
    /// When it was made, by the writer's clock.
    pub hlc: Hlc,
    /// What was written.
    pub body: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    cuts: Arc<Cuts>,
    strands: BTreeMap<(PartId, ActorId), Strand>,
    values: BTreeMap<(PartId, ActorId), (u16, Value)>,
    bytes: usize,
}

/// Ops of one strand, in order.
#[derive(Clone, Debug)]
struct Strand {
    kind: u16,
    seed: Nonce,
    ops: BTreeMap<u64, StreamOp>,
}

impl Aside {
    fn cost(op: &StreamOp) -> usize {
        op.body.len() + 128
    }

    fn last(&self, strand: &(PartId, ActorId)) -> Option<u64> {
        self.strands.get(strand)?.ops.keys().next_back().copied()
    }

    fn put(&mut self, strand: (PartId, ActorId), kind: u16, seed: Nonce, seq: u64, op: StreamOp) {
        self.bytes += Self::cost(&op);
        self.strands.entry(strand).or_insert(Strand { kind, seed, ops: BTreeMap::new() }).ops.insert(seq, op);
    }

    fn forget(&mut self, strand: &(PartId, ActorId), seq: u64) {
        let Some(known) = self.strands.get_mut(strand) else { return };
        self.bytes -= known.ops.remove(&seq).map_or(0, |op| Self::cost(&op));
        if known.ops.is_empty() {
            self.strands.remove(strand);
        }
    }

    /// An entry of the journal; none if it isn't one.
    pub(super) fn restore(&mut self, letter: u8, rest: &[u8], value: &[u8]) -> Option<()> {
        let (part, rest) = rest.split_first_chunk()?;
        let (actor, rest) = rest.split_first_chunk()?;
        let strand = (PartId::new(*part), ActorId::new(*actor));
        if letter == keys::ASIDE {
            let (seed, op) = value.split_first_chunk()?;
            let (_, kept::Kept { kind, op }) = kept::decode(op)?;
            self.put(strand, kind, Nonce::new(*seed), u64::from_be_bytes(rest.try_into().ok()?), op);
        } else {
            let (kind, value) = value.split_first_chunk()?;
            self.values.insert(strand, (u16::from_be_bytes(*kind), decode(Rules::ALL, value).ok()?));
        }
        Some(())
    }
}

fn key_of((part, actor): &(PartId, ActorId)) -> Vec<u8> {
    [part.as_bytes().as_slice(), actor.as_bytes()].concat()
}

fn key_of_op(strand: &(PartId, ActorId), seq: u64) -> Vec<u8> {
    [key_of(strand).as_slice(), &seq.to_be_bytes()].concat()
}

/// Queries.
impl SessionData {
    /// All that is set aside, by part, writer and number.
    pub(in crate::endpoint) fn aside(&self) -> Vec<SetAside> {
        let device = |actor: &ActorId| self.device_of(actor);
        let ops = self.aside.strands.iter().flat_map(|((part, actor), strand)| {
            strand.ops.iter().map(|(seq, op)| SetAside {
                part: *part,
                kind: strand.kind,
                actor: *actor,
                device: device(actor),
                seq: *seq,
                hlc: op.hlc,
                body: op.body.clone(),
            })
        });
        let values = self.aside.values.iter().map(|((part, actor), (kind, value))| SetAside {
            part: *part,
            kind: *kind,
            actor: *actor,
            device: device(actor),
            seq: value.op.seq,
            hlc: value.op.hlc,
            body: value.op.body.to_vec(),
        });
        let mut all: Vec<_> = ops.chain(values).collect();
        all.sort_by_key(|it| (it.part, it.actor, it.seq));
        all
    }

    /// The value that is set aside of a writer, with its part's kind.
    pub(in crate::endpoint) fn value_aside(&self, part: PartId, actor: ActorId) -> Option<(u16, Vec<u8>)> {
        self.aside.values.get(&(part, actor)).map(|(kind, value)| (*kind, value.op.body.to_vec()))
    }

    /// The kind of the part of which ops of a writer are set aside.
    pub(in crate::endpoint) fn ops_aside(&self, part: PartId, actor: ActorId) -> Option<u16> {
        self.aside.strands.get(&(part, actor)).map(|strand| strand.kind)
    }

    /// The ends of a device's strands as they are held here, those of ops first; those of writers whom nobody named are
    /// among them, for they may be the device's. Of a part with values the strand of a value counts alone.
    pub(in crate::endpoint) fn ends_of(&self, device: &DeviceId) -> Vec<(PartId, Tip)> {
        let Some(state) = &self.state else { return Vec::new() };
        let theirs = |actor: &ActorId| self.device_of(actor).is_none_or(|of| of == *device);
        let (values, streams): (Vec<_>, Vec<_>) = state.parts().partition(|part| has_values(part));
        let ops = streams.into_iter().flat_map(|part| part.strands.iter().map(|tip| (part.part, tip.clone())));
        let of_value = |part: &Part, value: &Value| Some((part.part, part.tip(&value.op.actor)?.clone()));
        let values = values.into_iter().flat_map(|part| part.values.iter().filter_map(|value| of_value(part, value)));
        ops.chain(values).filter(|(_, tip)| theirs(&tip.actor)).collect()
    }

    fn device_of(&self, actor: &ActorId) -> Option<DeviceId> {
        self.state.as_ref().and_then(|state| state.writer(actor)).map(|writer| writer.device)
    }

    pub(super) fn end(&self, rules: Rules, part: &PartId, actor: &ActorId) -> Option<End> {
        self.aside.cuts.end(rules, self.device_of(actor).as_ref(), part, actor)
    }

    /// Whether a value with this number and hash stands.
    fn stands(&self, rules: Rules, part: &PartId, value: &Value) -> bool {
        let Some(end) = self.end(rules, part, &value.op.actor) else { return true };
        let hash = || op_hash(&value.prev, &header(&value.op));
        value.op.seq < end.seq || value.op.seq == end.seq && hash() == end.hash
    }
}

/// Changes.
impl SessionData {
    /// Notes who writes as an actor; what was set aside of it may stand.
    pub(in crate::endpoint) fn name_writers(&mut self, rules: Rules, writers: Vec<Writer>, taken: &mut Taken) {
        let Some(state) = &mut self.state else { return };
        let mut new = false;
        for writer in writers {
            let actor = crate::data::actor_id(&writer.device, &writer.nonce);
            let value = [writer.device.as_bytes().as_slice(), writer.nonce.as_bytes()].concat();
            if state.writer(&actor).is_none() && state.name_writer(writer) {
                taken.writes.push(keys::put(self.session, keys::WRITER, actor.as_bytes(), value));
                new = true;
            }
        }
        if new {
            self.settle(rules, taken);
        }
    }

    /// Another roster: what of it doesn't stand any more is set aside, and what is aside and stands is taken in. True if
    /// values were taken out, so that others have to say anew what they hold.
    pub(in crate::endpoint) fn cut_as(&mut self, rules: Rules, cuts: Arc<Cuts>, taken: &mut Taken) -> bool {
        self.aside.cuts = cuts;
        let parts: Vec<PartId> = self.state.iter().flat_map(|state| state.parts()).map(|part| part.part).collect();
        let mut lost = false;
        for part in parts {
            if self.state.as_ref().is_some_and(|state| state.stream(&part).is_some()) {
                self.cut_stream(rules, part, taken);
            } else {
                lost |= self.cut_values(rules, part, taken);
            }
        }
        if lost {
            let known = core::mem::take(&mut self.cursors);
            let forget = |peer: &DeviceId| keys::delete(self.session, keys::CURSOR, peer.as_bytes());
            taken.writes.extend(known.keys().map(forget));
        }
        self.settle(rules, taken);
        lost
    }

    fn cut_stream(&mut self, rules: Rules, part: PartId, taken: &mut Taken) {
        let Some(stream) = self.state.as_ref().and_then(|state| state.stream(&part)) else { return };
        let end = |actor: &ActorId| self.end(rules, &part, actor).map(|end| end.seq);
        let over = stream.writers().any(|actor| end(&actor).is_some_and(|end| end < stream.seq(&actor)));
        if !over || !rules.keeps(Clause::DATA_ASIDE_1) {
            return;
        }
        let kept = stream.kept_by(end);
        let short: BTreeMap<_, _> = kept.into_iter().filter(|(actor, keep)| *keep < stream.seq(actor)).collect();
        self.changes.forget(|change| match change {
            Change::Op(of, actor, seq) if *of == part => short.get(actor).is_some_and(|keep| keep < seq),
            _ => false,
        });
        for (actor, keep) in short {
            let Some(state) = &mut self.state else { return };
            let kind = state.part(&part).map_or(0, |part| part.kind);
            let seed = state.stream(&part).and_then(|stream| stream.seed(&actor)).unwrap_or(Nonce::ZERO);
            let gone = state.cut(&part, &actor, keep);
            self.retire([(part, Vec::new())]);
            for (seq, op) in gone {
                self.forget_op(part, actor, seq, taken);
                self.put_aside((part, actor), kind, seed, seq, op, taken);
            }
            taken.reread.insert(part);
        }
        self.drop_beyond(part, taken);
    }

    fn forget_op(&self, part: PartId, actor: ActorId, seq: u64, taken: &mut Taken) {
        let strand = key_of(&(part, actor));
        taken.writes.push(keys::delete(self.session, keys::OP, &key_of_op(&(part, actor), seq)));
        if seq == 1 {
            taken.writes.push(keys::delete(self.session, keys::SEED, &strand));
        }
    }

    fn cut_values(&mut self, rules: Rules, id: PartId, taken: &mut Taken) -> bool {
        let Some(part) = self.state.as_ref().and_then(|state| state.part(&id)).cloned() else { return false };
        let old = self.state.as_ref().map(|state| state.blobs_of(&id)).unwrap_or_default();
        let Some(left) = self.sift(rules, &part, taken).ok().filter(|left| *left != part) else { return false };
        let Some(state) = &mut self.state else { return false };
        let empty = left.strands.is_empty();
        if empty {
            state.remove(&id)
        } else {
            state.replace(left)
        }
        self.retire([(id, old)]);
        self.marks.clear();
        self.tail.clear();
        if empty {
            self.overlays.remove(&id);
            taken.writes.push(keys::delete(self.session, keys::PART, id.as_bytes()));
        } else {
            let at = self.changes.next();
            taken.writes.extend(self.put_part(&id, at, None));
        }
        taken.reread.insert(id);
        true
    }

    /// What of a copy of a part counts; the values that don't stand are set aside (DATA-ASIDE-2).
    ///
    /// Errors: those of [`crate::data::State::merge`] that concern the copy alone.
    pub(in crate::endpoint) fn sift(
        &mut self,
        rules: Rules,
        part: &Part,
        taken: &mut Taken,
    ) -> Result<Part, Violation> {
        let Some(state) = self.state.as_ref().filter(|_| has_values(part) && !self.aside.cuts.is_empty()) else {
            return Ok(part.clone());
        };
        let off = !rules.keeps(Clause::DATA_ASIDE_2);
        let (left, aside) = state.sift(rules, part, |value| off || self.stands(rules, &part.part, value))?;
        for value in aside {
            let strand = (part.part, value.op.actor);
            let newer = self.aside.values.get(&strand).is_none_or(|(_, known)| known.op.seq < value.op.seq);
            if newer && rules.keeps(Clause::DATA_ASIDE_3) {
                let bytes = [part.kind.to_be_bytes().as_slice(), &encode(&value)].concat();
                taken.writes.push(keys::put(self.session, keys::ASIDE_VALUE, &key_of(&strand), bytes));
                self.aside.values.insert(strand, (part.kind, value));
                taken.aside.insert(part.part);
            }
        }
        Ok(left)
    }

    /// Sets an op aside if it doesn't stand; false if it does. One that is aside already changes nothing.
    ///
    /// Errors: DATA-OP-1, DATA-KIND-1, DATA-FORK-1; no room.
    pub(super) fn set_aside(&mut self, rules: Rules, op: &FedOp, taken: &mut Taken) -> Result<bool, Violation> {
        let Some(state) = &self.state else { return Ok(false) };
        let strand = (op.part, op.actor);
        let held = state.stream(&op.part).map_or(0, |stream| stream.seq(&op.actor));
        let past = self.end(rules, &op.part, &op.actor).is_some_and(|end| op.seq > end.seq) && op.seq > held;
        if !past || !rules.keeps(Clause::DATA_ASIDE_1) {
            return Ok(false);
        }
        let kind = crate::data::PartKind::from_number(op.kind);
        let fits = kind.is_some_and(|kind| !kind.has_values());
        rules.ensure(Clause::DATA_KIND_1, fits, Code::DATA_MANIFEST)?;
        let last = self.aside.last(&strand).unwrap_or(0).max(held);
        if op.seq <= last {
            let known = self.aside.strands.get(&strand).and_then(|strand| strand.ops.get(&op.seq));
            rules.ensure(Clause::DATA_FORK_1, known.is_none_or(|known| *known == op.op), Code::DATA_FORK)?;
            return Ok(true);
        }
        rules.ensure(Clause::DATA_OP_1, op.seq == last.saturating_add(1), Code::DATA_HASH)?;
        if self.aside.bytes >= MAX_ASIDE_BYTES {
            return Err(Violation::new(Code::LIMIT_ROOM, Clause::DATA_ASIDE_3));
        }
        if rules.keeps(Clause::DATA_ASIDE_3) {
            self.put_aside(strand, op.kind, op.seed, op.seq, op.op.clone(), taken);
        }
        Ok(true)
    }

    fn put_aside(
        &mut self,
        strand: (PartId, ActorId),
        kind: u16,
        seed: Nonce,
        seq: u64,
        op: StreamOp,
        taken: &mut Taken,
    ) {
        let value = [seed.as_bytes().as_slice(), &kept::encode(0, kind, op.view())].concat();
        taken.writes.push(keys::put(self.session, keys::ASIDE, &key_of_op(&strand, seq), value));
        taken.aside.insert(strand.0);
        self.aside.put(strand, kind, seed, seq, op);
    }

    /// Takes in what is aside and what these ops, which stand, had read: whoever wrote on it had taken it in.
    ///
    /// Errors: it is no good; nothing more is taken in then.
    pub(in crate::endpoint) fn release(
        &mut self,
        rules: Rules,
        part: PartId,
        read: &[(ActorId, u64)],
        taken: &mut Taken,
    ) -> Result<(), Violation> {
        let mut needed: BTreeMap<ActorId, u64> = BTreeMap::new();
        let mut open: Vec<(ActorId, u64)> = read.to_vec();
        while let Some((actor, upto)) = open.pop() {
            let Some(strand) = self.aside.strands.get(&(part, actor)) else { continue };
            let from = needed.get(&actor).map_or(0, |seen| seen.saturating_add(1));
            if upto >= from {
                open.extend(strand.ops.range(from..=upto).flat_map(|(_, op)| op.deps.iter().copied()));
                needed.insert(actor, upto);
            }
        }
        self.take_ready(rules, part, |actor| needed.get(actor).copied(), taken)
    }

    /// Takes in the ops that are aside, stand up to where `upto` says, and follow only what is held.
    fn take_ready(
        &mut self,
        rules: Rules,
        part: PartId,
        upto: impl Fn(&ActorId) -> Option<u64>,
        taken: &mut Taken,
    ) -> Result<(), Violation> {
        loop {
            let of_part =
                self.aside.strands.range((part, ActorId::new([0; 32]))..).take_while(|((of, _), _)| *of == part);
            let ready = of_part.filter_map(|(strand, held)| {
                let (seq, op) = held.ops.first_key_value()?;
                let stream = self.state.as_ref()?.stream(&part);
                let has = |(of, seq): &(ActorId, u64)| stream.is_some_and(|stream| stream.seq(of) >= *seq);
                let fits = upto(&strand.1).is_some_and(|upto| *seq <= upto) && op.deps.iter().all(has);
                fits.then(|| (*strand, *seq, held.kind, held.seed, op.clone()))
            });
            let Some((strand, seq, kind, seed, op)) = { ready }.next() else { return Ok(()) };
            let Some(state) = &mut self.state else { return Ok(()) };
            state.deliver(rules, part, kind, (strand.1, seq), seed, op)?;
            self.retire([(part, Vec::new())]);
            self.aside.forget(&strand, seq);
            taken.writes.push(keys::delete(self.session, keys::ASIDE, &key_of_op(&strand, seq)));
            let at = self.changes.next();
            let writes = self.put_op(at, part, strand.1, seq, None);
            taken.writes.extend(writes);
            taken.changed.insert(part);
        }
    }

    /// Takes in what is aside and stands by now.
    fn settle(&mut self, rules: Rules, taken: &mut Taken) {
        let parts: alloc::collections::BTreeSet<PartId> = self.aside.strands.keys().map(|(part, _)| *part).collect();
        for part in parts {
            let strands = self.aside.strands.iter().filter(|((of, _), _)| *of == part);
            let mut ends = BTreeMap::new();
            let mut read = Vec::new();
            for ((_, actor), strand) in strands {
                let end = self.end(rules, &part, actor).map_or(u64::MAX, |end| end.seq);
                ends.insert(*actor, end);
                read.extend(strand.ops.range(..=end).flat_map(|(_, op)| op.deps.iter().copied()));
            }
            // What is no good stays aside.
            let _ = self.release(rules, part, &read, taken);
            let _ = self.take_ready(rules, part, |actor| ends.get(actor).copied(), taken);
        }
        let stand: Vec<_> = {
            let stands =
                |((part, _), (_, value)): &(&(PartId, ActorId), &(u16, Value))| self.stands(rules, part, value);
            self.aside.values.iter().filter(stands).map(|(strand, value)| (*strand, value.clone())).collect()
        };
        for (strand, (kind, value)) in stand {
            let tip = Tip { actor: value.op.actor, seq: value.op.seq, hash: op_hash(&value.prev, &header(&value.op)) };
            let strands = List::new(alloc::vec![tip]).unwrap_or_default();
            let values = List::new(alloc::vec![value]).unwrap_or_default();
            let copy = Part { part: strand.0, kind, strands, values };
            if self.merge_copy(rules, None, &copy, taken).is_ok() {
                self.drop_value_aside(strand.0, strand.1, taken);
            }
        }
    }

    /// A value that was aside was taken in.
    pub(in crate::endpoint) fn drop_value_aside(&mut self, part: PartId, actor: ActorId, taken: &mut Taken) {
        if self.aside.values.remove(&(part, actor)).is_some() {
            taken.writes.push(keys::delete(self.session, keys::ASIDE_VALUE, &key_of(&(part, actor))));
        }
    }

    /// Values that are aside, and that a member's value is known to have replaced, aren't any more.
    pub(super) fn drop_replaced(&mut self, part: &PartId, taken: &mut Taken) {
        let Some(held) = self.state.as_ref().and_then(|state| state.part(part)) else { return };
        let of_part = self.aside.values.range((*part, ActorId::new([0; 32]))..).take_while(|((of, _), _)| of == part);
        let known = |actor: &ActorId, seq: u64| held.tip(actor).is_some_and(|tip| tip.seq >= seq);
        let gone = of_part.filter(|((_, actor), (_, value))| known(actor, value.op.seq)).map(|((_, actor), _)| *actor);
        let gone: Vec<_> = gone.collect();
        gone.into_iter().for_each(|actor| self.drop_value_aside(*part, actor, taken));
    }

    /// Takes in all ops of a strand that are aside, because the user says so.
    ///
    /// Errors: they are no good, or follow what isn't here.
    pub(in crate::endpoint) fn take_in(
        &mut self,
        rules: Rules,
        part: PartId,
        actor: ActorId,
        taken: &mut Taken,
    ) -> Result<bool, Violation> {
        let Some(last) = self.aside.last(&(part, actor)) else { return Ok(false) };
        self.release(rules, part, &[(actor, last)], taken)?;
        Ok(self.aside.last(&(part, actor)).is_none())
    }

    /// The op at a cut has to be the one that the cut names.
    pub(super) fn check_end(&self, rules: Rules, part: &PartId, actor: &ActorId, seq: u64) -> Result<(), Violation> {
        let Some(end) = self.end(rules, part, actor).filter(|end| end.seq == seq) else { return Ok(()) };
        let hash: Option<Hash> =
            self.state.as_ref().and_then(|state| state.stream(part)).and_then(|stream| stream.hash(actor, seq));
        rules.ensure(Clause::DATA_FORK_1, hash == Some(end.hash), Code::DATA_FORK)
    }
}
