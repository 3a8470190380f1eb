//! A session's data as the journal holds it, and back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::aside::Aside;
use super::replaced::Replaced;
use super::snapshots::StoredSnapshots;
use super::{SessionData, Staged, announced, has_values};
use crate::clause::{Clause, Rules};
use crate::data::{Entry, Manifest, Pick, State};
use crate::handoff::{Holdings, keys};
use crate::sync::{Change, kept};
use crate::wire::{ActorId, DeviceId, Hash, Nonce, PartId, SessionId, Writer};
use crate::{Code, Violation};

/// What the journal holds of a session's data.
#[derive(Default)]
pub(in crate::endpoint) struct StoredData {
    own: bool,
    base: Option<(Hash, u64)>,
    brought_by: Option<DeviceId>,
    manifests: BTreeMap<Hash, Vec<u8>>,
    fetched: BTreeMap<Hash, Pick>,
    parts: BTreeMap<PartId, (u64, Vec<u8>)>,
    copies: usize,
    log: Option<Nonce>,
    ops: Vec<(u64, PartId, ActorId, u64, kept::Kept)>,
    seeds: BTreeMap<(PartId, ActorId), Nonce>,
    cursors: BTreeMap<DeviceId, (Nonce, u64)>,
    missing: BTreeMap<Hash, Entry>,
    pick: Pick,
    came: Pick,
    replaced: Replaced,
    writers: Vec<Writer>,
    aside: Aside,
    snapshots: StoredSnapshots,
}

impl StoredData {
    /// Nothing yet, of a session that this device made or didn't make.
    pub(in crate::endpoint) fn new(own: bool) -> Self {
        StoredData { own, ..StoredData::default() }
    }

