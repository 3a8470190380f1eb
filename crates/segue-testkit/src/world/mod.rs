//! A world: devices, their disks, the network between them and their users, in virtual time from one seed.

mod carry;
mod nodes;
mod plan;
mod queue;
mod replays;
mod traffic;

use std::collections::BTreeSet;

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Event, Instant, SessionRole};

use crate::device::{
    Command, Device, Input, Inspect, LocalDevice, Outputs, Refusal, Reply, SessionState, Setup, Start,
};
use crate::net::Net;
use crate::oracle::{Breach, Oracle};
use crate::rng::Rng;
use crate::trace::Trace;
use nodes::Node;
use queue::{Happening, Queue};
use replays::Replays;

pub use plan::{Faults, Options, Users};
pub use traffic::Traffic;

/// How a world makes a device: from nothing, or from what a disk holds.
pub type Spawn<D> = Box<dyn FnMut(Start, Instant) -> Result<(D, Outputs), String>>;

/// A simulated world. Devices are named by their number, in the order in which they were added.
pub struct World<D> {
    now: Instant,
    options: Options,
    nodes: Vec<Node<D>>,
    net: Net,
    /// Pairs that are dialled again whenever they have no link: who dials, and whom.
    pairs: BTreeSet<(usize, usize)>,
    queue: Queue,
    spawn: Spawn<D>,
    oracle: Oracle,
    trace: Trace,
    replays: Replays,
    shadows: bool,
    traffic: Vec<Traffic>,
    dice: Dice,
}

/// One generator a concern, so that one more draw in one moves nothing in the others.
struct Dice {
    net: Rng,
    disk: Rng,
    faults: Rng,
    users: Rng,
    names: Rng,
}

impl World<LocalDevice> {
    /// A world of devices that run the core in this process.
    pub fn local(options: Options) -> World<LocalDevice> {
        let spawn = |start, now| LocalDevice::audited(start, now).map_err(|error| format!("{error:?}"));
        World::new(options, Box::new(spawn))
    }
}

impl<D: Device> World<D> {
    /// An empty world whose devices `spawn` makes.
    pub fn new(options: Options, spawn: Spawn<D>) -> World<D> {
        let seed = options.seed;
        let dice = Dice {
            net: Rng::new(seed, "net"),
            disk: Rng::new(seed, "disk"),
            faults: Rng::new(seed, "faults"),
            users: Rng::new(seed, "users"),
            names: Rng::new(seed, "names"),
        };
        World {
            now: Instant::ZERO,
            options,
            nodes: Vec::new(),
            net: Net::default(),
            pairs: BTreeSet::new(),
            queue: Queue::default(),
            spawn,
            oracle: Oracle::default(),
            trace: Trace::default(),
            replays: Replays::default(),
            shadows: true,
            traffic: Vec::new(),
            dice,
        }
    }

    /// Adds `count` devices that trust one another and starts them. `adjust` may change each one's set-up.
    pub fn add(&mut self, count: usize, mut adjust: impl FnMut(usize, &mut Setup)) {
        let mut setups: Vec<Setup> = (0..count).map(|_| Setup::new(self.dice.names.array())).collect();
        let devices: Vec<DeviceId> = setups.iter().map(Setup::device).collect();
        for (at, setup) in setups.iter_mut().enumerate() {
            setup.trusted = devices.iter().copied().filter(|device| *device != devices[at]).collect();
            adjust(at, setup);
        }
        for setup in setups {
            let node = self.nodes.len();
            self.nodes.push(Node::new(node, setup));
            self.traffic.push(Traffic::default());
            self.oracle.add(&self.nodes[node].name, self.nodes[node].id);
            self.start(node);
        }
    }

    /// Keeps two devices linked: the first dials, again whenever the link is lost.
    pub fn link(&mut self, from: usize, to: usize) {
        self.pairs.insert((from, to));
        self.queue.push(self.now, Happening::Dial(from, to));
    }

    /// Keeps two devices linked no longer, and ends the links that they have: one of them goes offline.
    pub fn unlink(&mut self, a: usize, b: usize) {
        self.pairs.retain(|pair| *pair != (a, b) && *pair != (b, a));
        self.cut(a, b);
    }

