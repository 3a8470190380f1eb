//! Changing a directory, one rename a file.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

use cap_std::fs::{Dir, OpenOptions, Permissions};
use segue_quic::{FileInfo, Hash};

use super::look::{Local, above, holds, kind, look, parent};
use super::{DRAFT, Entry, Known};

/// What is to be done with an entry of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is a directory.
    Directory,
    /// The file holds what it should.
    Keep,
    /// The file is to be written.
    Write,
}

/// A directory that is being changed.
pub(super) struct Apply<'a> {
    root: Dir,
    staging: Dir,
    known: &'a Known,
    /// What the name of a file says that was moved aside.
    label: String,
    aside: Vec<String>,
    /// Directories whose entries changed.
    touched: BTreeSet<String>,
}

impl<'a> Apply<'a> {
    pub(super) fn new(root: Dir, staging: Dir, known: &'a Known, label: String) -> Self {
        Apply { root, staging, known, label, aside: Vec::new(), touched: BTreeSet::new() }
    }

    /// Removes what the session no longer has, and the directories that it leaves empty. A file that isn't as the
    /// session knew it is moved aside.
    pub(super) fn remove(&mut self, path: &str, entry: &Entry, wanted: &BTreeSet<&str>) -> io::Result<()> {
        match (look(&self.root, path)?, entry) {
            (Local::Directory, Entry::Directory) => self.prune(path, wanted)?,
            (Local::File { .. }, Entry::File { len, blob, .. }) => {
                if holds(&self.root, path, *len, blob)? {
                    self.root.remove_file(path)?;
                    self.touch(path);
                } else {
                    self.put_aside(path)?;
                }
            }
            // It is gone, or the user's by now.
            _ => {}
        }
        let parents: Vec<&str> = above(path).collect();
        for parent in parents.into_iter().rev() {
            self.prune(parent, wanted)?;
        }
        Ok(())
    }

    /// Brings one entry about. `last` tells that nothing else needs its content.
    pub(super) fn step(&mut self, file: &FileInfo, step: Step, last: bool) -> io::Result<()> {
        let path = file.path.as_str();
        let parents: Vec<&str> = above(path).collect();
        for parent in parents {
            self.make_directory(parent)?;
        }
        match step {
            Step::Directory => self.make_directory(path),
            Step::Keep => set_executable(&self.root, path, file.executable),
            Step::Write => {
                self.clear(path)?;
                self.place(file, last)?;
                self.touch(path);
                Ok(())
            }
        }
    }

