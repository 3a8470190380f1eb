//! A session's data as the endpoint keeps it: the state, the manifests that stand for it, and what was fetched.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::clause::{Clause, Rules};
use crate::data::{Manifest, NewOp, PartKind, State};
use crate::errors::UsageError;
use crate::handoff::{Holdings, Release, keys};
use crate::journal::Write;
use crate::limits::{MAX_INLINE_BYTES, MAX_INLINE_OPS, MAX_STAGED};
use crate::wire::codec::encode;
use crate::wire::{ActorId, Announced, Final, Hash, Held, Op, PartId, SessionId};
use crate::{Code, Violation};

/// A session's data on this device.
#[derive(Clone, Debug)]
pub(super) struct SessionData {
    session: SessionId,
    /// None: nothing of the data is known here.
    state: Option<State>,
    /// The manifest in the journal on which the parts written since stand.
    base: Option<Hash>,
    overlays: BTreeSet<PartId>,
    /// The state's own manifest, once somebody asked for it.
    current: Option<(Announced, Vec<u8>)>,
    /// Whether a peer was told of it.
    told: bool,
    /// What peers were told of last, if the state went on since: they may be fetching it (TRANSFER-ANNOUNCE-1).
    before: Option<Staged>,
    /// Manifests whose parts, but for exclusive ops in the tail, are those of the state.
    marks: Vec<Mark>,
    tail: Vec<Op>,
    /// What was fetched under the head, complete, and isn't the state yet; the newest last. All of it stays until the
    /// head changes, for a WANT that is on its way may say of any of it that it is held (TRANSFER-HAVE-2).
    staged: Vec<Staged>,
    copies: usize,
}

#[derive(Clone, Debug)]
struct Mark {
    data: Announced,
    /// How many ops of the tail it has.
    at: usize,
}

#[derive(Clone, Debug)]
struct Staged {
    data: Announced,
    bytes: Vec<u8>,
    state: State,
}

impl SessionData {
    /// Of a session that another device told of.
    pub(super) fn unknown(session: SessionId) -> Self {
        SessionData {
            session,
            state: None,
            base: None,
            overlays: BTreeSet::new(),
            current: None,
            told: false,
            before: None,
            marks: Vec::new(),
            tail: Vec::new(),
            staged: Vec::new(),
            copies: 0,
        }
    }

    /// Of a session that this device creates.
    pub(super) fn created(session: SessionId, name: &str) -> Self {
        SessionData { state: Some(State::new(session, name)), ..Self::unknown(session) }
    }

    /// From the journal.
    pub(super) fn restore(session: SessionId, name: &str, entries: StoredData) -> Result<Self, Violation> {
        let mut data = Self::unknown(session);
        data.base = entries.base;
        data.copies = entries.copies;
        data.state = match entries.base.and_then(|base| entries.manifests.get(&base)) {
            Some(bytes) => Some(State::from_manifest(Manifest::open(Rules::ALL, bytes, &session)?)),
            None if entries.base.is_none() && entries.own => Some(State::new(session, name)),
            None => None,
        };
        for (part, bytes) in &entries.parts {
            if let Some(state) = &mut data.state {
                state.load_part(Rules::ALL, bytes)?;
                data.overlays.insert(*part);
            }
        }
        let fetched = |hash: &Hash| entries.fetched.contains(hash);
        for (hash, bytes) in entries.manifests.into_iter().filter(|(hash, _)| fetched(hash)) {
            let manifest = Manifest::open(Rules::ALL, &bytes, &session)?;
            let data_of = announced(&manifest, hash, &bytes);
            data.staged.push(Staged { data: data_of, bytes, state: State::from_manifest(manifest) });
        }
        Ok(data)
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
        let inline = known && new.kind == PartKind::Exclusive.number();
        let old = self.told.then(|| state.clone());
        let op = state.write(rules, new)?;
        let part = op.part;
        self.retire(old);
        self.overlays.insert(part);
        if inline && self.tail.len() < MAX_INLINE_OPS {
            self.tail.push(op);
        } else {
            self.marks.clear();
            self.tail.clear();
        }
        Ok(self.put_part(&part).into_iter().collect())
    }

    /// The state isn't `old` any more, of which peers may have been told.
    fn retire(&mut self, old: Option<State>) {
        if let Some(((data, bytes), state)) = self.current.take().zip(old).filter(|_| self.told) {
            self.before = Some(Staged { data, bytes, state });
        }
        self.told = false;
    }

