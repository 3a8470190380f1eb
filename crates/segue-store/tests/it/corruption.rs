//! Threat 30: what the disk changed is never taken for what was written.

use std::collections::BTreeMap;
use std::fs;

use redb::ReadableTable;
use segue_proto::{Code, Continuity, Lsn};
use segue_store::Opened;

use crate::util::{Place, Store, flip};

/// A store with some entries of different sizes, and what it held after each batch.
fn filled(place: &Place) -> Vec<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut states = vec![BTreeMap::new()];
    let mut store = place.open();
    for n in 0u64..40 {
        let (key, value) = (format!("key {}", n % 25), format!("value {n} ").repeat(1 + (n as usize * 37) % 300));
        store.put(&key, &value);
        let mut state = states.last().unwrap().clone();
        state.insert(key.into_bytes(), value.into_bytes());
        states.push(state);
    }
    states
}

/// Opens a damaged store: it is refused as corrupt, or it is whole, or it is an earlier state and in doubt. Whether it
/// was refused.
fn examine(place: &Place, states: &[BTreeMap<Vec<u8>, Vec<u8>>], damage: &str) -> bool {
    match place.open_with(|hooks| hooks) {
        Err(error) => {
            assert_eq!(error.code(), Code::STORE_CORRUPT, "{damage}: {error}");
            true
        }
        Ok(store) => {
            let Store { journal, opened: Opened { last, entries, continuity, .. }, .. } = store;
            drop(journal);
            let found = entries.into_iter().collect::<BTreeMap<_, _>>();
            assert_eq!(Some(&found), states.get(last.0 as usize), "{damage}");
            let whole = last.0 as usize == states.len() - 1;
            assert!(whole || continuity == Continuity::Unproven, "{damage}: {last:?} passed as proven");
            grows_well(place, found, damage);
            false
        }
    }
}

/// A store that was taken in spite of damage is written to, enough to use pages again, and is still whole: nothing
/// that a look doesn't read was damaged either.
fn grows_well(place: &Place, mut state: BTreeMap<Vec<u8>, Vec<u8>>, damage: &str) {
    let mut store = place.open();
    for n in 0..6 {
        let (key, value) = (format!("after {n}"), "more ".repeat(900 * n));
        store.put(&key, &value);
        state.insert(key.into_bytes(), value.into_bytes());
    }
    drop(store);
    assert_eq!(place.look().0, state, "{damage}, then written to");
}

/// Flips bits all over a copy of the store.
fn flip_everywhere(place: &Place, states: &[BTreeMap<Vec<u8>, Vec<u8>>], seed: u64) {
    let (database, witness) = (fs::read(place.database()).unwrap(), fs::read(place.witness()).unwrap());
    let used = database.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    // The header densely, the pages at a stride that hits each several times.
    let header = (0..512).step_by(3);
    let pages = (512..used).step_by(used as usize / 250);
    let mut refused = 0;
    for (n, at) in header.chain(pages).enumerate() {
        let bit = ((n as u64).wrapping_mul(seed) >> 3) as u8 % 8;
        flip(&place.database(), at, bit);
        refused += u32::from(examine(place, states, &format!("bit {bit} of byte {at}")));
        fs::write(place.database(), &database).unwrap();
        fs::write(place.witness(), &witness).unwrap();
    }
    assert!(refused > 20, "only {refused} were refused");
    assert_eq!(place.look().1, Lsn(states.len() as u64 - 1));
}

#[test]
fn flipped_bits_in_a_closed_store_are_found() {
    let place = Place::new();
    let states = filled(&place);
    flip_everywhere(&place, &states, 0x9e37_79b9);
}

#[test]
fn flipped_bits_in_a_killed_store_are_found() {
    let place = Place::new();
    let states = filled(&place);
    // What a killed process leaves: the file as it is while the store is open, and the mark with it.
    let mut store = place.open();
    store.put("key 1", "last");
    let mut last = states.last().unwrap().clone();
    last.insert(b"key 1".to_vec(), b"last".to_vec());
    let states: Vec<_> = states.into_iter().chain([last]).collect();
    let (backup, mark) = (place.back_up(), fs::read(place.witness()).unwrap());
    drop(store);
    place.restore(&backup);
    fs::write(place.witness(), mark).unwrap();
    flip_everywhere(&place, &states, 0x85eb_ca6b);
}

