//! What a feed sends: frames that a peer takes, and ops that are whole again there.

use segue_proto::data::{NewOp, Part, PartKind, Replaces, State, StreamOp, Written, actor_id};
use segue_proto::limits::{MARK_DELAY, MAX_FRAME, MAX_NAMED, MAX_PART, MAX_STRANDS, MAX_SYNC_PARTS};
use segue_proto::sync::{Change, Changes, FedOp, Feed, Inbound, Outbound, Word, lacks, named, whole};
use segue_proto::wire::codec::decode;
use segue_proto::wire::{
    ActorId, BriefDep, BriefOp, DeviceId, Exts, Hash, Hlc, List, Message, Nonce, Ops, PartId, SessionId, Strand, Writer,
};
use segue_proto::{Clause, Code, Instant, Rules};

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
        let new = NewOp { actor, part, kind, hlc, record, salt, body: body.to_vec(), replaces: Replaces::One };
        self.state.write(Rules::ALL, new).unwrap()
    }

    fn op(&self, by: u8, seq: u64) -> FedOp {
        let (actor, stream) = (actor(by), self.state.stream(&part(1)).unwrap());
        let (op, seed) = (stream.op(&actor, seq).unwrap().to_op(), stream.seed(&actor).unwrap());
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

const PEER: DeviceId = DeviceId::new([9; 32]);

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

/// A feed from the start, and the names that its link has.
fn feed(keeps: bool) -> (Feed, Outbound) {
    (Feed::new(PEER, 0, keeps), Outbound::default())
}

impl Copy {
    fn register(&mut self, n: u8, body: &[u8], from: Option<DeviceId>) {
        self.write(1, part(n), PartKind::Register, body);
        self.changes.note(self.changes.next(), Change::Part(part(n)), from);
    }

    /// The MARK of a feed, if one is due: its position.
    fn mark(&self, feed: &mut Feed, now: u64, much: bool) -> Option<u64> {
        feed.mark(at(now), &self.changes, &self.state, much).map(|message| {
            let Message::Mark(mark) = message else { panic!("{} for a MARK", message.row().name) };
            assert_eq!((mark.session, &*mark.name, mark.log), (SESSION, "notes", self.changes.name()));
            mark.at
        })
    }
}

/// SYNC-MARK-1: at once when all was sent for the first time, and later a while after.
#[test]
fn a_mark_follows_what_was_sent_at_once_at_first_and_then_in_a_while() {
    let mut copy = Copy::new();
    let (mut feed, mut names) = feed(true);
    copy.append(1, b"one");
    copy.append(1, b"two");
    assert_eq!(copy.mark(&mut feed, 5, true), None, "nothing was sent");
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_some());
    assert_eq!(copy.mark(&mut feed, 5, false), Some(2), "all for the first time");
    assert_eq!((copy.mark(&mut feed, 6, true), feed.next_timeout()), (None, None), "nothing is new");
    copy.append(1, b"three");
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_some());
    assert_eq!((copy.mark(&mut feed, 7, false), feed.next_timeout()), (None, Some(at(7 + MARK_DELAY))));
    // What comes meanwhile moves it no further.
    copy.append(1, b"four");
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_some());
    assert_eq!((copy.mark(&mut feed, 99, false), feed.next_timeout()), (None, Some(at(7 + MARK_DELAY))));
    assert_eq!(copy.mark(&mut feed, 6 + MARK_DELAY, false), None);
    assert_eq!((copy.mark(&mut feed, 7 + MARK_DELAY, false), feed.next_timeout()), (Some(4), None));
    copy.append(1, b"five");
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_some());
    assert_eq!(copy.mark(&mut feed, 8 + MARK_DELAY, true), Some(5), "much is on its way");
}

