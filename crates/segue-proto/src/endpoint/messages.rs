//! Messages of authenticated devices: signatures are verified here, and the session's machines do the rest.

use alloc::vec::Vec;

use super::session_data::SessionData;
use super::{Asked, Endpoint, Wish};
use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::{IN_OFFER, Pick};
use crate::event::{Event, LinkId};
use crate::generations::Generation;
use crate::handoff::{Actor, Chain, Declined, Inline, ProvenAck, ProvenGrant, Session, ack_message, named};
use crate::journal::Lsn;
use crate::limits::{MAX_HEARSAY, MAX_OFFERS, MAX_SESSIONS, OFFER_WINDOW};
use crate::wire::codec::decode;
use crate::wire::{
    Cancel, DeviceId, Error, Exts, Final, Grant, Have, Head, Message, Offer, OfferMsg, Proven, Record, SessionId,
    Signed, Want, WantMode, WantMsg, verify_message,
};
use crate::{Code, Outcome, Violation};

impl Endpoint {
    pub(super) fn on_message(&mut self, now: Instant, link: LinkId, from: DeviceId, message: Message) {
        if let Err(why) = self.confines(link, &message) {
            return self.end_link(now, link, why.code, Some(why.clause));
        }
        if let Err(violation) = self.mailbox_may(&from, &message) {
            return self.out.event(Event::Violation { peer: from, session: None, violation });
        }
        if self.is_hosted(&message) {
            return self.on_hosted(now, from, message);
        }
        match message {
            Message::Link(message) => self.on_link(now, link, from, message),
            Message::LinkOk(message) => self.on_link_ok(now, link, from, &message),
            Message::Roster(message) => {
                if !self.on_roster_for_new(now, link, from, &message) {
                    self.on_roster(now, from, message);
                }
            }
            Message::Error(error) => self.on_error(now, from, &error),
            Message::Have(have) => self.on_have(now, from, &have),
            Message::Get(get) => self.on_get(now, link, from, &get),
            Message::Ranges(ranges) => self.on_ranges(now, link, from, &ranges),
            Message::Want(want) => self.on_want(now, from, want),
            Message::Grant(grant) => self.on_grant(now, from, grant),
            Message::Head(head) => self.on_head(now, from, head),
            Message::Offer(offer) => self.on_offer(now, from, offer),
            Message::Since(since) => self.on_since(now, from, &since),
            Message::Strand(strand) => self.on_strand(now, from, &strand),
            Message::Ops(ops) => self.on_ops(now, from, ops),
            Message::Parts(parts) => self.on_parts(now, from, parts),
            Message::Mark(mark) => self.on_mark(now, from, &mark),
            Message::Snapshot(snapshot) => self.on_snapshot(now, from, snapshot),
            Message::Holding(holding) => self.on_holding(now, from, holding),
            Message::Key(key) => self.on_key(now, from, key),
            Message::Envelopes(envelopes) => self.on_envelopes(now, from, envelopes),
            Message::Freeze(freeze) => self.on_freeze(now, from, freeze),
            Message::Cas(cas) => self.on_cas(now, from, cas),
            Message::Renew(renew) => self.on_renew(now, from, &renew),
            Message::Delegate(delegate) => self.no_custody(now, from, delegate.req),
            Message::PutOk(done) => self.on_put_ok(now, from, &done),
            Message::Found(found) => self.on_found(from, found),
            Message::LoggedIn(message) => self.on_logged_in(now, link, from, message),
            Message::Introduced(it) => self.on_introduced(now, from, it),
            Message::IntroduceOk(it) => self.on_introduce_ok(from, it.req),
            Message::WakeOk(it) => self.on_wake_ok(from, it.req),
            request @ (Message::Put(_)
            | Message::Fetch(_)
            | Message::Watch(_)
            | Message::Discover(_)
            | Message::Login(_)
            | Message::Introduce(_)
            | Message::Wake(_)) => self.on_request(now, from, request),
            Message::Decline(decline) => {
                let no = Declined::open(self.config.rules, &decline);
                self.step(now, decline.session, |session, ctx| session.on_decline(ctx, from, no));
            }
            Message::Cancel(Cancel { session, subject, code, .. }) => {
                self.step(now, session, |session, ctx| {
                    session.on_want_cancelled(ctx, from, subject, code.into());
                    session.on_offer_cancelled(ctx, from, subject, code.into());
                });
            }
            // The link's own, and what starts a bulk stream: the link let none of them through.
            Message::Hello(_)
            | Message::Auth(_)
            | Message::Goaway(_)
            | Message::Ping(_)
            | Message::Bytes(_)
            | Message::Relay(_) => {}
        }
    }

