//! The certificate: what was found, bound to the transcripts from which it follows, and signed.
//!
//! `certificate.json` holds a body and an Ed25519 signature over `segue certificate 1`, a line feed, and the body as
//! JSON without white space. The body names, by BLAKE3 hashes, the suite, the specification, the adapter's files, what
//! the subject said of itself, the files of the report, and the transcript of every piece of the run.

mod facts;
mod key;
#[cfg(test)]
mod tests;
mod transcripts;
mod verify;

use serde::{Deserialize, Serialize};

use crate::attach::Exchange;
use crate::plan::Piece;
use crate::report::{File, Report};

pub use key::Key;
pub use verify::{VerifyOptions, verify};

/// The file of the transcripts, beside the certificate.
pub const TRANSCRIPTS: &str = "transcripts.gz";
/// The file of the certificate.
pub const CERTIFICATE: &str = "certificate.json";

/// A certificate as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// What it says.
    pub certificate: Body,
    /// Who says it.
    pub signature: Signature,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// The version of this form.
    pub version: u32,
    /// `certified`, `passed in part`, or `not certified`.
    pub verdict: String,
    /// What was certified.
    pub subject: Subject,
    /// The generations that cases were run for.
    pub generations: Vec<String>,
    /// Where bytes, clock and randomness came from: `A` is the suite.
    pub tier: String,
    /// By what it was certified.
    pub suite: Suite,
    /// Against what.
    pub spec: Spec,
    /// How it was attached; none if it is the suite's own reference.
    pub adapter: Option<Adapter>,
    /// How the other device of pairs was attached, if it wasn't the subject.
    pub peer: Option<Adapter>,
    /// What all randomness came from.
    pub seed: u64,
    /// What was asked for.
    pub selection: Selection,
    /// The failures that the vendor expected, each with its reason.
    pub exemptions: Vec<serde_json::Value>,
    /// How many requirements were tested, excluded and left untested.
    pub requirements: Requirements,
    /// Every piece of the run, in order: first what the subject said of itself, and its peer.
    pub pieces: Vec<Bound>,
    /// What was found on real sockets beside, in tier B. Nothing derives it again: the signer tells it.
    pub told: Vec<Told>,
    /// The file of the transcripts.
    pub transcripts: Named,
    /// The files of the report.
    pub report: Vec<Named>,
}

/// What was certified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its name and version, as it says them.
    pub name: String,
    /// The hash of its answer to `hello`.
    pub hash: String,
}

/// The suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its version.
    pub version: String,
    /// The version of the adapter protocol.
    pub protocol: u64,
    /// The hash of the sources that its verdicts follow from.
    pub hash: String,
}

/// The specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The protocol.
    pub protocol: String,
    /// How many requirements it states.
    pub requirements: usize,
    /// The hash of their ids and words.
    pub hash: String,
}

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adapter {
    /// Its command.
    pub command: String,
    /// The words of the command that name files, and the hashes of these.
    pub files: Vec<Named>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Whether it was everything that the suite has for the subject's generations.
    pub whole: bool,
    /// The generations; none means all.
    pub generations: Vec<String>,
    /// The pattern of cases.
    pub case: Option<String>,
    /// The version of the frozen requirements.
    pub requirements: Option<String>,
    /// How many sequences of each property were tried for a generation.
    pub sequences: u32,
}

/// How the requirements stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// A case for it came to a verdict.
    pub tested: usize,
    /// No case observes it, for a reason that is stated.
    pub excluded: usize,
    /// Neither.
    pub untested: usize,
}

/// A piece of the run, and the transcript from which its verdict follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// What it came to.
    pub verdict: String,
    /// Where its transcript begins in the file of transcripts.
    pub at: u64,
    /// How many bytes it takes there.
    pub length: u64,
    /// How many bytes it has once it is decompressed.
    pub text: u64,
    /// The hash of its bytes in the file.
    pub hash: String,
}

/// A verdict that the signer tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// The case.
    pub case: String,
    /// The generation.
    pub generation: String,
    /// What it came to.
    pub verdict: String,
}

/// A file, and its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The BLAKE3 hash of what it holds.
    pub hash: String,
}

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// `Ed25519`.
    pub algorithm: String,
    /// The public key.
    pub key: String,
    /// What the key proves.
    pub proves: String,
    /// The signature.
    pub signature: String,
}

/// What was said in a piece of a run, compressed.
pub struct Member {
    bytes: Vec<u8>,
    text: u64,
}

impl Member {
    /// Compresses what was said in a piece, a list for each host.
    pub fn new(name: &str, exchanges: &[Vec<Exchange>]) -> Member {
        let (bytes, text) = transcripts::pack(name, exchanges);
        Member { bytes, text }
    }
}

/// The transcripts of a run, as it goes on.
pub struct Evidence {
    bytes: Vec<u8>,
    pieces: Vec<Bound>,
    hello: String,
}

impl Evidence {
    /// Begins with what the subject said of itself, and its peer if there is one.
    pub fn new(hosts: &[Vec<Exchange>]) -> Evidence {
        let answer = hosts
            .first()
            .and_then(|hello| hello.first())
            .map(|exchange| exchange.answer.clone().unwrap_or_else(|why| why));
        let mut evidence = Evidence { bytes: Vec::new(), pieces: Vec::new(), hello: answer.unwrap_or_default() };
        evidence.bind("hello", "heard", Member::new("hello", hosts));
        evidence
    }

    /// Adds a piece of the run.
    pub fn add(&mut self, name: &str, piece: &Piece, said: Member) {
        self.bind(name, piece.verdict(), said);
    }

    fn bind(&mut self, name: &str, verdict: &str, said: Member) {
        self.pieces.push(Bound {
            name: name.into(),
            verdict: verdict.into(),
            at: self.bytes.len() as u64,
            length: said.bytes.len() as u64,
            text: said.text,
            hash: hash(&said.bytes),
        });
        self.bytes.extend(said.bytes);
    }
}

/// Issues a certificate for a report: the certificate's file, and that of the transcripts.
pub fn issue(report: &Report, evidence: Evidence, files: &[File], key: Option<Key>) -> Vec<File> {
    let body = facts::body(report, &evidence, files);
    let certificate = sign(body, key);
    vec![
        File { name: TRANSCRIPTS, bytes: evidence.bytes },
        File { name: CERTIFICATE, bytes: certificate.text().into_bytes() },
    ]
}

fn sign(body: Body, key: Option<Key>) -> Certificate {
    let message = body.message();
    let key = key.unwrap_or_else(|| Key::derived(&message));
    Certificate { certificate: body, signature: key.sign(&message) }
}

impl Certificate {
    /// The file: pretty, and the only way to write it.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl Body {
    /// The bytes that are signed.
    pub fn message(&self) -> Vec<u8> {
        let mut message = b"segue certificate 1\n".to_vec();
        message.extend(serde_json::to_vec(self).unwrap_or_default());
        message
    }
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
