//! The adapter protocol's values: what goes to a device, what comes from it, and what it says of itself.
//!
//! `ADAPTER.md` describes them for people. Here every structure is a line of a table, from which both directions come.

pub mod json;

use std::net::SocketAddr;

use segue_proto::wire::{DeviceId, Exts, Hash, LoggedIn, Presence, Text};
use segue_proto::{Batch, Code, Event, HandoffId, Violation, Write};
use segue_testkit::device::{
    AccountState, AccountTerms, Blobs, BulkOut, ChunkOut, Command, Contents, Input, Inspect, Outputs, Refusal, Reply,
    SessionState, Setup, Start,
};
use serde_json::{Map, Value};

use json::{Json, Listed, field, object, put, tagged};

/// The version of the adapter protocol.
pub const VERSION: u64 = 1;

tagged! { Input {
    LinkUp = "link-up" { link, role, binding, expect }
    Bytes = "bytes" { link, bytes }
    LinkDown = "link-down" { link }
    Bulk = "bulk" { link, stream, bytes, fin }
    BulkReset = "bulk-reset" { link, stream }
    Durable = "durable" { lsn }
    StoreFailed = "store-failed" {}
    Time = "time" {}
} }

tagged! { Command {
    Trust = "trust" { device }
    Distrust = "distrust" { device }
    Create = "create" { name, members }
    WriteFile = "write-file" { session, path, content }
    WriteExclusive = "write-exclusive" { session, bytes }
    Write = "write" { session, part, kind, body, resolves }
    Follow = "follow" { session, from }
    StandBy = "stand-by" { session, limit }
    Pick = "pick" { session, folders }
    Remove = "remove" { session, path }
    Initiate = "initiate" { session, to, timeout_us }
    CancelHandoff = "cancel" { session }
    Request = "request" { session, from, timeout_us }
    Consent = "consent" { session, to, ttl_us }
    Accept = "accept" { token }
    Reject = "reject" { token, reason }
    Takeover = "takeover" { session }
    Close = "close" { session }
    CloseLink = "close-link" { link, code }
    Shutdown = "shutdown" {}
    CreateAccount = "create-account" { name }
    Invite = "invite" { name }
    AcceptLink = "accept-link" { invite }
    ConfirmLink = "confirm-link" { device, yes }
    Revoke = "revoke" { device }
    TakeIn = "take-in" { session, part, actor }
    Receipt = "receipt" { session, record }
    VerifyReceipt = "verify-receipt" { receipt }
    Compact = "compact" { session, part, content }
    UseMailbox = "use-mailbox" { mailbox }
    HostMailbox = "host-mailbox" { box_envelopes, box_bytes, device_bytes, bytes }
    HostCustody = "host-custody" { lease_us }
    Delegate = "delegate" { session, service, timeout_us }
    Reclaim = "reclaim" { session, timeout_us }
    Discover = "discover" { service, devices }
    DemandAccounts = "demand-accounts" { accounts }
    Login = "login" { service, token }
    MeetAt = "meet-at" { addresses }
    Introduce = "introduce" { service, to }
    WakeDevices = "wake-devices" {}
    Wake = "wake" { service, device }
} }

