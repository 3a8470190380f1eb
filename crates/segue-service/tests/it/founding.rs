//! An account that begins with its first link.

use segue_proto::limits::CONFIRM_TIMEOUT;
use segue_proto::{Code, Event};
use segue_service::Quota;

use crate::util::World;

const WALL: u64 = 1_700_000_000_000;

/// Two devices without account, of which the first has read the second's invitation, and both show the code.
fn shown() -> World {
    let mut world = World::new(2, Quota::default());
    read_anew(&mut world);
    world
}

fn read_anew(world: &mut World) {
    let now = world.now;
    let invite = world.devices[2].core.invite(now, WALL, "phone", &[]).unwrap();
    world.devices[1].core.accept_link(now, &invite, Some("laptop")).unwrap();
    world.link(1, 2);
}

fn confirm(world: &mut World, who: usize, other: usize) {
    let (now, other) = (world.now, world.devices[other].id);
    world.devices[who].core.confirm_link(now, WALL, other, true).unwrap();
    world.settle();
}

fn members(world: &World, who: usize) -> Option<usize> {
    world.devices[who].core.roster().map(|roster| roster.standing().members.len())
}

#[test]
fn whatever_ends_a_linking_before_both_have_confirmed_leaves_no_account() {
    let ends: [fn(&mut World); 3] = [
        |world| world.unlink(1),
        |world| world.wait(CONFIRM_TIMEOUT / 1_000_000 + 1),
        |world| {
            let (now, phone) = (world.now, world.devices[2].id);
            world.devices[1].core.confirm_link(now, WALL, phone, false).unwrap();
            world.settle();
        },
    ];
    for end in ends {
        let mut world = shown();
        confirm(&mut world, 1, 2);
        end(&mut world);
        let ended = |event: &Event| matches!(event, Event::LinkResolved { result: Err(_), .. });
        assert!(world.devices[1].events.iter().any(ended), "the linking ends");
        assert_eq!(members(&world, 1), None);
        world.restart(1);
        assert_eq!(members(&world, 1), None);
        // So it may be the one that is invited, or read an invitation again.
        let now = world.now;
        world.devices[1].core.invite(now, WALL, "laptop", &[]).unwrap();
        world.unlink(2);
        read_anew(&mut world);
        confirm(&mut world, 1, 2);
        confirm(&mut world, 2, 1);
        assert_eq!((members(&world, 1), members(&world, 2)), (Some(2), Some(2)));
    }
}

#[test]
fn a_crash_leaves_no_account_or_one_with_both_devices() {
    let mut world = shown();
    world.devices[1].moments = Some(vec![world.devices[1].journal.clone()]);
    confirm(&mut world, 1, 2);
    confirm(&mut world, 2, 1);
    let created = |event: &Event| matches!(event, Event::AccountCreated { .. });
    assert_eq!(world.devices[1].events.iter().filter(|event| created(event)).count(), 1);
    let moments = world.devices[1].moments.take().unwrap();
    let found = moments.into_iter().map(|journal| {
        world.devices[1].journal = journal;
        world.restart(1);
        members(&world, 1)
    });
    let mut found: Vec<_> = found.collect();
    found.dedup();
    assert_eq!(found, [None, Some(2)]);
}

#[test]
fn an_account_that_begins_voids_the_invitation_that_its_device_had_made() {
    let mut world = World::new(3, Quota::default());
    let now = world.now;
    let made = world.devices[1].core.invite(now, WALL, "laptop", &[]).unwrap();
    read_anew(&mut world);
    confirm(&mut world, 1, 2);
    confirm(&mut world, 2, 1);
    world.devices[3].core.accept_link(now, &made, Some("tablet")).unwrap();
    world.link(3, 1);
    let refused = |event: &Event| matches!(event, Event::LinkClosed { code: Code::LINK_EXPIRED, .. });
    assert!(world.devices[1].events.iter().any(refused), "{:?}", world.devices[1].events);
    assert_eq!((members(&world, 1), members(&world, 3)), (Some(2), None));
}
