//! Error codes: one table, from which the wire, the log lines and the spec's errors chapter all come.

use core::fmt;

use crate::clause::Clause;

/// Whether a failure is known to have changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The request failed and changed nothing; it won't take effect later.
    Definite,
    /// The request may still take effect; an event tells.
    Indefinite,
}

macro_rules! codes {
    ($( $(#[doc = $doc:literal])+ $name:ident = $num:literal $outcome:ident, )+) => {
        /// An error code: two bytes on the wire, big-endian; also the QUIC application close code.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct Code(u16);

        #[allow(missing_docs)]
        impl Code {
            $( $(#[doc = $doc])+ pub const $name: Code = Code($num); )+

            /// Every code that this version defines, in the order of its numbers.
            pub const TABLE: &'static [CodeRow] = &[
                $( CodeRow {
                    code: Code($num),
                    name: stringify!($name),
                    outcome: Outcome::$outcome,
                    meaning: concat!($($doc),+),
                }, )+
            ];
        }
    };
}

/// A row of the table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeRow {
    /// The code.
    pub code: Code,
    /// Its name in the spec.
    pub name: &'static str,
    /// Whether the failure is definite.
    pub outcome: Outcome,
    /// What it means.
    pub meaning: &'static str,
}

codes! {
    /// An encoding that is not the one canonical encoding of its value.
    WIRE_NONCANONICAL = 0x0101 Definite,
    /// A list, string or byte string is longer than its cap.
    WIRE_LIMIT = 0x0102 Definite,
    /// A frame type or extension that may not be skipped is unknown.
    WIRE_UNKNOWN_CRITICAL = 0x0103 Definite,
    /// A string holds control characters, bidirectional controls or too many characters.
    WIRE_STRING = 0x0104 Definite,
    /// An encoding ends before its value does, or goes on after it.
    WIRE_LENGTH = 0x0105 Definite,
    /// The message is not permitted in the link's state.
    WIRE_STATE = 0x0106 Definite,
    /// A field holds a value outside its set.
    WIRE_VALUE = 0x0107 Definite,
    /// The generation that the pair could use lies below a floor.
    VER_BELOW_FLOOR = 0x0202 Definite,
    /// The message belongs to a generation above the link's.
    VER_NOT_PERMITTED = 0x0203 Definite,
    /// The peer did not prove an identity that this device accepts.
    AUTH_FAILED = 0x0301 Definite,
    /// The proof of identity is for another channel, role or HELLO. Local: the peer is told AUTH_FAILED.
    AUTH_BINDING = 0x0302 Definite,
    /// The proven device is not one that this device talks to. Local: the peer is told AUTH_FAILED.
    AUTH_UNKNOWN_DEVICE = 0x0303 Definite,
    /// The signature of a signed object doesn't verify.
    AUTH_SIGNATURE = 0x0304 Definite,
    /// The key is revoked in the account. Before authentication is complete the peer is told AUTH_FAILED.
    AUTH_REVOKED = 0x0305 Definite,
    /// A control frame is longer than its cap.
    LIMIT_FRAME = 0x0401 Definite,
    /// Too many bytes before authentication.
    LIMIT_PREAUTH = 0x0402 Definite,
    /// The peer made less than the minimum of progress.
    LIMIT_PROGRESS = 0x0403 Definite,
    /// Too many requests outstanding.
    LIMIT_REQUESTS = 0x0404 Definite,
    /// Too many offers in a minute.
    LIMIT_OFFERS = 0x0405 Definite,
    /// A manifest is longer, or has more parts, than its cap.
    LIMIT_MANIFEST = 0x0406 Definite,
    /// The peer doesn't read what is sent to it.
    LIMIT_QUEUE = 0x0407 Definite,
    /// Nothing was heard for the idle time.
    LIMIT_IDLE = 0x0408 Definite,
    /// No room for a further session, record or device.
    LIMIT_ROOM = 0x0409 Definite,
    /// A box, a device's share of a mailbox, or the mailbox is full, or the device puts too fast.
    LIMIT_QUOTA = 0x040a Definite,
    /// The request cites a record that is no longer the head.
    HO_STALE_PARENT = 0x0501 Definite,
    /// The device asked isn't the one that may sign the next record.
    HO_NOT_OWNER = 0x0502 Definite,
    /// The device that asks isn't a member of the session.
    HO_NOT_MEMBER = 0x0503 Definite,
    /// No session of this id is known here.
    HO_UNKNOWN_SESSION = 0x0504 Definite,
    /// No live offer or request bears this token.
    HO_TOKEN_BAD = 0x0505 Definite,
    /// The offer was made to another device than the one that presents it.
    HO_TOKEN_WRONG_PEER = 0x0506 Definite,
    /// A newer handoff of the session took this one's place.
    HO_SUPERSEDED = 0x0507 Definite,
    /// The other side's user or policy said no.
    HO_DECLINED = 0x0508 Definite,
    /// The deadline passed before the GRANT; the source stays primary.
    HO_TIMEOUT = 0x0509 Definite,
    /// The GRANT is durable and not acknowledged yet; it is sent again until it is.
    HO_PENDING = 0x050a Indefinite,
    /// A higher record ended the ownership under which this was done.
    HO_FENCED = 0x050b Definite,
    /// A record doesn't follow from its parent.
    HO_CHAIN = 0x050c Definite,
    /// One key signed two records with the same parent in one term.
    HO_EQUIVOCATION = 0x050d Definite,
    /// The side that asked withdrew.
    HO_CANCELLED = 0x050e Definite,
    /// The session is closed.
    HO_CLOSED = 0x050f Definite,
    /// A GRANT doesn't answer a WANT of this device's present actor.
    HO_NO_CONSENT = 0x0510 Definite,
    /// A FINAL doesn't match its record.
    HO_FINAL = 0x0511 Definite,
    /// Data that the message promises isn't complete and verified.
    DATA_INCOMPLETE = 0x0601 Definite,
    /// Bytes don't match the hash that names them.
    DATA_HASH = 0x0602 Definite,
    /// A path isn't one that may be written.
    DATA_NAME = 0x0603 Definite,
    /// The device asked doesn't hold the blob.
    DATA_UNAVAILABLE = 0x0604 Definite,
    /// A manifest breaks a rule of its form.
    DATA_MANIFEST = 0x0605 Definite,
    /// The root recomputed from the data isn't the one promised.
    DATA_ROOT = 0x0606 Definite,
    /// One op number of a writer names two ops.
    DATA_FORK = 0x0607 Definite,
    /// A part has several values that were written without knowing of each other.
    DATA_CONFLICT = 0x0608 Definite,
    /// An op had read ops that are in a snapshot here and whose hashes didn't come with it: take the snapshot, and send again.
    DATA_RESYNC = 0x0609 Definite,
    /// The store failed to write or sync; the device halts.
    STORE_IO = 0x0701 Indefinite,
    /// The store holds something that it can't have written.
    STORE_CORRUPT = 0x0702 Definite,
    /// The store's continuity isn't proven: it may be a restored backup.
    STORE_ROLLED_BACK = 0x0703 Definite,
    /// The link ends in good order.
    LINK_SHUTDOWN = 0x0800 Definite,
    /// The link's transport ended.
    LINK_LOST = 0x0801 Indefinite,
    /// A newer link of the same device takes this one's place.
    LINK_REPLACED = 0x0802 Definite,
    /// The invitation was used, is too old, or never was.
    LINK_EXPIRED = 0x0803 Definite,
    /// A user said that the devices shouldn't be linked, or hasn't said that they should.
    LINK_DECLINED = 0x0804 Definite,
    /// The proof is for another invitation or another channel: somebody may stand between the devices.
    LINK_CHANNEL = 0x0805 Definite,
    /// The entry doesn't follow from the entries that it cites.
    ACCOUNT_ENTRY = 0x0901 Definite,
    /// The device, or the entry, is of another account, or of none.
    ACCOUNT_OTHER = 0x0902 Definite,
    /// The device hosts no mailbox, signs for no other, or wakes none.
    SERVICE_NONE = 0x0a01 Definite,
    /// An envelope isn't what a device of the session put into this box, or what it holds may not be there.
    SERVICE_ENVELOPE = 0x0a02 Definite,
    /// A mailbox gave other envelopes than those that were asked for.
    SERVICE_FETCH = 0x0a03 Definite,
    /// A letter of a device is missing in a box, or a mailbox holds less than it did.
    SERVICE_LOST = 0x0a04 Definite,
    /// The service isn't the session's grantor: it keeps the chain, and signs nothing.
    SVC_NOT_GRANTOR = 0x0a05 Definite,
    /// A service signed two records with one parent, or shows an older head than it did.
    SVC_EQUIVOCATION = 0x0a06 Definite,
    /// The service demands an account, and the device is under none, or no longer.
    SVC_LOGIN = 0x0a07 Definite,
    /// The token isn't valid at this service: it expired, is for another one, of another signer, or of another account than the device is under.
    SVC_TOKEN = 0x0a08 Definite,
    /// Handing over by way of the service is switched off for the account.
    SVC_FEATURE = 0x0a09 Definite,
    /// Another device than the one that was introduced is there, or signed. Before authentication the peer is told AUTH_FAILED.
    SVC_TARGET_MISMATCH = 0x0a0a Definite,
    /// The device isn't at the service, didn't name the sender there, or doesn't answer.
    SERVICE_AWAY = 0x0a0b Definite,
}

impl Code {
    /// The code with this number, or none if this version doesn't define it.
    pub fn known(number: u16) -> Option<Code> {
        Self::row(number).map(|row| row.code)
    }

    /// The code with this number, defined here or not.
    pub const fn from_number(number: u16) -> Code {
        Code(number)
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The name in the spec, or `"UNKNOWN"`.
    pub fn name(self) -> &'static str {
        Self::row(self.0).map_or("UNKNOWN", |row| row.name)
    }

    /// Whether what was refused so, for there was too much of it, may be taken a while later.
    pub const fn is_mended_by_time(self) -> bool {
        matches!(self, Code::LIMIT_REQUESTS | Code::LIMIT_OFFERS)
    }

    /// What it means, in a sentence.
    pub fn meaning(self) -> &'static str {
        Self::row(self.0).map_or("An error code that this version doesn't know.", |row| row.meaning.trim())
    }

    /// Whether the failure is definite; an unknown code is not.
    pub fn outcome(self) -> Outcome {
        Self::row(self.0).map_or(Outcome::Indefinite, |row| row.outcome)
    }

    fn row(number: u16) -> Option<&'static CodeRow> {
        Self::TABLE.iter().find(|row| row.code.0 == number)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::row(self.0) {
            Some(row) => f.write_str(row.name),
            None => write!(f, "0x{:04x}", self.0),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self, self.meaning())
    }
}

