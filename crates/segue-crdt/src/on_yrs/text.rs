//! A text.

use std::sync::{Arc, Mutex};

use yrs::{Assoc, ClientID, Doc, GetString, ID, ReadTxn, StickyIndex, Text, TextRef};

use super::core::{Core, Root, fresh_client};
use super::split;
use super::wire::{self, Block, Content, HAS_ORIGIN, HAS_RIGHT, Id, Kind, STRING, Single};
use crate::document::{Document, DocumentError, Tally};
use crate::limits::{MAX_CLOCK, MAX_LEN};
use crate::rope::{Patch, Rope, difference};

/// A text that several devices edit at once. Positions are in Unicode code points.
///
/// Local edits are gathered and reach the library at the next flush, so that a word typed between two flushes is one
/// block. Of a word that is typed and flushed key by key the library gets the first, and the others together, once
/// something else happens: their ops follow from the first one's. A text that is watched keeps a copy by code points
/// and tells what others change; one that isn't is cheaper.
pub struct YrsText {
    core: Core<TextRef>,
    /// Local edits that the library hasn't got yet.
    edits: Vec<Edit>,
    /// The last edit, if it was an insertion; and what was typed on behind it, of which there are ops and which the
    /// library hasn't got yet either. It comes before the gathered edits.
    run: Option<Run>,
    pub(super) typed: String,
    /// In UTF-16 units, with the gathered edits.
    len: u32,
    /// The text with the gathered edits; always there if it is watched.
    copy: Option<Rope>,
    watched: bool,
    patches: Vec<Patch>,
}

/// Positions are in UTF-16 units, as in the library.
#[derive(Debug)]
enum Edit {
    Insert { at: u32, text: String, len: u32 },
    Delete { at: u32, len: u32 },
}

/// An insertion of this document's that may be typed on. The library looks for the place of every insertion from the
/// start of the text; that of these is known.
#[derive(Debug)]
struct Run {
    client: u64,
    /// The clock behind it.
    clock: u32,
    /// What it was inserted before.
    right: Option<Id>,
    /// Its end.
    at: u32,
}

impl Run {
    /// The op of a further insertion at the end: as the library would make it.
    fn go_on(&mut self, text: &str, len: u32) -> Vec<u8> {
        let right = if self.right.is_some() { HAS_RIGHT } else { 0 };
        let (info, origin) = (STRING | HAS_ORIGIN | right, Some((self.client, self.clock - 1)));
        let block = Block { info, origin, right: self.right, key: None, content: Content::Text(text), len };
        let op = split::one(Kind::Text, self.client, self.clock, &block);
        (self.clock, self.at) = (self.clock + len, self.at + len);
        op
    }
}

impl Edit {
    /// Does the edit to a copy; None if it doesn't fit.
    fn replay(self, copy: &mut Rope) -> Option<Patch> {
        match self {
            Edit::Insert { at, text, .. } => {
                let at = copy.try_utf16_cu_to_char(at as usize).ok()?;
                copy.try_insert(at, &text).ok()?;
                Some(Patch { at, deleted: 0, inserted: text })
            }
            Edit::Delete { at, len } => {
                let end = copy.try_utf16_cu_to_char((at + len) as usize).ok()?;
                let at = copy.try_utf16_cu_to_char(at as usize).ok()?;
                copy.try_remove(at..end).ok()?;
                Some(Patch { at, deleted: end - at, inserted: String::new() })
            }
        }
    }
}

impl YrsText {
    /// An empty text, or the one of a snapshot; ops follow by [`Document::apply`].
    ///
    /// # Errors
    /// [`DocumentError::Refused`] for a snapshot that isn't one, and for want of random numbers.
    pub fn open(snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        Self::with_client(fresh_client()?, snapshot)
    }

    /// As [`YrsText::open`], for simulations: with a client id that no other open document of the part has, of which 35
    /// bits count.
    ///
    /// # Errors
    /// [`DocumentError::Refused`] for a snapshot that isn't one.
    pub fn with_client(client: u64, snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let core = Core::open(Kind::Text, client, snapshot)?;
        let (edits, run, typed, patches) = Default::default();
        let mut text = YrsText { core, edits, run, typed, len: 0, copy: None, watched: false, patches };
        text.measure()?;
        Ok(text)
    }

    /// From here on others' changes are told by [`YrsText::patches`].
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn watch(&mut self) -> Result<(), DocumentError> {
        self.commit()?;
        self.watched = true;
        self.copy().map(|_| ())
    }

