//! What the handoff machines need to know of a session's data.

use alloc::vec::Vec;

use super::receipt::Tallies;
use crate::clause::Rules;
use crate::data::{Part, Pick};
use crate::journal::Write;
use crate::wire::{ActorId, Announced, DeviceId, Final, Hash, Held, Op, PartId};
use crate::{Code, Violation};

/// A session's data as a device holds it, seen by the handoff machines.
pub trait Holdings {
    /// The session is written down from now on, and its data with it.
    fn keep(&mut self, name: &str) -> Vec<Write>;
    /// The session has a name.
    fn name_as(&mut self, name: &str);
    /// What can be fetched from this device now; `to` is told, and fetches nothing older.
    fn announce(&mut self, to: &DeviceId) -> Result<Announced, Code>;
    /// What this device holds complete, verified and durable: the newest manifest that it fetched, or its own.
    /// If that doesn't include what the source told of last, and it is held as well, it is that. Content that `pick`
    /// leaves out need not be there.
    fn held(&mut self, told: Option<&Hash>, pick: &Pick) -> Option<Held>;
    /// Whether this device holds the manifest with this hash complete, but for content that `pick` leaves out.
    fn holds(&mut self, manifest: &Hash, pick: &Pick) -> bool;
    /// What this device's user picked.
    fn pick(&self) -> Pick {
        Pick::all()
    }
    /// What of the content that its data names this device hands over, for it holds that, and its user leaves nothing of
    /// it behind; none if that is all (HO-PICK-4).
    fn partial(&self) -> Option<Pick> {
        None
    }
    /// What a FINAL would say to a target that holds `have`; none if that doesn't suffice.
    fn release(&mut self, rules: Rules, have: Option<&Held>) -> Option<Release>;
    /// Whether that would suffice. What `have` names is known from then on.
    fn suffices(&mut self, rules: Rules, have: Option<&Held>) -> bool {
        self.release(rules, have).is_some()
    }
    /// What a FINAL would say of the data as it stands now, without inline ops.
    fn standing(&mut self) -> Option<Release>;
    /// Whether the exclusive parts are those of a FINAL, and no content is missing of what this device knows of and
    /// `pick` picks. Of whoever can't tell the exclusive parts apart, the whole root.
    fn matches(&mut self, root: &Hash, exclusive: Option<&Hash>, pick: &Pick) -> bool;
    /// Whether, after a write of `len` bytes into an exclusive part, what a target lacks that holds `manifest` still goes
    /// inline in its GRANT.
    fn leaves_room(&mut self, manifest: &Hash, part: &PartId, len: usize) -> bool;
    /// Checks that the data of a FINAL is held, what is inline included. `said` is what this device's own WANT said that it
    /// holds, and what it picked of that: what it held then it holds still, though it may hold more by now.
    fn check(
        &mut self,
        rules: Rules,
        said: (Option<&Held>, &Pick),
        end: &Final,
        inline: &Inline,
    ) -> Result<(), Violation>;
    /// Makes the data of a FINAL, which was checked and comes from `from`, this device's own. Of its content this device
    /// said that it holds what `pick` picks.
    fn adopt(&mut self, end: &Final, inline: &Inline, from: DeviceId, pick: Pick) -> Vec<Write>;
    /// The head changed, and every WANT died with the old one: what they said to be held may go, but for the newest.
    fn forget_claims(&mut self) -> Vec<Write>;
    /// Keeps what was written under `record` as a labelled copy; returns the writes and how many copies they make.
    fn copy_aside(&mut self, record: &Hash) -> (Vec<Write>, usize);
    /// What of this device's data went with a FINAL on this manifest to a target that picked this, and what didn't; none
    /// if that isn't known.
    fn tally(&mut self, _manifest: &Hash, _pick: &Pick) -> Option<Tallies> {
        None
    }
    /// Whether `actor` wrote to an exclusive part, as far as is known here.
    fn wrote_exclusive(&self, actor: &ActorId) -> bool;
}

/// What a GRANT brings of exclusive parts beyond FINAL's manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inline {
    /// Ops behind the manifest's tips, in the order in which they were made.
    pub ops: Vec<Op>,
    /// Parts as they are after their last op, in the place of what the manifest has of them.
    pub parts: Vec<Part>,
}

/// What a FINAL says beside its session and parent, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    /// The root, what is inline included.
    pub root: Hash,
    /// The root of the exclusive parts alone, what is inline included.
    pub exclusive: Hash,
    /// The manifest that the target holds.
    pub manifest: Hash,
    /// Its length in bytes.
    pub manifest_len: u32,
    /// What it lacks of exclusive parts.
    pub inline: Inline,
}
