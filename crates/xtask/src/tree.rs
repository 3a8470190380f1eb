//! The files that belong to the project.

use std::path::Path;
use std::process::Command;

/// The project's text files, by path from the root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
}

/// A text file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The path from the root, with `/`.
    pub(crate) path: String,
    /// The content.
    pub(crate) text: String,
}

impl Tree {
    /// Reads what git tracks or would track. Files that aren't UTF-8 are left out.
    pub(crate) fn read(root: &Path) -> Result<Tree, String> {
        let listed = run(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut tree = Tree::default();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            // A file may be tracked and deleted, or written by somebody else at this moment.
            let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
            if let Ok(text) = String::from_utf8(bytes) {
                tree.add(path, text);
            }
        }
        Ok(tree)
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: &str, text: impl Into<String>) {
        self.files.push(File { path: path.into(), text: text.into() });
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// The file at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// All files below a folder, or all with an empty `folder`.
    pub(crate) fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(folder))
    }

    /// The chapters and other pages of the spec.
    pub(crate) fn spec(&self) -> impl Iterator<Item = &File> {
        self.under("spec/").filter(|file| file.path.ends_with(".md"))
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.add(path, *text);
        }
        tree
    }
}

impl File {
    /// The lines, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The name of the spec chapter: `handoff` for `spec/05-handoff.md`.
    pub(crate) fn chapter(&self) -> Option<&str> {
        let name = self.path.strip_prefix("spec/")?.strip_suffix(".md")?;
        let (number, chapter) = name.split_once('-')?;
        number.bytes().all(|b| b.is_ascii_digit()).then_some(chapter)
    }
}

/// Runs a program and returns what it prints.
pub(crate) fn run(root: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("{program} can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{program} printed something that isn't UTF-8"))
}
