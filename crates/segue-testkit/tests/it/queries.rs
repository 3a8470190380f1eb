//! What an application asks of a core beside what a [`Command`] says: it is answered as things are, in virtual time.

use segue_proto::data::Pick;
use segue_proto::limits::{INVITE_TTL, MAX_FIRST, MAX_MEMBERS, MAX_NAME, MAX_PATH, MAX_RECEIPTS, MEET_WAIT};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{DeviceId, Hash, PartId, SessionId};
use segue_proto::{Code, Endpoint, Instant, PendingHandoff, UsageError};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, Pair, UNIT};
use segue_testkit::world::{Options, Users};

use super::pick::{LETTER, Scene, photo};

const SECOND: u64 = 1_000_000;

fn core(world: &World<LocalDevice>, node: usize) -> &Endpoint {
    world.device(node).expect("a device that runs").endpoint()
}

fn drive<T>(world: &mut World<LocalDevice>, node: usize, act: impl FnOnce(&mut Endpoint, Instant) -> T) -> T {
    let done = world.drive(node, |device, now| device.drive(now, |core| act(core, now)));
    done.expect("a device that runs")
}

/// The first has signed a GRANT to the second, which doesn't get it; its record.
fn granted(pair: &mut Pair) -> Hash {
    let (session, to) = (pair.session, pair.id(1));
    let initiate = Command::Initiate { session, to, timeout_us: PATIENCE };
    pair.world.command(0, initiate).expect("a handoff");
    let pending = |world: &mut World<LocalDevice>| world.session(0, session).is_some_and(|it| it.pending.is_some());
    assert!(pair.world.run_until(PATIENCE, pending), "a GRANT");
    pair.world.unlink(0, 1);
    pair.world.session(0, session).expect("it is known").head
}

#[test]
fn a_grant_that_waits_is_told_of_and_so_is_what_became_of_it() {
    let mut pair = Pair::new(UNIT, UNIT);
    let (session, to) = (pair.session, pair.id(1));
    assert_eq!(core(&pair.world, 0).pending_handoffs(), []);
    let known = [0, 1].map(|node| core(&pair.world, node).receipts(&session));
    assert_eq!(known.each_ref().map(Vec::len), [2, 2], "one there and one back");
    let record = granted(&mut pair);
    let pending = core(&pair.world, 0).pending_handoffs();
    let [PendingHandoff { id: Some(_), .. }] = pending[..] else { panic!("{pending:?}") };
    assert_eq!((pending[0].session, pending[0].to, pending[0].record), (session, to, record));
    assert_eq!(core(&pair.world, 0).grant_fate(&session, &record), None);
    assert_eq!(core(&pair.world, 1).grant_fate(&session, &record), Some(Err(Code::HO_FENCED)), "unheard of there");
    pair.world.link(0, 1);
    assert!(pair.settle(1));
    for node in [0, 1] {
        assert_eq!(core(&pair.world, node).pending_handoffs(), []);
        assert_eq!(core(&pair.world, node).grant_fate(&session, &record), Some(Ok(record)));
        let receipts = core(&pair.world, node).receipts(&session);
        assert_eq!(receipts, [known[node].clone(), vec![record]].concat(), "oldest first");
    }
    assert_eq!(core(&pair.world, 0).receipts(&SessionId::ZERO), []);
    let unknown = core(&pair.world, 0).grant_fate(&SessionId::ZERO, &record);
    assert_eq!(unknown, Some(Err(Code::HO_UNKNOWN_SESSION)));
}

#[test]
fn of_so_many_handoffs_is_kept_what_a_receipt_needs() {
    let mut pair = Pair::new(UNIT, UNIT);
    let session = pair.session;
    let mut all = core(&pair.world, 0).receipts(&session);
    for at in 0..MAX_RECEIPTS {
        let (from, to) = (at % 2, (at + 1) % 2);
        assert!(pair.pull(from, to));
        all.extend(pair.world.session(to, session).map(|state| state.head));
    }
    assert_eq!(all.len(), MAX_RECEIPTS + 2);
    for node in [0, 1] {
        assert_eq!(core(&pair.world, node).receipts(&session), all[2..], "the oldest go");
        assert!(core(&pair.world, node).receipt(&session, &all[1]).is_none());
        assert!(core(&pair.world, node).receipt(&session, &all[2]).is_some());
    }
}

