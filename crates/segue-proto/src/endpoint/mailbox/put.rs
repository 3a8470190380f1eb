//! What is put into a session's box: letters, put together from the same feed as links have.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::keys::{HeldKey, PutAt};
use super::{Ask, Signing};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::endpoint::Endpoint;
use crate::endpoint::session_data::SessionData;
use crate::handoff::{Session, SessionRole};
use crate::journal::Lsn;
use crate::limits::{ENVELOPE_ROOM, MAX_ENVELOPE, MAX_KEYS, MAX_MAILED, MAX_WITHOUT};
use crate::seal::{self, ContentKey};
use crate::sync::{Feed, Outbound, lacks};
use crate::wire::codec::{Blob, encode};
use crate::wire::hash::blob_id;
use crate::wire::{
    BoxId, DeviceId, Exts, Hash, Head, KeyId, Letter, List, Mark, Message, Put, Sealed, SessionId, Sig, Signed, Text,
    id_of, signing_bytes,
};

/// What is being put into a session's box.
#[derive(Debug)]
pub(super) struct Putting {
    pub(super) to: BoxId,
    feed: Feed,
    /// What didn't fit into the last letter; each of these fits into one.
    carried: VecDeque<Message>,
    /// The head that was handed to a letter.
    head: Option<Hash>,
    /// What is in the box.
    at: PutAt,
    pub(super) signing: bool,
    busy: bool,
    /// The number of the lack of content that the letter tells of.
    told_lack: Option<u64>,
}

impl Putting {
    /// `source`: see [`Endpoint::source`].
    fn new(source: DeviceId, to: BoxId, at: PutAt) -> Putting {
        let feed = Feed::new(source, at.at, true);
        Putting { to, feed, carried: VecDeque::new(), head: at.head, at, signing: false, busy: false, told_lack: None }
    }

    /// The letter is in the box; the number of the lack of content that it told of.
    pub(super) fn is_put(&mut self, next: PutAt) -> Option<u64> {
        (self.at, self.busy) = (next, false);
        core::mem::take(&mut self.told_lack)
    }

    /// The frames of the next letter, and what is in the box once it is. No frames: nothing is to be put. `lacking`: the
    /// lack of content that is to be told of.
    fn letter(&mut self, session: &Session<SessionData>, lacking: Option<u64>) -> Option<(Vec<u8>, PutAt)> {
        let (changes, state) = (session.holdings.changes(), session.holdings.state()?);
        let head = session.head().id();
        if self.head != Some(head) {
            self.carried.extend(head_pages(session, &self.head.unwrap_or(Hash::ZERO)));
            self.head = Some(head);
        }
        let mut frames = Vec::new();
        self.unload(&mut frames);
        // The numbers of strands start anew in each letter.
        let mut names = Outbound::default();
        while self.carried.is_empty() {
            let before = self.feed.clone();
            let Some(messages) = self.feed.step(&mut names, changes, state) else { break };
            let group: Vec<u8> = messages.iter().flat_map(Message::to_frame).collect();
            if frames.len() + group.len() <= ROOM {
                frames.extend(group);
            } else if frames.is_empty() {
                // A part that takes several frames: any of them does without the others.
                self.carried.extend(messages);
                self.unload(&mut frames);
            } else {
                self.feed = before;
                break;
            }
        }
        let whole = self.carried.is_empty();
        let (at, _) = self.feed.position(changes);
        self.feed.on_held(at);
        let next = match whole {
            true => PutAt { log: Some(changes.name()), at, head: self.head, ..self.at },
            false => self.at,
        };
        if (lacking.is_some() || !frames.is_empty()) && whole {
            let name = Text::new(session.name()).unwrap_or_default();
            self.told_lack = lacking;
            let ext = lacking.map(lacks).unwrap_or_default();
            Message::from(Mark { session: session.id(), name, log: changes.name(), at, ext }).encode(&mut frames);
        }
        let count = next.count.saturating_add(u64::from(!frames.is_empty()));
        Some((frames, PutAt { count, ..next }))
    }

