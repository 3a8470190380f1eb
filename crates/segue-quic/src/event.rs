//! What a node tells its application.
//!
//! Events are hints, the queries of [`crate::Node`] are the truth. An application that reads slowly costs a bounded
//! queue: progress of one session replaces the progress before it, and beyond [`EVENT_QUEUE`] events the oldest is
//! dropped and [`Event::Lagged`] stands in its place. Requests that were dropped so are still listed by
//! [`crate::Node::requests`].

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use segue_proto::wire::{DeviceId, Hash, PartId, SessionId};
use segue_proto::{Clause, Code, Generation, HandoffId, Token};
use tokio::sync::{Notify, mpsc};

/// Events that wait for the application. From: guess; a thousand of them are some 200 KB.
pub const EVENT_QUEUE: usize = 1_024;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A device is linked.
    Linked {
        /// The device.
        peer: DeviceId,
        /// What the pair speaks.
        generation: Generation,
        /// Whether the link goes by way of a service, as neither of the two can dial the other. A direct one takes its place.
        relayed: bool,
    },
    /// A link ended, or an attempt at one.
    Unlinked {
        /// The device: the one that was proven, or else the one that was dialled.
        peer: Option<DeviceId>,
        /// Why.
        code: Code,
        /// The clause that the peer broke, if that was why.
        clause: Option<Clause>,
        /// Whether the other side ended it.
        remote: bool,
    },
    /// Another device offers a session: [`crate::Node::accept_handoff`] or [`crate::Node::reject_handoff`].
    HandoffRequest {
        /// Names the request.
        token: Token,
        /// The session.
        session: SessionId,
        /// The device that offers.
        from: DeviceId,
        /// The session's name.
        name: String,
    },
    /// Another device asks for a session: [`crate::Node::accept_handoff`] or [`crate::Node::reject_handoff`].
    RequestHandoff {
        /// Names the request.
        token: Token,
        /// The session.
        session: SessionId,
        /// The device that asks.
        by: DeviceId,
    },
    /// A request is void: one that waits for the application, or one that was accepted and whose acceptance was refused
    /// with a code that time mends, so that it isn't to be tried again.
    Withdrawn {
        /// Names the request.
        token: Token,
        /// The session.
        session: SessionId,
        /// Why.
        code: Code,
    },
    /// This device stands by for a session ([`crate::Node::stand_by`]): it holds what its owner announced; or it doesn't
    /// any more.
    StoodBy {
        /// The session.
        session: SessionId,
        /// The bytes that were asked for so far.
        bytes: u64,
        /// Whether it has ended, by the user or because its limit was reached.
        ended: bool,
    },
    /// A device that can't offer hints that its session may be requested: [`crate::Node::request_handoff`].
    Available {
        /// The session.
        session: SessionId,
        /// Its owner.
        from: DeviceId,
    },
    /// A device of the account, or one that the user vouches for, keeps a session that this device doesn't:
    /// [`crate::Node::follow`], [`crate::Node::request_handoff`].
    Told {
        /// The session.
        session: SessionId,
        /// The device.
        from: DeviceId,
        /// The session's name; empty if the device doesn't say.
        name: String,
    },
    /// Other devices changed a session's parts.
    Changed {
        /// The session.
        session: SessionId,
        /// The parts, ascending.
        parts: Vec<PartId>,
    },
    /// Ops or values that were taken in aren't part of the data any more: what the application made of these parts, it makes
    /// anew.
    Reread {
        /// The session.
        session: SessionId,
        /// The parts, ascending.
        parts: Vec<PartId>,
    },
    /// Ops of a session were let go that all members hold in a snapshot.
    Compacted {
        /// The session.
        session: SessionId,
    },
    /// Something that a revoked device wrote past its cut is set aside: kept, and no part of the data.
    /// [`crate::Node::set_aside`] lists it.
    SetAside {
        /// The session.
        session: SessionId,
        /// The parts that it is of, ascending.
        parts: Vec<PartId>,
    },
    /// All that a device had of a session when it linked is held here, durably.
    Synced {
        /// The session.
        session: SessionId,
        /// The device.
        peer: DeviceId,
    },
    /// All that this device has is in a mailbox that it uses, and all that was there is here, durably.
    Exchanged {
        /// The mailbox.
        mailbox: DeviceId,
    },
    /// How a login at a service ended ([`crate::Node::use_token`]), or that the service lets this device in no longer.
    Login {
        /// The service.
        service: DeviceId,
        /// Under which account this device is, or why it isn't let in: `SVC_LOGIN`, `SVC_TOKEN`, `LIMIT_QUOTA`,
        /// `SERVICE_NONE`; `LINK_LOST`, after which it logs in again.
        result: Result<crate::Login, Code>,
    },
    /// Data arrives, over a link, or from a mailbox that this device uses.
    Progress {
        /// The session.
        session: SessionId,
        /// Bytes held and verified. From a mailbox: of what was lacking when it was linked.
        done: u64,
        /// Bytes in all; 0 until known. From a mailbox: what was lacking, but for what it doesn't have. It grows with what
        /// the session comes to name.
        total: u64,
    },
    /// Content of a session goes into a mailbox that this device uses: how far that is. What the mailbox held before counts;
    /// what doesn't go there counts for nothing: content that is left behind, that is too long
    /// ([`crate::Node::not_mailed`]), for which there is no room, or that all have who might need it. So `total` may fall.
    Mailed {
        /// The session.
        session: SessionId,
        /// The mailbox.
        mailbox: DeviceId,
        /// Bytes that the mailbox said to keep.
        done: u64,
        /// Bytes that are to be there in all.
        total: u64,
    },
    /// A mailbox that this device uses has no room for what it puts. Told once while a link lasts. Content stays out of it
    /// until there is a new link ([`crate::Node::not_mailed`]), and all else is tried again after a minute at most.
    Full {
        /// The mailbox.
        mailbox: DeviceId,
    },
    /// All data that was announced is held.
    Data {
        /// The session.
        session: SessionId,
        /// Its root.
        root: Hash,
    },
    /// This device is the session's primary.
    Activated {
        /// The session.
        session: SessionId,
        /// The record that says so.
        record: Hash,
    },
    /// A handoff that was started, asked for or accepted here was refused because the other side, or the service in between, has had
    /// too much for now: it is tried again after a while. Nothing is resolved yet.
    HandoffDeferred {
        /// The session.
        session: SessionId,
        /// The other device.
        peer: DeviceId,
        /// Why: `LIMIT_OFFERS` or `LIMIT_REQUESTS`.
        code: Code,
        /// After which time.
        wait: Duration,
    },
    /// A handoff ended: with the record's id, or with an error after which nothing changes any more. Each is told once,
    /// however often it was tried: a call that began one ([`crate::Node::initiate_handoff`],
    /// [`crate::Node::request_handoff`], [`crate::Node::accept_handoff`]) ends with the same result. A call that couldn't begin one has nothing to tell.
    HandoffResolved {
        /// The handoff: its last try.
        id: HandoffId,
        /// The session.
        session: SessionId,
        /// The other device.
        peer: DeviceId,
        /// The record, or why not.
        result: Result<Hash, Code>,
        /// What the other side's user said, if they declined with a reason.
        reason: Option<String>,
    },
    /// The deadline of a handoff passed while its GRANT isn't acknowledged: it is sent on until it is.
    HandoffPending {
        /// The handoff.
        id: HandoffId,
        /// The session.
        session: SessionId,
        /// The other device.
        peer: DeviceId,
    },
    /// Exclusive parts may be written again, or another device owns by now: writes waited so long for a handoff's target.
    WritesResumed {
        /// The session.
        session: SessionId,
        /// How long the first of them waited.
        waited: Duration,
    },
    /// The session has another head.
    HeadChanged {
        /// The session.
        session: SessionId,
        /// The head's id.
        head: Hash,
        /// The primary; none if closed.
        owner: Option<DeviceId>,
    },
    /// A higher record ended this device's ownership; what it had written since is kept as labelled copies.
    Fenced {
        /// The session.
        session: SessionId,
        /// The head's id.
        head: Hash,
        /// The primary; none if closed.
        owner: Option<DeviceId>,
        /// The labelled copies made.
        copies: usize,
    },
    /// A key signed two records with one parent in one term.
    Equivocation {
        /// The session.
        session: SessionId,
        /// The key.
        key: DeviceId,
        /// The two records.
        records: [Hash; 2],
    },
    /// A peer refused something, or sent something that was refused.
    Refused {
        /// The peer.
        peer: DeviceId,
        /// The session concerned.
        session: Option<SessionId>,
        /// Why.
        code: Code,
        /// The clause that the peer broke, if this device refused.
        clause: Option<Clause>,
    },
    /// The session is closed.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// Two devices are being linked: both show this code, and their users say whether it is the same on both, by
    /// [`crate::Node::confirm_link`] or [`crate::Node::decline_link`].
    LinkCode {
        /// The other device.
        peer: DeviceId,
        /// Its name.
        name: String,
        /// Six decimal digits.
        code: u32,
    },
    /// Linking ended: with the account, or with why not.
    LinkResolved {
        /// The other device.
        peer: DeviceId,
        /// The account's id, or the error. `LINK_LOST` may mean that the device was linked all the same.
        result: Result<Hash, Code>,
    },
    /// A device was linked to the account.
    DeviceLinked {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
        /// Who linked it.
        by: DeviceId,
    },
    /// A device of the account was revoked.
    DeviceRevoked {
        /// The device.
        device: DeviceId,
        /// Who revoked it.
        by: DeviceId,
    },
    /// The owner of a session is revoked. The device that revoked it takes the session over if it may; else
    /// [`crate::Node::takeover`] does.
    OwnerRevoked {
        /// The session.
        session: SessionId,
        /// The device that is revoked.
        owner: DeviceId,
    },
    /// A wish for another grantor of a session ended: with the grantor, or with why not.
    Delegated {
        /// The session.
        session: SessionId,
        /// Who signs its next record from now on, or the error.
        result: Result<DeviceId, Code>,
    },
    /// The store failed, and the node stops: nothing further leaves it, and its calls fail.
    Halted {
        /// What failed, and what to do.
        text: String,
    },
    /// The application didn't read, and so many events were dropped before the next one.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// The bounded queue between the driver and the application.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    missed: u64,
    closed: bool,
    taps: Vec<Tap>,
}

