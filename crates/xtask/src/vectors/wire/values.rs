//! Values of every primitive encoding.

use segue_proto::wire::codec;
use segue_proto::wire::{Blob, Ext, Exts, Hash, List, Nonce, Opt, PartId, Text};
use segue_proto::{Rules, Violation};

use crate::vectors::byhand::{self, unhex};
use crate::vectors::form::{Book, Vector, bytes};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    valid(book);
    invalid(book);
}

/// Name, encoding, bytes.
const VALID: [(&str, &str, &str); 25] = [
    ("u8-5", "u8", "05"),
    ("u8-255", "u8", "ff"),
    ("bool-false", "bool", "00"),
    ("bool-true", "bool", "01"),
    ("varint-0", "varint < 2^64", "00"),
    ("varint-127", "varint < 2^64", "7f"),
    ("varint-128", "varint < 2^64", "8001"),
    ("varint-300", "varint < 2^64", "ac02"),
    ("varint-65536", "varint < 2^64", "808004"),
    ("varint-max-16", "varint < 2^16", "ffff03"),
    ("varint-max-32", "varint < 2^32", "ffffffff0f"),
    ("varint-max-64", "varint < 2^64", "ffffffffffffffffff01"),
    ("fixed-16", "16 bytes", "000102030405060708090a0b0c0d0e0f"),
    ("bytes-none", "bytes ≤ 1024", "00"),
    ("bytes-two", "bytes ≤ 1024", "02aabb"),
    ("string-none", "string ≤ 256", "00"),
    ("string-two-bytes", "string ≤ 256", "02c3a9"),
    ("string-four-bytes", "string ≤ 256", "04f09f8fa0"),
    ("list-none", "list ≤ 8 of Ext", "00"),
    ("list-two", "list ≤ 8 of Ext", "021b02aabb5b00"),
    ("list-of-fixed", "list ≤ 64 of 16 bytes", "0111111111111111111111111111111111"),
    ("optional-none", "optional 16 bytes", "00"),
    ("optional-one", "optional 16 bytes", "01000102030405060708090a0b0c0d0e0f"),
    ("structure", "Ext", "1b02aabb"),
    ("nested", "optional 32 bytes", "010707070707070707070707070707070707070707070707070707070707070707"),
];

fn valid(book: &mut Book) {
    for (name, encoding, hex) in VALID {
        let input = unhex(hex);
        let byhand = byhand::decode(encoding, &input);
        let value = byhand.clone().unwrap_or_else(|code| code.into());
        let vector = Vector::valid("wire", "value", name, format!("A value of the encoding '{encoding}'."))
            .clause("WIRE-CANON-1")
            .input("encoding", encoding)
            .input("bytes", bytes(&input))
            .expect("value", value.clone());
        let mut again = Vec::new();
        byhand::encode(encoding, &value, &mut again);
        book.same(&vector, "whether it decodes", core(encoding, &input).is_ok(), byhand.is_ok());
        book.same(&vector, "the encoding", core(encoding, &input).unwrap_or_default(), again);
        book.add(vector);
    }
}

