//! What writers who don't know of each other make together: names, salts, times, copies that merge, logs in order.

use std::collections::BTreeMap;

use segue_proto::Rules;
use segue_proto::data::{self, NewOp, Part, PartKind, Replaces, State, Written};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{ActorId, Hash, Hlc, Nonce, PartId, SessionId, Tip};

use crate::json::Json;
use crate::vectors::byhand;
use crate::vectors::cast::{Device, LAPTOP, PHONE, TABLET, notes_entry, story};
use crate::vectors::form::{Book, Vector, bytes, text};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let story = story();
    names(book, &story.session);
    salts(book);
    times(book, &story.session);
    merges(book, &story.session);
    logs(book, &story.session);
}

fn names(book: &mut Book, session: &SessionId) {
    for (name, what, kind, of) in [
        ("named-part-file", "The part of a new file, named by its path.", PartKind::Blob, "photos/tent.raw"),
        ("named-part-register", "A register with the name of the file.", PartKind::Register, "photos/tent.raw"),
        ("named-part-unicode", "A log whose name isn't ASCII.", PartKind::Log, "Tagebuch für Größe"),
    ] {
        let hashed = [session.as_bytes().as_slice(), &kind.number().to_be_bytes(), of.as_bytes()].concat();
        let part = data::named_part(session, kind, of);
        let vector = Vector::valid("data", "named-part", name, what)
            .clause("DATA-PART-1")
            .input("session", bytes(session.as_bytes()))
            .input("kind", u64::from(kind.number()))
            .input("name", text(of))
            .step("hashed", bytes(&hashed))
            .expect("part", bytes(part.as_bytes()));
        book.same(
            &vector,
            "the id",
            part.as_bytes().to_vec(),
            byhand::hash("segue/1 named part", &hashed)[..16].to_vec(),
        );
        book.add(vector);
    }
}

fn salts(book: &mut Book) {
    let seed = Nonce::new([0x72; 16]);
    for seq in [1u64, 2, 256] {
        let hashed = [seed.as_bytes().as_slice(), &seq.to_be_bytes()].concat();
        let salt = data::salt(&seed, seq);
        let what = format!("The salt of op {seq} of a strand.");
        let vector = Vector::valid("data", "salt", format!("salt-{seq}"), what)
            .clause("DATA-SALT-1")
            .input("seed", bytes(seed.as_bytes()))
            .input("seq", seq)
            .step("hashed", bytes(&hashed))
            .expect("salt", bytes(salt.as_bytes()));
        book.same(&vector, "the salt", salt.as_bytes().to_vec(), byhand::hash("segue/1 salt", &hashed)[..16].to_vec());
        book.add(vector);
    }
}

/// What a writer dates its next op in a stream.
fn times(book: &mut Book, session: &SessionId) {
    let at = |ms: u64, counter: u64| (1_700_000_000_000 + ms) << 16 | counter;
    for (name, what, last, read, clock, expected) in [
        ("time-first", "The first op of a strand.", None, None, 5, at(5, 0)),
        ("time-later", "A later millisecond.", Some(1), None, 5, at(5, 0)),
        ("time-same", "The same millisecond.", Some(5), None, 5, at(5, 1)),
        ("time-back", "A clock that went back.", Some(9), None, 5, at(9, 1)),
        (
            "time-read",
            "The first op of a strand, by a clock that is behind what its writer had read.",
            None,
            Some(9),
            5,
            at(9, 0),
        ),
        ("time-read-later", "A later op, by such a clock.", Some(7), Some(9), 5, at(9, 0)),
    ] {
        let mut state = State::new(*session, "");
        for (who, ms) in [(LAPTOP, last), (PHONE, read)] {
            if let Some(ms) = ms {
                write(&mut state, who, DIARY, PartKind::Log, ms, b"before");
            }
        }
        write(&mut state, LAPTOP, DIARY, PartKind::Log, clock, b"now");
        let stream = state.stream(&DIARY).expect("the log was written");
        let seq = stream.seq(&LAPTOP.actor());
        let hlc = stream.op(&LAPTOP.actor(), seq).map_or(Hlc::ZERO, |op| op.hlc);
        let given = |ms: Option<u64>| Json::list(ms.map(|ms| bytes(at(ms, 0).to_be_bytes())));
        let vector = Vector::valid("data", "time", name, what)
            .clause("DATA-TIME-1")
            .input("clock", 1_700_000_000_000 + clock)
            .input("last", given(last))
            .input("read", given(read))
            .expect("hlc", bytes(hlc.as_bytes()));
        book.same(&vector, "the time", *hlc.as_bytes(), expected.to_be_bytes());
        book.add(vector);
    }
}

