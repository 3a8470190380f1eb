//! The receiving side: what the short forms of a link stand for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::feed::millis;
use super::known::known;
use crate::data::StreamOp;
use crate::limits::MAX_STRANDS;
use crate::wire::{ActorId, BriefOp, Hash, Hlc, Nonce, Ops, PartId, SessionId, Strand, Tip};
use crate::{Clause, Code, Rules, Violation};

/// The numbers that strands have on a link, in the direction towards this device.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    strands: BTreeMap<u32, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    session: SessionId,
    part: PartId,
    kind: u16,
    actor: ActorId,
    seed: Nonce,
    record: Hash,
    seq: u64,
    hlc: Hlc,
}

/// An op as a peer sent it, whole again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FedOp {
    /// The session.
    pub session: SessionId,
    /// The part.
    pub part: PartId,
    /// The part's kind.
    pub kind: u16,
    /// The writer.
    pub actor: ActorId,
    /// Its number in the strand.
    pub seq: u64,
    /// The seed of its strand's salts.
    pub seed: Nonce,
    /// The op.
    pub op: StreamOp,
    /// Hashes of ops in a snapshot that this one, or one behind it in the same message, had read.
    pub known: Vec<Tip>,
}

impl Inbound {
    /// A strand is named.
    ///
    /// Errors: SYNC-STRAND-1 if its number is MAX_STRANDS or more.
    pub fn on_strand(&mut self, rules: Rules, strand: &Strand) -> Result<(), Violation> {
        let room = (strand.strand as usize) < MAX_STRANDS;
        rules.ensure(Clause::SYNC_STRAND_1, room, Code::WIRE_LIMIT)?;
        let Strand { session, part, kind, actor, seed, record, seq, hlc, .. } = *strand;
        self.strands.insert(strand.strand, Known { session, part, kind, actor, seed, record, seq, hlc });
        Ok(())
    }

    /// The session of a strand.
    pub fn session(&self, strand: u32) -> Option<SessionId> {
        self.strands.get(&strand).map(|known| known.session)
    }

    /// The ops of a strand, whole.
    ///
    /// Errors: SYNC-STRAND-1 if they, or what they name as read, are of a strand without a name, or of another part.
    pub fn on_ops(&mut self, rules: Rules, ops: Ops) -> Result<Vec<FedOp>, Violation> {
        let unnamed = Violation::new(Code::WIRE_STATE, Clause::SYNC_STRAND_1);
        let Some(mut strand) = self.strands.get(&ops.strand).cloned() else {
            return rules.ensure(Clause::SYNC_STRAND_1, false, Code::WIRE_STATE).map(|()| Vec::new());
        };
        let mut tips = known(rules, &ops.ext)?;
        let mut whole = Vec::with_capacity(ops.ops.len());
        for brief in ops.ops.into_vec() {
            let hlc = next_time(strand.hlc, brief.ms);
            let read = |dep: &crate::wire::BriefDep| {
                let of = self.strands.get(&dep.strand).filter(|of| of.session == strand.session);
                of.filter(|of| of.part == strand.part).map(|of| (of.actor, dep.seq)).ok_or(unnamed)
            };
            let deps = brief.deps.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            strand.seq = strand.seq.saturating_add(1);
            strand.hlc = hlc;
            let BriefOp { body, .. } = brief;
            let op = StreamOp { hlc, record: strand.record, deps, body: body.into_vec() };
            let Known { session, part, kind, actor, seed, seq, .. } = strand;
            whole.push(FedOp { session, part, kind, actor, seq, seed, op, known: core::mem::take(&mut tips) });
        }
        self.strands.insert(ops.strand, strand);
        Ok(whole)
    }
}

/// The time of an op, `ms` milliseconds after the last of its strand: within one millisecond a counter goes on, else
/// it starts again (DATA-TIME-1).
fn next_time(last: Hlc, ms: u64) -> Hlc {
    let time = match ms {
        0 => u64::from_be_bytes(*last.as_bytes()).saturating_add(1),
        ms => (millis(last).saturating_add(ms)).saturating_mul(1 << 16),
    };
    Hlc::new(time.to_be_bytes())
}
