//! Snapshots of log and opaque parts: kept until all members hold them, then what they cover goes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{SessionData, Taken};
use crate::clause::{Clause, Rules};
use crate::data::{Base, PartKind, Stream};
use crate::errors::UsageError;
use crate::handoff::keys;
use crate::journal::Write;
use crate::limits::{MAX_COVERS, MAX_ENDS, MAX_KNOWN, MAX_SNAPSHOT, MAX_SNAPSHOTS};
use crate::sync::Change;
use crate::wire::codec::{decode, encode};
use crate::wire::hash::blob_id;
use crate::wire::{ActorId, Cover, DeviceId, Hash, Holding, List, PartId, Proven, Signed, Snapshot, StrandEnd, Tip};
use crate::{Code, Violation};

/// What came of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Kept {
    /// Nothing: it is known, of no use, or not whole yet.
    Not,
    /// It is held: its part, and its id.
    Held(PartId, Hash),
}

impl SessionData {
    /// The body of a snapshot of all that a part holds, and its content: for a log its entries, for an opaque part what
    /// the application made of the ops up to a place.
    pub(in crate::endpoint) fn make_snapshot(
        &self,
        me: DeviceId,
        part: PartId,
        content: Option<(u64, u32, Vec<u8>)>,
    ) -> Result<(Snapshot, Vec<u8>), UsageError> {
        let state = self.state.as_ref().ok_or(UsageError::NotMember)?;
        let kind = state.part(&part).map(|part| part.kind).ok_or(UsageError::BadPart)?;
        let stream = state.stream(&part).ok_or(UsageError::BadPart)?;
        let ends = stream.ends();
        let (format, bytes) = match content {
            None if kind == PartKind::Log.number() => (0, stream.log_bytes(&ends).ok_or(UsageError::BadPart)?),
            Some((upto, _, _)) if upto != stream.next_place() => return Err(UsageError::Busy),
            Some((_, format, bytes)) if kind == PartKind::Opaque.number() => (format, bytes),
            _ => return Err(UsageError::BadPart),
        };
        let len = bytes.len() as u64;
        if ends.is_empty() || ends.len() > MAX_COVERS || len > MAX_SNAPSHOT {
            return Err(UsageError::TooLarge);
        }
        let covers = List::new(ends).unwrap_or_default();
        let (session, hash) = (self.session, blob_id(&bytes));
        Ok((Snapshot { session, part, kind, signer: me, covers, format, len, hash }, bytes))
    }

    /// Takes a piece of a snapshot that a device sent, by its link or by a mailbox; `from` is where it came from.
    ///
    /// Errors: as [`SessionData::keep_snapshot`]; a content that goes beyond its length, or for which there is no room.
    pub(in crate::endpoint) fn take_piece(
        &mut self,
        rules: Rules,
        (by, from): (DeviceId, DeviceId),
        own: ActorId,
        snapshot: Proven<Snapshot>,
        (offset, bytes): (u64, &[u8]),
        taken: &mut Taken,
    ) -> Result<Kept, Violation> {
        let (id, body) = (snapshot.id(), snapshot.body());
        let known = self.state.as_ref().is_none_or(|state| state.snapshot(&body.part, &id).is_some());
        if known {
            return Ok(Kept::Not);
        }
        let wrong = Violation::new(Code::DATA_HASH, Clause::DATA_SNAPSHOT_1);
        let (way, end) = ((by, from), offset.saturating_add(bytes.len() as u64));
        // Pieces of one follow each other, so another that begins takes the place of one that doesn't go on.
        if offset == 0 {
            self.coming.insert(way, (id, Vec::new()));
        }
        let all: u64 = self.coming.values().map(|(_, bytes)| bytes.len() as u64).sum();
        let follows = |coming: &&mut (Hash, Vec<u8>)| coming.0 == id && coming.1.len() as u64 == offset;
        let Some((_, coming)) = self.coming.get_mut(&way).filter(follows) else { return Ok(Kept::Not) };
        let room = all.saturating_add(bytes.len() as u64) <= MAX_SNAPSHOTS as u64 * MAX_SNAPSHOT;
        if body.len > MAX_SNAPSHOT || end > body.len || !room {
            self.coming.remove(&way);
            return Err(if room { wrong } else { Violation::new(Code::LIMIT_ROOM, Clause::LIMIT_ROOM_1) });
        }
        coming.extend_from_slice(bytes);
        if end < body.len {
            return Ok(Kept::Not);
        }
        let bytes = self.coming.remove(&way).map(|(_, bytes)| bytes).unwrap_or_default();
        // Nobody knows ops of this device that it doesn't know itself.
        let written = self.state.as_ref().and_then(|state| state.stream(&body.part)).map_or(0, |it| it.seq(&own));
        let true_ends = body.covers.iter().all(|end| end.actor != own || end.seq <= written);
        let good = true_ends && blob_id(&bytes) == body.hash;
        rules.ensure(Clause::DATA_SNAPSHOT_1, good, Code::DATA_HASH)?;
        self.keep_snapshot(rules, Some(from), &snapshot, bytes, taken)
    }

