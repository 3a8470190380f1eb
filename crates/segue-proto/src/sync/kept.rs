//! An op of a log or opaque part as the journal keeps it.

use alloc::vec::Vec;

use crate::Rules;
use crate::data::{OpView, StreamOp};
use crate::limits::{MAX_DEPS, MAX_OP_BODY};
use crate::wire::codec::{Blob, decode as decode_value, encode as encode_value};
use crate::wire::schema::wire;
use crate::wire::{ActorId, Hash, Hlc, List};

wire! {
    /// An op, with the position of its change in the log of changes.
    pub struct KeptOp {
        /// The position.
        at: u64,
        /// The part's kind.
        kind: u16,
        /// When it was made.
        hlc: Hlc,
        /// The head record under which it was made.
        record: Hash,
        /// The strands that the writer had read since its last op.
        deps: List<KeptDep, MAX_DEPS>,
        /// The body.
        body: Blob<MAX_OP_BODY>,
    }

    /// A strand that was read, and the number of its last op then.
    pub struct KeptDep {
        /// The writer.
        actor: ActorId,
        /// The number.
        seq: u64,
    }
}

/// An op that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The part's kind.
    pub kind: u16,
    /// The op.
    pub op: StreamOp,
}

/// Its value in the journal, with the position of its change.
pub fn encode(at: u64, kind: u16, op: OpView<'_>) -> Vec<u8> {
    let deps = op.deps.iter().map(|(actor, seq)| KeptDep { actor: *actor, seq: *seq }).collect();
    encode_value(&KeptOp {
        at,
        kind,
        hlc: op.hlc,
        record: op.record,
        deps: List::new(deps).unwrap_or_default(),
        body: Blob::new(op.body.to_vec()).unwrap_or_default(),
    })
}

/// Reads it back; none if it isn't one.
pub fn decode(bytes: &[u8]) -> Option<(u64, Kept)> {
    let KeptOp { at, kind, hlc, record, deps, body } = decode_value(Rules::ALL, bytes).ok()?;
    let deps = deps.iter().map(|dep| (dep.actor, dep.seq)).collect();
    Some((at, Kept { kind, op: StreamOp { hlc, record, deps, body: body.into_vec() } }))
}
