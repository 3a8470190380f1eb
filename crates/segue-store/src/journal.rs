//! The journal: what the core wants to be durable, in order, with as few syncs as will do.
//!
//! # Commits
//!
//! [`Journal::submit`] puts a batch in a queue and returns. A thread takes all that wait, writes them in one
//! transaction, and reports the last LSN: while one commit syncs, the next group gathers. **A commit is one
//! `fdatasync`** of `journal.redb`, plus an unsynced write of 72 bytes to the witness file: the database commits in
//! one phase, where checksums instead of a second sync tell a torn commit from a whole one. A commit that finds the
//! file full grows it, to its double, and syncs that first.
//!
//! Batches that stand behind chunks ([`Batch::after_chunks`]) are committed after [`ChunkSync::sync`]. Batches that
//! wait before the first such one, when chunks really are unsynced, get a commit of their own, so that a record never
//! waits for megabytes of another session.
//!
//! # Failure
//!
//! After a write or sync that failed nobody knows what the disk holds. So the first failure is reported, once, and the
//! journal takes nothing more (HO-STORE-3); what was submitted and not reported as durable may be found, or not, when
//! the store is opened again. [`crate::witness`] tells why no crash is taken for a restored backup.
//!
//! # Opening
//!
//! Opening reads and verifies the whole database: the tree by the database's checksums, each entry by its own, and
//! the set of entries by their sum. It is the same work after a crash and after a clean end, so a crash costs nothing
//! extra. An opening syncs the database a few times, and the witness file once.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use segue_proto::{Batch, Continuity, Lsn};

use crate::error::{During, StoreError};
use crate::faults::{Faults, NoFaults};
use crate::opening::{self, Ready};
use crate::queue::Queue;
use crate::witness::Doubt;
use crate::writer;

/// The journal of a device. Dropping it commits what was submitted, without waiting for room, and closes the store.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    writer: Option<JoinHandle<()>>,
}

/// What an opening found: the arguments of `Endpoint::open`.
#[derive(Debug)]
pub struct Opened {
    /// Every key and its value, in the order of the keys.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// The last batch that is in them. The next one submitted is numbered one higher.
    pub last: Lsn,
    /// Whether the store goes on from where it stopped. If it is unproven, the first batch must carry what makes the
    /// device start anew: once that batch is durable, the next opening is proven again.
    pub continuity: Continuity,
    /// Why it is unproven, in words for the user.
    pub doubt: Option<Doubt>,
    /// The store's random id.
    pub store_id: [u8; 16],
}

/// What the writer tells.
#[derive(Debug)]
pub enum Report {
    /// Every batch up to this one is durable.
    Durable(Lsn),
    /// Writing or syncing failed. It is the last report; the journal is halted.
    Failed(StoreError),
}

/// What stands before the durability of some batches: the chunks that were verified and written before.
pub trait ChunkSync: Send + Sync {
    /// Whether a sync would have anything to do. A sync that is under way counts as pending.
    fn pending(&self) -> bool;

    /// Makes every chunk durable whose write had returned before the call.
    ///
    /// # Errors
    /// If a sync failed, now or earlier; the journal halts.
    fn sync(&self) -> Result<(), StoreError>;
}

/// What an opening is given beside its paths.
pub struct Hooks {
    pub(crate) report: Box<dyn FnMut(Report) + Send>,
    pub(crate) chunks: Option<Arc<dyn ChunkSync>>,
    pub(crate) faults: Arc<dyn Faults>,
}

impl Hooks {
    /// `report` is called on the writer's thread, in the order of the LSNs. It must not block: the next commit waits
    /// for it. An async caller sends into an unbounded channel; there are never more reports than batches submitted.
    pub fn new(report: impl FnMut(Report) + Send + 'static) -> Self {
        Hooks { report: Box::new(report), chunks: None, faults: Arc::new(NoFaults) }
    }

    /// What [`Batch::after_chunks`] waits for, usually the [`Blobs`](crate::Blobs) of the same store. Without it there
    /// is nothing to wait for.
    #[must_use]
    pub fn chunks(mut self, chunks: Arc<dyn ChunkSync>) -> Self {
        self.chunks = Some(chunks);
        self
    }