#[test]
fn a_grant_that_a_takeover_passed_by_is_fenced() {
    let mut pair = Pair::new(UNIT, UNIT);
    let session = pair.session;
    let record = granted(&mut pair);
    pair.world.command(1, Command::Takeover { session }).expect("a takeover");
    pair.world.run_for(SECOND);
    pair.world.link(0, 1);
    pair.world.run_for(PATIENCE);
    assert_eq!(core(&pair.world, 0).pending_handoffs(), []);
    assert_eq!(core(&pair.world, 0).grant_fate(&session, &record), Some(Err(Code::HO_FENCED)));
}

#[test]
fn a_device_whose_store_failed_says_so() {
    let mut pair = Pair::new(UNIT, UNIT);
    assert!(!core(&pair.world, 0).is_halted());
    pair.world.fail_store(0);
    assert!(core(&pair.world, 0).is_halted() && !core(&pair.world, 1).is_halted());
}

#[test]
fn a_session_is_shared_with_its_members_and_those_that_are_vouched_for() {
    let mut scene = Scene::new(2, None);
    let (session, member, stranger) = (scene.session, scene.world.id(1), DeviceId::new([7; 32]));
    let shared =
        |scene: &Scene, session: &SessionId, device: &DeviceId| core(&scene.world, 0).is_shared_with(session, device);
    assert!(shared(&scene, &SessionId::ZERO, &member), "it is vouched for");
    scene.world.command(0, Command::Distrust { device: member }).expect("a word");
    assert!(!shared(&scene, &SessionId::ZERO, &member));
    assert!(shared(&scene, &session, &member) && !shared(&scene, &session, &stranger));
    scene.world.command(0, Command::Trust { device: stranger }).expect("a word");
    assert!(shared(&scene, &session, &stranger));
}

#[test]
fn a_session_has_so_many_members_and_a_name_so_long() {
    let mut pair = Pair::new(UNIT, UNIT);
    let me = pair.id(0);
    let others = |count: usize| (0..count).map(|at| DeviceId::new([at as u8 + 1; 32])).collect::<Vec<_>>();
    let mut create = |name: String, members: Vec<DeviceId>| {
        pair.world.command(0, Command::Create { name, members }).map(drop).map_err(|refusal| refusal.code)
    };
    // Each of these characters takes two bytes.
    let name = |chars: usize| "é".repeat(chars);
    assert_eq!(create(name(MAX_NAME), [others(MAX_MEMBERS), others(3), vec![me]].concat()), Ok(()));
    let too_large = UsageError::TooLarge.code();
    assert_eq!(create(name(MAX_NAME + 1), others(MAX_MEMBERS)), Err(too_large));
    assert_eq!(create(name(MAX_NAME), others(MAX_MEMBERS + 1)), Err(too_large));
}

/// Its holder is shown until when it may be used, by the wall clock, to the second.
#[test]
fn an_invitation_says_until_when_it_holds() {
    let mut pair = Pair::new(UNIT, UNIT);
    let invite = drive(&mut pair.world, 0, |core, now| core.invite(now, 1_700_000_123_456, "phone", &[]));
    assert_eq!(invite.expect("an invitation").expires, 1_700_000_123 + INVITE_TTL / 1_000_000);
}

#[test]
fn a_new_part_is_like_no_other() {
    let mut pair = Pair::new(UNIT, UNIT);
    let mut new = |node| drive(&mut pair.world, node, |core, _| core.new_part());
    let mut parts = vec![new(0), new(0), new(1), PartId::new([0; 16])];
    parts.sort_unstable();
    parts.dedup();
    assert_eq!(parts.len(), 4);
}

#[test]
fn content_that_is_left_out_is_missing_until_it_is_asked_for() {
    let mut scene = Scene::new(2, None);
    let (session, beach, letter) = (scene.session, blob_id(&photo(2)), blob_id(LETTER));
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    let says = |scene: &Scene| {
        let core = core(&scene.world, 1);
        let held: Vec<Hash> = core.held_blobs(&session).into_iter().map(|(blob, _)| blob).collect();
        [beach, letter].map(|blob| (core.misses(&session, &blob), held.contains(&blob)))
    };
    assert_eq!(says(&scene), [(true, false), (false, true)]);
    let asked = |scene: &mut Scene, session, paths: &[&str]| {
        drive(&mut scene.world, 1, |core, now| core.fetch_content(now, session, paths))
    };
    assert_eq!(asked(&mut scene, SessionId::ZERO, &["photos/beach"]), Err(UsageError::UnknownSession));
    assert_eq!(asked(&mut scene, session, &["letters/first", "nowhere"]), Ok(0));
    assert_eq!(asked(&mut scene, session, &["letters/first", "photos/beach"]), Ok(1));
    assert_eq!(asked(&mut scene, session, &["photos/beach"]), Ok(0), "it is asked for");
    scene.arrives(1, "photos/beach", &photo(2));
    assert_eq!(says(&scene), [(false, true); 2]);
}

