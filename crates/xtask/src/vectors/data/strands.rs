//! From a device to its actor, from ops to the tip of a strand, from tips to the root.

use segue_proto::data::{self, Part, PartKind};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{ActorId, Hash, Op, PartId, SessionId, Tip};

use crate::json::Json;
use crate::vectors::byhand;
use crate::vectors::cast::{self, EXCLUSIVE, LAPTOP, NOTES, PHONE, Story, VIEW, list, story};
use crate::vectors::form::{Book, Vector, bytes};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let story = story();
    actor(book);
    strand(book, &story);
    op_with_deps(book, &story);
    parts(book, &story);
    roots(book, &story);
}

fn actor(book: &mut Book) {
    let hashed = [LAPTOP.id().as_bytes().as_slice(), LAPTOP.nonce().as_bytes()].concat();
    let vector =
        Vector::valid("data", "actor", "actor", "The actor that a device writes as once it has drawn a nonce.")
            .clause("DATA-OP-3")
            .input("device", bytes(LAPTOP.id().as_bytes()))
            .input("nonce", bytes(LAPTOP.nonce().as_bytes()))
            .step("hashed", bytes(&hashed))
            .expect("actor", bytes(LAPTOP.actor().as_bytes()))
            .shown();
    book.same(&vector, "the actor", *LAPTOP.actor().as_bytes(), byhand::hash("segue/1 actor", &hashed));
    book.add(vector);
}

/// Two ops of the notes' strand, step by step.
fn strand(book: &mut Book, story: &Story) {
    let ops: Vec<&Op> = story.ops.iter().filter(|op| op.part == NOTES).collect();
    let vector = chained(book, "strand", "Two ops of one strand.", &story.session, &ops);
    book.add(vector.shown());
}

/// An op of a second writer, which names the first one's tip as read.
fn op_with_deps(book: &mut Book, story: &Story) {
    let last = story.ops.iter().rfind(|op| op.part == VIEW).expect("the story writes the view");
    let read = Tip { actor: LAPTOP.actor(), seq: 1, hash: tip(&story.session, &[last]) };
    let op = Op {
        actor: PHONE.actor(),
        seq: 1,
        deps: list(vec![read]),
        hlc: cast::hlc(0x37),
        record: story.record.id(),
        salt: PHONE.nonce(),
        body: segue_proto::wire::Blob::new(b"cursor 16".to_vec()).unwrap_or_default(),
        ..last.clone()
    };
    let what = "The first op of a second writer, made after it had read the first one's strand.";
    let vector = chained(book, "strand-second-writer", what, &story.session, &[&op]);
    book.add(vector);
}

/// The vector of a strand's first ops.
fn chained(book: &mut Book, name: &str, what: &str, session: &SessionId, ops: &[&Op]) -> Vector {
    let (part, actor) = (ops[0].part, ops[0].actor);
    let mut hash = start(session, &part, &actor);
    let mut core = data::strand_hash(session, &part, &actor);
    let mut steps = Vec::new();
    let mut vector = Vector::valid("data", "strand", name, what)
        .clause("DATA-OP-1")
        .clause("DATA-OP-2")
        .input("session", bytes(session.as_bytes()))
        .input("part", bytes(part.as_bytes()))
        .input("actor", bytes(actor.as_bytes()))
        .input("ops", Json::list(ops.iter().map(|op| bytes(encode(*op)))))
        .step("hash_0", bytes(hash));
    for op in ops {
        let body_hash = byhand::hash("segue/1 body", &[op.salt.as_bytes().as_slice(), &op.body].concat());
        let header = header(op, body_hash);
        hash = byhand::hash("segue/1 op", &[hash.as_slice(), &header].concat());
        core = data::op_hash(&core, &data::header(op));
        book.same(&vector, "the header", encode(&data::header(op)), header.clone());
        book.same(&vector, "the body's hash", *data::body_hash(&op.salt, &op.body).as_bytes(), body_hash);
        book.same(&vector, "the op's hash", *core.as_bytes(), hash);
        steps.push(Json::object([
            ("salt", bytes(op.salt.as_bytes())),
            ("body", bytes(&*op.body)),
            ("body_hash", bytes(body_hash)),
            ("header", bytes(&header)),
            ("hash", bytes(hash)),
        ]));
    }
    vector = vector.step("ops", Json::List(steps));
    vector.expect("seq", ops.last().map_or(0, |op| op.seq)).expect("hash", bytes(hash))
}

