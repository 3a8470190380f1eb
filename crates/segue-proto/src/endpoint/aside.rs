//! What a changed roster means for data: what revoked devices wrote past the cut is set aside, listed, and taken in if
//! the user says so.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Endpoint;
use super::session_data::{SetAside, Taken};
use super::syncing::tell;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::PartKind;
use crate::errors::UsageError;
use crate::journal::Lsn;
use crate::limits::{MAX_CUT_ENTRIES, MAX_CUT_TIPS};
use crate::wire::{ActorId, CutTip, DeviceId, PartId, SessionId, Tip};

/// Queries and commands.
impl Endpoint {
    /// What is set aside of a session, by part, writer and number (DATA-ASIDE-3).
    pub fn set_aside(&self, session: &SessionId) -> Vec<SetAside> {
        self.sessions.get(session).map(|session| session.holdings.aside()).unwrap_or_default()
    }

    /// Takes in what is set aside of a writer in a part, because the user says so. Ops become part of the data, on every
    /// device, as the next op of this device says that it has read them; a value is written as this device's own, in the
    /// place of those that are there.
    ///
    /// Errors: `UnknownSession`; `BadPart` if nothing is set aside there, or if it isn't well formed; those of
    /// [`Endpoint::write`].
    pub fn take_in(
        &mut self,
        now: Instant,
        wall_ms: u64,
        session: SessionId,
        part: PartId,
        actor: ActorId,
    ) -> Result<Lsn, UsageError> {
        self.running()?;
        let data = &self.sessions.get(&session).ok_or(UsageError::UnknownSession)?.holdings;
        if let Some((kind, body)) = data.value_aside(part, actor) {
            let blob = kind == PartKind::Blob.number();
            let entry = crate::data::Entry::open(self.config.rules, &body).ok().filter(|entry| blob && entry.len > 0);
            self.resolve(now, wall_ms, session, part, kind, body)?;
            self.step(now, session, |session, ctx| {
                let mut taken = Taken::default();
                // The content was kept for nobody: it is looked for here and elsewhere.
                taken.writes.extend(entry.and_then(|entry| session.holdings.miss(part, entry)));
                session.holdings.drop_value_aside(part, actor, &mut taken);
                tell(session, ctx, taken);
            });
            return Ok(self.last);
        }
        let kind = data.ops_aside(part, actor).ok_or(UsageError::BadPart)?;
        let took = self.step(now, session, |session, ctx| {
            session.contributable(ctx.rules)?;
            let mut taken = Taken::default();
            let took = session.holdings.take_in(ctx.rules, part, actor, &mut taken);
            tell(session, ctx, taken);
            took.map_err(|_| UsageError::BadPart)
        });
        if !took.ok_or(UsageError::UnknownSession)?? {
            return Err(UsageError::BadPart);
        }
        self.write(now, wall_ms, session, part, kind, Vec::new())
    }
}

/// Steps.
impl Endpoint {
    /// The tips of a cut for a device, in as many lists as it takes (ACCOUNT-CUT-1).
    pub(super) fn ends_of(&self, device: &DeviceId) -> Vec<Vec<CutTip>> {
        if !self.config.rules.keeps(Clause::ACCOUNT_CUT_1) {
            return alloc::vec![Vec::new()];
        }
        let of = |(part, Tip { actor, seq, hash }): (PartId, Tip)| CutTip { part, actor, seq, hash };
        let kept = self.sessions.values().filter(|session| session.is_kept());
        let tips: Vec<_> = kept.flat_map(|session| session.holdings.ends_of(device)).map(of).collect();
        let mut lists: Vec<Vec<_>> = tips.chunks(MAX_CUT_TIPS).map(<[CutTip]>::to_vec).collect();
        lists.truncate(MAX_CUT_ENTRIES);
        if lists.is_empty() { alloc::vec![Vec::new()] } else { lists }
    }

    /// The roster changed, or was read: what doesn't stand any more is set aside, and what does is taken in.
    pub(super) fn cut_sessions(&mut self, now: Instant) {
        let Some(cuts) = self.account.roster.as_ref().map(|roster| roster.cuts()) else { return };
        if *self.cuts == cuts {
            return;
        }
        self.cuts = Arc::new(cuts);
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            self.cut_session(now, id);
        }
    }

    /// As [`Endpoint::cut_sessions`], for one session that came to be here.
    pub(super) fn cut_session(&mut self, now: Instant, id: SessionId) {
        let cuts = self.cuts.clone();
        if cuts.is_empty() {
            return;
        }
        let lost = self.step(now, id, |session, ctx| {
            let mut taken = Taken::default();
            let lost = session.holdings.cut_as(ctx.rules, cuts, &mut taken);
            tell(session, ctx, taken);
            lost
        });
        if lost == Some(true) {
            self.ask_anew(now, id);
        }
    }

    /// How much is set aside, by session; sessions with nothing aside are left out.
    pub fn aside_counts(&self) -> BTreeMap<SessionId, usize> {
        let counts = self.sessions.iter().map(|(id, session)| (*id, session.holdings.aside().len()));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}
