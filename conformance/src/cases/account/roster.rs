//! The roster: what is exchanged, what is refused, what counts.

use segue_proto::wire::{DeviceId, EntryKind, Hash, List, Message, RosterEntry, RosterMsg};
use segue_proto::{Code, Event};
use segue_testkit::device::Command;

use super::scene::{Family, Joined, entry, holds, join, joined, links, links_another, met, take_entries};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

const E: Part = Part::End;
const NEW: &[&str] = &["invite", "confirm-link"];
const BOTH: &[&str] = &["create-account", "accept-link", "confirm-link", "revoke"];

pub(super) const CASES: &[Case] = &[
    works("account/roster/heads-on-meeting", &["ACCOUNT-ROSTER-1"], E, |lab| {
        let Joined { peer, family, .. } = joined(lab)?;
        let link = lab.connect(&peer)?;
        let message = lab.take(link, "ROSTER", |message| match message {
            Message::Roster(message) => Some(message.clone()),
            _ => None,
        })?;
        let right = message.account == family.account && *message.heads == [family.last()];
        ensure(right && message.entries.is_empty(), "the account and its one head", format!("{message:?}"))
    })
    .needs(NEW),
    works("account/roster/sends-what-is-lacking", &["ACCOUNT-ROSTER-2"], E, |lab| {
        let Joined { peer, family, .. } = joined(lab)?;
        let link = lab.connect(&peer)?;
        // A peer that lost all but the genesis.
        let heads = List::new(vec![family.account]).unwrap_or_default();
        lab.send(link, RosterMsg { heads, ..family.message(&[]) });
        let entries = take_entries(lab, link)?;
        let only = entries.len() == 1 && entries[0].device == lab.id();
        ensure(only, "the link alone", format!("{} entries", entries.len()))
    })
    .needs(NEW),
    works("account/roster/nothing-for-who-has-all", &["ACCOUNT-ROSTER-2"], E, |lab| {
        let Joined { peer, family, .. } = joined(lab)?;
        let link = lab.connect(&peer)?;
        lab.skip(link);
        lab.send(link, family.message(&[]));
        lab.send(link, family.whole());
        lab.none(link, "ROSTER", |message| matches!(message, Message::Roster(_)))
    })
    .needs(NEW),
    works("account/roster/pushed-at-once", &["ACCOUNT-ROSTER-2", "ACCOUNT-ENTRY-4"], E, |lab| {
        let (first, link, family) = links(lab)?;
        let (second, _, _) = links_another(lab, family.account)?;
        let entries = take_entries(lab, link)?;
        let told = entries.iter().any(|entry| entry.device == second.id && entry.kind == 1);
        ensure(told, "the link of the second device for the first", format!("{entries:?}"))?;
        holds(lab, family.account, &[lab.id(), first.id, second.id], &[])
    })
    .needs(BOTH),
    works("account/roster/leaves-when-durable", &["ACCOUNT-ROSTER-4"], E, |lab| {
        let (_, link, family) = links(lab)?;
        let (second, _, _) = links_another(lab, family.account)?;
        lab.skip(link);
        lab.syncs = false;
        lab.must(Command::Revoke { device: second.id })?;
        lab.none(link, "ROSTER before the sync", |message| matches!(message, Message::Roster(_)))?;
        lab.syncs = true;
        lab.sync();
        let entries = take_entries(lab, link)?;
        ensure(entries.iter().any(|entry| entry.device == second.id), "the revoke", format!("{entries:?}"))
    })
    .needs(BOTH),
    works("account/roster/union-of-two-edits", &["ACCOUNT-ROSTER-2", "ACCOUNT-COUNT-1", "ACCOUNT-COUNT-2"], E, union)
        .needs(&["invite", "confirm-link", "revoke"]),
    works("account/roster/told-to-the-user", &["ACCOUNT-TELL-1"], E, |lab| {
        let Joined { peer, link, mut family } = joined(lab)?;
        let third = Peer::new(&mut lab.rng);
        family.link(&peer, third.id);
        family.revoke(&peer, third.id);
        for at in [family.entries.len() - 2, family.entries.len() - 1] {
            lab.send(link, family.message(&family.entries[at..=at]));
        }
        lab.event("the event device-linked", |event| match event {
            Event::DeviceLinked { device, by, .. } if *device == third.id && *by == peer.id => Some(()),
            _ => None,
        })?;
        lab.event("the event device-revoked", |event| match event {
            Event::DeviceRevoked { device, by } if *device == third.id && *by == peer.id => Some(()),
            _ => None,
        })
    })
    .needs(NEW),
    refused("account/roster/by-a-stranger", &["ACCOUNT-ROSTER-3"], E, grows, |lab| {
        lab.setup.accept_unknown = true;
        let Joined { peer, family, .. } = joined(lab)?;
        let (stranger, third) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
        let link = lab.connect(&stranger)?;
        let mut grown = family.clone();
        grown.link(&peer, third.id);
        lab.send(link, grown.whole());
        lab.refuses(link, 0, Code::ACCOUNT_OTHER)?;
        holds(lab, family.account, &[peer.id, lab.id()], &[])
    })
    .needs(NEW),
    refused("account/roster/of-another-account", &["ACCOUNT-ROSTER-3"], E, grows, |lab| {
        let Joined { peer, link, family } = joined(lab)?;
        let mut other = Family::start(&Peer::new(&mut lab.rng), None);
        other.link(&peer, peer.id);
        lab.send(link, other.whole());
        lab.refuses(link, 0, Code::ACCOUNT_OTHER)?;
        holds(lab, family.account, &[peer.id, lab.id()], &[])
    })
    .needs(NEW),
    refused("account/entry/fields", &["ACCOUNT-ENTRY-1"], E, grows, |lab| {
        entry_is_refused(lab, Code::WIRE_VALUE, |_, body| {
            let cut = segue_proto::wire::Cut { tips: List::empty(), heads: List::empty() };
            body.cut = Some(cut).into();
        })
    })
    .needs(NEW),
    refused("account/entry/parents-not-ascending", &["ACCOUNT-ENTRY-1"], E, grows, |lab| {
        entry_is_refused(lab, Code::WIRE_VALUE, |family, body| {
            let mut parents = vec![family.account, family.last()];
            parents.sort_unstable_by(|a, b| b.cmp(a));
            body.parents = List::new(parents).unwrap_or_default();
        })
    })
    .needs(NEW),
    refused("account/entry/other-account", &["ACCOUNT-ENTRY-1"], E, grows, |lab| {
        entry_is_refused(lab, Code::ACCOUNT_OTHER, |_, body| body.account = Hash::new([5; 32]))
    })
    .needs(NEW),
    refused("account/entry/name-with-controls", &["WIRE-STRING-1"], E, grows, |lab| {
        entry_is_refused(lab, Code::WIRE_STRING, |_, body| {
            body.name = segue_proto::wire::Text::new("a\u{202e}b").unwrap_or_default();
        })
    })
    .needs(NEW),
    refused("account/entry/signed-by-another", &["WIRE-SIGN-1"], E, grows, |lab| {
        let Joined { peer, link, family } = joined(lab)?;
        let (thief, third) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
        let bad = thief.sign(&family.next(EntryKind::Link, &peer, third.id));
        lab.send(link, family.message(&[bad]));
        lab.refuses(link, 0, Code::AUTH_SIGNATURE)
    })
    .needs(NEW),
    refused("account/entry/signer-was-never-linked", &["ACCOUNT-ENTRY-3"], E, grows, |lab| {
        let Joined { link, family, peer } = joined(lab)?;
        let (stranger, third) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
        let bad = stranger.sign(&family.next(EntryKind::Link, &stranger, third.id));
        lab.send(link, family.message(&[bad]));
        lab.refuses(link, 0, Code::ACCOUNT_ENTRY)?;
        holds(lab, family.account, &[peer.id, lab.id()], &[])
    })
    .needs(NEW),
    works("account/entry/parent-comes-later", &["ACCOUNT-ENTRY-2"], E, |lab| {
        let Joined { peer, link, mut family } = joined(lab)?;
        let (third, fourth) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
        family.link(&peer, third.id);
        family.link(&peer, fourth.id);
        let (parent, child) = (family.entries.len() - 2, family.entries.len() - 1);
        lab.send(link, family.message(&family.entries[child..]));
        holds(lab, family.account, &[peer.id, lab.id()], &[])?;
        lab.send(link, family.message(&family.entries[parent..child]));
        holds(lab, family.account, &[peer.id, lab.id(), third.id, fourth.id], &[])
    })
    .needs(NEW),
    works("account/count/revoke-by-one-revoked-before", &["ACCOUNT-COUNT-1"], E, |lab| {
        counts(lab, |peer, other, family, _| {
            family.revoke(peer, other.id);
            family.revoke(other, peer.id);
            (vec![peer.id], vec![other.id])
        })
    })
    .needs(NEW),
    works("account/count/mutual-revocation", &["ACCOUNT-COUNT-1"], E, |lab| {
        counts(lab, |peer, other, family, third| {
            // Apart from each other, with a third device that revokes neither; the subject hears it from that one.
            family.link(peer, third.id);
            let behind = family.last();
            for (by, whom) in [(peer, other), (other, peer)] {
                let body = entry(EntryKind::Revoke, family.account, &[behind], by, whom.id);
                family.entries.push(by.sign(&body));
            }
            (vec![third.id], vec![peer.id, other.id])
        })
    })
    .needs(NEW),
    works("account/count/link-by-one-revoked-meanwhile", &["ACCOUNT-COUNT-2"], E, |lab| {
        counts(lab, |peer, other, family, third| {
            let behind = family.last();
            family.revoke(peer, other.id);
            let body = entry(EntryKind::Link, family.account, &[behind], other, third.id);
            family.entries.push(other.sign(&body));
            (vec![peer.id], vec![other.id])
        })
    })
    .needs(NEW),
    works("account/count/link-that-the-revoke-knew", &["ACCOUNT-COUNT-2"], E, |lab| {
        counts(lab, |peer, other, family, third| {
            family.link(other, third.id);
            family.revoke(peer, other.id);
            (vec![peer.id, third.id], vec![other.id])
        })
    })
    .needs(NEW),
    works("account/count/revoked-key-linked-again", &["ACCOUNT-COUNT-3"], E, |lab| {
        counts(lab, |peer, other, family, _| {
            family.revoke(peer, other.id);
            family.link(peer, other.id);
            (vec![peer.id], vec![other.id])
        })
    })
    .needs(NEW),
    works("account/count/recovery-key-revoked", &["ACCOUNT-COUNT-4"], E, recovery).needs(NEW),
];

