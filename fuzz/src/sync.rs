//! Sync: what frames stand for, copies of parts that meet, and devices that feed each other.

use segue_proto::Rules;
use segue_proto::data::{Manifest, NewOp, Part, PartKind, Replaces, State, Written};
use segue_proto::sync::{Change, Changes, Feed, Inbound, Outbound};
use segue_proto::wire::codec::decode;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{ActorId, DeviceId, Hash, Hlc, Message, Nonce, PartId, SessionId};

use crate::input::Input;

/// A byte that chooses one of three, and then: frames, of which STRAND, OPS and PARTS are taken in; three copies of a
/// part, each behind its length in two bytes; or choices of what three honest devices write and tell each other.
///
/// What was taken in once changes nothing the second time, and a journal that keeps it gives it back. Copies merge to
/// the same whatever the order. Devices that told each other all hold the same.
pub fn sync(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => frames(input.rest()),
        1 => copies(&mut input),
        _ => devices(&mut input),
    }
}

fn frames(bytes: &[u8]) {
    let mut framer = Framer::default();
    framer.push(bytes);
    let (mut state, mut names) = (State::new(SESSION, "notes"), Inbound::default());
    while let Ok(Some(frame)) = framer.next(Rules::ALL) {
        let Ok(Some(message)) = Message::decode(Rules::ALL, frame.number, &frame.payload) else { return };
        if take(&mut state, &mut names.clone(), &message).is_none() {
            return;
        }
        let root = state.root();
        let _ = take(&mut state, &mut names, &message);
        assert_eq!(state.root(), root, "what comes twice changes nothing");
    }
    for part in state.parts() {
        let Some(stream) = state.stream(&part.part) else { continue };
        assert_eq!(stream.tips(), part.strands.to_vec());
        assert!(stream.in_order().len() <= stream.len());
        assert!(stream.arrived(0).count() <= stream.len());
    }
}

/// Takes in a message; the parts and ops that changed, none if it was refused.
fn take(state: &mut State, names: &mut Inbound, message: &Message) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    match message {
        Message::Strand(strand) => names.on_strand(Rules::ALL, strand).ok()?,
        Message::Ops(ops) => {
            for op in names.on_ops(Rules::ALL, ops.clone()).ok()? {
                let change = Change::Op(op.part, op.actor, op.seq);
                let new = state.deliver(Rules::ALL, op.part, op.kind, (op.actor, op.seq), op.seed, op.op);
                changes.extend(new.ok()?.then_some(change));
            }
        }
        Message::Parts(parts) => {
            for bytes in parts.parts.iter() {
                let part: Part = decode(Rules::ALL, bytes).ok()?;
                let new = state.merge(Rules::ALL, &part);
                changes.extend(new.ok()?.then_some(Change::Part(part.part)));
            }
        }
        _ => {}
    }
    Some(changes)
}

fn copies(input: &mut Input<'_>) {
    let mut copy = || {
        let len = usize::from(input.short());
        decode::<Part>(Rules::ALL, input.take(len)).ok().filter(|part| part.kind != PartKind::Exclusive.number())
    };
    let (Some(a), Some(b), Some(c)) = (copy(), copy(), copy()) else { return };
    let merged = |order: [&Part; 3]| {
        let mut state = State::new(SESSION, "");
        order.iter().try_for_each(|part| state.merge(Rules::ALL, part).map(|_| ())).ok()?;
        order.iter().for_each(|part| assert_eq!(state.merge(Rules::ALL, part), Ok(false), "nothing is new in a copy"));
        let part = state.part(&a.part)?;
        let mut loaded = State::new(SESSION, "");
        assert_eq!(loaded.load_part(Rules::ALL, &state.part_bytes(&a.part)?), Ok(()));
        assert_eq!(loaded.part(&a.part), Some(part));
        Some(state.to_manifest())
    };
    let orders = [[&a, &b, &c], [&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]];
    let all: Vec<Manifest> = orders.into_iter().filter_map(merged).collect();
    // Where one order is refused another may not be: a fork shows only until the strand has gone on.
    if all.len() == orders.len() && [&b, &c].iter().all(|part| part.part == a.part) {
        assert!(all.iter().all(|manifest| *manifest == all[0]), "the order of merges doesn't matter");
    }
}

