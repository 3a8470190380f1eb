//! Account: the devices of one user, who may speak for them, and how a device joins (spec chapter `account`).
//!
//! The roster is a set of signed entries; who is a member is a pure function of the set, so two devices that edited it
//! apart agree once each holds the union.

mod counting;
mod cuts;
mod invite;
pub(crate) mod keys;
mod linking;
mod roster;

pub use counting::{Member, Revoked, Standing};
pub use cuts::{Cuts, End};
pub use invite::{BadInvite, Invite};
pub use linking::{check_code, link_proof};
pub use roster::{Added, Roster};

pub(crate) use linking::{Linking, Side, Step};
