//! Copies of parts with values that a peer sends.

use segue_proto::data::{Entry, Part as DataPart, PartKind, State, header, op_hash, strand_hash};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{ActorId, Blob, List, PartId, Tip};
use segue_proto::{Code, Rules, SessionRole};
use segue_testkit::device::Command;

use super::scene::{Fed, fed, following, is_sync};
use super::{S, T};
use crate::cases::scene::{self, Owning, create, learn, owning};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, head};
use crate::verdict::Fault;

pub(super) const CASES: &[Case] = &[
    works("sync/parts/taken", &["DATA-MERGE-1"], S, taken),
    works("sync/parts/taken-by-a-follower", &["DATA-MERGE-1"], T, |lab| {
        let mut fed = following(lab)?;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        fed.agrees(lab)
    })
    .needs(&["follow"]),
    works("sync/parts/concurrent-values-stay", &["DATA-MERGE-1"], S, |lab| conflicted(lab).map(|_| ()))
        .needs(&["write"]),
    works("sync/parts/of-three-writers", &["DATA-MERGE-1", "DATA-VALUE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        for copy in alone(&mut fed, 3, 1)? {
            fed.send_copies(lab, &[copy]);
        }
        let part = subjects(lab, &fed, fed.title())?;
        ensure(part.values.len() == 3, "three values", part.values.len())
    }),
    works("sync/parts/replaced-value-goes", &["DATA-MERGE-1", "DATA-VALUE-1"], S, |lab| {
        let mut fed = conflicted(lab)?;
        let manifest = fed.manifest(lab)?;
        fed.book.hold(&manifest);
        fed.write_title(b"both seen");
        fed.send_parts(lab, &[fed.title()]);
        let part = subjects(lab, &fed, fed.title())?;
        let single = part.values.len() == 1 && part.body() == Some(b"both seen");
        ensure(single, "the one value that replaced both", format!("{} values", part.values.len()))
    })
    .needs(&["write"]),
    works("sync/parts/replay-changes-nothing", &["DATA-MERGE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.write_title(b"first");
        let old = copy(&fed, fed.title())?;
        fed.write_title(b"second");
        fed.send_parts(lab, &[fed.title()]);
        fed.agrees(lab)?;
        fed.send_copies(lab, std::slice::from_ref(&old));
        fed.send_parts(lab, &[fed.title()]);
        let part = subjects(lab, &fed, fed.title())?;
        ensure(part.body() == Some(b"second") && part.values.len() == 1, "the later value", format!("{part:?}"))?;
        fed.agrees(lab)
    }),
    works("sync/parts/in-pieces", &["DATA-MERGE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.write_title(b"read by all");
        let first = fed.book.actor();
        let whole = several(&mut fed, 3, 1)?;
        let piece = |of: &dyn Fn(&ActorId) -> bool| {
            let tips = whole.strands.iter().filter(|tip| of(&tip.actor)).cloned().collect();
            let values = whole.values.iter().filter(|value| of(&value.op.actor)).cloned().collect();
            let (strands, values) = (List::new(tips).unwrap_or_default(), List::new(values).unwrap_or_default());
            DataPart { strands, values, ..whole.clone() }
        };
        for value in whole.values.iter() {
            fed.send_copies(lab, &[piece(&|actor| *actor == value.op.actor)]);
        }
        fed.send_copies(lab, &[piece(&|actor| *actor == first)]);
        fed.agrees(lab)
    }),
    works("sync/parts/too-long-for-a-frame", &["DATA-MERGE-1", "WIRE-FRAME-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.write_title(b"read by all");
        fed.send_parts(lab, &[fed.title()]);
        for copy in alone(&mut fed, 6, 15_000)? {
            fed.send_copies(lab, &[copy]);
        }
        lab.skip(fed.link);
        let (state, _) = super::scene::gather_all(lab, fed.link, fed.session())?;
        let values = state.part(&fed.title()).map_or(0, |part| part.values.len());
        ensure(values == 6, "six values of 15,000 bytes", values)
    }),
    works("data/value/write-that-resolves", &["DATA-VALUE-1", "DATA-OP-4"], S, |lab| {
        let fed = conflicted(lab)?;
        lab.must_not(fed.subject_writes(b"blind", false))?;
        lab.must(fed.subject_writes(b"resolved", true))?;
        let part = subjects(lab, &fed, fed.title())?;
        let reads = part.shown().is_some_and(|value| value.op.deps.iter().any(|dep| dep.actor == fed.book.actor()));
        ensure(part.values.len() == 1 && reads, "one value that names the other as read", format!("{part:?}"))
    })
    .needs(&["write"]),
    refused("sync/parts/of-another-kind", &["DATA-KIND-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        let before = fed.root(lab)?;
        fed.send_copies(lab, &[file_part(&fed, fed.title(), b"another")]);
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/parts/a-log", &["DATA-KIND-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        fed.send_parts(lab, &[fed.diary()]);
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/parts/unknown-kind", &["WIRE-VALUE-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_title(b"theirs");
        let other = DataPart { kind: 6, ..copy(&fed, fed.title())? };
        fed.send_copies(lab, &[other]);
        fed.refuses(lab, before, Code::WIRE_VALUE)
    }),
    refused("sync/parts/fork", &["DATA-FORK-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        let before = fed.root(lab)?;
        let forked = remade(&fed, &copy(&fed, fed.title())?, b"forked");
        fed.send_copies(lab, &[forked]);
        fed.refuses(lab, before, Code::DATA_FORK)
    }),
    refused("sync/parts/hash-does-not-recompute", &["DATA-OP-1", "DATA-OP-2"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_title(b"theirs");
        let mut part = copy(&fed, fed.title())?;
        let mut values = part.values.to_vec();
        values.iter_mut().for_each(|value| value.op.body = Blob::new(b"other".to_vec()).unwrap_or_default());
        part.values = List::new(values).unwrap_or_default();
        fed.send_copies(lab, &[part]);
        fed.refuses(lab, before, Code::DATA_HASH)
    }),
    refused("sync/parts/lengths-disagree", &["DATA-MANIFEST-4"], S, taken, |lab| {
        let fed = fed(lab)?;
        let before = fed.root(lab)?;
        let part = file_part(&fed, PartId::new([7; 16]), b"one line");
        fed.send_copies(lab, &[part]);
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/parts/path-that-climbs-out", &["DATA-NAME-1"], S, taken, |lab| {
        let fed = fed(lab)?;
        let before = fed.root(lab)?;
        let part = file_part(&fed, PartId::new([7; 16]), b"another");
        let out = Entry::file("../out", false, 7, blob_id(b"another"), None).map(|entry| entry.to_bytes());
        fed.send_copies(lab, &[remade(&fed, &part, &out.unwrap_or_default())]);
        fed.refuses(lab, before, Code::DATA_NAME)
    }),
    refused("sync/read/parts-by-a-stranger", &["SYNC-READ-1"], S, taken, |lab| {
        lab.setup.accept_unknown = true;
        let own = owning(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = lab.connect(&stranger)?;
        let mut book = own.book.clone();
        book.hold(&own.manifest);
        let mut fed = Fed { peer: stranger, link, book, own: Some(own) };
        let before = fed.root(lab)?;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        fed.mark(lab, 1);
        lab.alive(link)?;
        lab.none(link, "word of the session", is_sync)?;
        ensure(fed.root(lab)? == before, "data as it was", "other data")
    }),
    refused("sync/own/exclusive-value-of-a-secondary", &["SYNC-OWN-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        fed.book.write_exclusive(b"theirs");
        fed.book.write_exclusive(b"theirs again");
        fed.send_parts(lab, &[fed.book.exclusive()]);
        lab.alive(fed.link)?;
        exclusive_is(lab, &fed, b"cursor 1")
    }),
    works("sync/own/taker-takes-what-it-lacks", &["SYNC-OWN-1", "SYNC-RANK-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.take(lab)?;
        lab.link_down(fed.link);
        lab.must(Command::Takeover { session: fed.session() })?;
        lab.is(fed.session(), SessionRole::Primary)?;
        fed.book.write_exclusive(b"the last");
        fed.link = lab.connect(&fed.peer)?;
        super::scene::take_since(lab, fed.link, fed.session())?;
        fed.send_parts(lab, &[fed.book.exclusive()]);
        lab.alive(fed.link)?;
        exclusive_is(lab, &fed, b"the last")
    })
    .needs(&["takeover"]),
    works("sync/rank/later-value-of-the-owner", &["SYNC-RANK-1"], S, ranked),
    refused("sync/rank/value-under-a-lower-record", &["SYNC-RANK-1"], S, ranked, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.book.clone();
        fed.take(lab)?;
        fed.book.write_exclusive(b"the new owner's");
        fed.send_parts(lab, &[fed.book.exclusive()]);
        exclusive_is(lab, &fed, b"the new owner's")?;
        fed.book = before;
        (0..9).for_each(|_| drop(fed.book.write_exclusive(b"from before")));
        fed.send_parts(lab, &[fed.book.exclusive()]);
        lab.alive(fed.link)?;
        exclusive_is(lab, &fed, b"the new owner's")
    }),
    refused("sync/rank/value-under-no-record-of-the-chain", &["SYNC-RANK-1"], S, ranked, |lab| {
        let mut fed = fed(lab)?;
        fed.take(lab)?;
        let stray = fed.book.next(&fed.peer, fed.peer.id);
        fed.book.chain.push(fed.peer.sign(&stray));
        (0..9).for_each(|_| drop(fed.book.write_exclusive(b"from elsewhere")));
        fed.send_parts(lab, &[fed.book.exclusive()]);
        lab.alive(fed.link)?;
        exclusive_is(lab, &fed, b"cursor 1")
    }),
    refused("sync/rank/none-held-and-no-record-of-the-chain", &["SYNC-RANK-1"], S, first_of_all, |lab| {
        let mut fed = without_exclusive(lab)?;
        let honest = fed.book.clone();
        let stray = fed.book.next(&fed.peer, fed.peer.id);
        fed.book.chain.push(fed.peer.sign(&stray));
        not_taken(lab, &mut fed, honest)
    }),
    refused("sync/rank/none-held-and-a-record-that-was-overtaken", &["SYNC-RANK-1"], S, first_of_all, |lab| {
        let mut fed = without_exclusive(lab)?;
        let mut honest = fed.book.clone();
        honest.chain.pop();
        let taken = fed.peer.sign(&honest.takeover(&fed.peer));
        honest.chain.push(taken.clone());
        lab.send(fed.link, head(fed.session(), vec![taken.clone()], None));
        let head = lab.known(fed.session())?.head;
        ensure(head == taken.id(), "the takeover as head", format!("{head:?}"))?;
        not_taken(lab, &mut fed, honest)
    }),
];

