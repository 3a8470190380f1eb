//! What Session Handoff 1.7 and 2 do beside the plain handoff: users withdraw, ask again, say no, put off and consent in
//! advance, and are told what came of it. Links keep the order of messages, as the transport does, and break.

use std::collections::BTreeSet;

use segue_proto::wire::{Hash as Id, Message};
use segue_proto::{Clause, Code, Rules, SessionRole};
use stateright::{Checker, Model, Property};

use crate::laws::Law;
use crate::promises::{answers_come, is_awaited, is_primary, timed_out};
use crate::steps::{Cause, NOW};
use crate::users::{Acts, Ledger, Said, Users, What, Wish};
use crate::world::{Budget, World, key};
use crate::{CALM, TIMEOUT};

#[derive(Clone, Copy)]
struct Wishes {
    rules: Rules,
    acts: Acts,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Deliver(u8, u8),
    Refuse(u8, u8),
    Break(u8, u8),
    Meet(u8, u8),
    Silence(u8),
    Sync(u8),
    Crash(u8),
    Initiate(u8, u8),
    Request(u8, u8),
    Consent(u8, u8),
    Withdraw(u8),
    Accept(u8, Id),
    Reject(u8, Id),
    StandBy(u8),
    StandDown(u8),
    Fetched(u8),
    FetchFails(u8),
    Write(u8),
    Timeout(u8),
}

impl Model for Wishes {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let Acts { crash, room, strangers, .. } = self.acts;
        let still = Budget { initiate: 0, request: 0, write: 0, timeout: 0, copy: 1, crash, ..CALM };
        let mut world = World::new(self.rules, still);
        world.users = Some(Users::new(self.acts));
        for device in &mut world.devices {
            if let Some(session) = &mut device.session {
                session.edit(|session| session.holdings.room = room);
            }
        }
        if strangers {
            world.forget(1);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let Some(users) = &world.users else { return };
        let acts = users.acts;
        for (&(from, to), lane) in &users.lanes {
            actions.push(Action::Deliver(from, to));
            if acts.limit > 0 && lane.first().is_some_and(|message| is_limited(message)) {
                actions.push(Action::Refuse(from, to));
            }
        }
        actions.extend(users.down.iter().map(|(a, b)| Action::Meet(*a, *b)));
        for b in (0..acts.devices).filter(|_| acts.breaks > 0) {
            actions.extend((0..b).filter(|a| users.linked(*a, b)).map(|a| Action::Break(a, b)));
        }
        for &(device, token) in users.ledger.open.keys() {
            actions.push(Action::Accept(device, token));
            if acts.reject > 0 {
                actions.push(Action::Reject(device, token));
            }
        }
        for device in users.fetches.keys() {
            actions.push(Action::Fetched(*device));
            if acts.fail > 0 {
                actions.push(Action::FetchFails(*device));
            }
        }
        (0..acts.devices).for_each(|device| self.actions_of(world, users, device, actions));
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        if last.broken.is_some() {
            return None;
        }
        let mut world = last.clone();
        self.act(&mut world, action);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties =
            vec![Property::always("no law is broken", |model: &Wishes, world| judge(model.rules, world).is_ok())];
        properties.extend(REACHED.iter().map(|(name, reached)| Property::sometimes(name, *reached)));
        properties
    }
}