    /// A device has no link any more: what of its snapshots is here comes again.
    pub(in crate::endpoint) fn forget_pieces(&mut self, by: &DeviceId) {
        self.coming.remove(&(*by, *by));
    }

    /// Keeps a snapshot. If it covers ops that aren't here, the part stands on it from now on (DATA-SNAPSHOT-4).
    ///
    /// Errors: it isn't for a part like the one here, doesn't agree with what is held, or isn't well formed.
    pub(in crate::endpoint) fn keep_snapshot(
        &mut self,
        rules: Rules,
        from: Option<DeviceId>,
        snapshot: &Proven<Snapshot>,
        bytes: Vec<u8>,
        taken: &mut Taken,
    ) -> Result<Kept, Violation> {
        let body = snapshot.body();
        let (part, id) = (body.part, snapshot.id());
        let Some(state) = &self.state else { return Ok(Kept::Not) };
        let fits = state.part(&part).is_none_or(|known| known.kind == body.kind);
        rules.ensure(Clause::DATA_KIND_1, fits, Code::DATA_MANIFEST)?;
        let base = Base::open(rules, snapshot.signed().clone(), body, bytes)?;
        let empty = Stream::default();
        let stream = state.stream(&part).unwrap_or(&empty);
        // One that ranks below those that are here is of no use any more: so none that went comes back.
        let waiting = state.waiting(&part).into_iter().filter_map(|id| state.snapshot(&part, &id).map(rank));
        let least = waiting.min().filter(|_| state.waiting(&part).len() >= MAX_SNAPSHOTS);
        let low = least.into_iter().chain(stream.base().map(rank)).any(|other| rank(&base) < other);
        if low || state.snapshot(&part, &id).is_some() {
            return Ok(Kept::Not);
        }
        // Nor is one that covers less than what is gone already.
        let covers = |tip: &Tip| base.covers.iter().any(|end| end.actor == tip.actor && end.seq >= tip.seq);
        let gone = |tip: Tip| Tip { seq: stream.gone(&tip.actor), ..tip };
        if !stream.tips().into_iter().map(gone).filter(|tip| tip.seq > 0).all(|tip| covers(&tip)) {
            return Ok(Kept::Not);
        }
        // One that covers what doesn't stand is nothing to go on from, as long as there is something.
        let aside = |end: &Cover| {
            let stands = self.end(rules, &part, &end.actor).map_or(u64::MAX, |end| end.seq);
            end.seq > stands.max(stream.seq(&end.actor))
        };
        if !stream.tips().is_empty() && base.covers.iter().any(aside) {
            return Ok(Kept::Not);
        }
        let held = |end: &&Cover| stream.seq(&end.actor) >= end.seq;
        let agrees = base.covers.iter().filter(held).all(|end| {
            let seeded = stream.seed(&end.actor).is_none_or(|seed| seed == end.seed);
            let hash = stream.hash(&end.actor, end.seq);
            seeded && hash.is_none_or(|hash| hash == end.hash)
        });
        rules.ensure(Clause::DATA_SNAPSHOT_1, agrees, Code::DATA_HASH)?;
        let whole = base.covers.iter().all(|end| held(&end));
        if body.kind == PartKind::Log.number() {
            let own = stream.log_bytes(&base.covers);
            let same = own.map_or_else(|| stream.agrees_with(&base), |own| own == base.bytes);
            rules.ensure(Clause::DATA_SNAPSHOT_3, same, Code::DATA_HASH)?;
        }
        if whole {
            self.put_snapshot(part, base, from, taken);
        } else if rules.keeps(Clause::DATA_SNAPSHOT_4) {
            self.rest(part, body.kind, base, from, taken);
            taken.reread.insert(part);
            taken.resync = true;
        } else {
            return Ok(Kept::Not);
        }
        Ok(Kept::Held(part, id))
    }

