//! What texts, maps and arrays share: a library's document behind a guard, the ops that wait to be flushed, and the
//! count of those that came.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use yrs::block::ClientID;
use yrs::undo::{Options as UndoOptions, UndoManager};
use yrs::updates::decoder::Decode;
use yrs::{Doc, OffsetKind, Options, ReadTxn, StateVector, Transact, TransactionMut, Update};

use super::split::split;
use super::wire::{self, Block, Content, Kind, Seen, Single, Source, Writer};
use crate::document::{DocumentError, Tally};
use crate::guard::guarded;
use crate::limits::{MAX_HISTORY, MAX_SNAPSHOT, MAX_UPDATE, MAX_WAITING};

/// A document of the library, as long as it lives.
pub(super) struct Core<R: Root> {
    kind: Kind,
    live: Option<Live<R>>,
    broken: Option<String>,
    tally: Tally,
    out: VecDeque<Vec<u8>>,
    /// The bytes of all updates taken.
    history: u64,
    /// The bytes of those taken since one is missing.
    waiting: u64,
    wrote: bool,
    astral: bool,
}

/// What the library keeps.
pub(super) struct Live<R: Root> {
    // Dropped first: it is subscribed to the document.
    undo: Option<UndoManager<()>>,
    pub(super) doc: Doc,
    /// The document's one root.
    pub(super) root: R,
    /// What others changed, if somebody watches.
    changes: Option<Sink<R>>,
}

/// Where changes wait for the application.
type Sink<R> = Arc<Mutex<Vec<<R as Root>::Change>>>;

/// The kinds of roots.
pub(super) trait Root: AsRef<yrs::branch::Branch> + Sized {
    /// The document's root of this kind.
    fn of(doc: &Doc, kind: Kind) -> Self;
    /// A change that another device made, or undoing.
    type Change: Send + 'static;
    /// Has all of them put into `sink`.
    fn watch(&self, sink: Sink<Self>);
}

impl<R: Root> Core<R> {
    pub(super) fn open(kind: Kind, client: u64, snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let mut client = client & CLIENT_BITS;
        if let Some(snapshot) = snapshot {
            if snapshot.len() > MAX_SNAPSHOT {
                return Err(DocumentError::Refused("a snapshot beyond the limit"));
            }
            let seen = wire::look(kind, Source::Snapshot, snapshot).map_err(DocumentError::Refused)?;
            while seen.clients.contains(&client) {
                client = (client + 1) & CLIENT_BITS;
            }
        }
        let mut core = Core {
            kind,
            live: None,
            broken: None,
            tally: Tally::default(),
            out: VecDeque::new(),
            history: 0,
            waiting: 0,
            wrote: false,
            astral: false,
        };
        core.live = Some(guarded(|| Live::new(kind, client)).map_err(DocumentError::Broken)?);
        if let Some(snapshot) = snapshot {
            core.take(Source::Snapshot, snapshot)?;
        }
        Ok(core)
    }

    /// Takes an op of another device. Its edit, if it is a single one, and nothing else happened.
    pub(super) fn apply(&mut self, update: &[u8]) -> Result<Option<Single>, DocumentError> {
        let done = self.take(Source::Op, update);
        self.tally.count(done.as_ref().err());
        done
    }

    fn take(&mut self, source: Source, update: &[u8]) -> Result<Option<Single>, DocumentError> {
        self.check()?;
        if source == Source::Op && update.len() > MAX_UPDATE {
            return Err(DocumentError::Refused("an op beyond the limit"));
        }
        let seen = wire::look(self.kind, source, update).map_err(DocumentError::Refused)?;
        self.history += update.len() as u64;
        if self.history > MAX_HISTORY {
            return Err(self.break_off("its ops take more than 64 MiB; open it from a snapshot".into()));
        }
        self.keep_own_client(&seen)?;
        self.astral |= seen.astral;
        let missing = self.call(|live| live.apply(update))?;
        let alone = !missing && self.waiting == 0;
        self.waiting = if missing { self.waiting + update.len() as u64 } else { 0 };
        if self.waiting > MAX_WAITING {
            return Err(self.break_off("ops that build on others came without them".into()));
        }
        Ok(seen.single.filter(|_| alone))
    }

    /// Another device writes under this document's client id.
    fn keep_own_client(&mut self, seen: &Seen) -> Result<(), DocumentError> {
        let Some(own) = self.live.as_ref().map(|live| live.doc.client_id().get()) else { return Ok(()) };
        if !seen.clients.contains(&own) {
            return Ok(());
        }
        if self.wrote {
            return Err(self.break_off("another device writes under its client id; open it again".into()));
        }
        let kind = self.kind;
        self.call(|live| live.renew(kind, (own + 1) & CLIENT_BITS))
    }

