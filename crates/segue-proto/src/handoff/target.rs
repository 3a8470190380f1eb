//! The target's machine: from an OFFER, or the wish to have a session, to being its primary.
//!
//! ```text
//! Resting ── OFFER ──▶ Invited ── accept ──┐
//!    ▲  ▲                 └ reject, CANCEL │
//!    │  └──────────────────────────────────┤
//!    │ ── request, consent ──▶ Seeking ◀───┘   asks (HAVE), fetches (GET, RANGES), wants (WANT)
//!    └──── GRANT, deadline, refusal ───┘
//! ```
//!
//! A GRANT is judged by what it holds alone, so it may arrive in any state. Only this file assigns the machine's state.

mod collect;
mod grant;
mod put_off;
mod via;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::effects::Ctx;
use super::holdings::Holdings;
use super::lapsed::{Before, Sent};
use super::reason::{self, declined};
use super::session::Session;
use super::source::Declined;
use crate::Code;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::{IN_HAVE, Pick};
use crate::errors::UsageError;
use crate::event::{Event, HandoffId, Token};
use crate::generations::Generation;
use crate::limits::MAX_TTL;
use crate::wire::{Announced, Decline, DeviceId, Exts, Hash, Have, Offer, Proven, Want, WantMode};
pub(super) use put_off::PutOff;
use via::Owed;

