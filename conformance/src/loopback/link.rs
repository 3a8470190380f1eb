//! The suite's end of a link: a real connection, on which it says what a case wants, and hears what the subject says.
//!
//! Nothing here looks at a clock. A verdict stands on bytes, closes and events; what shows that a subject went on where
//! it had to end the link is its answer to a PING that was sent behind the misbehaviour.

use std::collections::VecDeque;
use std::sync::Arc;

use quinn::{Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream, VarInt};
use segue_proto::link::auth_message;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{
    Auth, Bytes, DeviceId, Envelopes, Exts, Grant, Hello, Message, Ping, PutOk, Relay, verify_message,
};
use segue_proto::{Code, Role, Rules};
use segue_testkit::trace::describe;

use super::rig::Rig;
use super::seen::Seen;
use crate::lab::{Done, opposite};
use crate::peer::Peer;
use crate::verdict::Fault;

/// The suite's end of a link.
pub struct Link {
    rig: Rig,
    /// Its socket lives as long as the link.
    _endpoint: Endpoint,
    /// The connection.
    pub connection: Connection,
    /// The subject's role.
    pub role: Role,
    /// The channel binding.
    pub binding: [u8; 32],
    /// What the handshake showed.
    pub seen: Arc<Seen>,
    /// Whether the subject opened the control stream before the handshake was complete.
    pub early: bool,
    subject: DeviceId,
    send: SendStream,
    recv: RecvStream,
    framer: Framer,
    inbox: VecDeque<Message>,
    hello: Option<Vec<u8>>,
    goaway: Option<Code>,
    garbage: Option<String>,
    ended: bool,
    pings: u64,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// With an application's code.
    Code(Code),
    /// With a code of QUIC's own, such as 0x178: TLS found no protocol in common.
    Transport(u64),
    /// Otherwise.
    Other(String),
}

/// The parts of a connection with its control stream.
pub(super) struct Opened {
    pub(super) endpoint: Endpoint,
    pub(super) connection: Connection,
    pub(super) streams: (SendStream, RecvStream),
    pub(super) role: Role,
    pub(super) seen: Arc<Seen>,
    pub(super) subject: DeviceId,
}

impl Link {
    pub(super) fn new(rig: Rig, opened: Opened) -> Done<Link> {
        let Opened { endpoint, connection, streams: (send, recv), role, seen, subject } = opened;
        let binding = exported(&connection, LABEL, b"")?;
        let early = recv.is_0rtt();
        Ok(Link {
            rig,
            _endpoint: endpoint,
            connection,
            role,
            binding,
            seen,
            early,
            subject,
            send,
            recv,
            framer: Framer::default(),
            inbox: VecDeque::new(),
            hello: None,
            goaway: None,
            garbage: None,
            ended: false,
            pings: 0,
        })
    }

    /// Who is at the other end, if it proves it.
    pub fn subject(&self) -> DeviceId {
        self.subject
    }
}

/// What is said.
impl Link {
    /// Sends a message.
    pub fn send(&mut self, message: impl Into<Message>) {
        let message = message.into();
        self.rig.note(format!("suite → {}", describe(&message)));
        self.write(&message.to_frame());
    }