    fn put_snapshot(&mut self, part: PartId, base: Base, from: Option<DeviceId>, taken: &mut Taken) {
        let Some(state) = &mut self.state else { return };
        // Of too many those that cover least go, on every device alike, so that none goes and comes again.
        let waiting = state.waiting(&part).into_iter().filter_map(|id| state.snapshot(&part, &id));
        let mut ranks: Vec<_> = waiting.map(rank).collect();
        ranks.sort();
        let over = (ranks.len() + 1).saturating_sub(MAX_SNAPSHOTS);
        let gone: Vec<_> = ranks.into_iter().take(over).map(|(_, id)| id).collect();
        gone.iter().for_each(|id| self.forget_snapshot(part, id, taken));
        let at = self.changes.next();
        taken.writes.push(self.snapshot_entry(&part, &base, false, at));
        self.changes.note(at, Change::Snapshot(part, base.id), from);
        self.state.iter_mut().for_each(|state| state.keep_snapshot(part, base.clone()));
    }

    fn snapshot_entry(&self, part: &PartId, base: &Base, rests: bool, at: u64) -> Write {
        let signed = encode(&base.signed);
        let len = u32::try_from(signed.len()).unwrap_or(u32::MAX).to_be_bytes();
        let value = [&[u8::from(rests)], at.to_be_bytes().as_slice(), &len, &signed, &base.bytes].concat();
        keys::put(self.session, keys::SNAPSHOT, &key(part, base.id.as_bytes()), value)
    }

    /// A part stands on a snapshot from now on. What it covers goes; what is beyond comes behind it in the log of
    /// changes, so that whoever is fed of it gets the snapshot first.
    fn rest(&mut self, part: PartId, kind: u16, base: Base, from: Option<DeviceId>, taken: &mut Taken) {
        let (session, id) = (self.session, base.id);
        let Some(state) = &mut self.state else { return };
        let empty = Stream::default();
        let stream = state.stream(&part).unwrap_or(&empty);
        for end in &base.covers {
            for seq in stream.gone(&end.actor) + 1..=end.seq.min(stream.seq(&end.actor)) {
                let op = [part.as_bytes().as_slice(), end.actor.as_bytes(), &seq.to_be_bytes()].concat();
                taken.writes.push(keys::delete(session, keys::OP, &op));
            }
            let seed = key(&part, end.actor.as_bytes());
            taken.writes.push(keys::put(session, keys::SEED, &seed, end.seed.as_bytes().to_vec()));
        }
        let old = stream.base().map(|base| base.id);
        // Those that cover less, or what this one doesn't, can't stand for anything any more.
        let over = |other: &Base| {
            let covers = |end: &Cover| other.covers.iter().any(|it| it.actor == end.actor && it.seq >= end.seq);
            rank(other) > rank(&base) && base.covers.iter().all(covers)
        };
        let stale: Vec<_> = state.waiting(&part).into_iter().filter(|it| *it != id).collect();
        let stale: Vec<_> = stale.into_iter().filter(|it| !state.snapshot(&part, it).is_some_and(over)).collect();
        state.drop_snapshot(&part, &id);
        old.iter().chain(&stale).for_each(|gone| self.forget_snapshot(part, gone, taken));
        self.changes.forget(|change| match change {
            Change::Snapshot(of, it) => *of == part && *it == id,
            Change::Op(of, ..) => *of == part,
            _ => false,
        });
        let at = self.changes.next();
        let entry = self.snapshot_entry(&part, &base, true, at);
        taken.writes.push(entry);
        self.changes.note(at, Change::Snapshot(part, id), from);
        self.renote_holdings(part, id, taken);
        let Some(state) = &mut self.state else { return };
        state.rest_on(part, kind, base);
        let left = state.stream(&part).map(Stream::left).unwrap_or_default();
        let known = state.stream(&part).map(Stream::known).unwrap_or_default();
        taken.writes.push(self.known_entry(&part, known));
        self.retire([(part, Vec::new())]);
        for (actor, seq) in left {
            let at = self.changes.next();
            taken.writes.extend(self.put_op(at, part, actor, seq, None));
        }
        taken.changed.insert(part);
    }

