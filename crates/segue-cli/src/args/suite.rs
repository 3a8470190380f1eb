//! Certifying an implementation, and being one that is certified.

use std::path::PathBuf;

use clap::ValueEnum;
use segue_quic::DeviceId;

use super::{address, device};

/// A generation of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generation {
    #[value(name = "1.4")]
    V1_4,
    #[value(name = "1.7")]
    V1_7,
    #[value(name = "2")]
    V2,
    #[value(name = "7")]
    V7,
    All,
}

impl Generation {
    /// The generation; none for all of them.
    pub(crate) fn one(self) -> Option<segue_quic::Generation> {
        Some(match self {
            Generation::V1_4 => segue_quic::Generation::V1_4,
            Generation::V1_7 => segue_quic::Generation::V1_7,
            Generation::V2 => segue_quic::Generation::V2,
            Generation::V7 => segue_quic::Generation::V7,
            Generation::All => return None,
        })
    }
}

/// How a subject is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    A,
    B,
    All,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Certify {
    /// The command that starts the adapter of the subject [default: this program's own `adapter`]
    #[arg(long, value_name = "CMD")]
    pub(crate) adapter: Option<String>,
    /// The command that starts the adapter of the other device in pairs [default: the subject's]
    #[arg(long, value_name = "CMD")]
    pub(crate) peer: Option<String>,
    /// What to certify
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) generation: Generation,
    /// How: a, in which the suite owns clock, network and disk; b, on real sockets [default: a, and b if the adapter declares no other]
    #[arg(long, value_enum, value_name = "TIER")]
    pub(crate) tier: Option<Tier>,
    /// Certify a device that runs already at this address, as far as it shows from outside: no adapter is used
    #[arg(long, value_name = "ADDR", value_parser = address, requires = "device", conflicts_with_all = ["adapter", "peer", "tier"])]
    pub(crate) connect: Option<String>,
    /// The id of the device at --connect
    #[arg(long, value_name = "ID", value_parser = device, requires = "connect")]
    pub(crate) device: Option<DeviceId>,
    /// The device at --connect hosts a mailbox
    #[arg(long, requires = "connect")]
    pub(crate) service: bool,
    /// Run only the cases whose names match, as in 'handoff/grant/*'; commas part several
    #[arg(long, value_name = "GLOB")]
    pub(crate) case: Option<String>,
    /// Print the names of the cases, one a line, and run none
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the report into this directory: report.html, report.json, junit.xml, badge.svg, and certificate.json with
    /// its transcripts.gz
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Sign the certificate with the Ed25519 key in this file: PKCS #8 in PEM, as `openssl genpkey -algorithm ed25519`
    /// makes one [default: a key that follows from the content and proves nothing about who signed]
    #[arg(long, value_name = "FILE", requires = "report")]
    pub(crate) sign_key: Option<PathBuf>,
    /// What all randomness comes from: the same seed gives the same report
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many random sequences to try for each property and generation [default: 25]
    #[arg(long, value_name = "N")]
    pub(crate) sequences: Option<u32>,
    /// Play the sequence of a token again, as a property that failed printed it, and show all that happens
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["case", "list", "report", "sequences"])]
    pub(crate) replay: Option<String>,
    /// Walk the first steps with an adapter, and tell which side the first mistake is on
    #[arg(long, conflicts_with_all = ["case", "list", "report", "replay"])]
    pub(crate) smoke: bool,
    /// Wait for an adapter that is started by hand, as under a debugger: tcp:127.0.0.1:PORT, unix:PATH, or
    /// pipes:REQUESTS,ANSWERS for two named pipes. It may take its time
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["adapter", "peer"])]
    pub(crate) attach: Option<String>,
    /// Failures that are known: a file of yours that names cases, how they fail, and why. GUIDE.md has its form
    #[arg(long, value_name = "FILE")]
    pub(crate) exemptions: Option<PathBuf>,
    /// Ask for what this version of the frozen requirements asks for, and nothing newer: 1, or 1.4-1 for one generation
    #[arg(long, value_name = "VERSION")]
    pub(crate) requirements: Option<String>,
    /// Name the slowest cases, by the wall clock
    #[arg(long)]
    pub(crate) time: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The certificate
    #[arg(value_name = "CERT")]
    pub(crate) certificate: PathBuf,
    /// Who must have signed it: a public key in hexadecimal digits, or a file with one in PEM
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Adapter {
    /// Declare this generation; may be repeated
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) generation: Vec<Generation>,
    /// Run real nodes over QUIC, and nothing else: examined in tier B alone
    #[arg(long)]
    pub(crate) quic: bool,
    /// Break a clause on purpose, for checks of the suite itself
    #[arg(long, value_name = "NAME")]
    pub(crate) mutant: Option<String>,
    /// Print the names of the mutants, one a line, and end
    #[arg(long)]
    pub(crate) list_mutants: bool,
}