#[test]
fn every_flipped_bit_of_a_value_is_found() {
    let place = Place::new();
    let mut store = place.open();
    store.put("key", "a value to be found in the file");
    drop(store);
    let file = fs::read(place.database()).unwrap();
    let mark = fs::read(place.witness()).unwrap();
    let value = b"a value to be found";
    let places: Vec<usize> = (0..file.len() - value.len()).filter(|at| file[*at..].starts_with(value)).collect();
    assert!(!places.is_empty());
    for bit in 0..8 {
        let mut damaged = file.clone();
        places.iter().for_each(|at| damaged[*at + 5] ^= 1 << bit);
        fs::write(place.database(), &damaged).unwrap();
        let error = place.open_with(|hooks| hooks).err().expect("the damage went unnoticed");
        assert_eq!(error.code(), Code::STORE_CORRUPT, "{error}");
        fs::write(place.witness(), &mark).unwrap();
    }
}

/// Changes the database by its own means, so that its own checksums hold.
#[test]
fn entries_that_the_journal_didnt_write_are_found() {
    let (place, other) = (Place::new(), Place::new());
    filled(&place);
    other.open().put("key 3", "from another store");
    let (whole, mark) = (fs::read(place.database()).unwrap(), fs::read(place.witness()).unwrap());
    let foreign = edit(&other, |table| table.get(&b"key 3"[..]).unwrap().unwrap().value().to_vec());
    let get = |table: &Entries<'_>, key: &str| table.get(key.as_bytes()).unwrap().unwrap().value().to_vec();
    let put = |table: &mut Entries<'_>, key: &str, value: &[u8]| drop(table.insert(key.as_bytes(), value).unwrap());
    let edits: [(&str, &Change<'_>); 6] = [
        ("removed", &|table| drop(table.remove(&b"key 3"[..]).unwrap())),
        ("added", &|table| put(table, "key 99", &[7; 40])),
        ("changed", &|table| {
            let mut stored = get(table, "key 3");
            stored[20] ^= 1;
            put(table, "key 3", &stored);
        }),
        ("cut", &|table| put(table, "key 3", &[1, 2, 3])),
        ("copied to another key", &|table| {
            let stored = get(table, "key 4");
            put(table, "key 3", &stored);
        }),
        ("brought from another store", &|table| put(table, "key 3", &foreign)),
    ];
    for (what, change) in edits {
        edit(&place, change);
        let error = place.open_with(|hooks| hooks).err().unwrap_or_else(|| panic!("an entry {what} went unnoticed"));
        assert_eq!(error.code(), Code::STORE_CORRUPT, "{what}: {error}");
        fs::write(place.database(), &whole).unwrap();
        fs::write(place.witness(), &mark).unwrap();
    }
    // The honest twin: the same way in and out, and nothing changed.
    edit(&place, |_| {});
    assert_eq!(place.look().2, Continuity::Proven);
}

/// An entry that is put back as it was before has a good checksum of its own: only the sum tells.
#[test]
fn an_entry_put_back_to_an_earlier_value_is_found() {
    let place = Place::new();
    place.open().put("key", "old");
    let old = edit(&place, |table| table.get(&b"key"[..]).unwrap().unwrap().value().to_vec());
    place.open().put("key", "new");
    edit(&place, |table| drop(table.insert(&b"key"[..], old.as_slice()).unwrap()));
    assert_eq!(place.open_with(|hooks| hooks).err().unwrap().code(), Code::STORE_CORRUPT);
}

type Entries<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;
type Change<'a> = dyn Fn(&mut Entries<'_>) + 'a;

fn edit<T>(place: &Place, change: impl FnOnce(&mut Entries<'_>) -> T) -> T {
    let db = redb::Database::open(place.database()).unwrap();
    let txn = db.begin_write().unwrap();
    let entries = redb::TableDefinition::<&[u8], &[u8]>::new("entries");
    let result = change(&mut txn.open_table(entries).unwrap());
    txn.commit().unwrap();
    result
}

#[test]
fn a_cut_or_foreign_file_is_refused() {
    let place = Place::new();
    filled(&place);
    let whole = fs::read(place.database()).unwrap();
    for len in [0, 1, 100, 512, 4_096, 20_000, whole.len() / 2, whole.len() - 4_096] {
        fs::write(place.database(), &whole[..len]).unwrap();
        let error = place.open_with(|hooks| hooks).err().unwrap_or_else(|| panic!("{len} bytes were taken"));
        assert_eq!(error.code(), Code::STORE_CORRUPT, "{len} bytes: {error}");
    }
    fs::write(place.database(), vec![7; 100_000]).unwrap();
    assert_eq!(place.open_with(|hooks| hooks).err().unwrap().code(), Code::STORE_CORRUPT);
}
