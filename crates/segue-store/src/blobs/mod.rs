//! Blobs on disk: what was received, chunk by chunk, and where own files lie.
//!
//! A blob is received into `part/<hash>`, written at offsets in any order. Once all of it is there it is declared
//! [complete](Partial::complete); the next [`Blobs::sync`] makes its bytes durable, and only then gives it its name in
//! `full/`. So whatever is in `full/` was complete and durable when it got there. After a crash before that, the
//! caller finds its chunks again by reading and hashing what is in `part/` ([`Blobs::search`]): no record of them is
//! kept. Paths are the hex digits of hashes and nothing else, so no name that a peer chose becomes a path.
//!
//! Nothing is verified here. Who writes has verified the chunk, and who reads verifies it, as files may rot, and
//! [linked](Blobs::link_external) ones may be edited.

mod export;
mod partial;
mod source;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use segue_proto::limits::MAX_CHUNK;
use segue_proto::wire::Hash;

pub use self::partial::Partial;
pub use self::source::Source;
pub use self::sync::MAX_DIRTY;
use crate::error::{During, StoreError};
use crate::files;

/// The blobs of a store. All methods block on the disk, and may be called from any thread.
///
/// It has no lock of its own: open the [`Journal`](crate::Journal) of the same directory, which has.
#[derive(Debug)]
pub struct Blobs {
    part: PathBuf,
    full: PathBuf,
    index: Mutex<Index>,
    /// One sync at a time: a second one must not return while the first still syncs what both were asked for.
    syncing: Mutex<()>,
    /// A sync failed. What the disk holds isn't known any more, so nothing is promised again.
    failed: AtomicBool,
}

/// What of a blob is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A file of this many bytes, with holes perhaps.
    Partial(u64),
    /// All of it, in the store or in a linked file; its length in bytes.
    Complete(u64),
}

#[derive(Debug, Default)]
struct Index {
    /// Files in `part/` that are open: all who receive a blob write to one file, which has one fate.
    parts: BTreeMap<Hash, Weak<File>>,
    /// Files written to since they were synced.
    dirty: BTreeMap<Hash, Arc<File>>,
    /// Partial files that were declared complete, with their lengths, until a sync renames them.
    done: BTreeMap<Hash, u64>,
    /// Directories of the store with names that aren't synced.
    dirs: BTreeSet<PathBuf>,
    /// The same of those that the user chose, who may remove them.
    outside: BTreeSet<PathBuf>,
    /// Files outside the store, by the hash that they had.
    links: BTreeMap<Hash, PathBuf>,
    /// A sync has taken from the above, and isn't over.
    in_flight: bool,
}

impl Blobs {
    /// Opens the blobs of the store in `dir`; creates what isn't there.
    ///
    /// # Errors
    /// I/O errors.
    pub fn open(dir: &Path) -> Result<Arc<Blobs>, StoreError> {
        let of = |name| dir.join("blobs").join(name);
        let (part, full) = (of("part"), of("full"));
        for path in [&part, &full] {
            files::create_dir(path).during(|| format!("creating {}", path.display()))?;
        }
        let (index, syncing, failed) = Default::default();
        Ok(Arc::new(Blobs { part, full, index, syncing, failed }))
    }

    /// What of a blob is held. A linked file counts as long as it is there.
    ///
    /// # Errors
    /// I/O errors.
    pub fn state(&self, blob: &Hash) -> Result<State, StoreError> {
        let looking = |path: &Path| format!("looking for {}", path.display());
        for path in self.places(blob) {
            if let Some(len) = files::len_of(&path).during(|| looking(&path))? {
                return Ok(State::Complete(len));
            }
        }
        let path = self.part_path(blob);
        let len = files::len_of(&path).during(|| looking(&path))?;
        Ok(len.map_or(State::Absent, State::Partial))
    }

    /// Opens a blob that is held completely, for reading many ranges. It stays readable whatever happens to its name.
    ///
    /// # Errors
    /// [`StoreError::NotHeld`], I/O errors.
    pub fn source(&self, blob: &Hash) -> Result<Source, StoreError> {
        match open_first(self.places(blob))? {
            Some(file) => Source::new(*blob, file),
            None => Err(StoreError::NotHeld { blob: blob.to_string(), complete: !self.part_path(blob).exists() }),
        }
    }

    /// Reads a range of a blob that is held completely, offset and length in bytes. For more than a few, open a
    /// [`Source`].
    ///
    /// # Errors
    /// As [`source`](Blobs::source) and [`Source::read`].
    pub fn read_range(&self, blob: &Hash, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        self.source(blob)?.read(offset, len)
    }

    /// Reads a small blob whole, and checks its hash: none if it isn't held completely, or isn't what it was.
    ///
    /// # Errors
    /// I/O errors; [`StoreError::TooLarge`] above [`MAX_READ`].
    pub fn get(&self, blob: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let source = match self.source(blob) {
            Err(StoreError::NotHeld { .. }) => return Ok(None),
            other => other?,
        };
        let bytes = source.read(0, source.len())?;
        Ok((blake3::hash(&bytes).as_bytes() == blob.as_bytes()).then_some(bytes))
    }