/// A member's entry makes the roster grow.
fn grows(lab: &mut Lab) -> Done {
    let Joined { peer, link, mut family } = joined(lab)?;
    let third = Peer::new(&mut lab.rng);
    family.link(&peer, third.id);
    lab.send(link, family.whole());
    holds(lab, family.account, &[peer.id, lab.id(), third.id], &[])?;
    lab.alive(link)
}

/// An entry of a member is refused, if it is changed so before it is signed.
fn entry_is_refused(lab: &mut Lab, code: Code, change: impl FnOnce(&Family, &mut RosterEntry)) -> Done {
    let Joined { peer, link, family } = joined(lab)?;
    let third = Peer::new(&mut lab.rng);
    let mut body = family.next(EntryKind::Link, &peer, third.id);
    change(&family, &mut body);
    lab.send(link, family.message(&[peer.sign(&body)]));
    lab.refuses(link, 0, code)?;
    holds(lab, family.account, &[peer.id, lab.id()], &[])
}

/// The subject belongs to an account with `peer`, `other` and itself; then it hears of entries that make others members.
fn counts(
    lab: &mut Lab,
    history: impl FnOnce(&Peer, &Peer, &mut Family, &Peer) -> (Vec<DeviceId>, Vec<DeviceId>),
) -> Done {
    let (other, third) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
    let Joined { peer, link, mut family } = joined(lab)?;
    family.link(&peer, other.id);
    let (mut members, revoked) = history(&peer, &other, &mut family, &third);
    members.push(lab.id());
    lab.send(link, family.whole());
    holds(lab, family.account, &members, &revoked)
}

