//! Delegation: an owner lets a service sign the session's next record, and what follows for the owner.
//!
//! ```text
//! Resting ── delegate ──▶ Asking ── CAS ──▶ Resting, the delegate is signed
//! Resting ── a WANT that it lets have the session ──▶ Freezing ── FINAL signed, journaled ──▶ Frozen ── another head ──▶ Resting
//! Resting ── reclaim ──▶ Reclaiming ── another head, deadline ──▶ Resting
//! ```
//!
//! Only this file assigns the machine's state.

use alloc::boxed::Box;

use super::effects::{Ctx, Hold, SignFor, new_id};
use super::holdings::{Holdings, Inline, Release};
use super::keys;
use super::session::Session;
use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::{Event, HandoffId};
use crate::generations::Generation;
use crate::limits::LEASE;
use crate::wire::codec::encode;
use crate::wire::{
    Cas, DelegateMsg, DeviceId, Exts, Final, Freeze, Hash, Kind, Proven, Record, Renew, Sig, Signed, Want, WantMode,
};
use crate::{Code, Violation};

/// What this device, as an owner, has to do with a service that is, or is to be, the grantor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Delegate {
    state: State,
    /// When the lease is to be asked for again, while the grantor is linked.
    renew: Option<Instant>,
    /// The grantor that was told of this device's chain over their present link.
    told: Option<DeviceId>,
    /// The newest head that each service showed this device.
    shown: alloc::collections::BTreeMap<DeviceId, Hash>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum State {
    #[default]
    Resting,
    /// The service is asked to take the chain into custody.
    Asking { to: DeviceId, req: u32, deadline: Instant },
    /// The FINAL is being signed. Nothing is written under the head any more.
    Freezing(Box<Frost>),
    /// The FINAL is in the journal, and goes out until the head changes.
    Frozen(Box<Frost>, Signed<Final>),
    /// The grantor is asked to sign the session back.
    Reclaiming { deadline: Instant, sent: bool },
}

/// What an owner that writes no more waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Frost {
    id: Option<HandoffId>,
    to: DeviceId,
    want: Hash,
    deadline: Instant,
    /// The deadline passed, and the grantor is asked to let this device go on.
    back: bool,
    end: Final,
}

impl Delegate {
    /// Whether the owner writes no more under this head.
    pub(super) fn is_frozen(&self, head: &Hash) -> bool {
        self.frost().is_some_and(|frost| frost.end.parent == *head)
    }

    /// Whom a frozen session is for.
    pub(super) fn frozen_for(&self, head: &Hash) -> Option<DeviceId> {
        self.frost().filter(|frost| frost.end.parent == *head).map(|frost| frost.to)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Resting => None,
            State::Asking { deadline, .. } | State::Reclaiming { deadline, .. } => Some(*deadline),
            State::Freezing(frost) | State::Frozen(frost, _) => (!frost.back).then_some(frost.deadline),
        };
        [state, self.renew].into_iter().flatten().min()
    }

    pub(super) fn awaits(&self, from: DeviceId, req: u32) -> bool {
        matches!(&self.state, State::Asking { to, req: own, .. } if *to == from && *own == req)
    }

    /// This device's chain is shown to a grantor.
    pub(super) fn tells(&mut self, grantor: DeviceId) {
        self.told = Some(grantor);
    }

    /// A device has a new link.
    pub(super) fn meets(&mut self, peer: &DeviceId) {
        self.told.take_if(|told| told == peer);
    }

    fn frost(&self) -> Option<&Frost> {
        match &self.state {
            State::Freezing(frost) | State::Frozen(frost, _) => Some(frost),
            _ => None,
        }
    }
}

/// Commands.
impl<H: Holdings> Session<H> {
    /// Has `service` sign the next record, from now on.
    pub fn delegate(&mut self, ctx: &mut Ctx<'_>, service: DeviceId, timeout: u64) -> Result<(), UsageError> {
        self.require_grantor(ctx.rules)?;
        if service == self.me {
            return Err(UsageError::SelfTarget);
        }
        self.end_delegating(ctx, Code::HO_SUPERSEDED);
        self.delegate.state = State::Asking { to: service, req: 0, deadline: ctx.now.after(timeout) };
        self.ask_custody(ctx, service);
        Ok(())
    }

