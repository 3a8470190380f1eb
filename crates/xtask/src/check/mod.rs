//! The checks. Each takes the tree and returns what it found.

mod citations;
mod clauses;
pub(crate) mod dependencies;
mod house;
mod ids;
mod points;
mod requirements;
mod words;

pub(crate) use house::CHAPTERS;
use segue_proto::Clause;

use crate::problem::Problem;
use crate::tree::Tree;

/// Every check that needs nothing but the tree.
pub(crate) fn all(tree: &Tree) -> Vec<Problem> {
    let mut problems = clauses::check(tree, Clause::TABLE);
    problems.extend(house::check(tree));
    problems.extend(words::check(tree));
    problems.extend(points::check(tree));
    problems
}
