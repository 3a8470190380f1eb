//! The judge of a world: it knows nothing but what can be seen from outside, and checks it after every step.
//!
//! It sees the frames that devices send, the events that they tell, what they say of themselves, and which commands
//! they took. What it finds broken it books under the promise that was broken.

mod services;
mod states;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use segue_proto::wire::{DeviceId, Final, Hash, Kind, Message, PartId, Record, SessionId, Want, WantMode};
use segue_proto::{Event, HandoffId, Instant, Lsn, Rules, SessionRole};

use crate::device::{Command, Device, Reply, SessionState};
use services::Services;

/// A promise of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// One primary: one record a parent, one signer, heads that never fall, no writes by others.
    S1,
    /// Who is granted to holds the data.
    S2,
    /// Acknowledged writes survive.
    S3,
    /// Nothing is promised from unsynced state.
    S4,
    /// Duplicates, replays and old tokens change nothing.
    S5,
    /// An ownership on its way arrives once the faults end.
    L2,
    /// Every request ends.
    L3,
    /// Devices that meet agree on the owner: terms overlap until then, and no longer.
    Meeting,
}

/// Something broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What was promised.
    pub promise: Promise,
    /// When it showed.
    pub at: Instant,
    /// Where it showed.
    pub device: String,
    /// What showed.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken at {} by {}: {}", self.promise, self.at, self.device, self.what)
    }
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    names: Vec<(String, DeviceId)>,
    breaches: Vec<Breach>,
    books: BTreeMap<SessionId, Book>,
    /// What each device said of each session last, while it ran.
    last: BTreeMap<(usize, SessionId), SessionState>,
    /// The head that each device held when all it had written was synced.
    floors: BTreeMap<(usize, SessionId), Order>,
    requests: Vec<Request>,
    /// Requests that ask the application, by token: who asks.
    asked: BTreeMap<(usize, Hash), (SessionId, DeviceId)>,
    restored: BTreeSet<usize>,
    /// The folders that a device's user picked last.
    picks: BTreeMap<(usize, SessionId), Vec<String>>,
    failed: BTreeSet<usize>,
    /// The last batch that was durable in each run of each device.
    durable: BTreeMap<(usize, u32), Lsn>,
    services: Services,
}

/// A session, over all devices.
#[derive(Clone, Debug, Default)]
struct Book {
    /// A takeover was asked for or seen: terms may overlap, and branches may be lost.
    forked: bool,
    closed: bool,
    records: BTreeMap<Hash, (u64, u64)>,
    /// The parent of each record, and who signed it.
    signed: BTreeMap<Hash, (Hash, DeviceId)>,
    /// Whom each record makes the owner.
    owners: BTreeMap<Hash, DeviceId>,
    children: BTreeMap<(Hash, u64, DeviceId), Hash>,
    wants: BTreeMap<Hash, Want>,
    used: BTreeMap<Hash, Hash>,
    /// Per record: its parent, and the root of its FINAL.
    grants: BTreeMap<Hash, (Hash, Hash)>,
    /// Per parent: what its owner held as it let go.
    released: BTreeMap<Hash, Released>,
    activated: BTreeSet<(usize, Hash)>,
    /// Whom each source may grant to, as its user or policy chose.
    chosen: BTreeSet<(usize, DeviceId)>,
    /// The offers that a user accepted.
    accepted: BTreeSet<Hash>,
    /// Until when each device's user consents to own without being asked: by consent, or by a request of its own.
    willing: BTreeMap<usize, Instant>,
    writes: BTreeMap<Slot, Vec<Written>>,
}

/// What the owner by a head held as it let go.
#[derive(Clone, Debug)]
struct Released {
    node: usize,
    /// The head under which it let go.
    head: Order,
    exclusive: Option<Vec<u8>>,
}

/// A place that writes go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    Exclusive,
    File(String),
}

#[derive(Clone, Debug)]
struct Written {
    /// The hash of the value; none where a file was removed.
    value: Option<Hash>,
    node: usize,
    boot: u32,
    lsn: Lsn,
    /// The head under which it was taken.
    head: Hash,
    acknowledged: bool,
    /// Whether no write that had read this one replaced it.
    live: bool,
}

#[derive(Clone, Debug)]
struct Request {
    node: usize,
    id: HandoffId,
    due: Instant,
}

/// The order of heads: term, takeover, number, and then the smaller id.
type Order = (u64, Hash, u64, Reverse<Hash>);

/// What a message promises of its sender's store.
#[derive(Clone, Debug)]
pub enum Pledge {
    /// It knows this record.
    Record {
        /// The session.
        session: SessionId,
        /// The record.
        record: Hash,
    },
    /// It holds all that this manifest names and the WANT picks.
    Data {
        /// The session.
        session: SessionId,
        /// The manifest.
        manifest: Hash,
        /// What is picked; empty if all is.
        pick: Vec<PartId>,
    },
}

