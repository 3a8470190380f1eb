//! What the application asks for.

use alloc::vec::Vec;

use super::{Birth, Endpoint, Wish};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::{NewOp, PartKind, Replaces, actor_id, session_id};
use crate::errors::UsageError;
use crate::event::{Accepted, HandoffId, Token};
use crate::handoff::{Ctx, Session};
use crate::journal::Lsn;
use crate::limits::{MAX_MEMBERS, MAX_NAME, MAX_REASON, MAX_SESSIONS, MAX_TTL};
use crate::wire::{ActorId, DeviceId, Exts, Genesis, Hash, Have, Hlc, List, PartId, Record, SessionId, Writer};

use super::session_data::{SessionData, Taken};

impl Endpoint {
    /// Vouches for a device: it may link, and learn of every session. Not journaled; tell it at every open.
    pub fn trust(&mut self, device: DeviceId) {
        self.trusted.insert(device);
        let trusted = self.vouches(&device);
        if let Some(peer) = self.peers.get_mut(&device) {
            peer.trusted = trusted;
        }
    }

    /// Vouches for a device no longer; the account may still. Its links go on; close them if they shouldn't.
    pub fn distrust(&mut self, device: DeviceId) {
        self.trusted.remove(&device);
        let trusted = self.vouches(&device);
        if let Some(peer) = self.peers.get_mut(&device) {
            peer.trusted = trusted;
        }
    }

    /// Creates a session that this device owns; the devices of its account are members too. It is usable once [`Event::Created`](crate::Event::Created) says so.
    ///
    /// Errors: `TooLarge` if there is no room for a session, for its members (64) or its name (64 characters).
    pub fn create_session(&mut self, _now: Instant, name: &str, members: &[DeviceId]) -> Result<SessionId, UsageError> {
        self.running()?;
        let me = self.config.device;
        let roster = self.own_roster().ok().into_iter().flat_map(|roster| roster.standing().members.keys());
        let mut listed: Vec<_> = members.iter().chain(roster).copied().filter(|member| *member != me).collect();
        listed.sort_unstable();
        listed.dedup();
        if self.sessions.len() + self.births.len() >= MAX_SESSIONS || listed.len() > MAX_MEMBERS {
            return Err(UsageError::TooLarge);
        }
        if name.chars().count() > MAX_NAME {
            return Err(UsageError::TooLarge);
        }
        let (nonce, actor) = (self.fresh.nonce(), self.fresh.nonce());
        let session = session_id(&me, &nonce);
        let members = List::new(listed).unwrap_or_default();
        let record = Record::genesis(session, me, actor_id(&me, &actor), Genesis { nonce, members });
        let sign = self.out.sign(crate::wire::signing_bytes::<Record>(crate::wire::id_of::<Record>(
            &crate::wire::codec::encode(&record),
        )));
        self.births.insert(sign, Birth { record, name: name.into(), actor });
        Ok(session)
    }

    /// Writes an op into a part; it comes to be with its first. The op is acknowledged once the LSN is durable (S3,
    /// DATA-OP-6). Every device that takes part writes to shared parts; exclusive ones only the primary.
    ///
    /// `wall_ms` is the wall clock in milliseconds, for display and tie-breaks only. Errors: `NotOwner` and its like if
    /// the part is exclusive and this device isn't primary (HO-WRITE-1), `NotMember` if it doesn't take part,
    /// `Paused` while a handoff's target fetches the last difference and the GRANT has no room for more (HO-PACE-1),
    /// `Conflicted` if the part has values in conflict, `BadPart`, `TooLarge`.
    pub fn write(
        &mut self,
        now: Instant,
        wall_ms: u64,
        session: SessionId,
        part: PartId,
        kind: u16,
        body: Vec<u8>,
    ) -> Result<Lsn, UsageError> {
        self.write_op(now, wall_ms, session, (part, kind), body, Replaces::One)
    }

    /// Writes an op that stands for all values of a part in conflict. Errors: as [`Endpoint::write`].
    pub fn resolve(
        &mut self,
        now: Instant,
        wall_ms: u64,
        session: SessionId,
        part: PartId,
        kind: u16,
        body: Vec<u8>,
    ) -> Result<Lsn, UsageError> {
        self.write_op(now, wall_ms, session, (part, kind), body, Replaces::All)
    }

    /// Writes an op that stands for the values of these actors in a register or blob part, as its user was shown them:
    /// whatever else others wrote meanwhile stays, in conflict with it (DATA-VALUE-1).
    ///
    /// Errors: as [`Endpoint::write`]; `Conflicted` if this device's own value isn't among them, for its next op would
    /// replace that one, too.
    pub fn write_beside(
        &mut self,
        now: Instant,
        wall_ms: u64,
        session: SessionId,
        (part, kind): (PartId, u16),
        body: Vec<u8>,
        over: Vec<ActorId>,
    ) -> Result<Lsn, UsageError> {
        let known = PartKind::from_number(kind).ok_or(UsageError::BadPart)?;
        if !known.is_shared() || !known.has_values() {
            return Err(UsageError::BadPart);
        }
        self.write_op(now, wall_ms, session, (part, kind), body, Replaces::Of(over))
    }

