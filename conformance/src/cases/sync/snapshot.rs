//! Snapshots of logs: verified, held, gone on from; and ops that go when all hold them.

use segue_proto::Code;
use segue_proto::data::{LogEntry, PartKind, Stream};
use segue_proto::sync::knowing;
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    ActorId, Blob, Exts, Hash, Holding, HoldingMsg, List, Message, Nonce, Ops, Signed, Snapshot, SnapshotMsg, Tip,
};
use segue_testkit::device::Command;

use super::scene::{Fed, fed, following, since};
use super::{S, T};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::verdict::Fault;

/// A device without the command skips snapshots; no case sends it any.
const COMPACTS: &[&str] = &["compact"];
const FOLLOWS: &[&str] = &["follow", "compact"];

pub(super) const CASES: &[Case] = &[
    works("sync/snapshot/holding-is-said", &["SYNC-HOLDING-1"], S, held).needs(COMPACTS),
    works("sync/snapshot/in-pieces", &["SYNC-SNAPSHOT-1"], S, |lab| {
        let fed = sent(lab, 3)?;
        since(lab, fed.link, fed.session(), Nonce::ZERO, 0);
        let (body, bytes) = snapshot(&fed)?;
        let half = bytes.len() / 2;
        for (offset, piece) in [(0, &bytes[..half]), (half, &bytes[half..])] {
            lab.send(fed.link, message(&fed, &body, offset as u64, piece));
        }
        says_holding(lab, &fed, &fed.peer.sign(&body))
    })
    .needs(COMPACTS),
    refused("sync/snapshot/other-hash", &["DATA-SNAPSHOT-1"], S, held, |lab| {
        let fed = sent(lab, 3)?;
        let before = fed.root(lab)?;
        let (mut body, bytes) = snapshot(&fed)?;
        let mut covers = body.covers.to_vec();
        covers.iter_mut().for_each(|end| end.hash = Hash::new([9; 32]));
        body.covers = List::new(covers).unwrap_or_default();
        lab.send(fed.link, message(&fed, &body, 0, &bytes));
        fed.refuses(lab, before, Code::DATA_HASH)
    })
    .needs(COMPACTS),
    refused("sync/snapshot/content-of-another-hash", &["DATA-SNAPSHOT-1"], S, held, |lab| {
        let fed = sent(lab, 3)?;
        let before = fed.root(lab)?;
        let (mut body, bytes) = snapshot(&fed)?;
        body.hash = Hash::new([9; 32]);
        lab.send(fed.link, message(&fed, &body, 0, &bytes));
        fed.refuses(lab, before, Code::DATA_HASH)
    })
    .needs(COMPACTS),
    refused("sync/snapshot/entry-missing", &["DATA-SNAPSHOT-3"], S, held, |lab| {
        let fed = sent(lab, 3)?;
        let before = fed.root(lab)?;
        let (mut body, bytes) = snapshot(&fed)?;
        let bytes = content(entries(&bytes)?.into_iter().skip(1).collect());
        (body.len, body.hash) = (bytes.len() as u64, blob_id(&bytes));
        lab.send(fed.link, message(&fed, &body, 0, &bytes));
        fed.refuses(lab, before, Code::DATA_HASH)
    })
    .needs(COMPACTS),
    refused("sync/snapshot/entry-of-a-held-op-changed", &["DATA-SNAPSHOT-3"], S, held, |lab| {
        let mut fed = sent(lab, 3)?;
        let before = fed.root(lab)?;
        // One more, which the subject lacks: it can't make the content itself.
        fed.write_diary(1);
        let (mut body, bytes) = snapshot(&fed)?;
        let mut all = entries(&bytes)?;
        all.iter_mut().take(1).for_each(|entry| entry.body = Blob::new(b"never written".to_vec()).unwrap_or_default());
        let bytes = content(all);
        (body.len, body.hash) = (bytes.len() as u64, blob_id(&bytes));
        lab.send(fed.link, message(&fed, &body, 0, &bytes));
        fed.refuses(lab, before, Code::DATA_HASH)
    })
    .needs(COMPACTS),
    works("sync/snapshot/goes-on-from-it", &["DATA-SNAPSHOT-4"], T, |lab| {
        let mut fed = following(lab)?;
        fed.write_diary(3);
        send_snapshot(lab, &fed)?;
        fed.agrees(lab)?;
        fed.write_diary(2);
        lab.send(fed.link, fed.strand(0, fed.book.actor(), 3));
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 3, &[]));
        fed.agrees(lab)
    })
    .needs(FOLLOWS),
    works("sync/snapshot/what-it-covers-comes-again", &["DATA-SNAPSHOT-4"], T, |lab| {
        let mut fed = following(lab)?;
        fed.write_diary(3);
        send_snapshot(lab, &fed)?;
        fed.send_diary(lab);
        fed.agrees(lab)?;
        lab.alive(fed.link)
    })
    .needs(FOLLOWS),
    works("sync/snapshot/read-below-with-hashes", &["DATA-SNAPSHOT-5"], T, with_hashes).needs(FOLLOWS),
    refused("sync/snapshot/read-below-without-hashes", &["DATA-SNAPSHOT-5"], T, with_hashes, |lab| {
        let (fed, ops) = reads_below(lab)?;
        let before = fed.root(lab)?;
        lab.send(fed.link, ops);
        fed.refuses(lab, before, Code::DATA_RESYNC)
    })
    .needs(FOLLOWS),
    works("sync/snapshot/ops-go-when-all-hold-it", &["DATA-SNAPSHOT-2", "SYNC-SNAPSHOT-1"], S, |lab| {
        let fed = sent(lab, 3)?;
        since(lab, fed.link, fed.session(), Nonce::ZERO, 0);
        let before = fed.root(lab)?;
        lab.must(Command::Compact { session: fed.session(), part: fed.diary(), content: None })?;
        let snapshot = lab.take(fed.link, "SNAPSHOT", |message| match message {
            Message::Snapshot(message) => Some(message.snapshot.clone()),
            _ => None,
        })?;
        keeps(lab, &fed, 3)?;
        let (session, part, device) = (fed.session(), fed.diary(), fed.peer.id);
        let holding = Holding { session, part, snapshot: snapshot.id(), device, ends: List::empty() };
        let holding = fed.peer.sign(&holding);
        lab.send(fed.link, HoldingMsg { session, holding, ext: Exts::empty() });
        keeps(lab, &fed, 0)?;
        let root = fed.root(lab)?;
        ensure(root == before, "the same root without the ops", format!("{root:?}"))
    })
    .needs(COMPACTS),
];