    /// Keeps every two devices linked.
    pub fn link_all(&mut self) {
        for to in 0..self.nodes.len() {
            (0..to).for_each(|from| self.link(from, to));
        }
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The id of a device.
    pub fn id(&self, node: usize) -> DeviceId {
        self.nodes[node].id
    }

    /// How many devices there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a device runs.
    pub fn is_up(&self, node: usize) -> bool {
        self.nodes[node].device.is_some()
    }

    /// How often a device stopped: tells its runs apart.
    pub fn boot(&self, node: usize) -> u32 {
        self.nodes[node].boot
    }

    /// The device itself, while it runs.
    pub fn device(&self, node: usize) -> Option<&D> {
        self.nodes[node].device.as_ref()
    }

    /// What a device was told to its application since it was added, and when.
    pub fn events(&self, node: usize) -> &[(Instant, Event)] {
        &self.nodes[node].events
    }

    /// What a device says of itself; nothing while it is down.
    pub fn inspect(&mut self, node: usize) -> Inspect {
        let now = self.now;
        self.nodes[node].device.as_mut().map(|device| device.inspect(now)).unwrap_or_default()
    }

    /// What a device says of a session.
    pub fn session(&mut self, node: usize, session: SessionId) -> Option<SessionState> {
        self.inspect(node).sessions.remove(&session)
    }

    /// The devices that take themselves for the session's primary.
    pub fn primaries(&mut self, session: SessionId) -> Vec<usize> {
        let mut out = Vec::new();
        for node in 0..self.nodes.len() {
            if self.session(node, session).is_some_and(|state| state.role == SessionRole::Primary) {
                out.push(node);
            }
        }
        out
    }

    /// What a device sent and asked for since it was added.
    pub fn traffic(&self, node: usize) -> &Traffic {
        &self.traffic[node]
    }

    /// What was broken so far.
    pub fn breaches(&self) -> &[Breach] {
        self.oracle.breaches()
    }

    /// The oracle, which has seen everything that can be seen from outside.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// The trace: a line for everything that happened.
    pub fn trace(&self) -> &[String] {
        self.trace.lines()
    }

    /// The BLAKE3 hash of the trace. The same seed and the same calls give the same hash.
    pub fn trace_hash(&self) -> blake3::Hash {
        self.trace.hash()
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, line: &str) {
        self.trace.note(self.now, line);
    }

    /// A device's application asks for something.
    ///
    /// # Errors
    /// As the device says; `STORE_IO` while it is down.
    pub fn command(&mut self, node: usize, command: Command) -> Result<Reply, Refusal> {
        let now = self.now;
        let Some(device) = self.nodes[node].device.as_mut() else {
            return Err(Refusal { code: segue_proto::Code::STORE_IO, text: "the device is down".into() });
        };
        let (reply, outputs) = device.command(now, command.clone());
        self.trace.note(now, nodes::Told(&self.nodes[node].name, &command, &reply));
        if let Command::Trust { device } = &command {
            self.nodes[node].setup.trusted.push(*device);
        }
        if let Command::Distrust { device } = &command {
            self.nodes[node].setup.trusted.retain(|trusted| trusted != device);
        }
        let standing = matches!(
            command,
            Command::UseMailbox { .. }
                | Command::HostMailbox { .. }
                | Command::HostCustody { .. }
                | Command::DemandAccounts { .. }
                | Command::Login { .. }
        );
        if standing && reply.is_ok() && !self.nodes[node].standing.contains(&command) {
            self.nodes[node].standing.push(command.clone());
        }
        if let Ok(reply) = &reply {
            self.oracle.commanded(now, node, self.nodes[node].boot, &command, reply);
        }
        self.absorb(node, outputs, Edge::Write);
        reply
    }

    /// A device's application asks its core for what no [`Command`] asks for; none while the device is down.
    pub fn drive<T>(
        &mut self,
        node: usize,
        act: impl FnOnce(&mut D, Instant) -> (T, crate::device::Outputs),
    ) -> Option<T> {
        let (done, outputs) = act(self.nodes[node].device.as_mut()?, self.now);
        self.absorb(node, outputs, Edge::Write);
        Some(done)
    }

    /// Gives a device an input that nothing in the world made: a replay, a forgery.
    pub fn inject(&mut self, node: usize, input: Input) {
        self.feed(node, input);
    }

    /// The next thing that happens. False if nothing ever will.
    pub fn step(&mut self) -> bool {
        let timer = self.next_timer();
        match (self.queue.next_at(), timer) {
            (Some(at), Some((wake, node))) if wake < at => self.wake(wake, node),
            (None, Some((wake, node))) => self.wake(wake, node),
            (Some(_), _) => {
                if let Some((at, happening)) = self.queue.pop() {
                    self.now = self.now.max(at);
                    self.happen(happening);
                }
            }
            (None, None) => return false,
        }
        self.oracle.tick(self.now);
        true
    }

    /// Runs for a while, in microseconds.
    pub fn run_for(&mut self, micros: u64) {
        let end = self.now.after(micros);
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Runs until `done`, for at most `limit` microseconds; whether it was done.
    pub fn run_until(&mut self, limit: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now.after(limit);
        loop {
            if done(self) {
                return true;
            }
            if self.next_at().is_none_or(|at| at > end) {
                return false;
            }
            self.step();
        }
    }

    /// Runs until a device tells what `wanted` looks for, for at most `limit` microseconds.
    pub fn run_until_event<T>(&mut self, node: usize, limit: u64, wanted: impl Fn(&Event) -> Option<T>) -> Option<T> {
        let mut from = self.nodes[node].events.len();
        let mut found = None;
        self.run_until(limit, |world| {
            let events = &world.nodes[node].events;
            found = events[from..].iter().find_map(|(_, event)| wanted(event));
            from = events.len();
            found.is_some()
        });
        found
    }

    fn next_at(&self) -> Option<Instant> {
        [self.queue.next_at(), self.next_timer().map(|timer| timer.0)].into_iter().flatten().min()
    }

    fn next_timer(&self) -> Option<(Instant, usize)> {
        let timers = self.nodes.iter().enumerate().filter_map(|(at, node)| Some((node.timeout?.max(self.now), at)));
        timers.min()
    }

    fn wake(&mut self, at: Instant, node: usize) {
        self.now = self.now.max(at);
        let stuck = &mut self.nodes[node].stuck;
        *stuck = if stuck.0 == self.now { (self.now, stuck.1 + 1) } else { (self.now, 0) };
        if stuck.1 > MAX_WAKES {
            self.oracle.stuck(self.now, node);
            self.nodes[node].timeout = None;
            return;
        }
        self.feed(node, Input::Time);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(packet) => self.arrive(packet),
            Happening::LinkUp(end) => self.link_up(end),
            Happening::LinkDown(end) => self.link_down(end),
            Happening::Dial(from, to) if !self.pairs.contains(&(from, to)) => {}
            Happening::Dial(from, to) => self.dial(from, to),
            Happening::Heal(a, b) => self.heal(a, b),
            Happening::Synced { node, boot, mark } if self.nodes[node].boot == boot => self.synced(node, mark),
            Happening::Crash { node, boot } if self.nodes[node].boot == boot => self.crash(node),
            Happening::User { node, boot, command } if self.nodes[node].boot == boot => {
                // A request that went away while its user thought is no mistake.
                let _ = self.command(node, command);
            }
            Happening::Start(node) => self.start(node),
            Happening::Synced { .. } | Happening::Crash { .. } | Happening::User { .. } => {}
        }
    }
}

/// Where in a device's work its outputs stand: crashes are drawn where they hurt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// It may have written what isn't synced.
    Write,
    /// A sync ended, and what waited for it leaves.
    Send,
}

/// A place in a device's work where losing power hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// As it writes to its journal; of what it says with that nothing leaves.
    Writing,
    /// As it has written to its journal, and what needs no sync has left.
    Written,
    /// As a sync ended; nothing of what waited for it leaves.
    Synced,
    /// As what waited for a sync has left.
    Sent,
}

impl Strike {
    const fn edge(self) -> Edge {
        match self {
            Strike::Writing | Strike::Written => Edge::Write,
            Strike::Synced | Strike::Sent => Edge::Send,
        }
    }

    const fn is_unsent(self) -> bool {
        matches!(self, Strike::Writing | Strike::Synced)
    }
}

/// How often a device may ask to be woken at one instant before the oracle calls it stuck. A guess, far above what
/// any chain of timers needs.
const MAX_WAKES: u32 = 1000;