    /// Keeps a manifest whose data is all here; none if there is no room for it under this head.
    pub(super) fn stage(&mut self, manifest: Manifest, hash: Hash) -> Option<[Write; 2]> {
        self.staged.retain(|staged| staged.data.manifest != hash);
        if self.staged.len() >= MAX_STAGED {
            return None;
        }
        let bytes = manifest.to_bytes();
        let data = announced(&manifest, hash, &bytes);
        let writes = [
            keys::put(self.session, keys::MANIFEST, hash.as_bytes(), bytes.clone()),
            keys::put(self.session, keys::FETCHED, hash.as_bytes(), Vec::new()),
        ];
        self.staged.push(Staged { data, bytes, state: State::from_manifest(manifest) });
        Some(writes)
    }

    /// The bytes of a manifest that this device can serve (TRANSFER-ANNOUNCE-1).
    pub(super) fn manifest_bytes(&self, hash: &Hash) -> Option<&[u8]> {
        let own = self.current.as_ref().filter(|(data, _)| data.manifest == *hash).map(|(_, bytes)| bytes);
        let staged = self.staged.iter().find(|staged| staged.data.manifest == *hash).map(|staged| &staged.bytes);
        let before = self.before.iter().find(|before| before.data.manifest == *hash).map(|before| &before.bytes);
        own.or(staged).or(before).map(Vec::as_slice)
    }

    /// Whether the session's data names this blob, with this length.
    pub(super) fn names(&self, blob: &Hash, len: u64) -> bool {
        let of = |state: &State| state.blob_len(blob) == Some(len);
        let manifest = self.manifest_bytes(blob).is_some_and(|bytes| bytes.len() as u64 == len);
        manifest || self.state.iter().chain(self.staged.iter().chain(&self.before).map(|it| &it.state)).any(of)
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

    fn put_part(&self, part: &PartId) -> Option<Write> {
        let bytes = self.state.as_ref()?.part_bytes(part)?;
        Some(keys::put(self.session, keys::PART, part.as_bytes(), bytes))
    }

    /// The state's own manifest.
    fn current(&mut self) -> Option<&(Announced, Vec<u8>)> {
        if self.current.is_none() {
            let (data, bytes) = self.state.as_ref()?.to_manifest().announce();
            self.marks.retain(|mark| mark.data.manifest != data.manifest);
            self.marks.push(Mark { data: data.clone(), at: self.tail.len() });
            self.current = Some((data, bytes));
        }
        self.current.as_ref()
    }

    fn release_of(&self, have: &Held) -> Option<Release> {
        let mark = self.marks.iter().find(|mark| mark.data.manifest == have.manifest && mark.data.root == have.root)?;
        let ops = self.tail.get(mark.at..)?.to_vec();
        let size: usize = ops.iter().map(|op| encode(op).len()).sum();
        let root = self.state.as_ref()?.root();
        let (manifest, manifest_len) = (mark.data.manifest, mark.data.manifest_len);
        (size <= MAX_INLINE_BYTES).then_some(Release { root, manifest, manifest_len, ops })
    }

    /// The state that a FINAL's manifest names, if it is held.
    fn state_of(&mut self, manifest: &Hash) -> Option<&State> {
        if let Some(at) = self.staged.iter().position(|staged| staged.data.manifest == *manifest) {
            return self.staged.get(at).map(|staged| &staged.state);
        }
        let own = self.current().is_some_and(|(data, _)| data.manifest == *manifest);
        self.state.as_ref().filter(|_| own)
    }
}

/// What the journal holds of a session's data.
#[derive(Default)]
pub(super) struct StoredData {
    pub(super) own: bool,
    pub(super) base: Option<Hash>,
    pub(super) manifests: BTreeMap<Hash, Vec<u8>>,
    pub(super) fetched: BTreeSet<Hash>,
    pub(super) parts: BTreeMap<PartId, Vec<u8>>,
    pub(super) copies: usize,
}

impl StoredData {
    /// Takes in an entry; none if a session's data has no such entry.
    pub(super) fn put(&mut self, letter: u8, rest: &[u8], value: Vec<u8>) -> Option<()> {
        match letter {
            keys::BASE => self.base = Some(Hash::new(*value.first_chunk()?)),
            keys::MANIFEST => {
                self.manifests.insert(Hash::new(*rest.first_chunk()?), value);
            }
            keys::FETCHED => {
                self.fetched.insert(Hash::new(*rest.first_chunk()?));
            }
            keys::PART => {
                self.parts.insert(PartId::new(*rest.first_chunk()?), value);
            }
            keys::COPY => self.copies += 1,
            _ => return None,
        }
        Some(())
    }
}

impl Holdings for SessionData {
    fn announce(&mut self) -> Result<Announced, Code> {
        let data = self.current().map(|(data, _)| data.clone()).ok_or(Code::DATA_UNAVAILABLE)?;
        (self.told, self.before) = (true, None);
        Ok(data)
    }

