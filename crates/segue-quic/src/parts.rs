//! A session's data that every device of it writes: registers, logs, and parts of the application's own kind.
//!
//! A part has a name, which all devices turn into the same id ([`segue_proto::data::named_part`]), so two devices that
//! begin to write one before they meet write the same part. What is written is acknowledged once it is durable here
//! (DATA-OP-6); it reaches the devices that follow the session by itself, now or when they meet.

use bytes::Bytes;
use segue_proto::data::{Delivered as Held, PartKind, Stream, named_part};
use segue_proto::wire::{ActorId, DeviceId, PartId, SessionId};
use segue_proto::{Lsn, UsageError};

use crate::compaction::PartSnapshot;
use crate::conflicts::{Version, is_settled, versions};
use crate::driver::Driver;
use crate::error::Error;
use crate::files::wall_ms;
use crate::node::Node;

/// The bytes of ops that one call of [`Node::ops`] returns, unless the first alone has more. From: guess; an
/// application that reads a long history holds a piece of it at a time.
pub const OPS_PAGE: usize = 1 << 20;

/// A register as this device holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The value that is shown: the one with the highest time.
    pub shown: Version,
    /// Values that were written without knowing of the one that is shown; the latest first.
    pub conflicts: Vec<Version>,
}

impl Register {
    /// The bytes of the value that is shown.
    pub fn value(&self) -> &[u8] {
        &self.shown.body
    }
}

/// An entry of a log, or an op of an opaque part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Who wrote it.
    pub writer: ActorId,
    /// Whether that is this device, as it writes now.
    pub own: bool,
    /// Its number among the writer's, from 1.
    pub seq: u64,
    /// When it was made, in milliseconds since 1970, by the writer's clock.
    pub time_ms: u64,
    /// What was written.
    pub body: Bytes,
}

/// Some of the ops of an opaque part: what [`Node::ops`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ops {
    /// What the part is to be made anew from, with these ops and those behind them: ops that weren't read yet are in a
    /// snapshot now. None if these ops just follow those that were read.
    pub snapshot: Option<PartSnapshot>,
    /// The ops, in the order in which this device took them in.
    pub ops: Vec<Delivered>,
    /// Where to go on.
    pub next: usize,
}

/// Taking part.
impl Node {
    /// Takes part in a session that `from` tells of, without owning it: its data is kept up to date here, and may be
    /// contributed to. Returns once all that `from` had of it when the devices were linked is held here, durably
    /// (SYNC-MARK-1). The session is followed from then on, over restarts too, and from every device of it.
    ///
    /// Waits as long as there is no link, so it may take as long as the other device is away. Dropping the future stops
    /// the waiting, not the following.
    ///
    /// # Errors
    /// [`Error::Follow`] if `from` doesn't know the session or doesn't let this device read it (HO-MEMBER-1,
    /// SYNC-READ-1); `SelfTarget`, `TooLarge` if there is no room for a session; [`Error::Stopped`].
    pub async fn follow(&self, session: SessionId, from: DeviceId) -> Result<(), Error> {
        let told = self.command("follow the session", move |driver| {
            let now = driver.now();
            if from == driver.core.device() {
                return Err(UsageError::SelfTarget);
            }
            driver.core.follow(now, session, from)?;
            Ok(driver.waits.follow(session, from))
        });
        told.await?.await.unwrap_or(Err(Error::Stopped))
    }

    /// The linked devices that follow a session, and how many of the changes that this device has each isn't known to
    /// hold durably.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn followers(&self, session: SessionId) -> Result<Vec<(DeviceId, u64)>, Error> {
        self.call(move |driver| driver.core.followers(&session)).await
    }

    /// Who this device is as a writer in a session; none if it doesn't take part.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn writer(&self, session: SessionId) -> Result<Option<ActorId>, Error> {
        self.call(move |driver| driver.core.actor(&session)).await
    }
}

/// Registers.
impl Node {
    /// Writes a register's value, at most 16 KiB, and waits until it is durable. It replaces the values that this device
    /// knows; one that another device writes meanwhile stays beside it (DATA-MERGE-1).
    ///
    /// # Errors
    /// `Conflicted` if the register has several values, unless the node's strategy says that a write stands for all:
    /// [`Node::resolve`]. `TooLarge`, `UnknownSession`, `NotMember`, `Closed`; [`Error::Stopped`].
    pub async fn write_register(&self, session: SessionId, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        let part = named_part(&session, PartKind::Register, name);
        self.write_part("write the register", session, part, PartKind::Register, vec![value.into()]).await
    }

