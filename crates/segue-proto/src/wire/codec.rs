//! The strict, bounded subset of postcard: one value, one encoding.
//!
//! Postcard itself accepts non-minimal varints and trailing bytes. Here every decoded value is encoded again and
//! compared with the input, so whatever isn't the canonical encoding is refused (WIRE-CANON-1), and every list,
//! string and byte string checks its cap before anything is allocated (WIRE-CAP-1). Which error is reported first is
//! fixed (WIRE-ORDER-1): form from left to right, then minimality, then what follows the value.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use alloc::format;
use postcard::ser_flavors::Flavor;
use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema::Shape;
use crate::clause::{Clause, Rules};
use crate::{Code, Violation};

/// Encodes a value. Wire types hold nothing that postcard could refuse.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(ROOM);
    encode_into(value, &mut out);
    out
}

/// Appends the encoding of a value.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    struct Append<'a>(&'a mut Vec<u8>);
    impl Flavor for Append<'_> {
        type Output = ();
        #[inline(always)]
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            self.0.push(byte);
            Ok(())
        }
        #[inline(always)]
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn finalize(self) -> postcard::Result<()> {
            Ok(())
        }
    }
    // The flavour never fails, and no wire type has a length that is unknown when it is written.
    let _ = postcard::serialize_with_flavor(value, Append(out));
}

/// The length of a value's encoding in bytes, without making it.
pub(crate) fn encoded_len<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl Flavor for Count {
        type Output = usize;
        #[inline(always)]
        fn try_push(&mut self, _: u8) -> postcard::Result<()> {
            self.0 += 1;
            Ok(())
        }
        #[inline(always)]
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            self.0 += bytes.len();
            Ok(())
        }
        fn finalize(self) -> postcard::Result<usize> {
            Ok(self.0)
        }
    }
    // As in [`encode_into`], it never fails.
    postcard::serialize_with_flavor(value, Count(0)).unwrap_or(0)
}

/// Room for most signed bodies and control messages, so that their bytes, which come one by one, are set aside for
/// once and not in steps.
pub(super) const ROOM: usize = 384;

/// Decodes a value that takes all of `bytes`.
pub fn decode<T: Serialize + DeserializeOwned>(rules: Rules, bytes: &[u8]) -> Result<T, Violation> {
    let (value, rest) = take(rules, bytes)?;
    rules.ensure(Clause::WIRE_CANON_2, rest.is_empty(), Code::WIRE_LENGTH)?;
    Ok(value)
}

/// Decodes a value from the start of `bytes` and returns what follows it.
pub fn take<T: Serialize + DeserializeOwned>(rules: Rules, bytes: &[u8]) -> Result<(T, &[u8]), Violation> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => Violation::new(Code::WIRE_LENGTH, Clause::WIRE_CANON_2),
        postcard::Error::SerdeDeCustom => Violation::new(Code::WIRE_LIMIT, Clause::WIRE_CAP_1),
        _ => Violation::new(Code::WIRE_NONCANONICAL, Clause::WIRE_CANON_1),
    })?;
    let used = bytes.get(..bytes.len() - rest.len()).unwrap_or(bytes);
    rules.ensure(Clause::WIRE_CANON_1, encodes_to(&value, used), Code::WIRE_NONCANONICAL)?;
    Ok((value, rest))
}

/// Whether `value` encodes to just `expected`, without allocating.
fn encodes_to<T: Serialize>(value: &T, expected: &[u8]) -> bool {
    struct Compare<'a>(&'a [u8]);
    impl Flavor for Compare<'_> {
        type Output = bool;
        fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
            match self.0.split_first() {
                Some((head, tail)) if *head == byte => {
                    self.0 = tail;
                    Ok(())
                }
                _ => Err(postcard::Error::SerializeBufferFull),
            }
        }
        fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
            match self.0.split_at_checked(bytes.len()) {
                Some((head, tail)) if head == bytes => {
                    self.0 = tail;
                    Ok(())
                }
                _ => Err(postcard::Error::SerializeBufferFull),
            }
        }
        fn finalize(self) -> postcard::Result<bool> {
            Ok(self.0.is_empty())
        }
    }
    postcard::serialize_with_flavor(value, Compare(expected)).unwrap_or(false)
}

