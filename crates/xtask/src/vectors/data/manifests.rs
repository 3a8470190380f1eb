//! Manifests: one that is taken, and ones that break a rule each.

use segue_proto::Rules;
use segue_proto::data::{self, Entry, EntryMode, ListRef, Manifest, Part, PartKind, Value};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{Blob, Hash, List, Op, PartId, SessionId, Text, Tip};

use crate::json::Json;
use crate::vectors::byhand;
use crate::vectors::cast::{self, FOLDER, LAPTOP, NOTES, NOTES_CONTENT, PHOTO, Story, VIEW, list, story};
use crate::vectors::form::{Book, Vector, bytes, text};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let story = story();
    valid(book, &story);
    inline(book, &story);
    form(book, &story);
    values(book, &story);
    deps(book, &story);
    entries(book, &story);
    trees(book, &story);
}

fn valid(book: &mut Book, story: &Story) {
    let empty =
        Manifest { session: story.session, name: Text::new("Holiday").unwrap_or_default(), parts: List::empty() };
    for (name, what, manifest) in [
        ("manifest-empty", "A session without parts.", &empty),
        (
            "manifest",
            "The session of the story: two files, a directory and the view, before the inline op.",
            &story.manifest,
        ),
    ] {
        let vector = taken(book, story, name, what, manifest).clause("DATA-MANIFEST-1").clause("DATA-ROOT-1");
        book.add(vector.shown());
    }
}

/// What the inline ops of a GRANT do to a manifest.
fn inline(book: &mut Book, story: &Story) {
    let given = |vector: Vector, op: &Op| {
        let vector =
            vector.input("session", bytes(story.session.as_bytes())).input("manifest", bytes(&story.manifest_bytes));
        vector.input("ops", Json::list([bytes(encode(op))]))
    };
    let apply = |op: &Op| story.manifest.apply(Rules::ALL, std::slice::from_ref(op));
    let what = "A manifest, an op behind it, and the root that both give.";
    let vector = given(Vector::valid("data", "apply", "inline", what).clause("DATA-ROOT-1"), &story.inline);
    let root = apply(&story.inline).map(|manifest| manifest.root());
    let by_hand = data::root(
        &story.session,
        story
            .manifest
            .parts
            .iter()
            .map(|part| (part.part, if part.part == VIEW { view_after(story) } else { part.root() })),
    );
    book.same(&vector, "the root", root.ok(), Some(by_hand));
    book.add(vector.expect("root", bytes(by_hand.as_bytes())).shown());
    let skips = Op { seq: 3, ..story.inline.clone() };
    let blob = Op { part: FOLDER, ..story.inline.clone() };
    let unheld = Op { part: PartId::new([0x2f; 16]), seq: 1, ..story.inline.clone() };
    for (name, what, op, broken) in [
        ("inline-seq", "An inline op whose `seq` rises by two.", skips, ("DATA-OP-1", "DATA_HASH")),
        ("inline-blob", "An inline op of a part that isn't exclusive.", blob, ("DATA-OP-5", "DATA_MANIFEST")),
        (
            "inline-unknown-part",
            "An inline op of a part that the manifest doesn't have.",
            unheld,
            ("DATA-OP-5", "DATA_MANIFEST"),
        ),
    ] {
        book.refuse(given(Vector::invalid("data", "apply", name, what, broken), &op), apply(&op));
    }
}