    /// A register: the value that is shown (DATA-VALUE-1), and those in conflict with it. None if it was never written,
    /// as far as this device knows.
    ///
    /// # Errors
    /// `UnknownSession`; [`Error::Stopped`].
    pub async fn register(&self, session: SessionId, name: &str) -> Result<Option<Register>, Error> {
        let part = named_part(&session, PartKind::Register, name);
        self.command("read the register", move |driver| {
            let state = driver.core.state(&session).ok_or(UsageError::UnknownSession)?;
            let Some(part) = state.part(&part) else { return Ok(None) };
            let mut versions = versions(&driver.core, &session, part).into_iter();
            let Some(shown) = versions.next() else { return Ok(None) };
            let conflicts = if is_settled(part) { Vec::new() } else { versions.collect() };
            Ok(Some(Register { shown, conflicts }))
        })
        .await
    }
}

/// Logs and opaque parts.
impl Node {
    /// Adds an entry to a log, at most 16 KiB, and waits until it is durable.
    ///
    /// # Errors
    /// `TooLarge` also if the log has all the entries that it may; `UnknownSession`, `NotMember`, `Closed`;
    /// [`Error::Stopped`].
    pub async fn append(&self, session: SessionId, name: &str, entry: impl Into<Vec<u8>>) -> Result<(), Error> {
        let part = named_part(&session, PartKind::Log, name);
        self.write_part("add to the log", session, part, PartKind::Log, vec![entry.into()]).await
    }

    /// A log, in its order: the same on every device that holds the same entries, and each entry behind those that its
    /// writer had read (DATA-LOG-1). Empty if it was never written.
    ///
    /// # Errors
    /// `UnknownSession`; [`Error::Stopped`].
    pub async fn log(&self, session: SessionId, name: &str) -> Result<Vec<Delivered>, Error> {
        let part = named_part(&session, PartKind::Log, name);
        let entries = self.read_stream("read the log", session, part, |stream, own| {
            stream.in_order().into_iter().map(|op| delivered(op, own)).collect()
        });
        Ok(entries.await?.unwrap_or_default())
    }

    /// Adds an op to an opaque part, at most 16 KiB, and waits until it is durable. Calls that are made one after the
    /// other, even if none was awaited, are ops in that order.
    ///
    /// # Errors
    /// As [`Node::append`].
    pub async fn push_op(&self, session: SessionId, part: &str, op: impl Into<Vec<u8>>) -> Result<(), Error> {
        self.push_ops(session, part, vec![op.into()]).await
    }

    /// Adds several ops to an opaque part, with one wait for all.
    ///
    /// # Errors
    /// As [`Node::append`]. Ops before the one that failed may be written.
    pub async fn push_ops(&self, session: SessionId, part: &str, ops: Vec<Vec<u8>>) -> Result<(), Error> {
        let id = named_part(&session, PartKind::Opaque, part);
        self.write_part("write the op", session, id, PartKind::Opaque, ops).await
    }

    /// The ops of an opaque part from a place on, 0 at first, in the order in which this device took them in: each once,
    /// and each after those that its writer had read (DATA-STREAM-1). Own ones are among them. About [`OPS_PAGE`] bytes,
    /// so ask again from [`Ops::next`] until there are none; [`crate::Event::Changed`] tells of more,
    /// [`crate::Event::Reread`] that what was made of them is to be made anew, from 0.
    ///
    /// Ops that every device holds in a snapshot ([`Node::snapshot_part`]) aren't kept: if some of them weren't read yet, the
    /// answer has the snapshot, and what was made of the part is to be made anew from it.
    ///
    /// # Errors
    /// `UnknownSession`; [`Error::Stopped`].
    pub async fn ops(&self, session: SessionId, part: &str, from: usize) -> Result<Ops, Error> {
        let part = named_part(&session, PartKind::Opaque, part);
        let none = Ops { snapshot: None, ops: Vec::new(), next: from };
        let page = self.read_stream("read the ops", session, part, move |stream, own| page(stream, own, from));
        Ok(page.await?.unwrap_or(none))
    }

