//! Paths that may be written on every device, and the tree that they make.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::limits::{MAX_COMPONENT, MAX_PATH};
use crate::wire::PartId;
use crate::wire::text::is_plain;
use crate::{Clause, Code, Rules, Violation};

/// Checks a path of an entry: relative, and harmless on every system (DATA-NAME-1, `DATA_NAME`).
pub fn check_path(rules: Rules, path: &str) -> Result<(), Violation> {
    let good = (1..=MAX_PATH).contains(&path.len()) && path.split('/').all(is_component);
    rules.ensure(Clause::DATA_NAME_1, good, Code::DATA_NAME)
}

fn is_component(name: &str) -> bool {
    // '.' and '..' end with a dot, and an empty name has no last character.
    let ends_well = name.chars().next_back().is_some_and(|last| last != '.' && last != ' ');
    let plain = name.chars().all(|c| is_plain(c) && c != '\\' && c != ':');
    ends_well && plain && name.len() <= MAX_COMPONENT && !is_device(name)
}

/// Whether Windows takes the name for a device, whatever stands behind its first dot.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    if DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return true;
    }
    let (Some(port), Some(number)) = (stem.get(..3), stem.get(3..)) else { return false };
    let mut digits = number.chars();
    let one = matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None));
    one && (port.eq_ignore_ascii_case("COM") || port.eq_ignore_ascii_case("LPT"))
}

const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// The live paths of a session: the parts of each, and whether it is a file in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tree {
    at: BTreeMap<String, Vec<(PartId, bool)>>,
    /// What keeps entries from standing at their own paths: paths of several parts, files with something below, and paths
    /// that aren't permitted.
    crowded: usize,
}

impl Tree {
    /// Whether each entry stands at its own path: who looks for one then need not place all.
    pub(super) fn is_plain(&self) -> bool {
        self.crowded == 0
    }

    /// The part of a path; the lowest, if there are several.
    pub(super) fn part(&self, path: &str) -> Option<PartId> {
        self.at.get(path)?.first().map(|(part, _)| *part)
    }

    /// Whether a further entry fits: its path is free, no file lies above it, and if it is a file nothing below.
    pub(super) fn fits(&self, path: &str, file: bool) -> bool {
        !self.at.contains_key(path)
            && above(path).all(|parent| !self.at.get(parent).is_some_and(|parts| has_file(parts)))
            && !(file && self.has_below(path))
    }

    /// The path at which an entry stands beside those placed before it: its own, or one with its part's id in it if
    /// that is taken, lies below a file, or is a file's with something below (DATA-TREE-1).
    pub(super) fn place(&self, path: &str, part: PartId, file: bool) -> String {
        let good = |path: &str| check_path(Rules::ALL, path).is_ok() && self.fits(path, file);
        if good(path) {
            return path.into();
        }
        let whole: String = part.as_bytes().iter().map(|byte| alloc::format!("{byte:02x}")).collect();
        let short = whole.get(..8).unwrap_or(&whole);
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, alloc::format!(".{extension}")),
            _ => (name, String::new()),
        };
        let beside = if directory.is_empty() { String::new() } else { alloc::format!("{directory}/") };
        let renamed = alloc::format!("{stem} ({short}){extension}");
        let candidates = [alloc::format!("{beside}{renamed}"), renamed];
        candidates.into_iter().find(|path| good(path)).unwrap_or(whole)
    }

    pub(super) fn insert(&mut self, path: &str, part: PartId, file: bool) {
        let before = self.crowd(path);
        let parts = self.at.entry(path.into()).or_default();
        match parts.binary_search_by_key(&part, |(part, _)| *part) {
            Ok(at) => parts.splice(at..=at, [(part, file)]).for_each(drop),
            Err(at) => parts.insert(at, (part, file)),
        }
        self.crowded = self.crowded + self.crowd(path) - before;
    }

    /// Gives up a part's path.
    pub(super) fn remove(&mut self, path: &str, part: PartId) {
        let before = self.crowd(path);
        if let Some(parts) = self.at.get_mut(path) {
            parts.retain(|(owner, _)| *owner != part);
            if parts.is_empty() {
                self.at.remove(path);
            }
        }
        self.crowded = self.crowded + self.crowd(path) - before;
    }

    /// What of `crowded` a path and those above it account for.
    fn crowd(&self, path: &str) -> usize {
        let at = |path: &str| {
            let Some(parts) = self.at.get(path) else { return 0 };
            let below = has_file(parts) && self.has_below(path);
            usize::from(parts.len() > 1) + usize::from(below) + usize::from(check_path(Rules::ALL, path).is_err())
        };
        above(path).chain([path]).map(at).sum()
    }

    fn has_below(&self, path: &str) -> bool {
        let start = alloc::format!("{path}/");
        let mut from = self.at.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        from.next().is_some_and(|(next, _)| next.starts_with(&start))
    }
}

/// The directories above a path.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

fn has_file(parts: &[(PartId, bool)]) -> bool {
    parts.iter().any(|(_, file)| *file)
}
