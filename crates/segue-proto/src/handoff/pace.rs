//! How writes and a handoff keep pace: what a GRANT has no room for waits, or is fetched before it (HO-PACE-1, HO-WANT-9).

use alloc::vec::Vec;

use super::effects::Ctx;
use super::holdings::Holdings;
use super::session::{Session, SessionRole};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::Event;
use crate::limits::MAX_PAUSE;
use crate::wire::{DeviceId, Hash, PartId, WantMode};

/// The first write that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Waiting {
    since: Instant,
    part: PartId,
    len: usize,
}

impl<H: Holdings> Session<H> {
    /// Checks that an exclusive part may be written now: that a handoff in progress doesn't make its writer wait.
    pub fn unhurried(&mut self, ctx: &Ctx<'_>, part: &PartId, len: usize) -> Result<(), UsageError> {
        if !self.must_wait(ctx, part, len) {
            return Ok(());
        }
        self.waiting.get_or_insert(Waiting { since: ctx.now, part: *part, len });
        Err(UsageError::Paused)
    }

    /// A standing WANT came. What it names is known from now on, whatever is written; if it doesn't suffice, its sender is
    /// told what to fetch (HO-WANT-9).
    pub(super) fn judge_consent(&mut self, ctx: &mut Ctx<'_>, device: DeviceId) {
        if !ctx.rules.keeps(Clause::HO_WANT_9) || self.grantor().is_some() || self.source.is_signing() {
            return;
        }
        let Some(live) = self.wants.get(&device) else { return };
        if !self.holdings.suffices(ctx.rules, live.want.body().have.get())
            && self.send_announcement(ctx, device).is_ok()
        {
            self.wants.entry(device).and_modify(|live| live.outgrown = true);
        }
    }

    /// So many bytes were written to an exclusive part: targets whose standing WANT suffices no more are told what to
    /// fetch.
    pub fn written(&mut self, ctx: &mut Ctx<'_>, part: &PartId, len: usize) {
        if !ctx.rules.keeps(Clause::HO_WANT_9) {
            return;
        }
        let standing = |want: &super::LiveWant| want.want.body().mode == WantMode::Standing.number();
        let live = self.wants.iter().filter(|(_, live)| standing(live) && !live.outgrown && live.expires > ctx.now);
        let held: Vec<(DeviceId, Hash)> =
            live.filter_map(|(device, live)| Some((*device, live.want.body().have.get()?.manifest))).collect();
        for (device, manifest) in held {
            let linked = ctx.peer(&device).is_some() && self.may_read(ctx, &device);
            if linked && !self.holdings.leaves_room(&manifest, part, len) && self.send_announcement(ctx, device).is_ok()
            {
                self.wants.entry(device).and_modify(|live| live.outgrown = true);
            }
        }
    }

    /// Tells the application once the write that had to wait may be made, or never will.
    pub fn resume_writes(&mut self, ctx: &mut Ctx<'_>) {
        let Some(Waiting { since, part, len }) = self.waiting else { return };
        if !self.must_wait(ctx, &part, len) {
            self.waiting = None;
            ctx.event(Event::WritesResumed { session: self.id(), waited_us: ctx.now.since(since) });
        }
    }

    /// Whether a write waits.
    pub fn has_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn next_resume(&self) -> Option<Instant> {
        self.waiting?;
        self.wants.values().filter_map(|live| live.pace).map(|(_, until)| until).min()
    }

    /// The target fetches this manifest, and is granted to once it holds it: what is written from now on is to go inline.
    pub(super) fn pace(&mut self, ctx: &Ctx<'_>, to: &DeviceId, manifest: Hash) {
        if ctx.rules.keeps(Clause::HO_PACE_1) {
            let until = ctx.now.after(MAX_PAUSE);
            self.wants.entry(*to).and_modify(|live| live.pace = Some((manifest, until)));
        }
    }

    /// No write waits for these targets any more, if one did.
    pub(super) fn unpace(&mut self, now: Instant) {
        for live in self.wants.values_mut() {
            live.pace.take_if(|(_, until)| *until <= now);
        }
    }

    fn must_wait(&mut self, ctx: &Ctx<'_>, part: &PartId, len: usize) -> bool {
        if self.role(ctx.rules) != SessionRole::Primary {
            return false;
        }
        let paced = |(device, live): (&DeviceId, &super::LiveWant)| {
            let (manifest, until) = live.pace?;
            let wanted = live.approved || self.source.offering_to() == Some(*device);
            (wanted && until > ctx.now && ctx.peer(device).is_some()).then_some(manifest)
        };
        let paced: Vec<Hash> = self.wants.iter().filter_map(paced).collect();
        paced.iter().any(|manifest| !self.holdings.leaves_room(manifest, part, len))
    }
}