    /// Moves what was carried into a letter, as far as it fits.
    fn unload(&mut self, frames: &mut Vec<u8>) {
        while let Some(message) = self.carried.pop_front() {
            let frame = message.to_frame();
            if !frames.is_empty() && frames.len() + frame.len() > ROOM {
                self.carried.push_front(message);
                return;
            }
            frames.extend(frame);
        }
    }
}

/// The frames of a letter.
const ROOM: usize = MAX_ENVELOPE - ENVELOPE_ROOM;

/// The records of a chain behind one, in HEADs that leave room for others.
fn head_pages(session: &Session<SessionData>, from: &Hash) -> Vec<Message> {
    let pages = session.chain().pages(from, ROOM / 2);
    let last = pages.len() - 1;
    let head = |(at, records)| Head {
        session: session.id(),
        records: List::new(records).unwrap_or_default(),
        more: at != last,
        ack: None.into(),
        ext: Exts::empty(),
    };
    pages.into_iter().enumerate().map(|page| head(page).into()).collect()
}

impl Endpoint {
    /// Where changes came from that were taken out of a box: they needn't be put back there. Once the box lost envelopes,
    /// what was taken before came from elsewhere, so that it is put again.
    pub(super) fn source(&self, service: &DeviceId, of: &BoxId) -> DeviceId {
        let losses = self.mailboxes.losses.get(&(*service, *of)).copied().unwrap_or_default();
        let mut bytes = *service.as_bytes();
        bytes.iter_mut().zip(of.as_bytes()).for_each(|(byte, other)| *byte ^= other);
        bytes.iter_mut().zip(losses.to_be_bytes()).for_each(|(byte, other)| *byte ^= other);
        DeviceId::new(bytes)
    }

    /// Whether all of a session is in a mailbox.
    pub(super) fn is_put(&self, service: &DeviceId, id: &SessionId) -> bool {
        let Some(session) = self.sessions.get(id) else { return true };
        if session.holdings.state().is_none() {
            return true;
        }
        let Some(key) = self.best_key(id) else { return !self.needs_key(id) };
        !self.lacks(service, id, key, session)
    }

    /// Whether a letter is to be put: of changes, of the head, or of content that is missing after all.
    fn lacks(&self, service: &DeviceId, id: &SessionId, key: &HeldKey, session: &Session<SessionData>) -> bool {
        let put = self.mailboxes.book.puts.get(&(*service, key.key.session_box(id))).copied().unwrap_or_default();
        let changes = session.holdings.changes();
        let behind = put.log != Some(changes.name()) || put.at != changes.last();
        behind || put.head != Some(session.head().id()) || self.mailboxes.lacking.contains(&(*service, *id))
    }

    /// The key that a session's letters are sealed under: of those that no device has that is known to be revoked the
    /// highest by number, then id (SERVICE-KEY-3); if there is none such, the highest of all.
    pub(super) fn best_key(&self, id: &SessionId) -> Option<&HeldKey> {
        let keys = self.mailboxes.book.keys.get(id)?;
        keys.iter().max_by_key(|(key, held)| (self.is_good(held), held.epoch, **key)).map(|(_, held)| held)
    }

    /// Whether no revoked device was given a key.
    pub(super) fn is_good(&self, held: &HeldKey) -> bool {
        let known = self.revoked_devices();
        known.iter().all(|device| held.without.contains(device)) || !self.config.rules.keeps(Clause::SERVICE_KEY_3)
    }

    fn revoked_devices(&self) -> Vec<DeviceId> {
        let roster = self.account.roster.as_ref();
        roster.into_iter().flat_map(|roster| roster.standing().revoked.keys()).copied().take(MAX_WITHOUT).collect()
    }

    /// Whether a session without a key gets one from this device: it made the session, or knows what others may not.
    fn needs_key(&self, id: &SessionId) -> bool {
        let Some(session) = self.sessions.get(id) else { return false };
        let first = session.chain().line().first().map(|first| first.body().signer);
        let open = session.role(self.config.rules) != SessionRole::Closed && session.holdings.state().is_some();
        open && (first == Some(self.config.device) || session.holdings.changes().last() > 0)
    }

