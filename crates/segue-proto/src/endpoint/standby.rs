//! Standing by: a device that may be the next owner gets what the owner has while nobody asked for the session yet. It
//! says nothing of it, and nothing but content that it keeps comes of it (HO-STANDBY-1, HO-STANDBY-2).

use alloc::collections::BTreeMap;

use super::Endpoint;
use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::data::{IN_HAVE, Pick};
use crate::errors::UsageError;
use crate::event::Event;
use crate::generations::Generation;
use crate::journal::Lsn;
use crate::limits::{MAX_TTL, STANDBY_PAUSE};
use crate::wire::{DeviceId, Exts, Hash, Have, SessionId};

/// The sessions for which this device stands by.
#[derive(Debug, Default)]
pub(super) struct Standbys(BTreeMap<SessionId, Standby>);

#[derive(Debug)]
struct Standby {
    /// The bytes that may still be asked for, and those that were.
    left: u64,
    spent: u64,
    /// When the owner is asked next.
    next: Instant,
    /// The manifest whose content was fetched last, and what its owner said to hold of that: it is here, or can't be had.
    tried: Option<(Hash, Pick)>,
}

impl Standbys {
    /// Bytes are about to be asked for; false if that is more than is left (HO-STANDBY-1).
    pub(super) fn spend(&mut self, rules: Rules, session: &SessionId, bytes: u64) -> bool {
        let Some(standby) = self.0.get_mut(session) else { return false };
        if bytes > standby.left && rules.keeps(Clause::HO_STANDBY_1) {
            return false;
        }
        standby.left = standby.left.saturating_sub(bytes);
        standby.spent = standby.spent.saturating_add(bytes);
        true
    }
}

/// Commands.
impl Endpoint {
    /// Stands by for a session that others own: its content is fetched while its owner still works, so that a handoff to
    /// this device moves little. At most `limit` bytes are asked for in all; 0 ends it, and so does a restart.
    /// [`Event::StoodBy`] tells what came of it. A session that this device takes part in is kept up to date anyway.
    ///
    /// Errors: [`UsageError::UnknownSession`].
    pub fn stand_by(&mut self, now: Instant, session: SessionId, limit: u64) -> Result<(), UsageError> {
        self.running()?;
        if !self.sessions.contains_key(&session) {
            return Err(UsageError::UnknownSession);
        }
        if limit == 0 {
            self.end_standby(session);
            return Ok(());
        }
        self.standbys.0.insert(session, Standby { left: limit, spent: 0, next: now, tried: None });
        self.time_standbys(now);
        Ok(())
    }
}

/// Steps.
impl Endpoint {
    /// When an owner is to be asked.
    pub(super) fn next_standby(&self) -> Option<Instant> {
        let due = self.standbys.0.iter().filter(|(session, _)| self.standby_owner(session).is_some());
        due.map(|(_, standby)| standby.next).min()
    }

    /// Asks the owners whose turn it is.
    pub(super) fn time_standbys(&mut self, now: Instant) {
        let due: alloc::vec::Vec<_> =
            self.standbys.0.iter().filter(|(_, it)| it.next <= now).map(|(id, _)| *id).collect();
        for session in due {
            let Some(owner) = self.standby_owner(&session) else { continue };
            let Some(head) = self.sessions.get(&session).map(|session| session.head_id()) else { continue };
            self.standbys.0.entry(session).and_modify(|standby| standby.next = now.after(STANDBY_PAUSE));
            let req = self.fresh.request();
            let have = Have { req, session, head, data: None.into(), ext: Exts::empty() };
            self.send(now, owner, Lsn::default(), &have.into());
        }
    }

    /// The owner announced what it has: it is fetched, unless something is being fetched already.
    pub(super) fn standby_told(&mut self, now: Instant, from: DeviceId, have: &Have) {
        let (session, Some(data)) = (have.session, have.data.get()) else { return };
        let owner = self.standby_owner(&session) == Some(from);
        let head = self.sessions.get(&session).is_some_and(|session| session.head_id() == have.head);
        let Some(standby) = self.standbys.0.get(&session).filter(|_| owner && head) else { return };
        let holds = Pick::heard(IN_HAVE, &have.ext);
        if standby.tried.as_ref().is_some_and(|(manifest, held)| *manifest == data.manifest && *held == holds) {
            return;
        }
        self.fetch_standing_by(now, session, from, data.clone(), holds);
    }

    /// This is being fetched: it comes, or can't be had, and isn't fetched once more.
    pub(super) fn standby_tries(&mut self, session: SessionId, manifest: Hash, holds: Pick) {
        self.standbys.0.entry(session).and_modify(|standby| standby.tried = Some((manifest, holds)));
    }

    /// What is to be fetched is something else than before.
    pub(super) fn standby_tries_anew(&mut self, session: SessionId) {
        self.standbys.0.entry(session).and_modify(|standby| standby.tried = None);
    }

    /// All that the owner announced is here.
    pub(super) fn standby_got(&mut self, now: Instant, session: SessionId, from: DeviceId) {
        let Some(bytes) = self.standbys.0.get(&session).map(|standby| standby.spent) else { return };
        self.out.event(Event::StoodBy { session, bytes, ended: false });
        if !self.config.rules.keeps(Clause::HO_STANDBY_2) {
            self.step(now, session, |session, ctx| {
                let _ = session.consent(ctx, from, MAX_TTL);
            });
        }
    }

    /// What is left to ask for doesn't suffice, or the user has enough.
    pub(super) fn end_standby(&mut self, session: SessionId) {
        self.stop_standing_by(&session);
        if let Some(standby) = self.standbys.0.remove(&session) {
            self.out.event(Event::StoodBy { session, bytes: standby.spent, ended: true });
        }
    }

    /// The owner to ask, if it has a link that permits it, and this device is likely to be the next.
    fn standby_owner(&self, session: &SessionId) -> Option<DeviceId> {
        let session = self.sessions.get(session)?;
        let owner = session.owner().filter(|owner| *owner != self.config.device)?;
        let linked = self.peers.get(&owner).is_some_and(|peer| peer.generation >= Generation::V2);
        (linked && !session.is_kept() && !session.seeks() && session.is_likely_next()).then_some(owner)
    }
}
