//! Chapter account: the state is a function of the set of entries, and the one that the chapter's words give.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use segue_proto::account::Roster;
use segue_proto::limits::{MAX_ROSTER, MAX_WAITING};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    Cut, DeviceId, EntryKind, Founding, Hash, Hlc, List, Nonce, Proven, RosterEntry, Signed, Text,
};
use segue_proto::{Clause, Code, Rules, Violation};

use crate::util::refused;

/// A device, or the recovery key, by its number.
fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn id(n: u8) -> DeviceId {
    DeviceId::new(key(n).verifying_key().to_bytes())
}

const RECOVERY: u8 = 200;

fn sign(signer: u8, entry: &RosterEntry) -> Proven<RosterEntry> {
    Signed::sign(entry, &key(signer)).prove(Rules::ALL, |entry| entry.signer).unwrap()
}

fn genesis(recovery: bool) -> Proven<RosterEntry> {
    let founding = Founding { nonce: Nonce::new([7; 16]), recovery: recovery.then(|| id(RECOVERY)).into() };
    sign(
        0,
        &RosterEntry {
            genesis: Some(founding).into(),
            cut: None.into(),
            ..body(EntryKind::Genesis, Hash::ZERO, &[], 0, 0)
        },
    )
}

fn body(kind: EntryKind, account: Hash, parents: &[Hash], signer: u8, device: u8) -> RosterEntry {
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    let name = if kind == EntryKind::Revoke { String::new() } else { format!("device {device}") };
    let cut = Cut { tips: List::default(), heads: List::default() };
    RosterEntry {
        kind: kind.number(),
        account,
        parents: List::new(parents).unwrap(),
        signer: id(signer),
        device: id(device),
        name: Text::new(name).unwrap(),
        made: Hlc::new([0; 8]),
        genesis: None.into(),
        cut: (kind == EntryKind::Revoke).then_some(cut).into(),
    }
}

/// A history that is built by hand.
struct History {
    entries: Vec<Proven<RosterEntry>>,
}

impl History {
    fn new(recovery: bool) -> History {
        History { entries: vec![genesis(recovery)] }
    }

    fn add(&mut self, kind: EntryKind, parents: &[usize], signer: u8, device: u8) -> usize {
        let parents: Vec<Hash> = parents.iter().map(|at| self.entries[*at].id()).collect();
        self.entries.push(sign(signer, &body(kind, self.entries[0].id(), &parents, signer, device)));
        self.entries.len() - 1
    }

    fn link(&mut self, parents: &[usize], signer: u8, device: u8) -> usize {
        self.add(EntryKind::Link, parents, signer, device)
    }

    fn revoke(&mut self, parents: &[usize], signer: u8, device: u8) -> usize {
        self.add(EntryKind::Revoke, parents, signer, device)
    }

    fn roster(&self) -> Roster {
        self.roster_by(Rules::ALL)
    }

    fn roster_by(&self, rules: Rules) -> Roster {
        Roster::from_entries(rules, self.entries.clone()).unwrap()
    }

    #[track_caller]
    fn has(&self, members: &[u8], revoked: &[u8]) {
        assert_eq!(numbers(self.roster().standing().members.keys()), *members);
        assert_eq!(numbers(self.roster().standing().revoked.keys()), *revoked);
    }
}

