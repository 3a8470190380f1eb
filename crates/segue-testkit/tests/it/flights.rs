//! The budgets of a handoff, counted.

use segue_proto::data::PartKind;
use segue_proto::wire::PartId;
use segue_testkit::device::Command;
use segue_testkit::flights::{PATIENCE, UNIT};
use segue_testkit::{Flights, Pair, Way};

fn budget(to_active: u64, to_resolved: u64) -> Flights {
    Flights { to_active, to_resolved, syncs_to_active: 1, syncs_to_resolved: 2 }
}

#[test]
fn a_push_with_standing_consent_takes_one_flight_to_active_and_two_to_resolved() {
    assert_eq!(Flights::count(Way::Consented), budget(1, 2));
}

#[test]
fn a_push_with_an_accepted_offer_takes_three_flights_to_active_and_four_to_resolved() {
    assert_eq!(Flights::count(Way::Accepted), budget(3, 4));
}

#[test]
fn a_pull_takes_two_flights_to_active_and_three_to_resolved() {
    assert_eq!(Flights::count(Way::Pulled), budget(2, 3));
}

#[test]
fn a_consent_is_good_for_one_flight_whatever_was_written_to_shared_parts_before_it_and_after() {
    let mut pair = Pair::new(UNIT, 0);
    let (session, source, target) = (pair.session, 0, 1);
    let write = |body: &[u8]| Command::Write {
        session,
        part: PartId::new([9; 16]),
        kind: PartKind::Register.number(),
        body: body.to_vec(),
        resolves: false,
    };
    for round in 0..3_u8 {
        pair.world.command(source, write(&[round, 1])).expect("a write");
        pair.world.run_for(10 * UNIT);
        let to = pair.id(source);
        pair.world.command(target, Command::Consent { session, to, ttl_us: PATIENCE }).expect("a consent");
        pair.world.run_for(10 * UNIT);
        pair.world.command(source, write(&[round, 2])).expect("a write");
        let start = pair.world.now();
        let to = pair.id(target);
        pair.world.command(source, Command::Initiate { session, to, timeout_us: PATIENCE }).expect("a handoff");
        pair.world.run_until(PATIENCE, |world| world.primaries(session) == [target]);
        assert_eq!(pair.world.now().since(start) / UNIT, 1, "round {round}");
        assert!(pair.settle(target) && pair.pull(target, source));
    }
}
