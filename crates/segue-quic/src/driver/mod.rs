//! The driver: one task that owns the core, the links, the timers and the journal's reports.
//!
//! Everything that happens to a node happens here, one thing at a time: a link has bytes, the journal reports, a bulk
//! task or a caller sends an [`Input`], a timer fires. Each goes into the core, and then whatever the core has to say is
//! carried out ([`Driver::flush`]). Nothing here waits for a disk or a peer.

pub(crate) mod dial;
mod flush;
pub(crate) mod journal;
pub(crate) mod link;
pub(crate) mod waits;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use segue_proto::transfer::{BulkEnd, Verified};
use segue_proto::wire::{Bytes as Header, DeviceId, Hash, PartId, Relay, SessionId};
use segue_proto::{Code, ContentId, Endpoint, Generation, Incoming, Instant, LinkId, Served, Ticket, Token, Violation};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant as Clock, Sleep};

use crate::bulk::Shared;
use crate::bulk::reading::Stopped;
use crate::conflicts::Strategy;
use crate::event::{Event, Queue};
use crate::login::LoginsRefused;
use crate::mailbox::ToHost;
use crate::meet::Meets;
use crate::node::Request;
use crate::plan::LinkInfo;
use crate::relay::{self, Relayed};
use crate::stats::Stats;
use crate::transport;
use dial::Keepers;
use journal::Log;
use link::{Link, NewLink, Read};
use waits::Waits;

/// Inputs that wait for the driver. A task whose input doesn't fit waits, and so does the peer behind it.
pub(crate) const INBOX: usize = 1_024;

/// What is taken from one source before the others get their turn. From: guess.
const TURN: usize = 64;

/// How often in one poll what is due is done without waiting for the timer. Beyond it others get their turn, whatever the core
/// says.
const AT_ONCE: usize = 2;

/// What is read from a control stream at once: a whole frame.
const CONTROL_BUFFER: usize = 64 << 10;

/// How long a node that shuts down waits for its peers to hear of it.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// What the tasks and the callers of a node tell its driver.
pub(crate) enum Input {
    /// A caller's request, carried out on the driver.
    Call(Box<dyn FnOnce(&mut Driver) + Send>),
    /// A device called.
    Incoming(NewLink),
    /// An attempt to dial ended.
    Dialled { device: DeviceId, result: Result<NewLink, Code> },
    /// An attempt to dial a device that was introduced ended.
    Met { device: DeviceId, result: Result<NewLink, Code> },
    /// A bulk stream says what it brings.
    Bulk { link: LinkId, header: Header, reply: oneshot::Sender<Result<(Incoming, Stopped), Violation>> },
    /// A stream begins with RELAY.
    Relay { link: LinkId, relay: Relay, reply: relay::Reply },
    /// A stream that was passed on is over.
    RelayEnded(Ticket),
    /// A way by a service is no more.
    WayEnded { addr: SocketAddr, code: Code },
    /// Chunks were received, verified and stored, and after them bulk streams ended that answered these requests.
    Received { link: LinkId, chunks: Vec<Verified>, ends: Vec<(u32, BulkEnd)> },
    /// Chunks were found on the device, and verified.
    Found(Vec<Verified>),
    /// A bulk stream broke the rules.
    Broken { link: LinkId, violation: Violation },
    /// The device was searched for a blob.
    Searched { session: SessionId, blob: Hash },
    /// A slice of content was read, to be put into a mailbox.
    ContentRead { id: ContentId, bytes: Option<Vec<u8>> },
    /// A chunk from a mailbox is stored; or not, if it doesn't count.
    ContentWritten { id: ContentId, stored: bool },
    /// A request was served.
    Served { link: LinkId, req: u32, outcome: Served },
    /// The store failed; what it said.
    StoreFailed(String),
}

/// How a node is told to end. If the sender is dropped, so was the last handle.
pub(crate) enum Stop {
    /// In good order: peers are told, what was written is durable.
    Shutdown,
    /// At once, as a crash would.
    Abort,
}