    fn held(&mut self) -> Option<Held> {
        let data = match self.staged.last() {
            Some(staged) => staged.data.clone(),
            None => self.current()?.0.clone(),
        };
        Some(Held { root: data.root, manifest: data.manifest })
    }

    fn holds(&mut self, manifest: &Hash) -> bool {
        self.state_of(manifest).is_some()
    }

    fn release(&mut self, rules: Rules, have: Option<&Held>) -> Option<Release> {
        if !rules.keeps(Clause::HO_GRANT_4) {
            let data = self.current()?.0.clone();
            let (root, manifest, manifest_len) = (data.root, data.manifest, data.manifest_len);
            return Some(Release { root, manifest, manifest_len, ops: Vec::new() });
        }
        let have = have?;
        if let Some(release) = self.release_of(have) {
            return Some(release);
        }
        self.current()?;
        self.release_of(have)
    }

    fn check(&mut self, rules: Rules, end: &Final, ops: &[Op]) -> Result<(), Violation> {
        let Some(state) = self.state_of(&end.manifest) else {
            return rules.ensure(Clause::HO_GRANT_7, false, Code::DATA_INCOMPLETE);
        };
        let root = state.stage(rules, ops)?.root();
        rules.ensure(Clause::DATA_ROOT_1, root == end.root, Code::DATA_ROOT)
    }

    fn adopt(&mut self, end: &Final, ops: &[Op]) -> Vec<Write> {
        let mut writes = Vec::new();
        let old = self.told.then(|| self.state.clone()).flatten();
        self.retire(old);
        if let Some(at) = self.staged.iter().position(|staged| staged.data.manifest == end.manifest) {
            self.state = Some(self.staged.remove(at).state);
            writes.push(keys::delete(self.session, keys::FETCHED, end.manifest.as_bytes()));
            writes.extend(self.overlays.iter().map(|part| keys::delete(self.session, keys::PART, part.as_bytes())));
            let old = self.base.replace(end.manifest).filter(|old| *old != end.manifest);
            writes.extend(old.map(|old| keys::delete(self.session, keys::MANIFEST, old.as_bytes())));
            writes.push(keys::put(self.session, keys::BASE, &[], end.manifest.as_bytes().to_vec()));
            self.overlays.clear();
        }
        writes.extend(self.unstage(0));
        let root = self.state.as_ref().map_or(Hash::ZERO, State::root);
        let data = Announced { root, manifest: end.manifest, manifest_len: end.manifest_len };
        if let Some(state) = &mut self.state
            && let Ok(advance) = state.stage(Rules::ALL, ops)
        {
            state.commit(advance);
        }
        let changed: BTreeSet<_> = ops.iter().map(|op| op.part).collect();
        writes.extend(changed.iter().filter_map(|part| self.put_part(part)));
        self.overlays.extend(changed);
        self.marks = alloc::vec![Mark { data, at: 0 }];
        self.tail = ops.to_vec();
        writes
    }

    fn forget_claims(&mut self) -> Vec<Write> {
        self.unstage(1)
    }

    fn copy_aside(&mut self, record: &Hash) -> (Vec<Write>, usize) {
        let Some(state) = &self.state else { return (Vec::new(), 0) };
        let under = |part: &&crate::data::Part| part.value.get().is_some_and(|value| value.op.record == *record);
        let writes: Vec<_> = state
            .parts()
            .filter(under)
            .map(|part| {
                let rest = [record.as_bytes().as_slice(), part.part.as_bytes()].concat();
                keys::put(self.session, keys::COPY, &rest, encode(part))
            })
            .collect();
        self.copies += writes.len();
        let made = writes.len();
        (writes, made)
    }

    fn is_ahead(&self, actor: &ActorId) -> bool {
        let (Some(state), Some(staged)) = (&self.state, self.staged.last()) else { return false };
        state.parts().any(|part| {
            let tip =
                |of: &crate::data::Part| of.strands.iter().find(|tip| tip.actor == *actor).map_or(0, |tip| tip.seq);
            tip(part) > staged.state.part(&part.part).map_or(0, tip)
        })
    }
}

fn announced(manifest: &Manifest, hash: Hash, bytes: &[u8]) -> Announced {
    let manifest_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Announced { root: manifest.root(), manifest: hash, manifest_len }
}
