//! The sending side: what a peer is fed of a session.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::changes::{Change, Changes};
use super::known::{ROOM, knowing};
use super::writers::naming;
use crate::clock::Instant;
use crate::data::{OpView, Part, PartKind, State, Stream, Value};
use crate::limits::{MARK_DELAY, MAX_NAMED, MAX_OPS, MAX_PART, MAX_STRANDS, MAX_SYNC_PARTS, SNAPSHOT_PIECE};
use crate::wire::codec::{Blob, encode};
use crate::wire::{
    ActorId, BriefDep, BriefOp, DeviceId, Exts, Hash, Hlc, HoldingMsg, List, Mark, Message, Ops, PartId, Parts,
    SessionId, SnapshotMsg, Strand, Text,
};

/// The numbers that strands have on a link, in the direction away from this device.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    names: BTreeMap<(SessionId, PartId, ActorId), Name>,
    /// The writers whose devices the peer was told.
    writers: BTreeSet<(SessionId, ActorId)>,
}

#[derive(Clone, Copy, Debug)]
struct Name {
    number: u32,
    /// The record and the number that the peer takes the next op to have.
    record: Hash,
    seq: u64,
}

/// What is sent to one peer of one session.
#[derive(Clone, Debug)]
pub struct Feed {
    peer: DeviceId,
    /// Whether the peer still holds what it sent here itself, so that this needn't be sent back.
    keeps: bool,
    /// Where it started.
    from: u64,
    /// The position and the change up to which everything was sent.
    sent: (u64, Option<Change>),
    /// The position up to which the peer holds everything durably.
    held: u64,
    /// What was sent beyond that: position and bytes.
    flight: VecDeque<(u64, usize)>,
    /// The position of the last MARK.
    marked: Option<u64>,
    mark_at: Option<Instant>,
    /// How much of the next snapshot was sent.
    partial: u64,
}

impl Feed {
    /// Starts at a position in this device's log up to which the peer holds everything.
    pub fn new(peer: DeviceId, at: u64, keeps: bool) -> Feed {
        Feed {
            peer,
            keeps,
            from: at,
            sent: (at, None),
            held: at,
            flight: VecDeque::new(),
            marked: None,
            mark_at: None,
            partial: 0,
        }
    }

    /// Says anew whether the peer still holds what it sent here itself: what it sends here later need not go back either.
    pub fn keeps(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// Whether the feed started at this position.
    pub fn is_from(&self, at: u64) -> bool {
        self.from == at
    }

    /// The peer holds everything up to `at`.
    pub fn on_held(&mut self, at: u64) {
        if at <= self.sent.0 {
            self.held = self.held.max(at);
            self.flight.retain(|(position, _)| *position > at);
        }
    }

    /// The position up to which the peer holds everything durably.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The bytes on their way.
    pub fn in_flight(&self) -> usize {
        self.flight.iter().map(|(_, bytes)| bytes).sum()
    }

    /// The position up to which everything was handed out, and whether nothing follows it.
    pub fn position(&self, changes: &Changes) -> (u64, bool) {
        let drained = changes.after(self.sent.0, self.sent.1).next().is_none();
        (if drained { changes.last() } else { self.sent.0.saturating_sub(1) }, drained)
    }

    /// When the next MARK is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.mark_at
    }

