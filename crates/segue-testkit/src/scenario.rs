//! Random sessions: what users do, drawn from a seed, in a world in which things go wrong.

use segue_proto::wire::SessionId;
use segue_proto::{Clause, Generation, Policy};

use crate::device::{Command, LocalDevice};
use crate::flights::{PATIENCE, create};
use crate::oracle::Breach;
use crate::rng::{Rng, Span};
use crate::world::{Options, World};

/// What a run is about: what its users do, and what befalls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Whether users take sessions over by name.
    pub takeovers: bool,
    /// Whether devices come back from backups.
    pub restores: bool,
    /// Whether messages are sent again at any time.
    pub replays: bool,
    /// Whether sources read rotten bytes from their disks.
    pub rot: bool,
    /// Whether users pick of which files they get the content.
    pub picks: bool,
}

impl Kind {
    /// Handoffs and faults.
    pub const PLAIN: Kind = Kind { takeovers: false, restores: false, replays: false, rot: false, picks: false };
    /// With takeovers.
    pub const TAKEOVERS: Kind = Kind { takeovers: true, ..Kind::PLAIN };
    /// With takeovers and devices that come back from backups.
    pub const RESTORES: Kind = Kind { restores: true, ..Kind::TAKEOVERS };
    /// With messages that are sent again at any time.
    pub const REPLAYS: Kind = Kind { replays: true, ..Kind::PLAIN };
    /// With sources that read rotten bytes.
    pub const ROT: Kind = Kind { rot: true, ..Kind::PLAIN };
    /// With users who pick, and take sessions over.
    pub const PICKS: Kind = Kind { picks: true, ..Kind::TAKEOVERS };
}

/// A run: all that it depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The surroundings.
    pub options: Options,
    /// The devices' generations; as many as there are devices.
    pub generations: Vec<Generation>,
    /// Whether every device lets members pull.
    pub pulls: Policy,
    /// What the users do, in order.
    pub steps: Vec<Step>,
    /// A clause that no device keeps.
    pub without: Option<Clause>,
}

/// Something that a user, or an accident, does.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Microseconds after the step before.
    pub pause: u64,
    /// The device, by its number; where only a primary can, the primary if there is one.
    pub device: usize,
    /// Another device, by its distance from the first.
    pub other: usize,
    /// What is done.
    pub action: Action,
}

/// What a user, or an accident, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The exclusive value is written.
    WriteExclusive,
    /// A file is written.
    WriteFile {
        /// Its length in bytes.
        len: usize,
    },
    /// A file is written into a folder.
    WriteInto {
        /// Which of [`FOLDERS`].
        folder: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// The user picks.
    Pick {
        /// One bit for each of [`FOLDERS`]; without any, all is picked.
        folders: u8,
    },
    /// A file is removed.
    Remove,
    /// The session is handed to the other device.
    Initiate {
        /// Microseconds until the deadline.
        timeout: u64,
    },
    /// The handoff under way is withdrawn.
    Cancel,
    /// The other device asks for the session.
    Request {
        /// Microseconds until the deadline.
        timeout: u64,
    },
    /// The other device consents in advance.
    Consent,
    /// The device takes the session over.
    Takeover,
    /// The device loses power.
    Crash,
    /// The links of the two devices die.
    Cut,
    /// The two devices are separated.
    Partition {
        /// For how long, in microseconds.
        len: u64,
    },
    /// The device's disk is copied.
    BackUp,
    /// The device loses power and starts again from the copy.
    Restore,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was broken.
    pub breaches: Vec<Breach>,
    /// The hash of the trace.
    pub trace_hash: blake3::Hash,
    /// The trace.
    pub trace: Vec<String>,
    /// How many handoffs were activated.
    pub activations: usize,
}

impl Scenario {
    /// Draws a run of this kind.
    pub fn draw(seed: u64, kind: Kind) -> Scenario {
        let mut rng = Rng::new(seed, "scenario");
        let devices = rng.within(Span(2, 4)) as usize;
        let steps = (0..rng.within(Span(4, 24))).map(|_| Step::draw(&mut rng, kind, devices)).collect();
        let mut options = Options::draw(seed);
        if kind.rot {
            options.faults.rot = rng.within(Span(50, 400)) as u32;
        }
        if kind.replays {
            options.faults = options.faults.with_replays(&mut rng);
        }
        if kind.restores {
            options.faults = options.faults.with_restores(&mut rng);
        }
        let mixed = rng.chance(300);
        let generation = |rng: &mut Rng| *rng.pick(&Generation::ALL).unwrap_or(&Generation::V7);
        let generations = (0..devices).map(|_| if mixed { generation(&mut rng) } else { Generation::V7 }).collect();
        let pulls = *rng.pick(&[Policy::Allow, Policy::Ask]).unwrap_or(&Policy::Ask);
        Scenario { options, generations, pulls, steps, without: None }
    }

    /// The same, with a clause that no device keeps.
    #[must_use]
    pub fn without(mut self, clause: Clause) -> Scenario {
        self.without = Some(clause);
        self
    }

    /// Runs it: a session is created, the users do what they do, the faults end, and all must become quiet.
    pub fn run(&self) -> Outcome {
        let (world, _) = self.play();
        Outcome {
            breaches: world.breaches().to_vec(),
            trace_hash: world.trace_hash(),
            trace: world.trace().to_vec(),
            activations: world.oracle().activations(),
        }
    }