    /// Answers a request with an error.
    pub(super) fn refuse(&mut self, now: Instant, to: DeviceId, req: u32, session: Option<SessionId>, code: Code) {
        self.refuse_for_now(now, to, (req, session), code, 0);
    }

    /// Answers a request, of this number and session, with an error after which it may be made again in so many
    /// milliseconds; 0 says nothing of that.
    fn refuse_for_now(
        &mut self,
        now: Instant,
        to: DeviceId,
        (req, session): (u32, Option<SessionId>),
        code: Code,
        retry_after_ms: u32,
    ) {
        let rules = self.config.rules;
        let definite = (code.outcome() == Outcome::Definite) == rules.keeps(Clause::ERR_DEFINITE_1);
        let session = session.filter(|_| rules.keeps(Clause::ERR_SEND_1));
        let (session, code) = (session.into(), code.into());
        let error = Error { req, session, code, definite, retry_after_ms, ext: Exts::empty() };
        self.send(now, to, Lsn::default(), &error.into());
    }

    pub(super) fn refuse_for(
        &mut self,
        now: Instant,
        to: DeviceId,
        req: u32,
        session: Option<SessionId>,
        why: Violation,
    ) {
        self.out.event(Event::Violation { peer: to, session, violation: why });
        self.refuse(now, to, req, session, why.code);
    }

    /// The session, if the device may learn of it (HO-MEMBER-1). Unknown sessions and secret ones look alike.
    pub(super) fn readable(&mut self, now: Instant, from: DeviceId, req: u32, session: SessionId) -> bool {
        let may = self.step(now, session, |session, ctx| session.may_read(ctx, &from));
        self.is_open(now, from, req, session, may)
    }

    /// The session, if the device may know its chain: a grantor may, and reads nothing else.
    fn knowable(&mut self, now: Instant, from: DeviceId, req: u32, session: SessionId) -> bool {
        let may = self.step(now, session, |session, ctx| session.may_know(ctx, &from));
        self.is_open(now, from, req, session, may)
    }

    fn is_open(&mut self, now: Instant, from: DeviceId, req: u32, session: SessionId, may: Option<bool>) -> bool {
        let may = may.map(|may| may && self.not_revoked(&from).is_ok());
        let open = may == Some(true) || may.is_some() && !self.config.rules.keeps(Clause::HO_MEMBER_1);
        if !open && req != 0 {
            self.refuse(now, from, req, Some(session), Code::HO_UNKNOWN_SESSION);
        }
        open
    }

    fn on_error(&mut self, now: Instant, from: DeviceId, error: &Error) {
        let code: Code = error.code.into();
        let session = error.session.get().copied();
        self.out.event(Event::Refused { peer: from, session, code });
        if self.discover_refused(from, error.req, code) {
            return self.pauses.refused(now, Asked::Presence(from), error.retry_after_ms);
        }
        if self.wake_refused(from, error.req, code) {
            return self.pauses.refused(now, Asked::Wake(from), error.retry_after_ms);
        }
        if self.login_refused(from, error.req, code) {
            return self.pauses.refused(now, Asked::Login(from), error.retry_after_ms);
        }
        if code == Code::SVC_LOGIN {
            self.lock_out(from);
        }
        if self.introduce_refused(now, from, error.req, code) {
            return;
        }
        if self.mailbox_refused(now, from, code, (error.req, error.retry_after_ms)) {
            return;
        }
        if self.fetch_refused(now, from, error.req, code) {
            return;
        }
        let asked = || self.sessions.iter().find(|(_, s)| s.awaits(from, error.req)).map(|(id, _)| *id);
        let Some(session) = session.or_else(asked).filter(|_| error.req != 0) else { return };
        let wished = self.wishes.get(&session).is_some_and(|wish| wish.from == from && wish.req == error.req);
        if wished || self.sessions.get(&session).is_some_and(|it| it.awaits(from, error.req)) {
            self.pauses.refused(now, Asked::Session(session), error.retry_after_ms);
        }
        if wished {
            return self.drop_wish(session, code);
        }
        self.step(now, session, |session, ctx| session.on_refused(ctx, from, error.req, code));
    }

