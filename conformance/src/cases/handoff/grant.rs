//! What the subject does after it has granted.

use segue_proto::data::State;
use segue_proto::limits::RESEND_MIN;
use segue_proto::wire::codec::decode;
use segue_proto::wire::{
    Cancel, Decline, Exts, Final, Grant, Hash, Held, Kind, Message, Record, Signed, Want, WantMsg,
};
use segue_proto::{Code, Event, Policy, Rules, SessionRole};
use segue_testkit::device::Command;

use crate::cases::scene::{Owning, TIMEOUT, learn, owning, take_grant};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Peer, head};
use crate::verdict::Fault;

const S: Part = Part::Source;

pub(super) const CASES: &[Case] = &[
    works("handoff/grant/after-the-sync", &["HO-GRANT-1"], S, |lab| {
        let own = owning(lab)?;
        lab.syncs = false;
        let want = own.want(lab);
        own.send_want(lab, 41, &want);
        lab.none(own.link, "GRANT before its record is durable", is_grant)?;
        lab.sync();
        take_grant(lab, own.link).map(|_| ())
    }),
    works("handoff/grant/not-after-a-crash-before-the-sync", &["HO-GRANT-1", "HO-GRANT-3"], S, |lab| {
        let own = owning(lab)?;
        lab.syncs = false;
        let want = own.want(lab);
        own.send_want(lab, 41, &want);
        lab.reboot()?;
        lab.syncs = true;
        lab.sync();
        lab.is(own.session, SessionRole::Primary)?;
        let link = lab.connect(&own.peer)?;
        lab.none(link, "GRANT", is_grant)
    }),
    works("handoff/grant/lost-then-resent", &["HO-GRANT-8"], S, |lab| {
        let (own, first) = granted(lab)?;
        lab.link_down(own.link);
        again(lab, &own, &first)
    }),
    works("handoff/grant/resent-after-a-restart", &["HO-GRANT-8", "HO-GRANT-1", "HO-GRANT-2"], S, |lab| {
        let (own, first) = granted(lab)?;
        lab.reboot()?;
        lab.is(own.session, SessionRole::Releasing)?;
        again(lab, &own, &first)
    }),
    works("handoff/grant/resent-on-a-timer", &["HO-GRANT-8"], S, |lab| {
        let (own, first) = granted(lab)?;
        lab.none(own.link, "GRANT before RESEND_MIN", is_grant)?;
        lab.pass(RESEND_MIN);
        same(&take_grant(lab, own.link)?, &first)?;
        lab.pass(2 * RESEND_MIN);
        same(&take_grant(lab, own.link)?, &first)
    }),
    works("handoff/grant/again-on-the-same-want", &["HO-GRANT-8"], S, |lab| {
        let own = owning(lab)?;
        let want = own.want(lab);
        own.send_want(lab, 41, &want);
        let first = take_grant(lab, own.link)?;
        own.send_want(lab, 43, &want);
        let second = take_grant(lab, own.link)?;
        ensure(second.req == 43, "the WANT's req in the GRANT", second.req)?;
        same_record(&second, &first)
    }),
    works("handoff/grant/no-primary-any-more", &["HO-GRANT-2", "HO-WRITE-1"], S, |lab| {
        let (own, _) = granted(lab)?;
        lab.must_not(Command::WriteExclusive { session: own.session, bytes: b"late".to_vec() })?;
        lab.is(own.session, SessionRole::Releasing)
    }),
    works("handoff/grant/not-given-back-by-a-deadline", &["HO-GRANT-2", "HO-TIME-2"], S, |lab| {
        let (own, _) = initiated(lab, 5_000_000)?;
        lab.pass(6_000_000);
        lab.event("the event handoff-pending", |event| matches!(event, Event::HandoffPending { .. }).then_some(()))?;
        lab.is(own.session, SessionRole::Releasing)?;
        lab.must_not(Command::WriteExclusive { session: own.session, bytes: b"late".to_vec() })
    }),
    refused("handoff/grant/one-record-a-parent", &["HO-GRANT-3", "HO-WANT-6"], S, super::want::granted, |lab| {
        let other = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(other.id);
        let own = owning(lab)?;
        let link = lab.connect(&other)?;
        let (book, data, _) = learn(lab, link, own.session)?;
        own.granted(lab)?;
        let held = Held { root: data.root, manifest: data.manifest };
        let want = other.want(&mut lab.rng, own.session, book.head(), Some(held));
        lab.send(link, WantMsg { req: 44, want: other.sign(&want), ext: Exts::empty() });
        lab.refuses(link, 44, Code::HO_NOT_OWNER)?;
        lab.none(link, "second GRANT", is_grant)
    }),
    works("handoff/grant/acknowledged", &["HO-HEAD-3", "HO-GRANT-8"], S, acknowledged),
    refused("handoff/grant/head-without-ack", &["HO-HEAD-3"], S, acknowledged, |lab| {
        let (own, grant) = granted(lab)?;
        lab.send(own.link, head(own.session, vec![grant.record.clone()], None));
        unsettled(lab, &own)
    }),
    refused("handoff/grant/head-of-a-third-device", &["HO-HEAD-3"], S, acknowledged, |lab| {
        let third = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(third.id);
        let (own, grant) = granted(lab)?;
        let link = lab.connect(&third)?;
        lab.send(link, head(own.session, vec![grant.record.clone()], None));
        unsettled(lab, &own)
    }),
    refused("handoff/grant/ack-by-another-key", &["HO-HEAD-3"], S, acknowledged, |lab| {
        let (own, grant) = granted(lab)?;
        let other = Peer::new(&mut lab.rng);
        let ack = other.ack(grant.record.id());
        lab.send(own.link, head(own.session, vec![grant.record.clone()], Some(ack)));
        unsettled(lab, &own)
    }),
    refused("handoff/grant/ack-of-the-parent", &["HO-HEAD-3"], S, acknowledged, |lab| {
        let (own, grant) = granted(lab)?;
        let mut ack = own.peer.ack(own.book.head());
        ack.record = grant.record.id();
        lab.send(own.link, head(own.session, vec![grant.record.clone()], Some(ack)));
        unsettled(lab, &own)
    }),
    works("handoff/grant/acknowledged-by-the-next-record", &["HO-HEAD-3", "HO-CHAIN-2"], S, |lab| {
        let (own, grant) = granted(lab)?;
        let mut book = own.book.clone();
        book.chain.push(grant.record.clone());
        let third = Peer::new(&mut lab.rng);
        let next = own.peer.sign(&book.next(&own.peer, third.id));
        lab.send(own.link, head(own.session, vec![grant.record.clone(), next.clone()], None));
        settled(lab, &own)?;
        let state = lab.known(own.session)?;
        ensure(state.head == next.id(), "the next record as the head", format!("{:?}", state.head))
    }),
    works("handoff/grant/taken-back", &["HO-GRANT-8", "HO-TAKE-1"], S, |lab| {
        let (own, _) = granted(lab)?;
        lab.must(Command::Takeover { session: own.session })?;
        lab.is(own.session, SessionRole::Primary)?;
        lab.skip(own.link);
        lab.pass(4 * RESEND_MIN);
        lab.none(own.link, "GRANT that was taken back", is_grant)?;
        let link = lab.connect(&own.peer)?;
        lab.pass(RESEND_MIN);
        lab.none(link, "GRANT that was taken back", is_grant)
    })
    .needs(&["takeover"]),
    works("handoff/grant/decline-comes-too-late", &["HO-DECLINE-1", "HO-GRANT-2"], S, |lab| {
        let (own, grant) = granted(lab)?;
        for subject in [grant.want.id(), grant.record.id()] {
            let code = Code::HO_DECLINED.into();
            lab.send(own.link, Decline { session: own.session, subject, code, ext: Exts::empty() });
        }
        unsettled(lab, &own)?;
        own.acknowledge(lab, &grant);
        settled(lab, &own)
    })
    .since(segue_proto::Generation::V1_7),
    works("handoff/grant/cancel-comes-too-late", &["HO-CANCEL-1", "HO-GRANT-2"], S, |lab| {
        let (own, grant) = granted(lab)?;
        let code = Code::HO_CANCELLED.into();
        lab.send(own.link, Cancel { session: own.session, subject: grant.want.id(), code, ext: Exts::empty() });
        unsettled(lab, &own)?;
        own.acknowledge(lab, &grant);
        settled(lab, &own)
    })
    .since(segue_proto::Generation::V1_7),
    works("handoff/grant/with-the-last-writes", &["HO-GRANT-10", "DATA-OP-5", "DATA-ROOT-1"], S, |lab| {
        let own = owning(lab)?;
        for value in ["cursor 2", "cursor 3"] {
            lab.must(Command::WriteExclusive { session: own.session, bytes: value.into() })?;
        }
        let want = own.want(lab);
        let want = own.send_want(lab, 41, &want);
        let grant = take_grant(lab, own.link)?;
        let whole = grant.ops.is_empty() && grant.parts.len() == 1;
        ensure(grant.ops.len() == 2 || whole, "two inline ops, or the part whole", grant.ops.len())?;
        check(lab, &own, &want, &grant, 41)
    }),
    works("handoff/grant/told-to-other-members", &["HO-HEAD-6"], S, |lab| {
        let member = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(member.id);
        let peer = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(peer.id);
        lab.boot()?;
        let members = vec![peer.id, member.id];
        let reply = lab.must(Command::Create { name: "notes".into(), members })?;
        let segue_testkit::device::Reply::Session(session) = reply else {
            return Err(Fault::fail("a session", format!("{reply:?}")));
        };
        let (link, other) = (lab.connect(&peer)?, lab.connect(&member)?);
        let (book, data, manifest) = learn(lab, link, session)?;
        let own = Owning { peer, link, session, book, data, manifest };
        let grant = own.granted(lab)?;
        own.acknowledge(lab, &grant);
        let told = crate::cases::scene::take_head(lab, other, session)?;
        let last = told.records.last().map(Signed::id);
        ensure(last == Some(grant.record.id()), "a HEAD that leads to the grant", format!("{last:?}"))
    }),
];

