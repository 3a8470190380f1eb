//! The endpoint: links, sessions, bulk and journal of one device, joined.
//!
//! It never reads a clock, a socket, a disk or a random source. What comes in can't fail: a peer's mistakes become
//! events and errors on the wire. What the caller gets wrong is a [`UsageError`], and changes nothing.

mod account;
mod aside;
mod bulk;
mod commands;
mod custody;
mod linking;
mod links;
mod mailbox;
mod messages;
mod outlook;
mod outputs;
mod pauses;
mod picks;
mod restore;
mod serving;
mod session_data;
mod snapshots;
mod standby;
mod syncing;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::clause::Clause;
use crate::clock::Instant;
use crate::data::Pick;
use crate::event::{Config, Event, HandoffId, LinkId};
use crate::fresh::Fresh;
use crate::handoff::{Chain, Ctx, Effects, Hold, Peer, Session, SessionRole, SignFor};
use crate::journal::{Batch, Lsn};
use crate::link::Links;
use crate::wire::{DeviceId, Hash, Message, Nonce, Proven, Record, SessionId, Sig};

pub use bulk::{Incoming, Search, Unwanted};
pub use mailbox::{ContentId, ContentRead, ContentWrite, Hosted, Passing, Relaying, Ticket, UnwrapId, UnwrapRequest};
pub use outlook::{Moving, MovingFile, Outlook};
pub use outputs::{SignId, SignRequest};
pub use pauses::Asked;
pub use picks::HeldElsewhere;
pub use restore::OpenError;
pub use serving::{Serve, Served};
pub use session_data::SetAside;

use account::Account;
use bulk::Bulk;
use mailbox::Mailboxes;
use outputs::Outputs;
use pauses::Pauses;
use serving::Serving;
use session_data::SessionData;
use standby::Standbys;
use syncing::Syncing;

/// One device's protocol state.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    boot: Nonce,
    fresh: Fresh,
    links: Links,
    /// The authenticated link of each device.
    routes: BTreeMap<DeviceId, LinkId>,
    peers: BTreeMap<DeviceId, Peer>,
    trusted: BTreeSet<DeviceId>,
    sessions: BTreeMap<SessionId, Session<SessionData>>,
    /// Sessions that are asked for and not known yet.
    wishes: BTreeMap<SessionId, Wish>,
    /// What the user picked of sessions that aren't known yet.
    picks: BTreeMap<SessionId, Pick>,
    /// The folders that are picked of sessions of which nothing was said.
    usual: Vec<String>,
    /// Sessions whose genesis is being signed.
    births: BTreeMap<SignId, Birth>,
    signing: BTreeMap<SignId, (SessionId, SignFor)>,
    auths: BTreeMap<SignId, LinkId>,
    /// When each device made its offers of the last minute.
    offers: BTreeMap<DeviceId, VecDeque<Instant>>,
    pauses: Pauses,
    account: Account,
    /// What of the strands of revoked devices stands.
    cuts: alloc::sync::Arc<crate::account::Cuts>,
    /// Snapshots, and what is said of them, that are being signed.
    making: BTreeMap<SignId, snapshots::Making>,
    seen: snapshots::Seen,
    bulk: Bulk,
    standbys: Standbys,
    serving: Serving,
    syncing: Syncing,
    mailboxes: Mailboxes,
    /// The sessions that wait until this device holds what their owners left.
    owed: BTreeSet<SessionId>,
    custodian: custody::Custodian,
    out: Outputs,
    last: Lsn,
    durable: Lsn,
    /// Handoffs of which the journal keeps what a receipt needs once it is durable so far, by their records.
    unsynced_receipts: Vec<(Lsn, Hash)>,
    /// The store's continuity wasn't proven once: what this device forgot, it may have signed.
    restored: bool,
    halted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    /// The handoff that it asks for; none if the session is to be followed.
    id: Option<HandoffId>,
    from: DeviceId,
    deadline: Instant,
    req: u32,
}

#[derive(Clone, Debug)]
struct Birth {
    record: Record,
    name: String,
    actor: Nonce,
}

