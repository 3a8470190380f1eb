//! What is generated from the code's own tables: sections of the spec, the schema, the registry, the vectors.

mod contexts;
mod hexdump;
mod markers;
mod registry;
pub(crate) mod schema;
mod tables;

pub(crate) use schema::{bulk, signed};
use std::collections::BTreeSet;
use std::path::Path;

use crate::problem::Problem;
use crate::tree::Tree;
use crate::vectors::{self, Vector};

/// A generated file: its path from the root, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    path: String,
    text: String,
}

/// Every generated file as it should be, and what kept some from being made.
pub(crate) fn outputs(tree: &Tree) -> (Vec<Output>, Vec<Problem>) {
    let (vectors, mut problems) = vectors::all();
    let mut outputs = vec![
        Output { path: "spec/schema.json".into(), text: schema::schema().to_file() },
        Output { path: "spec/registry.json".into(), text: registry::registry().to_file() },
    ];
    outputs.extend(vectors.iter().map(|vector| Output { path: vector.path(), text: vector.to_json().to_file() }));
    problems.extend(contexts::check(tree));
    problems.extend(undescribed(tree, &vectors));

    let mut filled = Vec::new();
    for file in tree.spec() {
        match markers::fill(file, |name| tables::section(name, &vectors)) {
            Ok((text, names)) => {
                filled.extend(names);
                outputs.push(Output { path: file.path.clone(), text });
            }
            Err(problem) => problems.push(problem),
        }
    }
    for name in tables::required().into_iter().filter(|name| !filled.contains(name)) {
        problems.push(Problem::with(
            "spec",
            format!("no chapter holds `<!-- generated: {name} -->`: add it where it belongs"),
        ));
    }
    problems.extend(hexdump::check(tree, &outputs));
    (outputs, problems)
}

/// What differs from the code's own tables.
pub(crate) fn stale(tree: &Tree) -> Vec<Problem> {
    let (outputs, mut problems) = outputs(tree);
    for output in &outputs {
        let present = tree.get(&output.path).map(|file| file.text.as_str());
        if present != Some(&output.text) {
            let line = first_difference(present.unwrap_or_default(), &output.text);
            problems.push(Problem::at(
                &output.path,
                line,
                "isn't what the code says: correct the code, or run cargo xtask gen",
            ));
        }
    }
    problems.extend(
        strays(tree, &outputs)
            .map(|path| Problem::with(path, "nothing generates it: run cargo xtask gen, which deletes it")),
    );
    problems
}

/// Writes what changed and deletes vectors that nothing generates. Returns how many files changed.
pub(crate) fn write(root: &Path, tree: &Tree, outputs: &[Output]) -> Result<usize, String> {
    let mut changed = 0;
    for output in outputs {
        let path = root.join(&output.path);
        if tree.get(&output.path).is_some_and(|file| file.text == output.text) {
            continue;
        }
        let folder = path.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        std::fs::write(&path, &output.text).map_err(|error| format!("{}: {error}", output.path))?;
        changed += 1;
    }
    for path in strays(tree, outputs) {
        std::fs::remove_file(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        changed += 1;
    }
    Ok(changed)
}

/// Files among the vectors that nothing generates.
fn strays<'a>(tree: &'a Tree, outputs: &'a [Output]) -> impl Iterator<Item = &'a str> {
    let vectors = tree.under("conformance/vectors/").filter(|file| file.path.ends_with(".json"));
    vectors.map(|file| file.path.as_str()).filter(|path| !outputs.iter().any(|output| output.path == *path))
}

/// Kinds of vectors that their README doesn't describe.
fn undescribed(tree: &Tree, vectors: &[Vector]) -> Vec<Problem> {
    let readme = tree.get(README).map_or("", |file| file.text.as_str());
    let kinds: BTreeSet<&str> = vectors.iter().map(|vector| vector.kind).collect();
    let missing = kinds.into_iter().filter(|kind| !readme.contains(&format!("\n| `{kind}` |")));
    missing.map(|kind| Problem::with(README, format!("no row describes vectors of the kind {kind}: add one"))).collect()
}

const README: &str = "conformance/vectors/README.md";

fn first_difference(a: &str, b: &str) -> usize {
    let same = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    same + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_stale_once_it_is_changed() {
        let mut tree = Tree::of(&[("spec/08-limits.md", "# Limits\n\n<!-- generated: limits -->\n<!-- end -->\n")]);
        let (outputs, _) = outputs(&tree);
        let of = |tree: &Tree, start: &str| {
            let problems = stale(tree);
            let about = |problem: &String| problem.contains("isn't what") || problem.contains("nothing generates it");
            let stale = problems.iter().map(ToString::to_string).filter(about);
            stale.filter(|problem| problem.starts_with(start)).count()
        };
        assert_eq!(of(&tree, "spec/08-limits.md:4: isn't what"), 1);
        tree = Tree::default();
        for output in &outputs {
            tree.add(&output.path, output.text.clone());
        }
        assert_eq!(of(&tree, "spec/08-limits.md"), 0);
        assert_eq!(of(&tree, "conformance/"), 0);
        tree.add("conformance/vectors/wire/valid/nobody.json", "{}");
        assert_eq!(of(&tree, "conformance/vectors/wire/valid/nobody.json:1: nothing generates it"), 1);
    }
}
