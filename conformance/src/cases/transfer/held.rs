//! What must stay: announced manifests at the source, what a WANT said to be held at the target.

use segue_proto::Rules;
use segue_proto::limits::CHUNK;
use segue_proto::transfer::{ChunkList, Plan, chunk_list, equal_list};
use segue_proto::wire::Exts;
use segue_proto::wire::codec::decode;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Get, Message};
use segue_testkit::device::Command;

use super::{S, T};
use crate::cases::scene::{fetch, learn, owning, serve_until_want, wanting};
use crate::cases::{Case, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::verdict::Fault;

pub(super) const CASES: &[Case] = &[
    works("transfer/held/announced-is-served-after-a-write", &["TRANSFER-ANNOUNCE-1"], S, |lab| {
        let own = owning(lab)?;
        lab.must(Command::WriteFile { session: own.session, path: "more.txt".into(), content: b"more".to_vec() })?;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        let len = u64::from(own.data.manifest_len);
        let (session, blob) = (own.session, own.data.manifest);
        lab.send(own.link, Get { req: 61, session, blob, len, ext: Exts::empty() });
        let (header, bytes) = lab.stream(own.link, "a bulk stream with the manifest that was announced")?;
        ensure(header.req == 61 && blob_id(&bytes) == blob, "its bytes", format!("{header:?}"))
    }),
    works("transfer/held/announced-to-two", &["TRANSFER-ANNOUNCE-1"], S, |lab| {
        let own = owning(lab)?;
        let other = Peer::new(&mut lab.rng);
        lab.must(Command::Trust { device: other.id })?;
        lab.must(Command::WriteFile { session: own.session, path: "more.txt".into(), content: b"more".to_vec() })?;
        // What the other one is told of is newer.
        let link = lab.connect(&other)?;
        learn(lab, link, own.session)?;
        let bytes = fetch(lab, own.link, own.session, &own.data)?;
        ensure(blob_id(&bytes) == own.data.manifest, "what the first was told of", "other bytes")
    })
    .needs(&["trust"]),
    works("transfer/list/as-declared", &["TRANSFER-CUT-1", "TRANSFER-LIST-1"], S, chunks_as_declared)
        .needs(&["write-file"])
        .choice(),
    works("transfer/held/what-an-earlier-want-named", &["TRANSFER-HAVE-2"], T, an_earlier_want),
    works("transfer/held/no-root-before-its-ops-are-durable", &["DATA-OP-6"], S, |lab| {
        let own = owning(lab)?;
        lab.syncs = false;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        lab.skip(own.link);
        lab.send(own.link, segue_proto::wire::Have { req: 62, ..own.book.have(None) });
        let newer = |message: &Message| match message {
            Message::Have(have) => have.data.get().filter(|data| data.root != own.data.root).map(|_| ()),
            _ => None,
        };
        lab.none(own.link, "root of an op that isn't durable", |message| newer(message).is_some())?;
        lab.sync();
        lab.take(own.link, "a HAVE with the new root", newer)
    }),
];

/// The chunk list of a long file: by content, of equal chunks, or cut in another way, as the subject declared.
fn chunks_as_declared(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    // One chunk in five ends before the middle length, and of these half would if one zero bit more were asked for.
    let content = lab.rng.bytes(40 * CHUNK + 1000);
    let blob = blob_id(&content);
    lab.must(Command::WriteFile { session: own.session, path: "film".into(), content: content.clone() })?;
    let (_, _, manifest) = learn(lab, own.link, own.session)?;
    let entry = manifest.contents().find(|entry| entry.blob == blob);
    let entry = entry.ok_or_else(|| Fault::fail("an entry with the file's content", "none"))?;
    let list = entry.chunks.get().cloned().ok_or_else(|| Fault::fail("a chunk list for a long file", "none"))?;
    let (session, len) = (own.session, u64::from(list.len));
    lab.send(own.link, Get { req: 63, session, blob: list.hash, len, ext: Exts::empty() });
    let (_, bytes) = lab.stream(own.link, "a bulk stream with the chunk list")?;
    let read = decode::<ChunkList>(Rules::ALL, &bytes);
    let read = read.map_err(|why| Fault::fail("a well-formed chunk list", format!("one that breaks {why:?}")))?;
    Plan::listed(Rules::ALL, blob, entry.len, &read)
        .map_err(|why| Fault::fail("a chunk list for the file", format!("one that breaks {why:?}")))?;
    let (what, right) = match lab.choices.of("chunks") {
        "other" => return Ok(()),
        "equal" => ("a list of chunks of CHUNK bytes, the last shorter", equal_list(&content).1),
        _ => ("a list of chunks that end where the content says (section 8.4)", chunk_list(&content).1),
    };
    let lens: Vec<u32> = read.chunks.iter().map(|chunk| chunk.len).collect();
    ensure(right.is_some_and(|(_, list)| list == bytes), what, format!("one of the lengths {lens:?}"))
}

/// The subject said WANT; then it was shown more data, and said WANT again. The GRANT answers the first.
fn an_earlier_want(lab: &mut Lab) -> Done {
    let scene = wanting(lab)?;
    let mut book = scene.book.clone();
    book.write_file("later.txt", b"written later");
    let data = book.announce();
    lab.send(scene.link, book.have(Some(data)));
    serve_until_want(lab, scene.link, &book)?;
    scene.succeeds(lab)
}
