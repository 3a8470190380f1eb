//! Linking: invitations, proofs, check codes, confirmations.

use segue_proto::limits::{CONFIRM_TIMEOUT, INVITE_TTL, KEEPALIVE};
use segue_proto::wire::{EntryKind, Exts, Hash, Have, LinkMsg, Message, Nonce, SessionId};
use segue_proto::{Code, LinkId, Role};
use segue_testkit::device::Command;

use super::scene::{
    Family, Joined, confirm, dialled_by, founded, greet, holds, invite, join, joined, link_msg, links, met, reads,
    resolved, scanned, take_link, take_link_ok,
};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure, opposite};
use crate::peer::Peer;

const E: Part = Part::End;
const NEW: &[&str] = &["invite", "confirm-link"];
const LINKED: &[&str] = &["create-account", "accept-link", "confirm-link"];

pub(super) const CASES: &[Case] = &[
    works("account/link/as-the-new-device", &["ACCOUNT-LINK-6", "ACCOUNT-LINK-1", "ACCOUNT-INVITE-3"], E, new)
        .needs(NEW),
    works("account/link/as-the-linked-device", &["ACCOUNT-LINK-3", "ACCOUNT-LINK-1", "ACCOUNT-ENTRY-4"], E, linked)
        .needs(LINKED),
    works("account/link/survives-a-restart", &["ACCOUNT-LINK-5"], E, |lab| {
        let Joined { peer, family, .. } = joined(lab)?;
        lab.reboot()?;
        holds(lab, family.account, &[peer.id, lab.id()], &[])?;
        let link = lab.connect(&peer)?;
        lab.alive(link)
    })
    .needs(NEW),
    works("account/link/ok-when-durable", &["ACCOUNT-LINK-5"], E, |lab| {
        lab.boot()?;
        let (peer, link, secret) = met(lab)?;
        confirm(lab, &peer)?;
        take_link(lab, &peer, link, &secret, false, true)?;
        let mut family = Family::start(&peer, None);
        family.link(&peer, lab.id());
        lab.syncs = false;
        lab.send(link, family.whole());
        lab.none(link, "LINK_OK before the sync", |message| matches!(message, Message::LinkOk(_)))?;
        lab.syncs = true;
        lab.sync();
        take_link_ok(lab, link, family.account)
    })
    .needs(NEW),
    refused("account/invite/used-twice", &["ACCOUNT-INVITE-1"], E, new, |lab| {
        lab.setup.accept_unknown = true;
        lab.boot()?;
        let (_, _, secret) = met(lab)?;
        second(lab, &secret)
    })
    .needs(NEW),
    refused("account/invite/used-twice-after-linking", &["ACCOUNT-INVITE-1"], E, new, |lab| {
        lab.setup.accept_unknown = true;
        lab.boot()?;
        let (peer, link, secret) = met(lab)?;
        join(lab, &peer, link, &secret, &mut Family::start(&peer, None))?;
        second(lab, &secret)
    })
    .needs(NEW),
    refused("account/invite/used-lets-nobody-in", &["ACCOUNT-LINK-2", "LINK-AUTH-3"], E, new, |lab| {
        lab.boot()?;
        met(lab)?;
        stranger_stays_out(lab)
    })
    .needs(NEW),
    refused("account/invite/at-301-seconds", &["ACCOUNT-INVITE-2"], E, just_in_time, |lab| {
        lab.setup.accept_unknown = true;
        lab.boot()?;
        let invite = invite(lab)?;
        lab.pass(INVITE_TTL + 1_000_000);
        second(lab, &invite.secret)
    })
    .needs(NEW),
    refused("account/invite/expired-lets-nobody-in", &["ACCOUNT-LINK-2", "LINK-AUTH-3"], E, just_in_time, |lab| {
        lab.boot()?;
        invite(lab)?;
        lab.pass(INVITE_TTL + 1_000_000);
        stranger_stays_out(lab)
    })
    .needs(NEW),
    refused("account/invite/expires-under-a-link", &["ACCOUNT-LINK-2", "ACCOUNT-INVITE-2"], E, just_in_time, |lab| {
        lab.boot()?;
        invite(lab)?;
        let peer = Peer::new(&mut lab.rng);
        let link = dialled_by(lab, &peer)?;
        keep(lab, link, INVITE_TTL - KEEPALIVE)?;
        lab.pass(KEEPALIVE);
        lab.ends_with(link, Code::LINK_EXPIRED)
    })
    .needs(NEW),
    refused("account/invite/older", &["ACCOUNT-INVITE-1", "ACCOUNT-LINK-1"], E, new, |lab| {
        lab.boot()?;
        let old = invite(lab)?;
        invite(lab)?;
        proves(lab, |lab, peer, link| link_msg(lab, peer, link, &old.secret, false, false))
    })
    .needs(NEW),
    refused("account/invite/after-a-restart", &["ACCOUNT-INVITE-2", "ACCOUNT-LINK-2"], E, new, |lab| {
        lab.boot()?;
        invite(lab)?;
        lab.reboot()?;
        stranger_stays_out(lab)
    })
    .needs(NEW),
    refused("account/link/other-channel", &["ACCOUNT-LINK-1"], E, unharmed, |lab| {
        new_refuses(lab, |lab, peer, _, secret| {
            let proof = segue_proto::account::link_proof(false, secret, &[9; 32], &peer.id, &lab.id());
            proof_only(proof)
        })
    })
    .needs(NEW),
    refused("account/link/other-secret", &["ACCOUNT-LINK-1"], E, unharmed, |lab| {
        new_refuses(lab, |lab, peer, link, _| link_msg(lab, peer, link, &Nonce::new([9; 16]), false, false))
    })
    .needs(NEW),
    refused("account/link/other-scanner", &["ACCOUNT-LINK-1"], E, unharmed, |lab| {
        new_refuses(lab, |lab, _, link, secret| {
            let scanner = Peer::new(&mut segue_testkit::rng::Rng::new(9, "scanner"));
            link_msg(lab, &scanner, link, secret, false, false)
        })
    })
    .needs(NEW),
    refused("account/link/other-side", &["ACCOUNT-LINK-1"], E, unharmed, |lab| {
        new_refuses(lab, |lab, peer, link, secret| {
            let (binding, _) = lab.channel(link);
            proof_only(segue_proto::account::link_proof(true, secret, &binding, &peer.id, &lab.id()))
        })
    })
    .needs(NEW),
    refused("account/link/new-device-knows-no-secret", &["ACCOUNT-LINK-1"], E, linked, |lab| {
        founded(lab)?;
        let (peer, secret) = reads(lab)?;
        let link = lab.connect_as(&peer, Role::Initiator)?;
        take_link(lab, &peer, link, &secret, true, false)?;
        lab.send(link, proof_only(Hash::new([8; 32])));
        lab.ends_with(link, Code::LINK_CHANNEL)
    })
    .needs(LINKED),
    refused("account/link/another-device-answers", &["LINK-AUTH-4", "ACCOUNT-LINK-2"], E, linked, |lab| {
        founded(lab)?;
        let (peer, _) = reads(lab)?;
        let other = Peer::new(&mut lab.rng);
        let link = lab.link_up(Role::Initiator, Some(peer.id));
        lab.prove(link)?;
        says(lab, &other, link);
        lab.ends_with(link, Code::AUTH_FAILED)
    })
    .needs(LINKED),
    refused("account/link/only-linking", &["ACCOUNT-LINK-2"], E, new, |lab| {
        lab.boot()?;
        invite(lab)?;
        let peer = Peer::new(&mut lab.rng);
        let link = dialled_by(lab, &peer)?;
        let session = SessionId::new([3; 16]);
        lab.send(link, Have { req: 1, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() });
        lab.ends_with(link, Code::WIRE_STATE)
    })
    .needs(NEW),
    refused("account/confirm/signs-nothing-before-its-user", &["ACCOUNT-LINK-3"], E, linked, |lab| {
        let (peer, link, secret, account) = scanned(lab)?;
        let answer = link_msg(lab, &peer, link, &secret, true, true);
        lab.send(link, answer);
        signs_nothing(lab, link, account)
    })
    .needs(LINKED),
    refused("account/confirm/signs-nothing-before-the-peer", &["ACCOUNT-LINK-3"], E, linked, |lab| {
        let (peer, link, secret, account) = scanned(lab)?;
        confirm(lab, &peer)?;
        take_link(lab, &peer, link, &secret, true, true)?;
        signs_nothing(lab, link, account)
    })
    .needs(LINKED),
    refused("account/confirm/takes-nothing-before-its-user", &["ACCOUNT-LINK-4"], E, new, |lab| {
        lab.boot()?;
        let (peer, link, _) = met(lab)?;
        let mut family = Family::start(&peer, None);
        family.link(&peer, lab.id());
        lab.send(link, family.whole());
        lab.ends_with(link, Code::LINK_DECLINED)?;
        joins_nothing(lab)
    })
    .needs(NEW),
    refused("account/confirm/new-device-says-no", &["ACCOUNT-LINK-4"], E, new, |lab| {
        lab.boot()?;
        let (peer, link, _) = met(lab)?;
        lab.must(Command::ConfirmLink { device: peer.id, yes: false })?;
        lab.ends_with(link, Code::LINK_DECLINED)?;
        resolved(lab, &peer, None)?;
        joins_nothing(lab)
    })
    .needs(NEW),
    refused("account/confirm/linked-device-says-no", &["ACCOUNT-LINK-3"], E, linked, |lab| {
        let (peer, link, _, account) = scanned(lab)?;
        lab.must(Command::ConfirmLink { device: peer.id, yes: false })?;
        lab.ends_with(link, Code::LINK_DECLINED)?;
        holds(lab, account, &[lab.id()], &[])
    })
    .needs(LINKED),
    refused("account/confirm/too-late", &["ACCOUNT-LINK-7"], E, new, |lab| {
        lab.boot()?;
        let (peer, link, _) = met(lab)?;
        keep(lab, link, CONFIRM_TIMEOUT - KEEPALIVE)?;
        lab.pass(KEEPALIVE);
        lab.ends_with(link, Code::LINK_EXPIRED)?;
        lab.must_not(Command::ConfirmLink { device: peer.id, yes: true })
    })
    .needs(NEW),
    refused("account/join/without-the-new-device", &["ACCOUNT-LINK-6"], E, new, |lab| {
        takes_not(lab, |peer, _| Family::start(peer, None), Code::ACCOUNT_ENTRY)
    })
    .needs(NEW),
    refused("account/join/without-the-linked-device", &["ACCOUNT-LINK-6"], E, new, |lab| {
        let other = Peer::new(&mut lab.rng);
        takes_not(
            lab,
            move |_, me| {
                let mut family = Family::start(&other, None);
                family.link(&other, me);
                family
            },
            Code::ACCOUNT_ENTRY,
        )
    })
    .needs(NEW),
    refused("account/join/unsigned", &["WIRE-SIGN-1", "ACCOUNT-LINK-6"], E, new, |lab| {
        let thief = Peer::new(&mut lab.rng);
        takes_not(
            lab,
            move |peer, me| {
                let mut family = Family::start(peer, None);
                let body = family.next(EntryKind::Link, peer, me);
                family.entries.push(thief.sign(&body));
                family
            },
            Code::AUTH_SIGNATURE,
        )
    })
    .needs(NEW),
    refused("account/join/has-an-account", &["ACCOUNT-LINK-6"], E, new, |lab| {
        founded(lab)?;
        lab.must_not(Command::Invite { name: "again".into() })
    })
    .needs(&["invite", "create-account"]),
];

