//! Chapter service: what follows from a content key, letters in their envelopes, wrapping.

use segue_proto::Rules;
use segue_proto::seal::{self, ContentKey, Wrapped};
use segue_proto::wire::codec::{Blob, encode};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    Address, BoxId, Cas, DelegateMsg, DeviceId, Discover, Envelopes, Fetch, Found, Freeze, Hash, Introduce,
    IntroduceOk, Introduced, Introduction, Invitation, KeyMsg, Letter, List, LoggedIn, Login, Message, Nonce, Piece,
    Presence, Put, PutOk, Record, Relay, Renew, Sealed, Signed, Text, Wake, WakeOk, Watch,
};

use super::byhand;
use super::cast::{LAPTOP, PHONE, STRANGER, TABLET, list, story};
use super::form::{Book, Vector, bytes};
use super::sync::diary;
use super::wire::{sign, signed};

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    keys(book);
    letters(book);
    wraps(book);
    introductions(book);
}

const KEY: ContentKey = ContentKey::new([0x81; 32]);
const NONCE: [u8; 24] = [0x82; 24];
const EPHEMERAL: [u8; 32] = [0x83; 32];

fn keys(book: &mut Book) {
    let session = story().session;
    let id: [u8; 16] = std::array::from_fn(|at| byhand::hash("segue/1 key", KEY.as_bytes())[at]);
    let place = byhand::hash("segue/1 box", &[KEY.as_bytes().as_slice(), session.as_bytes()].concat());
    let sealing = byhand::hash("segue/1 seal", KEY.as_bytes());
    let vector = Vector::valid("service", "content-key", "content-key", "What follows from a content key.")
        .clause("SERVICE-SEAL-1")
        .input("key", bytes(KEY.as_bytes()))
        .input("session", bytes(session.as_bytes()))
        .expect("id", bytes(id))
        .expect("box", bytes(place))
        .expect("seal", bytes(sealing));
    book.same(&vector, "the id", *KEY.id().as_bytes(), id);
    book.same(&vector, "the box", *KEY.session_box(&session).as_bytes(), place);
    book.same(&vector, "the AEAD's key", KEY.sealing_key(), sealing);
    book.add(vector.shown());
    let film = blob_id(b"a film");
    let place =
        byhand::hash("segue/1 blob box", &[KEY.as_bytes().as_slice(), session.as_bytes(), film.as_bytes()].concat());
    let vector = Vector::valid("service", "blob-box", "blob-box", "Where the content of a file is kept.")
        .clause("SERVICE-CONTENT-1")
        .input("key", bytes(KEY.as_bytes()))
        .input("session", bytes(session.as_bytes()))
        .input("blob", bytes(film.as_bytes()))
        .expect("box", bytes(place));
    book.same(&vector, "the box", *KEY.blob_box(&session, &film).as_bytes(), place);
    book.add(vector.shown());
    piece(book, KEY.blob_box(&session, &film));
    let inbox = byhand::hash("segue/1 inbox", PHONE.id().as_bytes());
    let vector = Vector::valid("service", "inbox", "inbox", "The phone's inbox.")
        .clause("SERVICE-INVITE-1")
        .input("device", bytes(PHONE.id().as_bytes()))
        .expect("box", bytes(inbox));
    book.same(&vector, "the box", *seal::inbox(&PHONE.id()).as_bytes(), inbox);
    book.add(vector.shown());
}

fn piece(book: &mut Book, to: BoxId) {
    let plain = encode(&Piece { offset: 0, bytes: blob(b"a film".to_vec()) });
    let hashed = [KEY.as_bytes().as_slice(), to.as_bytes(), &plain].concat();
    let nonce: [u8; 24] = std::array::from_fn(|at| byhand::hash("segue/1 piece", &hashed)[at]);
    let envelope = seal::seal_piece(Rules::ALL, &KEY, &to, &plain);
    let head = [&[3], KEY.id().as_bytes().as_slice()].concat();
    let vector = Vector::valid("service", "piece", "piece", "The only piece of a short content, in its envelope.")
        .clause("SERVICE-CONTENT-1")
        .input("key", bytes(KEY.as_bytes()))
        .input("box", bytes(to.as_bytes()))
        .input("plain", bytes(&plain))
        .step("nonce", bytes(nonce))
        .step("aad", bytes([to.as_bytes().as_slice(), &head].concat()))
        .expect("envelope", bytes(&envelope));
    book.same(&vector, "the nonce", envelope.get(17..41), Some(nonce.as_slice()));
    book.same(&vector, "what is opened", seal::open_piece(Rules::ALL, &KEY, &to, &envelope), Ok(plain));
    book.add(vector.shown());
    let letter = KEY.session_box(&story().session);
    let what = "A letter isn't opened as a piece.";
    let error = ("SERVICE-SEAL-2", "SERVICE_ENVELOPE");
    let vector = Vector::invalid("service", "piece", "piece-of-a-letter", what, error)
        .input("key", bytes(KEY.as_bytes()))
        .input("box", bytes(letter.as_bytes()))
        .input("envelope", bytes(self::envelope()));
    book.refuse(vector, seal::open_piece(Rules::ALL, &KEY, &letter, &self::envelope()));
}