fn numbers<'a>(keys: impl Iterator<Item = &'a DeviceId>) -> Vec<u8> {
    let mut all: Vec<u8> = keys.map(|key| (0..=255).find(|n| id(*n) == *key).unwrap()).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_device_is_linked_and_revoked_and_never_returns() {
    let mut history = History::new(false);
    let one = history.link(&[0], 0, 1);
    history.has(&[0, 1], &[]);
    let gone = history.revoke(&[one], 0, 1);
    history.has(&[0], &[1]);
    // ACCOUNT-COUNT-3: an entry that links it again changes nothing.
    history.link(&[gone], 0, 1);
    history.has(&[0], &[1]);
    #[cfg(feature = "testing")]
    assert!(history.roster_by(Rules::without(Clause::ACCOUNT_COUNT_3)).is_member(&id(1)));
}

#[test]
fn what_a_revoked_device_linked_stands_if_the_revoke_knew_it() {
    let mut history = History::new(false);
    let one = history.link(&[0], 0, 1);
    let two = history.link(&[one], 1, 2);
    history.revoke(&[two], 0, 1);
    history.has(&[0, 2], &[1]);
    // ACCOUNT-COUNT-2: one that the revoke doesn't know is void, however old its parents are, and so is all behind it.
    let three = history.link(&[one], 1, 3);
    history.link(&[three], 3, 4);
    history.has(&[0, 2], &[1]);
    #[cfg(feature = "testing")]
    assert!(history.roster_by(Rules::without(Clause::ACCOUNT_COUNT_2)).is_member(&id(3)));
}

#[test]
fn mutual_revocation_revokes_both_and_the_recovery_key_remains() {
    let mut history = History::new(true);
    let one = history.link(&[0], 0, 1);
    let (a, b) = (history.revoke(&[one], 0, 1), history.revoke(&[one], 1, 0));
    history.has(&[], &[0, 1]);
    // ACCOUNT-COUNT-4: the recovery key can't be revoked, and links anew.
    let c = history.revoke(&[one], 1, RECOVERY);
    history.link(&[a, b, c], RECOVERY, 5);
    history.has(&[5], &[0, 1]);
    #[cfg(feature = "testing")]
    assert!(!history.roster_by(Rules::without(Clause::ACCOUNT_COUNT_4)).is_member(&id(5)));
}

#[test]
fn a_revoke_by_one_that_was_revoked_in_its_past_does_not_count() {
    let mut history = History::new(false);
    let one = history.link(&[0], 0, 1);
    let gone = history.revoke(&[one], 0, 1);
    history.revoke(&[gone], 1, 0);
    history.has(&[0], &[1]);
    #[cfg(feature = "testing")]
    assert!(history.roster_by(Rules::without(Clause::ACCOUNT_COUNT_1)).is_revoked(&id(0)));
}

#[test]
fn entries_that_do_not_follow_are_refused() {
    let history = History::new(false);
    let account = history.entries[0].id();
    let stranger = sign(9, &body(EntryKind::Link, account, &[account], 9, 3));
    refused(Clause::ACCOUNT_ENTRY_3, Code::ACCOUNT_ENTRY, |rules| history.roster().add(rules, stranger.clone()));
    let other = sign(0, &body(EntryKind::Link, Hash::new([3; 32]), &[account], 0, 3));
    refused(Clause::ACCOUNT_ENTRY_1, Code::ACCOUNT_OTHER, |rules| history.roster().add(rules, other.clone()));
}

#[test]
fn what_does_not_fit_its_kind_is_refused() {
    let account = History::new(false).entries[0].id();
    let link = body(EntryKind::Link, account, &[account], 0, 1);
    for bad in [
        RosterEntry { parents: List::default(), ..link.clone() },
        RosterEntry { account: Hash::ZERO, ..link.clone() },
        RosterEntry { parents: List::new(vec![Hash::new([2; 32]), Hash::new([1; 32])]).unwrap(), ..link.clone() },
        RosterEntry { cut: Some(Cut { tips: List::default(), heads: List::default() }).into(), ..link.clone() },
        RosterEntry { kind: EntryKind::Revoke.number(), ..link.clone() },
        RosterEntry { name: Text::new("x").unwrap(), ..body(EntryKind::Revoke, account, &[account], 0, 1) },
        RosterEntry { device: id(1), ..genesis(false).body().clone() },
    ] {
        refused(Clause::ACCOUNT_ENTRY_1, Code::WIRE_VALUE, |rules| Signed::sign(&bad, &key(0)).open(rules));
    }
}

#[test]
fn a_device_that_signs_cites_what_knows_its_own_link() {
    let mut history = History::new(false);
    let one = history.link(&[0], 0, 1);
    // More heads than an entry can cite, most of which don't know device 1.
    for device in 10..40 {
        history.link(&[0], 0, device);
    }
    let roster = history.roster();
    let parents = roster.parents(&id(1));
    assert_eq!(parents.len(), 16);
    assert!(parents.contains(&history.entries[one].id()));
    assert!(parents.is_sorted());
}

#[test]
fn a_peer_is_sent_what_it_lacks_parents_first() {
    let mut history = History::new(false);
    let one = history.link(&[0], 0, 1);
    let two = history.link(&[one], 1, 2);
    let roster = history.roster();
    let lacking = |known: &[usize]| {
        let known: Vec<Hash> = known.iter().map(|at| history.entries[*at].id()).collect();
        roster.lacking(&known).into_iter().map(Proven::id).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&[two]), []);
    assert_eq!(lacking(&[one]), [history.entries[two].id()]);
    assert_eq!(lacking(&[]), history.entries.iter().map(Proven::id).collect::<Vec<_>>());
}

