//! Chapter `data`: hashes, entries, manifests, the device's own state.

use segue_proto::data::{
    Entry, EntryMode, ListRef, Manifest, Part, PartKind, State, Value, actor_id, body_hash, check_path, header,
    op_hash, root, session_id, strand_hash,
};
use segue_proto::limits::{MAX_MANIFEST, MAX_OP_BODY};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{DeviceId, Hash, List, Nonce, Op, PartId, Text, Tip};
use segue_proto::{Clause, Code, Rules, UsageError, Violation};

use crate::util::{SESSION, World, actor, content, file, part, refused, sample};

// Hashes.

/// BLAKE3 in `derive_key` mode, without the crate's own hasher.
fn h(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    blake3::derive_key(context, &parts.concat())
}

#[test]
fn ids_and_hashes_follow_their_formulas() {
    let (device, nonce) = (DeviceId::new([1; 32]), Nonce::new([2; 16]));
    assert_eq!(session_id(&device, &nonce).as_bytes()[..], h("segue/1 session", &[&[1; 32], &[2; 16]])[..16]);
    assert_eq!(*actor_id(&device, &nonce).as_bytes(), h("segue/1 actor", &[&[1; 32], &[2; 16]]));

    let mut world = World::new();
    let op = world.exclusive(9, b"body");
    let strand = h("segue/1 strand", &[&[7; 16], &[9; 16], &[1; 32]]);
    assert_eq!(*strand_hash(&SESSION, &part(9), &actor(1)).as_bytes(), strand);
    let body = h("segue/1 body", &[&[5; 16], b"body"]);
    assert_eq!(*body_hash(&op.salt, &op.body).as_bytes(), body);
    // seq 1, no deps, hlc, record, body_len 4, body_hash
    let bytes = [&[1, 0][..], &[3, 3, 3, 3, 3, 3, 0, 0], &[4; 32], &[4], &body].concat();
    assert_eq!(encode(&header(&op)), bytes);
    let tip = h("segue/1 op", &[&strand, &bytes]);
    assert_eq!(world.state.part(&part(9)).unwrap().strands[0].hash, Hash::new(tip));

    let part_root = h("segue/1 part", &[&[9; 16], &[0, 5], &[0, 0, 0, 1], &[1; 32], &[0, 0, 0, 0, 0, 0, 0, 1], &tip]);
    assert_eq!(*world.state.part(&part(9)).unwrap().root().as_bytes(), part_root);
    let all = h("segue/1 root", &[&[7; 16], &[0, 0, 0, 1], &[9; 16], &part_root]);
    assert_eq!(*world.state.root().as_bytes(), all);
    assert_eq!(world.state.to_manifest().root(), world.state.root());
    let (data, pages) = world.state.announce();
    assert_eq!(world.state.to_manifest().announce(), (data, pages.to_vec()));
}

#[test]
fn a_session_without_parts_has_a_root() {
    let state = State::new(SESSION, "empty");
    assert_eq!(*state.root().as_bytes(), h("segue/1 root", &[&[7; 16], &[0; 4]]));
    assert_eq!(state.root(), root(&SESSION, [].into_iter()));
}

#[test]
fn an_op_hash_covers_every_field_of_the_op() {
    let op = World::new().exclusive(9, b"body");
    let hash = |op: &Op| op_hash(&Hash::new([8; 32]), &header(op));
    let tip = Tip { actor: actor(2), seq: 1, hash: Hash::new([6; 32]) };
    let changed = [
        Op { seq: 2, ..op.clone() },
        Op { deps: List::new(vec![tip]).unwrap(), ..op.clone() },
        Op { hlc: segue_proto::wire::Hlc::new([9; 8]), ..op.clone() },
        Op { record: Hash::new([9; 32]), ..op.clone() },
        Op { salt: Nonce::new([9; 16]), ..op.clone() },
        Op { body: segue_proto::wire::Blob::new(b"bodY".to_vec()).unwrap(), ..op.clone() },
    ];
    assert!(changed.iter().all(|other| hash(other) != hash(&op)));
}

// Paths.

#[test]
fn data_name_1_paths_that_may_be_written() {
    let long = ["x"; 512].join("/");
    let longest = "c".repeat(255);
    for path in ["a", "a/b.txt", "ä/日本", ".hidden", "a b", "console", "com10", "comX", "lpt", "nul1", &longest, &long]
    {
        assert_eq!(check_path(Rules::ALL, path), Ok(()), "{path}");
    }
}

