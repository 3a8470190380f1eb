//! A device as the simulation sees it: plain data in, plain data out.
//!
//! Nothing here knows how a device is made. [`LocalDevice`] runs the core in this process; the conformance suite puts
//! a child process behind the same trait.

mod accounts;
mod audit;
mod blobs;
mod local;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use segue_proto::wire::{ActorId, DeviceId, Hash, PartId, SessionId};
use segue_proto::{
    Batch, Clause, Code, Continuity, Event, Generation, HandoffId, Instant, LinkId, Lsn, Policy, Role, SessionRole,
    Token,
};

pub use blobs::Blobs;
pub use local::LocalDevice;

/// A device in virtual time. It never waits and never fails: what goes wrong inside it shows in its outputs.
pub trait Device {
    /// Something happened to the device.
    fn input(&mut self, now: Instant, input: Input) -> Outputs;

    /// The device's application asks for something. A refusal is the application's own mistake and changes nothing.
    fn command(&mut self, now: Instant, command: Command) -> (Result<Reply, Refusal>, Outputs);

    /// What the device says of itself.
    fn inspect(&mut self, now: Instant) -> Inspect;

    /// Whether the device holds all that a manifest of the session names and a WANT's `pick` picks; none if it can't be
    /// asked.
    fn holds(&mut self, session: SessionId, manifest: Hash, pick: &[PartId]) -> Option<bool> {
        let _ = (session, manifest, pick);
        None
    }
}

/// Who a device is, and what its application set.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The Ed25519 secret key.
    pub identity: [u8; 32],
    /// The highest generation to speak.
    pub generation: Generation,
    /// The lowest generation to accept.
    pub floor: Generation,
    /// Who decides on requests to hand over.
    pub pulls: Policy,
    /// Whether devices that aren't trusted may link.
    pub accept_unknown: bool,
    /// Whether sessions that linked devices tell of are followed without being asked for.
    pub follow: bool,
    /// The devices that the application vouches for.
    pub trusted: Vec<DeviceId>,
    /// The clause that the device doesn't keep: a mutant.
    pub without: Option<Clause>,
    /// How far the device's wall clock is off, in milliseconds.
    pub wall_offset_ms: i64,
}

impl Setup {
    /// An honest device of the newest generation that trusts nobody yet.
    pub fn new(identity: [u8; 32]) -> Setup {
        Setup {
            identity,
            generation: Generation::V7,
            floor: Generation::V1_4,
            pulls: Policy::Ask,
            accept_unknown: false,
            follow: false,
            trusted: Vec::new(),
            without: None,
            wall_offset_ms: 0,
        }
    }

    /// The key pair.
    pub fn key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.identity)
    }

    /// The device's id: its public key.
    pub fn device(&self) -> DeviceId {
        DeviceId::new(self.key().verifying_key().to_bytes())
    }
}

/// All that a device is started with.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Who it is.
    pub setup: Setup,
    /// Random bytes, different at every start.
    pub entropy: [u8; 32],
    /// What its disk holds; empty for a new device.
    pub disk: Contents,
    /// Whether the disk is known to go on from where it stopped.
    pub continuity: Continuity,
}

impl Start {
    /// A new device with an empty disk.
    pub fn fresh(setup: Setup, entropy: [u8; 32]) -> Start {
        Start { setup, entropy, disk: Contents::default(), continuity: Continuity::Proven }
    }
}

/// What a disk holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The journal: what all durable batches left behind.
    pub entries: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The LSN of the last durable batch.
    pub last: Lsn,
    /// Slices of blobs.
    pub blobs: Blobs,
}

/// What may happen to a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A transport connection is up.
    LinkUp {
        /// The device's own number for it; never used twice.
        link: LinkId,
        /// Who dialled.
        role: Role,
        /// The channel binding, the same at both ends.
        binding: [u8; 32],
        /// Who was dialled, if this device did.
        expect: Option<DeviceId>,
    },
    /// Bytes of the control stream, split anywhere.
    Bytes {
        /// The link.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The transport connection is gone.
    LinkDown {
        /// The link.
        link: LinkId,
    },
    /// Bytes of a unidirectional stream, split anywhere.
    Bulk {
        /// The link.
        link: LinkId,
        /// The stream, numbered by its sender on this link.
        stream: u64,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether they are the last.
        fin: bool,
    },
    /// A unidirectional stream broke off.
    BulkReset {
        /// The link.
        link: LinkId,
        /// The stream.
        stream: u64,
    },
    /// All batches up to this one, and the chunks that they come after, are durable.
    Durable {
        /// The last durable batch.
        lsn: Lsn,
    },
    /// The disk failed to write or to sync.
    StoreFailed,
    /// Time passed; nothing else happened.
    Time,
}

