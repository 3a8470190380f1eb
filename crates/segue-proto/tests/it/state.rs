//! Chapter `data`: inline ops, the device's own state, and what holds for any of them.

use proptest::prelude::*;
use segue_proto::data::{Entry, EntryMode, Manifest, Part, PartKind, State, check_path};
use segue_proto::limits::{MAX_MANIFEST, MAX_OP_BODY};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{List, Op, PartId};
use segue_proto::{Clause, Code, Rules, UsageError};

use crate::util::{SESSION, World, actor, content, file, part, refused, sample};

// Inline ops.

#[test]
fn inline_ops_advance_manifest_and_state_alike() {
    let mut source = sample();
    let manifest = source.state.to_manifest();
    let mut target = State::from_manifest(manifest.clone());
    source.actor = actor(3);
    let ops = [source.exclusive(20, b"four"), source.exclusive(20, b"five")];
    let advance = target.stage(Rules::ALL, &ops).unwrap();
    assert_ne!(target, source.state);
    assert_eq!(target.root_after(&advance), source.state.root());
    assert_eq!(target.exclusive_root_after(&advance), source.state.exclusive_root());
    assert_eq!(advance.parts().collect::<Vec<_>>(), [part(20)]);
    target.commit(advance);
    assert_eq!(target, source.state);
    assert_eq!(manifest.apply(Rules::ALL, &ops).unwrap(), source.state.to_manifest());
    assert_eq!(manifest.apply(Rules::ALL, &[]).unwrap(), manifest);
}

#[test]
fn data_op_1_an_inline_op_is_the_next_of_its_strand() {
    let mut source = sample();
    let before = source.state.clone();
    let ops = [source.exclusive(20, b"four"), source.exclusive(20, b"five")];
    let bad: [&[Op]; 3] = [&ops[1..], &[ops[0].clone(), ops[0].clone()], &[ops[1].clone(), ops[0].clone()]];
    for ops in bad {
        refused(Clause::DATA_OP_1, Code::DATA_HASH, |rules| before.stage(rules, ops));
        refused(Clause::DATA_OP_1, Code::DATA_HASH, |rules| before.to_manifest().apply(rules, ops));
    }
    let last = Op { seq: u64::MAX, ..ops[0].clone() };
    refused(Clause::DATA_OP_1, Code::DATA_HASH, |rules| before.stage(rules, std::slice::from_ref(&last)));
}

#[test]
fn data_op_4_an_exclusive_op_follows_the_value() {
    let mut source = sample();
    let before = source.state.clone();
    source.actor = actor(1);
    let op = source.exclusive(20, b"four");
    assert_eq!(op.deps.iter().map(|tip| tip.actor).collect::<Vec<_>>(), [actor(2)]);
    let blind = Op { deps: List::empty(), ..op };
    refused(Clause::DATA_OP_4, Code::DATA_MANIFEST, |rules| before.stage(rules, std::slice::from_ref(&blind)));
}

#[test]
fn data_op_5_only_exclusive_parts_advance_inline() {
    let mut source = sample();
    let before = source.state.clone();
    let blob = source.entry(part(10), &Entry::bare("src/main.rs", EntryMode::Removed).unwrap()).unwrap();
    let unknown = source.exclusive(21, b"new");
    for op in [blob, unknown] {
        refused(Clause::DATA_OP_5, Code::DATA_MANIFEST, |rules| before.stage(rules, std::slice::from_ref(&op)));
    }
}

#[test]
fn wire_cap_1_inline_ops_keep_the_manifest_within_its_limit() {
    let mut source = filled();
    let before = source.state.clone();
    let op = source.exclusive(1, &[1; 10]);
    let op = Op { body: segue_proto::wire::Blob::new(vec![1; MAX_OP_BODY]).unwrap(), ..op };
    refused(Clause::WIRE_CAP_1, Code::LIMIT_MANIFEST, |rules| before.stage(rules, std::slice::from_ref(&op)));
}

// The device's own state.

/// A state with little room left in its manifest; part 1 is small.
fn filled() -> World {
    let mut world = World::new();
    world.exclusive(1, b"small");
    let id = |n: u16| PartId::new([n.to_be_bytes(); 8].concat().try_into().unwrap());
    let mut n = 1000;
    while world.write(id(n), PartKind::Exclusive, &[0; MAX_OP_BODY]).is_ok() {
        n += 1;
    }
    world
}

