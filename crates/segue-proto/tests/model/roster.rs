//! Three devices of one account edit its roster apart, and a session is handed over meanwhile: the core's own roster and
//! handoff code under every order in which entries and messages come.
//!
//! A revoked device signs on as if nothing were, and its WANTs come by any way, as they would by a letter.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use segue_proto::account::{Roster, Standing};
use segue_proto::wire::Hash as Id;
use segue_proto::wire::{
    Cut, DeviceId, EntryKind, Founding, Hlc, Kind, List, Message, Nonce, Proven, RosterEntry, Text,
};
use segue_proto::{Clause, Rules, SessionRole};
use stateright::{Checker, Model, Property};

use crate::steps::Cause;
use crate::world::{Budget, DEVICES, Packet, World, key};
use crate::{CALM, TIMEOUT};

/// A key that no device of the model has, and that may be linked.
const OTHER: u8 = DEVICES as u8;

/// How many entries may still be made, and how the session may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Edits {
    link: u8,
    revoke: u8,
    session: Budget,
}

#[derive(Clone, Copy)]
struct Account {
    rules: Rules,
    edits: Edits,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Link(u8, u8),
    Revoke(u8, u8),
    /// An entry comes to a device, before or after those that it cites.
    Hear(u8, Id),
    Deliver(Packet),
    Initiate(u8, u8),
    Request(u8, u8),
}

/// What came to a device, and what it makes of that. The one follows from the other: that is a law.
#[derive(Clone, Debug)]
struct Book {
    came: BTreeSet<Id>,
    roster: Arc<Roster>,
}

#[derive(Clone, Debug)]
struct State {
    world: World,
    books: [Book; DEVICES],
    edits: (u8, u8),
    /// All that were made: each came to its signer.
    made: Arc<BTreeMap<Id, Proven<RosterEntry>>>,
}

impl State {
    /// What tells it from other states.
    fn told(&self) -> (&World, (u8, u8), [&BTreeSet<Id>; DEVICES]) {
        (&self.world, self.edits, self.books.each_ref().map(|book| &book.came))
    }
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        self.told() == other.told()
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.told().hash(state);
    }
}

