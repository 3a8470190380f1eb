//! The plainest directory: lists that are walked from their beginning.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::Rules;
use segue_proto::limits::ENVELOPE_COST;
use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};

use crate::directory::{Append, Binding, Directory, Failed, Full, Note, Page, Room, Unset};
use crate::quota::Quota;

/// What a directory holds, as a list of what was done.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Everything that was put, in order.
    put: Vec<Append>,
    /// Every change of a session that was made, in order.
    made: Vec<Set>,
    notes: BTreeMap<DeviceId, Note>,
    /// Every note that was ever made.
    noted: Vec<(DeviceId, Note)>,
    /// The notes that are kept at most, as was said last.
    most: Option<usize>,
    bindings: BTreeMap<DeviceId, Binding>,
}

impl Model {
    /// Whether a box holds this envelope.
    pub(super) fn holds(&self, append: &Append) -> bool {
        self.offset(append).is_some()
    }

    /// Takes the notes of a directory that crashed for its own, if each was made of its device once, and there aren't too
    /// many.
    pub(super) fn recover(&mut self, noted: &[Option<Note>]) -> Result<(), String> {
        let noted: BTreeMap<_, _> =
            super::devices().zip(noted).filter_map(|(of, it)| Some((of, it.clone()?))).collect();
        let made_up = noted.iter().find(|(of, note)| !self.noted.iter().any(|(by, made)| by == *of && made == *note));
        if let Some(made_up) = made_up {
            return Err(format!("nobody ever noted {made_up:?}"));
        }
        if noted.len() > self.most.unwrap_or(0) {
            return Err(format!("{noted:?} are more notes than {:?}", self.most));
        }
        self.notes = noted;
        Ok(())
    }

    fn offset(&self, append: &Append) -> Option<u64> {
        let at = self.in_box(&append.to).position(|it| it.envelope == append.envelope)?;
        Some(at as u64 + 1)
    }

    fn in_box(&self, of: &BoxId) -> impl Iterator<Item = &Append> {
        self.put.iter().filter(move |it| it.to == *of)
    }

    fn put(&mut self, append: &Append, quota: &Quota) -> Result<u64, Full> {
        if let Some(offset) = self.offset(append) {
            return Ok(offset);
        }
        let next = cost(&append.envelope);
        let (bytes, count) = weigh(self.in_box(&append.to));
        if bytes + next > quota.box_bytes || count + 1 > quota.box_envelopes {
            return Err(Full::Box);
        }
        let (bytes, count) = weigh(self.put.iter().filter(|it| it.by == append.by));
        if bytes + next > append.share.bytes || count + 1 > append.share.envelopes {
            return Err(Full::Device);
        }
        if weigh(self.put.iter()).0 + next > quota.bytes {
            return Err(Full::Mailbox);
        }
        self.put.push(append.clone());
        Ok(self.in_box(&append.to).count() as u64)
    }

    fn made(&self, session: &SessionId) -> impl Iterator<Item = &Set> {
        self.made.iter().filter(move |it| it.session == *session)
    }

    fn change(&mut self, set: &Set, quota: &Quota) -> Result<(), Unset> {
        let head = self.made(&set.session).last().map_or(Hash::ZERO, |last| last.head);
        if head != set.expect {
            return Err(Unset::Stale(head));
        }
        let brought = self.made.iter().filter(|it| it.by == set.by && it.expect.is_zero()).count() as u64;
        if head.is_zero() && brought >= quota.device_sessions {
            return Err(Unset::Full(Full::Device));
        }
        self.made.push(set.clone());
        Ok(())
    }
}

impl Directory for Model {
    fn append(&mut self, _: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        Ok(batch.iter().map(|append| self.put(append, quota)).collect())
    }

    fn fetch(&self, of: &BoxId, after: u64, mut room: Room) -> Result<Page, Failed> {
        let behind = self.in_box(of).zip(1..).filter(|(_, offset)| *offset > after);
        let fit: Vec<_> = behind.take_while(|(it, _)| room.take(it.envelope.len())).collect();
        Ok(Page {
            first: fit.first().map_or(0, |(_, offset)| *offset),
            last: self.in_box(of).count() as u64,
            envelopes: fit.into_iter().map(|(it, _)| it.envelope.clone()).collect(),
        })
    }

    fn set(&mut self, _: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed> {
        Ok(batch.iter().map(|set| self.change(set, quota)).collect())
    }

    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed> {
        Ok(self.made(session).last().map(|last| Kept {
            head: last.head,
            records: self.made(session).flat_map(|it| it.records.iter().cloned()).collect(),
            grant: self.made(session).filter_map(|it| it.grant.clone()).last().unwrap_or_default(),
            lease: self.made(session).filter_map(|it| it.lease).last().unwrap_or_default(),
        }))
    }

    fn waiting(&self) -> Result<Vec<SessionId>, Failed> {
        let all: BTreeSet<_> = self.made.iter().map(|it| it.session).collect();
        let waits = |session: &SessionId| {
            self.kept(session).is_ok_and(|it| it.is_some_and(|it| !it.grant.is_empty() || it.lease > 0))
        };
        Ok(all.into_iter().filter(waits).collect())
    }

    fn sets(&self) -> Result<u64, Failed> {
        Ok(self.made.len() as u64)
    }

    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
        self.noted.push((*device, note.clone()));
        self.most = Some(most);
        self.notes.insert(*device, note.clone());
        while self.notes.len() > most {
            let oldest = self.notes.iter().map(|(of, note)| (note.seen, *of)).min();
            oldest.into_iter().for_each(|(_, of)| drop(self.notes.remove(&of)));
        }
        Ok(())
    }

    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed> {
        Ok(self.notes.get(device).cloned())
    }

    fn used(&self, by: &DeviceId) -> Result<u64, Failed> {
        Ok(weigh(self.put.iter().filter(|it| it.by == *by)).0)
    }

    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed> {
        let under = |it: &Binding| it.account == binding.account;
        let lasting: BTreeSet<_> =
            self.bindings.iter().filter(|(_, it)| under(it) && it.lasts(unix_ms)).map(|(of, _)| *of).collect();
        let room = lasting.len() < most || lasting.contains(device);
        if room {
            self.bindings.retain(|of, it| !under(it) || lasting.contains(of));
            self.bindings.insert(*device, binding.clone());
        }
        Ok(room)
    }

    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed> {
        self.bindings.remove(device);
        Ok(())
    }

    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed> {
        Ok(self.bindings.get(device).cloned())
    }
}

fn cost(envelope: &[u8]) -> u64 {
    envelope.len() as u64 + ENVELOPE_COST
}

/// The bytes and the number of envelopes.
fn weigh<'a>(all: impl Iterator<Item = &'a Append>) -> (u64, u64) {
    all.fold((0, 0), |(bytes, count), it| (bytes + cost(&it.envelope), count + 1))
}
