//! A session's data as the endpoint keeps it: the state, the manifests that stand for it, and what was fetched.

mod aside;
mod holdings;
mod picked;
mod replaced;
mod snapshots;
mod stored;
mod synced;

pub use aside::SetAside;
pub(super) use aside::Taken;
pub(super) use snapshots::Kept;
pub(super) use stored::StoredData;

use replaced::Replaced;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::clause::Rules;
use crate::data::{Entry, Manifest, NewOp, Pages, Part, PartKind, Pick, Roots, State, Written};
use crate::errors::UsageError;
use crate::handoff::keys;
use crate::journal::Write;
use crate::limits::{MAX_ANNOUNCED, MAX_INLINE_OPS, MAX_STAGED};
use crate::sync::{Change, Changes, kept};
use crate::wire::{ActorId, Announced, DeviceId, Hash, Nonce, Op, PartId, SessionId};

/// A session's data on this device.
#[derive(Clone, Debug)]
pub(super) struct SessionData {
    session: SessionId,
    /// None: nothing of the data is known here.
    state: Option<State>,
    /// The manifest in the journal on which the parts written since stand.
    base: Option<Hash>,
    /// The device whose FINAL that was, or that brought it: it held all of it then.
    brought_by: Option<DeviceId>,
    overlays: BTreeSet<PartId>,
    /// The state's own manifest, once somebody asked for it.
    current: Option<(Announced, Pages)>,
    /// The peers that were told of it.
    told: BTreeSet<DeviceId>,
    /// What peers were told of last, if the state went on since: they may be fetching it (TRANSFER-ANNOUNCE-1). The
    /// newest last.
    before: Vec<Before>,
    /// Manifests whose parts, but for exclusive ops in the tail, are those of the state.
    marks: Vec<Mark>,
    tail: Vec<Op>,
    /// What was fetched under the head, complete, and isn't the state yet; the newest last. The last ones stay until
    /// the head changes, for a WANT that is on its way may say of any of them that it is held (TRANSFER-HAVE-2).
    staged: Vec<Staged>,
    /// A manifest whose blobs are all here, and whose ops of log and opaque parts aren't yet: sync brings them.
    awaited: Option<(Manifest, Hash, Pick)>,
    /// Content that the data names and that isn't here, by blob.
    missing: BTreeMap<Hash, Entry>,
    /// Missing content that a part named before it changed.
    retired: BTreeSet<Hash>,
    /// What the user picked.
    pick: Pick,
    /// What of the data came with the last handoff: what the source held, though the user picked all.
    came: Pick,
    /// What goes along in the handoff that runs, or in the next one. Not journaled.
    along: Pick,
    /// That was chosen since the last handoff began.
    along_next: bool,
    /// The missing content that isn't picked, and that nobody asked for since this device was opened.
    left_out: BTreeSet<Hash>,
    /// That is wanted, too, for a handoff that can't do without (HO-PICK-1).
    all: bool,
    /// Content that is here and whose place missing content took, by part and blob (TRANSFER-REUSE-1).
    replaced: Replaced,
    copies: usize,
    /// This device made the session.
    own: bool,
    changes: Changes,
    /// Up to which position of its log each peer's changes are held.
    cursors: BTreeMap<DeviceId, (Nonce, u64)>,
    aside: aside::Aside,
    /// Snapshots on their way here, one of each device that sends them and each way by which they come.
    coming: BTreeMap<(DeviceId, DeviceId), (Hash, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct Mark {
    data: Announced,
    /// The roots of the parts that it has.
    roots: Roots,
    /// How many ops of the tail it has; none if the tail doesn't reach back to it, or skips what it lacks.
    at: Option<usize>,
    /// What the exclusive parts that changed since take at most, whole, in bytes.
    bound: usize,
}

/// A manifest that was the state's own, without what the state still has of it: a write costs no more as the session
/// grows.
#[derive(Clone, Debug)]
struct Before {
    /// The peers that were told of nothing since.
    to: BTreeSet<DeviceId>,
    data: Announced,
    pages: Pages,
    /// The parts that have changed since.
    changed: BTreeSet<PartId>,
    /// The blobs that those named then, with their lengths in bytes.
    blobs: BTreeMap<Hash, u64>,
}

#[derive(Clone, Debug)]
struct Staged {
    data: Announced,
    bytes: Vec<u8>,
    state: State,
    /// What of its content is here.
    pick: Pick,
}

impl SessionData {
    /// Of a session that another device told of.
    pub(super) fn unknown(session: SessionId, log: Nonce) -> Self {
        SessionData {
            session,
            state: None,
            base: None,
            brought_by: None,
            overlays: BTreeSet::new(),
            current: None,
            told: BTreeSet::new(),
            before: Vec::new(),
            marks: Vec::new(),
            tail: Vec::new(),
            staged: Vec::new(),
            awaited: None,
            missing: BTreeMap::new(),
            retired: BTreeSet::new(),
            pick: Pick::all(),
            came: Pick::all(),
            along: Pick::all(),
            along_next: false,
            left_out: BTreeSet::new(),
            all: false,
            replaced: Replaced::default(),
            copies: 0,
            own: false,
            changes: Changes::new(log),
            cursors: BTreeMap::new(),
            aside: aside::Aside::default(),
            coming: BTreeMap::new(),
        }
    }

    /// Of a session that this device creates.
    pub(super) fn created(session: SessionId, name: &str, log: Nonce) -> Self {
        SessionData { state: Some(State::new(session, name)), own: true, ..Self::unknown(session, log) }
    }

    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    pub(super) fn copies(&self) -> usize {
        self.copies
    }

    /// Makes an op and writes it down.
    pub(super) fn write(&mut self, rules: Rules, new: NewOp) -> Result<Vec<Write>, UsageError> {
        let state = self.state.as_mut().ok_or(UsageError::NotMember)?;
        let known = state.part(&new.part).is_some();
        let exclusive = new.kind == PartKind::Exclusive.number();
        let blob = new.kind == PartKind::Blob.number();
        let (part, old) = (new.part, state.blobs_of(&new.part));
        let written = state.write(rules, new)?;
        self.retire([(part, old)]);
        let at = self.changes.next();
        match written {
            Written::Op { part, actor, seq } => Ok(self.put_op(at, part, actor, seq, None)),
            Written::Value(op) => {
                let part = op.part;
                let body = op.body.to_vec();
                if exclusive {
                    self.grow(&part);
                }
                if exclusive && known && self.tail.len() < MAX_INLINE_OPS {
                    self.tail.push(op);
                } else if exclusive {
                    self.cut_tail();
                }
                // Whoever writes a file has its content.
                let own = Entry::open(Rules::ALL, &body).ok().filter(|_| blob);
                let mut writes = own.map(|entry| self.got(&BTreeSet::from([entry.blob]))).unwrap_or_default();
                writes.extend(self.put_part(&part, at, None));
                Ok(writes)
            }
        }
    }

    /// Parts of the state have changed; what they named before comes with them. Peers may have been told of it.
    fn retire(&mut self, parts: impl IntoIterator<Item = (PartId, Vec<(Hash, u64)>)>) {
        let to = core::mem::take(&mut self.told);
        if let Some((data, pages)) = self.current.take().filter(|_| !to.is_empty()) {
            if self.before.len() >= MAX_ANNOUNCED {
                self.before.remove(0);
            }
            self.before.push(Before { to, data, pages, changed: BTreeSet::new(), blobs: BTreeMap::new() });
        }
        for (part, blobs) in parts {
            self.retired.extend(blobs.iter().map(|(blob, _)| *blob).filter(|blob| self.missing.contains_key(blob)));
            // What a part named later than that was never told of.
            let first = self.before.iter_mut().filter_map(|before| before.changed.insert(part).then_some(before));
            first.for_each(|before| before.blobs.extend(blobs.iter().copied()));
        }
    }

    /// Keeps a manifest whose data is all here, but for content that isn't picked. The oldest beyond MAX_STAGED goes: no WANT that named it can be granted
    /// any more (TRANSFER-HAVE-2).
    /// If the same was kept with another pick, what that picks is here still, and a WANT may have said so.
    pub(super) fn stage(&mut self, manifest: Manifest, hash: Hash, pick: Pick) -> Vec<Write> {
        let kept = self.staged.iter().find(|staged| staged.data.manifest == hash).map(|staged| &staged.pick);
        let pick = kept.and_then(|kept| kept.with(&pick)).unwrap_or(pick);
        self.staged.retain(|staged| staged.data.manifest != hash);
        let mut writes = self.unstage(MAX_STAGED - 1);
        let bytes = manifest.to_bytes();
        let data = announced(&manifest, hash, &bytes);
        writes.push(keys::put(self.session, keys::MANIFEST, hash.as_bytes(), bytes.clone()));
        writes.push(keys::put(self.session, keys::FETCHED, hash.as_bytes(), pick.to_bytes()));
        self.staged.push(Staged { data, bytes, state: State::from_manifest(manifest), pick });
        writes
    }

    /// The bytes of a manifest that this device can serve (TRANSFER-ANNOUNCE-1).
    pub(super) fn manifest_bytes(&self, hash: &Hash) -> Option<Vec<u8>> {
        let current = self.current.iter().map(|(data, pages)| (data, pages));
        let before = self.before.iter().map(|before| (&before.data, &before.pages));
        let own = current.chain(before).find(|(data, _)| data.manifest == *hash).map(|(_, pages)| pages.to_vec());
        own.or_else(|| Some(self.staged.iter().find(|staged| staged.data.manifest == *hash)?.bytes.clone()))
    }

    /// The length of a manifest that this device can serve.
    fn manifest_len(&self, hash: &Hash) -> Option<u64> {
        let own = self.current.iter().map(|(data, _)| data).chain(self.before.iter().map(|before| &before.data));
        let mut all = own.chain(self.staged.iter().map(|staged| &staged.data));
        all.find(|data| data.manifest == *hash).map(|data| u64::from(data.manifest_len))
    }

    /// Whether the session's data names this blob, with this length.
    pub(super) fn names(&self, blob: &Hash, len: u64) -> bool {
        let of = |state: &State| state.blob_len(blob) == Some(len);
        let manifest = self.manifest_len(blob) == Some(len);
        let before = || self.before.iter().any(|before| before.blobs.get(blob) == Some(&len));
        manifest || self.state.iter().chain(self.staged.iter().map(|it| &it.state)).any(of) || before()
    }

    /// Forgets what was fetched, but for the newest `keep`.
    fn unstage(&mut self, keep: usize) -> Vec<Write> {
        let gone = self.staged.len().saturating_sub(keep);
        let gone: Vec<_> = self.staged.drain(..gone).map(|staged| staged.data.manifest).collect();
        let fetched = gone.iter().map(|manifest| keys::delete(self.session, keys::FETCHED, manifest.as_bytes()));
        let content = gone.iter().filter(|manifest| Some(**manifest) != self.base);
        let content = content.map(|manifest| keys::delete(self.session, keys::MANIFEST, manifest.as_bytes()));
        fetched.chain(content).collect()
    }

    fn put_part(&mut self, part: &PartId, at: u64, from: Option<DeviceId>) -> Option<Write> {
        let value = [at.to_be_bytes().as_slice(), &*self.state.as_ref()?.part_bytes(part)?].concat();
        self.overlays.insert(*part);
        self.changes.note(at, Change::Part(*part), from);
        Some(keys::put(self.session, keys::PART, part.as_bytes(), value))
    }

    fn put_op(&mut self, at: u64, part: PartId, actor: ActorId, seq: u64, from: Option<DeviceId>) -> Vec<Write> {
        let Some(stream) = self.state.as_ref().and_then(|state| state.stream(&part)) else { return Vec::new() };
        let kind = self.state.as_ref().and_then(|state| state.part(&part)).map_or(0, |part| part.kind);
        let (Some(op), Some(seed)) = (stream.op(&actor, seq), stream.seed(&actor)) else { return Vec::new() };
        let strand = [part.as_bytes().as_slice(), actor.as_bytes()].concat();
        let key = [strand.as_slice(), &seq.to_be_bytes()].concat();
        let mut writes = alloc::vec![keys::put(self.session, keys::OP, &key, kept::encode(at, kind, op))];
        if seq == stream.gone(&actor) + 1 {
            writes.push(keys::put(self.session, keys::SEED, &strand, seed.as_bytes().to_vec()));
        }
        self.changes.note(at, Change::Op(part, actor, seq), from);
        writes
    }

    /// The state's own manifest.
    fn current(&mut self) -> Option<&Announced> {
        if self.current.is_none() {
            let state = self.state.as_mut()?;
            let ((data, pages), roots) = (state.announce(), state.roots());
            self.marks.retain(|mark| mark.data.manifest != data.manifest);
            if self.marks.len() >= MAX_STAGED {
                self.marks.remove(0);
            }
            self.marks.push(Mark { data: data.clone(), roots, at: Some(self.tail.len()), bound: 0 });
            self.current = Some((data, pages));
        }
        self.current.as_ref().map(|(data, _)| data)
    }
}

fn has_values(part: &Part) -> bool {
    PartKind::from_number(part.kind).is_some_and(PartKind::has_values)
}

fn announced(manifest: &Manifest, hash: Hash, bytes: &[u8]) -> Announced {
    let manifest_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Announced { root: manifest.root(), manifest: hash, manifest_len }
}
