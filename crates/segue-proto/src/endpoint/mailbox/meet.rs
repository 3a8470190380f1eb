//! Introductions: a service brings two devices together that named one another, and they link without it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Signing, UnwrapId, UnwrapRequest};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::errors::UsageError;
use crate::event::Event;
use crate::generations::Generation;
use crate::limits::{INTRODUCTION_WINDOW, MAX_INTRODUCTIONS, MAX_MET, MEET_WAIT};
use crate::seal::{self, Wrapped};
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::{
    Address, DeviceId, Exts, Introduce, Introduced, Introduction, List, Nonce, Sig, Signed, id_of, signing_bytes,
};
use crate::{Code, Violation};

/// Who is being met.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    /// Where this device can be dialled; none while it takes no part.
    own: Option<Vec<Address>>,
    /// The own introductions that nobody has answered.
    made: BTreeMap<DeviceId, Made>,
    /// The INTRODUCEs that the services haven't answered, and whom they are for; none if they answer others.
    asked: BTreeMap<(DeviceId, u32), Option<DeviceId>>,
    /// The devices with which a link may be there in a moment, until when that is waited for.
    awaited: BTreeMap<DeviceId, Instant>,
    /// The devices that are dialled because they were introduced.
    dialled: BTreeSet<DeviceId>,
    /// Those of them that answered an own introduction.
    answered: BTreeSet<DeviceId>,
    /// The introductions that were taken, by device, the newest last.
    taken: BTreeMap<DeviceId, VecDeque<Nonce>>,
    /// When each service's introductions of the last minute came.
    came: BTreeMap<DeviceId, VecDeque<Instant>>,
    /// The introductions that are being opened: the service that passed them on, and whose they say to be.
    opening: BTreeMap<UnwrapId, (DeviceId, DeviceId)>,
}

#[derive(Clone, Copy, Debug)]
struct Made {
    service: DeviceId,
    nonce: Nonce,
    until: Instant,
}

/// What is wrong with an introduction, and whose that is, if it is known.
type Bad = (Option<DeviceId>, Violation);

impl Meetings {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.made.values().map(|made| made.until).chain(self.awaited.values().copied()).min()
    }

    /// Whether a link with this device may be there in a moment.
    pub(super) fn awaits(&self, device: &DeviceId) -> bool {
        self.awaited.contains_key(device)
    }

    /// A device has a link. What it takes in over it, it will say in a moment.
    fn met(&mut self, device: &DeviceId) {
        self.made.remove(device);
        self.dialled.remove(device);
        self.answered.remove(device);
    }

    /// Whether an introduction wasn't taken yet; it is from now on.
    fn is_new(&mut self, from: DeviceId, nonce: Nonce) -> bool {
        let taken = self.taken.entry(from).or_default();
        let new = !taken.contains(&nonce);
        if new {
            taken.push_back(nonce);
        }
        if taken.len() > MAX_MET {
            taken.pop_front();
        }
        new
    }
}

/// Commands.
impl Endpoint {
    /// Takes part in introductions from now on: devices that this one vouches for, and members of its sessions, are told
    /// that it can be dialled at these addresses, of which the first [`MAX_ADDRESSES`](crate::limits::MAX_ADDRESSES)
    /// count, when they are introduced or when it introduces itself. `None` ends it, which is how an endpoint begins. The
    /// services that pass this on can't read it.
    pub fn meet_at(&mut self, addresses: Option<&[SocketAddr]>) {
        let told = |addresses: &[SocketAddr]| addresses.iter().map(|at| Address::from(*at)).collect();
        self.mailboxes.meetings.own = addresses.map(told);
    }

