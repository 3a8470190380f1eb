//! Mailboxes that this device uses: what is put into their boxes, and what is taken from them.

mod back;
mod content;
mod discover;
mod host;
mod invite;
pub(super) mod keys;
mod login;
mod meet;
mod put;
mod relay;
mod roster;
mod take;
mod wake;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Endpoint;
use super::outputs::SignId;
use crate::clause::Clause;
use crate::clock::Instant;
use crate::errors::UsageError;
use crate::event::Event;
use crate::generations::Generation;
use crate::journal::Lsn;
use crate::limits::{MAILBOX_WINDOW, QUOTA_DELAY};
use crate::seal::{self, Wrapped};
use crate::wire::{
    BoxId, DeviceId, Envelopes, Exts, Fetch, Hash, Introduction, Invitation, KeyId, Letter, Message, PutOk, SessionId,
    Watch,
};
use crate::{Code, Violation};

pub use content::{ContentId, ContentRead, ContentWrite};
pub use host::{Hosted, Ticket};
pub use relay::{Passing, Relaying};

use content::{Giving, Spare, Taking, Works};
use keys::{Book, Fetched, PutAt};
use login::Logins;
use meet::Meetings;
use put::Putting;
use relay::Relays;
use roster::Telling;

/// Names an envelope that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnwrapId(pub u64);

/// Asks for an envelope to be opened with the device's key: see [`seal::unwrap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwrapRequest {
    /// Names it in the answer.
    pub id: UnwrapId,
    /// The envelope.
    pub wrapped: Wrapped,
}

/// All that concerns mailboxes.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    pub(super) book: Book,
    used: BTreeMap<DeviceId, Mailbox>,
    signing: BTreeMap<SignId, Signing>,
    unwraps: VecDeque<UnwrapRequest>,
    /// The mailboxes whose envelopes are being opened, and whether they say to hold entries of the roster.
    unwrapping: BTreeMap<UnwrapId, (DeviceId, bool)>,
    unwrapped: u64,
    /// The sessions of which a mailbox isn't told yet that content is missing here after all.
    lacking: BTreeSet<(DeviceId, SessionId)>,
    /// How often a box lost envelopes since this device started.
    losses: BTreeMap<(DeviceId, BoxId), u64>,
    /// The keys that linked devices were sent.
    sent_keys: BTreeSet<(DeviceId, SessionId, KeyId)>,
    host: host::Host,
    /// The DISCOVERs that wait for an answer, by service and number.
    discovering: BTreeSet<(DeviceId, u32)>,
    /// The devices that are to be woken, by the service that was asked and the number of the request.
    waking: BTreeMap<(DeviceId, u32), DeviceId>,
    logins: Logins,
    meetings: Meetings,
    relays: Relays,
    works: Works,
}

/// A mailbox, while it is linked.
#[derive(Debug, Default)]
struct Mailbox {
    asks: BTreeMap<u32, Ask>,
    /// The boxes that were asked for; `true` once all that was in them is here.
    boxes: BTreeMap<BoxId, bool>,
    /// Those of which something was told.
    shown: BTreeSet<BoxId>,
    /// Those that are being fetched from their beginning.
    whole: BTreeSet<BoxId>,
    /// Those in which letters showed that something is missing before them: whoever writes such costs a look from the
    /// beginning, and no second one on this link.
    torn: BTreeSet<BoxId>,
    puts: BTreeMap<SessionId, Putting>,
    /// What was put since the link is there: it needn't be opened when it comes back.
    own: BTreeSet<Hash>,
    /// Invitations that are being signed.
    inviting: BTreeSet<(SessionId, DeviceId)>,
    /// Envelopes of the inbox that are being opened: their number, and the offset behind them.
    opening: Option<(usize, u64)>,
    /// Devices that entries of the roster are being put for.
    telling: BTreeMap<DeviceId, Telling>,
    giving: Giving,
    spare: Spare,
    taking: Taking,
    /// All that was in the inbox is here: a revocation is known before anything else is taken in, or put.
    greeted: bool,
    /// Nothing is put until then.
    rests: Option<Instant>,
    /// The application was told that all is exchanged.
    told: bool,
    /// It said that it has no room, and the application was told.
    no_room: bool,
    /// It lets this device in under no account: it is asked for nothing (SERVICE-LOGIN-8).
    locked: bool,
}

