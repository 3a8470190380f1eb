//! Feeds: what is taken in by a device that held nothing of the session.

use segue_proto::data::{Entry, Part, PartKind, State, op_hash, strand_hash};
use segue_proto::sync::{FedOp, Inbound};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{Blob, BriefDep, Exts, Hash, List, Message, Ops, PartId, Parts, SessionId, Strand};
use segue_proto::{Code, Rules, Violation};

use super::hand::Hand;
use super::{Diary, diary, op};
use crate::json::Json;
use crate::vectors::cast::{LAPTOP, NOTES_CONTENT, PHOTO, list, notes_entry};
use crate::vectors::form::{Book, Vector, bytes};
use crate::vectors::wire::frames::describe;

/// Adds the vectors.
pub(super) fn add(book: &mut Book) {
    let diary = diary();
    valid(book, &diary);
    strands(book, &diary);
    ops(book, &diary);
    parts(book, &diary);
}

fn valid(book: &mut Book, diary: &Diary) {
    let feed: Vec<Message> = diary.feed().into_iter().filter(|message| message.row().name != "MARK").collect();
    let story = Story::of(diary);
    let (first, rest) = (ops_of(&story.laptop, 0..1), ops_of(&story.laptop, 1..3));
    let again = Strand { strand: 7, seq: 1, hlc: super::time(0), ..story.strand.clone() };
    let pieces = |part: &Part| {
        let bare = Part { values: List::empty(), ..part.clone() };
        [parts_message(diary, &[&diary.titles[0]]), parts_message(diary, &[&bare]), parts_message(diary, &[part])]
    };
    let title = diary.state.part(&diary.title).expect("the session has a title");
    let other = Strand { strand: 0, ..story.other.clone() };
    let moved = Strand { strand: 9, seq: 3, hlc: super::time(1_500), ..story.strand.clone() };
    for (name, what, messages, clause, shown) in [
        ("feed", "All of the session, as the laptop sends it.", feed.clone(), "SYNC-STRAND-1", true),
        (
            "feed-named-again",
            "A strand that gets a second number, from its second op on.",
            vec![story.strand.clone().into(), number(&first, 0), again.into(), number(&rest, 7)],
            "SYNC-STRAND-1",
            false,
        ),
        (
            "feed-number-reused",
            "A number that comes to mean another strand. The first is named again before an op names it as read.",
            vec![
                story.strand.clone().into(),
                number(&story.laptop, 0),
                other.into(),
                moved.into(),
                Ops { strand: 0, ..read(&story.phone, 9, 3) }.into(),
            ],
            "SYNC-STRAND-1",
            false,
        ),
        (
            "feed-op-twice",
            "Ops that come twice are taken in once.",
            vec![
                story.strand.clone().into(),
                number(&story.laptop, 0),
                story.strand.clone().into(),
                number(&story.laptop, 0),
            ],
            "DATA-STREAM-1",
            false,
        ),
        (
            "feed-parts-merge",
            "Two copies of a part, and the first again.",
            vec![
                parts_message(diary, &[&diary.titles[0]]),
                parts_message(diary, &[&diary.titles[1]]),
                parts_message(diary, &[&diary.titles[0]]),
            ],
            "DATA-MERGE-1",
            false,
        ),
        ("feed-pieces", "A part in pieces, one of which has no values.", pieces(title).to_vec(), "DATA-MERGE-1", false),
    ] {
        let vector = given(Vector::valid("sync", "feed", name, what).clause(clause), diary, &messages);
        let (ops, state) = match take(&diary.session, &messages) {
            Ok(taken) => taken,
            Err(why) => {
                book.same(&vector, "what is taken in", Err(why), Ok(()));
                continue;
            }
        };
        let mut hand = Hand::default();
        messages.iter().for_each(|it| hand.take(diary.session.as_bytes(), it.row().name, &describe(it).1));
        book.same(&vector, "the root", *state.root().as_bytes(), hand.root(diary.session.as_bytes()));
        let whole: Vec<Json> = ops.iter().map(|op| whole(&state, op)).collect();
        book.same(&vector, "the ops", whole.clone(), hand.ops);
        let values = state.parts().flat_map(|part| part.values.iter()).map(|value| bytes(encode(&value.op)));
        let vector = vector.expect("ops", Json::List(whole)).expect("values", Json::list(values));
        let vector = vector.expect("root", bytes(state.root().as_bytes()));
        book.add(if shown { vector.shown() } else { vector });
    }
}

/// Numbers that aren't given out.
fn strands(book: &mut Book, diary: &Diary) {
    let story = Story::of(diary);
    let strand = || Message::from(story.strand.clone());
    let state = ("SYNC-STRAND-1", "WIRE_STATE");
    let elsewhere = Strand { part: PartId::new([0x2f; 16]), ..story.strand.clone() };
    let other = || Message::from(story.other.clone());
    for (name, what, broken, messages) in [
        ("strand-unnamed", "Ops of a strand that wasn't named.", state, vec![number(&story.laptop, 0)]),
        (
            "strand-unnamed-read",
            "An op that names as read a strand that wasn't named.",
            state,
            vec![strand(), number(&story.laptop, 0), other(), read(&story.phone, 5, 3).into()],
        ),
        (
            "strand-of-another-part",
            "An op that names as read a strand of another part.",
            state,
            vec![elsewhere.into(), number(&story.laptop, 0), other(), read(&story.phone, 0, 3).into()],
        ),
        (
            "strand-4096",
            "A number that is too high.",
            ("SYNC-STRAND-1", "WIRE_LIMIT"),
            vec![Strand { strand: 4_096, ..story.strand.clone() }.into()],
        ),
    ] {
        refuse(book, diary, name, what, broken, &messages);
    }
}

