//! Failpoints: the places where a test makes the store fail, stop, or be killed.

use std::fmt;
use std::io;

/// A place in the life of a store. They come in this order: the first four at each open, the others at each commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// A new store's file is in place; it has no mark yet.
    Created,
    /// A new store's first mark is synced.
    FirstMark,
    /// This opening is counted in the store, and not yet in the mark.
    Counted,
    /// This opening is counted in the mark.
    Marked,
    /// Chunks are about to be synced, for a batch that stands behind them.
    Chunks,
    /// A transaction is about to begin.
    Commit,
    /// The database file is about to be written to.
    Write,
    /// The database file is about to be synced.
    Sync,
    /// A transaction is durable; the mark doesn't say so yet, and nobody was told.
    Committed,
    /// The mark names the transaction's LSN; nobody was told.
    Told,
}

impl Point {
    /// Every point, in the order above.
    pub const ALL: [Point; 10] = [
        Point::Created,
        Point::FirstMark,
        Point::Counted,
        Point::Marked,
        Point::Chunks,
        Point::Commit,
        Point::Write,
        Point::Sync,
        Point::Committed,
        Point::Told,
    ];
}

/// What a test does at the points: nothing (`Ok`), an I/O error, a block until a condition holds, or the end of the
/// process. It is called on the thread that opens, and then on the writer's.
pub trait Faults: fmt::Debug + Send + Sync {
    /// Called at each point. An error is taken as the disk's.
    ///
    /// # Errors
    /// Whatever the test wants to see.
    fn reach(&self, point: Point) -> io::Result<()>;
}

/// No faults.
#[derive(Debug)]
pub(crate) struct NoFaults;

impl Faults for NoFaults {
    fn reach(&self, _: Point) -> io::Result<()> {
        Ok(())
    }
}
