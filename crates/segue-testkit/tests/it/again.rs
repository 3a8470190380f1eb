//! What is said again, in virtual time: an OFFER whose answer was put off (spec section 7.7), and a choice of what goes along
//! while something newer is fetched (7.15).

use segue_proto::data::Pick;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{DeviceId, Error, Exts, Hash, Message, SessionId};
use segue_proto::{Clause, Code, Event, Token};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::PATIENCE;
use segue_testkit::world::Users;

use crate::pick::{LETTER, Scene, photo};
use crate::pick_by_service;

const SECOND: u64 = 1_000_000;

#[test]
fn an_offer_that_is_said_again_while_its_answer_is_put_off_asks_nobody_again() {
    let requests = |off| {
        let mut scene = Scene::new(2, off);
        put_off(&mut scene.world, scene.session, (0, 1), (0, 1));
        // On the next link the OFFER is said again.
        scene.world.link(0, 1);
        scene.world.run_for(5 * SECOND);
        scene
    };
    let mut scene = requests(None);
    assert_eq!(tokens(&scene.world, 1).len(), 1, "the user is asked once");
    scene.pull(1, 0).expect("the next try");
    assert_eq!(scene.held(1, "letters/first"), Some(blob_id(LETTER)));
    let scene = requests(Some(Clause::HO_OFFER_6));
    assert_eq!(tokens(&scene.world, 1).len(), 2, "without the clause");
}

#[test]
fn what_an_offer_said_of_content_counts_in_the_next_try() {
    use pick_by_service::{PHOTO, SERVICE, Scene};
    let mut scene = Scene::new(3, |_, _| {});
    choose(&mut scene.world, scene.session, 1);
    scene.link([1, 2]);
    scene.delegate(1);
    put_off(&mut scene.world, scene.session, (1, 2), (SERVICE, 2));
    scene.link([2]);
    assert_eq!(tokens(&scene.world, 2).len(), 1, "the user is asked once");
    let (session, from) = (scene.session, scene.world.id(1));
    scene.world.command(2, Command::Request { session, from, timeout_us: PATIENCE }).expect("the next try");
    scene.world.run_until_event(2, PATIENCE / 2, activated).expect("a handoff");
    assert!(scene.holds(2, "letters/first", pick_by_service::LETTER));
    assert!(!scene.holds(2, "photos/beach", PHOTO), "it stays behind");
}

#[test]
fn what_is_chosen_to_go_along_reaches_a_fetch_that_went_on_to_newer_data() {
    let mut scene = Scene::new(2, None);
    let photos: Vec<String> = (0..90).map(|at| format!("photos/{at}")).collect();
    photos.iter().zip(10..).for_each(|(path, seed)| scene.write(0, path, &photo(seed)));
    let (session, owner) = (scene.session, scene.world.id(0));
    let token = offered(&mut scene.world, session, (0, 1));
    scene.write(0, "letters/second", b"Dear you");
    let seen = scene.world.trace().len();
    scene.world.command(1, Command::Accept { token }).expect("an acceptance");
    // What the OFFER announced can't be had any more.
    let req = asked(&mut scene.world, seen, "GET");
    answer(&mut scene.world, 1, owner, req, Code::DATA_UNAVAILABLE);
    let comes = |event: &Event| matches!(event, Event::Progress { done: 1.., .. }).then_some(());
    scene.world.run_until_event(1, PATIENCE, comes).expect("newer data that is fetched");
    choose(&mut scene.world, session, 0);
    scene.world.run_until_event(1, PATIENCE, activated).expect("a handoff");
    assert_eq!(scene.held(1, "letters/second"), Some(blob_id(b"Dear you")));
    let came = photos.iter().filter(|path| scene.held(1, path) != Some(Hash::ZERO)).count();
    assert!(came < 60, "{came} photos came before the handoff");
}

/// The first of two devices offers the session to the second, whose user accepts; the answer is refused, for there were too
/// many, and the link over which it went is lost.
fn put_off(world: &mut World<LocalDevice>, session: SessionId, (from, to): (usize, usize), link: (usize, usize)) {
    let token = offered(world, session, (from, to));
    let seen = world.trace().len();
    world.command(to, Command::Accept { token }).expect("an acceptance");
    let req = asked(world, seen, "WANT");
    let door = world.id(link.0);
    answer(world, to, door, req, Code::LIMIT_REQUESTS);
    let deferred =
        |(_, event): &(_, Event)| matches!(event, Event::HandoffResolved { result: Err(Code::LIMIT_REQUESTS), .. });
    assert!(world.events(to).iter().any(deferred), "the answer is put off");
    world.unlink(link.0, link.1);
    world.run_for(SECOND);
    assert_eq!(world.events(to).iter().find_map(|(_, event)| activated(event)), None);
}

fn offered(world: &mut World<LocalDevice>, session: SessionId, (from, to): (usize, usize)) -> Token {
    let target = world.id(to);
    world.set_users(Users::ABSENT);
    world.command(from, Command::Initiate { session, to: target, timeout_us: PATIENCE }).expect("an offer");
    let asks = |event: &Event| match event {
        Event::HandoffRequest { token, .. } => Some(*token),
        _ => None,
    };
    world.run_until_event(to, PATIENCE, asks).expect("a user who is asked")
}

/// What the device's user was asked.
fn tokens(world: &World<LocalDevice>, node: usize) -> Vec<Token> {
    let token = |event: &Event| match event {
        Event::HandoffRequest { token, .. } => Some(*token),
        _ => None,
    };
    world.events(node).iter().filter_map(|(_, event)| token(event)).collect()
}

/// The device chooses that letters alone go along.
fn choose(world: &mut World<LocalDevice>, session: SessionId, node: usize) {
    let letters = Pick::new([Pick::folder(&session, "letters")]).expect("a folder");
    let chosen = world.drive(node, |device, now| device.drive(now, |core| core.take_along(now, session, letters)));
    chosen.expect("it is up").expect("a choice");
}

/// The number of the next request of this kind that is sent after so many lines.
fn asked(world: &mut World<LocalDevice>, seen: usize, what: &str) -> u32 {
    let what = format!(" {what} req ");
    let next = |world: &World<LocalDevice>| {
        let rest = world.trace().iter().skip(seen).find_map(|line| line.split_once(&what))?.1;
        rest.split_whitespace().next()?.trim_end_matches(',').parse().ok()
    };
    assert!(world.run_until(PATIENCE, |world| next(world).is_some()), "{what}");
    next(world).expect("a number")
}

/// The device takes this error for the answer of a linked device.
fn answer(world: &mut World<LocalDevice>, node: usize, from: DeviceId, req: u32, code: Code) {
    let ready = |event: &Event| match event {
        Event::LinkReady { link, peer, .. } if *peer == from => Some(*link),
        _ => None,
    };
    let link = world.events(node).iter().rev().find_map(|(_, event)| ready(event)).expect("a link");
    let (session, code, ext) = (None.into(), code.into(), Exts::empty());
    let error = Error { req, session, code, definite: true, retry_after_ms: 0, ext };
    let frame = Message::from(error).to_frame();
    world.drive(node, |device, now| device.drive(now, |core| core.handle_bytes(now, link, &frame)));
}

fn activated(event: &Event) -> Option<()> {
    matches!(event, Event::Activated { .. }).then_some(())
}
