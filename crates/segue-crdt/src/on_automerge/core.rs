//! What texts and maps share.

use std::collections::VecDeque;

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, AutomergeError, Change, ObjId, ObjType, ROOT, TextEncoding};

use crate::document::{DocumentError, Tally};
use crate::guard::guarded;
use crate::limits::{MAX_HISTORY, MAX_SNAPSHOT, MAX_UPDATE};

/// A document of the library, as long as it lives.
pub(super) struct Core {
    live: Option<Live>,
    broken: Option<String>,
    tally: Tally,
    out: VecDeque<Vec<u8>>,
    /// The bytes of all changes taken.
    history: u64,
}

/// What the library keeps.
pub(super) struct Live {
    pub(super) doc: AutoCommit,
    /// The text object, or the root.
    pub(super) object: ObjId,
}

impl Core {
    pub(super) fn open(text: bool, actor: [u8; 16], snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let live = guarded(|| Live::new(text, actor)).and_then(|live| live.map_err(|error| error.to_string()));
        let mut core = Core {
            live: Some(live.map_err(DocumentError::Broken)?),
            broken: None,
            tally: Tally::default(),
            out: VecDeque::new(),
            history: 0,
        };
        if let Some(snapshot) = snapshot {
            if snapshot.len() > MAX_SNAPSHOT {
                return Err(DocumentError::Refused("a snapshot beyond the limit"));
            }
            core.history = snapshot.len() as u64;
            core.call(|live| live.doc.load_incremental(snapshot).map(|_| ()))?;
        }
        Ok(core)
    }

    /// Takes a change of another device.
    pub(super) fn apply(&mut self, update: &[u8]) -> Result<(), DocumentError> {
        let done = self.take(update);
        self.tally.count(done.as_ref().err());
        done
    }

    fn take(&mut self, update: &[u8]) -> Result<(), DocumentError> {
        self.check()?;
        if update.len() > MAX_UPDATE {
            return Err(DocumentError::Refused("an op beyond the limit"));
        }
        if update.get(..4) != Some(&MAGIC) || update.get(8) != Some(&CHANGE) {
            return Err(DocumentError::Refused("no uncompressed change"));
        }
        // Nothing of the document is touched yet, so that a panic is the change's fault alone.
        let change = guarded(|| Change::from_bytes(update.to_vec()));
        let Ok(Ok(change)) = change else { return Err(DocumentError::Refused("a change that can't be read")) };
        // The library doesn't compare a single change with its checksum.
        if change.raw_bytes() != update || change.hash().0.get(..4) != update.get(4..8) {
            return Err(DocumentError::Refused("a change with a wrong checksum"));
        }
        self.history += update.len() as u64;
        if self.history > MAX_HISTORY {
            return Err(self.break_off("its ops take more than 64 MiB; open it from a snapshot".into()));
        }
        self.call(|live| live.doc.apply_changes([change]))
    }

    /// A local edit, as one change.
    pub(super) fn edit(
        &mut self,
        edit: impl FnOnce(&mut AutoCommit, &ObjId) -> Result<(), AutomergeError>,
    ) -> Result<(), DocumentError> {
        let change = self.call(|live| {
            edit(&mut live.doc, &live.object)?;
            // No clock: the time is no part of the content.
            let hash = live.doc.commit_with(CommitOptions::default().with_time(0));
            Ok(hash.and_then(|hash| live.doc.get_change_by_hash(&hash)))
        })?;
        match change {
            Some(change) if change.raw_bytes().len() > MAX_UPDATE => {
                Err(self.break_off("the library wrote a change that no op can hold".into()))
            }
            change => {
                self.out.extend(change.map(|change| change.raw_bytes().to_vec()));
                Ok(())
            }
        }
    }

    /// The next op to flush.
    pub(super) fn next_op(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<u8>, DocumentError> {
        self.call(|live| Ok(live.doc.save()))
    }

    /// Calls the library. A panic, or a failure half-way, breaks the document.
    pub(super) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Live) -> Result<T, AutomergeError>,
    ) -> Result<T, DocumentError> {
        self.check()?;
        let Some(live) = self.live.as_mut() else { return Err(DocumentError::Broken("nothing is left of it".into())) };
        match guarded(|| call(live)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.break_off(error.to_string())),
            Err(why) => Err(self.break_off(why)),
        }
    }

    /// Says so if the document is broken.
    pub(super) fn check(&self) -> Result<(), DocumentError> {
        self.broken.clone().map_or(Ok(()), |why| Err(DocumentError::Broken(why)))
    }

    fn break_off(&mut self, why: String) -> DocumentError {
        // Nobody knows what state it is in, so it isn't touched again: it leaks, once.
        std::mem::forget(self.live.take());
        self.broken = Some(why.clone());
        DocumentError::Broken(why)
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Live {
    fn new(text: bool, actor: [u8; 16]) -> Result<Self, AutomergeError> {
        let mut doc = AutoCommit::new_with_encoding(TextEncoding::UnicodeCodePoint);
        if !text {
            doc.set_actor(ActorId::from(actor));
            return Ok(Live { doc, object: ROOT });
        }
        doc.set_actor(ActorId::from([0; 16]));
        let object = doc.put_object(ROOT, "text", ObjType::Text)?;
        doc.commit_with(CommitOptions::default().with_time(0));
        doc.set_actor(ActorId::from(actor));
        Ok(Live { doc, object })
    }
}

/// An actor for a new document.
pub(super) fn fresh_actor() -> Result<[u8; 16], DocumentError> {
    let mut actor = [0; 16];
    getrandom::fill(&mut actor).map_err(|error| DocumentError::Random(error.to_string()))?;
    Ok(actor)
}

/// How a chunk of Automerge's starts; its checksum follows, then its type.
const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// The type of an uncompressed change.
const CHANGE: u8 = 1;