fn sent(lab: &mut Lab, count: u8) -> Done<Fed> {
    let mut fed = fed(lab)?;
    fed.write_diary(count);
    fed.send_diary(lab);
    fed.agrees(lab)?;
    Ok(fed)
}

fn held(lab: &mut Lab) -> Done {
    let fed = sent(lab, 3)?;
    since(lab, fed.link, fed.session(), Nonce::ZERO, 0);
    let signed = send_snapshot(lab, &fed)?;
    says_holding(lab, &fed, &signed)
}

/// The peer's snapshot of the log as it has it.
fn snapshot(fed: &Fed) -> Done<(Snapshot, Vec<u8>)> {
    let stream = fed.book.state.stream(&fed.diary());
    let ends = stream.map(Stream::ends).unwrap_or_default();
    let bytes = stream.and_then(|stream| stream.log_bytes(&ends));
    let bytes = bytes.ok_or_else(|| Fault::fail("a snapshot of the peer's log", "none"))?;
    let body = Snapshot {
        session: fed.session(),
        part: fed.diary(),
        kind: PartKind::Log.number(),
        signer: fed.peer.id,
        covers: List::new(ends).unwrap_or_default(),
        format: 0,
        len: bytes.len() as u64,
        hash: blob_id(&bytes),
    };
    Ok((body, bytes))
}

