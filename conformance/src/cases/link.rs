//! Chapter link: HELLO, AUTH, liveness, good-bye, two links.

use segue_proto::limits::{AUTH_TIMEOUT, FRAME_TIMEOUT, HELLO_TIMEOUT, IDLE, KEEPALIVE, MAX_PREAUTH};
use segue_proto::wire::{Auth, Bytes, Exts, Goaway, Hash, Have, Hello, Message, Nonce, Ping, SessionId};
use segue_proto::{Code, LinkId, Role};
use segue_testkit::device::Command;

use super::scene::{alone, create, linked};
use super::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure, opposite};
use crate::peer::Peer;

const E: Part = Part::End;

pub(super) const CASES: &[Case] = &[
    works("link/hello/dialled", &["LINK-HELLO-1", "LINK-AUTH-1", "LINK-AUTH-2"], E, dialled),
    works("link/hello/dials", &["LINK-HELLO-1", "LINK-AUTH-2", "LINK-AUTH-4"], E, dials),
    works("link/hello/says-its-generation", &["LINK-HELLO-2"], E, says),
    works("link/hello/same-boot-on-all-links", &["LINK-HELLO-3"], E, |lab| {
        alone(lab)?;
        let first = greeting(lab)?;
        let second = greeting(lab)?;
        ensure(first.boot == second.boot, "the same boot value", format!("{:?}", second.boot))?;
        lab.reboot()?;
        let third = greeting(lab)?;
        ensure(first.boot != third.boot, "another boot value after a restart", format!("{:?}", third.boot))
    }),
    works("link/hello/later-generation", &["LINK-HELLO-2", "GEN-PICK-1"], E, |lab| {
        let mut peer = alone(lab)?;
        peer.generation = 9;
        let link = lab.connect(&peer)?;
        lab.alive(link)
    }),
    refused("link/hello/floor-of-none", &["LINK-HELLO-2"], E, dialled, |lab| {
        greets(lab, |hello| hello.floor = 0, Code::WIRE_VALUE)
    }),
    refused("link/hello/floor-above", &["LINK-HELLO-2"], E, dialled, |lab| {
        greets(lab, |hello| (hello.generation, hello.floor) = (2, 3), Code::WIRE_VALUE)
    }),
    refused("link/hello/floor-unknown", &["LINK-HELLO-2"], E, dialled, |lab| {
        greets(lab, |hello| (hello.generation, hello.floor) = (9, 5), Code::WIRE_VALUE)
    }),
    refused("link/hello/auth-first", &["LINK-HELLO-1"], E, dialled, |lab| {
        let (peer, link) = waiting(lab)?;
        let (binding, role) = lab.channel(link);
        lab.send(link, peer.auth(opposite(role), &peer.hello(), &binding));
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/hello/ping-first", &["LINK-HELLO-1"], E, dialled, |lab| {
        let (_, link) = waiting(lab)?;
        lab.send(link, Ping { nonce: 1, answer: false, ext: Exts::empty() });
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/hello/twice", &["LINK-AUTH-1"], E, dialled, |lab| {
        let (peer, link) = waiting(lab)?;
        lab.send(link, peer.hello());
        lab.send(link, peer.hello());
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/hello/again-after-auth", &["LINK-HELLO-1"], E, dialled, |lab| {
        let (peer, link) = linked(lab)?;
        lab.send(link, peer.hello());
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/auth/ping-instead", &["LINK-AUTH-1"], E, dialled, |lab| {
        let (peer, link) = waiting(lab)?;
        lab.send(link, peer.hello());
        lab.send(link, Ping { nonce: 1, answer: false, ext: Exts::empty() });
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/auth/twice", &["LINK-AUTH-1"], E, dialled, |lab| {
        let (peer, link) = linked(lab)?;
        let (binding, role) = lab.channel(link);
        lab.send(link, peer.auth(opposite(role), &peer.hello(), &binding));
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/auth/bytes-on-the-control-stream", &["LINK-AUTH-1"], E, dialled, |lab| {
        let (_, link) = linked(lab)?;
        lab.send(link, Bytes { req: 1, blob: Hash::new([1; 32]), offset: 0, len: 0, ext: Exts::empty() });
        lab.ends_with(link, Code::WIRE_STATE)
    }),
    refused("link/auth/other-channel", &["LINK-AUTH-2", "LINK-AUTH-6"], E, dialled, |lab| {
        proves(lab, |peer, role, _| peer.auth(role, &peer.hello(), &[9; 32]))
    }),
    refused("link/auth/other-role", &["LINK-AUTH-2", "LINK-AUTH-6"], E, dialled, |lab| {
        proves(lab, |peer, role, binding| peer.auth(opposite(role), &peer.hello(), binding))
    }),
    refused("link/auth/other-hello", &["LINK-AUTH-2", "LINK-AUTH-6"], E, dialled, |lab| {
        let other = |peer: &Peer, role, binding: &_| peer.auth(role, &Hello { floor: 2, ..peer.hello() }, binding);
        proves(lab, other)
    }),
    refused("link/auth/other-key", &["LINK-AUTH-2", "LINK-AUTH-6"], E, dialled, |lab| {
        let other = |peer: &Peer, role, binding: &[u8; 32]| {
            let thief = Peer::new(&mut segue_testkit::rng::Rng::new(9, "thief"));
            Auth { key: peer.id, ..thief.auth(role, &peer.hello(), binding) }
        };
        proves(lab, other)
    }),
    refused("link/auth/signature-of-zeros", &["LINK-AUTH-2", "WIRE-SIGN-1"], E, dialled, |lab| {
        let zeros =
            |peer: &Peer, _, _: &_| Auth { key: peer.id, sig: segue_proto::wire::Sig::ZERO, ext: Exts::empty() };
        proves(lab, zeros)
    }),
    refused("link/auth/the-subject-itself", &["LINK-AUTH-2"], E, dialled, |lab| {
        alone(lab)?;
        let link = lab.link_up(Role::Responder, None);
        let mut twin = Peer::new(&mut lab.rng);
        (twin.key, twin.id) = (lab.setup.key(), lab.id());
        let (binding, role) = lab.channel(link);
        lab.send(link, twin.hello());
        lab.send(link, twin.auth(opposite(role), &twin.hello(), &binding));
        lab.ends_with(link, Code::AUTH_FAILED)
    }),
    refused("link/auth/unknown-device", &["LINK-AUTH-3", "LINK-AUTH-6"], E, unknown_accepted, |lab| {
        alone(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = waits(lab)?;
        said(lab, &stranger, link);
        lab.ends_with(link, Code::AUTH_FAILED)
    }),
    works("link/auth/member-of-a-session", &["LINK-AUTH-3"], E, |lab| {
        alone(lab)?;
        let member = Peer::new(&mut lab.rng);
        create(lab, &member)?;
        let link = lab.connect(&member)?;
        lab.alive(link)
    }),
    refused("link/auth/other-than-dialled", &["LINK-AUTH-4", "LINK-AUTH-6"], E, dials, |lab| {
        let peer = alone(lab)?;
        let dialled = Peer::new(&mut lab.rng);
        let link = lab.link_up(Role::Initiator, Some(dialled.id));
        lab.prove(link)?;
        said(lab, &peer, link);
        lab.ends_with(link, Code::AUTH_FAILED)
    }),
    works("link/auth/nothing-before-it", &["LINK-AUTH-5"], E, |lab| {
        let peer = alone(lab)?;
        create(lab, &peer)?;
        let link = waits(lab)?;
        lab.none(link, "message before AUTH", |_| true)
    }),
    works("link/ping/answered", &["LINK-PING-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.alive(link)
    }),
    works("link/ping/answer-is-not-answered", &["LINK-PING-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.send(link, Ping { nonce: 5, answer: true, ext: Exts::empty() });
        lab.none(link, "PING", |message| matches!(message, Message::Ping(_)))
    }),
    works("link/idle/asks-then-ends", &["LINK-IDLE-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.pass(KEEPALIVE);
        lab.take(link, "a PING after KEEPALIVE", |message| match message {
            Message::Ping(ping) if !ping.answer => Some(()),
            _ => None,
        })?;
        lab.pass(IDLE - KEEPALIVE);
        lab.ends_with(link, Code::LIMIT_IDLE)
    }),
    works("link/idle/any-byte-is-a-sign-of-life", &["LINK-IDLE-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        for _ in 0..4 {
            lab.pass(IDLE - 1_000_000);
            lab.send(link, Ping { nonce: 5, answer: true, ext: Exts::empty() });
        }
        lab.alive(link)
    }),
    refused("link/progress/no-hello", &["LINK-PROGRESS-1"], E, just_in_time, |lab| {
        let (_, link) = waiting(lab)?;
        lab.pass(HELLO_TIMEOUT);
        lab.ends_with(link, Code::LIMIT_PROGRESS)
    }),
    refused("link/progress/no-auth", &["LINK-PROGRESS-1"], E, just_in_time, |lab| {
        let (peer, link) = waiting(lab)?;
        lab.send(link, peer.hello());
        lab.pass(AUTH_TIMEOUT);
        lab.ends_with(link, Code::LIMIT_PROGRESS)
    }),
    refused("link/progress/frame-by-trickle", &["LINK-PROGRESS-1"], E, just_in_time, |lab| {
        let (_, link) = linked(lab)?;
        // A frame of 100 bytes that never ends, a byte a second.
        lab.send_raw(link, &[0x77, 100]);
        for _ in 0..10 {
            lab.pass(FRAME_TIMEOUT / 10);
            lab.send_raw(link, &[0]);
        }
        lab.ends_with(link, Code::LIMIT_PROGRESS)
    }),
    refused("link/preauth/too-much", &["LINK-PREAUTH-1"], E, grease_first, |lab| {
        let (_, link) = waiting(lab)?;
        let mut grease = Vec::new();
        for _ in 0..2 {
            segue_proto::wire::frame::write(27, &mut grease, |out| out.resize(out.len() + MAX_PREAUTH / 2, 0));
        }
        lab.send_raw(link, &grease);
        lab.ends_with(link, Code::LIMIT_PREAUTH)
    }),
    works("link/goaway/answered", &["LINK-GOAWAY-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.send(link, Goaway { code: Code::LINK_SHUTDOWN.into(), ext: Exts::empty() });
        lab.ends_with(link, Code::LINK_SHUTDOWN)
    }),
    works("link/goaway/answered-whatever-the-code", &["LINK-GOAWAY-1", "ERR-CODE-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.send(link, Goaway { code: Code::from_number(0x7777).into(), ext: Exts::empty() });
        lab.ends_with(link, Code::LINK_SHUTDOWN)
    }),
    works("link/goaway/nothing-counts-behind-it", &["LINK-END-1", "LINK-GOAWAY-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        let goaway = Message::from(Goaway { code: Code::LINK_SHUTDOWN.into(), ext: Exts::empty() });
        let ping = Message::from(Ping { nonce: 6, answer: false, ext: Exts::empty() });
        lab.send_raw(link, &[goaway.to_frame(), ping.to_frame()].concat());
        lab.none(link, "answer behind a GOAWAY", |message| matches!(message, Message::Ping(_)))?;
        lab.ends_with(link, Code::LINK_SHUTDOWN)
    }),
    works("link/goaway/shutdown", &["LINK-GOAWAY-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.must(Command::Shutdown)?;
        lab.ends_with(link, Code::LINK_SHUTDOWN)
    })
    .needs(&["shutdown"]),
    works("link/error/is-not-answered", &["ERR-SEND-2", "ERR-CODE-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        let code = Code::from_number(0x7777).into();
        let session = None.into();
        lab.send(
            link,
            segue_proto::wire::Error { req: 9, session, code, definite: false, retry_after_ms: 0, ext: Exts::empty() },
        );
        lab.none(link, "answer to an ERROR", |message| matches!(message, Message::Error(_)))?;
        lab.alive(link)
    }),
    works("link/error/bears-the-request", &["ERR-SEND-1", "ERR-DEFINITE-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        let session = SessionId::new([3; 16]);
        lab.send(link, Have { req: 4_000_000_000, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() });
        lab.refuses(link, 4_000_000_000, Code::HO_UNKNOWN_SESSION)
    }),
    works("link/two/smaller-initiator-stays", &["LINK-DUP-1"], E, |lab| duplicate(lab, true)),
    works("link/two/smaller-initiator-stays-though-older", &["LINK-DUP-1"], E, |lab| duplicate(lab, false)),
    works("link/two/new-boot-replaces", &["LINK-DUP-2"], E, |lab| {
        let mut peer = alone(lab)?;
        let smaller = smaller_role(lab, &peer);
        let old = lab.connect_as(&peer, smaller)?;
        peer.boot = Nonce::new([9; 16]);
        let new = lab.connect_as(&peer, opposite(smaller))?;
        lab.ends_with(old, Code::LINK_REPLACED)?;
        lab.alive(new)
    }),
    works("link/two/same-initiator-replaces", &["LINK-DUP-2"], E, |lab| {
        let peer = alone(lab)?;
        let old = lab.connect(&peer)?;
        let new = lab.connect(&peer)?;
        lab.ends_with(old, Code::LINK_REPLACED)?;
        lab.alive(new)
    }),
];

