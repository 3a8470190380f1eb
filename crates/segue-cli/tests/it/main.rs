//! The command `segue`, as its users run it: processes, real directories, loopback.

mod account;
mod changes;
mod handoff;
mod kill;
mod pending;
mod suite;
mod usage;
mod util;