/// Reads a minimal LEB128 number of at most 64 bits from the start of `bytes`: the number and its length.
///
/// `Ok(None)` if `bytes` ends before the number does.
pub fn varint(rules: Rules, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let bad = Violation::new(Code::WIRE_NONCANONICAL, Clause::WIRE_CANON_1);
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7f);
        if at == 9 && *byte > 1 {
            return Err(bad);
        }
        value |= part << (7 * at);
        if byte & 0x80 == 0 {
            rules.ensure(Clause::WIRE_CANON_1, at == 0 || *byte != 0, Code::WIRE_NONCANONICAL)?;
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 10 { Err(bad) } else { Ok(None) }
}

/// At most `MAX` bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Blob<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Blob<MAX> {
    /// Takes the bytes, or none if there are more than `MAX`.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX).then_some(Blob(bytes))
    }
    /// The bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> Deref for Blob<MAX> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl<const MAX: usize> Serialize for Blob<MAX> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Blob<MAX> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Bytes<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Bytes<MAX> {
            type Value = Blob<MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                if bytes.len() > MAX {
                    return Err(E::invalid_length(bytes.len(), &self));
                }
                Ok(Blob(bytes.to_vec()))
            }
        }
        d.deserialize_bytes(Bytes)
    }
}

impl<const MAX: usize> Shape for Blob<MAX> {
    fn shape() -> String {
        format!("bytes ≤ {MAX}")
    }
}

/// UTF-8 of at most `MAX` bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Takes the text, or none if it has more than `MAX` bytes.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() <= MAX).then_some(Text(text))
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> Serialize for Text<MAX> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Str<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Str<MAX> {
            type Value = Text<MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} bytes of UTF-8")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Text::new(text).ok_or_else(|| E::invalid_length(text.len(), &self))
            }
        }
        d.deserialize_str(Str)
    }
}

impl<const MAX: usize> Shape for Text<MAX> {
    fn shape() -> String {
        format!("string ≤ {MAX}")
    }
}

/// At most `MAX` elements.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// An empty list.
    pub const fn empty() -> Self {
        List(Vec::new())
    }
    /// Takes the elements, or none if there are more than `MAX`.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(List(items))
    }
    /// The elements.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
    /// The elements, to be changed in place.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// An optional value is a list of at most one.
pub type Opt<T> = List<T, 1>;

impl<T> From<Option<T>> for Opt<T> {
    fn from(value: Option<T>) -> Self {
        List(value.into_iter().collect())
    }
}

impl<T> Opt<T> {
    /// The value, if there is one.
    pub fn get(&self) -> Option<&T> {
        self.0.first()
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: fmt::Debug, const MAX: usize> fmt::Debug for List<T, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(s)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = List<T, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} elements")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let missing = || de::Error::invalid_length(0, &"a list");
                let claimed: u64 = seq.next_element()?.ok_or_else(missing)?;
                let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
                if claimed > MAX {
                    return Err(de::Error::invalid_length(claimed, &self));
                }
                // A claim costs its sender nothing, so no more than this is set aside for it (a guess).
                let mut items = Vec::with_capacity(claimed.min(16));
                for _ in 0..claimed {
                    items.push(seq.next_element()?.ok_or_else(missing)?);
                }
                Ok(List(items))
            }
        }
        // Postcard keeps a claim to itself if the input can't hold it, so the count is read as an element of its own:
        // a list is then a tuple of the count and at most MAX elements.
        d.deserialize_tuple(MAX + 1, Items(PhantomData))
    }
}

impl<T: Shape, const MAX: usize> Shape for List<T, MAX> {
    fn shape() -> String {
        if MAX == 1 { format!("optional {}", T::shape()) } else { format!("list ≤ {MAX} of {}", T::shape()) }
    }
}
