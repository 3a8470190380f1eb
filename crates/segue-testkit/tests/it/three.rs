//! Three devices write one session at once: each is offline in turn, and each loses power at random. In the end all hold
//! the same, and all that any of them acknowledged is there, shown or listed as a conflict.
//!
//! `SEGUE_SYNC=full` tries two thousand worlds; `SEGUE_SEEDS` and `SEGUE_SEED` say how many, and from which seed on.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{PartId, SessionId};
use segue_proto::{Clause, Lsn, Policy, SessionRole};
use segue_testkit::device::{Command, LocalDevice, Reply};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Options, Rng, Span, World};

const DEVICES: usize = 3;
/// Registers that all devices write, each a set to which they add.
const REGISTERS: u64 = 12;
/// Paths that all devices write.
const SHARED: u64 = 12;

#[test]
fn three_devices_that_are_offline_in_turn_and_killed_at_random_hold_the_same_in_the_end() {
    let (first, worlds) = (number("SEGUE_SEED").unwrap_or(0), number("SEGUE_SEEDS").unwrap_or_else(default_worlds));
    let mut total = Total::default();
    for seed in first..first + worlds {
        let mut three = Three::new(seed, Size::of(seed), None);
        if let Err(why) = three.play(&mut total) {
            panic!("{}\nseed {seed}: {why}", three.world.trace().join("\n"));
        }
    }
    let Total { ops, most, kills, conflicts, handoffs, by_kind } = total;
    println!("{worlds} worlds: {ops} ops acknowledged, at most {most} in one world, {by_kind:?};");
    println!("power lost {kills} times, {handoffs} handoffs, {conflicts} conflicts listed");
}

/// The same worlds must fail where no device keeps the clause.
#[test]
fn they_do_not_without_the_clauses_of_sync() {
    for clause in [Clause::SYNC_SINCE_1, Clause::DATA_MERGE_1] {
        let fails = |seed| Three::new(seed, Size::of(seed), Some(clause)).play(&mut Total::default()).is_err();
        assert!((0..100).any(fails), "nobody noticed that {clause} wasn't kept");
    }
}

fn default_worlds() -> u64 {
    match std::env::var("SEGUE_SYNC").as_deref() {
        Ok("full") => 2_000,
        _ => 40,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How much is written in a world.
#[derive(Clone, Copy)]
struct Size {
    rounds: u64,
    /// Of all devices, a round.
    ops: u64,
}

impl Size {
    /// Most worlds are small, so that there are many; a few are as large as the test with processes.
    fn of(seed: u64) -> Size {
        match seed % 200 {
            199 => Size { rounds: 15, ops: 1_000 },
            49 | 99 | 149 => Size { rounds: 9, ops: 250 },
            _ => Size { rounds: 6, ops: 60 },
        }
    }
}

/// What all worlds came to.
#[derive(Default)]
struct Total {
    ops: usize,
    most: usize,
    kills: u32,
    conflicts: usize,
    handoffs: usize,
    by_kind: BTreeMap<&'static str, usize>,
}

/// Something that was written, and when it counts as acknowledged.
struct Write {
    what: What,
    node: usize,
    boot: u32,
    lsn: Lsn,
}

/// What was written: no two writes are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Register(String),
    Log(String),
    File(String),
    Op(String),
}

impl What {
    fn kind(&self) -> &'static str {
        match self {
            What::Register(_) => "register",
            What::Log(_) => "log",
            What::File(_) => "file",
            What::Op(_) => "op",
        }
    }
}

struct Three {
    world: World<LocalDevice>,
    session: SessionId,
    rng: Rng,
    size: Size,
    weather: Options,
    writes: Vec<Write>,
    views: usize,
}

impl Three {
    fn new(seed: u64, size: Size, without: Option<Clause>) -> Three {
        let mut world = World::local(Options::calm(seed, 1_000, 100));
        world.add(DEVICES, |_, setup| {
            setup.pulls = Policy::Allow;
            setup.follow = true;
            setup.without = without;
        });
        let session = create(&mut world, 0, &[1, 2]);
        world.allow_pulls(session);
        world.link_all();
        world.run_for(PATIENCE / 4);
        let mut weather = Options::draw(seed);
        // A device that fails at every tenth write gets nowhere, and one that is down for long writes nothing.
        weather.faults.crash /= 12;
        weather.faults.sync_failure /= 3;
        weather.faults.outage = Span(10_000, 2_000_000);
        let rng = Rng::new(seed, "three");
        Three { world, session, rng, size, weather, writes: Vec::new(), views: 0 }
    }

