//! Devices that a service introduces to one another.

use std::net::SocketAddr;

use segue_proto::limits::MAX_INTRODUCTIONS;
use segue_proto::{Clause, Code, Event, Generation, Rules, UsageError};
use segue_service::Quota;

use crate::util::World;

/// Three devices at the service that take part; each of the first two named the other.
fn world(rules: Rules) -> World {
    let mut world = World::with_rules(3, Quota::default(), rules);
    for at in 1..=3 {
        world.devices[at].core.meet_at(Some(&[address(at)]));
        world.link(at, 0);
    }
    world.discover(1, &[2]).unwrap();
    world.discover(2, &[1]).unwrap();
    world
}

fn address(at: usize) -> SocketAddr {
    ([192, 0, 2, at as u8], 4433).into()
}

impl World {
    fn meets(&mut self, at: usize, to: usize) {
        let (now, service, to) = (self.now, self.devices[0].id, self.devices[to].id);
        self.devices[at].core.introduce(now, service, to).unwrap();
        self.settle();
    }

    /// Who was introduced to a device so far, and where each can be dialled.
    fn introduced(&self, at: usize) -> Vec<(usize, Vec<SocketAddr>)> {
        let number = |id| self.devices.iter().position(|device| device.id == id).unwrap();
        let events = self.devices[at].events.iter();
        let of = |event: &Event| match event {
            Event::Introduced { peer, addresses, .. } => Some((number(*peer), addresses.clone())),
            _ => None,
        };
        events.filter_map(of).collect()
    }

    /// Why nothing came of the introductions that a device asked for.
    fn not_introduced(&self, at: usize) -> Vec<Code> {
        let of = |event: &Event| match event {
            Event::NotIntroduced { code, .. } => Some(*code),
            _ => None,
        };
        self.devices[at].events.iter().filter_map(of).collect()
    }
}

#[test]
fn service_meet_1_two_devices_learn_where_each_can_be_dialled_and_nothing_is_kept() {
    let mut it = world(Rules::ALL);
    let before = it.directory().seen.len();
    it.meets(1, 2);
    assert_eq!(it.introduced(2), [(1, vec![address(1)])]);
    assert_eq!(it.introduced(1), [(2, vec![address(2)])], "the answer");
    assert_eq!((it.not_introduced(1), it.not_introduced(2)), (vec![], vec![]));
    assert_eq!(it.directory().seen.len(), before);
    it.wait(60);
    assert_eq!((it.not_introduced(1), it.broken(1), it.broken(2)), (vec![], vec![], vec![]));
}

#[test]
fn service_meet_2_who_is_away_and_who_named_nobody_look_alike() {
    let mut it = world(Rules::ALL);
    it.meets(1, 3);
    it.discover(3, &[1, 2]).unwrap();
    it.meets(1, 3);
    assert_eq!(it.not_introduced(1), [Code::SERVICE_AWAY; 2], "one that named nobody, and one that wasn't named");
    it.unlink(2);
    it.meets(1, 2);
    it.limit(2, Generation::V2);
    it.link(2, 0);
    it.meets(1, 2);
    assert_eq!(
        it.not_introduced(1),
        [Code::SERVICE_AWAY; 4],
        "one without a link, and one of a generation that has none of this"
    );
    assert_eq!((it.introduced(2), it.introduced(3)), (vec![], vec![]));
    let mut it = world(Rules::without(Clause::SERVICE_MEET_2));
    it.meets(1, 3);
    assert_eq!(it.introduced(3), [(1, vec![address(1)])]);
}

#[test]
fn whom_a_device_may_meet_is_vouched_for_or_a_member() {
    let mut it = World::new(3, Quota::default());
    let (now, service) = (it.now, it.devices[0].id);
    it.devices[1].core.meet_at(Some(&[address(1)]));
    it.link(1, 0);
    let ids: Vec<_> = it.devices.iter().map(|device| device.id).collect();
    let sorted = |of: &[usize]| {
        let mut ids: Vec<_> = of.iter().map(|at| ids[*at]).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(it.devices[1].core.acquaintances(), sorted(&[2, 3]), "those that it vouches for");
    [2, 3].into_iter().for_each(|at| it.devices[1].core.distrust(ids[at]));
    assert_eq!(it.devices[1].core.acquaintances(), []);
    assert_eq!(it.devices[1].core.introduce(now, service, ids[2]), Err(UsageError::NotMember));
    it.session(&[2]);
    assert_eq!(it.devices[1].core.acquaintances(), sorted(&[2]), "members, without itself");
    assert_eq!(it.devices[1].core.introduce(now, service, ids[2]), Ok(()));
    it.devices[1].core.trust(ids[2]);
    assert_eq!(it.devices[1].core.acquaintances(), sorted(&[2]), "once");
    it.devices[1].core.trust(ids[3]);
    assert_eq!(it.devices[1].core.introduce(now, service, ids[3]), Ok(()), "no member, but vouched for");
    assert_eq!(it.devices[1].core.introduce(now, service, ids[1]), Err(UsageError::SelfTarget));
    it.devices[1].core.meet_at(None);
    assert_eq!(it.devices[1].core.introduce(now, service, ids[3]), Err(UsageError::NotLinked), "it takes no part");
}

#[test]
fn service_meet_3_a_device_is_introduced_so_often_a_minute() {
    let mut it = world(Rules::ALL);
    for _ in 0..=MAX_INTRODUCTIONS {
        it.meets(1, 2);
    }
    assert_eq!(it.not_introduced(1), [Code::LIMIT_OFFERS]);
    assert_eq!(it.introduced(2).len(), MAX_INTRODUCTIONS);
    it.wait(30);
    it.wait(31);
    it.meets(1, 2);
    assert_eq!(it.introduced(2).len(), MAX_INTRODUCTIONS + 1);
}

#[test]
fn one_that_takes_no_part_isnt_waited_for_long() {
    let mut it = world(Rules::ALL);
    it.devices[2].core.meet_at(None);
    it.meets(1, 2);
    assert_eq!((it.not_introduced(1), it.introduced(2)), (vec![], vec![]));
    it.wait(3);
    assert_eq!(it.not_introduced(1), [Code::SERVICE_AWAY]);
}

#[test]
fn two_that_introduce_themselves_at_once_meet_all_the_same() {
    let mut it = world(Rules::ALL);
    let (now, service) = (it.now, it.devices[0].id);
    let (one, two) = (it.devices[1].id, it.devices[2].id);
    it.devices[1].core.introduce(now, service, two).unwrap();
    it.devices[2].core.introduce(now, service, one).unwrap();
    it.settle();
    let told = |at: usize| it.introduced(at).into_iter().map(|(of, _)| of).collect::<Vec<_>>();
    assert_eq!((told(1), told(2)), (vec![2, 2], vec![1, 1]), "an introduction and an answer each");
    assert_eq!((it.broken(1), it.broken(2)), (vec![], vec![]));
}
