//! What the subject says that it holds, the content that it gets, and handoffs while sync goes on.

use segue_proto::sync::is_whole;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Message, PartId};
use segue_testkit::device::Command;

use super::parts;
use super::scene::{Fed, LOG, PATIENCE, fed, followed, following, take_since};
use super::{S, T};
use crate::cases::scene::{introduce, serve_all, serve_until_want, take_grant, take_want, wanting};
use crate::cases::{Case, Level, refused, works};
use crate::lab::{Done, Lab, ensure};

pub(super) const CASES: &[Case] = &[
    works("sync/mark/answered-when-durable", &["SYNC-MARK-1"], S, |lab| {
        let mut fed = fed(lab)?;
        lab.syncs = false;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        fed.mark(lab, 9);
        let held = |message: &Message| matches!(message, Message::Since(since) if since.log == LOG && since.at == 9);
        lab.none(fed.link, "SINCE before what it says is durable", held)?;
        lab.sync();
        fed.holds(lab, 9)
    }),
    works("sync/mark/of-nothing-new", &["SYNC-MARK-1"], S, |lab| {
        let fed = fed(lab)?;
        fed.mark(lab, 4);
        fed.holds(lab, 4)?;
        fed.mark(lab, 5);
        fed.holds(lab, 5)
    }),
    works("sync/mark/kept-over-a-restart", &["SYNC-MARK-1", "SYNC-ASK-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        fed.mark(lab, 9);
        fed.holds(lab, 9)?;
        lab.reboot()?;
        fed.link = lab.connect(&fed.peer)?;
        fed.holds(lab, 9)?;
        fed.agrees(lab)
    }),
    works("sync/mark/kept-for-the-next-link", &["SYNC-MARK-1", "SYNC-ASK-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.mark(lab, 9);
        fed.holds(lab, 9)?;
        fed.link_again(lab)?;
        fed.holds(lab, 9)
    }),
    works("sync/mark/lost-with-what-was-not-durable", &["SYNC-MARK-1"], S, |lab| {
        let mut fed = fed(lab)?;
        lab.syncs = false;
        fed.write_title(b"theirs");
        fed.send_parts(lab, &[fed.title()]);
        fed.mark(lab, 9);
        lab.syncs = true;
        lab.reboot()?;
        fed.link = lab.connect(&fed.peer)?;
        let asked = take_since(lab, fed.link, fed.session())?;
        ensure(asked.at == 0, "a SINCE from before", asked.at)?;
        fed.send_parts(lab, &[fed.title()]);
        fed.mark(lab, 9);
        fed.holds(lab, 9)?;
        fed.agrees(lab)
    }),
    works("sync/mark/ops-kept-over-a-restart", &["SYNC-MARK-1", "DATA-STREAM-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.write_diary(3);
        fed.send_diary(lab);
        fed.mark(lab, 3);
        fed.holds(lab, 3)?;
        lab.reboot()?;
        fed.link = lab.connect(&fed.peer)?;
        fed.holds(lab, 3)?;
        fed.agrees(lab)?;
        fed.write_diary(1);
        lab.send(fed.link, fed.strand(0, fed.book.actor(), 3));
        lab.send(fed.link, fed.ops(0, fed.book.actor(), 3, &[]));
        fed.agrees(lab)
    }),
    refused("sync/mark/behind-what-was-refused", &["SYNC-MARK-1"], S, parts::taken, |lab| {
        let mut fed = fed(lab)?;
        let before = fed.root(lab)?;
        fed.write_title(b"theirs");
        let title = fed.title();
        let log =
            segue_proto::data::Part { kind: 2, ..fed.book.state.part(&title).cloned().unwrap_or_else(|| empty(title)) };
        fed.send_copies(lab, &[log]);
        lab.refuses(fed.link, 0, segue_proto::Code::DATA_MANIFEST)?;
        lab.skip(fed.link);
        fed.send_parts(lab, &[title]);
        fed.mark(lab, 9);
        lab.alive(fed.link)?;
        lab.none(fed.link, "SINCE for a position that isn't held", |message| matches!(message, Message::Since(_)))?;
        ensure(fed.root(lab)? == before, "nothing more of the session on this link", "other data")?;
        fed.link_again(lab)?;
        let asked = take_since(lab, fed.link, fed.session())?;
        ensure(asked.at == 0, "a SINCE from what is held", asked.at)?;
        fed.send_parts(lab, &[title]);
        fed.mark(lab, 9);
        fed.holds(lab, 9)?;
        fed.agrees(lab)
    }),
    Case {
        level: Level::Should,
        ..works("sync/content/fetched", &["SYNC-CONTENT-1"], S, |lab| {
            let mut fed = fed(lab)?;
            fed.book.write_file("more.txt", b"written there");
            let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
            fed.send_parts(lab, &all);
            fed.mark(lab, 9);
            let files = lab.known(fed.session())?.files;
            let there = files.get("more.txt").is_some_and(|content| content.is_zero());
            ensure(there, "a file whose content isn't held yet", format!("{files:?}"))?;
            serve_all(lab, fed.link, &fed.book)?;
            let files = lab.known(fed.session())?.files;
            let held = files.get("more.txt") == Some(&blob_id(b"written there"));
            ensure(held, "the file, whole", format!("{files:?}"))
        })
    },
    works("sync/content/not-said-to-be-whole-before", &["SYNC-WHOLE-1"], S, |lab| lacking(lab).map(drop))
        .needs(&["use-mailbox"]),
    Case {
        level: Level::Should,
        ..works("sync/content/said-to-be-whole", &["SYNC-WHOLE-1"], S, |lab| {
            let fed = lacking(lab)?;
            serve_all(lab, fed.link, &fed.book)?;
            let said = take_since(lab, fed.link, fed.session())?;
            ensure(
                said.at == 9 && is_whole(&said.ext),
                "a SINCE that says that no content is missing",
                format!("{said:?}"),
            )
        })
        .needs(&["use-mailbox"])
    },
    works("sync/content/not-said-to-be-held-before", &["SYNC-CONTENT-1", "TRANSFER-HAVE-1"], T, |lab| {
        let mut fed = followed(lab)?;
        let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
        fed.send_parts(lab, &all);
        fed.mark(lab, 3);
        fed.holds(lab, 3)?;
        fed.agrees(lab)?;
        lab.must(Command::Request { session: fed.session(), from: fed.peer.id, timeout_us: PATIENCE })?;
        let data = fed.book.announce();
        // Whether the subject asks once more is its own affair.
        let _ = introduce(lab, fed.link, &fed.book, &data);
        let early = take_want(lab, fed.link).ok().and_then(|(_, want)| want.open(segue_proto::Rules::ALL).ok());
        let claims = early.is_some_and(|want| want.have.get().is_some_and(|have| have.manifest == data.manifest));
        ensure(!claims, "no WANT that says that all content is held", "one")?;
        serve_until_want(lab, fed.link, &fed.book).map(|_| ())
    })
    .needs(&["follow"]),
    works("sync/handoff/shared-writes-while-the-want-is-out", &["HO-GRANT-7", "DATA-ROOT-1"], T, |lab| {
        let scene = wanting(lab)?;
        let mut fed = Fed::beside(&scene);
        fed.write_title(b"written meanwhile");
        fed.write_diary(2);
        fed.send_parts(lab, &[fed.title()]);
        fed.send_diary(lab);
        scene.succeeds(lab)?;
        fed.agrees(lab)
    }),
    works("sync/handoff/own-data-has-gone-on", &["HO-GRANT-7", "DATA-ROOT-1"], T, |lab| {
        let fed = following(lab)?;
        let scene = fed.pull(lab)?;
        let mut fed = Fed::beside(&scene);
        fed.write_title(b"written meanwhile");
        fed.send_parts(lab, &[fed.title()]);
        scene.succeeds(lab)?;
        fed.agrees(lab)
    })
    .needs(&["follow"]),
    works("sync/handoff/last-exclusive-write-came-before", &["HO-GRANT-10", "DATA-ROOT-1"], T, |lab| {
        let fed = following(lab)?;
        let mut scene = fed.pull(lab)?;
        let mut fed = Fed::beside(&scene);
        let op = fed.book.write_exclusive(b"the last");
        fed.send_parts(lab, &[fed.book.exclusive()]);
        fed.write_title(b"written meanwhile");
        fed.send_parts(lab, &[fed.title()]);
        scene.draft.ops = op.into_iter().collect();
        scene.draft.end.exclusive = fed.book.state.exclusive_root();
        let manifest = scene.book.state.to_manifest().apply(segue_proto::Rules::ALL, &scene.draft.ops);
        let root = manifest.map(|manifest| manifest.root());
        scene.draft.end.root = root.unwrap_or(segue_proto::wire::Hash::ZERO);
        scene.succeeds(lab)?;
        fed.agrees(lab)
    })
    .needs(&["follow"]),
    works("sync/handoff/source-writes-while-the-target-fetches", &["HO-GRANT-4", "DATA-ROOT-1"], S, |lab| {
        let fed = fed(lab)?;
        let Some(own) = &fed.own else { return Ok(()) };
        lab.must(fed.subject_writes(b"meanwhile", false))?;
        lab.must(Command::WriteFile { session: fed.session(), path: "new".into(), content: b"new".to_vec() })?;
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        let grant = take_grant(lab, own.link)?;
        let end = grant.end.open(segue_proto::Rules::ALL);
        let named = end.is_ok_and(|end| end.manifest == own.data.manifest && end.root == own.data.root);
        ensure(named, "a FINAL of the manifest that was announced", "another")
    })
    .needs(&["write"]),
];

/// The subject uses a mailbox, and has taken in a file without its content. It doesn't say that it has all.
fn lacking(lab: &mut Lab) -> Done<Fed> {
    let mut fed = fed(lab)?;
    let mailbox = crate::peer::Peer::new(&mut lab.rng).id;
    lab.must(Command::UseMailbox { mailbox })?;
    fed.book.write_file("more.txt", b"written there");
    let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
    fed.send_parts(lab, &all);
    fed.mark(lab, 9);
    let early = take_since(lab, fed.link, fed.session())?;
    let right = early.at == 9 && !is_whole(&early.ext);
    ensure(right, "a SINCE that doesn't say that all content is held", format!("{early:?}"))?;
    Ok(fed)
}

fn empty(part: PartId) -> segue_proto::data::Part {
    segue_proto::data::Part::new(part, segue_proto::data::PartKind::Log)
}
