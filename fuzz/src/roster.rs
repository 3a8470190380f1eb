//! Entries of a roster that need no signatures, so that the fuzzer gets past them.

use std::collections::BTreeSet;

use segue_proto::Rules;
use segue_proto::account::{Invite, Roster};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{
    Cut, DeviceId, EntryKind, Founding, Hash, Hlc, List, Nonce, Proven, RosterEntry, SignedBody, Text,
};

use crate::input::Input;

/// Entries, each of fields that the bytes choose, or whole bodies. A roster takes in what follows, and only that; what it
/// says depends on neither order nor repetition; nobody is member and revoked at once; two rosters that exchange what
/// the other lacks agree. The bytes that are left are read as an invitation.
pub fn roster(data: &[u8]) {
    let mut input = Input::new(data);
    let recovery = input.flag().then(|| key(7));
    let genesis = Proven::assume(genesis(recovery));
    let Ok(mut roster) = Roster::start(Rules::ALL, genesis.clone()) else { panic!("a good genesis") };
    let mut known = vec![genesis.clone()];
    while !input.is_empty() && known.len() < 48 {
        let Some(entry) = next(&mut input, roster.account(), &known) else { break };
        let entry = Proven::assume(entry);
        let Ok(added) = roster.add(Rules::ALL, entry) else { continue };
        known.extend(added.entries);
    }
    check(&roster, recovery);
    check_order(&roster, &known, input.byte());
    let text = String::from_utf8_lossy(input.rest());
    if let Ok(invite) = Invite::from_text(&text) {
        assert_eq!(invite.to_text(), text.trim().to_ascii_uppercase());
    }
}

fn check(roster: &Roster, recovery: Option<DeviceId>) {
    let standing = roster.standing();
    assert!(standing.members.keys().all(|member| !standing.revoked.contains_key(member)), "never both");
    assert!(recovery.is_none_or(|key| !standing.revoked.contains_key(&key)), "the recovery key stays");
    assert!(roster.lacking(&roster.heads()).is_empty(), "the heads have all in their past");
    let ids: BTreeSet<Hash> = roster.entries().map(Proven::id).collect();
    let cited = roster.entries().flat_map(|entry| entry.body().parents.iter());
    assert!(cited.into_iter().all(|parent| ids.contains(parent)), "no entry without its parents");
}

/// The same entries, turned round, twice; and in two halves that meet.
fn check_order(roster: &Roster, known: &[Proven<RosterEntry>], split: u8) {
    let Ok(mut other) = Roster::start(Rules::ALL, known[0].clone()) else { return };
    for entry in known.iter().rev().chain(known) {
        assert!(other.add(Rules::ALL, entry.clone()).is_ok(), "what one takes the other takes");
    }
    assert_eq!(other.standing(), roster.standing());
    assert_eq!(other.heads(), roster.heads());
    let half = known[..1 + usize::from(split) % known.len()].to_vec();
    let Ok(mut half) = Roster::from_entries(Rules::ALL, half) else { panic!("a part with all that it cites") };
    let heads = half.heads();
    for entry in roster.lacking(&heads).into_iter().cloned() {
        assert!(half.add(Rules::ALL, entry).is_ok_and(|added| added.entries.len() == 1), "parents come first");
    }
    assert_eq!(half.standing(), roster.standing());
}

fn key(number: u8) -> DeviceId {
    DeviceId::new([number + 1; 32])
}

fn genesis(recovery: Option<DeviceId>) -> RosterEntry {
    let founding = Founding { nonce: Nonce::new([4; 16]), recovery: recovery.into() };
    RosterEntry { genesis: Some(founding).into(), ..entry(EntryKind::Genesis, Hash::ZERO, Vec::new(), key(0), key(0)) }
}

fn next(input: &mut Input<'_>, account: Hash, known: &[Proven<RosterEntry>]) -> Option<RosterEntry> {
    if input.byte() == 255 {
        // A whole body, which is checked as a receiver does.
        let len = usize::from(input.short() % 512);
        let body: RosterEntry = decode(Rules::ALL, input.take(len)).ok()?;
        return body.check(Rules::ALL).is_ok().then_some(body);
    }
    let kind = if input.flag() { EntryKind::Link } else { EntryKind::Revoke };
    let (signer, device) = (key(input.byte() % 8), key(input.byte() % 8));
    let cites = 1 + input.below(3);
    let parents: BTreeSet<Hash> = (0..cites).filter_map(|_| input.pick(known)).map(Proven::id).collect();
    let body = entry(kind, account, parents.into_iter().collect(), signer, device);
    assert!(decode::<RosterEntry>(Rules::ALL, &encode(&body)).is_ok_and(|again| again == body));
    Some(body)
}

fn entry(kind: EntryKind, account: Hash, parents: Vec<Hash>, signer: DeviceId, device: DeviceId) -> RosterEntry {
    let revoke = kind == EntryKind::Revoke;
    RosterEntry {
        kind: kind.number(),
        account,
        parents: List::new(parents).unwrap_or_default(),
        signer,
        device,
        name: Text::default(),
        made: Hlc::new([0; 8]),
        genesis: None.into(),
        cut: revoke.then(|| Cut { tips: List::empty(), heads: List::empty() }).into(),
    }
}
