//! Interactions, word for word: who says what to whom, when, and what each application is told. They are read as examples
//! of the protocol, and a change of what devices do shows in them, whether it is meant or not.
//!
//! A transcript names devices A, B, C as the simulator does, and ids by the order in which they come up.

use std::collections::BTreeMap;

use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::SessionId;
use segue_proto::{Event, Generation, Policy};
use segue_testkit::World;
use segue_testkit::device::{AccountTerms, Command, LocalDevice, Reply, Setup};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::world::{Options, Users};

const SECOND: u64 = 1_000_000;

/// A world that is written down.
struct Scene {
    world: World<LocalDevice>,
    session: SessionId,
    /// Where the transcript begins.
    from: usize,
}

impl Scene {
    /// So many devices that trust one another, linked, in a calm world; the first owns a session.
    fn new(devices: usize, adjust: impl FnMut(usize, &mut Setup)) -> Scene {
        let mut world = World::local(Options::calm(1, 20_000, 5_000));
        world.add(devices, adjust);
        world.link_all();
        world.run_for(SECOND);
        let members: Vec<usize> = (1..devices).collect();
        let session = create(&mut world, 0, &members);
        world.allow_pulls(session);
        world.run_for(SECOND);
        let from = world.trace().len();
        Scene { world, session, from }
    }

    /// The first of three devices starts an account, and links the others into it.
    fn links_all_into_an_account(&mut self) {
        self.does(0, Command::CreateAccount { name: "first".into() });
        for at in [1, 2] {
            let Some(Reply::Invite(invite)) = self.does(at, Command::Invite { name: format!("number {at}") }) else {
                panic!("an invitation");
            };
            self.does(0, Command::AcceptLink { invite });
            let (first, other) = (self.world.id(0), self.world.id(at));
            self.does(0, Command::ConfirmLink { device: other, yes: true });
            self.does(at, Command::ConfirmLink { device: first, yes: true });
        }
    }

    /// The first is a mailbox that nobody vouches for, and keeps sessions in custody; the others use it, and never meet. The
    /// second owns a session.
    fn by_a_service(devices: usize, adjust: impl Fn(usize, &mut Setup)) -> Scene {
        let mut world = World::local(Options::calm(2, 20_000, 5_000));
        world.add(devices, |at, setup| {
            (setup.follow, setup.accept_unknown, setup.pulls) = (true, at == 0, Policy::Allow);
            adjust(at, setup);
        });
        let service = world.id(0);
        world.command(0, Command::HostCustody { lease_us: 60 * SECOND }).expect("a service");
        for at in 1..devices {
            let device = world.id(at);
            world.command(at, Command::Distrust { device: service }).expect("a word");
            world.command(at, Command::UseMailbox { mailbox: service }).expect("a mailbox");
            world.command(0, Command::Distrust { device }).expect("a word");
        }
        let members: Vec<usize> = (2..devices).collect();
        let session = create(&mut world, 1, &members);
        world.allow_pulls(session);
        let from = world.trace().len();
        Scene { world, session, from }
    }

    fn does(&mut self, device: usize, command: Command) -> Option<Reply> {
        let reply = self.world.command(device, command).ok();
        self.world.run_for(3 * SECOND);
        reply
    }

    fn writes(&mut self, device: usize, path: &str, content: &[u8]) {
        let (session, path, content) = (self.session, path.to_owned(), content.to_vec());
        self.does(device, Command::WriteFile { session, path, content });
    }

    fn appends(&mut self, device: usize, body: &str) {
        let (session, kind) = (self.session, PartKind::Log);
        let (part, body) = (named_part(&session, kind, "diary"), body.as_bytes().to_vec());
        self.does(device, Command::Write { session, part, kind: kind.number(), body, resolves: false });
    }

    fn sets(&mut self, device: usize, body: &str, resolves: bool) {
        let (session, kind) = (self.session, PartKind::Register);
        let (part, body) = (named_part(&session, kind, "title"), body.as_bytes().to_vec());
        self.does(device, Command::Write { session, part, kind: kind.number(), body, resolves });
    }

    fn views(&mut self, device: usize, view: &str) {
        let (session, bytes) = (self.session, view.as_bytes().to_vec());
        self.does(device, Command::WriteExclusive { session, bytes });
    }