    /// Takes in an entry; none if a session's data has no such entry.
    pub(in crate::endpoint) fn put(&mut self, letter: u8, rest: &[u8], value: Vec<u8>) -> Option<()> {
        match letter {
            keys::BASE => {
                let (hash, rest) = value.split_first_chunk()?;
                let (at, from) = rest.split_first_chunk()?;
                self.base = Some((Hash::new(*hash), u64::from_be_bytes(*at)));
                // Older stores don't tell.
                self.brought_by = from.first_chunk().map(|from| DeviceId::new(*from));
            }
            keys::MANIFEST => {
                self.manifests.insert(Hash::new(*rest.first_chunk()?), value);
            }
            keys::FETCHED => {
                self.fetched.insert(Hash::new(*rest.first_chunk()?), Pick::from_bytes(&value)?);
            }
            keys::PART => {
                let (at, bytes) = value.split_first_chunk::<8>()?;
                self.parts.insert(PartId::new(*rest.first_chunk()?), (u64::from_be_bytes(*at), bytes.to_vec()));
            }
            keys::COPY => self.copies += 1,
            keys::LOG => self.log = Some(Nonce::new(*value.first_chunk()?)),
            keys::OP => {
                let (part, rest) = rest.split_first_chunk()?;
                let (actor, seq) = rest.split_first_chunk()?;
                let (at, op) = kept::decode(&value)?;
                self.ops.push((at, PartId::new(*part), ActorId::new(*actor), number(seq)?, op));
            }
            keys::SEED => {
                let (part, actor) = rest.split_first_chunk()?;
                let strand = (PartId::new(*part), ActorId::new(*actor.first_chunk()?));
                self.seeds.insert(strand, Nonce::new(*value.first_chunk()?));
            }
            keys::MISSING => {
                self.missing.insert(Hash::new(*rest.first_chunk()?), Entry::open(Rules::ALL, &value).ok()?);
            }
            keys::PICK => self.pick = Pick::from_bytes(&value)?,
            keys::CAME => self.came = Pick::from_bytes(&value)?,
            keys::REPLACED => {
                let (part, blob) = rest.split_first_chunk()?;
                let file = Entry::open(Rules::ALL, &value).ok()?;
                if blob != file.blob.as_bytes() {
                    return None;
                }
                self.replaced.insert(PartId::new(*part), file);
            }
            keys::WRITER => {
                let (device, nonce) = value.split_first_chunk()?;
                self.writers.push(Writer { device: DeviceId::new(*device), nonce: Nonce::new(*nonce.first_chunk()?) });
            }
            keys::SNAPSHOT | keys::KNOWN | keys::HOLDING => self.snapshots.put(letter, rest, &value)?,
            keys::ASIDE | keys::ASIDE_VALUE => self.aside.restore(letter, rest, &value)?,
            keys::CURSOR => {
                let (log, at) = value.split_first_chunk()?;
                self.cursors.insert(DeviceId::new(*rest.first_chunk()?), (Nonce::new(*log), number(at)?));
            }
            _ => return None,
        }
        Some(())
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

impl SessionData {
    /// From the journal.
    pub(in crate::endpoint) fn restore(
        session: SessionId,
        name: &str,
        mut entries: StoredData,
    ) -> Result<Self, Violation> {
        let mut data = Self::unknown(session, entries.log.unwrap_or(Nonce::ZERO));
        let (base, at) = entries.base.map_or((None, 0), |(base, at)| (Some(base), at));
        (data.base, data.copies, data.own) = (base, entries.copies, entries.own);
        data.brought_by = entries.brought_by;
        data.cursors = core::mem::take(&mut entries.cursors);
        data.missing = core::mem::take(&mut entries.missing);
        data.retired = data.missing.keys().copied().collect();
        (data.pick, data.came) = (core::mem::take(&mut entries.pick), core::mem::take(&mut entries.came));
        data.replaced = core::mem::take(&mut entries.replaced);
        data.state = match base.and_then(|base| entries.manifests.get(&base)) {
            Some(bytes) => Some(State::from_manifest(Manifest::open(Rules::ALL, bytes, &session)?)),
            None if base.is_none() && (entries.own || entries.log.is_some()) => Some(State::new(session, name)),
            None => None,
        };
        data.name_as(name);
        data.restore_snapshots(core::mem::take(&mut entries.snapshots))?;
        data.restore_parts(at, &mut entries)?;
        data.aside = core::mem::take(&mut entries.aside);
        for writer in core::mem::take(&mut entries.writers) {
            data.state.iter_mut().for_each(|state| {
                state.name_writer(writer.clone());
            });
        }
        for (hash, bytes) in entries.manifests {
            let Some(pick) = entries.fetched.remove(&hash) else { continue };
            let manifest = Manifest::open(Rules::ALL, &bytes, &session)?;
            let data_of = announced(&manifest, hash, &bytes);
            data.staged.push(Staged { data: data_of, bytes, state: State::from_manifest(manifest), pick });
        }
        data.sort_out();
        Ok(data)
    }

    fn restore_parts(&mut self, base_at: u64, entries: &mut StoredData) -> Result<(), Violation> {
        let Some(state) = &mut self.state else { return Ok(()) };
        for part in state.parts().filter(|part| has_values(part)) {
            self.changes.note(base_at, Change::Part(part.part), None);
        }
        let missing = Violation::new(Code::STORE_CORRUPT, Clause::DATA_OP_1);
        let mut ops = core::mem::take(&mut entries.ops);
        // The order of the log of changes is one in which each op follows those that its writer had read.
        ops.sort_by_key(|(at, ..)| *at);
        for (at, part, actor, seq, op) in ops {
            let seed = entries.seeds.get(&(part, actor)).copied().ok_or(missing)?;
            state.deliver(Rules::ALL, part, op.kind, (actor, seq), seed, op.op)?;
            self.changes.note(at, Change::Op(part, actor, seq), None);
        }
        for (part, (at, bytes)) in &entries.parts {
            state.load_part(Rules::ALL, bytes)?;
            self.overlays.insert(*part);
            self.changes.note(*at, Change::Part(*part), None);
        }
        Ok(())
    }
}
