//! Why a handoff didn't begin, or didn't complete.

use std::time::Duration;

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Code, Outcome, Token, UsageError};

use crate::error::login_help;

/// A handoff didn't begin, or didn't complete. Each text says what, where, and what to do.
///
/// Definite errors changed nothing: whoever owned the session owns it still, and what was asked for won't happen later.
/// After an indefinite one ([`HandoffError::is_pending`]) it may still complete, and
/// [`crate::Event::HandoffResolved`] tells.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// At the call: no session of this id is known here. Definite.
    #[error(
        "can't hand over session {session}: no session of this id is known on this device; check the id, or ask its owner for it"
    )]
    UnknownSession {
        /// The session.
        session: SessionId,
    },
    /// At the call: neither the session nor the application ever named the device. Definite.
    #[error(
        "can't hand session {session} to device {device}: nothing here knows that device; check its id, then connect to it, trust it, or link it to the account"
    )]
    UnknownDevice {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// At the call: the device, the other one or this one, takes no part in the session. Definite.
    #[error(
        "can't hand over session {session}: device {device} is linked, but isn't a member of the session; connect to it by its address, trust it, or link it to the account, to say that you mean it"
    )]
    NotMember {
        /// The session.
        session: SessionId,
        /// The device that isn't a member.
        device: DeviceId,
    },
    /// At the call: another device owns the session. Definite.
    #[error("can't hand over session {session}: this device isn't its primary, {}; hand it over from there, or ask for it by request_handoff", owner_of(*owner))]
    NotPrimary {
        /// The session.
        session: SessionId,
        /// Its owner, as far as this device knows.
        owner: Option<DeviceId>,
    },
    /// At the call: this device owns the session already. Definite.
    #[error("can't ask for session {session}: this device is its primary already; go on with it")]
    AlreadyPrimary {
        /// The session.
        session: SessionId,
    },
    /// At the call: the session's ownership is on its way to a device. Definite.
    #[error("can't hand over session {session}: it is on its way to {}; wait until that is resolved, or take it over", device_of(*with))]
    Busy {
        /// The session.
        session: SessionId,
        /// Where it goes, if that was signed already.
        with: Option<DeviceId>,
    },
    /// The device has no link: at the call, if none can come; else when the deadline passes. Definite.
    #[error(
        "the handoff of session {session} with device {device} failed: that device is offline, and this one is as it was; start it, check its address and the network, and try again"
    )]
    Offline {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// At the call: the device named is this one. Definite.
    #[error("can't hand session {session} to device {device}: that is this device; name the other one")]
    ThisDevice {
        /// The session.
        session: SessionId,
        /// This device.
        device: DeviceId,
    },
    /// At the call: no request bears the token any more. Definite.
    #[error(
        "can't answer the request {token}: it was withdrawn, answered or superseded; see requests() for those that wait"
    )]
    UnknownRequest {
        /// The token.
        token: Token,
    },
    /// The session is closed. Definite.
    #[error("the handoff of session {session} failed: the session is closed, for good; create another one")]
    Closed {
        /// The session.
        session: SessionId,
    },
    /// At the call: this device's store looks like a restored backup. Definite.
    #[error(
        "can't hand over session {session}: this device's store looks like a restored backup, so it may not give away what it may have given away before; have another device hand the session here first"
    )]
    RolledBack {
        /// The session.
        session: SessionId,
    },
    /// The device's key is revoked. Definite.
    #[error(
        "the handoff of session {session} with device {device} failed: that device is revoked, and a revoked key never returns; choose another device"
    )]
    Revoked {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// At the call: something else about it is wrong. Definite.
    #[error("can't hand over session {session}: {source}")]
    Usage {
        /// The session.
        session: SessionId,
        /// What.
        source: UsageError,
    },
    /// The link was lost while the handoff ran, and didn't come back before the deadline. Definite.
    #[error(
        "the handoff of session {session} with device {device} failed: the link was lost and didn't come back in time, and nothing changed hands; check the network, and try again"
    )]
    LinkLost {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// The device is linked, and didn't answer before the deadline. Definite.
    #[error(
        "the handoff of session {session} with device {device} failed (HO_TIMEOUT): no answer came in time, and nothing changed hands; ask that device's user, and try again"
    )]
    TimedOut {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// The deadline passed and the other device hasn't confirmed. Indefinite: nobody writes exclusive parts until it does.
    #[error(
        "the handoff of session {session} with device {device} is pending (HO_PENDING): that device hasn't confirmed; it is told again until it does, so let it link and wait, or take the session over"
    )]
    Pending {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// The other side said no. Definite.
    #[error("the handoff of session {session} with device {device} was refused ({}): {}", code.name(), said(*code, reason.as_deref(), *retry_after))]
    Refused {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
        /// Why.
        code: Code,
        /// What its user said (HO-REASON-1); not on links of 1.4.
        reason: Option<String>,
        /// When it may be tried again, counted from the refusal, if the other side said so.
        retry_after: Option<Duration>,
    },
    /// The side that asked withdrew. Definite.
    #[error(
        "the handoff of session {session} with device {device} was withdrawn (HO_CANCELLED) by the side that asked; nothing changed hands"
    )]
    Withdrawn {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// A newer handoff of the session took its place. Definite.
    #[error(
        "the handoff of session {session} with device {device} was superseded (HO_SUPERSEDED): a newer one took its place; wait for that one"
    )]
    Superseded {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
    },
    /// The session has another owner by now: it was handed over elsewhere, or taken over. Definite.
    #[error("the handoff of session {session} with device {device} came to nothing ({}): the session has another owner by now; look who owns it, and ask that device", code.name())]
    Moved {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
        /// `HO_FENCED`, `HO_STALE_PARENT` or `HO_NOT_OWNER`.
        code: Code,
    },
    /// What was to be handed over isn't there, or isn't what its hashes say. Definite.
    #[error("the handoff of session {session} with device {device} failed ({}): {}", code.name(), of_data(*code))]
    Data {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
        /// Why.
        code: Code,
    },
    /// The store of this device failed while the handoff ran. Indefinite if it failed to write: the record may be durable
    /// all the same.
    #[error("the store failed ({}) while a handoff was under way; free disk space or repair the disk, open the node again, and see pending_handoffs()", code.name())]
    Storage {
        /// `STORE_IO` or `STORE_CORRUPT`.
        code: Code,
    },
    /// The node stopped while the handoff ran. Indefinite.
    #[error("the node stopped while a handoff was under way; open it again, and see pending_handoffs()")]
    Stopped,
    /// Another error of the other device.
    #[error("the handoff of session {session} with device {device} failed: {code}")]
    Failed {
        /// The session.
        session: SessionId,
        /// The device.
        device: DeviceId,
        /// Why.
        code: Code,
    },
}