/// The names of the files, in the order in which they are whole at a device that follows.
fn arrivals(first: &[&str], later: bool) -> Vec<String> {
    let mut options = Options::calm(3, 10_000, 1_000);
    options.weather.bandwidth = 2_000_000;
    let mut pair = Pair::fresh(options, [segue_proto::Generation::V7; 2]);
    let (session, from) = (pair.session, pair.id(0));
    pair.world.command(1, Command::Follow { session, from }).expect("a session to follow");
    pair.world.run_for(SECOND);
    pair.world.unlink(0, 1);
    for at in 0..FILES {
        let (path, content) = (format!("file {at:02}"), photo(at as u8));
        pair.world.command(0, Command::WriteFile { session, path, content }).expect("a file that is written");
        pair.world.run_for(UNIT);
    }
    let say = |pair: &mut Pair| drive(&mut pair.world, 1, |core, _| core.fetch_first(session, first)).expect("paths");
    if !later {
        say(&mut pair);
    }
    pair.world.link(0, 1);
    let mut seen = Vec::new();
    pair.world.run_until(PATIENCE, |world| {
        let files = world.session(1, session).map(|it| it.files).unwrap_or_default();
        let whole = files.into_iter().filter(|(path, hash)| path.starts_with("file") && !hash.is_zero());
        let new: Vec<_> = whole.map(|(path, _)| path).filter(|path| !seen.contains(path)).collect();
        seen.extend(new);
        seen.len() == if later { 2 } else { FILES }
    });
    if later {
        say(&mut pair);
        pair.world.run_until(PATIENCE, |world| {
            let files = world.session(1, session).map(|it| it.files).unwrap_or_default();
            let whole = files.into_iter().filter(|(path, hash)| path.starts_with("file") && !hash.is_zero());
            let new: Vec<_> = whole.map(|(path, _)| path).filter(|path| !seen.contains(path)).collect();
            seen.extend(new);
            seen.len() == FILES
        });
    }
    seen
}

/// More than go at once.
const FILES: usize = 40;

#[test]
fn what_is_wanted_first_comes_first() {
    let place = |order: &[String], path: &str| order.iter().position(|it| it == path).expect("it comes");
    let usual = arrivals(&[], false);
    assert_eq!(usual.len(), FILES);
    let last: Vec<&str> = usual[FILES - 2..].iter().map(String::as_str).collect();
    let order = arrivals(&last, false);
    assert!(last.iter().all(|path| place(&order, path) < 2), "{last:?} in {order:?}");
    // What was asked for already comes before.
    let order = arrivals(&last[1..], true);
    assert!(place(&order, last[1]) < 25, "{last:?} in {order:?}");
}

#[test]
fn so_much_can_be_wanted_first() {
    let mut scene = Scene::new(2, None);
    let session = scene.session;
    let mut say = |session, paths: &[String]| {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        drive(&mut scene.world, 1, |core, _| core.fetch_first(session, &paths))
    };
    let many: Vec<_> = (0..=MAX_FIRST).map(|at| format!("file {at}")).collect();
    assert_eq!(say(session, &many), Err(UsageError::UnknownSession), "the device doesn't take part yet");
    scene.follow(1, 0);
    scene.arrives(1, "letters/first", LETTER);
    let mut say = |session, paths: &[String]| {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        drive(&mut scene.world, 1, |core, _| core.fetch_first(session, &paths))
    };
    assert_eq!(say(session, &many), Err(UsageError::BadPart));
    assert_eq!(say(session, &many[1..]), Ok(()));
    assert_eq!(say(session, &["x".repeat(MAX_PATH + 1)]), Err(UsageError::BadPart));
    assert_eq!(say(session, &["x".repeat(MAX_PATH)]), Ok(()));
    assert_eq!(say(session, &[]), Ok(()));
    assert_eq!(say(SessionId::ZERO, &many[1..]), Err(UsageError::UnknownSession));
}

