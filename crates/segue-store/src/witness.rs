//! The continuity mark: a small file outside the store that remembers how far the store had come.
//!
//! A backup that is copied back looks like a healthy store. The mark stays where it was, so it is ahead of such a
//! store, and tells. It holds the store's id, how often it was opened, and its last durable LSN.
//!
//! # The order of writes, and why no crash is taken for a restore
//!
//! Let S be what the store says, durably, and M what the mark says; `opens` and `lsn` are compared apart.
//!
//! - *An opening* commits S.opens + 1 in the store with a sync, and only then writes M.opens and syncs it. Before it
//!   does so it brings M up to S, should a crash have left it behind. So at every instant
//!   M.opens ≤ S.opens ≤ M.opens + 1, and a store that was left to itself is never behind its mark.
//! - *A commit* makes S.lsn durable, and only then writes M.lsn, and only then is anybody told. So M.lsn ≤ S.lsn at
//!   every instant, and everything that was acknowledged is ≤ M.lsn. That write isn't synced: a killed process doesn't
//!   lose it, and a power cut only leaves M.lsn lower, on the safe side of the inequality.
//! - *A restored store* has fewer opens than the mark if the backup was taken while it was closed, or in an earlier
//!   opening. If it was taken while the store was open in this same opening, it has a lower LSN than the mark, unless
//!   nothing was acknowledged since; then it is the same store.
//! - *A new store* is created with opens = 0, then gets its first mark, then is opened like any other. A store that
//!   counts no opening never took a batch, so it may lack a mark.
//! - *A store in doubt* is counted on from the greater of S and M, so that the same backup copied back again is behind
//!   the new mark too. It is flagged in the store by the very transaction that counts the opening, and stays in doubt
//!   over crashes until the first batch after it is durable, which clears the flag in its own transaction. So **the
//!   first batch after an opening in doubt must carry what makes the device start anew** (its new actors).
//! - *A torn mark*: the file has two slots, a page apart, written in turn, each with a checksum; the newest that is
//!   whole counts. The older one is at most one opening behind.
//!
//! What this doesn't notice: the store and the witness restored together (a snapshot of the machine), and a backup
//! that is taken and copied back within one opening that a power cut ended, if M.lsn didn't reach the disk.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use segue_proto::Lsn;

use crate::error::{During, StoreError};
use crate::files;
use crate::tables::{Fields, Meta, checksum};

/// Why an opening is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The store was used before, and there is no mark for it.
    #[error("the store has no continuity mark: the witness file is missing, or belongs to another store")]
    NoMark,
    /// The mark saw openings that the store knows nothing of.
    #[error("the store looks like a restored backup: it knows of {store} openings, its continuity mark of {mark}")]
    Opens {
        /// The store's count.
        store: u64,
        /// The mark's count.
        mark: u64,
    },
    /// The mark saw batches that the store knows nothing of.
    #[error("the store looks like a restored backup: it ends at batch {}, its continuity mark at {}", store.0, mark.0)]
    Batches {
        /// The store's last batch.
        store: Lsn,
        /// The mark's.
        mark: Lsn,
    },
    /// The mark is older than the store by more than a crash explains.
    #[error("the continuity mark looks restored: it knows of {mark} openings, the store of {store}")]
    StaleMark {
        /// The store's count.
        store: u64,
        /// The mark's count.
        mark: u64,
    },
    /// An earlier opening was in doubt, and no batch became durable since.
    #[error("an earlier opening of the store was in doubt, and nothing was written since")]
    Unsettled,
}

/// The witness file's usual place: a file named after the store's directory in the user's directory for state,
/// `$XDG_STATE_HOME/segue/`, else `~/.local/state/segue/` (on Windows `%LOCALAPPDATA%\segue\`). The name is a hash of
/// the directory's canonical path, so a store that is moved must be told where its mark is, or opens in doubt.
///
/// Creates the store's directory if there is none, since only what exists has a canonical path.
///
/// # Errors
/// [`StoreError::NoStateDir`] if the environment names no such directory; I/O errors of the store's directory.
pub fn default_witness(store: &Path) -> Result<PathBuf, StoreError> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = set("XDG_STATE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/state")))
        .or_else(|| set("LOCALAPPDATA"))
        .ok_or(StoreError::NoStateDir)?;
    witness_under(&state, store)
}

/// [`default_witness`] under a directory for state that the caller names.
///
/// # Errors
/// I/O errors of the store's directory.
pub fn witness_under(state: &Path, store: &Path) -> Result<PathBuf, StoreError> {
    let store = canonical(store)?;
    let name = checksum(NAME_CONTEXT, &[store.as_os_str().as_encoded_bytes()]);
    Ok(state.join("segue").join(format!("{name:032x}.witness")))
}

/// The canonical path of a directory, which is created if there is none.
pub(crate) fn canonical(dir: &Path) -> Result<PathBuf, StoreError> {
    files::create_dir(dir).during(|| format!("creating {}", dir.display()))?;
    fs::canonicalize(dir).during(|| format!("resolving {}", dir.display()))
}

