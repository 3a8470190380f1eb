//! Chapter handoff.

mod chain;
mod grant;
mod have;
mod head;
mod initiate;
mod lapse;
mod offer;
mod overtaken;
mod pace;
mod pick;
mod reason;
mod receipt;
mod receive;
mod standby;
mod store;
mod want;

use super::Case;

/// The cases of this chapter, topic by topic.
pub(super) fn chapters() -> [&'static [Case]; 16] {
    [
        want::CASES,
        grant::CASES,
        receive::CASES,
        chain::CASES,
        have::CASES,
        head::CASES,
        offer::CASES,
        initiate::CASES,
        lapse::CASES,
        overtaken::CASES,
        reason::CASES,
        receipt::CASES,
        pace::CASES,
        pick::CASES,
        standby::CASES,
        store::CASES,
    ]
}
