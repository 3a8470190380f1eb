//! A WANT arrives at the subject, which owns.

use segue_proto::limits::MAX_WANTS;
use segue_proto::wire::{Cancel, Exts, Hash, Held, Message, SessionId, Signed, Want, WantMode, WantMsg};
use segue_proto::{Code, Event, Generation, LinkId, Policy, SessionRole, Token};
use segue_testkit::device::Command;

use crate::cases::scene::{Owning, TIMEOUT, create, learn, linked, owning, session_of, take_grant, take_head};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Peer, tampered};

const V1_7: Generation = Generation::V1_7;
const V2: Generation = Generation::V2;
const S: Part = Part::Source;

pub(super) const CASES: &[Case] = &[
    works("handoff/want/granted", &["HO-GRANT-4", "HO-GRANT-10", "HO-WANT-5"], S, granted),
    refused("handoff/want/stale-parent", &["HO-WANT-1", "HO-HEAD-2"], S, granted, |lab| {
        let own = owning(lab)?;
        refuses(lab, &own, |want| want.parent = Hash::new([9; 32]), Code::HO_STALE_PARENT)?;
        take_head(lab, own.link, own.session).map(|_| ())
    }),
    refused("handoff/want/of-another-device", &["HO-WANT-2"], S, granted, of_another_device),
    refused("handoff/want/unsigned", &["WIRE-SIGN-1"], S, granted, |lab| {
        let own = owning(lab)?;
        let want = own.want(lab);
        let want = tampered(&own.peer.sign(&want));
        lab.send(own.link, WantMsg { req: 42, want, ext: Exts::empty() });
        denies(lab, &own, Code::AUTH_SIGNATURE)
    }),
    refused("handoff/want/unknown-session", &["HO-MEMBER-1"], S, granted, |lab| {
        let own = owning(lab)?;
        refuses(lab, &own, |want| want.session = SessionId::new([9; 16]), Code::HO_UNKNOWN_SESSION)
    }),
    refused("handoff/want/unknown-mode", &["WIRE-VALUE-1"], S, granted, |lab| {
        let own = owning(lab)?;
        refuses(lab, &own, |want| want.mode = 3, Code::WIRE_VALUE)
    }),
    refused("handoff/want/pull-with-offer", &["WIRE-VALUE-1"], S, granted, |lab| {
        let own = owning(lab)?;
        refuses(lab, &own, |want| want.offer = Some(Hash::new([9; 32])).into(), Code::WIRE_VALUE)
    }),
    refused("handoff/want/answer-to-no-offer", &["HO-WANT-3"], S, answers_offer, |lab| {
        let own = owning(lab)?;
        refuses(lab, &own, |want| answer(want, Hash::new([9; 32])), Code::HO_TOKEN_BAD)
    })
    .since(V1_7),
    refused("handoff/want/answer-to-old-offer", &["HO-WANT-3", "HO-OFFER-3"], S, answers_offer, |lab| {
        let own = owning(lab)?;
        let old = offered(lab, &own)?;
        offered(lab, &own)?;
        let code = lab.take(own.link, "CANCEL of the first OFFER", |message| match message {
            Message::Cancel(cancel) if cancel.subject == old => Some(Code::from(cancel.code)),
            _ => None,
        })?;
        ensure(code == Code::HO_SUPERSEDED, "CANCEL HO_SUPERSEDED", format!("{code:?}"))?;
        let mut want = own.want(lab);
        answer(&mut want, old);
        own.send_want(lab, 42, &want);
        denies(lab, &own, Code::HO_TOKEN_BAD)
    })
    .since(V1_7),
    refused("handoff/want/answer-to-others-offer", &["HO-WANT-3"], S, answers_offer, others_offer).since(V1_7),
    refused("handoff/want/by-stranger", &["HO-MEMBER-1", "HO-WANT-4"], S, granted, by_stranger),
    refused("handoff/want/not-owner", &["HO-WANT-6", "HO-HEAD-2"], S, granted, not_owner),
    refused("handoff/want/denied-by-policy", &["HO-WANT-5"], S, granted, denied),
    works("handoff/want/asked-and-accepted", &["HO-WANT-5", "GEN-POLICY-1"], S, |lab| {
        let (own, token) = asked(lab)?;
        lab.none(own.link, "GRANT before the user's word", |message| matches!(message, Message::Grant(_)))?;
        lab.must(Command::Accept { token })?;
        take_grant(lab, own.link).map(|_| ())
    })
    .needs(&["accept"]),
    works("handoff/want/asked-and-rejected", &["HO-WANT-5", "GEN-POLICY-1"], S, |lab| {
        let (own, token) = asked(lab)?;
        lab.must(Command::Reject { token, reason: None })?;
        if lab.generation == Generation::V1_4 {
            return denies(lab, &own, Code::HO_DECLINED);
        }
        declined(lab, own.link, token, Code::HO_DECLINED)?;
        lab.is(own.session, SessionRole::Primary)
    })
    .needs(&["reject"]),
    refused("handoff/want/chosen-no-more", &["HO-WANT-7", "HO-WANT-5"], S, answers_offer, chosen_no_more)
        .needs(&["accept"])
        .since(V1_7),
    refused("handoff/want/cancelled", &["HO-CANCEL-1", "HO-WANT-8"], S, accepted_later, |lab| {
        let (own, token) = asked(lab)?;
        lab.send(own.link, cancel(own.session, token));
        nothing_granted(lab, &own, token)
    })
    .since(V2),
    works("handoff/want/cancel-is-answered", &["HO-CANCEL-2"], S, |lab| {
        let (own, token) = asked(lab)?;
        for subject in [token, Hash::new([9; 32])] {
            lab.send(own.link, cancel(own.session, subject));
            declined(lab, own.link, subject, Code::HO_CANCELLED)?;
        }
        lab.is(own.session, SessionRole::Primary)
    })
    .since(V2),
    refused("handoff/want/cancel-after-the-grant", &["HO-CANCEL-2", "HO-CANCEL-1"], S, granted, |lab| {
        let own = owning(lab)?;
        let grant = own.granted(lab)?;
        lab.send(own.link, cancel(own.session, grant.want.id()));
        lab.none(own.link, "DECLINE of what was granted", |message| matches!(message, Message::Decline(_)))?;
        lab.is(own.session, SessionRole::Releasing)
    })
    .since(V1_7),
    works("handoff/want/cancel-of-another-changes-nothing", &["HO-CANCEL-1"], S, |lab| {
        let (own, token) = asked(lab)?;
        lab.send(own.link, cancel(own.session, Hash::new([9; 32])));
        lab.must(Command::Accept { token })?;
        take_grant(lab, own.link).map(|_| ())
    })
    .since(V2),
    refused("handoff/want/expired", &["HO-WANT-8"], S, accepted_later, |lab| {
        let (own, token) = asked(lab)?;
        own.wait(lab, 61_000_000)?;
        nothing_granted(lab, &own, token)
    })
    .since(V2),
    works("handoff/want/without-a-limit", &["HO-WANT-8"], S, |lab| {
        lab.setup.pulls = Policy::Ask;
        let own = owning(lab)?;
        let want = Want { ttl: 0, ..own.want(lab) };
        own.send_want(lab, 42, &want);
        let token = request(lab, own.session)?;
        own.wait(lab, 61_000_000)?;
        lab.must(Command::Accept { token })?;
        take_grant(lab, own.link).map(|_| ())
    })
    .needs(&["accept"]),
    refused("handoff/want/trusted-no-more", &["HO-WANT-4"], S, trusted, |lab| {
        let (session, other, link, token) = asked_by_trusted(lab)?;
        lab.must(Command::Distrust { device: other.id })?;
        // Whether the request is gone or its acceptance comes to nothing is the subject's choice.
        let _ = lab.command(Command::Accept { token });
        lab.none(link, "GRANT to a device that isn't trusted any more", |message| {
            matches!(message, Message::Grant(_))
        })?;
        lab.is(session, SessionRole::Primary)
    })
    .needs(&["distrust", "accept"]),
    refused("handoff/want/no-room", &["LIMIT-ROOM-1", "HO-WANT-8"], S, accepted_later, no_room).needs(&["accept"]),
    works("handoff/want/of-the-chosen-target", &["HO-WANT-7"], S, |lab| {
        lab.setup.pulls = Policy::Deny;
        let own = owning(lab)?;
        lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        take_grant(lab, own.link).map(|_| ())
    }),
    refused("handoff/want/without-data", &["HO-GRANT-4"], S, granted, |lab| {
        announces_instead(lab, |want| want.have = None.into())
    }),
    refused("handoff/want/with-other-data", &["HO-GRANT-4"], S, granted, |lab| {
        let other = |want: &mut Want| {
            want.have = Some(Held { root: Hash::new([8; 32]), manifest: Hash::new([9; 32]) }).into();
        };
        announces_instead(lab, other)
    }),
    works("handoff/want/with-old-files", &["HO-GRANT-4"], S, |lab| {
        let own = owning(lab)?;
        lab.must(Command::WriteFile { session: own.session, path: "new.txt".into(), content: b"more".to_vec() })?;
        // What is written to shared parts after the manifest comes by sync: nothing waits for it.
        let want = own.want(lab);
        let want = own.send_want(lab, 42, &want);
        let grant = take_grant(lab, own.link)?;
        super::grant::check(lab, &own, &want, &grant, 42)
    }),
    works("handoff/want/standing", &["HO-WANT-7", "GEN-PAIR-11"], S, |lab| {
        let own = owning(lab)?;
        let mut want = own.want(lab);
        want.mode = WantMode::Standing.number();
        own.send_want(lab, 42, &want);
        lab.none(own.link, "answer to a standing WANT", |message| {
            matches!(message, Message::Grant(_) | Message::Error(_) | Message::Decline(_))
        })?;
        lab.alive(own.link)?;
        lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
        lab.none(own.link, "OFFER", |message| matches!(message, Message::Offer(_)))?;
        take_grant(lab, own.link).map(|_| ())
    })
    .since(V2),
    refused("handoff/want/second-of-two", &["HO-GRANT-3", "HO-WANT-1"], S, accepted_later, second).since(V2),
];