    /// Has a service tell a device where this one can be dialled, and ask it for the same: [`Event::Introduced`] brings
    /// the answer, [`Event::NotIntroduced`] says why there is none. Both have to have named one another to the service
    /// ([`Endpoint::discover`]).
    ///
    /// Errors: `NotLinked` without a link of generation 7 with a mailbox that is used, or if this device takes no part
    /// in introductions; `NotMember` for a device that is neither vouched for nor a member of a session; `Revoked`,
    /// `SelfTarget`.
    pub fn introduce(&mut self, now: Instant, service: DeviceId, to: DeviceId) -> Result<(), UsageError> {
        self.running()?;
        if to == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        self.not_revoked(&to)?;
        let link = self.peers.get(&service).filter(|peer| peer.generation >= Generation::V7);
        if link.is_none() || !self.is_mailbox(&service) || self.mailboxes.meetings.own.is_none() {
            return Err(UsageError::NotLinked);
        }
        if !self.is_acquainted(&to) {
            return Err(UsageError::NotMember);
        }
        let (nonce, until) = (self.fresh.nonce(), now.after(MEET_WAIT));
        self.mailboxes.meetings.made.insert(to, Made { service, nonce, until });
        self.mailboxes.meetings.awaited.insert(to, until);
        self.sign_introduction(service, to, nonce, None);
        Ok(())
    }

    /// A link with this device may be there in a moment: content that it takes in over that isn't put into mailboxes
    /// meanwhile, for [`MEET_WAIT`] at most (SERVICE-CONTENT-1).
    pub fn expect_link(&mut self, now: Instant, device: DeviceId) {
        self.mailboxes.meetings.awaited.insert(device, now.after(MEET_WAIT));
    }
}

/// Queries.
impl Endpoint {
    /// The devices that this one may meet by a service's introduction: those that it vouches for, those of its account,
    /// and the members of its sessions, without revoked ones; ascending.
    pub fn acquaintances(&self) -> Vec<DeviceId> {
        let roster = self.own_roster().ok().into_iter().flat_map(|roster| roster.standing().members.keys());
        let kept = self.sessions.values().filter(|session| session.is_kept());
        let members = kept.flat_map(|session| session.chain().members().to_vec());
        let mut all: Vec<_> = self.trusted.iter().chain(roster).copied().chain(members).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|device| *device != self.config.device && !self.is_revoked(device));
        all
    }
}

/// Steps.
impl Endpoint {
    /// Whether a device that was introduced answered an own introduction, and has no link since.
    pub(super) fn has_answered(&self, device: &DeviceId) -> bool {
        self.mailboxes.meetings.answered.contains(device)
    }

    /// Whether a device may be met (SERVICE-MEET-5); if not, the code that says why.
    pub(super) fn may_meet(&self, device: &DeviceId) -> Result<(), Code> {
        match (self.is_revoked(device), self.is_acquainted(device)) {
            (true, _) => Err(Code::AUTH_REVOKED),
            (false, true) => Ok(()),
            (false, false) => Err(Code::AUTH_UNKNOWN_DEVICE),
        }
    }

    /// Whether a device is one that may be met: this one vouches for it, or it is a member of a session here.
    pub(super) fn is_acquainted(&self, device: &DeviceId) -> bool {
        let member = || self.sessions.values().any(|session| session.is_kept() && session.chain().is_member(device));
        self.vouches(device) || member()
    }

    fn sign_introduction(&mut self, service: DeviceId, to: DeviceId, nonce: Nonce, answers: Option<Nonce>) {
        let own = self.mailboxes.meetings.own.iter().flatten().take(crate::limits::MAX_ADDRESSES).cloned();
        let addresses = List::new(own.collect()).unwrap_or_default();
        let from = self.config.device;
        let introduction = Introduction { from, to, nonce, answers: answers.into(), addresses };
        let sign = self.out.sign(signing_bytes::<Introduction>(id_of::<Introduction>(&encode(&introduction))));
        self.mailboxes.signing.insert(sign, Signing::Introduction { service, introduction });
    }

    pub(super) fn introduction_signed(
        &mut self,
        now: Instant,
        service: DeviceId,
        introduction: Introduction,
        sig: Sig,
    ) {
        let Introduction { to, answers, .. } = introduction.clone();
        let Some(signed) = Signed::<Introduction>::from_parts(encode(&introduction), sig) else { return };
        let rules = self.config.rules;
        let sealed = seal::wrap_introduction(rules, &to, self.fresh.secret(), &encode(&signed)).and_then(Blob::new);
        // A key that is none of the curve is nobody's: there is no one to meet.
        let Some(sealed) = sealed else { return };
        let req = self.fresh.request();
        self.mailboxes.meetings.asked.insert((service, req), answers.is_empty().then_some(to));
        self.send(now, service, self.durable, &Introduce { req, to, sealed, ext: Exts::empty() }.into());
    }

