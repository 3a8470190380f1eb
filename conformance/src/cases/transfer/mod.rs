//! Chapter transfer: what is served, and to whom; what is fetched, verified and asked for again.

mod answer;
mod held;
mod order;
mod reuse;

use segue_proto::data::{Entry, PartKind};
use segue_proto::limits::{ANSWER_TIMEOUT, CHUNK, MAX_REFETCH, MAX_REQUESTS};
use segue_proto::transfer::ChunkList;
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Announced, Error, Exts, Get, Hash, List, Message, Range, Ranges, SessionId};
use segue_proto::{Code, Event, Generation, LinkId, Rules, SessionRole};
use segue_testkit::device::Command;

use super::scene::{
    Asked, Owning, TIMEOUT, answer_have, introduce, linked, owning, serve_all, serve_until_want, slice, stream,
    take_request, take_want,
};
use super::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer};

const S: Part = Part::Source;
const T: Part = Part::Target;
const V2: Generation = Generation::V2;

/// The cases of this chapter, topic by topic.
pub(super) fn chapters() -> [&'static [Case]; 5] {
    [CASES, answer::CASES, held::CASES, order::CASES, reuse::CASES]
}

const CASES: &[Case] = &[
    works("transfer/serve/small-file", &["TRANSFER-SERVE-3", "TRANSFER-SERVE-1"], S, |lab| served(lab, 1000)),
    works("transfer/serve/long-file", &["TRANSFER-SERVE-3", "TRANSFER-LIST-1"], S, |lab| served(lab, 3 * CHUNK + 1)),
    works("transfer/serve/ranges", &["TRANSFER-SERVE-3", "TRANSFER-BYTES-3"], S, |lab| {
        let (own, content) = with_file(lab, 3 * CHUNK + 1)?;
        let (first, last) = (range(0, CHUNK), range(2 * CHUNK, CHUNK + 1));
        asks(lab, &own, &content, vec![first.clone(), last.clone()]);
        let mut came = [lab.stream(own.link, "a stream a range")?, lab.stream(own.link, "a stream a range")?];
        came.sort_by_key(|(header, _)| header.offset);
        for ((header, bytes), range) in came.iter().zip([first, last]) {
            let start = range.offset as usize;
            let right = bytes.as_slice() == &content[start..start + range.len as usize];
            ensure(
                right && header.offset == range.offset && header.req == 61,
                "the bytes of the range",
                format!("{header:?}"),
            )?;
        }
        Ok(())
    })
    .since(V2),
    refused("transfer/serve/no-ranges", &["WIRE-VALUE-1"], S, ranges_twin, |lab| bad_ranges(lab, vec![])).since(V2),
    refused("transfer/serve/empty-range", &["WIRE-VALUE-1"], S, ranges_twin, |lab| bad_ranges(lab, vec![range(0, 0)]))
        .since(V2),
    refused("transfer/serve/touching-ranges", &["WIRE-VALUE-1"], S, ranges_twin, |lab| {
        bad_ranges(lab, vec![range(0, CHUNK), range(CHUNK, CHUNK)])
    })
    .since(V2),
    refused("transfer/serve/descending-ranges", &["WIRE-VALUE-1"], S, ranges_twin, |lab| {
        bad_ranges(lab, vec![range(2 * CHUNK, CHUNK), range(0, CHUNK)])
    })
    .since(V2),
    refused("transfer/serve/range-beyond-the-end", &["WIRE-VALUE-1"], S, ranges_twin, |lab| {
        bad_ranges(lab, vec![range(2 * CHUNK, CHUNK + 2)])
    })
    .since(V2),
    refused("transfer/serve/range-beyond-all", &["WIRE-VALUE-1"], S, ranges_twin, |lab| {
        bad_ranges(lab, vec![Range { offset: 10, len: u64::MAX }])
    })
    .since(V2),
    refused(
        "transfer/serve/to-a-stranger",
        &["TRANSFER-SERVE-1", "HO-MEMBER-1"],
        S,
        |lab| served(lab, 1000),
        |lab| {
            lab.setup.accept_unknown = true;
            let (own, content) = with_file(lab, 1000)?;
            let stranger = Peer::new(&mut lab.rng);
            let link = lab.connect(&stranger)?;
            get(lab, link, own.session, blob_id(&content), 1000);
            nothing(lab, link, Code::HO_UNKNOWN_SESSION)
        },
    ),
    refused(
        "transfer/serve/of-an-unknown-session",
        &["TRANSFER-SERVE-1"],
        S,
        |lab| served(lab, 1000),
        |lab| {
            let (own, content) = with_file(lab, 1000)?;
            get(lab, own.link, SessionId::new([9; 16]), blob_id(&content), 1000);
            nothing(lab, own.link, Code::HO_UNKNOWN_SESSION)
        },
    ),
    refused(
        "transfer/serve/of-another-blob",
        &["TRANSFER-SERVE-1"],
        S,
        |lab| served(lab, 1000),
        |lab| {
            let (own, _) = with_file(lab, 1000)?;
            get(lab, own.link, own.session, Hash::new([9; 32]), 1000);
            nothing(lab, own.link, Code::DATA_UNAVAILABLE)
        },
    ),
    refused(
        "transfer/serve/with-another-length",
        &["TRANSFER-SERVE-1"],
        S,
        |lab| served(lab, 1000),
        |lab| {
            let (own, content) = with_file(lab, 1000)?;
            get(lab, own.link, own.session, blob_id(&content), 999);
            nothing(lab, own.link, Code::DATA_UNAVAILABLE)
        },
    ),
    works("transfer/fetch/everything-then-want", &["TRANSFER-HAVE-1", "HO-HAVE-2"], T, |lab| {
        fetching(lab, 3 * CHUNK + 1)?.completes(lab)
    }),
    refused(
        "transfer/fetch/told-by-another-than-the-owner",
        &["HO-HAVE-2"],
        T,
        |lab| fetching(lab, 1000)?.completes(lab),
        |lab| {
            let other = Peer::new(&mut lab.rng);
            lab.setup.trusted.push(other.id);
            let scene = fetching(lab, 1000)?;
            let link = lab.connect(&other)?;
            lab.skip(link);
            let mut book = scene.book.clone();
            book.write_file("forged", b"by another");
            let data = book.announce();
            lab.send(link, book.have(Some(data)));
            let asks = |message: &Message| matches!(message, Message::Get(_) | Message::Ranges(_));
            lab.none(link, "request for what another than the owner told", asks)?;
            scene.completes(lab)
        },
    ),
    works("transfer/fetch/wants-when-durable", &["TRANSFER-HAVE-1"], T, |lab| {
        let scene = fetching(lab, 1000)?;
        lab.syncs = false;
        serve_all(lab, scene.link, &scene.book)?;
        lab.none(scene.link, "WANT before its data is durable", |message| matches!(message, Message::Want(_)))?;
        lab.sync();
        take_want(lab, scene.link).map(|_| ())
    }),
    works("transfer/fetch/at-most-so-many-requests", &["TRANSFER-SERVE-2", "LIMIT-KEEP-1"], T, |lab| {
        let mut scene = fetching(lab, 1000)?;
        (0..100).for_each(|at| scene.book.write_file(&format!("file-{at}"), format!("content {at}").as_bytes()));
        let data = scene.book.announce();
        lab.skip(scene.link);
        lab.send(scene.link, scene.book.have(Some(data)));
        let asked = take_request(lab, scene.link)?;
        answer(lab, &scene, &asked)?;
        let mut open = 0;
        while take_request(lab, scene.link).is_ok() {
            open += 1;
        }
        ensure((1..=MAX_REQUESTS).contains(&open), "1 to MAX_REQUESTS requests outstanding", open)
    }),
    refused("transfer/fetch/a-bit-is-wrong", &["TRANSFER-CHUNK-1"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        wrong(lab, &scene)?;
        lab.none(scene.link, "WANT on wrong bytes", |message| matches!(message, Message::Want(_)))?;
        scene.completes(lab)
    }),
    refused("transfer/fetch/a-bit-of-a-long-file-is-wrong", &["TRANSFER-CHUNK-1"], T, complete, |lab| {
        let scene = at_content(lab, 3 * CHUNK + 1)?;
        wrong(lab, &scene)?;
        lab.none(scene.link, "WANT on wrong bytes", |message| matches!(message, Message::Want(_)))?;
        scene.completes(lab)
    }),
    refused("transfer/fetch/wrong-again-and-again", &["TRANSFER-REFETCH-1"], T, wrong_thrice, |lab| {
        let scene = at_content(lab, 1000)?;
        for _ in 0..=MAX_REFETCH {
            wrong(lab, &scene)?;
        }
        fails(lab, &scene, Code::DATA_HASH)
    }),
    refused("transfer/fetch/wrong-again-and-again-in-a-long-file", &["TRANSFER-REFETCH-1"], T, complete, |lab| {
        let scene = at_content(lab, 3 * CHUNK + 1)?;
        for _ in 0..=2 * MAX_REFETCH {
            let Ok(asked) = take_request(lab, scene.link) else { break };
            wrong_of(lab, &scene, &asked)?;
        }
        fails(lab, &scene, Code::DATA_HASH)
    }),
    refused("transfer/fetch/chunks-of-another-whole", &["TRANSFER-WHOLE-1"], T, complete, |lab| {
        let (peer, link) = linked(lab)?;
        let (content, other) = (filler(lab, 3 * CHUNK + 1), lab.rng.array());
        let members = [lab.id()];
        let mut book = Book::create(&peer, &members, &mut lab.rng);
        book.write_claimed("file", &content, Hash::new(other));
        let data = book.announce();
        begin(lab, &peer, link, &book, &data)?;
        serve_all(lab, link, &book)?;
        failed(lab, book.id, link, Code::DATA_HASH)
    }),
    works("transfer/fetch/lost-streams-do-not-count", &["TRANSFER-REFETCH-1", "TRANSFER-BYTES-3"], T, |lab| {
        let scene = at_content(lab, 1000)?;
        for _ in 0..2 * MAX_REFETCH {
            let asked = take_request(lab, scene.link)?;
            let whole = first(&scene, &asked)?;
            lab.send_broken_bulk(scene.link, whole[..whole.len() - 10].to_vec());
        }
        scene.completes(lab)
    }),
    refused("transfer/fetch/not-asked-for", &["TRANSFER-BYTES-1"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        let content = scene.book.blobs.get(&asked.blob).cloned().unwrap_or_default();
        lab.send_bulk(scene.link, stream(asked.req + 1000, asked.blob, 0, &content));
        lab.none(scene.link, "use of bytes that answer no request", |message| matches!(message, Message::Want(_)))?;
        answer(lab, &scene, &asked)?;
        scene.completes(lab)
    }),
    refused("transfer/fetch/of-another-blob", &["TRANSFER-BYTES-1"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        lab.send_bulk(scene.link, stream(asked.req, Hash::new([9; 32]), 0, &[0; 1000]));
        lab.none(scene.link, "use of another blob", |message| matches!(message, Message::Want(_)))?;
        answer(lab, &scene, &asked)?;
        scene.completes(lab)
    }),
    refused("transfer/fetch/not-at-a-chunk", &["TRANSFER-BYTES-2"], T, complete, not_at_a_chunk).since(V2),
    refused("transfer/fetch/beyond-the-end", &["TRANSFER-BYTES-2"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        lab.send_bulk(scene.link, stream(asked.req, asked.blob, 0, &[0; 1001]));
        lab.none(scene.link, "use of bytes beyond the end", |message| matches!(message, Message::Want(_)))?;
        answer(lab, &scene, &asked)?;
        scene.completes(lab)
    }),
    refused("transfer/fetch/first-frame-is-no-bytes", &["TRANSFER-BYTES-1"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        let ping = segue_proto::wire::Ping { nonce: 1, answer: false, ext: Exts::empty() };
        lab.send_bulk(scene.link, Message::from(ping).to_frame());
        lab.ends_with(scene.link, Code::WIRE_STATE)
    }),
    refused("transfer/fetch/unavailable", &["ERR-SEND-1", "TRANSFER-REFETCH-1"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        let data = scene.book.announced.clone();
        lab.send(scene.link, error(asked.req, &scene.book, Code::DATA_UNAVAILABLE));
        asked_for_newer(lab, &scene)?;
        lab.send(scene.link, scene.book.have(data));
        fails(lab, &scene, Code::DATA_UNAVAILABLE)
    }),
    works("transfer/fetch/replaced-meanwhile", &["TRANSFER-NEWER-1"], T, |lab| {
        let mut scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        replace(&mut scene.book, &asked.blob, b"another content");
        let data = scene.book.announce();
        lab.send(scene.link, error(asked.req, &scene.book, Code::DATA_UNAVAILABLE));
        asked_for_newer(lab, &scene)?;
        lab.send(scene.link, scene.book.have(Some(data.clone())));
        let (_, want) = serve_until_want(lab, scene.link, &scene.book)?;
        let want = want.open(Rules::ALL).map_err(|why| crate::verdict::Fault::fail("a WANT", format!("{why:?}")))?;
        let held = want.have.get().is_some_and(|have| have.manifest == data.manifest);
        ensure(held, "a WANT that holds the newer manifest", format!("{:?}", want.have))
    }),
    works("transfer/fetch/too-many-requests-is-no-end", &["TRANSFER-SERVE-2"], T, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        lab.send(scene.link, error(asked.req, &scene.book, Code::LIMIT_REQUESTS));
        let is_request = |message: &Message| matches!(message, Message::Get(_) | Message::Ranges(_));
        lab.none(scene.link, "request at once after the ERROR", is_request)?;
        lab.pass(ANSWER_TIMEOUT);
        scene.completes(lab)
    }),
    works("transfer/fetch/too-many-requests-waits-for-another", &["TRANSFER-SERVE-2"], T, |lab| {
        let mut scene = fetching(lab, 1000)?;
        scene.book.write_file("second", b"another file");
        let data = scene.book.announce();
        lab.skip(scene.link);
        lab.send(scene.link, scene.book.have(Some(data)));
        let asked = take_request(lab, scene.link)?;
        answer(lab, &scene, &asked)?;
        let refused = take_request(lab, scene.link)?;
        let Ok(other) = take_request(lab, scene.link) else {
            // It asks for one blob at a time, and so has no other request that could end.
            answer(lab, &scene, &refused)?;
            serve_all(lab, scene.link, &scene.book)?;
            return scene.completes(lab);
        };
        lab.send(scene.link, error(refused.req, &scene.book, Code::LIMIT_REQUESTS));
        answer(lab, &scene, &other)?;
        let again = take_request(lab, scene.link)?;
        ensure(again.blob == refused.blob && again.req != refused.req, "the blob again", again.blob)?;
        answer(lab, &scene, &again)?;
        scene.completes(lab)
    }),
    refused("transfer/list/too-short", &["TRANSFER-LIST-1"], T, complete, |lab| {
        listed(lab, |chunks| chunks.truncate(3))
    }),
    refused("transfer/list/too-long", &["TRANSFER-LIST-1"], T, complete, |lab| {
        listed(lab, |chunks| chunks.extend_from_within(..1))
    }),
    refused("transfer/list/small-chunk", &["TRANSFER-LIST-1"], T, complete, |lab| {
        listed(lab, |chunks| {
            chunks[0].len -= 60_000;
            chunks[1].len += 60_000;
        })
    }),
    works("transfer/resume/on-a-new-link", &["TRANSFER-RESUME-1"], T, |lab| resumes(lab, false)).since(V2),
    works("transfer/resume/after-a-restart", &["TRANSFER-RESUME-1"], T, |lab| resumes(lab, true)).since(V2),
    works("transfer/resume/whole-below-2", &["TRANSFER-RESUME-1", "GEN-USE-1"], T, |lab| {
        let scene = broken_off(lab)?;
        lab.link_down(scene.link);
        let link = lab.connect(&scene.peer)?;
        let scene = Fetching { link, ..scene };
        let asked = until_content(lab, &scene)?;
        ensure(asked.by_get, "a GET", format!("{:?}", asked.ranges))?;
        answer(lab, &scene, &asked)?;
        scene.completes(lab)
    })
    .until(Generation::V1_7),
    works("transfer/fetch/nothing-that-is-held", &["TRANSFER-RESUME-1"], T, |lab| {
        let scene = fetching(lab, 1000)?;
        serve_until_want(lab, scene.link, &scene.book)?;
        let mut book = scene.book.clone();
        book.write_file("second.txt", b"second");
        let data = book.announce();
        lab.send(scene.link, book.have(Some(data)));
        let old = blob_id(&scene.content);
        while let Ok(asked) = take_request(lab, scene.link) {
            ensure(asked.blob != old, "no request for content that is held", format!("{:?}", asked.blob))?;
            let sent = asked.ranges.first().and_then(|range| slice(&book, &asked, range));
            sent.into_iter().for_each(|stream| lab.send_bulk(scene.link, stream));
        }
        take_want(lab, scene.link).map(|_| ())
    }),
];