    fn play(&mut self, total: &mut Total) -> Result<(), String> {
        self.world.set_options(self.weather.clone());
        for round in 0..self.size.rounds {
            self.round(round);
        }
        self.world.calm();
        self.world.run_until(10 * PATIENCE, |world| world.is_settled());
        // A device whose store had just failed is started again.
        self.world.run_for(PATIENCE / 4);
        self.world.run_until(10 * PATIENCE, |world| world.is_converged());
        self.world.check_settled();
        if let Some(breach) = self.world.breaches().first() {
            return Err(breach.to_string());
        }
        self.judge(total)
    }

    /// Everybody writes, one of them offline; one of them loses power meanwhile, and the owner may change.
    fn round(&mut self, round: u64) {
        let alone = (round % DEVICES as u64) as usize;
        let others = || (0..DEVICES).filter(move |other| *other != alone);
        for other in others() {
            self.world.cut(alone, other);
            self.world.partition(alone, other);
        }
        let (victim, when) = (self.rng.below(DEVICES as u64) as usize, self.rng.below(self.size.ops));
        let handed = self.rng.below(2 * self.size.ops);
        let pause = self.rng.within(Span(0, 40_000));
        for at in 0..self.size.ops {
            if at == when {
                self.world.crash(victim);
            }
            if at == handed {
                self.hand_over();
            }
            let node = self.rng.below(DEVICES as u64) as usize;
            self.write(node, format!("{node}-{round}-{at}"));
            let pause = self.rng.below(2 * pause + 1);
            self.world.run_for(pause);
        }
        for other in others() {
            self.world.heal(alone, other);
        }
        let pause = self.rng.below(5_000_000);
        self.world.run_for(pause);
    }

    fn hand_over(&mut self) {
        let Some(owner) = self.world.primaries(self.session).first().copied() else { return };
        let to = (owner + self.rng.within(Span(1, DEVICES as u64 - 1)) as usize) % DEVICES;
        let (session, from) = (self.session, self.world.id(owner));
        // A target that is down asks for nothing.
        let _ = self.world.command(to, Command::Request { session, from, timeout_us: 3 * PATIENCE });
    }

    /// A device that is down writes nothing.
    fn write(&mut self, node: usize, name: String) {
        if !self.world.is_up(node) || !self.takes_part(node) {
            return;
        }
        let body = name.clone().into_bytes();
        match self.rng.below(20) {
            0..=5 => self.put(node, What::Op(name), PartKind::Opaque, "text", body),
            6..=10 => self.put(node, What::Log(name), PartKind::Log, "chat", body),
            11..=15 => {
                let register = self.rng.below(REGISTERS).to_string();
                let mut set = self.register(node, &register);
                set.insert(name.clone());
                let value = set.into_iter().collect::<Vec<_>>().join(",").into_bytes();
                self.put(node, What::Register(name), PartKind::Register, &register, value);
            }
            16 => {
                let path = format!("shared/{}", self.rng.below(SHARED));
                if !self.paths(node).contains(&path) {
                    self.write_file(node, path, name);
                }
            }
            17 => {
                let owns = self.world.session(node, self.session).is_some_and(|it| it.role == SessionRole::Primary);
                let write = Command::WriteExclusive { session: self.session, bytes: body };
                self.views += usize::from(owns && self.world.command(node, write).is_ok());
            }
            _ => self.write_file(node, format!("own/{name}"), name),
        }
    }

    fn put(&mut self, node: usize, what: What, kind: PartKind, part: &str, body: Vec<u8>) {
        let part = named_part(&self.session, kind, part);
        let resolves = kind == PartKind::Register;
        let write = Command::Write { session: self.session, part, kind: kind.number(), body, resolves };
        self.command(node, what, write);
    }

    fn write_file(&mut self, node: usize, path: String, name: String) {
        // Some of more than a chunk.
        let len = if self.rng.chance(50) { 70_000 } else { 0 };
        let content = [name.as_bytes(), &vec![b' '; len]].concat();
        let what = What::File(blob_id(&content).to_string());
        self.command(node, what, Command::WriteFile { session: self.session, path, content });
    }

    /// What a device took is acknowledged once it is durable, unless power is lost before.
    fn command(&mut self, node: usize, what: What, command: Command) {
        let boot = self.world.boot(node);
        if let Ok(Reply::Written(lsn)) = self.world.command(node, command) {
            self.writes.push(Write { what, node, boot, lsn });
        }
    }