/// A request to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Fetch(BoxId),
    Watch(BoxId),
    Letter(SessionId, BoxId, PutAt),
    /// A letter that says nothing of the rest any more.
    Late,
    Invitation(SessionId, KeyId, DeviceId),
    /// Entries of the roster, for a device.
    Roster(DeviceId),
    /// Whether the last piece of a content is there.
    Probe(BoxId),
    /// A piece of content that ends there.
    Piece(BoxId, u64),
}

impl Ask {
    fn is_of(&self, of: &BoxId) -> bool {
        matches!(self, Ask::Fetch(it) | Ask::Watch(it) if it == of)
    }
}

/// What a box is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Inbox,
    Session(SessionId, KeyId),
    Content((SessionId, Hash)),
}

impl Use {
    fn session(self) -> Option<SessionId> {
        match self {
            Use::Inbox => None,
            Use::Session(session, _) | Use::Content((session, _)) => Some(session),
        }
    }
}

/// What waits for a signature.
#[derive(Clone, Debug)]
enum Signing {
    Letter { service: DeviceId, letter: Letter, frames: Vec<u8>, next: PutAt },
    Invitation { service: DeviceId, invitation: Invitation },
    Introduction { service: DeviceId, introduction: Introduction },
    Roster { service: DeviceId, to: DeviceId, letter: Letter, frames: Vec<u8> },
}

impl Mailbox {
    /// Whether no further request may be sent.
    fn is_full(&self) -> bool {
        let asks = self.asks.values().filter(|ask| !matches!(ask, Ask::Watch(_))).count();
        let signing = self.puts.values().filter(|put| put.signing).count() + self.inviting.len() + self.telling.len();
        asks + signing >= MAILBOX_WINDOW
    }

    /// Whether a box, of which what follows an offset has come, is being fetched from its beginning.
    fn is_whole(&mut self, of: BoxId, at: u64) -> bool {
        if at == 0 {
            self.whole.insert(of);
        }
        self.whole.contains(&of)
    }

    fn is_quiet(&self) -> bool {
        let watches = self.asks.values().all(|ask| matches!(ask, Ask::Watch(_)));
        let signing = !self.inviting.is_empty() || !self.telling.is_empty();
        watches && !signing && self.opening.is_none() && self.boxes.values().all(|caught_up| *caught_up)
    }
}

impl Mailboxes {
    pub(super) fn durable(&mut self, upto: Lsn) {
        self.host.durable(upto);
    }

    pub(super) fn close_hosted(&mut self, ticket: Ticket) {
        self.host.close(ticket);
    }

    pub(super) fn linked(&mut self, device: DeviceId, generation: Generation) {
        self.host.linked(device, generation);
    }

    pub(super) fn host_signed(&mut self, session: SessionId, record: Hash, sig: crate::wire::Sig) {
        self.host.signed(session, record, sig);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let rests = self.used.values().filter_map(|mailbox| mailbox.rests);
        rests.chain(self.meetings.next_timeout()).min()
    }
}

/// Commands.
impl Endpoint {
    /// Uses a device as mailbox from now on, whenever it has a link: what this device's sessions hold is put there,
    /// sealed, and what other devices put there is taken in. The device isn't trusted with anything else. Not journaled;
    /// tell it at every open.
    ///
    /// Errors: `SelfTarget`, `Revoked`.
    pub fn use_mailbox(&mut self, now: Instant, service: DeviceId) -> Result<(), UsageError> {
        self.running()?;
        if service == self.config.device {
            return Err(UsageError::SelfTarget);
        }
        self.not_revoked(&service)?;
        self.mailboxes.used.entry(service).or_default();
        self.pump_mailbox(now, service);
        Ok(())
    }

