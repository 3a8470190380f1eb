//! Where blobs are: in the store's directory, in memory, in files that the application named, or behind its own hook.
//!
//! All of it blocks, and runs on blocking threads. Nothing is believed here: what is read to be served, its receiver
//! verifies; what is found on the device, the core's plan verifies.

mod links;
mod looked;
mod memory;
mod progress;
mod reuse;
mod whole;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use segue_proto::Rules;
use segue_proto::limits::CHUNK;
use segue_proto::transfer::{ListBuilder, Plan, Verified};
use segue_proto::wire::Hash;
use segue_store::{Blobs, State, StoreError};
use tokio::sync::mpsc;

pub(crate) use links::Links;
use looked::{Looked, Stamp};
use memory::Memory;
use progress::Progress;
use whole::Whole;

use crate::error::OpenError;

/// An application's own place for blobs, asked for those that the node doesn't hold itself.
pub trait BlobSource: Send + Sync + 'static {
    /// Opens the blob with this BLAKE3 hash and length in bytes; none if the application doesn't hold it.
    ///
    /// Called on a blocking thread. The receiver verifies every chunk, so a wrong answer costs time, nothing else.
    ///
    /// # Errors
    /// What the system said; the blob counts as unavailable.
    fn open(&self, blob: &Hash, len: u64) -> io::Result<Option<Arc<dyn ReadAt>>>;
}

/// Bytes that can be read at any offset, from several threads at once.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` from `offset` bytes on.
    ///
    /// # Errors
    /// What the system said, or [`io::ErrorKind::UnexpectedEof`] if there are fewer bytes.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// The blobs of a node. A cheap handle, held by every task that works on the disk.
#[derive(Clone)]
pub(crate) struct Storage {
    inner: Arc<Inner>,
}

/// A handle that doesn't keep the store open.
#[derive(Clone)]
pub(crate) struct WeakStorage(Weak<Inner>);

impl WeakStorage {
    /// The storage, unless the node has stopped.
    pub(crate) fn upgrade(&self) -> Option<Storage> {
        self.0.upgrade().map(|inner| Storage { inner })
    }
}

struct Inner {
    /// Gone with the last handle: a stopping node waits for that.
    _alive: mpsc::Sender<()>,
    place: Place,
    progress: Mutex<Progress>,
    links: Mutex<Links>,
    hook: Option<Arc<dyn BlobSource>>,
    /// Every blob of which the device may hold something: what isn't here need not be searched for.
    known: Mutex<HashSet<Hash>>,
    looked: Mutex<Looked>,
}

enum Place {
    Disk(Arc<Blobs>),
    Memory(Memory),
}

impl Storage {
    /// Over the blobs of a store, with the links that an earlier start left.
    pub(crate) fn disk(
        blobs: Arc<Blobs>,
        state: &Path,
        hook: Option<Arc<dyn BlobSource>>,
        alive: mpsc::Sender<()>,
    ) -> Result<Self, OpenError> {
        let links =
            Links::load(state).map_err(|source| OpenError::io("read the list of linked files in", state, source))?;
        let store = |error: StoreError| OpenError::store(state, error);
        let mut known: HashSet<Hash> = blobs.list().map_err(store)?.into_iter().collect();
        for (blob, path) in links.files() {
            blobs.link_external(&blob, path).map_err(store)?;
            known.insert(blob);
        }
        known.extend(links.lists());
        Ok(Self::new(Place::Disk(blobs), links, known, hook, alive))
    }

    /// In memory; nothing outlives the node.
    pub(crate) fn memory(hook: Option<Arc<dyn BlobSource>>, alive: mpsc::Sender<()>) -> Self {
        Self::new(Place::Memory(Memory::default()), Links::default(), HashSet::new(), hook, alive)
    }

    fn new(
        place: Place,
        links: Links,
        known: HashSet<Hash>,
        hook: Option<Arc<dyn BlobSource>>,
        alive: mpsc::Sender<()>,
    ) -> Self {
        let (progress, links, known) = (Mutex::default(), Mutex::new(links), Mutex::new(known));
        let looked = Mutex::default();
        Storage { inner: Arc::new(Inner { _alive: alive, place, progress, links, hook, known, looked }) }
    }

    /// A handle that doesn't keep the store open.
    pub(crate) fn downgrade(&self) -> WeakStorage {
        WeakStorage(Arc::downgrade(&self.inner))
    }

