//! The bodies of ops, many to an allocation: they are short and stay for long, and each in a place of its own would
//! scatter whatever else the application keeps over many pages.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The bodies of a strand's ops, one behind the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Bodies {
    buffers: VecDeque<Vec<u8>>,
    /// How many buffers were let go.
    gone: u64,
}

/// Where a body is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    buffer: u64,
    at: u32,
    len: u32,
}

impl Place {
    /// The body's length in bytes.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}

impl Bodies {
    /// Keeps a body behind all others. What is longer than a buffer has one of its own.
    pub(super) fn push(&mut self, body: &[u8]) -> Place {
        let fits = |last: &Vec<u8>| last.capacity() - last.len() >= body.len();
        if !self.buffers.back().is_some_and(fits) {
            let full = self.buffers.back().map_or(0, Vec::len);
            self.buffers.push_back(Vec::with_capacity((full * 2).clamp(LEAST, MOST).max(body.len())));
        }
        let buffer = self.gone + self.buffers.len() as u64 - 1;
        let mut place = Place { buffer, at: 0, len: body.len() as u32 };
        if let Some(last) = self.buffers.back_mut() {
            place.at = last.len() as u32;
            last.extend_from_slice(body);
        }
        place
    }

    /// The body at a place; nothing if it isn't here.
    pub(super) fn get(&self, place: &Place) -> &[u8] {
        let buffer = self.buffer(place.buffer).and_then(|at| self.buffers.get(at));
        let (at, len) = (place.at as usize, place.len as usize);
        buffer.and_then(|buffer| buffer.get(at..at + len)).unwrap_or_default()
    }

    /// Lets those before a place go, or all: a buffer goes with its last.
    pub(super) fn let_go(&mut self, before: Option<&Place>) {
        let buffers = before.map_or(self.buffers.len(), |place| self.buffer(place.buffer).unwrap_or(0));
        self.gone += self.buffers.drain(..buffers).count() as u64;
    }

    /// Takes a body and those behind it out.
    pub(super) fn cut(&mut self, from: &Place) {
        let Some(at) = self.buffer(from.buffer) else { return };
        self.buffers.truncate(at + 1);
        if let Some(last) = self.buffers.back_mut() {
            last.truncate(from.at as usize);
        }
    }

    fn buffer(&self, number: u64) -> Option<usize> {
        number.checked_sub(self.gone).and_then(|at| usize::try_from(at).ok())
    }
}

/// The first buffer's size in bytes, and the most that one has.
const LEAST: usize = 128;
const MOST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_was_pushed_is_there_until_it_goes() {
        let mut bodies = Bodies::default();
        let body = |n: usize| vec![n as u8; [0, 1, 40, 300, 70_000, 16_384][n % 6]];
        let places: Vec<_> = (0..60).map(|n| bodies.push(&body(n))).collect();
        let mut copy = bodies.clone();
        let more: Vec<_> = (60..90).map(|n| copy.push(&body(n))).collect();
        for (n, place) in places.iter().chain(&more).enumerate() {
            assert_eq!(copy.get(place), body(n), "{n}");
        }
        copy.let_go(Some(&places[30]));
        copy.cut(&more[10]);
        let again = copy.push(b"again");
        for (n, place) in places.iter().chain(&more).enumerate().take(70).skip(30) {
            assert_eq!(copy.get(place), body(n), "{n}");
        }
        assert_eq!((copy.get(&again), copy.get(&places[4])), (&b"again"[..], &[][..]));
        assert!(copy.buffers.len() < bodies.buffers.len());
        copy.let_go(None);
        assert!(copy.buffers.is_empty() && copy.get(&again).is_empty());
        let last = copy.push(b"last");
        assert_eq!(copy.get(&last), b"last");
    }

    #[test]
    fn many_short_bodies_share_few_buffers() {
        let mut bodies = Bodies::default();
        for _ in 0..100_000 {
            bodies.push(&[7; 30]);
        }
        assert!(bodies.buffers.len() <= 3_000_000 / MOST + 12, "{}", bodies.buffers.len());
    }
}
