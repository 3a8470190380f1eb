//! What every directory must do, stated by the plainest one: the same steps, the same answers, also after a restart.

use proptest::prelude::*;
use segue_proto::wire::{BoxId, DeviceId};
use segue_proto::{Clause, Rules};
use segue_service::{Append, Directory, Journaled, Memory, Quota, Room, Store};

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(u8, u8, u8, usize)>),
    Fetch(u8, u64, usize, usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..3u8, 0..3u8, 0..6u8, prop_oneof![Just(10usize), Just(300)]);
    let step = prop_oneof![
        4 => prop::collection::vec(put, 0..5).prop_map(Step::Put),
        4 => (0..4u8, 0..8u64, 0..1_000usize, 0..5usize).prop_map(|(of, after, bytes, count)| Step::Fetch(of, after, bytes, count)),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..30)
}

fn append((by, to, fill, len): (u8, u8, u8, usize)) -> Append {
    Append { by: DeviceId::new([by; 32]), to: BoxId::new([to; 32]), envelope: vec![fill; len] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn service_host_1_the_store_does_what_the_model_does(steps in steps()) {
        let quota = Quota { box_bytes: 1_800, box_envelopes: 5, device_bytes: 3_000, bytes: 5_000, ..Quota::default() };
        let dir = tempfile::tempdir().unwrap();
        let (mut model, mut store) = (Memory::default(), Store::open(dir.path()).unwrap());
        let (mut journaled, mut entries) = (Journaled::default(), std::collections::BTreeMap::new());
        for step in steps {
            match step {
                Step::Put(puts) => {
                    let batch: Vec<_> = puts.into_iter().map(append).collect();
                    let expected = model.append(Rules::ALL, &batch, &quota).unwrap();
                    prop_assert_eq!(&store.append(Rules::ALL, &batch, &quota).unwrap(), &expected);
                    prop_assert_eq!(journaled.append(Rules::ALL, &batch, &quota).unwrap(), expected);
                    entries.extend(journaled.take_entries());
                }
                Step::Fetch(of, after, bytes, envelopes) => {
                    let (of, room) = (BoxId::new([of; 32]), Room { bytes, envelopes });
                    let expected = model.fetch(&of, after, room).unwrap();
                    prop_assert_eq!(&store.fetch(&of, after, room).unwrap(), &expected);
                    prop_assert_eq!(journaled.fetch(&of, after, room).unwrap(), expected);
                }
                Step::Restart => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                    journaled = Journaled::load(entries.clone().into_iter().collect()).unwrap();
                }
            }
        }
    }
}

/// How many envelopes a loss of power leaves of one that was said to be put: what the file holds while the store is open.
fn left(rules: Rules) -> u64 {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = Store::open(dir.path()).unwrap();
    store.append(rules, &[append((1, 1, 1, 10))], &Quota::default()).unwrap()[0].unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), other.path().join(entry.file_name())).unwrap();
    }
    let room = Room { bytes: 1_000, envelopes: 10 };
    Store::open(other.path()).unwrap().fetch(&BoxId::new([1; 32]), 0, room).unwrap().last
}

#[test]
fn service_host_2_an_envelope_is_in_the_file_when_it_is_said_to_be_put() {
    assert_eq!(left(Rules::ALL), 1);
    assert_eq!(left(Rules::without(Clause::SERVICE_HOST_2)), 0);
}
