//! What the user picked of a session's files: which content is to be here, which is left out, and who learns of it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{SessionData, Staged};
use crate::clause::{Clause, Rules};
use crate::data::{Entry, Part, Pick, State};
use crate::handoff::keys;
use crate::journal::Write;
use crate::limits::MAX_PICK;
use crate::wire::{Hash, PartId};

impl SessionData {
    pub(in crate::endpoint) fn picked(&self) -> &Pick {
        &self.pick
    }

    /// From now on this is picked.
    pub(in crate::endpoint) fn set_pick(&mut self, pick: Pick) {
        self.pick = pick;
        self.sort_out();
    }

    /// What the journal says of picks.
    pub(in crate::endpoint) fn put_pick(&self) -> Write {
        self.put_ids(keys::PICK, &self.pick)
    }

    /// From now on all content is wanted, whatever is picked, or no more; false if that is so already.
    pub(in crate::endpoint) fn want_all(&mut self, all: bool) -> bool {
        core::mem::replace(&mut self.all, all) != all
    }

    /// Whether content isn't here because it isn't picked.
    pub(in crate::endpoint) fn leaves_out(&self, blob: &Hash) -> bool {
        self.left_out.contains(blob)
    }

    /// The content that isn't here and is to be.
    pub(in crate::endpoint) fn wanted(&self, rules: Rules) -> impl Iterator<Item = Entry> {
        let all = self.all || !rules.keeps(Clause::HO_PICK_2);
        // All that is left out is missing.
        let some = all || self.missing.len() > self.left_out.len();
        let missing = some.then(|| self.missing()).into_iter().flatten();
        missing.filter(move |entry| all || !self.left_out.contains(&entry.blob))
    }

    /// Content that was left out is wanted after all, until this device is opened again; how much of it there is.
    pub(in crate::endpoint) fn want_content(&mut self, paths: &BTreeSet<&str>) -> usize {
        let (state, left_out) = (self.state.iter(), &self.left_out);
        let files = state.flat_map(State::entries).filter(|(_, entry)| paths.contains(&*entry.path));
        let blobs: Vec<_> = files.map(|(_, entry)| entry.blob).filter(|blob| left_out.contains(blob)).collect();
        blobs.iter().filter(|blob| self.left_out.remove(blob)).count()
    }

    /// Whether content of what `pick` picks isn't here.
    pub(super) fn lacks_of(&self, pick: &Pick) -> bool {
        if self.missing.is_empty() {
            return false;
        }
        if pick.is_all() {
            return self.missing().next().is_some();
        }
        self.state.iter().flat_map(State::parts).any(|part| self.missing_of(part, pick).next().is_some())
    }

    /// This goes along when the session is handed over next, or in the handoff that runs, and the rest stays behind.
    pub(in crate::endpoint) fn take_along(&mut self, pick: Pick) {
        (self.along, self.along_next) = (pick, true);
    }

    /// A handoff begins. What was chosen since the one before began is for this one, which may end that. Whether more goes
    /// along than before.
    pub(in crate::endpoint) fn begin_handoff(&mut self) -> bool {
        !core::mem::take(&mut self.along_next) && !core::mem::take(&mut self.along).is_all()
    }

    /// What was chosen for the handoff that ended is for the next one.
    pub(in crate::endpoint) fn choose_again(&mut self) {
        self.along_next = !self.along.is_all();
    }

    /// The handoff is over: the next one takes all along, unless something else is chosen for it. Whether more goes along
    /// than before.
    pub(in crate::endpoint) fn end_handoff(&mut self) -> bool {
        self.along_next = false;
        !core::mem::take(&mut self.along).is_all()
    }

    /// The files whose content is here and goes along.
    pub(in crate::endpoint) fn to_give(&self) -> impl Iterator<Item = Entry> {
        let goes = |part: &Part, entry: &Entry| {
            entry.len > 0 && !self.lacks(&entry.blob) && self.along.picks(&self.session, &part.part, &entry.path)
        };
        let parts = self.state.iter().flat_map(State::parts);
        parts.flat_map(move |part| part.entries().filter(move |entry| goes(part, entry)))
    }

