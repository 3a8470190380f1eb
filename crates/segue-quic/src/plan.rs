//! Dry runs: what a handoff would move and how long it would take, and whether it would be refused.

use std::time::Duration;

use bytes::Bytes;
use segue_proto::data::Entry;
use segue_proto::transfer::{ChunkList, ChunkRef};
use segue_proto::wire::codec::decode;
use segue_proto::wire::{DeviceId, Hash, SessionId, Tally};
use segue_proto::{Ability, Generation, Moving, MovingFile, Outlook, Rules};
use tokio::task::spawn_blocking;

use crate::driver::Driver;
use crate::error::Error;
use crate::handoff_error::HandoffError;
use crate::node::Node;
use crate::storage::Storage;

/// What handing a session over would do, as far as this device knows without asking. What the other device holds beyond
/// that isn't sent either, so the bytes and chunks are the most that moves; the time is the least that these take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandoffPlan {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// The device that it would go to.
    pub to: DeviceId,
    /// What [`Node::initiate_handoff`] would end with, were it called now; none if it would begin.
    pub refused: Option<HandoffError>,
    /// The link with the device; none while there is none.
    pub link: Option<LinkInfo>,
    /// Whether the device consented in advance; else its user is asked.
    pub consented: bool,
    /// The parts that the device would hold in the end, by merge kind, with the bytes of their values, ops and files.
    pub parts: Vec<Tally>,
    /// The files, in the order of their parts.
    pub files: Vec<PlannedFile>,
    /// The most bytes that would be sent: content, chunk lists, values and ops that the device isn't known to hold.
    pub bytes: u64,
    /// The bytes that it is taken to hold already: they came from there with the session, or since this node was opened,
    /// were sent there since then, or it said so.
    pub held: u64,
    /// What would stay behind.
    pub stays: Vec<Stays>,
    /// The least time from the call to its end if all of `bytes` moves, syncs and the other user's answer not counted; not
    /// known without a link.
    pub at_least: Option<Duration>,
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Its generation.
    pub generation: Generation,
    /// The round trip, as measured.
    pub round_trip: Duration,
    /// The bytes that congestion control lets be on their way at present.
    pub window: u64,
    /// Whether it goes by way of a service.
    pub relayed: bool,
}

/// A file of a session, and its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its path in the session.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// Whether the device is taken to hold its content.
    pub held: bool,
    /// Its chunks, if it has more than one.
    pub chunks: Vec<ChunkRef>,
}

/// Something that doesn't come along.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stays {
    /// Content that this device lacks itself. A device that picked it and doesn't hold it ends the handoff with
    /// `DATA_UNAVAILABLE`; one of generation 7 that picked everything goes without.
    Missing {
        /// The file's path.
        path: String,
        /// Its length in bytes.
        len: u64,
    },
    /// Content that the other device's user didn't pick: it stays here, for when it is asked for.
    NotPicked {
        /// The file's path.
        path: String,
        /// Its length in bytes.
        len: u64,
    },
    /// What revoked devices wrote past their cut: [`Node::set_aside`]. It is no part of the session, and stays here.
    SetAside {
        /// How many ops and values.
        count: usize,
    },
    /// What this device wrote to exclusive parts while another owned, as labelled copies: they stay here.
    Copies {
        /// How many.
        count: usize,
    },
}

impl LinkInfo {
    /// The bytes a second that it lets through at present.
    pub fn rate(&self) -> u64 {
        let micros = self.round_trip.as_micros().max(1);
        u64::try_from(u128::from(self.window) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }

    /// The least time for messages of so many round trips, and bytes that a window which doubles at each lets through.
    pub fn at_least(&self, messages: u32, bytes: u64) -> Duration {
        let (mut trips, mut left, mut window) = (messages, bytes, self.window.max(1));
        while left > window {
            left -= window;
            window = window.saturating_mul(2);
            trips += 1;
        }
        self.round_trip * trips
    }

    /// What the device isn't able to do over it, because of its generation.
    pub fn lacks(&self) -> Vec<Ability> {
        self.generation.lacks().collect()
    }
}

impl PlannedFile {
    /// How many chunks a device asks for that holds none of them; its chunk list is one of its own.
    pub fn pieces(&self) -> u64 {
        if self.len == 0 { 0 } else { self.chunks.len().max(1) as u64 + u64::from(!self.chunks.is_empty()) }
    }
}

impl HandoffPlan {
    /// The most chunks that would be sent, chunk lists included.
    pub fn chunks(&self) -> u64 {
        self.files.iter().filter(|file| !file.held).map(PlannedFile::pieces).sum()
    }