/// The peer's register comes, and the subject has it.
pub(super) fn taken(lab: &mut Lab) -> Done {
    let mut fed = fed(lab)?;
    fed.write_title(b"theirs");
    fed.send_parts(lab, &[fed.title()]);
    fed.agrees(lab)
}

/// Subject and peer have written the register without knowing of each other, and the subject has both values.
fn conflicted(lab: &mut Lab) -> Done<Fed> {
    let mut fed = fed(lab)?;
    lab.must(fed.subject_writes(b"mine", false))?;
    fed.write_title(b"theirs");
    fed.send_parts(lab, &[fed.title()]);
    let part = subjects(lab, &fed, fed.title())?;
    let mut bodies: Vec<&[u8]> = part.values.iter().map(|value| &*value.op.body).collect();
    bodies.sort_unstable();
    ensure(bodies == [b"mine".as_slice(), b"theirs"], "both values", format!("{bodies:?}"))?;
    Ok(fed)
}

/// The new owner's value comes to the subject, which gave the session to it.
fn ranked(lab: &mut Lab) -> Done {
    let mut fed = fed(lab)?;
    fed.take(lab)?;
    fed.book.write_exclusive(b"the new owner's");
    fed.send_parts(lab, &[fed.book.exclusive()]);
    exclusive_is(lab, &fed, b"the new owner's")?;
    fed.book.write_exclusive(b"and the next");
    fed.send_parts(lab, &[fed.book.exclusive()]);
    exclusive_is(lab, &fed, b"and the next")
}

