//! What a WANT leads to, and what follows once a record stands.

use super::{Pledge, State};
use crate::Code;
use crate::clause::Clause;
use crate::event::Event;
use crate::handoff::effects::{Ctx, Hold};
use crate::handoff::holdings::{Holdings, Release};
use crate::handoff::keys;
use crate::handoff::session::Session;
use crate::wire::{DeviceId, Final, Hash, Kind, Proven, Record, Want};

impl<H: Holdings> Session<H> {
    /// A target whose WANT was granted asks again: so does the GRANT go out again. False if that isn't so.
    pub(in crate::handoff) fn repeat_grant(
        &mut self,
        ctx: &mut Ctx<'_>,
        to: DeviceId,
        req: u32,
        want: &Proven<Want>,
    ) -> bool {
        let State::Granted(granted) = &self.source.0 else { return false };
        if granted.to != to || granted.parent != want.body().parent {
            return false;
        }
        let mut message = granted.grant.clone();
        message.req = if want.id() == granted.grant.want.id() { req } else { 0 };
        ctx.promise(to, Hold::by(ctx.rules.keeps(Clause::HO_GRANT_1)), message);
        true
    }

    /// Grants a live WANT if its data suffices; else says what to fetch. True if the record is being signed.
    pub(in crate::handoff) fn try_grant(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) -> bool {
        if self.source.is_signing() && ctx.rules.keeps(Clause::HO_GRANT_3) {
            return false;
        }
        // A device that slept may be asked before its timers ran.
        let Some(live) = self.wants.get(&to).filter(|live| live.expires >= ctx.now).cloned() else { return false };
        if !self.may_read(ctx, &to) && ctx.rules.keeps(Clause::HO_WANT_4) {
            // It isn't trusted any more; or it isn't linked, and asks again when it is.
            if ctx.peer(&to).is_some() {
                self.wants.remove(&to);
                ctx.refuse(to, live.req, self.id(), Code::HO_UNKNOWN_SESSION);
            }
            return false;
        }
        if self.grantor().is_some() {
            return self.freeze(ctx, to);
        }
        let release = self.holdings.release(ctx.rules, live.want.body().have.get());
        let Some(Release { root, exclusive, manifest, manifest_len, inline }) = release else {
            match self.send_announcement(ctx, to) {
                Ok(manifest) if live.want.body().have.get().is_some() => self.pace(ctx, &to, manifest),
                Ok(_) => {}
                Err(code) => ctx.refuse(to, live.req, self.id(), code),
            }
            return false;
        };
        let base = self.base_of(ctx.rules, live.want.body());
        let parent = base.id();
        let mut record = self.next_record(Kind::Grant, to);
        (record.parent, record.term, record.n) = (parent, base.body().term, base.body().n + 1);
        record.want = live.want.id();
        let end = Final { session: self.id(), parent, root, exclusive, manifest, manifest_len };
        let (id, deadline) = match &self.source.0 {
            State::Offering(offering) if offering.to == to => (Some(offering.id), Some(offering.deadline)),
            _ => (None, None),
        };
        let superseded = match &self.source.0 {
            State::Offering(offering) => offering.to != to,
            _ => false,
        };
        if superseded {
            self.withdraw_offer(ctx, Code::HO_SUPERSEDED);
        }
        let pledge = Pledge { id, deadline, req: live.req, want: live.want, end, end_sig: None, inline };
        self.seal(ctx, record, Some(pledge));
        true
    }

    /// Asks for the signature of a record that is no grant.
    pub(in crate::handoff) fn seal_alone(&mut self, ctx: &mut Ctx<'_>, record: Record) {
        self.seal(ctx, record, None);
    }

    /// A takeover or a close stands.
    pub(super) fn sealed_alone(&mut self, ctx: &mut Ctx<'_>, id: Hash) {
        ctx.fx.writes.push(keys::delete(self.id(), keys::GRANT, &[]));
        self.head_event(ctx);
        if self.head().body().kind == Kind::Takeover.number() {
            ctx.event(Event::Activated { session: self.id(), record: id });
        }
        self.delegated(ctx);
        if self.head().body().kind == Kind::Close.number() {
            ctx.event_when_durable(Event::Closed { session: self.id() });
        }
        self.source_fenced(ctx);
        self.target_overtaken(ctx);
        self.tell_members(ctx, None);
        self.delegate_overtaken(ctx);
    }

    /// The record that would follow the head.
    pub(in crate::handoff) fn next_record(&self, kind: Kind, owner: DeviceId) -> Record {
        let head = self.head();
        Record {
            kind: kind.number(),
            session: self.id(),
            parent: head.id(),
            term: head.body().term,
            n: head.body().n + 1,
            signer: self.me,
            owner,
            grantor: owner,
            want: Hash::ZERO,
            roster: Hash::ZERO,
            genesis: None.into(),
        }
    }
}
