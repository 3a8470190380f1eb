//! Values that were written without knowing of each other: listing them, and what becomes of them.
//!
//! A register or a file that two devices write before they meet has two values from then on. One is *shown*, the same on
//! every device (DATA-VALUE-1); the others are kept, content and all, and listed until an op stands for all of them
//! (DATA-MERGE-1). That op is made by the application ([`Node::resolve`]), or by a [`Strategy`]. Strategies act on the
//! session's primary alone: of two devices that both resolved, each would find the other's op in conflict with its own.

use bytes::Bytes;
use segue_proto::data::{Entry, EntryMode, Part, PartKind, Value, check_path, named_part};
use segue_proto::transfer::chunk_list;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{ActorId, DeviceId, Hash, Kind, PartId, SessionId};
use segue_proto::{Endpoint, Lsn, Rules, SessionRole, UsageError};
use tokio::task::spawn_blocking;

use crate::driver::{Driver, Input};
use crate::error::Error;
use crate::files::{blocking, store_error, wall_ms};
use crate::node::Node;
use crate::storage::Storage;

/// A register or a file with several values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The session.
    pub session: SessionId,
    /// The part.
    pub part: PartId,
    /// The file's path in the session; none for a register, whose part is [`segue_proto::data::named_part`] of its name.
    pub path: Option<String>,
    /// Its values: first the one that is shown, then the others, the latest first.
    pub versions: Vec<Version>,
}

/// One of several values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Who wrote it.
    pub writer: ActorId,
    /// The writer's device, as far as it is known: other devices say whose the values are that they pass on.
    pub device: Option<DeviceId>,
    /// Its number among the writer's ops in the part.
    pub seq: u64,
    /// When it was made, in milliseconds since 1970, by the writer's clock.
    pub time_ms: u64,
    /// The BLAKE3 hash of the content; zero for a directory and for a file that was removed.
    pub hash: Hash,
    /// The length of the content in bytes.
    pub len: u64,
    /// What it is.
    pub content: Content,
    /// The op's body.
    pub(crate) body: Vec<u8>,
}

/// What a version is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The value of a register.
    Value(Vec<u8>),
    /// A file: [`Node::read_blob`] reads it by its hash, once it is here.
    File {
        /// Whether it can be run.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// The file was removed.
    Removed,
}

/// What becomes of a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// One of the versions stands for all, by its place in the list.
    Take(usize),
    /// This content stands for all.
    Put(Vec<u8>),
    /// Each version of a file becomes a file of its own: the one that is shown keeps the path, the others get one that
    /// names their content. A removal gives way to what was written. A register has no place for a second value.
    Both,
    /// Nothing yet: the versions stay listed.
    Ask,
}

/// How conflicts are resolved without a user. Called on a blocking thread, for each conflict of a session of which this
/// device is primary, whenever one of its values is new here.
pub trait Strategy: Send + Sync + 'static {
    /// What becomes of it. `read` gives the content of a version: none if it isn't here yet, or is longer than
    /// 4 MiB.
    fn settle(&self, conflict: &Conflict, read: &dyn Fn(&Version) -> Option<Vec<u8>>) -> Resolution;

    /// Whether what this device writes stands for all values of a part, those that aren't shown included, primary or
    /// not. Otherwise such a write is refused, as `Conflicted`.
    fn writes_over(&self) -> bool {
        false
    }
}

/// Every conflict waits for the application.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask;

/// The latest value stands for all.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepLatest;

/// Of a file all versions stay, each as a file of its own; a register waits for the application.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepBoth;

/// A function makes one content of all, given in the order of the versions; what it can't merge, and what isn't all
/// here, waits for the application.
#[derive(Clone, Copy, Debug)]
pub struct Merge<F>(pub F);

impl Strategy for Ask {
    fn settle(&self, _: &Conflict, _: &dyn Fn(&Version) -> Option<Vec<u8>>) -> Resolution {
        Resolution::Ask
    }
}

impl Strategy for KeepLatest {
    fn settle(&self, _: &Conflict, _: &dyn Fn(&Version) -> Option<Vec<u8>>) -> Resolution {
        Resolution::Take(0)
    }

    fn writes_over(&self) -> bool {
        true
    }
}

impl Strategy for KeepBoth {
    fn settle(&self, conflict: &Conflict, _: &dyn Fn(&Version) -> Option<Vec<u8>>) -> Resolution {
        if conflict.path.is_some() { Resolution::Both } else { Resolution::Ask }
    }
}

