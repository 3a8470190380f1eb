//! Bulk streams: what is fetched, and what is served.

use segue_proto::limits::{CHUNK, MAX_FRAME, MAX_REFETCH, MAX_REQUESTS};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Error, Exts, Get, Hash, List, Message, Ping, Range, Ranges, SessionId};
use segue_proto::{Code, Event, SessionRole};
use segue_testkit::device::Command;

use super::Sign::{Close as Closed, Event as Told, Message as Says, Stop};
use super::frame::frame;
use super::scene::{
    Asked, Asks, answer, create, head, introduce, owning, owning_by, serve_until_want, slice, take_asks,
};
use super::stream::unasked;
use super::{BOTH, Case, DIALLED, V2, linked, refused, works};
use crate::cases::Part;
use crate::cases::scene::TIMEOUT;
use crate::lab::{Done, ensure};
use crate::loopback::{Dialling, Link, Loopback};
use crate::peer::{Book, Peer};
use crate::verdict::Fault;

const SERVES: &[&str] = &["create", "write-file"];
const FETCHES: &[&str] = &["request"];
const STATE: super::Sign = Stop(Code::WIRE_STATE);
const VALUE: super::Sign = Stop(Code::WIRE_VALUE);
const ENDS: super::Sign = Closed(Code::WIRE_STATE);
const UNKNOWN: super::Sign = Says(Code::HO_UNKNOWN_SESSION);
const UNAVAILABLE: super::Sign = Says(Code::DATA_UNAVAILABLE);

