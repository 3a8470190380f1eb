//! Opening a node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use rustls::{KeyLog, NoKeyLog};
use segue_proto::limits::{HANDOFF_TIMEOUT, MAX_PICK};
use segue_proto::wire::DeviceId;
use segue_proto::wire::hash::Hasher;
use segue_proto::{Config, Continuity, Endpoint, Generation, Instant, Lsn, Policy, Rules};
use segue_store::{Blobs, Hooks, Journal, default_witness};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant as Clock;

use crate::bulk::serve::{SERVING_IN_ALL, Turns};
use crate::bulk::{Buffers, Shared};
use crate::conflicts::{Ask, Strategy};
use crate::driver::journal::Log;
use crate::driver::{Driver, INBOX, Parts};
use crate::error::OpenError;
use crate::event::Queue;
use crate::keys::{device_id, entropy, load_or_create_key};
use crate::mailbox::{self, MailboxHost};
use crate::node::Node;
use crate::picks::Pick;
use crate::relay::{Relayed, Ways};
use crate::storage::{BlobSource, Storage};
use crate::transport::{self, Windows};

/// What a node is opened with. [`Node::builder`] makes one.
#[must_use = "a builder does nothing until it is opened"]
pub struct Builder {
    place: Option<Place>,
    key: Option<SigningKey>,
    listen: Option<SocketAddr>,
    generation: Generation,
    floor: Generation,
    pulls: Policy,
    accept_unknown: bool,
    trusted: Vec<DeviceId>,
    witness: Option<PathBuf>,
    source: Option<Arc<dyn BlobSource>>,
    follow: bool,
    only: Vec<String>,
    links: usize,
    strategy: Arc<dyn Strategy>,
    host: Option<Box<dyn MailboxHost>>,
    timeout: std::time::Duration,
    introductions: bool,
    relay: bool,
    rules: Rules,
    key_log: Arc<dyn KeyLog>,
}

enum Place {
    Dir(PathBuf),
    Memory,
}

/// The store, as it was found.
struct Store {
    storage: Storage,
    log: Log,
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    last: Lsn,
    continuity: Continuity,
}

