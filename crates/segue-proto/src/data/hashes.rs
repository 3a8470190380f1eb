//! Ids and hashes of data. Each has a context of its own; integers are big-endian and of fixed width.

use alloc::vec::Vec;

use super::objects::{OpHeader, Part, PartKind};
use crate::wire::codec::encode;
use crate::wire::hash::Hasher;
use crate::wire::{ActorId, DeviceId, Hash, Nonce, Op, PartId, SessionId};

/// The id of the session that `creator` makes with `nonce` (HO-CHAIN-7).
pub fn session_id(creator: &DeviceId, nonce: &Nonce) -> SessionId {
    let hash = Hasher::new("segue/1 session").bytes(creator.as_bytes()).bytes(nonce.as_bytes()).finish();
    let (id, _) = hash.as_bytes().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    SessionId::new(*id)
}

/// The actor that `device` writes as after it drew `nonce`.
pub fn actor_id(device: &DeviceId, nonce: &Nonce) -> ActorId {
    let hash = Hasher::new("segue/1 actor").bytes(device.as_bytes()).bytes(nonce.as_bytes()).finish();
    ActorId::new(*hash.as_bytes())
}

/// The hash of a strand without ops: what its first op follows.
pub fn strand_hash(session: &SessionId, part: &PartId, actor: &ActorId) -> Hash {
    Hasher::new("segue/1 strand").bytes(session.as_bytes()).bytes(part.as_bytes()).bytes(actor.as_bytes()).finish()
}

/// The hash of an op's body. The salt keeps a short body from being guessed.
pub fn body_hash(salt: &Nonce, body: &[u8]) -> Hash {
    Hasher::new("segue/1 body").bytes(salt.as_bytes()).bytes(body).finish()
}

/// The salt of an op of a log or opaque part: its strand's seed and its number give it, so that it needs no bytes.
pub fn salt(seed: &Nonce, seq: u64) -> Nonce {
    let hash = Hasher::new("segue/1 salt").bytes(seed.as_bytes()).u64(seq).finish();
    let (salt, _) = hash.as_bytes().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    Nonce::new(*salt)
}

/// The id that two devices give to the part of this kind and name without asking each other (DATA-PART-1).
pub fn named_part(session: &SessionId, kind: PartKind, name: &str) -> PartId {
    let hash = Hasher::new("segue/1 named part").bytes(session.as_bytes()).u16(kind.number()).bytes(name.as_bytes());
    let hash = hash.finish();
    let (id, _) = hash.as_bytes().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    PartId::new(*id)
}

/// The header of an op: what its hash covers. Strand and previous op are in the hash before it.
pub fn header(op: &Op) -> OpHeader {
    OpHeader {
        seq: op.seq,
        deps: op.deps.clone(),
        hlc: op.hlc,
        record: op.record,
        // A body has at most MAX_OP_BODY bytes.
        body_len: u32::try_from(op.body.len()).unwrap_or(u32::MAX),
        body_hash: body_hash(&op.salt, &op.body),
    }
}

/// The hash of the op with this header, after the op or strand with the hash `prev` (DATA-OP-1).
pub fn op_hash(prev: &Hash, header: &OpHeader) -> Hash {
    Hasher::new("segue/1 op").bytes(prev.as_bytes()).bytes(&encode(header)).finish()
}

/// The root of a part: which ops it has.
pub(super) fn part_root(part: &Part) -> Hash {
    let start = Hasher::new("segue/1 part").bytes(part.part.as_bytes()).u16(part.kind).u32(count(part.strands.len()));
    let strand =
        |hash: Hasher, tip: &crate::wire::Tip| hash.bytes(tip.actor.as_bytes()).u64(tip.seq).bytes(tip.hash.as_bytes());
    part.strands.iter().fold(start, strand).finish()
}

/// The root of a session from the roots of its parts, ascending by part (DATA-ROOT-1).
pub fn root(session: &SessionId, parts: impl ExactSizeIterator<Item = (PartId, Hash)>) -> Hash {
    let start = Hasher::new("segue/1 root").bytes(session.as_bytes()).u32(count(parts.len()));
    if parts.len() < MANY {
        return parts.fold(start, |hash, (part, root)| hash.bytes(part.as_bytes()).bytes(root.as_bytes())).finish();
    }
    let mut bytes = Vec::with_capacity(parts.len() * size_of::<(PartId, Hash)>());
    parts.for_each(|(part, root)| {
        bytes.extend_from_slice(part.as_bytes());
        bytes.extend_from_slice(root.as_bytes());
    });
    start.bytes(&bytes).finish()
}

/// From so many parts on their roots are hashed in one piece: BLAKE3 hashes several blocks at once if they come together.
const MANY: usize = 128;

/// Lists are capped far below 2^32.
fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
