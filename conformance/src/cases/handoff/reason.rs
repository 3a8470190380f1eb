//! What a user says with a rejection, and what the other one is told of it.

use segue_proto::limits::MAX_REASON;
use segue_proto::wire::{Blob, Decline, Ext, Exts, Hash, List, Message, SessionId};
use segue_proto::{Code, Event, Generation, LinkId, SessionRole};
use segue_testkit::device::Command;

use super::initiate::{offered, start, take_offer};
use super::want::asked as pulled;
use crate::cases::scene::{TIMEOUT, invited, wanting};
use crate::cases::{Case, Part, works};
use crate::lab::{Done, Lab, ensure};

const V1_7: Generation = Generation::V1_7;
const S: Part = Part::Source;
const T: Part = Part::Target;

/// The number of the extension.
const REASON: u32 = 1;
const WORDS: &str = "in a call — später";

pub(super) const CASES: &[Case] = &[
    works("handoff/reason/of-a-rejected-offer", &["HO-REASON-3", "HO-DECLINE-1"], T, |lab| {
        let scene = invited(lab)?;
        lab.must(Command::Reject { token: scene.token, reason: Some(WORDS.into()) })?;
        says(lab, scene.link, scene.token, WORDS)
    })
    .since(V1_7)
    .needs(&["reject"]),
    works("handoff/reason/of-a-rejected-pull", &["HO-REASON-3"], S, |lab| {
        let (own, token) = pulled(lab)?;
        lab.must(Command::Reject { token, reason: Some(WORDS.into()) })?;
        says(lab, own.link, token, WORDS)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(Generation::V2)
    .needs(&["reject"]),
    works("handoff/reason/sent-without-what-it-may-not-hold", &["HO-REASON-3", "HO-REASON-2"], T, |lab| {
        let scene = invited(lab)?;
        lab.must(Command::Reject { token: scene.token, reason: Some("in a\u{7} ca\u{202e}ll".into()) })?;
        says(lab, scene.link, scene.token, "in a call")
    })
    .since(V1_7)
    .needs(&["reject"]),
    works("handoff/reason/told-to-the-source", &["HO-REASON-1", "WIRE-EXT-2"], S, |lab| {
        let (own, offer) = offered(lab)?;
        lab.send(own.link, decline(own.session, offer.offer.id(), &[(REASON, WORDS.as_bytes()), (91, b"grease")]));
        ends(lab, Some(WORDS))?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(V1_7),
    works("handoff/reason/told-to-the-target", &["HO-REASON-1"], T, |lab| {
        let scene = wanting(lab)?;
        let subject = scene.draft.want.id();
        lab.send(scene.link, decline(scene.book.id, subject, &[(REASON, WORDS.as_bytes())]));
        ends(lab, Some(WORDS))?;
        lab.is(scene.book.id, SessionRole::Secondary)
    })
    .since(V1_7),
    works("handoff/reason/not-fit-to-be-shown", &["HO-REASON-2", "HO-REASON-1"], S, |lab| {
        let long = "x".repeat(MAX_REASON + 1);
        let bad: [&[u8]; 5] = [b"ring\x07", "\u{202e}fdp".as_bytes(), &[0xff, b'x'], long.as_bytes(), b""];
        let (own, mut offer) = offered(lab)?;
        for reason in bad {
            lab.send(own.link, decline(own.session, offer.offer.id(), &[(REASON, reason)]));
            ends(lab, None)?;
            lab.is(own.session, SessionRole::Primary)?;
            start(lab, &own, TIMEOUT)?;
            offer = take_offer(lab, own.link)?;
        }
        Ok(())
    })
    .since(V1_7),
    works("handoff/reason/longest", &["HO-REASON-2", "HO-REASON-1"], S, |lab| {
        let long = "\u{1f600}".repeat(MAX_REASON);
        let (own, offer) = offered(lab)?;
        lab.send(own.link, decline(own.session, offer.offer.id(), &[(REASON, long.as_bytes())]));
        ends(lab, Some(&long))
    })
    .since(V1_7),
    works("handoff/reason/of-another-handoff-changes-nothing", &["HO-DECLINE-1", "HO-REASON-1"], S, |lab| {
        let (own, _) = offered(lab)?;
        lab.send(own.link, decline(own.session, Hash::new([9; 32]), &[(REASON, WORDS.as_bytes())]));
        lab.no_event("event handoff-resolved", |event| matches!(event, Event::HandoffResolved { .. }))?;
        own.granted(lab).map(|_| ())
    })
    .since(V1_7),
];

/// A DECLINE of this comes, with this reason.
fn says(lab: &mut Lab, link: LinkId, subject: Hash, reason: &str) -> Done {
    let decline = lab.take(link, "DECLINE", |message| match message {
        Message::Decline(decline) if decline.subject == subject => Some(decline.clone()),
        _ => None,
    })?;
    let code = Code::from(decline.code);
    ensure(code == Code::HO_DECLINED, "DECLINE HO_DECLINED", format!("{code:?}"))?;
    let said = decline.ext.iter().find(|ext| ext.id == REASON).map(|ext| ext.bytes.to_vec());
    ensure(said.as_deref() == Some(reason.as_bytes()), "the extension 1 with the reason", format!("{said:?}"))
}

/// The handoff ends as declined, and this is told of it.
fn ends(lab: &mut Lab, reason: Option<&str>) -> Done {
    let (code, told) = lab.event("the event handoff-resolved with an error", |event| match event {
        Event::HandoffResolved { result: Err(code), reason, .. } => Some((*code, reason.clone())),
        _ => None,
    })?;
    ensure(code == Code::HO_DECLINED, "handoff-resolved with HO_DECLINED", format!("{code:?}"))?;
    ensure(told.as_deref() == reason, &format!("the reason {reason:?}"), format!("{told:?}"))
}

fn decline(session: SessionId, subject: Hash, said: &[(u32, &[u8])]) -> Decline {
    let ext = said.iter().filter_map(|(id, bytes)| Some(Ext { id: *id, bytes: Blob::new(bytes.to_vec())? }));
    let ext: Exts = List::new(ext.collect()).unwrap_or_default();
    Decline { session, subject, code: Code::HO_DECLINED.into(), ext }
}