/// The order of things, and what is there at all.
fn form(book: &mut Book, story: &Story) {
    let broken = ("DATA-MANIFEST-1", "DATA_MANIFEST");
    refuse(book, story, "parts-descend", "Parts that don't ascend.", broken, |m| parts(m, |parts| parts.reverse()));
    refuse(book, story, "part-twice", "A part that is listed twice.", broken, |m| {
        parts(m, |parts| parts.insert(0, parts[0].clone()))
    });
    let two = |up: bool| {
        move |part: &mut Part| {
            let mut tips = part.strands.to_vec();
            tips.push(Tip { actor: cast::PHONE.actor(), seq: 1, hash: Hash::new([0x62; 32]) });
            tips.sort_by_key(|tip| tip.actor);
            if !up {
                tips.reverse();
            }
            part.strands = list(tips);
        }
    };
    refuse(book, story, "strands-descend", "Strands that don't ascend.", broken, |m| part(m, VIEW, two(false)));
    refuse(book, story, "strand-twice", "A strand that is listed twice.", broken, |m| {
        part(m, VIEW, |part| part.strands = list(vec![part.strands[0].clone(), part.strands[0].clone()]));
    });
    refuse(book, story, "strand-empty", "A strand without ops.", broken, |m| {
        part(m, VIEW, |part| {
            (part.strands, part.values) = (list(vec![Tip { seq: 0, ..part.strands[0].clone() }]), List::empty())
        });
    });
    refuse(book, story, "kind-0", "A part of a kind that there isn't.", ("WIRE-VALUE-1", "WIRE_VALUE"), |m| {
        part(m, VIEW, |part| part.kind = 0)
    });
    let mut manifest = story.manifest.clone();
    part(&mut manifest, VIEW, |part| (part.kind, part.values) = (PartKind::Log.number(), List::empty()));
    let what = "A part of a kind that this version doesn't write, without a value, which a receiver takes as it is.";
    let vector = taken(book, story, "manifest-kind-1", what, &manifest).clause("DATA-KIND-1");
    book.add(vector);
    let other = ("DATA-MANIFEST-3", "DATA_MANIFEST");
    refuse(book, story, "session-other", "A manifest of another session.", other, |m| {
        m.session = SessionId::new([7; 16])
    });
    let string = ("WIRE-STRING-1", "WIRE_STRING");
    refuse(book, story, "name-control", "A session's name with a control character.", string, |m| {
        m.name = Text::new("Holi\u{7}day").unwrap_or_default()
    });
    refuse(book, story, "name-65", "A session's name of 65 characters.", string, |m| {
        m.name = Text::new("a".repeat(65)).unwrap_or_default()
    });
    let trailing = [story.manifest_bytes.as_slice(), &[0]].concat();
    refuse_bytes(book, story, "trailing", "A byte behind the manifest.", ("WIRE-CANON-2", "WIRE_LENGTH"), trailing);
    let short = story.manifest_bytes[..story.manifest_bytes.len() - 1].to_vec();
    refuse_bytes(
        book,
        story,
        "truncated",
        "A manifest whose last byte is missing.",
        ("WIRE-CANON-2", "WIRE_LENGTH"),
        short,
    );
}

/// The winning op of a part.
fn values(book: &mut Book, story: &Story) {
    let form = ("DATA-MANIFEST-1", "DATA_MANIFEST");
    let hash = ("DATA-OP-1", "DATA_HASH");
    refuse(book, story, "value-missing", "A part with a strand and no value.", form, |m| {
        part(m, VIEW, |part| part.values = List::empty())
    });
    refuse(book, story, "value-without-strand", "A part with a value and no strand.", form, |m| {
        part(m, VIEW, |part| part.strands = List::empty())
    });
    refuse(book, story, "value-part", "A value that is an op of another part.", form, |m| {
        value(m, VIEW, |v| v.op.part = NOTES)
    });
    refuse(book, story, "value-actor", "A value by an actor that the part doesn't list.", form, |m| {
        value(m, VIEW, |v| v.op.actor = cast::PHONE.actor())
    });
    refuse(book, story, "value-seq", "A value that isn't its strand's last op.", form, |m| {
        value(m, NOTES, |v| v.op.seq = 1)
    });
    refuse(book, story, "value-prev", "A value whose hash doesn't recompute, as `prev` is wrong.", hash, |m| {
        value(m, NOTES, |v| v.prev = Hash::new([7; 32]))
    });
    refuse(book, story, "value-body", "A value whose hash doesn't recompute, as its body is another.", hash, |m| {
        value(m, VIEW, |v| v.op.body = blob(b"cursor 5"))
    });
    refuse(book, story, "value-salt", "A value whose hash doesn't recompute, as its salt is another.", hash, |m| {
        value(m, VIEW, |v| v.op.salt = segue_proto::wire::Nonce::new([7; 16]))
    });
}

