//! A service whose store is put back to an earlier state, or of which there are two from some moment on, beside all else
//! that goes wrong: devices lose nothing, own one at a time, report what they could see, and all that they wrote arrives.

use std::collections::BTreeSet;

use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::PartId;
use segue_proto::{Clause, Event, Instant, Lsn, SessionRole};
use segue_testkit::device::{Command, LocalDevice, Reply};
use segue_testkit::flights::PATIENCE;
use segue_testkit::{Breach, Faults, Options, Promise, Span};

use crate::delegate::{DEVICES, LONG, SECOND, SERVICE, Scene};

/// The machine that becomes a copy of the service.
const COPY: usize = DEVICES;
const SEEDS: u64 = 120;

/// What befalls the service's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A backup is put back, and the service notices.
    Noticed,
    /// It is put back with all around it, and nobody there notices.
    Unnoticed,
    /// There are two of it, each with a part of the devices.
    Forked,
}

/// An entry of the log.
struct Written {
    device: usize,
    boot: u32,
    lsn: Lsn,
    body: Vec<u8>,
    acknowledged: bool,
}

struct Trial {
    fate: Fate,
    scene: Scene,
    written: Vec<Written>,
    forked: bool,
    /// Whom each device has for its service.
    at: [usize; DEVICES],
    /// How often the service's store was put back, or came to be two.
    befell: usize,
}

/// What a run came to.
#[derive(Default)]
struct Sums {
    befell: usize,
    shrunk: usize,
    reported: usize,
    forks: usize,
    by_mailbox: usize,
}

impl Trial {
    fn new(seed: u64, fate: Fate, without: Option<Clause>) -> Trial {
        let lease = if seed.is_multiple_of(3) { 4 * SECOND } else { 0 };
        let copies = usize::from(fate == Fate::Forked);
        let mut scene = Scene::with_copies(seed, lease, without, copies);
        scene.world.back_up(SERVICE);
        Trial { fate, scene, written: Vec::new(), forked: false, at: [SERVICE; DEVICES], befell: 0 }
    }

    fn diary(&self) -> PartId {
        named_part(&self.scene.session, PartKind::Log, "diary")
    }

    /// Something that a user, an accident or the operator does.
    fn act(&mut self, at: usize) {
        let device = 1 + self.scene.rng.below(DEVICES as u64 - 1) as usize;
        match self.scene.rng.below(20) {
            0..5 => self.scene.act(at),
            5..10 => self.write(device, format!("entry {at} of {device}").into_bytes()),
            10 => self.write_file(device, at),
            11..13 => self.go(device, None),
            13..15 => self.go(device, Some(SERVICE)),
            15 if self.fate != Fate::Forked => self.scene.world.back_up(SERVICE),
            16..19 if self.fate == Fate::Forked && self.forked => self.go(device, Some(COPY)),
            16..18 => self.befall(),
            _ => self.write(device, format!("entry {at} of {device}").into_bytes()),
        }
    }

    /// The operator puts the store back, or makes two of the service.
    fn befall(&mut self) {
        let world = &mut self.scene.world;
        self.befell += 1;
        match self.fate {
            Fate::Noticed => world.restore(SERVICE),
            Fate::Unnoticed => world.roll_back(SERVICE),
            Fate::Forked => {
                self.forked = true;
                world.fork(SERVICE, COPY);
            }
        }
    }

    /// A device goes offline, and to a service if one is named.
    fn go(&mut self, device: usize, to: Option<usize>) {
        self.scene.world.unlink(device, self.at[device]);
        if let Some(to) = to {
            self.at[device] = to;
            self.scene.world.link(device, to);
        }
    }

    fn write(&mut self, device: usize, body: Vec<u8>) {
        let (session, part, kind) = (self.scene.session, self.diary(), PartKind::Log.number());
        let boot = self.scene.world.boot(device);
        let write = Command::Write { session, part, kind, body: body.clone(), resolves: false };
        if let Ok(Reply::Written(lsn)) = self.scene.world.command(device, write) {
            self.written.push(Written { device, boot, lsn, body, acknowledged: false });
        }
    }

    fn write_file(&mut self, device: usize, at: usize) {
        let len = if self.scene.rng.below(4) == 0 { 150_000 } else { 40 };
        let (session, path) = (self.scene.session, format!("file {at} of {device}"));
        let content = path.bytes().cycle().take(len).collect();
        // A device that is down writes nothing.
        let _ = self.scene.world.command(device, Command::WriteFile { session, path, content });
    }