    fn on_have(&mut self, now: Instant, from: DeviceId, have: &Have) {
        let kept = self.sessions.get(&have.session).is_some_and(Session::is_kept);
        let vouched = self.peers.get(&from).is_some_and(|peer| peer.trusted);
        if have.req == 0 && !have.head.is_zero() && vouched && !kept {
            let name = named(self.config.rules, &have.ext);
            self.out.event(Event::Told { session: have.session, from, name });
        }
        let unknown = have.req == 0 && !have.head.is_zero() && !self.sessions.contains_key(&have.session);
        if unknown && vouched && self.config.follow && !self.wishes.contains_key(&have.session) {
            // No room is no error: the session is told of again when the devices meet again.
            let _ = self.follow(now, have.session, from);
        }
        if have.req != 0 {
            if !self.knowable(now, from, have.req, have.session) {
                return;
            }
            self.step(now, have.session, |session, ctx| session.answer_have(ctx, from, have));
        }
        self.step(now, have.session, |session, ctx| {
            session.on_announcement(ctx, from, have);
            if have.req == 0 {
                session.on_peer_head(ctx, from, have);
            }
        });
        self.standby_told(now, from, have);
    }

    fn on_want(&mut self, now: Instant, from: DeviceId, message: WantMsg) {
        let WantMsg { req, want, .. } = message;
        match self.prove(want, |want: &Want| want.target) {
            Ok(want) => {
                let session = want.body().session;
                let standing = WantMode::from_number(want.body().mode) == Some(WantMode::Standing);
                let generation = self.peers.get(&from).map(|peer| peer.generation);
                let permitted = !standing || generation >= Some(Generation::V2);
                if let Err(why) = self.config.rules.ensure(Clause::GEN_USE_1, permitted, Code::VER_NOT_PERMITTED) {
                    return self.refuse_for(now, from, req, Some(session), why);
                }
                // By way of a grantor it may come of a device that has no link here (SERVICE-VIA-1).
                if self.not_revoked(&want.body().target).is_err() {
                    return self.refuse(now, from, req.max(1), Some(session), Code::HO_UNKNOWN_SESSION);
                }
                if self.knowable(now, from, req.max(1), session) {
                    self.step(now, session, |session, ctx| session.on_want(ctx, from, req, want));
                }
            }
            Err(why) => self.refuse_for(now, from, req, None, why),
        }
    }

    fn on_offer(&mut self, now: Instant, from: DeviceId, message: OfferMsg) {
        let OfferMsg { req, offer, ext } = message;
        let holds = Pick::heard(IN_OFFER, &ext);
        if let Err((why, retry_after_ms)) = self.count_offer(now, from) {
            // Not verified, but good enough to say what the refusal is about.
            let session = offer.open(self.config.rules).ok().map(|offer| offer.session);
            self.out.event(Event::Violation { peer: from, session, violation: why });
            return self.refuse_for_now(now, from, (req, session), why.code, retry_after_ms);
        }
        match self.prove(offer, |offer: &Offer| offer.source) {
            Ok(offer) => {
                let session = offer.body().session;
                if self.step(now, session, |session, ctx| session.on_offer(ctx, from, req, offer, holds)).is_none() {
                    self.refuse(now, from, req, Some(session), Code::HO_UNKNOWN_SESSION);
                }
            }
            Err(why) => self.refuse_for(now, from, req, None, why),
        }
    }

