//! What waits to be polled.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::bulk::{Search, Unwanted};
use super::serving::Serve;
use crate::Code;
use crate::event::{Event, LinkId};
use crate::journal::{Batch, Lsn};
use crate::limits::MAX_EVENTS;

/// Names a signature that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignId(pub u64);

/// Asks for an Ed25519 signature by the device's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignRequest {
    /// Names it in the answer.
    pub id: SignId,
    /// The bytes to sign.
    pub message: Vec<u8>,
}

/// The queues of an endpoint. All but the events are bounded by the inputs that fill them.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pub(super) batches: VecDeque<Batch>,
    pub(super) signs: VecDeque<SignRequest>,
    pub(super) searches: VecDeque<Search>,
    pub(super) serves: VecDeque<Serve>,
    pub(super) unwanted: VecDeque<Unwanted>,
    pub(super) closes: VecDeque<(LinkId, Code)>,
    pub(super) events: VecDeque<Event>,
    held: VecDeque<(Lsn, Event)>,
    signed: u64,
}

impl Outputs {
    /// Asks for a signature.
    pub(super) fn sign(&mut self, message: Vec<u8>) -> SignId {
        self.signed += 1;
        let id = SignId(self.signed);
        self.signs.push_back(SignRequest { id, message });
        id
    }

    /// Tells the application. Progress that it hasn't read yet is replaced by later progress.
    pub(super) fn event(&mut self, event: Event) {
        if self.events.back().is_some_and(|last| event.says_more_than(last)) {
            self.events.pop_back();
        }
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Tells the application once everything up to `lsn` is durable.
    pub(super) fn event_after(&mut self, lsn: Lsn, durable: Lsn, event: Event) {
        if lsn <= durable {
            return self.event(event);
        }
        self.held.push_back((lsn, event));
    }

    /// More is durable.
    pub(super) fn release_events(&mut self, durable: Lsn) {
        while self.held.front().is_some_and(|(lsn, _)| *lsn <= durable) {
            if let Some((_, event)) = self.held.pop_front() {
                self.event(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{DeviceId, SessionId};

    fn progress(session: u8, done: u64) -> Event {
        Event::Progress { session: SessionId::new([session; 16]), done, total: 9 }
    }

    fn read(outputs: &mut Outputs) -> Vec<Event> {
        outputs.events.drain(..).collect()
    }

    #[test]
    fn later_progress_takes_the_place_of_what_was_not_read() {
        let mut outputs = Outputs::default();
        for (session, done) in [(1, 1), (1, 2), (2, 1), (1, 3), (1, 4)] {
            outputs.event(progress(session, done));
        }
        assert_eq!(read(&mut outputs), [progress(1, 2), progress(2, 1), progress(1, 4)]);
        // It takes the place of nothing else.
        outputs.event(Event::Halted);
        outputs.event(progress(1, 5));
        outputs.event(Event::Halted);
        assert_eq!(read(&mut outputs), [Event::Halted, progress(1, 5), Event::Halted]);
    }

    #[test]
    fn what_one_mailbox_confirms_takes_the_place_of_that_alone() {
        let mut outputs = Outputs::default();
        let mailed = |mailbox: u8, done: u64| {
            let (session, mailbox) = (SessionId::new([1; 16]), DeviceId::new([mailbox; 32]));
            Event::Mailed { session, mailbox, done, total: 9 }
        };
        for event in [mailed(1, 1), mailed(1, 2), mailed(2, 1), progress(1, 1), mailed(2, 2), mailed(2, 3)] {
            outputs.event(event);
        }
        assert_eq!(read(&mut outputs), [mailed(1, 2), mailed(2, 1), progress(1, 1), mailed(2, 3)]);
    }

    #[test]
    fn of_more_events_than_there_is_room_for_the_oldest_go() {
        let mut outputs = Outputs::default();
        let closed = |n: usize| Event::Closed { session: SessionId::new((n as u128).to_be_bytes()) };
        (0..MAX_EVENTS).for_each(|n| outputs.event(closed(n)));
        assert_eq!((outputs.events.len(), outputs.events.front()), (MAX_EVENTS, Some(&closed(0))));
        outputs.event(closed(MAX_EVENTS));
        assert_eq!((outputs.events.len(), outputs.events.front()), (MAX_EVENTS, Some(&closed(1))));
        assert_eq!(outputs.events.back(), Some(&closed(MAX_EVENTS)));
    }

    #[test]
    fn what_waits_for_the_journal_is_told_once_that_is_durable() {
        let mut outputs = Outputs::default();
        let told = |n: u64| progress(n as u8, n);
        (1..=4).for_each(|n| outputs.event_after(Lsn(n), Lsn(1), told(n)));
        assert_eq!(read(&mut outputs), [told(1)]);
        outputs.release_events(Lsn(3));
        assert_eq!(read(&mut outputs), [told(2), told(3)]);
        outputs.release_events(Lsn(3));
        assert_eq!(read(&mut outputs), []);
        outputs.release_events(Lsn(4));
        assert_eq!(read(&mut outputs), [told(4)]);
    }

    #[test]
    fn each_signature_that_is_asked_for_has_a_number_of_its_own() {
        let mut outputs = Outputs::default();
        let ids = [1, 2].map(|n| outputs.sign(alloc::vec![n]));
        assert_ne!(ids[0], ids[1]);
        let asked: Vec<_> = outputs.signs.iter().map(|request| (request.id, request.message.clone())).collect();
        assert_eq!(asked, [(ids[0], alloc::vec![1]), (ids[1], alloc::vec![2])]);
    }
}