/// The subject gave a session to the peer before anyone wrote an exclusive part.
fn without_exclusive(lab: &mut Lab) -> Done<Fed> {
    let peer = scene::alone(lab)?;
    let session = create(lab, &peer)?;
    lab.must(Command::WriteFile { session, path: "notes.txt".into(), content: b"one line".to_vec() })?;
    let link = lab.connect(&peer)?;
    let (mut book, data, manifest) = learn(lab, link, session)?;
    let own = Owning { peer: peer.clone(), link, session, book: book.clone(), data, manifest };
    book.hold(&own.manifest);
    let mut fed = Fed { peer, link, book, own: Some(own) };
    fed.take(lab)?;
    Ok(fed)
}

/// The first exclusive value of all comes from the owner, and the subject has it.
fn first_of_all(lab: &mut Lab) -> Done {
    let mut fed = without_exclusive(lab)?;
    fed.book.write_exclusive(b"the first");
    fed.send_parts(lab, &[fed.book.exclusive()]);
    exclusive_is(lab, &fed, b"the first")
}

/// What the peer writes under its head, as it is now, isn't taken in, though nothing else is held; what it writes honestly
/// is taken in as ever.
fn not_taken(lab: &mut Lab, fed: &mut Fed, honest: Book) -> Done {
    (0..9).for_each(|_| drop(fed.book.write_exclusive(b"from elsewhere")));
    fed.send_parts(lab, &[fed.book.exclusive()]);
    lab.alive(fed.link)?;
    let found = lab.known(fed.session())?.exclusive;
    ensure(found.is_none(), "no exclusive value", format!("{found:?}"))?;
    fed.book = honest;
    fed.book.write_exclusive(b"the first");
    fed.send_parts(lab, &[fed.book.exclusive()]);
    exclusive_is(lab, fed, b"the first")
}

