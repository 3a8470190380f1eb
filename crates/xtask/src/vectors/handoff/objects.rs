//! Signed objects of a handoff, in the order of the story.

use segue_proto::data::Pick;
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{Ack, Final, List, Message, Sig, Signed, Want, WantMode, verify_message};
use segue_proto::{Rules, data, handoff};

use crate::vectors::byhand;
use crate::vectors::cast::{LAPTOP, PHONE, SESSION_NONCE, Story, TABLET, story};
use crate::vectors::form::{Book, Vector, bytes};
use crate::vectors::wire::{describe, message_frame, sign, signed};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let story = story();
    session(book, &story);
    records(book, &story);
    requests(book, &story);
    grant(book, &story);
    acknowledgement(book, &story);
}

/// The phone's acknowledgement.
pub(crate) fn ack(story: &Story) -> Ack {
    let id = story.record.id();
    Ack { record: id, sig: Sig::new(byhand::sign_bytes(&ack_message(story), &PHONE.secret)) }
}

fn session(book: &mut Book, story: &Story) {
    let hashed = [LAPTOP.id().as_bytes().as_slice(), SESSION_NONCE.as_bytes()].concat();
    let hash = byhand::hash("segue/1 session", &hashed);
    let vector =
        Vector::valid("handoff", "session-id", "session-id", "A session's id is bound to its creator and a nonce.")
            .clause("HO-CHAIN-7")
            .input("creator", bytes(LAPTOP.id().as_bytes()))
            .input("nonce", bytes(SESSION_NONCE.as_bytes()))
            .step("hashed", bytes(&hashed))
            .step("hash", bytes(hash))
            .expect("session", bytes(story.session.as_bytes()))
            .shown();
    book.same(&vector, "the id", story.session.as_bytes().as_slice(), &hash[..16]);
    book.same(&vector, "the id", data::session_id(&LAPTOP.id(), &SESSION_NONCE), story.session);
    book.add(vector);
}

fn records(book: &mut Book, story: &Story) {
    let delegate = story.delegate_body();
    let takeover = story.takeover_body(LAPTOP, &story.record, 2);
    let opened = Signed::sign(&takeover, &LAPTOP.key());
    let close = story.close_body(LAPTOP, &opened, 1, 3);
    for (name, what, body, by) in [
        (
            "record-genesis",
            "The laptop starts a session with the phone and a tablet as members.",
            story.genesis_body(),
            LAPTOP,
        ),
        ("record-grant", "The laptop makes the phone the owner, as its WANT asked.", story.grant_body(), LAPTOP),
        ("record-delegate", "The phone stays the owner and lets the tablet sign what comes next.", delegate, PHONE),
        ("record-takeover", "The laptop takes the session back without the phone, in a new term.", takeover, LAPTOP),
        ("record-close", "The laptop ends the session after that.", close, LAPTOP),
    ] {
        let vector = sign(book, "handoff", name, what, &body, by).clause("HO-CHAIN-8");
        book.add(vector.shown());
    }
}

fn requests(book: &mut Book, story: &Story) {
    let offer =
        sign(book, "handoff", "offer", "The laptop offers the session to the phone.", &story.offer_body(), LAPTOP);
    book.add(offer.clause("HO-OFFER-2").shown());
    let want = sign(
        book,
        "handoff",
        "want-answer",
        "The phone accepts the OFFER, and says that it holds the data.",
        &story.want_body(),
        PHONE,
    );
    book.add(want.clause("HO-WANT-3").shown());
    let pull = Want { mode: WantMode::Pull.number(), offer: None.into(), ..story.want_body() };
    let pull = sign(book, "handoff", "want-pull", "The phone asks by itself.", &pull, PHONE);
    book.add(pull.clause("HO-WANT-5"));
    let standing = Want { mode: WantMode::Standing.number(), offer: None.into(), ttl: 3_600_000, ..story.want_body() };
    let standing =
        sign(book, "handoff", "want-standing", "The phone consents for an hour in advance.", &standing, PHONE);
    book.add(standing.clause("HO-WANT-5"));
    let photos = Pick::folder(&story.session, "photos");
    let picked = Want {
        mode: WantMode::Pull.number(),
        offer: None.into(),
        pick: List::new(vec![photos]).unwrap_or_default(),
        ..story.want_body()
    };
    let what = "The phone asks, and has the content of the folder `photos` alone: the named part `photos/` of kind 3.";
    let picked = sign(book, "handoff", "want-picked", what, &picked, PHONE);
    book.add(picked.clause("HO-PICK-1").clause("DATA-PART-1"));
    let end: Option<Final> = story.end.open(Rules::ALL).ok();
    if let Some(end) = end {
        let what = "What the phone must hold, root after the inline op.";
        let vector = sign(book, "handoff", "final", what, &end, LAPTOP);
        book.add(vector.clause("HO-GRANT-6").shown());
    }
}

