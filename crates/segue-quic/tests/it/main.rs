//! Nodes over real QUIC on loopback. No test waits for time to pass: each waits for what it wants, up to [`LIMIT`].

mod account;
mod busy;
mod canary;
mod capture;
mod changed;
mod compaction;
mod delegate;
mod handoff;
mod hostile;
mod large;
mod links;
mod mailbox;
mod meanwhile;
mod meet;
#[cfg(target_os = "linux")]
mod memory;
mod order;
mod pick;
mod plan;
mod primary;
mod raw;
mod receipt;
mod relay;
mod restart;
mod sealed;
mod three;
mod together;
mod util;
mod worker;
