//! The command `segue`, as its users run it: processes, real directories, loopback.

mod account;
mod by_service;
mod certify;
mod changes;
mod delegate;
mod dry_run;
mod edit;
mod handoff;
mod kill;
mod linking;
mod login;
mod mailbox;
#[cfg(target_os = "linux")]
#[path = "../../../segue-quic/tests/it/memory.rs"]
mod memory;
mod menu;
mod pending;
mod pick;
mod progress;
mod pty;
mod receipt;
mod serve;
mod suite;
mod together;
mod usage;
mod util;
mod wake;
