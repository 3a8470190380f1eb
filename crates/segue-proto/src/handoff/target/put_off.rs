//! An OFFER that was accepted and whose acceptance waits for another try.

use super::Accepted;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::Pick;
use crate::handoff::effects::Ctx;
use crate::handoff::holdings::Holdings;
use crate::handoff::session::Session;
use crate::wire::{DeviceId, Hash};

/// The OFFER that was accepted last, if what answered it was refused with a code that time mends. It lives no longer than
/// the OFFER, the tries and the head (HO-OFFER-6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::handoff) struct PutOff {
    pub(super) offer: Accepted,
    pub(super) from: DeviceId,
    /// What the source said that it holds.
    pub(super) holds: Pick,
}

impl PutOff {
    pub(in crate::handoff) fn expires(&self) -> Instant {
        self.offer.expires
    }
}

impl<H: Holdings> Session<H> {
    /// No other try follows: if none runs, an OFFER that was put off is put to the user again when it is said again.
    pub fn end_tries(&mut self) {
        if !self.seeks() {
            self.put_off = None;
        }
    }

    /// Time passes.
    pub(super) fn put_off_timeout(&mut self, now: Instant) {
        self.put_off.take_if(|known| known.expires() <= now);
    }

    /// An OFFER is there, which may be the one that was put off: when that expires. Another takes its place.
    pub(super) fn expiry_of_put_off(&mut self, now: Instant, offer: Hash) -> Option<Instant> {
        self.put_off.take_if(|known| known.offer.token != offer || known.expires() <= now);
        self.put_off.as_ref().map(PutOff::expires)
    }

    /// The OFFER that was put off is said again. The user isn't asked, and the next try goes by what it says of content.
    pub(super) fn holds_anew(&mut self, ctx: &Ctx<'_>, holds: &Pick) -> bool {
        let known = self.put_off.as_mut().filter(|_| ctx.rules.keeps(Clause::HO_OFFER_6));
        known.map(|known| known.holds.clone_from(holds)).is_some()
    }

    /// What the OFFER that was put off said of content, for another try with its source.
    pub(super) fn holds_of_put_off(&self, now: Instant, from: &DeviceId) -> Option<Pick> {
        let known = self.put_off.as_ref().filter(|known| known.from == *from && now < known.expires());
        known.map(|known| known.holds.clone())
    }
}
