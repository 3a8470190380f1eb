//! What AUTH signs.

use alloc::vec::Vec;

use crate::event::Role;
use crate::wire::hash::Hasher;
use crate::wire::{DeviceId, Hash};

/// The hash that AUTH signs: role, key, the payload of the sender's HELLO and the channel binding (LINK-AUTH-2).
pub fn auth_hash(role: Role, key: &DeviceId, hello: &[u8], binding: &[u8; 32]) -> Hash {
    let role = match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    };
    Hasher::new("segue/1 auth").bytes(&[role]).bytes(key.as_bytes()).bytes(hello).bytes(binding).finish()
}

/// The bytes that AUTH signs.
pub fn auth_message(role: Role, key: &DeviceId, hello: &[u8], binding: &[u8; 32]) -> Vec<u8> {
    [b"segue/1 sig auth".as_slice(), auth_hash(role, key, hello, binding).as_bytes()].concat()
}
