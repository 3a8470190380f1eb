//! A session on this device: its chain, what this device may do under it, and the machines of both roles.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::chain::Chain;
use super::delegate::Delegate;
use super::effects::{Ctx, Effects, Hold, SignFor};
use super::head::naming;
use super::holdings::Holdings;
use super::keys;
use super::lapsed::Lapsed;
use super::pace::Waiting;
use super::receipt::Kept;
use super::source::Source;
use super::target::{PutOff, Target};
use super::wants::LiveWant;
use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::data::{IN_HAVE, Pick, actor_id};
use crate::errors::UsageError;
use crate::event::{Event, HandoffId};
use crate::generations::Generation;
use crate::limits::MAX_FRAME;
use crate::wire::codec::encode;
use crate::wire::{
    Ack, ActorId, Announced, DeviceId, Exts, Hash, Have, Head, Kind, List, Nonce, Proven, Record, SessionId, Sig, Want,
};

/// What this device is in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionRole {
    /// It owns, and may write exclusive parts.
    Primary,
    /// It owns no more, or is signing it away, and the next owner hasn't acknowledged: nobody here writes exclusive parts.
    Releasing,
    /// Another device owns.
    Secondary,
    /// The head names this device, but its store's continuity isn't proven: it contributes.
    RolledBack,
    /// Nobody owns any more.
    Closed,
}

/// A session on this device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session<H> {
    pub(super) me: DeviceId,
    pub(super) name: String,
    pub(super) chain: Chain,
    pub(super) actor: Actor,
    /// The own WANT that the newest grant to this device answers.
    pub(super) claim: Option<Proven<Want>>,
    /// The store's continuity wasn't proven since the last grant to this device.
    pub(super) unproven: bool,
    /// Whether the journal has it. A session that another device merely told of isn't kept.
    pub(super) kept: bool,
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) delegate: Delegate,
    pub(super) lapsed: Vec<Lapsed>,
    pub(super) put_off: Option<PutOff>,
    pub(super) wants: BTreeMap<DeviceId, LiveWant>,
    /// A write that waits for a target.
    pub(super) waiting: Option<Waiting>,
    /// What receipts need, by record.
    pub(super) receipts: BTreeMap<Hash, Kept>,
    /// The newest head that each peer is known to hold.
    pub(super) peer_heads: BTreeMap<DeviceId, Hash>,
    /// The heads that each peer showed on its link, and that were answered.
    pub(super) shown: BTreeMap<DeviceId, BTreeSet<Hash>>,
    /// The devices that were told of the session on their links.
    told: BTreeSet<DeviceId>,
    /// The session's data.
    pub holdings: H,
}

/// This device as a writer of strands in one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The nonce that makes it.
    pub nonce: Nonce,
    /// Its id.
    pub id: ActorId,
}

impl Actor {
    /// The actor of this device and nonce.
    pub fn new(device: &DeviceId, nonce: Nonce) -> Actor {
        Actor { nonce, id: actor_id(device, &nonce) }
    }
}

/// An acknowledgement whose signature was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProvenAck {
    /// The record's id.
    pub record: Hash,
    /// Who signed.
    pub by: DeviceId,
    /// The signature.
    pub sig: Sig,
}