    /// Inserts before the code point `at`.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] outside the text, or beyond [`MAX_LEN`]; [`DocumentError::Broken`].
    pub fn insert(&mut self, at: usize, text: &str) -> Result<(), DocumentError> {
        self.core.check()?;
        let at_units = self.units(at)?;
        let len = text.encode_utf16().count();
        let len = u32::try_from(len).ok().filter(|len| *len <= MAX_LEN.saturating_sub(self.len)).ok_or(FULL)?;
        if len == 0 {
            return Ok(());
        }
        if wire::is_astral(text) {
            // Code points and units part here, so the copy is needed from now on.
            self.copy()?;
            self.core.note_astral();
        }
        if let Some(copy) = &mut self.copy {
            copy.insert(at, text);
        }
        self.len += len;
        match self.edits.last_mut() {
            Some(Edit::Insert { at: before, text: typed, len: units }) if *before + *units == at_units => {
                typed.push_str(text);
                *units += len;
            }
            _ => self.edits.push(Edit::Insert { at: at_units, text: text.into(), len }),
        }
        Ok(())
    }

    /// Deletes `count` code points from `at` on.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] outside the text; [`DocumentError::Broken`].
    pub fn delete(&mut self, at: usize, count: usize) -> Result<(), DocumentError> {
        self.core.check()?;
        let from = self.units(at)?;
        let len = self.units(at.checked_add(count).ok_or(OUTSIDE)?)? - from;
        if len == 0 {
            return Ok(());
        }
        if let Some(copy) = &mut self.copy {
            copy.remove(at..at + count);
        }
        self.len -= len;
        match self.edits.last_mut() {
            // Typed and taken back before anybody saw it.
            Some(Edit::Insert { at, text, len: units }) if *at + *units == from + len && *units > len => {
                let kept: usize = text.chars().rev().take(count).map(char::len_utf8).sum();
                text.truncate(text.len() - kept);
                *units -= len;
            }
            Some(Edit::Delete { at, len: deleted }) if *at == from || *at == from + len => {
                *at = from;
                *deleted += len;
            }
            _ => self.edits.push(Edit::Delete { at: from, len }),
        }
        Ok(())
    }

    /// The text.
    ///
    /// # Errors
    /// [`DocumentError::Broken`], if the text isn't watched. A watched one can be read for ever.
    pub fn text(&mut self) -> Result<String, DocumentError> {
        self.commit()?;
        match &self.copy {
            Some(copy) => Ok(copy.to_string()),
            None => self.core.read(|root, txn| root.get_string(txn)),
        }
    }

    /// The text by lines and code points; None unless it is watched.
    pub fn rope(&self) -> Option<&Rope> {
        self.copy.as_ref().filter(|_| self.watched)
    }

    /// What others, and undoing, changed since the last call, in order.
    pub fn patches(&mut self) -> Vec<Patch> {
        std::mem::take(&mut self.patches)
    }

