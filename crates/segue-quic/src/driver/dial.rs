//! How links come to be: dialling with patience, and taking calls within limits.
//!
//! What the chapter asks for: TRANSPORT-STREAM-1; a redial names the same generations (GEN-REDIAL-1).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Endpoint, Incoming};
use segue_proto::limits::HELLO_TIMEOUT;
use segue_proto::wire::DeviceId;
use segue_proto::{Code, Role, Rules};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Input;
use super::link::NewLink;
use crate::tls;
use crate::transport::{self, HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, UNVALIDATED_HANDSHAKES};

/// The pause before the second attempt. From: a person doesn't notice it.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest pause between attempts. From: guess; a device that comes back is found within half a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The devices that a node keeps links to.
#[derive(Default)]
pub(crate) struct Keepers(BTreeMap<DeviceId, Keeper>);

struct Keeper {
    addr: SocketAddr,
    attempts: u32,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// No link; dial at this time.
    Waiting(Instant),
    /// An attempt is under way, or a link is.
    Busy,
}

impl Keepers {
    /// Keeps a link to `device` at `addr` from now on.
    pub(crate) fn keep(&mut self, device: DeviceId, addr: SocketAddr, linked: bool) {
        let state = if linked { State::Busy } else { State::Waiting(Instant::now()) };
        self.0.insert(device, Keeper { addr, attempts: 0, state });
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
            keeper.state = State::Busy;
        }
    }

    /// The device has no link and no attempt under way: dial again after a pause.
    pub(crate) fn failed(&mut self, device: &DeviceId) {
        if let Some(keeper) = self.0.get_mut(device) {
            keeper.state = State::Waiting(Instant::now() + pause(keeper.attempts, random()));
            keeper.attempts = keeper.attempts.saturating_add(1);
        }
    }

    /// Whom to dial now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(DeviceId, SocketAddr)> {
        let mut due = Vec::new();
        for (device, keeper) in &mut self.0 {
            if matches!(keeper.state, State::Waiting(at) if at <= now) {
                keeper.state = State::Busy;
                due.push((*device, keeper.addr));
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

/// Dials once.
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
        Ok(NewLink { connection, send, recv, role: Role::Initiator, expect: Some(device), binding })
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

/// Takes calls until the endpoint closes.
pub(crate) async fn accept(endpoint: Endpoint, inbox: mpsc::Sender<Input>, rules: Rules, links: usize) {
    let mut handshakes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => match incoming {
                // Those that are still shaking hands are counted, too.
                Some(incoming) if handshakes.len() >= MAX_HANDSHAKES || endpoint.open_connections() >= links => {
                    incoming.refuse();
                }
                Some(incoming) => admit(incoming, &inbox, rules, &mut handshakes),
                None => return,
            },
            Some(_) = handshakes.join_next() => {}
        }
    }
}

fn admit(incoming: Incoming, inbox: &mpsc::Sender<Input>, rules: Rules, handshakes: &mut JoinSet<()>) {
    if handshakes.len() >= UNVALIDATED_HANDSHAKES && incoming.may_retry() {
        let _ = incoming.retry();
    } else {
        let inbox = inbox.clone();
        handshakes.spawn(async move {
            if let Some(link) = greet(incoming, rules).await {
                let _ = inbox.send(Input::Incoming(link)).await;
            }
        });
    }
}

/// Waits for TLS, and then for the first byte of the control stream, which is HELLO's: both in time (LINK-PROGRESS-1).
async fn greet(incoming: Incoming, rules: Rules) -> Option<NewLink> {
    let connection = timeout(HANDSHAKE_TIMEOUT, incoming).await.ok()?.ok()?;
    let Ok(stream) = timeout(Duration::from_micros(HELLO_TIMEOUT), connection.accept_bi()).await else {
        let code = Code::LIMIT_PROGRESS;
        connection.close(transport::close_code(code), code.name().as_bytes());
        return None;
    };
    let (send, recv) = stream.ok()?;
    let binding = tls::binding(rules, &connection)?;
    Some(NewLink { connection, send, recv, role: Role::Responder, expect: None, binding })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        assert_eq!(pause(0, 0), BACKOFF_MIN / 2);
        assert_eq!(pause(0, u32::MAX), BACKOFF_MIN);
        assert_eq!(pause(3, u32::MAX), BACKOFF_MIN * 8);
        assert_eq!(pause(u32::MAX, u32::MAX), BACKOFF_MAX);
    }
}
