//! Devices that never meet, and of which some picked what they want: what one says to hold is here, and what it wants comes
//! by the service (spec sections 7.15 and 9.5), in virtual time.

use segue_proto::limits::{FOLLOWER_WAIT, MAX_TAKEN};
use segue_proto::wire::SessionId;
use segue_proto::wire::hash::blob_id;
use segue_proto::{Event, Generation, SessionRole};
use segue_testkit::device::{Command, LocalDevice, Setup};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Options, World};

pub(crate) const SERVICE: usize = 0;
pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const LETTER: &[u8] = b"Dear all";
pub(crate) const PHOTO: &[u8] = b"The beach";

#[test]
fn below_7_a_device_owns_by_a_service_once_all_content_is_here_whatever_it_picked() {
    let mut scene = Scene::new(3, |at, setup| {
        if at == 2 {
            setup.generation = Generation::V2;
        }
    });
    scene.pick(2, &["letters"]);
    scene.link([1, 2]);
    scene.delegate(1);
    scene.runs(10 * SECOND);
    // What isn't picked doesn't come before it is needed.
    assert!(!scene.holds(2, "photos/beach", PHOTO));
    let (session, from) = (scene.session, scene.world.id(1));
    scene.world.command(2, Command::Request { session, from, timeout_us: PATIENCE }).expect("a pull");
    let active = |world: &mut World<LocalDevice>| {
        world.events(2).iter().any(|(_, event)| matches!(event, Event::Activated { .. }))
    };
    assert!(scene.world.run_until(2 * PATIENCE, active), "an owner");
    assert!(scene.holds(2, "letters/first", LETTER));
    assert!(scene.holds(2, "photos/beach", PHOTO), "it said so in its WANT");
    // From then on it goes by what is picked again.
    scene.write(2, "letters/second", b"Dear you");
    scene.runs(10 * SECOND);
    scene.write(1, "photos/mountain", b"The mountain");
    scene.runs(60 * SECOND);
    assert!(!scene.holds(2, "photos/mountain", b"The mountain"));
}

#[test]
fn at_7_a_device_owns_by_a_service_what_it_picked() {
    let mut scene = Scene::new(3, |_, _| {});
    scene.pick(2, &["letters"]);
    scene.link([1, 2]);
    scene.delegate(1);
    let (session, from) = (scene.session, scene.world.id(1));
    scene.world.command(2, Command::Request { session, from, timeout_us: PATIENCE }).expect("a pull");
    let owns =
        |world: &mut World<LocalDevice>| world.session(2, session).is_some_and(|it| it.role == SessionRole::Primary);
    assert!(scene.world.run_until(2 * PATIENCE, owns), "an owner");
    assert!(scene.holds(2, "letters/first", LETTER));
    assert!(!scene.holds(2, "photos/beach", PHOTO));
}

#[test]
fn content_that_all_come_to_hold_while_a_piece_is_on_its_way_holds_nothing_up() {
    // The piece is in flight most of the time: at one of these moments it is.
    for pause in (0..20_000).step_by(5_000) {
        let mut scene = Scene::new(3, |_, _| {});
        scene.write(1, "film", &vec![7; 6_000_000]);
        scene.meet();
        assert!(scene.holds(2, "film", &vec![7; 6_000_000]));
        // On a new link with the mailbox nothing is known of who holds what.
        scene.link([1]);
        scene.world.unlink(1, 2);
        scene.world.unlink(1, SERVICE);
        scene.runs(SECOND);
        scene.link_for(1, 300_000 + pause);
        let before = scene.puts();
        scene.world.partition(1, SERVICE);
        scene.world.link(1, 2);
        scene.runs(5 * SECOND);
        scene.world.heal(1, SERVICE);
        scene.runs(60 * SECOND);
        assert!((1..50).contains(&(scene.puts() - before)), "{pause}");
        assert!(scene.is_exchanged(1), "{pause}");
    }
}

