//! Fixed-size names: keys, hashes, ids.

use core::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` bytes, written as they are, without a length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fixed<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Fixed<N> {
    #[inline]
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut tuple = s.serialize_tuple(N)?;
        for byte in &self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Fixed<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Bytes<const N: usize>;
        impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
            type Value = Fixed<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut out = [0; N];
                for (at, byte) in out.iter_mut().enumerate() {
                    *byte = seq.next_element()?.ok_or_else(|| de::Error::invalid_length(at, &self))?;
                }
                Ok(Fixed(out))
            }
        }
        d.deserialize_tuple(N, Bytes)
    }
}

impl<const N: usize> fmt::Debug for Fixed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

macro_rules! ids {
    ($( $(#[$meta:meta])* $name:ident: $n:literal, )+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Fixed<$n>);

        impl $name {
            /// All bytes zero: stands for an absent value.
            pub const ZERO: Self = $name(Fixed([0; $n]));
            /// From its bytes.
            pub const fn new(bytes: [u8; $n]) -> Self {
                $name(Fixed(bytes))
            }
            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $n] {
                &self.0.0
            }
            /// Whether all bytes are zero.
            pub fn is_zero(&self) -> bool {
                self.0.0 == [0; $n]
            }
            /// From hexadecimal digits, twice as many as it has bytes.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut out = [0; $n];
                if text.len() != 2 * $n || !text.is_ascii() {
                    return None;
                }
                for (at, byte) in out.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
                }
                Some(Self::new(out))
            }
        }

        impl Shape for $name {
            fn shape() -> String {
                concat!($n, " bytes").into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0.0, f)
            }
        }

        /// The first four bytes: enough for a log line.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(self.0.0.get(..4).unwrap_or(&self.0.0), f)
            }
        }
    )+ };
}

use super::schema::Shape;
use alloc::string::String;

ids! {
    /// A device: its Ed25519 verification key.
    DeviceId: 32,
    /// A session: the first 16 bytes of a hash of its creator and a nonce.
    SessionId: 16,
    /// A part of a session: random.
    PartId: 16,
    /// A writer of strands: a hash of a device and a nonce.
    ActorId: 32,
    /// A BLAKE3 hash.
    Hash: 32,
    /// An Ed25519 signature.
    Sig: 64,
    /// Sixteen random bytes.
    Nonce: 16,
    /// An IPv6 address, in the order of the network.
    Ip: 16,
    /// A content key's id: the first 16 bytes of a hash of it.
    KeyId: 16,
    /// A box of a mailbox: a hash of a content key, or of a device.
    BoxId: 32,
    /// An error code, big-endian.
    CodeBytes: 2,
    /// A hybrid logical clock: 48 bits of milliseconds, 16 bits of counter, big-endian.
    Hlc: 8,
}

impl Hash {
    /// As a device's key is never zero, nor is the hash of anything.
    pub fn some(self) -> Option<Hash> {
        (!self.is_zero()).then_some(self)
    }
}

impl From<crate::Code> for CodeBytes {
    fn from(code: crate::Code) -> Self {
        CodeBytes::new(code.number().to_be_bytes())
    }
}

impl From<CodeBytes> for crate::Code {
    fn from(bytes: CodeBytes) -> Self {
        crate::Code::from_number(u16::from_be_bytes(*bytes.as_bytes()))
    }
}