#[test]
fn data_name_1_paths_that_may_not() {
    let (long, component) = (["x"; 513].join("/"), "c".repeat(256));
    let bad = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/..",
        "a/./b",
        "a\\b",
        "C:",
        "a:b",
        "a\0",
        "a\nb",
        "a\u{7f}",
        "a.",
        "a ",
        "a./b",
        "a /b",
        "x\u{202e}y",
        "\u{feff}x",
        "CON",
        "con",
        "Nul.txt",
        "aux.tar.gz",
        "a/prn",
        "COM1",
        "com0",
        "lpt9.x",
        "COM¹",
        "LPT³.log",
        "conin$",
        "CONOUT$",
        "nul .txt",
        "...",
        &component,
        &long,
    ];
    for path in bad {
        refused(Clause::DATA_NAME_1, Code::DATA_NAME, |rules| check_path(rules, path));
    }
}

// Entries.

fn open(entry: &Entry) -> impl Fn(Rules) -> Result<Entry, Violation> + use<> {
    let bytes = entry.to_bytes();
    move |rules| Entry::open(rules, &bytes)
}

#[test]
fn entries_that_are_well_formed() {
    let good = [
        file("a", b""),
        file("a", b"x"),
        file("a", &content(1, 65_536)),
        file("a", &content(1, 65_537)),
        Entry::bare("d", EntryMode::Directory).unwrap(),
        Entry::bare("d", EntryMode::Removed).unwrap(),
    ];
    for entry in good {
        assert_eq!(open(&entry)(Rules::ALL), Ok(entry));
    }
}

#[test]
fn wire_value_1_an_entry_has_a_known_mode() {
    let entry = Entry { mode: 4, ..Entry::bare("d", EntryMode::Directory).unwrap() };
    refused(Clause::WIRE_VALUE_1, Code::WIRE_VALUE, open(&entry));
}

#[test]
fn data_name_1_holds_for_entries_of_every_mode() {
    let bad = [file("../a", b"x"), Entry::bare("CON", EntryMode::Removed).unwrap()];
    bad.iter().for_each(|entry| refused(Clause::DATA_NAME_1, Code::DATA_NAME, open(entry)));
}

#[test]
fn data_entry_1_what_an_entry_names() {
    let directory = Entry::bare("d", EntryMode::Directory).unwrap();
    let some = Hash::new([1; 32]);
    let bad = [
        Entry { blob: some, ..directory.clone() },
        Entry { len: 1, ..directory.clone() },
        Entry { blob: some, mode: EntryMode::Removed.number(), ..directory },
        Entry { blob: some, ..file("a", b"") },
        Entry { blob: Hash::ZERO, ..file("a", b"") },
        Entry { blob: Hash::ZERO, ..file("a", b"x") },
        Entry { len: (1 << 38) + 1, ..file("a", &content(1, 65_537)) },
    ];
    bad.iter().for_each(|entry| refused(Clause::DATA_ENTRY_1, Code::DATA_MANIFEST, open(entry)));
}

#[test]
fn data_manifest_2_a_chunk_list_is_there_exactly_if_needed() {
    let list = |len| Some(ListRef { hash: Hash::new([1; 32]), len }).into();
    let (small, large) = (file("a", &content(1, 65_536)), file("a", &content(1, 65_537)));
    let bad = [
        Entry { chunks: list(35), ..small },
        Entry { chunks: list(35), ..Entry::bare("d", EntryMode::Directory).unwrap() },
        Entry { chunks: None.into(), ..large.clone() },
        Entry { chunks: list(0), ..large.clone() },
        Entry { chunks: list(MAX_MANIFEST as u32 + 1), ..large },
    ];
    bad.iter().for_each(|entry| refused(Clause::DATA_MANIFEST_2, Code::DATA_MANIFEST, open(entry)));
}

// Manifests.

fn open_manifest(manifest: &Manifest) -> impl Fn(Rules) -> Result<Manifest, Violation> + use<> {
    let bytes = manifest.to_bytes();
    move |rules| Manifest::open(rules, &bytes, &SESSION)
}

fn with_parts(change: impl FnOnce(&mut Vec<Part>)) -> impl Fn(Rules) -> Result<Manifest, Violation> {
    let manifest = sample().state.to_manifest();
    let mut parts = manifest.parts.to_vec();
    change(&mut parts);
    open_manifest(&Manifest { parts: List::new(parts).unwrap(), ..manifest })
}

/// Changes the exclusive part of the sample.
fn with_exclusive(change: impl FnOnce(&mut Part)) -> impl Fn(Rules) -> Result<Manifest, Violation> {
    with_parts(|parts| change(parts.last_mut().unwrap()))
}

fn change_value(part: &mut Part, change: impl FnOnce(&mut Value)) {
    let mut value = part.shown().unwrap().clone();
    change(&mut value);
    part.values = List::new(vec![value]).unwrap_or_default();
}

/// Makes the tip of the value's strand fit the value.
fn seal(part: &mut Part) {
    let value = part.shown().unwrap().clone();
    let hash = op_hash(&value.prev, &header(&value.op));
    let mut tips = part.strands.to_vec();
    for tip in tips.iter_mut().filter(|tip| tip.actor == value.op.actor) {
        *tip = Tip { actor: tip.actor, seq: value.op.seq, hash };
    }
    part.strands = List::new(tips).unwrap();
}

