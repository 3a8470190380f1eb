//! The model: three devices run the core's own chain and handoff code under every order of messages, losses,
//! repetitions, crashes, takeovers and a restored store, until nothing new can happen.
//!
//! Signatures are left out (a proven object is assumed), bulk takes no time, and nonces are constant; everything else
//! is the code that an endpoint runs.

mod data;
mod laws;
mod promises;
mod roster;
mod service;
mod steps;
mod users;
mod wishes;
mod world;

use data::Data;
use segue_proto::handoff::Session;
use segue_proto::wire::{Exts, Hash, Head, Kind, List, Message, Proven, Record};
use segue_proto::{Clause, Rules, SessionRole};
use stateright::{Checker, Model, Property};
use steps::Cause;
use world::{Budget, DEVICES, Known, Packet, World, key};

/// How long a handoff may take: shorter than the pause before a GRANT is sent again, which the model doesn't need.
const TIMEOUT: u64 = 10;

#[derive(Clone, Copy)]
struct Segue {
    rules: Rules,
    budget: Budget,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Deliver(Packet),
    Sync(u8),
    Crash(u8),
    Copy(u8),
    Restore(u8),
    Initiate(u8, u8),
    Request(u8, u8),
    Takeover(u8),
    Delegate(u8),
    Reclaim(u8),
    Write(u8),
    Timeout(u8),
    Forge(u8, Forgery),
    SyncService,
    CrashService,
    RestoreService,
    Lapse,
}

/// Records that a member makes up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forgery {
    /// Signed by a device that isn't the parent's grantor.
    NotGrantor,
    /// Cites a parent that nobody knows.
    NoParent,
    /// Skips a number.
    WrongNumber,
    /// Tells what it knows: no forgery, but no acknowledgement either.
    Inform,
}

