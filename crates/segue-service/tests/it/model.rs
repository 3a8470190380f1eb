//! What every directory must do, stated by the plainest one: the same steps, the same answers, also after a restart.

use proptest::prelude::*;
use segue_proto::Rules;
use segue_proto::wire::{BoxId, DeviceId};
use segue_service::{Append, Directory, Memory, Quota, Room, Store};

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
        let quota = Quota { box_bytes: 900, box_envelopes: 5, device_bytes: 1_500, bytes: 2_500, ..Quota::default() };
        let dir = tempfile::tempdir().unwrap();
        let (mut model, mut store) = (Memory::default(), Store::open(dir.path()).unwrap());
        for step in steps {
            match step {
                Step::Put(puts) => {
                    let batch: Vec<_> = puts.into_iter().map(append).collect();
                    let expected = model.append(Rules::ALL, &batch, &quota).unwrap();
                    prop_assert_eq!(store.append(Rules::ALL, &batch, &quota).unwrap(), expected);
                }
                Step::Fetch(of, after, bytes, envelopes) => {
                    let (of, room) = (BoxId::new([of; 32]), Room { bytes, envelopes });
                    prop_assert_eq!(store.fetch(&of, after, room).unwrap(), model.fetch(&of, after, room).unwrap());
                }
                Step::Restart => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                }
            }
        }
    }
}
