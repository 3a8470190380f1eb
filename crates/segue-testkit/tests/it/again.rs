//! What is said again, in virtual time: an OFFER whose acceptance waits for another try (HO-OFFER-6), and a choice of what
//! goes along, while something newer is fetched (spec section 7.15).

use segue_proto::data::Pick;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Cancel, DeviceId, Error, Exts, Hash, Message, SessionId};
use segue_proto::{Clause, Code, Event, Token};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::PATIENCE;
use segue_testkit::world::Users;

use crate::pick::{LETTER, Scene, photo};
use crate::pick_by_service;

const SECOND: u64 = 1_000_000;

#[test]
fn an_offer_that_is_said_again_while_its_acceptance_waits_asks_nobody_again() {
    let offered_twice = |off| {
        let mut scene = Scene::new(2, off);
        put_off(&mut scene.world, scene.session, (0, 1), (0, 1));
        // On the next link the OFFER is said again.
        scene.world.link(0, 1);
        scene.world.run_for(5 * SECOND);
        assert_eq!(offers(&scene.world, 0, 1).len(), 2);
        scene
    };
    let mut scene = offered_twice(None);
    assert_eq!(tokens(&scene.world, 1).len(), 1, "the user is asked once");
    scene.pull(1, 0).expect("the next try");
    assert_eq!(scene.held(1, "letters/first"), Some(blob_id(LETTER)));
    let scene = offered_twice(Some(Clause::HO_OFFER_6));
    assert_eq!(tokens(&scene.world, 1).len(), 2, "without the clause");
}

#[test]
fn an_offer_that_is_said_again_after_its_time_is_put_to_the_user() {
    let mut scene = Scene::new(2, None);
    put_off(&mut scene.world, scene.session, (0, 1), (0, 1));
    expires(&mut scene);
}

#[test]
fn a_pull_that_an_offer_came_in_the_way_of_doesnt_make_its_time_longer() {
    let mut scene = Scene::new(2, None);
    let (session, owner, target) = (scene.session, scene.world.id(0), scene.world.id(1));
    scene.world.unlink(0, 1);
    let request = Command::Request { session, from: owner, timeout_us: 10 * PATIENCE };
    scene.world.command(1, request).expect("a pull");
    scene.world.command(0, Command::Initiate { session, to: target, timeout_us: PATIENCE }).expect("an offer");
    let seen = scene.world.trace().len();
    scene.world.link(0, 1);
    refuse(&mut scene.world, 1, owner, seen);
    assert!(!offers(&scene.world, 0, 1).is_empty() && tokens(&scene.world, 1).is_empty(), "its user wants it already");
    scene.world.unlink(0, 1);
    expires(&mut scene);
}

#[test]
fn an_offer_is_put_to_the_user_again_once_no_other_try_follows() {
    let mut scene = Scene::new(2, None);
    put_off(&mut scene.world, scene.session, (0, 1), (0, 1));
    let session = scene.session;
    let end = |device: &mut LocalDevice, now| device.drive(now, |core| core.end_tries(now, session));
    scene.world.drive(1, end).expect("it is up");
    said_again(&mut scene, 2);
}

#[test]
fn a_try_whose_time_passes_is_the_last() {
    let mut scene = Scene::new(2, None);
    let (session, from) = (scene.session, scene.world.id(0));
    put_off(&mut scene.world, session, (0, 1), (0, 1));
    scene.world.link(0, 1);
    scene.world.run_for(SECOND);
    let seen = scene.world.trace().len();
    scene.world.command(1, Command::Request { session, from, timeout_us: SECOND }).expect("the next try");
    asked(&mut scene.world, seen, "WANT");
    scene.world.unlink(0, 1);
    let pends = |event: &Event| matches!(event, Event::HandoffPending { .. }).then_some(());
    scene.world.run_until_event(1, 2 * SECOND, pends).expect("a WANT whose fate isn't known");
    said_again(&mut scene, 2);
}

#[test]
fn another_offer_is_put_to_the_user_while_an_acceptance_waits() {
    let mut scene = Scene::new(2, None);
    let (session, target) = (scene.session, scene.world.id(1));
    let first = put_off(&mut scene.world, session, (0, 1), (0, 1));
    scene.world.command(0, Command::Initiate { session, to: target, timeout_us: PATIENCE }).expect("another offer");
    scene.world.link(0, 1);
    scene.world.run_for(SECOND);
    let tokens = tokens(&scene.world, 1);
    assert!(tokens.len() == 2 && tokens[1] != first, "{tokens:?}");
    // The older one is forgotten.
    withdraw(&mut scene.world, session, (0, 1), first);
    assert_eq!(withdrawn(&scene.world, 1), []);
}

