//! Whole devices and a service, joined by links that are function calls.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::SigningKey;
use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{DeviceId, Message, PartId, Presence, SessionId, sign_message};
use segue_proto::{
    Clause, Code, Config, Continuity, Endpoint, Event, Generation, Hosted, Instant, LinkId, Lsn, Policy, Role, Rules,
    seal,
};
use segue_service::{
    Append, Binding, Directory, Failed, Full, Given, Memory, Note, Page, Quota, Room, Service, Terms, Unset, Waking,
};

pub(crate) const LOG: u16 = 2;
pub(crate) const FILE: u16 = 3;
pub(crate) const REGISTER: u16 = 1;
pub(crate) const OPAQUE: u16 = 4;

/// What a directory does to what is asked of it, between its store and the service.
pub(crate) type Meddler = Box<dyn Fn(Page) -> Page + Send>;

/// A directory with an operator who meddles.
#[derive(Default)]
pub(crate) struct Hostile {
    pub(crate) memory: Memory,
    pub(crate) meddler: Option<Meddler>,
    /// Everything that was ever put.
    pub(crate) seen: Vec<Append>,
    /// How often a device was brought under an account, durably.
    pub(crate) bound: usize,
}

impl Directory for Hostile {
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        self.seen.extend(batch.to_vec());
        self.memory.append(rules, batch, quota)
    }

    fn fetch(&self, of: &segue_proto::wire::BoxId, after: u64, room: Room) -> Result<Page, Failed> {
        let page = self.memory.fetch(of, after, room)?;
        Ok(match &self.meddler {
            Some(meddler) => meddler(page),
            None => page,
        })
    }

    fn set(&mut self, rules: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed> {
        self.memory.set(rules, batch, quota)
    }

    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed> {
        self.memory.kept(session)
    }

    fn waiting(&self) -> Result<Vec<SessionId>, Failed> {
        self.memory.waiting()
    }

    fn sets(&self) -> Result<u64, Failed> {
        self.memory.sets()
    }

    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
        self.memory.note(device, note, most)
    }

    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed> {
        self.memory.noted(device)
    }

    fn used(&self, by: &DeviceId) -> Result<u64, Failed> {
        self.memory.used(by)
    }

    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed> {
        self.bound += 1;
        self.memory.bind(device, binding, most, unix_ms)
    }

    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed> {
        self.memory.unbind(device)
    }

    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed> {
        self.memory.bound(device)
    }
}

/// What a journal holds.
pub(crate) type Journal = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) struct Device {
    pub(crate) core: Endpoint,
    pub(crate) id: DeviceId,
    key: SigningKey,
    rules: Rules,
    pub(crate) journal: Journal,
    /// The journal as each batch left it, if that is watched.
    pub(crate) moments: Option<Vec<Journal>>,
    lsn: Lsn,
    pub(crate) events: Vec<Event>,
    starts: u8,
}

fn config(id: DeviceId, rules: Rules) -> Config {
    Config { follow: true, pulls: Policy::Allow, rules, ..Config::new(id) }
}

impl Device {
    fn new(seed: u8, rules: Rules) -> Device {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let id = DeviceId::new(key.verifying_key().to_bytes());
        let start = Instant::from_micros(1_000_000);
        let core = Endpoint::open(config(id, rules), [], Lsn(0), Continuity::Proven, [seed; 32], start).unwrap();
        let (journal, events) = (Journal::new(), Vec::new());
        Device { core, id, key, rules, journal, moments: None, lsn: Lsn(0), events, starts: 0 }
    }
}

impl Device {
    /// Whether its journal holds these bytes.
    pub(crate) fn journal_holds(&self, what: &[u8]) -> bool {
        self.journal.values().any(|value| value.windows(what.len()).any(|it| it == what))
    }
}