pub(super) const CASES: &[Case] = &[
    works("transport/bulk/fetched", &["TRANSPORT-STREAM-3", "TRANSFER-HAVE-1"], DIALLED, fetched)
        .needs(FETCHES)
        .part(Part::Target),
    works(
        "transport/bulk/broken-off-and-asked-for-again",
        &["TRANSFER-BYTES-3", "TRANSPORT-STREAM-3"],
        DIALLED,
        |lo| {
            let mut scene = at_content(lo, 3 * CHUNK + 1)?;
            let whole = scene.whole()?;
            let mut stream = scene.link.bulk(&whole[..whole.len() - CHUNK])?;
            stream.reset(Code::DATA_UNAVAILABLE);
            scene.completes()
        },
    )
    .needs(FETCHES)
    .part(Part::Target),
    works(
        "transport/bulk/ends-early-and-asked-for-again",
        &["TRANSFER-BYTES-3", "TRANSPORT-STREAM-3"],
        DIALLED,
        |lo| {
            let mut scene = at_content(lo, 3 * CHUNK + 1)?;
            let whole = scene.whole()?;
            scene.link.bulk(&whole[..whole.len() - CHUNK])?.finish();
            scene.completes()
        },
    )
    .needs(FETCHES)
    .part(Part::Target),
    works("transport/bulk/ends-early-and-keeps-what-matched", &["TRANSFER-BYTES-3"], DIALLED, |lo| {
        let mut scene = at_content(lo, 3 * CHUNK + 1)?;
        let whole = scene.whole()?;
        scene.link.bulk(&whole[..whole.len() - CHUNK])?.finish();
        let asked = next_content(&mut scene.link, &scene.book, scene.asked.blob)?;
        let missing = [Range { offset: 2 * CHUNK as u64, len: CHUNK as u64 + 1 }];
        ensure(asked.ranges == missing, "RANGES of the chunks that are missing", format!("{:?}", asked.ranges))?;
        answer(&mut scene.link, &scene.book, &asked)?;
        scene.completes()
    })
    .since(V2)
    .needs(FETCHES)
    .part(Part::Target),
    refused(
        "transport/bulk/not-asked-for",
        &["TRANSPORT-STREAM-3", "TRANSFER-BYTES-1"],
        BOTH,
        STATE,
        linked,
        |lo, code| {
            let (_, mut link) = lo.linked()?;
            link.bulk(&unasked())?.stopped_with(code)?;
            link.alive()
        },
    )
    .outside(),
    refused("transport/bulk/of-another-request", &["TRANSFER-BYTES-1"], DIALLED, STATE, fetched, |lo, code| {
        let mut scene = at_content(lo, 1000)?;
        let (req, blob) = (scene.asked.req + 1000, scene.asked.blob);
        scene.stops(&[head(req, blob, 0, 1000), vec![0; 100]].concat(), code)
    })
    .needs(FETCHES)
    .part(Part::Target),
    refused("transport/bulk/of-another-blob", &["TRANSFER-BYTES-1"], DIALLED, STATE, fetched, |lo, code| {
        let mut scene = at_content(lo, 1000)?;
        scene.stops(&[head(scene.asked.req, Hash::new([9; 32]), 0, 1000), vec![0; 100]].concat(), code)
    })
    .needs(FETCHES)
    .part(Part::Target),
    refused("transport/bulk/not-at-a-chunk", &["TRANSFER-BYTES-2"], DIALLED, VALUE, fetched, |lo, code| {
        let mut scene = at_content(lo, 3 * CHUNK + 1)?;
        scene.stops(&[head(scene.asked.req, scene.asked.blob, 0, CHUNK + 10), vec![0; 100]].concat(), code)
    })
    .needs(FETCHES)
    .part(Part::Target),
    refused("transport/bulk/of-nothing", &["TRANSFER-BYTES-2"], DIALLED, VALUE, fetched, |lo, code| {
        let mut scene = at_content(lo, 3 * CHUNK + 1)?;
        scene.stops(&head(scene.asked.req, scene.asked.blob, 0, 0), code)
    })
    .needs(FETCHES)
    .part(Part::Target),
    refused(
        "transport/bulk/wrong-again-and-again",
        &["TRANSFER-CHUNK-1", "TRANSFER-REFETCH-1"],
        DIALLED,
        Told(Code::DATA_HASH),
        fetched,
        |lo, code| {
            again_and_again(lo, code, |whole, len| {
                let at = whole.len() - len;
                whole[at] ^= 1;
            })
        },
    )
    .needs(FETCHES)
    .part(Part::Target),
    refused(
        "transport/bulk/goes-on-again-and-again",
        &["TRANSFER-BYTES-3", "TRANSFER-REFETCH-1"],
        DIALLED,
        Told(Code::DATA_HASH),
        fetched,
        |lo, code| {
            again_and_again(lo, code, |whole, len| {
                let at = whole.len() - len;
                whole[at] ^= 1;
                whole.extend_from_slice(&[0; 100]);
            })
        },
    )
    .needs(FETCHES)
    .part(Part::Target),
    refused(
        "transport/bulk/goes-on-beyond-its-end",
        &["TRANSFER-BYTES-3", "TRANSPORT-STREAM-3"],
        DIALLED,
        Stop(Code::DATA_HASH),
        fetched,
        |lo, code| {
            let mut scene = at_content(lo, 1_000)?;
            let mut whole = scene.whole()?;
            let end = whole.len();
            whole[end - 1] ^= 1;
            whole.extend_from_slice(&[0; 100]);
            scene.link.bulk(&whole)?.stopped_with(code)?;
            scene.asked = next_content(&mut scene.link, &scene.book, scene.asked.blob)?;
            answer(&mut scene.link, &scene.book, &scene.asked)?;
            scene.completes()
        },
    )
    .needs(FETCHES)
    .part(Part::Target),
    works("transport/bulk/a-hundred-files", &["TRANSPORT-STREAM-4", "TRANSPORT-STREAM-3"], DIALLED, |lo| {
        let (peer, mut link) = lo.linked()?;
        let members = [lo.id()];
        let mut book = Book::create(&peer, &members, &mut lo.rng);
        for at in 0..100 {
            let content = lo.rng.bytes(1_000);
            book.write_file(&format!("file {at}"), &content);
        }
        book.announce();
        lo.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
        serve_until_want(&mut link, &book).map(|_| ())
    })
    .needs(FETCHES)
    .part(Part::Target),
    refused(
        "transport/bulk/unavailable",
        &["TRANSFER-NEWER-1"],
        DIALLED,
        Told(Code::DATA_UNAVAILABLE),
        fetched,
        |lo, code| {
            let mut scene = at_content(lo, 1000)?;
            let (req, session) = (scene.asked.req, Some(scene.book.id).into());
            scene.link.send(Error {
                req,
                session,
                code: code.into(),
                definite: true,
                retry_after_ms: 0,
                ext: Exts::empty(),
            });
            // It asks what there is now, which is the same.
            let Asks::Session = take_asks(&mut scene.link, scene.book.id)? else {
                return Err(Fault::fail("a HAVE that asks for what there is now", "another request"));
            };
            introduce(&mut scene.link, &scene.book);
            fails(lo, scene.book.id, code)
        },
    )
    .needs(FETCHES)
    .part(Part::Target),
    refused("transport/bulk/first-frame-of-another-type", &["TRANSFER-BYTES-1"], BOTH, ENDS, linked, |lo, code| {
        let ping = Message::from(Ping { nonce: 1, answer: false, ext: Exts::empty() }).to_frame();
        ends(lo, &ping, code)
    })
    .outside(),
    refused("transport/bulk/first-frame-of-an-unknown-type", &["TRANSFER-BYTES-1"], BOTH, ENDS, linked, |lo, code| {
        ends(lo, &frame(0x77, b"later"), code)
    })
    .outside(),
    refused(
        "transport/bulk/first-frame-too-long",
        &["WIRE-FRAME-1"],
        BOTH,
        Closed(Code::LIMIT_FRAME),
        linked,
        |lo, code| ends(lo, &frame(0x26, &vec![0; MAX_FRAME + 1]), code),
    )
    .outside(),
    refused(
        "transport/bulk/first-frame-malformed",
        &["TRANSFER-BYTES-1", "WIRE-CANON-2"],
        BOTH,
        Closed(Code::WIRE_LENGTH),
        linked,
        |lo, code| ends(lo, &frame(0x26, &[1; 20]), code),
    )
    .outside(),
    works("transport/serve/whole", &["TRANSFER-SERVE-3", "TRANSPORT-STREAM-3"], DIALLED, served)
        .needs(SERVES)
        .part(Part::Source),
    works("transport/serve/stopped-and-asked-for-again", &["TRANSPORT-STREAM-3", "TRANSFER-SERVE-3"], DIALLED, |lo| {
        let mut own = owning(lo)?;
        let content = lo.rng.bytes(3 << 20);
        lo.must(Command::WriteFile { session: own.session, path: "long".into(), content: content.clone() })?;
        get(&mut own.link, own.session, blob_id(&content), content.len());
        let mut stream = own.link.incoming("a bulk stream")?;
        let _ = stream.stop(quinn::VarInt::from_u32(u32::from(Code::WIRE_STATE.number())));
        own.link.alive()?;
        own.link.send(Get {
            req: 62,
            session: own.session,
            blob: blob_id(&content),
            len: content.len() as u64,
            ext: Exts::empty(),
        });
        let (header, bytes) = own.link.stream("a bulk stream for the second request")?;
        ensure(header.req == 62 && bytes == content, "the content", format!("{header:?}"))
    })
    .needs(SERVES)
    .part(Part::Source),
    refused("transport/serve/of-an-unknown-session", &["TRANSFER-SERVE-1"], BOTH, UNKNOWN, linked, |lo, code| {
        let (_, mut link) = lo.linked()?;
        get(&mut link, SessionId::new([9; 16]), Hash::new([9; 32]), 1000);
        link.refuses(61, code)
    })
    .outside(),
    refused(
        "transport/serve/to-a-stranger",
        &["TRANSFER-SERVE-1", "HO-MEMBER-1"],
        DIALLED,
        UNKNOWN,
        served,
        |lo, code| {
            lo.setup.accept_unknown = true;
            let own = owning(lo)?;
            let stranger = Peer::new(&mut lo.rng);
            let mut link = lo.connect(&stranger)?;
            link.greet(&stranger)?;
            get(&mut link, own.session, own.data.manifest, own.data.manifest_len as usize);
            link.refuses(61, code)
        },
    )
    .needs(SERVES)
    .part(Part::Source),
    refused("transport/serve/of-another-blob", &["TRANSFER-SERVE-1"], DIALLED, UNAVAILABLE, served, |lo, code| {
        let mut own = owning(lo)?;
        get(&mut own.link, own.session, Hash::new([9; 32]), 1000);
        own.link.refuses(61, code)
    })
    .needs(SERVES)
    .part(Part::Source),
    refused("transport/serve/with-another-length", &["TRANSFER-SERVE-1"], DIALLED, UNAVAILABLE, served, |lo, code| {
        let mut own = owning(lo)?;
        get(&mut own.link, own.session, own.data.manifest, own.data.manifest_len as usize + 1);
        own.link.refuses(61, code)
    })
    .needs(SERVES)
    .part(Part::Source),
    refused(
        "transport/serve/too-many-requests",
        &["TRANSFER-SERVE-2"],
        DIALLED,
        Says(Code::LIMIT_REQUESTS),
        served,
        |lo, code| {
            // No stream is permitted, so that no request can be answered.
            let mut own = owning_by(lo, &Dialling { streams: 0, ..Dialling::default() })?;
            let (session, blob, len) = (own.session, own.data.manifest, u64::from(own.data.manifest_len));
            for req in 1..=MAX_REQUESTS as u32 + 1 {
                own.link.send(Get { req, session, blob, len, ext: Exts::empty() });
            }
            own.link.refuses(MAX_REQUESTS as u32 + 1, code)
        },
    )
    .needs(SERVES)
    .part(Part::Source),
    refused(
        "transport/serve/empty-range",
        &["WIRE-VALUE-1"],
        DIALLED,
        Says(Code::WIRE_VALUE),
        served_range,
        |lo, code| bad_ranges(lo, vec![Range { offset: 0, len: 0 }], code),
    )
    .since(V2)
    .needs(SERVES)
    .part(Part::Source),
    refused(
        "transport/serve/range-beyond-the-end",
        &["WIRE-VALUE-1"],
        DIALLED,
        Says(Code::WIRE_VALUE),
        served_range,
        |lo, code| bad_ranges(lo, vec![Range { offset: 0, len: u64::MAX }], code),
    )
    .since(V2)
    .needs(SERVES)
    .part(Part::Source),
];