fn is_grant(message: &Message) -> bool {
    matches!(message, Message::Grant(_))
}

/// The peer pulled and was granted to.
fn granted(lab: &mut Lab) -> Done<(Owning, Grant)> {
    let own = owning(lab)?;
    let grant = own.granted(lab)?;
    Ok((own, grant))
}

/// The subject's user started the handoff, and the peer was granted to.
fn initiated(lab: &mut Lab, timeout_us: u64) -> Done<(Owning, Grant)> {
    lab.setup.pulls = Policy::Deny;
    let own = owning(lab)?;
    lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us })?;
    let grant = own.granted(lab)?;
    Ok((own, grant))
}

fn acknowledged(lab: &mut Lab) -> Done {
    let (own, grant) = initiated(lab, TIMEOUT)?;
    unsettled(lab, &own)?;
    own.acknowledge(lab, &grant);
    settled(lab, &own)?;
    let record = grant.record.id();
    lab.event("the event handoff-resolved with the record", |event| {
        matches!(event, Event::HandoffResolved { result: Ok(it), .. } if *it == record).then_some(())
    })
}

/// The GRANT still waits for its acknowledgement: it is sent again.
fn unsettled(lab: &mut Lab, own: &Owning) -> Done {
    lab.is(own.session, SessionRole::Releasing)?;
    lab.skip(own.link);
    lab.pass(RESEND_MIN);
    take_grant(lab, own.link).map(|_| ())
}