    /// Asks the grantor to have this device sign the next record again.
    pub fn reclaim(&mut self, ctx: &mut Ctx<'_>, timeout: u64) -> Result<(), UsageError> {
        if self.owner() != Some(self.me) || !self.is_entitled(ctx.rules, self.head()) {
            return Err(UsageError::NotOwner(self.owner()));
        }
        let grantor = self.grantor().ok_or(UsageError::NotDelegated)?;
        if self.source.is_signing() || self.delegate.is_frozen(&self.head().id()) {
            return Err(UsageError::Busy);
        }
        self.end_delegating(ctx, Code::HO_SUPERSEDED);
        self.delegate.state = State::Reclaiming { deadline: ctx.now.after(timeout), sent: false };
        self.ask_back(ctx, grantor);
        Ok(())
    }

    /// The device that signs the next record, if that isn't the owner.
    pub fn grantor(&self) -> Option<DeviceId> {
        let head = self.head().body();
        (head.grantor != head.owner).then_some(head.grantor)
    }

    /// This device may sign the session's next record: it is primary, and delegated to nobody.
    pub(super) fn require_grantor(&self, rules: Rules) -> Result<(), UsageError> {
        self.require_primary(rules)?;
        self.grantor().map_or(Ok(()), |grantor| Err(UsageError::Delegated(grantor)))
    }
}

/// Who is spoken to.
impl<H: Holdings> Session<H> {
    /// This device owns, and this other one is the grantor.
    pub(super) fn leans_on(&self, device: &DeviceId) -> bool {
        self.owner() == Some(self.me) && self.grantor() == Some(*device)
    }

    /// Over whose link a target is reached: its own, or that of the grantor that this device delegated to.
    pub(super) fn door(&self, to: DeviceId) -> DeviceId {
        self.grantor().filter(|_| self.owner() == Some(self.me)).unwrap_or(to)
    }

    /// Where a WANT goes that is for what `from` owns (SERVICE-WANT-1).
    pub(super) fn way(&self, rules: Rules, from: DeviceId) -> DeviceId {
        let delegated = self.grantor().filter(|_| rules.keeps(Clause::SERVICE_WANT_1));
        delegated.filter(|_| self.owner() == Some(from)).unwrap_or(from)
    }

    /// Shows the head to a grantor that has a link with this device and wasn't told of the session over it
    /// (SERVICE-SHOW-1).
    pub fn show_grantor(&mut self, ctx: &mut Ctx<'_>) {
        let Some(grantor) = self.grantor().filter(|grantor| self.delegate.told != Some(*grantor)) else { return };
        if self.kept && ctx.peer(&grantor).is_some() && ctx.rules.keeps(Clause::SERVICE_SHOW_1) {
            self.delegate.tells(grantor);
            let have = self.have(0, None);
            ctx.promise(grantor, Hold::Durable, have);
        }
    }

    /// Whether a device may know the chain, though perhaps nothing else (SERVICE-LOOK-1).
    pub fn may_know(&self, ctx: &Ctx<'_>, device: &DeviceId) -> bool {
        self.may_read(ctx, device) || self.chain.is_grantor(device)
    }
}

/// Messages.
impl<H: Holdings> Session<H> {
    /// A WANT that the grantor passed on: whether its target may have the session is for this device, its owner, to say.
    pub(super) fn on_passed_want(&mut self, ctx: &mut Ctx<'_>, via: DeviceId, req: u32, want: Proven<Want>) {
        let (target, head) = (want.body().target, self.head().id());
        if self.delegate.is_frozen(&head) {
            // The FINAL that is there, or on its way, decides.
            return;
        }
        let judged = if want.body().parent != head {
            Err(Violation::new(Code::HO_STALE_PARENT, Clause::HO_WANT_1))
        } else if !self.may_read(ctx, &target) {
            Err(Violation::new(Code::HO_UNKNOWN_SESSION, Clause::HO_WANT_4))
        } else if !self.is_entitled(ctx.rules, self.head()) {
            Err(Violation::new(Code::HO_NOT_OWNER, Clause::HO_WANT_6))
        } else {
            self.judge_answer(ctx.rules, target, want.body())
        };
        match judged {
            Ok(()) => self.note_want(ctx, target, req, want),
            Err(violation) => ctx.refuse_for(via, req, self.id(), violation),
        }
    }

