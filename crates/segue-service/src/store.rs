//! The embedded directory: one redb file.

mod accounts;
mod notes;
mod sessions;

use std::panic::catch_unwind;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use segue_proto::service::custody::{Kept, Set};
use segue_proto::wire::{BoxId, DeviceId, SessionId};
use segue_proto::{Clause, Rules};

use crate::directory::{Append, Binding, Directory, Failed, Full, Note, Page, Room, Unset};
use crate::quota::{Quota, Used};

/// The envelopes: box ‖ offset.
const ENVELOPES: TableDefinition<'_, (&[u8; 32], u64), &[u8]> = TableDefinition::new("envelopes");
/// The offset of each envelope: box ‖ id.
const IDS: TableDefinition<'_, (&[u8; 32], &[u8; 32]), u64> = TableDefinition::new("ids");
/// What each box holds: bytes, envelopes; the latter is the last offset, too, for nothing is removed.
const BOXES: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("boxes");
/// What each device put: bytes, envelopes.
const DEVICES: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("devices");
/// What there is in all: bytes, envelopes.
const ALL: TableDefinition<'_, (), (u64, u64)> = TableDefinition::new("all");

/// The file in the state directory.
const FILE: &str = "mailbox.redb";

/// What redb keeps of its file in memory.
const CACHE: usize = 32 << 20;

/// A mailbox's envelopes on disk. Each batch is one transaction, synced before it is answered.
#[derive(Debug)]
pub struct Store {
    db: Database,
}

impl Store {
    /// Opens the store in a state directory, or makes it.
    ///
    /// # Errors
    /// It can't be read or made, or another process has it open.
    pub fn open(state: &Path) -> Result<Store, Failed> {
        // The database panics over some of what it can't have written (SEC-STORE-1).
        catch_unwind(|| Store::attach(state)).unwrap_or_else(|_| {
            let file = state.join(FILE);
            Err(Failed(format!("{} is corrupt, and nothing was read of it (STORE_CORRUPT)", file.display())))
        })
    }

    fn attach(state: &Path) -> Result<Store, Failed> {
        std::fs::create_dir_all(state).map_err(failed)?;
        let db = Database::builder().set_cache_size(CACHE).create(state.join(FILE)).map_err(failed)?;
        let tables = db.begin_write().map_err(failed)?;
        tables.open_table(ENVELOPES).map_err(failed)?;
        tables.open_table(IDS).map_err(failed)?;
        tables.open_table(BOXES).map_err(failed)?;
        tables.open_table(DEVICES).map_err(failed)?;
        tables.open_table(ALL).map_err(failed)?;
        sessions::make(&tables)?;
        notes::make(&tables)?;
        accounts::make(&tables)?;
        tables.commit().map_err(failed)?;
        Ok(Store { db })
    }
}

impl Directory for Store {
    fn append(&mut self, rules: Rules, batch: &[Append], quota: &Quota) -> Result<Vec<Result<u64, Full>>, Failed> {
        let mut transaction = self.db.begin_write().map_err(failed)?;
        if !rules.keeps(Clause::SERVICE_HOST_2) {
            transaction.set_durability(Durability::None).map_err(failed)?;
        }
        let outcomes = {
            let mut tables = Tables::open(&transaction)?;
            batch.iter().map(|append| tables.put(rules, append, quota)).collect::<Result<_, _>>()?
        };
        transaction.commit().map_err(failed)?;
        Ok(outcomes)
    }

    fn fetch(&self, of: &BoxId, after: u64, mut room: Room) -> Result<Page, Failed> {
        let transaction = self.db.begin_read().map_err(failed)?;
        let boxes = transaction.open_table(BOXES).map_err(failed)?;
        let last = boxes.get(of.as_bytes()).map_err(failed)?.map_or(0, |used| used.value().1);
        let Some(from) = after.checked_add(1).filter(|from| *from <= last) else {
            return Ok(Page { last, ..Page::default() });
        };
        let table = transaction.open_table(ENVELOPES).map_err(failed)?;
        let mut envelopes = Vec::new();
        for entry in table.range((of.as_bytes(), from)..=(of.as_bytes(), last)).map_err(failed)? {
            let (_, envelope) = entry.map_err(failed)?;
            if !room.take(envelope.value().len()) {
                break;
            }
            envelopes.push(envelope.value().to_vec());
        }
        let first = if envelopes.is_empty() { 0 } else { from };
        Ok(Page { first, last, envelopes })
    }

    fn set(&mut self, rules: Rules, batch: &[Set], quota: &Quota) -> Result<Vec<Result<(), Unset>>, Failed> {
        let mut transaction = self.db.begin_write().map_err(failed)?;
        if !rules.keeps(Clause::SERVICE_CAS_2) {
            transaction.set_durability(Durability::None).map_err(failed)?;
        }
        let outcomes = sessions::set(&transaction, rules, batch, quota)?;
        transaction.commit().map_err(failed)?;
        Ok(outcomes)
    }