    fn follows(&mut self, device: usize, from: usize) {
        let (session, from) = (self.session, self.world.id(from));
        self.does(device, Command::Follow { session, from });
    }

    fn gives(&mut self, device: usize, to: usize) {
        let (session, to) = (self.session, self.world.id(to));
        self.does(device, Command::Initiate { session, to, timeout_us: PATIENCE });
    }

    fn asks(&mut self, device: usize, from: usize) {
        let (session, from) = (self.session, self.world.id(from));
        self.does(device, Command::Request { session, from, timeout_us: PATIENCE });
    }

    /// What was offered to a device last.
    fn offered(&self, device: usize) -> Command {
        let token = self.world.events(device).iter().rev().find_map(|(_, event)| match event {
            Event::HandoffRequest { token, .. } | Event::RequestHandoff { token, .. } => Some(*token),
            _ => None,
        });
        Command::Accept { token: token.expect("somebody asks") }
    }

    fn comes(&mut self, device: usize) {
        self.world.link(device, 0);
        self.world.run_for(10 * SECOND);
    }

    fn goes(&mut self, device: usize) {
        self.world.unlink(device, 0);
        self.world.run_for(SECOND);
    }

    /// All that was said, without what keeps links alive.
    fn transcript(&self) -> String {
        let mut names = Names::default();
        (0..self.world.len()).for_each(|at| names.call(&format!("{:?}", self.world.id(at)), &letter(at)));
        names.call(&format!("{:?}", self.session), "S");
        names.call("00000000", "none");
        let lines = self.world.trace()[self.from..].iter().filter(|line| !line.contains(" PING "));
        lines.map(|line| names.read(line)).collect::<Vec<_>>().join("\n")
    }
}

fn letter(at: usize) -> String {
    char::from(b'A' + at as u8).to_string()
}

/// What ids and the numbers of requests are called.
#[derive(Default)]
struct Names {
    known: BTreeMap<String, String>,
    requests: BTreeMap<String, String>,
}

impl Names {
    fn call(&mut self, id: &str, name: &str) {
        self.known.insert(id.into(), name.into());
    }

    /// A line without what is random in it.
    fn read(&mut self, line: &str) -> String {
        let (mut out, mut word, mut before) = (String::new(), String::new(), String::new());
        for char in line.chars().chain(['\n']) {
            if char.is_ascii_alphanumeric() {
                word.push(char);
                continue;
            }
            if !word.is_empty() {
                out.push_str(&self.named(&word, &before));
                before = std::mem::take(&mut word);
            }
            out.push(char);
        }
        out.trim_end().to_owned()
    }

    fn named(&mut self, word: &str, before: &str) -> String {
        let number = word.chars().all(|char| char.is_ascii_digit());
        if before == "req" && number {
            let next = format!("r{}", self.requests.len() + 1);
            return self.requests.entry(word.to_owned()).or_insert(next).clone();
        }
        // What users compare and what they scan follows from keys.
        if before == "code" && number || word.len() > 40 {
            return "…".into();
        }
        if let Some(known) = self.known.get(word) {
            return known.clone();
        }
        let hex = word.len() >= 8 && word.chars().all(|char| matches!(char, '0'..='9' | 'a'..='f'));
        // A time in microseconds may be as long as an id.
        if !hex || number && (word.len() > 8 || before == "us") {
            return word.to_owned();
        }
        let name = format!("#{}", self.known.len());
        self.known.insert(word.to_owned(), name.clone());
        name
    }
}