impl<F: Fn(&Conflict, &[Vec<u8>]) -> Option<Vec<u8>> + Send + Sync + 'static> Strategy for Merge<F> {
    fn settle(&self, conflict: &Conflict, read: &dyn Fn(&Version) -> Option<Vec<u8>>) -> Resolution {
        let contents: Option<Vec<_>> = conflict.versions.iter().map(read).collect();
        let merged = contents.and_then(|contents| (self.0)(conflict, &contents));
        merged.map_or(Resolution::Ask, Resolution::Put)
    }
}

impl Node {
    /// The registers and files of a session that have several values, by their parts. Those whose values are all the
    /// same aren't listed.
    ///
    /// # Errors
    /// `UnknownSession`; [`Error::Stopped`].
    pub async fn conflicts(&self, session: SessionId) -> Result<Vec<Conflict>, Error> {
        self.command("list the conflicts", move |driver| {
            driver.core.state(&session).ok_or(UsageError::UnknownSession)?;
            Ok(conflicts(&driver.core, session, |_| true))
        })
        .await
    }

    /// Resolves a conflict, and waits until that is durable. What it does goes to the other devices; a value that one of
    /// them wrote without knowing is in conflict with it, as ever.
    ///
    /// # Errors
    /// `Conflicted` if the part has other values by now: list them again. [`Error::NoBlob`] if the content of a version
    /// that is to stay isn't here yet. [`Error::Resolution`] if there is no such version, or a register is to keep both.
    /// `TooLarge`, `NotMember`, `Closed`; [`Error::Stopped`].
    pub async fn resolve(&self, conflict: &Conflict, how: Resolution) -> Result<(), Error> {
        let (storage, conflict) = (self.storage()?, conflict.clone());
        let Some(plan) = blocking(move || Plan::new(&conflict, how, &storage)).await? else { return Ok(()) };
        let written = self.command("resolve the conflict", move |driver| {
            if let Some(blob) = driver.lacking(&plan) {
                return Ok(Err(Error::NoBlob(blob)));
            }
            let lsn = driver.carry_out(plan)?;
            Ok(Ok(driver.waits.durable(lsn)))
        });
        written.await??.await.unwrap_or(Err(Error::Stopped))
    }
}

/// Whether a part has one value, or several that are the same.
pub(crate) fn is_settled(part: &Part) -> bool {
    let mut bodies = part.values.iter().map(|value| &value.op.body);
    let first = bodies.next();
    bodies.all(|body| Some(body) == first)
}

/// The values of a part, the one that is shown first.
pub(crate) fn versions(core: &Endpoint, session: &SessionId, part: &Part) -> Vec<Version> {
    let mut values: Vec<_> = part.values.iter().collect();
    values.sort_by_key(|value| std::cmp::Reverse((value.op.hlc, value.op.actor, value.op.seq)));
    values.into_iter().map(|value| version(core, session, part, value)).collect()
}

fn version(core: &Endpoint, session: &SessionId, part: &Part, value: &Value) -> Version {
    let (op, body) = (&value.op, value.op.body.to_vec());
    let entry = (part.kind == PartKind::Blob.number()).then(|| Entry::open(Rules::ALL, &body).ok()).flatten();
    let (hash, len, content) = match &entry {
        Some(entry) => (entry.blob, entry.len, content(entry)),
        None => (blob_id(&body), body.len() as u64, Content::Value(body.clone())),
    };
    let time_ms = u64::from_be_bytes(*op.hlc.as_bytes()) >> 16;
    let device = device_of(core, session, &op.actor);
    Version { writer: op.actor, device, seq: op.seq, time_ms, hash, len, content, body }
}

fn content(entry: &Entry) -> Content {
    match EntryMode::from_number(entry.mode) {
        Some(EntryMode::Directory) => Content::Directory,
        Some(EntryMode::Removed) => Content::Removed,
        mode => Content::File { executable: mode == Some(EntryMode::Executable) },
    }
}

/// An actor is a hash: its own device explains it, those whom it told do (DATA-WRITER-1), and so do the records that name it.
fn device_of(core: &Endpoint, session: &SessionId, actor: &ActorId) -> Option<DeviceId> {
    if core.actor(session).as_ref() == Some(actor) {
        return Some(core.device());
    }
    if let Some(writer) = core.state(session).and_then(|state| state.writer(actor)) {
        return Some(writer.device);
    }
    let view = core.session(session)?;
    let mut records = view.chain.iter().map(|record| record.body());
    let names_actor = |kind| kind == Kind::Genesis.number() || kind == Kind::Takeover.number();
    let named = records.find(|record| names_actor(record.kind) && record.want.as_bytes() == actor.as_bytes());
    named.map(|record| record.owner)
}

