//! Invitations: content keys for devices that this one may never meet.

use alloc::vec::Vec;

use super::keys::HeldKey;
use super::{Ask, Signing, UnwrapId, UnwrapRequest};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::endpoint::session_data::SessionData;
use crate::event::Event;
use crate::handoff::Session;
use crate::limits::MAX_KEYS;
use crate::seal::{self, Wrapped};
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::{
    DeviceId, Exts, Invitation, KeyId, KeyMsg, List, Put, SessionId, Sig, Signed, Text, id_of, signing_bytes,
};
use crate::{Code, Violation};

impl Endpoint {
    /// Who may read a session and wasn't given its present key by way of this mailbox (SERVICE-KEY-1).
    pub(super) fn uninvited(&self, service: &DeviceId) -> Vec<(SessionId, KeyId, DeviceId)> {
        let mut out = Vec::new();
        for (id, session) in self.sessions.iter().filter(|(_, session)| session.is_kept()) {
            let Some(held) = self.best_key(id).filter(|held| self.is_good(held)) else { continue };
            let key = held.key.id();
            let mut devices = self.others(service, session);
            let told = |device: &DeviceId| self.mailboxes.book.told.contains(&(*service, *id, key, *device));
            let open = !self.config.rules.keeps(Clause::SERVICE_KEY_1);
            devices.retain(|device| !told(device));
            // Whoever made the key may know of a revocation that isn't known here.
            let out_of_it = |device: &DeviceId| self.is_revoked(device) || held.without.contains(device);
            devices.retain(|device| open || !out_of_it(device));
            out.extend(devices.into_iter().map(|device| (*id, key, device)));
        }
        out
    }

    /// The other devices that may read a session, revoked ones among them; and the mailbox only if it is vouched for.
    pub(super) fn others(&self, service: &DeviceId, session: &Session<SessionData>) -> Vec<DeviceId> {
        let roster = self.own_roster().ok().into_iter().flat_map(|roster| roster.standing().members.keys());
        let mut devices: Vec<_> = session.chain().members().to_vec();
        devices.extend(roster.chain(&self.trusted).copied().chain(session.chosen()));
        devices.sort_unstable();
        devices.dedup();
        devices.retain(|device| *device != self.config.device && (device != service || self.vouches(device)));
        devices
    }

    pub(super) fn pump_invitations(&mut self, service: DeviceId) {
        for (id, key, to) in self.uninvited(&service) {
            let Some(mailbox) = self.mailboxes.used.get(&service) else { return };
            let is = |ask: &Ask| *ask == Ask::Invitation(id, key, to);
            let asked = mailbox.inviting.contains(&(id, to)) || mailbox.asks.values().any(is);
            if mailbox.is_full() || mailbox.rests.is_some() {
                return;
            }
            if !asked {
                self.invite_by(service, id, key, to);
            }
        }
    }