/// What an endpoint knows of a session.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// The session.
    pub id: SessionId,
    /// Its name.
    pub name: String,
    /// The head record's id.
    pub head: Hash,
    /// The head's term.
    pub term: u64,
    /// The head's number.
    pub n: u64,
    /// The primary by the head; none if closed.
    pub owner: Option<DeviceId>,
    /// Who may sign the next record; none if closed.
    pub grantor: Option<DeviceId>,
    /// What this device is in it.
    pub role: SessionRole,
    /// Whether it is closed.
    pub closed: bool,
    /// Whether the head names this device by a WANT, genesis or takeover of its present actor.
    pub entitled: bool,
    /// The records from the genesis to the head.
    pub chain: Arc<Vec<Arc<Proven<Record>>>>,
    /// The root of the data held here; zero if none is.
    pub root: Hash,
    /// The labelled copies of what this device wrote and others fenced.
    pub copies: usize,
    /// The target of a GRANT that isn't acknowledged yet.
    pub pending: Option<DeviceId>,
}

/// A GRANT that isn't acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingHandoff {
    /// The handoff, if the user of this device started it, or it was found at the start.
    pub id: Option<HandoffId>,
    /// The session.
    pub session: SessionId,
    /// The new owner.
    pub to: DeviceId,
    /// The record that makes it the owner.
    pub record: Hash,
}

/// Inputs.
impl Endpoint {
    /// Everything up to this LSN is durable.
    pub fn handle_durable(&mut self, _now: Instant, upto: Lsn) {
        if !self.halted {
            self.durable = self.durable.max(upto.min(self.last));
            self.out.release_events(self.durable);
            self.mailboxes.durable(self.durable);
            self.unsynced_receipts.retain(|(lsn, _)| *lsn > self.durable);
        }
    }

    /// The store failed: nothing further leaves this device (HO-STORE-3).
    pub fn handle_store_failed(&mut self, now: Instant) {
        if !self.config.rules.keeps(Clause::HO_STORE_3) {
            return self.handle_durable(now, self.last);
        }
        if !self.halted {
            self.halted = true;
            self.out.event(Event::Halted);
        }
    }

    /// A signature that [`Endpoint::poll_sign`] asked for.
    pub fn handle_signed(&mut self, now: Instant, id: SignId, sig: Sig) {
        if let Some(link) = self.auths.remove(&id) {
            let device = self.config.device;
            self.links.with(&link, |link| link.on_signed(device, sig));
        } else if let Some((session, purpose)) = self.signing.remove(&id) {
            self.step(now, session, |session, ctx| session.on_signed(ctx, purpose, sig));
        } else if let Some(birth) = self.births.remove(&id) {
            self.on_birth(now, birth, sig);
        } else if !self.on_made(now, id, sig)
            && !self.on_mailbox_signed(now, id, sig)
            && !self.on_hosted_signed(id, sig)
        {
            self.on_entry_signed(now, id, sig);
        }
    }

    /// Time passed: see [`Endpoint::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.time_links(now);
        self.time_fetches(now);
        self.time_linking(now);
        self.time_standbys(now);
        let due: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.next_timeout().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.step(now, id, |session, ctx| session.on_timeout(ctx));
        }
        let late: Vec<_> = self.wishes.iter().filter(|(_, wish)| wish.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.drop_wish(id, crate::Code::HO_TIMEOUT);
        }
        if self.syncing.next_timeout().is_some_and(|at| at <= now) {
            self.time_sync(now);
        }
        self.time_mailboxes(now);
    }
}

/// Outputs: poll each until it gives nothing, in any order, after every input and command.
impl Endpoint {
    /// The next batch for the journal.
    pub fn poll_journal(&mut self) -> Option<Batch> {
        self.out.batches.pop_front()
    }

    /// Appends the control bytes that may leave on a link now; false if there are none.
    pub fn poll_transmit(&mut self, link: LinkId, out: &mut Vec<u8>) -> bool {
        let durable = self.durable;
        !self.halted && self.links.with(&link, |link| link.transmit(durable, out)) == Some(true)
    }

    /// The links on which control bytes wait, ascending: for [`Endpoint::poll_transmit`], which may say that they wait for
    /// the journal, too.
    pub fn waiting_links(&self) -> impl Iterator<Item = LinkId> {
        self.links.talking()
    }