/// The peer pulls and is granted to; the GRANT is what it should be.
pub(super) fn granted(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    let want = own.want(lab);
    let signed = own.send_want(lab, 41, &want);
    let grant = take_grant(lab, own.link)?;
    super::grant::check(lab, &own, &signed, &grant, 41)?;
    lab.is(own.session, SessionRole::Releasing)
}

fn refuses(lab: &mut Lab, own: &Owning, tweak: fn(&mut Want), code: Code) -> Done {
    let mut want = own.want(lab);
    tweak(&mut want);
    own.send_want(lab, 42, &want);
    denies(lab, own, code)
}

fn denies(lab: &mut Lab, own: &Owning, code: Code) -> Done {
    lab.refuses(own.link, 42, code)?;
    lab.none(own.link, "GRANT", |message| matches!(message, Message::Grant(_)))?;
    lab.is(own.session, SessionRole::Primary)
}

fn of_another_device(lab: &mut Lab) -> Done {
    let other = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(other.id);
    let own = owning(lab)?;
    let mut want = own.want(lab);
    want.target = other.id;
    let want: Signed<Want> = other.sign(&want);
    lab.send(own.link, WantMsg { req: 42, want, ext: Exts::empty() });
    denies(lab, &own, Code::HO_TOKEN_WRONG_PEER)
}

