//! An OFFER arrives at the subject.

use segue_proto::limits::{KEEPALIVE, MAX_OFFERS};
use segue_proto::wire::{Cancel, Error, Exts, Hash, Message, Offer, SessionId, Text};
use segue_proto::{Code, Event, Generation, LinkId};
use segue_testkit::device::Command;

use super::initiate::resolves;
use crate::cases::scene::{Invited, TIMEOUT, asked, invited, linked, serve_all, serve_until_want, session_of};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Peer, offer, offer_msg, tampered};
use crate::verdict::Fault;

const V1_7: Generation = Generation::V1_7;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/offer/asks-the-user", &["HO-OFFER-5", "HO-OFFER-1"], T, asks).since(V1_7),
    works("handoff/offer/waits-for-the-user", &["HO-OFFER-5"], T, |lab| {
        let scene = invited(lab)?;
        serve_all(lab, scene.link, &scene.book)?;
        lab.pass(10_000_000);
        lab.none(scene.link, "WANT before the user's word", |message| matches!(message, Message::Want(_)))
    })
    .since(V1_7),
    works("handoff/offer/accepted", &["HO-OFFER-5", "TRANSFER-HAVE-1"], T, accepts).since(V1_7),
    works("handoff/offer/rejected", &["HO-DECLINE-1"], T, |lab| {
        let scene = invited(lab)?;
        lab.must(Command::Reject { token: scene.token, reason: None })?;
        let code = lab.take(scene.link, "DECLINE of the OFFER", |message| match message {
            Message::Decline(decline) if decline.subject == scene.token => Some(Code::from(decline.code)),
            _ => None,
        })?;
        ensure(code == Code::HO_DECLINED, "DECLINE HO_DECLINED", format!("{code:?}"))
    })
    .since(V1_7),
    works("handoff/offer/again-changes-nothing", &["HO-OFFER-5"], T, |lab| {
        let scene = invited(lab)?;
        lab.send(scene.link, scene.offer.clone());
        lab.no_event("second request", |event| matches!(event, Event::HandoffRequest { .. }))?;
        accept(lab, scene)
    })
    .since(V1_7),
    works("handoff/offer/newer-takes-its-place", &["HO-OFFER-3"], T, |lab| {
        let scene = invited(lab)?;
        let newer = offer(&scene.peer, &scene.book, lab.id(), &scene.data, &mut lab.rng);
        let newer = offer_msg(&scene.peer, 72, &newer);
        lab.send(scene.link, newer.clone());
        let token = asked(lab, scene.book.id)?;
        ensure(token == newer.offer.id(), "the newer OFFER's token", format!("{token:?}"))?;
        lab.must_not(Command::Accept { token: scene.token })?;
        accept(lab, Invited { offer: newer, token, ..scene })
    })
    .since(V1_7),
    works("handoff/offer/pull-says-yes", &["HO-OFFER-6"], T, |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
        let body = offer(&peer, &book, lab.id(), &data, &mut lab.rng);
        lab.send(link, book.whole());
        lab.send(link, offer_msg(&peer, 71, &body));
        lab.send(link, book.have(Some(data)));
        serve_until_want(lab, link, &book)?;
        lab.no_event("request", |event| matches!(event, Event::HandoffRequest { .. }))
    })
    .since(V1_7),
    works("handoff/offer/again-before-another-try", &["HO-OFFER-6"], T, again_before_another_try).since(V1_7),
    refused("handoff/offer/to-another-device", &["HO-OFFER-2"], T, asks, |lab| {
        refuses(lab, |offer, other| offer.target = other.id, Code::HO_TOKEN_WRONG_PEER)
    })
    .since(V1_7),
    refused("handoff/offer/of-another-source", &["HO-OFFER-1"], T, asks, |lab| {
        refuses(lab, |offer, other| offer.source = other.id, Code::HO_NOT_OWNER)
    })
    .since(V1_7),
    refused("handoff/offer/by-a-member-that-does-not-own", &["HO-OFFER-1"], T, asks, by_a_member).since(V1_7),
    refused("handoff/offer/stale-parent", &["HO-WANT-1", "HO-HEAD-2"], T, asks, |lab| {
        refuses(lab, |offer, _| offer.parent = Hash::new([9; 32]), Code::HO_STALE_PARENT)
    })
    .since(V1_7),
    refused("handoff/offer/unknown-session", &["HO-MEMBER-1"], T, asks, |lab| {
        refuses(lab, |offer, _| offer.session = SessionId::new([9; 16]), Code::HO_UNKNOWN_SESSION)
    })
    .since(V1_7),
    refused("handoff/offer/name-with-controls", &["WIRE-STRING-1"], T, asks, |lab| {
        refuses(lab, |offer, _| offer.name = Text::new("bank\u{7}").unwrap_or_default(), Code::WIRE_STRING)
    })
    .since(V1_7),
    refused("handoff/offer/name-turned-around", &["WIRE-STRING-1"], T, asks, |lab| {
        refuses(lab, |offer, _| offer.name = Text::new("\u{202e}fdp").unwrap_or_default(), Code::WIRE_STRING)
    })
    .since(V1_7),
    refused("handoff/offer/name-too-long", &["WIRE-STRING-1"], T, asks, |lab| {
        refuses(lab, |offer, _| offer.name = Text::new("n".repeat(65)).unwrap_or_default(), Code::WIRE_STRING)
    })
    .since(V1_7),
    refused("handoff/offer/unsigned", &["WIRE-SIGN-1"], T, asks, |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        let body = offer(&peer, &book, lab.id(), &data, &mut lab.rng);
        let mut message = offer_msg(&peer, 71, &body);
        message.offer = tampered(&message.offer);
        lab.send(link, book.whole());
        lab.send(link, message);
        not_asked(lab, link, Code::AUTH_SIGNATURE)
    })
    .since(V1_7),
    refused("handoff/offer/too-many", &["HO-OFFER-4", "ERR-SEND-1"], T, asks, too_many).since(V1_7),
    refused("handoff/offer/cancelled", &["HO-CANCEL-1"], T, accepts, |lab| {
        let scene = invited(lab)?;
        lab.send(scene.link, cancel(&scene, scene.token));
        lab.event("the event withdrawn", |event| matches!(event, Event::Withdrawn { .. }).then_some(()))?;
        lab.must_not(Command::Accept { token: scene.token })?;
        lab.none(scene.link, "WANT", |message| matches!(message, Message::Want(_)))
    })
    .since(V1_7),
    works("handoff/offer/cancel-of-another-changes-nothing", &["HO-CANCEL-1"], T, |lab| {
        let scene = invited(lab)?;
        lab.send(scene.link, cancel(&scene, Hash::new([9; 32])));
        accept(lab, scene)
    })
    .since(V1_7),
    works("handoff/offer/cancel-by-another-changes-nothing", &["HO-CANCEL-1"], T, |lab| {
        let other = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(other.id);
        let scene = invited(lab)?;
        let link = lab.connect(&other)?;
        lab.send(link, cancel(&scene, scene.token));
        accept(lab, scene)
    })
    .since(V1_7),
    refused("handoff/offer/expired", &["HO-OFFER-5"], T, accepts, |lab| {
        let scene = invited(lab)?;
        for _ in 0..5 {
            lab.pass(15_000_000);
            lab.alive(scene.link)?;
        }
        lab.must_not(Command::Accept { token: scene.token })?;
        lab.none(scene.link, "WANT", |message| matches!(message, Message::Want(_)))
    })
    .since(V1_7),
    refused("handoff/offer/cancelled-after-the-accept", &["HO-CANCEL-1"], T, accepts, |lab| {
        let scene = invited(lab)?;
        lab.must(Command::Accept { token: scene.token })?;
        lab.send(scene.link, cancel(&scene, scene.token));
        lab.event("the event handoff-resolved with an error", |event| {
            matches!(event, Event::HandoffResolved { result: Err(Code::HO_CANCELLED), .. }).then_some(())
        })
    })
    .since(V1_7),
];

