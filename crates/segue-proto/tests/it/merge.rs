//! Copies of parts with values that meet: what stays, what goes, and that the order makes no difference.

use proptest::prelude::*;
use segue_proto::data::{Manifest, NewOp, Part, PartKind, Replaces, State, Written, header, op_hash};
use segue_proto::limits::MAX_PART;
use segue_proto::wire::codec::encode;
use segue_proto::wire::{ActorId, Hash, Hlc, List, Nonce, Tip};
use segue_proto::{Clause, Code, Rules, UsageError, Violation};

use crate::util::{SESSION, actor, part};

/// A device's copy of a session with one register.
#[derive(Clone, Debug)]
struct Copy {
    me: u8,
    state: State,
}

impl Copy {
    fn new(me: u8) -> Copy {
        Copy { me, state: State::new(SESSION, "notes") }
    }

    fn write_at(&mut self, ms: u64, body: &str, replaces: Replaces) -> Result<Written, UsageError> {
        let hlc = Hlc::new((ms << 16).to_be_bytes());
        let (record, salt) = (Hash::new([4; 32]), Nonce::new([self.me; 16]));
        let (actor, kind, body) = (actor(self.me), PartKind::Register.number(), body.as_bytes().to_vec());
        self.state.write(Rules::ALL, NewOp { actor, part: part(1), kind, hlc, record, salt, body, replaces })
    }

    fn write(&mut self, body: &str) {
        self.write_at(1, body, Replaces::One).unwrap();
    }

    fn part(&self) -> Part {
        self.state.part(&part(1)).cloned().unwrap_or_else(|| Part::new(part(1), PartKind::Register))
    }

    fn take(&mut self, other: &Copy) -> Result<bool, Violation> {
        self.state.merge(Rules::ALL, &other.part())
    }

    fn values(&self) -> Vec<String> {
        self.part().values.iter().map(|value| String::from_utf8_lossy(&value.op.body).into_owned()).collect()
    }
}

fn shown(copy: &Copy) -> String {
    copy.part().body().map(|body| String::from_utf8_lossy(body).into_owned()).unwrap_or_default()
}

#[test]
fn data_merge_1_a_write_replaces_what_its_writer_had_read_whatever_the_clock() {
    let (mut a, mut b) = (Copy::new(1), Copy::new(2));
    a.write_at(4_000_000_000_000, "from the year 2096", Replaces::One).unwrap();
    assert!(b.take(&a).unwrap());
    b.write_at(1, "later, by a clock of 1970", Replaces::One).unwrap();
    assert!(a.take(&b).unwrap());
    assert_eq!(a.values(), ["later, by a clock of 1970"]);
    assert_eq!(a.part(), b.part());
}

#[test]
fn data_merge_1_writes_that_did_not_know_of_each_other_all_stay() {
    let (mut a, mut b, mut c) = (Copy::new(1), Copy::new(2), Copy::new(3));
    a.write("a");
    b.write("b");
    c.write_at(2, "c", Replaces::One).unwrap();
    a.take(&b).unwrap();
    a.take(&c).unwrap();
    assert_eq!((a.values(), shown(&a)), (vec!["a".into(), "b".into(), "c".into()], "c".into()));
    assert!(a.part().is_conflicted());
    assert!(matches!(a.write_at(3, "x", Replaces::One), Err(UsageError::Conflicted)));
    a.write_at(3, "all of them", Replaces::All).unwrap();
    // One who hasn't seen that goes on, and its write stays beside.
    b.write("b, again");
    b.take(&a).unwrap();
    assert_eq!(b.values(), ["all of them", "b, again"]);
}

#[test]
fn data_value_1_a_write_stands_for_what_its_user_was_shown_and_beside_the_rest() {
    let (mut a, mut b, mut c) = (Copy::new(1), Copy::new(2), Copy::new(3));
    a.write("known to all");
    b.take(&a).unwrap();
    c.take(&a).unwrap();
    b.write_at(5, "b", Replaces::One).unwrap();
    a.take(&b).unwrap();
    // Its user saw what stood there before, which b has replaced since; by a clock that runs behind.
    a.write_at(3, "a", Replaces::Of(vec![actor(1)])).unwrap();
    assert_eq!((a.values(), shown(&a)), (vec!["a".into(), "b".into()], "b".into()));
    c.take(&b).unwrap();
    c.take(&a).unwrap();
    assert_eq!(c.part(), a.part(), "all devices have both");
    // What the device wrote itself and its user doesn't see would be replaced unseen.
    assert!(matches!(a.write_at(9, "x", Replaces::Of(vec![actor(2)])), Err(UsageError::Conflicted)));
    assert_eq!(c.part(), a.part(), "what was refused changes nothing");
    c.write_at(9, "for that of b", Replaces::Of(vec![actor(2), actor(7)])).unwrap();
    a.take(&c).unwrap();
    assert_eq!((a.values(), shown(&a)), (vec!["a".into(), "for that of b".into()], "for that of b".into()));
}

