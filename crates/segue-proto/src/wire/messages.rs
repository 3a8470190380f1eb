//! Link messages: one table of types (WIRE-TYPE-1), from which the decoder, the spec's master table and the registry come.

use alloc::vec::Vec;

use super::codec::{Blob, List, Opt, Text, decode, encode_into};
use super::custody::{Cas, DelegateMsg, Freeze, Renew};
use super::frame;
use super::ids::{ActorId, CodeBytes, DeviceId, Hash, Hlc, Nonce, PartId, SessionId, Sig};
use super::login::{LoggedIn, Login};
use super::mailbox::{Envelopes, Fetch, Invitation, KeyMsg, Letter, Put, PutOk, Sealed, Watch};
use super::meeting::{Address, Introduce, IntroduceOk, Introduced, Introduction, Relay};
use super::objects::{Final, Held, Offer, Record, Want};
use super::presence::{Discover, Found, Presence};
use super::receipt::{Receipt, Statement, Tally};
use super::roster::{Cut, CutHead, CutTip, Founding, RosterEntry};
use super::schema::{Describe, Struct, wire};
use super::signed::Signed;
use super::snapshot::{Cover, Holding, HoldingMsg, Snapshot, SnapshotMsg, StrandEnd};
use super::waking::{Wake, WakeOk};
use crate::clause::{Clause, Rules};
use crate::generations::Generation;
use crate::limits::{
    MAX_DEPS, MAX_ENTRIES, MAX_EXT, MAX_EXT_BYTES, MAX_INLINE_OPS, MAX_OP_BODY, MAX_OPS, MAX_PART, MAX_RANGES,
    MAX_RECORDS, MAX_ROSTER_HEADS, MAX_SYNC_PARTS,
};
use crate::{Code, Violation};