fn new(lab: &mut Lab) -> Done {
    let Joined { link, .. } = joined(lab)?;
    lab.alive(link)
}

fn linked(lab: &mut Lab) -> Done {
    let (peer, link, family) = links(lab)?;
    holds(lab, family.account, &[peer.id, lab.id()], &[])?;
    lab.alive(link)
}

/// The last second of an invitation.
fn just_in_time(lab: &mut Lab) -> Done {
    lab.boot()?;
    let invite = invite(lab)?;
    lab.pass(INVITE_TTL - 1_000_000);
    let peer = Peer::new(&mut lab.rng);
    let link = dialled_by(lab, &peer)?;
    greet(lab, &peer, link, &invite.secret)?;
    join(lab, &peer, link, &invite.secret, &mut Family::start(&peer, None))
}

/// Somebody whose proof is wrong doesn't use the invitation up.
fn unharmed(lab: &mut Lab) -> Done {
    lab.boot()?;
    let invite = invite(lab)?;
    let foe = Peer::new(&mut lab.rng);
    let link = dialled_by(lab, &foe)?;
    lab.send(link, proof_only(Hash::new([8; 32])));
    lab.ends_with(link, Code::LINK_CHANNEL)?;
    let peer = Peer::new(&mut lab.rng);
    let link = dialled_by(lab, &peer)?;
    greet(lab, &peer, link, &invite.secret)?;
    join(lab, &peer, link, &invite.secret, &mut Family::start(&peer, None))
}