impl Model for Account {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let genesis = entry(EntryKind::Genesis, Id::ZERO, Vec::new(), 0, 0);
        let mut roster = Roster::start(self.rules, genesis.clone()).expect("a genesis");
        let mut made = BTreeMap::from([(genesis.id(), genesis)]);
        for device in 1..DEVICES as u8 {
            let link = entry(EntryKind::Link, roster.account(), roster.parents(&key(0)), 0, device);
            made.insert(link.id(), link.clone());
            roster.add(self.rules, link).expect("it follows");
        }
        let book = Book { came: made.keys().copied().collect(), roster: Arc::new(roster) };
        let books = [book.clone(), book.clone(), book];
        let world = World::new(self.rules, self.edits.session);
        vec![State { world, books, edits: (self.edits.link, self.edits.revoke), made: Arc::new(made) }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let budget = state.world.budget;
        actions.extend(state.world.net.iter().cloned().map(Action::Deliver));
        for (device, book) in (0..).zip(&state.books) {
            let news = state.made.keys().filter(|id| !book.came.contains(*id));
            actions.extend(news.map(|id| Action::Hear(device, *id)));
            let others = |last: u8| (0..=last).filter(move |other| *other != device);
            if state.edits.0 > 0 {
                // A device that is revoked may link itself, too.
                let out = (0..=OTHER).filter(|other| !book.roster.is_member(&key(*other)));
                actions.extend(out.map(|other| Action::Link(device, other)));
            }
            if state.edits.1 > 0 {
                let known = others(OTHER).filter(|other| book.roster.is_member(&key(*other)));
                actions.extend(known.map(|other| Action::Revoke(device, other)));
            }
            let session = state.world.devices[usize::from(device)].session.as_ref();
            let Some(role) = session.map(|session| session.role(self.rules)) else { continue };
            if budget.initiate > 0 && role == SessionRole::Primary {
                actions.extend(others(OTHER - 1).map(|to| Action::Initiate(device, to)));
            }
            if budget.request > 0 && role != SessionRole::Primary {
                actions.extend(others(OTHER - 1).map(|from| Action::Request(device, from)));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        if last.world.broken.is_some() {
            return None;
        }
        let mut state = last.clone();
        let rules = self.rules;
        match action {
            Action::Link(by, device) => {
                state.edits.0 -= 1;
                state.make(rules, EntryKind::Link, by, device);
            }
            Action::Revoke(by, device) => {
                state.edits.1 -= 1;
                state.make(rules, EntryKind::Revoke, by, device);
            }
            Action::Hear(device, id) => state.hear(rules, device, id),
            Action::Deliver(packet) => state.deliver(rules, &packet),
            Action::Initiate(device, to) => {
                state.world.budget.initiate -= 1;
                let refused = state.refuses(rules, device, &key(to));
                if !refused {
                    state.run(rules, device, Cause::Initiate(to));
                }
            }
            Action::Request(device, from) => {
                state.world.budget.request -= 1;
                let refused = state.refuses(rules, device, &key(from));
                if !refused {
                    state.run(rules, device, Cause::Request(from));
                }
            }
        }
        state.judge_grants(last);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no law is broken", |_, state: &State| state.world.broken.is_none()),
            Property::sometimes("two devices revoke each other", |_, state: &State| {
                state.books.iter().map(|book| &book.roster.standing().revoked).any(|revoked| {
                    revoked.iter().any(|(key, it)| revoked.get(&it.by).is_some_and(|other| other.by == *key))
                })
            }),
            Property::sometimes("a revoked device is linked again", |_, state: &State| {
                let linked = |roster: &Roster, key: &DeviceId| {
                    let of_key = |body: &RosterEntry| body.kind == EntryKind::Link.number() && body.device == *key;
                    roster.entries().filter(|entry| of_key(entry.body())).count()
                };
                state.books.iter().map(|book| &book.roster).any(|roster| {
                    roster.standing().revoked.keys().any(|key| *key != crate::world::key(0) && linked(roster, key) > 1)
                })
            }),
            Property::sometimes("entries come before those that they cite", |_, state: &State| {
                state.books.iter().any(|book| book.came.len() > book.roster.len())
            }),
            Property::sometimes("a WANT of a device that the owner knows to be revoked", |_, state: &State| {
                state
                    .world
                    .net
                    .iter()
                    .any(|packet| wants(packet).is_some_and(|who| state.knows_revoked(packet.to, &who)))
            }),
            Property::sometimes("a device is granted to that others know to be revoked", |_, state: &State| {
                let owner = state.world.devices[0].session.as_ref().map(|session| session.head().body().owner);
                owner.is_some_and(|owner| state.books[1..].iter().any(|book| book.roster.is_revoked(&owner)))
            }),
        ]
    }
}

impl State {
    /// A device signs an entry, citing what it holds.
    fn make(&mut self, rules: Rules, kind: EntryKind, by: u8, device: u8) {
        let roster = &self.books[usize::from(by)].roster;
        let entry = entry(kind, roster.account(), roster.parents(&key(by)), by, device);
        Arc::make_mut(&mut self.made).insert(entry.id(), entry.clone());
        self.hear(rules, by, entry.id());
    }

    /// An entry comes to a device, and what follows from it (`endpoint/account.rs`).
    fn hear(&mut self, rules: Rules, device: u8, id: Id) {
        let Some(entry) = self.made.get(&id).cloned() else { return };
        let book = &mut self.books[usize::from(device)];
        let before = book.roster.standing().clone();
        book.came.insert(id);
        // What is refused is dropped: of its signer there is no link.
        let _ = Arc::make_mut(&mut book.roster).add(rules, entry);
        let after = book.roster.standing().clone();
        self.world.note(judge(rules, &before, &self.books[usize::from(device)], &self.made));
        let out = after.revoked.keys().filter(|key| !before.revoked.contains_key(*key));
        for other in (0..OTHER).filter(|other| out.clone().any(|out| *out == key(*other)) && *other != device) {
            if rules.keeps(Clause::ACCOUNT_REVOKE_3) {
                self.run(rules, device, Cause::Revoked(other));
            }
        }
    }

    fn run(&mut self, rules: Rules, device: u8, cause: Cause<'_>) {
        self.world.run(rules, device, cause, |session, ctx| match cause {
            Cause::Initiate(to) => session.initiate(ctx, key(to), TIMEOUT).map_or((), |_| ()),
            Cause::Request(from) => session.request(ctx, key(from), TIMEOUT).map_or((), |_| ()),
            Cause::Revoked(other) => session.on_revoked(ctx, key(other)),
            _ => {}
        });
        self.world.sync(rules, device);
    }

    /// A message comes; a WANT of a revoked device is void, whatever way it comes by (`endpoint/messages.rs`).
    fn deliver(&mut self, rules: Rules, packet: &Packet) {
        if wants(packet).is_some_and(|target| self.refuses(rules, packet.to, &target)) {
            return;
        }
        self.world.deliver(rules, packet);
        self.world.sync(rules, packet.to);
    }

    fn refuses(&self, rules: Rules, device: u8, other: &DeviceId) -> bool {
        self.knows_revoked(device, other) && rules.keeps(Clause::ACCOUNT_REVOKE_3)
    }