impl Wishes {
    fn actions_of(&self, world: &World, users: &Users, device: u8, actions: &mut Vec<Action>) {
        let (acts, it) = (users.acts, &world.devices[usize::from(device)]);
        let Some(session) = &it.session else { return };
        let primary = session.role(self.rules) == SessionRole::Primary;
        let may = |left: u8, action: Action| (left > 0).then_some(action);
        if !it.pending.is_empty() {
            actions.push(Action::Sync(device));
        }
        actions.extend(may(acts.crash, Action::Crash(device)));
        actions.extend(may(acts.silence, Action::Silence(device)).filter(|_| !users.is_silent(device)));
        let mut others = (0..acts.devices).filter(|other| *other != device);
        if primary {
            actions.extend(others.filter_map(|to| may(acts.initiate, Action::Initiate(device, to))));
            actions.extend(may(acts.write, Action::Write(device)));
        } else {
            let owner = others.find(|other| session.owner() == Some(key(*other)));
            actions.extend(owner.and_then(|owner| may(acts.request, Action::Request(device, owner))));
            actions.extend(owner.and_then(|owner| may(acts.consent, Action::Consent(device, owner))));
            actions.extend(may(acts.stand_by, Action::StandBy(device)));
        }
        let runs = |wish: &Wish| wish.device == device && wish.live && wish.said == Said::Nothing;
        if users.ledger.wishes.iter().any(runs) {
            actions.extend(may(acts.withdraw, Action::Withdraw(device)));
        }
        if users.stands_by >> device & 1 == 1 {
            actions.push(Action::StandDown(device));
        }
        if session.next_timeout().is_some_and(|at| at <= NOW.after(TIMEOUT)) {
            actions.extend(may(acts.timeout, Action::Timeout(device)));
        }
    }

    fn act(&self, world: &mut World, action: Action) {
        let rules = self.rules;
        let Some(users) = &mut world.users else { return };
        let acts = &mut users.acts;
        match action {
            Action::Deliver(from, to) => world.take(rules, from, to),
            Action::Refuse(from, to) => {
                acts.limit -= 1;
                world.refuse(rules, from, to);
            }
            Action::Break(a, b) => {
                acts.breaks -= 1;
                world.part(a, b);
            }
            Action::Meet(a, b) => world.meet(rules, a, b),
            Action::Silence(device) => {
                acts.silence -= 1;
                users.silent |= 1 << device;
            }
            Action::Sync(device) => world.sync(rules, device),
            Action::Crash(device) => {
                acts.crash -= 1;
                world.budget.crash -= 1;
                world.restart(rules, device);
            }
            Action::Initiate(device, to) => {
                acts.initiate -= 1;
                initiate(rules, world, device, to);
            }
            Action::Request(device, from) => {
                acts.request -= 1;
                world.wish(device, What::Pull);
                world.run(rules, device, Cause::Request(from), |s, ctx| {
                    s.request(ctx, key(from), TIMEOUT).map_or((), |_| ())
                });
            }
            Action::Consent(device, from) => {
                acts.consent -= 1;
                world.wish(device, What::Standing);
                world.run(rules, device, Cause::Consent(from), |s, ctx| {
                    s.consent(ctx, key(from), NOW.micros()).unwrap_or(())
                });
            }
            Action::Withdraw(device) => {
                acts.withdraw -= 1;
                world.withdraw(rules, device);
            }
            Action::Accept(device, token) => world.answer(rules, device, token, true),
            Action::Reject(device, token) => {
                acts.reject -= 1;
                world.answer(rules, device, token, false);
            }
            Action::StandBy(device) => {
                acts.stand_by -= 1;
                world.stand_by(rules, device);
            }
            Action::StandDown(device) => world.stand_down(device),
            Action::Fetched(device) => world.fetched(rules, device),
            Action::FetchFails(device) => {
                acts.fail -= 1;
                world.fetch_fails(rules, device);
            }
            Action::Write(device) => {
                let number = acts.write;
                acts.write -= 1;
                write(rules, world, device, number);
            }
            Action::Timeout(device) => {
                acts.timeout -= 1;
                world.run(rules, device, Cause::Timeout, |s, ctx| s.on_timeout(ctx));
                world.note(timed_out(world, device));
            }
        }
    }
}

fn judge(rules: Rules, world: &World) -> Law {
    world.broken.map_or(Ok(()), Err)?;
    answers_come(rules, world)
}

fn initiate(rules: Rules, world: &mut World, device: u8, to: u8) {
    let awaited = is_awaited(world, to, device);
    world.wish(device, What::Push(to));
    world.run(rules, device, Cause::Initiate(to), |s, ctx| s.initiate(ctx, key(to), TIMEOUT).map_or((), |_| ()));
    let session = world.devices[usize::from(device)].session.as_ref();
    if awaited && session.is_some_and(|session| session.pending() != Some(key(to))) {
        world.note(Err("HO-WANT-9: a handoff that was consented to takes more than one flight"));
    }
}

