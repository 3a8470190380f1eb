//! Receiving: each unidirectional stream answers one range, and is read by a task of its own. What it brings is verified
//! and stored by the link's [`Keeper`], some buffers behind the network.
//!
//! Memory is bounded by the link's budget: a task reads no further before there is room, the stream's window fills,
//! and the sender waits.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream};
use segue_proto::limits::{CHUNK, FRAME_TIMEOUT, IDLE};
use segue_proto::transfer::{BulkEnd, Plan};
use segue_proto::wire::{Bytes as Header, Message, Relay, frame::Framer};
use segue_proto::{Clause, Code, Incoming, LinkId, Violation};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::BUFFER;
use super::Shared;
use super::content::{Content, READ, READS};
use super::keep::{Got, Keeper, Kept, worse};
use super::reading::Stopped;
use crate::driver::Input;
use crate::relay::{self, Pace};
use crate::transport::RECEIVE_BUDGET;

/// Buffers of one stream that may wait to be kept while the next is read: those of which the core isn't told yet, those
/// that are being kept, and those that gather meanwhile.
const DEPTH: usize = 12;

/// What a stream brings that is shorter, if its chunks are as long as usual, is copied. From: guess; a tenth of a second at
/// 10 MB/s.
const LONG: usize = 1 << 20;

/// How long slices are held while more is read. From: guess; a hundred times what a buffer takes on loopback.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a packet brings at least, on most paths, in bytes.
const PACKET: usize = 1_350;

/// What is taken of a stream at once, in slices.
const AT_ONCE: usize = 64;

/// Takes the bulk streams of a link. Ends with the link.
pub(crate) async fn accept(link: LinkId, connection: Connection, shared: Shared) {
    let budget = Arc::new(Semaphore::new(RECEIVE_BUDGET));
    let keeper = Keeper::new(link, shared.clone());
    let (mut streams, pace) = (JoinSet::new(), Arc::new(Pace::new()));
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    let (keeper, budget, pace) = (keeper.clone(), budget.clone(), pace.clone());
                    streams.spawn(receive(link, stream, shared.clone(), (keeper, budget, pace)));
                }
                Err(_) => return,
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// One stream, from its first frame to its end.
async fn receive(
    link: LinkId,
    mut stream: RecvStream,
    shared: Shared,
    (keeper, budget, pace): (Keeper, Arc<Semaphore>, Arc<Pace>),
) {
    let limit = Duration::from_micros(FRAME_TIMEOUT);
    let (header, rest) = match timeout(limit, first_frame(&mut stream, &shared)).await {
        Ok(Ok(Some((First::Bytes(header), rest)))) => (header, rest),
        Ok(Ok(Some((First::Relay(first), rest)))) => {
            return relay::receive(link, (stream, first, rest), pace, shared).await;
        }
        // It ended, or was reset, before it said anything.
        Ok(Ok(None)) => return,
        Ok(Err(violation)) => return refuse(link, stream, &shared, violation).await,
        Err(_) => {
            let violation = Violation::new(Code::LIMIT_PROGRESS, Clause::LINK_PROGRESS_1);
            return refuse(link, stream, &shared, violation).await;
        }
    };
    let req = header.req;
    let (reply, answer) = oneshot::channel();
    shared.tell(Input::Bulk { link, header, reply }).await;
    let (incoming, stopped) = match answer.await {
        Ok(Ok(begun)) => begun,
        Ok(Err(violation)) => {
            let _ = stream.stop(shared.stop_code(violation.code));
            return;
        }
        Err(_) => return,
    };
    let rest = VecDeque::from_iter((!rest.is_empty()).then(|| Bytes::from(rest)));
    let is_long = incoming.count as usize >= LONG / CHUNK;
    let end = Body { stream, stopped, rest, is_long, shared: shared.clone(), keeper, budget }.run(&incoming).await;
    if let Some(end) = end {
        shared.tell(Input::Received { link, chunks: Vec::new(), ends: vec![(req, end)] }).await;
    }
}

async fn refuse(link: LinkId, mut stream: RecvStream, shared: &Shared, violation: Violation) {
    let _ = stream.stop(shared.stop_code(violation.code));
    shared.broken(link, violation).await;
}

/// What a stream may begin with.
enum First {
    Bytes(Header),
    Relay(Relay),
}

