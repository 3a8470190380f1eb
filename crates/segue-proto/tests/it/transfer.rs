//! Chapter `transfer`: chunk lists, plans, and a target that gets what it lacks.

use proptest::prelude::*;
use segue_proto::data::{Entry, Pick};
use segue_proto::limits::{CHUNK, FETCH_WINDOW, MAX_BLOB, MAX_CHUNK, MAX_CHUNKS, MAX_MANIFEST, MIN_CHUNK};
use segue_proto::transfer::{
    BulkEnd, ChunkList, ChunkRef, Fetch, ListBuilder, Plan, Wanted, check_ranges, chunk_len, chunk_list, equal_list,
    lengths,
};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Announced, Hash, List, Range};
use segue_proto::{Clause, Code, Rules, Violation};
use std::collections::{BTreeMap, BTreeSet};

use crate::util::{SESSION, World, content, file, part, refused, sample};

// Chunk lists.

fn list_of(content: &[u8]) -> ChunkList {
    decode(Rules::ALL, &equal_list(content).1.unwrap().1).unwrap()
}

fn range(offset: u64, len: u64) -> Range {
    Range { offset, len }
}

#[test]
fn content_longer_than_a_chunk_has_a_list() {
    for len in [0, 1, CHUNK] {
        let bytes = content(1, len);
        assert_eq!(chunk_list(&bytes), (blob_id(&bytes), None));
        assert_eq!(equal_list(&bytes), (blob_id(&bytes), None));
    }
    for (len, chunks) in [(CHUNK + 1, 2), (2 * CHUNK, 2), (200_000, 4)] {
        let bytes = content(1, len);
        let (blob, list) = equal_list(&bytes);
        let (reference, encoded) = list.unwrap();
        assert_eq!((blob, reference.hash), (blob_id(&bytes), blob_id(&encoded)));
        assert_eq!(reference.len as usize, encoded.len());
        let list = list_of(&bytes);
        let expected: Vec<_> =
            bytes.chunks(CHUNK).map(|c| ChunkRef { len: c.len() as u32, hash: blob_id(c) }).collect();
        assert_eq!((list.chunks.len(), list.chunks.into_vec()), (chunks, expected));
    }
}

#[test]
fn chunks_grow_so_that_a_list_keeps_its_cap() {
    let cases = [(0, 1 << 16), (1 << 32, 1 << 16), ((1 << 32) + 1, 1 << 17), (1 << 33, 1 << 17), (MAX_BLOB, 1 << 22)];
    cases.iter().for_each(|(len, chunk)| assert_eq!(chunk_len(*len), *chunk, "{len}"));
    assert_eq!(chunk_len(MAX_BLOB) as usize, MAX_CHUNK);
}

/// TRANSFER-CUT-1: no list can get longer than its cap, and what is longer than 16 GiB is cut into equal chunks.
#[test]
fn chunks_by_content_grow_so_that_a_list_keeps_its_cap() {
    const GIB: u64 = 1 << 30;
    for (len, shortest) in [(0, 14), (GIB, 14), (GIB + 1, 15), (2 * GIB, 15), (16 * GIB, 18)] {
        let lengths = lengths(len).unwrap();
        let all = (lengths.shortest, lengths.middle, lengths.longest);
        assert_eq!(all, (1 << shortest, 4 << shortest, 16 << shortest), "{len}");
        assert!(lengths.shortest as usize >= MIN_CHUNK && lengths.longest as usize <= MAX_CHUNK);
        assert!(len <= lengths_cap(lengths.shortest));
    }
    assert_eq!(lengths(16 * GIB + 1), None);
    assert_eq!(chunk_len(16 * GIB + 1), 1 << 19);
}

fn lengths_cap(shortest: u32) -> u64 {
    MAX_CHUNKS as u64 * u64::from(shortest)
}