#[test]
fn who_lacks_content_after_all_gets_it_by_the_service() {
    let mut scene = Scene::new(3, |_, _| {});
    scene.pick(2, &["letters"]);
    scene.meet();
    scene.link([1, 2]);
    assert!(scene.is_exchanged(1) && scene.holds(2, "letters/first", LETTER));
    scene.world.unlink(1, 2);
    scene.world.unlink(2, SERVICE);
    scene.runs(SECOND);
    scene.pick(2, &[]);
    // They meet for long enough to say what is here, and for no more.
    let (session, other) = (scene.session, scene.world.id(2));
    scene.world.link(1, 2);
    let follows = |world: &mut World<LocalDevice>| {
        let device = world.device(1).expect("a device");
        device.endpoint().followers(&session).iter().any(|(device, _)| *device == other)
    };
    assert!(scene.world.run_until(PATIENCE, follows), "a follower");
    scene.world.unlink(1, 2);
    assert!(!scene.holds(2, "photos/beach", PHOTO));
    scene.link([2]);
    scene.runs(60 * SECOND);
    assert!(scene.holds(2, "photos/beach", PHOTO));
}

#[test]
fn content_that_is_named_anew_is_put_anew() {
    let film = vec![7; 300_000];
    let mut scene = Scene::new(3, |_, _| {});
    scene.write(1, "film", &film);
    scene.meet();
    scene.link([1, 2]);
    assert!(scene.is_exchanged(1) && scene.holds(2, "film", &film));
    scene.world.unlink(1, 2);
    scene.world.unlink(2, SERVICE);
    scene.runs(SECOND);
    let session = scene.session;
    scene.world.command(1, Command::Remove { session, path: "film".to_owned() }).expect("a file that is removed");
    scene.runs(10 * SECOND);
    let before = scene.puts();
    scene.write(1, "the film", &film);
    scene.runs(10 * SECOND);
    // A letter, a chunk list and five pieces: nobody said to hold it since nothing named it.
    assert_eq!(scene.puts() - before, 7);
}

#[test]
fn who_picks_more_and_reaches_the_others_by_the_service_alone_gets_it() {
    let mut scene = Scene::new(3, |_, _| {});
    scene.pick(2, &["letters"]);
    scene.meet();
    scene.link([1, 2]);
    assert!(scene.is_exchanged(1) && scene.holds(2, "letters/first", LETTER));
    let before = scene.puts();
    scene.world.unlink(1, 2);
    scene.runs(10 * SECOND);
    assert_eq!(scene.puts(), before, "nobody wants it yet");
    scene.pick(2, &[]);
    scene.runs(60 * SECOND);
    assert!(scene.holds(2, "photos/beach", PHOTO));
}

#[test]
fn a_letter_that_is_read_late_doesnt_take_back_what_was_said_over_a_link_since() {
    let mut scene = Scene::new(3, |_, _| {});
    scene.pick(2, &["letters"]);
    scene.meet();
    scene.link([1, 2]);
    scene.world.unlink(1, 2);
    scene.runs(SECOND);
    // It lacks the photo, says so by a letter, and gets it before the letter is read.
    scene.world.partition(1, SERVICE);
    scene.pick(2, &[]);
    scene.runs(SECOND);
    scene.world.unlink(2, SERVICE);
    scene.world.link(1, 2);
    scene.runs(3 * SECOND);
    assert!(scene.holds(2, "photos/beach", PHOTO));
    scene.world.heal(1, SERVICE);
    scene.runs(5 * SECOND);
    scene.world.unlink(1, 2);
    scene.runs(SECOND);
    let before = scene.puts();
    scene.write(1, "letters/second", b"Dear you");
    scene.runs(60 * SECOND);
    assert_eq!(scene.puts() - before, 2, "the letter that tells of it, and its content: the photo is there");
}