fn answer(want: &mut Want, offer: Hash) {
    want.mode = WantMode::Answer.number();
    want.offer = Some(offer).into();
}

fn offered(lab: &mut Lab, own: &Owning) -> Done<Hash> {
    lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
    super::initiate::take_offer(lab, own.link).map(|offer| offer.offer.id())
}

fn answers_offer(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    let offer = offered(lab, &own)?;
    let mut want = own.want(lab);
    answer(&mut want, offer);
    own.send_want(lab, 42, &want);
    take_grant(lab, own.link).map(|_| ())
}

/// The user chooses the target, whose pull doesn't suffice yet, and thinks better of it.
fn chosen_no_more(lab: &mut Lab) -> Done {
    lab.setup.pulls = Policy::Ask;
    let own = owning(lab)?;
    let offer = offered(lab, &own)?;
    let want = Want { have: None.into(), ..own.want(lab) };
    own.send_want(lab, 42, &want);
    announced(lab, &own)?;
    lab.must(Command::CancelHandoff { session: own.session })?;
    super::initiate::withdrawn(lab, own.link, offer, Code::HO_CANCELLED)?;
    let want = own.want(lab);
    let token = own.send_want(lab, 43, &want).id();
    lab.none(own.link, "GRANT before the user's word", |message| matches!(message, Message::Grant(_)))?;
    lab.event("the event request-handoff", |event| {
        matches!(event, Event::RequestHandoff { token: it, .. } if *it == token).then_some(())
    })?;
    lab.must(Command::Accept { token })?;
    take_grant(lab, own.link).map(|_| ())
}