    /// Writes ops into a log or opaque part, one after the other, all in one batch of the journal; else as
    /// [`Endpoint::write`]. Those before one that fails are written.
    ///
    /// Errors: as [`Endpoint::write`]; `BadPart` too for other kinds of parts.
    pub fn append(
        &mut self,
        now: Instant,
        wall_ms: u64,
        session: SessionId,
        part: PartId,
        kind: u16,
        bodies: Vec<Vec<u8>>,
    ) -> Result<Lsn, UsageError> {
        self.running()?;
        if PartKind::from_number(kind).is_none_or(PartKind::has_values) {
            return Err(UsageError::BadPart);
        }
        let (salt, hlc) = (self.fresh.nonce(), hlc(wall_ms));
        self.command(now, session, |session, ctx| {
            let (record, actor) = (session.contributable(ctx.rules)?, session.actor().id);
            let written = bodies.into_iter().try_for_each(|body| {
                let new = NewOp { actor, part, kind, hlc, record, salt, body, replaces: Replaces::One };
                ctx.fx.writes.extend(session.holdings.write(ctx.rules, new)?);
                Ok(())
            });
            if !ctx.fx.writes.is_empty() {
                name_writer(session, ctx);
            }
            written
        })?;
        Ok(self.last)
    }

    fn write_op(
        &mut self,
        now: Instant,
        wall_ms: u64,
        session: SessionId,
        (part, kind): (PartId, u16),
        body: Vec<u8>,
        replaces: Replaces,
    ) -> Result<Lsn, UsageError> {
        self.running()?;
        let (salt, len) = (self.fresh.nonce(), body.len());
        let hlc = hlc(wall_ms);
        let shared = PartKind::from_number(kind).ok_or(UsageError::BadPart)?.is_shared();
        self.command(now, session, |session, ctx| {
            let record = if shared { session.contributable(ctx.rules)? } else { session.writable(ctx.rules)? };
            if !shared {
                session.unhurried(ctx, &part, len)?;
            }
            let actor = session.actor();
            let new = NewOp { actor: actor.id, part, kind, hlc, record, salt, body, replaces };
            let writes = session.holdings.write(ctx.rules, new)?;
            ctx.fx.writes.extend(writes);
            name_writer(session, ctx);
            if !shared {
                session.written(ctx, &part, len);
            }
            Ok(())
        })?;
        Ok(self.last)
    }

    /// Takes part in a session that `from` tells of, without asking to own it: its data is kept up to date here, and
    /// contributed to. [`Event::Synced`](crate::Event::Synced) tells when it has come.
    ///
    /// Errors: `TooLarge` if there is no room for a session, `SelfTarget`.
    pub fn follow(&mut self, now: Instant, session: SessionId, from: DeviceId) -> Result<(), UsageError> {
        self.running()?;
        if self.sessions.contains_key(&session) {
            return self.command(now, session, |session, ctx| {
                session.keep(ctx.fx);
                session.show_grantor(ctx);
                Ok(())
            });
        }
        if from == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        if self.wishes.len() >= MAX_SESSIONS {
            return Err(UsageError::TooLarge);
        }
        let deadline = now.after(MAX_TTL);
        self.wishes.insert(session, Wish { id: None, from, deadline, req: 0 });
        self.ask_wishes(now, from);
        Ok(())
    }

    /// The id of a part that doesn't exist yet.
    pub fn new_part(&mut self) -> PartId {
        self.fresh.part()
    }

    /// Hands a session over to `to`: [`Event::HandoffResolved`](crate::Event::HandoffResolved) tells how it ended,
    /// within `timeout_us` microseconds, unless [`Event::HandoffPending`](crate::Event::HandoffPending) says then that it still may.
    pub fn initiate_handoff(
        &mut self,
        now: Instant,
        session: SessionId,
        to: DeviceId,
        timeout_us: u64,
    ) -> Result<HandoffId, UsageError> {
        self.not_revoked(&to)?;
        let (started, more) = self.command(now, session, |session, ctx| {
            session.may_initiate(ctx.rules, &to)?;
            let more = session.holdings.begin_handoff();
            Ok((session.initiate(ctx, to, timeout_us)?, more))
        })?;
        self.end_choice(now, session);
        if more {
            self.put_other_content(now);
        }
        // Who is met by way of a mailbox alone is given the key there.
        self.pump_mailboxes(now);
        Ok(started)
    }

    /// Gives up the handoff or the request that runs in a session; a request whose WANT is out is pending then, until it is
    /// known whether it was granted. Errors: `Busy` if the GRANT is on its way, or
    /// nothing runs.
    pub fn cancel_handoff(&mut self, now: Instant, session: SessionId) -> Result<(), UsageError> {
        if self.wishes.contains_key(&session) {
            self.drop_wish(session, crate::Code::HO_CANCELLED);
            return Ok(());
        }
        self.command(now, session, |session, ctx| session.cancel(ctx))
    }

