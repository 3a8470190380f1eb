//! A session's data: its files, and its view state.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use segue_proto::UsageError;
use segue_proto::data::{Entry, EntryMode, Part, PartKind, named_part};
use segue_proto::transfer::chunk_list;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Hash, PartId, SessionId};
use segue_store::StoreError;
use tokio::task::spawn_blocking;

use crate::driver::Driver;
use crate::entries::Replaced;
use crate::error::Error;
use crate::node::Node;
use crate::storage::{Storage, describe};

/// A file or directory of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// Its path: relative, with `/`, and harmless on every system.
    pub path: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it can be run.
    pub executable: bool,
    /// Its length in bytes.
    pub len: u64,
    /// The BLAKE3 hash of its content; zero for a directory.
    pub blob: Hash,
}

impl Node {
    /// Writes a file of this machine into a session under `path`, and waits until that is durable. The content isn't
    /// copied: it is read from `source` whenever it is asked for, and if the file has changed by then, it is
    /// unavailable until it is written again.
    ///
    /// A file of a new path gets the part that every device makes of it, so two devices that add one path before they
    /// meet have written one file, with two values.
    ///
    /// # Errors
    /// `NotMember` if this device doesn't take part in the session, `BadPart` if the path isn't permitted (DATA-NAME-1),
    /// `Conflicted` if the file has several values, unless the node's strategy says that a write stands for all
    /// ([`Node::resolve`]); or the file can't be read.
    pub async fn write_file(&self, session: SessionId, path: &str, source: &Path) -> Result<(), Error> {
        self.write_files(session, vec![(path.to_owned(), source.to_owned())]).await
    }

    /// Writes many files, with one wait for all; those that the session holds already in just this form cost a read.
    ///
    /// # Errors
    /// As [`Node::write_file`]. Files before the one that failed may be written.
    pub async fn write_files(&self, session: SessionId, files: Vec<(String, PathBuf)>) -> Result<(), Error> {
        let entries = self.read_files(files).await?;
        self.put_entries(session, entries).await
    }

    /// Writes many entries, removals among them, each for what its user saw: `seen`, or nothing where that has nothing at
    /// its path. What other devices wrote since isn't replaced unseen: a file stands beside it then, in conflict
    /// (DATA-VALUE-1). A removal or a directory isn't written then; neither is a file for which the tree has no room, or that
    /// would stand beside this device's own.
    ///
    /// # Errors
    /// As [`Node::put_entries`], without `Conflicted`.
    pub async fn replace_entries(
        &self,
        session: SessionId,
        entries: Vec<Entry>,
        seen: &[FileInfo],
    ) -> Result<Replaced, Error> {
        let paths: HashSet<&str> = entries.iter().map(|entry| &*entry.path).collect();
        let seen = seen.iter().filter(|file| paths.contains(&*file.path));
        let seen: HashMap<_, _> = seen.map(|file| (file.path.clone(), file.clone())).collect();
        self.put(session, entries, Some(seen)).await
    }

    /// Reads files of this machine, by their paths in a session, and gives the entries with which to write them there. As
    /// with [`Node::write_file`] their content isn't copied.
    ///
    /// # Errors
    /// A file can't be read, or its path is too long.
    pub async fn read_files(&self, files: Vec<(String, PathBuf)>) -> Result<Vec<Entry>, Error> {
        let storage = self.storage()?;
        blocking(move || {
            let entries = files.iter().map(|(path, source)| read_entry(&storage, path, source));
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            // A lost list costs a read of the files; see `storage::links`.
            storage.save_links().unwrap_or_else(|error| tracing::warn!(%error, "the list of linked files"));
            Ok(entries)
        })
        .await
    }

