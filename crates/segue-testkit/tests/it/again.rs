//! What is said again, in virtual time: a choice of what goes along, while something newer is fetched (spec section 7.15).

use segue_proto::data::Pick;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{DeviceId, Error, Exts, Hash, Message, SessionId};
use segue_proto::{Code, Event, Token};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::PATIENCE;
use segue_testkit::world::Users;

use crate::pick::{Scene, photo};

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
