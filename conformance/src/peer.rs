//! The suite's own devices: keys, and frames that are right or wrong as a case wants them.
//!
//! A scripted peer has no state machine. It makes what a case asks for, and signs whatever it is given.

use ed25519_dalek::SigningKey;
use segue_proto::data::{
    Entry, ListRef, Manifest, NewOp, Part, PartKind, Replaces, State, Written, actor_id, session_id,
};
use segue_proto::link::auth_message;
use segue_proto::transfer::equal_list;
use segue_proto::wire::codec::encode;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    Ack, ActorId, Announced, Auth, Blob, DeviceId, Exts, Final, Genesis, Grant, Hash, Have, Head, Held, Hello, Hlc,
    Kind, List, Nonce, Offer, OfferMsg, Op, Opt, PartId, Record, SessionId, Signed, SignedBody, Text, Want, WantMode,
    sign_message,
};
use segue_proto::{Generation, Role, Rules};
use segue_testkit::rng::Rng;
use std::collections::BTreeMap;

/// A device of the suite.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its key pair.
    pub key: SigningKey,
    /// Its id.
    pub id: DeviceId,
    /// The highest generation in its HELLO.
    pub generation: u8,
    /// The floor in its HELLO.
    pub floor: u8,
    /// The boot value in its HELLO.
    pub boot: Nonce,
}

impl Peer {
    /// A device with a random key, of the newest generation, that accepts every generation.
    pub fn new(rng: &mut Rng) -> Peer {
        let key = SigningKey::from_bytes(&rng.array());
        let id = DeviceId::new(key.verifying_key().to_bytes());
        Peer { key, id, generation: Generation::V7.number(), floor: 1, boot: Nonce::new(rng.array()) }
    }

    /// Its HELLO.
    pub fn hello(&self) -> Hello {
        Hello { generation: self.generation, floor: self.floor, boot: self.boot, ext: Exts::empty() }
    }

    /// Its AUTH, in this role, behind this HELLO, for this channel.
    pub fn auth(&self, role: Role, hello: &Hello, binding: &[u8; 32]) -> Auth {
        let sig = sign_message(&auth_message(role, &self.id, &encode(hello), binding), &self.key);
        Auth { key: self.id, sig, ext: Exts::empty() }
    }

    /// Signs a body.
    pub fn sign<T: SignedBody>(&self, body: &T) -> Signed<T> {
        Signed::sign(body, &self.key)
    }

    /// Its acknowledgement of a record.
    pub fn ack(&self, record: Hash) -> Ack {
        let message = [b"segue/1 sig head".as_slice(), record.as_bytes()].concat();
        Ack { record, sig: sign_message(&message, &self.key) }
    }

    /// A WANT of this peer for a session, under `parent`, holding `have`.
    pub fn want(&self, rng: &mut Rng, session: SessionId, parent: Hash, have: Option<Held>) -> Want {
        Want {
            session,
            parent,
            target: self.id,
            actor: actor_id(&self.id, &Nonce::new(rng.array())),
            nonce: Nonce::new(rng.array()),
            mode: WantMode::Pull.number(),
            offer: None.into(),
            have: have.into(),
            need: List::empty(),
            pick: List::empty(),
            ttl: 60_000,
        }
    }
}

/// A session as a scripted peer keeps it.
#[derive(Clone, Debug)]
pub struct Book {
    /// The session.
    pub id: SessionId,
    /// Its records, from the genesis on.
    pub chain: Vec<Signed<Record>>,
    /// Its data.
    pub state: State,
    /// What can be fetched: by hash.
    pub blobs: BTreeMap<Hash, Vec<u8>>,
    /// What was announced last.
    pub announced: Option<Announced>,
    actor: ActorId,
    /// The exclusive part.
    pub exclusive: PartId,
    salts: Rng,
}

impl Book {
    /// A session that `peer` creates, with these members besides.
    pub fn create(peer: &Peer, members: &[DeviceId], rng: &mut Rng) -> Book {
        let genesis = Book::genesis(peer, members, rng);
        let id = genesis.session;
        let mut book = Book::of(id, vec![peer.sign(&genesis)], rng);
        book.actor = ActorId::new(*genesis.want.as_bytes());
        book
    }

    /// The body of a genesis of `peer`.
    pub fn genesis(peer: &Peer, members: &[DeviceId], rng: &mut Rng) -> Record {
        let (nonce, actor) = (Nonce::new(rng.array()), actor_id(&peer.id, &Nonce::new(rng.array())));
        let mut members = members.to_vec();
        members.sort_unstable();
        Record::genesis(
            session_id(&peer.id, &nonce),
            peer.id,
            actor,
            Genesis { nonce, members: List::new(members).unwrap_or_default() },
        )
    }

    /// A session with this chain and no data.
    pub fn of(id: SessionId, chain: Vec<Signed<Record>>, rng: &mut Rng) -> Book {
        Book {
            id,
            chain,
            state: State::new(id, "notes"),
            blobs: BTreeMap::new(),
            announced: None,
            actor: ActorId::new(rng.array()),
            exclusive: PartId::new(rng.array()),
            salts: Rng::new(rng.bits(), "salts"),
        }
    }

