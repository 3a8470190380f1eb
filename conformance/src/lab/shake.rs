//! Shaken delivery: what a transport may do to a peer's bytes, and what must make no difference.

use segue_proto::wire::DeviceId;
use segue_proto::{LinkId, Role};

use super::Lab;

/// How a peer's bytes come, besides in one piece each over links that peers dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shake {
    /// Bytes come in other pieces than they were sent in.
    pub split: bool,
    /// Behind a peer's AUTH, grease stands before each of its frames (section 2.3 of the spec).
    pub grease: bool,
    /// The subject dials, where a case doesn't say who does.
    pub dials: bool,
}

impl Shake {
    /// Nothing of it.
    pub const NONE: Shake = Shake { split: false, grease: false, dials: false };
    /// All of it at once.
    pub const ALL: Shake = Shake { split: true, grease: true, dials: true };
    /// Each by itself, in words.
    pub const EACH: [(Shake, &'static str); 3] = [
        (Shake { split: true, ..Shake::NONE }, "with bytes that come in other pieces: "),
        (Shake { grease: true, ..Shake::NONE }, "with grease before each of the peer's frames: "),
        (Shake { dials: true, ..Shake::NONE }, "with the subject dialling: "),
    ];
}

impl Lab<'_> {
    /// The subject's role on a link with a peer, where a case doesn't say. A further link has the role of the one that
    /// lives: which of two with different initiators stays is up to their keys (LINK-DUP-1).
    pub(super) fn any_role(&self, peer: DeviceId) -> Role {
        let drawn = if self.shake.dials { Role::Initiator } else { Role::Responder };
        let living = self.ends.values().find(|end| end.peer == Some(peer) && end.closed.is_none());
        living.map_or(drawn, |end| end.role)
    }

    /// A peer's frame with grease before it, once the peer has said AUTH.
    pub(super) fn greased(&mut self, link: LinkId, frame: Vec<u8>) -> Vec<u8> {
        if !self.shake.grease || !self.ends.get(&link).is_some_and(|end| end.proven) {
            return frame;
        }
        let number = GREASE[self.shaker.below(GREASE.len() as u64) as usize];
        let len = self.shaker.below(40) as usize;
        let mut out = number.to_vec();
        out.push(len as u8);
        out.extend(self.shaker.bytes(len));
        out.extend(frame);
        out
    }

    /// The pieces in which bytes come.
    pub(super) fn pieces(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if !self.shake.split || bytes.len() < 2 {
            return vec![bytes.to_vec()];
        }
        let last = bytes.len() - 1;
        // Often inside a frame's type and length, or right behind them.
        let first = 1 + self.shaker.below(last.min(4) as u64) as usize;
        let second = first + self.shaker.below((bytes.len() - first) as u64) as usize;
        let cut = [&bytes[..first], &bytes[first..second], &bytes[second..]];
        cut.into_iter().filter(|piece| !piece.is_empty()).map(<[u8]>::to_vec).collect()
    }
}

/// Types of the form 64 × N + 27, as they stand on the wire.
const GREASE: [&[u8]; 4] = [&[27], &[91], &[0x9b, 0x01], &[0xdb, 0x80, 0x01]];
