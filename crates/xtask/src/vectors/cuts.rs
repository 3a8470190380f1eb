//! Chapter transfer: content that is cut by what it holds.

use segue_proto::transfer::{self, ChunkList};
use segue_proto::wire::codec::decode;

use super::byhand;
use super::form::{Book, Vector, bytes};
use crate::json::Json;

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    gear(book);
    lengths(book);
    cuts(book);
}

/// Entries of the gear table.
fn gear(book: &mut Book) {
    for value in [0, 1, 0x61, 0xff] {
        let entry = gear_of(value);
        let name = format!("gear-{value:02x}");
        let vector = Vector::valid("transfer", "gear", name, "An entry of the gear table.").clause(CLAUSE);
        book.add(vector.input("value", u64::from(value)).expect("entry", bytes(entry.to_be_bytes())));
    }
}

/// The lengths of chunks that follow from a content's.
fn lengths(book: &mut Book) {
    for (name, what, len, exponent) in [
        ("lengths-65537", "Content of a byte more than needs no list.", 65_537, Some(16)),
        ("lengths-1gib", "Content of 1 GiB.", 1 << 30, Some(16)),
        ("lengths-beyond-1gib", "Content of a byte more than 1 GiB.", (1 << 30) + 1, Some(17)),
        ("lengths-16gib", "Content of 16 GiB.", 1 << 34, Some(20)),
        ("lengths-beyond-16gib", "Content of a byte more than 16 GiB: equal chunks.", (1 << 34) + 1, None),
    ] {
        let lengths = transfer::lengths(len);
        let vector = Vector::valid("transfer", "lengths", name, what).clause(CLAUSE).input("len", len);
        let [shortest, middle, longest] = exponent.map_or([1 << 19; 3], |e: u32| [1 << (e - 2), 1 << e, 1 << (e + 2)]);
        let found = lengths.map_or([transfer::chunk_len(len); 3], |it| [it.shortest, it.middle, it.longest]);
        book.same(&vector, "the lengths", found, [shortest, middle, longest]);
        let vector = vector.expect("shortest", u64::from(shortest)).expect("middle", u64::from(middle));
        book.add(vector.expect("longest", u64::from(longest)));
    }
}

/// Content, changed and not.
fn cuts(book: &mut Book) {
    let cases: [(&str, &str, &str, usize, u64); 6] = [
        ("cut-noise", "Content of which every byte looks random.", "", 500_000, 0),
        (
            "cut-noise-behind-a-byte",
            "The same with a byte in front: all but one chunk are those of before.",
            "2a",
            500_000,
            0,
        ),
        ("cut-one-chunk", "Content whose only chunk ends with it.", "", 65_537, 0),
        ("cut-zeros", "Zeros: only the longest chunks.", "", 600_000, 1),
        ("cut-period", "Content whose byte i is i mod 251.", "", 300_000, 251),
        ("cut-few-values", "Content whose byte i is i mod 3.", "", 300_000, 3),
    ];
    for (name, what, front, len, modulus) in cases {
        let content = [byhand::unhex(front), body(len, modulus)].concat();
        let ends = ends(&content);
        let mut list = Vec::new();
        byhand::varint(ends.len() as u64, &mut list);
        let mut start = 0;
        let mut lens = Vec::new();
        for end in &ends {
            byhand::varint((end - start) as u64, &mut list);
            list.extend(blake3::hash(&content[start..*end]).as_bytes());
            lens.push(Json::from((end - start) as u64));
            start = *end;
        }
        let (blob, made) = transfer::chunk_list(&content);
        let form = if modulus == 0 { ("noise", 1) } else { ("modulus", modulus) };
        let described =
            [("front", bytes(byhand::unhex(front))), ("len", Json::from(len as u64)), (form.0, form.1.into())];
        let vector =
            Vector::valid("transfer", "cut", name, what).clause(CLAUSE).input("content", Json::object(described));
        let vector = vector.step("lens", Json::list(lens)).expect("blob", bytes(blob.as_bytes()));
        let (reference, encoded) = made.map_or((None, Vec::new()), |(reference, bytes)| (Some(reference), bytes));
        book.same(&vector, "the list", encoded.clone(), list);
        let chunks = decode::<ChunkList>(segue_proto::Rules::ALL, &encoded).map_or(0, |list| list.chunks.len());
        book.same(&vector, "the number of chunks", chunks, ends.len());
        let hash = reference.map(|reference| *reference.hash.as_bytes()).unwrap_or_default();
        let vector = vector.expect("list_hash", bytes(hash)).expect("list_len", encoded.len() as u64);
        book.add(if name == "cut-noise" { vector.shown() } else { vector });
    }
}

/// Content by its description: with a modulus of 0 the top bytes of a congruential generator.
fn body(len: usize, modulus: u64) -> Vec<u8> {
    let mut x = 1u64;
    let mut noise = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    (0..len as u64).map(|at| if modulus == 0 { noise() } else { (at % modulus) as u8 }).collect()
}

/// Where chunks of at most 1 GiB of content end, by the words of section 8.4.
fn ends(content: &[u8]) -> Vec<usize> {
    let gear: Vec<u64> = (0..=u8::MAX).map(gear_of).collect();
    let sum =
        |place: usize| (0..64).fold(0u64, |sum, k| sum.wrapping_add(gear[usize::from(content[place - 1 - k])] << k));
    let (mut ends, mut start) = (Vec::new(), 0);
    while start < content.len() {
        let is_end = |place: &usize| match place - start {
            len @ 16_384..65_536 => sum(start + len) >> (64 - 18) == 0,
            len @ 65_536..262_144 => sum(start + len) >> (64 - 14) == 0,
            len => len == 262_144,
        };
        start = (start + 1..content.len()).find(is_end).unwrap_or(content.len());
        ends.push(start);
    }
    ends
}

fn gear_of(value: u8) -> u64 {
    let hash = byhand::hash("segue/1 gear", &[value]);
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

const CLAUSE: &str = "TRANSFER-CUT-1";
