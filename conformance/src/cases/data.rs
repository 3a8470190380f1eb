//! Chapter data: manifests that a peer announces, and the subject's own ops.

use segue_proto::data::{
    Entry, ListRef, Manifest, Part as DataPart, PartKind, State, Value, header, op_hash, strand_hash,
};
use segue_proto::limits::CHUNK;
use segue_proto::wire::codec::encode;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{ActorId, Announced, Blob, Hash, Hlc, List, Message, Nonce, Op, PartId, SessionId, Text, Tip};
use segue_proto::{Code, SessionRole};
use segue_testkit::device::Command;

use super::scene::{TIMEOUT, introduce, linked, owning, serve_all, serve_until_want, take_request, wanting};
use super::transfer::failed;
use super::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Book;

const S: Part = Part::Source;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("data/manifest/fetched", &["DATA-ROOT-1", "DATA-MANIFEST-1"], T, fine),
    works("data/manifest/other-kinds-are-taken", &["DATA-KIND-1"], T, |lab| {
        accepts(lab, |manifest| {
            let part = DataPart { kind: PartKind::Register.number(), ..part(manifest, 7, b"", |_| {}) };
            add(manifest, part);
        })
    }),
    refused("data/manifest/other-root", &["DATA-ROOT-1"], T, fine, |lab| {
        announces(lab, |_| {}, |data| data.root = Hash::new([9; 32]), Code::DATA_ROOT)
    }),
    refused("data/manifest/empty", &["DATA-MANIFEST-5"], T, fine, |lab| unasked(lab, 0)),
    refused("data/manifest/too-long", &["DATA-MANIFEST-5"], T, fine, |lab| unasked(lab, 4_194_305)),
    refused("data/manifest/of-another-session", &["DATA-MANIFEST-3"], T, fine, |lab| {
        refuses(lab, |manifest| manifest.session = SessionId::new([9; 16]), Code::DATA_MANIFEST)
    }),
    refused("data/manifest/parts-descend", &["DATA-MANIFEST-1"], T, fine, |lab| {
        refuses(lab, |manifest| parts(manifest, |parts| parts.reverse()), Code::DATA_MANIFEST)
    }),
    refused("data/manifest/part-twice", &["DATA-MANIFEST-1"], T, fine, |lab| {
        refuses(lab, |manifest| parts(manifest, |parts| parts.extend(parts.last().cloned())), Code::DATA_MANIFEST)
    }),
    refused("data/manifest/unknown-kind", &["WIRE-VALUE-1"], T, fine, |lab| {
        refuses(lab, |manifest| parts(manifest, |parts| parts[0].kind = 6), Code::WIRE_VALUE)
    }),
    refused("data/manifest/value-missing", &["DATA-MANIFEST-1"], T, fine, |lab| {
        refuses(lab, |manifest| parts(manifest, |parts| parts[0].values = List::empty()), Code::DATA_MANIFEST)
    }),
    refused("data/manifest/value-is-no-tip", &["DATA-MANIFEST-1"], T, fine, |lab| {
        refuses(lab, |manifest| strands(manifest, |tip| tip.seq += 1), Code::DATA_MANIFEST)
    }),
    refused("data/manifest/tip-with-another-hash", &["DATA-OP-1"], T, fine, |lab| {
        refuses(lab, |manifest| strands(manifest, |tip| tip.hash = Hash::new([9; 32])), Code::DATA_HASH)
    }),
    refused("data/manifest/value-with-another-body", &["DATA-OP-2", "DATA-OP-1"], T, fine, |lab| {
        refuses(lab, |manifest| value(manifest, |value| value.op.salt = Nonce::new([9; 16])), Code::DATA_HASH)
    }),
    refused("data/manifest/first-op-follows-something", &["DATA-OP-1"], T, fine, |lab| {
        let follows = |manifest: &mut Manifest| {
            let mut made = part(manifest, 7, &file("seven", b"7").to_bytes(), |_| {});
            if let Some(value) = made.shown().cloned() {
                let prev = Hash::new([9; 32]);
                let tip = Tip { actor: value.op.actor, seq: 1, hash: op_hash(&prev, &header(&value.op)) };
                made.strands = List::new(vec![tip]).unwrap_or_default();
                made.values = List::new(vec![Value { prev, ..value }]).unwrap_or_default();
            }
            add(manifest, made);
        };
        refuses(lab, follows, Code::DATA_HASH)
    }),
    refused("data/manifest/op-read-its-own-strand", &["DATA-OP-4"], T, fine, |lab| {
        let own = |manifest: &mut Manifest| {
            let deps = |op: &mut Op| {
                let tip = Tip { actor: op.actor, seq: 1, hash: Hash::new([3; 32]) };
                op.deps = List::new(vec![tip]).unwrap_or_default();
            };
            let made = part(manifest, 7, &file("seven", b"7").to_bytes(), deps);
            add(manifest, made);
        };
        refuses(lab, own, Code::DATA_MANIFEST)
    }),
    refused("data/manifest/name-with-controls", &["WIRE-STRING-1"], T, fine, |lab| {
        refuses(lab, |manifest| manifest.name = Text::new("a\u{1b}[2J").unwrap_or_default(), Code::WIRE_STRING)
    }),
    works("data/tree/two-files-one-path", &["DATA-TREE-1", "DATA-MANIFEST-1"], T, |lab| {
        placed(lab, vec![file("file.txt", b"a"), file("file.txt", b"b")], &["file.txt", "file (08080808).txt"])
    }),
    works("data/tree/file-under-a-file", &["DATA-TREE-1", "DATA-MANIFEST-1"], T, |lab| {
        placed(lab, vec![file("file", b"a"), file("file/under", b"b")], &["file", "under (08080808)"])
    }),
    works("data/tree/file-over-a-file", &["DATA-TREE-1", "DATA-MANIFEST-1"], T, |lab| {
        placed(lab, vec![file("dir/a", b"a"), file("dir", b"b")], &["dir/a", "dir (08080808)"])
    }),
    refused("data/manifest/lengths-disagree", &["DATA-MANIFEST-4"], T, with_more, |lab| {
        entries(lab, &|| vec![file("a", b"abc"), Entry { len: 4, ..file("b", b"abc") }], Code::DATA_MANIFEST)
    }),
    refused("data/manifest/trailing-byte", &["WIRE-CANON-2"], T, fine, |lab| {
        let (_, link, mut book) = made(lab, |_| {})?;
        let mut bytes = book.state.to_manifest().to_bytes();
        bytes.push(0);
        let data = Announced { manifest: blob_id(&bytes), manifest_len: bytes.len() as u32, root: book.state.root() };
        book.blobs.insert(data.manifest, bytes);
        offered(lab, link, &book, &data)?;
        failed(lab, book.id, link, Code::WIRE_LENGTH)
    }),
    refused("data/entry/long-file-without-list", &["DATA-MANIFEST-2"], T, with_more, |lab| {
        let long = || Entry { len: CHUNK as u64 + 1, ..file("long", b"x") };
        entries(lab, &|| vec![long()], Code::DATA_MANIFEST)
    }),
    refused("data/entry/short-file-with-list", &["DATA-MANIFEST-2"], T, with_more, |lab| {
        let list = || Some(ListRef { hash: Hash::new([4; 32]), len: 40 }).into();
        entries(lab, &|| vec![Entry { chunks: list(), ..file("short", b"x") }], Code::DATA_MANIFEST)
    }),
    refused("data/entry/directory-with-content", &["DATA-ENTRY-1"], T, with_more, |lab| {
        entries(lab, &|| vec![Entry { mode: 2, ..file("dir", b"x") }], Code::DATA_MANIFEST)
    }),
    refused("data/entry/empty-file-of-something", &["DATA-ENTRY-1"], T, with_more, |lab| {
        entries(lab, &|| vec![Entry { len: 0, ..file("empty", b"x") }], Code::DATA_MANIFEST)
    }),
    refused("data/entry/unknown-mode", &["WIRE-VALUE-1"], T, with_more, |lab| {
        entries(lab, &|| vec![Entry { mode: 4, ..file("mode", b"x") }], Code::WIRE_VALUE)
    }),
    refused("data/name/climbs-out", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "../out")),
    refused("data/name/absolute", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "/etc/passwd")),
    refused("data/name/dot", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "a/./b")),
    refused("data/name/empty-component", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "a//b")),
    refused("data/name/backslash", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "a\\b")),
    refused("data/name/drive", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "C:")),
    refused("data/name/device", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "dir/con.txt")),
    refused("data/name/control", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "a\nb")),
    refused("data/name/trailing-dot", &["DATA-NAME-1"], T, with_more, |lab| named(lab, "a.")),
    refused("data/name/long-component", &["DATA-NAME-1"], T, with_more, |lab| named(lab, &"n".repeat(256))),
    works("data/op/numbers-go-on-after-a-restart", &["DATA-OP-3", "DATA-OP-1"], S, |lab| {
        let own = owning(lab)?;
        let before = own.manifest.clone();
        lab.reboot()?;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        let link = lab.connect(&own.peer)?;
        let (_, _, after) = super::scene::learn(lab, link, own.session)?;
        goes_on(&before, &after)
    }),
    works("data/op/numbers-go-on", &["DATA-OP-3", "DATA-OP-1"], S, |lab| {
        let own = owning(lab)?;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        let (_, _, after) = super::scene::learn(lab, own.link, own.session)?;
        goes_on(&own.manifest, &after)
    }),
    works("data/op/names-its-head", &["HO-WRITE-1"], S, |lab| {
        let own = owning(lab)?;
        let head = own.book.head();
        let under = own.manifest.parts.iter().all(|part| part.shown().is_some_and(|value| value.op.record == head));
        ensure(under, "ops made under the head", "others")
    }),
    works("data/op/after-a-handoff-it-reads-the-last", &["DATA-OP-4", "HO-WRITE-1"], T, |lab| {
        let scene = wanting(lab)?;
        scene.succeeds(lab)?;
        lab.must(Command::WriteExclusive { session: scene.book.id, bytes: b"mine".to_vec() })?;
        let (book, data) = super::scene::ask(lab, scene.link, scene.book.id)?;
        let data = data.ok_or_else(|| crate::verdict::Fault::fail("a manifest", "none"))?;
        let bytes = super::scene::fetch(lab, scene.link, book.id, &data)?;
        let manifest = Manifest::open(segue_proto::Rules::ALL, &bytes, &book.id);
        let manifest =
            manifest.map_err(|why| crate::verdict::Fault::fail("a well-formed manifest", format!("{why:?}")))?;
        let part = manifest.parts.iter().find(|part| part.kind == PartKind::Exclusive.number());
        let deps = part.and_then(|part| part.shown()).map_or(0, |value| value.op.deps.len());
        ensure(deps == 1, "deps that name the value's strand", deps)
    }),
    refused("data/op/secondary-writes-nothing", &["HO-WRITE-1"], T, writes_as_primary, |lab| {
        let scene = wanting(lab)?;
        lab.must_not(Command::WriteExclusive { session: scene.book.id, bytes: b"mine".to_vec() })?;
        scene.succeeds(lab)
    }),
    works("data/op/too-much-to-travel-inline", &["HO-GRANT-4"], S, |lab| {
        let own = owning(lab)?;
        for part in 1..=3 {
            let (session, part, kind) = (own.session, PartId::new([part; 16]), PartKind::Exclusive.number());
            lab.must(Command::Write { session, part, kind, body: vec![7; 16_000], resolves: false })?;
        }
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        lab.take(own.link, "a HAVE instead of more than MAX_GRANT bytes", |message| match message {
            Message::Have(have) if have.data.get().is_some() => Some(()),
            _ => None,
        })
    })
    .needs(&["write"]),
];