/// Of what isn't all sent a MARK says what is, but for the position that is being sent.
#[test]
fn a_mark_says_no_more_than_was_sent() {
    let mut copy = Copy::new();
    let (mut feed, mut names) = feed(true);
    copy.register(3, b"one", None);
    copy.append(1, b"two");
    copy.append(1, b"three");
    assert_eq!(feed.position(&copy.changes), (0, false));
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_some());
    assert_eq!(feed.position(&copy.changes), (0, false), "more may stand at the first");
    assert_eq!(copy.mark(&mut feed, 1, true), None, "that says nothing");
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_some());
    assert_eq!(feed.position(&copy.changes), (3, true));
    copy.register(2, b"four", None);
    assert_eq!(feed.position(&copy.changes), (2, false));
    assert_eq!(copy.mark(&mut feed, 1, true), Some(2));
}

#[test]
fn what_is_on_its_way_is_counted_until_it_is_held() {
    let mut copy = Copy::new();
    let (mut feed, mut names) = feed(true);
    let mut sent = Vec::new();
    for n in 1..=3 {
        copy.register(n, &[n; 100], None);
        let messages = feed.step(&mut names, &copy.changes, &copy.state).expect("a part");
        sent.push(messages.iter().map(|message| message.to_frame().len()).sum::<usize>());
        assert_eq!(feed.in_flight(), sent.iter().sum());
    }
    assert!(feed.step(&mut names, &copy.changes, &copy.state).is_none());
    assert_eq!(feed.held(), 0);
    feed.on_held(2);
    assert_eq!((feed.held(), feed.in_flight()), (2, sent[2]));
    // One that is older, or of what wasn't sent, says nothing.
    feed.on_held(1);
    feed.on_held(4);
    assert_eq!((feed.held(), feed.in_flight()), (2, sent[2]));
    feed.on_held(3);
    assert_eq!((feed.held(), feed.in_flight()), (3, 0));
    assert!(feed.is_from(0) && !feed.is_from(3));
}

#[test]
fn what_came_from_a_peer_isnt_sent_back_while_it_keeps_it() {
    let mut copy = Copy::new();
    copy.register(1, b"of the peer", Some(PEER));
    copy.register(2, b"of another", Some(DeviceId::new([8; 32])));
    copy.register(3, b"of the peer", Some(PEER));
    copy.register(4, b"own", None);
    let sent = |feed: &mut Feed, names: &mut Outbound| {
        let messages: Vec<_> = std::iter::from_fn(|| feed.step(names, &copy.changes, &copy.state)).flatten().collect();
        messages.into_iter().flat_map(ids).collect::<Vec<_>>()
    };
    let (mut some, mut names) = feed(true);
    assert_eq!(sent(&mut some, &mut names), [part(2), part(4)]);
    assert_eq!(some.position(&copy.changes), (4, true));
    let (mut all, mut names) = feed(false);
    assert_eq!(sent(&mut all, &mut names), [part(1), part(2), part(3), part(4)]);
    let (mut later, mut names) = feed(false);
    later.keeps(true);
    assert_eq!(sent(&mut later, &mut names), [part(2), part(4)]);
}

/// The parts that a PARTS brings.
fn ids(message: Message) -> Vec<PartId> {
    let Message::Parts(parts) = message else { panic!("{} in a feed of registers", message.row().name) };
    parts.parts.iter().map(|part| decode::<Part>(Rules::ALL, part).unwrap().part).collect()
}

/// WIRE-FRAME-1: two parts go in one message if they fit together, to the byte.
#[test]
fn parts_go_together_as_long_as_they_fit() {
    for (over, messages) in [(0, 1), (1, 2)] {
        let mut copy = Copy::new();
        copy.register(1, b"", None);
        let bare = copy.state.part_bytes(&part(1)).unwrap().len();
        // A length of more than 127 takes one or two bytes more.
        let body = |len: usize| len - bare - if len - bare > 16_385 { 2 } else { 1 };
        let mut lens = vec![15_360; 3];
        lens.push(MAX_PART - 3 * 15_360 + over);
        for (n, len) in (1..).zip(&lens) {
            copy.register(n, &vec![n; body(*len)], None);
            assert_eq!(copy.state.part_bytes(&part(n)).unwrap().len(), *len);
        }
        let fed = copy.fed();
        assert_eq!(fed.len(), messages, "{over} bytes over");
        assert!(fed.iter().all(|message| message.to_frame().len() <= MAX_FRAME));
        assert_eq!(fed.into_iter().flat_map(ids).count(), 4);
    }
}

