//! A directory in the journal of the device that hosts the mailbox: for one that has no other store.

use segue_proto::Rules;
use segue_proto::wire::{BoxId, DeviceId};

use crate::directory::{Append, Directory, Failed, Full, Page, Room};
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
            let append = read(&key, &value).ok_or_else(|| Failed("an entry that it didn't write".into()))?;
            memory.load(append);
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
}

/// An entry: box ‖ offset, with device ‖ envelope.
fn read(key: &[u8], value: &[u8]) -> Option<Append> {
    let (to, offset) = key.split_first_chunk::<32>()?;
    let (by, envelope) = value.split_first_chunk::<32>()?;
    let known = <[u8; 8]>::try_from(offset).is_ok();
    known.then(|| Append { by: DeviceId::new(*by), to: BoxId::new(*to), envelope: envelope.to_vec() })
}