fn others_offer(lab: &mut Lab) -> Done {
    let other = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(other.id);
    let own = owning(lab)?;
    let theirs = lab.connect(&other)?;
    lab.must(Command::Initiate { session: own.session, to: other.id, timeout_us: TIMEOUT })?;
    let offer = super::initiate::take_offer(lab, theirs)?.offer.id();
    let mut want = own.want(lab);
    answer(&mut want, offer);
    own.send_want(lab, 42, &want);
    denies(lab, &own, Code::HO_TOKEN_WRONG_PEER)
}

fn by_stranger(lab: &mut Lab) -> Done {
    lab.setup.accept_unknown = true;
    let own = owning(lab)?;
    let stranger = Peer::new(&mut lab.rng);
    let link = lab.connect(&stranger)?;
    let want = stranger.want(&mut lab.rng, own.session, own.book.head(), None);
    lab.send(link, WantMsg { req: 42, want: stranger.sign(&want), ext: Exts::empty() });
    lab.refuses(link, 42, Code::HO_UNKNOWN_SESSION)?;
    lab.none(link, "word of the session", |message| !matches!(message, Message::Ping(_)))
}

/// The subject knows a session of which the peer is the owner.
fn not_owner(lab: &mut Lab) -> Done {
    let (peer, link) = linked(lab)?;
    let book = session_of(lab, &peer);
    lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    lab.skip(link);
    lab.send(link, book.whole());
    lab.is(book.id, SessionRole::Secondary)?;
    let want = peer.want(&mut lab.rng, book.id, book.head(), None);
    lab.send(link, WantMsg { req: 42, want: peer.sign(&want), ext: Exts::empty() });
    lab.refuses(link, 42, Code::HO_NOT_OWNER)
}

fn denied(lab: &mut Lab) -> Done {
    lab.setup.pulls = Policy::Deny;
    let own = owning(lab)?;
    let want = own.want(lab);
    let want = own.send_want(lab, 42, &want);
    if lab.generation == Generation::V1_4 {
        return denies(lab, &own, Code::HO_DECLINED);
    }
    declined(lab, own.link, want.id(), Code::HO_DECLINED)?;
    lab.is(own.session, SessionRole::Primary)
}

fn declined(lab: &mut Lab, link: LinkId, subject: Hash, code: Code) -> Done {
    let came = lab.take(link, "DECLINE of the WANT", |message| match message {
        Message::Decline(decline) if decline.subject == subject => Some(Code::from(decline.code)),
        _ => None,
    })?;
    ensure(came == code, &format!("DECLINE {code:?}"), format!("{came:?}"))
}

/// The peer pulls, and the subject's user is asked.
pub(super) fn asked(lab: &mut Lab) -> Done<(Owning, Token)> {
    lab.setup.pulls = Policy::Ask;
    let own = owning(lab)?;
    let want = own.want(lab);
    let want = own.send_want(lab, 42, &want);
    let token = request(lab, own.session)?;
    ensure(token == want.id(), "a token that is the WANT's id", format!("{token:?}"))?;
    Ok((own, token))
}

fn request(lab: &mut Lab, session: SessionId) -> Done<Token> {
    lab.event("the event request-handoff", |event| match event {
        Event::RequestHandoff { token, session: it, .. } if *it == session => Some(*token),
        _ => None,
    })
}

fn accepted_later(lab: &mut Lab) -> Done {
    let (own, token) = asked(lab)?;
    lab.pass(10_000_000);
    lab.must(Command::Accept { token })?;
    take_grant(lab, own.link).map(|_| ())
}

fn nothing_granted(lab: &mut Lab, own: &Owning, token: Token) -> Done {
    lab.must_not(Command::Accept { token })?;
    lab.none(own.link, "GRANT", |message| matches!(message, Message::Grant(_)))?;
    lab.is(own.session, SessionRole::Primary)
}