/// What an application may ask of its device.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Vouches for a device.
    Trust {
        /// The device.
        device: DeviceId,
    },
    /// Vouches for it no longer.
    Distrust {
        /// The device.
        device: DeviceId,
    },
    /// Creates a session. It exists once [`Event::Created`] says so.
    Create {
        /// Its name.
        name: String,
        /// Its members besides this device.
        members: Vec<DeviceId>,
    },
    /// Writes a whole file.
    WriteFile {
        /// The session.
        session: SessionId,
        /// The file's path.
        path: String,
        /// Its content.
        content: Vec<u8>,
    },
    /// Writes the value of the session's exclusive part.
    WriteExclusive {
        /// The session.
        session: SessionId,
        /// The value.
        bytes: Vec<u8>,
    },
    /// Writes an op into a part of any kind.
    Write {
        /// The session.
        session: SessionId,
        /// The part; it comes to be with its first op.
        part: PartId,
        /// The part's kind, as on the wire.
        kind: u16,
        /// The op's body.
        body: Vec<u8>,
        /// Whether it stands for all values in conflict.
        resolves: bool,
    },
    /// Takes part in a session without asking to own it.
    Follow {
        /// The session; it may be unknown.
        session: SessionId,
        /// A device that takes part.
        from: DeviceId,
    },
    /// Stands by for a session that it doesn't take part in.
    StandBy {
        /// The session.
        session: SessionId,
        /// The bytes that may be asked for; 0 ends it.
        limit: u64,
    },
    /// Picks of which files the content comes, from now on.
    Pick {
        /// The session; it may be unknown.
        session: SessionId,
        /// The folders whose files are picked, the empty one for files in none; without any, all.
        folders: Vec<String>,
    },
    /// Removes a file.
    Remove {
        /// The session.
        session: SessionId,
        /// The file's path.
        path: String,
    },
    /// Hands the session to another device.
    Initiate {
        /// The session.
        session: SessionId,
        /// The target.
        to: DeviceId,
        /// Microseconds until the deadline.
        timeout_us: u64,
    },
    /// Withdraws the handoff that is under way.
    CancelHandoff {
        /// The session.
        session: SessionId,
    },
    /// Asks another device for the session.
    Request {
        /// The session.
        session: SessionId,
        /// The source.
        from: DeviceId,
        /// Microseconds until the deadline.
        timeout_us: u64,
    },
    /// Consents in advance to become the owner.
    Consent {
        /// The session.
        session: SessionId,
        /// The device that may hand over.
        to: DeviceId,
        /// Microseconds for which the consent holds.
        ttl_us: u64,
    },
    /// Says yes to a request that waits.
    Accept {
        /// The request.
        token: Token,
    },
    /// Says no to a request that waits.
    Reject {
        /// The request.
        token: Token,
        /// Why, for the other user.
        reason: Option<String>,
    },
    /// Takes the session over, by the user's word.
    Takeover {
        /// The session.
        session: SessionId,
    },
    /// Ends the session.
    Close {
        /// The session.
        session: SessionId,
    },
    /// Ends a link.
    CloseLink {
        /// The link.
        link: LinkId,
        /// The code that the peer is told.
        code: Code,
    },
    /// Ends all links in good order.
    Shutdown,
    /// Starts an account with this device as its first.
    CreateAccount {
        /// The device's name.
        name: String,
    },
    /// Invites a device of an account to link this one.
    Invite {
        /// The device's name.
        name: String,
    },
    /// Links the device that made an invitation, as soon as it has a link.
    AcceptLink {
        /// The invitation's text.
        invite: String,
    },
    /// The user has compared the check codes.
    ConfirmLink {
        /// The other device.
        device: DeviceId,
        /// Whether they are the same.
        yes: bool,
    },
    /// Gives a receipt of a handoff.
    Receipt {
        /// The session.
        session: SessionId,
        /// The record that handed it over.
        record: Hash,
    },
    /// Verifies a receipt, of whatever session.
    VerifyReceipt {
        /// What its file holds.
        receipt: Vec<u8>,
    },
    /// Makes a snapshot of a part: of a log by itself, of an opaque part with this content.
    Compact {
        /// The session.
        session: SessionId,
        /// The part.
        part: PartId,
        /// The content, if the part is opaque.
        content: Option<Vec<u8>>,
    },
    /// Takes in what is set aside of a writer in a part.
    TakeIn {
        /// The session.
        session: SessionId,
        /// The part.
        part: PartId,
        /// The writer.
        actor: ActorId,
    },
    /// Revokes a device of the account.
    Revoke {
        /// The device.
        device: DeviceId,
    },
    /// Uses a device as mailbox, whenever it has a link, until the device stops.
    UseMailbox {
        /// The device.
        mailbox: DeviceId,
    },
    /// Hosts a mailbox from now on, until the device stops. What it keeps outlasts that. A bound that isn't named is as
    /// the spec says.
    HostMailbox {
        /// The envelopes in a box.
        box_envelopes: Option<u64>,
        /// The bytes in a box.
        box_bytes: Option<u64>,
        /// The bytes that a device may put.
        device_bytes: Option<u64>,
        /// The bytes in all.
        bytes: Option<u64>,
    },
    /// Hosts a mailbox with the bounds of the spec, and keeps sessions in custody, until the device stops.
    HostCustody {
        /// The longest lease of an owner, in microseconds; 0 gives none.
        lease_us: u64,
    },
    /// Demands accounts of those that use the mailbox which it hosts, until the device stops: these and no others.
    DemandAccounts {
        /// The accounts.
        accounts: Vec<AccountTerms>,
    },
    /// Has a service sign the session's next record.
    Delegate {
        /// The session.
        session: SessionId,
        /// The service.
        service: DeviceId,
        /// Microseconds until the deadline.
        timeout_us: u64,
    },
    /// Asks the service to leave that to this device again.
    Reclaim {
        /// The session.
        session: SessionId,
        /// Microseconds until the deadline.
        timeout_us: u64,
    },
    /// Asks a service which devices are there; [`Event::Found`] tells.
    Discover {
        /// The service.
        service: DeviceId,
        /// The devices.
        devices: Vec<DeviceId>,
    },
    /// Logs in at a service, now and on every later link; [`Event::Login`] tells.
    Login {
        /// The service.
        service: DeviceId,
        /// The token.
        token: Vec<u8>,
    },
    /// Takes part in introductions: devices that may know it are told where it can be dialled.
    MeetAt {
        /// The addresses.
        addresses: Vec<SocketAddr>,
    },
    /// Has a service introduce this device to another; [`Event::Introduced`] and [`Event::NotIntroduced`] tell.
    Introduce {
        /// The service.
        service: DeviceId,
        /// The other device.
        to: DeviceId,
    },
    /// The mailbox that it hosts has devices woken from now on, until the device stops: [`Outputs::wakes`] says which.
    WakeDevices,
    /// Asks a service to have a device woken; [`Event::Woken`] tells.
    Wake {
        /// The service.
        service: DeviceId,
        /// The device.
        device: DeviceId,
    },
}