/// An exclusive write of the primary, unless it waits for a target.
fn write(rules: Rules, world: &mut World, device: u8, number: u8) {
    world.run(rules, device, Cause::Write(number), |session, ctx| {
        let part = segue_proto::wire::PartId::ZERO;
        if session.writable(rules).is_ok() && session.unhurried(ctx, &part, 1).is_ok() {
            let write = session.holdings.write(number);
            ctx.fx.writes.push(write);
            session.written(ctx, &part, 1);
        }
    });
}

/// Whether there may be too many of a message.
fn is_limited(message: &Message) -> bool {
    match message {
        Message::Offer(_) | Message::Want(_) => true,
        Message::Have(have) => have.req != 0,
        _ => false,
    }
}

type Reached = fn(&Wishes, &World) -> bool;

fn ledger(world: &World) -> Option<&Ledger> {
    world.users.as_ref().map(|users| &*users.ledger)
}

fn any(world: &World, wish: impl Fn(&Wish) -> bool) -> bool {
    ledger(world).is_some_and(|ledger| ledger.wishes.iter().any(wish))
}

/// What happens in one of the explorations at least.
const REACHED: &[(&str, Reached)] = &[
    ("who withdraws is told at once that nothing changed hands", |_, world| {
        any(world, |wish| wish.said == Said::Failed(Code::HO_CANCELLED) && wish.signed.is_empty())
    }),
    ("who withdraws is told so later", |_, world| {
        any(world, |wish| wish.said == Said::Failed(Code::HO_CANCELLED) && wish.pended)
    }),
    ("who withdraws too late has the session", |_, world| {
        any(world, |wish| wish.what == What::Pull && matches!(wish.said, Said::Done(_)) && wish.pended)
    }),
    ("who asked is told what the owner's user said", |_, world| {
        any(world, |wish| wish.what == What::Pull && wish.said == Said::Failed(Code::HO_DECLINED))
    }),
    ("who offered is told what the other's user said", |_, world| {
        any(world, |wish| wish.what == What::Push(1) && wish.said == Said::Failed(Code::HO_DECLINED))
    }),
    ("an acceptance is refused for now, and the next try succeeds", |_, world| {
        let refused =
            |wish: &Wish| matches!((wish.what, wish.said), (What::Answer(_), Said::Failed(Code::LIMIT_REQUESTS)));
        any(world, refused) && any(world, |wish| wish.what == What::Pull && matches!(wish.said, Said::Done(_)))
    }),
    ("a handoff that was consented to makes no OFFER", |_, world| {
        any(world, |wish| wish.what == What::Push(1) && matches!(wish.said, Said::Done(_)) && wish.signed.is_empty())
    }),
    ("who consented and wasn't heard of is made an OFFER", |_, world| {
        let silent = world.users.as_ref().is_some_and(|users| users.is_silent(1));
        let signed = |what: What| any(world, |wish| wish.what == what && !wish.signed.is_empty());
        silent && signed(What::Standing) && signed(What::Push(1))
    }),
    ("who stood by has the session, and fetched nothing for it", |model, world| {
        model.acts.strangers && is_primary(model.rules, world, 1) && world.users.as_ref().is_some_and(|it| !it.fetched)
    }),
    ("another device is offered the session in the first one's place", |model, world| {
        let first = |wish: &Wish| (wish.what, wish.said) == (What::Push(1), Said::Failed(Code::HO_SUPERSEDED));
        any(world, first) && is_primary(model.rules, world, 2)
    }),
    (SUPERSEDED, |_, world| {
        let old = any(world, |wish| {
            (wish.device, wish.id) == (1, 1) && !wish.signed.is_empty() && wish.said != Said::Nothing
        });
        old && any(world, |wish| (wish.device, wish.id) == (1, 2) && wish.said == Said::Nothing)
    }),
];

/// What happens where a user wishes anew.
const SUPERSEDED: &str = "a wish takes the place of one whose WANT is out";

const STILL: Acts = Acts {
    devices: 2,
    initiate: 0,
    request: 0,
    consent: 0,
    withdraw: 0,
    reject: 0,
    limit: 0,
    stand_by: 0,
    write: 0,
    timeout: 0,
    crash: 0,
    breaks: 0,
    silence: 0,
    fail: 0,
    asks: false,
    slow: false,
    room: None,
    strangers: false,
    deaf: false,
};