/// Content whose chunks differ, and which takes little room in a transcript once that is compressed.
fn filler(lab: &mut Lab, len: usize) -> Vec<u8> {
    let seed: [u8; 16] = lab.rng.array();
    (0..len).map(|at| seed[at % seed.len()] ^ (at >> 12) as u8).collect()
}

/// The subject owns a session with a file of this length, in addition.
fn with_file(lab: &mut Lab, len: usize) -> Done<(Owning, Vec<u8>)> {
    let content = filler(lab, len);
    let own = owning(lab)?;
    lab.must(Command::WriteFile { session: own.session, path: "file".into(), content: content.clone() })?;
    Ok((own, content))
}

fn get(lab: &mut Lab, link: LinkId, session: SessionId, blob: Hash, len: usize) {
    lab.send(link, Get { req: 61, session, blob, len: len as u64, ext: Exts::empty() });
}

fn served(lab: &mut Lab, len: usize) -> Done {
    let (own, content) = with_file(lab, len)?;
    get(lab, own.link, own.session, blob_id(&content), len);
    let (header, bytes) = lab.stream(own.link, "a bulk stream")?;
    ensure(
        header.req == 61 && header.offset == 0 && header.len == len as u64,
        "BYTES of the whole",
        format!("{header:?}"),
    )?;
    ensure(bytes == content, "the content", format!("{} other bytes", bytes.len()))
}

