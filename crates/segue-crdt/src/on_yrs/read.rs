//! The primitives of yrs's encoding: minimal integers, and nothing beyond the end.

use super::wire::{Id, Why};
use crate::limits::MAX_CLOCK;

/// Bytes that are still to be read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Why> {
        let (first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Why> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Why> {
        let mut value = 0;
        for shift in (0..=56).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err("an integer that isn't minimal") } else { Ok(value) };
            }
        }
        Err("an integer that is too large")
    }

    pub(super) fn u32(&mut self) -> Result<u32, Why> {
        u32::try_from(self.u64()?).map_err(|_| "an integer that is too large")
    }

    /// How many things follow: each takes a byte at least.
    pub(super) fn count(&mut self) -> Result<u32, Why> {
        let count = self.u32()?;
        if count as usize > self.rest.len() { Err(SHORT) } else { Ok(count) }
    }

    /// A length, not zero.
    pub(super) fn len(&mut self) -> Result<u32, Why> {
        match self.u32()? {
            0 => Err("a length of zero"),
            len @ 1..=MAX_CLOCK => Ok(len),
            _ => Err("a length beyond the limit"),
        }
    }

    /// A signed integer of at most 32 bits, read over.
    pub(super) fn signed(&mut self) -> Result<(), Why> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x3f);
        let mut more = first & 0x80 != 0;
        for shift in (6..34).step_by(7) {
            if !more {
                break;
            }
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            more = byte & 0x80 != 0;
            if byte == 0 {
                return Err("an integer that isn't minimal");
            }
        }
        if more || value > 0x7fff_ffff { Err("an integer that is too large") } else { Ok(()) }
    }

    pub(super) fn client(&mut self) -> Result<u64, Why> {
        let client = self.u64()?;
        if client >> 53 == 0 { Ok(client) } else { Err("a client id of more than 53 bits") }
    }

    pub(super) fn id(&mut self) -> Result<Id, Why> {
        let (client, clock) = (self.client()?, self.u32()?);
        if clock <= MAX_CLOCK { Ok((client, clock)) } else { Err("a clock beyond the limit") }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Why> {
        let len = self.count()?;
        self.take(len as usize)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Why> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that isn't UTF-8")
    }

    /// What a closure reads over.
    pub(super) fn spanned(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Why>) -> Result<&'a [u8], Why> {
        let before = self.rest;
        read(self)?;
        let len = before.len() - self.rest.len();
        before.get(..len).ok_or(SHORT)
    }
}

const SHORT: Why = "an update that ends too early";
