//! Logging in at a service: under which account it lets this device in.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Endpoint;
use crate::Code;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::{Event, LinkId};
use crate::generations::Generation;
use crate::limits::MAX_TOKEN;
use crate::wire::text::check_name;
use crate::wire::{Blob, DeviceId, Exts, LoggedIn, Login};

/// What this device logs in with, and where.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// The token for each service; it isn't journaled.
    tokens: BTreeMap<DeviceId, Blob<MAX_TOKEN>>,
    /// The LOGINs that wait for an answer, by service and number.
    asked: BTreeSet<(DeviceId, u32)>,
}

impl Endpoint {
    /// Logs in at a service: now, if it has a link, and as every later link begins (SERVICE-LOGIN-7).
    /// [`Event::Login`] tells how that ended, each time. An empty token asks under which account the service knows this
    /// device. Not journaled; tell it at every open, as long as the service wants to see it.
    ///
    /// Errors: `SelfTarget`, `TooLarge` for a token of more than [`MAX_TOKEN`] bytes.
    pub fn login(&mut self, now: Instant, service: DeviceId, token: &[u8]) -> Result<(), UsageError> {
        self.running()?;
        if service == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        let token = Blob::new(token.to_vec()).ok_or(UsageError::TooLarge)?;
        self.mailboxes.logins.tokens.insert(service, token.clone());
        self.say_login(now, service, token);
        Ok(())
    }

    /// Logs in once more, with the same token, at a service that has a link; nothing if no token is known for it.
    pub fn log_in_again(&mut self, now: Instant, service: DeviceId) {
        if let Some(token) = self.mailboxes.logins.tokens.get(&service).cloned().filter(|_| !self.halted) {
            self.say_login(now, service, token);
        }
    }

    /// Forgets the token for a service. Under which account that knows this device stays.
    pub fn forget_login(&mut self, service: &DeviceId) {
        self.mailboxes.logins.tokens.remove(service);
    }

    /// Whether a service lets this device in under no account, as it said on the link that there is.
    pub fn is_locked_out(&self, service: &DeviceId) -> bool {
        self.mailboxes.used.get(service).is_some_and(|mailbox| mailbox.locked)
    }

    /// A link begins: before anything else goes over it.
    pub(in crate::endpoint) fn log_in(&mut self, now: Instant, peer: DeviceId) {
        let logins = &self.mailboxes.logins;
        let any = || logins.tokens.values().next().filter(|_| !self.config.rules.keeps(Clause::SERVICE_LOGIN_9));
        let Some(token) = logins.tokens.get(&peer).or_else(any).cloned() else { return };
        if self.config.rules.keeps(Clause::SERVICE_LOGIN_7) {
            self.say_login(now, peer, token);
        }
    }

    fn say_login(&mut self, now: Instant, service: DeviceId, token: Blob<MAX_TOKEN>) {
        if self.peers.get(&service).is_none_or(|peer| peer.generation < Generation::V7) {
            return;
        }
        let req = self.fresh.request();
        let asked = &mut self.mailboxes.logins.asked;
        // A newer token takes the older one's place: nobody waits for what becomes of that.
        asked.retain(|(of, _)| *of != service);
        asked.insert((service, req));
        self.send(now, service, self.durable, &Login { req, token, ext: Exts::empty() }.into());
    }

    pub(in crate::endpoint) fn on_logged_in(&mut self, now: Instant, link: LinkId, from: DeviceId, message: LoggedIn) {
        if let Err(why) = check_name(self.config.rules, &message.account) {
            return self.end_link(now, link, why.code, Some(why.clause));
        }
        if !self.mailboxes.logins.asked.remove(&(from, message.req)) {
            return;
        }
        self.out.event(Event::Login { service: from, result: Ok(message) });
        if let Some(mailbox) = self.mailboxes.used.get_mut(&from) {
            mailbox.locked = false;
            mailbox.rests = None;
            self.pump_mailbox(now, from);
        }
    }

    /// An error in answer to a LOGIN; false if it was another's.
    pub(in crate::endpoint) fn login_refused(&mut self, from: DeviceId, req: u32, code: Code) -> bool {
        let mine = self.mailboxes.logins.asked.remove(&(from, req));
        if mine {
            self.out.event(Event::Login { service: from, result: Err(code) });
        }
        mine
    }

    /// A service refused something because this device is under no account.
    pub(in crate::endpoint) fn lock_out(&mut self, service: DeviceId) {
        let used = self.mailboxes.used.get(&service);
        if used.is_none_or(|mailbox| mailbox.locked) || !self.config.rules.keeps(Clause::SERVICE_LOGIN_8) {
            return;
        }
        self.begin_anew(&service);
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.locked = true;
        }
        // What was asked before a LOGIN that is under way says nothing of what becomes of that.
        if !self.mailboxes.logins.asked.iter().any(|(of, _)| *of == service) {
            self.out.event(Event::Login { service, result: Err(Code::SVC_LOGIN) });
        }
    }

    /// The link that an answer was to come by is gone.
    pub(super) fn login_down(&mut self, device: &DeviceId) {
        let lost: Vec<_> = self.mailboxes.logins.asked.iter().filter(|(of, _)| of == device).copied().collect();
        for (service, req) in lost {
            self.login_refused(service, req, Code::LINK_LOST);
        }
    }
}
