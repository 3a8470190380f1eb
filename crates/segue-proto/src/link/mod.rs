//! Link: a connection between two devices, authenticated in band (spec chapter `link`).
//!
//! ```text
//! Greeting ── HELLO ──▶ Proving ── AUTH ──▶ Ready ── GOAWAY, violation, silence ──▶ Closing
//! ```
//!
//! Both sides send HELLO and AUTH at once. Only this module assigns a link's state.

mod proof;
mod table;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

pub use proof::{auth_hash, auth_message};
pub(crate) use table::Links;

use crate::clause::{Clause, Rules};
use crate::clock::Instant;
use crate::event::{Config, Role};
use crate::generations::Generation;
use crate::journal::Lsn;
use crate::limits::{AUTH_TIMEOUT, FRAME_TIMEOUT, HELLO_TIMEOUT, IDLE, KEEPALIVE, MAX_PREAUTH, MAX_QUEUE};
use crate::wire::codec::encode;
use crate::wire::frame::{Frame, Framer};
use crate::wire::{Auth, DeviceId, Exts, Goaway, Hello, Message, Nonce, Ping, Place, Sig, verify_message};
use crate::{Code, Violation};

/// A link's machine.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) role: Role,
    binding: [u8; 32],
    /// The device that was dialled, or is named by the service.
    pub(crate) expect: Option<DeviceId>,
    /// Whether it goes by way of a service.
    pub(crate) relayed: bool,
    state: State,
    framer: Framer,
    /// What is to leave, in order, with the LSN that it waits for.
    outbox: VecDeque<(Lsn, Vec<u8>)>,
    queued: usize,
    opened: Instant,
    heard: Instant,
    pinged: Option<Instant>,
    partial_since: Option<Instant>,
    before_auth: usize,
    own_hello: Vec<u8>,
    own_auth_sent: bool,
    /// Messages that wait for the own AUTH, which must precede them.
    waiting: VecDeque<(Lsn, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum State {
    Greeting,
    Proving { hello: Hello, bytes: Vec<u8> },
    Ready(Ready),
    Closing,
}

/// What is known of the other side once it is authenticated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) peer: DeviceId,
    pub(crate) generation: Generation,
    pub(crate) boot: Nonce,
}

/// What a frame came to.
#[allow(clippy::large_enum_variant)] // It is handed on at once and never stored.
pub(crate) enum Received {
    /// Nothing that the endpoint needs to know of.
    Nothing,
    /// The other side is authenticated, unless the endpoint refuses the device.
    Authenticated(Ready),
    /// A message of an authenticated device.
    Message(Ready, Message),
    /// The other side says good-bye.
    Goaway(Code),
}

impl Link {
    pub(crate) fn new(
        role: Role,
        binding: [u8; 32],
        expect: Option<DeviceId>,
        config: &Config,
        boot: Nonce,
        now: Instant,
    ) -> Link {
        let hello =
            Hello { generation: config.generation.number(), floor: config.floor.number(), boot, ext: Exts::empty() };
        let mut link = Link {
            role,
            binding,
            expect,
            relayed: false,
            state: State::Greeting,
            framer: Framer::default(),
            outbox: VecDeque::new(),
            queued: 0,
            opened: now,
            heard: now,
            pinged: None,
            partial_since: None,
            before_auth: 0,
            own_hello: encode(&hello),
            own_auth_sent: false,
            waiting: VecDeque::new(),
        };
        link.put(Lsn::default(), Message::from(hello).to_frame());
        if !config.rules.keeps(Clause::LINK_AUTH_5) {
            link.put(Lsn::default(), Message::from(Ping { nonce: 1, answer: false, ext: Exts::empty() }).to_frame());
        }
        link
    }

    /// The bytes to sign for the own AUTH.
    pub(crate) fn auth_message(&self, device: &DeviceId) -> Vec<u8> {
        auth_message(self.role, device, &self.own_hello, &self.binding)
    }

    /// The own AUTH is signed.
    pub(crate) fn on_signed(&mut self, key: DeviceId, sig: Sig) {
        if self.own_auth_sent || matches!(self.state, State::Closing) {
            return;
        }
        self.own_auth_sent = true;
        self.put(Lsn::default(), Message::from(Auth { key, sig, ext: Exts::empty() }).to_frame());
        for (lsn, bytes) in core::mem::take(&mut self.waiting) {
            self.put(lsn, bytes);
        }
    }

    /// The peer, once it is authenticated.
    pub(crate) fn ready(&self) -> Option<Ready> {
        match self.state {
            State::Ready(ready) => Some(ready),
            _ => None,
        }
    }

