//! An OFFER that is said again, as something else goes along, and one that is refused.

use super::{OfferState, State};
use crate::errors::Code;
use crate::generations::Generation;
use crate::handoff::effects::Ctx;
use crate::handoff::holdings::Holdings;
use crate::handoff::session::Session;
use crate::wire::DeviceId;

impl<H: Holdings> Session<H> {
    /// Something else goes along than the target was told: it is told by the same OFFER again (HO-PICK-4). Below generation
    /// 7 all goes along.
    pub fn offer_anew(&mut self, ctx: &mut Ctx<'_>) {
        let State::Offering(offering) = &self.source.0 else { return };
        let to = offering.to;
        let told = matches!(offering.offer, Some(OfferState::Made(_)));
        let generation = ctx.generation_with(&self.door(to));
        if told && generation.is_some_and(|generation| generation >= Generation::V7) {
            // An OFFER that is made can be sent.
            let _ = self.offer(ctx, to);
            if let State::Offering(offering) = &mut self.source.0 {
                offering.stands = true;
            }
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
    }
}
