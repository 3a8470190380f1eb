//! The Segue conformance suite.
//!
//! A subject is attached by its adapter ([`attach`]), which speaks the line protocol of `ADAPTER.md`. Cases ([`cases`])
//! examine one device of the subject on a bench ([`lab`]) with scripted peers ([`peer`]); those of the transport do so on
//! real sockets ([`loopback`]).

#![forbid(unsafe_code)]

pub mod attach;
pub mod cases;
pub mod certificate;
pub mod certify;
pub mod choices;
pub mod declared;
pub mod exemptions;
pub mod lab;
pub mod loopback;
pub mod mutants;
pub mod pairs;
pub mod peer;
pub mod plan;
pub mod properties;
pub mod protocol;
pub mod report;
pub mod requirements;
pub mod run;
pub mod smoke;
pub mod spec;
pub mod terminal;
pub mod verdict;

pub use attach::{AdapterOptions, adapter, list_mutants};
pub use certificate::{VerifyOptions, verify};
pub use certify::{CertifyOptions, Outcome, certify, certify_running, list_cases, list_sockets};
pub use properties::replay::replay;
pub use smoke::smoke;