    /// Lets time pass, and notes what was acknowledged.
    fn run(&mut self, micros: u64) {
        self.scene.world.run_for(micros);
        for written in self.written.iter_mut().filter(|written| !written.acknowledged) {
            let oracle = self.scene.world.oracle();
            written.acknowledged = oracle.is_acknowledged(written.device, written.boot, written.lsn);
        }
    }

    /// All come to one service, and nothing goes wrong any more. Each writes twice, so that what is missing before shows.
    fn settle(&mut self) -> Instant {
        self.scene.world.calm();
        let calm = self.scene.world.now();
        (1..DEVICES).for_each(|device| self.go(device, Some(SERVICE)));
        self.run(PATIENCE);
        self.scene.world.run_until(LONG, |world| world.is_settled());
        // A service that was put back, and knows, signs nothing any more: the way on is a takeover by name.
        let stuck = !self.scene.world.is_settled() || self.scene.owner().is_none();
        if stuck || self.fate == Fate::Noticed && self.befell > 0 {
            let session = self.scene.session;
            // Who owns by its own word already needs none.
            let _ = self.scene.world.command(1, Command::Takeover { session });
            self.run(PATIENCE);
        }
        for round in 0..2 {
            (1..DEVICES).for_each(|device| self.write(device, format!("last {round} of {device}").into_bytes()));
            self.run(PATIENCE);
        }
        self.scene.world.run_until(LONG, |world| world.is_converged());
        calm
    }

    fn ensure(&mut self, holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
        if holds {
            return Ok(());
        }
        let held: Vec<_> = (1..DEVICES).map(|at| self.scene.held(at)).collect();
        Err(format!("{}\n{}\n{}", what(), self.scene.tail(), held.join("\n")))
    }

