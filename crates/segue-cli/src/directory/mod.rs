//! A session as a directory of real files, both ways.
//!
//! *Collecting* reads the directory and writes what changed into the session. *Materializing* writes what the session
//! holds into the directory, and never loses a file of the user's: what the session doesn't know is moved aside under a
//! name that says so. Both can be killed at any moment and done again.

mod apply;
mod collect;
mod held;
#[cfg(test)]
mod lab;
mod look;
mod materialize;
mod scan;
mod stamps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use segue_quic::FileInfo;
use serde::{Deserialize, Serialize};

pub(crate) use collect::{Collected, New, Unsent, collect, is_executable, unsent};
pub(crate) use held::files;
pub(crate) use materialize::{Written, blocking, materialize};
pub(crate) use scan::{Tree, copies, scan};
pub(crate) use stamps::{Saved, Stamps};

/// What directory and session had in common last: by it a file that the user changed since is told from one that may
/// be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known(BTreeMap<String, Entry>);

/// A file or directory as it was known last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Entry {
    Directory,
    File {
        len: u64,
        blob: String,
        #[serde(default)]
        executable: bool,
    },
}

/// What was about to be written into one side from the other, and removed there. It is remembered first: whoever is killed
/// in between finds by it what both had in common, though one has changed again since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intended {
    /// From the directory into the session.
    wrote: Known,
    removed: BTreeSet<String>,
    /// From the session into the directory.
    #[serde(default)]
    brings: Known,
    #[serde(default)]
    takes: BTreeSet<String>,
}

impl Intended {
    /// Whether that is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Intended::default()
    }

    /// What was to be written and is one of these.
    pub(crate) fn among(&self, files: impl Iterator<Item = FileInfo>) -> Known {
        let known = files.map(|file| Known::of(&[file])).flat_map(|known| known.0);
        Known(known.filter(|(path, entry)| self.wrote.0.get(path) == Some(entry)).collect())
    }
}

impl Known {
    /// What the session holds.
    pub(crate) fn of(files: &[FileInfo]) -> Known {
        let entry = |file: &FileInfo| match file.is_dir {
            true => Entry::Directory,
            false => Entry::File { len: file.len, blob: file.blob.to_string(), executable: file.executable },
        };
        Known(files.iter().map(|file| (file.path.clone(), entry(file))).collect())
    }

    /// With what was to be written and removed, as far as the session shows that it was: the directory was so then.
    pub(crate) fn after(mut self, intended: &Intended, held: &Known) -> Known {
        let wrote = intended.wrote.0.iter().filter(|(path, entry)| held.0.get(*path) == Some(*entry));
        self.0.extend(wrote.map(|(path, entry)| (path.clone(), entry.clone())));
        self.0.retain(|path, _| held.0.contains_key(path) || !intended.removed.contains(path));
        self
    }

    /// With what was to be brought and taken away, as far as the directory shows that it was.
    pub(crate) fn arrived(mut self, intended: &Intended, root: &Path, stamps: &Stamps) -> Known {
        for (path, entry) in &intended.brings.0 {
            let at = root.join(path);
            let is_there = match entry {
                Entry::Directory => at.symlink_metadata().is_ok_and(|it| it.is_dir()),
                Entry::File { .. } => intended.brings.holds(stamps, path, &at).unwrap_or(false),
            };
            if is_there {
                self.0.insert(path.clone(), entry.clone());
            }
        }
        let is_there = |path: &String| root.join(path).symlink_metadata().is_ok();
        self.0.retain(|path, _| !intended.takes.contains(path) || is_there(path));
        self
    }

    /// With the user's versions of files that others changed, too: the session holds them, and the directory did.
    pub(crate) fn beside(mut self, beside: Known) -> Known {
        self.0.extend(beside.0);
        self
    }

    /// What bringing a directory from this to `shown` does to it.
    fn until(&self, shown: &Known) -> Intended {
        let brings = shown.0.iter().filter(|(path, entry)| self.0.get(*path) != Some(*entry));
        let brings = brings.map(|(path, entry)| (path.clone(), entry.clone())).collect();
        let takes = self.0.keys().filter(|path| !shown.0.contains_key(*path)).cloned().collect();
        Intended { brings: Known(brings), takes, ..Intended::default() }
    }

    /// With what was known before of these paths, whose content isn't here.
    pub(crate) fn keeping(mut self, before: &Known, elsewhere: &BTreeSet<String>) -> Known {
        let kept = before.0.iter().filter(|(path, _)| elsewhere.contains(*path));
        self.0.extend(kept.map(|(path, entry)| (path.clone(), entry.clone())));
        self
    }

