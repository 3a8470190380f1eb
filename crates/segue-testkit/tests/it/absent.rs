//! A device that was offline while ownership moved five times, and that wrote meanwhile as the others did: it comes back,
//! and all that anybody wrote is there, shown or listed as a conflict, on all of them. It doesn't own.

use std::collections::BTreeSet;

use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::SessionId;
use segue_proto::wire::hash::blob_id;
use segue_proto::{Clause, Event, Policy, SessionRole};
use segue_testkit::device::{Command, LocalDevice, Reply};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Options, World};

const DEVICES: usize = 3;
/// The device that is away, and owned at first.
const ABSENT: usize = 0;
const EPOCHS: usize = 5;
const SECOND: u64 = 1_000_000;

/// How ownership moves while the device is away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moves {
    /// It had handed over before it went; the others grant to one another.
    Granted,
    /// It owned when it went; the others take over from it, and from one another.
    Taken,
}

#[test]
fn back_after_five_epochs_with_all_ops() {
    for moves in [Moves::Granted, Moves::Taken] {
        for restarted in [false, true] {
            let judged = Absence::new(moves, None).play(restarted);
            assert_eq!(judged, Ok(()), "{moves:?}, restarted while away: {restarted}");
        }
    }
}

#[test]
fn not_so_without_the_clauses_of_sync() {
    for clause in [Clause::SYNC_SINCE_1, Clause::DATA_MERGE_1] {
        let judged = Absence::new(Moves::Granted, Some(clause)).play(false);
        println!("{clause}: {judged:?}");
        assert!(judged.is_err(), "nobody noticed that {clause} wasn't kept");
    }
    let judged = Absence::new(Moves::Taken, Some(Clause::HO_WRITE_2)).play(false);
    println!("{}: {judged:?}", Clause::HO_WRITE_2);
    assert!(judged.is_err(), "nobody noticed that what was fenced is gone");
}

struct Absence {
    world: World<LocalDevice>,
    session: SessionId,
    moves: Moves,
    /// What was written to shared parts, by whom, in its order.
    written: Vec<Write>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Log,
    Op,
    Register,
    File,
}

struct Write {
    kind: Kind,
    node: usize,
    text: String,
    /// Of a file.
    path: String,
}

/// The register that everybody writes, and the path that the absent device and another do, of which neither knows.
const TITLE: &str = "title";
const PLAN: &str = "plan";
/// The last time at which all write.
const LAST: &str = "after move 5";
/// The log and the opaque part.
const CHAT: &str = "chat";
const TEXT: &str = "text";

impl Absence {
    fn new(moves: Moves, without: Option<Clause>) -> Absence {
        let mut world = World::local(Options::calm(5, 1_000, 100));
        world.add(DEVICES, |_, setup| {
            (setup.pulls, setup.follow, setup.without) = (Policy::Allow, true, without);
        });
        let session = create(&mut world, ABSENT, &[1, 2]);
        world.allow_pulls(session);
        world.link_all();
        world.run_for(PATIENCE / 4);
        Absence { world, session, moves, written: Vec::new() }
    }

    fn play(mut self, restarted: bool) -> Result<(), String> {
        let others = [1, 2];
        for node in 0..DEVICES {
            self.write(node, "before");
        }
        self.world.run_for(PATIENCE / 4);
        if self.moves == Moves::Granted {
            self.moved(
                1,
                Command::Request { session: self.session, from: self.world.id(ABSENT), timeout_us: PATIENCE },
            )?;
        }
        let before = self.world.session(ABSENT, self.session).ok_or("no session")?;
        for other in others {
            self.world.cut(ABSENT, other);
            self.world.partition(ABSENT, other);
        }
        self.world.run_for(SECOND);
        for epoch in 1..=EPOCHS {
            self.epoch(epoch)?;
            if restarted && epoch == 3 {
                self.world.crash_for(ABSENT, SECOND);
                self.world.run_for(2 * SECOND);
            }
        }
        let last = *self.world.primaries(self.session).iter().find(|node| others.contains(node)).ok_or("no owner")?;
        let behind = self.world.session(ABSENT, self.session).ok_or("no session")?;
        if (behind.n, behind.term) != (before.n, before.term) {
            return Err("the device was not away".into());
        }
        for other in others {
            self.world.heal(ABSENT, other);
        }
        self.world.run_until(10 * PATIENCE, |world| world.is_settled());
        self.world.run_for(PATIENCE / 4);
        self.world.run_until(10 * PATIENCE, |world| world.is_converged());
        self.world.check_settled();
        match self.world.breaches().first() {
            Some(breach) => Err(breach.to_string()),
            None => self.judge(last, before.n, before.term),
        }
    }

