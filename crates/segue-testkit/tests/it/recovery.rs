//! Hard cases that random worlds found, each by itself.

use segue_proto::{Event, Generation, Policy};
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Options, Pair, World};

const SYNC: u64 = 50_000;
const SECOND: u64 = 1_000_000;

fn pair() -> Pair {
    Pair::fresh(Options::calm(1, 5_000, SYNC), [Generation::V7; 2])
}

/// Runs until the device waits for the acknowledgement of its GRANT.
fn until_granted(world: &mut World<LocalDevice>, node: usize, session: segue_proto::wire::SessionId) {
    let granted = |world: &mut World<_>| world.session(node, session).is_some_and(|state| state.pending.is_some());
    assert!(world.run_until(PATIENCE, granted), "{}", world.trace().join("\n"));
}

#[test]
fn a_target_that_heard_of_its_record_before_the_grant_is_activated_by_the_grant() {
    let mut world = World::local(Options::calm(1, 5_000, SYNC));
    world.add(3, |_, setup| setup.pulls = Policy::Allow);
    world.link_all();
    world.run_for(SECOND);
    let session = create(&mut world, 0, &[1, 2]);
    let ask = |world: &World<LocalDevice>, from: usize, timeout_us| Command::Request {
        session,
        from: world.id(from),
        timeout_us,
    };
    let from_a = ask(&world, 0, PATIENCE);
    world.command(1, from_a).unwrap();
    until_granted(&mut world, 0, session);
    world.partition(0, 1);
    // The third device hears of the record from the source, and the target from the third.
    let from_a = ask(&world, 0, SECOND);
    world.command(2, from_a).unwrap();
    world.run_for(2 * SECOND);
    let from_c = ask(&world, 2, SECOND);
    let _ = world.command(1, from_c);
    world.run_for(2 * SECOND);
    world.heal(0, 1);
    let arrived = world.run_until(10 * PATIENCE, |world| world.primaries(session) == [1]);
    assert!(arrived, "{}", world.trace().join("\n"));
}

#[test]
fn a_takeover_of_what_was_granted_resolves_the_handoff_and_survives_a_restart() {
    let mut pair = pair();
    let (world, session) = (&mut pair.world, pair.session);
    let initiate = Command::Initiate { session, to: world.id(1), timeout_us: PATIENCE };
    world.command(0, initiate).unwrap();
    until_granted(world, 0, session);
    world.partition(0, 1);
    world.run_for(SECOND);
    world.command(0, Command::Takeover { session }).unwrap();
    world.run_for(SECOND);
    let resolved = world.events(0).iter().any(|(_, event)| matches!(event, Event::HandoffResolved { .. }));
    assert!(resolved, "the handoff is over\n{}", world.trace().join("\n"));
    world.crash(0);
    world.heal(0, 1);
    world.run_for(PATIENCE);
    assert_eq!(world.primaries(session), [0], "{}", world.trace().join("\n"));
}

#[test]
fn a_target_that_falls_back_to_what_it_held_before_still_holds_it_after_a_restart() {
    let mut pair = pair();
    let session = pair.session;
    assert!(pair.pull(0, 1));
    pair.world.command(1, Command::WriteExclusive { session, bytes: b"lost to the takeover".to_vec() }).unwrap();
    pair.world.run_for(SECOND);
    pair.world.command(0, Command::Takeover { session }).unwrap();
    pair.world.run_for(SECOND);
    let initiate = Command::Initiate { session, to: pair.id(1), timeout_us: PATIENCE };
    pair.world.command(0, initiate).unwrap();
    until_granted(&mut pair.world, 0, session);
    pair.world.crash(1);
    assert!(pair.settle(1), "{}", pair.world.trace().join("\n"));
}

#[test]
fn an_old_primary_hears_of_a_takeover_as_it_meets_the_taker() {
    let mut pair = pair();
    let session = pair.session;
    assert!(pair.pull(0, 1));
    pair.world.partition(0, 1);
    pair.world.cut(0, 1);
    pair.world.run_for(SECOND);
    pair.world.command(0, Command::Takeover { session }).unwrap();
    pair.world.run_for(SECOND);
    pair.world.heal(0, 1);
    pair.world.run_for(PATIENCE);
    assert_eq!(pair.world.primaries(session), [0], "{}", pair.world.trace().join("\n"));
}

#[test]
fn of_two_requests_for_one_session_each_ends() {
    let mut world = World::local(Options::calm(1, 5_000, SYNC));
    world.add(3, |_, setup| setup.pulls = Policy::Allow);
    world.link_all();
    world.run_for(SECOND);
    let session = create(&mut world, 0, &[1, 2]);
    let ask = |world: &World<LocalDevice>, from: usize| Command::Request {
        session,
        from: world.id(from),
        timeout_us: 10 * SECOND,
    };
    // The first request waits behind a partition while the session becomes known by another way.
    world.partition(0, 1);
    for node in [1, 2] {
        let from_a = ask(&world, 0);
        world.command(node, from_a).unwrap();
    }
    assert!(world.run_until(SECOND, |world| world.primaries(session) == [2]));
    world.run_for(SECOND);
    world.heal(0, 1);
    let from_c = ask(&world, 2);
    world.command(1, from_c).unwrap();
    world.run_for(20 * SECOND);
    let ended = world.events(1).iter().filter(|(_, event)| matches!(event, Event::HandoffResolved { .. })).count();
    assert_eq!(ended, 2, "{}", world.trace().join("\n"));
}

#[test]
fn what_a_takeover_passed_by_is_not_taken_up_again_by_whom_the_taker_grants_to() {
    let mut world = World::local(Options::calm(1, 5_000, SYNC));
    world.add(3, |_, setup| (setup.pulls, setup.follow) = (Policy::Allow, true));
    let session = create(&mut world, 0, &[1, 2]);
    world.allow_pulls(session);
    world.link_all();
    world.run_for(SECOND);
    // The third device learns neither of the grant nor of what is written under it.
    world.partition(0, 2);
    world.partition(1, 2);
    let ask = |from: usize, world: &World<LocalDevice>| Command::Request {
        session,
        from: world.id(from),
        timeout_us: PATIENCE,
    };
    let from_a = ask(0, &world);
    world.command(1, from_a).unwrap();
    assert!(world.run_until(PATIENCE, |world| world.primaries(session) == [1]), "{}", world.trace().join("\n"));
    world.command(1, Command::WriteExclusive { session, bytes: b"passed by".to_vec() }).unwrap();
    world.run_for(SECOND);
    world.command(2, Command::Takeover { session }).unwrap();
    world.run_for(SECOND);
    world.heal(0, 2);
    world.heal(1, 2);
    let fenced = |world: &mut World<_>| world.primaries(session) == [2];
    assert!(world.run_until(PATIENCE, fenced), "{}", world.trace().join("\n"));
    let from_c = ask(2, &world);
    world.command(1, from_c).unwrap();
    let granted = |world: &mut World<_>| world.primaries(session) == [1];
    assert!(world.run_until(PATIENCE, granted), "{}", world.trace().join("\n"));
    let state = world.session(1, session).unwrap();
    assert_eq!((state.exclusive, state.copies), (None, 1), "{}", world.trace().join("\n"));
    assert_eq!(world.breaches(), []);
}
