//! Bytes in pages, with their hash: to copy them and to change some of them costs what changes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use blake3::hazmat::{ChainingValue, ContextKey, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::wire::Hash;
use crate::wire::hash::context_key;

/// A page, in bytes. A power of two and of BLAKE3's chunks, so that each page is a whole subtree of its hash. From:
/// BLAKE3 hashes 16 chunks side by side at most.
const PAGE: usize = 16 << 10;

/// Bytes whose copies share the pages in which they agree.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// All but the last are full.
    pages: Vec<Arc<Page>>,
    len: usize,
    /// The context in which they are hashed; none if without.
    context: Option<ContextKey>,
}

#[derive(Clone, Debug)]
struct Page {
    bytes: Vec<u8>,
    /// What the page gives to the hash of all; none since it changed.
    value: Option<ChainingValue>,
}

impl Pages {
    /// None yet, which are hashed in this context.
    pub(super) fn under(context: &str) -> Pages {
        Pages { context: Some(context_key(context)), ..Pages::default() }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.pages.iter().for_each(|page| bytes.extend_from_slice(&page.bytes));
        bytes
    }

    /// Reads from `at` on. False if there aren't as many bytes.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) -> bool {
        let (mut from, mut into) = (at % PAGE, into);
        for page in self.pages.iter().skip(at / PAGE) {
            let held = page.bytes.get(from..).unwrap_or_default();
            let (now, later) = into.split_at_mut(held.len().min(into.len()));
            now.iter_mut().zip(held).for_each(|(new, old)| *new = *old);
            (from, into) = (0, later);
            if into.is_empty() {
                break;
            }
        }
        into.is_empty()
    }

    /// Where these and others differ, as ranges of bytes, ascending: from the first to the last such byte of each page. Pages
    /// that both share aren't looked at.
    pub(super) fn differ(&self, other: &Pages) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let none = Arc::new(Page { bytes: Vec::new(), value: None });
        for at in 0..self.pages.len().max(other.pages.len()) {
            let [a, b] = [self, other].map(|of| of.pages.get(at).unwrap_or(&none));
            let within = if Arc::ptr_eq(a, b) { None } else { differing(&a.bytes, &b.bytes) };
            let within = within.map(|within| at * PAGE + within.start..at * PAGE + within.end);
            match (within, ranges.last_mut()) {
                (Some(within), Some(last)) if last.end == within.start => last.end = within.end,
                (within, _) => ranges.extend(within),
            }
        }
        ranges
    }

    /// Leaves out what comes behind the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.pages.truncate(len.div_ceil(PAGE));
        self.len = len;
        if let Some(last) = self.pages.last_mut().filter(|last| last.bytes.len() > within(len)) {
            let last = Arc::make_mut(last);
            last.bytes.truncate(within(len));
            last.value = None;
        }
    }

    /// Adds bytes behind the others.
    pub(super) fn extend(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            match self.pages.last_mut().filter(|last| last.bytes.len() < PAGE) {
                Some(last) => {
                    let last = Arc::make_mut(last);
                    let (now, later) = bytes.split_at(bytes.len().min(PAGE - last.bytes.len()));
                    last.bytes.extend_from_slice(now);
                    last.value = None;
                    bytes = later;
                }
                None => {
                    self.pages.push(Arc::new(Page { bytes: Vec::with_capacity(bytes.len().min(PAGE)), value: None }))
                }
            }
        }
    }

    /// Puts bytes in the place of those that stand from `at` on. What has no place is left out.
    pub(super) fn write(&mut self, at: usize, mut bytes: &[u8]) {
        let mut from = at % PAGE;
        for page in self.pages.iter_mut().skip(at / PAGE) {
            if bytes.is_empty() {
                return;
            }
            let page = Arc::make_mut(page);
            let place = page.bytes.get_mut(from..).unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(place.len()));
            place.iter_mut().zip(now).for_each(|(old, new)| *old = *new);
            page.value = None;
            (from, bytes) = (0, later);
        }
    }

    /// The BLAKE3 hash of all bytes. It reads the pages that changed since it was asked for last.
    pub(super) fn hash(&mut self) -> Hash {
        if let [] | [_] = self.pages.as_slice() {
            let bytes = self.pages.first().map(|only| only.bytes.as_slice()).unwrap_or_default();
            return Hash::new(*self.hasher().update(bytes).finalize().as_bytes());
        }
        let hasher = self.hasher();
        for (at, page) in self.pages.iter_mut().enumerate().filter(|(_, page)| page.value.is_none()) {
            let page = Arc::make_mut(page);
            let mut hasher = hasher.clone();
            hasher.set_input_offset((at * PAGE) as u64).update(&page.bytes);
            page.value = Some(hasher.finalize_non_root());
        }
        let (left, right) = halves(&self.pages);
        let root = merge_subtrees_root(&self.subtree(left), &self.subtree(right), self.mode());
        Hash::new(*root.as_bytes())
    }

    fn hasher(&self) -> blake3::Hasher {
        self.context.as_ref().map_or_else(blake3::Hasher::new, blake3::Hasher::new_from_context_key)
    }

    fn mode(&self) -> Mode<'_> {
        self.context.as_ref().map_or(Mode::Hash, Mode::DeriveKeyMaterial)
    }

    fn subtree(&self, pages: &[Arc<Page>]) -> ChainingValue {
        match pages {
            [] => ChainingValue::default(),
            [only] => only.value.unwrap_or_default(),
            pages => {
                let (left, right) = halves(pages);
                merge_subtrees_non_root(&self.subtree(left), &self.subtree(right), self.mode())
            }
        }
    }
}