fn entries(bytes: &[u8]) -> Done<Vec<LogEntry>> {
    let list: Result<List<LogEntry, 1024>, _> = decode(segue_proto::Rules::ALL, bytes);
    list.map(List::into_vec).map_err(|why| Fault::fail("entries", format!("{why:?}")))
}

fn content(entries: Vec<LogEntry>) -> Vec<u8> {
    let list: List<LogEntry, 1024> = List::new(entries).unwrap_or_default();
    encode(&list)
}

fn message(fed: &Fed, body: &Snapshot, offset: u64, bytes: &[u8]) -> SnapshotMsg {
    let bytes = Blob::new(bytes.to_vec()).unwrap_or_default();
    SnapshotMsg { session: fed.session(), snapshot: fed.peer.sign(body), offset, bytes, ext: Exts::empty() }
}

fn send_snapshot(lab: &mut Lab, fed: &Fed) -> Done<Signed<Snapshot>> {
    let (body, bytes) = snapshot(fed)?;
    lab.send(fed.link, message(fed, &body, 0, &bytes));
    Ok(fed.peer.sign(&body))
}

fn says_holding(lab: &mut Lab, fed: &Fed, snapshot: &Signed<Snapshot>) -> Done {
    let id = snapshot.id();
    let me = lab.id();
    lab.take(fed.link, "HOLDING for the snapshot", |message| match message {
        Message::Holding(message) => {
            let holding = message.holding.clone().prove(segue_proto::Rules::ALL, |body: &Holding| body.device).ok()?;
            (holding.body().snapshot == id && holding.body().device == me).then_some(())
        }
        _ => None,
    })
}

/// The subject keeps so many ops one by one.
fn keeps(lab: &mut Lab, fed: &Fed, count: u64) -> Done {
    let kept = lab.known(fed.session())?.kept;
    ensure(kept == Some(count), &format!("{count} ops kept"), format!("{kept:?}"))
}

/// The subject stands on a snapshot of three entries; an op of another writer, who had read only the first.
fn reads_below(lab: &mut Lab) -> Done<(Fed, Ops)> {
    let mut fed = following(lab)?;
    fed.write_diary(1);
    let mut early = fed.book.clone();
    let first = fed.book.actor();
    fed.write_diary(2);
    send_snapshot(lab, &fed)?;
    fed.agrees(lab)?;
    let second = ActorId::new([8; 32]);
    early.write_as(second);
    early.put(fed.diary(), PartKind::Log, b"apart".to_vec());
    let op = early.state.stream(&fed.diary()).and_then(|stream| stream.op(&second, 1).map(|op| op.to_op()));
    let seed = early.state.stream(&fed.diary()).and_then(|stream| stream.seed(&second)).unwrap_or(Nonce::ZERO);
    let Some(op) = op else { return Err(Fault::fail("an op of the second writer", "none")) };
    let kind = PartKind::Log.number();
    let took = fed.book.state.deliver(segue_proto::Rules::ALL, fed.diary(), kind, (second, 1), seed, op);
    took.map_err(|why| Fault::fail("an op that follows", format!("{why:?}")))?;
    lab.send(fed.link, fed.strand(0, first, 3));
    lab.send(fed.link, fed.strand(1, second, 0));
    let ops = fed.ops(1, second, 0, &[(first, 0)]);
    Ok((fed, ops))
}

fn with_hashes(lab: &mut Lab) -> Done {
    let (fed, ops) = reads_below(lab)?;
    let first = fed.book.state.stream(&fed.diary()).map(Stream::tips).unwrap_or_default();
    let first = first.into_iter().find(|tip| tip.seq == 3).map(|tip| tip.actor).unwrap_or(ActorId::new([0; 32]));
    let hash = fed.book.state.stream(&fed.diary()).and_then(|stream| stream.hash(&first, 1)).unwrap_or(Hash::ZERO);
    let tip = Tip { actor: first, seq: 1, hash };
    lab.send(fed.link, Ops { ext: knowing(&[tip]), ..ops });
    fed.agrees(lab)?;
    lab.alive(fed.link)
}
