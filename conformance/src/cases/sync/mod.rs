//! Chapter sync: what the subject feeds a peer, and what it does with what a peer feeds.

mod hold;
mod ops;
mod parts;
pub(in crate::cases) mod scene;
mod since;
mod snapshot;

use super::{Case, Part};

const S: Part = Part::Source;
const T: Part = Part::Target;

/// The cases of the chapter's sections.
pub(super) fn chapters() -> [&'static [Case]; 5] {
    [since::CASES, parts::CASES, ops::CASES, hold::CASES, snapshot::CASES]
}
