//! What happened, in lines that a person reads, and in one hash that two runs compare.

use segue_proto::wire::frame::Framer;
use segue_proto::wire::{Kind, Message, Record, RosterEntry, Signed, SignedBody, Want, WantMode};
use segue_proto::{Code, Instant, Rules};

/// The lines of a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Vec<String>,
}

impl Trace {
    /// Adds a line.
    pub fn note(&mut self, now: Instant, line: impl std::fmt::Display) {
        let micros = now.micros();
        self.lines.push(format!("t={}.{:06} {line}", micros / 1_000_000, micros % 1_000_000));
    }

    /// The lines so far.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The BLAKE3 hash of all lines.
    pub fn hash(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for line in &self.lines {
            hasher.update(line.as_bytes()).update(b"\n");
        }
        hasher.finalize()
    }
}

/// The frames in a control stream, as they are completed. Bytes that are no frames end it.
#[derive(Clone, Debug, Default)]
pub struct Tap {
    framer: Framer,
    broken: bool,
}

impl Tap {
    /// The messages that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut out = Vec::new();
        self.framer.push(bytes);
        while !self.broken {
            match self.framer.next(Rules::ALL) {
                Ok(Some(frame)) => out.extend(Message::decode(Rules::ALL, frame.number, &frame.payload).ok().flatten()),
                Ok(None) => break,
                Err(_) => self.broken = true,
            }
        }
        out
    }
}

