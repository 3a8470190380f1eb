//! Buffers that are used again. A fresh one of this size costs the system as much as the bytes that go through it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// The length of a pooled buffer: what is read from a disk or a stream at once.
pub(crate) const BUFFER: usize = 256 << 10;

/// Shorter ones are allocated: a pooled one would tie up more than twice what it holds.
const MIN_POOLED: usize = BUFFER / 2;

/// Buffers that are kept while nobody uses them: what one busy link needs.
const KEPT: usize = 64;

/// The buffers of a node. A cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes that go back where they came from. What they hold at first is what they held last.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl Buffers {
    /// A buffer of `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Buffer {
        let pooled = (MIN_POOLED..=BUFFER).contains(&len);
        let kept = pooled.then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()).flatten();
        let bytes = kept.unwrap_or_else(|| vec![0; if pooled { BUFFER } else { len }]);
        Buffer { bytes, len, home: self.clone() }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == BUFFER {
            let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_come_back_and_small_ones_do_not() {
        let buffers = Buffers::default();
        let mut large = buffers.take(BUFFER - 1);
        large[0] = 7;
        assert_eq!(large.len(), BUFFER - 1);
        drop((large, buffers.take(10), buffers.take(BUFFER + 1)));
        assert_eq!(buffers.0.lock().unwrap().len(), 1);
        assert_eq!(buffers.take(MIN_POOLED)[0], 7);
    }
}
