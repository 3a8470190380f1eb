//! What a user is to know, whatever the command is about: a service, or a key, that doesn't do what it promised.

use std::collections::BTreeSet;

use segue_proto::Clause;
use segue_quic::{Code, DeviceId, Event, Node, SessionId};

use crate::failure::Failure;
use crate::terminal::note;

/// What was told, so that each is told once.
#[derive(Debug, Default)]
pub(crate) struct Alarms(BTreeSet<(DeviceId, Code, Option<SessionId>)>);

impl Alarms {
    /// Does something that reads no events, and meanwhile tells what its user is to know. What came last is told by
    /// [`Alarms::rest`].
    ///
    /// # Errors
    /// Those of the work; that the node halted, or has stopped.
    pub(crate) async fn beside<T>(
        &mut self,
        node: &Node,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => done,
            failure = self.watch(node) => Err(failure),
        }
    }

    /// Notes what is to be told of an event.
    pub(crate) fn tell(&mut self, event: &Event) {
        self.hear(event).iter().for_each(note);
    }

    /// Notes what is to be told of what was read, and passes that on.
    pub(crate) fn told(&mut self, event: Option<Event>) -> Option<Event> {
        event.inspect(|event| self.tell(event))
    }

    /// Tells until the node ends.
    async fn watch(&mut self, node: &Node) -> Failure {
        loop {
            match node.next_event().await {
                Some(Event::Halted { text }) => return Failure::failed(text),
                Some(event) => self.tell(&event),
                None => return segue_quic::Error::Stopped.into(),
            }
        }
    }

    /// Tells of what has happened and nobody read: once the node is closed, of all.
    pub(crate) async fn rest(&mut self, node: &Node) {
        loop {
            tokio::select! {
                biased;
                event = node.next_event() => match event {
                    Some(event) => self.tell(&event),
                    None => return,
                },
                () = std::future::ready(()) => return,
            }
        }
    }

    /// What to tell of an event, if it is one of these and the first.
    pub(crate) fn hear(&mut self, event: &Event) -> Option<String> {
        let (about, text) = match event {
            Event::Refused { peer, session, code: code @ Code::SERVICE_LOST, clause } => {
                // What a box held of all sessions is missed for each; that it was put back is one thing.
                let back = *clause == Some(Clause::SERVICE_BACK_1);
                let about = (*peer, *code, session.filter(|_| !back));
                (about, if back { put_back(*peer) } else { missing(*peer, *session) })
            }
            Event::Refused { peer, session, code: code @ Code::SVC_EQUIVOCATION, .. } => {
                ((*peer, *code, *session), forks(*peer, *session))
            }
            Event::Equivocation { session, key, records: [one, other] } => {
                let about = (*key, Code::SVC_EQUIVOCATION, Some(*session));
                (
                    about,
                    format!(
                        "session {session}: device {key} signed two records with one parent, {one} and {other}: its key is in use twice, or its store was put back. All devices go by the same one, which `segue owner` tells; `segue revoke` that device if its key may be in other hands"
                    ),
                )
            }
            Event::Full { mailbox } => ((*mailbox, Code::LIMIT_QUOTA, None), full(*mailbox)),
            _ => return None,
        };
        self.0.insert(about).then_some(text)
    }
}

fn put_back(mailbox: DeviceId) -> String {
    format!(
        "mailbox {mailbox} holds less than it did (SERVICE_LOST), as if it had been put back from a backup: what this device had put there is put again; tell its operator, and have the other devices exchange with it, too"
    )
}

fn full(mailbox: DeviceId) -> String {
    format!(
        "mailbox {mailbox} has no room for all that this device puts (LIMIT_QUOTA): what doesn't fit stays here, and other devices get it over links with this one alone; ask the mailbox's operator for more room"
    )
}

fn missing(from: DeviceId, session: Option<SessionId>) -> String {
    let of = session.map(|session| format!(" of session {session}")).unwrap_or_default();
    format!(
        "a letter{of} that device {from} put is missing at the mailbox (SERVICE_LOST): what it said comes once that device exchanges with the mailbox again, or is linked with this one; if it doesn't come, tell the mailbox's operator"
    )
}

fn forks(service: DeviceId, session: Option<SessionId>) -> String {
    let of = session.map(|session| format!("session {session}: ")).unwrap_or_default();
    format!(
        "{of}service {service} signed two records with one parent, or shows an older owner than it did (SVC_EQUIVOCATION): don't hand over by way of it before its operator has said why; its owner takes a session from it by `segue takeover`"
    )
}

#[cfg(test)]
mod tests {
    use segue_quic::Hash;

    use super::*;

    fn refused(code: Code, session: Option<u8>, clause: Option<Clause>) -> Event {
        let session = session.map(|n| SessionId::new([n; 16]));
        Event::Refused { peer: DeviceId::new([7; 32]), session, code, clause }
    }

    #[test]
    fn what_a_service_or_a_key_did_is_told_once_and_names_it() {
        let mut alarms = Alarms::default();
        let mut hear = |event: Event| alarms.hear(&event);
        let back = |session| refused(Code::SERVICE_LOST, session, Some(Clause::SERVICE_BACK_1));
        let told = hear(back(Some(1))).expect("it is told");
        assert!(told.contains(&"07".repeat(32)) && told.contains("put back"), "{told}");
        assert_eq!(hear(back(Some(2))), None);
        let missing = |n| refused(Code::SERVICE_LOST, Some(n), Some(Clause::SERVICE_COUNT_1));
        assert!(hear(missing(1)).is_some() && hear(missing(2)).is_some());
        assert_eq!(hear(missing(1)), None);
        let fork = || refused(Code::SVC_EQUIVOCATION, Some(1), None);
        assert!(hear(fork()).is_some_and(|told| told.contains("SVC_EQUIVOCATION")));
        assert_eq!(hear(fork()), None);
        let (session, key) = (SessionId::new([1; 16]), DeviceId::new([8; 32]));
        let twice = || Event::Equivocation { session, key, records: [Hash::new([3; 32]), Hash::new([4; 32])] };
        assert!(hear(twice()).is_some_and(|told| told.contains(&"08".repeat(32))));
        assert_eq!(hear(twice()), None);
        // That a device puts too fast passes by itself; that there is no room doesn't.
        assert_eq!(hear(refused(Code::LIMIT_QUOTA, None, None)), None);
        let full = || Event::Full { mailbox: DeviceId::new([7; 32]) };
        assert!(hear(full()).is_some_and(|told| told.contains("LIMIT_QUOTA")));
        assert_eq!(hear(full()), None);
    }
}
