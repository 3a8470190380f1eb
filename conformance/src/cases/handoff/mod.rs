//! Chapter handoff.

mod chain;
mod grant;
mod head;
mod initiate;
mod lapse;
mod offer;
mod receive;
mod store;
mod want;

use super::Case;

/// The cases of this chapter, topic by topic.
pub(super) fn chapters() -> [&'static [Case]; 9] {
    [
        want::CASES,
        grant::CASES,
        receive::CASES,
        chain::CASES,
        head::CASES,
        offer::CASES,
        initiate::CASES,
        lapse::CASES,
        store::CASES,
    ]
}