fn range(offset: usize, len: usize) -> Range {
    Range { offset: offset as u64, len: len as u64 }
}

fn asks(lab: &mut Lab, own: &Owning, content: &[u8], ranges: Vec<Range>) {
    let ranges = List::new(ranges).unwrap_or_default();
    let (blob, len) = (blob_id(content), content.len() as u64);
    lab.send(own.link, Ranges { req: 61, session: own.session, blob, len, ranges, ext: Exts::empty() });
}

fn ranges_twin(lab: &mut Lab) -> Done {
    let (own, content) = with_file(lab, 3 * CHUNK + 1)?;
    asks(lab, &own, &content, vec![range(0, CHUNK), range(2 * CHUNK, CHUNK + 1)]);
    lab.stream(own.link, "a bulk stream").map(|_| ())
}

fn bad_ranges(lab: &mut Lab, ranges: Vec<Range>) -> Done {
    let (own, content) = with_file(lab, 3 * CHUNK + 1)?;
    asks(lab, &own, &content, ranges);
    nothing(lab, own.link, Code::WIRE_VALUE)
}

fn nothing(lab: &mut Lab, link: LinkId, code: Code) -> Done {
    lab.refuses(link, 61, code)?;
    ensure(lab.streams(link) == 0, "no bulk stream", lab.streams(link))
}

