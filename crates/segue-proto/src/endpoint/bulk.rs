//! Bulk: what is fetched. The bytes themselves pass by; their plans, their verification and the count of what is missing
//! are here.

mod leaving;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Endpoint;
use super::session_data::SessionData;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::{Entry, Pick};
use crate::errors::UsageError;
use crate::event::{Event, LinkId};
use crate::generations::Generation;
use crate::handoff::Holdings;
use crate::journal::Lsn;
use crate::limits::{ANSWER_TIMEOUT, MAX_FIRST};
use crate::transfer::{BulkEnd, Fetch, Path, Plan, Verified, Wanted};
use crate::wire::{Announced, Bytes, DeviceId, Exts, Get, Hash, List, Message, Range, Ranges, SessionId};
use crate::{Code, Violation};
use leaving::Leaving;

/// Asks which chunks of a plan this device holds already: report each that verifies, then
/// [`Endpoint::handle_searched`].
#[derive(Clone, Debug)]
pub struct Search {
    /// The session.
    pub session: SessionId,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Other content that this device holds and whose place the plan's takes: chunks that both have, as
    /// [`Plan::shared`] tells, are read there, verified, and stored as the plan's (TRANSFER-REUSE-1).
    pub old: Vec<Entry>,
}

/// A bulk stream that was asked for.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The session.
    pub session: SessionId,
    /// The request that it answers.
    pub req: u32,
    /// The plan of its blob.
    pub plan: Arc<Plan>,
    /// The chunk that it starts with.
    pub first: u32,
    /// How many chunks it brings.
    pub count: u32,
}

/// A request whose answer isn't wanted any more: those of its streams that are being read are to be stopped, and reported as
/// [`Endpoint::handle_bulk_end`] wants it. Those that begin later are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwanted {
    /// The link.
    pub link: LinkId,
    /// The request.
    pub req: u32,
}

#[derive(Debug, Default)]
pub(super) struct Bulk {
    downloads: BTreeMap<SessionId, Download>,
    leaving: Leaving,
    /// The paths whose content the user wants first.
    first: BTreeMap<SessionId, BTreeSet<Path>>,
}

#[derive(Debug)]
struct Download {
    from: DeviceId,
    /// What was announced; none if the content of what sync brought is fetched, for no handoff.
    data: Option<Announced>,
    /// What of its content is got.
    pick: Pick,
    /// What a handoff needs from the same device once this content is here, so that nothing is asked for twice.
    next: Option<(Announced, Pick)>,
    fetch: Fetch,
    asked: BTreeMap<u32, Asked>,
    /// When something was asked last, or an answer on the link began or ended.
    moved: Instant,
    /// It is for standing by, and not for a wish.
    standby: bool,
    /// Nobody wants it at present. What is on its way is still taken in, for another offer of the same data.
    idle: bool,
}

#[derive(Debug)]
struct Asked {
    plan: Arc<Plan>,
    /// What of its blob was asked for.
    ranges: Vec<Range>,
    /// It is long content, or the chunk list of such.
    long: bool,
    /// Streams that haven't ended yet.
    left: usize,
    /// Streams that are under way.
    open: usize,
    end: BulkEnd,
    /// The peer had too many: it is asked for again when another has ended.
    put_off: bool,
}

impl Asked {
    fn new(wanted: &Wanted) -> Asked {
        let whole = || Vec::from([Range { offset: 0, len: wanted.len }]);
        let ranges = if wanted.ranges.is_empty() { whole() } else { wanted.ranges.clone() };
        let (plan, long, left) = (wanted.plan.clone(), wanted.long, ranges.len());
        Asked { plan, ranges, long, left, open: 0, end: BulkEnd::Finished, put_off: false }
    }

    fn blob(&self) -> Hash {
        self.plan.blob()
    }
}

