//! An array.

use std::sync::{Arc, Mutex};

use yrs::types::Change;
use yrs::types::array::ArrayEvent;
use yrs::{Array, ArrayRef, Doc, Observable, TransactionMut};

use super::core::{Core, Root, fresh_client, is_local, locked};
use super::value::{from_out, to_any};
use super::wire::Kind;
use crate::document::{Document, DocumentError, Tally};
use crate::limits::{MAX_ELEMENTS, MAX_LEN};
use crate::value::Value;

/// Values in an order, which several devices edit at once.
pub struct YrsArray {
    core: Core<ArrayRef>,
}

/// A change of an array that another device made: at `at`, `deleted` elements went and `inserted` came.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayPatch {
    /// The position.
    pub at: usize,
    /// How many went.
    pub deleted: usize,
    /// What came in their place.
    pub inserted: Vec<Value>,
}

impl YrsArray {
    /// An empty array, or the one of a snapshot; ops follow by [`Document::apply`]. Others' changes are told from then
    /// on.
    ///
    /// # Errors
    /// [`DocumentError::Refused`] for a snapshot that isn't one, and for want of random numbers.
    pub fn open(snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        Self::with_client(fresh_client()?, snapshot)
    }

    /// As [`YrsArray::open`], for simulations: with a client id that no other open document of the part has, of which 35
    /// bits count.
    ///
    /// # Errors
    /// [`DocumentError::Refused`] for a snapshot that isn't one.
    pub fn with_client(client: u64, snapshot: Option<&[u8]>) -> Result<Self, DocumentError> {
        let mut core = Core::open(Kind::Array, client, snapshot)?;
        core.watch()?;
        Ok(YrsArray { core })
    }

    /// Inserts before the element `at`.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] outside the array, or beyond a limit; [`DocumentError::Broken`].
    pub fn insert(&mut self, at: usize, values: &[Value]) -> Result<(), DocumentError> {
        let len = self.len()?;
        if values.len() > MAX_ELEMENTS || len + values.len() > MAX_LEN as usize {
            return Err(DocumentError::Edit("too many elements"));
        }
        values.iter().try_for_each(Value::check)?;
        let index = u32::try_from(at).ok().filter(|_| at <= len).ok_or(OUTSIDE)?;
        if values.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = values.iter().map(to_any).collect();
        self.core.edit(|root, txn| root.insert_range(txn, index, values))
    }

    /// Deletes `count` elements from `at` on.
    ///
    /// # Errors
    /// [`DocumentError::Edit`] outside the array; [`DocumentError::Broken`].
    pub fn delete(&mut self, at: usize, count: usize) -> Result<(), DocumentError> {
        let end = at.checked_add(count).ok_or(OUTSIDE)?;
        if end > self.len()? {
            return Err(OUTSIDE);
        }
        let (at, count) = (u32::try_from(at).map_err(|_| OUTSIDE)?, u32::try_from(count).map_err(|_| OUTSIDE)?);
        if count == 0 {
            return Ok(());
        }
        self.core.edit(|root, txn| root.remove_range(txn, at, count))
    }

    /// All elements.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn values(&mut self) -> Result<Vec<Value>, DocumentError> {
        self.core.read(|root, txn| root.iter(txn).map(|value| from_out(&value)).collect())
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn len(&mut self) -> Result<usize, DocumentError> {
        self.core.read(|root, txn| root.len(txn) as usize)
    }

    /// There are none.
    ///
    /// # Errors
    /// [`DocumentError::Broken`].
    pub fn is_empty(&mut self) -> Result<bool, DocumentError> {
        self.len().map(|len| len == 0)
    }

    /// What others changed since the last call, in order.
    pub fn patches(&mut self) -> Vec<ArrayPatch> {
        self.core.changes()
    }
}

impl Document for YrsArray {
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

impl Root for ArrayRef {
    type Change = ArrayPatch;

    fn of(doc: &Doc, kind: Kind) -> Self {
        doc.get_or_insert_array(kind.root())
    }

    fn watch(&self, sink: Arc<Mutex<Vec<ArrayPatch>>>) {
        self.observe("watch", move |txn: &TransactionMut<'_>, event: &ArrayEvent| {
            if !is_local(txn) {
                patches(event.delta(txn), &mut locked(&sink));
            }
        });
    }
}

fn patches(delta: &[Change], patches: &mut Vec<ArrayPatch>) {
    let mut at = 0;
    for change in delta {
        match change {
            Change::Retain(count) => at += *count as usize,
            Change::Removed(count) => {
                patches.push(ArrayPatch { at, deleted: *count as usize, inserted: Vec::new() });
            }
            Change::Added(values) => {
                let inserted: Vec<_> = values.iter().map(from_out).collect();
                at += inserted.len();
                patches.push(ArrayPatch { at: at - inserted.len(), deleted: 0, inserted });
            }
        }
    }
}

const OUTSIDE: DocumentError = DocumentError::Edit("the position lies outside the array");
