//! A map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use yrs::types::EntryChange;
use yrs::types::map::MapEvent;
use yrs::{Doc, Map, MapRef, Observable, TransactionMut};

use super::core::{Core, Root, fresh_client, is_local, locked};
use super::value::{from_out, to_any};
use super::wire::Kind;
use crate::document::{Document, DocumentError, Tally};
use crate::value::{MapChange, Value, check_key};

/// Values by keys, which several devices write at once. Of concurrent writes of a key one stays, the same everywhere.
pub struct YrsMap {
    core: Core<MapRef>,
}

impl YrsMap {
    /// An empty map, or the one of a snapshot; ops follow by [`Document::apply`]. Others' changes are told from then on.
    ///
    /// # Errors
    /// [`DocumentError::Refused`] for a snapshot that isn't one, and for want of random numbers.
    pub fn open(snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        Self::with_client(fresh_client()?, snapshot)
    }

    /// As [`YrsMap::open`], for simulations: with a client id that no other open document of the part has, of which 35
    /// bits count.
    ///
    /// # Errors
    /// [`DocumentError::Refused`] for a snapshot that isn't one.
    pub fn with_client(client: u64, snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let mut core = Core::open(Kind::Map, client, snapshot)?;
        core.watch()?;
        Ok(YrsMap { core })
    }

    /// Writes a key.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] for a key or a value that is too long; [`DocumentError::Broken`].
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), DocumentError> {
        check_key(key)?;
        value.check()?;
        let value = to_any(value);
        self.core.edit(|root, txn| {
            root.insert(txn, key, value);
        })
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn remove(&mut self, key: &str) -> Result<(), DocumentError> {
        self.core.edit(|root, txn| {
            root.remove(txn, key);
        })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn get(&mut self, key: &str) -> Result<Option<Value>, DocumentError> {
        self.core.read(|root, txn| root.get(txn, key).as_ref().map(from_out))
    }

    /// All keys and their values.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn entries(&mut self) -> Result<BTreeMap<String, Value>, DocumentError> {
        self.core.read(|root, txn| root.iter(txn).map(|(key, value)| (key.to_owned(), from_out(&value))).collect())
    }

    /// What others changed since the last call, in order.
    pub fn changes(&mut self) -> Vec<MapChange> {
        self.core.changes()
    }
}

impl Document for YrsMap {
    fn apply(&mut self, update: &[u8]) -> Result<(), DocumentError> {
        self.core.apply(update).map(|_| ())
    }

    fn flush(&mut self) -> Option<Vec<u8>> {
        self.core.next_op()
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, DocumentError> {
        self.core.snapshot()
    }

    fn broken(&self) -> Option<&str> {
        self.core.broken()
    }

    fn tally(&self) -> &Tally {
        self.core.tally()
    }
}

impl Root for MapRef {
    type Change = MapChange;

    fn of(doc: &Doc, kind: Kind) -> Self {
        doc.get_or_insert_map(kind.root())
    }

    fn watch(&self, sink: Arc<Mutex<Vec<MapChange>>>) {
        self.observe("watch", move |txn: &TransactionMut<'_>, event: &MapEvent| {
            if is_local(txn) {
                return;
            }
            let mut changes: Vec<MapChange> =
                event.keys(txn).iter().map(|(key, change)| changed(key, change)).collect();
            // The library's order is that of a hash map.
            changes.sort_by(|a, b| a.key.cmp(&b.key));
            locked(&sink).append(&mut changes);
        });
    }
}

fn changed(key: &str, change: &EntryChange) -> MapChange {
    let value = match change {
        EntryChange::Inserted(value) | EntryChange::Updated(_, value) => Some(from_out(value)),
        EntryChange::Removed(_) => None,
    };
    MapChange { key: key.to_owned(), value }
}
