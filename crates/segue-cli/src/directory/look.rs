//! Looking at what lies in a directory, never outside it, and never through a symbolic link.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use cap_std::fs::{Dir, Metadata};
use segue_proto::wire::hash::blob_id;
use segue_quic::Hash;

use super::BUFFER;

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Local {
    Nothing,
    File {
        len: u64,
    },
    Directory,
    /// A symbolic link, or a special file.
    Other,
}

/// What lies at `path`; nothing, if one of the directories above isn't one.
pub(super) fn look(root: &Dir, path: &str) -> io::Result<Local> {
    for parent in above(path) {
        if kind(root, parent)? != Local::Directory {
            return Ok(Local::Nothing);
        }
    }
    kind(root, path)
}

/// What lies at `path`, whose directories above are ones.
pub(super) fn kind(root: &Dir, path: &str) -> io::Result<Local> {
    let metadata = match root.symlink_metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Local::Nothing);
        }
        other => other?,
    };
    Ok(of(&metadata))
}

fn of(metadata: &Metadata) -> Local {
    if metadata.is_file() {
        Local::File { len: metadata.len() }
    } else if metadata.is_dir() {
        Local::Directory
    } else {
        Local::Other
    }
}

/// Whether the file at `path` holds the blob.
pub(super) fn holds(root: &Dir, path: &str, len: u64, blob: &str) -> io::Result<bool> {
    if kind(root, path)? != (Local::File { len }) {
        return Ok(false);
    }
    Ok(hash(root, path)?.to_string() == blob)
}

/// The hash of the file at `path`.
pub(super) fn hash(root: &Dir, path: &str) -> io::Result<Hash> {
    let file = root.open(path)?;
    let len = file.metadata()?.len();
    hash_of(file, len)
}

/// The hash of what a file of about `len` bytes gives.
pub(super) fn hash_of(mut file: impl Read, len: u64) -> io::Result<Hash> {
    let len = usize::try_from(len).unwrap_or(BUFFER);
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; BUFFER.min(len.max(1))]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(Hash::new(*hasher.finalize().as_bytes()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// The directories above a path, the topmost first.
pub(super) fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The directory that a path lies in, as `cap-std` names it.
pub(super) fn parent(path: &str) -> &Path {
    Path::new(path.rsplit_once('/').map_or(".", |(parent, _)| parent))
}

/// The id of a file without bytes.
pub(super) fn empty_blob() -> Hash {
    blob_id(&[])
}