impl Bulk {
    /// The data of a session isn't wanted any more.
    pub(super) fn stop(&mut self, session: &SessionId) {
        let Some(download) = self.downloads.get_mut(session) else { return };
        download.next = None;
        if download.data.is_none() {
            return;
        }
        download.idle = true;
        if download.asked.is_empty() {
            self.downloads.remove(session);
        }
    }

    /// Ends what is fetched of a session. What was asked for is outstanding still.
    fn remove(&mut self, session: &SessionId) -> Option<Download> {
        let mut download = self.downloads.remove(session)?;
        let asked = core::mem::take(&mut download.asked);
        self.leaving.add(*session, &download, asked);
        Some(download)
    }

    /// Begins to fetch this, in the place of what was fetched of the session.
    fn insert(&mut self, session: SessionId, download: Download) {
        self.remove(&session);
        self.downloads.insert(session, download);
    }

    /// The sessions and devices whose requests wait while no answer of the same device is under way: until when they do.
    fn unanswered(&self) -> impl Iterator<Item = ((SessionId, DeviceId), Instant)> {
        let answering = self.downloads.values().filter(|d| d.is_answered()).map(|d| d.from);
        let answering: BTreeSet<_> = answering.chain(self.leaving.answering()).collect();
        let waiting = self.downloads.iter().filter(|(_, download)| !download.asked.is_empty());
        let waiting = waiting.map(|(session, download)| ((*session, download.from), download.moved));
        waiting
            .chain(self.leaving.waiting())
            .filter(move |((_, from), _)| !answering.contains(from))
            .map(|(of, moved)| (of, moved.after(ANSWER_TIMEOUT)))
    }

    /// Whether something of a session is fetched over a link.
    pub(super) fn fetches(&self, session: &SessionId) -> bool {
        self.downloads.contains_key(session)
    }

    fn first_of(&self, session: &SessionId) -> BTreeSet<Path> {
        self.first.get(session).cloned().unwrap_or_default()
    }

    /// An answer of this device began or ended.
    fn note_answer(&mut self, now: Instant, from: DeviceId) {
        self.downloads.values_mut().filter(|download| download.from == from).for_each(|download| download.moved = now);
        self.leaving.note_answer(now, from);
    }
}

/// Inputs.
impl Endpoint {
    /// A bulk stream begins. What the header claims is checked against what was asked for on this link.
    ///
    /// Errors: TRANSFER-BYTES-1, -2: stop the stream; the link goes on.
    pub fn handle_bulk(&mut self, now: Instant, link: LinkId, header: &Bytes) -> Result<Incoming, Violation> {
        let unknown = Violation::new(Code::WIRE_STATE, Clause::TRANSFER_BYTES_1);
        let peer = self.links.get(&link).and_then(|link| link.ready()).map(|ready| ready.peer).ok_or(unknown)?;
        let strict = self.config.rules.keeps(Clause::TRANSFER_BYTES_1);
        let asked = |download: &Download| {
            let named = download.asked.get(&header.req).is_some_and(|asked| asked.blob() == header.blob);
            download.from == peer && (named || !strict)
        };
        let mut found = self.bulk.downloads.iter_mut().map(|(id, download)| (*id, download));
        let Some((session, download)) = found.find(|(_, download)| asked(download)) else {
            return self.leaving_begins(now, peer, header).unwrap_or(Err(unknown));
        };
        let (plan, first, count) = download.fetch.accepts(header.blob, header.offset, header.len)?;
        download.asked.get_mut(&header.req).into_iter().for_each(|asked| asked.open += 1);
        self.bulk.note_answer(now, peer);
        Ok(Incoming { session, req: header.req, plan, first, count })
    }

    /// A chunk is verified and written, though perhaps not yet durable.
    pub fn handle_chunk(&mut self, now: Instant, chunk: Verified) {
        let mut done = Vec::new();
        for (session, download) in &mut self.bulk.downloads {
            let before = download.fetch.progress();
            let outcome = download.fetch.on_chunk(&chunk);
            let (held, total) = download.fetch.progress();
            if (held, total) != before {
                self.out.event(Event::Progress { session: *session, done: held, total });
            }
            done.push((*session, outcome));
        }
        for (session, outcome) in done {
            self.after_fetch(now, session, outcome);
        }
        self.mailed_chunk(now, &chunk);
    }

