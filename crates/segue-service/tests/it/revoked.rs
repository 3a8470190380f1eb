//! A device that is put out of the account.

use segue_proto::wire::{
    ActorId, Cut, CutTip, DeviceId, EntryKind, Exts, Hash, Hlc, List, PartId, RosterEntry, RosterMsg, SessionId,
    Signed, Text,
};
use segue_proto::{Clause, Rules, SessionRole};
use segue_service::Quota;

use crate::util::{LOG, World};

const WALL: u64 = 1_700_000_000_000;

/// Three devices of one account that have exchanged a session by the mailbox.
fn family(rules: Rules) -> (World, SessionId) {
    let mut world = World::with_rules(4, Quota::default(), rules);
    world.devices[1].core.create_account(WALL, "one", None).unwrap();
    world.settle();
    for at in [2, 3] {
        let (now, first, new) = (world.now, world.devices[1].id, world.devices[at].id);
        let invite = world.devices[at].core.invite(now, WALL, "another", &[]).unwrap();
        world.devices[1].core.accept_link(now, &invite, None).unwrap();
        world.link(1, at);
        world.devices[1].core.confirm_link(now, WALL, new, true).unwrap();
        world.devices[at].core.confirm_link(now, WALL, first, true).unwrap();
        world.settle();
        world.unlink(at);
    }
    let session = world.session(&[]);
    world.write(1, session, 2, LOG, b"for all");
    for at in 1..=3 {
        world.visit(at);
        assert_eq!(world.root(at, session), world.root(1, session), "device {at}");
    }
    (world, session)
}

/// The first puts the third out and writes on.
fn revoke(world: &mut World, session: SessionId) {
    let third = world.devices[3].id;
    world.devices[1].core.revoke(WALL, third).unwrap();
    world.settle();
    world.write(1, session, 2, LOG, b"not for the third");
}

/// What the third learns by the mailbox of what is written after it was put out.
fn learns(rules: Rules) -> bool {
    let (mut world, session) = family(rules);
    revoke(&mut world, session);
    world.visit(1);
    world.visit(2);
    assert_eq!(world.root(2, session), world.root(1, session), "the second reads on");
    world.link(3, 0);
    world.root(3, session) == world.root(1, session)
}

#[test]
fn service_key_1_service_key_3_what_is_put_after_a_revocation_is_not_for_the_revoked() {
    assert!(!learns(Rules::ALL));
    assert!(learns(Rules::without(Clause::SERVICE_KEY_1)), "it is invited");
    assert!(learns(Rules::without(Clause::SERVICE_KEY_3)), "it has the key");
}

/// Whether the second, which meets nobody but the mailbox, knows that the third was put out.
fn hears(rules: Rules) -> bool {
    let (mut world, session) = family(rules);
    revoke(&mut world, session);
    world.visit(1);
    // The third goes on putting under the key that it has.
    world.write(3, session, 2, LOG, b"by the third");
    world.link(3, 0);
    world.unlink(3);
    world.visit(2);
    let third = world.devices[3].id;
    let heard = world.devices[2].core.roster().is_some_and(|roster| roster.is_revoked(&third));
    assert!(!heard || world.root(2, session) == world.root(1, session), "the third's word counts for nothing");
    heard
}

#[test]
fn service_roster_1_a_revocation_reaches_devices_that_meet_nobody() {
    assert!(hears(Rules::ALL));
    assert!(!hears(Rules::without(Clause::SERVICE_ROSTER_1)));
}

#[test]
fn devices_linked_apart_learn_of_each_other_by_the_mailbox() {
    let (mut world, _) = family(Rules::ALL);
    // The second links a fourth, while the first is away.
    let before = world.devices[1].core.roster().unwrap().standing().members.len();
    let (now, second) = (world.now, world.devices[2].id);
    let fourth = world.devices[4].id;
    let invite = world.devices[4].core.invite(now, WALL, "fourth", &[]).unwrap();
    world.devices[2].core.accept_link(now, &invite, None).unwrap();
    world.link(2, 4);
    world.devices[2].core.confirm_link(now, WALL, fourth, true).unwrap();
    world.devices[4].core.confirm_link(now, WALL, second, true).unwrap();
    world.settle();
    world.unlink(4);
    world.visit(2);
    world.visit(1);
    let roster = world.devices[1].core.roster().unwrap();
    assert!(roster.is_member(&fourth) && roster.standing().members.len() == before + 1);
    // What is told is told once.
    let put = world.service.counts().put;
    world.visit(2);
    world.visit(1);
    world.visit(2);
    assert!(world.service.counts().put <= put + 2, "{} more", world.service.counts().put - put);
}

