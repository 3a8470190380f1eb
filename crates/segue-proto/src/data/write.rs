//! What this device writes itself.

use alloc::vec::Vec;

use super::objects::{Entry, Part, PartKind};
use super::state::{PartState, State, has_values};
use super::stream::{Stream, StreamOp};
use crate::limits::{MAX_OP_BODY, MAX_PART};
use crate::wire::codec::Blob;
use crate::wire::{ActorId, Hash, Hlc, List, Nonce, Op, PartId};
use crate::{Clause, Rules, UsageError};

/// A write that this device is about to make.
#[derive(Clone, Debug)]
pub struct NewOp {
    /// This device's present actor.
    pub actor: ActorId,
    /// The part; it comes to be with its first op.
    pub part: PartId,
    /// The part's [`PartKind`].
    pub kind: u16,
    /// When it is made.
    pub hlc: Hlc,
    /// The head record under which it is made.
    pub record: Hash,
    /// Sixteen random bytes.
    pub salt: Nonce,
    /// The body: an [`Entry`] in a blob part, anything in the others.
    pub body: Vec<u8>,
    /// Which values of the part it stands for.
    pub replaces: Replaces,
}

/// Which values of a register, blob or exclusive part a write stands for: those that its user was shown (DATA-VALUE-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// The only one; a part with several refuses it.
    One,
    /// All of them.
    All,
    /// Those of these actors; the others stay, in conflict with it.
    Of(Vec<ActorId>),
}

impl Replaces {
    /// Whether it stands for a value of this actor.
    fn covers(&self, actor: &ActorId) -> bool {
        match self {
            Replaces::One | Replaces::All => true,
            Replaces::Of(actors) => actors.contains(actor),
        }
    }

    /// Whether a part may be written so: what the writer wrote itself and isn't shown would be replaced unseen.
    fn suits(&self, part: &Part, writer: &ActorId) -> bool {
        match self {
            Replaces::One => !part.is_conflicted(),
            Replaces::All => true,
            Replaces::Of(_) => part.values.iter().all(|value| value.op.actor != *writer || self.covers(writer)),
        }
    }
}

/// What a write made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// An op that is the part's value now.
    Value(Op),
    /// An op of a log or opaque part, which [`Stream::op`] shows.
    Op {
        /// The part.
        part: PartId,
        /// The writer.
        actor: ActorId,
        /// Its number.
        seq: u64,
    },
}

impl State {
    /// Makes the next op of an actor and takes it in (DATA-OP-3).
    ///
    /// Errors: [`UsageError::BadPart`] if the part has another kind, or if the entry isn't well formed or has no room
    /// in the tree; [`UsageError::Conflicted`] if the part has values for which the write doesn't stand and which
    /// can't stay beside it;
    /// [`UsageError::TooLarge`] if a limit would be passed. The state is unchanged then.
    pub fn write(&mut self, rules: Rules, new: NewOp) -> Result<Written, UsageError> {
        let mut part = self.part_to_write(&new)?;
        if !has_values(part.kind) {
            return self.append(rules, new);
        }
        if part.kind == PartKind::Blob.number() && !self.has_room(&part, &new.body) {
            return Err(UsageError::BadPart);
        }
        if !new.replaces.suits(&part, &new.actor) {
            return Err(UsageError::Conflicted);
        }
        if !rules.keeps(Clause::DATA_OP_3) {
            part.rewind(&new.actor);
        }
        let op = next_op(&part, new).ok_or(UsageError::TooLarge)?;
        part.advance(Rules::ALL, &self.session, &op).map_err(|_| UsageError::TooLarge)?;
        let exclusive = part.kind == PartKind::Exclusive.number();
        let held = PartState::new(part);
        let too_long = exclusive && held.len() > MAX_PART;
        if too_long || !self.has_place(&held) {
            return Err(UsageError::TooLarge);
        }
        self.put(held);
        Ok(Written::Value(op))
    }