    /// Reads the ranges of a blob that a complete or partial file covers, and shows each to `found` by its position in
    /// `ranges`; what was never written reads as zeros, or isn't there. The caller hashes, and so knows which chunks
    /// it holds. `ranges` are offsets and lengths in bytes; it ends early if `found` returns false.
    ///
    /// # Errors
    /// I/O errors; [`StoreError::TooLarge`] if a range is longer than [`MAX_READ`].
    pub fn search(
        &self,
        blob: &Hash,
        ranges: impl IntoIterator<Item = (u64, u32)>,
        mut found: impl FnMut(usize, &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let mut places = self.places(blob);
        places.push(self.part_path(blob));
        let Some(file) = open_first(places)? else { return Ok(()) };
        let mut buf = Vec::new();
        for (at, (offset, len)) in ranges.into_iter().enumerate() {
            bound("a range", u64::from(len), MAX_READ)?;
            buf.resize(len as usize, 0);
            let n = files::read_at(&file, offset, &mut buf).during(|| format!("reading blob {blob}"))?;
            if n == buf.len() && !found(at, &buf) {
                break;
            }
        }
        Ok(())
    }

    /// Takes a file outside the store for a source of a blob, without copying it. The index is in memory only and
    /// holds [`MAX_LINKS`]; the caller links its files again after a restart. The file may change or go: readers
    /// verify.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if the index is full.
    pub fn link_external(&self, blob: &Hash, path: &Path) -> Result<(), StoreError> {
        let mut index = self.lock();
        if !index.links.contains_key(blob) {
            bound("the number of linked files", index.links.len() as u64 + 1, MAX_LINKS)?;
        }
        index.links.insert(*blob, path.to_path_buf());
        Ok(())
    }

    /// Forgets a linked file. The file itself stays.
    pub fn unlink_external(&self, blob: &Hash) {
        self.lock().links.remove(blob);
    }

    /// Where a complete blob lies, for callers with a file API of their own; after moving it away they say so by
    /// [`link_external`](Blobs::link_external). Call [`sync`](Blobs::sync) first if it was just completed.
    pub fn path(&self, blob: &Hash) -> Option<PathBuf> {
        self.places(blob).into_iter().find(|path| path.is_file())
    }

    /// Whether a blob lies complete in the store itself, where nobody else changes it.
    pub fn is_stored(&self, blob: &Hash) -> bool {
        self.full_path(blob).is_file()
    }

    /// Removes what is held of a blob, and forgets its link; a linked file stays. Not for a blob that is being
    /// received: its next sync would miss the file, and fail.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove(&self, blob: &Hash) -> Result<(), StoreError> {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut index = self.lock();
        index.parts.remove(blob);
        index.dirty.remove(blob);
        index.done.remove(blob);
        index.links.remove(blob);
        drop(index);
        remove_if_there(&self.part_path(blob))?;
        remove_if_there(&self.full_path(blob))
    }

    /// The hashes of all files in the store, for those who clear up.
    ///
    /// # Errors
    /// I/O errors.
    pub fn list(&self) -> Result<Vec<Hash>, StoreError> {
        let mut hashes = BTreeSet::new();
        for dir in [&self.part, &self.full] {
            let during = || format!("listing {}", dir.display());
            for entry in fs::read_dir(dir).during(during)? {
                hashes.extend(entry.during(during)?.file_name().to_str().and_then(Hash::from_hex));
            }
        }
        Ok(hashes.into_iter().collect())
    }

    /// Where all of a blob may lie, the best place first.
    fn places(&self, blob: &Hash) -> Vec<PathBuf> {
        let index = self.lock();
        let part = index.done.contains_key(blob).then(|| self.part_path(blob));
        // A sync may rename between this and the caller's look, so `full` comes after `part`.
        part.into_iter().chain([self.full_path(blob)]).chain(index.links.get(blob).cloned()).collect()
    }

    fn part_path(&self, blob: &Hash) -> PathBuf {
        self.part.join(blob.to_string())
    }

    fn full_path(&self, blob: &Hash) -> PathBuf {
        self.full.join(blob.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the first of these that exists.
fn open_first(paths: Vec<PathBuf>) -> Result<Option<File>, StoreError> {
    for path in paths {
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other.map(Some).during(|| format!("opening {}", path.display())),
        }
    }
    Ok(None)
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.during(|| format!("removing {}", path.display())),
    }
}

fn bound(what: &'static str, n: u64, bound: u64) -> Result<(), StoreError> {
    if n <= bound { Ok(()) } else { Err(StoreError::TooLarge { what, bound }) }
}

/// The longest range that is read at once, in bytes: the largest chunk, or meta blob.
pub const MAX_READ: u64 = MAX_CHUNK as u64;
/// How many linked files are remembered: four sessions with as many parts as a manifest lists; guess.
pub const MAX_LINKS: u64 = 262_144;