#[test]
fn data_merge_1_what_one_copy_knows_to_be_replaced_goes() {
    let (mut a, mut b) = (Copy::new(1), Copy::new(2));
    a.write("old");
    let before = a.clone();
    b.take(&a).unwrap();
    b.write("new");
    a.take(&b).unwrap();
    assert_eq!(a.values(), ["new"]);
    assert!(!a.take(&before).unwrap(), "an old copy brings nothing back");
    assert!(!a.take(&b).unwrap(), "the same copy again changes nothing");
}

#[test]
fn data_fork_1_one_number_names_one_op() {
    let (mut a, mut b) = (Copy::new(1), Copy::new(1));
    a.write("one");
    b.write("other");
    let fork = Violation::new(Code::DATA_FORK, Clause::DATA_FORK_1);
    let before = a.part();
    assert_eq!(a.take(&b), Err(fork));
    assert_eq!(a.part(), before);
}

#[test]
fn data_kind_1_a_part_keeps_its_kind() {
    let mut a = Copy::new(1);
    a.write("x");
    let mut other = a.part();
    other.kind = PartKind::Exclusive.number();
    let refused = Violation::new(Code::DATA_MANIFEST, Clause::DATA_KIND_1);
    assert_eq!(a.state.merge(Rules::ALL, &other), Err(refused));
}

#[test]
fn pieces_of_a_part_merge_to_the_whole() {
    let mut whole = Copy::new(9);
    for me in 1..5 {
        let mut other = Copy::new(me);
        other.write("first");
        other.write("last");
        whole.take(&other).unwrap();
    }
    let part = whole.part();
    let piece = |n: usize| Part {
        strands: List::new(vec![part.strands[n].clone()]).unwrap(),
        values: List::new(vec![part.values[n].clone()]).unwrap(),
        ..part.clone()
    };
    let mut copy = Copy::new(8);
    for n in [2, 0, 3, 1] {
        copy.state.merge(Rules::ALL, &piece(n)).unwrap();
    }
    assert_eq!(copy.part(), part);
}

#[test]
fn data_op_4_what_a_value_of_a_shared_part_had_read_need_not_be_held() {
    let (mut a, mut b) = (Copy::new(1), Copy::new(2));
    a.write("read");
    b.take(&a).unwrap();
    b.write("written");
    let tip = b.part().tip(&actor(2)).cloned().unwrap();
    let piece = Part { strands: List::new(vec![tip]).unwrap(), ..b.part() };
    let mut copy = Copy::new(3);
    copy.state.merge(Rules::ALL, &piece).unwrap();
    let bytes = copy.state.to_manifest().to_bytes();
    assert!(Manifest::open(Rules::ALL, &bytes, &SESSION).is_ok(), "a device may announce what it merged");
    // Its own strand it can't have read, and a copy that says so is refused.
    let mut own = b.part();
    let mut value = own.values[0].clone();
    value.op.deps = List::new(vec![Tip { actor: actor(2), seq: 1, hash: value.prev }]).unwrap();
    let hash = op_hash(&value.prev, &header(&value.op));
    own.strands = List::new(vec![Tip { hash, ..own.strands[1].clone() }]).unwrap();
    own.values = List::new(vec![value]).unwrap();
    let refused = Violation::new(Code::DATA_MANIFEST, Clause::DATA_OP_4);
    assert_eq!(Copy::new(3).state.merge(Rules::ALL, &own), Err(refused));
}

#[test]
fn data_part_2_an_exclusive_part_stays_short_enough_for_a_frame() {
    let mut writer = Copy::new(1);
    let write = |copy: &mut Copy, body: Vec<u8>| {
        let (hlc, record, salt) = (Hlc::new([1, 0, 0, 0, 0, 0, 0, 0]), Hash::new([4; 32]), Nonce::new([1; 16]));
        let kind = PartKind::Exclusive.number();
        let new = NewOp { actor: actor(1), part: part(1), kind, hlc, record, salt, body, replaces: Replaces::One };
        copy.state.write(Rules::ALL, new)
    };
    write(&mut writer, vec![0; 16]).unwrap();
    let mut many = writer.part();
    let room = MAX_PART - encode(&many).len() - 1;
    let others = (0..room / 65).map(|n| {
        let mut id = [0xff; 32];
        id[1..9].copy_from_slice(&(n as u64).to_be_bytes());
        Tip { actor: ActorId::new(id), seq: 1, hash: Hash::new([7; 32]) }
    });
    many.strands = List::new(many.strands.iter().cloned().chain(others).collect()).unwrap();
    writer.state.merge(Rules::ALL, &many).unwrap();
    assert!(matches!(write(&mut writer, vec![0; 16 + 65]), Err(UsageError::TooLarge)));
    assert!(write(&mut writer, vec![0; 16]).is_ok());
}