    fn knows_revoked(&self, device: u8, other: &DeviceId) -> bool {
        self.books[usize::from(device)].roster.is_revoked(other)
    }

    /// No device makes a record that names as owner one that it knows to be revoked (ACCOUNT-REVOKE-3).
    fn judge_grants(&mut self, before: &State) {
        for device in 0..DEVICES {
            let (was, is) = (&before.world.devices[device].session, &self.world.devices[device].session);
            let (Some(was), Some(is)) = (was, is) else { continue };
            let made = is.chain().records().filter(|record| was.chain().get(&record.id()).is_none());
            let made =
                made.filter(|it| it.body().signer == key(device as u8) && it.body().kind == Kind::Grant.number());
            let owners: Vec<_> = made.map(|record| record.body().owner).collect();
            if owners.iter().any(|owner| self.books[device].roster.is_revoked(owner)) {
                self.world.note(Err("a revoked device is granted to by one that knows of it"));
            }
        }
    }
}

/// The device that a WANT is to make the owner.
fn wants(packet: &Packet) -> Option<DeviceId> {
    match &*packet.message {
        Message::Want(it) => it.want.open(Rules::ALL).ok().map(|want| want.target),
        _ => None,
    }
}

/// What holds of a roster after an entry came.
fn judge(
    rules: Rules,
    before: &Standing,
    book: &Book,
    made: &BTreeMap<Id, Proven<RosterEntry>>,
) -> Result<(), &'static str> {
    let law = |holds: bool, name| if holds { Ok(()) } else { Err(name) };
    let now = book.roster.standing();
    law(before.revoked.keys().all(|key| now.revoked.contains_key(key)), "a revoked device is no more revoked")?;
    law(now.members.keys().all(|key| !now.revoked.contains_key(key)), "a revoked device came back")?;
    // All that came, in two other orders.
    let genesis = made.values().find(|entry| entry.body().parents.is_empty()).cloned().ok_or("no genesis")?;
    let ascending: Vec<_> = book.came.iter().filter_map(|id| made.get(id)).cloned().collect();
    for order in [ascending.iter().collect::<Vec<_>>(), ascending.iter().rev().collect()] {
        let mut other = Roster::start(rules, genesis.clone()).map_err(|_| "no genesis")?;
        for entry in order {
            let _ = other.add(rules, entry.clone());
        }
        law(other.standing() == now && other == *book.roster, "the order in which entries come makes a difference")?;
    }
    let words = Words(book.roster.entries().map(|entry| (entry.id(), entry.body())).collect());
    let all: BTreeSet<Id> = words.0.keys().copied().collect();
    let said = |key: &DeviceId| (words.is_member(&all, key), words.is_revoked(&all, key));
    let core = |key: &DeviceId| (now.members.contains_key(key), now.revoked.contains_key(key));
    let agree = (0..=OTHER).map(key).all(|key| said(&key) == core(&key));
    law(agree, "members and revoked aren't those that the spec's words give")
}

/// Section 4.2, word by word; the account has no recovery key. A set holds with an entry all that it cites.
struct Words<'a>(BTreeMap<Id, &'a RosterEntry>);

impl Words<'_> {
    fn past(&self, entry: &Id) -> BTreeSet<Id> {
        let parents = self.0.get(entry).into_iter().flat_map(|entry| entry.parents.iter());
        parents.flat_map(|parent| self.past(parent).into_iter().chain([*parent])).collect()
    }

    fn of<'b>(&'b self, set: &'b BTreeSet<Id>, key: &'b DeviceId, revokes: bool) -> impl Iterator<Item = &'b Id> {
        let is_revoke = |entry: &RosterEntry| entry.kind == EntryKind::Revoke.number();
        set.iter()
            .filter(move |id| self.0.get(*id).is_some_and(|entry| entry.device == *key && is_revoke(entry) == revokes))
    }

    fn revoke_counts(&self, revoke: &Id) -> bool {
        self.0.get(revoke).is_some_and(|entry| self.is_member(&self.past(revoke), &entry.signer))
    }

    fn link_counts(&self, set: &BTreeSet<Id>, link: &Id) -> bool {
        let Some(entry) = self.0.get(link) else { return false };
        let past = self.past(link);
        let linked = self.of(&past, &entry.signer, false).any(|other| self.link_counts(set, other));
        let knew = |revoke: &Id| !self.revoke_counts(revoke) || self.past(revoke).contains(link);
        entry.parents.is_empty() || linked && self.of(set, &entry.signer, true).all(knew)
    }

    fn is_revoked(&self, set: &BTreeSet<Id>, key: &DeviceId) -> bool {
        self.of(set, key, true).any(|revoke| self.revoke_counts(revoke))
    }

    fn is_member(&self, set: &BTreeSet<Id>, key: &DeviceId) -> bool {
        self.of(set, key, false).any(|link| self.link_counts(set, link)) && !self.is_revoked(set, key)
    }
}