/// A link of another device than those with a number.
fn stranger(n: usize, account: Hash, parent: Hash) -> Proven<RosterEntry> {
    let device = DeviceId::new(*blob_id(&n.to_be_bytes()).as_bytes());
    Proven::assume(RosterEntry { device, ..body(EntryKind::Link, account, &[parent], 0, 0) })
}

#[test]
fn a_roster_has_so_many_entries() {
    let first = genesis(false);
    let link = |n| stranger(n, first.id(), first.id());
    let mut entries: Vec<_> = (2..MAX_ROSTER).map(link).collect();
    entries.push(first.clone());
    let mut roster = Roster::from_entries(Rules::ALL, entries).unwrap();
    assert_eq!(roster.add(Rules::ALL, link(0)).unwrap().entries, [link(0)]);
    let full = Violation::new(Code::LIMIT_ROOM, Clause::ACCOUNT_ENTRY_2);
    assert_eq!(roster.add(Rules::ALL, link(1)).unwrap_err(), full);
    assert_eq!(roster.add(Rules::ALL, link(2)).unwrap().entries, [], "it is known");
}

/// ACCOUNT-ENTRY-2: those that find no room come again once their parents are known.
#[test]
fn so_many_entries_wait_for_their_parents() {
    let first = genesis(false);
    let mut roster = Roster::from_entries(Rules::ALL, vec![first.clone()]).unwrap();
    let parent = stranger(0, first.id(), first.id());
    let child = |n| stranger(n, first.id(), parent.id());
    for n in 1..=MAX_WAITING + 1 {
        assert_eq!(roster.add(Rules::ALL, child(n)).unwrap().entries, []);
    }
    let added = roster.add(Rules::ALL, parent.clone()).unwrap().entries;
    let ids: BTreeSet<Hash> = added.iter().map(Proven::id).collect();
    let waited = (1..=MAX_WAITING).map(|n| child(n).id());
    assert_eq!(ids, waited.chain([parent.id()]).collect());
    assert_eq!(roster.add(Rules::ALL, child(MAX_WAITING + 1)).unwrap().entries, [child(MAX_WAITING + 1)]);
}

/// What the chapter says, word by word, with no thought for speed. `set` holds with an entry all that it cites.
struct Words<'a> {
    all: &'a BTreeMap<Hash, RosterEntry>,
    recovery: Option<DeviceId>,
}

impl Words<'_> {
    fn past(&self, entry: &Hash) -> BTreeSet<Hash> {
        let mut past = BTreeSet::new();
        for parent in self.all[entry].parents.iter() {
            past.insert(*parent);
            past.extend(self.past(parent));
        }
        past
    }

    /// A revoke counts if its signer was a member in the revoke's own past; one of the recovery key never.
    fn revoke_counts(&self, revoke: &Hash) -> bool {
        let entry = &self.all[revoke];
        let speaks = self.recovery == Some(entry.signer) || self.is_member(&self.past(revoke), &entry.signer);
        entry.kind == 2 && self.recovery != Some(entry.device) && speaks
    }

    /// A link counts if its signer's link, in its past, counts, and every counted revoke of its signer has it in its past.
    fn link_counts(&self, set: &BTreeSet<Hash>, link: &Hash) -> bool {
        let entry = &self.all[link];
        if entry.kind == 0 || (entry.kind == 1 && self.recovery == Some(entry.signer)) {
            return true;
        }
        let past = self.past(link);
        let signers = |other: &&Hash| self.all[*other].kind != 2 && self.all[*other].device == entry.signer;
        let linked = past.iter().filter(signers).any(|other| self.link_counts(set, other));
        let revokes = |other: &&Hash| self.all[*other].device == entry.signer && self.revoke_counts(other);
        entry.kind == 1 && linked && set.iter().filter(revokes).all(|revoke| self.past(revoke).contains(link))
    }

    /// A member is a device with a link that counts and no revoke that does.
    fn is_member(&self, set: &BTreeSet<Hash>, key: &DeviceId) -> bool {
        let of_key = |entry: &&Hash| self.all[*entry].device == *key;
        let linked = set.iter().filter(of_key).any(|entry| self.all[entry].kind != 2 && self.link_counts(set, entry));
        linked && !set.iter().filter(of_key).any(|entry| self.revoke_counts(entry))
    }
}

/// A draw of a history: who signs, whom it concerns, whether it links, and which of the earlier entries it cites.
type Draw = Vec<(u8, u8, bool, Vec<u8>)>;

