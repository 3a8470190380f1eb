//! A peer's end of a link: what the subject sent on it.

use std::collections::{BTreeMap, VecDeque};

use segue_proto::wire::frame::Framer;
use segue_proto::wire::{Bytes, DeviceId, Message};
use segue_proto::{Code, Role, Rules};
use segue_testkit::trace::describe;

/// A peer's end of a link.
pub(super) struct End {
    /// The subject's role.
    pub(super) role: Role,
    pub(super) binding: [u8; 32],
    /// The subject's messages that nobody looked at yet.
    pub(super) inbox: VecDeque<Message>,
    /// The peer that stands here.
    pub(super) peer: Option<DeviceId>,
    /// Whether the peer has said AUTH.
    pub(super) proven: bool,
    /// How many grease frames came.
    pub(super) grease: usize,
    /// The payload of the subject's HELLO, as it came.
    pub(super) hello: Option<Vec<u8>>,
    /// The code of the subject's GOAWAY.
    pub(super) goaway: Option<Code>,
    /// The code with which the transport was closed.
    pub(super) closed: Option<Code>,
    /// What no peer could read.
    pub(super) garbage: Option<String>,
    /// Streams that came whole: the BYTES frame and what followed it.
    pub(super) streams: VecDeque<(Bytes, Vec<u8>)>,
    framer: Framer,
    arriving: BTreeMap<u64, Vec<u8>>,
    sent: u64,
}

impl End {
    pub(super) fn new(role: Role, binding: [u8; 32]) -> End {
        End {
            role,
            binding,
            inbox: VecDeque::new(),
            peer: None,
            proven: false,
            grease: 0,
            hello: None,
            goaway: None,
            closed: None,
            garbage: None,
            streams: VecDeque::new(),
            framer: Framer::default(),
            arriving: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Takes in bytes of the control stream; words for each message, and the message if it is one.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<(String, Option<Message>)> {
        let mut lines = Vec::new();
        self.framer.push(bytes);
        while self.garbage.is_none() {
            let frame = match self.framer.next(Rules::ALL) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(violation) => {
                    self.garbage = Some(format!("a malformed frame: {violation:?}"));
                    break;
                }
            };
            if self.goaway.is_some() {
                self.garbage = Some("a frame behind its GOAWAY".into());
                break;
            }
            match Message::decode(Rules::ALL, frame.number, &frame.payload) {
                Ok(Some(message)) => {
                    lines.push((describe(&message), Some(message.clone())));
                    self.take(message, frame.payload);
                }
                Ok(None) if frame.number % 64 == 27 => {
                    self.grease += 1;
                    lines.push((format!("grease 0x{:x}", frame.number), None));
                }
                Ok(None) => self.garbage = Some(format!("a frame of the unknown type 0x{:x}", frame.number)),
                Err(violation) => self.garbage = Some(format!("a message that breaks {violation:?}")),
            }
        }
        lines.extend(self.garbage.clone().map(|garbage| (garbage, None)));
        lines
    }

    /// Takes in bytes of a unidirectional stream; its BYTES frame, if they complete the stream.
    pub(super) fn bulk(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Option<Bytes> {
        let held = self.arriving.entry(stream).or_default();
        held.extend_from_slice(bytes);
        if !fin {
            return None;
        }
        let mut framer = Framer::default();
        framer.push(&self.arriving.remove(&stream).unwrap_or_default());
        let Some(Message::Bytes(header)) = first(&mut framer) else {
            self.garbage = Some("a bulk stream that doesn't begin with BYTES".into());
            return None;
        };
        self.streams.push_back((header.clone(), framer.into_rest()));
        Some(header)
    }

    pub(super) fn next_stream(&mut self) -> u64 {
        self.sent += 1;
        self.sent - 1
    }

    fn take(&mut self, message: Message, payload: Vec<u8>) {
        match &message {
            Message::Hello(_) if self.hello.is_none() => self.hello = Some(payload),
            Message::Goaway(goaway) => self.goaway = Some(goaway.code.into()),
            _ => {}
        }
        self.inbox.push_back(message);
    }
}

/// The message with which the bytes of a stream begin, if they hold one.
pub(super) fn header(bytes: &[u8]) -> Option<Message> {
    let mut framer = Framer::default();
    framer.push(bytes);
    first(&mut framer)
}

fn first(framer: &mut Framer) -> Option<Message> {
    let frame = framer.next(Rules::ALL).ok().flatten()?;
    Message::decode(Rules::ALL, frame.number, &frame.payload).ok().flatten()
}