/// DATA-WRITER-1: a message names at most MAX_NAMED writers, and each once on a link.
#[test]
fn the_writers_of_parts_are_named_before_or_beside_what_they_wrote() {
    for (writers, messages) in [(MAX_NAMED as u8 / 2, 1), (MAX_NAMED as u8 / 2 + 1, 2), (MAX_NAMED as u8 + 1, 4)] {
        let mut copy = Copy::new();
        for (n, first) in [(1, 0), (2, writers)] {
            // Values that don't know of one another all stay.
            for by in first..first + writers {
                let device = DeviceId::new([by; 32]);
                let writer = Writer { device, nonce: Nonce::new([by; 16]) };
                let actor = actor_id(&writer.device, &writer.nonce);
                assert!(copy.state.name_writer(writer));
                let mut other = State::new(SESSION, "notes");
                let (hlc, record, salt) = (Hlc::new([1, 0, 0, 0, 0, 0, 0, 0]), Hash::new([4; 32]), Nonce::ZERO);
                let kind = PartKind::Register.number();
                let new =
                    NewOp { actor, part: part(n), kind, hlc, record, salt, body: vec![by], replaces: Replaces::One };
                other.write(Rules::ALL, new).unwrap();
                copy.state.merge(Rules::ALL, other.part(&part(n)).unwrap()).unwrap();
            }
            copy.changes.note(copy.changes.next(), Change::Part(part(n)), None);
        }
        let fed = copy.fed();
        let (mut known, mut wrote) = (Vec::new(), 0);
        let mut with_parts = 0;
        for message in fed {
            let Message::Parts(parts) = message else { panic!("{}", message.row().name) };
            let new = named(Rules::ALL, &parts.ext).unwrap();
            assert!(new.len() <= MAX_NAMED);
            known.extend(new.iter().map(|writer| actor_id(&writer.device, &writer.nonce)));
            for part in parts.parts.iter() {
                let part: Part = decode(Rules::ALL, part).unwrap();
                assert!(part.values.iter().all(|value| known.contains(&value.op.actor)), "not named yet");
                wrote += part.values.len();
            }
            with_parts += 1;
        }
        assert_eq!(with_parts, messages, "of {writers} writers a part");
        assert_eq!((known.len(), wrote), (2 * usize::from(writers), 2 * usize::from(writers)));
        known.sort();
        known.dedup();
        assert_eq!(known.len(), 2 * usize::from(writers), "named once");
    }
}

/// A part that is too long for a frame goes in pieces, which merge to it.
#[test]
fn a_long_part_goes_in_pieces_that_merge_to_it() {
    let mut copy = Copy::new();
    for by in 1..=5 {
        let mut other = Copy::new();
        other.write(by, part(1), PartKind::Register, &[by; 16_000]);
        copy.state.merge(Rules::ALL, other.state.part(&part(1)).unwrap()).unwrap();
    }
    copy.changes.note(copy.changes.next(), Change::Part(part(1)), None);
    let whole = copy.state.part(&part(1)).unwrap().clone();
    let fed = copy.fed();
    let mut other = State::new(SESSION, "notes");
    assert_eq!(fed.len(), 5, "a value each");
    for message in fed {
        assert!(message.to_frame().len() <= MAX_FRAME);
        let Message::Parts(parts) = message else { panic!("{}", message.row().name) };
        for piece in parts.parts.iter() {
            other.merge(Rules::ALL, &decode(Rules::ALL, piece).unwrap()).unwrap();
        }
    }
    assert_eq!(other.part(&part(1)), Some(&whole));
}

