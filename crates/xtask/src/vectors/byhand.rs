//! The wire a second time: a codec that knows nothing but the spec's descriptions of structures, and the hashes and
//! signatures straight from their formulas. What the core computes is compared with this.

use ed25519_dalek::{Signer, SigningKey};
use segue_proto::wire;
use segue_proto::wire::schema::Struct;

use super::form::{bytes, text};
use crate::generate::bulk;
use crate::json::Json;

/// Decodes a value that takes all of `input`, by its encoding as the spec words it. The error is a code's name.
pub(crate) fn decode(encoding: &str, input: &[u8]) -> Result<Json, &'static str> {
    let mut reader = Reader { rest: input, minimal: true };
    let value = reader.value(encoding)?;
    if !reader.minimal {
        return Err("WIRE_NONCANONICAL");
    }
    if reader.rest.is_empty() { Ok(value) } else { Err("WIRE_LENGTH") }
}

/// The encoding of what [`decode`] gave.
pub(crate) fn encode(encoding: &str, value: &Json, out: &mut Vec<u8>) {
    match (Shape::of(encoding), value) {
        (Shape::Byte, Json::Number(byte)) => out.push(*byte as u8),
        (Shape::Bool, Json::Bool(value)) => out.push(u8::from(*value)),
        (Shape::Varint(_), Json::Number(number)) => varint(*number, out),
        (Shape::Fixed(_), Json::Text(hex)) => out.extend(unhex(hex)),
        (Shape::Bytes(_), Json::Text(hex)) => counted(&unhex(hex), out),
        (Shape::Text(_), Json::Object(members)) => {
            if let [(_, Json::Text(text))] = members.as_slice() {
                counted(text.as_bytes(), out);
            }
        }
        (Shape::List(_, element), Json::List(items)) => {
            varint(items.len() as u64, out);
            items.iter().for_each(|item| encode(element, item, out));
        }
        (Shape::Signed, Json::Object(members)) => {
            let part = |at: usize| match members.get(at) {
                Some((_, Json::Text(hex))) => unhex(hex),
                _ => Vec::new(),
            };
            counted(&part(0), out);
            out.extend(part(1));
        }
        (Shape::Struct(name), Json::Object(members)) => {
            let fields = structure(name).map(|found| found.fields).unwrap_or_default();
            fields.iter().zip(members).for_each(|(field, (_, value))| encode(&field.shape, value, out));
        }
        _ => {}
    }
}

/// H of the spec.
pub(crate) fn hash(context: &str, input: &[u8]) -> [u8; 32] {
    blake3::derive_key(context, input)
}

/// The id, signed bytes and signature of an object with this body.
pub(crate) fn sign(name: &str, body: &[u8], secret: &[u8; 32]) -> ([u8; 32], Vec<u8>, [u8; 64]) {
    let id = hash(&format!("segue/1 {name}"), body);
    let message = [format!("segue/1 sig {name}").as_bytes(), &id].concat();
    let signature = sign_bytes(&message, secret);
    (id, message, signature)
}

/// Ed25519.
pub(crate) fn sign_bytes(message: &[u8], secret: &[u8; 32]) -> [u8; 64] {
    SigningKey::from_bytes(secret).sign(message).to_bytes()
}

/// Appends a minimal varint.
pub(crate) fn varint(number: u64, out: &mut Vec<u8>) {
    let septets = (64 - number.leading_zeros()).div_ceil(7).max(1);
    for at in 0..septets {
        let more = u8::from(at + 1 < septets) << 7;
        out.push((number >> (7 * at)) as u8 & 0x7f | more);
    }
}

/// A whole frame.
pub(crate) fn frame(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number, &mut out);
    counted(payload, &mut out);
    out
}