    /// A service passed an own introduction on.
    pub(in crate::endpoint) fn on_introduce_ok(&mut self, from: DeviceId, req: u32) {
        self.mailboxes.meetings.asked.remove(&(from, req));
    }

    /// An error in answer to an INTRODUCE; false if it was another's.
    pub(in crate::endpoint) fn introduce_refused(
        &mut self,
        now: Instant,
        from: DeviceId,
        req: u32,
        code: Code,
    ) -> bool {
        let Some(asked) = self.mailboxes.meetings.asked.remove(&(from, req)) else { return false };
        asked.into_iter().for_each(|to| self.not_met(to, code));
        self.put_content_again(now);
        true
    }

    /// Nobody answers an own introduction.
    fn not_met(&mut self, to: DeviceId, code: Code) {
        if let Some(Made { service, .. }) = self.mailboxes.meetings.made.remove(&to) {
            self.mailboxes.meetings.awaited.remove(&to);
            self.out.event(Event::NotIntroduced { service, peer: to, code });
        }
    }

    /// A device has a link.
    pub(in crate::endpoint) fn meeting_linked(&mut self, device: &DeviceId) {
        self.mailboxes.meetings.met(device);
    }

    /// The link with a service is gone, and what it had to pass on.
    pub(super) fn meetings_down(&mut self, service: &DeviceId) {
        let meetings = &mut self.mailboxes.meetings;
        meetings.asked.retain(|(of, _), _| of != service);
        meetings.opening.retain(|_, (of, _)| of != service);
        let lost: Vec<_> =
            meetings.made.iter().filter(|(_, made)| made.service == *service).map(|(to, _)| *to).collect();
        lost.into_iter().for_each(|to| self.not_met(to, Code::LINK_LOST));
    }

    /// Devices that were waited for long enough; true if there are some.
    pub(super) fn time_meetings(&mut self, now: Instant) -> bool {
        let meetings = &mut self.mailboxes.meetings;
        let late: Vec<_> = meetings.made.iter().filter(|(_, made)| made.until <= now).map(|(to, _)| *to).collect();
        let before = meetings.awaited.len();
        meetings.awaited.retain(|_, until| *until > now);
        let changed = meetings.awaited.len() != before;
        late.into_iter().for_each(|to| self.not_met(to, Code::SERVICE_AWAY));
        changed
    }

    /// The code of a link that was dialled for a device and leads to another (SERVICE-MEET-11).
    pub(in crate::endpoint) fn mismatch(&self, expect: Option<DeviceId>, violation: Violation) -> Violation {
        let introduced = expect.is_some_and(|device| self.mailboxes.meetings.dialled.contains(&device));
        let wrong = violation.clause == Clause::LINK_AUTH_4 && introduced;
        match wrong && self.config.rules.keeps(Clause::SERVICE_MEET_11) {
            true => Violation::new(Code::SVC_TARGET_MISMATCH, Clause::SERVICE_MEET_11),
            false => violation,
        }
    }

    /// INTRODUCED of a service.
    pub(in crate::endpoint) fn on_introduced(&mut self, now: Instant, service: DeviceId, message: Introduced) {
        if self.mailboxes.meetings.own.is_none() || !self.is_mailbox(&service) {
            return;
        }
        let Introduced { from, sealed, .. } = message;
        let wrapped = Wrapped { device: self.config.device, envelope: sealed.into_vec() };
        if let Err(violation) = self.may_open(now, service, &from, &wrapped) {
            return self.out.event(Event::Violation { peer: service, session: None, violation });
        }
        self.mailboxes.unwrapped += 1;
        let id = UnwrapId(self.mailboxes.unwrapped);
        self.mailboxes.meetings.opening.insert(id, (service, from));
        self.mailboxes.unwraps.push_back(UnwrapRequest { id, wrapped });
    }

