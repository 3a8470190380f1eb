//! An invitation: what the new device shows, as a picture or as text, and the linked one reads.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::clause::Rules;
use crate::limits::MAX_HINTS;
use crate::wire::codec::{decode, encode};
use crate::wire::hash::Hasher;
use crate::wire::schema::wire;
use crate::wire::{DeviceId, List, Nonce, Text};

wire! {
    /// An invitation. Whoever knows it may ask to be linked with, once, while it lives.
    pub struct Invite {
        /// Nobody else knows it. It is used for one linking, and never sent.
        secret: Nonce,
        /// The device that invites: nobody else's answer counts.
        device: DeviceId,
        /// Until when it lives, in seconds since 1970, for display only: the device that invites keeps its own time.
        expires: u64,
        /// Where the device can be reached, each as host and port.
        hints: List<Text<255>, MAX_HINTS>,
    }
}

/// A text that is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadInvite {
    /// It doesn't begin as one does.
    Foreign,
    /// Something is missing or wrong in it.
    Damaged,
}

impl fmt::Display for BadInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadInvite::Foreign => "it is no invitation of Segue: one begins with SEGUE:",
            BadInvite::Damaged => "the invitation is incomplete or was changed on its way",
        })
    }
}

impl core::error::Error for BadInvite {}

impl Invite {
    /// As text, in characters that a QR code holds tightly: capitals, digits, a colon.
    pub fn to_text(&self) -> String {
        let mut bytes = encode(self);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        [START, &base32(&bytes)].concat()
    }

    /// From its text; blanks around it and small letters do no harm.
    ///
    /// Errors: it is another text, or a damaged one.
    pub fn from_text(text: &str) -> Result<Invite, BadInvite> {
        let text = text.trim().to_ascii_uppercase();
        let digits = text.strip_prefix(START).ok_or(BadInvite::Foreign)?;
        let bytes = from_base32(digits).ok_or(BadInvite::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(BadInvite::Damaged)?;
        if checksum(body) != *sum {
            return Err(BadInvite::Damaged);
        }
        let invite: Invite = decode(Rules::ALL, body).map_err(|_| BadInvite::Damaged)?;
        if invite.to_text() == text { Ok(invite) } else { Err(BadInvite::Damaged) }
    }

    /// The addresses.
    pub fn addresses(&self) -> Vec<String> {
        self.hints.iter().map(|hint| hint.to_string()).collect()
    }
}

/// Against slips of hands and cameras; it proves nothing.
fn checksum(body: &[u8]) -> [u8; 4] {
    let hash = Hasher::new("segue/1 invite").bytes(body).finish();
    *hash.as_bytes().first_chunk().unwrap_or(&[0; 4])
}

/// RFC 4648, without padding; the bits after the last byte are zero.
fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(digit(bits >> held));
        }
    }
    if held > 0 {
        out.push(digit(bits << (5 - held)));
    }
    out
}

fn digit(value: u32) -> char {
    DIGITS.get(value as usize & 31).map_or('A', |digit| char::from(*digit))
}

fn from_base32(digits: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        bits = (bits << 5) | u32::try_from(value).ok()?;
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

const START: &str = "SEGUE:";
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        let hints = [Text::new("192.0.2.7:4433").unwrap(), Text::new("laptop.local:1").unwrap()];
        Invite {
            secret: Nonce::new([7; 16]),
            device: DeviceId::new([9; 32]),
            expires: 1_780_000_000,
            hints: List::new(hints.to_vec()).unwrap(),
        }
    }

    #[test]
    fn an_invitation_reads_as_it_is_written() {
        let text = invite().to_text();
        assert_eq!(Invite::from_text(&text), Ok(invite()));
        assert_eq!(Invite::from_text(&alloc::format!(" {}\n", text.to_ascii_lowercase())), Ok(invite()));
    }

    #[test]
    fn a_slip_is_noticed() {
        let text = invite().to_text();
        assert_eq!(Invite::from_text("see you at eight"), Err(BadInvite::Foreign));
        for at in START.len()..text.len() {
            let mut slip = text.clone();
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            slip.replace_range(at..=at, other);
            assert_eq!(Invite::from_text(&slip), Err(BadInvite::Damaged), "{at}");
            assert_eq!(Invite::from_text(&text[..at]), Err(BadInvite::Damaged), "{at}");
        }
    }
}
