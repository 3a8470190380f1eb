//! Compaction: what a snapshot stands for goes once all members hold it, whoever comes later goes on from it, and nothing
//! is lost, nor comes back.

use segue_crdt::{Document, YrsText};
use segue_proto::data::{PartKind, Stream, named_part};
use segue_proto::limits::MAX_SNAPSHOT;
use segue_proto::wire::{ActorId, Hash, PartId, SessionId};
use segue_testkit::device::{Command, Device, Reply};

use super::account::Mesh;

/// An account of three devices with a session that the first made.
fn family(seed: u64) -> (Mesh, SessionId) {
    let mut mesh = Mesh::new(seed);
    mesh.command(0, Command::CreateAccount { name: "first".into() });
    mesh.link(0, 1);
    mesh.link(0, 2);
    let made = mesh.command(0, Command::Create { name: "notes".into(), members: vec![] });
    let Some(Reply::Session(session)) = made else { panic!("a session, not {made:?}") };
    mesh.connect(0, 1);
    mesh.connect(0, 2);
    (mesh, session)
}

fn diary(session: &SessionId) -> PartId {
    named_part(session, PartKind::Log, "diary")
}

fn write(mesh: &mut Mesh, who: usize, session: SessionId, kind: PartKind, body: &[u8]) {
    let part = named_part(&session, kind, "diary");
    let done =
        mesh.command(who, Command::Write { session, part, kind: kind.number(), body: body.to_vec(), resolves: false });
    assert!(done.is_some(), "{who} writes");
}

fn root(mesh: &Mesh, at: usize, session: &SessionId) -> Hash {
    mesh.devices[at].endpoint().session(session).expect("it is known").root
}

/// The log as a device shows it.
fn shown(mesh: &Mesh, at: usize, session: &SessionId) -> Vec<(ActorId, u64, Vec<u8>)> {
    let state = mesh.devices[at].endpoint().state(session).expect("it is held");
    let stream = state.stream(&diary(session)).expect("a log");
    listed(stream)
}

fn listed(stream: &Stream) -> Vec<(ActorId, u64, Vec<u8>)> {
    stream.in_order().into_iter().map(|entry| (entry.actor, entry.seq, entry.body.to_vec())).collect()
}

fn kept(mesh: &mut Mesh, at: usize, session: &SessionId) -> u64 {
    mesh.devices[at].inspect(mesh.now).sessions[session].kept.expect("the device says")
}

#[test]
fn a_log_gives_way_to_its_snapshot_once_all_members_hold_it() {
    let (mut mesh, session) = family(1);
    for at in 0..60 {
        write(&mut mesh, at % 3, session, PartKind::Log, format!("entry {at}").as_bytes());
    }
    let (before, entries) = (root(&mesh, 0, &session), shown(&mesh, 0, &session));
    assert_eq!(entries.len(), 60);
    // One member is away: all ops stay, on every device.
    let links: Vec<_> = mesh.links_of(2);
    links.into_iter().for_each(|link| mesh.cut(link));
    mesh.command(0, Command::Compact { session, part: diary(&session), content: None }).expect("a snapshot");
    assert_eq!([kept(&mut mesh, 0, &session), kept(&mut mesh, 1, &session)], [60, 60]);
    // It comes back, and holds it too.
    mesh.connect(0, 2);
    for at in 0..3 {
        assert_eq!(kept(&mut mesh, at, &session), 0, "device {at} keeps ops that all hold in a snapshot");
        assert_eq!(root(&mesh, at, &session), before, "device {at} has another root");
        assert_eq!(shown(&mesh, at, &session), entries, "device {at} shows another log");
    }
    // What is written later follows the snapshot; a late joiner gets both.
    write(&mut mesh, 1, session, PartKind::Log, b"behind it");
    mesh.link(0, 3);
    mesh.connect(0, 3);
    write(&mut mesh, 3, session, PartKind::Log, b"by the late one");
    for at in 1..4 {
        assert_eq!(root(&mesh, at, &session), root(&mesh, 0, &session), "device {at}");
        assert_eq!(shown(&mesh, at, &session), shown(&mesh, 0, &session), "device {at}");
    }
    assert_eq!(shown(&mesh, 3, &session).len(), 62);
    assert_eq!(kept(&mut mesh, 3, &session), 2);
}

/// More than a message holds.
const CONTENT: usize = 100_000;

#[test]
fn a_snapshot_longer_than_a_message_comes_in_pieces() {
    let (mut mesh, session) = family(9);
    let part = named_part(&session, PartKind::Opaque, "diary");
    (0..9).for_each(|at| write(&mut mesh, at % 3, session, PartKind::Opaque, b"an op"));
    let links: Vec<_> = mesh.links_of(2);
    links.into_iter().for_each(|link| mesh.cut(link));
    let content: Vec<u8> = (0..CONTENT).map(|at| (at / 7) as u8).collect();
    let compact =
        |mesh: &mut Mesh, content| mesh.command(0, Command::Compact { session, part, content: Some(content) });
    assert!(compact(&mut mesh, vec![0; MAX_SNAPSHOT as usize + 1]).is_none(), "it is too long");
    compact(&mut mesh, content.clone()).expect("a snapshot");
    assert_eq!([0, 1].map(|at| kept(&mut mesh, at, &session)), [9; 2]);
    let came = mesh.came[2];
    mesh.connect(0, 2);
    for at in 0..3 {
        assert_eq!(kept(&mut mesh, at, &session), 0, "device {at}");
        let state = mesh.devices[at].endpoint().state(&session).expect("it is held");
        let base = state.stream(&part).and_then(Stream::base).expect("a snapshot");
        assert_eq!(base.bytes, content, "device {at}");
    }
    let came = mesh.came[2] - came;
    assert!(came < CONTENT + CONTENT / 4, "{came} bytes for one of {CONTENT}");
}