wire! {
    /// An extension of a message. An unknown odd id is skipped, an unknown even id refused.
    pub struct Ext {
        /// What it is.
        id: u32,
        /// Its content.
        bytes: Blob<MAX_EXT_BYTES>,
    }

    /// Says who writes as an actor: the actor is the hash of both.
    pub struct Writer {
        /// The device.
        device: DeviceId,
        /// The nonce that it drew.
        nonce: Nonce,
    }

    /// Opens a link. Each side's first frame.
    pub struct Hello {
        /// The highest generation that the sender speaks: 1 is 1.4, 2 is 1.7, 3 is 2, 4 is 7.
        generation: u8,
        /// The lowest generation that the sender accepts.
        floor: u8,
        /// Random, drawn anew whenever the sender starts.
        boot: Nonce,
        /// Extensions.
        ext: Exts,
    }

    /// Proves the sender's identity. Each side's second frame.
    pub struct Auth {
        /// The sender's key.
        key: DeviceId,
        /// Over role, key, the sender's HELLO and the channel binding.
        sig: Sig,
        /// Extensions.
        ext: Exts,
    }

    /// A request failed, or a message could not be used. The link goes on.
    pub struct Error {
        /// The request, or 0.
        req: u32,
        /// The session concerned, if any.
        session: Opt<SessionId>,
        /// The error code.
        code: CodeBytes,
        /// Whether it is known that nothing changed.
        definite: bool,
        /// Milliseconds after which it may be tried again; 0 says nothing.
        retry_after_ms: u32,
        /// Extensions.
        ext: Exts,
    }

    /// The last frame of its sender.
    pub struct Goaway {
        /// Why.
        code: CodeBytes,
        /// Extensions.
        ext: Exts,
    }

    /// Asks for a sign of life, or gives it.
    pub struct Ping {
        /// Chosen by the asker, echoed in the answer.
        nonce: u64,
        /// False asks, true answers.
        answer: bool,
        /// Extensions.
        ext: Exts,
    }

    /// What the sender knows of a session.
    pub struct Have {
        /// The request, or 0 if no answer is asked for.
        req: u32,
        /// The session.
        session: SessionId,
        /// The id of the sender's head; zero if it has none.
        head: Hash,
        /// The manifest that can be fetched from the sender, if any.
        data: Opt<Announced>,
        /// Extensions.
        ext: Exts,
    }

    /// A manifest that can be fetched.
    pub struct Announced {
        /// Its root.
        root: Hash,
        /// Its hash.
        manifest: Hash,
        /// Its length in bytes.
        manifest_len: u32,
    }

    /// Asks for a whole blob.
    pub struct Get {
        /// The request.
        req: u32,
        /// The session that the blob belongs to.
        session: SessionId,
        /// The blob's hash.
        blob: Hash,
        /// The blob's length in bytes.
        len: u64,
        /// Extensions.
        ext: Exts,
    }

    /// Asks for ranges of a blob.
    pub struct Ranges {
        /// The request.
        req: u32,
        /// The session that the blob belongs to.
        session: SessionId,
        /// The blob's hash.
        blob: Hash,
        /// The blob's length in bytes.
        len: u64,
        /// The ranges, ascending, not touching one another, none empty.
        ranges: List<Range, MAX_RANGES>,
        /// Extensions.
        ext: Exts,
    }

    /// A range of a blob.
    pub struct Range {
        /// Its first byte.
        offset: u64,
        /// Its length in bytes.
        len: u64,
    }

    /// The first frame of a bulk stream. `len` bytes of the blob follow it, without framing, and end the stream.
    pub struct Bytes {
        /// The request that it answers.
        req: u32,
        /// The blob's hash.
        blob: Hash,
        /// The first byte's place in the blob.
        offset: u64,
        /// How many bytes follow.
        len: u64,
        /// Extensions.
        ext: Exts,
    }

    /// Says up to where the sender holds the receiver's changes of a session, durably, and asks for those that follow.
    pub struct Since {
        /// The session.
        session: SessionId,
        /// The receiver's log of changes; zero asks for everything.
        log: Nonce,
        /// The position in it up to which the sender holds everything.
        at: u64,
        /// The sender's own log of changes.
        own: Nonce,
        /// Extensions.
        ext: Exts,
    }

    /// Names a strand of a log or opaque part by a number, for the OPS that follow on this link.
    pub struct Strand {
        /// The number. One that is in use comes to mean another strand.
        strand: u32,
        /// The session.
        session: SessionId,
        /// The part.
        part: PartId,
        /// The part's kind: 2 log or 4 opaque.
        kind: u16,
        /// The writer.
        actor: ActorId,
        /// From it and an op's number comes the op's salt.
        seed: Nonce,
        /// The head record under which the following ops were made.
        record: Hash,
        /// How many ops of the strand came before the next one.
        seq: u64,
        /// The time of the last of them; zero if there is none.
        hlc: Hlc,
        /// Extensions.
        ext: Exts,
    }

    /// The next ops of a strand.
    pub struct Ops {
        /// The strand's number.
        strand: u32,
        /// The ops, in order.
        ops: List<BriefOp, MAX_OPS>,
        /// Extensions.
        ext: Exts,
    }

    /// An op, without what its strand and its place in it say.
    pub struct BriefOp {
        /// The milliseconds from the strand's last op to this one.
        ms: u64,
        /// The strands that the writer had read since its last op, ascending by actor.
        deps: List<BriefDep, MAX_DEPS>,
        /// The body.
        body: Blob<MAX_OP_BODY>,
    }

    /// An op that was read: the last of its strand.
    pub struct BriefDep {
        /// The number of its strand on this link.
        strand: u32,
        /// Its number in the strand.
        seq: u64,
    }

    /// Parts with values, as the sender holds them now.
    pub struct Parts {
        /// The session.
        session: SessionId,
        /// The encodings of the parts.
        parts: List<Blob<MAX_PART>, MAX_SYNC_PARTS>,
        /// Extensions.
        ext: Exts,
    }

    /// Says that what was sent of a session so far is everything up to a position in the sender's log of changes.
    pub struct Mark {
        /// The session.
        session: SessionId,
        /// The session's name, to show to the user.
        name: Text<256>,
        /// The sender's log of changes.
        log: Nonce,
        /// The position.
        at: u64,
        /// Extensions.
        ext: Exts,
    }

    /// Asks to become the owner, or consents in advance.
    pub struct WantMsg {
        /// The request.
        req: u32,
        /// The WANT.
        want: Signed<Want>,
        /// Extensions.
        ext: Exts,
    }

    /// Makes the target the owner.
    pub struct Grant {
        /// The request that it answers, or 0 when it is sent again.
        req: u32,
        /// The WANT that the record names.
        want: Signed<Want>,
        /// The record.
        record: Signed<Record>,
        /// What the target must hold.
        end: Signed<Final>,
        /// The exclusive ops after the manifest's tips, in the order in which they were made.
        ops: List<Op, MAX_INLINE_OPS>,
        /// The encodings of exclusive parts that go whole, as they are after their last op.
        parts: List<Blob<MAX_PART>, MAX_SYNC_PARTS>,
        /// Extensions.
        ext: Exts,
    }

    /// An op of a strand, whole.
    pub struct Op {
        /// The part.
        part: PartId,
        /// The writer.
        actor: ActorId,
        /// Its number in the strand, from 1.
        seq: u64,
        /// The tips of other strands of the part that the writer had read since its last op.
        deps: List<Tip, MAX_DEPS>,
        /// When it was made, for display and tie-breaks.
        hlc: Hlc,
        /// The head record under which it was made.
        record: Hash,
        /// Hides the body's hash.
        salt: Nonce,
        /// The body.
        body: Blob<MAX_OP_BODY>,
    }

    /// The end of a strand.
    pub struct Tip {
        /// The writer.
        actor: ActorId,
        /// How many ops it has written.
        seq: u64,
        /// The hash of the last.
        hash: Hash,
    }

    /// A suffix of the sender's chain, and an acknowledgement if it owns.
    pub struct Head {
        /// The session.
        session: SessionId,
        /// Records, each the parent of the next; the last is the head unless `more`.
        records: List<Signed<Record>, MAX_RECORDS>,
        /// Whether further records follow in another HEAD.
        more: bool,
        /// The acknowledgement of the last record by its owner.
        ack: Opt<Ack>,
        /// Extensions.
        ext: Exts,
    }

    /// An owner's acknowledgement that the record that made it the owner is durable.
    pub struct Ack {
        /// The record's id.
        record: Hash,
        /// The owner's signature over it.
        sig: Sig,
    }

    /// Invites the receiver to WANT.
    pub struct OfferMsg {
        /// The request.
        req: u32,
        /// The OFFER.
        offer: Signed<Offer>,
        /// Extensions.
        ext: Exts,
    }

    /// Says no to an OFFER, or to a WANT.
    pub struct Decline {
        /// The session.
        session: SessionId,
        /// The id of the OFFER or WANT.
        subject: Hash,
        /// Why.
        code: CodeBytes,
        /// Extensions.
        ext: Exts,
    }

    /// Withdraws an OFFER or a WANT.
    pub struct Cancel {
        /// The session.
        session: SessionId,
        /// The id of the OFFER or WANT.
        subject: Hash,
        /// Why.
        code: CodeBytes,
        /// Extensions.
        ext: Exts,
    }

    /// Proves that its sender knows the invitation and stands at the end of this channel, and says what its user said.
    pub struct LinkMsg {
        /// Over the invitation's secret, the channel binding and both keys.
        proof: Hash,
        /// The name of the sender's device, to show to the user.
        name: Text<256>,
        /// Whether the sender's user has confirmed that both devices show the same check code.
        confirmed: bool,
        /// Extensions.
        ext: Exts,
    }

    /// The new device holds the account, durably.
    pub struct LinkOk {
        /// The account.
        account: Hash,
        /// Extensions.
        ext: Exts,
    }

    /// What the sender knows of its account, and entries that the receiver may lack.
    pub struct RosterMsg {
        /// The account.
        account: Hash,
        /// The sender's heads: ids of entries that no other entry cites, ascending.
        heads: List<Hash, MAX_ROSTER_HEADS>,
        /// Entries, parents before children.
        entries: List<Signed<RosterEntry>, MAX_ENTRIES>,
        /// Whether further entries follow in another ROSTER.
        more: bool,
        /// Extensions.
        ext: Exts,
    }
}

