//! Compaction: ops of logs and opaque parts give way to a snapshot, once all members hold it.

use bytes::Bytes;
use segue_proto::UsageError;
use segue_proto::data::{PartKind, named_part};
use segue_proto::wire::{PartId, SessionId};

use crate::driver::Driver;
use crate::error::Error;
use crate::node::Node;

/// The ops of a log after which the session's primary makes a snapshot of it by itself. From: a history of some 500 KiB,
/// which a late joiner would get an op at a time.
pub const COMPACT_AFTER: usize = 4_096;

/// A snapshot that an opaque part stands on: what the application made of the ops that aren't kept any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSnapshot {
    /// What the bytes are, as the application that made it said.
    pub format: u32,
    /// The content.
    pub bytes: Bytes,
}

impl Node {
    /// The snapshot that an opaque part stands on, if it does: what [`Node::ops`] gives from 0 on follows it.
    ///
    /// # Errors
    /// `UnknownSession`; [`Error::Stopped`].
    pub async fn part_snapshot(&self, session: SessionId, part: &str) -> Result<Option<PartSnapshot>, Error> {
        let part = named_part(&session, PartKind::Opaque, part);
        self.command("read the snapshot", move |driver| {
            let state = driver.core.state(&session).ok_or(UsageError::UnknownSession)?;
            let base = state.stream(&part).and_then(|stream| stream.base());
            Ok(base.map(|base| PartSnapshot { format: base.format, bytes: Bytes::copy_from_slice(&base.bytes) }))
        })
        .await
    }

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
    /// [`crate::Delivered::next`] of the last; `format` says what they are, and isn't looked at here. Whoever joins later
    /// gets it instead of those ops, and trusts this device that it is what they come to.
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
        self.call(move |driver| driver.loose(&session, &part)).await
    }
}

impl Driver {
    fn loose(&self, session: &SessionId, part: &PartId) -> usize {
        let found = self.core.loose(session).into_iter().find(|(of, ..)| of == part);
        found.map_or(0, |(.., ops)| ops)
    }

    /// A primary makes snapshots of logs that have grown long.
    pub(crate) fn compact_logs(&mut self, session: SessionId, parts: &[PartId]) {
        let long = |part: &PartId| {
            let state = self.core.state(&session)?;
            let log = state.part(part)?.kind == PartKind::Log.number();
            Some(log && state.stream(part)?.len() > COMPACT_AFTER)
        };
        if !parts.iter().any(|part| long(part) == Some(true)) {
            return;
        }
        let primary = self.core.session(&session).is_some_and(|view| view.role == segue_proto::SessionRole::Primary);
        if !primary {
            return;
        }
        let now = self.now();
        for (part, kind, ops) in self.core.loose(&session) {
            if kind == PartKind::Log.number() && ops > COMPACT_AFTER {
                // What can't be compacted stays as it is.
                let _ = self.core.compact(now, session, part, None);
            }
        }
    }
}
