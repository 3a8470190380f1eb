//! How links come to be: dialling with patience, and taking calls within limits.
//!
//! What the chapter asks for: TRANSPORT-STREAM-1; a redial names the same generations (GEN-REDIAL-1).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, Incoming};
use segue_proto::limits::HELLO_TIMEOUT;
use segue_proto::wire::DeviceId;
use segue_proto::{Clause, Code, Role, Rules};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Input;
use super::link::NewLink;
use crate::relay::Ways;
use crate::tls;
use crate::transport::{self, HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, UNVALIDATED_HANDSHAKES};

/// The pause before the second attempt. From: a person doesn't notice it.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest pause between attempts. From: guess; a device that comes back is found within half a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How long an address has to itself before the next one is dialled as well. From: a handshake takes a round trip or two.
const HEAD_START: Duration = Duration::from_secs(1);

/// The devices that a node keeps links to.
#[derive(Default)]
pub(crate) struct Keepers(BTreeMap<DeviceId, Keeper>);

struct Keeper {
    /// Where it may be, in the order in which they are dialled.
    addrs: Vec<SocketAddr>,
    attempts: u32,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// No link; dial at this time.
    Waiting(Instant),
    /// An attempt is under way.
    Dialling,
    /// A link is.
    Linked,
}

impl Keepers {
    /// Keeps a link to `device` from now on, which is at one of `addrs`.
    pub(crate) fn keep(&mut self, device: DeviceId, addrs: Vec<SocketAddr>, linked: bool) {
        let state = if linked { State::Linked } else { State::Waiting(Instant::now()) };
        self.0.insert(device, Keeper { addrs, attempts: 0, state });
    }

    /// Stops doing so.
    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.0.remove(device);
    }

    /// Whether a link to `device` is kept.
    pub(crate) fn keeps(&self, device: &DeviceId) -> bool {
        self.0.contains_key(device)
    }

    /// The device is linked, by whomever: nothing to dial, and the next failure is a first one.
    pub(crate) fn linked(&mut self, device: &DeviceId) {
        if let Some(keeper) = self.0.get_mut(device) {
            keeper.attempts = 0;
            keeper.state = State::Linked;
        }
    }

    /// The device has no link and no attempt under way: dial again after a pause.
    pub(crate) fn failed(&mut self, device: &DeviceId) {
        if let Some(keeper) = self.0.get_mut(device) {
            if keeper.state == State::Dialling && !keeper.addrs.is_empty() {
                // Whoever answered first may be another device: the next address comes first now.
                keeper.addrs.rotate_left(1);
            }
            keeper.state = State::Waiting(Instant::now() + pause(keeper.attempts, random()));
            keeper.attempts = keeper.attempts.saturating_add(1);
        }
    }

    /// Whom to dial now, and where.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(DeviceId, Vec<SocketAddr>)> {
        let mut due = Vec::new();
        for (device, keeper) in &mut self.0 {
            if matches!(keeper.state, State::Waiting(at) if at <= now) {
                keeper.state = State::Dialling;
                due.push((*device, keeper.addrs.clone()));
            }
        }
        due
    }

    /// When someone is to be dialled next.
    pub(crate) fn next(&self) -> Option<Instant> {
        let waiting = |keeper: &Keeper| if let State::Waiting(at) = keeper.state { Some(at) } else { None };
        self.0.values().filter_map(waiting).min()
    }
}