    /// A bulk stream ended.
    pub fn handle_bulk_end(&mut self, now: Instant, link: LinkId, req: u32, end: BulkEnd) {
        let Some(peer) = self.links.get(&link).and_then(|link| link.ready()).map(|ready| ready.peer) else { return };
        let found = self.bulk.downloads.iter_mut().find(|(_, d)| d.from == peer && d.asked.contains_key(&req));
        let Some((session, download)) = found else {
            return self.leaving_ended(now, peer, req);
        };
        let session = *session;
        let outcome = download.stream_ended(req, end);
        let over = !download.asked.contains_key(&req);
        self.bulk.note_answer(now, peer);
        self.after_fetch(now, session, outcome);
        if over {
            self.resume_others(now, session, peer);
        }
    }

    /// Content that the session's data names isn't here any more: nothing is said to be held that names it, and it is
    /// fetched again from a device that has it.
    ///
    /// What the data names, and was said to be here once, is taken to be here until then: it isn't searched for. So who
    /// keeps content where users change it looks again before a handoff to this device (TRANSFER-HAVE-1).
    pub fn handle_lost(&mut self, now: Instant, session: SessionId, blob: Hash) {
        self.step(now, session, |session, ctx| ctx.fx.writes.extend(session.holdings.lost(&blob)));
        self.mail_lack(now, session);
        self.retry_later(now);
    }

    /// The local search for a plan is over.
    pub fn handle_searched(&mut self, now: Instant, session: SessionId, blob: Hash) {
        if let Some(download) = self.bulk.downloads.get_mut(&session) {
            download.fetch.on_searched(blob);
            self.pump(now, session);
        }
        self.mailed_searched(now, session, blob);
    }
}

/// Commands.
impl Endpoint {
    /// From now on what lies at these paths of a session is fetched before everything else that isn't asked for yet
    /// (TRANSFER-ORDER-1). It replaces what was said before; an empty list ends it, and so does a restart.
    ///
    /// Errors: [`UsageError::UnknownSession`]; [`UsageError::BadPart`] for a path longer than MAX_PATH, or more than
    /// MAX_FIRST of them.
    pub fn fetch_first(&mut self, session: SessionId, paths: &[&str]) -> Result<(), UsageError> {
        if !self.sessions.contains_key(&session) {
            return Err(UsageError::UnknownSession);
        }
        let paths: Option<BTreeSet<Path>> = paths.iter().map(|path| Path::new(*path)).collect();
        let paths = paths.filter(|paths| paths.len() <= MAX_FIRST).ok_or(UsageError::BadPart)?;
        if let Some(download) = self.bulk.downloads.get_mut(&session) {
            download.fetch.want_first(paths.clone());
        }
        self.bulk.first.insert(session, paths);
        self.bulk.first.retain(|_, paths| !paths.is_empty());
        Ok(())
    }
}

/// Steps.
impl Endpoint {
    pub(super) fn start_fetch(
        &mut self,
        now: Instant,
        session: SessionId,
        from: DeviceId,
        data: Announced,
        pick: Pick,
    ) {
        let running = self.bulk.downloads.get_mut(&session);
        let same = |running: &Download| running.data.as_ref() == Some(&data) && running.pick == pick;
        if let Some(running) = running.filter(|running| running.from == from && same(running)) {
            (running.idle, running.standby) = (false, false);
        } else if let Some(content) =
            self.bulk.downloads.get_mut(&session).filter(|running| running.from == from && running.data.is_none())
        {
            content.next = Some((data, pick));
        } else {
            match self.open_fetch(now, session, from, data, pick) {
                Ok(download) => self.bulk.insert(session, download),
                Err(why) => return self.fail_fetch(now, session, why.code),
            }
        }
        self.pump(now, session);
    }