    /// From here on the text's own edits can be undone. The library then keeps deleted text.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn remember(&mut self) -> Result<(), DocumentError> {
        self.commit()?;
        self.core.remember()
    }

    /// What comes next is undone apart from what was before.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn part_groups(&mut self) -> Result<(), DocumentError> {
        self.commit()?;
        self.core.part_groups()
    }

    /// Undoes the last group of own edits; false if there is none.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn undo(&mut self) -> Result<bool, DocumentError> {
        self.step_back(false)
    }

    /// Does again what was undone last; false if there is nothing.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn redo(&mut self) -> Result<bool, DocumentError> {
        self.step_back(true)
    }

    fn step_back(&mut self, again: bool) -> Result<bool, DocumentError> {
        self.commit()?;
        self.run = None;
        let changed = self.core.step_back(again)?;
        self.follow(None)?;
        Ok(changed)
    }

    /// Gives what was typed on and the gathered edits to the library.
    fn commit(&mut self) -> Result<(), DocumentError> {
        self.make_good()?;
        if self.edits.is_empty() {
            return Ok(());
        }
        let edits = std::mem::take(&mut self.edits);
        let end = match edits.as_slice() {
            [Edit::Insert { at, len, .. }] if !self.core.has_ops() => Some(at + len),
            _ => None,
        };
        self.run = None;
        self.core.edit(|root, txn| {
            for edit in edits {
                match edit {
                    Edit::Insert { at, text, .. } => root.insert(txn, at, &text),
                    Edit::Delete { at, len } => root.remove_range(txn, at, len),
                }
            }
        })?;
        self.run = end.zip(self.core.last_insertion()).map(|(at, (client, clock, block))| Run {
            client,
            clock: clock + block.len,
            right: block.right,
            at,
        });
        Ok(())
    }

    /// Gives to the library what was typed on.
    fn make_good(&mut self) -> Result<(), DocumentError> {
        let text = std::mem::take(&mut self.typed);
        let Some(run) = self.run.as_ref().filter(|_| !text.is_empty()) else { return Ok(()) };
        let at = run.at - text.encode_utf16().count() as u32;
        self.core.make_good(run.clock, |root, txn| root.insert(txn, at, &text))
    }

    /// The op of the gathered edits, if all they do is to type on.
    fn type_on(&mut self) -> Option<Vec<u8>> {
        let [Edit::Insert { at, text, len }] = self.edits.as_slice() else { return None };
        if self.core.check().is_err() || self.core.has_ops() || self.typed.len() + text.len() > MAX_TYPED {
            return None;
        }
        let run = self.run.as_mut().filter(|run| run.at == *at && run.clock < MAX_CLOCK - len)?;
        let op = run.go_on(text, *len);
        self.typed.push_str(text);
        self.edits.clear();
        Some(op)
    }

    /// Brings length, copy and patches up to date with what others changed: one edit, or who knows what.
    fn follow(&mut self, single: Option<Single>) -> Result<(), DocumentError> {
        let before = self.len;
        self.measure()?;
        if !self.watched {
            self.copy = None;
            return Ok(());
        }
        let placed = match single {
            Some(single) => self.place(single, before)?,
            None => None,
        };
        let Some(copy) = &mut self.copy else { return self.copy().map(|_| ()) };
        let patch = match placed.and_then(|edit| edit.replay(copy)) {
            Some(patch) => Some(patch),
            None => {
                let fresh = Rope::from_str(&self.core.read(|root, txn| root.get_string(txn))?);
                let patch = difference(copy, &fresh);
                *copy = fresh;
                patch
            }
        };
        self.patches.extend(patch.filter(|patch| patch.deleted > 0 || !patch.inserted.is_empty()));
        Ok(())
    }

    /// Where a single edit changed the text, if what it did accounts for the change of length.
    fn place(&mut self, single: Single, before: u32) -> Result<Option<Edit>, DocumentError> {
        let after = self.len;
        self.core.read(|_, txn| match single {
            Single::Insert(id, text) => {
                let len = u32::try_from(text.encode_utf16().count()).ok()?;
                let at = place(id, txn).filter(|_| before.checked_add(len) == Some(after))?;
                Some(Edit::Insert { at, text, len })
            }
            Single::Delete((client, clock), count) => {
                let len = before.checked_sub(after).filter(|len| *len <= count)?;
                let at = place((client, clock), txn)?;
                // Nothing was inserted in between that is still there.
                let whole = count == 1 || place((client, clock + count - 1), txn) == Some(at);
                whole.then_some(Edit::Delete { at, len })
            }
        })
    }

    fn measure(&mut self) -> Result<(), DocumentError> {
        self.len = self.core.read(|root, txn| root.len(txn))?;
        Ok(())
    }

    /// A position in UTF-16 units.
    fn units(&mut self, at: usize) -> Result<u32, DocumentError> {
        if self.copy.is_none() && !self.core.is_astral() {
            return u32::try_from(at).ok().filter(|at| *at <= self.len).ok_or(OUTSIDE);
        }
        let units = self.copy()?.try_char_to_utf16_cu(at).map_err(|_| OUTSIDE)?;
        u32::try_from(units).map_err(|_| OUTSIDE)
    }

    fn copy(&mut self) -> Result<&Rope, DocumentError> {
        if self.copy.is_none() {
            self.commit()?;
            self.copy = Some(Rope::from_str(&self.core.read(|root, txn| root.get_string(txn))?));
        }
        self.copy.as_ref().ok_or(OUTSIDE)
    }
}

impl Document for YrsText {
    fn apply(&mut self, update: &[u8]) -> Result<(), DocumentError> {
        // The library's positions are those after the gathered edits.
        let _ = self.commit();
        self.run = None;
        let single = self.core.apply(update)?;
        self.follow(single)
    }

    fn flush(&mut self) -> Option<Vec<u8>> {
        if let Some(op) = self.type_on() {
            return Some(op);
        }
        if !self.edits.is_empty() {
            // If it fails, the ops made before are still good.
            let _ = self.commit();
        }
        self.core.next_op()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, DocumentError> {
        self.commit()?;
        self.core.snapshot()
    }

    fn broken(&self) -> Option<&str> {
        self.core.broken()
    }

    fn tally(&self) -> &Tally {
        self.core.tally()
    }
}

impl Root for TextRef {
    type Change = ();

    fn of(doc: &Doc, kind: Kind) -> Self {
        doc.get_or_insert_text(kind.root())
    }

    /// The library's own account of a change walks over the whole text, slowly. An op is mostly a single edit, whose
    /// place costs a tenth of that; for others texts are compared.
    fn watch(&self, _: Arc<Mutex<Vec<()>>>) {}
}

/// How many units stand before the one with this id, be it there or deleted.
fn place((client, clock): Id, txn: &impl ReadTxn) -> Option<u32> {
    let id = ID::new(ClientID::new(client), clock);
    StickyIndex::from_id(id, Assoc::After).get_offset(txn).map(|offset| offset.index)
}

/// What is typed on at most before the library gets it, in bytes. From: guess; two lines.
const MAX_TYPED: usize = 256;

const OUTSIDE: DocumentError = DocumentError::Edit("the position lies outside the text");
const FULL: DocumentError = DocumentError::Edit("the text would be longer than the limit");