    /// Everybody writes, ownership moves, and everybody writes again.
    fn epoch(&mut self, epoch: usize) -> Result<(), String> {
        (0..DEVICES).for_each(|node| self.write(node, &format!("in epoch {epoch}")));
        self.world.run_for(SECOND);
        let (owner, to) = if epoch % 2 == 1 { (1, 2) } else { (2, 1) };
        let session = self.session;
        let command = match self.moves {
            Moves::Granted => Command::Request { session, from: self.world.id(owner), timeout_us: PATIENCE },
            Moves::Taken => Command::Takeover { session },
        };
        self.moved(to, command)?;
        self.view(to, epoch);
        self.view(ABSENT, epoch);
        (0..DEVICES).for_each(|node| self.write(node, &format!("after move {epoch}")));
        self.world.run_for(SECOND);
        Ok(())
    }

    fn moved(&mut self, to: usize, command: Command) -> Result<(), String> {
        let session = self.session;
        self.world.command(to, command).map_err(|refusal| format!("{refusal:?}"))?;
        let owns = move |world: &mut World<LocalDevice>| world.primaries(session).contains(&to);
        self.world.run_until(PATIENCE, owns).then_some(()).ok_or(format!("{to} doesn't come to own"))
    }

    /// Writes one of each kind; no two writes are the same.
    fn write(&mut self, node: usize, when: &str) {
        let session = self.session;
        let op = |kind: PartKind, name: &str, text: &str| {
            let (part, body) = (named_part(&session, kind, name), text.as_bytes().to_vec());
            Command::Write { session, part, kind: kind.number(), body, resolves: true }
        };
        for kind in [Kind::Log, Kind::Op, Kind::Register, Kind::File] {
            let text = format!("{kind:?} of {node} {when}");
            let command = match kind {
                Kind::Log => op(PartKind::Log, CHAT, &text),
                Kind::Op => op(PartKind::Opaque, TEXT, &text),
                Kind::Register => op(PartKind::Register, TITLE, &text),
                Kind::File => {
                    Command::WriteFile { session, path: path(node, when), content: text.clone().into_bytes() }
                }
            };
            let wrote = self.world.command(node, command);
            assert!(matches!(wrote, Ok(Reply::Written(_))), "{text}: {wrote:?}");
            self.written.push(Write { kind, node, text, path: path(node, when) });
        }
    }

    /// The view state, by a device that takes itself for the owner.
    fn view(&mut self, node: usize, epoch: usize) {
        let bytes = format!("view of {node} in {epoch}").into_bytes();
        let owns = self.world.session(node, self.session).is_some_and(|state| state.role == SessionRole::Primary);
        let wrote = self.world.command(node, Command::WriteExclusive { session: self.session, bytes });
        assert_eq!(wrote.is_ok(), owns, "who writes the view is the owner, as far as it knows");
    }

