//! The hostile side: a member with a key of its own, which knows all that it was told and says what it likes.

use std::collections::BTreeMap;

use segue_proto::data::{Manifest, State, actor_id, session_id};
use segue_proto::handoff::ack_message;
use segue_proto::limits::MAX_PART;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    self, Ack, ActorId, Announced, Blob, Cancel, Decline, DeviceId, Error, Exts, Final, Genesis, Get, Goaway, Grant,
    Hash, Have, Head, Held, Kind, List, Message, Nonce, Offer, OfferMsg, Op, Ping, Range, Ranges, Record, SessionId,
    Signed, Text, Want, WantMode, WantMsg,
};
use segue_proto::{Code, Rules};

use crate::input::Input;
use crate::seeds::{device, key, small_manifest};

pub(crate) struct Foe {
    sessions: Vec<SessionId>,
    records: Vec<(Hash, Signed<Record>, Record)>,
    wants: Vec<Signed<Want>>,
    grants: Vec<Grant>,
    /// Ids of anything: records, offers, wants, blobs.
    hashes: Vec<Hash>,
    data: Vec<Announced>,
    ops: Vec<Op>,
    blobs: BTreeMap<Hash, Vec<u8>>,
    made: u8,
}

impl Foe {
    /// A member of `session`, with a session and a manifest of its own.
    pub(crate) fn new(session: SessionId) -> Foe {
        let mut foe = Foe {
            sessions: vec![session],
            records: Vec::new(),
            wants: Vec::new(),
            grants: Vec::new(),
            hashes: Vec::new(),
            data: Vec::new(),
            ops: Vec::new(),
            blobs: BTreeMap::new(),
            made: 0,
        };
        let own = foe.found();
        for (session, files) in [(own, 1), (session, 0), (session, 2)] {
            let contents: Vec<Vec<u8>> = (1..=files).map(|at| vec![at; 10 * usize::from(at)]).collect();
            foe.stock(&small_manifest(session, &contents));
            contents.into_iter().for_each(|content| drop(foe.blobs.insert(blob_id(&content), content)));
        }
        foe
    }

    pub(crate) fn id(&self) -> DeviceId {
        device(2)
    }

    pub(crate) fn some_session(&self, input: &mut Input<'_>) -> SessionId {
        input.pick(&self.sessions).copied().unwrap_or(SessionId::ZERO)
    }

    pub(crate) fn some_hash(&self, input: &mut Input<'_>) -> Hash {
        // The newest first: a seed says so with a zero.
        let back = input.below(self.hashes.len().min(256));
        self.hashes.iter().rev().nth(back).copied().unwrap_or(Hash::ZERO)
    }

