//! How many one-way delays and how many syncs a handoff takes.
//!
//! A world in which every message takes one unit and nothing else takes time counts flights; one in which every sync
//! takes one unit counts syncs. The counts are exact, so a budget is an equality.

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Event, Generation, Policy, SessionRole};

use crate::device::{Command, LocalDevice, Reply, SessionState};
use crate::world::{Options, World};

/// The kinds of handoff that have a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The source starts, the target consented before.
    Consented,
    /// The source starts, and the target's user accepts the offer.
    Accepted,
    /// The target starts.
    Pulled,
}

/// What a handoff takes, from the command that starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flights {
    /// One-way delays until the target is active.
    pub to_active: u64,
    /// One-way delays until the source knows.
    pub to_resolved: u64,
    /// Syncs, one after the other, until the target is active.
    pub syncs_to_active: u64,
    /// Syncs, one after the other, until the source knows.
    pub syncs_to_resolved: u64,
}

impl Flights {
    /// Counts a handoff between two linked devices of the newest generation, where the target holds all the data; but
    /// for the last exclusive write, unless the handoff starts with an offer.
    pub fn count(way: Way) -> Flights {
        let (to_active, to_resolved) = Pair::new(UNIT, 0).measure(way);
        let (syncs_to_active, syncs_to_resolved) = Pair::new(0, UNIT).measure(way);
        Flights { to_active, to_resolved, syncs_to_active, syncs_to_resolved }
    }
}

/// Two linked devices and a session that both hold: owner and target.
pub struct Pair {
    /// The world that they are in: device 0 owns, device 1 doesn't.
    pub world: World<LocalDevice>,
    /// The session.
    pub session: SessionId,
}

impl Pair {
    /// A pair in a calm world with this delay and sync, in microseconds, where the session went over and came back.
    pub fn new(delay: u64, sync: u64) -> Pair {
        Pair::of(Options::calm(1, delay, sync), [Generation::V7; 2])
    }

    /// A pair of these generations in a world of these options, where the session went over and came back.
    pub fn of(options: Options, generations: [Generation; 2]) -> Pair {
        let mut pair = Pair::fresh(options, generations);
        for (from, to) in [(0, 1), (1, 0)] {
            pair.pull(from, to);
        }
        pair
    }

    /// A pair of these generations in which only device 0 knows the session.
    pub fn fresh(options: Options, generations: [Generation; 2]) -> Pair {
        let mut world = World::local(options);
        world.add(2, |at, setup| {
            setup.generation = generations[at];
            setup.pulls = Policy::Allow;
        });
        world.link(0, 1);
        let ready = |event: &Event| matches!(event, Event::LinkReady { .. }).then_some(());
        world.run_until_event(1, PATIENCE, ready);
        world.run_for(10 * UNIT);
        let session = create(&mut world, 0, &[1]);
        world.allow_pulls(session);
        let _ = world.command(0, Command::WriteFile { session, path: "notes".into(), content: b"one".to_vec() });
        let _ = world.command(0, Command::WriteExclusive { session, bytes: b"cursor at 1".to_vec() });
        world.run_for(10 * UNIT);
        Pair { world, session }
    }

    /// The id of a device of the pair.
    pub fn id(&self, node: usize) -> DeviceId {
        self.world.id(node)
    }

    /// Lets `to` ask `from` for the session; whether it is active in the end.
    pub fn pull(&mut self, from: usize, to: usize) -> bool {
        let request = Command::Request { session: self.session, from: self.id(from), timeout_us: PATIENCE };
        let asked = self.world.command(to, request).is_ok();
        asked && self.settle(to)
    }

    /// Lets `from` hand the session to `to`; whether `to` is active in the end.
    pub fn push(&mut self, from: usize, to: usize) -> bool {
        let initiate = Command::Initiate { session: self.session, to: self.id(to), timeout_us: PATIENCE };
        let begun = self.world.command(from, initiate).is_ok();
        begun && self.settle(to)
    }

    /// Runs until `to` is primary and nothing is under way any more; whether it is.
    pub fn settle(&mut self, to: usize) -> bool {
        let session = self.session;
        let done =
            self.world.run_until(PATIENCE, |world| world.primaries(session) == [to] && world.oracle().is_settled());
        self.world.run_for(10 * UNIT);
        done
    }

    /// Units until the target is active, and until the source knows.
    fn measure(mut self, way: Way) -> (u64, u64) {
        let (source, target) = (0, 1);
        let session = self.session;
        if way == Way::Consented {
            let consent = Command::Consent { session, to: self.id(source), ttl_us: PATIENCE };
            let _ = self.world.command(target, consent);
            self.world.run_for(2 * UNIT);
        }
        // An accepted offer names its manifest, which a target that lacks it fetches first; the other ways send the
        // last write along.
        if way != Way::Accepted {
            let _ = self.world.command(source, Command::WriteExclusive { session, bytes: b"cursor at 2".to_vec() });
            self.world.run_for(2 * UNIT);
        }
        let start = self.world.now();
        let (starter, command) = match way {
            Way::Pulled => (target, Command::Request { session, from: self.id(source), timeout_us: PATIENCE }),
            _ => (source, Command::Initiate { session, to: self.id(target), timeout_us: PATIENCE }),
        };
        let _ = self.world.command(starter, command);
        let mut until = |done: fn(&SessionState) -> bool, node: usize| {
            self.world.run_until(PATIENCE, |world| world.session(node, session).is_some_and(|state| done(&state)));
            self.world.now().since(start) / UNIT
        };
        let active = until(|state| state.role == SessionRole::Primary, target);
        let resolved = until(|state| state.role == SessionRole::Secondary && state.pending.is_none(), source);
        (active, resolved)
    }
}

/// Creates a session with these members and waits until it exists.
pub fn create(world: &mut World<LocalDevice>, node: usize, members: &[usize]) -> SessionId {
    let members = members.iter().map(|at| world.id(*at)).collect();
    let reply = world.command(node, Command::Create { name: "notes".into(), members });
    let Ok(Reply::Session(session)) = reply else { return SessionId::ZERO };
    world.run_until(PATIENCE, |world| world.primaries(session) == [node]);
    session
}

/// A unit of time, in microseconds: above every timer's resolution, and so short that no timer fires.
pub const UNIT: u64 = 20_000;

/// Longer than anything takes that works, in microseconds.
pub const PATIENCE: u64 = 20_000_000;