/// Ops that don't follow.
fn ops(book: &mut Book, diary: &Diary) {
    let story = Story::of(diary);
    let strand = || Message::from(story.strand.clone());
    let other = || Message::from(story.other.clone());
    let ahead = Strand { seq: 1, hlc: super::time(0), ..story.strand.clone() };
    let opaque = Strand { kind: PartKind::Opaque.number(), ..story.other.clone() };
    let register = Strand { kind: PartKind::Register.number(), ..story.strand.clone() };
    let order = ("DATA-OP-4", "DATA_MANIFEST");
    let kind = ("DATA-KIND-1", "DATA_MANIFEST");
    for (name, what, broken, messages) in [
        (
            "op-skips",
            "The second op of a strand whose first isn't held.",
            ("DATA-OP-1", "DATA_HASH"),
            vec![ahead.into(), number(&ops_of(&story.laptop, 1..3), 0)],
        ),
        (
            "op-read-unheld",
            "An op that names as read an op that isn't held.",
            order,
            vec![strand(), number(&story.laptop, 0), other(), read(&story.phone, 0, 4).into()],
        ),
        (
            "op-read-own",
            "An op that names its own strand as read.",
            order,
            vec![strand(), number(&ops_of(&story.laptop, 0..1), 0), read(&ops_of(&story.laptop, 1..2), 0, 1).into()],
        ),
        (
            "op-other-kind",
            "An op of a part that has another kind.",
            kind,
            vec![strand(), number(&story.laptop, 0), opaque.into(), read(&story.phone, 0, 3).into()],
        ),
        ("op-of-a-register", "An op of a part with values.", kind, vec![register.into(), number(&story.laptop, 0)]),
        (
            "op-fork",
            "A second op with the number of one that is held.",
            ("DATA-FORK-1", "DATA_FORK"),
            vec![strand(), number(&story.laptop, 0), strand(), number(&ops_of(&story.laptop, 1..2), 0)],
        ),
    ] {
        refuse(book, diary, name, what, broken, &messages);
    }
}

/// Copies of parts that aren't taken in.
fn parts(book: &mut Book, diary: &Diary) {
    let copy = |part: &Part| parts_message(diary, &[part]);
    let [first, second] = &diary.titles;
    let fork = rewritten(diary, first, b"Finland");
    let tampered = changed(first, |value| value.op.body = Blob::new(b"Finland".to_vec()).unwrap_or_default());
    let opaque = Part { kind: PartKind::Exclusive.number(), ..second.clone() };
    let log = diary.state.part(&diary.diary).cloned().expect("the session has a diary");
    let notes = notes_entry(NOTES_CONTENT);
    let shorter = Entry { len: notes.len - 1, ..notes.clone() };
    let file = |id: PartId, entry: &Entry| {
        let mut alone = State::new(diary.session, "");
        let written = alone.write(Rules::ALL, op(LAPTOP, id, PartKind::Blob, 5, &entry.to_bytes()));
        written.expect("the story's writes are good");
        alone.part(&id).cloned().expect("it was written")
    };
    for (name, what, broken, messages) in [
        (
            "part-fork",
            "Two copies in which one number of a writer names two ops.",
            ("DATA-FORK-1", "DATA_FORK"),
            vec![copy(first), copy(&fork)],
        ),
        (
            "part-other-kind",
            "A copy of another kind.",
            ("DATA-KIND-1", "DATA_MANIFEST"),
            vec![copy(first), copy(&opaque)],
        ),
        ("part-log", "A log in PARTS.", ("DATA-KIND-1", "DATA_MANIFEST"), vec![copy(&log)]),
        ("part-hash", "A value whose hash doesn't recompute.", ("DATA-OP-1", "DATA_HASH"), vec![copy(&tampered)]),
        (
            "part-lengths",
            "Files of one content that don't agree about its length.",
            ("DATA-MANIFEST-4", "DATA_MANIFEST"),
            vec![copy(&file(PHOTO, &notes)), copy(&file(diary.title, &shorter))],
        ),
    ] {
        refuse(book, diary, name, what, broken, &messages);
    }
}

/// The strands of the diary, and the ops that the feed has of them before any names another as read.
struct Story {
    strand: Strand,
    other: Strand,
    laptop: Ops,
    phone: Ops,
}

