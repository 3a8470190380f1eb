//! The subject's wish ends, by its deadline, its user or for want of data, while a WANT is out: a GRANT may still come.

use segue_proto::limits::MAX_REFETCH;
use segue_proto::wire::{Decline, Error, Exts, Hash, Message};
use segue_proto::{Code, Event, Generation, LinkId, SessionRole};
use segue_testkit::device::Command;

use super::initiate::{resolves, withdrawn};
use crate::cases::scene::{
    TIMEOUT, Wanting, introduce, invited, linked, serve_until_want, session_of, stream, take_request, wanting,
};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Peer, head};

const V1_7: Generation = Generation::V1_7;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/lapse/want-is-out", &["HO-TIME-3"], T, |lab| lapsed(lab).map(|_| ())),
    works("handoff/lapse/then-granted", &["HO-TIME-3", "HO-GRANT-5"], T, |lab| {
        let scene = lapsed(lab)?;
        scene.succeeds(lab)?;
        succeeded(lab)
    }),
    works("handoff/lapse/then-declined", &["HO-TIME-3", "HO-DECLINE-1"], T, |lab| {
        let scene = lapsed(lab)?;
        decline(lab, &scene, scene.link);
        resolves(lab, Code::HO_TIMEOUT)
    })
    .since(V1_7),
    refused("handoff/lapse/decline-by-another", &["HO-DECLINE-1"], T, lapse_declined, |lab| {
        let other = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(other.id);
        let scene = lapsed(lab)?;
        let link = lab.connect(&other)?;
        decline(lab, &scene, link);
        unresolved(lab)
    })
    .since(V1_7),
    works("handoff/lapse/then-refused", &["HO-TIME-3"], T, |lab| {
        let scene = lapsed(lab)?;
        refuse(lab, &scene, scene.draft.req, Code::HO_TIMEOUT);
        resolves(lab, Code::HO_TIMEOUT)
    }),
    works("handoff/lapse/then-another-head", &["HO-TIME-3", "HO-WANT-1"], T, |lab| {
        let scene = lapsed(lab)?;
        let takeover = scene.peer.sign(&scene.book.takeover(&scene.peer));
        lab.send(scene.link, head(scene.book.id, vec![takeover], None));
        resolves(lab, Code::HO_TIMEOUT)
    }),
    works("handoff/lapse/withdrawn-on-a-new-link", &["HO-TIME-3"], T, |lab| {
        let scene = lapsed(lab)?;
        lab.link_down(scene.link);
        unresolved(lab)?;
        let link = lab.connect(&scene.peer)?;
        withdrawn(lab, link, scene.draft.want.id(), Code::HO_TIMEOUT)?;
        decline(lab, &scene, link);
        resolves(lab, Code::HO_TIMEOUT)
    })
    .since(V1_7),
    works("handoff/lapse/withdrawn-by-its-user", &["HO-TIME-3"], T, |lab| {
        let scene = given_up(lab)?;
        decline(lab, &scene, scene.link);
        resolves(lab, Code::HO_CANCELLED)
    })
    .since(V1_7),
    works("handoff/lapse/withdrawn-by-its-user-and-granted", &["HO-TIME-3", "HO-GRANT-5"], T, |lab| {
        let scene = given_up(lab)?;
        scene.succeeds(lab)?;
        succeeded(lab)
    })
    .since(V1_7),
    works("handoff/lapse/superseded", &["HO-TIME-3"], T, |lab| {
        let scene = superseded(lab)?;
        decline(lab, &scene, scene.link);
        resolves(lab, Code::HO_SUPERSEDED)
    })
    .since(V1_7),
    works("handoff/lapse/superseded-and-granted", &["HO-TIME-3", "HO-GRANT-5"], T, |lab| {
        let scene = superseded(lab)?;
        scene.succeeds(lab)?;
        // The older wish has what it wanted, and so has the newer one.
        succeeded(lab)?;
        succeeded(lab)
    }),
    works("handoff/lapse/for-bad-data", &["HO-TIME-3", "TRANSFER-REFETCH-1"], T, for_bad_data),
    works("handoff/lapse/an-older-want-on-1.4", &["HO-TIME-3", "HO-WANT-8"], T, |lab| {
        let mut scene = wanting(lab)?;
        lab.link_down(scene.link);
        scene.link = lab.connect(&scene.peer)?;
        let (req, _) = serve_until_want(lab, scene.link, &scene.book)?;
        expire(lab, scene.link);
        pending(lab)?;
        if lab.generation == Generation::V1_4 {
            // The later WANT took the place of the earlier one, of which nothing else tells here.
            refuse(lab, &scene, req, Code::HO_TIMEOUT);
            return resolves(lab, Code::HO_TIMEOUT);
        }
        refuse(lab, &scene, req, Code::HO_TIMEOUT);
        unresolved(lab)?;
        decline(lab, &scene, scene.link);
        resolves(lab, Code::HO_TIMEOUT)
    }),
    works("handoff/lapse/accepted-and-withdrawn", &["HO-TIME-3", "HO-DECLINE-1"], T, |lab| {
        let invited = invited(lab)?;
        let offer = invited.offer.offer.id();
        let scene = invited.accept(lab)?;
        lab.must(Command::CancelHandoff { session: scene.book.id })?;
        pending(lab)?;
        withdrawn(lab, scene.link, scene.draft.want.id(), Code::HO_CANCELLED)?;
        declined(lab, scene.link, offer)?;
        decline(lab, &scene, scene.link);
        resolves(lab, Code::HO_CANCELLED)
    })
    .since(V1_7),
    works("handoff/lapse/consent-withdrawn", &["HO-TIME-3"], T, |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.send(link, book.whole());
        lab.must(Command::Consent { session: book.id, to: peer.id, ttl_us: TIMEOUT })?;
        introduce(lab, link, &book, &data)?;
        let (_, want) = serve_until_want(lab, link, &book)?;
        lab.must(Command::CancelHandoff { session: book.id })?;
        withdrawn(lab, link, want.id(), Code::HO_CANCELLED)?;
        lab.no_event("event handoff-pending of a consent", |event| matches!(event, Event::HandoffPending { .. }))?;
        // It is said again where the first CANCEL may have been lost.
        lab.link_down(link);
        let link = lab.connect(&peer)?;
        withdrawn(lab, link, want.id(), Code::HO_CANCELLED)
    })
    .since(Generation::V2),
];

