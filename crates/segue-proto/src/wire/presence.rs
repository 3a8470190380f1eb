//! What devices ask a service about one another.

use super::codec::List;
use super::ids::DeviceId;
use super::messages::Exts;
use super::schema::wire;
use crate::limits::MAX_DISCOVER;

wire! {
    /// Asks a service which of these devices are there, and lets it tell them of the sender.
    pub struct Discover {
        /// The request.
        req: u32,
        /// The devices; their order says nothing.
        devices: List<DeviceId, MAX_DISCOVER>,
        /// Extensions.
        ext: Exts,
    }

    /// What a service tells of the devices that were asked about.
    pub struct Found {
        /// The request.
        req: u32,
        /// Those that it may tell of; their order says nothing.
        found: List<Presence, MAX_DISCOVER>,
        /// Extensions.
        ext: Exts,
    }

    /// Whether a device has a link with the service.
    pub struct Presence {
        /// The device.
        device: DeviceId,
        /// The generation of its link, numbered as in HELLO; 0 if it has none.
        generation: u8,
        /// Milliseconds since its last link ended; 0 while it has one.
        ago_ms: u64,
    }
}
