//! Playing a sequence: devices of the subject in a world of their own, and the oracle that watches them.

use std::collections::BTreeMap;

use segue_proto::wire::{DeviceId, Message, SessionId};
use segue_proto::{Instant, Policy};
use segue_testkit::device::{Command, Inspect, Reply, Start};
use segue_testkit::world::Strike;
use segue_testkit::{Options, Promise, Rng, Users, World};

use super::sequence::{Around, Sequence, Step};
use super::{Act, Extra, Property};
use crate::attach::{Failure, Slot};
use crate::lab::Line;
use crate::pairs::Shared;
use crate::run::Reason;

/// What broke in a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Which promise, by its name in the overview of the spec; or `adapter` if there was no subject to judge.
    pub class: &'static str,
    /// What was demanded and what came, with the end of the trace.
    pub reason: Reason,
    /// The whole trace.
    pub trace: Vec<String>,
}

/// Plays a sequence; what broke first, if anything did.
pub fn play(hosts: &[Shared; 2], property: &Property, sequence: &Sequence) -> Option<Broken> {
    hosts.iter().for_each(|host| host.borrow_mut().renew());
    let mut scene = Scene::new(hosts, property, sequence);
    scene.run();
    let failure = hosts.iter().find_map(|host| host.borrow().failure());
    let found = match failure {
        Some(Failure::Broken(why)) => Some(("adapter", "an adapter that answers", why)),
        Some(Failure::Unsupported { asked, why }) => {
            Some(("adapter", "what the adapter declared in 'hello'", format!("unsupported: {asked}, {why}")))
        }
        None => scene.world.breaches().first().map(|breach| {
            let (class, expected) = words(breach.promise);
            (class, expected, format!("{} at {}: {}", breach.device, breach.at, breach.what))
        }),
    };
    let (class, expected, came) = found?;
    let trace = scene.world.trace().to_vec();
    let last = &trace[trace.len().saturating_sub(LINES)..];
    let lines = last.iter().map(|line| Line::traced(line)).collect();
    Some(Broken { class, reason: Reason { expected: expected.into(), came, lines }, trace })
}

/// A promise's name, and what it demands.
const fn words(promise: Promise) -> (&'static str, &'static str) {
    match promise {
        Promise::S1 => ("S1", "S1: one owner an epoch, by consent, whose head never falls and who alone writes"),
        Promise::S2 => ("S2", "S2: who becomes owner holds the state that the GRANT names"),
        Promise::S3 => ("S3", "S3: what was acknowledged is kept, and devices that meet hold the same"),
        Promise::S4 => ("S4", "S4: what a device promises is durable before it says so"),
        Promise::S5 => ("S5", "S5: what is said again changes nothing"),
        Promise::L2 => ("L2", "L2: an ownership that was given arrives once the faults end"),
        Promise::L3 => ("L3", "L3: every request ends by its deadline"),
        Promise::Meeting => ("S1", "S1: devices that have met agree on the owner"),
    }
}

struct Scene<'a> {
    world: World<Slot>,
    sequence: &'a Sequence,
    extra: Extra,
    session: SessionId,
}