    /// Writes content into a session under `path`, and waits until it is durable.
    ///
    /// # Errors
    /// As [`Node::write_file`], or the store failed.
    pub async fn write_bytes(&self, session: SessionId, path: &str, content: impl Into<Bytes>) -> Result<(), Error> {
        let (storage, content, path) = (self.storage()?, content.into(), path.to_owned());
        let entry = blocking(move || {
            let (blob, list) = chunk_list(&content);
            let len = content.len() as u64;
            let stored = storage.put(&blob, content).and_then(|()| match &list {
                Some((list, bytes)) => storage.put(&list.hash, Bytes::copy_from_slice(bytes)),
                None => Ok(()),
            });
            stored.and_then(|()| storage.sync()).map_err(|error| store_error(&path, error))?;
            entry(&path, false, len, blob, list.map(|(list, _)| list))
        });
        self.put_entry(session, entry.await?).await
    }

    /// Writes an entry whose content the application serves itself, and waits until that is durable.
    ///
    /// # Errors
    /// As [`Node::write_file`], or the entry breaks a rule of its form (DATA-ENTRY-1).
    pub async fn put_entry(&self, session: SessionId, entry: Entry) -> Result<(), Error> {
        self.put_entries(session, vec![entry]).await
    }

    /// Writes many entries, with one wait for all.
    ///
    /// # Errors
    /// As [`Node::put_entry`]. Entries before the one that failed may be written.
    pub async fn put_entries(&self, session: SessionId, entries: Vec<Entry>) -> Result<(), Error> {
        self.put(session, entries, None).await.map(drop)
    }

    async fn put(
        &self,
        session: SessionId,
        entries: Vec<Entry>,
        seen: Option<HashMap<String, FileInfo>>,
    ) -> Result<Replaced, Error> {
        let written = self.command("write into the session", move |driver| {
            let (lsn, written) = driver.put_entries(session, entries, seen.as_ref())?;
            Ok((driver.waits.durable(lsn), written))
        });
        let (durable, written) = written.await?;
        durable.await.unwrap_or(Err(Error::Stopped)).map(|()| written)
    }

    /// From now on fetches what lies at these paths of a session before everything else that isn't asked for yet, at
    /// most 64 of them (TRANSFER-ORDER-1): what the user has open, say. It replaces what was said before, and is
    /// forgotten at a restart. What is short comes before what is long without that.
    ///
    /// # Errors
    /// An unknown session, a path that is too long or too many of them, or the node stopped.
    pub async fn fetch_first(&self, session: SessionId, paths: Vec<String>) -> Result<(), Error> {
        self.command("fetch files first", move |driver| {
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            driver.core.fetch_first(session, &paths)
        })
        .await
    }

    /// Removes a file or an empty directory from a session.
    ///
    /// # Errors
    /// As [`Node::put_entry`].
    pub async fn remove_file(&self, session: SessionId, path: &str) -> Result<(), Error> {
        let entry = Entry::bare(path, EntryMode::Removed).ok_or_else(too_long)?;
        self.put_entry(session, entry).await
    }

    /// Writes the session's view state: where the user stood, at most 16 KiB, for the primary alone. Waits until it is
    /// durable. While a handoff is about to complete it may wait for that first ([`crate::Event::WritesResumed`] tells for
    /// how long, HO-PACE-1). It is the exclusive part named `view`.
    ///
    /// # Errors
    /// This device isn't the session's primary, or isn't any more; or the state is too long.
    pub async fn write_view(&self, session: SessionId, view: impl Into<Vec<u8>>) -> Result<(), Error> {
        let view: Vec<u8> = view.into();
        self.write_exclusive(session, move |_| Ok((view_part(&session), view.clone()))).await
    }

    /// Writes an exclusive part of the application's own, at most 16 KiB, for the primary alone, and waits until it is
    /// durable. The parts of a session that its user sees at once are best kept so: a handoff brings them first.
    ///
    /// # Errors
    /// As [`Node::write_view`].
    pub async fn write_part_exclusive(
        &self,
        session: SessionId,
        name: &str,
        value: impl Into<Vec<u8>>,
    ) -> Result<(), Error> {
        let (part, value) = (named_part(&session, PartKind::Exclusive, name), value.into());
        self.write_exclusive(session, move |_| Ok((part, value.clone()))).await
    }

