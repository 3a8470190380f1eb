//! What is put of content: each content that this device holds, one at a time, piece by piece.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::tally::Tally;
use super::{ContentId, ContentRead};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::Entry;
use crate::endpoint::Endpoint;
use crate::endpoint::mailbox::Ask;
use crate::event::Event;
use crate::journal::Lsn;
use crate::limits::{MAX_MAILED, PIECE};
use crate::seal::{self, ContentKey};
use crate::wire::codec::{Blob, encode};
use crate::wire::{BoxId, DeviceId, Envelopes, Exts, Fetch, Hash, Piece, Put, SessionId};

/// What a mailbox is given of content while it is linked.
#[derive(Debug, Default)]
pub(in crate::endpoint::mailbox) struct Giving {
    /// The sessions' content was looked through, and what is to be put is in the queue.
    swept: bool,
    queue: VecDeque<Gift>,
    now: Option<Gift>,
    step: Step,
    /// What was refused for want of room, or can't be read: not tried again while the link lasts.
    left: Vec<BoxId>,
    /// Something isn't put yet, for those who might need it are getting it over their links.
    waits: bool,
    /// What is being put goes on from where it is, once it isn't put off and the mailbox takes more.
    paused: bool,
    /// How much is put. Of what is being put see `step`.
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
struct Gift {
    session: SessionId,
    key: ContentKey,
    to: BoxId,
    blob: Hash,
    len: u64,
}

/// How far a content is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// This piece is read, to see whether it is there: pieces are put in their order, so all before it are there, too. The
    /// last one is looked for first.
    Look(u64),
    /// This piece is in the mailbox, if the answer holds the envelope.
    Probe(u64, Vec<u8>),
    /// Everything up to here is there.
    At(u64),
}

impl Default for Step {
    fn default() -> Step {
        Step::At(0)
    }
}

impl Gift {
    /// The number of the last piece; the first is 0.
    fn last(&self) -> u64 {
        self.len.saturating_sub(1) / PIECE as u64
    }

    fn seal(&self, rules: crate::Rules, offset: u64, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let piece = Piece { offset, bytes: Blob::new(bytes)? };
        Some(seal::seal_piece(rules, &self.key, &self.to, &encode(&piece)))
    }
}

impl Giving {
    pub(in crate::endpoint::mailbox) fn is_done(&self) -> bool {
        self.swept && self.queue.is_empty() && self.now.is_none() && !self.waits
    }

    /// What is held may be another: it is looked through again.
    pub(in crate::endpoint::mailbox) fn sweep(&mut self) {
        self.swept = false;
    }

    /// Whether something is put off.
    pub(super) fn waits(&self) -> bool {
        self.waits || self.paused
    }

    /// What is being put goes on later, or is left if there is no room for it; the session of what is left.
    pub(in crate::endpoint::mailbox) fn refused(&mut self, for_now: bool) -> Option<SessionId> {
        self.paused = for_now && self.now.is_some();
        if let Step::Probe(piece, _) = self.step {
            self.step = Step::Look(piece);
        }
        if for_now {
            return None;
        }
        let gift = self.now.take()?;
        self.left.push(gift.to);
        self.tally.drop(&gift.session, &gift.to);
        Some(gift.session)
    }

    /// How much of a session's content the mailbox has confirmed, and how much is to be there, if that is news.
    fn news(&mut self, session: &SessionId) -> Option<(u64, u64)> {
        let under_way = match (self.now, &self.step) {
            (Some(gift), Step::At(at)) if gift.session == *session => Some((gift.to, *at)),
            _ => None,
        };
        self.tally.news(session, under_way)
    }
}

impl Endpoint {
    /// The next slice of content to be read, to be put into a mailbox.
    pub fn poll_content_read(&mut self) -> Option<ContentRead> {
        self.mailboxes.works.reads.pop_front()
    }

    /// The files of a session whose content a mailbox isn't given, though this device holds it and it goes along: what is
    /// longer than MAX_MAILED, and what the mailbox had no room for.
    pub fn not_mailed(&self, service: &DeviceId, session: &SessionId) -> Vec<Entry> {
        let (Some(mailbox), Some(of)) = (self.mailboxes.used.get(service), self.sessions.get(session)) else {
            return Vec::new();
        };
        let Some(held) = self.best_key(session) else { return Vec::new() };
        let refused = |blob: &Hash| mailbox.giving.left.contains(&held.key.blob_box(session, blob));
        let left = |entry: &Entry| {
            let list = entry.chunks.get().is_some_and(|list| refused(&list.hash));
            entry.len > MAX_MAILED || list || refused(&entry.blob)
        };
        of.holdings.to_give().filter(left).collect()
    }

    /// What [`Endpoint::poll_content_read`] asked for; none if the content isn't there, or can't be read.
    pub fn handle_content_read(&mut self, now: Instant, id: ContentId, bytes: Option<Vec<u8>>) {
        let Some(service) = self.mailboxes.works.reading.remove(&id) else { return };
        if self.give_read(now, service, bytes).is_none()
            && let Some(mailbox) = self.mailboxes.used.get_mut(&service)
        {
            let left = mailbox.giving.refused(false);
            self.content_left(now, service, left);
        }
    }