#[test]
fn a_write_that_would_pass_a_limit_changes_nothing() {
    let mut world = filled();
    let before = world.state.clone();
    assert_eq!(world.write(part(2), PartKind::Exclusive, &[0; MAX_OP_BODY]), Err(UsageError::TooLarge));
    assert_eq!(world.write(part(1), PartKind::Exclusive, &[0; MAX_OP_BODY + 1]), Err(UsageError::TooLarge));
    assert_eq!(world.state, before);
    let bytes = world.state.to_manifest().to_bytes();
    assert!(bytes.len() <= MAX_MANIFEST);
    assert_eq!(world.state.to_manifest(), Manifest::open(Rules::ALL, &bytes, &SESSION).unwrap());
}

#[test]
fn a_write_that_does_not_fit_its_part_changes_nothing() {
    let mut world = sample();
    let before = world.state.clone();
    let mut bad = |id, kind, body: &[u8]| assert_eq!(world.write(id, kind, body), Err(UsageError::BadPart));
    bad(part(10), PartKind::Exclusive, b"x");
    bad(part(20), PartKind::Blob, &file("x", b"").to_bytes());
    bad(part(30), PartKind::Blob, b"no entry");
    bad(part(30), PartKind::Blob, &file("../x", b"").to_bytes());
    bad(part(30), PartKind::Blob, &file("big", b"").to_bytes());
    bad(part(30), PartKind::Blob, &file("big/x", b"").to_bytes());
    bad(part(30), PartKind::Blob, &file("src", b"").to_bytes());
    assert_eq!(world.state, before);
    world.file(part(11), "big", b"smaller now");
    world.file(part(11), "moved", b"smaller now");
    world.file(part(30), "big", b"another");
}

#[test]
fn data_op_3_an_actor_numbers_its_ops_one_by_one() {
    let mut world = World::new();
    let numbers: Vec<u64> = (0..4).map(|n| world.exclusive(20, &[n]).seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    #[cfg(feature = "testing")]
    {
        let new = world.new_op(part(20), PartKind::Exclusive, b"again");
        let again = world.state.write(Rules::without(Clause::DATA_OP_3), new).unwrap();
        assert!(matches!(again, segue_proto::data::Written::Value(op) if op.seq == 4));
    }
}

#[test]
fn a_new_writer_names_the_tip_that_it_had_read() {
    let mut world = World::new();
    let first = world.exclusive(20, b"one");
    let second = world.exclusive(20, b"two");
    world.actor = actor(2);
    let tip = world.state.part(&part(20)).unwrap().tip(&actor(1)).cloned();
    let third = world.exclusive(20, b"three");
    assert_eq!((first.deps.len(), second.deps.len()), (0, 0));
    assert_eq!(third.deps.first(), tip.as_ref());
    assert_eq!((third.seq, third.deps.len()), (1, 1));
    assert!(world.exclusive(20, b"four").deps.is_empty());
}

#[test]
fn the_blobs_that_entries_name_are_known_until_none_does() {
    let mut world = World::new();
    let large = world.file(part(1), "a", &content(1, 100_000));
    world.file(part(2), "b", &content(1, 100_000));
    let list = large.chunks.get().unwrap();
    assert_eq!(world.state.blob_len(&large.blob), Some(100_000));
    assert_eq!(world.state.blob_len(&list.hash), Some(u64::from(list.len)));
    world.entry(part(1), &Entry::bare("a", EntryMode::Removed).unwrap()).unwrap();
    assert_eq!(world.state.blobs().count(), 2);
    world.file(part(2), "b", b"");
    assert_eq!(world.state.blobs().count(), 0);
}

#[test]
fn parts_are_journaled_one_by_one() {
    let world = sample();
    let ids: Vec<PartId> = world.state.parts().map(|part| part.part).collect();
    let mut back = State::new(SESSION, "notes");
    for id in ids.iter().rev() {
        back.load_part(Rules::ALL, &world.state.part_bytes(id).unwrap()).unwrap();
    }
    assert_eq!(back, world.state);
    assert_eq!(back.load_part(Rules::ALL, b"rubbish").map_err(|v| v.code), Err(Code::WIRE_LENGTH));
    assert_eq!(back, world.state);
}

/// DATA-TREE-1: a file whose path another wants, too, is written where it stands.
#[test]
fn a_file_is_written_on_though_another_wants_its_path() {
    for (mine, theirs) in [("x", "x"), ("x", "x/y"), ("x/y", "x")] {
        let [mut world, mut other] = [World::new(), World::new()];
        other.actor = actor(9);
        world.entry(part(1), &file(mine, b"mine")).unwrap();
        other.entry(part(2), &file(theirs, b"theirs")).unwrap();
        world.state.merge(Rules::ALL, other.state.part(&part(2)).unwrap()).unwrap();
        for content in [b"one", b"two"] {
            world.entry(part(1), &file(mine, content)).unwrap();
        }
        // Elsewhere it needs a free place, as any other.
        assert_eq!(world.entry(part(1), &file(theirs, b"three")).is_ok(), mine == theirs);
        world.entry(part(1), &Entry::bare(mine, EntryMode::Removed).unwrap()).unwrap();
        assert_eq!(world.entry(part(3), &file(mine, b"again")), Err(UsageError::BadPart));
    }
}

#[test]
fn parts_that_swap_their_paths_load_in_any_order() {
    let mut world = World::new();
    world.file(part(1), "p", b"1");
    world.file(part(2), "q", b"2");
    let before = world.state.clone();
    world.file(part(1), "r", b"1");
    world.file(part(2), "p", b"2");
    world.file(part(1), "q", b"1");
    for order in [[1, 2], [2, 1]] {
        let mut state = before.clone();
        order.iter().for_each(|n| state.load_part(Rules::ALL, &world.state.part_bytes(&part(*n)).unwrap()).unwrap());
        assert_eq!(state, world.state);
    }
}

// Properties.

#[derive(Clone, Debug)]
enum Step {
    File(u8, u8, u8),
    Remove(u8, u8),
    Exclusive(u8, Vec<u8>),
    Actor(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..8, 0u8..12, 0u8..4).prop_map(|(part, path, seed)| Step::File(part, path, seed)),
        (0u8..8, 0u8..12).prop_map(|(part, path)| Step::Remove(part, path)),
        (8u8..12, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(part, body)| Step::Exclusive(part, body)),
        (1u8..5).prop_map(Step::Actor),
    ]
}

