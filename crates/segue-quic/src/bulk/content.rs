//! What was read of a stream and isn't kept yet: a copy, or the slices themselves of what came from the socket.
//!
//! To copy costs whoever reads the network some hundredths of its time. But a slice of one byte may hold all that the system
//! gave at once, so slices are kept only while not many such reads are behind them.

use std::mem;
use std::ops::Deref;

use bytes::Bytes;

use super::buffers::{Buffer, Buffers};
use super::lending::Loan;

/// What a slice may hold, in bytes: the most that the system gives of a socket as one piece.
pub(super) const READ: usize = 64 << 10;

/// The reads that may be behind one content. On loopback a read brings ten packets, and a buffer is full after eighteen; where
/// each brings one packet, all is copied.
pub(super) const READS: usize = 24;

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

struct Slices {
    loan: Loan,
    slices: Vec<Bytes>,
    reads: usize,
    /// The bytes of the last read's slices.
    last: usize,
}

impl Content {
    /// A copy, up to the length of `buffer`.
    pub(super) fn copied(buffer: Buffer) -> Content {
        Content { held: Held::Copied(buffer), len: 0 }
    }

    /// Slices, as they come.
    pub(super) fn lent(loan: Loan) -> Content {
        Content { held: Held::Lent(Slices { loan, slices: Vec::new(), reads: 0, last: 0 }), len: 0 }
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

    /// Whether more reads are behind it than may be.
    pub(super) fn is_scattered(&self) -> bool {
        matches!(&self.held, Held::Lent(slices) if slices.reads > READS)
    }

    /// Nothing more comes.
    pub(super) fn settle(&mut self) {
        if let Held::Lent(slices) = &mut self.held {
            slices.loan.shrink(slices.reads);
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
        let follows = self.slices.last().is_some_and(|last| {
            let between = (slice.as_ptr() as usize).checked_sub(last.as_ptr() as usize + last.len());
            between.is_some_and(|between| between <= BETWEEN)
        });
        if !follows || self.last + slice.len() > READ {
            (self.reads, self.last) = (self.reads + 1, 0);
        }
        // One that is longer is what several reads were joined to.
        self.reads += slice.len() / READ;
        self.last += slice.len() % READ;
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
    use crate::bulk::Lending;
    use crate::transport::LENT;

    /// What the system gave at once, as slices of `len` bytes with `between` other bytes after each.
    fn read(slices: usize, len: usize, between: usize) -> Vec<Bytes> {
        let read = Bytes::from((0..slices * (len + between)).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<_>>());
        (0..slices).map(|at| read.slice(at * (len + between)..).slice(..len)).collect()
    }

    fn lent(lending: &Lending, slices: &[Bytes]) -> Content {
        let mut content = Content::lent(lending.content().unwrap());
        slices.iter().for_each(|slice| content.push(slice.clone()));
        content
    }

    fn free(lending: &Lending) -> usize {
        let mut held: Vec<_> = std::iter::from_fn(|| lending.content()).collect();
        held.iter_mut().for_each(|loan| loan.shrink(READS));
        held.len()
    }

    #[test]
    fn slices_and_copies_hold_the_same() {
        let (buffers, lending) = (Buffers::default(), Lending::new());
        let slices = [read(10, 1_400, 60), read(3, 1, 0), read(1, 200_000, 0)].concat();
        let all = slices.concat();
        let mut content = lent(&lending, &slices);
        assert!(*content.whole(&buffers) == *all && content.len() == all.len() && content.is_lent());
        content.copy(buffers.take(all.len() + 2));
        assert!(*content.whole(&buffers) == *all && !content.is_lent());
        content.unfilled()[..2].copy_from_slice(&[1, 2]);
        content.filled(2);
        content.copy(buffers.take(all.len() + 2));
        assert!(*content.whole(&buffers) == [&all, &[1, 2][..]].concat());
    }

    /// Threat 22: one byte of each read would hold all of them.
    #[test]
    fn what_is_scattered_over_more_reads_than_may_be_is_seen() {
        let lending = Lending::new();
        // One read after the other, whole: as many as there are.
        let whole: Vec<Bytes> = (0..READS).flat_map(|_| read(10, 1_400, 60)).collect();
        assert!(!lent(&lending, &whole).is_scattered());
        // A byte of each, and one more read than may be.
        let first = |_| read(10, 1_400, 60).swap_remove(0);
        assert!(!lent(&lending, &(0..READS).map(first).collect::<Vec<_>>()).is_scattered());
        assert!(lent(&lending, &(0..=READS).map(first).collect::<Vec<_>>()).is_scattered());
        // Slices of one read with other things between them may be of as many reads.
        let apart = read(READS + 1, 1_400, BETWEEN + 1);
        assert!(lent(&lending, &apart).is_scattered());
        // One slice that is as long as more reads.
        assert!(lent(&lending, &read(1, (READS + 1) * READ, 0)).is_scattered());
        // Slices that lie side by side, together longer than a read can be.
        assert!(lent(&lending, &read(READS + 1, READ - 1, 0)).is_scattered());
    }

    #[test]
    fn a_loan_is_as_long_as_what_it_is_for_and_comes_back() {
        let lending = Lending::new();
        let all = LENT / READ / READS;
        assert_eq!(free(&lending), all);
        let mut contents: Vec<Content> = (0..all).map(|_| lent(&lending, &read(10, 1_400, 60))).collect();
        assert!(free(&lending) == 0 && lending.ahead().is_none());
        contents.iter_mut().for_each(Content::settle);
        assert!(free(&lending) >= all - 1, "a read each is held");
        contents.iter_mut().for_each(|content| content.copy(Buffers::default().take(content.len())));
        assert_eq!(free(&lending), all);
    }
}
