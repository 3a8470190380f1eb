//! Chapter transfer: blobs, chunk lists, plans, ranges.

use segue_proto::Rules;
use segue_proto::transfer::{self, ChunkList, ChunkRef, Plan, check_ranges};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{Hash, Range};

use super::byhand;
use super::cast::{NOTES_CONTENT, list, pattern};
use super::form::{Book, Vector, bytes};
use crate::json::Json;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    small(book);
    listed(book);
    lists(book);
    ranges(book);
    super::cuts::add(book);
}

/// Content that needs no chunk list.
fn small(book: &mut Book) {
    let cases: [(&str, &str, &[u8]); 3] = [
        ("blob-empty", "The id of content without bytes.", b""),
        ("blob-one-byte", "The id of content of one byte.", b"\0"),
        ("blob-notes", "The id of a short text.", NOTES_CONTENT),
    ];
    for (name, what, content) in cases {
        let (blob, chunks) = transfer::equal_list(content);
        let vector = Vector::valid("transfer", "blob", name, what)
            .clause("TRANSFER-CHUNK-1")
            .input("content", bytes(content))
            .expect("blob", bytes(blob.as_bytes()))
            .shown();
        book.same(&vector, "the id", *blob.as_bytes(), *blake3::hash(content).as_bytes());
        book.same(&vector, "the chunk list", chunks, None);
        let plan = Plan::small(blob, content.len() as u64);
        book.same(&vector, "the number of chunks", plan.chunks(), u32::from(!content.is_empty()));
        book.add(vector);
    }
}

/// Content whose byte i is i mod 251, in chunks of 64 KiB.
fn listed(book: &mut Book) {
    for len in [65_536, 65_537, 131_072, 150_000] {
        let content = pattern(len);
        let (blob, chunks) = transfer::equal_list(&content);
        let mut vector = Vector::valid(
            "transfer",
            "chunk-list",
            format!("content-{len}"),
            format!("Content of {len} bytes, in equal chunks."),
        )
        .clause("TRANSFER-LIST-1")
        .input("content", described(len))
        .step("chunk_len", 65_536)
        .expect("blob", bytes(blob.as_bytes()));
        book.same(&vector, "the id", *blob.as_bytes(), *blake3::hash(&content).as_bytes());
        book.same(&vector, "whether there is a list", chunks.is_some(), len > 65_536);
        if let Some((reference, encoded)) = chunks {
            let (items, byhand) = by_hand(&content);
            vector = vector.step("chunks", Json::list(items)).step("list", bytes(&encoded));
            vector = vector
                .expect("list_hash", bytes(reference.hash.as_bytes()))
                .expect("list_len", u64::from(reference.len));
            book.same(&vector, "the list", encoded.clone(), byhand);
            book.same(&vector, "the list's hash", *reference.hash.as_bytes(), *blake3::hash(&encoded).as_bytes());
            let list: Option<ChunkList> = decode(Rules::ALL, &encoded).ok();
            let plan = list.and_then(|list| Plan::listed(Rules::ALL, blob, len as u64, &list).ok());
            book.same(&vector, "whether it makes a plan", plan.is_some(), true);
            book.same(&vector, "whether its chunks verify", plan.is_some_and(|plan| verifies(&plan, &content)), true);
        }
        book.add(if len == 150_000 { vector.shown() } else { vector });
    }
    chunk_bytes(book);
}

/// A chunk's bytes, and bytes that aren't its.
fn chunk_bytes(book: &mut Book) {
    let blob = Hash::new(*blake3::hash(NOTES_CONTENT).as_bytes());
    let plan = Plan::small(blob, NOTES_CONTENT.len() as u64);
    let mut flipped = NOTES_CONTENT.to_vec();
    flipped[0] ^= 1;
    let given = |vector: Vector, content: &[u8]| {
        let vector = vector.input("blob", bytes(blob.as_bytes())).input("len", NOTES_CONTENT.len() as u64);
        vector.input("index", 0).input("bytes", bytes(content))
    };
    let vector = Vector::valid("transfer", "chunk", "chunk-good", "The bytes of the only chunk of a blob.")
        .clause("TRANSFER-CHUNK-1");
    let vector = given(vector, NOTES_CONTENT).expect("verified", true);
    book.same(&vector, "whether it verifies", plan.verify_chunk(Rules::ALL, 0, NOTES_CONTENT).is_ok(), true);
    book.add(vector);
    for (name, what, content) in [
        ("chunk-bit", "One bit of the chunk is wrong.", flipped.as_slice()),
        ("chunk-short", "The chunk's last byte is missing.", &NOTES_CONTENT[..14]),
        ("chunk-empty", "No bytes at all.", b""),
    ] {
        let vector = Vector::invalid("transfer", "chunk", name, what, ("TRANSFER-CHUNK-1", "DATA_HASH"));
        book.refuse(given(vector, content), plan.verify_chunk(Rules::ALL, 0, content));
    }
}