/// SYNC-STRAND-1: numbers of strands stay below their bound, however many writers there are.
#[test]
fn strands_without_room_for_more_names_are_named_anew() {
    let mut copy = Copy::new();
    for n in 1..=5 {
        for by in 0..1_000_u16 {
            let actor =
                ActorId::new(*segue_proto::wire::hash::blob_id(&[&[n][..], &by.to_be_bytes()].concat()).as_bytes());
            let (seed, op) = (Nonce::new([n; 16]), op(b"x", &[]));
            copy.state.deliver(Rules::ALL, part(n), PartKind::Log.number(), (actor, 1), seed, op).unwrap();
            copy.changes.note(copy.changes.next(), Change::Op(part(n), actor, 1), None);
        }
    }
    let (mut inbound, mut highest, mut whole) = (Inbound::default(), 0, 0);
    for message in copy.fed() {
        match message {
            Message::Strand(strand) => {
                highest = highest.max(strand.strand as usize);
                inbound.on_strand(Rules::ALL, &strand).unwrap();
            }
            Message::Ops(ops) => whole += inbound.on_ops(Rules::ALL, ops).unwrap().len(),
            other => panic!("{}", other.row().name),
        }
    }
    assert_eq!((highest, whole), (MAX_STRANDS - 1, 5_000));
}

fn op(body: &[u8], deps: &[(ActorId, u64)]) -> StreamOp {
    let (hlc, record) = (Hlc::new([1, 0, 0, 0, 0, 0, 0, 0]), Hash::new([4; 32]));
    StreamOp { hlc, record, deps: deps.to_vec(), body: body.to_vec() }
}

/// Ops under another record are another strand's to the peer; and bodies fill a message up, and no more.
#[test]
fn ops_are_put_together_up_to_a_record_and_to_a_message() {
    let mut copy = Copy::new();
    let deliver = |copy: &mut Copy, seq: u64, record: u8, len: usize| {
        let op = StreamOp { record: Hash::new([record; 32]), ..op(&vec![0; len], &[]) };
        let seed = Nonce::new([1; 16]);
        copy.state.deliver(Rules::ALL, part(1), PartKind::Log.number(), (actor(1), seq), seed, op).unwrap();
        copy.changes.note(copy.changes.next(), Change::Op(part(1), actor(1), seq), None);
    };
    (1..=3).for_each(|seq| deliver(&mut copy, seq, 4, 10));
    (4..=5).for_each(|seq| deliver(&mut copy, seq, 5, 10));
    // Each is reckoned with 16 bytes beside its body: four of them fill a message, the last to the byte.
    let rest = MAX_PART - 2 * (16 + 10) - 3 * 15_016 - 16;
    (6..=8).for_each(|seq| deliver(&mut copy, seq, 5, 15_000));
    deliver(&mut copy, 9, 5, rest);
    deliver(&mut copy, 10, 5, 0);
    let mut inbound = Inbound::default();
    let mut counts = Vec::new();
    for message in copy.fed() {
        assert!(message.to_frame().len() <= MAX_FRAME);
        match message {
            Message::Strand(strand) => inbound.on_strand(Rules::ALL, &strand).unwrap(),
            Message::Ops(ops) => counts.push(inbound.on_ops(Rules::ALL, ops).unwrap().len()),
            other => panic!("{}", other.row().name),
        }
    }
    assert_eq!(counts, [3, 6, 1]);
}

#[test]
fn the_log_of_changes_goes_on_from_any_place() {
    let mut changes = Changes::new(Nonce::new([1; 16]));
    let op = |seq| Change::Op(part(9), actor(1), seq);
    changes.note(3, Change::Part(part(1)), Some(PEER));
    changes.note(3, Change::Part(part(2)), None);
    changes.note(5, op(1), None);
    assert_eq!((changes.last(), changes.next()), (5, 6));
    // What is restored out of order stands where it was.
    changes.note(4, op(7), None);
    assert_eq!(changes.last(), 5);
    let behind = |changes: &Changes, at, seen| changes.after(at, seen).map(|it| (it.0, it.1)).collect::<Vec<_>>();
    let all = [(3, Change::Part(part(1))), (3, Change::Part(part(2))), (4, op(7)), (5, op(1))];
    assert_eq!(behind(&changes, 0, None), all);
    assert_eq!(behind(&changes, 3, Some(Change::Part(part(1)))), all[1..]);
    assert_eq!(behind(&changes, 3, None), all[2..]);
    assert_eq!(changes.origin(&part(1)), Some(PEER));
    assert_eq!((changes.origin(&part(2)), changes.origin(&part(3))), (None, None));
    // Of a part its newest change counts alone.
    changes.note(6, Change::Part(part(1)), None);
    assert_eq!(behind(&changes, 0, None), [all[1], all[2], all[3], (6, Change::Part(part(1)))]);
    assert_eq!(changes.origin(&part(1)), None);
    changes.forget(|change| matches!(change, Change::Op(..)));
    assert_eq!(behind(&changes, 0, None), [all[1], (6, Change::Part(part(1)))]);
}