/// What an op names as read.
fn deps(book: &mut Book, story: &Story) {
    let broken = ("DATA-OP-4", "DATA_MANIFEST");
    let held = |m: &Manifest| m.part(&VIEW).map(|part| part.strands[0].clone()).expect("the story writes the view");
    let unheld = Tip { actor: cast::PHONE.actor(), seq: 1, hash: Hash::new([0x62; 32]) };
    for (name, what, dep) in [
        ("deps-own", "A value that names its own strand as read.", held(&story.manifest)),
        ("deps-unheld", "A value that names a strand as read that the part doesn't have.", unheld),
    ] {
        refuse(book, story, name, what, broken, |m| {
            let mut value = m.part(&VIEW).and_then(|part| part.shown().cloned()).expect("the view has a value");
            value.op.deps = list(vec![dep]);
            replace(m, VIEW, value);
        });
    }
}

/// What an entry says of its content.
fn entries(book: &mut Book, story: &Story) {
    let content = notes();
    let listed = ("DATA-MANIFEST-2", "DATA_MANIFEST");
    let list_ref = || Some(ListRef { hash: Hash::new([7; 32]), len: 100 }).into();
    let empty = Entry { len: 0, blob: Hash::new(*blake3::hash(b"").as_bytes()), ..content.clone() };
    for (name, what, entry) in [
        ("entry-file", "A short file.", content.clone()),
        ("entry-executable", "A file that can be run.", Entry { mode: 1, ..content.clone() }),
        ("entry-empty-file", "A file without content.", empty),
        ("entry-directory", "A directory.", Entry::bare("photos", EntryMode::Directory).expect("a short path")),
        ("entry-removed", "What was removed.", Entry::bare("photos/old", EntryMode::Removed).expect("a short path")),
        (
            "entry-listed",
            "A file of 65,537 bytes, which has a chunk list.",
            Entry { len: 65_537, chunks: list_ref(), ..content.clone() },
        ),
    ] {
        let encoded = entry.to_bytes();
        let fields = byhand::decode("Entry", &encoded).unwrap_or_else(|code| code.into());
        let vector = Vector::valid("data", "entry", name, what)
            .clause("DATA-MANIFEST-2")
            .input("bytes", bytes(&encoded))
            .expect("fields", fields.clone());
        let mut again = Vec::new();
        byhand::encode("Entry", &fields, &mut again);
        book.same(&vector, "the encoding", encoded.clone(), again);
        book.same(&vector, "whether it opens", Entry::open(Rules::ALL, &encoded), Ok(entry));
        book.add(vector);
    }
    let directory = Entry::bare("photos", EntryMode::Directory).expect("a short path");
    let fits = ("DATA-ENTRY-1", "DATA_MANIFEST");
    let value = ("WIRE-VALUE-1", "WIRE_VALUE");
    let name = ("DATA-NAME-1", "DATA_NAME");
    let out = Entry { path: Text::new("../notes.txt").unwrap_or_default(), ..content.clone() };
    let no_mode = Entry { mode: 4, ..content.clone() };
    let zero_list = Some(ListRef { hash: Hash::new([7; 32]), len: 0 }).into();
    for (name, what, entry, broken) in [
        ("entry-mode-4", "A mode that there isn't.", no_mode.clone(), value),
        ("entry-path", "A path that leads out of its directory.", out.clone(), name),
        ("entry-list-missing", "65,537 bytes without a chunk list.", Entry { len: 65_537, ..content.clone() }, listed),
        (
            "entry-list-needless",
            "A short file with a chunk list.",
            Entry { chunks: list_ref(), ..content.clone() },
            listed,
        ),
        (
            "entry-list-empty",
            "A chunk list of no bytes.",
            Entry { len: 65_537, chunks: zero_list, ..content.clone() },
            listed,
        ),
        ("entry-directory-len", "A directory with a length.", Entry { len: 1, ..directory.clone() }, fits),
        (
            "entry-directory-blob",
            "A directory with a hash.",
            Entry { blob: Hash::new([7; 32]), ..directory.clone() },
            fits,
        ),
        ("entry-directory-list", "A directory with a chunk list.", Entry { chunks: list_ref(), ..directory }, listed),
        (
            "entry-file-no-blob",
            "A file whose content has no hash.",
            Entry { blob: Hash::ZERO, ..content.clone() },
            fits,
        ),
        ("entry-empty-blob", "An empty file with the hash of something.", Entry { len: 0, ..content.clone() }, fits),
    ] {
        let encoded = entry.to_bytes();
        let vector = Vector::invalid("data", "entry", name, what, broken).input("bytes", bytes(&encoded));
        book.refuse(vector, Entry::open(Rules::ALL, &encoded));
    }
    let what = "A manifest with an entry of a mode that there isn't.";
    refuse(book, story, "entry-mode", what, value, |m| rewrite(m, NOTES, no_mode.to_bytes()));
    let what = "A manifest with a path that leads out of its directory.";
    refuse(book, story, "entry-path", what, name, |m| rewrite(m, NOTES, out.to_bytes()));
    let what = "Two files of the same content and of different lengths.";
    let photo = story.manifest.part(&PHOTO).and_then(Part::entry).expect("the story has a photo");
    let agrees = ("DATA-MANIFEST-4", "DATA_MANIFEST");
    let shorter = Entry { path: Text::new("notes.txt").unwrap_or_default(), len: photo.len - 1, ..photo };
    refuse(book, story, "blob-lengths", what, agrees, |m| rewrite(m, NOTES, shorter.to_bytes()));
}

