//! Compaction: snapshots are made, passed on and held, and what they cover goes once all members hold them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::session_data::{Kept, Taken};
use super::syncing::tell;
use super::{Endpoint, SignId};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::Event;
use crate::handoff::Session;
use crate::journal::Write;
use crate::limits::MAX_AWAY;
use crate::wire::codec::encode;
use crate::wire::{
    DeviceId, Holding, HoldingMsg, PartId, Proven, SessionId, Sig, Snapshot, SnapshotMsg, id_of, signing_bytes,
};
use crate::{Code, Violation};

/// What is being signed.
#[derive(Clone, Debug)]
pub(super) enum Making {
    Snapshot(Snapshot, Vec<u8>),
    Holding(Holding),
}

/// When devices were heard last, by the wall clock that the application tells.
#[derive(Debug, Default)]
pub(super) struct Seen {
    devices: BTreeMap<DeviceId, u64>,
    /// Devices heard since the wall clock was told.
    heard: BTreeSet<DeviceId>,
    wall_ms: u64,
}

impl Seen {
    /// Where the journal keeps when a device was heard.
    pub(super) const KEY: &[u8] = b"dseen:";

    pub(super) fn restore(&mut self, device: &[u8], value: &[u8]) -> Option<()> {
        let (device, wall) = (device.first_chunk()?, value.first_chunk()?);
        self.wall_ms = self.wall_ms.max(u64::from_be_bytes(*wall));
        self.devices.insert(DeviceId::new(*device), u64::from_be_bytes(*wall));
        Some(())
    }

    /// Something came of a device.
    pub(super) fn hear(&mut self, device: DeviceId) {
        self.heard.insert(device);
    }

    /// The time is this now: which members were heard lately, as the journal is to keep it.
    fn tell_time(&mut self, wall_ms: u64, members: &BTreeSet<DeviceId>) -> Vec<Write> {
        let heard = core::mem::take(&mut self.heard);
        // While this device was off, nobody could be heard: that time counts for none.
        let off = Some(wall_ms.saturating_sub(self.wall_ms)).filter(|off| *off > DAY_MS && self.wall_ms > 0);
        self.wall_ms = wall_ms;
        let mut writes = Vec::new();
        let mut put = |device: &DeviceId, at: Option<u64>| {
            let key = [Seen::KEY, device.as_bytes()].concat();
            writes.push(Write { key, value: at.map(|at| at.to_be_bytes().to_vec()) });
        };
        self.devices.retain(|device, at| {
            let stays = members.contains(device);
            *at = at.saturating_add(off.unwrap_or(0));
            if !stays || off.is_some() {
                put(device, stays.then_some(*at));
            }
            stays
        });
        for device in members {
            let known = self.devices.get(device);
            let long_ago = known.is_some_and(|at| wall_ms > at.saturating_add(DAY_MS));
            if known.is_none() || heard.contains(device) && long_ago {
                self.devices.insert(*device, wall_ms);
                put(device, Some(wall_ms));
            }
        }
        writes
    }

    /// Whether a device has been away for so long that nothing waits for it.
    fn is_stale(&self, device: &DeviceId) -> bool {
        let since = |at: &u64| self.wall_ms.saturating_sub(*at) >= MAX_AWAY / 1000;
        !self.heard.contains(device) && self.devices.get(device).is_some_and(since)
    }
}

/// Commands and queries.
impl Endpoint {
    /// Makes a snapshot of a log or opaque part as it is here now. The ops that it covers go, here and on every other
    /// device, once all members that aren't stale hold it; the root stays as it is. For a log the content is made here;
    /// for an opaque part `content` is: the place up to which its ops are in it ([`crate::data::Stream::next_place`]), what
    /// it is, and the bytes.
    ///
    /// Errors: `UnknownSession`, `NotMember`; `BadPart` if there is no such part, or if content is there for a log or missing
    /// for another; `Busy` if ops came that aren't in it; `TooLarge`.
    pub fn compact(
        &mut self,
        _now: Instant,
        session: SessionId,
        part: PartId,
        content: Option<(u64, u32, Vec<u8>)>,
    ) -> Result<(), UsageError> {
        self.running()?;
        let known = self.sessions.get(&session).filter(|session| session.is_kept());
        let data = &known.ok_or(UsageError::UnknownSession)?.holdings;
        let (body, bytes) = data.make_snapshot(self.config.device, part, content)?;
        let sign = self.out.sign(signing_bytes::<Snapshot>(id_of::<Snapshot>(&encode(&body))));
        self.making.insert(sign, Making::Snapshot(body, bytes));
        Ok(())
    }

