//! Of a session's files, devices get the content of those that their users picked (spec section 7.15), in virtual time.

use std::collections::BTreeSet;

use segue_proto::data::Pick;
use segue_proto::limits::{MAX_OFFERS, MAX_PICK};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Hash, SessionId};
use segue_proto::{Clause, Code, Event, Generation, SessionRole, UsageError};
use segue_testkit::World;
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::world::{Options, Users};

pub(crate) const MINUTE: u64 = 60_000_000;
pub(crate) const LETTER: &[u8] = b"Dear all";

#[test]
fn what_is_picked_comes_and_the_rest_stays_with_its_holder() {
    let mut scene = Scene::new(2, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    assert_eq!(scene.held(1, "letters/first"), Some(blob_id(LETTER)));
    assert_eq!(scene.held(1, "photos/beach"), Some(Hash::ZERO));
    let elsewhere = scene.elsewhere(1);
    assert_eq!(elsewhere, [("photos/beach".to_owned(), vec![scene.world.id(0)])]);
    // It stays so while the two are linked, whatever is written meanwhile.
    scene.write(0, "letters/second", b"Dear you");
    scene.write(0, "photos/mountain", &photo(3));
    scene.world.run_for(MINUTE);
    assert_eq!(scene.held(1, "letters/second"), Some(blob_id(b"Dear you")));
    assert_eq!(scene.held(1, "photos/mountain"), Some(Hash::ZERO));
    // The old owner keeps it, and gives it when it is asked for.
    scene.pick(1, &[]);
    scene.arrives(1, "photos/beach", &photo(2));
    scene.arrives(1, "photos/mountain", &photo(3));
    assert!(scene.elsewhere(1).is_empty());
}

#[test]
fn what_the_device_leaves_out_is_told_before_a_handoff() {
    let mut scene = Scene::new(2, None);
    let (session, source, target) = (scene.session, scene.world.id(0), scene.world.id(1));
    let left_out = |scene: &Scene| {
        let device = scene.world.device(0).expect("a device that runs");
        let outlook = device.endpoint().outlook(&session, &target).expect("a session that is known");
        let left_out = outlook.parts.into_iter().flat_map(|part| part.files).filter(|file| file.left_out);
        left_out.map(|file| file.entry.path.to_string()).collect::<Vec<_>>()
    };
    scene.pick(1, &["letters"]);
    scene.follow(1, 0);
    scene.arrives(1, "letters/first", LETTER);
    assert!(left_out(&scene).is_empty(), "it hasn't said what it wants");
    scene.world.command(1, Command::Consent { session, to: source, ttl_us: MINUTE }).expect("a consent");
    scene.world.run_for(1_000_000);
    assert_eq!(left_out(&scene), ["photos/beach"]);
}

#[test]
fn without_the_clause_everything_comes() {
    let mut scene = Scene::new(2, Some(Clause::HO_PICK_2));
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    scene.arrives(1, "photos/beach", &photo(2));
}

#[test]
fn what_is_usually_picked_is_picked_of_a_session_that_comes_to_be_known() {
    let mut scene = Scene::new(2, None);
    let folders =
        |count: usize| (0..count).map(|at| if at == 0 { "letters".into() } else { format!("{at}") }).collect();
    for (count, said) in [(MAX_PICK + 1, Err(UsageError::TooLarge)), (MAX_PICK, Ok(()))] {
        let usually = |device: &mut LocalDevice, now| device.drive(now, |core| core.pick_usually(folders(count)));
        assert_eq!(scene.world.drive(1, usually), Some(said));
    }
    scene.session = create(&mut scene.world, 0, &[1]);
    scene.world.allow_pulls(scene.session);
    scene.write(0, "letters/first", LETTER);
    scene.write(0, "photos/beach", &photo(2));
    scene.pull(1, 0).expect("a handoff");
    assert_eq!(scene.held(1, "letters/first"), Some(blob_id(LETTER)));
    assert_eq!(scene.held(1, "photos/beach"), Some(Hash::ZERO));
}

#[test]
fn a_pick_outlives_a_loss_of_power() {
    let mut scene = Scene::new(2, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    scene.world.crash(1);
    scene.world.run_for(MINUTE);
    assert_eq!(scene.world.session(1, scene.session).map(|it| it.role), Some(SessionRole::Primary));
    assert_eq!(scene.held(1, "photos/beach"), Some(Hash::ZERO));
    assert_eq!(scene.elsewhere(1).len(), 1);
    scene.pick(1, &["letters", "photos"]);
    scene.arrives(1, "photos/beach", &photo(2));
}

#[test]
fn who_asks_a_partial_owner_for_all_gets_what_that_holds_and_the_rest_from_others() {
    let mut scene = Scene::new(3, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    // The device with the photos is away.
    scene.world.unlink(0, 2);
    scene.world.run_for(MINUTE);
    scene.pull(2, 1).expect("a handoff of what the owner holds");
    assert_eq!(scene.held(2, "letters/first"), Some(blob_id(LETTER)));
    assert_eq!(scene.held(2, "photos/beach"), Some(Hash::ZERO));
    scene.world.link(2, 0);
    scene.arrives(2, "photos/beach", &photo(2));
}

#[test]
fn what_a_partial_owner_brought_is_handed_on_as_partial() {
    let mut scene = Scene::new(4, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    [1, 2, 3].into_iter().for_each(|other| scene.world.unlink(0, other));
    // One that has followed the owner holds all that it holds, and fetches nothing for the handoff.
    scene.follow(2, 1);
    scene.arrives(2, "letters/first", LETTER);
    scene.pull(2, 1).expect("a handoff of what the owner holds");
    scene.pull(3, 2).expect("another");
    assert_eq!(scene.held(3, "letters/first"), Some(blob_id(LETTER)));
    assert_eq!(scene.held(3, "photos/beach"), Some(Hash::ZERO));
}

#[test]
fn what_an_owner_picked_meanwhile_and_didnt_get_yet_stands_in_nobodys_way() {
    let mut scene = Scene::new(3, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    [1, 2].into_iter().for_each(|other| scene.world.unlink(0, other));
    scene.pick(1, &["letters", "photos"]);
    scene.pull(2, 1).expect("a handoff of what the owner holds");
    assert_eq!(scene.held(2, "letters/first"), Some(blob_id(LETTER)));
    assert_eq!(scene.held(2, "photos/beach"), Some(Hash::ZERO));
}

#[test]
fn what_an_owner_wrote_in_a_folder_that_it_didnt_pick_is_handed_over() {
    let mut scene = Scene::new(3, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    [1, 2].into_iter().for_each(|other| scene.world.unlink(0, other));
    scene.write(1, "photos/own", &photo(4));
    scene.pull(2, 1).expect("a handoff of what the owner holds");
    // Though the two don't meet again.
    scene.world.unlink(1, 2);
    assert_eq!(scene.held(2, "photos/own"), Some(blob_id(&photo(4))));
}

#[test]
fn who_picks_what_a_partial_owner_lacks_is_told_so() {
    let mut scene = Scene::new(3, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    scene.world.unlink(0, 2);
    scene.pick(2, &["photos"]);
    assert_eq!(scene.pull(2, 1), Err(Code::DATA_UNAVAILABLE));
    assert_eq!(scene.world.session(1, scene.session).map(|it| it.role), Some(SessionRole::Primary));
    // What is not picked doesn't stand in the way.
    scene.pick(2, &["letters"]);
    scene.pull(2, 1).expect("a handoff");
    // And who has met the holder takes all.
    let mut scene = Scene::new(3, None);
    scene.pick(1, &["letters"]);
    scene.pull(1, 0).expect("a handoff");
    scene.follow(2, 0);
    scene.arrives(2, "photos/beach", &photo(2));
    scene.pull(2, 1).expect("a handoff of all");
}

#[test]
fn on_a_link_below_7_all_comes_before_the_handoff() {
    for generation in [Generation::V1_4, Generation::V1_7, Generation::V2] {
        let mut scene = Scene::of(2, None, generation);
        scene.pick(1, &["letters"]);
        scene.pull(1, 0).expect("a handoff");
        assert_eq!(scene.held(1, "photos/beach"), Some(blob_id(&photo(2))), "{generation}");
    }
}

#[test]
fn an_offer_is_answered_with_a_pick_and_handed_back_whole() {
    let mut scene = Scene::new(2, None);
    scene.pick(1, &["letters"]);
    scene.push(0, 1);
    assert_eq!(scene.held(1, "photos/beach"), Some(Hash::ZERO));
    scene.write(1, "letters/answer", b"Dear me");
    // Who handed over holds the photos still, so nothing is lacking there.
    scene.push(1, 0);
    assert_eq!(scene.held(0, "photos/beach"), Some(blob_id(&photo(2))));
    assert_eq!(scene.held(0, "letters/answer"), Some(blob_id(b"Dear me")));
    assert!(scene.elsewhere(0).is_empty());
}

#[test]
fn who_picks_less_while_content_comes_gets_no_more_of_it() {
    let mut scene = Scene::new(2, None);
    let photos: Vec<String> = (0..90).map(|at| format!("photos/{at}")).collect();
    photos.iter().zip(10..).for_each(|(path, seed)| scene.write(0, path, &photo(seed)));
    scene.follow(1, 0);
    scene.arrives(1, "photos/0", &photo(10));
    let session = scene.session;
    let here = |scene: &mut Scene| {
        let state = scene.world.session(1, session).expect("a session");
        state.files.values().filter(|blob| **blob != Hash::ZERO).count()
    };
    scene.pick(1, &["letters"]);
    let then = here(&mut scene);
    scene.world.run_for(MINUTE);
    // What was asked for comes, and may be used.
    assert!(then < 60 && here(&mut scene) <= then + 20, "{then}, then {}", here(&mut scene));
    assert_eq!(scene.held(1, "letters/first"), Some(blob_id(LETTER)));
}

#[test]
fn who_stands_by_for_all_at_an_owner_that_holds_a_part_gets_that_once() {
    let mut scene = Scene::new(3, None);
    scene.pick(0, &["letters"]);
    scene.follow(1, 0);
    scene.arrives(1, "letters/first", LETTER);
    // The owner leaves this out. The third device hears of the session, and doesn't meet the writer.
    scene.write(1, "photos/mountain", &photo(3));
    scene.world.unlink(1, 2);
    let (session, third) = (scene.session, scene.world.id(2));
    scene.world.set_users(Users::ABSENT);
    scene.world.command(0, Command::Initiate { session, to: third, timeout_us: PATIENCE }).expect("an offer");
    scene.world.run_for(1_000_000);
    scene.world.command(0, Command::CancelHandoff { session }).expect("a handoff that is withdrawn");
    scene.world.run_for(MINUTE);
    scene.world.command(2, Command::StandBy { session, limit: 10_000_000 }).expect("a session to stand by for");
    let stood = |world: &World<LocalDevice>| {
        let bytes = |event: &Event| match event {
            Event::StoodBy { bytes, .. } => Some(*bytes),
            _ => None,
        };
        world.events(2).iter().filter_map(|(_, event)| bytes(event)).collect::<Vec<_>>()
    };
    scene.world.run_for(60 * MINUTE);
    assert_eq!(stood(&scene.world).len(), 1, "what the owner holds is here");
    let asked = |world: &World<LocalDevice>| world.trace().iter().filter(|line| line.contains(" GET")).count();
    let before = asked(&scene.world);
    scene.world.run_for(60 * MINUTE);
    assert_eq!(asked(&scene.world), before, "and nothing is asked for again");
}

#[test]
fn ho_standby_1_only_who_is_likely_next_stands_by() {
    let mut scene = Scene::new(3, None);
    scene.pull(1, 0).expect("a handoff");
    // The third device hears of the session, and doesn't get it. Whose it was is likely to be next.
    let (session, third) = (scene.session, scene.world.id(2));
    scene.world.set_users(Users::ABSENT);
    scene.world.command(1, Command::Initiate { session, to: third, timeout_us: PATIENCE }).expect("an offer");
    scene.world.run_for(1_000_000);
    scene.world.command(1, Command::CancelHandoff { session }).expect("a handoff that is withdrawn");
    scene.world.command(2, Command::StandBy { session, limit: 10_000_000 }).expect("a session to stand by for");
    scene.world.run_for(MINUTE);
    assert!(!scene.world.events(2).iter().any(|(_, event)| matches!(event, Event::StoodBy { .. })));
    assert_eq!(scene.held(2, "photos/beach"), None);
}

#[test]
fn what_is_chosen_to_go_along_while_an_offer_waits_counts() {
    let mut scene = Scene::new(2, None);
    let (session, to) = (scene.session, scene.world.id(1));
    scene.world.set_users(Users::ABSENT);
    scene.world.command(0, Command::Initiate { session, to, timeout_us: PATIENCE }).expect("an offer");
    scene.world.run_for(1_000_000);
    let offers = |world: &World<LocalDevice>| world.trace().iter().filter(|line| line.contains(" OFFER ")).count();
    let once = offers(&scene.world);
    for _ in 0..2 {
        let letters = Pick::new([Pick::folder(&session, "letters")]).expect("a folder");
        let chosen =
            scene.world.drive(0, |device, now| device.drive(now, |core| core.take_along(now, session, letters)));
        chosen.expect("it is up").expect("a choice");
        scene.world.run_for(1_000_000);
        // A choice that changes nothing isn't told.
        assert_eq!(offers(&scene.world), 2 * once);
    }
    let offered = |(_, event): &(_, Event)| match event {
        Event::HandoffRequest { token, .. } => Some(*token),
        _ => None,
    };
    let tokens: Vec<_> = scene.world.events(1).iter().filter_map(offered).collect();
    let [token] = tokens[..] else { panic!("the user is asked once, not {}", tokens.len()) };
    scene.world.command(1, Command::Accept { token }).expect("an acceptance");
    let owns =
        |world: &mut World<LocalDevice>| world.session(1, session).is_some_and(|it| it.role == SessionRole::Primary);
    assert!(scene.world.run_until(PATIENCE, owns), "a handoff");
    assert_eq!(scene.held(1, "letters/first"), Some(blob_id(LETTER)));
    assert_eq!(scene.held(1, "photos/beach"), Some(Hash::ZERO), "it stays behind");
    scene.arrives(1, "photos/beach", &photo(2));
}

#[test]
fn what_is_removed_while_content_comes_has_nothing_else_asked_for_twice() {
    let mut scene = Scene::new(2, None);
    scene.follow(1, 0);
    scene.arrives(1, "photos/beach", &photo(2));
    scene.world.unlink(0, 1);
    let photos: Vec<String> = (0..90).map(|at| format!("photos/{at}")).collect();
    photos.iter().zip(10..).for_each(|(path, seed)| scene.write(0, path, &photo(seed)));
    scene.world.run_for(MINUTE);
    scene.world.link(0, 1);
    scene.arrives(1, "photos/0", &photo(10));
    let lacking = scene.elsewhere(1);
    assert!(lacking.len() > 40, "content is on its way: {}", lacking.len());
    let (session, removed) = (scene.session, lacking.last().expect("a file").0.clone());
    scene.world.command(0, Command::Remove { session, path: removed.clone() }).expect("a file that is removed");
    photos.iter().zip(10..).filter(|(path, _)| **path != removed).for_each(|(path, seed)| {
        scene.arrives(1, path, &photo(seed));
    });
    assert_eq!(scene.held(1, &removed), None);
    assert_eq!(asked_twice(&scene.world), 0, "bytes that were asked for twice");
}

/// How many bytes were asked for again, of all content.
pub(crate) fn asked_twice(world: &World<LocalDevice>) -> u64 {
    let (mut asked, mut twice) = (BTreeSet::new(), 0);
    for line in world.trace() {
        assert!(!line.contains(" RANGES "), "the rest of a content that was begun before: {line}");
        // GET req 7 abcd, 150000 bytes
        let Some((_, got)) = line.split_once(" GET req ") else { continue };
        let (_, what) = got.split_once(' ').expect("a blob");
        let (blob, len) = what.split_once(", ").expect("a length");
        if !asked.insert(blob.to_owned()) {
            twice += len.trim_end_matches(" bytes").parse::<u64>().expect("a length");
        }
    }
    twice
}

/// More than a chunk.
pub(crate) fn photo(seed: u8) -> Vec<u8> {
    (0..150_000_u32).map(|at| (at % 251) as u8 ^ seed).collect()
}

pub(crate) struct Scene {
    pub(crate) world: World<LocalDevice>,
    pub(crate) session: SessionId,
}

impl Scene {
    /// The user of device 1 accepts what was offered there, and it becomes the owner.
    pub(crate) fn accepts(&mut self) {
        let offered = |event: &Event| match event {
            Event::HandoffRequest { token, .. } => Some(*token),
            _ => None,
        };
        let token = self.world.events(1).iter().find_map(|(_, event)| offered(event)).expect("an offer");
        self.world.command(1, Command::Accept { token }).expect("an acceptance");
        let session = self.session;
        let owns = |world: &mut World<LocalDevice>| {
            world.session(1, session).is_some_and(|it| it.role == SessionRole::Primary)
        };
        assert!(self.world.run_until(PATIENCE, owns), "a handoff");
    }

    /// The first of so many devices owns a session with letters and photos; all are linked.
    pub(crate) fn new(devices: usize, off: Option<Clause>) -> Scene {
        Scene::of(devices, off, Generation::V7)
    }

    pub(crate) fn of(devices: usize, off: Option<Clause>, generation: Generation) -> Scene {
        let mut world = World::local(Options::calm(7, 10_000, 1_000));
        world.add(devices, |_, setup| {
            setup.without = off;
            setup.generation = generation;
            setup.pulls = segue_proto::Policy::Allow;
        });
        let members: Vec<usize> = (1..devices).collect();
        let session = create(&mut world, 0, &members);
        world.allow_pulls(session);
        world.link_all();
        world.run_for(1_000_000);
        let mut scene = Scene { world, session };
        scene.write(0, "letters/first", LETTER);
        scene.write(0, "photos/beach", &photo(2));
        scene
    }

    pub(crate) fn write(&mut self, node: usize, path: &str, content: &[u8]) {
        let (session, path) = (self.session, path.to_owned());
        let content = content.to_vec();
        self.world.command(node, Command::WriteFile { session, path, content }).expect("a file that is written");
        self.world.run_for(100_000);
    }

    pub(crate) fn pick(&mut self, node: usize, folders: &[&str]) {
        let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
        self.world.command(node, Command::Pick { session: self.session, folders }).expect("a pick");
    }

    pub(crate) fn follow(&mut self, node: usize, from: usize) {
        let from = self.world.id(from);
        self.world.command(node, Command::Follow { session: self.session, from }).expect("a session to follow");
    }

    pub(crate) fn pull(&mut self, node: usize, from: usize) -> Result<Hash, Code> {
        let (session, from) = (self.session, self.world.id(from));
        self.world.command(node, Command::Request { session, from, timeout_us: PATIENCE }).expect("a pull");
        let start = self.world.events(node).len();
        let resolved = |world: &mut World<LocalDevice>| result(world, node, start).is_some();
        assert!(self.world.run_until(2 * PATIENCE, resolved), "the end of a pull");
        result(&self.world, node, start).expect("its result")
    }

    pub(crate) fn push(&mut self, node: usize, to: usize) {
        let (session, target) = (self.session, self.world.id(to));
        self.world.command(node, Command::Initiate { session, to: target, timeout_us: PATIENCE }).expect("a push");
        let owns = |world: &mut World<LocalDevice>| {
            world.session(to, session).is_some_and(|it| it.role == SessionRole::Primary)
        };
        assert!(self.world.run_until(2 * PATIENCE, owns), "the end of a push");
        self.world.run_for(1_000_000);
    }

    pub(crate) fn held(&mut self, node: usize, path: &str) -> Option<Hash> {
        self.world.session(node, self.session)?.files.get(path).copied()
    }

    pub(crate) fn arrives(&mut self, node: usize, path: &str, content: &[u8]) {
        let (session, hash) = (self.session, blob_id(content));
        let here = |world: &mut World<LocalDevice>| {
            world.session(node, session).is_some_and(|it| it.files.get(path) == Some(&hash))
        };
        assert!(self.world.run_until(PATIENCE, here), "{path}");
    }

    pub(crate) fn elsewhere(&mut self, node: usize) -> Vec<(String, Vec<segue_proto::wire::DeviceId>)> {
        let device = self.world.device(node).expect("a device that runs");
        let found = device.endpoint().held_elsewhere(&self.session);
        found.into_iter().map(|it| (it.entry.path.to_string(), it.holders)).collect()
    }
}

fn result(world: &World<LocalDevice>, node: usize, start: usize) -> Option<Result<Hash, Code>> {
    world.events(node).iter().skip(start).find_map(|(_, event)| match event {
        Event::HandoffResolved { result, .. } => Some(*result),
        _ => None,
    })
}

#[test]
fn a_choice_that_changes_too_often_to_be_told_does_not_end_the_handoff() {
    let mut scene = Scene::new(2, None);
    let (session, to) = (scene.session, scene.world.id(1));
    scene.world.set_users(Users::ABSENT);
    scene.world.command(0, Command::Initiate { session, to, timeout_us: PATIENCE }).expect("an offer");
    scene.world.run_for(1_000_000);
    // More than a target takes in a minute (HO-OFFER-4).
    for round in 0..=MAX_OFFERS {
        let folders: &[&str] = if round % 2 == 0 { &["letters"] } else { &["letters", "photos"] };
        let chosen = Pick::new(folders.iter().map(|folder| Pick::folder(&session, folder))).expect("folders");
        let told = scene.world.drive(0, |device, now| device.drive(now, |core| core.take_along(now, session, chosen)));
        told.expect("it is up").expect("a choice");
        scene.world.run_for(1_000_000);
    }
    scene.accepts();
}
