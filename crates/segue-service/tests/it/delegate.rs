//! Ownership through a service: devices that never meet hand a session over, and one that falls silent is replaced.

use segue_proto::limits::MAILBOX_WINDOW;
use segue_proto::service::custody::refusal;
use segue_proto::wire::{Error, Exts, Hash, Head, Kind, List, Message, Record, SessionId, Signed};
use segue_proto::{Asked, Clause, Code, Event, Generation, Rules, SessionRole};
use segue_service::Quota;

use crate::util::{LOG, World};

const EXCLUSIVE: u16 = 5;
const MINUTE: u64 = 60_000_000;

/// Device 1 delegated a session with an exclusive value to the service; 2 and 3 hold it, and nobody is linked.
fn delegated(lease: u64) -> (World, SessionId) {
    let mut world = World::new(3, Quota::default());
    world.keep_custody(lease, false);
    let session = world.session(&[2, 3]);
    world.write(1, session, 1, EXCLUSIVE, b"view 1");
    world.link(1, 0);
    let host = world.devices[0].id;
    world.devices[1].core.delegate(world.now, session, host, MINUTE).unwrap();
    world.settle();
    assert_eq!(grantor(&world, 1, session), 0, "{:?}", world.devices[1].events);
    world.unlink(1);
    world.visit(2);
    world.visit(3);
    (world, session)
}

fn role(world: &World, at: usize, session: SessionId) -> SessionRole {
    world.devices[at].core.session(&session).unwrap().role
}

fn grantor(world: &World, at: usize, session: SessionId) -> usize {
    let grantor = world.devices[at].core.session(&session).unwrap().grantor;
    world.devices.iter().position(|device| Some(device.id) == grantor).unwrap()
}

fn last_kind(world: &World, at: usize, session: SessionId) -> u8 {
    world.devices[at].core.session(&session).unwrap().chain.last().unwrap().body().kind
}

/// The device's handoffs that ended, and how.
fn resolved(world: &World, at: usize) -> Vec<Result<(), Code>> {
    let resolved = |event: &Event| match event {
        Event::HandoffResolved { result, .. } => Some(result.map(|_| ())),
        _ => None,
    };
    world.devices[at].events.iter().filter_map(resolved).collect()
}

fn ask(world: &mut World, at: usize, session: SessionId, from: usize) {
    let from = world.devices[from].id;
    world.devices[at].core.request_handoff(world.now, session, from, MINUTE).unwrap();
    world.settle();
}

#[test]
fn service_fork_1_an_owner_whose_older_head_comes_late_by_the_mailbox_is_no_service_that_forks() {
    let mut world = World::new(2, Quota::default());
    world.keep_custody(0, false);
    let session = world.session(&[2]);
    world.write(1, session, 2, LOG, b"one");
    world.visit(1);
    world.link(1, 0);
    let host = world.devices[0].id;
    world.devices[1].core.delegate(world.now, session, host, MINUTE).unwrap();
    world.settle();
    world.link(1, 2);
    assert_eq!(grantor(&world, 2, session), 0);
    world.unlink(1);
    world.visit(2);
    assert_eq!(world.broken(2), []);
}

#[test]
fn an_owner_that_delegated_writes_on_and_a_service_knows_the_chain_alone() {
    let (mut world, session) = delegated(0);
    assert_eq!(role(&world, 1, session), SessionRole::Primary);
    world.write(1, session, 1, EXCLUSIVE, b"the canary sings");
    world.write(1, session, 2, LOG, b"the canary sings");
    world.link(1, 0);
    world.visit(2);
    assert!(world.devices[0].core.session(&session).is_none(), "the service takes no part");
    let canary = |bytes: &[u8]| bytes.windows(16).any(|it| it == b"the canary sings");
    assert!(!world.directory().seen.iter().any(|append| canary(&append.envelope)));
    assert_eq!(world.root(1, session), world.root(2, session));
    assert!(world.broken(1).is_empty() && world.broken(2).is_empty(), "{:?} {:?}", world.broken(1), world.broken(2));
}

