//! What the oracle concludes from what devices say of themselves.

use std::cmp::Reverse;

use segue_proto::wire::SessionId;
use segue_proto::{Instant, SessionRole};

use super::{Oracle, Order, Promise, Released, Slot, Written, hash};
use crate::device::{Inspect, SessionState};

impl Oracle {
    /// What a device says of itself after a step; `clean` if all that it wrote is synced.
    pub(crate) fn observed(&mut self, now: Instant, node: usize, inspect: &Inspect, clean: bool) {
        // A device whose disk failed says nothing any more, and what it still thinks is lost with its power.
        if self.failed.contains(&node) {
            return;
        }
        for (session, state) in &inspect.sessions {
            let before = self.last.remove(&(node, *session));
            if before.is_none() {
                self.resumed(node, *session, state);
            }
            self.check_head(now, node, *session, state, before.as_ref());
            self.check_primary(now, node, *session, state);
            let was_primary = before.as_ref().is_some_and(|before| before.role == SessionRole::Primary);
            let is_primary = state.role == SessionRole::Primary;
            if let Some(before) =
                before.as_ref().filter(|before| was_primary && (!is_primary || before.head != state.head))
            {
                self.check_copies(now, node, *session, before, state);
                self.let_go(node, *session, before, state);
            }
            if is_primary && before.as_ref().is_none_or(|before| !was_primary || before.head != state.head) {
                self.check_activation(now, node, *session, state);
            }
            if clean {
                self.floors.insert((node, *session), order(state));
                self.services.holds(node, *session, state.head);
            }
            self.last.insert((node, *session), state.clone());
        }
    }

    fn check_head(
        &mut self,
        now: Instant,
        node: usize,
        session: SessionId,
        state: &SessionState,
        before: Option<&SessionState>,
    ) {
        let floor = before.map(order).or(self.floors.get(&(node, session)).copied());
        if floor.is_some_and(|floor| order(state) < floor) {
            self.book(
                Promise::S1,
                now,
                node,
                format!("its head fell to {:?} ({}, {})", state.head, state.term, state.n),
            );
        }
    }

    fn check_primary(&mut self, now: Instant, node: usize, session: SessionId, state: &SessionState) {
        if state.role != SessionRole::Primary {
            return;
        }
        let forked = self.is_forked(&session);
        let rival = self.last.iter().find(|((other, at), held)| {
            let same = !forked || (held.term, held.taker) == (state.term, state.taker);
            *other != node && *at == session && held.role == SessionRole::Primary && same
        });
        if let Some(((other, _), _)) = rival {
            let what = format!("is primary beside {}", self.names[*other].0);
            self.book(Promise::S1, now, node, what);
        }
    }

    /// A primary that a takeover ends keeps what it was told to write, if the taker can't have it.
    fn check_copies(
        &mut self,
        now: Instant,
        node: usize,
        session: SessionId,
        before: &SessionState,
        state: &SessionState,
    ) {
        let fenced = state.term > before.term && Some(self.names[node].1) != state.owner;
        let writes = self.books.get(&session).and_then(|book| book.writes.get(&Slot::Exclusive));
        let own = |write: &Written| write.node == node && write.head == before.head && write.acknowledged;
        let wrote = writes.and_then(|writes| writes.iter().rfind(|write| write.node == node)).is_some_and(own);
        if fenced && wrote && state.copies <= before.copies {
            self.book(Promise::S3, now, node, "was fenced and kept no copy of its exclusive value");
        }
    }

    /// A primary is one no more: its data is what the next must hold.
    fn let_go(&mut self, node: usize, session: SessionId, before: &SessionState, state: &SessionState) {
        let book = self.books.entry(session).or_default();
        let released = || Released { node, head: order(before), exclusive: state.exclusive.clone() };
        book.released.entry(before.head).or_insert_with(released);
    }

    /// A device starts: what it let go under a head that it hasn't reached now, a crash undid together with what it had
    /// written there. It may be activated by that head again, and let go another value in the same step.
    fn resumed(&mut self, node: usize, session: SessionId, state: &SessionState) {
        let book = self.books.entry(session).or_default();
        book.released.retain(|_, released| released.node != node || released.head <= order(state));
    }

