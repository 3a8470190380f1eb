//! The state of an editor: a text, a cursor, and what the status line says.

use std::borrow::Cow;
use std::collections::VecDeque;

use segue_crdt::{Document, DocumentError, Patch, Rope, YrsText};

use super::cells::{at_column, cells, column_of, harmless};
use super::session::{Change, Session};

/// An editor of one text.
pub(crate) struct Editor {
    doc: YrsText,
    name: String,
    /// In code points.
    cursor: usize,
    /// The column that the cursor wants, while it moves up and down.
    goal: Option<usize>,
    /// The first code point of the first line that is shown.
    top: usize,
    /// The first column that is shown.
    pub(super) left: usize,
    /// Columns and rows of the text.
    size: (usize, usize),
    last: Last,
    status: Status,
    /// What was submitted and isn't saved yet.
    unsaved: VecDeque<Vec<u8>>,
}

/// The kind of the last key: a group of edits to be undone ends where it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Typed,
    Deleted,
    Other,
}

/// What the editor knows of the session.
#[derive(Debug, Default)]
struct Status {
    online: Vec<String>,
    linked: bool,
    /// Something was typed since the last exchange.
    typed: bool,
    submitted: u64,
    saved: u64,
    received: u64,
    failed: Option<String>,
    /// What the user is to know whatever they edit: the last of it.
    alarm: Option<String>,
    /// Why the last key did nothing.
    note: Option<String>,
}

/// Where the cursor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    Left,
    Right,
    Up,
    Down,
    LineStart,
    LineEnd,
    PageUp,
    PageDown,
    TextStart,
    TextEnd,
}