    /// Sends bytes on the control stream, whatever they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let shown = hex::encode(bytes.get(..bytes.len().min(24)).unwrap_or_default());
        self.rig.note(format!("suite → {} raw bytes {shown}…", bytes.len()));
        self.write(bytes);
    }

    /// A subject that ended the link reads no more; what can't be written then need not be.
    fn write(&mut self, bytes: &[u8]) {
        let sent = self.rig.wait("room on the control stream", self.send.write_all(bytes));
        if !matches!(sent, Ok(Ok(()))) {
            self.rig.note("suite: the control stream takes no more");
        }
    }

    /// Ends the suite's side of the control stream.
    pub fn finish(&mut self) {
        self.rig.note("suite → end of the control stream");
        let _ = self.send.finish();
    }

    /// Resets the suite's side of the control stream.
    pub fn reset(&mut self, code: Code) {
        self.rig.note(format!("suite → reset of the control stream, {code:?}"));
        let _ = self.send.reset(number(code));
    }

    /// Closes the connection.
    pub fn close(&mut self, code: Code) {
        self.rig.note(format!("suite closes the connection with {code:?}"));
        self.connection.close(number(code), b"");
    }

    /// Closes the connection with a code that may have more than 16 bits.
    pub fn close_with(&mut self, code: u32) {
        self.rig.note(format!("suite closes the connection with {code:#x}"));
        self.connection.close(VarInt::from_u32(code), b"");
    }

    /// The peer's AUTH on this link.
    pub fn auth(&self, peer: &Peer, hello: &Hello) -> Auth {
        peer.auth(opposite(self.role), hello, &self.binding)
    }

    /// The channel's exporter under another label or context, or those of the spec.
    ///
    /// # Errors
    /// If the connection has no keys any more.
    pub fn exported(&self, label: &str, context: &[u8]) -> Done<[u8; 32]> {
        exported(&self.connection, label, context)
    }

    /// The peer says HELLO and AUTH as it should.
    pub fn says(&mut self, peer: &Peer) {
        let hello = peer.hello();
        let auth = self.auth(peer, &hello);
        self.send(hello);
        self.send(auth);
    }

    /// The peer proves itself, and the subject has to.
    ///
    /// # Errors
    /// If the subject doesn't, or ends the link.
    pub fn greet(&mut self, peer: &Peer) -> Done {
        self.says(peer);
        self.proves()?;
        self.alive()
    }
}

/// What is heard.
impl Link {
    /// The subject's HELLO and AUTH come, and are good; the HELLO.
    ///
    /// # Errors
    /// If they don't or aren't.
    pub fn proves(&mut self) -> Done<Hello> {
        self.proof().map(|(hello, _)| hello)
    }

    /// The same; both frames.
    ///
    /// # Errors
    /// If they don't come or aren't good.
    pub fn proof(&mut self) -> Done<(Hello, Auth)> {
        let said = self.take("HELLO as the first frame", |message| match message {
            Message::Hello(hello) => Some(hello.clone()),
            _ => None,
        })?;
        let auth = self.take("AUTH as the second frame", |message| match message {
            Message::Auth(auth) => Some(auth.clone()),
            _ => None,
        })?;
        let hello = self.hello.clone().unwrap_or_default();
        let message = auth_message(self.role, &auth.key, &hello, &self.binding);
        if auth.key == self.subject && verify_message(&auth.key, &message, &auth.sig) {
            return Ok((said, auth));
        }
        Err(Fault::fail("an AUTH by the subject over this channel's exporter", "another"))
    }

    /// Takes the first message that `wanted` finds, from those not taken yet.
    ///
    /// # Errors
    /// If the link ends before it comes.
    pub fn take<T>(&mut self, what: &str, wanted: impl Fn(&Message) -> Option<T>) -> Done<T> {
        let mut looked = 0;
        loop {
            let found = self.inbox.iter().enumerate().skip(looked).find_map(|(at, it)| Some((at, wanted(it)?)));
            if let Some((at, found)) = found {
                self.inbox.remove(at);
                return Ok(found);
            }
            looked = self.inbox.len();
            if !self.hear(what)? {
                return Err(Fault::fail(what, self.ending(what)?));
            }
        }
    }

    /// Forgets the messages that came and weren't taken.
    pub fn skip(&mut self) {
        self.inbox.clear();
    }

    /// Whether a message is among those that came and weren't taken.
    pub fn has(&self, wanted: impl Fn(&Message) -> bool) -> bool {
        self.inbox.iter().any(wanted)
    }

    /// The subject answers a PING: its link lives, and what was sent before it has been taken in.
    ///
    /// # Errors
    /// If it doesn't.
    pub fn alive(&mut self) -> Done {
        let nonce = self.ping();
        self.take("a PING that answers", |message| answers(message, nonce).then_some(()))
    }

    /// Sends a PING; its nonce.
    pub fn ping(&mut self) -> u64 {
        self.pings += 1;
        let nonce = 1 << 40 | self.pings;
        self.send(Ping { nonce, answer: false, ext: Exts::empty() });
        nonce
    }