    /// The next signature to make.
    pub fn poll_sign(&mut self) -> Option<SignRequest> {
        self.out.signs.pop_front()
    }

    /// Whether there is a signature to make.
    pub fn has_to_sign(&self) -> bool {
        !self.out.signs.is_empty()
    }

    /// The next plan whose chunks are to be looked for locally.
    pub fn poll_search(&mut self) -> Option<Search> {
        self.out.searches.pop_front()
    }

    /// The next request whose answer isn't wanted any more.
    pub fn poll_unwanted(&mut self) -> Option<Unwanted> {
        self.out.unwanted.pop_front()
    }

    /// The next ranges to send.
    pub fn poll_serve(&mut self) -> Option<Serve> {
        self.out.serves.pop_front()
    }

    /// The next link to close, after what [`Endpoint::poll_transmit`] gives for it.
    pub fn poll_close(&mut self) -> Option<(LinkId, crate::Code)> {
        self.out.closes.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// When to call [`Endpoint::handle_timeout`] at the latest; may change with every input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.links.next_timeout().into_iter();
        let sessions = self.sessions.values().filter_map(Session::next_timeout);
        let wishes = self.wishes.values().map(|wish| wish.deadline);
        let sync = self.next_unanswered().into_iter().chain(self.syncing.next_timeout());
        let sync = sync.chain(self.mailboxes.next_timeout()).chain(self.next_standby());
        links.chain(sessions).chain(wishes).chain(self.next_linking()).chain(sync).min()
    }
}

/// Queries: the truth, whatever events were missed.
impl Endpoint {
    /// This device.
    pub fn device(&self) -> DeviceId {
        self.config.device
    }

    /// The LSN of the newest batch made.
    pub fn last_lsn(&self) -> Lsn {
        self.last
    }

    /// The LSN up to which everything is durable.
    pub fn durable_lsn(&self) -> Lsn {
        self.durable
    }

    /// Whether the store failed.
    pub fn is_halted(&self) -> bool {
        self.halted
    }

    /// Every session known here, ascending.
    pub fn sessions(&self) -> Vec<SessionId> {
        self.sessions.iter().filter(|(_, session)| session.is_kept()).map(|(id, _)| *id).collect()
    }

    /// What is known of a session.
    pub fn session(&self, id: &SessionId) -> Option<SessionView> {
        let session = self.sessions.get(id)?;
        let head = session.head();
        let role = session.role(self.config.rules);
        let grantor = head.body().grantor;
        Some(SessionView {
            id: *id,
            name: session.name().to_string(),
            head: head.id(),
            term: head.body().term,
            n: head.body().n,
            owner: session.owner(),
            grantor: (!grantor.is_zero()).then_some(grantor),
            role,
            closed: role == SessionRole::Closed,
            entitled: session.is_entitled(self.config.rules, head),
            chain: session.chain().line().clone(),
            root: session.holdings.state().map_or(Hash::ZERO, crate::data::State::root),
            copies: session.holdings.copies(),
            pending: session.pending(),
        })
    }

    /// What this device is in a session: that alone of [`Endpoint::session`], in a time that doesn't depend on its size.
    pub fn role(&self, id: &SessionId) -> Option<SessionRole> {
        self.sessions.get(id).map(|session| session.role(self.config.rules))
    }

    /// The GRANTs of this device that aren't acknowledged yet, by session. Each is sent again until it is (HO-GRANT-8).
    pub fn pending_handoffs(&self) -> Vec<PendingHandoff> {
        let granted = |(id, session): (&SessionId, &Session<SessionData>)| {
            let (handoff, to, record) = session.granted()?;
            Some(PendingHandoff { id: handoff, session: *id, to, record })
        };
        self.sessions.iter().filter_map(granted).collect()
    }

    /// What became of a GRANT of this device: its record, if it was acknowledged; `HO_FENCED`, if the head doesn't stand
    /// on it; none while that isn't known.
    pub fn grant_fate(&self, session: &SessionId, record: &Hash) -> Option<Result<Hash, crate::Code>> {
        let Some(session) = self.sessions.get(session) else { return Some(Err(crate::Code::HO_UNKNOWN_SESSION)) };
        let waits = session.granted().is_some_and(|(.., waiting)| waiting == *record);
        let stands = session.chain().leads_to_head(record);
        (!waits).then_some(if stands { Ok(*record) } else { Err(crate::Code::HO_FENCED) })
    }