/// The extensions of a message.
pub type Exts = List<Ext, MAX_EXT>;

/// Where a message may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the control stream, as the first frame.
    First,
    /// On the control stream, as the second frame.
    Second,
    /// On the control stream, before and after AUTH.
    Always,
    /// On the control stream, after AUTH.
    Control,
    /// At the start of a bulk stream.
    Bulk,
}

/// A row of the master table of messages.
#[derive(Clone, Copy, Debug)]
pub struct MessageRow {
    /// The frame type.
    pub number: u64,
    /// The name in the spec.
    pub name: &'static str,
    /// The structure of its payload.
    pub payload: &'static str,
    /// The first generation that has it.
    pub since: Generation,
    /// Where it may be sent.
    pub place: Place,
    /// The chapter that defines it.
    pub chapter: &'static str,
}

macro_rules! messages {
    ($( $number:literal $name:ident $variant:ident($ty:ident) $since:ident $place:ident $chapter:literal, )+) => {
        /// A link message.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, clippy::large_enum_variant)]
        pub enum Message { $( $variant($ty), )+ }

        impl Message {
            /// Every message of this version.
            pub const TABLE: &'static [MessageRow] = &[ $( MessageRow {
                number: $number,
                name: stringify!($name),
                payload: stringify!($ty),
                since: Generation::$since,
                place: Place::$place,
                chapter: $chapter,
            }, )+ ];

            /// Its row in the table.
            pub fn row(&self) -> &'static MessageRow {
                let number = match self { $( Message::$variant(_) => $number, )+ };
                Self::TABLE.iter().find(|row| row.number == number).unwrap_or(&Self::TABLE[0])
            }

            /// Its extensions.
            pub fn ext(&self) -> &Exts {
                match self { $( Message::$variant(m) => &m.ext, )+ }
            }

            /// Decodes a payload; none if the type is unknown.
            pub fn decode(rules: Rules, number: u64, payload: &[u8]) -> Result<Option<Message>, Violation> {
                let message = match number {
                    $( $number => Message::$variant(decode::<$ty>(rules, payload)?), )+
                    _ => return Ok(None),
                };
                message.check(rules)?;
                Ok(Some(message))
            }

            /// Hands its payload to a serializer of the caller's, by the names of its fields.
            ///
            /// # Errors
            /// The serializer's.
            pub fn serialize_payload<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $( Message::$variant(m) => serde::Serialize::serialize(m, serializer), )+ }
            }

            fn encode_payload(&self, out: &mut Vec<u8>) {
                match self { $( Message::$variant(m) => encode_into(m, out), )+ }
            }
        }

        /// The payloads, described.
        pub fn payloads() -> Vec<Struct> {
            alloc::vec![ $( $ty::describe(), )+ ]
        }

        $( impl From<$ty> for Message {
            fn from(m: $ty) -> Message { Message::$variant(m) }
        } )+
    };
}