    async fn write_part(
        &self,
        what: &'static str,
        session: SessionId,
        part: PartId,
        kind: PartKind,
        bodies: Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let written = self.command(what, move |driver| {
            let lsn = if kind.has_values() {
                let mut lsn = Lsn::default();
                for body in bodies {
                    lsn = driver.write_shared(session, part, kind, body)?;
                }
                lsn
            } else {
                driver.append_all(session, part, kind, bodies)?
            };
            Ok(driver.waits.durable(lsn))
        });
        written.await?.await.unwrap_or(Err(Error::Stopped))
    }

    /// What is read of a log or opaque part; none if it was never written.
    async fn read_stream<R: Send + 'static>(
        &self,
        what: &'static str,
        session: SessionId,
        part: PartId,
        read: impl FnOnce(&Stream, ActorId) -> R + Send + 'static,
    ) -> Result<Option<R>, Error> {
        self.command(what, move |driver| {
            let state = driver.core.state(&session).ok_or(UsageError::UnknownSession)?;
            let own = driver.core.actor(&session).ok_or(UsageError::UnknownSession)?;
            Ok(state.stream(&part).map(|stream| read(stream, own)))
        })
        .await
    }
}

impl Driver {
    /// Adds to a log or opaque part, in batches that aren't too long for the journal. Nothing is written of no ops.
    fn append_all(
        &mut self,
        session: SessionId,
        part: PartId,
        kind: PartKind,
        mut bodies: Vec<Vec<u8>>,
    ) -> Result<Lsn, UsageError> {
        let mut lsn = Lsn::default();
        while !bodies.is_empty() {
            let rest = bodies.split_off(bodies.len().min(BATCH));
            let written = self.core.append(self.now(), wall_ms(), session, part, kind.number(), bodies);
            self.compact_logs(session, &[part]);
            (lsn, bodies) = (written?, rest);
        }
        Ok(lsn)
    }

    /// Writes to a shared part. Values in conflict are all replaced if they are the same, or if the strategy says so.
    pub(crate) fn write_shared(
        &mut self,
        session: SessionId,
        part: PartId,
        kind: PartKind,
        body: Vec<u8>,
    ) -> Result<Lsn, UsageError> {
        let held = self.core.state(&session).and_then(|state| state.part(&part));
        let resolves = held.is_some_and(|part| is_settled(part) || self.strategy.writes_over());
        let (now, wall, kind) = (self.now(), wall_ms(), kind.number());
        let written = match resolves {
            true => self.core.resolve(now, wall, session, part, kind, body),
            false => self.core.write(now, wall, session, part, kind, body),
        };
        self.compact_logs(session, &[part]);
        written
    }
}

/// The ops of a batch at most: 4 MiB if all are as long as can be. From: guess; a commit of the journal takes many batches.
const BATCH: usize = 256;

/// What an op takes beside its body, about.
const OP: usize = 64;

fn page(stream: &Stream, own: ActorId, from: usize) -> Ops {
    let begins = stream.begins();
    let snapshot = stream.base().filter(|_| (from as u64) < begins).map(|base| PartSnapshot {
        id: base.id,
        format: base.format,
        bytes: Bytes::copy_from_slice(&base.bytes),
    });
    let from = if snapshot.is_some() { 0 } else { from };
    let mut left = OPS_PAGE;
    // Ops that are here and have places among those in the snapshot are given with it: behind it nobody asks for them.
    let fits = |op: &Held<'_>| {
        let fits = op.place < begins || left == OPS_PAGE || op.body.len() + OP <= left;
        left = left.saturating_sub(op.body.len() + OP);
        fits
    };
    let mut next = (from as u64).max(begins);
    let ops = stream.arrived(from as u64).take_while(fits).inspect(|op| next = next.max(op.place + 1));
    let ops = ops.map(|op| delivered(op, own)).collect();
    Ops { snapshot, ops, next: usize::try_from(next).unwrap_or(usize::MAX) }
}

fn delivered(op: Held<'_>, own: ActorId) -> Delivered {
    let time_ms = u64::from_be_bytes(*op.hlc.as_bytes()) >> 16;
    let body = Bytes::copy_from_slice(op.body);
    Delivered { writer: op.actor, own: op.actor == own, seq: op.seq, time_ms, body }
}
