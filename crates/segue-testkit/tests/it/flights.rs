//! The budgets of a handoff, counted.

use segue_testkit::{Flights, Way};

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
