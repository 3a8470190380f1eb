//! The WANTs that a source keeps: which it takes, whose consent they have, and how they end.

use super::effects::Ctx;
use super::holdings::Holdings;
use super::reason;
use super::session::{Session, SessionRole};
use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::data::Pick;
use crate::event::{Event, Policy, Token};
use crate::generations::Generation;
use crate::limits::{MAX_TTL, MAX_WANTS};
use crate::wire::{Decline, DeviceId, Exts, Hash, Proven, Record, Want, WantMode};
use crate::{Code, Violation};

/// A WANT that may be granted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveWant {
    pub(super) want: Proven<Want>,
    pub(super) req: u32,
    pub(super) expires: Instant,
    /// The user, or the policy, consents.
    pub(super) approved: bool,
    /// That is so because the user chose to hand over to its target, and for that handoff alone (HO-WANT-7).
    pub(super) by_choice: bool,
    /// The manifest that the target is to fetch before it is granted to, and until when writes wait for that.
    pub(super) pace: Option<(Hash, Instant)>,
    /// Whether the target was told that what it holds suffices no more.
    pub(super) outgrown: bool,
}

/// The user's answers.
impl<H: Holdings> Session<H> {
    /// The user accepts a request to hand over.
    pub fn accept_pull(&mut self, ctx: &mut Ctx<'_>, token: Token) -> bool {
        let Some((device, live)) = self.wants.iter_mut().find(|(_, live)| live.want.id() == token && !live.approved)
        else {
            return false;
        };
        let device = *device;
        live.approved = true;
        self.try_grant(ctx, device);
        true
    }

    /// The user rejects a request to hand over.
    pub fn reject_pull(&mut self, ctx: &mut Ctx<'_>, token: Token, reason: Option<&str>) -> bool {
        let found = self.wants.iter().find(|(_, live)| live.want.id() == token && !live.approved);
        let Some((device, req)) = found.map(|(device, live)| (*device, live.req)) else { return false };
        self.wants.remove(&device);
        self.deny(ctx, device, (req, token), Code::HO_DECLINED, reason);
        true
    }
}

/// Queries.
impl<H: Holdings> Session<H> {
    /// What a device's live WANT picks; all, if there is none.
    pub fn picked_by(&self, of: &DeviceId) -> Pick {
        let ids = self.wants.get(of).map(|live| live.want.body().pick.iter().copied());
        Pick::new(ids.into_iter().flatten()).unwrap_or_default()
    }

    /// Whether a device consented in advance to be handed the session.
    pub fn has_consent(&self, of: &DeviceId) -> bool {
        self.wants.get(of).is_some_and(|live| live.want.body().mode == WantMode::Standing.number())
    }
}

/// Messages.
impl<H: Holdings> Session<H> {
    /// A WANT whose signature was verified.
    pub fn on_want(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, want: Proven<Want>) {
        if self.leans_on(&from) && want.body().target != from && ctx.rules.keeps(Clause::SERVICE_VIA_1) {
            return self.on_passed_want(ctx, from, req, want);
        }
        if self.repeat_grant(ctx, from, req, &want) {
            return;
        }
        if let Err((code, clause)) = self.judge_want(ctx, from, want.body()) {
            let violation = Violation::new(code, clause);
            ctx.event(Event::Violation { peer: from, session: Some(self.id()), violation });
            ctx.refuse(from, req, self.id(), code);
            if matches!(code, Code::HO_STALE_PARENT | Code::HO_NOT_OWNER) {
                self.peer_heads.remove(&from);
                self.send_head(ctx, from, &want.body().parent, None);
            }
            return;
        }
        self.peer_heads.insert(from, want.body().parent);
        self.note_want(ctx, from, req, want);
    }

