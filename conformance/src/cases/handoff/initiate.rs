//! The subject's user starts a handoff, or asks for a session.

use segue_proto::wire::{Decline, Error, Exts, Hash, Message, Offer, OfferMsg};
use segue_proto::{Code, Event, Generation, LinkId, Rules, SessionRole};
use segue_testkit::device::Command;

use crate::cases::scene::{Owning, TIMEOUT, linked, owning, session_of, take_grant, wanting};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::verdict::Fault;

const V1_7: Generation = Generation::V1_7;
const S: Part = Part::Source;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/initiate/offers", &["HO-OFFER-1", "HO-OFFER-2"], S, offers).since(V1_7),
    works("handoff/initiate/hints", &["GEN-PAIR-1", "GEN-USE-1"], S, |lab| {
        let own = owning(lab)?;
        start(lab, &own, TIMEOUT)?;
        lab.take(own.link, "a HAVE that announces data", |message| match message {
            Message::Have(have) if have.session == own.session && have.data.get().is_some() => Some(()),
            _ => None,
        })?;
        lab.none(own.link, "OFFER on a link of 1.4", |message| matches!(message, Message::Offer(_)))?;
        own.granted(lab).map(|_| ())
    })
    .until(Generation::V1_4),
    works("handoff/initiate/waits-for-a-link", &["HO-TIME-1"], S, |lab| {
        let own = owning(lab)?;
        lab.link_down(own.link);
        start(lab, &own, TIMEOUT)?;
        lab.pass(10_000_000);
        let link = lab.connect(&own.peer)?;
        take_offer(lab, link).map(|_| ())
    })
    .since(V1_7),
    works("handoff/initiate/offers-again-on-a-new-link", &["HO-OFFER-3"], S, |lab| {
        let (own, first) = offered(lab)?;
        lab.link_down(own.link);
        let link = lab.connect(&own.peer)?;
        let second = take_offer(lab, link)?;
        ensure(second.offer == first.offer, "the same OFFER", format!("{:?}", second.offer))
    })
    .since(V1_7),
    works("handoff/initiate/declined", &["HO-DECLINE-1"], S, |lab| {
        let (own, offer) = offered(lab)?;
        lab.send(own.link, decline(&own, offer.offer.id()));
        resolves(lab, Code::HO_DECLINED)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(V1_7),
    works("handoff/initiate/decline-of-another-changes-nothing", &["HO-DECLINE-1"], S, |lab| {
        let (own, _) = offered(lab)?;
        lab.send(own.link, decline(&own, Hash::new([9; 32])));
        goes_on(lab, &own)
    })
    .since(V1_7),
    works("handoff/initiate/decline-by-another-changes-nothing", &["HO-DECLINE-1"], S, |lab| {
        let other = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(other.id);
        let (own, offer) = offered(lab)?;
        let link = lab.connect(&other)?;
        lab.send(link, decline(&own, offer.offer.id()));
        goes_on(lab, &own)
    })
    .since(V1_7),
    works("handoff/initiate/refused-by-error", &["HO-TIME-1"], S, |lab| {
        let (own, offer) = offered(lab)?;
        lab.send(own.link, error(offer.req, &own, Code::LIMIT_OFFERS));
        resolves(lab, Code::LIMIT_OFFERS)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(V1_7),
    works("handoff/initiate/refused-by-error-without-session", &["ERR-SEND-1"], S, |lab| {
        let (own, offer) = offered(lab)?;
        lab.send(own.link, Error { session: None.into(), ..error(offer.req, &own, Code::LIMIT_OFFERS) });
        resolves(lab, Code::LIMIT_OFFERS)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(V1_7),
    works("handoff/initiate/deadline", &["HO-TIME-1"], S, |lab| {
        let own = owning(lab)?;
        start(lab, &own, 5_000_000)?;
        let offer = take_offer(lab, own.link)?;
        lab.pass(5_000_000);
        withdrawn(lab, own.link, offer.offer.id(), Code::HO_TIMEOUT)?;
        resolves(lab, Code::HO_TIMEOUT)?;
        lab.is(own.session, SessionRole::Primary)?;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"still".to_vec() }).map(|_| ())
    })
    .since(V1_7),
    works("handoff/initiate/deadline-of-a-hint", &["HO-TIME-1"], S, |lab| {
        let own = owning(lab)?;
        start(lab, &own, 5_000_000)?;
        lab.pass(5_000_000);
        resolves(lab, Code::HO_TIMEOUT)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .until(Generation::V1_4),
    works("handoff/initiate/cancelled", &["HO-CANCEL-1"], S, |lab| {
        let (own, offer) = offered(lab)?;
        lab.must(Command::CancelHandoff { session: own.session })?;
        withdrawn(lab, own.link, offer.offer.id(), Code::HO_CANCELLED)?;
        resolves(lab, Code::HO_CANCELLED)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(V1_7),
    works("handoff/initiate/superseded", &["HO-OFFER-3"], S, |lab| {
        let (own, offer) = offered(lab)?;
        start(lab, &own, TIMEOUT)?;
        withdrawn(lab, own.link, offer.offer.id(), Code::HO_SUPERSEDED)?;
        resolves(lab, Code::HO_SUPERSEDED)
    })
    .since(V1_7),
    refused(
        "handoff/initiate/by-a-secondary",
        &["HO-WANT-6"],
        S,
        |lab| owning(lab).and_then(|own| start(lab, &own, TIMEOUT)),
        |lab| {
            let scene = wanting(lab)?;
            lab.must_not(Command::Initiate { session: scene.book.id, to: scene.peer.id, timeout_us: TIMEOUT })
        },
    ),
    works("handoff/request/deadline", &["HO-TIME-1"], T, |lab| {
        let (peer, _) = linked(lab)?;
        let book = session_of(lab, &peer);
        lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: 5_000_000 })?;
        lab.pass(5_000_000);
        resolves(lab, Code::HO_TIMEOUT)
    }),
    works("handoff/request/refused", &["HO-TIME-1"], T, |lab| {
        let scene = wanting(lab)?;
        let session = Some(scene.book.id).into();
        let (req, code) = (scene.draft.req, Code::HO_DECLINED.into());
        lab.send(scene.link, Error { req, session, code, definite: true, retry_after_ms: 0, ext: Exts::empty() });
        resolves(lab, Code::HO_DECLINED)
    }),
    works("handoff/request/declined", &["HO-DECLINE-1"], T, |lab| {
        let scene = wanting(lab)?;
        let code = Code::HO_DECLINED.into();
        let subject = scene.draft.want.id();
        lab.send(scene.link, Decline { session: scene.book.id, subject, code, ext: Exts::empty() });
        resolves(lab, Code::HO_DECLINED)
    })
    .since(V1_7),
    works("handoff/request/decline-of-another-changes-nothing", &["HO-DECLINE-1"], T, |lab| {
        let scene = wanting(lab)?;
        let code = Code::HO_DECLINED.into();
        let subject = Hash::new([9; 32]);
        lab.send(scene.link, Decline { session: scene.book.id, subject, code, ext: Exts::empty() });
        lab.no_event("event handoff-resolved", |event| matches!(event, Event::HandoffResolved { .. }))?;
        scene.succeeds(lab)
    })
    .since(V1_7),
    works("handoff/request/cancelled", &["HO-CANCEL-1"], T, |lab| {
        let scene = wanting(lab)?;
        lab.must(Command::CancelHandoff { session: scene.book.id })?;
        withdrawn(lab, scene.link, scene.draft.want.id(), Code::HO_CANCELLED)
    })
    .since(V1_7),
    works("handoff/request/consent", &["GEN-PAIR-11", "HO-WANT-7"], T, |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.send(link, book.whole());
        lab.must(Command::Consent { session: book.id, to: peer.id, ttl_us: TIMEOUT })?;
        crate::cases::scene::introduce(lab, link, &book, &data)?;
        let (_, want) = crate::cases::scene::serve_until_want(lab, link, &book)?;
        let mode = want.open(Rules::ALL).map(|want| want.mode);
        ensure(mode == Ok(2), "a WANT of mode 2", format!("{mode:?}"))
    })
    .since(Generation::V2),
];

/// Takes the subject's next OFFER.
pub(super) fn take_offer(lab: &mut Lab, link: LinkId) -> Done<OfferMsg> {
    lab.take(link, "OFFER", |message| match message {
        Message::Offer(offer) => Some(offer.clone()),
        _ => None,
    })
}

pub(super) fn start(lab: &mut Lab, own: &Owning, timeout_us: u64) -> Done {
    lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us }).map(|_| ())
}

pub(super) fn offered(lab: &mut Lab) -> Done<(Owning, OfferMsg)> {
    let own = owning(lab)?;
    start(lab, &own, TIMEOUT)?;
    let offer = take_offer(lab, own.link)?;
    Ok((own, offer))
}

fn offers(lab: &mut Lab) -> Done {
    let me = lab.id();
    let (own, message) = offered(lab)?;
    let offer = message.offer.prove(Rules::ALL, |offer: &Offer| offer.source);
    let offer = offer.map_err(|why| Fault::fail("an OFFER that verifies", format!("one that breaks {why:?}")))?;
    let body = offer.body();
    let named = body.source == me && body.target == own.peer.id && body.parent == own.book.head();
    ensure(
        named && body.session == own.session,
        "an OFFER by the subject to the peer under the head",
        format!("{body:?}"),
    )?;
    ensure(
        body.manifest == own.data.manifest && body.root == own.data.root,
        "the present manifest",
        format!("{body:?}"),
    )?;
    ensure((1..=60_000).contains(&body.ttl), "a ttl of the time left", body.ttl)?;
    ensure(message.req != 0, "a request number", message.req)
}

fn decline(own: &Owning, subject: Hash) -> Decline {
    Decline { session: own.session, subject, code: Code::HO_DECLINED.into(), ext: Exts::empty() }
}

fn error(req: u32, own: &Owning, code: Code) -> Error {
    let session = Some(own.session).into();
    Error { req, session, code: code.into(), definite: true, retry_after_ms: 0, ext: Exts::empty() }
}

/// The handoff ends with this code.
pub(super) fn resolves(lab: &mut Lab, code: Code) -> Done {
    let came = lab.event("the event handoff-resolved with an error", |event| match event {
        Event::HandoffResolved { result: Err(code), .. } => Some(*code),
        _ => None,
    })?;
    ensure(came == code, &format!("handoff-resolved with {code:?}"), format!("{came:?}"))
}

/// The handoff goes on: nothing was told, and a WANT is granted.
fn goes_on(lab: &mut Lab, own: &Owning) -> Done {
    lab.no_event("event handoff-resolved", |event| matches!(event, Event::HandoffResolved { .. }))?;
    let want = own.want(lab);
    own.send_want(lab, 42, &want);
    take_grant(lab, own.link).map(|_| ())
}

/// A CANCEL of this comes, with this code.
pub(super) fn withdrawn(lab: &mut Lab, link: LinkId, subject: Hash, code: Code) -> Done {
    let came = lab.take(link, "CANCEL", |message| match message {
        Message::Cancel(cancel) if cancel.subject == subject => Some(Code::from(cancel.code)),
        _ => None,
    })?;
    ensure(came == code, &format!("CANCEL {code:?}"), format!("{came:?}"))
}
