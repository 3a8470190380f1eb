//! The crate's integration tests: one binary, a module a chapter of the spec.

mod account;
mod data;
mod state;
mod transfer;
mod util;
