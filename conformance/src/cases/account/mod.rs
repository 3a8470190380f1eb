//! Chapter account: linking, the roster, revocation, and what is set aside by it.

mod cut;
mod linking;
mod revoke;
mod roster;
pub(super) mod scene;

use super::Case;

pub(super) fn chapters() -> [&'static [Case]; 4] {
    [linking::CASES, roster::CASES, revoke::CASES, cut::CASES]
}