/// Nothing waits any more: the GRANT isn't sent again.
fn settled(lab: &mut Lab, own: &Owning) -> Done {
    lab.is(own.session, SessionRole::Secondary)?;
    lab.skip(own.link);
    lab.pass(4 * RESEND_MIN);
    lab.none(own.link, "GRANT after its acknowledgement", is_grant)
}

/// On a new link the same GRANT comes, without a request.
fn again(lab: &mut Lab, own: &Owning, first: &Grant) -> Done {
    let link = lab.connect(&own.peer)?;
    same(&take_grant(lab, link)?, first)
}

fn same(grant: &Grant, first: &Grant) -> Done {
    ensure(grant.req == 0, "req 0 in a GRANT that is sent again", grant.req)?;
    same_record(grant, first)
}

fn same_record(grant: &Grant, first: &Grant) -> Done {
    let same =
        grant.want == first.want && grant.record == first.record && grant.end == first.end && grant.ops == first.ops;
    let same = same && grant.parts == first.parts;
    ensure(same, "the same GRANT but for its req", segue_testkit::trace::describe(&grant.clone().into()))
}

/// A GRANT is what a target may act on.
pub(super) fn check(lab: &Lab, own: &Owning, want: &Signed<Want>, grant: &Grant, req: u32) -> Done {
    let wrong = |what: &str| Fault::fail("a GRANT that a target may act on", what.to_string());
    let me = lab.id();
    let record = grant.record.clone().prove(Rules::ALL, |record: &Record| record.signer);
    let record = record.map_err(|why| wrong(&format!("its record breaks {why:?}")))?;
    let end = grant.end.clone().prove(Rules::ALL, |_: &Final| me);
    let end = end.map_err(|why| wrong(&format!("its FINAL breaks {why:?}")))?;
    let (record, end) = (record.body(), end.body());
    let parent = own.book.last().ok_or_else(|| wrong("no parent"))?;
    ensure(grant.req == req, "the WANT's req", grant.req)?;
    ensure(grant.want == *want, "the WANT as it was sent", format!("{:?}", grant.want))?;
    let follows = record.parent == own.book.head() && record.n == parent.n + 1 && record.term == parent.term;
    ensure(follows, "a record that follows the head", format!("{record:?}"))?;
    let named = record.kind == Kind::Grant.number() && record.owner == own.peer.id && record.grantor == own.peer.id;
    ensure(named && record.signer == me, "a grant by the subject to the WANT's target", format!("{record:?}"))?;
    ensure(record.want == want.id() && record.session == own.session, "a record of this WANT", format!("{record:?}"))?;
    let held = end.manifest == own.data.manifest && end.parent == record.parent && end.session == own.session;
    ensure(held, "a FINAL of this parent with the manifest of have", format!("{end:?}"))?;
    let parts: Result<Vec<_>, _> = grant.parts.iter().map(|bytes| decode(Rules::ALL, bytes)).collect();
    let parts = parts.map_err(|why| wrong(&format!("its parts break {why:?}")))?;
    let state = State::from_manifest(own.manifest.clone());
    let after = state.stage_with(Rules::ALL, &grant.ops, &parts);
    let after = after.map_err(|why| wrong(&format!("what is inline breaks {why:?}")))?;
    let root = state.root_after(&after);
    ensure(root == end.root, "the root after the inline ops in FINAL", format!("{:?}", end.root))?;
    ensure(
        state.exclusive_root_after(&after) == end.exclusive,
        "the root of the exclusive parts in FINAL",
        format!("{:?}", end.exclusive),
    )?;
    ensure(end.root != Hash::ZERO, "a root", "none")
}
