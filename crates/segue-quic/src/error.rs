//! What goes wrong, said in three parts: what, where, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use segue_proto::wire::{DeviceId, Hash, SessionId};
use segue_proto::{Code, UsageError};

/// A node could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or directory of the state could not be used.
    #[error("can't {what} {}: {source}; check that the path exists and that this user may write there", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store could not be opened.
    #[error("can't open the store in {}: {text}", path.display())]
    Store {
        /// The state directory.
        path: PathBuf,
        /// What the store said.
        text: String,
    },
    /// The socket could not be opened.
    #[error("can't open a UDP socket on {}: {source}; choose another address or port",
        addr.map_or_else(|| "any port".to_owned(), |addr| addr.to_string()))]
    Socket {
        /// The address; none for a client.
        addr: Option<SocketAddr>,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers ({text}); nothing is safe without them")]
    Random {
        /// What the system said.
        text: String,
    },
    /// The TLS library refused its set-up.
    #[error("can't set up TLS: {text}")]
    Tls {
        /// What the library said.
        text: String,
    },
    /// Neither a state directory nor `in_memory` was chosen.
    #[error("the node has no store: call state_dir(path), or in_memory() for one that forgets")]
    NoStore,
}

impl OpenError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        OpenError::Io { what, path: path.to_owned(), source }
    }

    pub(crate) fn tls(error: impl std::fmt::Display) -> Self {
        OpenError::Tls { text: error.to_string() }
    }

    pub(crate) fn store(path: &Path, error: impl std::fmt::Display) -> Self {
        OpenError::Store { path: path.to_owned(), text: error.to_string() }
    }
}

/// A call failed. Unless it says otherwise nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's mistake, or a state in which the call can't be made.
    #[error("can't {what}: {source}")]
    Usage {
        /// What was asked for.
        what: &'static str,
        /// Why it can't be done.
        source: UsageError,
    },
    /// A file could not be read or written.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No blob of this id is complete on this device.
    #[error("the blob {0} isn't complete on this device; wait for Event::Data")]
    NoBlob(Hash),
    /// The session has no file of this path, as far as this device knows.
    #[error("session {session} has no file {path:?} on this device")]
    NoFile {
        /// The session.
        session: SessionId,
        /// The path.
        path: String,
    },
    /// A service doesn't tell who is there.
    #[error("service {service} doesn't tell who is there ({}): {}; {}", code.name(), code.meaning().trim_end_matches('.'), presence_help(*code))]
    Discovery {
        /// The service.
        service: DeviceId,
        /// Why.
        code: Code,
    },
    /// A service doesn't let this device in, or doesn't answer.
    #[error("service {service} {} ({}): {}; {}", login_outcome(*code), code.name(), code.meaning().trim_end_matches('.'), login_help(*code))]
    Login {
        /// The service.
        service: DeviceId,
        /// Why.
        code: Code,
    },
    /// No link of their own came of an introduction. What is handed over goes by way of the mailbox all the same.
    #[error("no direct link with device {device}: {}; {}", code.meaning().trim_end_matches('.'), meeting_help(*code))]
    Introduction {
        /// The device.
        device: DeviceId,
        /// Why.
        code: Code,
    },
    /// A service has no device woken.
    #[error("service {service} doesn't have device {device} woken ({}): {}; {}", code.name(), code.meaning().trim_end_matches('.'), wake_help(*code))]
    Wake {
        /// The service.
        service: DeviceId,
        /// The device.
        device: DeviceId,
        /// Why.
        code: Code,
    },
    /// The service that is to sign the session's next record, or does, didn't do what it was asked.
    #[error("device {service} didn't change who signs the next record of session {session} ({}): {}; {}", code.name(), custody_meaning(*code), custody_help(*code))]
    Delegation {
        /// The session.
        session: SessionId,
        /// The service.
        service: DeviceId,
        /// Why.
        code: Code,
    },
    /// The device doesn't tell of the session: it doesn't know it, or this device may not read it there.
    #[error("can't follow session {session} from device {device}: {}; check the id, and that this device is a member of it or trusted there", code.meaning().trim_end_matches('.'))]
    Follow {
        /// The session.
        session: SessionId,
        /// The device that was asked.
        device: DeviceId,
        /// What it said.
        code: Code,
    },
    /// A conflict can't be resolved in this way.
    #[error("can't resolve the conflict: {what}")]
    Resolution {
        /// Why not.
        what: &'static str,
    },
    /// The devices were not linked.
    #[error("can't link with device {device}: {}; ask for a new invitation", code.meaning().trim_end_matches('.'))]
    Link {
        /// The other device.
        device: DeviceId,
        /// Why; `LINK_LOST` if the device may be linked all the same.
        code: Code,
    },
    /// The node was shut down, or its store failed; what was asked may or may not have been done.
    #[error("the node has stopped; open it again and ask it for its sessions")]
    Stopped,
}

