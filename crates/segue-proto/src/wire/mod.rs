//! The wire: primitives, frames, messages, signed objects, hashes (spec chapter `wire`).

pub mod codec;
mod custody;
pub mod frame;
pub mod hash;
mod ids;
mod login;
mod mailbox;
mod meeting;
mod messages;
mod objects;
mod presence;
mod receipt;
mod roster;
pub mod schema;
mod signed;
mod snapshot;
pub mod text;
mod waking;

pub use codec::{Blob, List, Opt, Text};
pub use custody::{Cas, DelegateMsg, Freeze, Renew};
pub use ids::{ActorId, BoxId, CodeBytes, DeviceId, Fixed, Hash, Hlc, Ip, KeyId, Nonce, PartId, SessionId, Sig};
pub use login::{LoggedIn, Login};
pub use mailbox::{Envelopes, Fetch, Invitation, KeyMsg, Letter, Piece, Put, PutOk, Sealed, Watch};
pub use meeting::{Address, Introduce, IntroduceOk, Introduced, Introduction, Relay};
pub use messages::{
    Ack, Announced, Auth, BriefDep, BriefOp, Bytes, Cancel, Decline, Error, Ext, Exts, Get, Goaway, Grant, Have, Head,
    Hello, LinkMsg, LinkOk, Mark, Message, MessageRow, OfferMsg, Op, Ops, Parts, Ping, Place, Range, Ranges, RosterMsg,
    Since, Strand, Tip, WantMsg, Writer, parts, payloads,
};
pub use objects::{Final, Genesis, Held, Kind, Offer, Record, Want, WantMode};
pub use presence::{Discover, Found, Presence};
pub use receipt::{Receipt, Statement, Tally};
pub use roster::{Cut, CutHead, CutTip, EntryKind, Founding, RosterEntry};
pub use signed::{Proven, Signed, SignedBody, id_of, sign_message, signing_bytes, verify_message};
pub use snapshot::{Cover, Holding, HoldingMsg, Snapshot, SnapshotMsg, StrandEnd};
pub use waking::{Wake, WakeOk};
