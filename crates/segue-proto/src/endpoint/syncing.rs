//! Sync, joined to links and sessions: who is fed what, and what is done with what comes.

use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Endpoint;
use super::session_data::{SessionData, Taken};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::{Part, PartKind};
use crate::event::Event;
use crate::handoff::{Ctx, Hold, Session, SessionRole};
use crate::limits::{CONTENT_DELAY, FOLLOWER_WAIT, MAX_PARTS, MAX_QUEUE, MAX_REFETCH, SNAPSHOT_PAUSE, SYNC_WINDOW};
use crate::sync::{FedOp, Feed, Inbound, Outbound, Word, is_whole, named, outranks, whole};
use crate::wire::codec::decode;
use crate::wire::{DeviceId, Exts, Hash, Kind, Mark, Message, Nonce, Ops, PartId, Parts, SessionId, Since, Strand};
use crate::{Code, Rules, Violation};

/// What is on its way between this device and its peers.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    peers: BTreeMap<DeviceId, PeerSync>,
    /// What devices that may read a session last said of its content, over links and by letters.
    words: BTreeMap<(SessionId, DeviceId), Word>,
    /// When content that no peer had is asked for again, and how often it was.
    retry: Option<(Instant, usize)>,
}

/// The sync of one link.
#[derive(Debug, Default)]
struct PeerSync {
    names: Outbound,
    strands: Inbound,
    feeds: BTreeMap<SessionId, Feed>,
    follows: BTreeMap<SessionId, Follow>,
    /// How the peer calls its own log of each session that it follows.
    owns: BTreeMap<SessionId, Nonce>,
    /// How this device called its own log when it began to feed the peer.
    logs: BTreeMap<SessionId, Nonce>,
    /// The positions of this device's log with which the peer last said to hold all content, too.
    whole: BTreeMap<SessionId, u64>,
    /// Until when it is awaited that the peer asks for content, instead of putting that into a mailbox.
    awaited: BTreeMap<SessionId, Instant>,
    /// The sessions of whose content it asked for none until then.
    idle: BTreeSet<SessionId>,
    /// How often it asked for which content.
    asked: BTreeMap<(SessionId, Hash), u32>,
}

/// What a peer feeds this device.
#[derive(Clone, Copy, Debug, Default)]
struct Follow {
    /// The peer has answered with a MARK.
    answered: bool,
    /// What came could not be taken in, so no position is held any more.
    broken: bool,
    /// It could not for want of hashes that the peer sends once it has a snapshot.
    resync: bool,
    /// It was asked again for those.
    again: bool,
}

