//! Handoffs that come to nothing, in sessions of three devices: what each of them learns of a rejection, a withdrawal and
//! an offer that another one supersedes, and that the session then goes on (HO-DECLINE-1, HO-CANCEL-1, HO-OFFER-3,
//! HO-HEAD-6). Each pair of devices speaks 1.7, 2 or 7.

use segue_proto::wire::{Hash, SessionId};
use segue_proto::{Code, Event, Generation, Policy, SessionRole};
use segue_testkit::device::{Command, LocalDevice};
use segue_testkit::flights::{PATIENCE, create};
use segue_testkit::{Options, Users, World};

/// The first device owns; the others follow.
struct Three {
    world: World<LocalDevice>,
    session: SessionId,
    /// How many events of each device were looked at.
    seen: [usize; 3],
}

/// All mixtures of three generations that have offers.
fn mixtures() -> impl Iterator<Item = [Generation; 3]> {
    const OFFERING: [Generation; 3] = [Generation::V1_7, Generation::V2, Generation::V7];
    (0..27).map(|at| [OFFERING[at % 3], OFFERING[at / 3 % 3], OFFERING[at / 9]])
}

impl Three {
    fn new(generations: [Generation; 3]) -> Three {
        Three::with(generations, Policy::Deny)
    }

    fn with(generations: [Generation; 3], pulls: Policy) -> Three {
        let mut world = World::local(Options::calm(1, 1_000, 100));
        world.set_users(Users::ABSENT);
        world.add(3, |at, setup| {
            setup.generation = generations[at];
            setup.pulls = pulls;
            setup.follow = true;
        });
        let session = create(&mut world, 0, &[1, 2]);
        world.link_all();
        let mut three = Three { world, session, seen: [0; 3] };
        three.write(0, "one");
        three
    }

    fn write(&mut self, node: usize, view: &str) {
        let session = self.session;
        self.world.command(node, Command::WriteExclusive { session, bytes: view.into() }).unwrap();
        self.world.run_for(PATIENCE / 4);
        for at in 0..3 {
            let shown = self.world.session(at, session).and_then(|state| state.exclusive);
            assert_eq!(shown.as_deref(), Some(view.as_bytes()), "device {at}");
        }
    }

    /// The owner offers the session; the token that the other one is told.
    fn offer(&mut self, from: usize, to: usize) -> Hash {
        let (session, device) = (self.session, self.world.id(to));
        self.world.command(from, Command::Initiate { session, to: device, timeout_us: PATIENCE }).unwrap();
        self.told(to, "of an offer", |event| match event {
            Event::HandoffRequest { token, .. } => Some(*token),
            _ => None,
        })
    }

    /// What an event says that the device has told since those that were looked at before.
    fn told<T>(&mut self, node: usize, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let from = self.seen[node];
        let find = |world: &World<LocalDevice>| {
            let mut events = world.events(node).iter().enumerate().skip(from);
            events.find_map(|(at, (_, event))| wanted(event).map(|told| (at + 1, told)))
        };
        self.world.run_until(PATIENCE / 2, |world| find(world).is_some());
        let Some((seen, told)) = find(&self.world) else {
            panic!("device {node} isn't told {what}\n{}", self.world.trace().join("\n"))
        };
        self.seen[node] = seen;
        told
    }

    /// The owner's handoff to this device ends with this code.
    fn ends(&mut self, owner: usize, to: usize, code: Code) {
        let peer = self.world.id(to);
        let ended = self.told(owner, "how its handoff ended", |event| match event {
            Event::HandoffResolved { peer: at, result: Err(code), .. } if *at == peer => Some(*code),
            _ => None,
        });
        assert_eq!(ended, code);
    }

    fn withdrawn(&mut self, from: usize, offer: Hash, code: Code) {
        let told = self.told(from, "that the offer is withdrawn", |event| match event {
            Event::Withdrawn { token, code, .. } if *token == offer => Some(*code),
            _ => None,
        });
        assert_eq!(told, code);
        // Its user comes too late.
        let late = self.world.command(from, Command::Accept { token: offer });
        assert_eq!(late.unwrap_err().code, Code::HO_TOKEN_BAD);
    }