/// TRANSFER-CUT-1: whatever is done to a file, the chunks that hold none of it stay what they were.
#[test]
fn a_changed_file_shares_its_chunks_with_what_it_was() {
    let old = content(7, 64 << 20);
    let plan = |content: &[u8]| {
        let (blob, list) = chunk_list(content);
        let bytes = list.unwrap().1;
        let list = decode(Rules::ALL, &bytes).unwrap();
        (Plan::listed(Rules::ALL, blob, content.len() as u64, &list).unwrap(), bytes)
    };
    let (_, list) = plan(&old);
    let middle = old.len() / 2;
    let edits: [(&str, Vec<u8>); 6] = [
        ("a byte in front", [b"x", old.as_slice()].concat()),
        ("a page in the middle", [&old[..middle], &[7; 4096], &old[middle..]].concat()),
        ("a page less", [&old[..middle], &old[middle + 4096..]].concat()),
        ("a byte overwritten", {
            let mut new = old.clone();
            new[middle] ^= 1;
            new
        }),
        ("appended to", [old.as_slice(), &[7; 4096]].concat()),
        ("its halves changed places", [&old[middle..], &old[..middle]].concat()),
    ];
    for (what, new) in edits {
        let (new_plan, _) = plan(&new);
        let shared = new_plan.shared(Rules::ALL, old.len() as u64, &list);
        for (index, from) in &shared {
            let chunk = new_plan.chunk(*index).unwrap();
            let bytes = &old[*from as usize..][..chunk.len as usize];
            assert!(new_plan.verify_chunk(Rules::ALL, *index, bytes).is_ok());
        }
        let moved = new.len() - shared.iter().map(|(at, _)| new_plan.chunk(*at).unwrap().len as usize).sum::<usize>();
        println!(
            "{what}: {} of {} chunks, {moved} bytes",
            new_plan.chunks() as usize - shared.len(),
            new_plan.chunks()
        );
        assert!(moved <= 4 * (256 << 10) && moved > 0, "{what}: {moved}");
    }
}

/// TRANSFER-REUSE-1: a list that isn't one, or is for another length, shares nothing.
#[test]
fn nothing_is_shared_with_what_is_no_list() {
    let bytes = content(1, 200_000);
    let (_, list) = equal_list(&bytes);
    let list = list.unwrap().1;
    let plan = Plan::listed(Rules::ALL, blob_id(&bytes), 200_000, &list_of(&bytes)).unwrap();
    assert_eq!(plan.shared(Rules::ALL, 200_000, &list).len(), 4);
    assert!(plan.shared(Rules::ALL, 200_001, &list).is_empty());
    assert!(plan.shared(Rules::ALL, 200_000, &list[1..]).is_empty());
    assert!(plan.shared(Rules::ALL, 200_000, &[]).is_empty());
}

#[test]
fn content_that_changed_while_it_was_read_is_noticed() {
    let mut builder = ListBuilder::new(10);
    builder.push(&[1; 11]);
    assert_eq!(builder.pushed(), 11);
}

// Plans.

#[test]
fn a_plan_knows_its_chunks() {
    let bytes = content(1, 150_000);
    let plan = Plan::listed(Rules::ALL, blob_id(&bytes), 150_000, &list_of(&bytes)).unwrap();
    assert_eq!((plan.chunks(), plan.len(), plan.is_meta(), plan.is_empty()), (3, 150_000, false, false));
    assert_eq!(plan.chunk(2).map(|chunk| (chunk.offset, chunk.len)), Some((131_072, 18_928)));
    assert_eq!((plan.chunk(3), plan.at_offset(65_536), plan.at_offset(65_537)), (None, Some(1), None));
    assert_eq!((plan.at_offset(0), plan.at_offset(150_000)), (Some(0), None));
    let small = Plan::small(blob_id(b"abc"), 3);
    assert_eq!((small.chunks(), small.chunk(0).unwrap().hash), (1, blob_id(b"abc")));
    assert_eq!((Plan::small(blob_id(b""), 0).chunks(), Plan::small(blob_id(b""), 0).is_empty()), (0, true));
}

