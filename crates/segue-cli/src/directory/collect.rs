//! From the directory into the session.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use segue_proto::Rules;
use segue_proto::data::{Entry, EntryMode, ListRef};
use segue_proto::transfer::{ChunkList, ChunkRef, ListBuilder};
use segue_proto::wire::codec::decode;
use segue_quic::{Error, FileInfo, Hash, Node, Replaced, SessionId, UsageError};

use super::held::Files;
use super::look::hash_of;
use super::materialize::blocking;
use super::scan::Tree;
use super::{Intended, Known, Stamps};
use crate::failure::Failure;

/// What [`collect`] found and wrote.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Whether others changed something.
    pub(crate) theirs: bool,
    /// The user's versions of files that others changed, too: the session holds both now.
    pub(crate) beside: Known,
    /// Files that have several versions, of which the user has to choose before what was changed now can go in.
    pub(crate) refused: BTreeSet<String>,
    /// All paths at which what the user did doesn't stand for what the session has.
    pub(crate) unsettled: BTreeSet<String>,
}

/// Writes what the user changed since directory and session had `known` in common: removals first, as a path that is
/// taken must be free before. `intend` remembers it before that. What others changed meanwhile, also while the files are
/// read, isn't replaced: a file that both changed has both versions then, and only what the user removed is there again. What
/// is the same already costs a look at the file and nothing else, so it may be done again at any time.
pub(crate) async fn collect(
    node: &Node,
    session: SessionId,
    tree: &Tree,
    known: &Known,
    stamps: &Stamps,
    intend: impl FnOnce(&Intended) -> Result<(), Failure>,
) -> Result<Collected, Failure> {
    let sides = sides(node, session, tree, known).await?;
    enter(node, session, sides, stamps.clone(), intend).await
}

/// What a look at both sides found, and what others may change meanwhile.
async fn enter(
    node: &Node,
    session: SessionId,
    (held, tree, theirs): (Vec<FileInfo>, Tree, Theirs),
    stamps: Stamps,
    intend: impl FnOnce(&Intended) -> Result<(), Failure>,
) -> Result<Collected, Failure> {
    let changed_there = theirs.known != theirs.held;
    let gone = gone(&tree, &held, &theirs);
    let removed = gone.iter().map(|entry| entry.path.to_string()).collect();
    let mut entries = [gone, new_directories(&tree, &held, &theirs)].concat();
    let (files, seen) = (tree.files, theirs.seen(&held));
    let (changed, same) = blocking(move || split(files, held, &theirs, &stamps)).await?;
    let edited: BTreeSet<PathBuf> = changed.iter().map(|(_, path)| path.clone()).collect();
    if !changed.is_empty() {
        entries.extend(node.read_files(changed).await?);
    }
    let mut unsettled: BTreeSet<String> = entries.iter().map(|entry| entry.path.to_string()).collect();
    let mut replaced = Replaced::default();
    if !entries.is_empty() {
        intend(&Intended { wrote: Known::to_write(&entries), removed, ..Intended::default() })?;
        replaced = node.replace_entries(session, entries, &seen).await.map_err(refused)?;
    }
    for (blob, path) in same {
        // The store's list of files may have been lost, and a file that had the same content may have been changed.
        if node.blob_path(blob).await?.is_none_or(|known| edited.contains(&known)) {
            node.link_blob(blob, &path).await?;
        }
    }
    unsettled.retain(|path| replaced.written.iter().all(|file| file.path != *path));
    let theirs = changed_there || !unsettled.is_empty();
    let refused = replaced.refused.into_iter().collect();
    Ok(Collected { theirs, beside: Known::of(&replaced.beside), refused, unsettled })
}

/// What [`collect`] would write.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// The files that are new or were changed.
    pub(crate) files: Vec<New>,
    /// The paths that are gone.
    pub(crate) gone: Vec<String>,
}

/// A file as it lies in the directory.
#[derive(Debug)]
pub(crate) struct New {
    /// Its path in the session.
    pub(crate) path: String,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// Its chunks, if it has more than one, and the length of their list in bytes.
    pub(crate) chunks: Option<(Vec<ChunkRef>, u64)>,
}

/// Finds out what [`collect`] would write, by reading alone.
pub(crate) async fn unsent(
    node: &Node,
    session: SessionId,
    tree: &Tree,
    known: &Known,
    stamps: Stamps,
) -> Result<Unsent, Failure> {
    let (held, tree, theirs) = sides(node, session, tree, known).await?;
    let gone = gone(&tree, &held, &theirs).into_iter().map(|entry| entry.path.to_string()).collect();
    let files = tree.files.clone();
    let files = blocking(move || {
        let (changed, _) = split(files, held, &theirs, &stamps)?;
        changed.into_iter().map(|(name, path)| New::read(name, &path)).collect()
    });
    Ok(Unsent { files: files.await?, gone })
}

