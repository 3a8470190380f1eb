//! Delegation at both ends: an owner's messages to its grantor and back, and what a host is told that keeps sessions in
//! custody.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::session_data::SessionData;
use super::{Endpoint, SignId};
use crate::Code;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::handoff::{Ctx, ProvenCas, Session};
use crate::journal::{Lsn, Write};
use crate::wire::{Cas, DeviceId, Final, Freeze, Hash, Message, Record, Renew, SessionId, Sig, Want};

/// The tenure of this device as a grantor for others.
pub(super) const TENURE: &[u8] = b"dtenure";

/// What a device is that keeps sessions of others in custody.
#[derive(Debug, Default)]
pub(super) struct Custodian {
    on: bool,
    pub(super) tenure: Option<Hash>,
    /// The records that are being signed for the host.
    signing: BTreeMap<SignId, (SessionId, Hash)>,
}

/// Commands of an owner.
impl Endpoint {
    /// Has `service` sign the next record of a session from now on, so that it can be handed over while this device is
    /// away: [`Event::Delegated`](crate::Event::Delegated) tells how that ended, within `timeout_us` microseconds. This device stays the owner, and
    /// writes. The service learns the chain, and nothing of the data.
    ///
    /// Errors: `NotOwner` and its like, `Delegated` if it is delegated already, `SelfTarget`.
    pub fn delegate(
        &mut self,
        now: Instant,
        session: SessionId,
        service: DeviceId,
        timeout_us: u64,
    ) -> Result<(), UsageError> {
        self.not_revoked(&service)?;
        self.command(now, session, |session, ctx| session.delegate(ctx, service, timeout_us))
    }

    /// Asks the service that signs a session's next record to leave that to this device again: [`Event::Delegated`](crate::Event::Delegated) tells
    /// how that ended.
    ///
    /// Errors: `NotOwner`, `NotDelegated`, `Busy` while the session is being handed over.
    pub fn reclaim(&mut self, now: Instant, session: SessionId, timeout_us: u64) -> Result<(), UsageError> {
        self.command(now, session, |session, ctx| session.reclaim(ctx, timeout_us))
    }
}

/// A host that keeps sessions in custody.
impl Endpoint {
    /// Keeps sessions of other devices in custody from now on: what they ask comes by [`Endpoint::poll_hosted`]. Returns
    /// this device's tenure, which is another one whenever its store was put back to an older state, as far as that is
    /// noticed (SERVICE-TENURE-1); `put_back` says that the host noticed so of a store of its own.
    pub fn host_custody(&mut self, put_back: bool) -> Hash {
        self.host_mailbox();
        self.custodian.on = true;
        match self.custodian.tenure.filter(|_| !put_back || !self.config.rules.keeps(Clause::SERVICE_TENURE_1)) {
            Some(tenure) => tenure,
            None => {
                let tenure = Hash::new(self.fresh.secret());
                self.custodian.tenure = Some(tenure);
                let write = Write { key: TENURE.to_vec(), value: Some(tenure.as_bytes().to_vec()) };
                self.commit(alloc::vec![write], false);
                tenure
            }
        }
    }

    /// Asks for the signature of a record of a session in custody; [`super::Hosted::Signed`] brings it.
    pub fn sign_hosted(&mut self, session: SessionId, record: Hash, message: Vec<u8>) {
        let sign = self.out.sign(message);
        self.custodian.signing.insert(sign, (session, record));
    }

    /// A message of the host to a device. It leaves once `after` is durable, and is dropped if the device has no link.
    pub fn tell_hosted(&mut self, now: Instant, to: DeviceId, after: Lsn, message: &Message) {
        let after = if self.config.rules.keeps(Clause::SERVICE_CAS_2) { after } else { Lsn::default() };
        self.send(now, to, after, message);
    }

    /// A request of a device has had all the answer that it gets.
    pub fn close_hosted(&mut self, ticket: super::Ticket) {
        self.mailboxes.close_hosted(ticket);
    }

    pub(super) fn on_hosted_signed(&mut self, id: SignId, sig: Sig) -> bool {
        let Some((session, record)) = self.custodian.signing.remove(&id) else { return false };
        self.mailboxes.host_signed(session, record, sig);
        true
    }

    /// Whether a message is one for the host: about a session that this device takes no part in.
    pub(super) fn is_hosted(&self, message: &Message) -> bool {
        let known = |session: &SessionId| self.sessions.contains_key(session) || self.wishes.contains_key(session);
        self.custodian.on && self.session_in_custody(message).is_some_and(|session| !known(&session))
    }

    /// The session that a message is about, if a custodian may be sent it; zero if it isn't well-formed.
    pub(super) fn session_in_custody(&self, message: &Message) -> Option<SessionId> {
        let rules = self.config.rules;
        Some(match message {
            Message::Have(it) => it.session,
            Message::Head(it) => it.session,
            Message::Renew(it) => it.session,
            Message::Delegate(it) => it.session,
            Message::Decline(it) => it.session,
            Message::Cancel(it) => it.session,
            Message::Error(it) => *it.session.get()?,
            Message::Want(it) => it.want.open(rules).map_or(SessionId::ZERO, |want| want.session),
            Message::Offer(it) => it.offer.open(rules).map_or(SessionId::ZERO, |offer| offer.session),
            Message::Freeze(it) => it.end.open(rules).map_or(SessionId::ZERO, |end| end.session),
            Message::Cas(it) => it.record.open(rules).map_or(SessionId::ZERO, |record| record.session),
            _ => return None,
        })
    }
}

