//! An OFFER that is said again, as something else goes along.

use super::{OfferState, State};
use crate::generations::Generation;
use crate::handoff::effects::Ctx;
use crate::handoff::holdings::Holdings;
use crate::handoff::session::Session;

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
}
