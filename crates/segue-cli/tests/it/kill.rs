//! `kill -9` at random moments: never two owners, one in the end, and the same commands finish the job.
//!
//! By default a handful of rounds with a small tree; with `SEGUE_KILL=full` ten of each kind with 1,000 files and
//! 200 MB.

use segue_proto::Rules;
use segue_proto::transfer::{ChunkList, chunk_list};
use segue_proto::wire::codec::decode;

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::util::*;

/// Which process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Sender,
    Receiver,
    Both,
}

struct Size {
    rounds: u64,
    files: usize,
    bytes: usize,
    /// About as long as a handoff takes.
    millis: u64,
}

fn size() -> Size {
    match std::env::var("SEGUE_KILL").as_deref() {
        Ok("full") => Size { rounds: 10, files: 1_000, bytes: 200_000_000, millis: 1_500 },
        _ => Size { rounds: 3, files: 60, bytes: 12_000_000, millis: 300 },
    }
}

#[test]
fn the_sender_is_killed() {
    rounds(Victim::Sender);
}

#[test]
fn the_receiver_is_killed() {
    rounds(Victim::Receiver);
}

#[test]
fn both_are_killed() {
    rounds(Victim::Both);
}

/// The chunks of a file, and its chunk list. The manifest isn't asked for if sync brings all of it first.
fn chunks(content: &[u8]) -> u64 {
    let (_, list) = chunk_list(content).1.expect("a chunk list");
    decode::<ChunkList>(Rules::ALL, &list).expect("a chunk list").chunks.len() as u64 + 1
}

#[test]
fn what_was_verified_before_the_kill_is_not_sent_again() {
    let lab = Lab::new();
    let b = lab.id("b");
    fs::create_dir(lab.path("notes")).unwrap();
    let content = noise(64 << 20, 1);
    fs::write(lab.path("notes/large"), &content).unwrap();
    let mut receiver = lab.receive("b", "--into out --yes --once");
    let addr = receiver.addr.clone();
    let sender = lab.start(&format!("send --state a notes --to {addr} --device {b}"));
    while held(&lab.path("b/blobs/part")) < 4 << 20 {
        std::thread::yield_now();
    }
    receiver.kill();

    let again = format!("receive --state b --listen {addr} --into out --yes --once");
    let receiver = Running::new(lab.command(&again).env("SEGUE_LOG", "segue=info").spawn().unwrap(), &again);
    sender.end().exits(0);
    let log = receiver.end().exits(0).err;
    let count = |name: &str| {
        let (_, rest) = log.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{log}"));
        rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let (found, sent) = (count("chunks_found"), count("chunks_rx"));
    eprintln!("{found} chunks were held, {sent} were sent again or for the first time");
    assert!(found >= 16, "{log}");
    let chunks = chunks(&content);
    assert!((chunks..=chunks + 1).contains(&(found + sent)), "{chunks} chunks: {log}");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

/// The bytes of the files in a directory.
fn held(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn rounds(victim: Victim) {
    let size = size();
    for round in 0..size.rounds {
        let random = u64::from_be_bytes(noise(8, round * 3 + victim as u64).try_into().unwrap());
        let moment = Duration::from_millis(random % size.millis);
        eprintln!("{victim:?}, round {round}: killed after {moment:?}");
        run(victim, &size, moment);
    }
}

fn run(victim: Victim, size: &Size, moment: Duration) {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", size.files, size.bytes);
    let mut receiver = lab.receive("b", "--into out --yes --once");
    let addr = receiver.addr.clone();
    let send = format!("send --state a notes --to {addr} --device {b} --timeout 30");
    let mut sender = lab.start(&send);

    sender.ends_within(moment);
    if victim != Victim::Receiver {
        sender.kill();
    }
    let killed = victim != Victim::Sender;
    let received = killed && !lab.kill_receiver(&mut receiver, "b");
    if victim == Victim::Both {
        assert!(lab.primaries(&["a", "b"]) <= 1, "two owners");
    }
    if killed && !received {
        receiver = lab.receive_at(&addr, "b", "--into out --yes --once");
    }
    if victim != Victim::Receiver {
        sender = lab.start(&send);
    }
    let sent = sender.end();
    if !received {
        receiver.end().exits(0);
    }
    // A sender that had reported before it was killed finds the session moved, and says so.
    if sent.code != Some(0) {
        sent.exits(1).says("has moved").says(&b);
    }
    assert_eq!(lab.session("a")["role"], "secondary");
    assert_eq!(lab.session("b")["role"], "primary");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}