    /// CAS: a service has the chain in custody, or made this device the owner.
    pub fn on_cas(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, cas: ProvenCas) {
        let ProvenCas { req, record, want, tenure } = cas;
        match want {
            Some(want) => self.on_lease_takeover(ctx, from, req, record, want),
            None if self.delegate.awaits(from, req) && record.id() == self.head().id() => {
                self.sign_delegate(ctx, from, tenure);
            }
            None => self.on_head(ctx, from, alloc::vec![record], false, None),
        }
    }

    /// RENEW of the grantor: how long this device may be silent.
    pub fn on_lease(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, renew: &Renew) {
        if !self.leans_on(&from) || renew.head != self.head().id() {
            return;
        }
        let ttl = u64::from(renew.ttl) * 1_000;
        self.delegate.renew = (ttl > 0 && ctx.rules.keeps(Clause::SERVICE_RENEW_1)).then(|| ctx.now.after(ttl / 3));
    }

    /// An error in answer to a request to a service.
    pub(super) fn on_custody_refused(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, code: Code) {
        if self.delegate.awaits(from, req) {
            self.end_delegating(ctx, code);
        }
    }

    /// A device shows a head. If it is one that signs for others, it may not show an older one than it did, nor have
    /// signed two records under one parent (SERVICE-FORK-1).
    pub(super) fn watch_grantor(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, theirs: Hash) {
        if !self.chain.is_service(&from)
            || self.chain.get(&theirs).is_none()
            || !ctx.rules.keeps(Clause::SERVICE_FORK_1)
        {
            return;
        }
        let before = self.delegate.shown.insert(from, theirs);
        let fell = before.is_some_and(|before| before != theirs && self.chain.is_above(&before, &theirs));
        if fell {
            self.delegate.shown.extend(before.map(|before| (from, before)));
            self.report_fork(ctx, from);
        }
    }

    /// The service that made this device the owner has shown it that record.
    pub(super) fn note_signer(&mut self, record: &Hash) {
        let signer = self.chain.get(record).map(|record| record.body().signer);
        let service = signer.filter(|signer| self.chain.is_service(signer));
        self.delegate.shown.extend(service.map(|service| (service, *record)));
    }

    /// A device signed two records with one parent: if it is a service, whatever their terms, it forks.
    pub(super) fn watch_signer(&mut self, ctx: &mut Ctx<'_>, record: &Hash) {
        let Some(body) = self.chain.get(record).map(|record| record.body().clone()) else { return };
        let serves = self
            .chain
            .get(&body.parent)
            .is_some_and(|parent| parent.body().grantor == body.signer && parent.body().owner != body.signer);
        let twice = |other: &&Proven<Record>| {
            other.id() != *record && other.body().parent == body.parent && other.body().signer == body.signer
        };
        let forks = serves && self.chain.records().any(|other| twice(&other));
        if forks && ctx.rules.keeps(Clause::SERVICE_FORK_1) {
            self.report_fork(ctx, body.signer);
        }
    }

    fn report_fork(&self, ctx: &mut Ctx<'_>, service: DeviceId) {
        let violation = Violation::new(Code::SVC_EQUIVOCATION, Clause::SERVICE_FORK_1);
        ctx.event(Event::Violation { peer: service, session: Some(self.id()), violation });
    }
}

/// Steps of an owner.
impl<H: Holdings> Session<H> {
    /// Stops writing, for a target whose WANT may have the session (SERVICE-FREEZE-1). True if the FINAL is being signed.
    pub(super) fn freeze(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) -> bool {
        let head = self.head().id();
        if self.source.is_signing() || self.delegate.is_frozen(&head) {
            return false;
        }
        let Some(live) = self.wants.get(&to).filter(|live| live.expires >= ctx.now).cloned() else { return false };
        // What the target said that it holds, if that is all; else what this device holds now.
        let fits =
            self.holdings.release(ctx.rules, live.want.body().have.get()).filter(|it| it.inline == Inline::default());
        let Some(Release { root, exclusive, manifest, manifest_len, .. }) = fits.or_else(|| self.holdings.standing())
        else {
            return false;
        };
        let end = Final { session: self.id(), parent: head, root, exclusive, manifest, manifest_len };
        let (id, deadline) = self.take_offering(&to).map_or((None, live.expires), |(id, at)| (Some(id), at));
        self.end_delegating(ctx, Code::HO_SUPERSEDED);
        ctx.sign(SignFor::Final, &end);
        let frost = Frost { id, to, want: live.want.id(), deadline, back: false, end };
        self.delegate.state = State::Freezing(Box::new(frost));
        true
    }

