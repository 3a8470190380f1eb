//! Content of files, and entries of the roster, by way of a mailbox.

use segue_proto::limits::PIECE;
use segue_proto::seal::{self, ContentKey, Wrapped};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::frame::Framer;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    BoxId, EntryKind, Error, Exts, Hash, Letter, Message, Piece, Put, RosterEntry, RosterMsg, Sealed, SessionId,
};
use segue_proto::{Code, Rules};
use segue_testkit::device::Command;

use super::E;
use super::keys::{Family, family};
use super::scene::{Mailbox, Shared, USES, envelopes, open, reported, sealed, shared};
use crate::cases::account::scene::entry;
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::verdict::Fault;

/// Takes the next PUT into this box.
fn put_to(lab: &mut Lab, mailbox: &Mailbox, of: BoxId) -> Done<Put> {
    lab.take(mailbox.link, "PUT of a piece", |message| match message {
        Message::Put(put) if put.to == of => Some(put.clone()),
        _ => None,
    })
}

/// The commands without which there is no account.
const FAMILY: &[&str] = &["use-mailbox", "write", "create-account", "accept-link", "confirm-link"];

pub(super) const CASES: &[Case] = &[
    works("service/content/put", &["SERVICE-CONTENT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        for (path, content) in [("short", short()), ("long", long())] {
            let (session, path, bytes) = (shared.session, path.into(), content.clone());
            lab.must(Command::WriteFile { session, path, content: bytes })?;
            shared.mailbox.serve(lab)?;
            let found = read(&shared.mailbox, &shared.key, shared.session, &content)?;
            ensure(found == content, "the content, in pieces in their order", format!("{} bytes", found.len()))?;
        }
        Ok(())
    })
    .needs(USES),
    works("service/content/put-before-it-was-used", &["SERVICE-CONTENT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        shared.mailbox.unlink(lab);
        let (session, content) = (shared.session, long());
        lab.must(Command::WriteFile { session, path: "long".into(), content: content.clone() })?;
        shared.mailbox.relink(lab)?;
        shared.mailbox.serve(lab)?;
        let found = read(&shared.mailbox, &shared.key, shared.session, &content)?;
        ensure(found == content, "what was written while there was no link", format!("{} bytes", found.len()))
    })
    .needs(USES),
    works("service/content/not-again", &["SERVICE-CONTENT-1"], E, |lab| {
        let mut shared = shared(lab)?;
        let (session, content) = (shared.session, long());
        lab.must(Command::WriteFile { session, path: "long".into(), content })?;
        shared.mailbox.serve(lab)?;
        let before: usize = shared.mailbox.boxes.values().map(Vec::len).sum();
        shared.mailbox.reboot(lab)?;
        shared.mailbox.serve(lab)?;
        let after: usize = shared.mailbox.boxes.values().map(Vec::len).sum();
        ensure(after == before, "nothing that is there", format!("{} envelopes more", after - before))
    })
    .needs(USES),
    works("service/content/goes-on-after-a-refusal", &["SERVICE-CONTENT-1", "SERVICE-PUT-3"], E, |lab| {
        let mut shared = shared(lab)?;
        let (session, content) = (shared.session, long());
        let at = shared.key.blob_box(&session, &blob_id(&content));
        lab.must(Command::WriteFile { session, path: "long".into(), content: content.clone() })?;
        while shared.mailbox.held(&at).is_empty() && shared.mailbox.step(lab) {}
        let second = put_to(lab, &shared.mailbox, at)?;
        let (session, code, ext) = (None.into(), Code::LIMIT_QUOTA.into(), Exts::empty());
        let refused = Error { req: second.req, session, code, definite: true, retry_after_ms: 1_000, ext };
        lab.send(shared.mailbox.link, refused);
        lab.pass(1_000_000);
        // It may look what is there. From the first piece on, no content that is longer than what a mailbox takes at once would
        // ever be there whole.
        while let Ok(fetch) = lab.take(shared.mailbox.link, "FETCH", |message| match message {
            Message::Fetch(fetch) if fetch.of == at => Some(fetch.clone()),
            _ => None,
        }) {
            let held = shared.mailbox.held(&at);
            let behind = held.iter().skip(usize::try_from(fetch.after).unwrap_or(usize::MAX)).cloned();
            let first = if fetch.after < held.len() as u64 { fetch.after + 1 } else { 0 };
            lab.send(shared.mailbox.link, envelopes(fetch.req, first, held.len() as u64, behind));
        }
        let again = put_to(lab, &shared.mailbox, at)?;
        ensure(again.envelope == second.envelope, "the piece that was refused", "another")?;
        shared.mailbox.put(lab, &again);
        shared.mailbox.serve(lab)?;
        let found = read(&shared.mailbox, &shared.key, shared.session, &content)?;
        ensure(found == content, "the content, in pieces in their order", format!("{} bytes", found.len()))
    })
    .needs(USES),
    works("service/content/sealed", &["SERVICE-SEAL-1"], E, |lab| {
        let mut shared = shared(lab)?;
        let (session, content) = (shared.session, short());
        lab.must(Command::WriteFile { session, path: "short".into(), content: content.clone() })?;
        shared.mailbox.serve(lab)?;
        let clear = |envelope: &Vec<u8>| envelope.windows(content.len()).any(|bytes| bytes == content);
        let found = shared.mailbox.boxes.values().flatten().any(clear);
        ensure(!found, "content that isn't found in the mailbox", "it is")
    })
    .needs(USES),
    works("service/content/taken", &["SERVICE-CONTENT-2"], E, taken).needs(USES),
    works("service/content/taken-when-it-comes-later", &["SERVICE-CONTENT-2"], E, |lab| {
        let mut shared = shared(lab)?;
        let (content, letter) = file(lab, &mut shared);
        shared.brings(lab, letter)?;
        holds(lab, &shared, "long", Hash::ZERO)?;
        put(lab, &mut shared, &content)?;
        holds(lab, &shared, "long", blob_id(&content))
    })
    .needs(USES),
    works("service/content/taken-over-a-restart", &["SERVICE-CONTENT-2"], E, |lab| {
        let mut shared = shared(lab)?;
        let (content, letter) = file(lab, &mut shared);
        shared.brings(lab, letter)?;
        let at = shared.key.blob_box(&shared.session, &blob_id(&content));
        let (_, list) = segue_proto::transfer::equal_list(&content);
        if let Some((_, bytes)) = list {
            put(lab, &mut shared, &bytes)?;
        }
        let first = seal_piece(&shared.key, &at, 0, &content[..PIECE]);
        shared.mailbox.add(lab, at, first);
        shared.mailbox.serve(lab)?;
        shared.mailbox.reboot(lab)?;
        put(lab, &mut shared, &content)?;
        holds(lab, &shared, "long", blob_id(&content))
    })
    .needs(USES),
    works("service/content/lack-told", &["SYNC-WHOLE-1"], E, |lab| {
        let mut shared = shared(lab)?;
        let session = shared.session;
        lab.must(Command::Pick { session, folders: vec!["letters".into()] })?;
        let (_, letter) = file(lab, &mut shared);
        shared.brings(lab, letter)?;
        holds(lab, &shared, "long", Hash::ZERO)?;
        let before = lacks_told(lab, &shared)?;
        ensure(before == 0, "nothing that is lacking, for what is left out isn't", before)?;
        lab.must(Command::Pick { session, folders: Vec::new() })?;
        shared.mailbox.serve(lab)?;
        let told = lacks_told(lab, &shared)?;
        ensure(told == 1, "one letter that says that content is lacking", told)
    })
    .needs(&["use-mailbox", "write", "pick"]),
    refused("service/content/out-of-order", &["SERVICE-CONTENT-3"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        let (content, letter) = file(lab, &mut shared);
        let at = shared.key.blob_box(&shared.session, &blob_id(&content));
        let second = seal_piece(&shared.key, &at, PIECE as u64, &content[PIECE..2 * PIECE]);
        // The operator mixed them up; the second is there again where it belongs.
        let mut held = pieces(&shared.key, &at, &content);
        held.insert(0, second);
        shared.mailbox.boxes.insert(at, held);
        let (_, list) = segue_proto::transfer::equal_list(&content);
        if let Some((_, bytes)) = list {
            put(lab, &mut shared, &bytes)?;
        }
        shared.brings(lab, letter)?;
        reported(lab, Code::SERVICE_ENVELOPE)?;
        holds(lab, &shared, "long", blob_id(&content))
    })
    .needs(USES),
    refused("service/content/other-bytes", &["TRANSFER-CHUNK-1"], E, taken, |lab| {
        let mut shared = shared(lab)?;
        let (content, letter) = file(lab, &mut shared);
        let at = shared.key.blob_box(&shared.session, &blob_id(&content));
        let other: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
        shared.mailbox.boxes.insert(at, pieces(&shared.key, &at, &other));
        let (_, list) = segue_proto::transfer::equal_list(&content);
        if let Some((_, bytes)) = list {
            put(lab, &mut shared, &bytes)?;
        }
        shared.brings(lab, letter)?;
        reported(lab, Code::DATA_HASH)?;
        holds(lab, &shared, "long", Hash::ZERO)
    })
    .needs(USES),
    works("service/roster/told", &["SERVICE-ROSTER-1"], E, |lab| {
        let family = family(lab)?;
        for peer in [&family.stay, &family.gone] {
            let told = notices(&family.mailbox, peer)?;
            let devices: Vec<_> = told.iter().map(|entry| entry.device).collect();
            let all = [lab.id(), family.stay.id, family.gone.id].iter().all(|device| devices.contains(device));
            ensure(all, "every entry of the account", format!("{devices:?}"))?;
        }
        Ok(())
    })
    .needs(FAMILY),
    works("service/roster/revocation-told", &["SERVICE-ROSTER-1"], E, |lab| {
        let mut family = family(lab)?;
        family.revokes(lab)?;
        let revoke = EntryKind::Revoke.number();
        let told = |peer| notices(&family.mailbox, peer).map(|told| told.iter().any(|entry| entry.kind == revoke));
        ensure(told(&family.stay)?, "the revocation, for the device that stays", "none")?;
        ensure(!told(&family.gone)?, "no word to the revoked device", "the revocation")
    })
    .needs(FAMILY),
    works("service/roster/taken", &["SERVICE-ROSTER-2"], E, revocation_taken).needs(FAMILY),
    refused("service/roster/by-a-stranger", &["SERVICE-ROSTER-2"], E, revocation_taken, |lab| {
        let mut family = family(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let (message, _) = revocation(lab, &family)?;
        tell(lab, &mut family, &stranger, message)?;
        reported(lab, Code::ACCOUNT_OTHER)?;
        let known = lab.account().is_some_and(|account| account.revoked.is_empty());
        ensure(known, "an account as it was", format!("{:?}", lab.account()))
    })
    .needs(FAMILY),
];