impl Model for Segue {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.rules, self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.net.iter().cloned().map(Action::Deliver));
        let budget = world.budget;
        if let Some(service) = &world.service {
            if !service.pending.is_empty() {
                actions.push(Action::SyncService);
            }
            if budget.fall > 0 {
                actions.push(Action::CrashService);
            }
            if budget.back > 0 && service.backup.is_some() {
                actions.push(Action::RestoreService);
            }
            if budget.lapse > 0 {
                actions.push(Action::Lapse);
            }
        }
        let devices = if budget.via > 0 { budget.via } else { DEVICES as u8 };
        for device in 0..devices {
            let it = &world.devices[usize::from(device)];
            let Some(session) = &it.session else { continue };
            let role = session.role(self.rules);
            let primary = role == SessionRole::Primary;
            if !it.pending.is_empty() {
                actions.push(Action::Sync(device));
            }
            if budget.crash > 0 {
                actions.push(Action::Crash(device));
            }
            if budget.copy > 0 && device == 1 && world.has_live_want(device) {
                actions.push(Action::Copy(device));
            }
            if budget.restore > 0 && it.backup.is_some() {
                actions.push(Action::Restore(device));
            }
            let others = (0..devices).filter(|other| *other != device);
            if budget.initiate > 0 && primary {
                actions.extend(others.clone().map(|to| Action::Initiate(device, to)));
            }
            if budget.request > 0 && !primary {
                let owner = if budget.via > 0 { session.owner() } else { None };
                let asked = others.filter(|other| owner.is_none_or(|owner| owner == key(*other)));
                actions.extend(asked.map(|from| Action::Request(device, from)));
            }
            if budget.takeover > 0 && device + 1 == devices {
                actions.push(Action::Takeover(device));
            }
            if budget.custody > 0 && primary {
                let away = session.grantor().is_some();
                actions.push(if away { Action::Reclaim(device) } else { Action::Delegate(device) });
            }
            if budget.write > 0 && (primary || !self.rules.keeps(Clause::HO_WRITE_1)) {
                actions.push(Action::Write(device));
            }
            if budget.timeout > 0 && session.next_timeout().is_some_and(|at| at.micros() <= TIMEOUT) {
                actions.push(Action::Timeout(device));
            }
            if budget.forge > 0 && device == 2 {
                let kinds = [Forgery::NotGrantor, Forgery::NoParent, Forgery::WrongNumber, Forgery::Inform];
                actions.extend(kinds.map(|kind| Action::Forge(device, kind)));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        if last.broken.is_some() {
            return None;
        }
        let mut world = last.clone();
        let rules = self.rules;
        match action {
            Action::Deliver(packet) => world.deliver(rules, &packet),
            Action::Sync(device) => world.sync(rules, device),
            Action::Crash(device) => {
                world.budget.crash -= 1;
                let law = laws::reopened(rules, &world.devices[usize::from(device)], device);
                world.note(law);
                world.crash(rules, device);
            }
            Action::Copy(device) => {
                world.budget.copy -= 1;
                world.copy(device);
            }
            Action::Restore(device) => {
                world.budget.restore -= 1;
                world.restore(rules, device);
                let law = laws::primaries(rules, &world);
                world.note(law);
            }
            Action::Initiate(device, to) => {
                world.budget.initiate -= 1;
                world.run(rules, device, Cause::Initiate(to), |s, ctx| {
                    s.initiate(ctx, key(to), TIMEOUT).map_or((), |_| ())
                });
            }
            Action::Request(device, from) => {
                world.budget.request -= 1;
                world.run(rules, device, Cause::Request(from), |s, ctx| {
                    s.request(ctx, key(from), TIMEOUT).map_or((), |_| ())
                });
            }
            Action::Takeover(device) => {
                world.budget.takeover -= 1;
                world.run(rules, device, Cause::Takeover, |s, ctx| s.takeover(ctx).map_or((), |_| ()));
            }
            Action::Delegate(device) => {
                world.budget.custody -= 1;
                world.run(rules, device, Cause::Delegate, |s, ctx| {
                    let _ = s.delegate(ctx, key(service::SERVICE), TIMEOUT);
                });
            }
            Action::Reclaim(device) => {
                world.budget.custody -= 1;
                world.run(rules, device, Cause::Reclaim, |s, ctx| {
                    let _ = s.reclaim(ctx, TIMEOUT);
                });
            }
            Action::Write(device) => write(rules, &mut world, device),
            Action::Timeout(device) => {
                world.budget.timeout -= 1;
                world.run(rules, device, Cause::Timeout, |s, ctx| s.on_timeout(ctx));
            }
            Action::SyncService => world.sync_service(rules),
            Action::CrashService => {
                world.budget.fall -= 1;
                world.crash_service(rules);
            }
            Action::RestoreService => {
                world.budget.back -= 1;
                world.restore_service(rules);
            }
            Action::Lapse => {
                world.budget.lapse -= 1;
                world.lapse(rules);
            }
            Action::Forge(device, kind) => {
                world.budget.forge -= 1;
                forge(&mut world, device, kind);
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no law is broken", |_, world: &World| world.broken.is_none()),
            Property::sometimes("A hands to B, B to C, with A's GRANT unacknowledged", |_, world| {
                chain_of_three(world)
            }),
            Property::sometimes("a service hands a session over", |_, world: &World| by_service(world, Kind::Grant)),
            Property::sometimes("a service replaces a silent owner", |_, world: &World| {
                by_service(world, Kind::Takeover)
            }),
            Property::sometimes("a session is delegated again", |model: &Segue, world: &World| {
                let it = world.devices[0].session.as_ref();
                it.is_some_and(|s| s.head().body().n == 3 && s.role(model.rules) == SessionRole::Primary && is_away(s))
            }),
            Property::sometimes("a delegated session is taken over by name", |model: &Segue, world: &World| {
                let it = world.devices[1].session.as_ref().filter(|_| world.service.is_some());
                let by_name =
                    |s: &&Known<Session<Data>>| s.head().body().kind == Kind::Takeover.number() && !is_away(s);
                it.filter(by_name).is_some_and(|s| s.role(model.rules) == SessionRole::Primary)
            }),
            Property::sometimes("a session comes home", |model: &Segue, world: &World| {
                let it = world.devices[0].session.as_ref();
                it.is_some_and(|s| s.head().body().n == 2 && s.role(model.rules) == SessionRole::Primary)
            }),
        ]
    }
}

/// Whether a service signs a session's next record.
fn is_away(session: &Session<Data>) -> bool {
    session.grantor() == Some(key(service::SERVICE))
}

/// Whether a device owns by a record of this kind that the service signed.
fn by_service(world: &World, kind: Kind) -> bool {
    world.devices.iter().filter_map(|device| device.session.as_ref()).any(|session| {
        let head = session.head().body();
        let signed = head.kind == kind.number() && head.signer == key(service::SERVICE);
        signed && session.role(Rules::ALL) == SessionRole::Primary
    })
}

fn chain_of_three(world: &World) -> bool {
    let (Some(a), Some(c)) = (&world.devices[0].session, &world.devices[2].session) else { return false };
    a.pending() == Some(key(1)) && c.head().body().owner == key(2) && c.head().body().signer == key(1)
}

fn write(rules: Rules, world: &mut World, device: u8) {
    let number = world.budget.write;
    world.budget.write -= 1;
    let Some(session) = world.devices[usize::from(device)].session.clone() else { return };
    let law = session.writable(rules).map_or(Ok(()), |record| laws::writing(&session, &record));
    world.run(rules, device, Cause::Write(number), |session, ctx| {
        if session.writable(rules).is_ok() {
            let write = session.holdings.write(number);
            ctx.fx.writes.push(write);
        }
    });
    world.note(law);
}

/// A member sends everybody a record that it made up.
fn forge(world: &mut World, device: u8, kind: Forgery) {
    let Some(session) = &world.devices[usize::from(device)].session else { return };
    let genesis = session.chain().suffix(&Hash::ZERO)[0].clone();
    let mut record = Record {
        kind: Kind::Grant.number(),
        parent: genesis.id(),
        n: 1,
        signer: key(device),
        owner: key(device),
        grantor: key(device),
        want: Hash::new([7; 32]),
        genesis: None.into(),
        ..genesis.body().clone()
    };
    match kind {
        Forgery::NotGrantor | Forgery::Inform => {}
        Forgery::NoParent => (record.parent, record.signer) = (Hash::new([9; 32]), key(0)),
        Forgery::WrongNumber => (record.n, record.signer) = (7, key(0)),
    }
    let records = match kind {
        Forgery::Inform => session.chain().suffix(&Hash::ZERO).iter().map(|record| record.signed().clone()).collect(),
        _ => vec![Proven::assume(record).signed().clone()],
    };
    let records = List::new(records).unwrap_or_default();
    let head = Head { session: session.id(), records, more: false, ack: None.into(), ext: Exts::empty() };
    let to = if kind == Forgery::Inform { 0 } else { 1 };
    let packet = Packet { from: device, to, message: Known::new(Message::from(head)) };
    world.net.edit(|net| net.insert(packet));
}

/// What an exploration came to.
struct Found {
    states: usize,
    broken: Option<&'static str>,
    /// What happened until then.
    trace: Vec<Action>,
    reached: Vec<&'static str>,
}

const REACHED: &[&str] = &["A hands to B, B to C, with A's GRANT unacknowledged", "a session comes home"];
const REACHED_BY_SERVICE: &[&str] = &[
    "a service hands a session over",
    "a service replaces a silent owner",
    "a session is delegated again",
    "a delegated session is taken over by name",
];

/// Goes through every state that these rules and this budget allow.
fn explore(rules: Rules, budget: Budget) -> Found {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let checker = Segue { rules, budget }
        .checker()
        .threads(threads)
        .finish_when(stateright::HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = checker.discovery("no law is broken");
    let broken = path.as_ref().and_then(|path| path.last_state().broken);
    let trace = path.map(stateright::Path::into_actions).unwrap_or_default();
    if rules == Rules::ALL {
        trace.iter().for_each(|action| println!("  {action:?}"));
    }
    let names = REACHED.iter().chain(REACHED_BY_SERVICE).copied();
    let reached = names.filter(|name| checker.discovery(name).is_some()).collect();
    Found { states: checker.unique_state_count(), broken, trace, reached }
}

/// What may happen in each exploration; each is exhausted. Together they hold everything, apart they stay small.
const FACETS: &[(&str, Budget)] = &[
    ("handed on and home, unacknowledged", Budget { initiate: 2, write: 0, timeout: 0, request: 0, ..CALM }),
    ("taken over, crashed, written", Budget { takeover: 1, crash: 1, timeout: 0, request: 0, ..CALM }),
    ("taken over, restored", Budget { takeover: 1, restore: 1, write: 0, timeout: 0, request: 0, ..CALM }),
    ("crashed, restored, timed out, written", Budget { crash: 1, restore: 1, request: 0, ..CALM }),
    ("asked for, timed out, taken over, crashed", Budget { initiate: 0, write: 0, crash: 1, takeover: 1, ..CALM }),
    ("forged and told", Budget { forge: 1, timeout: 0, request: 0, ..CALM }),
    ("copied while it asked, restored", Budget { initiate: 1, ..COPIED }),
];

/// The same where the session is delegated.
const DELEGATED: &[(&str, Budget)] = &[
    ("by a service, crashed, frozen and let go on", Budget { crash: 1, request: 0, ..VIA }),
    ("by a service that crashed, to one that asks", Budget { fall: 1, initiate: 0, write: 0, ..VIA }),
    ("by a service, its owner silent", Budget { lapse: 1, initiate: 0, ..VIA }),
    ("by a service that was put back", Budget { back: 1, initiate: 0, write: 0, ..VIA }),
    ("by a service, taken over by name", Budget { takeover: 1, initiate: 0, ..VIA }),
    ("taken back from a service, or handed over", Budget { custody: 1, initiate: 0, write: 0, timeout: 0, ..VIA }),
    ("taken back and given there again", Budget { custody: 2, initiate: 0, write: 0, timeout: 0, request: 0, ..VIA }),
    ("taken back from one that crashed", Budget { custody: 1, fall: 1, initiate: 0, request: 0, timeout: 0, ..VIA }),
];

/// The laws hold in every state that can be reached.
#[test]
fn no_law_is_ever_broken() {
    let (total, reached) = explore_all(FACETS);
    for name in REACHED {
        assert!(reached.contains(name), "never reached: {name}");
    }
    assert!(total >= 1_000_000, "only {total} unique states");
}

/// The laws hold where a service signs: frozen, crashed, put back, and with an owner whose lease ran out.
#[test]
fn no_law_is_broken_by_way_of_a_service() {
    let (total, reached) = explore_all(DELEGATED);
    for name in REACHED_BY_SERVICE {
        assert!(reached.contains(name), "never reached: {name}");
    }
    assert!(total >= 100_000, "only {total} unique states");
}

fn explore_all(facets: &[(&str, Budget)]) -> (usize, Vec<&'static str>) {
    let start = std::time::Instant::now();
    let (mut total, mut reached) = (0, Vec::new());
    for (name, budget) in facets {
        let found = explore(Rules::ALL, *budget);
        println!("{name}: {} unique states, after {:.1} s", found.states, start.elapsed().as_secs_f64());
        assert_eq!(found.broken, None, "{name}");
        total += found.states;
        reached.extend(found.reached);
    }
    println!("{total} unique states");
    (total, reached)
}

/// Every seeded mistake breaks a law.
#[test]
fn every_seeded_mistake_is_caught() {
    catch_all(MISTAKES);
}

/// So does every one of a service, and of an owner that delegated.
#[test]
fn every_seeded_mistake_by_way_of_a_service_is_caught() {
    catch_all(MISTAKES_BY_SERVICE);
}

/// A restored store that takes an old GRANT, sent again, for one of its own WANTs owns beside the device that it handed the
/// session on to.
#[test]
fn an_old_grant_sent_again_to_a_restored_store_is_caught() {
    let Found { states, broken, trace, .. } = explore(Rules::without(Clause::HO_STORE_2), COPIED);
    let what = "a restored store that accepts an old GRANT sent again";
    println!("{}: {what}: {} after {states} states", Clause::HO_STORE_2, broken.unwrap_or("NOT CAUGHT"));
    let seen = format!("{broken:?} after {trace:#?}");
    assert!(broken.is_some_and(|law| !law.starts_with("31")), "by a law of its own: {seen}");
    let restored = trace.iter().position(|action| matches!(action, Action::Restore(_))).unwrap_or(trace.len());
    let (before, after) = trace.split_at(restored);
    let again = |action: &Action| is_grant(action) && before.contains(action);
    assert!(after.iter().any(again), "no GRANT came again to the restored store: {seen}");
}

fn is_grant(action: &Action) -> bool {
    matches!(action, Action::Deliver(packet) if matches!(*packet.message, Message::Grant(_)))
}

fn catch_all(mistakes: &[(Clause, &str, Budget)]) {
    for (clause, what, budget) in mistakes {
        let Found { states, broken, .. } = explore(Rules::without(*clause), *budget);
        println!("{clause}: {what}: {} after {states} states", broken.unwrap_or("NOT CAUGHT"));
        assert!(broken.is_some(), "{clause}: {what}: not caught in {states} states");
    }
}

const CALM: Budget = Budget {
    initiate: 1,
    request: 1,
    takeover: 0,
    crash: 0,
    copy: 0,
    restore: 0,
    write: 1,
    timeout: 1,
    forge: 0,
    via: 0,
    custody: 0,
    lapse: 0,
    fall: 0,
    back: 0,
};
const VIA: Budget = Budget { via: 2, ..CALM };
const CRASHES: Budget = Budget { crash: 1, ..CALM };
const TAKEN: Budget = Budget { takeover: 1, ..CALM };
const RESTORED: Budget = Budget { restore: 1, initiate: 2, ..CALM };
const COPIED: Budget = Budget { copy: 1, restore: 1, initiate: 2, request: 0, timeout: 0, write: 0, ..CALM };
const FORGED: Budget = Budget { forge: 1, ..CALM };
const TOLD: Budget = Budget { forge: 1, timeout: 0, write: 0, ..CALM };
const ASKED: Budget = Budget { request: 2, timeout: 0, write: 0, ..CALM };

const MISTAKES: &[(Clause, &str, Budget)] = &[
    (Clause::HO_GRANT_2, "resume after a timeout", CALM),
    (Clause::HO_GRANT_1, "GRANT before the sync", CRASHES),
    (Clause::HO_HEAD_4, "HEAD before the sync", CRASHES),
    (Clause::HO_STORE_1, "a restored store that owns", RESTORED),
    (Clause::HO_HEAD_3, "a HEAD by a third device taken for the acknowledgement", TOLD),
    (Clause::HO_CHAIN_4, "takeover in the same term", TAKEN),
    (Clause::HO_CHAIN_2, "grantor not checked", FORGED),
    (Clause::HO_CHAIN_1, "parent not checked", FORGED),
    (Clause::HO_CHAIN_3, "number not checked", FORGED),
    (Clause::HO_GRANT_4, "data not complete: granted all the same", CALM),
    (Clause::TRANSFER_HAVE_1, "data not durable: said to be held all the same", CALM),
    (Clause::HO_GRANT_3, "two WANTs granted", ASKED),
    (Clause::HO_WANT_1, "WANT of another parent", ASKED),
    (Clause::HO_WRITE_1, "a secondary writes", CALM),
    (Clause::HO_HEAD_1, "the head falls", TAKEN),
];

const MISTAKES_BY_SERVICE: &[(Clause, &str, Budget)] = &[
    (Clause::SERVICE_FREEZE_1, "an owner that froze writes", VIA),
    (Clause::SERVICE_FREEZE_2, "FREEZE before the sync", Budget { crash: 1, write: 2, ..VIA }),
    (Clause::SERVICE_HELD_1, "a FINAL wanted that isn't held", VIA),
    (Clause::SERVICE_GRANTOR_4, "granted to a WANT that doesn't hold the FINAL", VIA),
    (Clause::SERVICE_CAS_2, "a record told of before the sync", Budget { fall: 1, ..VIA }),
    (Clause::SERVICE_GRANTOR_7, "a grant and a delegate under one parent", Budget { custody: 1, ..VIA }),
    (Clause::SERVICE_TENURE_1, "a service that was put back signs", Budget { back: 1, request: 2, ..VIA }),
];
