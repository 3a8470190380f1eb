//! What of the strands of revoked devices stands: a function of the roster.

use alloc::collections::BTreeMap;

use super::counting::Standing;
use crate::wire::{ActorId, DeviceId, Hash, PartId};
use crate::{Clause, Rules};

/// The ends that those who revoked a device had accepted of its strands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// By revoked device, and by signer.
    devices: BTreeMap<DeviceId, BTreeMap<DeviceId, Ends>>,
}

type Ends = BTreeMap<(PartId, ActorId), End>;

/// The last op of a strand that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Its number; 0 if none stands.
    pub seq: u64,
    /// Its hash, if the number isn't 0.
    pub hash: Hash,
}

impl Cuts {
    pub(super) fn new(standing: &Standing) -> Cuts {
        let mut devices: BTreeMap<_, BTreeMap<_, Ends>> = BTreeMap::new();
        for (device, revoked) in &standing.revoked {
            let signers = devices.entry(*device).or_default();
            for (signer, cut) in &revoked.cuts {
                let ends = signers.entry(*signer).or_default();
                for tip in cut.tips.iter() {
                    let end = End { seq: tip.seq, hash: tip.hash };
                    ends.entry((tip.part, tip.actor)).and_modify(|known| *known = end.max(*known)).or_insert(end);
                }
            }
        }
        Cuts { devices }
    }

    /// Whether nobody is revoked.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The last op that stands of a strand; none if all do (ACCOUNT-CUT-2). A writer that nobody named may be any.
    pub fn end(&self, rules: Rules, writer: Option<&DeviceId>, part: &PartId, actor: &ActorId) -> Option<End> {
        let none = End { seq: 0, hash: Hash::ZERO };
        let of = |signers: &BTreeMap<DeviceId, Ends>| {
            let mut ends = signers.values().map(|ends| ends.get(&(*part, *actor)).copied().unwrap_or(none));
            let first = ends.next().unwrap_or(none);
            let all = rules.keeps(Clause::ACCOUNT_CUT_2);
            ends.fold(first, |end, other| if all { end.min(other) } else { end.max(other) })
        };
        match writer {
            Some(device) => self.devices.get(device).map(of),
            None => self.devices.values().map(of).max(),
        }
    }
}