impl<H: Holdings> Session<H> {
    /// A session of which nothing but its chain is known.
    pub fn new(me: DeviceId, name: &str, chain: Chain, actor: Actor, holdings: H) -> Self {
        Session {
            me,
            name: super::effects::label(name),
            chain,
            actor,
            claim: None,
            unproven: false,
            kept: false,
            source: Source::default(),
            target: Target::default(),
            delegate: Delegate::default(),
            lapsed: Vec::new(),
            put_off: None,
            wants: BTreeMap::new(),
            waiting: None,
            receipts: BTreeMap::new(),
            peer_heads: BTreeMap::new(),
            shown: BTreeMap::new(),
            told: BTreeSet::new(),
            holdings,
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.chain.session()
    }

    /// Its name, to show to a user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes over a name that another device gave it, if it has none here.
    pub fn name_as(&mut self, name: &str, fx: &mut Effects) {
        if self.name.is_empty() && !name.is_empty() {
            self.name = super::effects::label(name);
            self.holdings.name_as(&self.name);
            if self.kept {
                fx.writes.push(keys::put(self.id(), keys::NAME, &[], self.name.as_bytes().to_vec()));
            }
        }
    }

    /// Its chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// This device as a writer.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The head record.
    pub fn head(&self) -> &Proven<Record> {
        self.chain.head()
    }

    /// The device that owns by the head; none if closed.
    pub fn owner(&self) -> Option<DeviceId> {
        let owner = self.head().body().owner;
        (!owner.is_zero()).then_some(owner)
    }

    /// The id of the head.
    pub fn head_id(&self) -> Hash {
        self.head().id()
    }

    /// Whether the session is likely to come to this device next: the owner before the present one was this device, or
    /// there was none.
    pub fn is_likely_next(&self) -> bool {
        self.owner_before().is_none_or(|owner| owner == self.me)
    }

    /// The owner by the nearest record behind the head that names another than the head.
    pub fn owner_before(&self) -> Option<DeviceId> {
        let owner = self.head().body().owner;
        let mut parent = self.head().body().parent;
        while let Some(record) = self.chain.get(&parent) {
            if record.body().owner != owner {
                return Some(record.body().owner);
            }
            parent = record.body().parent;
        }
        None
    }

    /// What this device is in the session.
    pub fn role(&self, rules: Rules) -> SessionRole {
        if self.source.resumes(rules) {
            return SessionRole::Primary;
        }
        if self.head().body().kind == Kind::Close.number() {
            SessionRole::Closed
        } else if self.source.is_signing() || self.source.granted().is_some() || self.is_frozen(rules) {
            SessionRole::Releasing
        } else if self.owner() != Some(self.me) {
            SessionRole::Secondary
        } else if self.is_entitled(rules, self.head()) {
            SessionRole::Primary
        } else {
            SessionRole::RolledBack
        }
    }

    /// Whether this device left its FINAL to the grantor, and so writes no more (SERVICE-FREEZE-1).
    fn is_frozen(&self, rules: Rules) -> bool {
        self.delegate.is_frozen(&self.head().id()) && rules.keeps(Clause::SERVICE_FREEZE_1)
    }

    /// Whether `record` makes this device the owner by a WANT, a genesis or a takeover of its present actor.
    pub fn is_entitled(&self, rules: Rules, record: &Proven<Record>) -> bool {
        let body = record.body();
        if body.owner != self.me {
            return false;
        }
        let own_actor = self.actor.id.as_bytes() == body.want.as_bytes();
        let claim =
            self.claim.as_ref().is_some_and(|want| want.id() == body.want && want.body().actor == self.actor.id);
        own_actor || claim || !rules.keeps(Clause::HO_STORE_1)
    }

    /// The target of a GRANT that waits for its acknowledgement, or for which the session is frozen.
    pub fn pending(&self) -> Option<DeviceId> {
        self.source.granted().or_else(|| self.delegate.frozen_for(&self.head().id()))
    }

    /// The GRANT that waits for its acknowledgement: the handoff that it belongs to, its target and its record.
    pub fn granted(&self) -> Option<(Option<HandoffId>, DeviceId, Hash)> {
        self.source.waiting()
    }

    /// A device that this one is handing the session over to: its user wishes so, or let its WANT through.
    pub fn handing_over(&self) -> Option<DeviceId> {
        let allowed = || self.wants.iter().find(|(_, live)| live.approved).map(|(device, _)| *device);
        self.source.target().or_else(|| self.delegate.frozen_for(&self.head().id())).or_else(allowed)
    }

    /// Whether the head was signed under, and this device may go on as, primary.
    pub(super) fn require_primary(&self, rules: Rules) -> Result<(), UsageError> {
        match self.role(rules) {
            SessionRole::Primary => Ok(()),
            SessionRole::Releasing if self.source.is_signing() || self.owner() == Some(self.me) => {
                Err(UsageError::Busy)
            }
            SessionRole::Releasing | SessionRole::Secondary => Err(UsageError::NotOwner(self.owner())),
            SessionRole::RolledBack => Err(UsageError::RolledBack),
            SessionRole::Closed => Err(UsageError::Closed),
        }
    }

    /// Checks that exclusive parts may be written here now (HO-WRITE-1); the record to write under.
    pub fn writable(&self, rules: Rules) -> Result<Hash, UsageError> {
        match self.require_primary(rules) {
            Err(_) if !rules.keeps(Clause::HO_WRITE_1) => Ok(self.head().id()),
            other => other.map(|()| self.source.write_parent().unwrap_or_else(|| self.head().id())),
        }
    }

    /// Checks that this device may contribute to shared parts now; the record to write under.
    pub fn contributable(&self, rules: Rules) -> Result<Hash, UsageError> {
        match self.role(rules) {
            SessionRole::Closed => Err(UsageError::Closed),
            _ if !self.kept => Err(UsageError::NotMember),
            _ => Ok(self.head().id()),
        }
    }

    /// Whether a device may learn of the session: a member, one that the application vouches for, or one that the
    /// user chose to hand it to.
    pub fn may_read(&self, ctx: &Ctx<'_>, device: &DeviceId) -> bool {
        let looks = self.chain.is_grantor(device) && !ctx.rules.keeps(Clause::SERVICE_LOOK_1);
        ctx.peer(device).is_some_and(|peer| peer.trusted) || self.is_reader(device) || looks
    }

    /// Whether the session itself lets a device learn of it: a member, or one that the user chose to hand it to.
    pub fn is_reader(&self, device: &DeviceId) -> bool {
        self.chain.is_member(device) || self.source.offering_to() == Some(*device)
    }

    /// The device that the user chose to hand the session to, as long as it isn't the owner by the head.
    pub fn chosen(&self) -> Option<DeviceId> {
        self.source.offering_to().or_else(|| self.pending())
    }

    /// Whether the answer to this request of this device is waited for.
    pub fn awaits(&self, from: DeviceId, req: u32) -> bool {
        self.source.awaits(self.grantor(), from, req)
            || self.target_awaits(from, req)
            || self.delegate.awaits(from, req)
    }

    /// An error in answer to a request.
    pub fn on_refused(&mut self, ctx: &mut Ctx<'_>, from: DeviceId, req: u32, code: crate::Code) {
        self.on_offer_refused(ctx, from, req, code);
        self.on_request_refused(ctx, from, req, code);
        self.on_custody_refused(ctx, from, req, code);
    }

    /// A signature that was asked for.
    pub fn on_signed(&mut self, ctx: &mut Ctx<'_>, purpose: SignFor, sig: Sig) {
        match purpose {
            SignFor::Offer(id) => self.on_offer_signed(ctx, id, sig),
            SignFor::Final(id) if self.on_frost_signed(ctx, id, sig) => {}
            SignFor::Record(_) | SignFor::Final(_) => self.on_release_signed(ctx, purpose, sig),
            SignFor::Want(id) => self.on_want_signed(ctx, id, sig),
            SignFor::Ack(record) => self.on_ack_signed(ctx, record, sig),
        }
    }

    /// A device has an authenticated link.
    pub fn on_peer(&mut self, ctx: &mut Ctx<'_>, peer: DeviceId) {
        self.peer_heads.remove(&peer);
        self.shown.remove(&peer);
        self.delegate.meets(&peer);
        self.resend_to(ctx, peer);
        self.withdraw_lapsed(ctx, self.owned_by(peer));
        self.ask_again(ctx, peer);
        self.told.remove(&peer);
        self.tell_of(ctx, peer, Clause::HO_HEAD_7);
        self.delegate_on_peer(ctx, peer);
    }

    /// Tells a linked device of the session, once a link (HO-HEAD-7, HO-HEAD-8).
    pub fn tell_of(&mut self, ctx: &mut Ctx<'_>, peer: DeviceId, by: Clause) {
        // A grantor that isn't a member is told as its link begins, and else by what it is asked for.
        let trusted = ctx.peer(&peer).is_some_and(|peer| peer.trusted);
        let member = trusted || self.is_reader(&peer) || by == Clause::HO_HEAD_7 && self.may_know(ctx, &peer);
        if self.kept && member && self.told.insert(peer) && ctx.rules.keeps(by) {
            let ext = if self.may_read(ctx, &peer) { naming(&self.name) } else { Exts::empty() };
            let have = Have { ext, ..self.have(0, None) };
            ctx.promise(peer, Hold::Durable, have);
            self.tells_grantor(peer);
        }
    }

    /// Whether a device was told of the session on its link.
    pub fn has_told(&self, peer: &DeviceId) -> bool {
        self.told.contains(peer)
    }

    /// Time passes.
    pub fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.source_timeout(ctx);
        self.target_timeout(ctx);
        self.delegate_timeout(ctx);
        let now = ctx.now;
        let gone: Vec<_> =
            self.wants.iter().filter(|(_, want)| want.expires <= now).map(|(device, _)| *device).collect();
        for device in gone {
            self.drop_want(ctx, &device, crate::Code::HO_TIMEOUT);
        }
        self.unpace(now);
    }