/// What devices do: write, resolve, write for the own value and those of some, or take in another's copy.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Resolve(usize),
    Beside(usize, [bool; 4]),
    Take(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4usize).prop_map(Step::Write),
        1 => (0..4usize).prop_map(Step::Resolve),
        2 => (0..4usize, any::<[bool; 4]>()).prop_map(|(who, over)| Step::Beside(who, over)),
        4 => (0..4usize, 0..4usize).prop_map(|(to, from)| Step::Take(to, from)),
    ];
    prop::collection::vec(step, 1..40)
}

fn play(steps: &[Step]) -> Vec<Copy> {
    let mut copies: Vec<Copy> = (1..5).map(Copy::new).collect();
    for (at, step) in steps.iter().enumerate() {
        match *step {
            Step::Write(who) => drop(copies[who].write_at(at as u64 % 3, &format!("write {at}"), Replaces::One)),
            Step::Resolve(who) => drop(copies[who].write_at(at as u64 % 3, &format!("for all {at}"), Replaces::All)),
            Step::Beside(who, over) => {
                let over = Replaces::Of(standing(who, over).map(|who| actor(who as u8 + 1)).collect());
                drop(copies[who].write_at(at as u64 % 3, &format!("beside {at}"), over));
            }
            Step::Take(to, from) => {
                let from = copies[from].clone();
                copies[to].take(&from).unwrap();
            }
        }
    }
    copies
}

/// For whose values a write stands.
fn standing(who: usize, over: [bool; 4]) -> impl Iterator<Item = usize> {
    (0..4).filter(move |other| *other == who || over[*other])
}

proptest! {
    #[test]
    fn data_merge_1_the_order_and_number_of_merges_make_no_difference(
        steps in steps(),
        orders in prop::collection::vec(prop::collection::vec(0..4usize, 4..12), 2),
    ) {
        let copies = play(&steps);
        let all = |order: &[usize]| {
            let mut merged = Copy::new(9);
            for from in order.iter().chain(&[0, 1, 2, 3]) {
                merged.take(&copies[*from]).unwrap();
            }
            merged.part()
        };
        let parts: Vec<Part> = orders.iter().map(|order| all(order)).collect();
        prop_assert_eq!(&parts[0], &parts[1]);
        prop_assert!(parts[0].values.is_empty() == parts[0].strands.is_empty());
        // Merging in pairs first comes to the same.
        let (mut left, mut right) = (copies[0].clone(), copies[2].clone());
        left.take(&copies[1]).unwrap();
        right.take(&copies[3]).unwrap();
        right.take(&left).unwrap();
        prop_assert_eq!(right.part(), parts[0].clone());
    }

    #[test]
    fn data_value_1_a_value_goes_only_by_an_op_that_had_read_it(steps in steps()) {
        // What the spec's words say, with whole histories: an op's past is all that its writer had taken in.
        let mut pasts: Vec<std::collections::BTreeSet<usize>> = vec![Default::default(); 4];
        let mut writes: Vec<(usize, std::collections::BTreeSet<usize>)> = Vec::new();
        let mut writers = std::collections::BTreeMap::new();
        let mut copies: Vec<Copy> = (1..5).map(Copy::new).collect();
        for (at, step) in steps.iter().enumerate() {
            match *step {
                Step::Write(who) | Step::Resolve(who) | Step::Beside(who, _) => {
                    let (replaces, over) = match *step {
                        Step::Write(_) => (Replaces::One, [true; 4]),
                        Step::Beside(_, over) => {
                            (Replaces::Of(standing(who, over).map(|who| actor(who as u8 + 1)).collect()), over)
                        }
                        _ => (Replaces::All, [true; 4]),
                    };
                    if copies[who].write_at(0, &at.to_string(), replaces).is_ok() {
                        // What its user wasn't shown it hasn't read, unless that was read by what it was shown.
                        let shown: Vec<usize> = standing(who, over).collect();
                        let read = pasts[who].iter().filter(|at| shown.contains(&writers[*at])).copied().collect();
                        writes.push((at, read));
                        writers.insert(at, who);
                        pasts[who].insert(at);
                    }
                }
                Step::Take(to, from) => {
                    let (past, from) = (pasts[from].clone(), copies[from].clone());
                    copies[to].take(&from).unwrap();
                    pasts[to].extend(past);
                }
            }
        }
        for (copy, past) in copies.iter().zip(&pasts) {
            let replaced = |at: &usize| writes.iter().any(|(by, read)| past.contains(by) && read.contains(at));
            let expected: std::collections::BTreeSet<String> =
                past.iter().filter(|at| !replaced(at)).map(|at| at.to_string()).collect();
            prop_assert_eq!(copy.values().into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
        }
    }
}
