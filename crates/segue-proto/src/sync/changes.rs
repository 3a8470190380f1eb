//! What changed in a session's data on this device, in the order in which it did: what its peers are fed from.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

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
    /// By position, with the device that the change came from; without ops.
    entries: BTreeMap<(u64, Change), Option<DeviceId>>,
    parts: BTreeMap<PartId, u64>,
    ops: Ops,
}

impl Changes {
    /// A log without entries.
    pub fn new(name: Nonce) -> Changes {
        Changes { name, last: 0, entries: BTreeMap::new(), parts: BTreeMap::new(), ops: Ops::default() }
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
        match change {
            Change::Op(part, actor, seq) => return self.ops.note(at, (part, actor), seq, from),
            Change::Part(part) => {
                if let Some(old) = self.parts.insert(part, at) {
                    self.entries.remove(&(old, change));
                }
            }
            Change::Snapshot(..) | Change::Holding(..) => {}
        }
        self.entries.insert((at, change), from);
    }

    /// Forgets changes.
    pub fn forget(&mut self, gone: impl Fn(&Change) -> bool) {
        self.entries.retain(|(_, change), _| !gone(change));
        self.ops.forget(gone);
    }

    /// The device that a part's newest change came from; none if it was made here.
    pub fn origin(&self, part: &PartId) -> Option<DeviceId> {
        let at = *self.parts.get(part)?;
        self.entries.get(&(at, Change::Part(*part))).copied().flatten()
    }

    /// The changes behind `at`, in order, each with its position and the device that it came from.
    pub fn after(&self, at: u64, seen: Option<Change>) -> impl Iterator<Item = (u64, Change, Option<DeviceId>)> {
        let seen = (at, seen.unwrap_or(LAST));
        let range = self.entries.range((Bound::Excluded(seen), Bound::Unbounded));
        let mut others = range.map(|((at, change), from)| (*at, *change, *from)).peekable();
        let mut ops = self.ops.after(seen).peekable();
        core::iter::from_fn(move || match (others.peek(), ops.peek()) {
            (Some(other), Some(op)) if (other.0, other.1) < (op.0, op.1) => others.next(),
            (Some(_), None) => others.next(),
            _ => ops.next(),
        })
    }
}

/// The changes that are ops. There may be a million, so an entry says no more than it must.
#[derive(Clone, Debug, Default)]
struct Ops {
    /// In order.
    entries: Vec<Entry>,
    /// What entries name by number: strands, and devices of origin.
    strands: Numbers<(PartId, ActorId)>,
    origins: Numbers<Option<DeviceId>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u64,
    seq: u64,
    strand: u32,
    origin: u32,
}

impl Ops {
    fn note(&mut self, at: u64, strand: (PartId, ActorId), seq: u64, from: Option<DeviceId>) {
        let key = (at, Change::Op(strand.0, strand.1, seq));
        let entry = Entry { at, seq, strand: self.strands.of(strand), origin: self.origins.of(from) };
        // Most often it is the last.
        let last = self.entries.last().map(|last| self.key(last));
        if last.is_none_or(|last| last < key) {
            return self.entries.push(entry);
        }
        let place = self.entries.partition_point(|known| self.key(known) < key);
        match self.entries.get_mut(place) {
            Some(known) if known.at == at && known.strand == entry.strand && known.seq == seq => *known = entry,
            _ => self.entries.insert(place, entry),
        }
    }

    fn forget(&mut self, gone: impl Fn(&Change) -> bool) {
        let (mut entries, strands) = (core::mem::take(&mut self.entries), &self.strands);
        entries.retain(|entry| !gone(&strands.change(entry)));
        entries.shrink_to(2 * entries.len());
        self.entries = entries;
    }

    fn after(&self, seen: (u64, Change)) -> impl Iterator<Item = (u64, Change, Option<DeviceId>)> {
        let is_seen = |entry: &Entry| entry.at < seen.0 || entry.at == seen.0 && self.key(entry) <= seen;
        let from = self.entries.partition_point(is_seen);
        let entries = self.entries.get(from..).unwrap_or_default();
        entries.iter().map(|entry| (entry.at, self.strands.change(entry), self.origins.get(entry.origin).flatten()))
    }