impl Syncing {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let marks = self.peers.values().flat_map(|peer| peer.feeds.values()).filter_map(Feed::next_timeout);
        let awaited = self.peers.values().flat_map(|peer| peer.awaited.values()).copied();
        marks.chain(awaited).chain(self.retry.filter(|_| !self.peers.is_empty()).map(|(at, _)| at)).min()
    }

    pub(super) fn link_gone(&mut self, peer: &DeviceId) {
        self.peers.remove(peer);
    }

    /// A device is revoked: what it said is nothing to anybody any more, and it says no more.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        self.words.retain(|(_, of), _| of != device);
    }

    /// Whether a peer takes a session in from this device, content too as far as can be told.
    pub(super) fn feeds(&self, peer: &DeviceId, session: &SessionId) -> bool {
        let sync = self.peers.get(peer).filter(|sync| !sync.idle.contains(session));
        sync.is_some_and(|sync| sync.feeds.contains_key(session))
    }

    /// Content waits for a peer to ask for it.
    pub(super) fn awaits(&mut self, now: Instant, peer: &DeviceId, session: SessionId) {
        if let Some(sync) = self.peers.get_mut(peer).filter(|sync| sync.feeds.contains_key(&session)) {
            sync.awaited.entry(session).or_insert(now.after(FOLLOWER_WAIT));
        }
    }

    /// A peer asks for content: if some waits for it, it is awaited anew. Whether that is so: who asks for one content over
    /// and over doesn't get on, and holds nothing up by it.
    pub(super) fn asks(&mut self, now: Instant, peer: &DeviceId, session: SessionId, blob: Hash) -> bool {
        let Some(sync) = self.peers.get_mut(peer) else { return false };
        let room = sync.asked.len() < MAX_PARTS;
        let times = match sync.asked.entry((session, blob)) {
            Entry::Occupied(times) => times.into_mut(),
            Entry::Vacant(first) if room => first.insert(0),
            Entry::Vacant(_) => return false,
        };
        *times = times.saturating_add(1);
        if *times > 1 + MAX_REFETCH {
            return false;
        }
        sync.awaited.entry(session).and_modify(|at| *at = now.after(FOLLOWER_WAIT));
        sync.idle.remove(&session);
        true
    }

    /// The peers that were awaited for too long, and aren't being served: nothing is held back for them any more.
    fn run_out(&mut self, now: Instant, is_served: impl Fn(&DeviceId) -> bool) -> bool {
        let mut any = false;
        for (peer, sync) in &mut self.peers {
            let served = is_served(peer);
            for (session, at) in sync.awaited.extract_if(.., |_, at| *at <= now).collect::<Vec<_>>() {
                match served {
                    true => drop(sync.awaited.insert(session, at.after(FOLLOWER_WAIT))),
                    false => any |= sync.idle.insert(session),
                }
            }
        }
        any
    }

    /// Whether a peer said to hold everything up to a position, content as well.
    pub(super) fn is_whole(&self, peer: &DeviceId, session: &SessionId, last: u64) -> bool {
        self.peers.get(peer).and_then(|sync| sync.whole.get(session)) == Some(&last)
    }

    /// A letter with these extensions says that a device lacks content after all; whether that is newer than what it said
    /// over a link.
    pub(super) fn takes_back(&mut self, peer: DeviceId, session: SessionId, log: Nonce, exts: &Exts) -> bool {
        let newer = self.words.entry((session, peer)).or_default().on_letter(log, exts);
        if newer && let Some(sync) = self.peers.get_mut(&peer) {
            sync.whole.remove(&session);
        }
        newer
    }

    fn in_flight(&self, peer: &DeviceId) -> usize {
        self.peers.get(peer).map_or(0, |sync| sync.feeds.values().map(Feed::in_flight).sum())
    }
}

/// Queries.
impl Endpoint {
    /// Of how many sessions it is kept what a device last said of their content.
    #[cfg(feature = "testing")]
    pub fn words_of(&self, device: &DeviceId) -> usize {
        self.syncing.words.keys().filter(|(_, of)| of == device).count()
    }

    /// Which of the linked devices follow a session, and how many changes made or taken in here each isn't known to
    /// hold durably yet.
    pub fn followers(&self, session: &SessionId) -> Vec<(DeviceId, u64)> {
        let Some(data) = self.sessions.get(session).map(|session| &session.holdings) else { return Vec::new() };
        let behind = |feed: &Feed| data.changes().last().saturating_sub(feed.held());
        let feeds = self.syncing.peers.iter().filter_map(|(peer, sync)| Some((*peer, sync.feeds.get(session)?)));
        feeds.map(|(peer, feed)| (peer, behind(feed))).collect()
    }
}

/// Steps.
impl Endpoint {
    /// The position of this device's log up to which a linked device holds everything durably.
    pub(super) fn fed_up_to(&self, peer: &DeviceId, session: &SessionId) -> u64 {
        self.syncing.peers.get(peer).and_then(|sync| sync.feeds.get(session)).map_or(0, Feed::held)
    }

    /// A device has a link: what it and this device both take part in goes on.
    pub(super) fn sync_with(&mut self, now: Instant, peer: DeviceId) {
        let kept: Vec<_> = self.sessions.iter().filter(|(_, s)| s.is_kept()).map(|(id, _)| *id).collect();
        for session in kept {
            self.ask_since(now, peer, session);
        }
    }

