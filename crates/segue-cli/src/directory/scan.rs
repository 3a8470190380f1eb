//! Reading a directory.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, FileType};
use std::path::{Path, PathBuf};

use segue_proto::Rules;
use segue_proto::data::check_path;

use super::{ASIDE, DRAFT};
use crate::failure::Failure;

/// What a directory holds, as far as a session can.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    /// Path in the session and on this machine.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Directories with nothing in them; the others follow from their files.
    pub(crate) empty: Vec<String>,
    /// The files' bytes.
    pub(crate) bytes: u64,
    /// What was left out, and why.
    pub(crate) skipped: Vec<String>,
}

impl Tree {
    /// What there is.
    pub(crate) fn paths(&self) -> BTreeSet<&String> {
        self.files.iter().map(|(path, _)| path).chain(&self.empty).collect()
    }
}

/// Reads the directory `root`, both ways canonical, leaving out the state directory should it lie inside.
///
/// # Errors
/// A name that some device couldn't write is refused, by name: the session would be incomplete there.
pub(crate) fn scan(root: &Path, state: &Path) -> Result<Tree, Failure> {
    if root == state {
        let text = format!("{} holds this device's secret key; name another directory", root.display());
        return Err(Failure::failed(text));
    }
    let mut tree = Tree::default();
    let mut open = vec![(root.to_owned(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        let held = read(&mut tree, &dir, &prefix, state, &mut open)?;
        if held == 0 && !prefix.is_empty() {
            tree.empty.push(prefix);
        }
    }
    tree.files.sort_unstable();
    tree.empty.sort_unstable();
    Ok(tree)
}

/// Reads one directory; how many of its entries belong to the session.
fn read(
    tree: &mut Tree,
    dir: &Path,
    prefix: &str,
    state: &Path,
    open: &mut Vec<(PathBuf, String)>,
) -> Result<usize, Failure> {
    let mut held = 0;
    for entry in fs::read_dir(dir).map_err(Failure::io("read the directory", dir))? {
        let entry = entry.map_err(Failure::io("read the directory", dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Failure::io("look at", &path))?;
        if is_draft(&entry) {
            continue;
        }
        if let Some(why) = left_out(kind, &path, state) {
            tree.skipped.push(format!("{} is left out: {why}", path.display()));
            continue;
        }
        held += 1;
        let name = name(&entry, prefix)?;
        if kind.is_dir() {
            open.push((path, name));
        } else {
            tree.bytes += entry.metadata().map_err(Failure::io("look at", &path))?.len();
            tree.files.push((name, path));
        }
    }
    Ok(held)
}

/// The files in a directory that were moved aside, relative to it.
pub(crate) fn copies(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name().to_string_lossy().contains(&format!(".{ASIDE}")) {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                found.push(relative.display().to_string());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(path);
            }
        }
    }
    found.sort_unstable();
    found
}

fn is_draft(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(DRAFT.as_bytes())
}

fn left_out(kind: FileType, path: &Path, state: &Path) -> Option<&'static str> {
    if kind.is_symlink() {
        Some("it is a symbolic link")
    } else if kind.is_dir() {
        (path == state).then_some("it holds this device's secret key")
    } else {
        (!kind.is_file()).then_some("it is neither a file nor a directory")
    }
}

/// The path of an entry in the session.
fn name(entry: &DirEntry, prefix: &str) -> Result<String, Failure> {
    let path = entry.path();
    let refuse = |why: &str| {
        let text = format!("{} can't be part of a session: {why}; rename it, or move it elsewhere", path.display());
        Failure::failed(text)
    };
    let name = entry.file_name().into_string().map_err(|_| refuse("its name isn't UTF-8"))?;
    let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
    check_path(Rules::ALL, &name).map_err(|_| {
        refuse(
            "its name can't be written on every system (control characters, \\ or :, a dot or space at the end, a device's name as CON, more than 255 bytes, or a path of more than 1,024)",
        )
    })?;
    Ok(name)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn links_and_the_state_are_left_out_and_empty_directories_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/empty")).unwrap();
        fs::create_dir_all(root.join("state")).unwrap();
        fs::write(root.join("a/file"), "12345").unwrap();
        fs::write(root.join(format!("{DRAFT}7")), "torn").unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let tree = scan(&root, &root.join("state")).unwrap();
        assert_eq!(tree.files, [("a/file".to_owned(), root.join("a/file"))]);
        assert_eq!(tree.empty, ["a/empty"]);
        assert_eq!(tree.bytes, 5);
        assert_eq!(tree.skipped.len(), 2, "{:?}", tree.skipped);
        assert!(scan(&root.join("state"), &root.join("state")).is_err());
    }

    #[test]
    fn a_name_that_not_every_system_can_write_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/a:b"), "").unwrap();
        let error = scan(&root, Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("sub/a:b") && error.contains("rename it"), "{error}");
    }
}
