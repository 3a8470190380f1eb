//! One session whose four members speak 1.4, 1.7, 2 and 7, and whose ownership goes round among them while all of them
//! write and things go wrong. Each pair does what its link can, and no member is worse off for the others.
//!
//! The cells of the table of pairs that a ring of all four meets, in both directions and all orders: GEN-PAIR-2 to
//! GEN-PAIR-5, GEN-PAIR-7 to GEN-PAIR-10 and GEN-PAIR-12 to GEN-PAIR-15. `SEGUE_SEEDS` says how many worlds are tried.

use std::collections::BTreeSet;

use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::SessionId;
use segue_proto::{Event, Generation, Lsn, Policy, SessionRole};
use segue_testkit::device::{Command, LocalDevice, Reply};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Options, Rng, Span, World};

const MEMBERS: usize = 4;
const ROUNDS: usize = 6;

#[test]
fn members_of_four_generations_pass_a_session_round_and_lose_nothing() {
    let worlds = std::env::var("SEGUE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(48);
    let mut total = Total::default();
    for seed in 0..worlds {
        let mut mixed = Mixed::new(seed);
        if let Err(why) = mixed.play(&mut total) {
            panic!("{}\nseed {seed}, {:?}: {why}", mixed.world.trace().join("\n"), mixed.generations);
        }
    }
    let Total { handoffs, offers, hints, writes, conflicts } = total;
    println!(
        "{worlds} worlds: {handoffs} handoffs, {offers} offers, {hints} hints, {writes} writes kept, {conflicts} conflicts"
    );
    assert!(handoffs > worlds && offers > 0 && hints > 0 && writes > 0, "the worlds show too little");
}

#[derive(Default)]
struct Total {
    handoffs: u64,
    offers: usize,
    hints: usize,
    writes: usize,
    conflicts: usize,
}

struct Mixed {
    world: World<LocalDevice>,
    session: SessionId,
    generations: Vec<Generation>,
    weather: Options,
    rng: Rng,
    /// What was written to shared parts: by whom, in which of its lives, and when it counts as acknowledged.
    writes: Vec<(String, usize, u32, Lsn)>,
}

impl Mixed {
    fn new(seed: u64) -> Mixed {
        let mut rng = Rng::new(seed, "mixed");
        let mut generations = Generation::ALL.to_vec();
        for at in (1..MEMBERS).rev() {
            generations.swap(at, rng.below(at as u64 + 1) as usize);
        }
        let mut world = World::local(Options::calm(seed, 1_000, 100));
        world.add(MEMBERS, |at, setup| {
            setup.generation = generations[at];
            setup.pulls = Policy::Ask;
            setup.follow = true;
        });
        let session = create(&mut world, 0, &[1, 2, 3]);
        world.allow_pulls(session);
        world.link_all();
        world.run_for(PATIENCE / 4);
        let mut weather = Options::draw(seed);
        weather.faults.crash /= 6;
        weather.faults.sync_failure /= 3;
        weather.faults.outage = Span(10_000, 2_000_000);
        Mixed { world, session, generations, weather, rng, writes: Vec::new() }
    }

    fn play(&mut self, total: &mut Total) -> Result<(), String> {
        self.world.set_options(self.weather.clone());
        for round in 0..ROUNDS {
            self.round(round);
        }
        self.world.calm();
        self.world.run_until(10 * PATIENCE, |world| world.is_settled());
        self.world.run_for(PATIENCE / 4);
        self.world.run_until(10 * PATIENCE, |world| world.is_converged());
        self.world.check_settled();
        if let Some(breach) = self.world.breaches().first() {
            return Err(breach.to_string());
        }
        self.judge(total)
    }

    /// The primary hands over to the next in the ring; all write before, while it runs, and after.
    fn round(&mut self, round: usize) {
        let session = self.session;
        self.write_all(round, "before");
        if let Some(owner) = self.world.primaries(session).first().copied() {
            let to = (owner + 1) % MEMBERS;
            let (target, source) = (self.world.id(to), self.world.id(owner));
            let view = Command::WriteExclusive { session, bytes: format!("view {round}").into_bytes() };
            let _ = self.world.command(owner, view);
            let _ = self.world.command(owner, Command::Initiate { session, to: target, timeout_us: PATIENCE });
            let pause = self.rng.within(Span(0, 400_000));
            self.world.run_for(pause);
            self.write_all(round, "meanwhile");
            if self.link(owner, to) == Generation::V1_4 {
                // What such a link has instead of an offer is a hint; its user asks.
                let _ = self.world.command(to, Command::Request { session, from: source, timeout_us: PATIENCE });
            }
            let moved = move |world: &mut World<LocalDevice>| {
                world.session(to, session).is_some_and(|state| state.role == SessionRole::Primary)
            };
            self.world.run_until(PATIENCE / 2, moved);
        }
        self.write_all(round, "after");
        let pause = self.rng.within(Span(0, 2_000_000));
        self.world.run_for(pause);
    }

    fn link(&self, a: usize, b: usize) -> Generation {
        self.generations[a].min(self.generations[b])
    }

    fn write_all(&mut self, round: usize, when: &str) {
        for node in 0..MEMBERS {
            let name = format!("{node} {round} {when}");
            self.write(node, PartKind::Log, "chat", name.clone());
            if self.rng.chance(400) {
                self.write(node, PartKind::Register, "title", name);
            }
            let pause = self.rng.within(Span(0, 30_000));
            self.world.run_for(pause);
        }
    }

    /// A write to a log is to be there in the end; one to a register may be replaced by one that knew it.
    fn write(&mut self, node: usize, kind: PartKind, part: &str, name: String) {
        let (session, boot) = (self.session, self.world.boot(node));
        let part = named_part(&session, kind, part);
        let command =
            Command::Write { session, part, kind: kind.number(), body: name.clone().into_bytes(), resolves: true };
        if let Ok(Reply::Written(lsn)) = self.world.command(node, command)
            && kind == PartKind::Log
        {
            self.writes.push((name, node, boot, lsn));
        }
    }

    fn judge(&mut self, total: &mut Total) -> Result<(), String> {
        let states: Vec<_> = (0..MEMBERS).map(|node| self.world.session(node, self.session)).collect();
        let roots: BTreeSet<_> = states.iter().map(|state| state.as_ref().map(|state| state.root)).collect();
        if roots.len() != 1 || roots.contains(&None) {
            return Err(format!("the roots differ: {roots:?}"));
        }
        let views: BTreeSet<_> = states.iter().flatten().map(|state| state.exclusive.clone()).collect();
        if views.len() != 1 {
            return Err(format!("the view state differs: {views:?}"));
        }
        for node in 0..MEMBERS {
            self.judge_log(node)?;
            self.judge_events(node, total)?;
        }
        let title = named_part(&self.session, PartKind::Register, "title");
        let state = self.world.device(0).and_then(|device| device.endpoint().state(&self.session));
        let conflicted = state.and_then(|state| state.part(&title)).is_some_and(|part| part.is_conflicted());
        total.conflicts += usize::from(conflicted);
        total.handoffs += self.world.oracle().activations() as u64 - 1;
        total.writes += self.writes.len();
        Ok(())
    }

    fn judge_log(&self, node: usize) -> Result<(), String> {
        let part = named_part(&self.session, PartKind::Log, "chat");
        let state = self.world.device(node).and_then(|device| device.endpoint().state(&self.session));
        let stream = state.and_then(|state| state.stream(&part)).ok_or("no chat")?;
        let said: Vec<String> =
            stream.in_order().iter().map(|entry| String::from_utf8_lossy(entry.body).into_owned()).collect();
        let unique: BTreeSet<_> = said.iter().collect();
        if unique.len() != said.len() {
            return Err(format!("device {node} has something twice"));
        }
        let oracle = self.world.oracle();
        let kept = |(name, node, boot, lsn): &&(String, usize, u32, Lsn)| {
            oracle.is_acknowledged(*node, *boot, *lsn) && !unique.contains(name)
        };
        match self.writes.iter().find(kept) {
            Some((lost, ..)) => Err(format!("acknowledged, and lost at device {node}: {lost}")),
            None => Ok(()),
        }
    }

    /// No device is told of an offer over a link that can't carry one (GEN-USE-1).
    fn judge_events(&self, node: usize, total: &mut Total) -> Result<(), String> {
        let number = |device| (0..MEMBERS).find(|other| self.world.id(*other) == device);
        for (_, event) in self.world.events(node) {
            match event {
                Event::HandoffRequest { from, .. } => {
                    total.offers += 1;
                    let source = number(*from).ok_or("an offer of a stranger")?;
                    if self.link(source, node) < Generation::V1_7 {
                        return Err(format!("device {node} was offered the session over a link of 1.4"));
                    }
                }
                Event::Available { .. } => total.hints += 1,
                _ => {}
            }
        }
        Ok(())
    }
}