/// The subject pulls a session and is about to fetch what was announced.
struct Fetching {
    peer: Peer,
    link: LinkId,
    book: Book,
    content: Vec<u8>,
}

fn fetching(lab: &mut Lab, len: usize) -> Done<Fetching> {
    let (peer, link) = linked(lab)?;
    fetching_of(lab, peer, link, len)
}

/// The same, of a peer that is linked.
fn fetching_of(lab: &mut Lab, peer: Peer, link: LinkId, len: usize) -> Done<Fetching> {
    let content = filler(lab, len);
    let members = [lab.id()];
    let mut book = Book::create(&peer, &members, &mut lab.rng);
    book.write_file("file", &content);
    let data = book.announce();
    begin(lab, &peer, link, &book, &data)?;
    Ok(Fetching { peer, link, book, content })
}

fn begin(lab: &mut Lab, peer: &Peer, link: LinkId, book: &Book, data: &Announced) -> Done {
    lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    introduce(lab, link, book, data)
}

impl Fetching {
    fn completes(&self, lab: &mut Lab) -> Done {
        serve_until_want(lab, self.link, &self.book).map(|_| ())
    }
}

fn complete(lab: &mut Lab) -> Done {
    fetching(lab, 3 * CHUNK + 1)?.completes(lab)
}

