//! What changed in a session's data on this device, in the order in which it did: what its peers are fed from.

use alloc::collections::BTreeMap;

use crate::wire::{ActorId, DeviceId, Hash, Nonce, PartId};

/// A change that a peer may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A part with values: it is sent as it is now, so only its newest change counts.
    Part(PartId),
    /// A snapshot of a log or opaque part.
    Snapshot(PartId, Hash),
    /// What a device said that it holds of a snapshot.
    Holding(PartId, Hash, DeviceId),
    /// An op of a log or opaque part.
    Op(PartId, ActorId, u64),
}

/// The log of changes. Positions ascend and are never used for anything else; the name changes with a store that may
/// have forgotten some.
#[derive(Clone, Debug)]
pub struct Changes {
    name: Nonce,
    last: u64,
    /// By position, with the device that the change came from.
    entries: BTreeMap<(u64, Change), Option<DeviceId>>,
    parts: BTreeMap<PartId, u64>,
}

impl Changes {
    /// A log without entries.
    pub fn new(name: Nonce) -> Changes {
        Changes { name, last: 0, entries: BTreeMap::new(), parts: BTreeMap::new() }
    }

    /// Its name.
    pub fn name(&self) -> Nonce {
        self.name
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: Nonce) {
        self.name = name;
    }

    /// The position of the newest change.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The position of the next change.
    pub fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Notes a change at a position that isn't below the last.
    pub fn note(&mut self, at: u64, change: Change, from: Option<DeviceId>) {
        self.last = self.last.max(at);
        if let Change::Part(part) = change
            && let Some(old) = self.parts.insert(part, at)
        {
            self.entries.remove(&(old, change));
        }
        self.entries.insert((at, change), from);
    }

    /// Forgets changes.
    pub fn forget(&mut self, gone: impl Fn(&Change) -> bool) {
        self.entries.retain(|(_, change), _| !gone(change));
    }

    /// The device that a part's newest change came from; none if it was made here.
    pub fn origin(&self, part: &PartId) -> Option<DeviceId> {
        let at = *self.parts.get(part)?;
        self.entries.get(&(at, Change::Part(*part))).copied().flatten()
    }

    /// The changes behind `at`, in order, each with its position and the device that it came from.
    pub fn after(&self, at: u64, seen: Option<Change>) -> impl Iterator<Item = (u64, Change, Option<DeviceId>)> {
        let from = match seen {
            Some(change) => core::ops::Bound::Excluded((at, change)),
            None => core::ops::Bound::Excluded((at, LAST)),
        };
        let range = self.entries.range((from, core::ops::Bound::Unbounded));
        range.map(|((at, change), from)| (*at, *change, *from))
    }
}

/// The highest change there is, so that a range behind it starts with the next position.
const LAST: Change = Change::Op(PartId::new([0xff; 16]), ActorId::new([0xff; 32]), u64::MAX);
