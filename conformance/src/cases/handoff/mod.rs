//! Chapter handoff.

mod chain;
mod grant;
mod head;
mod initiate;
mod offer;
mod receive;
mod store;
mod want;

use super::Case;

/// The cases of this chapter, topic by topic.
pub(super) fn chapters() -> [&'static [Case]; 8] {
    [want::CASES, grant::CASES, receive::CASES, chain::CASES, head::CASES, offer::CASES, initiate::CASES, store::CASES]
}