    /// The FINAL is signed: it leaves once it is durable (SERVICE-FREEZE-2). False if it wasn't this machine's.
    pub(super) fn on_frost_signed(&mut self, ctx: &mut Ctx<'_>, id: Hash, sig: Sig) -> bool {
        let State::Freezing(frost) = &self.delegate.state else { return false };
        if new_id(&frost.end) != id {
            return false;
        }
        let State::Freezing(frost) = core::mem::take(&mut self.delegate.state) else { return false };
        let signed = Proven::own(frost.end.clone(), sig).signed().clone();
        let to = frost.to;
        self.wants.remove(&to);
        let message = Freeze { req: 0, to, end: signed.clone(), ext: Exts::empty() };
        ctx.fx.writes.push(keys::put(self.id(), keys::FROZEN, &[], encode(&message)));
        self.delegate.state = State::Frozen(frost, signed);
        if let Some(grantor) = self.grantor() {
            self.send_freeze(ctx, grantor);
        }
        true
    }

    /// Restores a FREEZE that the journal holds.
    pub fn restore_freeze(&mut self, now: Instant, id: HandoffId, freeze: &Freeze) -> Result<(), Violation> {
        let end = freeze.end.open(Rules::ALL)?;
        if end.parent == self.head().id() {
            // The user who asked is gone, and so is the deadline: this device goes on as soon as it may.
            let (to, want, back) = (freeze.to, Hash::ZERO, true);
            let frost = Frost { id: Some(id), to, want, deadline: now, back, end };
            self.delegate.state = State::Frozen(Box::new(frost), freeze.end.clone());
        }
        Ok(())
    }

    /// Whatever waits for a service's link.
    pub(super) fn delegate_on_peer(&mut self, ctx: &mut Ctx<'_>, peer: DeviceId) {
        match &self.delegate.state {
            State::Asking { to, .. } if *to == peer => self.ask_custody(ctx, peer),
            State::Frozen(..) if self.leans_on(&peer) && ctx.rules.keeps(Clause::SERVICE_FREEZE_2) => {
                self.send_freeze(ctx, peer);
            }
            State::Reclaiming { .. } if self.leans_on(&peer) => self.ask_back(ctx, peer),
            _ => {}
        }
        if self.leans_on(&peer) {
            self.renew(ctx);
        }
    }

    pub(super) fn delegate_timeout(&mut self, ctx: &mut Ctx<'_>) {
        if self.delegate.renew.is_some_and(|at| at <= ctx.now) {
            self.renew(ctx);
        }
        match &mut self.delegate.state {
            State::Asking { deadline, .. } if *deadline <= ctx.now => self.end_delegating(ctx, Code::HO_TIMEOUT),
            State::Reclaiming { deadline, sent } if *deadline <= ctx.now => {
                let code = if *sent { Code::HO_PENDING } else { Code::HO_TIMEOUT };
                self.end_delegating(ctx, code);
            }
            State::Freezing(frost) | State::Frozen(frost, _) if frost.deadline <= ctx.now && !frost.back => {
                self.thaw(ctx);
            }
            _ => {}
        }
    }

    /// An owner that writes no more gives up: it asks to be let go on. False if it isn't one. What comes of it the
    /// grantor decides, so that the handoff is pending.
    pub(super) fn thaw(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let session = self.id();
        let (State::Freezing(frost) | State::Frozen(frost, _)) = &mut self.delegate.state else { return false };
        let (id, peer) = (frost.id, frost.to);
        if !core::mem::replace(&mut frost.back, true)
            && let Some(id) = id
        {
            ctx.event(Event::HandoffPending { id, session, peer });
        }
        if let Some(grantor) = self.grantor() {
            self.ask_on(ctx, grantor);
        }
        true
    }

