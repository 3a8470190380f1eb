//! Chapter wire: frames, encodings, extensions.

use segue_proto::Code;
use segue_proto::limits::{MAX_EXT, MAX_EXT_BYTES, MAX_FRAME};
use segue_proto::wire::frame::write_varint;
use segue_proto::wire::{Blob, Error, Ext, Exts, List, Message, Ping};
use segue_testkit::device::Command;

use super::scene::{TIMEOUT, alone, linked, owning, serve_until_want, session_of};
use super::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure, opposite};

const E: Part = Part::End;

pub(super) const CASES: &[Case] = &[
    works("wire/frame/unknown-odd-is-skipped", &["WIRE-FRAME-3"], E, |lab| sends(lab, &frame(0x77, b"later"))),
    works("wire/frame/grease-is-skipped", &["WIRE-FRAME-3"], E, |lab| sends(lab, &frame(64 * 9 + 27, &[0; 100]))),
    works("wire/frame/unknown-odd-before-auth", &["WIRE-FRAME-3"], E, |lab| {
        let peer = alone(lab)?;
        let link = lab.link_up(segue_proto::Role::Responder, None);
        lab.send_raw(link, &frame(0x77, b"later"));
        lab.greet(&peer, link)?;
        lab.alive(link)
    }),
    refused("wire/frame/unknown-even", &["WIRE-FRAME-2"], E, odd, |lab| {
        ends(lab, &frame(0x5e, b"later"), Code::WIRE_UNKNOWN_CRITICAL)
    }),
    refused("wire/frame/unknown-even-before-auth", &["WIRE-FRAME-2"], E, odd, |lab| {
        alone(lab)?;
        let link = lab.link_up(segue_proto::Role::Responder, None);
        lab.prove(link)?;
        lab.send_raw(link, &frame(0x5e, b""));
        lab.ends_with(link, Code::WIRE_UNKNOWN_CRITICAL)
    }),
    refused(
        "wire/frame/too-long",
        &["WIRE-FRAME-1"],
        E,
        |lab| sends(lab, &frame(0x77, &vec![0; MAX_FRAME])),
        |lab| {
            let mut header = vec![0x77];
            write_varint(MAX_FRAME as u64 + 1, &mut header);
            ends(lab, &header, Code::LIMIT_FRAME)
        },
    ),
    refused("wire/frame/length-beyond-all", &["WIRE-FRAME-1"], E, odd, |lab| {
        let mut header = vec![0x77];
        write_varint(u64::MAX, &mut header);
        ends(lab, &header, Code::LIMIT_FRAME)
    }),
    works("wire/frame/only-listed-types", &["WIRE-TYPE-1"], Part::Source, |lab| {
        // Whatever a subject says in a handoff is of a listed type, or grease behind its AUTH.
        let own = owning(lab)?;
        let grant = own.granted(lab)?;
        own.acknowledge(lab, &grant);
        lab.stays(own.link)
    }),
    works("wire/frame/grease-as-declared", &["WIRE-TYPE-1"], E, grease).choice(),
    refused("wire/order/long-varint-before-what-follows", &["WIRE-ORDER-1"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[0x87, 0, 0, 0, 9]), Code::WIRE_NONCANONICAL)
    }),
    refused("wire/order/end-before-long-varint", &["WIRE-ORDER-1"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[0x87, 0, 0]), Code::WIRE_LENGTH)
    }),
    refused("wire/order/what-follows-before-extension", &["WIRE-ORDER-1"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[7, 0, 1, 0x76, 0, 9]), Code::WIRE_LENGTH)
    }),
    refused("wire/order/cap-before-bool", &["WIRE-ORDER-1"], E, pings, |lab| {
        // The list of extensions claims too many; its first element ends early, which comes later.
        ends(lab, &frame(0x08, &[7, 0, MAX_EXT as u8 + 1]), Code::WIRE_LIMIT)
    }),
    works("wire/req/error-of-no-request-is-ignored", &["WIRE-REQ-1"], Part::Target, |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.send(link, book.whole());
        lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
        let req = lab.take(link, "a HAVE that asks", |message| match message {
            Message::Have(have) if have.session == book.id && have.req != 0 => Some(have.req),
            _ => None,
        })?;
        let (session, code) = (Some(book.id).into(), Code::HO_UNKNOWN_SESSION.into());
        let req = req.wrapping_add(1_000_000);
        lab.send(link, Error { req, session, code, definite: true, retry_after_ms: 0, ext: Exts::empty() });
        lab.send(link, book.have(Some(data)));
        serve_until_want(lab, link, &book).map(|_| ())
    }),
    refused("wire/frame/long-type", &["WIRE-CANON-1"], E, pings, |lab| {
        let (_, payload) = split(&ping(7).to_frame());
        let mut bytes = vec![0x88, 0x00, payload.len() as u8];
        bytes.extend_from_slice(&payload);
        ends(lab, &bytes, Code::WIRE_NONCANONICAL)
    }),
    refused("wire/frame/long-length", &["WIRE-CANON-1"], E, pings, |lab| {
        let (_, payload) = split(&ping(7).to_frame());
        let mut bytes = vec![0x08, 0x80 | payload.len() as u8, 0x00];
        bytes.extend_from_slice(&payload);
        ends(lab, &bytes, Code::WIRE_NONCANONICAL)
    }),
    works("wire/frame/byte-by-byte", &["WIRE-FRAME-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        for byte in ping(7).to_frame() {
            lab.send_raw(link, &[byte]);
        }
        answered(lab, link, 7)
    }),
    works("wire/frame/several-at-once", &["WIRE-FRAME-1"], E, |lab| {
        let (_, link) = linked(lab)?;
        lab.send_raw(link, &[ping(7).to_frame(), frame(0x77, b""), ping(8).to_frame()].concat());
        answered(lab, link, 7)?;
        answered(lab, link, 8)
    }),
    refused("wire/canon/long-varint", &["WIRE-CANON-1"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[0x87, 0x00, 0, 0]), Code::WIRE_NONCANONICAL)
    }),
    refused("wire/canon/bool-of-two", &["WIRE-CANON-1"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[7, 2, 0]), Code::WIRE_NONCANONICAL)
    }),
    refused("wire/canon/varint-beyond-64-bits", &["WIRE-CANON-1"], E, pings, |lab| {
        let nonce = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        ends(lab, &frame(0x08, &[&nonce[..], &[0, 0]].concat()), Code::WIRE_NONCANONICAL)
    }),
    refused("wire/canon/trailing-byte", &["WIRE-CANON-2"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[7, 0, 0, 0]), Code::WIRE_LENGTH)
    }),
    refused("wire/canon/short-payload", &["WIRE-CANON-2"], E, pings, |lab| {
        ends(lab, &frame(0x08, &[7]), Code::WIRE_LENGTH)
    }),
    refused("wire/canon/short-id", &["WIRE-CANON-2"], E, pings, |lab| {
        ends(lab, &frame(0x42, &[1; 20]), Code::WIRE_LENGTH)
    }),
    refused(
        "wire/cap/too-many-extensions",
        &["WIRE-CAP-1"],
        E,
        |lab| extended(lab, &exts(MAX_EXT)),
        |lab| {
            let mut payload = vec![7, 0, MAX_EXT as u8 + 1];
            (0..=MAX_EXT).for_each(|at| payload.extend_from_slice(&[2 * at as u8 + 1, 0]));
            ends(lab, &frame(0x08, &payload), Code::WIRE_LIMIT)
        },
    ),
    refused(
        "wire/cap/too-long-extension",
        &["WIRE-CAP-1"],
        E,
        |lab| extended(lab, &long(MAX_EXT_BYTES)),
        |lab| {
            let mut payload = vec![7, 0, 1, 27];
            write_varint(MAX_EXT_BYTES as u64 + 1, &mut payload);
            payload.extend_from_slice(&vec![0; MAX_EXT_BYTES + 1]);
            ends(lab, &frame(0x08, &payload), Code::WIRE_LIMIT)
        },
    ),
    works("wire/ext/unknown-odd-is-ignored", &["WIRE-EXT-2"], E, |lab| extended(lab, &exts(1))),
    refused(
        "wire/ext/unknown-even",
        &["WIRE-EXT-1"],
        E,
        |lab| extended(lab, &exts(1)),
        |lab| ends(lab, &frame(0x08, &[7, 0, 1, 2, 0]), Code::WIRE_UNKNOWN_CRITICAL),
    ),
    refused("wire/ext/unknown-even-in-hello", &["WIRE-EXT-1"], E, greets_extended, |lab| {
        let peer = alone(lab)?;
        let link = lab.link_up(segue_proto::Role::Responder, None);
        lab.prove(link)?;
        let mut hello = peer.hello();
        hello.ext = of(2);
        lab.send(link, hello);
        lab.ends_with(link, Code::WIRE_UNKNOWN_CRITICAL)
    }),
];

