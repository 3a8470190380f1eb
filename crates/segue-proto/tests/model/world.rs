//! The modelled world: three devices with disks, and a network that loses, repeats and reorders.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use segue_proto::handoff::{Actor, Chain, Ctx, Effects, Fresh, Hold, Session, Stored, keys};
use segue_proto::wire::Hash as Id;
use segue_proto::wire::{DeviceId, Genesis, Kind, List, Message, Nonce, Proven, Record, SessionId};
use segue_proto::{Instant, Rules, SessionRole, Write, data};

use crate::data::{Data, list_with};
use crate::laws;
use crate::service::{SERVICE, Service};
use crate::steps::{Cause, NOW, Setting, arrive, ran};
use crate::users::Users;

/// The devices by number.
pub(crate) const DEVICES: usize = 3;

/// A disk: what is synced.
pub(crate) type Disk = Known<BTreeMap<Vec<u8>, Vec<u8>>>;

/// Names a value by its hash.
pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A value that is hashed once and compared by its hash, as the checker compares whole states.
#[derive(Clone, Debug)]
pub(crate) struct Known<T> {
    pub(crate) id: u64,
    value: Arc<T>,
}

impl<T: Hash + Send + Sync + 'static> Known<T> {
    /// Equal values share one place: there are far fewer of them than states.
    pub(crate) fn new(value: T) -> Self {
        static PLACES: Mutex<BTreeMap<(TypeId, u64), Arc<dyn Any + Send + Sync>>> = Mutex::new(BTreeMap::new());
        let id = hash(&value);
        let mut places = PLACES.lock().expect("nobody panics while holding it");
        let place = places.entry((TypeId::of::<T>(), id)).or_insert_with(|| Arc::new(value)).clone();
        Known { id, value: place.downcast().expect("the type is part of the key") }
    }
}

impl<T: Hash + Clone + Send + Sync + 'static> Known<T> {
    /// The value changed.
    pub(crate) fn edit<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = T::clone(&self.value);
        let result = change(&mut value);
        *self = Known::new(value);
        result
    }
}

impl<T: Hash + Default + Send + Sync + 'static> Default for Known<T> {
    fn default() -> Self {
        Known::new(T::default())
    }
}

impl<T> Deref for Known<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Known<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<T> Eq for Known<T> {}

impl<T> Hash for Known<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<T> PartialOrd for Known<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Known<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    /// Lost in a crash.
    pub session: Option<Known<Session<Data>>>,
    pub disk: Disk,
    /// Written and not synced: lost in a crash.
    pub pending: Known<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Messages that wait for the sync.
    pub held: Known<BTreeSet<(u8, Known<Message>)>>,
    /// A copy of the disk that somebody may put back.
    pub backup: Option<Disk>,
    /// The copy from which the disk was put back.
    pub restored: Option<Disk>,
    /// The store doesn't know yet that the device knows that.
    pub unproven: bool,
}

/// How much may still happen: what makes the model finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub initiate: u8,
    pub request: u8,
    pub takeover: u8,
    pub crash: u8,
    /// How often device 1's disk may be copied, while it has a live WANT. If never, there is a copy of device 0's first disk.
    pub copy: u8,
    pub restore: u8,
    pub write: u8,
    pub timeout: u8,
    pub forge: u8,
    /// How many devices act by way of a service that signs, 0 if none does; how often an owner's lease may run out, and
    /// how often the service may crash or be put back.
    pub via: u8,
    /// How often an owner may take its session back from the service, or delegate it.
    pub custody: u8,
    pub lapse: u8,
    pub fall: u8,
    pub back: u8,
}

/// A state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub devices: [Device; DEVICES],
    /// Every message that ever left: it may arrive never, late, or again.
    pub net: Known<BTreeSet<Packet>>,
    pub budget: Budget,
    /// Writes that were acknowledged, and the records under which they were made.
    pub acked: Known<BTreeSet<(u8, Id)>>,
    /// The service to which the session is delegated, if it is.
    pub service: Option<Service>,
    /// What users do and are told, where they act, and links that keep order and break; else `net` is all there is.
    pub users: Option<Users>,
    /// The first law that was broken.
    pub broken: Option<&'static str>,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) message: Known<Message>,
}