fn invalid(book: &mut Book) {
    let long = |count: &str, byte: &str, len: usize| format!("{count}{}", byte.repeat(len));
    let canon = ("WIRE-CANON-1", "WIRE_NONCANONICAL");
    let length = ("WIRE-CANON-2", "WIRE_LENGTH");
    let limit = ("WIRE-CAP-1", "WIRE_LIMIT");
    let ext = "list ≤ 8 of Ext";
    for (name, encoding, hex, what, broken) in [
        (
            "varint-two-bytes-for-0",
            "varint < 2^64",
            "8000".into(),
            "A varint that is longer than it needs to be.",
            canon,
        ),
        (
            "varint-three-bytes-for-300",
            "varint < 2^64",
            "ac8200".into(),
            "A varint that is longer than it needs to be.",
            canon,
        ),
        ("varint-beyond-16-bits", "varint < 2^16", "808004".into(), "A varint with bits beyond its width.", canon),
        ("varint-beyond-32-bits", "varint < 2^32", "ffffffff1f".into(), "A varint with bits beyond its width.", canon),
        (
            "varint-beyond-64-bits",
            "varint < 2^64",
            "ffffffffffffffffff02".into(),
            "A varint with bits beyond its width.",
            canon,
        ),
        ("varint-eleven-bytes", "varint < 2^64", "8080808080808080808001".into(), "A varint of eleven bytes.", canon),
        ("varint-truncated", "varint < 2^64", "ac".into(), "A varint whose last byte is missing.", length),
        ("varint-trailing", "varint < 2^64", "ac0200".into(), "A byte behind the value.", length),
        ("u8-nothing", "u8", String::new(), "No byte where one is needed.", length),
        ("bool-2", "bool", "02".into(), "A bool that is neither 00 nor 01.", canon),
        (
            "fixed-truncated",
            "16 bytes",
            "000102030405060708090a0b0c0d0e".into(),
            "One byte less than the encoding has.",
            length,
        ),
        ("bytes-truncated", "bytes ≤ 1024", "03aabb".into(), "Fewer bytes than the length says.", length),
        (
            "bytes-claim",
            "bytes ≤ 1024",
            "ffffffff0faabb".into(),
            "A length of 4 GiB and two bytes: the input ends first.",
            length,
        ),
        ("bytes-over-cap", "bytes ≤ 1024", long("8108", "00", 1025), "One byte more than the cap.", limit),
        ("string-over-cap", "string ≤ 256", long("8102", "61", 257), "One byte more than the cap.", limit),
        ("string-bad-utf8", "string ≤ 256", "02c328".into(), "A string that isn't UTF-8.", canon),
        ("string-surrogate", "string ≤ 256", "03eda080".into(), "A surrogate, which UTF-8 doesn't encode.", canon),
        ("string-overlong", "string ≤ 256", "02c080".into(), "NUL in two bytes, which UTF-8 doesn't permit.", canon),
        (
            "string-length-not-minimal",
            "string ≤ 256",
            "810061".into(),
            "A length that is longer than it needs to be.",
            canon,
        ),
        ("list-over-cap", ext, long("09", "1b00", 9), "One element more than the cap.", limit),
        ("list-claim", ext, "ffffffff7f".into(), "A claim of 2^35 − 1 elements, none of which is there.", limit),
        ("list-truncated", ext, "021b00".into(), "Fewer elements than the number says.", length),
        ("optional-two", "optional 16 bytes", long("02", "11", 32), "Two elements where there may be one.", limit),
        ("structure-truncated", "Ext", "1b02aa".into(), "A structure whose last byte is missing.", length),
        (
            "not-minimal-and-trailing",
            "varint < 2^64",
            "800000".into(),
            "Of two errors, the varint's is reported.",
            canon,
        ),
        (
            "truncated-before-not-minimal",
            "Ext",
            "800002aa".into(),
            "Of two errors, the missing byte's is reported.",
            length,
        ),
    ] {
        let input = unhex(&hex);
        let vector = Vector::invalid("wire", "value", name, what, broken)
            .input("encoding", encoding)
            .input("bytes", bytes(&input));
        book.same(&vector, "the error", broken.1, byhand::decode(encoding, &input).err().unwrap_or("none"));
        book.refuse(vector, core(encoding, &input));
    }
}

/// Decodes with the core, and encodes what came out.
fn core(encoding: &str, input: &[u8]) -> Result<Vec<u8>, Violation> {
    macro_rules! pass {
        ($t:ty) => {
            codec::decode::<$t>(Rules::ALL, input).map(|value| codec::encode(&value))
        };
    }
    match encoding {
        "u8" => pass!(u8),
        "bool" => pass!(bool),
        "varint < 2^16" => pass!(u16),
        "varint < 2^32" => pass!(u32),
        "varint < 2^64" => pass!(u64),
        "16 bytes" => pass!(Nonce),
        "bytes ≤ 1024" => pass!(Blob<1024>),
        "string ≤ 256" => pass!(Text<256>),
        "list ≤ 8 of Ext" => pass!(Exts),
        "list ≤ 64 of 16 bytes" => pass!(List<PartId, 64>),
        "optional 16 bytes" => pass!(Opt<Nonce>),
        "optional 32 bytes" => pass!(Opt<Hash>),
        "Ext" => pass!(Ext),
        other => unreachable!("no vector has the encoding {other}"),
    }
}