/// Everything but the file's content is fetched; the request for that is still to be taken.
fn at_content(lab: &mut Lab, len: usize) -> Done<Fetching> {
    let scene = fetching(lab, len)?;
    for _ in 0..if len > CHUNK { 2 } else { 1 } {
        let asked = take_request(lab, scene.link)?;
        answer(lab, &scene, &asked)?;
    }
    Ok(scene)
}

fn answer(lab: &mut Lab, scene: &Fetching, asked: &Asked) -> Done {
    for range in &asked.ranges {
        if let Some(stream) = slice(&scene.book, asked, range) {
            lab.send_bulk(scene.link, stream);
        }
    }
    Ok(())
}

fn first(scene: &Fetching, asked: &Asked) -> Done<Vec<u8>> {
    let stream = asked.ranges.first().and_then(|range| slice(&scene.book, asked, range));
    stream.ok_or_else(|| crate::verdict::Fault::fail("a request for what was announced", format!("{:?}", asked.blob)))
}

/// Answers the next request with bytes of which the first of the content is wrong.
fn wrong(lab: &mut Lab, scene: &Fetching) -> Done {
    let asked = take_request(lab, scene.link)?;
    wrong_of(lab, scene, &asked)
}

fn wrong_of(lab: &mut Lab, scene: &Fetching, asked: &Asked) -> Done {
    for range in &asked.ranges {
        let Some(mut stream) = slice(&scene.book, asked, range) else { continue };
        let at = stream.len() - range.len as usize;
        stream[at] ^= 1;
        lab.send_bulk(scene.link, stream);
    }
    Ok(())
}

