//! What other devices changed: taken in, and noted for those who follow this one.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{SessionData, Taken};
use crate::Violation;
use crate::clause::Rules;
use crate::data::{Entry, Manifest, Part, PartKind, Pick, State};
use crate::handoff::keys;
use crate::journal::Write;
use crate::limits::{MAX_OLD, MAX_PATH};
use crate::sync::{Changes, FedOp};
use crate::wire::{DeviceId, Hash, Nonce, PartId, Text};

impl SessionData {
    pub(in crate::endpoint) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The device that brought a part as it is now, together with the session.
    pub(in crate::endpoint) fn brought_by(&self, part: &PartId) -> Option<DeviceId> {
        self.brought_by.filter(|_| !self.overlays.contains(part))
    }

    /// Up to which position of its log a peer's changes are held; none if nothing is.
    pub(in crate::endpoint) fn cursor(&self, peer: &DeviceId) -> Option<(Nonce, u64)> {
        self.cursors.get(peer).copied()
    }

    /// Takes in an op of a log or opaque part that a peer sent, if it isn't here yet; or sets it aside.
    pub(in crate::endpoint) fn deliver(
        &mut self,
        rules: Rules,
        from: DeviceId,
        op: FedOp,
        taken: &mut Taken,
    ) -> Result<(), Violation> {
        if self.set_aside(rules, &op, taken)? {
            return Ok(());
        }
        let FedOp { part, kind, actor, seq, seed, op, known, .. } = op;
        self.know(&part, &known, taken);
        self.release(rules, part, &op.deps, taken)?;
        let Some(state) = &mut self.state else { return Ok(()) };
        if !state.deliver(rules, part, kind, (actor, seq), seed, op)? {
            return Ok(());
        }
        if let Err(why) = self.check_end(rules, &part, &actor, seq) {
            self.state.iter_mut().for_each(|state| drop(state.cut(&part, &actor, seq.saturating_sub(1))));
            return Err(why);
        }
        self.retire([(part, Vec::new())]);
        let at = self.changes.next();
        let writes = self.put_op(at, part, actor, seq, Some(from));
        taken.writes.extend(writes);
        taken.changed.insert(part);
        Ok(())
    }

