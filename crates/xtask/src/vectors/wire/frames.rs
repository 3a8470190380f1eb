//! Frames: every message, extensions, grease, and frames that are refused.

use segue_proto::wire::frame::Framer;
use segue_proto::wire::{
    Blob, Bytes, Cancel, Decline, Error, Ext, Get, Goaway, Have, Head, List, Message, OfferMsg, Ping, Range, Ranges,
    WantMsg,
};
use segue_proto::{Clause, Code, Generation, Rules, Violation};

use crate::vectors::byhand::{self, unhex};
use crate::vectors::cast::{NOTES_CONTENT, list, photo, story};
use crate::vectors::form::{Book, Vector, bytes};
use crate::vectors::meet::{Met, greeting, meet};
use crate::vectors::{account, handoff, link, service, sync};

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    messages(book);
    extensions(book);
    invalid(book);
}

/// Every message once, some twice.
fn messages(book: &mut Book) {
    let story = story();
    let (session, ext) = (story.session, List::empty());
    let photos = segue_proto::data::Pick::folder(&session, "photos");
    let announced = story.announced.clone();
    let blob = |content: &[u8]| segue_proto::transfer::equal_list(content).0;
    let photo = photo();
    let code = |code: Code| code.into();
    let messages: Vec<(&str, &str, Message)> = vec![
        ("hello", "A device that speaks 7 and accepts 1.4.", link::hello().into()),
        (
            "auth",
            "The initiator's AUTH; the vector `auth-initiator` of chapter link says how its signature is made.",
            link::auth_initiator().into(),
        ),
        (
            "error",
            "Request 7 failed as it cites a record that is no longer the head.",
            Error {
                req: 7,
                session: Some(session).into(),
                code: code(Code::HO_STALE_PARENT),
                definite: true,
                retry_after_ms: 0,
                ext: List::empty(),
            }
            .into(),
        ),
        (
            "error-no-session",
            "Too many requests; it may be tried again after 1.5 seconds.",
            Error {
                req: 300,
                session: None.into(),
                code: code(Code::LIMIT_REQUESTS),
                definite: true,
                retry_after_ms: 1_500,
                ext: List::empty(),
            }
            .into(),
        ),
        ("goaway", "A link ends in good order.", Goaway { code: code(Code::LINK_SHUTDOWN), ext: List::empty() }.into()),
        ("ping-ask", "Asks for a sign of life.", Ping { nonce: 7, answer: false, ext: List::empty() }.into()),
        ("ping-answer", "Answers with the same nonce.", Ping { nonce: 7, answer: true, ext: List::empty() }.into()),
        (
            "have-ask",
            "Asks for a session of which the asker knows nothing but the id.",
            Have { req: 1, session, head: segue_proto::wire::Hash::ZERO, data: None.into(), ext: List::empty() }.into(),
        ),
        (
            "have-told",
            "Tells of a session and its name: the extension 1.",
            Have {
                req: 0,
                session,
                head: story.genesis.id(),
                data: None.into(),
                ext: list(vec![Ext { id: 1, bytes: Blob::new(b"\x05notes".to_vec()).unwrap_or_default() }]),
            }
            .into(),
        ),
        (
            "have-part",
            "Announces a manifest of whose content the sender holds that of the folder `photos`: the extension 3.",
            Have {
                req: 0,
                session,
                head: story.genesis.id(),
                data: Some(announced.clone()).into(),
                ext: list(vec![Ext { id: 3, bytes: Blob::new(photos.as_bytes().to_vec()).unwrap_or_default() }]),
            }
            .into(),
        ),
        (
            "have-announce",
            "Announces a manifest under the head.",
            Have {
                req: 0,
                session,
                head: story.genesis.id(),
                data: Some(announced.clone()).into(),
                ext: List::empty(),
            }
            .into(),
        ),
        (
            "get",
            "Asks for a file of 15 bytes.",
            Get { req: 2, session, blob: blob(NOTES_CONTENT), len: 15, ext: List::empty() }.into(),
        ),
        (
            "bytes",
            "The first frame of the stream that answers it. The 15 bytes follow.",
            Bytes { req: 2, blob: blob(NOTES_CONTENT), offset: 0, len: 15, ext: List::empty() }.into(),
        ),
        (
            "ranges",
            "Asks for the first and the last of three chunks.",
            Ranges {
                req: 3,
                session,
                blob: blob(&photo),
                len: 150_000,
                ranges: list(vec![Range { offset: 0, len: 65_536 }, Range { offset: 131_072, len: 18_928 }]),
                ext: List::empty(),
            }
            .into(),
        ),
        (
            "offer",
            "The laptop offers the session to the phone.",
            OfferMsg { req: 4, offer: story.offer.clone(), ext: List::empty() }.into(),
        ),
        ("want", "The phone accepts.", WantMsg { req: 7, want: story.want.clone(), ext: List::empty() }.into()),
        ("grant", "The laptop makes the phone the owner.", story.grant().into()),
        (
            "head",
            "The chain of a session that was never handed on.",
            Head {
                session,
                records: list(vec![story.genesis.clone()]),
                more: false,
                ack: None.into(),
                ext: List::empty(),
            }
            .into(),
        ),
        (
            "head-ack",
            "The phone acknowledges the record that made it the owner.",
            Head {
                session,
                records: list(vec![story.record.clone()]),
                more: false,
                ack: Some(handoff::ack(&story)).into(),
                ext: List::empty(),
            }
            .into(),
        ),
        (
            "decline",
            "The phone's user says no.",
            Decline { session, subject: story.offer.id(), code: code(Code::HO_DECLINED), ext: List::empty() }.into(),
        ),
        (
            "decline-reason",
            "The phone's user says no, and why.",
            Decline { session, subject: story.offer.id(), code: code(Code::HO_DECLINED), ext: reason("in a call") }
                .into(),
        ),
        (
            "cancel",
            "The laptop withdraws its offer.",
            Cancel { session, subject: story.offer.id(), code: code(Code::HO_CANCELLED), ext }.into(),
        ),
    ];
    let messages: Vec<_> =
        messages.into_iter().chain(account::messages()).chain(sync::messages()).chain(service::messages()).collect();
    let missing =
        Message::TABLE.iter().filter(|row| !messages.iter().any(|(_, _, message)| message.row().name == row.name));
    assert_eq!(missing.map(|row| row.name).collect::<Vec<_>>(), [""; 0], "every message has a vector");
    for (name, what, message) in messages {
        let vector = message_frame(book, "wire", name, what, &message);
        book.add(if message.to_frame().len() <= SHOWN { vector.shown() } else { vector });
    }
}

