//! Tier B: the subject on real sockets, and the suite at the other end of its links, honest or hostile at every layer.
//!
//! A [`Loopback`] runs one device of the subject, behind its adapter, or looks at one that runs already. The suite dials
//! it ([`Loopback::dial`]) and is dialled by it ([`Loopback::called`]); a [`Link`] is what comes of either.

mod link;
mod play;
mod rig;
mod run;
mod seen;
mod tls;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{ConnectionError, Endpoint};
use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Event, Generation, Policy, Role, SessionRole};
use segue_testkit::device::{Command, Refusal, Reply, SessionState, Setup};
use segue_testkit::rng::Rng;

use crate::attach::{Failure, Host, Node};
use crate::lab::Done;
use crate::peer::Peer;
use crate::verdict::Fault;
pub use link::{Bulk, Close, LABEL, Link, Packets};
use link::{Opened, close};
pub use play::{generation, play};
pub use rig::{GUARD, Rig};
pub(crate) use run::examine;
pub use run::{Running, applying};
pub use seen::{Limits, Seen};
pub(crate) use tls::answering;
pub use tls::{ALPN, Answering, Certificate, Dialling, Tickets};
pub use version::is_reserved;

/// A device of the subject, with sockets around it.
pub struct Loopback<'h> {
    subject: Subject<'h>,
    /// The subject's highest generation in this run of the case.
    pub generation: Generation,
    /// The subject's role on the links of this run of the case.
    pub role: Role,
    /// Who the subject is and what its application set; changes count until it is started.
    pub setup: Setup,
    /// Randomness of the case.
    pub rng: Rng,
    /// What the suite's ends share.
    pub rig: Rig,
    addr: Option<SocketAddr>,
    events: Vec<Event>,
}

/// Where the subject is.
enum Subject<'h> {
    /// Behind its adapter, once it is started.
    Attached(&'h mut dyn Host, Option<Box<dyn Node>>),
    /// Somewhere, and running; it lets this peer in.
    Running { device: DeviceId, peer: Box<Peer> },
}

/// An end of the suite's that is dialled.
pub struct Listener {
    endpoint: Endpoint,
    seen: Arc<Seen>,
    /// Where.
    pub addr: SocketAddr,
}

