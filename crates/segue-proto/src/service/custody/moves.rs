//! How a session in custody moves: what is granted, when, and what follows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::stored::of_message;
use super::{Around, Custody, Lease, Plan, Set, Signing};
use crate::Code;
use crate::clause::Clause;
use crate::generations::Generation;
use crate::limits::RESEND_MAX;
use crate::wire::codec::encode;
use crate::wire::{
    Announced, Cas, DeviceId, Exts, Freeze, Grant, Hash, Have, Held, Kind, List, OfferMsg, Proven, Record, Sig,
    WantMsg, id_of, signing_bytes,
};

impl Custody {
    /// A signature that was asked for.
    pub fn on_signed(&mut self, around: &mut Around<'_>, id: Hash, sig: Sig) {
        let Some(Signing { record, plan, .. }) = self.signing.take_if(|signing| signing.id == id) else { return };
        let head = self.head().id();
        // Another record is the head by now, so this one was seen by nobody (SERVICE-GRANTOR-7).
        if record.parent != head && around.rules.keeps(Clause::SERVICE_GRANTOR_7) {
            return;
        }
        let owner = record.owner;
        let record = Proven::own(record, sig);
        let (signed, bytes) = (record.signed().clone(), encode(record.signed()));
        if self.chain.admit(around.rules, record).is_err() {
            return;
        }
        let (ext, tenure) = (Exts::empty(), around.tenure);
        let message = match plan {
            Plan::Grant { want, req, end } => {
                self.wants.remove(&owner);
                let (want, end) = (want.signed().clone(), end.signed().clone());
                Some(Grant { req, want, record: signed, end, ops: List::empty(), parts: List::empty(), ext }.into())
            }
            Plan::Takeover { want, req } => {
                self.wants.remove(&owner);
                let want = Some(want.signed().clone()).into();
                Some(Cas { req, record: signed, want, tenure, ext }.into())
            }
            Plan::Delegate { req } => {
                self.tell(around, owner, Cas { req, record: signed, want: None.into(), tenure, ext });
                None
            }
        };
        self.delivery = message.and_then(|message| of_message(around.now, message));
        let grant = self.delivery.as_ref().map(|delivery| delivery.message.to_frame()).unwrap_or_default();
        let but = Some(owner);
        self.moved(around, &head, alloc::vec![bytes], but, Some(grant));
        self.deliver(around);
    }

    /// Time passes.
    pub fn on_timeout(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        let gone: Vec<_> =
            self.wants.iter().filter(|(_, waiting)| waiting.expires <= now).map(|(device, _)| *device).collect();
        for device in gone {
            self.drop_want(around, &device, Code::HO_TIMEOUT);
        }
        self.offer.take_if(|offer| offer.expires <= now);
        if let Some(lease) = &mut self.lease {
            lease.over |= lease.ends <= now;
        }
        if let Some(delivery) = self.delivery.as_mut().filter(|delivery| delivery.resend <= now) {
            delivery.pause = delivery.pause.saturating_mul(2).min(RESEND_MAX);
            delivery.resend = now.after(delivery.pause);
            self.deliver_again(around);
        }
        self.consider(around);
    }

    /// Does what can be done for those who wait.
    pub(super) fn consider(&mut self, around: &mut Around<'_>) {
        if self.signing.is_some() || self.grants(around.rules).is_err() {
            return;
        }
        if self.grant(around) || self.take_over(around) {
            return;
        }
        self.show_wants(around);
    }

    /// Grants what the owner froze, if who may have it holds what that takes; else that one is told what it takes.
    fn grant(&mut self, around: &mut Around<'_>) -> bool {
        let Some(frozen) = self.frozen.clone() else { return false };
        let end = frozen.end.body();
        let chosen = |device: &DeviceId| *device == frozen.to || !around.rules.keeps(Clause::SERVICE_GRANTOR_3);
        let Some((to, waiting)) = self.wants.iter().find(|(device, _)| chosen(device)) else { return false };
        let (to, waiting) = (*to, waiting.clone());
        let wanted = Held { root: end.root, manifest: end.manifest };
        let holds = waiting.want.body().have.get() == Some(&wanted);
        if !holds && around.rules.keeps(Clause::SERVICE_GRANTOR_4) {
            self.show_final(around, to, &frozen.end);
            return false;
        }
        let below = waiting.generation < Generation::V7 && around.rules.keeps(Clause::SERVICE_GRANTOR_5);
        let mut record = self.next_record(Kind::Grant, to, if below { to } else { self.me });
        record.want = waiting.want.id();
        let plan = Plan::Grant { want: Box::new(waiting.want), req: waiting.req, end: Box::new(frozen.end) };
        self.sign(around, record, plan);
        true
    }

    /// Makes a device the owner whose owner's lease ran out (SERVICE-LEASE-2).
    fn take_over(&mut self, around: &mut Around<'_>) -> bool {
        if !self.lapsed(around) {
            return false;
        }
        let able = |generation: &Generation| *generation >= Generation::V7;
        let takers = self.wants.iter().filter(|(device, it)| self.chain.is_member(device) && able(&it.generation));
        let Some((to, waiting)) = takers.min_by_key(|(_, waiting)| waiting.expires) else { return false };
        let (to, waiting) = (*to, waiting.clone());
        let mut record = self.next_record(Kind::Takeover, to, self.me);
        record.want = waiting.want.id();
        record.term += 1;
        self.sign(around, record, Plan::Takeover { want: Box::new(waiting.want), req: waiting.req });
        true
    }

