//! A service that demands accounts.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::limits::MAX_OFFERS;
use segue_proto::wire::{BoxId, DeviceId, Exts, Kind, LoggedIn, PartId, SessionId, Watch};
use segue_proto::{Clause, Code, Event, Hosted, Instant, Rules, SessionRole, Ticket};
use segue_service::{Allowance, Claim, Directory, Memory, Policy, Quota, Service, Tokens};

use crate::util::{LOG, World};

const EXCLUSIVE: u16 = 5;
const MINUTE: u64 = 60_000_000;

/// Takes a token that is the account's name and when it ends, in seconds of the world's clock, as in `alice 90`.
#[derive(Debug)]
struct Plain;

impl Tokens for Plain {
    fn judge(&self, token: &[u8], unix_ms: u64) -> Result<Claim, String> {
        let text = std::str::from_utf8(token).map_err(|why| why.to_string())?;
        let (account, end) = text.split_once(' ').ok_or("it has two words")?;
        let until = end.parse::<u64>().map_err(|why| why.to_string())? * 1_000;
        if unix_ms < until { Ok(Claim { account: account.into(), until }) } else { Err("it expired".into()) }
    }
}

fn policy() -> Policy {
    Policy { tokens: Some(Box::new(Plain)), ..Policy::default() }
}

fn world(count: usize, rules: Rules, policy: Policy) -> World {
    let mut world = World::with_rules(count, Quota::default(), rules);
    world.service.set_policy(policy).unwrap();
    world
}

impl World {
    fn id(&self, at: usize) -> DeviceId {
        self.devices[at].id
    }

    /// A device has a token from now on.
    fn holds(&mut self, at: usize, token: &str) {
        let host = self.id(0);
        self.devices[at].core.login(self.now, host, token.as_bytes()).unwrap();
        self.settle();
    }

    /// How the device's last login ended.
    fn last_login(&self, at: usize) -> Option<Result<LoggedIn, Code>> {
        let login = |event: &Event| match event {
            Event::Login { result, .. } => Some(result.clone()),
            _ => None,
        };
        self.devices[at].events.iter().rev().find_map(login)
    }

    fn account(&self, at: usize) -> Result<String, Code> {
        self.last_login(at).expect("a login").map(|it| it.account.to_string())
    }

    /// Whether a device that comes for a moment has exchanged everything.
    fn exchanges(&mut self, at: usize) -> bool {
        self.link(at, 0);
        let done = self.devices[at].core.is_exchanged(&self.id(0));
        self.unlink(at);
        done
    }

    fn refused(&self, at: usize) -> BTreeSet<Code> {
        let code = |event: &Event| match event {
            Event::Refused { code, .. } => Some(*code),
            _ => None,
        };
        self.devices[at].events.iter().filter_map(code).collect()
    }
}

#[test]
fn service_login_1_a_device_under_no_account_puts_and_fetches_nothing() {
    let mut it = world(2, Rules::ALL, policy());
    it.session(&[2]);
    assert!(!it.exchanges(1));
    assert_eq!(it.account(1), Err(Code::SVC_LOGIN));
    assert_eq!(it.service.counts().put, 0);
    // Told so it asks for nothing more (SERVICE-LOGIN-8): one request was refused, the first.
    it.link(1, 0);
    let refused = it.service.counts().locked_out;
    it.wait(300);
    assert_eq!(it.service.counts().locked_out, refused);
    assert!(world(1, Rules::without(Clause::SERVICE_LOGIN_1), policy()).exchanges(1));
}

#[test]
fn service_login_7_a_token_lets_a_device_in_as_its_link_begins() {
    let mut it = world(2, Rules::ALL, policy());
    it.session(&[2]);
    it.holds(1, "alice 900");
    assert!(it.exchanges(1));
    assert_eq!(it.account(1).as_deref(), Ok("alice"));
    assert!(!it.refused(1).contains(&Code::SVC_LOGIN), "it logged in before it asked");
    // A device that is locked out goes on as soon as it has a token.
    it.link(2, 0);
    assert!(it.devices[2].core.is_locked_out(&it.id(0)));
    it.holds(2, "alice 900");
    assert!(it.devices[2].core.is_exchanged(&it.id(0)), "{:?}", it.devices[2].events);
}