impl Error {
    pub(crate) fn usage(what: &'static str) -> impl FnOnce(UsageError) -> Error {
        move |source| Error::Usage { what, source }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, path: path.to_owned(), source }
    }
}

fn login_outcome(code: Code) -> &'static str {
    if code == Code::LINK_LOST { "doesn't answer" } else { "doesn't let this device in" }
}

/// What to do about a service that doesn't let this device in, or not as far as it asks.
pub(crate) fn login_help(code: Code) -> &'static str {
    match code {
        Code::SVC_LOGIN => {
            "log in once with a token of its identity provider (`segue login --token FILE`), or have its operator name this device"
        }
        Code::SVC_TOKEN => {
            "get a new token of the identity provider, for this service and the account that this device is under"
        }
        Code::SVC_FEATURE => "ask the service's operator to switch it on, or hand over by a link",
        Code::LIMIT_QUOTA => "ask the service's operator for more room, or to remove devices of the account",
        Code::SERVICE_NONE => "check that it runs `segue serve`",
        _ => "check its address and the network, and try again",
    }
}

/// What to do about a service that doesn't tell who is there.
fn presence_help(code: Code) -> &'static str {
    match code {
        Code::SVC_LOGIN | Code::SVC_FEATURE => login_help(code),
        _ => "check that it runs `segue serve`, and try again",
    }
}

/// What to do about a device that wasn't met.
fn meeting_help(code: Code) -> &'static str {
    match code {
        Code::SVC_LOGIN | Code::SVC_FEATURE => login_help(code),
        Code::SERVICE_NONE => "use a mailbox that runs `segue serve`",
        Code::SERVICE_AWAY => "check that it runs, uses the same mailbox and knows this device",
        Code::SVC_TARGET_MISMATCH => "its address may have gone to another device; start it again, and try again",
        _ => "check that one of the two can be dialled by the other",
    }
}

/// What to do about a device that isn't woken.
fn wake_help(code: Code) -> &'static str {
    match code {
        Code::SVC_LOGIN | Code::SVC_FEATURE => login_help(code),
        Code::SERVICE_NONE => "start it there by hand, or ask the service's operator for `segue serve --wake-with`",
        Code::SERVICE_AWAY => "start it there by hand once, so that it uses the same service and knows this device",
        Code::LIMIT_OFFERS => "start it there by hand, or try again later",
        _ => "check the service's address and the network, and try again",
    }
}

/// Why a service didn't sign.
fn custody_meaning(code: Code) -> &'static str {
    match code {
        // What it means of a handoff says nothing of a service that was asked to sign.
        Code::HO_PENDING => "it hasn't answered, and may do so yet",
        Code::HO_TIMEOUT => "it didn't answer in time",
        _ => code.meaning().trim_end_matches('.'),
    }
}

/// What to do about it.
fn custody_help(code: Code) -> &'static str {
    match code {
        Code::SVC_LOGIN | Code::SVC_FEATURE | Code::LIMIT_QUOTA => login_help(code),
        Code::SERVICE_NONE => "check that it runs `segue serve` without --no-custody, or choose another",
        _ => "check that it runs `segue serve`, and try again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_silent_is_told_from_one_that_refuses() {
        let said = |code| Error::Login { service: DeviceId::ZERO, code }.to_string();
        assert!(said(Code::LINK_LOST).contains("doesn't answer (LINK_LOST)"), "{}", said(Code::LINK_LOST));
        assert!(said(Code::SVC_LOGIN).contains("doesn't let this device in (SVC_LOGIN)"), "{}", said(Code::SVC_LOGIN));
    }
}