    /// The same if so many bytes were sent instead.
    pub fn at_least_for(&self, bytes: u64) -> Option<Duration> {
        Some(self.link?.at_least(self.messages(bytes), bytes))
    }

    /// The round trips of the messages alone: WANT, GRANT and HEAD; an OFFER before them; a manifest, lists and content.
    fn messages(&self, bytes: u64) -> u32 {
        let asked = if self.consented { 1 } else { 2 };
        let listed = self.files.iter().any(|file| !file.held && !file.chunks.is_empty());
        asked + u32::from(bytes > 0) * 2 + u32::from(listed)
    }
}

impl Node {
    /// What handing a session over to `to` would move, what would stay, how long it would take, and whether it would be
    /// refused: a dry run. Nothing is written, sent or asked for it; link the two devices before, for what the link tells.
    ///
    /// # Errors
    /// The node has stopped. A handoff that can't be is no error here, but [`HandoffPlan::refused`].
    pub async fn plan_handoff(&self, session: SessionId, to: DeviceId) -> Result<HandoffPlan, Error> {
        let seen = self.call(move |driver| driver.look_ahead(session, to)).await?;
        let Seen { mut plan, copies, outlook } = seen;
        let Some(outlook) = outlook else { return Ok(plan) };
        let storage = self.storage()?;
        let files = spawn_blocking(move || {
            let files = outlook.parts.iter().flat_map(|part| &part.files).filter(|file| !file.left_out);
            let files: Vec<_> = files.map(|file| planned(&storage, file)).collect();
            (outlook, files)
        });
        let (outlook, files) = files.await.map_err(|_| Error::Stopped)?;
        plan.consented = outlook.consented;
        plan.parts = tallies(&outlook.parts);
        plan.stays = stays(&outlook, copies);
        for part in &outlook.parts {
            let files = part.files.iter().filter(|file| !file.left_out);
            let (there, here): (Vec<_>, Vec<_>) = files.partition(|file| file.held);
            let sum = |files: Vec<&MovingFile>| files.into_iter().map(|file| weight(&file.entry)).sum::<u64>();
            plan.bytes += part.lacking + sum(here);
            plan.held += part.bytes.saturating_sub(part.lacking) + sum(there);
        }
        plan.files = files;
        plan.at_least = plan.at_least_for(plan.bytes);
        Ok(plan)
    }

    /// What is known of the link with a device; none if there is none.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn link_info(&self, device: DeviceId) -> Result<Option<LinkInfo>, Error> {
        self.call(move |driver| driver.link_info(&device)).await
    }
}

impl HandoffPlan {
    /// Of a session of which nothing is known.
    fn unknown(session: SessionId, to: DeviceId, link: Option<LinkInfo>) -> HandoffPlan {
        HandoffPlan {
            session,
            name: String::new(),
            to,
            refused: Some(HandoffError::UnknownSession { session }),
            link,
            consented: false,
            parts: Vec::new(),
            files: Vec::new(),
            bytes: 0,
            held: 0,
            stays: Vec::new(),
            at_least: None,
        }
    }
}

/// What the driver knows of it.
struct Seen {
    plan: HandoffPlan,
    copies: usize,
    outlook: Option<Outlook>,
}

