//! Signed objects: how one is made, and ones that are refused.

use segue_proto::wire::codec::encode;
use segue_proto::wire::{DeviceId, List, Offer, Record, Sig, Signed, SignedBody, Text, Want, id_of, signing_bytes};
use segue_proto::{Rules, Violation};

use crate::json::Json;
use crate::vectors::byhand;
use crate::vectors::cast::{Device, LAPTOP, PHONE, TABLET, story};
use crate::vectors::form::{Book, Vector, bytes};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    bodies(book);
    signatures(book);
}

/// The vector of a body and its signature: body, id, signed bytes, signature.
pub(crate) fn sign<T: SignedBody>(
    book: &mut Book,
    chapter: &'static str,
    name: &str,
    what: &str,
    body: &T,
    by: Device,
) -> Vector {
    let object = object::<T>();
    let encoded = encode(body);
    let fields = byhand::decode(object, &encoded).unwrap_or_else(|code| code.into());
    let made = Signed::sign(body, &by.key());
    let message = signing_bytes::<T>(id_of::<T>(&encoded));
    let vector = Vector::valid(chapter, "sign", name, what)
        .input("object", object)
        .input("fields", fields.clone())
        .input("secret", bytes(by.secret))
        .step("body", bytes(&encoded))
        .step("id", bytes(made.id().as_bytes()))
        .step("message", bytes(&message))
        .expect("key", bytes(by.id().as_bytes()))
        .expect("signature", bytes(made.sig().as_bytes()));
    let mut again = Vec::new();
    byhand::encode(object, &fields, &mut again);
    book.same(&vector, "the body", encoded.clone(), again);
    let (id, byhand_message, signature) = byhand::sign(T::NAME, &encoded, &by.secret);
    book.same(&vector, "the id", *made.id().as_bytes(), id);
    book.same(&vector, "the signed bytes", message, byhand_message);
    book.same(&vector, "the signature", *made.sig().as_bytes(), signature);
    book.same(&vector, "whether it verifies", made.prove(Rules::ALL, |_| by.id()).is_ok(), true);
    vector
}

/// A signed object as it stands in the vectors.
pub(crate) fn signed<T: SignedBody>(object: &Signed<T>) -> Json {
    Json::object([("body", bytes(object.body_bytes())), ("sig", bytes(object.sig().as_bytes()))])
}

/// Bodies that break a rule of form.
fn bodies(book: &mut Book) {
    let story = story();
    let value = ("WIRE-VALUE-1", "WIRE_VALUE");
    let string = ("WIRE-STRING-1", "WIRE_STRING");

    let record = |change: &dyn Fn(&mut Record)| {
        let mut body = story.genesis_body();
        change(&mut body);
        encode(&body)
    };
    refuse::<Record>(
        book,
        "record-kind-5",
        "A record of a kind that there isn't.",
        value,
        record(&|r| r.kind = 5),
        LAPTOP,
    );
    let unordered = record(&|r| {
        let mut genesis = r.genesis.get().cloned().expect("a genesis");
        genesis.members = List::new(genesis.members.iter().rev().copied().collect()).unwrap_or_default();
        r.genesis = Some(genesis).into();
    });
    refuse::<Record>(book, "genesis-members-descend", "Members that don't ascend.", value, unordered, LAPTOP);
    let twice = record(&|r| {
        let mut genesis = r.genesis.get().cloned().expect("a genesis");
        genesis.members = List::new(vec![PHONE.id(), PHONE.id()]).unwrap_or_default();
        r.genesis = Some(genesis).into();
    });
    refuse::<Record>(book, "genesis-member-twice", "A member that is listed twice.", value, twice, LAPTOP);
    let mut trailing = record(&|_| {});
    trailing.push(0);
    refuse::<Record>(
        book,
        "record-trailing",
        "A byte behind the body.",
        ("WIRE-CANON-2", "WIRE_LENGTH"),
        trailing,
        LAPTOP,
    );

    let want = |change: &dyn Fn(&mut Want)| {
        let mut body = story.want_body();
        change(&mut body);
        encode(&body)
    };
    refuse::<Want>(book, "want-mode-3", "A WANT of a mode that there isn't.", value, want(&|w| w.mode = 3), PHONE);
    refuse::<Want>(book, "want-pull-with-offer", "A pull that names an OFFER.", value, want(&|w| w.mode = 0), PHONE);
    refuse::<Want>(
        book,
        "want-answer-without-offer",
        "An answer that names no OFFER.",
        value,
        want(&|w| w.offer = None.into()),
        PHONE,
    );

    let offer = |name: &str| {
        let mut body = story.offer_body();
        body.name = Text::new(name).unwrap_or_default();
        encode(&body)
    };
    for (name, title) in
        [("control", "Holi\nday"), ("bidirectional", "Holi\u{202e}yad"), ("byte-order-mark", "\u{feff}Holiday")]
    {
        let what = "A session's name with a character that a name may not hold.";
        refuse::<Offer>(book, &format!("offer-name-{name}"), what, string, offer(title), LAPTOP);
    }
    refuse::<Offer>(
        book,
        "offer-name-65",
        "A session's name of 65 characters.",
        string,
        offer(&"a".repeat(65)),
        LAPTOP,
    );
    let longest = Offer { name: Text::new("é".repeat(64)).unwrap_or_default(), ..story.offer_body() };
    let vector =
        sign(book, "wire", "offer-name-64", "A session's name of 64 characters and 128 bytes.", &longest, LAPTOP);
    book.add(vector.clause("WIRE-STRING-1"));
}