    /// All three know that this device owns the session, under one head; and it writes.
    fn owned_by(&mut self, owner: usize, view: &str) {
        let (session, id) = (self.session, self.world.id(owner));
        self.world.run_for(PATIENCE / 4);
        assert_eq!(self.world.primaries(session), [owner]);
        let states: Vec<_> = (0..3).filter_map(|at| self.world.session(at, session)).collect();
        assert!(states.iter().all(|state| state.owner == Some(id) && state.head == states[0].head), "{states:?}");
        self.write(owner, view);
        self.world.check_settled();
        assert!(self.world.breaches().is_empty(), "{:?}", self.world.breaches());
    }

    /// The session goes from one to another, and the third one is told.
    fn moves(&mut self, from: usize, to: usize, view: &str) {
        let token = self.offer(from, to);
        self.world.command(to, Command::Accept { token }).unwrap();
        self.learns(3 - from - to, to);
        self.owned_by(to, view);
    }

    fn learns(&mut self, node: usize, owner: usize) {
        let id = self.world.id(owner);
        self.told(node, "of the new owner", |event| match event {
            Event::HeadChanged { owner, .. } if *owner == Some(id) => Some(()),
            _ => None,
        });
    }
}

#[test]
fn after_a_rejection_the_owner_goes_on_and_knows_why() {
    for generations in mixtures() {
        let mut three = Three::new(generations);
        let token = three.offer(0, 1);
        let reason = Some("in a call".to_owned());
        three.world.command(1, Command::Reject { token, reason: reason.clone() }).unwrap();
        three.ends(0, 1, Code::HO_DECLINED);
        let said = three.world.events(0).iter().rev().find_map(|(_, event)| match event {
            Event::HandoffResolved { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(said, Some(reason), "{generations:?}");
        three.owned_by(0, "two");
        three.moves(0, 2, "three");
    }
}

#[test]
fn what_is_withdrawn_cant_be_accepted_and_the_owner_goes_on() {
    for generations in mixtures() {
        let mut three = Three::new(generations);
        let token = three.offer(0, 1);
        three.world.command(0, Command::CancelHandoff { session: three.session }).unwrap();
        three.ends(0, 1, Code::HO_CANCELLED);
        three.withdrawn(1, token, Code::HO_CANCELLED);
        three.owned_by(0, "two");
        three.moves(0, 1, "three");
    }
}

#[test]
fn of_two_offers_the_later_stands_and_all_learn_who_owns() {
    for generations in mixtures() {
        let mut three = Three::new(generations);
        let first = three.offer(0, 1);
        let second = three.offer(0, 2);
        three.ends(0, 1, Code::HO_SUPERSEDED);
        three.withdrawn(1, first, Code::HO_SUPERSEDED);
        three.world.command(2, Command::Accept { token: second }).unwrap();
        three.learns(1, 2);
        three.owned_by(2, "two");
        assert_eq!(three.world.session(1, three.session).map(|state| state.role), Some(SessionRole::Secondary));
        // The device that came off empty may be offered it again, by the new owner.
        three.moves(2, 1, "three");
    }
}

#[test]
fn who_asked_a_device_that_handed_over_meanwhile_is_told_at_once() {
    for generations in mixtures() {
        let mut three = Three::with(generations, Policy::Ask);
        let (session, from) = (three.session, three.world.id(0));
        three.world.command(2, Command::Request { session, from, timeout_us: PATIENCE }).unwrap();
        let token = three.offer(0, 1);
        three.world.command(1, Command::Accept { token }).unwrap();
        three.ends(2, 0, Code::HO_STALE_PARENT);
        three.owned_by(1, "two");
        three.moves(1, 2, "three");
    }
}
