//! What devices ask of the service, or tell it, of a session in custody.

use alloc::vec::Vec;

use super::{Around, Custody, Frozen, Lease, Offered, Plan, Set, Waiting};
use crate::Code;
use crate::clause::Clause;
use crate::generations::Generation;
use crate::handoff::ProvenAck;
use crate::handoff::ttl::honoured;
use crate::limits::MAX_WANTS;
use crate::wire::codec::encode;
use crate::wire::{Cancel, Cas, Decline, DeviceId, Exts, Final, Hash, Have, Kind, Offer, Proven, Record, Renew, Want};

/// What the owner asks.
impl Custody {
    /// FREEZE, whose FINAL the head's owner signed.
    pub fn on_freeze(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, to: DeviceId, end: Proven<Final>) {
        if let Err(code) = self.judge(around, from, &end.body().parent) {
            return self.refuse_with_head(around, from, req, &end.body().parent, code);
        }
        self.delivered(around);
        self.frozen = Some(Frozen { to, end });
        self.consider(around);
    }

    /// RENEW: the owner is there, and wants a lease.
    pub fn on_renew(&mut self, around: &mut Around<'_>, from: DeviceId, renew: &Renew) {
        if let Err(code) = self.judge(around, from, &renew.head) {
            return self.refuse_with_head(around, from, renew.req, &renew.head, code);
        }
        self.delivered(around);
        let ttl = u64::from(renew.ttl).saturating_mul(1_000).min(around.lease);
        // A record that is being signed stands or falls by itself.
        let before = self.lease.map_or(0, |lease| lease.ttl);
        self.lease = (ttl > 0).then(|| Lease { ttl, ends: around.now.after(ttl), over: false });
        if ttl != before {
            self.set(around, Vec::new(), None, Some(ttl));
        }
        let ttl = u32::try_from(ttl / 1_000).unwrap_or(u32::MAX);
        let (req, session, head) = (renew.req, self.session(), self.head().id());
        self.tell(around, from, Renew { req, session, head, ttl, ext: Exts::empty() });
    }

    /// DELEGATE: the owner asks for a record that names another grantor, or, if it froze, for one that lets it go on.
    pub fn on_delegate(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, parent: &Hash, grantor: DeviceId) {
        // Without SERVICE-GRANTOR-7 whatever record is named is continued, the head or not.
        let free = !around.rules.keeps(Clause::SERVICE_GRANTOR_7) && self.chain.get(parent).is_some();
        if let Err(code) = if free { Ok(()) } else { self.judge(around, from, parent) } {
            return self.refuse_with_head(around, from, req, parent, code);
        }
        self.delivered(around);
        if self.signing.is_some() {
            // What is being signed decides; its HEAD, or the next DELEGATE, tells.
            return;
        }
        let behind = self.chain.get(parent).unwrap_or(self.head());
        let mut record = self.record_behind(behind, Kind::Delegate, from, grantor);
        record.want = behind.body().want;
        record.roster = if grantor == self.me { around.tenure } else { Hash::ZERO };
        self.sign(around, record, Plan::Delegate { req });
    }

    /// OFFER, which the owner signed, for a device that it may not meet.
    pub fn on_offer(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, offer: Proven<Offer>, ext: Exts) {
        let parent = offer.body().parent;
        let judged = self.judge(around, from, &parent);
        let own = || around.rules.ensure(Clause::HO_OFFER_1, offer.body().source == from, Code::HO_NOT_OWNER);
        if let Err(code) = judged.and_then(|()| own().map_err(|why| why.code)) {
            return self.refuse_with_head(around, from, req, &parent, code);
        }
        self.delivered(around);
        let expires = around.now.after(honoured(offer.body().ttl));
        self.offer = Some(Offered { offer, ext, req, expires, shown: None });
        self.show_offer(around);
    }

    /// Whether the head's owner asks for something under the head, of its grantor.
    fn judge(&self, around: &Around<'_>, from: DeviceId, parent: &Hash) -> Result<(), Code> {
        self.grants(around.rules)?;
        let must = |holds, code| around.rules.ensure(Clause::SERVICE_GRANTOR_2, holds, code).map_err(|why| why.code);
        must(*parent == self.head().id(), Code::HO_STALE_PARENT)?;
        must(from == self.owner(), Code::HO_NOT_OWNER)?;
        self.serves(around)
    }

    /// The head's owner acts under it, so it has what made it the owner.
    fn delivered(&mut self, around: &mut Around<'_>) {
        let head = self.head().id();
        if self.delivery.take_if(|delivery| delivery.record == head).is_some() {
            self.set(around, Vec::new(), Some(Vec::new()), None);
        }
    }
}