/// What a peer did wrong: the error code, and the clause that it broke.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The error code.
    pub code: Code,
    /// The clause.
    pub clause: Clause,
}

impl Violation {
    /// A violation of `clause`, reported as `code`.
    pub const fn new(code: Code, clause: Clause) -> Self {
        Violation { code, clause }
    }
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.code, self.clause)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (clause {}: {})", self.code, self.clause, self.clause.summary())
    }
}

/// The caller's own mistake. The state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// No session of this id is known here.
    UnknownSession,
    /// This device isn't the session's primary; the device that is, if known.
    NotOwner(Option<crate::wire::DeviceId>),
    /// The session's next record is being signed or delivered.
    Busy,
    /// A handoff is about to complete and its GRANT is full: the write may be made once
    /// [`Event::WritesResumed`](crate::Event::WritesResumed) says so.
    Paused,
    /// No live request bears this token.
    UnknownToken,
    /// The session is closed.
    Closed,
    /// The device named is this device.
    SelfTarget,
    /// This device's store has no proven continuity; it contributes until it is granted anew.
    RolledBack,
    /// A value is longer, or a list has more entries, than its limit.
    TooLarge,
    /// A name holds a control character, or one that changes the direction of the text around it.
    BadText,
    /// The part exists with another kind, or the path isn't one that may be written.
    BadPart,
    /// The part has several values that were written without knowing of each other; they are to be resolved first.
    Conflicted,
    /// The store failed; the device is halted.
    Halted,
    /// This device already is the session's primary.
    AlreadyOwner,
    /// This device is not a member of the session.
    NotMember,
    /// This device belongs to no account.
    NoAccount,
    /// This device belongs to an account already.
    HasAccount,
    /// The account has no such device.
    UnknownDevice,
    /// The device's key is revoked.
    Revoked,
    /// No linking with this device waits for an answer.
    NoLinking,
    /// Another device, which is named, signs the session's next record.
    Delegated(crate::wire::DeviceId),
    /// Nobody else signs the session's next record.
    NotDelegated,
    /// There is no link with the device, or none of the generation that this needs.
    NotLinked,
}