    fn open_fetch(
        &self,
        now: Instant,
        session: SessionId,
        from: DeviceId,
        data: Announced,
        pick: Pick,
    ) -> Result<Download, Violation> {
        let mut fetch = Fetch::new(self.config.rules, session, data.clone(), pick.clone())?;
        fetch.want_first(self.bulk.first_of(&session));
        let known = self.sessions.get(&session).map(|session| session.holdings.held_blobs());
        fetch.hold(known.into_iter().flatten().map(|(blob, _)| blob));
        Ok(Download { pick, ..Download::new(now, from, Some(data), fetch) })
    }

    /// Gets what an owner announced to stand by, and of its content what is picked, or else what the owner holds; unless
    /// something is being fetched already.
    pub(super) fn fetch_standing_by(
        &mut self,
        now: Instant,
        session: SessionId,
        from: DeviceId,
        data: Announced,
        holds: Pick,
    ) {
        if self.bulk.downloads.contains_key(&session) {
            return;
        }
        let own = self.sessions.get(&session).map(|session| session.holdings.picked().clone());
        let pick = own.filter(|own| !own.is_all()).unwrap_or_else(|| holds.clone());
        let manifest = data.manifest;
        if let Ok(download) = self.open_fetch(now, session, from, data, pick) {
            self.standby_tries(session, manifest, holds);
            self.bulk.insert(session, Download { standby: true, ..download });
            self.pump(now, session);
        }
    }

    /// What is fetched to stand by isn't wanted any more.
    pub(super) fn stop_standing_by(&mut self, session: &SessionId) {
        if self.bulk.downloads.get(session).is_some_and(|download| download.standby) {
            self.bulk.remove(session);
            self.stop_answers(session);
        }
    }

    /// Gets the content of what sync brought, from a device that told of it, unless something else is being fetched.
    pub(super) fn fetch_missing(&mut self, now: Instant, session: SessionId, from: DeviceId) {
        let Some(data) = self.sessions.get(&session).map(|session| &session.holdings) else { return };
        let missing: Vec<_> = data.wanted(self.config.rules).collect();
        if missing.is_empty() {
            return;
        }
        // Whatever becomes of this try: until nothing is missing, another follows.
        self.retry_later(now);
        let rules = self.config.rules;
        if let Some(running) = self.bulk.downloads.get_mut(&session) {
            if running.from == from && running.data.is_none() && rules.keeps(Clause::TRANSFER_ORDER_2) {
                running.fetch.more(missing);
                self.pump(now, session);
            }
            return;
        }
        let mut fetch = Fetch::contents(rules, session, []);
        fetch.want_first(self.bulk.first_of(&session));
        fetch.more(missing);
        let download = Download::new(now, from, None, fetch);
        self.bulk.insert(session, download);
        self.pump(now, session);
    }

    /// Less is wanted than before: what isn't any more is asked for no more (HO-PICK-2), and the rest goes on. What of it is
    /// on its way is stopped.
    pub(super) fn stop_unwanted(&mut self, now: Instant, session: SessionId) {
        self.leave_contents(session);
        let Some(data) = self.sessions.get(&session).map(|session| &session.holdings) else { return };
        let wanted: BTreeSet<_> = data.wanted(self.config.rules).map(|entry| entry.blob).collect();
        let Some(running) = self.bulk.downloads.get_mut(&session).filter(|running| !running.idle) else { return };
        let sought = running.data.is_some() || running.next.is_some();
        let over = running.standby && running.pick != *data.picked();
        let (leaving, any) =
            if over || running.data.is_some() { Default::default() } else { running.keep_only(&wanted) };
        self.bulk.leaving.add(session, running, leaving);
        if over {
            self.bulk.remove(&session);
            self.stop_answers(&session);
        }
        if over || any {
            self.standby_tries_anew(session);
        }
        if sought && !over {
            self.step(now, session, |session, ctx| session.picks_anew(ctx));
        }
        if any {
            self.pump(now, session);
        }
    }

