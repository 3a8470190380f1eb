//! Receipts: proof that a session was handed over, for those who weren't there.

use super::codec::{List, Opt};
use super::ids::{DeviceId, Hash, SessionId};
use super::messages::Ack;
use super::objects::{Final, Record, Want};
use super::schema::wire;
use super::signed::{Signed, SignedBody};
use crate::Violation;
use crate::clause::Rules;
use crate::limits::{MAX_CHAIN, MAX_TALLIES};

wire! {
    /// What of a session moved, or stayed, of one merge kind.
    pub struct Tally {
        /// The merge kind.
        kind: u16,
        /// How many parts.
        parts: u32,
        /// The bytes of their values, with the content of the files that they name.
        bytes: u64,
    }

    /// What a device says of a handoff beside what its records prove; it signs this.
    pub struct Statement {
        /// The session.
        session: SessionId,
        /// The record by which it was handed over.
        record: Hash,
        /// Who says so: the old owner or the new one; signs the statement.
        by: DeviceId,
        /// What FINAL covers, by merge kind, ascending.
        moved: List<Tally, MAX_TALLIES>,
        /// What its signer held beside, by merge kind, ascending: shared parts that were written since the manifest.
        left: List<Tally, MAX_TALLIES>,
    }

    /// Proof of a handoff, to be verified without either device.
    pub struct Receipt {
        /// The records from the genesis to the one that handed over, and perhaps the one that follows it; oldest first.
        chain: List<Signed<Record>, MAX_CHAIN>,
        /// The WANT that the record answers.
        want: Signed<Want>,
        /// What the new owner had to hold.
        end: Signed<Final>,
        /// The new owner's acknowledgement; it may be missing if a record of the new owner follows.
        ack: Opt<Ack>,
        /// What moved and what stayed.
        statement: Signed<Statement>,
    }
}

impl SignedBody for Statement {
    const NAME: &'static str = "statement";
    const ID_CONTEXT: &'static str = "segue/1 statement";
    const SIG_CONTEXT: &'static str = "segue/1 sig statement";
    fn check(&self, _: Rules) -> Result<(), Violation> {
        Ok(())
    }
}