/// What the session has and the directory has, as [`apart`] tells it.
async fn sides(
    node: &Node,
    session: SessionId,
    tree: &Tree,
    known: &Known,
) -> Result<(Vec<FileInfo>, Tree, Theirs), Failure> {
    Ok(apart(super::files(node, session).await?, tree.clone(), known))
}

/// What the session has and the directory has, without the files whose content another device holds: who wrote a file of
/// that name meant another one, and it stays here alone until the session's is here. But where the directory had just what
/// the session has, that was lost by what the user did to it: what lies there now is an edit, and nothing a removal.
fn apart(held: Files, mut tree: Tree, known: &Known) -> (Vec<FileInfo>, Tree, Theirs) {
    let Files { mut here, mut elsewhere, missing, .. } = held;
    let shown = Known::of(&missing);
    let lay_here = |file: &FileInfo| known.0.get(&file.path) == shown.0.get(&file.path);
    let changed: Vec<_> = missing.into_iter().filter(lay_here).collect();
    for file in &changed {
        elsewhere.remove(&file.path);
    }
    here.extend(changed);
    tree.files.retain(|(path, _)| !elsewhere.contains(path));
    let theirs = Theirs { known: known.clone().without(&elsewhere), held: Known::of(&here) };
    (here, tree, theirs)
}

impl New {
    /// Reads a file, and cuts it as it would be cut.
    pub(crate) fn read(path: String, file: &Path) -> Result<New, Failure> {
        let (len, list) = cut(file).map_err(Failure::io("read", file))?;
        let chunks = list.and_then(|(list, bytes)| {
            let chunks: ChunkList = decode(Rules::ALL, &bytes).ok()?;
            Some((chunks.chunks.to_vec(), u64::from(list.len)))
        });
        Ok(New { path, len, chunks })
    }
}

/// A chunk list: its hash and length, and its bytes.
type ListBytes = (ListRef, Vec<u8>);

/// The length of a file, and its chunk list if it needs one.
fn cut(path: &Path) -> io::Result<(u64, Option<ListBytes>)> {
    let len = path.symlink_metadata()?.len();
    let mut builder = ListBuilder::new(len);
    fill(&mut builder, path, len)?;
    Ok((len, builder.finish().1))
}

/// What directory and session had in common, and what the session holds now.
struct Theirs {
    known: Known,
    held: Known,
}

impl Theirs {
    /// Whether others changed, added or removed what lies at a path.
    fn changed(&self, path: &str) -> bool {
        self.known.0.get(path) != self.held.0.get(path)
    }

    /// What the user saw where the session holds something: what both had in common.
    fn seen(&self, held: &[FileInfo]) -> Vec<FileInfo> {
        let seen = held.iter().map(|file| match self.changed(&file.path) {
            true => self.known.file(&file.path),
            false => Some(file.clone()),
        });
        seen.flatten().collect()
    }
}

/// What the session holds and the directory no longer does.
fn gone(tree: &Tree, held: &[FileInfo], theirs: &Theirs) -> Vec<Entry> {
    let files = tree.files.iter().map(|(path, _)| path.as_str());
    let present: BTreeSet<&str> = files.chain(tree.empty.iter().map(String::as_str)).collect();
    let gone = held.iter().map(|file| file.path.as_str()).filter(|path| !present.contains(path));
    let gone = gone.filter(|path| !theirs.changed(path));
    gone.filter_map(|path| Entry::bare(path, EntryMode::Removed)).collect()
}

fn new_directories(tree: &Tree, held: &[FileInfo], theirs: &Theirs) -> Vec<Entry> {
    let held: BTreeSet<&str> = held.iter().filter(|file| file.is_dir).map(|file| file.path.as_str()).collect();
    let new = tree.empty.iter().filter(|path| !held.contains(path.as_str()) && !theirs.changed(path));
    new.filter_map(|path| Entry::bare(path, EntryMode::Directory)).collect()
}

/// Path in the session and on this machine.
type Changed = Vec<(String, PathBuf)>;

