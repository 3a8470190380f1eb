//! Devices that never meet, and a service that signs for them: with crashes of all of them, links that lose, delay and
//! die, and owners that fall silent, one device owns, and nothing that was acknowledged is lost.

use segue_proto::wire::SessionId;
use segue_proto::{Clause, SessionRole};
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Faults, Options, Rng, Span, World};

pub(crate) const SERVICE: usize = 0;
pub(crate) const DEVICES: usize = 4;
pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const LONG: u64 = 600 * SECOND;
const SEEDS: u64 = 300;

pub(crate) struct Scene {
    pub(crate) world: World<LocalDevice>,
    pub(crate) rng: Rng,
    pub(crate) session: SessionId,
}

impl Scene {
    /// A service with leases, and three devices that vouch for one another and never meet; the first has delegated.
    pub(crate) fn new(seed: u64, lease_us: u64, without: Option<Clause>) -> Scene {
        Scene::with_copies(seed, lease_us, without, 0)
    }

    /// The same, with machines behind the devices that may become copies of the service's.
    pub(crate) fn with_copies(seed: u64, lease_us: u64, without: Option<Clause>, copies: usize) -> Scene {
        let mut world = World::local(Options::calm(seed, 1_000, 100));
        let mut identity = [0; 32];
        world.add(DEVICES + copies, |at, setup| {
            let serves = at == SERVICE || at >= DEVICES;
            match at {
                SERVICE => identity = setup.identity,
                DEVICES.. => setup.identity = identity,
                _ => {}
            }
            setup.follow = true;
            setup.accept_unknown = serves;
            setup.pulls = segue_proto::Policy::Allow;
            setup.without = without;
        });
        let service = world.id(SERVICE);
        for at in std::iter::once(SERVICE).chain(DEVICES..DEVICES + copies) {
            world.command(at, Command::HostCustody { lease_us }).unwrap();
        }
        for at in 1..DEVICES {
            world.command(at, Command::Distrust { device: service }).unwrap();
            world.command(at, Command::UseMailbox { mailbox: service }).unwrap();
            let device = world.id(at);
            world.command(SERVICE, Command::Distrust { device }).unwrap();
        }
        let session = create(&mut world, 1, &[2, 3]);
        world.allow_pulls(session);
        (1..DEVICES).for_each(|at| world.link(at, SERVICE));
        // All know the exclusive part before anything goes wrong, so that no two are made.
        world.command(1, Command::WriteExclusive { session, bytes: b"view 0".to_vec() }).unwrap();
        world.run_for(5 * SECOND);
        world.command(1, Command::Delegate { session, service, timeout_us: LONG }).unwrap();
        world.run_for(5 * SECOND);
        Scene { world, rng: Rng::new(seed, "delegate"), session }
    }

    pub(crate) fn owner(&mut self) -> Option<usize> {
        self.world.primaries(self.session).first().copied()
    }

    /// Something that a user, or an accident, does.
    pub(crate) fn act(&mut self, at: usize) {
        let (session, device) = (self.session, 1 + self.rng.below(DEVICES as u64 - 1) as usize);
        let owner = self.owner();
        let timeout_us = self.rng.within(Span(SECOND, 20 * SECOND));
        let of = self.world.session(device, session).and_then(|state| state.owner);
        let command = match self.rng.below(20) {
            0..7 => (owner.unwrap_or(device), Command::WriteExclusive { session, bytes: vec![at as u8; 20] }),
            7..10 => (owner.unwrap_or(device), Command::Initiate { session, to: self.world.id(device), timeout_us }),
            10..14 => match of {
                Some(from) => (device, Command::Request { session, from, timeout_us }),
                None => return,
            },
            14 => return self.world.crash(SERVICE),
            15 => return self.world.crash(device),
            16 => return self.world.partition_for(device, SERVICE, timeout_us),
            17 => (owner.unwrap_or(device), Command::CancelHandoff { session }),
            18 => (owner.unwrap_or(device), Command::Reclaim { session, timeout_us }),
            _ => {
                let service = self.world.id(SERVICE);
                (owner.unwrap_or(device), Command::Delegate { session, service, timeout_us })
            }
        };
        // What a user may not do is refused, and that is all.
        let _ = self.world.command(command.0, command.1);
    }

    /// What a device holds, and by which head.
    pub(crate) fn held(&mut self, at: usize) -> String {
        let state = self.world.session(at, self.session);
        let head = state.map(|state| (state.role, state.term, state.n, state.copies, state.exclusive));
        let core = self.world.device(at).map(LocalDevice::endpoint);
        let parts = core.and_then(|core| core.state(&self.session)).into_iter().flat_map(|state| state.parts());
        let parts: Vec<_> = parts.map(|part| format!("{part:?}")).collect();
        format!("device {at}: {head:?}, {}", parts.join(" "))
    }

