//! A GRANT arrives at the subject, which wants the session.

use segue_proto::wire::{Exts, Final, Hash, Hlc, List, Message, Nonce, Op, PartId, Record, SessionId, Tip, Want};
use segue_proto::{Code, Event, Generation, SessionRole};
use segue_testkit::device::Command;

use crate::cases::scene::{
    TIMEOUT, Wanting, acknowledged, invited, owning, serve_all, serve_until_want, take_head, wanting,
};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Draft, Peer, tampered, with_body};

const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/receive/pulled", &["HO-GRANT-11", "HO-GRANT-6", "HO-GRANT-7"], T, accepts),
    works("handoff/receive/offered", &["HO-OFFER-5", "HO-GRANT-11"], T, |lab| invited(lab)?.accept(lab)?.succeeds(lab))
        .since(Generation::V1_7),
    works("handoff/receive/with-the-last-writes", &["DATA-OP-4", "DATA-ROOT-1", "HO-GRANT-10"], T, with_ops),
    works("handoff/receive/resolved-when-durable", &["HO-HEAD-4"], T, |lab| {
        let scene = wanting(lab)?;
        lab.syncs = false;
        scene.grant(lab);
        lab.is(scene.book.id, SessionRole::Primary)?;
        lab.none(scene.link, "acknowledgement before the sync", |message| matches!(message, Message::Head(_)))?;
        lab.sync();
        acknowledged(lab, scene.link, scene.book.id, scene.draft.signed_record().id())
    }),
    works("handoff/receive/again", &["HO-GRANT-9"], T, |lab| {
        let scene = wanting(lab)?;
        scene.succeeds(lab)?;
        let mut grant = scene.draft.seal();
        grant.req = 0;
        lab.send(scene.link, grant);
        acknowledged(lab, scene.link, scene.book.id, scene.draft.signed_record().id())?;
        lab.no_event("second activation", |event| matches!(event, Event::Activated { .. }))
    }),
    works("handoff/receive/again-after-writes", &["HO-GRANT-9", "HO-WRITE-1"], T, |lab| {
        let scene = wanting(lab)?;
        scene.succeeds(lab)?;
        lab.must(Command::WriteExclusive { session: scene.book.id, bytes: b"mine".to_vec() })?;
        let before = lab.known(scene.book.id)?;
        lab.send(scene.link, scene.draft.seal());
        lab.settle();
        let after = lab.known(scene.book.id)?;
        ensure(before == after, "a session that a GRANT sent again doesn't change", format!("{after:?}"))
    }),
    works("handoff/receive/survives-a-restart", &["HO-HEAD-4", "HO-HEAD-1"], T, |lab| {
        let scene = wanting(lab)?;
        scene.succeeds(lab)?;
        lab.reboot()?;
        lab.is(scene.book.id, SessionRole::Primary)?;
        lab.must(Command::WriteExclusive { session: scene.book.id, bytes: b"mine".to_vec() }).map(|_| ())
    }),
    works("handoff/receive/lost-in-a-crash-and-sent-again", &["HO-HEAD-4", "HO-GRANT-9"], T, |lab| {
        let scene = wanting(lab)?;
        lab.syncs = false;
        scene.grant(lab);
        lab.reboot()?;
        lab.syncs = true;
        lab.is(scene.book.id, SessionRole::Secondary)?;
        let link = lab.connect(&scene.peer)?;
        let scene = Wanting { link, ..scene };
        scene.succeeds(lab)
    }),
    refused("handoff/receive/for-another-want", &["HO-GRANT-5"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.record.want = Hash::new([9; 32]), Code::HO_NO_CONSENT)
    }),
    refused("handoff/receive/want-of-another-device", &["HO-GRANT-5"], T, accepts, |lab| {
        let other = |draft: &mut Draft, other: &Peer| {
            if let Ok(want) = draft.want.open(segue_proto::Rules::ALL) {
                draft.want = other.sign(&Want { target: other.id, ..want });
                draft.record.want = draft.want.id();
            }
        };
        refuses(lab, other, Code::HO_NO_CONSENT)
    }),
    refused("handoff/receive/to-another-owner", &["HO-GRANT-5"], T, accepts, |lab| {
        let other = |draft: &mut Draft, other: &Peer| (draft.record.owner, draft.record.grantor) = (other.id, other.id);
        refuses(lab, other, Code::HO_NO_CONSENT)
    }),
    refused("handoff/receive/unsigned-want", &["WIRE-SIGN-1", "HO-GRANT-5"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.want = tampered(&draft.want), Code::AUTH_SIGNATURE)
    }),
    refused("handoff/receive/unsigned-record", &["WIRE-SIGN-1"], T, accepts, |lab| {
        let scene = wanting(lab)?;
        let mut grant = scene.draft.seal();
        grant.record = tampered(&grant.record);
        lab.send(scene.link, grant);
        lab.refuses(scene.link, scene.draft.req, Code::AUTH_SIGNATURE)?;
        lab.is(scene.book.id, SessionRole::Secondary)
    }),
    refused("handoff/receive/signed-by-another", &["HO-CHAIN-2"], T, accepts, |lab| {
        let other = |draft: &mut Draft, other: &Peer| {
            draft.signer = other.clone();
            draft.record.signer = other.id;
        };
        refuses(lab, other, Code::HO_CHAIN)
    }),
    refused("handoff/receive/unknown-parent", &["HO-CHAIN-1"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.record.parent = Hash::new([9; 32]), Code::HO_CHAIN)
    }),
    refused("handoff/receive/n-skips", &["HO-CHAIN-3"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.record.n += 1, Code::HO_CHAIN)
    }),
    refused("handoff/receive/n-stands", &["HO-CHAIN-3"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.record.n -= 1, Code::HO_CHAIN)
    }),
    refused("handoff/receive/term-rises", &["HO-CHAIN-4"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.record.term += 1, Code::HO_CHAIN)
    }),
    refused("handoff/receive/grantor-is-a-third", &["HO-CHAIN-8"], T, accepts, |lab| {
        refuses(lab, |draft, other| draft.record.grantor = other.id, Code::HO_CHAIN)
    }),
    refused("handoff/receive/unknown-kind", &["WIRE-VALUE-1"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.record.kind = 5, Code::WIRE_VALUE)
    }),
    refused("handoff/receive/final-of-another-key", &["HO-GRANT-6"], T, accepts, |lab| {
        refuses(lab, |draft, other| draft.ender = other.clone(), Code::HO_FINAL)
    }),
    refused("handoff/receive/final-of-another-parent", &["HO-GRANT-6"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.end.parent = Hash::new([9; 32]), Code::HO_FINAL)
    }),
    refused("handoff/receive/final-of-another-session", &["HO-GRANT-6"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.end.session = SessionId::new([9; 16]), Code::HO_FINAL)
    }),
    refused("handoff/receive/manifest-not-held", &["HO-GRANT-7"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.end.manifest = Hash::new([9; 32]), Code::DATA_INCOMPLETE)
    }),
    refused("handoff/receive/other-root", &["DATA-ROOT-1"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.end.root = Hash::new([9; 32]), Code::DATA_ROOT)
    }),
    refused("handoff/receive/other-root-of-exclusive-parts", &["DATA-ROOT-1"], T, accepts, |lab| {
        refuses(lab, |draft, _| draft.end.exclusive = Hash::new([9; 32]), Code::DATA_ROOT)
    }),
    refused("handoff/receive/op-missing", &["DATA-ROOT-1", "HO-GRANT-10"], T, with_ops, |lab| {
        let (scene, _) = with_op(lab)?;
        let scene = changed(scene, |draft| draft.ops.clear());
        scene.refused(lab, Code::DATA_ROOT)
    }),
    refused("handoff/receive/op-with-another-body", &["DATA-OP-2"], T, with_ops, |lab| {
        let (scene, op) = with_op(lab)?;
        let other = with_body(&op, b"cursor 9");
        let mut scene = scene;
        scene.draft.ops = vec![other];
        scene.refused(lab, Code::DATA_ROOT)
    }),
    refused("handoff/receive/op-out-of-order", &["DATA-OP-1"], T, with_ops, |lab| {
        let (mut scene, op) = with_op(lab)?;
        scene.draft.ops = vec![Op { seq: op.seq + 1, ..op }];
        scene.refused(lab, Code::DATA_HASH)
    }),
    refused("handoff/receive/op-of-an-unknown-part", &["DATA-OP-5"], T, with_ops, |lab| {
        let (mut scene, op) = with_op(lab)?;
        scene.draft.ops = vec![op.clone(), Op { part: PartId::new([9; 16]), seq: 1, ..op }];
        scene.refused(lab, Code::DATA_MANIFEST)
    }),
    refused("handoff/receive/op-of-a-file", &["DATA-OP-5"], T, with_ops, |lab| {
        let (mut scene, op) = with_op(lab)?;
        let files = scene.book.state.parts().find(|part| part.kind == 3);
        let Some(file) = files.and_then(|part| part.shown().map(|value| value.op.clone())) else { return Ok(()) };
        scene.draft.ops = vec![op, Op { seq: file.seq + 1, ..file }];
        scene.refused(lab, Code::DATA_MANIFEST)
    }),
    refused("handoff/receive/op-that-read-its-own-strand", &["DATA-OP-4"], T, with_ops, |lab| {
        let (mut scene, op) = with_op(lab)?;
        let own = Tip { actor: op.actor, seq: 1, hash: Hash::new([3; 32]) };
        scene.draft.ops = vec![Op { deps: List::new(vec![own]).unwrap_or_default(), ..op }];
        scene.refused(lab, Code::DATA_MANIFEST)
    }),
    refused("handoff/receive/unknown-session", &["HO-MEMBER-1"], T, accepts, |lab| {
        let scene = wanting(lab)?;
        let other = Peer::new(&mut lab.rng);
        let members = [lab.id()];
        let book = crate::peer::Book::create(&other, &members, &mut lab.rng);
        let draft = Draft::new(&other, &book, 77, &scene.draft.want, lab.id(), &scene.data);
        lab.send(scene.link, draft.seal());
        lab.refuses(scene.link, 77, Code::HO_UNKNOWN_SESSION)
    }),
    works("handoff/receive/for-a-want-before-older-data", &["DATA-OP-3"], T, before_older_data),
    works("handoff/receive/new-actor-behind-a-rival", &["DATA-OP-3", "HO-HEAD-1"], T, behind_a_rival),
    works("handoff/receive/old-grant-is-answered-with-the-head", &["HO-GRANT-9", "HO-HEAD-2"], T, old_grant),
    works("handoff/receive/pull-goes-on-under-a-new-head", &["HO-WANT-1", "HO-HEAD-1"], T, asks_again),
];

