//! Exclusive values whose writer's epoch ended before another device took over: who owns since may never have got them
//! (SERVICE-HELD-1).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{SessionData, Taken};
use crate::clause::{Clause, Rules};
use crate::data::{NewOp, Part, PartKind, State, actor_id};
use crate::handoff::{Inline, keys};
use crate::journal::Write;
use crate::wire::{DeviceId, Final, Hash, Nonce, PartId, Writer};

impl SessionData {
    pub(super) fn find_lapsed(&mut self, lapsed: &dyn Fn(&Hash) -> bool) {
        let all = |part: &&Part| part.values.iter().all(|value| lapsed(&value.op.record));
        self.lapsed = self.state.iter().flat_map(State::exclusive).filter(all).map(|part| part.part).collect();
    }

    /// Writes them anew, as they are.
    pub(super) fn write_lapsed(
        &mut self,
        rules: Rules,
        by: Writer,
        record: Hash,
        salt: &mut dyn FnMut() -> Nonce,
    ) -> Vec<Write> {
        let (actor, kind) = (actor_id(&by.device, &by.nonce), PartKind::Exclusive.number());
        let mut writes = Vec::new();
        for part in core::mem::take(&mut self.lapsed) {
            let value = self.state.as_ref().and_then(|state| state.part(&part)?.values.iter().next());
            let Some((hlc, body)) = value.map(|value| (value.op.hlc, value.op.body.to_vec())) else { continue };
            let new = NewOp { actor, part, kind, hlc, record, salt: salt(), body, resolves: false };
            // A part that has no room for one more writer stays as it is.
            writes.extend(self.write(rules, new).unwrap_or_default());
        }
        if !writes.is_empty() && rules.keeps(Clause::DATA_WRITER_1) {
            let mut taken = Taken::default();
            self.name_writers(rules, alloc::vec![by], &mut taken);
            writes.extend(taken.writes);
        }
        writes
    }

    /// Whether this device's exclusive parts are those of a FINAL but for some that lapsed.
    pub(super) fn gives_up_lapsed(&self, end: &Final, inline: &Inline) -> bool {
        let left = || self.state.as_ref().is_some_and(|state| state.roots_without(&self.lapsed).1 == end.exclusive);
        *inline == Inline::default() && !self.lapsed.is_empty() && left()
    }

    /// The owner never took them in: this device's data is without them from now on.
    pub(super) fn give_up_lapsed(&mut self, end: &Final, inline: &Inline, by: (u64, DeviceId)) -> Vec<Write> {
        let fits = self.state.as_ref().is_some_and(|state| state.exclusive_root() == end.exclusive);
        let Some(mut left) = self.state.clone().filter(|_| !fits && self.gives_up_lapsed(end, inline)) else {
            return Vec::new();
        };
        self.lapsed.iter().for_each(|part| left.remove(part));
        let (data, bytes) = left.announce();
        let lacking: BTreeMap<_, _> =
            self.missing.iter().map(|(blob, entry)| (*blob, (PartId::ZERO, entry.clone()))).collect();
        let mut writes = alloc::vec![keys::put(self.session, keys::MANIFEST, data.manifest.as_bytes(), bytes)];
        writes.extend(self.rebase(left, data.manifest, &lacking, by));
        writes
    }
}
