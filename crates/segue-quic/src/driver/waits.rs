//! Callers that wait for something to come true.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use segue_proto::wire::{DeviceId, Hash, Presence, SessionId};
use segue_proto::{Code, HandoffId, Lsn, UsageError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::account::Linked;
use crate::error::Error;
use crate::handoff_error::{HandoffError, LinkWas};
use crate::login::Login;
use crate::node::Receipt;
use crate::untold::Untold;

/// The answer to a handoff.
pub(crate) type Resolved = Result<Receipt, HandoffError>;

/// What a service tells of devices.
type Found = Result<Vec<Presence>, Code>;

/// What a service said to having a device woken.
type Woken = Result<(), Code>;

/// Who signs a session's next record from now on.
type Regranted = Result<DeviceId, Code>;

type Tell = oneshot::Sender<Result<(), Error>>;

/// What a caller waits for in a session that is being changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was created.
    Created,
    /// This device is its primary.
    Activated,
    /// It is closed.
    Closed,
}

/// Who waits. A caller that went away costs nothing: its answer is dropped.
#[derive(Default)]
pub(crate) struct Waits {
    handoffs: BTreeMap<HandoffId, Handoff>,
    /// Whoever may try a handoff of a session again, from the end of a try to the next.
    between: BTreeMap<SessionId, Weak<Untold>>,
    durable: VecDeque<(Lsn, Tell)>,
    /// The last batch that somebody waited for.
    last_write: Lsn,
    /// All batches up to this one are durable.
    reached: Lsn,
    changes: Vec<(Change, SessionId, Tell)>,
    linked: Vec<(DeviceId, oneshot::Sender<()>)>,
    exchanges: Vec<(DeviceId, Tell)>,
    logins: Vec<(DeviceId, oneshot::Sender<Result<Login, Code>>)>,
    /// Why services refused the last token.
    refused: BTreeMap<DeviceId, Code>,
    paused: Vec<(SessionId, oneshot::Sender<()>)>,
    /// Sessions that are being given to a device that asked for them.
    given: Vec<Given>,
    /// GRANTs whose acknowledgement is waited for.
    granted: Vec<Granted>,
    accounts: Vec<oneshot::Sender<Hash>>,
    links: Vec<(DeviceId, oneshot::Sender<Linked>)>,
    revokes: Vec<(DeviceId, oneshot::Sender<()>)>,
    follows: Vec<(SessionId, DeviceId, Tell)>,
    finds: Vec<(DeviceId, u32, oneshot::Sender<Found>)>,
    /// Which service is to have which device woken.
    wakes: Vec<(DeviceId, DeviceId, oneshot::Sender<Woken>)>,
    delegations: Vec<(SessionId, oneshot::Sender<Regranted>, Weak<Untold>)>,
    /// What this device has caught up with since the devices were linked.
    synced: BTreeSet<(SessionId, DeviceId)>,
}

/// A handoff that runs.
struct Handoff {
    peer: DeviceId,
    since: Instant,
    /// Whether the devices were linked since.
    met: bool,
    tell: oneshot::Sender<Resolved>,
    /// Whoever may try again, and tells the application itself if it doesn't.
    untold: Weak<Untold>,
}

/// How a handoff ended.
pub(crate) struct End {
    pub(crate) result: Result<Hash, Code>,
    /// What the other side's user said.
    pub(crate) reason: Option<String>,
    /// When it may be tried again, if the other side said so.
    pub(crate) retry_after: Option<Duration>,
}

/// A GRANT that waits for its acknowledgement.
struct Granted {
    session: SessionId,
    peer: DeviceId,
    record: Hash,
    since: Instant,
    tell: oneshot::Sender<Resolved>,
}

struct Given {
    session: SessionId,
    peer: DeviceId,
    since: Instant,
    tell: oneshot::Sender<Resolved>,
}