fn ends(lo: &mut Loopback, bytes: &[u8], code: Code) -> Done {
    let (_, mut link) = lo.linked()?;
    let stream = link.bulk(bytes)?;
    link.closed_with(code)?;
    drop(stream);
    Ok(())
}

/// The subject pulls a session and has asked for the content of its file.
struct Fetching {
    link: Link,
    book: Book,
    asked: Asked,
}

/// The subject pulls a session with a file of this length; everything is fetched but the file's content.
fn at_content(lo: &mut Loopback, len: usize) -> Done<Fetching> {
    let (peer, mut link) = lo.linked()?;
    let content = lo.rng.bytes(len);
    let members = [lo.id()];
    let mut book = Book::create(&peer, &members, &mut lo.rng);
    book.write_file("file", &content);
    book.announce();
    lo.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    let asked = next_content(&mut link, &book, blob_id(&content))?;
    Ok(Fetching { link, book, asked })
}

/// Answers everything but requests for this content; the next of those.
fn next_content(link: &mut Link, book: &Book, content: Hash) -> Done<Asked> {
    loop {
        match take_asks(link, book.id)? {
            Asks::Session => introduce(link, book),
            Asks::Blob(asked) if asked.blob == content => return Ok(asked),
            Asks::Blob(asked) => answer(link, book, &asked)?,
            Asks::Owner(..) => return Err(Fault::fail("a request for the content", "WANT")),
        }
    }
}