impl<'h> Loopback<'h> {
    /// A subject behind its adapter that isn't started yet: of this generation, letting members pull.
    pub fn new(
        host: &'h mut dyn Host,
        rig: Rig,
        generation: Generation,
        role: Role,
        seed: u64,
        case: &str,
    ) -> Loopback<'h> {
        let mut rng = Rng::new(seed, case);
        let mut setup = Setup::new(rng.array());
        setup.generation = generation;
        setup.pulls = Policy::Allow;
        let subject = Subject::Attached(host, None);
        Loopback { subject, generation, role, setup, rng, rig, addr: None, events: Vec::new() }
    }

    /// A subject that runs at this address and lets `peer` in.
    pub fn running(rig: Rig, addr: SocketAddr, device: DeviceId, peer: Peer, seed: u64, case: &str) -> Loopback<'h> {
        let mut rng = Rng::new(seed, case);
        let setup = Setup::new(rng.array());
        let subject = Subject::Running { device, peer: Box::new(peer) };
        let (generation, role) = (Generation::V7, Role::Responder);
        Loopback { subject, generation, role, setup, rng, rig, addr: Some(addr), events: Vec::new() }
    }

    /// The subject's device id.
    pub fn id(&self) -> DeviceId {
        match &self.subject {
            Subject::Attached(..) => self.setup.device(),
            Subject::Running { device, .. } => *device,
        }
    }

    /// What went wrong with the adapter, if there is one.
    pub fn failure(&self) -> Option<Failure> {
        match &self.subject {
            Subject::Attached(host, _) => host.failure(),
            Subject::Running { .. } => None,
        }
    }

    /// Whether the subject is behind an adapter.
    pub fn is_attached(&self) -> bool {
        matches!(self.subject, Subject::Attached(..))
    }

    /// Starts the subject.
    ///
    /// # Errors
    /// If it doesn't start.
    pub fn boot(&mut self) -> Done {
        let Subject::Attached(host, node) = &mut self.subject else { return Ok(()) };
        *node = None;
        self.events.clear();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (started, addr) =
            host.listen(&self.setup, listen).map_err(|why| Fault::unheard("a device that starts", why))?;
        self.rig.note("the subject listens");
        *node = Some(started);
        self.addr = Some(addr);
        Ok(())
    }

    /// A device of the suite that the subject trusts.
    ///
    /// # Errors
    /// If the subject doesn't start.
    pub fn trusted(&mut self) -> Done<Peer> {
        if let Subject::Running { peer, .. } = &self.subject {
            // Each link is one of a device that has just started.
            let boot = segue_proto::wire::Nonce::new(self.rng.array());
            return Ok(Peer { boot, ..(**peer).clone() });
        }
        let peer = Peer::new(&mut self.rng);
        self.setup.trusted.push(peer.id);
        self.boot()?;
        Ok(peer)
    }

    /// A further device of the suite, that a subject behind an adapter trusts from its next start on.
    pub fn another(&mut self) -> Peer {
        let peer = Peer::new(&mut self.rng);
        self.setup.trusted.push(peer.id);
        peer
    }

    /// A connection that the suite dials, with its control stream; nothing is said on it.
    ///
    /// # Errors
    /// If the subject doesn't take the call.
    pub fn dial(&mut self, how: &Dialling) -> Done<Link> {
        let tried = self.try_dial(how)?;
        tried.map_err(|close| Fault::fail("a connection", format!("closed: {close:?}")))
    }

    /// The same, or how the handshake failed.
    ///
    /// # Errors
    /// If nothing comes of it.
    pub fn try_dial(&mut self, how: &Dialling) -> Done<Result<Link, Close>> {
        let addr = self.addr.ok_or_else(|| Fault::fail("a subject that listens", "it isn't started"))?;
        let (endpoint, seen) = self.rig.enter(|| tls::dialling(how, addr))?;
        self.rig.note(format!("suite dials, offering {:?}", how.alpn));
        let connecting = self.rig.enter(|| endpoint.connect(addr, how.name));
        let connecting = connecting.map_err(|error| Fault::unheard("a call", error.to_string()))?;
        let connection = match self.rig.wait("the end of the handshake", connecting)? {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(self.failed(&error))),
        };
        let streams = match self.rig.wait("a control stream permitted to the initiator", connection.open_bi())? {
            Ok(streams) => streams,
            Err(error) => return Ok(Err(self.failed(&error))),
        };
        let (role, subject) = (Role::Responder, self.id());
        Link::new(self.rig.clone(), Opened { endpoint, connection, streams, role, seen, subject }).map(Ok)
    }

    /// As many connections as the subject lets stand at once, up to `most`, of somebody who proves nothing; and how the
    /// first one that it refused failed, if it refused one.
    ///
    /// # Errors
    /// If nothing comes of one.
    pub fn crowd(&mut self, most: usize) -> Done<(Vec<quinn::Connection>, Option<Close>)> {
        let addr = self.addr.ok_or_else(|| Fault::fail("a subject that listens", "it isn't started"))?;
        let how = Dialling::default();
        let (endpoint, _) = self.rig.enter(|| tls::dialling(&how, addr))?;
        self.rig.note(format!("suite dials {most} times, and says nothing"));
        let mut standing = Vec::new();
        while standing.len() < most {
            let connecting = self.rig.enter(|| endpoint.connect(addr, how.name));
            let connecting = connecting.map_err(|error| Fault::unheard("a call", error.to_string()))?;
            match self.rig.wait("the end of the handshake", connecting)? {
                Ok(connection) => standing.push(connection),
                Err(error) => return Ok((standing, Some(self.failed(&error)))),
            }
        }
        Ok((standing, None))
    }

    /// A connection that the suite dials with a ticket and early data, if it has a ticket: whether they were accepted.
    ///
    /// # Errors
    /// If nothing comes of it.
    pub fn dial_early(&mut self, how: &Dialling) -> Done<bool> {
        let addr = self.addr.ok_or_else(|| Fault::fail("a subject that listens", "it isn't started"))?;
        let (endpoint, _) = self.rig.enter(|| tls::dialling(how, addr))?;
        let connecting = self.rig.enter(|| endpoint.connect(addr, how.name));
        let connecting = connecting.map_err(|error| Fault::unheard("a call", error.to_string()))?;
        let Ok((connection, accepted)) = connecting.into_0rtt() else { return Ok(false) };
        self.rig.note("suite dials with a ticket, and sends early data");
        let (mut send, _recv) = self
            .rig
            .wait("a stream for early data", connection.open_bi())?
            .map_err(|error| Fault::unheard("a stream for early data", error.to_string()))?;
        let _ = self.rig.wait("room for early data", send.write_all(&[0]))?;
        self.rig.wait("the end of the handshake", accepted)
    }

    /// An end that waits to be dialled.
    ///
    /// # Errors
    /// If there is no socket to be had.
    pub fn listener(&mut self, how: &Answering) -> Done<Listener> {
        let (endpoint, seen) = self.rig.enter(|| tls::answering(how))?;
        let addr = endpoint.local_addr().map_err(|error| Fault::unheard("a socket", error.to_string()))?;
        Ok(Listener { endpoint, seen, addr })
    }

    /// The subject's application dials `device` at a listener; the connection with its control stream, on which nothing
    /// is said by the suite.
    ///
    /// # Errors
    /// If the subject doesn't dial, or the handshake fails.
    pub fn called(&mut self, listener: &Listener, device: DeviceId) -> Done<Link> {
        let called = self.try_called(listener, device)?;
        called.map_err(|close| Fault::fail("a connection", format!("closed: {close:?}")))
    }

    /// The same, or how the handshake failed.
    ///
    /// # Errors
    /// If the subject doesn't dial.
    pub fn try_called(&mut self, listener: &Listener, device: DeviceId) -> Done<Result<Link, Close>> {
        self.rig.note("the subject's application dials the suite");
        self.node()?.dial(device, listener.addr).map_err(|refusal| Fault::fail("a call", refusal.text))?;
        self.taken(listener)
    }

    /// The next call of the subject at a listener.
    ///
    /// # Errors
    /// If none comes.
    pub fn taken(&mut self, listener: &Listener) -> Done<Result<Link, Close>> {
        let incoming = self.rig.wait("a call of the subject", listener.endpoint.accept())?;
        let incoming = incoming.ok_or_else(|| Fault::unheard("a call of the subject", "the suite's socket closed"))?;
        let connection = match self.rig.wait("the end of the handshake", async { incoming.await })? {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(self.failed(&error))),
        };
        let streams = match self.rig.wait("a control stream of the initiator", connection.accept_bi())? {
            Ok(streams) => streams,
            Err(error) => return Ok(Err(self.failed(&error))),
        };
        let (role, subject, seen) = (Role::Initiator, self.id(), listener.seen.clone());
        let endpoint = listener.endpoint.clone();
        Link::new(self.rig.clone(), Opened { endpoint, connection, streams, role, seen, subject }).map(Ok)
    }

    /// A connection in the role of this run, on which nothing is said by the suite.
    ///
    /// # Errors
    /// If none comes to be.
    pub fn connect(&mut self, peer: &Peer) -> Done<Link> {
        if self.role == Role::Responder {
            return self.dial(&Dialling::default());
        }
        let listener = self.listener(&Answering::default())?;
        self.called(&listener, peer.id)
    }

    /// A trusted peer and the subject are linked, in the role of this run.
    ///
    /// # Errors
    /// If they aren't.
    pub fn linked(&mut self) -> Done<(Peer, Link)> {
        let peer = self.trusted()?;
        let mut link = self.connect(&peer)?;
        link.greet(&peer)?;
        Ok((peer, link))
    }

    fn failed(&self, error: &ConnectionError) -> Close {
        let close = close(error);
        self.rig.note(format!("the handshake fails: {close:?}"));
        close
    }

    fn node(&mut self) -> Done<&mut Box<dyn Node>> {
        match &mut self.subject {
            Subject::Attached(_, Some(node)) => Ok(node),
            _ => Err(Fault::unheard("a subject behind an adapter", "there is none")),
        }
    }
}