/// What the mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) store: [u8; 16],
    pub(crate) opens: u64,
    pub(crate) last: Lsn,
}

impl Mark {
    pub(crate) fn of(meta: &Meta) -> Self {
        Mark { store: meta.store, opens: meta.opens, last: meta.last }
    }
}

/// Whether the store goes on from where it stopped.
pub(crate) fn judge(meta: &Meta, mark: Option<Mark>) -> Result<(), Doubt> {
    let Some(mark) = mark.filter(|mark| mark.store == meta.store) else {
        return if meta.opens == 0 { Ok(()) } else { Err(Doubt::NoMark) };
    };
    if meta.opens < mark.opens {
        Err(Doubt::Opens { store: meta.opens, mark: mark.opens })
    } else if meta.last < mark.last {
        Err(Doubt::Batches { store: meta.last, mark: mark.last })
    } else if meta.opens - mark.opens > 1 {
        Err(Doubt::StaleMark { store: meta.opens, mark: mark.opens })
    } else if meta.adrift {
        Err(Doubt::Unsettled)
    } else {
        Ok(())
    }
}

/// The witness file, open.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    file: File,
    /// Counts the writes; its parity is the slot.
    turn: u64,
    mark: Option<Mark>,
}

impl Witness {
    /// Opens the file, or makes an empty one.
    pub(crate) fn open(path: &Path, store: &Path) -> Result<Self, StoreError> {
        let during = || format!("opening the witness file {}", path.display());
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = canonical(parent)?;
        if parent.starts_with(store) {
            return Err(StoreError::WitnessInside { witness: path.to_path_buf() });
        }
        let (file, fresh) = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => (create(path).during(during)?, true),
            other => (other.during(during)?, false),
        };
        if fresh {
            files::sync_dir(&parent).during(during)?;
        }
        let newest = [0, 1].into_iter().filter_map(|slot| read(&file, slot).transpose());
        let newest = newest.collect::<io::Result<Vec<_>>>().during(during)?.into_iter().max_by_key(|found| found.0);
        let (turn, mark) = newest.map_or((0, None), |(turn, mark)| (turn, Some(mark)));
        Ok(Witness { path: path.to_path_buf(), file, turn, mark })
    }

    /// What it says.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Writes the mark, without a sync.
    pub(crate) fn write(&mut self, mark: Mark) -> Result<(), StoreError> {
        let turn = self.turn + 1;
        let slot = encode(turn, &mark);
        files::write_at(&self.file, offset(turn), &slot).during(|| self.doing("writing"))?;
        (self.turn, self.mark) = (turn, Some(mark));
        Ok(())
    }

    /// Writes the mark and syncs it.
    pub(crate) fn write_synced(&mut self, mark: Mark) -> Result<(), StoreError> {
        self.write(mark)?;
        self.file.sync_data().during(|| self.doing("syncing"))
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the witness file {}", self.path.display())
    }
}

/// An empty file of its full length, so that no later write needs room.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    files::write_at(&file, 0, &[0; 2 * PAGE as usize])?;
    file.sync_all()?;
    Ok(file)
}

fn read(file: &File, slot: u64) -> io::Result<Option<(u64, Mark)>> {
    let mut bytes = [0; SLOT];
    let n = files::read_at(file, offset(slot), &mut bytes)?;
    Ok(decode(&bytes[..n]))
}

fn offset(turn: u64) -> u64 {
    turn % 2 * PAGE
}

fn encode(turn: u64, mark: &Mark) -> Vec<u8> {
    let mut slot = MAGIC.to_vec();
    slot.extend_from_slice(&turn.to_be_bytes());
    slot.extend_from_slice(&mark.store);
    slot.extend_from_slice(&mark.opens.to_be_bytes());
    slot.extend_from_slice(&mark.last.0.to_be_bytes());
    let tag = checksum(MARK_CONTEXT, &[&slot]);
    slot.extend_from_slice(&tag.to_be_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let mut fields = Fields(slot.strip_prefix(MAGIC)?);
    let turn = u64::from_be_bytes(fields.take().ok()?);
    let store = fields.take().ok()?;
    let opens = u64::from_be_bytes(fields.take().ok()?);
    let last = Lsn(u64::from_be_bytes(fields.take().ok()?));
    let mark = Mark { store, opens, last };
    (encode(turn, &mark) == slot).then_some((turn, mark))
}

const MAGIC: &[u8] = b"segue mark 1\n\0\0\0";
const MARK_CONTEXT: &str = "segue/1 store mark";
const NAME_CONTEXT: &str = "segue/1 store path";
/// The bytes of a slot.
const SLOT: usize = 16 + 8 + 16 + 8 + 8 + 16;
/// The distance of the slots: no disk tears two of these at once.
const PAGE: u64 = 4_096;