/// Devices by number; number 0 hosts the mailbox.
pub(crate) struct World {
    pub(crate) devices: Vec<Device>,
    pub(crate) service: Service<Hostile>,
    links: BTreeMap<LinkId, (usize, usize)>,
    hosted: VecDeque<Hosted>,
    /// What the operator's log was told of logins.
    pub(crate) logged: Vec<(DeviceId, Result<String, String>)>,
    /// What the service told devices without being asked for it.
    pub(crate) told: Vec<(DeviceId, Message)>,
    /// Which devices were to be woken.
    pub(crate) woken: Vec<Waking>,
    next: u64,
    pub(crate) now: Instant,
}

impl World {
    /// A host and `count` devices that vouch for one another.
    pub(crate) fn new(count: usize, quota: Quota) -> World {
        World::with_rules(count, quota, Rules::ALL)
    }

    pub(crate) fn with_rules(count: usize, quota: Quota, rules: Rules) -> World {
        let mut devices: Vec<Device> = (0..=count).map(|at| Device::new(at as u8 + 1, rules)).collect();
        let host = SigningKey::from_bytes(&[1; 32]);
        let id = DeviceId::new(host.verifying_key().to_bytes());
        let config = Config { accept_unknown: true, ..Config::new(id) };
        let start = Instant::from_micros(1_000_000);
        devices[0].core = Endpoint::open(config, [], Lsn(0), Continuity::Proven, [1; 32], start).unwrap();
        devices[0].core.host_mailbox();
        let service = Service::new(Hostile::default(), quota).with_rules(rules);
        let (links, hosted) = (BTreeMap::new(), VecDeque::new());
        let (logged, told, woken) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = World { devices, service, links, hosted, logged, told, woken, next: 1, now: start };
        for at in 1..=count {
            world.introduce(at);
        }
        world.settle();
        world
    }

    /// The host keeps sessions in custody too, with leases of so many seconds.
    pub(crate) fn keep_custody(&mut self, lease: u64, put_back: bool) {
        let tenure = self.devices[0].core.host_custody(put_back);
        let terms = Terms { me: self.devices[0].id, tenure, lease: lease * 1_000_000 };
        self.service.keep_custody(self.now, terms).unwrap();
        self.settle();
    }

    /// The host stops and starts again, with the directory as it is now, or with one from before.
    pub(crate) fn restart_host(&mut self, lease: u64, directory: Option<Memory>) {
        self.unlink(0);
        let put_back = directory.is_some();
        let memory = directory.unwrap_or_else(|| self.service.directory().memory.clone());
        self.service = Service::new(Hostile { memory, ..Hostile::default() }, Quota::default());
        self.keep_custody(lease, put_back);
    }

    /// The device speaks no higher generation.
    pub(crate) fn limit(&mut self, at: usize, generation: Generation) {
        let config = Config { generation, ..config(self.devices[at].id, self.devices[at].rules) };
        self.devices[at].core = Endpoint::open(config, [], Lsn(0), Continuity::Proven, [77; 32], self.now).unwrap();
        self.introduce(at);
    }

    /// The device vouches for the others, and uses the mailbox.
    fn introduce(&mut self, at: usize) {
        let ids: Vec<_> = self.devices.iter().map(|device| device.id).collect();
        for (other, id) in ids.iter().enumerate().filter(|(other, _)| *other != at) {
            match other {
                0 => self.devices[at].core.use_mailbox(self.now, *id).unwrap(),
                _ => self.devices[at].core.trust(*id),
            }
        }
    }

    /// Starts a device again, from what its journal holds.
    pub(crate) fn restart(&mut self, at: usize) {
        self.unlink(at);
        let device = &mut self.devices[at];
        device.starts += 1;
        let entries = device.journal.clone();
        let entropy = [100 + 16 * at as u8 + device.starts; 32];
        let config = config(device.id, device.rules);
        device.core = Endpoint::open(config, entries, device.lsn, Continuity::Proven, entropy, self.now).unwrap();
        self.introduce(at);
        self.settle();
    }

    /// Links two devices, and lets them say what they have to.
    pub(crate) fn link(&mut self, a: usize, b: usize) {
        self.connect(a, b);
        self.settle();
    }

