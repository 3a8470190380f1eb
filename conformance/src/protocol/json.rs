//! How values stand in JSON: one trait, and two macros that make it for enums and structures from one table each.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use segue_proto::wire::{ActorId, DeviceId, Hash, PartId, SessionId};
use segue_proto::{Clause, Code, Continuity, Generation, HandoffId, Instant, LinkId, Lsn, Policy, Role, SessionRole};
use serde_json::{Map, Value};

use crate::attach::Tier;

/// A value that stands in JSON.
pub trait Json: Sized {
    /// As JSON.
    fn to_json(&self) -> Value;

    /// From JSON.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn from_json(value: &Value) -> Result<Self, String>;

    /// What stands for a field that is absent; none if it has to be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// A field of an object.
///
/// # Errors
/// If it is missing or malformed; the words name it.
pub fn field<T: Json>(object: &Value, name: &str) -> Result<T, String> {
    match object.get(name) {
        Some(value) => T::from_json(value).map_err(|why| format!("field '{name}': {why}")),
        None => T::absent().ok_or_else(|| format!("field '{name}' is missing")),
    }
}

/// Puts a field into an object, unless it says nothing.
pub fn put<T: Json>(object: &mut Map<String, Value>, name: &str, value: &T) {
    let value = value.to_json();
    let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if !(empty && T::absent().is_some()) {
        object.insert(name.into(), value);
    }
}

/// An enum whose variants hold named fields: an object with `type`.
macro_rules! tagged {
    ($t:ty { $( $variant:ident = $name:literal { $( $field:ident ),* } )+ }) => {
        impl $crate::protocol::json::Json for $t {
            fn to_json(&self) -> serde_json::Value {
                let mut object = serde_json::Map::new();
                match self {
                    $( Self::$variant { $( $field ),* } => {
                        object.insert("type".into(), $name.into());
                        $( $crate::protocol::json::put(&mut object, stringify!($field), $field); )*
                    } )+
                }
                serde_json::Value::Object(object)
            }

            fn from_json(value: &serde_json::Value) -> Result<Self, String> {
                match value.get("type").and_then(serde_json::Value::as_str) {
                    $( Some($name) => Ok(Self::$variant {
                        $( $field: $crate::protocol::json::field(value, stringify!($field))? ),*
                    }), )+
                    Some(other) => Err(format!("the type '{other}' is unknown")),
                    None => Err("field 'type' is missing".into()),
                }
            }
        }
    };
}

/// A structure: an object with its fields.
macro_rules! object {
    ($t:ty { $( $field:ident ),* }) => {
        impl $crate::protocol::json::Json for $t {
            fn to_json(&self) -> serde_json::Value {
                let mut object = serde_json::Map::new();
                $( $crate::protocol::json::put(&mut object, stringify!($field), &self.$field); )*
                serde_json::Value::Object(object)
            }

            fn from_json(value: &serde_json::Value) -> Result<Self, String> {
                if !value.is_object() {
                    return Err("an object is expected".into());
                }
                Ok(Self { $( $field: $crate::protocol::json::field(value, stringify!($field))? ),* })
            }
        }
    };
}

/// A number in a structure of its own.
macro_rules! number {
    ($( $t:ty: $get:expr, $make:expr; )+) => { $(
        impl Json for $t {
            fn to_json(&self) -> Value {
                let get: fn(&$t) -> u64 = $get;
                get(self).into()
            }

            fn from_json(value: &Value) -> Result<Self, String> {
                value.as_u64().map($make).ok_or_else(|| "a natural number is expected".into())
            }
        }
    )+ };
}

/// Fixed bytes: a string of hexadecimal digits.
macro_rules! fixed {
    ($( $t:ident )+) => { $(
        impl Json for $t {
            fn to_json(&self) -> Value {
                self.to_string().into()
            }

            fn from_json(value: &Value) -> Result<Self, String> {
                value.as_str().and_then($t::from_hex).ok_or_else(|| {
                    concat!("hexadecimal digits of a ", stringify!($t), " are expected").into()
                })
            }
        }
    )+ };
}

/// An enum without data: one of these words.
macro_rules! words {
    ($( $t:ty { $( $variant:path = $word:literal )+ } )+) => { $(
        impl Json for $t {
            fn to_json(&self) -> Value {
                match self { $( $variant => $word.into(), )+ }
            }

            fn from_json(value: &Value) -> Result<Self, String> {
                match value.as_str() {
                    $( Some($word) => Ok($variant), )+
                    _ => Err(concat!("one of", $( " '", $word, "'", )+ " is expected").into()),
                }
            }
        }
    )+ };
}

pub(super) use {object, tagged};

number! {
    u64: |n| *n, |n| n;
    u32: |n| u64::from(*n), |n| u32::try_from(n).unwrap_or(u32::MAX);
    u16: |n| u64::from(*n), |n| u16::try_from(n).unwrap_or(u16::MAX);
    u8: |n| u64::from(*n), |n| u8::try_from(n).unwrap_or(u8::MAX);
    Instant: |at| at.micros(), Instant::from_micros;
    LinkId: |link| link.0, LinkId;
    Lsn: |lsn| lsn.0, Lsn;
    HandoffId: |id| id.0, HandoffId;
    usize: |n| *n as u64, |n| n as usize;
}

fixed! { ActorId DeviceId SessionId Hash PartId }

words! {
    Role { Role::Initiator = "initiator" Role::Responder = "responder" }
    Policy { Policy::Ask = "ask" Policy::Allow = "allow" Policy::Deny = "deny" }
    Tier { Tier::A = "A" Tier::B = "B" }
    Continuity { Continuity::Proven = "proven" Continuity::Unproven = "unproven" }
    SessionRole {
        SessionRole::Primary = "primary"
        SessionRole::Releasing = "releasing"
        SessionRole::Secondary = "secondary"
        SessionRole::RolledBack = "rolled-back"
        SessionRole::Closed = "closed"
    }
}

impl Json for i64 {
    fn to_json(&self) -> Value {
        (*self).into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        value.as_i64().ok_or_else(|| "a whole number is expected".into())
    }