/// The subject is asked to take this manifest, changed in one way.
fn made(lab: &mut Lab, tweak: impl FnOnce(&mut Manifest)) -> Done<(Manifest, segue_proto::LinkId, Book)> {
    let (peer, link) = linked(lab)?;
    let book = super::scene::session_of(lab, &peer);
    let mut manifest = book.state.to_manifest();
    tweak(&mut manifest);
    lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    Ok((manifest, link, book))
}

fn offered(lab: &mut Lab, link: segue_proto::LinkId, book: &Book, data: &Announced) -> Done {
    introduce(lab, link, book, data)?;
    serve_all(lab, link, book)?;
    Ok(())
}

fn fine(lab: &mut Lab) -> Done {
    accepts(lab, |_| {})
}

fn accepts(lab: &mut Lab, tweak: fn(&mut Manifest)) -> Done {
    let (manifest, link, mut book) = made(lab, tweak)?;
    let data = book.manifest(&manifest);
    introduce(lab, link, &book, &data)?;
    serve_until_want(lab, link, &book).map(|_| ())
}

fn refuses(lab: &mut Lab, tweak: fn(&mut Manifest), code: Code) -> Done {
    announces(lab, tweak, |_| {}, code)
}

fn announces(lab: &mut Lab, tweak: fn(&mut Manifest), lie: fn(&mut Announced), code: Code) -> Done {
    let (manifest, link, mut book) = made(lab, tweak)?;
    let mut data = book.manifest(&manifest);
    lie(&mut data);
    offered(lab, link, &book, &data)?;
    failed(lab, book.id, link, code)
}

