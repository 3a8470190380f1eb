//! Which chunks of the blobs that are on their way were stored: to know when a blob is complete.

use std::collections::HashMap;

use segue_proto::transfer::{Plan, Verified};
use segue_proto::wire::Hash;

/// Blobs that are followed at once. Above the window of a hundred fetches, so that only what nobody fetches any more is
/// dropped; a blob that is dropped is found again by the next search.
const MAX_FOLLOWED: usize = 4_096;

/// The chunks that were stored, by blob.
#[derive(Default)]
pub(super) struct Progress {
    blobs: HashMap<Hash, Stored>,
    clock: u64,
}

struct Stored {
    chunks: Vec<u64>,
    missing: u32,
    touched: u64,
}

impl Progress {
    /// Adds chunks; whether they were the last that were missing.
    pub(super) fn add(&mut self, plan: &Plan, chunks: &[Verified]) -> bool {
        self.clock += 1;
        if !self.blobs.contains_key(&plan.blob()) && self.blobs.len() >= MAX_FOLLOWED {
            self.drop_oldest();
        }
        let stored = self.blobs.entry(plan.blob()).or_insert_with(|| Stored {
            chunks: vec![0; (plan.chunks() as usize).div_ceil(64)],
            missing: plan.chunks(),
            touched: 0,
        });
        stored.touched = self.clock;
        for chunk in chunks {
            stored.add(chunk.index());
        }
        stored.missing == 0
    }

    /// The blob is complete: it needs no following any more.
    pub(super) fn done(&mut self, blob: &Hash) {
        self.blobs.remove(blob);
    }

    fn drop_oldest(&mut self) {
        let oldest = self.blobs.iter().min_by_key(|(_, stored)| stored.touched).map(|(blob, _)| *blob);
        if let Some(blob) = oldest {
            self.blobs.remove(&blob);
        }
    }
}

impl Stored {
    fn add(&mut self, index: u32) {
        let Some(word) = self.chunks.get_mut(index as usize / 64) else { return };
        let bit = 1 << (index % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.missing -= 1;
        }
    }
}