    /// Uses a device as mailbox no longer. What is in it stays there.
    pub fn leave_mailbox(&mut self, service: &DeviceId) {
        self.mailboxes.used.remove(service);
        self.mailboxes.lacking.retain(|(of, _)| of != service);
    }

    /// An envelope that [`Endpoint::poll_unwrap`] asked to be opened: what it holds, or nothing if it doesn't open.
    pub fn handle_unwrapped(&mut self, now: Instant, id: UnwrapId, plain: Option<Vec<u8>>) {
        if self.introduction_opened(now, id, plain.as_ref()) {
            return;
        }
        let Some((service, notice)) = self.mailboxes.unwrapping.remove(&id) else { return };
        match notice {
            true => self.on_notice(now, service, plain),
            false => self.on_invitation(now, service, plain),
        }
        let inbox = seal::inbox(&self.config.device);
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        mailbox.opening = mailbox.opening.map(|(left, upto)| (left.saturating_sub(1), upto));
        if let Some((0, upto)) = mailbox.opening {
            mailbox.opening = None;
            self.fetched(now, service, inbox, upto, BTreeMap::new());
        }
    }

    /// The next envelope to open with the device's key.
    pub fn poll_unwrap(&mut self) -> Option<UnwrapRequest> {
        self.mailboxes.unwraps.pop_front()
    }
}

/// Queries.
impl Endpoint {
    /// Whether all that this device has is in a mailbox that it uses, and all that was there is here, as far as both
    /// know.
    pub fn is_exchanged(&self, service: &DeviceId) -> bool {
        let Some(mailbox) = self.mailboxes.used.get(service).filter(|_| self.peers.contains_key(service)) else {
            return false;
        };
        let boxes = self.boxes(service);
        mailbox.is_quiet()
            && mailbox.giving.is_done()
            && mailbox.taking.is_quiet()
            && boxes.iter().all(|(of, _)| mailbox.boxes.contains_key(of))
            && self.sessions.iter().filter(|(_, s)| s.is_kept()).all(|(id, _)| self.is_put(service, id))
            && self.uninvited(service).is_empty()
            && self.untold(service).is_empty()
    }
}

/// Steps.
impl Endpoint {
    pub(super) fn is_mailbox(&self, device: &DeviceId) -> bool {
        self.mailboxes.used.contains_key(device)
    }

    /// Whether a message of a device is one that it may send: a mailbox that is nothing else answers, and no more
    /// (SERVICE-PEER-1).
    pub(super) fn mailbox_may(&self, from: &DeviceId, message: &Message) -> Result<(), Violation> {
        let member = || self.sessions.values().any(|s| s.is_kept() && s.chain().is_member(from));
        let met = matches!(message, Message::Introduced(_) | Message::IntroduceOk(_));
        let asked = matches!(message, Message::Found(_) | Message::LoggedIn(_) | Message::WakeOk(_));
        let answer = asked || matches!(message, Message::PutOk(_) | Message::Envelopes(_));
        let fine = answer
            || met
            || matches!(message, Message::Error(_))
            || !self.is_mailbox(from)
            || self.vouches(from)
            || self.grantor_may(from, message)
            || member();
        self.config.rules.ensure(Clause::SERVICE_PEER_1, fine, Code::WIRE_STATE)
    }

    pub(super) fn mailbox_down(&mut self, device: &DeviceId) {
        self.mailboxes.sent_keys.retain(|(peer, ..)| peer != device);
        self.mailboxes.host.gone(device);
        self.discover_down(device);
        self.wakes_down(device);
        self.login_down(device);
        self.meetings_down(device);
        self.relays_down(device);
        self.begin_anew(device);
    }