#[test]
fn what_no_snapshot_covers_is_counted() {
    let (mut mesh, session) = family(8);
    let loose = |mesh: &Mesh| {
        let core = mesh.devices[0].endpoint();
        let all = core.loose(&session);
        assert!(all.iter().all(|(part, _, count)| core.loose_in(&session, part) == *count), "{all:?}");
        all
    };
    assert_eq!(loose(&mesh), []);
    (0..5).for_each(|at| write(&mut mesh, at % 3, session, PartKind::Log, b"an entry"));
    let log = |count| [(diary(&session), PartKind::Log.number(), count)];
    assert_eq!(loose(&mesh), log(5));
    // What waits for a member that is away is in hand.
    let links: Vec<_> = mesh.links_of(2);
    links.into_iter().for_each(|link| mesh.cut(link));
    mesh.command(0, Command::Compact { session, part: diary(&session), content: None }).expect("a snapshot");
    assert_eq!((loose(&mesh), kept(&mut mesh, 0, &session)), (log(0).to_vec(), 5));
    (0..2).for_each(|at| write(&mut mesh, at, session, PartKind::Log, b"another"));
    assert_eq!((loose(&mesh), kept(&mut mesh, 0, &session)), (log(2).to_vec(), 7));
    mesh.connect(0, 2);
    assert_eq!((loose(&mesh), kept(&mut mesh, 0, &session)), (log(2).to_vec(), 2));
    let unknown = mesh.devices[0].endpoint().loose_in(&session, &named_part(&session, PartKind::Log, "nowhere"));
    assert_eq!(unknown, 0);
}

#[test]
fn a_snapshot_that_waits_is_still_told_once_a_smaller_one_stands_for_its_ops() {
    let (mut mesh, session) = family(5);
    waits_behind_a_smaller_one(&mut mesh, session);
}

#[test]
fn a_snapshot_that_waits_is_still_told_once_one_behind_it_took_the_place_of_an_older_one() {
    let (mut mesh, session) = family(6);
    (0..30).for_each(|at| write(&mut mesh, at % 3, session, PartKind::Log, format!("older {at}").as_bytes()));
    mesh.command(0, Command::Compact { session, part: diary(&session), content: None }).expect("a snapshot");
    assert_eq!([0, 1, 2].map(|at| kept(&mut mesh, at, &session)), [0; 3]);
    waits_behind_a_smaller_one(&mut mesh, session);
}

/// The first makes two snapshots of the log. Of the smaller it learns that all hold it while the other waits.
fn waits_behind_a_smaller_one(mesh: &mut Mesh, session: SessionId) {
    let apart = |mesh: &mut Mesh| {
        let links: Vec<_> = (0..3).flat_map(|at| mesh.links_of(at)).collect();
        links.into_iter().for_each(|link| mesh.cut(link));
    };
    let compact = |mesh: &mut Mesh| {
        mesh.command(0, Command::Compact { session, part: diary(&session), content: None }).expect("a snapshot");
    };
    (0..30).for_each(|at| write(mesh, at % 3, session, PartKind::Log, format!("entry {at}").as_bytes()));
    apart(mesh);
    mesh.connect(0, 1);
    compact(mesh);
    // All hold the first, and the one that made it doesn't know.
    apart(mesh);
    mesh.connect(1, 2);
    assert_eq!([0, 1, 2].map(|at| kept(mesh, at, &session)), [30, 0, 0]);
    apart(mesh);
    (30..35).for_each(|at| write(mesh, 0, session, PartKind::Log, format!("entry {at}").as_bytes()));
    compact(mesh);
    // It learns that now, and the second waits.
    mesh.connect(0, 1);
    assert_eq!(kept(mesh, 0, &session), 5);
    apart(mesh);
    mesh.connect(0, 2);
    assert_eq!(kept(mesh, 0, &session), 0, "the last member was told of the second");
    assert_eq!(shown(mesh, 2, &session), shown(mesh, 0, &session));
}