impl Fetching {
    /// The stream that answers the first range asked for.
    fn whole(&self) -> Done<Vec<u8>> {
        let whole = self.asked.ranges.first().and_then(|range| slice(&self.book, &self.asked, range));
        whole.ok_or_else(|| Fault::fail("a request for what was announced", format!("{:?}", self.asked.blob)))
    }

    /// A stream with these bytes is stopped with this code, and the fetch goes on.
    fn stops(&mut self, bytes: &[u8], code: Code) -> Done {
        self.link.bulk(bytes)?.stopped_with(code)?;
        answer(&mut self.link, &self.book, &self.asked)?;
        self.completes()
    }

    fn completes(&mut self) -> Done {
        serve_until_want(&mut self.link, &self.book).map(|_| ())
    }
}

fn fetched(lo: &mut Loopback) -> Done {
    let mut scene = at_content(lo, 3 * CHUNK + 1)?;
    answer(&mut scene.link, &scene.book, &scene.asked)?;
    scene.completes()
}

/// Each answer is spoilt, until the subject gives up with this code.
fn again_and_again(lo: &mut Loopback, code: Code, spoil: fn(&mut Vec<u8>, usize)) -> Done {
    let mut scene = at_content(lo, 1000)?;
    for at in 0..=MAX_REFETCH {
        let mut whole = scene.whole()?;
        spoil(&mut whole, 1000);
        scene.link.bulk(&whole)?.finish();
        if at < MAX_REFETCH {
            scene.asked = next_content(&mut scene.link, &scene.book, scene.asked.blob)?;
        }
    }
    fails(lo, scene.book.id, code)
}

