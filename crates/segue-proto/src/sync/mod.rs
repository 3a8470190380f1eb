//! Sync: how devices that take part in a session tell each other what changed (spec chapter `sync`).
//!
//! Each device keeps a log of the changes of its own copy. A peer names the place in it up to which it holds
//! everything, and is fed what follows: a part with values as it is, a log or opaque part by its new ops. Both can be
//! taken in twice, so what two peers feed at once does no harm.

mod changes;
mod feed;
mod follow;
pub mod kept;
mod known;
mod rank;
mod whole;
mod writers;

pub use changes::{Change, Changes};
pub use feed::{Feed, Outbound};
pub use follow::{FedOp, Inbound};
pub use known::{knowing, known};
pub use rank::outranks;
pub use whole::{Word, is_whole, lacks, says_lacks, whole};
pub use writers::{named, naming};
