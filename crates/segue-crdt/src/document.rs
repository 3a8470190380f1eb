//! What every document does, and how it fails.

use thiserror::Error;

use crate::limits::MAX_LISTED;

/// A part's content, made of its ops.
pub trait Document {
    /// Takes an op of another device, or, when the document is opened, any op. Each op comes once, and never one that
    /// this document flushed itself.
    ///
    /// # Errors
    /// [`DocumentError::Refused`]: the bytes are no update of this kind of document, which is unchanged. Every device
    /// refuses the same bytes. [`DocumentError::Broken`]: the document is lost, by this op or an earlier one.
    fn apply(&mut self, update: &[u8]) -> Result<(), DocumentError>;

    /// The next op of the local edits since the last flush: at most [`MAX_UPDATE`](crate::limits::MAX_UPDATE) bytes.
    /// Longer edits are split, so call until it says None.
    fn flush(&mut self) -> Option<Vec<u8>>;

    /// The whole document, as bytes that `open` takes. Local edits are in it, flushed or not.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    fn snapshot(&mut self) -> Result<Vec<u8>, DocumentError>;

    /// Why the document is broken, if it is.
    fn broken(&self) -> Option<&str>;

    /// What became of the ops given to [`Document::apply`].
    fn tally(&self) -> &Tally;
}

/// What goes wrong with a document.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// A peer's: the bytes are no update of this kind of document. It is unchanged.
    #[error("the op is refused: {0}")]
    Refused(&'static str),
    /// The document is lost. Its ops aren't: the core keeps them.
    #[error("the document is broken: {0}")]
    Broken(String),
    /// The caller's: the edit goes beyond a limit, or lies outside the document. It is unchanged.
    #[error("{0}")]
    Edit(&'static str),
    /// The system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
}

/// What became of the ops of a document. A number is an op's place in the order of the calls, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The ops that are in the document.
    pub applied: u64,
    /// How many were refused.
    pub refused: u64,
    /// The first of them.
    pub listed: Vec<Refused>,
    /// The op that broke the document.
    pub broke: Option<u64>,
    /// The ops that came to the broken document, with the one that broke it.
    pub unread: u64,
}

/// An op that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number.
    pub op: u64,
    /// Why.
    pub why: &'static str,
}

#[cfg_attr(not(any(feature = "yrs", feature = "automerge")), allow(dead_code))]
impl Tally {
    /// Counts the outcome of an op.
    pub(crate) fn count(&mut self, failure: Option<&DocumentError>) {
        let op = self.applied + self.refused + self.unread;
        match failure {
            None => self.applied += 1,
            Some(DocumentError::Refused(why)) => {
                self.refused += 1;
                if self.listed.len() < MAX_LISTED {
                    self.listed.push(Refused { op, why });
                }
            }
            Some(_) => {
                self.unread += 1;
                self.broke.get_or_insert(op);
            }
        }
    }
}