/// What a subject sends over several links, each with a PING to answer: with grease or without, as it declared.
fn grease(lab: &mut Lab) -> Done {
    let peer = alone(lab)?;
    let mut came = 0;
    for _ in 0..GREASED {
        let link = lab.connect(&peer)?;
        for _ in 0..GREASED {
            lab.alive(link)?;
        }
        came += lab.grease(link);
        lab.link_down(link);
    }
    match lab.choices.of("grease") {
        "sends" => ensure(came > 0, "grease, as the subject declared", "none"),
        _ => ensure(came == 0, "no grease, as the subject declared or didn't say otherwise", format!("{came} frames")),
    }
}

/// How many links are tried, and PINGs on each: of a subject that sends grease with every eighth frame, one in five
/// thousand would send none.
const GREASED: usize = 8;

/// A frame of this type.
fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    segue_proto::wire::frame::write(number, &mut out, |out| out.extend_from_slice(payload));
    out
}

fn ping(nonce: u64) -> Message {
    Ping { nonce, answer: false, ext: Exts::empty() }.into()
}

/// Type and payload of a short frame.
fn split(frame: &[u8]) -> (u8, Vec<u8>) {
    (frame.first().copied().unwrap_or_default(), frame.get(2..).unwrap_or_default().to_vec())
}