    /// What a device hands over that left something out, or leaves it behind: of what goes along, or of what was picked and
    /// of what came, that of which nothing is missing; and, as far as there is room, the parts that are here beside that,
    /// as those that were written here.
    pub(super) fn held_in_part(&self) -> Option<Pick> {
        let left_out = !(self.pick.is_all() && self.came.is_all()) && self.missing().next().is_some();
        if !left_out && self.along.is_all() {
            return None;
        }
        let parts = || self.state.iter().flat_map(State::parts);
        let mut lacking = BTreeSet::new();
        for part in parts() {
            for entry in part.entries().filter(|entry| self.missing.contains_key(&entry.blob)) {
                lacking.insert(part.part);
                lacking.extend(Pick::folders(&self.session, &entry.path));
            }
        }
        let picked = || self.pick.ids().iter().chain(self.came.ids().iter());
        let along = self.along.ids().iter();
        let said: Vec<_> = if self.along.is_all() { picked().copied().collect() } else { along.copied().collect() };
        let mut ids: BTreeSet<PartId> = said.into_iter().filter(|id| !lacking.contains(id)).take(MAX_PICK).collect();
        let held = Pick::new(ids.iter().copied())?;
        let content = |part: &Part| part.entries().any(|entry| entry.len > 0) && !lacking.contains(&part.part);
        let goes = |part: &Part| !self.along.leaves_out(&self.session, part);
        let beside =
            |part: &&Part| content(part) && goes(part) && (held.is_all() || held.leaves_out(&self.session, part));
        ids.extend(parts().filter(beside).map(|part| part.part).take(MAX_PICK - ids.len()));
        if ids.is_empty() {
            // Nothing is here: no part has this id.
            ids.insert(PartId::new([0; 16]));
        }
        Pick::new(ids)
    }

    /// A part has changed here: what it names in a place that is picked isn't left out.
    pub(super) fn take_back(&mut self, part: &Part) {
        if !self.left_out.is_empty() {
            let wanted: Vec<_> = self.missing_of(part, &self.pick).collect();
            for blob in wanted {
                self.left_out.remove(&blob);
            }
        }
    }

    /// Finds out anew which of the missing content isn't picked.
    pub(super) fn sort_out(&mut self) {
        self.left_out = BTreeSet::new();
        if self.pick.is_all() || self.missing.is_empty() {
            return;
        }
        let parts = self.state.iter().flat_map(State::parts);
        let wanted: BTreeSet<_> = parts.flat_map(|part| self.missing_of(part, &self.pick)).collect();
        self.left_out = self.missing.keys().filter(|blob| !wanted.contains(blob)).copied().collect();
    }

    /// The content that a fetched manifest names, that wasn't fetched, and that isn't here either: by blob, with a part
    /// that names it.
    pub(super) fn unfetched(&self, staged: &Staged) -> BTreeMap<Hash, (PartId, Entry)> {
        if staged.pick.is_all() {
            return BTreeMap::new();
        }
        let files = |part: &Part| {
            let id = part.part;
            part.entries().filter(|entry| entry.len > 0).map(move |entry| (id, entry)).collect::<Vec<_>>()
        };
        let (got, rest): (Vec<_>, Vec<_>) = staged
            .state
            .parts()
            .flat_map(files)
            .partition(|(part, entry)| staged.pick.picks(&self.session, part, &entry.path));
        let got: BTreeSet<Hash> = got.into_iter().map(|(_, entry)| entry.blob).collect();
        let here = |blob: &Hash| {
            got.contains(blob)
                || !self.lacks(blob) && self.state.as_ref().is_some_and(|state| state.blob_len(blob).is_some())
        };
        rest.into_iter().filter(|(_, e)| !here(&e.blob)).map(|(part, e)| (e.blob, (part, e))).collect()
    }

    /// What of the data came with the last handoff.
    pub(in crate::endpoint) fn came(&self) -> &Pick {
        &self.came
    }

    /// The data came by a handoff of which this was here.
    pub(super) fn came_by(&mut self, pick: Pick) -> Option<Write> {
        let new = (self.came != pick).then_some(pick)?;
        self.came = new;
        Some(self.put_ids(keys::CAME, &self.came))
    }

    /// The missing content of a part's files that are picked.
    fn missing_of<'a>(&'a self, part: &'a Part, pick: &'a Pick) -> impl Iterator<Item = Hash> + 'a {
        let missing = part.entries().filter(|entry| self.missing.contains_key(&entry.blob));
        missing.filter(|entry| pick.picks(&self.session, &part.part, &entry.path)).map(|entry| entry.blob)
    }

    fn put_ids(&self, letter: u8, pick: &Pick) -> Write {
        match pick.is_all() {
            true => keys::delete(self.session, letter, &[]),
            false => keys::put(self.session, letter, &[], pick.to_bytes()),
        }
    }
}