    /// Nothing is under way with a mailbox: what was begun is begun again.
    fn begin_anew(&mut self, service: &DeviceId) {
        if let Some(mailbox) = self.mailboxes.used.get_mut(service) {
            *mailbox = Mailbox::default();
            self.mailboxes.signing.retain(|_, signing| signing.service() != service);
            self.mailboxes.unwrapping.retain(|_, (of, _)| of != service);
            self.mailboxes.works.gone(service);
        }
    }

    /// Asks a mailbox for what may be there, and puts what isn't there, as far as there is room.
    pub(super) fn pump_mailbox(&mut self, now: Instant, service: DeviceId) {
        if self.halted || !self.is_mailbox(&service) || !self.peers.contains_key(&service) {
            return;
        }
        self.fetch(now, service, seal::inbox(&self.config.device));
        if self.mailboxes.used.get(&service).is_none_or(|mailbox| !mailbox.greeted) {
            return;
        }
        self.pump_roster(service);
        self.pump_gets(now, service);
        for (of, _) in self.boxes(&service) {
            self.fetch(now, service, of);
        }
        let kept: Vec<_> = self.sessions.iter().filter(|(_, s)| s.is_kept()).map(|(id, _)| *id).collect();
        for id in kept {
            self.pump_put(now, service, id);
        }
        self.pump_invitations(service);
        self.pump_gifts(now, service);
        self.tell_exchanged(&service);
    }

    pub(super) fn pump_mailboxes(&mut self, now: Instant) {
        let used: Vec<_> = self.mailboxes.used.keys().copied().collect();
        used.into_iter().for_each(|service| self.pump_mailbox(now, service));
    }