impl HandoffError {
    /// The error code of the same meaning, as on the wire.
    pub fn code(&self) -> Code {
        match self {
            HandoffError::UnknownSession { .. } => Code::HO_UNKNOWN_SESSION,
            HandoffError::UnknownDevice { .. } => Code::AUTH_UNKNOWN_DEVICE,
            HandoffError::NotMember { .. } => Code::HO_NOT_MEMBER,
            HandoffError::NotPrimary { .. } | HandoffError::AlreadyPrimary { .. } | HandoffError::ThisDevice { .. } => {
                Code::HO_NOT_OWNER
            }
            HandoffError::Busy { .. } | HandoffError::Pending { .. } | HandoffError::Stopped => Code::HO_PENDING,
            HandoffError::Offline { .. } | HandoffError::LinkLost { .. } | HandoffError::TimedOut { .. } => {
                Code::HO_TIMEOUT
            }
            HandoffError::UnknownRequest { .. } => Code::HO_TOKEN_BAD,
            HandoffError::Closed { .. } => Code::HO_CLOSED,
            HandoffError::RolledBack { .. } => Code::STORE_ROLLED_BACK,
            HandoffError::Revoked { .. } => Code::AUTH_REVOKED,
            HandoffError::Usage { source, .. } => source.code(),
            HandoffError::Withdrawn { .. } => Code::HO_CANCELLED,
            HandoffError::Superseded { .. } => Code::HO_SUPERSEDED,
            HandoffError::Refused { code, .. }
            | HandoffError::Moved { code, .. }
            | HandoffError::Data { code, .. }
            | HandoffError::Storage { code }
            | HandoffError::Failed { code, .. } => *code,
        }
    }