    /// Stores verified chunks that lie next to one another; `bytes` start with theirs, and what follows isn't stored.
    /// False if they don't count: the whole isn't what its id says, or the blob is being received by another list.
    pub(crate) fn store(&self, plan: &Arc<Plan>, chunks: &[Verified], bytes: &[u8]) -> Result<bool, StoreError> {
        let Some(first) = chunks.first() else { return Ok(true) };
        let verified: usize = chunks.iter().map(|chunk| chunk.len() as usize).sum();
        let (offset, bytes) = (first.chunk().offset, bytes.get(..verified).unwrap_or(bytes));
        let Some(mut whole) = self.progress().begin(plan) else { return Ok(false) };
        lock(&self.inner.known).insert(plan.blob());
        match &self.inner.place {
            Place::Memory(memory) => memory.write(plan, offset, bytes),
            Place::Disk(blobs) => blobs.partial(&plan.blob(), plan.len())?.write(offset, bytes)?,
        }
        whole.follow(plan, offset, bytes);
        self.settle(plan, chunks, whole)
    }

    /// Notes chunks that are stored. With the last missing one the blob is complete, if the whole is what its id says
    /// (TRANSFER-WHOLE-1): false if not. This is the only way for what was received to become complete.
    fn settle(&self, plan: &Arc<Plan>, chunks: &[Verified], whole: Whole) -> Result<bool, StoreError> {
        let Some(whole) = self.progress().add(plan, chunks, whole) else { return Ok(true) };
        let blob = plan.blob();
        let matches = match &self.inner.place {
            Place::Memory(memory) => {
                let matches = whole.matches::<StoreError>(plan, |from, show| {
                    memory.show(&blob, from, show);
                    Ok(())
                })?;
                if matches {
                    memory.complete(&blob);
                }
                matches
            }
            Place::Disk(blobs) => {
                let partial = blobs.partial(&blob, plan.len())?;
                let matches = whole.matches(plan, |from, show| partial.show(from, show))?;
                if matches {
                    partial.complete()?;
                }
                matches
            }
        };
        if matches {
            self.progress().done(&blob)
        } else {
            self.progress().wrong(&blob)
        }
        Ok(matches)
    }

    /// Whether the device may hold something of a blob. Never blocks on a disk.
    pub(crate) fn may_hold(&self, blob: &Hash) -> bool {
        self.inner.hook.is_some() || lock(&self.inner.known).contains(blob)
    }

    /// Shows every chunk of `plan` that the device already holds to `found`.
    ///
    /// Of a blob that is complete but not what it was, nothing is shown: it is fetched whole.
    pub(crate) fn search(&self, rules: Rules, plan: &Arc<Plan>, found: impl FnMut(Verified)) -> Result<(), StoreError> {
        let blob = plan.blob();
        let partial = match &self.inner.place {
            Place::Disk(blobs) => matches!(blobs.state(&blob)?, State::Partial(_)),
            Place::Memory(memory) => memory.is_partial(&blob),
        };
        if !partial {
            if let Some(chunks) = self.verify_whole(rules, plan) {
                chunks.into_iter().for_each(found);
            }
            return Ok(());
        }
        let Some(mut whole) = self.progress().begin(plan) else { return Ok(()) };
        let mut held = Vec::new();
        let mut look = |index: usize, bytes: &[u8]| {
            let verified = u32::try_from(index).ok().and_then(|index| plan.verify_chunk(rules, index, bytes).ok());
            if let Some(verified) = verified {
                whole.follow(plan, verified.chunk().offset, bytes);
                held.push(verified);
            }
            true
        };
        match &self.inner.place {
            Place::Disk(blobs) => blobs.search(&blob, spans(plan), &mut look)?,
            Place::Memory(memory) => memory.search(plan, &mut look),
        }
        if self.settle(plan, &held, whole)? {
            held.into_iter().for_each(found);
        }
        Ok(())
    }

    /// Opens a complete blob of `len` bytes, wherever it is.
    pub(crate) fn open(&self, blob: &Hash, len: u64) -> Option<Source> {
        let source = match &self.inner.place {
            Place::Disk(blobs) => blobs.source(blob).ok().map(|source| Source::File(Arc::new(source))),
            Place::Memory(memory) => memory.get(blob).map(Source::Bytes),
        };
        let source = source.or_else(|| self.list(blob).map(Source::Bytes)).or_else(|| self.linked(blob));
        source.filter(|source| source.len().is_none_or(|has| has == len)).or_else(|| self.hooked(blob, len))
    }