fn exclusive_is(lab: &mut Lab, fed: &Fed, value: &[u8]) -> Done {
    let found = lab.known(fed.session())?.exclusive;
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let came = found.as_deref().map_or("none".into(), shown);
    ensure(found.as_deref() == Some(value), &format!("the exclusive value '{}'", shown(value)), came)
}

/// The subject's copy of a part.
fn subjects(lab: &mut Lab, fed: &Fed, part: PartId) -> Done<DataPart> {
    let manifest = fed.manifest(lab)?;
    manifest.part(&part).cloned().ok_or_else(|| Fault::fail("the part that was sent", "none"))
}

/// The peer's copy of a part.
fn copy(fed: &Fed, part: PartId) -> Done<DataPart> {
    fed.book.state.part(&part).cloned().ok_or_else(|| Fault::fail("a part of the peer's", "none"))
}

/// Copies of the register by so many writers, each of whom knew what the peer holds and nothing of the others.
fn alone(fed: &mut Fed, writers: u8, len: usize) -> Done<Vec<DataPart>> {
    let (title, before, actor) = (fed.title(), fed.book.state.clone(), fed.book.actor());
    let mut copies = Vec::new();
    for at in 1..=writers {
        fed.book.state = before.clone();
        fed.book.write_as(ActorId::new([at; 32]));
        fed.write_title(&vec![at; len]);
        copies.push(copy(fed, title)?);
    }
    fed.book.state = before;
    fed.book.write_as(actor);
    Ok(copies)
}

/// The register as so many have written it, without knowing of each other.
fn several(fed: &mut Fed, writers: u8, len: usize) -> Done<DataPart> {
    for part in alone(fed, writers, len)? {
        let merged = fed.book.state.merge(Rules::ALL, &part);
        merged.map_err(|why| Fault::fail("copies that merge", format!("{why:?}")))?;
    }
    copy(fed, fed.title())
}

/// The same first op with another body, and a tip that fits.
fn remade(fed: &Fed, part: &DataPart, body: &[u8]) -> DataPart {
    let Some(value) = part.shown() else { return part.clone() };
    let mut value = value.clone();
    value.op.body = Blob::new(body.to_vec()).unwrap_or_default();
    let prev = strand_hash(&fed.book.id, &part.part, &value.op.actor);
    let tip = Tip { actor: value.op.actor, seq: 1, hash: op_hash(&prev, &header(&value.op)) };
    let (strands, values) = (List::new(vec![tip]), List::new(vec![value]));
    DataPart { strands: strands.unwrap_or_default(), values: values.unwrap_or_default(), ..part.clone() }
}

/// A part with a file of 7 bytes, which is said to have this content.
fn file_part(fed: &Fed, id: PartId, content: &[u8]) -> DataPart {
    let mut book = fed.book.clone();
    book.state = State::new(fed.book.id, "");
    let entry = Entry::file("other.txt", false, 7, blob_id(content), None);
    book.put(id, PartKind::Blob, entry.map(|entry| entry.to_bytes()).unwrap_or_default());
    book.state.part(&id).cloned().unwrap_or_else(|| DataPart::new(id, PartKind::Blob))
}