/// The key of a device.
pub(crate) fn key(device: u8) -> DeviceId {
    DeviceId::new([device + 1; 32])
}

/// The device of a key.
pub(crate) fn number(key: &DeviceId) -> Option<u8> {
    (0..DEVICES as u8).find(|device| crate::world::key(*device) == *key)
}

impl World {
    /// Device 0 owns a session that 1 and 2 are members of and know.
    pub(crate) fn new(rules: Rules, budget: Budget) -> World {
        let nonce = Nonce::ZERO;
        let session = data::session_id(&key(0), &nonce);
        let actor = Actor::new(&key(0), Nonce::new([1; 16]));
        let genesis = Record {
            kind: Kind::Genesis.number(),
            session,
            parent: Id::ZERO,
            term: 0,
            n: 0,
            signer: key(0),
            owner: key(0),
            grantor: key(0),
            want: Id::new(*actor.id.as_bytes()),
            roster: Id::ZERO,
            genesis: Some(Genesis { nonce, members: List::new(vec![key(1), key(2)]).unwrap_or_default() }).into(),
        };
        let genesis = Proven::assume(genesis);
        let mut chain = Chain::start(rules, genesis.clone()).expect("a genesis");
        let tenure = Id::new([0x66; 32]);
        let service = (budget.via > 0).then(|| {
            let body = Record {
                kind: Kind::Delegate.number(),
                parent: genesis.id(),
                n: 1,
                grantor: key(SERVICE),
                roster: tenure,
                genesis: None.into(),
                ..genesis.body().clone()
            };
            let delegate = Proven::assume(body);
            chain.admit(rules, delegate.clone()).expect("a delegate");
            Service::new(rules, &[genesis, delegate], tenure)
        });
        let device = |number: u8| {
            let actor = Actor::new(&key(number), Nonce::new([number + 1; 16]));
            let mut known = Session::new(key(number), "", chain.clone(), actor, Data::new(session, number == 0));
            let mut fx = Effects::default();
            known.keep(&mut fx);
            let disk = apply(&Disk::new(BTreeMap::new()), fx.writes.into_iter().map(|w| (w.key, w.value)));
            let (pending, held) = Default::default();
            Device {
                session: Some(Known::new(known)),
                backup: (number == 0 && budget.copy == 0).then(|| disk.clone()),
                disk,
                pending,
                held,
                restored: None,
                unproven: false,
            }
        };
        World {
            devices: [device(0), device(1), device(2)],
            net: Known::default(),
            budget,
            acked: Known::default(),
            service,
            users: None,
            broken: None,
        }
    }

    /// What a device finds around itself.
    pub(crate) fn setting(&self, device: u8) -> Setting {
        Setting { via: self.service.is_some(), turn: self.users.as_ref().map(|users| users.turn(device)) }
    }

    /// A device was only told of the session.
    pub(crate) fn forget(&mut self, device: u8) {
        let it = &mut self.devices[usize::from(device)];
        let Some(session) = &it.session else { return };
        let (chain, actor, data) = (session.chain().clone(), session.actor(), session.holdings.clone());
        it.session = Some(Known::new(Session::new(key(device), "", chain, actor, data)));
        it.disk = Known::default();
    }