    /// The key under which to put now; one is drawn if those that there are won't do.
    fn key_to_put(&mut self, now: Instant, service: &DeviceId, id: SessionId) -> Option<ContentKey> {
        let session = self.sessions.get(&id)?;
        match self.best_key(&id) {
            Some(held) if self.is_good(held) => return Some(held.key),
            Some(held) if !self.lacks(service, &id, held, session) => return None,
            None if !self.needs_key(&id) => return None,
            _ => {}
        }
        let known = self.mailboxes.book.keys.get(&id);
        if known.is_some_and(|keys| keys.len() >= MAX_KEYS) {
            return None;
        }
        let epoch = known.into_iter().flat_map(|keys| keys.values()).map(|held| held.epoch).max();
        let epoch = epoch.map_or(0, |epoch| epoch.saturating_add(1));
        let without = self.revoked_devices().into_iter().collect();
        let key = ContentKey::new(self.fresh.secret());
        self.keep_key(now, id, HeldKey { epoch, key, without });
        Some(key)
    }

    /// Content of a session is missing that wasn't before: who reads the mailboxes learns of it, so that it is put there
    /// (SYNC-WHOLE-1).
    pub(in crate::endpoint) fn mail_lack(&mut self, now: Instant, id: SessionId) {
        let rules = self.config.rules;
        let mailed = |entry: &crate::data::Entry| entry.len <= MAX_MAILED;
        let lacks = |it: &Session<SessionData>| it.is_kept() && it.holdings.wanted(rules).any(|entry| mailed(&entry));
        let lacks = self.sessions.get(&id).is_some_and(lacks) && rules.keeps(Clause::SYNC_WHOLE_1);
        self.mailboxes.lacking.retain(|(_, of)| *of != id || lacks);
        if lacks {
            let used: Vec<_> = self.mailboxes.used.keys().copied().collect();
            if !used.is_empty() {
                let write = self.mailboxes.book.keep_lack(id);
                self.commit(alloc::vec![write], false);
            }
            for service in used {
                self.mailboxes.lacking.insert((service, id));
                self.pump_put(now, service, id);
            }
        }
    }

    /// Puts the next letter of a session.
    pub(super) fn pump_put(&mut self, now: Instant, service: DeviceId, id: SessionId) {
        let kept = self.sessions.get(&id).is_some_and(Session::is_kept);
        let greeted = self.mailboxes.used.get(&service).is_some_and(|mailbox| mailbox.greeted);
        if !kept || !greeted || !self.peers.contains_key(&service) {
            return;
        }
        let Some(key) = self.key_to_put(now, &service, id) else { return };
        let to = key.session_box(&id);
        self.fetch(now, service, to);
        let Some(session) = self.sessions.get(&id) else { return };
        let log = session.holdings.changes().name();
        let stored = self.mailboxes.book.puts.get(&(service, to)).copied().unwrap_or_default();
        // Positions of another log say nothing; the letters are numbered on.
        let goes_on = stored.log == Some(log) && self.config.rules.keeps(Clause::SERVICE_PUT_2);
        let stored = if goes_on { stored } else { PutAt { log: None, at: 0, head: None, ..stored } };
        let source = self.source(&service, &to);
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        if mailbox.boxes.get(&to) != Some(&true) || mailbox.rests.is_some() || mailbox.is_full() {
            return;
        }
        let putting = mailbox.puts.entry(id).or_insert_with(|| Putting::new(source, to, stored));
        if putting.to != to && !putting.busy {
            *putting = Putting::new(source, to, stored);
        }
        if putting.busy || putting.to != to {
            return;
        }
        let number = self.mailboxes.book.lacks.get(&id).copied();
        let lacking = number.filter(|_| self.mailboxes.lacking.contains(&(service, id)));
        let Some((frames, next)) = putting.letter(session, lacking) else { return };
        if frames.is_empty() {
            if next != putting.at {
                putting.at = next;
                let write = self.mailboxes.book.keep_put(service, to, next);
                self.commit(alloc::vec![write], false);
            }
            return;
        }
        (putting.busy, putting.signing, mailbox.told) = (true, true, false);
        let (from, count) = (self.config.device, next.count);
        let letter = Letter { from, session: id, to, count, frames: blob_id(&frames) };
        let sign = self.out.sign(signing_bytes::<Letter>(id_of::<Letter>(&encode(&letter))));
        self.mailboxes.signing.insert(sign, Signing::Letter { service, letter, frames, next });
    }

