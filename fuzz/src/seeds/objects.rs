//! One valid encoding of everything that has one.

use segue_proto::data::{Entry, Manifest, OpHeader, State, actor_id, header, session_id};
use segue_proto::handoff::ack_message;
use segue_proto::transfer::{ChunkList, equal_list};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::frame::Framer;
use segue_proto::wire::{
    Ack, ActorId, Announced, Auth, Blob, Bytes, Cancel, Decline, Error, Exts, Final, Genesis, Get, Goaway, Grant, Hash,
    Have, Head, Held, Hello, Kind, List, Message, Nonce, Offer, OfferMsg, Op, Ping, Range, Ranges, Receipt, Record,
    SessionId, Sig, Signed, SignedBody, Statement, Tally, Text, Want, WantMsg, sign_message,
};
use segue_proto::{Code, Rules};

use super::{device, key, named, small_manifest};

const SESSION: SessionId = SessionId::new([6; 16]);

pub(super) fn frames() -> Vec<(String, Vec<u8>)> {
    messages().iter().map(|message| (message.row().name.to_lowercase(), frame_seed(message))).collect()
}

/// A row of the table, and the payload.
fn frame_seed(message: &Message) -> Vec<u8> {
    let at = Message::TABLE.iter().position(|row| row.number == message.row().number).unwrap_or_default();
    let mut framer = Framer::default();
    framer.push(&message.to_frame());
    let payload = framer.next(Rules::ALL).ok().flatten().map(|frame| frame.payload);
    [vec![at as u8], payload.unwrap_or_default()].concat()
}

pub(super) fn signed() -> Vec<(String, Vec<u8>)> {
    fn seed<T: SignedBody>(kind: u8, object: &Signed<T>) -> Vec<u8> {
        let key = device(2);
        [&[kind], key.as_bytes().as_slice(), object.sig().as_bytes(), object.body_bytes()].concat()
    }
    let all = [seed(0, &record()), seed(1, &end()), seed(2, &want()), seed(3, &offer())];
    named("signed", all.into_iter().chain([seed(0, &genesis())]))
}

/// Receipts that hold, one by each side.
pub(super) fn receipts() -> Vec<(String, Vec<u8>)> {
    let nonce = Nonce::new([8; 16]);
    let session = session_id(&device(1), &nonce);
    let members = List::new(vec![device(2)]).unwrap_or_default();
    let genesis = Record::genesis(session, device(1), actor_id(&device(1), &nonce), Genesis { nonce, members });
    let genesis = Signed::sign(&genesis, &key(1));
    let want = Want { session, parent: genesis.id(), target: device(2), ..opened(&want()) };
    let want = Signed::sign(&want, &key(2));
    let record = Record {
        kind: Kind::Grant.number(),
        parent: genesis.id(),
        n: 1,
        owner: device(2),
        grantor: device(2),
        want: want.id(),
        genesis: None.into(),
        ..opened(&genesis)
    };
    let record = Signed::sign(&record, &key(1));
    let end = Signed::sign(&Final { session, parent: genesis.id(), ..opened(&end()) }, &key(1));
    let ack = Ack { record: record.id(), sig: sign_message(&ack_message(&record.id()), &key(2)) };
    let receipt = |by: u8| {
        let moved = List::new(vec![Tally { kind: 3, parts: 2, bytes: 70_000 }]).unwrap_or_default();
        let statement = Statement { session, record: record.id(), by: device(by), moved, left: List::empty() };
        let statement = Signed::sign(&statement, &key(by));
        let chain = List::new(vec![genesis.clone(), record.clone()]).unwrap_or_default();
        let (want, end, ack) = (want.clone(), end.clone(), Some(ack.clone()).into());
        Receipt { chain, want, end, ack, statement }.to_bytes()
    };
    named("receipt", [receipt(1), receipt(2)])
}

/// The body of what this file signed.
fn opened<T: SignedBody>(signed: &Signed<T>) -> T {
    match signed.open(Rules::ALL) {
        Ok(body) => body,
        Err(why) => unreachable!("a seed doesn't open: {why}"),
    }
}

pub(super) fn framer() -> Vec<(String, Vec<u8>)> {
    let all: Vec<u8> = messages().iter().flat_map(Message::to_frame).collect();
    let grease = [0x21, 3, 1, 2, 3];
    let numbers = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let seeds: [&[u8]; 4] = [&all[..600], &grease, &numbers, &[0x81, 0x01, 0x80, 0x80, 0x04]];
    named("stream", seeds.map(|seed| [&[1, 2], seed].concat()))
}

pub(super) fn data() -> Vec<(String, Vec<u8>)> {
    let manifest = manifest();
    let listed = vec![9; 150_000];
    let list = equal_list(&listed).1.map(|(_, bytes)| bytes).unwrap_or_default();
    debug_assert!(decode::<ChunkList>(Rules::ALL, &list).is_ok());
    let part = manifest.parts.first().cloned();
    let value = part.as_ref().and_then(|part| part.shown().cloned());
    let entry = manifest.entries().next().map(|(_, entry): (_, Entry)| entry.to_bytes());
    let op_header: Option<OpHeader> = value.as_ref().map(|value| header(&value.op));
    let seeds = [
        [&[0], SESSION.as_bytes().as_slice(), &manifest.to_bytes()].concat(),
        [&[1], entry.unwrap_or_default().as_slice()].concat(),
        [vec![2], op_header.map_or_else(Vec::new, |it| encode(&it))].concat(),
        [vec![3], part.map_or_else(Vec::new, |it| encode(&it))].concat(),
        [vec![4], value.as_ref().map_or_else(Vec::new, encode)].concat(),
        [vec![5], list].concat(),
        [vec![6], value.map_or_else(Vec::new, |it| encode(&it.op))].concat(),
    ];
    named("object", seeds)
}

