//! What a device asks a service for that has nothing running on it to hand over to.

use super::ids::DeviceId;
use super::messages::Exts;
use super::schema::wire;

wire! {
    /// Asks a service to have a device woken, because something is handed over to it.
    pub struct Wake {
        /// The request.
        req: u32,
        /// The device.
        device: DeviceId,
        /// Extensions.
        ext: Exts,
    }

    /// The device is there, or the service's way of waking it is being used.
    pub struct WakeOk {
        /// The request.
        req: u32,
        /// Extensions.
        ext: Exts,
    }
}
