//! `kill -9` at any instant loses nothing that was acknowledged, and isn't taken for a restore.
//!
//! The child is this test binary again: it writes numbered batches and prints each LSN once it is durable.

use std::env;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use segue_proto::{Batch, Continuity, Lsn, Write};
use segue_store::{Faults, Hooks, Journal, Point, Report, StoreError};

use crate::util::Place;

const DIR: &str = "SEGUE_STORE_CHILD_DIR";
const ABORT: &str = "SEGUE_STORE_CHILD_ABORT";

#[test]
fn killed_at_random_moments() {
    let place = Place::new();
    let mut random = Random(0x5e90_e000_0000_0001);
    let (mut acknowledged, mut highest) = (0, 0);
    for round in 0..40 {
        let mut child = spawn(place.root.path(), None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Some die while they open the store, the others after some commits. The turns are no wait for anything: they
        // only move the moment about.
        let wanted = if round % 4 == 0 { 0 } else { 1 + random.below(60) };
        let mut durable = lines.by_ref().filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
        for _ in 0..wanted {
            acknowledged = durable.next().unwrap();
        }
        for _ in 0..random.below(400_000) {
            std::hint::spin_loop();
        }
        if round == 21 {
            let error = place.open_with(|hooks| hooks).err().unwrap();
            assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it printed before it died was acknowledged too.
        acknowledged = durable.last().unwrap_or(acknowledged);
        highest = check(&place, acknowledged, &format!("round {round}")).max(highest);
    }
    assert!(highest > 100, "the children wrote only {highest} batches");
}

#[test]
fn killed_at_every_point() {
    for point in Point::ALL {
        for nth in [1, 2, 3, 5, 8, 13] {
            let place = Place::new();
            let mut acknowledged = 0;
            // A store that is created, then one that exists; twice, as a crash may follow upon a crash.
            for life in 0..3 {
                let mut child = spawn(place.root.path(), Some((point, nth)));
                let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
                let last = lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last();
                acknowledged = last.unwrap_or(acknowledged);
                child.wait().unwrap();
                if life == 1 {
                    continue;
                }
                check(&place, acknowledged, &format!("{point:?} {nth}, life {life}"));
            }
        }
    }
}

/// Opens what a dead child left. How many batches there are.
fn check(place: &Place, acknowledged: u64, when: &str) -> u64 {
    let (found, last, continuity) = place.look();
    assert_eq!(continuity, Continuity::Proven, "{when}");
    assert!(last.0 >= acknowledged, "{when}: {acknowledged} was acknowledged, {} is there", last.0);
    let expected = (1..=last.0).map(|lsn| (key(lsn), value(lsn)));
    let expected = expected.chain((last.0 > 0).then(|| (b"last".to_vec(), last.0.to_be_bytes().to_vec())));
    assert!(found.into_iter().eq(expected.collect::<std::collections::BTreeMap<_, _>>()), "{when}");
    last.0
}

fn spawn(root: &Path, abort: Option<(Point, u32)>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "kill::child", "--nocapture", "--test-threads", "1"]);
    command.env(DIR, root).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some((point, nth)) = abort {
        command.env(ABORT, format!("{point:?} {nth}"));
    }
    command.spawn().unwrap()
}

/// The other half of the tests above, which start this very test with a directory; without one there is nothing to do.
#[test]
fn child() {
    let Some(root) = env::var_os(DIR) else { return };
    let root = Path::new(&root);
    let (send, reports) = channel();
    let mut hooks = Hooks::new(move |report| {
        if let Report::Durable(lsn) = report {
            writeln!(io::stdout(), "durable {}", lsn.0).unwrap();
        }
        send.send(()).unwrap_or_default();
    });
    let abort = env::var(ABORT).ok();
    if let Some((point, nth)) = abort.as_deref().and_then(|at| at.split_once(' ')) {
        hooks = hooks.faults(Arc::new(AbortAt { point: point.to_owned(), left: Mutex::new(nth.parse().unwrap()) }));
    }
    let (journal, opened) = Journal::open(&root.join("store"), &root.join("state/witness"), hooks).unwrap();
    // With a point to die at the end is near; with none, the parent's signal is the end.
    let end = if abort.is_some() { opened.last.0 + 40 } else { u64::MAX };
    for lsn in opened.last.0 + 1..=end {
        let writes = vec![
            Write { key: key(lsn), value: Some(value(lsn)) },
            Write { key: b"last".to_vec(), value: Some(lsn.to_be_bytes().to_vec()) },
        ];
        journal.submit(Batch { lsn: Lsn(lsn), writes, after_chunks: lsn % 5 == 0 }).unwrap();
        // A few wait at a time, so that groups form.
        if lsn % 4 == 0 {
            reports.recv().unwrap();
        }
    }
}

/// Dies, without any clearing up, when a point is reached for the n-th time.
#[derive(Debug)]
struct AbortAt {
    point: String,
    left: Mutex<u32>,
}

impl Faults for AbortAt {
    fn reach(&self, point: Point) -> io::Result<()> {
        if format!("{point:?}") == self.point {
            let mut left = self.left.lock().unwrap();
            *left -= 1;
            if *left == 0 {
                std::process::abort();
            }
        }
        Ok(())
    }
}

fn key(lsn: u64) -> Vec<u8> {
    format!("batch {lsn:08}").into_bytes()
}

fn value(lsn: u64) -> Vec<u8> {
    lsn.to_le_bytes().repeat(1 + (lsn as usize * 7) % 90)
}

/// A small generator: the moments should differ, and that is all.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
