//! What others may know of the source's machine.

use super::{OfferState, Source, State};
use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::event::HandoffId;
use crate::wire::{DeviceId, Hash};

impl Source {
    pub(in crate::handoff) fn is_signing(&self) -> bool {
        matches!(self.0, State::Signing(_))
    }

    pub(in crate::handoff) fn granted(&self) -> Option<DeviceId> {
        match &self.0 {
            State::Granted(granted) => Some(granted.to),
            _ => None,
        }
    }

    pub(in crate::handoff) fn waiting(&self) -> Option<(Option<HandoffId>, DeviceId, Hash)> {
        match &self.0 {
            State::Granted(granted) => Some((granted.id, granted.to, granted.record)),
            _ => None,
        }
    }

    pub(in crate::handoff) fn granted_record(&self) -> Option<Hash> {
        match &self.0 {
            State::Granted(granted) => Some(granted.record),
            _ => None,
        }
    }

    pub(in crate::handoff) fn resumes(&self, rules: Rules) -> bool {
        matches!(&self.0, State::Granted(granted) if granted.resumed && !rules.keeps(Clause::HO_GRANT_2))
    }

    /// What a source writes under that wrongly goes on after its GRANT.
    pub(in crate::handoff) fn write_parent(&self) -> Option<Hash> {
        match &self.0 {
            State::Granted(granted) if granted.resumed => Some(granted.parent),
            _ => None,
        }
    }

    /// The target that the user chose, while it may still be undone.
    pub(in crate::handoff) fn offering_to(&self) -> Option<DeviceId> {
        match &self.0 {
            State::Offering(offering) => Some(offering.to),
            _ => None,
        }
    }

    /// The target of the handoff that runs.
    pub(in crate::handoff) fn target(&self) -> Option<DeviceId> {
        match &self.0 {
            State::Resting => None,
            State::Offering(offering) => Some(offering.to),
            State::Signing(signing) => signing.grant.as_ref().map(|pledge| pledge.want.body().target),
            State::Granted(granted) => Some(granted.to),
        }
    }

    pub(in crate::handoff) fn awaits(&self, grantor: Option<DeviceId>, from: DeviceId, req: u32) -> bool {
        matches!(&self.0, State::Offering(offering) if grantor.unwrap_or(offering.to) == from && offering.req == req)
    }

    pub(in crate::handoff) fn next_timeout(&self) -> Option<Instant> {
        match &self.0 {
            State::Offering(offering) => Some(offering.deadline),
            State::Granted(granted) => Some(granted.deadline.map_or(granted.resend, |at| at.min(granted.resend))),
            State::Resting | State::Signing(_) => None,
        }
    }

    pub(in crate::handoff) fn offer_id(&self) -> Option<Hash> {
        match &self.0 {
            State::Offering(offering) => match &offering.offer {
                Some(OfferState::Made(offer)) => Some(offer.id()),
                _ => None,
            },
            _ => None,
        }
    }
}