    /// Whether it is known that nothing changed.
    pub fn outcome(&self) -> Outcome {
        match self {
            HandoffError::Pending { .. } | HandoffError::Stopped => Outcome::Indefinite,
            HandoffError::Storage { code } | HandoffError::Failed { code, .. } => code.outcome(),
            _ => Outcome::Definite,
        }
    }

    /// Whether the handoff may still complete.
    pub fn is_pending(&self) -> bool {
        self.outcome() == Outcome::Indefinite
    }

    /// The caller's mistake, or a state in which the call can't be made. `pending` is where the session is on its way to.
    pub(crate) fn usage(error: UsageError, session: SessionId, device: DeviceId, pending: Option<DeviceId>) -> Self {
        match error {
            UsageError::UnknownSession => HandoffError::UnknownSession { session },
            UsageError::NotOwner(_) if pending.is_some() => HandoffError::Busy { session, with: pending },
            UsageError::NotOwner(owner) => HandoffError::NotPrimary { session, owner },
            UsageError::AlreadyOwner => HandoffError::AlreadyPrimary { session },
            UsageError::Busy => HandoffError::Busy { session, with: pending },
            UsageError::SelfTarget => HandoffError::ThisDevice { session, device },
            UsageError::Closed => HandoffError::Closed { session },
            UsageError::RolledBack => HandoffError::RolledBack { session },
            UsageError::NotMember => HandoffError::NotMember { session, device },
            UsageError::Revoked => HandoffError::Revoked { session, device },
            UsageError::Halted => HandoffError::Storage { code: Code::STORE_IO },
            source => HandoffError::Usage { session, source },
        }
    }

    /// How a handoff ended that had begun.
    pub(crate) fn end(code: Code, session: SessionId, device: DeviceId, reason: Option<String>, link: LinkWas) -> Self {
        match code {
            Code::HO_TIMEOUT => match link {
                LinkWas::There => HandoffError::TimedOut { session, device },
                LinkWas::Lost => HandoffError::LinkLost { session, device },
                LinkWas::Never => HandoffError::Offline { session, device },
            },
            Code::HO_PENDING => HandoffError::Pending { session, device },
            Code::HO_CANCELLED => HandoffError::Withdrawn { session, device },
            Code::HO_SUPERSEDED => HandoffError::Superseded { session, device },
            Code::HO_CLOSED => HandoffError::Closed { session },
            Code::HO_FENCED | Code::HO_STALE_PARENT | Code::HO_NOT_OWNER => {
                HandoffError::Moved { session, device, code }
            }
            Code::AUTH_REVOKED => HandoffError::Revoked { session, device },
            Code::HO_DECLINED
            | Code::HO_UNKNOWN_SESSION
            | Code::HO_NOT_MEMBER
            | Code::HO_TOKEN_BAD
            | Code::HO_TOKEN_WRONG_PEER
            | Code::LIMIT_OFFERS
            | Code::LIMIT_REQUESTS
            | Code::LIMIT_ROOM
            | Code::SVC_LOGIN
            | Code::SVC_FEATURE => HandoffError::Refused { session, device, code, reason, retry_after: None },
            Code::STORE_IO | Code::STORE_CORRUPT => HandoffError::Storage { code },
            // The codes of data are those from 0x0600 on.
            code if code.number() >> 8 == Code::DATA_HASH.number() >> 8 => HandoffError::Data { session, device, code },
            code => HandoffError::Failed { session, device, code },
        }
    }
}