    fn check_activation(&mut self, now: Instant, node: usize, session: SessionId, state: &SessionState) {
        let book = self.books.entry(session).or_default();
        // What it let go under this head it takes back: a crash undid a record that never left.
        book.released.remove(&state.head);
        let first = book.activated.insert((node, state.head));
        let mut found = Vec::new();
        // What was written into shared parts may be on its way still; see `check_converged`.
        let parent = book.grants.get(&state.head).map(|(parent, _)| *parent);
        if let Some(parent) = parent.filter(|_| first)
            && book.released.get(&parent).is_some_and(|released| released.exclusive != state.exclusive)
        {
            found.push((Promise::S2, "is primary with another exclusive value than the source let go".to_string()));
        }
        let exclusive = book.writes.get(&Slot::Exclusive).filter(|_| !book.forked);
        if exclusive.is_some_and(|writes| is_lost(writes, state)) {
            found.push((Promise::S3, "lacks an acknowledged write to the exclusive part".to_string()));
        }
        found.into_iter().for_each(|(promise, what)| self.book(promise, now, node, what));
    }

    /// Once the faults ended and all is quiet, every device that takes part holds the same ops, all content, and every
    /// acknowledged write that no other replaced.
    ///
    /// A device that came back from a backup, or whose disk failed, may have lost what it acknowledged.
    pub(crate) fn check_converged(&mut self, now: Instant) {
        self.apart().into_iter().for_each(|(node, promise, what)| self.book(promise, now, node, what));
    }

    /// What keeps devices apart that have met.
    pub(crate) fn apart(&self) -> Vec<(usize, Promise, String)> {
        let mut found = Vec::new();
        if !self.restored.is_empty() || !self.failed.is_empty() {
            return found;
        }
        for (session, book) in &self.books {
            let held: Vec<_> =
                self.last.iter().filter(|((_, at), state)| at == session && !state.root.is_zero()).collect();
            let Some((_, first)) = held.first() else { continue };
            for ((node, _), state) in &held {
                // A takeover without the last exclusive value leaves it to whoever wrote it, until the next is written.
                let parted = book.forked && state.exclusive != first.exclusive;
                if state.root != first.root && !parted {
                    found.push((
                        *node,
                        Promise::S3,
                        format!("has root {:?} in {session:?}, others {:?}", state.root, first.root),
                    ));
                }
                for path in state.files.iter().filter(|(_, hash)| hash.is_zero()).map(|(path, _)| path) {
                    if self.picks.get(&(*node, *session)).is_none_or(|folders| is_picked(folders, path)) {
                        found.push((*node, Promise::S2, format!("never got the content of {path:?}")));
                    }
                    let named = state.named.get(path);
                    if !held.iter().any(|(_, other)| other.files.get(path) == named) {
                        found.push((*node, Promise::S3, format!("names {path:?}, whose content nobody holds")));
                    }
                }
                for (slot, writes) in &book.writes {
                    let Slot::File(path) = slot else { continue };
                    let live = writes.iter().filter(|write| write.live && write.acknowledged && write.value.is_some());
                    let lost = live.filter(|write| !survives(path, write, state));
                    found
                        .extend(lost.map(|_| (*node, Promise::S3, format!("lacks an acknowledged write to {path:?}"))));
                }
            }
        }
        found
    }

    /// Once the faults ended and all is quiet: the owner by the highest head is primary, and nobody else is.
    ///
    /// A device that came back from a backup may own nothing, so nothing is demanded once one did.
    pub(crate) fn check_settled(&mut self, now: Instant) {
        let open = self.books.iter().filter(|(_, book)| !book.closed);
        let sessions: Vec<SessionId> = open.map(|(session, _)| *session).collect();
        for session in sessions.into_iter().filter(|_| self.restored.is_empty()).collect::<Vec<_>>() {
            let held: Vec<_> = self.last.iter().filter(|((_, at), _)| *at == session).collect();
            let Some((_, highest)) = held.iter().max_by_key(|(_, state)| order(state)) else { continue };
            let owner = self.names.iter().position(|(_, id)| Some(*id) == highest.owner);
            let primary = |(_, state): &&(_, &SessionState)| state.role == SessionRole::Primary;
            let primaries: Vec<usize> = held.iter().filter(primary).map(|((node, _), _)| *node).collect();
            let Some(owner) = owner else { continue };
            // Terms may overlap, but only until the devices meet.
            if primaries.iter().any(|node| *node != owner) {
                let others: Vec<&str> = primaries.iter().map(|node| self.names[*node].0.as_str()).collect();
                let what = format!("owns {session:?}, but all is quiet and the primaries are {}", others.join(", "));
                self.book(Promise::Meeting, now, owner, what);
            } else if primaries.is_empty() {
                self.book(Promise::L2, now, owner, format!("owns {session:?}, but all is quiet and nobody is primary"));
            }
        }
    }
}

