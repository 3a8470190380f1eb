//! The bench on which a case examines a subject: the suite owns clock, network, disk and randomness.
//!
//! A [`Lab`] runs one device of the subject. Scripted peers ([`Peer`](crate::peer::Peer)) stand at the other ends of
//! its links. Nothing here waits: time is a number, and passes only when a case lets it.

mod expect;
mod line;
mod shake;
mod wire;

use std::collections::BTreeMap;

use segue_proto::wire::{DeviceId, Message, SessionId};
use segue_proto::{Code, Continuity, Event, Generation, Instant, LinkId, Policy, Role};
use segue_testkit::device::{
    AccountState, Command, Device, Input, Outputs, Refusal, Reply, SessionState, Setup, Start,
};
use segue_testkit::disk::Disk;
use segue_testkit::rng::Rng;

use crate::attach::{Failure, Host, Slot};
use crate::choices::Chosen;
use crate::verdict::Fault;
pub use expect::{SOON, ensure, opposite};
pub use line::{By, Line};
pub use shake::Shake;
use wire::End;

/// What a case, or a step of it, came to.
pub type Done<T = ()> = Result<T, Fault>;

/// A subject's device with everything around it.
pub struct Lab<'h> {
    host: &'h mut dyn Host,
    /// The subject's highest generation in this run of the case.
    pub generation: Generation,
    /// Who the subject is and what its application set; changes count from the next start on.
    pub setup: Setup,
    /// Randomness of the case.
    pub rng: Rng,
    /// Whether all that the subject writes is durable at once.
    pub syncs: bool,
    /// The subject's disk.
    pub disk: Disk,
    /// What the subject chose where the specification leaves a choice.
    pub choices: Chosen,
    /// How the peers' bytes come.
    pub shake: Shake,
    shaker: Rng,
    now: Instant,
    device: Option<Slot>,
    timeout: Option<Instant>,
    /// How often the subject was woken since time passed last.
    wakes: u32,
    ends: BTreeMap<LinkId, End>,
    links: u64,
    events: Vec<Event>,
    /// The devices that it had woken as their mailbox.
    woken: Vec<DeviceId>,
    lines: Vec<Line>,
}

