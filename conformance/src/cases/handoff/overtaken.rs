//! The record that answers the subject's WANT comes by a HEAD of another device, before its GRANT: that is under way still,
//! whatever the subject's deadline or user says meanwhile.

use segue_proto::{Code, Event, Generation, SessionRole};
use segue_testkit::device::Command;

use super::initiate::{resolves, withdrawn};
use crate::cases::scene::{TIMEOUT, Wanting, wanting};
use crate::cases::{Case, Part, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Peer, head};

const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/overtaken/then-granted", &["HO-GRANT-9"], T, |lab| {
        let other = another(lab);
        let scene = wanting(lab)?;
        overtaken(lab, &scene, &other)?;
        granted(lab, &scene)
    }),
    works("handoff/overtaken/before-its-deadline", &["HO-TIME-3", "HO-GRANT-9"], T, |lab| {
        let other = another(lab);
        let scene = wanting(lab)?;
        overtaken(lab, &scene, &other)?;
        expires(lab, &scene)?;
        granted(lab, &scene)
    }),
    works("handoff/overtaken/before-its-user-withdraws", &["HO-TIME-3", "HO-GRANT-9"], T, |lab| {
        let other = another(lab);
        let scene = wanting(lab)?;
        overtaken(lab, &scene, &other)?;
        lab.must(Command::CancelHandoff { session: scene.book.id })?;
        pends(lab, &scene, Code::HO_CANCELLED)?;
        granted(lab, &scene)
    }),
    works("handoff/overtaken/behind-its-deadline", &["HO-TIME-3", "HO-GRANT-9"], T, |lab| {
        let other = another(lab);
        let scene = wanting(lab)?;
        expires(lab, &scene)?;
        overtaken(lab, &scene, &other)?;
        granted(lab, &scene)
    }),
    works("handoff/overtaken/behind-its-deadline-and-then-another", &["HO-TIME-3"], T, |lab| {
        let other = another(lab);
        let mut scene = wanting(lab)?;
        expires(lab, &scene)?;
        overtaken(lab, &scene, &other)?;
        scene.book.chain.push(scene.draft.signed_record());
        let takeover = scene.peer.sign(&scene.book.takeover(&scene.peer));
        lab.send(scene.link, head(scene.book.id, vec![takeover], None));
        resolves(lab, Code::HO_TIMEOUT)
    }),
];

/// A device that the subject, which isn't started yet, is to trust.
fn another(lab: &mut Lab) -> Peer {
    let other = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(other.id);
    other
}

/// The other device tells of the record that answers the WANT, and nothing ends by that.
fn overtaken(lab: &mut Lab, scene: &Wanting, other: &Peer) -> Done {
    let (session, record) = (scene.book.id, scene.draft.signed_record());
    let link = lab.connect(other)?;
    lab.send(link, head(session, vec![record.clone()], None));
    let state = lab.known(session)?;
    let heard = state.head == record.id() && state.role != SessionRole::Primary;
    ensure(heard, "the record as head of a subject that isn't primary", format!("{:?}, {:?}", state.head, state.role))?;
    lab.link_down(link);
    unresolved(lab)
}

/// The deadline passes.
fn expires(lab: &mut Lab, scene: &Wanting) -> Done {
    for _ in 0..TIMEOUT / 15_000_000 {
        lab.pass(15_000_000);
        lab.alive(scene.link)?;
    }
    pends(lab, scene, Code::HO_TIMEOUT)
}

/// The outcome is open, and the WANT withdrawn, on a link that has a message for that.
fn pends(lab: &mut Lab, scene: &Wanting, code: Code) -> Done {
    lab.event("the event handoff-pending", |event| matches!(event, Event::HandoffPending { .. }).then_some(()))?;
    unresolved(lab)?;
    if lab.generation < Generation::V1_7 {
        return Ok(());
    }
    withdrawn(lab, scene.link, scene.draft.want.id(), code)
}

/// The GRANT comes: the subject is primary, and says that it succeeded.
fn granted(lab: &mut Lab, scene: &Wanting) -> Done {
    scene.succeeds(lab)?;
    lab.event("the event handoff-resolved with success", |event| {
        matches!(event, Event::HandoffResolved { result: Ok(_), .. }).then_some(())
    })
}

fn unresolved(lab: &mut Lab) -> Done {
    lab.no_event("event handoff-resolved", |event| matches!(event, Event::HandoffResolved { .. }))
}
