//! What files held when they were read last, so that those that nobody touched since aren't read again.
//!
//! A file counts as untouched while its length, its times and its number on the disk are those that it had before and after
//! it was read. A change of it within the same tick of the disk's clock would leave the times as they were: so of a file that
//! was changed just before it was read nothing is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use segue_quic::Hash;
use serde::{Deserialize, Serialize};

/// What is remembered of files, by path on this machine. A cheap handle. What isn't asked for is forgotten when it is saved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamps(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    known: BTreeMap<String, (Stamp, String)>,
    asked: BTreeSet<String>,
    /// How many files were read.
    read: usize,
    /// How long before it is read a file must have been left alone.
    rest: Duration,
}

impl Default for Inner {
    fn default() -> Self {
        Inner { known: BTreeMap::new(), asked: BTreeSet::new(), read: 0, rest: REST }
    }
}

/// How a file looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    len: u64,
    /// When its content was changed, and when anything of it, in nanoseconds.
    modified: i128,
    changed: i128,
    device: u64,
    inode: u64,
}

/// Above the coarsest clock of a file system. From: FAT, 2 seconds.
const REST: Duration = Duration::from_secs(3);

impl Stamps {
    /// What was saved.
    pub(crate) fn new(known: Saved) -> Stamps {
        Stamps(Arc::new(Mutex::new(Inner { known: known.0, ..Inner::default() })))
    }

    /// What is to be saved; none if nothing changed.
    pub(crate) fn saved(&self) -> Option<Saved> {
        let inner = self.lock();
        let asked = inner.known.iter().filter(|(path, _)| inner.asked.contains(*path));
        let asked: BTreeMap<_, _> = asked.map(|(path, known)| (path.clone(), known.clone())).collect();
        (inner.read > 0 || asked.len() < inner.known.len()).then_some(Saved(asked))
    }

    /// The hash of the file at `path`, which `read` finds if it isn't known.
    pub(super) fn hash(&self, path: &Path, read: impl FnOnce() -> io::Result<Hash>) -> io::Result<Hash> {
        let Some(name) = path.to_str() else { return read() };
        let look = || path.symlink_metadata().map(|metadata| stamp(&metadata));
        let (now, before) = (SystemTime::now(), look()?);
        if let Some(hash) = self.known(name, before) {
            return Ok(hash);
        }
        let hash = read()?;
        let same = look().is_ok_and(|after| after == before);
        let mut inner = self.lock();
        inner.read += 1;
        let rested = nanoseconds(now - inner.rest);
        match before.filter(|stamp| same && stamp.modified.max(stamp.changed) <= rested) {
            Some(stamp) => drop(inner.known.insert(name.to_owned(), (stamp, hash.to_string()))),
            None => drop(inner.known.remove(name)),
        }
        Ok(hash)
    }

    fn known(&self, name: &str, now: Option<Stamp>) -> Option<Hash> {
        let mut inner = self.lock();
        inner.asked.insert(name.to_owned());
        let (_, hash) = inner.known.get(name).filter(|(stamp, _)| Some(*stamp) == now)?;
        Hash::from_hex(hash)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As they lie in the state directory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved(BTreeMap<String, (Stamp, String)>);

fn nanoseconds(time: SystemTime) -> i128 {
    let since = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    time.duration_since(SystemTime::UNIX_EPOCH).map_or_else(|error| -since(error.duration()), since)
}

#[cfg(unix)]
fn stamp(metadata: &Metadata) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Some(Stamp {
        len: metadata.len(),
        modified: time(metadata.mtime(), metadata.mtime_nsec()),
        changed: time(metadata.ctime(), metadata.ctime_nsec()),
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

/// Elsewhere the system doesn't tell enough to know that a file is untouched.
#[cfg(not(unix))]
fn stamp(_: &Metadata) -> Option<Stamp> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use segue_proto::wire::hash::blob_id;

    use super::*;

    fn hash(stamps: &Stamps, path: &Path) -> Hash {
        stamps.hash(path, || Ok(blob_id(&fs::read(path)?))).expect("a file that can be read")
    }

    /// Those that trust what was left alone since it was read.
    fn eager(known: Saved) -> Stamps {
        let stamps = Stamps::new(known);
        stamps.lock().rest = Duration::ZERO;
        stamps
    }

    fn again(stamps: &Stamps) -> Stamps {
        let saved = serde_json::to_vec(&stamps.saved().expect("something to save")).expect("text");
        eager(serde_json::from_slice(&saved).expect("what was saved"))
    }

    fn read(stamps: &Stamps) -> usize {
        stamps.lock().read
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).expect("a file");
        // The clock of the disk has to go on: what changes within one tick of it looks the same.
        let (changed, probe) = (stamp(&path.metadata().expect("a file")), path.with_extension("probe"));
        let later = || {
            fs::write(&probe, "probe").expect("a file");
            stamp(&probe.metadata().expect("a file")).map(|stamp| stamp.changed) > changed.map(|stamp| stamp.changed)
        };
        while !later() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn only_what_was_touched_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        let stamps = eager(Saved::default());
        for path in [&a, &b] {
            write(path, "one");
            assert_eq!(hash(&stamps, path), blob_id(b"one"));
        }
        assert_eq!(read(&stamps), 2);
        let stamps = again(&stamps);
        for path in [&a, &b] {
            assert_eq!(hash(&stamps, path), blob_id(b"one"));
        }
        assert_eq!(read(&stamps), 0);
        // As long as before, and with the time that it had.
        let time = a.metadata().and_then(|metadata| metadata.modified()).expect("a time");
        write(&a, "two");
        fs::File::options().append(true).open(&a).and_then(|file| file.set_modified(time)).expect("a time");
        assert_eq!(hash(&stamps, &a), blob_id(b"two"));
        assert_eq!(read(&stamps), 1);
        // Another file in its place.
        fs::rename(&b, &a).expect("a file");
        assert_eq!(hash(&stamps, &a), blob_id(b"one"));
        assert_eq!(read(&stamps), 2);
        // Of what isn't asked for any more nothing is kept.
        let stamps = again(&stamps);
        assert_eq!(hash(&stamps, &a), blob_id(b"one"));
        assert_eq!((read(&stamps), stamps.lock().known.len()), (0, 2));
        assert_eq!(stamps.saved().expect("something to save").0.len(), 1);
    }

    #[test]
    fn what_was_changed_just_before_it_was_read_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, stamps) = (dir.path().join("a"), Stamps::default());
        write(&path, "one");
        for times in 1..=2 {
            assert_eq!(hash(&stamps, &path), blob_id(b"one"));
            assert_eq!((read(&stamps), stamps.lock().known.len()), (times, 0));
        }
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, stamps) = (dir.path().join("a"), eager(Saved::default()));
        write(&path, "one");
        let torn = stamps.hash(&path, || {
            let read = blob_id(&fs::read(&path)?);
            write(&path, "two");
            Ok(read)
        });
        assert_eq!(torn.expect("a file"), blob_id(b"one"));
        assert_eq!(hash(&stamps, &path), blob_id(b"two"));
        assert_eq!(read(&stamps), 2);
    }
}
