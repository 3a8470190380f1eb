//! Asking a service to have a device woken.

use alloc::vec::Vec;

use crate::Code;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::errors::UsageError;
use crate::event::Event;
use crate::generations::Generation;
use crate::limits::MAILBOX_WINDOW;
use crate::wire::{DeviceId, Exts, Wake};

impl Endpoint {
    /// Asks a service to have a device woken on which nothing runs, because a session is handed over to it (section 9.17):
    /// [`Event::Woken`] brings the answer. Both have to have named one another to the service ([`Endpoint::discover`]).
    ///
    /// Errors: `NotLinked` without a link of generation 7; `NotMember` for a device that is neither vouched for nor a
    /// member of a session; `TooLarge` while [`MAILBOX_WINDOW`] of these wait for an answer of the service; `Revoked`,
    /// `SelfTarget`.
    pub fn wake(&mut self, now: Instant, service: DeviceId, device: DeviceId) -> Result<(), UsageError> {
        self.running()?;
        if device == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        self.not_revoked(&device)?;
        if !self.is_acquainted(&device) {
            return Err(UsageError::NotMember);
        }
        if self.peers.get(&service).is_none_or(|peer| peer.generation < Generation::V7) {
            return Err(UsageError::NotLinked);
        }
        let waiting = &mut self.mailboxes.waking;
        if waiting.keys().filter(|(of, _)| *of == service).count() >= MAILBOX_WINDOW {
            return Err(UsageError::TooLarge);
        }
        let req = self.fresh.request();
        waiting.insert((service, req), device);
        self.send(now, service, self.durable, &Wake { req, device, ext: Exts::empty() }.into());
        Ok(())
    }

    pub(in crate::endpoint) fn on_wake_ok(&mut self, from: DeviceId, req: u32) {
        self.wake_answered(from, req, None);
    }

    /// An error in answer to a WAKE; false if it was another's.
    pub(in crate::endpoint) fn wake_refused(&mut self, from: DeviceId, req: u32, code: Code) -> bool {
        self.wake_answered(from, req, Some(code))
    }

    /// The link that answers were to come by is gone.
    pub(super) fn wakes_down(&mut self, service: &DeviceId) {
        let lost: Vec<_> = self.mailboxes.waking.keys().filter(|(of, _)| of == service).copied().collect();
        for (service, req) in lost {
            self.wake_refused(service, req, Code::LINK_LOST);
        }
    }

    fn wake_answered(&mut self, service: DeviceId, req: u32, code: Option<Code>) -> bool {
        let device = self.mailboxes.waking.remove(&(service, req));
        let asked = device.is_some();
        device.into_iter().for_each(|device| self.out.event(Event::Woken { service, device, code }));
        asked
    }
}