    /// The body of the last record.
    pub fn last(&self) -> Option<Record> {
        self.chain.last()?.open(Rules::ALL).ok()
    }

    /// The id of the last record.
    pub fn head(&self) -> Hash {
        self.chain.last().map_or(Hash::ZERO, Signed::id)
    }

    /// The record that would follow the last: a grant to `owner`.
    pub fn next(&self, signer: &Peer, owner: DeviceId) -> Record {
        let (term, n) = self.last().map_or((0, 0), |last| (last.term, last.n));
        Record {
            kind: Kind::Grant.number(),
            session: self.id,
            parent: self.head(),
            term,
            n: n + 1,
            signer: signer.id,
            owner,
            grantor: owner,
            want: Hash::new([7; 32]),
            roster: Hash::ZERO,
            genesis: None.into(),
        }
    }

    /// The takeover by `signer` that would follow the last record.
    pub fn takeover(&self, signer: &Peer) -> Record {
        let mut record = self.next(signer, signer.id);
        record.kind = Kind::Takeover.number();
        record.term += 1;
        record
    }

    /// The close that would follow the last record.
    pub fn close(&self, signer: &Peer) -> Record {
        let mut record = self.next(signer, DeviceId::ZERO);
        record.kind = Kind::Close.number();
        record.want = Hash::ZERO;
        record
    }

    /// Writes a file; its content can be fetched.
    pub fn write_file(&mut self, path: &str, content: &[u8]) {
        let (blob, list) = equal_list(content);
        let refs = list.as_ref().map(|(list, _)| list.clone());
        self.blobs.insert(blob, content.to_vec());
        if let Some((list, bytes)) = list {
            self.blobs.insert(list.hash, bytes);
        }
        if let Some(entry) = Entry::file(path, false, content.len() as u64, blob, refs) {
            let part = PartId::new(self.salts.array());
            self.write(part, PartKind::Blob, entry.to_bytes());
        }
    }

    /// Writes a long file with this chunk list, whatever it says.
    pub fn write_listed(&mut self, path: &str, content: &[u8], list: Vec<u8>) {
        let (blob, hash) = (blob_id(content), blob_id(&list));
        let refs = ListRef { hash, len: list.len() as u32 };
        self.blobs.extend([(blob, content.to_vec()), (hash, list)]);
        if let Some(entry) = Entry::file(path, false, content.len() as u64, blob, Some(refs)) {
            let part = PartId::new(self.salts.array());
            self.write(part, PartKind::Blob, entry.to_bytes());
        }
    }

    /// Writes the file of this path anew, with this chunk list.
    pub fn rewrite_listed(&mut self, path: &str, content: &[u8], list: Vec<u8>) {
        let known = self.state.entries().find(|(_, entry)| *entry.path == *path).map(|(part, _)| part);
        let refs = ListRef { hash: blob_id(&list), len: list.len() as u32 };
        let entry = Entry::file(path, false, content.len() as u64, blob_id(content), Some(refs.clone()));
        if let Some((part, entry)) = known.zip(entry) {
            self.blobs.extend([(entry.blob, content.to_vec()), (refs.hash, list)]);
            self.write(part, PartKind::Blob, entry.to_bytes());
        }
    }

    /// Writes a long file under the id of another content: each chunk is what its list says, the whole isn't.
    pub fn write_claimed(&mut self, path: &str, content: &[u8], blob: Hash) {
        let (_, list) = equal_list(content);
        let Some((list, bytes)) = list else { return };
        self.blobs.extend([(blob, content.to_vec()), (list.hash, bytes)]);
        if let Some(entry) = Entry::file(path, false, content.len() as u64, blob, Some(list)) {
            let part = PartId::new(self.salts.array());
            self.write(part, PartKind::Blob, entry.to_bytes());
        }
    }

    /// Writes the exclusive value.
    pub fn write_exclusive(&mut self, bytes: &[u8]) -> Option<Op> {
        self.write(self.exclusive, PartKind::Exclusive, bytes.to_vec())
    }

    fn write(&mut self, part: PartId, kind: PartKind, body: Vec<u8>) -> Option<Op> {
        match self.put(part, kind, body)? {
            Written::Value(op) => Some(op),
            Written::Op { .. } => None,
        }
    }

    /// Writes an op into a part of any kind; it stands for all values that the part has.
    pub fn put(&mut self, part: PartId, kind: PartKind, body: Vec<u8>) -> Option<Written> {
        let new = NewOp {
            actor: self.actor,
            part,
            kind: kind.number(),
            hlc: Hlc::new([1; 8]),
            record: self.head(),
            salt: Nonce::new(self.salts.array()),
            body,
            replaces: Replaces::All,
        };
        self.state.write(Rules::ALL, new).ok()
    }