/// The twin of most refusals.
fn accepts(lab: &mut Lab) -> Done {
    wanting(lab)?.succeeds(lab)
}

/// A GRANT that is wrong in one way is refused, and the right one still works.
fn refuses(lab: &mut Lab, tweak: fn(&mut Draft, &Peer), code: Code) -> Done {
    let mut scene = wanting(lab)?;
    let right = scene.draft.clone();
    let other = Peer::new(&mut lab.rng);
    tweak(&mut scene.draft, &other);
    scene.refused(lab, code)?;
    scene.draft = right;
    scene.succeeds(lab)
}

/// The subject wants; the owner writes once more, and grants with that op inline.
fn with_op(lab: &mut Lab) -> Done<(Wanting, Op)> {
    let mut scene = wanting(lab)?;
    let op = scene.book.write_exclusive(b"cursor 2").unwrap_or(Op {
        part: PartId::ZERO,
        actor: scene.want.actor,
        seq: 0,
        deps: List::empty(),
        hlc: Hlc::ZERO,
        record: Hash::ZERO,
        salt: Nonce::ZERO,
        body: Default::default(),
    });
    scene.draft.ops = vec![op.clone()];
    let (root, exclusive) = (scene.book.state.root(), scene.book.state.exclusive_root());
    scene.draft.end = Final { root, exclusive, ..scene.draft.end.clone() };
    Ok((scene, op))
}

