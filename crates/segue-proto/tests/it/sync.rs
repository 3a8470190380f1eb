//! What a feed sends: frames that a peer takes, and ops that are whole again there.

use segue_proto::Rules;
use segue_proto::data::{NewOp, Part, PartKind, State, Written};
use segue_proto::limits::{MAX_FRAME, MAX_SYNC_PARTS};
use segue_proto::sync::{Change, Changes, FedOp, Feed, Inbound, Outbound};
use segue_proto::wire::codec::decode;
use segue_proto::wire::{DeviceId, Hash, Hlc, Message, Nonce, PartId};

use crate::util::{SESSION, actor, part};

/// A device's copy of a session, with its log of changes.
struct Copy {
    state: State,
    changes: Changes,
}

impl Copy {
    fn new() -> Copy {
        Copy { state: State::new(SESSION, "notes"), changes: Changes::new(Nonce::new([1; 16])) }
    }

    fn append(&mut self, by: u8, body: &[u8]) {
        let written = self.write(by, part(1), PartKind::Log, body);
        let Written::Op { seq, .. } = written else { panic!("a log has no values") };
        self.changes.note(self.changes.next(), Change::Op(part(1), actor(by), seq), None);
    }

    fn write(&mut self, by: u8, part: PartId, kind: PartKind, body: &[u8]) -> Written {
        let (hlc, record, salt) = (Hlc::new([1, 0, 0, 0, 0, 0, 0, 0]), Hash::new([4; 32]), Nonce::new([by; 16]));
        let (actor, kind) = (actor(by), kind.number());
        let new = NewOp { actor, part, kind, hlc, record, salt, body: body.to_vec(), resolves: false };
        self.state.write(Rules::ALL, new).unwrap()
    }

    fn op(&self, by: u8, seq: u64) -> FedOp {
        let (actor, stream) = (actor(by), self.state.stream(&part(1)).unwrap());
        let (op, seed) = (stream.op(&actor, seq).unwrap().clone(), stream.seed(&actor).unwrap());
        FedOp { session: SESSION, part: part(1), kind: PartKind::Log.number(), actor, seq, seed, op, known: Vec::new() }
    }

    fn take(&mut self, op: FedOp) -> bool {
        let FedOp { part, kind, actor, seq, seed, op, .. } = op;
        self.changes.note(self.changes.next(), Change::Op(part, actor, seq), None);
        self.state.deliver(Rules::ALL, part, kind, (actor, seq), seed, op).unwrap()
    }

    /// All that a feed from the start sends.
    fn fed(&self) -> Vec<Message> {
        let (mut feed, mut names) = (Feed::new(DeviceId::new([9; 32]), 0, true), Outbound::default());
        std::iter::from_fn(|| feed.step(&mut names, &self.changes, &self.state)).flatten().collect()
    }
}

fn ops(messages: Vec<Message>) -> Vec<FedOp> {
    let mut inbound = Inbound::default();
    let mut whole = Vec::new();
    for message in messages {
        match message {
            Message::Strand(strand) => inbound.on_strand(Rules::ALL, &strand).unwrap(),
            Message::Ops(ops) => whole.extend(inbound.on_ops(Rules::ALL, ops).unwrap()),
            other => panic!("{} in a feed of a log", other.row().name),
        }
    }
    whole
}

#[test]
fn wire_frame_1_ops_that_read_much_fit_their_frames() {
    const OTHERS: u8 = 60;
    // Each op of the one writer reads one more of every other's.
    let (mut writer, mut others) = (Copy::new(), Copy::new());
    for round in 1..=450 {
        for by in 2..2 + OTHERS {
            others.append(by, b"");
            writer.take(others.op(by, round));
        }
        writer.append(1, b"read all");
    }
    // A device that got all the others' first sends the writer's in a row.
    let mut relay = Copy::new();
    ops(others.fed()).into_iter().for_each(|op| assert!(relay.take(op)));
    ops(writer.fed()).into_iter().filter(|op| op.actor == actor(1)).for_each(|op| assert!(relay.take(op)));
    assert_eq!(relay.state.root(), writer.state.root());
    let messages = relay.fed();
    let longest = messages.iter().map(|message| message.to_frame().len()).max().unwrap();
    assert!(longest <= MAX_FRAME, "a frame of {longest} bytes");
    let mut last = Copy::new();
    ops(messages).into_iter().for_each(|op| assert!(last.take(op)));
    assert_eq!(last.state.root(), relay.state.root());
}

#[test]
fn a_row_of_ops_goes_in_one_message_under_one_name() {
    let mut copy = Copy::new();
    (0..100).for_each(|_| copy.append(1, b"key"));
    let names: Vec<_> = copy.fed().iter().map(|message| message.row().name).collect();
    assert_eq!(names, ["STRAND", "OPS"]);
}

/// WIRE-CAP-1: parts of a few bytes, of which more fit a frame than a PARTS may hold.
#[test]
fn parts_that_are_many_and_small_go_in_as_few_messages_as_hold_them() {
    let mut copy = Copy::new();
    let id = |number: usize| PartId::new((number as u128).to_be_bytes());
    for number in 1..=2 * MAX_SYNC_PARTS {
        copy.write(1, id(number), PartKind::Register, b"");
        copy.changes.note(copy.changes.next(), Change::Part(id(number)), None);
    }
    let parts = |message: Message| {
        let Message::Parts(parts) = message else { panic!("{} in a feed of registers", message.row().name) };
        parts.parts.iter().map(|part| decode::<Part>(Rules::ALL, part).unwrap().part).collect::<Vec<_>>()
    };
    let fed: Vec<_> = copy.fed().into_iter().map(parts).collect();
    assert_eq!(fed.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_SYNC_PARTS; 2]);
    assert_eq!(fed.concat(), (1..=2 * MAX_SYNC_PARTS).map(id).collect::<Vec<_>>());
}