    /// A local edit, in one transaction; its update will be flushed.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&R, &mut TransactionMut<'_>)) -> Result<(), DocumentError> {
        self.wrote = true;
        let update = self.call(|live| {
            let root = &live.root;
            Ok(transact(&live.doc, LOCAL, |txn| edit(root, txn), |txn| txn.encode_update_v1()).1)
        })?;
        self.queue(update)
    }

    /// A local edit of which the ops are made already: with it this document's clock stands at `clock`.
    pub(super) fn make_good(
        &mut self,
        clock: u32,
        edit: impl FnOnce(&R, &mut TransactionMut<'_>),
    ) -> Result<(), DocumentError> {
        let stands = self.call(|live| {
            let (root, client) = (&live.root, live.doc.client_id());
            let after = |txn: &TransactionMut<'_>| txn.after_state().get(&client);
            Ok(transact(&live.doc, LOCAL, |txn| edit(root, txn), after).1)
        })?;
        match stands == clock {
            true => Ok(()),
            false => Err(self.break_off("the library counts its edits otherwise than its ops were".into())),
        }
    }

    /// The op that is flushed last, if it is no more than one block of text; and where that begins.
    pub(super) fn last_insertion(&self) -> Option<(u64, u32, Block<'_>)> {
        let parsed = wire::parse(self.kind, Source::Op, self.out.back()?).ok()?;
        match (parsed.writers.as_slice(), parsed.deletions.as_slice()) {
            ([Writer { client, clock, blocks }], []) => match blocks.as_slice() {
                [block @ Block { content: Content::Text(_), .. }] => Some((*client, *clock, *block)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether ops wait to be flushed.
    pub(super) fn has_ops(&self) -> bool {
        !self.out.is_empty()
    }

    /// Undoes, or does again, the caller's last group of edits; false if there is none.
    pub(super) fn step_back(&mut self, again: bool) -> Result<bool, DocumentError> {
        self.wrote = true;
        let (changed, update) = self.call(|live| Ok(live.step_back(again)))?;
        update.map_or(Ok(()), |update| self.queue(update))?;
        Ok(changed)
    }

    fn queue(&mut self, update: Vec<u8>) -> Result<(), DocumentError> {
        // Two empty lists: nothing changed.
        if update == [0, 0] {
            return Ok(());
        }
        match split(self.kind, update, MAX_UPDATE) {
            Ok(ops) => {
                self.out.extend(ops);
                Ok(())
            }
            Err(why) => Err(self.break_off(format!("the library wrote what it shouldn't: {why}"))),
        }
    }

    /// The next op to flush.
    pub(super) fn next_op(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn snapshot(&mut self) -> Result<Vec<u8>, DocumentError> {
        self.read(|_, txn| txn.encode_state_as_update_v1(&StateVector::default()))
    }

    /// Reads.
    pub(super) fn read<T>(&mut self, read: impl FnOnce(&R, &yrs::Transaction<'_>) -> T) -> Result<T, DocumentError> {
        self.call(|live| {
            let txn = live.doc.transact();
            Ok(read(&live.root, &txn))
        })
    }

    /// The caller's edits can be undone from here on; those before can't.
    pub(super) fn remember(&mut self) -> Result<(), DocumentError> {
        self.call(|live| {
            live.remember();
            Ok(())
        })
    }

    /// Changes of others are kept from here on, for [`Core::changes`].
    pub(super) fn watch(&mut self) -> Result<(), DocumentError> {
        self.call(|live| {
            let sink = live.changes.get_or_insert_default().clone();
            live.root.watch(sink);
            Ok(())
        })
    }

    /// The changes since the last call.
    pub(super) fn changes(&mut self) -> Vec<R::Change> {
        let sink = self.live.as_ref().and_then(|live| live.changes.as_ref());
        sink.map_or_else(Vec::new, |sink| std::mem::take(&mut *locked(sink)))
    }

    /// What comes next is undone apart from what was before.
    pub(super) fn part_groups(&mut self) -> Result<(), DocumentError> {
        self.call(|live| {
            live.undo.iter_mut().for_each(UndoManager::reset);
            Ok(())
        })
    }

    /// Calls the library. A panic, or a failure half-way, breaks the document.
    pub(super) fn call<T>(&mut self, call: impl FnOnce(&mut Live<R>) -> Result<T, String>) -> Result<T, DocumentError> {
        self.check()?;
        let Some(live) = self.live.as_mut() else { return Err(DocumentError::Broken("nothing is left of it".into())) };
        match guarded(|| call(live)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(why)) | Err(why) => Err(self.break_off(why)),
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

    /// There may be characters that take two UTF-16 units.
    pub(super) fn is_astral(&self) -> bool {
        self.astral
    }

    pub(super) fn note_astral(&mut self) {
        self.astral = true;
    }
}

impl<R: Root> Drop for Core<R> {
    fn drop(&mut self) {
        let live = self.live.take();
        let _ = guarded(|| drop(live));
    }
}

impl<R: Root> Live<R> {
    fn new(kind: Kind, client: u64) -> Self {
        let mut options = Options::with_client_id(ClientID::new(client));
        options.offset_kind = OffsetKind::Utf16;
        let doc = Doc::with_options(options);
        let root = R::of(&doc, kind);
        Live { undo: None, doc, root, changes: None }
    }

    /// True if it builds on what hasn't come.
    fn apply(&mut self, update: &[u8]) -> Result<bool, String> {
        let update = Update::decode_v1(update).map_err(|error| error.to_string())?;
        let (done, missing) =
            transact(&self.doc, REMOTE, |txn| txn.apply_update(update), |txn| txn.has_missing_updates());
        done.map_err(|error| error.to_string()).map(|()| missing)
    }

    /// The same document under another client id.
    fn renew(&mut self, kind: Kind, client: u64) -> Result<(), String> {
        let state = self.doc.transact().encode_state_as_update_v1(&StateVector::default());
        let remembers = self.undo.take().is_some();
        let mut other = Self::new(kind, client);
        other.apply(&state)?;
        if remembers {
            other.remember();
        }
        if let Some(sink) = self.changes.take() {
            other.root.watch(sink.clone());
            other.changes = Some(sink);
        }
        *self = other;
        Ok(())
    }

    fn remember(&mut self) {
        let mut options = UndoOptions::default();
        options.tracked_origins.insert(LOCAL.into());
        // Groups end where the caller says, not by a clock: at a clock that stands, all edits are within the time.
        options.timestamp = Arc::new(|| 1);
        options.capture_timeout_millis = u64::MAX;
        let mut undo = UndoManager::with_options(options);
        undo.expand_scope(&self.doc, &self.root);
        self.undo = Some(undo);
    }

    fn step_back(&mut self, again: bool) -> (bool, Option<Vec<u8>>) {
        let Some(undo) = self.undo.as_mut() else { return (false, None) };
        let updates: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = updates.clone();
        let subscribed = self.doc.observe_update_v1(STEP, move |_, event| *locked(&seen) = event.update.clone());
        let changed = if again { undo.redo_blocking() } else { undo.undo_blocking() };
        if subscribed.is_ok() {
            let _ = self.doc.unobserve_update_v1(STEP);
        }
        let update = std::mem::take(&mut *locked(&updates));
        (changed, (!update.is_empty()).then_some(update))
    }
}

/// A transaction that isn't dropped if it panics: its drop would commit, and panic again, which ends the process.
fn transact<T, U>(
    doc: &Doc,
    origin: &'static str,
    change: impl FnOnce(&mut TransactionMut<'_>) -> T,
    after: impl FnOnce(&TransactionMut<'_>) -> U,
) -> (T, U) {
    let mut txn = ManuallyDrop::new(doc.transact_mut_with(origin));
    let changed = change(&mut txn);
    txn.commit();
    let after = after(&txn);
    drop(ManuallyDrop::into_inner(txn));
    (changed, after)
}

/// The caller made this transaction, and knows of it.
pub(super) fn is_local(txn: &TransactionMut<'_>) -> bool {
    txn.origin().is_some_and(|origin| *origin == LOCAL.into())
}

/// A mutex whose holder panicked holds nothing that can be half done.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client id for a new document.
pub(super) fn fresh_client() -> Result<u64, DocumentError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| DocumentError::Random(error.to_string()))?;
    Ok(u64::from_be_bytes(bytes) & CLIENT_BITS)
}

/// 35 bits: as many as 5 bytes of 7.
const CLIENT_BITS: u64 = (1 << 35) - 1;

/// Who made a transaction: the caller, or another device. Undoing has an origin of its own.
const LOCAL: &str = "local";
const REMOTE: &str = "remote";

/// The name of a subscription for the time of a step back.
const STEP: &str = "step";