    /// Links two devices, and lets all devices say what they have to, while the service rests.
    pub(crate) fn link_unserved(&mut self, a: usize, b: usize) {
        self.connect(a, b);
        while (0..self.devices.len()).any(|at| self.poll(at)) {}
    }

    fn connect(&mut self, a: usize, b: usize) {
        let link = LinkId(self.next);
        self.next += 1;
        let binding = [self.next as u8; 32];
        self.links.insert(link, (a, b));
        let (now, expect) = (self.now, self.devices[b].id);
        self.devices[a].core.handle_link_up(now, link, Role::Initiator, binding, Some(expect));
        self.devices[b].core.handle_link_up(now, link, Role::Responder, binding, None);
    }

    /// Ends all links of a device.
    pub(crate) fn unlink(&mut self, at: usize) {
        let gone: Vec<_> =
            self.links.iter().filter(|(_, (a, b))| *a == at || *b == at).map(|(id, l)| (*id, *l)).collect();
        for (link, (a, b)) in gone {
            self.links.remove(&link);
            self.devices[a].core.handle_link_down(self.now, link);
            self.devices[b].core.handle_link_down(self.now, link);
        }
        self.settle();
    }

    /// A device that is linked says something, whatever its core would say. Nobody gets to it before [`World::settle`].
    pub(crate) fn says(&mut self, at: usize, message: &Message) {
        let link = self.links.iter().find(|(_, ends)| **ends == (at, 0)).map(|(link, _)| *link);
        self.devices[0].core.handle_bytes(self.now, link.expect("a link"), &message.to_frame());
    }

    /// The host says something to a device that is linked, whatever its core would say.
    pub(crate) fn hears(&mut self, at: usize, message: &Message) {
        self.hears_from(at, 0, message);
    }

    /// A device that another one dialled says something to it, whatever its core would say.
    pub(crate) fn hears_from(&mut self, at: usize, other: usize, message: &Message) {
        let link = self.links.iter().find(|(_, ends)| **ends == (at, other)).map(|(link, _)| *link);
        self.devices[at].core.handle_bytes(self.now, link.expect("a link"), &message.to_frame());
    }

    /// The key pair of a device.
    pub(crate) fn key(&self, at: usize) -> &SigningKey {
        &self.devices[at].key
    }

    /// A device that is linked asks the mailbox about others; what it is told.
    pub(crate) fn discover(&mut self, at: usize, others: &[usize]) -> Result<Vec<Presence>, Code> {
        let others: Vec<_> = others.iter().map(|at| self.devices[*at].id).collect();
        let host = self.devices[0].id;
        let asked = self.devices[at].core.discover(self.now, host, &others).unwrap();
        self.settle();
        let answer = |event: &Event| match event {
            Event::Found { service, req, found } if (*service, *req) == (host, asked) => Some(found.clone()),
            _ => None,
        };
        self.devices[at].events.iter().find_map(answer).expect("an answer")
    }

    /// A device comes online by itself, exchanges everything with the mailbox, and goes.
    pub(crate) fn visit(&mut self, at: usize) {
        self.link(at, 0);
        let host = self.devices[0].id;
        assert!(self.devices[at].core.is_exchanged(&host), "device {at} has exchanged: {:?}", self.devices[at].events);
        self.unlink(at);
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(seconds * 1_000_000);
        for device in &mut self.devices {
            device.core.handle_timeout(self.now);
        }
        let given = self.service.handle(self.now, Vec::new()).unwrap();
        self.give(given);
        self.settle();
    }

    /// Carries out what everybody has to say, until nobody has.
    pub(crate) fn settle(&mut self) {
        let mut again = true;
        while again {
            again = false;
            for at in 0..self.devices.len() {
                again |= self.poll(at);
            }
            again |= self.serve();
        }
    }

