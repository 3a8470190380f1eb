//! A session's data as the handoff machines see it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Mark, SessionData, Staged, Taken, has_values};
use crate::clause::{Clause, Rules};
use crate::data::{Part, PartKind, State};
use crate::handoff::{Holdings, Release, keys};
use crate::journal::Write;
use crate::limits::MAX_INLINE_BYTES;
use crate::sync::Change;
use crate::wire::codec::encode;
use crate::wire::{ActorId, Announced, DeviceId, Final, Hash, Held, Op, PartId};
use crate::{Code, Violation};

impl Holdings for SessionData {
    fn name_as(&mut self, name: &str) {
        if let Some(state) = self.state.as_mut().filter(|state| state.name().is_empty()) {
            state.name_as(name);
            self.retire([]);
        }
    }

    fn keep(&mut self, name: &str) -> Vec<Write> {
        self.state.get_or_insert_with(|| State::new(self.session, name));
        alloc::vec![keys::put(self.session, keys::LOG, &[], self.changes.name().as_bytes().to_vec())]
    }

    fn announce(&mut self) -> Result<Announced, Code> {
        let data = self.current().map(|(data, _)| data.clone()).ok_or(Code::DATA_UNAVAILABLE)?;
        (self.told, self.before) = (true, None);
        Ok(data)
    }

    fn held(&mut self, told: Option<&Hash>) -> Option<Held> {
        let own = self.missing().next().is_none();
        let of = |data: &Announced| Held { root: data.root, manifest: data.manifest };
        if let Some(told) = told {
            let staged = self.staged.iter().map(|staged| &staged.data).find(|data| data.manifest == *told).map(of);
            let current = || self.current().map(|(data, _)| of(data)).filter(|held| own && held.manifest == *told);
            if let Some(held) = staged.or_else(current) {
                return Some(held);
            }
        }
        let data = match self.staged.last() {
            Some(staged) => staged.data.clone(),
            None if self.is_blank() || self.missing().next().is_some() => return None,
            None => self.current()?.0.clone(),
        };
        Some(Held { root: data.root, manifest: data.manifest })
    }

    fn holds(&mut self, manifest: &Hash) -> bool {
        // An empty session looks the same to those who know nothing of it: what isn't said to be held isn't.
        !(self.is_blank() && self.staged.is_empty()) && self.state_of(manifest).is_some()
    }

    fn release(&mut self, rules: Rules, have: Option<&Held>) -> Option<Release> {
        if !rules.keeps(Clause::HO_GRANT_4) {
            let data = self.current()?.0.clone();
            let (root, manifest, manifest_len) = (data.root, data.manifest, data.manifest_len);
            let exclusive = self.state.as_ref()?.exclusive_root();
            return Some(Release { root, exclusive, manifest, manifest_len, ops: Vec::new() });
        }
        let have = have?;
        if let Some(release) = self.release_of(have) {
            return Some(release);
        }
        self.current()?;
        self.release_of(have)
    }

    fn check(&mut self, rules: Rules, have: Option<&Held>, end: &Final, ops: &[Op]) -> Result<(), Violation> {
        if let Some(state) = self.state_of(&end.manifest) {
            let advance = state.stage(rules, ops)?;
            let fits = advance.root() == end.root && advance.exclusive_root() == end.exclusive;
            return rules.ensure(Clause::DATA_ROOT_1, fits, Code::DATA_ROOT);
        }
        // Sync may have brought more since the own WANT said what is held. Exclusive parts can't be ahead of FINAL.
        let claimed = have.is_some_and(|have| have.manifest == end.manifest);
        rules.ensure(Clause::HO_GRANT_7, claimed, Code::DATA_INCOMPLETE)?;
        let Some(state) = self.state.as_ref().filter(|_| claimed) else { return Ok(()) };
        let root = state.stage(rules, &state.beyond(ops))?.exclusive_root();
        rules.ensure(Clause::DATA_ROOT_1, root == end.exclusive, Code::DATA_ROOT)
    }

    fn adopt(&mut self, end: &Final, ops: &[Op], from: DeviceId) -> Vec<Write> {
        let mut writes = Vec::new();
        let at = self.changes.next();
        let mut mark = None;
        if let Some(found) = self.staged.iter().position(|staged| staged.data.manifest == end.manifest) {
            let Staged { data, state, .. } = self.staged.remove(found);
            mark = Some(Mark { data, roots: state.roots(), at: 0 });
            writes.extend(self.rebase(state, end.manifest, (at, from)));
        } else if self.current().is_some_and(|(data, _)| data.manifest == end.manifest) {
            mark = self.marks.iter().find(|mark| mark.data.manifest == end.manifest).cloned();
            mark.iter_mut().for_each(|mark| mark.at = 0);
        }
        writes.extend(self.unstage(0));
        if let Some(state) = &mut self.state
            && let Ok(advance) = state.stage(Rules::ALL, &state.beyond(ops))
        {
            state.commit(advance);
        }
        let changed: BTreeSet<_> = ops.iter().map(|op| op.part).collect();
        writes.extend(changed.iter().filter_map(|part| self.put_part(part, at, Some(from))).collect::<Vec<_>>());
        self.retire([]);
        self.awaited = None;
        self.marks = mark.into_iter().collect();
        self.tail = ops.to_vec();
        writes
    }

    fn forget_claims(&mut self) -> Vec<Write> {
        self.unstage(1)
    }

