//! Pairs: every ordered pair of generations, pushed and pulled, in a simulated network with faults.
//!
//! A cell says at which generation the pair interoperates, or with which code it refuses; both are compared with the
//! table of the chapter generations. Source and target may be two implementations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Code, Event, Generation, Instant, Policy};
use segue_testkit::device::{Command, Reply, Start};
use segue_testkit::rng::Rng;
use segue_testkit::world::{Faults, Users};
use segue_testkit::{Options, World};

use crate::attach::{Failure, Host, Slot};
use crate::lab::Line;
use crate::run::Reason;

/// A host that worlds share.
pub type Shared = Rc<RefCell<Box<dyn Host>>>;

/// How the handoff of a cell goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The source starts.
    Push,
    /// The target starts.
    Pull,
    /// One side's floor lies above what the pair could use.
    Floor,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::Push, Way::Pull, Way::Floor];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Push => "push",
            Way::Pull => "pull",
            Way::Floor => "floor",
        }
    }
}

/// A cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The source's highest generation.
    pub source: Generation,
    /// The target's.
    pub target: Generation,
    /// How the handoff goes.
    pub way: Way,
}

/// What a cell came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The cell.
    pub cell: Cell,
    /// What was found: `interoperates at 2`, `refuses with VER_BELOW_FLOOR`, or what went wrong.
    pub says: String,
    /// What went wrong, with the seed that shows it again.
    pub fault: Option<(u64, Reason)>,
}

impl Cell {
    /// Every cell; a floor that refuses needs two generations.
    pub fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for source in Generation::ALL {
            for target in Generation::ALL {
                let ways = Way::ALL.into_iter().filter(|way| *way != Way::Floor || source != target);
                cells.extend(ways.map(|way| Cell { source, target, way }));
            }
        }
        cells
    }

    /// What the spec's table says.
    pub fn expected(&self) -> String {
        match self.way {
            Way::Floor => format!("refuses with {:?}", Code::VER_BELOW_FLOOR),
            Way::Push | Way::Pull => format!("interoperates at {}", self.source.min(self.target)),
        }
    }

    /// The clause that it checks: the spec numbers the pairs by source, and then by target.
    pub fn clause(&self) -> String {
        let (source, target) = (usize::from(self.source.number()), usize::from(self.target.number()));
        format!("GEN-PAIR-{}", (source - 1) * Generation::ALL.len() + target)
    }

    /// The commands that it takes of its devices.
    pub const fn needs(&self) -> &'static [&'static str] {
        match self.way {
            Way::Push => &["create", "write-file", "write-exclusive", "request", "initiate"],
            Way::Pull => &["create", "write-file", "write-exclusive", "request"],
            Way::Floor => &[],
        }
    }

    /// Its name, for selection: `pairs/1.7-to-2/push`.
    pub fn name(&self) -> String {
        format!("pairs/{}-to-{}/{}", self.source, self.target, self.way.name())
    }
}

/// Plays a cell: once in calm weather, and in as many worlds with faults.
pub fn play(hosts: &[Shared; 2], cell: Cell, seed: u64, faulty: u64) -> Found {
    let last = if cell.way == Way::Floor { 0 } else { faulty };
    for at in 0..=last {
        hosts.iter().for_each(|host| host.borrow_mut().renew());
        let mut world = Scene::new(hosts, cell, seed.wrapping_add(at));
        let outcome = world.run((at > 0).then(|| weather(seed.wrapping_add(at))));
        let broken = hosts.iter().find_map(|host| host.borrow().failure());
        let outcome = match broken {
            Some(Failure::Broken(why)) => Err(why),
            Some(Failure::Unsupported { asked, why }) => Err(format!("unsupported: {asked}, {why}")),
            None => outcome,
        };
        let expected = cell.expected();
        let came = outcome.unwrap_or_else(|why| why);
        if came != expected {
            let trace = world.world.trace();
            let last = &trace[trace.len().saturating_sub(LINES)..];
            let lines = last.iter().map(|line| Line::traced(line)).collect();
            return Found { cell, says: came.clone(), fault: Some((seed, Reason { expected, came, lines })) };
        }
    }
    Found { cell, says: cell.expected(), fault: None }
}

/// In how many worlds a run plays a cell.
pub fn worlds(cell: Cell) -> usize {
    if cell.way == Way::Floor { 1 } else { 1 + FAULTY as usize }
}

/// How many worlds with faults a run plays a pair in, besides the calm one.
pub const FAULTY: u64 = 2;

/// Weather with everything that goes wrong on a network and a disk, but not so bad that nothing gets through.
fn weather(seed: u64) -> Options {
    let mut rng = Rng::new(seed, "pairs");
    let mut options = Options::draw(seed);
    options.faults = Faults { crash: rng.below(40) as u32, ..options.faults };
    options.users = Users::EAGER;
    options
}

struct Scene {
    world: World<Slot>,
    cell: Cell,
}

