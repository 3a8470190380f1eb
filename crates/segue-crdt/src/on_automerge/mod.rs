//! Documents on Automerge.
//!
//! Each flush is one change, uncompressed: about 137 bytes for a keystroke, of which 32 name the change before it and 16
//! the actor. An open document has an actor of its own, of 16 random bytes, as with yrs. A text has one object for its
//! characters, made by a change that is the same, bit for bit, on every device, and so is never sent.

mod core;
mod map;
mod text;

pub use map::AutomergeMap;
pub use text::AutomergeText;