#[test]
fn service_host_4_what_many_sessions_in_custody_have_said_takes_no_room_of_requests() {
    let mut world = World::new(1, Quota::default());
    world.keep_custody(0, false);
    world.link(1, 0);
    let host = world.devices[0].id;
    for _ in 0..3 * MAILBOX_WINDOW {
        let session = world.session(&[]);
        world.devices[1].core.delegate(world.now, session, host, MINUTE).unwrap();
        world.settle();
    }
    world.unlink(1);
    // Each of them is spoken of as the link begins, beside what the mailbox is asked.
    world.visit(1);
    assert_eq!(world.broken(0), []);
    let refused = |event: &&Event| matches!(event, Event::Refused { .. });
    assert_eq!(world.devices[1].events.iter().find(refused), None);
}

#[test]
fn a_pull_goes_by_the_service_and_brings_the_last_value() {
    let (mut world, session) = delegated(0);
    world.link(2, 0);
    ask(&mut world, 2, session, 1);
    assert_eq!(role(&world, 2, session), SessionRole::Secondary, "the owner isn't there to say yes");
    // It writes, offline, and only then learns of the request.
    world.write(1, session, 1, EXCLUSIVE, b"view 2");
    world.link(1, 0);
    assert_eq!(role(&world, 2, session), SessionRole::Primary, "{:?}", world.devices[2].events);
    assert_eq!(role(&world, 1, session), SessionRole::Secondary);
    assert_eq!((grantor(&world, 1, session), grantor(&world, 2, session)), (0, 0));
    assert_eq!(world.root(1, session), world.root(2, session));
    assert_eq!(resolved(&world, 2), [Ok(())]);
    world.write(2, session, 1, EXCLUSIVE, b"view 3");
    assert_eq!(world.root(1, session), world.root(2, session));
    assert!(world.broken(1).is_empty() && world.broken(2).is_empty(), "{:?} {:?}", world.broken(1), world.broken(2));
}

#[test]
fn a_push_goes_by_the_service_to_a_device_that_comes_later() {
    let (mut world, session) = delegated(0);
    world.link(1, 0);
    let to = world.devices[2].id;
    world.devices[1].core.initiate_handoff(world.now, session, to, MINUTE).unwrap();
    world.settle();
    world.link(2, 0);
    let token = world.devices[2].events.iter().find_map(|event| match event {
        Event::HandoffRequest { token, .. } => Some(*token),
        _ => None,
    });
    let now = world.now;
    world.devices[2].core.accept_handoff(now, token.expect("an offer")).unwrap();
    world.settle();
    assert_eq!(role(&world, 2, session), SessionRole::Primary, "{:?}", world.devices[2].events);
    assert_eq!(resolved(&world, 1), [Ok(())]);
    assert_eq!(resolved(&world, 2), [Ok(())]);
}

#[test]
fn an_offer_that_its_target_refuses_by_an_error_has_failed_for_its_owner() {
    let (mut world, session) = delegated(0);
    (1..=3).for_each(|at| world.link(at, 0));
    let to = world.devices[2].id;
    world.devices[1].core.initiate_handoff(world.now, session, to, MINUTE).unwrap();
    world.settle();
    // Whatever number the service gave it.
    let refuse = |world: &mut World, at: usize| {
        (1..=200).for_each(|req| world.says(at, &refusal(session, req, Code::LIMIT_OFFERS).into()));
        world.settle();
    };
    refuse(&mut world, 3);
    assert!(resolved(&world, 1).is_empty(), "a device that isn't its target");
    refuse(&mut world, 2);
    assert_eq!(resolved(&world, 1), [Err(Code::LIMIT_OFFERS)]);
}

#[test]
fn who_is_refused_a_session_knows_when_to_ask_again() {
    let (mut world, session) = delegated(0);
    world.link(2, 0);
    ask(&mut world, 2, session, 1);
    // Whatever number the request has, and though the answer names no session.
    for req in 1..=200 {
        let no = Error { session: None.into(), retry_after_ms: 5_000, ..refusal(session, req, Code::LIMIT_ROOM) };
        world.hears(2, &no.into());
    }
    world.settle();
    assert_eq!(resolved(&world, 2), [Err(Code::LIMIT_ROOM)]);
    assert_eq!(world.devices[2].core.retry_after(world.now, Asked::Session(session)), 5_000_000);
}

