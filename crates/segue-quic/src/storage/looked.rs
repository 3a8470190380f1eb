//! What was looked at of the content that is here, so that it is read again only if it may have changed
//! (TRANSFER-HAVE-1).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use segue_proto::wire::Hash;

/// How much older than the moment of looking a file's times must be. A file that was written just then may be written
/// again without another time. From: FAT counts two seconds, every other file system less.
const SETTLED: Duration = Duration::from_secs(2);

/// What was looked at. Nothing bounds it but what the application's sessions hold; it doesn't survive a restart.
#[derive(Default)]
pub(super) struct Looked {
    /// Blobs that lie in the store, where nobody else changes them.
    stored: HashSet<Hash>,
    /// How the files of blobs stood when they were what their hashes say.
    files: HashMap<Hash, Stamp>,
}

impl Looked {
    /// Whether a blob lies in the store, as far as that was looked at.
    pub(super) fn is_stored(&self, blob: &Hash) -> bool {
        self.stored.contains(blob)
    }

    /// A blob was found in the store.
    pub(super) fn stored(&mut self, blob: Hash) {
        self.stored.insert(blob);
    }

    /// Whether a blob's file stands as it did when it was read.
    pub(super) fn is_as_it_was(&self, blob: &Hash, now: &Option<Stamp>) -> bool {
        now.is_some() && self.files.get(blob) == now.as_ref()
    }

    /// A blob's file was read from `start` on, and is what its hash says; it stood so before and after.
    pub(super) fn read(&mut self, blob: Hash, stamp: Option<Stamp>, start: SystemTime) {
        match stamp.filter(|stamp| stamp.is_settled(start)) {
            Some(stamp) => self.files.insert(blob, stamp),
            None => self.files.remove(&blob),
        };
    }

    /// A blob lies in a user's file from now on; `elsewhere` than in the one that was looked at, if any was.
    pub(super) fn linked(&mut self, blob: &Hash, elsewhere: bool) {
        self.stored.remove(blob);
        if elsewhere {
            self.files.remove(blob);
        }
    }
}

/// How a file stands: which it is, its length, and when its content and it itself changed last. The last of these no
/// program can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// How the file at `path` stands; none if it can't be told, and the file is to be read.
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let it = std::fs::metadata(path).ok()?;
        let (modified, changed) = ((it.mtime(), it.mtime_nsec()), (it.ctime(), it.ctime_nsec()));
        Some(Stamp { file: (it.dev(), it.ino()), len: it.len(), modified, changed })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Path) -> Option<Stamp> {
        None
    }

    fn is_settled(&self, at: SystemTime) -> bool {
        let before = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let nanos = |(seconds, nanos): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let last = nanos(self.modified.max(self.changed));
        at.checked_sub(SETTLED).is_some_and(|at| i128::try_from(before(at)).is_ok_and(|at| last < at))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{File, write};

    use segue_proto::wire::hash::blob_id;

    use super::*;
    use crate::storage::Storage;

    #[test]
    fn a_file_is_read_again_unless_it_stands_as_it_did_and_stood_so_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (path, blob) = (dir.path().join("file"), Hash::new([1; 32]));
        write(&path, "one").unwrap();
        let stamp = Stamp::of(&path);
        let mut looked = Looked::default();
        assert!(!looked.is_as_it_was(&blob, &stamp));
        looked.read(blob, stamp, SystemTime::now());
        assert!(!looked.is_as_it_was(&blob, &stamp), "it was written just then");
        looked.read(blob, stamp, SystemTime::now() + 2 * SETTLED);
        assert!(looked.is_as_it_was(&blob, &stamp));
        // Another content of the same length, with the old time of modification.
        let modified = path.metadata().unwrap().modified().unwrap();
        std::fs::remove_file(&path).unwrap();
        write(&path, "two").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(!looked.is_as_it_was(&blob, &Stamp::of(&path)));
        looked.linked(&blob, false);
        assert!(looked.is_as_it_was(&blob, &stamp), "it lies where it was read");
        looked.linked(&blob, true);
        assert!(!looked.is_as_it_was(&blob, &stamp));
    }

    /// It may have lain there before it was stored.
    #[test]
    fn what_is_moved_out_of_the_store_is_a_users_file_from_then_on() {
        let (dir, alive) = (tempfile::tempdir().unwrap(), tokio::sync::mpsc::channel(1).0);
        let blobs = segue_store::Blobs::open(&dir.path().join("state")).unwrap();
        let storage = Storage::disk(blobs, &dir.path().join("state"), None, alive).unwrap();
        let (path, blob) = (dir.path().join("file"), blob_id(b"one"));
        let lost = || storage.lost(&storage.unsure(vec![(blob, 3)]));
        write(&path, "one").unwrap();
        storage.link(blob, &path, None).unwrap();
        storage.put(&blob, bytes::Bytes::from_static(b"one")).unwrap();
        storage.sync().unwrap();
        assert_eq!(lost(), []);
        write(&path, "two").unwrap();
        assert_eq!(lost(), [], "it lies in the store, whatever the file is");
        storage.blobs().unwrap().take_into(&blob, &path).unwrap();
        storage.link(blob, &path, None).unwrap();
        assert_eq!(lost(), []);
        write(&path, "two").unwrap();
        assert_eq!(lost(), [blob]);
    }
}