impl UsageError {
    /// The code of the same meaning, for reports.
    pub const fn code(self) -> Code {
        match self {
            UsageError::UnknownSession => Code::HO_UNKNOWN_SESSION,
            UsageError::NotOwner(_) | UsageError::AlreadyOwner | UsageError::SelfTarget => Code::HO_NOT_OWNER,
            UsageError::Busy | UsageError::Paused => Code::HO_PENDING,
            UsageError::UnknownToken => Code::HO_TOKEN_BAD,
            UsageError::Closed => Code::HO_CLOSED,
            UsageError::RolledBack => Code::STORE_ROLLED_BACK,
            UsageError::TooLarge => Code::WIRE_LIMIT,
            UsageError::BadText => Code::WIRE_STRING,
            UsageError::BadPart => Code::DATA_NAME,
            UsageError::Conflicted => Code::DATA_CONFLICT,
            UsageError::Halted => Code::STORE_IO,
            UsageError::NotMember => Code::HO_NOT_MEMBER,
            UsageError::NoAccount | UsageError::HasAccount | UsageError::UnknownDevice => Code::ACCOUNT_OTHER,
            UsageError::Revoked => Code::AUTH_REVOKED,
            UsageError::NoLinking => Code::LINK_EXPIRED,
            UsageError::Delegated(_) => Code::HO_NOT_OWNER,
            UsageError::NotDelegated => Code::SVC_NOT_GRANTOR,
            UsageError::NotLinked => Code::LINK_LOST,
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::UnknownSession => f.write_str("no session of this id is known on this device"),
            UsageError::NotOwner(Some(owner)) => write!(f, "this device doesn't own the session; its owner is {owner}"),
            UsageError::NotOwner(None) => f.write_str("this device doesn't own the session, and its owner isn't known"),
            UsageError::Busy => f.write_str("the session's ownership is on its way to another device"),
            UsageError::Paused => {
                f.write_str("a handoff is about to complete and has no room for further writes: try again in a moment")
            }
            UsageError::UnknownToken => f.write_str("no live request bears this token"),
            UsageError::Closed => f.write_str("the session is closed"),
            UsageError::SelfTarget => f.write_str("the device named is this device"),
            UsageError::RolledBack => f.write_str(
                "this device's store looks like a restored backup: it may contribute, and owns again once another device hands it the session",
            ),
            UsageError::TooLarge => f.write_str("a value is larger than its limit"),
            UsageError::BadText => f.write_str(
                "the name holds a control character, or one that changes the direction of the text around it: leave that out",
            ),
            UsageError::BadPart => f.write_str("the part has another kind, or its path may not be written"),
            UsageError::Conflicted => {
                f.write_str("the part has values in conflict: look at them, and resolve them by one that stands for all")
            }
            UsageError::Halted => f.write_str("the store failed, so the device is halted; restart it"),
            UsageError::AlreadyOwner => f.write_str("this device already owns the session"),
            UsageError::NotMember => f.write_str("this device isn't a member of the session"),
            UsageError::NoAccount => f.write_str("this device belongs to no account"),
            UsageError::HasAccount => f.write_str("this device belongs to an account already"),
            UsageError::UnknownDevice => f.write_str("the account has no such device"),
            UsageError::Revoked => f.write_str("the device is revoked, and a revoked key never returns"),
            UsageError::NoLinking => f.write_str("no linking with this device waits for an answer"),
            UsageError::Delegated(grantor) => {
                write!(f, "device {grantor} signs the session's next record; have it signed by this device again first")
            }
            UsageError::NotDelegated => f.write_str("the session isn't delegated: its owner signs its next record"),
            UsageError::NotLinked => f.write_str("there is no link with the device, or it speaks too low a generation"),
        }
    }
}

impl core::error::Error for UsageError {}
impl core::error::Error for Violation {}
