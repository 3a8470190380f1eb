//! Where content is cut into chunks: by what it holds, so that what a change moves is cut as it was (section 8.4 of the
//! spec).

use super::gear::GEAR;
use crate::limits::{CHUNK, MAX_CHUNK, MAX_CHUNKS};

/// How the bytes of one content are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cutter {
    /// Every chunk but the last has this many bytes.
    Equal(u32),
    /// By content.
    Content(Rolling),
}

/// The lengths in bytes of the chunks into which content is cut by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The shortest, but for the last chunk.
    pub shortest: u32,
    /// That from which on a chunk ends more easily.
    pub middle: u32,
    /// The longest.
    pub longest: u32,
}

/// What the end of a chunk depends on: where it is, and the 64 bytes before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rolling {
    lengths: Lengths,
    /// Below which sum a chunk ends, up to its middle length and beyond.
    bounds: [u64; 2],
    /// The sum over the bytes so far of the chunk. A byte has left it after 64 others.
    sum: u64,
}

impl Cutter {
    /// For content of `len` bytes: by content, unless that could make more than [`MAX_CHUNKS`] chunks.
    pub(super) fn new(len: u64) -> Cutter {
        lengths(len).map_or_else(|| Cutter::Equal(chunk_len(len)), |lengths| Cutter::Content(Rolling::new(lengths)))
    }

    /// How many of `bytes`, which follow the first `filled` bytes of a chunk, belong to it, and whether it ends there.
    pub(super) fn next(&mut self, filled: u32, bytes: &[u8]) -> (usize, bool) {
        match self {
            Cutter::Equal(len) => {
                let room = len.saturating_sub(filled) as usize;
                (room.min(bytes.len()), bytes.len() >= room)
            }
            Cutter::Content(rolling) => rolling.next(filled as usize, bytes),
        }
    }
}

impl Rolling {
    fn new(lengths: Lengths) -> Rolling {
        let exponent = lengths.middle.trailing_zeros();
        Rolling { lengths, bounds: [1 << (62 - exponent), 1 << (66 - exponent)], sum: 0 }
    }

    fn next(&mut self, filled: usize, bytes: &[u8]) -> (usize, bool) {
        let Lengths { shortest, middle, longest } = self.lengths;
        let (shortest, middle, longest) = (shortest as usize, middle as usize, longest as usize);
        // A chunk's first bytes never end it, and but for the last 64 of them what they are doesn't matter.
        let mut at = (shortest - WINDOW).saturating_sub(filled).min(bytes.len());
        // Until which length of the chunk a sum below which bound ends it.
        let [hard, easy] = self.bounds;
        let steps = [(shortest - 1, 0), (middle - 1, hard), (longest, easy)];
        for (until, bound) in steps {
            let end = until.saturating_sub(filled).min(bytes.len());
            for byte in bytes.get(at..end).unwrap_or_default() {
                self.sum = (self.sum << 1).wrapping_add(GEAR.get(usize::from(*byte)).copied().unwrap_or(0));
                at += 1;
                if self.sum < bound {
                    return self.end(at);
                }
            }
        }
        if filled + at == longest { self.end(at) } else { (at, false) }
    }

    fn end(&mut self, at: usize) -> (usize, bool) {
        self.sum = 0;
        (at, true)
    }
}

/// The lengths of the chunks into which content of `len` bytes is cut by what it holds: the least that can't make more
/// than [`MAX_CHUNKS`]; none beyond 16 GiB.
pub fn lengths(len: u64) -> Option<Lengths> {
    let of = |exponent: u32| Lengths { shortest: 1 << (exponent - 2), middle: 1 << exponent, longest: 4 << exponent };
    let fits = |lengths: &Lengths| len <= MAX_CHUNKS as u64 * u64::from(lengths.shortest);
    (MIDDLE..=LONGEST).map(of).find(fits)
}

/// The length in bytes of the equal chunks of a blob of `len` bytes: [`CHUNK`], or the smallest power of two that keeps
/// a list within [`MAX_CHUNKS`].
pub fn chunk_len(len: u64) -> u32 {
    let mut chunk = CHUNK as u64;
    while len.div_ceil(chunk) > MAX_CHUNKS as u64 && chunk < MAX_CHUNK as u64 {
        chunk *= 2;
    }
    // At most MAX_CHUNK.
    u32::try_from(chunk).unwrap_or(u32::MAX)
}

/// The bytes that the sum is over.
const WINDOW: usize = 64;

/// The exponent of the middle length: chunks of 16 KiB to 256 KiB, most of about CHUNK bytes.
const MIDDLE: u32 = 16;

/// The greatest exponent: chunks of up to MAX_CHUNK.
const LONGEST: u32 = 20;

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Where chunks end, by the words of section 8.4: every place is looked at by itself.
    fn ends(content: &[u8], lengths: Lengths) -> Vec<usize> {
        let exponent = lengths.middle.trailing_zeros();
        let sum = |place: usize| {
            (0..64).fold(0u64, |sum, k| sum.wrapping_add(GEAR[usize::from(content[place - 1 - k])] << k))
        };
        let mut ends = Vec::new();
        let mut start = 0;
        while start < content.len() {
            let is_end = |place: &usize| {
                let len = (*place - start) as u32;
                let zeros = if len < lengths.middle { exponent + 2 } else { exponent - 2 };
                len == lengths.longest || sum(*place).leading_zeros() >= zeros
            };
            start = (start + lengths.shortest as usize..content.len()).find(is_end).unwrap_or(content.len());
            ends.push(start);
        }
        ends
    }

    fn cut(content: &[u8], lengths: Lengths, read: usize) -> Vec<usize> {
        let (mut cutter, mut start, mut ends) = (Cutter::Content(Rolling::new(lengths)), 0, Vec::new());
        for (at, bytes) in content.chunks(read).enumerate().map(|(at, bytes)| (at * read, bytes)) {
            let mut done = 0;
            while done < bytes.len() {
                let (taken, ended) = cutter.next((at + done - start) as u32, &bytes[done..]);
                done += taken;
                if ended {
                    start = at + done;
                    ends.push(start);
                }
            }
        }
        ends.extend((start < content.len()).then_some(content.len()));
        ends
    }

    #[test]
    fn chunks_end_where_the_spec_says_however_content_is_read() {
        let mut x = 1u64;
        let mut random = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        };
        let noise: Vec<u8> = (0..4_000_000).map(|_| random()).collect();
        let text: Vec<u8> = noise.iter().take(1_000_000).map(|byte| byte % 3).collect();
        let mixed = [&noise[..70_000], &[0; 600_000], &noise[..500_000]].concat();
        let periodic: Vec<u8> = noise.iter().take(20_000).cycle().take(400_000).copied().collect();
        for exponent in MIDDLE..=LONGEST {
            let lengths = lengths(1 << (exponent + 14)).unwrap();
            assert_eq!(lengths.middle, 1 << exponent);
            for content in [&noise, &text, &mixed, &periodic] {
                let right = ends(content, lengths);
                for read in [content.len(), 65_536, 4_099] {
                    assert!(cut(content, lengths, read) == right, "{exponent} {read}");
                }
            }
        }
        assert!(cut(&noise[..100_000], lengths(0).unwrap(), 1) == ends(&noise[..100_000], lengths(0).unwrap()));
    }
}
