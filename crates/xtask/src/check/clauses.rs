//! Clauses: the spec states them, the core enforces them, tests and cases check them.

use std::collections::{BTreeMap, BTreeSet};

use super::citations::{self, By, CLAUSE_TABLE, Citation, EXCLUSIONS};
use super::ids::is_id;
use super::requirements::{self, Requirement};
use crate::problem::Problem;
use crate::tree::Tree;

/// Checks requirements, citations, exclusions and the core's `table` of clauses against one another.
pub(crate) fn check(tree: &Tree, table: &[(&str, &str)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut requirements = Vec::new();
    for file in tree.spec() {
        let (mut stated, found) = requirements::parse(file);
        requirements.append(&mut stated);
        problems.extend(found);
    }
    let enforced: Vec<&str> = table.iter().map(|row| row.0).collect();
    let citations = citations::all(tree, &enforced);
    let (exclusions, found) = exclusions(tree);
    problems.extend(found);

    problems.extend(duplicates(&requirements));
    problems.extend(unknown(&requirements, &enforced, &citations));
    problems.extend(unstated(tree, &requirements, &enforced));
    problems.extend(unused(tree, &enforced, &citations));
    problems.extend(uncited(&requirements, &citations, &exclusions));
    problems.extend(needless(&requirements, &citations, &exclusions));
    problems
}

/// Ids that two requirements bear.
fn duplicates(requirements: &[Requirement]) -> Vec<Problem> {
    let mut first: BTreeMap<&str, &Requirement> = BTreeMap::new();
    let mut problems = Vec::new();
    for requirement in requirements {
        if let Some(other) = first.insert(&requirement.id, requirement) {
            let what = format!(
                "{} is defined at {}:{} too: ids are permanent, take a new number",
                other.id, other.file, other.line
            );
            problems.push(Problem::at(&requirement.file, requirement.line, what));
        }
    }
    problems
}

/// Citations of ids that neither the spec nor the core has. (An id that only the core has is reported there, once.)
fn unknown(requirements: &[Requirement], enforced: &[&str], citations: &[Citation]) -> Vec<Problem> {
    let known: BTreeSet<&str> = requirements.iter().map(|r| r.id.as_str()).chain(enforced.iter().copied()).collect();
    let unknown = citations.iter().filter(|citation| !known.contains(citation.id.as_str()));
    unknown
        .map(|c| {
            Problem::at(&c.file, c.line, format!("{} is no clause of the spec: correct it, or state it there", c.id))
        })
        .collect()
}

/// Clauses of the core that the spec doesn't state.
fn unstated(tree: &Tree, requirements: &[Requirement], enforced: &[&str]) -> Vec<Problem> {
    let stated: BTreeSet<&str> = requirements.iter().map(|r| r.id.as_str()).collect();
    let unstated = enforced.iter().filter(|id| !stated.contains(**id));
    unstated
        .map(|id| in_table(tree, id, "is enforced, but the spec doesn't state it: add a paragraph with this id"))
        .collect()
}

/// Clauses of the core that only its table names.
fn unused(tree: &Tree, enforced: &[&str], citations: &[Citation]) -> Vec<Problem> {
    let used: BTreeSet<&str> = citations.iter().filter(|c| c.by == By::Code).map(|c| c.id.as_str()).collect();
    let unused = enforced.iter().filter(|id| !used.contains(**id));
    unused.map(|id| in_table(tree, id, "is used nowhere else: enforce it, or take it out of the table")).collect()
}

/// Binding requirements that nothing proves and no exclusion excuses.
fn uncited(requirements: &[Requirement], citations: &[Citation], exclusions: &[Exclusion]) -> Vec<Problem> {
    let proven = |by: By| matches!(by, By::Code | By::Test | By::Case);
    let cited: BTreeSet<&str> = citations.iter().filter(|c| proven(c.by)).map(|c| c.id.as_str()).collect();
    let excused: BTreeSet<&str> = exclusions.iter().map(|e| e.id.as_str()).collect();
    let open =
        requirements.iter().filter(|r| r.must && !cited.contains(r.id.as_str()) && !excused.contains(r.id.as_str()));
    open.map(|r| {
        let what =
            format!("no code, test or case cites {}: cite it, or exclude it with a reason in {EXCLUSIONS}", r.id);
        Problem::at(&r.file, r.line, what)
    })
    .collect()
}

/// Exclusions of what is unknown or tested after all.
fn needless(requirements: &[Requirement], citations: &[Citation], exclusions: &[Exclusion]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for exclusion in exclusions {
        let tested = citations.iter().find(|c| c.id == exclusion.id && matches!(c.by, By::Test | By::Case));
        let what = if let Some(tested) = tested {
            format!("{} is excluded, but {}:{} cites it: drop the exclusion", exclusion.id, tested.file, tested.line)
        } else if !requirements.iter().any(|r| r.id == exclusion.id) {
            format!("{} is excluded, but is no clause of the spec: drop the exclusion", exclusion.id)
        } else {
            continue;
        };
        problems.push(Problem::at(EXCLUSIONS, exclusion.line, what));
    }
    problems
}

/// A row of the table of exclusions.
struct Exclusion {
    id: String,
    line: usize,
}

fn exclusions(tree: &Tree) -> (Vec<Exclusion>, Vec<Problem>) {
    let (mut exclusions, mut problems) = (Vec::<Exclusion>::new(), Vec::new());
    let rows = tree.get(EXCLUSIONS).into_iter().flat_map(|file| file.lines());
    for (line, text) in rows {
        let cells: Vec<&str> = text.trim().trim_matches('|').split('|').map(str::trim).collect();
        let id = cells[0].trim_matches('`');
        if !text.trim_start().starts_with('|') || id == "id" || id.chars().all(|c| matches!(c, '-' | ':')) {
            continue;
        }
        let what = if !is_id(id) {
            Some(format!("'{id}' is no clause id: a row is `| id | reason |`"))
        } else if cells.get(1).is_none_or(|reason| reason.is_empty()) {
            Some(format!("{id} is excluded without a reason: give one"))
        } else if exclusions.iter().any(|e| e.id == id) {
            Some(format!("{id} is excluded twice: drop one row"))
        } else {
            None
        };
        problems.extend(what.map(|what| Problem::at(EXCLUSIONS, line, what)));
        exclusions.push(Exclusion { id: id.into(), line });
    }
    (exclusions, problems)
}

fn in_table(tree: &Tree, id: &str, what: &str) -> Problem {
    let quoted = format!("\"{id}\"");
    let line = tree.get(CLAUSE_TABLE).and_then(|file| file.lines().find(|(_, text)| text.contains(&quoted)));
    Problem::at(CLAUSE_TABLE, line.map_or(1, |(line, _)| line), format!("{id} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "spec/05-handoff.md";
    const CODE: &str = "crates/segue-proto/src/handoff.rs";
    const CASE: &str = "conformance/src/cases/handoff.rs";
    const GOOD: [(&str, &str); 4] = [
        (SPEC, "**HO-A-1.** It MUST.\n\n**HO-A-2.** It MUST.\n"),
        (CODE, "Clause::HO_A_1\n"),
        (CLAUSE_TABLE, "HO_A_1 = \"HO-A-1\" \"it does\",\n"),
        (EXCLUSIONS, "| id | reason |\n|---|---|\n| HO-A-2 | it can't be seen |\n"),
    ];

    fn found(changes: &[(&str, &str)]) -> Vec<String> {
        let mut files: BTreeMap<&str, &str> = GOOD.into();
        files.extend(changes.iter().copied());
        let tree = Tree::of(&files.into_iter().collect::<Vec<_>>());
        check(&tree, &[("HO-A-1", "it does")]).iter().map(ToString::to_string).collect()
    }

    fn one(changes: &[(&str, &str)], expected: &str) {
        let found = found(changes);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(expected), "{}", found[0]);
    }

    #[test]
    fn a_good_tree_passes() {
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn a_duplicate_id_is_found() {
        one(
            &[("spec/06-transfer.md", "**HO-A-1.** It MUST.\n")],
            "spec/06-transfer.md:1: HO-A-1 is defined at spec/05",
        );
    }

    #[test]
    fn an_unknown_id_is_found() {
        one(&[("fuzz/src/lib.rs", "\n// HO-A-7\n")], "fuzz/src/lib.rs:2: HO-A-7 is no clause");
        one(&[("benches/README.md", "See HO-A-7.\n")], "benches/README.md:1: HO-A-7 is no clause");
        one(&[(CODE, "Clause::HO_A_1 Clause::HO_A_7\n")], "crates/segue-proto/src/handoff.rs:1: HO-A-7 is no clause");
    }

    #[test]
    fn a_must_that_nothing_cites_is_found() {
        one(&[(EXCLUSIONS, "")], "spec/05-handoff.md:3: no code, test or case cites HO-A-2");
        assert_eq!(found(&[(EXCLUSIONS, ""), (CASE, "Clause::HO_A_2 // HO-A-2\n")]), [""; 0]);
        one(&[(EXCLUSIONS, ""), ("conformance/src/run.rs", "// HO-A-2\n")], "spec/05-handoff.md:3: no code");
    }

    #[test]
    fn bad_exclusions_are_found() {
        let rows = |rows: &str| format!("| id | reason |\n|---|---|\n| HO-A-2 | it can't be seen |\n{rows}");
        one(&[(EXCLUSIONS, &rows("| HO-A-9 | x |\n"))], "spec/exclusions.md:4: HO-A-9 is excluded, but is no clause");
        one(&[(EXCLUSIONS, &rows("| HO-A-1 | |\n"))], "spec/exclusions.md:4: HO-A-1 is excluded without a reason");
        one(&[(EXCLUSIONS, &rows("| HO-A-2 | x |\n"))], "spec/exclusions.md:4: HO-A-2 is excluded twice");
        one(
            &[(CASE, "// HO-A-2\n")],
            "spec/exclusions.md:3: HO-A-2 is excluded, but conformance/src/cases/handoff.rs:1",
        );
        let found = found(&[(EXCLUSIONS, &rows("| HO-* | x |\n"))]);
        assert!(found[0].starts_with("spec/exclusions.md:4: 'HO-*' is no clause id"), "{found:#?}");
    }

    #[test]
    fn a_clause_of_the_core_that_the_spec_lacks_is_found() {
        let spec = "**HO-A-2.** It MUST.\n";
        one(&[(SPEC, spec)], "crates/segue-proto/src/clause.rs:1: HO-A-1 is enforced, but the spec doesn't");
    }

    #[test]
    fn a_clause_that_only_the_table_names_is_found() {
        one(&[(CODE, ""), (CASE, "// HO-A-1\n")], "crates/segue-proto/src/clause.rs:1: HO-A-1 is used nowhere else");
    }
}