    /// The channel binding.
    pub(crate) fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }

    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// Takes bytes of the control stream, before AUTH only as many as the link allows; how many it took.
    pub(crate) fn push(&mut self, rules: Rules, now: Instant, bytes: &[u8]) -> Result<usize, Violation> {
        if matches!(self.state, State::Closing) {
            return Ok(bytes.len());
        }
        (self.heard, self.pinged) = (now, None);
        let room = match self.ready() {
            None if rules.keeps(Clause::LINK_PREAUTH_1) => MAX_PREAUTH.saturating_sub(self.before_auth),
            _ => bytes.len(),
        };
        let taken = bytes.get(..room).unwrap_or(bytes);
        rules.ensure(Clause::LINK_PREAUTH_1, !taken.is_empty() || bytes.is_empty(), Code::LIMIT_PREAUTH)?;
        self.before_auth = self.before_auth.saturating_add(taken.len());
        self.framer.push(taken);
        Ok(taken.len())
    }

    /// The next frame that came, judged by the link's state; none if no whole frame is there.
    pub(crate) fn next(&mut self, config: &Config, now: Instant) -> Result<Option<Received>, Violation> {
        if matches!(self.state, State::Closing) {
            return Ok(None);
        }
        let rules = config.rules;
        let Some(frame) = self.framer.next(rules)? else {
            self.partial_since = self.framer.is_partial().then(|| self.partial_since.unwrap_or(now));
            return Ok(None);
        };
        self.partial_since = None;
        self.on_frame(config, frame).map(Some)
    }

    /// Queues a message; a full queue ends the link (LINK-QUEUE-1).
    pub(crate) fn send(&mut self, rules: Rules, lsn: Lsn, message: &Message) -> Result<(), Violation> {
        if matches!(self.state, State::Closing) {
            return Ok(());
        }
        let bytes = message.to_frame();
        rules.ensure(Clause::LINK_QUEUE_1, self.queued + bytes.len() <= MAX_QUEUE, Code::LIMIT_QUEUE)?;
        if self.own_auth_sent {
            self.put(lsn, bytes);
        } else {
            self.queued += bytes.len();
            self.waiting.push_back((lsn, bytes));
        }
        Ok(())
    }

    /// The bytes that wait to leave.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Takes what may leave now: nothing overtakes, and nothing leaves before its LSN is durable.
    pub(crate) fn transmit(&mut self, durable: Lsn, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        while let Some((lsn, _)) = self.outbox.front()
            && *lsn <= durable
        {
            if let Some((_, bytes)) = self.outbox.pop_front() {
                self.queued = self.queued.saturating_sub(bytes.len());
                out.extend_from_slice(&bytes);
            }
        }
        out.len() > before
    }

    /// Says good-bye; what waits for the journal doesn't leave any more, what is durable still does.
    pub(crate) fn goaway(&mut self, durable: Lsn, code: Code) {
        if matches!(self.state, State::Closing) {
            return;
        }
        self.state = State::Closing;
        self.outbox.retain(|(lsn, _)| *lsn <= durable);
        self.waiting.clear();
        self.put(Lsn::default(), Message::from(Goaway { code: code.into(), ext: Exts::empty() }).to_frame());
    }

    /// The deadline that passed, if one did; sends a PING if it is time.
    pub(crate) fn on_timeout(&mut self, rules: Rules, now: Instant, nonce: u64) -> Result<(), Violation> {
        if matches!(self.state, State::Closing) {
            return Ok(());
        }
        let in_time = match self.state {
            State::Greeting => now.since(self.opened) < HELLO_TIMEOUT,
            State::Proving { .. } => now.since(self.opened) < AUTH_TIMEOUT,
            _ => true,
        };
        let moving = self.partial_since.is_none_or(|since| now.since(since) < FRAME_TIMEOUT);
        rules.ensure(Clause::LINK_PROGRESS_1, in_time && moving, Code::LIMIT_PROGRESS)?;
        rules.ensure(Clause::LINK_IDLE_1, now.since(self.heard) < IDLE, Code::LIMIT_IDLE)?;
        if self.ready().is_some() && self.pinged.is_none() && now.since(self.heard) >= KEEPALIVE {
            self.pinged = Some(now);
            self.send(rules, Lsn::default(), &Ping { nonce, answer: false, ext: Exts::empty() }.into())?;
        }
        Ok(())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Greeting => Some(self.opened.after(HELLO_TIMEOUT)),
            State::Proving { .. } => Some(self.opened.after(AUTH_TIMEOUT)),
            State::Ready(_) if self.pinged.is_none() => Some(self.heard.after(KEEPALIVE)),
            State::Ready(_) => Some(self.heard.after(IDLE)),
            State::Closing => return None,
        };
        let partial = self.partial_since.map(|since| since.after(FRAME_TIMEOUT));
        [state, partial].into_iter().flatten().min()
    }

    fn put(&mut self, lsn: Lsn, bytes: Vec<u8>) {
        self.queued += bytes.len();
        self.outbox.push_back((lsn, bytes));
    }

    fn on_frame(&mut self, config: &Config, frame: Frame) -> Result<Received, Violation> {
        let rules = config.rules;
        let Some(message) = Message::decode(rules, frame.number, &frame.payload)? else {
            let skips = frame.number % 2 == 1 && rules.keeps(Clause::WIRE_FRAME_3);
            rules.ensure(Clause::WIRE_FRAME_2, skips, Code::WIRE_UNKNOWN_CRITICAL)?;
            return Ok(Received::Nothing);
        };
        if let Message::Goaway(goaway) = &message {
            return Ok(Received::Goaway(goaway.code.into()));
        }
        match &self.state {
            State::Greeting => self.on_greeting(rules, message, frame.payload),
            State::Proving { hello, bytes } => {
                let ready = self.on_proving(config, message, hello, bytes)?;
                self.state = State::Ready(ready);
                Ok(Received::Authenticated(ready))
            }
            State::Ready(ready) => self.on_message(rules, *ready, message),
            State::Closing => Ok(Received::Nothing),
        }
    }

    fn on_greeting(&mut self, rules: Rules, message: Message, bytes: Vec<u8>) -> Result<Received, Violation> {
        let Message::Hello(hello) = message else {
            return Err(Violation::new(Code::WIRE_STATE, Clause::LINK_HELLO_1));
        };
        let known = Generation::from_number(hello.floor).is_some() && hello.floor <= hello.generation;
        rules.ensure(Clause::LINK_HELLO_2, known, Code::WIRE_VALUE)?;
        self.state = State::Proving { hello, bytes };
        Ok(Received::Nothing)
    }

    fn on_proving(&self, config: &Config, message: Message, hello: &Hello, bytes: &[u8]) -> Result<Ready, Violation> {
        let rules = config.rules;
        let Message::Auth(auth) = message else {
            return Err(Violation::new(Code::WIRE_STATE, Clause::LINK_AUTH_1));
        };
        let theirs = match self.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let proven = verify_message(&auth.key, &auth_message(theirs, &auth.key, bytes, &self.binding), &auth.sig);
        rules.ensure(Clause::LINK_AUTH_2, proven && auth.key != config.device, Code::AUTH_BINDING)?;
        let dialled = self.expect.is_none_or(|expect| expect == auth.key);
        rules.ensure(Clause::LINK_AUTH_4, dialled, Code::AUTH_UNKNOWN_DEVICE)?;
        let generation = pick(config, hello)?;
        Ok(Ready { peer: auth.key, generation, boot: hello.boot })
    }

    fn on_message(&mut self, rules: Rules, ready: Ready, message: Message) -> Result<Received, Violation> {
        let row = message.row();
        let clause = if row.place == Place::First { Clause::LINK_HELLO_1 } else { Clause::LINK_AUTH_1 };
        rules.ensure(clause, matches!(row.place, Place::Control | Place::Always), Code::WIRE_STATE)?;
        rules.ensure(Clause::GEN_USE_1, row.since <= ready.generation, Code::VER_NOT_PERMITTED)?;
        if let Message::Ping(ping) = message {
            if !ping.answer && rules.keeps(Clause::LINK_PING_1) {
                self.send(rules, Lsn::default(), &Ping { answer: true, ..ping }.into())?;
            }
            return Ok(Received::Nothing);
        }
        Ok(Received::Message(ready, message))
    }
}

/// The generation of a pair (GEN-PICK-1, GEN-FLOOR-1). A higher number than is known here is a later generation.
fn pick(config: &Config, hello: &Hello) -> Result<Generation, Violation> {
    let rules = config.rules;
    let theirs = Generation::from_number(hello.generation).unwrap_or(Generation::V7);
    let picked = if rules.keeps(Clause::GEN_PICK_1) { theirs.min(config.generation) } else { config.generation };
    let above = picked >= config.floor && picked.number() >= hello.floor;
    rules.ensure(Clause::GEN_FLOOR_1, above, Code::VER_BELOW_FLOOR)?;
    Ok(picked)
}