/// A manifest of a length that none has is refused before anything is asked for.
fn unasked(lab: &mut Lab, len: u32) -> Done {
    let (manifest, link, mut book) = made(lab, |_| {})?;
    let data = Announced { manifest_len: len, ..book.manifest(&manifest) };
    introduce(lab, link, &book, &data)?;
    ensure(take_request(lab, link).is_err(), "no request for such a manifest", "one")?;
    failed(lab, book.id, link, Code::LIMIT_MANIFEST)
}

fn with_more(lab: &mut Lab) -> Done {
    accepts_entries(
        lab,
        vec![file("a", b"abc"), file("b/c", b"abc"), Entry { mode: 2, len: 0, blob: Hash::ZERO, ..file("d", b"") }],
    )
}

fn accepts_entries(lab: &mut Lab, more: Vec<Entry>) -> Done {
    let (manifest, link, mut book) = made(lab, |manifest| put(manifest, more))?;
    book.blobs.insert(blob_id(b"abc"), b"abc".to_vec());
    let data = book.manifest(&manifest);
    introduce(lab, link, &book, &data)?;
    serve_until_want(lab, link, &book).map(|_| ())
}

/// Entries that want each other's room: the subject takes them all, and shows each at a path of its own.
fn placed(lab: &mut Lab, more: Vec<Entry>, paths: &[&str]) -> Done {
    let (peer, link) = linked(lab)?;
    let mut book = super::scene::session_of(lab, &peer);
    let mut manifest = book.state.to_manifest();
    put(&mut manifest, more);
    book.state = State::from_manifest(manifest);
    book.blobs.extend([b"a", b"b"].map(|content| (blob_id(content), content.to_vec())));
    let scene = super::scene::pull(lab, peer, link, book)?;
    scene.succeeds(lab)?;
    let files = lab.known(scene.book.id)?.files;
    let held = |path: &&str| files.get(*path).is_some_and(|content| !content.is_zero());
    ensure(paths.iter().all(held), &format!("files at {paths:?}"), format!("{:?}", files.keys()))
}