fn short() -> Vec<u8> {
    b"what nobody but these devices may read".to_vec()
}

/// Longer than two chunks and pieces, and a multiple of neither.
fn long() -> Vec<u8> {
    (0..150_001u32).map(|at| (at % 251) as u8).collect()
}

/// What the pieces in the box of a content come to.
fn read(mailbox: &Mailbox, key: &ContentKey, session: SessionId, content: &[u8]) -> Done<Vec<u8>> {
    let at = key.blob_box(&session, &blob_id(content));
    let mut found = Vec::new();
    for envelope in mailbox.held(&at) {
        let broken = |why| Fault::fail("a piece that opens", format!("one that breaks {why:?}"));
        let plain = seal::open_piece(Rules::ALL, key, &at, envelope).map_err(broken)?;
        let Piece { offset, bytes } = decode(Rules::ALL, &plain).map_err(broken)?;
        ensure(offset == found.len() as u64, "the next piece", offset)?;
        ensure(
            *envelope == seal_piece(key, &at, offset, &bytes),
            "an envelope that follows from the piece",
            "another",
        )?;
        found.extend_from_slice(&bytes);
    }
    Ok(found)
}

fn seal_piece(key: &ContentKey, at: &BoxId, offset: u64, bytes: &[u8]) -> Vec<u8> {
    let bytes = segue_proto::wire::Blob::new(bytes.to_vec()).unwrap_or_default();
    seal::seal_piece(Rules::ALL, key, at, &encode(&Piece { offset, bytes }))
}