#[test]
fn transfer_list_1_a_list_covers_its_blob_with_permitted_chunks() {
    let min = MIN_CHUNK as u32;
    let listed = |lens: &[u32], len: u64| {
        let chunks = lens.iter().map(|len| ChunkRef { len: *len, hash: Hash::new([1; 32]) }).collect();
        let list = ChunkList { chunks: List::new(chunks).unwrap() };
        move |rules| Plan::listed(rules, Hash::new([2; 32]), len, &list)
    };
    let max = MAX_CHUNK as u32;
    let good: [&[u32]; 4] = [&[min, max, 1], &[max], &[min; 5], &[65_536, 1]];
    for lens in good {
        let len = lens.iter().map(|len| u64::from(*len)).sum();
        listed(lens, len)(Rules::ALL).unwrap();
    }
    let bad: [(&[u32], u64); 9] = [
        (&[65_536, 1], 65_536),
        (&[65_536, 1], 65_538),
        (&[65_536], 65_536),
        (&[65_536, min - 1, min], 65_536 + 32_767),
        (&[65_536, 0], 65_536),
        (&[65_536, min, 0], 81_920),
        (&[max + 1], 4_194_305),
        (&[max + 1, 1], 4_194_306),
        (&[], 0),
    ];
    for (lens, len) in bad {
        refused(Clause::TRANSFER_LIST_1, Code::DATA_MANIFEST, listed(lens, len));
    }
}

#[test]
fn transfer_chunk_1_bytes_match_their_chunk() {
    let bytes = content(1, 100_000);
    let plan = Plan::listed(Rules::ALL, blob_id(&bytes), 100_000, &list_of(&bytes)).unwrap();
    let verified = plan.verify_chunk(Rules::ALL, 1, &bytes[CHUNK..]).unwrap();
    assert_eq!((verified.blob(), verified.index(), verified.len()), (plan.blob(), 1, 34_464));
    assert_eq!((verified.bytes(), verified.is_empty()), (None, false));
    let mut flipped = bytes[CHUNK..].to_vec();
    flipped[7] ^= 1;
    for bad in [&flipped[..], &bytes[CHUNK..99_999], &bytes[..CHUNK], &[]] {
        refused(Clause::TRANSFER_CHUNK_1, Code::DATA_HASH, |rules| plan.verify_chunk(rules, 1, bad));
    }
    assert!(plan.verify_chunk(Rules::ALL, 2, &[]).is_err());
    let meta = Plan::meta(blob_id(b"list"), 4).verify_chunk(Rules::ALL, 0, b"list").unwrap();
    assert_eq!(meta.bytes(), Some(&b"list"[..]));
}

#[test]
fn wire_value_1_ranges_ascend_and_do_not_touch() {
    check_ranges(Rules::ALL, 10, &[range(0, 2), range(3, 1), range(5, 5)]).unwrap();
    let bad: [&[Range]; 8] = [
        &[],
        &[range(0, 0)],
        &[range(0, 11)],
        &[range(10, 1)],
        &[range(0, 2), range(2, 1)],
        &[range(5, 1), range(0, 1)],
        &[range(u64::MAX, 1)],
        &[range(1, u64::MAX)],
    ];
    for ranges in bad {
        refused(Clause::WIRE_VALUE_1, Code::WIRE_VALUE, |rules| check_ranges(rules, 10, ranges));
    }
}

// Fetch.

/// A source that answers as it is told, and what it was asked.
struct Source {
    data: Announced,
    blobs: BTreeMap<Hash, Vec<u8>>,
    asked: Vec<Wanted>,
}

impl Source {
    fn of(world: &World) -> Source {
        let (data, bytes) = world.state.to_manifest().announce();
        let mut blobs = world.blobs.clone();
        blobs.insert(data.manifest, bytes);
        Source { data, blobs, asked: Vec::new() }
    }

    fn fetch(&self) -> Fetch {
        Fetch::new(Rules::ALL, SESSION, self.data.clone(), Pick::all()).unwrap()
    }

    /// Answers a request with at most `budget` chunks: how many it sent.
    fn answer(&mut self, fetch: &mut Fetch, wanted: &Wanted, budget: usize) -> Result<usize, Violation> {
        self.asked.push(wanted.clone());
        let whole = [range(0, wanted.len)];
        let ranges = if wanted.ranges.is_empty() { &whole[..] } else { &wanted.ranges };
        let mut sent = 0;
        for range in ranges {
            let (plan, first, count) = fetch.accepts(wanted.blob, range.offset, range.len)?;
            for index in (first..first + count).take(budget - sent) {
                fetch.on_chunk(&verified(&plan, index, &self.blobs[&wanted.blob])?)?;
                sent += 1;
            }
        }
        Ok(sent)
    }

