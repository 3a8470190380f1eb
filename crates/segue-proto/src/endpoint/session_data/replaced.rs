//! Files that are here and whose place content took that is still to come: what of them is in that needn't come
//! (TRANSFER-REUSE-1).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::data::Entry;
use crate::limits::MAX_PATH;
use crate::wire::{Hash, PartId, Text};

/// By part and blob, and found by their paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Replaced {
    files: BTreeMap<(PartId, Hash), Entry>,
    paths: BTreeSet<(Text<MAX_PATH>, PartId, Hash)>,
}

impl Replaced {
    /// How many a part has.
    pub(super) fn count(&self, part: PartId) -> usize {
        self.files.range((part, Hash::ZERO)..).take_while(|(key, _)| key.0 == part).count()
    }

    /// True if it is new.
    pub(super) fn insert(&mut self, part: PartId, file: Entry) -> bool {
        self.paths.insert((file.path.clone(), part, file.blob));
        self.files.insert((part, file.blob), file).is_none()
    }

    pub(super) fn at(&self, path: &Text<MAX_PATH>) -> impl Iterator<Item = &Entry> {
        self.keys_at(path).filter_map(|key| self.files.get(&key))
    }

    /// Forgets those at a path.
    pub(super) fn remove_at(&mut self, path: &Text<MAX_PATH>) -> Vec<(PartId, Hash)> {
        let gone: Vec<_> = self.keys_at(path).collect();
        gone.iter().for_each(|key| {
            self.files.remove(key);
            self.paths.remove(&(path.clone(), key.0, key.1));
        });
        gone
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) -> Vec<(PartId, Hash)> {
        self.paths.clear();
        core::mem::take(&mut self.files).into_keys().collect()
    }

    fn keys_at(&self, path: &Text<MAX_PATH>) -> impl Iterator<Item = (PartId, Hash)> {
        let first = (path.clone(), PartId::new([0; 16]), Hash::ZERO);
        let from = self.paths.range(first..).take_while(move |(at, ..)| at == path);
        from.map(|(_, part, blob)| (*part, *blob))
    }
}
