//! Wishes that ended while a WANT of theirs was out: a GRANT may still come, so that their outcome is told when the fate of
//! these WANTs is known (HO-TIME-3).

use alloc::vec::Vec;

use super::effects::Ctx;
use super::holdings::Holdings;
use super::session::Session;
use crate::Code;
use crate::clause::Clause;
use crate::event::{Event, HandoffId};
use crate::generations::Generation;
use crate::limits::MAX_WANTS;
use crate::wire::{Cancel, DeviceId, Exts, Hash};

/// A WANT that left, and that its source may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) want: Hash,
    pub(super) req: u32,
    /// The device that it was sent to: the source, or a grantor that passes it on.
    pub(super) to: DeviceId,
}

/// Notes a WANT that left. A source keeps the newest that reached it, so that the oldest of very many doesn't matter.
pub(super) fn note_sent(sent: &mut Vec<Sent>, new: Sent) {
    if sent.len() >= MAX_WANTS {
        sent.remove(0);
    }
    sent.push(new);
}

/// What becomes of the WANTs that left before one that is void, to the same device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// They are void too: the source took the later one in their place (HO-WANT-8).
    Void,
    /// One of them may be kept: nothing says that the later one was taken.
    Stay,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lapsed {
    /// None of a consent, of which nothing is told.
    id: Option<HandoffId>,
    from: DeviceId,
    /// Why it is over.
    code: Code,
    /// Those of its WANTs of which nobody has said yet that they are void, in the order in which they left.
    wants: Vec<Sent>,
}

impl<H: Holdings> Session<H> {
    /// A wish is over but for what its WANTs may still bring.
    pub(super) fn lapse(
        &mut self,
        ctx: &mut Ctx<'_>,
        (id, code): (Option<HandoffId>, Code),
        from: DeviceId,
        wants: Vec<Sent>,
    ) {
        let session = self.id();
        if let Some(id) = id {
            ctx.event(Event::HandoffPending { id, session, peer: from });
        }
        let lapsed = Lapsed { id, from, code, wants };
        self.withdraw(ctx, &lapsed);
        // A source that answers no CANCEL costs so much: of the oldest its user isn't told more than that it is pending.
        if self.lapsed.len() >= MAX_WANTS {
            let consent = self.lapsed.iter().position(|old| old.id.is_none());
            self.lapsed.remove(consent.unwrap_or_default());
        }
        if !self.lapsed.contains(&lapsed) {
            self.lapsed.push(lapsed);
        }
        if !ctx.rules.keeps(Clause::HO_TIME_3) {
            self.end_lapsed(ctx, |_| true);
        }
    }

    /// A device has a link: what was sought of it, and has ended, is withdrawn there.
    pub(super) fn withdraw_lapsed(&self, ctx: &mut Ctx<'_>, from: DeviceId) {
        self.lapsed.iter().filter(|lapsed| lapsed.from == from).for_each(|lapsed| self.withdraw(ctx, lapsed));
    }

    /// Withdraws the WANTs of a lapsed wish. What their source answers, by HO-CANCEL-2, decides.
    fn withdraw(&self, ctx: &mut Ctx<'_>, lapsed: &Lapsed) {
        let (session, code, to) = (self.id(), lapsed.code.into(), self.way(ctx.rules, lapsed.from));
        if ctx.generation_with(&to).is_some_and(|generation| generation >= Generation::V1_7) {
            for sent in &lapsed.wants {
                ctx.send(to, Cancel { session, subject: sent.want, code, ext: Exts::empty() });
            }
        }
    }

    /// The source says that a WANT is void: by a DECLINE that names it, or an ERROR that bears its request number. Returns
    /// whether it was the newest of the wish that runs.
    pub(super) fn void(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: DeviceId,
        before: Before,
        named: impl Fn(&Sent) -> bool,
    ) -> bool {
        let runs = self.target.sent_to(&from);
        let newest = runs.as_ref().is_some_and(|sent| sent.last().is_some_and(&named));
        let lapsed = self.lapsed.iter_mut().filter(|lapsed| lapsed.from == from).map(|lapsed| &mut lapsed.wants);
        let mut lists: Vec<_> = lapsed.chain(runs).collect();
        if let Some(&void) = lists.iter().flat_map(|sent| sent.iter()).find(|sent| named(sent)) {
            let mut reached = false;
            for sent in &mut lists {
                sent.retain(|it| {
                    let goes = it.want == void.want || !reached && before == Before::Void && it.to == void.to;
                    reached |= it.want == void.want;
                    !goes
                });
            }
        }
        self.end_lapsed(ctx, |lapsed| lapsed.wants.is_empty());
        newest
    }

    /// What an ERROR in answer to a WANT says of those before: on 1.4, where it takes the place of a DECLINE, as much.
    pub(super) fn before_refused(&self, ctx: &Ctx<'_>, by: DeviceId, code: Code) -> Before {
        let declines = matches!(code, Code::HO_DECLINED | Code::HO_TIMEOUT | Code::HO_CANCELLED);
        if declines && ctx.generation_with(&by) == Some(Generation::V1_4) { Before::Void } else { Before::Stay }
    }

    /// Whether an answer to this request may say that a WANT of a lapsed wish is void.
    pub(super) fn lapsed_awaits(&self, from: DeviceId, req: u32) -> bool {
        let named = |lapsed: &Lapsed| lapsed.wants.iter().any(|sent| sent.to == from && sent.req == req);
        self.lapsed.iter().any(named)
    }

    /// The head changed, and with it died the WANTs under the old one, but for the one that the head answers.
    pub(super) fn lapsed_overtaken(&mut self, ctx: &mut Ctx<'_>) {
        let answered = self.head().body().want;
        self.end_lapsed(ctx, |lapsed| lapsed.wants.iter().all(|sent| sent.want != answered));
    }

    /// This device is primary by a GRANT: whoever asked for that has it.
    pub(super) fn lapsed_granted(&mut self, ctx: &mut Ctx<'_>, record: Hash) {
        let session = self.id();
        for Lapsed { id, from, .. } in core::mem::take(&mut self.lapsed) {
            let Some(id) = id else { continue };
            ctx.event_when_durable(Event::HandoffResolved {
                id,
                session,
                peer: from,
                result: Ok(record),
                reason: None,
            });
        }
    }

    fn end_lapsed(&mut self, ctx: &mut Ctx<'_>, over: impl Fn(&Lapsed) -> bool) {
        let session = self.id();
        for Lapsed { id, from, code, .. } in self.lapsed.extract_if(.., |lapsed| over(lapsed)) {
            if let Some(id) = id {
                ctx.resolve(id, session, from, Err(code));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wants_that_left_are_noted() {
        let (want, to) = (Hash::new([1; 32]), DeviceId::ZERO);
        let new = |req: usize| Sent { want, req: req as u32, to };
        let mut sent = Vec::new();
        (0..MAX_WANTS).for_each(|req| note_sent(&mut sent, new(req)));
        assert_eq!((sent.len(), sent.first()), (MAX_WANTS, Some(&new(0))));
        note_sent(&mut sent, new(MAX_WANTS));
        assert_eq!((sent.len(), sent.first(), sent.last()), (MAX_WANTS, Some(&new(1)), Some(&new(MAX_WANTS))));
    }
}