/// A second device presents the secret of an invitation that lives no more.
fn second(lab: &mut Lab, secret: &Nonce) -> Done {
    let peer = Peer::new(&mut lab.rng);
    let link = dialled_by(lab, &peer)?;
    let message = link_msg(lab, &peer, link, secret, false, false);
    lab.send(link, message);
    lab.ends_with(link, Code::LINK_EXPIRED)
}

fn stranger_stays_out(lab: &mut Lab) -> Done {
    let peer = Peer::new(&mut lab.rng);
    let link = lab.link_up(Role::Responder, None);
    lab.prove(link)?;
    says(lab, &peer, link);
    lab.ends_with(link, Code::AUTH_FAILED)
}

/// A peer says HELLO and AUTH.
fn says(lab: &mut Lab, peer: &Peer, link: LinkId) {
    let (binding, role) = lab.channel(link);
    let hello = peer.hello();
    let auth = peer.auth(opposite(role), &hello, &binding);
    lab.send(link, hello);
    lab.send(link, auth);
}

/// Lets time pass while the peer gives signs of life.
fn keep(lab: &mut Lab, link: LinkId, micros: u64) -> Done {
    for _ in 0..micros / KEEPALIVE {
        lab.pass(KEEPALIVE - 1_000_000);
        lab.alive(link)?;
        lab.pass(1_000_000);
    }
    lab.alive(link)
}