    /// The head changed: what waited for that is over.
    pub(super) fn delegate_overtaken(&mut self, ctx: &mut Ctx<'_>) {
        let (session, head) = (self.id(), self.head().id());
        let over = match &self.delegate.state {
            State::Freezing(frost) | State::Frozen(frost, _) => frost.end.parent != head,
            State::Reclaiming { .. } => true,
            State::Asking { .. } | State::Resting => false,
        };
        if over {
            match core::mem::take(&mut self.delegate.state) {
                State::Freezing(frost) | State::Frozen(frost, _) => {
                    ctx.fx.writes.push(keys::delete(session, keys::FROZEN, &[]));
                    let record = self.chain.next_to_head(&frost.end.parent).map(|record| (record.id(), record.body()));
                    let result = match record {
                        Some((id, body)) if body.kind == Kind::Grant.number() && body.owner == frost.to => Ok(id),
                        Some((_, body)) if body.owner == self.me => Err(Code::HO_TIMEOUT),
                        _ => Err(Code::HO_FENCED),
                    };
                    if let Some(id) = frost.id {
                        ctx.resolve(id, session, frost.to, result);
                    }
                }
                State::Reclaiming { .. } => {
                    let mine = self.owner() == Some(self.me) && self.grantor().is_none();
                    let result = if mine { Ok(self.me) } else { Err(Code::HO_FENCED) };
                    ctx.event(Event::Delegated { session, result });
                }
                State::Asking { .. } | State::Resting => {}
            }
        }
        self.delegate.renew = None;
        self.renew(ctx);
        self.show_grantor(ctx);
    }

    /// Whether the record behind `before`, towards the head, is one that a grantor signed with the FINAL of this device.
    pub(super) fn released_under(&self, before: &Hash) -> bool {
        let next = self.chain.next_to_head(before).map(Proven::body);
        self.delegate.is_frozen(before) && next.is_some_and(|next| next.kind == Kind::Grant.number())
    }

    /// Has the service take the chain into custody.
    fn ask_custody(&mut self, ctx: &mut Ctx<'_>, service: DeviceId) {
        if ctx.generation_with(&service).is_none_or(|generation| generation < Generation::V7) {
            return;
        }
        let asked = ctx.fresh.request();
        if let State::Asking { req, .. } = &mut self.delegate.state {
            *req = asked;
        }
        let record = self.head().signed().clone();
        self.send_head(ctx, service, &Hash::ZERO, None);
        ctx.promise(
            service,
            Hold::Durable,
            Cas { req: asked, record, want: None.into(), tenure: Hash::ZERO, ext: Exts::empty() },
        );
    }

    /// The service has the chain: the record that makes it the grantor is signed (SERVICE-DELEGATE-1).
    fn sign_delegate(&mut self, ctx: &mut Ctx<'_>, service: DeviceId, tenure: Hash) {
        self.delegate.state = State::Resting;
        if let Err(error) = self.require_grantor(ctx.rules) {
            return ctx.event(Event::Delegated { session: self.id(), result: Err(error.code()) });
        }
        self.withdraw_offer(ctx, Code::HO_SUPERSEDED);
        let mut record = self.next_record(Kind::Delegate, self.me);
        (record.grantor, record.want) = (service, self.head().body().want);
        record.roster = if ctx.rules.keeps(Clause::SERVICE_DELEGATE_1) { tenure } else { Hash::ZERO };
        self.seal_alone(ctx, record);
    }

    /// A record of the own hand that changes the grantor stands.
    pub(super) fn delegated(&mut self, ctx: &mut Ctx<'_>) {
        let head = self.head().body();
        if head.kind == Kind::Delegate.number() {
            let result = Ok(head.grantor);
            ctx.event_when_durable(Event::Delegated { session: self.id(), result });
        }
    }

    fn send_freeze(&mut self, ctx: &mut Ctx<'_>, grantor: DeviceId) {
        let State::Frozen(frost, end) = &self.delegate.state else { return };
        let (to, back) = (frost.to, frost.back);
        let hold = Hold::by(ctx.rules.keeps(Clause::SERVICE_FREEZE_2));
        let (req, end) = (ctx.fresh.request(), end.clone());
        ctx.promise(grantor, hold, Freeze { req, to, end, ext: Exts::empty() });
        if back {
            self.ask_on(ctx, grantor);
        }
    }

    /// Asks the grantor to let this device go on writing.
    fn ask_on(&mut self, ctx: &mut Ctx<'_>, grantor: DeviceId) {
        let (session, parent) = (self.id(), self.head().id());
        let req = ctx.fresh.request();
        ctx.promise(grantor, Hold::Durable, DelegateMsg { req, session, parent, grantor, ext: Exts::empty() });
    }

