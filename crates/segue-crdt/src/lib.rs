//! Mergeable documents, for the parts of a session whose kind is `opaque`.
//!
//! The core carries the ops of such a part as bytes: each once, and after those that its writer had read; in an order
//! that may differ between devices. A [`Document`] makes a text, a map or an array of them. What it shows is a function
//! of the set of ops, not of their order, and so is which ops it refuses.
//!
//! | type | library | feature |
//! |---|---|---|
//! | [`YrsText`], [`YrsMap`], [`YrsArray`] | yrs, the Rust library of Yjs | `yrs`, on |
//! | `AutomergeText`, `AutomergeMap` | Automerge | `automerge`, off: it takes long to compile |
//!
//! # What a peer's bytes can do
//!
//! Those for yrs are parsed here first, by a parser that allocates nothing on their word and knows only what the document's own
//! kind writes; the rest is refused, and the document is unchanged. What passes goes to the library inside
//! `catch_unwind`: a panic there costs the document, which answers [`DocumentError::Broken`] from then on; its ops stay
//! where the core keeps them. The library's state is then left alone, not even dropped, for nobody knows what it is.
//! Two things `catch_unwind` can't catch, and the parser stands against: a stack that overflows, and memory that runs out.
//! With `panic = "abort"` nothing of this holds. The panic's message is kept in the error and not printed; an
//! application that sets a panic hook of its own later takes that over.
//!
//! Automerge's changes are only looked at from outside before the library reads them: a panic is caught, but a change of
//! a few bytes may claim to hold very many ops, and cost memory and time. So that feature is for members who trust each
//! other's devices.
//!
//! A member can spoil the shared content: it may delete everything, and it may write with another writer's client id, so
//! that devices which received the two in different orders show different text. It can't touch the roots, which name
//! ops and not content.
//!
//! # Limits
//!
//! They stand in [`limits`].
#![forbid(unsafe_code)]

mod document;
#[cfg_attr(not(any(feature = "yrs", feature = "automerge")), allow(dead_code))]
mod guard;
pub mod limits;
#[cfg(feature = "automerge")]
mod on_automerge;
#[cfg(feature = "yrs")]
mod on_yrs;
mod rope;
mod value;

pub use document::{Document, DocumentError, Refused, Tally};
#[cfg(feature = "automerge")]
pub use on_automerge::{AutomergeMap, AutomergeText};
#[cfg(feature = "yrs")]
pub use on_yrs::{ArrayPatch, YrsArray, YrsMap, YrsText};
pub use rope::{Patch, Rope};
pub use value::{MapChange, Value};