    fn judge(&mut self, last: usize, n: u64, term: u64) -> Result<(), String> {
        let views: Vec<_> = (0..DEVICES).map(|node| self.world.session(node, self.session)).collect();
        let states: Vec<_> = views.into_iter().collect::<Option<_>>().ok_or("a device lost the session")?;
        let fail = |good: bool, what: &str| if good { Ok(()) } else { Err(what.to_owned()) };
        fail(states.iter().all(|state| state.root == states[0].root), "the roots differ")?;
        fail(states.iter().all(|state| state.exclusive == states[0].exclusive), "the views differ")?;
        let view = format!("view of {last} in {EPOCHS}").into_bytes();
        fail(states[0].exclusive.as_ref() == Some(&view), "the view isn't the last owner's")?;
        // It doesn't own, and everybody knows who does.
        fail(self.world.primaries(self.session) == [last], "not the last owner owns")?;
        let owner = Some(self.world.id(last));
        fail(states.iter().all(|state| state.owner == owner), "the heads name different owners")?;
        fail(states[ABSENT].role == SessionRole::Secondary, "the device owns")?;
        let moved = EPOCHS as u64;
        let at = if self.moves == Moves::Granted { (n + moved, term) } else { (n + moved, term + moved) };
        fail(states.iter().all(|state| (state.n, state.term) == at), "ownership didn't move five times")?;
        // What it wrote as a primary that was none any more is kept beside, and it is told.
        let copies = usize::from(self.moves == Moves::Taken);
        fail(states[ABSENT].copies == copies, "what was fenced isn't kept")?;
        let fenced = |event: &Event| matches!(event, Event::Fenced { copies, .. } if *copies > 0);
        let told = self.world.events(ABSENT).iter().any(|(_, event)| fenced(event));
        fail(told == (copies > 0), "whether it was fenced isn't told")?;
        (0..DEVICES).try_for_each(|node| self.judge_ops(node))
    }

    /// Every op is there once, and of values that nobody had read none is lost.
    fn judge_ops(&mut self, node: usize) -> Result<(), String> {
        // Content may be asked of a device that doesn't hold it yet; of the session nothing is refused.
        let of_session = |event: &Event| matches!(event, Event::Refused { session: Some(_), .. });
        let refused = self.world.events(node).iter().find(|(_, event)| of_session(event));
        if let Some((_, event)) = refused {
            return Err(format!("{node} is refused something: {event:?}"));
        }
        let shown = self.world.session(node, self.session).ok_or("no session")?;
        let state = self.world.device(node).and_then(|device| device.endpoint().state(&self.session));
        let state = state.ok_or("no data")?;
        let stream = |kind, name| state.stream(&named_part(&self.session, kind, name));
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        let log = stream(PartKind::Log, CHAT).ok_or("no log")?.in_order().iter().map(|op| text(op.body)).collect();
        let ops = stream(PartKind::Opaque, TEXT).ok_or("no ops")?.arrived(0).map(|op| text(op.body)).collect();
        for (kind, mut held) in [(Kind::Log, log), (Kind::Op, ops)] as [(Kind, Vec<String>); 2] {
            let mut wrote: Vec<_> = self.of(kind).map(|write| write.text.clone()).collect();
            held.sort();
            wrote.sort();
            if held != wrote {
                return Err(format!("{node} holds {} of {} of {kind:?}", held.len(), wrote.len()));
            }
        }
        let title = state.part(&named_part(&self.session, PartKind::Register, TITLE)).ok_or("no title")?;
        let titles: BTreeSet<_> = title.values.iter().map(|value| text(&value.op.body)).collect();
        let last = |by: usize| self.of(Kind::Register).rfind(|write| write.node == by).map(|write| &write.text);
        // The other two had read each other's values, and may have replaced them.
        let others = (1..DEVICES).filter_map(last).filter(|text| titles.contains(*text)).count();
        if last(ABSENT).is_none_or(|text| !titles.contains(text)) || others == 0 {
            return Err(format!("{node} lists of the title just {titles:?}"));
        }
        for Write { text, path, .. } in self.of(Kind::File) {
            let listed = shown.conflicts.get(path).into_iter().flatten();
            if !listed.chain(shown.files.get(path)).any(|held| *held == blob_id(text.as_bytes())) {
                return Err(format!("{node} doesn't hold {text} at {path}"));
            }
        }
        let listed = state.conflicted().filter(|part| part.is_conflicted()).count();
        (listed == 2).then_some(()).ok_or(format!("{node} lists {listed} conflicts"))
    }

    fn of(&self, kind: Kind) -> impl DoubleEndedIterator<Item = &Write> {
        self.written.iter().filter(move |write| write.kind == kind)
    }
}

/// Where a device writes a file: at a path of its own, but for the last.
fn path(node: usize, when: &str) -> String {
    if when == LAST && node < 2 { PLAN.into() } else { format!("of {node}/{when}") }
}