#[test]
fn entries_with_as_many_heads_fit_their_letters() {
    let (mut world, _) = family(Rules::ALL);
    let roster = world.devices[1].core.roster().unwrap();
    let (account, parents) = (roster.account(), List::new(roster.heads()).unwrap());
    // The third put out keys of nobody, each without knowing of the others, so that each entry is a head.
    let signer = world.devices[3].id;
    let tip = |part: u8| {
        let (part, actor, hash) = (PartId::new([part; 16]), ActorId::new([8; 32]), Hash::new([9; 32]));
        CutTip { part, actor, seq: 1, hash }
    };
    let cut = Cut { tips: List::new((0..6).map(tip).collect()).unwrap(), heads: List::empty() };
    let entry = |number: u8| RosterEntry {
        kind: EntryKind::Revoke.number(),
        account,
        parents: parents.clone(),
        signer,
        device: DeviceId::new([number; 32]),
        name: Text::default(),
        made: Hlc::new([0; 8]),
        genesis: None.into(),
        cut: Some(cut.clone()).into(),
    };
    let entries: Vec<_> = (50..250).map(|number| Signed::sign(&entry(number), world.key(3))).collect();
    world.link(1, 3);
    for page in entries.chunks(64) {
        let (heads, entries) = (List::empty(), List::new(page.to_vec()).unwrap());
        let page = RosterMsg { account, heads, entries, more: true, ext: Exts::empty() };
        world.hears_from(1, 3, &page.into());
        world.settle();
    }
    world.unlink(3);
    // The second meets nobody but the mailbox.
    world.visit(1);
    world.visit(2);
    let heads = |at: usize| world.devices[at].core.roster().unwrap().heads();
    assert_eq!(heads(1).len(), entries.len());
    assert!(heads(2) == heads(1), "{} heads", heads(2).len());
}

const EXCLUSIVE: u16 = 5;
const MINUTE: u64 = 60_000_000;

/// The family, whose first device delegated its session to the service, with leases of so many seconds. The third, which
/// was put out and knows it as little as the service, stands before it and wants the session.
fn wanted_by_the_third(lease: u64, rules: Rules) -> (World, SessionId) {
    let (mut world, session) = family(rules);
    world.keep_custody(lease, false);
    world.write(1, session, 1, EXCLUSIVE, b"view 1");
    world.link(1, 0);
    let host = world.devices[0].id;
    world.devices[1].core.delegate(world.now, session, host, MINUTE).unwrap();
    world.settle();
    world.visit(2);
    world.visit(3);
    // It owned once, so that the service, which knows the chain alone, takes it for a member.
    world.link(3, 0);
    let (first, third) = (world.devices[1].id, world.devices[3].id);
    world.devices[3].core.request_handoff(world.now, session, first, MINUTE).unwrap();
    world.settle();
    world.devices[1].core.request_handoff(world.now, session, third, MINUTE).unwrap();
    world.settle();
    assert_eq!(role(&world, 1, session), SessionRole::Primary, "{:?}", world.devices[1].events);
    world.unlink(3);
    world.unlink(1);
    revoke(&mut world, session);
    world.link(3, 0);
    world.devices[3].core.request_handoff(world.now, session, first, MINUTE).unwrap();
    world.settle();
    (world, session)
}

fn role(world: &World, at: usize, session: SessionId) -> SessionRole {
    world.devices[at].core.session(&session).unwrap().role
}

#[test]
fn account_revoke_3_a_revoked_device_gets_nothing_by_way_of_a_service() {
    let owned = |rules: Rules| {
        let (mut world, session) = wanted_by_the_third(0, rules);
        world.link(1, 0);
        // If it got the session after all, that was taken from it again (ACCOUNT-REVOKE-4).
        assert_eq!(role(&world, 1, session), SessionRole::Primary, "{:?}", world.devices[1].events);
        let view = world.devices[1].core.session(&session).unwrap();
        view.chain.iter().filter(|record| record.body().owner == world.devices[3].id).count()
    };
    assert_eq!(owned(Rules::ALL), 1, "before it was put out");
    assert_eq!(owned(Rules::without(Clause::ACCOUNT_REVOKE_3)), 2);
}

#[test]
fn account_revoke_5_what_a_service_takes_over_for_a_revoked_device_counts_for_nobody() {
    let counts = |rules: Rules| {
        let (mut world, session) = wanted_by_the_third(10, rules);
        world.wait(11);
        assert_eq!(role(&world, 3, session), SessionRole::Primary, "the service knows no roster");
        world.link(1, 0);
        let counts = role(&world, 1, session) != SessionRole::Primary;
        if !counts {
            // By another way the session goes on without the service.
            world.devices[1].core.takeover(world.now, session).unwrap();
            world.settle();
            world.visit(2);
            assert_eq!(world.root(1, session), world.root(2, session));
        }
        counts
    };
    assert!(!counts(Rules::ALL));
    assert!(counts(Rules::without(Clause::ACCOUNT_REVOKE_5)));
}