/// SYNC-STRAND-1: what ops name as read is of the same session and part.
#[test]
fn what_an_op_read_is_named_and_of_its_own_part() {
    let strand = |number: u32, part: PartId, by: u8, session: SessionId| Strand {
        strand: number,
        session,
        part,
        kind: PartKind::Log.number(),
        actor: actor(by),
        seed: Nonce::new([by; 16]),
        record: Hash::new([4; 32]),
        seq: 7,
        hlc: Hlc::new([0, 0, 0, 0, 0, 2, 0, 9]),
        ext: Exts::empty(),
    };
    let brief = |ms: u64, deps: &[(u32, u64)]| BriefOp {
        ms,
        deps: List::new(deps.iter().map(|(strand, seq)| BriefDep { strand: *strand, seq: *seq }).collect()).unwrap(),
        body: Default::default(),
    };
    let mut inbound = Inbound::default();
    inbound.on_strand(Rules::ALL, &strand(0, part(1), 1, SESSION)).unwrap();
    inbound.on_strand(Rules::ALL, &strand(1, part(1), 2, SESSION)).unwrap();
    inbound.on_strand(Rules::ALL, &strand(2, part(2), 2, SESSION)).unwrap();
    inbound.on_strand(Rules::ALL, &strand(3, part(1), 2, SessionId::new([8; 16]))).unwrap();
    assert_eq!((inbound.session(0), inbound.session(4)), (Some(SESSION), None));
    let ops = |number, ops: Vec<BriefOp>| Ops { strand: number, ops: List::new(ops).unwrap(), ext: Exts::empty() };
    for (number, read) in [(4, 1), (0, 2), (0, 3), (0, 4)] {
        let refused = inbound.clone().on_ops(Rules::ALL, ops(number, vec![brief(0, &[(read, 5)])])).unwrap_err();
        assert_eq!((refused.clause, refused.code), (Clause::SYNC_STRAND_1, Code::WIRE_STATE));
    }
    let whole = inbound.on_ops(Rules::ALL, ops(0, vec![brief(0, &[(1, 5)]), brief(3, &[]), brief(0, &[])])).unwrap();
    let times: Vec<_> = whole.iter().map(|op| (op.seq, *op.op.hlc.as_bytes())).collect();
    assert_eq!(times, [(8, [0, 0, 0, 0, 0, 2, 0, 10]), (9, [0, 0, 0, 0, 0, 5, 0, 0]), (10, [0, 0, 0, 0, 0, 5, 0, 1])]);
    assert_eq!(whole[0].op.deps, [(actor(2), 5)]);
    // They go on from there.
    let next = inbound.on_ops(Rules::ALL, ops(0, vec![brief(0, &[])])).unwrap();
    assert_eq!((next[0].seq, *next[0].op.hlc.as_bytes()), (11, [0, 0, 0, 0, 0, 5, 0, 2]));
}

/// SYNC-WHOLE-1: of what was lacking and isn't any more letters may tell late, as many as there are.
#[test]
fn letters_about_what_is_there_by_now_take_nothing_back_however_many() {
    let (log, mut word) = (Nonce::new([1; 16]), Word::default());
    assert!(word.on_since(log, &whole(2)));
    for number in [1, 2, 1] {
        assert!(!word.on_letter(log, &lacks(number)), "lack {number} is over");
    }
    assert!(word.on_letter(log, &lacks(3)), "a new one");
}