impl Scene {
    fn new(hosts: &[Shared; 2], cell: Cell, seed: u64) -> Scene {
        let hosts = hosts.clone();
        let mut places: BTreeMap<DeviceId, usize> = BTreeMap::new();
        let spawn = move |start: Start, now: Instant| {
            let next = places.len();
            let place = *places.entry(start.setup.device()).or_insert(next);
            hosts[place.min(1)].borrow_mut().start(start, now).map_err(|refusal| refusal.text)
        };
        let mut world = World::new(Options::calm(seed, 1_000, 100), Box::new(spawn));
        let generations = [cell.source, cell.target];
        world.add(2, |at, setup| {
            setup.generation = generations[at];
            setup.pulls = Policy::Allow;
            if cell.way == Way::Floor && generations[at] > generations[1 - at] {
                setup.floor = generations[at];
            }
        });
        world.link(0, 1);
        Scene { world, cell }
    }

    fn run(&mut self, faults: Option<Options>) -> Result<String, String> {
        if self.cell.way == Way::Floor {
            return self.refuses();
        }
        let ready = |event: &Event| match event {
            Event::LinkReady { generation, .. } => Some(*generation),
            _ => None,
        };
        let generation = self.world.run_until_event(1, PATIENCE, ready).ok_or("no link")?;
        // Both ends have to mean the same.
        let source = |world: &World<Slot>| world.events(0).iter().rev().find_map(|(_, event)| ready(event));
        self.world.run_until(PATIENCE, |world| source(world).is_some());
        let other = source(&self.world).filter(|other| *other != generation);
        if let Some(other) = other {
            return Err(format!("a link at {generation} for the target and at {other} for the source"));
        }
        let session = self.create()?;
        self.world.allow_pulls(session);
        if let Some(options) = faults {
            self.world.set_options(options);
        }
        self.hand_over(session, generation);
        self.world.run_for(PATIENCE);
        self.world.calm();
        self.world.run_until(4 * PATIENCE, |world| world.is_settled());
        // What was lost to the weather is asked for once more; what has happened by then stays.
        for _ in 0..3 {
            if self.world.primaries(session) == [1] {
                break;
            }
            self.hand_over(session, generation);
            self.world.run_until(2 * PATIENCE, |world| world.primaries(session) == [1] && world.is_settled());
        }
        self.world.run_for(PATIENCE);
        self.judge(session, generation)
    }

    fn refuses(&mut self) -> Result<String, String> {
        let told = |event: &Event| match event {
            Event::LinkClosed { code, .. } => Some(*code),
            _ => None,
        };
        let code = self.world.run_until_event(0, PATIENCE, told).ok_or("a link that isn't refused")?;
        let ready =
            (0..2).any(|at| self.world.events(at).iter().any(|(_, event)| matches!(event, Event::LinkReady { .. })));
        if ready { Err("a link below a floor".into()) } else { Ok(format!("refuses with {code:?}")) }
    }

    fn create(&mut self) -> Result<SessionId, String> {
        let members = vec![self.world.id(1)];
        let reply = self.world.command(0, Command::Create { name: "notes".into(), members });
        let Ok(Reply::Session(session)) = reply else { return Err("no session was created".into()) };
        if !self.world.run_until(PATIENCE, |world| world.primaries(session) == [0]) {
            return Err("the source isn't primary of what it created".into());
        }
        for (path, len) in [("notes", 500), ("photo", 150_000)] {
            let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let _ = self.world.command(0, Command::WriteFile { session, path: path.into(), content });
        }
        let _ = self.world.command(0, Command::WriteExclusive { session, bytes: b"cursor 1".to_vec() });
        self.world.run_for(UNIT);
        Ok(session)
    }

    /// Starts the handoff, the way that the cell says.
    fn hand_over(&mut self, session: SessionId, generation: Generation) {
        let (from, to) = (self.world.id(0), self.world.id(1));
        if self.cell.way == Way::Push {
            let _ = self.world.command(0, Command::Initiate { session, to, timeout_us: PATIENCE });
            if generation != Generation::V1_4 {
                return;
            }
            // On a link of 1.4 a push is a hint, and the target's user pulls.
            let hint = |event: &Event| matches!(event, Event::Available { .. }).then_some(());
            self.world.run_until_event(1, PATIENCE / 4, hint);
        }
        let _ = self.world.command(1, Command::Request { session, from, timeout_us: PATIENCE });
    }

    fn judge(&mut self, session: SessionId, generation: Generation) -> Result<String, String> {
        self.world.check_settled();
        if let Some(breach) = self.world.breaches().first() {
            return Err(breach.to_string());
        }
        let primaries = self.world.primaries(session);
        if primaries != [1] {
            return Err(format!("primaries {primaries:?} instead of the target"));
        }
        let state = self.world.session(1, session).ok_or("the target doesn't know the session")?;
        let whole = state.files.len() == 2 && state.files.values().all(|hash| !hash.is_zero());
        if !whole || state.exclusive.as_deref() != Some(b"cursor 1") {
            return Err("the target owns without all of the data".into());
        }
        Ok(format!("interoperates at {generation}"))
    }
}

/// Longer than anything takes that works, in microseconds.
const PATIENCE: u64 = 20_000_000;
/// Longer than a sync and a message take in calm weather, in microseconds.
const UNIT: u64 = 20_000;
/// The lines of a trace that a report shows.
const LINES: usize = 80;
