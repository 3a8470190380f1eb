//! What is taken of content: pieces in their order, put together to chunks, which are verified before they are used.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{ContentId, ContentWrite};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::Entry;
use crate::endpoint::Endpoint;
use crate::endpoint::mailbox::Ask;
use crate::event::Event;
use crate::limits::{MAX_ENVELOPE, MAX_MAILED, MAX_TAKEN, TAKEN_WINDOW};
use crate::seal;
use crate::transfer::{BulkEnd, Fetch, Plan, Verified};
use crate::wire::codec::{Blob, decode};
use crate::wire::{BoxId, DeviceId, Hash, KeyId, Piece, SessionId};
use crate::{Code, Violation};

/// What is taken of content from a mailbox while it is linked.
#[derive(Debug, Default)]
pub(in crate::endpoint::mailbox) struct Taking {
    /// By session and content.
    gets: BTreeMap<(SessionId, Hash), Get>,
    /// What can't be had here: not tried again while the link lasts.
    failed: Vec<(SessionId, Hash)>,
    /// Bytes that wait to be stored.
    waiting: usize,
    /// By session: what came since something was lacking, and all of that, in bytes.
    came: BTreeMap<SessionId, (u64, u64)>,
}

#[derive(Debug)]
struct Get {
    fetch: Fetch,
    stream: Option<Stream>,
}

/// The box from which something is being taken: the chunk list, and then the content.
#[derive(Debug)]
struct Stream {
    plan: Arc<Plan>,
    of: BoxId,
    key: KeyId,
    /// The boxes to look at if it isn't here, by their keys.
    others: Vec<(KeyId, BoxId)>,
    /// The offset of the last envelope that was looked at.
    at: u64,
    /// Where the next piece starts.
    next: u64,
    /// The chunk that is being put together, and what there is of it.
    chunk: u32,
    buffer: Vec<u8>,
    /// The chunks that wait to be stored.
    writing: usize,
}

impl Taking {
    /// The boxes of content that are looked at.
    pub(in crate::endpoint::mailbox) fn boxes(&self) -> impl Iterator<Item = (BoxId, (SessionId, Hash))> + '_ {
        self.gets.iter().filter_map(|(id, get)| Some((get.stream.as_ref()?.of, *id)))
    }

    /// Whether nothing is being searched for or stored.
    pub(in crate::endpoint::mailbox) fn is_quiet(&self) -> bool {
        self.waiting == 0 && self.gets.values().all(|get| get.stream.is_some())
    }

    /// The offset up to which a box was looked at; none if it isn't one of content.
    pub(in crate::endpoint::mailbox) fn at(&self, of: &BoxId) -> Option<u64> {
        let mut streams = self.gets.values().filter_map(|get| get.stream.as_ref());
        streams.find(|stream| stream.of == *of).map(|stream| stream.at)
    }

    /// A box of content is looked at from its beginning.
    pub(in crate::endpoint::mailbox) fn restart(&mut self, id: &(SessionId, Hash)) {
        if let Some(stream) = self.stream(id) {
            (stream.at, stream.next, stream.chunk) = (0, 0, 0);
            stream.buffer.clear();
        }
    }

    /// This is lacking, and may be here.
    fn lacks(&mut self, lacking: BTreeMap<SessionId, u64>) {
        self.came.retain(|session, _| lacking.contains_key(session));
        for (session, bytes) in lacking {
            let (came, all) = self.came.entry(session).or_default();
            *all = came.saturating_add(bytes);
        }
    }

    /// How much is here of what was lacking of a session, and of how much, in bytes.
    fn progress(&self, session: &SessionId) -> (u64, u64) {
        let (came, all) = self.came.get(session).copied().unwrap_or_default();
        let gets = self.gets.range((*session, Hash::ZERO)..).take_while(|((of, _), _)| of == session);
        let done = gets.fold(came, |done, (_, get)| done.saturating_add(get.fetch.progress().0));
        (done.min(all), all)
    }

    fn stream(&mut self, id: &(SessionId, Hash)) -> Option<&mut Stream> {
        self.gets.get_mut(id)?.stream.as_mut()
    }
}