    /// A content isn't put, which is one of this session: others are.
    pub(in crate::endpoint::mailbox) fn content_left(
        &mut self,
        now: Instant,
        service: DeviceId,
        session: Option<SessionId>,
    ) {
        session.into_iter().for_each(|session| self.tell_mailed(service, session));
        self.pump_mailbox(now, service);
    }

    /// Tells the application how much of a session's content is in a mailbox, if that is news.
    fn tell_mailed(&mut self, mailbox: DeviceId, session: SessionId) {
        let used = self.mailboxes.used.get_mut(&mailbox);
        if let Some((done, total)) = used.and_then(|it| it.giving.news(&session)) {
            self.out.event(Event::Mailed { session, mailbox, done, total });
        }
    }

    /// Goes on putting content (SERVICE-CONTENT-1).
    pub(in crate::endpoint::mailbox) fn pump_gifts(&mut self, now: Instant, service: DeviceId) {
        if !self.config.rules.keeps(Clause::SERVICE_CONTENT_1) {
            self.mailboxes.used.get_mut(&service).into_iter().for_each(|mailbox| mailbox.giving.swept = true);
            return;
        }
        self.sweep_gifts(service);
        self.resume_gift(now, service);
        let Some(mailbox) = self.mailboxes.used.get(&service) else { return };
        if mailbox.giving.now.is_some() || mailbox.is_full() || mailbox.rests.is_some() {
            return;
        }
        let Some(gift) = self.next_gift(now, service) else { return };
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        mailbox.giving.now = Some(gift);
        // A content of one piece is put at once: if it is there, it has an offset.
        mailbox.giving.step = if gift.last() == 0 { Step::At(0) } else { Step::Look(gift.last()) };
        mailbox.told = false;
        self.read_gift(service, gift);
    }

    /// The next content that isn't put off.
    fn next_gift(&mut self, now: Instant, service: DeviceId) -> Option<Gift> {
        loop {
            let gift = self.mailboxes.used.get_mut(&service)?.giving.queue.pop_front()?;
            if self.is_spare(&service, &gift.session, &gift.blob) {
                self.not_needed(service, gift);
                continue;
            }
            if !self.puts_off(now, &service, &gift.session) {
                return Some(gift);
            }
            self.mailboxes.used.get_mut(&service)?.giving.waits = true;
        }
    }

    /// Goes on with a content of which some pieces may be there, if it is put off no longer; or lets go of it.
    fn resume_gift(&mut self, now: Instant, service: DeviceId) {
        let Some(mailbox) = self.mailboxes.used.get(&service) else { return };
        let Some(gift) = mailbox.giving.now.filter(|_| mailbox.giving.paused) else { return };
        let busy = mailbox.is_full() || mailbox.rests.is_some();
        let (spare, off) =
            (self.is_spare(&service, &gift.session, &gift.blob), self.puts_off(now, &service, &gift.session));
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        if spare {
            (mailbox.giving.now, mailbox.giving.paused) = (None, false);
            self.not_needed(service, gift);
        } else if !off && !busy {
            mailbox.giving.paused = false;
            self.read_gift(service, gift);
        }
    }

    fn sweep_gifts(&mut self, service: DeviceId) {
        if self.mailboxes.used.get(&service).is_none_or(|mailbox| mailbox.giving.swept) {
            return;
        }
        let (mut queue, tally) = self.gifts(&service);
        let shared = &self.mailboxes.book.shared;
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let giving = &mut mailbox.giving;
        if giving.paused && giving.now.is_some_and(|gift| queue.iter().all(|wanted| wanted.to != gift.to)) {
            // Its key is another by now, or it is left behind.
            (giving.now, giving.paused) = (None, false);
        }
        let under_way = giving.now.map(|gift| gift.to);
        queue.retain(|gift| {
            !shared.contains(&(service, gift.to)) && !giving.left.contains(&gift.to) && under_way != Some(gift.to)
        });
        (giving.queue, giving.swept, giving.waits) = (queue, true, false);
        let fell = giving.tally.renew(tally);
        fell.into_iter().for_each(|session| self.tell_mailed(service, session));
    }

