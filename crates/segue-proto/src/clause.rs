//! The clauses of the spec that the core enforces, and those of the transport, which the QUIC adapter does.
//!
//! Every check goes through [`Rules::ensure`] and every duty through [`Rules::keeps`], each under its clause. So a
//! violation can name what was broken, and a mutant for the suite, or a seeded mistake for the model, is one clause
//! switched off. Without the feature `testing` nothing can be switched off, and the look-up compiles to nothing.

use core::fmt;

use crate::{Code, Violation};

macro_rules! clauses {
    ($( $name:ident = $id:literal $summary:literal, )+) => {
        /// A clause of the spec.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct Clause(u16);

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Index { $( $name, )+ }

        #[allow(missing_docs)]
        impl Clause {
            $( #[doc = $summary] pub const $name: Clause = Clause(Index::$name as u16); )+

            /// Every clause that core and adapter enforce: id and summary.
            pub const TABLE: &'static [(&'static str, &'static str)] = &[ $( ($id, $summary), )+ ];
        }
    };
}

impl Clause {
    /// The permanent id, such as `HO-GRANT-1`.
    pub fn id(self) -> &'static str {
        Self::TABLE.get(usize::from(self.0)).map_or("?", |row| row.0)
    }

    /// What it demands, in a few words.
    pub fn summary(self) -> &'static str {
        Self::TABLE.get(usize::from(self.0)).map_or("?", |row| row.1)
    }

    /// The clause with this id, if it is in the table.
    pub fn from_id(id: &str) -> Option<Clause> {
        Self::TABLE.iter().position(|row| row.0 == id).and_then(|at| u16::try_from(at).ok()).map(Clause)
    }
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The clauses in force: all of them, outside of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    #[cfg(feature = "testing")]
    off: Option<Clause>,
}

impl Rules {
    /// All clauses.
    pub const ALL: Rules = Rules {
        #[cfg(feature = "testing")]
        off: None,
    };

    /// All clauses but one.
    #[cfg(feature = "testing")]
    pub const fn without(clause: Clause) -> Rules {
        Rules { off: Some(clause) }
    }

    /// Whether the duty that `clause` states is kept.
    #[inline]
    pub fn keeps(self, clause: Clause) -> bool {
        #[cfg(feature = "testing")]
        return self.off != Some(clause);
        #[cfg(not(feature = "testing"))]
        {
            let _ = clause;
            true
        }
    }

    /// Checks what `clause` demands.
    #[inline]
    pub fn ensure(self, clause: Clause, holds: bool, code: Code) -> Result<(), Violation> {
        if holds || !self.keeps(clause) { Ok(()) } else { Err(Violation::new(code, clause)) }
    }
}