fn asks(lab: &mut Lab) -> Done {
    invited(lab).map(|_| ())
}

fn accepts(lab: &mut Lab) -> Done {
    let scene = invited(lab)?;
    accept(lab, scene)
}

fn accept(lab: &mut Lab, scene: Invited) -> Done {
    let token = scene.token;
    let scene = scene.accept(lab)?;
    let answers = scene.want.mode == 1 && scene.want.offer.get() == Some(&token);
    ensure(answers, "a WANT of mode 1 that names the OFFER", format!("{:?}", scene.want))?;
    scene.succeeds(lab)
}

fn refuses(lab: &mut Lab, tweak: fn(&mut Offer, &Peer), code: Code) -> Done {
    let (peer, link) = linked(lab)?;
    let other = Peer::new(&mut lab.rng);
    let mut book = session_of(lab, &peer);
    let data = book.announce();
    let mut body = offer(&peer, &book, lab.id(), &data, &mut lab.rng);
    tweak(&mut body, &other);
    let signer = if body.source == other.id { &other } else { &peer };
    lab.send(link, book.whole());
    lab.send(link, offer_msg(signer, 71, &body));
    not_asked(lab, link, code)
}

fn not_asked(lab: &mut Lab, link: LinkId, code: Code) -> Done {
    lab.refuses(link, 71, code)?;
    lab.no_event("request", |event| matches!(event, Event::HandoffRequest { .. }))
}