    /// Goes on until nothing is wanted any more.
    fn run(&mut self, fetch: &mut Fetch, resume: bool) {
        loop {
            nothing_here(fetch);
            let Some(wanted) = fetch.next_request(resume) else { return };
            self.answer(fetch, &wanted, usize::MAX).unwrap();
            fetch.on_end(wanted.blob, BulkEnd::Finished).unwrap();
        }
    }

    fn times_asked(&self, blob: &Hash) -> usize {
        self.asked.iter().filter(|wanted| wanted.blob == *blob).count()
    }
}

fn verified(plan: &Plan, index: u32, blob: &[u8]) -> Result<segue_proto::transfer::Verified, Violation> {
    let chunk = plan.chunk(index).unwrap();
    plan.verify_chunk(Rules::ALL, index, &blob[chunk.offset as usize..][..chunk.len as usize])
}

/// Searches, and finds nothing.
fn nothing_here(fetch: &mut Fetch) {
    while let Some(plan) = fetch.next_search() {
        fetch.on_searched(plan.blob());
    }
}

/// Gets the manifest, whatever it is, and nothing else.
fn get_manifest(source: &mut Source, rules: Rules) -> Result<Fetch, Violation> {
    let mut fetch = Fetch::new(rules, SESSION, source.data.clone(), Pick::all())?;
    nothing_here(&mut fetch);
    let wanted = fetch.next_request(true).unwrap();
    source.answer(&mut fetch, &wanted, 1)?;
    fetch.on_end(wanted.blob, BulkEnd::Finished)?;
    Ok(fetch)
}

#[test]
fn a_fetch_gets_every_blob_once() {
    let mut world = sample();
    world.file(part(13), "copy of big", &content(1, 200_000));
    world.file(part(14), "empty", b"");
    for resume in [true, false] {
        let mut source = Source::of(&world);
        let mut fetch = source.fetch();
        assert_eq!((fetch.progress(), fetch.is_complete()), ((0, 0), false));
        source.run(&mut fetch, resume);
        assert!(fetch.is_complete());
        assert_eq!(fetch.manifest(), Some(&world.state.to_manifest()));
        assert_eq!(fetch.progress(), (200_012, 200_012));
        // manifest, chunk list, two contents
        assert_eq!(source.asked.len(), 4);
        assert!(source.asked.iter().all(|wanted| wanted.ranges.is_empty()));
    }
}

#[test]
fn a_session_without_content_is_complete_with_its_manifest() {
    let mut source = Source::of(&World::new());
    let fetch = get_manifest(&mut source, Rules::ALL).unwrap();
    assert_eq!((fetch.is_complete(), fetch.progress()), (true, (0, 0)));
}

#[test]
fn what_the_device_finds_is_not_asked_for() {
    let mut source = Source::of(&sample());
    let mut fetch = source.fetch();
    while let Some(plan) = fetch.next_search() {
        for index in 0..plan.chunks() {
            fetch.on_chunk(&verified(&plan, index, &source.blobs[&plan.blob()]).unwrap()).unwrap();
        }
        fetch.on_searched(plan.blob());
    }
    assert!(fetch.is_complete());
    assert_eq!(fetch.next_request(true), None);
    source.run(&mut fetch, true);
    assert!(source.asked.is_empty());
}

#[test]
fn what_the_device_holds_is_neither_looked_for_nor_asked_for() {
    let mut world = sample();
    let held: Vec<Hash> = world.state.blobs().collect();
    world.file(part(15), "new", b"new");
    let mut source = Source::of(&world);
    let mut fetch = source.fetch();
    fetch.hold(held);
    source.run(&mut fetch, true);
    assert!(fetch.is_complete());
    assert_eq!(fetch.progress(), (200_015, 200_015));
    assert_eq!(source.asked.iter().map(|wanted| wanted.len).collect::<Vec<_>>()[1..], [3]);
}

#[test]
fn content_that_is_held_without_its_list_needs_the_list() {
    let world = sample();
    let big = world.state.part(&part(11)).unwrap().entry().unwrap();
    let mut source = Source::of(&world);
    let mut fetch = source.fetch();
    fetch.hold(world.state.blobs().filter(|blob| *blob != big.chunks.get().unwrap().hash));
    source.run(&mut fetch, true);
    assert_eq!((fetch.is_complete(), source.times_asked(&big.blob), source.asked.len()), (true, 0, 2));
}