    /// What can be said of an introduction before it costs anything.
    fn may_open(
        &mut self,
        now: Instant,
        service: DeviceId,
        from: &DeviceId,
        wrapped: &Wrapped,
    ) -> Result<(), Violation> {
        let rules = self.config.rules;
        let met = self.may_meet(from);
        rules.ensure(Clause::SERVICE_MEET_5, met.is_ok(), met.err().unwrap_or(Code::AUTH_UNKNOWN_DEVICE))?;
        rules.ensure(Clause::SERVICE_MEET_6, wrapped.is_introduction(), Code::SERVICE_ENVELOPE)?;
        let came = self.mailboxes.meetings.came.entry(service).or_default();
        while came.front().is_some_and(|at| now.since(*at) >= INTRODUCTION_WINDOW) {
            came.pop_front();
        }
        rules.ensure(Clause::SERVICE_MEET_10, came.len() < MAX_INTRODUCTIONS, Code::LIMIT_OFFERS)?;
        came.push_back(now);
        Ok(())
    }

    /// An introduction was opened, or couldn't be; false if it was another envelope.
    pub(super) fn introduction_opened(&mut self, now: Instant, id: UnwrapId, plain: Option<&Vec<u8>>) -> bool {
        let Some((service, from)) = self.mailboxes.meetings.opening.remove(&id) else { return false };
        if let Err((peer, violation)) = self.take_introduction(now, service, from, plain) {
            self.out.event(Event::Violation { peer: peer.unwrap_or(service), session: None, violation });
        }
        true
    }

    fn take_introduction(
        &mut self,
        now: Instant,
        service: DeviceId,
        named: DeviceId,
        plain: Option<&Vec<u8>>,
    ) -> Result<(), Bad> {
        let rules = self.config.rules;
        let nobody = |violation| (None, violation);
        let plain = plain.ok_or(nobody(Violation::new(Code::SERVICE_ENVELOPE, Clause::SERVICE_MEET_6)))?;
        let signed = decode::<Signed<Introduction>>(rules, plain).map_err(nobody)?;
        let proven = signed.prove(rules, |it: &Introduction| it.from).map_err(nobody)?;
        let Introduction { from, to, nonce, answers, addresses } = proven.body().clone();
        let by = |violation| (Some(from), violation);
        let right = from == named && to == self.config.device;
        rules.ensure(Clause::SERVICE_MEET_6, right, Code::SVC_TARGET_MISMATCH).map_err(by)?;
        let meetings = &mut self.mailboxes.meetings;
        let asked = |answer: &Nonce| meetings.made.get(&named).is_some_and(|made| made.nonce == *answer);
        let fits = answers.get().is_none_or(asked);
        let new = meetings.is_new(named, nonce);
        rules.ensure(Clause::SERVICE_MEET_7, fits && new, Code::SERVICE_ENVELOPE).map_err(by)?;
        if !answers.is_empty() {
            meetings.made.remove(&named);
            meetings.answered.insert(named);
        }
        meetings.awaited.insert(named, now.after(MEET_WAIT));
        meetings.dialled.insert(named);
        let some = |address: &Address| match rules.keeps(Clause::SERVICE_MEET_9) {
            true => address.to_socket(),
            false => Some(SocketAddr::new((*address.ip.as_bytes()).into(), address.port)),
        };
        let addresses = addresses.iter().filter_map(some).collect();
        self.out.event(Event::Introduced { service, peer: named, addresses });
        // An answer is no question (SERVICE-MEET-8): two devices would answer one another without end.
        if answers.is_empty() == rules.keeps(Clause::SERVICE_MEET_8) {
            let own = self.fresh.nonce();
            self.sign_introduction(service, named, own, Some(nonce));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_introductions_of_a_device_are_remembered() {
        let (from, nonce) = (DeviceId::new([1; 32]), |n: usize| Nonce::new([n as u8; 16]));
        let mut meetings = Meetings::default();
        assert!((0..MAX_MET).all(|n| meetings.is_new(from, nonce(n))));
        assert!((0..MAX_MET).all(|n| !meetings.is_new(from, nonce(n))), "each counts once");
        assert!(meetings.is_new(DeviceId::new([2; 32]), nonce(0)), "another device's");
        assert!(meetings.is_new(from, nonce(MAX_MET)));
        assert!(!meetings.is_new(from, nonce(1)));
        assert!(meetings.is_new(from, nonce(0)), "the oldest is forgotten");
    }
}