/// Whether a file lies in one of these folders; in none of them at all, if there are none.
fn is_picked(folders: &[String], path: &str) -> bool {
    let within = |folder: &String| match folder.is_empty() {
        true => !path.contains('/'),
        false => path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
    };
    folders.is_empty() || folders.iter().any(within)
}

fn order(state: &SessionState) -> Order {
    (state.term, state.taker, state.n, Reverse(state.head))
}

/// Whether the exclusive value that a device holds is older than the last write that was acknowledged.
fn is_lost(writes: &[Written], state: &SessionState) -> bool {
    let Some(acknowledged) = writes.iter().rposition(|write| write.acknowledged) else { return false };
    let held = state.exclusive.as_deref().map(hash);
    !writes[acknowledged..].iter().any(|write| write.value == held)
}

/// Whether a device that has met all others holds what was written to a file, shown or in conflict.
fn survives(path: &str, write: &Written, state: &SessionState) -> bool {
    let shown = state.named.get(path).copied();
    let losing = state.conflicts.get(path).is_some_and(|others| others.iter().any(|other| Some(*other) == write.value));
    shown == write.value || losing
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use segue_proto::wire::{DeviceId, Hash};

    use super::*;

    const SESSION: SessionId = SessionId::new([5; 16]);
    const B: usize = 0;
    const A: usize = 1;

    fn record(n: u64) -> Hash {
        Hash::new([n as u8; 32])
    }

    fn state(role: SessionRole, n: u64, exclusive: &[u8]) -> SessionState {
        SessionState {
            role,
            head: record(n),
            parent: record(n - 1),
            term: 0,
            taker: Hash::ZERO,
            n,
            owner: None,
            grantor: None,
            entitled: role == SessionRole::Primary,
            root: Hash::ZERO,
            files: BTreeMap::new(),
            named: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            exclusive: Some(exclusive.to_vec()),
            copies: 0,
            pending: None,
            aside: None,
            kept: None,
        }
    }

    /// An oracle to which a device grants record 3, having written `last` under record 2.
    fn granted(last: &[u8]) -> Oracle {
        let mut oracle = Oracle::default();
        oracle.add("B", DeviceId::new([1; 32]));
        oracle.add("A", DeviceId::new([2; 32]));
        see(&mut oracle, B, state(SessionRole::Primary, 2, last));
        see(&mut oracle, B, state(SessionRole::Secondary, 3, last));
        oracle.books.entry(SESSION).or_default().grants.insert(record(3), (record(2), Hash::ZERO));
        oracle
    }

    fn see(oracle: &mut Oracle, node: usize, state: SessionState) {
        let inspect = Inspect { sessions: [(SESSION, state)].into(), account: None };
        oracle.observed(Instant::ZERO, node, &inspect, false);
    }

    fn takes(oracle: &mut Oracle, exclusive: &[u8]) -> Vec<Promise> {
        see(oracle, A, state(SessionRole::Primary, 3, exclusive));
        oracle.breaches().iter().map(|breach| breach.promise).collect()
    }

    #[test]
    fn who_is_granted_to_holds_what_was_let_go() {
        assert_eq!(takes(&mut granted(b"last"), b"last"), []);
        assert_eq!(takes(&mut granted(b"last"), b"old"), [Promise::S2]);
    }

    /// The crash undoes the write, the record and the activation before it; the head comes again, and a standing request
    /// is granted as it does, so that the device is never seen as the primary.
    #[test]
    fn a_crash_undoes_what_was_let_go() {
        let mut oracle = granted(b"unsynced");
        oracle.crashed(B);
        see(&mut oracle, B, state(SessionRole::Secondary, 1, b"synced"));
        see(&mut oracle, B, state(SessionRole::Secondary, 3, b"synced"));
        assert_eq!(takes(&mut oracle, b"synced"), []);
    }

    #[test]
    fn a_crash_after_the_sync_undoes_nothing() {
        let mut oracle = granted(b"last");
        oracle.crashed(B);
        see(&mut oracle, B, state(SessionRole::Secondary, 3, b"last"));
        assert_eq!(takes(&mut oracle, b"old"), [Promise::S2]);
    }
}