#[test]
fn transfer_resume_1_no_verified_chunk_is_asked_for_again() {
    let lost_after_two = |rules, resume| {
        let world = sample();
        let big = world.state.part(&part(11)).unwrap().entry().unwrap();
        let mut source = Source::of(&world);
        let mut fetch = get_manifest(&mut source, rules).unwrap();
        loop {
            nothing_here(&mut fetch);
            let wanted = fetch.next_request(resume).unwrap();
            let budget = if wanted.blob == big.blob { 2 } else { usize::MAX };
            source.answer(&mut fetch, &wanted, budget).unwrap();
            if wanted.blob == big.blob {
                break;
            }
            fetch.on_end(wanted.blob, BulkEnd::Finished).unwrap();
        }
        fetch.on_link_down();
        let again = fetch.next_request(resume).unwrap();
        assert_eq!((again.blob, again.len), (big.blob, 200_000));
        source.answer(&mut fetch, &again, usize::MAX).unwrap();
        fetch.on_end(again.blob, BulkEnd::Finished).unwrap();
        source.run(&mut fetch, resume);
        assert_eq!((fetch.is_complete(), fetch.progress()), (true, (200_012, 200_012)));
        again.ranges
    };
    assert_eq!(lost_after_two(Rules::ALL, true), [range(131_072, 68_928)]);
    assert_eq!(lost_after_two(Rules::ALL, false), []);
    #[cfg(feature = "testing")]
    assert_eq!(lost_after_two(Rules::without(Clause::TRANSFER_RESUME_1), true), []);
}

#[test]
fn ranges_name_just_the_gaps() {
    let mut world = World::new();
    let bytes = content(3, 7 * CHUNK);
    let entry = world.file(part(1), "a", &bytes);
    let mut source = Source::of(&world);
    let mut fetch = source.fetch();
    let wanted = loop {
        while let Some(plan) = fetch.next_search() {
            // The first, third, fourth and last chunk are here.
            for index in [0, 2, 3, 6].into_iter().filter(|_| plan.blob() == entry.blob) {
                fetch.on_chunk(&verified(&plan, index, &bytes).unwrap()).unwrap();
            }
            fetch.on_searched(plan.blob());
        }
        let wanted = fetch.next_request(true).unwrap();
        if wanted.blob == entry.blob {
            break wanted;
        }
        source.answer(&mut fetch, &wanted, 1).unwrap();
    };
    let chunk = CHUNK as u64;
    assert_eq!(wanted.ranges, [range(chunk, chunk), range(4 * chunk, 2 * chunk)]);
    assert_eq!(source.answer(&mut fetch, &wanted, usize::MAX), Ok(3));
    assert!(fetch.is_complete());
}

#[test]
fn the_window_bounds_what_is_looked_for_and_asked_for() {
    let mut world = World::new();
    (0..100).for_each(|n| drop(world.file(part(n), &format!("{n}"), &[n; 10])));
    let mut source = Source::of(&world);
    let mut fetch = get_manifest(&mut source, Rules::ALL).unwrap();
    let plans: Vec<_> = std::iter::from_fn(|| fetch.next_search()).collect();
    assert_eq!(plans.len(), FETCH_WINDOW);
    plans.iter().for_each(|plan| fetch.on_searched(plan.blob()));
    let asked: Vec<_> = std::iter::from_fn(|| fetch.next_request(true)).collect();
    assert_eq!(asked.len(), FETCH_WINDOW);
    // An answer that is complete and not over keeps its place, so that late streams of it are still expected.
    source.answer(&mut fetch, &asked[0], 1).unwrap();
    assert!(fetch.next_search().is_none());
    fetch.accepts(asked[0].blob, 0, 10).unwrap();
    fetch.on_end(asked[0].blob, BulkEnd::Finished).unwrap();
    let next = fetch.next_search().unwrap();
    fetch.on_searched(next.blob());
    fetch.on_link_down();
    source.run(&mut fetch, true);
    assert_eq!((fetch.is_complete(), fetch.progress()), (true, (1000, 1000)));
}

