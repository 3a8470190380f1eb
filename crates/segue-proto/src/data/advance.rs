//! Exclusive parts, and inline ops that advance them: checked first, and taken in once what they lead to was approved.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::hashes::root;
use super::objects::{Part, PartKind};
use super::state::{PartState, State};
use crate::limits::{MAX_MANIFEST, MAX_PARTS};
use crate::wire::{Hash, Op, PartId};
use crate::{Clause, Code, Rules, Violation};

/// Inline ops, checked and not taken in yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    parts: BTreeMap<PartId, PartState>,
}

impl Advance {
    /// The parts that change.
    pub fn parts(&self) -> impl Iterator<Item = PartId> {
        self.parts.keys().copied()
    }
}

impl State {
    /// The root of the exclusive parts alone.
    pub fn exclusive_root(&self) -> Hash {
        self.exclusive_root_with(&BTreeMap::new())
    }

    /// The ops of exclusive parts that aren't held yet.
    pub fn beyond(&self, ops: &[Op]) -> Vec<Op> {
        let held = |op: &Op| self.part(&op.part).and_then(|part| part.tip(&op.actor)).is_some_and(|t| t.seq >= op.seq);
        ops.iter().filter(|op| !held(op)).cloned().collect()
    }

    /// Checks inline ops of exclusive parts, in the order in which they were made, and takes none of them in.
    ///
    /// Errors: DATA-OP-1 (not the next op of its strand), DATA-OP-4 (doesn't follow what the part holds), DATA-OP-5
    /// (no exclusive part that is held), WIRE-CAP-1.
    pub fn stage(&self, rules: Rules, ops: &[Op]) -> Result<Advance, Violation> {
        self.stage_with(rules, ops, &[])
    }

    /// The same with exclusive parts that come whole, each in the place of what is held of it.
    ///
    /// Errors: as [`State::stage`]; DATA-OP-7 (not exclusive, twice, or with an op beside), DATA-KIND-1, what
    /// [`Manifest::open`](super::Manifest::open) finds wrong with a part.
    pub fn stage_with(&self, rules: Rules, ops: &[Op], whole: &[Part]) -> Result<Advance, Violation> {
        let mut parts: BTreeMap<PartId, Part> = BTreeMap::new();
        for part in whole {
            let alone = ops.iter().all(|op| op.part != part.part) && !parts.contains_key(&part.part);
            let exclusive = part.kind == PartKind::Exclusive.number();
            rules.ensure(Clause::DATA_OP_7, alone && exclusive, Code::DATA_MANIFEST)?;
            part.check(rules, &self.session, true)?;
            let fits = self.part(&part.part).is_none_or(|held| held.kind == part.kind);
            rules.ensure(Clause::DATA_KIND_1, fits, Code::DATA_MANIFEST)?;
            parts.insert(part.part, part.clone());
        }
        for op in ops {
            let held = self.part(&op.part);
            let exclusive = held.is_some_and(|part| part.kind == PartKind::Exclusive.number());
            rules.ensure(Clause::DATA_OP_5, exclusive, Code::DATA_MANIFEST)?;
            let Some(held) = held else { continue };
            parts.entry(op.part).or_insert_with(|| held.clone()).advance(rules, &self.session, op)?;
        }
        let parts: BTreeMap<_, _> = parts.into_iter().map(|(id, part)| (id, PartState::new(part))).collect();
        let new = parts.keys().filter(|id| !self.parts.contains_key(id)).count();
        let fits = self.parts.len() + new <= MAX_PARTS && self.encoded_with(parts.values()) <= MAX_MANIFEST;
        rules.ensure(Clause::WIRE_CAP_1, fits, Code::LIMIT_MANIFEST)?;
        Ok(Advance { parts })
    }

    /// The root that the session has once `advance`, staged against this very state, is taken in (DATA-ROOT-1).
    pub fn root_after(&self, advance: &Advance) -> Hash {
        if let Some(roots) = self.image.roots() {
            return roots.with(advance.parts.iter().map(|(id, held)| (*id, held.root()))).root();
        }
        let after = self.after(advance);
        root(&self.session, after.iter().map(|held| (held.part.part, held.root())))
    }

    /// The root that the exclusive parts alone have then.
    pub fn exclusive_root_after(&self, advance: &Advance) -> Hash {
        self.exclusive_root_with(&advance.parts)
    }

    /// The parts as they are then, ascending by id.
    fn after<'a>(&'a self, advance: &'a Advance) -> Vec<&'a PartState> {
        let staged = |held: &'a PartState| advance.parts.get(&held.part.part).unwrap_or(held);
        let mut after: Vec<_> = self.parts.values().map(staged).collect();
        let before = after.len();
        after.extend(advance.parts.iter().filter(|(id, _)| !self.parts.contains_key(id)).map(|(_, held)| held));
        if after.len() > before {
            after.sort_by_key(|held| held.part.part);
        }
        after
    }

    /// Takes in the ops that [`State::stage`] checked against this very state.
    pub fn commit(&mut self, advance: Advance) {
        advance.parts.into_values().for_each(|held| self.put(held));
    }

    /// The root of the exclusive parts, with these in the place of what is held of them.
    fn exclusive_root_with(&self, staged: &BTreeMap<PartId, PartState>) -> Hash {
        let new = staged.values().filter(|held| held.part.kind == PartKind::Exclusive.number());
        let held = self.exclusive.iter().filter_map(|id| self.parts.get(id));
        let roots: BTreeMap<_, _> = held.chain(new).map(|held| (held.part.part, held.root())).collect();
        root(&self.session, roots.into_iter())
    }
}
