//! Two linked endpoints and a session that goes to and fro between them, without any I/O.

use ed25519_dalek::SigningKey;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{DeviceId, Message, PartId, SessionId, Sig, sign_message};
use segue_proto::{
    BulkEnd, Clause, Config, Continuity, Endpoint, Event, Instant, LinkId, Lsn, Policy, Role, Rules, Serve, Served,
    SessionRole, SignRequest, Token,
};

/// How a handoff goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The owner starts, and the target consented before.
    Consented,
    /// The owner starts, and the target accepts the offer.
    Accepted,
    /// The target starts.
    Pulled,
}

impl Way {
    /// Every way.
    pub const ALL: [Way; 3] = [Way::Consented, Way::Accepted, Way::Pulled];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Consented => "push-standing",
            Way::Accepted => "push-accept",
            Way::Pulled => "pull",
        }
    }
}

/// Whether signatures are made and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// As in earnest.
    Real,
    /// WIRE-SIGN-1 is switched off and zeros stand for signatures; all else is the same.
    Without,
}

/// What was done since [`Kernel::start_counting`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Every burst of control bytes, in order: who sent it, and its length.
    pub flights: Vec<(usize, usize)>,
    /// Bytes of bulk streams, first frames included.
    pub bulk: usize,
    /// Batches for a journal, in order: whose, and the bytes of their keys and values.
    pub batches: Vec<(usize, usize)>,
    /// Syncs, where all batches that wait are synced together.
    pub syncs: usize,
    /// Signatures made.
    pub signatures: usize,
}

impl Counts {
    /// Bytes of control streams.
    pub fn control(&self) -> usize {
        self.flights.iter().map(|flight| flight.1).sum()
    }
}

/// Two linked devices and their session.
pub struct Kernel {
    sides: [Side; 2],
    signatures: Signatures,
    session: SessionId,
    part: PartId,
    owner: usize,
    micros: u64,
    counts: Counts,
}

struct Side {
    core: Endpoint,
    key: SigningKey,
    out: Vec<u8>,
    asked: Option<Token>,
}

impl Kernel {
    /// Links two devices, creates a session with one exclusive part, and hands it over and back, so that both hold it.
    pub fn new(signatures: Signatures) -> Kernel {
        let mut kernel = Kernel::filled(signatures, 0);
        kernel.handoff(Way::Pulled);
        kernel.handoff(Way::Pulled);
        kernel
    }

    /// Links two devices, and creates a session with one exclusive part and `registers` others, which the second device
    /// doesn't know yet.
    pub fn filled(signatures: Signatures, registers: u16) -> Kernel {
        let keys = [[1; 32], [2; 32]].map(|secret| SigningKey::from_bytes(&secret));
        let ids = [id(&keys[0]), id(&keys[1])];
        let [first, second] = keys;
        let sides = [Side::new(first, ids[1], signatures), Side::new(second, ids[0], signatures)];
        let (session, part) = (SessionId::ZERO, PartId::new([1; 16]));
        let mut kernel = Kernel { sides, signatures, session, part, owner: 0, micros: 0, counts: Counts::default() };
        let now = kernel.now();
        for (side, role) in [(0, Role::Initiator), (1, Role::Responder)] {
            kernel.sides[side].core.handle_link_up(now, LINK, role, [7; 32], None);
        }
        kernel.settle();
        kernel.session = kernel.sides[0].core.create_session(now, "notes", &[ids[1]]).unwrap_or(SessionId::ZERO);
        kernel.settle();
        for n in 0..registers {
            let mut id = [2; 16];
            id[14..].copy_from_slice(&n.to_be_bytes());
            let (now, session) = (kernel.now(), kernel.session);
            let _ = kernel.sides[0].core.write(now, 1, session, PartId::new(id), 1, b"a value".to_vec());
        }
        kernel.write(b"cursor at 0");
        kernel
    }