/// The subject tells its application that the pull ended with this code.
fn fails(lo: &mut Loopback, session: SessionId, code: Code) -> Done {
    let came = lo.event("the event handoff-resolved", |event| match event {
        Event::HandoffResolved { session: it, result, .. } if *it == session => Some(*result),
        _ => None,
    })?;
    ensure(came == Err(code), &format!("handoff-resolved with {code:?}"), format!("{came:?}"))?;
    lo.is(session, SessionRole::Secondary)
}

fn get(link: &mut Link, session: SessionId, blob: Hash, len: usize) {
    link.send(Get { req: 61, session, blob, len: len as u64, ext: Exts::empty() });
}

fn served(lo: &mut Loopback) -> Done {
    owning(lo)?.fetch().map(|_| ())
}

/// The subject owns a session with a file of this content, and is linked.
fn with_file(lo: &mut Loopback, len: usize) -> Done<(Link, SessionId, Vec<u8>)> {
    let peer = lo.trusted()?;
    let session = create(lo, peer.id)?;
    let content = lo.rng.bytes(len);
    lo.must(Command::WriteFile { session, path: "file".into(), content: content.clone() })?;
    let mut link = lo.connect(&peer)?;
    link.greet(&peer)?;
    Ok((link, session, content))
}

fn ranges(link: &mut Link, session: SessionId, content: &[u8], ranges: Vec<Range>) {
    let ranges = List::new(ranges).unwrap_or_default();
    let (blob, len) = (blob_id(content), content.len() as u64);
    link.send(Ranges { req: 61, session, blob, len, ranges, ext: Exts::empty() });
}

fn served_range(lo: &mut Loopback) -> Done {
    let (mut link, session, content) = with_file(lo, 3 * CHUNK + 1)?;
    ranges(&mut link, session, &content, vec![Range { offset: 0, len: CHUNK as u64 }]);
    let (header, bytes) = link.stream("a bulk stream")?;
    ensure(header.req == 61 && bytes == content[..CHUNK], "the first chunk", format!("{header:?}"))
}

fn bad_ranges(lo: &mut Loopback, asked: Vec<Range>, code: Code) -> Done {
    let (mut link, session, content) = with_file(lo, 3 * CHUNK + 1)?;
    ranges(&mut link, session, &content, asked);
    link.refuses(61, code)
}