    /// The bytes of a blob that it has; zeros for any other.
    pub(crate) fn content(&self, blob: &Hash, offset: u64, len: u32) -> Vec<u8> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut bytes: Vec<u8> =
            self.blobs.get(blob).into_iter().flatten().skip(from).take(len as usize).copied().collect();
        bytes.resize(len as usize, 0);
        bytes
    }

    /// Remembers what the honest side said.
    pub(crate) fn hear(&mut self, message: &Message) {
        match message {
            Message::Head(head) => head.records.iter().for_each(|record| self.keep(record.clone())),
            Message::Grant(grant) => {
                self.keep(grant.record.clone());
                self.ops.extend(grant.ops.iter().cloned());
                self.grants.push(grant.clone());
            }
            Message::Want(want) => {
                self.hash(want.want.id());
                self.wants.push(want.want.clone());
            }
            Message::Offer(message) => {
                self.hash(message.offer.id());
                if let Ok(Offer { root, manifest, manifest_len, .. }) = message.offer.open(Rules::ALL) {
                    self.data.push(Announced { root, manifest, manifest_len });
                }
            }
            Message::Have(have) => {
                self.hash(have.head);
                self.data.extend(have.data.get().cloned());
            }
            _ => {}
        }
        // A long run mustn't make the fuzzer the one that grows.
        self.wants.drain(..self.wants.len().saturating_sub(32));
        self.grants.drain(..self.grants.len().saturating_sub(32));
        self.data.drain(..self.data.len().saturating_sub(32));
        self.ops.drain(..self.ops.len().saturating_sub(32));
    }

    /// Something to say.
    pub(crate) fn message(&mut self, input: &mut Input<'_>) -> Option<Message> {
        let req = u32::from(input.byte());
        let ext = Exts::empty();
        Some(match input.below(18) {
            0 => Error {
                req,
                session: Some(self.some_session(input)).into(),
                code: code(input),
                definite: true,
                retry_after_ms: 0,
                ext,
            }
            .into(),
            1 if input.byte() > 200 => Goaway { code: code(input), ext }.into(),
            1 | 2 => Ping { nonce: input.long(), answer: input.flag(), ext }.into(),
            3 => Have {
                req,
                session: self.some_session(input),
                head: self.some_hash(input),
                data: self.some_data(input).into(),
                ext,
            }
            .into(),
            4 => {
                let data = self.some_data(input)?;
                Get { req, session: self.some_session(input), blob: data.manifest, len: data.manifest_len.into(), ext }
                    .into()
            }
            5 => {
                let data = self.some_data(input)?;
                let ranges = (0..input.below(4)).map(|at| Range { offset: 100 * at as u64, len: input.byte().into() });
                let ranges = List::new(ranges.collect())?;
                let (session, len) = (self.some_session(input), data.manifest_len.into());
                Ranges { req, session, blob: data.manifest, len, ranges, ext }.into()
            }
            6 | 7 => WantMsg { req, want: self.want(input), ext }.into(),
            8 => self.answer(req)?.into(),
            9 => self.grant(req, input)?.into(),
            10 => Grant { req, ..input.pick(&self.grants)?.clone() }.into(),
            11 | 12 => self.head(input)?.into(),
            13 => OfferMsg { req, offer: self.offer(input)?, ext }.into(),
            14 => {
                let said = segue_proto::wire::Blob::new(input.take(24).to_vec()).unwrap_or_default();
                let reason = segue_proto::wire::Ext { id: u32::from(input.byte() % 4), bytes: said };
                let ext = List::new(vec![reason]).unwrap_or_default();
                Decline { session: self.some_session(input), subject: self.some_hash(input), code: code(input), ext }
                    .into()
            }
            15 => Cancel { session: self.some_session(input), subject: self.some_hash(input), code: code(input), ext }
                .into(),
            16 => self.acknowledge()?.into(),
            _ => {
                let (number, bytes) = (input.byte(), input.take(64));
                return Message::decode(Rules::ALL, number.into(), bytes).ok().flatten();
            }
        })
    }
}

/// What it makes up.
impl Foe {
    /// A WANT: of a session, on a record, with what it claims to have.
    fn want(&mut self, input: &mut Input<'_>) -> Signed<Want> {
        self.made = self.made.wrapping_add(1);
        let mode = input.below(4) as u8;
        let have = self.some_data(input).map(|data| Held { root: data.root, manifest: data.manifest });
        let offer = (mode == WantMode::Answer.number()).then(|| self.some_hash(input));
        let (parent, session) = (self.some_hash(input), self.some_session(input));
        let parent = if input.flag() { parent } else { self.head_of(session).unwrap_or(parent) };
        let want = Want {
            session,
            parent,
            target: if input.byte() == 255 { device(3) } else { self.id() },
            actor: self.actor(),
            nonce: Nonce::new([self.made; 16]),
            mode,
            offer: offer.into(),
            have: have.into(),
            need: List::empty(),
            pick: List::empty(),
            ttl: input.short().into(),
        };
        let signed = Signed::sign(&want, &key(2));
        self.hash(signed.id());
        signed
    }