    /// When time matters next.
    pub fn next_timeout(&self) -> Option<Instant> {
        let wants = self.wants.values().map(|want| want.expires).min();
        let own = [self.source.next_timeout(), self.target.next_timeout(), self.delegate.next_timeout()];
        let put_off = self.put_off.as_ref().map(PutOff::expires);
        own.into_iter().chain([wants, put_off, self.next_resume()]).flatten().min()
    }

    /// Whether nothing here waits for anything, so that a session that isn't kept may be forgotten.
    pub fn is_idle(&self) -> bool {
        !self.kept && self.next_timeout().is_none()
    }

    /// Whether the journal has it.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Writes the session down, from now on.
    pub fn keep(&mut self, fx: &mut Effects) {
        if self.kept {
            return;
        }
        self.kept = true;
        let id = self.id();
        fx.writes.push(keys::put(id, keys::NAME, &[], self.name.as_bytes().to_vec()));
        fx.writes.push(keys::put(id, keys::ACTOR, &[], self.actor.nonce.as_bytes().to_vec()));
        for record in self.chain.records() {
            fx.writes.push(keys::put(id, keys::RECORD, record.id().as_bytes(), encode(record.signed())));
        }
        fx.writes.extend(self.holdings.keep(&self.name));
    }

    /// Takes a new actor: the old one's op numbers are not safe to go on with.
    pub fn renew_actor(&mut self, nonce: Nonce, fx: &mut Effects) {
        self.actor = Actor::new(&self.me, nonce);
        if self.kept {
            fx.writes.push(keys::put(self.id(), keys::ACTOR, &[], nonce.as_bytes().to_vec()));
        }
    }