impl<'h> Lab<'h> {
    /// A lab whose subject isn't started yet: of this generation, letting members pull.
    pub fn new(host: &'h mut dyn Host, generation: Generation, seed: u64, case: &str) -> Lab<'h> {
        let mut rng = Rng::new(seed, case);
        let mut setup = Setup::new(rng.array());
        setup.generation = generation;
        setup.pulls = Policy::Allow;
        Lab {
            host,
            generation,
            setup,
            rng,
            syncs: true,
            disk: Disk::default(),
            choices: Chosen::default(),
            shake: Shake::NONE,
            shaker: Rng::new(seed, "shaken"),
            now: Instant::from_micros(1_000_000),
            device: None,
            timeout: None,
            wakes: 0,
            ends: BTreeMap::new(),
            links: 0,
            events: Vec::new(),
            woken: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// The subject's device id.
    pub fn id(&self) -> DeviceId {
        self.setup.device()
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// What happened, a line each.
    pub fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// Starts the subject from its disk.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn boot(&mut self) -> Done {
        self.start().map_err(|refusal| Fault::fail("a device that starts", refusal.text))
    }

    /// The subject doesn't start from its disk, and says so with this code.
    ///
    /// # Errors
    /// If it starts, or says another.
    pub fn boots_not(&mut self, code: Code) -> Done {
        let expected = format!("a device that doesn't start, with {code:?}");
        match self.start() {
            Ok(()) => Err(Fault::fail(expected, "it starts")),
            Err(refusal) if refusal.code == code => Ok(()),
            Err(refusal) => Err(Fault::fail(expected, format!("{:?}: {}", refusal.code, refusal.text))),
        }
    }

    fn start(&mut self) -> Result<(), Refusal> {
        let (disk, continuity) = self.disk.open();
        let opened = if disk.last.0 == 0 && disk.entries.is_empty() { Continuity::Proven } else { continuity };
        self.note(format!("the subject starts from LSN {}, {opened:?}", disk.last.0));
        let start = Start { setup: self.setup.clone(), entropy: self.rng.array(), disk, continuity: opened };
        let (device, outputs) = self.host.start(start, self.now)?;
        self.device = Some(device);
        self.absorb(outputs);
        Ok(())
    }

    /// Cuts the subject's power: what isn't durable is lost, and every link is gone.
    pub fn crash(&mut self) {
        let synced = self.disk.backup();
        self.disk.restore(&synced);
        self.device = None;
        self.timeout = None;
        self.ends.clear();
        self.events.clear();
        self.woken.clear();
        self.note("the subject loses power");
    }

    /// Cuts the subject's power and starts it again from what was durable.
    ///
    /// # Errors
    /// As [`Lab::boot`].
    pub fn reboot(&mut self) -> Done {
        self.crash();
        self.boot()
    }

    /// Makes all that was written durable, and tells the subject.
    pub fn sync(&mut self) {
        while self.disk.is_dirty() {
            let lsn = self.disk.end_sync(self.disk.begin_sync());
            self.note(format!("durable to LSN {}", lsn.0));
            self.raw_input(Input::Durable { lsn });
        }
    }

    /// Gives the subject an input.
    pub fn input(&mut self, input: Input) {
        self.raw_input(input);
        if self.syncs {
            self.sync();
        }
    }

    /// The subject's application asks for something.
    ///
    /// # Errors
    /// The device's refusal.
    pub fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        let gone = || Refusal { code: Code::STORE_IO, text: "the subject isn't running".into() };
        let now = self.now;
        let device = self.device.as_mut().ok_or_else(gone)?;
        let (reply, outputs) = device.command(now, command.clone());
        let outcome = match &reply {
            Ok(reply) => format!("{reply:?}"),
            Err(refusal) => format!("refused, {:?}", refusal.code),
        };
        self.say(By::Application, format!("{}: {outcome}", brief(&command)), None);
        self.absorb(outputs);
        if self.syncs {
            self.sync();
        }
        reply
    }

    /// What the subject says of a session.
    pub fn state(&mut self, session: SessionId) -> Option<SessionState> {
        let now = self.now;
        self.device.as_mut()?.inspect(now).sessions.remove(&session)
    }

    /// How many sessions the subject says that it keeps.
    pub fn sessions(&mut self) -> usize {
        let now = self.now;
        self.device.as_mut().map_or(0, |device| device.inspect(now).sessions.len())
    }

    /// How many grease frames the subject sent on a link.
    pub fn grease(&self, link: LinkId) -> usize {
        self.ends.get(&link).map_or(0, |end| end.grease)
    }

    /// What went wrong with the adapter, if anything did.
    pub fn failure(&self) -> Option<Failure> {
        self.host.failure()
    }

    /// What the subject says of its account.
    pub fn account(&mut self) -> Option<AccountState> {
        let now = self.now;
        self.device.as_mut()?.inspect(now).account
    }

    /// Lets time pass, in microseconds; the subject is woken whenever it asked for it.
    pub fn pass(&mut self, micros: u64) {
        let end = self.now.after(micros);
        while self.wake(end) {}
        if self.now < end {
            (self.now, self.wakes) = (end, 0);
        }
    }

    /// Wakes the subject if it asked for it by `end`; whether it had.
    fn wake(&mut self, end: Instant) -> bool {
        let Some(at) = self.timeout.filter(|at| *at <= end) else { return false };
        self.wakes = if at > self.now { 0 } else { self.wakes + 1 };
        if self.wakes > MAX_WAKES {
            return false;
        }
        self.now = self.now.max(at);
        self.input(Input::Time);
        true
    }

    /// Adds a line to the transcript.
    pub fn note(&mut self, line: impl std::fmt::Display) {
        self.say(By::Bench, line.to_string(), None);
    }

    /// What happens once the adapter is broken reaches it no more.
    fn say(&mut self, by: By, text: String, message: Option<Message>) {
        if matches!(self.failure(), Some(Failure::Broken(_))) {
            return;
        }
        self.lines.push(Line { at: self.now, by, text, message: message.map(Box::new) });
    }

    fn raw_input(&mut self, input: Input) {
        let now = self.now;
        if let Some(device) = self.device.as_mut() {
            let outputs = device.input(now, input);
            self.absorb(outputs);
        }
    }

    fn absorb(&mut self, outputs: Outputs) {
        self.timeout = outputs.timeout;
        self.disk.write(&outputs);
        for event in &outputs.events {
            self.say(By::Event, format!("{event:?}"), None);
        }
        self.events.extend(outputs.events);
        for device in outputs.wakes {
            self.say(By::Event, format!("{device:?} is to be woken"), None);
            self.woken.push(device);
        }
        for (link, bytes) in &outputs.control {
            self.hear(*link, bytes);
        }
        for bulk in outputs.bulk {
            if let Some(end) = self.ends.get_mut(&bulk.link) {
                let header = end.bulk(bulk.stream, &bulk.bytes, bulk.fin);
                let text = format!("bulk {} on {}, {} bytes", bulk.stream, bulk.link.0, bulk.bytes.len());
                self.say(By::Subject, text, header.map(Message::from));
            }
        }
        for (link, code) in outputs.closes {
            self.note(format!("subject closes {} with {code:?}", link.0));
            if let Some(end) = self.ends.get_mut(&link).filter(|end| end.closed.is_none()) {
                end.closed = Some(code);
                self.raw_input(Input::LinkDown { link });
            }
        }
    }

    fn hear(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(end) = self.ends.get_mut(&link) else { return };
        let said = end.hear(bytes);
        for (text, message) in said {
            self.say(By::Subject, text, message);
        }
    }

    /// A new transport connection; `role` is the subject's. Returns the subject's number for it.
    pub fn link_up(&mut self, role: Role, expect: Option<DeviceId>) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        let binding = self.rng.array();
        self.ends.insert(link, End::new(role, binding));
        self.note(format!("link {} is up, the subject is its {role:?}", link.0));
        self.input(Input::LinkUp { link, role, binding, expect });
        link
    }

    /// The transport connection is gone.
    pub fn link_down(&mut self, link: LinkId) {
        self.note(format!("link {} is down", link.0));
        if let Some(end) = self.ends.get_mut(&link) {
            end.closed.get_or_insert(Code::LINK_LOST);
        }
        self.input(Input::LinkDown { link });
    }

    /// The channel binding of a link, and the subject's role on it.
    pub fn channel(&self, link: LinkId) -> ([u8; 32], Role) {
        self.ends.get(&link).map_or(([0; 32], Role::Initiator), |end| (end.binding, end.role))
    }

    /// A peer sends a message.
    pub fn send(&mut self, link: LinkId, message: impl Into<Message>) {
        let message = message.into();
        self.say(By::Peer, segue_testkit::trace::describe(&message), Some(message.clone()));
        let frame = self.greased(link, message.to_frame());
        self.send_bytes(link, &frame);
        if let (Message::Auth(_), Some(end)) = (&message, self.ends.get_mut(&link)) {
            end.proven = true;
        }
    }

    /// A peer sends bytes on the control stream, whatever they are.
    pub fn send_raw(&mut self, link: LinkId, bytes: &[u8]) {
        let shown = hex::encode(bytes.get(..bytes.len().min(24)).unwrap_or_default());
        self.say(By::Peer, format!("{} raw bytes {shown}…", bytes.len()), None);
        self.send_bytes(link, bytes);
    }

    fn send_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        for bytes in self.pieces(bytes) {
            if self.ends.get(&link).is_some_and(|end| end.closed.is_none()) {
                self.input(Input::Bytes { link, bytes });
            }
        }
    }