    /// Failpoints, for tests.
    #[must_use]
    pub fn faults(mut self, faults: Arc<dyn Faults>) -> Self {
        self.faults = faults;
        self
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").field("chunks", &self.chunks.is_some()).finish_non_exhaustive()
    }
}

/// What the journal has done since it was opened. Exact, so that tests and benches may gate on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that are durable.
    pub batches: u64,
    /// Transactions that made them so.
    pub commits: u64,
    /// Syncs of the database file, those of the opening included.
    pub syncs: u64,
    /// How often the database file grew. Each growth costs a sync of its own.
    pub growths: u64,
    /// Syncs of chunks that batches waited for.
    pub chunk_syncs: u64,
}

/// Why a batch wasn't taken. The batch comes back, and nothing changed.
#[derive(Debug)]
pub struct Rejected {
    /// The batch.
    pub batch: Batch,
    /// Why.
    pub reason: Reason,
}

/// Why a batch wasn't taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// [`QUEUE_BATCHES`] batches or [`QUEUE_BYTES`] bytes wait. Submit it again after the next report.
    Full,
    /// Its number isn't the next one, which is this.
    OutOfOrder(Lsn),
    /// The store failed, or is closed.
    Halted,
}

impl Journal {
    /// Opens the store in `dir`, which is created if there is none, with its continuity mark in the file `witness`,
    /// which must lie outside (see [`default_witness`](crate::default_witness)).
    ///
    /// Blocks for as long as reading the database takes, and a few syncs.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is open already, [`StoreError::Corrupt`] if what it holds can't be believed,
    /// [`StoreError::WitnessInside`], [`StoreError::Format`], or an I/O error.
    pub fn open(dir: &Path, witness: &Path, hooks: Hooks) -> Result<(Journal, Opened), StoreError> {
        let counters = Arc::new(Counters::default());
        let (Ready { store, entries }, doubt) = opening::open(dir, witness, &hooks.faults, &counters)?;
        let opened = Opened {
            entries,
            last: store.meta.last,
            continuity: if doubt.is_some() { Continuity::Unproven } else { Continuity::Proven },
            doubt,
            store_id: store.meta.store,
        };
        let queue = Arc::new(Queue::new(opened.last));
        let writer = {
            let (queue, counters) = (Arc::clone(&queue), Arc::clone(&counters));
            let name = "segue-journal".to_owned();
            thread::Builder::new().name(name).spawn(move || writer::run(store, hooks, &queue, &counters))
        };
        let writer = Some(writer.during(|| "starting the journal's thread".to_owned())?);
        Ok((Journal { queue, counters, writer }, opened))
    }

    /// Hands over the next batch, and returns at once. Whether it is durable comes as a [`Report`].
    ///
    /// The queue is bounded: a batch over the bound comes back, to be submitted again after the next report. One batch
    /// is always taken if none waits, however large it is.
    ///
    /// # Errors
    /// [`Rejected`], with the batch. Nothing changed.
    pub fn submit(&self, batch: Batch) -> Result<(), Rejected> {
        self.queue.submit(batch)
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Commits what was submitted, reports it, and closes the store. The same as dropping it; by name, it says where
    /// the wait is.
    pub fn close(self) {}
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            // The thread catches its own panics and reports them as a failure.
            let _ = writer.join();
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = self.batch.lsn;
        match self.reason {
            Reason::Full => write!(f, "the journal's queue has no room for batch {} now", got.0),
            Reason::OutOfOrder(expected) => StoreError::OutOfOrder { expected, got }.fmt(f),
            Reason::Halted => StoreError::Halted.fmt(f),
        }
    }
}

impl std::error::Error for Rejected {}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) batches: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) growths: AtomicU64,
    pub(crate) chunk_syncs: AtomicU64,
}

impl Counters {
    fn read(&self) -> Stats {
        Stats {
            batches: self.batches.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            growths: self.growths.load(Ordering::Relaxed),
            chunk_syncs: self.chunk_syncs.load(Ordering::Relaxed),
        }
    }
}

/// How many batches may wait: more than a core with its own bounds has outstanding; guess.
pub const QUEUE_BATCHES: usize = 4_096;
/// How many bytes of keys and values may wait: what a peer may cost (16 MiB), four times over; guess.
pub const QUEUE_BYTES: usize = 64 << 20;
