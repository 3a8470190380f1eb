//! The values of maps and arrays.

use crate::document::DocumentError;
use crate::limits::{MAX_KEY, MAX_VALUE};

/// A value. It has no parts that merge: concurrent writes of one place choose one of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, as a value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A key that another device, or undoing, changed.
#[derive(Clone, Debug, PartialEq)]
pub struct MapChange {
    /// The key.
    pub key: String,
    /// Its value now; None if it was removed.
    pub value: Option<Value>,
}

#[cfg_attr(not(any(feature = "yrs", feature = "automerge")), allow(dead_code))]
impl Value {
    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let len = match self {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        };
        if len <= MAX_VALUE { Ok(()) } else { Err(DocumentError::Edit("the value is longer than 8,192 bytes")) }
    }
}

#[cfg_attr(not(any(feature = "yrs", feature = "automerge")), allow(dead_code))]
pub(crate) fn check_key(key: &str) -> Result<(), DocumentError> {
    if key.len() <= MAX_KEY { Ok(()) } else { Err(DocumentError::Edit("the key is longer than 1,024 bytes")) }
}
