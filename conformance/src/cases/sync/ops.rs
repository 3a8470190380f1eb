//! Ops of logs that a peer sends.

use segue_proto::Code;
use segue_proto::data::{PartKind, named_part};
use segue_proto::limits::MAX_STRANDS;
use segue_proto::wire::{ActorId, BriefDep, List, Ops, Strand};

use super::scene::{Fed, fed, following, gather_all};
use super::since::writes_diary;
use super::{S, T};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};

pub(super) const CASES: &[Case] = &[
    works("sync/ops/taken", &["DATA-STREAM-1", "SYNC-STRAND-1", "DATA-SALT-1"], S, taken),
    works("sync/ops/taken-by-a-follower", &["DATA-STREAM-1", "SYNC-STRAND-1"], T, |lab| {
        let mut fed = following(lab)?;
        fed.write_diary(3);
        fed.send_diary(lab);
        fed.agrees(lab)
    })
    .needs(&["follow"]),
    works("sync/ops/told-on", &["DATA-STREAM-1", "SYNC-SINCE-1"], S, |lab| {
        let fed = sent(lab, 3)?;
        fed.agrees(lab)?;
        let (_, gathered) = gather_all(lab, fed.link, fed.session())?;
        ensure(gathered.ops == 3, "the ops of another for a peer that has nothing", gathered.ops)
    }),
    works("sync/ops/one-by-one", &["SYNC-STRAND-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.write_diary(3);
        let all = fed.ops(0, fed.book.actor(), 0, &[]);
        lab.send(fed.link, fed.strand(0, fed.book.actor(), 0));
        for op in all.ops.iter() {
            lab.send(fed.link, Ops { ops: List::new(vec![op.clone()]).unwrap_or_default(), ..all.clone() });
        }
        fed.agrees(lab)
    }),
    works("sync/ops/strand-named-again", &["SYNC-STRAND-1"], S, |lab| {
        let mut fed = sent(lab, 2)?;
        fed.write_diary(2);
        lab.send(fed.link, fed.strand(MAX_STRANDS as u32 - 1, fed.book.actor(), 2));
        lab.send(fed.link, fed.ops(MAX_STRANDS as u32 - 1, fed.book.actor(), 2, &[]));
        fed.agrees(lab)
    }),
    works("sync/ops/of-two-writers", &["SYNC-STRAND-1", "DATA-OP-4"], S, two_writers),
    works("sync/ops/number-reused", &["SYNC-STRAND-1"], S, |lab| {
        let mut fed = sent(lab, 2)?;
        let first = fed.book.actor();
        let second = writes_as(&mut fed, 8, 1);
        lab.send(fed.link, fed.strand(0, second, 0));
        lab.send(fed.link, fed.strand(1, first, 2));
        lab.send(fed.link, fed.ops(0, second, 0, &[(first, 1)]));
        fed.agrees(lab)
    }),
    works("sync/ops/twice", &["DATA-STREAM-1"], S, |lab| {
        let fed = sent(lab, 3)?;
        fed.send_diary(lab);
        fed.agrees(lab)?;
        lab.alive(fed.link)
    }),
    works("sync/ops/subject-reads-what-it-took", &["DATA-OP-4", "SYNC-STRAND-1"], S, |lab| {
        let fed = sent(lab, 2)?;
        writes_diary(lab, &fed, 1)?;
        let (state, _) = gather_all(lab, fed.link, fed.session())?;
        let stream = state.stream(&fed.diary());
        let reads = stream.is_some_and(|stream| {
            let mine = stream.tips().into_iter().find(|tip| tip.actor != fed.book.actor());
            let op = mine.and_then(|tip| stream.op(&tip.actor, 1).map(|op| op.to_op()));
            op.is_some_and(|op| op.deps == [(fed.book.actor(), 2)])
        });
        ensure(reads, "an op that names the peer's as read", "another")
    })
    .needs(&["write"]),
    refused("sync/ops/unnamed-strand", &["SYNC-STRAND-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        lab.send(fed.link, fed.ops(5, fed.book.actor(), 0, &[]));
        fed.refuses(lab, before, Code::WIRE_STATE)
    }),
    refused("sync/ops/number-of-another-link", &["SYNC-STRAND-1"], S, taken, |lab| {
        let mut fed = sent(lab, 1)?;
        let before = fed.root(lab)?;
        fed.link_again(lab)?;
        fed.write_diary(1);
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 1, &[]));
        fed.refuses(lab, before, Code::WIRE_STATE)
    }),
    refused("sync/ops/reads-an-unnamed-strand", &["SYNC-STRAND-1"], S, two_writers, |lab| {
        let mut fed = sent(lab, 2)?;
        let before = fed.root(lab)?;
        let first = fed.book.actor();
        let second = writes_as(&mut fed, 8, 1);
        lab.send(fed.link, fed.strand(1, second, 0));
        lab.send(fed.link, fed.ops(1, second, 0, &[(first, 5)]));
        fed.refuses(lab, before, Code::WIRE_STATE)
    }),
    refused("sync/ops/reads-another-part", &["SYNC-STRAND-1"], S, two_writers, |lab| {
        let mut fed = sent(lab, 2)?;
        let before = fed.root(lab)?;
        let first = fed.book.actor();
        let second = writes_as(&mut fed, 8, 1);
        let part = named_part(&fed.session(), PartKind::Log, "another");
        lab.send(fed.link, Strand { part, ..fed.strand(5, first, 0) });
        lab.send(fed.link, fed.strand(1, second, 0));
        lab.send(fed.link, fed.ops(1, second, 0, &[(first, 5)]));
        fed.refuses(lab, before, Code::WIRE_STATE)
    }),
    refused("sync/strand/number-too-high", &["SYNC-STRAND-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        lab.send(fed.link, fed.strand(MAX_STRANDS as u32, fed.book.actor(), 0));
        fed.refuses(lab, before, Code::WIRE_LIMIT)
    }),
    refused("sync/ops/skips-one", &["DATA-OP-1", "DATA-STREAM-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(2);
        lab.send(fed.link, fed.strand(0, fed.book.actor(), 1));
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 1, &[]));
        fed.refuses(lab, before, Code::DATA_HASH)
    }),
    refused("sync/ops/reads-what-is-not-held", &["DATA-OP-4", "DATA-STREAM-1"], S, two_writers, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(2);
        let first = fed.book.actor();
        let second = writes_as(&mut fed, 8, 1);
        lab.send(fed.link, fed.strand(0, first, 0));
        lab.send(fed.link, fed.strand(1, second, 0));
        lab.send(fed.link, fed.ops(1, second, 0, &[(first, 0)]));
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/ops/reads-its-own-strand", &["DATA-OP-4"], S, two_writers, |lab| {
        let mut fed = sent(lab, 1)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        let mut ops = fed.ops(0, fed.book.actor(), 1, &[]).ops.into_vec();
        let own = BriefDep { strand: 0, seq: 1 };
        ops.iter_mut().for_each(|op| op.deps = List::new(vec![own.clone()]).unwrap_or_default());
        lab.send(fed.link, Ops { ops: List::new(ops).unwrap_or_default(), ..fed.ops(0, fed.book.actor(), 2, &[]) });
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/ops/fork", &["DATA-FORK-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let other = fed.book.clone();
        fed.write_diary(2);
        fed.send_diary(lab);
        let before = fed.root(lab)?;
        fed.book = other;
        let diary = fed.diary();
        fed.book.put(diary, PartKind::Log, b"forked".to_vec());
        fed.send_diary(lab);
        fed.refuses(lab, before, Code::DATA_FORK)
    }),
    refused("sync/ops/of-another-kind", &["DATA-KIND-1"], S, taken, |lab| {
        let mut fed = sent(lab, 1)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        let kind = PartKind::Opaque.number();
        lab.send(fed.link, Strand { kind, ..fed.strand(0, fed.book.actor(), 1) });
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 1, &[]));
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/ops/of-a-register", &["DATA-KIND-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        let kind = PartKind::Register.number();
        lab.send(fed.link, Strand { kind, ..fed.strand(0, fed.book.actor(), 0) });
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 0, &[]));
        fed.refuses(lab, before, Code::DATA_MANIFEST)
    }),
    refused("sync/ops/of-an-unknown-session", &["SYNC-READ-1"], S, taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_diary(1);
        let session = segue_proto::wire::SessionId::new([9; 16]);
        lab.send(fed.link, Strand { session, ..fed.strand(0, fed.book.actor(), 0) });
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 0, &[]));
        lab.alive(fed.link)?;
        ensure(fed.root(lab)? == before && lab.state(session).is_none(), "nothing of it", "something")
    }),
];

fn taken(lab: &mut Lab) -> Done {
    let fed = sent(lab, 3)?;
    fed.agrees(lab)?;
    lab.alive(fed.link)
}

/// The peer has sent so many ops of its own.
fn sent(lab: &mut Lab, count: u8) -> Done<Fed> {
    let mut fed = fed(lab)?;
    fed.write_diary(count);
    fed.send_diary(lab);
    Ok(fed)
}

/// Another writer's first ops, of which the first names those of the peer as read.
fn writes_as(fed: &mut Fed, actor: u8, count: u8) -> ActorId {
    let actor = ActorId::new([actor; 32]);
    fed.book.write_as(actor);
    fed.write_diary(count);
    actor
}

/// Ops of a second writer, who had read the first's.
fn two_writers(lab: &mut Lab) -> Done {
    let mut fed = sent(lab, 2)?;
    let first = fed.book.actor();
    let second = writes_as(&mut fed, 8, 2);
    lab.send(fed.link, fed.strand(1, second, 0));
    lab.send(fed.link, fed.ops(1, second, 0, &[(first, 0)]));
    fed.agrees(lab)?;
    lab.alive(fed.link)
}
