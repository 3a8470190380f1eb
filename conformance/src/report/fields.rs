//! A message as a reader wants to see it: its fields by their names, numbers that stand for something by what they
//! stand for, and what is signed opened, with its id and its signature.

use std::fmt;

use segue_proto::wire::{CodeBytes, Final, Kind, Message, Offer, Record, RosterEntry, Sig, Signed, SignedBody, Want};
use segue_proto::{Code, Generation, Rules};
use serde::ser::{Impossible, Serialize, SerializeSeq, SerializeStruct, SerializeTuple, Serializer};

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Words, or a number.
    Text(String),
    /// A name of fixed length, a key, a hash, a signature, as hexadecimal digits.
    Id(String),
    /// Bytes of any length.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A structure.
    Fields(Vec<(&'static str, Value)>),
}

/// The fields of a message. Extensions are left out if there are none.
pub(super) fn fields(message: &Message) -> Vec<(&'static str, Value)> {
    match message.serialize_payload(Reader) {
        Ok(Value::Fields(fields)) => fields,
        _ => Vec::new(),
    }
}

/// Makes a [`Value`] of anything that is on the wire.
struct Reader;

/// What no wire type is: it never happens.
#[derive(Debug)]
struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not on the wire")
    }
}

impl std::error::Error for Never {}

impl serde::ser::Error for Never {
    fn custom<T: fmt::Display>(_: T) -> Never {
        Never
    }
}

type Read = Result<Value, Never>;

macro_rules! numbers {
    ($( $name:ident $t:ty, )+) => { $(
        fn $name(self, number: $t) -> Read {
            Ok(Value::Text(number.to_string()))
        }
    )+ };
}

impl Serializer for Reader {
    type Ok = Value;
    type Error = Never;
    type SerializeSeq = Items;
    type SerializeTuple = Octets;
    type SerializeTupleStruct = Impossible<Value, Never>;
    type SerializeTupleVariant = Impossible<Value, Never>;
    type SerializeMap = Impossible<Value, Never>;
    type SerializeStruct = Structure;
    type SerializeStructVariant = Impossible<Value, Never>;