    /// Runs a step of a device's session and all that follows from it at once: signatures, fetches, the user's yes.
    pub(crate) fn run(
        &mut self,
        rules: Rules,
        device: u8,
        cause: Cause<'_>,
        step: impl FnOnce(&mut Session<Data>, &mut Ctx<'_>),
    ) {
        let Some(before) = self.devices[usize::from(device)].session.clone() else { return };
        let ran = ran(rules, device, self.setting(device), cause, &before, step);
        for step in &ran.steps {
            if let Some((session, records)) = &step.resolved {
                records.iter().for_each(|record| self.note(laws::resolved(self, device, session, record)));
            }
            self.put(device, &step.writes);
            for (to, hold, message) in &step.sends {
                let it = &mut self.devices[usize::from(device)];
                let waits = *hold == Hold::Durable && !it.pending.is_empty();
                if self.users.is_some() {
                    self.say(rules, device, waits, *to, message);
                } else if waits {
                    it.held.edit(|held| held.insert((*to, message.clone())));
                } else {
                    self.leave(rules, device, *to, message.clone());
                }
            }
        }
        self.devices[usize::from(device)].session = Some(ran.session.clone());
        self.note(laws::step(rules, self, device, &before));
        if self.users.is_some() {
            self.hear(device, cause, &before, &ran.steps);
        }
        // Where no crash can come any more, when the disk catches up makes no difference.
        if (self.service.is_some() || self.users.is_some()) && self.budget.crash == 0 {
            self.sync(rules, device);
        }
    }

    fn put(&mut self, device: u8, writes: &[Write]) {
        let pending = &mut self.devices[usize::from(device)].pending;
        if !writes.is_empty() {
            pending.edit(|pending| pending.extend(writes.iter().map(|write| (write.key.clone(), write.value.clone()))));
        }
    }

    pub(crate) fn leave(&mut self, rules: Rules, from: u8, to: u8, message: Known<Message>) {
        // The law looks at the message, its sender and its target; the same three meet in many worlds.
        thread_local! {
            static SEEN: RefCell<HashMap<u64, Result<(), &'static str>>> = RefCell::default();
        }
        let target = self.devices.get(usize::from(to));
        let met = hash(&(rules, &self.devices[usize::from(from)], from, target, to, &message));
        let seen = SEEN.with_borrow(|seen| seen.get(&met).copied());
        let law = seen.unwrap_or_else(|| laws::leaving(rules, self, from, to, &message));
        SEEN.with_borrow_mut(|seen| seen.insert(met, law));
        self.note(law);
        self.post(from, to, message);
    }

    pub(crate) fn post(&mut self, from: u8, to: u8, message: Known<Message>) {
        // Errors only hurry what a timeout would do; leaving them out keeps the model small. So do leases: they are given.
        let matters = !matches!(*message, Message::Error(_) | Message::Renew(_));
        let packet = Packet { from, to, message };
        if let Some(users) = &mut self.users {
            users.post(packet);
        } else if matters && !self.net.contains(&packet) {
            self.net.edit(|net| net.insert(packet));
        }
    }

    /// Notes the first law broken.
    pub(crate) fn note(&mut self, law: Result<(), &'static str>) {
        if let (Err(law), None) = (law, self.broken) {
            self.broken = Some(law);
        }
    }

    /// A message arrives.
    pub(crate) fn deliver(&mut self, rules: Rules, packet: &Packet) {
        if packet.to == SERVICE {
            return self.deliver_to_service(rules, packet.from, Message::clone(&packet.message));
        }
        let setting = self.setting(packet.to);
        let arrives = |s: &mut Session<Data>, ctx: &mut Ctx<'_>| arrive(rules, setting, packet, s, ctx);
        let cause = Cause::Arrived(packet);
        let Message::Grant(grant) = &*packet.message else { return self.run(rules, packet.to, cause, arrives) };
        let id = grant.record.id();
        let fresh = |world: &World| {
            let session = world.devices[usize::from(packet.to)].session.as_ref();
            session.is_some_and(|session| session.chain().get(&id).is_none())
        };
        let was_new = fresh(self);
        self.run(rules, packet.to, cause, arrives);
        if let (true, false, Ok(end)) = (was_new, fresh(self), grant.end.open(rules)) {
            self.note(laws::activated(self, packet.to, &id, &list_with(&end.manifest, &grant.ops)));
        }
    }

    /// The disk catches up: what waited for it leaves.
    pub(crate) fn sync(&mut self, rules: Rules, device: u8) {
        let it = &mut self.devices[usize::from(device)];
        it.disk =
            apply(&it.disk, std::mem::take(&mut it.pending).iter().map(|(key, value)| (key.clone(), value.clone())));
        it.unproven = false;
        let held = std::mem::take(&mut it.held);
        let session = it.session.clone();
        for (to, message) in held.iter() {
            self.leave(rules, device, *to, message.clone());
        }
        if self.users.is_some() {
            self.release(rules, device);
        }
        if let Some(session) = session.filter(|session| session.role(rules) == SessionRole::Primary) {
            let log = session.holdings.log.clone().unwrap_or_default();
            let head = session.head().id();
            let known: BTreeSet<_> = self.acked.iter().map(|(write, _)| *write).collect();
            for write in log.into_iter().filter(|write| !known.contains(write)) {
                self.acked.edit(|acked| acked.insert((write, head)));
            }
        }
    }

    /// The device loses what isn't synced, and starts again.
    pub(crate) fn crash(&mut self, rules: Rules, device: u8) {
        let it = &mut self.devices[usize::from(device)];
        (it.pending, it.held) = Default::default();
        let now = if self.users.is_some() { NOW } else { Instant::ZERO };
        it.session = open(rules, device, &it.disk, now).map(Known::new);
        if it.unproven {
            self.distrust(rules, device);
        }
    }

    /// Whether a device asked for the session, has it not, and may be granted to: its WANT is out, and all that it says is
    /// on the disk.
    pub(crate) fn has_live_want(&self, device: u8) -> bool {
        let it = &self.devices[usize::from(device)];
        let Some(session) = it.session.as_ref().filter(|session| session.seeks() && it.pending.is_empty()) else {
            return false;
        };
        self.net.iter().filter(|packet| packet.from == device).any(|packet| match &*packet.message {
            Message::Want(it) => it.want.open(Rules::ALL).is_ok_and(|want| want.parent == session.head_id()),
            _ => false,
        })
    }

    /// Somebody copies a disk.
    pub(crate) fn copy(&mut self, device: u8) {
        let it = &mut self.devices[usize::from(device)];
        it.backup = Some(it.disk.clone());
    }

    /// Somebody puts an old copy of the disk back.
    pub(crate) fn restore(&mut self, rules: Rules, device: u8) {
        let it = &mut self.devices[usize::from(device)];
        let Some(backup) = it.backup.take() else { return };
        (it.disk, it.restored, it.unproven) = (backup.clone(), Some(backup), true);
        self.crash(rules, device);
    }

    fn distrust(&mut self, rules: Rules, device: u8) {
        let it = &mut self.devices[usize::from(device)];
        let Some(session) = it.session.take() else { return };
        let mut session = Session::clone(&session);
        let mut fx = Effects::default();
        if rules.keeps(segue_proto::Clause::HO_STORE_2) {
            session.renew_actor(Nonce::new([0x80 + device; 16]), &mut fx);
        }
        session.distrust_store();
        fx.writes.push(keys::put(session.id(), keys::UNPROVEN, &[], Vec::new()));
        it.session = Some(Known::new(session));
        self.put(device, &fx.writes);
    }
}

/// Opens a device from its disk, by the code that the endpoint uses.
pub(crate) fn open(rules: Rules, device: u8, disk: &Disk, now: Instant) -> Option<Session<Data>> {
    let mut stored = Stored::default();
    let mut id = SessionId::ZERO;
    for (key, value) in disk.iter() {
        let (session, letter, rest) = keys::split(key)?;
        id = session;
        stored.put(letter, rest, value.clone())?;
    }
    let handoff = Fresh::new([0; 32]).handoff();
    let data = |_: &Chain, _: &str, entries| Ok(Data::restore(id, device == 0, entries));
    stored.build(key(device), rules, now, handoff, data).ok()
}

fn apply(disk: &Disk, writes: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Disk {
    let mut disk = BTreeMap::clone(disk);
    for (key, value) in writes {
        match value {
            Some(value) => disk.insert(key, value),
            None => disk.remove(&key),
        };
    }
    Known::new(disk)
}
