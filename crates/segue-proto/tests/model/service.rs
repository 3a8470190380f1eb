//! A service in the model: it has the session in custody, by the code that a service runs.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::handoff::ProvenAck;
use segue_proto::service::custody::{Acts, Around, Custody, Kept, Set};
use segue_proto::wire::{
    Cas, DeviceId, Exts, Freeze, Hash as Id, Head, Message, OfferMsg, Proven, Record, Sig, WantMsg,
};
use segue_proto::{Clause, Generation, Instant, Rules};

use crate::laws;
use crate::world::{DEVICES, Known, World, key, number};

/// The service's number, behind those of the devices.
pub(crate) const SERVICE: u8 = DEVICES as u8;

/// How long an owner may be silent, in microseconds. It ends before a WANT does, which lives for a millisecond.
const LEASE: u64 = 500;

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    pub(crate) custody: Known<Custody>,
    pub(crate) disk: Known<Kept>,
    pub(crate) pending: Vec<Set>,
    pub(crate) held: BTreeSet<(u8, Known<Message>)>,
    /// A copy of the disk that somebody may put back.
    pub(crate) backup: Option<Known<Kept>>,
    pub(crate) tenure: Id,
    /// Its clock, which stands still but for leases.
    pub(crate) now: Instant,
}

impl Service {
    /// A service that was delegated to by device 0, which has a lease.
    pub(crate) fn new(rules: Rules, records: &[Proven<Record>], tenure: Id) -> Service {
        let head = records.last().map_or(Id::ZERO, Proven::id);
        let encode = |record: &Proven<Record>| segue_proto::wire::codec::encode(record.signed());
        let records = records.iter().map(encode).collect();
        let kept = Kept { head, records, grant: Vec::new(), lease: LEASE };
        let custody = Custody::restore(key(SERVICE), rules, Instant::ZERO, &kept).expect("a chain");
        let disk = Known::new(kept);
        let (pending, held) = Default::default();
        Service {
            custody: Known::new(custody),
            backup: Some(disk.clone()),
            disk,
            pending,
            held,
            tenure,
            now: Instant::ZERO,
        }
    }
}

impl World {
    /// A message arrives at the service.
    pub(crate) fn deliver_to_service(&mut self, rules: Rules, from: u8, message: Message) {
        let from = key(from);
        match message {
            Message::Want(WantMsg { req, want, .. }) => {
                let Ok(body) = want.open(rules) else { return };
                self.serve(rules, |it, around| it.on_want(around, from, req, Proven::assume(body)));
            }
            Message::Offer(OfferMsg { req, offer, .. }) => {
                let Ok(body) = offer.open(rules) else { return };
                self.serve(rules, |it, around| it.on_offer(around, from, req, Proven::assume(body), Exts::empty()));
            }
            Message::Freeze(Freeze { req, to, end, .. }) => {
                let Ok(body) = end.open(rules) else { return };
                self.serve(rules, |it, around| it.on_freeze(around, from, req, to, Proven::assume(body)));
            }
            Message::Delegate(it) => {
                self.serve(rules, |custody, around| {
                    custody.on_delegate(around, from, it.req, &it.parent, it.grantor);
                });
            }
            Message::Head(Head { records, more, ack, .. }) => {
                let proven: Vec<_> = records.iter().filter_map(|r| r.open(rules).ok()).map(Proven::assume).collect();
                let ack = ack.get().and_then(|ack| {
                    let by = proven.iter().find(|r: &&Proven<Record>| r.id() == ack.record)?.body().owner;
                    (by == from).then_some(ProvenAck { record: ack.record, by, sig: ack.sig })
                });
                self.serve(rules, |it, around| it.on_head(around, from, proven, more, ack));
            }
            Message::Cas(Cas { req, record, .. }) => {
                let Ok(body) = record.open(rules) else { return };
                self.serve(rules, |it, around| it.on_cas(around, from, req, Proven::assume(body)));
            }
            Message::Decline(it) => {
                self.serve(rules, |custody, around| {
                    custody.on_decline(around, from, it);
                });
            }
            Message::Cancel(it) => {
                self.serve(rules, |custody, around| {
                    custody.on_cancel(around, from, it.subject, it.code.into());
                });
            }
            _ => {}
        }
    }

    /// The owner's lease runs out.
    pub(crate) fn lapse(&mut self, rules: Rules) {
        if let Some(service) = &mut self.service {
            service.now = service.now.after(LEASE);
        }
        self.serve(rules, |it, around| it.on_timeout(around));
    }

    /// The service's disk catches up: what waited for it leaves.
    pub(crate) fn sync_service(&mut self, rules: Rules) {
        let Some(service) = &mut self.service else { return };
        for set in std::mem::take(&mut service.pending) {
            service.disk.edit(|kept| {
                kept.head = set.head;
                kept.records.extend(set.records);
                kept.grant = set.grant.unwrap_or(std::mem::take(&mut kept.grant));
                kept.lease = set.lease.unwrap_or(kept.lease);
            });
        }
        for (to, message) in std::mem::take(&mut service.held) {
            self.leave_service(rules, to, message);
        }
    }

    /// The service loses what isn't synced, and starts again.
    pub(crate) fn crash_service(&mut self, rules: Rules) {
        let Some(service) = &mut self.service else { return };
        (service.pending, service.held) = Default::default();
        match Custody::restore(key(SERVICE), rules, service.now, &service.disk) {
            Ok(custody) => service.custody = Known::new(custody),
            Err(_) => self.note(Err("6: a service's disk that doesn't open")),
        }
    }

    /// Somebody puts an old copy of the service's disk back, and it notices.
    pub(crate) fn restore_service(&mut self, rules: Rules) {
        let Some(service) = &mut self.service else { return };
        let Some(backup) = service.backup.take() else { return };
        service.disk = backup;
        service.tenure = Id::new([0x77; 32]);
        self.crash_service(rules);
    }

    fn serve(&mut self, rules: Rules, step: impl FnOnce(&mut Custody, &mut Around<'_>)) {
        let Some(service) = &mut self.service else { return };
        let mut custody = Custody::clone(&service.custody);
        let linked: BTreeMap<DeviceId, Generation> = (0..SERVICE).map(|at| (key(at), Generation::V7)).collect();
        let (mut req, mut acts, tenure, now) = (0, Acts::default(), service.tenure, service.now);
        let mut around = Around { now, rules, tenure, lease: LEASE, linked: &linked, req: &mut req, acts: &mut acts };
        step(&mut custody, &mut around);
        while let Some((record, _)) = around.acts.signs.pop() {
            custody.on_signed(&mut around, record, Sig::ZERO);
        }
        service.custody = Known::new(custody);
        service.pending.extend(acts.sets);
        let waits = !service.pending.is_empty() && rules.keeps(Clause::SERVICE_CAS_2);
        for (to, message) in acts.tells {
            let Some(to) = number(&to) else { continue };
            match &mut self.service {
                Some(service) if waits => drop(service.held.insert((to, Known::new(message)))),
                _ => self.leave_service(rules, to, Known::new(message)),
            }
        }
        // Where no crash can come any more, when the disk catches up makes no difference.
        if self.budget.fall == 0 {
            self.sync_service(rules);
        }
    }

    fn leave_service(&mut self, rules: Rules, to: u8, message: Known<Message>) {
        self.note(laws::leaving_service(rules, self, to, &message));
        self.post(SERVICE, to, message);
    }
}
