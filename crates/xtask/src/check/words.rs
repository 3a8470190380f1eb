//! What may not stand in a tracked file: paths of somebody's machine, hosts outside, work left for later.

use crate::problem::Problem;
use crate::tree::{File, Tree};

/// Checks every file.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    tree.under("").flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, text) in file.lines() {
        let what = if file.path == "Cargo.lock" { check_lock(text) } else { check_line(text) };
        problems.extend(what.map(|what| Problem::at(&file.path, line, what)));
    }
    problems
}

fn check_line(line: &str) -> Option<String> {
    if let Some(word) = line.split(|c: char| !c.is_alphanumeric()).find(|word| LATER.contains(word)) {
        return Some(format!("{word}: do it now, or leave it out"));
    }
    if let Some(path) = MACHINE.iter().find(|path| names_path(line, path)) {
        return Some(format!("a path of one machine ({path}): name it relative to the tree"));
    }
    let host = hosts(line).find(|host| !HOSTS.contains(host))?;
    Some(format!("the host {host} is not one that the project refers to: take it out, or add it to the list in xtask"))
}

/// Crates come from the one public index, whatever mirror served them.
fn check_lock(line: &str) -> Option<String> {
    let source = line.strip_prefix("source = ")?;
    (source != INDEX).then(|| format!("the source {source} is not the public index: lock without a mirror"))
}

/// Whether `path` stands in `line` as the start of a path, not inside of one.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}' | '*' | '>')))
    })
}

/// The hosts of the addresses in a line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    ["http://", "https://"].into_iter().flat_map(move |scheme| {
        line.split(scheme).skip(1).map(|rest| {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))).unwrap_or(rest.len());
            rest[..end].trim_end_matches('.')
        })
    })
}

const LATER: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

const MACHINE: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/work", "space/"),
    concat!("/Us", "ers/"),
    concat!("C:", "\\Users\\"),
];

const HOSTS: [&str; 12] = [
    "",
    "127.0.0.1",
    "localhost",
    "example.org",
    "example.com",
    "docs.rs",
    "doc.rust-lang.org",
    "www.apache.org",
    "www.rfc-editor.org",
    "datatracker.ietf.org",
    "json-schema.org",
    "www.w3.org",
];

const INDEX: &str = concat!("\"registry+http", "s://github.com/rust-lang/crates.io-index\"");

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(line: &str) -> bool {
        check_line(line).is_some()
    }

    #[test]
    fn work_left_for_later_is_found() {
        for word in LATER {
            assert!(bad(&format!("// {word}: later")));
        }
        assert!(!bad("// mastodons and todo lists"));
    }

    #[test]
    fn machine_paths_are_found() {
        for path in MACHINE {
            assert!(bad(&format!("see {path}x")));
            assert!(bad(&format!("\"{path}x\"")));
        }
        for good in [concat!("frame", "/wo", "rk/x"), concat!("$HOME", "/wo", "rk/"), "/tmp/x", "crates/x"] {
            assert!(!bad(good), "{good}");
        }
    }

    #[test]
    fn foreign_hosts_are_found() {
        assert!(bad(concat!("http", "s://index.some-registry.net/x")));
        assert!(bad(concat!("see http", "s://docs.rs/a and http", "s://mirror.net.")));
        assert!(!bad(concat!("see http", "s://docs.rs/quinn.")));
        let tree = Tree::of(&[("Cargo.lock", concat!("source = \"sparse+http", "s://mirror.net/\"\n"))]);
        assert_eq!(check(&tree).len(), 1);
        assert_eq!(check(&Tree::of(&[("Cargo.lock", &format!("source = {INDEX}\n"))])), []);
    }
}
