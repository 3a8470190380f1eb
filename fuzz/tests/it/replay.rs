//! Runs every target over its corpus, the suite's vectors and mutations of both. This is what a stable toolchain can
//! do; `fuzz/smoke.sh` lets libFuzzer search where it can.
//!
//! Mutations come from one seed, so a failure repeats; its input is printed as hex.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use segue_fuzz::{TARGETS, Target};
use segue_proto::wire::Message;
use segue_testkit::Rng;

macro_rules! replays {
    ($($name:ident)+) => {
        $( #[test] fn $name() { replay(stringify!($name)); } )+

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

replays! { frames signed framer data sync transfer cut path receipt chain link endpoint restore roster service custody login jwt world }

fn replay(name: &str) {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else { panic!("no target {name}") };
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "no corpus: cargo run -p segue-fuzz --example seeds");
    let vectors = vectors(name);
    corpus.iter().chain(&vectors).for_each(|(origin, input)| run(target, origin, input));
    let mut mutated = 0u32;
    for (at, (origin, seed)) in corpus.iter().enumerate() {
        let mut rng = Rng::new(at as u64, name);
        for round in 0..target.mutations {
            let other = rng.pick(&corpus).map_or(&[][..], |(_, other)| other);
            let input = mutate(seed, other, &mut rng);
            run(target, &format!("{origin}, mutation {round}"), &input);
            mutated += 1;
        }
    }
    let (seeds, vectors) = (corpus.len(), vectors.len());
    println!("stable replay of {name}: {seeds} seeds, {vectors} vectors, {mutated} mutations");
}

fn run(target: &Target, origin: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        panic!("{}: {origin}: {}", target.name, hex::encode(input));
    }
}

pub(crate) fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let read = |path: PathBuf| Some((path.display().to_string(), std::fs::read(&path).ok()?));
    files.into_iter().filter_map(read).collect()
}

/// Every hexadecimal input of the suite's vectors, under every selector of a target that decodes one object.
fn vectors(name: &str) -> Vec<(String, Vec<u8>)> {
    let prefixes: Vec<Vec<u8>> = match name {
        "frames" => (0..=Message::TABLE.len()).map(|row| vec![row as u8]).collect(),
        "signed" => (0..5).map(|kind| [vec![kind], vec![1; 96]].concat()).collect(),
        "data" => (0..7).map(|kind| if kind == 0 { vec![0; 17] } else { vec![kind] }).collect(),
        "sync" => vec![vec![0]],
        "service" => vec![vec![0]],
        "framer" => vec![vec![1, 2]],
        "link" => vec![vec![0, 0x18, 255], vec![2, 0x18, 255]],
        "path" => vec![vec![]],
        _ => return Vec::new(),
    };
    let mut hexes = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/vectors");
    collect(&root, &mut hexes);
    let with = |(origin, bytes): &(String, Vec<u8>)| -> Vec<(String, Vec<u8>)> {
        prefixes.iter().map(|prefix| (origin.clone(), [prefix.as_slice(), bytes].concat())).collect()
    };
    hexes.iter().flat_map(with).collect()
}

fn collect(folder: &Path, out: &mut Vec<(String, Vec<u8>)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|it| it.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "json")
            && let Some(json) = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            dig(&json, &path.display().to_string(), out);
        }
    }
}

fn dig(value: &serde_json::Value, origin: &str, out: &mut Vec<(String, Vec<u8>)>) {
    match value {
        serde_json::Value::String(text) if text.len() >= 2 => {
            out.extend(hex::decode(text).ok().map(|bytes| (origin.to_owned(), bytes)));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| dig(item, origin, out)),
        serde_json::Value::Object(fields) => fields.values().for_each(|item| dig(item, origin, out)),
        _ => {}
    }
}

/// One to four changes of the kinds that libFuzzer makes.
pub(crate) fn mutate(seed: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = seed.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(out.len() as u64 + 1) as usize;
        let end = (at + 1 + rng.below(8) as usize).min(out.len());
        match rng.below(8) {
            0 | 1 if at < out.len() => out[at] ^= 1 << rng.below(8),
            2 if at < out.len() => out[at] = rng.bits() as u8,
            3 => out.insert(at, rng.bits() as u8),
            4 if at < out.len() => drop(out.drain(at..end)),
            5 if at < out.len() => out.extend_from_within(at..end),
            6 => out.truncate(at.max(1)),
            _ => {
                let from = rng.below(other.len() as u64 + 1) as usize;
                let piece = &other[from..(from + 24).min(other.len())];
                out.splice(at..at, piece.iter().copied());
            }
        }
    }
    out
}