#[test]
fn service_login_8_what_was_asked_before_the_login_says_nothing_of_it() {
    let mut it = world(1, Rules::ALL, policy());
    it.link_unserved(1, 0);
    it.holds(1, "alice 900");
    let ended: Vec<_> = it.devices[1].events.iter().filter(|event| matches!(event, Event::Login { .. })).collect();
    assert!(matches!(ended[..], [Event::Login { result: Ok(_), .. }]), "{ended:?}");
    assert!(it.devices[1].core.is_exchanged(&it.id(0)));
}

#[test]
fn service_login_2_a_token_that_is_not_valid_changes_nothing() {
    for (rules, right) in [(Rules::ALL, false), (Rules::without(Clause::SERVICE_LOGIN_2), true)] {
        let mut it = world(1, rules, policy());
        it.holds(1, "alice 0");
        assert_eq!(it.exchanges(1), right, "an expired token");
    }
    let mut it = world(2, Rules::ALL, policy());
    it.holds(1, "alice 900");
    assert!(it.exchanges(1));
    // Whom it was let in under stays, also against a token of somebody else.
    for token in ["nonsense", "alice 0", "bob 900", "a\u{7}b 900", " 900"] {
        it.holds(1, token);
        assert!(it.exchanges(1), "{token}");
        assert_eq!(it.account(1), Err(Code::SVC_TOKEN), "{token}");
    }
    it.holds(1, "");
    assert!(it.exchanges(1));
    assert_eq!(it.account(1).as_deref(), Ok("alice"));
}

#[test]
fn service_login_3_a_device_that_was_let_in_needs_no_token_again() {
    let visits = |rules, policy: fn() -> Policy| {
        let mut it = world(1, rules, policy());
        it.holds(1, "alice 900");
        assert!(it.exchanges(1));
        let host = it.id(0);
        it.devices[1].core.forget_login(&host);
        let first = it.exchanges(1);
        it.restart_host(0, None);
        it.service.set_policy(policy()).unwrap();
        let restarted = it.exchanges(1);
        it.wait(900);
        (first, restarted, it.exchanges(1))
    };
    assert_eq!(visits(Rules::ALL, policy), (true, true, true));
    let ends = || Policy { ends_with_token: true, ..policy() };
    assert_eq!(visits(Rules::ALL, ends), (true, true, false));
    assert_eq!(visits(Rules::without(Clause::SERVICE_LOGIN_3), policy), (false, false, false));
}

#[test]
fn who_logs_in_again_shows_the_same_token() {
    let mut it = world(2, Rules::ALL, policy());
    let host = it.id(0);
    it.holds(1, "alice 900");
    (1..=2).for_each(|at| it.link(at, 0));
    let logins = |it: &World, at: usize| {
        let let_in = |event: &&Event| matches!(event, Event::Login { result: Ok(_), .. });
        it.devices[at].events.iter().filter(let_in).count()
    };
    let again = |it: &mut World, at: usize| {
        it.devices[at].core.log_in_again(it.now, host);
        it.settle();
    };
    assert_eq!([logins(&it, 1), logins(&it, 2)], [1, 0]);
    (1..=2).for_each(|at| again(&mut it, at));
    assert_eq!([logins(&it, 1), logins(&it, 2)], [2, 0], "one that has no token");
    assert_eq!(it.account(1).as_deref(), Ok("alice"));
    // Once it is forgotten there is none any more.
    it.devices[1].core.forget_login(&host);
    again(&mut it, 1);
    assert_eq!(logins(&it, 1), 2);
}

#[test]
fn a_login_ends_in_mid_link_with_its_token() {
    let mut it = world(2, Rules::ALL, Policy { ends_with_token: true, ..policy() });
    let session = it.session(&[2]);
    it.holds(1, "alice 20");
    it.link(1, 0);
    let ttl = it.last_login(1).unwrap().unwrap().ttl_ms;
    assert!((1..=20_000).contains(&ttl), "{ttl}");
    let put = it.service.counts().put;
    it.wait(25);
    it.write(1, session, 2, LOG, b"late");
    assert_eq!(it.service.counts().put, put, "nothing is put any more");
    assert_eq!(it.account(1), Err(Code::SVC_LOGIN));
    it.holds(1, "alice 900");
    assert!(it.devices[1].core.is_exchanged(&it.id(0)), "{:?}", it.devices[1].events);
    assert!(it.service.counts().put > put);
}