    /// Shows the owner the WANTs that it hasn't seen, so that it, or its user, decides.
    fn show_wants(&mut self, around: &mut Around<'_>) {
        let owner = self.owner();
        if !around.linked.contains_key(&owner) || self.frozen.is_some() {
            return;
        }
        let mut shown = Vec::new();
        for waiting in self.wants.values_mut().filter(|waiting| waiting.shown.is_none()) {
            let req = around.next_req();
            waiting.shown = Some(req);
            shown.push(WantMsg { req, want: waiting.want.signed().clone(), ext: Exts::empty() });
        }
        shown.into_iter().for_each(|message| self.tell(around, owner, message));
    }

    /// Shows the target the OFFER, if it hasn't seen it.
    pub(super) fn show_offer(&mut self, around: &mut Around<'_>) {
        let Some(offer) = self.offer.as_mut().filter(|offer| offer.shown.is_none()) else { return };
        let target = offer.offer.body().target;
        if around.linked.contains_key(&target) {
            let req = around.next_req();
            offer.shown = Some(req);
            let ext = if around.rules.keeps(Clause::SERVICE_SHOW_2) { offer.ext.clone() } else { Exts::empty() };
            let message = OfferMsg { req, offer: offer.offer.signed().clone(), ext };
            let genesis = Hash::ZERO;
            self.tell_head(around, target, &genesis);
            self.tell(around, target, message);
        }
    }

    /// Tells a target what it must hold.
    fn show_final(&self, around: &mut Around<'_>, to: DeviceId, end: &Proven<crate::wire::Final>) {
        let (ext, body) = (Exts::empty(), end.body());
        if around.generation(&to) >= Generation::V7 {
            return self.tell(around, to, Freeze { req: 0, to, end: end.signed().clone(), ext });
        }
        let data = Announced { root: body.root, manifest: body.manifest, manifest_len: body.manifest_len };
        let (session, head) = (self.session(), self.head().id());
        self.tell(around, to, Have { req: 0, session, head, data: Some(data).into(), ext });
    }

    /// Tells the new owner what made it the owner.
    pub(super) fn deliver(&self, around: &mut Around<'_>) {
        if let Some(delivery) = &self.delivery {
            self.tell(around, delivery.to, delivery.message.clone());
        }
    }

    /// The new owner may not have heard of it (SERVICE-GRANTOR-6).
    pub(super) fn deliver_again(&self, around: &mut Around<'_>) {
        if around.rules.keeps(Clause::SERVICE_GRANTOR_6) {
            self.deliver(around);
        }
    }

    /// The head is another: what hung on the old one is void.
    pub(super) fn moved(
        &mut self,
        around: &mut Around<'_>,
        before: &Hash,
        records: Vec<Vec<u8>>,
        but: Option<DeviceId>,
        grant: Option<Vec<u8>>,
    ) {
        let (by, session, head) = (self.by, self.session(), self.head().id());
        // What was to be delivered under an older head has nobody to wait for it any more.
        let stale = self.delivery.take_if(|delivery| delivery.record != head).is_some();
        let grant = grant.or_else(|| stale.then(Vec::new));
        around.acts.sets.push(Set { by, session, expect: *before, head, records, grant, lease: None });
        (self.frozen, self.offer) = (None, None);
        self.signing.take_if(|signing| signing.record.parent != head);
        // The new owner is given as long as the old one had.
        self.lease = self.lease.map(|lease| Lease { ends: around.now.after(lease.ttl), over: false, ..lease });
        let old: Vec<_> = self.wants.iter().filter(|(_, it)| it.want.body().parent != head).map(|(d, _)| *d).collect();
        for device in &old {
            self.drop_want(around, device, Code::HO_STALE_PARENT);
        }
        let told = |device: &DeviceId| Some(*device) == but || old.contains(device);
        let linked: Vec<_> = around.linked.keys().copied().collect();
        for device in linked.into_iter().filter(|device| !told(device) && self.may_know(device)) {
            self.tell_head(around, device, before);
        }
    }

    /// Asks for a record's signature.
    pub(super) fn sign(&mut self, around: &mut Around<'_>, record: Record, plan: Plan) {
        let id = id_of::<Record>(&encode(&record));
        around.acts.signs.push((id, signing_bytes::<Record>(id)));
        self.signing = Some(Signing { id, record, plan });
    }

    /// The record that would follow the head.
    pub(super) fn next_record(&self, kind: Kind, owner: DeviceId, grantor: DeviceId) -> Record {
        self.record_behind(self.head(), kind, owner, grantor)
    }

    pub(super) fn record_behind(
        &self,
        parent: &Proven<Record>,
        kind: Kind,
        owner: DeviceId,
        grantor: DeviceId,
    ) -> Record {
        Record {
            kind: kind.number(),
            session: self.session(),
            parent: parent.id(),
            term: parent.body().term,
            n: parent.body().n + 1,
            signer: self.me,
            owner,
            grantor,
            want: Hash::ZERO,
            roster: Hash::ZERO,
            genesis: None.into(),
        }
    }
}
