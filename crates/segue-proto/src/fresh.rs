//! Fresh numbers: from the entropy given at open, by BLAKE3, so that the same inputs give the same outputs.

use crate::event::HandoffId;
use crate::wire::hash::Hasher;
use crate::wire::{Nonce, PartId};

/// A source of nonces and of numbers that aren't used twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fresh {
    seed: [u8; 32],
    drawn: u64,
    request: u32,
    handoff: u64,
}

impl Fresh {
    /// From 32 bytes that nobody else knows.
    pub fn new(seed: [u8; 32]) -> Self {
        Fresh { seed, drawn: 0, request: 0, handoff: 0 }
    }

    /// Sixteen random bytes.
    pub fn nonce(&mut self) -> Nonce {
        Nonce::new(self.draw())
    }

    /// Thirty-two secret bytes.
    pub fn secret(&mut self) -> [u8; 32] {
        self.draw()
    }

    /// The nonce of an envelope.
    pub fn envelope_nonce(&mut self) -> [u8; 24] {
        self.draw()
    }

    /// The id of a new part.
    pub fn part(&mut self) -> PartId {
        PartId::new(self.draw())
    }

    /// A number for a PING.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(*self.draw::<8>().first_chunk().unwrap_or(&[0; 8]))
    }

    /// The next request number; never 0 (WIRE-REQ-1).
    pub fn request(&mut self) -> u32 {
        self.request = self.request.checked_add(1).unwrap_or(1);
        self.request
    }

    /// The next handoff.
    pub fn handoff(&mut self) -> HandoffId {
        self.handoff += 1;
        HandoffId(self.handoff)
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.drawn += 1;
        let hash = Hasher::new("segue/1 fresh").bytes(&self.seed).u64(self.drawn).finish();
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        out
    }
}