    fn copy_aside(&mut self, record: &Hash) -> (Vec<Write>, usize) {
        let Some(state) = &self.state else { return (Vec::new(), 0) };
        // Shared parts merge with what the others wrote; only an exclusive one loses its value to them.
        let exclusive = |part: &&Part| part.kind == PartKind::Exclusive.number();
        let under = |part: &&Part| exclusive(part) && part.values.iter().any(|value| value.op.record == *record);
        let writes: Vec<_> = state
            .parts()
            .filter(under)
            .map(|part| {
                let rest = [record.as_bytes().as_slice(), part.part.as_bytes()].concat();
                keys::put(self.session, keys::COPY, &rest, encode(part))
            })
            .collect();
        self.copies += writes.len();
        let made = writes.len();
        (writes, made)
    }

    fn is_ahead(&self, actor: &ActorId) -> bool {
        let (Some(state), Some(staged)) = (&self.state, self.staged.last()) else { return false };
        // Shared parts merge, so what was written to them stays and is gone on from.
        state.parts().filter(|part| part.kind == PartKind::Exclusive.number()).any(|part| {
            let tip = |of: &Part| of.tip(actor).map_or(0, |tip| tip.seq);
            tip(part) > staged.state.part(&part.part).map_or(0, tip)
        })
    }
}

impl SessionData {
    /// Nothing of the session's data came here, and this device didn't make it.
    fn is_blank(&self) -> bool {
        !self.own && self.state.as_ref().is_none_or(|state| state.parts().next().is_none())
    }

    /// The data stands on a manifest from now on, with what this device has beyond it beside.
    fn rebase(&mut self, staged: State, manifest: Hash, (at, from): (u64, DeviceId)) -> Vec<Write> {
        let mut writes = alloc::vec![keys::delete(self.session, keys::FETCHED, manifest.as_bytes())];
        let old = self.base.replace(manifest).filter(|old| *old != manifest);
        writes.extend(old.map(|old| keys::delete(self.session, keys::MANIFEST, old.as_bytes())));
        let value = [manifest.as_bytes().as_slice(), &at.to_be_bytes()].concat();
        writes.push(keys::put(self.session, keys::BASE, &[], value));
        let held: BTreeSet<_> = staged.blobs().collect();
        writes.extend(self.got(&held));
        let state = self.state.get_or_insert_with(|| State::new(self.session, ""));
        state.name_as(staged.name());
        let old: Vec<_> = staged.parts().map(|part| (part.part, state.blobs_of(&part.part))).collect();
        let mut taken = Taken::default();
        let sifted = self.sifted(&staged, &mut taken);
        writes.append(&mut taken.writes);
        let state = self.state.get_or_insert_with(|| State::new(self.session, ""));
        let sift = |part: &Part| sifted.get(&part.part).cloned().unwrap_or_else(|| Some(part.clone()));
        let changed: BTreeSet<_> = state.absorb(Rules::ALL, &staged, sift).unwrap_or_default().into_iter().collect();
        let beyond = |part: &&Part| has_values(part) && staged.part(&part.part) != Some(part);
        let beyond: BTreeSet<PartId> = state.parts().filter(beyond).map(|part| part.part).collect();
        let gone: Vec<_> = self.overlays.difference(&beyond).copied().collect();
        writes.extend(gone.iter().map(|part| keys::delete(self.session, keys::PART, part.as_bytes())));
        self.overlays = BTreeSet::new();
        changed.iter().for_each(|part| self.changes.note(at, Change::Part(*part), Some(from)));
        self.retire(old.into_iter().filter(|(part, _)| changed.contains(part)));
        writes.extend(beyond.iter().filter_map(|part| self.put_part(part, at, None)).collect::<Vec<_>>());
        writes
    }

    /// What counts of the parts of a manifest of which something is set aside; none if nothing is left.
    fn sifted(&mut self, staged: &State, taken: &mut Taken) -> BTreeMap<PartId, Option<Part>> {
        let mut sifted = BTreeMap::new();
        for part in staged.parts() {
            if let Some(left) = self.sift(Rules::ALL, part, taken).ok().filter(|left| left != part) {
                sifted.insert(part.part, (!left.strands.is_empty()).then_some(left));
            }
        }
        sifted
    }

    fn release_of(&self, have: &Held) -> Option<Release> {
        let mark = self.marks.iter().find(|mark| mark.data.manifest == have.manifest && mark.data.root == have.root)?;
        let ops = self.tail.get(mark.at..)?.to_vec();
        let size: usize = ops.iter().map(|op| encode(op).len()).sum();
        // What others wrote into shared parts meanwhile isn't promised: it comes by sync, before or after.
        let changed: BTreeSet<_> = ops.iter().map(|op| op.part).collect();
        let now = |part: &PartId| self.state.as_ref()?.part(part).filter(|_| changed.contains(part)).map(Part::root);
        let root_of = |(part, root): &(PartId, Hash)| (*part, now(part).unwrap_or(*root));
        let root = crate::data::root(&self.session, mark.roots.iter().map(root_of));
        let (manifest, manifest_len) = (mark.data.manifest, mark.data.manifest_len);
        let exclusive = self.state.as_ref()?.exclusive_root();
        (size <= MAX_INLINE_BYTES).then_some(Release { root, exclusive, manifest, manifest_len, ops })
    }

    /// The state that a FINAL's manifest names, if it is held.
    fn state_of(&mut self, manifest: &Hash) -> Option<&State> {
        if let Some(at) = self.staged.iter().position(|staged| staged.data.manifest == *manifest) {
            return self.staged.get(at).map(|staged| &staged.state);
        }
        let whole = self.missing().next().is_none();
        let own = whole && self.current().is_some_and(|(data, _)| data.manifest == *manifest);
        self.state.as_ref().filter(|_| own)
    }
}
