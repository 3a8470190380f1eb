//! How a command ends.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use segue_proto::UsageError;

/// The exit codes, as `--help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Resolved = 0,
    /// Refused, or failed; nothing changed hands.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// `certify` alone: the suite itself is at fault.
    Suite = 3,
    /// The handoff may still complete.
    Pending = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command didn't do what it was asked for: what, where, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Failure {
    /// Refused or failed.
    pub(crate) fn failed(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, text: text.into() }
    }

    /// The command line is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, text: text.into() }
    }

    /// The handoff may still complete.
    pub(crate) fn pending(text: impl Into<String>) -> Failure {
        Failure { exit: Exit::Pending, text: text.into() }
    }

    /// For `map_err`: a file or directory could not be used.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |error| {
            let advice = advice(error.kind());
            Failure::failed(format!("can't {what} {}: {error}{advice}", path.display()))
        }
    }
}

/// What to do about it.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "; check the path",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; check who may read and write there, or choose another place"
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "; something else is at that path: choose another one"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space",
        _ => "",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<segue_quic::Error> for Failure {
    fn from(error: segue_quic::Error) -> Failure {
        let help = match &error {
            segue_quic::Error::Usage { source: UsageError::Delegated(_), .. } => ": `segue reclaim` does that",
            _ => "",
        };
        Failure::failed(format!("{error}{help}"))
    }
}

impl From<segue_quic::OpenError> for Failure {
    fn from(error: segue_quic::OpenError) -> Failure {
        Failure::failed(error.to_string())
    }
}