/// What answered an accepted OFFER was one request too many, and the OFFER is made again. A subject that tries again by
/// itself asks its user no second time; one that doesn't may, and says that the handoff has ended.
fn again_before_another_try(lab: &mut Lab) -> Done {
    let scene = invited(lab)?;
    let again = scene.offer.clone();
    let scene = scene.accept(lab)?;
    let (req, session, code) = (scene.draft.req, Some(scene.book.id).into(), Code::LIMIT_REQUESTS.into());
    lab.skip(scene.link);
    lab.send(scene.link, Error { req, session, code, definite: true, retry_after_ms: 1_000, ext: Exts::empty() });
    lab.send(scene.link, again);
    let asked = lab.no_event("request", |event| matches!(event, Event::HandoffRequest { .. })).is_err();
    for _ in 0..TRIES_WITHIN / KEEPALIVE {
        lab.pass(KEEPALIVE);
        lab.alive(scene.link)?;
    }
    let tries = |message: &Message| match message {
        Message::Have(have) => have.session == scene.book.id && have.req != 0,
        Message::Want(_) => true,
        _ => false,
    };
    let tried = lab.none(scene.link, "another try", tries).is_err();
    match (tried, asked) {
        (true, true) => Err(Fault::fail("a user who isn't asked before another try", "a request, and another try")),
        (true, false) => Ok(()),
        (false, _) => resolves(lab, Code::LIMIT_REQUESTS),
    }
}

/// Another member offers a session over its own link and with its own signature; the owner is someone else.
fn by_a_member(lab: &mut Lab) -> Done {
    let (peer, link) = linked(lab)?;
    let owner = Peer::new(&mut lab.rng);
    let members = [lab.id(), peer.id];
    let mut book = crate::peer::Book::create(&owner, &members, &mut lab.rng);
    let data = book.announce();
    let body = offer(&peer, &book, lab.id(), &data, &mut lab.rng);
    lab.send(link, book.whole());
    lab.send(link, offer_msg(&peer, 71, &body));
    not_asked(lab, link, Code::HO_NOT_OWNER)
}

fn too_many(lab: &mut Lab) -> Done {
    let scene = invited(lab)?;
    for at in 1..MAX_OFFERS {
        let body = offer(&scene.peer, &scene.book, lab.id(), &scene.data, &mut lab.rng);
        lab.send(scene.link, offer_msg(&scene.peer, 71 + at as u32, &body));
        asked(lab, scene.book.id)?;
    }
    let body = offer(&scene.peer, &scene.book, lab.id(), &scene.data, &mut lab.rng);
    lab.send(scene.link, offer_msg(&scene.peer, 99, &body));
    let session = lab.refuses_in(scene.link, 99, Code::LIMIT_OFFERS)?;
    ensure(session == Some(scene.book.id), "an ERROR that names the session", format!("{session:?}"))?;
    lab.no_event("request", |event| matches!(event, Event::HandoffRequest { .. }))?;
    for _ in 0..5 {
        lab.pass(15_000_000);
        lab.alive(scene.link)?;
    }
    let body = offer(&scene.peer, &scene.book, lab.id(), &scene.data, &mut lab.rng);
    lab.send(scene.link, offer_msg(&scene.peer, 100, &body));
    asked(lab, scene.book.id).map(|_| ())
}

fn cancel(scene: &Invited, subject: Hash) -> Cancel {
    Cancel { session: scene.book.id, subject, code: Code::HO_CANCELLED.into(), ext: Exts::empty() }
}

/// Longer than whoever may try again in a second takes to, and shorter than the OFFER's `ttl`.
const TRIES_WITHIN: u64 = TIMEOUT / 2;