/// An account of a service, as a test's operator has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountTerms {
    /// Its name.
    pub name: String,
    /// The token that is valid for it; empty if there is none.
    pub token: Vec<u8>,
    /// For how many microseconds from now the token is valid, and lets a device in; none for good.
    pub ttl_us: Option<u64>,
    /// The devices that need no token.
    pub devices: Vec<DeviceId>,
    /// Whether handing over is switched off.
    pub no_handoff: bool,
    /// The bytes that its devices may put; none as the spec has it.
    pub bytes: Option<u64>,
}

impl Command {
    /// Hosts a mailbox with the bounds of the spec.
    pub const HOST: Command =
        Command::HostMailbox { box_envelopes: None, box_bytes: None, device_bytes: None, bytes: None };
}

/// What a command gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// The session being created.
    Session(SessionId),
    /// The write is acknowledged once this LSN is durable.
    Written(Lsn),
    /// The handoff under way.
    Handoff(HandoffId),
    /// An invitation's text.
    Invite(String),
    /// A receipt, as its file holds it.
    Receipt(Vec<u8>),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of the same meaning.
    pub code: Code,
    /// The reason in words.
    pub text: String,
}

/// All that a device has to say after an input or a command.
///
/// Chunks come before batches: a batch with `after_chunks` may only be durable once the chunks of this output, and of
/// all before it, are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Bytes for the control streams.
    pub control: Vec<(LinkId, Vec<u8>)>,
    /// Bytes for unidirectional streams.
    pub bulk: Vec<BulkOut>,
    /// Links to close once their bytes are sent.
    pub closes: Vec<(LinkId, Code)>,
    /// Slices of blobs that the disk is to hold.
    pub chunks: Vec<ChunkOut>,
    /// Changes of the journal.
    pub batches: Vec<Batch>,
    /// What the application is told.
    pub events: Vec<Event>,
    /// Devices for which the operator's way of waking them is used.
    pub wakes: Vec<DeviceId>,
    /// When the device wants [`Input::Time`], if ever.
    pub timeout: Option<Instant>,
}