impl Editor {
    /// An editor of a document that holds all ops of the session's part.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub(crate) fn open(mut doc: YrsText, name: &str) -> Result<Editor, DocumentError> {
        doc.watch()?;
        doc.remember()?;
        Ok(Editor {
            doc,
            name: harmless(name, NAME),
            cursor: 0,
            goal: None,
            top: 0,
            left: 0,
            size: (80, 23),
            last: Last::Other,
            status: Status::default(),
            unsaved: VecDeque::new(),
        })
    }

    /// Inserts at the cursor.
    pub(crate) fn insert(&mut self, text: &str) {
        self.part_unless(Last::Typed);
        let done = self.doc.insert(self.cursor, text);
        if self.worked(done) {
            self.cursor += text.chars().count();
        }
        if text.contains('\n') {
            self.last = Last::Other;
        }
    }

    /// Deletes what stands before the cursor.
    pub(crate) fn backspace(&mut self) {
        self.delete(self.before(self.cursor), self.cursor);
    }

    /// Deletes what stands under the cursor.
    pub(crate) fn delete_forward(&mut self) {
        self.delete(self.cursor, self.after(self.cursor));
    }

    fn delete(&mut self, from: usize, to: usize) {
        if from == to {
            return;
        }
        self.part_unless(Last::Deleted);
        let done = self.doc.delete(from, to - from);
        if self.worked(done) {
            self.cursor = from;
        }
    }

    /// Takes back the user's last edits, or does them again.
    pub(crate) fn step_back(&mut self, again: bool) {
        self.last = Last::Other;
        let done = if again { self.doc.redo() } else { self.doc.undo() };
        if matches!(done, Ok(false)) {
            self.status.note = Some(if again { "nothing to do again" } else { "nothing to undo" }.into());
        }
        self.worked(done.map(|_| ()));
        // The user looks where it happened.
        if let Some(patch) = self.follow() {
            self.cursor = patch.at + patch.inserted.chars().count();
        }
    }

    /// Moves the cursor.
    pub(crate) fn go(&mut self, motion: Motion) {
        self.last = Last::Other;
        let line = self.rope().char_to_line(self.cursor);
        let page = self.size.1.saturating_sub(1).max(1);
        match motion {
            Motion::Left => self.put(self.before(self.cursor)),
            Motion::Right => self.put(self.after(self.cursor)),
            Motion::LineStart => self.put(self.rope().line_to_char(line)),
            Motion::LineEnd => self.put(self.line_end(line)),
            Motion::TextStart => self.put(0),
            Motion::TextEnd => self.put(self.rope().len_chars()),
            Motion::Up => self.go_to_line(line.checked_sub(1)),
            Motion::Down => self.go_to_line(Some(line + 1)),
            Motion::PageUp => self.go_to_line(Some(line.saturating_sub(page))),
            Motion::PageDown => self.go_to_line(Some((line + page).min(self.rope().len_lines() - 1))),
        }
    }

    /// The user's edits go to the session, and its changes come in.
    pub(crate) fn exchange(&mut self, session: &mut impl Session) {
        while let Some(op) = self.doc.flush() {
            self.status.submitted += 1;
            self.unsaved.push_back(op.clone());
            session.submit(op);
        }
        self.status.typed = false;
        for change in session.poll() {
            self.take(change);
        }
        self.follow();
    }

    fn take(&mut self, change: Change) {
        match change {
            // A refused op is counted by the document, a broken document says so in the status line.
            Change::Op(op) => drop(self.doc.apply(&op)),
            Change::Reread { snapshot, ops, resumed } => self.reread(snapshot.as_deref(), &ops, resumed),
            Change::Online(names) => self.status.online = names,
            Change::Link(linked) => self.status.linked = linked,
            Change::Saved(upto) => {
                let saved = upto.saturating_sub(self.status.saved);
                let saved = usize::try_from(saved).unwrap_or(usize::MAX).min(self.unsaved.len());
                self.unsaved.drain(..saved);
                self.status.saved = upto;
            }
            Change::Received(upto) => self.status.received = upto,
            Change::Failed(why) => self.status.failed = Some(harmless(&why, NOTE)),
            Change::Alarm(text) => self.status.alarm = Some(harmless(&text, NOTE)),
        }
    }

    /// Makes the text anew. What was typed and isn't flushed yet was flushed before: `exchange` does that first.
    fn reread(&mut self, snapshot: Option<&[u8]>, ops: &[Vec<u8>], resumed: bool) {
        let made = YrsText::open(snapshot).and_then(|mut doc| {
            // What every device refuses is no text anywhere.
            ops.iter().chain(&self.unsaved).for_each(|op| drop(doc.apply(op)));
            doc.watch()?;
            doc.remember()?;
            Ok(doc)
        });
        match made {
            Ok(doc) => {
                self.doc = doc;
                self.cursor = self.cursor.min(self.rope().len_chars());
                self.top = 0;
                let why = match resumed {
                    true => "the text goes on from where the other devices are",
                    false => "what a revoked device wrote was set aside: segue aside",
                };
                self.status.note = Some(why.into());
            }
            Err(error) => self.status.failed = Some(harmless(&error.to_string(), NOTE)),
        }
    }

    /// Moves cursor and view with what others changed; the last change.
    fn follow(&mut self) -> Option<Patch> {
        let patches = self.doc.patches();
        for patch in &patches {
            self.cursor = patch.shift(self.cursor);
            self.top = patch.shift(self.top);
        }
        patches.into_iter().next_back()
    }

    /// The terminal has so many columns, and rows for text; the cursor is kept in view.
    pub(crate) fn resize(&mut self, columns: usize, rows: usize) {
        self.size = (columns.max(1), rows.max(1));
        let (line, column) = self.position();
        let top = self.top_line().clamp((line + 1).saturating_sub(self.size.1), line);
        self.top = self.rope().line_to_char(top);
        self.left = self.left.clamp((column + 1).saturating_sub(self.size.0), column);
    }

    /// Line and column of the cursor, from 0.
    pub(crate) fn position(&self) -> (usize, usize) {
        let line = self.rope().char_to_line(self.cursor);
        (line, column_of(&self.line(line), self.cursor - self.rope().line_to_char(line)))
    }

    /// The first line that is shown.
    pub(crate) fn top_line(&self) -> usize {
        self.rope().char_to_line(self.top.min(self.rope().len_chars()))
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> usize {
        self.rope().len_lines()
    }

    /// A line, with its line feed if it has one.
    pub(crate) fn line(&self, line: usize) -> Cow<'_, str> {
        self.rope().line(line).into()
    }

    /// The session's name, who is online, and what became of the user's edits.
    pub(crate) fn status(&self) -> String {
        let mut parts = vec![self.name.clone(), self.company(), self.fate()];
        parts.extend(self.status.alarm.as_ref().map(|text| format!("read when you quit: {text}")));
        parts.extend(self.status.note.clone());
        parts.join(" │ ")
    }

    /// Says something until the next key.
    pub(crate) fn note(&mut self, text: &str) {
        self.status.note = (!text.is_empty()).then(|| harmless(text, NOTE));
    }

    /// The last key is over, and with it what was said about it.
    pub(crate) fn forget_note(&mut self) {
        self.status.note = None;
    }

    fn company(&self) -> String {
        let waiting = self.status.submitted - self.status.received.min(self.status.submitted);
        if !self.status.linked {
            return match waiting {
                0 => "offline".into(),
                1 => "offline: 1 edit waiting".into(),
                _ => format!("offline: {waiting} edits waiting"),
            };
        }
        let names: Vec<_> = self.status.online.iter().take(SHOWN).map(|name| harmless(name, NAME)).collect();
        match self.status.online.len().saturating_sub(SHOWN) {
            0 if names.is_empty() => "nobody else online".into(),
            0 => format!("online: {}", names.join(", ")),
            more => format!("online: {} and {more} more", names.join(", ")),
        }
    }

    fn fate(&self) -> String {
        if let Some(why) = self.doc.broken() {
            return format!("the text is broken and can only be read: {}", harmless(why, NOTE));
        }
        match &self.status.failed {
            Some(why) => format!("not saved: {why}"),
            None if self.status.typed || self.status.saved < self.status.submitted => "saving".into(),
            None => "saved".into(),
        }
    }

    fn put(&mut self, cursor: usize) {
        self.cursor = cursor;
        self.goal = None;
    }

    fn go_to_line(&mut self, line: Option<usize>) {
        let Some(line) = line.filter(|line| *line < self.rope().len_lines()) else { return };
        let goal = self.goal.unwrap_or_else(|| self.position().1);
        self.cursor = self.rope().line_to_char(line) + at_column(&self.line(line), goal);
        self.goal = Some(goal);
    }

    fn line_end(&self, line: usize) -> usize {
        let start = self.rope().line_to_char(line);
        start + cells(&self.line(line)).last().map_or(0, |cell| cell.at + cell.len)
    }

    /// Where what stands before a position starts: a grapheme, or the end of the line before.
    fn before(&self, at: usize) -> usize {
        let line = self.rope().char_to_line(at);
        let start = self.rope().line_to_char(line);
        if at == start {
            return at.saturating_sub(1);
        }
        start + cells(&self.line(line)).take_while(|cell| start + cell.at < at).last().map_or(0, |cell| cell.at)
    }

    /// Where what stands at a position ends.
    fn after(&self, at: usize) -> usize {
        let line = self.rope().char_to_line(at);
        let start = self.rope().line_to_char(line);
        let end = cells(&self.line(line)).map(|cell| start + cell.at + cell.len).find(|end| *end > at);
        end.unwrap_or_else(|| (at + 1).min(self.rope().len_chars()))
    }

    fn part_unless(&mut self, kind: Last) {
        self.goal = None;
        if self.last != kind {
            let done = self.doc.part_groups();
            self.worked(done);
        }
        self.last = kind;
    }

    fn worked(&mut self, done: Result<(), DocumentError>) -> bool {
        if let Err(DocumentError::Edit(why)) = &done {
            self.status.note = Some((*why).into());
        }
        self.status.typed |= done.is_ok();
        done.is_ok()
    }

    /// The document is watched from `open` on, so it has a rope.
    fn rope(&self) -> &Rope {
        static EMPTY: std::sync::LazyLock<Rope> = std::sync::LazyLock::new(Rope::new);
        self.doc.rope().unwrap_or(&EMPTY)
    }
}

/// The names in the status line; beyond that they are counted.
const SHOWN: usize = 4;
/// The characters of a name in the status line.
const NAME: usize = 24;
/// The characters of an explanation in the status line.
const NOTE: usize = 120;
