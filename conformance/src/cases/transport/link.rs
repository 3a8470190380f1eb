//! HELLO and AUTH, the generation that follows from them, and patience.

use segue_proto::limits::MAX_PREAUTH;
use segue_proto::wire::{Auth, Bytes, Decline, Exts, Hash, Hello, Ping, Range, Ranges, SessionId, Sig};
use segue_proto::{Code, Generation};

use super::Sign::Close as Closed;
use super::frame::frame;
use super::{BOTH, Case, DIALLED, DIALS, V1_7, V2, linked, refused, works};
use crate::lab::{Done, ensure};
use crate::loopback::{Answering, Link, Loopback};
use crate::peer::Peer;

const STATE: super::Sign = Closed(Code::WIRE_STATE);
const VALUE: super::Sign = Closed(Code::WIRE_VALUE);
const AUTH: super::Sign = Closed(Code::AUTH_FAILED);
const SLOW: super::Sign = Closed(Code::LIMIT_PROGRESS);
const PERMITTED: super::Sign = Closed(Code::VER_NOT_PERMITTED);
const FLOOR: super::Sign = Closed(Code::VER_BELOW_FLOOR);

pub(super) const CASES: &[Case] = &[
    works("transport/hello/links", &["LINK-HELLO-1", "LINK-AUTH-1", "LINK-AUTH-2", "LINK-PING-1"], BOTH, linked)
        .outside(),
    works("transport/hello/of-a-later-generation", &["LINK-HELLO-2", "GEN-PICK-1"], BOTH, |lo| {
        let mut peer = lo.trusted()?;
        peer.generation = 9;
        lo.connect(&peer)?.greet(&peer)
    })
    .outside(),
    works("transport/hello/same-boot-on-all-links", &["LINK-HELLO-3"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        let (mut first, mut second) = (lo.connect(&peer)?, lo.connect(&peer)?);
        first.send(peer.hello());
        second.send(peer.hello());
        let (first, second) = (first.proves()?, second.proves()?);
        ensure(first.boot == second.boot, "one boot value as long as it runs", "two")
    })
    .outside(),
    works("transport/hello/nothing-before-auth", &["LINK-AUTH-5"], BOTH, |lo| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send(peer.hello());
        link.proves()?;
        ensure(!link.has(|_| true), "nothing but HELLO and AUTH before AUTH", "a message")?;
        link.send(link.auth(&peer, &peer.hello()));
        link.alive()
    })
    .outside(),
    refused("transport/hello/ping-first", &["LINK-HELLO-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, _| link.send(Ping { nonce: 1, answer: false, ext: Exts::empty() }))
    })
    .outside(),
    refused("transport/hello/auth-first", &["LINK-HELLO-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, peer| link.send(link.auth(peer, &peer.hello())))
    })
    .outside(),
    refused("transport/hello/twice", &["LINK-AUTH-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, peer| {
            link.send(peer.hello());
            link.send(peer.hello());
        })
    })
    .outside(),
    refused("transport/hello/again-after-auth", &["LINK-HELLO-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, peer| {
            link.says(peer);
            link.send(peer.hello());
        })
    })
    .outside(),
    refused("transport/hello/floor-of-none", &["LINK-HELLO-2"], BOTH, VALUE, linked, |lo, code| {
        greets(lo, code, |hello| hello.floor = 0)
    })
    .outside(),
    refused("transport/hello/floor-above-generation", &["LINK-HELLO-2"], BOTH, VALUE, linked, |lo, code| {
        greets(lo, code, |hello| (hello.generation, hello.floor) = (2, 3))
    })
    .outside(),
    refused("transport/hello/floor-of-no-generation-known", &["LINK-HELLO-2"], BOTH, VALUE, linked, |lo, code| {
        greets(lo, code, |hello| (hello.generation, hello.floor) = (9, 5))
    })
    .outside(),
    refused("transport/hello/generation-of-none", &["LINK-HELLO-2"], BOTH, VALUE, linked, |lo, code| {
        greets(lo, code, |hello| (hello.generation, hello.floor) = (0, 0))
    })
    .outside(),
    refused("transport/auth/ping-instead", &["LINK-AUTH-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, peer| {
            link.send(peer.hello());
            link.send(Ping { nonce: 1, answer: false, ext: Exts::empty() });
        })
    })
    .outside(),
    refused("transport/auth/twice", &["LINK-AUTH-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, peer| {
            link.says(peer);
            link.send(link.auth(peer, &peer.hello()));
        })
    })
    .outside(),
    refused("transport/auth/bytes-on-the-control-stream", &["LINK-AUTH-1"], BOTH, STATE, linked, |lo, code| {
        ends(lo, code, |link, peer| {
            link.says(peer);
            link.send(Bytes { req: 1, blob: Hash::new([1; 32]), offset: 0, len: 0, ext: Exts::empty() });
        })
    })
    .outside(),
    refused("transport/auth/of-the-other-role", &["LINK-AUTH-2", "LINK-AUTH-6"], BOTH, AUTH, linked, |lo, code| {
        proves(lo, code, |link, peer| peer.auth(link.role, &peer.hello(), &link.binding))
    })
    .outside(),
    refused("transport/auth/of-another-hello", &["LINK-AUTH-2", "LINK-AUTH-6"], BOTH, AUTH, linked, |lo, code| {
        proves(lo, code, |link, peer| link.auth(peer, &Hello { floor: 2, ..peer.hello() }))
    })
    .outside(),
    refused(
        "transport/auth/of-a-stripped-generation",
        &["LINK-AUTH-2", "GEN-PICK-1"],
        BOTH,
        AUTH,
        linked,
        |lo, code| {
            // Somebody between the two lowered HELLO's generation: what was signed names a higher one.
            proves(lo, code, |link, peer| link.auth(peer, &Hello { generation: 9, ..peer.hello() }))
        },
    )
    .outside(),
    refused("transport/auth/by-another-key", &["LINK-AUTH-2", "LINK-AUTH-6"], BOTH, AUTH, linked, |lo, code| {
        proves(lo, code, |link, peer| {
            let thief = Peer::new(&mut segue_testkit::rng::Rng::new(9, "thief"));
            Auth { key: peer.id, ..link.auth(&thief, &peer.hello()) }
        })
    })
    .outside(),
    refused("transport/auth/signature-of-zeros", &["LINK-AUTH-2", "WIRE-SIGN-1"], BOTH, AUTH, linked, |lo, code| {
        proves(lo, code, |_, peer| Auth { key: peer.id, sig: Sig::ZERO, ext: Exts::empty() })
    })
    .outside(),
    refused("transport/auth/key-of-zeros", &["LINK-AUTH-2", "WIRE-SIGN-1"], BOTH, AUTH, linked, |lo, code| {
        proves(lo, code, |link, peer| Auth { key: segue_proto::wire::DeviceId::ZERO, ..link.auth(peer, &peer.hello()) })
    })
    .outside(),
    refused("transport/auth/the-subject-itself", &["LINK-AUTH-2"], DIALLED, AUTH, linked, |lo, code| {
        let mut twin = lo.trusted()?;
        (twin.key, twin.id) = (lo.setup.key(), lo.id());
        let mut link = lo.connect(&twin)?;
        link.says(&twin);
        link.ends_with(code)
    }),
    refused("transport/auth/reflected", &["LINK-AUTH-2", "LINK-AUTH-6"], DIALLED, AUTH, linked, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send_raw(&[0]);
        let (hello, auth) = link.proof()?;
        link.send_raw(&segue_proto::wire::Message::from(hello).to_frame()[1..]);
        link.send(auth);
        link.ends_with(code)
    })
    .outside(),
    refused(
        "transport/auth/unknown-device",
        &["LINK-AUTH-3", "LINK-AUTH-6"],
        DIALLED,
        AUTH,
        unknown_accepted,
        |lo, code| {
            lo.trusted()?;
            let stranger = Peer::new(&mut lo.rng);
            let mut link = lo.connect(&stranger)?;
            link.says(&stranger);
            link.ends_with(code)
        },
    ),
    refused("transport/auth/other-than-dialled", &["LINK-AUTH-4", "LINK-AUTH-6"], DIALS, AUTH, linked, |lo, code| {
        let peer = lo.trusted()?;
        let dialled = Peer::new(&mut lo.rng);
        let listener = lo.listener(&Answering::default())?;
        let mut link = lo.called(&listener, dialled.id)?;
        link.says(&peer);
        link.ends_with(code)
    }),
    refused(
        "transport/generation/below-the-floor-of-the-subject",
        &["GEN-FLOOR-1"],
        BOTH,
        FLOOR,
        linked,
        |lo, code| {
            lo.setup.floor = lo.generation;
            let mut peer = lo.trusted()?;
            peer.generation = lo.generation.number() - 1;
            let mut link = lo.connect(&peer)?;
            link.says(&peer);
            link.ends_with(code)
        },
    )
    .since(V1_7),
    refused("transport/generation/below-the-floor-of-the-peer", &["GEN-FLOOR-1"], BOTH, FLOOR, linked, |lo, code| {
        let mut peer = lo.trusted()?;
        peer.floor = lo.generation.number() + 1;
        let mut link = lo.connect(&peer)?;
        link.says(&peer);
        link.ends_with(code)
    })
    .until(V2),
    works("transport/generation/same-when-it-dials-again", &["GEN-REDIAL-1"], DIALS, |lo| {
        let peer = lo.trusted()?;
        let listener = lo.listener(&Answering::default())?;
        let mut first = lo.called(&listener, peer.id)?;
        let before = first.proves()?;
        first.close(Code::VER_BELOW_FLOOR);
        let after = lo.called(&listener, peer.id)?.proves()?;
        let same = (before.generation, before.floor) == (after.generation, after.floor);
        ensure(same, "the generations of the first call", format!("{}, floor {}", after.generation, after.floor))
    }),
    refused("transport/generation/decline-on-1.4", &["GEN-USE-1"], BOTH, PERMITTED, linked, |lo, code| {
        let session = SessionId::new([9; 16]);
        let decline =
            Decline { session, subject: Hash::new([9; 32]), code: Code::HO_DECLINED.into(), ext: Exts::empty() };
        uses(lo, code, Generation::V1_4, |link| link.send(decline.clone()))
    })
    .outside(),
    refused("transport/generation/ranges-on-1.7", &["GEN-USE-1"], BOTH, PERMITTED, linked, |lo, code| {
        let (session, blob) = (SessionId::new([9; 16]), Hash::new([9; 32]));
        let ranges = segue_proto::wire::List::new(vec![Range { offset: 0, len: 1 }]).unwrap_or_default();
        let ask = Ranges { req: 7, session, blob, len: 1, ranges, ext: Exts::empty() };
        uses(lo, code, V1_7, |link| link.send(ask.clone()))
    })
    .since(V1_7)
    .outside(),
    refused(
        "transport/preauth/too-much",
        &["LINK-PREAUTH-1"],
        BOTH,
        Closed(Code::LIMIT_PREAUTH),
        grease_first,
        |lo, code| {
            ends(lo, code, |link, _| {
                let piece = frame(27, &vec![0; MAX_PREAUTH / 2]);
                link.send_raw(&[piece.clone(), piece].concat());
            })
        },
    )
    .outside(),
    refused(
        "transport/preauth/too-much-behind-hello",
        &["LINK-PREAUTH-1"],
        BOTH,
        Closed(Code::LIMIT_PREAUTH),
        grease_first,
        |lo, code| {
            ends(lo, code, |link, peer| {
                link.send(peer.hello());
                let piece = frame(27, &vec![0; MAX_PREAUTH / 2]);
                link.send_raw(&[piece.clone(), piece].concat());
            })
        },
    )
    .outside(),
    refused("transport/progress/no-hello", &["LINK-PROGRESS-1"], BOTH, SLOW, linked, |lo, code| {
        let peer = lo.trusted()?;
        lo.connect(&peer)?.closed_with(code)
    })
    .outside(),
    refused("transport/progress/half-a-hello", &["LINK-PROGRESS-1"], DIALLED, SLOW, linked, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send_raw(&[0, 19, 4]);
        link.closed_with(code)
    })
    .outside(),
    refused("transport/progress/no-auth", &["LINK-PROGRESS-1"], DIALLED, SLOW, linked, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send(peer.hello());
        link.closed_with(code)
    })
    .outside(),
    refused("transport/progress/half-a-frame", &["LINK-PROGRESS-1"], DIALLED, SLOW, linked, |lo, code| {
        let (_, mut link) = lo.linked()?;
        link.send_raw(&[0x77, 100, 0]);
        link.closed_with(code)
    })
    .outside(),
];

