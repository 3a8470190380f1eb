//! What a service that keeps a session in custody must hold to, judged by what it keeps, tells, and asks to be signed.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::service::custody::{Custody, Kept};
use segue_proto::wire::codec::decode;
use segue_proto::wire::{DeviceId, Final, Grant, Hash, Held, Kind, Message, Proven, Record, SessionId, Signed, Want};
use segue_proto::{Instant, Rules};

/// What was seen of a service and of what it was told.
pub(super) struct Laws {
    session: SessionId,
    members: BTreeSet<DeviceId>,
    head: Option<Hash>,
    /// Everything that it keeps.
    kept: BTreeMap<Hash, Proven<Record>>,
    /// What it signed under each parent.
    signed: BTreeMap<Hash, Hash>,
    /// The lease that was given last, and when it began.
    lease: Option<(u64, Instant)>,
    /// For each record that was to be signed, whether the owner's lease had run out.
    over: BTreeMap<Hash, bool>,
    /// What owners froze: under which record, for whom, and the FINAL.
    frozen: Vec<(Hash, DeviceId, Hash)>,
    wants: BTreeMap<Hash, Want>,
    /// Devices that somebody chose, or that may know of the session by other means.
    chosen: BTreeSet<DeviceId>,
}

impl Laws {
    pub(super) fn new(session: SessionId, members: BTreeSet<DeviceId>) -> Laws {
        Laws {
            session,
            members,
            head: None,
            kept: BTreeMap::new(),
            signed: BTreeMap::new(),
            lease: None,
            over: BTreeMap::new(),
            frozen: Vec::new(),
            wants: BTreeMap::new(),
            chosen: BTreeSet::new(),
        }
    }

    pub(super) fn head(&self) -> Option<Hash> {
        self.head
    }

    /// A record that the service keeps.
    pub(super) fn record(&self, id: &Hash) -> Option<&Proven<Record>> {
        self.kept.get(id)
    }

    /// Owners are given their time anew.
    pub(super) fn restarted(&mut self, now: Instant) {
        self.lease = self.lease.map(|(ttl, _)| (ttl, now));
        self.over.clear();
    }

    /// A device says something.
    pub(super) fn said(&mut self, from: DeviceId, message: &Message) {
        match message {
            Message::Freeze(it) => {
                if let Ok(end) = it.end.clone().prove(Rules::ALL, |_: &Final| from) {
                    self.frozen.push((end.body().parent, it.to, end.id()));
                    self.chosen.insert(it.to);
                }
            }
            Message::Want(it) => {
                if let Ok(want) = it.want.clone().prove(Rules::ALL, |want: &Want| want.target) {
                    self.wants.insert(want.id(), want.body().clone());
                }
            }
            Message::Offer(it) => self.chosen.extend(it.offer.open(Rules::ALL).map(|offer| offer.target)),
            _ => {}
        }
    }

    /// What the service keeps now: it can be read, and nothing that was kept is gone.
    pub(super) fn keeps(&mut self, now: Instant, kept: Option<&Kept>, service: &DeviceId) {
        let Some(kept) = kept else {
            assert!(self.kept.is_empty(), "a session is gone");
            return;
        };
        if let Err(why) = Custody::restore(*service, Rules::ALL, now, kept) {
            panic!("what is kept can't be read: {why}");
        }
        if self.kept.len() < kept.records.len() || self.head != Some(kept.head) {
            let records = kept.records.iter().filter_map(|bytes| {
                let signed: Signed<Record> = decode(Rules::ALL, bytes).ok()?;
                signed.prove(Rules::ALL, |record: &Record| record.signer).ok()
            });
            let records: BTreeMap<_, _> = records.map(|record| (record.id(), record)).collect();
            assert_eq!(records.len(), kept.records.len(), "each record is kept once, with its signature");
            assert!(self.kept.keys().all(|id| records.contains_key(id)), "a record is gone");
            let before = std::mem::replace(&mut self.kept, records.clone());
            for (id, record) in records.iter().filter(|(id, _)| !before.contains_key(id)) {
                self.comes(*id, record.body(), service);
            }
            self.lease = self.lease.map(|(ttl, _)| (ttl, now)).filter(|_| kept.lease > 0);
        }
        self.head = Some(kept.head);
    }

    /// A record is kept that wasn't before.
    fn comes(&mut self, id: Hash, record: &Record, service: &DeviceId) {
        self.chosen.extend([record.owner, record.grantor]);
        if record.signer != *service {
            return;
        }
        let first = *self.signed.entry(record.parent).or_insert(id);
        assert_eq!(first, id, "a service signed two records under one parent");
        if record.kind == Kind::Takeover.number() {
            assert_eq!(self.over.get(&id), Some(&true), "a takeover from an owner whose lease runs");
        }
    }

    /// The service asks for a record's signature, under the head.
    pub(super) fn signs(&mut self, now: Instant, record: Hash, tenure: &Hash, service: &DeviceId) {
        let over = self.lease.is_some_and(|(ttl, since)| ttl > 0 && now.since(since) >= ttl);
        self.over.insert(record, over);
        let mut at = self.head;
        let delegate = loop {
            let Some(record) = at.and_then(|at| self.kept.get(&at)) else { break None };
            let body = record.body();
            if body.kind == Kind::Delegate.number() && body.grantor == *service && body.signer != *service {
                break Some(body.roster);
            }
            at = Some(body.parent);
        };
        assert_eq!(delegate, Some(*tenure), "a record is signed under a tenure that nobody delegated to");
    }

    /// The service tells a device something.
    pub(super) fn told(&mut self, now: Instant, to: &DeviceId, message: &Message) {
        let may_know = self.members.contains(to) || self.chosen.contains(to);
        assert!(may_know || matches!(message, Message::Error(_)), "{to:?} learns of the session");
        match message {
            Message::Grant(grant) => {
                self.is_kept(&grant.record);
                self.granted(to, grant);
            }
            Message::Cas(it) => self.is_kept(&it.record),
            Message::Head(it) => it.records.iter().for_each(|record| self.is_kept(record)),
            Message::Renew(it) => self.lease = Some((u64::from(it.ttl) * 1_000, now)),
            _ => {}
        }
    }

    /// What is told of was kept before (SERVICE-CAS-2).
    fn is_kept(&self, record: &Signed<Record>) {
        let of = record.open(Rules::ALL).map(|record| record.session);
        assert!(of != Ok(self.session) || self.kept.contains_key(&record.id()), "a record is told that isn't kept");
    }

    /// Somebody was granted to: the owner froze for just that device, which wanted it and holds what was frozen.
    fn granted(&self, to: &DeviceId, grant: &Grant) {
        let (Ok(record), Ok(end)) = (grant.record.open(Rules::ALL), grant.end.open(Rules::ALL)) else {
            panic!("a GRANT that can't be read")
        };
        let frozen = (record.parent, record.owner, grant.end.id());
        assert!(record.owner == *to && self.frozen.contains(&frozen), "nobody froze for {to:?}");
        let Some(want) = self.wants.get(&record.want) else { panic!("nobody wanted it so") };
        let held = Held { root: end.root, manifest: end.manifest };
        assert!(want.target == *to && want.parent == record.parent, "the WANT is another's, or of another time");
        assert_eq!(want.have.get(), Some(&held), "who is granted to doesn't hold what was frozen");
    }
}