/// The subject said WANT, and its user asks for the session once more.
fn superseded(lab: &mut Lab) -> Done<Wanting> {
    let scene = wanting(lab)?;
    lab.must(Command::Request { session: scene.book.id, from: scene.peer.id, timeout_us: TIMEOUT })?;
    pending(lab)?;
    if lab.generation >= V1_7 {
        withdrawn(lab, scene.link, scene.draft.want.id(), Code::HO_SUPERSEDED)?;
    }
    lab.is(scene.book.id, SessionRole::Secondary)?;
    Ok(scene)
}

/// The source announces something newer behind the WANT, and sends other bytes than it announced.
fn for_bad_data(lab: &mut Lab) -> Done {
    let mut scene = wanting(lab)?;
    scene.book.write_file("newer.txt", b"newer");
    let newer = scene.book.announce();
    lab.send(scene.link, scene.book.have(Some(newer.clone())));
    for _ in 0..=MAX_REFETCH {
        let asked = take_request(lab, scene.link)?;
        ensure(asked.blob == newer.manifest, "a request of the newer manifest", format!("{:?}", asked.blob))?;
        lab.send_bulk(scene.link, stream(asked.req, asked.blob, 0, &vec![7; newer.manifest_len as usize]));
    }
    pending(lab)?;
    if lab.generation == Generation::V1_4 {
        scene.succeeds(lab)?;
        return succeeded(lab);
    }
    withdrawn(lab, scene.link, scene.draft.want.id(), Code::DATA_HASH)?;
    decline(lab, &scene, scene.link);
    resolves(lab, Code::DATA_HASH)
}

fn succeeded(lab: &mut Lab) -> Done {
    lab.event("the event handoff-resolved with success", |event| {
        matches!(event, Event::HandoffResolved { result: Ok(_), .. }).then_some(())
    })
}

fn declined(lab: &mut Lab, link: LinkId, offer: Hash) -> Done {
    lab.take(link, "DECLINE of the OFFER", |message| match message {
        Message::Decline(decline) if decline.subject == offer => Some(()),
        _ => None,
    })
}

fn refuse(lab: &mut Lab, scene: &Wanting, req: u32, code: Code) {
    let (session, code) = (Some(scene.book.id).into(), code.into());
    lab.send(scene.link, Error { req, session, code, definite: true, retry_after_ms: 0, ext: Exts::empty() });
}

/// The subject said WANT, and its user's deadline has passed.
fn lapsed(lab: &mut Lab) -> Done<Wanting> {
    let scene = wanting(lab)?;
    expire(lab, scene.link);
    pending(lab)?;
    if lab.generation >= V1_7 {
        withdrawn(lab, scene.link, scene.draft.want.id(), Code::HO_TIMEOUT)?;
    }
    lab.is(scene.book.id, SessionRole::Secondary)?;
    Ok(scene)
}

/// The subject said WANT, and its user withdrew it.
fn given_up(lab: &mut Lab) -> Done<Wanting> {
    let scene = wanting(lab)?;
    lab.must(Command::CancelHandoff { session: scene.book.id })?;
    pending(lab)?;
    withdrawn(lab, scene.link, scene.draft.want.id(), Code::HO_CANCELLED)?;
    lab.is(scene.book.id, SessionRole::Secondary)?;
    Ok(scene)
}

/// The deadline of the subject's user passes.
fn expire(lab: &mut Lab, link: LinkId) {
    for _ in 0..TIMEOUT / 15_000_000 {
        lab.pass(15_000_000);
        let _ = lab.alive(link);
    }
}

fn pending(lab: &mut Lab) -> Done {
    lab.event("the event handoff-pending", |event| matches!(event, Event::HandoffPending { .. }).then_some(()))?;
    unresolved(lab)
}

fn lapse_declined(lab: &mut Lab) -> Done {
    let scene = lapsed(lab)?;
    decline(lab, &scene, scene.link);
    resolves(lab, Code::HO_TIMEOUT)
}

fn decline(lab: &mut Lab, scene: &Wanting, link: LinkId) {
    let (session, subject, code) = (scene.book.id, scene.draft.want.id(), Code::HO_CANCELLED.into());
    lab.send(link, Decline { session, subject, code, ext: Exts::empty() });
}

fn unresolved(lab: &mut Lab) -> Done {
    lab.no_event("event handoff-resolved", |event| matches!(event, Event::HandoffResolved { .. }))
}
