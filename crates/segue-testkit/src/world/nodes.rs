//! The devices of a world: starting, crashing, syncing, and taking up what they put out.

use std::collections::BTreeSet;
use std::fmt;

use segue_proto::wire::{DeviceId, Message, SessionId};
use segue_proto::{Continuity, Event, Instant, LinkId, Policy};

use super::queue::Happening;
use super::{Edge, Strike, World};
use crate::device::{Command, Device, Input, Outputs, Refusal, Reply, Setup, Start};
use crate::disk::{Backup, Disk, Mark};
use crate::net::{End, Liveness};
use crate::oracle;
use crate::rng::Span;
use crate::trace::{Tap, describe};

/// A device and what stands around it.
pub(super) struct Node<D> {
    pub(super) name: String,
    pub(super) id: DeviceId,
    pub(super) setup: Setup,
    /// What its application says again at every start.
    pub(super) standing: Vec<Command>,
    pub(super) device: Option<D>,
    /// How often it started; tells what was meant for an earlier run of it.
    pub(super) boot: u32,
    pub(super) disk: Disk,
    pub(super) backup: Option<Backup>,
    pub(super) syncing: bool,
    pub(super) timeout: Option<Instant>,
    pub(super) stuck: (Instant, u32),
    /// Where it is to lose power next.
    pub(super) strike: Option<Strike>,
    pub(super) events: Vec<(Instant, Event)>,
    /// What it sent on each control stream, up to the last whole frame.
    taps: Vec<(LinkId, Tap)>,
    /// The links on which it sent its AUTH.
    proved: BTreeSet<LinkId>,
}

impl<D> Node<D> {
    pub(super) fn new(at: usize, setup: Setup) -> Self {
        Node {
            name: name(at),
            id: setup.device(),
            setup,
            standing: Vec::new(),
            device: None,
            boot: 0,
            disk: Disk::default(),
            backup: None,
            syncing: false,
            timeout: None,
            stuck: (Instant::ZERO, 0),
            strike: None,
            events: Vec::new(),
            taps: Vec::new(),
            proved: BTreeSet::new(),
        }
    }

    /// The messages that these bytes complete.
    fn tap(&mut self, link: LinkId, bytes: &[u8]) -> Vec<Message> {
        if !self.taps.iter().any(|(known, _)| *known == link) {
            self.taps.push((link, Tap::default()));
        }
        let tap = self.taps.iter_mut().find(|(known, _)| *known == link);
        let messages = tap.map(|(_, tap)| tap.push(bytes)).unwrap_or_default();
        if messages.iter().any(|message| matches!(message, Message::Auth(_))) {
            self.proved.insert(link);
        }
        messages
    }

    /// Whether it sent its AUTH on this link.
    pub(super) fn has_proved(&self, link: LinkId) -> bool {
        self.proved.contains(&link)
    }
}

/// Starting and stopping by hand.
impl<D: Device> World<D> {
    /// Cuts a device's power now.
    pub fn crash(&mut self, node: usize) {
        let outage = self.dice.faults.within(self.options.faults.outage);
        self.crash_for(node, outage);
    }

    /// Cuts a device's power now; it starts again after so many microseconds.
    pub fn crash_for(&mut self, node: usize, outage: u64) {
        if self.nodes[node].device.take().is_none() {
            return;
        }
        let it = &mut self.nodes[node];
        it.disk.crash(&mut self.dice.disk);
        (it.syncing, it.timeout, it.strike) = (false, None, None);
        it.boot += 1;
        it.taps.clear();
        self.traffic[node].crashed();
        let it = &mut self.nodes[node];
        let line = format!("{} crashes", it.name);
        self.trace.note(self.now, line);
        self.oracle.crashed(node);
        for end in self.net.live_ends(node) {
            self.net.set_state(end, Liveness::Down);
            self.lose(end);
        }
        self.queue.push(self.now.after(outage), Happening::Start(node));
    }

    /// Has a device lose power where it hurts, the next time that it comes there.
    pub fn strike(&mut self, node: usize, strike: Strike) {
        self.nodes[node].strike = Some(strike);
        let line = format!("{} is to lose power: {strike:?}", self.nodes[node].name);
        self.trace.note(self.now, line);
    }

    /// Takes a copy of a device's disk as it is.
    pub fn back_up(&mut self, node: usize) {
        self.nodes[node].backup = Some(self.nodes[node].disk.backup());
        let line = format!("{} is backed up", self.nodes[node].name);
        self.trace.note(self.now, line);
    }

    /// Cuts a device's power and puts its last backup back; without one it is a crash.
    pub fn restore(&mut self, node: usize) {
        self.crash(node);
        self.put_back(node);
    }

