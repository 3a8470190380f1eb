//! The tables of the overview that lead from a document's points to clauses, code and what shows them: what they name is
//! there. Clauses are checked where all citations are.

use crate::problem::Problem;
use crate::tree::Tree;

/// Checks the paths and cases that the tables name.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let Some(page) = tree.get(PAGE) else { return Vec::new() };
    let mut problems = Vec::new();
    for (at, line) in page.lines().filter(|(_, line)| line.starts_with('|')) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, _, code, shown] = cells.as_slice() else { continue };
        let mut missing = |name: &str, what: &str| problems.push(Problem::at(PAGE, at, format!("no {what} {name}")));
        for name in names(code).filter(|name| name.contains('/') && !is_path(tree, name)) {
            missing(name, "file or folder");
        }
        for name in names(shown).filter(|name| name.contains('/') || name.ends_with(".rs")) {
            match CHAPTERS.iter().any(|chapter| name.strip_prefix(chapter).is_some_and(|rest| rest.starts_with('/'))) {
                true if !is_case(tree, name) => missing(name, "case"),
                false if !is_path(tree, name) => missing(name, "file or folder"),
                _ => {}
            }
        }
    }
    problems
}

/// What a cell has between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether there is such a file or folder; the folders that it is in may be left out.
fn is_path(tree: &Tree, name: &str) -> bool {
    let (whole, within) = (format!("/{name}"), format!("/{name}/"));
    tree.under("").map(|file| format!("/{}", file.path)).any(|path| path.ends_with(&whole) || path.contains(&within))
}

/// Whether a case has this name, or one that the pattern matches.
fn is_case(tree: &Tree, name: &str) -> bool {
    let begins = name.trim_end_matches('*');
    let quoted = format!("\"{begins}{}", if begins == name { "\"" } else { "" });
    let cases = || tree.under("conformance/src/");
    cases().any(|file| file.text.contains(&quoted))
}

const PAGE: &str = "spec/01-overview.md";

/// What the names of cases begin with.
const CHAPTERS: [&str; 11] =
    ["wire", "link", "account", "data", "sync", "handoff", "transfer", "service", "generations", "pairs", "transport"];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(row: &str) -> usize {
        let page = format!("| its point | clauses | code | shown by |\n| --- | --- | --- | --- |\n{row}\n");
        let files = [
            (PAGE, page.as_str()),
            ("crates/segue-proto/src/sync/feed.rs", ""),
            ("crates/segue-quic/tests/it/three.rs", ""),
            ("conformance/src/cases/sync/since.rs", "works(\"sync/since/everything\", …)"),
        ];
        check(&Tree::of(&files)).len()
    }

    #[test]
    fn what_is_there_is_found() {
        assert_eq!(
            found("| a | – | `segue-proto/src/sync`, `sync/feed.rs` (`Feed`) | cases `sync/*`; `three.rs` |"),
            0
        );
        assert_eq!(found("| a | – | `Node` | case `sync/since/everything`; `segue-quic/tests/it/three.rs` |"), 0);
    }

    #[test]
    fn what_is_not_there_is_reported() {
        for row in [
            "| a | – | `segue-proto/src/merge` | – |",
            "| a | – | – | `segue-quic/tests/it/four.rs` |",
            "| a | – | – | case `sync/since/nothing` |",
            "| a | – | – | cases `sync/own/*` |",
            "| a | – | – | `four.rs` |",
        ] {
            assert_eq!(found(row), 1, "{row}");
        }
    }
}