/// The recovery key is revoked, which counts for nothing, and links a device.
fn recovery(lab: &mut Lab) -> Done {
    let (key, third) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
    lab.boot()?;
    let (peer, link, secret) = met(lab)?;
    let mut family = Family::start(&peer, Some(&key));
    join(lab, &peer, link, &secret, &mut family)?;
    family.revoke(&peer, key.id);
    family.link(&key, third.id);
    lab.send(link, family.whole());
    holds(lab, family.account, &[peer.id, lab.id(), third.id], &[])
}

/// The subject revokes a device while another member, apart from it, links one: both hold the union.
fn union(lab: &mut Lab) -> Done {
    let (third, fourth) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
    let Joined { peer, link, mut family } = joined(lab)?;
    family.link(&peer, third.id);
    lab.send(link, family.whole());
    lab.link_down(link);
    lab.must(Command::Revoke { device: third.id })?;
    let behind = family.last();
    family.link(&peer, fourth.id);
    let link = lab.connect(&peer)?;
    lab.send(link, family.message(&[]));
    let own = take_entries(lab, link)?;
    let revoke = own.iter().any(|entry| entry.kind == 2 && entry.device == third.id && entry.parents.contains(&behind));
    ensure(revoke, "the subject's revoke, behind what it knew", format!("{own:?}"))?;
    lab.send(link, family.whole());
    holds(lab, family.account, &[peer.id, lab.id(), fourth.id], &[third.id])
}
