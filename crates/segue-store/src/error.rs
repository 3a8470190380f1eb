//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;

use segue_proto::{Code, Lsn};
use thiserror::Error;

/// Why a store can't be opened, or failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or this one, has the store open already.
    #[error("the store in {dir} is in use: another process has it open, and a store has one user at a time")]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The store holds something that it can't have written. Nothing of it may be believed.
    #[error("the store is corrupt: {what}")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// Reading, writing or syncing failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path where there is one.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The store was written by a later version.
    #[error("the store has format {found}, and this version reads format {known}")]
    Format {
        /// The store's format.
        found: u8,
        /// The format of this version.
        known: u8,
    },
    /// The continuity mark would lie inside the store, where a backup copies both.
    #[error("the witness file {witness} lies inside the store, where a restored backup would bring its own")]
    WitnessInside {
        /// The witness file.
        witness: PathBuf,
    },
    /// No directory for the user's state is known, so there is no default place for the witness file.
    #[error("neither XDG_STATE_HOME nor HOME is set; name a witness file outside the store")]
    NoStateDir,
    /// A batch whose number isn't the one that follows. The caller's mistake; nothing changed.
    #[error("batch {} was submitted where {} follows", got.0, expected.0)]
    OutOfOrder {
        /// The number that follows.
        expected: Lsn,
        /// The batch's number.
        got: Lsn,
    },
    /// The store failed before, or is closed; it takes nothing more (HO-STORE-3).
    #[error("the store is halted; open it again")]
    Halted,
    /// No blob of this hash, or not these bytes of it, are held.
    #[error("blob {blob} isn't held{}", if *.complete { "" } else { " completely" })]
    NotHeld {
        /// The blob's hash, in hex.
        blob: String,
        /// False if part of it is held.
        complete: bool,
    },
    /// A length or a count is over its bound. The caller's mistake; nothing changed.
    #[error("{what} is over its bound of {bound}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound.
        bound: u64,
    },
}

impl StoreError {
    /// The protocol's code for it: `STORE_CORRUPT` if the content can't be believed, else `STORE_IO`.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Corrupt { .. } => Code::STORE_CORRUPT,
            StoreError::NotHeld { .. } => Code::DATA_UNAVAILABLE,
            _ => Code::STORE_IO,
        }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        StoreError::Corrupt { what: what.into() }
    }

    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        StoreError::Io { what: what.into(), source }
    }
}

/// Names what was being done when an I/O error came up.
pub(crate) trait During<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(what(), source))
    }
}

/// The database's own errors: corruption is told apart, the rest is I/O as far as a store's user can act on it.
pub(crate) fn from_redb(what: &str, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(source) if is_malformed(&source) => StoreError::corrupt(format!("{what}: {source}")),
        redb::Error::Io(source) => StoreError::io(what, source),
        redb::Error::Corrupted(found) => StoreError::corrupt(format!("{what}: {found}")),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableIsNotMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted) => StoreError::corrupt(format!("{what}: {error}")),
        error => StoreError::io(what, io::Error::other(error)),
    }
}

/// A file that is too short, or whose magic number is wrong, comes back from the database as an I/O error of these
/// kinds.
fn is_malformed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
