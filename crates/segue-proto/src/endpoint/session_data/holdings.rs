//! A session's data as the handoff machines see it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Mark, SessionData, Staged, Taken, has_values};
use crate::clause::{Clause, Rules};
use crate::data::{Entry, Part, PartKind, Pick, State};
use crate::handoff::{Holdings, Inline, Release, Tallies, keys};
use crate::journal::Write;
use crate::limits::{MAX_INLINE_BYTES, MAX_SYNC_PARTS};
use crate::sync::Change;
use crate::wire::codec::encode;
use crate::wire::{ActorId, Announced, DeviceId, Final, Hash, Held, List, PartId, Tally};
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
        let log = keys::put(self.session, keys::LOG, &[], self.changes.name().as_bytes().to_vec());
        let picked = (!self.pick.is_all()).then(|| self.put_pick());
        [log].into_iter().chain(picked).collect()
    }

    fn announce(&mut self, to: &DeviceId) -> Result<Announced, Code> {
        let data = self.current().cloned().ok_or(Code::DATA_UNAVAILABLE)?;
        self.before.retain_mut(|before| {
            before.to.remove(to);
            !before.to.is_empty()
        });
        self.told.insert(*to);
        Ok(data)
    }

    fn held(&mut self, told: Option<&Hash>, pick: &Pick) -> Option<Held> {
        let own = !self.lacks_of(pick);
        let of = |data: &Announced| Held { root: data.root, manifest: data.manifest };
        if let Some(told) = told {
            let staged = self.staged.iter().filter(|staged| staged.suits(pick)).map(|staged| &staged.data);
            let staged = staged.into_iter().find(|data| data.manifest == *told).map(of);
            let current = || self.current().map(of).filter(|held| own && held.manifest == *told);
            if let Some(held) = staged.or_else(current) {
                return Some(held);
            }
        }
        let data = match self.staged.iter().rfind(|staged| staged.suits(pick)) {
            Some(staged) => staged.data.clone(),
            None if self.is_blank() || !own => return None,
            None => self.current()?.clone(),
        };
        Some(Held { root: data.root, manifest: data.manifest })
    }

    fn holds(&mut self, manifest: &Hash, pick: &Pick) -> bool {
        // An empty session looks the same to those who know nothing of it: what isn't said to be held isn't.
        !(self.is_blank() && self.staged.is_empty()) && self.state_of(manifest, pick).is_some()
    }

    fn pick(&self) -> Pick {
        self.pick.clone()
    }

    fn partial(&self) -> Option<Pick> {
        self.held_in_part()
    }

    fn release(&mut self, rules: Rules, have: Option<&Held>) -> Option<Release> {
        if !rules.keeps(Clause::HO_GRANT_4) {
            return self.standing();
        }
        let have = have?;
        if let Some(release) = self.release_of(rules, have) {
            return Some(release);
        }
        self.current()?;
        self.release_of(rules, have)
    }

    fn suffices(&mut self, rules: Rules, have: Option<&Held>) -> bool {
        let Some(have) = have.filter(|_| rules.keeps(Clause::HO_GRANT_4)) else {
            return !rules.keeps(Clause::HO_GRANT_4);
        };
        self.inline_behind(rules, have).is_some()
            || self.current().is_some() && self.inline_behind(rules, have).is_some()
    }

    fn standing(&mut self) -> Option<Release> {
        let Announced { root, manifest, manifest_len } = self.current()?.clone();
        let exclusive = self.state.as_ref()?.exclusive_root();
        Some(Release { root, exclusive, manifest, manifest_len, inline: Inline::default() })
    }

    fn matches(&mut self, root: &Hash, exclusive: Option<&Hash>, pick: &Pick) -> bool {
        let here = !self.lacks_of(pick);
        let Some(state) = self.state.as_mut().filter(|_| here) else { return false };
        match exclusive {
            Some(exclusive) => state.exclusive_root() == *exclusive,
            None => state.roots().root() == *root,
        }
    }

    fn leaves_room(&mut self, manifest: &Hash, part: &PartId, len: usize) -> bool {
        let Some(at) = self.marks.iter().position(|mark| mark.data.manifest == *manifest) else { return false };
        let strands = self.state.as_ref().and_then(|state| state.part(part)).map_or(1, |part| part.strands.len() + 1);
        // What the part takes then, at most: its own fields, two tips a writer, its value.
        let then = len + 256 + strands * 2 * TIP;
        let Some(mark) = self.marks.get(at).filter(|mark| mark.bound + then > MAX_INLINE_BYTES) else { return true };
        let changed = self.changed_since(mark);
        let (others, own): (Vec<&Part>, Vec<&Part>) = changed.partition(|changed| changed.part != *part);
        let size = |parts: &[&Part]| parts.iter().map(|part| encode(*part).len()).sum::<usize>();
        let (count, others, own) = (others.len(), size(&others), size(&own));
        if let Some(mark) = self.marks.get_mut(at) {
            mark.bound = others + own;
        }
        others + then <= MAX_INLINE_BYTES && count < MAX_SYNC_PARTS
    }

    fn check(
        &mut self,
        rules: Rules,
        (have, pick): (Option<&Held>, &Pick),
        end: &Final,
        inline: &Inline,
    ) -> Result<(), Violation> {
        let Inline { ops, parts } = inline;
        if let Some(state) = self.state_of(&end.manifest, pick) {
            let advance = state.stage_with(rules, ops, parts)?;
            let fits = state.root_after(&advance) == end.root && state.exclusive_root_after(&advance) == end.exclusive;
            return rules.ensure(Clause::DATA_ROOT_1, fits, Code::DATA_ROOT);
        }
        // Sync may have brought more since the own WANT said what is held. Exclusive parts can't be ahead of FINAL.
        let claimed = have.is_some_and(|have| have.manifest == end.manifest);
        rules.ensure(Clause::HO_GRANT_7, claimed, Code::DATA_INCOMPLETE)?;
        let Some(state) = self.state.as_ref().filter(|_| claimed) else { return Ok(()) };
        let root = state.exclusive_root_after(&state.stage_with(rules, &state.beyond(ops), parts)?);
        rules.ensure(Clause::DATA_ROOT_1, root == end.exclusive, Code::DATA_ROOT)
    }

    fn adopt(&mut self, end: &Final, inline: &Inline, from: DeviceId, pick: Pick) -> Vec<Write> {
        let Inline { ops, parts } = inline;
        let mut writes = Vec::new();
        // The ops behind a part that came whole aren't here.
        let start = parts.is_empty().then_some(0);
        let at = self.changes.next();
        let mut mark;
        if let Some(found) = self.staged.iter().position(|staged| staged.data.manifest == end.manifest) {
            let staged = self.staged.remove(found);
            let lacking = self.unfetched(&staged);
            let Staged { data, mut state, .. } = staged;
            mark = Some(Mark { data, roots: state.roots(), at: start, bound: 0 });
            writes.extend(self.rebase(state, end.manifest, &lacking, (at, from)));
            writes.extend(lacking.into_values().filter_map(|(part, entry)| self.miss(part, entry)).collect::<Vec<_>>());
        } else if self.is_at(&end.manifest) {
            mark = self.marks.iter().find(|mark| mark.data.manifest == end.manifest).cloned();
            mark.iter_mut().for_each(|mark| mark.at = start);
        } else {
            // Sync brought more than the WANT said: the ops behind the manifest aren't told apart any more.
            mark = self.marks.iter().find(|mark| mark.data.manifest == end.manifest).cloned();
            mark.iter_mut().for_each(|mark| mark.at = None);
        }
        writes.extend(self.came_by(pick));
        writes.extend(self.unstage(0));
        if let Some(state) = &mut self.state
            && let Ok(advance) = state.stage_with(Rules::ALL, &state.beyond(ops), parts)
        {
            state.commit(advance);
        }
        let changed: BTreeSet<_> = ops.iter().map(|op| op.part).chain(parts.iter().map(|part| part.part)).collect();
        writes.extend(changed.iter().filter_map(|part| self.put_part(part, at, Some(from))).collect::<Vec<_>>());
        self.retire([]);
        self.awaited = None;
        self.marks = mark.into_iter().collect();
        self.tail = ops.to_vec();
        changed.iter().for_each(|part| self.grow(part));
        writes
    }

    fn forget_claims(&mut self) -> Vec<Write> {
        self.unstage(1)
    }

    fn copy_aside(&mut self, record: &Hash) -> (Vec<Write>, usize) {
        let Some(state) = &self.state else { return (Vec::new(), 0) };
        // Shared parts merge with what the others wrote; only an exclusive one loses its value to them.
        let under = |part: &&Part| part.values.iter().any(|value| value.op.record == *record);
        let writes: Vec<_> = state
            .exclusive()
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

    fn tally(&mut self, manifest: &Hash, pick: &Pick) -> Option<Tallies> {
        let state = self.state.as_mut()?;
        let mark = self.marks.iter().find(|mark| mark.data.manifest == *manifest)?;
        // The last exclusive ops go in the GRANT.
        let shared = |part: &Part| part.kind != PartKind::Exclusive.number();
        let (mut moved, mut left) = state.changed_since(&mark.roots, shared);
        if !pick.is_all() {
            let session = self.session;
            let stays = |(part, root, weight): (&Part, Hash, u64)| {
                let same = || mark.roots.get(&part.part) == Some(root);
                (pick.leaves_out(&session, part) && (!shared(part) || same())).then_some((part.kind, weight))
            };
            for (kind, weight) in state.weighed().filter_map(stays) {
                let (parts, bytes) = left.entry(kind).or_default();
                (*parts, *bytes) = (*parts + 1, *bytes + u128::from(weight));
            }
        }
        for (kind, (parts, bytes)) in &left {
            let all = moved.entry(*kind).or_default();
            *all = (all.0.saturating_sub(*parts), all.1.saturating_sub(*bytes));
        }
        let list = |sums: BTreeMap<u16, (u32, u128)>| {
            let some = sums.into_iter().filter(|(_, (parts, _))| *parts > 0);
            let bytes = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX);
            List::new(some.map(|(kind, (parts, sum))| Tally { kind, parts, bytes: bytes(sum) }).collect())
        };
        Some((list(moved)?, list(left)?))
    }

    fn wrote_exclusive(&self, actor: &ActorId) -> bool {
        self.state.iter().flat_map(State::exclusive).any(|part| part.tip(actor).is_some())
    }
}