    pub(crate) fn tail(&self) -> String {
        let trace: Vec<_> = self.world.trace().iter().filter(|line| !line.contains("PING")).cloned().collect();
        trace[trace.len().saturating_sub(80)..].join("\n")
    }
}

/// What a run came to.
struct Outcome {
    handed: usize,
    terms: u64,
}

/// A run from a seed.
///
/// # Errors
/// What went wrong.
fn play(seed: u64, lease: u64, without: Option<Clause>) -> Result<Outcome, String> {
    let mut scene = Scene::new(seed, lease, without);
    let drawn = Options::draw(seed);
    let faults = Faults { partition: 0, ..drawn.faults };
    scene.world.set_options(Options { faults, ..drawn });
    for at in 0..scene.rng.within(Span(6, 24)) as usize {
        scene.act(at);
        let pause = scene.rng.within(Span(0, 4 * SECOND));
        scene.world.run_for(pause);
    }
    scene.world.run_for(PATIENCE);
    scene.world.calm();
    let settled = scene.world.run_until(LONG, |world| world.is_settled());
    scene.world.run_for(PATIENCE);
    scene.world.run_until(LONG, |world| world.is_converged());
    scene.world.check_settled();
    let broken = scene.world.breaches().iter().map(ToString::to_string).collect::<Vec<_>>();
    if !settled || !broken.is_empty() {
        let held: Vec<_> = (1..DEVICES).map(|at| scene.held(at)).collect();
        return Err(format!("settled {settled}, {broken:?}\n{}\n{}", scene.tail(), held.join("\n")));
    }
    let terms = (1..DEVICES).filter_map(|at| scene.world.session(at, scene.session)).map(|state| state.term).max();
    Ok(Outcome { handed: scene.world.oracle().activations(), terms: terms.unwrap_or_default() })
}

#[test]
fn a_session_is_handed_over_by_a_service_whatever_goes_wrong() {
    let (mut handed, mut terms) = (0, 0);
    for seed in 0..SEEDS {
        let lease = if seed % 3 == 0 { 0 } else { 4 * SECOND };
        let outcome = play(seed, lease, None).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        (handed, terms) = (handed + outcome.handed, terms + outcome.terms);
    }
    println!("{handed} activations, {terms} terms");
    assert!(handed > SEEDS as usize && terms > SEEDS / 20, "{handed} activations, {terms} terms");
}

#[test]
fn service_lease_2_a_primary_that_is_gone_for_good_is_replaced_within_its_lease_and_a_second() {
    let lease = 10 * SECOND;
    let mut scene = Scene::new(7, lease, None);
    let (session, from) = (scene.session, scene.world.id(1));
    scene.world.command(1, Command::WriteExclusive { session, bytes: b"view 1".to_vec() }).unwrap();
    scene.world.run_for(2 * SECOND);
    scene.world.command(2, Command::Consent { session, to: from, ttl_us: LONG }).unwrap();
    scene.world.run_for(SECOND);
    assert_eq!(scene.owner(), Some(1), "consent alone takes nothing from an owner that is there");
    let gone = scene.world.now();
    scene.world.unlink(1, SERVICE);
    let owns = |world: &mut World<LocalDevice>| {
        world.session(2, session).is_some_and(|state| state.role == SessionRole::Primary)
    };
    assert!(scene.world.run_until(LONG, owns), "{}", scene.tail());
    let took = scene.world.now().since(gone);
    assert!(took <= lease + SECOND, "{took} µs");
    // The old one writes, comes back, is fenced, and keeps what it wrote.
    scene.world.command(1, Command::WriteExclusive { session, bytes: b"view of the old one".to_vec() }).unwrap();
    scene.world.command(2, Command::WriteExclusive { session, bytes: b"view 2".to_vec() }).unwrap();
    scene.world.link(1, SERVICE);
    scene.world.run_for(30 * SECOND);
    let old = scene.world.session(1, session).unwrap();
    assert_eq!((old.role, old.copies), (SessionRole::Secondary, 1), "{}", scene.tail());
    assert_eq!(old.exclusive.as_deref(), Some(b"view 2".as_slice()));
    assert!(scene.world.breaches().is_empty(), "{:?}", scene.world.breaches());
}

#[test]
fn a_clause_of_delegation_that_is_left_out_is_noticed() {
    let left_out = [Clause::SERVICE_FREEZE_1, Clause::SERVICE_FREEZE_2, Clause::SERVICE_HELD_1, Clause::SERVICE_CAS_2];
    for clause in left_out {
        let noticed = (0..10 * SEEDS).find(|seed| play(*seed, 4 * SECOND, Some(clause)).is_err());
        assert!(noticed.is_some(), "nothing goes wrong without {clause}");
        println!("{clause}: seed {noticed:?}");
    }
}
