//! Devices that are never online together, and a third that hosts their mailbox: with crashes of all of them, and links
//! that lose, delay and die, all that was acknowledged arrives, files with their content.

use std::collections::BTreeSet;

use segue_proto::data::{PartKind, named_part};
use segue_proto::limits::PIECE;
use segue_proto::wire::{PartId, SessionId};
use segue_proto::{Clause, Lsn};
use segue_testkit::device::{Command, LocalDevice, Reply};
use segue_testkit::flights::create;
use segue_testkit::{Faults, Options, Rng, Span, World};

const HOST: usize = 0;
const SECOND: u64 = 1_000_000;
/// More than any exchange takes once nothing goes wrong.
const LONG: u64 = 600 * SECOND;
const SEEDS: u64 = 400;

/// Something that a user wrote.
struct Written {
    device: usize,
    boot: u32,
    lsn: Lsn,
    what: What,
    acknowledged: bool,
}

enum What {
    /// An entry of the log, with this body.
    Entry(Vec<u8>),
    /// A file, with this path.
    File(String),
}

struct Scene {
    world: World<LocalDevice>,
    rng: Rng,
    session: SessionId,
    written: Vec<Written>,
    online: Option<usize>,
}

impl Scene {
    /// A mailbox and two devices that vouch for each other and have never met.
    fn new(seed: u64, without: Option<Clause>) -> Scene {
        let mut world = World::local(Options::calm(seed, 1_000, 100));
        world.add(3, |at, setup| {
            setup.follow = true;
            setup.accept_unknown = at == HOST;
            setup.without = without;
        });
        let host = world.id(HOST);
        world.command(HOST, Command::HOST).unwrap();
        for at in 1..3 {
            world.command(at, Command::Distrust { device: host }).unwrap();
            world.command(at, Command::UseMailbox { mailbox: host }).unwrap();
            let other = world.id(at);
            world.command(HOST, Command::Distrust { device: other }).unwrap();
        }
        let session = create(&mut world, 1, &[2]);
        world.run_for(SECOND);
        Scene { world, rng: Rng::new(seed, "mailbox"), session, written: Vec::new(), online: None }
    }

    fn diary(&self) -> PartId {
        named_part(&self.session, PartKind::Log, "diary")
    }

    /// One device goes, and another comes: the two are never online together.
    fn turn(&mut self, next: Option<usize>) {
        if let Some(before) = self.online.take() {
            self.world.unlink(before, HOST);
        }
        if let Some(next) = next {
            self.world.link(next, HOST);
        }
        self.online = next;
    }

    fn write(&mut self, device: usize, at: usize) {
        let (session, part) = (self.session, self.diary());
        let (what, command) = match self.rng.below(10) {
            0..6 => {
                let body = format!("entry {at} of {device}").into_bytes();
                let kind = PartKind::Log.number();
                (What::Entry(body.clone()), Command::Write { session, part, kind, body, resolves: false })
            }
            drawn => {
                let len = if drawn == 9 { 60_000 + self.rng.below(140_000) as usize } else { 30 };
                let path = format!("file {at} of {device}");
                let content = path.bytes().cycle().take(len).collect();
                (What::File(path.clone()), Command::WriteFile { session, path, content })
            }
        };
        let boot = self.world.boot(device);
        if let Ok(Reply::Written(lsn)) = self.world.command(device, command) {
            self.written.push(Written { device, boot, lsn, what, acknowledged: false });
        }
    }

    /// Lets time pass, and notes what was acknowledged to its user.
    fn run(&mut self, micros: u64) {
        let end = self.world.now().after(micros);
        while self.world.now() < end {
            self.world.run_for(end.since(self.world.now()).min(20_000));
            for written in self.written.iter_mut().filter(|written| !written.acknowledged) {
                let same = self.world.boot(written.device) == written.boot;
                let device = self.world.device(written.device).filter(|_| same);
                written.acknowledged = device.is_some_and(|it| it.endpoint().durable_lsn() >= written.lsn);
            }
        }
    }

    /// A device comes online alone, and stays until all is exchanged.
    fn visit(&mut self, device: usize) -> Result<(), String> {
        let host = self.world.id(HOST);
        self.turn(Some(device));
        let exchanged = |world: &mut World<LocalDevice>| {
            let settled = |it: &LocalDevice| {
                let core = it.endpoint();
                core.is_exchanged(&host) && core.durable_lsn() == core.last_lsn()
            };
            world.device(device).is_some_and(settled)
        };
        let done = self.world.run_until(LONG, exchanged);
        self.ensure(done, || format!("device {device} never comes to an end"))?;
        self.turn(None);
        self.world.run_for(SECOND);
        Ok(())
    }