/// Chunk lists of any lengths, against a blob's length.
fn lists(book: &mut Book) {
    const MIN: u32 = 16_384;
    const MAX: u32 = 4_194_304;
    for (name, what, lens) in [
        ("plan-uneven", "Chunks of different lengths, the last of one byte.", vec![MIN, MAX, 70_000, 1]),
        ("plan-one", "One chunk that is longer than 65,536 bytes.", vec![65_537]),
    ] {
        let len = lens.iter().copied().map(u64::from).sum();
        let list = chunks(&lens);
        let vector = plan_input(Vector::valid("transfer", "plan", name, what).clause("TRANSFER-LIST-1"), len, &list);
        let offsets: Vec<u64> = (0..lens.len()).map(|at| lens[..at].iter().copied().map(u64::from).sum()).collect();
        let plan = Plan::listed(Rules::ALL, ANY, len, &list);
        let planned =
            plan.map(|plan| (0..plan.chunks()).filter_map(|at| plan.chunk(at)).map(|chunk| chunk.offset).collect());
        book.same(&vector, "the offsets", planned.unwrap_or_default(), offsets.clone());
        book.add(vector.expect("offsets", Json::list(offsets.into_iter().map(Json::from))));
    }
    for (name, what, len, lens) in [
        ("list-short", "The chunks don't reach the end of the blob.", 140_000, vec![65_536, 65_536]),
        ("list-long", "The chunks go beyond the end of the blob.", 131_071, vec![65_536, 65_536]),
        ("list-empty", "No chunks, though the blob has bytes.", 70_000, vec![]),
        (
            "list-small-chunk",
            "A chunk before the last of fewer than 16,384 bytes.",
            16_383 + 65_536,
            vec![16_383, 65_536],
        ),
        ("list-large-chunk", "A chunk of more than 4 MiB.", u64::from(MAX) + 1, vec![MAX + 1]),
        ("list-empty-last", "A last chunk without bytes.", 131_072, vec![65_536, 65_536, 0]),
        ("list-overflow", "Lengths that overflow 32 bits in sum, and so seem to fit.", 65_536, vec![u32::MAX, 65_537]),
    ] {
        let list = chunks(&lens);
        let vector = Vector::invalid("transfer", "plan", name, what, ("TRANSFER-LIST-1", "DATA_MANIFEST"));
        book.refuse(plan_input(vector, len, &list), Plan::listed(Rules::ALL, ANY, len, &list));
    }
}

/// Ranges of a blob of 150,000 bytes.
fn ranges(book: &mut Book) {
    const LEN: u64 = 150_000;
    /// Offset and length.
    type Pairs = &'static [(u64, u64)];
    let cases: [(&str, &str, Pairs, bool); 10] = [
        ("ranges-one", "The whole blob.", &[(0, LEN)], true),
        ("ranges-two", "The first and the last chunk.", &[(0, 65_536), (131_072, 18_928)], true),
        ("ranges-none", "No range.", &[], false),
        ("ranges-empty", "A range without bytes.", &[(0, 0)], false),
        ("ranges-touching", "Two ranges that touch.", &[(0, 65_536), (65_536, 65_536)], false),
        ("ranges-overlapping", "Two ranges that overlap.", &[(0, 65_537), (65_536, 65_536)], false),
        ("ranges-descending", "Two ranges that descend.", &[(131_072, 18_928), (0, 65_536)], false),
        ("ranges-same", "The same range twice.", &[(0, 65_536), (0, 65_536)], false),
        ("ranges-beyond", "A range that ends beyond the blob.", &[(131_072, 18_929)], false),
        ("ranges-overflow", "A range whose end is beyond 64 bits.", &[(65_536, u64::MAX)], false),
    ];
    for (name, what, pairs, good) in cases {
        let ranges: Vec<Range> = pairs.iter().map(|(offset, len)| Range { offset: *offset, len: *len }).collect();
        let listed = Json::list(
            pairs.iter().map(|(offset, len)| Json::object([("offset", Json::from(*offset)), ("len", (*len).into())])),
        );
        let given = |vector: Vector| vector.input("len", LEN).input("ranges", listed.clone());
        let found = check_ranges(Rules::ALL, LEN, &ranges);
        if good {
            let vector =
                given(Vector::valid("transfer", "ranges", name, what).clause(RANGES.0)).expect("accepted", true);
            book.same(&vector, "whether they are accepted", found.is_ok(), true);
            book.add(vector);
        } else {
            book.refuse(given(Vector::invalid("transfer", "ranges", name, what, RANGES)), found);
        }
    }
}

/// What ranges that aren't in order break.
const RANGES: (&str, &str) = ("WIRE-VALUE-1", "WIRE_VALUE");

/// A blob of which only the length matters.
const ANY: Hash = Hash::new([0x77; 32]);

fn described(len: usize) -> Json {
    Json::object([("len", Json::from(len as u64)), ("modulus", 251.into())])
}

fn chunks(lens: &[u32]) -> ChunkList {
    let chunks = lens.iter().zip(0x80..).map(|(len, mark)| ChunkRef { len: *len, hash: Hash::new([mark; 32]) });
    ChunkList { chunks: list(chunks.collect()) }
}

fn plan_input(vector: Vector, len: u64, list: &ChunkList) -> Vector {
    let lens = list.chunks.iter().map(|chunk| u64::from(chunk.len).into());
    vector.input("len", len).input("list", bytes(encode(list))).step("lens", Json::list(lens))
}

/// The chunks of content and their list, a second time.
fn by_hand(content: &[u8]) -> (Vec<Json>, Vec<u8>) {
    let pieces: Vec<&[u8]> = content.chunks(65_536).collect();
    let mut list = Vec::new();
    byhand::varint(pieces.len() as u64, &mut list);
    let mut items = Vec::new();
    for piece in pieces {
        let hash = *blake3::hash(piece).as_bytes();
        byhand::varint(piece.len() as u64, &mut list);
        list.extend(hash);
        items.push(Json::object([("len", Json::from(piece.len() as u64)), ("hash", bytes(hash))]));
    }
    (items, list)
}

fn verifies(plan: &Plan, content: &[u8]) -> bool {
    let mut chunks = (0..plan.chunks()).filter_map(|at| Some((at, plan.chunk(at)?)));
    chunks.all(|(at, chunk)| {
        let start = chunk.offset as usize;
        content
            .get(start..start + chunk.len as usize)
            .is_some_and(|bytes| plan.verify_chunk(Rules::ALL, at, bytes).is_ok())
    })
}