    numbers! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
        serialize_f32 f32, serialize_f64 f64, serialize_char char,
    }

    fn serialize_str(self, text: &str) -> Read {
        Ok(Value::Text(format!("{text:?}")))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Read {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Read {
        Ok(Value::List(Vec::new()))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Read {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Read {
        Ok(Value::Fields(Vec::new()))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Read {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Read {
        Ok(Value::Text(variant.into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Read {
        let value = value.serialize(self)?;
        let code = match (name, &value) {
            ("CodeBytes", Value::Id(digits)) => code(digits),
            _ => None,
        };
        Ok(code.map_or(value, Value::Text))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Read {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Never> {
        Ok(Items(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Octets, Never> {
        Ok(Octets(String::new()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Never> {
        Err(Never)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Never> {
        Err(Never)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Never> {
        Err(Never)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Structure, Never> {
        Ok(Structure { name, fields: Vec::new() })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Never> {
        Err(Never)
    }
}

/// A list that is being read.
struct Items(Vec<Value>);

impl SerializeSeq for Items {
    type Ok = Value;
    type Error = Never;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.0.push(value.serialize(Reader)?);
        Ok(())
    }

    fn end(self) -> Read {
        Ok(Value::List(self.0))
    }
}

/// Fixed bytes: on the wire nothing else is a tuple.
struct Octets(String);

impl SerializeTuple for Octets {
    type Ok = Value;
    type Error = Never;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        if let Value::Text(number) = value.serialize(Reader)? {
            let byte: u8 = number.parse().map_err(|_| Never)?;
            self.0.push_str(&format!("{byte:02x}"));
        }
        Ok(())
    }

    fn end(self) -> Read {
        Ok(Value::Id(self.0))
    }
}

/// A structure that is being read.
struct Structure {
    name: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl SerializeStruct for Structure {
    type Ok = Value;
    type Error = Never;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Never> {
        let value = value.serialize(Reader)?;
        let value = opened(self.name, key, &value).or_else(|| named(self.name, key, &value)).unwrap_or(value);
        if !(key == "ext" && value == Value::List(Vec::new())) {
            self.fields.push((key, value));
        }
        Ok(())
    }

    fn end(self) -> Read {
        Ok(Value::Fields(self.fields))
    }
}

fn code(digits: &str) -> Option<String> {
    let bytes: [u8; 2] = hex::decode(digits).ok()?.try_into().ok()?;
    Some(format!("{:?}", Code::from(CodeBytes::new(bytes))))
}

/// A number that stands for something, by what it stands for.
fn named(structure: &str, key: &str, value: &Value) -> Option<Value> {
    let Value::Text(text) = value else { return None };
    let number: u8 = text.parse().ok()?;
    let word = match (structure, key) {
        ("Hello", "generation" | "floor") => Generation::from_number(number)?.name(),
        ("Record", "kind") => Kind::from_number(number)?.name(),
        ("RosterEntry", "kind") => ["genesis", "link", "revoke"].get(usize::from(number))?,
        ("Want", "mode") => ["pull", "answer", "standing"].get(usize::from(number))?,
        _ => return None,
    };
    Some(Value::Text(format!("{word} ({number})")))
}

/// Signed objects in a field, or in a list in a field, opened.
fn opened(structure: &str, key: &str, value: &Value) -> Option<Value> {
    let open: fn(Vec<u8>, Sig) -> Option<Value> = match (structure, key) {
        ("WantMsg" | "Grant", "want") => open::<Want>,
        ("Grant", "record") | ("Head", "records") => open::<Record>,
        ("Grant", "end") => open::<Final>,
        ("OfferMsg", "offer") => open::<Offer>,
        ("RosterMsg", "entries") => open::<RosterEntry>,
        _ => return None,
    };
    let open = |value: &Value| {
        let Value::Fields(fields) = value else { return None };
        let [(_, Value::Bytes(body)), (_, Value::Id(sig))] = fields.as_slice() else { return None };
        open(body.clone(), Sig::from_hex(sig)?)
    };
    match value {
        Value::List(items) => items.iter().map(open).collect::<Option<Vec<Value>>>().map(Value::List),
        value => open(value),
    }
}

fn open<T: SignedBody>(body: Vec<u8>, sig: Sig) -> Option<Value> {
    let signed = Signed::<T>::from_parts(body, sig)?;
    let mut fields = vec![("id", Value::Id(signed.id().to_string()))];
    match signed.open(Rules::ALL).ok().and_then(|body| body.serialize(Reader).ok()) {
        Some(Value::Fields(body)) => fields.extend(body),
        _ => fields.push(("body, which is malformed", Value::Bytes(signed.body_bytes().to_vec()))),
    }
    fields.push(("signature", Value::Id(sig.to_string())));
    Some(Value::Fields(fields))
}

#[cfg(test)]
mod tests {
    use segue_proto::wire::{Exts, Goaway, Hash, SessionId, WantMsg};
    use segue_testkit::rng::Rng;

    use super::*;
    use crate::peer::Peer;

    fn text(value: &str) -> Value {
        Value::Text(value.into())
    }

    #[test]
    fn numbers_that_stand_for_something_are_named() {
        let mut peer = Peer::new(&mut Rng::new(1, "fields"));
        peer.floor = 2;
        let hello = fields(&peer.hello().into());
        assert_eq!(hello[..2], [("generation", text("7 (4)")), ("floor", text("1.7 (2)"))]);
        assert!(matches!(&hello[2], ("boot", Value::Id(digits)) if digits.len() == 32));
        assert_eq!(hello.len(), 3, "no extensions, no field");
        let goaway = Goaway { code: Code::HO_STALE_PARENT.into(), ext: Exts::empty() };
        assert_eq!(fields(&goaway.into()), [("code", text("HO_STALE_PARENT"))]);
    }

    #[test]
    fn what_is_signed_is_opened_and_has_its_id() {
        let mut rng = Rng::new(1, "fields");
        let peer = Peer::new(&mut rng);
        let want = peer.sign(&peer.want(&mut rng, SessionId::new([5; 16]), Hash::new([6; 32]), None));
        let message = WantMsg { req: 7, want: want.clone(), ext: Exts::empty() };
        let all = fields(&message.into());
        assert_eq!(all[0], ("req", text("7")));
        let Value::Fields(body) = &all[1].1 else { panic!("{all:?}") };
        assert_eq!(body[0], ("id", Value::Id(want.id().to_string())));
        assert!(body.contains(&("mode", text("pull (0)"))), "{body:?}");
        assert_eq!(body.last().map(|field| field.0), Some("signature"));
    }
}
