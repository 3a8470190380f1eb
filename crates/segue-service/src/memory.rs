//! A directory in memory: for tests, and the plainest there is.

use std::collections::BTreeMap;

use segue_proto::wire::{BoxId, DeviceId, Hash};
use segue_proto::{Clause, Rules};

use crate::directory::{Append, Directory, Failed, Full, Page, Room};
use crate::quota::{Quota, Used};

/// Keeps everything in memory, and nothing beyond it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    boxes: BTreeMap<BoxId, Kept>,
    devices: BTreeMap<DeviceId, Used>,
    all: Used,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    envelopes: Vec<Vec<u8>>,
    ids: BTreeMap<Hash, u64>,
    used: Used,
}

impl Directory for Memory {
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        Ok(batch.iter().map(|append| self.put(rules, append, quota)).collect())
    }

    fn fetch(&self, of: &BoxId, after: u64, mut room: Room) -> Result<Page, Failed> {
        let Some(kept) = self.boxes.get(of) else { return Ok(Page::default()) };
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let behind = kept.envelopes.iter().skip(skip);
        let envelopes: Vec<_> = behind.take_while(|envelope| room.take(envelope.len())).cloned().collect();
        let first = if envelopes.is_empty() { 0 } else { after + 1 };
        Ok(Page { first, last: kept.envelopes.len() as u64, envelopes })
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
        let room = quota.check(of_box, of_device, all);
        if rules.keeps(Clause::SERVICE_HOST_3) {
            room?;
        }
        Ok(self.load(append.clone()))
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
