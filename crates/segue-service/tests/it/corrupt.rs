//! A store of which bits were flipped on the disk.

use std::fs;

use segue_proto::Rules;
use segue_proto::wire::{BoxId, DeviceId};
use segue_service::{Append, Directory, Quota, Share, Store};

const FILE: &str = "mailbox.redb";

#[test]
fn sec_store_1_a_store_that_is_corrupt_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let append = |n: u8| Append {
        by: DeviceId::new([n; 32]),
        share: Share { bytes: 1 << 30, envelopes: 1_000 },
        to: BoxId::new([n; 32]),
        envelope: vec![n; 2_000],
    };
    let batch: Vec<_> = (0..100).map(append).collect();
    store.append(Rules::ALL, &batch, &Quota::default()).unwrap();
    drop(store);
    let whole = fs::read(dir.path().join(FILE)).unwrap();
    let mut refused = 0;
    for step in [97, 997, 4_001] {
        let mut bytes = whole.clone();
        bytes.iter_mut().skip(4_096).step_by(step).for_each(|byte| *byte ^= 0x10);
        fs::write(dir.path().join(FILE), bytes).unwrap();
        if let Err(why) = Store::open(dir.path()) {
            refused += 1;
            assert!(why.to_string().contains("orrupt"), "{why}");
        }
    }
    assert!(refused > 0, "flips that are seen");
}