    /// Asks `from` to hand a session over; the session may be unknown here.
    pub fn request_handoff(
        &mut self,
        now: Instant,
        session: SessionId,
        from: DeviceId,
        timeout_us: u64,
    ) -> Result<HandoffId, UsageError> {
        self.running()?;
        self.not_revoked(&from)?;
        if self.sessions.contains_key(&session) {
            self.drop_wish(session, crate::Code::HO_SUPERSEDED);
            return self.command(now, session, |session, ctx| session.request(ctx, from, timeout_us));
        }
        if from == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        if self.wishes.len() >= MAX_SESSIONS {
            return Err(UsageError::TooLarge);
        }
        self.drop_wish(session, crate::Code::HO_SUPERSEDED);
        let id = self.fresh.handoff();
        self.wishes.insert(session, Wish { id: Some(id), from, deadline: now.after(timeout_us), req: 0 });
        self.ask_wishes(now, from);
        Ok(id)
    }

    /// Consents to being handed a session by `to` within `ttl_us` microseconds, without being asked.
    pub fn consent(&mut self, now: Instant, session: SessionId, to: DeviceId, ttl_us: u64) -> Result<(), UsageError> {
        self.not_revoked(&to)?;
        self.command(now, session, |session, ctx| session.consent(ctx, to, ttl_us))
    }

    /// Accepts a [`HandoffRequest`](crate::Event::HandoffRequest) or a [`RequestHandoff`](crate::Event::RequestHandoff).
    pub fn accept_handoff(&mut self, now: Instant, token: Token) -> Result<Accepted, UsageError> {
        self.running()?;
        for session in self.session_ids() {
            let offer = self.step(now, session, |session, ctx| session.accept_offer(ctx, token)).flatten();
            if let Some(id) = offer {
                return Ok(Accepted::Offer(id));
            }
            if self.step(now, session, |session, ctx| session.accept_pull(ctx, token)) == Some(true) {
                return Ok(Accepted::Pull);
            }
        }
        Err(UsageError::UnknownToken)
    }

    /// Rejects a request that waits. The other side's user is given the `reason`, unless the link is of 1.4: at most 200
    /// characters, without those that control or turn the text around it (HO-REASON-3).
    ///
    /// Errors: `UnknownToken`; `TooLarge` if the reason has more than 200 characters.
    pub fn reject_handoff(&mut self, now: Instant, token: Token, reason: Option<&str>) -> Result<(), UsageError> {
        self.running()?;
        if reason.is_some_and(|reason| reason.chars().count() > MAX_REASON) {
            return Err(UsageError::TooLarge);
        }
        for session in self.session_ids() {
            let rejects = |session: &mut Session<SessionData>, ctx: &mut Ctx<'_>| {
                session.reject_offer(ctx, token, reason) || session.reject_pull(ctx, token, reason)
            };
            if self.step(now, session, rejects) == Some(true) {
                return Ok(());
            }
        }
        Err(UsageError::UnknownToken)
    }

    /// Makes this device the owner of a session without its owner's help: opens a term.
    pub fn takeover(&mut self, now: Instant, session: SessionId) -> Result<(), UsageError> {
        self.command(now, session, |session, ctx| session.takeover(ctx))
    }

    /// Ends a session for good.
    pub fn close(&mut self, now: Instant, session: SessionId) -> Result<(), UsageError> {
        self.command(now, session, |session, ctx| session.close(ctx))
    }

    /// Asks for the sessions that are wanted from a device, now that it has a link.
    pub(super) fn ask_wishes(&mut self, now: Instant, peer: DeviceId) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        let wanted: Vec<_> = self.wishes.iter().filter(|(_, wish)| wish.from == peer).map(|(id, _)| *id).collect();
        for session in wanted {
            let req = self.fresh.request();
            if let Some(wish) = self.wishes.get_mut(&session) {
                wish.req = req;
            }
            let have = Have { req, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() };
            self.send(now, peer, Lsn::default(), &have.into());
        }
    }

    fn session_ids(&self) -> Vec<SessionId> {
        self.sessions.keys().copied().collect()
    }

    pub(super) fn running(&self) -> Result<(), UsageError> {
        if self.halted { Err(UsageError::Halted) } else { Ok(()) }
    }

    pub(super) fn command<R>(
        &mut self,
        now: Instant,
        session: SessionId,
        run: impl FnOnce(&mut Session<SessionData>, &mut Ctx<'_>) -> Result<R, UsageError>,
    ) -> Result<R, UsageError> {
        self.running()?;
        self.step(now, session, run).ok_or(UsageError::UnknownSession)?
    }
}

/// Notes that this device is who writes here (DATA-WRITER-1).
fn name_writer(session: &mut Session<SessionData>, ctx: &mut Ctx<'_>) {
    if ctx.rules.keeps(Clause::DATA_WRITER_1) {
        let mut taken = Taken::default();
        let writer = Writer { device: ctx.me, nonce: session.actor().nonce };
        session.holdings.name_writers(ctx.rules, alloc::vec![writer], &mut taken);
        ctx.fx.writes.extend(taken.writes);
    }
}

fn hlc(wall_ms: u64) -> Hlc {
    Hlc::new((wall_ms << 16).to_be_bytes())
}
