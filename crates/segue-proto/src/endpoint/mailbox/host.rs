//! Hosting a mailbox: requests of other devices are handed to whoever keeps its boxes.

use alloc::collections::{BTreeMap, VecDeque};

use crate::Code;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::journal::Lsn;
use crate::limits::{MAILBOX_WINDOW, MAX_WATCHES};
use crate::wire::{DeviceId, Message};

/// Names a request of a device to the mailbox that this one hosts. A device that starts again numbers its requests
/// from 1 again; these numbers are used once, so that no answer is taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the host of a mailbox is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Almost all of them are requests.
pub enum Hosted {
    /// A device asks.
    Request {
        /// Names the request in its answer.
        ticket: Ticket,
        /// The device.
        from: DeviceId,
        /// PUT, FETCH or WATCH.
        message: Message,
    },
    /// A device has no link any more: it watches nothing.
    Gone(DeviceId),
}

#[derive(Debug, Default)]
pub(super) struct Host {
    on: bool,
    queue: VecDeque<Hosted>,
    /// The requests that weren't answered yet, with whether they are answered at once.
    open: BTreeMap<Ticket, (DeviceId, bool)>,
    /// How many of them are each device's: PUTs and FETCHes, and WATCHes.
    counts: BTreeMap<DeviceId, [usize; 2]>,
    /// How many of them are PUTs and FETCHes.
    at_once: usize,
    tickets: u64,
}

impl Host {
    pub(super) fn gone(&mut self, device: &DeviceId) {
        if self.on {
            let [at_once, _] = self.counts.remove(device).unwrap_or_default();
            self.at_once = self.at_once.saturating_sub(at_once);
            self.open.retain(|_, (of, _)| of != device);
            self.queue.push_back(Hosted::Gone(*device));
        }
    }
}

/// The PUTs and FETCHes of all devices that wait for their answer: with full envelopes, 64 MiB.
const MAX_OPEN: usize = 1_024;

impl Endpoint {
    /// Hosts a mailbox from now on: requests come by [`Endpoint::poll_hosted`].
    pub fn host_mailbox(&mut self) {
        self.mailboxes.host.on = true;
    }

    /// The next thing that the host of the mailbox is told.
    pub fn poll_hosted(&mut self) -> Option<Hosted> {
        self.mailboxes.host.queue.pop_front()
    }

    /// The answer of the mailbox that this device hosts: PUT_OK, ENVELOPES or ERROR. It is dropped if the device has no
    /// longer the link on which it asked.
    pub fn answer_hosted(&mut self, now: Instant, ticket: Ticket, answer: &Message) {
        let host = &mut self.mailboxes.host;
        if let Some((to, at_once)) = host.open.remove(&ticket) {
            if let Some(count) = host.counts.get_mut(&to).and_then(|counts| counts.get_mut(usize::from(!at_once))) {
                *count = count.saturating_sub(1);
            }
            host.at_once = host.at_once.saturating_sub(usize::from(at_once));
            self.send(now, to, Lsn::default(), answer);
        }
    }

    pub(in crate::endpoint) fn on_request(&mut self, now: Instant, from: DeviceId, message: Message) {
        let (req, waits) = match &message {
            Message::Put(it) => (it.req, true),
            Message::Fetch(it) => (it.req, true),
            Message::Watch(it) => (it.req, false),
            _ => return,
        };
        if !self.mailboxes.host.on {
            return self.refuse(now, from, req, None, Code::SERVICE_NONE);
        }
        let host = &mut self.mailboxes.host;
        let [asks, watches] = host.counts.entry(from).or_default();
        // Twice the window that devices keep to, whose answers may be on their way (SERVICE-HOST-4).
        let room = match waits {
            true => *asks < 2 * MAILBOX_WINDOW && host.at_once < MAX_OPEN,
            false => *watches < MAX_WATCHES,
        };
        if !room {
            return self.refuse(now, from, req, None, Code::LIMIT_REQUESTS);
        }
        *if waits { asks } else { watches } += 1;
        host.at_once += usize::from(waits);
        host.tickets += 1;
        let ticket = Ticket(host.tickets);
        host.open.insert(ticket, (from, waits));
        host.queue.push_back(Hosted::Request { ticket, from, message });
    }
}