    /// Cuts a device's power and puts its last backup back, witness and all, so that nothing on it tells; without one it is
    /// a crash.
    pub fn roll_back(&mut self, node: usize) {
        self.crash(node);
        let it = &mut self.nodes[node];
        let Some(backup) = &it.backup else { return };
        it.disk.roll_back(backup);
        let line = format!("{} is put back, and doesn't know", it.name);
        self.trace.note(self.now, line);
        self.is_restored(node);
    }

    /// Makes a device a copy of another one, whose identity it has: from now on there are two of that, and neither knows.
    pub fn fork(&mut self, of: usize, copy: usize) {
        self.crash(copy);
        let backup = self.nodes[of].disk.backup();
        self.nodes[copy].disk.roll_back(&backup);
        let line = format!("{} is a copy of {}", name(copy), name(of));
        self.trace.note(self.now, line);
        self.is_restored(copy);
    }

    /// Separates two devices until [`World::heal`].
    pub fn partition(&mut self, a: usize, b: usize) {
        self.net.block(a, b);
        let line = format!("{} and {} are separated", name(a), name(b));
        self.trace.note(self.now, line);
    }

    /// Separates two devices for a while, in microseconds.
    pub fn partition_for(&mut self, a: usize, b: usize, len: u64) {
        self.partition(a, b);
        self.queue.push(self.now.after(len), Happening::Heal(a, b));
    }

    /// Other surroundings from now on. The seed stays.
    pub fn set_options(&mut self, options: super::Options) {
        self.options = super::Options { seed: self.options.seed, ..options };
    }

    /// Whether nothing is under way: no request, no GRANT that isn't acknowledged, no device down.
    pub fn is_settled(&self) -> bool {
        self.oracle.is_settled() && self.nodes.iter().all(|node| node.device.is_some())
    }

    /// Whether all devices that take part hold the same.
    pub fn is_converged(&self) -> bool {
        self.oracle.apart().is_empty()
    }

    /// Has the oracle check what must hold once the faults have ended and all is quiet.
    pub fn check_settled(&mut self) {
        self.oracle.check_settled(self.now);
        self.oracle.check_converged(self.now);
    }

    /// Books a breach that a test found by its own means.
    pub fn breach(&mut self, promise: oracle::Promise, node: usize, what: &str) {
        self.oracle.book(promise, self.now, node, what);
    }

    /// Tells the oracle which devices let others pull by policy: nobody need choose whom they grant to.
    pub fn allow_pulls(&mut self, session: SessionId) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].setup.pulls != Policy::Ask {
                self.oracle.allow_pulls(session, node);
            }
        }
    }

    /// Whether what devices promise is checked against what is synced. It is, unless this says otherwise: each promise costs
    /// the start of a device.
    pub fn set_shadows(&mut self, shadows: bool) {
        self.shadows = shadows;
    }

    /// Ends all faults: calm weather, no crashes, partitions healed, every device up before long.
    pub fn calm(&mut self) {
        self.note("all faults end");
        let delay = self.options.weather.delay.0.min(50_000);
        self.options.weather = crate::net::Weather::calm(delay);
        self.options.faults = super::Faults::none(self.options.faults.sync.0);
        self.options.users = super::Users::EAGER;
        self.nodes.iter_mut().for_each(|node| node.strike = None);
        for (a, b) in self.net.partitions() {
            self.heal(a, b);
        }
    }

    /// How users answer from now on.
    pub fn set_users(&mut self, users: super::Users) {
        self.options.users = users;
    }

    /// Fails the device's store now.
    pub fn fail_store(&mut self, node: usize) {
        let line = format!("{}'s sync fails", self.nodes[node].name);
        self.trace.note(self.now, line);
        self.feed(node, Input::StoreFailed);
        let boot = self.nodes[node].boot;
        let outage = self.dice.faults.within(Span(0, 2_000_000));
        self.queue.push(self.now.after(outage), Happening::Crash { node, boot });
    }

    /// Starts a device from what its disk holds.
    pub(super) fn start(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.device.is_some() {
            return;
        }
        if it.backup.is_some() && self.dice.faults.chance(self.options.faults.restore) {
            self.put_back(node);
        }
        let it = &mut self.nodes[node];
        let (disk, continuity) = it.disk.open();
        let line = format!("{} starts from LSN {}, {continuity:?}", it.name, disk.last.0);
        self.trace.note(self.now, line);
        let start = Start { setup: it.setup.clone(), entropy: self.dice.names.array(), disk, continuity };
        match (self.spawn)(start, self.now) {
            Ok((device, outputs)) => {
                self.nodes[node].device = Some(device);
                self.look(node);
                self.absorb(node, outputs, Edge::Write);
                for command in self.nodes[node].standing.clone() {
                    // Refused if it crashed again meanwhile, and then it is said at the next start.
                    let _ = self.command(node, command);
                }
            }
            Err(why) => self.oracle.unopened(self.now, node, &why),
        }
        let dialled: Vec<_> = self.pairs.iter().copied().filter(|(from, _)| *from == node).collect();
        dialled.into_iter().for_each(|(from, to)| self.redial(from, to));
    }

    fn put_back(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        let Some(backup) = it.backup.clone() else { return };
        it.disk.restore(&backup);
        let line = format!("{} is put back to a backup", it.name);
        self.trace.note(self.now, line);
        self.is_restored(node);
    }

    /// A device may have lost what it acknowledged; what a service keeps was acknowledged by others.
    fn is_restored(&mut self, node: usize) {
        let hosts = |command: &Command| matches!(command, Command::HostMailbox { .. } | Command::HostCustody { .. });
        if !self.nodes[node].standing.iter().any(hosts) {
            self.oracle.restored(node);
        }
    }
}