/// When a node began, and what must have ended before its state directory may be opened again.
struct Life {
    origin: Clock,
    alive: mpsc::Receiver<()>,
    host: Option<(Box<dyn MailboxHost>, mpsc::Sender<()>)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let config = Config::new(DeviceId::ZERO);
        Builder {
            place: None,
            key: None,
            listen: None,
            generation: config.generation,
            floor: config.floor,
            pulls: config.pulls,
            accept_unknown: config.accept_unknown,
            trusted: Vec::new(),
            witness: None,
            source: None,
            follow: config.follow,
            only: Vec::new(),
            links: config.links,
            strategy: Arc::new(Ask),
            host: None,
            timeout: std::time::Duration::from_micros(HANDOFF_TIMEOUT),
            introductions: true,
            relay: true,
            rules: Rules::ALL,
            key_log: Arc::new(NoKeyLog {}),
        }
    }

    /// Keeps the store in this directory, which one node at a time may use. What was unfinished when it was last open
    /// goes on.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Dir(dir.into()));
        self
    }

    /// Keeps everything in memory, for tests and measurements: nothing survives the node, so what it promises to
    /// others, it may break. No disk is waited for.
    pub fn in_memory(mut self) -> Self {
        self.place = Some(Place::Memory);
        self
    }

    /// The device's key. By default it is `device.key` in the state directory, made at the first start; a node in
    /// memory draws one.
    pub fn key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Takes calls at this address; port 0 lets the system choose, and [`Node::local_addr`] tells. By default the node
    /// only dials.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = Some(addr);
        self
    }

    /// The highest generation to speak. By default 7.
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// The lowest generation to accept. It is remembered: a lower one given later doesn't lower it. By default 1.4.
    pub fn floor(mut self, floor: Generation) -> Self {
        self.floor = floor;
        self
    }

    /// Who decides when a member asks for a session that this device owns. By default the application is asked, by
    /// [`crate::Event::RequestHandoff`].
    pub fn pulls(mut self, policy: Policy) -> Self {
        self.pulls = policy;
        self
    }

    /// Lets devices link that are neither trusted nor members of a session. They learn nothing of sessions that aren't
    /// theirs. By default they can't.
    pub fn accept_unknown(mut self, accept: bool) -> Self {
        self.accept_unknown = accept;
        self
    }

    /// Takes at most so many links at a time; 1,024 if nothing is said. An idle one costs about 40 KB, and one whose peer
    /// means ill up to 256 KiB beside what all share. More callers are refused (TRANSPORT-LIMIT-1).
    pub fn links(mut self, most: usize) -> Self {
        self.links = most.max(1);
        self
    }

    /// Vouches for a device, as [`Node::trust`] does.
    pub fn trust(mut self, device: DeviceId) -> Self {
        self.trusted.push(device);
        self
    }

    /// The file outside the state directory that tells a restored backup from the store itself. By default it is in the
    /// user's own state directory.
    pub fn witness(mut self, file: impl Into<PathBuf>) -> Self {
        self.witness = Some(file.into());
        self
    }

    /// Asks the application for blobs that the node doesn't hold.
    pub fn blob_source(mut self, source: Arc<dyn BlobSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Follows every session that a linked device tells of, or that this device is invited to by way of a mailbox. By
    /// default those alone that the application names, or is handed.
    pub fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// Picks this of each session of another device's that comes to be known, unless [`Node::pick`] says otherwise before;
    /// everything, if nothing is said. At most 64 types count.
    pub fn only(mut self, pick: &Pick) -> Self {
        self.only = pick.names().to_vec();
        self
    }

    /// What becomes of values in conflict, in the sessions of which this device is primary. By default
    /// [`crate::Ask`]: they stay listed by [`Node::conflicts`].
    pub fn conflicts(mut self, strategy: impl Strategy) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// Hosts a mailbox, for devices that link. By default a node hosts none.
    pub fn host_mailbox(mut self, host: impl MailboxHost) -> Self {
        self.host = Some(Box::new(host));
        self
    }

    /// The deadline of handoffs that this node starts. By default a minute.
    pub fn handoff_timeout(mut self, timeout: std::time::Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whether mailboxes that are used introduce this node and others to one another, so that what they hand over goes
    /// over a link of their own, if one can dial the other. Only devices that this one trusts, those of its account and
    /// members of its sessions are told where it listens, and dialled; the mailbox tells them that it is there, and reads
    /// none of the addresses. By default they do.
    pub fn introductions(mut self, take_part: bool) -> Self {
        self.introductions = take_part;
        self
    }

    /// Whether a mailbox that is used passes packets on between this node and others that are introduced to it, so that they
    /// have a link, as any other, if neither can dial the other; and, if this node hosts a mailbox, whether it does so for
    /// others. The mailbox sees when how much goes, and nothing of what it is. A direct link takes its place. By default they
    /// do; none does that takes no part in introductions.
    pub fn relay(mut self, relay: bool) -> Self {
        self.relay = relay;
        self
    }

    /// Breaks a clause on purpose: a mutant of the conformance suite.
    #[cfg(feature = "testing")]
    pub fn without(mut self, clause: segue_proto::Clause) -> Self {
        self.rules = Rules::without(clause);
        self
    }

    /// Tells the secrets of every link's TLS, so that a test can read a capture of its traffic. In no build but with the
    /// feature `key-log`, and by no variable of the environment: who has them reads all that the links carried.
    #[cfg(feature = "key-log")]
    pub fn key_log(mut self, key_log: Arc<dyn KeyLog>) -> Self {
        self.key_log = key_log;
        self
    }

    /// Opens the node and starts its driver. Must be called inside a tokio runtime with time and I/O enabled.
    ///
    /// # Errors
    /// The state directory, the key, the store or the socket can't be used; each says why.
    pub async fn open(mut self) -> Result<Node, OpenError> {
        let (report, alive) = mpsc::channel(1);
        let host = self.host.take().map(|host| (host, report.clone()));
        let place = self.place.as_ref().ok_or(OpenError::NoStore)?;
        let (key, store) = match place {
            Place::Memory => (self.memory_key()?, memory(self.source.clone(), report)),
            Place::Dir(dir) => {
                let (dir, key) = (dir.clone(), self.key.clone());
                let (witness, source) = (self.witness.clone(), self.source.clone());
                tokio::task::spawn_blocking(move || {
                    let key = key.map_or_else(|| load_or_create_key(&dir), Ok)?;
                    disk(&dir, witness, source, report).map(|store| (key, store))
                })
                .await
                .unwrap_or_else(|error| Err(OpenError::store(dir_of(place), error)))?
            }
        };
        let reset_secret = Hasher::new("segue/1 stateless reset").bytes(&key.to_bytes());
        let endpoint = transport::endpoint(self.listen, reset_secret, Windows::NODE, self.rules, &self.key_log)?;
        let relayed = self.relayed(&key)?;
        let origin = Clock::now();
        let mut core = self.core(&key, &store)?;
        self.trusted.iter().for_each(|device| core.trust(*device));
        core.pick_usually(self.only.iter().take(MAX_PICK).cloned().collect())
            .map_err(|error| OpenError::store(dir_of(place), error))?;
        let host = host.map(|(host, report)| begin(&mut core, host).map(|host| (host, report))).transpose();
        let host = host.map_err(|text| OpenError::store(dir_of(place), text))?;
        Ok(self.start(core, key, store, (endpoint, relayed), Life { origin, alive, host }))
    }

    /// What links by way of services run on, if there are to be any.
    fn relayed(&self, key: &SigningKey) -> Result<Relayed, OpenError> {
        let ways = (self.relay && self.introductions).then(Arc::<Ways>::default);
        let over = ways.map(|ways| {
            let reset_secret = Hasher::new("segue/1 stateless reset").bytes(&key.to_bytes());
            transport::endpoint_over(ways.clone(), reset_secret, self.rules, &self.key_log).map(|over| (over, ways))
        });
        Ok(Relayed::new(over.transpose()?))
    }

    fn memory_key(&self) -> Result<SigningKey, OpenError> {
        self.key.clone().map_or_else(|| entropy().map(|secret| SigningKey::from_bytes(&secret)), Ok)
    }

    fn core(&self, key: &SigningKey, store: &Store) -> Result<Endpoint, OpenError> {
        let config = Config {
            generation: self.generation,
            floor: self.floor,
            pulls: self.pulls,
            accept_unknown: self.accept_unknown,
            follow: self.follow,
            links: self.links,
            relays: self.relay,
            rules: self.rules,
            ..Config::new(device_id(key))
        };
        let entries = store.entries.iter().cloned();
        Endpoint::open(config, entries, store.last, store.continuity, entropy()?, Instant::ZERO)
            .map_err(|error| OpenError::store(self.place.as_ref().map_or(Path::new(""), dir_of), error))
    }

    fn start(
        &self,
        core: Endpoint,
        key: SigningKey,
        store: Store,
        (endpoint, relayed): (quinn::Endpoint, Relayed),
        Life { origin, alive, host }: Life,
    ) -> Node {
        let (inbox_in, inbox) = mpsc::channel(INBOX);
        let (stop_in, stop) = oneshot::channel();
        let (done_in, done) = watch::channel(false);
        let events = Arc::new(Queue::default());
        let counters = Arc::default();
        let (rules, buffers) = (self.rules, Buffers::default());
        let serving = Turns::new(SERVING_IN_ALL);
        let shared = Shared { inbox: inbox_in, storage: store.storage, counters, rules, buffers, serving };
        let inbox_in = shared.inbox.clone();
        let host = host.map(|(host, report)| mailbox::host(host, origin, inbox_in, report));
        let node = Node::new(&core, &shared, &endpoint, events.clone(), stop_in, done, self.timeout);
        let (strategy, listens, most_links) = (self.strategy.clone(), self.listen.is_some(), self.links);
        let introductions = self.introductions;
        let log = store.log;
        let parts = Parts {
            core,
            shared,
            key,
            host,
            origin,
            endpoint,
            log,
            inbox,
            stop,
            events,
            strategy,
            listens,
            introductions,
            relayed,
            most_links,
        };
        let driver = Driver::new(parts);
        tokio::spawn(driver.run(alive, done_in));
        node
    }
}

/// Begins to host.
fn begin(core: &mut Endpoint, mut host: Box<dyn MailboxHost>) -> Result<Box<dyn MailboxHost>, String> {
    core.host_mailbox();
    let kept = core.take_hosted().into_iter().find(|(key, _)| key == mailbox::MARK);
    let mark = kept.and_then(|(_, mark)| mark.first_chunk().copied()).map_or(0, u64::from_be_bytes);
    if host.keeps_custody() {
        let put_back = host.was_put_back(mark);
        if put_back {
            tracing::warn!(
                "the service's store is older than what it signed; it signs nothing for what was delegated before"
            );
        }
        let tenure = core.host_custody(put_back);
        host.begin(Instant::ZERO, core.device(), tenure)?;
    }
    Ok(host)
}

fn memory(source: Option<Arc<dyn BlobSource>>, alive: mpsc::Sender<()>) -> Store {
    Store {
        storage: Storage::memory(source, alive),
        log: Log::Memory { given: Default::default() },
        entries: Vec::new(),
        last: Lsn::default(),
        continuity: Continuity::Proven,
    }
}

fn disk(
    dir: &Path,
    witness: Option<PathBuf>,
    source: Option<Arc<dyn BlobSource>>,
    alive: mpsc::Sender<()>,
) -> Result<Store, OpenError> {
    let store = |error: segue_store::StoreError| OpenError::store(dir, error);
    let witness = witness.map_or_else(|| default_witness(dir), Ok).map_err(store)?;
    let blobs = Blobs::open(dir).map_err(store)?;
    let (report, reports) = mpsc::unbounded_channel();
    let hooks = Hooks::new(move |said| drop(report.send(said))).chunks(blobs.clone());
    let (journal, opened) = Journal::open(dir, &witness, hooks).map_err(store)?;
    if let Some(doubt) = opened.doubt {
        tracing::warn!(dir = %dir.display(), %doubt, "the store's continuity isn't proven");
    }
    let log = Log::Disk { journal, reports, given: opened.last, durable: opened.last, held: None };
    let storage = Storage::disk(blobs, dir, source, alive)?;
    Ok(Store { storage, log, entries: opened.entries, last: opened.last, continuity: opened.continuity })
}

fn dir_of(place: &Place) -> &Path {
    match place {
        Place::Dir(dir) => dir,
        Place::Memory => Path::new("memory"),
    }
}
