//! Files of the application's that are the content of blobs, and their chunk lists.
//!
//! The list of them is a convenience that survives a restart: if it is lost, the application writes its files into the
//! session again, which costs a read. So it is appended to without a sync, and a line that is torn is skipped.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use segue_proto::wire::Hash;

/// The name of the list in the state directory.
const FILE: &str = "links";

/// Bytes of chunk lists that are kept in memory: those of 120 GB. Beyond it a list is made from its file again when it
/// is asked for.
const MAX_LISTS: usize = 64 << 20;

/// Linked files by blob, and by the hash of their chunk lists.
#[derive(Default)]
pub(crate) struct Links {
    /// Where the list is; none in memory.
    path: Option<PathBuf>,
    files: HashMap<Hash, PathBuf>,
    /// The blob that a chunk list describes, and the list's bytes.
    lists: HashMap<Hash, (Hash, Option<Bytes>)>,
    kept: usize,
    /// Lines that aren't written yet.
    unsaved: String,
}

/// A chunk list of a linked file.
pub(super) enum List {
    /// Its bytes.
    Kept(Bytes),
    /// The file that it is to be made from.
    Of(PathBuf),
}

impl Links {
    /// Reads the list in `state`, later lines first, and drops what they replaced.
    pub(crate) fn load(state: &Path) -> io::Result<Links> {
        let path = state.join(FILE);
        let mut links = Links::default();
        match File::open(&path) {
            Ok(file) => {
                let lines = BufReader::new(file).lines().map_while(Result::ok);
                lines.for_each(|line| links.read_line(&line));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        links.path = Some(path);
        links.rewrite()?;
        Ok(links)
    }

    /// Every file, by blob.
    pub(super) fn files(&self) -> impl Iterator<Item = (Hash, &Path)> {
        self.files.iter().map(|(blob, path)| (*blob, path.as_path()))
    }

    /// Every chunk list, by its hash.
    pub(super) fn lists(&self) -> impl Iterator<Item = Hash> {
        self.lists.keys().copied()
    }

    /// The file of a blob.
    pub(super) fn file(&self, blob: &Hash) -> Option<PathBuf> {
        self.files.get(blob).cloned()
    }

    /// The chunk list with this hash.
    pub(super) fn list(&self, list: &Hash) -> Option<List> {
        let (blob, bytes) = self.lists.get(list)?;
        bytes.clone().map(List::Kept).or_else(|| self.file(blob).map(List::Of))
    }

    /// Adds a file.
    pub(super) fn add(&mut self, blob: Hash, path: &Path, list: Option<(Hash, Vec<u8>)>) {
        let hash = list.as_ref().map(|(hash, _)| *hash);
        let known = self.files.get(&blob).is_some_and(|old| old == path);
        if !known && let Some(line) = line(blob, hash, path) {
            self.unsaved.push_str(&line);
        }
        self.files.insert(blob, path.to_owned());
        if let Some((hash, bytes)) = list {
            let keep = self.kept + bytes.len() <= MAX_LISTS;
            self.kept += if keep { bytes.len() } else { 0 };
            let old = self.lists.insert(hash, (blob, keep.then(|| Bytes::from(bytes))));
            self.kept -= old.and_then(|(_, bytes)| bytes).map_or(0, |bytes| bytes.len());
        }
    }

    /// Appends what was added.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| !self.unsaved.is_empty()) else { return Ok(()) };
        OpenOptions::new().append(true).create(true).open(path)?.write_all(self.unsaved.as_bytes())?;
        self.unsaved.clear();
        Ok(())
    }

    fn read_line(&mut self, line: &str) {
        let mut fields = line.splitn(3, ' ');
        let (Some(blob), Some(list), Some(path)) = (fields.next(), fields.next(), fields.next()) else { return };
        let Some(blob) = Hash::from_hex(blob) else { return };
        if let Some(list) = Hash::from_hex(list) {
            self.lists.insert(list, (blob, None));
        }
        self.files.insert(blob, PathBuf::from(path));
    }

    /// Writes the list anew, so that it doesn't grow with every start.
    fn rewrite(&self) -> io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| !self.files.is_empty()) else { return Ok(()) };
        let lists: HashMap<Hash, Hash> = self.lists.iter().map(|(list, (blob, _))| (*blob, *list)).collect();
        let lines: String =
            self.files.iter().filter_map(|(blob, path)| line(*blob, lists.get(blob).copied(), path)).collect();
        let draft = path.with_extension("new");
        std::fs::write(&draft, lines)?;
        std::fs::rename(draft, path)
    }
}

/// A line of the list: blob, chunk list or `-`, path. A path that no line can hold isn't remembered.
fn line(blob: Hash, list: Option<Hash>, path: &Path) -> Option<String> {
    let path = path.to_str().filter(|path| !path.contains(['\n', '\r']))?;
    let list = list.map_or_else(|| "-".to_owned(), |list| list.to_string());
    Some(format!("{blob} {list} {path}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_survive_a_restart_and_torn_lines_dont_matter() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, list) = (Hash::new([1; 32]), Hash::new([2; 32]), Hash::new([3; 32]));
        let mut links = Links::load(dir.path()).unwrap();
        links.add(a, Path::new("/first path"), None);
        links.add(b, Path::new("/old"), Some((list, vec![7])));
        links.add(b, Path::new("/new"), Some((list, vec![7])));
        links.save().unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"0101 torn").unwrap();
        for _ in 0..2 {
            let links = Links::load(dir.path()).unwrap();
            assert_eq!(links.file(&a), Some("/first path".into()));
            assert_eq!(links.file(&b), Some("/new".into()));
            assert!(matches!(links.list(&list), Some(List::Of(path)) if path == Path::new("/new")));
        }
    }
}