    /// The link with a device is gone: what was asked there is asked again later.
    pub(super) fn pause_fetches(&mut self, now: Instant, peer: DeviceId) {
        self.bulk.downloads.retain(|_, download| download.from != peer || !download.idle);
        let asked = self.bulk.leaving.link_down(peer);
        for download in self.bulk.downloads.values_mut().filter(|download| download.from == peer) {
            download.asked.clear();
            download.fetch.on_link_down();
        }
        // What is got elsewhere has more room.
        asked.into_iter().for_each(|session| self.pump(now, session));
    }

    pub(super) fn resume_fetches(&mut self, now: Instant, peer: DeviceId) {
        let waiting: Vec<_> =
            self.bulk.downloads.iter().filter(|(_, download)| download.from == peer).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|session| self.pump(now, session));
    }

    /// When what was asked for and isn't answered counts as lost.
    pub(super) fn next_unanswered(&self) -> Option<Instant> {
        let timed = self.config.rules.keeps(Clause::TRANSFER_ANSWER_1);
        self.bulk.unanswered().map(|(_, at)| at).min().filter(|_| timed)
    }

    /// Requests that nothing answered for too long count as lost, for a stream that breaks off before its BYTES doesn't
    /// say what it was to answer (TRANSFER-ANSWER-1).
    pub(super) fn time_fetches(&mut self, now: Instant) {
        if !self.config.rules.keeps(Clause::TRANSFER_ANSWER_1) {
            return;
        }
        let late: BTreeSet<_> = self.bulk.unanswered().filter(|(_, at)| *at <= now).map(|(of, _)| of).collect();
        for (session, from) in late {
            self.bulk.leaving.give_up(session, from);
            let download = self.bulk.downloads.get_mut(&session).filter(|download| download.from == from);
            let outcome = download.map_or(Ok(()), Download::give_up_asked);
            self.after_fetch(now, session, outcome);
        }
    }

    /// An error in answer to a request for bytes; false if there was none.
    pub(super) fn fetch_refused(&mut self, now: Instant, from: DeviceId, req: u32, code: Code) -> bool {
        let found = self.bulk.downloads.iter_mut().find(|(_, d)| d.from == from && d.asked.contains_key(&req));
        let Some((session, download)) = found else { return self.leaving_refused(now, from, req, code) };
        let session = *session;
        if code == Code::LIMIT_REQUESTS {
            // If none other is outstanding, time gives it up (TRANSFER-ANSWER-1).
            download.asked.entry(req).and_modify(|asked| asked.put_off = true);
            return true;
        }
        let asked = download.asked.remove(&req);
        if download.data.is_none() && code == Code::DATA_UNAVAILABLE {
            asked.into_iter().for_each(|asked| download.fetch.skip(asked.blob()));
            let outcome = download.resume_put_off();
            self.after_fetch(now, session, outcome);
            self.resume_others(now, session, from);
        } else if code == Code::DATA_UNAVAILABLE && !download.idle {
            self.bulk.remove(&session);
            self.step(now, session, |session, ctx| session.on_unavailable(ctx));
        } else {
            self.fail_fetch(now, session, code);
        }
        true
    }

    fn after_fetch(&mut self, now: Instant, session: SessionId, outcome: Result<(), Violation>) {
        match outcome {
            Ok(()) => self.pump(now, session),
            Err(why) => {
                let peer = self.bulk.downloads.get(&session).map(|download| download.from);
                if let Some(peer) = peer {
                    self.out.event(Event::Violation { peer, session: Some(session), violation: why });
                }
                self.fail_fetch(now, session, why.code);
            }
        }
    }

    fn fail_fetch(&mut self, now: Instant, session: SessionId, code: Code) {
        let wanted = |download: Download| {
            !download.idle && !download.standby && (download.data.is_some() || download.next.is_some())
        };
        let ended = self.bulk.remove(&session);
        self.stop_answers(&session);
        if ended.is_none_or(wanted) {
            self.step(now, session, |session, ctx| session.on_fetch_failed(ctx, code));
        }
    }

    /// Asks for whatever can be asked for now, and ends a fetch that is complete.
    fn pump(&mut self, now: Instant, session: SessionId) {
        self.stop_useless(&session);
        let Some(download) = self.bulk.downloads.get_mut(&session) else { return };
        if download.idle {
            return if download.asked.is_empty() {
                self.bulk.stop(&session)
            };
        }
        let generation = self.peers.get(&download.from).map(|peer| peer.generation);
        // Below that a blob comes whole or not at all.
        let reuse = generation.is_none_or(|generation| generation >= Generation::V2)
            && self.config.rules.keeps(Clause::TRANSFER_REUSE_1);
        let holdings = self.sessions.get(&session).map(|session| &session.holdings).filter(|_| reuse);
        download.fetch.leave_room(self.bulk.leaving.outside(&session, &download.from));
        while let Some(plan) = download.fetch.next_search() {
            let old = holdings.map(|holdings| download.old_of(holdings, &plan.blob())).unwrap_or_default();
            self.out.searches.push_back(Search { session, plan, old });
        }
        if download.fetch.is_complete() {
            return self.finish_fetch(now, session);
        }
        let Some(peer) = self.peers.get(&download.from) else { return };
        let resume = peer.generation >= Generation::V2 && self.config.rules.keeps(Clause::TRANSFER_RESUME_1);
        let (to, mut messages) = (download.from, Vec::new());
        while let Some(wanted) = download.fetch.next_request(resume) {
            if download.standby && !self.standbys.spend(self.config.rules, &session, wanted.bytes()) {
                // These don't leave.
                messages.iter().for_each(|(req, _)| drop(download.asked.remove(req)));
                return self.end_standby(session);
            }
            let req = self.fresh.request();
            download.asked.insert(req, Asked::new(&wanted));
            download.moved = now;
            messages.push((req, request(req, session, wanted)));
        }
        if !messages.is_empty() {
            self.bulk.leaving.note_request(now, session, to);
        }
        let short = if download.data.is_none() { download.fetch.take_short() } else { BTreeSet::new() };
        for (_, message) in messages {
            self.send(now, to, Lsn::default(), &message);
        }
        if !short.is_empty() {
            self.finish_contents(now, session, short);
        }
    }

    /// All is held: once it is durable, the session may say so (TRANSFER-HAVE-1).
    fn finish_fetch(&mut self, now: Instant, session: SessionId) {
        let Some(download) = self.bulk.remove(&session) else { return };
        let Some(Announced { manifest: hash, .. }) = download.data else {
            self.finish_contents(now, session, download.fetch.got());
            if let Some((data, pick)) = download.next {
                self.fetch_announced(now, session, download.from, data, pick);
            }
            return;
        };
        if download.standby {
            return self.standby_got(now, session, download.from);
        }
        let Some(manifest) = download.fetch.manifest().cloned() else { return };
        let held = self
            .sessions
            .get_mut(&session)
            .and_then(|session| session.holdings.await_ops(manifest, hash, download.pick));
        if let Some((manifest, hash, pick)) = held {
            self.stage(now, session, manifest, hash, pick);
        }
    }

    /// The content of what sync brought is here, as far as the peer had it.
    pub(super) fn finish_contents(&mut self, now: Instant, session: SessionId, got: BTreeSet<Hash>) {
        let rules = self.config.rules;
        self.step(now, session, |session, ctx| {
            let writes = session.holdings.got(&got);
            ctx.fx.after_chunks = !writes.is_empty() && rules.keeps(Clause::TRANSFER_HAVE_1);
            ctx.fx.writes.extend(writes);
            let root = session.holdings.state().map_or(Hash::ZERO, crate::data::State::root);
            ctx.event_when_durable(Event::Data { session: session.id(), root });
        });
        self.tell_whole(now, session);
    }

    /// Fetches what was announced while content was fetched, unless sync brought all of it.
    fn fetch_announced(&mut self, now: Instant, session: SessionId, from: DeviceId, data: Announced, pick: Pick) {
        let held = self.step(now, session, |session, ctx| {
            let held = session.holdings.holds(&data.manifest, &pick);
            if held {
                session.on_data(ctx, data.manifest, data.root);
            }
            held
        });
        if held != Some(true) {
            self.start_fetch(now, session, from, data, pick);
        }
    }

    /// A manifest and everything that it names is here.
    pub(super) fn stage(
        &mut self,
        now: Instant,
        session: SessionId,
        manifest: crate::data::Manifest,
        hash: Hash,
        pick: Pick,
    ) {
        let root = manifest.root();
        self.step(now, session, |session, ctx| {
            let writes = session.holdings.stage(manifest, hash, pick);
            ctx.fx.writes.extend(writes);
            ctx.fx.after_chunks = true;
            session.on_data(ctx, hash, root);
        });
        self.tell_whole(now, session);
    }
}