    async fn write_exclusive(
        &self,
        session: SessionId,
        make: impl Fn(&mut Driver) -> Result<(PartId, Vec<u8>), UsageError> + Clone + Send + 'static,
    ) -> Result<(), Error> {
        loop {
            let make = make.clone();
            let written = self.command("write the exclusive part", move |driver| {
                let (part, value) = make(driver)?;
                let (now, wall) = (driver.now(), wall_ms());
                match driver.core.write(now, wall, session, part, PartKind::Exclusive.number(), value) {
                    Ok(lsn) => Ok(Ok(driver.waits.durable(lsn))),
                    Err(UsageError::Paused) => Ok(Err(driver.waits.resume(session))),
                    Err(error) => Err(error),
                }
            });
            match written.await? {
                Ok(durable) => return durable.await.unwrap_or(Err(Error::Stopped)),
                Err(resumed) => resumed.await.map_err(|_| Error::Stopped)?,
            }
        }
    }

    /// The session's view state, if one was written.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn view(&self, session: SessionId) -> Result<Option<Vec<u8>>, Error> {
        let view = |part: &Part| part.body().map(<[u8]>::to_vec);
        self.call(move |driver| driver.core.state(&session)?.part(&view_part(&session)).and_then(view)).await
    }

    /// The files and directories of a session as this device holds it now, by path.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn files(&self, session: SessionId) -> Result<Vec<FileInfo>, Error> {
        let files = move |driver: &mut Driver| {
            let entries = driver.core.state(&session).into_iter().flat_map(|state| state.entries());
            entries.map(|(_, entry)| info(&entry)).collect::<Vec<_>>()
        };
        let mut files = self.call(files).await?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The content of a file of a session, for those that fit memory.
    ///
    /// # Errors
    /// The session has no such file, or it isn't complete here.
    pub async fn read_file(&self, session: SessionId, path: &str) -> Result<Vec<u8>, Error> {
        let at = path.to_owned();
        let entry = self.call(move |driver| driver.core.state(&session)?.entry_at(&at)).await?;
        let file = entry.map(|(_, entry)| info(&entry)).filter(|file| !file.is_dir);
        let file = file.ok_or_else(|| Error::NoFile { session, path: path.to_owned() })?;
        self.read_blob(file.blob, file.len).await
    }

    /// A blob of `len` bytes, for those that fit memory.
    ///
    /// # Errors
    /// It isn't complete here, or the file in which it lies isn't what it was.
    pub async fn read_blob(&self, blob: Hash, len: u64) -> Result<Vec<u8>, Error> {
        let storage = self.storage()?;
        blocking(move || {
            let mut content = vec![0; usize::try_from(len).map_err(|_| Error::NoBlob(blob))?];
            if len > 0 {
                let source = storage.open(&blob, len).ok_or(Error::NoBlob(blob))?;
                source.read_exact_at(0, &mut content).map_err(|_| Error::NoBlob(blob))?;
            }
            // It may lie in a file that its user changed since.
            if blob_id(&content) == blob { Ok(content) } else { Err(Error::NoBlob(blob)) }
        })
        .await
    }

    /// Where a complete blob lies as a file, to be read from there: in the store, or where the application named it.
    /// None for a node in memory and for what [`crate::BlobSource`] serves.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn blob_path(&self, blob: Hash) -> Result<Option<PathBuf>, Error> {
        let storage = self.storage()?;
        blocking(move || Ok(storage.path(&blob))).await
    }

    /// Copies a complete blob to `dest`, in one step and checked against its hash. The caller answers for `dest`: that
    /// it lies in the directory that the user chose, also if there are symbolic links.
    ///
    /// # Errors
    /// The blob isn't complete here or not what it was, or the file can't be written.
    pub async fn copy_blob(&self, blob: Hash, dest: &Path) -> Result<(), Error> {
        self.export(blob, dest, |blobs, blob, dest| blobs.copy_into(blob, dest)).await
    }

    /// Moves a complete blob out of the store to `dest`, from where it is served from now on. As
    /// [`Node::copy_blob`] otherwise.
    ///
    /// # Errors
    /// As [`Node::copy_blob`].
    pub async fn take_blob(&self, blob: Hash, dest: &Path) -> Result<(), Error> {
        self.export(blob, dest, |blobs, blob, dest| blobs.take_into(blob, dest)).await?;
        self.link_blob(blob, dest).await
    }

    /// Says that the file at `path` now holds a blob, after the application moved it there by itself.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn link_blob(&self, blob: Hash, path: &Path) -> Result<(), Error> {
        let (storage, path) = (self.storage()?, path.to_owned());
        blocking(move || {
            storage.link(blob, &path, None).map_err(|error| store_error(&path.display().to_string(), error))?;
            storage.save_links().map_err(Error::io("remember the file", &path))
        })
        .await
    }

    async fn export(
        &self,
        blob: Hash,
        dest: &Path,
        export: impl FnOnce(&segue_store::Blobs, &Hash, &Path) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), Error> {
        let (storage, dest) = (self.storage()?, dest.to_owned());
        blocking(move || {
            let blobs = storage.blobs().ok_or(Error::NoBlob(blob))?;
            match export(blobs, &blob, &dest) {
                Err(StoreError::NotHeld { .. }) => Err(Error::NoBlob(blob)),
                Err(error) => Err(store_error(&dest.display().to_string(), error)),
                Ok(()) => Ok(()),
            }
        })
        .await
    }
}

