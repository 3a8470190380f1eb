//! Devices that a service has woken.

use segue_proto::limits::{MAILBOX_WINDOW, MAX_WAKES, WAKE_WINDOW};
use segue_proto::{Clause, Code, Event, Generation, Rules, UsageError};
use segue_service::{Allowance, Policy, Quota};

use crate::util::World;

/// Three devices at a service that has devices woken; the first two named one another, and the second one left.
fn world(rules: Rules) -> World {
    let mut world = World::with_rules(3, Quota::default(), rules);
    world.service.wake_devices();
    (1..=3).for_each(|at| world.link(at, 0));
    world.discover(1, &[2]).unwrap();
    world.discover(2, &[1]).unwrap();
    world.unlink(2);
    world
}

impl World {
    /// A device wants another one woken; the code with which that is refused, if it is.
    fn wakes(&mut self, at: usize, other: usize) -> Option<Code> {
        let before = self.devices[at].events.len();
        let (now, service, device) = (self.now, self.devices[0].id, self.devices[other].id);
        self.devices[at].core.wake(now, service, device).unwrap();
        self.settle();
        let answer = |event: &Event| match event {
            Event::Woken { service: by, device: of, code } if (*by, *of) == (service, device) => Some(*code),
            _ => None,
        };
        self.devices[at].events[before..].iter().find_map(answer).expect("an answer")
    }

    /// Which devices were to be woken, and for whom.
    fn woken(&self) -> Vec<(usize, usize)> {
        let number = |id| self.devices.iter().position(|device| device.id == id).unwrap();
        self.woken.iter().map(|it| (number(it.device), number(it.by))).collect()
    }
}

#[test]
fn service_wake_1_a_device_that_is_away_is_woken_for_one_that_it_named() {
    let mut it = world(Rules::ALL);
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![(2, 1)]));
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![(2, 1), (2, 1)]), "once for each");
    let mut it = world(Rules::without(Clause::SERVICE_WAKE_1));
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![]));
}

#[test]
fn service_wake_1_whom_a_device_named_outlasts_a_restart_of_the_service() {
    let mut it = world(Rules::ALL);
    it.restart_host(60, None);
    it.service.wake_devices();
    it.link(1, 0);
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![(2, 1)]));
}

#[test]
fn service_wake_2_nobody_is_woken_but_of_two_that_named_one_another() {
    let mut it = world(Rules::ALL);
    it.discover(1, &[2, 3]).unwrap();
    assert_eq!(it.wakes(1, 3), Some(Code::SERVICE_AWAY), "it is there, and never named anybody");
    it.discover(3, &[2]).unwrap();
    assert_eq!(it.wakes(3, 2), Some(Code::SERVICE_AWAY), "it named another one");
    it.unlink(3);
    assert_eq!(it.wakes(1, 3), Some(Code::SERVICE_AWAY), "it named another one, and is away");
    it.discover(1, &[]).unwrap();
    assert_eq!(it.wakes(1, 2), Some(Code::SERVICE_AWAY), "the sender names it no more");
    it.discover(1, &[2]).unwrap();
    it.link(2, 0);
    it.discover(2, &[3]).unwrap();
    it.unlink(2);
    assert_eq!(it.wakes(1, 2), Some(Code::SERVICE_AWAY), "it names the sender no more");
    assert_eq!(it.woken(), []);
    let mut it = world(Rules::without(Clause::SERVICE_WAKE_2));
    it.unlink(3);
    assert_eq!((it.wakes(1, 3), it.woken()), (None, vec![(3, 1)]));
}

#[test]
fn service_wake_3_a_device_that_is_there_isnt_woken_whatever_its_link_speaks() {
    let mut it = world(Rules::ALL);
    it.link(2, 0);
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![]));
    it.unlink(2);
    it.limit(2, Generation::V2);
    it.link(2, 0);
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![]));
    let mut it = world(Rules::without(Clause::SERVICE_WAKE_3));
    it.link(2, 0);
    assert_eq!((it.wakes(1, 2), it.woken()), (None, vec![(2, 1)]));
}