impl Waits {
    /// Waits for the end of a handoff with a device that has a link, or hasn't, for a caller that may try again.
    pub(crate) fn handoff(
        &mut self,
        id: HandoffId,
        (session, peer): (SessionId, DeviceId),
        linked: bool,
        untold: Weak<Untold>,
    ) -> oneshot::Receiver<Resolved> {
        self.between.remove(&session);
        let (tell, told) = oneshot::channel();
        self.handoffs.insert(id, Handoff { peer, since: Instant::now(), met: linked, tell, untold });
        told
    }

    /// Whoever is to tell the application how a handoff ended, if not the driver at once.
    pub(crate) fn teller(
        &mut self,
        id: &HandoffId,
        session: SessionId,
        result: &Result<Hash, Code>,
    ) -> Option<Arc<Untold>> {
        let mended = result.is_err_and(Code::is_mended_by_time);
        let handoff = self.handoffs.get(id).filter(|_| mended)?;
        self.between.insert(session, handoff.untold.clone());
        handoff.untold.upgrade()
    }

    /// The sessions of which no other try follows, as whoever was to make it is gone.
    pub(crate) fn dropped_tries(&mut self) -> Vec<SessionId> {
        self.between.extract_if(.., |_, untold| untold.strong_count() == 0).map(|(session, _)| session).collect()
    }

    /// Waits until a GRANT is acknowledged.
    pub(crate) fn granted(&mut self, session: SessionId, peer: DeviceId, record: Hash) -> oneshot::Receiver<Resolved> {
        let (tell, told) = oneshot::channel();
        self.granted.retain(|granted| !granted.tell.is_closed());
        self.granted.push(Granted { session, peer, record, since: Instant::now(), tell });
        told
    }

    /// Ends those of the GRANTs that are waited for of which `fate` knows what became: acknowledged, or not.
    pub(crate) fn settle_granted(&mut self, fate: impl Fn(&SessionId, &Hash) -> Option<Result<Hash, Code>>) {
        let over = |granted: &mut Granted| fate(&granted.session, &granted.record).is_some();
        for Granted { session, peer, record, since, tell } in self.granted.extract_if(.., over) {
            let result = fate(&session, &record).unwrap_or(Err(Code::HO_FENCED));
            let _ = tell.send(answer(session, peer, since, result));
        }
    }

    /// Waits until a device has the session that it asked for.
    pub(crate) fn give(&mut self, session: SessionId, peer: DeviceId) -> oneshot::Receiver<Resolved> {
        let (tell, told) = oneshot::channel();
        self.given.push(Given { session, peer, since: Instant::now(), tell });
        told
    }

    /// Which sessions somebody waits for to be given, and to whom.
    pub(crate) fn given(&mut self) -> Vec<(SessionId, DeviceId)> {
        self.given.retain(|given| !given.tell.is_closed());
        self.given.iter().map(|given| (given.session, given.peer)).collect()
    }

    /// It was given, or went another way.
    pub(crate) fn gave(&mut self, session: SessionId, peer: DeviceId, result: Result<Hash, Code>) {
        let (over, rest) = std::mem::take(&mut self.given)
            .into_iter()
            .partition::<Vec<_>, _>(|given| given.session == session && given.peer == peer);
        self.given = rest;
        for given in over {
            let _ = given.tell.send(answer(session, peer, given.since, result));
        }
    }

    /// Waits until the account exists.
    pub(crate) fn account(&mut self) -> oneshot::Receiver<Hash> {
        let (tell, told) = oneshot::channel();
        self.accounts.push(tell);
        told
    }

    /// The account exists.
    pub(crate) fn founded(&mut self, account: Hash) {
        for tell in self.accounts.drain(..) {
            let _ = tell.send(account);
        }
    }

    /// Waits for the end of a linking.
    pub(crate) fn link(&mut self, device: DeviceId) -> oneshot::Receiver<Linked> {
        let (tell, told) = oneshot::channel();
        self.links.push((device, tell));
        told
    }

    /// A linking ended.
    pub(crate) fn link_over(&mut self, device: DeviceId, result: Linked) {
        for (_, tell) in self.links.extract_if(.., |(of, _)| *of == device) {
            let _ = tell.send(result);
        }
    }