/// Messages of a grantor.
impl Endpoint {
    pub(super) fn on_freeze(&mut self, now: Instant, from: DeviceId, freeze: Freeze) {
        let Freeze { req, end, .. } = freeze;
        let session = match end.open(self.config.rules) {
            Ok(end) => end.session,
            Err(why) => return self.refuse_for(now, from, req, None, why),
        };
        let served = self.sessions.get(&session).filter(|session| session.chain().is_service(&from));
        let Some(owner) = served.and_then(crate::handoff::Session::owner) else {
            return self.no_custody(now, from, req);
        };
        match self.prove(end, |_: &Final| owner) {
            Ok(end) => {
                self.step(now, session, |session, ctx| session.on_frozen(ctx, from, &end));
            }
            Err(why) => self.refuse_for(now, from, req, Some(session), why),
        }
    }

    pub(super) fn on_cas(&mut self, now: Instant, from: DeviceId, cas: Cas) {
        let Cas { req, record, want, tenure, .. } = cas;
        let want = want.get().cloned().map(|want| self.prove(want, |want: &Want| want.target)).transpose();
        let proven = want.and_then(|want| Ok((self.prove(record, |record: &Record| record.signer)?, want)));
        let (record, want) = match proven {
            Ok(proven) => proven,
            Err(why) => return self.refuse_for(now, from, req, None, why),
        };
        let session = record.body().session;
        let known = self.sessions.get(&session).is_some_and(|session| session.chain().is_service(&from));
        let asked = || self.sessions.get(&session).is_some_and(|session| session.awaits(from, req));
        if !known && !asked() {
            return self.no_custody(now, from, req);
        }
        if let Err((_, why)) = self.admissible(session, core::slice::from_ref(&record)) {
            return self.refuse_for(now, from, req, Some(session), why);
        }
        let cas = ProvenCas { req, record, want, tenure };
        self.step(now, session, |session, ctx| session.on_cas(ctx, from, cas));
    }

    pub(super) fn on_renew(&mut self, now: Instant, from: DeviceId, renew: &Renew) {
        let leans = self.step(now, renew.session, |session, ctx| {
            let leans = session.grantor() == Some(from);
            session.on_lease(ctx, from, renew);
            leans
        });
        if leans != Some(true) {
            self.no_custody(now, from, renew.req);
        }
    }

    /// This device keeps no session in custody.
    pub(super) fn no_custody(&mut self, now: Instant, from: DeviceId, req: u32) {
        if req != 0 && self.config.rules.keeps(Clause::SERVICE_NONE_1) {
            self.refuse(now, from, req, None, Code::SERVICE_NONE);
        }
    }

    /// Whether a mailbox may send this message because it signs for a session (SERVICE-PEER-1).
    pub(super) fn grantor_may(&self, from: &DeviceId, message: &Message) -> bool {
        let chain = matches!(
            message,
            Message::Have(_)
                | Message::Head(_)
                | Message::Want(_)
                | Message::Grant(_)
                | Message::Offer(_)
                | Message::Decline(_)
                | Message::Cancel(_)
                | Message::Freeze(_)
                | Message::Cas(_)
                | Message::Renew(_)
        );
        chain && (self.is_grantor(from) || matches!(message, Message::Cas(cas) if cas.want.get().is_none()))
    }

    /// Whether a device signs, or signed, for a session that this device takes part in.
    pub(super) fn is_grantor(&self, device: &DeviceId) -> bool {
        self.sessions.values().any(|session| session.is_kept() && session.chain().is_grantor(device))
    }
}

/// What a target waits for.
impl Endpoint {
    /// What isn't picked comes, too, if it is to be here before the session can be wanted.
    fn fetch_owed(&mut self, now: Instant, id: SessionId) {
        let began = |session: &mut Session<SessionData>, ctx: &mut Ctx<'_>| {
            let all = session.owes_all(ctx);
            session.holdings.want_all(all) && all
        };
        if self.step(now, id, began) == Some(true) {
            // Others may have been told that all is here that was picked.
            self.mail_lack(now, id);
            self.pump_mailboxes(now);
            self.fetch_wanted(now, id);
        }
    }

    /// Something came. Sessions that wait for what their owners left may have it now (SERVICE-HELD-1).
    pub(super) fn pump_owed(&mut self, now: Instant) {
        for id in core::mem::take(&mut self.owed) {
            if self.sessions.get(&id).is_some_and(crate::handoff::Session::awaits_final) {
                self.owed.insert(id);
                self.fetch_owed(now, id);
                if self.is_caught_up(&id) {
                    self.step(now, id, |session, ctx| session.want_owed(ctx));
                }
            }
        }
    }
}
