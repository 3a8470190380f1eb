//! Blobs on disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use segue_proto::wire::Hash;
use segue_proto::wire::hash::blob_id;
use segue_store::{Blobs, ChunkSync, MAX_DIRTY, MAX_READ, State, StoreError};
use tempfile::TempDir;

use crate::util::{Place, flip};

fn new() -> (TempDir, Arc<Blobs>) {
    let root = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(root.path()).unwrap();
    (root, blobs)
}

fn content(len: usize) -> (Hash, Vec<u8>) {
    let bytes: Vec<u8> = (0..len).map(|n| (n * 31 + n / 255 + len) as u8).collect();
    (blob_id(&bytes), bytes)
}

fn names(root: &Path, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join("blobs").join(dir)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn chunks_in_any_order_make_a_blob() {
    let (root, blobs) = new();
    let (blob, bytes) = content(300_000);
    assert_eq!(blobs.state(&blob).unwrap(), State::Absent);
    let partial = blobs.partial(&blob, 300_000).unwrap();
    partial.write(200_000, &bytes[200_000..]).unwrap();
    partial.write(0, &bytes[..100_000]).unwrap();
    assert_eq!(blobs.state(&blob).unwrap(), State::Partial(300_000));
    assert!(matches!(blobs.read_range(&blob, 0, 10), Err(StoreError::NotHeld { complete: false, .. })));
    partial.write(100_000, &bytes[100_000..200_000]).unwrap();
    partial.complete().unwrap();
    assert_eq!(blobs.state(&blob).unwrap(), State::Complete(300_000));
    assert_eq!(blobs.read_range(&blob, 99_999, 3).unwrap(), bytes[99_999..100_002]);
    // It takes its name in `full` only with the sync.
    assert_eq!((names(root.path(), "part").len(), names(root.path(), "full").len()), (1, 0));
    assert!(blobs.pending());
    blobs.sync().unwrap();
    assert!(!blobs.pending());
    assert_eq!((names(root.path(), "part").len(), names(root.path(), "full")), (0, vec![blob.to_string()]));
    assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
    assert_eq!(blobs.list().unwrap(), [blob]);
}

#[test]
fn a_partial_blob_is_searched_after_a_restart_and_finished() {
    let (root, blobs) = new();
    let (blob, bytes) = content(250_000);
    let partial = blobs.partial(&blob, 250_000).unwrap();
    partial.write(0, &bytes[..100_000]).unwrap();
    partial.write(200_000, &bytes[200_000..]).unwrap();
    drop((partial, blobs));
    let blobs = Blobs::open(root.path()).unwrap();
    let ranges: Vec<(u64, u32)> = vec![(0, 100_000), (100_000, 100_000), (200_000, 50_000), (250_000, 1)];
    let mut held = Vec::new();
    let search = |found: &mut dyn FnMut(usize, &[u8]) -> bool| blobs.search(&blob, ranges.clone(), found).unwrap();
    search(&mut |at, chunk| {
        let offset = ranges[at].0 as usize;
        if bytes[offset..].starts_with(chunk) {
            held.push(at);
        }
        true
    });
    assert_eq!(held, [0, 2]);
    let mut seen = 0;
    search(&mut |_, _| {
        seen += 1;
        false
    });
    assert_eq!(seen, 1);
    let partial = blobs.partial(&blob, 250_000).unwrap();
    partial.write(100_000, &bytes[100_000..200_000]).unwrap();
    partial.complete().unwrap();
    assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
    search(&mut |at, chunk| {
        let offset = ranges[at].0 as usize;
        assert!(bytes[offset..].starts_with(chunk));
        true
    });
}

#[test]
fn a_blob_with_a_missing_end_isnt_complete() {
    let (_root, blobs) = new();
    let (blob, bytes) = content(1_000);
    let partial = blobs.partial(&blob, 1_000).unwrap();
    partial.write(0, &bytes[..999]).unwrap();
    assert!(matches!(partial.write(999, &[0, 0]), Err(StoreError::TooLarge { .. })));
    assert!(matches!(partial.complete(), Err(StoreError::NotHeld { .. })));
}

#[test]
fn an_empty_blob_is_a_blob() {
    let (_root, blobs) = new();
    let (blob, _) = content(0);
    blobs.put(&blob, &[]).unwrap();
    blobs.sync().unwrap();
    assert_eq!(blobs.state(&blob).unwrap(), State::Complete(0));
    assert_eq!(blobs.get(&blob).unwrap().unwrap(), []);
}

#[test]
fn two_who_receive_one_blob_share_its_file() {
    let (_root, blobs) = new();
    let (blob, bytes) = content(1_000);
    let one = blobs.partial(&blob, 1_000).unwrap();
    let two = blobs.partial(&blob, 1_000).unwrap();
    one.write(0, &bytes[..500]).unwrap();
    two.write(500, &bytes[500..]).unwrap();
    one.complete().unwrap();
    blobs.sync().unwrap();
    // A third joins the second, and so can't begin a file that the second's completion would name.
    let three = blobs.partial(&blob, 1_000).unwrap();
    two.complete().unwrap();
    blobs.sync().unwrap();
    assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
    three.complete().unwrap();
    blobs.sync().unwrap();
    assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
}

#[test]
fn a_blob_that_is_received_again_keeps_its_file_until_then() {
    for synced in [true, false] {
        let (_root, blobs) = new();
        let (blob, bytes) = content(1_000);
        blobs.put(&blob, &bytes).unwrap();
        if synced {
            blobs.sync().unwrap();
        }
        blobs.partial(&blob, 1_000).unwrap().write(0, &[0; 500]).unwrap();
        assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
    }
}

#[test]
fn what_was_written_is_shown_from_any_byte() {
    let (_root, blobs) = new();
    let (blob, bytes) = content(600_000);
    let partial = blobs.partial(&blob, 600_000).unwrap();
    partial.write(0, &bytes).unwrap();
    for from in [0, 1, 300_000, 600_000] {
        let mut shown = Vec::new();
        partial.show(from, &mut |piece| shown.extend_from_slice(piece)).unwrap();
        assert!(shown == bytes[from as usize..]);
    }
}

#[test]
fn a_damaged_blob_isnt_given_out_whole() {
    let (root, blobs) = new();
    let (blob, bytes) = content(5_000);
    blobs.put(&blob, &bytes).unwrap();
    blobs.sync().unwrap();
    flip(&blobs.path(&blob).unwrap(), 4_321, 2);
    assert_eq!(blobs.get(&blob).unwrap(), None);
    let dest = root.path().join("copy");
    assert!(matches!(blobs.copy_into(&blob, &dest), Err(StoreError::Corrupt { .. })));
    assert!(!dest.exists());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn linked_files_are_sources() {
    let (root, blobs) = new();
    let (blob, bytes) = content(70_000);
    let file = root.path().join("file");
    fs::write(&file, &bytes).unwrap();
    blobs.link_external(&blob, &file).unwrap();
    assert_eq!(blobs.state(&blob).unwrap(), State::Complete(70_000));
    assert_eq!(blobs.read_range(&blob, 65_536, 4_464).unwrap(), bytes[65_536..]);
    assert!(matches!(blobs.read_range(&blob, 65_536, 4_465), Err(StoreError::NotHeld { .. })));
    assert!(matches!(blobs.read_range(&blob, 0, MAX_READ + 1), Err(StoreError::TooLarge { .. })));
    blobs.copy_into(&blob, &root.path().join("copy")).unwrap();
    assert_eq!(fs::read(root.path().join("copy")).unwrap(), bytes);
    fs::remove_file(&file).unwrap();
    assert_eq!(blobs.state(&blob).unwrap(), State::Absent);
    blobs.unlink_external(&blob);
    assert!(blobs.source(&blob).is_err());
}

#[test]
fn a_taken_blob_is_served_from_where_it_went() {
    for synced in [true, false] {
        let (root, blobs) = new();
        let (blob, bytes) = content(10_000);
        blobs.put(&blob, &bytes).unwrap();
        if synced {
            blobs.sync().unwrap();
        }
        let dest = root.path().join("dest");
        fs::write(&dest, "before").unwrap();
        blobs.take_into(&blob, &dest).unwrap();
        assert_eq!(fs::read(&dest).unwrap(), bytes);
        assert_eq!(blobs.list().unwrap(), []);
        assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
        blobs.sync().unwrap();
        // Taken again, it is copied: the first file stays.
        let again = root.path().join("again");
        blobs.take_into(&blob, &again).unwrap();
        assert_eq!((fs::read(&dest).unwrap(), fs::read(&again).unwrap()), (bytes.clone(), bytes));
    }
}

#[test]
fn a_directory_that_its_user_removed_doesnt_halt_the_blobs() {
    for take in [true, false] {
        let (root, blobs) = new();
        let (blob, bytes) = content(10_000);
        blobs.put(&blob, &bytes).unwrap();
        let dir = root.path().join("chosen");
        fs::create_dir(&dir).unwrap();
        match take {
            true => blobs.take_into(&blob, &dir.join("file")).unwrap(),
            false => blobs.copy_into(&blob, &dir.join("file")).unwrap(),
        }
        fs::remove_dir_all(&dir).unwrap();
        blobs.sync().unwrap();
        blobs.put(&blob, &bytes).unwrap();
        blobs.sync().unwrap();
        assert_eq!(blobs.get(&blob).unwrap().unwrap(), bytes);
    }
}

#[test]
fn a_directory_of_the_store_that_is_gone_halts_the_blobs() {
    let (root, blobs) = new();
    let (blob, bytes) = content(100);
    blobs.partial(&blob, 100).unwrap().write(0, &bytes).unwrap();
    fs::remove_dir_all(root.path().join("blobs/part")).unwrap();
    assert!(blobs.sync().is_err());
    assert!(matches!(blobs.sync(), Err(StoreError::Halted)));
}

#[test]
fn a_removed_blob_is_gone() {
    let (root, blobs) = new();
    let (one, bytes) = content(100);
    let (two, _) = content(200);
    blobs.put(&one, &bytes).unwrap();
    blobs.sync().unwrap();
    blobs.partial(&two, 200).unwrap().write(0, &[1]).unwrap();
    blobs.remove(&one).unwrap();
    blobs.remove(&two).unwrap();
    blobs.remove(&two).unwrap();
    blobs.sync().unwrap();
    assert_eq!((blobs.state(&one).unwrap(), blobs.state(&two).unwrap()), (State::Absent, State::Absent));
    assert_eq!((names(root.path(), "part").len(), names(root.path(), "full").len()), (0, 0));
}

#[test]
fn a_failed_sync_halts_the_blobs() {
    let (root, blobs) = new();
    let (blob, bytes) = content(100);
    blobs.put(&blob, &bytes).unwrap();
    // The file is gone when it should get its name: what was promised can't be kept.
    fs::remove_file(root.path().join("blobs/part").join(blob.to_string())).unwrap();
    assert!(blobs.sync().is_err());
    assert!(matches!(blobs.sync(), Err(StoreError::Halted)));
    assert!(matches!(blobs.put(&blob, &bytes), Err(StoreError::Halted)));
}

#[test]
fn many_files_never_hold_more_than_the_bound_open() {
    let (root, blobs) = new();
    for n in 0..3 * MAX_DIRTY + 5 {
        let (blob, bytes) = content(n + 1);
        blobs.put(&blob, &bytes).unwrap();
        assert!(names(root.path(), "part").len() <= MAX_DIRTY);
    }
    blobs.sync().unwrap();
    assert_eq!(names(root.path(), "full").len(), 3 * MAX_DIRTY + 5);
}

#[test]
fn a_batch_behind_chunks_is_durable_after_them() {
    let place = Place::new();
    let blobs = Blobs::open(&place.dir()).unwrap();
    let hooked = Arc::clone(&blobs);
    let mut store = place.open_with(|hooks| hooks.chunks(hooked)).unwrap();
    let (blob, bytes) = content(100_000);
    blobs.put(&blob, &bytes).unwrap();
    let lsn = store.submit(&[("plain", Some("x"))], false);
    store.wait_for(lsn);
    assert!(blobs.pending());
    let lsn = store.submit(&[("behind", Some("x"))], true);
    store.wait_for(lsn);
    assert!(!blobs.pending());
    assert_eq!(names(&place.dir(), "full"), [blob.to_string()]);
    assert_eq!(store.journal.stats().chunk_syncs, 1);
}
