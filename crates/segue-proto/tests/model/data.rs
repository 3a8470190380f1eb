//! A session's data in the model: the exclusive writes that a device holds, in order.

use segue_proto::data::Pick;
use segue_proto::handoff::{Holdings, Inline, Release, keys};
use segue_proto::wire::{
    ActorId, Announced, Blob, DeviceId, Final, Hash, Held, Hlc, List, Nonce, Op, PartId, SessionId,
};
use segue_proto::{Clause, Code, Rules, Violation, Write};

/// The writes by their numbers. A hash that stands for them is just their list, so that what a hash names is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Data {
    pub session: SessionId32,
    pub log: Option<Vec<u8>>,
    pub staged: Vec<Vec<u8>>,
    /// How many writes a GRANT has room for, if not for all.
    pub room: Option<u8>,
}

/// A session id that has a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionId32(pub SessionId);

impl Default for SessionId32 {
    fn default() -> Self {
        SessionId32(SessionId::ZERO)
    }
}

/// The hash that stands for a list of writes.
pub(crate) fn name(log: &[u8]) -> Hash {
    let mut bytes = [0xff; 32];
    bytes[0] = log.len() as u8;
    bytes[1..=log.len()].copy_from_slice(log);
    Hash::new(bytes)
}

/// The list that a hash stands for.
pub(crate) fn list(name: &Hash) -> Vec<u8> {
    let bytes = name.as_bytes();
    bytes[1..=usize::from(bytes[0])].to_vec()
}

/// The writes that a FINAL and its inline ops make.
pub(crate) fn list_with(manifest: &Hash, ops: &[Op]) -> Vec<u8> {
    let inline = ops.iter().filter_map(|op| op.body.first().copied());
    list(manifest).into_iter().chain(inline).collect()
}

impl Data {
    /// Of a session that this device created, or heard of.
    pub(crate) fn new(session: SessionId, own: bool) -> Data {
        Data { session: SessionId32(session), log: own.then(Vec::new), staged: Vec::new(), room: None }
    }

    /// From the journal.
    pub(crate) fn restore(session: SessionId, own: bool, entries: Vec<(u8, Vec<u8>, Vec<u8>)>) -> Data {
        let mut data = Data::new(session, own);
        for (letter, _, value) in entries {
            match letter {
                keys::BASE => data.log = Some(value),
                keys::MANIFEST => data.staged.push(value),
                _ => {}
            }
        }
        data
    }

    /// Writes, as the primary does.
    pub(crate) fn write(&mut self, write: u8) -> Write {
        self.log.get_or_insert_default().push(write);
        self.put_log()
    }

    /// Keeps what was fetched.
    pub(crate) fn stage(&mut self, log: Vec<u8>) -> Write {
        self.staged.retain(|staged| *staged != log);
        self.staged.push(log.clone());
        keys::put(self.session.0, keys::MANIFEST, name(&log).as_bytes(), log)
    }

    fn put_log(&self) -> Write {
        keys::put(self.session.0, keys::BASE, &[], self.log.clone().unwrap_or_default())
    }

    fn has_room(&self, writes: usize) -> bool {
        self.room.is_none_or(|room| writes <= usize::from(room))
    }

    fn is_held(&self, log: &Vec<u8>) -> bool {
        self.staged.contains(log) || self.log.as_ref() == Some(log)
    }

    fn unstage(&mut self, keep: usize) -> Vec<Write> {
        let gone = self.staged.len().saturating_sub(keep);
        let gone: Vec<_> = self.staged.drain(..gone).collect();
        gone.iter().map(|log| keys::delete(self.session.0, keys::MANIFEST, name(log).as_bytes())).collect()
    }

    fn newest(&self) -> Option<&Vec<u8>> {
        self.staged.last().or(self.log.as_ref())
    }
}