/// What may happen in each exploration; each is exhausted.
const FACETS: &[(&str, Acts)] = &[
    ("asked for, withdrawn, crashed", Acts { request: 1, withdraw: 1, timeout: 1, crash: 1, breaks: 1, ..STILL }),
    ("asked for by leave, withdrawn, rejected", Acts { reject: 1, timeout: 1, breaks: 1, ..ASKED }),
    ("offered, withdrawn, rejected", Acts { reject: 1, timeout: 1, breaks: 1, ..OFFERED }),
    ("offered, withdrawn, crashed", Acts { crash: 1, breaks: 1, ..OFFERED }),
    ("offered, withdrawn while it is fetched", Acts { timeout: 1, fail: 1, slow: true, ..OFFERED }),
    ("offered anew", Acts { initiate: 2, reject: 1, breaks: 1, ..STILL }),
    ("offered to another", Acts { initiate: 2, reject: 1, devices: 3, ..STILL }),
    ("accepted, put off, asked for", Acts { reject: 0, ..PUT_OFF }),
    ("consented to, written, silent", Acts { write: 2, silence: 1, ..CONSENTED }),
    ("consented to, withdrawn", Acts { withdraw: 1, breaks: 1, timeout: 1, ..CONSENTED }),
    ("stood by for, offered", Acts { initiate: 1, write: 1, reject: 1, ..STANDBY }),
    ("asked for, written, begun and left off", LEFT_OFF),
];

/// The same where a wish of the target takes the place of another.
const ANEW: &[(&str, Acts)] = &[
    ("asked for twice", Acts { request: 2, timeout: 1, breaks: 1, ..STILL }),
    ("asked for by leave twice", Acts { request: 2, reject: 1, asks: true, ..STILL }),
    ("accepted and asked for", Acts { initiate: 1, request: 1, breaks: 1, ..STILL }),
    ("asked for and offered anew", Acts { initiate: 2, request: 1, ..STILL }),
];

const ASKED: Acts = Acts { request: 1, withdraw: 1, asks: true, ..STILL };
const OFFERED: Acts = Acts { initiate: 1, withdraw: 1, ..STILL };
const PUT_OFF: Acts = Acts { initiate: 1, request: 1, limit: 1, breaks: 1, ..STILL };
const CONSENTED: Acts = Acts { consent: 1, initiate: 1, room: Some(1), ..STILL };
const STANDBY: Acts = Acts { stand_by: 1, slow: true, strangers: true, ..STILL };
const LEFT_OFF: Acts = Acts { initiate: 1, write: 2, room: Some(1), slow: true, ..ASKED };

/// By the clause that isn't kept: what is done instead, and what may happen.
const MISTAKES: &[(Clause, &str, Acts)] = &[
    (Clause::HO_TIME_1, "deadlines pass unnoticed", Acts { timeout: 1, asks: true, ..ASKED }),
    (
        Clause::HO_TIME_2,
        "a source says nothing when its deadline passes behind the GRANT",
        Acts { timeout: 1, ..OFFERED },
    ),
    (Clause::HO_TIME_3, "a withdrawn wish is over though its WANT is out", ASKED),
    (Clause::HO_CANCEL_2, "a source doesn't say that it granted nothing", ASKED),
    (Clause::HO_DECLINE_1, "a DECLINE of another OFFER ends a handoff", Acts { initiate: 2, reject: 1, ..STILL }),
    (Clause::HO_REASON_1, "a reason isn't told", Acts { reject: 1, ..OFFERED }),
    (Clause::HO_REASON_3, "a reason isn't sent", Acts { reject: 1, ..ASKED }),
    (Clause::HO_OFFER_5, "an OFFER accepted unasked", OFFERED),
    (Clause::HO_OFFER_6, "a user asked again", PUT_OFF),
    (Clause::HO_WANT_5, "a request granted unasked", ASKED),
    (Clause::HO_WANT_9, "a consent that goes stale unnoticed", Acts { write: 2, ..CONSENTED }),
    (Clause::HO_GRANT_8, "a GRANT not sent again", Acts { crash: 1, ..OFFERED }),
    (Clause::HO_GRANT_9, "a GRANT that comes again not answered", Acts { breaks: 1, ..OFFERED }),
    (Clause::HO_GRANT_11, "a GRANT not acknowledged", OFFERED),
    (Clause::HO_STANDBY_2, "who stands by consents", STANDBY),
];

