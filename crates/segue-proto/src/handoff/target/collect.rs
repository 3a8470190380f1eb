//! What a target is offered, and collects before its WANT.

use alloc::boxed::Box;

use super::{State, Step};
use crate::clause::Clause;
use crate::data::Pick;
use crate::event::Event;
use crate::generations::Generation;
use crate::handoff::effects::{Ctx, Hold, SignFor, new_id};
use crate::handoff::holdings::Holdings;
use crate::handoff::lapsed::{Sent, note_sent};
use crate::handoff::session::Session;
use crate::wire::{Announced, DeviceId, Exts, Hash, List, Offer, Proven, Sig, Want, WantMode, WantMsg};
use crate::{Code, Violation};

impl<H: Holdings> Session<H> {
    /// The checks of an OFFER.
    pub(super) fn judge_offer(&self, ctx: &Ctx<'_>, from: DeviceId, offer: &Offer) -> Result<(), Violation> {
        let rules = ctx.rules;
        rules.ensure(Clause::HO_OFFER_2, offer.target == self.me, Code::HO_TOKEN_WRONG_PEER)?;
        let passed = self.grantor() == Some(from) && rules.keeps(Clause::SERVICE_VIA_1);
        rules.ensure(Clause::HO_OFFER_1, offer.source == from || passed, Code::HO_NOT_OWNER)?;
        rules.ensure(Clause::HO_WANT_1, offer.parent == self.head().id(), Code::HO_STALE_PARENT)?;
        rules.ensure(Clause::HO_OFFER_1, self.owner() == Some(offer.source), Code::HO_NOT_OWNER)
    }

    /// Fetches what was announced, or goes on at once if it is held already.
    pub(super) fn seek_data(&mut self, ctx: &mut Ctx<'_>, data: Announced) {
        let way = self.target.seeks().map(|of| self.way(ctx.rules, of));
        let pick = self.picked(ctx);
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        let met = ctx.peer(&seeking.from).is_some() || way == Some(seeking.from);
        if self.holdings.holds(&data.manifest, &pick) || !met {
            seeking.lacks = None;
            return self.want(ctx);
        }
        seeking.lacks = Some(data.clone());
        seeking.step = Step::Waiting;
        ctx.fx.fetch = Some((seeking.from, data, pick));
    }

    /// The source says once more what goes along in its OFFER: what is still awaited of that goes by it (HO-PICK-5).
    pub(super) fn goes_along(&mut self, ctx: &mut Ctx<'_>, holds: Pick) {
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        if core::mem::replace(&mut seeking.holds, holds.clone()) == holds {
            return;
        }
        ctx.fx.owed |= seeking.end.is_some();
        self.picks_anew(ctx);
    }

    /// Something else is picked while data is fetched: what that picks of it is.
    pub fn picks_anew(&mut self, ctx: &mut Ctx<'_>) {
        let State::Seeking(seeking) = &self.target.0 else { return };
        if let Some(data) = seeking.lacks.clone() {
            self.seek_data(ctx, data);
        }
    }

    /// What this device is to hold before it owns: what its user picked or else what the source holds, on a link that can
    /// say so (HO-PICK-1, HO-PICK-5).
    pub(super) fn picked(&self, ctx: &Ctx<'_>) -> Pick {
        let State::Seeking(seeking) = &self.target.0 else { return Pick::all() };
        let way = self.way(ctx.rules, seeking.from);
        if ctx.generation_with(&way).is_none_or(|generation| generation < Generation::V7) {
            return Pick::all();
        }
        let own = self.holdings.pick();
        if own.is_all() && ctx.rules.keeps(Clause::HO_PICK_5) { seeking.holds.clone() } else { own }
    }

    /// All data of the fetch that runs is held and being made durable.
    pub fn on_data(&mut self, ctx: &mut Ctx<'_>, manifest: Hash, root: Hash) {
        ctx.event(Event::Data { session: self.id(), root });
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        if seeking.lacks.as_ref().is_some_and(|data| data.manifest == manifest) {
            seeking.lacks = None;
            self.want(ctx);
        }
    }

    /// The source can't give what the fetch that runs asked for: it may have gone on since it announced that.
    pub fn on_unavailable(&mut self, ctx: &mut Ctx<'_>) {
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        if seeking.lacks.is_none() || !ctx.rules.keeps(Clause::TRANSFER_NEWER_1) {
            return self.give_up(ctx, Code::DATA_UNAVAILABLE);
        }
        seeking.gone = seeking.lacks.take().map(|data| data.manifest);
        self.ask(ctx);
    }