/// The files that the user changed, and those that the session holds in just this form, by their blobs.
fn split(
    files: Changed,
    held: Vec<FileInfo>,
    theirs: &Theirs,
    stamps: &Stamps,
) -> Result<(Changed, Vec<(Hash, PathBuf)>), Failure> {
    let held: BTreeMap<String, FileInfo> = held.into_iter().map(|file| (file.path.clone(), file)).collect();
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for (name, path) in files {
        let known = held.get(&name).filter(|known| !known.is_dir);
        let is_same = |known: &FileInfo| is_same(stamps, known, &path).map_err(Failure::io("read", &path));
        match known.map(|known| is_same(known).map(|same| (same, known.blob))).transpose()? {
            Some((true, blob)) => same.push((blob, path)),
            // What others changed or removed, the user may have changed, too: an edit outlives a removal.
            _ if theirs.changed(&name) => match theirs.known.holds(stamps, &name, &path) {
                Ok(true) => {}
                other => other.map(|_| changed.push((name, path.clone()))).map_err(Failure::io("read", &path))?,
            },
            _ => changed.push((name, path)),
        }
    }
    Ok((changed, same))
}

/// Whether a file is as the session has it; its content is looked at last.
fn is_same(stamps: &Stamps, known: &FileInfo, path: &Path) -> io::Result<bool> {
    let metadata = path.symlink_metadata()?;
    if metadata.len() != known.len || !is_as(&metadata, known.executable) {
        return Ok(false);
    }
    Ok(stamps.hash(path, || hash(path))? == known.blob)
}

fn hash(path: &Path) -> io::Result<Hash> {
    let file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    hash_of(file, len)
}

/// Reads a file, or if it is longer than it was its beginning.
fn fill(builder: &mut ListBuilder, path: &Path, len: u64) -> io::Result<()> {
    let (mut file, mut buffer) = (std::fs::File::open(path)?, vec![0; super::BUFFER]);
    loop {
        let read = io::Read::read(&mut file, &mut buffer)?;
        if read == 0 || builder.pushed() > len {
            return Ok(());
        }
        builder.push(&buffer[..read]);
    }
}

impl Known {
    /// What the session holds once these are written.
    fn to_write(entries: &[Entry]) -> Known {
        let known = |entry: &Entry| match EntryMode::from_number(entry.mode)? {
            EntryMode::Removed => None,
            EntryMode::Directory => Some(super::Entry::Directory),
            mode => Some(super::Entry::File {
                len: entry.len,
                blob: entry.blob.to_string(),
                executable: mode == EntryMode::Executable,
            }),
        };
        Known(entries.iter().filter_map(|entry| Some((entry.path.to_string(), known(entry)?))).collect())
    }

    /// What it knows of a path.
    fn file(&self, path: &str) -> Option<FileInfo> {
        let file = |len: u64, blob: Hash, executable: bool| FileInfo {
            path: path.to_owned(),
            is_dir: false,
            executable,
            len,
            blob,
        };
        match self.0.get(path)? {
            super::Entry::Directory => Some(FileInfo { is_dir: true, ..file(0, Hash::new([0; 32]), false) }),
            super::Entry::File { len, blob, executable } => Some(file(*len, Hash::from_hex(blob)?, *executable)),
        }
    }

    /// Whether the file on this machine is as it was known.
    pub(super) fn holds(&self, stamps: &Stamps, name: &str, path: &Path) -> io::Result<bool> {
        match self.0.get(name) {
            Some(super::Entry::File { len, blob, executable }) => {
                let metadata = path.symlink_metadata()?;
                let looks = metadata.len() == *len && is_as(&metadata, *executable);
                Ok(looks && stamps.hash(path, || hash(path))?.to_string() == *blob)
            }
            _ => Ok(false),
        }
    }
}

/// Whether a file can be run, or can't be, as the session says. Where a system doesn't tell, it is.
fn is_as(metadata: &std::fs::Metadata, executable: bool) -> bool {
    cfg!(not(unix)) || is_executable(metadata) == executable
}

#[cfg(unix)]
pub(crate) fn is_executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
pub(crate) fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

