//! The honest side: an endpoint with its journal, its signatures and its links, and what must hold of it.

use std::collections::{BTreeMap, VecDeque};

use segue_proto::data::Manifest;
use segue_proto::limits::{MAX_FRAME, MAX_QUEUE, MAX_REQUESTS};
use segue_proto::link::auth_message;
use segue_proto::wire::codec::encode;
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{self, Auth, Exts, Hash, Hello, Message, Nonce, Record, SessionId};
use segue_proto::{
    Batch, BulkEnd, Config, Continuity, Endpoint, Event, Generation, Instant, LinkId, Lsn, Policy, Role, Rules, Served,
    SessionRole, SignRequest, Token,
};

use super::foe::Foe;
use crate::input::Input;
use crate::seeds::{device, key};

/// How the surroundings of a run behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quirks {
    late_signatures: bool,
    pulls: Policy,
    foe: Generation,
    unread: bool,
}

impl Quirks {
    pub(crate) fn of(bits: u8) -> Quirks {
        let pulls = [Policy::Allow, Policy::Ask, Policy::Deny, Policy::Allow][usize::from(bits >> 1) % 4];
        let foe = Generation::ALL[usize::from(bits >> 3) % Generation::ALL.len()];
        Quirks { late_signatures: bits & 1 == 1, pulls, foe, unread: bits & 0x20 != 0 }
    }
}

pub(crate) struct Rig {
    core: Endpoint,
    quirks: Quirks,
    now: u64,
    opens: u8,
    session: SessionId,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    last: Lsn,
    unsynced: VecDeque<Batch>,
    signs: VecDeque<SignRequest>,
    links: BTreeMap<LinkId, Framer>,
    numbered: u64,
    /// What the endpoint asked for: link, request, blob, length.
    asked: Vec<(LinkId, u32, Hash, u64)>,
    tokens: Vec<Token>,
    /// The one record that this device granted after each parent.
    granted: BTreeMap<Hash, Hash>,
    /// The ranks of the heads that were durable.
    floors: BTreeMap<SessionId, (u64, u64)>,
}

impl Rig {
    /// A device with one durable session, in which it wrote once.
    pub(crate) fn new(quirks: Quirks) -> Rig {
        let core = open(quirks, BTreeMap::new(), Lsn(0), Continuity::Proven, 0);
        let mut rig = Rig {
            core,
            quirks: Quirks { late_signatures: false, ..quirks },
            now: 0,
            opens: 1,
            session: SessionId::ZERO,
            disk: BTreeMap::new(),
            last: Lsn(0),
            unsynced: VecDeque::new(),
            signs: VecDeque::new(),
            links: BTreeMap::new(),
            numbered: 0,
            asked: Vec::new(),
            tokens: Vec::new(),
            granted: BTreeMap::new(),
            floors: BTreeMap::new(),
        };
        rig.session = rig.core.create_session(Instant::ZERO, "notes", &[device(2)]).unwrap_or(SessionId::ZERO);
        let mut foe = Foe::new(rig.session);
        rig.settle(&mut foe);
        let part = wire::PartId::new([1; 16]);
        let _ = rig.core.write(Instant::ZERO, 1, rig.session, part, 5, b"cursor".to_vec());
        rig.settle(&mut foe);
        rig.sync(usize::MAX);
        rig.quirks = quirks;
        rig
    }