    /// How many files there were, if a directory that looks like this has lost all that it had. Whoever wants that has
    /// removed them; but most often it is the disk that isn't there.
    pub(crate) fn is_lost(&self, tree: &Tree) -> Option<usize> {
        let empty = tree.files.is_empty() && tree.empty.is_empty() && tree.skipped.is_empty();
        let files = self.0.values().filter(|entry| matches!(entry, Entry::File { .. })).count();
        (empty && files > 0).then_some(files)
    }

    /// Without these paths.
    fn without(mut self, elsewhere: &BTreeSet<String>) -> Known {
        self.0.retain(|path, _| !elsewhere.contains(path));
        self
    }

    /// What directory and session have in common once the user's changes are in the session. What others changed meanwhile
    /// isn't in the directory, and so isn't known: else the user would seem to have undone it.
    pub(crate) fn followed_by(&self, held: &Known, tree: &Tree) -> Known {
        let present = tree.paths();
        let shown = |path: &String, now: &Entry| {
            self.0.get(path) == Some(now) || *now == Entry::Directory && tree.empty.contains(path)
        };
        let new = held.0.iter().filter(|(path, now)| shown(path, now));
        // What is neither there as it was nor removed by the user, others changed.
        let theirs = |path: &String| held.0.get(path).map_or(present.contains(path), |now| !shown(path, now));
        let old = self.0.iter().filter(|(path, _)| theirs(path));
        Known(new.chain(old).map(|(path, entry)| (path.clone(), entry.clone())).collect())
    }

    /// With what the session holds now and the directory held when it was read, and without what neither has: whoever makes
    /// that again has made it anew.
    pub(crate) fn with(mut self, held: &Known, elsewhere: &BTreeSet<String>, tree: &Tree, stamps: &Stamps) -> Known {
        let present = tree.paths();
        let stays = |path: &String| held.0.contains_key(path) || present.contains(path) || elsewhere.contains(path);
        self.0.retain(|path, _| stays(path));
        for (name, path) in &tree.files {
            if let (Some(entry), Ok(true)) = (held.0.get(name), held.holds(stamps, name, path)) {
                self.0.insert(name.clone(), entry.clone());
            }
        }
        self
    }
}

/// What stands in the name of a file that was moved aside, before the device and a number.
const ASIDE: &str = "segue-copy-";

/// What the name of a file begins with that is being written.
const DRAFT: &str = ".segue-draft-";

/// What is hashed at once: BLAKE3 is at full speed, and the processor's cache holds it.
const BUFFER: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn known(files: &[(&str, &str)]) -> Known {
        let entry = |blob: &str| Entry::File { len: 1, blob: blob.to_owned(), executable: false };
        Known(files.iter().map(|(path, blob)| ((*path).to_owned(), entry(blob))).collect())
    }

    fn tree(paths: &[&str]) -> Tree {
        Tree { files: paths.iter().map(|path| ((*path).to_owned(), path.into())).collect(), ..Tree::default() }
    }

    #[test]
    fn what_others_change_while_a_directory_is_read_isnt_taken_for_known() {
        let before =
            [("changed", "1"), ("edited", "1"), ("kept", "1"), ("removed", "1"), ("taken", "1"), ("twice", "1")];
        // The user edited two, made one, and removed one; others changed, made and removed one each meanwhile, and changed
        // what the user had edited.
        let tree = tree(&["changed", "edited", "kept", "made", "taken", "twice"]);
        let wrote = known(&[("edited", "2"), ("made", "1"), ("twice", "2")]);
        let intended = Intended { wrote, removed: ["removed".to_owned()].into(), ..Intended::default() };
        let held =
            known(&[("changed", "2"), ("edited", "2"), ("kept", "1"), ("made", "1"), ("theirs", "1"), ("twice", "3")]);
        let after = [("changed", "1"), ("edited", "2"), ("kept", "1"), ("made", "1"), ("taken", "1"), ("twice", "1")];
        assert_eq!(known(&before).after(&intended, &held).followed_by(&held, &tree), known(&after));
    }

    #[test]
    fn what_was_removed_and_made_again_is_new() {
        let (before, held) = (known(&[("kept", "1"), ("elsewhere", "1"), ("plan", "1")]), known(&[("kept", "1")]));
        let intended = Intended { removed: ["plan".to_owned(), "kept".to_owned()].into(), ..Intended::default() };
        let after = known(&[("kept", "1"), ("elsewhere", "1")]);
        assert_eq!(before.clone().after(&intended, &held), after);
        let elsewhere = ["elsewhere".to_owned()].into();
        assert_eq!(before.with(&held, &elsewhere, &tree(&[]), &Stamps::default()), after);
    }
}
