//! What the simulated devices must do, in virtual time.

mod account;
mod compaction;
mod determinism;
mod faults;
mod flights;
mod mailbox;
mod pairs;
mod recovery;
mod smoke;
mod three;