#[test]
fn a_follower_that_gets_nothing_holds_no_mailbox_up_for_ever() {
    let mut scene = Scene::of(3, &[1], |_, _| {});
    scene.pick(2, &["letters"]);
    scene.meet();
    scene.link([1]);
    assert!(!scene.is_exchanged(1), "it may still fetch it");
    scene.runs(300 * SECOND);
    assert!(scene.is_exchanged(1));
}

#[test]
fn a_follower_that_asks_over_and_over_holds_no_mailbox_up_for_ever() {
    // The first device left the film out, which the second asks it for, and the third has all that there is.
    let mut scene = Scene::of(4, &[1, 3], |_, _| {});
    scene.pick(1, &["letters", "photos"]);
    scene.world.link(1, 3);
    scene.runs(20 * SECOND);
    scene.write(3, "film", b"A film");
    scene.runs(5 * SECOND);
    scene.meet();
    assert_eq!((scene.elsewhere(1), scene.elsewhere(2), scene.elsewhere(3)), (1, 1, 0));
    scene.link([1]);
    assert!(!scene.is_exchanged(1), "it may still fetch what there is");
    scene.runs(300 * SECOND);
    assert!(scene.is_exchanged(1));
}

/// SERVICE-CONTENT-1: it asks for one content after the other, which takes longer than FOLLOWER_WAIT.
#[test]
fn a_follower_that_gets_on_is_waited_for() {
    let mut options = Options::calm(7, 10_000, 1_000);
    options.weather.bandwidth = 100_000;
    let mut scene = Scene::within(options, 3, &[1], |_, _| {});
    let photo = |at: u8| [&[at; 60_000][..], b"A photo"].concat();
    let last = 200;
    (0..=last).for_each(|at| scene.write(1, &format!("photos/{at}"), &photo(at)));
    scene.world.link(1, 2);
    scene.runs(SECOND);
    scene.link([1]);
    let before = scene.puts();
    let here = |scene: &mut Scene| (0..=last).filter(|at| scene.holds(2, &format!("photos/{at}"), &photo(*at))).count();
    scene.runs(3 * FOLLOWER_WAIT);
    assert!((1..=usize::from(last)).contains(&here(&mut scene)), "it takes longer");
    assert_eq!(scene.puts(), before, "no content is put for it");
    assert!(!scene.is_exchanged(1));
    scene.runs(3 * FOLLOWER_WAIT);
    assert_eq!(here(&mut scene), usize::from(last) + 1);
}

#[test]
fn content_that_nobody_puts_is_looked_for_until_its_file_is_removed() {
    // The first device meets the second alone, which leaves the photos out; the third has their names of the service.
    let mut scene = Scene::of(4, &[2, 3], |_, _| {});
    scene.pick(2, &["letters"]);
    scene.link([2, 3]);
    scene.meet();
    let photos: Vec<String> = (0..MAX_TAKEN).map(|at| format!("photos/{at}")).collect();
    photos.iter().for_each(|path| scene.write(1, path, path.as_bytes()));
    scene.runs(20 * SECOND);
    assert_eq!(scene.elsewhere(3), MAX_TAKEN + 1);
    let session = scene.session;
    for path in photos.into_iter().chain(["photos/beach".to_owned()]) {
        scene.world.command(1, Command::Remove { session, path }).expect("a file that is removed");
    }
    scene.runs(20 * SECOND);
    assert_eq!(scene.elsewhere(3), 0);
    scene.write(1, "letters/second", b"Dear you");
    scene.runs(60 * SECOND);
    assert!(scene.holds(3, "letters/second", b"Dear you"), "there is room to look for it");
}

pub(crate) struct Scene {
    pub(crate) world: World<LocalDevice>,
    pub(crate) session: SessionId,
}

impl Scene {
    /// A service, and devices that vouch for one another, and meet nobody but it. The first of them owns a
    /// session with letters and photos. None is linked yet.
    pub(crate) fn new(devices: usize, set: impl FnMut(usize, &mut Setup)) -> Scene {
        let mailed: Vec<usize> = (1..devices).collect();
        Scene::of(devices, &mailed, set)
    }