    /// Runs it, and returns the world as it is in the end, and the session.
    pub fn play(&self) -> (World<LocalDevice>, SessionId) {
        let devices = self.generations.len();
        let calm = Options::calm(self.options.seed, 1_000, 100);
        let mut world = World::local(calm);
        world.add(devices, |at, setup| {
            setup.generation = self.generations[at];
            setup.pulls = self.pulls;
            setup.follow = true;
            setup.without = self.without;
        });
        let members: Vec<usize> = (1..devices).collect();
        let session = create(&mut world, 0, &members);
        world.allow_pulls(session);
        world.link_all();
        world.set_options(self.options.clone());
        for (at, step) in self.steps.iter().enumerate() {
            world.run_for(step.pause);
            step.run(&mut world, session, at);
        }
        world.run_for(PATIENCE);
        world.calm();
        self.pick_again(&mut world, session);
        world.run_until(10 * PATIENCE, |world| world.is_settled());
        world.run_for(PATIENCE / 4);
        world.run_until(4 * PATIENCE, |world| world.is_converged());
        world.check_settled();
        (world, session)
    }
}

impl Scenario {
    /// A crash may have taken what a user picked last: it is said again.
    fn pick_again(&self, world: &mut World<LocalDevice>, session: SessionId) {
        let picks = self.steps.iter().enumerate().filter(|(_, step)| matches!(step.action, Action::Pick { .. }));
        for (at, step) in picks {
            step.run(world, session, at);
        }
    }
}

impl Step {
    /// Draws a step for a run of this kind among so many devices.
    pub fn draw(rng: &mut Rng, kind: Kind, devices: usize) -> Step {
        let short = rng.chance(600);
        let pause = if short { rng.within(Span(0, 200_000)) } else { rng.within(Span(0, 8_000_000)) };
        let device = rng.below(devices as u64) as usize;
        let other = rng.within(Span(1, devices as u64 - 1)) as usize;
        Step { pause, device, other, action: Action::draw(rng, kind) }
    }

    fn run(&self, world: &mut World<LocalDevice>, session: SessionId, at: usize) {
        let primary = world.primaries(session).first().copied();
        let owner = primary.filter(|_| self.device % 4 != 3).unwrap_or(self.device);
        let content = |len: usize| format!("write {at} ").into_bytes().into_iter().cycle().take(len.max(10)).collect();
        let path = format!("file {}", self.other % 2);
        let peer = |node: usize| (node + self.other) % world.len();
        let (device, to) = (self.device, peer(owner));
        let from = owner.min(world.len() - 1);
        let command = match self.action {
            Action::WriteExclusive => (owner, Command::WriteExclusive { session, bytes: content(20) }),
            Action::WriteFile { len } => (
                if self.pause.is_multiple_of(2) { device } else { owner },
                Command::WriteFile { session, path, content: content(len) },
            ),
            Action::WriteInto { folder, len } => {
                let path = match FOLDERS.get(folder).copied().unwrap_or_default() {
                    "" => path,
                    folder => format!("{folder}/{path}"),
                };
                (owner, Command::WriteFile { session, path, content: content(len) })
            }
            Action::Pick { folders } => {
                let picked = FOLDERS.iter().enumerate().filter(|(at, _)| folders & (1 << at) != 0);
                let folders = picked.map(|(_, folder)| (*folder).to_owned()).collect();
                (device, Command::Pick { session, folders })
            }
            Action::Remove => (owner, Command::Remove { session, path }),
            Action::Initiate { timeout } => {
                (owner, Command::Initiate { session, to: world.id(to), timeout_us: timeout })
            }
            Action::Cancel => (owner, Command::CancelHandoff { session }),
            Action::Request { timeout } => {
                (to, Command::Request { session, from: world.id(from), timeout_us: timeout })
            }
            Action::Consent => (to, Command::Consent { session, to: world.id(from), ttl_us: PATIENCE }),
            Action::Takeover => (device, Command::Takeover { session }),
            Action::Crash => return world.crash(device),
            Action::Cut => return world.cut(device, peer(device)),
            Action::Partition { len } => return world.partition_for(device, peer(device), len),
            Action::BackUp => return world.back_up(device),
            Action::Restore => return world.restore(device),
        };
        // What a user may not do is refused, and that is all.
        let _ = world.command(command.0, command.1);
    }
}

impl Action {
    fn draw(rng: &mut Rng, kind: Kind) -> Action {
        let timeout = rng.within(Span(500_000, 15_000_000));
        match rng.below(100) {
            0..4 if kind.picks => Action::Pick { folders: rng.below(1 << FOLDERS.len()) as u8 },
            4..20 if kind.picks => {
                Action::WriteInto { folder: rng.below(FOLDERS.len() as u64) as usize, len: draw_len(rng) }
            }
            0..20 => Action::WriteExclusive,
            20..32 => Action::WriteFile { len: draw_len(rng) },
            32..35 => Action::Remove,
            35..57 => Action::Initiate { timeout },
            57..60 => Action::Cancel,
            60..76 => Action::Request { timeout },
            76..82 => Action::Consent,
            82..86 if kind.takeovers => Action::Takeover,
            86..90 => Action::Crash,
            90..93 => Action::Cut,
            93..96 => Action::Partition { len: rng.within(Span(100_000, 30_000_000)) },
            96..98 if kind.restores => Action::BackUp,
            98..100 if kind.restores => Action::Restore,
            _ => Action::WriteExclusive,
        }
    }
}

/// The folders into which users write.
pub const FOLDERS: [&str; 3] = ["a", "b", ""];

/// Mostly less than a chunk, sometimes several.
fn draw_len(rng: &mut Rng) -> usize {
    let most = if rng.chance(100) { 200_000 } else { 4_000 };
    rng.below(most) as usize
}