/// The laptop's first letter: the title of the diary.
fn letter() -> (Letter, Vec<u8>) {
    let (diary, session) = (diary(), story().session);
    let frames: Vec<u8> = diary.feed().iter().flat_map(Message::to_frame).collect();
    let to = KEY.session_box(&session);
    (Letter { from: LAPTOP.id(), session, to, count: 1, frames: blob_id(&frames) }, frames)
}

fn envelope() -> Vec<u8> {
    let (letter, frames) = letter();
    let to = letter.to;
    let sealed = Sealed { letter: Signed::sign(&letter, &LAPTOP.key()), frames: blob(frames) };
    seal::seal(Rules::ALL, &KEY, &to, &NONCE, &encode(&sealed))
}

fn letters(book: &mut Book) {
    let (letter, frames) = letter();
    let what = "The laptop's letter: all of the diary.";
    let vector = sign(book, "service", "letter", what, &letter, LAPTOP);
    book.add(vector.clause("SERVICE-SIGN-1").input("frames", bytes(&frames)));
    let to = letter.to;
    let object = Signed::sign(&letter, &LAPTOP.key());
    let plain = encode(&Sealed { letter: object.clone(), frames: blob(frames) });
    let (head, envelope) = ([&[1], KEY.id().as_bytes().as_slice()].concat(), envelope());
    let vector = Vector::valid("service", "seal", "envelope", "The same letter in its envelope.")
        .clause("SERVICE-SEAL-1")
        .input("key", bytes(KEY.as_bytes()))
        .input("box", bytes(to.as_bytes()))
        .input("nonce", bytes(NONCE))
        .input("plain", bytes(&plain))
        .step("letter", signed(&object))
        .step("seal", bytes(KEY.sealing_key()))
        .step("aad", bytes([to.as_bytes().as_slice(), &head].concat()))
        .expect("envelope", bytes(&envelope))
        .expect("id", bytes(blob_id(&envelope).as_bytes()));
    book.same(&vector, "what is opened", seal::open(Rules::ALL, &KEY, &to, &envelope), Ok(plain));
    book.add(vector);
    let (mut changed, mut other) = (envelope.clone(), envelope.clone());
    changed.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    other.get_mut(1).into_iter().for_each(|byte| *byte ^= 1);
    let cut = envelope.get(..envelope.len() - 1).unwrap_or_default().to_vec();
    let bare = [head.as_slice(), &NONCE].concat();
    let elsewhere = seal::inbox(&PHONE.id());
    for (name, what, at, envelope) in [
        ("envelope-changed", "One bit of it was changed.", to, changed),
        ("envelope-cut", "Its last byte is missing.", to, cut),
        ("envelope-moved", "It was found in another box.", elsewhere, envelope),
        ("envelope-other-key", "It names another key.", to, other),
        ("envelope-bare", "It ends before its ciphertext.", to, bare),
    ] {
        let vector = Vector::invalid("service", "seal", name, what, ("SERVICE-SEAL-2", "SERVICE_ENVELOPE"))
            .input("key", bytes(KEY.as_bytes()))
            .input("box", bytes(at.as_bytes()))
            .input("envelope", bytes(&envelope));
        book.refuse(vector, seal::open(Rules::ALL, &KEY, &at, &envelope));
    }
}

fn invitation() -> Invitation {
    Invitation {
        from: LAPTOP.id(),
        to: PHONE.id(),
        session: story().session,
        name: Text::new("Holiday").unwrap_or_default(),
        epoch: 1,
        key: KEY,
        without: list(vec![STRANGER.id()]),
    }
}

