//! A map.

use std::collections::BTreeMap;

use automerge::transaction::Transactable;
use automerge::{ReadDoc, ScalarValue, Value as Held};

use super::core::{Core, fresh_actor};
use crate::document::{Document, DocumentError, Tally};
use crate::value::{MapChange, Value, check_key};

/// Values by keys, which several devices write at once. Of concurrent writes of a key one stays, the same everywhere.
pub struct AutomergeMap {
    core: Core,
    shown: BTreeMap<String, Value>,
    changes: Vec<MapChange>,
}

impl AutomergeMap {
    /// An empty map, or the one of a snapshot; ops follow by [`Document::apply`].
    ///
    /// # Errors
    /// [`DocumentError::Broken`] for a snapshot that isn't one, and for want of random numbers.
    pub fn open(snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        Self::with_actor(fresh_actor()?, snapshot)
    }

    /// As [`AutomergeMap::open`], for simulations: with an actor that no other open document of the part has.
    ///
    /// # Errors
    /// [`DocumentError::Broken`] for a snapshot that isn't one.
    pub fn with_actor(actor: [u8; 16], snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let core = Core::open(false, actor, snapshot)?;
        let mut map = AutomergeMap { core, shown: BTreeMap::new(), changes: Vec::new() };
        map.shown = map.held()?;
        Ok(map)
    }

    /// Writes a key.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] for a key or a value that is too long; [`DocumentError::Broken`].
    pub fn set(&mut self, key: &str, value: &Value) -> Result<(), DocumentError> {
        check_key(key)?;
        value.check()?;
        self.core.edit(|doc, object| doc.put(object, key, to_scalar(value)))?;
        self.shown.insert(key.to_owned(), value.clone());
        Ok(())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn remove(&mut self, key: &str) -> Result<(), DocumentError> {
        self.core.check()?;
        if self.shown.remove(key).is_none() {
            return Ok(());
        }
        self.core.edit(|doc, object| doc.delete(object, key))
    }

    /// All keys and their values; also when the document is broken.
    pub fn entries(&self) -> &BTreeMap<String, Value> {
        &self.shown
    }

    /// What others changed since the last call: each key once.
    pub fn changes(&mut self) -> Vec<MapChange> {
        std::mem::take(&mut self.changes)
    }

    fn held(&mut self) -> Result<BTreeMap<String, Value>, DocumentError> {
        self.core.call(|live| {
            let items = live.doc.map_range(&live.object, ..);
            Ok(items.filter_map(|item| Some((item.key.to_string(), from_held(&item.value.into_value())?))).collect())
        })
    }

    fn follow(&mut self) -> Result<(), DocumentError> {
        let fresh = self.held()?;
        let changed = fresh.iter().filter(|(key, value)| self.shown.get(*key) != Some(value));
        let changed = changed.map(|(key, value)| MapChange { key: key.clone(), value: Some(value.clone()) });
        let gone = self.shown.keys().filter(|key| !fresh.contains_key(*key));
        self.changes.extend(changed.chain(gone.map(|key| MapChange { key: key.clone(), value: None })));
        self.shown = fresh;
        Ok(())
    }
}

impl Document for AutomergeMap {
    fn apply(&mut self, update: &[u8]) -> Result<(), DocumentError> {
        self.core.apply(update)?;
        self.follow()
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

fn to_scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::Boolean(*value),
        Value::Int(value) => ScalarValue::Int(*value),
        Value::Float(value) => ScalarValue::F64(*value),
        Value::Text(value) => ScalarValue::Str(value.as_str().into()),
        Value::Bytes(value) => ScalarValue::Bytes(value.clone()),
    }
}

/// None for what [`to_scalar`] doesn't make: another program's values aren't shown.
fn from_held(value: &Held<'_>) -> Option<Value> {
    let Held::Scalar(value) = value else { return None };
    Some(match value.as_ref() {
        ScalarValue::Null => Value::Null,
        ScalarValue::Boolean(value) => Value::Bool(*value),
        ScalarValue::Int(value) => Value::Int(*value),
        ScalarValue::F64(value) => Value::Float(*value),
        ScalarValue::Str(value) => Value::Text(value.to_string()),
        ScalarValue::Bytes(value) => Value::Bytes(value.clone()),
        _ => return None,
    })
}
