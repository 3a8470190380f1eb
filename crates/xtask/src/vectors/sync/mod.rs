//! Chapter sync: each message, and what feeds stand for.

mod feeds;
mod hand;
mod rank;

use segue_proto::{Instant, Rules};

use segue_proto::data::{NewOp, PartKind, Replaces, State, Written, named_part};
use segue_proto::sync::{Change, Changes, Feed, Outbound, lacks, whole};
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{
    Blob, Exts, Hlc, Holding, HoldingMsg, Message, Nonce, PartId, SessionId, Signed, Since, Snapshot, SnapshotMsg,
    StrandEnd, Writer,
};

use super::cast::{Device, LAPTOP, PHONE, TABLET, list, story};
use super::form::Book;
use super::wire::sign;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    signed(book);
    feeds::add(book);
    rank::add(book);
}

/// The signed objects of the chapter.
fn signed(book: &mut Book) {
    let diary = diary();
    let what = "The laptop's snapshot of the diary.";
    let vector = sign(book, "sync", "snapshot", what, &snapshot_body(&diary).0, LAPTOP);
    book.add(vector.clause("SYNC-SNAPSHOT-1"));
    let what = "The phone holds it, durably, and has written one op of the diary.";
    let vector = sign(book, "sync", "holding", what, &holding_body(&diary), PHONE);
    book.add(vector.clause("SYNC-HOLDING-1"));
}

/// A session with a diary that two devices wrote, and a title that both gave it without knowing of each other.
pub(crate) struct Diary {
    pub(crate) session: SessionId,
    pub(crate) diary: PartId,
    pub(crate) title: PartId,
    pub(crate) state: State,
    /// The copies of the title as their writers had them.
    pub(crate) titles: [segue_proto::data::Part; 2],
    changes: Changes,
}

/// The names of the laptop's and the tablet's logs of changes.
const LAPTOP_LOG: Nonce = Nonce::new([0x51; 16]);
const TABLET_LOG: Nonce = Nonce::new([0x53; 16]);

/// What a device writes at a time.
pub(crate) fn op(who: Device, part: PartId, kind: PartKind, ms: u64, body: &[u8]) -> NewOp {
    NewOp {
        actor: who.actor(),
        part,
        kind: kind.number(),
        hlc: time(ms),
        record: story().genesis.id(),
        salt: Nonce::new([0x70 + who.secret[0]; 16]),
        body: body.to_vec(),
        replaces: Replaces::One,
    }
}

/// So many milliseconds after 1,700,000,000,000 ms since 1970.
pub(crate) fn time(ms: u64) -> Hlc {
    Hlc::new(((1_700_000_000_000 + ms) << 16).to_be_bytes())
}

/// The session with the diary.
pub(crate) fn diary() -> Diary {
    let session = story().session;
    let diary = named_part(&session, PartKind::Log, "diary");
    let title = named_part(&session, PartKind::Register, "title");
    let mut state = State::new(session, "Holiday");
    for who in [LAPTOP, PHONE] {
        state.name_writer(Writer { device: who.id(), nonce: who.nonce() });
    }
    let mut changes = Changes::new(LAPTOP_LOG);
    let titles = [(LAPTOP, "Norway"), (PHONE, "Sweden")].map(|(who, name)| {
        let mut alone = State::new(session, "Holiday");
        let written = alone.write(Rules::ALL, op(who, title, PartKind::Register, 5, name.as_bytes()));
        written.expect("the story's writes are good");
        alone.part(&title).cloned().expect("it was written")
    });
    for copy in &titles {
        state.merge(Rules::ALL, copy).expect("copies of one part");
    }
    changes.note(1, Change::Part(title), None);
    let entries: [(Device, u64, &[u8]); 5] = [
        (LAPTOP, 0, b"Left at nine."),
        (LAPTOP, 0, b"Rain."),
        (LAPTOP, 1_500, b"More rain."),
        (PHONE, 2_000, b"Dry here."),
        (LAPTOP, 1_900, b"On my way."),
    ];
    for (at, (who, ms, body)) in (2..).zip(entries) {
        let written = state.write(Rules::ALL, op(who, diary, PartKind::Log, ms, body));
        let Ok(Written::Op { part, actor, seq }) = written else { panic!("the story's writes are good") };
        changes.note(at, Change::Op(part, actor, seq), None);
    }
    Diary { session, diary, title, state, titles, changes }
}

