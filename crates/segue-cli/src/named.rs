//! Which session a name stands for.

use std::collections::BTreeSet;
use std::time::Duration;

use segue_quic::{DeviceId, Event, Node, SessionId};

use crate::failure::Failure;
use crate::terminal::note;

/// The session of this name that is known here, if one is.
pub(crate) async fn here(node: &Node, name: &str) -> Result<Option<SessionId>, Failure> {
    let known = node.sessions().await?.into_iter().filter(|view| view.name == name && !view.closed);
    match known.map(|view| view.id).collect::<Vec<_>>().as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        several => Err(ambiguous(name, several)),
    }
}

/// The session of this name that a linked device tells of, within `patience`.
pub(crate) async fn told(
    node: &Node,
    (owner, address): (DeviceId, &str),
    name: &str,
    patience: Duration,
) -> Result<SessionId, Failure> {
    let Ok(found) = tokio::time::timeout(patience, first_told(node, owner, name)).await else {
        return Err(Failure::failed(match node.peers().await?.contains(&owner) {
            true => format!(
                "device {owner} at {address} didn't tell of a session {name:?}: it tells devices of its account alone; `segue owner` there prints the ids of its sessions"
            ),
            false => format!(
                "there was no link to device {owner} at {address} within {} s, so a session {name:?} can't be looked for there; check that it runs there, as by `segue receive`, and the address",
                patience.as_secs()
            ),
        }));
    };
    let found = found?;
    match found.as_slice() {
        [one] => Ok(*one),
        several => Err(ambiguous(name, several)),
    }
}

/// The sessions of this name that a device tells of until it has told of one and then of no more for a moment.
async fn first_told(node: &Node, owner: DeviceId, name: &str) -> Result<Vec<SessionId>, Failure> {
    let mut found = BTreeSet::new();
    loop {
        // All that it has to tell is told as the link begins; what is begun then is told at once.
        match tokio::time::timeout(MOMENT, node.next_event()).await {
            Err(_) if !found.is_empty() => return Ok(found.into_iter().collect()),
            Err(_) => {}
            Ok(Some(Event::Told { session, from, name: told })) if from == owner && told == name => {
                found.insert(session);
            }
            Ok(Some(Event::Unlinked { peer: Some(peer), code, .. })) if peer == owner => {
                note(format_args!("no link with {peer}: {}; dialling again", code.meaning()));
            }
            Ok(Some(Event::Halted { text })) => return Err(Failure::failed(text)),
            Ok(Some(_)) => {}
            Ok(None) => return Err(segue_quic::Error::Stopped.into()),
        }
    }
}

fn ambiguous(name: &str, sessions: &[SessionId]) -> Failure {
    let ids: Vec<_> = sessions.iter().map(ToString::to_string).collect();
    Failure::failed(format!("several sessions are called {name:?}; name one by its id: {}", ids.join(", ")))
}

/// Some round trips.
const MOMENT: Duration = Duration::from_millis(500);