/// The extension by which a DECLINE gives a reason.
fn reason(text: &str) -> List<Ext, { segue_proto::limits::MAX_EXT }> {
    list(vec![Ext { id: 1, bytes: segue_proto::wire::Blob::new(text.into()).unwrap_or_default() }])
}

/// The vector of a message's frame, checked against a second decoder and encoder.
pub(crate) fn message_frame(
    book: &mut Book,
    chapter: &'static str,
    name: &str,
    what: &str,
    message: &Message,
) -> Vector {
    let frame = message.to_frame();
    let (payload, fields) = describe(message);
    let vector = Vector::valid(chapter, "frame", name, what)
        .clause("WIRE-CANON-1")
        .input("bytes", bytes(&frame))
        .step("type", message.row().number)
        .step("payload", bytes(&payload))
        .expect("message", message.row().name)
        .expect("fields", fields.clone());
    let mut again = Vec::new();
    byhand::encode(message.row().payload, &fields, &mut again);
    book.same(&vector, "the frame", frame.clone(), byhand::frame(message.row().number, &again));
    book.same(&vector, "the message", decode(&frame), Ok(Some(message.clone())));
    vector
}

/// A message's payload, and its fields as a second decoder finds them.
pub(crate) fn describe(message: &Message) -> (Vec<u8>, crate::json::Json) {
    let frame = message.to_frame();
    let mut framer = Framer::default();
    framer.push(&frame);
    let payload = framer.next(Rules::ALL).ok().flatten().map(|frame| frame.payload).unwrap_or_default();
    let fields = byhand::decode(message.row().payload, &payload).unwrap_or_else(|code| code.into());
    (payload, fields)
}

fn extensions(book: &mut Book) {
    let ping = |ids: &[u32]| -> Message {
        let ext = ids
            .iter()
            .map(|id| Ext { id: *id, bytes: segue_proto::wire::Blob::new(vec![0xaa, 0xbb]).unwrap_or_default() });
        Ping { nonce: 7, answer: false, ext: list(ext.collect()) }.into()
    };
    for (name, what, message) in [
        ("extension-odd", "A PING with an extension of an odd id, which a receiver ignores.", ping(&[27])),
        ("extensions-8", "As many extensions as there may be.", ping(&[27, 91, 155, 219, 283, 347, 411, 1])),
    ] {
        let vector = message_frame(book, "wire", name, what, &message).clause("WIRE-EXT-1");
        book.add(vector.shown());
    }
    let grease = byhand::frame(27, &unhex("deadbeef"));
    let vector =
        Vector::valid("wire", "frame", "grease", "A frame of an odd type that nobody knows, which a receiver skips.")
            .clause("WIRE-FRAME-3")
            .input("bytes", bytes(&grease))
            .step("type", 27)
            .step("payload", "deadbeef")
            .expect("skipped", true)
            .shown();
    book.same(&vector, "what is decoded", decode(&grease), Ok(None));
    let met = meet(Generation::V7, Generation::V1_4, [0x5a; 32], &[greeting(4, 1, [0x5a; 32]), grease].concat());
    book.same(&vector, "the link", met, Met::Ready(Generation::V7));
    book.add(vector);
}