messages! {
    0x00 HELLO   Hello(Hello)     V1_4 First   "link",
    0x02 AUTH    Auth(Auth)       V1_4 Second  "link",
    0x04 ERROR   Error(Error)     V1_4 Control "errors",
    0x06 GOAWAY  Goaway(Goaway)   V1_4 Always  "link",
    0x08 PING    Ping(Ping)       V1_4 Control "link",
    0x10 LINK    Link(LinkMsg)    V1_4 Control "account",
    0x12 LINK_OK LinkOk(LinkOk)   V1_4 Control "account",
    0x14 ROSTER  Roster(RosterMsg) V1_4 Control "account",
    0x20 HAVE    Have(Have)       V1_4 Control "transfer",
    0x22 OPS     Ops(Ops)         V1_4 Control "sync",
    0x24 GET     Get(Get)         V1_4 Control "transfer",
    0x26 BYTES   Bytes(Bytes)     V1_4 Bulk    "transfer",
    0x28 SINCE   Since(Since)     V1_4 Control "sync",
    0x29 SNAPSHOT Snapshot(SnapshotMsg) V1_4 Control "sync",
    0x2a STRAND  Strand(Strand)   V1_4 Control "sync",
    0x2b HOLDING Holding(HoldingMsg) V1_4 Control "sync",
    0x2c PARTS   Parts(Parts)     V1_4 Control "sync",
    0x2e MARK    Mark(Mark)       V1_4 Control "sync",
    0x30 WANT    Want(WantMsg)    V1_4 Control "handoff",
    0x32 GRANT   Grant(Grant)     V1_4 Control "handoff",
    0x34 HEAD    Head(Head)       V1_4 Control "handoff",
    0x40 OFFER   Offer(OfferMsg)  V1_7 Control "handoff",
    0x42 DECLINE Decline(Decline) V1_7 Control "handoff",
    0x44 CANCEL  Cancel(Cancel)   V1_7 Control "handoff",
    0x50 RANGES  Ranges(Ranges)   V2   Control "transfer",
    0x60 PUT     Put(Put)         V1_4 Control "service",
    0x62 PUT_OK  PutOk(PutOk)     V1_4 Control "service",
    0x64 FETCH   Fetch(Fetch)     V1_4 Control "service",
    0x66 ENVELOPES Envelopes(Envelopes) V1_4 Control "service",
    0x68 WATCH   Watch(Watch)     V1_4 Control "service",
    0x6a KEY     Key(KeyMsg)      V1_4 Control "service",
    0x70 FREEZE  Freeze(Freeze)   V7   Control "service",
    0x72 CAS     Cas(Cas)         V7   Control "service",
    0x74 RENEW   Renew(Renew)     V7   Control "service",
    0x76 DELEGATE Delegate(DelegateMsg) V7 Control "service",
    0x78 DISCOVER Discover(Discover) V7 Control "service",
    0x7a FOUND   Found(Found)     V7   Control "service",
    0x7c LOGIN   Login(Login)     V7   Control "service",
    0x7e LOGGED_IN LoggedIn(LoggedIn) V7 Control "service",
    0x80 INTRODUCE Introduce(Introduce) V7 Control "service",
    0x82 INTRODUCED Introduced(Introduced) V7 Control "service",
    0x84 INTRODUCE_OK IntroduceOk(IntroduceOk) V7 Control "service",
    0x86 RELAY   Relay(Relay)     V7   Bulk    "service",
    0x88 WAKE    Wake(Wake)       V7   Control "service",
    0x8a WAKE_OK WakeOk(WakeOk)   V7   Control "service",
}