    /// The subject ends the link with this code: it closes the connection with it, and if its GOAWAY arrives, that has it,
    /// too.
    ///
    /// # Errors
    /// If it goes on, or ends otherwise.
    pub fn ends_with(&mut self, code: Code) -> Done {
        let nonce = self.ping();
        let expected = format!("the connection closed with {code:?}");
        while self.hear(&expected)? {
            if self.inbox.iter().any(|message| answers(message, nonce)) {
                return Err(Fault::fail(expected, "the link goes on: a PING behind it is answered"));
            }
        }
        self.closed_with(code)
    }

    /// The subject closes the connection with this code; nothing is sent meanwhile.
    ///
    /// # Errors
    /// If it closes otherwise.
    pub fn closed_with(&mut self, code: Code) -> Done {
        let expected = format!("the connection closed with {code:?}");
        while self.hear(&expected)? {}
        let close = self.closes(&expected)?;
        if let Some(garbage) = &self.garbage {
            return Err(Fault::fail("well-formed frames", garbage.clone()));
        }
        match (self.goaway, close) {
            (Some(said), _) if said != code => Err(Fault::fail(format!("GOAWAY {code:?}"), format!("{said:?}"))),
            (_, Close::Code(closed)) if closed == code => Ok(()),
            (_, close) => Err(Fault::fail(expected, format!("closed with {close:?}"))),
        }
    }

    /// The same, while nothing that the subject says is read.
    ///
    /// # Errors
    /// If it closes otherwise.
    pub fn closed_unread(&mut self, code: Code) -> Done {
        let expected = format!("the connection closed with {code:?}");
        match self.closes(&expected)? {
            Close::Code(closed) if closed == code => Ok(()),
            close => Err(Fault::fail(expected, format!("closed with {close:?}"))),
        }
    }

    /// How the subject closes the connection.
    ///
    /// # Errors
    /// If it doesn't.
    pub fn closes(&mut self, what: &str) -> Done<Close> {
        let close = close(&self.rig.wait(what, self.connection.closed())?);
        self.rig.note(format!("subject closes the connection: {close:?}"));
        Ok(close)
    }

    /// Takes an ERROR with this request number and code, and the link goes on.
    ///
    /// # Errors
    /// If another comes, or none.
    pub fn refuses(&mut self, req: u32, code: Code) -> Done {
        let what = format!("ERROR {code:?} with req {req}");
        let answer = self.take(&what, |message| match message {
            Message::Error(error) if error.req == req => Some(Ok(error.clone())),
            Message::Grant(Grant { req: it, .. })
            | Message::PutOk(PutOk { req: it, .. })
            | Message::Envelopes(Envelopes { req: it, .. })
                if *it == req =>
            {
                Some(Err(describe(message)))
            }
            _ => None,
        })?;
        let error = answer.map_err(|granted| Fault::fail(&what, granted))?;
        let came = Code::from(error.code);
        let definite = code.outcome() == segue_proto::Outcome::Definite;
        if came != code || error.definite != definite {
            return Err(Fault::fail(
                format!("{what}, definite {definite}"),
                format!("ERROR {came:?}, definite {}", error.definite),
            ));
        }
        self.alive()
    }

    /// Reads on; whether there was more. Frames go to the inbox.
    fn hear(&mut self, what: &str) -> Done<bool> {
        if self.ended {
            return Ok(false);
        }
        match self.rig.wait(what, self.recv.read_chunk(CHUNK, true)) {
            Ok(Ok(Some(chunk))) => {
                self.framer.push(&chunk.bytes);
                self.sort();
                Ok(true)
            }
            Ok(_) => {
                self.ended = true;
                Ok(false)
            }
            Err(fault) => Err(self.unheard(fault)),
        }
    }

    /// What came instead, if nothing more does.
    fn unheard(&self, fault: Fault) -> Fault {
        let came: Vec<String> = self.inbox.iter().map(describe).collect();
        if came.is_empty() { fault } else { Fault::unheard(fault.expected, format!("only {}", came.join("; "))) }
    }