    fn on_grant(&mut self, now: Instant, from: DeviceId, grant: Grant) {
        let req = grant.req;
        let session = match grant.record.open(self.config.rules) {
            Ok(record) => record.session,
            Err(why) => return self.refuse_for(now, from, req, None, why),
        };
        match self.prove_grant(&session, grant) {
            Ok(Some(grant)) => {
                self.step(now, session, |session, ctx| session.on_grant(ctx, from, grant));
            }
            Ok(None) => self.refuse(now, from, req, Some(session), Code::HO_UNKNOWN_SESSION),
            Err(why) => self.refuse_for(now, from, req, Some(session), why),
        }
    }

    /// Verifies the three signatures of a GRANT; none if its session isn't known.
    fn prove_grant(&self, session: &SessionId, grant: Grant) -> Result<Option<ProvenGrant>, Violation> {
        let rules = self.config.rules;
        let Some(known) = self.sessions.get(session) else { return Ok(None) };
        let want = self.prove(grant.want, |want: &Want| want.target)?;
        let record = self.prove(grant.record, |record: &Record| record.signer)?;
        let missing = Violation::new(Code::HO_CHAIN, Clause::HO_CHAIN_1);
        let parent = known.chain().get(&record.body().parent).ok_or(missing)?;
        let owner = parent.body().owner;
        let end = match grant.end.clone().prove(rules, |_: &Final| owner) {
            Ok(end) => end,
            Err(why) if why.clause == Clause::WIRE_SIGN_1 => {
                rules.ensure(Clause::HO_GRANT_6, false, Code::HO_FINAL)?;
                Proven::own(grant.end.open(rules)?, grant.end.sig())
            }
            Err(why) => return Err(why),
        };
        let parts = grant.parts.iter().map(|bytes| decode(rules, bytes)).collect::<Result<_, _>>()?;
        let inline = Inline { ops: grant.ops.into_vec(), parts };
        Ok(Some(ProvenGrant { req: grant.req, want, record, end, inline }))
    }

    pub(super) fn on_head(&mut self, now: Instant, from: DeviceId, head: Head) {
        let Head { session, records, more, ack, .. } = head;
        let mut proven = Vec::new();
        for record in records.into_vec() {
            let known = self.sessions.get(&session).and_then(|known| known.chain().get(&record.id()).cloned());
            match known.map_or_else(|| self.prove(record, |record: &Record| record.signer), Ok) {
                Ok(record) => proven.push(record),
                Err(why) => {
                    self.out.event(Event::Violation { peer: from, session: Some(session), violation: why });
                    break;
                }
            }
        }
        if let Err((at, violation)) = self.admissible(session, &proven) {
            self.out.event(Event::Violation { peer: from, session: Some(session), violation });
            proven.truncate(at);
        }
        let wish = self.wishes.get(&session).filter(|wish| wish.from == from).copied();
        if !self.sessions.contains_key(&session) {
            if !self.learn(session, &proven, wish.is_some()) {
                return;
            }
            self.cut_session(now, session);
        }
        let ack = ack.get().cloned().and_then(|ack| {
            let chain = self.sessions.get(&session)?.chain();
            let fresh = proven.iter().find(|record| record.id() == ack.record);
            let owner = chain.get(&ack.record).or(fresh)?.body().owner;
            let verifies = self.config.rules.keeps(Clause::WIRE_SIGN_1);
            let good = !verifies || verify_message(&owner, &ack_message(&ack.record), &ack.sig);
            (good || !self.config.rules.keeps(Clause::HO_HEAD_3)).then_some(ProvenAck {
                record: ack.record,
                by: owner,
                sig: ack.sig,
            })
        });
        self.step(now, session, |session, ctx| session.on_head(ctx, from, proven, more, ack));
        if let Some(Wish { id, deadline, .. }) = wish.filter(|_| !more) {
            self.wishes.remove(&session);
            self.step(now, session, |session, ctx| match id {
                Some(id) => session.request_goes_on(ctx, id, from, deadline.since(now)),
                None => {
                    session.keep(ctx.fx);
                    session.show_grantor(ctx);
                }
            });
        }
    }