#[test]
fn a_manifest_opens_to_what_it_was_made_from() {
    let world = sample();
    let (data, bytes) = world.state.to_manifest().announce();
    let manifest = Manifest::open(Rules::ALL, &bytes, &SESSION).unwrap();
    assert_eq!((manifest.root(), manifest.root()), (data.root, world.state.root()));
    assert_eq!(data.manifest_len as usize, bytes.len());
    let paths: Vec<_> = manifest.entries().map(|(id, entry)| (id, entry.path.to_string())).collect();
    assert_eq!(paths, [(part(10), "src/main.rs".into()), (part(11), "big".into()), (part(12), "src".into())]);
    assert_eq!(State::from_manifest(manifest), world.state);
}

#[test]
fn data_manifest_3_a_manifest_is_for_its_own_session() {
    let bytes = State::new(segue_proto::wire::SessionId::new([8; 16]), "other").to_manifest().to_bytes();
    refused(Clause::DATA_MANIFEST_3, Code::DATA_MANIFEST, |rules| Manifest::open(rules, &bytes, &SESSION));
}

#[test]
fn wire_string_1_the_name_can_be_shown() {
    let manifest = Manifest { name: Text::new("two\nlines").unwrap(), ..sample().state.to_manifest() };
    refused(Clause::WIRE_STRING_1, Code::WIRE_STRING, open_manifest(&manifest));
}

#[test]
fn wire_value_1_a_part_has_a_known_kind() {
    for kind in [0, 6, 300] {
        refused(Clause::WIRE_VALUE_1, Code::WIRE_VALUE, with_exclusive(|part| part.kind = kind));
    }
    for kind in 1..=5 {
        assert_eq!(PartKind::from_number(kind).map(PartKind::number), Some(kind));
    }
}

#[test]
fn wire_cap_1_a_manifest_has_a_greatest_length() {
    let make = |n: u16| {
        let id = PartId::new([n.to_be_bytes(); 8].concat().try_into().unwrap());
        let mut one = World::new();
        one.write(id, PartKind::Exclusive, &[0; MAX_OP_BODY]).unwrap();
        one.state.part(&id).unwrap().clone()
    };
    let parts = List::new((0..256).map(make).collect()).unwrap();
    let manifest = Manifest { parts, ..World::new().state.to_manifest() };
    assert!(manifest.to_bytes().len() > MAX_MANIFEST);
    refused(Clause::WIRE_CAP_1, Code::LIMIT_MANIFEST, open_manifest(&manifest));
}

#[test]
fn data_manifest_1_parts_ascend() {
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, with_parts(|parts| parts.swap(0, 1)));
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, with_parts(|parts| parts.push(parts[3].clone())));
}

#[test]
fn data_manifest_1_strands_ascend_and_have_ops() {
    let change = |change: fn(&mut Vec<Tip>)| {
        with_exclusive(move |part| {
            let mut tips = part.strands.to_vec();
            change(&mut tips);
            part.strands = List::new(tips).unwrap();
        })
    };
    let empty = |tips: &mut Vec<Tip>| tips.push(Tip { actor: actor(3), seq: 0, hash: Hash::new([1; 32]) });
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, change(|tips| tips.push(tips[1].clone())));
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, change(empty));
}

#[test]
fn data_manifest_1_a_value_is_the_tip_of_a_strand() {
    let gone = with_exclusive(|part| part.values = List::empty());
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, gone);
    let stranger = with_exclusive(|part| change_value(part, |value| value.op.actor = actor(9)));
    assert_eq!(stranger(Rules::ALL), Err(Violation::new(Code::DATA_MANIFEST, Clause::DATA_MANIFEST_1)));
    let no_strand = with_exclusive(|part| {
        change_value(part, |value| {
            value.op.actor = actor(9);
            value.op.deps = List::empty();
            value.prev = strand_hash(&SESSION, &value.op.part, &value.op.actor);
        });
    });
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, no_strand);
    let later = with_exclusive(|part| {
        change_value(part, |value| value.op.seq = 2);
        let seq = part.shown().unwrap().op.seq;
        seal(part);
        let mut tips = part.strands.to_vec();
        tips[1].seq = seq + 1;
        part.strands = List::new(tips).unwrap();
    });
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, later);
    let elsewhere = with_exclusive(|part| {
        change_value(part, |value| {
            value.op.part = PartId::new([21; 16]);
            value.prev = strand_hash(&SESSION, &value.op.part, &value.op.actor);
        });
        seal(part);
    });
    refused(Clause::DATA_MANIFEST_1, Code::DATA_MANIFEST, elsewhere);
}