impl Download {
    fn new(moved: Instant, from: DeviceId, data: Option<Announced>, fetch: Fetch) -> Download {
        let (pick, asked) = (Pick::all(), BTreeMap::new());
        Download { from, data, pick, next: None, fetch, asked, moved, standby: false, idle: false }
    }

    /// What lay where this content belongs, as far as it is here and has a chunk list.
    fn old_of(&self, holdings: &SessionData, blob: &Hash) -> Vec<Entry> {
        self.fetch.path_of(blob).map(|path| holdings.listed_at(path)).unwrap_or_default()
    }

    fn is_answered(&self) -> bool {
        self.asked.values().any(|asked| asked.open > 0)
    }

    /// Gets no content any more that isn't among this: what was asked for of what is left out, and whether any is.
    fn keep_only(&mut self, wanted: &BTreeSet<Hash>) -> (BTreeMap<u32, Asked>, bool) {
        let (left, any) = self.fetch.keep_only(wanted);
        (self.asked.extract_if(.., |_, asked| left.contains(&asked.blob())).collect(), any)
    }

    /// All that was asked for can be asked for again.
    fn give_up_asked(&mut self) -> Result<(), Violation> {
        core::mem::take(&mut self.asked)
            .into_values()
            .try_for_each(|asked| self.fetch.on_end(asked.blob(), BulkEnd::Lost))
    }