impl Endpoint {
    /// The next chunk to be stored that a mailbox brought.
    pub fn poll_content_write(&mut self) -> Option<ContentWrite> {
        self.mailboxes.works.writes.pop_front()
    }

    /// A chunk of [`Endpoint::poll_content_write`] is written, though perhaps not yet durable; false if it doesn't count.
    pub fn handle_content_written(&mut self, now: Instant, id: ContentId, stored: bool) {
        let Some((service, get, chunk)) = self.mailboxes.works.writing.remove(&id) else { return };
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            let waiting = &mut mailbox.taking.waiting;
            *waiting = waiting.saturating_sub(chunk.len() as usize);
            if let Some(stream) = mailbox.taking.stream(&get) {
                stream.writing = stream.writing.saturating_sub(1);
            }
        }
        if stored {
            self.handle_chunk(now, chunk);
        }
        self.go_on(now, service, get);
    }

    /// A verified chunk, from wherever it came.
    pub(in crate::endpoint) fn mailed_chunk(&mut self, now: Instant, chunk: &Verified) {
        let mut over = Vec::new();
        for (service, mailbox) in &mut self.mailboxes.used {
            let before: Vec<_> = mailbox.taking.came.keys().map(|id| (*id, mailbox.taking.progress(id))).collect();
            let taken = mailbox.taking.gets.iter_mut().map(|(id, get)| (*id, get.fetch.on_chunk(chunk).is_err(), get));
            // A chunk list that can't be used ends the try.
            let failed: Vec<_> = taken.filter(|(_, failed, get)| *failed || get.fetch.is_complete()).collect();
            over.extend(failed.into_iter().map(|(id, failed, _)| (*service, id, failed)));
            for (session, before) in before {
                let now @ (done, total) = mailbox.taking.progress(&session);
                // A fetch over a link tells of more.
                if now != before && !self.bulk.fetches(&session) {
                    self.out.event(Event::Progress { session, done, total });
                }
            }
        }
        for (service, id, failed) in over {
            match failed {
                true => self.give_up(now, service, id),
                false => self.got(now, service, id),
            }
        }
    }

    /// A content can't be had from a mailbox.
    fn give_up(&mut self, now: Instant, service: DeviceId, id: (SessionId, Hash)) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        if let Some(stream) = mailbox.taking.gets.remove(&id).and_then(|get| get.stream) {
            mailbox.boxes.remove(&stream.of);
        }
        mailbox.taking.failed.push(id);
        self.pump_mailbox(now, service);
    }

    /// The local search for a plan is over.
    pub(in crate::endpoint) fn mailed_searched(&mut self, now: Instant, session: SessionId, blob: Hash) {
        let mut found = Vec::new();
        for (service, mailbox) in &mut self.mailboxes.used {
            for (id, get) in mailbox.taking.gets.iter_mut().filter(|((of, _), _)| *of == session) {
                get.fetch.on_searched(blob);
                found.push((*service, *id));
            }
        }
        found.into_iter().for_each(|(service, id)| self.pump_get(now, service, id));
    }

    /// Looks for the content that this device lacks (SERVICE-CONTENT-2).
    pub(in crate::endpoint::mailbox) fn pump_gets(&mut self, now: Instant, service: DeviceId) {
        let rules = self.config.rules;
        if !rules.keeps(Clause::SERVICE_CONTENT_2) {
            return;
        }
        let mut wanted: Vec<((SessionId, Hash), Entry)> = Vec::new();
        for (id, session) in self.sessions.iter().filter(|(_, session)| session.is_kept()) {
            if self.mailboxes.book.keys.contains_key(id) {
                let entries = session.holdings.wanted(rules).filter(|entry| entry.len <= MAX_MAILED);
                wanted.extend(entries.map(|entry| ((*id, entry.blob), entry)));
            }
        }
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let taking = &mut mailbox.taking;
        let (mut new, mut lacking) = (Vec::new(), BTreeMap::<_, u64>::new());
        for ((session, _), entry) in wanted.iter().filter(|(id, _)| !taking.failed.contains(id)) {
            let bytes = lacking.entry(*session).or_default();
            *bytes = bytes.saturating_add(entry.len);
        }
        taking.lacks(lacking);
        for (id, entry) in wanted {
            if taking.gets.len() < MAX_TAKEN && !taking.gets.contains_key(&id) && !taking.failed.contains(&id) {
                let fetch = Fetch::contents(rules, id.0, [entry]);
                taking.gets.insert(id, Get { fetch, stream: None });
                mailbox.told = false;
                new.push(id);
            }
        }
        new.into_iter().for_each(|id| self.pump_get(now, service, id));
    }

    /// Content that isn't wanted any more is looked for no more (HO-PICK-2).
    pub(in crate::endpoint) fn leave_contents(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let wanted: BTreeSet<_> = session.holdings.wanted(self.config.rules).map(|entry| entry.blob).collect();
        for mailbox in self.mailboxes.used.values_mut() {
            let left = mailbox.taking.gets.extract_if(.., |(of, blob), _| *of == id && !wanted.contains(blob));
            for stream in left.filter_map(|(_, get)| get.stream) {
                mailbox.boxes.remove(&stream.of);
            }
        }
    }

    /// Searches, asks, and ends what is complete.
    fn pump_get(&mut self, now: Instant, service: DeviceId, id: (SessionId, Hash)) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let Some(get) = mailbox.taking.gets.get_mut(&id) else { return };
        while let Some(plan) = get.fetch.next_search() {
            self.out.searches.push_back(crate::endpoint::Search { session: id.0, plan, old: Vec::new() });
        }
        if get.fetch.is_complete() {
            return self.got(now, service, id);
        }
        if get.stream.is_some() {
            return;
        }
        let Some(wanted) = get.fetch.next_request(false) else { return };
        let Ok((plan, ..)) = get.fetch.accepts(wanted.blob, 0, wanted.len) else { return };
        let keys = self.mailboxes.book.keys.get(&id.0).into_iter().flatten();
        let mut others: Vec<_> =
            keys.map(|(key, held)| (held.epoch, *key, held.key.blob_box(&id.0, &wanted.blob))).collect();
        others.sort_unstable();
        let mut others: Vec<_> = others.into_iter().map(|(_, key, of)| (key, of)).collect();
        let Some((key, of)) = others.pop() else { return };
        if !others.is_empty() {
            // That of the newest key comes last again, and is watched.
            others.insert(0, (key, of));
        }
        let stream = Stream { plan, of, key, others, at: 0, next: 0, chunk: 0, buffer: Vec::new(), writing: 0 };
        get.stream = Some(stream);
        self.fetch(now, service, of);
    }

    /// All of a content is here: once it is durable, nothing is missing of it.
    fn got(&mut self, now: Instant, service: DeviceId, id: (SessionId, Hash)) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let Some(get) = mailbox.taking.gets.remove(&id) else { return };
        if let Some((came, _)) = mailbox.taking.came.get_mut(&id.0) {
            *came = came.saturating_add(get.fetch.progress().0);
        }
        if let Some(stream) = get.stream {
            mailbox.boxes.remove(&stream.of);
            // What was taken from there needn't be put there.
            let write = (stream.next == stream.plan.len()).then(|| self.mailboxes.book.keep_shared(service, stream.of));
            self.commit(write.into_iter().collect(), false);
        }
        self.finish_contents(now, id.0, get.fetch.got());
        self.pump_mailbox(now, service);
    }

    /// Envelopes of a box of content, in order.
    pub(in crate::endpoint::mailbox) fn take_pieces(
        &mut self,
        now: Instant,
        service: DeviceId,
        id: (SessionId, Hash),
        upto: u64,
        envelopes: Vec<Blob<MAX_ENVELOPE>>,
    ) {
        for envelope in envelopes {
            if let Err(violation) = self.take_piece(service, id, &envelope) {
                self.out.event(Event::Violation { peer: service, session: Some(id.0), violation });
            }
        }
        let stream = self.mailboxes.used.get_mut(&service).and_then(|mailbox| mailbox.taking.stream(&id));
        if let Some(stream) = stream {
            stream.at = upto;
            self.go_on(now, service, id);
        }
    }

    fn take_piece(&mut self, service: DeviceId, id: (SessionId, Hash), envelope: &[u8]) -> Result<(), Violation> {
        let rules = self.config.rules;
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return Ok(()) };
        let Some(stream) = mailbox.taking.gets.get_mut(&id).and_then(|get| get.stream.as_mut()) else { return Ok(()) };
        let keys = self.mailboxes.book.keys.get(&id.0);
        let Some(held) = keys.and_then(|keys| keys.get(&stream.key)) else { return Ok(()) };
        let Piece { offset, bytes } = decode(rules, &seal::open_piece(rules, &held.key, &stream.of, envelope)?)?;
        if offset < stream.next {
            // Two devices put it, each cut it otherwise: what is here is here.
            return Ok(());
        }
        let next = offset == stream.next && stream.next.saturating_add(bytes.len() as u64) <= stream.plan.len();
        rules.ensure(Clause::SERVICE_CONTENT_3, next, Code::SERVICE_ENVELOPE)?;
        stream.next = stream.next.saturating_add(bytes.len() as u64);
        stream.buffer.extend_from_slice(&bytes);
        while let Some(chunk) = stream.plan.chunk(stream.chunk).filter(|it| it.len as usize <= stream.buffer.len()) {
            let rest = stream.buffer.split_off(chunk.len as usize);
            let bytes = core::mem::replace(&mut stream.buffer, rest);
            let index = stream.chunk;
            stream.chunk = stream.chunk.saturating_add(1);
            let chunk = stream.plan.verify_chunk(rules, index, &bytes)?;
            stream.writing += 1;
            mailbox.taking.waiting += bytes.len();
            let works = &mut self.mailboxes.works;
            let work = works.next();
            let plan = stream.plan.clone();
            works.writes.push_back(ContentWrite { id: work, session: id.0, plan, chunk: chunk.clone(), bytes });
            works.writing.insert(work, (service, id, chunk));
        }
        Ok(())
    }

    /// Asks for what follows in a box of content, or ends with it.
    fn go_on(&mut self, now: Instant, service: DeviceId, id: (SessionId, Hash)) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let room = mailbox.taking.waiting < TAKEN_WINDOW;
        let Some(stream) = mailbox.taking.stream(&id) else { return self.pump_get(now, service, id) };
        let (of, whole, blob) = (stream.of, stream.next == stream.plan.len(), stream.plan.blob());
        if !whole {
            let idle = mailbox.boxes.get(&of) == Some(&false) && !mailbox.asks.values().any(|ask| ask.is_of(&of));
            if room && idle {
                self.ask(now, service, Ask::Fetch(of));
            }
            return;
        }
        if stream.writing > 0 {
            return;
        }
        mailbox.boxes.remove(&of);
        let Some(get) = mailbox.taking.gets.get_mut(&id) else { return };
        get.stream = None;
        let _ = get.fetch.on_end(blob, BulkEnd::Lost);
        // Asked for again: what came wasn't it.
        if get.fetch.wants(&blob) {
            return self.give_up(now, service, id);
        }
        // What was taken from there needn't be put there.
        let write = self.mailboxes.book.keep_shared(service, of);
        self.commit(alloc::vec![write], false);
        self.pump_get(now, service, id);
    }

    /// All of a box was looked at, and the content isn't whole: it may be in another, or come later; true if another box
    /// is looked at.
    pub(in crate::endpoint::mailbox) fn look_elsewhere(
        &mut self,
        now: Instant,
        service: DeviceId,
        id: (SessionId, Hash),
    ) -> bool {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return false };
        let Some(stream) = mailbox.taking.stream(&id) else { return false };
        let before = stream.of;
        let Some((key, of)) = stream.others.pop() else { return false };
        (stream.key, stream.of, stream.at, stream.next, stream.chunk) = (key, of, 0, 0, 0);
        stream.buffer.clear();
        mailbox.boxes.remove(&before);
        self.fetch(now, service, of);
        true
    }
}