    /// A session that wasn't known: kept in memory only, until somebody here wants it. What was acknowledged never makes
    /// room for it (LIMIT-ROOM-1).
    fn learn(&mut self, id: SessionId, records: &[Proven<Record>], wanted: bool) -> bool {
        let Some(chain) = records.first().cloned().and_then(|first| Chain::start(self.config.rules, first).ok()) else {
            return false;
        };
        if chain.session() != id {
            return false;
        }
        let hearsay: Vec<_> = self.sessions.iter().filter(|(_, s)| s.is_idle()).map(|(id, _)| *id).collect();
        if hearsay.len() >= MAX_HEARSAY && !wanted {
            hearsay.first().map(|oldest| self.sessions.remove(oldest));
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return false;
        }
        let (actor, log) = (Actor::new(&self.config.device, self.fresh.nonce()), self.fresh.nonce());
        let mut session = Session::new(self.config.device, "", chain, actor, SessionData::unknown(id, log));
        session.holdings.set_pick(self.pick_of_new(&id));
        if self.restored {
            session.distrust_store();
        }
        self.sessions.insert(id, session);
        true
    }

    /// Counts an offer against the peer's allowance (HO-OFFER-4); if that is used up, in how many milliseconds it has room.
    fn count_offer(&mut self, now: Instant, from: DeviceId) -> Result<(), (Violation, u32)> {
        self.offers.retain(|_, made| made.back().is_some_and(|at| now.since(*at) < OFFER_WINDOW));
        let made = self.offers.entry(from).or_default();
        while made.front().is_some_and(|at| now.since(*at) >= OFFER_WINDOW) {
            made.pop_front();
        }
        let room = made.len() < MAX_OFFERS;
        self.config
            .rules
            .ensure(Clause::HO_OFFER_4, room, Code::LIMIT_OFFERS)
            .map_err(|why| (why, made.front().map_or(0, |first| now.left_ms(*first, OFFER_WINDOW))))?;
        made.push_back(now);
        Ok(())
    }

    pub(super) fn prove<T: crate::wire::SignedBody>(
        &self,
        signed: Signed<T>,
        signer: impl FnOnce(&T) -> DeviceId,
    ) -> Result<Proven<T>, Violation> {
        signed.prove(self.config.rules, signer)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::data::session_id;
    use crate::wire::{Genesis, Hash, Kind, List, Nonce, sign_message};
    use crate::{Config, Continuity};

    /// LIMIT-ROOM-1: sessions that others told of give way to one another; what is kept or wanted doesn't.
    #[test]
    fn so_many_sessions_that_nobody_asked_for_are_known() {
        let (key, now) = (SigningKey::from_bytes(&[1; 32]), Instant::from_micros(1));
        let config = Config::new(DeviceId::new(key.verifying_key().to_bytes()));
        let mut core = Endpoint::open(config, [], Lsn(0), Continuity::Proven, [2; 32], now).expect("a device");
        let own = core.create_session(now, "notes", &[]).expect("a session");
        let request = core.poll_sign().expect("its genesis");
        core.handle_signed(now, request.id, sign_message(&request.message, &key));
        let mut learn = |n: usize, wanted| {
            let (other, nonce) = (DeviceId::new([3; 32]), Nonce::new([n as u8; 16]));
            let (id, members) = (session_id(&other, &nonce), List::default());
            let first = Proven::assume(Record {
                kind: Kind::Genesis.number(),
                session: id,
                parent: Hash::ZERO,
                term: 0,
                n: 0,
                signer: other,
                owner: other,
                grantor: other,
                want: Hash::new([4; 32]),
                roster: Hash::ZERO,
                genesis: Some(Genesis { nonce, members }).into(),
            });
            assert!(core.learn(id, &[first], wanted) && core.session(&id).is_some() && core.session(&own).is_some());
            core.sessions.len() - 1
        };
        (0..MAX_HEARSAY).for_each(|n| assert_eq!(learn(n, false), n + 1));
        assert_eq!(learn(MAX_HEARSAY, false), MAX_HEARSAY);
        assert_eq!(learn(MAX_HEARSAY + 1, true), MAX_HEARSAY + 1);
    }
}
