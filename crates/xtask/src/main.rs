//! `cargo xtask`: what plain cargo commands can't say. Spec, code, tests, cases and vectors agree, or `check` fails.

mod check;
mod generate;
mod json;
mod problem;
mod tree;
mod vectors;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use problem::Problem;
use tree::Tree;

const HELP: &str = "\
Checks that spec, code, tests, cases and vectors agree.

Usage: cargo xtask COMMAND

  check    runs every check; prints one line a problem, `file:line: what, and what to do`, and exits with 1 if there are any
  gen      writes what is generated: the marked sections of spec/*.md, spec/schema.json, spec/registry.json and
           conformance/vectors/
  --help   prints this

Exit codes: 0 all is well, 1 problems, 2 usage, 3 the tree can't be read or written.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => run_check(),
        ["gen"] => run_gen(),
        ["--help" | "-h" | "help"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::from(3)
    })
}

fn run_check() -> Result<ExitCode, String> {
    Ok(report(problems(&root())?))
}

/// What every check found.
fn problems(root: &Path) -> Result<Vec<Problem>, String> {
    let tree = Tree::read(root)?;
    let mut problems = check::all(&tree);
    problems.extend(check::dependencies::check(root)?);
    problems.extend(generate::stale(&tree));
    Ok(problems)
}

fn run_gen() -> Result<ExitCode, String> {
    let root = root();
    let tree = Tree::read(&root)?;
    let (outputs, problems) = generate::outputs(&tree);
    let changed = generate::write(&root, &tree, &outputs)?;
    println!("{changed} of {} generated files changed", outputs.len());
    Ok(report(problems))
}

fn report(mut problems: Vec<Problem>) -> ExitCode {
    problems.sort();
    problems.dedup();
    for problem in &problems {
        println!("{problem}");
    }
    match problems.len() {
        0 => ExitCode::SUCCESS,
        count => {
            eprintln!("{count} problems");
            ExitCode::FAILURE
        }
    }
}

/// The tree's root: two levels above this crate.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(here).join("../..")
}

#[cfg(test)]
mod tests {
    /// So `cargo test` says what `cargo xtask check` says.
    #[test]
    fn the_tree_has_no_problems() {
        let problems = super::problems(&super::root()).expect("a tree that can be read");
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "cargo xtask check:\n{}", lines.join("\n"));
    }
}