/// Reads the first frame and what came with it.
async fn first_frame(stream: &mut RecvStream, shared: &Shared) -> Result<Option<(First, Vec<u8>)>, Violation> {
    let mut framer = Framer::default();
    loop {
        // A frame's cap bounds what the framer holds; a little at a time, since what follows the frame is copied.
        let Ok(Some(piece)) = stream.read_chunk(2_048, true).await else { return Ok(None) };
        framer.push(&piece.bytes);
        let Some(frame) = framer.next(shared.rules)? else { continue };
        return match Message::decode(shared.rules, frame.number, &frame.payload)? {
            Some(Message::Bytes(header)) => Ok(Some((First::Bytes(header), framer.into_rest()))),
            Some(Message::Relay(relay)) => Ok(Some((First::Relay(relay), framer.into_rest()))),
            _ => Err(Violation::new(Code::WIRE_STATE, Clause::TRANSFER_BYTES_1)),
        };
    }
}

/// The bytes behind the first frame.
struct Body {
    stream: RecvStream,
    stopped: Stopped,
    /// What was read before it was wanted.
    rest: VecDeque<Bytes>,
    /// What is read is kept in slices, if there is room for what they may hold.
    is_long: bool,
    shared: Shared,
    keeper: Keeper,
    budget: Arc<Semaphore>,
}

impl Body {
    /// Reads all chunks, and has them verified and stored. How the stream ended; none if somebody else tells the core,
    /// or the node is halting.
    async fn run(mut self, incoming: &Incoming) -> Option<BulkEnd> {
        let mut reading = self.keeper.reading();
        let mut keeping = VecDeque::<Kept>::new();
        let mut end = BulkEnd::Finished;
        let last = incoming.first.saturating_add(incoming.count);
        let mut next = incoming.first;
        while next < last && end == BulkEnd::Finished {
            let group = group(&incoming.plan, next..last);
            next = group.end;
            let read = self.take(&incoming.plan, group).await?;
            // What came before is settled first, but for a little that keeps the thread at it.
            let depth = if next == last { 0 } else { DEPTH };
            if depth == 0 && !keeping.is_empty() {
                reading.waits();
            }
            while keeping.len() > depth
                && let Some(kept) = keeping.pop_front()
            {
                end = worse(end, kept.await.ok()?);
            }
            end = worse(end, read.end);
            let got = read.got(&incoming.plan);
            if end == BulkEnd::Finished && next == last && self.has_ended().await {
                self.keeper.keep_last(got, incoming.req);
                return None;
            }
            keeping.push_back(self.keeper.keep(got));
        }
        reading.waits();
        // What was verified before the end is kept, however the stream ended.
        for kept in keeping {
            end = worse(end, kept.await.ok()?);
        }
        drop(reading);
        if end == BulkEnd::Finished {
            end = self.finish().await;
        }
        if end != BulkEnd::Finished {
            let code = match end {
                BulkEnd::Corrupt => Code::DATA_HASH,
                _ if self.stopped.is_told() => Code::WIRE_STATE,
                _ => Code::LIMIT_PROGRESS,
            };
            let _ = self.stream.stop(self.shared.stop_code(code));
        }
        Some(end)
    }

    /// Reads a group of chunks, or as much of it as comes. None if the node is halting.
    async fn take(&mut self, plan: &Plan, group: Range<u32>) -> Option<Read> {
        let len: u32 = group.clone().map(|index| chunk_len(plan, index)).sum();
        let (len, share) = (len as usize, len.min(BUFFER as u32));
        self.keeper.reclaim();
        let (mut content, mut room) = match self.room_for_slices() {
            Some(room) => (Content::lent(), room),
            None => {
                let room = self.budget.clone().acquire_many_owned(share).await.ok()?;
                (Content::copied(self.shared.buffers.take(len)), room)
            }
        };
        let mut filled = Some(());
        if content.is_lent() {
            let in_time = timeout(PATIENCE, self.fill(&mut content, len)).await.ok();
            filled = in_time.unwrap_or(filled);
            let holds = content.holds().filter(|_| in_time.is_some());
            if holds.is_none() {
                content.copy(self.shared.buffers.take(len));
            }
            let beyond = room.num_permits().saturating_sub(holds.unwrap_or(0).max(share as usize));
            drop(room.split(beyond));
        }
        if filled.is_some() {
            filled = self.fill(&mut content, len).await;
        }
        if self.rest.len() > 1 {
            let rest: Vec<Bytes> = self.rest.drain(..).collect();
            self.rest.push_back(Bytes::from(rest.concat()));
        }
        self.shared.counters.bulk_rx.add(content.len() as u64);
        let end = if filled.is_some() { BulkEnd::Finished } else { BulkEnd::Lost };
        Some(Read { content, room, group, end })
    }