/// Somebody who is told of some events too.
struct Tap {
    wanted: Box<dyn Fn(&Event) -> bool + Send>,
    tell: mpsc::Sender<Event>,
}

impl Queue {
    /// Adds an event; never waits.
    pub(crate) fn push(&self, event: Event) {
        {
            let mut state = self.lock();
            state.taps.retain(|tap| !tap.tell.is_closed());
            for tap in state.taps.iter().filter(|tap| (tap.wanted)(&event)) {
                // One that is full has enough to read.
                let _ = tap.tell.try_send(event.clone());
            }
            if let Some(place) = state.events.iter_mut().rev().find(|old| replaces(&event, old)) {
                *place = event;
                return;
            }
            if state.events.len() == EVENT_QUEUE {
                state.events.pop_front();
                state.missed += 1;
            }
            state.events.push_back(event);
        }
        self.changed.notify_one();
    }

    /// Ends the queue: what is in it can still be read.
    pub(crate) fn close(&self) {
        {
            let mut state = self.lock();
            state.closed = true;
            state.taps.clear();
        }
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Events that `wanted` takes, from now on, beside the queue; at most `room` that nobody has read.
    pub(crate) fn tap(&self, room: usize, wanted: impl Fn(&Event) -> bool + Send + 'static) -> mpsc::Receiver<Event> {
        let (tell, told) = mpsc::channel(room);
        let mut state = self.lock();
        if !state.closed {
            state.taps.push(Tap { wanted: Box::new(wanted), tell });
        }
        told
    }

    /// The next event; none once the node has stopped and all were read.
    pub(crate) async fn next(&self) -> Option<Event> {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = self.take() {
                return found;
            }
            changed.await;
        }
    }

