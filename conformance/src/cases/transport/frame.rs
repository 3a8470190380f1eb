//! Frames and encodings on a real control stream.

use segue_proto::Code;
use segue_proto::limits::{MAX_EXT, MAX_EXT_BYTES, MAX_FRAME};
use segue_proto::wire::frame::write_varint;
use segue_proto::wire::{Blob, Ext, Exts, List, Message, Ping};

use super::Sign::Close as Closed;
use super::{BOTH, Case, refused, works};
use crate::lab::Done;
use crate::loopback::Loopback;

const CRITICAL: super::Sign = Closed(Code::WIRE_UNKNOWN_CRITICAL);
const NONCANONICAL: super::Sign = Closed(Code::WIRE_NONCANONICAL);
const LENGTH: super::Sign = Closed(Code::WIRE_LENGTH);
const LIMIT: super::Sign = Closed(Code::WIRE_LIMIT);
const LONG: super::Sign = Closed(Code::LIMIT_FRAME);

pub(super) const CASES: &[Case] = &[
    works("transport/frame/unknown-odd-is-skipped", &["WIRE-FRAME-3"], BOTH, odd).outside(),
    works("transport/frame/unknown-odd-before-auth", &["WIRE-FRAME-3"], BOTH, |lo| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send_raw(&frame(0x77, b"later"));
        link.greet(&peer)
    })
    .outside(),
    works("transport/frame/longest", &["WIRE-FRAME-1"], BOTH, |lo| survives(lo, &frame(0x77, &vec![0; MAX_FRAME])))
        .outside(),
    works("transport/frame/byte-by-byte", &["WIRE-FRAME-1"], BOTH, |lo| {
        let (_, mut link) = lo.linked()?;
        for byte in ping().to_frame() {
            link.send_raw(&[byte]);
        }
        answered(&mut link)
    })
    .outside(),
    works("transport/frame/several-at-once", &["WIRE-FRAME-1"], BOTH, |lo| {
        let (_, mut link) = lo.linked()?;
        link.send_raw(&[ping().to_frame(), frame(0x77, b""), ping().to_frame()].concat());
        answered(&mut link)?;
        answered(&mut link)
    })
    .outside(),
    refused("transport/frame/unknown-even", &["WIRE-FRAME-2"], BOTH, CRITICAL, odd, |lo, code| {
        ends(lo, &frame(0x5e, b"later"), code)
    })
    .outside(),
    refused("transport/frame/unknown-even-before-auth", &["WIRE-FRAME-2"], BOTH, CRITICAL, odd, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send_raw(&frame(0x5e, b""));
        link.says(&peer);
        link.ends_with(code)
    })
    .outside(),
    refused("transport/frame/too-long", &["WIRE-FRAME-1"], BOTH, LONG, odd, |lo, code| {
        ends(lo, &frame(0x77, &vec![0; MAX_FRAME + 1]), code)
    })
    .outside(),
    refused("transport/frame/too-long-before-auth", &["WIRE-FRAME-1"], BOTH, LONG, odd, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        link.send_raw(&frame(0x77, &vec![0; MAX_FRAME + 1])[..64]);
        link.ends_with(code)
    })
    .outside(),
    refused("transport/frame/length-beyond-all", &["WIRE-FRAME-1"], BOTH, LONG, odd, |lo, code| {
        let mut header = vec![0x77];
        write_varint(u64::MAX, &mut header);
        ends(lo, &header, code)
    })
    .outside(),
    refused("transport/frame/long-type", &["WIRE-CANON-1"], BOTH, NONCANONICAL, odd, |lo, code| {
        ends(lo, &[0x88, 0x00, 3, 7, 0, 0], code)
    })
    .outside(),
    refused("transport/frame/long-length", &["WIRE-CANON-1"], BOTH, NONCANONICAL, odd, |lo, code| {
        ends(lo, &[0x08, 0x83, 0x00, 7, 0, 0], code)
    })
    .outside(),
    refused("transport/canon/long-varint", &["WIRE-CANON-1"], BOTH, NONCANONICAL, pings, |lo, code| {
        ends(lo, &frame(0x08, &[0x87, 0x00, 0, 0]), code)
    })
    .outside(),
    refused("transport/canon/bool-of-two", &["WIRE-CANON-1"], BOTH, NONCANONICAL, pings, |lo, code| {
        ends(lo, &frame(0x08, &[7, 2, 0]), code)
    })
    .outside(),
    refused("transport/canon/varint-beyond-64-bits", &["WIRE-CANON-1"], BOTH, NONCANONICAL, pings, |lo, code| {
        let nonce = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        ends(lo, &frame(0x08, &[&nonce[..], &[0, 0]].concat()), code)
    })
    .outside(),
    refused("transport/canon/trailing-byte", &["WIRE-CANON-2"], BOTH, LENGTH, pings, |lo, code| {
        ends(lo, &frame(0x08, &[7, 0, 0, 0]), code)
    })
    .outside(),
    refused("transport/canon/short-payload", &["WIRE-CANON-2"], BOTH, LENGTH, pings, |lo, code| {
        ends(lo, &frame(0x08, &[7]), code)
    })
    .outside(),
    refused("transport/canon/trailing-byte-in-hello", &["WIRE-CANON-2"], BOTH, LENGTH, pings, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        let mut hello = Message::from(peer.hello()).to_frame();
        hello[1] += 1;
        hello.push(0);
        link.send_raw(&hello);
        link.ends_with(code)
    })
    .outside(),
    refused("transport/cap/too-many-extensions", &["WIRE-CAP-1"], BOTH, LIMIT, extended, |lo, code| {
        let mut payload = vec![7, 0, MAX_EXT as u8 + 1];
        (0..=MAX_EXT).for_each(|at| payload.extend_from_slice(&[2 * at as u8 + 1, 0]));
        ends(lo, &frame(0x08, &payload), code)
    })
    .outside(),
    refused("transport/cap/too-long-extension", &["WIRE-CAP-1"], BOTH, LIMIT, extended, |lo, code| {
        let mut payload = vec![7, 0, 1, 27];
        write_varint(MAX_EXT_BYTES as u64 + 1, &mut payload);
        payload.extend_from_slice(&vec![0; MAX_EXT_BYTES + 1]);
        ends(lo, &frame(0x08, &payload), code)
    })
    .outside(),
    refused("transport/ext/unknown-even", &["WIRE-EXT-1"], BOTH, CRITICAL, extended, |lo, code| {
        ends(lo, &frame(0x08, &[7, 0, 1, 2, 0]), code)
    })
    .outside(),
    refused("transport/ext/unknown-even-in-hello", &["WIRE-EXT-1"], BOTH, CRITICAL, extended, |lo, code| {
        let peer = lo.trusted()?;
        let mut link = lo.connect(&peer)?;
        let mut hello = peer.hello();
        hello.ext = List::new(vec![Ext { id: 2, bytes: Blob::default() }]).unwrap_or_default();
        let auth = link.auth(&peer, &hello);
        link.send(hello);
        link.send(auth);
        link.ends_with(code)
    })
    .outside(),
];