/// The link survives these bytes.
fn sends(lab: &mut Lab, bytes: &[u8]) -> Done {
    let (_, link) = linked(lab)?;
    lab.send_raw(link, bytes);
    lab.alive(link)
}

/// The link doesn't, and ends with this code.
fn ends(lab: &mut Lab, bytes: &[u8], code: Code) -> Done {
    let (_, link) = linked(lab)?;
    lab.alive(link)?;
    lab.send_raw(link, bytes);
    lab.ends_with(link, code)
}

fn odd(lab: &mut Lab) -> Done {
    sends(lab, &frame(0x77, b"later"))
}

fn pings(lab: &mut Lab) -> Done {
    let (_, link) = linked(lab)?;
    lab.send_raw(link, &frame(0x08, &[7, 0, 0]));
    answered(lab, link, 7)
}

fn answered(lab: &mut Lab, link: segue_proto::LinkId, nonce: u64) -> Done {
    lab.take(link, "a PING that answers", |message| match message {
        Message::Ping(ping) if ping.answer && ping.nonce == nonce => Some(()),
        _ => None,
    })
}

/// So many unknown extensions that may be skipped.
fn exts(count: usize) -> Exts {
    let ext = |at: usize| Ext { id: 2 * at as u32 + 1, bytes: Blob::default() };
    List::new((0..count).map(ext).collect()).unwrap_or_default()
}

fn long(len: usize) -> Exts {
    let bytes = Blob::new(vec![0; len]).unwrap_or_default();
    List::new(vec![Ext { id: 27, bytes }]).unwrap_or_default()
}

fn of(id: u32) -> Exts {
    List::new(vec![Ext { id, bytes: Blob::default() }]).unwrap_or_default()
}

fn extended(lab: &mut Lab, ext: &Exts) -> Done {
    let (_, link) = linked(lab)?;
    lab.send(link, Ping { nonce: 7, answer: false, ext: ext.clone() });
    answered(lab, link, 7)
}

/// A HELLO with an extension is signed with it.
fn greets_extended(lab: &mut Lab) -> Done {
    let peer = alone(lab)?;
    let link = lab.link_up(segue_proto::Role::Responder, None);
    let mut hello = peer.hello();
    hello.ext = of(27);
    let (binding, role) = lab.channel(link);
    let auth = peer.auth(opposite(role), &hello, &binding);
    lab.send(link, hello);
    lab.send(link, auth);
    lab.prove(link)?;
    lab.alive(link)
}