impl HandoffError {
    /// The same, if it is a refusal, with when it may be tried again.
    pub(crate) fn with_retry_after(mut self, told: Option<Duration>) -> Self {
        if let HandoffError::Refused { retry_after, .. } = &mut self {
            *retry_after = told;
        }
        self
    }

    /// When it may be tried again, if the other side said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            HandoffError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// The link with the other device, from the call to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkWas {
    /// It is there.
    There,
    /// It was, and isn't.
    Lost,
    /// It never was.
    Never,
}

fn owner_of(owner: Option<DeviceId>) -> String {
    owner.map_or_else(|| "and its owner isn't known here".to_owned(), |owner| format!("device {owner} is"))
}

fn device_of(device: Option<DeviceId>) -> String {
    device.map_or_else(|| "another device".to_owned(), |device| format!("device {device}"))
}

fn said(code: Code, reason: Option<&str>, retry_after: Option<Duration>) -> String {
    let advice = match code {
        Code::HO_DECLINED => "its user or policy said no, and nothing changed hands; ask its user",
        Code::HO_UNKNOWN_SESSION | Code::HO_NOT_MEMBER => {
            "it doesn't share the session with this device; check the session's id and members there"
        }
        Code::LIMIT_OFFERS | Code::LIMIT_REQUESTS => {
            let (what, usual) = match code {
                Code::LIMIT_OFFERS => ("offers", "a minute"),
                _ => ("requests", "a while"),
            };
            let when = retry_after.map_or_else(|| usual.to_owned(), |time| format!("{} s", time.as_secs_f64().ceil()));
            return format!(
                "it, or the service in between, takes no more {what} for now, and nothing changed hands; try again in {when}"
            );
        }
        Code::SVC_LOGIN | Code::SVC_FEATURE => {
            let text =
                format!("the service that passes it on says no, and nothing changed hands; {}", login_help(code));
            return text;
        }
        Code::LIMIT_ROOM => "it has no room for a further session or request; try again later",
        _ => "the request had lapsed there; try again",
    };
    reason.map_or_else(|| advice.to_owned(), |reason| format!("{reason:?}; {advice}"))
}

fn of_data(code: Code) -> &'static str {
    match code {
        Code::DATA_UNAVAILABLE => {
            "the source hasn't the content of a file of it: another device was left with it, or the file changed; pick less, get it from a device that holds it, or write it anew at the source"
        }
        Code::DATA_HASH => "the data sent didn't match its hashes; check the source's disk, and try again",
        _ => "the data at the source can't be handed over as it is; look at the session's parts there",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_says_what_and_where_and_what_to_do() {
        let (session, device) = (SessionId::new([1; 16]), DeviceId::new([2; 32]));
        for row in Code::TABLE {
            for link in [LinkWas::There, LinkWas::Lost, LinkWas::Never] {
                let error = HandoffError::end(row.code, session, device, Some("in a call".into()), link);
                let text = error.to_string();
                let known = !matches!(error, HandoffError::Failed { .. });
                assert!(!known || text.contains(';'), "{:?} doesn't say what to do: {text}", row.code);
                assert!(text.contains(&session.to_string()) || error.code().name().starts_with("STORE"), "{text}");
                assert_eq!(error.code(), row.code, "{text}");
                assert_eq!(error.outcome(), row.code.outcome(), "{text}");
            }
        }
        let refused = HandoffError::end(Code::HO_DECLINED, session, device, Some("in a call".into()), LinkWas::There);
        assert!(refused.to_string().contains("\"in a call\""), "{refused}");
        let busy = HandoffError::end(Code::LIMIT_OFFERS, session, device, None, LinkWas::There);
        assert!(busy.to_string().contains("try again in a minute"), "{busy}");
        let busy = busy.with_retry_after(Some(Duration::from_millis(41_001)));
        assert!(
            busy.to_string().contains("(LIMIT_OFFERS)") && busy.to_string().contains("try again in 42 s"),
            "{busy}"
        );
    }
}