    fn ensure(&self, holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
        if holds { Ok(()) } else { Err(format!("{}\n{}", what(), self.tail())) }
    }

    fn tail(&self) -> String {
        let trace = self.world.trace();
        let trace: Vec<_> = trace.iter().filter(|line| !line.contains("PING")).cloned().collect();
        trace[trace.len().saturating_sub(80)..].join("\n")
    }

    /// Both hold the same, and all of what was acknowledged.
    fn check(&mut self) -> Result<(), String> {
        let states: Vec<_> = (1..3).map(|at| self.world.session(at, self.session)).collect();
        let [Some(one), Some(two)] = states.as_slice() else {
            return self.ensure(false, || "a session that one lacks".into());
        };
        self.ensure(one.root == two.root, || format!("roots {:?} and {:?}", one.root, two.root))?;
        self.ensure(one.files == two.files, || format!("files {:?} and {:?}", one.files, two.files))?;
        self.ensure(one.files.values().all(|content| !content.is_zero()), || "content is missing".into())?;
        let core = self.world.device(2).map(LocalDevice::endpoint);
        let state = core.and_then(|core| core.state(&self.session));
        let stream = state.and_then(|state| state.stream(&named_part(&self.session, PartKind::Log, "diary")));
        let entries: BTreeSet<Vec<u8>> =
            stream.into_iter().flat_map(|stream| stream.arrived(0)).map(|op| op.body.to_vec()).collect();
        for Written { what, .. } in self.written.iter().filter(|written| written.acknowledged) {
            match what {
                What::Entry(body) => self.ensure(entries.contains(body), || format!("{body:?} is lost"))?,
                What::File(path) => self.ensure(one.files.contains_key(path), || format!("{path} is lost"))?,
            }
        }
        Ok(())
    }
}

/// A run from a seed: how much was acknowledged, and of it in files.
///
/// # Errors
/// What went wrong.
fn play(seed: u64, without: Option<Clause>) -> Result<(usize, usize), String> {
    let mut scene = Scene::new(seed, without);
    let drawn = Options::draw(seed);
    // Replays are of messages between members; partitions would only make a turn longer.
    let faults = Faults { partition: 0, ..drawn.faults };
    scene.world.set_options(Options { faults, ..drawn });
    for at in 0..scene.rng.within(Span(8, 24)) as usize {
        let device = 1 + scene.rng.below(2) as usize;
        match scene.rng.below(10) {
            0..3 => scene.turn(Some(device)),
            3 => scene.turn(None),
            4 => scene.world.crash([HOST, 1, 2][scene.rng.below(3) as usize]),
            _ => scene.write(device, at),
        }
        let pause = scene.rng.within(Span(0, 3 * SECOND));
        scene.run(pause);
    }
    scene.turn(None);
    scene.world.calm();
    scene.run(60 * SECOND);
    [1, 2, 1, 2].into_iter().try_for_each(|device| scene.visit(device))?;
    scene.check()?;
    let acknowledged = scene.written.iter().filter(|written| written.acknowledged);
    let files = acknowledged.clone().filter(|written| matches!(written.what, What::File(_))).count();
    Ok((acknowledged.count(), files))
}

