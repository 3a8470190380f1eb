//! What a peer is fed.

use segue_proto::data::{PartKind, State, named_part};
use segue_proto::limits::{MAX_FRAME, SYNC_WINDOW};
use segue_proto::sync::Inbound;
use segue_proto::wire::{Hlc, Message, Nonce};
use segue_testkit::device::Command;

use super::scene::{Fed, fed, followed, gather, gather_all, is_change, is_sync, since, take_since, wait};
use super::{S, T};
use crate::cases::scene::{create, introduce, linked, owning, session_of};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

pub(super) const CASES: &[Case] = &[
    works("sync/ask/on-meeting", &["SYNC-ASK-1"], S, |lab| {
        let fed = fed(lab)?;
        let link = lab.connect(&Peer { boot: Nonce::new([9; 16]), ..fed.peer.clone() })?;
        let asked = take_since(lab, link, fed.session())?;
        ensure(asked.log.is_zero() && asked.at == 0, "a SINCE that asks for everything", format!("{asked:?}"))
    }),
    works("sync/ask/of-a-session-that-is-followed", &["SYNC-ASK-1"], T, |lab| followed(lab).map(|_| ()))
        .needs(&["follow"]),
    works("sync/ask/of-a-session-that-it-is-told-of", &["SYNC-ASK-1"], T, |lab| {
        lab.setup.follow = true;
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.send(link, book.have(Some(data.clone())));
        introduce(lab, link, &book, &data)?;
        take_since(lab, link, book.id).map(|_| ())
    })
    .needs(&["follow"]),
    works("sync/ask/again-after-the-first", &["SYNC-ASK-1"], S, |lab| {
        let fed = fed(lab)?;
        lab.skip(fed.link);
        since(lab, fed.link, fed.session(), Nonce::ZERO, 0);
        take_since(lab, fed.link, fed.session()).map(|_| ())
    }),
    works("sync/since/everything", &["SYNC-SINCE-1"], S, everything),
    works("sync/since/everything-of-a-log", &["SYNC-SINCE-1", "DATA-SALT-1", "DATA-TIME-1"], S, |lab| {
        let fed = fed(lab)?;
        writes_diary(lab, &fed, 3)?;
        let (state, gathered) = gather_all(lab, fed.link, fed.session())?;
        ensure(gathered.ops == 3, "three ops", gathered.ops)?;
        let stream = state.stream(&fed.diary());
        let first = stream.and_then(|stream| stream.arrived(0).next()).map_or(Hlc::ZERO, |op| op.hlc);
        ensure(first.as_bytes()[6..] == [0, 0], "a first op whose time has the counter 0", format!("{first:?}"))
    })
    .needs(&["write"]),
    works("sync/since/what-follows", &["SYNC-SINCE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        let (mut state, first) = gather_all(lab, fed.link, fed.session())?;
        fed.link_again(lab)?;
        since(lab, fed.link, fed.session(), first.mark.log, first.mark.at);
        let nothing = gather(lab, fed.link, &mut state, &mut Inbound::default())?;
        ensure(nothing.parts.is_empty(), "nothing before the position", format!("{:?}", nothing.parts))?;
        lab.must(Command::WriteFile { session: fed.session(), path: "more".into(), content: b"more".to_vec() })?;
        wait(lab);
        let more = gather(lab, fed.link, &mut state, &mut Inbound::default())?;
        ensure(more.parts.len() == 1, "the one part that changed", more.parts.len())?;
        ensure(more.mark.at > first.mark.at, "a position that ascends", more.mark.at)?;
        ensure(state.root() == fed.root(lab)?, "the subject's root", format!("{:?}", state.root()))
    }),
    works("sync/since/the-ops-that-follow", &["SYNC-SINCE-1", "SYNC-STRAND-1"], S, |lab| {
        let mut fed = fed(lab)?;
        writes_diary(lab, &fed, 2)?;
        let (mut state, first) = gather_all(lab, fed.link, fed.session())?;
        fed.link_again(lab)?;
        writes_diary(lab, &fed, 2)?;
        since(lab, fed.link, fed.session(), first.mark.log, first.mark.at);
        let more = gather(lab, fed.link, &mut state, &mut Inbound::default())?;
        ensure(more.ops == 2 && more.parts.is_empty(), "two ops and nothing else", more.ops)?;
        ensure(state.root() == fed.root(lab)?, "the subject's root", format!("{:?}", state.root()))
    })
    .needs(&["write"]),
    works("sync/since/of-another-log", &["SYNC-SINCE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        let (_, first) = gather_all(lab, fed.link, fed.session())?;
        fed.link_again(lab)?;
        since(lab, fed.link, fed.session(), Nonce::new([5; 16]), first.mark.at);
        whole(lab, &fed)
    }),
    works("sync/since/above-the-last-position", &["SYNC-SINCE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        let (_, first) = gather_all(lab, fed.link, fed.session())?;
        fed.link_again(lab)?;
        since(lab, fed.link, fed.session(), first.mark.log, first.mark.at + 1_000);
        whole(lab, &fed)
    }),
    works("sync/since/twice", &["SYNC-SINCE-1"], S, |lab| {
        let fed = fed(lab)?;
        gather_all(lab, fed.link, fed.session())?;
        since(lab, fed.link, fed.session(), Nonce::ZERO, 0);
        lab.alive(fed.link)?;
        lab.none(fed.link, "change that is sent twice", is_change)
    }),
    works("sync/since/of-a-session-nobody-knows", &["SYNC-READ-1"], S, |lab| {
        let (peer, link) = linked(lab)?;
        let book = session_of(lab, &peer);
        since(lab, link, book.id, Nonce::ZERO, 0);
        lab.alive(link)?;
        lab.none(link, "answer", |message| is_sync(message) || matches!(message, Message::Error(_)))
    }),
    refused("sync/read/since-by-a-stranger", &["SYNC-READ-1"], S, everything, |lab| {
        lab.setup.accept_unknown = true;
        let own = owning(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = lab.connect(&stranger)?;
        since(lab, link, own.session, Nonce::ZERO, 0);
        lab.alive(link)?;
        lab.none(link, "word of the session", |message| is_sync(message) || matches!(message, Message::Error(_)))
    }),
    works("sync/log/kept-over-a-restart", &["SYNC-LOG-1", "SYNC-SINCE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        let (mut state, first) = gather_all(lab, fed.link, fed.session())?;
        lab.reboot()?;
        lab.must(Command::WriteExclusive { session: fed.session(), bytes: b"cursor 2".to_vec() })?;
        fed.link = lab.connect(&fed.peer)?;
        since(lab, fed.link, fed.session(), first.mark.log, first.mark.at);
        let more = gather(lab, fed.link, &mut state, &mut Inbound::default())?;
        let goes_on = more.mark.log == first.mark.log && more.mark.at > first.mark.at;
        ensure(goes_on, "the same log, further on", format!("{:?} at {}", more.mark.log, more.mark.at))?;
        ensure(more.parts.len() == 1, "the one part that changed", more.parts.len())
    }),
    works("sync/log/another-for-a-restored-store", &["SYNC-LOG-1"], S, |lab| {
        let mut fed = fed(lab)?;
        let (_, first) = gather_all(lab, fed.link, fed.session())?;
        lab.disk.forget_witness();
        lab.reboot()?;
        fed.link = lab.connect(&fed.peer)?;
        since(lab, fed.link, fed.session(), first.mark.log, first.mark.at);
        let mut state = State::new(fed.session(), "");
        let again = gather(lab, fed.link, &mut state, &mut Inbound::default())?;
        ensure(again.mark.log != first.mark.log, "another name", format!("{:?}", again.mark.log))?;
        ensure(again.parts.len() == first.parts.len(), "everything", again.parts.len())
    }),
    works("sync/window/waits-for-the-peer", &["SYNC-WINDOW-1"], S, window).needs(&["write"]),
    works("sync/write/by-a-secondary", &["SYNC-SINCE-1", "HO-WRITE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.take(lab)?;
        let (mut state, _) = gather_all(lab, fed.link, fed.session())?;
        lab.must_not(Command::WriteExclusive { session: fed.session(), bytes: b"mine".to_vec() })?;
        lab.must(Command::WriteFile { session: fed.session(), path: "mine".into(), content: b"mine".to_vec() })?;
        wait(lab);
        let more = gather(lab, fed.link, &mut state, &mut Inbound::default())?;
        ensure(more.parts.len() == 1, "the file", more.parts.len())
    }),
    works("sync/write/without-a-link", &["SYNC-SINCE-1"], S, |lab| {
        let mut fed = fed(lab)?;
        fed.take(lab)?;
        lab.link_down(fed.link);
        lab.must(Command::WriteFile { session: fed.session(), path: "mine".into(), content: b"mine".to_vec() })?;
        fed.link = lab.connect(&fed.peer)?;
        let (state, _) = gather_all(lab, fed.link, fed.session())?;
        let mine = state.to_manifest().entries().any(|(_, entry)| *entry.path == *"mine");
        ensure(mine, "the file that was written without a link", "none")
    }),
    works("data/part/named-by-its-path", &["DATA-PART-1"], S, |lab| {
        let fed = fed(lab)?;
        let part = named_part(&fed.session(), PartKind::Blob, "notes.txt");
        let named = fed.book.state.part(&part).is_some();
        ensure(named, "a file's part that is named by the path", "another id")
    }),
    works("sync/since/without-data", &["SYNC-SINCE-1"], S, |lab| {
        let (peer, link) = linked(lab)?;
        let session = create(lab, &peer)?;
        since(lab, link, session, Nonce::ZERO, 0);
        let mut state = State::new(session, "");
        let gathered = gather(lab, link, &mut state, &mut Inbound::default())?;
        ensure(gathered.parts.is_empty(), "a MARK alone", gathered.parts.len())
    }),
];

fn everything(lab: &mut Lab) -> Done {
    let fed = fed(lab)?;
    let (_, gathered) = gather_all(lab, fed.link, fed.session())?;
    ensure(gathered.parts.len() == 2, "both parts", gathered.parts.len())?;
    ensure(&*gathered.mark.name == "notes", "the session's name in MARK", format!("{:?}", gathered.mark.name))
}

/// What was asked for is everything.
fn whole(lab: &mut Lab, fed: &Fed) -> Done {
    let mut state = State::new(fed.session(), "");
    gather(lab, fed.link, &mut state, &mut Inbound::default())?;
    ensure(state.root() == fed.root(lab)?, "everything", format!("the root {:?}", state.root()))
}

/// The subject's application writes so many entries of the log.
pub(super) fn writes_diary(lab: &mut Lab, fed: &Fed, count: u8) -> Done {
    let (session, part, kind) = (fed.session(), fed.diary(), PartKind::Log.number());
    for at in 0..count {
        lab.must(Command::Write { session, part, kind, body: vec![b'A' + at; 5], resolves: false })?;
    }
    Ok(())
}

/// Far more than the window is to be sent to a peer that says what it holds only when it is waited for.
fn window(lab: &mut Lab) -> Done {
    let fed = fed(lab)?;
    let (session, part, kind) = (fed.session(), fed.diary(), PartKind::Log.number());
    for at in 0..40 {
        lab.must(Command::Write { session, part, kind, body: vec![at; 16_000], resolves: false })?;
    }
    lab.skip(fed.link);
    since(lab, fed.link, session, Nonce::ZERO, 0);
    let (mut state, mut names) = (State::new(session, ""), Inbound::default());
    for _ in 0..20 {
        let mut bytes = 0;
        let mut last = None;
        while let Ok(gathered) = gather(lab, fed.link, &mut state, &mut names) {
            bytes += gathered.bytes;
            last = Some(gathered.mark);
        }
        ensure(bytes <= SYNC_WINDOW + MAX_FRAME, "no more than the window and a message", bytes)?;
        if state.root() == fed.root(lab)? {
            return Ok(());
        }
        let Some(mark) = last else { break };
        since(lab, fed.link, session, mark.log, mark.at);
    }
    Err(crate::verdict::Fault::fail("all of the log, as the peer says what it holds", "only a part of it"))
}
