//! The check of a whole blob (TRANSFER-WHOLE-1): a chunk list may name any chunks, and only together do they have to be
//! what the blob's id says.

use blake3::Hasher;
use segue_proto::transfer::Plan;

/// Hashes a blob as its verified bytes come by, as far as they come in order, while they are at hand anyway.
#[derive(Default)]
pub(super) struct Whole {
    /// Boxed, as it is some 2 KB large.
    hasher: Option<Box<Hasher>>,
    upto: u64,
}

impl Whole {
    /// Takes in verified bytes. Those that don't continue the ones before are left for [`Whole::matches`].
    pub(super) fn follow(&mut self, plan: &Plan, offset: u64, bytes: &[u8]) {
        if offset == self.upto && !is_its_chunk(plan) {
            self.hasher.get_or_insert_default().update(bytes);
            self.upto += bytes.len() as u64;
        }
    }

    /// Whether the blob is what its id says; `read` shows the verified bytes from an offset to the end, in order.
    pub(super) fn matches<E>(
        self,
        plan: &Plan,
        read: impl FnOnce(u64, &mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<bool, E> {
        if is_its_chunk(plan) {
            return Ok(true);
        }
        let mut hasher = self.hasher.unwrap_or_default();
        if self.upto < plan.len() {
            read(self.upto, &mut |bytes| {
                hasher.update(bytes);
            })?;
        }
        Ok(hasher.finalize().as_bytes() == plan.blob().as_bytes())
    }

    /// How far it has come, in bytes.
    pub(super) fn upto(&self) -> u64 {
        self.upto
    }
}

/// Whether the blob is just a chunk, with its own hash: so it is without a chunk list. A list of one chunk may name
/// another hash.
fn is_its_chunk(plan: &Plan) -> bool {
    plan.chunks() <= 1 && plan.chunk(0).is_none_or(|chunk| chunk.hash == plan.blob())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use segue_proto::Rules;
    use segue_proto::transfer::{ChunkList, ChunkRef, Plan};
    use segue_proto::wire::hash::blob_id;
    use segue_proto::wire::{Hash, List};
    use segue_store::Blobs;
    use tempfile::TempDir;
    use tokio::sync::mpsc;

    use crate::storage::Storage;

    /// Both kinds of storage.
    fn storages() -> (TempDir, [Storage; 2]) {
        let (dir, alive) = (tempfile::tempdir().unwrap(), mpsc::channel(1).0);
        let disk = Storage::disk(Blobs::open(dir.path()).unwrap(), dir.path(), None, alive.clone()).unwrap();
        (dir, [disk, Storage::memory(None, alive)])
    }

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
    }

    /// A plan by a list that names the chunks of `content`, for whatever blob.
    fn plan(blob: Hash, content: &[u8], chunk: usize) -> Arc<Plan> {
        let of = |bytes: &[u8]| ChunkRef { len: bytes.len() as u32, hash: blob_id(bytes) };
        let list = ChunkList { chunks: List::new(content.chunks(chunk).map(of).collect()).unwrap() };
        Arc::new(Plan::listed(Rules::ALL, blob, content.len() as u64, &list).unwrap())
    }

    /// Stores chunks in this order; whether all of them count.
    fn store(storage: &Storage, plan: &Arc<Plan>, content: &[u8], order: &[u32]) -> bool {
        let store = |index: &u32| {
            let chunk = plan.chunk(*index).unwrap();
            let bytes = &content[chunk.offset as usize..][..chunk.len as usize];
            storage.store(plan, &[plan.verify_chunk(Rules::ALL, *index, bytes).unwrap()], bytes).unwrap()
        };
        order.iter().map(store).filter(|counts| !counts).count() == 0
    }

    fn searched(storage: &Storage, plan: &Arc<Plan>) -> usize {
        let mut found = 0;
        storage.search(Rules::ALL, plan, |_| found += 1).unwrap();
        found
    }

    /// TRANSFER-WHOLE-1: in order the hash follows the chunks, out of order they are read again.
    #[test]
    fn chunks_in_any_order_make_a_blob_only_if_the_whole_is_what_its_id_says() {
        let content = content(200_000);
        for order in [[0, 1, 2, 3], [3, 1, 0, 2], [1, 2, 3, 0]] {
            let (_dir, storages) = storages();
            for storage in storages {
                let right = plan(blob_id(&content), &content, 65_536);
                assert!(store(&storage, &right, &content, &order));
                assert!(storage.open(&right.blob(), right.len()).is_some());
                let wrong = plan(blob_id(b"other"), &content, 65_536);
                assert!(!store(&storage, &wrong, &content, &order), "{order:?}");
                assert!(storage.open(&wrong.blob(), wrong.len()).is_none());
                // Nor later, whatever is looked for or sent again.
                assert_eq!(searched(&storage, &wrong), 0);
                assert!(!store(&storage, &wrong, &content, &[3]));
                assert!(storage.open(&wrong.blob(), wrong.len()).is_none());
            }
        }
    }

    /// TRANSFER-WHOLE-1: a list of one chunk is a list.
    #[test]
    fn the_only_chunk_of_a_list_need_not_be_the_blob() {
        let (content, (_dir, storages)) = (content(65_537), storages());
        for storage in storages {
            let wrong = plan(blob_id(b"other"), &content, 65_537);
            assert!(!store(&storage, &wrong, &content, &[0]));
            assert!(storage.open(&wrong.blob(), wrong.len()).is_none());
        }
    }

    /// TRANSFER-WHOLE-1: what another chunk list brought doesn't count for this one.
    #[test]
    fn a_wrong_list_neither_spoils_a_right_one_nor_mixes_with_it() {
        let (content, (_dir, storages)) = (content(200_000), storages());
        let mut forged = content.clone();
        forged[150_000] ^= 1;
        for storage in storages {
            let (right, wrong) = (plan(blob_id(&content), &content, 50_000), plan(blob_id(&content), &forged, 65_536));
            assert!(store(&storage, &wrong, &forged, &[0, 1]));
            assert!(!store(&storage, &right, &content, &[3]), "two lists at once");
            assert!(!store(&storage, &wrong, &forged, &[2, 3]));
            assert!(store(&storage, &right, &content, &[3, 2, 1, 0]));
            assert!(!store(&storage, &wrong, &forged, &[0, 1, 2, 3]));
            let source = storage.open(&right.blob(), right.len()).unwrap();
            let mut held = vec![0; content.len()];
            source.read_exact_at(0, &mut held).unwrap();
            assert!(held == content);
        }
    }

    /// TRANSFER-WHOLE-1: what lies in a partial file since before a restart is checked by the same code.
    #[test]
    fn what_is_found_on_the_device_is_checked_too() {
        let content = content(200_000);
        for (blob, found) in [(blob_id(&content), 4), (blob_id(b"other"), 0)] {
            let (dir, [storage, _]) = storages();
            let plan = plan(blob, &content, 65_536);
            let blobs = storage.blobs().unwrap();
            blobs.partial(&blob, plan.len()).unwrap().write(0, &content).unwrap();
            assert_eq!(searched(&storage, &plan), found);
            assert_eq!(storage.open(&blob, plan.len()).is_some(), found > 0);
            drop(dir);
        }
    }
}