impl Diary {
    /// What the laptop sends a device that has nothing, MARK last.
    pub(crate) fn feed(&self) -> Vec<Message> {
        let mut names = Outbound::default();
        let mut feed = Feed::new(TABLET.id(), 0, false);
        let mut messages = Vec::new();
        while let Some(more) = feed.step(&mut names, &self.changes, &self.state) {
            messages.extend(more);
        }
        messages.extend(feed.mark(Instant::from_micros(0), &self.changes, &self.state, true));
        messages
    }
}

/// Each message of the chapter.
pub(crate) fn messages() -> Vec<(&'static str, &'static str, Message)> {
    let diary = diary();
    let feed = diary.feed();
    let nth = |name: &str, at: usize| {
        let found = feed.iter().filter(|message| message.row().name == name).nth(at);
        found.cloned().unwrap_or_else(|| panic!("the feed has a {name} at {at}"))
    };
    let since_with =
        |log: Nonce, at: u64, ext: Exts| Message::from(Since { session: diary.session, log, at, own: TABLET_LOG, ext });
    let since = |log: Nonce, at: u64| since_with(log, at, Exts::empty());
    let mut lacking = nth("MARK", 0);
    if let Message::Mark(mark) = &mut lacking {
        mark.ext = lacks(1);
    }
    vec![
        ("since-all", "The tablet holds nothing of the laptop's changes.", since(Nonce::ZERO, 0)),
        ("since", "The tablet holds, durably, what the laptop's log has up to position 6.", since(LAPTOP_LOG, 6)),
        (
            "since-whole",
            "It holds all content that it wants, too, though it told of a lack: the extension 1.",
            since_with(LAPTOP_LOG, 6, whole(1)),
        ),
        ("parts", "A title that two devices gave without knowing of each other.", nth("PARTS", 0)),
        ("strand", "The laptop's strand of the diary is number 0 on this link.", nth("STRAND", 0)),
        ("ops", "Its first three ops, of which two were made in one millisecond.", nth("OPS", 0)),
        ("ops-read", "The first op of strand 1, whose writer had read the three.", nth("OPS", 1)),
        ("snapshot", "The laptop's snapshot of the diary, whole.", snapshot(&diary)),
        ("holding", "The phone holds it, durably, and has written one op of the diary.", holding(&diary)),
        ("mark", "That was all up to position 6 of the laptop's log.", nth("MARK", 0)),
        (
            "mark-lacks",
            "In a letter, that the laptop lacks content after all, for the first time: the extension 1.",
            lacking,
        ),
    ]
}

/// The laptop's snapshot of the diary.
fn made(diary: &Diary) -> (Signed<Snapshot>, Vec<u8>) {
    let (body, bytes) = snapshot_body(diary);
    (Signed::sign(&body, &LAPTOP.key()), bytes)
}

/// Its body, and its content.
fn snapshot_body(diary: &Diary) -> (Snapshot, Vec<u8>) {
    let stream = diary.state.stream(&diary.diary).expect("the log was written");
    let ends = stream.ends();
    let bytes = stream.log_bytes(&ends).expect("all of it is held");
    let body = Snapshot {
        session: diary.session,
        part: diary.diary,
        kind: PartKind::Log.number(),
        signer: LAPTOP.id(),
        covers: list(ends),
        format: 0,
        len: bytes.len() as u64,
        hash: blob_id(&bytes),
    };
    (body, bytes)
}

fn snapshot(diary: &Diary) -> Message {
    let (snapshot, bytes) = made(diary);
    SnapshotMsg {
        session: diary.session,
        snapshot,
        offset: 0,
        bytes: Blob::new(bytes).unwrap_or_default(),
        ext: Exts::empty(),
    }
    .into()
}

fn holding(diary: &Diary) -> Message {
    let holding = Signed::sign(&holding_body(diary), &PHONE.key());
    HoldingMsg { session: diary.session, holding, ext: Exts::empty() }.into()
}

/// What the phone says of the snapshot.
fn holding_body(diary: &Diary) -> Holding {
    let (snapshot, _) = made(diary);
    let ends = list(vec![StrandEnd { actor: PHONE.actor(), seq: 1 }]);
    let (session, part, device) = (diary.session, diary.diary, PHONE.id());
    Holding { session, part, snapshot: snapshot.id(), device, ends }
}