impl PartialEq for Pages {
    fn eq(&self, other: &Pages) -> bool {
        let same = |(a, b): (&Arc<Page>, &Arc<Page>)| Arc::ptr_eq(a, b) || a.bytes == b.bytes;
        self.len == other.len && self.pages.iter().zip(&other.pages).all(same)
    }
}

impl Eq for Pages {}

impl core::hash::Hash for Pages {
    fn hash<H: core::hash::Hasher>(&self, hasher: &mut H) {
        self.pages.iter().for_each(|page| page.bytes.hash(hasher));
    }
}

/// How many bytes the last page has if all have `len`.
fn within(len: usize) -> usize {
    if len == 0 { 0 } else { (len - 1) % PAGE + 1 }
}

/// From the first to the last byte in which two pages differ; none if in none.
fn differing(a: &[u8], b: &[u8]) -> Option<Range<usize>> {
    let both = a.len().min(b.len());
    let same = |(a, b): (&[u8], &[u8])| a == b;
    // Whole words are compared faster than bytes.
    let words = a.chunks(64).zip(b.chunks(64)).take_while(|pair| same(*pair)).count() * 64;
    let first = words.min(both) + a.iter().zip(b).skip(words).take_while(|(a, b)| a == b).count();
    if first == a.len() && first == b.len() {
        return None;
    }
    let end = a.len().max(b.len());
    let last = || {
        let words = a.rchunks(64).zip(b.rchunks(64)).take_while(|pair| same(*pair)).count() * 64;
        let bytes = a.iter().rev().zip(b.iter().rev()).skip(words).take_while(|(a, b)| a == b).count();
        end - words.min(both) - bytes
    };
    Some(first..if a.len() == b.len() { last() } else { end })
}

