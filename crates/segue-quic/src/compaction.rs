//! Compaction: ops of logs and opaque parts give way to a snapshot, once all members hold it.

use std::time::Duration;

use bytes::Bytes;
use segue_proto::SessionRole;
use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::{Hash, PartId, SessionId};
use tokio::time::Instant as Clock;

use crate::driver::Driver;
use crate::error::Error;
use crate::files::wall_ms;
use crate::node::Node;

/// The least ops of a log after which the session's primary makes a snapshot of it by itself; of a log that stands on one
/// it takes as many as that covers. From: a history of some 500 KiB, which a late joiner would get an op at a time.
pub const COMPACT_AFTER: usize = 4_096;

/// A snapshot that an opaque part stands on: what the application made of the ops that aren't kept any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSnapshot {
    /// Which one it is.
    pub id: Hash,
    /// What the bytes are, as the application that made it said.
    pub format: u32,
    /// The content.
    pub bytes: Bytes,
}

impl Node {
    /// Makes a snapshot of every log of a session that has ops which none covers, and says of how many. What they cover
    /// goes, here and on all devices, once all members that were here within 90 days hold them; no root changes.
    ///
    /// A primary does it by itself for logs of more than [`COMPACT_AFTER`] ops. Opaque parts are the application's:
    /// [`Node::snapshot_part`].
    ///
    /// # Errors
    /// `UnknownSession`, `TooLarge`; [`Error::Stopped`].
    pub async fn compact(&self, session: SessionId) -> Result<usize, Error> {
        self.command("compact the session", move |driver| {
            let now = driver.now();
            let logs = driver.core.loose(&session).into_iter();
            let logs: Vec<_> = logs.filter(|(_, kind, ops)| *kind == PartKind::Log.number() && *ops > 0).collect();
            for (part, ..) in &logs {
                driver.core.compact(now, session, *part, None)?;
            }
            Ok(logs.len())
        })
        .await
    }

    /// Gives the snapshot of an opaque part: `bytes` are what the application makes of all its ops up to `upto`, the
    /// [`crate::Ops::next`] of the last page, and of nothing else; `format` says what they are, and isn't looked at here.
    /// Whoever joins later gets it instead of those ops, and trusts this device that it is what they come to. So make it
    /// of the ops, not of a document that has edits in it which aren't written yet.
    ///
    /// # Errors
    /// `Busy` if ops came meanwhile: read them, and give another; `BadPart` if there is no such part; `TooLarge`,
    /// `UnknownSession`; [`Error::Stopped`].
    pub async fn snapshot_part(
        &self,
        session: SessionId,
        part: &str,
        upto: usize,
        format: u32,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<(), Error> {
        let (part, bytes) = (named_part(&session, PartKind::Opaque, part), bytes.into());
        self.command("give the snapshot", move |driver| {
            let now = driver.now();
            driver.core.compact(now, session, part, Some((upto as u64, format, bytes)))
        })
        .await
    }

    /// How many ops of an opaque part no snapshot covers.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn loose_ops(&self, session: SessionId, part: &str) -> Result<usize, Error> {
        let part = named_part(&session, PartKind::Opaque, part);
        self.call(move |driver| driver.core.loose_in(&session, &part)).await
    }
}

impl Driver {
    /// Tells the core the time by the wall clock, every now and then.
    pub(crate) fn tell_time(&mut self) {
        let now = Clock::now();
        if self.told_time.is_none_or(|told| now.duration_since(told) >= TELL_TIME) {
            self.told_time = Some(now);
            let at = self.now();
            self.core.tell_time(at, wall_ms());
        }
    }

    /// A primary makes snapshots of logs that have grown long.
    pub(crate) fn compact_logs(&mut self, session: SessionId, parts: &[PartId]) {
        for part in parts {
            let Some(loose) = self.is_long(&session, part) else { continue };
            let now = self.now();
            match self.core.compact(now, session, *part, None) {
                Ok(()) => drop(self.too_long.remove(&(session, *part))),
                // It stays as it is, and isn't looked at again with every entry.
                Err(_) => drop(self.too_long.insert((session, *part), loose)),
            }
        }
    }

    /// The ops of a log that no snapshot covers, if it is time for one: so many that all snapshots of a log together take
    /// no more than twice what the last one does.
    fn is_long(&self, session: &SessionId, part: &PartId) -> Option<usize> {
        let state = self.core.state(session)?;
        let log =
            state.stream(part).filter(|_| state.part(part).map(|part| part.kind) == Some(PartKind::Log.number()))?;
        let covered = log.base().map_or(0, |base| base.covers.iter().map(|end| end.seq).sum());
        let tried = self.too_long.get(&(*session, *part)).copied().unwrap_or(0);
        let least = COMPACT_AFTER.max(usize::try_from(covered).unwrap_or(usize::MAX)).saturating_add(tried);
        // The first is cheap, and says no in most cases.
        let loose = Some(log.len()).filter(|held| *held > least).map(|_| self.core.loose_in(session, part))?;
        let primary = || self.core.session(session).is_some_and(|view| view.role == SessionRole::Primary);
        (loose > least && primary()).then_some(loose)
    }
}

/// How often the core is told the time by the wall clock. It counts in days.
const TELL_TIME: Duration = Duration::from_secs(3_600);