    /// The records of a session's handoffs for which [`Endpoint::receipt`] has a receipt, oldest first.
    pub fn receipts(&self, session: &SessionId) -> Vec<Hash> {
        self.sessions.get(session).map(Session::receipts).unwrap_or_default()
    }

    /// A receipt for a handoff that this device gave or took, to be signed; none if nothing of it is kept, or it isn't
    /// acknowledged yet: at the new owner, if its record isn't durable.
    pub fn receipt(&self, session: &SessionId, record: &Hash) -> Option<crate::handoff::Draft> {
        let unsynced = self.unsynced_receipts.iter().any(|(_, of)| of == record);
        if unsynced && self.config.rules.keeps(Clause::HO_RECEIPT_3) {
            return None;
        }
        self.sessions.get(session)?.receipt(self.config.rules, record)
    }

    /// Whether a device may learn of a session: it is a member, or vouched for by the application or the account.
    pub fn is_shared_with(&self, session: &SessionId, device: &DeviceId) -> bool {
        self.vouches(device) || self.sessions.get(session).is_some_and(|session| session.chain().is_member(device))
    }

    /// The device at a link's other end and the pair's generation, once authenticated.
    pub fn link_peer(&self, link: LinkId) -> Option<(DeviceId, crate::Generation)> {
        let ready = self.links.get(&link)?.ready()?;
        Some((ready.peer, ready.generation))
    }

    /// The bytes of a manifest that this device announced, to serve.
    pub fn meta(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.sessions.values().find_map(|session| session.holdings.manifest_bytes(hash))
    }

    /// A session's data as this device holds it now.
    pub fn manifest(&self, session: &SessionId) -> Option<crate::data::Manifest> {
        self.state(session).map(crate::data::State::to_manifest)
    }

    /// The same where it lies, with the ops of log and opaque parts.
    pub fn state(&self, session: &SessionId) -> Option<&crate::data::State> {
        self.sessions.get(session)?.holdings.state()
    }

    /// The blobs that a session's data names and that are taken to be here, chunk lists included, with their lengths in
    /// bytes: see [`Endpoint::handle_lost`].
    pub fn held_blobs(&self, session: &SessionId) -> Vec<(Hash, u64)> {
        self.sessions.get(session).map(|session| session.holdings.held_blobs().collect()).unwrap_or_default()
    }

    /// Whether content that the session's data names isn't here.
    pub fn misses(&self, session: &SessionId, blob: &Hash) -> bool {
        self.sessions.get(session).is_some_and(|session| session.holdings.lacks(blob))
    }

    /// This device's present actor in a session: who it is as a writer.
    pub fn actor(&self, session: &SessionId) -> Option<crate::wire::ActorId> {
        self.sessions.get(session).map(|session| session.actor().id)
    }
}

