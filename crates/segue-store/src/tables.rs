//! The two tables of the database, and the checksums on what they hold.
//!
//! Every value is stored behind a tag of its store, key and value, and the meta row holds the sum of all tags. So a
//! flipped bit, an entry that is lost, and one that comes from another store or from an earlier state are all found
//! when the store is opened, whatever the database's own (not cryptographic) checksums say of them. The store's id
//! is random and goes into every tag, so a peer whose bytes end up in the journal can't work towards a given sum.

use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use segue_proto::{Lsn, Write};

use crate::error::{StoreError, from_redb};

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// The row that says what the store is, and how far it has come. It is written by every transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Random; what the witness file knows the store by.
    pub(crate) store: [u8; 16],
    /// How often the store was opened. Zero only until its creation is complete.
    pub(crate) opens: u64,
    /// The last batch.
    pub(crate) last: Lsn,
    /// Opened without proven continuity, and no batch is durable since.
    pub(crate) adrift: bool,
    /// How many entries there are.
    pub(crate) count: u64,
    /// The sum of their tags.
    pub(crate) sum: u128,
}

impl Meta {
    pub(crate) fn new(store: [u8; 16]) -> Self {
        Meta { store, opens: 0, last: Lsn(0), adrift: false, count: 0, sum: 0 }
    }

    /// Applies writes to the entries, in order, and keeps count and sum.
    pub(crate) fn apply(&mut self, txn: &WriteTransaction, writes: &[&[Write]]) -> Result<(), redb::Error> {
        let mut table = txn.open_table(ENTRIES)?;
        writes.iter().copied().flatten().try_for_each(|write| self.apply_one(&mut table, write))
    }

    /// Puts the row itself.
    pub(crate) fn put(&self, txn: &WriteTransaction) -> Result<(), redb::Error> {
        txn.open_table(META)?.insert(META_KEY, self.encode().as_slice())?;
        Ok(())
    }

    /// Reads and verifies everything.
    pub(crate) fn load(db: &Database) -> Result<(Meta, Vec<Entry>), StoreError> {
        let what = "reading the journal";
        let txn = db.begin_read().map_err(|e| from_redb(what, e.into()))?;
        let meta = {
            let table = txn.open_table(META).map_err(|e| from_redb(what, e.into()))?;
            let row = table.get(META_KEY).map_err(|e| from_redb(what, e.into()))?;
            Meta::decode(row.ok_or_else(|| StoreError::corrupt("the journal has no meta row"))?.value())?
        };
        let table = txn.open_table(ENTRIES).map_err(|e| from_redb(what, e.into()))?;
        let (mut entries, mut sum) = (Vec::new(), 0u128);
        for row in table.iter().map_err(|e| from_redb(what, e.into()))? {
            let (key, stored) = row.map_err(|e| from_redb(what, e.into()))?;
            let (tag, value) = open(&meta.store, key.value(), stored.value())?;
            sum = sum.wrapping_add(tag);
            entries.push((key.value().to_vec(), value.to_vec()));
        }
        if entries.len() as u64 != meta.count || sum != meta.sum {
            return Err(StoreError::corrupt("the journal's entries aren't those that were written"));
        }
        Ok((meta, entries))
    }

    fn apply_one(
        &mut self,
        table: &mut Table<'_, &'static [u8], &'static [u8]>,
        write: &Write,
    ) -> Result<(), redb::Error> {
        let before = match &write.value {
            Some(value) => {
                let (tag, stored) = seal(&self.store, &write.key, value);
                self.count += 1;
                self.sum = self.sum.wrapping_add(tag);
                table.insert(write.key.as_slice(), stored.as_slice())?.map(|old| tag_of(old.value()))
            }
            None => table.remove(write.key.as_slice())?.map(|old| tag_of(old.value())),
        };
        if let Some(tag) = before {
            self.count = self.count.wrapping_sub(1);
            self.sum = self.sum.wrapping_sub(tag.unwrap_or_default());
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = vec![FORMAT];
        row.extend_from_slice(&self.store);
        row.extend_from_slice(&self.opens.to_be_bytes());
        row.extend_from_slice(&self.last.0.to_be_bytes());
        row.push(u8::from(self.adrift));
        row.extend_from_slice(&self.count.to_be_bytes());
        row.extend_from_slice(&self.sum.to_be_bytes());
        let tag = checksum(META_CONTEXT, &[&row]);
        row.extend_from_slice(&tag.to_be_bytes());
        row
    }

    fn decode(row: &[u8]) -> Result<Meta, StoreError> {
        let mut fields = Fields(row);
        let found = fields.take::<1>()?[0];
        if found > FORMAT {
            return Err(StoreError::Format { found, known: FORMAT });
        }
        let meta = Meta {
            store: fields.take()?,
            opens: u64::from_be_bytes(fields.take()?),
            last: Lsn(u64::from_be_bytes(fields.take()?)),
            adrift: fields.take::<1>()?[0] != 0,
            count: u64::from_be_bytes(fields.take()?),
            sum: u128::from_be_bytes(fields.take()?),
        };
        // Comparing the whole encoding also refuses what follows the row, and an odd `adrift`.
        if meta.encode() == row { Ok(meta) } else { Err(StoreError::corrupt("the journal's meta row")) }
    }
}

/// Reads fixed fields from the front of a slice.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| StoreError::corrupt("a row is cut short"))?;
        self.0 = rest;
        Ok(*field)
    }
}

/// The first 16 bytes of a BLAKE3 hash: enough against chance, and nobody chooses what is hashed here.
pub(crate) fn checksum(context: &str, fields: &[&[u8]]) -> u128 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    fields.iter().for_each(|field| {
        hasher.update(field);
    });
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    u128::from_be_bytes(out)
}

fn seal(store: &[u8; 16], key: &[u8], value: &[u8]) -> (u128, Vec<u8>) {
    let tag = entry_tag(store, key, value);
    let mut stored = Vec::with_capacity(TAG + value.len());
    stored.extend_from_slice(&tag.to_be_bytes());
    stored.extend_from_slice(value);
    (tag, stored)
}

fn open<'a>(store: &[u8; 16], key: &[u8], stored: &'a [u8]) -> Result<(u128, &'a [u8]), StoreError> {
    let value = stored.get(TAG..).unwrap_or_default();
    let tag = entry_tag(store, key, value);
    if tag_of(stored) == Some(tag) {
        Ok((tag, value))
    } else {
        Err(StoreError::corrupt("a journal entry doesn't match its checksum"))
    }
}

fn tag_of(stored: &[u8]) -> Option<u128> {
    stored.first_chunk().map(|tag| u128::from_be_bytes(*tag))
}

fn entry_tag(store: &[u8; 16], key: &[u8], value: &[u8]) -> u128 {
    checksum(ENTRY_CONTEXT, &[store, &(key.len() as u64).to_be_bytes(), key, value])
}

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const META_KEY: &str = "meta";
const META_CONTEXT: &str = "segue/1 store meta";
const ENTRY_CONTEXT: &str = "segue/1 store entry";
/// The bytes of a tag.
const TAG: usize = 16;
/// The format of the tables.
const FORMAT: u8 = 1;