impl Staged {
    /// Whether all is here of its content that this picks.
    fn suits(&self, pick: &Pick) -> bool {
        let held = self.pick.ids();
        self.pick.is_all() || !pick.is_all() && pick.ids().iter().all(|id| held.contains(id))
    }
}

/// The bytes of a tip's encoding, at most.
const TIP: usize = 32 + 10 + 32;

impl SessionData {
    /// Nothing of the session's data came here, and this device didn't make it.
    fn is_blank(&self) -> bool {
        !self.own && self.state.as_ref().is_none_or(|state| state.parts().next().is_none())
    }

    /// The data stands on a manifest from now on, with what this device has beyond it beside.
    fn rebase(
        &mut self,
        staged: State,
        manifest: Hash,
        lacking: &BTreeMap<Hash, (PartId, Entry)>,
        (at, from): (u64, DeviceId),
    ) -> Vec<Write> {
        let mut writes = alloc::vec![keys::delete(self.session, keys::FETCHED, manifest.as_bytes())];
        let old = self.base.replace(manifest).filter(|old| *old != manifest);
        writes.extend(old.map(|old| keys::delete(self.session, keys::MANIFEST, old.as_bytes())));
        self.brought_by = Some(from);
        let value = [manifest.as_bytes().as_slice(), &at.to_be_bytes(), from.as_bytes()].concat();
        writes.push(keys::put(self.session, keys::BASE, &[], value));
        let held: BTreeSet<_> = staged.blobs().filter(|blob| !lacking.contains_key(blob)).collect();
        writes.extend(self.got(&held));
        let state = self.state.get_or_insert_with(|| State::new(self.session, ""));
        state.name_as(staged.name());
        let old: Vec<_> = staged.parts().map(|part| (part.part, state.blobs_of(&part.part))).collect();
        let mut taken = Taken::default();
        let sifted = self.sifted(&staged, &mut taken);
        writes.append(&mut taken.writes);
        self.pass_by(&staged);
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

    /// Leaves out the exclusive parts that the source doesn't have: a takeover passed by what was written there
    /// (HO-WRITE-2).
    fn pass_by(&mut self, staged: &State) {
        let Some(state) = &mut self.state else { return };
        let unknown = |part: &&Part| staged.part(&part.part).is_none();
        let passed: Vec<PartId> = state.exclusive().filter(unknown).map(|part| part.part).collect();
        passed.iter().for_each(|part| state.remove(part));
        self.changes.forget(|change| matches!(change, Change::Part(part) if passed.contains(part)));
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

    /// What goes inline behind the data that a WANT names; none if that isn't known, or is too much. Its mark is the last
    /// one then: those that WANTs name stay longest.
    fn inline_behind(&mut self, rules: Rules, have: &Held) -> Option<Inline> {
        let is = |mark: &Mark| mark.data.manifest == have.manifest && mark.data.root == have.root;
        let at = self.marks.iter().position(is)?;
        let mark = self.marks.remove(at);
        self.marks.push(mark);
        let mark = self.marks.last()?;
        self.ops_since(mark).or_else(|| self.parts_since(mark).filter(|_| rules.keeps(Clause::HO_GRANT_12)))
    }

    fn release_of(&mut self, rules: Rules, have: &Held) -> Option<Release> {
        let inline = self.inline_behind(rules, have)?;
        let mark = self.marks.last()?;
        // What others wrote into shared parts meanwhile isn't promised: it comes by sync, before or after.
        let state = self.state.as_ref()?;
        let changed = inline.ops.iter().map(|op| op.part).chain(inline.parts.iter().map(|part| part.part));
        let now = changed.filter_map(|part| Some((part, state.part(&part)?.root())));
        let root = mark.roots.with(now).root();
        let (manifest, manifest_len) = (mark.data.manifest, mark.data.manifest_len);
        Some(Release { root, exclusive: state.exclusive_root(), manifest, manifest_len, inline })
    }

    /// The exclusive ops behind a manifest; none if they aren't all here, or are more than go inline.
    fn ops_since(&self, mark: &Mark) -> Option<Inline> {
        let ops = self.tail.get(mark.at?..)?.to_vec();
        let size: usize = ops.iter().map(|op| encode(op).len()).sum();
        (size <= MAX_INLINE_BYTES).then_some(Inline { ops, parts: Vec::new() })
    }

    /// The exclusive parts that changed since a manifest, whole; none if they are more than goes inline.
    fn parts_since(&self, mark: &Mark) -> Option<Inline> {
        let parts: Vec<Part> = self.changed_since(mark).cloned().collect();
        let size: usize = parts.iter().map(|part| encode(part).len()).sum();
        (size <= MAX_INLINE_BYTES && parts.len() <= MAX_SYNC_PARTS).then_some(Inline { ops: Vec::new(), parts })
    }

    fn changed_since<'a>(&'a self, mark: &'a Mark) -> impl Iterator<Item = &'a Part> {
        let before = |part: &Part| mark.roots.get(&part.part);
        self.state.iter().flat_map(State::exclusive).filter(move |part| before(part) != Some(part.root()))
    }

    /// An exclusive part was written: what goes inline behind each manifest has grown by it.
    pub(super) fn grow(&mut self, part: &PartId) {
        let len = self.state.as_ref().and_then(|state| state.part(part)).map_or(0, |part| encode(part).len());
        self.marks.iter_mut().for_each(|mark| mark.bound = mark.bound.saturating_add(len));
    }

    /// The tail starts anew: no manifest so far can go on from it.
    pub(super) fn cut_tail(&mut self) {
        self.tail.clear();
        self.marks.iter_mut().for_each(|mark| mark.at = None);
    }

    /// The state that a FINAL's manifest names, if it is held.
    fn state_of(&mut self, manifest: &Hash, pick: &Pick) -> Option<&State> {
        let is = |staged: &Staged| staged.data.manifest == *manifest && staged.suits(pick);
        if let Some(at) = self.staged.iter().position(is) {
            return self.staged.get(at).map(|staged| &staged.state);
        }
        let own = !self.lacks_of(pick) && self.is_at(manifest);
        self.state.as_ref().filter(|_| own)
    }

    /// Whether this manifest names the data as it is. What a mark names is told by its roots, without writing all parts
    /// out once more.
    fn is_at(&mut self, manifest: &Hash) -> bool {
        let marked = || self.marks.iter().find(|mark| mark.data.manifest == *manifest);
        match (&mut self.state, self.current.is_none().then(marked).flatten()) {
            (Some(state), Some(mark)) => state.roots() == mark.roots,
            _ => self.current().is_some_and(|data| data.manifest == *manifest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;
    use crate::data::{NewOp, Replaces};
    use crate::limits::MAX_OP_BODY;
    use crate::wire::hash::Hasher;
    use crate::wire::{Hlc, Nonce, SessionId};

    #[test]
    fn what_two_picks_of_one_manifest_said_is_held_still() {
        let (session, hash) = (SessionId::new([1; 16]), Hash::new([2; 32]));
        let mut data = SessionData::unknown(session, Nonce::ZERO);
        let picks = [3, 4].map(|id| Pick::new([PartId::new([id; 16])]).expect("one id"));
        for pick in &picks {
            data.stage(State::new(session, "notes").to_manifest(), hash, pick.clone());
        }
        assert!(picks.iter().all(|pick| data.state_of(&hash, pick).is_some()));
        assert!(data.state_of(&hash, &Pick::all()).is_none());
    }

    /// HO-PACE-1: a GRANT has room for what was said to have room, however many devices wrote the part before.
    #[test]
    fn what_leaves_room_goes_inline() {
        let part = PartId::new([3; 16]);
        let new = |writer: u16, len: usize| NewOp {
            actor: ActorId::new(*Hasher::new("writer").bytes(&writer.to_be_bytes()).finish().as_bytes()),
            part,
            kind: PartKind::Exclusive.number(),
            hlc: Hlc::new([0; 8]),
            record: Hash::new([4; 32]),
            salt: Nonce::ZERO,
            body: alloc::vec![5; len],
            replaces: Replaces::One,
        };
        let mut data = SessionData::created(SessionId::new([1; 16]), "notes", Nonce::ZERO);
        let (mut fits, mut too_much) = (0, 0);
        for writers in 1..=320 {
            data.write(Rules::ALL, new(writers, 1)).expect("a write");
            if writers % 20 > 0 {
                continue;
            }
            let Announced { root, manifest, .. } = data.current().expect("a manifest").clone();
            // The ops behind it aren't told apart, so the part goes whole.
            data.cut_tail();
            for len in (0..=MAX_OP_BODY).step_by(MAX_OP_BODY / 8) {
                let mut then = data.clone();
                let leaves_room = then.leaves_room(&manifest, &part, len);
                then.write(Rules::ALL, new(writers + 1, len)).expect("a write");
                let goes = then.inline_behind(Rules::ALL, &Held { root, manifest }).is_some();
                assert!(goes || !leaves_room, "{len} bytes beside {writers} writers");
                (fits, too_much) = (fits + usize::from(leaves_room), too_much + usize::from(!goes));
            }
        }
        assert!(fits > 0 && too_much > 0, "{fits} fit, {too_much} are too much");
    }
}
