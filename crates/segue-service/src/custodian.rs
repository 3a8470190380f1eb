//! Sessions in custody: what devices say of them, put to the machine of each, and what it does, put to the directory.

use std::collections::{BTreeMap, VecDeque};

use segue_proto::handoff::{Chain, ProvenAck, ack_message};
use segue_proto::limits::{MAX_OFFERS, MAX_TOLD, OFFER_WINDOW};
use segue_proto::service::custody::{Acts, Around, Custody, Set, refusal};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{
    Cas, DeviceId, Error, Exts, Final, Freeze, Hash, Head, Message, Offer, OfferMsg, Proven, Record, SessionId, Sig,
    Signed, Want, WantMsg, verify_message,
};
use segue_proto::{Clause, Code, Generation, Instant, Rules, Violation};

use crate::accounts::Standing;
use crate::directory::{Directory, Failed, Unset};
use crate::quota::Quota;

/// What a service is told that keeps sessions in custody.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The service's own key.
    pub me: DeviceId,
    /// Its tenure: [`segue_proto::Endpoint::host_custody`] gives it.
    pub tenure: Hash,
    /// The longest lease that it gives an owner, in microseconds; 0 gives none.
    pub lease: u64,
}

/// The sessions in custody.
#[derive(Debug)]
pub(crate) struct Custodian {
    terms: Terms,
    rules: Rules,
    /// Those that something is going on with, and some that were looked at.
    sessions: BTreeMap<SessionId, Custody>,
    /// Chains that devices told of before they bring them.
    told: BTreeMap<SessionId, Chain>,
    linked: BTreeMap<DeviceId, Generation>,
    /// When each account, or device if there are none, made its last offers.
    offers: BTreeMap<DeviceId, VecDeque<Instant>>,
    req: u32,
}

/// What one message came to.
struct Done {
    session: SessionId,
    from: Option<DeviceId>,
    req: u32,
    acts: Acts,
}

/// What came of all messages, once the directory has made the changes.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tells: Vec<(DeviceId, Message)>,
    pub(crate) signs: Vec<(SessionId, Hash, Vec<u8>)>,
}

