//! Of which files a device gets the content.

use alloc::string::String;
use alloc::vec::Vec;

use super::hashes::named_part;
use super::objects::{Part, PartKind};
use crate::limits::MAX_PICK;
use crate::wire::codec::Blob;
use crate::wire::{Ext, Exts, List, PartId, SessionId};

/// The extension of HAVE, and the one of OFFER, that name what the sender holds of the manifest (HO-PICK-4).
pub(crate) const IN_HAVE: u32 = 3;
pub(crate) const IN_OFFER: u32 = 1;

/// The files of a session whose content a device gets, by the ids of parts and of folders; without ids, all of them
/// (HO-PICK-1, HO-PICK-2).
///
/// Ops come whatever is picked: only content is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pick(List<PartId, MAX_PICK>);

impl Pick {
    /// Picks all.
    pub const fn all() -> Pick {
        Pick(List::empty())
    }

    /// Picks what these parts and folders name; none if they are more than [`MAX_PICK`].
    pub fn new(ids: impl IntoIterator<Item = PartId>) -> Option<Pick> {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        List::new(ids).map(Pick)
    }

    /// The id of a folder: what lies in it, at any depth, is picked by it. The empty path stands for the files that
    /// lie in none.
    pub fn folder(session: &SessionId, path: &str) -> PartId {
        let name: String = [path, "/"].concat();
        named_part(session, PartKind::Blob, &name)
    }

    /// Picks what either of two picks; none if they name more than [`MAX_PICK`].
    pub fn with(&self, other: &Pick) -> Option<Pick> {
        match self.is_all() || other.is_all() {
            true => Some(Pick::all()),
            false => Pick::new(self.0.iter().chain(other.0.iter()).copied()),
        }
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, ascending.
    pub fn ids(&self) -> &List<PartId, MAX_PICK> {
        &self.0
    }

    /// Whether the content of a part's file with this path is picked.
    pub fn picks(&self, session: &SessionId, part: &PartId, path: &str) -> bool {
        let holds = |id: &PartId| self.0.binary_search(id).is_ok();
        self.is_all() || holds(part) || Self::folders(session, path).any(|folder| holds(&folder))
    }

    /// The ids of the folders in which a file with this path lies.
    pub(crate) fn folders<'a>(session: &'a SessionId, path: &'a str) -> impl Iterator<Item = PartId> + 'a {
        let mut folders = path.match_indices('/').filter_map(move |(end, _)| path.get(..end)).peekable();
        let loose = folders.peek().is_none().then_some("");
        folders.chain(loose).map(move |folder| Self::folder(session, folder))
    }

    /// Whether a part has content, and none of it is picked.
    pub fn leaves_out(&self, session: &SessionId, part: &Part) -> bool {
        if self.is_all() {
            return false;
        }
        let mut files = part.entries().filter(|entry| entry.len > 0).peekable();
        files.peek().is_some() && files.all(|entry| !self.picks(session, &part.part, &entry.path))
    }

    /// The ids one after the other: as the journal and extensions have them.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|id| *id.as_bytes()).collect()
    }

    /// Reads them again; none if they are no ids that ascend, or too many.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Pick> {
        let ids = bytes.chunks(16).map(|id| Some(PartId::new(id.try_into().ok()?)));
        let ids = List::new(ids.collect::<Option<Vec<_>>>()?)?;
        ids.is_sorted_by(|a, b| a < b).then_some(Pick(ids))
    }

    /// The extension of this id by which a device says that of a manifest it holds this alone (HO-PICK-4).
    pub(crate) fn told(id: u32, pick: Option<Pick>) -> Exts {
        let bytes = pick.and_then(|pick| Blob::new(pick.to_bytes()));
        let ext = bytes.and_then(|bytes| List::new(alloc::vec![Ext { id, bytes }]));
        ext.unwrap_or_default()
    }

    /// What such an extension says; all, if it isn't there or says nothing that can be read.
    pub(crate) fn heard(id: u32, exts: &Exts) -> Pick {
        let said = exts.iter().find(|ext| ext.id == id);
        said.and_then(|ext| Pick::from_bytes(&ext.bytes)).unwrap_or_default()
    }
}