    fn ending(&mut self, what: &str) -> Done<String> {
        if let Some(garbage) = &self.garbage {
            return Ok(garbage.clone());
        }
        let close = self.closes(what)?;
        let goaway = self.goaway.map_or(String::new(), |code| format!("GOAWAY {code:?}, and "));
        Ok(format!("{goaway}the connection closed: {close:?}"))
    }

    fn sort(&mut self) {
        while self.garbage.is_none() {
            let frame = match self.framer.next(Rules::ALL) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(violation) => return self.bad(format!("a malformed frame: {violation:?}")),
            };
            if self.goaway.is_some() {
                return self.bad("a frame behind its GOAWAY".into());
            }
            match Message::decode(Rules::ALL, frame.number, &frame.payload) {
                Ok(Some(message)) => {
                    self.rig.note(format!("subject → {}", describe(&message)));
                    match &message {
                        Message::Hello(_) if self.hello.is_none() => self.hello = Some(frame.payload),
                        Message::Goaway(goaway) => self.goaway = Some(goaway.code.into()),
                        _ => {}
                    }
                    self.inbox.push_back(message);
                }
                Ok(None) if frame.number % 64 == 27 => self.rig.note(format!("subject → grease 0x{:x}", frame.number)),
                Ok(None) => self.bad(format!("a frame of the unknown type 0x{:x}", frame.number)),
                Err(violation) => self.bad(format!("a message that breaks {violation:?}")),
            }
        }
    }

    fn bad(&mut self, garbage: String) {
        self.rig.note(format!("subject → {garbage}"));
        self.garbage = Some(garbage);
    }
}

/// Bulk streams.
impl Link {
    /// Opens a unidirectional stream, and sends these bytes on it.
    ///
    /// # Errors
    /// If the subject permits none.
    pub fn bulk(&mut self, bytes: &[u8]) -> Done<Bulk> {
        let opened = self.rig.wait("a unidirectional stream permitted after AUTH", self.connection.open_uni());
        let opened = match opened {
            // Nothing for so long, on a link that lives: the subject isn't slow, it permits none.
            Err(fault) if self.alive().is_ok() => return Err(Fault::fail(fault.expected, fault.came)),
            opened => opened?,
        };
        let mut send = opened.map_err(|error| Fault::fail("a bulk stream", format!("{:?}", close(&error))))?;
        self.rig.note(format!("suite → bulk, {} bytes", bytes.len()));
        // It may be stopped before all is written.
        let _ = self.rig.wait("room on a bulk stream", send.write_all(bytes))?;
        Ok(Bulk { rig: self.rig.clone(), send })
    }

    /// Takes the next bulk stream of the subject, whole: its BYTES, and what follows.
    ///
    /// # Errors
    /// If none comes, or it is malformed.
    pub fn stream(&mut self, what: &str) -> Done<(Bytes, Vec<u8>)> {
        let mut stream = self.incoming(what)?;
        let read = self.rig.wait(what, stream.read_to_end(LONGEST))?;
        let bytes = read.map_err(|error| Fault::fail(what, format!("a stream that broke off: {error}")))?;
        let mut framer = Framer::default();
        framer.push(&bytes);
        let frame = framer.next(Rules::ALL).ok().flatten();
        match frame.and_then(|frame| Message::decode(Rules::ALL, frame.number, &frame.payload).ok().flatten()) {
            Some(Message::Bytes(header)) => {
                let rest = framer.into_rest();
                self.rig.note(format!("subject → bulk, {} bytes behind its BYTES", rest.len()));
                Ok((header, rest))
            }
            _ => Err(Fault::fail("a bulk stream that begins with BYTES", "another")),
        }
    }

    /// Takes the next bulk stream of the subject, unread.
    ///
    /// # Errors
    /// If none comes.
    pub fn incoming(&mut self, what: &str) -> Done<RecvStream> {
        let stream = self.rig.wait(what, self.connection.accept_uni())?;
        stream.map_err(|error| Fault::fail(what, format!("the connection closed: {:?}", close(&error))))
    }

