//! Every directory that is here does what one must do (`segue_service::laws`), and what isn't synced is missed.

use std::collections::BTreeMap;

use segue_proto::service::custody::Set;
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};
use segue_proto::{Clause, Rules};
use segue_service::laws::{Backend, Model, check};
use segue_service::{Append, Directory, Failed, Journaled, Memory, Quota, Room, Share, Store};
use tempfile::TempDir;

/// Nothing outlasts it but itself, so it doesn't crash.
#[derive(Default)]
struct InMemory<D>(Option<D>);

impl<D: Directory + Default> Backend for InMemory<D> {
    type Directory = D;

    fn open(&mut self) -> Result<D, Failed> {
        Ok(self.0.take().unwrap_or_default())
    }

    fn close(&mut self, directory: D) {
        self.0 = Some(directory);
    }

    fn crash(&mut self, directory: D) {
        self.close(directory);
    }
}

/// A journal that another has.
#[derive(Default)]
struct InJournal(BTreeMap<Vec<u8>, Vec<u8>>);

impl Backend for InJournal {
    type Directory = Journaled;

    fn open(&mut self) -> Result<Journaled, Failed> {
        Journaled::load(self.0.clone().into_iter().collect())
    }

    fn settle(&mut self, directory: &mut Journaled) -> Result<(), Failed> {
        self.0.extend(directory.take_entries());
        Ok(())
    }

    fn close(&mut self, mut directory: Journaled) {
        self.0.extend(directory.take_entries());
    }

    fn crash(&mut self, directory: Journaled) {
        drop(directory);
    }
}

/// A folder.
struct OnDisk(TempDir);

impl Default for OnDisk {
    fn default() -> Self {
        OnDisk(tempfile::tempdir().unwrap())
    }
}

impl Backend for OnDisk {
    type Directory = Store;

    fn open(&mut self) -> Result<Store, Failed> {
        Store::open(self.0.path())
    }

    fn close(&mut self, directory: Store) {
        drop(directory);
    }

    /// What the file holds while the store is open is what a loss of power leaves.
    fn crash(&mut self, directory: Store) {
        let other = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.0.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), other.path().join(entry.file_name())).unwrap();
        }
        drop(directory);
        self.0 = other;
    }
}

#[test]
fn memory_keeps_the_laws_of_directories() {
    check(2_000, InMemory::<Memory>::default).unwrap();
}

#[test]
fn the_model_keeps_its_own_laws() {
    check(200, InMemory::<Model>::default).unwrap();
}

#[test]
fn a_journal_keeps_the_laws_of_directories() {
    check(2_000, InJournal::default).unwrap();
}

#[test]
fn service_host_1_the_store_keeps_the_laws_of_directories() {
    check(48, OnDisk::default).unwrap();
}

const SESSION: SessionId = SessionId::new([1; 16]);

fn append() -> Append {
    let share = Share { bytes: 3_000, envelopes: 9 };
    Append { by: DeviceId::new([1; 32]), share, to: BoxId::new([1; 32]), envelope: vec![1; 10] }
}

/// A change of a session: heads are 0 (none), 1 and 2.
fn set(expect: u8, head: u8) -> Set {
    let hash = |number: u8| if number == 0 { Hash::ZERO } else { Hash::new([number; 32]) };
    let (by, records) = (DeviceId::new([1; 32]), vec![vec![head; 9]]);
    Set { by, session: SESSION, expect: hash(expect), head: hash(head), records, grant: None, lease: Some(0) }
}

/// How many envelopes a loss of power leaves of one that was said to be put: what the file holds while the store is open.
fn left(rules: Rules) -> u64 {
    let mut disk = OnDisk::default();
    let mut store = disk.open().unwrap();
    store.append(rules, &[append()], &Quota::default()).unwrap()[0].unwrap();
    disk.crash(store);
    let room = Room { bytes: 1_000, envelopes: 10 };
    disk.open().unwrap().fetch(&append().to, 0, room).unwrap().last
}

#[test]
fn service_host_2_an_envelope_is_in_the_file_when_it_is_said_to_be_put() {
    assert_eq!(left(Rules::ALL), 1);
    assert_eq!(left(Rules::without(Clause::SERVICE_HOST_2)), 0);
}

/// The head of a session that a loss of power leaves of a change that was said to be made.
fn set_left(rules: Rules) -> Option<Hash> {
    let mut disk = OnDisk::default();
    let mut store = disk.open().unwrap();
    store.set(rules, &[set(0, 1)], &Quota::default()).unwrap()[0].unwrap();
    disk.crash(store);
    disk.open().unwrap().kept(&SESSION).unwrap().map(|kept| kept.head)
}

#[test]
fn service_cas_2_a_change_is_in_the_file_when_it_is_said_to_be_made() {
    assert_eq!(set_left(Rules::ALL), Some(Hash::new([1; 32])));
    assert_eq!(set_left(Rules::without(Clause::SERVICE_CAS_2)), None);
}

#[test]
fn service_cas_1_of_two_changes_for_one_head_the_first_is_made() {
    let outcomes = |rules| {
        let mut disk = OnDisk::default();
        let mut store = disk.open().unwrap();
        let batch = [set(0, 1), set(1, 2), set(1, 2)];
        store
            .set(rules, &batch, &Quota::default())
            .unwrap()
            .into_iter()
            .map(|outcome| outcome.is_ok())
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes(Rules::ALL), [true, true, false]);
    assert_eq!(outcomes(Rules::without(Clause::SERVICE_CAS_1)), [true, true, true]);
}