/// What any device asks.
impl Custody {
    /// A WANT whose signature was verified.
    pub fn on_want(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, want: Proven<Want>) {
        if self.repeat(around, from, req, &want) {
            return;
        }
        if let Err(code) = self.judge_want(around, from, want.body()) {
            return self.refuse_with_head(around, from, req, &want.body().parent, code);
        }
        let expires = around.now.after(honoured(want.body().ttl));
        let generation = around.generation(&from);
        self.wants.insert(from, Waiting { want, req, expires, generation, shown: None });
        self.consider(around);
    }

    /// CAS of a device: the record follows the head, or is it already.
    pub fn on_cas(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, record: Proven<Record>) {
        let (id, parent, head) = (record.id(), record.body().parent, self.head().id());
        if id != head {
            let follows = parent == head || !around.rules.keeps(Clause::SERVICE_CAS_3);
            if !follows || self.chain.get(&id).is_some() {
                return self.refuse_with_head(around, from, req, &parent, Code::HO_STALE_PARENT);
            }
            let bytes = encode(record.signed());
            match self.chain.admit(around.rules, record) {
                Err(why) => return self.refuse(around, from, req, why.code),
                Ok(_) => self.moved(around, &head, alloc::vec![bytes], Some(from), None),
            }
        }
        let Some(record) = self.chain.get(&id).map(|record| record.signed().clone()) else { return };
        let tenure = around.tenure;
        self.tell(around, from, Cas { req, record, want: None.into(), tenure, ext: Exts::empty() });
    }

