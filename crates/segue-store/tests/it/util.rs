//! A store in a temporary directory, and ways to look at it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use segue_proto::{Batch, Continuity, Lsn, Write};
use segue_store::{Faults, Hooks, Journal, Opened, Point, Report, StoreError};
use tempfile::TempDir;

/// Where a store and its witness lie.
pub(crate) struct Place {
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Place { root: tempfile::tempdir().unwrap() }
    }

    /// A closed store and its mark, copied: no syncs, which cost most of a test's time on a busy disk.
    pub(crate) fn copy(&self) -> Self {
        let copy = Place::new();
        for (from, to) in [(self.database(), copy.database()), (self.witness(), copy.witness())] {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
        copy
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    pub(crate) fn witness(&self) -> PathBuf {
        self.root.path().join("state/witness")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.dir().join("journal.redb")
    }

    pub(crate) fn open(&self) -> Store {
        self.open_with(|hooks| hooks).unwrap()
    }

    /// A store whose writer stops at a point until its keeper lets it go. Bind the keeper last: it must go first.
    pub(crate) fn open_gated(&self, point: Point, with: impl FnOnce(Hooks) -> Hooks) -> (Store, Keeper) {
        let (gate, keeper) = Gate::new(point);
        (self.open_with(|hooks| with(hooks.faults(gate))).unwrap(), keeper)
    }

    pub(crate) fn open_with(&self, with: impl FnOnce(Hooks) -> Hooks) -> Result<Store, StoreError> {
        let (send, reports) = channel();
        let hooks = with(Hooks::new(move |report| send.send(report).unwrap_or_default()));
        let (journal, opened) = Journal::open(&self.dir(), &self.witness(), hooks)?;
        let next = opened.last.0 + 1;
        Ok(Store { journal, opened, reports, next })
    }

    /// Opens, tells what is there, and closes.
    pub(crate) fn look(&self) -> (BTreeMap<Vec<u8>, Vec<u8>>, Lsn, Continuity) {
        let opened = self.open().opened;
        (opened.entries.into_iter().collect(), opened.last, opened.continuity)
    }

    /// Copies the store away, as a backup does.
    pub(crate) fn back_up(&self) -> TempDir {
        let backup = tempfile::tempdir_in(self.root.path()).unwrap();
        fs::copy(self.database(), backup.path().join("journal.redb")).unwrap();
        backup
    }

    pub(crate) fn restore(&self, backup: &TempDir) {
        fs::copy(backup.path().join("journal.redb"), self.database()).unwrap();
    }
}

/// An open store.
pub(crate) struct Store {
    pub(crate) journal: Journal,
    pub(crate) opened: Opened,
    pub(crate) reports: Receiver<Report>,
    next: u64,
}

impl Store {
    /// Submits the next batch.
    pub(crate) fn submit(&mut self, writes: &[(&str, Option<&str>)], after_chunks: bool) -> Lsn {
        let lsn = Lsn(self.next);
        self.journal.submit(batch(lsn, writes, after_chunks)).unwrap();
        self.next += 1;
        lsn
    }

    /// Submits a put, and waits until it is durable.
    pub(crate) fn put(&mut self, key: &str, value: &str) -> Lsn {
        let lsn = self.submit(&[(key, Some(value))], false);
        self.wait_for(lsn);
        lsn
    }

    pub(crate) fn wait_for(&self, lsn: Lsn) {
        while self.durable() < lsn {}
    }

    /// The next report, which says that something is durable.
    pub(crate) fn durable(&self) -> Lsn {
        match self.reports.recv().unwrap() {
            Report::Durable(lsn) => lsn,
            Report::Failed(error) => panic!("the store failed: {error}"),
        }
    }

    /// Submits one batch after the other, until one fails or there are as many as this. The last that is durable, and
    /// the failure.
    pub(crate) fn run(&mut self, batches: u64) -> (Lsn, Option<StoreError>) {
        let mut last = self.opened.last;
        for _ in 0..batches {
            let key = format!("{}", self.next);
            let lsn = self.submit(&[(&key, Some("x"))], true);
            match self.reports.recv().unwrap() {
                Report::Durable(durable) => last = durable,
                Report::Failed(error) => return (last, Some(error)),
            }
            assert_eq!(last, lsn);
        }
        (last, None)
    }
}

pub(crate) fn batch(lsn: Lsn, writes: &[(&str, Option<&str>)], after_chunks: bool) -> Batch {
    let write =
        |(key, value): &(&str, Option<&str>)| Write { key: key.as_bytes().into(), value: value.map(Into::into) };
    Batch { lsn, writes: writes.iter().map(write).collect(), after_chunks }
}

pub(crate) fn entries(of: &[(&str, &str)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    of.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

pub(crate) fn flip(path: &Path, at: u64, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

/// Fails at the n-th time that a point is reached, counted from 1, and at each later time.
#[derive(Debug)]
pub(crate) struct FailAt {
    point: Point,
    left: Mutex<u32>,
}

impl FailAt {
    pub(crate) fn new(point: Point, nth: u32) -> Arc<Self> {
        Arc::new(FailAt { point, left: Mutex::new(nth) })
    }
}

impl Faults for FailAt {
    fn reach(&self, point: Point) -> io::Result<()> {
        let mut left = self.left.lock().unwrap();
        if point == self.point {
            *left = left.saturating_sub(1);
        }
        if *left == 0 { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

/// Holds the writer at a point, each time until it is let go.
#[derive(Debug)]
struct Gate {
    point: Point,
    arrived: Mutex<std::sync::mpsc::Sender<()>>,
    go: Mutex<Receiver<()>>,
}

/// Tells that the writer stands at the gate, and opens it. Dropping it opens the gate for good.
pub(crate) struct Keeper {
    arrivals: Receiver<()>,
    go: std::sync::mpsc::Sender<()>,
}

impl Gate {
    fn new(point: Point) -> (Arc<Self>, Keeper) {
        let (arrive, arrivals) = channel();
        let (go, wait) = channel();
        (Arc::new(Gate { point, arrived: Mutex::new(arrive), go: Mutex::new(wait) }), Keeper { arrivals, go })
    }
}

impl Keeper {
    pub(crate) fn arrival(&self) {
        self.arrivals.recv().unwrap();
    }

    pub(crate) fn pass(&self) {
        self.go.send(()).unwrap();
    }
}

impl Faults for Gate {
    fn reach(&self, point: Point) -> io::Result<()> {
        if point == self.point && self.arrived.lock().unwrap().send(()).is_ok() {
            // An error means that the keeper has gone.
            let _ = self.go.lock().unwrap().recv();
        }
        Ok(())
    }
}