/// What a message promises.
pub fn promise(message: &Message) -> Option<Pledge> {
    match message {
        Message::Grant(grant) => {
            let session = grant.record.open(Rules::ALL).ok()?.session;
            Some(Pledge::Record { session, record: grant.record.id() })
        }
        Message::Head(head) => {
            let record = head.ack.get().map(|ack| ack.record).or(head.records.last().map(|record| record.id()))?;
            Some(Pledge::Record { session: head.session, record })
        }
        Message::Want(want) => {
            let want = want.want.open(Rules::ALL).ok()?;
            let manifest = want.have.get()?.manifest;
            Some(Pledge::Data { session: want.session, manifest, pick: want.pick.to_vec() })
        }
        _ => None,
    }
}

impl Oracle {
    /// What was broken so far.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Whether a takeover was asked for or seen in a session.
    pub fn is_forked(&self, session: &SessionId) -> bool {
        self.books.get(session).is_some_and(|book| book.forked)
    }

    /// The device that last said that it is the session's primary; the first if there are several.
    pub fn primary(&self, session: &SessionId) -> Option<usize> {
        let mut states = self.last.iter().filter(|((_, at), _)| at == session);
        states.find(|(_, state)| state.role == SessionRole::Primary).map(|((node, _), _)| *node)
    }

    /// How many handoffs were activated.
    pub fn activations(&self) -> usize {
        self.books.values().map(|book| book.activated.len()).sum()
    }

    /// Whether a WANT was granted.
    pub fn is_used(&self, want: &Hash) -> bool {
        self.books.values().any(|book| book.used.contains_key(want))
    }

    /// Whether a write was acknowledged that a device took, in its `boot`th run, as this batch.
    pub fn is_acknowledged(&self, node: usize, boot: u32, lsn: Lsn) -> bool {
        self.durable.get(&(node, boot)).is_some_and(|last| lsn <= *last)
    }

    /// Books a breach that was found by other means.
    pub fn book(&mut self, promise: Promise, at: Instant, node: usize, what: impl Into<String>) {
        let device = self.names.get(node).map_or_else(|| "?".into(), |(name, _)| name.clone());
        let breach = Breach { promise, at, device, what: what.into() };
        if !self.breaches.iter().any(|known| known.promise == promise && known.what == breach.what) {
            self.breaches.push(breach);
        }
    }

    pub(crate) fn add(&mut self, name: &str, id: DeviceId) {
        self.names.push((name.into(), id));
    }

    pub(crate) fn stuck(&mut self, now: Instant, node: usize) {
        self.book(Promise::L3, now, node, "asks to be woken at the same instant again and again");
    }

    pub(crate) fn unopened(&mut self, now: Instant, node: usize, why: &str) {
        self.book(Promise::S3, now, node, format!("can't open what its own store holds: {why}"));
    }

    pub(crate) fn crashed(&mut self, node: usize) {
        self.last.retain(|(at, _), _| *at != node);
        self.requests.retain(|request| request.node != node);
        self.asked.retain(|(at, _), _| *at != node);
        self.failed.remove(&node);
        self.services.crashed(node);
    }

    pub(crate) fn restored(&mut self, node: usize) {
        self.restored.insert(node);
        self.floors.retain(|(at, _), _| *at != node);
    }

    /// The batches up to `lsn` are durable at a device: its writes up to there are acknowledged.
    pub(crate) fn durable(&mut self, node: usize, boot: u32, lsn: Lsn) {
        self.durable.insert((node, boot), lsn);
        let writes = self.books.values_mut().flat_map(|book| book.writes.values_mut().flatten());
        for write in writes.filter(|write| write.node == node && write.boot == boot && write.lsn <= lsn) {
            write.acknowledged = true;
        }
    }

    /// Time passed: requests must have ended by now.
    pub(crate) fn tick(&mut self, now: Instant) {
        let late: Vec<Request> = self.requests.extract_if(.., |request| request.due < now).collect();
        for request in late {
            self.book(Promise::L3, now, request.node, format!("{:?} hasn't ended by its deadline", request.id));
        }
    }

    /// What a device told its application.
    pub(crate) fn told(&mut self, now: Instant, node: usize, event: &Event) {
        match event {
            Event::HandoffResolved { id, .. } | Event::HandoffPending { id, .. } => {
                self.requests.retain(|request| request.node != node || request.id != *id);
            }
            Event::HandoffRequest { token, session, from: by, .. } | Event::RequestHandoff { token, session, by } => {
                self.asked.insert((node, *token), (*session, *by));
            }
            Event::Equivocation { session, .. } if !self.is_forked(session) => {
                self.book(Promise::S1, now, node, "saw two records of one key with one parent");
            }
            Event::Closed { session } => self.books.entry(*session).or_default().closed = true,
            Event::Halted => {
                self.failed.insert(node);
                self.requests.retain(|request| request.node != node);
            }
            _ => {}
        }
    }