fn invalid(book: &mut Book) {
    let over = |bytes: &str, filler: &str, count: usize| format!("{bytes}{}", filler.repeat(count));
    let hello = "0401000102030405060708090a0b0c0d0e0f00";
    for (name, hex, what, broken) in [
        (
            "type-not-minimal",
            "8800030700 00".replace(' ', ""),
            "A frame type that is longer than it needs to be.",
            ("WIRE-CANON-1", "WIRE_NONCANONICAL"),
        ),
        (
            "length-not-minimal",
            "088300070000".into(),
            "A frame length that is longer than it needs to be.",
            ("WIRE-CANON-1", "WIRE_NONCANONICAL"),
        ),
        (
            "length-eleven-bytes",
            over("08", "80", 11),
            "A frame length of more than ten bytes.",
            ("WIRE-CANON-1", "WIRE_NONCANONICAL"),
        ),
        (
            "frame-too-long",
            "08818004".into(),
            "A length of 65,537, which is refused before the payload comes.",
            ("WIRE-FRAME-1", "LIMIT_FRAME"),
        ),
        (
            "unknown-even-type",
            "0a00".into(),
            "A frame of an even type that nobody knows.",
            ("WIRE-FRAME-2", "WIRE_UNKNOWN_CRITICAL"),
        ),
        (
            "extension-even",
            "0805070001 0200".replace(' ', ""),
            "A PING with an extension of an even id that nobody knows.",
            ("WIRE-EXT-1", "WIRE_UNKNOWN_CRITICAL"),
        ),
        (
            "extensions-9",
            over("0815070009", "1b00", 9),
            "One extension more than there may be.",
            ("WIRE-CAP-1", "WIRE_LIMIT"),
        ),
        (
            "payload-trailing",
            "080407000000".into(),
            "A PING whose payload goes on behind its extensions.",
            ("WIRE-CANON-2", "WIRE_LENGTH"),
        ),
        (
            "payload-truncated",
            "08020700".into(),
            "A PING without its list of extensions.",
            ("WIRE-CANON-2", "WIRE_LENGTH"),
        ),
        ("payload-empty", "0800".into(), "A PING without a payload.", ("WIRE-CANON-2", "WIRE_LENGTH")),
        ("payload-bool-2", "0803070200".into(), "A PING whose `answer` is 2.", ("WIRE-CANON-1", "WIRE_NONCANONICAL")),
        (
            "payload-not-minimal",
            "080487000000".into(),
            "A PING whose nonce is longer than it needs to be.",
            ("WIRE-CANON-1", "WIRE_NONCANONICAL"),
        ),
        ("hello-trailing", format!("0014{hello}00"), "A HELLO with a byte behind it.", ("WIRE-CANON-2", "WIRE_LENGTH")),
        (
            "hello-extension-even",
            format!("0015{}010200", &hello[..36]),
            "A HELLO with an extension of an even id that nobody knows.",
            ("WIRE-EXT-1", "WIRE_UNKNOWN_CRITICAL"),
        ),
        (
            "extension-too-long",
            over("0887080700011b8108", "00", 1025),
            "An extension of 1,025 bytes.",
            ("WIRE-CAP-1", "WIRE_LIMIT"),
        ),
    ] {
        let input = unhex(&hex);
        let vector = Vector::invalid("wire", "frame", name, what, broken).input("bytes", bytes(&input));
        let unknown = Violation::new(Code::WIRE_UNKNOWN_CRITICAL, Clause::WIRE_FRAME_2);
        // Whether an unknown type is skipped is the link's decision, by its parity.
        let found = decode(&input).and_then(|message| message.ok_or(unknown));
        // A HELLO comes first, everything else once both sides are authenticated.
        let greeting = if input[0] == 0 { Vec::new() } else { greeting(4, 1, [0x5a; 32]) };
        let met = meet(Generation::V7, Generation::V1_4, [0x5a; 32], &[greeting, input].concat());
        book.same(&vector, "the link", met, Met::Ended(broken.1));
        book.refuse(vector, found);
    }
}

/// The message in a frame; none if its type is unknown.
fn decode(frame: &[u8]) -> Result<Option<Message>, Violation> {
    let mut framer = Framer::default();
    framer.push(frame);
    let frame = framer.next(Rules::ALL)?.expect("a vector holds a whole frame");
    Message::decode(Rules::ALL, frame.number, &frame.payload)
}

/// Longer frames are in their files only.
const SHOWN: usize = 240;