    /// A session takes part in sync from now on: who is linked is told of it, and asked for what it has.
    pub(super) fn sync_session(&mut self, now: Instant, session: SessionId) {
        let peers: Vec<_> = self.peers.keys().copied().collect();
        for peer in peers {
            if self.sessions.get(&session).is_some_and(|session| !session.has_told(&peer)) {
                self.step(now, session, |session, ctx| session.tell_of(ctx, peer, Clause::HO_HEAD_8));
            }
            let asked = self.syncing.peers.get(&peer).is_some_and(|sync| sync.follows.contains_key(&session));
            if !asked {
                self.ask_since(now, peer, session);
            }
        }
    }

    /// Asks the linked devices that feed a session for everything, for what was held of it is held no more.
    pub(super) fn ask_anew(&mut self, now: Instant, session: SessionId) {
        let follows = |sync: &PeerSync| sync.follows.contains_key(&session);
        let peers: Vec<_> = self.syncing.peers.iter().filter(|(_, s)| follows(s)).map(|(peer, _)| *peer).collect();
        peers.into_iter().for_each(|peer| self.ask_since(now, peer, session));
    }

    /// A peer has a snapshot now, without which it couldn't say what is needed to verify its ops: it is asked again.
    pub(super) fn ask_again_for_hashes(&mut self, now: Instant, peer: DeviceId, session: SessionId) {
        let follow = self.syncing.peers.get(&peer).and_then(|sync| sync.follows.get(&session));
        // Once a link: a peer that has no snapshot can't send them however often it is asked.
        if follow.is_some_and(|follow| follow.resync && !follow.again) {
            self.ask_since(now, peer, session);
            let follow = self.syncing.peers.get_mut(&peer).and_then(|sync| sync.follows.get_mut(&session));
            follow.into_iter().for_each(|follow| follow.again = true);
        }
    }

    /// Asks a peer for what changed since.
    fn ask_since(&mut self, now: Instant, peer: DeviceId, session: SessionId) {
        let mailed = self.lacks_told(&session);
        let told = self.step(now, session, |session, ctx| {
            if !session.is_kept() || !session.may_read(ctx, &peer) && ctx.rules.keeps(Clause::SYNC_READ_1) {
                return false;
            }
            let message = since(session, peer, ctx.rules, mailed);
            ctx.promise(peer, Hold::Durable, message);
            true
        });
        if told == Some(true) {
            self.syncing.peers.entry(peer).or_default().follows.insert(session, Follow::default());
        }
    }

    pub(super) fn on_since(&mut self, now: Instant, from: DeviceId, since: &Since) {
        let session = since.session;
        if !self.syncs(now, from, session) {
            return;
        }
        let Some(data) = self.sessions.get(&session).map(|session| &session.holdings) else { return };
        let own = since.log == data.changes().name() && since.at <= data.changes().last();
        let at = if own { since.at } else { 0 };
        let stands = self.syncing.words.entry((session, from)).or_default().on_since(since.own, &since.ext);
        let (says_so, is_whole) = (is_whole(&since.ext), own && stands);
        let keeps = data.cursor(&from).is_some_and(|(log, _)| log == since.own);
        let sync = self.syncing.peers.entry(from).or_default();
        sync.owns.insert(session, since.own);
        // Under another name it tells what it told, and more.
        let same = sync.logs.insert(session, data.changes().name()).is_none_or(|name| name == data.changes().name());
        match sync.feeds.get_mut(&session).filter(|feed| own || same && feed.is_from(0)) {
            // What is asked for twice is on its way already.
            Some(feed) => {
                feed.on_held(at);
                feed.keeps(keeps);
            }
            None => {
                let at = if self.config.rules.keeps(Clause::SYNC_SINCE_1) { at } else { data.changes().last() };
                sync.feeds.insert(session, Feed::new(from, at, keeps));
                if sync.follows.get(&session).is_none_or(|follow| !follow.answered) {
                    self.ask_since(now, from, session);
                }
                self.tell_keys(now, from, session);
            }
        }
        self.pump_sync(now, from);
        let Some(sync) = self.syncing.peers.get_mut(&from) else { return };
        if is_whole {
            sync.whole.insert(session, at);
            sync.awaited.remove(&session);
            sync.idle.remove(&session);
            return self.spare_content(now, session);
        }
        sync.whole.remove(&session);
        if !says_so {
            self.lacks_content(now, from, session);
        }
    }