    /// This store may be a restored backup: it contributes until it is granted anew (HO-STORE-1).
    pub fn distrust_store(&mut self) {
        self.unproven = true;
    }

    /// Takes a record in and writes it down; says whether the head changed.
    pub(super) fn admit(&mut self, ctx: &mut Ctx<'_>, record: Proven<Record>) -> Result<bool, crate::Violation> {
        let id = record.id();
        let (signer, bytes) = (record.body().signer, encode(record.signed()));
        let (head, opener) = (self.head().id(), self.chain.opener().map(Proven::id));
        let admitted = self.chain.admit(ctx.rules, record)?;
        let taken = self.chain.opener().filter(|now| Some(now.id()) != opener && now.body().owner != self.me).is_some();
        if taken || !self.chain.leads_to_head(&head) {
            self.passed_by(ctx);
        }
        if admitted.new && self.kept {
            ctx.fx.writes.push(keys::put(self.id(), keys::RECORD, id.as_bytes(), bytes));
        }
        if let Some(rival) = admitted.rival.filter(|_| ctx.rules.keeps(Clause::HO_EQUIV_1)) {
            ctx.event(Event::Equivocation { session: self.id(), key: signer, records: [rival.min(id), rival.max(id)] });
        }
        if admitted.head {
            self.put_off = None;
        }
        if admitted.new {
            self.watch_signer(ctx, &id);
        }
        Ok(admitted.head)
    }

