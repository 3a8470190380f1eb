//! What a certificate says, from a report.

use std::path::Path;

use segue_proto::Generation;

use super::{
    Adapter, Body, CERTIFICATE, Evidence, Named, Requirements, Selection, Spec, Subject, Suite, TRANSCRIPTS, Told, hash,
};
use crate::attach::{place, split};
use crate::exemptions;
use crate::protocol::VERSION;
use crate::report::{File, Report};
use crate::run;
use crate::spec;

/// The body of a certificate.
pub(super) fn body(report: &Report, evidence: &Evidence, files: &[File]) -> Body {
    let asked = &report.asked;
    let names = |generations: &[Generation]| generations.iter().map(|generation| generation.name().into()).collect();
    let coverage = report.coverage();
    Body {
        version: 1,
        verdict: report.verdict().into(),
        subject: Subject {
            name: report.hello.as_ref().map(|hello| hello.subject.clone()).unwrap_or_default(),
            hash: hash(evidence.hello.as_bytes()),
        },
        generations: names(&report.generations()),
        tier: "A".into(),
        suite: suite(),
        spec: spec(),
        adapter: asked.adapter.as_deref().map(adapter),
        peer: asked.peer.as_deref().map(adapter),
        seed: asked.seed,
        selection: Selection {
            whole: report.asked_whole(),
            generations: names(&asked.generations),
            case: asked.case.clone(),
            requirements: asked.requirements.clone(),
            sequences: asked.sequences,
        },
        exemptions: report.exemptions.iter().map(exemptions::to_json).collect(),
        requirements: Requirements {
            tested: coverage.tested.len(),
            excluded: coverage.excluded.len(),
            untested: coverage.untested.len(),
        },
        pieces: evidence.pieces.clone(),
        told: report.on_sockets().map(told).collect(),
        transcripts: Named { name: TRANSCRIPTS.into(), hash: hash(&evidence.bytes) },
        report: files.iter().map(|file| Named { name: file.name.into(), hash: hash(&file.bytes) }).collect(),
    }
}

fn told(result: &run::Result) -> Told {
    let (generation, verdict) = (result.generation.name().into(), result.verdict.name().into());
    Told { case: result.case.into(), generation, verdict }
}

/// This suite.
pub(super) fn suite() -> Suite {
    Suite { version: env!("CARGO_PKG_VERSION").into(), protocol: VERSION, hash: env!("SEGUE_SUITE_HASH").into() }
}

/// The specification that it was built with.
pub(super) fn spec() -> Spec {
    let requirements = spec::requirements().len();
    Spec { protocol: "segue/1".into(), requirements, hash: spec::hash().to_hex().to_string() }
}

/// An adapter, with the hashes of the files that its command names, and of those in the folders that it names.
fn adapter(command: &str) -> Adapter {
    let words = split(command);
    let mut files = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let read = place(word, at == 0).and_then(|path| std::fs::read(path).ok());
        files.extend(read.map(|bytes| Named { name: word.clone(), hash: hash(&bytes) }));
        if at > 0 && Path::new(word).is_dir() {
            files.extend(within(Path::new(word)));
        }
    }
    Adapter { command: command.into(), files }
}

/// The files of a folder, at any depth, by name. Left out is what no program is made of, and what a run may change: names
/// that begin with a full stop, caches of compiled sources, and folders with a certificate. A link to a file counts as
/// that file; one to a folder isn't followed. If there are more files than belong to a program, none is named.
fn within(folder: &Path) -> Vec<Named> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        if folder.join(CERTIFICATE).exists() {
            continue;
        }
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if name.as_encoded_bytes().starts_with(b".") || name == "__pycache__" {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                _ if path.is_file() => files.push(path),
                _ => {}
            }
        }
        if files.len() + folders.len() > MAX_FILES {
            return Vec::new();
        }
    }
    files.sort();
    files.iter().filter_map(|path| Some(Named { name: path.display().to_string(), hash: of_file(path)? })).collect()
}

/// The hash of a file, however long it is.
fn of_file(path: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path).ok()?).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

/// Files of a folder that an adapter's command names. From: guess; a program of one's own has fewer.
const MAX_FILES: usize = 1_000;
