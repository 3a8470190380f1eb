//! The crate's integration tests: one binary, a module a chapter of the spec.

mod account;
mod chain;
mod data;
mod limits;
mod links;
mod merge;
mod pick;
mod state;
mod stream;
mod sync;
mod transfer;
mod util;