/// The conflicts in those parts of a session that `pick` takes.
fn conflicts(core: &Endpoint, session: SessionId, pick: impl Fn(&PartId) -> bool) -> Vec<Conflict> {
    let Some(state) = core.state(&session) else { return Vec::new() };
    let found: Vec<_> = state.conflicted().filter(|part| pick(&part.part) && !is_settled(part)).collect();
    if found.is_empty() {
        return Vec::new();
    }
    // Where the tree puts a file: two parts may want one path (DATA-TREE-1).
    let paths: std::collections::BTreeMap<PartId, String> =
        state.entries().map(|(part, entry)| (part, entry.path.to_string())).collect();
    let path = |part: &Part| paths.get(&part.part).cloned().or_else(|| Some(part.entry()?.path.to_string()));
    let conflict =
        |part: &Part| Conflict { session, part: part.part, path: path(part), versions: versions(core, &session, part) };
    found.into_iter().map(conflict).collect()
}

/// What resolves a conflict: everything that takes a disk is done.
struct Plan {
    session: SessionId,
    part: PartId,
    kind: PartKind,
    /// The values that were seen.
    seen: Vec<(ActorId, u64)>,
    /// What stands for all of them.
    body: Vec<u8>,
    /// Files beside, with what they hold.
    beside: Vec<Entry>,
    /// Content of the versions that stay, which has to be here: who writes a file is taken to hold what it names.
    needs: Vec<Hash>,
}

impl Plan {
    /// None if nothing is to be done.
    fn new(conflict: &Conflict, how: Resolution, storage: &Storage) -> Result<Option<Plan>, Error> {
        let no = |what| Err(Error::Resolution { what });
        let (body, beside) = match how {
            Resolution::Ask => return Ok(None),
            Resolution::Take(at) => match conflict.versions.get(at) {
                Some(version) => (version.body.clone(), Vec::new()),
                None => return no("there is no version of that number"),
            },
            Resolution::Put(content) => match &conflict.path {
                Some(path) => (put(conflict, path, content, storage)?, Vec::new()),
                None => (content, Vec::new()),
            },
            Resolution::Both => match &conflict.path {
                Some(path) => both(conflict, path),
                None => return no("a register holds one value; take one, or put one that stands for all"),
            },
        };
        let stays = |version: &&Version| match &version.content {
            Content::File { .. } => version.body == body || beside.iter().any(|entry| entry.blob == version.hash),
            Content::Value(_) | Content::Directory | Content::Removed => false,
        };
        let needs = conflict.versions.iter().filter(stays).map(|version| version.hash).collect();
        let seen = conflict.versions.iter().map(|version| (version.writer, version.seq)).collect();
        let kind = if conflict.path.is_some() { PartKind::Blob } else { PartKind::Register };
        Ok(Some(Plan { session: conflict.session, part: conflict.part, kind, seen, body, beside, needs }))
    }
}

/// The entry of a content that stands for all versions of a file.
fn put(conflict: &Conflict, path: &str, content: Vec<u8>, storage: &Storage) -> Result<Vec<u8>, Error> {
    let executable = conflict.versions.iter().any(|version| version.content == Content::File { executable: true });
    let (blob, list) = chunk_list(&content);
    let entry = Entry::file(path, executable, content.len() as u64, blob, list.as_ref().map(|(list, _)| list.clone()));
    let stored = storage.put(&blob, Bytes::from(content)).and_then(|()| match list {
        Some((list, bytes)) => storage.put(&list.hash, Bytes::from(bytes)),
        None => Ok(()),
    });
    stored.and_then(|()| storage.sync()).map_err(|error| store_error(path, error))?;
    let entry = entry.ok_or(Error::Resolution { what: "the path is too long" })?;
    Ok(entry.to_bytes())
}

/// The version that keeps the path, and the others beside it.
fn both(conflict: &Conflict, path: &str) -> (Vec<u8>, Vec<Entry>) {
    let live = |version: &&Version| version.content != Content::Removed;
    let kept = conflict.versions.iter().find(live).or(conflict.versions.first());
    let others = conflict.versions.iter().filter(live).filter(|version| Some(*version) != kept);
    let others =
        others.filter(|version| kept.is_none_or(|kept| (kept.hash, &kept.content) != (version.hash, &version.content)));
    let beside = others.filter_map(|version| {
        let entry = Entry::open(Rules::ALL, &version.body).ok().filter(Entry::is_file)?;
        let executable = version.content == Content::File { executable: true };
        Entry::file(&beside(path, &version.hash), executable, entry.len, entry.blob, entry.chunks.get().cloned())
    });
    (kept.map(|kept| kept.body.clone()).unwrap_or_default(), beside.collect())
}

/// A path beside another that names a content, so that two devices which keep both make the same file.
fn beside(path: &str, hash: &Hash) -> String {
    let whole = hash.to_string();
    let (directory, name) = path.rsplit_once('/').map_or(("", path), |(directory, name)| (directory, name));
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    let short: String = whole.chars().take(8).collect();
    let name = format!("{stem} (copy {short}){extension}");
    let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
    if check_path(Rules::ALL, &path).is_ok() { path } else { whole }
}