fn proof_only(proof: Hash) -> LinkMsg {
    LinkMsg { proof, name: Default::default(), confirmed: false, ext: Exts::empty() }
}

/// The subject, which invited, refuses this LINK.
fn new_refuses(lab: &mut Lab, message: impl FnOnce(&Lab, &Peer, LinkId, &Nonce) -> LinkMsg) -> Done {
    lab.boot()?;
    let invite = invite(lab)?;
    proves(lab, |lab, peer, link| message(lab, peer, link, &invite.secret))
}

fn proves(lab: &mut Lab, message: impl FnOnce(&Lab, &Peer, LinkId) -> LinkMsg) -> Done {
    let peer = Peer::new(&mut lab.rng);
    let link = dialled_by(lab, &peer)?;
    let message = message(lab, &peer, link);
    lab.send(link, message);
    lab.ends_with(link, Code::LINK_CHANNEL)?;
    joins_nothing(lab)
}

fn signs_nothing(lab: &mut Lab, link: LinkId, account: Hash) -> Done {
    lab.none(link, "ROSTER", |message| matches!(message, Message::Roster(_)))?;
    holds(lab, account, &[lab.id()], &[])
}

fn joins_nothing(lab: &mut Lab) -> Done {
    let account = lab.account();
    ensure(account.is_none(), "a subject without an account", format!("{account:?}"))
}

/// The subject's user confirms, and the subject refuses the roster that comes.
fn takes_not(lab: &mut Lab, family: impl FnOnce(&Peer, segue_proto::wire::DeviceId) -> Family, code: Code) -> Done {
    lab.boot()?;
    let (peer, link, secret) = met(lab)?;
    confirm(lab, &peer)?;
    take_link(lab, &peer, link, &secret, false, true)?;
    let family = family(&peer, lab.id());
    lab.send(link, family.whole());
    lab.ends_with(link, code)?;
    joins_nothing(lab)
}