    /// The log and opaque parts of a session, each with its kind and how many of its ops no snapshot covers.
    pub fn loose(&self, session: &SessionId) -> Vec<(PartId, u16, usize)> {
        self.sessions.get(session).map(|session| session.holdings.loose()).unwrap_or_default()
    }

    /// How many ops of a log or opaque part no snapshot covers.
    pub fn loose_in(&self, session: &SessionId, part: &PartId) -> usize {
        self.sessions.get(session).map_or(0, |session| session.holdings.loose_in(part))
    }

    /// Tells the time by the wall clock, in milliseconds: by it, and by nothing else, members that have been away for 90
    /// days are left out of account in compaction. To be called at opening, and every hour or so.
    pub fn tell_time(&mut self, now: Instant, wall_ms: u64) {
        let sessions = self.sessions.values().flat_map(|session| session.chain().members().iter().copied());
        let roster = self.account.roster.iter().flat_map(|roster| roster.standing().members.keys().copied());
        let members: BTreeSet<_> = sessions.chain(roster).collect();
        self.seen.heard.extend(self.peers.keys().copied());
        let writes = self.seen.tell_time(wall_ms, &members);
        self.commit(writes, false);
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.try_compact(now, id));
    }
}

/// Steps.
impl Endpoint {
    /// A snapshot, or what is said of one, is signed; false if it is neither.
    pub(super) fn on_made(&mut self, now: Instant, id: SignId, sig: Sig) -> bool {
        match self.making.remove(&id) {
            Some(Making::Snapshot(body, bytes)) => {
                let session = body.session;
                let snapshot = Proven::own(body, sig);
                let kept = self.step(now, session, |session, ctx| {
                    let mut taken = Taken::default();
                    let kept = session.holdings.keep_snapshot(ctx.rules, None, &snapshot, bytes, &mut taken);
                    tell(session, ctx, taken);
                    kept
                });
                if let Some(Ok(Kept::Held(part, id))) = kept {
                    self.say_holding(session, part, id);
                }
                self.try_compact(now, session);
                true
            }
            Some(Making::Holding(body)) => {
                self.keep_holding(now, None, &Proven::own(body, sig));
                true
            }
            None => false,
        }
    }

    pub(super) fn on_snapshot(&mut self, now: Instant, from: DeviceId, message: SnapshotMsg) {
        let session = message.session;
        if !self.takes_part(now, from, session) {
            return;
        }
        if let Err(why) = self.take_snapshot(now, (from, from), message) {
            self.break_off(now, from, Some(session), why);
        }
    }

    /// Takes a piece of a snapshot that came from a device, or by a mailbox.
    pub(super) fn take_snapshot(
        &mut self,
        now: Instant,
        way: (DeviceId, DeviceId),
        message: SnapshotMsg,
    ) -> Result<(), Violation> {
        let SnapshotMsg { session, snapshot, offset, bytes, .. } = message;
        let rules = self.config.rules;
        let snapshot = snapshot.prove(rules, |body: &Snapshot| body.signer)?;
        let fits = snapshot.body().session == session;
        rules.ensure(Clause::DATA_SNAPSHOT_1, fits, Code::DATA_HASH)?;
        let fresh = self.fresh.nonce();
        let kept = self.step(now, session, |session, ctx| {
            let mut taken = Taken::default();
            let own = session.actor().id;
            let kept = session.holdings.take_piece(ctx.rules, way, own, snapshot, (offset, &bytes), &mut taken);
            if taken.resync {
                // What is beyond the snapshot goes out anew, with the hashes that others need to verify it.
                taken.writes.extend(session.holdings.rename_log(fresh));
            }
            tell(session, ctx, taken);
            kept
        });
        if let Some(Kept::Held(part, id)) = kept.transpose()? {
            self.say_holding(session, part, id);
            self.try_compact(now, session);
        }
        Ok(())
    }

