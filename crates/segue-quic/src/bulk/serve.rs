//! Serving: a request's ranges are read on blocking threads, one piece ahead of the network, a stream each.
//!
//! What the chapter asks for: TRANSPORT-STREAM-3.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use segue_proto::limits::CHUNK;
use segue_proto::wire::Range;
use segue_proto::{Code, Serve, Served};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{BUFFER, Buffers, Shared};
use crate::driver::Input;
use crate::storage::Source;
use crate::transport;

/// Requests of one link and kind that are served at the same time; each holds two buffers. From: guess; one is read while another
/// is sent, and two more wait for neither.
pub(crate) const SERVING: usize = 4;

/// Requests of all links and one kind that are served at the same time: 32 MiB of buffers, and 8 for the short.
pub(crate) const SERVING_IN_ALL: usize = 64;

/// The requests that are served at the same time: those for at most CHUNK bytes have turns of their own, so that they
/// never wait for a longer answer's end (TRANSFER-SERVE-4).
#[derive(Clone)]
pub(crate) struct Turns {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Turns {
    /// So many requests of each kind.
    pub(crate) fn new(each: usize) -> Turns {
        Turns { short: Arc::new(Semaphore::new(each)), long: Arc::new(Semaphore::new(each)) }
    }

    /// None if the node stops.
    async fn acquire(&self, request: &Serve) -> Option<SemaphorePermit<'_>> {
        if is_short(request) { &self.short } else { &self.long }.acquire().await.ok()
    }
}

/// Whether a request is for at most CHUNK bytes.
fn is_short(request: &Serve) -> bool {
    request.ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.len)) <= CHUNK as u64
}

/// Serves a request, once it is its turn.
pub(crate) async fn serve(request: Serve, meta: Option<Vec<u8>>, connection: Connection, turns: Turns, shared: Shared) {
    let Some(_turn) = turns.acquire(&request).await else { return };
    let Some(_turn_in_all) = shared.serving.acquire(&request).await else { return };
    let (link, req) = (request.link, request.req);
    let kept = meta.map(Bytes::from).or_else(|| shared.storage.kept(&request.blob));
    let opened = match kept {
        Some(bytes) => Some((Source::Bytes(bytes), None)),
        None => open(&request, &shared).await,
    };
    let outcome = match opened {
        Some((source, first)) => ranges(&request, &connection, &source, first, &shared).await,
        None => {
            tracing::warn!(link = link.0, blob = %request.blob, "a blob that was asked for isn't here, or has changed");
            Served::Unavailable
        }
    };
    shared.tell(Input::Served { link, req, outcome }).await;
}

/// Opens a blob and, as the thread is there, reads the first piece.
async fn open(request: &Serve, shared: &Shared) -> Option<(Source, Option<Bytes>)> {
    let (storage, buffers) = (shared.storage.clone(), shared.buffers.clone());
    let (blob, len, first) = (request.blob, request.len, request.ranges.first()?.clone());
    let opened = spawn_blocking(move || {
        let source = storage.open(&blob, len)?;
        let end = first.offset.checked_add(first.len)?;
        let piece = read(&source, first.offset, piece_len(first.offset, end), &buffers)?;
        Some((source, Some(piece)))
    });
    opened.await.ok()?
}

async fn ranges(
    request: &Serve,
    connection: &Connection,
    source: &Source,
    mut first: Option<Bytes>,
    shared: &Shared,
) -> Served {
    for range in &request.ranges {
        let Ok(stream) = connection.open_uni().await else { return Served::Unavailable };
        let _ = stream.set_priority(i32::from(is_short(request)));
        let header = Bytes::from(request.header(range));
        if send(stream, header, range, source, first.take(), shared).await.is_none() {
            return Served::Unavailable;
        }
    }
    Served::Done
}

/// Sends one range. None if the source's file failed or the peer stopped the stream; the stream is reset then.
async fn send(
    mut stream: SendStream,
    header: Bytes,
    range: &Range,
    source: &Source,
    first: Option<Bytes>,
    shared: &Shared,
) -> Option<()> {
    let end = range.offset.checked_add(range.len)?;
    let mut at = range.offset;
    let mut ahead = first.map_or_else(|| Ahead::read(source, at, end, &shared.buffers), Ahead::Ready);
    let mut header = Some(header);
    while at < end {
        let Some(piece) = ahead.take().await else {
            let _ = stream.reset(transport::close_code(Code::DATA_UNAVAILABLE));
            return None;
        };
        let len = piece.len() as u64;
        at += len;
        ahead = Ahead::read(source, at, end, &shared.buffers);
        if let Some(header) = header.take() {
            stream.write_chunk(header).await.ok()?;
        }
        stream.write_chunk(piece).await.ok()?;
        shared.counters.bulk_tx.add(len);
    }
    stream.finish().ok()
}

/// How much is read at once from `at` on.
fn piece_len(at: u64, end: u64) -> usize {
    // At most BUFFER, so it fits.
    (BUFFER as u64).min(end.saturating_sub(at)) as usize
}

fn read(source: &Source, at: u64, len: usize, buffers: &Buffers) -> Option<Bytes> {
    let mut buffer = buffers.take(len);
    let read = source.read_exact_at(at, &mut buffer);
    read.map_err(|error| tracing::warn!(%error, "reading a blob to serve")).ok()?;
    Some(Bytes::from_owner(buffer))
}

/// The next piece: there, or being read.
enum Ahead {
    Ready(Bytes),
    Reading(JoinHandle<Option<Bytes>>),
}

impl Ahead {
    /// Starts to read; empty at the end.
    fn read(source: &Source, at: u64, end: u64, buffers: &Buffers) -> Ahead {
        let len = piece_len(at, end);
        if len == 0 {
            return Ahead::Ready(Bytes::new());
        }
        if let Some(bytes) = source.slice(at, len) {
            return Ahead::Ready(bytes);
        }
        let (source, buffers) = (source.clone(), buffers.clone());
        Ahead::Reading(spawn_blocking(move || read(&source, at, len, &buffers)))
    }

    async fn take(self) -> Option<Bytes> {
        match self {
            Ahead::Ready(bytes) => Some(bytes),
            Ahead::Reading(task) => task.await.ok()?,
        }
    }
}