tagged! { Event {
    LinkReady = "link-ready" { link, peer, generation }
    LinkClosed = "link-closed" { link, peer, code, clause, remote }
    Created = "created" { session }
    HandoffRequest = "handoff-request" { token, session, from, name }
    RequestHandoff = "request-handoff" { token, session, by }
    Withdrawn = "withdrawn" { token, session, code }
    Available = "available" { session, from }
    StoodBy = "stood-by" { session, bytes, ended }
    Told = "told" { session, from, name }
    Progress = "progress" { session, done, total }
    Mailed = "mailed" { session, mailbox, done, total }
    Full = "full" { mailbox }
    Data = "data" { session, root }
    Activated = "activated" { session, record }
    HandoffResolved = "handoff-resolved" { id, session, peer, result, reason }
    HandoffPending = "handoff-pending" { id, session, peer }
    WritesResumed = "writes-resumed" { session, waited_us }
    HeadChanged = "head-changed" { session, head, owner }
    Fenced = "fenced" { session, head, owner, copies }
    Equivocation = "equivocation" { session, key, records }
    Refused = "refused" { peer, session, code }
    Violation = "violation" { peer, session, violation }
    Closed = "closed" { session }
    Halted = "halted" {}
    AccountCreated = "account-created" { account }
    LinkCode = "link-code" { peer, name, code }
    LinkResolved = "link-resolved" { peer, result }
    DeviceLinked = "device-linked" { device, name, by }
    DeviceRevoked = "device-revoked" { device, by }
    OwnerRevoked = "owner-revoked" { session, owner }
    Changed = "changed" { session, parts }
    Reread = "reread" { session, parts }
    SetAside = "set-aside" { session, parts }
    Compacted = "compacted" { session }
    Synced = "synced" { session, peer }
    Exchanged = "exchanged" { mailbox }
    Delegated = "delegated" { session, result }
    Found = "found" { service, req, found }
    Login = "login" { service, result }
    Introduced = "introduced" { service, peer, addresses }
    NotIntroduced = "not-introduced" { service, peer, code }
    Woken = "woken" { service, device, code }
} }

object! { Setup { identity, generation, floor, pulls, accept_unknown, follow, trusted, wall_offset_ms, without } }
object! { Start { setup, entropy, disk, continuity } }
object! { Batch { lsn, writes, after_chunks } }
object! { Write { key, value } }
object! { BulkOut { link, stream, bytes, fin } }
object! { ChunkOut { blob, offset, bytes } }
object! { Outputs { control, bulk, closes, chunks, batches, events, wakes, timeout } }
object! { Refusal { code, text } }
object! { Presence { device, generation, ago_ms } }
object! { AccountTerms { name, token, ttl_us, devices, no_handoff, bytes } }
object! { Violation { code, clause } }
object! { SessionState {
    role, head, parent, term, taker, n, owner, grantor, entitled, root, files, named, conflicts, exclusive, copies, pending,
    aside, kept
} }

object! { AccountState { account, members, revoked } }

impl Listed for Batch {}
impl Listed for Write {}
impl Listed for BulkOut {}
impl Listed for ChunkOut {}
impl Listed for Event {}
impl Listed for Presence {}
impl Listed for AccountTerms {}
impl Listed for SocketAddr {}
impl<A: Json, B: Json> Listed for (A, B) {}

/// How a handoff ended: `{"record": …}` or `{"error": …}`.
impl Json for Result<Hash, Code> {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self {
            Ok(record) => put(&mut object, "record", record),
            Err(code) => put(&mut object, "error", code),
        }
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        match value.get("error") {
            Some(code) => Ok(Err(Code::from_json(code)?)),
            None => field(value, "record").map(Ok),
        }
    }
}

/// How a delegation ended: `{"grantor": …}` or `{"error": …}`.
impl Json for Result<DeviceId, Code> {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self {
            Ok(grantor) => put(&mut object, "grantor", grantor),
            Err(code) => put(&mut object, "error", code),
        }
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        match value.get("error") {
            Some(code) => Ok(Err(Code::from_json(code)?)),
            None => field(value, "grantor").map(Ok),
        }
    }
}

/// What a service told of devices: `{"devices": …}` or `{"error": …}`.
impl Json for Result<Vec<Presence>, Code> {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self {
            Ok(devices) => drop(object.insert("devices".into(), devices.to_json())),
            Err(code) => put(&mut object, "error", code),
        }
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        match value.get("error") {
            Some(code) => Ok(Err(Code::from_json(code)?)),
            None => field(value, "devices").map(Ok),
        }
    }
}