/// Steps.
impl Endpoint {
    /// Runs a step of a session and does what it says.
    fn step<R>(
        &mut self,
        now: Instant,
        id: SessionId,
        run: impl FnOnce(&mut Session<SessionData>, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let mut fx = Effects::default();
        let session = self.sessions.get_mut(&id)?;
        let (before, handing) = (session.head().id(), session.handing_over());
        let mut ctx = Ctx {
            now,
            me: self.config.device,
            rules: self.config.rules,
            pulls: self.config.pulls,
            peers: &self.peers,
            fresh: &mut self.fresh,
            fx: &mut fx,
        };
        let result = run(session, &mut ctx);
        session.resume_writes(&mut ctx);
        let moved = session.head().id() != before;
        let over = handing.is_some() && session.handing_over().is_none();
        // Who was turned away for now tries again, and means the same.
        let turned_away = fx.events.iter().any(|(_, event)| is_turned_away(event));
        if over && turned_away {
            session.holdings.choose_again();
        }
        let unnamed = session.holdings.forget_unnamed();
        let forgot = !unnamed.is_empty();
        fx.writes.extend(unnamed);
        self.apply(now, id, fx);
        if forgot {
            // Nobody looks any longer for what was removed; the rest is asked for anew.
            self.stop_unwanted(now, id);
            self.fetch_wanted(now, id);
        }
        if over && !turned_away {
            self.end_choice(now, id);
        }
        if moved {
            self.succeed_if_revoked(now, id);
        }
        Some(result)
    }

    fn apply(&mut self, now: Instant, id: SessionId, fx: Effects) {
        let wrote = !fx.writes.is_empty();
        self.commit(fx.writes, fx.after_chunks);
        self.unsynced_receipts.extend(fx.receipt.map(|record| (self.last, record)));
        for (purpose, message) in fx.signs {
            // A machine waits for the newest signature of a purpose: an older one, late, would be taken for it.
            self.signing.retain(|_, asked| *asked != (id, purpose));
            let sign = self.out.sign(message);
            self.signing.insert(sign, (id, purpose));
        }
        for outgoing in fx.sends {
            let lsn = if outgoing.hold == Hold::Durable { self.last } else { Lsn::default() };
            self.send(now, outgoing.to, lsn, &outgoing.message);
        }
        for (hold, event) in fx.events {
            match hold {
                Hold::Free => self.out.event(event),
                Hold::Durable => self.out.event_after(self.last, self.durable, event),
            }
        }
        // A fetch that goes on for another reason keeps what is on its way.
        if fx.stop_fetch && fx.fetch.is_none() {
            self.bulk.stop(&id);
            if self.sessions.get_mut(&id).is_some_and(|session| session.holdings.want_all(false)) {
                self.stop_unwanted(now, id);
                self.mail_lack(now, id);
            }
        }
        if let Some((from, data, pick)) = fx.fetch {
            self.start_fetch(now, id, from, data, pick);
        }
        if fx.owed {
            self.owed.insert(id);
        }
        if wrote || fx.owed {
            self.pump_owed(now);
        }
        if wrote {
            self.sync_session(now, id);
            self.pump_session(now, id);
            self.put_session(now, id);
        }
    }

    /// Makes a batch of writes.
    fn commit(&mut self, writes: Vec<crate::journal::Write>, after_chunks: bool) -> Lsn {
        if !writes.is_empty() && !self.halted {
            self.last = Lsn(self.last.0 + 1);
            self.out.batches.push_back(Batch { lsn: self.last, writes, after_chunks });
        }
        self.last
    }

    /// Sends a message to a device that has a link.
    fn send(&mut self, now: Instant, to: DeviceId, lsn: Lsn, message: &Message) {
        let Some(link) = self.routes.get(&to).copied() else { return };
        // A message that waits for nothing still leaves behind those before it.
        let lsn = if lsn <= self.durable { Lsn::default() } else { lsn };
        let rules = self.config.rules;
        let sent = self.links.with(&link, |link| link.send(rules, lsn, message)).unwrap_or(Ok(()));
        if let Err(violation) = sent {
            self.end_link(now, link, violation.code, Some(violation.clause));
        }
    }

    fn on_birth(&mut self, now: Instant, birth: Birth, sig: Sig) {
        let record = Proven::own(birth.record, sig);
        let id = record.body().session;
        let Ok(chain) = Chain::start(self.config.rules, record) else { return };
        let actor = crate::handoff::Actor::new(&self.config.device, birth.actor);
        let data = SessionData::created(id, &birth.name, self.fresh.nonce());
        let mut session = Session::new(self.config.device, &birth.name, chain, actor, data);
        let mut fx = Effects::default();
        session.keep(&mut fx);
        self.sessions.insert(id, session);
        let lsn = self.commit(fx.writes, false);
        self.cut_session(now, id);
        self.sync_session(now, id);
        self.pump_mailboxes(now);
        self.out.event_after(lsn, self.durable, Event::Created { session: id });
    }

    fn drop_wish(&mut self, session: SessionId, code: crate::Code) {
        if let Some(wish) = self.wishes.remove(&session)
            && let Some(id) = wish.id
        {
            self.out.event(Event::HandoffResolved { id, session, peer: wish.from, result: Err(code), reason: None });
        }
    }
}

/// Whether a handoff ended for what time mends.
fn is_turned_away(event: &Event) -> bool {
    matches!(event, Event::HandoffResolved { result: Err(code), .. } if code.is_mended_by_time())
}