/// The application's side.
impl Loopback<'_> {
    /// The subject's application asks for something.
    ///
    /// # Errors
    /// If there is no adapter.
    pub fn command(&mut self, command: Command) -> Done<Result<Reply, Refusal>> {
        let done = self.node()?.command(command);
        self.rig.note(match &done {
            Ok(reply) => format!("the subject's application asks: {reply:?}"),
            Err(refusal) => format!("the subject's application is refused: {}", refusal.text),
        });
        Ok(done)
    }

    /// It asks for something, and gets it.
    ///
    /// # Errors
    /// If the subject refuses.
    pub fn must(&mut self, command: Command) -> Done<Reply> {
        let what = format!("{command:?}");
        self.command(command)?.map_err(|refusal| Fault::fail(what, format!("refused: {}", refusal.text)))
    }

    /// Takes the first event that `wanted` finds.
    ///
    /// # Errors
    /// If none comes.
    pub fn event<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> Done<T> {
        for _ in 0..=self.rounds() {
            let found = self.events.iter().enumerate().find_map(|(at, event)| Some((at, wanted(event)?)));
            if let Some((at, found)) = found {
                self.events.remove(at);
                return Ok(found);
            }
            self.hear()?;
        }
        let told: Vec<String> = self.events.iter().rev().take(3).map(|event| format!("{event:?}")).collect();
        Err(Fault::unheard(what, if told.is_empty() { "no event".into() } else { told.join("; ") }))
    }

    /// Waits for one of two: true as soon as `shown` holds, false if an event that `told` finds came first.
    ///
    /// # Errors
    /// If neither comes.
    pub fn first(
        &mut self,
        what: &str,
        told: impl Fn(&Event) -> bool,
        mut shown: impl FnMut() -> Done<bool>,
    ) -> Done<bool> {
        for _ in 0..=self.rounds() {
            if shown()? {
                return Ok(true);
            }
            if self.came(&told)? {
                return Ok(false);
            }
        }
        Err(Fault::unheard(what, "neither"))
    }

    /// Whether an event that `wanted` finds has come, or comes before the subject has none to tell.
    ///
    /// # Errors
    /// If there is no adapter.
    pub fn came(&mut self, wanted: impl Fn(&Event) -> bool) -> Done<bool> {
        self.hear()?;
        Ok(self.events.iter().any(wanted))
    }

    /// Takes what the subject has to tell, or waits a while for it.
    fn hear(&mut self) -> Done {
        let came = self.node()?.events(POLL_MS);
        came.iter().for_each(|event| self.rig.note(format!("subject: {event:?}")));
        self.events.extend(came);
        Ok(())
    }

    /// So often it is asked for an event before patience ends.
    fn rounds(&self) -> u128 {
        self.rig.guard().as_millis().div_ceil(u128::from(POLL_MS))
    }

    /// What the subject says of a session.
    ///
    /// # Errors
    /// If there is no adapter.
    pub fn state(&mut self, session: SessionId) -> Done<Option<SessionState>> {
        Ok(self.node()?.inspect().sessions.remove(&session))
    }

    /// The subject says that it has this role in a session.
    ///
    /// # Errors
    /// If it says another.
    pub fn is(&mut self, session: SessionId, role: SessionRole) -> Done {
        let found = self.state(session)?.map(|state| state.role);
        if found == Some(role) {
            return Ok(());
        }
        let came = found.map_or("an unknown session".into(), |role| format!("{role:?}"));
        Err(Fault::fail(format!("a subject that is {role:?}"), came))
    }
}

/// How long an adapter waits for an event before it answers that there is none, in milliseconds. It is asked again.
const POLL_MS: u64 = 1_000;
