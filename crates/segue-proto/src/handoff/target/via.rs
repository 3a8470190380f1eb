//! A target that never meets the owner: it wants the session of the grantor, once it holds what the owner left.

use super::{State, Step};
use crate::clause::{Clause, Rules};
use crate::data::Pick;
use crate::handoff::effects::Ctx;
use crate::handoff::holdings::Holdings;
use crate::handoff::keys;
use crate::handoff::session::Session;
use crate::wire::codec::encode;
use crate::wire::{DeviceId, Final, Hash, Held, Proven, Want};

/// What the next owner must hold, as a grantor tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owed {
    pub(super) root: Hash,
    pub(super) manifest: Hash,
    /// None on a link of a generation that has no FREEZE.
    pub(super) exclusive: Option<Hash>,
    /// A WANT that says so is on its way.
    pub(super) wanted: bool,
}

/// By way of a grantor.
impl<H: Holdings> Session<H> {
    /// FREEZE of the grantor: what this device must hold. Its signature, by the head's owner, was verified.
    pub fn on_frozen(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, end: &Proven<Final>) {
        let Final { parent, root, exclusive, manifest, .. } = *end.body();
        if self.grantor() == Some(from) && parent == self.head().id() {
            self.on_owed(ctx, Owed { root, manifest, exclusive: Some(exclusive), wanted: false });
        }
    }

    /// Whether a request of this number waits for an answer by this device.
    pub(in crate::handoff) fn target_awaits(&self, from: DeviceId, req: u32) -> bool {
        if self.lapsed_awaits(from, req) {
            return true;
        }
        let State::Seeking(seeking) = &self.target.0 else { return false };
        let over = seeking.from == from || self.grantor() == Some(from);
        over && seeking.sent.iter().any(|sent| sent.req == req)
    }

    /// The manifest that stands for what the owner left, while this device waits until it holds that.
    pub fn owed(&self) -> Option<Hash> {
        match &self.target.0 {
            State::Seeking(seeking) => seeking.end.filter(|owed| !owed.wanted).map(|owed| owed.manifest),
            _ => None,
        }
    }

    /// Whether this device waits until it holds what the owner left.
    pub fn awaits_final(&self) -> bool {
        self.owed().is_some()
    }

    /// All that other devices put into mailboxes is here, as far as can be told. If it is what the owner left, it may be
    /// wanted (SERVICE-HELD-1).
    pub fn want_owed(&mut self, ctx: &mut Ctx<'_>) {
        let State::Seeking(seeking) = &self.target.0 else { return };
        let Some(owed) = seeking.end.filter(|owed| !owed.wanted) else { return };
        if matches!(seeking.step, Step::Signing(_)) {
            return;
        }
        let picked = self.picked(ctx);
        let held = self.holdings.matches(&owed.root, owed.exclusive.as_ref(), &picked);
        if held || !ctx.rules.keeps(Clause::SERVICE_HELD_1) {
            self.want(ctx);
        }
    }

    /// What the grantor said that the owner left, if that is here: a WANT may name it, and does (SERVICE-HELD-1).
    pub(super) fn claim_owed(&mut self, rules: Rules, picked: &Pick) -> Option<Held> {
        let State::Seeking(seeking) = &mut self.target.0 else { return None };
        let owed = seeking.end.as_mut()?;
        let held = self.holdings.matches(&owed.root, owed.exclusive.as_ref(), picked);
        let claims = held || !rules.keeps(Clause::SERVICE_HELD_1);
        owed.wanted |= claims;
        claims.then_some(Held { root: owed.root, manifest: owed.manifest })
    }

    /// Whether all content is to be here before this device may want what the owner left, whatever its user picked: the
    /// link with the grantor can't say what is left out (HO-PICK-1).
    pub fn owes_all(&self, ctx: &Ctx<'_>) -> bool {
        self.awaits_final() && self.picked(ctx).is_all() && !self.holdings.pick().is_all()
    }

    pub(super) fn on_owed(&mut self, ctx: &mut Ctx<'_>, owed: Owed) {
        if let State::Seeking(seeking) = &mut self.target.0 {
            seeking.end = Some(owed);
            ctx.fx.owed = true;
        }
    }

    /// The owner, where a grantor is named in its stead.
    pub(in crate::handoff) fn owned_by(&self, from: DeviceId) -> DeviceId {
        self.owner().filter(|owner| self.grantor() == Some(from) && *owner != self.me).unwrap_or(from)
    }

    /// This device owns by a record that answers this WANT.
    pub(in crate::handoff) fn own_by(&mut self, ctx: &mut Ctx<'_>, want: Proven<Want>) {
        ctx.fx.writes.push(keys::put(self.id(), keys::CLAIM, &[], encode(want.signed())));
        if self.unproven {
            ctx.fx.writes.push(keys::delete(self.id(), keys::UNPROVEN, &[]));
        }
        self.claim = Some(want);
        self.unproven = false;
    }
}