    /// All content of a session that is picked is here: the devices that this one takes it in from are told, if
    /// mailboxes are used, for they needn't put it there then (SYNC-WHOLE-1).
    pub(super) fn tell_whole(&mut self, now: Instant, session: SessionId) {
        let (rules, mailed) = (self.config.rules, self.lacks_told(&session));
        let lacks = |it: &Session<SessionData>| it.holdings.wanted(rules).next().is_some();
        if mailed.is_none() || self.sessions.get(&session).is_none_or(lacks) {
            return;
        }
        let follows = |sync: &PeerSync| sync.follows.get(&session).is_some_and(|it| it.answered && !it.broken);
        let peers: Vec<_> = self.syncing.peers.iter().filter(|(_, s)| follows(s)).map(|(peer, _)| *peer).collect();
        for peer in peers {
            if !self.reads(&peer, &session) {
                continue;
            }
            self.step(now, session, |session, ctx| {
                let message = since(session, peer, ctx.rules, mailed);
                ctx.promise(peer, Hold::Durable, message);
            });
        }
    }

    pub(super) fn on_strand(&mut self, now: Instant, from: DeviceId, strand: &Strand) {
        let rules = self.config.rules;
        if self.takes_part(now, from, strand.session)
            && let Err(why) = self.hear_writers(now, strand.session, &strand.ext)
        {
            return self.break_off(now, from, Some(strand.session), why);
        }
        let named = self.syncing.peers.entry(from).or_default().strands.on_strand(rules, strand);
        if let Err(why) = named {
            self.refuse_for(now, from, 0, Some(strand.session), why);
        }
    }

    pub(super) fn on_ops(&mut self, now: Instant, from: DeviceId, ops: Ops) {
        let rules = self.config.rules;
        let sync = self.syncing.peers.entry(from).or_default();
        let session = sync.strands.session(ops.strand);
        let ops = match sync.strands.on_ops(rules, ops) {
            Ok(ops) => ops,
            Err(why) => return self.break_off(now, from, session, why),
        };
        let Some(session) = session.filter(|session| self.takes_part(now, from, *session)) else { return };
        let taken = self.take_ops(now, from, session, ops);
        self.taken(now, from, session, taken);
    }

    /// Takes ops in that came from a device, or by a mailbox.
    pub(super) fn take_ops(
        &mut self,
        now: Instant,
        from: DeviceId,
        session: SessionId,
        ops: Vec<FedOp>,
    ) -> Option<Result<(), Violation>> {
        self.step(now, session, |session, ctx| {
            let mut taken = Taken::default();
            let outcome = ops.into_iter().try_for_each(|op| session.holdings.deliver(ctx.rules, from, op, &mut taken));
            // What came before the one that was refused stays.
            tell(session, ctx, taken);
            outcome
        })
    }

    /// Takes the names of writers in.
    pub(super) fn hear_writers(&mut self, now: Instant, session: SessionId, ext: &Exts) -> Result<(), Violation> {
        let writers = named(self.config.rules, ext)?;
        if !writers.is_empty() {
            self.step(now, session, |session, ctx| {
                let mut taken = Taken::default();
                session.holdings.name_writers(ctx.rules, writers, &mut taken);
                tell(session, ctx, taken);
            });
        }
        Ok(())
    }

    pub(super) fn on_parts(&mut self, now: Instant, from: DeviceId, parts: Parts) {
        let session = parts.session;
        if !self.takes_part(now, from, session) {
            return;
        }
        let taken = self.take_parts(now, from, &parts);
        self.taken(now, from, session, taken);
    }

