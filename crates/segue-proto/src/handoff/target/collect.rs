//! What a target is offered, and collects before its WANT.

use super::{State, Step};
use crate::clause::Clause;
use crate::data::Pick;
use crate::generations::Generation;
use crate::handoff::effects::Ctx;
use crate::handoff::holdings::Holdings;
use crate::handoff::session::Session;
use crate::wire::{Announced, DeviceId, Offer};
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
        seeking.lacks = Some(data.manifest);
        seeking.step = Step::Waiting;
        ctx.fx.fetch = Some((seeking.from, data, pick));
    }

    /// The source says once more what goes along in its OFFER: what is still awaited of that goes by it (HO-PICK-5).
    pub(super) fn goes_along(&mut self, ctx: &mut Ctx<'_>, holds: Pick, data: Announced) {
        let State::Seeking(seeking) = &mut self.target.0 else { return };
        if core::mem::replace(&mut seeking.holds, holds.clone()) == holds {
            return;
        }
        ctx.fx.owed |= seeking.end.is_some();
        self.picks_anew(ctx, data);
    }

    /// The user picks something else while this is fetched: what that picks is.
    pub fn picks_anew(&mut self, ctx: &mut Ctx<'_>, data: Announced) {
        let State::Seeking(seeking) = &self.target.0 else { return };
        if seeking.lacks == Some(data.manifest) {
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
}
