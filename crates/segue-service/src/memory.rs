//! A directory in memory: for tests, and the plainest there is.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};
use segue_proto::{Clause, Rules};

use crate::directory::{Append, Binding, Directory, Failed, Full, Note, Page, Room, Unset};
use crate::quota::{Quota, Used};

/// Keeps everything in memory, and nothing beyond it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    boxes: BTreeMap<BoxId, Held>,
    devices: BTreeMap<DeviceId, Used>,
    all: Used,
    sessions: BTreeMap<SessionId, Kept>,
    /// How many sessions each device brought.
    brought: BTreeMap<DeviceId, u64>,
    sets: u64,
    notes: BTreeMap<DeviceId, Note>,
    /// When the devices of the notes were seen.
    oldest: BTreeSet<(u64, DeviceId)>,
    bindings: BTreeMap<DeviceId, Binding>,
    /// How often a box was read.
    #[cfg(test)]
    pub(crate) fetches: std::cell::Cell<usize>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    envelopes: Vec<Vec<u8>>,
    ids: BTreeMap<Hash, u64>,
    used: Used,
}

impl Directory for Memory {
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        Ok(batch.iter().map(|append| self.put(rules, append, quota)).collect())
    }

    fn fetch(&self, of: &BoxId, after: u64, mut room: Room) -> Result<Page, Failed> {
        #[cfg(test)]
        self.fetches.set(self.fetches.get() + 1);
        let Some(kept) = self.boxes.get(of) else { return Ok(Page::default()) };
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let behind = kept.envelopes.iter().skip(skip);
        let envelopes: Vec<_> = behind.take_while(|envelope| room.take(envelope.len())).cloned().collect();
        let first = if envelopes.is_empty() { 0 } else { after + 1 };
        Ok(Page { first, last: kept.envelopes.len() as u64, envelopes })
    }

    fn set(&mut self, rules: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed> {
        Ok(batch.iter().map(|set| self.set_one(rules, set, quota)).collect())
    }

    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed> {
        Ok(self.sessions.get(session).cloned())
    }

    fn waiting(&self) -> Result<Vec<SessionId>, Failed> {
        let waits = |kept: &Kept| !kept.grant.is_empty() || kept.lease > 0;
        Ok(self.sessions.iter().filter(|(_, kept)| waits(kept)).map(|(id, _)| *id).collect())
    }

    fn sets(&self) -> Result<u64, Failed> {
        Ok(self.sets)
    }

    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
        self.keep_note(device, note, most);
        Ok(())
    }

    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed> {
        Ok(self.notes.get(device).cloned())
    }

    fn used(&self, by: &DeviceId) -> Result<u64, Failed> {
        Ok(self.devices.get(by).map_or(0, |used| used.bytes))
    }

    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed> {
        let (ended, room) = self.room_for(device, binding, most, unix_ms);
        if room {
            ended.iter().for_each(|device| self.keep_binding(device, None));
            self.keep_binding(device, Some(binding.clone()));
        }
        Ok(room)
    }

    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed> {
        self.keep_binding(device, None);
        Ok(())
    }

    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed> {
        Ok(self.bindings.get(device).cloned())
    }
}

impl Memory {
    fn put(&mut self, rules: Rules, append: &Append, quota: &Quota) -> Result<u64, Full> {
        let id = append.id();
        let known = self.boxes.get(&append.to).and_then(|kept| kept.ids.get(&id));
        if let Some(offset) = known.filter(|_| rules.keeps(Clause::SERVICE_HOST_1)) {
            return Ok(*offset);
        }
        let len = append.envelope.len();
        let of_box = self.boxes.get(&append.to).map_or(Used::default(), |kept| kept.used).with(len);
        let of_device = self.devices.get(&append.by).copied().unwrap_or_default().with(len);
        let all = self.all.with(len);
        let room = quota.check(of_box, append.share, of_device, all);
        if rules.keeps(Clause::SERVICE_HOST_3) {
            room?;
        }
        Ok(self.load(append.clone()))
    }

    fn set_one(&mut self, rules: Rules, set: &Set, quota: &Quota) -> Result<(), Unset> {
        let head = self.sessions.get(&set.session).map_or(Hash::ZERO, |kept| kept.head);
        if head != set.expect && rules.keeps(Clause::SERVICE_CAS_1) {
            return Err(Unset::Stale(head));
        }
        if head.is_zero() {
            let brought = self.brought.get(&set.by).copied().unwrap_or_default();
            if brought >= quota.device_sessions {
                return Err(Unset::Full(Full::Device));
            }
        }
        self.change(set);
        Ok(())
    }

    /// Keeps a note; the device whose note has no room any more.
    pub(crate) fn keep_note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Option<DeviceId> {
        if let Some(before) = self.notes.insert(*device, note.clone()) {
            self.oldest.remove(&(before.seen, *device));
        }
        self.oldest.insert((note.seen, *device));
        let (_, gone) = if self.notes.len() > most { self.oldest.pop_first() } else { None }?;
        self.notes.remove(&gone);
        Some(gone)
    }

    /// The devices whose bindings to an account ended, and whether there is room for one more.
    pub(crate) fn room_for(
        &self,
        device: &DeviceId,
        binding: &Binding,
        most: usize,
        unix_ms: u64,
    ) -> (Vec<DeviceId>, bool) {
        let (own, others): (Vec<_>, Vec<_>) =
            self.bindings.iter().filter(|(_, it)| it.account == binding.account).partition(|(of, _)| *of == device);
        let (last, ended): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, it)| it.lasts(unix_ms));
        // Who has a place keeps it.
        let room = last.len() < most || own.iter().any(|(_, it)| it.lasts(unix_ms));
        (ended.into_iter().map(|(of, _)| *of).collect(), room)
    }

    pub(crate) fn keep_binding(&mut self, device: &DeviceId, binding: Option<Binding>) {
        match binding {
            Some(binding) => drop(self.bindings.insert(*device, binding)),
            None => drop(self.bindings.remove(device)),
        }
    }

    /// Changes a session whatever there is.
    pub(crate) fn change(&mut self, set: &Set) {
        if !self.sessions.contains_key(&set.session) {
            *self.brought.entry(set.by).or_default() += 1;
        }
        let kept = self.sessions.entry(set.session).or_default();
        kept.head = set.head;
        kept.records.extend(set.records.iter().cloned());
        if let Some(grant) = &set.grant {
            kept.grant = grant.clone();
        }
        kept.lease = set.lease.unwrap_or(kept.lease);
        self.sets += 1;
    }

    /// Puts an envelope whatever there is; its offset.
    pub(crate) fn load(&mut self, append: Append) -> u64 {
        let (id, len) = (append.id(), append.envelope.len());
        let kept = self.boxes.entry(append.to).or_default();
        kept.used = kept.used.with(len);
        kept.envelopes.push(append.envelope);
        let offset = kept.envelopes.len() as u64;
        kept.ids.insert(id, offset);
        let device = self.devices.entry(append.by).or_default();
        *device = device.with(len);
        self.all = self.all.with(len);
        offset
    }

    /// The offset of the last envelope in a box.
    pub(crate) fn last(&self, of: &BoxId) -> u64 {
        self.boxes.get(of).map_or(0, |kept| kept.envelopes.len() as u64)
    }
}
