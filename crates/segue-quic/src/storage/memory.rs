//! Blobs in memory, for tests and for measurements without a disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use segue_proto::transfer::Plan;
use segue_proto::wire::Hash;

/// Blobs by hash. Nothing bounds them but what the application's sessions hold.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<Hash, Held>>);

enum Held {
    Partial(Vec<u8>),
    Complete(Bytes),
}

impl Memory {
    pub(super) fn put(&self, blob: Hash, bytes: Bytes) {
        self.lock().insert(blob, Held::Complete(bytes));
    }

    pub(super) fn get(&self, blob: &Hash) -> Option<Bytes> {
        match self.lock().get(blob) {
            Some(Held::Complete(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(super) fn is_partial(&self, blob: &Hash) -> bool {
        matches!(self.lock().get(blob), Some(Held::Partial(_)))
    }

    pub(super) fn write(&self, plan: &Plan, offset: u64, bytes: &[u8]) {
        let mut blobs = self.lock();
        let held = blobs.entry(plan.blob()).or_insert_with(|| Held::Partial(Vec::new()));
        let Held::Partial(content) = held else { return };
        let Ok(from) = usize::try_from(offset) else { return };
        // It grows with what arrives, not with what was announced.
        if from == content.len() {
            return content.extend_from_slice(bytes);
        }
        let to = from + bytes.len();
        if content.len() < to {
            content.resize(to, 0);
        }
        content[from..to].copy_from_slice(bytes);
    }

    pub(super) fn complete(&self, blob: &Hash) {
        let mut blobs = self.lock();
        if let Some(Held::Partial(content)) = blobs.get_mut(blob) {
            let bytes = Bytes::from(std::mem::take(content));
            blobs.insert(*blob, Held::Complete(bytes));
        }
    }

    /// Shows the bytes of every chunk that is covered, by its index.
    pub(super) fn search(&self, plan: &Plan, look: &mut impl FnMut(usize, &[u8]) -> bool) {
        let blobs = self.lock();
        let Some(Held::Partial(content)) = blobs.get(&plan.blob()) else { return };
        for (index, (offset, len)) in super::spans(plan).enumerate() {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let Some(bytes) = content.get(from..from.saturating_add(len as usize)) else { break };
            look(index, bytes);
        }
    }

    /// Shows what is held of a blob from `from` on.
    pub(super) fn show(&self, blob: &Hash, from: u64, show: &mut dyn FnMut(&[u8])) {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let blobs = self.lock();
        let held: &[u8] = match blobs.get(blob) {
            Some(Held::Partial(content)) => content,
            Some(Held::Complete(content)) => content,
            None => &[],
        };
        show(held.get(from..).unwrap_or_default());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
