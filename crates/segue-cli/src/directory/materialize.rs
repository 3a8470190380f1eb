//! From the session into the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use segue_quic::{FileInfo, Hash, Node, SessionId};

use super::apply::{Apply, Step};
use super::look::{self, empty_blob};
use super::{ASIDE, Intended, Known, Stamps};
use crate::failure::Failure;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// The files of the session.
    pub(crate) files: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files of the user's that the session didn't know, by their new names.
    pub(crate) aside: Vec<String>,
}

/// Writes what the session holds into `root`; returns what the two have in common then. `intend` remembers it before that.
/// What comes to the session meanwhile isn't written, and isn't in it. What the session has at the paths of `but` isn't
/// written either: what lies there stays, unless something else leads through it.
///
/// Three steps, each of which finds what a killed run of it left: look which files aren't what they should be; *stage*
/// their content, verified, in the state directory; then change the directory, a rename a file. So no file is touched
/// before all that is to be written is safe, even if files only swap their names.
pub(crate) async fn materialize(
    node: &Node,
    state: &Path,
    session: SessionId,
    root: &Path,
    (known, but): (&Known, &BTreeSet<String>),
    stamps: &Stamps,
    intend: impl FnOnce(&Intended) -> Result<(), Failure>,
) -> Result<(Written, Known), Failure> {
    let held = super::files(node, session).await?;
    // What lies there of a file whose content isn't here stays until that comes.
    let stays = &held.elsewhere | but;
    let files: Vec<_> = held.here.into_iter().filter(|file| !but.contains(&file.path)).collect();
    let shown = Known::of(&files).keeping(known, &stays);
    let replaceable = known.clone().without(&stays);
    // One for all sessions, and never removed: the store syncs it later, as it moves content there.
    let staging = state.join("staging");
    for dir in [root, &staging] {
        fs::create_dir_all(dir).map_err(Failure::io("make the directory", dir))?;
    }
    let (device, stamps) = (node.device().to_string(), stamps.clone());
    let job = Job { root: root.to_owned(), staging, files, known: replaceable, device, stamps };
    let (job, steps) = blocking(move || job.plan().map(|steps| (job, steps))).await?;
    for (blob, len) in job.needed(&steps) {
        stage(node, state, &job.staging, blob, len).await?;
    }
    intend(&known.until(&shown))?;
    let (job, aside) = blocking(move || job.apply(steps).map(|aside| (job, aside))).await?;
    for file in job.files.iter().filter(|file| !file.is_dir && file.len > 0) {
        // From here on the content is served from where it lies.
        node.link_blob(file.blob, &root.join(&file.path)).await?;
    }
    // What was copied, not moved, by this run or by one that was killed.
    job.files.iter().for_each(|file| drop(fs::remove_file(job.staging.join(file.blob.to_string()))));
    let files = job.files.iter().filter(|file| !file.is_dir);
    Ok((Written { files: files.clone().count(), bytes: files.map(|file| file.len).sum(), aside }, shown))
}

/// Gets a blob's content into the staging directory.
async fn stage(node: &Node, state: &Path, staging: &Path, blob: Hash, len: u64) -> Result<(), Failure> {
    let staged = staging.join(blob.to_string());
    if staged.is_file() {
        return Ok(());
    }
    if len == 0 {
        return fs::write(&staged, []).map_err(Failure::io("write", &staged));
    }
    let held = node.blob_path(blob).await?;
    let own = held.is_some_and(|path| path.starts_with(state.join("blobs")));
    // What lies in the store is moved, as it would only take room there; a file of the user's is copied.
    match own {
        true => node.take_blob(blob, &staged).await?,
        false => node.copy_blob(blob, &staged).await?,
    }
    Ok(())
}

/// What is known and wanted of a directory.
struct Job {
    root: PathBuf,
    staging: PathBuf,
    files: Vec<FileInfo>,
    known: Known,
    device: String,
    stamps: Stamps,
}