fn dialled(lab: &mut Lab) -> Done {
    let (peer, link) = linked(lab)?;
    lab.ready(peer.id)?;
    lab.alive(link)
}

fn dials(lab: &mut Lab) -> Done {
    let peer = alone(lab)?;
    let link = lab.connect_as(&peer, Role::Initiator)?;
    lab.alive(link)
}

/// A transport connection on which the peer hasn't said anything yet.
fn waiting(lab: &mut Lab) -> Done<(Peer, LinkId)> {
    let peer = alone(lab)?;
    let link = waits(lab)?;
    Ok((peer, link))
}

/// The subject was dialled, and has said what it says without waiting.
fn waits(lab: &mut Lab) -> Done<LinkId> {
    let link = lab.link_up(Role::Responder, None);
    lab.prove(link)?;
    Ok(link)
}

/// The subject's HELLO on a new link.
fn greeting(lab: &mut Lab) -> Done<Hello> {
    let link = lab.link_up(Role::Responder, None);
    lab.take(link, "HELLO", |message| match message {
        Message::Hello(hello) => Some(hello.clone()),
        _ => None,
    })
}

fn says(lab: &mut Lab) -> Done {
    alone(lab)?;
    let hello = greeting(lab)?;
    let own = (hello.generation, hello.floor);
    let generation = lab.generation.number();
    ensure(own == (generation, 1), "the generation and the floor that it was started with", format!("{own:?}"))
}

