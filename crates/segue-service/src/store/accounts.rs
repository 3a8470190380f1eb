//! The tables of devices that tokens brought under accounts.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use segue_proto::wire::DeviceId;

use super::failed;
use crate::directory::{Binding, Failed};

/// The accounts: when a binding ends, and the account's name.
const BOUND: TableDefinition<'_, &[u8; 32], (u64, &str)> = TableDefinition::new("bound");
/// The devices of each account, with the same ends: name, device.
const OF: TableDefinition<'_, (&str, &[u8; 32]), u64> = TableDefinition::new("devices-of");

/// Makes the tables.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), Failed> {
    transaction.open_table(BOUND).map_err(failed)?;
    transaction.open_table(OF).map_err(failed)?;
    Ok(())
}

/// Puts a device under an account, if that has room.
pub(super) fn bind(
    transaction: &WriteTransaction,
    device: &DeviceId,
    binding: &Binding,
    most: usize,
    unix_ms: u64,
) -> Result<bool, Failed> {
    let (mut last, mut ended, mut has_place) = (0, Vec::new(), false);
    {
        let of = transaction.open_table(OF).map_err(failed)?;
        let all = (binding.account.as_str(), &[0; 32])..=(binding.account.as_str(), &[0xff; 32]);
        for row in of.range(all).map_err(failed)? {
            let (key, until) = row.map_err(failed)?;
            let (_, other) = key.value();
            let lasts = Binding { account: String::new(), until: until.value() }.lasts(unix_ms);
            match other == device.as_bytes() {
                true => has_place = lasts,
                false if lasts => last += 1,
                false => ended.push(DeviceId::new(*other)),
            }
        }
    }
    if last >= most && !has_place {
        return Ok(false);
    }
    for gone in ended.iter().chain([device]) {
        unbind(transaction, gone)?;
    }
    let mut bound = transaction.open_table(BOUND).map_err(failed)?;
    bound.insert(device.as_bytes(), (binding.until, binding.account.as_str())).map_err(failed)?;
    let mut of = transaction.open_table(OF).map_err(failed)?;
    of.insert((binding.account.as_str(), device.as_bytes()), binding.until).map_err(failed)?;
    Ok(true)
}

/// Takes a device from its account.
pub(super) fn unbind(transaction: &WriteTransaction, device: &DeviceId) -> Result<(), Failed> {
    let mut bound = transaction.open_table(BOUND).map_err(failed)?;
    let before = bound.remove(device.as_bytes()).map_err(failed)?.map(|row| row.value().1.to_owned());
    if let Some(account) = before {
        let mut of = transaction.open_table(OF).map_err(failed)?;
        of.remove((account.as_str(), device.as_bytes())).map_err(failed)?;
    }
    Ok(())
}

/// Under which account a device is.
pub(super) fn bound(transaction: &ReadTransaction, device: &DeviceId) -> Result<Option<Binding>, Failed> {
    let table = transaction.open_table(BOUND).map_err(failed)?;
    let row = table.get(device.as_bytes()).map_err(failed)?;
    Ok(row.map(|row| {
        let (until, account) = row.value();
        Binding { account: account.to_owned(), until }
    }))
}
