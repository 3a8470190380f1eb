//! A session as a directory of real files, both ways.
//!
//! *Collecting* reads the directory and writes what changed into the session. *Materializing* writes what the session
//! holds into the directory, and never loses a file of the user's: what the session doesn't know is moved aside under a
//! name that says so. Both can be killed at any moment and done again.

mod apply;
mod collect;
mod held;
mod look;
mod materialize;
mod scan;
mod stamps;

use std::collections::{BTreeMap, BTreeSet};

use segue_quic::FileInfo;
use serde::{Deserialize, Serialize};

pub(crate) use collect::{New, Unsent, collect, unsent};
pub(crate) use held::files;
pub(crate) use materialize::{Written, materialize};
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
    File { len: u64, blob: String },
}

impl Known {
    /// What the session holds.
    pub(crate) fn of(files: &[FileInfo]) -> Known {
        let entry = |file: &FileInfo| match file.is_dir {
            true => Entry::Directory,
            false => Entry::File { len: file.len, blob: file.blob.to_string() },
        };
        Known(files.iter().map(|file| (file.path.clone(), entry(file))).collect())
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

    /// What directory and session have in common once the user's changes, `wrote` among them, are in the session. What others
    /// changed meanwhile isn't in the directory, and so isn't known: else the user would seem to have undone it.
    pub(crate) fn followed_by(&self, held: &Known, wrote: &Known, tree: &Tree) -> Known {
        let present = tree.files.iter().map(|(path, _)| path).chain(&tree.empty).collect::<BTreeSet<_>>();
        let mut seen = self.clone();
        seen.0.extend(wrote.0.clone());
        let shown = |path: &String, now: &Entry| {
            seen.0.get(path) == Some(now) || *now == Entry::Directory && tree.empty.contains(path)
        };
        let new = held.0.iter().filter(|(path, now)| shown(path, now));
        // What is neither there as it was nor removed by the user, others changed.
        let theirs = |path: &String| held.0.get(path).map_or(present.contains(path), |now| !shown(path, now));
        let old = seen.0.iter().filter(|(path, _)| theirs(path));
        Known(new.chain(old).map(|(path, entry)| (path.clone(), entry.clone())).collect())
    }

    /// With what the session holds now and the directory held when it was read.
    pub(crate) fn with(mut self, held: &Known, tree: &Tree, stamps: &Stamps) -> Known {
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
        let entry = |blob: &str| Entry::File { len: 1, blob: blob.to_owned() };
        Known(files.iter().map(|(path, blob)| ((*path).to_owned(), entry(blob))).collect())
    }

    #[test]
    fn what_others_change_while_a_directory_is_read_isnt_taken_for_known() {
        let before = known(&[
            ("changed", "1"),
            ("edited", "1"),
            ("kept", "1"),
            ("removed", "1"),
            ("taken", "1"),
            ("twice", "1"),
        ]);
        // The user edited two, made one, and removed one; others changed, made and removed one each meanwhile, and changed
        // what the user had edited.
        let files = ["changed", "edited", "kept", "made", "taken", "twice"].map(|path| (path.to_owned(), path.into()));
        let tree = Tree { files: files.into(), ..Tree::default() };
        let wrote = known(&[("edited", "2"), ("made", "1"), ("twice", "2")]);
        let held =
            known(&[("changed", "2"), ("edited", "2"), ("kept", "1"), ("made", "1"), ("theirs", "1"), ("twice", "3")]);
        let after = [("changed", "1"), ("edited", "2"), ("kept", "1"), ("made", "1"), ("taken", "1"), ("twice", "2")];
        let after = known(&after);
        assert_eq!(before.followed_by(&held, &wrote, &tree), after);
    }
}
