//! How much is asked for at once (TRANSFER-ORDER-2), in virtual time: what isn't wanted any more takes its room until it is
//! answered, stopped or given up, and what is wanted again isn't asked for again.

use segue_proto::limits::{ANSWER_TIMEOUT, FETCH_WINDOW, LONG_WINDOW};
use segue_proto::wire::Hash;
use segue_proto::wire::hash::blob_id;
use segue_proto::{Code, Event, SessionRole};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};

use crate::again::answer;
use crate::pick::{Scene, asked_twice, photo};

const FILES: usize = 2 * LONG_WINDOW;
const SECOND: u64 = 1_000_000;

#[test]
fn who_picks_something_else_asks_a_silent_peer_for_no_more_than_the_window() {
    let mut scene = silent(&["letters", "photos"]);
    let before = asked(&scene.world);
    scene.pick(1, &["letters", "films"]);
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    assert_eq!(asked(&scene.world), before, "nothing is asked for while as much is outstanding");
    // What is never answered isn't waited for for ever.
    scene.world.run_for(ANSWER_TIMEOUT);
    assert_eq!(asked(&scene.world) - before, LONG_WINDOW);
    scene.world.heal(0, 1);
    scene.world.run_for(ANSWER_TIMEOUT);
    all_there(&mut scene, 1, "films");
}

#[test]
fn what_is_answered_though_nobody_wants_it_makes_room() {
    let mut scene = silent(&["letters", "photos"]);
    scene.pick(1, &["letters", "films"]);
    scene.world.heal(0, 1);
    // No timeout is waited for.
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    all_there(&mut scene, 1, "films");
    for at in 0..FILES {
        assert_eq!(scene.held(1, &format!("photos/{at}")), Some(Hash::ZERO));
    }
}

#[test]
fn what_was_put_off_waits_for_an_answer_and_not_for_a_pick() {
    let mut scene = Scene::new(2, None);
    scene.pick(1, &["letters"]);
    scene.follow(1, 0);
    let photos = FETCH_WINDOW - 1;
    (0..photos).for_each(|at| scene.write(0, &format!("photos/{at}"), &vec![at as u8; 100 + at]));
    // The longer are worked on later.
    let films: Vec<_> = (0..4_u8).map(|at| (format!("films/{at}"), vec![at; 1_000 + usize::from(at)])).collect();
    films.iter().for_each(|(path, content)| scene.write(0, path, content));
    let before = asks(&mut scene, &["letters", "photos", "films"]);
    let requests = requests(&scene.world).split_off(before);
    assert_eq!(requests.len(), FETCH_WINDOW);
    let one = |long: bool| requests.iter().find(|(_, len)| (*len >= 1_000) == long).expect("a request").0;
    let (owner, photo, film) = (scene.world.id(0), one(false), one(true));
    assert_eq!(requests.iter().filter(|(_, len)| *len >= 1_000).count(), 1);
    answer(&mut scene.world, 1, owner, film, Code::LIMIT_REQUESTS);
    let before = asked(&scene.world);
    scene.pick(1, &["letters", "films"]);
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    assert_eq!(asked(&scene.world), before, "no request has ended");
    // It is asked for again when one ends that nobody wants.
    answer(&mut scene.world, 1, owner, photo, Code::DATA_UNAVAILABLE);
    scene.world.run_for(SECOND);
    assert_eq!(asked(&scene.world) - before, 2, "and there is room for another");
    scene.world.heal(0, 1);
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    for (path, content) in films {
        assert_eq!(scene.held(1, &path), Some(blob_id(&content)), "{path}");
    }
}

#[test]
fn what_was_put_off_is_asked_for_again_as_a_request_of_another_session_ends() {
    let mut scene = Scene::new(2, None);
    let (first, owner) = (scene.session, scene.world.id(0));
    let other = create(&mut scene.world, 0, &[1]);
    for session in [other, first] {
        scene.session = session;
        scene.pick(1, &["letters"]);
        scene.follow(1, 0);
        scene.write(0, "films/one", &vec![1; 1_000]);
    }
    let one = asks(&mut scene, &["letters", "films"]);
    scene.session = other;
    scene.pick(1, &["letters", "films"]);
    scene.world.run_for(SECOND);
    let requests = requests(&scene.world).split_off(one);
    assert_eq!(requests.len(), 2);
    answer(&mut scene.world, 1, owner, requests[1].0, Code::LIMIT_REQUESTS);
    scene.world.run_for(SECOND);
    assert_eq!(asked(&scene.world), one + 2);
    answer(&mut scene.world, 1, owner, requests[0].0, Code::DATA_UNAVAILABLE);
    assert_eq!(asked(&scene.world), one + 3);
}

#[test]
fn a_pick_that_changes_during_a_handoff_has_nothing_asked_for_twice() {
    let mut scene = Scene::new(2, None);
    fill(&mut scene, &["photos", "films"]);
    falls_silent(&mut scene);
    let before = asked(&scene.world);
    scene.pick(1, &["letters", "photos"]);
    scene.world.run_for(ANSWER_TIMEOUT / 2);
    assert_eq!(asked(&scene.world), before, "as much is outstanding as may be");
    scene.world.heal(0, 1);
    owns(&mut scene, 1);
    all_there(&mut scene, 1, "photos");
    assert_eq!(asked_twice(&scene.world), 0, "bytes that were asked for twice");
}

