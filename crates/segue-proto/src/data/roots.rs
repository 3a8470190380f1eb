//! The roots of a session's parts, in pages: what changed between two states is told without a look at all of them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use super::pages::Pages;
use crate::wire::{Hash, PartId, SessionId};

/// The roots of the parts of a session, ascending by part: what its root is the hash of (DATA-ROOT-1).
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// The session, how many parts, and of each its id and its root.
    pages: Pages,
}

const HEADER: usize = 16 + 4;
const ENTRY: usize = 16 + 32;

impl Roots {
    pub(super) fn new(session: &SessionId) -> Roots {
        let mut pages = Pages::under("segue/1 root");
        pages.extend(session.as_bytes());
        pages.extend(&0_u32.to_be_bytes());
        Roots { pages }
    }

    fn len(&self) -> usize {
        self.pages.len().saturating_sub(HEADER) / ENTRY
    }

    pub(crate) fn get(&self, part: &PartId) -> Option<Hash> {
        let (_, root) = self.at(self.search(part).ok()?)?;
        Some(root)
    }

    /// The root of the session.
    pub(crate) fn root(&mut self) -> Hash {
        self.pages.hash()
    }

    /// These, with other roots for some parts, whether they are among them or not.
    pub(crate) fn with(&self, changed: impl IntoIterator<Item = (PartId, Hash)>) -> Roots {
        let (mut roots, mut new) = (self.clone(), BTreeMap::new());
        for (part, root) in changed {
            match self.search(&part) {
                Ok(at) => roots.set(at, &root),
                Err(_) => _ = new.insert(part, root),
            }
        }
        if let Some((first, _)) = new.first_key_value() {
            let from = self.search(first).unwrap_or_else(|at| at);
            new.extend((from..roots.len()).filter_map(|at| roots.at(at)));
            roots.truncate(from);
            new.iter().for_each(|(part, root)| roots.push(part, root));
            roots.count();
        }
        roots
    }

    /// The parts whose roots these and others disagree about, ascending.
    pub(crate) fn differ(&self, others: &Roots) -> Vec<PartId> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for bytes in self.pages.differ(&others.pages) {
            let entries = bytes.start.saturating_sub(HEADER) / ENTRY..bytes.end.saturating_sub(HEADER).div_ceil(ENTRY);
            match ranges.last_mut().filter(|last| last.end >= entries.start) {
                Some(last) => last.end = last.end.max(entries.end),
                None => ranges.push(entries),
            }
        }
        let mut differ = Vec::new();
        for entries in ranges {
            // Around it whole entries agree, so that both have as many parts before and behind.
            let (mut a, mut b) = (self.range(&entries).peekable(), others.range(&entries).peekable());
            while let Some(first) = a.peek().into_iter().chain(b.peek()).map(|(part, _)| *part).min() {
                let (a, b) = (a.next_if(|(part, _)| *part == first), b.next_if(|(part, _)| *part == first));
                differ.extend((a != b).then_some(first));
            }
        }
        differ
    }

    fn range(&self, entries: &Range<usize>) -> impl Iterator<Item = (PartId, Hash)> {
        entries.clone().map_while(|at| self.at(at))
    }

    fn at(&self, at: usize) -> Option<(PartId, Hash)> {
        let mut entry = [0; ENTRY];
        let here = self.pages.read(HEADER + at * ENTRY, &mut entry);
        let (part, root) = entry.split_first_chunk().filter(|_| here)?;
        Some((PartId::new(*part), Hash::new(*root.first_chunk()?)))
    }

    pub(super) fn search(&self, part: &PartId) -> Result<usize, usize> {
        let mut among = 0..self.len();
        while !among.is_empty() {
            let middle = among.start + among.len() / 2;
            match self.at(middle).map(|(at, _)| at.cmp(part)) {
                Some(core::cmp::Ordering::Equal) => return Ok(middle),
                Some(core::cmp::Ordering::Less) => among.start = middle + 1,
                _ => among.end = middle,
            }
        }
        Err(among.start)
    }

    /// Puts another root in the place of a part's.
    pub(super) fn set(&mut self, at: usize, root: &Hash) {
        self.pages.write(HEADER + at * ENTRY + 16, root.as_bytes());
    }

    /// Leaves out all but the first.
    pub(super) fn truncate(&mut self, parts: usize) {
        self.pages.truncate(HEADER + parts * ENTRY);
    }

    /// Adds a part behind the others.
    pub(super) fn push(&mut self, part: &PartId, root: &Hash) {
        self.pages.extend(part.as_bytes());
        self.pages.extend(root.as_bytes());
    }

    /// Says how many there are now, behind what left some out or added them.
    pub(super) fn count(&mut self) {
        // A manifest has at most MAX_PARTS.
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        self.pages.write(16, &count.to_be_bytes());
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Roots) -> bool {
        self.pages == other.pages
    }
}

impl Eq for Roots {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hashes::root;
    use super::*;

    fn roots(of: &BTreeMap<u16, u8>) -> Roots {
        let mut roots = Roots::new(&SessionId::new([7; 16]));
        of.iter().for_each(|(part, n)| roots.push(&id(*part), &Hash::new([*n; 32])));
        roots.count();
        roots
    }

    fn id(n: u16) -> PartId {
        let [a, b] = n.to_be_bytes();
        PartId::new(core::array::from_fn(|at| if at == 0 { a } else { b }))
    }

    fn all(roots: &Roots) -> Vec<(PartId, Hash)> {
        roots.range(&(0..roots.len())).collect()
    }

    proptest! {
        /// Few or many parts, of which some get other roots, and some weren't there.
        #[test]
        fn they_tell_what_differs(
            (first, step) in (0u16..2_000, 1u16..3),
            changed in prop::collection::btree_map(0u16..2_000, any::<u8>(), 0..20),
        ) {
            let before: BTreeMap<u16, u8> = (first..2_000).step_by(usize::from(step)).map(|n| (n, 1)).collect();
            let mut after = before.clone();
            after.extend(&changed);
            let old = roots(&before);
            let mut new = old.with(changed.iter().map(|(n, root)| (id(*n), Hash::new([*root; 32]))));
            prop_assert!(new == roots(&after));
            prop_assert_eq!(new.root(), root(&SessionId::new([7; 16]), all(&new).into_iter()));
            prop_assert!(all(&new).into_iter().eq(after.iter().map(|(n, root)| (id(*n), Hash::new([*root; 32])))));
            let differ: Vec<_> = after.iter().filter(|(n, root)| before.get(n) != Some(root)).map(|(n, _)| id(*n)).collect();
            for (a, b) in [(&old, &new), (&new, &old), (&roots(&before), &new), (&new, &roots(&before))] {
                prop_assert_eq!(&a.differ(b), &differ);
            }
            for (n, other) in [(0, 1), (first, 2), (1_999, 3)] {
                let here = |of: &BTreeMap<u16, u8>| of.get(&n).map(|root| Hash::new([*root; 32]));
                prop_assert_eq!((old.get(&id(n)), new.get(&id(n))), (here(&before), here(&after)), "{}", other);
            }
        }
    }
}