fn entries(lab: &mut Lab, more: &dyn Fn() -> Vec<Entry>, code: Code) -> Done {
    let (manifest, link, mut book) = made(lab, |manifest| put(manifest, more()))?;
    let data = book.manifest(&manifest);
    offered(lab, link, &book, &data)?;
    failed(lab, book.id, link, code)
}

fn named(lab: &mut Lab, path: &str) -> Done {
    entries(lab, &|| vec![Entry { path: Text::new(path).unwrap_or_default(), ..file("x", b"x") }], Code::DATA_NAME)
}

fn file(path: &str, content: &[u8]) -> Entry {
    Entry {
        path: Text::new(path).unwrap_or_default(),
        mode: 0,
        len: content.len() as u64,
        blob: blob_id(content),
        chunks: None.into(),
    }
}

fn put(manifest: &mut Manifest, more: Vec<Entry>) {
    for (at, entry) in more.iter().enumerate() {
        let part = part(manifest, 7 + at as u8, &encode(entry), |_| {});
        add(manifest, part);
    }
}

/// A blob part with one op.
fn part(manifest: &Manifest, id: u8, body: &[u8], tweak: fn(&mut Op)) -> DataPart {
    let (part, actor) = (PartId::new([id; 16]), ActorId::new([5; 32]));
    let mut op = Op {
        part,
        actor,
        seq: 1,
        deps: List::empty(),
        hlc: Hlc::ZERO,
        record: Hash::new([6; 32]),
        salt: Nonce::ZERO,
        body: Blob::new(body.to_vec()).unwrap_or_default(),
    };
    tweak(&mut op);
    let prev = strand_hash(&manifest.session, &part, &actor);
    let tip = Tip { actor, seq: 1, hash: op_hash(&prev, &header(&op)) };
    let strands = List::new(vec![tip]).unwrap_or_default();
    DataPart {
        part,
        kind: PartKind::Blob.number(),
        strands,
        values: List::new(vec![Value { prev, op }]).unwrap_or_default(),
    }
}