/// Copies of a register, each as a device has it.
fn merges(book: &mut Book, session: &SessionId) {
    let empty = State::new(*session, "");
    let by = |before: &State, who: Device, ms: u64, body: &[u8]| {
        let mut state = before.clone();
        write(&mut state, who, TITLE, PartKind::Register, ms, body);
        state
    };
    let joined = |a: &State, b: &State| {
        let mut state = a.clone();
        state.merge(Rules::ALL, copy(b)).expect("copies of one part");
        state
    };
    let first = by(&empty, LAPTOP, 1, b"Norway");
    let second = by(&first, LAPTOP, 2, b"Sweden");
    let phone = by(&empty, PHONE, 3, b"Finland");
    let tablet = by(&empty, TABLET, 2, b"Iceland");
    let both = joined(&first, &phone);
    let resolved = by(&both, TABLET, 4, b"North");
    let read = by(&first, PHONE, 3, b"Finland");
    for (name, what, a, b, shown) in [
        ("merge-sequential", "A copy, and the same writer's later one.", &first, &second, true),
        ("merge-replaced", "A copy, and one of a writer who had read it: the value goes.", &first, &read, false),
        ("merge-concurrent", "Two writers who didn't know of each other: both values stay.", &first, &phone, true),
        ("merge-three", "Two values, and a third by a writer who knew of neither.", &both, &tablet, false),
        ("merge-resolved", "Two values, and one that replaced both.", &both, &resolved, false),
        (
            "merge-one-side",
            "One side replaced a value that the other still has, and doesn't know the other's second.",
            &read,
            &joined(&first, &tablet),
            false,
        ),
        (
            "merge-late",
            "The writer of a replaced value has gone on without knowing: its new value stays.",
            &resolved,
            &second,
            false,
        ),
        ("merge-same", "A copy and itself.", &both, &both, false),
        ("merge-nothing", "A part that the one side doesn't have.", &empty, &first, false),
    ] {
        let merged = if a.part(&TITLE).is_some() { joined(a, b) } else { joined(&empty, b) };
        let part = copy(&merged);
        let value = part.shown().expect("a value is shown");
        let vector = Vector::valid("data", "merge", name, what)
            .clause("DATA-MERGE-1")
            .clause("DATA-VALUE-1")
            .input("session", bytes(session.as_bytes()))
            .input("a", Json::list(a.part(&TITLE).map(|part| bytes(encode(part)))))
            .input("b", bytes(encode(copy(b))))
            .expect("part", bytes(encode(part)))
            .expect("part_root", bytes(part.root().as_bytes()))
            .expect("values", Json::list(part.values.iter().map(|value| text(&words(&value.op.body)))))
            .expect("shown", text(&words(&value.op.body)));
        let (tips, values) = by_hand(a.part(&TITLE), copy(b));
        book.same(&vector, "the strands", part.strands.to_vec(), tips);
        book.same(
            &vector,
            "the values",
            part.values.iter().map(|v| (v.op.actor, v.op.seq)).collect::<Vec<_>>(),
            values,
        );
        if a.part(&TITLE).is_some() {
            book.same(&vector, "the merge the other way round", copy(&joined(b, a)), part);
        }
        let latest = part.values.iter().max_by_key(|v| (*v.op.hlc.as_bytes(), *v.op.actor.as_bytes(), v.op.seq));
        book.same(&vector, "the value that is shown", Some(value), latest);
        book.add(if shown { vector.shown() } else { vector });
    }
    let forked = by(&empty, LAPTOP, 1, b"Denmark");
    let what = "Two copies in which one number of a writer names two ops.";
    let vector = Vector::invalid("data", "merge", "merge-fork", what, ("DATA-FORK-1", "DATA_FORK"))
        .input("session", bytes(session.as_bytes()))
        .input("a", Json::list([bytes(encode(copy(&first)))]))
        .input("b", bytes(encode(copy(&forked))));
    book.refuse(vector, first.clone().merge(Rules::ALL, copy(&forked)));
    let mut blob = State::new(*session, "");
    write(&mut blob, PHONE, TITLE, PartKind::Blob, 3, &notes_entry(b"Tent.\n").to_bytes());
    let vector =
        Vector::invalid("data", "merge", "merge-kind", "Copies of two kinds.", ("DATA-KIND-1", "DATA_MANIFEST"))
            .input("session", bytes(session.as_bytes()))
            .input("a", Json::list([bytes(encode(copy(&first)))]))
            .input("b", bytes(encode(copy(&blob))));
    book.refuse(vector, first.clone().merge(Rules::ALL, copy(&blob)));
}

