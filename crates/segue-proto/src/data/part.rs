//! A single part: its checks, its next op, and how two devices' copies of it become one.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::hashes::{header, op_hash, part_root, strand_hash};
use super::objects::{Entry, Part, PartKind, Value};
use crate::wire::codec::decode;
use crate::wire::{ActorId, Hash, List, Op, PartId, SessionId, Tip};
use crate::{Clause, Code, Rules, Violation};

impl Part {
    /// A part without ops.
    pub fn new(part: PartId, kind: PartKind) -> Part {
        Part { part, kind: kind.number(), strands: List::empty(), values: List::empty() }
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

    /// The value that is shown: of those that no other has replaced, the one with the highest time, then actor, then
    /// number (DATA-VALUE-1).
    pub fn shown(&self) -> Option<&Value> {
        self.values.iter().max_by_key(|value| (value.op.hlc, value.op.actor, value.op.seq))
    }

    /// Whether writers who didn't know of each other left more than one value.
    pub fn is_conflicted(&self) -> bool {
        self.values.len() > 1
    }

    /// The body of the value that is shown.
    pub fn body(&self) -> Option<&[u8]> {
        self.shown().map(|value| &*value.op.body)
    }

    /// What a blob part holds, removed entries included: the value that is shown.
    pub fn entry(&self) -> Option<Entry> {
        let body = self.is_blob().then(|| self.body()).flatten()?;
        decode(Rules::ALL, body).ok()
    }

    /// Every entry of a blob part, those that are not shown included.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let values = self.is_blob().then_some(&self.values);
        values.into_iter().flat_map(|values| values.iter()).filter_map(|v| decode(Rules::ALL, &v.op.body).ok())
    }

    /// Whether its values are files.
    pub fn is_blob(&self) -> bool {
        self.kind == PartKind::Blob.number()
    }

    /// Checks all that can be known from the part alone, or from a piece of it: that may lack values.
    pub(super) fn check(&self, rules: Rules, session: &SessionId, whole: bool) -> Result<(), Violation> {
        let kind = PartKind::from_number(self.kind);
        rules.ensure(Clause::WIRE_VALUE_1, kind.is_some(), Code::WIRE_VALUE)?;
        // A strand without ops isn't listed, or one set of ops would have two roots.
        let ordered = self.strands.is_sorted_by(|a, b| a.actor < b.actor) && self.strands.iter().all(|tip| tip.seq > 0);
        rules.ensure(Clause::DATA_MANIFEST_1, ordered, Code::DATA_MANIFEST)?;
        let complete = match kind.map(PartKind::has_values) {
            Some(true) => self.strands.is_empty() == self.values.is_empty() || !whole && self.values.is_empty(),
            Some(false) => self.values.is_empty(),
            None => true,
        };
        let single = kind != Some(PartKind::Exclusive) || self.values.len() <= 1;
        let ascend = self.values.is_sorted_by(|a, b| a.op.actor < b.op.actor);
        rules.ensure(Clause::DATA_MANIFEST_1, complete && single && ascend, Code::DATA_MANIFEST)?;
        for value in self.values.iter() {
            self.check_value(rules, session, value)?;
            if kind == Some(PartKind::Blob) {
                Entry::open(rules, &value.op.body)?;
            }
        }
        Ok(())
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
        // Of a shared part any copy may be here, and what a value had read is of no use to those who merge it.
        let exclusive = self.kind == PartKind::Exclusive.number();
        let reads = if exclusive { self.holds_deps(op) } else { names_others(op) };
        rules.ensure(Clause::DATA_OP_4, reads, Code::DATA_MANIFEST)
    }

    /// Takes in the next op of a strand, which replaces the values that its writer had read.
    ///
    /// An inline op brings no hash: it recomputes here, and the root tells whether it is the right one.
    pub(super) fn advance(&mut self, rules: Rules, session: &SessionId, op: &Op) -> Result<(), Violation> {
        let (seq, prev) = match self.tip(&op.actor) {
            Some(tip) => (tip.seq, tip.hash),
            None => (0, strand_hash(session, &self.part, &op.actor)),
        };
        rules.ensure(Clause::DATA_OP_1, seq.checked_add(1) == Some(op.seq), Code::DATA_HASH)?;
        let exclusive = self.kind == PartKind::Exclusive.number();
        let follows = self.holds_deps(op) && (!exclusive || self.values.iter().all(|value| replaces(op, value)));
        rules.ensure(Clause::DATA_OP_4, follows, Code::DATA_MANIFEST)?;
        let tip = Tip { actor: op.actor, seq: op.seq, hash: op_hash(&prev, &header(op)) };
        let mut tips = core::mem::take(&mut self.strands).into_vec();
        put_tip(&mut tips, tip);
        let mut values = core::mem::take(&mut self.values).into_vec();
        values.retain(|value| !replaces(op, value) && !exclusive);
        values.push(Value { prev, op: op.clone() });
        self.put(tips, values)
    }