    /// Asks for the signature of what this device says that it holds (SYNC-HOLDING-1).
    fn say_holding(&mut self, session: SessionId, part: PartId, snapshot: crate::wire::Hash) {
        let known = self.sessions.get(&session);
        let holding = known.and_then(|it| it.holdings.make_holding(self.config.device, part, snapshot));
        if let Some(body) = holding.filter(|_| self.config.rules.keeps(Clause::SYNC_HOLDING_1)) {
            let sign = self.out.sign(signing_bytes::<Holding>(id_of::<Holding>(&encode(&body))));
            self.making.insert(sign, Making::Holding(body));
        }
    }

    pub(super) fn on_holding(&mut self, now: Instant, from: DeviceId, message: HoldingMsg) {
        let session = message.session;
        let device = match message.holding.clone().prove(self.config.rules, |body: &Holding| body.device) {
            Ok(holding) => holding.body().device,
            Err(why) => return self.break_off(now, from, Some(session), why),
        };
        // What it sent before couldn't be verified here without hashes that it sends now.
        if device == from {
            self.ask_again_for_hashes(now, from, session);
        }
        if self.takes_part(now, from, session)
            && let Err(why) = self.take_holding(now, from, message)
        {
            self.break_off(now, from, Some(session), why);
        }
    }

    /// Takes what a device says that it holds, from a device, or by a mailbox.
    pub(super) fn take_holding(&mut self, now: Instant, from: DeviceId, message: HoldingMsg) -> Result<(), Violation> {
        let holding = message.holding.prove(self.config.rules, |body: &Holding| body.device)?;
        let device = holding.body().device;
        // Of others it says nothing here, and would take room.
        if holding.body().session == message.session && self.members_of(&message.session).contains(&device) {
            self.seen.hear(device);
            self.keep_holding(now, Some(from), &holding);
        }
        Ok(())
    }

    fn keep_holding(&mut self, now: Instant, from: Option<DeviceId>, holding: &Proven<Holding>) {
        let id = holding.body().session;
        self.step(now, id, |session, ctx| {
            let mut taken = Taken::default();
            session.holdings.keep_holding(from, holding, &mut taken);
            tell(session, ctx, taken);
        });
        self.try_compact(now, id);
    }

    /// The members of a session, and those of the account.
    fn members_of(&self, id: &SessionId) -> BTreeSet<DeviceId> {
        let session = self.sessions.get(id).into_iter().flat_map(|session| session.chain().members().iter().copied());
        let roster = self.account.roster.iter().flat_map(|roster| roster.standing().members.keys().copied());
        session.chain(roster).collect()
    }

    /// Lets go what all members hold in snapshots.
    fn try_compact(&mut self, now: Instant, id: SessionId) {
        if !self.sessions.get(&id).is_some_and(Session::is_kept) {
            return;
        }
        let (me, members) = (self.config.device, self.members_of(&id));
        let waits = |device: &DeviceId| *device != me && !self.is_revoked(device) && !self.seen.is_stale(device);
        let members: BTreeSet<_> = members.into_iter().filter(waits).collect();
        let compacted = self.step(now, id, |session: &mut Session<_>, ctx| {
            let mut taken = Taken::default();
            session.holdings.compact(ctx.rules, &members, &mut taken);
            let compacted = !taken.writes.is_empty();
            tell(session, ctx, taken);
            compacted
        });
        if compacted == Some(true) {
            self.out.event(Event::Compacted { session: id });
        }
    }
}

/// The milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