    pub(crate) fn core(&mut self) -> &mut Endpoint {
        &mut self.core
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// What is durable.
    pub(crate) fn disk(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.disk
    }

    pub(crate) fn trust_foe(&mut self) {
        self.core.trust(device(2));
    }

    pub(crate) fn pass(&mut self, micros: u64) {
        self.now = self.now.saturating_add(micros);
        let now = self.now();
        // A timer that is handled is over, or a device would never sleep.
        for _ in 0..64 {
            let Some(_) = self.core.poll_timeout().filter(|at| *at <= now) else { return };
            self.core.handle_timeout(now);
        }
        assert!(self.core.poll_timeout().is_none_or(|at| at > now), "a timer that never ends");
    }

    /// A link with the hostile member, which greets at once unless it is `silent`; its HELLO may be cut off.
    pub(crate) fn link(&mut self, role: Role, silent: bool, foe: &Foe, cut: usize) {
        self.numbered += 1;
        let (link, now) = (LinkId(self.numbered), self.now());
        self.core.handle_link_up(now, link, role, [9; 32], None);
        self.links.insert(link, Framer::default());
        if silent {
            return;
        }
        let generation = self.quirks.foe.number();
        let hello = Hello { generation, floor: 1, boot: Nonce::new([cut as u8; 16]), ext: Exts::empty() };
        let own = match role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let sig = wire::sign_message(&auth_message(own, &foe.id(), &encode(&hello), &[9; 32]), &key(2));
        let mut bytes = Message::from(hello).to_frame();
        Message::from(Auth { key: foe.id(), sig, ext: Exts::empty() }).encode(&mut bytes);
        let (first, rest) = bytes.split_at(cut.min(bytes.len()));
        self.bytes(link, first);
        self.bytes(link, rest);
    }

    pub(crate) fn some_link(&self, input: &mut Input<'_>) -> LinkId {
        let back = input.below(4) as u64;
        LinkId(self.numbered.saturating_sub(back))
    }

    pub(crate) fn bytes(&mut self, link: LinkId, bytes: &[u8]) {
        let now = self.now();
        self.core.handle_bytes(now, link, bytes);
    }

    pub(crate) fn down(&mut self, link: LinkId) {
        let now = self.now();
        self.core.handle_link_down(now, link);
        self.links.remove(&link);
        self.asked.retain(|(of, ..)| *of != link);
    }

    pub(crate) fn token(&self, input: &mut Input<'_>) -> Token {
        input.pick(&self.tokens).copied().unwrap_or(Hash::ZERO)
    }

    /// Makes the oldest batches durable.
    pub(crate) fn sync(&mut self, batches: usize) {
        for _ in 0..batches.min(self.unsynced.len()) {
            let Some(batch) = self.unsynced.pop_front() else { break };
            for write in batch.writes {
                match write.value {
                    Some(value) => self.disk.insert(write.key, value),
                    None => self.disk.remove(&write.key),
                };
            }
            self.last = batch.lsn;
        }
        let now = self.now();
        self.core.handle_durable(now, self.last);
        if self.unsynced.is_empty() {
            self.note_floors();
        }
    }

    /// Answers the oldest signatures that were asked for.
    pub(crate) fn sign(&mut self, count: usize, foe: &mut Foe) {
        let now = self.now();
        for _ in 0..count.min(self.signs.len()) {
            let Some(request) = self.signs.pop_front() else { break };
            self.core.handle_signed(now, request.id, wire::sign_message(&request.message, &key(1)));
        }
        self.drain(foe);
    }

    pub(crate) fn sign_all(&mut self, foe: &mut Foe) {
        self.quirks.late_signatures = false;
        self.settle(foe);
    }

    /// The process ends, and another starts from what is durable.
    pub(crate) fn reopen(&mut self, continuity: Continuity, foe: &mut Foe) {
        self.opens = self.opens.wrapping_add(1);
        self.unsynced.clear();
        self.signs.clear();
        self.links.clear();
        self.asked.clear();
        self.tokens.clear();
        self.core = open(self.quirks, self.disk.clone(), self.last, continuity, self.opens);
        self.trust_foe();
        self.settle(foe);
        for (session, floor) in &self.floors {
            let view = self.core.session(session).map(|view| (view.term, view.n));
            assert!(view.is_some_and(|rank| rank >= *floor), "what was durable is gone");
        }
        if continuity == Continuity::Unproven {
            let owns = |id| self.core.session(&id).is_some_and(|view| view.role == SessionRole::Primary);
            assert!(!self.core.sessions().into_iter().any(owns), "a restored store owns");
        }
    }

    /// The store fails: nothing leaves any more.
    pub(crate) fn fail(&mut self, foe: &mut Foe) {
        let now = self.now();
        self.core.handle_store_failed(now);
        for link in self.links.keys() {
            let mut out = Vec::new();
            assert!(!self.core.poll_transmit(*link, &mut out) && out.is_empty(), "a halted device speaks");
        }
        self.reopen(Continuity::Proven, foe);
    }

    /// A stream that answers a request, truly or not.
    pub(crate) fn bulk(&mut self, foe: &Foe, input: &mut Input<'_>) {
        let now = self.now();
        let Some((link, req, blob, len)) = input.pick(&self.asked).copied() else { return };
        let (offset, len) = if input.flag() { (u64::from(input.byte()), u64::from(input.short())) } else { (0, len) };
        let header = wire::Bytes { req, blob, offset, len, ext: Exts::empty() };
        let wrong = input.byte() == 255;
        let mut end = BulkEnd::Finished;
        if let Ok(incoming) = self.core.handle_bulk(now, link, &header) {
            for index in incoming.first..incoming.first + incoming.count {
                let Some(chunk) = incoming.plan.chunk(index) else { break };
                let mut bytes = foe.content(&blob, chunk.offset, chunk.len);
                bytes.iter_mut().take(usize::from(wrong)).for_each(|byte| *byte ^= 1);
                match incoming.plan.verify_chunk(Rules::ALL, index, &bytes) {
                    Ok(verified) => self.core.handle_chunk(now, verified),
                    Err(_) => end = BulkEnd::Corrupt,
                }
            }
        }
        let end = if input.byte() == 255 { BulkEnd::Lost } else { end };
        self.core.handle_bulk_end(now, link, req, end);
        self.asked.retain(|(of, asked, ..)| (*of, *asked) != (link, req));
    }

    /// Takes what the endpoint says until it is quiet, and checks it.
    pub(crate) fn settle(&mut self, foe: &mut Foe) {
        self.drain(foe);
        while !self.quirks.late_signatures && !self.signs.is_empty() {
            self.sign(usize::MAX, foe);
        }
        self.check();
    }

    fn drain(&mut self, foe: &mut Foe) {
        let now = self.now();
        while let Some(search) = self.core.poll_search() {
            self.core.handle_searched(now, search.session, search.plan.blob());
        }
        let serves: Vec<_> = std::iter::from_fn(|| self.core.poll_serve()).collect();
        assert!(serves.len() <= MAX_REQUESTS * self.links.len().max(1));
        for serve in serves {
            let end = if serve.len % 2 == 0 { Served::Done } else { Served::Unavailable };
            self.core.handle_served(now, serve.link, serve.req, end);
        }
        self.signs.extend(std::iter::from_fn(|| self.core.poll_sign()));
        self.unsynced.extend(std::iter::from_fn(|| self.core.poll_journal()));
        while let Some(event) = self.core.poll_event() {
            if let Event::HandoffRequest { token, .. } | Event::RequestHandoff { token, .. } = event {
                self.tokens.truncate(15);
                self.tokens.insert(0, token);
            }
        }
        // A peer that doesn't read leaves what is said to it in the endpoint.
        let heard: Vec<_> = if self.quirks.unread { Vec::new() } else { self.links.keys().copied().collect() };
        heard.into_iter().for_each(|link| self.hear(link, foe));
        while let Some((link, _)) = self.core.poll_close() {
            self.hear(link, foe);
            self.down(link);
        }
    }

    /// What leaves on a link decodes, is bounded, is signed validly and was durable before.
    fn hear(&mut self, link: LinkId, foe: &mut Foe) {
        let mut out = Vec::new();
        self.core.poll_transmit(link, &mut out);
        assert!(out.len() <= MAX_QUEUE + MAX_FRAME, "{} bytes were queued", out.len());
        let Some(framer) = self.links.get_mut(&link) else { return };
        framer.push(&out);
        let frames: Vec<_> = std::iter::from_fn(|| framer.next(Rules::ALL).unwrap_or(None)).collect();
        assert!(!framer.is_partial(), "a frame is sent whole");
        for frame in frames {
            let message = Message::decode(Rules::ALL, frame.number, &frame.payload).ok().flatten();
            let message = message.unwrap_or_else(|| panic!("frame {} doesn't decode", frame.number));
            self.judge(link, &message);
            foe.hear(&message);
        }
    }

    fn judge(&mut self, link: LinkId, message: &Message) {
        match message {
            Message::Get(get) => self.asked.push((link, get.req, get.blob, get.len)),
            Message::Ranges(ask) => self.asked.push((link, ask.req, ask.blob, ask.len)),
            Message::Want(want) => {
                let proven = want.want.clone().prove(Rules::ALL, |want| want.target);
                assert!(proven.is_ok(), "an own WANT is signed: {proven:?}");
            }
            Message::Offer(offer) => {
                let proven = offer.offer.clone().prove(Rules::ALL, |offer| offer.source);
                assert!(proven.is_ok(), "an own OFFER is signed: {proven:?}");
            }
            Message::Grant(grant) => {
                let record = grant.record.clone().prove(Rules::ALL, |record: &Record| record.signer);
                let end = grant.end.clone().prove(Rules::ALL, |_| device(1));
                let Ok(record) = record else { panic!("an own record is signed") };
                assert!(end.is_ok(), "an own FINAL is signed");
                let first = *self.granted.entry(record.body().parent).or_insert(record.id());
                assert_eq!(first, record.id(), "a parent is granted once");
                self.durable(&record.body().session, &record.id());
            }
            Message::Head(head) => {
                for record in &*head.records {
                    let proven = record.clone().prove(Rules::ALL, |record: &Record| record.signer);
                    assert!(proven.is_ok(), "what is passed on is signed");
                }
                if let Some(ack) = head.ack.get() {
                    self.durable(&head.session, &ack.record);
                }
            }
            _ => {}
        }
    }

    /// The journal, as a crash at this instant would leave it, holds the record (S4).
    fn durable(&self, session: &SessionId, record: &Hash) {
        let key = [b"s", session.as_bytes().as_slice(), b"r", record.as_bytes()].concat();
        assert!(self.disk.contains_key(&key), "promised before it was durable");
    }

    fn check(&self) {
        for id in self.core.sessions() {
            let Some(view) = self.core.session(&id) else { continue };
            let chain = &view.chain;
            let linked = chain.windows(2).all(|pair| pair[1].body().parent == pair[0].id());
            assert!(linked && chain.last().is_some_and(|last| last.id() == view.head), "a chain is a chain");
            let owns = view.role == SessionRole::Primary;
            assert!(!owns || view.owner == Some(device(1)) && view.entitled && view.pending.is_none());
            assert!(!view.closed || view.owner.is_none());
            let manifest = self.core.manifest(&id);
            assert!(manifest.is_none_or(|manifest| opens(&manifest, &id, &view.root)), "the own data is well formed");
        }
    }

    fn note_floors(&mut self) {
        for id in self.core.sessions() {
            if let Some(view) = self.core.session(&id) {
                self.floors.insert(id, (view.term, view.n));
            }
        }
    }
}

fn opens(manifest: &Manifest, session: &SessionId, root: &Hash) -> bool {
    let opened = Manifest::open(Rules::ALL, &manifest.to_bytes(), session);
    opened.is_ok_and(|opened| opened.root() == *root)
}

fn open(quirks: Quirks, disk: BTreeMap<Vec<u8>, Vec<u8>>, last: Lsn, continuity: Continuity, opens: u8) -> Endpoint {
    let mut config = Config::new(device(1));
    config.pulls = quirks.pulls;
    match Endpoint::open(config, disk, last, continuity, [opens; 32], Instant::ZERO) {
        Ok(core) => core,
        Err(error) => panic!("a store that the device wrote doesn't open: {error}"),
    }
}
