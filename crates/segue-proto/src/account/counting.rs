//! Which entries count, and who the members are: a pure function of the set of entries.
//!
//! Every question is about a set that holds with an entry also all that it cites: the whole roster, or the past of one
//! entry. Within it entries stand in an order in which parents come first, so one pass decides the links.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::roster::Node;
use crate::clause::{Clause, Rules};
use crate::wire::{Cut, DeviceId, EntryKind, Hash, Hlc};

/// Who belongs to an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its devices.
    pub members: BTreeMap<DeviceId, Member>,
    /// The keys that are revoked.
    pub revoked: BTreeMap<DeviceId, Revoked>,
}

/// A device of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Who linked it; the first device did so itself.
    pub by: DeviceId,
    /// The entry that says so.
    pub entry: Hash,
    /// When that was made, by its signer's clock.
    pub made: Hlc,
}

/// A key that is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its name when it was a device; empty if it never was.
    pub name: String,
    /// Who revoked it first, by the clocks of those who did.
    pub by: DeviceId,
    /// When, by that clock.
    pub made: Hlc,
    /// What each counted revoke lets stand, with its signer: what stands is what for every signer one of its own lets.
    pub cuts: Vec<(DeviceId, Cut)>,
}

/// The indices of the entries that an entry has in its past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Past(Vec<u64>);

impl Past {
    pub(super) fn add(&mut self, at: usize) {
        let word = at / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (at % 64);
        }
    }

    pub(super) fn join(&mut self, other: &Past) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (to, from) in self.0.iter_mut().zip(&other.0) {
            *to |= from;
        }
    }

    pub(super) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

/// A set of entries, with what of it counts.
pub(super) struct Count<'a> {
    rules: Rules,
    nodes: &'a [Node],
    /// The counted links of each key, and its genesis.
    links: BTreeMap<DeviceId, Vec<usize>>,
    /// The counted revokes of each key.
    revokes: BTreeMap<DeviceId, Vec<usize>>,
    recovery: Option<DeviceId>,
}

impl<'a> Count<'a> {
    /// Counts the entries in `within`, or all of them.
    pub(super) fn new(rules: Rules, nodes: &'a [Node], within: Option<&Past>) -> Count<'a> {
        let inside = |at: &usize| within.is_none_or(|past| past.has(*at));
        let recovery = nodes.first().and_then(Node::recovery);
        let mut count = Count { rules, nodes, links: BTreeMap::new(), revokes: BTreeMap::new(), recovery };
        for (at, node) in nodes.iter().enumerate().filter(|(at, _)| inside(at)) {
            if node.kind == EntryKind::Revoke && node.counts {
                count.revokes.entry(node.entry.body().device).or_default().push(at);
            }
        }
        for (at, node) in nodes.iter().enumerate().filter(|(at, _)| inside(at)) {
            if node.kind != EntryKind::Revoke && count.link_counts(at, node) {
                count.links.entry(node.entry.body().device).or_default().push(at);
            }
        }
        count
    }

    /// Whether a key may sign: a device that is linked and not revoked, or the recovery key.
    pub(super) fn speaks(&self, key: &DeviceId) -> bool {
        let lost = self.revokes.contains_key(key);
        match self.recovery == Some(*key) {
            true => !lost || self.rules.keeps(Clause::ACCOUNT_COUNT_4),
            false => self.is_member(key),
        }
    }

    /// Who belongs to the account.
    pub(super) fn standing(&self) -> Standing {
        let members = self.links.keys().filter(|key| self.is_member(key));
        let members = members.filter_map(|key| Some((*key, self.member(key)?))).collect();
        let revoked = self.revokes.iter().filter_map(|(key, by)| Some((*key, self.revoked(key, by)?))).collect();
        Standing { members, revoked }
    }

    /// Every revoke of a link's signer must have the link in its past, and the signer's own link must count (ACCOUNT-COUNT-2).
    fn link_counts(&self, at: usize, node: &Node) -> bool {
        let signer = node.entry.body().signer;
        if node.kind == EntryKind::Genesis {
            return true;
        }
        if self.recovery == Some(signer) {
            return self.speaks(&signer);
        }
        let linked = self.links.get(&signer).is_some_and(|links| links.iter().any(|link| node.past.has(*link)));
        let before = |revoke: &usize| self.nodes.get(*revoke).is_some_and(|revoke| revoke.past.has(at));
        let in_time = self.revokes.get(&signer).is_none_or(|revokes| revokes.iter().all(before));
        (linked && in_time) || !self.rules.keeps(Clause::ACCOUNT_COUNT_2)
    }

    fn is_member(&self, key: &DeviceId) -> bool {
        let Some(links) = self.links.get(key) else { return false };
        let Some(revokes) = self.revokes.get(key) else { return true };
        // With the clause off: a link that knows of the revokes brings the key back.
        let knows = |link: &usize| {
            let past = self.nodes.get(*link).map(|link| &link.past);
            past.is_some_and(|past| revokes.iter().all(|revoke| past.has(*revoke)))
        };
        !self.rules.keeps(Clause::ACCOUNT_COUNT_3) && links.iter().any(knows)
    }

    fn member(&self, key: &DeviceId) -> Option<Member> {
        let links = self.links.get(key)?.iter().filter_map(|at| self.nodes.get(*at));
        let first = links.min_by_key(|link| (link.entry.body().made, link.entry.id()))?;
        let body = first.entry.body();
        Some(Member { name: body.name.to_string(), by: body.signer, entry: first.entry.id(), made: body.made })
    }

    fn revoked(&self, key: &DeviceId, by: &[usize]) -> Option<Revoked> {
        let mut revokes: Vec<_> = by.iter().filter_map(|at| self.nodes.get(*at)).collect();
        revokes.sort_by_key(|revoke| (revoke.entry.body().made, revoke.entry.id()));
        let first = revokes.first()?.entry.body();
        let cut = |revoke: &&Node| Some((revoke.entry.body().signer, revoke.entry.body().cut.get()?.clone()));
        let cuts = revokes.iter().filter_map(cut).collect();
        let name = self.member(key).map_or(String::new(), |member| member.name);
        Some(Revoked { name, by: first.signer, made: first.made, cuts })
    }

    /// The links that count, for tests.
    pub(super) fn counted(&self) -> BTreeSet<Hash> {
        let all = self.links.values().chain(self.revokes.values()).flatten();
        all.filter_map(|at| self.nodes.get(*at)).map(|node| node.entry.id()).collect()
    }
}
