//! Requests for content that isn't wanted any more. They are outstanding as any until they are answered, and so take room in
//! the windows of what is asked for next (TRANSFER-ORDER-2).

use alloc::collections::BTreeMap;

use super::{Asked, Download};
use crate::clock::Instant;
use crate::transfer::Outstanding;
use crate::wire::{Bytes, DeviceId, SessionId};

/// What is outstanding so, by session and device.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<(SessionId, DeviceId), Left>);

#[derive(Debug)]
struct Left {
    asked: BTreeMap<u32, Asked>,
    /// As that of [`Download`].
    moved: Instant,
}

impl Leaving {
    /// The answers to these requests of a download aren't needed any more.
    pub(super) fn add(&mut self, session: SessionId, of: &Download, asked: BTreeMap<u32, Asked>) {
        // What was put off is answered.
        let mut asked = asked.into_iter().filter(|(_, asked)| !asked.put_off).peekable();
        if asked.peek().is_some() {
            let left = self.0.entry((session, of.from)).or_insert(Left { asked: BTreeMap::new(), moved: of.moved });
            left.moved = left.moved.max(of.moved);
            left.asked.extend(asked);
        }
    }

    /// What of the windows of a session's fetch from a device it takes.
    pub(super) fn outstanding(&self, session: &SessionId, from: &DeviceId) -> Outstanding {
        let all = self.0.get(&(*session, *from)).map_or(0, |left| left.asked.len());
        let long = self.0.iter().filter(|((of, _), _)| of == session).flat_map(|(_, left)| left.asked.values());
        Outstanding { all, long: long.filter(|asked| asked.long).count() }
    }

    /// A stream begins that answers one of these: it is refused, and has ended by that. The session, if so.
    pub(super) fn refused(&mut self, from: DeviceId, header: &Bytes) -> Option<SessionId> {
        self.end(from, header.req, |asked| {
            let named = asked.blob == header.blob;
            asked.left = asked.left.saturating_sub(usize::from(named));
            named
        })
    }

    /// A stream that answers one of these ended, of those that had begun before. The session, if so.
    pub(super) fn ended(&mut self, from: DeviceId, req: u32) -> Option<SessionId> {
        self.end(from, req, |asked| {
            asked.left = asked.left.saturating_sub(1);
            asked.open = asked.open.saturating_sub(1);
            true
        })
    }

    /// An ERROR answers one of these. The session, if so.
    pub(super) fn answered(&mut self, from: DeviceId, req: u32) -> Option<SessionId> {
        self.end(from, req, |asked| {
            asked.left = 0;
            true
        })
    }

    fn end(&mut self, from: DeviceId, req: u32, note: impl FnOnce(&mut Asked) -> bool) -> Option<SessionId> {
        let mut found = self.0.iter_mut().filter(|((_, of), _)| *of == from);
        let (at, left) = found.find(|(_, left)| left.asked.contains_key(&req))?;
        let (at, asked) = (*at, left.asked.get_mut(&req)?);
        if !note(asked) {
            return None;
        }
        if asked.left == 0 {
            left.asked.remove(&req);
        }
        if left.asked.is_empty() {
            self.0.remove(&at);
        }
        Some(at.0)
    }

    /// The devices of which an answer is under way.
    pub(super) fn answering(&self) -> impl Iterator<Item = DeviceId> {
        let open = |left: &Left| left.asked.values().any(|asked| asked.open > 0);
        self.0.iter().filter(move |(_, left)| open(left)).map(|((_, from), _)| *from)
    }

    /// Whose answers are waited for, and when something was asked there last, or an answer on the link began or ended.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ((SessionId, DeviceId), Instant)> {
        self.0.iter().map(|(of, left)| (*of, left.moved))
    }

    /// An answer of this device began or ended.
    pub(super) fn note_answer(&mut self, now: Instant, from: DeviceId) {
        self.0.iter_mut().filter(|((_, of), _)| *of == from).for_each(|(_, left)| left.moved = now);
    }

    /// More of the session is asked for there.
    pub(super) fn note_request(&mut self, now: Instant, session: SessionId, from: DeviceId) {
        self.0.entry((session, from)).and_modify(|left| left.moved = now);
    }

    /// Nothing came for too long (TRANSFER-ANSWER-1).
    pub(super) fn give_up(&mut self, session: &SessionId, from: &DeviceId) {
        self.0.remove(&(*session, *from));
    }

    /// The link with a device is gone, and what was asked on it.
    pub(super) fn link_down(&mut self, peer: DeviceId) {
        self.0.retain(|(_, from), _| *from != peer);
    }
}