    /// Goes on from the data of this manifest.
    pub fn hold(&mut self, manifest: &Manifest) {
        self.state = State::from_manifest(manifest.clone());
        let exclusive = manifest.parts.iter().find(|part| part.kind == PartKind::Exclusive.number());
        self.exclusive = exclusive.map_or(self.exclusive, |part| part.part);
    }

    /// Who writes.
    pub fn actor(&self) -> ActorId {
        self.actor
    }

    /// Writes as another from now on.
    pub fn write_as(&mut self, actor: ActorId) {
        self.actor = actor;
    }

    /// The exclusive part.
    pub fn exclusive(&self) -> PartId {
        self.exclusive
    }

    /// Takes a manifest of which this peer may serve the bytes.
    pub fn manifest(&mut self, manifest: &Manifest) -> Announced {
        let (data, bytes) = manifest.announce();
        self.blobs.insert(data.manifest, bytes);
        self.announced = Some(data.clone());
        data
    }

    /// Announces the session's present data.
    pub fn announce(&mut self) -> Announced {
        let manifest = self.state.to_manifest();
        self.manifest(&manifest)
    }

    /// The FINAL of the present data, whose manifest was announced so.
    pub fn end(&self, data: &Announced) -> Final {
        Final {
            session: self.id,
            parent: self.head(),
            root: self.state.root(),
            exclusive: self.state.exclusive_root(),
            manifest: data.manifest,
            manifest_len: data.manifest_len,
        }
    }

    /// A HAVE that announces this data.
    pub fn have(&self, data: Option<Announced>) -> Have {
        Have { req: 0, session: self.id, head: self.head(), data: data.into(), ext: Exts::empty() }
    }

    /// A HEAD with the whole chain.
    pub fn whole(&self) -> Head {
        head(self.id, self.chain.clone(), None)
    }
}

/// A HEAD.
pub fn head(session: SessionId, records: Vec<Signed<Record>>, ack: Option<Ack>) -> Head {
    let records = List::new(records).unwrap_or_default();
    Head { session, records, more: false, ack: ack.into(), ext: Exts::empty() }
}

/// An OFFER of `peer` to `target`.
pub fn offer(peer: &Peer, book: &Book, target: DeviceId, data: &Announced, rng: &mut Rng) -> Offer {
    Offer {
        session: book.id,
        parent: book.head(),
        source: peer.id,
        target,
        nonce: Nonce::new(rng.array()),
        root: data.root,
        manifest: data.manifest,
        manifest_len: data.manifest_len,
        name: Text::new("notes").unwrap_or_default(),
        ttl: 60_000,
    }
}

/// The message of an OFFER.
pub fn offer_msg(peer: &Peer, req: u32, offer: &Offer) -> OfferMsg {
    OfferMsg { req, offer: peer.sign(offer), ext: Exts::empty() }
}

/// All that a GRANT is made of, to be changed before it is signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The request that it answers.
    pub req: u32,
    /// The WANT.
    pub want: Signed<Want>,
    /// The record, and who signs it.
    pub record: Record,
    /// Who signs the record.
    pub signer: Peer,
    /// The FINAL, and who signs it.
    pub end: Final,
    /// Who signs the FINAL.
    pub ender: Peer,
    /// The inline ops.
    pub ops: Vec<Op>,
    /// The parts that go whole.
    pub parts: Vec<Part>,
}

impl Draft {
    /// The GRANT of `peer`, who owns the session of `book`, to the WANT's target.
    pub fn new(peer: &Peer, book: &Book, req: u32, want: &Signed<Want>, target: DeviceId, data: &Announced) -> Draft {
        let mut record = book.next(peer, target);
        record.want = want.id();
        let end = book.end(data);
        Draft {
            req,
            want: want.clone(),
            record,
            signer: peer.clone(),
            end,
            ender: peer.clone(),
            ops: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// The record, signed.
    pub fn signed_record(&self) -> Signed<Record> {
        self.signer.sign(&self.record)
    }

    /// The GRANT.
    pub fn seal(&self) -> Grant {
        Grant {
            req: self.req,
            want: self.want.clone(),
            record: self.signed_record(),
            end: self.ender.sign(&self.end),
            ops: List::new(self.ops.clone()).unwrap_or_default(),
            parts: List::new(self.parts.iter().filter_map(|part| Blob::new(encode(part))).collect())
                .unwrap_or_default(),
            ext: Exts::empty(),
        }
    }
}

/// The same object with one bit of its signature changed.
pub fn tampered<T: SignedBody>(signed: &Signed<T>) -> Signed<T> {
    let mut sig = *signed.sig().as_bytes();
    sig[10] ^= 1;
    Signed::from_parts(signed.body_bytes().to_vec(), segue_proto::wire::Sig::new(sig)).unwrap_or_else(|| signed.clone())
}

/// An op with another body.
pub fn with_body(op: &Op, body: &[u8]) -> Op {
    Op { body: Blob::new(body.to_vec()).unwrap_or_default(), ..op.clone() }
}

/// An optional value that is absent.
pub fn nothing<T>() -> Opt<T> {
    None.into()
}