    fn invite_by(&mut self, service: DeviceId, id: SessionId, key: KeyId, to: DeviceId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let keys = self.mailboxes.book.keys.get(&id);
        let Some(HeldKey { epoch, key, without }) = keys.and_then(|keys| keys.get(&key)).cloned() else { return };
        let name = Text::new(session.name()).unwrap_or_default();
        let without = List::new(without.into_iter().collect()).unwrap_or_default();
        let invitation = Invitation { from: self.config.device, to, session: id, name, epoch, key, without };
        let body = encode(&invitation);
        let sign = self.out.sign(signing_bytes::<Invitation>(id_of::<Invitation>(&body)));
        self.mailboxes.signing.insert(sign, Signing::Invitation { service, invitation });
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.inviting.insert((id, to));
            mailbox.told = false;
            // It may need content that all others hold.
            mailbox.giving.sweep();
        }
    }

    pub(super) fn invitation_signed(&mut self, now: Instant, service: DeviceId, invitation: Invitation, sig: Sig) {
        let Invitation { session, to, key, .. } = invitation;
        let Some(signed) = Signed::<Invitation>::from_parts(encode(&invitation), sig) else { return };
        let envelope = seal::wrap(&to, self.fresh.secret(), &encode(&signed));
        let req = self.fresh.request();
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        mailbox.inviting.remove(&(session, to));
        let Some(envelope) = envelope.and_then(Blob::new) else {
            // No key of the curve, so nobody's: there is no one to invite.
            let write = self.mailboxes.book.keep_told(service, session, key.id(), to);
            self.commit(alloc::vec![write], false);
            return;
        };
        mailbox.asks.insert(req, Ask::Invitation(session, key.id(), to));
        let put = Put { req, to: seal::inbox(&to), envelope, ext: Exts::empty() };
        self.send(now, service, self.last, &put.into());
    }

    /// Envelopes of the own inbox: the device's key is asked to open them.
    pub(super) fn open_inbox(&mut self, service: DeviceId, upto: u64, envelopes: impl Iterator<Item = Vec<u8>>) {
        let device = self.config.device;
        let mut count = 0;
        for envelope in envelopes {
            self.mailboxes.unwrapped += 1;
            let id = UnwrapId(self.mailboxes.unwrapped);
            let wrapped = Wrapped { device, envelope };
            let notice = wrapped.is_notice();
            self.mailboxes.unwraps.push_back(UnwrapRequest { id, wrapped });
            self.mailboxes.unwrapping.insert(id, (service, notice));
            count += 1;
        }
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.opening = Some((count, upto));
        }
    }

    /// An envelope of the inbox was opened, or couldn't be.
    pub(super) fn on_invitation(&mut self, now: Instant, service: DeviceId, plain: Option<Vec<u8>>) {
        if let Err((peer, session, violation)) = self.accept_invitation(now, plain) {
            self.out.event(Event::Violation { peer: peer.unwrap_or(service), session, violation });
        }
    }

    fn accept_invitation(
        &mut self,
        now: Instant,
        plain: Option<Vec<u8>>,
    ) -> Result<(), (Option<DeviceId>, Option<SessionId>, Violation)> {
        let rules = self.config.rules;
        let bad = Violation::new(Code::SERVICE_ENVELOPE, Clause::SERVICE_INVITE_1);
        let nobody = |violation| (None, None, violation);
        let plain = plain.ok_or(nobody(bad))?;
        let signed = decode::<Signed<Invitation>>(rules, &plain).map_err(nobody)?;
        let proven = signed.prove(rules, |invitation: &Invitation| invitation.from).map_err(nobody)?;
        let Invitation { from, to, session, epoch, key, without, .. } = proven.body().clone();
        let by = |violation| (Some(from), Some(session), violation);
        rules.ensure(Clause::SERVICE_INVITE_1, to == self.config.device, bad.code).map_err(by)?;
        let known = self.sessions.get(&session).filter(|session| session.is_kept());
        let reads = known.is_some_and(|session| session.chain().is_member(&from)) || self.vouches(&from);
        let reads = reads && !self.is_revoked(&from);
        rules.ensure(Clause::SERVICE_KEY_2, reads, bad.code).map_err(by)?;
        self.accept_key(now, session, HeldKey { epoch, key, without: without.into_vec().into_iter().collect() });
        Ok(())
    }

    /// KEY of a linked device.
    pub(in crate::endpoint) fn on_key(&mut self, now: Instant, from: DeviceId, message: KeyMsg) {
        let KeyMsg { session, epoch, key, without, .. } = message;
        let reads = self.step(now, session, |session, ctx| session.is_kept() && session.may_read(ctx, &from));
        if reads == Some(true) || !self.config.rules.keeps(Clause::SERVICE_KEY_2) {
            // It needn't be sent back.
            self.mailboxes.sent_keys.insert((from, session, key.id()));
            self.accept_key(now, session, HeldKey { epoch, key, without: without.into_vec().into_iter().collect() });
        }
    }

    fn accept_key(&mut self, now: Instant, session: SessionId, held: HeldKey) {
        let keys = self.mailboxes.book.keys.get(&session);
        let known = keys.is_some_and(|keys| keys.contains_key(&held.key.id()) || keys.len() >= MAX_KEYS);
        if !known {
            self.keep_key(now, session, held);
            self.pump_mailboxes(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::seal::ContentKey;
    use crate::{Config, Continuity, Lsn};

    #[test]
    fn a_device_keeps_so_many_keys_of_a_session() {
        let (now, session) = (Instant::from_micros(1), SessionId::new([1; 16]));
        let config = Config::new(DeviceId::new([2; 32]));
        let mut core = Endpoint::open(config, [], Lsn(0), Continuity::Proven, [3; 32], now).expect("a device");
        let key = |n: usize| ContentKey::new([n as u8; 32]);
        let mut accept = |session, n| {
            core.accept_key(now, session, HeldKey { epoch: n as u32, key: key(n), without: BTreeSet::new() });
            core.mailboxes.book.keys[&session].keys().copied().collect::<BTreeSet<_>>()
        };
        for n in 0..MAX_KEYS {
            assert_eq!(accept(session, n).len(), n + 1);
            assert_eq!(accept(session, n).len(), n + 1, "it is known");
        }
        assert_eq!(accept(session, MAX_KEYS), (0..MAX_KEYS).map(|n| key(n).id()).collect());
        assert_eq!(accept(SessionId::new([4; 16]), MAX_KEYS).len(), 1, "another session has its own");
    }
}