    /// Takes parts in that came from a device, or by a mailbox.
    pub(super) fn take_parts(&mut self, now: Instant, from: DeviceId, parts: &Parts) -> Option<Result<(), Violation>> {
        if let Err(why) = self.hear_writers(now, parts.session, &parts.ext) {
            return Some(Err(why));
        }
        self.step(now, parts.session, |session, ctx| {
            let mut taken = Taken::default();
            let outcome = parts.parts.iter().try_for_each(|bytes| {
                let part: Part = decode(ctx.rules, bytes)?;
                let left = session.holdings.sift(ctx.rules, &part, &mut taken)?;
                let nothing = left.strands.is_empty() && !part.strands.is_empty();
                if !nothing && wins(session, ctx.rules, &left) {
                    session.holdings.merge_copy(ctx.rules, Some(from), &left, &mut taken)?;
                }
                Ok(())
            });
            tell(session, ctx, taken);
            outcome
        })
    }

    pub(super) fn on_mark(&mut self, now: Instant, from: DeviceId, mark: &Mark) {
        let session = mark.session;
        if !self.takes_part(now, from, session) {
            return;
        }
        let Some(follow) = self.syncing.peers.get_mut(&from).and_then(|sync| sync.follows.get_mut(&session)) else {
            return;
        };
        let first = !follow.answered;
        follow.answered = true;
        // From now on a position of the peer's log is held, so what came from it need not go back.
        let keeps = sync_keeps(self.syncing.peers.get(&from), &session, &mark.log);
        if let Some(feed) = self.syncing.peers.get_mut(&from).and_then(|sync| sync.feeds.get_mut(&session)) {
            feed.keeps(keeps);
        }
        let mailed = self.lacks_told(&session);
        self.step(now, session, |session, ctx| {
            session.name_as(&mark.name, ctx.fx);
            let write = session.holdings.hold(from, mark.log, mark.at);
            ctx.fx.writes.extend(write);
            let message = since(session, from, ctx.rules, mailed);
            ctx.promise(from, Hold::by(ctx.rules.keeps(Clause::SYNC_MARK_1)), message);
            if first {
                ctx.event_when_durable(Event::Synced { session: session.id(), peer: from });
            }
        });
        self.fetch_missing(now, session, from);
    }

    /// Content is missing that a peer didn't have: it may have got it meanwhile, or another has it.
    pub(super) fn retry_later(&mut self, now: Instant) {
        // A try that is due isn't put off, however often others say that they changed.
        self.syncing.retry.get_or_insert((now.after(CONTENT_DELAY), 0));
    }

    /// Marks that are due, and content to ask for again.
    pub(super) fn time_sync(&mut self, now: Instant) {
        self.pump_all(now);
        let serving = &self.serving;
        if self.syncing.run_out(now, |peer| serving.serves(peer)) {
            self.put_content_again(now);
        }
        let Some((_, tries)) = self.syncing.retry.filter(|(at, _)| *at <= now) else { return };
        self.syncing.retry = None;
        let next = tries.wrapping_add(1);
        let rules = self.config.rules;
        let lacking = |session: &Session<SessionData>| session.holdings.wanted(rules).next().is_some();
        let ids: Vec<_> = self.sessions.iter().filter(|(_, session)| lacking(session)).map(|(id, _)| *id).collect();
        for id in ids {
            let peers = self.heard_from(&id);
            if let Some(peer) = tries.checked_rem(peers.len()).and_then(|at| peers.get(at)) {
                self.fetch_missing(now, id, *peer);
            }
            self.syncing.retry = Some((now.after(CONTENT_DELAY), next));
        }
    }