    /// A session changed.
    pub(super) fn put_session(&mut self, now: Instant, session: SessionId) {
        let used: Vec<_> = self.mailboxes.used.keys().copied().collect();
        for service in used {
            self.pump_put(now, service, session);
            self.forget_spare(&service, &session);
            if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
                mailbox.giving.sweep();
            }
            // A mailbox without a link is told nothing, and asked for nothing.
            let greeted = self.mailboxes.used.get(&service).is_some_and(|mailbox| mailbox.greeted);
            if greeted && self.peers.contains_key(&service) {
                self.pump_gets(now, service);
                self.pump_gifts(now, service);
                self.tell_exchanged(&service);
            }
        }
    }

    pub(super) fn time_mailboxes(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (service, mailbox) in &mut self.mailboxes.used {
            if mailbox.rests.is_some_and(|at| at <= now) {
                mailbox.rests = None;
                due.push(*service);
            }
        }
        due.into_iter().for_each(|service| self.pump_mailbox(now, service));
        if self.time_meetings(now) {
            self.put_content_again(now);
        }
    }

    /// A signature was made for a mailbox; false if it wasn't one of these.
    pub(super) fn on_mailbox_signed(&mut self, now: Instant, id: SignId, sig: crate::wire::Sig) -> bool {
        match self.mailboxes.signing.remove(&id) {
            Some(Signing::Letter { service, letter, frames, next }) => {
                self.letter_signed(now, service, letter, frames, next, sig);
            }
            Some(Signing::Invitation { service, invitation }) => {
                self.invitation_signed(now, service, invitation, sig);
            }
            Some(Signing::Introduction { service, introduction }) => {
                self.introduction_signed(now, service, introduction, sig);
            }
            Some(Signing::Roster { service, to, letter, frames }) => {
                self.notice_signed(now, service, to, letter, frames, sig);
            }
            None => return false,
        }
        true
    }

    /// An error in answer to a request to a mailbox; false if it was another's.
    pub(super) fn mailbox_refused(
        &mut self,
        now: Instant,
        from: DeviceId,
        code: Code,
        (req, retry_after_ms): (u32, u32),
    ) -> bool {
        let Some(mailbox) = self.mailboxes.used.get_mut(&from) else { return false };
        let Some(ask) = mailbox.asks.remove(&req) else { return false };
        let pause = match retry_after_ms {
            0 => QUOTA_DELAY,
            ms => u64::from(ms).saturating_mul(1_000).min(QUOTA_DELAY),
        };
        mailbox.told = false;
        let full = code == Code::LIMIT_QUOTA && retry_after_ms == 0;
        if full && !core::mem::replace(&mut mailbox.no_room, true) {
            self.out.event(Event::Full { mailbox: from });
        }
        // Content for which there is no room is left out: letters may find some.
        let left = matches!(ask, Ask::Piece(..)) && full;
        if !left {
            mailbox.rests = Some(now.after(pause));
        }
        match ask {
            Ask::Letter(session, to, next) if !self.config.rules.keeps(Clause::SERVICE_PUT_3) => {
                if let Some(putting) = mailbox.puts.get_mut(&session) {
                    putting.is_put(next);
                }
                let write = self.mailboxes.book.keep_put(from, to, next);
                self.commit(alloc::vec![write], false);
            }
            // What wasn't put is put together anew, from where all was put before.
            Ask::Letter(session, ..) => drop(mailbox.puts.remove(&session)),
            Ask::Fetch(of) | Ask::Watch(of) => drop(mailbox.boxes.remove(&of)),
            Ask::Invitation(..) | Ask::Late => {}
            Ask::Roster(to) => self.told_page(from, to, false),
            Ask::Probe(_) | Ask::Piece(..) => {
                let session = mailbox.giving.refused(!left);
                if left {
                    self.content_left(now, from, session);
                }
            }
        }
        true
    }

    /// The boxes in which something may be for this device, with their sessions and keys.
    fn boxes(&self, service: &DeviceId) -> Vec<(BoxId, Use)> {
        let kept = |id: &SessionId| self.sessions.get(id).is_some_and(|session| session.is_kept());
        let wanted = self.mailboxes.book.keys.iter().filter(|(id, _)| kept(id) || self.config.follow);
        let of = wanted
            .flat_map(|(id, keys)| keys.iter().map(|(key, held)| (held.key.session_box(id), Use::Session(*id, *key))));
        let content = self.mailboxes.used.get(service).into_iter().flat_map(|mailbox| mailbox.taking.boxes());
        let content = content.map(|(of, id)| (of, Use::Content(id)));
        core::iter::once((seal::inbox(&self.config.device), Use::Inbox)).chain(of).chain(content).collect()
    }

    fn fetch(&mut self, now: Instant, service: DeviceId, of: BoxId) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&service) else { return };
        if mailbox.boxes.contains_key(&of) || mailbox.is_full() || mailbox.rests.is_some() || mailbox.locked {
            return;
        }
        mailbox.boxes.insert(of, false);
        self.ask(now, service, Ask::Fetch(of));
    }

    /// Asks for what follows in a box, now or once it comes.
    fn ask(&mut self, now: Instant, service: DeviceId, ask: Ask) {
        let req = self.fresh.request();
        let after = |of: &BoxId| self.looked_at(&service, of);
        let message: Message = match &ask {
            Ask::Fetch(of) => Fetch { req, of: *of, after: after(of), ext: Exts::empty() }.into(),
            Ask::Watch(of) => Watch { req, of: *of, after: after(of), ext: Exts::empty() }.into(),
            _ => return,
        };
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.told &= matches!(ask, Ask::Watch(_));
            mailbox.asks.insert(req, ask);
        }
        self.send(now, service, self.durable, &message);
    }

    /// The offset up to which a box was fetched.
    fn looked_at(&self, service: &DeviceId, of: &BoxId) -> u64 {
        let content = self.mailboxes.used.get(service).and_then(|mailbox| mailbox.taking.at(of));
        content.unwrap_or_else(|| self.mailboxes.book.fetched.get(&(*service, *of)).map_or(0, |fetched| fetched.at))
    }

    /// All of a box up to an offset is here; the rest is asked for (SERVICE-FETCH-1).
    fn fetched(&mut self, now: Instant, service: DeviceId, of: BoxId, upto: u64, counts: BTreeMap<DeviceId, u64>) {
        self.note_fetched(service, of, upto, counts);
        self.ask(now, service, Ask::Fetch(of));
    }

    fn note_fetched(&mut self, service: DeviceId, of: BoxId, upto: u64, counts: BTreeMap<DeviceId, u64>) {
        let mut fetched = self.mailboxes.book.fetched.get(&(service, of)).cloned().unwrap_or_default();
        fetched.at = upto;
        for (device, count) in counts {
            let last = fetched.counts.entry(device).or_default();
            *last = count.max(*last);
        }
        let write = self.mailboxes.book.keep_fetched(service, of, fetched);
        self.commit(alloc::vec![write], false);
    }

    /// Everything that was in a box is here.
    fn caught_up(&mut self, now: Instant, service: DeviceId, of: BoxId) {
        if let Some(mailbox) = self.mailboxes.used.get_mut(&service) {
            mailbox.boxes.insert(of, true);
            mailbox.whole.remove(&of);
            mailbox.greeted |= of == seal::inbox(&self.config.device);
        }
        self.ask(now, service, Ask::Watch(of));
        self.pump_mailbox(now, service);
        self.pump_owed(now);
    }

    /// Whether all that mailboxes hold of a session is here, as far as can be told.
    pub(in crate::endpoint) fn is_caught_up(&self, id: &SessionId) -> bool {
        self.mailboxes.used.iter().filter(|(service, _)| self.peers.contains_key(service)).all(|(service, mailbox)| {
            let of = |purpose: &Use| purpose.session().is_none_or(|session| session == *id);
            let boxes = self.boxes(service);
            let fetched =
                boxes.iter().filter(|(_, purpose)| of(purpose)).all(|(of, _)| mailbox.boxes.get(of) == Some(&true));
            mailbox.greeted && fetched && mailbox.taking.is_quiet()
        })
    }

    fn tell_exchanged(&mut self, service: &DeviceId) {
        let done = self.is_exchanged(service);
        let Some(mailbox) = self.mailboxes.used.get_mut(service) else { return };
        // What came undone meanwhile, as by content that waits for somebody, is told anew.
        if core::mem::replace(&mut mailbox.told, done) || !done {
            return;
        }
        self.out.event_after(self.last, self.durable, Event::Exchanged { mailbox: *service });
    }
}