#[test]
fn an_acceptance_that_waits_ends_as_its_owner_withdraws_the_offer() {
    let mut scene = Scene::new(2, None);
    let token = put_off(&mut scene.world, scene.session, (0, 1), (0, 1));
    scene.world.link(0, 1);
    scene.world.run_for(SECOND);
    scene.world.command(0, Command::CancelHandoff { session: scene.session }).expect("an offer to withdraw");
    scene.world.run_for(SECOND);
    assert_eq!(withdrawn(&scene.world, 1), [token]);
    said_again(&mut scene, 2);
}

#[test]
fn what_was_put_off_ends_with_its_head() {
    let mut scene = Scene::new(3, None);
    let session = scene.session;
    let token = put_off(&mut scene.world, session, (0, 1), (0, 1));
    // The same device owns by another record.
    scene.world.set_users(Users::EAGER);
    scene.push(0, 2);
    scene.push(2, 0);
    scene.world.link(0, 1);
    scene.world.run_for(SECOND);
    assert_eq!(tokens(&scene.world, 1), [token]);
    withdraw(&mut scene.world, session, (0, 1), token);
    assert_eq!(withdrawn(&scene.world, 1), []);
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
fn put_off(
    world: &mut World<LocalDevice>,
    session: SessionId,
    (from, to): (usize, usize),
    link: (usize, usize),
) -> Token {
    let token = offered(world, session, (from, to));
    let seen = world.trace().len();
    world.command(to, Command::Accept { token }).expect("an acceptance");
    let door = world.id(link.0);
    refuse(world, to, door, seen);
    world.unlink(link.0, link.1);
    world.run_for(SECOND);
    assert_eq!(world.events(to).iter().find_map(|(_, event)| activated(event)), None);
    token
}

/// The next WANT of the device, after so many lines, is refused, for there were too many.
fn refuse(world: &mut World<LocalDevice>, node: usize, door: DeviceId, seen: usize) {
    let req = asked(world, seen, "WANT");
    answer(world, node, door, req, Code::LIMIT_REQUESTS);
    let deferred =
        |(_, event): &(_, Event)| matches!(event, Event::HandoffResolved { result: Err(Code::LIMIT_REQUESTS), .. });
    assert!(world.events(node).iter().any(deferred), "the answer is put off");
}

/// The OFFER of the first device is said again to the second, whose user has been asked so often then.
fn said_again(scene: &mut Scene, times: usize) {
    let offer = offers(&scene.world, 0, 1).pop().expect("an offer");
    if scene.world.link_of(0, 1).is_none() {
        scene.world.link(0, 1);
        scene.world.run_for(SECOND);
    }
    scene.world.say_again(0, 1, &offer);
    scene.world.run_for(SECOND);
    assert_eq!(tokens(&scene.world, 1).len(), times);
}

/// The OFFER of the first device, whose acceptance is put off and whose time is PATIENCE, passes; then it is said again.
fn expires(scene: &mut Scene) {
    let asked = tokens(&scene.world, 1).len();
    // Some of its time has passed.
    scene.world.run_for(PATIENCE / 2);
    said_again(scene, asked);
    scene.world.unlink(0, 1);
    scene.world.run_for(PATIENCE / 2);
    said_again(scene, asked + 1);
}

fn offers(world: &World<LocalDevice>, from: usize, to: usize) -> Vec<Message> {
    world.said(from, to).into_iter().filter(|message| matches!(message, Message::Offer(_))).collect()
}

fn withdrawn(world: &World<LocalDevice>, node: usize) -> Vec<Token> {
    let token = |event: &Event| match event {
        Event::Withdrawn { token, .. } => Some(*token),
        _ => None,
    };
    world.events(node).iter().filter_map(|(_, event)| token(event)).collect()
}

/// The second device hears that the first withdraws an OFFER.
fn withdraw(world: &mut World<LocalDevice>, session: SessionId, (from, to): (usize, usize), subject: Token) {
    let (from, code) = (world.id(from), Code::HO_CANCELLED.into());
    hears(world, to, from, &Cancel { session, subject, code, ext: Exts::empty() }.into());
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
pub(crate) fn answer(world: &mut World<LocalDevice>, node: usize, from: DeviceId, req: u32, code: Code) {
    let (session, code, ext) = (None.into(), code.into(), Exts::empty());
    hears(world, node, from, &Error { req, session, code, definite: true, retry_after_ms: 0, ext }.into());
}

/// The device takes this for a message of a linked device.
fn hears(world: &mut World<LocalDevice>, node: usize, from: DeviceId, message: &Message) {
    let ready = |event: &Event| match event {
        Event::LinkReady { link, peer, .. } if *peer == from => Some(*link),
        _ => None,
    };
    let link = world.events(node).iter().rev().find_map(|(_, event)| ready(event)).expect("a link");
    let frame = message.to_frame();
    world.drive(node, |device, now| device.drive(now, |core| core.handle_bytes(now, link, &frame)));
}

fn activated(event: &Event) -> Option<()> {
    matches!(event, Event::Activated { .. }).then_some(())
}
