//! The roster: the entries of an account that this device knows.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::counting::{Count, Past, Standing};
use super::cuts::Cuts;
use crate::clause::{Clause, Rules};
use crate::limits::{MAX_PARENTS, MAX_ROSTER, MAX_WAITING};
use crate::wire::{Cut, DeviceId, EntryKind, Hash, Proven, RosterEntry};
use crate::{Code, Violation};

/// The entries of one account. With an entry it holds all that the entry cites, so two rosters join by union.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Parents before children.
    nodes: Vec<Node>,
    index: BTreeMap<Hash, usize>,
    /// Entries whose parents aren't known yet.
    waiting: BTreeMap<Hash, Proven<RosterEntry>>,
    standing: Standing,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) entry: Proven<RosterEntry>,
    pub(super) kind: EntryKind,
    pub(super) past: Past,
    /// Of a revoke: whether it counts, which its own past decides once and for all.
    pub(super) counts: bool,
}

impl Node {
    pub(super) fn recovery(&self) -> Option<DeviceId> {
        self.entry.body().genesis.get()?.recovery.get().copied()
    }
}

/// What [`Roster::add`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// The entries that are in the roster now and weren't before, parents first: the one given, and those that waited
    /// for it.
    pub entries: Vec<Proven<RosterEntry>>,
}

impl Roster {
    /// A roster with its genesis.
    ///
    /// Errors: ACCOUNT-ENTRY-1.
    pub fn start(rules: Rules, genesis: Proven<RosterEntry>) -> Result<Roster, Violation> {
        let body = genesis.body();
        let first = body.kind == EntryKind::Genesis.number() && body.genesis.get().is_some();
        let recovery = body.genesis.get().and_then(|founding| founding.recovery.get().copied());
        let fits = first && recovery != Some(body.device);
        if !fits {
            return Err(Violation::new(Code::ACCOUNT_ENTRY, Clause::ACCOUNT_ENTRY_1));
        }
        let index = BTreeMap::from([(genesis.id(), 0)]);
        let node = Node { entry: genesis, kind: EntryKind::Genesis, past: Past::default(), counts: false };
        let (nodes, waiting, standing) = (alloc::vec![node], BTreeMap::new(), Standing::default());
        let mut roster = Roster { nodes, index, waiting, standing };
        roster.settle(rules);
        Ok(roster)
    }

    /// A roster from all its entries, in any order; what doesn't belong to it is left out.
    ///
    /// Errors: there is no genesis among them, or an entry breaks ACCOUNT-ENTRY-1 or ACCOUNT-ENTRY-3.
    pub fn from_entries(rules: Rules, entries: Vec<Proven<RosterEntry>>) -> Result<Roster, Violation> {
        let missing = Violation::new(Code::ACCOUNT_ENTRY, Clause::ACCOUNT_ENTRY_1);
        let is_first = |entry: &&Proven<RosterEntry>| entry.body().kind == EntryKind::Genesis.number();
        let genesis = entries.iter().find(is_first).cloned().ok_or(missing)?;
        let mut roster = Roster::start(rules, genesis)?;
        let mut left: Vec<_> = entries.into_iter().collect();
        loop {
            let before = left.len();
            let mut later = Vec::new();
            for entry in left {
                if entry.body().parents.iter().all(|parent| roster.index.contains_key(parent)) {
                    roster.place(rules, entry)?;
                } else {
                    later.push(entry);
                }
            }
            if later.is_empty() || later.len() == before {
                break;
            }
            left = later;
        }
        roster.settle(rules);
        Ok(roster)
    }

    /// The account: the id of its genesis.
    pub fn account(&self) -> Hash {
        self.nodes.first().map_or(Hash::ZERO, |first| first.entry.id())
    }

