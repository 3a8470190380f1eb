//! What both sides are told of content that goes by a service: how far it is, in virtual time.

use segue_proto::Event;
use segue_proto::limits::PIECE;
use segue_testkit::device::Command;

use crate::pick_by_service::{LETTER, PHOTO, SECOND, SERVICE, Scene};

const FILM: usize = 2_000_000;
const ALL: u64 = (FILM + LETTER.len() + PHOTO.len()) as u64;
const LONG: u64 = 60 * SECOND;

/// A session with a film of many pieces; nobody is linked.
fn scene() -> Scene {
    let mut scene = Scene::new(3, |_, _| {});
    scene.write(1, "film", &vec![7; FILM]);
    scene
}

/// What a device was told of content that goes into the mailbox, from an event on: bytes there, and in all.
fn mailed(scene: &Scene, from: usize) -> Vec<(u64, u64)> {
    let (mailbox, session) = (scene.world.id(SERVICE), scene.session);
    let told = scene.world.events(1)[from..].iter().filter_map(|(_, event)| match event {
        Event::Mailed { session: of, mailbox: to, done, total } => {
            assert_eq!((of, to), (&session, &mailbox));
            Some((*done, *total))
        }
        _ => None,
    });
    told.collect()
}

/// What a device was told of content that comes.
fn came(scene: &Scene, node: usize) -> Vec<(u64, u64)> {
    let told = scene.world.events(node).iter().filter_map(|(_, event)| match event {
        Event::Progress { done, total, .. } => Some((*done, *total)),
        _ => None,
    });
    told.collect()
}

fn rises(told: &[(u64, u64)]) -> bool {
    told.windows(2).all(|pair| pair[0].0 < pair[1].0)
}

#[test]
fn the_source_is_told_what_the_mailbox_confirmed_and_the_target_what_came() {
    let mut scene = scene();
    scene.world.link(1, SERVICE);
    let mut looks = 0;
    for at in 1..=10 {
        let so_far = at * ALL / 10;
        let told = |event: &Event| match event {
            Event::Mailed { done, .. } if *done >= so_far => Some(*done),
            _ => None,
        };
        let Some(done) = scene.world.run_until_event(1, LONG, told) else { break };
        // Each PUT_OK is for one piece at most.
        assert!(scene.puts() as u64 * PIECE as u64 >= done, "{done} bytes by {} envelopes", scene.puts());
        looks += 1;
    }
    assert!(looks > 5, "{looks}");
    scene.runs(5 * SECOND);
    let told = mailed(&scene, 0);
    assert!(rises(&told) && told.iter().all(|(_, total)| *total == ALL), "{told:?}");
    assert_eq!(told.last(), Some(&(ALL, ALL)));
    assert!(scene.is_exchanged(1) && came(&scene, 2).is_empty());
    scene.link([2]);
    scene.runs(LONG);
    assert!(scene.holds(2, "film", &vec![7; FILM]));
    let came = came(&scene, 2);
    assert!(came.len() > 5 && rises(&came) && came.iter().all(|(_, total)| *total == ALL), "{came:?}");
    assert_eq!(came.last(), Some(&(ALL, ALL)));
    // It has nothing to put: all of this is there.
    assert!(scene.world.events(2).iter().all(|(_, event)| !matches!(event, Event::Mailed { .. })));
}

#[test]
fn content_that_was_interrupted_goes_on_where_it_stands() {
    let mut scene = scene();
    scene.world.link(1, SERVICE);
    let half = |event: &Event| matches!(event, Event::Mailed { done, .. } if *done >= ALL / 2).then_some(());
    scene.world.run_until_event(1, LONG, half).expect("half of it");
    scene.world.unlink(1, SERVICE);
    scene.runs(SECOND);
    let (before, from) = (mailed(&scene, 0), scene.world.events(1).len());
    scene.link([1]);
    scene.runs(LONG);
    let (last, after) = (before.last().expect("news").0, mailed(&scene, from));
    assert!(after[0].0 >= last && after[0].1 == ALL && rises(&after), "{last} {after:?}");
    assert_eq!(after.last(), Some(&(ALL, ALL)));
    // A file more: what is there needn't go there.
    let (from, song) = (scene.world.events(1).len(), 3 * PIECE as u64);
    scene.write(1, "song", &vec![8; song as usize]);
    scene.runs(LONG);
    let after = mailed(&scene, from);
    assert!(after[0].0 >= ALL && rises(&after), "{after:?}");
    assert_eq!(after.last(), Some(&(ALL + song, ALL + song)));
}

#[test]
fn content_for_which_there_is_no_room_counts_for_nothing() {
    let mut scene = scene();
    let host = Command::HostMailbox { box_envelopes: None, box_bytes: Some(500_000), device_bytes: None, bytes: None };
    scene.world.command(SERVICE, host).expect("a mailbox");
    scene.link([1]);
    scene.runs(LONG);
    let told = mailed(&scene, 0);
    assert!(told.iter().any(|(done, total)| *done > 300_000 && *total == ALL), "{told:?}");
    let rest = ALL - FILM as u64;
    assert_eq!(told.last(), Some(&(rest, rest)), "{told:?}");
    assert!(scene.is_exchanged(1));
}

#[test]
fn content_that_all_have_counts_for_nothing() {
    let mut scene = scene();
    scene.meet();
    scene.link([1]);
    scene.runs(LONG);
    assert!(scene.is_exchanged(1));
    assert_eq!(mailed(&scene, 0), []);
    // Some of a film is there when the other device, which has it, says so again.
    let mut scene = self::scene();
    scene.link_for(1, 100_000);
    let half = |event: &Event| matches!(event, Event::Mailed { done, .. } if *done >= ALL / 3).then_some(());
    scene.world.run_until_event(1, LONG, half).expect("a third of it");
    scene.meet();
    scene.runs(LONG);
    assert!(scene.is_exchanged(1) && scene.holds(2, "film", &vec![7; FILM]));
    let told = mailed(&scene, 0);
    let (done, total) = told.last().expect("news");
    assert!(done == total && *total < ALL, "{told:?}");
}
