//! Chapter service: the subject uses a mailbox, and hosts one.

mod content;
mod custody;
mod delegate;
mod host;
mod keys;
mod login;
mod meet;
mod put;
mod scene;
mod seen;
mod take;
mod wake;

use super::{Case, Part};

/// The subject uses a mailbox, or is one: either way it is one end of a link.
const E: Part = Part::End;

pub(super) fn chapters() -> [&'static [Case]; 11] {
    [
        host::CASES,
        put::CASES,
        take::CASES,
        keys::CASES,
        content::CASES,
        custody::CASES,
        delegate::CASES,
        seen::CASES,
        login::CASES,
        meet::CASES,
        wake::CASES,
    ]
}
