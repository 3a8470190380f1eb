//! The user writes while a handoff runs: what goes inline, what waits, and which consents stay good.

use segue_proto::data::PartKind;
use segue_proto::limits::{MAX_INLINE_OPS, MAX_OP_BODY, MAX_PAUSE, MAX_STAGED};
use segue_proto::wire::{Announced, Hash, Held, Message, PartId, WantMode};
use segue_proto::{Code, Generation, SessionRole};
use segue_testkit::device::Command;

use super::grant::check;
use crate::cases::scene::{Owning, owning, serve_until_want, take_grant, wanting};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Draft;

const S: Part = Part::Source;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    works("handoff/pace/many-writes-go-as-a-part", &["HO-GRANT-12", "HO-GRANT-4", "DATA-ROOT-1"], S, |lab| {
        let own = owning(lab)?;
        for at in 0..=MAX_INLINE_OPS {
            let bytes = format!("cursor {at}").into_bytes();
            lab.must(Command::WriteExclusive { session: own.session, bytes })?;
        }
        granted_with_parts(lab, &own, 1)
    }),
    works("handoff/pace/long-writes-go-as-a-part", &["HO-GRANT-12", "DATA-ROOT-1"], S, |lab| {
        let own = owning(lab)?;
        for at in 0..3 {
            lab.must(Command::WriteExclusive { session: own.session, bytes: vec![at; 12_000] })?;
        }
        granted_with_parts(lab, &own, 1)
    }),
    works("handoff/pace/new-part-goes-whole", &["HO-GRANT-12", "DATA-OP-7"], S, |lab| {
        let own = owning(lab)?;
        lab.must(write(&own, 1, 100))?;
        granted_with_parts(lab, &own, 1)
    })
    .needs(&["write"]),
    works("handoff/pace/writes-wait", &["HO-PACE-1", "HO-GRANT-4"], S, |lab| {
        let (own, data) = outgrown(lab)?;
        outstanding(lab, &own)?;
        lab.must_not(write(&own, 6, 16_000))?;
        lab.must(Command::WriteFile { session: own.session, path: "more.txt".into(), content: b"more".to_vec() })?;
        let held = Some(Held { root: data.root, manifest: data.manifest });
        let want = own.peer.want(&mut lab.rng, own.session, own.book.head(), held);
        own.send_want(lab, 42, &want);
        let grant = take_grant(lab, own.link)?;
        let end = grant.end.open(segue_proto::Rules::ALL);
        ensure(end.is_ok_and(|end| end.manifest == data.manifest), "a FINAL of what the HAVE announced", "another")
    })
    .needs(&["write"]),
    works("handoff/pace/writes-go-on-after-a-pause", &["HO-PACE-1"], S, |lab| {
        let (own, _) = outgrown(lab)?;
        outstanding(lab, &own)?;
        lab.must_not(write(&own, 6, 16_000))?;
        own.wait(lab, MAX_PAUSE)?;
        lab.must(write(&own, 6, 16_000)).map(|_| ())
    })
    .needs(&["write"]),
    works("handoff/pace/writes-go-on-without-the-link", &["HO-PACE-1"], S, |lab| {
        let (own, _) = outgrown(lab)?;
        outstanding(lab, &own)?;
        lab.must_not(write(&own, 6, 16_000))?;
        lab.link_down(own.link);
        lab.must(write(&own, 6, 16_000)).map(|_| ())
    })
    .needs(&["write"]),
    works("handoff/pace/standing-want-is-kept-good", &["HO-WANT-9", "HO-WANT-10"], S, |lab| {
        let own = owning(lab)?;
        let mut want = own.want(lab);
        want.mode = WantMode::Standing.number();
        own.send_want(lab, 41, &want);
        outstanding(lab, &own)?;
        lab.none(own.link, "HAVE while all goes inline", |message| announces(message, &own).is_some())?;
        lab.must(write(&own, 6, 16_000))?;
        let data = lab.take(own.link, "a HAVE that announces data", |message| announces(message, &own))?;
        ensure(data.manifest != own.data.manifest, "another manifest", "the same")?;
        lab.must(write(&own, 7, 16_000))?;
        lab.none(own.link, "second HAVE for one WANT", |message| announces(message, &own).is_some())?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(Generation::V2)
    .needs(&["write"]),
    works("handoff/pace/standing-want-that-names-too-little", &["HO-WANT-9"], S, |lab| {
        let own = owning(lab)?;
        let mut want = own.want(lab);
        want.mode = WantMode::Standing.number();
        want.have = Some(Held { root: own.data.root, manifest: Hash::new([7; 32]) }).into();
        own.send_want(lab, 41, &want);
        let data = lab.take(own.link, "a HAVE that announces data", |message| announces(message, &own))?;
        ensure(data == own.data, "the data that was announced before", "other")?;
        lab.none(own.link, "second HAVE for one WANT", |message| announces(message, &own).is_some())?;
        want.have = Some(Held { root: data.root, manifest: data.manifest }).into();
        own.send_want(lab, 42, &want);
        lab.none(own.link, "HAVE for a WANT that suffices", |message| announces(message, &own).is_some())?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(Generation::V2),
    works("handoff/pace/standing-want-that-names-nothing", &["HO-WANT-9"], S, |lab| {
        let own = owning(lab)?;
        let mut want = own.want(lab);
        want.mode = WantMode::Standing.number();
        want.have = None.into();
        own.send_want(lab, 41, &want);
        let data = lab.take(own.link, "a HAVE that announces data", |message| announces(message, &own))?;
        ensure(data == own.data, "the data that was announced before", "other")?;
        lab.none(own.link, "second HAVE for one WANT", |message| announces(message, &own).is_some())?;
        lab.is(own.session, SessionRole::Primary)
    })
    .since(Generation::V2),
    works("handoff/pace/parts-come-whole", &["DATA-OP-7", "DATA-ROOT-1", "HO-GRANT-12"], T, with_parts),
    works("handoff/pace/new-part-comes-whole", &["DATA-OP-7", "DATA-ROOT-1"], T, |lab| {
        let mut scene = wanting(lab)?;
        let new = PartId::new([7; 16]);
        scene.book.put(new, PartKind::Exclusive, b"new".to_vec());
        finish(&mut scene.draft, &scene.book, &[new]);
        scene.succeeds(lab)?;
        let state = lab.known(scene.book.id)?;
        ensure(state.root == scene.draft.end.root, "the root of FINAL", format!("{:?}", state.root))
    }),
    refused("handoff/pace/part-of-a-file", &["DATA-OP-7"], T, with_parts, |lab| {
        let mut scene = wanting(lab)?;
        scene.book.write_file("notes.txt", b"two");
        let file = scene.book.state.parts().find(|part| part.kind == PartKind::Blob.number()).map(|part| part.part);
        finish(&mut scene.draft, &scene.book, &[file.unwrap_or(PartId::ZERO)]);
        scene.refused(lab, Code::DATA_MANIFEST)
    }),
    refused("handoff/pace/part-comes-twice", &["DATA-OP-7"], T, with_parts, |lab| {
        let mut scene = wanting(lab)?;
        scene.book.write_exclusive(b"cursor 2");
        let part = scene.book.exclusive;
        finish(&mut scene.draft, &scene.book, &[part, part]);
        scene.refused(lab, Code::DATA_MANIFEST)
    }),
    refused("handoff/pace/part-with-an-op-beside", &["DATA-OP-7"], T, with_parts, |lab| {
        let mut scene = wanting(lab)?;
        let op = scene.book.write_exclusive(b"cursor 2");
        let part = scene.book.exclusive;
        finish(&mut scene.draft, &scene.book, &[part]);
        scene.draft.ops = op.into_iter().collect();
        scene.refused(lab, Code::DATA_MANIFEST)
    }),
    refused("handoff/pace/part-with-another-body", &["DATA-OP-7", "DATA-OP-1"], T, with_parts, |lab| {
        let mut scene = wanting(lab)?;
        scene.book.write_exclusive(b"cursor 2");
        let part = scene.book.exclusive;
        finish(&mut scene.draft, &scene.book, &[part]);
        for part in &mut scene.draft.parts {
            let mut values = part.values.to_vec();
            values.iter_mut().for_each(|value| value.op = crate::peer::with_body(&value.op, b"cursor 9"));
            part.values = segue_proto::wire::List::new(values).unwrap_or_default();
        }
        scene.refused(lab, Code::DATA_HASH)
    }),
    works("handoff/pace/more-rounds-than-are-kept", &["TRANSFER-HAVE-2"], T, |lab| {
        let scene = wanting(lab)?;
        let mut book = scene.book.clone();
        let mut last = None;
        for round in 0..=MAX_STAGED {
            book.write_file("later.txt", format!("round {round}").as_bytes());
            let data = book.announce();
            lab.send(scene.link, book.have(Some(data.clone())));
            last = Some((serve_until_want(lab, scene.link, &book)?, data));
        }
        let Some(((req, want), data)) = last else { return Ok(()) };
        let draft = Draft::new(&scene.peer, &book, req, &want, scene.want.target, &data);
        crate::cases::scene::Wanting { draft, data, book, ..scene }.succeeds(lab)
    }),
];

/// The peer says WANT with what it learnt first; the GRANT brings so many parts whole, and no op.
fn granted_with_parts(lab: &mut Lab, own: &Owning, count: usize) -> Done {
    let want = own.want(lab);
    let want = own.send_want(lab, 41, &want);
    let grant = take_grant(lab, own.link)?;
    ensure(grant.parts.len() == count, "parts that go whole", grant.parts.len())?;
    check(lab, own, &want, &grant, 41)
}

/// Writes a further exclusive part.
fn write(own: &Owning, part: u8, len: usize) -> Command {
    let (session, part, kind) = (own.session, PartId::new([part; 16]), PartKind::Exclusive.number());
    Command::Write { session, part, kind, body: vec![7; len], resolves: false }
}

/// The subject wrote more than goes inline, and the peer's WANT was answered by another manifest.
fn outgrown(lab: &mut Lab) -> Done<(Owning, Announced)> {
    let own = owning(lab)?;
    for part in 1..=3 {
        lab.must(write(&own, part, 16_000))?;
    }
    let want = own.want(lab);
    own.send_want(lab, 41, &want);
    let data = lab.take(own.link, "a HAVE that announces data", |message| announces(message, &own))?;
    Ok((own, data))
}

/// Exclusive writes of 32 KiB, which never wait: they go inline with the next GRANT.
fn outstanding(lab: &mut Lab, own: &Owning) -> Done {
    lab.must(write(own, 4, MAX_OP_BODY))?;
    lab.must(write(own, 5, MAX_OP_BODY)).map(|_| ())
}

fn announces(message: &Message, own: &Owning) -> Option<Announced> {
    match message {
        Message::Have(have) if have.session == own.session => have.data.get().cloned(),
        _ => None,
    }
}

/// A GRANT of the book as it is now, whose target holds what was announced: these parts go whole.
fn finish(draft: &mut Draft, book: &crate::peer::Book, parts: &[PartId]) {
    draft.parts = parts.iter().filter_map(|part| book.state.part(part).cloned()).collect();
    (draft.end.root, draft.end.exclusive) = (book.state.root(), book.state.exclusive_root());
}

/// The subject wants; the owner writes twice more, and grants with that part whole.
fn with_parts(lab: &mut Lab) -> Done {
    let mut scene = wanting(lab)?;
    for value in ["cursor 2", "cursor 3"] {
        scene.book.write_exclusive(value.as_bytes());
    }
    let part = scene.book.exclusive;
    finish(&mut scene.draft, &scene.book, &[part]);
    scene.succeeds(lab)?;
    let state = lab.known(scene.book.id)?;
    ensure(state.root == scene.draft.end.root, "the root of FINAL", format!("{:?}", state.root))?;
    ensure(state.exclusive.as_deref() == Some(b"cursor 3"), "the last write", format!("{:?}", state.exclusive))
}