/// Signatures that a strict verifier refuses.
fn signatures(book: &mut Book) {
    let want = story().want;
    let body = want.body_bytes().to_vec();
    let message = signing_bytes::<Want>(want.id());
    let good = *want.sig().as_bytes();
    let mut cases = vec![
        ("signature-zero", "A signature of zeros.", [0; 64]),
        ("signature-other-key", "A signature by another device.", byhand::sign_bytes(&message, &TABLET.secret)),
        ("signature-other-context", "A signature over the same id as an OFFER's.", {
            let message = [b"segue/1 sig offer".as_slice(), want.id().as_bytes()].concat();
            byhand::sign_bytes(&message, &PHONE.secret)
        }),
        (
            "signature-of-the-body",
            "A signature over the body instead of its id.",
            byhand::sign_bytes(&body, &PHONE.secret),
        ),
        ("signature-s-too-large", "A good signature whose S has the group's order added to it.", plus_order(good)),
    ];
    let mut flipped = good;
    flipped[0] ^= 1;
    cases.push(("signature-r-changed", "A good signature with one bit of R changed.", flipped));
    for (name, what, sig) in cases {
        verify::<Want>(book, name, what, ("WIRE-SIGN-1", "AUTH_SIGNATURE"), body.clone(), sig, PHONE.id());
    }
    // With the neutral element as key and as R, and S zero, a lax verifier accepts any message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut sig = [0; 64];
    sig[0] = 1;
    let small = Want { target: DeviceId::new(neutral), ..story().want_body() };
    let what = "A key and an R of small order, with which a lax verifier accepts any message.";
    verify::<Want>(
        book,
        "signature-small-order",
        what,
        ("WIRE-SIGN-1", "AUTH_SIGNATURE"),
        encode(&small),
        sig,
        small.target,
    );
}

/// Adds a body that is refused although its signature is good.
fn refuse<T: SignedBody>(
    book: &mut Book,
    name: &str,
    what: &str,
    broken: (&'static str, &'static str),
    body: Vec<u8>,
    by: Device,
) {
    let (_, _, sig) = byhand::sign(T::NAME, &body, &by.secret);
    verify::<T>(book, name, what, broken, body, sig, by.id());
}

fn verify<T: SignedBody>(
    book: &mut Book,
    name: &str,
    what: &str,
    broken: (&'static str, &'static str),
    body: Vec<u8>,
    sig: [u8; 64],
    key: DeviceId,
) {
    let vector = Vector::invalid("wire", "verify", name, what, broken);
    check::<T>(book, vector, body, sig, key);
}

/// Adds a vector of a chapter whose body is refused although its signature is good.
pub(crate) fn refuse_body<T: SignedBody>(book: &mut Book, vector: Vector, body: Vec<u8>, by: Device) {
    let (_, _, sig) = byhand::sign(T::NAME, &body, &by.secret);
    check::<T>(book, vector, body, sig, by.id());
}

fn check<T: SignedBody>(book: &mut Book, vector: Vector, body: Vec<u8>, sig: [u8; 64], key: DeviceId) {
    let vector = vector
        .input("object", object::<T>())
        .input("key", bytes(key.as_bytes()))
        .input("body", bytes(&body))
        .input("sig", bytes(sig));
    let found: Result<_, Violation> = match Signed::<T>::from_parts(body, Sig::new(sig)) {
        Some(object) => object.prove(Rules::ALL, |_| key),
        None => unreachable!("the bodies of the vectors are short"),
    };
    book.refuse(vector, found);
}

/// The name of the structure whose name in the contexts is `T::NAME`.
fn object<T: SignedBody>() -> &'static str {
    crate::generate::signed().iter().find(|row| row.name == T::NAME).map_or("", |row| row.body)
}

/// Adds the order of Ed25519's group to S, the second half of a signature, little-endian.
fn plus_order(signature: [u8; 64]) -> [u8; 64] {
    let mut order = byhand::unhex("edd3f55c1a631258d69cf7a2def9de14");
    order.resize(31, 0);
    order.push(0x10);
    let mut out = signature;
    let mut carry = 0;
    for (byte, add) in out[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    out
}
