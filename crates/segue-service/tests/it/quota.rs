//! Mailboxes that are full.

use segue_proto::limits::{MAX_ENVELOPE, MAX_OPEN, OPEN_COST};
use segue_proto::wire::{Blob, BoxId, Exts, Hash, Put, Renew, SessionId};
use segue_proto::{Clause, Code, Event};
use segue_service::Quota;

use crate::util::{LOG, World};

fn refused(world: &World, at: usize) -> bool {
    world.devices[at].events.iter().any(|event| matches!(event, Event::Refused { code: Code::LIMIT_QUOTA, .. }))
}

#[test]
fn service_host_3_a_full_box_refuses_and_loses_nothing() {
    let mut world = World::new(2, Quota { box_bytes: 8_000, ..Quota::default() });
    let session = world.session(&[2]);
    world.link(1, 0);
    for at in 0..40u8 {
        world.write(1, session, 2, LOG, &[at; 400]);
    }
    assert!(refused(&world, 1));
    let (put, root) = (world.service.counts().put, world.root(1, session));
    world.unlink(1);
    world.link(2, 0);
    assert!(world.root(2, session).is_some(), "what was put before is there");
    assert_ne!(world.root(2, session), root);
    world.unlink(2);
    // The device keeps what it couldn't put, and a link brings it.
    world.link(1, 2);
    assert_eq!(world.root(2, session), root);
    assert!(world.service.counts().put >= put);
}

#[test]
fn what_is_refused_for_now_is_put_later() {
    let mut world = World::new(2, Quota { rate: 100, burst: 4_000, ..Quota::default() });
    let session = world.session(&[2]);
    world.link(1, 0);
    for at in 0..40u8 {
        world.write(1, session, 2, LOG, &[at; 200]);
    }
    assert!(refused(&world, 1));
    for _ in 0..60 {
        world.wait(10);
    }
    world.unlink(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session));
}

#[test]
fn a_device_that_uses_its_share_up_takes_nothing_from_others() {
    let mut world = World::new(3, Quota { device_envelopes: 4, ..Quota::default() });
    let session = world.session(&[2, 3]);
    world.link(1, 0);
    for at in 0..10u8 {
        world.write(1, session, 2, LOG, &[at]);
    }
    assert!(refused(&world, 1));
    world.unlink(1);
    world.visit(2);
    world.write(2, session, 2, LOG, b"mine");
    world.link(2, 0);
    assert!(!refused(&world, 2));
}

#[test]
fn service_host_4_thousands_of_short_messages_are_heard_at_once_and_fewer_long_ones() {
    let mut world = World::new(72, Quota::default());
    world.keep_custody(0, false);
    (1..=72).for_each(|at| world.link(at, 0));
    let turned_away = |world: &World| world.broken(0).contains(&Clause::SERVICE_HOST_4);
    let renew = |req| Renew { req, session: SessionId::new([9; 16]), head: Hash::ZERO, ttl: 0, ext: Exts::empty() };
    for at in 1..=72 {
        (1..=100).for_each(|req| world.says(at, &renew(req).into()));
    }
    world.settle();
    assert!(!turned_away(&world), "7,200 messages of two dozen bytes each");
    let put = |at: usize, req| {
        let envelope = Blob::new(vec![at as u8; MAX_ENVELOPE]).unwrap();
        Put { req, to: BoxId::new([req as u8; 32]), envelope, ext: Exts::empty() }
    };
    for at in 1..=72 {
        (1..=16).for_each(|req| world.says(at, &put(at, req).into()));
    }
    world.settle();
    assert!(turned_away(&world), "72 times 16 envelopes are more than MAX_OPEN");
}

#[test]
fn service_host_4_however_short_messages_are_so_many_are_heard_at_once_and_no_more() {
    let devices = MAX_OPEN / OPEN_COST / 500;
    let mut world = World::new(devices, Quota::default());
    world.keep_custody(0, false);
    (1..=devices).for_each(|at| world.link(at, 0));
    let turned_away = |world: &World| world.broken(0).contains(&Clause::SERVICE_HOST_4);
    let renew = |req| Renew { req, session: SessionId::new([9; 16]), head: Hash::ZERO, ttl: 0, ext: Exts::empty() };
    let say = |world: &mut World, reqs: std::ops::RangeInclusive<u32>| {
        for at in 1..=devices {
            reqs.clone().for_each(|req| world.says(at, &renew(req).into()));
        }
    };
    // What was answered counts no longer.
    for _ in 0..2 {
        say(&mut world, 1..=500);
        world.settle();
        assert!(!turned_away(&world), "{devices} times 500 messages are MAX_OPEN");
    }
    say(&mut world, 1..=510);
    world.settle();
    assert!(turned_away(&world), "ten more of each device are too many");
}
