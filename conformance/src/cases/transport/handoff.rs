//! Handoffs over real sockets, and those who want what isn't theirs.

use segue_proto::limits::MAX_OFFERS;
use segue_proto::wire::{
    Error, Exts, Grant, Hash, Have, Message, Nonce, Offer, SessionId, Signed, Text, Want, WantMode, WantMsg,
};
use segue_proto::{Code, Event, SessionRole};

use super::Sign::Message as Says;
use super::scene::{Owning, asked, invited, owning, session_of, wanting};
use super::{BOTH, Case, DIALLED, V1_7, linked, refused, works};
use crate::cases::Part;
use crate::lab::{Done, ensure};
use crate::loopback::Loopback;
use crate::peer::{Draft, Peer, offer, offer_msg, tampered};

const OWNS: &[&str] = &["create", "write-file"];
const PULLS: &[&str] = &["request"];
const ACCEPTS: &[&str] = &["accept"];
const SIGNATURE: super::Sign = Says(Code::AUTH_SIGNATURE);
const UNKNOWN: super::Sign = Says(Code::HO_UNKNOWN_SESSION);
const STALE: super::Sign = Says(Code::HO_STALE_PARENT);
const VALUE: super::Sign = Says(Code::WIRE_VALUE);
const CHAIN: super::Sign = Says(Code::HO_CHAIN);
const CONSENT: super::Sign = Says(Code::HO_NO_CONSENT);
const FINAL: super::Sign = Says(Code::HO_FINAL);
const PEER: super::Sign = Says(Code::HO_TOKEN_WRONG_PEER);
const OWNER: super::Sign = Says(Code::HO_NOT_OWNER);
const STRING: super::Sign = Says(Code::WIRE_STRING);

/// The subject is the source.
const fn source(case: Case) -> Case {
    case.needs(OWNS).part(Part::Source)
}

/// The subject is the target, and pulls.
const fn target(case: Case) -> Case {
    case.needs(PULLS).part(Part::Target)
}

/// The subject is the target, and is offered a session.
const fn offered(case: Case) -> Case {
    case.since(V1_7).part(Part::Target)
}

