//! Making blobs durable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::{mem, thread};

use segue_proto::wire::Hash;

use super::Blobs;
use crate::error::{During, StoreError};
use crate::files;
use crate::journal::ChunkSync;

impl Blobs {
    /// Makes durable whatever was written, completed, moved or copied before the call. A caller that receives much may
    /// call it now and then, so that the sync before a promise is short. With more than [`MAX_DIRTY`] files open,
    /// receiving does so itself.
    ///
    /// # Errors
    /// I/O errors. After one the blobs are halted: the system may forget what it failed to write, so a later sync that
    /// succeeds would prove nothing.
    pub fn sync(&self) -> Result<(), StoreError> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        self.ensure_alive()?;
        let (dirty, done, dirs, outside) = {
            let mut index = self.lock();
            index.in_flight = true;
            index.parts.retain(|_, file| file.strong_count() > 0);
            // `done` stays until the files have their new names, so that they count as complete throughout.
            let (dirs, outside) = (mem::take(&mut index.dirs), mem::take(&mut index.outside));
            (mem::take(&mut index.dirty), index.done.clone(), dirs, outside)
        };
        let result = self.sync_taken(&dirty, &done, dirs).and_then(|()| sync_outside(&outside));
        self.failed.fetch_or(result.is_err(), Ordering::Release);
        self.lock().in_flight = false;
        result
    }

    /// Syncs if so many files are open that the system may refuse more.
    pub(super) fn make_room(&self) -> Result<(), StoreError> {
        self.ensure_alive()?;
        let full = self.lock().dirty.len() >= MAX_DIRTY;
        if full { self.sync() } else { Ok(()) }
    }

    fn sync_taken(
        &self,
        dirty: &BTreeMap<Hash, Arc<File>>,
        done: &BTreeMap<Hash, u64>,
        mut dirs: BTreeSet<PathBuf>,
    ) -> Result<(), StoreError> {
        sync_files(&dirty.values().map(Arc::as_ref).collect::<Vec<_>>())?;
        for blob in done.keys() {
            self.name_full(blob)?;
        }
        if !done.is_empty() {
            dirs.extend([self.part.clone(), self.full.clone()]);
        }
        dirs.iter().try_for_each(|dir| sync_dir(dir))
    }

    fn name_full(&self, blob: &Hash) -> Result<(), StoreError> {
        let (from, to) = (self.part_path(blob), self.full_path(blob));
        match fs::rename(&from, &to) {
            // Declared complete twice, by two who received it: the file has its name already, or was taken.
            Err(error) if error.kind() == ErrorKind::NotFound && self.path(blob).is_some() => {}
            other => other.during(|| format!("completing {}", to.display()))?,
        }
        let mut index = self.lock();
        index.done.remove(blob);
        Ok(())
    }

    fn ensure_alive(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) { Err(StoreError::Halted) } else { Ok(()) }
    }
}

impl ChunkSync for Blobs {
    fn pending(&self) -> bool {
        let index = self.lock();
        index.in_flight
            || !(index.dirty.is_empty() && index.done.is_empty() && index.dirs.is_empty() && index.outside.is_empty())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Blobs::sync(self)
    }
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    files::sync_dir(dir).during(|| format!("syncing {}", dir.display()))
}

/// Syncs directories that the user chose. One that was removed has no names left to be made durable.
fn sync_outside(dirs: &BTreeSet<PathBuf>) -> Result<(), StoreError> {
    dirs.iter().filter(|dir| dir.try_exists().unwrap_or(true)).try_for_each(|dir| match sync_dir(dir) {
        // It went in between.
        Err(_) if matches!(dir.try_exists(), Ok(false)) => Ok(()),
        other => other,
    })
}

/// Syncs files on a few threads: a journaling file system commits what several ask for at once in one go.
fn sync_files(files: &[&File]) -> Result<(), StoreError> {
    let sync = |files: &[&File]| files.iter().try_for_each(|file| file.sync_data());
    let mut shares = files.chunks(files.len().div_ceil(SYNC_THREADS).max(1));
    let own = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = shares.map(|share| scope.spawn(move || sync(share))).collect();
        let first = sync(own);
        others.into_iter().fold(first, |result, other| {
            let other = other.join().unwrap_or_else(|_| Err(io::Error::other("a thread that syncs panicked")));
            result.and(other)
        })
    })
    .during(|| "syncing blobs".to_owned())
}

/// Files that are open and not synced: an eighth of what systems commonly let a process open.
pub const MAX_DIRTY: usize = 128;
/// Threads that sync files at once, to share the file system's commits; guess.
const SYNC_THREADS: usize = 8;
