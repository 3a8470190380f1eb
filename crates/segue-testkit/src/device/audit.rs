//! What a simulated device is asked after each of its steps: whether what its core says of itself fits together, whether it
//! is so in fact, and whether a device that is opened with the same journal would say the same.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Code, Config, Continuity, Endpoint, Instant, Lsn};

use super::{Contents, Outputs};

/// What the core wrote so far, and how often it did.
pub(super) struct Audit {
    config: Config,
    journal: BTreeMap<Vec<u8>, Vec<u8>>,
    last: Lsn,
    batches: u64,
}

impl Audit {
    pub(super) fn new(config: Config, disk: &Contents) -> Audit {
        Audit { config, journal: disk.entries.clone(), last: disk.last, batches: 0 }
    }

    /// Looks at a core after a step that put this out.
    ///
    /// # Panics
    /// If something doesn't fit.
    pub(super) fn look(&mut self, now: Instant, core: &Endpoint, out: &Outputs) {
        let before = self.batches;
        for batch in &out.batches {
            assert_eq!(batch.lsn.0, self.last.0 + 1, "a batch follows the one before");
            for write in &batch.writes {
                match write.value.clone() {
                    Some(value) => drop(self.journal.insert(write.key.clone(), value)),
                    None => drop(self.journal.remove(&write.key)),
                }
            }
            (self.last, self.batches) = (batch.lsn, self.batches + 1);
        }
        assert_eq!(core.last_lsn(), self.last, "the last batch");
        assert!(core.durable_lsn() <= self.last);
        // To look costs as much as there is: a session that grew by an op or two needn't be looked at again.
        let often = 1 + self.journal.len() as u64 / 64;
        if core.is_halted() || before / often == self.batches / often {
            return;
        }
        core.sessions().iter().for_each(|id| agrees_with_itself(core, id));
        agrees_over_all(core);
        let seldom = 4 * often + self.journal.len() as u64 / 16;
        if self.journal.len() <= MOST && before / seldom != self.batches / seldom {
            self.reopen(now, core);
        }
    }

    fn reopen(&self, now: Instant, core: &Endpoint) {
        let journal = self.journal.clone();
        let opened = Endpoint::open(self.config, journal, self.last, Continuity::Proven, [9; 32], now);
        let opened = opened.unwrap_or_else(|why| panic!("what it wrote doesn't open: {why}"));
        let (known, kept) = (described(core), described(&opened));
        for (known, kept) in known.iter().zip(&kept) {
            assert_eq!(kept, known, "opened anew, a device says another thing");
        }
        assert_eq!(kept.len(), known.len());
    }
}

/// What a device says of a session, in one way or another, is the same.
fn agrees_with_itself(core: &Endpoint, id: &SessionId) {
    let view = core.session(id).expect("a session that is listed");
    assert_eq!(core.role(id), Some(view.role));
    assert!(!core.is_shared_with(id, &NOBODY), "a session is nothing to a stranger");
    let pending: Vec<_> = core.pending_handoffs().into_iter().filter(|pending| pending.session == *id).collect();
    assert!(pending.len() <= 1 && pending.iter().all(|pending| view.pending == Some(pending.to)), "{pending:?}");
    for record in view.chain.iter().map(|record| record.id()) {
        let waits = pending.iter().any(|pending| pending.record == record);
        assert_eq!(core.grant_fate(id, &record), (!waits).then_some(Ok(record)), "of the head's own line");
    }
    let Some(state) = core.state(id) else { return };
    assert_eq!((state.root(), state.to_manifest().root()), (view.root, view.root));
    assert_eq!(core.manifest(id), Some(state.to_manifest()));
    let held: BTreeMap<_, _> = core.held_blobs(id).into_iter().collect();
    for entry in state.parts().flat_map(|part| part.entries()).filter(|entry| entry.len > 0) {
        let here = (!core.misses(id, &entry.blob)).then_some(&entry.len);
        assert_eq!(held.get(&entry.blob), here, "content is here or missing");
    }
    assert!(held.iter().all(|(blob, len)| state.blob_len(blob) == Some(*len)), "nobody names it any more");
    let elsewhere = core.held_elsewhere(id);
    for lacking in &elsewhere {
        assert!(core.misses(id, &lacking.entry.blob) && !lacking.holders.contains(&core.device()));
    }
    let lacking: BTreeSet<_> = elsewhere.iter().map(|lacking| lacking.entry.blob).collect();
    let entries = state.parts().filter(|part| part.is_blob()).flat_map(|part| part.entries());
    let named: BTreeSet<_> = entries.map(|entry| entry.blob).filter(|blob| core.misses(id, blob)).collect();
    assert_eq!(lacking, named, "what isn't here is elsewhere");
    let loose = core.loose(id);
    let streams: Vec<_> = state.parts().filter_map(|part| Some((part, state.stream(&part.part)?))).collect();
    assert!(loose.iter().map(|it| (it.0, it.1)).eq(streams.iter().map(|(part, _)| (part.part, part.kind))));
    for ((part, _, count), (_, stream)) in loose.iter().zip(streams) {
        assert_eq!(core.loose_in(id, part), *count);
        // Those without a body only name what was read.
        let ops = stream.arrived(0).count();
        assert!(*count <= stream.len() && ops <= stream.len(), "{count} and {ops} of {} ops", stream.len());
        let bodies: usize = stream.arrived(0).map(|op| op.body.len()).sum();
        let takes = bodies + 128 * stream.len() + stream.base().map_or(0, |base| base.bytes.len());
        assert_eq!(stream.bytes(), takes, "what {} ops take", stream.len());
    }
    let aside = core.set_aside(id).len();
    assert_eq!(core.aside_counts().get(id).copied().unwrap_or(0), aside);
}

