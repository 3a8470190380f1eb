//! Frames: `type` varint, `length` varint, payload.

use alloc::vec::Vec;

use super::codec::{ROOM, varint};
use crate::clause::{Clause, Rules};
use crate::limits::MAX_FRAME;
use crate::{Code, Violation};

/// Splits a stream of bytes into frames. Holds at most one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Framer {
    buffer: Vec<u8>,
    taken: usize,
}

/// A frame: its type, and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The type.
    pub number: u64,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Framer {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..core::mem::take(&mut self.taken));
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; none if more bytes are needed.
    pub fn next(&mut self, rules: Rules) -> Result<Option<Frame>, Violation> {
        let bytes = self.buffer.get(self.taken..).unwrap_or_default();
        let Some(header) = header(rules, bytes)? else { return Ok(None) };
        let Some(payload) = bytes.get(header.start..header.start + header.len) else { return Ok(None) };
        let frame = Frame { number: header.number, payload: payload.to_vec() };
        self.taken += header.start + header.len;
        Ok(Some(frame))
    }

    /// Whether a frame has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.buffer.len() > self.taken
    }

    /// The bytes behind the last whole frame: what follows the first frame of a bulk stream.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buffer.split_off(self.taken.min(self.buffer.len()))
    }
}

/// Appends a frame whose payload `fill` writes.
pub fn write(number: u64, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut payload = Vec::with_capacity(ROOM);
    fill(&mut payload);
    write_varint(number, out);
    write_varint(payload.len() as u64, out);
    out.extend_from_slice(&payload);
}

/// Appends a minimal LEB128 number.
pub fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Header {
    number: u64,
    start: usize,
    len: usize,
}

fn header(rules: Rules, bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let Some((number, a)) = varint(rules, bytes)? else { return Ok(None) };
    let Some((len, b)) = varint(rules, bytes.get(a..).unwrap_or_default())? else { return Ok(None) };
    rules.ensure(Clause::WIRE_FRAME_1, len <= MAX_FRAME as u64, Code::LIMIT_FRAME)?;
    // With the check switched off by a test the length may still not exceed what can be addressed.
    Ok(Some(Header { number, start: a + b, len: usize::try_from(len).unwrap_or(usize::MAX / 2) }))
}