#[test]
fn data_tree_1_entries_that_collide_stand_at_paths_of_their_own() {
    let directory = |path: &str| Entry::bare(path, EntryMode::Directory).unwrap();
    let removed = |path: &str| Entry::bare(path, EntryMode::Removed).unwrap();
    let placed = |entries: Vec<Entry>| {
        // Each entry is made in a state of its own, as two devices would that don't know of each other.
        let make = |(n, entry): (usize, &Entry)| {
            let (mut world, id) = (World::new(), part(n as u8 + 1));
            world.entry(id, entry).unwrap();
            world.state.part(&id).unwrap().clone()
        };
        let parts = List::new(entries.iter().enumerate().map(make).collect()).unwrap();
        let manifest = Manifest { parts, ..World::new().state.to_manifest() };
        let manifest = open_manifest(&manifest)(Rules::ALL).unwrap();
        manifest.entries().map(|(_, entry)| entry.path.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(placed(vec![file("a", b"1"), file("a", b"2")]), ["a", "a (02020202)"]);
    assert_eq!(placed(vec![file("d/a.txt", b"1"), file("d/a.txt", b"2")]), ["d/a.txt", "d/a (02020202).txt"]);
    assert_eq!(placed(vec![file("a", b"1"), directory("a")]), ["a", "a (02020202)"]);
    assert_eq!(placed(vec![file("a", b"1"), file("a/b", b"2")]), ["a", "b (02020202)"]);
    assert_eq!(placed(vec![file("a/b/c", b"2"), file("a", b"1")]), ["a/b/c", "a (02020202)"]);
    assert_eq!(placed(vec![file(".a", b"1"), file(".a", b"2")]), [".a", ".a (02020202)"]);
    let long = "n".repeat(255);
    assert_eq!(placed(vec![file(&long, b"1"), file(&long, b"2")]), [long.clone(), "02".repeat(16)]);
    assert_eq!(placed(vec![removed("a"), file("a", b"1"), removed("a/b"), removed("a")]), ["a"]);
}

#[test]
fn data_manifest_4_one_blob_has_one_length() {
    let mut other = World::new();
    let entry = Entry { len: 13, path: Text::new("copy").unwrap(), ..file("", b"fn main() {}") };
    other.entry(part(13), &entry).unwrap();
    let copy = other.state.part(&part(13)).unwrap().clone();
    refused(Clause::DATA_MANIFEST_4, Code::DATA_MANIFEST, with_parts(|parts| parts.insert(3, copy)));
    assert_eq!(sample().entry(part(13), &entry), Err(UsageError::BadPart));
}

#[test]
fn data_op_1_a_value_hashes_to_its_tip() {
    let tampered: [fn(&mut Value); 5] = [
        |value| value.op.body = segue_proto::wire::Blob::new(b"four".to_vec()).unwrap(),
        |value| value.op.salt = Nonce::new([0; 16]),
        |value| value.op.record = Hash::ZERO,
        |value| value.op.deps = List::empty(),
        |value| value.prev = Hash::new([1; 32]),
    ];
    for change in tampered {
        refused(Clause::DATA_OP_1, Code::DATA_HASH, with_exclusive(|part| change_value(part, change)));
    }
    let not_first = with_exclusive(|part| {
        change_value(part, |value| value.prev = Hash::new([1; 32]));
        seal(part);
    });
    refused(Clause::DATA_OP_1, Code::DATA_HASH, not_first);
}

#[test]
fn data_op_4_a_value_names_other_strands_that_the_part_has() {
    let tip = |n, seq| Tip { actor: actor(n), seq, hash: Hash::new([1; 32]) };
    for deps in
        [vec![tip(9, 1)], vec![tip(1, 3)], vec![tip(1, 2)], vec![tip(2, 1)], vec![tip(1, 0)], vec![tip(1, 1); 2]]
    {
        let attempt = with_exclusive(|part| {
            change_value(part, |value| value.op.deps = List::new(deps).unwrap());
            seal(part);
        });
        refused(Clause::DATA_OP_4, Code::DATA_MANIFEST, attempt);
    }
    // An op read earlier in the strand is fine.
    let earlier = with_exclusive(|part| {
        change_value(part, |value| value.op.deps = List::new(vec![tip(1, 1)]).unwrap());
        seal(part);
    });
    earlier(Rules::ALL).unwrap();
}

#[test]
fn a_part_of_another_kind_may_have_strands_and_no_value() {
    let attempt = with_exclusive(|part| {
        part.kind = PartKind::Log.number();
        part.values = List::empty();
    });
    attempt(Rules::ALL).unwrap();
    let none = with_parts(|parts| parts.push(Part::new(PartId::new([99; 16]), PartKind::Exclusive)));
    none(Rules::ALL).unwrap();
}