/// The GRANT with everything that its target checks.
fn grant(book: &mut Book, story: &Story) {
    let what = "The GRANT of the story: WANT, record, FINAL and one inline op.";
    let message = story.grant().into();
    let frame = message_frame(book, "handoff", "grant", what, &message);
    let (payload, _) = describe(&message);
    let after = story.manifest.apply(Rules::ALL, std::slice::from_ref(&story.inline)).map(|manifest| manifest.root());
    let vector = Vector::valid("handoff", "grant", "grant", what)
        .clause("HO-GRANT-6")
        .clause("HO-GRANT-7")
        .clause("DATA-ROOT-1")
        .input("target", bytes(PHONE.id().as_bytes()))
        .input("parent", signed(&story.genesis))
        .input("manifest", bytes(&story.manifest_bytes))
        .input("frame", bytes(story_frame(story)))
        .step("payload", bytes(&payload))
        .step("want_id", bytes(story.want.id().as_bytes()))
        .step("record_id", bytes(story.record.id().as_bytes()))
        .step("final_id", bytes(story.end.id().as_bytes()))
        .step("manifest_root", bytes(story.announced.root.as_bytes()))
        .step("inline_op", bytes(encode(&story.inline)))
        .expect("root", bytes(story.root.as_bytes()))
        .expect("head", bytes(story.record.id().as_bytes()))
        .expect("owner", bytes(PHONE.id().as_bytes()))
        .shown();
    book.same(
        &vector,
        "the frame",
        Some(bytes(story_frame(story))),
        frame.input.first().map(|(_, frame)| frame.clone()),
    );
    book.same(&vector, "the root", after.ok(), Some(story.root));
    book.same(&vector, "the inline op", decode(Rules::ALL, &encode(&story.inline)), Ok(story.inline.clone()));
    book.add(vector);
}

fn acknowledgement(book: &mut Book, story: &Story) {
    let ack = ack(story);
    let vector = |name: &str, what: &str, secret: [u8; 32]| {
        Vector::valid("handoff", "ack", name, what)
            .clause("HO-HEAD-3")
            .input("record", bytes(story.record.id().as_bytes()))
            .input("secret", bytes(secret))
            .step("message", bytes(ack_message(story)))
    };
    let good = vector("ack", "The phone acknowledges, once the record is durable.", PHONE.secret)
        .expect("signature", bytes(ack.sig.as_bytes()))
        .shown();
    book.same(&good, "the signed bytes", handoff::ack_message(&story.record.id()), ack_message(story));
    let verifies = verify_message(&PHONE.id(), &ack_message(story), &ack.sig);
    book.same(&good, "whether it verifies", verifies, true);
    book.add(good);
    for (name, what, sig) in [
        ("ack-other-device", "Another device's signature.", byhand::sign_bytes(&ack_message(story), &TABLET.secret)),
        ("ack-as-record", "The owner's signature over the record itself.", {
            let message = [b"segue/1 sig record".as_slice(), story.record.id().as_bytes()].concat();
            byhand::sign_bytes(&message, &PHONE.secret)
        }),
    ] {
        let vector = Vector::invalid("handoff", "ack", name, what, ("HO-HEAD-3", "AUTH_SIGNATURE"))
            .input("record", bytes(story.record.id().as_bytes()))
            .input("owner", bytes(PHONE.id().as_bytes()))
            .input("signature", bytes(sig));
        let verifies = verify_message(&PHONE.id(), &ack_message(story), &Sig::new(sig));
        book.same(&vector, "whether it verifies", verifies, false);
        book.add(vector);
    }
}

fn ack_message(story: &Story) -> Vec<u8> {
    [b"segue/1 sig head".as_slice(), story.record.id().as_bytes()].concat()
}

fn story_frame(story: &Story) -> Vec<u8> {
    Message::from(story.grant()).to_frame()
}
