//! The story that the vectors tell: a laptop starts a session and hands it to a phone. Every key, nonce and salt is
//! fixed, so everything that follows from them is too.

use ed25519_dalek::SigningKey;
use segue_proto::Rules;
use segue_proto::data::{self, Entry, EntryMode, Manifest, NewOp, Replaces, State, Written};
use segue_proto::transfer;
use segue_proto::wire::{
    ActorId, Announced, DeviceId, Final, Genesis, Grant, Hash, Held, Hlc, Kind, List, Nonce, Offer, Op, PartId, Record,
    SessionId, Signed, Text, Want, WantMode,
};

/// A device.
#[derive(Clone, Copy)]
pub(crate) struct Device {
    /// The seed of its key (RFC 8032).
    pub(crate) secret: [u8; 32],
}

/// Starts the session.
pub(crate) const LAPTOP: Device = Device { secret: [1; 32] };
/// Gets it.
pub(crate) const PHONE: Device = Device { secret: [2; 32] };
/// A member that stands by.
pub(crate) const TABLET: Device = Device { secret: [3; 32] };
/// No member.
pub(crate) const STRANGER: Device = Device { secret: [9; 32] };

/// The parts of the session.
pub(crate) const NOTES: PartId = PartId::new([0x21; 16]);
pub(crate) const PHOTO: PartId = PartId::new([0x22; 16]);
pub(crate) const FOLDER: PartId = PartId::new([0x23; 16]);
pub(crate) const VIEW: PartId = PartId::new([0x24; 16]);

/// What the notes say.
pub(crate) const NOTES_CONTENT: &[u8] = b"Pack the tent.\n";

impl Device {
    pub(crate) fn key(self) -> SigningKey {
        SigningKey::from_bytes(&self.secret)
    }

    pub(crate) fn id(self) -> DeviceId {
        DeviceId::new(self.key().verifying_key().to_bytes())
    }

    /// Its actor in the session: the nonce is its secret's byte, 16 times.
    pub(crate) fn actor(self) -> ActorId {
        data::actor_id(&self.id(), &self.nonce())
    }

    pub(crate) fn nonce(self) -> Nonce {
        Nonce::new([self.secret[0]; 16])
    }
}

/// Everything up to the GRANT.
pub(crate) struct Story {
    pub(crate) session: SessionId,
    pub(crate) genesis: Signed<Record>,
    /// The ops behind the manifest, in the order in which they were made.
    pub(crate) ops: Vec<Op>,
    pub(crate) manifest: Manifest,
    pub(crate) announced: Announced,
    pub(crate) manifest_bytes: Vec<u8>,
    /// An op made after the manifest, which travels in the GRANT.
    pub(crate) inline: Op,
    pub(crate) root: Hash,
    pub(crate) offer: Signed<Offer>,
    pub(crate) want: Signed<Want>,
    pub(crate) record: Signed<Record>,
    pub(crate) end: Signed<Final>,
}

/// The nonce of the genesis.
pub(crate) const SESSION_NONCE: Nonce = Nonce::new([0x10; 16]);

/// The story, from its start.
pub(crate) fn story() -> Story {
    let session = data::session_id(&LAPTOP.id(), &SESSION_NONCE);
    let genesis = Signed::sign(&genesis(session), &LAPTOP.key());
    let mut state = State::new(session, "Holiday");
    let mut write = |part, kind, salt, body| {
        let hlc = hlc(u64::from(salt));
        let (record, salt) = (genesis.id(), Nonce::new([salt; 16]));
        value(&mut state, NewOp { actor: LAPTOP.actor(), part, kind, hlc, record, salt, body, replaces: Replaces::One })
    };
    let ops = vec![
        write(NOTES, BLOB, 0x31, notes_entry(b"Tent.\n").to_bytes()),
        write(NOTES, BLOB, 0x32, notes_entry(NOTES_CONTENT).to_bytes()),
        write(PHOTO, BLOB, 0x33, photo_entry().to_bytes()),
        write(FOLDER, BLOB, 0x34, Entry::bare("photos/old", EntryMode::Directory).expect("a short path").to_bytes()),
        write(VIEW, EXCLUSIVE, 0x35, b"cursor 4".to_vec()),
    ];
    let manifest = state.to_manifest();
    let (announced, manifest_bytes) = manifest.announce();
    let new = NewOp {
        actor: LAPTOP.actor(),
        part: VIEW,
        kind: EXCLUSIVE,
        hlc: hlc(0x36),
        record: genesis.id(),
        salt: Nonce::new([0x36; 16]),
        body: b"cursor 15".to_vec(),
        replaces: Replaces::One,
    };
    let inline = value(&mut state, new);
    let (root, exclusive) = (state.root(), state.exclusive_root());
    let offer = Signed::sign(&offer(session, genesis.id(), &announced), &LAPTOP.key());
    let want = Signed::sign(&want(session, genesis.id(), offer.id(), &announced), &PHONE.key());
    let record = Signed::sign(&grant_record(session, genesis.id(), want.id()), &LAPTOP.key());
    let Announced { manifest: hash, manifest_len, .. } = announced;
    let end = Final { session, parent: genesis.id(), root, exclusive, manifest: hash, manifest_len };
    let end = Signed::sign(&end, &LAPTOP.key());
    Story { session, genesis, ops, manifest, announced, manifest_bytes, inline, root, offer, want, record, end }
}

impl Story {
    /// The GRANT.
    pub(crate) fn grant(&self) -> Grant {
        Grant {
            req: 7,
            want: self.want.clone(),
            record: self.record.clone(),
            end: self.end.clone(),
            ops: list(vec![self.inline.clone()]),
            parts: List::empty(),
            ext: List::empty(),
        }
    }

