//! Values as the library keeps them.
//!
//! It encodes a whole number beyond 32 bits as a float where it can, so the writer would see one value and the readers
//! another. Here such a number is a buffer, marked as one.

use yrs::{Any, Out, any::Number};

use crate::value::Value;

/// The first byte of a buffer that holds bytes.
pub(super) const PLAIN: u8 = 0;
/// The first byte of a buffer that holds a whole number, in 8 bytes, big-endian.
pub(super) const WIDE: u8 = 1;

pub(super) fn to_any(value: &Value) -> Any {
    match value {
        Value::Null => Any::Null,
        Value::Bool(value) => Any::Bool(*value),
        Value::Int(value) if value.unsigned_abs() <= 0x7fff_ffff => Any::Number(Number::Int(*value)),
        Value::Int(value) => buffer(WIDE, &value.to_be_bytes()),
        Value::Float(value) => Any::Number(Number::Float(*value)),
        Value::Text(value) => Any::String(value.as_str().into()),
        Value::Bytes(value) => buffer(PLAIN, value),
    }
}

/// Null stands for what the parser doesn't let in.
pub(super) fn from_out(value: &Out) -> Value {
    let Out::Any(any) = value else { return Value::Null };
    match any {
        Any::Bool(value) => Value::Bool(*value),
        Any::Number(Number::Int(value)) => Value::Int(*value),
        Any::Number(Number::Float(value)) => Value::Float(*value),
        Any::String(value) => Value::Text(value.to_string()),
        Any::Buffer(bytes) => match bytes.split_first() {
            Some((&WIDE, rest)) => rest.try_into().map_or(Value::Null, |bytes| Value::Int(i64::from_be_bytes(bytes))),
            Some((_, rest)) => Value::Bytes(rest.to_vec()),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

fn buffer(mark: u8, bytes: &[u8]) -> Any {
    Any::Buffer([&[mark], bytes].concat().into())
}
