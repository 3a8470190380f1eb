//! Revocation: links, requests, owners, takeovers.

use segue_proto::wire::{Cut, CutHead, EntryKind, Get, Held, List, Message, SessionId, Signed, WantMsg};
use segue_proto::{Code, Event, LinkId, Policy, Role, SessionRole, Token};
use segue_testkit::device::Command;

use super::scene::{Family, founded, holds, links, links_another};
use crate::cases::scene::{TIMEOUT, create, learn, take_grant};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure, opposite};
use crate::peer::{Book, Peer, head};
use crate::verdict::Fault;

const E: Part = Part::End;
const S: Part = Part::Source;
const ALL: &[&str] = &["create-account", "accept-link", "confirm-link", "revoke"];

pub(super) const CASES: &[Case] = &[
    works("account/trust/member-reads-what-was-there-before", &["ACCOUNT-TRUST-1"], S, |lab| {
        let account = founded(lab)?;
        let other = Peer::new(&mut lab.rng);
        let session = create(lab, &other)?;
        let (_, link, _) = links_another(lab, account)?;
        learn(lab, link, session).map(|_| ())
    })
    .needs(ALL),
    works("account/trust/member-of-what-is-made-later", &["ACCOUNT-TRUST-1"], S, |lab| {
        let (peer, link, _) = links(lab)?;
        let other = Peer::new(&mut lab.rng);
        let session = create(lab, &other)?;
        let (book, _, _) = learn(lab, link, session)?;
        let genesis = book.last().and_then(|genesis| genesis.genesis.get().cloned());
        let listed = genesis.is_some_and(|genesis| genesis.members.contains(&peer.id));
        ensure(listed, "a genesis that lists the member", "one that doesn't")
    })
    .needs(ALL),
    refused("account/revoke/reconnects", &["ACCOUNT-REVOKE-1", "LINK-AUTH-6"], E, member_returns, |lab| {
        let (peer, _, _) = links(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        stays_out(lab, &peer)
    })
    .needs(ALL),
    refused("account/revoke/reconnects-after-a-restart", &["ACCOUNT-REVOKE-1"], E, member_returns, |lab| {
        let (peer, _, _) = links(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        lab.reboot()?;
        stays_out(lab, &peer)
    })
    .needs(ALL),
    refused("account/revoke/though-vouched-for", &["ACCOUNT-REVOKE-1"], E, member_returns, |lab| {
        lab.setup.accept_unknown = true;
        let (peer, _, _) = links(lab)?;
        lab.must(Command::Trust { device: peer.id })?;
        create(lab, &peer)?;
        lab.must(Command::Revoke { device: peer.id })?;
        stays_out(lab, &peer)
    })
    .needs(ALL),
    refused("account/revoke/is-dialled", &["ACCOUNT-REVOKE-1"], E, member_returns, |lab| {
        let (peer, _, _) = links(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        let link = lab.link_up(Role::Initiator, Some(peer.id));
        lab.prove(link)?;
        says(lab, &peer, link);
        lab.ends_with(link, Code::AUTH_FAILED)
    })
    .needs(ALL),
    refused("account/revoke/live-link-ends", &["ACCOUNT-REVOKE-2"], E, member_returns, |lab| {
        let (peer, link, family) = links(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        lab.ends_with(link, Code::AUTH_REVOKED)?;
        holds(lab, family.account, &[lab.id()], &[peer.id])
    })
    .needs(ALL),
    refused(
        "account/revoke/live-link-ends-when-told",
        &["ACCOUNT-REVOKE-2", "ACCOUNT-ROSTER-2"],
        E,
        member_returns,
        |lab| {
            let (peer, link, family) = links(lab)?;
            let (other, second, entries) = links_another(lab, family.account)?;
            let mut heard = Family { account: family.account, entries };
            // The second device revokes the first; the subject learns of it by ROSTER.
            let last = last_of(&heard);
            let body = super::scene::entry(EntryKind::Revoke, heard.account, &[last], &other, peer.id);
            heard.entries.push(other.sign(&body));
            lab.send(second, heard.whole());
            lab.ends_with(link, Code::AUTH_REVOKED)?;
            lab.alive(second)
        },
    )
    .needs(ALL),
    refused("account/revoke/want-that-waited", &["ACCOUNT-REVOKE-3"], S, granted, |lab| {
        let (peer, _, session, token) = asked(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        lab.must_not(Command::Accept { token })?;
        lab.is(session, SessionRole::Primary)
    })
    .since(segue_proto::Generation::V2)
    .needs(ALL),
    refused("account/revoke/asks-a-want-later", &["ACCOUNT-REVOKE-2", "ACCOUNT-REVOKE-3"], S, granted_at_once, |lab| {
        let (peer, link, session, book, data) = reader(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        want(lab, &peer, link, session, &book, &data);
        lab.none(link, "GRANT", |message| matches!(message, Message::Grant(_)))?;
        lab.is(session, SessionRole::Primary)
    })
    .needs(ALL),
    refused("account/revoke/mid-transfer", &["ACCOUNT-REVOKE-2", "ACCOUNT-REVOKE-3"], S, granted_at_once, |lab| {
        let (peer, link, session, _, data) = reader(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        let ask = Get {
            req: 77,
            session,
            blob: data.manifest,
            len: data.manifest_len.into(),
            ext: segue_proto::wire::Exts::empty(),
        };
        lab.send(link, ask);
        lab.settle();
        ensure(lab.streams(link) == 0, "no bytes for a revoked device", lab.streams(link))?;
        lab.ends_with(link, Code::AUTH_REVOKED)
    })
    .needs(ALL),
    refused("account/revoke/is-handed-nothing", &["ACCOUNT-REVOKE-3"], S, granted_at_once, |lab| {
        let (peer, _, session, _, _) = reader(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        lab.must_not(Command::Initiate { session, to: peer.id, timeout_us: TIMEOUT })?;
        lab.is(session, SessionRole::Primary)
    })
    .needs(ALL),
    works("account/revoke/owner-is-taken-over", &["ACCOUNT-REVOKE-4"], S, |lab| {
        let (peer, link, session, _, _) = owned_by_peer(lab)?;
        lab.must(Command::Revoke { device: peer.id })?;
        lab.ends_with(link, Code::AUTH_REVOKED)?;
        lab.is(session, SessionRole::Primary)?;
        let state = lab.known(session)?;
        ensure(state.term == 1 && state.owner == Some(lab.id()), "a term of the subject's", format!("{state:?}"))
    })
    .needs(ALL),
    works("account/revoke/owner-is-reported", &["ACCOUNT-REVOKE-4"], S, |lab| {
        let (peer, _, session, family, _) = owned_by_peer(lab)?;
        let (other, second, entries) = links_another(lab, family.account)?;
        let mut heard = Family { account: family.account, entries };
        let last = last_of(&heard);
        let body = super::scene::entry(EntryKind::Revoke, heard.account, &[last], &other, peer.id);
        heard.entries.push(other.sign(&body));
        lab.send(second, heard.whole());
        lab.event("the event owner-revoked", |event| match event {
            Event::OwnerRevoked { session: it, owner } if *it == session && *owner == peer.id => Some(()),
            _ => None,
        })?;
        // It was another device that revoked; this one's user decides.
        lab.is(session, SessionRole::Secondary)
    })
    .needs(ALL),
    refused("account/revoke/takeover-outside-the-cut", &["ACCOUNT-REVOKE-5"], E, takeover_inside, |lab| {
        takes_over(lab, false)
    })
    .needs(ALL),
    works("account/revoke/takeover-that-was-overtaken", &["ACCOUNT-REVOKE-5"], E, |lab| {
        let Taken { session, book, taken, other, second, .. } = revoked_taker(lab, false)?;
        let mut behind = book.clone();
        behind.chain.push(taken.clone());
        let answer = other.sign(&behind.takeover(&other));
        lab.send(second, head(session, vec![taken, answer.clone()], None));
        let state = lab.known(session)?;
        ensure(state.head == answer.id(), "the head by a device that isn't revoked", format!("{state:?}"))
    })
    .needs(ALL),
];

/// A member comes back, and is let in.
fn member_returns(lab: &mut Lab) -> Done {
    let (peer, link, _) = links(lab)?;
    lab.link_down(link);
    lab.reboot()?;
    let link = lab.connect(&peer)?;
    lab.alive(link)
}

fn stays_out(lab: &mut Lab, peer: &Peer) -> Done {
    let link = lab.link_up(Role::Responder, None);
    lab.prove(link)?;
    says(lab, peer, link);
    lab.ends_with(link, Code::AUTH_FAILED)
}

fn says(lab: &mut Lab, peer: &Peer, link: LinkId) {
    let (binding, role) = lab.channel(link);
    let hello = peer.hello();
    let auth = peer.auth(opposite(role), &hello, &binding);
    lab.send(link, hello);
    lab.send(link, auth);
}

/// The entry that no other of these cites.
pub(super) fn last_of(family: &Family) -> segue_proto::wire::Hash {
    let bodies: Vec<_> = family.entries.iter().filter_map(|entry| entry.open(segue_proto::Rules::ALL).ok()).collect();
    let cited = |id: &segue_proto::wire::Hash| bodies.iter().any(|body| body.parents.contains(id));
    family.entries.iter().map(Signed::id).find(|id| !cited(id)).unwrap_or(family.account)
}

/// The subject owns a session that a device of its account has read.
fn reader(lab: &mut Lab) -> Done<(Peer, LinkId, SessionId, Book, segue_proto::wire::Announced)> {
    let (peer, link, _) = links(lab)?;
    let (session, book, data) = read(lab, &peer, link)?;
    Ok((peer, link, session, book, data))
}

fn read(lab: &mut Lab, peer: &Peer, link: LinkId) -> Done<(SessionId, Book, segue_proto::wire::Announced)> {
    let session = create(lab, peer)?;
    lab.must(Command::WriteExclusive { session, bytes: b"cursor 1".to_vec() })?;
    let (book, data, _) = learn(lab, link, session)?;
    Ok((session, book, data))
}

fn want(
    lab: &mut Lab,
    peer: &Peer,
    link: LinkId,
    session: SessionId,
    book: &Book,
    data: &segue_proto::wire::Announced,
) -> Signed<segue_proto::wire::Want> {
    let held = Held { root: data.root, manifest: data.manifest };
    let body = peer.want(&mut lab.rng, session, book.head(), Some(held));
    let signed = peer.sign(&body);
    lab.send(link, WantMsg { req: 41, want: signed.clone(), ext: segue_proto::wire::Exts::empty() });
    signed
}

/// A WANT of a device of the account waits for the subject's user.
fn asked(lab: &mut Lab) -> Done<(Peer, LinkId, SessionId, Token)> {
    lab.setup.pulls = Policy::Ask;
    let (peer, link, session, book, data) = reader(lab)?;
    want(lab, &peer, link, session, &book, &data);
    let token = lab.event("the event request-handoff", |event| match event {
        Event::RequestHandoff { token, by, .. } if *by == peer.id => Some(*token),
        _ => None,
    })?;
    Ok((peer, link, session, token))
}

fn granted(lab: &mut Lab) -> Done {
    let (_, link, _, token) = asked(lab)?;
    lab.must(Command::Accept { token })?;
    take_grant(lab, link).map(|_| ())
}

fn granted_at_once(lab: &mut Lab) -> Done {
    let (peer, link, session, book, data) = reader(lab)?;
    want(lab, &peer, link, session, &book, &data);
    take_grant(lab, link).map(|_| ())
}

/// The subject handed a session to a device of its account, which acknowledged.
fn owned_by_peer(lab: &mut Lab) -> Done<(Peer, LinkId, SessionId, Family, Book)> {
    let (peer, link, family) = links(lab)?;
    let (session, mut book, data) = read(lab, &peer, link)?;
    want(lab, &peer, link, session, &book, &data);
    let grant = take_grant(lab, link)?;
    let ack = peer.ack(grant.record.id());
    lab.send(link, head(session, vec![grant.record.clone()], Some(ack)));
    lab.is(session, SessionRole::Secondary)?;
    book.chain.push(grant.record);
    Ok((peer, link, session, family, book))
}

/// A session of the subject's that a device took over, which another device of the account has revoked.
struct Taken {
    session: SessionId,
    book: Book,
    taken: Signed<segue_proto::wire::Record>,
    other: Peer,
    second: LinkId,
}

fn revoked_taker(lab: &mut Lab, in_cut: bool) -> Done<Taken> {
    let (peer, link, family) = links(lab)?;
    let (other, second, entries) = links_another(lab, family.account)?;
    let (session, book, _) = read(lab, &peer, link)?;
    let taken = peer.sign(&book.takeover(&peer));
    let mut heard = Family { account: family.account, entries };
    let last = last_of(&heard);
    let mut body = super::scene::entry(EntryKind::Revoke, heard.account, &[last], &other, peer.id);
    if in_cut {
        let heads = List::new(vec![CutHead { session, record: taken.id() }]).unwrap_or_default();
        body.cut = Some(Cut { tips: List::empty(), heads }).into();
    }
    heard.entries.push(other.sign(&body));
    lab.send(second, heard.whole());
    Ok(Taken { session, book, taken, other, second })
}

/// A third device passes the takeover on.
fn takes_over(lab: &mut Lab, in_cut: bool) -> Done {
    let Taken { session, book, taken, second, .. } = revoked_taker(lab, in_cut)?;
    lab.send(second, head(session, vec![taken.clone()], None));
    let state = lab.known(session)?;
    let right = if in_cut { taken.id() } else { book.head() };
    if state.head == right {
        return Ok(());
    }
    Err(Fault::fail(format!("the head {right:?}"), format!("{:?}", state.head)))
}

fn takeover_inside(lab: &mut Lab) -> Done {
    takes_over(lab, true)
}