#[test]
fn ho_head_2_a_service_leads_on_from_a_head_that_it_knows_and_from_no_other() {
    let (mut world, session) = delegated(0);
    world.link(2, 0);
    let chain = world.devices[2].core.session(&session).unwrap().chain.to_vec();
    let heads = |world: &mut World, record: Signed<Record>| {
        world.told.clear();
        let (records, ext) = (List::new(vec![record]).unwrap(), Exts::empty());
        world.says(2, &Head { session, records, more: false, ack: None.into(), ext }.into());
        world.settle();
        let head = |(_, message): &(_, Message)| match message {
            Message::Head(head) => Some(head.records.iter().map(Signed::id).collect::<Vec<_>>()),
            _ => None,
        };
        world.told.iter().filter_map(head).collect::<Vec<_>>()
    };
    let behind: Vec<_> = chain[1..].iter().map(|record| record.id()).collect();
    assert_eq!(heads(&mut world, chain[0].signed().clone()), [behind]);
    let apart = Record { parent: Hash::new([9; 32]), ..chain[1].body().clone() };
    let apart = Signed::sign(&apart, world.key(1));
    assert!(heads(&mut world, apart).is_empty());
}

/// Whether device 2 is shown the offer of a session that didn't exist when it linked the service.
fn offered_to_a_device_that_linked_before(rules: Rules) -> bool {
    let mut world = World::with_rules(2, Quota::default(), rules);
    world.keep_custody(0, false);
    world.link(2, 0);
    let session = world.session(&[2]);
    world.link(1, 0);
    let (now, host, to) = (world.now, world.devices[0].id, world.devices[2].id);
    world.devices[1].core.delegate(now, session, host, MINUTE).unwrap();
    world.settle();
    assert_eq!(grantor(&world, 2, session), 0, "it heard of the session by the mailbox");
    world.devices[1].core.initiate_handoff(now, session, to, MINUTE).unwrap();
    world.settle();
    world.devices[2].events.iter().any(|event| matches!(event, Event::HandoffRequest { .. }))
}

#[test]
fn service_show_1_a_device_that_linked_before_it_heard_of_a_session_is_shown_its_offer() {
    assert!(offered_to_a_device_that_linked_before(Rules::ALL));
    assert!(!offered_to_a_device_that_linked_before(Rules::without(Clause::SERVICE_SHOW_1)));
}

#[test]
fn service_freeze_1_a_frozen_owner_writes_nothing_until_it_is_let_go_on() {
    let (mut world, session) = delegated(0);
    world.link(2, 0);
    ask(&mut world, 2, session, 1);
    world.unlink(2);
    world.write(1, session, 1, EXCLUSIVE, b"view 2");
    world.link(1, 0);
    assert_eq!(role(&world, 1, session), SessionRole::Releasing);
    let refused =
        world.devices[1].core.write(world.now, 1, session, segue_proto::wire::PartId::new([1; 16]), 5, vec![1]);
    assert!(refused.is_err());
    world.restart(1);
    assert_eq!(role(&world, 1, session), SessionRole::Releasing, "after a restart too");
    // Nobody waits for what was asked for before: the owner asks to go on, and the service signs that.
    world.link(1, 0);
    assert_eq!(role(&world, 1, session), SessionRole::Primary, "{:?}", world.devices[1].events);
    assert_eq!(last_kind(&world, 1, session), Kind::Delegate.number());
    world.write(1, session, 1, EXCLUSIVE, b"view 3");
    world.link(2, 0);
    assert_eq!(role(&world, 2, session), SessionRole::Secondary);
    assert_eq!(world.root(1, session), world.root(2, session));
}

#[test]
fn an_owner_gets_back_the_right_to_sign() {
    let (mut world, session) = delegated(0);
    world.link(1, 0);
    world.devices[1].core.reclaim(world.now, session, MINUTE).unwrap();
    world.settle();
    assert_eq!(grantor(&world, 1, session), 1);
    assert_eq!(role(&world, 1, session), SessionRole::Primary);
    // The service only keeps the chain from now on.
    world.link(2, 0);
    ask(&mut world, 2, session, 0);
    assert_ne!(role(&world, 2, session), SessionRole::Primary);
    world.link(1, 2);
    ask(&mut world, 2, session, 1);
    assert_eq!(role(&world, 2, session), SessionRole::Primary, "{:?}", world.devices[2].events);
}

