//! A link: a connection and its control stream, read and written by the driver itself.
//!
//! The driver polls the control streams of all its links in its own task, so a message costs no hop between tasks. A
//! waker of each link's own says which of them has something to do.
//!
//! What the chapter asks for: TRANSPORT-STREAM-2, TRANSPORT-CLOSE-1.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use quinn::{Connection, ReadError, RecvStream, SendStream, WriteError};
use segue_proto::wire::DeviceId;
use segue_proto::{Clause, Code, LinkId, Role, Rules};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::bulk::reading::Reading;
use crate::bulk::serve::{SERVING, Turns};
use crate::relay::Held;
use crate::stats::Counters;
use crate::transport;

/// How long a link that ends waits for its last frames to be acknowledged, before its transport is closed over them.
/// The close carries the code anyway. From: guess; a round trip to the far side of the earth, twice.
const LINGER: Duration = Duration::from_millis(500);

/// A connection whose handshake is done, and its control stream.
pub(crate) struct NewLink {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) role: Role,
    /// The device that was dialled.
    pub(crate) expect: Option<DeviceId>,
    pub(crate) binding: [u8; 32],
    /// The way by a service that it goes over; none of a direct one.
    pub(crate) relay: Option<Held>,
}

/// A link of the driver's table.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    send: SendStream,
    recv: RecvStream,
    waker: Waker,
    wake: Arc<LinkWake>,
    /// Control bytes on their way out; the first `sent` of them are written.
    out: Vec<u8>,
    sent: usize,
    pub(crate) dialled: Option<DeviceId>,
    pub(crate) peer: Option<DeviceId>,
    /// The way by a service that it goes over; none of a direct one.
    pub(crate) relay: Option<Held>,
    /// What the transport said when it ended: the code, and whether the other side chose it.
    pub(crate) end: Option<(Code, bool)>,
    /// Accepts the link's bulk streams, once the peer is authenticated.
    pub(crate) acceptor: Option<AbortHandle>,
    /// The turns of the requests that are served.
    pub(crate) serving: Turns,
    /// The bulk streams that are read.
    pub(crate) reading: Reading,
    rules: Rules,
}

/// What reading gave.
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now; the link's waker will tell.
    Nothing,
    /// The stream or the connection ended.
    Ended,
}

impl Link {
    pub(crate) fn new(id: LinkId, new: NewLink, ready: mpsc::UnboundedSender<LinkId>, rules: Rules) -> Self {
        let wake = Arc::new(LinkWake { id, queued: AtomicBool::new(false), ready });
        // The control stream goes before bulk, and there what is short.
        let _ = new.send.set_priority(2);
        Link {
            connection: new.connection,
            send: new.send,
            recv: new.recv,
            waker: Waker::from(wake.clone()),
            wake,
            out: Vec::new(),
            sent: 0,
            dialled: new.expect,
            peer: None,
            relay: new.relay,
            end: None,
            acceptor: None,
            serving: Turns::new(SERVING),
            reading: Reading::default(),
            rules,
        }
    }

    /// Has the driver look at the link again.
    pub(crate) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// From here on a wake-up queues the link again.
    pub(crate) fn rearm(&self) {
        self.wake.queued.store(false, Ordering::Release);
    }

    /// Reads what there is into `buf`.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Read {
        match self.recv.poll_read(&mut Context::from_waker(&self.waker), buf) {
            Poll::Pending => Read::Nothing,
            Poll::Ready(Ok(0)) if !self.rules.keeps(Clause::TRANSPORT_STREAM_2) => Read::Nothing,
            Poll::Ready(Ok(0)) => {
                self.end = self.end.or_else(|| self.connection.close_reason().as_ref().map(transport::reason));
                Read::Ended
            }
            Poll::Ready(Ok(read)) => Read::Bytes(read),
            Poll::Ready(Err(error)) => {
                self.end = self.end.or(Some(match &error {
                    ReadError::ConnectionLost(error) => transport::reason(error),
                    _ => (Code::LINK_LOST, true),
                }));
                Read::Ended
            }
        }
    }

    /// Whether the link has room for further control bytes: what came before is written.
    pub(crate) fn is_drained(&self) -> bool {
        self.out.is_empty()
    }

    /// The buffer that the core appends to; only while the link is drained.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes what the connection takes now. An error shows when the link is read.
    pub(crate) fn write(&mut self, counters: &Counters) {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.send).poll_write(&mut Context::from_waker(&self.waker), rest) {
                Poll::Pending => return,
                Poll::Ready(Ok(written)) => {
                    counters.control_tx.add(written as u64);
                    self.sent += written;
                }
                Poll::Ready(Err(error)) => {
                    if let WriteError::ConnectionLost(error) = &error {
                        self.end = self.end.or(Some(transport::reason(error)));
                    }
                    break;
                }
            }
        }
        self.out.clear();
        self.sent = 0;
        // A HEAD of many records shouldn't be remembered by an idle link.
        self.out.shrink_to(4_096);
    }

    /// Ends the link: its last frames get a moment to arrive, then the transport is closed with `code`.
    pub(crate) fn close(mut self, code: Code) -> impl Future<Output = quinn::ConnectionStats> {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.abort();
        }
        let told = if self.rules.keeps(Clause::TRANSPORT_CLOSE_1) { code } else { Code::from_number(0) };
        let number = transport::close_code(told);
        let _ = self.recv.stop(number);
        async move {
            let (mut send, _relay) = (self.send, self.relay);
            let rest = self.out.split_off(self.sent);
            let told = async {
                send.write_all(&rest).await.ok()?;
                send.finish().ok()?;
                send.stopped().await.ok()
            };
            let _ = tokio::time::timeout(LINGER, told).await;
            self.connection.close(number, code.name().as_bytes());
            self.connection.stats()
        }
    }

    /// Ends the link at once.
    pub(crate) fn abort(mut self, code: Code, counters: &Counters) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.abort();
        }
        counters.add_udp(&self.connection.stats());
        self.connection.close(transport::close_code(code), code.name().as_bytes());
    }
}

/// Tells the driver which link has something to do, once.
struct LinkWake {
    id: LinkId,
    queued: AtomicBool,
    ready: mpsc::UnboundedSender<LinkId>,
}

impl Wake for LinkWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // At most one entry a link, so the channel is bounded by the number of links.
        if !self.queued.swap(true, Ordering::AcqRel) {
            let _ = self.ready.send(self.id);
        }
    }
}
