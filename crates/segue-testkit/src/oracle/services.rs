//! What devices could see of a service that isn't what it was: that its boxes shrank, and that it signed twice.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::Instant;
use segue_proto::wire::{BoxId, DeviceId, Hash, Message, SessionId};

use super::Oracle;

/// What went between devices and services.
#[derive(Clone, Debug, Default)]
pub(super) struct Services {
    /// Behind which offset of which box each device asked which service, by the request's number.
    asked: BTreeMap<(usize, DeviceId, u32), (BoxId, u64)>,
    /// The boxes that each device had read to their end. Into others it may have looked for what it puts there.
    watched: BTreeSet<(usize, BoxId)>,
    /// The answers by which a box ends before that: when, and to whom.
    shrunk: Vec<(Instant, usize)>,
    /// The heads that each device held durably since it started: what it would have told before may be lost.
    held: BTreeMap<(usize, SessionId), BTreeSet<Hash>>,
}

impl Services {
    /// A device asks a service, or a service answers a device; each by number and id.
    pub(super) fn saw(
        &mut self,
        now: Instant,
        from: (usize, Option<DeviceId>),
        to: (Option<usize>, DeviceId),
        message: &Message,
    ) {
        match message {
            Message::Fetch(it) => drop(self.asked.insert((from.0, to.1, it.req), (it.of, it.after))),
            Message::Watch(it) => {
                self.watched.insert((from.0, it.of));
                self.asked.insert((from.0, to.1, it.req), (it.of, it.after));
            }
            Message::Envelopes(it) => {
                let (Some(service), Some(device)) = (from.1, to.0) else { return };
                let asked = self.asked.remove(&(device, service, it.req));
                let reads = |of: BoxId| self.watched.contains(&(device, of));
                if asked.is_some_and(|(of, after)| it.last < after && reads(of)) {
                    self.shrunk.push((now, device));
                }
            }
            _ => {}
        }
    }

    pub(super) fn crashed(&mut self, node: usize) {
        self.held.retain(|(at, _), _| *at != node);
    }

    pub(super) fn holds(&mut self, node: usize, session: SessionId, head: Hash) {
        self.held.entry((node, session)).or_default().insert(head);
    }
}

impl Oracle {
    /// Whether a key signed two records of a session under one parent, as far as anybody was told.
    pub fn signed_twice(&self, session: &SessionId, signer: &DeviceId) -> bool {
        let signed = self.books.get(session).into_iter().flat_map(|book| book.signed.values());
        let parents: Vec<Hash> = signed.filter(|(_, by)| by == signer).map(|(parent, _)| *parent).collect();
        parents.iter().collect::<BTreeSet<_>>().len() < parents.len()
    }

    /// When a device was sent an answer by which a box ends before the offset up to which it has fetched it.
    pub fn shrunk(&self, node: usize) -> impl Iterator<Item = Instant> {
        self.services.shrunk.iter().filter(move |(_, to)| *to == node).map(|(at, _)| *at)
    }

    /// Whether a device held, durably and since it started, two records that one key signed under one parent.
    pub fn held_a_fork(&self, node: usize, session: &SessionId, signer: &DeviceId) -> bool {
        let Some(book) = self.books.get(session) else { return false };
        let heads = self.services.held.get(&(node, *session)).into_iter().flatten();
        let parent = |record: &Hash| book.signed.get(record).map(|(parent, _)| *parent);
        let line = heads.flat_map(|head| std::iter::successors(Some(*head), parent));
        let mut children: BTreeMap<Hash, BTreeSet<Hash>> = BTreeMap::new();
        for record in line {
            if let Some((parent, _)) = book.signed.get(&record).filter(|(_, by)| by == signer) {
                children.entry(*parent).or_default().insert(record);
            }
        }
        children.values().any(|records| records.len() > 1)
    }
}