/// The strands and values of two copies together, by the words of the chapter.
fn by_hand(a: Option<&Part>, b: &Part) -> (Vec<Tip>, Vec<(ActorId, u64)>) {
    let none = Part::new(b.part, PartKind::Register);
    let copies = [a.unwrap_or(&none), b];
    let mut tips: BTreeMap<ActorId, Tip> = BTreeMap::new();
    for tip in copies.iter().flat_map(|copy| copy.strands.iter()) {
        let known = tips.entry(tip.actor).or_insert_with(|| tip.clone());
        if known.seq < tip.seq {
            *known = tip.clone();
        }
    }
    let has = |copy: &Part, value: (ActorId, u64)| copy.values.iter().any(|v| (v.op.actor, v.op.seq) == value);
    let knows = |copy: &Part, (actor, seq): (ActorId, u64)| {
        let tip = copy.strands.iter().find(|tip| tip.actor == actor).map_or(0, |tip| tip.seq);
        tip > seq || tip == seq && !has(copy, (actor, seq))
    };
    let all = copies.iter().flat_map(|copy| copy.values.iter()).map(|value| (value.op.actor, value.op.seq));
    let mut values: Vec<_> = all.filter(|value| !copies.iter().any(|copy| knows(copy, *value))).collect();
    values.sort();
    values.dedup();
    (tips.into_values().collect(), values)
}