/// The state of a node.
pub(crate) struct Driver {
    pub(crate) core: Endpoint,
    pub(crate) shared: Shared,
    pub(crate) keepers: Keepers,
    pub(crate) waits: Waits,
    /// Who is being met.
    pub(crate) meets: Meets,
    /// Links by way of services.
    pub(crate) relayed: Relayed,
    /// What waits for the application, by token.
    pub(crate) requests: BTreeMap<Token, Request>,
    pub(crate) strategy: Arc<dyn Strategy>,
    /// How many ops of a log weren't in a snapshot when making one of it failed.
    pub(crate) too_long: BTreeMap<(SessionId, PartId), usize>,
    /// How often services refused a login that nobody waits for, one time after the other, because they have too much to do.
    pub(crate) logins_refused: BTreeMap<DeviceId, LoginsRefused>,
    /// When the core was told the time by the wall clock.
    pub(crate) told_time: Option<Clock>,
    /// Whether devices may call here.
    pub(crate) listens: bool,
    pub(crate) tasks: JoinSet<()>,
    /// Links that end: their last frames are on their way.
    closings: JoinSet<()>,
    key: SigningKey,
    /// The mailbox that this node hosts.
    host: Option<ToHost>,
    origin: Clock,
    pub(crate) endpoint: quinn::Endpoint,
    log: Log,
    pub(crate) links: BTreeMap<LinkId, Link>,
    next_link: u64,
    /// How links ended that the core hasn't told of yet.
    ended: BTreeMap<LinkId, Ended>,
    ready: (mpsc::UnboundedSender<LinkId>, mpsc::UnboundedReceiver<LinkId>),
    inbox: mpsc::Receiver<Input>,
    stop: Option<oneshot::Receiver<Stop>>,
    stopping: Option<Clock>,
    halted: bool,
    /// Something is left to flush, but others were to run first.
    yields: bool,
    events: Arc<Queue>,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires; it may be earlier than need be.
    armed: Option<Clock>,
    /// When time matters to the core next, as of the last flush; none if it wasn't asked since.
    next: Option<Option<Clock>>,
    buffer: Vec<u8>,
}