fn said(lab: &mut Lab, peer: &Peer, link: LinkId) {
    let (binding, role) = lab.channel(link);
    let hello = peer.hello();
    let auth = peer.auth(opposite(role), &hello, &binding);
    lab.send(link, hello);
    lab.send(link, auth);
}

fn greets(lab: &mut Lab, tweak: fn(&mut Hello), code: Code) -> Done {
    let (peer, link) = waiting(lab)?;
    let mut hello = peer.hello();
    tweak(&mut hello);
    lab.send(link, hello);
    lab.ends_with(link, code)
}

fn proves(lab: &mut Lab, auth: fn(&Peer, Role, &[u8; 32]) -> Auth) -> Done {
    let (peer, link) = waiting(lab)?;
    let (binding, role) = lab.channel(link);
    lab.send(link, peer.hello());
    lab.send(link, auth(&peer, opposite(role), &binding));
    lab.ends_with(link, Code::AUTH_FAILED)
}

fn unknown_accepted(lab: &mut Lab) -> Done {
    lab.setup.accept_unknown = true;
    alone(lab)?;
    let stranger = Peer::new(&mut lab.rng);
    let link = lab.connect(&stranger)?;
    lab.alive(link)
}

/// Everything comes just before it is too late.
fn just_in_time(lab: &mut Lab) -> Done {
    let (peer, link) = waiting(lab)?;
    let (binding, role) = lab.channel(link);
    lab.pass(HELLO_TIMEOUT - SHORT);
    lab.send(link, peer.hello());
    lab.pass(AUTH_TIMEOUT - HELLO_TIMEOUT - SHORT);
    lab.send(link, peer.auth(opposite(role), &peer.hello(), &binding));
    lab.stays(link)?;
    let ping = Message::from(Ping { nonce: 6, answer: false, ext: Exts::empty() }).to_frame();
    lab.send_raw(link, &ping[..2]);
    lab.pass(FRAME_TIMEOUT - SHORT);
    lab.send_raw(link, &ping[2..]);
    lab.alive(link)
}