/// The peer says this on a new link, and the subject ends it.
fn ends(lo: &mut Loopback, code: Code, says: fn(&mut Link, &Peer)) -> Done {
    let peer = lo.trusted()?;
    let mut link = lo.connect(&peer)?;
    says(&mut link, &peer);
    link.ends_with(code)
}

fn greets(lo: &mut Loopback, code: Code, tweak: fn(&mut Hello)) -> Done {
    let peer = lo.trusted()?;
    let mut link = lo.connect(&peer)?;
    let mut hello = peer.hello();
    tweak(&mut hello);
    let auth = link.auth(&peer, &hello);
    link.send(hello);
    link.send(auth);
    link.ends_with(code)
}

fn proves(lo: &mut Loopback, code: Code, auth: fn(&Link, &Peer) -> Auth) -> Done {
    let peer = lo.trusted()?;
    let mut link = lo.connect(&peer)?;
    link.send(peer.hello());
    let auth = auth(&link, &peer);
    link.send(auth);
    link.ends_with(code)
}

/// A link of this generation, on which the peer uses a message of a higher one.
fn uses(lo: &mut Loopback, code: Code, generation: Generation, says: impl Fn(&mut Link)) -> Done {
    let mut peer = lo.trusted()?;
    peer.generation = generation.number();
    let mut link = lo.connect(&peer)?;
    link.greet(&peer)?;
    says(&mut link);
    link.ends_with(code)
}

fn unknown_accepted(lo: &mut Loopback) -> Done {
    lo.setup.accept_unknown = true;
    lo.boot()?;
    let stranger = Peer::new(&mut lo.rng);
    lo.connect(&stranger)?.greet(&stranger)
}

fn grease_first(lo: &mut Loopback) -> Done {
    let peer = lo.trusted()?;
    let mut link = lo.connect(&peer)?;
    link.send_raw(&frame(27, &vec![0; MAX_PREAUTH / 2]));
    link.greet(&peer)
}
