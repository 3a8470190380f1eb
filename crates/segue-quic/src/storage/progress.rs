//! Which chunks of the blobs that are on their way were stored: to know when a blob is complete.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use segue_proto::limits;
use segue_proto::transfer::{Plan, Verified};
use segue_proto::wire::Hash;

use super::whole::Whole;

/// Blobs that are followed at once. Above the window of a hundred fetches, so that only what nobody fetches any more is
/// dropped; a blob that is dropped is found again by the next search.
const MAX_FOLLOWED: usize = 4_096;

/// When a blob that nobody brought anything of may be received by another chunk list: its streams have ended by then.
const IDLE: Duration = Duration::from_micros(limits::IDLE);

/// The chunks that were stored, by blob.
///
/// Two chunk lists of one blob would overwrite each other's chunks, and one of them is wrong. So a blob is received by
/// one list at a time.
#[derive(Default)]
pub(super) struct Progress(HashMap<Hash, Followed>);

struct Followed {
    plan: Arc<Plan>,
    chunks: Vec<u64>,
    missing: u32,
    whole: Whole,
    /// Its chunks make another blob.
    wrong: bool,
    touched: Instant,
}

impl Progress {
    /// Before chunks are stored: what was hashed of the blob so far, until [`Progress::add`]. None if nothing must be
    /// stored by this plan.
    pub(super) fn begin(&mut self, plan: &Arc<Plan>) -> Option<Whole> {
        let blob = plan.blob();
        let now = Instant::now();
        let old = self.0.get(&blob).filter(|old| !same(&old.plan, plan));
        if old.is_some_and(|old| !old.wrong && now.duration_since(old.touched) < IDLE) {
            return None;
        }
        if old.is_some() {
            self.0.remove(&blob);
        }
        if !self.0.contains_key(&blob) && self.0.len() >= MAX_FOLLOWED {
            self.drop_oldest();
        }
        let followed = self.0.entry(blob).or_insert_with(|| Followed::new(plan.clone(), now));
        followed.touched = now;
        (!followed.wrong).then(|| std::mem::take(&mut followed.whole))
    }

    /// Adds chunks that were stored. If they were the last that were missing, the whole is to be checked.
    pub(super) fn add(&mut self, plan: &Arc<Plan>, chunks: &[Verified], whole: Whole) -> Option<Whole> {
        let followed = self.0.get_mut(&plan.blob()).filter(|followed| same(&followed.plan, plan))?;
        chunks.iter().for_each(|chunk| followed.add(chunk.index()));
        if followed.missing == 0 {
            return Some(whole);
        }
        // Another may have stored chunks meanwhile; who came further goes on.
        if whole.upto() >= followed.whole.upto() {
            followed.whole = whole;
        }
        None
    }

    /// The blob is complete: it needs no following any more.
    pub(super) fn done(&mut self, blob: &Hash) {
        self.0.remove(blob);
    }

    /// The chunks of the blob's list make another blob: nothing more is stored by that list.
    pub(super) fn wrong(&mut self, blob: &Hash) {
        if let Some(followed) = self.0.get_mut(blob) {
            followed.wrong = true;
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, followed)| followed.touched).map(|(blob, _)| *blob);
        if let Some(blob) = oldest {
            self.0.remove(&blob);
        }
    }
}

impl Followed {
    fn new(plan: Arc<Plan>, touched: Instant) -> Self {
        let (missing, whole) = (plan.chunks(), Whole::default());
        Followed { plan, chunks: vec![0; (missing as usize).div_ceil(64)], missing, whole, wrong: false, touched }
    }

    fn add(&mut self, index: u32) {
        let Some(word) = self.chunks.get_mut(index as usize / 64) else { return };
        let bit = 1 << (index % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.missing -= 1;
        }
    }
}

/// Whether two plans of a blob have the same chunks.
fn same(a: &Arc<Plan>, b: &Arc<Plan>) -> bool {
    let chunks = |plan: &Plan| (0..plan.chunks()).filter_map(|index| plan.chunk(index)).collect::<Vec<_>>();
    Arc::ptr_eq(a, b) || (a.chunks() == b.chunks() && chunks(a) == chunks(b))
}