/// Inputs and outputs.
impl<D: Device> World<D> {
    /// Gives a device an input and takes up what it puts out.
    pub(super) fn feed(&mut self, node: usize, input: Input) {
        let now = self.now;
        let edge = if matches!(input, Input::Durable { .. }) { Edge::Send } else { Edge::Write };
        if let Some(device) = self.nodes[node].device.as_mut() {
            let outputs = device.input(now, input);
            self.absorb(node, outputs, edge);
        }
    }

    /// Takes up what a device put out. A crash may come between any two of the steps.
    pub(super) fn absorb(&mut self, node: usize, outputs: Outputs, edge: Edge) {
        self.nodes[node].timeout = outputs.timeout;
        if outputs.is_silent() {
            return;
        }
        let hurts = !outputs.batches.is_empty() || (edge == Edge::Send && !outputs.control.is_empty());
        let strike = self.nodes[node].strike.take_if(|strike| hurts && strike.edge() == edge);
        let drawn = hurts && self.dice.faults.chance(self.options.faults.crash);
        let unsent = drawn && self.dice.faults.chance(500);
        let crash = drawn || strike.is_some();
        if unsent || strike.is_some_and(Strike::is_unsent) {
            self.nodes[node].disk.write(&outputs);
            return self.crash(node);
        }
        for event in &outputs.events {
            let line = format!("{}: {event:?}", self.nodes[node].name);
            self.trace.note(self.now, line);
            self.oracle.told(self.now, node, event);
        }
        self.traffic[node].keep(&outputs.chunks);
        let said = self.listen(node, &outputs);
        self.check_promises(node, &said);
        self.nodes[node].disk.write(&outputs);
        // Chunks alone change nothing that the oracle looks at: what they make whole is written down with a batch.
        if !outputs.batches.is_empty() || !outputs.control.is_empty() {
            self.look(node);
        }
        self.send_all(node, &outputs);
        self.answer(node, &outputs.events);
        let events = outputs.events.into_iter().map(|event| (self.now, event));
        self.nodes[node].events.extend(events);
        if crash {
            return self.crash(node);
        }
        self.sync(node);
    }

    /// Decodes what a device sends, for the trace and the oracle.
    fn listen(&mut self, node: usize, outputs: &Outputs) -> Vec<(DeviceId, Message)> {
        let mut said = Vec::new();
        for (link, bytes) in &outputs.control {
            let Some(end) = self.net.end(node, *link) else { continue };
            let peer = self.net.owner(end.other()).0;
            for message in self.nodes[node].tap(*link, bytes) {
                let line = format!("{}→{} {}", self.nodes[node].name, self.nodes[peer].name, describe(&message));
                self.trace.note(self.now, line);
                self.replays.record(node, peer, &message);
                self.traffic[node].said(&message);
                let to = self.nodes[peer].id;
                self.oracle.sent(self.now, node, to, &message);
                said.push((to, message));
            }
        }
        said
    }