fn wraps(book: &mut Book) {
    let what = "The laptop invites the phone, under a key that a revoked device doesn't have.";
    let vector = sign(book, "service", "invitation", what, &invitation(), LAPTOP);
    book.add(vector.clause("SERVICE-INVITE-1").shown());
    let plain = encode(&Signed::sign(&invitation(), &LAPTOP.key()));
    let device = PHONE.id();
    let envelope = seal::wrap(&device, EPHEMERAL, &plain).unwrap_or_default();
    let public = PHONE.key().verifying_key().to_montgomery();
    let vector = Vector::valid("service", "wrap", "wrap", "The invitation, wrapped for the phone.")
        .clause("SERVICE-INVITE-1")
        .input("device", bytes(device.as_bytes()))
        .input("secret", bytes(PHONE.secret))
        .input("ikm", bytes(EPHEMERAL))
        .input("plain", bytes(&plain))
        .step("public", bytes(public.as_bytes()))
        .step("private", bytes(PHONE.key().to_scalar_bytes()))
        .step("info", bytes(b"segue/1 wrap"))
        .step("aad", bytes(seal::inbox(&device).as_bytes()))
        .step("enc", bytes(envelope.get(1..33).unwrap_or_default()))
        .expect("envelope", bytes(&envelope));
    let opened = |device: DeviceId, key: &ed25519_dalek::SigningKey, envelope: &[u8]| {
        seal::unwrap(key, &Wrapped { device, envelope: envelope.to_vec() })
    };
    book.same(&vector, "what is opened", opened(device, &PHONE.key(), &envelope), Some(plain));
    book.same(&vector, "what another opens", opened(TABLET.id(), &TABLET.key(), &envelope), None);
    book.add(vector.shown());
}

/// The laptop tells the phone that it can be dialled at two addresses.
fn introduction() -> Introduction {
    let v4 = std::net::SocketAddr::from(([192, 0, 2, 7], 4433));
    let v6 = std::net::SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 4433));
    Introduction {
        from: LAPTOP.id(),
        to: PHONE.id(),
        nonce: Nonce::new([0x85; 16]),
        answers: None.into(),
        addresses: list(vec![Address::from(v4), Address::from(v6)]),
    }
}

fn introduced() -> Vec<u8> {
    let plain = encode(&Signed::sign(&introduction(), &LAPTOP.key()));
    seal::wrap_introduction(Rules::ALL, &PHONE.id(), EPHEMERAL, &plain).unwrap_or_default()
}

fn introductions(book: &mut Book) {
    let what = "The laptop tells the phone where it can be dialled.";
    let vector = sign(book, "service", "introduction", what, &introduction(), LAPTOP);
    book.add(vector.clause("SERVICE-MEET-6").shown());
    let plain = encode(&Signed::sign(&introduction(), &LAPTOP.key()));
    let (device, envelope) = (PHONE.id(), introduced());
    let vector = Vector::valid("service", "introduce", "wrap-introduction", "The introduction, sealed for the phone.")
        .clause("SERVICE-MEET-4")
        .input("device", bytes(device.as_bytes()))
        .input("secret", bytes(PHONE.secret))
        .input("ikm", bytes(EPHEMERAL))
        .input("plain", bytes(&plain))
        .step("info", bytes(b"segue/1 introduction"))
        .step("aad", bytes(seal::inbox(&device).as_bytes()))
        .expect("envelope", bytes(&envelope));
    let opened = seal::unwrap(&PHONE.key(), &Wrapped { device, envelope });
    book.same(&vector, "what is opened", opened, Some(plain));
    book.add(vector.shown());
}

/// The messages of the chapter.
pub(crate) fn messages() -> Vec<(&'static str, &'static str, Message)> {
    let (to, ext) = (KEY.session_box(&story().session), List::empty());
    let session = story().session;
    let envelopes = list(vec![blob(envelope())]);
    let without = list(vec![STRANGER.id()]);
    vec![
        ("put", "The laptop's letter, for the mailbox.", {
            Put { req: 3, to, envelope: blob(envelope()), ext: ext.clone() }.into()
        }),
        ("put-ok", "It is the first in its box.", PutOk { req: 3, offset: 1, ext: ext.clone() }.into()),
        (
            "fetch",
            "The phone asks for all that is in the box.",
            Fetch { req: 4, of: to, after: 0, ext: ext.clone() }.into(),
        ),
        (
            "envelopes",
            "There is one envelope.",
            Envelopes { req: 4, first: 1, last: 1, envelopes, ext: ext.clone() }.into(),
        ),
        ("watch", "It asks for what comes then.", Watch { req: 5, of: to, after: 1, ext: ext.clone() }.into()),
        (
            "key",
            "The laptop gives the phone a content key.",
            KeyMsg { session, epoch: 1, key: KEY, without, ext }.into(),
        ),
    ]
    .into_iter()
    .chain(custody())
    .collect()
}