    /// Sends peers what changed, as far as there is room on their way.
    fn pump_all(&mut self, now: Instant) {
        let peers: Vec<_> = self.syncing.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.pump_sync(now, peer));
    }

    /// Sends the followers of a session what changed in it.
    pub(super) fn pump_session(&mut self, now: Instant, session: SessionId) {
        let follows = |sync: &PeerSync| sync.feeds.contains_key(&session);
        let peers: Vec<_> = self.syncing.peers.iter().filter(|(_, s)| follows(s)).map(|(peer, _)| *peer).collect();
        peers.into_iter().for_each(|peer| self.pump_feed(now, peer, session));
    }

    fn pump_sync(&mut self, now: Instant, peer: DeviceId) {
        let Some(sync) = self.syncing.peers.get(&peer) else { return };
        let ids: Vec<_> = sync.feeds.keys().copied().collect();
        ids.into_iter().for_each(|id| self.pump_feed(now, peer, id));
    }

    fn pump_feed(&mut self, now: Instant, peer: DeviceId, id: SessionId) {
        while let Some(messages) = self.next_of_feed(now, peer, id) {
            let lsn = self.last;
            messages.iter().for_each(|message| self.send(now, peer, lsn, message));
        }
    }

    /// The next messages to a peer of one session; none if nothing follows, or if there is no room.
    fn next_of_feed(&mut self, now: Instant, peer: DeviceId, id: SessionId) -> Option<Vec<Message>> {
        if !self.reads(&peer, &id) && self.config.rules.keeps(Clause::SYNC_READ_1) {
            self.syncing.peers.get_mut(&peer)?.feeds.remove(&id);
            return None;
        }
        let in_flight = self.syncing.in_flight(&peer);
        let crowded = in_flight >= SYNC_WINDOW || self.queued_to(&peer) >= MAX_QUEUE / 2;
        let data = &self.sessions.get(&id)?.holdings;
        let (changes, state) = (data.changes(), data.state()?);
        let sync = self.syncing.peers.get_mut(&peer)?;
        let (feed, names) = (sync.feeds.get_mut(&id)?, &mut sync.names);
        if !crowded && let Some(messages) = feed.step(names, changes, state) {
            return Some(messages);
        }
        let much = feed.in_flight() >= SYNC_WINDOW / 4;
        let mark = feed.mark(now, changes, state, much).map(|mark| alloc::vec![mark]);
        if crowded && feed.is_partial() {
            feed.look_at(now.after(SNAPSHOT_PAUSE));
        }
        mark
    }

    /// Whether a device may still learn of a session: it may have been trusted when it asked, and no more since.
    fn reads(&self, peer: &DeviceId, id: &SessionId) -> bool {
        let trusted = self.peers.get(peer).is_some_and(|peer| peer.trusted);
        trusted || self.sessions.get(id).is_some_and(|session| session.is_reader(peer))
    }

    fn queued_to(&self, peer: &DeviceId) -> usize {
        self.routes.get(peer).and_then(|link| self.links.get(link)).map_or(0, crate::link::Link::queued)
    }

    /// Whether a peer may have, and give, a session's changes (SYNC-READ-1). Others learn nothing.
    fn syncs(&mut self, now: Instant, from: DeviceId, session: SessionId) -> bool {
        let may = self.step(now, session, |session, ctx| session.is_kept() && session.may_read(ctx, &from));
        may == Some(true) || may.is_some() && !self.config.rules.keeps(Clause::SYNC_READ_1)
    }

    /// Whether what a peer says of a session is taken in.
    pub(super) fn takes_part(&mut self, now: Instant, from: DeviceId, session: SessionId) -> bool {
        let follow = self.syncing.peers.get(&from).and_then(|sync| sync.follows.get(&session));
        follow.is_some_and(|follow| !follow.broken) && self.syncs(now, from, session)
    }

    fn taken(&mut self, now: Instant, from: DeviceId, session: SessionId, taken: Option<Result<(), Violation>>) {
        match taken {
            Some(Err(why)) => self.break_off(now, from, Some(session), why),
            Some(Ok(())) => self.stage_awaited(now, session),
            None => {}
        }
    }

    /// What came may be what a manifest waited for.
    pub(super) fn stage_awaited(&mut self, now: Instant, session: SessionId) {
        let awaited = self.sessions.get_mut(&session).and_then(|session| session.holdings.take_awaited());
        if let Some((manifest, hash, pick)) = awaited {
            self.stage(now, session, manifest, hash, pick);
        }
    }

    /// The linked devices that said what there is of a session.
    pub(super) fn heard_from(&self, session: &SessionId) -> Vec<DeviceId> {
        let told = |sync: &PeerSync| sync.follows.get(session).is_some_and(|follow| follow.answered);
        self.syncing.peers.iter().filter(|(_, sync)| told(sync)).map(|(peer, _)| *peer).collect()
    }

    /// The linked devices that follow a session.
    pub(super) fn following(&self, session: &SessionId) -> Vec<DeviceId> {
        let feeds = self.syncing.peers.iter().filter(|(_, sync)| sync.feeds.contains_key(session));
        feeds.map(|(peer, _)| *peer).collect()
    }

    /// What a peer sent of a session can't be taken in: no position of its log is held from here on.
    pub(super) fn break_off(&mut self, now: Instant, from: DeviceId, session: Option<SessionId>, why: Violation) {
        if let Some(session) = session
            && let Some(sync) = self.syncing.peers.get_mut(&from)
        {
            let resync = why.code == Code::DATA_RESYNC;
            let again = sync.follows.get(&session).is_some_and(|follow| follow.again);
            sync.follows.insert(session, Follow { answered: true, broken: true, resync, again });
        }
        self.refuse_for(now, from, 0, session, why);
    }
}