impl Signing {
    fn service(&self) -> &DeviceId {
        match self {
            Signing::Letter { service, .. }
            | Signing::Invitation { service, .. }
            | Signing::Introduction { service, .. }
            | Signing::Roster { service, .. } => service,
        }
    }
}

/// ENVELOPES and PUT_OK.
impl Endpoint {
    pub(super) fn on_envelopes(&mut self, now: Instant, from: DeviceId, message: Envelopes) {
        let Some(mailbox) = self.mailboxes.used.get_mut(&from) else { return };
        let of = match mailbox.asks.get(&message.req) {
            Some(Ask::Fetch(of) | Ask::Watch(of)) => *of,
            Some(Ask::Probe(_)) => {
                mailbox.asks.remove(&message.req);
                return self.probed(now, from, &message);
            }
            _ => return,
        };
        let Envelopes { req, first, last, envelopes, .. } = message;
        let watched = matches!(mailbox.asks.remove(&req), Some(Ask::Watch(_)));
        let Some((_, purpose)) = self.boxes(&from).into_iter().find(|(known, _)| *known == of) else { return };
        let at = self.looked_at(&from, &of);
        let least = at.max(self.put_before(&from, of));
        if last < least && self.config.rules.keeps(Clause::SERVICE_BACK_1) {
            return self.fell_back(now, from, of, purpose);
        }
        if let Some(mailbox) = self.mailboxes.used.get_mut(&from) {
            mailbox.boxes.insert(of, false);
            mailbox.told = false;
        }
        if envelopes.is_empty() {
            return match last > at {
                // A WATCH says only that there is more than it can hold.
                true if watched => self.ask(now, from, Ask::Fetch(of)),
                true => self.bad_fetch(now, from, purpose),
                false => match purpose {
                    Use::Content(id) if self.look_elsewhere(now, from, id) => {}
                    _ => self.caught_up(now, from, of),
                },
            };
        }
        let upto = at.saturating_add(envelopes.len() as u64);
        let follows = first == at.saturating_add(1) && last >= upto;
        if !follows && self.config.rules.keeps(Clause::SERVICE_FETCH_2) {
            return self.bad_fetch(now, from, purpose);
        }
        if let Use::Content(id) = purpose {
            return self.take_pieces(now, from, id, upto, envelopes.into_vec());
        }
        if !self.config.rules.keeps(Clause::SERVICE_FETCH_1) {
            let early = self.mailboxes.book.fetched.get(&(from, of)).cloned().unwrap_or_default();
            let write = self.mailboxes.book.keep_fetched(from, of, Fetched { at: upto, ..early });
            self.commit(alloc::vec![write], false);
        }
        match purpose {
            Use::Session(session, key) => {
                let (counts, missing) = self.take_envelopes(now, from, of, (session, key), envelopes.into_vec());
                let Some(mailbox) = self.mailboxes.used.get_mut(&from) else { return };
                // Of a box that is read from its beginning there is no more to be had.
                let missing = !mailbox.is_whole(of, at) && missing && mailbox.torn.insert(of);
                if missing && self.config.rules.keeps(Clause::SERVICE_BACK_1) {
                    self.note_fetched(from, of, upto, counts);
                    return self.fill_anew(now, from, of, purpose);
                }
                self.fetched(now, from, of, upto, counts);
            }
            _ => self.open_inbox(from, upto, envelopes.into_vec().into_iter().map(|it| it.into_vec())),
        }
    }