#[test]
fn a_file_may_have_the_bytes_of_a_chunk_list() {
    let mut world = World::new();
    let big = content(5, 100_000);
    let entry = world.file(part(1), "big", &big);
    let list = world.blobs[&entry.chunks.get().unwrap().hash].clone();
    world.file(part(2), "list", &list);
    for order in [[part(1), part(2)], [part(2), part(1)]] {
        let mut other = World::new();
        other.file(order[0], "big", &big);
        other.file(order[1], "list", &list);
        let mut source = Source::of(&other);
        let mut fetch = source.fetch();
        source.run(&mut fetch, true);
        assert!(fetch.is_complete());
        // Once for the core, once for the disk.
        assert_eq!(source.times_asked(&blob_id(&list)), 2);
    }
}

#[test]
fn one_blob_with_two_lists_is_got_once_with_both() {
    let mut world = World::new();
    let bytes = content(6, 3 * CHUNK);
    let entry = world.file(part(1), "a", &bytes);
    let other = bytes.chunks(CHUNK / 2).map(|c| ChunkRef { len: c.len() as u32, hash: blob_id(c) }).collect();
    let other = encode(&ChunkList { chunks: List::new(other).unwrap() });
    let list = segue_proto::data::ListRef { hash: blob_id(&other), len: other.len() as u32 };
    world.blobs.insert(list.hash, other);
    let second = Entry { chunks: Some(list.clone()).into(), ..file("b", &bytes) };
    world.entry(part(2), &second).unwrap();
    let mut source = Source::of(&world);
    let mut fetch = source.fetch();
    source.run(&mut fetch, true);
    assert!(fetch.is_complete());
    assert_eq!((source.times_asked(&entry.blob), source.times_asked(&list.hash)), (1, 1));
    assert_eq!(fetch.progress(), (bytes.len() as u64, bytes.len() as u64));
}

#[test]
fn chunks_that_nobody_needs_change_nothing() {
    let world = sample();
    let mut source = Source::of(&world);
    let mut fetch = get_manifest(&mut source, Rules::ALL).unwrap();
    let before = fetch.clone();
    // Of an unknown blob; of a known one, in a plan of another make.
    let foreign = Plan::small(blob_id(b"foreign"), 7).verify_chunk(Rules::ALL, 0, b"foreign").unwrap();
    let as_meta = Plan::meta(blob_id(b"fn main() {}"), 12).verify_chunk(Rules::ALL, 0, b"fn main() {}").unwrap();
    fetch.next_search();
    let searched = fetch.clone();
    fetch.on_chunk(&foreign).unwrap();
    fetch.on_chunk(&as_meta).unwrap();
    fetch.on_end(foreign.blob(), BulkEnd::Corrupt).unwrap();
    fetch.on_searched(foreign.blob());
    assert_eq!(fetch, searched);
    assert_ne!(fetch, before);
    // Twice the same.
    let content = Plan::small(blob_id(b"fn main() {}"), 12).verify_chunk(Rules::ALL, 0, b"fn main() {}").unwrap();
    fetch.on_chunk(&content).unwrap();
    let once = fetch.clone();
    fetch.on_chunk(&content).unwrap();
    assert_eq!((&fetch, fetch.progress()), (&once, (12, 200_012)));
}

// What a peer may not do.

#[test]
fn data_manifest_5_an_announced_manifest_keeps_its_limit() {
    for manifest_len in [0, MAX_MANIFEST as u32 + 1, u32::MAX] {
        let data = Announced { manifest_len, ..Source::of(&sample()).data };
        refused(Clause::DATA_MANIFEST_5, Code::LIMIT_MANIFEST, |rules| {
            Fetch::new(rules, SESSION, data.clone(), Pick::all())
        });
    }
}

#[test]
fn data_root_1_a_manifest_has_the_root_announced() {
    let attempt = |rules| {
        let mut source = Source::of(&sample());
        source.data.root = Hash::new([1; 32]);
        get_manifest(&mut source, rules)
    };
    refused(Clause::DATA_ROOT_1, Code::DATA_ROOT, attempt);
}

#[test]
fn data_manifest_3_a_manifest_of_another_session_is_refused() {
    let attempt = |rules| {
        let mut source = Source::of(&World::new());
        let other = segue_proto::data::State::new(segue_proto::wire::SessionId::new([9; 16]), "other");
        let (data, bytes) = other.to_manifest().announce();
        source.blobs.insert(data.manifest, bytes);
        source.data = data;
        get_manifest(&mut source, rules)
    };
    refused(Clause::DATA_MANIFEST_3, Code::DATA_MANIFEST, attempt);
}