/// Logs, and the order in which their entries are shown.
fn logs(book: &mut Book, session: &SessionId) {
    // Who, when, and which of the ops before (by their place here) it had read.
    type Entry = (Device, u64, &'static [usize]);
    let cases: [(&str, &str, Vec<Entry>); 4] = [
        ("log-one-writer", "One writer.", vec![(LAPTOP, 1, &[]), (LAPTOP, 1, &[]), (LAPTOP, 7, &[])]),
        (
            "log-concurrent",
            "Two writers who didn't know of each other: by their times.",
            vec![(LAPTOP, 1, &[]), (LAPTOP, 5, &[]), (PHONE, 3, &[]), (PHONE, 9, &[])],
        ),
        (
            "log-clock-behind",
            "A reply by a clock that is behind, whose writer didn't lift its time: it follows what it answers all the same.",
            vec![(LAPTOP, 9, &[]), (PHONE, 2, &[0]), (PHONE, 4, &[])],
        ),
        (
            "log-same-time",
            "Ops of one time: by depth, then actor.",
            vec![(LAPTOP, 4, &[]), (PHONE, 4, &[]), (TABLET, 4, &[])],
        ),
    ];
    for (name, what, entries) in cases {
        let mut state = State::new(*session, "");
        let mut counts: BTreeMap<ActorId, (u64, u64)> = BTreeMap::new();
        let mut ids: Vec<(ActorId, u64)> = Vec::new();
        let mut lifted: Vec<(u64, u32)> = Vec::new();
        let mut listed = Vec::new();
        for (who, ms, read) in &entries {
            let actor = who.actor();
            let (seq, last) = counts.get(&actor).copied().unwrap_or((0, 0));
            let time = (1_700_000_000_000 + ms) << 16;
            let hlc = if time > last { time } else { last + 1 };
            let before: Vec<usize> =
                (0..ids.len()).filter(|at| read.contains(at) || ids[*at] == (actor, seq)).collect();
            let high = before.iter().map(|at| lifted[*at].0 + 1).max().unwrap_or(0);
            let depth = before.iter().map(|at| lifted[*at].1).max().unwrap_or(0) + 1;
            let mut deps: Vec<(ActorId, u64)> = read.iter().map(|at| ids[*at]).collect();
            deps.sort();
            let op = data::StreamOp {
                hlc: Hlc::new(hlc.to_be_bytes()),
                record: Hash::new([5; 32]),
                deps: deps.clone(),
                body: vec![b'a' + ids.len() as u8],
            };
            listed.push(Json::object([
                ("actor", bytes(actor.as_bytes())),
                ("seq", (seq + 1).into()),
                ("hlc", bytes(hlc.to_be_bytes())),
                (
                    "deps",
                    Json::list(deps.iter().map(|(actor, seq)| {
                        Json::object([("actor", bytes(actor.as_bytes())), ("seq", (*seq).into())])
                    })),
                ),
                ("body", bytes(&op.body)),
            ]));
            state
                .deliver(Rules::ALL, DIARY, PartKind::Log.number(), (actor, seq + 1), Nonce::new([7; 16]), op)
                .expect("the story's ops follow");
            counts.insert(actor, (seq + 1, hlc));
            ids.push((actor, seq + 1));
            lifted.push((hlc.max(high), depth));
        }
        let stream = state.stream(&DIARY).expect("the log was written");
        let core: Vec<(ActorId, u64)> = stream.in_order().iter().map(|op| (op.actor, op.seq)).collect();
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|at| (lifted[*at], ids[*at]));
        let order_of = |ids: &[(ActorId, u64)]| {
            Json::list(
                ids.iter()
                    .map(|(actor, seq)| Json::object([("actor", bytes(actor.as_bytes())), ("seq", (*seq).into())])),
            )
        };
        let times = lifted.iter().map(|(time, depth)| {
            Json::object([("time", bytes(time.to_be_bytes())), ("depth", u64::from(*depth).into())])
        });
        let vector = Vector::valid("data", "log", name, what)
            .clause("DATA-LOG-1")
            .input("ops", Json::List(listed))
            .step("lifted", Json::list(times))
            .expect("order", order_of(&core));
        book.same(&vector, "the order", core, order.into_iter().map(|at| ids[at]).collect());
        book.add(vector);
    }
}

fn write(state: &mut State, who: Device, part: PartId, kind: PartKind, ms: u64, body: &[u8]) {
    let new = NewOp {
        actor: who.actor(),
        part,
        kind: kind.number(),
        hlc: Hlc::new(((1_700_000_000_000 + ms) << 16).to_be_bytes()),
        record: story().genesis.id(),
        salt: Nonce::new([0x70 + who.secret[0]; 16]),
        body: body.to_vec(),
        replaces: Replaces::All,
    };
    let written: Result<Written, _> = state.write(Rules::ALL, new);
    written.expect("the story's writes are good");
}

fn copy(state: &State) -> &Part {
    state.part(&TITLE).expect("the part was written")
}

fn words(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

const TITLE: PartId = PartId::new([0x25; 16]);
const DIARY: PartId = PartId::new([0x26; 16]);