    /// Waits until a device is revoked.
    pub(crate) fn revoke(&mut self, device: DeviceId) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.revokes.push((device, tell));
        told
    }

    /// A device is revoked.
    pub(crate) fn revoked(&mut self, device: DeviceId) {
        for (_, tell) in self.revokes.extract_if(.., |(of, _)| *of == device) {
            let _ = tell.send(());
        }
    }

    /// Waits until a session has another grantor, for a caller that may try again.
    pub(crate) fn delegate(&mut self, session: SessionId, untold: Weak<Untold>) -> oneshot::Receiver<Regranted> {
        let (tell, told) = oneshot::channel();
        self.delegations.push((session, tell, untold));
        told
    }

    /// A wish for another grantor ended; whoever is to tell the application, if not the driver at once.
    pub(crate) fn delegated(&mut self, session: SessionId, result: Regranted) -> Option<Arc<Untold>> {
        let mut teller = None;
        for (_, tell, untold) in self.delegations.extract_if(.., |(of, ..)| *of == session) {
            teller = untold.upgrade().filter(|_| result.is_err_and(Code::is_mended_by_time));
            let _ = tell.send(result);
        }
        teller
    }

    /// Waits for a service's answer.
    pub(crate) fn find(&mut self, service: DeviceId, req: u32) -> oneshot::Receiver<Found> {
        let (tell, told) = oneshot::channel();
        self.finds.retain(|(.., tell)| !tell.is_closed());
        self.finds.push((service, req, tell));
        told
    }

    /// A service answered, or will not.
    pub(crate) fn found(&mut self, service: DeviceId, req: u32, found: Found) {
        for (.., tell) in self.finds.extract_if(.., |(of, asked, _)| (*of, *asked) == (service, req)) {
            let _ = tell.send(found.clone());
        }
    }

    /// Waits for what a service says to having a device woken.
    pub(crate) fn wake(&mut self, service: DeviceId, device: DeviceId) -> oneshot::Receiver<Woken> {
        let (tell, told) = oneshot::channel();
        self.wakes.retain(|(.., tell)| !tell.is_closed());
        self.wakes.push((service, device, tell));
        told
    }

    /// A service said it.
    pub(crate) fn woken(&mut self, service: DeviceId, device: DeviceId, code: Option<Code>) {
        for (.., tell) in self.wakes.extract_if(.., |(of, whom, _)| (*of, *whom) == (service, device)) {
            let _ = tell.send(code.map_or(Ok(()), Err));
        }
    }

    /// Waits until this device has caught up with another in a session.
    pub(crate) fn follow(&mut self, session: SessionId, from: DeviceId) -> oneshot::Receiver<Result<(), Error>> {
        let (tell, told) = oneshot::channel();
        if self.synced.contains(&(session, from)) {
            let _ = tell.send(Ok(()));
        } else {
            self.follows.retain(|(.., tell)| !tell.is_closed());
            self.follows.push((session, from, tell));
        }
        told
    }

    /// This device has caught up with another in a session.
    pub(crate) fn caught_up(&mut self, session: SessionId, with: DeviceId) {
        self.synced.insert((session, with));
        for (.., tell) in self.follows.extract_if(.., |(of, from, _)| (*of, *from) == (session, with)) {
            let _ = tell.send(Ok(()));
        }
    }

    /// A device doesn't tell of a session.
    pub(crate) fn not_followed(&mut self, session: SessionId, device: DeviceId, code: Code) {
        for (.., tell) in self.follows.extract_if(.., |(of, from, _)| (*of, *from) == (session, device)) {
            let _ = tell.send(Err(Error::Follow { session, device, code }));
        }
    }

    /// A device has no link any more: what it has had since isn't known.
    pub(crate) fn unlinked(&mut self, device: DeviceId) {
        self.synced.retain(|(_, with)| *with != device);
    }

    /// Waits until a batch is durable.
    pub(crate) fn durable(&mut self, lsn: Lsn) -> oneshot::Receiver<Result<(), Error>> {
        let (tell, told) = oneshot::channel();
        self.last_write = self.last_write.max(lsn);
        if lsn <= self.reached {
            let _ = tell.send(Ok(()));
        } else {
            self.durable.push_back((lsn, tell));
        }
        told
    }

    /// The last batch that somebody waited for; zero before the first.
    pub(crate) fn last_write(&self) -> Lsn {
        self.last_write
    }

    /// Waits for a change of a session.
    pub(crate) fn change(&mut self, change: Change, session: SessionId) -> oneshot::Receiver<Result<(), Error>> {
        let (tell, told) = oneshot::channel();
        self.changes.push((change, session, tell));
        told
    }

    /// Waits until a device is linked.
    pub(crate) fn linked(&mut self, device: DeviceId) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.linked.retain(|(_, tell)| !tell.is_closed());
        self.linked.push((device, tell));
        told
    }

    /// Waits until all is exchanged with a mailbox.
    pub(crate) fn exchange(&mut self, mailbox: DeviceId) -> oneshot::Receiver<Result<(), Error>> {
        let (tell, told) = oneshot::channel();
        self.exchanges.retain(|(_, tell)| !tell.is_closed());
        self.exchanges.push((mailbox, tell));
        told
    }

    /// Waits until exclusive parts may be written again.
    pub(crate) fn resume(&mut self, session: SessionId) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.paused.retain(|(_, tell)| !tell.is_closed());
        self.paused.push((session, tell));
        told
    }

    /// Exclusive parts may be written again.
    pub(crate) fn resumed(&mut self, session: SessionId) {
        for (_, tell) in self.paused.extract_if(.., |(paused, _)| *paused == session) {
            let _ = tell.send(());
        }
    }

    /// The mailboxes of which somebody waits to be told that all is exchanged with them.
    pub(crate) fn exchanging(&self) -> Vec<DeviceId> {
        self.exchanges.iter().map(|(mailbox, _)| *mailbox).collect()
    }

    /// All is exchanged with a mailbox.
    pub(crate) fn exchanged(&mut self, mailbox: DeviceId) {
        for (_, tell) in self.exchanges.extract_if(.., |(wanted, _)| *wanted == mailbox) {
            let _ = tell.send(Ok(()));
        }
    }

    /// Waits for the answer to a login.
    pub(crate) fn login(&mut self, service: DeviceId) -> oneshot::Receiver<Result<Login, Code>> {
        let (tell, told) = oneshot::channel();
        self.logins.retain(|(_, tell)| !tell.is_closed());
        self.logins.push((service, tell));
        told
    }

    /// A login ended; whether somebody waited for it. Nothing is exchanged with a service that lets this device in no
    /// longer.
    pub(crate) fn logged_in(&mut self, service: DeviceId, result: &Result<Login, Code>) -> bool {
        match result {
            // It is said again as the next link begins.
            Err(Code::LINK_LOST) => return false,
            Err(Code::SVC_LOGIN) => {
                let code = self.locked_out(&service);
                for (_, tell) in self.exchanges.extract_if(.., |(wanted, _)| *wanted == service) {
                    let _ = tell.send(Err(Error::Login { service, code }));
                }
            }
            Err(code) => drop(self.refused.insert(service, *code)),
            Ok(_) => drop(self.refused.remove(&service)),
        }
        let mut awaited = false;
        for (_, tell) in self.logins.extract_if(.., |(of, _)| *of == service) {
            awaited |= tell.send(result.clone()).is_ok();
        }
        awaited
    }

    /// Why a service doesn't let this device in: what was wrong with its token, if it had one.
    pub(crate) fn locked_out(&self, service: &DeviceId) -> Code {
        self.refused.get(service).copied().unwrap_or(Code::SVC_LOGIN)
    }

    /// A handoff ended.
    pub(crate) fn resolved(&mut self, id: HandoffId, session: SessionId, end: End, linked: bool) {
        let Some(Handoff { peer, since, met, tell, .. }) = self.handoffs.remove(&id) else { return };
        let End { result, reason, retry_after } = end;
        let link = match (linked, met) {
            (true, _) => LinkWas::There,
            (false, true) => LinkWas::Lost,
            (false, false) => LinkWas::Never,
        };
        let receipt = |record| Receipt { session, peer, record, took: since.elapsed() };
        let failed = |code| HandoffError::end(code, session, peer, reason, link).with_retry_after(retry_after);
        let _ = tell.send(result.map(receipt).map_err(failed));
    }

    /// Batches are durable.
    pub(crate) fn reached(&mut self, upto: Lsn) {
        self.reached = upto;
        while self.durable.front().is_some_and(|(lsn, _)| *lsn <= upto) {
            if let Some((_, tell)) = self.durable.pop_front() {
                let _ = tell.send(Ok(()));
            }
        }
    }

    /// A session changed.
    pub(crate) fn changed(&mut self, change: Change, session: SessionId) {
        self.end_changes(|what, id| (what == change && id == session).then_some(Ok(())));
        if change == Change::Closed {
            // What else was waited for won't come any more.
            let closed = || Error::Usage { what: "go on", source: UsageError::Closed };
            self.end_changes(|_, id| (id == session).then(|| Err(closed())));
        }
    }

    /// A session has another owner: a takeover or close under way came to nothing.
    pub(crate) fn lost(&mut self, session: SessionId, owner: Option<DeviceId>) {
        let lost = || Error::Usage { what: "go on", source: UsageError::NotOwner(owner) };
        self.end_changes(|_, id| (id == session).then(|| Err(lost())));
    }

    /// A device is linked.
    pub(crate) fn is_linked(&mut self, device: DeviceId) {
        self.handoffs.values_mut().filter(|handoff| handoff.peer == device).for_each(|handoff| handoff.met = true);
        let (here, waiting) =
            std::mem::take(&mut self.linked).into_iter().partition::<Vec<_>, _>(|(wanted, _)| *wanted == device);
        self.linked = waiting;
        for (_, tell) in here {
            let _ = tell.send(());
        }
    }

    /// The store failed.
    pub(crate) fn halted(&mut self) {
        let halted = || Error::Usage { what: "go on", source: UsageError::Halted };
        for (_, tell) in self.durable.drain(..) {
            let _ = tell.send(Err(halted()));
        }
        self.end_changes(|_, _| Some(Err(halted())));
        for (.., tell) in self.follows.drain(..) {
            let _ = tell.send(Err(halted()));
        }
        self.end_handoffs(&HandoffError::Storage { code: Code::STORE_IO });
    }

    /// The node stopped.
    pub(crate) fn stopped(&mut self) {
        self.end_handoffs(&HandoffError::Stopped);
        *self = Waits::default();
    }

    fn end_handoffs(&mut self, error: &HandoffError) {
        let waiting = std::mem::take(&mut self.handoffs).into_values().map(|handoff| handoff.tell);
        let waiting = waiting.chain(self.given.drain(..).map(|given| given.tell));
        for tell in waiting.chain(self.granted.drain(..).map(|granted| granted.tell)) {
            let _ = tell.send(Err(error.clone()));
        }
    }

    fn end_changes(&mut self, answer: impl Fn(Change, SessionId) -> Option<Result<(), Error>>) {
        for (change, session, tell) in std::mem::take(&mut self.changes) {
            match answer(change, session) {
                Some(answer) => drop(tell.send(answer)),
                None => self.changes.push((change, session, tell)),
            }
        }
    }
}

fn answer(session: SessionId, peer: DeviceId, since: Instant, result: Result<Hash, Code>) -> Resolved {
    result
        .map(|record| Receipt { session, peer, record, took: since.elapsed() })
        .map_err(|code| HandoffError::end(code, session, peer, None, LinkWas::There))
}