/// The structures inside payloads, and the bodies of signed objects, described.
pub fn parts() -> Vec<Struct> {
    alloc::vec![
        Ext::describe(),
        Writer::describe(),
        Announced::describe(),
        Range::describe(),
        BriefOp::describe(),
        BriefDep::describe(),
        Op::describe(),
        Tip::describe(),
        Snapshot::describe(),
        Cover::describe(),
        Holding::describe(),
        StrandEnd::describe(),
        Ack::describe(),
        Record::describe(),
        super::objects::Genesis::describe(),
        Final::describe(),
        Held::describe(),
        Want::describe(),
        Offer::describe(),
        Tally::describe(),
        Statement::describe(),
        Receipt::describe(),
        RosterEntry::describe(),
        Founding::describe(),
        Cut::describe(),
        CutTip::describe(),
        CutHead::describe(),
        crate::account::Invite::describe(),
        Letter::describe(),
        Sealed::describe(),
        Invitation::describe(),
        Presence::describe(),
        Introduction::describe(),
        Address::describe(),
    ]
}

impl Message {
    /// The whole frame.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Appends the whole frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        frame::write(self.row().number, out, |out| self.encode_payload(out));
    }

    /// The rules of form that the encoding alone can't express.
    fn check(&self, rules: Rules) -> Result<(), Violation> {
        // The extensions of this version have odd ids, so every even id is unknown.
        let skippable = self.ext().iter().all(|ext| ext.id % 2 == 1);
        rules.ensure(Clause::WIRE_EXT_1, skippable, Code::WIRE_UNKNOWN_CRITICAL)?;
        let ignored = rules.keeps(Clause::WIRE_EXT_2) || self.ext().is_empty();
        rules.ensure(Clause::WIRE_EXT_1, ignored, Code::WIRE_UNKNOWN_CRITICAL)
    }
}
