//! The machine-readable description of what is on the wire, from the same source as the code.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A type that has a place on the wire and can say how it looks there.
pub trait Shape {
    /// The encoding in the words of the wire chapter, such as `list ≤ 8 of Ext`.
    fn shape() -> String;
}

macro_rules! shapes {
    ($($t:ty => $s:literal,)+) => { $( impl Shape for $t { fn shape() -> String { $s.into() } } )+ };
}

shapes! {
    u8 => "u8",
    bool => "bool",
    u16 => "varint < 2^16",
    u32 => "varint < 2^32",
    u64 => "varint < 2^64",
}

/// A field of a wire structure.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its encoding.
    pub shape: String,
    /// What it holds.
    pub doc: String,
}

/// A wire structure: its fields in order.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub doc: String,
    /// Its fields, in the order of the wire.
    pub fields: Vec<Field>,
}

/// A wire structure that describes itself.
pub trait Describe {
    /// The description.
    fn describe() -> Struct;
}

pub(crate) fn doc(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn signed_shape(name: &str) -> String {
    format!("Signed {name}")
}

/// Declares wire structures once: the Rust type, its codec and its description.
macro_rules! wire {
    ($(
        $(#[doc = $sdoc:literal])+
        pub struct $name:ident {
            $( $(#[doc = $fdoc:literal])+ $field:ident: $ty:ty, )*
        }
    )+) => { $(
        $(#[doc = $sdoc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name { $( $(#[doc = $fdoc])+ pub $field: $ty, )* }

        impl $crate::wire::schema::Describe for $name {
            fn describe() -> $crate::wire::schema::Struct {
                $crate::wire::schema::Struct {
                    name: stringify!($name),
                    doc: $crate::wire::schema::doc(&[$($sdoc),+]),
                    fields: alloc::vec![ $( $crate::wire::schema::Field {
                        name: stringify!($field),
                        shape: <$ty as $crate::wire::schema::Shape>::shape(),
                        doc: $crate::wire::schema::doc(&[$($fdoc),+]),
                    }, )* ],
                }
            }
        }

        impl $crate::wire::schema::Shape for $name {
            fn shape() -> alloc::string::String {
                stringify!($name).into()
            }
        }
    )+ };
}
pub(crate) use wire;
