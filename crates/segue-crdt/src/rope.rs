//! Text by code points.

pub use ropey::Rope;

/// A change of a text that another device made, or undoing: at `at`, `deleted` code points went and `inserted` came.
/// Patches are to be taken in their order, each on what the one before left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The position, in Unicode code points.
    pub at: usize,
    /// How many code points went.
    pub deleted: usize,
    /// What came in their place.
    pub inserted: String,
}

impl Patch {
    /// Where a position lies after the patch. One inside what was deleted moves to its start; one where text was
    /// inserted stays before it.
    pub fn shift(&self, position: usize) -> usize {
        if position <= self.at {
            return position;
        }
        match position.checked_sub(self.at + self.deleted) {
            Some(beyond) => self.at + self.inserted.chars().count() + beyond,
            None => self.at,
        }
    }
}

/// The patches that turn one text into another: one, or none. For when a library's account of a change can't be followed.
#[cfg_attr(not(any(feature = "yrs", feature = "automerge")), allow(dead_code))]
pub(crate) fn difference(old: &Rope, new: &Rope) -> Option<Patch> {
    let prefix = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let most = old.len_chars().min(new.len_chars()) - prefix;
    let (old_end, new_end) = (old.chars_at(old.len_chars()), new.chars_at(new.len_chars()));
    let suffix = old_end.reversed().zip(new_end.reversed()).take(most).take_while(|(a, b)| a == b).count();
    let deleted = old.len_chars() - prefix - suffix;
    let inserted = new.slice(prefix..new.len_chars() - suffix).to_string();
    (deleted > 0 || !inserted.is_empty()).then_some(Patch { at: prefix, deleted, inserted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_what_lies_between_prefix_and_suffix() {
        let patch = |old: &str, new: &str| difference(&Rope::from_str(old), &Rope::from_str(new));
        assert_eq!(patch("abc", "abc"), None);
        assert_eq!(patch("aa", "aaa"), Some(Patch { at: 2, deleted: 0, inserted: "a".into() }));
        assert_eq!(patch("a😀c", "a😁c"), Some(Patch { at: 1, deleted: 1, inserted: "😁".into() }));
        assert_eq!(patch("abc", ""), Some(Patch { at: 0, deleted: 3, inserted: String::new() }));
    }

    #[test]
    fn a_position_keeps_its_neighbours() {
        let patch = Patch { at: 3, deleted: 2, inserted: "x".into() };
        assert_eq!([0, 3, 4, 5, 9].map(|at| patch.shift(at)), [0, 3, 3, 4, 8]);
    }
}
