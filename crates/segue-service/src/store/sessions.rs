//! The tables of sessions in custody.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{Hash, SessionId};
use segue_proto::{Clause, Rules};

use super::failed;
use crate::directory::{Failed, Full, Unset};
use crate::quota::Quota;

/// What stands of a session: its head, its lease, how many records there are, and the grant that waits.
type Row = (&'static [u8; 32], u64, u32, &'static [u8]);
/// The sessions.
const SESSIONS: TableDefinition<'_, &[u8; 16], Row> = TableDefinition::new("sessions");
/// The records: session ‖ number, from 0.
const RECORDS: TableDefinition<'_, (&[u8; 16], u32), &[u8]> = TableDefinition::new("records");
/// The sessions of which something waits, or whose owner has a lease.
const WAITING: TableDefinition<'_, &[u8; 16], ()> = TableDefinition::new("waiting");
/// How many sessions each device brought.
const BROUGHT: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("brought");
/// How often a session was changed.
const SETS: TableDefinition<'_, (), u64> = TableDefinition::new("sets");

/// Makes the tables.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), Failed> {
    transaction.open_table(SESSIONS).map_err(failed)?;
    transaction.open_table(RECORDS).map_err(failed)?;
    transaction.open_table(WAITING).map_err(failed)?;
    transaction.open_table(BROUGHT).map_err(failed)?;
    transaction.open_table(SETS).map_err(failed)?;
    Ok(())
}

/// Changes sessions; each has the outcome of its own.
pub(super) fn set(
    transaction: &WriteTransaction,
    rules: Rules,
    batch: &[Set],
    quota: &Quota,
) -> Result<Vec<Result<(), Unset>>, Failed> {
    batch.iter().map(|set| set_one(transaction, rules, set, quota)).collect()
}

fn set_one(
    transaction: &WriteTransaction,
    rules: Rules,
    set: &Set,
    quota: &Quota,
) -> Result<Result<(), Unset>, Failed> {
    let mut sessions = transaction.open_table(SESSIONS).map_err(failed)?;
    let session = set.session.as_bytes();
    let old = sessions.get(session).map_err(failed)?.map(|row| {
        let (head, lease, count, grant) = row.value();
        (Hash::new(*head), lease, count, grant.to_vec())
    });
    let head = old.as_ref().map_or(Hash::ZERO, |old| old.0);
    if head != set.expect && rules.keeps(Clause::SERVICE_CAS_1) {
        return Ok(Err(Unset::Stale(head)));
    }
    if old.is_none() {
        let mut brought = transaction.open_table(BROUGHT).map_err(failed)?;
        let count = brought.get(set.by.as_bytes()).map_err(failed)?.map_or(0, |count| count.value());
        if count >= quota.device_sessions {
            return Ok(Err(Unset::Full(Full::Device)));
        }
        brought.insert(set.by.as_bytes(), count + 1).map_err(failed)?;
    }
    let (_, lease, mut count, grant) = old.unwrap_or((Hash::ZERO, 0, 0, Vec::new()));
    let mut records = transaction.open_table(RECORDS).map_err(failed)?;
    for record in &set.records {
        records.insert((session, count), record.as_slice()).map_err(failed)?;
        count += 1;
    }
    let (lease, grant) = (set.lease.unwrap_or(lease), set.grant.as_ref().unwrap_or(&grant));
    sessions.insert(session, (set.head.as_bytes(), lease, count, grant.as_slice())).map_err(failed)?;
    let mut waiting = transaction.open_table(WAITING).map_err(failed)?;
    match lease > 0 || !grant.is_empty() {
        true => drop(waiting.insert(session, ()).map_err(failed)?),
        false => drop(waiting.remove(session).map_err(failed)?),
    }
    let mut sets = transaction.open_table(SETS).map_err(failed)?;
    let number = sets.get(()).map_err(failed)?.map_or(0, |sets| sets.value());
    sets.insert((), number + 1).map_err(failed)?;
    Ok(Ok(()))
}

/// A session in custody.
pub(super) fn kept(transaction: &ReadTransaction, session: &SessionId) -> Result<Option<Kept>, Failed> {
    let sessions = transaction.open_table(SESSIONS).map_err(failed)?;
    let session = session.as_bytes();
    let Some(row) = sessions.get(session).map_err(failed)? else { return Ok(None) };
    let (head, lease, count, grant) = row.value();
    let table = transaction.open_table(RECORDS).map_err(failed)?;
    let mut records = Vec::new();
    for entry in table.range((session, 0)..(session, count)).map_err(failed)? {
        records.push(entry.map_err(failed)?.1.value().to_vec());
    }
    Ok(Some(Kept { head: Hash::new(*head), records, grant: grant.to_vec(), lease }))
}

/// The sessions of which something waits.
pub(super) fn waiting(transaction: &ReadTransaction) -> Result<Vec<SessionId>, Failed> {
    let table = transaction.open_table(WAITING).map_err(failed)?;
    let all = table.iter().map_err(failed)?;
    all.map(|entry| Ok(SessionId::new(*entry.map_err(failed)?.0.value()))).collect()
}

/// How often a session was changed.
pub(super) fn sets(transaction: &ReadTransaction) -> Result<u64, Failed> {
    let table = transaction.open_table(SETS).map_err(failed)?;
    Ok(table.get(()).map_err(failed)?.map_or(0, |sets| sets.value()))
}