/// A frame of this type.
pub(super) fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    segue_proto::wire::frame::write(number, &mut out, |out| out.extend_from_slice(payload));
    out
}

fn ping() -> Message {
    Ping { nonce: 7, answer: false, ext: Exts::empty() }.into()
}

/// The link survives these bytes.
fn survives(lo: &mut Loopback, bytes: &[u8]) -> Done {
    let (_, mut link) = lo.linked()?;
    link.send_raw(bytes);
    link.alive()
}

/// The link doesn't.
fn ends(lo: &mut Loopback, bytes: &[u8], code: Code) -> Done {
    let (_, mut link) = lo.linked()?;
    link.send_raw(bytes);
    link.ends_with(code)
}

fn odd(lo: &mut Loopback) -> Done {
    survives(lo, &frame(0x77, b"later"))
}

fn pings(lo: &mut Loopback) -> Done {
    let (_, mut link) = lo.linked()?;
    link.send_raw(&frame(0x08, &[7, 0, 0]));
    answered(&mut link)
}

fn answered(link: &mut crate::loopback::Link) -> Done {
    link.take("a PING that answers", |message| match message {
        Message::Ping(ping) if ping.answer && ping.nonce == 7 => Some(()),
        _ => None,
    })
}

/// As many extensions as there may be, and one as long as it may be.
fn extended(lo: &mut Loopback) -> Done {
    let (_, mut link) = lo.linked()?;
    let ext = |at: usize| Ext { id: 2 * at as u32 + 1, bytes: Blob::default() };
    let many = List::new((0..MAX_EXT).map(ext).collect()).unwrap_or_default();
    let long = Ext { id: 27, bytes: Blob::new(vec![0; MAX_EXT_BYTES]).unwrap_or_default() };
    for ext in [many, List::new(vec![long]).unwrap_or_default()] {
        link.send(Ping { nonce: 7, answer: false, ext });
        answered(&mut link)?;
    }
    Ok(())
}
