//! A seeded source of numbers, and two devices with a network that reorders.

use std::collections::VecDeque;

use segue_crdt::Document;

/// SplitMix64: the same numbers from the same seed, everywhere.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which isn't 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Two devices, and what is on its way between them.
pub(crate) struct Pair<D> {
    pub(crate) docs: [D; 2],
    on_the_way: [VecDeque<Vec<u8>>; 2],
    /// The ops that were flushed, and their bytes.
    pub(crate) ops: usize,
    pub(crate) bytes: usize,
}

impl<D: Document> Pair<D> {
    pub(crate) fn new(docs: [D; 2]) -> Self {
        Pair { docs, on_the_way: Default::default(), ops: 0, bytes: 0 }
    }

    /// Sends what a device has typed.
    pub(crate) fn flush(&mut self, from: usize) {
        while let Some(op) = self.docs[from].flush() {
            assert!(op.len() <= segue_crdt::limits::MAX_UPDATE);
            self.ops += 1;
            self.bytes += op.len();
            self.on_the_way[1 - from].push_back(op);
        }
    }

    /// What is on its way arrives.
    pub(crate) fn meet(&mut self) {
        for to in 0..2 {
            while let Some(op) = self.on_the_way[to].pop_front() {
                self.docs[to].apply(&op).expect("an honest op");
            }
        }
    }
}
