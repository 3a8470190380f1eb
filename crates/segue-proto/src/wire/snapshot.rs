//! The signed bodies of snapshots and of what is said to be held of them, and their messages.

use super::codec::{Blob, List};
use super::ids::{ActorId, DeviceId, Hash, Hlc, Nonce, PartId, SessionId};
use super::messages::Exts;
use super::schema::wire;
use super::signed::{Signed, SignedBody};
use crate::clause::{Clause, Rules};
use crate::limits::{MAX_COVERS, MAX_ENDS, SNAPSHOT_PIECE};
use crate::{Code, Violation};

wire! {
    /// What stands for the ops of a log or opaque part up to the ends that it covers.
    pub struct Snapshot {
        /// The session.
        session: SessionId,
        /// The part.
        part: PartId,
        /// The part's kind: 2 log or 4 opaque.
        kind: u16,
        /// Who made it; signs it.
        signer: DeviceId,
        /// The ends of the strands that it covers, ascending by actor.
        covers: List<Cover, MAX_COVERS>,
        /// What the content is: 0 the entries of a log; of an opaque part what the application says.
        format: u32,
        /// The length of the content in bytes.
        len: u64,
        /// The BLAKE3 hash of the content.
        hash: Hash,
    }

    /// The end of a strand that a snapshot covers.
    pub struct Cover {
        /// The writer.
        actor: ActorId,
        /// How many ops of it are covered.
        seq: u64,
        /// The hash of the last of them.
        hash: Hash,
        /// The time of the last of them.
        hlc: Hlc,
        /// From it and an op's number comes the op's salt.
        seed: Nonce,
    }

    /// Says that a device holds a snapshot, durably, and from now on writes nothing that doesn't follow it.
    pub struct Holding {
        /// The session.
        session: SessionId,
        /// The part.
        part: PartId,
        /// The id of the snapshot.
        snapshot: Hash,
        /// The device; signs it.
        device: DeviceId,
        /// The ends of the device's own strands in the part by then, ascending by actor.
        ends: List<StrandEnd, MAX_ENDS>,
    }

    /// How far a strand goes.
    pub struct StrandEnd {
        /// The writer.
        actor: ActorId,
        /// How many ops it has written.
        seq: u64,
    }

    /// A piece of a snapshot.
    pub struct SnapshotMsg {
        /// The session.
        session: SessionId,
        /// The snapshot, the same in each piece.
        snapshot: Signed<Snapshot>,
        /// Where the piece stands in the content.
        offset: u64,
        /// The piece.
        bytes: Blob<SNAPSHOT_PIECE>,
        /// Extensions.
        ext: Exts,
    }

    /// What a device says that it holds of a snapshot.
    pub struct HoldingMsg {
        /// The session.
        session: SessionId,
        /// What it says.
        holding: Signed<Holding>,
        /// Extensions.
        ext: Exts,
    }
}

impl SignedBody for Snapshot {
    const NAME: &'static str = "snapshot";
    const ID_CONTEXT: &'static str = "segue/1 snapshot";
    const SIG_CONTEXT: &'static str = "segue/1 sig snapshot";

    fn check(&self, rules: Rules) -> Result<(), Violation> {
        let stream = matches!(self.kind, 2 | 4);
        let ascend = self.covers.is_sorted_by(|a, b| a.actor < b.actor) && self.covers.iter().all(|tip| tip.seq > 0);
        rules.ensure(Clause::WIRE_VALUE_1, stream && ascend && !self.covers.is_empty(), Code::WIRE_VALUE)
    }
}

impl SignedBody for Holding {
    const NAME: &'static str = "holding";
    const ID_CONTEXT: &'static str = "segue/1 holding";
    const SIG_CONTEXT: &'static str = "segue/1 sig holding";

    fn check(&self, rules: Rules) -> Result<(), Violation> {
        let ascend = self.ends.is_sorted_by(|a, b| a.actor < b.actor);
        rules.ensure(Clause::WIRE_VALUE_1, ascend, Code::WIRE_VALUE)
    }
}