    /// What devices said of a snapshot stands behind it in the log of changes, for before it nobody would know of what.
    fn renote_holdings(&mut self, part: PartId, id: Hash, taken: &mut Taken) {
        let said = self.state.as_ref().map(|state| state.holdings_of(&part, &id)).unwrap_or_default();
        for (signed, body) in said {
            let change = Change::Holding(part, id, body.device);
            self.changes.forget(|known| *known == change);
            let at = self.changes.next();
            self.changes.note(at, change, None);
            taken.writes.push(self.holding_entry(&body, &signed, at));
        }
    }

    fn holding_entry(&self, body: &Holding, signed: &Signed<Holding>, at: u64) -> Write {
        let value = [at.to_be_bytes().as_slice(), &encode(signed)].concat();
        keys::put(self.session, keys::HOLDING, &holding_key(&body.part, &body.snapshot, &body.device), value)
    }

    /// Forgets a snapshot, and what was said of it.
    fn forget_snapshot(&mut self, part: PartId, id: &Hash, taken: &mut Taken) {
        let Some(state) = &mut self.state else { return };
        let (session, said) = (self.session, state.holdings_of(&part, id));
        state.drop_snapshot(&part, id);
        state.forget_holdings(&part, id);
        self.changes.forget(|change| match change {
            Change::Snapshot(of, it) | Change::Holding(of, it, _) => *of == part && it == id,
            _ => false,
        });
        taken.writes.push(keys::delete(session, keys::SNAPSHOT, &key(&part, id.as_bytes())));
        let holding = |body: &Holding| keys::delete(session, keys::HOLDING, &holding_key(&part, id, &body.device));
        taken.writes.extend(said.iter().map(|(_, body)| holding(body)));
    }

    /// Forgets the snapshots that cover ops which were taken out again.
    pub(super) fn drop_beyond(&mut self, part: PartId, taken: &mut Taken) {
        for id in self.state.as_ref().map(|state| state.waiting(&part)).unwrap_or_default() {
            let Some(state) = &self.state else { return };
            let beyond = state
                .snapshot(&part, &id)
                .zip(state.stream(&part))
                .is_none_or(|(base, stream)| base.covers.iter().any(|end| end.seq > stream.seq(&end.actor)));
            if beyond {
                self.forget_snapshot(part, &id, taken);
            }
        }
    }

    /// Those beyond MAX_KNOWN are asked for again after a restart (DATA-SNAPSHOT-5).
    fn known_entry(&self, part: &PartId, mut known: Vec<Tip>) -> Write {
        known.truncate(MAX_KNOWN);
        let tips: List<Tip, MAX_KNOWN> = List::new(known).unwrap_or_default();
        match tips.is_empty() {
            true => keys::delete(self.session, keys::KNOWN, part.as_bytes()),
            false => keys::put(self.session, keys::KNOWN, part.as_bytes(), encode(&tips)),
        }
    }

    /// Notes hashes that came with an op.
    pub(super) fn know(&mut self, part: &PartId, tips: &[Tip], taken: &mut Taken) {
        let Some(stream) = self.state.as_mut().and_then(|state| state.stream_mut(part)) else { return };
        if !tips.is_empty() && !stream.know(tips).is_empty() {
            let known = stream.known();
            taken.writes.push(self.known_entry(part, known));
        }
    }

    /// What this device says that it holds, once it does (SYNC-HOLDING-1).
    pub(in crate::endpoint) fn make_holding(&self, me: DeviceId, part: PartId, snapshot: Hash) -> Option<Holding> {
        let state = self.state.as_ref()?;
        let tips = state.stream(&part)?.tips();
        let own = |tip: &Tip| state.writer(&tip.actor).is_some_and(|writer| writer.device == me);
        let ends = tips.into_iter().filter(own).map(|tip| StrandEnd { actor: tip.actor, seq: tip.seq });
        let ends = List::<_, MAX_ENDS>::new(ends.collect())?;
        Some(Holding { session: self.session, part, snapshot, device: me, ends })
    }

    /// Keeps what a device says that it holds, if that is news.
    pub(in crate::endpoint) fn keep_holding(
        &mut self,
        from: Option<DeviceId>,
        holding: &Proven<Holding>,
        taken: &mut Taken,
    ) {
        let body = holding.body();
        let Some(state) = &mut self.state else { return };
        // One of a snapshot that isn't known here, or not any more, says nothing.
        let known = state.snapshot(&body.part, &body.snapshot).is_some();
        let said = state.holding(&body.part, &body.snapshot, &body.device).is_some();
        if !known || said {
            return;
        }
        state.keep_holding(holding.signed().clone(), body.clone());
        let change = Change::Holding(body.part, body.snapshot, body.device);
        let at = self.changes.next();
        self.changes.note(at, change, from);
        taken.writes.push(self.holding_entry(body, holding.signed(), at));
    }