impl Story {
    fn of(diary: &Diary) -> Story {
        let feed = diary.feed();
        let strands = feed.iter().filter_map(|message| match message {
            Message::Strand(strand) => Some(strand.clone()),
            _ => None,
        });
        let ops = feed.iter().filter_map(|message| match message {
            Message::Ops(ops) => Some(ops.clone()),
            _ => None,
        });
        let (strands, ops): (Vec<Strand>, Vec<Ops>) = (strands.collect(), ops.collect());
        Story { strand: strands[0].clone(), other: strands[1].clone(), laptop: ops[0].clone(), phone: ops[1].clone() }
    }
}

/// The same ops under another number.
fn number(ops: &Ops, strand: u32) -> Message {
    Ops { strand, ..ops.clone() }.into()
}

fn ops_of(ops: &Ops, range: std::ops::Range<usize>) -> Ops {
    Ops { ops: list(ops.ops[range].to_vec()), ..ops.clone() }
}

/// The same ops, of which the first names this as read.
fn read(ops: &Ops, strand: u32, seq: u64) -> Ops {
    let mut all = ops.ops.to_vec();
    all[0].deps = list(vec![BriefDep { strand, seq }]);
    Ops { ops: list(all), ..ops.clone() }
}

fn parts_message(diary: &Diary, parts: &[&Part]) -> Message {
    let parts = parts.iter().map(|part| Blob::new(encode(*part)).expect("a short part")).collect();
    Parts { session: diary.session, parts: list(parts), ext: Exts::empty() }.into()
}

/// A copy whose only value is changed, and nothing else.
fn changed(part: &Part, change: impl FnOnce(&mut segue_proto::data::Value)) -> Part {
    let mut value = part.shown().cloned().expect("the part has a value");
    change(&mut value);
    Part { values: list(vec![value]), ..part.clone() }
}

/// A copy whose only op has another body, with a tip that fits.
fn rewritten(diary: &Diary, part: &Part, body: &[u8]) -> Part {
    let part = changed(part, |value| value.op.body = Blob::new(body.to_vec()).unwrap_or_default());
    let op = &part.values[0].op;
    let prev = strand_hash(&diary.session, &part.part, &op.actor);
    let hash: Hash = op_hash(&prev, &segue_proto::data::header(op));
    let strands = list(vec![segue_proto::wire::Tip { hash, ..part.strands[0].clone() }]);
    Part { strands, ..part }
}

fn given(vector: Vector, diary: &Diary, messages: &[Message]) -> Vector {
    let frames = messages.iter().map(|message| bytes(message.to_frame()));
    vector.input("session", bytes(diary.session.as_bytes())).input("frames", Json::list(frames))
}

fn refuse(
    book: &mut Book,
    diary: &Diary,
    name: &str,
    what: &str,
    broken: (&'static str, &'static str),
    messages: &[Message],
) {
    let vector = given(Vector::invalid("sync", "feed", name, what, broken), diary, messages);
    let (_, before) = messages.split_last().expect("a feed has messages");
    book.same(&vector, "whether the others are taken in", take(&diary.session, before).is_ok(), true);
    book.refuse(vector, take(&diary.session, messages));
}

/// Takes in a feed, as a device does that held nothing.
fn take(session: &SessionId, messages: &[Message]) -> Result<(Vec<FedOp>, State), Violation> {
    let mut names = Inbound::default();
    let mut state = State::new(*session, "Holiday");
    let mut taken = Vec::new();
    for message in messages {
        match message {
            Message::Strand(strand) => names.on_strand(Rules::ALL, strand)?,
            Message::Ops(ops) => {
                for op in names.on_ops(Rules::ALL, ops.clone())? {
                    let FedOp { part, kind, actor, seq, seed, op: inner, .. } = op.clone();
                    if state.deliver(Rules::ALL, part, kind, (actor, seq), seed, inner)? {
                        taken.push(op);
                    }
                }
            }
            Message::Parts(parts) => {
                for part in parts.parts.iter() {
                    state.merge(Rules::ALL, &decode::<Part>(Rules::ALL, part)?)?;
                }
            }
            _ => return Err(Violation::new(Code::WIRE_STATE, segue_proto::Clause::SYNC_STRAND_1)),
        }
    }
    Ok((taken, state))
}

/// An op whole again, with its hash.
fn whole(state: &State, op: &FedOp) -> Json {
    let stream = state.stream(&op.part).expect("the op was taken in");
    let hash = |actor, seq| bytes(stream.hash(actor, seq).unwrap_or(Hash::ZERO).as_bytes());
    let deps = op.op.deps.iter().map(|(actor, seq)| {
        Json::object([("actor", bytes(actor.as_bytes())), ("seq", (*seq).into()), ("hash", hash(actor, *seq))])
    });
    Json::object([
        ("part", bytes(op.part.as_bytes())),
        ("kind", u64::from(op.kind).into()),
        ("actor", bytes(op.actor.as_bytes())),
        ("seq", op.seq.into()),
        ("deps", Json::list(deps)),
        ("hlc", bytes(op.op.hlc.as_bytes())),
        ("record", bytes(op.op.record.as_bytes())),
        ("salt", bytes(segue_proto::data::salt(&op.seed, op.seq).as_bytes())),
        ("body", bytes(&op.op.body)),
        ("hash", hash(&op.actor, op.seq)),
    ])
}