    fn kept(&self, session: &SessionId) -> Result<Option<Kept>, Failed> {
        sessions::kept(&self.db.begin_read().map_err(failed)?, session)
    }

    fn waiting(&self) -> Result<Vec<SessionId>, Failed> {
        sessions::waiting(&self.db.begin_read().map_err(failed)?)
    }

    fn sets(&self) -> Result<u64, Failed> {
        sessions::sets(&self.db.begin_read().map_err(failed)?)
    }

    fn note(&mut self, device: &DeviceId, note: &Note, most: usize) -> Result<(), Failed> {
        let mut transaction = self.db.begin_write().map_err(failed)?;
        transaction.set_durability(Durability::None).map_err(failed)?;
        notes::keep(&transaction, device, note, most)?;
        transaction.commit().map_err(failed)
    }

    fn noted(&self, device: &DeviceId) -> Result<Option<Note>, Failed> {
        notes::noted(&self.db.begin_read().map_err(failed)?, device)
    }

    fn used(&self, by: &DeviceId) -> Result<u64, Failed> {
        let devices = self.db.begin_read().map_err(failed)?.open_table(DEVICES).map_err(failed)?;
        Ok(used(devices.get(by.as_bytes()).map_err(failed)?.map(|used| used.value())).bytes)
    }

    fn bind(&mut self, device: &DeviceId, binding: &Binding, most: usize, unix_ms: u64) -> Result<bool, Failed> {
        let transaction = self.db.begin_write().map_err(failed)?;
        let room = accounts::bind(&transaction, device, binding, most, unix_ms)?;
        transaction.commit().map_err(failed)?;
        Ok(room)
    }

    fn unbind(&mut self, device: &DeviceId) -> Result<(), Failed> {
        let transaction = self.db.begin_write().map_err(failed)?;
        accounts::unbind(&transaction, device)?;
        transaction.commit().map_err(failed)
    }

    fn bound(&self, device: &DeviceId) -> Result<Option<Binding>, Failed> {
        accounts::bound(&self.db.begin_read().map_err(failed)?, device)
    }
}

/// The tables of a transaction.
struct Tables<'t> {
    envelopes: Table<'t, (&'static [u8; 32], u64), &'static [u8]>,
    ids: Table<'t, (&'static [u8; 32], &'static [u8; 32]), u64>,
    boxes: Table<'t, &'static [u8; 32], (u64, u64)>,
    devices: Table<'t, &'static [u8; 32], (u64, u64)>,
    all: Table<'t, (), (u64, u64)>,
}

impl<'t> Tables<'t> {
    fn open(of: &'t WriteTransaction) -> Result<Tables<'t>, Failed> {
        Ok(Tables {
            envelopes: of.open_table(ENVELOPES).map_err(failed)?,
            ids: of.open_table(IDS).map_err(failed)?,
            boxes: of.open_table(BOXES).map_err(failed)?,
            devices: of.open_table(DEVICES).map_err(failed)?,
            all: of.open_table(ALL).map_err(failed)?,
        })
    }

    fn put(&mut self, rules: Rules, append: &Append, quota: &Quota) -> Result<Result<u64, Full>, Failed> {
        let (id, to, by) = (append.id(), append.to.as_bytes(), append.by.as_bytes());
        let known = self.ids.get((to, id.as_bytes())).map_err(failed)?.map(|offset| offset.value());
        if let Some(offset) = known.filter(|_| rules.keeps(Clause::SERVICE_HOST_1)) {
            return Ok(Ok(offset));
        }
        let len = append.envelope.len();
        let of_box = used(self.boxes.get(to).map_err(failed)?.map(|used| used.value())).with(len);
        let of_device = used(self.devices.get(by).map_err(failed)?.map(|used| used.value())).with(len);
        let all = used(self.all.get(()).map_err(failed)?.map(|used| used.value())).with(len);
        if let Err(full) = quota.check(of_box, append.share, of_device, all)
            && rules.keeps(Clause::SERVICE_HOST_3)
        {
            return Ok(Err(full));
        }
        let offset = of_box.envelopes;
        self.envelopes.insert((to, offset), append.envelope.as_slice()).map_err(failed)?;
        self.ids.insert((to, id.as_bytes()), offset).map_err(failed)?;
        self.boxes.insert(to, (of_box.bytes, of_box.envelopes)).map_err(failed)?;
        self.devices.insert(by, (of_device.bytes, of_device.envelopes)).map_err(failed)?;
        self.all.insert((), (all.bytes, all.envelopes)).map_err(failed)?;
        Ok(Ok(offset))
    }
}

fn used(value: Option<(u64, u64)>) -> Used {
    let (bytes, envelopes) = value.unwrap_or_default();
    Used { bytes, envelopes }
}

fn failed(error: impl std::fmt::Display) -> Failed {
    Failed(error.to_string())
}
