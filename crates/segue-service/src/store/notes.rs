//! The tables of notes of devices.

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use segue_proto::wire::DeviceId;

use super::failed;
use crate::directory::{Failed, Note};

/// The notes: when a device was there last, and whom it named.
const NOTES: TableDefinition<'_, &[u8; 32], (u64, &[u8])> = TableDefinition::new("notes");
/// The same times: time ‖ device.
const OLDEST: TableDefinition<'_, (u64, &[u8; 32]), ()> = TableDefinition::new("oldest");

/// Makes the tables.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), Failed> {
    transaction.open_table(NOTES).map_err(failed)?;
    transaction.open_table(OLDEST).map_err(failed)?;
    Ok(())
}

/// Keeps a note, and lets the oldest go if there are too many.
pub(super) fn keep(transaction: &WriteTransaction, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
    let mut notes = transaction.open_table(NOTES).map_err(failed)?;
    let mut oldest = transaction.open_table(OLDEST).map_err(failed)?;
    let before = notes.get(device.as_bytes()).map_err(failed)?.map(|note| note.value().0);
    if let Some(before) = before {
        oldest.remove((before, device.as_bytes())).map_err(failed)?;
    }
    notes.insert(device.as_bytes(), (note.seen, note.bytes().as_slice())).map_err(failed)?;
    oldest.insert((note.seen, device.as_bytes()), ()).map_err(failed)?;
    if notes.len().map_err(failed)? > most as u64 {
        let gone = oldest.pop_first().map_err(failed)?.map(|(key, _)| *key.value().1);
        if let Some(gone) = gone {
            notes.remove(&gone).map_err(failed)?;
        }
    }
    Ok(())
}

/// The note of a device.
pub(super) fn noted(transaction: &ReadTransaction, device: &DeviceId) -> Result<Option<Note>, Failed> {
    let table = transaction.open_table(NOTES).map_err(failed)?;
    let note = table.get(device.as_bytes()).map_err(failed)?;
    Ok(note.map(|note| {
        let (seen, named) = note.value();
        Note::of(seen, named)
    }))
}