fn cancel(session: SessionId, subject: Hash) -> Cancel {
    Cancel { session, subject, code: Code::HO_CANCELLED.into(), ext: Exts::empty() }
}

fn announces_instead(lab: &mut Lab, tweak: fn(&mut Want)) -> Done {
    let own = owning(lab)?;
    let mut want = own.want(lab);
    tweak(&mut want);
    own.send_want(lab, 42, &want);
    announced(lab, &own)
}

/// A WANT whose data doesn't suffice is answered by what there is to fetch.
fn announced(lab: &mut Lab, own: &Owning) -> Done {
    lab.take(own.link, "a HAVE that announces data", |message| match message {
        Message::Have(have) if have.session == own.session && have.data.get().is_some() => Some(()),
        _ => None,
    })?;
    lab.none(own.link, "GRANT", |message| matches!(message, Message::Grant(_)))?;
    lab.is(own.session, SessionRole::Primary)
}

/// A device that is trusted, and no member, pulls; the subject's user is asked.
fn asked_by_trusted(lab: &mut Lab) -> Done<(SessionId, Peer, LinkId, Token)> {
    lab.setup.pulls = Policy::Ask;
    let other = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(other.id);
    let own = owning(lab)?;
    let link = lab.connect(&other)?;
    let token = pulls(lab, &own, &other, link)?;
    Ok((own.session, other, link, token))
}

fn trusted(lab: &mut Lab) -> Done {
    let (_, _, link, token) = asked_by_trusted(lab)?;
    lab.must(Command::Accept { token })?;
    take_grant(lab, link).map(|_| ())
}

fn pulls(lab: &mut Lab, own: &Owning, who: &Peer, link: LinkId) -> Done<Token> {
    let held = Held { root: own.data.root, manifest: own.data.manifest };
    let want = who.want(&mut lab.rng, own.session, own.book.head(), Some(held));
    lab.send(link, WantMsg { req: 42, want: who.sign(&want), ext: Exts::empty() });
    request(lab, own.session)
}

/// As many devices pull as a session keeps WANTs of; one more is refused, and the others' stay.
fn no_room(lab: &mut Lab) -> Done {
    lab.setup.pulls = Policy::Ask;
    let others: Vec<_> = (0..=MAX_WANTS).map(|_| Peer::new(&mut lab.rng)).collect();
    lab.setup.trusted.extend(others.iter().map(|other| other.id));
    let own = owning(lab)?;
    let mut first = None;
    for (at, other) in others.iter().enumerate() {
        let link = lab.connect(other)?;
        if at < MAX_WANTS {
            let token = pulls(lab, &own, other, link)?;
            first.get_or_insert((link, token));
            continue;
        }
        let want = other.want(&mut lab.rng, own.session, own.book.head(), None);
        lab.send(link, WantMsg { req: 42, want: other.sign(&want), ext: Exts::empty() });
        lab.refuses(link, 42, Code::LIMIT_ROOM)?;
    }
    let Some((link, token)) = first else { return Ok(()) };
    lab.must(Command::Accept { token })?;
    take_grant(lab, link).map(|_| ())
}

/// Two members pull; once one is granted to, the other's WANT is dead.
fn second(lab: &mut Lab) -> Done {
    lab.setup.pulls = Policy::Ask;
    let other = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(other.id);
    let peer = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(peer.id);
    lab.boot()?;
    let session = create(lab, &peer)?;
    let (a, b) = (lab.connect(&peer)?, lab.connect(&other)?);
    let mut tokens = Vec::new();
    for (who, link) in [(&peer, a), (&other, b)] {
        let (book, data, _) = learn(lab, link, session)?;
        let held = Held { root: data.root, manifest: data.manifest };
        let want = who.want(&mut lab.rng, session, book.head(), Some(held));
        lab.send(link, WantMsg { req: 42, want: who.sign(&want), ext: Exts::empty() });
        tokens.push(request(lab, session)?);
    }
    let [first, second] = tokens[..] else { return Ok(()) };
    lab.must(Command::Accept { token: first })?;
    take_grant(lab, a)?;
    lab.refuses(b, 42, Code::HO_STALE_PARENT)?;
    lab.must_not(Command::Accept { token: second })?;
    lab.none(b, "second GRANT", |message| matches!(message, Message::Grant(_)))
}