    /// The next messages of the feed; none once everything was sent.
    pub fn step(&mut self, names: &mut Outbound, changes: &Changes, state: &State) -> Option<Vec<Message>> {
        loop {
            let (at, change, from) = changes.after(self.sent.0, self.sent.1).next()?;
            if self.keeps && from == Some(self.peer) {
                self.sent = (at, Some(change));
                continue;
            }
            let mut messages = Vec::new();
            match change {
                Change::Part(_) => self.take_parts(names, changes, state, &mut messages),
                Change::Snapshot(part, id) => {
                    let Some((message, last)) = self.piece(state, &part, &id) else {
                        self.sent = (at, Some(change));
                        continue;
                    };
                    if last {
                        (self.sent, self.partial) = ((at, Some(change)), 0);
                    }
                    // Pieces don't count as on their way: no MARK says that some of them are held.
                    return Some(alloc::vec![message]);
                }
                Change::Holding(part, id, device) => {
                    self.sent = (at, Some(change));
                    let Some((holding, _)) = state.holding(&part, &id, &device) else { continue };
                    let (session, holding) = (state.session(), holding.clone());
                    messages.push(HoldingMsg { session, holding, ext: Exts::empty() }.into());
                }
                Change::Op(part, actor, seq) => {
                    self.sent = (at, Some(change));
                    let kind = state.part(&part).map_or(0, |part| part.kind);
                    let Some(stream) = state.stream(&part) else { continue };
                    let strand = (state.session(), part, actor);
                    names.introduce((strand, kind), (state, stream), seq, &mut messages);
                    let ops = self.take_ops(names, (changes, state, stream), strand, seq);
                    messages.extend(ops);
                }
            }
            let bytes = messages.iter().map(|message| message.to_frame().len()).sum();
            self.flight.push_back((self.sent.0, bytes));
            return Some(messages);
        }
    }

    /// Whether a snapshot is on its way.
    pub fn is_partial(&self) -> bool {
        self.partial > 0
    }

    /// Looks again at a time, though nothing comes.
    pub fn look_at(&mut self, at: Instant) {
        self.mark_at = Some(self.mark_at.map_or(at, |known| known.min(at)));
    }

    /// The next piece of a snapshot, and whether it is the last; none if the peer has it, or nobody has it any more.
    fn piece(&mut self, state: &State, part: &PartId, id: &Hash) -> Option<(Message, bool)> {
        let base = state.snapshot(part, id)?;
        if state.holding(part, id, &self.peer).is_some() {
            self.partial = 0;
            return None;
        }
        let from = usize::try_from(self.partial).ok()?;
        let rest = base.bytes.get(from..).unwrap_or_default();
        let piece = rest.get(..rest.len().min(SNAPSHOT_PIECE)).unwrap_or_default();
        let (session, snapshot, offset) = (state.session(), base.signed.clone(), self.partial);
        self.partial += piece.len() as u64;
        let last = piece.len() == rest.len();
        let bytes = Blob::new(piece.to_vec()).unwrap_or_default();
        Some((SnapshotMsg { session, snapshot, offset, bytes, ext: Exts::empty() }.into(), last))
    }

    /// The MARK that is due: at once when a peer has caught up for the first time or much is on its way, else a while
    /// after the last op, so that a key typed doesn't cost one.
    pub fn mark(&mut self, now: Instant, changes: &Changes, state: &State, much: bool) -> Option<Message> {
        let due = self.mark_at.is_some_and(|at| at <= now);
        let (at, drained) = self.position(changes);
        let first = self.marked.is_none() && drained;
        if self.marked.is_some_and(|marked| at <= marked) || !drained && at == 0 {
            self.mark_at = None;
            return None;
        }
        if !(due || much || first) {
            self.mark_at = self.mark_at.or(Some(now.after(MARK_DELAY)));
            return None;
        }
        (self.marked, self.mark_at) = (Some(at), None);
        let (session, name) = (state.session(), Text::new(state.name()).unwrap_or_default());
        Some(Mark { session, name, log: changes.name(), at, ext: Exts::empty() }.into())
    }