/// How a login ended: `{"account": …, "handoff": …, "ttl_ms": …, "free": …}` or `{"error": …}`.
impl Json for Result<LoggedIn, Code> {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self {
            Ok(it) => {
                put(&mut object, "account", &it.account.to_string());
                put(&mut object, "handoff", &it.handoff);
                put(&mut object, "ttl_ms", &it.ttl_ms);
                put(&mut object, "free", &it.free);
            }
            Err(code) => put(&mut object, "error", code),
        }
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        if let Some(code) = value.get("error") {
            return Ok(Err(Code::from_json(code)?));
        }
        let account = Text::new(field::<String>(value, "account")?).ok_or("field 'account' is too long")?;
        let (handoff, ttl_ms, free) = (field(value, "handoff")?, field(value, "ttl_ms")?, field(value, "free")?);
        Ok(Ok(LoggedIn { req: 0, account, handoff, ttl_ms, free, ext: Exts::empty() }))
    }
}

impl Json for [Hash; 2] {
    fn to_json(&self) -> Value {
        Value::Array(self.iter().map(Hash::to_json).collect())
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let (a, b) = <(Hash, Hash)>::from_json(value)?;
        Ok([a, b])
    }
}

/// What a command gave: an object with at most one of `session`, `lsn`, `handoff`, `invite`, `receipt`.
impl Json for Reply {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        match self {
            Reply::Done => {}
            Reply::Session(session) => put(&mut object, "session", session),
            Reply::Written(lsn) => put(&mut object, "lsn", lsn),
            Reply::Handoff(id) => put(&mut object, "handoff", id),
            Reply::Invite(invite) => put(&mut object, "invite", invite),
            Reply::Receipt(bytes) => put(&mut object, "receipt", bytes),
        }
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let session: Option<_> = field(value, "session")?;
        let lsn: Option<_> = field(value, "lsn")?;
        let handoff: Option<HandoffId> = field(value, "handoff")?;
        let invite: Option<String> = field(value, "invite")?;
        let receipt: Option<Vec<u8>> = field(value, "receipt")?;
        let written = session.map(Reply::Session).or(lsn.map(Reply::Written)).or(invite.map(Reply::Invite));
        let written = written.or(receipt.map(Reply::Receipt));
        Ok(written.or(handoff.map(Reply::Handoff)).unwrap_or(Reply::Done))
    }
}

/// A disk: the journal's entries as pairs of key and value, the last LSN, and slices of blobs.
impl Json for Contents {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        let entries: Vec<_> = self.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let slices = self.blobs.iter();
        let blobs: Vec<_> = slices.map(|(blob, offset, bytes)| ChunkOut { blob, offset, bytes }).collect();
        put(&mut object, "entries", &entries);
        put(&mut object, "last", &self.last);
        put(&mut object, "blobs", &blobs);
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let entries: Vec<(Vec<u8>, Vec<u8>)> = field(value, "entries")?;
        let slices: Vec<ChunkOut> = field(value, "blobs")?;
        let mut blobs = Blobs::default();
        slices.iter().for_each(|slice| blobs.put(slice.blob, slice.offset, &slice.bytes));
        Ok(Contents { entries: entries.into_iter().collect(), last: field(value, "last")?, blobs })
    }
}

/// What a device says of itself: its sessions by their ids.
impl Json for Inspect {
    fn to_json(&self) -> Value {
        let sessions = self.sessions.iter().map(|(id, state)| (id.to_string(), state.to_json()));
        let mut object = Map::new();
        object.insert("sessions".into(), sessions.collect::<Map<_, _>>().into());
        put(&mut object, "account", &self.account);
        Value::Object(object)
    }

    fn from_json(value: &Value) -> Result<Self, String> {
        let sessions = value.get("sessions").and_then(Value::as_object).ok_or("field 'sessions' is missing")?;
        let read = |(id, state): (&String, &Value)| {
            let id = segue_proto::wire::SessionId::from_hex(id).ok_or_else(|| format!("'{id}' is no session"))?;
            Ok((id, SessionState::from_json(state)?))
        };
        let sessions = sessions.iter().map(read).collect::<Result<_, String>>()?;
        Ok(Inspect { sessions, account: field(value, "account")? })
    }
}