/// Roots of parts.
fn parts(book: &mut Book, story: &Story) {
    let tip = |actor: ActorId, seq: u64, mark: u8| Tip { actor, seq, hash: Hash::new([mark; 32]) };
    let mut two = vec![tip(LAPTOP.actor(), 3, 0x61), tip(PHONE.actor(), 1, 0x62)];
    two.sort_by_key(|tip| tip.actor);
    let strands = |strands: Vec<Tip>| Part { strands: list(strands), ..Part::new(VIEW, PartKind::Exclusive) };
    let notes = story.manifest.part(&NOTES).cloned().expect("the story writes notes");
    for (name, what, part, shown) in [
        ("part-empty", "A part without strands.", strands(vec![]), false),
        ("part-one-strand", "The notes of the story.", notes, true),
        ("part-two-strands", "Two strands, ascending by actor.", strands(two), true),
    ] {
        let hashed = part_bytes(&part);
        let root = part.root();
        let vector = Vector::valid("data", "part-root", name, what)
            .clause("DATA-ROOT-1")
            .input("part", bytes(part.part.as_bytes()))
            .input("kind", u64::from(part.kind))
            .input("strands", tips(&part.strands))
            .step("hashed", bytes(&hashed))
            .expect("part_root", bytes(root.as_bytes()));
        book.same(&vector, "the root", *root.as_bytes(), byhand::hash("segue/1 part", &hashed));
        book.add(if shown { vector.shown() } else { vector });
    }
}

/// Roots of sessions.
fn roots(book: &mut Book, story: &Story) {
    let all: Vec<(PartId, Hash)> = story.manifest.parts.iter().map(|part| (part.part, part.root())).collect();
    for (name, what, parts) in [
        ("root-empty", "A session without parts.", vec![]),
        ("root", "The session of the story, before the inline op.", all),
    ] {
        let root = data::root(&story.session, parts.iter().copied());
        let flat = parts.iter().flat_map(|(part, root)| [part.as_bytes().as_slice(), root.as_bytes()].concat());
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let hashed = [story.session.as_bytes().as_slice(), &count.to_be_bytes(), &flat.collect::<Vec<u8>>()].concat();
        let listed = parts.iter().map(|(part, root)| {
            Json::object([("part", bytes(part.as_bytes())), ("part_root", bytes(root.as_bytes()))])
        });
        let vector = Vector::valid("data", "root", name, what)
            .clause("DATA-ROOT-1")
            .input("session", bytes(story.session.as_bytes()))
            .input("parts", Json::list(listed))
            .step("hashed", bytes(&hashed))
            .expect("root", bytes(root.as_bytes()))
            .shown();
        book.same(&vector, "the root", *root.as_bytes(), byhand::hash("segue/1 root", &hashed));
        if !parts.is_empty() {
            book.same(&vector, "the root", root, story.announced.root);
        }
        book.add(vector);
    }
}

/// The hash of the last of these ops, by the core.
pub(super) fn tip(session: &SessionId, ops: &[&Op]) -> Hash {
    let start = data::strand_hash(session, &ops[0].part, &ops[0].actor);
    ops.iter().fold(start, |prev, op| data::op_hash(&prev, &data::header(op)))
}

fn start(session: &SessionId, part: &PartId, actor: &ActorId) -> [u8; 32] {
    let hashed = [session.as_bytes().as_slice(), part.as_bytes(), actor.as_bytes()].concat();
    byhand::hash("segue/1 strand", &hashed)
}

/// The encoding of an op's header, field by field.
fn header(op: &Op, body_hash: [u8; 32]) -> Vec<u8> {
    let mut out = Vec::new();
    byhand::varint(op.seq, &mut out);
    byhand::varint(op.deps.len() as u64, &mut out);
    for tip in op.deps.iter() {
        out.extend(tip.actor.as_bytes());
        byhand::varint(tip.seq, &mut out);
        out.extend(tip.hash.as_bytes());
    }
    out.extend(op.hlc.as_bytes());
    out.extend(op.record.as_bytes());
    byhand::varint(op.body.len() as u64, &mut out);
    out.extend(body_hash);
    out
}

fn part_bytes(part: &Part) -> Vec<u8> {
    let count = u32::try_from(part.strands.len()).unwrap_or(u32::MAX);
    let mut out = [part.part.as_bytes().as_slice(), &part.kind.to_be_bytes(), &count.to_be_bytes()].concat();
    for tip in part.strands.iter() {
        out.extend(tip.actor.as_bytes());
        out.extend(tip.seq.to_be_bytes());
        out.extend(tip.hash.as_bytes());
    }
    out
}

fn tips(tips: &[Tip]) -> Json {
    Json::list(tips.iter().map(|tip| {
        Json::object([
            ("actor", bytes(tip.actor.as_bytes())),
            ("seq", tip.seq.into()),
            ("hash", bytes(tip.hash.as_bytes())),
        ])
    }))
}

const _: () = assert!(EXCLUSIVE == PartKind::Exclusive as u16 && cast::BLOB == PartKind::Blob as u16);