    /// The link with a peer is there: whatever waits for it goes on.
    pub(in crate::handoff) fn ask_again(&mut self, ctx: &mut Ctx<'_>, peer: DeviceId) {
        let way = self.target.seeks().map(|of| self.way(ctx.rules, of));
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        if way.is_some_and(|way| way != seeking.from && ctx.peer(&way).is_some()) {
            // It is wanted of the grantor, whatever of it is here: what is lacking, the mailbox brings.
            if matches!(seeking.step, Step::Waiting | Step::Asking { .. }) || way == Some(peer) {
                (seeking.lacks, seeking.end) = (None, None);
                self.want(ctx);
            }
            return;
        }
        if seeking.from != peer || ctx.peer(&peer).is_none() {
            return;
        }
        if seeking.lacks.is_some() && seeking.mode == WantMode::Answer {
            return;
        }
        seeking.step = Step::Waiting;
        seeking.lacks = None;
        let pick = self.picked(ctx);
        if self.owner() == Some(peer) && self.holdings.held(None, &pick).is_some() {
            self.want(ctx);
        } else {
            self.ask(ctx);
        }
    }

    /// Asks the source what there is.
    pub(super) fn ask(&mut self, ctx: &mut Ctx<'_>) {
        let req = ctx.fresh.request();
        let have = self.have(req, None);
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        seeking.step = Step::Asking { req };
        let to = seeking.from;
        ctx.send(to, have);
    }

    /// Says WANT.
    pub(super) fn want(&mut self, ctx: &mut Ctx<'_>) {
        let (session, parent, actor) = (self.id(), self.head().id(), self.actor.id);
        let way = self.target.seeks().map(|of| self.way(ctx.rules, of));
        let picked = self.picked(ctx);
        let owed = self.claim_owed(ctx.rules, &picked);
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        let have = owed.or_else(|| self.holdings.held(seeking.told.as_ref(), &picked));
        let generation = way.and_then(|way| ctx.generation_with(&way));
        if seeking.mode == WantMode::Standing && generation.is_none_or(|g| g < Generation::V2) {
            seeking.step = Step::Waiting;
            return;
        }
        let pick = match ctx.generation_with(&seeking.from) {
            // With the clause off, a link that can't say so is told of a pick all the same.
            Some(generation) if generation < Generation::V7 && !ctx.rules.keeps(Clause::GEN_USE_2) => {
                List::new(alloc::vec![ctx.fresh.part()]).unwrap_or_default()
            }
            _ if ctx.rules.keeps(Clause::HO_PICK_1) => picked.ids().clone(),
            _ => List::empty(),
        };
        let body = Want {
            session,
            parent,
            target: ctx.me,
            actor,
            nonce: ctx.fresh.nonce(),
            mode: seeking.mode.number(),
            offer: seeking.offer.map(|offer| offer.token).into(),
            have: have.into(),
            need: List::empty(),
            pick,
            ttl: crate::handoff::ttl::millis(seeking.deadline.since(ctx.now)),
        };
        ctx.sign(SignFor::Want, &body);
        seeking.step = Step::Signing(Box::new(body));
    }

    /// The own WANT is signed: it leaves once what it says is durable (TRANSFER-HAVE-1).
    pub(in crate::handoff) fn on_want_signed(&mut self, ctx: &mut Ctx<'_>, id: Hash, sig: Sig) {
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        let Step::Signing(body) = &seeking.step else { return };
        if new_id(body.as_ref()) != id {
            return;
        }
        let want = Proven::own(Want::clone(body), sig);
        let req = ctx.fresh.request();
        seeking.step = Step::Wanting;
        let from = seeking.from;
        let to = self.way(ctx.rules, from);
        // Without a link it is dropped, and another follows when there is one.
        if let Some(sent) = self.target.sent_to(&from).filter(|_| ctx.peer(&to).is_some()) {
            note_sent(sent, Sent { want: want.id(), req, to });
        }
        let hold = Hold::by(ctx.rules.keeps(Clause::TRANSFER_HAVE_1));
        ctx.promise(to, hold, WantMsg { req, want: want.signed().clone(), ext: Exts::empty() });
    }
}
