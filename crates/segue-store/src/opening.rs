//! Opening a store: the lock, the database, the verdict on its continuity, and the count of this opening.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{Database, DatabaseError};
use tracing::warn;

use crate::backend::Backend;
use crate::error::{During, StoreError, from_redb};
use crate::faults::{Faults, Point};
use crate::files;
use crate::journal::Counters;
use crate::tables::{Entry, Meta};
use crate::witness::{self, Doubt, Mark, Witness};
use crate::writer::{Store, transact};

/// A store that is open and counted, and what it holds.
pub(crate) struct Ready {
    pub(crate) store: Store,
    pub(crate) entries: Vec<Entry>,
}

/// Opens, or creates, the store in `dir`.
pub(crate) fn open(
    dir: &Path,
    witness: &Path,
    faults: &Arc<dyn Faults>,
    counters: &Arc<Counters>,
) -> Result<(Ready, Option<Doubt>), StoreError> {
    let dir = witness::canonical(dir)?;
    let lock = lock(&dir)?;
    let mut witness = Witness::open(witness, &dir)?;
    let (db, mut meta, entries) = database(&dir, faults, counters)?;
    let doubt = witness::judge(&meta, witness.mark()).err();
    if let Some(doubt) = doubt {
        warn!(dir = %dir.display(), %doubt, "opening without proven continuity");
    }
    count(&db, &mut meta, &mut witness, doubt, faults)?;
    Ok((Ready { store: Store { db, meta, witness, _lock: lock }, entries }, doubt))
}

/// Counts this opening: in the store, then in the mark. [`crate::witness`] tells why in this order.
fn count(
    db: &Database,
    meta: &mut Meta,
    witness: &mut Witness,
    doubt: Option<Doubt>,
    faults: &Arc<dyn Faults>,
) -> Result<(), StoreError> {
    let mark = witness.mark().filter(|mark| mark.store == meta.store);
    if doubt.is_none() && mark.is_none_or(|mark| mark.opens < meta.opens) {
        witness.write_synced(Mark::of(meta))?;
    }
    faults.reach(Point::FirstMark).during(|| COUNTING.to_owned())?;
    meta.opens = meta.opens.max(mark.map_or(0, |mark| mark.opens)).saturating_add(1);
    meta.adrift = doubt.is_some();
    transact(db, meta, &[]).map_err(|error| from_redb(COUNTING, error))?;
    faults.reach(Point::Counted).during(|| COUNTING.to_owned())?;
    witness.write_synced(Mark::of(meta))?;
    faults.reach(Point::Marked).during(|| COUNTING.to_owned())
}

/// One user at a time. The database has a lock of its own, but the blobs beside it haven't.
fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join("lock");
    let during = || format!("locking {}", path.display());
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).during(during)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(error).during(during),
    }
}

/// The lock on a store.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Unlocks by name, as closing isn't enough: a child process that is just being started, anywhere in this one,
    /// shares the open file until it runs its program.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            warn!(%error, "unlocking the store");
        }
    }
}

/// The database, verified, and its content. On a file that was tampered with it may panic, which is caught: nothing
/// is kept of a database that did.
fn database(
    dir: &Path,
    faults: &Arc<dyn Faults>,
    counters: &Arc<Counters>,
) -> Result<(Database, Meta, Vec<Entry>), StoreError> {
    let path = dir.join(FILE);
    let len = files::len_of(&path).during(|| format!("looking for {}", path.display()))?;
    let open = || match len {
        // The database would take an empty file for a new one.
        Some(0) => Err(StoreError::corrupt(format!("{} is empty", path.display()))),
        Some(_) => attach(dir, &path, faults, counters),
        None => create(dir, &path, faults, counters),
    };
    let verified = || {
        let db = open()?;
        let (meta, entries) = Meta::load(&db)?;
        Ok((db, meta, entries))
    };
    catch_unwind(AssertUnwindSafe(verified))
        .unwrap_or_else(|_| Err(StoreError::corrupt(format!("{} can't be read", path.display()))))
}

/// A new database takes its name when it is complete, so that no crash leaves half of one.
fn create(dir: &Path, path: &Path, faults: &Arc<dyn Faults>, counters: &Arc<Counters>) -> Result<Database, StoreError> {
    let during = || format!("creating {}", path.display());
    let draft = dir.join(DRAFT);
    File::create(&draft).during(during)?;
    let db = attach(dir, &draft, faults, counters)?;
    let mut store = [0; 16];
    getrandom::fill(&mut store).map_err(std::io::Error::from).during(|| "drawing the store's id".to_owned())?;
    transact(&db, &mut Meta::new(store), &[]).map_err(|error| from_redb(&during(), error))?;
    fs::rename(&draft, path).during(during)?;
    files::sync_dir(dir).during(during)?;
    faults.reach(Point::Created).during(during)?;
    Ok(db)
}

fn attach(dir: &Path, path: &Path, faults: &Arc<dyn Faults>, counters: &Arc<Counters>) -> Result<Database, StoreError> {
    let what = format!("opening {}", path.display());
    let file = OpenOptions::new().read(true).write(true).open(path).during(|| what.clone())?;
    let backend = Backend::new(file, Arc::clone(counters), Arc::clone(faults)).map_err(|e| from_redb(&what, e))?;
    let opened =
        Database::builder().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(backend);
    opened.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { dir: dir.to_path_buf() },
        error => from_redb(&what, error.into()),
    })
}

const FILE: &str = "journal.redb";
const DRAFT: &str = "journal.redb.new";
const COUNTING: &str = "counting the opening of the journal";
/// The database's cache, in bytes: entries are read once, at the opening, so it only serves the tree's inner pages.
const CACHE: usize = 16 << 20;