    /// Lets ops go that a snapshot covers which every one of these members holds (DATA-SNAPSHOT-2).
    pub(in crate::endpoint) fn compact(&mut self, rules: Rules, members: &BTreeSet<DeviceId>, taken: &mut Taken) {
        let Some(state) = &self.state else { return };
        let streams = state.parts().filter(|part| state.stream(&part.part).is_some());
        let parts: Vec<_> = streams.map(|part| (part.part, part.kind)).collect();
        for (part, kind) in parts {
            let Some(state) = &mut self.state else { return };
            let held = |id: &Hash| {
                let all = members.iter().all(|member| {
                    state.holding(&part, id, member).is_some_and(|(_, holding)| {
                        let here = |end: &StrandEnd| {
                            state.stream(&part).is_some_and(|stream| stream.seq(&end.actor) >= end.seq)
                        };
                        holding.ends.iter().all(here)
                    })
                });
                all || !rules.keeps(Clause::DATA_SNAPSHOT_2)
            };
            let ready = state.waiting(&part).into_iter().filter(held);
            let chosen = ready.filter_map(|id| state.snapshot(&part, &id).map(rank)).max();
            let Some((_, chosen)) = chosen else { continue };
            if let Some(base) = state.drop_snapshot(&part, &chosen) {
                self.rest(part, kind, base, None, taken);
                taken.changed.remove(&part);
            }
        }
    }

    /// The entries of the journal that are snapshots and what is said to be held of them.
    pub(super) fn restore_snapshots(&mut self, entries: StoredSnapshots) -> Result<(), Violation> {
        let Some(state) = &mut self.state else { return Ok(()) };
        for ((part, _), StoredSnapshot { rests, at, signed, bytes }) in entries.snapshots {
            let proven = Proven::<Snapshot>::journaled(signed)?;
            let body = proven.body();
            let base = Base::open(Rules::ALL, proven.signed().clone(), body, bytes)?;
            self.changes.note(at, Change::Snapshot(part, base.id), None);
            if rests {
                state.rest_on(part, body.kind, base);
            } else {
                state.keep_snapshot(part, base);
            }
        }
        for (part, tips) in entries.known {
            state.stream_mut(&part).into_iter().for_each(|stream| drop(stream.know(&tips)));
        }
        for ((part, id, device), (at, signed)) in entries.holdings {
            let proven = Proven::<Holding>::journaled(signed)?;
            self.changes.note(at, Change::Holding(part, id, device), None);
            state.keep_holding(proven.signed().clone(), proven.body().clone());
        }
        Ok(())
    }

    /// How many ops, and bytes of them, each log or opaque part has that no snapshot covers, with its kind.
    pub(in crate::endpoint) fn loose(&self) -> Vec<(PartId, u16, usize)> {
        let Some(state) = &self.state else { return Vec::new() };
        let streams = state.parts().filter(|part| state.stream(&part.part).is_some());
        streams.map(|part| (part.part, part.kind, self.loose_in(&part.part))).collect()
    }

    /// How many ops of a log or opaque part no snapshot covers.
    pub(in crate::endpoint) fn loose_in(&self, part: &PartId) -> usize {
        let Some(state) = &self.state else { return 0 };
        let Some(stream) = state.stream(part) else { return 0 };
        let waiting = state.waiting(part).into_iter().filter_map(|id| state.snapshot(part, &id));
        // What a snapshot covers that isn't held by all yet is in hand.
        let covered = |base: &Base| {
            let over = |end: &Cover| end.seq.saturating_sub(stream.gone(&end.actor));
            base.covers.iter().map(over).fold(0, u64::saturating_add)
        };
        let covered = waiting.map(covered).max().unwrap_or(0);
        stream.len().saturating_sub(usize::try_from(covered).unwrap_or(usize::MAX))
    }
}

/// A snapshot as the journal holds it.
struct StoredSnapshot {
    /// Whether the part stands on it.
    rests: bool,
    /// Its position in the log of changes.
    at: u64,
    signed: Signed<Snapshot>,
    bytes: Vec<u8>,
}