    fn poll(&mut self, at: usize) -> bool {
        let (now, mut again) = (self.now, false);
        let device = &mut self.devices[at];
        while let Some(request) = device.core.poll_sign() {
            device.core.handle_signed(now, request.id, sign_message(&request.message, &device.key));
            again = true;
        }
        while let Some(request) = device.core.poll_unwrap() {
            device.core.handle_unwrapped(now, request.id, seal::unwrap(&device.key, &request.wrapped));
            again = true;
        }
        while let Some(batch) = device.core.poll_journal() {
            for write in batch.writes {
                match write.value {
                    Some(value) => drop(device.journal.insert(write.key, value)),
                    None => drop(device.journal.remove(&write.key)),
                }
            }
            if let Some(moments) = &mut device.moments {
                moments.push(device.journal.clone());
            }
            device.lsn = batch.lsn;
            device.core.handle_durable(now, batch.lsn);
            again = true;
        }
        while let Some(hosted) = device.core.poll_hosted() {
            self.hosted.push_back(hosted);
            again = true;
        }
        while let Some(event) = device.core.poll_event() {
            device.events.push(event);
        }
        while let Some((link, _)) = device.core.poll_close() {
            device.core.handle_link_down(now, link);
            self.links.remove(&link);
        }
        let links: Vec<_> = self.links.iter().map(|(id, ends)| (*id, *ends)).collect();
        for (link, (a, b)) in links.into_iter().filter(|(_, (a, b))| *a == at || *b == at) {
            let mut bytes = Vec::new();
            if self.devices[at].core.poll_transmit(link, &mut bytes) {
                self.devices[if a == at { b } else { a }].core.handle_bytes(now, link, &bytes);
                again = true;
            }
        }
        again
    }

    fn serve(&mut self) -> bool {
        if self.hosted.is_empty() {
            return false;
        }
        let given = self.service.handle(self.now, self.hosted.drain(..).collect()).unwrap();
        self.give(given);
        true
    }

    fn give(&mut self, given: Given) {
        let (now, host) = (self.now, &mut self.devices[0].core);
        for (ticket, answer) in given.answers {
            host.answer_hosted(now, ticket, Lsn::default(), &answer);
        }
        for (to, message) in given.tells {
            host.tell_hosted(now, to, Lsn::default(), &message);
            self.told.push((to, message));
        }
        self.logged.extend(given.logins);
        self.woken.extend(given.wakes);
        given.signs.into_iter().for_each(|(session, record, bytes)| host.sign_hosted(session, record, bytes));
        given.closes.into_iter().for_each(|ticket| host.close_hosted(ticket));
    }

    /// Device 1 makes a session, of which the devices are members.
    pub(crate) fn session(&mut self, members: &[usize]) -> SessionId {
        let members: Vec<_> = members.iter().map(|at| self.devices[*at].id).collect();
        let session = self.devices[1].core.create_session(self.now, "notes", &members).unwrap();
        self.settle();
        session
    }

    pub(crate) fn write(&mut self, at: usize, session: SessionId, part: u8, kind: u16, body: &[u8]) {
        let part = PartId::new([part; 16]);
        self.devices[at].core.write(self.now, 1_700_000_000_000, session, part, kind, body.to_vec()).unwrap();
        self.settle();
    }

    pub(crate) fn root(&self, at: usize, session: SessionId) -> Option<segue_proto::wire::Hash> {
        self.devices[at].core.session(&session).map(|view| view.root)
    }

    /// The clauses that a device reported as broken.
    pub(crate) fn broken(&self, at: usize) -> Vec<Clause> {
        let broken = |event: &Event| match event {
            Event::Violation { violation, .. } => Some(violation.clause),
            _ => None,
        };
        self.devices[at].events.iter().filter_map(broken).collect()
    }

    /// Sets what the operator does.
    pub(crate) fn meddle(&mut self, meddler: impl Fn(Page) -> Page + Send + 'static) {
        let mut directory = std::mem::take(self.directory());
        directory.meddler = Some(Box::new(meddler));
        *self.directory() = directory;
    }

    pub(crate) fn directory(&mut self) -> &mut Hostile {
        self.service.directory_mut()
    }
}
