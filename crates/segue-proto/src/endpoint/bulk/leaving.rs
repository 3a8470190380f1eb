//! Requests of fetches that are over, or that go on without them. They are outstanding as any until they are answered,
//! broken off or stopped, and so take room in the windows of what is asked for next (TRANSFER-ORDER-2). What a fetch of the
//! same session may want is taken in and not asked for again; the rest is stopped.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Asked, Download, Incoming, Unwanted};
use crate::clause::Rules;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::transfer::Outside;
use crate::wire::{Bytes, DeviceId, Hash, SessionId};
use crate::{Clause, Code, Violation};

/// What is outstanding so, by session and device.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<(SessionId, DeviceId), Left>);

#[derive(Debug)]
struct Left {
    requests: BTreeMap<u32, Request>,
    /// As that of [`Download`].
    moved: Instant,
}

#[derive(Debug)]
struct Request {
    asked: Asked,
    /// Nobody wants the answer.
    stopped: bool,
}

/// Inputs.
impl Endpoint {
    /// A stream begins that may answer one of these.
    pub(super) fn leaving_begins(
        &mut self,
        now: Instant,
        from: DeviceId,
        header: &Bytes,
    ) -> Option<Result<Incoming, Violation>> {
        let (session, begun) = self.bulk.leaving.begins(self.config.rules, from, header)?;
        let over = !self.bulk.leaving.has(&from, header.req);
        if over || begun.is_ok() {
            self.bulk.note_answer(now, from);
        }
        if over {
            self.left_room(now, session, from);
        }
        Some(begun)
    }

    /// A stream ended that may have answered one of these.
    pub(super) fn leaving_ended(&mut self, now: Instant, from: DeviceId, req: u32) {
        let Some(session) = self.bulk.leaving.ended(from, req) else { return };
        self.bulk.note_answer(now, from);
        if !self.bulk.leaving.has(&from, req) {
            self.left_room(now, session, from);
        }
    }

    /// An error in answer to a request that no fetch stands for any more; false if there was none.
    pub(super) fn leaving_refused(&mut self, now: Instant, from: DeviceId, req: u32, code: Code) -> bool {
        let Some(session) = self.bulk.leaving.answered(from, req) else { return false };
        if code == Code::LIMIT_REQUESTS {
            // It took no room at the device.
            self.pump(now, session);
        } else {
            self.left_room(now, session, from);
        }
        true
    }

    /// One of these, of this session and device, has ended: there may be more room for the session, there or elsewhere.
    fn left_room(&mut self, now: Instant, session: SessionId, from: DeviceId) {
        let download = self.bulk.downloads.get_mut(&session).filter(|download| download.from == from);
        let outcome = download.map_or(Ok(()), Download::resume_put_off);
        self.after_fetch(now, session, outcome);
        self.resume_others(now, session, from);
    }

    /// A request of this session to a device has ended, so there is room for those of other sessions that were put off.
    pub(super) fn resume_others(&mut self, now: Instant, but: SessionId, from: DeviceId) {
        let waits = |download: &Download| download.from == from && download.asked.values().any(|asked| asked.put_off);
        let others = self.bulk.downloads.iter().filter(|(of, download)| **of != but && waits(download));
        for session in others.map(|(of, _)| *of).collect::<Vec<_>>() {
            let download = self.bulk.downloads.get_mut(&session);
            let outcome = download.map_or(Ok(()), Download::resume_put_off);
            self.after_fetch(now, session, outcome);
        }
    }
}

/// Steps.
impl Endpoint {
    /// Nothing that is outstanding of a session but what its fetch asked for is wanted.
    pub(super) fn stop_answers(&mut self, session: &SessionId) {
        let stopped = self.bulk.leaving.stop(session, |_, _| false);
        self.say_unwanted(stopped);
    }

    /// Of what is outstanding of a session beside what its fetch asked for, what the fetch can't use isn't wanted.
    pub(super) fn stop_useless(&mut self, session: &SessionId) {
        let Some(download) = self.bulk.downloads.get(session) else { return };
        let wants = |from: &DeviceId, blob: &Hash| download.from == *from && download.fetch.may_need(blob);
        let stopped = self.bulk.leaving.stop(session, wants);
        self.say_unwanted(stopped);
    }

    fn say_unwanted(&mut self, stopped: Vec<(DeviceId, u32)>) {
        for (from, req) in stopped {
            let link = self.routes.get(&from).copied();
            self.out.unwanted.extend(link.map(|link| Unwanted { link, req }));
        }
    }
}