#[test]
fn a_device_killed_at_any_write_of_a_compaction_opens_with_the_same_log() {
    let (mut mesh, session) = family(4);
    for at in 0..30 {
        write(&mut mesh, at % 3, session, PartKind::Log, format!("entry {at}").as_bytes());
    }
    let (before, entries) = (root(&mesh, 0, &session), shown(&mesh, 0, &session));
    mesh.watched = Some(0);
    mesh.command(0, Command::Compact { session, part: diary(&session), content: None }).expect("a snapshot");
    assert_eq!(kept(&mut mesh, 0, &session), 0);
    let moments = core::mem::take(&mut mesh.moments);
    let mut counts = std::collections::BTreeSet::new();
    for (last, journal) in moments {
        let device = mesh.opened(0, last, journal);
        let state = device.endpoint().state(&session).expect("it is held");
        let stream = state.stream(&diary(&session)).expect("a log");
        counts.insert(stream.len());
        assert_eq!(state.root(), before, "after {last:?}");
        assert_eq!(listed(stream), entries, "after {last:?}");
    }
    // All ops go at once or none does: there is nothing between.
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0, 30]);
}

#[test]
fn who_was_away_for_91_days_goes_on_from_the_snapshot_and_its_ops_enter() {
    let (mut mesh, session) = family(2);
    for at in 0..30 {
        write(&mut mesh, at % 3, session, PartKind::Log, format!("entry {at}").as_bytes());
    }
    mesh.links_of(2).into_iter().for_each(|link| mesh.cut(link));
    // Written apart: they follow ops that are in no device's store any more when they come.
    (0..5).for_each(|at| write(&mut mesh, 2, session, PartKind::Log, format!("unsent {at}").as_bytes()));
    for at in 30..60 {
        write(&mut mesh, at % 2, session, PartKind::Log, format!("entry {at}").as_bytes());
    }
    mesh.command(0, Command::Compact { session, part: diary(&session), content: None }).expect("a snapshot");
    let day = 86_400_000_000;
    for _ in 0..89 {
        mesh.now = mesh.now.after(day);
        mesh.connect(0, 1);
    }
    assert_eq!([kept(&mut mesh, 0, &session), kept(&mut mesh, 1, &session)], [60, 60], "before 90 days");
    for _ in 0..3 {
        mesh.now = mesh.now.after(day);
        mesh.connect(0, 1);
    }
    assert_eq!([kept(&mut mesh, 0, &session), kept(&mut mesh, 1, &session)], [0, 0], "after 90 days");
    mesh.connect(0, 2);
    mesh.connect(1, 2);
    let entries = shown(&mesh, 0, &session);
    assert_eq!(entries.len(), 65, "all that was unsent has entered, once");
    for at in 1..3 {
        assert_eq!(root(&mesh, at, &session), root(&mesh, 0, &session), "device {at}");
        let mut theirs = shown(&mesh, at, &session);
        let mut ours = entries.clone();
        theirs.sort();
        ours.sort();
        assert_eq!(theirs, ours, "device {at}");
    }
    // A late joiner verifies what was unsent by the hashes that come with it.
    mesh.link(0, 3);
    mesh.connect(0, 3);
    assert_eq!(root(&mesh, 3, &session), root(&mesh, 0, &session));
}

#[test]
fn a_hundred_thousand_keys_give_way_to_their_document() {
    let (mut mesh, session) = family(3);
    let part = named_part(&session, PartKind::Opaque, "text");
    let (mut doc, mut len) = (YrsText::open(None).expect("a document"), 0);
    for key in 0..100_000_usize {
        // A person types on, and takes back every eighth key; now and then further up.
        match key % 8 {
            7 => doc.delete(len - 1, 1).map(|()| len -= 1),
            _ => {
                let at = if key % 1_000 < 40 { len / 2 } else { len };
                doc.insert(at, ["a", "e", "n", " "][key % 4]).map(|()| len += 1)
            }
        }
        .expect("an edit");
        let body = doc.flush().expect("its op");
        let (kind, resolves) = (PartKind::Opaque.number(), false);
        mesh.command(0, Command::Write { session, part, kind, body, resolves }).expect("a write");
    }
    let (before, text) = (root(&mesh, 0, &session), doc.text().expect("its text"));
    let full = mesh.journal_bytes(0);
    let content = doc.snapshot().expect("a snapshot");
    mesh.command(0, Command::Compact { session, part, content: Some(content.clone()) }).expect("a snapshot");
    for at in 0..3 {
        let left = mesh.journal_bytes(at);
        assert_eq!(kept(&mut mesh, at, &session), 0, "device {at}");
        assert!(left < content.len() * 11 / 10 + 32_768, "device {at} keeps {left} bytes for {}", content.len());
        assert_eq!(root(&mesh, at, &session), before, "device {at}");
    }
    let came = mesh.came[3];
    mesh.link(0, 3);
    let came = mesh.came[3] - came;
    assert!(came < content.len() * 11 / 10 + 32_768, "a late joiner is sent {came} bytes for {}", content.len());
    assert_eq!(root(&mesh, 3, &session), before);
    let state = mesh.devices[3].endpoint().state(&session).expect("it is held");
    let base = state.stream(&part).and_then(|stream| stream.base()).expect("it stands on the snapshot");
    let theirs = YrsText::open(Some(&base.bytes)).and_then(|mut doc| doc.text());
    assert_eq!(theirs.expect("a document"), text);
    println!(
        "{full} bytes in the journal before, {} after; snapshot {}, late joiner {came}",
        mesh.journal_bytes(0),
        content.len()
    );
}
