//! Verdicts, and why.

/// What a case came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The subject does what the clauses demand.
    Pass,
    /// It doesn't.
    Fail,
    /// The adapter broke before there was any evidence.
    Inconclusive,
    /// The subject says that it doesn't offer what the case needs.
    Unsupported,
}

impl Verdict {
    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Verdict> {
        let all = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive, Verdict::Unsupported];
        all.into_iter().find(|verdict| verdict.name() == name)
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Unsupported => "unsupported",
        }
    }
}

/// Why a case didn't pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the clauses demand.
    pub expected: String,
    /// What came instead.
    pub came: String,
    /// Whether nothing came in time, which on real sockets proves nothing.
    pub unheard: bool,
}

impl Fault {
    /// A failure.
    pub fn fail(expected: impl Into<String>, came: impl Into<String>) -> Fault {
        Fault { expected: expected.into(), came: came.into(), unheard: false }
    }

    /// Nothing came: no evidence either way.
    pub fn unheard(expected: impl Into<String>, came: impl Into<String>) -> Fault {
        Fault { unheard: true, ..Fault::fail(expected, came) }
    }
}
