//! Where clauses are cited.

use super::ids::ids;
use crate::tree::{File, Tree};

/// A clause cited somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Citation {
    /// The id, as written.
    pub(crate) id: String,
    /// The file.
    pub(crate) file: String,
    /// The line.
    pub(crate) line: usize,
    /// What cites it.
    pub(crate) by: By,
}

/// What cites a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Code of a crate.
    Code,
    /// A test of a crate.
    Test,
    /// A case of the suite.
    Case,
    /// The table of clauses in the core, which cites each by listing it.
    Table,
    /// Anything else: it must cite what exists, and proves nothing.
    Other,
}

/// Every citation in the tree.
pub(crate) fn all(tree: &Tree, constants: &[&str]) -> Vec<Citation> {
    let mut citations = Vec::new();
    for file in FOLDERS.iter().flat_map(|folder| tree.under(folder)).filter(|file| is_scanned(file)) {
        let tests_from = tests_from(tree, file);
        for (line, text) in file.lines() {
            let by = if line >= tests_from { By::Test } else { place(&file.path) };
            let cited = ids(text, constants).into_iter();
            citations.extend(cited.map(|id| Citation { id, file: file.path.clone(), line, by }));
        }
    }
    citations
}

/// The core's table of clauses.
pub(crate) const CLAUSE_TABLE: &str = "crates/segue-proto/src/clause.rs";

/// The list of the clauses that nothing can cite.
pub(crate) const EXCLUSIONS: &str = "spec/exclusions.md";

const FOLDERS: [&str; 5] = ["crates/", "conformance/", "fuzz/", "benches/", "spec/"];

/// The exclusions have checks of their own, and this crate's tests hold bad input on purpose.
fn is_scanned(file: &File) -> bool {
    file.path != EXCLUSIONS && !file.path.starts_with("crates/xtask/src/check/")
}

fn place(path: &str) -> By {
    if path == CLAUSE_TABLE {
        return By::Table;
    }
    if path.starts_with("conformance/src/cases") {
        return By::Case;
    }
    match path.split('/').collect::<Vec<_>>().as_slice() {
        // The checker proves nothing about the protocol.
        ["crates", "xtask", ..] => By::Other,
        ["crates", _, "tests", ..] => By::Test,
        ["crates", _, "src", ..] => By::Code,
        _ => By::Other,
    }
}

/// The line from which a Rust file is tests: 1 if a module of tests is all that it is.
fn tests_from(tree: &Tree, file: &File) -> usize {
    if !file.path.starts_with("crates/") || file.path.starts_with("crates/xtask/") || !file.path.ends_with(".rs") {
        return usize::MAX;
    }
    if is_test_module(tree, &file.path) {
        return 1;
    }
    let mut after_attribute = false;
    for (line, text) in file.lines() {
        let text = text.trim();
        if after_attribute && text.starts_with("mod ") && text.ends_with('{') {
            return line;
        }
        after_attribute = text == "#[cfg(test)]" || (after_attribute && text.starts_with("#["));
    }
    usize::MAX
}

/// Whether the file, or a folder above it, is a module that its parent declares under `#[cfg(test)]`.
fn is_test_module(tree: &Tree, path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    if folder.ends_with("/src") && matches!(name, "lib.rs" | "main.rs") {
        return false;
    }
    let (module, parents) = match name {
        "mod.rs" => match folder.rsplit_once('/') {
            Some((outer, module)) => (module, outer),
            None => return false,
        },
        _ => (name.trim_end_matches(".rs"), folder),
    };
    let candidates = ["mod.rs", "lib.rs", "main.rs"].map(|file| format!("{parents}/{file}"));
    let Some(parent) = candidates.iter().chain([&format!("{parents}.rs")]).find_map(|path| tree.get(path)) else {
        return false;
    };
    // The root of a test binary is nobody's module.
    if parent.path == path {
        return false;
    }
    let declared = format!("mod {module};");
    let mut lines = parent.text.lines().map(str::trim).zip(parent.text.lines().skip(1).map(str::trim));
    lines.any(|(above, line)| above == "#[cfg(test)]" && line.ends_with(&declared))
        || is_test_module(tree, &parent.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize, By)> {
        let citations = all(&Tree::of(files), &["HO-A-1"]);
        citations.into_iter().map(|c| (c.id, c.line, c.by)).collect()
    }

    #[test]
    fn the_place_tells_what_cites() {
        let text = "// HO-A-1\n";
        for (path, by) in [
            ("crates/segue-proto/src/x.rs", By::Code),
            ("crates/segue-proto/tests/it/x.rs", By::Test),
            ("crates/segue-proto/tests/it/main.rs", By::Test),
            ("conformance/src/cases/x.rs", By::Case),
            ("conformance/src/x.rs", By::Other),
            ("spec/01-wire.md", By::Other),
            ("fuzz/src/lib.rs", By::Other),
            (CLAUSE_TABLE, By::Table),
        ] {
            assert_eq!(found(&[(path, text)]), [("HO-A-1".into(), 1, by)], "{path}");
        }
        assert_eq!(found(&[(EXCLUSIONS, text), ("crates/xtask/src/check/x.rs", text), ("README.md", text)]), []);
    }

    #[test]
    fn tests_inside_a_file_are_tests() {
        let text = "Clause::HO_A_1\n#[cfg(test)]\nmod tests {\n  Clause::HO_A_1\n}\n";
        let path = "crates/segue-proto/src/x.rs";
        assert_eq!(found(&[(path, text)]), [("HO-A-1".into(), 1, By::Code), ("HO-A-1".into(), 4, By::Test)]);
    }

    #[test]
    fn a_module_declared_for_tests_is_tests() {
        let files = [
            ("crates/p/src/lib.rs", "#[cfg(test)]\nmod inner;\nmod outer;\n"),
            ("crates/p/src/inner/mod.rs", "mod deep;\n"),
            ("crates/p/src/inner/deep.rs", "// HO-A-1\n"),
            ("crates/p/src/outer.rs", "// HO-A-1\n"),
        ];
        assert_eq!(found(&files), [("HO-A-1".into(), 1, By::Test), ("HO-A-1".into(), 1, By::Code)]);
    }
}