#[test]
fn devices_that_are_never_online_together_converge_whatever_goes_wrong() {
    let (mut acknowledged, mut files) = (0, 0);
    for seed in 0..SEEDS {
        let (more, more_files) = play(seed, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        (acknowledged, files) = (acknowledged + more, files + more_files);
    }
    assert!(acknowledged > 3 * SEEDS as usize && files > SEEDS as usize, "{acknowledged} writes, {files} files");
}

#[test]
fn who_was_away_for_91_days_goes_on_from_a_snapshot_in_the_mailbox_and_its_ops_enter() {
    let mut scene = Scene::new(1, None);
    let (session, part) = (scene.session, scene.diary());
    let entry = |scene: &mut Scene, device: usize, body: String| {
        let (kind, body) = (PartKind::Log.number(), body.into_bytes());
        let write = Command::Write { session, part, kind, body, resolves: false };
        scene.world.command(device, write).expect("a write");
        scene.run(SECOND);
    };
    let visits = |scene: &mut Scene, devices: &[usize]| {
        devices.iter().for_each(|device| scene.visit(*device).unwrap_or_else(|why| panic!("{why}")));
    };
    let kept = |scene: &mut Scene, device: usize| scene.world.session(device, session).and_then(|state| state.kept);
    visits(&mut scene, &[1, 2]);
    for at in 0..20 {
        entry(&mut scene, 1 + at % 2, format!("entry {at}"));
        visits(&mut scene, &[1, 2]);
    }
    visits(&mut scene, &[1]);
    // From here on apart. What the second writes had read what will be in the snapshot, and lies before its end.
    (0..5).for_each(|at| entry(&mut scene, 2, format!("unsent {at}")));
    (20..40).for_each(|at| entry(&mut scene, 1, format!("entry {at}")));
    scene.world.command(1, Command::Compact { session, part, content: None }).expect("a snapshot");
    // A device that isn't online for more than a day counts that time for none.
    let half = 43_200 * SECOND;
    for _ in 0..2 * 89 {
        visits(&mut scene, &[1]);
        scene.world.run_for(half);
    }
    assert_eq!(kept(&mut scene, 1), Some(40), "before 90 days");
    for _ in 0..6 {
        scene.world.run_for(half);
        visits(&mut scene, &[1]);
    }
    assert_eq!(kept(&mut scene, 1), Some(0), "after 90 days");
    visits(&mut scene, &[2, 1, 2, 1]);
    let shown = |scene: &Scene, device: usize| {
        let core = scene.world.device(device).map(LocalDevice::endpoint);
        let stream = core.and_then(|core| core.state(&session)).and_then(|state| state.stream(&part));
        let log = stream.into_iter().flat_map(|stream| stream.in_order());
        log.map(|entry| String::from_utf8_lossy(entry.body).into_owned()).collect::<BTreeSet<_>>()
    };
    let (one, two) = (scene.world.session(1, session).unwrap(), scene.world.session(2, session).unwrap());
    assert_eq!(one.root, two.root, "{}", scene.tail());
    assert_eq!(shown(&scene, 1), shown(&scene, 2));
    assert_eq!(shown(&scene, 1).len(), 45, "all that was unsent has entered, once");
}

#[test]
fn a_mailbox_brings_a_long_file_whole() {
    let mut scene = Scene::new(1, None);
    let (session, content) = (scene.session, (0..3_000_000u32).map(|at| (at / 7) as u8).collect::<Vec<_>>());
    let hash = segue_proto::wire::hash::blob_id(&content);
    scene.world.command(1, Command::WriteFile { session, path: "film".into(), content }).unwrap();
    scene.visit(1).unwrap();
    scene.visit(2).unwrap();
    let files = scene.world.session(2, session).map(|state| state.files).unwrap_or_default();
    assert_eq!(files.get("film"), Some(&hash), "{}", scene.tail());
}

#[test]
fn content_goes_on_where_its_device_went() {
    let mut scene = Scene::new(1, None);
    let (session, content) = (scene.session, (0..3_000_000u32).map(|at| (at / 7) as u8).collect::<Vec<_>>());
    let pieces = content.len().div_ceil(PIECE);
    scene.visit(1).unwrap();
    scene.world.command(1, Command::WriteFile { session, path: "film".into(), content }).unwrap();
    let before = puts(&scene.world);
    scene.turn(Some(1));
    assert!(scene.world.run_until(LONG, |world| puts(world) >= before + pieces / 2), "{}", scene.tail());
    scene.turn(None);
    scene.world.run_for(SECOND);
    scene.visit(1).unwrap();
    // Besides the pieces, letters and what was on its way as the link ended.
    let put = puts(&scene.world) - before;
    assert!(put >= pieces && put < pieces + pieces / 4, "{put} envelopes for {pieces} pieces");
}

/// The envelopes that were put in this world.
fn puts(world: &World<LocalDevice>) -> usize {
    world.trace().iter().filter(|line| line.contains(" PUT ")).count()
}

#[test]
fn a_clause_that_is_left_out_is_noticed() {
    let left_out = [
        Clause::SERVICE_CONTENT_1,
        Clause::SERVICE_CONTENT_2,
        Clause::SERVICE_FETCH_1,
        Clause::SERVICE_HOST_2,
        Clause::SERVICE_PUT_1,
    ];
    for clause in left_out {
        let noticed = (0..SEEDS).find(|seed| play(*seed, Some(clause)).is_err());
        assert!(noticed.is_some(), "nothing goes wrong without {clause}");
    }
}