impl Leaving {
    /// The answers to these requests of a download aren't needed for it any more.
    pub(super) fn add(&mut self, session: SessionId, of: &Download, asked: impl IntoIterator<Item = (u32, Asked)>) {
        // What was put off is answered.
        let mut asked = asked.into_iter().filter(|(_, asked)| !asked.put_off).peekable();
        if asked.peek().is_some() {
            let left = self.0.entry((session, of.from)).or_insert(Left { requests: BTreeMap::new(), moved: of.moved });
            left.moved = left.moved.max(of.moved);
            left.requests.extend(asked.map(|(req, asked)| (req, Request { asked, stopped: false })));
        }
    }

    /// Stops those of a session of which nobody wants the blob of the device; they are told.
    pub(super) fn stop(
        &mut self,
        session: &SessionId,
        wants: impl Fn(&DeviceId, &Hash) -> bool,
    ) -> Vec<(DeviceId, u32)> {
        let mut stopped = Vec::new();
        for ((_, from), left) in self.0.iter_mut().filter(|((of, _), _)| of == session) {
            for (req, request) in left.requests.iter_mut().filter(|(_, request)| !request.stopped) {
                request.stopped = !wants(from, &request.asked.blob());
                stopped.extend(request.stopped.then_some((*from, *req)));
            }
        }
        stopped
    }

    /// What they are to a fetch of a session from a device.
    pub(super) fn outside(&self, session: &SessionId, from: &DeviceId) -> Outside {
        let mut outside = Outside::default();
        for ((_, of), left) in self.0.iter().filter(|((of, _), _)| of == session) {
            for request in left.requests.values() {
                let long = request.asked.long;
                if of == from && !request.stopped {
                    outside.kept.insert(request.asked.blob(), long);
                } else {
                    outside.others += usize::from(of == from);
                    outside.long += usize::from(long);
                }
            }
        }
        outside
    }

    /// A stream begins that answers one of these: the session, and what of it is taken in. One that was stopped has ended
    /// by being refused.
    pub(super) fn begins(
        &mut self,
        rules: Rules,
        from: DeviceId,
        header: &Bytes,
    ) -> Option<(SessionId, Result<Incoming, Violation>)> {
        let (session, req) = (self.session_of(&from, header.req)?, header.req);
        let request = self.0.get_mut(&(session, from))?.requests.get_mut(&req)?;
        if request.asked.blob() != header.blob {
            return None;
        }
        if request.stopped {
            self.count(session, from, req, 0);
            return Some((session, Err(Violation::new(Code::WIRE_STATE, Clause::TRANSFER_BYTES_1))));
        }
        let Asked { plan, ranges, .. } = &request.asked;
        let plan = plan.clone();
        let accepted = plan.accepts(rules, ranges, header.offset, header.len);
        request.asked.open += usize::from(accepted.is_ok());
        Some((session, accepted.map(|(first, count)| Incoming { session, req, plan, first, count })))
    }

    /// A stream that answers one of these ended. The session, if so.
    pub(super) fn ended(&mut self, from: DeviceId, req: u32) -> Option<SessionId> {
        let session = self.session_of(&from, req)?;
        self.count(session, from, req, 1);
        Some(session)
    }

    /// One of the streams that answer a request is over, which was under way or not.
    fn count(&mut self, session: SessionId, from: DeviceId, req: u32, open: usize) {
        let left = self.0.get_mut(&(session, from));
        let Some(request) = left.and_then(|left| left.requests.get_mut(&req)) else { return };
        request.asked.left = request.asked.left.saturating_sub(1);
        request.asked.open = request.asked.open.saturating_sub(open);
        if request.asked.left == 0 {
            self.answered(from, req);
        }
    }

    /// One of these is answered by an ERROR. The session, if so.
    pub(super) fn answered(&mut self, from: DeviceId, req: u32) -> Option<SessionId> {
        let session = self.session_of(&from, req)?;
        let left = self.0.get_mut(&(session, from))?;
        left.requests.remove(&req);
        if left.requests.is_empty() {
            self.0.remove(&(session, from));
        }
        Some(session)
    }

    /// Whether one of these is outstanding.
    fn has(&self, from: &DeviceId, req: u32) -> bool {
        self.session_of(from, req).is_some()
    }

    fn session_of(&self, from: &DeviceId, req: u32) -> Option<SessionId> {
        let mut found = self.0.iter().filter(|((_, of), left)| of == from && left.requests.contains_key(&req));
        found.next().map(|((session, _), _)| *session)
    }

    /// The devices of which an answer is under way.
    pub(super) fn answering(&self) -> impl Iterator<Item = DeviceId> {
        let open = |left: &Left| left.requests.values().any(|request| request.asked.open > 0);
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
    pub(super) fn give_up(&mut self, session: SessionId, from: DeviceId) {
        self.0.remove(&(session, from));
    }

    /// The link with a device is gone, and what was asked on it. The sessions that asked.
    pub(super) fn link_down(&mut self, peer: DeviceId) -> Vec<SessionId> {
        self.0.extract_if(.., |(_, from), _| *from == peer).map(|((session, _), _)| session).collect()
    }
}