impl<'a> Scene<'a> {
    fn new(hosts: &[Shared; 2], property: &Property, sequence: &'a Sequence) -> Scene<'a> {
        let hosts = hosts.clone();
        let mut places: BTreeMap<DeviceId, usize> = BTreeMap::new();
        let spawn = move |start: Start, now: Instant| {
            let next = places.len();
            let place = *places.entry(start.setup.device()).or_insert(next);
            hosts[place % 2].borrow_mut().start(start, now).map_err(|refusal| refusal.text)
        };
        let drawn = sequence.options();
        let mut world = World::new(Options { weather: calm(), ..drawn }, Box::new(spawn));
        world.set_shadows(property.extra == Extra::Promises);
        world.add(sequence.generations.len(), |at, setup| {
            setup.generation = sequence.generations[at];
            setup.pulls = if sequence.around.contains(&Around::Asks) { Policy::Ask } else { Policy::Allow };
            setup.follow = true;
            setup.wall_offset_ms = sequence.wall_offset_ms(at);
        });
        Scene { world, sequence, extra: property.extra, session: SessionId::ZERO }
    }

    /// A session is created, things are done, the faults end, and all must become quiet.
    fn run(&mut self) {
        if !self.create() {
            self.world.breach(Promise::L3, 0, "was asked to create a session, and there is none");
            return;
        }
        self.world.allow_pulls(self.session);
        self.world.link_all();
        self.world.run_for(10 * UNIT);
        self.world.set_options(self.sequence.options());
        for (at, step) in self.sequence.steps.iter().enumerate() {
            self.world.run_for(u64::from(step.pause) * MS);
            self.step(step, at);
            if !self.world.breaches().is_empty() {
                return;
            }
        }
        self.world.run_until(PATIENCE, |world| world.is_settled());
        self.world.calm();
        self.world.run_until(10 * PATIENCE, |world| world.is_settled());
        self.world.run_for(PATIENCE / 4);
        self.world.run_until(4 * PATIENCE, |world| world.is_converged());
        self.world.check_settled();
        if self.extra == Extra::Repeats {
            self.say_everything_again();
        }
    }

    fn create(&mut self) -> bool {
        let members = (1..self.world.len()).map(|at| self.world.id(at)).collect();
        let reply = self.world.command(0, Command::Create { name: "notes".into(), members });
        let Ok(Reply::Session(session)) = reply else { return false };
        self.session = session;
        self.world.run_until(PATIENCE, |world| world.oracle().primary(&session) == Some(0))
    }

    fn step(&mut self, step: &Step, at: usize) {
        let (session, devices) = (self.session, self.world.len());
        let owner = self.world.oracle().primary(&session).unwrap_or(0);
        let who = step.who.resolve(owner, devices);
        let other = match step.other.resolve(owner, devices) {
            other if other == who => (who + 1) % devices,
            other => other,
        };
        let us = u64::from(step.number) * MS;
        let peer = self.world.id(other);
        let content = |len: u32| {
            let text = format!("write {at} by {who}. ").into_bytes();
            text.into_iter().cycle().take(len as usize).collect::<Vec<u8>>()
        };
        let file = |path: &str| Command::WriteFile { session, path: path.into(), content: content(step.number) };
        let world = &mut self.world;
        let command = match step.act {
            Act::Write => Command::WriteExclusive { session, bytes: content(20) },
            Act::File => file(NOTES),
            Act::Photo => file("photo.raw"),
            Act::Remove => Command::Remove { session, path: NOTES.into() },
            Act::Initiate => Command::Initiate { session, to: peer, timeout_us: us },
            Act::Cancel => Command::CancelHandoff { session },
            Act::Request => Command::Request { session, from: peer, timeout_us: us },
            Act::Consent => Command::Consent { session, to: peer, ttl_us: us },
            Act::Takeover => Command::Takeover { session },
            Act::Crash => return world.crash_for(who, us),
            Act::StrikeWriting => return world.strike(who, Strike::Writing),
            Act::StrikeWritten => return world.strike(who, Strike::Written),
            Act::StrikeSynced => return world.strike(who, Strike::Synced),
            Act::StrikeSent => return world.strike(who, Strike::Sent),
            Act::FailStore => return world.fail_store(who),
            Act::Cut => return world.cut(who, other),
            Act::Partition => return world.partition_for(who, other, us),
            Act::BackUp => return world.back_up(who),
            Act::Restore => return world.restore(who),
        };
        // What a user may not do is refused, and that is all.
        let _ = world.command(who, command);
    }

    /// Says again, twice, what every device said to every other. The first time may tell what was lost with a link; the
    /// second time must change nothing of what the devices say of themselves.
    fn say_everything_again(&mut self) {
        // A user who says yes to an old request takes it up anew, which is no replay.
        self.world.set_users(Users::ABSENT);
        let devices = self.world.len();
        let pairs = (0..devices).flat_map(|from| (0..devices).map(move |to| (from, to)));
        let said: Vec<(usize, usize, Vec<Message>)> =
            pairs.filter(|(from, to)| from != to).map(|(from, to)| (from, to, self.world.said(from, to))).collect();
        let mut rng = Rng::new(u64::from(self.sequence.seed), "again");
        self.say(&said, &mut rng);
        let before: Vec<Inspect> = (0..devices).map(|at| self.world.inspect(at)).collect();
        self.say(&said, &mut rng);
        for (at, before) in before.iter().enumerate() {
            if self.world.inspect(at) != *before {
                self.world.breach(Promise::S5, at, "says something else of itself after what was said was said again");
            }
        }
    }

    /// Says it all again, out of order.
    fn say(&mut self, said: &[(usize, usize, Vec<Message>)], rng: &mut Rng) {
        for (from, to, messages) in said {
            let mut left = messages.clone();
            while !left.is_empty() {
                let message = left.swap_remove(rng.below(left.len() as u64) as usize);
                // A WANT that was given up may still be granted by policy: that is what it asks.
                let spent = match &message {
                    Message::Want(want) => self.world.oracle().is_used(&want.want.id()),
                    _ => true,
                };
                if spent {
                    self.world.say_again(*from, *to, &message);
                }
            }
        }
        self.world.run_for(PATIENCE / 4);
    }
}

const fn calm() -> segue_testkit::net::Weather {
    segue_testkit::net::Weather::calm(1_000)
}

/// The file that is removed, too.
const NOTES: &str = "notes.txt";
/// A millisecond in microseconds.
const MS: u64 = 1_000;
/// Longer than a message and a sync take in calm weather, in microseconds.
const UNIT: u64 = 20_000;
/// Longer than anything takes that works, in microseconds.
const PATIENCE: u64 = 20_000_000;
/// The lines of a trace that a report shows.
const LINES: usize = 40;