pub(super) const CASES: &[Case] = &[
    source(works("transport/want/granted", &["HO-GRANT-4", "HO-WANT-5", "HO-HEAD-3"], DIALLED, granted)),
    source(refused("transport/want/stale-parent", &["HO-WANT-1"], DIALLED, STALE, granted, |lo, code| {
        wants(lo, code, |want, _| want.parent = Hash::new([9; 32]))
    })),
    source(refused("transport/want/of-another-session", &["HO-MEMBER-1"], DIALLED, UNKNOWN, granted, |lo, code| {
        wants(lo, code, |want, _| want.session = SessionId::new([9; 16]))
    })),
    source(refused("transport/want/of-an-unknown-mode", &["WIRE-VALUE-1"], DIALLED, VALUE, granted, |lo, code| {
        wants(lo, code, |want, _| want.mode = 3)
    })),
    source(refused("transport/want/pull-with-offer", &["WIRE-VALUE-1"], DIALLED, VALUE, granted, |lo, code| {
        wants(lo, code, |want, _| want.offer = Some(Hash::new([9; 32])).into())
    })),
    source(refused(
        "transport/want/answer-to-no-offer",
        &["HO-WANT-3"],
        DIALLED,
        Says(Code::HO_TOKEN_BAD),
        granted,
        |lo, code| {
            wants(lo, code, |want, _| {
                want.mode = WantMode::Answer.number();
                want.offer = Some(Hash::new([9; 32])).into();
            })
        },
    ))
    .since(V1_7),
    source(refused("transport/want/unsigned", &["WIRE-SIGN-1"], DIALLED, SIGNATURE, granted, |lo, code| {
        let mut own = owning(lo)?;
        let want = own.want(lo);
        let want = tampered(&own.peer.sign(&want));
        says(lo, &mut own, want, code)
    })),
    source(refused("transport/want/of-another-device", &["HO-WANT-2"], DIALLED, PEER, granted, |lo, code| {
        let other = Peer::new(&mut lo.rng);
        lo.setup.trusted.push(other.id);
        let mut own = owning(lo)?;
        let want = Want { target: other.id, ..own.want(lo) };
        says(lo, &mut own, other.sign(&want), code)
    })),
    source(refused(
        "transport/want/by-a-stranger",
        &["HO-MEMBER-1", "HO-WANT-4"],
        DIALLED,
        UNKNOWN,
        granted,
        |lo, code| {
            lo.setup.accept_unknown = true;
            let own = owning(lo)?;
            let stranger = Peer::new(&mut lo.rng);
            let mut link = lo.connect(&stranger)?;
            link.greet(&stranger)?;
            let want = stranger.want(&mut lo.rng, own.session, own.book.head(), None);
            link.send(WantMsg { req: 42, want: stranger.sign(&want), ext: Exts::empty() });
            link.refuses(42, code)
        },
    )),
    source(refused(
        "transport/want/replayed-after-the-handoff",
        &["HO-WANT-1", "HO-GRANT-3"],
        DIALLED,
        Says(Code::HO_NOT_OWNER),
        granted,
        |lo, code| {
            let mut own = owning(lo)?;
            let (want, grant) = own.granted(lo)?;
            own.acknowledge(lo, &grant)?;
            own.send_want(42, &want);
            own.link.refuses(42, code)?;
            let again = own.link.has(
                |message| matches!(message, Message::Grant(Grant { record, .. }) if record.id() != grant.record.id()),
            );
            ensure(!again, "no other GRANT", "one")
        },
    )),
    refused("transport/want/of-an-unknown-session", &["HO-MEMBER-1"], BOTH, UNKNOWN, linked, |lo, code| {
        let (peer, mut link) = lo.linked()?;
        let want = peer.want(&mut lo.rng, SessionId::new([9; 16]), Hash::new([9; 32]), None);
        link.send(WantMsg { req: 42, want: peer.sign(&want), ext: Exts::empty() });
        link.refuses(42, code)
    })
    .outside(),
    refused(
        "transport/have/of-an-unknown-session",
        &["HO-HAVE-1", "HO-MEMBER-1"],
        BOTH,
        UNKNOWN,
        linked,
        |lo, code| {
            let (_, mut link) = lo.linked()?;
            link.send(Have {
                req: 905,
                session: SessionId::new([9; 16]),
                head: Hash::ZERO,
                data: None.into(),
                ext: Exts::empty(),
            });
            link.refuses(905, code)
        },
    )
    .outside(),
    source(refused("transport/have/by-a-stranger", &["HO-MEMBER-1"], DIALLED, UNKNOWN, granted, |lo, code| {
        lo.setup.accept_unknown = true;
        let own = owning(lo)?;
        let stranger = Peer::new(&mut lo.rng);
        let mut link = lo.connect(&stranger)?;
        link.greet(&stranger)?;
        let session = own.session;
        link.send(Have { req: 905, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() });
        link.refuses(905, code)?;
        ensure(!link.has(|message| matches!(message, Message::Head(_))), "no word of the session", "a HEAD")
    })),
    target(works(
        "transport/receive/pulled",
        &["HO-GRANT-11", "HO-GRANT-6", "HO-GRANT-7", "HO-HEAD-4"],
        DIALLED,
        takes,
    )),
    offered(works("transport/receive/offered", &["HO-OFFER-5", "HO-GRANT-11"], DIALLED, |lo| {
        invited(lo)?.accept(lo)?.succeeds(lo)
    }))
    .needs(ACCEPTS),
    target(refused("transport/receive/for-another-want", &["HO-GRANT-5"], DIALLED, CONSENT, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.record.want = Hash::new([9; 32]))
    })),
    target(refused("transport/receive/to-another-owner", &["HO-GRANT-5"], DIALLED, CONSENT, takes, |lo, code| {
        grants(lo, code, |draft, other| (draft.record.owner, draft.record.grantor) = (other.id, other.id))
    })),
    target(refused("transport/receive/unsigned-want", &["WIRE-SIGN-1"], DIALLED, SIGNATURE, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.want = tampered(&draft.want))
    })),
    target(refused("transport/receive/unsigned-record", &["WIRE-SIGN-1"], DIALLED, SIGNATURE, takes, |lo, code| {
        let mut scene = wanting(lo)?;
        let mut grant = scene.draft.seal();
        grant.record = tampered(&grant.record);
        scene.link.send(grant);
        scene.link.refuses(scene.draft.req, code)?;
        lo.is(scene.book.id, SessionRole::Secondary)
    })),
    target(refused("transport/receive/signed-by-another", &["HO-CHAIN-2"], DIALLED, CHAIN, takes, |lo, code| {
        grants(lo, code, |draft, other| {
            draft.signer = other.clone();
            draft.record.signer = other.id;
        })
    })),
    target(refused("transport/receive/unknown-parent", &["HO-CHAIN-1"], DIALLED, CHAIN, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.record.parent = Hash::new([9; 32]))
    })),
    target(refused("transport/receive/n-skips", &["HO-CHAIN-3"], DIALLED, CHAIN, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.record.n += 1)
    })),
    target(refused("transport/receive/term-rises", &["HO-CHAIN-4"], DIALLED, CHAIN, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.record.term += 1)
    })),
    target(refused("transport/receive/grantor-is-a-third", &["HO-CHAIN-8"], DIALLED, CHAIN, takes, |lo, code| {
        grants(lo, code, |draft, other| draft.record.grantor = other.id)
    })),
    target(refused("transport/receive/of-an-unknown-kind", &["WIRE-VALUE-1"], DIALLED, VALUE, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.record.kind = 5)
    })),
    target(refused("transport/receive/final-of-another-key", &["HO-GRANT-6"], DIALLED, FINAL, takes, |lo, code| {
        grants(lo, code, |draft, other| draft.ender = other.clone())
    })),
    target(refused("transport/receive/final-of-another-parent", &["HO-GRANT-6"], DIALLED, FINAL, takes, |lo, code| {
        grants(lo, code, |draft, _| draft.end.parent = Hash::new([9; 32]))
    })),
    target(refused(
        "transport/receive/manifest-not-held",
        &["HO-GRANT-7"],
        DIALLED,
        Says(Code::DATA_INCOMPLETE),
        takes,
        |lo, code| grants(lo, code, |draft, _| draft.end.manifest = Hash::new([9; 32])),
    )),
    target(refused(
        "transport/receive/another-root",
        &["DATA-ROOT-1"],
        DIALLED,
        Says(Code::DATA_ROOT),
        takes,
        |lo, code| grants(lo, code, |draft, _| draft.end.root = Hash::new([9; 32])),
    )),
    offered(works("transport/offer/asks-the-user", &["HO-OFFER-5", "HO-OFFER-1"], DIALLED, asks)),
    offered(works("transport/offer/again-before-another-try", &["HO-OFFER-6"], DIALLED, again_before_another_try))
        .needs(ACCEPTS),
    offered(refused("transport/offer/to-another-device", &["HO-OFFER-2"], DIALLED, PEER, asks, |lo, code| {
        offers(lo, code, |offer, other| offer.target = other.id)
    })),
    offered(refused("transport/offer/of-another-source", &["HO-OFFER-1"], DIALLED, OWNER, asks, |lo, code| {
        offers(lo, code, |offer, other| offer.source = other.id)
    })),
    offered(refused("transport/offer/stale-parent", &["HO-WANT-1"], DIALLED, STALE, asks, |lo, code| {
        offers(lo, code, |offer, _| offer.parent = Hash::new([9; 32]))
    })),
    offered(refused("transport/offer/of-an-unknown-session", &["HO-MEMBER-1"], DIALLED, UNKNOWN, asks, |lo, code| {
        offers(lo, code, |offer, _| offer.session = SessionId::new([9; 16]))
    })),
    offered(refused("transport/offer/name-with-controls", &["WIRE-STRING-1"], DIALLED, STRING, asks, |lo, code| {
        offers(lo, code, |offer, _| offer.name = Text::new("bank\u{7}").unwrap_or_default())
    })),
    offered(refused("transport/offer/name-turned-around", &["WIRE-STRING-1"], DIALLED, STRING, asks, |lo, code| {
        offers(lo, code, |offer, _| offer.name = Text::new("\u{202e}fdp").unwrap_or_default())
    })),
    offered(refused("transport/offer/unsigned", &["WIRE-SIGN-1"], DIALLED, SIGNATURE, asks, |lo, code| {
        let (peer, mut link) = lo.linked()?;
        let mut book = session_of(lo, &peer);
        let data = book.announce();
        let body = offer(&peer, &book, lo.id(), &data, &mut lo.rng);
        let mut message = offer_msg(&peer, 71, &body);
        message.offer = tampered(&message.offer);
        link.send(book.whole());
        link.send(message);
        link.refuses(71, code)
    })),
    offered(refused(
        "transport/offer/too-many",
        &["HO-OFFER-4"],
        DIALLED,
        Says(Code::LIMIT_OFFERS),
        asks,
        |lo, code| {
            let mut scene = invited(lo)?;
            for at in 1..=MAX_OFFERS as u32 {
                let body = Offer {
                    nonce: Nonce::new(lo.rng.array()),
                    ..offer(&scene.peer, &scene.book, lo.id(), &scene.data, &mut lo.rng)
                };
                scene.link.send(offer_msg(&scene.peer, 71 + at, &body));
                if at < MAX_OFFERS as u32 {
                    asked(lo, scene.book.id)?;
                }
            }
            scene.link.refuses(71 + MAX_OFFERS as u32, code)
        },
    )),
];