fn grease_first(lab: &mut Lab) -> Done {
    let (peer, link) = waiting(lab)?;
    let mut grease = Vec::new();
    segue_proto::wire::frame::write(27, &mut grease, |out| out.resize(out.len() + MAX_PREAUTH / 2, 0));
    lab.send_raw(link, &grease);
    said(lab, &peer, link);
    lab.alive(link)
}

/// The subject's role on the link whose initiator has the smaller key.
fn smaller_role(lab: &Lab, peer: &Peer) -> Role {
    if lab.id() < peer.id { Role::Initiator } else { Role::Responder }
}

/// Two links by different initiators, with one boot value: the smaller initiator's stays.
fn duplicate(lab: &mut Lab, smaller_last: bool) -> Done {
    let peer = alone(lab)?;
    let smaller = smaller_role(lab, &peer);
    let first = if smaller_last { opposite(smaller) } else { smaller };
    let old = lab.connect_as(&peer, first)?;
    let expect = (opposite(first) == Role::Initiator).then_some(peer.id);
    let new = lab.link_up(opposite(first), expect);
    said(lab, &peer, new);
    let (stays, goes) = if smaller_last { (new, old) } else { (old, new) };
    lab.ends_with(goes, Code::LINK_REPLACED)?;
    lab.alive(stays)
}

/// Less than what any timer of the chapter is exact to, in microseconds; more than `lab` lets pass of itself.
const SHORT: u64 = 2 * crate::lab::SOON;
