//! Wishes whose deadline passed, or whose user withdrew them, while a WANT of theirs was out: a GRANT may still come, so
//! they end when its fate is known (HO-TIME-3).

use alloc::vec::Vec;

use super::effects::Ctx;
use super::holdings::Holdings;
use super::session::Session;
use crate::Code;
use crate::event::{Event, HandoffId};
use crate::generations::Generation;
use crate::limits::MAX_WANTS;
use crate::wire::{Cancel, DeviceId, Exts, Hash};

/// A WANT that left, and that its source may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sent {
    pub(super) want: Hash,
    pub(super) req: u32,
}

/// Notes a WANT that left. A source keeps the newest that reached it, so that the oldest of very many doesn't matter.
pub(super) fn note_sent(sent: &mut Vec<Sent>, new: Sent) {
    if sent.len() >= MAX_WANTS {
        sent.remove(0);
    }
    sent.push(new);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lapsed {
    id: HandoffId,
    from: DeviceId,
    /// Why it is over.
    code: Code,
    /// Those of its WANTs of which nobody has said yet that they are void.
    wants: Vec<Sent>,
}

impl<H: Holdings> Session<H> {
    /// A wish is over but for what its WANTs may still bring.
    pub(super) fn lapse(&mut self, ctx: &mut Ctx<'_>, (id, code): (HandoffId, Code), from: DeviceId, wants: Vec<Sent>) {
        let session = self.id();
        ctx.event(Event::HandoffPending { id, session, peer: from });
        self.lapsed.push(Lapsed { id, from, code, wants });
        self.withdraw_lapsed(ctx, from);
    }

    /// Withdraws the WANTs of lapsed wishes. What their source answers, by HO-CANCEL-2, decides.
    pub(super) fn withdraw_lapsed(&self, ctx: &mut Ctx<'_>, from: DeviceId) {
        let to = self.way(ctx.rules, from);
        if ctx.generation_with(&to).is_none_or(|generation| generation < Generation::V1_7) {
            return;
        }
        let session = self.id();
        for Lapsed { code, wants, .. } in self.lapsed.iter().filter(|lapsed| lapsed.from == from) {
            for sent in wants {
                ctx.send(to, Cancel { session, subject: sent.want, code: (*code).into(), ext: Exts::empty() });
            }
        }
    }

    /// The source says that a WANT is void: by a DECLINE that names it, or an ERROR that bears its request number.
    pub(super) fn lapsed_refused(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, named: impl Fn(&Sent) -> bool) {
        for lapsed in self.lapsed.iter_mut().filter(|lapsed| lapsed.from == from) {
            lapsed.wants.retain(|sent| !named(sent));
        }
        self.end_lapsed(ctx, |lapsed| lapsed.wants.is_empty());
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
            ctx.resolve(id, session, from, Err(code));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wants_that_left_are_noted() {
        let new = |req: usize| Sent { want: Hash::new([1; 32]), req: req as u32 };
        let mut sent = Vec::new();
        (0..MAX_WANTS).for_each(|req| note_sent(&mut sent, new(req)));
        assert_eq!((sent.len(), sent.first()), (MAX_WANTS, Some(&new(0))));
        note_sent(&mut sent, new(MAX_WANTS));
        assert_eq!((sent.len(), sent.first(), sent.last()), (MAX_WANTS, Some(&new(1)), Some(&new(MAX_WANTS))));
    }
}