/// Whether a peer that follows a session calls its own log so.
fn sync_keeps(sync: Option<&PeerSync>, session: &SessionId, log: &Nonce) -> bool {
    sync.and_then(|sync| sync.owns.get(session)) == Some(log)
}

/// What this device holds of a peer's changes, and, if it uses mailboxes, whether it holds the content that is picked as
/// well, though it told of so many lacks.
fn since(session: &Session<SessionData>, peer: DeviceId, rules: Rules, mailed: Option<u64>) -> Since {
    let (log, at) = session.holdings.cursor(&peer).unwrap_or((Nonce::ZERO, 0));
    let holds = session.holdings.wanted(rules).next().is_none() || !rules.keeps(Clause::SYNC_WHOLE_1);
    let ext = mailed.filter(|_| holds).map(whole).unwrap_or_default();
    Since { session: session.id(), log, at, own: session.holdings.changes().name(), ext }
}

/// Writes down what was taken in, and tells the application.
pub(super) fn tell(session: &Session<SessionData>, ctx: &mut Ctx<'_>, taken: Taken) {
    let Taken { writes, changed, aside, reread, .. } = taken;
    ctx.fx.writes.extend(writes);
    let list = |parts: BTreeSet<PartId>| parts.into_iter().collect::<Vec<_>>();
    let session = session.id();
    if !reread.is_empty() {
        ctx.event(Event::Reread { session, parts: list(reread) });
    }
    if !changed.is_empty() {
        ctx.event(Event::Changed { session, parts: list(changed) });
    }
    if !aside.is_empty() && ctx.rules.keeps(Clause::DATA_ASIDE_3) {
        ctx.event(Event::SetAside { session, parts: list(aside) });
    }
}

/// Whether a peer's copy of a part is to be looked at: of an exclusive part it is if it outranks the copy here
/// (SYNC-RANK-1), unless this device is primary itself (SYNC-OWN-1).
fn wins(session: &Session<SessionData>, rules: Rules, part: &Part) -> bool {
    if part.kind != PartKind::Exclusive.number() {
        return true;
    }
    let own = session.holdings.state().and_then(|state| state.part(&part.part));
    // A taker may lack what the last primary wrote; whoever was granted to holds it all.
    let taken = session.head().body().kind == Kind::Takeover.number();
    let primary = session.role(rules) == SessionRole::Primary && rules.keeps(Clause::SYNC_OWN_1);
    outranks(rules, session.chain(), part, own) && (!primary || taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hash::blob_id;

    /// SERVICE-CONTENT-1: so often a peer may ask for one content, and for so many contents, and be awaited for it.
    #[test]
    fn so_many_requests_of_a_peer_count() {
        let (now, peer, session) = (Instant::from_micros(1), DeviceId::new([1; 32]), SessionId::new([2; 16]));
        let mut syncing = Syncing::default();
        syncing.peers.insert(peer, PeerSync::default());
        let mut asks = |n: usize| syncing.asks(now, &peer, session, blob_id(&n.to_be_bytes()));
        assert!((0..=MAX_REFETCH).all(|_| asks(0)));
        assert!(!asks(0));
        assert!((1..MAX_PARTS).all(&mut asks), "other contents");
        assert!(!asks(MAX_PARTS));
        assert!(asks(1), "it was asked for before");
    }
}