    /// Whether what a device promises would survive a crash at this instant: a shadow is started from what is synced,
    /// and asked (S4).
    fn check_promises(&mut self, node: usize, said: &[(DeviceId, Message)]) {
        if !self.shadows {
            return;
        }
        let promises: Vec<_> = said.iter().filter_map(|(_, message)| oracle::promise(message)).collect();
        if promises.is_empty() {
            return;
        }
        let it = &self.nodes[node];
        let disk = it.disk.synced().clone();
        let start = Start { setup: it.setup.clone(), entropy: [0; 32], disk, continuity: Continuity::Proven };
        let Ok((mut shadow, _)) = (self.spawn)(start, self.now) else { return };
        for promise in &promises {
            // A device whose data went on since can't show the manifest any more, and neither can its shadow.
            let gone = match (promise, self.nodes[node].device.as_mut()) {
                (oracle::Pledge::Data { session, manifest, pick }, Some(it)) => {
                    it.holds(*session, *manifest, pick) == Some(false)
                }
                _ => false,
            };
            if !gone {
                self.oracle.promised(self.now, node, promise, &mut shadow);
            }
        }
    }

    /// Lets the oracle look at a device.
    fn look(&mut self, node: usize) {
        let now = self.now;
        let it = &mut self.nodes[node];
        if let Some(device) = it.device.as_mut() {
            let state = device.inspect(now);
            self.oracle.observed(now, node, &state, !it.disk.is_dirty());
        }
    }

    fn send_all(&mut self, node: usize, outputs: &Outputs) {
        for (link, bytes) in &outputs.control {
            if let Some(end) = self.net.end(node, *link) {
                self.send_control(end, bytes);
                self.send_again(end);
            }
        }
        for bulk in &outputs.bulk {
            if let Some(end) = self.net.end(node, bulk.link) {
                self.send_bulk(end, bulk);
            }
        }
        for (link, code) in &outputs.closes {
            if let Some(end) = self.net.end(node, *link) {
                self.close(end, *code);
            }
        }
    }

    /// Lets the users answer what they are asked.
    fn answer(&mut self, node: usize, events: &[Event]) {
        for event in events {
            let (Event::HandoffRequest { token, .. } | Event::RequestHandoff { token, .. }) = event else { continue };
            let users = &self.options.users;
            let drawn = self.dice.users.below(1000) as u32;
            let command = match drawn {
                drawn if drawn < users.accept => Command::Accept { token: *token },
                drawn if drawn < users.accept + users.reject => {
                    Command::Reject { token: *token, reason: Some("not now".into()) }
                }
                _ => continue,
            };
            let at = self.now.after(self.dice.users.within(users.think));
            self.queue.push(at, Happening::User { node, boot: self.nodes[node].boot, command });
        }
    }

    /// Begins a sync if there is something to sync and none runs.
    fn sync(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.syncing || !it.disk.is_dirty() {
            return;
        }
        it.syncing = true;
        let mark = it.disk.begin_sync();
        let at = self.now.after(self.dice.disk.within(self.options.faults.sync));
        self.queue.push(at, Happening::Synced { node, boot: it.boot, mark });
    }

    pub(super) fn synced(&mut self, node: usize, mark: Mark) {
        if self.dice.faults.chance(self.options.faults.sync_failure) {
            return self.fail_store(node);
        }
        let it = &mut self.nodes[node];
        let lsn = it.disk.end_sync(mark);
        it.syncing = false;
        self.trace.note(self.now, format_args!("{} is durable to LSN {}", it.name, lsn.0));
        self.oracle.durable(node, it.boot, lsn);
        if self.dice.faults.chance(self.options.faults.backup) {
            self.back_up(node);
        }
        self.feed(node, Input::Durable { lsn });
        if self.nodes[node].device.is_some() {
            self.look(node);
            self.sync(node);
        }
    }

    /// The other end of a link whose device is gone hears of it in its own time.
    pub(super) fn lose(&mut self, end: End) {
        self.net.kill(end.link);
        if self.net.state(end.other()) != Liveness::Down {
            let at = self.now.after(self.dice.net.within(self.options.weather.notice));
            self.queue.push(at, Happening::LinkDown(end.other()));
        }
    }
}

/// A command and its outcome, for the trace.
pub(super) struct Told<'a>(pub(super) &'a str, pub(super) &'a Command, pub(super) &'a Result<Reply, Refusal>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ! ", self.0)?;
        match self.1 {
            Command::WriteFile { path, content, .. } => write!(f, "WriteFile {path:?}, {} bytes", content.len())?,
            Command::WriteExclusive { bytes, .. } => write!(f, "WriteExclusive {} bytes", bytes.len())?,
            command => write!(f, "{command:?}")?,
        }
        match self.2 {
            Ok(reply) => write!(f, ": {reply:?}"),
            Err(refusal) => write!(f, ": refused, {:?}", refusal.code),
        }
    }
}

/// The devices are called A, B, C, and after Z by their numbers.
pub(super) fn name(at: usize) -> String {
    match u8::try_from(at) {
        Ok(at @ 0..26) => char::from(b'A' + at).to_string(),
        _ => format!("#{at}"),
    }
}
