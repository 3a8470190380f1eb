//! What an owner and its grantor say to one another, if the grantor is a service.

use super::codec::Opt;
use super::ids::{DeviceId, Hash, SessionId};
use super::messages::Exts;
use super::objects::{Final, Record, Want};
use super::schema::wire;
use super::signed::Signed;

wire! {
    /// The owner writes no more, and says what the next owner must hold.
    pub struct Freeze {
        /// The request.
        req: u32,
        /// The device that may have the session.
        to: DeviceId,
        /// What it must hold.
        end: Signed<Final>,
        /// Extensions.
        ext: Exts,
    }

    /// Asks a service to set a record behind its parent, or says that it is set.
    pub struct Cas {
        /// The request, or 0 if nobody asked.
        req: u32,
        /// The record.
        record: Signed<Record>,
        /// The WANT that the record answers, if the receiver is the owner by it.
        want: Opt<Signed<Want>>,
        /// The service's tenure; zero from a device.
        tenure: Hash,
        /// Extensions.
        ext: Exts,
    }

    /// An owner asks for a lease, or is given one.
    pub struct Renew {
        /// The request.
        req: u32,
        /// The session.
        session: SessionId,
        /// The head under which the sender of the request owns.
        head: Hash,
        /// Milliseconds, from receipt, for which the owner may be silent; 0 gives none.
        ttl: u32,
        /// Extensions.
        ext: Exts,
    }

    /// The owner asks its grantor for a record that changes the grantor.
    pub struct DelegateMsg {
        /// The request.
        req: u32,
        /// The session.
        session: SessionId,
        /// The head, which that record is to follow.
        parent: Hash,
        /// The grantor to be.
        grantor: DeviceId,
        /// Extensions.
        ext: Exts,
    }
}
