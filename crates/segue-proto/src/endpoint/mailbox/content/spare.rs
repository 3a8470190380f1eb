//! Content that needn't go into a mailbox: all devices that may read it hold it already, or are getting it over their links.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::endpoint::mailbox::Mailbox;
use crate::endpoint::session_data::SessionData;
use crate::handoff::Session;
use crate::wire::{DeviceId, Hash, SessionId};

/// By session: the devices that might need content, and what each of them said to hold.
pub(in crate::endpoint::mailbox) type Spare = BTreeMap<SessionId, (Vec<DeviceId>, BTreeSet<Hash>)>;

impl Endpoint {
    pub(in crate::endpoint) fn uses_mailboxes(&self) -> bool {
        !self.mailboxes.used.is_empty()
    }

    /// How many lacks of a session's content this device told of; none if it uses no mailbox.
    pub(in crate::endpoint) fn lacks_told(&self, session: &SessionId) -> Option<u64> {
        self.uses_mailboxes().then(|| self.mailboxes.book.lacks.get(session).copied().unwrap_or_default())
    }

    /// The devices that might look in a mailbox for a session's content.
    fn needing(&self, service: &DeviceId, session: &Session<SessionData>) -> Vec<DeviceId> {
        let mut devices = self.others(service, session);
        devices.retain(|device| !self.is_revoked(device));
        devices
    }

    /// Whether a content is held by each device that might need it.
    pub(super) fn is_spare(&self, service: &DeviceId, id: &SessionId, blob: &Hash) -> bool {
        self.spares(service, id)(blob)
    }

    /// Tells of a session's content whether it is held by each device that might need it.
    pub(super) fn spares(&self, service: &DeviceId, id: &SessionId) -> impl Fn(&Hash) -> bool {
        let (mut whole, mut said) = (false, None);
        if let (Some(mailbox), Some(session)) = (self.mailboxes.used.get(service), self.sessions.get(id)) {
            let (last, needing) = (session.holdings.changes().last(), self.needing(service, session));
            whole = !needing.is_empty() && needing.iter().all(|device| self.syncing.is_whole(device, id, last));
            let held = mailbox.spare.get(id).filter(|(by, _)| needing.iter().all(|device| by.contains(device)));
            said = held.map(|(_, held)| held);
        }
        move |blob| whole || said.is_some_and(|held| held.contains(blob))
    }

    /// Whether a session's content waits, for each device that might need it takes it in over a link, or has one in a
    /// moment. For none it waits for ever.
    pub(super) fn puts_off(&mut self, now: Instant, service: &DeviceId, id: &SessionId) -> bool {
        let Some(session) = self.sessions.get(id) else { return false };
        let (last, mut needing) = (session.holdings.changes().last(), self.needing(service, session));
        let whole = |device: &DeviceId| self.syncing.is_whole(device, id, last);
        let direct = |device: &DeviceId| {
            whole(device) || self.syncing.feeds(device, id) || self.mailboxes.meetings.awaits(device)
        };
        let waits = !needing.is_empty() && needing.iter().all(direct);
        if waits {
            // Who holds all has nothing to ask for.
            needing.retain(|device| !whole(device));
            needing.iter().for_each(|device| self.syncing.awaits(now, device, *id));
        }
        waits
    }

    /// A device says that it holds all content of a session. If all others do, none of it need be put.
    pub(in crate::endpoint) fn spare_content(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let (last, used) = (session.holdings.changes().last(), self.mailboxes.used.keys().copied().collect::<Vec<_>>());
        for service in used {
            let Some(session) = self.sessions.get(&id) else { return };
            let needing = self.needing(&service, session);
            if needing.iter().all(|device| self.syncing.is_whole(device, &id, last)) {
                let named = session.holdings.named_blobs().map(|(blob, _)| blob).collect();
                if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
                    mailbox.spare.insert(id, (needing, named));
                    mailbox.giving.sweep();
                }
                self.pump_mailbox(now, service);
            }
        }
    }

    /// A device says that it doesn't hold all content of a session: what it said before counts no more (SYNC-WHOLE-1).
    pub(in crate::endpoint) fn lacks_content(&mut self, now: Instant, from: DeviceId, id: SessionId) {
        let said = |mailbox: &Mailbox| mailbox.spare.get(&id).is_some_and(|(by, _)| by.contains(&from));
        let used = self.mailboxes.used.iter_mut().filter(|(_, mailbox)| said(mailbox));
        let told: Vec<_> = used
            .map(|(service, mailbox)| {
                mailbox.spare.remove(&id);
                mailbox.giving.sweep();
                *service
            })
            .collect();
        told.into_iter().for_each(|service| self.pump_mailbox(now, service));
    }

    /// A session changed: nobody said to hold what comes to be named anew later.
    pub(in crate::endpoint::mailbox) fn forget_spare(&mut self, service: &DeviceId, id: &SessionId) {
        let state = self.sessions.get(id).and_then(|session| session.holdings.state());
        let spare = self.mailboxes.used.get_mut(service).and_then(|mailbox| mailbox.spare.get_mut(id));
        if let Some((_, held)) = spare {
            held.retain(|blob| state.is_some_and(|state| state.blob_len(blob).is_some()));
        }
    }

    /// Other content is to be put than before.
    pub(in crate::endpoint) fn put_other_content(&mut self, now: Instant) {
        let used: Vec<_> = self.mailboxes.used.keys().copied().collect();
        for service in used {
            self.mailboxes.used.get_mut(&service).into_iter().for_each(|mailbox| mailbox.giving.sweep());
            self.pump_mailbox(now, service);
        }
    }

    /// What was put off may have to be put after all: a link is gone, or didn't come.
    pub(in crate::endpoint) fn put_content_again(&mut self, now: Instant) {
        let waits = self.mailboxes.used.iter().filter(|(_, mailbox)| mailbox.giving.waits());
        let waiting: Vec<_> = waits.map(|(service, _)| *service).collect();
        for service in waiting {
            self.mailboxes.used.get_mut(&service).into_iter().for_each(|mailbox| mailbox.giving.sweep());
            self.pump_mailbox(now, service);
        }
    }
}
