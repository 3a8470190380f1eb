//! What a device and a service say about the account that the device is under.

use super::codec::{Blob, Text};
use super::messages::Exts;
use super::schema::wire;
use crate::limits::MAX_TOKEN;

wire! {
    /// Asks a service under which account it lets this device in.
    pub struct Login {
        /// The request.
        req: u32,
        /// A token of the service's identity provider, for an account; empty for a device that the service knows.
        token: Blob<MAX_TOKEN>,
        /// Extensions.
        ext: Exts,
    }

    /// Under which account a device is, and what holds for it.
    pub struct LoggedIn {
        /// The request.
        req: u32,
        /// The account's name, of MAX_NAME characters at most; empty if the service lets every device in.
        account: Text<256>,
        /// Whether sessions may be handed over by way of the service.
        handoff: bool,
        /// Milliseconds until the device has to come with a token again; 0 if it need not.
        ttl_ms: u64,
        /// The bytes that the service takes of the account, or of the device if there is none, beyond what it holds.
        free: u64,
        /// Extensions.
        ext: Exts,
    }
}