/// BLAKE3's tree over two pages or more: to the left the largest power of two that leaves something to the right.
fn halves(pages: &[Arc<Page>]) -> (&[Arc<Page>], &[Arc<Page>]) {
    pages.split_at(pages.len().next_power_of_two() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::hash::{Hasher, blob_id};

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    fn pages(bytes: &[u8]) -> Pages {
        let mut pages = Pages::default();
        bytes.chunks(1_000).for_each(|some| pages.extend(some));
        pages
    }

    #[track_caller]
    fn assert_holds(pages: &mut Pages, bytes: &[u8]) {
        assert_eq!(pages.len(), bytes.len());
        assert_eq!(pages.is_empty(), bytes.is_empty());
        assert!(pages.to_vec() == bytes);
        assert_eq!(pages.hash(), blob_id(bytes));
        let mut other = Pages::under("segue/1 root");
        other.extend(bytes);
        assert_eq!(other.hash(), Hasher::new("segue/1 root").bytes(bytes).finish());
        assert!(pages.pages.iter().rev().skip(1).all(|page| page.bytes.len() == PAGE));
    }

    #[test]
    fn they_are_hashed_as_if_in_one_piece() {
        let around = |len: usize| [len.saturating_sub(1), len, len + 1];
        for len in
            [0, 1_024, 2_048, PAGE, 2 * PAGE, 3 * PAGE, 4 * PAGE, 5 * PAGE, 7 * PAGE, 8 * PAGE].map(around).concat()
        {
            let bytes = bytes(len);
            assert_holds(&mut pages(&bytes), &bytes);
        }
    }

    #[test]
    fn they_change_where_they_are_written_and_copies_dont() {
        let mut held = bytes(5 * PAGE + 100);
        let mut pages = pages(&held);
        for (at, len) in [(0, 1), (PAGE - 1, 2), (PAGE, PAGE), (3 * PAGE + 5, 2 * PAGE), (5 * PAGE + 99, 1), (7, 0)] {
            let (mut before, old) = (pages.clone(), held.clone());
            let new = [0xa5].repeat(len);
            held[at..at + len].copy_from_slice(&new);
            pages.write(at, &new);
            assert_holds(&mut pages, &held);
            assert_holds(&mut before, &old);
            assert_eq!(before == pages, len == 0);
        }
        pages.write(5 * PAGE + 90, &[1; 20]);
        held[5 * PAGE + 90..].fill(1);
        assert_holds(&mut pages, &held);
    }

    #[test]
    fn they_grow_and_shrink_at_their_end() {
        let held = bytes(9 * PAGE);
        for len in [9 * PAGE, 8 * PAGE + 1, 8 * PAGE, 8 * PAGE - 1, PAGE, 1, 0] {
            let mut shrunk = pages(&held);
            let mut before = shrunk.clone();
            shrunk.truncate(len);
            assert_holds(&mut shrunk, &held[..len]);
            shrunk.extend(&held[len..]);
            assert_holds(&mut shrunk, &held);
            shrunk.extend(&[3]);
            assert_holds(&mut shrunk, &[&held, &[3][..]].concat());
            assert_holds(&mut before, &held);
        }
    }

    /// To change a byte copies its page alone.
    #[test]
    fn what_agrees_is_shared() {
        let mut pages = pages(&bytes(6 * PAGE));
        let before = pages.clone();
        assert_eq!(pages.differ(&before), []);
        pages.write(2 * PAGE, &[0xff]);
        assert_eq!(shared(&pages, &before), 5);
        pages.write(PAGE - 1, &[0xff]);
        pages.write(4 * PAGE + 7, &[0xff]);
        pages.write(4 * PAGE + 900, &[0xff]);
        pages.extend(&[1]);
        let differ = [PAGE - 1..PAGE, 2 * PAGE..2 * PAGE + 1, 4 * PAGE + 7..4 * PAGE + 901, 6 * PAGE..6 * PAGE + 1];
        assert_eq!((pages.differ(&before), before.differ(&pages)), (differ.to_vec(), differ.to_vec()));
        assert_eq!(shared(&pages, &before), 3);
        pages.write(PAGE, &[0xff]);
        assert_eq!(pages.differ(&before)[0], PAGE - 1..PAGE + 1);
        // What was written as it was is no difference, though it isn't shared.
        let mut same = before.clone();
        let mut first = [0; 1];
        assert!(same.read(0, &mut first));
        same.write(0, &first);
        assert_eq!((same.differ(&before), shared(&same, &before)), (Vec::new(), 5));
    }

    fn shared(a: &Pages, b: &Pages) -> usize {
        a.pages.iter().zip(&b.pages).filter(|(a, b)| Arc::ptr_eq(a, b)).count()
    }

    #[test]
    fn they_are_read_across_pages() {
        let held = bytes(3 * PAGE + 10);
        let pages = pages(&held);
        for (at, len) in [(0, 1), (PAGE - 3, 10), (5, 2 * PAGE + 10), (3 * PAGE, 10), (3 * PAGE + 10, 0)] {
            let mut read = alloc::vec![0; len];
            assert!(pages.read(at, &mut read));
            assert!(read == held[at..at + len]);
        }
        assert!(!pages.read(3 * PAGE, &mut [0; 11]));
        assert!(!pages.read(4 * PAGE, &mut [0; 1]));
    }
}