    /// A device took a command.
    pub(crate) fn commanded(&mut self, now: Instant, node: usize, boot: u32, command: &Command, reply: &Reply) {
        if let Reply::Handoff(id) = reply {
            let limit = match command {
                Command::Initiate { timeout_us, .. } | Command::Request { timeout_us, .. } => Some(*timeout_us),
                _ => None,
            };
            let due = limit.map(|limit| now.after(limit + GRACE));
            self.requests.extend(due.map(|due| Request { node, id: *id, due }));
        }
        match command {
            Command::Initiate { session, to, .. } => self.choose(*session, node, *to),
            Command::Consent { session, ttl_us: for_us, .. } | Command::Request { session, timeout_us: for_us, .. } => {
                let until = self.books.entry(*session).or_default().willing.entry(node).or_default();
                // A WANT made in time may wait for its sync until after the deadline.
                *until = (*until).max(now.after(for_us.saturating_add(GRACE)));
            }
            Command::Accept { token } => {
                if let Some((session, by)) = self.asked.get(&(node, *token)).copied() {
                    self.choose(session, node, by);
                    self.books.entry(session).or_default().accepted.insert(*token);
                }
            }
            Command::Pick { session, folders } => drop(self.picks.insert((node, *session), folders.clone())),
            Command::Takeover { session } => self.books.entry(*session).or_default().forked = true,
            Command::Close { session } => self.books.entry(*session).or_default().closed = true,
            Command::WriteExclusive { session, bytes } => {
                self.wrote(now, *session, Slot::Exclusive, Some(hash(bytes)), (node, boot), reply);
            }
            Command::WriteFile { session, path, content } => {
                self.wrote(now, *session, Slot::File(path.clone()), Some(hash(content)), (node, boot), reply);
            }
            Command::Remove { session, path } => {
                self.wrote(now, *session, Slot::File(path.clone()), None, (node, boot), reply);
            }
            _ => {}
        }
    }

    fn choose(&mut self, session: SessionId, node: usize, target: DeviceId) {
        self.books.entry(session).or_default().chosen.insert((node, target));
    }

    fn wrote(
        &mut self,
        now: Instant,
        session: SessionId,
        slot: Slot,
        value: Option<Hash>,
        by: (usize, u32),
        reply: &Reply,
    ) {
        let Reply::Written(lsn) = reply else { return };
        let (node, boot) = by;
        let state = self.last.get(&(node, session));
        let head = state.map_or(Hash::ZERO, |state| state.head);
        if slot == Slot::Exclusive && state.is_some_and(|state| state.role != SessionRole::Primary) {
            self.book(Promise::S1, now, node, "took a write without being primary");
        }
        // A file that is in conflict may be refused to be written, or written for all of its values.
        let read: Vec<Hash> = match (&slot, self.last.get(&(node, session))) {
            (Slot::File(path), Some(state)) => {
                let others = state.conflicts.get(path).into_iter().flatten();
                state.named.get(path).into_iter().chain(others).copied().collect()
            }
            _ => Vec::new(),
        };
        let writes = self.books.entry(session).or_default().writes.entry(slot).or_default();
        // A writer replaces its own last value, and those that it saw.
        let replaced = |old: &&mut Written| old.node == node || old.value.is_some_and(|value| read.contains(&value));
        writes.iter_mut().filter(replaced).for_each(|old| old.live = false);
        writes.push(Written { value, node, boot, lsn: *lsn, head, acknowledged: false, live: true });
    }

    /// A device sent a message.
    pub(crate) fn sent(&mut self, now: Instant, node: usize, to: DeviceId, message: &Message) {
        match message {
            Message::Want(m) => {
                if let Ok(want) = m.want.open(Rules::ALL) {
                    self.saw_want(now, node, m.want.id(), want);
                }
            }
            Message::Grant(m) => {
                let (record, end) = (m.record.open(Rules::ALL), m.end.open(Rules::ALL));
                if let (Ok(record), Ok(end)) = (record, end) {
                    self.saw_record(now, node, m.record.id(), &record);
                    self.saw_grant(now, node, to, m.record.id(), &record, &end);
                }
            }
            Message::Cas(m) => {
                if let Ok(record) = m.record.open(Rules::ALL) {
                    self.saw_record(now, node, m.record.id(), &record);
                }
            }
            Message::Fetch(_) | Message::Watch(_) | Message::Envelopes(_) => {
                let by = self.names.iter().position(|(_, id)| *id == to);
                let from = self.names.get(node).map(|(_, id)| *id);
                self.services.saw(now, (node, from), (by, to), message);
            }
            Message::Head(m) => {
                for signed in m.records.iter() {
                    if let Ok(record) = signed.open(Rules::ALL) {
                        self.saw_record(now, node, signed.id(), &record);
                    }
                }
            }
            _ => {}
        }
    }