    fn judge(&mut self, total: &mut Total) -> Result<(), String> {
        let roots: BTreeSet<_> =
            (0..DEVICES).map(|node| self.world.session(node, self.session).map(|it| it.root)).collect();
        if roots.len() != 1 || roots.contains(&None) {
            return Err(format!("the roots differ: {roots:?}"));
        }
        let held: Vec<_> = (0..DEVICES).map(|node| self.held(node)).collect();
        if held.iter().any(|other| *other != held[0]) {
            return Err("equal roots, but not equal content".into());
        }
        let oracle = self.world.oracle();
        let acknowledged = self.writes.iter().filter(|write| oracle.is_acknowledged(write.node, write.boot, write.lsn));
        let acknowledged: Vec<_> = acknowledged.map(|write| &write.what).collect();
        if let Some(lost) = acknowledged.iter().find(|what| !held[0].whats.contains_key(what)) {
            return Err(format!("acknowledged and lost: {lost:?}"));
        }
        let once = |what: &What| matches!(what, What::Op(_) | What::Log(_));
        if let Some((what, _)) = held[0].whats.iter().find(|(what, count)| once(what) && **count > 1) {
            return Err(format!("delivered twice: {what:?}"));
        }
        total.ops += acknowledged.len() + self.views;
        total.most = total.most.max(acknowledged.len() + self.views);
        acknowledged.iter().for_each(|what| *total.by_kind.entry(what.kind()).or_default() += 1);
        *total.by_kind.entry("exclusive, taken").or_default() += self.views;
        total.kills += (0..DEVICES).map(|node| self.world.boot(node)).sum::<u32>();
        total.conflicts += held[0].conflicts;
        total.handoffs += oracle.activations() - 1;
        Ok(())
    }
}

/// What a device holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    /// And how often.
    whats: BTreeMap<What, usize>,
    log: Vec<Vec<u8>>,
    exclusive: Option<Vec<u8>>,
    /// Registers and files with several values.
    conflicts: usize,
}

impl Three {
    fn takes_part(&self, node: usize) -> bool {
        self.world.device(node).is_some_and(|device| device.endpoint().state(&self.session).is_some())
    }

    /// The names in a register, in all its values.
    fn register(&self, node: usize, name: &str) -> BTreeSet<String> {
        let part = named_part(&self.session, PartKind::Register, name);
        let state = self.world.device(node).and_then(|device| device.endpoint().state(&self.session));
        let values = state.and_then(|state| state.part(&part)).into_iter().flat_map(|part| part.values.iter());
        values.flat_map(|value| names(value.op.body.as_ref())).collect()
    }

    fn paths(&mut self, node: usize) -> BTreeSet<String> {
        self.world.session(node, self.session).map(|state| state.named.into_keys().collect()).unwrap_or_default()
    }

    fn held(&mut self, node: usize) -> Held {
        let mut held = Held {
            exclusive: self.world.session(node, self.session).and_then(|state| state.exclusive),
            ..Held::default()
        };
        let Some(state) = self.world.device(node).and_then(|device| device.endpoint().state(&self.session)) else {
            return held;
        };
        let mut note = |what: What| *held.whats.entry(what).or_default() += 1;
        for part in state.parts() {
            held.conflicts += usize::from(part.is_conflicted());
            match PartKind::from_number(part.kind) {
                Some(PartKind::Register) => {
                    part.values
                        .iter()
                        .flat_map(|value| names(value.op.body.as_ref()))
                        .map(What::Register)
                        .for_each(&mut note);
                }
                Some(PartKind::Blob) => {
                    part.entries().map(|entry| What::File(entry.blob.to_string())).for_each(&mut note)
                }
                _ => {}
            }
        }
        let stream = |kind, name| state.stream(&part_of(&self.session, kind, name));
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        let ops = stream(PartKind::Opaque, "text").into_iter().flat_map(|stream| stream.arrived(0));
        ops.map(|op| What::Op(text(op.body))).for_each(&mut note);
        let entries = stream(PartKind::Log, "chat").into_iter().flat_map(|stream| stream.in_order());
        for entry in entries {
            note(What::Log(text(entry.body)));
            held.log.push(entry.body.to_vec());
        }
        held
    }
}

fn part_of(session: &SessionId, kind: PartKind, name: &str) -> PartId {
    named_part(session, kind, name)
}

fn names(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