    fn ask_back(&mut self, ctx: &mut Ctx<'_>, grantor: DeviceId) {
        let linked = ctx.generation_with(&grantor).is_some_and(|generation| generation >= Generation::V7);
        if let State::Reclaiming { sent, .. } = &mut self.delegate.state
            && linked
        {
            *sent = true;
            let (session, parent, me) = (self.id(), self.head().id(), self.me);
            let req = ctx.fresh.request();
            ctx.promise(grantor, Hold::Durable, DelegateMsg { req, session, parent, grantor: me, ext: Exts::empty() });
        }
    }

    /// Asks the grantor for a lease (SERVICE-RENEW-1).
    fn renew(&mut self, ctx: &mut Ctx<'_>) {
        self.delegate.renew = None;
        let Some(grantor) = self.grantor().filter(|grantor| self.leans_on(grantor)) else { return };
        let able = ctx.generation_with(&grantor).is_some_and(|generation| generation >= Generation::V7);
        if able && self.is_entitled(ctx.rules, self.head()) {
            let (session, head) = (self.id(), self.head().id());
            let (req, ttl) = (ctx.fresh.request(), super::ttl::millis(LEASE));
            ctx.promise(grantor, Hold::Durable, Renew { req, session, head, ttl, ext: Exts::empty() });
        }
    }

    fn end_delegating(&mut self, ctx: &mut Ctx<'_>, code: Code) {
        if matches!(self.delegate.state, State::Asking { .. } | State::Reclaiming { .. }) {
            self.delegate.state = State::Resting;
            ctx.event(Event::Delegated { session: self.id(), result: Err(code) });
        }
    }
}

/// Steps of a target.
impl<H: Holdings> Session<H> {
    /// A takeover by which the grantor makes this device the owner, for the lease of the old one ran out.
    fn on_lease_takeover(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: DeviceId,
        req: u32,
        record: Proven<Record>,
        want: Proven<Want>,
    ) {
        let id = record.id();
        let claimed = self.claim.as_ref().is_some_and(|own| own.id() == want.id());
        if self.chain.get(&id).is_some() && (claimed || self.head().id() != id) {
            return self.on_known_grant(ctx, from, id);
        }
        let body = record.body();
        let takes = body.kind == Kind::Takeover.number() && body.signer != body.owner;
        let mine = want.body().target == self.me && body.owner == self.me && body.want == want.id();
        let present = want.body().actor == self.actor.id && want.body().parent == body.parent;
        let fits = ctx.rules.ensure(Clause::SERVICE_TAKE_1, takes && mine && present, Code::HO_NO_CONSENT);
        let heard = self.chain.get(&id).is_some();
        let follows = || if heard { Ok(()) } else { self.chain.admits(ctx.rules, &record) };
        if let Err(violation) = fits.and_then(|()| follows()) {
            return ctx.refuse_for(from, req, self.id(), violation);
        }
        self.keep(ctx.fx);
        match self.admit(ctx, record) {
            Ok(true) => {}
            Ok(false) if heard => {}
            _ => return self.send_head(ctx, from, &want.body().parent, None),
        }
        self.own_by(ctx, want);
        self.activate(ctx, id);
    }
}

/// A CAS whose signatures were verified.
pub struct ProvenCas {
    /// The request that it answers, or 0.
    pub req: u32,
    /// The record.
    pub record: Proven<Record>,
    /// The WANT that it answers, if this device is the owner by it.
    pub want: Option<Proven<Want>>,
    /// The service's tenure.
    pub tenure: Hash,
}

impl<H: Holdings> Session<H> {
    /// Whether a WANT of this mode may be answered, as far as OFFERs go (HO-WANT-3).
    pub(super) fn judge_answer(&self, rules: Rules, target: DeviceId, want: &Want) -> Result<(), Violation> {
        if WantMode::from_number(want.mode) != Some(WantMode::Answer) {
            return Ok(());
        }
        let live = self.source.offer_id();
        let made = live.is_some() && want.offer.get().copied() == live;
        rules.ensure(Clause::HO_WANT_3, made, Code::HO_TOKEN_BAD)?;
        rules.ensure(Clause::HO_WANT_3, self.source.offering_to() == Some(target), Code::HO_TOKEN_WRONG_PEER)
    }
}