#[test]
fn what_is_outstanding_at_a_device_that_goes_makes_room_elsewhere() {
    let mut scene = Scene::new(3, None);
    scene.pick(1, &["letters"]);
    scene.follow(1, 0);
    fill(&mut scene, &["photos"]);
    scene.push(0, 2);
    scene.world.unlink(1, 2);
    let before = asks(&mut scene, &["letters", "photos"]);
    assert_eq!(asked(&scene.world) - before, LONG_WINDOW);
    // It is got from another device instead.
    scene.world.link(1, 2);
    let (session, from) = (scene.session, scene.world.id(2));
    scene.world.command(1, Command::Request { session, from, timeout_us: PATIENCE }).expect("a pull");
    scene.world.run_for(2 * SECOND);
    let asked = asked(&scene.world) - before - LONG_WINDOW;
    assert!(asked <= 2, "{asked} besides what is short");
    scene.world.unlink(0, 1);
    owns(&mut scene, 1);
    all_there(&mut scene, 1, "photos");
}

#[test]
fn what_rests_with_a_device_that_goes_is_got_from_another() {
    let mut scene = resting();
    scene.world.link(1, 2);
    scene.world.unlink(0, 1);
    scene.world.run_for(2 * SECOND);
    all_there(&mut scene, 1, "photos");
}

/// The second device pulls the session of the first, which doesn't answer any more once content is under way.
fn falls_silent(scene: &mut Scene) {
    let (session, from) = (scene.session, scene.world.id(0));
    scene.world.command(1, Command::Request { session, from, timeout_us: PATIENCE }).expect("a pull");
    let comes = |event: &Event| matches!(event, Event::Progress { done: 200_000.., .. }).then_some(());
    scene.world.run_until_event(1, PATIENCE, comes).expect("content that comes");
    scene.world.partition(0, 1);
    scene.world.run_for(SECOND);
}

/// The second of three devices asked the first for the session, which doesn't answer any more, and gave up while content
/// was under way. The third has all of that.
fn resting() -> Scene {
    let mut scene = Scene::new(3, None);
    fill(&mut scene, &["photos"]);
    scene.world.unlink(1, 2);
    scene.follow(2, 0);
    scene.arrives(2, &format!("photos/{}", FILES - 1), &content("photos", FILES - 1));
    falls_silent(&mut scene);
    let session = scene.session;
    scene.world.command(1, Command::CancelHandoff { session }).expect("a request to withdraw");
    scene.world.run_for(SECOND);
    scene
}

/// A device asked for content of these folders, as much as it may, of one that doesn't answer at present.
fn silent(folders: &[&str]) -> Scene {
    let mut scene = Scene::new(2, None);
    scene.pick(1, &["letters"]);
    scene.follow(1, 0);
    fill(&mut scene, &["photos", "films"]);
    let before = asks(&mut scene, folders);
    assert_eq!(asked(&scene.world) - before, LONG_WINDOW);
    scene
}

/// The second device picks these folders, and the first doesn't answer at present. How many blobs were asked for before.
fn asks(scene: &mut Scene, folders: &[&str]) -> usize {
    scene.world.run_for(SECOND);
    scene.world.partition(0, 1);
    let before = asked(&scene.world);
    scene.pick(1, folders);
    scene.world.run_for(SECOND);
    before
}

/// A device comes to own the session, without a timeout.
fn owns(scene: &mut Scene, node: usize) {
    let session = scene.session;
    let owns =
        |world: &mut World<LocalDevice>| world.session(node, session).is_some_and(|it| it.role == SessionRole::Primary);
    assert!(scene.world.run_until(ANSWER_TIMEOUT / 2, owns), "a handoff");
}

/// The first device writes so many files in each folder.
fn fill(scene: &mut Scene, folders: &[&str]) {
    for folder in folders {
        (0..FILES).for_each(|at| scene.write(0, &format!("{folder}/{at}"), &content(folder, at)));
    }
}

fn content(folder: &str, at: usize) -> Vec<u8> {
    photo(at as u8 + if folder == "films" { 100 } else { 10 })
}

fn all_there(scene: &mut Scene, node: usize, folder: &str) {
    for at in 0..FILES {
        assert_eq!(scene.held(node, &format!("{folder}/{at}")), Some(blob_id(&content(folder, at))), "{folder}/{at}");
    }
}

/// How many blobs were asked for.
fn asked(world: &World<LocalDevice>) -> usize {
    requests(world).len()
}

/// The numbers of the requests for blobs, and the blobs' lengths.
fn requests(world: &World<LocalDevice>) -> Vec<(u32, u64)> {
    // GET req 7 abcd, 150000 bytes
    let request = |line: &String| {
        let (_, rest) = line.split_once(" GET req ").or_else(|| line.split_once(" RANGES req "))?;
        let (req, rest) = rest.split_once(' ')?;
        let (_, len) = rest.split_once(", ")?;
        Some((req.trim_end_matches(',').parse().ok()?, len.split(' ').next()?.parse().ok()?))
    };
    world.trace().iter().filter_map(request).collect()
}