    /// Takes the next stream of packets of the subject: its RELAY, and the stream behind it.
    ///
    /// # Errors
    /// If none comes, or it begins otherwise.
    pub fn packets(&mut self, what: &str) -> Done<(Relay, Packets)> {
        let mut stream = self.incoming(what)?;
        let mut framer = Framer::default();
        loop {
            let frame = framer.next(Rules::ALL).ok().flatten();
            if let Some(frame) = frame {
                let Ok(Some(Message::Relay(relay))) = Message::decode(Rules::ALL, frame.number, &frame.payload) else {
                    return Err(Fault::fail("a stream that begins with RELAY", "another"));
                };
                self.rig.note("subject → a stream of packets");
                return Ok((relay, Packets { rig: self.rig.clone(), rest: framer.into_rest(), stream }));
            }
            let read = self.rig.wait(what, stream.read_chunk(CHUNK, true))?;
            let chunk = read.ok().flatten().ok_or_else(|| Fault::fail(what, "a stream that ended before"))?;
            framer.push(&chunk.bytes);
        }
    }

    /// Tells the subject to stop sending on the control stream.
    pub fn stop_control(&mut self, code: Code) {
        self.rig.note(format!("suite → STOP_SENDING for the control stream, {code:?}"));
        let _ = self.recv.stop(number(code));
    }

    /// Whether the subject permits a stream now: of both directions, or of one.
    pub fn permits(&self, bidirectional: bool) -> bool {
        // A permitted stream is there at once; one that isn't waits for the subject.
        self.rig.enter(|| {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            if bidirectional {
                std::pin::pin!(self.connection.open_bi()).poll(&mut cx).is_ready()
            } else {
                std::pin::pin!(self.connection.open_uni()).poll(&mut cx).is_ready()
            }
        })
    }
}

/// A stream of packets of the subject's.
pub struct Packets {
    rig: Rig,
    rest: Vec<u8>,
    stream: RecvStream,
}

impl Packets {
    /// Takes so many bytes.
    ///
    /// # Errors
    /// If the stream ends before.
    pub fn take(&mut self, len: usize) -> Done<Vec<u8>> {
        while self.rest.len() < len {
            let read = self.rig.wait("packets", self.stream.read_chunk(CHUNK, true))?;
            let chunk = read.ok().flatten().ok_or_else(|| Fault::fail("packets", "the end of their stream"))?;
            self.rest.extend_from_slice(&chunk.bytes);
        }
        let later = self.rest.split_off(len);
        Ok(std::mem::replace(&mut self.rest, later))
    }

    /// Nothing comes but the end of the stream, however the subject ends it.
    ///
    /// # Errors
    /// If something comes, or the stream goes on.
    pub fn nothing(&mut self) -> Done {
        match self.rig.wait("the end of a stream of packets", self.stream.read_chunk(CHUNK, true))? {
            Ok(Some(chunk)) => {
                Err(Fault::fail("the end of a stream of packets", format!("{} bytes", chunk.bytes.len())))
            }
            _ => Ok(()),
        }
    }

    /// The subject ends the stream, and nothing comes before that.
    ///
    /// # Errors
    /// If something comes, or it ends otherwise.
    pub fn finished(&mut self) -> Done {
        match self.rig.wait("the end of a stream of packets", self.stream.read_chunk(CHUNK, true))? {
            Ok(None) if self.rest.is_empty() => Ok(()),
            came => Err(Fault::fail("the end of a stream of packets", format!("{came:?}"))),
        }
    }

    /// The subject resets the stream with this code.
    ///
    /// # Errors
    /// If it ends otherwise.
    pub fn reset_with(&mut self, code: Code) -> Done {
        let expected = format!("a stream of packets reset with {code:?}");
        match self.rig.wait(&expected, self.stream.read_chunk(CHUNK, true))? {
            Err(ReadError::Reset(came)) if came == number(code) => Ok(()),
            came => Err(Fault::fail(expected, format!("{came:?}"))),
        }
    }

    /// Tells the subject to stop.
    pub fn stop(&mut self, code: Code) {
        self.rig.note(format!("suite → STOP_SENDING for a stream of packets, {code:?}"));
        let _ = self.stream.stop(number(code));
    }
}

/// A bulk stream of the suite's.
pub struct Bulk {
    rig: Rig,
    send: SendStream,
}

impl Bulk {
    /// Sends more.
    pub fn more(&mut self, bytes: &[u8]) {
        let _ = self.rig.wait("room on a bulk stream", self.send.write_all(bytes));
    }