/// A device that keeps the rules.
struct Device {
    state: State,
    changes: Changes,
    feeds: [Feed; 3],
    outbound: [Outbound; 3],
    inbound: [Inbound; 3],
}

fn devices(input: &mut Input<'_>) {
    let mut all: Vec<Device> = (0..3).map(device).collect();
    for step in 0..200u8 {
        if input.is_empty() {
            break;
        }
        let (who, what) = (input.below(3), input.byte());
        match what % 8 {
            0..=3 => all[who].write(who, what, step, input.below(4) as u64),
            _ => drop(tell(&mut all, who, usize::from(what / 8) % 3)),
        }
    }
    while (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(a, b)| tell(&mut all, *a, *b)).count() > 0 {
    }
    let first = all[0].state.to_manifest();
    assert!(Manifest::open(Rules::ALL, &first.to_bytes(), &SESSION).is_ok());
    for other in &all[1..] {
        assert_eq!(other.state.to_manifest(), first, "who told each other all holds the same");
        for part in other.state.parts() {
            let order = |state: &State| {
                state.stream(&part.part).map(|it| it.in_order().iter().map(|op| (op.actor, op.seq)).collect::<Vec<_>>())
            };
            assert_eq!(order(&other.state), order(&all[0].state), "a log has one order");
        }
    }
}

fn device(at: usize) -> Device {
    let feed = |to: u8| Feed::new(DeviceId::new([to; 32]), 0, true);
    Device {
        state: State::new(SESSION, "notes"),
        changes: Changes::new(Nonce::new([at as u8 + 1; 16])),
        feeds: [feed(0), feed(1), feed(2)],
        outbound: Default::default(),
        inbound: Default::default(),
    }
}

impl Device {
    fn write(&mut self, who: usize, what: u8, step: u8, ms: u64) {
        let kind = if what.is_multiple_of(2) { PartKind::Register } else { PartKind::Log };
        let long = if what & 0x40 != 0 { 12_000 } else { 3 };
        let new = NewOp {
            actor: ActorId::new([who as u8 + 1; 32]),
            part: PartId::new([what % 4; 16]),
            kind: kind.number(),
            hlc: Hlc::new((ms << 16).to_be_bytes()),
            record: Hash::new([what & 0x10; 32]),
            salt: Nonce::new([step; 16]),
            body: vec![step; long],
            replaces: Replaces::All,
        };
        let change = match self.state.write(Rules::ALL, new) {
            Ok(Written::Value(op)) => Change::Part(op.part),
            Ok(Written::Op { part, actor, seq }) => Change::Op(part, actor, seq),
            Err(_) => return,
        };
        self.changes.note(self.changes.next(), change, None);
    }
}

/// One device tells another the next that it has to tell; whether there was anything.
fn tell(all: &mut [Device], from: usize, to: usize) -> bool {
    if from == to {
        return false;
    }
    let source = &mut all[from];
    let step = source.feeds[to].step(&mut source.outbound[to], &source.changes, &source.state);
    let Some(messages) = step else { return false };
    let target = &mut all[to];
    for message in messages {
        let mut names = std::mem::take(&mut target.inbound[from]);
        let changes = take(&mut target.state, &mut names, &message);
        target.inbound[from] = names;
        for change in changes.expect("what an honest device tells is taken in") {
            let same = match (change, &message) {
                (Change::Part(id), Message::Parts(parts)) => parts.parts.iter().any(|bytes| {
                    let part = decode::<Part>(Rules::ALL, bytes).ok();
                    part.is_some_and(|part| part.part == id && target.state.part(&id) == Some(&part))
                }),
                _ => true,
            };
            let source = same.then_some(DeviceId::new([from as u8; 32]));
            target.changes.note(target.changes.next(), change, source);
        }
    }
    true
}

/// The session of this target.
pub(crate) const SESSION: SessionId = SessionId::new([6; 16]);