/// Paths that often lie under one another.
fn path(n: u8) -> String {
    ["a", "b"][n as usize % 2].to_string() + ["", "/a", "/b", "/a/a", "/a/b", "/c.txt"][n as usize / 2]
}

fn take(world: &mut World, step: &Step) {
    // Steps that the state refuses are part of the exercise.
    let _ = match step {
        Step::File(n, at, seed) => world.entry(part(*n), &file(&path(*at), &content(u64::from(*seed), 9))),
        Step::Remove(n, at) => world.entry(part(*n), &Entry::bare(&path(*at), EntryMode::Removed).unwrap()),
        Step::Exclusive(n, body) => world.write(part(*n), PartKind::Exclusive, body),
        Step::Actor(n) => {
            world.actor = actor(*n);
            return;
        }
    };
}

proptest! {
    #[test]
    fn whatever_is_written_opens(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in &steps {
            take(&mut world, step);
        }
        let manifest = world.state.to_manifest();
        let opened = Manifest::open(Rules::ALL, &manifest.to_bytes(), &SESSION);
        prop_assert_eq!(opened.as_ref(), Ok(&manifest));
        prop_assert_eq!(manifest.root(), world.state.root());
        prop_assert_eq!(State::from_manifest(manifest), world.state);
    }

    /// Two devices write at the same paths without knowing of each other, and then what one of them wrote goes again.
    #[test]
    fn a_state_finds_what_a_look_at_all_of_it_finds(
        steps in prop::collection::vec(step(), 0..30),
        others in prop::collection::vec(step(), 0..30),
        gone in prop::collection::vec((0u8..8, 0u8..12), 0..8),
    ) {
        let [mut world, mut other] = [World::new(), World::new()];
        steps.iter().for_each(|step| take(&mut world, step));
        other.actor = actor(9);
        let written = others.iter().filter(|step| !matches!(step, Step::Actor(_)));
        written.for_each(|step| take(&mut other, step));
        other.state.parts().for_each(|part| _ = world.state.merge(Rules::ALL, part));
        gone.iter().for_each(|(n, at)| take(&mut world, &Step::Remove(*n, *at)));

        let (state, manifest) = (&world.state, world.state.to_manifest());
        let entries: Vec<_> = manifest.entries().collect();
        prop_assert_eq!(&state.entries().collect::<Vec<_>>(), &entries);
        for path in (0..12).map(path).chain(entries.iter().map(|(_, entry)| entry.path.to_string())) {
            let found = entries.iter().find(|(_, entry)| *entry.path == *path).cloned();
            prop_assert_eq!(state.entry_at(&path), found, "{}", path);
        }
        let conflicted = manifest.parts.iter().filter(|part| part.is_conflicted());
        prop_assert!(state.conflicted().eq(conflicted));
        prop_assert_eq!(State::from_manifest(manifest), world.state);
    }

    #[test]
    fn inline_ops_give_the_writers_root(before in prop::collection::vec(step(), 0..20), after in prop::collection::vec((0u8..4, 1u8..4), 0..20)) {
        let mut world = World::new();
        (8..12).for_each(|n| drop(world.exclusive(n, b"first")));
        before.iter().for_each(|step| take(&mut world, step));
        let manifest = world.state.to_manifest();
        let ops: Vec<Op> = after.iter().map(|(n, by)| {
            world.actor = actor(*by);
            world.exclusive(8 + n, &[*by])
        }).collect();
        let advanced = manifest.apply(Rules::ALL, &ops).unwrap();
        prop_assert_eq!(advanced.root(), world.state.root());
        prop_assert_eq!(advanced, world.state.to_manifest());
    }

    #[test]
    fn a_flipped_bit_never_gives_the_same_manifest(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let manifest = sample().state.to_manifest();
        let mut bytes = manifest.to_bytes();
        *at.get_mut(&mut bytes) ^= 1 << bit;
        if let Ok(other) = Manifest::open(Rules::ALL, &bytes, &SESSION) {
            // What still opens has another name, a tip that no value covers, or another kind.
            prop_assert!(other.root() != manifest.root() || other.name != manifest.name);
        }
    }

    #[test]
    fn a_cut_manifest_is_refused(at in any::<prop::sample::Index>()) {
        let bytes = sample().state.to_manifest().to_bytes();
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(Manifest::open(Rules::ALL, cut, &SESSION).is_err());
    }

    #[test]
    fn any_bytes_open_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Entry::open(Rules::ALL, &bytes);
        let _ = State::new(SESSION, "").load_part(Rules::ALL, &bytes);
        let whole = [SESSION.as_bytes().as_slice(), &[0], &bytes].concat();
        let _ = Manifest::open(Rules::ALL, &whole, &SESSION);
    }

    #[test]
    fn any_path_is_judged(path in "\\PC{0,40}") {
        let good = check_path(Rules::ALL, &path).is_ok();
        let relative = !path.starts_with('/') && path.split('/').all(|name| !matches!(name, "" | "." | ".."));
        prop_assert!(!good || relative);
    }
}

#[test]
fn lists_that_claim_too_much_are_refused() {
    let open = |count: &[u8], rest: &[u8]| {
        let bytes = [SESSION.as_bytes().as_slice(), &[0], count, rest].concat();
        Manifest::open(Rules::ALL, &bytes, &SESSION).map_err(|violation| violation.code)
    };
    // 2^34 parts, of which none is there; 65,537 parts, which all are; a number in more bytes than it needs.
    assert_eq!(open(&[0x80, 0x80, 0x80, 0x80, 0x40], &[]), Err(Code::WIRE_LIMIT));
    let empty = encode(&Part::new(part(1), PartKind::Exclusive));
    assert_eq!(open(&[0x81, 0x80, 0x04], &empty.repeat(65_537)), Err(Code::WIRE_LIMIT));
    assert_eq!(open(&[0x80, 0x00], &[]), Err(Code::WIRE_NONCANONICAL));
    assert_eq!(open(&[0x00], &[0x00]), Err(Code::WIRE_LENGTH));
    assert_eq!(open(&[0x00], &[]).map(|manifest| manifest.parts.len()), Ok(0));
}
