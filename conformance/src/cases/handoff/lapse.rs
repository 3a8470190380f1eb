//! The deadline of the subject's user passes, or the user withdraws, while a WANT is out: a GRANT may still come.

use segue_proto::wire::{Decline, Error, Exts};
use segue_proto::{Code, Event, Generation, LinkId, SessionRole};
use segue_testkit::device::Command;

use super::initiate::{resolves, withdrawn};
use crate::cases::scene::{TIMEOUT, Wanting, wanting};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab};
use crate::peer::{Peer, head};

const V1_7: Generation = Generation::V1_7;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/lapse/want-is-out", &["HO-TIME-3"], T, |lab| lapsed(lab).map(|_| ())),
    works("handoff/lapse/then-granted", &["HO-TIME-3", "HO-GRANT-5"], T, |lab| {
        let scene = lapsed(lab)?;
        scene.succeeds(lab)?;
        lab.event("the event handoff-resolved with success", |event| {
            matches!(event, Event::HandoffResolved { result: Ok(_), .. }).then_some(())
        })
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
        let (session, code) = (Some(scene.book.id).into(), Code::HO_TIMEOUT.into());
        let req = scene.draft.req;
        lab.send(scene.link, Error { req, session, code, definite: true, retry_after_ms: 0, ext: Exts::empty() });
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
        lab.event("the event handoff-resolved with success", |event| {
            matches!(event, Event::HandoffResolved { result: Ok(_), .. }).then_some(())
        })
    })
    .since(V1_7),
];

/// The subject said WANT, and its user's deadline has passed.
fn lapsed(lab: &mut Lab) -> Done<Wanting> {
    let scene = wanting(lab)?;
    for _ in 0..TIMEOUT / 15_000_000 {
        lab.pass(15_000_000);
        let _ = lab.alive(scene.link);
    }
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