fn pieces(key: &ContentKey, at: &BoxId, content: &[u8]) -> Vec<Vec<u8>> {
    let cut = content.chunks(PIECE).enumerate();
    cut.map(|(index, bytes)| seal_piece(key, at, (index * PIECE) as u64, bytes)).collect()
}

/// A member wrote a file: its content, and the letter that tells of it.
fn file(lab: &mut Lab, shared: &mut Shared) -> (Vec<u8>, Vec<u8>) {
    let content = long();
    shared.book.write_file("long", &content);
    let frames = shared.all_frames();
    let letter = shared.letter(&frames);
    let envelope = shared.seal(lab, &letter, &frames);
    (content, envelope)
}

/// The member puts a content with its chunk list, and the subject takes what it wants.
fn put(lab: &mut Lab, shared: &mut Shared, content: &[u8]) -> Done {
    let (blob, list) = segue_proto::transfer::equal_list(content);
    let list = list.map(|(list, bytes)| (list.hash, bytes));
    for (hash, bytes) in list.into_iter().chain([(blob, content.to_vec())]) {
        let at = shared.key.blob_box(&shared.session, &hash);
        for envelope in pieces(&shared.key, &at, &bytes) {
            if !shared.mailbox.held(&at).contains(&envelope) {
                shared.mailbox.add(lab, at, envelope);
            }
        }
    }
    shared.mailbox.serve(lab)
}

/// The subject says that it holds this content of a file.
fn holds(lab: &mut Lab, shared: &Shared, path: &str, content: Hash) -> Done {
    let files = lab.known(shared.session)?.files;
    ensure(files.get(path) == Some(&content), "the file with this content", format!("{files:?}"))
}