fn entry(kind: EntryKind, account: Id, parents: Vec<Id>, by: u8, device: u8) -> Proven<RosterEntry> {
    let founding = Founding { nonce: Nonce::ZERO, recovery: None.into() };
    let name = if kind == EntryKind::Revoke { "" } else { "device" };
    Proven::assume(RosterEntry {
        kind: kind.number(),
        account,
        parents: List::new(parents).unwrap_or_default(),
        signer: key(by),
        device: key(device),
        name: Text::new(name).unwrap_or_default(),
        made: Hlc::ZERO,
        genesis: (kind == EntryKind::Genesis).then_some(founding).into(),
        cut: (kind == EntryKind::Revoke).then(|| Cut { tips: List::default(), heads: List::default() }).into(),
    })
}

const STILL: Budget = Budget { initiate: 0, request: 0, write: 0, timeout: 0, ..CALM };

/// What may happen in each exploration; each is exhausted.
const FACETS: &[(&str, Edits)] = &[
    ("linked and revoked apart", Edits { link: 1, revoke: 2, session: STILL }),
    ("handed over while it is revoked", Edits { link: 0, revoke: 1, session: Budget { initiate: 1, ..STILL } }),
    ("asked for by one that is revoked", Edits { link: 0, revoke: 1, session: Budget { request: 1, ..STILL } }),
];

/// By the clause that isn't kept: what is done instead, and what may happen.
const MISTAKES: &[(Clause, &str, Edits)] = &[
    (Clause::ACCOUNT_COUNT_1, "a revoke by a revoked device", Edits { link: 0, revoke: 2, session: STILL }),
    (Clause::ACCOUNT_COUNT_2, "a link by a revoked device", Edits { link: 1, revoke: 1, session: STILL }),
    (Clause::ACCOUNT_COUNT_3, "a revoked device linked again", Edits { link: 1, revoke: 1, session: STILL }),
    (Clause::ACCOUNT_ENTRY_2, "entries before those that they cite", Edits { link: 1, revoke: 2, session: STILL }),
    (
        Clause::ACCOUNT_REVOKE_3,
        "a revoked device granted to",
        Edits { link: 0, revoke: 1, session: Budget { request: 1, ..STILL } },
    ),
];

fn explore(rules: Rules, edits: Edits) -> (usize, Option<&'static str>, Vec<&'static str>) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let model = Account { rules, edits };
    let names: Vec<_> = model.properties().into_iter().map(|property| property.name).collect();
    let failures = stateright::HasDiscoveries::AnyFailures;
    let checker = model.checker().threads(threads).finish_when(failures).spawn_bfs().join();
    let path = checker.discovery("no law is broken");
    let broken = path.as_ref().and_then(|path| path.last_state().world.broken);
    if rules == Rules::ALL {
        path.into_iter().flat_map(stateright::Path::into_actions).for_each(|action| println!("  {action:?}"));
    }
    let reached = names.into_iter().skip(1).filter(|name| checker.discovery(name).is_some()).collect();
    (checker.unique_state_count(), broken, reached)
}

/// The laws of rosters hold in every state that can be reached.
#[test]
fn rosters_that_are_edited_apart_agree_and_nobody_is_granted_to_that_is_known_to_be_revoked() {
    let (mut total, mut all) = (0, BTreeSet::new());
    for (name, edits) in FACETS {
        let (states, broken, reached) = explore(Rules::ALL, *edits);
        println!("{name}: {states} unique states");
        assert_eq!(broken, None, "{name}");
        total += states;
        all.extend(reached);
    }
    println!("{total} unique states");
    let named = Account { rules: Rules::ALL, edits: FACETS[0].1 }.properties().into_iter().skip(1);
    let missed: Vec<_> = named.map(|property| property.name).filter(|name| !all.contains(name)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
    assert!(total >= 10_000, "only {total} unique states");
}

/// Every seeded mistake breaks one of them.
#[test]
fn every_seeded_mistake_of_rosters_is_caught() {
    for (clause, what, edits) in MISTAKES {
        let (states, broken, _) = explore(Rules::without(*clause), *edits);
        println!("{clause}: {what}: {} after {states} states", broken.unwrap_or("NOT CAUGHT"));
        assert!(broken.is_some(), "{clause}: {what}: not caught in {states} states");
    }
}