/// Entries that want each other's room: they are taken as they are, and placed.
fn trees(book: &mut Book, story: &Story) {
    let at = |path: &str| Entry { path: Text::new(path).unwrap_or_default(), ..notes() }.to_bytes();
    let removed = Entry::bare("photos/tent.raw", EntryMode::Removed).expect("a short path").to_bytes();
    for (name, what, body, places) in [
        (
            "path-twice",
            "Two live entries with one path: the second makes room.",
            at("photos/tent.raw"),
            [(NOTES, "photos/tent.raw"), (PHOTO, "photos/tent (22222222).raw")].as_slice(),
        ),
        (
            "path-above-file",
            "A file at a path below which the next lies: that one has no room in its directory either.",
            at("photos"),
            &[(NOTES, "photos"), (PHOTO, "tent (22222222).raw"), (FOLDER, "old (23232323)")],
        ),
        (
            "path-under-file",
            "An entry below the path of the next, a file, which makes room.",
            at("photos/tent.raw/notes.txt"),
            &[(NOTES, "photos/tent.raw/notes.txt"), (PHOTO, "photos/tent (22222222).raw")],
        ),
        (
            "path-removed",
            "A removed entry may have the path of a live one.",
            removed,
            &[(PHOTO, "photos/tent.raw"), (FOLDER, "photos/old")],
        ),
    ] {
        let mut manifest = story.manifest.clone();
        rewrite(&mut manifest, NOTES, body);
        let shown: Vec<(PartId, String)> =
            manifest.entries().map(|(part, entry)| (part, entry.path.to_string())).collect();
        let vector = taken(book, story, &format!("manifest-{name}"), what, &manifest).clause("DATA-TREE-1");
        let kept = [(PHOTO, "photos/tent.raw"), (FOLDER, "photos/old")];
        let untouched = kept.iter().filter(|(part, _)| !places.iter().any(|(placed, _)| placed == part));
        let mut expected: Vec<_> = places.iter().chain(untouched).map(|(part, path)| (*part, (*path).into())).collect();
        expected.sort();
        book.same(&vector, "the places", shown.clone(), expected);
        let listed =
            shown.iter().map(|(part, path)| Json::object([("part", bytes(part.as_bytes())), ("path", text(path))]));
        book.add(vector.expect("places", Json::list(listed)));
    }
}

