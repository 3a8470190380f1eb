//! The source's machine: from the wish to hand over to the acknowledged GRANT.
//!
//! ```text
//! Resting ── initiate ──▶ Offering ──┐
//!    ▲  ▲                    │       ├─ WANT that suffices ──▶ Signing ── signed, journaled ──▶ Granted ──▶ Resting
//!    │  └─ DECLINE, deadline ┘       │                            ▲                               │  acknowledged
//!    └──── WANT by policy ───────────┘      takeover, close ──────┘                     fenced ───┘
//! ```
//!
//! Only this module assigns the machine's state.

mod again;
mod grant;
mod view;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::effects::{Ctx, Hold, SignFor, new_id};
use super::holdings::{Holdings, Inline};
use super::keys;
use super::reason::declined;
use super::session::Session;
use crate::Code;
use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::data::{IN_OFFER, Pick};
use crate::errors::UsageError;
use crate::event::{Event, HandoffId};
use crate::generations::Generation;
use crate::limits::{HEARD, RESEND_MAX, RESEND_MIN};
use crate::wire::codec::{Blob, encode};
use crate::wire::{
    Cancel, Decline, DeviceId, Exts, Final, Grant, Hash, Kind, List, Offer, OfferMsg, Proven, Record, Sig, Text, Want,
};