    fn offer(&mut self, input: &mut Input<'_>) -> Option<Signed<Offer>> {
        self.made = self.made.wrapping_add(1);
        let (session, data) = (self.some_session(input), self.some_data(input)?);
        let parent = self.head_of(session).unwrap_or_else(|| self.some_hash(input));
        let Announced { root, manifest, manifest_len } = data;
        let nonce = Nonce::new([self.made; 16]);
        let (source, target, ttl) = (self.id(), device(1), input.short().into());
        let name = Text::new("theirs")?;
        let offer = Offer { session, parent, source, target, nonce, root, manifest, manifest_len, name, ttl };
        let signed = Signed::sign(&offer, &key(2));
        self.hash(signed.id());
        Some(signed)
    }

    /// The GRANT that the newest WANT of the honest side asks for, as an honest source would give it.
    fn answer(&mut self, req: u32) -> Option<Grant> {
        let want = self.wants.last()?.clone();
        let body = want.open(Rules::ALL).ok()?;
        let held = body.have.get()?;
        let data = self.data.iter().find(|data| data.manifest == held.manifest)?;
        let end = Final {
            session: body.session,
            parent: body.parent,
            root: data.root,
            exclusive: self.exclusive_of(&data.manifest, body.session),
            manifest: data.manifest,
            manifest_len: data.manifest_len,
        };
        let record = self.next(Kind::Grant, body.session, body.parent, device(1), want.id());
        Some(Grant {
            req,
            want,
            record,
            end: Signed::sign(&end, &key(2)),
            ops: List::empty(),
            parts: List::empty(),
            ext: Exts::empty(),
        })
    }

    /// The root of the exclusive parts of a manifest; zero if it has none of these bytes.
    fn exclusive_of(&self, manifest: &Hash, session: SessionId) -> Hash {
        let opened = self.blobs.get(manifest).and_then(|bytes| Manifest::open(Rules::ALL, bytes, &session).ok());
        opened.map_or(Hash::ZERO, |manifest| State::from_manifest(manifest).exclusive_root())
    }

    /// The first parts of a manifest, as they go whole.
    fn parts_of(&self, manifest: &Hash, session: SessionId, count: usize) -> Vec<Blob<MAX_PART>> {
        let opened = self.blobs.get(manifest).and_then(|bytes| Manifest::open(Rules::ALL, bytes, &session).ok());
        let parts = opened.map(|manifest| manifest.parts.into_vec()).unwrap_or_default();
        parts.iter().take(count).filter_map(|part| Blob::new(wire::codec::encode(part))).collect()
    }

    /// A GRANT that is wrong in some way, or not.
    fn grant(&mut self, req: u32, input: &mut Input<'_>) -> Option<Grant> {
        let want = if input.flag() { self.want(input) } else { input.pick(&self.wants)?.clone() };
        let session = self.some_session(input);
        let parent = if input.flag() { self.some_hash(input) } else { self.head_of(session)? };
        let Announced { root, manifest, manifest_len } = self.some_data(input)?;
        let exclusive = self.exclusive_of(&manifest, session);
        let end = Final { session, parent, root, exclusive, manifest, manifest_len };
        let owner = if input.flag() { self.id() } else { device(1) };
        let record = self.next(Kind::Grant, session, parent, owner, want.id());
        let ops = self.ops.iter().take(input.below(4)).cloned().collect();
        let parts = List::new(self.parts_of(&manifest, session, input.below(4)))?;
        let (end, ops) = (Signed::sign(&end, &key(2)), List::new(ops)?);
        Some(Grant { req, want, record, end, ops, parts, ext: Exts::empty() })
    }

    /// Records, true or made up, and an acknowledgement that may be neither.
    fn head(&mut self, input: &mut Input<'_>) -> Option<Head> {
        let session = self.some_session(input);
        if input.flag() {
            let kind = *input.pick(&[Kind::Takeover, Kind::Grant, Kind::Close, Kind::Delegate])?;
            let parent = if input.flag() { self.some_hash(input) } else { self.head_of(session)? };
            let owner = if input.flag() { self.id() } else { device(3) };
            let actor = Hash::new(*self.actor().as_bytes());
            self.next(kind, session, parent, owner, actor);
        }
        let mut records: Vec<_> = self.records.iter().filter(|known| known.2.session == session).collect();
        records.sort_by_key(|known| known.2.n);
        let records: Vec<_> = records.into_iter().skip(input.below(3)).map(|known| known.1.clone()).collect();
        let ack = input.flag().then(|| ack(records.last().map_or(Hash::ZERO, Signed::id)));
        let more = input.byte() == 255;
        let records = List::new(records.into_iter().take(128).collect())?;
        Some(Head { session, records, more, ack: ack.into(), ext: Exts::empty() })
    }

