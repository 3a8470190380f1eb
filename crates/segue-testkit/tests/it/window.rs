//! How much is asked for at once (TRANSFER-ORDER-2), in virtual time: what isn't wanted any more takes its room until it is
//! answered, or given up.

use segue_proto::limits::{ANSWER_TIMEOUT, LONG_WINDOW};
use segue_proto::wire::Hash;
use segue_proto::wire::hash::blob_id;
use segue_testkit::World;
use segue_testkit::device::LocalDevice;

use crate::pick::{Scene, photo};

const FILES: usize = 2 * LONG_WINDOW;

#[test]
fn who_picks_something_else_asks_a_silent_peer_for_no_more_than_the_window() {
    let mut scene = silent();
    let before = asked(&scene.world);
    scene.pick(1, &["letters", "films"]);
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    assert_eq!(asked(&scene.world), before, "nothing is asked for while as much is outstanding");
    // What is never answered isn't waited for for ever.
    scene.world.run_for(ANSWER_TIMEOUT);
    assert_eq!(asked(&scene.world) - before, LONG_WINDOW);
    scene.world.heal(0, 1);
    scene.world.run_for(ANSWER_TIMEOUT);
    all_films(&mut scene);
}

#[test]
fn what_is_answered_though_nobody_wants_it_makes_room() {
    let mut scene = silent();
    scene.pick(1, &["letters", "films"]);
    scene.world.heal(0, 1);
    // No timeout is waited for.
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    all_films(&mut scene);
    for at in 0..FILES {
        assert_eq!(scene.held(1, &format!("photos/{at}")), Some(Hash::ZERO));
    }
}

/// A device asked for photos, as many as it may, of one that doesn't answer at present.
fn silent() -> Scene {
    let mut scene = Scene::new(2, None);
    scene.pick(1, &["letters"]);
    scene.follow(1, 0);
    for folder in ["photos", "films"] {
        (0..FILES).for_each(|at| scene.write(0, &format!("{folder}/{at}"), &content(folder, at)));
    }
    scene.world.run_for(1_000_000);
    scene.world.partition(0, 1);
    let before = asked(&scene.world);
    scene.pick(1, &["letters", "photos"]);
    scene.world.run_for(1_000_000);
    assert_eq!(asked(&scene.world) - before, LONG_WINDOW);
    scene
}

fn content(folder: &str, at: usize) -> Vec<u8> {
    photo(at as u8 + if folder == "films" { 100 } else { 10 })
}

fn all_films(scene: &mut Scene) {
    for at in 0..FILES {
        assert_eq!(scene.held(1, &format!("films/{at}")), Some(blob_id(&content("films", at))), "{at}");
    }
}

/// How many blobs were asked for.
fn asked(world: &World<LocalDevice>) -> usize {
    world.trace().iter().filter(|line| line.contains(" GET req ") || line.contains(" RANGES req ")).count()
}
