//! What handing a session over would move, and whether it would be refused, as far as this device knows: nothing is
//! asked for it, and nothing changes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Endpoint;
use super::session_data::SessionData;
use crate::data::{Entry, Part, Pick, State};
use crate::errors::UsageError;
use crate::generations::Generation;
use crate::sync::Change;
use crate::wire::{DeviceId, Hash, PartId, SessionId};

/// What a handoff of a session to a device would move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// What [`Endpoint::initiate_handoff`] would be refused for.
    pub refused: Option<UsageError>,
    /// The generation of the link with the device; none while there is none.
    pub generation: Option<Generation>,
    /// Whether the device consented in advance, and the consent is live: nobody is asked then.
    pub consented: bool,
    /// All parts of the session, ascending by id: FINAL covers all of them.
    pub parts: Vec<Moving>,
    /// Content that isn't here either. A device that picked it, and doesn't hold it, ends the handoff with
    /// `DATA_UNAVAILABLE`; one of generation 7 that picked all goes without (HO-PICK-5).
    pub missing: Vec<Entry>,
    /// The ops and values that are set aside (DATA-ASIDE-3). They are no part of the data, and stay.
    pub aside: usize,
}

/// A part, and what of it would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The part.
    pub part: PartId,
    /// The number of its kind: [`crate::data::PartKind`].
    pub kind: u16,
    /// The bytes of its values or ops, without the content of files.
    pub bytes: u64,
    /// Of these the bytes that the device isn't known to hold.
    pub lacking: u64,
    /// The files that it names.
    pub files: Vec<MovingFile>,
}

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovingFile {
    /// Its entry.
    pub entry: Entry,
    /// Whether the device's own WANT leaves the content out: it stays here then.
    pub left_out: bool,
    /// Whether the device is taken to hold the content: it came from there, with the session or since this device was
    /// opened, or was sent there whole since then.
    pub held: bool,
}

/// Queries.
impl Endpoint {
    /// What handing a session over to `to` would move, as far as this device knows. What the device holds beyond that
    /// isn't sent either, so the figures are the most that moves. None for an unknown session.
    pub fn outlook(&self, session: &SessionId, to: &DeviceId) -> Option<Outlook> {
        let own = self.sessions.get(session)?;
        let refused = self.may_hand_over(session, to).err();
        let data = &own.holdings;
        let pick = own.picked_by(to);
        let parts = data.state().map(|state| self.moving(state, data, to, &pick)).unwrap_or_default();
        Some(Outlook {
            refused,
            generation: self.peers.get(to).map(|peer| peer.generation),
            consented: own.has_consent(to),
            parts,
            missing: data.missing().collect(),
            aside: data.aside().len(),
        })
    }

    /// What [`Endpoint::initiate_handoff`] checks first.
    fn may_hand_over(&self, session: &SessionId, to: &DeviceId) -> Result<(), UsageError> {
        self.running()?;
        self.not_revoked(to)?;
        let session = self.sessions.get(session).ok_or(UsageError::UnknownSession)?;
        session.may_initiate(self.config.rules, to)
    }

    fn moving(&self, state: &State, data: &SessionData, to: &DeviceId, pick: &Pick) -> Vec<Moving> {
        let lacking = self.lacking(state, data, to);
        let moving = |(part, _, weight): (&Part, Hash, u64)| {
            let files = part.entries().filter(|entry| entry.len > 0);
            let came = data.changes().origin(&part.part) == Some(*to) || data.brought_by(&part.part) == Some(*to);
            // What its source lacked didn't come with the rest.
            let came_with = |entry: &Entry| came && data.came().picks(&state.session(), &part.part, &entry.path);
            let held = |entry: &Entry| came_with(entry) || self.serving.was_sent(to, &entry.blob, entry.len);
            let left_out = |entry: &Entry| !pick.picks(&state.session(), &part.part, &entry.path);
            let file = |entry: Entry| MovingFile { held: held(&entry), left_out: left_out(&entry), entry };
            let files: Vec<_> = files.map(file).collect();
            let content = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.entry.len));
            let bytes = weight.saturating_sub(content);
            let lacking = match lacking.get(&part.part) {
                Some(Lacking::Whole) => bytes,
                Some(Lacking::Ops(lacking)) => *lacking,
                None => 0,
            };
            Moving { part: part.part, kind: part.kind, bytes, lacking, files }
        };
        state.weighed().map(moving).collect()
    }

    /// What of each part a device isn't known to hold: it came from elsewhere, and the device didn't say by SINCE that
    /// it holds it.
    fn lacking(&self, state: &State, data: &SessionData, to: &DeviceId) -> BTreeMap<PartId, Lacking> {
        let held = self.fed_up_to(to, &state.session());
        let mut lacking = BTreeMap::new();
        for (at, change, from) in data.changes().after(0, None) {
            let brought = |part| data.brought_by(&part) == Some(*to);
            if at <= held || from == Some(*to) || matches!(change, Change::Part(part) if brought(part)) {
                continue;
            }
            match change {
                // A snapshot stands for ops that were let go.
                Change::Part(part) | Change::Snapshot(part, _) => drop(lacking.insert(part, Lacking::Whole)),
                Change::Holding(..) => {}
                Change::Op(part, actor, seq) => {
                    let op = state.stream(&part).and_then(|stream| stream.op(&actor, seq));
                    let more = op.map_or(0, |op| op.body.len() as u64);
                    let Lacking::Ops(sum) = lacking.entry(part).or_insert(Lacking::Ops(0)) else { continue };
                    *sum = sum.saturating_add(more);
                }
            }
        }
        lacking
    }
}

enum Lacking {
    Whole,
    Ops(u64),
}