fn add(manifest: &mut Manifest, part: DataPart) {
    parts(manifest, |parts| {
        parts.push(part);
        parts.sort_by_key(|part| part.part);
    });
}

fn parts(manifest: &mut Manifest, tweak: impl FnOnce(&mut Vec<DataPart>)) {
    let mut parts = std::mem::take(&mut manifest.parts).into_vec();
    tweak(&mut parts);
    manifest.parts = List::new(parts).unwrap_or_default();
}

fn strands(manifest: &mut Manifest, tweak: fn(&mut Tip)) {
    parts(manifest, |parts| {
        let mut strands = std::mem::take(&mut parts[0].strands).into_vec();
        strands.iter_mut().for_each(tweak);
        parts[0].strands = List::new(strands).unwrap_or_default();
    });
}

fn value(manifest: &mut Manifest, tweak: fn(&mut Value)) {
    parts(manifest, |parts| {
        let mut value = parts[0].shown().cloned();
        value.iter_mut().for_each(tweak);
        parts[0].values = List::new(value.into_iter().collect()).unwrap_or_default();
    });
}

/// Every strand goes on from where it was, and one of them has moved.
fn goes_on(before: &Manifest, after: &Manifest) -> Done {
    let mut moved = false;
    for part in before.parts.iter() {
        for tip in part.strands.iter() {
            let now = after.part(&part.part).and_then(|part| part.tip(&tip.actor));
            let same = now.is_some_and(|now| now.seq == tip.seq && now.hash == tip.hash);
            let on = now.is_some_and(|now| now.seq > tip.seq);
            ensure(same || on, "strands that go on", format!("{now:?} after {tip:?}"))?;
            moved |= on;
        }
    }
    ensure(moved, "a new op in the strand", "none")
}

fn writes_as_primary(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    lab.must(Command::WriteExclusive { session: own.session, bytes: b"mine".to_vec() })?;
    own.granted(lab)?;
    lab.is(own.session, SessionRole::Releasing)
}