    /// CANCEL: the target withdraws its WANT (HO-CANCEL-1), and is told that it wasn't granted (HO-CANCEL-2).
    pub fn on_want_cancelled(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, subject: Hash, code: Code) {
        if self.leans_on(&from) {
            let named = |live: &LiveWant| live.want.id() == subject;
            let target = self.wants.iter().find(|(_, live)| named(live)).map(|(device, _)| *device);
            if target.and_then(|target| self.wants.remove(&target)).is_some_and(|live| !live.approved) {
                ctx.event(Event::Withdrawn { token: subject, session: self.id(), code });
            }
            return;
        }
        if self.wants.get(&from).is_some_and(|live| live.want.id() == subject) {
            let approved = self.wants.remove(&from).is_some_and(|live| live.approved);
            if !approved {
                ctx.event(Event::Withdrawn { token: subject, session: self.id(), code });
            }
        }
        let primary = self.role(ctx.rules) == SessionRole::Primary;
        if primary && self.may_read(ctx, &from) && ctx.rules.keeps(Clause::HO_CANCEL_2) {
            let (session, code) = (self.id(), Code::HO_CANCELLED.into());
            ctx.send(from, Decline { session, subject, code, ext: Exts::empty() });
        }
    }
}

/// Steps.
impl<H: Holdings> Session<H> {
    /// The checks of a WANT, in the order of the handoff chapter.
    fn judge_want(&self, ctx: &Ctx<'_>, from: DeviceId, want: &Want) -> Result<(), (Code, Clause)> {
        let rules = ctx.rules;
        let must = |clause, holds: bool, code| rules.ensure(clause, holds, code).map_err(|v| (v.code, v.clause));
        must(Clause::HO_WANT_2, want.target == from, Code::HO_TOKEN_WRONG_PEER)?;
        must(Clause::HO_WANT_4, self.may_read(ctx, &from), Code::HO_UNKNOWN_SESSION)?;
        let base = self.base_of(rules, want);
        let owns = base.body().grantor == self.me && self.is_entitled(rules, base);
        must(Clause::HO_WANT_6, owns, Code::HO_NOT_OWNER)?;
        must(Clause::HO_WANT_1, want.parent == base.id(), Code::HO_STALE_PARENT)?;
        self.judge_answer(rules, from, want).map_err(|v| (v.code, v.clause))
    }

    /// The record that a WANT is judged by: the head.
    pub(super) fn base_of(&self, rules: Rules, want: &Want) -> &Proven<Record> {
        if rules.keeps(Clause::HO_GRANT_3) {
            return self.head();
        }
        // With the clause off: whatever record the WANT cites, if it was this device's to follow.
        self.chain.get(&want.parent).filter(|record| record.body().grantor == self.me).unwrap_or(self.head())
    }

    /// Keeps a WANT that passed, and acts on it.
    pub(super) fn note_want(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, want: Proven<Want>) {
        let mode = WantMode::from_number(want.body().mode);
        let chosen = self.source.offering_to() == Some(from);
        let before = self.wants.get(&from).is_some_and(|live| live.approved && !live.by_choice);
        let answers = mode == Some(WantMode::Answer);
        let unasked = !ctx.rules.keeps(Clause::GEN_POLICY_1) && ctx.generation_with(&from) < Some(Generation::V2);
        let allowed = before
            || unasked && mode == Some(WantMode::Pull) && ctx.pulls == Policy::Ask
            || mode == Some(WantMode::Pull) && ctx.pulls == Policy::Allow
            || mode == Some(WantMode::Pull) && !ctx.rules.keeps(Clause::HO_WANT_5)
            || self.grantor().is_some() && !ctx.rules.keeps(Clause::SERVICE_FREEZE_3);
        let by_choice = !allowed && chosen && (answers || ctx.rules.keeps(Clause::HO_WANT_7));
        let approved = allowed || by_choice;
        if mode == Some(WantMode::Pull) && !approved && ctx.pulls == Policy::Deny {
            self.wants.remove(&from);
            return self.deny(ctx, from, (req, want.id()), Code::HO_DECLINED, None);
        }
        if self.wants.len() >= MAX_WANTS && !self.wants.contains_key(&from) {
            if ctx.rules.keeps(Clause::LIMIT_ROOM_1) {
                return ctx.refuse(self.door(from), req, self.id(), Code::LIMIT_ROOM);
            }
            self.wants.pop_first();
        }
        let ttl = super::ttl::honoured(want.body().ttl);
        let expires = ctx.now.after(if ctx.rules.keeps(Clause::HO_WANT_8) { ttl } else { MAX_TTL });
        let token = want.id();
        let live = LiveWant { want, req, expires, approved, by_choice, pace: None, outgrown: false };
        let old = self.wants.insert(from, live);
        let known = old.as_ref().is_some_and(|old| old.want.id() == token);
        if let Some(old) = old.filter(|_| !known || approved) {
            self.void_request(ctx, &old, Code::HO_SUPERSEDED);
        }
        if approved {
            self.try_grant(ctx, from);
        } else if mode == Some(WantMode::Pull) && !known {
            ctx.event(Event::RequestHandoff { token, session: self.id(), by: from });
        } else if mode == Some(WantMode::Standing) {
            self.judge_consent(ctx, from);
        }
    }

