//! The handle of a node, and its calls.

mod tried;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use segue_proto::wire::{DeviceId, Hash, SessionId};
use segue_proto::{
    Accepted, Asked, Code, Endpoint, HandoffId, PendingHandoff, SessionRole, SessionView, Token, UsageError,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::backoff::Tries;
use crate::builder::Builder;
use crate::bulk::Shared;
use crate::driver::waits::{Change, Resolved};
use crate::driver::{Driver, Input, Stop};
use crate::error::Error;
use crate::event::{Event, Queue};
use crate::handoff_error::{HandoffError, LinkWas};
use crate::stats::Stats;
use crate::storage::{Storage, WeakStorage};

/// A device. The handle is cheap to clone; when the last one is dropped the node stops at once, and what was unfinished
/// goes on when its state directory is opened again.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Handle>,
}

struct Handle {
    device: DeviceId,
    addr: Option<SocketAddr>,
    inbox: mpsc::Sender<Input>,
    storage: WeakStorage,
    events: Arc<Queue>,
    /// Dropped with the last handle, which stops the driver.
    stop: Mutex<Option<oneshot::Sender<Stop>>>,
    done: watch::Receiver<bool>,
    timeout: Duration,
    tries: Tries,
}

/// A handoff that is complete: the new owner's copy of the record is durable, and the old owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The session.
    pub session: SessionId,
    /// The other device.
    pub peer: DeviceId,
    /// The record that made the new owner the owner.
    pub record: Hash,
    /// From the call to its end.
    pub took: Duration,
}

/// A request that waits for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names it in [`Node::accept_handoff`] and [`Node::reject_handoff`].
    pub token: Token,
    /// The session.
    pub session: SessionId,
    /// The device that asks or offers.
    pub peer: DeviceId,
    /// What it is.
    pub kind: RequestKind,
}

/// What a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// The peer offers its session.
    Offered {
        /// The session's name.
        name: String,
    },
    /// The peer asks for this device's session.
    Wanted,
}

