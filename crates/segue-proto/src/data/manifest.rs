//! The manifest: all that a device must hold of a session, in one blob.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::hashes::root;
use super::objects::{Entry, Part, PartKind};
use super::path::Tree;
use super::state::State;
use crate::limits::{MAX_MANIFEST, MAX_PARTS};
use crate::wire::codec::{decode, encode};
use crate::wire::hash::blob_id;
use crate::wire::schema::wire;
use crate::wire::text::check_name;
use crate::wire::{Announced, Hash, List, Op, PartId, SessionId, Text};
use crate::{Clause, Code, Rules, Violation};

wire! {
    /// All parts of a session, with the tips of their strands and their values.
    pub struct Manifest {
        /// The session.
        session: SessionId,
        /// The session's name, to show to the user.
        name: Text<256>,
        /// Its parts, ascending by id.
        parts: List<Part, MAX_PARTS>,
    }
}

impl Manifest {
    /// The most bytes that stand before the parts in an encoding: session, name with its length, number of parts.
    pub(super) const MAX_HEADER: usize = 16 + 2 + 256 + 3;

    /// Decodes a manifest strictly and checks everything that it says of `session`'s data.
    ///
    /// Errors: WIRE-* for its form; DATA-MANIFEST-1 to -4, DATA-OP-1, DATA-OP-4, DATA-ENTRY-1, DATA-NAME-1.
    pub fn open(rules: Rules, bytes: &[u8], session: &SessionId) -> Result<Manifest, Violation> {
        rules.ensure(Clause::WIRE_CAP_1, bytes.len() <= MAX_MANIFEST, Code::LIMIT_MANIFEST)?;
        let manifest: Manifest = decode(rules, bytes)?;
        rules.ensure(Clause::DATA_MANIFEST_3, manifest.session == *session, Code::DATA_MANIFEST)?;
        check_name(rules, &manifest.name)?;
        let ascending = manifest.parts.is_sorted_by(|a, b| a.part < b.part);
        rules.ensure(Clause::DATA_MANIFEST_1, ascending, Code::DATA_MANIFEST)?;
        manifest.parts.iter().try_for_each(|part| part.check(rules, session, true))?;
        manifest.check_entries(rules)?;
        Ok(manifest)
    }

    /// The root: which ops the session has.
    pub fn root(&self) -> Hash {
        root(&self.session, self.parts.iter().map(|part| (part.part, part.root())))
    }

    /// The root of the exclusive parts alone.
    pub fn exclusive_root(&self) -> Hash {
        let exclusive: Vec<_> = self.parts.iter().filter(|part| part.kind == PartKind::Exclusive.number()).collect();
        root(&self.session, exclusive.into_iter().map(|part| (part.part, part.root())))
    }

    /// The encoding: the content of the manifest's blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// How it is announced to those who may fetch it, and its encoding.
    pub fn announce(&self) -> (Announced, Vec<u8>) {
        let bytes = self.to_bytes();
        // A manifest has at most MAX_MANIFEST bytes.
        let manifest_len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        (Announced { root: self.root(), manifest: blob_id(&bytes), manifest_len }, bytes)
    }

    /// The part with this id.
    pub fn part(&self, id: &PartId) -> Option<&Part> {
        let at = self.parts.binary_search_by(|part| part.part.cmp(id)).ok()?;
        self.parts.get(at)
    }

    /// The files and directories of the session, without those removed, by part, each at a path of its own: two that
    /// were made without knowing of each other may want the same (DATA-TREE-1).
    pub fn entries(&self) -> impl Iterator<Item = (PartId, Entry)> {
        placed(self.parts.iter(), false)
    }

    /// Every file that a value of a blob part names, those that aren't shown included.
    pub fn contents(&self) -> impl Iterator<Item = Entry> {
        self.parts.iter().flat_map(Part::entries).filter(Entry::is_file)
    }

    /// The manifest after inline ops of exclusive parts, in the order in which they were made.
    ///
    /// It takes in the whole manifest; [`State::stage`] costs only what changes. Errors: as there.
    pub fn apply(&self, rules: Rules, ops: &[Op]) -> Result<Manifest, Violation> {
        let mut state = State::from_manifest(self.clone());
        let advance = state.stage(rules, ops)?;
        state.commit(advance);
        Ok(state.to_manifest())
    }

    /// Between entries one rule holds: one length a blob.
    fn check_entries(&self, rules: Rules) -> Result<(), Violation> {
        let mut lens = BTreeMap::new();
        for entry in self.contents() {
            let agrees = *lens.entry(entry.blob).or_insert(entry.len) == entry.len;
            rules.ensure(Clause::DATA_MANIFEST_4, agrees, Code::DATA_MANIFEST)?;
        }
        Ok(())
    }
}

/// The entries of parts that ascend by id, each at its place in the tree; `plain` if that is known to be its own path.
pub(super) fn placed<'a>(parts: impl Iterator<Item = &'a Part>, plain: bool) -> impl Iterator<Item = (PartId, Entry)> {
    let mut tree = Tree::default();
    let shown = parts.filter_map(|part| Some((part.part, part.entry()?)));
    shown.filter(|(_, entry)| entry.is_live()).map(move |(part, mut entry)| {
        if plain {
            return (part, entry);
        }
        let place = tree.place(&entry.path, part, entry.is_file());
        tree.insert(&place, part, entry.is_file());
        entry.path = Text::new(place).unwrap_or_default();
        (part, entry)
    })
}
