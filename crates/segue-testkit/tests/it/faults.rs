//! The promises, under faults: a suite for each, over random worlds, and for each the clauses without which it breaks.
//!
//! `SEGUE_SEEDS` sets the number of worlds of each suite, `SEGUE_SEED` where they start.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use segue_proto::Clause;
use segue_proto::wire::Message;
use segue_testkit::device::{Inspect, LocalDevice};
use segue_testkit::flights::PATIENCE;
use segue_testkit::{Breach, Kind, Promise, Rng, Scenario, Users, World};

/// A promise, and the worlds in which it is tried.
#[derive(Clone, Copy)]
struct Suite {
    promise: Promise,
    kind: Kind,
    /// Whether, once all is quiet, everything that was said is said again.
    repeat: bool,
}

const S1: Suite = Suite::of(Promise::S1, Kind::RESTORES);
const S2: Suite = Suite::of(Promise::S2, Kind::ROT);
const S3: Suite = Suite::of(Promise::S3, Kind::TAKEOVERS);
const PICKED: Suite = Suite::of(Promise::S2, Kind::PICKS);
const PICKED_ALONE: Suite = Suite::of(Promise::S3, Kind::PICKS);
const S4: Suite = Suite::of(Promise::S4, Kind::TAKEOVERS);
const S5: Suite = Suite { repeat: true, ..Suite::of(Promise::S5, Kind::REPLAYS) };
const L2: Suite = Suite::of(Promise::L2, Kind::TAKEOVERS);
const L3: Suite = Suite::of(Promise::L3, Kind::TAKEOVERS);
const MEETING: Suite = Suite::of(Promise::Meeting, Kind::TAKEOVERS);

#[test]
fn s1_there_is_one_primary() {
    S1.holds();
}

#[test]
fn s2_who_is_granted_to_holds_the_data() {
    S2.holds();
}

#[test]
fn s3_acknowledged_writes_survive() {
    S3.holds();
}

#[test]
fn s2_who_picked_gets_what_was_picked() {
    PICKED.holds_in(worlds() / 6);
}

#[test]
fn s3_what_nobody_picked_is_held_by_somebody() {
    PICKED_ALONE.holds_in(worlds() / 6);
}

#[test]
fn s4_nothing_is_promised_from_unsynced_state() {
    S4.holds();
}

#[test]
fn s5_what_is_said_again_changes_nothing() {
    S5.holds();
}

#[test]
fn l2_an_ownership_on_its_way_arrives() {
    L2.holds();
}

#[test]
fn l3_every_request_ends() {
    L3.holds();
}

#[test]
fn devices_that_meet_agree_on_the_owner() {
    MEETING.holds();
}

#[test]
fn s1_breaks_without_its_clauses() {
    for clause in [
        Clause::HO_GRANT_2,
        Clause::HO_GRANT_3,
        Clause::HO_HEAD_1,
        Clause::HO_OFFER_5,
        Clause::HO_STORE_1,
        Clause::HO_STORE_2,
        Clause::HO_WANT_5,
        Clause::HO_WRITE_1,
    ] {
        S1.breaks_without(clause, 1000);
    }
}

#[test]
fn s2_breaks_without_its_clauses() {
    for clause in [Clause::HO_GRANT_2, Clause::TRANSFER_CHUNK_1] {
        S2.breaks_without(clause, 1000);
    }
}

#[test]
fn s3_breaks_without_its_clauses() {
    for clause in
        [Clause::HO_GRANT_2, Clause::HO_WRITE_1, Clause::HO_WRITE_2, Clause::SYNC_SINCE_1, Clause::DATA_MERGE_1]
    {
        S3.breaks_without(clause, 1000);
    }
}

#[test]
fn s4_breaks_without_its_clauses() {
    for clause in [Clause::HO_GRANT_1, Clause::HO_HEAD_4, Clause::HO_STORE_3, Clause::TRANSFER_HAVE_1] {
        S4.breaks_without(clause, 1000);
    }
}

#[test]
fn picks_break_without_their_clauses() {
    PICKED.breaks_without(Clause::HO_PICK_6, 1000);
}

#[test]
fn s5_breaks_without_its_clauses() {
    S5.breaks_without(Clause::HO_WANT_1, 1000);
}

#[test]
fn l2_breaks_without_its_clauses() {
    for clause in [Clause::HO_GRANT_8, Clause::HO_GRANT_9] {
        L2.breaks_without(clause, 1000);
    }
}

