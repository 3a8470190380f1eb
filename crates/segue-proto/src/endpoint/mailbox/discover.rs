//! Asking a service which devices are there.

use alloc::vec::Vec;

use crate::Code;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::errors::UsageError;
use crate::event::Event;
use crate::generations::Generation;
use crate::limits::MAILBOX_WINDOW;
use crate::wire::{DeviceId, Discover, Exts, Found, List};

impl Endpoint {
    /// Asks a service which of these devices have a link with it, or when they had, and lets it tell them of this one
    /// (SERVICE-SEEN-1): what is named here takes the place of what was named there before. Returns the number by which
    /// [`Event::Found`] brings the answer.
    ///
    /// Errors: `TooLarge` for more than [`MAX_DISCOVER`](crate::limits::MAX_DISCOVER) devices, and while
    /// [`MAILBOX_WINDOW`] of these wait for an answer of the service; `NotLinked` without a link of generation 7.
    pub fn discover(&mut self, now: Instant, service: DeviceId, devices: &[DeviceId]) -> Result<u32, UsageError> {
        self.running()?;
        let speaks = |generation| generation >= Generation::V7;
        if !self.peers.get(&service).is_some_and(|peer| speaks(peer.generation)) {
            return Err(UsageError::NotLinked);
        }
        let devices = List::new(devices.to_vec()).ok_or(UsageError::TooLarge)?;
        let waiting = &mut self.mailboxes.discovering;
        if waiting.iter().filter(|(of, _)| *of == service).count() >= MAILBOX_WINDOW {
            return Err(UsageError::TooLarge);
        }
        let req = self.fresh.request();
        waiting.insert((service, req));
        self.send(now, service, self.durable, &Discover { req, devices, ext: Exts::empty() }.into());
        Ok(req)
    }

    pub(in crate::endpoint) fn on_found(&mut self, from: DeviceId, message: Found) {
        let Found { req, found, .. } = message;
        if self.mailboxes.discovering.remove(&(from, req)) {
            self.out.event(Event::Found { service: from, req, found: Ok(found.into_vec()) });
        }
    }

    /// An error in answer to a DISCOVER; false if it was another's.
    pub(in crate::endpoint) fn discover_refused(&mut self, from: DeviceId, req: u32, code: Code) -> bool {
        let mine = self.mailboxes.discovering.remove(&(from, req));
        if mine {
            self.out.event(Event::Found { service: from, req, found: Err(code) });
        }
        mine
    }

    /// The link that answers were to come by is gone.
    pub(super) fn discover_down(&mut self, device: &DeviceId) {
        let lost: Vec<_> = self.mailboxes.discovering.iter().filter(|(of, _)| of == device).copied().collect();
        for (service, req) in lost {
            self.discover_refused(service, req, Code::LINK_LOST);
        }
    }
}