fn explore(rules: Rules, acts: Acts) -> (usize, Law, Vec<&'static str>) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let failures = stateright::HasDiscoveries::AnyFailures;
    let checker = Wishes { rules, acts }.checker().threads(threads).finish_when(failures).spawn_bfs().join();
    let path = checker.discovery("no law is broken");
    let law = path.as_ref().map_or(Ok(()), |path| judge(rules, path.last_state()));
    if rules == Rules::ALL && !acts.deaf {
        path.into_iter().flat_map(stateright::Path::into_vec).for_each(|(world, action)| show(&world, action.as_ref()));
    }
    let reached = REACHED.iter().map(|(name, _)| *name).filter(|name| checker.discovery(name).is_some()).collect();
    (checker.unique_state_count(), law, reached)
}

/// What is under way and what users were told, and what happens then.
fn show(world: &World, action: Option<&Action>) {
    let Some(users) = &world.users else { return };
    for ((from, to), lane) in &users.lanes {
        let names: Vec<_> = lane.iter().map(|message| message.row().name).collect();
        println!("      {from} to {to}: {}", names.join(", "));
    }
    for wish in &users.ledger.wishes {
        println!("      wish {} of {}: {:?}, {:?}", wish.id, wish.device, wish.what, wish.said);
    }
    println!("      before users: {:?}", users.ledger.open.keys().collect::<Vec<_>>());
    println!("  {action:?}");
}

fn explore_all(facets: &[(&str, Acts)]) -> (usize, BTreeSet<&'static str>) {
    let start = std::time::Instant::now();
    let (mut total, mut all, mut broken) = (0, BTreeSet::new(), Vec::new());
    for (name, acts) in facets {
        let (states, law, reached) = explore(Rules::ALL, *acts);
        println!("{name}: {states} unique states, after {:.1} s: {law:?}", start.elapsed().as_secs_f64());
        broken.extend(law.err().map(|law| (name, law)));
        total += states;
        all.extend(reached);
    }
    println!("{total} unique states");
    assert!(broken.is_empty(), "{broken:#?}");
    (total, all)
}

/// What users are told is so, and word comes of every wish, in every state that can be reached.
#[test]
fn what_users_are_told_is_so_and_word_comes_of_every_wish() {
    let (total, reached) = explore_all(FACETS);
    let missed: Vec<_> =
        REACHED.iter().map(|it| it.0).filter(|it| !reached.contains(it) && *it != SUPERSEDED).collect();
    assert!(missed.is_empty(), "never reached: {missed:#?}");
    assert!(total >= 10_000, "only {total} unique states");
}

/// So it is where a device wishes anew before it is known what comes of the last time.
#[test]
fn what_users_are_told_of_a_wish_is_so_when_another_takes_its_place() {
    let (total, reached) = explore_all(ANEW);
    assert!(reached.contains(SUPERSEDED), "never reached: {SUPERSEDED}");
    assert!(total >= 1_000, "only {total} unique states");
}

/// Every seeded mistake breaks a law of wishes.
#[test]
fn every_seeded_mistake_about_wishes_is_caught() {
    let deaf =
        (Rules::ALL, "7.6", "whoever is silent counts as heard of", Acts { silence: 1, deaf: true, ..CONSENTED });
    let off = MISTAKES.iter().map(|(clause, what, acts)| (Rules::without(*clause), clause.id(), *what, *acts));
    let mut missed = Vec::new();
    for (rules, id, what, acts) in off.chain([deaf]) {
        let (states, law, _) = explore(rules, acts);
        println!("{id}: {what}: {} after {states} states", law.err().unwrap_or("NOT CAUGHT"));
        missed.extend(law.is_ok().then_some(what));
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}