fn wrong_thrice(lab: &mut Lab) -> Done {
    let scene = at_content(lab, 1000)?;
    for _ in 0..MAX_REFETCH {
        wrong(lab, &scene)?;
    }
    scene.completes(lab)
}

/// The file with this content has another one now, and the old one can't be given any more.
fn replace(book: &mut Book, old: &Hash, content: &[u8]) {
    let named = |part: &&segue_proto::data::Part| part.entry().is_some_and(|entry| entry.blob == *old);
    let Some(part) = book.state.parts().find(named).map(|part| part.part) else { return };
    let blob = blob_id(content);
    book.blobs.remove(old);
    book.blobs.insert(blob, content.to_vec());
    if let Some(entry) = Entry::file("file", false, content.len() as u64, blob, None) {
        book.put(part, PartKind::Blob, entry.to_bytes());
    }
}

/// The subject asks what there is now.
fn asked_for_newer(lab: &mut Lab, scene: &Fetching) -> Done {
    lab.take(scene.link, "a HAVE that asks for what there is now", |message| match message {
        Message::Have(have) if have.session == scene.book.id && have.req != 0 => Some(()),
        _ => None,
    })
}

/// The pull ends with this code; the subject says no WANT.
fn fails(lab: &mut Lab, scene: &Fetching, code: Code) -> Done {
    failed(lab, scene.book.id, scene.link, code)
}

/// A pull ended with this code.
pub(super) fn failed(lab: &mut Lab, session: SessionId, link: LinkId, code: Code) -> Done {
    let came = lab.event("the event handoff-resolved with an error", |event| match event {
        Event::HandoffResolved { session: it, result: Err(code), .. } if *it == session => Some(*code),
        _ => None,
    })?;
    ensure(came == code, &format!("handoff-resolved with {code:?}"), format!("{came:?}"))?;
    lab.none(link, "WANT", |message| matches!(message, Message::Want(_)))?;
    lab.is(session, SessionRole::Secondary)
}