    /// What lies in memory anyway: never blocks on a disk.
    pub(crate) fn kept(&self, blob: &Hash) -> Option<Bytes> {
        if let Place::Memory(memory) = &self.inner.place
            && let Some(bytes) = memory.get(blob)
        {
            return Some(bytes);
        }
        match self.links().list(blob) {
            Some(links::List::Kept(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Keeps content whole.
    pub(crate) fn put(&self, blob: &Hash, bytes: Bytes) -> Result<(), StoreError> {
        lock(&self.inner.known).insert(*blob);
        match &self.inner.place {
            Place::Disk(blobs) => blobs.put(blob, &bytes),
            Place::Memory(memory) => {
                memory.put(*blob, bytes);
                Ok(())
            }
        }
    }

    /// Names a file of the application's as the content of `blob`, and its chunk list if it has one. The file isn't
    /// copied; if it changes, the blob is unavailable.
    pub(crate) fn link(&self, blob: Hash, path: &Path, list: Option<(Hash, Vec<u8>)>) -> Result<(), StoreError> {
        if let Place::Disk(blobs) = &self.inner.place {
            blobs.link_external(&blob, path)?;
        }
        lock(&self.inner.known).extend(list.iter().map(|(list, _)| *list).chain([blob]));
        let elsewhere = self.links().file(&blob).as_deref() != Some(path);
        lock(&self.inner.looked).linked(&blob, elsewhere);
        self.links().add(blob, path, list);
        Ok(())
    }

    /// Writes down the links added since the last call.
    pub(crate) fn save_links(&self) -> io::Result<()> {
        self.links().save()
    }

    /// Makes everything that was stored before the call durable.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        match &self.inner.place {
            Place::Disk(blobs) => blobs.sync(),
            Place::Memory(_) => Ok(()),
        }
    }

    /// Of these blobs those that aren't known to lie in the store, where nobody else changes them. Looks at no disk.
    pub(crate) fn unsure(&self, mut blobs: Vec<(Hash, u64)>) -> Vec<(Hash, u64)> {
        let looked = lock(&self.inner.looked);
        blobs.retain(|(blob, _)| !looked.is_stored(blob));
        blobs
    }

    /// Which of these blobs aren't here any more as they were. Only those that lie outside the store are looked at, and
    /// of files only those that may have changed since they were read last are read.
    pub(crate) fn lost(&self, blobs: &[(Hash, u64)]) -> Vec<Hash> {
        blobs.iter().filter(|(blob, len)| !self.is_here(blob, *len)).map(|(blob, _)| *blob).collect()
    }

    /// What is known costs a look at a file at most: a session may have thousands of them.
    fn is_here(&self, blob: &Hash, len: u64) -> bool {
        // A chunk list follows from its file.
        if lock(&self.inner.looked).is_stored(blob) || self.links().list(blob).is_some() {
            return true;
        }
        let path = self.links().file(blob);
        let before = path.as_deref().and_then(Stamp::of);
        if lock(&self.inner.looked).is_as_it_was(blob, &before) {
            return true;
        }
        let stored = match &self.inner.place {
            Place::Disk(blobs) => blobs.is_stored(blob),
            Place::Memory(memory) => memory.get(blob).is_some(),
        };
        if stored {
            lock(&self.inner.looked).stored(*blob);
            return true;
        }
        let now = SystemTime::now();
        let same = self.open(blob, len).is_some_and(|source| source.hashes_to(blob, len));
        if let Some(path) = path.filter(|_| same)
            && before == Stamp::of(&path)
        {
            lock(&self.inner.looked).read(*blob, before, now);
        }
        same
    }

    /// Where a complete blob lies as a file, if it does.
    pub(crate) fn path(&self, blob: &Hash) -> Option<PathBuf> {
        match &self.inner.place {
            Place::Disk(blobs) => blobs.path(blob),
            Place::Memory(_) => self.links().file(blob),
        }
    }

    /// The blobs on disk.
    pub(crate) fn blobs(&self) -> Option<&Arc<Blobs>> {
        match &self.inner.place {
            Place::Disk(blobs) => Some(blobs),
            Place::Memory(_) => None,
        }
    }

    /// The chunks of a blob that is complete, if every one of them verifies and so does the whole: the list is a peer's,
    /// and the file may have changed.
    fn verify_whole(&self, rules: Rules, plan: &Plan) -> Option<Vec<Verified>> {
        let source = self.open(&plan.blob(), plan.len())?;
        let (mut buffer, mut whole) = (Vec::new(), Whole::default());
        let mut verify = |(index, (offset, len)): (usize, (u64, u32))| {
            buffer.resize(len as usize, 0);
            source.read_exact_at(offset, &mut buffer).ok()?;
            whole.follow(plan, offset, &buffer);
            plan.verify_chunk(rules, u32::try_from(index).ok()?, &buffer).ok()
        };
        let chunks = spans(plan).enumerate().map(&mut verify).collect::<Option<Vec<_>>>()?;
        whole.matches(plan, |_, _| Err(())).is_ok_and(|matches| matches).then_some(chunks)
    }

    /// A chunk list of a linked file. Lists of linked files aren't stored: they follow from the files.
    fn list(&self, list: &Hash) -> Option<Bytes> {
        let known = self.links().list(list)?;
        match known {
            links::List::Kept(bytes) => Some(bytes),
            links::List::Of(path) => {
                let (_, made) = describe(&path).ok()?;
                made.filter(|(found, _)| found.hash == *list).map(|(_, bytes)| Bytes::from(bytes))
            }
        }
    }

    fn linked(&self, blob: &Hash) -> Option<Source> {
        let path = self.links().file(blob)?;
        let file = std::fs::File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        Some(Source::Linked(Arc::new(Linked { file, len })))
    }

    fn hooked(&self, blob: &Hash, len: u64) -> Option<Source> {
        match self.inner.hook.as_ref()?.open(blob, len) {
            Ok(found) => found.map(Source::Hooked),
            Err(error) => {
                tracing::warn!(%blob, %error, "the application's blob source failed");
                None
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.inner.progress)
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        lock(&self.inner.links)
    }
}

/// None of what is behind these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A blob that is open for reading. A cheap handle.
#[derive(Clone)]
pub(crate) enum Source {
    Bytes(Bytes),
    File(Arc<segue_store::Source>),
    Linked(Arc<Linked>),
    Hooked(Arc<dyn ReadAt>),
}

/// A file of the application's.
pub(crate) struct Linked {
    file: std::fs::File,
    len: u64,
}

impl Source {
    /// Its length in bytes, if it knows.
    fn len(&self) -> Option<u64> {
        match self {
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::File(file) => Some(file.len()),
            Source::Linked(linked) => Some(linked.len),
            Source::Hooked(_) => None,
        }
    }

    /// A slice of what lies in memory anyway.
    pub(crate) fn slice(&self, offset: u64, len: usize) -> Option<Bytes> {
        let Source::Bytes(bytes) = self else { return None };
        let from = usize::try_from(offset).ok()?;
        let to = from.checked_add(len)?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }

    /// Whether it can be read and is what its hash says.
    fn hashes_to(&self, blob: &Hash, len: u64) -> bool {
        let (mut hasher, mut buffer, mut at) = (blake3::Hasher::new(), vec![0; CHUNK], 0_u64);
        while at < len {
            let some = usize::try_from(len - at).unwrap_or(usize::MAX).min(CHUNK);
            if self.read_exact_at(at, &mut buffer[..some]).is_err() {
                return false;
            }
            hasher.update(&buffer[..some]);
            at += some as u64;
        }
        hasher.finalize().as_bytes() == blob.as_bytes()
    }

    /// Fills `buffer` from `offset` bytes on.
    pub(crate) fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Source::Bytes(_) => {
                let bytes = self.slice(offset, buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(&bytes);
                Ok(())
            }
            Source::File(file) => file.read_into(offset, buffer).map_err(io::Error::other),
            Source::Linked(linked) => read_exact_at(&linked.file, offset, buffer),
            Source::Hooked(source) => source.read_exact_at(offset, buffer),
        }
    }
}

#[cfg(unix)]
fn read_exact_at(file: &std::fs::File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &std::fs::File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}

/// What a file holds, read once: its length and hash, and its chunk list if it needs one.
pub(crate) type Described = ((u64, Hash), Option<(segue_proto::data::ListRef, Vec<u8>)>);

/// Hashes a file. Fails if it changes meanwhile.
pub(crate) fn describe(path: &Path) -> io::Result<Described> {
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut builder = ListBuilder::new(len);
    let mut buffer = vec![0; HASH_BUFFER.min(usize::try_from(len).unwrap_or(HASH_BUFFER)).max(1)];
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        builder.push(&buffer[..read]);
        if builder.pushed() > len {
            break;
        }
    }
    if builder.pushed() != len {
        return Err(io::Error::other("the file changed while it was read; try again once nobody writes to it"));
    }
    let (blob, list) = builder.finish();
    Ok(((len, blob), list))
}

/// What is hashed at once: BLAKE3 is at full speed from 64 KiB on, and the processor's cache holds this.
const HASH_BUFFER: usize = 256 << 10;

/// The chunks of a plan, as offsets and lengths.
fn spans(plan: &Plan) -> impl Iterator<Item = (u64, u32)> {
    (0..plan.chunks()).filter_map(|index| plan.chunk(index)).map(|chunk| (chunk.offset, chunk.len))
}