/// A message in a few words.
pub fn describe(message: &Message) -> String {
    let name = message.row().name;
    let rest = match message {
        Message::Hello(m) => format!("generation {} floor {}", m.generation, m.floor),
        Message::Auth(m) => format!("{:?}", m.key),
        Message::Error(m) => format!("req {} {:?}", m.req, Code::from(m.code)),
        Message::Goaway(m) => format!("{:?}", Code::from(m.code)),
        Message::Ping(m) => (if m.answer { "answer" } else { "ask" }).to_string(),
        Message::Link(m) => format!("{:?} {}", m.proof, if m.confirmed { "confirmed" } else { "asks" }),
        Message::LinkOk(m) => format!("account {:?}", m.account),
        Message::Roster(m) => {
            let entries: Vec<String> = m.entries.iter().map(entry).collect();
            format!("account {:?} heads {:?} [{}]", m.account, &*m.heads, entries.join(", "))
        }
        Message::Have(m) => {
            let data = m.data.get().map_or("nothing".to_string(), |data| format!("root {:?}", data.root));
            format!("req {} head {:?} {data}", m.req, m.head)
        }
        Message::Get(m) => format!("req {} {:?}, {} bytes", m.req, m.blob, m.len),
        Message::Ranges(m) => format!("req {} {:?}, {} ranges", m.req, m.blob, m.ranges.len()),
        Message::Bytes(m) => format!("req {} {:?} at {}, {} bytes", m.req, m.blob, m.offset, m.len),
        Message::Want(m) => format!("req {} {}", m.req, want(&m.want)),
        Message::Grant(m) => {
            format!("req {} {} for WANT {:?}, {} ops", m.req, record(&m.record), m.want.id(), m.ops.len())
        }
        Message::Head(m) => {
            let records: Vec<String> = m.records.iter().map(record).collect();
            let ack = m.ack.get().map_or(String::new(), |ack| format!(" ack {:?}", ack.record));
            format!("[{}]{ack}", records.join(", "))
        }
        Message::Since(m) => format!("{:?} from {} of {:?}", m.session, m.at, m.log),
        Message::Strand(m) => format!("{} is {:?} of {:?}, after {}", m.strand, m.part, m.actor, m.seq),
        Message::Ops(m) => format!("{}, {} ops", m.strand, m.ops.len()),
        Message::Parts(m) => format!("{:?}, {} parts", m.session, m.parts.len()),
        Message::Mark(m) => format!("{:?} up to {} of {:?}", m.session, m.at, m.log),
        Message::Snapshot(m) => {
            format!("{:?} {:?} at {}, {} bytes", m.session, m.snapshot.id(), m.offset, m.bytes.len())
        }
        Message::Holding(m) => format!("{:?} {:?}", m.session, m.holding.id()),
        Message::Put(m) => format!("req {} to {:?}, {} bytes", m.req, m.to, m.envelope.len()),
        Message::PutOk(m) => format!("req {} at {}", m.req, m.offset),
        Message::Fetch(m) => format!("req {} of {:?} after {}", m.req, m.of, m.after),
        Message::Envelopes(m) => format!("req {}, {} from {}, last {}", m.req, m.envelopes.len(), m.first, m.last),
        Message::Watch(m) => format!("req {} of {:?} after {}", m.req, m.of, m.after),
        Message::Freeze(m) => format!("req {} for {:?}, FINAL {:?}", m.req, m.to, m.end.id()),
        Message::Cas(m) => {
            let want = m.want.get().map(|want| want.id());
            format!("req {} record {:?} answers {want:?}", m.req, m.record.id())
        }
        Message::Renew(m) => format!("req {} {:?} head {:?}, {} ms", m.req, m.session, m.head, m.ttl),
        Message::Delegate(m) => format!("req {} {:?} behind {:?} to {:?}", m.req, m.session, m.parent, m.grantor),
        Message::Discover(m) => format!("req {} {:?}", m.req, m.devices),
        Message::Found(m) => format!("req {} {:?}", m.req, m.found),
        Message::Login(m) => format!("req {}, a token of {:?}", m.req, m.token),
        Message::LoggedIn(m) => {
            format!("req {} account {:?}, handoff {}, {} ms, {} bytes", m.req, m.account, m.handoff, m.ttl_ms, m.free)
        }
        Message::Introduce(m) => format!("req {} to {:?}, {} bytes", m.req, m.to, m.sealed.len()),
        Message::Introduced(m) => format!("from {:?}, {} bytes", m.from, m.sealed.len()),
        Message::IntroduceOk(m) => format!("req {}", m.req),
        Message::Relay(m) => format!("{:?}", m.device),
        Message::Wake(m) => format!("req {} {:?}", m.req, m.device),
        Message::WakeOk(m) => format!("req {}", m.req),
        Message::Key(m) => format!("{:?} {:?}, number {}", m.session, m.key, m.epoch),
        Message::Offer(m) => opened(&m.offer, |offer| format!("{:?} under {:?}", m.offer.id(), offer.parent)),
        Message::Decline(m) => format!("{:?} {:?}", m.subject, Code::from(m.code)),
        Message::Cancel(m) => format!("{:?} {:?}", m.subject, Code::from(m.code)),
    };
    format!("{name} {rest}")
}

fn entry(entry: &Signed<RosterEntry>) -> String {
    opened(entry, |body| format!("kind {} of {:?} by {:?}", body.kind, body.device, body.signer))
}

fn want(want: &Signed<Want>) -> String {
    opened(want, |body| {
        let mode = match WantMode::from_number(body.mode) {
            Some(WantMode::Pull) => "pull",
            Some(WantMode::Answer) => "answer",
            Some(WantMode::Standing) => "standing",
            None => "?",
        };
        let have = body.have.get().map_or("nothing".to_string(), |held| format!("{:?}", held.root));
        format!("{:?} {mode} under {:?}, holds {have}", want.id(), body.parent)
    })
}

fn record(record: &Signed<Record>) -> String {
    opened(record, |body| {
        let kind = Kind::from_number(body.kind).map_or("?", Kind::name);
        format!("{kind} {:?} ({}, {}) to {:?}", record.id(), body.term, body.n, body.owner)
    })
}

fn opened<T: SignedBody>(signed: &Signed<T>, describe: impl FnOnce(&T) -> String) -> String {
    signed.open(Rules::ALL).map_or_else(|violation| format!("malformed: {violation:?}"), |body| describe(&body))
}
