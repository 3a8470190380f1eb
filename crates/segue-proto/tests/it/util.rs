//! What several chapters' tests share.

use segue_proto::data::{Entry, EntryMode, NewOp, PartKind, Replaces, State, Written};
use segue_proto::transfer::equal_list;
use segue_proto::wire::{ActorId, Hash, Hlc, Nonce, Op, PartId, SessionId};
use segue_proto::{Clause, Code, Rules, UsageError, Violation};
use std::collections::BTreeMap;

pub(crate) const SESSION: SessionId = SessionId::new([7; 16]);

pub(crate) fn part(n: u8) -> PartId {
    PartId::new([n; 16])
}

pub(crate) fn actor(n: u8) -> ActorId {
    ActorId::new([n; 32])
}

/// `attempt` is refused with this code under this clause, and let pass with the clause switched off.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(clause: Clause, code: Code, attempt: impl Fn(Rules) -> Result<T, Violation>) {
    assert_eq!(attempt(Rules::ALL).unwrap_err(), Violation::new(code, clause));
    #[cfg(feature = "testing")]
    attempt(Rules::without(clause)).unwrap();
}

/// A session with its blobs, as a device that made it holds it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) blobs: BTreeMap<Hash, Vec<u8>>,
    pub(crate) actor: ActorId,
}

impl World {
    pub(crate) fn new() -> World {
        World { state: State::new(SESSION, "notes"), blobs: BTreeMap::new(), actor: actor(1) }
    }

    pub(crate) fn write(&mut self, part: PartId, kind: PartKind, body: &[u8]) -> Result<Op, UsageError> {
        match self.state.write(Rules::ALL, self.new_op(part, kind, body))? {
            Written::Value(op) => Ok(op),
            Written::Op { .. } => panic!("the part has no values"),
        }
    }

    pub(crate) fn new_op(&self, part: PartId, kind: PartKind, body: &[u8]) -> NewOp {
        let (hlc, record, salt) = (Hlc::new([3, 3, 3, 3, 3, 3, 0, 0]), Hash::new([4; 32]), Nonce::new([5; 16]));
        NewOp {
            actor: self.actor,
            part,
            kind: kind.number(),
            hlc,
            record,
            salt,
            body: body.to_vec(),
            replaces: Replaces::One,
        }
    }

    pub(crate) fn exclusive(&mut self, n: u8, body: &[u8]) -> Op {
        self.write(part(n), PartKind::Exclusive, body).unwrap()
    }

    pub(crate) fn entry(&mut self, part: PartId, entry: &Entry) -> Result<Op, UsageError> {
        self.write(part, PartKind::Blob, &entry.to_bytes())
    }

    /// Adds a file and keeps its content, and its chunk list if it has one.
    pub(crate) fn file(&mut self, part: PartId, path: &str, content: &[u8]) -> Entry {
        let entry = file(path, content);
        if let Some((list, bytes)) = equal_list(content).1 {
            self.blobs.insert(list.hash, bytes);
        }
        self.blobs.insert(entry.blob, content.to_vec());
        self.entry(part, &entry).unwrap();
        entry
    }
}

/// Two files, a directory, and an exclusive part with ops of two actors.
pub(crate) fn sample() -> World {
    let mut world = World::new();
    world.file(part(10), "src/main.rs", b"fn main() {}");
    world.file(part(11), "big", &content(1, 200_000));
    world.entry(part(12), &Entry::bare("src", EntryMode::Directory).unwrap()).unwrap();
    world.exclusive(20, b"one");
    world.exclusive(20, b"two");
    world.actor = actor(2);
    world.exclusive(20, b"three");
    world
}

pub(crate) fn file(path: &str, content: &[u8]) -> Entry {
    let (blob, list) = equal_list(content);
    Entry::file(path, false, content.len() as u64, blob, list.map(|(list, _)| list)).unwrap()
}

/// Content that differs from place to place.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}