    fn saw_want(&mut self, now: Instant, node: usize, id: Hash, want: Want) {
        let consented = match WantMode::from_number(want.mode) {
            Some(WantMode::Answer) => {
                let book = self.books.entry(want.session).or_default();
                let willing = book.willing.get(&node).is_some_and(|until| now <= *until);
                willing || want.offer.get().is_some_and(|offer| book.accepted.contains(offer))
            }
            _ => true,
        };
        if !consented && self.names.get(node).is_some_and(|(_, id)| *id == want.target) {
            self.book(Promise::S1, now, node, "answered an OFFER that nobody accepted");
        }
        self.books.entry(want.session).or_default().wants.insert(id, want);
    }

    fn saw_record(&mut self, now: Instant, node: usize, id: Hash, record: &Record) {
        let book = self.books.entry(record.session).or_default();
        book.records.insert(id, (record.term, record.n));
        book.signed.insert(id, (record.parent, record.signer));
        book.owners.insert(id, record.owner);
        book.forked |= record.kind == Kind::Takeover.number();
        let key = (record.parent, record.term, record.signer);
        let first = *book.children.entry(key).or_insert(id);
        if first != id {
            self.book(Promise::S1, now, node, format!("{first:?} and {id:?} have one parent, term and signer"));
        }
    }

    fn saw_grant(&mut self, now: Instant, node: usize, to: DeviceId, id: Hash, record: &Record, end: &Final) {
        let book = self.books.entry(record.session).or_default();
        book.grants.insert(id, (record.parent, end.root));
        let first = *book.used.entry(record.want).or_insert(id);
        let live = book.wants.get(&record.want).is_some_and(|want| want.parent == record.parent && want.target == to);
        // A service signs what the owner chose.
        let chooser = book.owners.get(&record.parent).copied().unwrap_or(record.signer);
        let chooser = self.names.iter().position(|(_, device)| *device == chooser);
        let chosen = chooser.is_some_and(|chooser| book.chosen.contains(&(chooser, to)));
        if first != id {
            self.book(Promise::S5, now, node, format!("one WANT was granted twice, by {first:?} and {id:?}"));
        }
        if !live {
            self.book(Promise::S5, now, node, format!("{id:?} answers no WANT of its parent and target"));
        }
        if !chosen {
            self.book(Promise::S1, now, node, format!("{id:?} grants to a device that nobody chose"));
        }
    }

    /// A device's policy lets others pull: nobody need choose them.
    pub fn allow_pulls(&mut self, session: SessionId, node: usize) {
        let targets: Vec<DeviceId> = self.names.iter().map(|(_, id)| *id).collect();
        targets.into_iter().for_each(|target| self.choose(session, node, target));
    }

    /// What a device would know after a crash, beside what it just promised (S4).
    pub(crate) fn promised<D: Device>(&mut self, now: Instant, node: usize, pledge: &Pledge, shadow: &mut D) {
        let (what, kept) = match pledge {
            // What a device only heard of in passing it may pass on: it promises nothing of its own.
            Pledge::Record { session, .. } if !self.last.contains_key(&(node, *session)) => return,
            Pledge::Record { session, record } => {
                let promised = self.books.get(session).and_then(|book| book.records.get(record)).copied();
                let kept = shadow.inspect(now).sessions.get(session).is_some_and(|state| {
                    state.head == *record || promised.is_some_and(|order| (state.term, state.n) > order)
                });
                (format!("told of {record:?} before it was durable"), kept)
            }
            Pledge::Data { session, manifest, pick } => {
                let kept = shadow.holds(*session, *manifest, pick).unwrap_or(true);
                (format!("claimed to hold {manifest:?} before it was durable"), kept)
            }
        };
        if !kept {
            self.book(Promise::S4, now, node, what);
        }
    }

    /// Whether every session that isn't closed or forked has its primary, and no GRANT waits.
    pub fn is_settled(&self) -> bool {
        let waiting = self.last.values().any(|state| state.pending.is_some() || state.role == SessionRole::Releasing);
        !waiting && self.requests.is_empty()
    }
}

fn hash(bytes: &[u8]) -> Hash {
    Hash::new(*blake3::hash(bytes).as_bytes())
}

/// How long after its deadline a request may end, in microseconds: what the timers of one step take.
const GRACE: u64 = 1_000_000;
