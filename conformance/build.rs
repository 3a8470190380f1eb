//! Hashes the sources that a verdict follows from, so that a certificate can name the suite that gave it.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let mut hasher = blake3::Hasher::new();
    for folder in ["src", "../crates/segue-proto/src", "../crates/segue-testkit/src"] {
        println!("cargo::rerun-if-changed={folder}");
        for path in sources(Path::new(folder)) {
            let bytes = fs::read(&path).unwrap_or_default();
            let name = path.to_string_lossy().into_owned();
            hasher.update(name.as_bytes()).update(b"\n");
            hasher.update(&(bytes.len() as u64).to_be_bytes()).update(&bytes);
        }
    }
    println!("cargo::rerun-if-changed=kill-matrix.json");
    hasher.update(&fs::read("kill-matrix.json").unwrap_or_default());
    println!("cargo::rustc-env=SEGUE_SUITE_HASH={}", hasher.finalize().to_hex());
}

/// All files in a folder and below it, in the order of their names.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