    /// The next run of parts, as they are now.
    fn take_parts(&mut self, names: &mut Outbound, changes: &Changes, state: &State, messages: &mut Vec<Message>) {
        let session = state.session();
        let (mut parts, mut size, mut writers) = (Vec::new(), 0, BTreeSet::new());
        for (at, change, from) in changes.after(self.sent.0, self.sent.1) {
            let Change::Part(id) = change else { break };
            let known = self.keeps && from == Some(self.peer);
            let part = state.part(&id).filter(|_| !known);
            let bytes = part.and_then(|part| state.part_bytes(&part.part));
            let pieces = part.zip(bytes).map(|(part, bytes)| pieces(part, &bytes)).unwrap_or_default();
            let more: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
            let by: BTreeSet<_> = part.into_iter().flat_map(|p| p.values.iter()).map(|value| value.op.actor).collect();
            let many = writers.union(&by).count() > MAX_NAMED;
            if !parts.is_empty() && (size + more > MAX_PART || parts.len() + pieces.len() > MAX_SYNC_PARTS || many) {
                break;
            }
            if pieces.len() > 1 || by.len() > MAX_NAMED {
                for (by, piece) in pieces {
                    // Those for which there is no room beside the piece are named before it.
                    let mut named: Vec<_> = by.chunks(MAX_NAMED).collect();
                    let last = named.pop().unwrap_or_default();
                    let before =
                        named.into_iter().map(|by| parts_message(session, Vec::new(), names.naming(state, by)));
                    messages.extend(before.collect::<Vec<_>>());
                    messages.push(parts_message(session, alloc::vec![piece], names.naming(state, last)));
                }
                self.sent = (at, Some(change));
                break;
            }
            size += more;
            writers.extend(by);
            parts.extend(pieces.into_iter().map(|(_, piece)| piece));
            self.sent = (at, Some(change));
        }
        if !parts.is_empty() {
            let writers: Vec<_> = writers.into_iter().collect();
            messages.push(parts_message(session, parts, names.naming(state, &writers)));
        }
    }

    /// The op with this number and those behind it in the log, as far as they are of the same strand and record.
    fn take_ops(
        &mut self,
        names: &mut Outbound,
        (changes, state, stream): (&Changes, &State, &Stream),
        strand: (SessionId, PartId, ActorId),
        first: u64,
    ) -> Option<Message> {
        let (_, part, actor) = strand;
        let record = stream.op(&actor, first)?.record;
        let (mut ops, mut size, mut seq, mut known) = (Vec::new(), 0, first, Vec::new());
        while let Some(op) = stream.op(&actor, seq).filter(|op| op.record == record) {
            let mut read = state.read_below(&part, op);
            let named = op.deps.iter().all(|(of, _)| names.number(&(strand.0, part, *of)).is_some());
            if seq != first {
                let next = changes.after(self.sent.0, self.sent.1).next();
                let follows = next.filter(|(_, change, _)| *change == Change::Op(part, actor, seq));
                let Some((at, change, _)) = follows else { break };
                let crowded = known.len() + read.len() > ROOM || size + read.len() * 80 + most(op) > MAX_PART;
                if crowded || ops.len() >= MAX_OPS || !named {
                    break;
                }
                self.sent = (at, Some(change));
            }
            size += most(op) + read.len() * 80;
            known.append(&mut read);
            let last = stream.hlc(&actor, seq.saturating_sub(1));
            ops.push(brief(names, strand, last, op));
            seq += 1;
        }
        let name = names.names.get_mut(&strand)?;
        name.seq = seq;
        Some(Ops { strand: name.number, ops: List::new(ops)?, ext: knowing(&known) }.into())
    }
}

impl Outbound {
    /// Names the devices of those of these writers whose devices the peer wasn't told yet (DATA-WRITER-1).
    fn naming(&mut self, state: &State, actors: &[ActorId]) -> Exts {
        let session = state.session();
        let new: Vec<_> = actors.iter().filter(|actor| !self.writers.contains(&(session, **actor))).collect();
        let new: Vec<_> =
            new.into_iter().filter_map(|actor| state.writer(actor).map(|it| (*actor, it.clone()))).collect();
        self.writers.extend(new.iter().map(|(actor, _)| (session, *actor)));
        naming(new.into_iter().map(|(_, writer)| writer).collect())
    }

    fn number(&self, strand: &(SessionId, PartId, ActorId)) -> Option<u32> {
        self.names.get(strand).map(|name| name.number)
    }