    /// Makes the next op of an actor in a log or opaque part.
    fn append(&mut self, rules: Rules, new: NewOp) -> Result<Written, UsageError> {
        if new.body.len() > MAX_OP_BODY {
            return Err(UsageError::TooLarge);
        }
        let stream = self.streams.get(&new.part);
        let deps = stream.map(|stream| stream.unread(&new.actor)).unwrap_or_default();
        let last = stream.filter(|stream| stream.seq(&new.actor) > 0);
        let last = last.map(|stream| stream.hlc(&new.actor, stream.seq(&new.actor)));
        let latest = stream.map_or(Hlc::ZERO, Stream::latest);
        let hlc = next_time(last, latest.max(new.hlc));
        let op = StreamOp { hlc, record: new.record, deps, body: new.body };
        let seq = stream.map_or(0, |stream| stream.seq(&new.actor)) + 1;
        self.deliver(rules, new.part, new.kind, (new.actor, seq), new.salt, op).map_err(|_| UsageError::TooLarge)?;
        Ok(Written::Op { part: new.part, actor: new.actor, seq })
    }

    /// The part as it is before the write.
    fn part_to_write(&self, new: &NewOp) -> Result<Part, UsageError> {
        let kind = PartKind::from_number(new.kind).ok_or(UsageError::BadPart)?;
        match self.part(&new.part) {
            Some(part) if part.kind != new.kind => Err(UsageError::BadPart),
            Some(part) => Ok(part.clone()),
            None => Ok(Part::new(new.part, kind)),
        }
    }

    /// Whether `body` is an entry that the session may hold instead of what `part` holds now.
    fn has_room(&mut self, part: &Part, body: &[u8]) -> bool {
        let Ok(entry) = Entry::open(Rules::ALL, body) else { return false };
        // It stays where it is, whoever else wants to be there (DATA-TREE-1).
        let like = |old: &Entry| old.is_live() && old.path == entry.path && old.is_file() == entry.is_file();
        let stays = part.entry().as_ref().is_some_and(like);
        self.detach(part);
        let fits = stays || !entry.is_live() || self.tree.fits(&entry.path, entry.is_file());
        let agrees = !entry.is_file() || self.blob_len(&entry.blob).is_none_or(|len| len == entry.len);
        self.attach(part);
        fits && agrees
    }
}

/// The next op of the writer's strand in a part with values; none if the body is too long.
///
/// It names as read the writers of the values that it replaces: whoever else wrote was read by one of those, or stays beside.
fn next_op(part: &Part, new: NewOp) -> Option<Op> {
    let seq = part.tip(&new.actor).map_or(0, |tip| tip.seq).checked_add(1)?;
    let replaced = || part.values.iter().map(|value| &value.op).filter(|op| new.replaces.covers(&op.actor));
    let others = replaced().map(|op| &op.actor).filter(|actor| **actor != new.actor);
    let read = others.filter_map(|actor| part.tip(actor)).cloned().collect();
    let latest = replaced().map(|op| op.hlc).max();
    Some(Op {
        part: new.part,
        actor: new.actor,
        seq,
        deps: List::new(read)?,
        hlc: next_time(latest, new.hlc),
        record: new.record,
        salt: new.salt,
        body: Blob::new(new.body)?,
    })
}

/// The time of an op made at `now` after one at `last`: milliseconds in the upper 48 bits, and a counter that tells ops
/// of one millisecond apart (DATA-TIME-1).
fn next_time(last: Option<Hlc>, now: Hlc) -> Hlc {
    let number = |time: Hlc| u64::from_be_bytes(*time.as_bytes());
    // What a peer is told of times are milliseconds from zero on, so that none can be zero itself.
    let now = (number(now) & !0xffff).max(1 << 16);
    let next = last.map_or(now, |last| now.max(number(last).saturating_add(1)));
    Hlc::new(next.to_be_bytes())
}