/// Doubles with every attempt; a random half of it, so that many devices don't come back in step.
pub(crate) fn pause(attempts: u32, random: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << attempts.min(16)).min(BACKOFF_MAX);
    full / 2 + (full / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

pub(crate) fn random() -> u32 {
    // Without the system's random numbers no node opens; should they fail later, the pause is merely regular.
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

/// Dials each of these addresses once: the next when the one before it has failed, or has said nothing for a moment. The
/// first to answer counts, and the others are let go.
pub(crate) async fn dial_any(
    endpoint: &Endpoint,
    addrs: Vec<SocketAddr>,
    device: DeviceId,
    rules: Rules,
) -> Result<NewLink, Code> {
    let mut left = addrs.into_iter().peekable();
    let mut tries = JoinSet::new();
    let mut why = Code::LINK_LOST;
    loop {
        if let Some(addr) = left.next() {
            tries.spawn(dial(endpoint.clone(), addr, device, rules));
        }
        let result = match left.peek() {
            Some(_) => timeout(HEAD_START, tries.join_next()).await,
            None => Ok(tries.join_next().await),
        };
        match result {
            Ok(Some(Ok(Ok(link)))) => return Ok(link),
            Ok(Some(Ok(Err(code)))) => why = code,
            Ok(Some(Err(_))) | Err(_) => {}
            Ok(None) => return Err(why),
        }
    }
}

/// Dials an address once.
pub(crate) async fn dial(
    endpoint: Endpoint,
    addr: SocketAddr,
    device: DeviceId,
    rules: Rules,
) -> Result<NewLink, Code> {
    let dialled = async {
        let connection = endpoint
            .connect(mapped(&endpoint, addr), tls::SERVER_NAME)
            .map_err(|error| {
                tracing::warn!(%addr, %error, "can't dial");
                Code::LINK_LOST
            })?
            .await
            .map_err(|error| transport::reason(&error).0)?;
        let (send, recv) = connection.open_bi().await.map_err(|error| transport::reason(&error).0)?;
        let binding = tls::binding(rules, &connection).ok_or(Code::LINK_LOST)?;
        Ok(NewLink { connection, send, recv, role: Role::Initiator, expect: Some(device), binding, relay: None })
    };
    timeout(HANDSHAKE_TIMEOUT, dialled).await.unwrap_or(Err(Code::LINK_LOST))
}

/// A socket of both families sends to IPv4 by mapped addresses.
pub(crate) fn mapped(endpoint: &Endpoint, addr: SocketAddr) -> SocketAddr {
    match (endpoint.local_addr(), addr) {
        (Ok(SocketAddr::V6(_)), SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        _ => addr,
    }
}

/// Where calls come from.
#[derive(Clone)]
pub(crate) enum From {
    /// The network.
    Anywhere,
    /// Services.
    Ways(Arc<Ways>),
}

/// Takes calls until the endpoint closes.
pub(crate) async fn accept(endpoint: Endpoint, from: From, inbox: mpsc::Sender<Input>, rules: Rules, links: usize) {
    let (mut handshakes, bounded) = (JoinSet::new(), rules.keeps(Clause::TRANSPORT_LIMIT_1));
    loop {
        // Those that are still shaking hands are counted, too.
        let is_full = |shaking: usize| shaking >= MAX_HANDSHAKES || endpoint.open_connections() >= links;
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                Some(incoming) if bounded && is_full(handshakes.len()) => incoming.refuse(),
                Some(incoming) => admit(incoming, &from, &inbox, rules, &mut handshakes),
                None => return,
            },
            Some(_) = handshakes.join_next() => {}
        }
    }
}

fn admit(incoming: Incoming, from: &From, inbox: &mpsc::Sender<Input>, rules: Rules, handshakes: &mut JoinSet<()>) {
    if handshakes.len() >= UNVALIDATED_HANDSHAKES && incoming.may_retry() {
        let _ = incoming.retry();
    } else {
        let (inbox, from) = (inbox.clone(), from.clone());
        handshakes.spawn(async move {
            if let Some(link) = greet(incoming, from, rules).await {
                let _ = inbox.send(Input::Incoming(link)).await;
            }
        });
    }
}

/// Waits for TLS, and then for the first byte of the control stream, which is HELLO's: both in time (LINK-PROGRESS-1).
async fn greet(incoming: Incoming, from: From, rules: Rules) -> Option<NewLink> {
    let relay = match from {
        From::Anywhere => None,
        From::Ways(ways) => Some(ways.hold(&incoming.remote_address())?),
    };
    let connection = timeout(HANDSHAKE_TIMEOUT, incoming).await.ok()?.ok()?;
    let Ok(stream) = timeout(Duration::from_micros(HELLO_TIMEOUT), connection.accept_bi()).await else {
        let code = Code::LIMIT_PROGRESS;
        connection.close(transport::close_code(code), code.name().as_bytes());
        return None;
    };
    let (send, recv) = stream.ok()?;
    let binding = tls::binding(rules, &connection)?;
    Some(NewLink { connection, send, recv, role: Role::Responder, expect: None, binding, relay })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_failed_has_the_next_one_begin_elsewhere_and_a_lost_link_does_not() {
        let [one, two] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let device = DeviceId::new([1; 32]);
        let mut keepers = Keepers::default();
        keepers.keep(device, vec![one, two], false);
        let dialled = |keepers: &mut Keepers| {
            let at = keepers.next().unwrap();
            keepers.due(at)
        };
        assert_eq!(dialled(&mut keepers), [(device, vec![one, two])]);
        keepers.failed(&device);
        assert_eq!(dialled(&mut keepers), [(device, vec![two, one])]);
        keepers.linked(&device);
        keepers.failed(&device);
        assert_eq!(dialled(&mut keepers), [(device, vec![two, one])]);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        assert_eq!(pause(0, 0), BACKOFF_MIN / 2);
        assert_eq!(pause(0, u32::MAX), BACKOFF_MIN);
        assert_eq!(pause(3, u32::MAX), BACKOFF_MIN * 8);
        assert_eq!(pause(u32::MAX, u32::MAX), BACKOFF_MAX);
    }
}