    fn absent() -> Option<Self> {
        Some(0)
    }
}

impl Json for bool {
    fn to_json(&self) -> Value {
        (*self).into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "true or false is expected".into())
    }

    fn absent() -> Option<Self> {
        Some(false)
    }
}

impl Json for String {
    fn to_json(&self) -> Value {
        self.clone().into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        value.as_str().map(Into::into).ok_or_else(|| "a string is expected".into())
    }
}

/// As text: `192.0.2.7:4433`, `[2001:db8::7]:4433`.
impl Json for SocketAddr {
    fn to_json(&self) -> Value {
        self.to_string().into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "an address and a port are expected".into())
    }
}

impl Json for Generation {
    fn to_json(&self) -> Value {
        self.name().into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let name = value.as_str().and_then(Generation::from_name);
        name.ok_or_else(|| "a generation is expected: '1.4', '1.7', '2' or '7'".into())
    }
}

impl Json for Code {
    fn to_json(&self) -> Value {
        format!("{self:?}").into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or("an error code is expected: its name or '0x' and four digits")?;
        let named = Code::TABLE.iter().find(|row| row.name == text).map(|row| row.code);
        let number = text.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
        named.or(number.map(Code::from_number)).ok_or_else(|| format!("'{text}' is no error code"))
    }
}

impl Json for Clause {
    fn to_json(&self) -> Value {
        self.id().into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let id = value.as_str().ok_or("a clause is expected")?;
        Clause::from_id(id).ok_or_else(|| format!("'{id}' is no clause that the suite knows"))
    }
}

/// Bytes: a string of hexadecimal digits.
impl Json for Vec<u8> {
    fn to_json(&self) -> Value {
        hex::encode(self).into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(|text| hex::decode(text).ok()).ok_or_else(|| "hexadecimal digits are expected".into())
    }
}

impl<const N: usize> Json for [u8; N] {
    fn to_json(&self) -> Value {
        hex::encode(self).into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let bytes = Vec::<u8>::from_json(value)?;
        bytes.try_into().map_err(|_| format!("{} hexadecimal digits are expected", 2 * N))
    }
}

impl<T: Json> Json for Option<T> {
    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        if value.is_null() { Ok(None) } else { T::from_json(value).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// A list of anything but bytes, which are a string.
pub trait Listed: Json {}

impl<T: Listed> Json for Vec<T> {
    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let items = value.as_array().ok_or("a list is expected")?;
        let item = |(at, item): (usize, &Value)| {
            T::from_json(item).map_err(|why| match item.get("type").and_then(Value::as_str) {
                Some(of) => format!("item {at}, of type '{of}': {why}"),
                None => format!("item {at}: {why}"),
            })
        };
        items.iter().enumerate().map(item).collect()
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<A: Json, B: Json> Json for (A, B) {
    fn to_json(&self) -> Value {
        Value::Array(vec![self.0.to_json(), self.1.to_json()])
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        match value.as_array().map(Vec::as_slice) {
            Some([a, b]) => Ok((A::from_json(a)?, B::from_json(b)?)),
            _ => Err("a list of two is expected".into()),
        }
    }
}

impl<T: Json> Json for BTreeMap<String, T> {
    fn to_json(&self) -> Value {
        self.iter().map(|(path, value)| (path.clone(), value.to_json())).collect::<Map<_, _>>().into()
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let entries = value.as_object().ok_or("an object is expected")?;
        entries.iter().map(|(path, value)| Ok((path.clone(), T::from_json(value)?))).collect()
    }

    fn absent() -> Option<Self> {
        Some(BTreeMap::new())
    }
}

impl Listed for String {}
impl Listed for DeviceId {}
impl Listed for Generation {}
impl Listed for Hash {}
impl Listed for PartId {}
impl Listed for Tier {}
