//! How links end: good-bye, close codes, and two links with one device.

use segue_proto::Code;
use segue_proto::wire::{Exts, Goaway, Hash, Have, Message, Nonce, Ping, SessionId};

use super::Sign::{Close as Closed, Event as Told};
use super::stream::{closed, ready};
use super::{BOTH, Case, DIALLED, DIALS, linked, refused, works};
use crate::lab::{Done, ensure};
use crate::loopback::{Dialling, Loopback};
use segue_testkit::device::Command;

const UNKNOWN: Code = Code::from_number(0x7777);

pub(super) const CASES: &[Case] = &[
    works("transport/close/goaway-is-answered", &["TRANSPORT-CLOSE-1", "LINK-GOAWAY-1"], BOTH, |lo| {
        says_goodbye(lo, Code::LINK_SHUTDOWN)
    })
    .outside(),
    works(
        "transport/close/goaway-of-an-unknown-code",
        &["TRANSPORT-CLOSE-1", "LINK-GOAWAY-1", "ERR-CODE-1"],
        BOTH,
        |lo| says_goodbye(lo, UNKNOWN),
    )
    .outside(),
    works("transport/close/shutdown", &["TRANSPORT-CLOSE-1", "LINK-GOAWAY-1"], BOTH, |lo| {
        let (_, mut link) = lo.linked()?;
        lo.must(Command::Shutdown)?;
        link.closed_with(Code::LINK_SHUTDOWN)
    })
    .needs(&["shutdown"]),
    refused(
        "transport/close/frame-behind-goaway",
        &["LINK-END-1", "LINK-GOAWAY-1"],
        BOTH,
        Closed(Code::LINK_SHUTDOWN),
        linked,
        |lo, code| {
            let (_, mut link) = lo.linked()?;
            let goaway = Message::from(Goaway { code: Code::LINK_SHUTDOWN.into(), ext: Exts::empty() });
            let ping = Message::from(Ping { nonce: 6, answer: false, ext: Exts::empty() });
            link.send_raw(&[goaway.to_frame(), ping.to_frame()].concat());
            link.closed_with(code)?;
            let answered = link.has(|message| matches!(message, Message::Ping(ping) if ping.answer && ping.nonce == 6));
            ensure(!answered, "no answer behind a GOAWAY", "a PING")
        },
    )
    .outside(),
    refused("transport/close/with-a-code", &["TRANSPORT-CLOSE-1"], BOTH, Told(Code::VER_BELOW_FLOOR), linked, reports),
    refused("transport/close/in-order", &["TRANSPORT-CLOSE-1"], BOTH, Told(Code::LINK_SHUTDOWN), linked, reports),
    refused(
        "transport/close/with-an-unknown-code",
        &["TRANSPORT-CLOSE-1", "ERR-CODE-1"],
        BOTH,
        Told(UNKNOWN),
        linked,
        reports,
    ),
    refused(
        "transport/close/with-a-code-of-more-than-16-bits",
        &["TRANSPORT-CLOSE-1"],
        BOTH,
        Told(Code::LINK_LOST),
        linked,
        |lo, code| {
            let (peer, mut link) = ready(lo)?;
            link.close_with(0x1_0000 | u32::from(Code::VER_BELOW_FLOOR.number()));
            closed(lo, peer.id, code)
        },
    ),
    refused(
        "transport/close/before-hello",
        &["TRANSPORT-CLOSE-1"],
        DIALS,
        Told(Code::AUTH_FAILED),
        linked,
        |lo, code| {
            let peer = lo.trusted()?;
            let mut link = lo.connect(&peer)?;
            link.close(code);
            closed(lo, peer.id, code)
        },
    ),
    refused("transport/close/not-read", &["LINK-QUEUE-1"], DIALLED, Closed(Code::LIMIT_QUEUE), linked, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.dial(&Dialling { window: 4_096, ..Dialling::default() })?;
        link.greet(&peer)?;
        // Each of these is answered by an ERROR of some 30 bytes, which nobody reads.
        let session = SessionId::new([9; 16]);
        for page in 0..64u32 {
            let asks = (1..=1_000).map(|at| {
                let req = page * 1_000 + at;
                Message::from(Have { req, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() }).to_frame()
            });
            link.send_raw(&asks.flatten().collect::<Vec<u8>>());
        }
        link.closed_unread(code)
    })
    .outside(),
    works("transport/close/and-called-again", &["TRANSPORT-CLOSE-1", "SEC-PANIC-1"], DIALLED, |lo| {
        let peer = lo.trusted()?;
        for code in [Code::LINK_SHUTDOWN, Code::AUTH_FAILED, UNKNOWN] {
            let mut link = lo.connect(&peer)?;
            link.close(code);
            let mut link = lo.connect(&peer)?;
            link.greet(&peer)?;
            link.close(code);
        }
        lo.connect(&peer)?.greet(&peer)
    })
    .outside(),
    refused(
        "transport/two/same-initiator",
        &["LINK-DUP-2"],
        DIALLED,
        Closed(Code::LINK_REPLACED),
        linked,
        |lo, code| {
            let (peer, mut old) = lo.linked()?;
            let mut new = lo.connect(&peer)?;
            new.greet(&peer)?;
            old.ends_with(code)?;
            new.alive()
        },
    )
    .outside(),
    refused("transport/two/another-boot", &["LINK-DUP-2"], DIALLED, Closed(Code::LINK_REPLACED), linked, |lo, code| {
        let (mut peer, mut old) = lo.linked()?;
        peer.boot = Nonce::new(lo.rng.array());
        let mut new = lo.connect(&peer)?;
        new.greet(&peer)?;
        old.ends_with(code)?;
        new.alive()
    })
    .outside(),
];

fn says_goodbye(lo: &mut Loopback, code: Code) -> Done {
    let (_, mut link) = lo.linked()?;
    link.send(Goaway { code: code.into(), ext: Exts::empty() });
    link.closed_with(Code::LINK_SHUTDOWN)
}

/// The suite closes the connection of a link with this code, and the subject tells its application so.
fn reports(lo: &mut Loopback, code: Code) -> Done {
    let (peer, mut link) = ready(lo)?;
    link.close(code);
    closed(lo, peer.id, code)
}