    /// Forgets a WANT and tells whoever waits for it.
    pub(super) fn drop_want(&mut self, ctx: &mut Ctx<'_>, device: &DeviceId, code: Code) {
        let Some(live) = self.wants.remove(device) else { return };
        self.void_request(ctx, &live, code);
        let (token, session) = (live.want.id(), self.id());
        let mode = WantMode::from_number(live.want.body().mode);
        match code {
            Code::HO_STALE_PARENT => {
                ctx.refuse(*device, live.req, session, code);
                self.send_head_if_lacking(ctx, *device);
            }
            _ if mode == Some(WantMode::Standing) => {}
            _ => self.deny(ctx, *device, (live.req, token), code, None),
        }
    }

    /// If a WANT was put to the user, who hasn't answered: nobody waits for that any more.
    pub(super) fn void_request(&self, ctx: &mut Ctx<'_>, live: &LiveWant, code: Code) {
        let (token, session) = (live.want.id(), self.id());
        if !live.approved && live.want.body().mode == WantMode::Pull.number() {
            ctx.event(Event::Withdrawn { token, session, code });
        }
    }

    /// The handoff to a device that the user chose ends without a GRANT: its WANT is as if it hadn't been chosen.
    pub(super) fn unchoose(&mut self, ctx: &mut Ctx<'_>, target: DeviceId) {
        let Some(live) = self.wants.get_mut(&target).filter(|live| live.by_choice) else { return };
        (live.approved, live.by_choice) = (false, false);
        let (token, req, mode) = (live.want.id(), live.req, WantMode::from_number(live.want.body().mode));
        match mode {
            Some(WantMode::Standing) => {}
            Some(WantMode::Pull) if ctx.pulls != Policy::Deny => {
                ctx.event(Event::RequestHandoff { token, session: self.id(), by: target });
            }
            Some(WantMode::Pull) => {
                self.wants.remove(&target);
                self.deny(ctx, target, (req, token), Code::HO_DECLINED, None);
            }
            // It answered the OFFER that is void.
            Some(WantMode::Answer) | None => drop(self.wants.remove(&target)),
        }
    }

    /// Says no to a WANT, unless the record of a grant to its target is being signed: then that is the answer.
    fn deny(&mut self, ctx: &mut Ctx<'_>, to: DeviceId, (req, subject): (u32, Hash), code: Code, reason: Option<&str>) {
        if self.source.is_signing() && self.source.target() == Some(to) {
            return;
        }
        let (session, to) = (self.id(), self.door(to));
        match ctx.generation_with(&to) {
            Some(Generation::V1_4) | None => ctx.refuse(to, req, session, code),
            Some(_) => {
                let ext = reason::write(ctx.rules, reason);
                ctx.send(to, Decline { session, subject, code: code.into(), ext });
            }
        }
    }
}