/// One message of every type.
pub(super) fn messages() -> Vec<Message> {
    let (ext, session, blob) = (Exts::empty(), SESSION, Hash::new([4; 32]));
    let code = Code::HO_DECLINED.into();
    let ranges = List::new(vec![Range { offset: 0, len: 65_536 }]).unwrap_or_default();
    let ack = Ack { record: record().id(), sig: Sig::new([1; 64]) };
    let records = List::new(vec![genesis(), record()]).unwrap_or_default();
    let ops: Vec<Op> = manifest().parts.iter().filter_map(|part| part.shown().map(|it| it.op.clone())).collect();
    let ops = List::new(ops).unwrap_or_default();
    let parts = manifest().parts.iter().filter_map(|part| Blob::new(encode(part))).collect();
    let parts = List::new(parts).unwrap_or_default();
    vec![
        Hello { generation: 4, floor: 1, boot: Nonce::new([1; 16]), ext: ext.clone() }.into(),
        Auth { key: device(2), sig: Sig::new([2; 64]), ext: ext.clone() }.into(),
        Error { req: 1, session: Some(session).into(), code, definite: true, retry_after_ms: 0, ext: ext.clone() }
            .into(),
        Goaway { code, ext: ext.clone() }.into(),
        Ping { nonce: 7, answer: false, ext: ext.clone() }.into(),
        Have { req: 1, session, head: blob, data: Some(announced()).into(), ext: ext.clone() }.into(),
        Get { req: 2, session, blob, len: 10, ext: ext.clone() }.into(),
        Bytes { req: 2, blob, offset: 0, len: 10, ext: ext.clone() }.into(),
        WantMsg { req: 3, want: want(), ext: ext.clone() }.into(),
        Grant { req: 3, want: want(), record: record(), end: end(), ops, parts, ext: ext.clone() }.into(),
        Head { session, records, more: false, ack: Some(ack).into(), ext: ext.clone() }.into(),
        OfferMsg { req: 4, offer: offer(), ext: ext.clone() }.into(),
        Decline { session, subject: blob, code, ext: ext.clone() }.into(),
        Cancel { session, subject: blob, code, ext: ext.clone() }.into(),
        Ranges { req: 5, session, blob, len: 150_000, ranges, ext }.into(),
    ]
    .into_iter()
    .chain(super::sync::messages())
    .collect()
}

fn manifest() -> Manifest {
    small_manifest(SESSION, &[b"one".to_vec(), b"two".to_vec()])
}

fn announced() -> Announced {
    manifest().announce().0
}

fn body(kind: Kind, parent: Hash, genesis: Option<Genesis>) -> Record {
    let me = device(2);
    let n = u64::from(kind != Kind::Genesis);
    let want = Hash::new([9; 32]);
    Record {
        kind: kind.number(),
        session: SESSION,
        parent,
        term: 0,
        n,
        signer: me,
        owner: me,
        grantor: me,
        want,
        roster: Hash::ZERO,
        genesis: genesis.into(),
    }
}

fn genesis() -> Signed<Record> {
    let members = List::new(vec![device(1)]).unwrap_or_default();
    let genesis = Genesis { nonce: Nonce::new([1; 16]), members };
    Signed::sign(&body(Kind::Genesis, Hash::ZERO, Some(genesis)), &key(2))
}

fn record() -> Signed<Record> {
    Signed::sign(&body(Kind::Grant, genesis().id(), None), &key(2))
}

fn end() -> Signed<Final> {
    let exclusive = State::from_manifest(manifest()).exclusive_root();
    let Announced { root, manifest, manifest_len } = announced();
    Signed::sign(&Final { session: SESSION, parent: genesis().id(), root, exclusive, manifest, manifest_len }, &key(2))
}

fn want() -> Signed<Want> {
    let Announced { root, manifest, .. } = announced();
    let want = Want {
        session: SESSION,
        parent: genesis().id(),
        target: device(2),
        actor: ActorId::new([3; 32]),
        nonce: Nonce::new([4; 16]),
        mode: 0,
        offer: None.into(),
        have: Some(Held { root, manifest }).into(),
        need: List::empty(),
        pick: List::empty(),
        ttl: 60_000,
    };
    Signed::sign(&want, &key(2))
}

fn offer() -> Signed<Offer> {
    let Announced { root, manifest, manifest_len } = announced();
    let (parent, nonce, name) = (genesis().id(), Nonce::new([5; 16]), Text::new("notes").unwrap_or_default());
    let (source, target) = (device(2), device(1));
    let offer =
        Offer { session: SESSION, parent, source, target, nonce, root, manifest, manifest_len, name, ttl: 60_000 };
    Signed::sign(&offer, &key(2))
}