/// The part of the view state, the same for every device that is primary first (DATA-PART-1).
fn view_part(session: &SessionId) -> PartId {
    named_part(session, PartKind::Exclusive, "view")
}

fn read_entry(storage: &Storage, path: &str, source: &Path) -> Result<Entry, Error> {
    // The file is read later, from wherever the process stands by then.
    let source = std::path::absolute(source).map_err(Error::io("find", source))?;
    let io = |what| Error::io(what, &source);
    let ((len, blob), list) = describe(&source).map_err(io("read"))?;
    let executable = is_executable(&source).map_err(io("look at"))?;
    let entry = entry(path, executable, len, blob, list.as_ref().map(|(list, _)| list.clone()))?;
    let list = list.map(|(list, bytes)| (list.hash, bytes));
    storage.link(blob, &source, list).map_err(|error| store_error(path, error))?;
    Ok(entry)
}

fn entry(
    path: &str,
    executable: bool,
    len: u64,
    blob: Hash,
    list: Option<segue_proto::data::ListRef>,
) -> Result<Entry, Error> {
    Entry::file(path, executable, len, blob, list).ok_or_else(too_long)
}

#[cfg(unix)]
fn is_executable(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(path.metadata()?.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> std::io::Result<bool> {
    Ok(false)
}

pub(crate) fn info(entry: &Entry) -> FileInfo {
    let mode = EntryMode::from_number(entry.mode);
    FileInfo {
        path: entry.path.to_string(),
        is_dir: mode == Some(EntryMode::Directory),
        executable: mode == Some(EntryMode::Executable),
        len: entry.len,
        blob: entry.blob,
    }
}

fn too_long() -> Error {
    Error::Usage { what: "write into the session", source: UsageError::TooLarge }
}

pub(crate) fn store_error(at: &str, error: StoreError) -> Error {
    Error::Io { what: "store", path: at.into(), source: std::io::Error::other(error) }
}

/// The wall clock, for display and tie-breaks only.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.unwrap_or(Err(Error::Stopped))
}