impl Job {
    /// What is to be done with each entry of the session.
    fn plan(&self) -> Result<Vec<Step>, Failure> {
        let root = open(&self.root)?;
        let step = |file: &FileInfo| {
            if file.is_dir {
                return Ok(Step::Directory);
            }
            let is_there = look::look(&root, &file.path)? == look::Local::File { len: file.len };
            let read = || look::hash(&root, &file.path);
            let in_place = is_there && self.stamps.hash(&self.root.join(&file.path), read)? == file.blob;
            Ok(if in_place { Step::Keep } else { Step::Write })
        };
        let plan = |file: &FileInfo| step(file).map_err(Failure::io("look at", &self.root.join(&file.path)));
        self.files.iter().map(plan).collect()
    }

    /// The blobs that must be staged, with their lengths.
    fn needed(&self, steps: &[Step]) -> BTreeMap<Hash, u64> {
        let written = self.files.iter().zip(steps).filter(|(_, step)| **step == Step::Write);
        // What an application may have written for a file without bytes, its hash is this.
        written.map(|(file, _)| if file.len == 0 { (empty_blob(), 0) } else { (file.blob, file.len) }).collect()
    }

    /// Changes the directory; what was moved aside.
    fn apply(&self, steps: Vec<Step>) -> Result<Vec<String>, Failure> {
        let label = format!("{ASIDE}{}", self.device.get(..8).unwrap_or(&self.device));
        let mut apply = Apply::new(open(&self.root)?, open(&self.staging)?, &self.known, label);
        let at = |path: &str| self.root.join(path);
        let wanted: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        for (path, entry) in self.known.0.iter().rev().filter(|(path, _)| !wanted.contains(path.as_str())) {
            apply.remove(path, entry, &wanted).map_err(Failure::io("remove", &at(path)))?;
        }
        let mut uses: BTreeMap<Hash, usize> = BTreeMap::new();
        let written = self.files.iter().zip(&steps).filter(|(_, step)| **step == Step::Write);
        written.for_each(|(file, _)| *uses.entry(file.blob).or_default() += 1);
        for (file, step) in self.files.iter().zip(&steps) {
            let last = uses.get_mut(&file.blob).is_some_and(|left| {
                *left -= usize::from(*step == Step::Write);
                *left == 0
            });
            apply.step(file, *step, last).map_err(Failure::io("write", &at(&file.path)))?;
        }
        apply.finish().map_err(Failure::io("sync", &self.root))
    }
}

fn open(dir: &Path) -> Result<Dir, Failure> {
    Dir::open_ambient_dir(dir, ambient_authority()).map_err(Failure::io("open the directory", dir))
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Failure::failed(format!("the work on the directory broke off: {error}"))))
}

#[cfg(test)]
mod tests {
    use super::super::collect;
    use super::super::lab::Lab;
    use super::*;

    #[tokio::test]
    async fn what_was_brought_before_a_kill_isnt_taken_for_the_users() {
        let lab = Lab::open().await;
        let (node, session) = (&lab.node, lab.session);
        lab.write("gone", "first").await;
        lab.write("plan", "first").await;
        let (nothing, stamps, none) = (Known::default(), Stamps::default(), BTreeSet::new());
        let bring = async |known: &Known, intended: &mut Intended| {
            let intend = |all: &Intended| {
                *intended = all.clone();
                Ok(())
            };
            let brought = materialize(node, &lab.state, session, &lab.root, (known, &none), &stamps, intend).await;
            brought.expect("a directory").1
        };
        let known = bring(&nothing, &mut Intended::default()).await;
        lab.write("plan", "second").await;
        lab.write("new", "second").await;
        node.remove_file(session, "gone").await.expect("a removal");
        // It is killed before it remembers what it brought, and others go on.
        let mut intended = Intended::default();
        bring(&known, &mut intended).await;
        lab.write("plan", "third").await;
        node.remove_file(session, "new").await.expect("a removal");
        let known = known.arrived(&intended, &lab.root, &stamps);
        let collected = collect(node, session, &lab.tree(), &known, &stamps, |_| Ok(())).await.expect("a collection");
        assert!(collected.theirs && collected.beside == nothing, "{collected:?}");
        bring(&known, &mut intended).await;
        assert_eq!(lab.tree().files.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["plan"]);
        assert_eq!(fs::read_to_string(lab.root.join("plan")).expect("a file"), "third");
        node.shutdown().await;
    }
}