#[test]
fn service_wake_4_a_device_is_woken_and_has_others_woken_so_often_in_ten_minutes() {
    let mut it = world(Rules::ALL);
    it.link(2, 0);
    it.discover(2, &[1, 3]).unwrap();
    it.unlink(2);
    it.discover(3, &[1, 2]).unwrap();
    it.discover(1, &[2, 3]).unwrap();
    let half = MAX_WAKES / 2;
    for _ in 0..half {
        assert_eq!((it.wakes(1, 2), it.wakes(3, 2)), (None, None));
    }
    assert_eq!((it.wakes(1, 2), it.wakes(3, 2)), (Some(Code::LIMIT_OFFERS), Some(Code::LIMIT_OFFERS)), "for all");
    it.unlink(3);
    for _ in half..MAX_WAKES {
        assert_eq!(it.wakes(1, 3), None, "another one may be");
    }
    it.link(2, 0);
    assert_eq!(it.wakes(1, 2), None, "for one that is there nothing is done");
    it.unlink(2);
    it.discover(1, &[2]).unwrap();
    assert_eq!((it.wakes(1, 3), it.wakes(1, 2)), (Some(Code::SERVICE_AWAY), Some(Code::LIMIT_OFFERS)));
    assert_eq!(it.woken().len(), MAX_WAKES + MAX_WAKES - half);
    // It is told how long to wait, and no more than that.
    let asked = segue_proto::Asked::Wake(it.devices[0].id);
    assert_eq!(it.devices[1].core.retry_after(it.now, asked), WAKE_WINDOW);
    it.unlink(1);
    it.wait(WAKE_WINDOW / 1_000_000);
    it.link(1, 0);
    assert_eq!(it.wakes(1, 2), None);
    let mut it = world(Rules::without(Clause::SERVICE_WAKE_4));
    assert!((0..=MAX_WAKES).all(|_| it.wakes(1, 2).is_none()));
}

#[test]
fn service_wake_5_a_service_without_a_way_says_so_whoever_asks_for_whom() {
    let none = |rules| {
        let mut it = World::with_rules(3, Quota::default(), rules);
        (1..=2).for_each(|at| it.link(at, 0));
        it.discover(1, &[2]).unwrap();
        it.discover(2, &[1]).unwrap();
        let there = it.wakes(1, 2);
        it.unlink(2);
        (there, it.wakes(1, 2), it.wakes(1, 3))
    };
    let code = Some(Code::SERVICE_NONE);
    assert_eq!(none(Rules::ALL), (code, code, code));
    assert_eq!(none(Rules::without(Clause::SERVICE_WAKE_5)), (None, None, Some(Code::SERVICE_AWAY)));
}

#[test]
fn nobody_is_woken_for_one_that_is_under_no_account_or_may_not_hand_over() {
    let mut it = world(Rules::ALL);
    it.service.set_policy(Policy::default()).unwrap();
    assert_eq!(it.wakes(1, 2), Some(Code::SVC_LOGIN));
    let usual = Allowance { handoff: false, ..Allowance::default() };
    let devices = [(it.devices[1].id, "alice".to_owned())].into();
    it.service.set_policy(Policy { usual, devices, ..Policy::default() }).unwrap();
    assert_eq!(it.wakes(1, 2), Some(Code::SVC_FEATURE));
    assert_eq!(it.woken(), []);
}

#[test]
fn whom_a_device_may_have_woken_is_another_one_that_it_knows() {
    let mut it = world(Rules::ALL);
    let (now, service) = (it.now, it.devices[0].id);
    let ids: Vec<_> = it.devices.iter().map(|device| device.id).collect();
    let core = &mut it.devices[1].core;
    assert_eq!(core.wake(now, service, ids[1]), Err(UsageError::SelfTarget));
    assert_eq!(core.wake(now, ids[3], ids[2]), Err(UsageError::NotLinked));
    core.distrust(ids[2]);
    assert_eq!(core.wake(now, service, ids[2]), Err(UsageError::NotMember));
    core.trust(ids[2]);
    assert!((0..MAILBOX_WINDOW).all(|_| core.wake(now, service, ids[2]).is_ok()));
    assert_eq!(core.wake(now, service, ids[2]), Err(UsageError::TooLarge));
    // What is under way when the link ends was asked in vain, as far as is known.
    it.unlink(1);
    let lost = Event::Woken { service, device: ids[2], code: Some(Code::LINK_LOST) };
    assert_eq!(it.devices[1].events.iter().filter(|event| **event == lost).count(), MAILBOX_WINDOW);
}