impl Driver {
    /// Lets the strategy look at parts that changed.
    pub(crate) fn settle_parts(&mut self, session: SessionId, parts: &[PartId]) {
        let Some(state) = self.core.state(&session) else { return };
        if parts.iter().any(|part| state.part(part).is_some_and(Part::is_conflicted)) {
            self.settle(session, |part| parts.binary_search(part).is_ok());
        }
    }

    /// Lets the strategy look at a whole session.
    pub(crate) fn settle_session(&mut self, session: SessionId) {
        let Some(state) = self.core.state(&session) else { return };
        if state.conflicted().next().is_some() {
            self.settle(session, |_| true);
        }
    }

    fn settle(&mut self, session: SessionId, pick: impl Fn(&PartId) -> bool) {
        let found = if self.is_primary(&session) { conflicts(&self.core, session, pick) } else { Vec::new() };
        if found.is_empty() {
            return;
        }
        let (strategy, shared) = (self.strategy.clone(), self.shared.clone());
        self.tasks.spawn(async move {
            let worker = shared.clone();
            let planned = spawn_blocking(move || {
                let read = |version: &Version| read(&worker.storage, version);
                let plan = |conflict: &Conflict| {
                    let plan = Plan::new(conflict, strategy.settle(conflict, &read), &worker.storage);
                    plan.unwrap_or_else(|error| {
                        tracing::warn!(part = %conflict.part, %error, "a conflict isn't resolved");
                        None
                    })
                };
                found.iter().filter_map(plan).collect::<Vec<_>>()
            });
            let plans = planned.await.unwrap_or_default();
            let call = move |driver: &mut Driver| {
                for plan in plans {
                    // If the part has other values by now, or content is still to come, its coming is looked at too.
                    if driver.lacking(&plan).is_some() || !driver.is_primary(&plan.session) {
                        continue;
                    }
                    if let Err(error) = driver.carry_out(plan) {
                        tracing::info!(%error, "a conflict isn't resolved");
                    }
                }
            };
            shared.tell(Input::Call(Box::new(call))).await;
        });
    }

    fn is_primary(&self, session: &SessionId) -> bool {
        self.core.role(session) == Some(SessionRole::Primary)
    }

    /// Content that a plan needs and that isn't here.
    fn lacking(&self, plan: &Plan) -> Option<Hash> {
        plan.needs.iter().find(|blob| self.core.misses(&plan.session, blob)).copied()
    }

    /// Resolves a conflict, if its part still has the values that were seen.
    fn carry_out(&mut self, plan: Plan) -> Result<Lsn, UsageError> {
        let Plan { session, part, kind, mut seen, body, beside, needs: _ } = plan;
        let held = self.core.state(&session).and_then(|state| state.part(&part)).ok_or(UsageError::UnknownSession)?;
        let mut values: Vec<_> = held.values.iter().map(|value| (value.op.actor, value.op.seq)).collect();
        values.sort_unstable();
        seen.sort_unstable();
        if values != seen {
            return Err(UsageError::Conflicted);
        }
        for entry in beside {
            let part = named_part(&session, PartKind::Blob, &entry.path);
            let same = |part: &Part| part.entry().as_ref() == Some(&entry);
            if !self.core.state(&session).and_then(|state| state.part(&part)).is_some_and(same) {
                self.write_shared(session, part, PartKind::Blob, entry.to_bytes())?;
            }
        }
        let now = self.now();
        self.core.resolve(now, wall_ms(), session, part, kind.number(), body)
    }
}

/// The content of a version, if it is here and not too long.
fn read(storage: &Storage, version: &Version) -> Option<Vec<u8>> {
    match &version.content {
        Content::Value(value) => Some(value.clone()),
        Content::File { .. } if version.len == 0 => Some(Vec::new()),
        Content::File { .. } => {
            let len = usize::try_from(version.len).ok().filter(|len| *len <= MERGE)?;
            let mut content = vec![0; len];
            storage.open(&version.hash, version.len)?.read_exact_at(0, &mut content).ok()?;
            Some(content)
        }
        Content::Directory | Content::Removed => None,
    }
}

/// The longest content that is read to be merged, in bytes. From: guess; some hundred thousand lines.
const MERGE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_lies_beside_its_file_and_keeps_its_ending() {
        let hash = Hash::new([0xab; 32]);
        assert_eq!(beside("a/b.txt", &hash), "a/b (copy abababab).txt");
        assert_eq!(beside(".profile", &hash), ".profile (copy abababab)");
        assert_eq!(beside(&"x".repeat(255), &hash), "ab".repeat(32));
    }
}