    /// A piece of a device's chain, its signatures verified, and perhaps an acknowledgement.
    pub fn on_head(
        &mut self,
        around: &mut Around<'_>,
        from: DeviceId,
        records: Vec<Proven<Record>>,
        more: bool,
        ack: Option<ProvenAck>,
    ) {
        let (before, theirs) = (self.head().id(), records.last().map(Proven::id));
        let mut new = Vec::new();
        for record in records {
            let bytes = encode(record.signed());
            match self.chain.admit(around.rules, record) {
                Ok(admitted) if admitted.new => new.push(bytes),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let acked = ack.is_some_and(|ack| self.delivery.as_ref().is_some_and(|it| it.record == ack.record));
        if acked {
            self.delivery = None;
        }
        let cleared = acked.then(Vec::new);
        if self.head().id() != before {
            self.moved(around, &before, new, Some(from), cleared);
        } else if !new.is_empty() || acked {
            self.set(around, new, cleared, None);
        }
        let Some(theirs) = theirs.filter(|theirs| !more && *theirs != self.head().id()) else { return };
        if self.chain.get(&theirs).is_some() && around.rules.keeps(Clause::HO_HEAD_2) {
            self.tell_head(around, from, &theirs);
        }
    }

    /// HAVE: the head that a device has. It has just linked, as like as not: whatever waits for it is told again.
    pub fn on_have(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, theirs: &Hash) {
        let head = self.head().id();
        let known = theirs.is_zero() || self.chain.get(theirs).is_some();
        if known && *theirs != head {
            self.tell_head(around, from, theirs);
        }
        if req != 0 || !known {
            let req = if known { 0 } else { around.next_req() };
            let session = self.session();
            self.tell(around, from, Have { req, session, head, data: None.into(), ext: Exts::empty() });
        }
        if self.delivery.as_ref().is_some_and(|delivery| delivery.to == from) {
            self.deliver_again(around);
        }
        if let Some(offer) = self.offer.as_mut().filter(|offer| offer.offer.body().target == from) {
            offer.shown = None;
        }
        if from == self.owner() {
            self.wants.values_mut().for_each(|waiting| waiting.shown = None);
        }
        self.show_offer(around);
        self.consider(around);
    }

    /// DECLINE: the owner says no to a WANT, or the target to an OFFER. The other is told.
    pub fn on_decline(&mut self, around: &mut Around<'_>, from: DeviceId, no: Decline) {
        let subject = no.subject;
        // With what its user says (SERVICE-SHOW-2).
        let ext = if around.rules.keeps(Clause::SERVICE_SHOW_2) { no.ext } else { Exts::empty() };
        let wanted = self.wants.iter().find(|(_, waiting)| waiting.want.id() == subject).map(|(device, _)| *device);
        if let Some(target) = wanted.filter(|_| from == self.owner()) {
            return self.decline_want(around, &target, no.code.into(), ext);
        }
        let answers = |offer: &Offered| offer.offer.id() == subject && offer.offer.body().target == from;
        if self.offer.take_if(|offer| answers(offer)).is_some() {
            self.tell(around, self.owner(), Decline { session: self.session(), ext, ..no });
        }
    }

    /// CANCEL: the owner withdraws its OFFER, or a target its WANT. The other is told.
    pub fn on_cancel(&mut self, around: &mut Around<'_>, from: DeviceId, subject: Hash, code: Code) {
        let session = self.session();
        let cancel = |code: Code| Cancel { session, subject, code: code.into(), ext: Exts::empty() };
        if from == self.owner() {
            if let Some(offer) = self.offer.take_if(|offer| offer.offer.id() == subject) {
                self.tell(around, offer.offer.body().target, cancel(code));
            }
            return;
        }
        let waiting = match self.wants.get(&from) {
            Some(waiting) if waiting.want.id() == subject => self.wants.remove(&from),
            _ => None,
        };
        if waiting.is_some_and(|waiting| waiting.shown.is_some()) {
            self.tell(around, self.owner(), cancel(code));
        }
        let going = |signing: &super::Signing| signing.record.owner == from;
        let granted =
            self.delivery.as_ref().is_some_and(|it| it.to == from) || self.signing.as_ref().is_some_and(going);
        if !granted && self.grants(around.rules).is_ok() && around.rules.keeps(Clause::HO_CANCEL_2) {
            let code = Code::HO_CANCELLED.into();
            self.tell(around, from, Decline { session, subject, code, ext: Exts::empty() });
        }
    }

    /// ERROR in answer to a WANT or an OFFER that was passed on: whose it is gets the answer.
    pub fn on_error(&mut self, around: &mut Around<'_>, from: DeviceId, req: u32, code: Code) {
        let shown = |waiting: &Waiting| waiting.shown == Some(req);
        let wanted = self.wants.iter().find(|(_, waiting)| shown(waiting)).map(|(device, _)| *device);
        if let Some(target) = wanted.filter(|_| from == self.owner() && code != Code::HO_STALE_PARENT) {
            let req = self.wants.remove(&target).map_or(0, |waiting| waiting.req);
            return self.refuse(around, target, req, code);
        }
        let answers = |offer: &Offered| offer.shown == Some(req) && offer.offer.body().target == from;
        if let Some(offer) = self.offer.take_if(|offer| answers(offer)) {
            self.refuse(around, self.owner(), offer.req, code);
        }
    }

    fn judge_want(&self, around: &Around<'_>, from: DeviceId, want: &Want) -> Result<(), Code> {
        let must = |clause, holds, code| around.rules.ensure(clause, holds, code).map_err(|why| why.code);
        must(Clause::HO_WANT_2, want.target == from, Code::HO_TOKEN_WRONG_PEER)?;
        self.grants(around.rules)?;
        must(Clause::HO_WANT_1, want.parent == self.head().id(), Code::HO_STALE_PARENT)?;
        self.serves(around)?;
        let room = self.wants.len() < MAX_WANTS || self.wants.contains_key(&from);
        match (from == self.owner(), room) {
            (true, _) => Err(Code::HO_NOT_OWNER),
            (false, false) => Err(Code::LIMIT_ROOM),
            (false, true) => Ok(()),
        }
    }

    /// A target whose WANT was granted asks again: so is it told again. False if that isn't so.
    fn repeat(&mut self, around: &mut Around<'_>, from: DeviceId, _req: u32, want: &Proven<Want>) -> bool {
        let again = self.delivery.as_ref().is_some_and(|it| it.to == from && it.parent == want.body().parent);
        if again {
            self.deliver(around);
        }
        again
    }

    /// Forgets a WANT and tells whoever waits for it.
    pub(super) fn drop_want(&mut self, around: &mut Around<'_>, device: &DeviceId, code: Code) {
        self.decline_want(around, device, code, Exts::empty());
    }

    /// The same, with what the owner's user says.
    fn decline_want(&mut self, around: &mut Around<'_>, device: &DeviceId, code: Code, ext: Exts) {
        let Some(waiting) = self.wants.remove(device) else { return };
        let (session, subject) = (self.session(), waiting.want.id());
        if self.signing.as_ref().is_some_and(|signing| signing.record.owner == *device) {
            // The record by which it owns is its answer.
            return;
        }
        match code {
            Code::HO_STALE_PARENT => {
                self.refuse_with_head(around, *device, waiting.req, &waiting.want.body().parent, code);
            }
            _ if around.generation(device) < Generation::V1_7 => self.refuse(around, *device, waiting.req, code),
            _ => self.tell(around, *device, Decline { session, subject, code: code.into(), ext }),
        }
    }

    /// A change under the same head.
    pub(super) fn set(
        &self,
        around: &mut Around<'_>,
        records: Vec<Vec<u8>>,
        grant: Option<Vec<u8>>,
        lease: Option<u64>,
    ) {
        let (by, session, head) = (self.by, self.session(), self.head().id());
        around.acts.sets.push(Set { by, session, expect: head, head, records, grant, lease });
    }
}