#[test]
fn a_login_that_ended_is_told_once_however_many_requests_are_on_their_way() {
    let mut it = world(2, Rules::ALL, Policy { ends_with_token: true, ..policy() });
    let sessions = [(); 3].map(|()| it.session(&[2]));
    it.holds(1, "alice 20");
    it.link(1, 0);
    it.now = it.now.after(25_000_000);
    it.devices[1].events.clear();
    for session in sessions {
        let part = PartId::new([2; 16]);
        it.devices[1].core.write(it.now, 1_700_000_000_000, session, part, LOG, b"late".to_vec()).unwrap();
    }
    it.settle();
    it.wait(1);
    let told = it.devices[1].events.iter().filter(|event| matches!(event, Event::Login { .. })).count();
    let refused = it.service.counts().locked_out;
    assert_eq!((told, refused), (1, 3));
}

#[test]
fn the_operator_lets_devices_in_and_takes_them_out() {
    let mut it = world(2, Rules::ALL, policy());
    let listed = |at: usize, it: &World| BTreeMap::from([(it.id(at), "staff".to_owned())]);
    it.service.set_policy(Policy { devices: listed(1, &it), ..policy() }).unwrap();
    assert!(it.exchanges(1), "by the operator's word alone");
    assert!(!it.exchanges(2));
    it.holds(1, "alice 900");
    assert!(it.exchanges(1));
    assert_eq!(it.account(1), Err(Code::SVC_TOKEN), "a device is under one account");
    // Nobody says so any more: it comes under another account.
    it.service.set_policy(policy()).unwrap();
    assert!(it.exchanges(1));
    assert_eq!(it.account(1).as_deref(), Ok("alice"));
    it.service.set_policy(Policy { removed: BTreeSet::from([it.id(1)]), ..policy() }).unwrap();
    assert!(!it.exchanges(1), "removed, whatever token it has");
    assert_eq!(it.service.directory().bound(&it.id(1)).unwrap(), None);
}

#[test]
fn an_account_has_so_many_devices() {
    let one = |ends_with_token| Policy {
        usual: Allowance { devices: 1, ..Allowance::default() },
        ends_with_token,
        ..policy()
    };
    for ends in [false, true] {
        let mut it = world(2, Rules::ALL, one(ends));
        it.holds(1, "alice 100");
        assert!(it.exchanges(1));
        it.holds(2, "alice 900");
        assert!(!it.exchanges(2));
        it.wait(120);
        assert_eq!(it.exchanges(2), ends, "a login that ended makes room");
    }
}

#[test]
fn service_login_2_a_login_that_ended_stands_in_the_way_of_no_other_account() {
    let mut it = world(1, Rules::ALL, Policy { ends_with_token: true, ..policy() });
    it.holds(1, "alice 100");
    assert!(it.exchanges(1));
    // While it lasts, the device is alice's.
    it.holds(1, "bob 900");
    it.exchanges(1);
    assert_eq!(it.account(1), Err(Code::SVC_TOKEN));
    it.wait(120);
    assert!(it.exchanges(1));
    assert_eq!(it.account(1).as_deref(), Ok("bob"));
}

#[test]
fn service_login_2_an_account_with_fewer_places_than_before_keeps_its_devices() {
    let with =
        |devices| Policy { usual: Allowance { devices, ..Allowance::default() }, ends_with_token: true, ..policy() };
    let mut it = world(4, Rules::ALL, with(3));
    for at in 1..=3 {
        it.holds(at, "alice 300");
        assert!(it.exchanges(at));
    }
    it.service.set_policy(with(1)).unwrap();
    for at in 1..=3 {
        it.holds(at, "alice 900");
        assert!(it.exchanges(at));
        assert_eq!(it.account(at).as_deref(), Ok("alice"), "it asks for no further place");
    }
    it.wait(300);
    assert!((1..=3).all(|at| it.exchanges(at)));
    it.holds(4, "alice 900");
    assert!(!it.exchanges(4));
}