    fn stream_ended(&mut self, req: u32, end: BulkEnd) -> Result<(), Violation> {
        let Some(asked) = self.asked.get_mut(&req) else { return Ok(()) };
        asked.left = asked.left.saturating_sub(1);
        asked.open = asked.open.saturating_sub(1);
        if end == BulkEnd::Corrupt || asked.end == BulkEnd::Finished {
            asked.end = end;
        }
        if asked.left > 0 {
            return Ok(());
        }
        let (blob, end) = (asked.blob(), asked.end);
        self.asked.remove(&req);
        self.fetch.on_end(blob, end)?;
        self.resume_put_off()
    }

    /// A request has ended, so there is room for those that were put off.
    fn resume_put_off(&mut self) -> Result<(), Violation> {
        let put_off: Vec<_> = self.asked.iter().filter(|(_, asked)| asked.put_off).map(|(req, _)| *req).collect();
        let asked = put_off.into_iter().filter_map(|req| self.asked.remove(&req));
        asked.map(|asked| asked.blob()).try_for_each(|blob| self.fetch.on_end(blob, BulkEnd::Lost))
    }
}

fn request(req: u32, session: SessionId, wanted: Wanted) -> Message {
    let Wanted { blob, len, ranges, .. } = wanted;
    match List::new(ranges) {
        Some(ranges) if !ranges.is_empty() => Ranges { req, session, blob, len, ranges, ext: Exts::empty() }.into(),
        _ => Get { req, session, blob, len, ext: Exts::empty() }.into(),
    }
}