/// What this device does with its ownership.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Source(State);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum State {
    #[default]
    Resting,
    /// The user chose a target. This device is still primary.
    Offering(Box<Offering>),
    /// A record is being signed. Nothing is written under the parent any more.
    Signing(Box<Signing>),
    /// The record is in the journal; the GRANT goes out until it is acknowledged.
    Granted(Box<Granted>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Offering {
    id: HandoffId,
    to: DeviceId,
    deadline: Instant,
    offer: Option<OfferState>,
    /// The request number of the OFFER that was sent last.
    req: u32,
    /// It was said before, on the same link, and has no answer.
    stands: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OfferState {
    Asked(Offer),
    Made(Proven<Offer>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Signing {
    record: Record,
    record_sig: Option<Sig>,
    /// What a grant needs beside its record.
    grant: Option<Pledge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pledge {
    id: Option<HandoffId>,
    deadline: Option<Instant>,
    req: u32,
    want: Proven<Want>,
    end: Final,
    end_sig: Option<Sig>,
    inline: Inline,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Granted {
    id: Option<HandoffId>,
    deadline: Option<Instant>,
    record: Hash,
    parent: Hash,
    to: DeviceId,
    grant: Grant,
    resend: Instant,
    pause: u64,
    /// Only a test that switches HO-GRANT-2 off sets it.
    resumed: bool,
}

/// What a DECLINE says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The OFFER or WANT that it names.
    pub subject: Hash,
    /// Its code.
    pub code: Code,
    /// The words of the user who says no, if there are any.
    pub reason: Option<String>,
}

impl Declined {
    /// Reads a message.
    pub fn open(rules: Rules, message: &Decline) -> Declined {
        let reason = super::reason::read(rules, &message.ext);
        Declined { subject: message.subject, code: message.code.into(), reason }
    }
}

/// Commands.
impl<H: Holdings> Session<H> {
    /// Hands the session over to `to`.
    pub fn initiate(&mut self, ctx: &mut Ctx<'_>, to: DeviceId, timeout: u64) -> Result<HandoffId, UsageError> {
        self.may_initiate(ctx.rules, &to)?;
        self.withdraw_offer(ctx, Code::HO_SUPERSEDED);
        let id = ctx.fresh.handoff();
        let deadline = ctx.now.after(timeout);
        self.source.0 = State::Offering(Box::new(Offering { id, to, deadline, offer: None, req: 0, stands: false }));
        self.invite(ctx);
        Ok(id)
    }

    /// Whether the session may be handed over to `to` now.
    pub fn may_initiate(&self, rules: Rules, to: &DeviceId) -> Result<(), UsageError> {
        self.require_primary(rules)?;
        if *to == self.me { Err(UsageError::SelfTarget) } else { Ok(()) }
    }

    /// Gives up a handoff whose GRANT isn't on its way.
    pub fn cancel(&mut self, ctx: &mut Ctx<'_>) -> Result<(), UsageError> {
        match self.source.0 {
            State::Offering(_) => {
                self.withdraw_offer(ctx, Code::HO_CANCELLED);
                Ok(())
            }
            // What was left to a grantor it may have given away.
            _ => (!self.thaw(ctx) && self.cancel_target(ctx)).then_some(()).ok_or(UsageError::Busy),
        }
    }

    /// Makes this device the owner, by the user's name for it: opens a term.
    pub fn takeover(&mut self, ctx: &mut Ctx<'_>) -> Result<(), UsageError> {
        if self.head().body().kind == Kind::Close.number() {
            return Err(UsageError::Closed);
        }
        if self.unproven && ctx.rules.keeps(Clause::HO_STORE_1) {
            return Err(UsageError::RolledBack);
        }
        if self.source.is_signing() {
            return Err(UsageError::Busy);
        }
        let primary = self.source.granted().is_none() && self.require_grantor(ctx.rules).is_ok();
        if primary && ctx.rules.keeps(Clause::HO_TAKE_1) {
            return Err(UsageError::AlreadyOwner);
        }
        if !self.chain.is_member(&self.me) {
            return Err(UsageError::NotMember);
        }
        if let State::Granted(granted) = &self.source.0
            && let Some(id) = granted.id
        {
            // What was given away and never acknowledged is taken back, by the user's word.
            let (session, to) = (self.id(), granted.to);
            ctx.resolve(id, session, to, Err(Code::HO_FENCED));
        }
        let mut record = self.next_record(Kind::Takeover, self.me);
        record.want = Hash::new(*self.actor.id.as_bytes());
        if ctx.rules.keeps(Clause::HO_CHAIN_4) {
            record.term += 1;
        }
        self.seal(ctx, record, None);
        Ok(())
    }

    /// Ends the session (HO-CLOSE-1).
    pub fn close(&mut self, ctx: &mut Ctx<'_>) -> Result<(), UsageError> {
        self.require_grantor(ctx.rules)?;
        self.withdraw_offer(ctx, Code::HO_CLOSED);
        let mut record = self.next_record(Kind::Close, DeviceId::ZERO);
        if !ctx.rules.keeps(Clause::HO_CLOSE_1) {
            record.owner = self.me;
        }
        self.seal(ctx, record, None);
        Ok(())
    }
}

/// Messages.
impl<H: Holdings> Session<H> {
    /// DECLINE: the target doesn't want what it was offered (HO-DECLINE-1).
    pub fn on_decline(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, no: Declined) {
        let State::Offering(offering) = &self.source.0 else {
            return self.on_target_declined(ctx, from, no);
        };
        let named = self.source.offer_id() == Some(no.subject);
        if self.door(offering.to) == from && (named || !ctx.rules.keeps(Clause::HO_DECLINE_1)) {
            let (id, peer, session) = (offering.id, offering.to, self.id());
            self.source.0 = State::Resting;
            let (result, reason) = (Err(declined(no.code)), no.reason);
            ctx.event(Event::HandoffResolved { id, session, peer, result, reason });
            self.unchoose(ctx, peer);
        }
    }

    /// An error in answer to an OFFER.
    pub fn on_offer_refused(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, code: Code) {
        let session = self.id();
        let State::Offering(offering) = &self.source.0 else { return };
        if self.door(offering.to) != from || offering.req != req {
            return;
        }
        // The OFFER was taken before: the target goes by what was said then (7.15).
        if offering.stands && code.is_mended_by_time() {
            return;
        }
        let (id, to) = (offering.id, offering.to);
        self.source.0 = State::Resting;
        ctx.resolve(id, session, to, Err(code));
        self.unchoose(ctx, to);
    }

    /// The GRANT is acknowledged: this device holds nothing any more.
    pub(super) fn settle(&mut self, ctx: &mut Ctx<'_>) {
        let session = self.id();
        let State::Granted(granted) = &self.source.0 else { return };
        let (id, to, record) = (granted.id, granted.to, granted.record);
        self.source.0 = State::Resting;
        ctx.fx.writes.push(keys::delete(session, keys::GRANT, &[]));
        if let Some(id) = id {
            ctx.resolve(id, session, to, Ok(record));
        }
        self.tell_members(ctx, Some(to));
    }

    /// Gives up a handoff to a device whose GRANT isn't in the journal.
    pub(super) fn drop_handoff_to(&mut self, ctx: &mut Ctx<'_>, device: &DeviceId, code: Code) {
        let session = self.id();
        match &self.source.0 {
            State::Offering(offering) if offering.to == *device => self.withdraw_offer(ctx, code),
            State::Signing(signing) if signing.grant.is_some() && signing.record.owner == *device => {
                // The signature that may come is thrown away: nobody has seen the record.
                let id = signing.grant.as_ref().and_then(|pledge| pledge.id);
                self.source.0 = State::Resting;
                if let Some(id) = id {
                    ctx.resolve(id, session, *device, Err(code));
                }
            }
            _ => {}
        }
    }

    /// The head isn't what this machine stood on any more.
    pub(super) fn source_fenced(&mut self, ctx: &mut Ctx<'_>) {
        let session = self.id();
        let head = self.head().id();
        let over = match &self.source.0 {
            State::Resting => None,
            State::Offering(offering) => Some((Some(offering.id), offering.to)),
            State::Signing(signing) => (signing.record.parent != head)
                .then(|| (signing.grant.as_ref().and_then(|grant| grant.id), signing.record.owner)),
            State::Granted(granted) => (!self.chain.leads_to_head(&granted.record)).then_some((granted.id, granted.to)),
        };
        if let Some((id, to)) = over {
            if self.source.granted().is_some() {
                ctx.fx.writes.push(keys::delete(session, keys::GRANT, &[]));
            }
            self.source.0 = State::Resting;
            if let Some(id) = id {
                ctx.resolve(id, session, to, Err(Code::HO_FENCED));
            }
        }
        let stale: Vec<_> =
            self.wants.iter().filter(|(_, live)| live.want.body().parent != head).map(|(d, _)| *d).collect();
        let rules = ctx.rules;
        for device in stale.into_iter().filter(|_| rules.keeps(Clause::HO_WANT_1)) {
            self.drop_want(ctx, &device, Code::HO_STALE_PARENT);
        }
    }

    /// Whatever waits for this peer's link.
    pub(super) fn resend_to(&mut self, ctx: &mut Ctx<'_>, peer: DeviceId) {
        match &self.source.0 {
            State::Offering(offering) if self.door(offering.to) == peer => self.invite(ctx),
            State::Granted(granted) if granted.to == peer && ctx.rules.keeps(Clause::HO_GRANT_8) => {
                let message = granted.grant.clone();
                ctx.promise(peer, Hold::by(ctx.rules.keeps(Clause::HO_GRANT_1)), message);
            }
            _ => {}
        }
    }

    pub(super) fn source_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let session = self.id();
        match &mut self.source.0 {
            State::Offering(offering) if offering.deadline <= ctx.now && ctx.rules.keeps(Clause::HO_TIME_1) => {
                self.withdraw_offer(ctx, Code::HO_TIMEOUT);
            }
            State::Granted(granted) => {
                if granted.deadline.is_some_and(|deadline| deadline <= ctx.now) {
                    granted.deadline = None;
                    granted.resumed = !ctx.rules.keeps(Clause::HO_GRANT_2);
                    if let Some(id) = granted.id.filter(|_| ctx.rules.keeps(Clause::HO_TIME_2)) {
                        ctx.event(Event::HandoffPending { id, session, peer: granted.to });
                    }
                }
                if granted.resend <= ctx.now {
                    granted.pause = granted.pause.saturating_mul(2).min(RESEND_MAX);
                    granted.resend = ctx.now.after(granted.pause);
                    let to = granted.to;
                    self.resend_to(ctx, to);
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_offer_signed(&mut self, ctx: &mut Ctx<'_>, id: Hash, sig: Sig) {
        let State::Offering(offering) = &mut self.source.0 else { return };
        let Some(OfferState::Asked(body)) = &offering.offer else { return };
        if new_id(body) != id {
            return;
        }
        offering.offer = Some(OfferState::Made(Proven::own(body.clone(), sig)));
        self.invite(ctx);
    }

    /// A record or its FINAL is signed; once both are, the release is written down (HO-GRANT-2).
    pub(super) fn on_release_signed(&mut self, ctx: &mut Ctx<'_>, purpose: SignFor, sig: Sig) {
        let State::Signing(signing) = &mut self.source.0 else { return };
        match (purpose, &mut signing.grant) {
            (SignFor::Final(id), Some(pledge)) if id == new_id(&pledge.end) => pledge.end_sig = Some(sig),
            (SignFor::Record(id), _) if id == new_id(&signing.record) => signing.record_sig = Some(sig),
            _ => return,
        }
        let Some(record_sig) = signing.record_sig else { return };
        if signing.grant.as_ref().is_some_and(|pledge| pledge.end_sig.is_none()) {
            return;
        }
        let State::Signing(signing) = core::mem::take(&mut self.source.0) else { return };
        self.release(ctx, *signing, record_sig);
    }

    /// Restores a GRANT that the journal holds.
    pub fn restore_grant(&mut self, now: Instant, id: HandoffId, grant: Grant) {
        let Some(record) = self.chain.get(&grant.record.id()) else { return };
        self.source.0 = State::Granted(Box::new(Granted {
            id: Some(id),
            deadline: None,
            record: record.id(),
            parent: record.body().parent,
            to: record.body().owner,
            grant,
            resend: now.after(RESEND_MIN),
            pause: RESEND_MIN,
            resumed: false,
        }));
    }
}

/// Steps.
impl<H: Holdings> Session<H> {
    /// Goes on with a handoff that the user wants, as far as the peer's link permits.
    fn invite(&mut self, ctx: &mut Ctx<'_>) {
        let State::Offering(offering) = &self.source.0 else { return };
        let (to, id) = (offering.to, offering.id);
        let Some(peer) = ctx.peer(&self.door(to)) else { return };
        let heard = ctx.now.since(peer.heard) <= HEARD;
        let standing = self.wants.get(&to).is_some_and(|live| live.expires > ctx.now);
        if standing && heard && self.try_grant(ctx, to) {
            return;
        }
        let outcome = if peer.generation >= Generation::V1_7 { self.offer(ctx, to) } else { self.hint(ctx, to) };
        if let Err(code) = outcome {
            let session = self.id();
            self.source.0 = State::Resting;
            ctx.resolve(id, session, to, Err(code));
            self.unchoose(ctx, to);
        }
    }

    fn hint(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) -> Result<(), Code> {
        self.send_head_if_lacking(ctx, to);
        self.send_announcement(ctx, to).map(|_| ())
    }

    fn offer(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) -> Result<(), Code> {
        let (session, parent) = (self.id(), self.head().id());
        let name = Text::new(self.name.clone()).unwrap_or_default();
        let door = self.door(to);
        let State::Offering(offering) = &mut self.source.0 else { return Ok(()) };
        match &offering.offer {
            Some(OfferState::Asked(_)) => {}
            Some(OfferState::Made(offer)) => {
                offering.req = ctx.fresh.request();
                offering.stands = false;
                let ext = Pick::told(IN_OFFER, self.holdings.partial().filter(|_| ctx.rules.keeps(Clause::HO_PICK_4)));
                let message = OfferMsg { req: offering.req, offer: offer.signed().clone(), ext };
                self.send_head_if_lacking(ctx, door);
                ctx.promise(door, Hold::Durable, message);
            }
            None => {
                let data = self.holdings.announce(&to)?;
                let offer = Offer {
                    session,
                    parent,
                    source: ctx.me,
                    target: to,
                    nonce: ctx.fresh.nonce(),
                    root: data.root,
                    manifest: data.manifest,
                    manifest_len: data.manifest_len,
                    name,
                    ttl: super::ttl::millis(offering.deadline.since(ctx.now)),
                };
                ctx.sign(SignFor::Offer, &offer);
                offering.offer = Some(OfferState::Asked(offer));
            }
        }
        Ok(())
    }

    pub(super) fn withdraw_offer(&mut self, ctx: &mut Ctx<'_>, code: Code) {
        let session = self.id();
        let offer = self.source.offer_id();
        let State::Offering(offering) = &self.source.0 else { return };
        let (id, to) = (offering.id, offering.to);
        if let Some(subject) = offer.filter(|_| ctx.rules.keeps(Clause::HO_OFFER_3)) {
            ctx.send(self.door(to), Cancel { session, subject, code: code.into(), ext: Exts::empty() });
        }
        self.source.0 = State::Resting;
        ctx.resolve(id, session, to, Err(code));
        if !matches!(code, Code::HO_CLOSED | Code::AUTH_REVOKED) {
            self.unchoose(ctx, to);
        }
    }

    /// The handoff to a device that the user started and nothing came of yet, which goes on elsewhere.
    pub(super) fn take_offering(&mut self, to: &DeviceId) -> Option<(HandoffId, Instant)> {
        let State::Offering(offering) = &self.source.0 else { return None };
        let found = (offering.to == *to).then_some((offering.id, offering.deadline))?;
        self.source.0 = State::Resting;
        Some(found)
    }

    /// From here on nothing is written under the parent: the signatures are asked for.
    fn seal(&mut self, ctx: &mut Ctx<'_>, record: Record, grant: Option<Pledge>) {
        ctx.sign(SignFor::Record, &record);
        if let Some(pledge) = &grant {
            ctx.sign(SignFor::Final, &pledge.end);
        }
        self.source.0 = State::Signing(Box::new(Signing { record, record_sig: None, grant }));
    }

    /// The record is signed: into the journal with it, and then out.
    fn release(&mut self, ctx: &mut Ctx<'_>, signing: Signing, sig: Sig) {
        let session = self.id();
        let record = Proven::own(signing.record, sig);
        let (id, parent, signed) = (record.id(), record.body().parent, record.signed().clone());
        self.keep(ctx.fx);
        if self.admit(ctx, record).is_err() {
            // The head moved while the signature was made, so nothing was given away.
            if let Some(pledge) =
                signing.grant.as_ref().and_then(|pledge| pledge.id.map(|id| (id, pledge.want.body().target)))
            {
                ctx.resolve(pledge.0, session, pledge.1, Err(Code::HO_FENCED));
            }
            return;
        }
        let Some(pledge) = signing.grant else { return self.sealed_alone(ctx, id) };
        let Some(end_sig) = pledge.end_sig else { return };
        let to = pledge.want.body().target;
        let kept = if ctx.rules.keeps(Clause::HO_GRANT_10) { 0 } else { 1 };
        let ops = pledge.inline.ops.into_iter().skip(kept).collect();
        let parts = pledge.inline.parts.iter().filter_map(|part| Blob::new(encode(part))).collect();
        let end = Proven::own(pledge.end, end_sig);
        let mut grant = Grant {
            req: pledge.req,
            want: pledge.want.signed().clone(),
            record: signed,
            end: end.signed().clone(),
            ops: List::new(ops).unwrap_or_default(),
            parts: List::new(parts).unwrap_or_default(),
            ext: Exts::empty(),
        };
        ctx.promise(to, Hold::by(ctx.rules.keeps(Clause::HO_GRANT_1)), grant.clone());
        grant.req = 0;
        ctx.fx.writes.push(keys::put(session, keys::GRANT, &[], encode(&grant)));
        self.keep_receipt(ctx, id, &pledge.want, &end);
        let resend = ctx.now.after(RESEND_MIN);
        let (handoff, deadline) = (pledge.id, pledge.deadline);
        self.source.0 = State::Granted(Box::new(Granted {
            id: handoff,
            deadline,
            record: id,
            parent,
            to,
            grant,
            resend,
            pause: RESEND_MIN,
            resumed: false,
        }));
        if let Some(live) = self.wants.remove(&to) {
            self.void_request(ctx, &live, Code::HO_SUPERSEDED);
        }
        let losers: Vec<_> = self.wants.keys().copied().collect();
        let rules = ctx.rules;
        for device in losers.into_iter().filter(|_| rules.keeps(Clause::HO_GRANT_3)) {
            self.drop_want(ctx, &device, Code::HO_STALE_PARENT);
        }
        self.head_event(ctx);
    }
}
