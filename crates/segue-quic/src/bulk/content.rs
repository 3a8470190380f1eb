//! What was read of a stream and isn't kept yet: a copy, or the slices themselves of what came from the socket.
//!
//! To copy costs whoever reads the network some hundredths of its time. But a slice of one byte may hold all that the system
//! gave at once, and of what quinn joined, because it came in small pieces, even more. So slices are counted by what they
//! may hold, and held for moments only: while more comes at once, and until they are kept.

use std::mem;
use std::ops::Deref;

use bytes::Bytes;

use super::buffers::{Buffer, Buffers};

/// What the slices of one read of the socket may hold, in bytes: the most that the system gives as one piece.
pub(super) const READ: usize = 64 << 10;

/// The reads that may be behind one content. On loopback a read brings ten packets, and a buffer is full after eighteen; where
/// each brings one packet, all is copied.
pub(super) const READS: usize = 24;

/// The slices that may be one content. From: a buffer of packets of 1,200 bytes has 219.
const SLICES: usize = 512;

/// The most that lies between two slices of one read, where nothing but the stream's bytes came: a packet's tag, and the
/// headers of a packet and a frame. From: RFC 9000, 17.3 and 19.8, with room to spare.
const BETWEEN: usize = 128;

/// Bytes in the order of their stream.
pub(super) struct Content {
    held: Held,
    len: usize,
}

enum Held {
    Copied(Buffer),
    Lent(Slices),
}

#[derive(Default)]
struct Slices {
    slices: Vec<Bytes>,
    reads: usize,
    /// From the first to the last byte of the last read, with what lies between its slices.
    last: usize,
}

impl Content {
    /// A copy, up to the length of `buffer`.
    pub(super) fn copied(buffer: Buffer) -> Content {
        Content { held: Held::Copied(buffer), len: 0 }
    }

