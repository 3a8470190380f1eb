//! Documents on yrs.
//!
//! # The encoding
//!
//! yrs has two. A flush of a single keystroke takes 23 bytes in the first and 30 in the second, whose columns pay only in
//! large updates; and the first can be read by a parser of a screen or two. So ops and snapshots are in the first.
//! `tests/it/size.rs` holds the figures.
//!
//! # The client id
//!
//! Each open document writes under a client id of its own, drawn afresh at each open. The library numbers edits by
//! client; a client that came back without its last edits (a crash before the sync, a restored backup) would give their
//! numbers to others, and devices would disagree for ever. An id has 35 bits, which take at most 5 bytes, and it stands
//! in most ops twice or three times; the library's own ids of 53 bits take 8, and a keystroke 31. Two ids out of a thousand opens that don't
//! know of each other are the same once in 70,000 times; Yjs has 32 bits. If an op of another device bears the
//! document's id, the document takes another as long as it hasn't written, and is broken otherwise: opened again, it has
//! a fresh id.

mod array;
mod core;
mod map;
mod read;
mod split;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod wire;

pub use array::{ArrayPatch, YrsArray};
pub use map::YrsMap;
pub use text::YrsText;