    /// Writes the exclusive part, as the owner.
    pub fn write(&mut self, body: &[u8]) {
        let now = self.now();
        let (session, part) = (self.session, self.part);
        let _ = self.sides[self.owner].core.write(now, 1, session, part, 5, body.to_vec());
        self.settle();
    }

    /// What goes before a handoff of this kind and isn't part of it: the target's consent, if it takes one.
    pub fn prepare(&mut self, way: Way) {
        // Offers are limited per minute. What sync still has to say of earlier writes is no part of the handoff either.
        self.micros += 10_000_000;
        let now = self.now();
        self.sides.iter_mut().for_each(|side| side.core.handle_timeout(now));
        self.settle();
        if way == Way::Consented {
            let (now, session, owner) = (self.now(), self.session, self.device(self.owner));
            let _ = self.sides[1 - self.owner].core.consent(now, session, owner, 60_000_000);
            self.settle();
        }
    }

    /// Hands the session to the other device, up to and with the acknowledgement, after [`Kernel::prepare`].
    pub fn go(&mut self, way: Way) {
        let (now, session) = (self.now(), self.session);
        let (source, target) = (self.owner, 1 - self.owner);
        let (from, to) = (self.device(source), self.device(target));
        let started = match way {
            Way::Consented | Way::Accepted => self.sides[source].core.initiate_handoff(now, session, to, 60_000_000),
            Way::Pulled => self.sides[target].core.request_handoff(now, session, from, 60_000_000),
        };
        debug_assert!(started.is_ok());
        self.settle();
        if way == Way::Accepted {
            let token = self.sides[target].asked.take().unwrap_or(Token::ZERO);
            let _ = self.sides[target].core.accept_handoff(now, token);
            self.settle();
        }
        self.owner = target;
    }

    /// [`Kernel::prepare`] and [`Kernel::go`].
    pub fn handoff(&mut self, way: Way) {
        self.prepare(way);
        self.go(way);
    }

    /// Whether just one device is primary, the one that should be; no GRANT waits; both hold the same data; and the
    /// other is refused when it writes.
    pub fn verify(&mut self) -> bool {
        let (now, session, part) = (self.now(), self.session, self.part);
        let views = [0, 1].map(|side| self.sides[side].core.session(&session));
        let [Some(first), Some(second)] = views else { return false };
        let (owner, other) = if self.owner == 0 { (&first, &second) } else { (&second, &first) };
        let roles = owner.role == SessionRole::Primary && other.role == SessionRole::Secondary;
        let agreed = first.head == second.head && first.pending.is_none() && second.pending.is_none();
        let stale = self.sides[1 - self.owner].core.write(now, 1, session, part, 5, Vec::new());
        roles && agreed && stale.is_err()
    }

    /// Forgets the counts.
    pub fn start_counting(&mut self) {
        self.counts = Counts::default();
    }