clauses! {
    WIRE_CANON_1 = "WIRE-CANON-1" "every value has one encoding, and no other is accepted",
    WIRE_CANON_2 = "WIRE-CANON-2" "an encoding ends where its value does",
    WIRE_CAP_1 = "WIRE-CAP-1" "lists, strings and byte strings keep their caps",
    WIRE_STRING_1 = "WIRE-STRING-1" "names hold no control or bidirectional characters",
    WIRE_VALUE_1 = "WIRE-VALUE-1" "a field holds a value of its set",
    WIRE_SIGN_1 = "WIRE-SIGN-1" "signatures are verified strictly, over the bytes as received",
    WIRE_FRAME_1 = "WIRE-FRAME-1" "a control frame's payload is at most MAX_FRAME bytes",
    WIRE_FRAME_2 = "WIRE-FRAME-2" "an unknown frame type with an even number ends the link",
    WIRE_FRAME_3 = "WIRE-FRAME-3" "an unknown frame type with an odd number is skipped",
    WIRE_EXT_1 = "WIRE-EXT-1" "an unknown extension with an even id is refused",
    WIRE_EXT_2 = "WIRE-EXT-2" "an unknown extension with an odd id is ignored",
    LINK_HELLO_1 = "LINK-HELLO-1" "HELLO is the first frame, once",
    LINK_HELLO_2 = "LINK-HELLO-2" "HELLO names a known generation as its floor, not above its highest",
    LINK_HELLO_3 = "LINK-HELLO-3" "boot is the same on all links until the device starts again",
    LINK_AUTH_1 = "LINK-AUTH-1" "AUTH is the second frame, once, and nothing else precedes it",
    LINK_AUTH_2 = "LINK-AUTH-2" "AUTH's signature covers role, key, HELLO and channel binding",
    LINK_AUTH_3 = "LINK-AUTH-3" "the proven device is one that this device accepts",
    LINK_AUTH_4 = "LINK-AUTH-4" "the proven device is the one that was dialled",
    LINK_AUTH_5 = "LINK-AUTH-5" "nothing but HELLO, AUTH and GOAWAY leaves before both AUTHs",
    LINK_AUTH_6 = "LINK-AUTH-6" "to the peer all failures of AUTH look alike",
    LINK_GOAWAY_1 = "LINK-GOAWAY-1" "a GOAWAY is answered with LINK_SHUTDOWN",
    LINK_DUP_1 = "LINK-DUP-1" "of two links by different initiators the smaller initiator's stays",
    LINK_DUP_2 = "LINK-DUP-2" "a link with a new boot value replaces all older links of its device",
    LINK_DUP_3 = "LINK-DUP-3" "a direct link stays, and one by way of a service goes",
    LINK_PING_1 = "LINK-PING-1" "a PING is answered with its own nonce",
    LINK_IDLE_1 = "LINK-IDLE-1" "silence for IDLE ends the link",
    LINK_PROGRESS_1 = "LINK-PROGRESS-1" "HELLO, AUTH and every frame are complete in time",
    LINK_PREAUTH_1 = "LINK-PREAUTH-1" "at most MAX_PREAUTH bytes are taken before AUTH",
    LINK_QUEUE_1 = "LINK-QUEUE-1" "a peer that doesn't read loses the link",
    GEN_PICK_1 = "GEN-PICK-1" "a pair runs at the lower of the two highest generations",
    GEN_FLOOR_1 = "GEN-FLOOR-1" "below either floor there is no link",
    GEN_USE_1 = "GEN-USE-1" "a message above the link's generation is refused",
    GEN_USE_2 = "GEN-USE-2" "need and pick are empty below generation 7",
    GEN_POLICY_1 = "GEN-POLICY-1" "a policy to ask asks on every link",
    GEN_MEMBERS_1 = "GEN-MEMBERS-1" "each link goes by its own pair, whatever the other members are",
    GEN_MEMBERS_2 = "GEN-MEMBERS-2" "members of every generation are told of a new owner",
    GEN_MEMBERS_3 = "GEN-MEMBERS-3" "what a link doesn't permit ends that link alone",
    GEN_ROLLBACK_1 = "GEN-ROLLBACK-1" "a device's own floor is durable",
    HO_CHAIN_1 = "HO-CHAIN-1" "a record cites the record that it follows",
    HO_CHAIN_2 = "HO-CHAIN-2" "grant, delegate and close are signed by the parent's grantor",
    HO_CHAIN_3 = "HO-CHAIN-3" "n rises by one at every record",
    HO_CHAIN_4 = "HO-CHAIN-4" "a takeover opens the next term, every other record keeps its parent's",
    HO_CHAIN_5 = "HO-CHAIN-5" "a takeover is signed by a member, for itself",
    HO_CHAIN_6 = "HO-CHAIN-6" "nothing follows a close",
    HO_CHAIN_7 = "HO-CHAIN-7" "a session's id is bound to its genesis",
    HO_CHAIN_8 = "HO-CHAIN-8" "the fields of a record fit its kind",
    HO_HAVE_1 = "HO-HAVE-1" "a HAVE that asks is answered",
    HO_HAVE_2 = "HO-HAVE-2" "what another than the owner by the own head announces isn't fetched",
    HO_HEAD_1 = "HO-HEAD-1" "the head is the highest by term, takeover hash, n and then the smaller id; it never falls",
    HO_HEAD_2 = "HO-HEAD-2" "a lower record is answered with the chain to the head",
    HO_HEAD_3 = "HO-HEAD-3" "a HEAD acknowledges a GRANT only by its owner's signature or a record of its grantor",
    HO_HEAD_4 = "HO-HEAD-4" "HEAD acknowledges after the sync of the record, not before",
    HO_HEAD_5 = "HO-HEAD-5" "the records of a HEAD are consecutive, oldest first",
    HO_HEAD_6 = "HO-HEAD-6" "the members are told of a new owner, a takeover and a close",
    HO_HEAD_7 = "HO-HEAD-7" "members that meet tell each other their heads",
    HO_HEAD_8 = "HO-HEAD-8" "linked members are told of a session that is new",
    HO_EQUIV_1 = "HO-EQUIV-1" "two records of one key with one parent in one term are evidence, reported once",
    HO_WANT_1 = "HO-WANT-1" "a WANT cites the head as its parent and dies with it",
    HO_WANT_2 = "HO-WANT-2" "a WANT comes from its own target",
    HO_WANT_3 = "HO-WANT-3" "a WANT that answers an OFFER names the live one, made to this target",
    HO_WANT_4 = "HO-WANT-4" "only a member, or a device this one accepts for it, is granted to",
    HO_WANT_5 = "HO-WANT-5" "a WANT without an OFFER waits for the source's policy",
    HO_WANT_6 = "HO-WANT-6" "only the head's grantor answers a WANT",
    HO_WANT_7 = "HO-WANT-7" "a WANT of the device that the user chose is consent to the handoff",
    HO_WANT_8 = "HO-WANT-8" "a WANT isn't granted after its ttl",
    HO_GRANT_1 = "HO-GRANT-1" "a GRANT leaves after its record is durable, not before",
    HO_GRANT_2 = "HO-GRANT-2" "once its record is signed a source is no primary under the parent, whatever happens",
    HO_GRANT_3 = "HO-GRANT-3" "at most one record is signed under a parent",
    HO_GRANT_4 = "HO-GRANT-4" "a GRANT leaves only for a target whose WANT holds the data of its FINAL",
    HO_GRANT_5 = "HO-GRANT-5" "a GRANT answers a WANT of the target's present actor",
    HO_GRANT_6 = "HO-GRANT-6" "a target acts only on a verified FINAL, signed by the parent's owner for this record",
    HO_GRANT_7 = "HO-GRANT-7" "a target acts only if it holds all data of FINAL",
    HO_GRANT_8 = "HO-GRANT-8" "a GRANT is sent again until acknowledged",
    HO_GRANT_9 = "HO-GRANT-9" "a GRANT received again is acknowledged again and changes nothing",
    HO_GRANT_10 = "HO-GRANT-10" "the ops of a GRANT are complete, in their order",
    HO_GRANT_11 = "HO-GRANT-11" "a target that is primary by a GRANT acknowledges it",
    HO_WANT_9 = "HO-WANT-9" "the sender of a standing WANT is told when what it holds suffices no more",
    HO_PACE_1 = "HO-PACE-1" "exclusive writes that would leave the last difference no room in the GRANT wait",
    HO_GRANT_12 = "HO-GRANT-12" "exclusive parts that changed too often to go op by op go whole in the GRANT",
    HO_STANDBY_1 = "HO-STANDBY-1" "standing by keeps its limit",
    HO_STANDBY_2 = "HO-STANDBY-2" "standing by is no wish",
    HO_OFFER_1 = "HO-OFFER-1" "an OFFER comes from the head's owner over its own link",
    HO_OFFER_2 = "HO-OFFER-2" "an OFFER is made to this device",
    HO_OFFER_3 = "HO-OFFER-3" "a session has one live offer; a new one voids the old",
    HO_OFFER_4 = "HO-OFFER-4" "offers of one peer are limited to MAX_OFFERS a minute",
    HO_OFFER_5 = "HO-OFFER-5" "no WANT answers an OFFER before the user or standing policy accepts it",
    HO_OFFER_6 = "HO-OFFER-6" "a device that seeks the session takes an OFFER of it as accepted",
    HO_DECLINE_1 = "HO-DECLINE-1" "DECLINE ends the handoff that it names, before the GRANT only",
    HO_REASON_1 = "HO-REASON-1" "the reason in a DECLINE is given to the user with the end of the handoff",
    HO_REASON_2 = "HO-REASON-2" "a reason that isn't fit to be shown counts as none",
    HO_REASON_3 = "HO-REASON-3" "the user's reason for a rejection goes with its DECLINE",
    HO_CANCEL_1 = "HO-CANCEL-1" "CANCEL voids the offer or WANT that it names, before the GRANT only",
    HO_CANCEL_2 = "HO-CANCEL-2" "a primary says of a WANT that is withdrawn that it wasn't granted",
    HO_TIME_1 = "HO-TIME-1" "every request ends by its deadline; before the GRANT the source stays primary",
    HO_TIME_2 = "HO-TIME-2" "a source whose deadline passes after the GRANT reports that it is pending",
    HO_TIME_3 = "HO-TIME-3" "a target whose wish ends with a WANT out reports the outcome once it is known",
    HO_RECEIPT_1 = "HO-RECEIPT-1" "a receipt's chain, WANT, FINAL and proof that the new owner has the record agree",
    HO_RECEIPT_2 = "HO-RECEIPT-2" "what moved and what stayed is stated by the old owner or the new one",
    HO_RECEIPT_3 = "HO-RECEIPT-3" "no receipt of a handoff is given before it is acknowledged",
    HO_PICK_1 = "HO-PICK-1" "a WANT names what its target's user picked, and promises that alone",
    HO_PICK_2 = "HO-PICK-2" "content that isn't picked isn't asked for",
    HO_PICK_3 = "HO-PICK-3" "what a new owner left out is served by those that hold it",
    HO_PICK_4 = "HO-PICK-4" "a device that left content out says so of the manifests that it announces",
    HO_PICK_5 = "HO-PICK-5" "a target that picked nothing takes what the source holds",
    HO_PICK_6 = "HO-PICK-6" "what is picked later is asked for then",
    HO_WRITE_1 = "HO-WRITE-1" "exclusive parts are written by the primary under the head only",
    HO_WRITE_2 = "HO-WRITE-2" "a fenced primary's writes are kept as a labelled copy",
    HO_STORE_1 = "HO-STORE-1" "a store without proven continuity owns nothing and signs no record until granted anew",
    HO_STORE_2 = "HO-STORE-2" "a store without proven continuity takes new actors",
    HO_STORE_3 = "HO-STORE-3" "a failed sync halts the device",
    HO_TAKE_1 = "HO-TAKE-1" "a takeover is signed by a member that isn't primary already",
    HO_CLOSE_1 = "HO-CLOSE-1" "closing is a record without owner",
    HO_MEMBER_1 = "HO-MEMBER-1" "only members and accepted devices learn of a session",
    DATA_OP_1 = "DATA-OP-1" "an op's hash follows from its strand's and its header",
    DATA_OP_3 = "DATA-OP-3" "an actor never uses an op number twice",
    DATA_OP_4 = "DATA-OP-4" "an op names as read, ascending, tips of other strands of its part; an exclusive op the value's",
    DATA_OP_5 = "DATA-OP-5" "only ops of exclusive parts that the manifest holds travel inline",
    DATA_OP_7 = "DATA-OP-7" "a part that goes whole in a GRANT is exclusive, and goes once",
    DATA_KIND_1 = "DATA-KIND-1" "a part keeps its kind",
    DATA_FORK_1 = "DATA-FORK-1" "an op number of a writer names one op",
    DATA_MERGE_1 = "DATA-MERGE-1" "what neither copy of a part knows to be replaced stays",
    DATA_STREAM_1 = "DATA-STREAM-1" "an op of a log or opaque part is taken in once, after those that its writer had read",
    DATA_WRITER_1 = "DATA-WRITER-1" "the device of a writer is named before what it wrote",
    DATA_ASIDE_1 = "DATA-ASIDE-1" "ops past a cut of a log or opaque part are set aside, unless a member's op that stands read them",
    DATA_ASIDE_2 = "DATA-ASIDE-2" "values past a cut are set aside, and what a copy with such a value knows besides counts for nothing",
    DATA_ASIDE_3 = "DATA-ASIDE-3" "what is set aside is kept and shown",
    DATA_SNAPSHOT_1 = "DATA-SNAPSHOT-1" "a snapshot's content is what it names, and its ends are those that the device holds",
    DATA_SNAPSHOT_2 = "DATA-SNAPSHOT-2" "ops go once every member that isn't stale holds a snapshot of them",
    DATA_SNAPSHOT_3 = "DATA-SNAPSHOT-3" "a log's snapshot is its entries",
    DATA_SNAPSHOT_4 = "DATA-SNAPSHOT-4" "a device that lacks what a snapshot covers goes on from it and keeps what is beyond",
    DATA_SNAPSHOT_5 = "DATA-SNAPSHOT-5" "an op that had read what is in a snapshot comes with its hashes",
    DATA_ROOT_1 = "DATA-ROOT-1" "the root recomputes from parts and strands",
    DATA_MANIFEST_1 = "DATA-MANIFEST-1" "parts and strands ascend, and each part's value is a tip of one of its strands",
    DATA_MANIFEST_2 = "DATA-MANIFEST-2" "an entry's chunk list is there exactly if the blob is longer than a chunk",
    DATA_MANIFEST_3 = "DATA-MANIFEST-3" "a manifest is for its own session",
    DATA_MANIFEST_4 = "DATA-MANIFEST-4" "entries that name one blob agree about its length",
    DATA_MANIFEST_5 = "DATA-MANIFEST-5" "an announced manifest has 1 to MAX_MANIFEST bytes",
    DATA_ENTRY_1 = "DATA-ENTRY-1" "directories and removed files name no blob, empty files the hash of nothing",
    DATA_NAME_1 = "DATA-NAME-1" "paths are relative, without dot segments, control characters or device names",
    SYNC_READ_1 = "SYNC-READ-1" "changes of a session go to those who may read it, and are taken from them alone",
    SYNC_SINCE_1 = "SYNC-SINCE-1" "a peer is fed what follows the position up to which it holds everything",
    SYNC_STRAND_1 = "SYNC-STRAND-1" "ops are of a strand that was named on the link",
    SYNC_MARK_1 = "SYNC-MARK-1" "a position is held once all before it is durable, not before",
    SYNC_WHOLE_1 = "SYNC-WHOLE-1" "a device says that it holds all content once it does, durably",
    SYNC_HOLDING_1 = "SYNC-HOLDING-1" "a device says that it holds a snapshot once it does, durably",
    SYNC_RANK_1 = "SYNC-RANK-1" "of two copies of an exclusive part the one under the higher record stays",
    SYNC_OWN_1 = "SYNC-OWN-1" "the primary takes no exclusive value from others",
    TRANSFER_CHUNK_1 = "TRANSFER-CHUNK-1" "every chunk matches the hash in its list before it is used",
    TRANSFER_WHOLE_1 = "TRANSFER-WHOLE-1" "listed content is held once the whole has the hash that is its id",
    TRANSFER_LIST_1 = "TRANSFER-LIST-1" "a chunk list covers its blob exactly, with chunks of permitted sizes",
    TRANSFER_BYTES_1 = "TRANSFER-BYTES-1" "bulk bytes are for a request that is outstanding",
    TRANSFER_BYTES_2 = "TRANSFER-BYTES-2" "a range starts and ends at chunks of its blob",
    TRANSFER_NEWER_1 = "TRANSFER-NEWER-1" "a target asks for what there is now when what was announced is gone",
    TRANSFER_REFETCH_1 = "TRANSFER-REFETCH-1" "after MAX_REFETCH bad answers a fetch is given up",
    TRANSFER_ANSWER_1 = "TRANSFER-ANSWER-1" "a request that nothing answers is given up and made again",
    TRANSFER_RESUME_1 = "TRANSFER-RESUME-1" "at generation 2 no verified chunk is asked for again",
    TRANSFER_CUT_1 = "TRANSFER-CUT-1" "content is cut into chunks by what it holds",
    TRANSFER_REUSE_1 = "TRANSFER-REUSE-1" "at generation 2 chunks of what content replaces aren't asked for",
    TRANSFER_ORDER_1 = "TRANSFER-ORDER-1" "what is short is asked for before what is long",
    TRANSFER_ORDER_2 = "TRANSFER-ORDER-2" "what becomes missing is asked for while long content is on its way",
    TRANSFER_SERVE_1 = "TRANSFER-SERVE-1" "blobs are served to those who may read the session",
    TRANSFER_SERVE_2 = "TRANSFER-SERVE-2" "a peer has at most MAX_REQUESTS requests outstanding",
    TRANSFER_HAVE_1 = "TRANSFER-HAVE-1" "data is durable before a WANT says that it is held",
    ERR_SEND_1 = "ERR-SEND-1" "an ERROR names the session of its request",
    ERR_DEFINITE_1 = "ERR-DEFINITE-1" "definite in an ERROR says what its code says",
    LIMIT_ROOM_1 = "LIMIT-ROOM-1" "no room is made by dropping what was taken in",
    ACCOUNT_ENTRY_1 = "ACCOUNT-ENTRY-1" "the fields of an entry fit its kind, and its account is its genesis",
    ACCOUNT_ENTRY_2 = "ACCOUNT-ENTRY-2" "an entry whose parents aren't known counts for nothing",
    ACCOUNT_ENTRY_3 = "ACCOUNT-ENTRY-3" "the signer of an entry was linked in the entry's own past",
    ACCOUNT_COUNT_1 = "ACCOUNT-COUNT-1" "a revoke counts if its signer was a member in the revoke's own past",
    ACCOUNT_COUNT_2 = "ACCOUNT-COUNT-2" "a link counts if its signer's does, and every counted revoke of the signer has it in its past",
    ACCOUNT_COUNT_3 = "ACCOUNT-COUNT-3" "a revoked key never returns",
    ACCOUNT_COUNT_4 = "ACCOUNT-COUNT-4" "the recovery key can't be revoked",
    ACCOUNT_ROSTER_1 = "ACCOUNT-ROSTER-1" "devices of an account that meet tell each other their roster's heads",
    ACCOUNT_ROSTER_2 = "ACCOUNT-ROSTER-2" "a device of the account is sent the entries that it lacks, after a change at once",
    ACCOUNT_ROSTER_3 = "ACCOUNT-ROSTER-3" "a ROSTER is taken from devices of the account only",
    ACCOUNT_ROSTER_4 = "ACCOUNT-ROSTER-4" "an entry leaves after it is durable, not before",
    ACCOUNT_INVITE_1 = "ACCOUNT-INVITE-1" "an invitation is used once",
    ACCOUNT_INVITE_2 = "ACCOUNT-INVITE-2" "an invitation lives for INVITE_TTL at most",
    ACCOUNT_LINK_1 = "ACCOUNT-LINK-1" "LINK proves the invitation's secret over this channel",
    ACCOUNT_LINK_2 = "ACCOUNT-LINK-2" "until it is linked, a device that is let in by an invitation may only link",
    ACCOUNT_LINK_3 = "ACCOUNT-LINK-3" "nothing is signed before both users have confirmed",
    ACCOUNT_LINK_4 = "ACCOUNT-LINK-4" "a new device takes an account only after its own user has confirmed",
    ACCOUNT_LINK_5 = "ACCOUNT-LINK-5" "LINK_OK leaves after the account is durable, not before",
    ACCOUNT_LINK_6 = "ACCOUNT-LINK-6" "a new device takes only a roster in which the device that it linked with, and itself, are members",
    ACCOUNT_LINK_7 = "ACCOUNT-LINK-7" "linking ends CONFIRM_TIMEOUT after the check code is there",
    ACCOUNT_REVOKE_1 = "ACCOUNT-REVOKE-1" "a revoked device is refused at AUTH",
    ACCOUNT_TRUST_1 = "ACCOUNT-TRUST-1" "a member of the account may read and ask for every session",
    ACCOUNT_REVOKE_2 = "ACCOUNT-REVOKE-2" "the links of a device that is revoked end at once",
    ACCOUNT_REVOKE_3 = "ACCOUNT-REVOKE-3" "a revoked device is granted nothing and served nothing",
    ACCOUNT_REVOKE_4 = "ACCOUNT-REVOKE-4" "revoking an owner or grantor includes a takeover",
    ACCOUNT_REVOKE_5 = "ACCOUNT-REVOKE-5" "a takeover by a revoked device outside of the cut isn't admitted",
    SERVICE_SEAL_1 = "SERVICE-SEAL-1" "what a mailbox holds of a session is sealed whole under a content key of the session",
    SERVICE_SEAL_2 = "SERVICE-SEAL-2" "an envelope counts only if it opens under the key of its box",
    SERVICE_SIGN_1 = "SERVICE-SIGN-1" "a letter counts only as its sender signed it, for this session and box",
    SERVICE_READ_1 = "SERVICE-READ-1" "letters are taken from members and devices of the account alone, and not from revoked ones",
    SERVICE_FRAME_1 = "SERVICE-FRAME-1" "a letter holds HEAD, STRAND, OPS, PARTS, SNAPSHOT, HOLDING and MARK of its session alone",
    SERVICE_COUNT_1 = "SERVICE-COUNT-1" "a letter that is missing before another is reported",
    SERVICE_KEY_1 = "SERVICE-KEY-1" "a content key goes to devices that may read its session alone",
    SERVICE_KEY_2 = "SERVICE-KEY-2" "a content key is taken from devices that may read its session alone",
    SERVICE_KEY_3 = "SERVICE-KEY-3" "nothing is put under a key that a revoked device may hold",
    SERVICE_INVITE_1 = "SERVICE-INVITE-1" "an invitation counts only as its sender signed it, for this device",
    SERVICE_PUT_1 = "SERVICE-PUT-1" "an envelope leaves once what it tells is durable, not before",
    SERVICE_PUT_2 = "SERVICE-PUT-2" "what is in a box isn't put there again",
    SERVICE_PUT_3 = "SERVICE-PUT-3" "what a mailbox refused for want of room is put again later",
    SERVICE_CONTENT_1 = "SERVICE-CONTENT-1" "content that a device holds is put where its entries are",
    SERVICE_CONTENT_2 = "SERVICE-CONTENT-2" "content that a device lacks is looked for in a mailbox",
    SERVICE_CONTENT_3 = "SERVICE-CONTENT-3" "pieces of content are taken in their order, and what isn't next is passed over",
    SERVICE_ROSTER_1 = "SERVICE-ROSTER-1" "entries of the roster are put for every device of the account that may lack them",
    SERVICE_ROSTER_2 = "SERVICE-ROSTER-2" "entries of the roster are taken from devices of the account alone",
    SERVICE_FETCH_1 = "SERVICE-FETCH-1" "an offset is written down with or after what came before it",
    SERVICE_FETCH_2 = "SERVICE-FETCH-2" "envelopes follow the offset that was asked for",
    SERVICE_BACK_1 = "SERVICE-BACK-1" "a mailbox that lost envelopes is given everything again",
    SERVICE_PEER_1 = "SERVICE-PEER-1" "from a mailbox nothing is taken but what it was asked for",
    SERVICE_NONE_1 = "SERVICE-NONE-1" "a device that hosts no mailbox says so",
    SERVICE_HOST_1 = "SERVICE-HOST-1" "an envelope that is in its box already isn't put again",
    SERVICE_HOST_2 = "SERVICE-HOST-2" "PUT_OK leaves once the envelope is durable, not before",
    SERVICE_HOST_3 = "SERVICE-HOST-3" "a full box refuses envelopes and loses none",
    SERVICE_HOST_4 = "SERVICE-HOST-4" "a device has so many requests outstanding at a mailbox, and no more",
    SERVICE_HOST_5 = "SERVICE-HOST-5" "FETCH is answered with what follows its offset, in order",
    SERVICE_HOST_6 = "SERVICE-HOST-6" "WATCH is answered once something follows its offset",
    ACCOUNT_CUT_1 = "ACCOUNT-CUT-1" "a revoke's cut names the ends of the revoked device's strands as its signer holds them",
    ACCOUNT_CUT_2 = "ACCOUNT-CUT-2" "of a revoked device's strands stands what all who revoked it let stand",
    SERVICE_DELEGATE_1 = "SERVICE-DELEGATE-1" "a device delegates to a service that holds the session's chain, and names its tenure",
    SERVICE_FREEZE_1 = "SERVICE-FREEZE-1" "an owner that asks for its FINAL's signature writes no more under that head",
    SERVICE_FREEZE_2 = "SERVICE-FREEZE-2" "FREEZE leaves after it is durable, and again on every link until the head changes",
    SERVICE_FREEZE_3 = "SERVICE-FREEZE-3" "an owner freezes for a target that it would have granted the session",
    SERVICE_VIA_1 = "SERVICE-VIA-1" "of the grantor's link an owner takes WANT and DECLINE of others, a target OFFER and CANCEL of the owner",
    SERVICE_WANT_1 = "SERVICE-WANT-1" "a WANT goes to the grantor, if that isn't the owner",
    SERVICE_SHOW_1 = "SERVICE-SHOW-1" "a grantor that is linked is shown the head of each session that names it",
    SERVICE_SHOW_2 = "SERVICE-SHOW-2" "an OFFER is shown, and a DECLINE passed on, with the extensions with which it came",
    SERVICE_HELD_1 = "SERVICE-HELD-1" "a WANT names a FINAL that it heard of once its exclusive parts, and all content that is picked, are here",
    SERVICE_TAKE_1 = "SERVICE-TAKE-1" "a target acts on a takeover by the grantor that answers a WANT of its present actor",
    SERVICE_LOOK_1 = "SERVICE-LOOK-1" "a grantor learns of the chain, and of nothing else",
    SERVICE_FORK_1 = "SERVICE-FORK-1" "a grantor that signed two records under one parent, or shows a head below one that it showed, is reported",
    SERVICE_RENEW_1 = "SERVICE-RENEW-1" "an owner asks its grantor for a lease, and again after a third of it",
    SERVICE_CAS_1 = "SERVICE-CAS-1" "a session is changed only if its head is the one that the change is for",
    SERVICE_CAS_2 = "SERVICE-CAS-2" "nothing tells of a change before it is durable",
    SERVICE_CAS_3 = "SERVICE-CAS-3" "a record is set only if the head is its parent",
    SERVICE_GRANTOR_1 = "SERVICE-GRANTOR-1" "only the head's grantor takes FREEZE, RENEW, DELEGATE, WANT and OFFER",
    SERVICE_GRANTOR_2 = "SERVICE-GRANTOR-2" "FREEZE, RENEW, DELEGATE and OFFER are of the owner, under the head",
    SERVICE_GRANTOR_3 = "SERVICE-GRANTOR-3" "a grantor grants only what the owner froze, for the device that it named",
    SERVICE_GRANTOR_4 = "SERVICE-GRANTOR-4" "a grantor grants to a WANT that holds the FINAL",
    SERVICE_GRANTOR_5 = "SERVICE-GRANTOR-5" "to a device below generation 7 a grantor gives the session back to its owner's hands",
    SERVICE_GRANTOR_6 = "SERVICE-GRANTOR-6" "a grantor sends what made an owner again until that acknowledges",
    SERVICE_GRANTOR_7 = "SERVICE-GRANTOR-7" "a grantor signs no second record under one parent",
    SERVICE_LEASE_1 = "SERVICE-LEASE-1" "a grantor takes over from an owner whose lease ran out, and from no other",
    SERVICE_LEASE_2 = "SERVICE-LEASE-2" "a session whose owner's lease ran out goes to a member that wants it",
    SERVICE_TENURE_1 = "SERVICE-TENURE-1" "a grantor signs only under a delegate that names its present tenure",
    SERVICE_SEEN_1 = "SERVICE-SEEN-1" "a service tells a device of those alone that named it",
    SERVICE_SEEN_2 = "SERVICE-SEEN-2" "of those it tells whether they have a link, of which generation, or since when they have none",
    SERVICE_SEEN_3 = "SERVICE-SEEN-3" "whom a device names takes the place of whom it named before, and stays when its link ends",
    SERVICE_LOGIN_1 = "SERVICE-LOGIN-1" "a service that demands accounts lets nothing begin of a device that is under none",
    SERVICE_LOGIN_2 = "SERVICE-LOGIN-2" "a token brings a device under its account only if it is valid, here and now",
    SERVICE_LOGIN_3 = "SERVICE-LOGIN-3" "a device that a token brought under an account needs none on later links",
    SERVICE_LOGIN_4 = "SERVICE-LOGIN-4" "what goes on in custody needs no account: no session is locked in",
    SERVICE_LOGIN_5 = "SERVICE-LOGIN-5" "where handing over is switched off nothing of it begins, and envelopes go on",
    SERVICE_LOGIN_6 = "SERVICE-LOGIN-6" "what the devices of an account put counts together",
    SERVICE_LOGIN_7 = "SERVICE-LOGIN-7" "a device that has a token logs in before it asks for anything else",
    SERVICE_LOGIN_8 = "SERVICE-LOGIN-8" "a device that was told to log in asks for nothing until it did",
    SERVICE_LOGIN_9 = "SERVICE-LOGIN-9" "a token goes to the service that it was given for, and to no other device",
    SERVICE_MEET_1 = "SERVICE-MEET-1" "a service passes an introduction on to a device that is there, as it came",
    SERVICE_MEET_2 = "SERVICE-MEET-2" "but only between devices that named one another, and says nothing of others",
    SERVICE_MEET_3 = "SERVICE-MEET-3" "a service passes on no more introductions of a device than a minute has room for",
    SERVICE_MEET_4 = "SERVICE-MEET-4" "an introduction is sealed for the device that the user chose",
    SERVICE_MEET_5 = "SERVICE-MEET-5" "no device is met but one that is vouched for, or a member, and not revoked",
    SERVICE_MEET_6 = "SERVICE-MEET-6" "an introduction counts with the signature of the device that is named, for this one",
    SERVICE_MEET_7 = "SERVICE-MEET-7" "an introduction counts once, and an answer only for what it answers",
    SERVICE_MEET_8 = "SERVICE-MEET-8" "an introduction is answered by one, and an answer isn't",
    SERVICE_MEET_9 = "SERVICE-MEET-9" "no address is dialled at which nobody can be",
    SERVICE_MEET_10 = "SERVICE-MEET-10" "no more introductions of a service are opened than a minute has room for",
    SERVICE_MEET_11 = "SERVICE-MEET-11" "who is dialled by an introduction and is another is offered nothing, and reported",
    SERVICE_RELAY_1 = "SERVICE-RELAY-1" "a service passes packets on to a device that is there, as they came",
    SERVICE_RELAY_2 = "SERVICE-RELAY-2" "but only between devices that named one another, and says nothing of others",
    SERVICE_RELAY_3 = "SERVICE-RELAY-3" "a service passes on no more streams of packets of a device, or to one, than it has room for",
    SERVICE_RELAY_4 = "SERVICE-RELAY-4" "how a stream of packets ends on one side, it ends on the other",
    SERVICE_RELAY_5 = "SERVICE-RELAY-5" "packets that a device doesn't take are dropped, and hold up no other's",
    SERVICE_RELAY_6 = "SERVICE-RELAY-6" "who passes no packets on says so",
    SERVICE_RELAY_7 = "SERVICE-RELAY-7" "packets are taken of a mailbox, and of a device that may be met",
    SERVICE_RELAY_8 = "SERVICE-RELAY-8" "a packet has a length, and no more than its cap",
    SERVICE_WAKE_1 = "SERVICE-WAKE-1" "a service uses its way of waking for a device that is away, and that named the sender as that named it",
    SERVICE_WAKE_2 = "SERVICE-WAKE-2" "it uses it for no other, and says nothing of those",
    SERVICE_WAKE_3 = "SERVICE-WAKE-3" "a device that has a link isn't woken",
    SERVICE_WAKE_4 = "SERVICE-WAKE-4" "no device is woken, nor has others woken, more often than ten minutes have room for",
    SERVICE_WAKE_5 = "SERVICE-WAKE-5" "a service that has no way of waking devices says so",
    ACCOUNT_TELL_1 = "ACCOUNT-TELL-1" "the user of every device is told who was linked and revoked",
    TRANSPORT_VERSION_1 = "TRANSPORT-VERSION-1" "version 1 of QUIC is spoken, and no other",
    TRANSPORT_ALPN_1 = "TRANSPORT-ALPN-1" "no other application protocol is spoken",
    TRANSPORT_CERT_1 = "TRANSPORT-CERT-1" "whoever shows a certificate holds its key",
    TRANSPORT_TICKET_1 = "TRANSPORT-TICKET-1" "a responder sends no session tickets",
    TRANSPORT_EARLY_1 = "TRANSPORT-EARLY-1" "there is no early data",
    TRANSPORT_BIND_1 = "TRANSPORT-BIND-1" "the channel binding is the exporter's output under one label",
    TRANSPORT_STREAM_1 = "TRANSPORT-STREAM-1" "there is one control stream, by the initiator",
    TRANSPORT_STREAM_2 = "TRANSPORT-STREAM-2" "a link is down when its control stream ends",
    TRANSPORT_STREAM_3 = "TRANSPORT-STREAM-3" "a bulk stream that can't be used is stopped with its code",
    TRANSPORT_STREAM_4 = "TRANSPORT-STREAM-4" "there are no bulk streams before AUTH",
    TRANSPORT_IDLE_1 = "TRANSPORT-IDLE-1" "QUIC's idle timeout isn't shorter than Segue's",
    TRANSPORT_CLOSE_1 = "TRANSPORT-CLOSE-1" "a link that ends with a code closes the connection with it",
    TRANSPORT_LIMIT_1 = "TRANSPORT-LIMIT-1" "before AUTH there is little flow-control credit",
    SEC_STORE_1 = "SEC-STORE-1" "a store that holds what can't have been written isn't opened",
}