    /// Takes in a part with values that a peer sent, or what was left of it. What an exclusive one may replace, the
    /// caller decided.
    pub(in crate::endpoint) fn merge_copy(
        &mut self,
        rules: Rules,
        from: Option<DeviceId>,
        part: &Part,
        taken: &mut Taken,
    ) -> Result<(), Violation> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let fresh: Vec<_> = part.entries().filter(|e| e.len > 0 && state.blob_len(&e.blob).is_none()).collect();
        let old = state.blobs_of(&part.part);
        let files: Vec<_> = state.part(&part.part).into_iter().flat_map(Part::entries).collect();
        if !state.merge(rules, part)? {
            return Ok(());
        }
        let missed: Vec<_> = fresh.into_iter().filter_map(|entry| self.miss(part.part, entry)).collect();
        self.take_back(part);
        if !missed.is_empty() {
            taken.writes.extend(self.replace(part.part, files));
        }
        taken.writes.extend(missed);
        self.retire([(part.part, old)]);
        if part.kind == PartKind::Exclusive.number() {
            self.grow(&part.part);
            self.cut_tail();
        }
        let at = self.changes.next();
        // What was merged from both is news to the peer as well.
        let same = self.state.as_ref().and_then(|state| state.part(&part.part)) == Some(part);
        let writes = self.put_part(&part.part, at, from.filter(|_| same));
        taken.writes.extend(writes);
        taken.changed.insert(part.part);
        self.drop_replaced(&part.part, taken);
        Ok(())
    }

    /// The content that the data names and that isn't here.
    pub(in crate::endpoint) fn missing(&self) -> impl Iterator<Item = Entry> {
        let named = |entry: &&Entry| self.state.as_ref().is_some_and(|state| state.blob_len(&entry.blob).is_some());
        self.missing.values().filter(named).cloned()
    }

    /// Whether content that the data names isn't here.
    pub(in crate::endpoint) fn lacks(&self, blob: &Hash) -> bool {
        self.missing.contains_key(blob)
    }

    /// The blobs that the data names, chunk lists included, with their lengths in bytes; but for those of content that
    /// isn't here.
    pub(in crate::endpoint) fn held_blobs(&self) -> impl Iterator<Item = (Hash, u64)> {
        let lacks = |entry: &Entry| [Some(entry.blob), entry.chunks.get().map(|list| list.hash)];
        let lacking: BTreeSet<Hash> = self.missing.values().flat_map(lacks).flatten().collect();
        self.named_blobs().filter(move |(blob, _)| !lacking.contains(blob))
    }

    /// The content that the data names, with its chunk lists and the lengths of all.
    pub(in crate::endpoint) fn named_blobs(&self) -> impl Iterator<Item = (Hash, u64)> {
        self.state.iter().flat_map(State::named_blobs)
    }

    /// Content that was missing is here, with its chunk lists.
    pub(in crate::endpoint) fn got(&mut self, blobs: &BTreeSet<Hash>) -> Vec<Write> {
        let got: Vec<_> = blobs.iter().filter_map(|blob| self.missing.remove(blob)).collect();
        for blob in blobs {
            self.left_out.remove(blob);
        }
        let gone = |entry: &Entry| keys::delete(self.session, keys::MISSING, entry.blob.as_bytes());
        let mut writes: Vec<_> = got.iter().map(gone).collect();
        writes.extend(self.forget_replaced(&got));
        writes
    }

    /// Missing content that no part names any more isn't missed; nothing if there is none such.
    pub(in crate::endpoint) fn forget_unnamed(&mut self) -> Vec<Write> {
        let state = self.state.as_ref();
        let named = |blob: &Hash| state.is_some_and(|state| state.blob_len(blob).is_some());
        let retired = core::mem::take(&mut self.retired);
        let gone: BTreeSet<Hash> = retired.into_iter().filter(|blob| !named(blob)).collect();
        if gone.is_empty() { Vec::new() } else { self.got(&gone) }
    }

    /// The files at a path that have chunk lists and whose content is here: those of the data, those that a manifest names
    /// which was fetched, and those whose place missing content took.
    pub(in crate::endpoint) fn listed_at(&self, path: &Text<MAX_PATH>) -> Vec<Entry> {
        let states = self.staged.iter().rev().map(|staged| &staged.state).chain(&self.state);
        let files = states.flat_map(|state| state.listed_at(path)).chain(self.replaced.at(path).cloned());
        let mut listed: Vec<Entry> = Vec::new();
        for file in files.filter(|file| !self.lacks(&file.blob)) {
            if listed.len() < MAX_OLD && listed.iter().all(|known| known.blob != file.blob) {
                listed.push(file);
            }
        }
        listed
    }

    /// Content of a part is missing that took the place of these files: what of them is here stays known until it came.
    fn replace(&mut self, part: PartId, files: Vec<Entry>) -> Vec<Write> {
        let session = self.session;
        let known = self.replaced.count(part);
        let held = |file: &Entry| file.chunks.get().is_some() && !self.lacks(&file.blob);
        let files: Vec<_> = files.into_iter().filter(held).take(MAX_OLD.saturating_sub(known)).collect();
        let put = |file: Entry| {
            let rest = [part.as_bytes().as_slice(), file.blob.as_bytes()].concat();
            let write = keys::put(session, keys::REPLACED, &rest, file.to_bytes());
            self.replaced.insert(part, file).then_some(write)
        };
        files.into_iter().filter_map(put).collect()
    }

    /// What was replaced is of no use any more where nothing is missing, now that these aren't.
    fn forget_replaced(&mut self, got: &[Entry]) -> Vec<Write> {
        let mut gone = Vec::new();
        if self.missing.is_empty() {
            gone = self.replaced.clear();
        }
        for entry in got {
            let used = || self.missing().any(|missing| missing.path == entry.path);
            if self.replaced.at(&entry.path).next().is_some() && !used() {
                gone.extend(self.replaced.remove_at(&entry.path));
            }
        }
        let forget = |(part, blob): (PartId, Hash)| {
            let rest = [part.as_bytes().as_slice(), blob.as_bytes()].concat();
            keys::delete(self.session, keys::REPLACED, &rest)
        };
        gone.into_iter().map(forget).collect()
    }

    /// Content that the data names was lost.
    pub(in crate::endpoint) fn lost(&mut self, blob: &Hash) -> Option<Write> {
        let names = |part: &Part| part.entries().find(|entry| entry.blob == *blob && entry.len > 0);
        let named: Vec<_> = self.state.as_ref()?.parts().filter_map(|part| Some((part.part, names(part)?))).collect();
        // It is picked if one of those that name it is.
        let picked = |(part, entry): &&(PartId, Entry)| self.pick.picks(&self.session, part, &entry.path);
        let (part, entry) = named.iter().find(picked).or(named.first())?.clone();
        self.miss(part, entry)
    }

    /// Content that a part names isn't here.
    pub(in crate::endpoint) fn miss(&mut self, part: PartId, entry: Entry) -> Option<Write> {
        let named = self.state.as_ref()?.blob_len(&entry.blob).is_some();
        if named && !self.pick.picks(&self.session, &part, &entry.path) {
            self.left_out.insert(entry.blob);
        }
        let write = keys::put(self.session, keys::MISSING, entry.blob.as_bytes(), entry.to_bytes());
        (named && self.missing.insert(entry.blob, entry).is_none()).then_some(write)
    }

    /// A peer's changes are held up to a position of its log.
    pub(in crate::endpoint) fn hold(&mut self, peer: DeviceId, log: Nonce, at: u64) -> Option<Write> {
        let old = self.cursors.insert(peer, (log, at));
        let value = [log.as_bytes().as_slice(), &at.to_be_bytes()].concat();
        (old != Some((log, at))).then(|| keys::put(self.session, keys::CURSOR, peer.as_bytes(), value))
    }

    /// The log of changes may have forgotten some: from now on it is another.
    pub(in crate::endpoint) fn rename_log(&mut self, name: Nonce) -> Option<Write> {
        self.changes.rename(name);
        self.state.is_some().then(|| keys::put(self.session, keys::LOG, &[], name.as_bytes().to_vec()))
    }

    /// Sets a manifest aside until sync has brought the ops that it names. None if they are all here.
    pub(in crate::endpoint) fn await_ops(
        &mut self,
        manifest: Manifest,
        hash: Hash,
        pick: Pick,
    ) -> Option<(Manifest, Hash, Pick)> {
        let named = State::from_manifest(manifest.clone());
        if self.state.as_ref().is_none_or(|state| state.covers(&named)) {
            return Some((manifest, hash, pick));
        }
        self.awaited = Some((manifest, hash, pick));
        None
    }

    /// The manifest that was set aside, once the ops that it names are here.
    pub(in crate::endpoint) fn take_awaited(&mut self) -> Option<(Manifest, Hash, Pick)> {
        let (manifest, hash, pick) = self.awaited.take()?;
        self.await_ops(manifest, hash, pick)
    }
}