/// What the transport knows of a link that ended.
struct Ended {
    dialled: Option<DeviceId>,
    end: Option<(Code, bool)>,
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) core: Endpoint,
    pub(crate) shared: Shared,
    pub(crate) key: SigningKey,
    pub(crate) host: Option<ToHost>,
    pub(crate) origin: Clock,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) log: Log,
    pub(crate) inbox: mpsc::Receiver<Input>,
    pub(crate) stop: oneshot::Receiver<Stop>,
    pub(crate) events: Arc<Queue>,
    pub(crate) strategy: Arc<dyn Strategy>,
    pub(crate) listens: bool,
    /// Whether the node takes part in introductions.
    pub(crate) introductions: bool,
    /// What it has links by way of services with.
    pub(crate) relayed: Relayed,
    /// The links that they may have at a time.
    pub(crate) most_links: usize,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let (mut tasks, mut waits) = (JoinSet::new(), Waits::default());
        waits.reached(parts.core.durable_lsn());
        let relayed = parts.relayed.endpoint.clone().map(|(endpoint, ways)| (endpoint, dial::From::Ways(ways)));
        for (endpoint, from) in std::iter::once((parts.endpoint.clone(), dial::From::Anywhere)).chain(relayed) {
            let inbox = parts.shared.inbox.clone();
            tasks.spawn(dial::accept(endpoint, from, inbox, parts.shared.rules, parts.most_links));
        }
        Driver {
            core: parts.core,
            shared: parts.shared,
            keepers: Keepers::default(),
            waits,
            meets: Meets::new(parts.introductions),
            relayed: parts.relayed,
            requests: BTreeMap::new(),
            strategy: parts.strategy,
            too_long: BTreeMap::new(),
            logins_refused: BTreeMap::new(),
            told_time: None,
            listens: parts.listens,
            tasks,
            closings: JoinSet::new(),
            key: parts.key,
            host: parts.host,
            origin: parts.origin,
            endpoint: parts.endpoint,
            log: parts.log,
            links: BTreeMap::new(),
            next_link: 0,
            ended: BTreeMap::new(),
            ready: mpsc::unbounded_channel(),
            inbox: parts.inbox,
            stop: Some(parts.stop),
            stopping: None,
            halted: false,
            yields: false,
            events: parts.events,
            timer: Box::pin(tokio::time::sleep_until(parts.origin)),
            armed: Some(parts.origin),
            next: None,
            buffer: vec![0; CONTROL_BUFFER],
        }
    }

    /// Runs until the node is stopped, then lets go of everything it held. `alive` ends once the last task has let go
    /// of the store.
    pub(crate) async fn run(mut self, mut alive: mpsc::Receiver<()>, done: watch::Sender<bool>) {
        // What an earlier start left unfinished is the first thing to do.
        self.flush();
        self.core.sessions().into_iter().for_each(|session| self.settle_session(session));
        std::future::poll_fn(|cx| self.poll(cx)).await;
        let Driver { endpoint, relayed, tasks, links, log, shared, events, stopping, inbox, host, mut waits, .. } =
            self;
        let code = if stopping.is_some() { Code::LINK_SHUTDOWN } else { Code::LINK_LOST };
        waits.stopped();
        let relayed = relayed.endpoint.map(|(endpoint, _)| endpoint);
        for endpoint in relayed.iter().chain([&endpoint]) {
            endpoint.close(transport::close_code(code), code.name().as_bytes());
        }
        // Without an inbox the tasks on blocking threads have nobody to tell, and end.
        drop((tasks, links, shared, inbox, host));
        if stopping.is_some() {
            let _ = tokio::time::timeout(SHUTDOWN, endpoint.wait_idle()).await;
        }
        drop((endpoint, relayed));
        alive.recv().await;
        // Closing the journal waits for its last commit.
        let _ = tokio::task::spawn_blocking(move || drop(log)).await;
        events.close();
        let _ = done.send(true);
    }

    /// The core's time.
    pub(crate) fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The counts so far.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.shared.counters.snapshot();
        self.links.values().for_each(|link| stats.add_udp(&link.connection.stats()));
        self.log.count(&mut stats);
        stats
    }

    /// The devices that are linked now.
    pub(crate) fn peers(&self) -> Vec<DeviceId> {
        let mut peers: Vec<_> = self.links.values().filter_map(|link| link.peer).collect();
        peers.dedup();
        peers
    }

    /// Whether the device is linked now.
    pub(crate) fn is_linked(&self, device: &DeviceId) -> bool {
        self.links.values().any(|link| link.peer.as_ref() == Some(device))
    }

    /// Whether the device has a direct link now.
    pub(crate) fn is_linked_directly(&self, device: &DeviceId) -> bool {
        self.links.values().any(|link| link.relay.is_none() && link.peer.as_ref() == Some(device))
    }

    /// The device's key.
    pub(crate) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The generation of the link with a device, if there is one.
    pub(crate) fn generation_with(&self, device: &DeviceId) -> Option<Generation> {
        self.links.keys().filter_map(|id| self.core.link_peer(*id)).find(|(peer, _)| peer == device).map(|(_, of)| of)
    }

    /// What is known of the link with a device.
    pub(crate) fn link_info(&self, device: &DeviceId) -> Option<LinkInfo> {
        let (id, link) = self.links.iter().find(|(_, link)| link.peer.as_ref() == Some(device))?;
        let (_, generation) = self.core.link_peer(*id)?;
        let path = link.connection.stats().path;
        Some(LinkInfo { generation, round_trip: path.rtt, window: path.cwnd, relayed: link.relay.is_some() })
    }

    /// Keeps a link to a device, which is at one of these addresses.
    pub(crate) fn keep(&mut self, device: DeviceId, addrs: Vec<SocketAddr>) {
        let linked = self.is_linked_directly(&device);
        self.keepers.keep(device, addrs, linked);
    }

    /// Ends all links to a device.
    pub(crate) fn unlink(&mut self, device: &DeviceId) {
        let now = self.now();
        let is = |link: &Link| link.peer.as_ref() == Some(device) || link.dialled.as_ref() == Some(device);
        let ids: Vec<LinkId> = self.links.iter().filter(|(_, link)| is(link)).map(|(id, _)| *id).collect();
        for id in ids {
            self.core.close_link(now, id, Code::LINK_SHUTDOWN);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for round in 0_usize.. {
            if self.poll_stop(cx) {
                return Poll::Ready(());
            }
            let mut busy = std::mem::take(&mut self.yields);
            busy |= self.end_tries();
            busy |= self.poll_log(cx);
            busy |= self.poll_links(cx);
            busy |= self.poll_inbox(cx);
            busy |= self.poll_timer(cx, round < AT_ONCE);
            while let Poll::Ready(Some(_)) = self.tasks.poll_join_next(cx) {
                busy |= self.stopping.is_some();
            }
            while let Poll::Ready(Some(_)) = self.closings.poll_join_next(cx) {
                busy |= self.stopping.is_some();
            }
            if !busy {
                return Poll::Pending;
            }
            self.flush();
            if self.yields {
                // This wakes the task once all others that were woken have run, which a mere wake-up doesn't.
                let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
        }
        Poll::Pending
    }

    /// Whether the node is to end now.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(stop) = &mut self.stop
            && let Poll::Ready(how) = Pin::new(stop).poll(cx)
        {
            self.stop = None;
            if !matches!(how, Ok(Stop::Shutdown)) {
                return true;
            }
            let now = self.now();
            self.core.shutdown(now);
            self.stopping = Some(Clock::now() + SHUTDOWN);
            self.keepers = Keepers::default();
            self.flush();
        }
        let Some(deadline) = self.stopping else { return false };
        let told = self.links.is_empty() && self.closings.is_empty();
        (told && self.log.is_idle()) || deadline <= Clock::now() || self.halted
    }

    /// Tells the core which calls were dropped between their tries, before it hears more.
    fn end_tries(&mut self) -> bool {
        let (now, dropped) = (self.now(), self.waits.dropped_tries());
        dropped.iter().for_each(|session| self.core.end_tries(now, *session));
        !dropped.is_empty()
    }

    fn poll_log(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Poll::Ready(report) = self.log.poll_report(cx) {
            busy = true;
            let now = self.now();
            match report {
                Ok(lsn) => self.durable(now, lsn),
                Err(text) => {
                    self.halt(text);
                    break;
                }
            }
        }
        busy
    }

    fn poll_links(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        for _ in 0..TURN {
            let Poll::Ready(Some(id)) = self.ready.1.poll_recv(cx) else { break };
            busy = true;
            self.serve_link(id);
        }
        busy
    }

    /// Writes what waits, reads what is there.
    fn serve_link(&mut self, id: LinkId) {
        let now = self.now();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.rearm();
        link.write(&self.shared.counters);
        // A frame may span several reads. A peer that always has more waits its turn.
        for _ in 0..4 {
            match link.read(&mut self.buffer) {
                Read::Bytes(read) => {
                    self.shared.counters.control_rx.add(read as u64);
                    self.core.handle_bytes(now, id, &self.buffer[..read]);
                }
                Read::Nothing => return,
                Read::Ended => return self.link_lost(id),
            }
        }
        link.wake();
    }

    fn poll_inbox(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        // While the journal is full nothing new is taken in: callers and peers wait.
        for _ in 0..if self.log.is_full() { 0 } else { TURN } {
            let Poll::Ready(Some(input)) = self.inbox.poll_recv(cx) else { break };
            busy = true;
            self.take(input);
        }
        busy
    }

    /// Does what is due. `at_once`: without waiting for the timer, which fires a tick late, also if it is due when it is set.
    fn poll_timer(&mut self, cx: &mut Context<'_>, at_once: bool) -> bool {
        let core = self.next.unwrap_or_else(|| self.core.poll_timeout().map(|at| self.clock(at)));
        self.next = Some(core);
        let Some(next) = [core, self.keepers.next(), self.stopping].into_iter().flatten().min() else { return false };
        let now = Clock::now();
        if next > now || !at_once {
            if self.armed.is_none_or(|armed| next < armed) {
                self.timer.as_mut().reset(next);
                self.armed = Some(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.armed = None;
        }
        self.armed.take_if(|armed| *armed <= now);
        let now = self.now();
        self.core.handle_timeout(now);
        self.tell_time();
        for (device, addrs) in self.keepers.due(Clock::now()) {
            let (endpoint, shared) = (self.endpoint.clone(), self.shared.clone());
            self.tasks.spawn(async move {
                let result = dial::dial_any(&endpoint, addrs, device, shared.rules).await;
                shared.tell(Input::Dialled { device, result }).await;
            });
        }
        true
    }

    fn clock(&self, at: Instant) -> Clock {
        self.origin.checked_add(Duration::from_micros(at.micros())).unwrap_or_else(|| Clock::now() + SHUTDOWN)
    }

    fn take(&mut self, input: Input) {
        let now = self.now();
        match input {
            Input::Call(call) => call(self),
            Input::Incoming(link) => self.link_up(link),
            Input::Dialled { device, result: Ok(link) } => {
                if self.keepers.keeps(&device) {
                    self.link_up(link);
                }
            }
            Input::Dialled { device, result: Err(code) } => {
                self.keepers.failed(&device);
                self.events.push(Event::Unlinked { peer: Some(device), code, clause: None, remote: true });
            }
            Input::Met { device, result } => self.met(device, result),
            Input::Relay { link, relay, reply } => self.relay_begins(link, relay, reply),
            Input::RelayEnded(ticket) => self.core.handle_relay_end(ticket),
            Input::WayEnded { addr, code } => self.way_ended(addr, code),
            Input::Bulk { link, header, reply } => {
                let begun = self.core.handle_bulk(now, link, &header);
                if let Some(link) = self.links.get_mut(&link) {
                    let _ = reply.send(begun.map(|incoming| (incoming, link.reading.begin(header.req))));
                }
            }
            Input::Received { link, chunks, ends } => {
                chunks.into_iter().for_each(|chunk| self.core.handle_chunk(now, chunk));
                ends.into_iter().for_each(|(req, end)| self.core.handle_bulk_end(now, link, req, end));
            }
            Input::Found(chunks) => chunks.into_iter().for_each(|chunk| self.core.handle_chunk(now, chunk)),
            Input::Broken { link, violation } => {
                let peer = self.links.get(&link).and_then(|link| link.peer).map(tracing::field::display);
                tracing::info!(link = link.0, peer, %violation, "a bulk stream broke the rules");
                self.core.close_link(now, link, violation.code);
            }
            Input::Searched { session, blob } => self.core.handle_searched(now, session, blob),
            Input::ContentRead { id, bytes } => self.core.handle_content_read(now, id, bytes),
            Input::ContentWritten { id, stored } => self.core.handle_content_written(now, id, stored),
            Input::Served { link, req, outcome } => self.core.handle_served(now, link, req, outcome),
            Input::StoreFailed(text) => self.halt(text),
        }
    }

    pub(crate) fn link_up(&mut self, new: NewLink) {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let (role, binding, expect) = (new.role, new.binding, new.expect);
        let relayed = new.relay.as_ref().map(|held| held.way().device);
        let link = Link::new(id, new, self.ready.0.clone(), self.shared.rules);
        link.wake();
        self.links.insert(id, link);
        let now = self.now();
        match relayed {
            Some(device) => self.core.handle_relayed_link_up(now, id, role, binding, device),
            None => self.core.handle_link_up(now, id, role, binding, expect),
        }
    }

    /// The transport of a link ended.
    fn link_lost(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        self.ended.insert(id, Ended { dialled: link.dialled, end: link.end });
        let peer = link.peer.or(link.dialled);
        link.abort(Code::LINK_SHUTDOWN, &self.shared.counters);
        let now = self.now();
        self.core.handle_link_down(now, id);
        self.redial(peer);
    }

    /// Dials a device again that is left without a link, if a link to it is to be kept.
    fn redial(&mut self, peer: Option<DeviceId>) {
        let Some(peer) = peer else { return };
        let is = |link: &Link| link.relay.is_none() && (link.peer == Some(peer) || link.dialled == Some(peer));
        if !self.links.values().any(is) {
            self.keepers.failed(&peer);
        }
    }

    /// The store failed. Nothing more leaves the node, and it stops.
    fn halt(&mut self, text: String) {
        if self.halted {
            return;
        }
        self.halted = true;
        tracing::error!(%text, "the store failed; the node stops");
        let now = self.now();
        self.core.handle_store_failed(now);
        let text = format!("the store failed ({text}); free disk space or repair the disk, and open the node again");
        self.events.push(Event::Halted { text });
        self.waits.halted();
        self.stopping.get_or_insert_with(Clock::now);
    }
}