#[test]
fn a_chunk_list_that_does_not_fit_ends_the_fetch() {
    let attempt = |list: Vec<u8>, rules: Rules| {
        let mut world = World::new();
        let reference = segue_proto::data::ListRef { hash: blob_id(&list), len: list.len() as u32 };
        let entry = Entry { chunks: Some(reference.clone()).into(), ..file("a", &content(1, 70_000)) };
        world.entry(part(1), &entry).unwrap();
        world.blobs.insert(reference.hash, list);
        let mut source = Source::of(&world);
        let mut fetch = get_manifest(&mut source, rules)?;
        nothing_here(&mut fetch);
        let wanted = fetch.next_request(true).unwrap();
        let result = source.answer(&mut fetch, &wanted, 1);
        assert!(!fetch.is_complete());
        result
    };
    let short = encode(&list_of(&content(1, 70_001)));
    refused(Clause::TRANSFER_LIST_1, Code::DATA_MANIFEST, |rules| attempt(short.clone(), rules));
    assert_eq!(attempt(b"rubbish".to_vec(), Rules::ALL).map_err(|v| v.code), Err(Code::WIRE_LENGTH));
}

/// A fetch that has looked for the content of 70,000 bytes, and maybe asked for it.
fn at_content(rules: Rules, asked: bool) -> (Fetch, Hash) {
    let mut world = World::new();
    let entry = world.file(part(1), "a", &content(1, 70_000));
    let mut source = Source::of(&world);
    let mut fetch = get_manifest(&mut source, rules).unwrap();
    nothing_here(&mut fetch);
    let list = fetch.next_request(true).unwrap();
    source.answer(&mut fetch, &list, 1).unwrap();
    fetch.on_end(list.blob, BulkEnd::Finished).unwrap();
    nothing_here(&mut fetch);
    assert!(!asked || fetch.next_request(true).is_some());
    (fetch, entry.blob)
}

#[test]
fn transfer_bytes_1_bytes_answer_a_request() {
    let attempt = |rules| {
        let (fetch, blob) = at_content(rules, false);
        fetch.accepts(blob, 0, 70_000)
    };
    refused(Clause::TRANSFER_BYTES_1, Code::WIRE_STATE, attempt);
    let (fetch, _) = at_content(Rules::ALL, true);
    let unknown = Violation::new(Code::WIRE_STATE, Clause::TRANSFER_BYTES_1);
    assert_eq!(fetch.accepts(Hash::new([1; 32]), 0, 70_000), Err(unknown));
}

#[test]
fn transfer_bytes_1_bytes_lie_in_a_range_that_was_asked_for() {
    let attempt = |rules| {
        let (mut fetch, blob) = at_content(rules, false);
        let bytes = content(1, 70_000);
        let plan = Plan::listed(Rules::ALL, blob, 70_000, &list_of(&bytes)).unwrap();
        fetch.on_chunk(&verified(&plan, 0, &bytes).unwrap()).unwrap();
        assert_eq!(fetch.next_request(true).unwrap().ranges, [range(65_536, 4_464)]);
        fetch.accepts(blob, 65_536, 4_464).unwrap();
        fetch.accepts(blob, 0, 65_536)
    };
    refused(Clause::TRANSFER_BYTES_1, Code::WIRE_STATE, attempt);
}