#[test]
fn service_lease_2_a_silent_owner_is_replaced_and_loses_nothing() {
    let (mut world, session) = delegated(10);
    world.link(1, 0);
    world.write(1, session, 1, EXCLUSIVE, b"view 2");
    world.unlink(1);
    world.link(2, 0);
    ask(&mut world, 2, session, 1);
    world.wait(9);
    assert_eq!(role(&world, 2, session), SessionRole::Secondary, "the lease goes on");
    world.wait(1);
    assert_eq!(role(&world, 2, session), SessionRole::Primary, "{:?}", world.devices[2].events);
    let view = world.devices[2].core.session(&session).unwrap();
    assert_eq!((view.term, view.grantor), (1, Some(world.devices[0].id)));
    // The old one believes that it owns, and writes.
    world.write(1, session, 1, EXCLUSIVE, b"view of the old one");
    world.write(1, session, 2, LOG, b"a line of the old one");
    world.link(1, 0);
    assert_eq!(role(&world, 1, session), SessionRole::Secondary);
    let view = world.devices[1].core.session(&session).unwrap();
    assert_eq!(view.copies, 1, "what it wrote last is kept as a labelled copy");
    world.write(2, session, 1, EXCLUSIVE, b"view 3");
    assert_eq!(world.root(1, session), world.root(2, session), "and its line is there");
}

#[test]
fn service_renew_1_an_owner_that_is_there_keeps_its_lease() {
    let (mut world, session) = delegated(9);
    world.link(1, 0);
    world.link(3, 0);
    // The one that wants it is denied nothing: the owner's user just doesn't answer.
    let other = world.devices[3].id;
    world.devices[1].core.distrust(other);
    for _ in 0..10 {
        world.wait(4);
        assert_eq!(role(&world, 1, session), SessionRole::Primary);
    }
    assert_eq!(world.devices[1].core.session(&session).unwrap().term, 0);
}

#[test]
fn service_grantor_6_a_grant_is_told_again_after_a_restart_of_the_service() {
    let (mut world, session) = delegated(0);
    world.link(2, 0);
    ask(&mut world, 2, session, 1);
    world.write(1, session, 1, EXCLUSIVE, b"view 2");
    world.link(1, 0);
    assert_eq!(role(&world, 2, session), SessionRole::Primary);
    // As if it had never heard: it starts from what it had before.
    world.restart_host(0, None);
    world.link(2, 0);
    world.link(1, 0);
    assert_eq!(role(&world, 2, session), SessionRole::Primary);
    ask(&mut world, 1, session, 2);
    assert_eq!(role(&world, 1, session), SessionRole::Primary, "{:?}", world.devices[1].events);
}

#[test]
fn service_tenure_1_a_service_whose_store_was_put_back_signs_nothing() {
    let (mut world, session) = delegated(0);
    let before = world.service.directory().memory.clone();
    world.link(2, 0);
    world.link(1, 0);
    ask(&mut world, 2, session, 1);
    assert_eq!(role(&world, 2, session), SessionRole::Primary);
    world.restart_host(0, Some(before));
    world.link(2, 0);
    // The devices see that it fell behind what it showed them.
    assert!(world.broken(2).contains(&Clause::SERVICE_FORK_1), "{:?}", world.broken(2));
    world.link(3, 0);
    ask(&mut world, 3, session, 2);
    assert_eq!(role(&world, 3, session), SessionRole::Secondary);
    assert_eq!(role(&world, 2, session), SessionRole::Primary);
    // A takeover by name is the way on, and then a new delegate.
    world.devices[2].core.takeover(world.now, session).unwrap();
    world.settle();
    let host = world.devices[0].id;
    world.devices[2].core.delegate(world.now, session, host, MINUTE).unwrap();
    world.settle();
    assert_eq!(grantor(&world, 2, session), 0);
    ask(&mut world, 3, session, 2);
    assert_eq!(role(&world, 3, session), SessionRole::Primary, "{:?}", world.devices[3].events);
}

#[test]
fn service_grantor_5_a_device_below_generation_7_is_given_the_right_to_sign() {
    let mut world = World::new(2, Quota::default());
    world.keep_custody(0, false);
    world.limit(2, Generation::V2);
    let session = world.session(&[2]);
    world.write(1, session, 1, EXCLUSIVE, b"view 1");
    world.link(1, 0);
    let host = world.devices[0].id;
    world.devices[1].core.delegate(world.now, session, host, MINUTE).unwrap();
    world.settle();
    world.link(2, 0);
    ask(&mut world, 2, session, 1);
    assert_eq!(role(&world, 2, session), SessionRole::Primary, "{:?}", world.devices[2].events);
    assert_eq!(grantor(&world, 2, session), 2);
}