    /// The counts.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn device(&self, side: usize) -> DeviceId {
        self.sides[side].core.device()
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.micros)
    }

    /// Carries whatever the two say until both are quiet.
    fn settle(&mut self) {
        loop {
            self.local(0);
            self.local(1);
            let mut quiet = true;
            for from in 0..2 {
                let mut bytes = std::mem::take(&mut self.sides[from].out);
                bytes.clear();
                while self.sides[from].core.poll_transmit(LINK, &mut bytes) {}
                if !bytes.is_empty() {
                    quiet = false;
                    self.counts.flights.push((from, bytes.len()));
                    let now = self.now();
                    self.sides[1 - from].core.handle_bytes(now, LINK, &bytes);
                }
                self.sides[from].out = bytes;
            }
            if quiet {
                return;
            }
        }
    }

    /// What a device does by itself: signatures, syncs, searches, serving.
    fn local(&mut self, side: usize) {
        let now = self.now();
        loop {
            let mut quiet = true;
            while let Some(request) = self.sides[side].core.poll_sign() {
                quiet = false;
                self.counts.signatures += 1;
                let sig = self.sides[side].sign(&request, self.signatures);
                self.sides[side].core.handle_signed(now, request.id, sig);
            }
            while let Some(search) = self.sides[side].core.poll_search() {
                quiet = false;
                self.sides[side].core.handle_searched(now, search.session, search.plan.blob());
            }
            while let Some(serve) = self.sides[side].core.poll_serve() {
                quiet = false;
                self.serve(side, &serve);
            }
            quiet &= !self.sync(side);
            while let Some(event) = self.sides[side].core.poll_event() {
                if let Event::HandoffRequest { token, .. } = event {
                    self.sides[side].asked = Some(token);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn sync(&mut self, side: usize) -> bool {
        let mut last = None;
        while let Some(batch) = self.sides[side].core.poll_journal() {
            let size = |write: &segue_proto::Write| write.key.len() + write.value.as_ref().map_or(0, Vec::len);
            self.counts.batches.push((side, batch.writes.iter().map(size).sum()));
            last = Some(batch.lsn);
        }
        let Some(last) = last else { return false };
        self.counts.syncs += 1;
        let now = self.now();
        self.sides[side].core.handle_durable(now, last);
        true
    }

    /// Sends what a manifest's hash names; the session has no files.
    fn serve(&mut self, side: usize, serve: &Serve) {
        let now = self.now();
        let content = self.sides[side].core.meta(&serve.blob).unwrap_or_default();
        for range in &serve.ranges {
            let header = serve.header(range);
            self.counts.bulk += header.len() + content.len();
            let mut framer = Framer::default();
            framer.push(&header);
            let frame = framer.next(Rules::ALL).ok().flatten();
            let message = frame.and_then(|it| Message::decode(Rules::ALL, it.number, &it.payload).ok().flatten());
            let Some(Message::Bytes(bytes)) = message else { continue };
            let other = &mut self.sides[1 - side].core;
            if let Ok(incoming) = other.handle_bulk(now, LINK, &bytes)
                && let Ok(chunk) = incoming.plan.verify_chunk(Rules::ALL, 0, &content)
            {
                other.handle_chunk(now, chunk);
                other.handle_bulk_end(now, LINK, serve.req, BulkEnd::Finished);
            }
        }
        self.sides[side].core.handle_served(now, serve.link, serve.req, Served::Done);
    }
}

impl Side {
    fn new(key: SigningKey, peer: DeviceId, signatures: Signatures) -> Side {
        let mut config = Config::new(id(&key));
        config.pulls = Policy::Allow;
        if signatures == Signatures::Without {
            config.rules = Rules::without(Clause::WIRE_SIGN_1);
        }
        let entropy = key.to_bytes();
        let opened = Endpoint::open(config, Vec::new(), Lsn(0), Continuity::Proven, entropy, Instant::ZERO);
        let Ok(mut core) = opened else { unreachable!("an empty store opens") };
        core.trust(peer);
        Side { core, key, out: Vec::new(), asked: None }
    }

    /// A link is authenticated in any case: its clause is another.
    fn sign(&self, request: &SignRequest, signatures: Signatures) -> Sig {
        let greets = request.message.starts_with(b"segue/1 sig auth");
        if greets || signatures == Signatures::Real { sign_message(&request.message, &self.key) } else { Sig::ZERO }
    }
}

/// Makes and verifies as many signatures as a handoff does: what its floor computes.
pub fn work(key: &SigningKey, signatures: usize, verifications: usize) {
    let message = [5; 47];
    let mut sig = sign_message(&message, key);
    for _ in 1..signatures {
        sig = sign_message(&message, key);
    }
    let device = id(key);
    for _ in 0..verifications {
        assert!(segue_proto::wire::verify_message(&device, std::hint::black_box(&message), &sig));
    }
}

fn id(key: &SigningKey) -> DeviceId {
    DeviceId::new(key.verifying_key().to_bytes())
}

const LINK: LinkId = LinkId(1);