/// The messages of delegation, of presence, of introductions, and of waking.
fn custody() -> Vec<(&'static str, &'static str, Message)> {
    let (story, ext, tenure) = (story(), List::empty(), Hash::new([0x84; 32]));
    let (session, parent) = (story.session, story.genesis.id());
    let asked = Cas { req: 8, record: story.genesis.clone(), want: None.into(), tenure: Hash::ZERO, ext: ext.clone() };
    let lease = Record { want: story.want.id(), ..story.takeover_body(TABLET, &story.genesis, 1) };
    let lease = Record { owner: PHONE.id(), ..lease };
    vec![
        ("cas", "The laptop brings its session to a service.", asked.clone().into()),
        ("cas-set", "The service has it, and tells its tenure.", Cas { tenure, ..asked.clone() }.into()),
        (
            "cas-want",
            "The service, here the tablet, makes the phone the owner, for the lease of the laptop ran out.",
            {
                let (record, want) = (Signed::sign(&lease, &TABLET.key()), Some(story.want.clone()).into());
                Cas { req: 7, record, want, tenure, ext: ext.clone() }.into()
            },
        ),
        ("freeze", "The laptop writes no more; the phone may have the session.", {
            Freeze { req: 9, to: PHONE.id(), end: story.end.clone(), ext: ext.clone() }.into()
        }),
        ("renew", "The laptop asks for a lease of a minute.", {
            Renew { req: 10, session, head: parent, ttl: 60_000, ext: ext.clone() }.into()
        }),
        ("delegate", "The laptop asks to be the grantor again.", {
            DelegateMsg { req: 11, session, parent, grantor: LAPTOP.id(), ext: ext.clone() }.into()
        }),
        ("discover", "The laptop asks which of the other two are there.", {
            Discover { req: 12, devices: list(vec![PHONE.id(), TABLET.id()]), ext: ext.clone() }.into()
        }),
        ("found", "The phone has a link of generation 2; the tablet's ended a minute and a half ago.", {
            let phone = Presence { device: PHONE.id(), generation: 3, ago_ms: 0 };
            let tablet = Presence { device: TABLET.id(), generation: 0, ago_ms: 90_000 };
            Found { req: 12, found: list(vec![phone, tablet]), ext: ext.clone() }.into()
        }),
        ("login", "The laptop comes with a token.", {
            Login { req: 13, token: blob(b"a token".to_vec()), ext: ext.clone() }.into()
        }),
        ("logged-in", "It is under an account for an hour, which has a gigabyte left and may hand over.", {
            let account = Text::new("alice").unwrap_or_default();
            LoggedIn { req: 13, account, handoff: true, ttl_ms: 3_600_000, free: 1 << 30, ext: ext.clone() }.into()
        }),
        ("introduce", "The laptop asks to be introduced to the phone.", {
            Introduce { req: 14, to: PHONE.id(), sealed: blob(introduced()), ext: ext.clone() }.into()
        }),
        ("introduced", "The service passes that on.", {
            Introduced { from: LAPTOP.id(), sealed: blob(introduced()), ext: ext.clone() }.into()
        }),
        ("introduce-ok", "It was passed on.", IntroduceOk { req: 14, ext: ext.clone() }.into()),
        (
            "relay",
            "What follows on the stream is for the phone.",
            Relay { device: PHONE.id(), ext: ext.clone() }.into(),
        ),
        ("wake", "The laptop wants the phone woken.", Wake { req: 15, device: PHONE.id(), ext: ext.clone() }.into()),
        ("wake-ok", "The service's way of waking it is being used.", WakeOk { req: 15, ext }.into()),
    ]
}

fn blob<const MAX: usize>(content: Vec<u8>) -> Blob<MAX> {
    Blob::new(content).unwrap_or_default()
}
