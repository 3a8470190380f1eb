//! Chunks that lie in other content on this device: what a changed file has from its version before (TRANSFER-REUSE-1).

use std::collections::HashSet;
use std::sync::Arc;

use segue_proto::Rules;
use segue_proto::data::Entry;
use segue_proto::transfer::{Plan, Verified};
use segue_store::StoreError;

use super::Storage;

impl Storage {
    /// Shows every chunk of `plan` that the device holds to `found`: those that lie in its place, and those of `old`,
    /// which are copied there.
    pub(crate) fn find(
        &self,
        rules: Rules,
        plan: &Arc<Plan>,
        old: &[Entry],
        mut found: impl FnMut(Verified),
    ) -> Result<(), StoreError> {
        let mut held = HashSet::new();
        self.search(rules, plan, |chunk| {
            held.insert(chunk.index());
            found(chunk);
        })?;
        if held.len() == plan.chunks() as usize { Ok(()) } else { self.reuse(rules, plan, old, held, found) }
    }

    /// What is read in other content is verified as what came over a link: a file may have changed since it was listed.
    fn reuse(
        &self,
        rules: Rules,
        plan: &Arc<Plan>,
        old: &[Entry],
        mut held: HashSet<u32>,
        mut found: impl FnMut(Verified),
    ) -> Result<(), StoreError> {
        let mut buffer = Vec::new();
        for entry in old {
            let (Some(list), Some(source)) = (self.list_of(entry), self.open(&entry.blob, entry.len)) else { continue };
            for (index, offset) in plan.shared(rules, entry.len, &list) {
                let Some(chunk) = plan.chunk(index).filter(|_| !held.contains(&index)) else { continue };
                buffer.resize(chunk.len as usize, 0);
                let read = source.read_exact_at(offset, &mut buffer).is_ok();
                let Some(verified) = read.then(|| plan.verify_chunk(rules, index, &buffer).ok()).flatten() else {
                    continue;
                };
                if !self.store(plan, std::slice::from_ref(&verified), &buffer)? {
                    return Ok(());
                }
                held.insert(index);
                found(verified);
            }
        }
        Ok(())
    }

    /// The chunk list of an entry's content, if it is here.
    fn list_of(&self, entry: &Entry) -> Option<Vec<u8>> {
        let list = entry.chunks.get()?;
        let mut bytes = vec![0; list.len as usize];
        self.open(&list.hash, u64::from(list.len))?.read_exact_at(0, &mut bytes).ok()?;
        Some(bytes)
    }
}