/// The peer pulls, is granted to, and acknowledges; the subject isn't the owner any more.
fn granted(lo: &mut Loopback) -> Done {
    let mut own = owning(lo)?;
    let (_, grant) = own.granted(lo)?;
    own.acknowledge(lo, &grant)
}

/// A WANT that is wrong in one way is refused, and the subject owns on.
fn wants(lo: &mut Loopback, code: Code, tweak: fn(&mut Want, &Peer)) -> Done {
    let mut own = owning(lo)?;
    let other = Peer::new(&mut lo.rng);
    let mut want = own.want(lo);
    tweak(&mut want, &other);
    let want = own.peer.sign(&want);
    says(lo, &mut own, want, code)
}

fn says(lo: &mut Loopback, own: &mut Owning, want: Signed<Want>, code: Code) -> Done {
    own.link.send(WantMsg { req: 42, want, ext: Exts::empty() });
    own.link.refuses(42, code)?;
    ensure(!own.link.has(|message| matches!(message, Message::Grant(_))), "no GRANT", "one")?;
    lo.is(own.session, SessionRole::Primary)
}

/// The subject pulls, takes the GRANT, is primary and acknowledges.
fn takes(lo: &mut Loopback) -> Done {
    wanting(lo)?.succeeds(lo)
}

/// A GRANT that is wrong in one way is refused, and the right one still works.
fn grants(lo: &mut Loopback, code: Code, tweak: fn(&mut Draft, &Peer)) -> Done {
    let mut scene = wanting(lo)?;
    let right = scene.draft.clone();
    let other = Peer::new(&mut lo.rng);
    tweak(&mut scene.draft, &other);
    scene.link.send(scene.draft.seal());
    scene.link.refuses(scene.draft.req, code)?;
    lo.is(scene.book.id, SessionRole::Secondary)?;
    scene.draft = right;
    scene.succeeds(lo)
}

