//! The house: chapters, modules, cases and vectors bear one name, and a file can be read in one sitting.

use crate::problem::Problem;
use crate::tree::{File, Tree};

/// The names that spec, core, suite and vectors share.
pub(crate) const CHAPTERS: [&str; 9] =
    ["wire", "link", "account", "data", "sync", "handoff", "transfer", "service", "generations"];

/// Checks names and lengths.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems: Vec<Problem> = CHAPTERS.iter().flat_map(|name| names(tree, name)).collect();
    problems.extend(strangers(tree));
    problems.extend(tree.under("").filter_map(length));
    problems
}

/// What bears no chapter's name, though one of its kind would have to.
fn names(tree: &Tree, name: &str) -> Vec<Problem> {
    let exists = |path: &str| tree.under(path).next().is_some();
    let mut problems = Vec::new();
    let mut need = |there: bool, path: String, what: &str| {
        if !there {
            problems.push(Problem::with(
                &path,
                format!("{what} is missing: chapter, module, cases and vectors bear one name"),
            ));
        }
    };
    let chapter = tree.spec().any(|file| file.chapter() == Some(name));
    need(chapter, format!("spec/NN-{name}.md"), "the chapter");
    let module = format!("crates/segue-proto/src/{name}");
    need(exists(&format!("{module}.rs")) || exists(&format!("{module}/")), format!("{module}.rs"), "the core's module");
    let cases = format!("conformance/src/cases/{name}");
    need(exists(&format!("{cases}.rs")) || exists(&format!("{cases}/")), format!("{cases}.rs"), "the file of cases");
    let vectors = format!("conformance/vectors/{name}");
    need(exists(&format!("{vectors}/")), vectors, "the folder of vectors");
    problems
}

/// Folders of vectors that no chapter has.
fn strangers(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.under(VECTORS) {
        let Some((folder, _)) = file.path[VECTORS.len()..].split_once('/') else { continue };
        if !CHAPTERS.contains(&folder) {
            problems.push(Problem::with(
                &file.path,
                format!("no chapter is called {folder}: move the vector to its chapter's folder"),
            ));
        }
    }
    problems
}

fn length(file: &File) -> Option<Problem> {
    let (_, extension) = file.path.rsplit_once('.')?;
    if !READ.contains(&extension) {
        return None;
    }
    let mut generated = false;
    let mut lines = 0;
    for (_, text) in file.lines() {
        generated = (generated || text.starts_with("<!-- generated:")) && !text.starts_with("<!-- end -->");
        lines += usize::from(!generated);
    }
    (lines > MAX_LINES).then(|| {
        Problem::at(&file.path, MAX_LINES, format!("{lines} lines, {MAX_LINES} are the most: split it by what it does"))
    })
}

const VECTORS: &str = "conformance/vectors/";

/// A file beyond this isn't read in one sitting.
const MAX_LINES: usize = 700;

/// What people read; data and snapshots are as long as they are.
const READ: [&str; 5] = ["rs", "md", "py", "sh", "toml"];

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Vec<(String, &'static str)> {
        let mut files = Vec::new();
        for name in CHAPTERS {
            files.push((format!("spec/01-{name}.md"), ""));
            files.push((format!("crates/segue-proto/src/{name}/mod.rs"), ""));
            files.push((format!("conformance/src/cases/{name}.rs"), ""));
            files.push((format!("conformance/vectors/{name}/valid/a.json"), ""));
        }
        files
    }

    fn found(files: &[(String, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        check(&Tree::of(&files)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_missing_name_is_found() {
        let files = good();
        assert_eq!(found(&files), [""; 0]);
        for at in 0..files.len() {
            let mut files = files.clone();
            files.remove(at);
            assert_eq!(found(&files).len(), 1);
        }
    }

    #[test]
    fn a_stray_folder_of_vectors_is_found() {
        let mut files = good();
        files.push(("conformance/vectors/README.md".into(), ""));
        assert_eq!(found(&files), [""; 0]);
        files.push(("conformance/vectors/hand/valid/a.json".into(), ""));
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn a_long_file_is_found() {
        let long = "x\n".repeat(MAX_LINES + 1);
        let generated = format!("<!-- generated: x -->\n{long}<!-- end -->\n");
        let files = [("a.rs", long.as_str()), ("b.json", &long), ("c.md", &generated), ("Cargo.lock", &long)];
        let found: Vec<_> = files
            .iter()
            .filter_map(|(path, text)| length(&File { path: (*path).into(), text: (*text).into() }))
            .collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("a.rs:700: 701 lines"), "{}", found[0]);
    }
}