    /// What was acknowledged is on every device.
    fn check_entries(&mut self) -> Result<(), String> {
        for device in 1..DEVICES {
            let entries = self.entries(device);
            let lost = self.written.iter().find(|it| it.acknowledged && !entries.contains(&it.body));
            let lost =
                lost.map(|it| format!("{device} has {:?} of {} not", String::from_utf8_lossy(&it.body), it.device));
            self.ensure(lost.is_none(), || lost.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Of those that met one owns.
    fn check_owner(&mut self) -> Result<(), String> {
        let session = self.scene.session;
        let states: Vec<_> = (1..DEVICES).filter_map(|device| self.scene.world.session(device, session)).collect();
        let heads: BTreeSet<_> = states.iter().map(|state| state.head).collect();
        let owners = states.iter().filter(|state| state.role == SessionRole::Primary).count();
        self.ensure(heads.len() == 1 && owners == 1, || format!("{owners} own by {heads:?}"))
    }

    /// What the oracle found, but what two records of a service that doesn't keep its own word make of ownership.
    fn check_breaches(&mut self) -> Result<(), String> {
        self.scene.world.check_settled();
        let (session, service) = (self.scene.session, self.scene.world.id(SERVICE));
        let twice = self.fate != Fate::Noticed && self.scene.world.oracle().signed_twice(&session, &service);
        // Two own by two records, and one of them can't know what the other wrote into exclusive parts: it is kept as a copy.
        let parted = |breach: &Breach| breach.what == "lacks an acknowledged write to the exclusive part";
        let by_service = |it: &Breach| twice && (matches!(it.promise, Promise::S1 | Promise::S5) || parted(it));
        let found = self.scene.world.breaches().iter().filter(|breach| !by_service(breach));
        let found: Vec<_> = found.map(ToString::to_string).collect();
        self.ensure(found.is_empty(), || found.join(", "))
    }

    /// What could be seen was reported: since all is calm, so that nothing of it was lost on its way.
    fn check_reports(&mut self, calm: Instant, sums: &mut Sums) -> Result<(), String> {
        let (session, service) = (self.scene.session, self.scene.world.id(SERVICE));
        for device in 1..DEVICES {
            let of = |clause: Clause, since: Instant| {
                let reported = |(at, event): &&(Instant, Event)| {
                    let by = matches!(event, Event::Violation { violation, .. } if violation.clause == clause);
                    by && *at >= since
                };
                self.scene.world.events(device).iter().filter(reported).count()
            };
            let oracle = self.scene.world.oracle();
            let shrunk = oracle.shrunk(device).filter(|at| *at >= calm).count();
            let (told, forks) = (of(Clause::SERVICE_BACK_1, calm), of(Clause::SERVICE_FORK_1, Instant::ZERO));
            let twice = oracle.held_a_fork(device, &session, &service);
            sums.shrunk += oracle.shrunk(device).count();
            sums.reported += of(Clause::SERVICE_BACK_1, Instant::ZERO) + of(Clause::SERVICE_COUNT_1, Instant::ZERO);
            sums.forks += usize::from(twice);
            // Two answers about one box are one loss.
            let silent = shrunk > 0 && told == 0;
            self.ensure(!silent, || format!("{device} was shown {shrunk} boxes that shrank, and told of none"))?;
            self.ensure(!twice || forks > 0, || format!("{device} held two records of the service, and told of none"))?;
        }
        Ok(())
    }
}

impl Trial {
    /// The entries of the log that a device holds.
    fn entries(&self, device: usize) -> BTreeSet<Vec<u8>> {
        let core = self.scene.world.device(device).map(LocalDevice::endpoint);
        let state = core.and_then(|core| core.state(&self.scene.session));
        let stream = state.and_then(|state| state.stream(&self.diary()));
        stream.into_iter().flat_map(|stream| stream.arrived(0)).map(|op| op.body.to_vec()).collect()
    }
}

/// A run from a seed.
///
/// # Errors
/// What went wrong.
fn play(seed: u64, fate: Fate, without: Option<Clause>, sums: &mut Sums) -> Result<(), String> {
    let mut trial = Trial::new(seed, fate, without);
    if !seed.is_multiple_of(4) {
        let drawn = Options::draw(seed);
        let faults = Faults { partition: 0, ..drawn.faults };
        trial.scene.world.set_options(Options { faults, ..drawn });
    }
    for at in 0..trial.scene.rng.within(Span(8, 28)) as usize {
        trial.act(at);
        let pause = trial.scene.rng.within(Span(0, 4 * SECOND));
        trial.run(pause);
    }
    if trial.scene.rng.below(2) == 0 {
        trial.befall();
    }
    let calm = trial.settle();
    let converged = trial.scene.world.is_converged();
    sums.by_mailbox += usize::from(converged);
    if !converged {
        // A service can hide the end of a box, and so can one that lost it: what others put there meanwhile fills its
        // place, and who had put the rest isn't told. That shows when devices meet.
        (1..DEVICES).for_each(|to| (1..to).for_each(|from| trial.scene.world.link(from, to)));
        trial.run(PATIENCE);
        trial.scene.world.run_until(LONG, |world| world.is_converged());
    }
    sums.befell += trial.befell;
    trial.check_entries()?;
    trial.check_owner()?;
    trial.check_breaches()?;
    trial.check_reports(calm, sums)
}

fn holds(fate: Fate) -> Sums {
    let mut sums = Sums::default();
    for seed in 0..SEEDS {
        play(seed, fate, None, &mut sums).unwrap_or_else(|why| panic!("{fate:?}, seed {seed}: {why}"));
    }
    let Sums { befell, shrunk, reported, forks, by_mailbox } = sums;
    println!(
        "{fate:?}: {befell} times, {shrunk} boxes shrank, {reported} reports, {forks} forks, {by_mailbox} by mailbox"
    );
    assert!(befell >= SEEDS as usize && shrunk > 0 && reported > 0, "{befell}, {shrunk}, {reported}");
    // Most often nobody need meet: letters show what is missing.
    let most = if fate == Fate::Forked { SEEDS / 2 } else { SEEDS - SEEDS / 20 };
    assert!(by_mailbox as u64 >= most, "{by_mailbox}");
    sums
}

#[test]
fn a_service_that_knows_that_it_was_put_back_costs_nothing() {
    holds(Fate::Noticed);
}

#[test]
fn a_service_that_was_put_back_unawares_costs_nothing() {
    assert!(holds(Fate::Unnoticed).forks > 0, "nobody saw it sign twice");
}

#[test]
fn a_service_of_which_there_are_two_costs_nothing_once_devices_meet() {
    assert!(holds(Fate::Forked).forks > 0, "nobody saw it sign twice");
}

#[test]
fn a_clause_about_services_that_changed_their_past_is_missed() {
    let left_out = [
        (Fate::Noticed, Clause::SERVICE_BACK_1),
        (Fate::Noticed, Clause::SERVICE_TENURE_1),
        (Fate::Unnoticed, Clause::SERVICE_FORK_1),
    ];
    for (fate, clause) in left_out {
        let noticed = (0..10 * SEEDS).find(|seed| play(*seed, fate, Some(clause), &mut Sums::default()).is_err());
        assert!(noticed.is_some(), "nothing goes wrong without {clause}");
        println!("{clause}: seed {noticed:?}");
    }
}