#[test]
fn transfer_bytes_2_a_range_starts_and_ends_at_chunks() {
    let attempt = |offset, len| move |rules| at_content(rules, true).0.accepts(at_content(rules, true).1, offset, len);
    for (offset, len) in [(1, 69_999), (0, 69_999), (0, 1), (65_535, 1)] {
        refused(Clause::TRANSFER_BYTES_2, Code::WIRE_VALUE, attempt(offset, len));
    }
    for (offset, len) in [(0, 70_001), (70_000, 1), (0, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let outside = Violation::new(Code::WIRE_VALUE, Clause::TRANSFER_BYTES_2);
        assert_eq!(attempt(offset, len)(Rules::ALL), Err(outside));
    }
    let parts = [(0, 70_000), (0, 65_536), (65_536, 4_464)].map(|(at, len)| attempt(at, len)(Rules::ALL).unwrap());
    assert_eq!(parts.map(|(_, first, count)| (first, count)), [(0, 2), (0, 1), (1, 1)]);
}

#[test]
fn transfer_refetch_1_bad_answers_are_counted() {
    let attempt = |end| {
        move |rules| {
            let (mut fetch, blob) = at_content(rules, true);
            for _ in 0..3 {
                fetch.on_end(blob, end).unwrap();
                assert_eq!(fetch.next_request(true).map(|wanted| wanted.blob), Some(blob));
            }
            fetch.on_end(blob, end)
        }
    };
    refused(Clause::TRANSFER_REFETCH_1, Code::DATA_HASH, attempt(BulkEnd::Corrupt));
    refused(Clause::TRANSFER_REFETCH_1, Code::DATA_UNAVAILABLE, attempt(BulkEnd::Finished));
    assert_eq!(attempt(BulkEnd::Lost)(Rules::ALL), Ok(()));
}

// Properties.

proptest! {
    #[test]
    fn a_list_does_not_depend_on_how_content_is_read(len in 0usize..300_000, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let bytes = content(9, len);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).chain([0, len]).collect();
        cuts.sort_unstable();
        let mut builder = ListBuilder::new(len as u64);
        cuts.windows(2).for_each(|cut| builder.push(&bytes[cut[0]..cut[1]]));
        prop_assert_eq!(builder.pushed(), len as u64);
        prop_assert_eq!(builder.finish(), chunk_list(&bytes));
    }

    #[test]
    fn any_bytes_are_a_chunk_list_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), len in any::<u64>()) {
        if let Ok(list) = decode::<ChunkList>(Rules::ALL, &bytes) {
            let _ = Plan::listed(Rules::ALL, Hash::ZERO, len, &list);
        }
    }

    /// Links break, chunks are spoiled and the device forgets its memory; still every chunk that was verified and kept
    /// crosses the wire once, and the fetch ends.
    #[test]
    fn a_fetch_ends_whatever_breaks(
        lens in prop::collection::vec(0usize..200_000, 1..12),
        faults in prop::collection::vec(0u8..6, 0..40),
    ) {
        let mut world = World::new();
        for (n, len) in lens.iter().enumerate() {
            world.file(part(n as u8), &format!("{n}"), &content(*len as u64, *len));
        }
        let source = Source::of(&world);
        let (mut fetch, mut disk, mut faults) = (source.fetch(), BTreeSet::new(), faults.into_iter());
        loop {
            while let Some(plan) = fetch.next_search() {
                for index in (0..plan.chunks()).filter(|index| disk.contains(&(plan.blob(), *index))) {
                    fetch.on_chunk(&verified(&plan, index, &source.blobs[&plan.blob()]).unwrap()).unwrap();
                }
                fetch.on_searched(plan.blob());
            }
            let Some(wanted) = fetch.next_request(true) else { break };
            let (fault, mut end) = (faults.next().unwrap_or(5), BulkEnd::Finished);
            let whole = [range(0, wanted.len)];
            let ranges = if wanted.ranges.is_empty() { &whole[..] } else { &wanted.ranges };
            'answer: for range in ranges {
                let (plan, first, count) = fetch.accepts(wanted.blob, range.offset, range.len).unwrap();
                for (sent, index) in (first..first + count).enumerate() {
                    if sent == fault as usize {
                        end = BulkEnd::Lost;
                        break 'answer;
                    }
                    fetch.on_chunk(&verified(&plan, index, &source.blobs[&wanted.blob]).unwrap()).unwrap();
                    prop_assert!(disk.insert((wanted.blob, index)), "a chunk came twice");
                }
            }
            match fault {
                0 => fetch = source.fetch(),
                1 => fetch.on_link_down(),
                _ => fetch.on_end(wanted.blob, end).unwrap(),
            }
        }
        prop_assert!(fetch.is_complete());
        let distinct: BTreeSet<_> = lens.iter().collect();
        let total = distinct.iter().map(|len| **len as u64).sum();
        prop_assert_eq!(fetch.progress(), (total, total));
    }
}