/// What a message comes to.
type Step = Box<dyn FnOnce(&mut Custody, &mut Around<'_>)>;

/// Something that happened to sessions in custody.
pub(crate) enum Said {
    Message { from: DeviceId, standing: Standing, generation: Generation, message: Box<Message> },
    Signed { session: SessionId, record: Hash, sig: Sig },
    Gone(DeviceId),
    Time,
}

impl Custodian {
    /// A service with what its directory holds.
    pub(crate) fn open(
        terms: Terms,
        rules: Rules,
        now: Instant,
        directory: &impl Directory,
    ) -> Result<Custodian, Failed> {
        let (sessions, told, linked, offers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut custodian = Custodian { terms, rules, sessions, told, linked, offers, req: 0 };
        for session in directory.waiting()? {
            custodian.load(now, directory, session)?;
        }
        Ok(custodian)
    }

    /// When something is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.sessions.values().filter_map(Custody::next_timeout).min()
    }

    /// Does what was said, in order. The directory makes all changes at once; what it doesn't make wasn't done.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        directory: &mut impl Directory,
        quota: &Quota,
        said: Vec<Said>,
    ) -> Result<Outcome, Failed> {
        let mut done = Vec::new();
        for said in said {
            match said {
                Said::Message { from, standing, generation, message } => {
                    self.linked.insert(from, generation);
                    done.extend(self.on_message(now, directory, from, &standing, *message)?);
                }
                Said::Signed { session, record, sig } => {
                    done.extend(self.with(now, directory, session, |it, around| it.on_signed(around, record, sig))?);
                }
                Said::Gone(device) => drop(self.linked.remove(&device)),
                Said::Time => {
                    let due = |it: &Custody| it.next_timeout().is_some_and(|at| at <= now);
                    let due: Vec<_> = self.sessions.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
                    for session in due {
                        done.extend(self.with(now, directory, session, |it, around| it.on_timeout(around))?);
                    }
                }
            }
        }
        self.settle(directory, quota, done)
    }

    /// Has the directory make the changes, and lets out what was said if it did.
    fn settle(&mut self, directory: &mut impl Directory, quota: &Quota, done: Vec<Done>) -> Result<Outcome, Failed> {
        let batch: Vec<Set> = done.iter().flat_map(|done| done.acts.sets.iter().cloned()).collect();
        let outcomes = if batch.is_empty() { Vec::new() } else { directory.set(self.rules, &batch, quota)? };
        let failed = batch.iter().zip(outcomes).filter_map(|(set, outcome)| Some((set.session, outcome.err()?)));
        let failed: BTreeMap<SessionId, Unset> = failed.collect();
        failed.keys().for_each(|session| drop(self.sessions.remove(session)));
        let mut out = Outcome::default();
        for Done { session, from, req, acts } in done {
            match failed.get(&session) {
                None => {
                    out.tells.extend(acts.tells);
                    out.signs.extend(acts.signs.into_iter().map(|(record, bytes)| (session, record, bytes)));
                }
                Some(why) => {
                    let code = match why {
                        Unset::Stale(_) => Code::HO_STALE_PARENT,
                        Unset::Full(_) => Code::LIMIT_QUOTA,
                    };
                    let answer = from.filter(|_| req != 0).map(|from| (from, refusal(session, req, code).into()));
                    out.tells.extend(answer);
                }
            }
        }
        if self.sessions.len() > MAX_CACHED {
            self.sessions.retain(|_, custody| !custody.is_quiet() || custody.next_timeout().is_some());
        }
        Ok(out)
    }

    /// Runs a step of a session; none if it isn't in custody.
    fn with(
        &mut self,
        now: Instant,
        directory: &impl Directory,
        session: SessionId,
        step: impl FnOnce(&mut Custody, &mut Around<'_>),
    ) -> Result<Option<Done>, Failed> {
        self.load(now, directory, session)?;
        let Some(custody) = self.sessions.get_mut(&session) else { return Ok(None) };
        let mut acts = Acts::default();
        let Terms { tenure, lease, .. } = self.terms;
        let (rules, linked, req) = (self.rules, &self.linked, &mut self.req);
        step(custody, &mut Around { now, rules, tenure, lease, linked, req, acts: &mut acts });
        Ok(Some(Done { session, from: None, req: 0, acts }))
    }

    fn load(&mut self, now: Instant, directory: &impl Directory, session: SessionId) -> Result<(), Failed> {
        if !self.sessions.contains_key(&session)
            && let Some(kept) = directory.kept(&session)?
        {
            let custody = Custody::restore(self.terms.me, self.rules, now, &kept).map_err(Failed)?;
            self.sessions.insert(session, custody);
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        now: Instant,
        directory: &impl Directory,
        from: DeviceId,
        standing: &Standing,
        message: Message,
    ) -> Result<Option<Done>, Failed> {
        let (session, req) = match named(self.rules, &message) {
            Ok(named) => named,
            Err((req, why)) => return Ok(Some(self.answer(SessionId::ZERO, from, req, why.code))),
        };
        if let Err(code) = standing.takes(self.rules, &message) {
            return Ok(Some(self.answer(session, from, req, code)));
        }
        if matches!(message, Message::Offer(_))
            && let Err(retry_after_ms) = self.count_offer(now, standing.payer)
        {
            return Ok(Some(self.answer_for_now(session, from, req, Code::LIMIT_OFFERS, retry_after_ms)));
        }
        self.load(now, directory, session)?;
        let known = self.sessions.get(&session).is_some_and(|custody| custody.may_know(&from));
        let brings = matches!(&message, Message::Head(_) | Message::Cas(_)) && !self.sessions.contains_key(&session);
        if !known && self.rules.keeps(Clause::HO_MEMBER_1) && !brings {
            return Ok(Some(self.answer(session, from, req, Code::HO_UNKNOWN_SESSION)));
        }
        let done = match self.sessions.contains_key(&session) {
            true => self.on_known(now, directory, session, from, message)?,
            // What it tells of it may not bring (SERVICE-LOGIN-1).
            false if standing.may_hand_over.is_err() => return Ok(None),
            false => self.on_brought(session, from, standing.payer, message)?,
        };
        match done {
            Ok(done) => Ok(done.map(|done| Done { from: Some(from), req, ..done })),
            Err(why) => Ok(Some(self.answer(session, from, req, why.code))),
        }
    }

    /// Counts an offer against the allowance of whoever pays; if none is left, in how many
    /// milliseconds there is (HO-OFFER-4).
    fn count_offer(&mut self, now: Instant, by: DeviceId) -> Result<(), u32> {
        let recent = |at: &Instant| now.since(*at) < OFFER_WINDOW;
        self.offers.retain(|_, made| made.back().is_some_and(recent));
        let made = self.offers.entry(by).or_default();
        made.retain(recent);
        if made.len() >= MAX_OFFERS && self.rules.keeps(Clause::HO_OFFER_4) {
            return Err(made.front().map_or(0, |first| now.left_ms(*first, OFFER_WINDOW)));
        }
        made.push_back(now);
        Ok(())
    }

    /// A message of a session in custody, its signatures verified.
    fn on_known(
        &mut self,
        now: Instant,
        directory: &impl Directory,
        session: SessionId,
        from: DeviceId,
        message: Message,
    ) -> Result<Result<Option<Done>, Violation>, Failed> {
        let rules = self.rules;
        let step: Step = match message {
            Message::Want(WantMsg { req, want, .. }) => match want.prove(rules, |want: &Want| want.target) {
                Ok(want) => Box::new(move |it, around| it.on_want(around, from, req, want)),
                Err(why) => return Ok(Err(why)),
            },
            Message::Offer(OfferMsg { req, offer, ext }) => match offer.prove(rules, |offer: &Offer| offer.source) {
                Ok(offer) => Box::new(move |it, around| it.on_offer(around, from, req, offer, ext)),
                Err(why) => return Ok(Err(why)),
            },
            Message::Freeze(Freeze { req, to, end, .. }) => {
                let owner = self.sessions.get(&session).map_or(from, |it| it.chain().head().body().owner);
                match end.prove(rules, |_: &Final| owner) {
                    Ok(end) => Box::new(move |it, around| it.on_freeze(around, from, req, to, end)),
                    Err(why) => return Ok(Err(Violation::new(Code::HO_FINAL, why.clause))),
                }
            }
            Message::Cas(Cas { req, record, .. }) => match self.prove_record(&session, record) {
                Ok(record) => Box::new(move |it, around| it.on_cas(around, from, req, record)),
                Err(why) => return Ok(Err(why)),
            },
            Message::Head(head) => {
                let (records, ack) = self.prove_head(&session, &head);
                Box::new(move |it, around| it.on_head(around, from, records, head.more, ack))
            }
            Message::Have(have) => Box::new(move |it, around| it.on_have(around, from, have.req, &have.head)),
            Message::Renew(renew) => Box::new(move |it, around| it.on_renew(around, from, &renew)),
            Message::Delegate(ask) => {
                Box::new(move |it, around| it.on_delegate(around, from, ask.req, &ask.parent, ask.grantor))
            }
            Message::Decline(no) => Box::new(move |it, around| it.on_decline(around, from, no)),
            Message::Cancel(no) => Box::new(move |it, around| it.on_cancel(around, from, no.subject, no.code.into())),
            Message::Error(error) => {
                Box::new(move |it, around| it.on_error(around, from, error.req, error.code.into()))
            }
            _ => return Ok(Ok(None)),
        };
        Ok(Ok(self.with(now, directory, session, step)?))
    }

    /// A message of a session that isn't in custody: its owner brings it by its chain, and then by CAS.
    fn on_brought(
        &mut self,
        session: SessionId,
        from: DeviceId,
        by: DeviceId,
        message: Message,
    ) -> Result<Result<Option<Done>, Violation>, Failed> {
        match message {
            Message::Head(head) => {
                self.hear(session, &head);
                Ok(Ok(None))
            }
            Message::Cas(Cas { req, record, .. }) => {
                let unknown = Err(Violation::new(Code::HO_UNKNOWN_SESSION, Clause::HO_MEMBER_1));
                let Some(chain) = self.told.remove(&session) else { return Ok(unknown) };
                let head = chain.head().body();
                let whole = chain.head().id() == record.id();
                let owns = head.owner == from && (head.grantor == from || head.grantor == self.terms.me);
                if !whole || !owns {
                    return Ok(Err(Violation::new(Code::HO_NOT_OWNER, Clause::SERVICE_GRANTOR_2)));
                }
                let records: Vec<_> = chain.suffix(&Hash::ZERO).iter().map(|it| encode(it.signed())).collect();
                let head = record.id();
                let set = Set { by, session, expect: Hash::ZERO, head, records, grant: None, lease: None };
                self.sessions.insert(session, Custody::new(self.terms.me, by, chain));
                let tenure = self.terms.tenure;
                let answer = Cas { req, record, want: None.into(), tenure, ext: Exts::empty() };
                let acts = Acts { tells: vec![(from, answer.into())], sets: vec![set], signs: Vec::new() };
                Ok(Ok(Some(Done { session, from: None, req: 0, acts })))
            }
            _ => Ok(Ok(None)),
        }
    }

    /// Keeps a chain that a device tells of, until it brings it.
    fn hear(&mut self, session: SessionId, head: &Head) {
        let rules = self.rules;
        for record in head.records.iter() {
            let Ok(record) = record.clone().prove(rules, |record: &Record| record.signer) else { return };
            match self.told.get_mut(&session) {
                Some(chain) => {
                    if chain.admit(rules, record).is_err() {
                        return;
                    }
                }
                None => {
                    let Ok(chain) = Chain::start(rules, record) else { return };
                    if chain.session() != session {
                        return;
                    }
                    if self.told.len() >= MAX_TOLD {
                        self.told.pop_first();
                    }
                    self.told.insert(session, chain);
                }
            }
        }
    }

    fn prove_record(&self, session: &SessionId, record: Signed<Record>) -> Result<Proven<Record>, Violation> {
        let known = self.sessions.get(session).and_then(|it| it.chain().get(&record.id()).cloned());
        known.map_or_else(|| record.prove(self.rules, |record| record.signer), Ok)
    }

    /// The records of a HEAD up to the first that doesn't verify, and its acknowledgement if that does.
    fn prove_head(&self, session: &SessionId, head: &Head) -> (Vec<Proven<Record>>, Option<ProvenAck>) {
        let records = head.records.iter().cloned().map_while(|record| self.prove_record(session, record).ok());
        let records: Vec<_> = records.collect();
        let chain = self.sessions.get(session).map(Custody::chain);
        let ack = head.ack.get().and_then(|ack| {
            let fresh = records.iter().find(|record| record.id() == ack.record);
            let by = chain.and_then(|chain| chain.get(&ack.record)).or(fresh)?.body().owner;
            verify_message(&by, &ack_message(&ack.record), &ack.sig).then_some(ProvenAck {
                record: ack.record,
                by,
                sig: ack.sig,
            })
        });
        (records, ack)
    }

    fn answer(&self, session: SessionId, from: DeviceId, req: u32, code: Code) -> Done {
        self.answer_for_now(session, from, req, code, 0)
    }

    /// An error, after which it may be tried again in so many milliseconds; 0 says nothing of that.
    fn answer_for_now(&self, session: SessionId, from: DeviceId, req: u32, code: Code, retry_after_ms: u32) -> Done {
        let refused = Error { retry_after_ms, ..refusal(session, req, code) };
        let answer = (req != 0).then(|| (from, Message::from(refused)));
        let acts = Acts { tells: answer.into_iter().collect(), ..Acts::default() };
        Done { session, from: None, req, acts }
    }
}

/// The session and the request number of a message; the number and why, if it isn't well-formed.
fn named(rules: Rules, message: &Message) -> Result<(SessionId, u32), (u32, Violation)> {
    Ok(match message {
        Message::Have(it) => (it.session, it.req),
        Message::Head(it) => (it.session, 0),
        Message::Renew(it) => (it.session, it.req),
        Message::Delegate(it) => (it.session, it.req),
        Message::Decline(it) => (it.session, 0),
        Message::Cancel(it) => (it.session, 0),
        Message::Error(Error { session, .. }) => (session.get().copied().unwrap_or(SessionId::ZERO), 0),
        Message::Want(it) => (it.want.open(rules).map_err(|why| (it.req, why))?.session, it.req),
        Message::Offer(it) => (it.offer.open(rules).map_err(|why| (it.req, why))?.session, it.req),
        Message::Freeze(it) => (it.end.open(rules).map_err(|why| (it.req, why))?.session, it.req),
        Message::Cas(it) => (it.record.open(rules).map_err(|why| (it.req, why))?.session, it.req),
        _ => (SessionId::ZERO, 0),
    })
}

/// The sessions that are kept in memory before those with which nothing is going on are let go. From: guess, some 4 MB.
const MAX_CACHED: usize = 4_096;