#[test]
fn a_login_that_changes_nothing_costs_the_disk_nothing() {
    let mut it = world(1, Rules::ALL, policy());
    it.holds(1, "alice 900");
    for _ in 0..5 {
        assert!(it.exchanges(1));
        assert_eq!(it.account(1).as_deref(), Ok("alice"));
    }
    assert_eq!(it.service.directory().bound, 1);
}

#[test]
fn who_is_locked_out_costs_no_look_at_what_others_wait_for() {
    let ask = |from: u16, to: u32| Watch {
        req: to,
        of: BoxId::new([&[0; 26][..], &from.to_be_bytes(), &to.to_be_bytes()].concat().try_into().unwrap()),
        after: 0,
        ext: Exts::empty(),
    };
    let device = |at: u16| DeviceId::new([&[7; 30][..], &at.to_be_bytes()].concat().try_into().unwrap());
    let mut ticket = 0;
    let mut request = |from, message| {
        ticket += 1;
        Hosted::Request { ticket: Ticket(ticket), from, message }
    };
    let now = Instant::from_micros(1_000_000);
    // How long it takes to turn strangers away, beside so many that wait.
    let mut lasts = |waiting: u32| {
        let mut service = Service::new(Memory::default(), Quota::default());
        let devices = (0..10).map(|at| (device(at), "alice".to_owned())).collect();
        service.set_policy(Policy { devices, ..policy() }).unwrap();
        for from in 0..10 {
            let asked = (0..waiting).map(|to| request(device(from), ask(from, to).into())).collect();
            assert!(service.handle(now, asked).unwrap().answers.is_empty());
        }
        let strangers = (0..2_000).map(|at| request(device(100 + at), ask(100, 0).into())).collect();
        let start = std::time::Instant::now();
        assert_eq!(service.handle(now, strangers).unwrap().answers.len(), 2_000);
        start.elapsed()
    };
    let few = (0..3).map(|_| lasts(1)).min().expect("a time");
    let many = (0..3).map(|_| lasts(2_000)).min().expect("a time");
    assert!(many < few * 20, "{few:?} beside ten, {many:?} beside 20,000");
}

#[test]
fn a_stranger_with_bad_tokens_doesnt_fill_the_operators_log() {
    let mut it = world(40, Rules::ALL, policy());
    for at in 1..=40 {
        it.holds(at, "nonsense");
        it.link(at, 0);
    }
    assert!((2..=10).contains(&it.logged.len()), "{:?}", it.logged);
    it.wait(120);
    it.holds(1, "more nonsense");
    it.link(1, 0);
    let last = it.logged.last().and_then(|(_, told)| told.clone().err()).expect("a refusal");
    assert!(last.contains("30 more"), "{last}");
    // Who is let in is always told.
    for at in 1..=40 {
        it.holds(at, "alice 900");
        it.link(at, 0);
    }
    assert!(it.logged.iter().filter(|(_, told)| told.is_ok()).count() >= 40);
}

#[test]
fn service_login_6_the_devices_of_an_account_share_its_room() {
    let puts = |rules| {
        let usual = Allowance { bytes: 20_000, ..Allowance::default() };
        let mut it = world(3, rules, Policy { usual, ..policy() });
        let session = it.session(&[2, 3]);
        for (at, token) in [(1, "alice 900"), (2, "alice 900"), (3, "bob 900")] {
            it.holds(at, token);
        }
        it.link(1, 2);
        it.unlink(1);
        it.link(1, 0);
        it.write(1, session, 2, LOG, &[1; 12_000]);
        assert!(!it.refused(1).contains(&Code::LIMIT_QUOTA));
        it.unlink(1);
        it.write(2, session, 2, LOG, &[2; 12_000]);
        it.link(2, 0);
        it.unlink(2);
        it.link(3, 0);
        it.write(3, session, 2, LOG, &[3; 12_000]);
        assert!(!it.refused(3).contains(&Code::LIMIT_QUOTA), "another account has its own");
        let free = it.last_login(1).unwrap().unwrap().free;
        assert!(free <= 20_000, "{free}");
        it.refused(2).contains(&Code::LIMIT_QUOTA)
    };
    assert!(puts(Rules::ALL));
    assert!(!puts(Rules::without(Clause::SERVICE_LOGIN_6)));
}