    /// Slices, as they come.
    pub(super) fn lent() -> Content {
        Content { held: Held::Lent(Slices::default()), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_lent(&self) -> bool {
        matches!(self.held, Held::Lent(_))
    }

    /// Adds the next slice. A copy has room for it.
    pub(super) fn push(&mut self, slice: Bytes) {
        let from = self.len;
        self.len += slice.len();
        match &mut self.held {
            Held::Copied(buffer) => buffer[from..self.len].copy_from_slice(&slice),
            Held::Lent(slices) => slices.push(slice),
        }
    }

    /// What its slices may hold, in bytes; none if that is more than may be.
    pub(super) fn holds(&self) -> Option<usize> {
        match &self.held {
            Held::Copied(_) => Some(0),
            Held::Lent(slices) if slices.reads > READS || slices.slices.len() > SLICES => None,
            Held::Lent(slices) => Some(slices.reads * READ),
        }
    }

    /// Makes it a copy.
    pub(super) fn copy(&mut self, buffer: Buffer) {
        let old = mem::replace(self, Content::copied(buffer));
        match old.held {
            Held::Lent(slices) => slices.slices.into_iter().for_each(|slice| self.push(slice)),
            held @ Held::Copied(_) => *self = Content { held, len: old.len },
        }
    }

    /// What is still to be filled of a copy.
    pub(super) fn unfilled(&mut self) -> &mut [u8] {
        match &mut self.held {
            Held::Copied(buffer) => &mut buffer[self.len..],
            Held::Lent(_) => &mut [],
        }
    }

    /// So many bytes of it were filled.
    pub(super) fn filled(&mut self, len: usize) {
        self.len += len;
    }

    /// All of it in one piece.
    pub(super) fn whole(&self, buffers: &Buffers) -> Whole<'_> {
        match &self.held {
            Held::Copied(buffer) => Whole::Here(&buffer[..self.len]),
            Held::Lent(slices) => {
                let mut copy = Content::copied(buffers.take(self.len));
                slices.slices.iter().for_each(|slice| copy.push(slice.clone()));
                Whole::Copy(copy)
            }
        }
    }
}

impl Slices {
    fn push(&mut self, slice: Bytes) {
        let between = self.slices.last().and_then(|last| {
            let end = last.as_ptr() as usize + last.len();
            (slice.as_ptr() as usize).checked_sub(end).filter(|between| *between <= BETWEEN)
        });
        // Reads may lie side by side, too: what counts is how far they reach.
        let reach = match between {
            Some(between) => self.last + between + slice.len(),
            None => {
                self.reads += 1;
                slice.len()
            }
        };
        self.reads += reach.saturating_sub(1) / READ;
        self.last = reach - reach.saturating_sub(1) / READ * READ;
        self.slices.push(slice);
    }
}

/// A content in one piece.
pub(super) enum Whole<'a> {
    Here(&'a [u8]),
    Copy(Content),
}

impl Deref for Whole<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Whole::Here(bytes) => bytes,
            Whole::Copy(content) => match &content.held {
                Held::Copied(buffer) => &buffer[..content.len],
                Held::Lent(_) => &[],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system gave at once, as slices of `len` bytes with `between` other bytes after each.
    fn read(slices: usize, len: usize, between: usize) -> Vec<Bytes> {
        let read = Bytes::from((0..slices * (len + between)).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>());
        (0..slices).map(|at| read.slice(at * (len + between)..).slice(..len)).collect()
    }

    fn lent(slices: &[Bytes]) -> Content {
        let mut content = Content::lent();
        slices.iter().for_each(|slice| content.push(slice.clone()));
        content
    }

    #[test]
    fn slices_and_copies_hold_the_same() {
        let buffers = Buffers::default();
        let slices = [read(10, 1_400, 60), read(3, 1, 0), read(1, 200_000, 0)].concat();
        let all = slices.concat();
        let mut content = lent(&slices);
        assert!(*content.whole(&buffers) == *all && content.len() == all.len() && content.is_lent());
        content.copy(buffers.take(all.len() + 2));
        assert!(*content.whole(&buffers) == *all && !content.is_lent());
        content.unfilled()[..2].copy_from_slice(&[1, 2]);
        content.filled(2);
        content.copy(buffers.take(all.len() + 2));
        assert!(*content.whole(&buffers) == [&all, &[1, 2][..]].concat());
    }

    /// Threat 22: a byte of each read would hold all of them.
    #[test]
    fn slices_count_as_what_they_may_hold() {
        let reads = |slices: &[Bytes]| lent(slices).holds().map(|holds| holds / READ);
        assert_eq!(reads(&read(10, 1_400, 60)), Some(1));
        // A byte of each, and whole ones: in a descending order none follows the one before.
        let first: Vec<Bytes> = (0..=READS).map(|_| read(1, 1, 60).swap_remove(0)).collect();
        let whole = read(READS + 1, READ - BETWEEN, BETWEEN);
        for mut slices in [first, whole] {
            slices.sort_by_key(|slice| std::cmp::Reverse(slice.as_ptr() as usize));
            assert_eq!((reads(&slices[1..]), reads(&slices)), (Some(READS), None));
        }
        // What lies too far apart may be of as many reads.
        assert_eq!(reads(&read(READS, 1_400, BETWEEN + 1)), Some(READS));
        assert_eq!(reads(&read(READS + 1, 1_400, BETWEEN + 1)), None);
        // What reaches further than a read is of several, in one slice or in many that lie side by side.
        assert_eq!((reads(&read(1, READS * READ, 0)), reads(&read(1, READS * READ + 1, 0))), (Some(READS), None));
        assert_eq!(reads(&read(300, 1_000, 100)), Some(6));
        // Little of much, side by side.
        assert_eq!(reads(&read(SLICES, 1, 100)), Some(1));
        assert_eq!(reads(&read(SLICES + 1, 1, 100)), None);
    }
}