    /// Who belongs to the account: a function of the entries alone.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether a key is one of the account's devices.
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.standing.members.contains_key(device)
    }

    /// Whether a key is revoked.
    pub fn is_revoked(&self, device: &DeviceId) -> bool {
        self.standing.revoked.contains_key(device)
    }

    /// The key that can't be revoked, if the account has one.
    pub fn recovery(&self) -> Option<DeviceId> {
        self.nodes.first().and_then(Node::recovery)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no entries; never.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether it has this entry.
    pub fn has(&self, entry: &Hash) -> bool {
        self.index.contains_key(entry)
    }

    /// Every entry, parents before children.
    pub fn entries(&self) -> impl Iterator<Item = &Proven<RosterEntry>> {
        self.nodes.iter().map(|node| &node.entry)
    }

    /// The entries that no other cites, ascending.
    pub fn heads(&self) -> Vec<Hash> {
        let mut heads: BTreeSet<Hash> = self.index.keys().copied().collect();
        for parent in self.nodes.iter().flat_map(|node| node.entry.body().parents.iter()) {
            heads.remove(parent);
        }
        heads.into_iter().collect()
    }

    /// What an entry that `signer` makes now cites: its heads, and if there are too many those first that know the
    /// signer's own link.
    pub fn parents(&self, signer: &DeviceId) -> Vec<Hash> {
        let link = self.standing.members.get(signer).and_then(|member| self.index.get(&member.entry).copied());
        let knows = |head: &Hash| {
            let at = self.index.get(head).copied();
            let past = at.and_then(|at| self.nodes.get(at)).map(|node| &node.past);
            link.is_some_and(|link| at == Some(link) || past.is_some_and(|past| past.has(link)))
        };
        let mut heads = self.heads();
        heads.sort_by_key(|head| (!knows(head), *head));
        heads.truncate(MAX_PARENTS);
        heads.sort_unstable();
        heads
    }

    /// The entries that are neither among `known` nor in their past, parents before children.
    pub fn lacking<'a>(&self, known: impl IntoIterator<Item = &'a Hash>) -> Vec<&Proven<RosterEntry>> {
        let mut held = Past::default();
        for at in known.into_iter().filter_map(|id| self.index.get(id).copied()) {
            held.add(at);
            if let Some(node) = self.nodes.get(at) {
                held.join(&node.past);
            }
        }
        let lacking = self.nodes.iter().enumerate().filter(|(at, _)| !held.has(*at));
        lacking.map(|(_, node)| &node.entry).collect()
    }

    /// Takes an entry in, and whatever waited for it. One whose parents aren't known waits, if there is room (ACCOUNT-ENTRY-2).
    ///
    /// Errors: ACCOUNT-ENTRY-1 and -3, or no room.
    pub fn add(&mut self, rules: Rules, entry: Proven<RosterEntry>) -> Result<Added, Violation> {
        let mut added = Added::default();
        if self.index.contains_key(&entry.id()) {
            return Ok(added);
        }
        let of_this = entry.body().account == self.account();
        rules.ensure(Clause::ACCOUNT_ENTRY_1, of_this, Code::ACCOUNT_OTHER)?;
        if !self.knows_parents(&entry) && rules.keeps(Clause::ACCOUNT_ENTRY_2) {
            if self.waiting.len() < MAX_WAITING {
                self.waiting.insert(entry.id(), entry);
            }
            return Ok(added);
        }
        self.place(rules, entry.clone())?;
        added.entries.push(entry);
        while let Some(id) = self.waiting.values().find(|entry| self.knows_parents(entry)).map(Proven::id) {
            // One that waited and turns out wrong is dropped: nobody is there to be told.
            if let Some(entry) = self.waiting.remove(&id)
                && self.place(rules, entry.clone()).is_ok()
            {
                added.entries.push(entry);
            }
        }
        self.settle(rules);
        Ok(added)
    }

    /// Whether a takeover record of a session, signed by a revoked key, stands by the cuts of all who revoked it.
    pub fn cut_covers(&self, device: &DeviceId, covered: impl Fn(&Cut) -> bool) -> bool {
        let Some(revoked) = self.standing.revoked.get(device) else { return true };
        let by = |signer: &DeviceId| revoked.cuts.iter().any(|(by, cut)| by == signer && covered(cut));
        revoked.cuts.iter().all(|(signer, _)| by(signer))
    }

    /// What of the strands of revoked devices stands.
    pub fn cuts(&self) -> Cuts {
        Cuts::new(&self.standing)
    }

    /// The ids of the links and revokes that count.
    pub fn counted(&self) -> BTreeSet<Hash> {
        Count::new(Rules::ALL, &self.nodes, None).counted()
    }

    fn knows_parents(&self, entry: &Proven<RosterEntry>) -> bool {
        entry.body().parents.iter().all(|parent| self.index.contains_key(parent))
    }

    /// Puts an entry behind its parents.
    fn place(&mut self, rules: Rules, entry: Proven<RosterEntry>) -> Result<(), Violation> {
        let body = entry.body();
        if self.index.contains_key(&entry.id()) {
            return Ok(());
        }
        let kind = EntryKind::from_number(body.kind).filter(|kind| *kind != EntryKind::Genesis);
        let kind = kind.ok_or(Violation::new(Code::ACCOUNT_ENTRY, Clause::ACCOUNT_ENTRY_1))?;
        rules.ensure(Clause::ACCOUNT_ENTRY_1, body.account == self.account(), Code::ACCOUNT_OTHER)?;
        let mut past = Past::default();
        for at in body.parents.iter().filter_map(|parent| self.index.get(parent).copied()) {
            past.add(at);
            if let Some(parent) = self.nodes.get(at) {
                past.join(&parent.past);
            }
        }
        let linked = self.recovery() == Some(body.signer) || self.was_linked(&body.signer, &past);
        rules.ensure(Clause::ACCOUNT_ENTRY_3, linked, Code::ACCOUNT_ENTRY)?;
        if self.nodes.len() >= MAX_ROSTER {
            return Err(Violation::new(Code::LIMIT_ROOM, Clause::ACCOUNT_ENTRY_2));
        }
        let counts = kind == EntryKind::Revoke && self.revoke_counts(rules, body, &past);
        self.index.insert(entry.id(), self.nodes.len());
        self.nodes.push(Node { entry, kind, past, counts });
        Ok(())
    }

    /// Whether a key has a link, counted or not, in this past.
    fn was_linked(&self, key: &DeviceId, past: &Past) -> bool {
        let links = self.nodes.iter().enumerate().filter(|(_, node)| node.kind != EntryKind::Revoke);
        links.into_iter().any(|(at, node)| past.has(at) && node.entry.body().device == *key)
    }

    fn revoke_counts(&self, rules: Rules, body: &RosterEntry, past: &Past) -> bool {
        if self.recovery() == Some(body.device) && rules.keeps(Clause::ACCOUNT_COUNT_4) {
            return false;
        }
        Count::new(rules, &self.nodes, Some(past)).speaks(&body.signer) || !rules.keeps(Clause::ACCOUNT_COUNT_1)
    }

    fn settle(&mut self, rules: Rules) {
        self.standing = Count::new(rules, &self.nodes, None).standing();
    }
}

/// Two rosters are the same if they hold the same entries.
impl PartialEq for Roster {
    fn eq(&self, other: &Self) -> bool {
        self.index.keys().eq(other.index.keys())
    }
}

impl Eq for Roster {}