    fn key(&self, entry: &Entry) -> (u64, Change) {
        (entry.at, self.strands.change(entry))
    }
}

/// Things by number, each once.
#[derive(Clone, Debug)]
struct Numbers<T> {
    all: Vec<T>,
    numbers: BTreeMap<T, u32>,
}

impl<T: Copy + Ord> Numbers<T> {
    /// The number of one; the next if it is new.
    fn of(&mut self, it: T) -> u32 {
        let next = self.all.len() as u32;
        let number = *self.numbers.entry(it).or_insert(next);
        if number == next {
            self.all.push(it);
        }
        number
    }

    fn get(&self, number: u32) -> Option<T> {
        self.all.get(number as usize).copied()
    }
}

impl Numbers<(PartId, ActorId)> {
    fn change(&self, entry: &Entry) -> Change {
        let (part, actor) = self.get(entry.strand).unwrap_or((PartId::new([0; 16]), ActorId::new([0; 32])));
        Change::Op(part, actor, entry.seq)
    }
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Numbers { all: Vec::new(), numbers: BTreeMap::new() }
    }
}

/// The highest change there is, so that a range behind it starts with the next position.
const LAST: Change = Change::Op(PartId::new([0xff; 16]), ActorId::new([0xff; 32]), u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn change() -> impl Strategy<Value = Change> {
        let (part, actor) = (|n| PartId::new([n; 16]), |n| ActorId::new([n; 32]));
        let (hash, device) = (|n| Hash::new([n; 32]), |n| DeviceId::new([n; 32]));
        prop_oneof![
            1 => (0..3u8).prop_map(move |n| Change::Part(part(n))),
            1 => (0..2u8, 0..2u8).prop_map(move |(n, of)| Change::Snapshot(part(n), hash(of))),
            1 => (0..2u8, 0..2u8).prop_map(move |(n, of)| Change::Holding(part(n), hash(of), device(of))),
            5 => (0..2u8, 0..3u8, 1..9u64).prop_map(move |(n, by, seq)| Change::Op(part(n), actor(by), seq)),
        ]
    }

    proptest! {
        /// One ordered map says the same.
        #[test]
        fn changes_are_told_in_order(
            steps in prop::collection::vec((0..2u64, change(), 0..3u8), 1..60),
            gone in change(),
            seen in (0..30u64, prop::option::of(change())),
        ) {
            let (mut changes, mut model) = (Changes::new(Nonce::ZERO), BTreeMap::new());
            let mut at = 0;
            for (later, change, from) in &steps {
                at += later;
                let from = (*from > 0).then(|| DeviceId::new([*from; 32]));
                changes.note(at, *change, from);
                if matches!(change, Change::Part(_)) {
                    model.retain(|(_, known), _| known != change);
                }
                model.insert((at, *change), from);
            }
            let told = |changes: &Changes, at, seen| changes.after(at, seen).collect::<Vec<_>>();
            let expected = |model: &BTreeMap<(u64, Change), _>, at: u64, seen: Option<Change>| {
                let behind = model.iter().filter(|(key, _)| **key > (at, seen.unwrap_or(LAST)));
                behind.map(|((at, change), from)| (*at, *change, *from)).collect::<Vec<_>>()
            };
            prop_assert_eq!(told(&changes, seen.0, seen.1), expected(&model, seen.0, seen.1));
            prop_assert_eq!((changes.last(), changes.next()), (at, at + 1));
            for part in (0..3).map(|n| PartId::new([n; 16])) {
                let newest = model.iter().find(|((_, known), _)| *known == Change::Part(part));
                prop_assert_eq!(changes.origin(&part), newest.and_then(|(_, from)| *from));
            }
            changes.forget(|known| *known == gone);
            model.retain(|(_, known), _| *known != gone);
            prop_assert_eq!(told(&changes, 0, None), expected(&model, 0, None));
        }
    }
}
