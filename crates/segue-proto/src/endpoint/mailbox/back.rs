//! Boxes that lost envelopes: they are fetched from their beginning, and filled anew (SERVICE-BACK-1).

use super::keys::{Fetched, PutAt};
use super::{Ask, Mailboxes, Signing, Use};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::wire::{BoxId, DeviceId};
use crate::{Code, Violation};

/// Steps.
impl Endpoint {
    /// A mailbox holds less of a box than this device fetched (SERVICE-BACK-1).
    pub(super) fn fell_back(&mut self, now: Instant, service: DeviceId, of: BoxId, purpose: Use) {
        let violation = Violation::new(Code::SERVICE_LOST, Clause::SERVICE_BACK_1);
        self.out.event(Event::Violation { peer: service, session: purpose.session(), violation });
        // What else was said to be there may be gone as well; what isn't costs its way once more.
        let writes = self.mailboxes.book.forget(&service);
        self.commit(writes, false);
        self.fill_anew(now, service, of, purpose);
    }

    /// The highest offset that a letter of this device was given on an earlier link: it may not have been fetched back.
    /// What a link's first answer about a box tells is compared with that, and no later one, which may have been on its way
    /// when a letter was put.
    pub(super) fn put_before(&mut self, service: &DeviceId, of: BoxId) -> u64 {
        let Some(mailbox) = self.mailboxes.used.get_mut(service) else { return 0 };
        let is_first = mailbox.shown.insert(of);
        self.mailboxes.book.puts.get(&(*service, of)).map_or(0, |put| if is_first { put.offset } else { 0 })
    }

    /// What was in a box isn't any more: it is fetched from its beginning, and all is put again.
    pub(super) fn fill_anew(&mut self, now: Instant, service: DeviceId, of: BoxId, purpose: Use) {
        self.forget_letters(&service, &of);
        let losses = self.mailboxes.losses.entry((service, of)).or_default();
        *losses = losses.saturating_add(1);
        let fetched = Fetched { at: 0, ..self.mailboxes.book.fetched.get(&(service, of)).cloned().unwrap_or_default() };
        let mut writes = alloc::vec![self.mailboxes.book.keep_fetched(service, of, fetched)];
        if let Some(put) = self.mailboxes.book.puts.get(&(service, of)).copied() {
            let again = PutAt { count: put.count, ..PutAt::default() };
            writes.push(self.mailboxes.book.keep_put(service, of, again));
        }
        self.commit(writes, false);
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.giving.sweep();
            if let Use::Content(id) = purpose {
                mailbox.taking.restart(&id);
            }
            mailbox.puts.retain(|_, putting| putting.to != of);
        }
        self.ask(now, service, Ask::Fetch(of));
    }

    /// What is on its way into a box, or is being signed for it, was put together before it was known that the box lost
    /// envelopes: that it is put says nothing of the rest. Its number stays its own.
    fn forget_letters(&mut self, service: &DeviceId, of: &BoxId) {
        let Mailboxes { signing, used, book, .. } = &mut self.mailboxes;
        signing.retain(
            |_, it| !matches!(it, Signing::Letter { service: by, letter, .. } if by == service && letter.to == *of),
        );
        let Some(mailbox) = used.get_mut(service) else { return };
        for ask in mailbox.asks.values_mut() {
            let Ask::Letter(_, to, next) = *ask else { continue };
            if to == *of {
                let put = book.puts.entry((*service, to)).or_default();
                put.count = put.count.max(next.count);
                *ask = Ask::Late;
            }
        }
    }
}
