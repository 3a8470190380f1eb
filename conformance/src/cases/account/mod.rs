//! Chapter account: linking, the roster, revocation.

mod linking;
mod revoke;
mod roster;
pub(super) mod scene;

use super::Case;

pub(super) fn chapters() -> [&'static [Case]; 3] {
    [linking::CASES, roster::CASES, revoke::CASES]
}