impl Node {
    /// Starts to describe a node.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(
        core: &Endpoint,
        shared: &Shared,
        endpoint: &quinn::Endpoint,
        events: Arc<Queue>,
        stop: oneshot::Sender<Stop>,
        done: watch::Receiver<bool>,
        timeout: Duration,
    ) -> Self {
        let inner = Handle {
            device: core.device(),
            addr: endpoint.local_addr().ok(),
            inbox: shared.inbox.clone(),
            storage: shared.storage.downgrade(),
            events,
            stop: Mutex::new(Some(stop)),
            done,
            timeout,
            tries: Tries::default(),
        };
        Node { inner: Arc::new(inner) }
    }

    /// This device.
    pub fn device(&self) -> DeviceId {
        self.inner.device
    }

    /// The address of the node's socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.addr
    }

    /// Hands a session over to `to`, and waits until that device owns it and this one knows. Dropping the future
    /// doesn't stop the handoff; [`Node::cancel_handoff`] does, before the GRANT. If the other device, or the service in
    /// between, has had too many requests (`LIMIT_OFFERS`, `LIMIT_REQUESTS`), it is tried again after a while, until the
    /// time of [`crate::Builder::handoff_timeout`] has passed, it is cancelled, or another call about the session takes its
    /// place; not before it may be, if the other side says when. [`Event::HandoffDeferred`] tells of each pause, and one
    /// [`Event::HandoffResolved`] of the end, which is this call's too.
    ///
    /// A device that has no link with this one is introduced ([`Node::introduce`]) and woken ([`Node::wake`]) by the
    /// mailboxes that are used.
    ///
    /// # Errors
    /// Definite ones changed nothing: this device is still the owner. A pending one may still complete; see
    /// [`Node::pending_handoffs`].
    pub async fn initiate_handoff(&self, session: SessionId, to: DeviceId) -> Result<Receipt, HandoffError> {
        self.tried(session, to, Meet::Wake, move |driver, limit, _| {
            driver.may_initiate(session, to)?;
            let now = driver.now();
            driver.core.initiate_handoff(now, session, to, limit).map_err(|error| driver.usage(error, session, to))
        })
        .await
    }

    /// Asks `from` to hand a session over, which need not be known here, and waits until this device owns it.
    ///
    /// # Errors
    /// As [`Node::initiate_handoff`].
    pub async fn request_handoff(&self, session: SessionId, from: DeviceId) -> Result<Receipt, HandoffError> {
        self.look_again(session).await;
        self.tried(session, from, Meet::Ask, move |driver, limit, _| driver.request(session, from, limit)).await
    }

    /// Accepts a request and waits for its end: an offered session is owned by this device then, a wanted one by the
    /// device that asked. If the service in between has had too many requests to pass the acceptance on, the session is asked
    /// for again after a while, as [`Node::request_handoff`] does; its owner, whose user chose this device, gives it without
    /// a question. Once it is heard here that the owner cancelled, it isn't asked any more. What is given away is signed
    /// here, and sent until it is acknowledged: there is nothing to try again.
    ///
    /// # Errors
    /// As [`Node::initiate_handoff`]; `HO_TOKEN_BAD` if no request bears the token any more.
    pub async fn accept_handoff(&self, token: Token) -> Result<Receipt, HandoffError> {
        let request = self.call(move |driver| driver.requests.get(&token).cloned());
        let request = request.await.map_err(|_| HandoffError::Stopped)?;
        let Request { session, peer, kind, .. } = request.ok_or(HandoffError::UnknownRequest { token })?;
        self.look_again(session).await;
        if matches!(kind, RequestKind::Offered { .. }) {
            let start = move |driver: &mut Driver, limit, again| match again {
                false => driver.accept_offer(token),
                true => driver.request(session, peer, limit),
            };
            // Where another OFFER took its place, what runs in the session now is that one's.
            let mut withdrawn = self.tap(1, move |event| {
                matches!(event, Event::Withdrawn { token: of, code, .. } if *of == token && *code != Code::HO_SUPERSEDED)
            });
            let mut accepted = pin!(self.tried(session, peer, Meet::Wait, start));
            tokio::select! {
                biased;
                ended = &mut accepted => return ended,
                _ = withdrawn.recv() => {}
            }
            // What runs, or waits for its next try, ends as the owner wants.
            let _ = self.cancel_handoff(session).await;
            return accepted.await;
        }
        let told = self.call(move |driver| driver.accept_pull(token)).await.map_err(|_| HandoffError::Stopped)??;
        match timeout(self.inner.timeout, told).await {
            Ok(told) => told.unwrap_or(Err(HandoffError::Stopped)),
            Err(_) => Err(self.overdue(session, peer).await),
        }
    }

    /// The same as [`Node::accept_handoff`], by its name in generation 2.
    ///
    /// # Errors
    /// As [`Node::accept_handoff`].
    pub async fn accept_data(&self, token: Token) -> Result<Receipt, HandoffError> {
        self.accept_handoff(token).await
    }

    /// Rejects a request. The other side is told.
    ///
    /// # Errors
    /// [`HandoffError::UnknownRequest`] if no request bears the token any more.
    pub async fn reject_handoff(&self, token: Token) -> Result<(), HandoffError> {
        self.reject(token, None).await
    }

    /// Rejects a request, with words for the other side's user: at most 200 characters. Links of 1.4 don't carry them.
    ///
    /// # Errors
    /// As [`Node::reject_handoff`]; [`HandoffError::Usage`] if the reason is too long.
    pub async fn reject_handoff_with(&self, token: Token, reason: &str) -> Result<(), HandoffError> {
        self.reject(token, Some(reason.to_owned())).await
    }

    async fn reject(&self, token: Token, reason: Option<String>) -> Result<(), HandoffError> {
        let rejected = self.call(move |driver| {
            let request = driver.requests.get(&token).cloned().ok_or(HandoffError::UnknownRequest { token })?;
            let now = driver.now();
            let done = driver.core.reject_handoff(now, token, reason.as_deref());
            done.map_err(|error| driver.answered(error, &request))?;
            driver.requests.remove(&token);
            Ok(())
        });
        rejected.await.map_err(|_| HandoffError::Stopped)?
    }

    /// The handoffs that were signed and that their new owners haven't acknowledged, those of earlier starts included:
    /// each is told to its target again until that acknowledges it. [`Node::await_handoff`] waits for one, and
    /// [`Event::HandoffResolved`] tells too.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn pending_handoffs(&self) -> Result<Vec<PendingHandoff>, Error> {
        self.call(|driver| driver.core.pending_handoffs()).await
    }

    /// Waits until the target of a pending handoff owns the session and this device knows, for as long as a handoff may
    /// take.
    ///
    /// # Errors
    /// [`HandoffError::Pending`] at the deadline: wait again. [`HandoffError::Moved`] if another owner's record took its
    /// place.
    pub async fn await_handoff(&self, pending: &PendingHandoff) -> Result<Receipt, HandoffError> {
        let PendingHandoff { session, to, record, .. } = *pending;
        let told = self.call(move |driver| driver.waits.granted(session, to, record));
        let told = told.await.map_err(|_| HandoffError::Stopped)?;
        match timeout(self.inner.timeout, told).await {
            Ok(told) => told.unwrap_or(Err(HandoffError::Stopped)),
            Err(_) => Err(HandoffError::Pending { session, device: to }),
        }
    }

    /// Gives up the handoff of a session that is under way. A call that asked for the session, and whose WANT is out, ends
    /// with [`HandoffError::Pending`] then: the owner may have granted it before it hears that nobody wants it any more.
    /// [`Event::HandoffResolved`] tells what became of it.
    ///
    /// # Errors
    /// None is, or its GRANT is on its way and can't be taken back.
    pub async fn cancel_handoff(&self, session: SessionId) -> Result<(), Error> {
        let paused = self.inner.tries.cancel(&session);
        let cancelled = self.command("cancel the handoff", move |driver| {
            let now = driver.now();
            driver.core.cancel_handoff(now, session)
        });
        cancelled.await.or_else(|error| if paused { Ok(()) } else { Err(error) })
    }

    /// Consents in advance, for `ttl`, to be handed the session by `owner`: its next handoff to this device asks nobody
    /// and takes one delay. From generation 2.
    ///
    /// # Errors
    /// The session isn't known here, or is this device's own.
    pub async fn consent(&self, session: SessionId, owner: DeviceId, ttl: Duration) -> Result<(), Error> {
        self.look_again(session).await;
        self.command("consent to the handoff", move |driver| {
            let now = driver.now();
            driver.core.consent(now, session, owner, micros(ttl))
        })
        .await
    }

    /// Stands by for a session that another device owns and this one doesn't take part in: fetches ahead what the owner
    /// has, at most `limit` bytes in all, while this device is likely to be the next owner. Nothing else comes of it; a
    /// handoff to this device then moves little. [`Event::StoodBy`] tells of it. 0 ends it, and so does a restart. From
    /// generation 2.
    ///
    /// # Errors
    /// The session isn't known here.
    pub async fn stand_by(&self, session: SessionId, limit: u64) -> Result<(), Error> {
        self.command("stand by for the session", move |driver| {
            let now = driver.now();
            driver.core.stand_by(now, session, limit)
        })
        .await
    }

    /// Makes this device the owner without the owner's help, and waits until that is durable. What the old owner still
    /// writes becomes a labelled copy.
    ///
    /// # Errors
    /// This device isn't a member, its store isn't proven, or the session is closed.
    pub async fn takeover(&self, session: SessionId) -> Result<(), Error> {
        let told = self.command("take the session over", move |driver| {
            let now = driver.now();
            driver.core.takeover(now, session)?;
            Ok(driver.waits.change(Change::Activated, session))
        });
        told.await?.await.unwrap_or(Err(Error::Stopped))
    }

    /// Closes a session for good, and waits until that is durable.
    ///
    /// # Errors
    /// This device isn't its owner.
    pub async fn close(&self, session: SessionId) -> Result<(), Error> {
        let told = self.command("close the session", move |driver| {
            let now = driver.now();
            driver.core.close(now, session)?;
            Ok(driver.waits.change(Change::Closed, session))
        });
        told.await?.await.unwrap_or(Err(Error::Stopped))
    }

    /// Creates a session that this device owns, and waits until it is durable.
    ///
    /// # Errors
    /// The name has more than 64 characters or control characters, or there are more than 64 members.
    pub async fn create_session(&self, name: &str, members: &[DeviceId]) -> Result<SessionId, Error> {
        let (name, members) = (name.to_owned(), members.to_vec());
        let created = self.command("create the session", move |driver| {
            let now = driver.now();
            let session = driver.core.create_session(now, &name, &members)?;
            Ok((session, driver.waits.change(Change::Created, session)))
        });
        let (session, told) = created.await?;
        told.await.unwrap_or(Err(Error::Stopped))?;
        Ok(session)
    }

    /// Keeps a link to `device` at `addr` from now on: when it ends it is dialled again, with growing pauses, until
    /// [`Node::forget`]. Returns at once; [`Node::linked`] waits, [`Event::Unlinked`] tells why it doesn't come.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn connect(&self, addr: SocketAddr, device: DeviceId) -> Result<(), Error> {
        self.call(move |driver| driver.keep(device, vec![addr])).await
    }

    /// Waits until a device is linked, whoever dialled.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn linked(&self, device: DeviceId) -> Result<(), Error> {
        let told = self.call(move |driver| (!driver.is_linked(&device)).then(|| driver.waits.linked(device))).await?;
        match told {
            Some(told) => told.await.map_err(|_| Error::Stopped),
            None => Ok(()),
        }
    }

    /// No longer keeps a link to a device, and ends those that there are.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn forget(&self, device: DeviceId) -> Result<(), Error> {
        self.call(move |driver| {
            driver.keepers.forget(&device);
            driver.unlink(&device);
        })
        .await
    }

    /// Vouches for a device: it may link, and learn of every session. Not remembered: say it at every start.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn trust(&self, device: DeviceId) -> Result<(), Error> {
        self.call(move |driver| driver.core.trust(device)).await
    }

    /// Vouches for a device no longer, and ends its links.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn distrust(&self, device: DeviceId) -> Result<(), Error> {
        self.call(move |driver| {
            driver.core.distrust(device);
            driver.unlink(&device);
        })
        .await
    }

    /// Every session that this device knows.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn sessions(&self) -> Result<Vec<SessionView>, Error> {
        self.call(|driver| driver.core.sessions().iter().filter_map(|id| driver.core.session(id)).collect()).await
    }

    /// What this device knows of a session, if anything.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn session(&self, session: SessionId) -> Result<Option<SessionView>, Error> {
        self.call(move |driver| driver.core.session(&session)).await
    }

    /// The requests that wait for the application, also those whose events it missed.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn requests(&self) -> Result<Vec<Request>, Error> {
        self.call(|driver| driver.requests.values().cloned().collect()).await
    }

    /// The devices that are linked now.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn peers(&self) -> Result<Vec<DeviceId>, Error> {
        self.call(|driver| driver.peers()).await
    }

    /// The next event, or none once the node has stopped. Each event goes to one reader. See [`Event`] for what happens
    /// if nobody reads.
    pub async fn next_event(&self) -> Option<Event> {
        self.inner.events.next().await
    }

    /// What the node has done so far.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn stats(&self) -> Result<Stats, Error> {
        self.call(|driver| driver.stats()).await
    }

    /// Ends the node in good order: peers are told, what was written is durable, and the state directory may be opened
    /// again.
    pub async fn shutdown(&self) {
        self.stop(Stop::Shutdown).await;
    }

    /// Ends the node at once, as a crash would, and waits until its state directory may be opened again.
    pub async fn abort(&self) {
        self.stop(Stop::Abort).await;
    }

    async fn stop(&self, how: Stop) {
        let stop = self.inner.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = stop {
            // A driver that ended by itself takes no more orders.
            let _ = stop.send(how);
        }
        let _ = self.inner.done.clone().wait_for(|done| *done).await;
    }

    /// Runs `call` on the driver.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (tell, told) = oneshot::channel();
        let call = Box::new(move |driver: &mut Driver| drop(tell.send(call(driver))));
        self.inner.inbox.send(Input::Call(call)).await.map_err(|_| Error::Stopped)?;
        told.await.map_err(|_| Error::Stopped)
    }

    /// Runs a command of the core.
    pub(crate) async fn command<T: Send + 'static>(
        &self,
        what: &'static str,
        command: impl FnOnce(&mut Driver) -> Result<T, UsageError> + Send + 'static,
    ) -> Result<T, Error> {
        self.call(command).await?.map_err(Error::usage(what))
    }

    /// The node's blobs.
    pub(crate) fn storage(&self) -> Result<Storage, Error> {
        self.inner.storage.upgrade().ok_or(Error::Stopped)
    }

    /// Files that lie in a user's directory may have changed: what isn't there as it was isn't said to be held.
    async fn look_again(&self, session: SessionId) {
        let blobs = self.call(move |driver| driver.core.held_blobs(&session));
        if let Ok(blobs) = blobs.await {
            self.look_at(session, blobs).await;
        }
    }

    /// Looks whether content that a session names lies, in files outside the store, as it did: by hashes and lengths. What
    /// doesn't is no longer said to be held, and is fetched from devices that have it.
    pub async fn look_at(&self, session: SessionId, blobs: Vec<(Hash, u64)>) {
        let Ok(storage) = self.storage() else { return };
        let blobs = storage.unsure(blobs);
        if blobs.is_empty() {
            // The usual case, and a thread's wake-up would be most of what a small handoff takes.
            return;
        }
        let lost = tokio::task::spawn_blocking(move || storage.lost(&blobs)).await.unwrap_or_default();
        if !lost.is_empty() {
            let told = self.call(move |driver| {
                let now = driver.now();
                lost.iter().for_each(|blob| driver.core.handle_lost(now, session, *blob));
            });
            // A node that has stopped says so to the call that follows.
            let _ = told.await;
        }
    }

    /// A session that was to be given isn't by the deadline.
    async fn overdue(&self, session: SessionId, peer: DeviceId) -> HandoffError {
        let told = self.call(move |driver| {
            let pending = driver.core.session(&session).is_some_and(|view| view.pending.is_some());
            let link = if driver.is_linked(&peer) { LinkWas::There } else { LinkWas::Lost };
            let code = if pending { Code::HO_PENDING } else { Code::HO_TIMEOUT };
            HandoffError::end(code, session, peer, None, link)
        });
        told.await.unwrap_or(HandoffError::Stopped)
    }

    /// For how long this isn't to be asked for again, if whoever refused it said so.
    pub(crate) async fn retry_after(&self, asked: Asked) -> Option<Duration> {
        self.call(move |driver| driver.retry_after(asked)).await.ok().flatten()
    }

    pub(crate) fn events(&self) -> Arc<Queue> {
        self.inner.events.clone()
    }

    /// How long a handoff may take.
    pub(crate) fn handoff_timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// Events that `wanted` takes, from now on, beside those that [`Node::next_event`] gives. Beyond `room` events that
    /// nobody read, later ones are dropped.
    pub(crate) fn tap(&self, room: usize, wanted: impl Fn(&Event) -> bool + Send + 'static) -> mpsc::Receiver<Event> {
        self.inner.events.tap(room, wanted)
    }

    /// A handle that doesn't keep the node.
    pub(crate) fn downgrade(&self) -> WeakNode {
        WeakNode(Arc::downgrade(&self.inner))
    }
}

