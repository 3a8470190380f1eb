//! Which devices are there, and who is told.

use segue_proto::wire::Presence;
use segue_proto::{Clause, Generation, Rules};
use segue_service::Quota;

use crate::util::World;

const V7: u8 = Generation::V7.number();

fn world(rules: Rules) -> World {
    let mut world = World::with_rules(3, Quota::default(), rules);
    (1..=3).for_each(|at| world.link(at, 0));
    world
}

impl World {
    /// What a device is told of others: who, the generation and the milliseconds.
    fn told(&mut self, at: usize, others: &[usize]) -> Vec<(usize, u8, u64)> {
        let number = |world: &World, it: &Presence| world.devices.iter().position(|of| of.id == it.device).unwrap();
        let found = self.discover(at, others).unwrap();
        let mut told: Vec<_> = found.iter().map(|it| (number(self, it), it.generation, it.ago_ms)).collect();
        told.sort_unstable();
        told
    }
}

#[test]
fn service_seen_1_devices_are_told_of_one_another_once_each_has_named_the_other() {
    let mut it = world(Rules::ALL);
    assert_eq!(it.told(1, &[2, 3]), [], "neither has named device 1");
    assert_eq!(it.told(2, &[1, 3]), [(1, V7, 0)]);
    assert_eq!(it.told(1, &[2, 2, 3]), [(2, V7, 0)], "once, and not of the one that never asked");
    assert_eq!(it.told(3, &[]), []);
    assert_eq!(it.told(1, &[2, 3]), [(2, V7, 0)], "nor of one that named others alone");
    assert_eq!(world(Rules::without(Clause::SERVICE_SEEN_1)).told(1, &[2]), [(2, V7, 0)]);
}

#[test]
fn service_seen_2_one_without_a_link_is_told_of_with_the_time_since() {
    let mut it = world(Rules::ALL);
    it.told(2, &[1]);
    it.told(1, &[2]);
    it.unlink(2);
    it.wait(9);
    assert_eq!(it.told(1, &[2]), [(2, 0, 9_000)]);
    // It needn't ask anew on each link, nor speak generation 7 on all of them.
    it.limit(2, Generation::V2);
    it.link(2, 0);
    assert_eq!(it.told(1, &[2]), [(2, Generation::V2.number(), 0)]);
    it.unlink(2);
    it.wait(1);
    assert_eq!(it.told(1, &[2]), [(2, 0, 1_000)], "since the last link ended");
}

#[test]
fn service_seen_2_a_service_that_starts_again_knows_when_devices_were_there() {
    let mut it = world(Rules::ALL);
    it.told(2, &[1]);
    it.wait(5);
    it.restart_host(60, None);
    it.wait(7);
    it.link(1, 0);
    assert_eq!(it.told(1, &[2]), [(2, 0, 7_000)], "its links ended as the service did");
}

#[test]
fn service_seen_3_what_a_device_names_takes_the_place_of_what_it_named() {
    let told = |rules| {
        let mut it = world(rules);
        it.told(2, &[1]);
        it.told(2, &[3]);
        let linked = it.told(1, &[2]);
        it.unlink(2);
        (linked, it.told(1, &[2]))
    };
    assert_eq!(told(Rules::ALL), (vec![], vec![]));
    assert_ne!(told(Rules::without(Clause::SERVICE_SEEN_3)), (vec![], vec![]));
}