    /// Takes in another copy of a register or blob part: every strand as far as either copy has it, and every value
    /// that neither knows to be replaced (DATA-MERGE-1). The order and the number of merges don't matter.
    ///
    /// True if anything changed. Errors: DATA-FORK-1 if the copies name two ops by one number.
    pub fn merge(&mut self, rules: Rules, other: &Part) -> Result<bool, Violation> {
        let mut tips = self.strands.to_vec();
        let mut values: Vec<Value> = self.values.iter().filter(|value| other.leaves(value)).cloned().collect();
        for tip in other.strands.iter() {
            let known = self.tip(&tip.actor).filter(|known| known.seq == tip.seq);
            let one = known.is_none_or(|known| known.hash == tip.hash);
            rules.ensure(Clause::DATA_FORK_1, one, Code::DATA_FORK)?;
            if self.tip(&tip.actor).is_none_or(|known| known.seq < tip.seq) {
                put_tip(&mut tips, tip.clone());
            }
        }
        let unknown = |value: &&Value| self.tip(&value.op.actor).is_none_or(|tip| tip.seq < value.op.seq);
        values.extend(other.values.iter().filter(unknown).cloned());
        if !rules.keeps(Clause::DATA_MERGE_1) {
            let last = values.iter().max_by_key(|value| (value.op.hlc, value.op.actor)).cloned();
            values = last.into_iter().collect();
        }
        let before = (self.strands.clone(), self.values.clone());
        self.put(tips, values)?;
        Ok(before != (self.strands.clone(), self.values.clone()))
    }

    /// Whether this copy's knowledge lets another copy's value stand: it doesn't know it yet, or holds it too.
    fn leaves(&self, value: &Value) -> bool {
        let Some(tip) = self.tip(&value.op.actor) else { return true };
        match value.op.seq.cmp(&tip.seq) {
            Ordering::Greater => true,
            Ordering::Equal => self.values.iter().any(|held| held.op.actor == value.op.actor),
            Ordering::Less => false,
        }
    }

    fn put(&mut self, tips: Vec<Tip>, mut values: Vec<Value>) -> Result<(), Violation> {
        let full = Violation::new(Code::WIRE_LIMIT, Clause::WIRE_CAP_1);
        values.sort_by_key(|value| value.op.actor);
        let (tips, values) = (List::new(tips).ok_or(full)?, List::new(values).ok_or(full)?);
        (self.strands, self.values) = (tips, values);
        Ok(())
    }

    /// Takes the last op back if `actor` wrote it, as a restored backup would (the opposite of DATA-OP-3).
    pub(super) fn rewind(&mut self, actor: &ActorId) {
        let Some(value) = self.values.iter().find(|value| value.op.actor == *actor) else { return };
        let before = Tip { actor: *actor, seq: value.op.seq.saturating_sub(1), hash: value.prev };
        let others = self.strands.iter().filter(|tip| tip.actor != *actor).cloned();
        let mut tips: Vec<Tip> = others.chain((before.seq > 0).then_some(before.clone())).collect();
        tips.sort_by_key(|tip| tip.actor);
        self.strands = List::new(tips).unwrap_or_default();
        self.values = List::empty();
    }

    /// Whether `op` names, ascending, ops of strands other than its own that this part has.
    pub(super) fn holds_deps(&self, op: &Op) -> bool {
        let held = |dep: &Tip| {
            let tip = self.tip(&dep.actor);
            tip.is_some_and(|tip| dep.seq < tip.seq || dep == tip)
        };
        names_others(op) && op.deps.iter().all(held)
    }
}

/// Whether `op` names, ascending, ops of strands other than its own.
fn names_others(op: &Op) -> bool {
    let other = |dep: &Tip| dep.seq > 0 && dep.actor != op.actor;
    op.deps.is_sorted_by(|a, b| a.actor < b.actor) && op.deps.iter().all(other)
}

/// Whether the writer of `op` had read `value`: it is its own, or one of its strand that `op` names as read. What was
/// read before the writer's last op was replaced by that.
fn replaces(op: &Op, value: &Value) -> bool {
    let read = |dep: &Tip| dep.actor == value.op.actor && dep.seq >= value.op.seq;
    op.actor == value.op.actor || op.deps.iter().any(read)
}

fn put_tip(tips: &mut Vec<Tip>, tip: Tip) {
    match tips.binary_search_by(|known| known.actor.cmp(&tip.actor)) {
        Ok(at) => tips.get_mut(at).into_iter().for_each(|known| *known = tip.clone()),
        Err(at) => tips.insert(at, tip),
    }
}
