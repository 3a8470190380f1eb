//! What every directory must do, stated by the plainest one: the same steps, the same answers, also after a restart.

use proptest::prelude::*;
use segue_proto::service::custody::Set;
use segue_proto::wire::{BoxId, DeviceId, Hash, SessionId};
use segue_proto::{Clause, Rules};
use segue_service::{Append, Binding, Directory, Journaled, Memory, Note, Quota, Room, Share, Store};

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<(u8, u8, u8, usize)>),
    Fetch(u8, u64, usize, usize),
    Set(Vec<(u8, u8, u8, u8, u8)>),
    Note(u8, u64, Vec<u8>),
    Bind(u8, u8, u64, u64),
    Unbind(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (0..3u8, 0..3u8, 0..6u8, prop_oneof![Just(10usize), Just(300)]);
    let step = prop_oneof![
        4 => prop::collection::vec(put, 0..5).prop_map(Step::Put),
        4 => (0..4u8, 0..8u64, 0..1_000usize, 0..5usize).prop_map(|(of, after, bytes, count)| Step::Fetch(of, after, bytes, count)),
        6 => prop::collection::vec((0..3u8, 0..3u8, 0..3u8, 0..3u8, 0..4u8), 1..4).prop_map(Step::Set),
        3 => (0..4u8, 0..9u64, prop::collection::vec(0..4u8, 0..3)).prop_map(|(device, at, named)| Step::Note(device, at, named)),
        3 => (0..5u8, 0..2u8, 0..6u64, 0..6u64).prop_map(|(device, account, until, now)| Step::Bind(device, account, until, now)),
        1 => (0..5u8).prop_map(Step::Unbind),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..30)
}

fn append((by, to, fill, len): (u8, u8, u8, usize)) -> Append {
    let share = Share { bytes: 3_000 - 1_000 * u64::from(by), envelopes: 9 };
    Append { by: DeviceId::new([by; 32]), share, to: BoxId::new([to; 32]), envelope: vec![fill; len] }
}

/// A change of a session: heads are 0 (none), 1 and 2.
fn set((by, session, expect, head, more): (u8, u8, u8, u8, u8)) -> Set {
    let hash = |number: u8| if number == 0 { Hash::ZERO } else { Hash::new([number; 32]) };
    Set {
        by: DeviceId::new([by; 32]),
        session: SessionId::new([session; 16]),
        expect: hash(expect),
        head: hash(head.max(1)),
        records: vec![vec![more; 9]; usize::from(more % 3)],
        grant: (more > 1).then(|| vec![7; usize::from(more - 2)]),
        lease: (more % 2 == 1).then_some(u64::from(more / 2)),
    }
}

/// What can be asked of a directory beside its boxes.
fn whole(directory: &dyn Directory) -> impl PartialEq + std::fmt::Debug + use<> {
    let kept: Vec<_> = (0..3).map(|at| directory.kept(&SessionId::new([at; 16])).unwrap()).collect();
    let noted: Vec<_> = (0..4).map(|at| directory.noted(&DeviceId::new([at; 32])).unwrap()).collect();
    let bound: Vec<_> = (0..5).map(|at| directory.bound(&DeviceId::new([at; 32])).unwrap()).collect();
    let used: Vec<_> = (0..3).map(|at| directory.used(&DeviceId::new([at; 32])).unwrap()).collect();
    (kept, directory.waiting().unwrap(), directory.sets().unwrap(), noted, bound, used)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn service_host_1_the_store_does_what_the_model_does(steps in steps()) {
        let quota = Quota { box_bytes: 1_800, box_envelopes: 5, device_sessions: 2, bytes: 5_000, ..Quota::default() };
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
                }
                Step::Fetch(of, after, bytes, envelopes) => {
                    let (of, room) = (BoxId::new([of; 32]), Room { bytes, envelopes });
                    let expected = model.fetch(&of, after, room).unwrap();
                    prop_assert_eq!(&store.fetch(&of, after, room).unwrap(), &expected);
                    prop_assert_eq!(journaled.fetch(&of, after, room).unwrap(), expected);
                }
                Step::Set(sets) => {
                    let batch: Vec<_> = sets.into_iter().map(set).collect();
                    let expected = model.set(Rules::ALL, &batch, &quota).unwrap();
                    prop_assert_eq!(&store.set(Rules::ALL, &batch, &quota).unwrap(), &expected);
                    prop_assert_eq!(journaled.set(Rules::ALL, &batch, &quota).unwrap(), expected);
                }
                Step::Note(device, seen, named) => {
                    let note = Note { seen, named: named.into_iter().map(|id| DeviceId::new([id; 32])).collect() };
                    for directory in [&mut model as &mut dyn Directory, &mut store, &mut journaled] {
                        directory.note(&DeviceId::new([device; 32]), &note, 2).unwrap();
                    }
                    let noted = (0..4).filter(|at| model.noted(&DeviceId::new([*at; 32])).unwrap().is_some());
                    prop_assert!(noted.count() <= 2);
                }
                Step::Bind(device, account, until, now) => {
                    let (device, binding) = (DeviceId::new([device; 32]), Binding { account: format!("account {account}"), until });
                    let expected = model.bind(&device, &binding, 2, now).unwrap();
                    prop_assert_eq!(store.bind(&device, &binding, 2, now).unwrap(), expected);
                    prop_assert_eq!(journaled.bind(&device, &binding, 2, now).unwrap(), expected);
                    let bound = (0..5).filter_map(|at| model.bound(&DeviceId::new([at; 32])).unwrap());
                    prop_assert!(bound.filter(|it| it.account == binding.account).count() <= 2);
                }
                Step::Unbind(device) => {
                    for directory in [&mut model as &mut dyn Directory, &mut store, &mut journaled] {
                        directory.unbind(&DeviceId::new([device; 32])).unwrap();
                    }
                }
                Step::Restart => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                    journaled = Journaled::load(entries.clone().into_iter().collect()).unwrap();
                }
            }
            entries.extend(journaled.take_entries());
            prop_assert_eq!(whole(&store), whole(&model));
            prop_assert_eq!(whole(&journaled), whole(&model));
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

/// The head of a session that a loss of power leaves of a change that was said to be made.
fn set_left(rules: Rules) -> Option<Hash> {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = Store::open(dir.path()).unwrap();
    store.set(rules, &[set((1, 1, 0, 1, 1))], &Quota::default()).unwrap()[0].unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), other.path().join(entry.file_name())).unwrap();
    }
    Store::open(other.path()).unwrap().kept(&SessionId::new([1; 16])).unwrap().map(|kept| kept.head)
}

#[test]
fn service_cas_2_a_change_is_in_the_file_when_it_is_said_to_be_made() {
    assert_eq!(set_left(Rules::ALL), Some(Hash::new([1; 32])));
    assert_eq!(set_left(Rules::without(Clause::SERVICE_CAS_2)), None);
}

#[test]
fn service_cas_1_of_two_changes_for_one_head_the_first_is_made() {
    let outcomes = |rules| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let batch = [set((1, 1, 0, 1, 1)), set((1, 1, 1, 2, 1)), set((1, 1, 1, 2, 1))];
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