fn letters_go_along(scene: &mut Scene) {
    let session = scene.session;
    let letters = Pick::new([Pick::folder(&session, "letters")]).expect("a folder");
    drive(&mut scene.world, 0, |core, now| core.take_along(now, session, letters)).expect("a choice");
}

#[test]
fn a_choice_that_is_ended_ends_before_a_handoff_and_not_in_one() {
    let beach = |scene: &mut Scene| scene.held(1, "photos/beach").expect("it is named");
    let mut scene = Scene::new(2, None);
    let session = scene.session;
    letters_go_along(&mut scene);
    drive(&mut scene.world, 0, |core, now| core.end_tries(now, session));
    scene.world.unlink(0, 1);
    scene.world.link(0, 1);
    scene.push(0, 1);
    assert_eq!(beach(&mut scene), blob_id(&photo(2)), "all goes along");
    let mut scene = Scene::new(2, None);
    let (session, to) = (scene.session, scene.world.id(1));
    scene.world.set_users(Users::ABSENT);
    letters_go_along(&mut scene);
    scene.world.command(0, Command::Initiate { session, to, timeout_us: PATIENCE }).expect("an offer");
    scene.world.run_for(SECOND);
    drive(&mut scene.world, 0, |core, now| core.end_tries(now, session));
    scene.accepts();
    assert_eq!(beach(&mut scene), Hash::ZERO, "it stays behind");
}

/// A device with a session and a file, online at a mailbox; the other member has never been there. What the mailbox takes
/// of content is bounded, if that is given.
fn with_mailbox(bytes: Option<u64>, before: impl FnOnce(&mut World<LocalDevice>)) -> (World<LocalDevice>, SessionId) {
    let mut world = World::local(Options::calm(5, 1_000, 100));
    world.add(3, |at, setup| (setup.follow, setup.accept_unknown) = (true, at == 0));
    let mailbox = world.id(0);
    let host = Command::HostMailbox { box_envelopes: None, box_bytes: None, device_bytes: bytes, bytes: None };
    world.command(0, host).expect("a mailbox");
    world.command(1, Command::Distrust { device: mailbox }).expect("a word");
    world.command(1, Command::UseMailbox { mailbox }).expect("a mailbox");
    let session = segue_testkit::flights::create(&mut world, 1, &[2]);
    world.link(1, 0);
    world.run_for(5 * SECOND);
    before(&mut world);
    let content = photo(1);
    world.command(1, Command::WriteFile { session, path: "film".into(), content }).expect("a file that is written");
    (world, session)
}

fn is_exchanged(world: &World<LocalDevice>) -> bool {
    core(world, 1).is_exchanged(&world.id(0))
}

#[test]
fn content_waits_a_moment_for_a_link_that_is_expected() {
    let (mut world, _) = with_mailbox(None, |_| {});
    world.run_for(2 * SECOND);
    assert!(is_exchanged(&world), "nobody is expected");
    let (mut world, _) = with_mailbox(None, |world| {
        let other = world.id(2);
        drive(world, 1, |core, now| core.expect_link(now, other));
    });
    world.run_for(2 * SECOND);
    assert!(!is_exchanged(&world), "it waits");
    world.run_for(MEET_WAIT);
    assert!(is_exchanged(&world), "nobody came");
    let (mut world, _) = with_mailbox(None, |world| {
        let other = world.id(0);
        drive(world, 1, |core, now| core.expect_link(now, other));
    });
    world.run_for(2 * SECOND);
    assert!(is_exchanged(&world), "one is expected that doesn't need it");
}

#[test]
fn what_a_mailbox_has_no_room_for_is_told() {
    let names = |world: &World<LocalDevice>, session: &SessionId| -> Vec<String> {
        let left = core(world, 1).not_mailed(&world.id(0), session);
        left.into_iter().map(|entry| entry.path.to_string()).collect()
    };
    let (mut world, session) = with_mailbox(None, |_| {});
    world.run_for(2 * SECOND);
    assert!(names(&world, &session).is_empty());
    // There is room for letters, and a piece of the film.
    let (mut world, session) = with_mailbox(Some(90_000), |_| {});
    world.run_for(2 * SECOND);
    assert_eq!(names(&world, &session), ["film"]);
    assert!(names(&world, &SessionId::ZERO).is_empty());
    let other = world.id(2);
    assert!(core(&world, 1).not_mailed(&other, &session).is_empty(), "it is no mailbox");
}