fn with_ops(lab: &mut Lab) -> Done {
    let (scene, op) = with_op(lab)?;
    scene.succeeds(lab)?;
    let state = lab.known(scene.book.id)?;
    ensure(state.root == scene.draft.end.root, "the root of FINAL", format!("{:?}", state.root))?;
    ensure(state.exclusive.as_deref() == Some(&*op.body), "the last write", format!("{:?}", state.exclusive))
}

/// The subject owned and wrote, and a peer took over that may not know the last of that. What the peer announces behind the
/// subject's WANT, as it had it before, changes nothing about a GRANT for that WANT.
fn before_older_data(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    let mut older = own.book.clone();
    let taken = own.peer.sign::<Record>(&older.takeover(&own.peer));
    older.chain.push(taken.clone());
    let mut book = older.clone();
    book.hold(&own.manifest);
    lab.send(own.link, crate::peer::head(own.session, vec![taken], None));
    lab.is(own.session, SessionRole::Secondary)?;
    lab.skip(own.link);
    let data = book.announce();
    lab.must(Command::Request { session: own.session, from: own.peer.id, timeout_us: TIMEOUT })?;
    let (req, want) = serve_until_want(lab, own.link, &book)?;
    let before = older.announce();
    lab.send(own.link, older.have(Some(before)));
    serve_all(lab, own.link, &older)?;
    let draft = Draft::new(&own.peer, &book, req, &want, lab.id(), &data);
    lab.send(own.link, draft.seal());
    lab.is(own.session, SessionRole::Primary)?;
    acknowledged(lab, own.link, own.session, draft.signed_record().id())
}