/// Says which limit it is that a directory may meet.
fn refused(error: Error) -> Failure {
    match error {
        Error::Usage { source: UsageError::TooLarge, .. } => {
            Failure::failed("the directory has more files than a session holds (some 14,000); send a part of it")
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::Lab;
    use super::*;

    #[test]
    fn an_edit_and_a_removal_are_collected_though_what_lay_there_is_lost_by_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |path: &str, content: &[u8]| {
            let blob = segue_proto::wire::hash::blob_id(content);
            FileInfo { path: path.to_owned(), is_dir: false, executable: false, len: content.len() as u64, blob }
        };
        let lies = |path: &str, content: &[u8]| {
            let at = dir.path().join(path);
            std::fs::write(&at, content).expect("a file");
            (path.to_owned(), at)
        };
        // Of none of these the session's content is here: the user changed one that the directory had, and removed another;
        // of another name the user has a file of the own; of two others have made another one, while the user changed or
        // removed it; and one never lay in the directory.
        let missing = ["edited", "removed"].map(|path| file(path, b"before"));
        let theirs = ["other", "both", "renewed", "never"].map(|path| file(path, b"theirs"));
        let missing = [&missing[..], &theirs].concat();
        let files = vec![lies("edited", b"after"), lies("other", b"own"), lies("both", b"own")];
        let known = Known::of(&["edited", "removed", "both", "renewed"].map(|path| file(path, b"before")));
        let elsewhere = missing.iter().map(|file| file.path.clone()).collect();
        let held = Files { here: Vec::new(), elsewhere, missing, coming: true };
        let (here, tree, theirs) = apart(held, Tree { files, ..Tree::default() }, &known);
        let gone: Vec<_> = gone(&tree, &here, &theirs).into_iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(gone, ["removed"]);
        let (changed, same) = split(tree.files, here, &theirs, &Stamps::default()).expect("files that can be read");
        assert_eq!(changed.into_iter().map(|(path, _)| path).collect::<Vec<_>>(), ["edited"]);
        assert!(same.is_empty());
    }

    #[tokio::test]
    async fn of_two_files_alike_the_one_that_stays_has_the_content_when_the_other_is_changed() {
        let (lab, stamps) = (Lab::open().await, Stamps::default());
        let (node, session) = (&lab.node, lab.session);
        for changed in ["b", "a"] {
            lab.lies("a", "alike");
            lab.lies("b", "alike");
            collect(node, session, &lab.tree(), &lab.held().await, &stamps, |_| Ok(())).await.expect("a collection");
            lab.lies(changed, "changed");
            collect(node, session, &lab.tree(), &lab.held().await, &stamps, |_| Ok(())).await.expect("a collection");
            let blob = segue_proto::wire::hash::blob_id(b"alike");
            assert_eq!(node.read_blob(blob, 5).await.expect("the content"), b"alike", "{changed}");
        }
        node.shutdown().await;
    }

    #[tokio::test]
    async fn a_file_for_which_others_left_no_room_holds_nothing_up() {
        let (lab, stamps) = (Lab::open().await, Stamps::default());
        let (node, session) = (&lab.node, lab.session);
        lab.write("p/x", "theirs").await;
        lab.lies("p", "mine");
        lab.lies("q", "mine");
        let collected = collect(node, session, &lab.tree(), &Known::default(), &stamps, |_| Ok(())).await;
        let collected = collected.expect("a collection");
        assert!(collected.theirs && collected.refused.is_empty(), "{collected:?}");
        let files = node.files(session).await.expect("files");
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["p/x", "q"]);
        node.shutdown().await;
    }

    /// Writes come while a long file is hashed; this device's own, beside which no other of it can stand.
    #[tokio::test]
    async fn what_is_written_while_files_are_read_is_left_alone() {
        let lab = Lab::open().await;
        let (node, session) = (&lab.node, lab.session);
        for path in ["both", "own", "removed", "gone"] {
            lab.write(path, "before").await;
        }
        let known = lab.held().await;
        let files = ["both", "made", "new", "own"].map(|path| lab.lies(path, "mine")).into();
        let tree = Tree { files, empty: ["place", "void"].map(str::to_owned).into(), ..Tree::default() };
        let seen = sides(node, session, &tree, &known).await.expect("both sides");
        for path in ["both", "made", "place", "removed"] {
            lab.write(path, "theirs").await;
        }
        let mut intended = Intended::default();
        let intend = |all: &Intended| {
            intended = all.clone();
            Ok(())
        };
        let collected = enter(node, session, seen, Stamps::default(), intend).await.expect("a collection");
        assert!(collected.theirs && collected.beside == Known::default(), "{collected:?}");
        // Of what was intended that counts which was written.
        let now_known = known.clone().after(&intended, &lab.held().await);
        let changed = now_known.0.iter().filter(|(path, entry)| known.0.get(*path) != Some(*entry));
        assert_eq!(changed.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["new", "own", "void"]);
        assert!(known.0.keys().filter(|path| !now_known.0.contains_key(*path)).eq(["gone"]));
        let mut held = BTreeMap::new();
        for file in node.files(session).await.expect("files") {
            let content =
                if file.is_dir { "/".into() } else { node.read_file(session, &file.path).await.expect("a file") };
            held.insert(file.path, String::from_utf8(content).expect("a text"));
        }
        let after = [("both", "theirs"), ("made", "theirs"), ("new", "mine"), ("own", "mine"), ("place", "theirs")];
        let after = after.into_iter().chain([("removed", "theirs"), ("void", "/")]);
        assert_eq!(held, after.map(|(path, content)| (path.to_owned(), content.to_owned())).collect());
        // The next time it is known that others changed them.
        let again = collect(node, session, &tree, &now_known, &Stamps::default(), |_| Ok(())).await;
        assert!(again.expect("a collection").theirs);
        node.shutdown().await;
    }
}