#[test]
fn a_device_follows_and_is_told_what_is_written() {
    let mut it = Scene::new(2, |_, _| {});
    it.writes(0, "letter", b"Dear all");
    it.sets(0, "Notes", false);
    it.appends(0, "first");
    it.follows(1, 0);
    it.appends(1, "second");
    it.writes(1, "photo", &[7; 150_000]);
    it.views(0, "page 1");
    it.does(0, Command::Remove { session: it.session, path: "letter".into() });
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn who_wrote_apart_has_a_conflict_that_is_resolved() {
    let mut it = Scene::new(2, |_, _| {});
    it.follows(1, 0);
    it.world.unlink(0, 1);
    it.sets(0, "Notes", false);
    it.sets(1, "Diary", false);
    it.writes(0, "letter", b"Dear all");
    it.writes(1, "letter", b"Dear you");
    it.world.link(0, 1);
    it.world.run_for(3 * SECOND);
    it.sets(1, "Notes and diary", true);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_session_is_offered_accepted_and_handed_over() {
    let mut it = Scene::new(2, |_, _| {});
    it.writes(0, "letter", b"Dear all");
    it.views(0, "page 1");
    it.gives(0, 1);
    it.views(1, "page 2");
    it.gives(1, 0);
    it.does(0, Command::Close { session: it.session });
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn an_offer_is_declined_withdrawn_or_left_to_its_deadline() {
    let mut it = Scene::new(2, |_, _| {});
    it.world.set_users(Users::ABSENT);
    it.gives(0, 1);
    let Command::Accept { token } = it.offered(1) else { panic!("an offer") };
    it.does(1, Command::Reject { token, reason: Some("not now".into()) });
    it.gives(0, 1);
    it.does(0, Command::CancelHandoff { session: it.session });
    it.gives(0, 1);
    it.world.run_for(2 * PATIENCE);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_session_is_asked_for_with_and_without_a_user() {
    let mut it = Scene::new(3, |at, setup| setup.pulls = if at == 0 { Policy::Ask } else { Policy::Allow });
    it.views(0, "page 1");
    it.asks(1, 0);
    it.asks(2, 1);
    it.asks(2, 2);
    it.asks(1, 0);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn who_consented_is_granted_to_at_once() {
    let mut it = Scene::new(2, |_, _| {});
    it.follows(1, 0);
    let (session, to) = (it.session, it.world.id(0));
    it.does(1, Command::Consent { session, to, ttl_us: 60 * SECOND });
    it.views(0, "page 1");
    it.gives(0, 1);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_grant_is_sent_again_until_it_is_acknowledged() {
    let mut it = Scene::new(2, |_, setup| setup.pulls = Policy::Allow);
    it.views(0, "page 1");
    it.world.command(1, Command::Request { session: it.session, from: it.world.id(0), timeout_us: PATIENCE }).ok();
    let session = it.session;
    it.world.run_until(PATIENCE, |world| world.session(0, session).is_some_and(|state| state.pending.is_some()));
    it.world.partition(0, 1);
    it.world.run_for(8 * SECOND);
    it.world.crash_for(0, SECOND);
    it.world.heal(0, 1);
    it.world.run_for(10 * SECOND);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_session_is_taken_over_and_the_stale_owner_learns_of_it() {
    let mut it = Scene::new(2, |_, _| {});
    it.follows(1, 0);
    it.views(0, "page 1");
    it.world.unlink(0, 1);
    it.views(0, "page 2");
    it.does(1, Command::Takeover { session: it.session });
    it.views(1, "page 3");
    it.world.link(0, 1);
    it.world.run_for(3 * SECOND);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn content_that_is_picked_comes_and_the_rest_on_demand() {
    let mut it = Scene::new(2, |_, setup| setup.pulls = Policy::Allow);
    it.writes(0, "letters/first", b"Dear all");
    it.writes(0, "photos/beach", b"The beach");
    it.does(1, Command::Pick { session: it.session, folders: vec!["letters".into()] });
    it.asks(1, 0);
    it.writes(0, "photos/mountain", b"The mountain");
    it.does(1, Command::Pick { session: it.session, folders: vec![] });
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_log_is_compacted_once_all_hold_its_snapshot() {
    let mut it = Scene::new(3, |_, setup| setup.follow = true);
    it.follows(1, 0);
    it.follows(2, 0);
    (0..4).for_each(|at| it.appends(at % 2, "an entry"));
    let part = named_part(&it.session, PartKind::Log, "diary");
    it.world.unlink(0, 2);
    it.world.unlink(1, 2);
    it.does(0, Command::Compact { session: it.session, part, content: None });
    it.appends(2, "meanwhile");
    it.world.link(0, 2);
    it.world.run_for(3 * SECOND);
    it.appends(0, "behind it");
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn devices_are_linked_into_an_account_and_one_is_revoked() {
    let mut it = Scene::new(3, |_, setup| setup.follow = true);
    it.links_all_into_an_account();
    it.follows(2, 0);
    it.appends(2, "an entry");
    let device = it.world.id(2);
    it.world.command(1, Command::Revoke { device }).expect("a revoke");
    it.world.run_for(SECOND / 5);
    // Else it would dial again and again.
    [0, 1].into_iter().for_each(|at| it.world.unlink(at, 2));
    it.appends(0, "another");
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn devices_that_never_meet_exchange_by_a_mailbox() {
    let mut it = Scene::by_a_service(3, |_, _| {});
    it.appends(1, "first");
    it.writes(1, "letter", b"Dear all");
    it.writes(1, "film", &[7; 150_000]);
    it.comes(1);
    it.goes(1);
    it.comes(2);
    it.appends(2, "second");
    it.goes(2);
    it.comes(1);
    it.comes(2);
    it.appends(1, "both are here");
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_service_signs_for_an_owner() {
    let mut it = Scene::by_a_service(3, |_, _| {});
    it.comes(1);
    it.comes(2);
    it.views(1, "page 1");
    let (session, service) = (it.session, it.world.id(0));
    it.does(1, Command::Delegate { session, service, timeout_us: PATIENCE });
    it.asks(2, 1);
    it.views(2, "page 2");
    it.gives(2, 1);
    it.does(1, Command::Reclaim { session, timeout_us: PATIENCE });
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_lease_that_runs_out_leaves_the_session_to_who_asks() {
    let mut it = Scene::by_a_service(3, |_, _| {});
    it.comes(1);
    it.comes(2);
    it.views(1, "page 1");
    let (session, service) = (it.session, it.world.id(0));
    it.does(1, Command::Delegate { session, service, timeout_us: PATIENCE });
    it.goes(1);
    it.world.run_for(70 * SECOND);
    it.asks(2, 1);
    it.comes(1);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn devices_log_in_are_found_and_introduced() {
    let mut it = Scene::by_a_service(3, |_, _| {});
    let accounts = vec![AccountTerms { name: "alice".into(), token: b"open".to_vec(), ..AccountTerms::default() }];
    it.does(0, Command::DemandAccounts { accounts });
    it.comes(1);
    let (service, other, me) = (it.world.id(0), it.world.id(2), it.world.id(1));
    for at in [1, 2] {
        it.does(at, Command::Login { service, token: b"open".to_vec() });
        it.does(at, Command::MeetAt { addresses: vec![([192, 0, 2, at as u8], 4433).into()] });
    }
    it.does(1, Command::Discover { service, devices: vec![other] });
    it.does(1, Command::Introduce { service, to: other });
    it.comes(2);
    it.does(2, Command::Discover { service, devices: vec![me] });
    it.does(1, Command::Introduce { service, to: other });
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn of_two_that_ask_at_once_one_is_overtaken() {
    let mut it = Scene::new(3, |_, setup| setup.pulls = Policy::Allow);
    it.views(0, "page 1");
    let (session, from) = (it.session, it.world.id(0));
    for device in [1, 2] {
        let request = Command::Request { session, from, timeout_us: PATIENCE };
        it.world.command(device, request).expect("a wish");
    }
    it.world.run_for(30 * SECOND);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn devices_of_different_generations_get_along() {
    let speaks = [Generation::V7, Generation::V1_4, Generation::V1_7, Generation::V2];
    let mut it = Scene::new(4, |at, setup| (setup.pulls, setup.generation) = (Policy::Allow, speaks[at]));
    it.writes(0, "film", &[7; 150_000]);
    it.views(0, "page 1");
    it.asks(1, 0);
    it.gives(1, 2);
    it.asks(2, 1);
    it.gives(2, 3);
    it.asks(0, 3);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_transfer_goes_on_after_its_link_broke() {
    let mut it = Scene::new(2, |_, setup| setup.pulls = Policy::Allow);
    it.world.unlink(0, 1);
    it.writes(0, "film", &(0..400_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let mut options = Options::calm(1, 20_000, 5_000);
    options.weather.bandwidth = 500_000;
    it.world.set_options(options);
    it.world.link(0, 1);
    it.world.run_for(SECOND / 2);
    it.world.command(1, Command::Request { session: it.session, from: it.world.id(0), timeout_us: PATIENCE }).ok();
    it.world.run_for(SECOND / 2);
    it.world.unlink(0, 1);
    it.world.run_for(SECOND);
    it.world.crash_for(1, SECOND);
    it.world.link(0, 1);
    it.world.run_for(PATIENCE);
    it.asks(1, 0);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_device_stands_by() {
    let mut it = Scene::new(2, |_, _| {});
    it.writes(0, "letter", b"Dear all");
    // It was offered the session once, so that it knows of it and takes no part.
    it.world.set_users(Users::ABSENT);
    it.gives(0, 1);
    let Command::Accept { token } = it.offered(1) else { panic!("an offer") };
    it.does(1, Command::Reject { token, reason: None });
    it.does(1, Command::StandBy { session: it.session, limit: 1_000 });
    it.world.run_for(30 * SECOND);
    it.writes(0, "letter", b"Dear you");
    it.world.run_for(15 * SECOND);
    it.does(1, Command::StandBy { session: it.session, limit: 0 });
    it.writes(0, "letter", b"Dear both");
    it.world.run_for(15 * SECOND);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn what_a_revoked_device_wrote_beyond_the_cut_is_set_aside_until_it_is_taken_in() {
    let mut it = Scene::new(3, |_, setup| setup.follow = true);
    it.links_all_into_an_account();
    [1, 2].into_iter().for_each(|at| it.follows(at, 0));
    it.appends(2, "before the cut");
    it.sets(2, "Before", false);
    it.from = it.world.trace().len();
    // The first of the others learns of what it writes apart, and the one that revokes it doesn't.
    [(0, 1), (0, 2)].into_iter().for_each(|(a, b)| it.world.unlink(a, b));
    it.appends(2, "beyond the cut");
    it.sets(2, "Beyond", false);
    it.world.unlink(1, 2);
    let device = it.world.id(2);
    it.does(0, Command::Revoke { device });
    it.world.link(0, 1);
    it.world.run_for(3 * SECOND);
    let (session, part) = (it.session, named_part(&it.session, PartKind::Log, "diary"));
    let aside = it.world.device(1).map(|device| device.endpoint().set_aside(&session)).unwrap_or_default();
    let actor = aside.iter().find(|aside| aside.part == part).expect("it is set aside").actor;
    it.does(1, Command::TakeIn { session, part, actor });
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_snapshot_goes_by_a_mailbox() {
    let mut it = Scene::by_a_service(3, |_, _| {});
    it.comes(1);
    it.comes(2);
    (0..4).for_each(|at| it.appends(1 + at % 2, "an entry"));
    it.goes(2);
    it.from = it.world.trace().len();
    let part = named_part(&it.session, PartKind::Log, "diary");
    it.does(1, Command::Compact { session: it.session, part, content: None });
    it.goes(1);
    it.appends(2, "meanwhile");
    it.comes(2);
    it.comes(1);
    insta::assert_snapshot!(it.transcript());
}

#[test]
fn a_mailbox_that_is_full_refuses_and_is_asked_again() {
    let mut world = World::local(Options::calm(3, 20_000, 5_000));
    world.add(3, |at, setup| (setup.follow, setup.accept_unknown) = (true, at == 0));
    let mailbox = world.id(0);
    let (box_envelopes, box_bytes, device_bytes) = (Some(2), None, Some(100_000));
    world.command(0, Command::HostMailbox { box_envelopes, box_bytes, device_bytes, bytes: None }).expect("a mailbox");
    world.command(1, Command::Distrust { device: mailbox }).expect("a word");
    world.command(1, Command::UseMailbox { mailbox }).expect("a mailbox");
    let session = create(&mut world, 1, &[2]);
    let from = world.trace().len();
    let mut it = Scene { world, session, from };
    it.comes(1);
    it.writes(1, "film", &[7; 150_000]);
    (0..3).for_each(|_| it.appends(1, "an entry"));
    it.world.run_for(70 * SECOND);
    it.goes(1);
    insta::assert_snapshot!(it.transcript());
}