fn draws(most: usize) -> impl Strategy<Value = Draw> {
    prop::collection::vec((0..5u8, 0..6u8, any::<bool>(), prop::collection::vec(any::<u8>(), 1..3)), 1..most)
}

/// Keys 0 to 4 are devices, signer 4 stands for the recovery key half of the time. Entries that don't follow are left out.
fn history(recovery: bool, draw: &Draw) -> Vec<Proven<RosterEntry>> {
    let first = genesis(recovery);
    let account = first.id();
    let mut roster = Roster::start(Rules::ALL, first.clone()).unwrap();
    let mut entries = vec![first];
    for (signer, device, link, cites) in draw {
        let signer = if *signer == 4 && recovery { RECOVERY } else { *signer };
        let device = if *device == 5 { RECOVERY } else { *device };
        let kind = if *link { EntryKind::Link } else { EntryKind::Revoke };
        // Mostly recent entries, so that histories grow deep as well as wide.
        let cited = cites.iter().map(|at| entries[entries.len() - 1 - usize::from(*at) % entries.len().min(4)].id());
        let cited: BTreeSet<Hash> = cited.collect();
        let entry = sign(signer, &body(kind, account, &cited.into_iter().collect::<Vec<_>>(), signer, device));
        if roster.add(Rules::ALL, entry.clone()).is_ok() {
            entries.push(entry);
        }
    }
    entries
}

fn shuffled<T: Clone>(items: &[T], seed: u64) -> Vec<T> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as usize
    };
    let mut out = items.to_vec();
    for at in (1..out.len()).rev() {
        out.swap(at, next() % (at + 1));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any order, any grouping, duplicates: the same state (ACCOUNT-ENTRY-2).
    #[test]
    fn the_state_is_a_function_of_the_set(recovery: bool, draw in draws(24), seed: u64, split in 1..8usize) {
        let entries = history(recovery, &draw);
        let whole = Roster::from_entries(Rules::ALL, entries.clone()).unwrap();
        let mut roster = Roster::start(Rules::ALL, entries[0].clone()).unwrap();
        let twice: Vec<_> = shuffled(&entries, seed).into_iter().chain(shuffled(&entries, !seed)).collect();
        for entry in twice {
            roster.add(Rules::ALL, entry).unwrap();
        }
        prop_assert_eq!(roster.standing(), whole.standing());
        prop_assert_eq!(roster.heads(), whole.heads());
        prop_assert_eq!(roster.counted(), whole.counted());

        // Two devices that each hold a part of it, and join.
        let (mut one, mut two) = (Roster::start(Rules::ALL, entries[0].clone()).unwrap(), whole.clone());
        for entry in entries.iter().take(entries.len() * split / 8) {
            one.add(Rules::ALL, entry.clone()).unwrap();
        }
        let heads = one.heads();
        for entry in two.lacking(&heads).into_iter().cloned().collect::<Vec<_>>() {
            one.add(Rules::ALL, entry).unwrap();
        }
        for entry in one.lacking(&two.heads()).into_iter().cloned().collect::<Vec<_>>() {
            two.add(Rules::ALL, entry).unwrap();
        }
        prop_assert_eq!(one.standing(), two.standing());
        prop_assert_eq!(one.standing(), whole.standing());
    }

    /// What counts is what the chapter's words say (ACCOUNT-COUNT-1 to ACCOUNT-COUNT-4).
    #[test]
    fn the_state_is_the_one_that_the_words_give(recovery: bool, draw in draws(14)) {
        let entries = history(recovery, &draw);
        let roster = Roster::from_entries(Rules::ALL, entries.clone()).unwrap();
        let all: BTreeMap<Hash, RosterEntry> = entries.iter().map(|entry| (entry.id(), entry.body().clone())).collect();
        let words = Words { all: &all, recovery: roster.recovery() };
        let set: BTreeSet<Hash> = all.keys().copied().collect();
        for n in [0, 1, 2, 3, 4, RECOVERY] {
            let (member, revoked) = (roster.is_member(&id(n)), roster.is_revoked(&id(n)));
            prop_assert_eq!(member, words.is_member(&set, &id(n)), "member {}", n);
            let by_words = set.iter().any(|entry| all[entry].device == id(n) && words.revoke_counts(entry));
            prop_assert_eq!(revoked, by_words, "revoked {}", n);
            prop_assert!(!(member && revoked));
        }
        let counted: BTreeSet<Hash> = set.iter().copied().filter(|e| words.link_counts(&set, e) || words.revoke_counts(e)).collect();
        prop_assert_eq!(roster.counted(), counted);
    }
}