    /// Room for all that the slices of a content may hold, if there is.
    fn room_for_slices(&self) -> Option<OwnedSemaphorePermit> {
        let room = || self.budget.clone().try_acquire_many_owned((READS * READ) as u32).ok();
        self.is_long.then(room).flatten()
    }

    /// Reads until there are `len` bytes, or until slices may hold more than may be; none if the stream ends before, isn't
    /// wanted any more, or brings nothing for IDLE (TRANSFER-BYTES-3): a source whose file changed or went away resets the
    /// stream, or ends it early.
    async fn fill(&mut self, content: &mut Content, len: usize) -> Option<()> {
        let (limit, mut slices) = (Duration::from_micros(IDLE), [const { Bytes::new() }; AT_ONCE]);
        loop {
            while content.len() < len
                && let Some(mut slice) = self.rest.pop_front()
            {
                let later = slice.split_off(slice.len().min(len - content.len()));
                content.push(slice);
                if !later.is_empty() {
                    self.rest.push_front(later);
                }
            }
            let missing = len - content.len();
            if missing == 0 || content.holds().is_none() {
                return Some(());
            }
            if content.is_lent() {
                // Little beyond what is missing.
                let slices = &mut slices[..(missing / PACKET + 1).min(AT_ONCE)];
                let read = self.stopped.or_read(limit, self.stream.read_chunks(slices)).await?;
                self.rest.extend(slices.iter_mut().take(read).map(mem::take));
            } else {
                let read = self.stopped.or_read(limit, self.stream.read(content.unfilled())).await?;
                content.filled(read);
            }
        }
    }

    /// Whether the end of the stream is here already, and nothing before it.
    async fn has_ended(&mut self) -> bool {
        if !self.rest.is_empty() {
            return false;
        }
        tokio::select! {
            biased;
            more = self.stream.read_chunk(0, true) => matches!(more, Ok(None)),
            () = std::future::ready(()) => false,
        }
    }

    /// Nothing may follow the last chunk.
    async fn finish(&mut self) -> BulkEnd {
        if !self.rest.is_empty() {
            return BulkEnd::Corrupt;
        }
        match timeout(Duration::from_micros(IDLE), self.stream.read_chunk(1, true)).await {
            Ok(Ok(Some(_))) => BulkEnd::Corrupt,
            // All chunks are here; how the stream ended after them doesn't matter.
            _ => BulkEnd::Finished,
        }
    }
}

/// What was read of a group of chunks.
struct Read {
    content: Content,
    room: OwnedSemaphorePermit,
    group: Range<u32>,
    /// Whether it is all.
    end: BulkEnd,
}

impl Read {
    /// The chunks that are there whole: what matched is kept, however the stream ends (TRANSFER-BYTES-3).
    fn got(self, plan: &Arc<Plan>) -> Got {
        let (mut len, have) = (0, self.content.len());
        let whole = self.group.clone().take_while(|index| {
            len += chunk_len(plan, *index) as usize;
            len <= have
        });
        let group = self.group.start..self.group.start + whole.count() as u32;
        Got { plan: plan.clone(), group, content: self.content, _room: self.room }
    }
}

/// The length of a chunk, in bytes; 0 if there is none.
pub(super) fn chunk_len(plan: &Plan, index: u32) -> u32 {
    plan.chunk(index).map_or(0, |chunk| chunk.len)
}

/// As many chunks as fit a buffer, and at least one. Larger groups wouldn't stay in the processor's cache.
fn group(plan: &Plan, range: Range<u32>) -> Range<u32> {
    let mut len = 0u32;
    let fits = |index: &u32| {
        len = len.saturating_add(chunk_len(plan, *index));
        *index == range.start || len as usize <= BUFFER
    };
    range.start..range.start + range.clone().take_while(fits).count() as u32
}
