//! Paths of entries.

use segue_proto::Rules;
use segue_proto::data::{Entry, EntryMode, check_path};

/// A path that is taken is relative, stays below where it is joined to, and is the same in an entry that is encoded.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if check_path(Rules::ALL, text).is_err() {
        return;
    }
    assert!((1..=1024).contains(&text.len()));
    assert!(!text.contains(['\\', ':', '\0', '\n', '\u{202e}']));
    let parts: Vec<_> = text.split('/').collect();
    assert!(parts.iter().all(|part| !matches!(*part, "" | "." | "..") && part.len() <= 255));
    let joined = std::path::Path::new("/root").join(text);
    assert!(joined.starts_with("/root") && joined.components().count() == parts.len() + 2);
    let entry = Entry::bare(text, EntryMode::Directory).map(|entry| entry.to_bytes());
    let opened = entry.and_then(|bytes| Entry::open(Rules::ALL, &bytes).ok());
    assert!(opened.is_some_and(|entry| &*entry.path == text));
}