impl Driver {
    fn look_ahead(&self, session: SessionId, to: DeviceId) -> Seen {
        let mut plan = HandoffPlan::unknown(session, to, self.link_info(&to));
        let outlook = self.core.outlook(&session, &to);
        let (Some(outlook), Some(view)) = (outlook, self.core.session(&session)) else {
            return Seen { plan, copies: 0, outlook: None };
        };
        let refused = outlook.refused.map(|error| self.usage(error, session, to));
        // It would wait for the device until its deadline.
        let offline = || (!self.is_linked(&to)).then_some(HandoffError::Offline { session, device: to });
        plan.refused = self.may_initiate(session, to).err().or(refused).or_else(offline);
        plan.name = view.name;
        Seen { plan, copies: view.copies, outlook: Some(outlook) }
    }
}

fn planned(storage: &Storage, file: &MovingFile) -> PlannedFile {
    let Entry { path, len, chunks, .. } = &file.entry;
    let list = chunks.get().and_then(|list| read(storage, &list.hash, u64::from(list.len)));
    let list = list.and_then(|bytes| decode::<ChunkList>(Rules::ALL, &bytes).ok());
    let chunks = list.map(|list| list.chunks.to_vec()).unwrap_or_default();
    PlannedFile { path: path.to_string(), len: *len, held: file.held, chunks }
}

fn read(storage: &Storage, blob: &Hash, len: u64) -> Option<Bytes> {
    storage.kept(blob).or_else(|| {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        storage.open(blob, len)?.read_exact_at(0, &mut bytes).ok()?;
        Some(bytes.into())
    })
}

/// The bytes of a file's content and of its chunk list.
fn weight(entry: &Entry) -> u64 {
    entry.len + entry.chunks.get().map_or(0, |list| u64::from(list.len))
}

fn tallies(parts: &[Moving]) -> Vec<Tally> {
    let mut sums: Vec<Tally> = Vec::new();
    for part in parts {
        let content: u64 = part.files.iter().map(|file| file.entry.len).sum();
        let at = sums.binary_search_by_key(&part.kind, |tally| tally.kind);
        let at = at.unwrap_or_else(|at| {
            sums.insert(at, Tally { kind: part.kind, parts: 0, bytes: 0 });
            at
        });
        sums[at].parts += 1;
        sums[at].bytes += part.bytes + content;
    }
    sums
}

fn stays(outlook: &Outlook, copies: usize) -> Vec<Stays> {
    let missing = outlook.missing.iter().map(|entry| Stays::Missing { path: entry.path.to_string(), len: entry.len });
    let left_out = outlook.parts.iter().flat_map(|part| &part.files).filter(|file| file.left_out);
    let left_out = left_out.map(|file| Stays::NotPicked { path: file.entry.path.to_string(), len: file.entry.len });
    let aside = (outlook.aside > 0).then_some(Stays::SetAside { count: outlook.aside });
    let copies = (copies > 0).then_some(Stays::Copies { count: copies });
    missing.chain(left_out).chain(aside).chain(copies).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(generation: Generation) -> LinkInfo {
        LinkInfo { generation, round_trip: Duration::from_millis(100), window: 10_000, relayed: false }
    }

    fn plan() -> HandoffPlan {
        let link = Some(link(Generation::V2));
        HandoffPlan::unknown(SessionId::new([1; 16]), DeviceId::new([2; 32]), link)
    }

    #[test]
    fn the_least_time_grows_with_the_bytes_as_a_window_does_that_doubles() {
        // OFFER, WANT, GRANT and HEAD take two round trips.
        let plan = plan();
        let trips = |bytes| plan.at_least_for(bytes).unwrap().as_millis() / 100;
        assert_eq!(trips(0), 2);
        assert_eq!(trips(10_000), 4);
        assert_eq!(trips(10_001), 5);
        assert_eq!(trips(30_000), 5);
        assert_eq!(trips(70_000), 6);
        assert_eq!(trips(70_001), 7);
    }

    #[test]
    fn who_isnt_linked_is_told_no_time() {
        assert_eq!(HandoffPlan { link: None, ..plan() }.at_least_for(1), None);
        assert_eq!(link(Generation::V2).rate(), 100_000);
    }
}
