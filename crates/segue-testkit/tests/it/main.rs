//! What the simulated devices must do, in virtual time.

mod absent;
mod account;
mod again;
mod append;
mod compaction;
mod delegate;
mod determinism;
mod faults;
mod flights;
mod gap;
mod loss;
mod mailbox;
mod mailed;
mod mixed;
mod order;
mod outcome;
mod pairs;
mod pick;
mod pick_by_service;
mod queries;
mod recovery;
mod rollback;
mod smoke;
mod three;
mod transcripts;
mod window;