    /// Ends it.
    pub fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// Breaks it off.
    pub fn reset(&mut self, code: Code) {
        self.rig.note(format!("suite → reset of a bulk stream, {code:?}"));
        let _ = self.send.reset(number(code));
    }

    /// The subject stops it with this code.
    ///
    /// # Errors
    /// If it doesn't, or gives another.
    pub fn stopped_with(&mut self, code: Code) -> Done {
        let expected = format!("the bulk stream stopped with {code:?}");
        let came = match self.rig.wait(&expected, self.send.stopped())? {
            Ok(Some(came)) => u16::try_from(came.into_inner()).map(Code::from_number),
            Ok(None) => return Err(Fault::fail(expected, "all of it taken")),
            Err(error) => return Err(Fault::fail(expected, error.to_string())),
        };
        self.rig.note(format!("subject stops a bulk stream: {came:?}"));
        if came == Ok(code) { Ok(()) } else { Err(Fault::fail(expected, format!("stopped with {came:?}"))) }
    }

    /// What becomes of packets: the subject opens a stream for them on another link, which is left unread, or it stops this
    /// one with a code.
    ///
    /// # Errors
    /// If neither happens.
    pub fn goes_on(&mut self, to: &Link) -> Done<Result<RecvStream, Code>> {
        let what = "a stream to the other device, or a stop";
        let either = async {
            tokio::select! {
                stopped = self.send.stopped() => Err(stopped),
                stream = to.connection.accept_uni() => Ok(stream),
            }
        };
        match self.rig.wait(what, either)? {
            Ok(stream) => stream.map(Ok).map_err(|error| Fault::fail(what, format!("{:?}", close(&error)))),
            Err(Ok(Some(came))) => {
                self.rig.note(format!("subject stops a bulk stream: {came}"));
                Ok(Err(u16::try_from(came.into_inner()).map_or(Code::LINK_LOST, Code::from_number)))
            }
            Err(came) => Err(Fault::fail(what, format!("{came:?}"))),
        }
    }

    /// Sends more, all of which the subject has to take, as long as the link lives.
    ///
    /// # Errors
    /// If it takes no more.
    pub fn all_taken(&mut self, link: &mut Link, bytes: &[u8]) -> Done {
        match self.rig.wait("room on a bulk stream", self.send.write_all(bytes)) {
            Ok(Ok(())) => Ok(()),
            Err(fault) if link.alive().is_ok() => Err(Fault::fail(fault.expected, fault.came)),
            Ok(Err(error)) => Err(Fault::fail("room on a bulk stream", error.to_string())),
            Err(fault) => Err(fault),
        }
    }
}

/// How a connection ended.
pub(super) fn close(error: &ConnectionError) -> Close {
    match error {
        ConnectionError::ApplicationClosed(close) => match u16::try_from(close.error_code.into_inner()) {
            Ok(number) => Close::Code(Code::from_number(number)),
            Err(_) => Close::Other(format!("application code {}", close.error_code)),
        },
        ConnectionError::ConnectionClosed(close) => Close::Transport(u64::from(close.error_code)),
        ConnectionError::TransportError(error) => Close::Other(format!("{}", error.code)),
        other => Close::Other(other.to_string()),
    }
}

/// A QUIC code.
fn number(code: Code) -> VarInt {
    VarInt::from_u32(u32::from(code.number()))
}

fn answers(message: &Message, nonce: u64) -> bool {
    matches!(message, Message::Ping(ping) if ping.answer && ping.nonce == nonce)
}

fn exported(connection: &Connection, label: &str, context: &[u8]) -> Done<[u8; 32]> {
    let mut out = [0; 32];
    let done = connection.export_keying_material(&mut out, label.as_bytes(), context);
    done.map(|()| out).map_err(|_| Fault::fail("a connection with keys", "one without"))
}

/// TRANSPORT-BIND-1.
pub const LABEL: &str = "EXPORTER-segue-1";

/// What is read at once.
const CHUNK: usize = 64 << 10;
/// The longest bulk stream that a case asks for.
const LONGEST: usize = 4 << 20;