    /// Makes the changes durable; what was moved aside, by its new name.
    pub(super) fn finish(self) -> io::Result<Vec<String>> {
        for dir in self.touched {
            match self.root.open(&dir) {
                Ok(dir) => dir.sync_all()?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Not every system opens a directory as a file, or syncs one.
                Err(_) if cfg!(not(unix)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.aside)
    }

    /// Removes a directory if it is empty and not wanted.
    fn prune(&mut self, path: &str, wanted: &BTreeSet<&str>) -> io::Result<()> {
        let below = format!("{path}/");
        if wanted.contains(path) || wanted.range(below.as_str()..).next().is_some_and(|next| next.starts_with(&below)) {
            return Ok(());
        }
        if look(&self.root, path)? == Local::Directory {
            self.remove_empty(path)?;
        }
        Ok(())
    }

    /// Removes a directory; false if it isn't empty.
    fn remove_empty(&mut self, path: &str) -> io::Result<bool> {
        match self.root.remove_dir(path) {
            Ok(()) => {
                self.touch(path);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that there is a directory, whose directories above are ones.
    fn make_directory(&mut self, path: &str) -> io::Result<()> {
        match kind(&self.root, path)? {
            Local::Directory => return Ok(()),
            Local::Nothing => {}
            Local::File { .. } if self.is_known(path)? => self.root.remove_file(path)?,
            Local::File { .. } | Local::Other => self.put_aside(path)?,
        }
        self.root.create_dir(path)?;
        self.touch(path);
        Ok(())
    }

    /// Clears the way for a file: what the session knew may be replaced, all else is moved aside.
    fn clear(&mut self, path: &str) -> io::Result<()> {
        match kind(&self.root, path)? {
            Local::Nothing => Ok(()),
            Local::File { .. } if self.is_known(path)? => Ok(()),
            Local::Directory if self.remove_empty(path)? => Ok(()),
            _ => self.put_aside(path),
        }
    }

    /// Whether the file at `path` is as the session knew it.
    fn is_known(&self, path: &str) -> io::Result<bool> {
        match self.known.0.get(path) {
            Some(Entry::File { len, blob, .. }) => holds(&self.root, path, *len, blob),
            _ => Ok(false),
        }
    }

    /// Puts the staged content in its place.
    fn place(&mut self, file: &FileInfo, last: bool) -> io::Result<()> {
        let staged = file.blob.to_string();
        if last {
            set_executable(&self.staging, &staged, file.executable)?;
            match self.staging.rename(&staged, &self.root, &file.path) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => {}
                other => return other,
            }
        }
        let draft = parent(&file.path).join(format!("{DRAFT}{}", short(&file.blob)));
        let (mut from, mut options) = (self.staging.open(&staged)?, OpenOptions::new());
        // A killed run may have left it.
        self.root.remove_file(&draft).or_else(ignore(ErrorKind::NotFound))?;
        let mut to = self.root.open_with(&draft, options.write(true).create_new(true))?;
        io::copy(&mut from, &mut to)?;
        to.sync_data()?;
        drop(to);
        let draft = draft.to_string_lossy();
        set_executable(&self.root, &draft, file.executable)?;
        self.root.rename(&*draft, &self.root, &file.path)
    }

    /// Moves what lies at `path` aside, beside where it was.
    fn put_aside(&mut self, path: &str) -> io::Result<()> {
        for n in 1.. {
            let to = aside_name(path, &self.label, n);
            if kind(&self.root, &to)? == Local::Nothing {
                self.root.rename(path, &self.root, &to)?;
                self.touch(path);
                self.aside.push(to);
                break;
            }
        }
        Ok(())
    }

    fn touch(&mut self, path: &str) {
        self.touched.insert(parent(path).to_string_lossy().into_owned());
    }
}

/// The name for something moved aside; cut, if it would be too long for a name.
fn aside_name(path: &str, label: &str, n: u32) -> String {
    let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
    let tail = format!(".{label}-{n}");
    let room = MAX_NAME.saturating_sub(tail.len()).min(name.len());
    let cut = (0..=room).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let name = format!("{}{tail}", &name[..cut]);
    if dir.is_empty() { name } else { format!("{dir}/{name}") }
}

/// The longest name that common file systems take, in bytes.
const MAX_NAME: usize = 255;

fn short(blob: &Hash) -> String {
    blob.to_string().chars().take(16).collect()
}

/// Who may read a file may run it, or nobody may.
#[cfg(unix)]
fn set_executable(dir: &Dir, path: &str, executable: bool) -> io::Result<()> {
    use cap_std::fs::MetadataExt;
    use std::os::unix::fs::PermissionsExt;
    let mode = dir.symlink_metadata(path)?.mode();
    let wanted = if executable { mode | ((mode & 0o444) >> 2) } else { mode & !0o111 };
    let is = mode & 0o100 != 0;
    if is == executable {
        return Ok(());
    }
    dir.set_permissions(path, Permissions::from_std(std::fs::Permissions::from_mode(wanted & 0o7777)))
}

#[cfg(not(unix))]
fn set_executable(_: &Dir, _: &str, _: bool) -> io::Result<()> {
    Ok(())
}

fn ignore(kind: ErrorKind) -> impl FnOnce(io::Error) -> io::Result<()> {
    move |error| if error.kind() == kind { Ok(()) } else { Err(error) }
}
