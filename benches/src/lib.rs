//! What the benches share: two endpoints in memory, with everything counted that may be gated on.
//!
//! - `cargo bench -p segue-benches --bench codec`, `chain`, `handoff`: criterion, for regressions of this code.
//! - `cargo bench -p segue-benches --bench latency`: over loopback, interleaved with the floors; wall times, read and
//!   never gated.
//! - `cargo test -p segue-benches`: exact counts against `counts.txt`.
//! - `benches/instructions.sh`: instructions of 1,000 handoffs against `instructions.txt`.

#![forbid(unsafe_code)]

mod kernel;

pub use kernel::{Counts, Kernel, Signatures, Way, work};
