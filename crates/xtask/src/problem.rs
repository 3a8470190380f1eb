//! What a check found.

use std::fmt;

/// A problem: where it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    file: String,
    line: usize,
    what: String,
}

impl Problem {
    /// At a line of a file, counted from 1.
    pub(crate) fn at(file: &str, line: usize, what: impl Into<String>) -> Self {
        Problem { file: file.into(), line, what: what.into() }
    }

    /// With a file as a whole, or its absence.
    pub(crate) fn with(file: &str, what: impl Into<String>) -> Self {
        Problem::at(file, 1, what)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}