/// Snapshots as the journal holds them.
#[derive(Default)]
pub(super) struct StoredSnapshots {
    snapshots: BTreeMap<(PartId, Hash), StoredSnapshot>,
    known: Vec<(PartId, Vec<Tip>)>,
    holdings: BTreeMap<(PartId, Hash, DeviceId), (u64, Signed<Holding>)>,
}

impl StoredSnapshots {
    /// Takes in an entry; none if it isn't one.
    pub(super) fn put(&mut self, letter: u8, rest: &[u8], value: &[u8]) -> Option<()> {
        let (part, rest) = rest.split_first_chunk()?;
        let part = PartId::new(*part);
        match letter {
            keys::SNAPSHOT => {
                let (rests, value) = value.split_first()?;
                let (at, value) = value.split_first_chunk()?;
                let (len, value) = value.split_first_chunk()?;
                let (signed, bytes) = value.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
                let signed = decode(Rules::ALL, signed).ok()?;
                let id = (part, Hash::new(*rest.first_chunk()?));
                let (rests, at, bytes) = (*rests == 1, u64::from_be_bytes(*at), bytes.to_vec());
                self.snapshots.insert(id, StoredSnapshot { rests, at, signed, bytes });
            }
            keys::KNOWN => {
                let tips: List<Tip, MAX_KNOWN> = decode(Rules::ALL, value).ok()?;
                self.known.push((part, tips.into_vec()));
            }
            _ => {
                let (at, signed) = value.split_first_chunk()?;
                let (id, device) = rest.split_first_chunk()?;
                let (id, device) = (Hash::new(*id), DeviceId::new(*device.first_chunk()?));
                self.holdings.insert((part, id, device), (u64::from_be_bytes(*at), decode(Rules::ALL, signed).ok()?));
            }
        }
        Some(())
    }
}

fn key(part: &PartId, rest: &[u8]) -> Vec<u8> {
    [part.as_bytes().as_slice(), rest].concat()
}

fn holding_key(part: &PartId, snapshot: &Hash, device: &DeviceId) -> Vec<u8> {
    key(part, &[snapshot.as_bytes().as_slice(), device.as_bytes()].concat())
}