fn error(req: u32, book: &Book, code: Code) -> Error {
    let session = Some(book.id).into();
    Error { req, session, code: code.into(), definite: true, retry_after_ms: 0, ext: Exts::empty() }
}

/// The first chunk comes with a part of the second: none of it may be used, so after a break all is asked for.
fn not_at_a_chunk(lab: &mut Lab) -> Done {
    let scene = at_content(lab, 3 * CHUNK + 1)?;
    let asked = take_request(lab, scene.link)?;
    lab.send_bulk(scene.link, stream(asked.req, asked.blob, 0, &scene.content[..CHUNK + 10]));
    lab.none(scene.link, "use of bytes that don't fit the chunks", |message| matches!(message, Message::Want(_)))?;
    lab.link_down(scene.link);
    let link = lab.connect(&scene.peer)?;
    let scene = Fetching { link, ..scene };
    let asked = until_content(lab, &scene)?;
    let all = [range(0, 3 * CHUNK + 1)];
    ensure(asked.ranges == all, "a request for all of it", format!("{:?}", asked.ranges))?;
    answer(lab, &scene, &asked)?;
    scene.completes(lab)
}

/// A long file whose chunk list is wrong.
fn listed(lab: &mut Lab, tweak: fn(&mut Vec<segue_proto::transfer::ChunkRef>)) -> Done {
    let (peer, link) = linked(lab)?;
    let content = filler(lab, 3 * CHUNK + 1);
    let members = [lab.id()];
    let mut book = Book::create(&peer, &members, &mut lab.rng);
    let list = segue_proto::transfer::equal_list(&content).1.map(|(_, bytes)| bytes).unwrap_or_default();
    let right: Result<ChunkList, _> = decode(Rules::ALL, &list);
    let mut chunks = right.map(|list| list.chunks.into_vec()).unwrap_or_default();
    tweak(&mut chunks);
    let bytes = encode(&ChunkList { chunks: List::new(chunks).unwrap_or_default() });
    book.write_listed("file", &content, bytes);
    let data = book.announce();
    begin(lab, &peer, link, &book, &data)?;
    let scene = Fetching { peer, link, book, content };
    serve_all(lab, link, &scene.book)?;
    fails(lab, &scene, Code::DATA_MANIFEST)
}

/// The link breaks after the first two chunks of a long file.
fn broken_off(lab: &mut Lab) -> Done<Fetching> {
    let scene = at_content(lab, 4 * CHUNK)?;
    let asked = take_request(lab, scene.link)?;
    let whole = first(&scene, &asked)?;
    let header = whole.len() - 4 * CHUNK;
    lab.send_broken_bulk(scene.link, whole[..header + 2 * CHUNK + 100].to_vec());
    lab.skip(scene.link);
    Ok(scene)
}

/// Serves all but the content, and takes the request for that.
fn until_content(lab: &mut Lab, scene: &Fetching) -> Done<Asked> {
    let blob = blob_id(&scene.content);
    for _ in 0..8 {
        answer_have(lab, scene.link, &scene.book);
        let asked = take_request(lab, scene.link)?;
        if asked.blob == blob {
            return Ok(asked);
        }
        answer(lab, scene, &asked)?;
    }
    take_request(lab, scene.link)
}

fn resumes(lab: &mut Lab, restart: bool) -> Done {
    let scene = broken_off(lab)?;
    let scene = if restart {
        lab.reboot()?;
        let link = lab.connect(&scene.peer)?;
        let mut book = scene.book.clone();
        let data = book.announce();
        begin(lab, &scene.peer, link, &book, &data)?;
        Fetching { link, book, ..scene }
    } else {
        lab.link_down(scene.link);
        let link = lab.connect(&scene.peer)?;
        Fetching { link, ..scene }
    };
    let asked = until_content(lab, &scene)?;
    let missing = [range(2 * CHUNK, 2 * CHUNK)];
    ensure(
        !asked.by_get && asked.ranges == missing,
        "RANGES of the chunks that are missing",
        format!("{:?}", asked.ranges),
    )?;
    answer(lab, &scene, &asked)?;
    scene.completes(lab)
}