impl Holdings for Data {
    fn announce(&mut self, _to: &DeviceId) -> Result<Announced, Code> {
        let log = self.log.as_ref().ok_or(Code::DATA_UNAVAILABLE)?;
        Ok(Announced { root: name(log), manifest: name(log), manifest_len: log.len() as u32 })
    }

    fn held(&mut self, _told: Option<&Hash>, _pick: &Pick) -> Option<Held> {
        self.newest().map(|log| Held { root: name(log), manifest: name(log) })
    }

    fn holds(&mut self, manifest: &Hash, _pick: &Pick) -> bool {
        self.is_held(&list(manifest))
    }

    fn release(&mut self, rules: Rules, have: Option<&Held>) -> Option<Release> {
        let log = self.log.clone()?;
        let (root, exclusive) = (name(&log), name(&log));
        let whole = Release {
            root,
            exclusive,
            manifest: name(&log),
            manifest_len: log.len() as u32,
            inline: Inline::default(),
        };
        if !rules.keeps(Clause::HO_GRANT_4) {
            return Some(whole);
        }
        let rest = log.strip_prefix(list(&have?.manifest).as_slice()).filter(|rest| self.has_room(rest.len()))?;
        let ops = rest.iter().enumerate().map(|(at, write)| op(at, *write)).collect();
        Some(Release { manifest: have?.manifest, inline: Inline { ops, parts: Vec::new() }, ..whole })
    }

    fn standing(&mut self) -> Option<Release> {
        let log = self.log.clone()?;
        let (root, exclusive) = (name(&log), name(&log));
        Some(Release {
            root,
            exclusive,
            manifest: name(&log),
            manifest_len: log.len() as u32,
            inline: Inline::default(),
        })
    }

    fn matches(&mut self, root: &Hash, _exclusive: Option<&Hash>, _pick: &Pick) -> bool {
        self.is_held(&list(root))
    }

    fn leaves_room(&mut self, manifest: &Hash, _part: &PartId, _len: usize) -> bool {
        let behind = self.log.as_ref().map_or(0, |log| log.len().saturating_sub(list(manifest).len()));
        self.has_room(behind + 1)
    }

    fn check(
        &mut self,
        rules: Rules,
        _said: (Option<&Held>, &Pick),
        end: &Final,
        inline: &Inline,
    ) -> Result<(), Violation> {
        let base = list(&end.manifest);
        let held = self.is_held(&base);
        rules.ensure(Clause::HO_GRANT_7, held, Code::DATA_INCOMPLETE)?;
        let whole = list_with(&end.manifest, &inline.ops);
        rules.ensure(Clause::DATA_ROOT_1, name(&whole) == end.root, Code::DATA_ROOT)
    }

    fn keep(&mut self, _name: &str) -> Vec<Write> {
        Vec::new()
    }

    fn name_as(&mut self, _name: &str) {}

    fn adopt(&mut self, end: &Final, inline: &Inline, _from: DeviceId, _pick: Pick) -> Vec<Write> {
        let base = list(&end.manifest);
        let held = self.is_held(&base);
        let inline = inline.ops.iter().filter_map(|op| op.body.first().copied());
        // Without the check, what isn't held can't be made one's own.
        self.log = Some(if held { base } else { Vec::new() }.into_iter().chain(inline).collect());
        let mut writes = vec![self.put_log()];
        writes.extend(self.unstage(0));
        writes
    }

    fn forget_claims(&mut self) -> Vec<Write> {
        self.unstage(1)
    }

    fn copy_aside(&mut self, _record: &Hash) -> (Vec<Write>, usize) {
        (Vec::new(), 0)
    }

    fn wrote_exclusive(&self, _actor: &ActorId) -> bool {
        false
    }
}

fn op(at: usize, write: u8) -> Op {
    Op {
        part: PartId::ZERO,
        actor: ActorId::ZERO,
        seq: at as u64 + 1,
        deps: List::empty(),
        hlc: Hlc::ZERO,
        record: Hash::ZERO,
        salt: Nonce::ZERO,
        body: Blob::new(vec![write]).unwrap_or_default(),
    }
}
