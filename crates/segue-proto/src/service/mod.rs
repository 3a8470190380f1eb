//! Service: what devices put into a mailbox, and how it is kept from whoever hosts it; and sessions in a service's custody
//! (spec chapter `service`).
//!
//! The bodies are in `wire/mailbox.rs`, what is put and taken in `endpoint/mailbox/`, and what a host keeps in the crate
//! `segue-service`.

pub mod custody;
pub mod seal;