    /// All content that this device holds and that may go into a mailbox, each once, and how much of what is needed there is
    /// there.
    fn gifts(&self, service: &DeviceId) -> (VecDeque<Gift>, Tally) {
        let (mut queue, mut tally) = (VecDeque::new(), Tally::default());
        let Some(mailbox) = self.mailboxes.used.get(service) else { return (queue, tally) };
        for (id, session) in self.sessions.iter().filter(|(_, session)| session.is_kept()) {
            let Some(held) = self.best_key(id).filter(|held| self.is_good(held)) else { continue };
            let (spare, mut named) = (self.spares(service, id), BTreeSet::new());
            for entry in session.holdings.to_give().filter(|entry| entry.len <= MAX_MAILED) {
                let gift =
                    |blob, len| Gift { session: *id, key: held.key, to: held.key.blob_box(id, &blob), blob, len };
                let list = entry.chunks.get().map(|list| (list.hash, u64::from(list.len)));
                queue.extend(list.filter(|(list, _)| named.insert(*list)).map(|(blob, len)| gift(blob, len)));
                if named.insert(entry.blob) {
                    let gift = gift(entry.blob, entry.len);
                    let is_put = self.mailboxes.book.shared.contains(&(*service, gift.to));
                    if is_put || !spare(&gift.blob) && !mailbox.giving.left.contains(&gift.to) {
                        tally.count(*id, gift.to, gift.len, is_put);
                    }
                    queue.push_back(gift);
                }
            }
        }
        (queue, tally)
    }

    /// A content is put no more, for all have it that might need it.
    fn not_needed(&mut self, service: DeviceId, gift: Gift) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        mailbox.giving.tally.drop(&gift.session, &gift.to);
        self.tell_mailed(service, gift.session);
    }

    /// Asks for the piece that the next step needs.
    fn read_gift(&mut self, service: DeviceId, gift: Gift) {
        let offset = match self.mailboxes.used.get(&service).map(|mailbox| &mailbox.giving.step) {
            Some(Step::Look(piece) | Step::Probe(piece, _)) => piece * PIECE as u64,
            Some(Step::At(at)) => *at,
            None => return,
        };
        let Gift { session, blob, len, .. } = gift;
        let size = usize::try_from(len.saturating_sub(offset)).unwrap_or(PIECE).min(PIECE);
        let works = &mut self.mailboxes.works;
        let id = works.next();
        works.reads.push_back(ContentRead { id, session, blob, len, offset, size });
        works.reading.insert(id, service);
    }

    fn give_read(&mut self, now: Instant, service: DeviceId, bytes: Option<Vec<u8>>) -> Option<()> {
        let rules = self.config.rules;
        let mailbox = self.mailboxes.used.get_mut(&service)?;
        let gift = mailbox.giving.now?;
        let bytes = bytes?;
        let req = self.fresh.request();
        match mailbox.giving.step {
            Step::Look(after) => {
                mailbox.giving.step = Step::Probe(after, gift.seal(rules, after * PIECE as u64, bytes)?);
                mailbox.asks.insert(req, Ask::Probe(gift.to));
                self.send(now, service, self.durable, &Fetch { req, of: gift.to, after, ext: Exts::empty() }.into());
            }
            Step::At(at) => {
                let end = at.saturating_add(bytes.len() as u64);
                let envelope = Blob::new(gift.seal(rules, at, bytes)?)?;
                mailbox.asks.insert(req, Ask::Piece(gift.to, end));
                let put = Put { req, to: gift.to, envelope, ext: Exts::empty() };
                self.send(now, service, Lsn::default(), &put.into());
            }
            Step::Probe(..) => {}
        }
        Some(())
    }

    /// Whether the piece that was looked for is there. If the last one isn't, as many may be as the box holds envelopes.
    pub(in crate::endpoint::mailbox) fn probed(&mut self, now: Instant, service: DeviceId, message: &Envelopes) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let (Some(gift), Step::Probe(piece, envelope)) = (mailbox.giving.now, &mailbox.giving.step) else { return };
        let piece = *piece;
        let there = message.envelopes.iter().any(|it| it[..] == envelope[..]);
        mailbox.giving.step = match message.last.checked_sub(1).filter(|newest| *newest < piece) {
            _ if there && piece == gift.last() => return self.gave(now, service),
            _ if there => Step::At((piece + 1) * PIECE as u64),
            Some(newest) if piece == gift.last() => Step::Look(newest),
            _ => Step::At(0),
        };
        if there {
            self.tell_mailed(service, gift.session);
        }
        self.read_gift(service, gift);
    }

    /// A piece is in the mailbox.
    pub(in crate::endpoint::mailbox) fn piece_put(&mut self, now: Instant, service: DeviceId, to: BoxId, end: u64) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        let Some(gift) = mailbox.giving.now.filter(|gift| gift.to == to) else { return };
        if end >= gift.len {
            return self.gave(now, service);
        }
        mailbox.giving.step = Step::At(end);
        mailbox.giving.paused = true;
        self.tell_mailed(service, gift.session);
        // It may be spare by now: then the next one's turn has come.
        self.pump_gifts(now, service);
        self.tell_exchanged(&service);
    }

    fn gave(&mut self, now: Instant, service: DeviceId) {
        let gift = self.mailboxes.used.get_mut(&service).and_then(|mailbox| mailbox.giving.now.take());
        if let Some(gift) = gift {
            let write = self.mailboxes.book.keep_shared(service, gift.to);
            self.commit(alloc::vec![write], false);
            self.mailboxes
                .used
                .get_mut(&service)
                .into_iter()
                .for_each(|it| it.giving.tally.put(&gift.session, &gift.to));
            self.tell_mailed(service, gift.session);
        }
        self.pump_mailbox(now, service);
    }
}