    /// A letter is signed: it is sealed, and put once what it tells is durable (SERVICE-PUT-1).
    pub(super) fn letter_signed(
        &mut self,
        now: Instant,
        service: DeviceId,
        letter: Letter,
        frames: Vec<u8>,
        next: PutAt,
        sig: Sig,
    ) {
        let Letter { session, to, .. } = letter;
        let keys = self.mailboxes.book.keys.get(&session);
        let key =
            keys.and_then(|keys| keys.values().find(|held| held.key.session_box(&session) == to)).map(|it| it.key);
        let (Some(key), Some(frames)) = (key, Blob::new(frames)) else { return };
        let Some(letter) = Signed::from_parts(encode(&letter), sig) else { return };
        let nonce = self.fresh.envelope_nonce();
        let envelope = seal::seal(self.config.rules, &key, &to, &nonce, &encode(&Sealed { letter, frames }));
        let (id, Some(blob)) = (blob_id(&envelope), Blob::new(envelope)) else { return };
        let req = self.fresh.request();
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        if let Some(putting) = mailbox.puts.get_mut(&session) {
            putting.signing = false;
        }
        mailbox.asks.insert(req, Ask::Letter(session, to, next));
        mailbox.own.insert(id);
        let hold = if self.config.rules.keeps(Clause::SERVICE_PUT_1) { self.last } else { Lsn::default() };
        self.send(now, service, hold, &Put { req, to, envelope: blob, ext: Exts::empty() }.into());
    }

    /// Keeps a content key, and tells the linked devices that take part.
    pub(super) fn keep_key(&mut self, now: Instant, session: SessionId, held: HeldKey) {
        let write = self.mailboxes.book.keep_key(session, held);
        self.commit(alloc::vec![write], false);
        // Under another key all content is put anew.
        self.mailboxes.used.values_mut().for_each(|mailbox| mailbox.giving.sweep());
        for peer in self.following(&session) {
            self.tell_keys(now, peer, session);
        }
    }

    /// The keys of a session, to a linked device that takes part in it (SERVICE-KEY-1).
    pub(in crate::endpoint) fn tell_keys(&mut self, now: Instant, peer: DeviceId, session: SessionId) {
        let readable = self.step(now, session, |session, ctx| session.is_kept() && session.may_read(ctx, &peer));
        if readable != Some(true) && self.config.rules.keeps(Clause::SERVICE_KEY_1) {
            return;
        }
        let keys = self.mailboxes.book.keys.get(&session).into_iter().flatten();
        let new = |key: &KeyId| !self.mailboxes.sent_keys.contains(&(peer, session, *key));
        let given = |held: &HeldKey| !held.without.contains(&peer) || !self.config.rules.keeps(Clause::SERVICE_KEY_1);
        let keys = keys.filter(|(key, held)| new(key) && given(held));
        let keys: Vec<_> = keys.map(|(key, held)| (*key, held.clone())).collect();
        for (id, HeldKey { epoch, key, without }) in keys {
            self.mailboxes.sent_keys.insert((peer, session, id));
            let without = List::new(without.into_iter().collect()).unwrap_or_default();
            let message = crate::wire::KeyMsg { session, epoch, key, without, ext: Exts::empty() };
            self.send(now, peer, self.last, &message.into());
        }
    }
}