#[test]
fn service_login_6_the_devices_of_an_account_put_as_fast_as_one() {
    let waits = |rules| {
        let mut it = World::with_rules(2, Quota { rate: 100, burst: 12_000, ..Quota::default() }, rules);
        it.service.set_policy(policy()).unwrap();
        let session = it.session(&[2]);
        it.link(1, 2);
        it.unlink(1);
        for at in [1, 2] {
            it.holds(at, "alice 900");
            it.link(at, 0);
            it.write(at, session, 2, LOG, &[at as u8; 7_000]);
            it.unlink(at);
        }
        assert!(!it.refused(1).contains(&Code::LIMIT_QUOTA));
        it.refused(2).contains(&Code::LIMIT_QUOTA)
    };
    assert!(waits(Rules::ALL));
    assert!(!waits(Rules::without(Clause::SERVICE_LOGIN_6)));
}

/// Device 1 delegated a session to the service under the account of alice; 2 is of the same account, and holds it.
fn delegated(rules: Rules) -> (World, SessionId) {
    let mut it = world(2, rules, policy());
    it.keep_custody(600, false);
    let session = it.session(&[2]);
    it.write(1, session, 1, EXCLUSIVE, b"view 1");
    it.holds(1, "alice 90000");
    it.holds(2, "alice 90000");
    it.link(1, 0);
    assert!(it.last_login(1).unwrap().unwrap().handoff);
    delegate(&mut it, session);
    assert_eq!(it.devices[1].core.session(&session).unwrap().grantor, Some(it.id(0)), "{:?}", it.devices[1].events);
    it.unlink(1);
    it.visit(2);
    (it, session)
}

fn delegate(it: &mut World, session: SessionId) {
    let host = it.id(0);
    it.devices[1].core.delegate(it.now, session, host, MINUTE).unwrap();
    it.settle();
}

/// Whether device 1 gets its session back into its own hands.
fn reclaims(it: &mut World, session: SessionId) -> bool {
    it.link(1, 0);
    it.devices[1].core.reclaim(it.now, session, MINUTE).unwrap();
    it.settle();
    it.unlink(1);
    it.devices[1].core.session(&session).unwrap().grantor == Some(it.id(1))
}

fn switched_off() -> Policy {
    let off = Allowance { handoff: false, ..Allowance::default() };
    Policy { accounts: BTreeMap::from([("alice".to_owned(), off)]), ..policy() }
}

#[test]
fn service_login_5_where_handing_over_is_off_nothing_of_it_begins_and_sync_goes_on() {
    let taken = |rules| {
        let (mut it, session) = delegated(rules);
        it.service.set_policy(switched_off()).unwrap();
        it.link(1, 0);
        it.link(2, 0);
        let (host, owner) = (it.id(0), it.id(1));
        let _ = it.devices[1].core.discover(it.now, host, &[]);
        it.devices[2].core.request_handoff(it.now, session, owner, MINUTE).unwrap();
        it.settle();
        it.write(1, session, 2, LOG, b"on");
        assert_eq!(it.root(1, session), it.root(2, session), "what is written goes by the mailbox");
        let codes = it.refused(1).into_iter().chain(it.refused(2));
        let refused = codes.filter(|code| *code == Code::SVC_FEATURE).count();
        (refused, it.devices[1].core.session(&session).unwrap().role)
    };
    assert_eq!(taken(Rules::ALL), (2, SessionRole::Primary), "DISCOVER of the one, WANT of the other");
    assert_eq!(taken(Rules::without(Clause::SERVICE_LOGIN_5)), (0, SessionRole::Secondary));
    let (mut it, session) = delegated(Rules::ALL);
    assert!(reclaims(&mut it, session));
    it.service.set_policy(switched_off()).unwrap();
    it.link(1, 0);
    assert!(!it.last_login(1).unwrap().unwrap().handoff, "the device is told");
    delegate(&mut it, session);
    assert_eq!(it.devices[1].core.session(&session).unwrap().grantor, Some(it.id(1)));
    assert!(it.refused(1).contains(&Code::SVC_FEATURE));
}