    fn take(&self) -> Option<Option<Event>> {
        let mut state = self.lock();
        if state.missed > 0 {
            let missed = std::mem::take(&mut state.missed);
            return Some(Some(Event::Lagged { missed }));
        }
        let event = state.events.pop_front();
        if event.is_some() && (!state.events.is_empty() || state.closed) {
            // Another reader may wait for the rest.
            self.changed.notify_one();
        }
        if event.is_none() && !state.closed { None } else { Some(event) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A reader that panicked left the queue as it was.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether `new` says all that `old` said: only progress does, of the same session, and to the same mailbox. The newest
/// events are looked at first, so a burst of progress stays cheap.
fn replaces(new: &Event, old: &Event) -> bool {
    match (new, old) {
        (Event::Progress { session, .. }, Event::Progress { session: before, .. }) => session == before,
        (Event::Mailed { session, mailbox, .. }, Event::Mailed { session: before, mailbox: other, .. }) => {
            (session, mailbox) == (before, other)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(session: u8, done: u64) -> Event {
        Event::Progress { session: SessionId::new([session; 16]), done, total: 9 }
    }

    fn closed(session: u16) -> Event {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&session.to_be_bytes());
        Event::Closed { session: SessionId::new(id) }
    }

    #[tokio::test]
    async fn an_application_that_does_not_read_loses_the_oldest_events_and_is_told() {
        let queue = Queue::default();
        for session in 0..EVENT_QUEUE as u16 + 3 {
            queue.push(closed(session));
        }
        assert_eq!(queue.next().await, Some(Event::Lagged { missed: 3 }));
        assert_eq!(queue.next().await, Some(closed(3)));
    }

    #[tokio::test]
    async fn what_a_mailbox_confirmed_replaces_what_it_confirmed_before_of_that_session() {
        let (queue, session) = (Queue::default(), SessionId::new([1; 16]));
        let mailed =
            |mailbox: u8, done| Event::Mailed { session, mailbox: DeviceId::new([mailbox; 32]), done, total: 9 };
        [mailed(1, 1), mailed(2, 1), progress(1, 3), mailed(1, 2)].into_iter().for_each(|event| queue.push(event));
        queue.close();
        for event in [mailed(1, 2), mailed(2, 1), progress(1, 3)] {
            assert_eq!(queue.next().await, Some(event));
        }
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn progress_replaces_progress_of_its_session_only() {
        let queue = Queue::default();
        for done in 0..10_000 {
            queue.push(progress((done % 2) as u8, done));
        }
        queue.close();
        assert_eq!(queue.next().await, Some(progress(0, 9_998)));
        assert_eq!(queue.next().await, Some(progress(1, 9_999)));
        assert_eq!(queue.next().await, None);
    }
}