fn taken(lab: &mut Lab) -> Done {
    let mut shared = shared(lab)?;
    let (content, letter) = file(lab, &mut shared);
    put(lab, &mut shared, &content)?;
    shared.brings(lab, letter)?;
    shared.agrees(lab)?;
    holds(lab, &shared, "long", blob_id(&content))
}

/// How many of the subject's letters say that it lacks content after all.
fn lacks_told(lab: &Lab, shared: &Shared) -> Done<usize> {
    let mut told = 0;
    for envelope in shared.mailbox.held(&shared.at()) {
        let (letter, frames) = open(&shared.key, &shared.at(), envelope)?;
        let broken = |why| Fault::fail("a letter of frames", format!("one that breaks {why:?}"));
        let mut framer = Framer::default();
        framer.push(&frames);
        while let Some(frame) = framer.next(Rules::ALL).map_err(broken)? {
            let message = Message::decode(Rules::ALL, frame.number, &frame.payload).map_err(broken)?;
            let says = matches!(&message, Some(Message::Mark(mark)) if mark.ext.iter().any(|ext| ext.id == 1));
            told += usize::from(says && letter.from == lab.id());
        }
    }
    Ok(told)
}

/// The entries that letters in a device's inbox hold, by whomever.
fn notices(mailbox: &Mailbox, device: &Peer) -> Done<Vec<RosterEntry>> {
    let broken = |why| Fault::fail("a letter of the roster", format!("one that breaks {why:?}"));
    let inbox = seal::inbox(&device.id);
    let mut entries = Vec::new();
    for envelope in mailbox.held(&inbox) {
        let wrapped = Wrapped { device: device.id, envelope: envelope.clone() };
        if !wrapped.is_notice() {
            continue;
        }
        let plain = seal::unwrap(&device.key, &wrapped);
        let plain = plain.ok_or_else(|| Fault::fail("an envelope for this device", "one that doesn't open"))?;
        let Sealed { letter, frames } = decode::<Sealed>(Rules::ALL, &plain).map_err(broken)?;
        let letter = letter.prove(Rules::ALL, |letter| letter.from).map_err(broken)?;
        let fits = letter.body().to == inbox && letter.body().session.is_zero();
        ensure(fits && letter.body().frames == blob_id(&frames), "a letter for this inbox", format!("{letter:?}"))?;
        let mut framer = Framer::default();
        framer.push(&frames);
        while let Some(frame) = framer.next(Rules::ALL).map_err(broken)? {
            let message = Message::decode(Rules::ALL, frame.number, &frame.payload).map_err(broken)?;
            let Some(Message::Roster(roster)) = message else {
                return Err(Fault::fail("ROSTER, and nothing else", format!("{message:?}")));
            };
            for entry in roster.entries.into_vec() {
                let entry = entry.prove(Rules::ALL, |entry| entry.signer).map_err(broken)?;
                entries.push(entry.body().clone());
            }
        }
    }
    Ok(entries)
}

/// A ROSTER by which the device that stays revokes the other, and the entry's id.
fn revocation(lab: &Lab, family: &Family) -> Done<(RosterMsg, Hash)> {
    let _ = lab;
    let parent = family.heads.last().copied().unwrap_or(Hash::ZERO);
    let body = entry(EntryKind::Revoke, family.account, &[parent], &family.stay, family.gone.id);
    let signed = family.stay.sign(&body);
    let id = signed.id();
    let heads = segue_proto::wire::List::new(vec![id]).unwrap_or_default();
    let entries = segue_proto::wire::List::new(vec![signed]).unwrap_or_default();
    let ext = segue_proto::wire::Exts::empty();
    Ok((RosterMsg { account: family.account, heads, entries, more: false, ext }, id))
}

/// A device puts a ROSTER into the subject's inbox.
fn tell(lab: &mut Lab, family: &mut Family, by: &Peer, message: RosterMsg) -> Done {
    let (id, frames) = (lab.id(), Message::from(message).to_frame());
    let inbox = seal::inbox(&id);
    let letter = Letter { from: by.id, session: SessionId::ZERO, to: inbox, count: 0, frames: blob_id(&frames) };
    let plain = sealed(by, &letter, &frames);
    let envelope = seal::wrap_notice(&id, lab.rng.array(), &plain).unwrap_or_default();
    family.mailbox.add(lab, inbox, envelope);
    family.mailbox.serve(lab)
}

fn revocation_taken(lab: &mut Lab) -> Done {
    let mut family = family(lab)?;
    let (message, _) = revocation(lab, &family)?;
    let by = family.stay.clone();
    tell(lab, &mut family, &by, message)?;
    let revoked = lab.account().map(|account| account.revoked).unwrap_or_default();
    ensure(revoked == [family.gone.id], "a revoked device", format!("{revoked:?}"))
}