/// The vector of a manifest that is taken.
fn taken(book: &mut Book, story: &Story, name: &str, what: &str, manifest: &Manifest) -> Vector {
    let (announced, encoded) = manifest.announce();
    let fields = byhand::decode("Manifest", &encoded).unwrap_or_else(|code| code.into());
    let vector = Vector::valid("data", "manifest", name, what)
        .input("session", bytes(story.session.as_bytes()))
        .input("bytes", bytes(&encoded))
        .step("fields", fields.clone())
        .expect("manifest", bytes(announced.manifest.as_bytes()))
        .expect("manifest_len", u64::from(announced.manifest_len))
        .expect("root", bytes(announced.root.as_bytes()));
    let mut again = Vec::new();
    byhand::encode("Manifest", &fields, &mut again);
    book.same(&vector, "the encoding", encoded.clone(), again);
    book.same(&vector, "the hash", *announced.manifest.as_bytes(), *blake3::hash(&encoded).as_bytes());
    let opened = Manifest::open(Rules::ALL, &encoded, &story.session);
    book.same(&vector, "whether it opens", opened.as_ref(), Ok(manifest));
    vector
}

/// Adds a manifest that is refused once it is changed so.
fn refuse(
    book: &mut Book,
    story: &Story,
    name: &str,
    what: &str,
    broken: (&'static str, &'static str),
    change: impl FnOnce(&mut Manifest),
) {
    let mut manifest = story.manifest.clone();
    change(&mut manifest);
    refuse_bytes(book, story, name, what, broken, manifest.to_bytes());
}

fn refuse_bytes(
    book: &mut Book,
    story: &Story,
    name: &str,
    what: &str,
    broken: (&'static str, &'static str),
    encoded: Vec<u8>,
) {
    let name = format!("manifest-{name}");
    let vector = Vector::invalid("data", "manifest", name, what, broken)
        .input("session", bytes(story.session.as_bytes()))
        .input("bytes", bytes(&encoded));
    book.refuse(vector, Manifest::open(Rules::ALL, &encoded, &story.session));
}

fn parts(manifest: &mut Manifest, change: impl FnOnce(&mut Vec<Part>)) {
    let mut parts = manifest.parts.to_vec();
    change(&mut parts);
    manifest.parts = list(parts);
}

fn part(manifest: &mut Manifest, id: PartId, change: impl FnOnce(&mut Part)) {
    parts(manifest, |parts| {
        let at = parts.iter().position(|part| part.part == id).expect("the story has the part");
        change(&mut parts[at]);
    });
}

fn value(manifest: &mut Manifest, id: PartId, change: impl FnOnce(&mut Value)) {
    part(manifest, id, |part| {
        let mut value = part.shown().cloned().expect("the part has a value");
        change(&mut value);
        part.values = List::new(vec![value]).unwrap_or_default();
    });
}

/// Gives a part's last op another body, with a tip that fits.
fn rewrite(manifest: &mut Manifest, id: PartId, body: Vec<u8>) {
    let mut value = manifest.part(&id).and_then(|part| part.shown().cloned()).expect("the part has a value");
    value.op.body = blob(&body);
    replace(manifest, id, value);
}

/// Gives a part another last op, with a tip that fits.
fn replace(manifest: &mut Manifest, id: PartId, value: Value) {
    let hash = data::op_hash(&value.prev, &data::header(&value.op));
    part(manifest, id, |part| {
        part.strands = list(vec![Tip { hash, ..part.strands[0].clone() }]);
        part.values = List::new(vec![value]).unwrap_or_default();
    });
}

/// The root of the view once the inline op is in.
fn view_after(story: &Story) -> Hash {
    let before = story.ops.iter().find(|op| op.part == VIEW).expect("the story writes the view");
    let tip =
        Tip { actor: LAPTOP.actor(), seq: 2, hash: super::strands::tip(&story.session, &[before, &story.inline]) };
    Part { strands: list(vec![tip]), ..Part::new(VIEW, PartKind::Exclusive) }.root()
}

fn notes() -> Entry {
    cast::notes_entry(NOTES_CONTENT)
}

fn blob<const MAX: usize>(bytes: &[u8]) -> Blob<MAX> {
    Blob::new(bytes.to_vec()).expect("a body within its cap")
}