    /// Another device took the session over, or the head doesn't stand on the one before. The owner now may not know the
    /// last ops of this device on exclusive parts, so their numbers aren't gone on from; no WANT of this device that is on
    /// its way outlives the head that it was for (DATA-OP-3).
    fn passed_by(&mut self, ctx: &mut Ctx<'_>) {
        if self.holdings.wrote_exclusive(&self.actor.id) && ctx.rules.keeps(Clause::DATA_OP_3) {
            let nonce = ctx.fresh.nonce();
            self.renew_actor(nonce, ctx.fx);
        }
    }

    /// Sends the chain behind `from` to a peer, in as many frames as it takes (HO-HEAD-2).
    pub(super) fn send_head(&mut self, ctx: &mut Ctx<'_>, to: DeviceId, from: &Hash, ack: Option<Ack>) {
        let hold = Hold::by(ctx.rules.keeps(Clause::HO_HEAD_4));
        // Room is left for the frame's own fields, the acknowledgement among them.
        let mut pages = self.chain.pages(from, MAX_FRAME - 512);
        if !ctx.rules.keeps(Clause::HO_HEAD_5) {
            pages.iter_mut().for_each(|page| page.reverse());
            pages.reverse();
        }
        let last = pages.len() - 1;
        for (at, records) in pages.into_iter().enumerate() {
            let head = Head {
                session: self.id(),
                records: List::new(records).unwrap_or_default(),
                more: at != last,
                ack: if at == last { ack.clone().into() } else { None.into() },
                ext: Exts::empty(),
            };
            ctx.promise(to, hold, head);
        }
        self.peer_heads.insert(to, self.head().id());
        self.tells_grantor(to);
    }

    fn tells_grantor(&mut self, to: DeviceId) {
        if self.grantor() == Some(to) {
            self.delegate.tells(to);
        }
    }

    /// Sends the chain to a peer unless it is known to have the head.
    pub(super) fn send_head_if_lacking(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) {
        let known = self.peer_heads.get(&to).copied().unwrap_or(Hash::ZERO);
        if known != self.head().id() {
            self.send_head(ctx, to, &known, None);
        }
    }

    /// Tells every linked member of a new head.
    pub(super) fn tell_members(&mut self, ctx: &mut Ctx<'_>, but: Option<DeviceId>) {
        if !ctx.rules.keeps(Clause::HO_HEAD_6) {
            return;
        }
        let all = ctx.rules.keeps(Clause::GEN_MEMBERS_2);
        let peers = ctx.peers.iter().filter(|(_, peer)| all || peer.generation > Generation::V1_4);
        let peers = peers.map(|(peer, _)| *peer).filter(|peer| Some(*peer) != but && self.is_told(peer));
        for peer in peers.collect::<Vec<_>>() {
            self.send_head_if_lacking(ctx, peer);
        }
    }

    /// Whether a linked device is told of a new head: a member, or a grantor that was.
    fn is_told(&self, device: &DeviceId) -> bool {
        self.chain.is_member(device) || self.chain.is_grantor(device)
    }

    /// Announces what can be fetched here.
    pub(super) fn send_announcement(&mut self, ctx: &mut Ctx<'_>, to: DeviceId) -> Result<Hash, crate::Code> {
        let data = self.holdings.announce(&to)?;
        let manifest = data.manifest;
        let ext = Pick::told(IN_HAVE, self.holdings.partial().filter(|_| ctx.rules.keeps(Clause::HO_PICK_4)));
        let have = Have { ext, ..self.have(0, Some(data)) };
        ctx.promise(to, Hold::by(ctx.rules.keeps(Clause::TRANSFER_HAVE_1)), have);
        Ok(manifest)
    }

    /// A HAVE of this session.
    pub(super) fn have(&self, req: u32, data: Option<Announced>) -> Have {
        Have { req, session: self.id(), head: self.head().id(), data: data.into(), ext: Exts::empty() }
    }
}