fn asks(lo: &mut Loopback) -> Done {
    invited(lo).map(|_| ())
}

/// What answered an accepted OFFER was one request too many, and the OFFER is made again. A subject that tries again by
/// itself asks its user no second time, and is granted to; one that doesn't says that the handoff has ended.
fn again_before_another_try(lo: &mut Loopback) -> Done {
    let scene = invited(lo)?;
    let (again, data) = (scene.offer.clone(), scene.data.clone());
    let mut scene = scene.accept(lo)?;
    let (req, session, code) = (scene.draft.req, Some(scene.book.id).into(), Code::LIMIT_REQUESTS.into());
    scene.link.skip();
    scene.link.send(Error { req, session, code, definite: true, retry_after_ms: 1_000, ext: Exts::empty() });
    scene.link.send(again);
    let ended = |event: &Event| matches!(event, Event::HandoffResolved { result: Err(Code::LIMIT_REQUESTS), .. });
    let tried = |message: &Message| match message {
        Message::Have(have) => have.session == scene.book.id && have.req != 0,
        Message::Want(_) => true,
        _ => false,
    };
    let link = &mut scene.link;
    let goes_on = lo.first("another try, or the end of the handoff", ended, || {
        link.alive()?;
        Ok(link.has(tried))
    })?;
    if !goes_on {
        return Ok(());
    }
    let asked = lo.came(|event| matches!(event, Event::HandoffRequest { .. }))?;
    ensure(!asked, "a user who isn't asked before another try", "a request, and another try")?;
    scene.again(lo, &data)?.succeeds(lo)
}

/// An OFFER that is wrong in one way is refused.
fn offers(lo: &mut Loopback, code: Code, tweak: fn(&mut Offer, &Peer)) -> Done {
    let (peer, mut link) = lo.linked()?;
    let other = Peer::new(&mut lo.rng);
    let mut book = session_of(lo, &peer);
    let data = book.announce();
    let mut body = offer(&peer, &book, lo.id(), &data, &mut lo.rng);
    tweak(&mut body, &other);
    let signer = if body.source == other.id { &other } else { &peer };
    link.send(book.whole());
    link.send(offer_msg(signer, 71, &body));
    link.refuses(71, code)
}
