//! A directory in the journal of the device that hosts the mailbox: for one that has no other store.

use segue_proto::Rules;
use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{BoxId, DeviceId, SessionId};

use crate::directory::{Append, Binding, Directory, Failed, Full, Note, Page, Room, Share, Unset};
use crate::memory::Memory;
use crate::quota::Quota;

/// Keeps everything in memory, and says what the journal is to hold of it. Unlike with other directories, what was
/// appended is durable only once [`Journaled::take_entries`] is: the core withholds answers until then
/// (`Endpoint::answer_hosted`).
#[derive(Debug, Default)]
pub struct Journaled {
    memory: Memory,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Journaled {
    /// A directory with what the journal holds of it: all entries, ascending by key.
    ///
    /// # Errors
    /// An entry isn't one of these.
    pub fn load(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Journaled, Failed> {
        let mut memory = Memory::default();
        for (key, value) in entries {
            load(&mut memory, &key, &value).ok_or_else(|| Failed("an entry that it didn't write".into()))?;
        }
        Ok(Journaled { memory, entries: Vec::new() })
    }

    /// The entries that the journal is to hold besides.
    pub fn take_entries(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        std::mem::take(&mut self.entries)
    }
}

impl Directory for Journaled {
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        let mut outcomes = Vec::new();
        for append in batch {
            let before = self.memory.last(&append.to);
            let outcome = self.memory.append(rules, std::slice::from_ref(append), quota)?;
            if self.memory.last(&append.to) > before {
                let key = [append.to.as_bytes().as_slice(), &(before + 1).to_be_bytes()].concat();
                self.entries.push((key, [append.by.as_bytes().as_slice(), &append.envelope].concat()));
            }
            outcomes.extend(outcome);
        }
        Ok(outcomes)
    }

    fn fetch(&self, of: &BoxId, after: u64, room: Room) -> Result<Page, Failed> {
        self.memory.fetch(of, after, room)
    }

    fn set(&mut self, rules: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed> {
        let mut outcomes = Vec::new();
        for set in batch {
            let outcome = self.memory.set(rules, std::slice::from_ref(set), quota)?;
            if outcome.iter().all(Result::is_ok) {
                let number = self.memory.sets()?;
                self.entries.push((number.to_be_bytes().to_vec(), encode(set)));
            }
            outcomes.extend(outcome);
        }
        Ok(outcomes)
    }

    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed> {
        self.memory.kept(session)
    }

    fn waiting(&self) -> Result<Vec<SessionId>, Failed> {
        self.memory.waiting()
    }

    fn sets(&self) -> Result<u64, Failed> {
        self.memory.sets()
    }

    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
        let entry = [note.seen.to_be_bytes().as_slice(), &note.bytes()].concat();
        self.entries.push((device.as_bytes().to_vec(), entry));
        let gone = self.memory.keep_note(device, note, most);
        self.entries.extend(gone.map(|device| (device.as_bytes().to_vec(), Vec::new())));
        Ok(())
    }

    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed> {
        self.memory.noted(device)
    }

    fn used(&self, by: &DeviceId) -> Result<u64, Failed> {
        self.memory.used(by)
    }

    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed> {
        let (ended, room) = self.memory.room_for(device, binding, most, unix_ms);
        if room {
            ended.iter().try_for_each(|device| self.unbind(device))?;
            let entry = [&binding.until.to_be_bytes(), binding.account.as_bytes()].concat();
            self.entries.push((binding_key(device), entry));
            self.memory.keep_binding(device, Some(binding.clone()));
        }
        Ok(room)
    }

    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed> {
        self.entries.push((binding_key(device), Vec::new()));
        self.memory.unbind(device)
    }

    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed> {
        self.memory.bound(device)
    }
}

fn binding_key(device: &DeviceId) -> Vec<u8> {
    [device.as_bytes().as_slice(), b"a"].concat()
}

/// Takes an entry in. By the length of its key it is
///
/// - 40: an envelope; box ‖ offset, with device ‖ envelope;
/// - 8: a change of a session; its number, with the change;
/// - 32: a note of a device; device, with the time ‖ whom it named, or with nothing once it is gone;
/// - 33: under which account a device is; device ‖ a letter, with the end ‖ the account, or with nothing once it is gone.
fn load(memory: &mut Memory, key: &[u8], value: &[u8]) -> Option<()> {
    let first = |bytes: &[u8]| bytes.first_chunk::<32>().copied();
    match key.len() {
        40 => {
            let (by, envelope) = value.split_first_chunk::<32>()?;
            let to = BoxId::new(first(key)?);
            memory.load(Append { by: DeviceId::new(*by), share: NO_SHARE, to, envelope: envelope.to_vec() });
        }
        8 => memory.change(&decode::<Set>(Rules::ALL, value).ok()?),
        32 | 33 if value.is_empty() => {}
        32 => {
            let (seen, named) = value.split_first_chunk()?;
            let note = Note::of(u64::from_be_bytes(*seen), named);
            memory.keep_note(&DeviceId::new(first(key)?), &note, usize::MAX);
        }
        33 => {
            let (until, account) = value.split_first_chunk()?;
            let account = std::str::from_utf8(account).ok()?.to_owned();
            let binding = Binding { account, until: u64::from_be_bytes(*until) };
            memory.keep_binding(&DeviceId::new(first(key)?), Some(binding));
        }
        _ => return None,
    }
    Some(())
}

/// What is there already needs no room.
const NO_SHARE: Share = Share { bytes: 0, envelopes: 0 };