    pub(super) fn on_put_ok(&mut self, now: Instant, from: DeviceId, done: &PutOk) {
        let req = done.req;
        let Some(mailbox) = self.mailboxes.used.get_mut(&from) else { return };
        let write = match mailbox.asks.get(&req) {
            Some(Ask::Letter(session, to, next)) => {
                let next = PutAt { offset: next.offset.max(done.offset), ..*next };
                let putting = mailbox.puts.get_mut(session);
                let told = putting.and_then(|putting| putting.is_put(next));
                // Of one that came while the letter was on its way the next tells.
                if told.is_some() && told == self.mailboxes.book.lacks.get(session).copied() {
                    self.mailboxes.lacking.remove(&(from, *session));
                }
                self.mailboxes.book.keep_put(from, *to, next)
            }
            Some(Ask::Invitation(session, key, device)) => self.mailboxes.book.keep_told(from, *session, *key, *device),
            Some(Ask::Piece(to, end)) => {
                let (to, end) = (*to, *end);
                mailbox.asks.remove(&req);
                return self.piece_put(now, from, to, end);
            }
            Some(Ask::Roster(to)) => {
                let to = *to;
                mailbox.asks.remove(&req);
                self.told_page(from, to, true);
                return self.pump_mailbox(now, from);
            }
            Some(Ask::Late) => {
                mailbox.asks.remove(&req);
                return self.pump_mailbox(now, from);
            }
            _ => return,
        };
        mailbox.asks.remove(&req);
        self.commit(alloc::vec![write], false);
        self.pump_mailbox(now, from);
    }

    /// A mailbox gave what wasn't asked for: the box is left alone while this link lasts.
    fn bad_fetch(&mut self, now: Instant, service: DeviceId, of: Use) {
        let violation = Violation::new(Code::SERVICE_FETCH, Clause::SERVICE_FETCH_2);
        self.out.event(Event::Violation { peer: service, session: of.session(), violation });
        if let (Use::Inbox, Some(mailbox)) = (of, self.mailboxes.used.get_mut(&service)) {
            mailbox.greeted = true;
            self.pump_mailbox(now, service);
        }
    }
}