/// Of two snapshots of a part the one that covers more ranks higher; of two that cover as much, the one with the higher id.
fn rank(base: &Base) -> (u64, Hash) {
    (base.covers.iter().map(|end| end.seq).fold(0, u64::saturating_add), base.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::StreamOp;
    use crate::wire::hash::Hasher;
    use crate::wire::{Hlc, Nonce, SessionId};

    const ME: DeviceId = DeviceId::new([1; 32]);
    const PART: PartId = PartId::new([2; 16]);

    fn actor(n: usize) -> ActorId {
        ActorId::new(*Hasher::new("writer").bytes(&n.to_be_bytes()).finish().as_bytes())
    }

    fn deliver(data: &mut SessionData, writer: usize, seq: u64) {
        let hlc = Hlc::new([1, 0, 0, 0, 0, 0, 0, 0]);
        let op = StreamOp { hlc, record: Hash::new([4; 32]), deps: Vec::new(), body: alloc::vec![5] };
        let (kind, state) = (PartKind::Log.number(), data.state.as_mut().expect("a state"));
        state.deliver(Rules::ALL, PART, kind, (actor(writer), seq), Nonce::ZERO, op).expect("an op");
    }

    fn log_of(writers: usize) -> SessionData {
        let mut data = SessionData::created(SessionId::new([3; 16]), "notes", Nonce::ZERO);
        (0..writers).for_each(|writer| deliver(&mut data, writer, 1));
        data
    }

    #[test]
    fn a_snapshot_covers_so_many_strands() {
        for (writers, covered) in [(MAX_COVERS, Ok(MAX_COVERS)), (MAX_COVERS + 1, Err(UsageError::TooLarge))] {
            let made = log_of(writers).make_snapshot(ME, PART, None);
            assert_eq!(made.map(|(snapshot, _)| snapshot.covers.len()), covered);
        }
    }

    #[test]
    fn a_snapshot_has_so_many_bytes() {
        let part = PartId::new([6; 16]);
        let mut data = log_of(1);
        let state = data.state.as_mut().expect("a state");
        let op = StreamOp { hlc: Hlc::ZERO, record: Hash::new([4; 32]), deps: Vec::new(), body: alloc::vec![5] };
        let id = (actor(0), 1);
        state.deliver(Rules::ALL, part, PartKind::Opaque.number(), id, Nonce::ZERO, op).expect("an op");
        let upto = state.stream(&part).map(Stream::next_place).expect("a part");
        for (len, made) in [(MAX_SNAPSHOT, Ok(MAX_SNAPSHOT)), (MAX_SNAPSHOT + 1, Err(UsageError::TooLarge))] {
            let content = Some((upto, 1, alloc::vec![0; len as usize]));
            assert_eq!(data.make_snapshot(ME, part, content).map(|(snapshot, _)| snapshot.len), made);
        }
    }

    #[test]
    fn so_many_hashes_are_written_down_and_those_beyond_take_none_with_them() {
        let data = log_of(1);
        let tips = |count: u64| (1..=count).map(|seq| Tip { actor: actor(0), seq, hash: Hash::new([7; 32]) }).collect();
        let most = MAX_KNOWN as u64;
        let entry = |count: u64| data.known_entry(&PART, tips(count));
        assert!(entry(most + 1) == entry(most) && entry(most) != entry(most - 1) && entry(0) != entry(1));
    }

    #[test]
    fn so_many_snapshots_of_a_part_wait() {
        let mut data = log_of(1);
        let mut made = Vec::new();
        for seq in 2..=MAX_SNAPSHOTS as u64 + 2 {
            let (snapshot, bytes) = data.make_snapshot(ME, PART, None).expect("a snapshot");
            made.push((Proven::assume(snapshot), bytes));
            deliver(&mut data, 0, seq);
        }
        let mut keep = |at: usize| {
            let ((snapshot, bytes), mut taken) = (made[at].clone(), Taken::default());
            let kept = data.keep_snapshot(Rules::ALL, None, &snapshot, bytes, &mut taken).expect("it agrees");
            let waiting = data.state.as_ref().expect("a state").waiting(&PART);
            let waits = |(snapshot, _): &(Proven<Snapshot>, _)| waiting.contains(&snapshot.id());
            (kept == Kept::Held(PART, snapshot.id()), made.iter().map(waits).collect::<Vec<_>>())
        };
        // While there is room, those that cover less are kept, too.
        (1..MAX_SNAPSHOTS).for_each(|at| assert!(keep(at).0, "{at}"));
        assert_eq!(keep(0), (true, alloc::vec![true, true, true, true, false]));
        // Then the one that covers least gives way, and comes back no more.
        assert_eq!(keep(MAX_SNAPSHOTS), (true, alloc::vec![false, true, true, true, true]));
        assert_eq!(keep(0), (false, alloc::vec![false, true, true, true, true]));
    }

    #[test]
    fn so_much_of_snapshots_is_on_its_way() {
        let mut data = log_of(1);
        let of = |len: u64| {
            let (snapshot, _) = log_of(2).make_snapshot(ME, PART, None).expect("a snapshot");
            Proven::assume(Snapshot { len, ..snapshot })
        };
        let mut take = |from: usize, len: u64, (offset, bytes): (u64, &[u8])| {
            let from = DeviceId::new(*actor(from).as_bytes());
            data.take_piece(Rules::ALL, (from, from), actor(9), of(len), (offset, bytes), &mut Taken::default())
        };
        let long = alloc::vec![0; MAX_SNAPSHOT as usize - 1];
        for from in 0..MAX_SNAPSHOTS {
            assert_eq!(take(from, MAX_SNAPSHOT, (0, &long)), Ok(Kept::Not));
        }
        assert_eq!(take(MAX_SNAPSHOTS, MAX_SNAPSHOT, (0, &long[..MAX_SNAPSHOTS])), Ok(Kept::Not));
        let full = Violation::new(Code::LIMIT_ROOM, Clause::LIMIT_ROOM_1);
        assert_eq!(take(MAX_SNAPSHOTS, MAX_SNAPSHOT, (MAX_SNAPSHOTS as u64, &[0])), Err(full));
        // What is longer than a snapshot may be isn't taken, nor what goes beyond its length.
        let wrong = Violation::new(Code::DATA_HASH, Clause::DATA_SNAPSHOT_1);
        assert_eq!(take(MAX_SNAPSHOTS, MAX_SNAPSHOT + 1, (0, &[0])), Err(wrong));
        assert_eq!(take(MAX_SNAPSHOTS, 1, (0, &[0, 0])), Err(wrong));
    }
}