    /// Of which these use the service as a mailbox.
    pub(crate) fn of(devices: usize, mailed: &[usize], set: impl FnMut(usize, &mut Setup)) -> Scene {
        Scene::within(Options::calm(7, 10_000, 1_000), devices, mailed, set)
    }

    /// In a world of this kind.
    fn within(options: Options, devices: usize, mailed: &[usize], mut set: impl FnMut(usize, &mut Setup)) -> Scene {
        let mut world = World::local(options);
        world.add(devices, |at, setup| {
            setup.follow = true;
            setup.accept_unknown = at == SERVICE;
            setup.pulls = segue_proto::Policy::Allow;
            set(at, setup);
        });
        let service = world.id(SERVICE);
        world.command(SERVICE, Command::HostCustody { lease_us: 0 }).expect("a service");
        for at in 1..devices {
            world.command(at, Command::Distrust { device: service }).expect("a stranger");
            if mailed.contains(&at) {
                world.command(at, Command::UseMailbox { mailbox: service }).expect("a mailbox");
            }
            let device = world.id(at);
            world.command(SERVICE, Command::Distrust { device }).expect("a stranger");
        }
        let members: Vec<usize> = (2..devices).collect();
        let session = create(&mut world, 1, &members);
        world.allow_pulls(session);
        let mut scene = Scene { world, session };
        scene.write(1, "letters/first", LETTER);
        scene.write(1, "photos/beach", PHOTO);
        scene
    }

    pub(crate) fn link(&mut self, nodes: impl IntoIterator<Item = usize>) {
        nodes.into_iter().for_each(|at| self.world.link(at, SERVICE));
        self.runs(5 * SECOND);
    }

    /// Links the two devices with each other, so that all that is wanted goes that way.
    pub(crate) fn meet(&mut self) {
        self.world.link(1, 2);
        self.runs(20 * SECOND);
    }

    /// Links a device with the service, and lets some time pass.
    pub(crate) fn link_for(&mut self, node: usize, micros: u64) {
        self.world.link(node, SERVICE);
        self.runs(micros);
    }

    /// Whether a device takes all that it has for put.
    pub(crate) fn is_exchanged(&mut self, node: usize) -> bool {
        let service = self.world.id(SERVICE);
        self.world.device(node).is_some_and(|device| device.endpoint().is_exchanged(&service))
    }

    /// How many envelopes the service was sent.
    pub(crate) fn puts(&self) -> usize {
        self.world.trace().iter().filter(|line| line.contains(" PUT_OK")).count()
    }

    /// Of how many files a device lacks the content.
    pub(crate) fn elsewhere(&mut self, node: usize) -> usize {
        let device = self.world.device(node).expect("a device");
        device.endpoint().held_elsewhere(&self.session).len()
    }

    pub(crate) fn delegate(&mut self, owner: usize) {
        let (session, service) = (self.session, self.world.id(SERVICE));
        self.world.command(owner, Command::Delegate { session, service, timeout_us: PATIENCE }).expect("a delegate");
        self.runs(5 * SECOND);
    }

    pub(crate) fn write(&mut self, node: usize, path: &str, content: &[u8]) {
        let (session, path, content) = (self.session, path.to_owned(), content.to_vec());
        self.world.command(node, Command::WriteFile { session, path, content }).expect("a file that is written");
        self.runs(100_000);
    }

    pub(crate) fn pick(&mut self, node: usize, folders: &[&str]) {
        let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
        self.world.command(node, Command::Pick { session: self.session, folders }).expect("a pick");
    }

    pub(crate) fn runs(&mut self, micros: u64) {
        self.world.run_for(micros);
    }

    pub(crate) fn holds(&mut self, node: usize, path: &str, content: &[u8]) -> bool {
        let state = self.world.session(node, self.session);
        state.is_some_and(|state| state.files.get(path) == Some(&blob_id(content)))
    }
}