/// Bytes from hex; none from what isn't hex.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Appends bytes behind their length.
fn counted(bytes: &[u8], out: &mut Vec<u8>) {
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

/// An encoding in the words of the wire chapter, taken apart.
enum Shape<'a> {
    Byte,
    Bool,
    Varint(u32),
    Fixed(usize),
    Bytes(usize),
    Text(usize),
    List(usize, &'a str),
    Signed,
    Struct(&'a str),
}

impl Shape<'_> {
    fn of(encoding: &str) -> Shape<'_> {
        let number = |text: &str| text.parse::<usize>().unwrap_or(0);
        if let Some(bits) = encoding.strip_prefix("varint < 2^") {
            return Shape::Varint(number(bits) as u32);
        }
        if let Some(cap) = encoding.strip_prefix("bytes ≤ ") {
            return Shape::Bytes(number(cap));
        }
        if let Some(cap) = encoding.strip_prefix("string ≤ ") {
            return Shape::Text(number(cap));
        }
        if let Some((cap, element)) = encoding.strip_prefix("list ≤ ").and_then(|rest| rest.split_once(" of ")) {
            return Shape::List(number(cap), element);
        }
        if let Some(element) = encoding.strip_prefix("optional ") {
            return Shape::List(1, element);
        }
        match encoding {
            "u8" => Shape::Byte,
            "bool" => Shape::Bool,
            _ if encoding.starts_with("Signed ") => Shape::Signed,
            _ => encoding.strip_suffix(" bytes").map_or(Shape::Struct(encoding), |len| Shape::Fixed(number(len))),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    minimal: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, encoding: &str) -> Result<Json, &'static str> {
        Ok(match Shape::of(encoding) {
            Shape::Byte => u64::from(self.take(1)?[0]).into(),
            Shape::Bool => match self.take(1)?[0] {
                0 => false.into(),
                1 => true.into(),
                _ => return Err("WIRE_NONCANONICAL"),
            },
            Shape::Varint(bits) => self.varint(bits)?.into(),
            Shape::Fixed(len) => bytes(self.take(len)?),
            Shape::Bytes(cap) => bytes(self.counted(cap)?),
            Shape::Text(cap) => text(std::str::from_utf8(self.counted(cap)?).map_err(|_| "WIRE_NONCANONICAL")?),
            Shape::List(cap, element) => {
                let count = self.varint(64)?;
                if count > cap as u64 {
                    return Err("WIRE_LIMIT");
                }
                Json::List((0..count).map(|_| self.value(element)).collect::<Result<_, _>>()?)
            }
            Shape::Signed => {
                let body = bytes(self.counted(4_096)?);
                Json::object([("body", body), ("sig", bytes(self.take(64)?))])
            }
            Shape::Struct(name) => {
                let fields = structure(name).ok_or("no such structure")?.fields;
                let read = |field: &wire::schema::Field| Ok((field.name.to_owned(), self.value(&field.shape)?));
                Json::Object(fields.iter().map(read).collect::<Result<_, _>>()?)
            }
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("WIRE_LENGTH")?;
        self.rest = rest;
        Ok(taken)
    }

    fn counted(&mut self, cap: usize) -> Result<&'a [u8], &'static str> {
        let len = self.varint(64)?;
        let taken = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        if taken.len() > cap { Err("WIRE_LIMIT") } else { Ok(taken) }
    }

    fn varint(&mut self, bits: u32) -> Result<u64, &'static str> {
        let mut value = 0u128;
        for at in 0.. {
            let byte = self.take(1)?[0];
            value |= u128::from(byte & 0x7f) << (7 * at);
            if value >> bits != 0 || (7 * at >= bits) {
                return Err("WIRE_NONCANONICAL");
            }
            if byte & 0x80 == 0 {
                self.minimal &= at == 0 || byte != 0;
                break;
            }
        }
        Ok(value as u64)
    }
}

fn structure(name: &str) -> Option<Struct> {
    wire::payloads().into_iter().chain(wire::parts()).chain(bulk()).find(|found| found.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_the_spec() {
        for (number, expected) in [
            (0, "00"),
            (127, "7f"),
            (128, "8001"),
            (300, "ac02"),
            (65_536, "808004"),
            (u64::MAX, "ffffffffffffffffff01"),
        ] {
            let mut out = Vec::new();
            varint(number, &mut out);
            assert_eq!(out, unhex(expected));
            assert_eq!(decode("varint < 2^64", &out), Ok(number.into()));
        }
        for (bad, code) in [
            ("8000", "WIRE_NONCANONICAL"),
            ("80", "WIRE_LENGTH"),
            ("ffffffffffffffffff02", "WIRE_NONCANONICAL"),
            ("0000", "WIRE_LENGTH"),
        ] {
            assert_eq!(decode("varint < 2^64", &unhex(bad)), Err(code), "{bad}");
        }
        assert_eq!(decode("varint < 2^16", &unhex("ffff03")), Ok(65_535.into()));
        assert_eq!(decode("varint < 2^16", &unhex("808004")), Err("WIRE_NONCANONICAL"));
    }

    #[test]
    fn structures_are_decoded_and_encoded_by_their_description() {
        let payload = unhex("0401000102030405060708090a0b0c0d0e0f");
        assert_eq!(decode("Hello", &payload), Err("WIRE_LENGTH"));
        let payload = unhex("0401000102030405060708090a0b0c0d0e0f011b02aabb");
        let value = decode("Hello", &payload).unwrap();
        let mut out = Vec::new();
        encode("Hello", &value, &mut out);
        assert_eq!(out, payload);
        assert!(value.to_line().contains("\"ext\": [{ \"id\": 27, \"bytes\": \"aabb\" }]"), "{}", value.to_line());
    }
}