/// What it says of devices and of what it doesn't know.
fn agrees_over_all(core: &Endpoint) {
    let met = core.acquaintances();
    assert!(met.is_sorted_by(|a, b| a < b) && !met.contains(&core.device()));
    if let Some(roster) = core.roster() {
        let standing = roster.standing();
        assert!(!met.iter().any(|device| standing.revoked.contains_key(device)), "a revoked one is met");
        let known = |device: &DeviceId| *device == core.device() || met.contains(device);
        assert!(roster.is_revoked(&core.device()) || standing.members.keys().all(known), "all of the account are");
    }
    assert_eq!(core.grant_fate(&NOWHERE, &NOTHING), Some(Err(Code::HO_UNKNOWN_SESSION)));
    assert!(!core.misses(&NOWHERE, &NOTHING) && core.held_blobs(&NOWHERE).is_empty());
}

/// All that outlasts a loss of power, line by line.
fn described(core: &Endpoint) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(roster) = core.roster() {
        lines.push(format!("account {:?}, {:?}, {:?}", roster.account(), roster.standing(), roster.heads()));
    }
    for id in core.sessions() {
        let Some(view) = core.session(&id) else { continue };
        let chain: Vec<_> = view.chain.iter().map(|record| record.id()).collect();
        lines.push(format!("{id:?} {:?}, chain {chain:?}", view.name));
        lines.push(format!("{id:?} entitled {}, copies {}", view.entitled, view.copies));
        lines.push(format!("{id:?} picks {:?}, writes as {:?}", core.picked(&id), core.actor(&id)));
        lines.push(format!("{id:?} aside {:?}", core.set_aside(&id)));
        lines.push(format!("{id:?} loose {:?}, holds {:?}", core.loose(&id), core.held_blobs(&id)));
        let Some(state) = core.state(&id) else { continue };
        lines.push(format!("{id:?} named {:?}", state.name()));
        for part in state.parts() {
            lines.push(format!("{id:?} {part:?}"));
            if let Some(stream) = state.stream(&part.part) {
                let base = stream.base().map(|base| base.id);
                lines.push(format!("{id:?} {:?} on {base:?}, ends {:?}", part.part, stream.ends()));
                // Where it stands in the order of arrival is forgotten.
                let ops = stream.in_order();
                let ops: Vec<_> = ops.iter().map(|op| (op.actor, op.seq, op.hlc, op.body)).collect();
                lines.push(format!("{id:?} {:?} holds {ops:?}", part.part));
            }
        }
    }
    lines
}

/// The entries of the longest journal that is opened: a run of a hundred thousand writes isn't for this.
const MOST: usize = 4_096;
/// No device has this key.
const NOBODY: DeviceId = DeviceId::new([0xee; 32]);
/// No session has this id.
const NOWHERE: SessionId = SessionId::new([0xee; 16]);
/// No record has this one.
const NOTHING: segue_proto::wire::Hash = segue_proto::wire::Hash::new([0xee; 32]);