/// Who asks a service that introduces the two devices of a handoff.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meet {
    /// This one, which began to hand over: it has the other one woken, too.
    Wake,
    /// This one, which asked for the session.
    Ask,
    /// The other one.
    Wait,
}

/// A handle that doesn't keep its node.
pub(crate) struct WeakNode(Weak<Handle>);

impl WeakNode {
    /// The node, while somebody keeps it.
    pub(crate) fn upgrade(&self) -> Option<Node> {
        self.0.upgrade().map(|inner| Node { inner })
    }
}

impl Driver {
    /// Asks a device for a session.
    fn request(&mut self, session: SessionId, from: DeviceId, limit: u64) -> Result<HandoffId, HandoffError> {
        self.may_meet(session, from)?;
        let now = self.now();
        let asked = self.core.request_handoff(now, session, from, limit);
        asked.map_err(|error| self.usage(error, session, from))
    }

    /// Accepts an offer.
    fn accept_offer(&mut self, token: Token) -> Result<HandoffId, HandoffError> {
        match self.accept(token)? {
            (_, Accepted::Offer(id)) => Ok(id),
            (_, Accepted::Pull) => Err(HandoffError::UnknownRequest { token }),
        }
    }

    /// Gives a session to the device that asks for it.
    fn accept_pull(&mut self, token: Token) -> Result<oneshot::Receiver<Resolved>, HandoffError> {
        let (request, _) = self.accept(token)?;
        Ok(self.waits.give(request.session, request.peer))
    }

