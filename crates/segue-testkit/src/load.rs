//! A user who goes on working while a session is handed over, and the gap that they see.

use segue_proto::data::PartKind;
use segue_proto::wire::{PartId, SessionId};
use segue_proto::{Event, Instant, Policy, SessionRole};

use crate::device::{Command, LocalDevice};
use crate::flights::{PATIENCE, Way, create};
use crate::world::{Options, World};

/// How a user works: so many writes a second into a shared part, and as many into exclusive ones in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Writes a second.
    pub rate: u64,
    /// The bytes of each shared write.
    pub shared: usize,
    /// The bytes of each exclusive write.
    pub exclusive: usize,
    /// How many exclusive parts there are.
    pub parts: u8,
}

impl Load {
    /// 1 MiB/s into shared and 128 KiB/s into sixteen exclusive parts.
    pub const BUSY: Load = Load { rate: 128, shared: 8 << 10, exclusive: 1 << 10, parts: 16 };
}

/// What a handoff under load was like. All times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// From the source's first refusal of an exclusive write to the target's first that it takes.
    pub gap: u64,
    /// From the wish to the target's first write.
    pub took: u64,
    /// How long writes waited for the target before that.
    pub waited: u64,
}

/// Two linked devices and a session with files, whose owner goes on writing.
pub struct Busy {
    /// The world that they are in.
    pub world: World<LocalDevice>,
    /// The session.
    pub session: SessionId,
    load: Load,
    turn: u64,
    due: Instant,
}

impl Busy {
    /// A session with `files` files of `len` bytes on device 0, of which device 1 knows nothing yet. Their bytes are
    /// zeros but for the first ones of each chunk: their plans are real, and the simulated disks keep what counts.
    pub fn new(options: Options, load: Load, files: u32, len: usize) -> Busy {
        let mut world = World::local(options);
        world.add(2, |_, setup| setup.pulls = Policy::Ask);
        world.link(0, 1);
        let ready = |event: &Event| matches!(event, Event::LinkReady { .. }).then_some(());
        world.run_until_event(1, PATIENCE, ready);
        let session = create(&mut world, 0, &[1]);
        for file in 0..files {
            let content = sparse(file, len);
            let written = world.command(0, Command::WriteFile { session, path: format!("file {file}"), content });
            assert!(written.is_ok(), "{written:?}");
        }
        world.run_for(1_000_000);
        let due = world.now();
        Busy { world, session, load, turn: 0, due }
    }

    /// Lets the primary's user work for a while.
    pub fn work(&mut self, source: usize, micros: u64) {
        let end = self.world.now().after(micros);
        self.work_until(source, end, |_| false);
    }

    /// Hands the session over while the source's user goes on working.
    ///
    /// # Errors
    /// What of it didn't come to be.
    pub fn hand_over(&mut self, way: Way, source: usize, target: usize) -> Result<Seen, &'static str> {
        let (session, start) = (self.session, self.world.now());
        let before = self.world.events(source).len();
        let (starter, command) = match way {
            Way::Pulled => {
                (target, Command::Request { session, from: self.world.id(source), timeout_us: 3 * PATIENCE })
            }
            _ => (source, Command::Initiate { session, to: self.world.id(target), timeout_us: 3 * PATIENCE }),
        };
        self.world.command(starter, command).map_err(|_| "the wish was refused")?;
        let end = start.after(3 * PATIENCE);
        if !self.work_until(source, end, |world| role(world, source, session) != SessionRole::Primary) {
            return Err("the source never released");
        }
        let refused = self.world.now();
        if self.write_exclusive(source) {
            return Err("a source that released went on writing");
        }
        if !self.world.run_until(PATIENCE, |world| role(world, target, session) == SessionRole::Primary) {
            return Err("the target was never primary");
        }
        let taken = self.world.now();
        if !self.write_exclusive(target) {
            return Err("a primary refused a write");
        }
        let resumed = |(_, event): &(Instant, Event)| match event {
            Event::WritesResumed { waited_us, .. } => *waited_us,
            _ => 0,
        };
        let waited = self.world.events(source)[before..].iter().map(resumed).sum();
        let settled = self.world.run_until(PATIENCE, |world| world.is_settled());
        self.due = self.world.now();
        settled.then_some(()).ok_or("the handoff didn't settle")?;
        Ok(Seen { gap: taken.since(refused), took: taken.since(start), waited })
    }

    fn work_until(&mut self, source: usize, end: Instant, done: impl Fn(&World<LocalDevice>) -> bool) -> bool {
        while self.world.now() < end {
            self.due = self.due.after(1_000_000 / self.load.rate).max(self.world.now());
            let wait = self.due.since(self.world.now());
            if self.world.run_until(wait, |world| done(world)) {
                return true;
            }
            // Nothing else happened until then.
            self.world.run_for(self.due.since(self.world.now()));
            let (session, body) = (self.session, vec![self.turn as u8; self.load.shared]);
            let (part, kind) = (PartId::new([0x55; 16]), PartKind::Opaque.number());
            let shared = self.world.command(source, Command::Write { session, part, kind, body, resolves: false });
            assert!(shared.is_ok(), "shared parts never wait: {shared:?}");
            self.write_exclusive(source);
        }
        false
    }

    /// The next exclusive write; whether it was taken.
    fn write_exclusive(&mut self, node: usize) -> bool {
        self.turn += 1;
        let part = PartId::new([1 + (self.turn % u64::from(self.load.parts)) as u8; 16]);
        let (session, kind) = (self.session, PartKind::Exclusive.number());
        let mut body = self.turn.to_be_bytes().to_vec();
        body.resize(self.load.exclusive, 0);
        self.world.command(node, Command::Write { session, part, kind, body, resolves: false }).is_ok()
    }
}

fn role(world: &World<LocalDevice>, node: usize, session: SessionId) -> SessionRole {
    let view = world.device(node).and_then(|device| device.endpoint().session(&session));
    view.map_or(SessionRole::Secondary, |view| view.role)
}

fn sparse(file: u32, len: usize) -> Vec<u8> {
    let mut content = vec![0; len];
    for (at, chunk) in content.chunks_mut(segue_proto::limits::CHUNK).enumerate() {
        let mark = [file.to_be_bytes(), (at as u32 + 1).to_be_bytes()].concat();
        chunk.iter_mut().zip(mark).for_each(|(byte, mark)| *byte = mark);
    }
    content
}