#[test]
fn service_login_4_no_session_is_locked_in() {
    type Change = fn(&World) -> Policy;
    let changes: [(&str, Change); 2] = [
        ("switched off", |_| switched_off()),
        ("removed", |it| Policy { removed: BTreeSet::from([it.id(1)]), ..policy() }),
    ];
    for (what, change) in changes {
        let (mut it, session) = delegated(Rules::ALL);
        it.service.set_policy(change(&it)).unwrap();
        assert!(reclaims(&mut it, session), "{what}: {:?}", it.devices[1].events);
        let (mut it, session) = delegated(Rules::without(Clause::SERVICE_LOGIN_4));
        it.service.set_policy(change(&it)).unwrap();
        assert!(!reclaims(&mut it, session), "{what}");
    }
}

#[test]
fn service_login_4_an_owner_whose_login_ended_keeps_its_lease() {
    let next = |rules| {
        let (mut it, session) = delegated(rules);
        it.link(1, 0);
        it.service.set_policy(Policy { removed: BTreeSet::from([it.id(1)]), ..policy() }).unwrap();
        (0..100).for_each(|_| it.wait(15));
        it.link(2, 0);
        let owner = it.id(1);
        it.devices[2].core.request_handoff(it.now, session, owner, MINUTE).unwrap();
        it.settle();
        it.devices[2].core.session(&session).unwrap().chain.last().unwrap().body().kind
    };
    assert_eq!(next(Rules::ALL), Kind::Grant.number(), "the owner is asked, though its login ended");
    assert_eq!(next(Rules::without(Clause::SERVICE_LOGIN_4)), Kind::Takeover.number());
}

#[test]
fn an_account_that_is_full_keeps_its_owner() {
    let mut it = world(2, Rules::ALL, policy());
    it.service = segue_service::Service::new(Default::default(), Quota { device_sessions: 1, ..Quota::default() });
    it.service.set_policy(policy()).unwrap();
    it.keep_custody(0, false);
    it.holds(1, "alice 900");
    it.link(1, 0);
    let (first, second) = (it.session(&[2]), it.session(&[2]));
    for session in [first, second] {
        it.write(1, session, 1, EXCLUSIVE, b"view");
        delegate(&mut it, session);
    }
    let grantors = [first, second].map(|id| it.devices[1].core.session(&id).unwrap().grantor);
    assert_eq!(grantors, [Some(it.id(0)), Some(it.id(1))]);
    assert!(it.refused(1).contains(&Code::LIMIT_QUOTA));
    it.write(1, second, 1, EXCLUSIVE, b"still the owner's to write");
}

#[test]
fn ho_offer_4_an_account_makes_so_many_offers_a_minute() {
    let refused = |rules| {
        let (mut it, session) = delegated(rules);
        it.link(1, 0);
        let to = it.id(2);
        for _ in 0..=MAX_OFFERS {
            it.devices[1].core.initiate_handoff(it.now, session, to, MINUTE).unwrap();
            it.settle();
        }
        it.refused(1).contains(&Code::LIMIT_OFFERS)
    };
    assert!(refused(Rules::ALL));
    assert!(!refused(Rules::without(Clause::HO_OFFER_4)));
}

#[test]
fn service_login_9_a_token_goes_to_its_service_alone() {
    let told = |rules| {
        let mut it = world(2, rules, policy());
        it.holds(1, "alice 900");
        it.link(1, 2);
        // A device that is no service says so.
        it.account(1).is_err_and(|code| code == Code::SERVICE_NONE)
    };
    let quiet = {
        let mut it = world(2, Rules::ALL, policy());
        it.holds(1, "alice 900");
        it.link(1, 2);
        it.last_login(1)
    };
    assert_eq!(quiet, None);
    assert!(told(Rules::without(Clause::SERVICE_LOGIN_9)));
}

#[test]
fn a_service_without_accounts_lets_in_whoever_logs_in() {
    let mut it = World::new(1, Quota::default());
    it.holds(1, "anything");
    assert!(it.exchanges(1));
    let told = it.last_login(1).unwrap().unwrap();
    assert_eq!((&*told.account, told.ttl_ms), ("", 0));
}

#[test]
fn a_token_is_not_shown() {
    let mut it = world(1, Rules::ALL, policy());
    it.holds(1, "alice 900 the secret sings");
    it.link(1, 0);
    let shown = format!("{:?} {:?}", it.devices[1].core, it.devices[1].events);
    assert!(!shown.contains("secret sings"));
    assert!(!it.devices[1].journal_holds(b"secret sings") && !it.devices[0].journal_holds(b"secret sings"));
}