#[test]
fn l3_breaks_without_its_clauses() {
    L3.breaks_without(Clause::HO_TIME_1, 1000);
}

impl Suite {
    const fn of(promise: Promise, kind: Kind) -> Suite {
        Suite { promise, kind, repeat: false }
    }

    fn holds(self) {
        self.holds_in(worlds());
    }

    fn holds_in(self, worlds: u32) {
        if let Err(why) = self.run(None, worlds, 256) {
            panic!("{why}");
        }
    }

    /// The same suite must fail where no device keeps the clause.
    fn breaks_without(self, clause: Clause, within: u32) {
        assert!(self.run(Some(clause), within, 0).is_err(), "nobody noticed that {clause} wasn't kept");
    }

    fn run(self, without: Option<Clause>, worlds: u32, shrink: u32) -> Result<(), String> {
        let config = Config { cases: worlds, max_shrink_iters: shrink, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &start()));
        let tried = runner.run(&scenarios(self.kind), |mut scenario| {
            scenario.without = without;
            let (trace, breach) = self.try_one(&scenario);
            let told =
                || format!("{}\n\n{}", trace.join("\n"), breach.clone().map_or(String::new(), |b| b.to_string()));
            prop_assert!(breach.is_none(), "{}", told());
            Ok(())
        });
        tried.map_err(|why| why.to_string())
    }

    fn try_one(self, scenario: &Scenario) -> (Vec<String>, Option<Breach>) {
        let (mut world, _) = scenario.play();
        if self.repeat {
            say_everything_again(&mut world, scenario.options.seed);
        }
        let breach = world.breaches().iter().find(|breach| breach.promise == self.promise).cloned();
        (world.trace().to_vec(), breach)
    }
}

/// Worlds of this kind. What their users do shrinks, their weather doesn't.
fn scenarios(kind: Kind) -> impl Strategy<Value = Scenario> {
    (any::<u64>().no_shrink(), vec(prop::bool::weighted(0.97), 24)).prop_map(move |(seed, kept)| {
        let mut scenario = Scenario::draw(seed, kind);
        let mut kept = kept.into_iter();
        scenario.steps.retain(|_| kept.next().unwrap_or(true));
        scenario
    })
}

/// Replays, twice, what every device said to every other. The first time may tell what was lost with a link; the
/// second time must change nothing of what the devices say of themselves.
fn say_everything_again(world: &mut World<LocalDevice>, seed: u64) {
    // A user who says yes to an old request takes it up anew, which is no replay.
    world.set_users(Users::ABSENT);
    let mut rng = Rng::new(seed, "replays");
    let said: Vec<Said> = pairs(world.len()).map(|(from, to)| (from, to, world.said(from, to))).collect();
    say(world, &said, &mut rng);
    let before: Vec<Inspect> = (0..world.len()).map(|node| world.inspect(node)).collect();
    say(world, &said, &mut rng);
    for (node, before) in before.iter().enumerate() {
        let after = world.inspect(node);
        if after != *before {
            let what = format!("what was said again changed {before:?} to {after:?}");
            world.breach(Promise::S5, node, &what);
        }
    }
}

/// What one device said to another.
type Said = (usize, usize, Vec<Message>);

/// Says it all again, out of order.
fn say(world: &mut World<LocalDevice>, said: &[Said], rng: &mut Rng) {
    for (from, to, messages) in said {
        let mut left = messages.clone();
        while !left.is_empty() {
            let message = left.swap_remove(rng.below(left.len() as u64) as usize);
            if is_spent(world, &message) {
                world.say_again(*from, *to, &message);
            }
        }
    }
    world.run_for(PATIENCE);
}

fn pairs(devices: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..devices).flat_map(move |from| (0..devices).filter(move |to| *to != from).map(move |to| (from, to)))
}

/// Whether a message had its effect. A WANT that was given up may still be granted by policy: that is what it asks.
fn is_spent(world: &World<LocalDevice>, message: &Message) -> bool {
    match message {
        Message::Want(want) => world.oracle().is_used(&want.want.id()),
        _ => true,
    }
}

/// The worlds of a suite: few enough for every run of the tests.
fn worlds() -> u32 {
    std::env::var("SEGUE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600)
}

fn start() -> [u8; 32] {
    let seed = std::env::var("SEGUE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0u64);
    *blake3::hash(&seed.to_be_bytes()).as_bytes()
}
