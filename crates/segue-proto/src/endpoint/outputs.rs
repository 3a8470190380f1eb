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
        if let (Event::Progress { session, .. }, Some(Event::Progress { session: last, .. })) =
            (&event, self.events.back())
            && session == last
        {
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
