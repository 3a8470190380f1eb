//! From the directory into the session.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use segue_proto::data::{Entry, EntryMode};
use segue_proto::transfer::ListBuilder;
use segue_quic::{Error, FileInfo, Hash, Node, SessionId, UsageError};

use super::materialize::blocking;
use super::scan::Tree;
use crate::failure::Failure;

/// Writes what changed: removals first, as a path that is taken must be free before. What is the same already costs a
/// read of the file and nothing else, so it may be done again at any time.
pub(crate) async fn collect(node: &Node, session: SessionId, tree: &Tree) -> Result<(), Failure> {
    let held = node.files(session).await?;
    let (gone, empty) = (gone(tree, &held), new_directories(tree, &held));
    for entries in [gone, empty].into_iter().filter(|entries| !entries.is_empty()) {
        node.put_entries(session, entries).await.map_err(too_large)?;
    }
    let files = tree.files.clone();
    let (changed, same) = blocking(move || split(files, held)).await?;
    if !changed.is_empty() {
        node.write_files(session, changed).await.map_err(too_large)?;
    }
    for (blob, path) in same {
        // The store's list of files may have been lost.
        if node.blob_path(blob).await?.is_none() {
            node.link_blob(blob, &path).await?;
        }
    }
    Ok(())
}

/// What the session holds and the directory doesn't.
fn gone(tree: &Tree, held: &[FileInfo]) -> Vec<Entry> {
    let files = tree.files.iter().map(|(path, _)| path.as_str());
    let present: BTreeSet<&str> = files.chain(tree.empty.iter().map(String::as_str)).collect();
    let gone = held.iter().map(|file| file.path.as_str()).filter(|path| !present.contains(path));
    gone.filter_map(|path| Entry::bare(path, EntryMode::Removed)).collect()
}

fn new_directories(tree: &Tree, held: &[FileInfo]) -> Vec<Entry> {
    let held: BTreeSet<&str> = held.iter().filter(|file| file.is_dir).map(|file| file.path.as_str()).collect();
    let new = tree.empty.iter().filter(|path| !held.contains(path.as_str()));
    new.filter_map(|path| Entry::bare(path, EntryMode::Directory)).collect()
}

/// Path in the session and on this machine.
type Changed = Vec<(String, PathBuf)>;

/// The files that the session doesn't hold in just this form, and those that it does, by their blobs.
fn split(files: Changed, held: Vec<FileInfo>) -> Result<(Changed, Vec<(Hash, PathBuf)>), Failure> {
    let held: BTreeMap<String, FileInfo> = held.into_iter().map(|file| (file.path.clone(), file)).collect();
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for (name, path) in files {
        let known = held.get(&name).filter(|known| !known.is_dir);
        let is_same = |known: &FileInfo| is_same(known, &path).map_err(Failure::io("read", &path));
        match known.map(|known| is_same(known).map(|same| (same, known.blob))).transpose()? {
            Some((true, blob)) => same.push((blob, path)),
            _ => changed.push((name, path)),
        }
    }
    Ok((changed, same))
}

/// Whether a file is as the session has it; its content is looked at last.
fn is_same(known: &FileInfo, path: &Path) -> io::Result<bool> {
    let metadata = path.symlink_metadata()?;
    if metadata.len() != known.len || is_executable(&metadata) != known.executable {
        return Ok(false);
    }
    let mut builder = ListBuilder::new(known.len);
    let (mut file, mut buffer) = (std::fs::File::open(path)?, vec![0; super::BUFFER]);
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 || builder.pushed() > known.len {
            break;
        }
        builder.push(&buffer[..read]);
    }
    Ok(builder.finish().0 == known.blob)
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

/// Says which limit it is that a directory may meet.
fn too_large(error: Error) -> Failure {
    match error {
        Error::Usage { source: UsageError::TooLarge, .. } => {
            Failure::failed("the directory has more files than a session holds (some 14,000); send a part of it")
        }
        other => other.into(),
    }
}