    /// The body of the genesis.
    pub(crate) fn genesis_body(&self) -> Record {
        genesis(self.session)
    }

    /// The body of the record that makes the phone the owner.
    pub(crate) fn grant_body(&self) -> Record {
        grant_record(self.session, self.genesis.id(), self.want.id())
    }

    /// The phone keeps the session and lets the tablet sign what comes next.
    pub(crate) fn delegate_body(&self) -> Record {
        let owner = PHONE.id();
        Record {
            kind: Kind::Delegate.number(),
            parent: self.record.id(),
            n: 2,
            signer: owner,
            owner,
            grantor: TABLET.id(),
            want: self.want.id(),
            ..self.plain()
        }
    }

    /// The laptop takes the session over, behind `parent`.
    pub(crate) fn takeover_body(&self, by: Device, parent: &Signed<Record>, n: u64) -> Record {
        let me = by.id();
        Record {
            kind: Kind::Takeover.number(),
            parent: parent.id(),
            term: 1,
            n,
            signer: me,
            owner: me,
            grantor: me,
            want: Hash::new(*by.actor().as_bytes()),
            ..self.plain()
        }
    }

    /// `by` ends the session, behind `parent`.
    pub(crate) fn close_body(&self, by: Device, parent: &Signed<Record>, term: u64, n: u64) -> Record {
        Record { kind: Kind::Close.number(), parent: parent.id(), term, n, signer: by.id(), ..self.plain() }
    }

    /// The body of the WANT that answers the OFFER.
    pub(crate) fn want_body(&self) -> Want {
        want(self.session, self.genesis.id(), self.offer.id(), &self.announced)
    }

    /// The body of the OFFER.
    pub(crate) fn offer_body(&self) -> Offer {
        offer(self.session, self.genesis.id(), &self.announced)
    }

    /// A record of this session without anything in it.
    fn plain(&self) -> Record {
        Record {
            kind: 0,
            session: self.session,
            parent: Hash::ZERO,
            term: 0,
            n: 0,
            signer: DeviceId::ZERO,
            owner: DeviceId::ZERO,
            grantor: DeviceId::ZERO,
            want: Hash::ZERO,
            roster: Hash::ZERO,
            genesis: List::empty(),
        }
    }
}

/// Writes a value.
pub(crate) fn value(state: &mut State, new: NewOp) -> Op {
    match state.write(Rules::ALL, new).expect("the story's writes are good") {
        Written::Value(op) => op,
        Written::Op { .. } => panic!("a part with values"),
    }
}

/// A photo of 150,000 bytes: byte i is i mod 251.
pub(crate) fn photo() -> Vec<u8> {
    pattern(150_000)
}

/// Content whose byte i is i mod 251.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// The entry of the notes with this content.
pub(crate) fn notes_entry(content: &[u8]) -> Entry {
    let (blob, _) = transfer::equal_list(content);
    Entry::file("notes.txt", false, content.len() as u64, blob, None).expect("a short path")
}

/// A list that is known to be short enough.
pub(crate) fn list<T, const MAX: usize>(items: Vec<T>) -> List<T, MAX> {
    List::new(items).expect("a list within its cap")
}

/// The numbers of the two kinds of parts that this version uses.
pub(crate) const BLOB: u16 = 3;
pub(crate) const EXCLUSIVE: u16 = 5;

fn photo_entry() -> Entry {
    let content = photo();
    let (blob, chunks) = transfer::equal_list(&content);
    Entry::file("photos/tent.raw", false, content.len() as u64, blob, chunks.map(|(list, _)| list))
        .expect("a short path")
}

/// 1,700,000,000,000 ms since 1970, and a counter.
pub(crate) fn hlc(counter: u64) -> Hlc {
    Hlc::new(((1_700_000_000_000 << 16) | counter).to_be_bytes())
}

fn genesis(session: SessionId) -> Record {
    let me = LAPTOP.id();
    let mut members = vec![PHONE.id(), TABLET.id()];
    members.sort_unstable();
    let genesis = Genesis { nonce: SESSION_NONCE, members: list(members) };
    Record::genesis(session, me, LAPTOP.actor(), genesis)
}

fn offer(session: SessionId, parent: Hash, data: &Announced) -> Offer {
    Offer {
        session,
        parent,
        source: LAPTOP.id(),
        target: PHONE.id(),
        nonce: Nonce::new([0x41; 16]),
        root: data.root,
        manifest: data.manifest,
        manifest_len: data.manifest_len,
        name: Text::new("Holiday").expect("a short name"),
        ttl: 60_000,
    }
}

fn want(session: SessionId, parent: Hash, offer: Hash, data: &Announced) -> Want {
    Want {
        session,
        parent,
        target: PHONE.id(),
        actor: PHONE.actor(),
        nonce: Nonce::new([0x42; 16]),
        mode: WantMode::Answer.number(),
        offer: Some(offer).into(),
        have: Some(Held { root: data.root, manifest: data.manifest }).into(),
        need: List::empty(),
        pick: List::empty(),
        ttl: 60_000,
    }
}

fn grant_record(session: SessionId, parent: Hash, want: Hash) -> Record {
    Record {
        kind: Kind::Grant.number(),
        session,
        parent,
        term: 0,
        n: 1,
        signer: LAPTOP.id(),
        owner: PHONE.id(),
        grantor: PHONE.id(),
        want,
        roster: Hash::ZERO,
        genesis: List::empty(),
    }
}