    /// What an honest target says once its newest GRANT is durable.
    fn acknowledge(&self) -> Option<Head> {
        let record = self.grants.last()?.record.clone();
        let session = record.open(Rules::ALL).ok()?.session;
        let ack = ack(record.id());
        Some(Head {
            session,
            records: List::new(vec![record])?,
            more: false,
            ack: Some(ack).into(),
            ext: Exts::empty(),
        })
    }

    /// A record after one that it knows.
    fn next(&mut self, kind: Kind, session: SessionId, parent: Hash, owner: DeviceId, want: Hash) -> Signed<Record> {
        let known = self.records.iter().find(|known| known.0 == parent).map(|known| &known.2);
        let (term, n) = known.map_or((0, 0), |parent| (parent.term, parent.n));
        let ends = kind == Kind::Close;
        let owner = if ends { DeviceId::ZERO } else { owner };
        let record = Record {
            kind: kind.number(),
            session,
            parent,
            term: term + u64::from(kind == Kind::Takeover),
            n: n + 1,
            signer: self.id(),
            owner,
            grantor: owner,
            want: if ends { Hash::ZERO } else { want },
            roster: Hash::ZERO,
            genesis: None.into(),
        };
        let signed = Signed::sign(&record, &key(2));
        self.keep(signed.clone());
        signed
    }

    /// A session of its own.
    fn found(&mut self) -> SessionId {
        let nonce = Nonce::new([0xf0; 16]);
        let (me, session) = (self.id(), session_id(&self.id(), &nonce));
        let record = Record {
            kind: Kind::Genesis.number(),
            session,
            parent: Hash::ZERO,
            term: 0,
            n: 0,
            signer: me,
            owner: me,
            grantor: me,
            want: Hash::new(*self.actor().as_bytes()),
            roster: Hash::ZERO,
            genesis: Some(Genesis { nonce, members: List::new(vec![device(1)]).unwrap_or_default() }).into(),
        };
        self.sessions.push(session);
        self.keep(Signed::sign(&record, &key(2)));
        session
    }

    fn stock(&mut self, manifest: &Manifest) {
        let (announced, bytes) = manifest.announce();
        self.blobs.insert(announced.manifest, bytes);
        self.data.push(announced);
    }

    fn keep(&mut self, record: Signed<Record>) {
        let id = record.id();
        let known = self.records.iter().any(|known| known.0 == id);
        if let (false, Ok(body)) = (known || self.records.len() > 500, record.open(Rules::ALL)) {
            self.hash(id);
            self.records.push((id, record, body));
        }
    }

    fn hash(&mut self, hash: Hash) {
        self.hashes.drain(..self.hashes.len().saturating_sub(255));
        self.hashes.push(hash);
    }

    fn head_of(&self, session: SessionId) -> Option<Hash> {
        let of = self.records.iter().filter(|known| known.2.session == session);
        of.max_by_key(|known| (known.2.term, known.2.n)).map(|known| known.0)
    }

    fn some_data(&self, input: &mut Input<'_>) -> Option<Announced> {
        let back = input.below(self.data.len() + 1);
        self.data.iter().rev().nth(back).cloned()
    }

    fn actor(&self) -> ActorId {
        actor_id(&self.id(), &Nonce::new([3; 16]))
    }
}

fn ack(record: Hash) -> Ack {
    Ack { record, sig: wire::sign_message(&ack_message(&record), &key(2)) }
}

fn code(input: &mut Input<'_>) -> wire::CodeBytes {
    Code::from_number(input.short()).into()
}