    fn accept(&mut self, token: Token) -> Result<(Request, Accepted), HandoffError> {
        // The core names each request in an event before it takes an answer to it.
        let request = self.requests.get(&token).cloned().ok_or(HandoffError::UnknownRequest { token })?;
        let now = self.now();
        let accepted = self.core.accept_handoff(now, token).map_err(|error| self.answered(error, &request))?;
        self.requests.remove(&token);
        Ok((request, accepted))
    }

    /// An answer to a request was refused by the core.
    fn answered(&self, error: UsageError, request: &Request) -> HandoffError {
        match error {
            UsageError::UnknownToken => HandoffError::UnknownRequest { token: request.token },
            error => self.usage(error, request.session, request.peer),
        }
    }

    /// The core refused to begin a handoff.
    pub(crate) fn usage(&self, error: UsageError, session: SessionId, device: DeviceId) -> HandoffError {
        let pending = self.core.session(&session).and_then(|view| view.pending);
        HandoffError::usage(error, session, device, pending)
    }

    /// Whether this device's session may go to a device: one that is known, and that a link may come to. What the core
    /// refuses anyway is left to it.
    pub(crate) fn may_initiate(&self, session: SessionId, to: DeviceId) -> Result<(), HandoffError> {
        let role = self.core.role(&session).ok_or(HandoffError::UnknownSession { session })?;
        if role != SessionRole::Primary || to == self.core.device() {
            return Ok(());
        }
        let shared = self.core.is_shared_with(&session, &to) || self.keepers.keeps(&to);
        if !shared && self.is_linked(&to) {
            return Err(HandoffError::NotMember { session, device: to });
        }
        self.may_meet(session, to)
    }

    /// Whether there is a link with a device, or may be one.
    pub(crate) fn may_meet(&self, session: SessionId, device: DeviceId) -> Result<(), HandoffError> {
        if self.is_linked(&device) || self.keepers.keeps(&device) || device == self.core.device() {
            return Ok(());
        }
        // A service that signs for the owner passes on what concerns the handoff.
        let grantor = self.core.session(&session).and_then(|view| view.grantor);
        if grantor.is_some_and(|grantor| self.is_linked(&grantor) || self.keepers.keeps(&grantor)) {
            return Ok(());
        }
        if !self.core.is_shared_with(&session, &device) {
            return Err(HandoffError::UnknownDevice { session, device });
        }
        if self.listens { Ok(()) } else { Err(HandoffError::Offline { session, device }) }
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
