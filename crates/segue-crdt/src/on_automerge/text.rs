//! A text.

use automerge::ReadDoc;
use automerge::transaction::Transactable;

use super::core::{Core, fresh_actor};
use crate::document::{Document, DocumentError, Tally};
use crate::limits::MAX_LEN;
use crate::rope::{Patch, Rope, difference};

/// A text that several devices edit at once. Positions are in Unicode code points.
pub struct AutomergeText {
    core: Core,
    copy: Rope,
    patches: Vec<Patch>,
}

impl AutomergeText {
    /// An empty text, or the one of a snapshot; ops follow by [`Document::apply`].
    ///
    /// # Errors
    /// [`DocumentError::Broken`] for a snapshot that isn't one, and for want of random numbers.
    pub fn open(snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        Self::with_actor(fresh_actor()?, snapshot)
    }

    /// As [`AutomergeText::open`], for simulations: with an actor that no other open document of the part has, and not
    /// zero.
    ///
    /// # Errors
    /// [`DocumentError::Broken`] for a snapshot that isn't one.
    pub fn with_actor(actor: [u8; 16], snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let core = Core::open(true, actor, snapshot)?;
        let mut text = AutomergeText { core, copy: Rope::new(), patches: Vec::new() };
        text.follow()?;
        text.patches.clear();
        Ok(text)
    }

    /// Inserts before the code point `at`.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] outside the text, or beyond [`MAX_LEN`]; [`DocumentError::Broken`].
    pub fn insert(&mut self, at: usize, text: &str) -> Result<(), DocumentError> {
        self.core.check()?;
        let len = self.copy.len_chars();
        if at > len || len + text.chars().count() > MAX_LEN as usize {
            return Err(OUTSIDE);
        }
        let (mut rest, mut position) = (text, at);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
            self.core.edit(|doc, object| doc.splice_text(object, position, 0, piece))?;
            self.copy.insert(position, piece);
            position += piece.chars().count();
            rest = after;
        }
        Ok(())
    }

    /// Deletes `count` code points from `at` on.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] outside the text; [`DocumentError::Broken`].
    pub fn delete(&mut self, at: usize, count: usize) -> Result<(), DocumentError> {
        self.core.check()?;
        let end = at.checked_add(count).filter(|end| *end <= self.copy.len_chars()).ok_or(OUTSIDE)?;
        let mut left = end - at;
        while left > 0 {
            let piece = left.min(DELETED);
            self.core.edit(|doc, object| doc.splice_text(object, at, piece as isize, ""))?;
            self.copy.remove(at..at + piece);
            left -= piece;
        }
        Ok(())
    }

    /// The text by lines and code points; also when the document is broken.
    pub fn rope(&self) -> &Rope {
        &self.copy
    }

    /// What others changed since the last call, in order.
    pub fn patches(&mut self) -> Vec<Patch> {
        std::mem::take(&mut self.patches)
    }

    fn follow(&mut self) -> Result<(), DocumentError> {
        let fresh = Rope::from_str(&self.core.call(|live| live.doc.text(&live.object))?);
        self.patches.extend(difference(&self.copy, &fresh));
        self.copy = fresh;
        Ok(())
    }
}

impl Document for AutomergeText {
    fn apply(&mut self, update: &[u8]) -> Result<(), DocumentError> {
        self.core.apply(update)?;
        self.follow()
    }

    fn flush(&mut self) -> Option<Vec<u8>> {
        self.core.next_op()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, DocumentError> {
        self.core.snapshot()
    }

    fn broken(&self) -> Option<&str> {
        self.core.broken()
    }

    fn tally(&self) -> &Tally {
        self.core.tally()
    }
}

/// The bytes inserted by one change. Its other columns take next to nothing.
const PIECE: usize = 8_192;
/// The code points deleted by one change; each takes up to 10 bytes where they lie scattered.
const DELETED: usize = 1_024;

const OUTSIDE: DocumentError = DocumentError::Edit("the position lies outside the text, or the text would be too long");