/// The grantor signed another record instead of the one by which the subject owned, and wrote: who owns by that may not
/// know what the subject wrote, so that goes on under another actor.
fn behind_a_rival(lab: &mut Lab) -> Done {
    let mut scene = wanting(lab)?;
    scene.succeeds(lab)?;
    lab.must(Command::WriteExclusive { session: scene.book.id, bytes: b"passed by".to_vec() })?;
    let led = scene.draft.signed_record().id();
    let rival = (0..=u8::MAX).map(|byte| {
        let record = Record { want: Hash::new([byte; 32]), ..scene.book.next(&scene.peer, scene.peer.id) };
        scene.peer.sign::<Record>(&record)
    });
    // Of two equals the smaller id leads.
    let rival = rival.min_by_key(segue_proto::wire::Signed::id).filter(|rival| rival.id() < led);
    let rival = rival.ok_or_else(|| crate::verdict::Fault::fail("one of 256 ids below another", "none"))?;
    scene.book.chain.push(rival.clone());
    lab.send(scene.link, crate::peer::head(scene.book.id, vec![rival], None));
    lab.is(scene.book.id, SessionRole::Secondary)?;
    lab.skip(scene.link);
    lab.must(Command::Request { session: scene.book.id, from: scene.peer.id, timeout_us: TIMEOUT })?;
    let (_, want) = serve_until_want(lab, scene.link, &scene.book)?;
    let actor = want.open(segue_proto::Rules::ALL).map(|want| want.actor);
    ensure(actor.is_ok_and(|actor| actor != scene.want.actor), "a WANT by another actor", format!("{actor:?}"))
}

/// The source's head rose, and it still owns: the subject's pull goes on under the new head.
fn asks_again(lab: &mut Lab) -> Done {
    let scene = wanting(lab)?;
    let mut book = scene.book.clone();
    let taken = scene.peer.sign::<Record>(&book.takeover(&scene.peer));
    book.chain.push(taken.clone());
    lab.send(scene.link, crate::peer::head(book.id, vec![taken.clone()], None));
    lab.send(scene.link, book.have(Some(scene.data.clone())));
    let (_, want) = serve_until_want(lab, scene.link, &book)?;
    let parent = want.open(segue_proto::Rules::ALL).map(|want| want.parent);
    ensure(parent == Ok(taken.id()), "a WANT under the new head", format!("{parent:?}"))
}

fn changed(mut scene: Wanting, change: fn(&mut Draft)) -> Wanting {
    change(&mut scene.draft);
    scene
}

/// The subject owned and handed on; the GRANT that once made it the owner comes again.
fn old_grant(lab: &mut Lab) -> Done {
    let scene = wanting(lab)?;
    scene.succeeds(lab)?;
    let mut book = scene.book.clone();
    let record = scene.draft.signed_record();
    book.chain.push(record.clone());
    let taker = book.takeover(&scene.peer);
    let taken = scene.peer.sign::<Record>(&taker);
    lab.send(scene.link, crate::peer::head(book.id, vec![taken.clone()], None));
    lab.is(book.id, SessionRole::Secondary)?;
    lab.skip(scene.link);
    lab.send(scene.link, scene.draft.seal());
    let head = take_head(lab, scene.link, book.id)?;
    let last = head.records.last().map(segue_proto::wire::Signed::id);
    ensure(last == Some(taken.id()), "a HEAD that leads to the takeover", format!("{last:?}"))?;
    ensure(head.ack.get().is_none(), "no acknowledgement", "one")?;
    ensure(head.ext == Exts::empty(), "no extension", "one")?;
    lab.is(book.id, SessionRole::Secondary)
}