/// What this device does to become the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Target(State);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum State {
    #[default]
    Resting,
    /// An OFFER waits for the user.
    Invited(Box<Invited>),
    /// The user wants the session.
    Seeking(Box<Seeking>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Invited {
    offer: Proven<Offer>,
    expires: Instant,
    /// What the source said that it holds.
    holds: Pick,
}

/// An OFFER that counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Accepted {
    token: Token,
    /// When the OFFER is void, whatever time is left for the wish.
    expires: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seeking {
    id: Option<HandoffId>,
    from: DeviceId,
    deadline: Instant,
    mode: WantMode,
    offer: Option<Accepted>,
    /// What the source announced last.
    told: Option<Hash>,
    /// What the source said that it holds of that (HO-PICK-4).
    holds: Pick,
    /// The manifest that the source announced last, while this device doesn't hold it yet.
    lacks: Option<Announced>,
    /// What the source announced and couldn't give: it is asked for what there is now (TRANSFER-NEWER-1).
    gone: Option<Hash>,
    /// The WANTs that left under the head: a GRANT may answer any of them.
    sent: Vec<Sent>,
    step: Step,
    /// What the grantor said that the owner left, while this device waits for it to be here.
    end: Option<Owed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Nothing is on its way: there is no link, or data is being fetched.
    Waiting,
    /// HAVE was sent, with this request number; 0 if something else was asked that HAVE answers.
    Asking { req: u32 },
    /// A WANT is being signed.
    Signing(Box<Want>),
    /// A WANT was sent: the newest of those that left.
    Wanting,
}

impl Seeking {
    fn new(id: Option<HandoffId>, from: DeviceId, deadline: Instant, mode: WantMode) -> Seeking {
        let (offer, told, lacks, gone, sent, step) = (None, None, None, None, Vec::new(), Step::Waiting);
        Seeking { id, from, deadline, mode, offer, told, holds: Pick::all(), lacks, gone, sent, step, end: None }
    }

    /// Whether it is to answer this OFFER.
    fn answers(&self, offer: &Token) -> bool {
        self.offer.is_some_and(|accepted| accepted.token == *offer)
    }
}

impl Target {
    /// The owner whose session is wanted.
    fn seeks(&self) -> Option<DeviceId> {
        match &self.0 {
            State::Seeking(seeking) => Some(seeking.from),
            _ => None,
        }
    }

    /// The WANTs that left for this owner's session.
    pub(super) fn sent_to(&mut self, owner: &DeviceId) -> Option<&mut Vec<Sent>> {
        match &mut self.0 {
            State::Seeking(seeking) if seeking.from == *owner => Some(&mut seeking.sent),
            _ => None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match &self.0 {
            State::Resting => None,
            State::Invited(invited) => Some(invited.expires),
            State::Seeking(seeking) => Some(seeking.deadline),
        }
    }
}

/// Commands.
impl<H: Holdings> Session<H> {
    /// Asks `from` to hand the session over.
    pub fn request(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, timeout: u64) -> Result<HandoffId, UsageError> {
        let from = self.owned_by(from);
        self.may_seek(ctx, from)?;
        let id = ctx.fresh.handoff();
        self.seek(ctx, Some(id), from, timeout, WantMode::Pull, None);
        Ok(id)
    }

    /// The session became known in answer to a HAVE: the wish that asked for it goes on, and HAVE{data} follows.
    pub fn request_goes_on(&mut self, ctx: &mut Ctx<'_>, id: HandoffId, from: DeviceId, timeout: u64) {
        self.withdraw_invitation(ctx, Code::HO_SUPERSEDED);
        self.give_up(ctx, Code::HO_SUPERSEDED);
        self.keep(ctx.fx);
        let (told, from) = (from, self.owned_by(from));
        let (deadline, mode) = (ctx.now.after(timeout), WantMode::Pull);
        let seeking = Seeking { step: Step::Asking { req: 0 }, ..Seeking::new(Some(id), from, deadline, mode) };
        self.target.0 = State::Seeking(Box::new(seeking));
        if told != from {
            self.ask_again(ctx, told);
        }
    }

    /// Whether this device seeks the session: it wants to own it, and was or wasn't asked to.
    pub fn seeks(&self) -> bool {
        matches!(self.target.0, State::Seeking(_))
    }

    /// Consents to being handed the session by `from` without being asked, for `ttl` microseconds.
    pub fn consent(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, ttl: u64) -> Result<(), UsageError> {
        let from = self.owned_by(from);
        self.may_seek(ctx, from)?;
        self.seek(ctx, None, from, ttl.min(MAX_TTL), WantMode::Standing, None);
        Ok(())
    }

    /// The user accepts an OFFER.
    pub fn accept_offer(&mut self, ctx: &mut Ctx<'_>, token: Token) -> Option<HandoffId> {
        let State::Invited(invited) = &self.target.0 else { return None };
        let Invited { offer, expires, holds } = invited.as_ref();
        if offer.id() != token {
            return None;
        }
        let (from, timeout) = (offer.body().source, expires.since(ctx.now));
        let accepted = Accepted { token, expires: *expires };
        let (data, holds) = (announced(offer.body()), holds.clone());
        let id = ctx.fresh.handoff();
        self.seek(ctx, Some(id), from, timeout, WantMode::Answer, Some((accepted, data, holds)));
        Some(id)
    }

    /// The user rejects an OFFER.
    pub fn reject_offer(&mut self, ctx: &mut Ctx<'_>, token: Token, reason: Option<&str>) -> bool {
        let State::Invited(invited) = &self.target.0 else { return false };
        if invited.offer.id() != token {
            return false;
        }
        let to = self.way(ctx.rules, invited.offer.body().source);
        self.target.0 = State::Resting;
        let ext = reason::write(ctx.rules, reason);
        ctx.send(to, Decline { session: self.id(), subject: token, code: Code::HO_DECLINED.into(), ext });
        true
    }
}

/// Messages.
impl<H: Holdings> Session<H> {
    /// An OFFER whose signature was verified, and of a source that said that it holds this of its content.
    pub fn on_offer(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, offer: Proven<Offer>, holds: Pick) {
        if let Err(violation) = self.judge_offer(ctx, from, offer.body()) {
            ctx.refuse_for(from, req, self.id(), violation);
            if violation.code == Code::HO_STALE_PARENT {
                self.peer_heads.remove(&from);
                self.send_head(ctx, from, &offer.body().parent, None);
            }
            return;
        }
        self.peer_heads.insert(from, offer.body().parent);
        let (token, from) = (offer.id(), offer.body().source);
        let put_off = self.expiry_of_put_off(ctx.now, token);
        let expires = put_off.unwrap_or_else(|| ctx.now.after(super::ttl::honoured(offer.body().ttl)));
        match &mut self.target.0 {
            // The same OFFER again, after a reconnect: what goes along may be another by now.
            State::Invited(known) if known.offer.id() == token => {
                known.holds = holds;
                return;
            }
            State::Seeking(seeking) if seeking.answers(&token) => {
                return self.goes_along(ctx, holds);
            }
            State::Seeking(seeking)
                if seeking.from == from && seeking.offer.is_none() && ctx.rules.keeps(Clause::HO_OFFER_6) =>
            {
                // The user wants it from there already (HO-OFFER-6).
                seeking.offer = Some(Accepted { token, expires });
                (seeking.mode, seeking.holds) = (WantMode::Answer, holds);
                return self.seek_data(ctx, announced(offer.body()));
            }
            State::Invited(known) => {
                let (token, session) = (known.offer.id(), known.offer.body().session);
                ctx.event(Event::Withdrawn { token, session, code: Code::HO_SUPERSEDED });
            }
            State::Seeking(_) => self.give_up(ctx, Code::HO_SUPERSEDED),
            State::Resting => {
                if put_off.is_some() && self.holds_anew(ctx, &holds) {
                    return;
                }
            }
        }
        let name = offer.body().name.to_string();
        self.name_as(&name, ctx.fx);
        self.target.0 = State::Invited(Box::new(Invited { offer, expires, holds }));
        self.put_off = None;
        ctx.event(Event::HandoffRequest { token, session: self.id(), from, name: self.name.clone() });
        if !ctx.rules.keeps(Clause::HO_OFFER_5) {
            self.accept_offer(ctx, token);
        }
    }

    /// CANCEL: the source withdraws its OFFER (HO-CANCEL-1).
    pub fn on_offer_cancelled(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, subject: Hash, code: Code) {
        if !ctx.rules.keeps(Clause::HO_CANCEL_1) {
            return;
        }
        let way = self.target.seeks().map(|of| self.way(ctx.rules, of));
        if let State::Seeking(it) = &mut self.target.0
            && it.answers(&subject)
            && way == Some(from)
        {
            it.offer = None;
            return self.give_up(ctx, Code::HO_CANCELLED);
        }
        match &self.target.0 {
            State::Invited(it) if it.offer.id() == subject && self.way(ctx.rules, it.offer.body().source) == from => {
                self.target.0 = State::Resting;
                ctx.event(Event::Withdrawn { token: subject, session: self.id(), code });
            }
            // Who meant to answer it once more, doesn't.
            _ if self
                .put_off
                .as_ref()
                .is_some_and(|known| known.offer.token == subject && self.way(ctx.rules, known.from) == from) =>
            {
                self.put_off = None;
                ctx.event(Event::Withdrawn { token: subject, session: self.id(), code });
            }
            _ => {}
        }
    }

    /// HAVE with data: what the source wants this device to hold.
    pub fn on_announcement(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, have: &Have) {
        let same = have.head == self.head().id();
        let owns = self.owner() == Some(from) && same;
        if let Some(data) = have.data.get().filter(|_| same && self.grantor() == Some(from)) {
            // The owner froze, and this link has no FREEZE.
            return self
                .on_owed(ctx, Owed { root: data.root, manifest: data.manifest, exclusive: None, wanted: false });
        }
        let Some(data) = have.data.get() else {
            let State::Seeking(seeking) = &mut self.target.0 else { return };
            let asked = seeking.from == from && matches!(seeking.step, Step::Asking { .. });
            let granted = seeking.sent.iter().any(|sent| sent.want == self.chain.head().body().want);
            if asked && same && !owns && !granted {
                // Who doesn't own grants nothing.
                seeking.sent.clear();
                self.give_up(ctx, Code::HO_NOT_OWNER);
            }
            return;
        };
        match &mut self.target.0 {
            State::Seeking(seeking) if seeking.from == from && (owns || !ctx.rules.keeps(Clause::HO_HAVE_2)) => {
                if seeking.gone == Some(data.manifest) {
                    return self.give_up(ctx, Code::DATA_UNAVAILABLE);
                }
                (seeking.lacks, seeking.told) = (Some(data.clone()), Some(data.manifest));
                seeking.holds = Pick::heard(IN_HAVE, &have.ext);
                self.seek_data(ctx, data.clone());
            }
            State::Resting if owns && from != self.me => {
                ctx.event(Event::Available { session: self.id(), from });
            }
            _ => {}
        }
    }

    /// DECLINE of the own WANT.
    pub(super) fn on_target_declined(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, no: Declined) {
        let Declined { subject, code, reason } = no;
        let owner = self.owned_by(from);
        let newest = self.void(ctx, owner, Before::Void, |sent| sent.want == subject);
        let way = self.target.seeks().map(|of| self.way(ctx.rules, of));
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        if !ctx.rules.keeps(Clause::HO_DECLINE_1) {
            seeking.sent.clear();
        }
        if way == Some(from) && (newest || !ctx.rules.keeps(Clause::HO_DECLINE_1)) {
            self.give_up_with(ctx, declined(code), reason);
        }
    }

    /// An error in answer to the own HAVE or WANT.
    pub fn on_request_refused(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, code: Code) {
        let owner = self.owned_by(from);
        let newest = self.void(ctx, owner, self.before_refused(ctx, from, code), |sent| sent.req == req);
        let way = self.target.seeks().map(|of| self.way(ctx.rules, of));
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        let asked = matches!(seeking.step, Step::Asking { req: own } if own == req);
        if way != Some(from) && seeking.from != from || !(newest || asked) {
            return;
        }
        if code != Code::HO_STALE_PARENT {
            self.give_up(ctx, code);
        } else if asked || seeking.step == Step::Wanting {
            // The chain to the new head follows; it decides whether to ask again.
            seeking.step = Step::Asking { req: 0 };
        }
    }

    /// The fetch that runs came to nothing.
    pub fn on_fetch_failed(&mut self, ctx: &mut Ctx<'_>, code: Code) {
        self.give_up(ctx, code);
    }
}

/// Steps.
impl<H: Holdings> Session<H> {
    pub(super) fn target_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.put_off_timeout(ctx.now);
        match &self.target.0 {
            State::Invited(invited) if invited.expires <= ctx.now => {
                let (token, session) = (invited.offer.id(), self.id());
                self.target.0 = State::Resting;
                ctx.event(Event::Withdrawn { token, session, code: Code::HO_TIMEOUT });
            }
            State::Seeking(seeking) if seeking.deadline <= ctx.now && ctx.rules.keeps(Clause::HO_TIME_1) => {
                self.give_up(ctx, Code::HO_TIMEOUT);
            }
            _ => {}
        }
    }

    /// This device's wish is void: it owns by other means, or the session is closed.
    pub(super) fn target_overtaken(&mut self, ctx: &mut Ctx<'_>) {
        let head = self.head().id();
        let (answered, owner) = (self.head().body().want, self.owner());
        self.lapsed_overtaken(ctx);
        match &mut self.target.0 {
            State::Invited(it) if it.offer.body().parent != head => {
                let (token, session) = (it.offer.id(), self.id());
                self.target.0 = State::Resting;
                ctx.event(Event::Withdrawn { token, session, code: Code::HO_STALE_PARENT });
            }
            // The record came before its GRANT, told by another device.
            State::Seeking(seeking) if seeking.sent.iter().any(|sent| sent.want == answered) => {}
            State::Seeking(seeking) => {
                let (from, mode) = (seeking.from, seeking.mode);
                // A WANT dies with its parent. A pull may go on under the new head if the same device owns by it.
                seeking.sent.clear();
                seeking.end = None;
                match owner {
                    None => self.give_up(ctx, Code::HO_CLOSED),
                    Some(owner) if owner == self.me => self.give_up(ctx, Code::HO_SUPERSEDED),
                    Some(owner) if owner == from && mode == WantMode::Pull => self.ask_again(ctx, from),
                    Some(_) => self.give_up(ctx, Code::HO_STALE_PARENT),
                }
            }
            _ => {}
        }
    }

    /// Withdraws the own wish; false if there is none.
    pub(super) fn cancel_target(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let seeking = matches!(self.target.0, State::Seeking(_));
        if seeking {
            self.give_up(ctx, Code::HO_CANCELLED);
        }
        seeking
    }

    fn may_seek(&self, ctx: &Ctx<'_>, from: DeviceId) -> Result<(), UsageError> {
        if from == self.me {
            return Err(UsageError::SelfTarget);
        }
        if self.source.is_signing() {
            return Err(UsageError::Busy);
        }
        match self.role(ctx.rules) {
            super::SessionRole::Closed => Err(UsageError::Closed),
            super::SessionRole::Primary => Err(UsageError::AlreadyOwner),
            _ => Ok(()),
        }
    }

    fn seek(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: Option<HandoffId>,
        from: DeviceId,
        timeout: u64,
        mode: WantMode,
        offer: Option<(Accepted, Announced, Pick)>,
    ) {
        if offer.is_none() {
            self.withdraw_invitation(ctx, Code::HO_SUPERSEDED);
        }
        let pulls = offer.is_none() && mode == WantMode::Pull;
        let known = if pulls { self.give_over(&from) } else { None };
        self.give_up(ctx, Code::HO_SUPERSEDED);
        self.keep(ctx.fx);
        let deadline = ctx.now.after(timeout);
        let accepted = offer.as_ref().map(|(accepted, ..)| *accepted).or(known);
        let mode = if known.is_some() { WantMode::Answer } else { mode };
        let lacks = offer.as_ref().map(|(_, data, _)| data.clone());
        let told = lacks.as_ref().map(|data| data.manifest);
        let holds = offer.as_ref().map(|(.., holds)| holds.clone());
        let holds = holds.or_else(|| self.holds_of_put_off(ctx.now, &from)).unwrap_or_default();
        let seeking = Seeking { offer: accepted, told, holds, lacks, ..Seeking::new(id, from, deadline, mode) };
        self.target.0 = State::Seeking(Box::new(seeking));
        let way = self.way(ctx.rules, from);
        match offer {
            Some((_, data, _)) if way == from => self.seek_data(ctx, data),
            _ => self.ask_again(ctx, way),
        }
    }

    /// The OFFER of this source that the wish which runs was to answer. The wish that takes its place answers it.
    fn give_over(&mut self, from: &DeviceId) -> Option<Accepted> {
        match &mut self.target.0 {
            State::Seeking(seeking) if seeking.from == *from => seeking.offer.take(),
            _ => None,
        }
    }

    /// An OFFER waits for the user no more: the device does something else.
    fn withdraw_invitation(&mut self, ctx: &mut Ctx<'_>, code: Code) {
        if let State::Invited(invited) = &self.target.0 {
            let (token, session) = (invited.offer.id(), self.id());
            self.target.0 = State::Resting;
            ctx.event(Event::Withdrawn { token, session, code });
        }
    }

    /// Ends the own wish, at once unless a GRANT may be on its way (HO-TIME-3).
    fn give_up(&mut self, ctx: &mut Ctx<'_>, code: Code) {
        self.give_up_with(ctx, code, None);
    }

    /// The same, with what the source's user said.
    fn give_up_with(&mut self, ctx: &mut Ctx<'_>, code: Code, reason: Option<String>) {
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        let (id, from, offer, holds) = (seeking.id, seeking.from, seeking.offer, seeking.holds.clone());
        let sent = core::mem::take(&mut seeking.sent);
        let way = self.way(ctx.rules, from);
        let put_off = offer.map(|offer| PutOff { offer, from, holds });
        self.target.0 = State::Resting;
        self.put_off = put_off.or(self.put_off.take()).filter(|_| code.is_mended_by_time());
        ctx.fx.stop_fetch = true;
        let told = matches!(code, Code::HO_DECLINED | Code::HO_STALE_PARENT | Code::HO_CLOSED | Code::HO_NOT_OWNER)
            || matches!(code, Code::HO_UNKNOWN_SESSION | Code::HO_TOKEN_BAD);
        let out = !sent.is_empty();
        // What time mends is tried again, so that its end isn't the user's: its WANTs give way to the next try's.
        let waits = out && !code.is_mended_by_time();
        if out {
            self.lapse(ctx, (id.filter(|_| waits), code), from, sent);
        }
        if let Some(offer) = offer.filter(|_| !told && self.put_off.is_none()) {
            self.decline_offer(ctx, way, offer.token, code);
        }
        if let Some(id) = id.filter(|_| !waits) {
            let session = self.id();
            ctx.event(Event::HandoffResolved { id, session, peer: from, result: Err(code), reason });
        }
    }

    /// Tells the source that its OFFER, which counted as accepted, comes to nothing; on a link that can say so.
    fn decline_offer(&self, ctx: &mut Ctx<'_>, to: DeviceId, subject: Hash, code: Code) {
        if ctx.generation_with(&to).is_some_and(|generation| generation >= Generation::V1_7) {
            ctx.send(to, Decline { session: self.id(), subject, code: code.into(), ext: Exts::empty() });
        }
    }

    /// This device is primary, from now on; its acknowledgement follows the sync.
    pub(super) fn activate(&mut self, ctx: &mut Ctx<'_>, record: Hash) {
        let session = self.id();
        self.withdraw_invitation(ctx, Code::HO_STALE_PARENT);
        let seeking = match core::mem::take(&mut self.target.0) {
            State::Seeking(seeking) => Some(seeking),
            _ => None,
        };
        self.put_off = None;
        ctx.fx.stop_fetch = true;
        ctx.event(Event::Activated { session, record });
        self.note_signer(&record);
        if let Some((id, from)) = seeking.and_then(|seeking| seeking.id.map(|id| (id, seeking.from))) {
            ctx.event_when_durable(Event::HandoffResolved {
                id,
                session,
                peer: from,
                result: Ok(record),
                reason: None,
            });
        }
        self.lapsed_granted(ctx, record);
        self.source_fenced(ctx);
        self.delegate_overtaken(ctx);
        if ctx.rules.keeps(Clause::HO_GRANT_11) {
            self.acknowledge(ctx, record);
        }
    }
}

fn announced(offer: &Offer) -> Announced {
    Announced { root: offer.root, manifest: offer.manifest, manifest_len: offer.manifest_len }
}
