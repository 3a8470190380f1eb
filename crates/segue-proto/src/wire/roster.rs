//! The signed body of an account's entries.

use super::codec::{List, Opt, Text};
use super::ids::{ActorId, DeviceId, Hash, Hlc, Nonce, PartId, SessionId};
use super::schema::wire;
use super::signed::SignedBody;
use crate::clause::{Clause, Rules};
use crate::limits::{MAX_CUT_HEADS, MAX_CUT_TIPS, MAX_PARENTS};
use crate::{Code, Violation};

wire! {
    /// An entry of an account's roster: what the devices of an account are follows from its entries alone.
    pub struct RosterEntry {
        /// What it does: 0 genesis, 1 link, 2 revoke.
        kind: u8,
        /// The account: the id of its genesis; zero in the genesis itself.
        account: Hash,
        /// The ids of the entries that were the signer's heads, ascending; none in a genesis.
        parents: List<Hash, MAX_PARENTS>,
        /// Who signs it.
        signer: DeviceId,
        /// Genesis: the first device, which signs. Link: the device that joins. Revoke: the key that is revoked.
        device: DeviceId,
        /// Genesis and link: the device's name, to show to the user. Revoke: empty.
        name: Text<256>,
        /// When it was made, for display only.
        made: Hlc,
        /// In a genesis, and only there.
        genesis: Opt<Founding>,
        /// In a revoke, and only there: what of the revoked key's doing stands.
        cut: Opt<Cut>,
    }

    /// What only the first entry of an account says.
    pub struct Founding {
        /// Makes the account unique.
        nonce: Nonce,
        /// A key that may sign entries, is no device, and can't be revoked.
        recovery: Opt<DeviceId>,
    }

    /// What the signer of a revoke had accepted of the revoked device.
    pub struct Cut {
        /// The ends of its strands.
        tips: List<CutTip, MAX_CUT_TIPS>,
        /// The heads of the sessions that it took over.
        heads: List<CutHead, MAX_CUT_HEADS>,
    }

    /// The end of a strand of a revoked device.
    pub struct CutTip {
        /// The part.
        part: PartId,
        /// The writer.
        actor: ActorId,
        /// How many ops of it are accepted.
        seq: u64,
        /// The hash of the last.
        hash: Hash,
    }

    /// The head of a session, as the signer of a revoke knew it.
    pub struct CutHead {
        /// The session.
        session: SessionId,
        /// The head's id: it and all before it are accepted.
        record: Hash,
    }
}

impl SignedBody for RosterEntry {
    const NAME: &'static str = "entry";
    const ID_CONTEXT: &'static str = "segue/1 entry";
    const SIG_CONTEXT: &'static str = "segue/1 sig entry";

    fn check(&self, rules: Rules) -> Result<(), Violation> {
        let kind = EntryKind::from_number(self.kind);
        rules.ensure(Clause::WIRE_VALUE_1, kind.is_some(), Code::WIRE_VALUE)?;
        let first = kind == Some(EntryKind::Genesis);
        let revoke = kind == Some(EntryKind::Revoke);
        let ascending = self.parents.windows(2).all(|pair| pair[0] < pair[1]);
        let placed = first == self.parents.is_empty() && first == self.account.is_zero() && ascending;
        let parts = first == self.genesis.get().is_some() && revoke == self.cut.get().is_some();
        let own = !first || self.signer == self.device;
        let named = !revoke || self.name.is_empty();
        rules.ensure(Clause::ACCOUNT_ENTRY_1, placed && parts && own && named, Code::WIRE_VALUE)?;
        super::text::check_name(rules, &self.name)
    }
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// Starts an account with its first device.
    Genesis = 0,
    /// Lets a device join.
    Link = 1,
    /// Takes a key out, for good.
    Revoke = 2,
}

impl EntryKind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<EntryKind> {
        Some(match number {
            0 => EntryKind::Genesis,
            1 => EntryKind::Link,
            2 => EntryKind::Revoke,
            _ => return None,
        })
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }
}