    /// Names the strand of an op, and those that the op names as read, where the peer doesn't know them yet.
    fn introduce(
        &mut self,
        (strand, kind): ((SessionId, PartId, ActorId), u16),
        (state, stream): (&State, &Stream),
        seq: u64,
        messages: &mut Vec<Message>,
    ) {
        let Some(op) = stream.op(&strand.2, seq) else { return };
        // An op names at most MAX_DEPS strands as read: if there is no room for all, the numbers start again.
        if self.names.len() + op.deps.len() + 1 > MAX_STRANDS {
            self.names.clear();
        }
        for (actor, _) in op.deps {
            let of = (strand.0, strand.1, *actor);
            if !self.names.contains_key(&of) {
                messages.extend(self.name((of, kind), (state, stream), stream.seq(actor) + 1, Hash::ZERO));
            }
        }
        let known = self.names.get(&strand).is_some_and(|name| name.seq == seq && name.record == op.record);
        if !known {
            messages.extend(self.name((strand, kind), (state, stream), seq, op.record));
        }
    }

    fn name(
        &mut self,
        (strand, kind): ((SessionId, PartId, ActorId), u16),
        (state, stream): (&State, &Stream),
        next: u64,
        record: Hash,
    ) -> Option<Message> {
        let (session, part, actor) = strand;
        let new = u32::try_from(self.names.len()).ok()?;
        let number = self.number(&strand).unwrap_or(new);
        self.names.insert(strand, Name { number, record, seq: next });
        let (seed, seq) = (stream.seed(&actor)?, next.saturating_sub(1));
        let hlc = stream.hlc(&actor, seq);
        let ext = self.naming(state, &[actor]);
        Some(Strand { strand: number, session, part, kind, actor, seed, record, seq, hlc, ext }.into())
    }
}

/// The most bytes that an op takes in an OPS: its time and two lengths, a strand's number and an op's for each that it
/// read, its body.
fn most(op: OpView<'_>) -> usize {
    16 + op.deps.len() * 13 + op.body.len()
}

/// An op without what the peer knows from its strand.
fn brief(names: &Outbound, strand: (SessionId, PartId, ActorId), last: Hlc, op: OpView<'_>) -> BriefOp {
    let number = |of: &ActorId| names.number(&(strand.0, strand.1, *of)).unwrap_or(u32::MAX);
    let deps = op.deps.iter().map(|(of, seq)| BriefDep { strand: number(of), seq: *seq }).collect();
    BriefOp {
        ms: millis(op.hlc).saturating_sub(millis(last)),
        deps: List::new(deps).unwrap_or_default(),
        body: Blob::new(op.body.to_vec()).unwrap_or_default(),
    }
}

pub(super) fn millis(time: Hlc) -> u64 {
    u64::from_be_bytes(*time.as_bytes()) >> 16
}

/// The encoding of a part, `whole`, with the writers of its values, or if that is too long for a frame those of pieces that
/// merge to it, values first.
fn pieces(part: &Part, whole: &[u8]) -> Vec<(Vec<ActorId>, Vec<u8>)> {
    let writers = |values: &[Value]| values.iter().map(|value| value.op.actor).collect::<Vec<_>>();
    if whole.len() <= MAX_PART {
        return alloc::vec![(writers(&part.values), whole.to_vec())];
    }
    // An exclusive part is kept whole or not at all, and none comes to be that is longer (DATA-PART-2).
    if part.kind == PartKind::Exclusive.number() {
        return Vec::new();
    }
    let with = part.values.iter().map(|value| {
        let tip = part.tip(&value.op.actor).cloned();
        (tip.into_iter().collect::<Vec<_>>(), alloc::vec![value.clone()])
    });
    let bare = part.strands.iter().filter(|tip| !part.values.iter().any(|value| value.op.actor == tip.actor));
    let bare: Vec<_> = bare.cloned().collect();
    let bare = bare.chunks(256).map(|tips| (tips.to_vec(), Vec::new()));
    let piece = |(tips, values)| Part {
        part: part.part,
        kind: part.kind,
        strands: List::new(tips).unwrap_or_default(),
        values: List::new(values).unwrap_or_default(),
    };
    with.chain(bare).map(piece).map(|piece| (writers(&piece.values), encode(&piece))).collect()
}

fn parts_message(session: SessionId, parts: Vec<Vec<u8>>, ext: Exts) -> Message {
    let parts = parts.into_iter().filter_map(Blob::new).collect();
    Parts { session, parts: List::new(parts).unwrap_or_default(), ext }.into()
}
