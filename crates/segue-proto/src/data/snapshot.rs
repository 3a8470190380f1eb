//! A snapshot of a log or opaque part: what stands for ops that are kept no more.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::objects::PartKind;
use crate::limits::{MAX_OP_BODY, MAX_STREAM_OPS};
use crate::wire::codec::{Blob, decode, encode};
use crate::wire::schema::wire;
use crate::wire::{ActorId, Cover, Hash, Hlc, List, Signed, Snapshot};
use crate::{Code, Rules, Violation};

wire! {
    /// An entry of a log in a snapshot.
    pub struct LogEntry {
        /// The writer.
        actor: ActorId,
        /// Its number in the strand.
        seq: u64,
        /// When it was made.
        hlc: Hlc,
        /// Its lifted time.
        time: u64,
        /// Its depth.
        depth: u32,
        /// What was written.
        body: Blob<MAX_OP_BODY>,
    }
}

/// A snapshot that a stream stands on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// The signed object, as it came.
    pub signed: Signed<Snapshot>,
    /// Its id.
    pub id: Hash,
    /// The ends of the strands that it covers, ascending by actor.
    pub covers: Vec<Cover>,
    /// What the bytes are: 0 the entries of a log, else as the application says.
    pub format: u32,
    /// The content.
    pub bytes: Vec<u8>,
    pub(super) entries: BTreeMap<(ActorId, u64), Entry>,
}

/// An entry of a log whose op is kept no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub(super) hlc: Hlc,
    pub(super) order: (u64, u32),
    pub(super) body: Vec<u8>,
}

impl Base {
    /// A snapshot with its content.
    ///
    /// Errors: the content of a log isn't its entries, each of those that are covered once and in their order.
    pub fn open(rules: Rules, signed: Signed<Snapshot>, body: &Snapshot, bytes: Vec<u8>) -> Result<Base, Violation> {
        let (id, covers) = (signed.id(), body.covers.to_vec());
        let mut base = Base { signed, id, covers, format: body.format, bytes, entries: BTreeMap::new() };
        if body.kind == PartKind::Log.number() {
            let list: List<LogEntry, MAX_STREAM_OPS> = decode(rules, &base.bytes)?;
            let wrong = Violation::new(Code::DATA_HASH, crate::Clause::DATA_SNAPSHOT_3);
            let key = |entry: &LogEntry| ((entry.time, entry.depth), entry.actor, entry.seq);
            let ordered = list.is_sorted_by(|a, b| key(a) < key(b));
            let count: u64 = base.covers.iter().map(|tip| tip.seq).fold(0, u64::saturating_add);
            let whole = count == list.len() as u64;
            for entry in list.into_vec() {
                let LogEntry { actor, seq, hlc, time, depth, body } = entry;
                base.entries.insert((actor, seq), Entry { hlc, order: (time, depth), body: body.into_vec() });
            }
            let covered = |(actor, seq): &(ActorId, u64)| {
                let end = base.covers.iter().find(|tip| tip.actor == *actor);
                *seq > 0 && end.is_some_and(|end| *seq <= end.seq)
            };
            let each = base.entries.len() as u64 == count && base.entries.keys().all(covered);
            rules.ensure(crate::Clause::DATA_SNAPSHOT_3, ordered && whole && each, wrong.code)?;
        }
        Ok(base)
    }
}

impl Entry {
    pub(super) fn encode_all(entries: Vec<((ActorId, u64), Entry)>) -> Vec<u8> {
        let entry = |((actor, seq), entry): ((ActorId, u64), Entry)| LogEntry {
            actor,
            seq,
            hlc: entry.hlc,
            time: entry.order.0,
            depth: entry.order.1,
            body: Blob::new(entry.body).unwrap_or_default(),
        };
        let list: List<LogEntry, MAX_STREAM_OPS> =
            List::new(entries.into_iter().map(entry).collect()).unwrap_or_default();
        encode(&list)
    }
}