impl Outputs {
    /// Whether the device said nothing but when it wants to be woken.
    pub fn is_silent(&self) -> bool {
        self.control.is_empty()
            && self.bulk.is_empty()
            && self.closes.is_empty()
            && self.chunks.is_empty()
            && self.batches.is_empty()
            && self.events.is_empty()
            && self.wakes.is_empty()
    }
}

/// Bytes for a unidirectional stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkOut {
    /// The link.
    pub link: LinkId,
    /// The stream: a new number opens one.
    pub stream: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether they are the last.
    pub fin: bool,
}

/// A slice of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkOut {
    /// The blob.
    pub blob: Hash,
    /// Where the slice starts.
    pub offset: u64,
    /// The slice.
    pub bytes: Vec<u8>,
}

/// What a device says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspect {
    /// Its sessions.
    pub sessions: BTreeMap<SessionId, SessionState>,
    /// Its account.
    pub account: Option<AccountState>,
}

/// An account as a device knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// Its id.
    pub account: Hash,
    /// Its devices, ascending.
    pub members: Vec<DeviceId>,
    /// The keys that are revoked, ascending.
    pub revoked: Vec<DeviceId>,
}

/// A session as a device holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionState {
    /// What the device may do.
    pub role: SessionRole,
    /// The head record.
    pub head: Hash,
    /// The head's parent; zero for a genesis.
    pub parent: Hash,
    /// The head's term.
    pub term: u64,
    /// The takeover record that opened the term; zero in term 0.
    pub taker: Hash,
    /// The head's number.
    pub n: u64,
    /// The owner that the head names.
    pub owner: Option<DeviceId>,
    /// Who signs the next record.
    pub grantor: Option<DeviceId>,
    /// Whether the device is entitled to what the head gives it.
    pub entitled: bool,
    /// The root of the session's data.
    pub root: Hash,
    /// The live files: path and BLAKE3 hash of the content held; zero where the content isn't held whole.
    pub files: BTreeMap<String, Hash>,
    /// The live files: path and BLAKE3 hash of the content, held or not.
    pub named: BTreeMap<String, Hash>,
    /// The contents of files that lost to the one shown, and are kept until they are resolved.
    pub conflicts: BTreeMap<String, Vec<Hash>>,
    /// The value of the exclusive part, if it was ever written.
    pub exclusive: Option<Vec<u8>>,
    /// The labelled copies kept of what was fenced.
    pub copies: usize,
    /// The target of a GRANT that isn't acknowledged.
    pub pending: Option<DeviceId>,
    /// How many ops and values are set aside; none if the device doesn't say.
    pub aside: Option<u64>,
    /// How many ops of logs and opaque parts are kept, one by one; none if the device doesn't say.
    pub kept: Option<u64>,
}