    /// A peer sends a whole unidirectional stream.
    pub fn send_bulk(&mut self, link: LinkId, bytes: Vec<u8>) {
        let Some(end) = self.ends.get_mut(&link).filter(|end| end.closed.is_none()) else { return };
        let stream = end.next_stream();
        self.say(By::Peer, format!("bulk {stream}, {} bytes", bytes.len()), wire::header(&bytes));
        let pieces = self.pieces(&bytes);
        let last = pieces.len() - 1;
        for (at, bytes) in pieces.into_iter().enumerate() {
            if self.ends.get(&link).is_some_and(|end| end.closed.is_none()) {
                self.input(Input::Bulk { link, stream, bytes, fin: at == last });
            }
        }
    }

    /// A peer sends the start of a unidirectional stream, and breaks it off.
    pub fn send_broken_bulk(&mut self, link: LinkId, bytes: Vec<u8>) {
        if let Some(stream) = self.begin_bulk(link, bytes) {
            self.note(format!("bulk {stream} breaks off"));
            self.input(Input::BulkReset { link, stream });
        }
    }

    /// A peer sends the start of a unidirectional stream: its number, if the link lives.
    pub fn begin_bulk(&mut self, link: LinkId, bytes: Vec<u8>) -> Option<u64> {
        let stream = self.ends.get_mut(&link).filter(|end| end.closed.is_none())?.next_stream();
        let text = format!("bulk {stream}, {} bytes and not yet its end", bytes.len());
        self.say(By::Peer, text, wire::header(&bytes));
        self.input(Input::Bulk { link, stream, bytes, fin: false });
        Some(stream)
    }

    /// A peer sends the rest of a unidirectional stream.
    pub fn end_bulk(&mut self, link: LinkId, stream: u64, bytes: Vec<u8>) {
        self.say(By::Peer, format!("bulk {stream}, {} bytes and its end", bytes.len()), None);
        self.input(Input::Bulk { link, stream, bytes, fin: true });
    }
}

/// A command without the content of files.
fn brief(command: &Command) -> String {
    match command {
        Command::WriteFile { path, content, .. } => format!("WriteFile {path:?}, {} bytes", content.len()),
        Command::Write { kind, body, .. } => format!("Write {} bytes, kind {kind}", body.len()),
        Command::WriteExclusive { bytes, .. } => format!("WriteExclusive {} bytes", bytes.len()),
        command => format!("{command:?}"),
    }
}

/// How often a subject is woken at one instant: one that asks for more gets no further. A guess, far above what any
/// chain of timers needs.
const MAX_WAKES: u32 = 100;
