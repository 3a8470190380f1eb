//! Logs and opaque parts: every op once, after those that its writer had read, and one order for a log.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use segue_proto::data::{NewOp, PartKind, Replaces, State, StreamOp, Written, named_part, salt};
use segue_proto::wire::{ActorId, Cover, DeviceId, Hash, Hlc, List, Nonce, Signed, Snapshot};
use segue_proto::{Clause, Code, Rules, Violation};

use crate::util::{SESSION, actor, part};

/// A device's copy of a session with one log.
#[derive(Clone, Debug)]
struct Copy {
    me: u8,
    state: State,
}

impl Copy {
    fn new(me: u8) -> Copy {
        Copy { me, state: State::new(SESSION, "notes") }
    }

    fn append(&mut self, ms: u64, body: &str) -> u64 {
        let hlc = Hlc::new((ms << 16).to_be_bytes());
        let (record, salt, kind) = (Hash::new([4; 32]), Nonce::new([self.me; 16]), PartKind::Log.number());
        let body = body.as_bytes().to_vec();
        let new =
            NewOp { actor: actor(self.me), part: part(1), kind, hlc, record, salt, body, replaces: Replaces::One };
        match self.state.write(Rules::ALL, new).unwrap() {
            Written::Op { seq, .. } => seq,
            Written::Value(_) => panic!("a log has no values"),
        }
    }

    fn op(&self, actor: &ActorId, seq: u64) -> (Nonce, StreamOp) {
        let stream = self.state.stream(&part(1)).unwrap();
        (stream.seed(actor).unwrap(), stream.op(actor, seq).unwrap().to_op())
    }

    fn deliver(&mut self, actor: ActorId, seq: u64, seed: Nonce, op: StreamOp) -> Result<bool, Violation> {
        self.state.deliver(Rules::ALL, part(1), PartKind::Log.number(), (actor, seq), seed, op)
    }

    /// Takes in what another has and this one lacks, in the other's order of arrival.
    fn take(&mut self, other: &Copy) {
        let Some(stream) = other.state.stream(&part(1)) else { return };
        for delivered in stream.arrived(0) {
            let (seed, op) = other.op(&delivered.actor, delivered.seq);
            self.deliver(delivered.actor, delivered.seq, seed, op).unwrap();
        }
    }

    fn log(&self) -> Vec<String> {
        let stream = self.state.stream(&part(1));
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        stream.map(|stream| stream.in_order().iter().map(|op| text(op.body)).collect()).unwrap_or_default()
    }
}

#[test]
fn data_stream_1_an_op_comes_after_those_before_it_and_those_read_and_once() {
    let (mut a, mut b, mut c) = (Copy::new(1), Copy::new(2), Copy::new(3));
    a.append(1, "question");
    b.take(&a);
    b.append(2, "answer");
    let (seed, answer) = b.op(&actor(2), 1);
    assert_eq!(answer.deps, [(actor(1), 1)]);
    let unread = Violation::new(Code::DATA_MANIFEST, Clause::DATA_OP_4);
    assert_eq!(c.deliver(actor(2), 1, seed, answer.clone()), Err(unread));
    assert!(c.state.part(&part(1)).is_none_or(|part| part.strands.is_empty()), "nothing was taken in");
    c.take(&a);
    let gap = Violation::new(Code::DATA_HASH, Clause::DATA_OP_1);
    assert_eq!(c.deliver(actor(2), 2, seed, answer.clone()), Err(gap));
    assert_eq!(c.deliver(actor(2), 1, seed, answer.clone()), Ok(true));
    assert_eq!(c.deliver(actor(2), 1, seed, answer.clone()), Ok(false));
    let other = StreamOp { body: b"another answer".to_vec(), ..answer };
    assert_eq!(c.deliver(actor(2), 1, seed, other), Err(Violation::new(Code::DATA_FORK, Clause::DATA_FORK_1)));
    assert_eq!(c.log(), ["question", "answer"]);
    assert_eq!(c.state.root(), b.state.root());
}

#[test]
fn data_time_1_within_a_millisecond_a_counter_goes_on() {
    let mut a = Copy::new(1);
    let times: Vec<u64> = [5, 5, 3, 6]
        .map(|ms| {
            let seq = a.append(ms, "x");
            u64::from_be_bytes(*a.op(&actor(1), seq).1.hlc.as_bytes())
        })
        .to_vec();
    assert_eq!(times, [5 << 16, (5 << 16) + 1, (5 << 16) + 2, 6 << 16]);
}

#[test]
fn data_log_1_an_answer_stands_behind_its_question_whatever_the_clocks() {
    let (mut a, mut b) = (Copy::new(2), Copy::new(1));
    a.append(1_000_000, "question, by a fast clock");
    b.take(&a);
    b.append(5, "answer, by a slow one");
    a.take(&b);
    assert_eq!(a.log(), ["question, by a fast clock", "answer, by a slow one"]);
    assert_eq!(a.log(), b.log());
    // At the end of time nothing can be lifted any more; the depth still tells what follows what.
    let (mut a, mut b) = (Copy::new(2), Copy::new(1));
    a.append(u64::MAX >> 16, "last");
    (0..70_000).for_each(|_| {
        a.append(0, "more");
    });
    b.take(&a);
    b.append(0, "after all");
    assert_eq!(b.log().last().map(String::as_str), Some("after all"));
}

#[test]
fn data_part_1_and_data_salt_1_follow_their_formulas() {
    let h = |context: &str, parts: &[&[u8]]| {
        *blake3::Hasher::new_derive_key(context).update(&parts.concat()).finalize().as_bytes()
    };
    let id = named_part(&SESSION, PartKind::Blob, "notes.txt");
    assert_eq!(id.as_bytes()[..], h("segue/1 named part", &[&[7; 16], &[0, 3], b"notes.txt"])[..16]);
    let third = salt(&Nonce::new([9; 16]), 3);
    assert_eq!(third.as_bytes()[..], h("segue/1 salt", &[&[9; 16], &3u64.to_be_bytes()])[..16]);
}

proptest! {
    #[test]
    fn data_log_1_every_device_shows_one_order(steps in prop::collection::vec((0..3usize, 0..3usize, 0..2u64, any::<bool>()), 1..40)) {
        let mut copies: Vec<Copy> = (1..4).map(Copy::new).collect();
        for (at, (who, other, ms, writes)) in steps.into_iter().enumerate() {
            if writes {
                copies[who].append(ms, &at.to_string());
            } else {
                let other = copies[other].clone();
                copies[who].take(&other);
            }
        }
        for to in 0..3 {
            for from in 0..3 {
                let from = copies[from].clone();
                copies[to].take(&from);
            }
        }
        for from in [2, 1, 0] {
            let from = copies[from].clone();
            copies.iter_mut().for_each(|copy| copy.take(&from));
        }
        prop_assert_eq!(copies[0].log(), copies[1].log());
        prop_assert_eq!(copies[1].log(), copies[2].log());
        prop_assert_eq!(copies[0].state.root(), copies[2].state.root());
        // Nothing stands before what its writer had read.
        let stream = copies[0].state.stream(&part(1));
        let order: Vec<(ActorId, u64)> = stream.map(|s| s.in_order().iter().map(|op| (op.actor, op.seq)).collect()).unwrap_or_default();
        for (at, (actor, seq)) in order.iter().enumerate() {
            let deps = copies[0].op(actor, *seq).1.deps;
            prop_assert!(deps.iter().all(|dep| order[..at].contains(dep)));
        }
    }
}

/// WIRE-VALUE-1: a snapshot covers ops of a log or opaque part, and each strand once.
#[test]
fn a_snapshot_that_covers_nothing_or_a_strand_twice_is_none() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let cover = |(by, seq): &(u8, u64)| Cover {
        actor: actor(*by),
        seq: *seq,
        hash: Hash::new([2; 32]),
        hlc: Hlc::new([3; 8]),
        seed: Nonce::new([4; 16]),
    };
    let opens = |kind: PartKind, covers: &[(u8, u64)]| {
        let snapshot = Snapshot {
            session: SESSION,
            part: part(1),
            kind: kind.number(),
            signer: DeviceId::new(key.verifying_key().to_bytes()),
            covers: List::new(covers.iter().map(cover).collect()).unwrap(),
            format: 0,
            len: 0,
            hash: Hash::new([5; 32]),
        };
        Signed::sign(&snapshot, &key).open(Rules::ALL).map(drop)
    };
    let refused = Err(Violation::new(Code::WIRE_VALUE, Clause::WIRE_VALUE_1));
    for kind in [PartKind::Log, PartKind::Opaque] {
        assert_eq!(opens(kind, &[(1, 1), (2, 7)]), Ok(()));
    }
    assert_eq!(opens(PartKind::Register, &[(1, 1), (2, 7)]), refused);
    for covers in [&[][..], &[(1, 0)], &[(2, 7), (1, 1)], &[(1, 1), (1, 7)]] {
        assert_eq!(opens(PartKind::Log, covers), refused, "{covers:?}");
    }
}

/// What is cut from a strand stays as far as others that stay had read it.
#[test]
fn what_stays_keeps_all_that_it_had_read() {
    let [mut one, mut two, mut three] = [1, 2, 3].map(Copy::new);
    (1..=4).for_each(|n| assert_eq!(one.append(n, "one"), n));
    two.take(&one);
    two.append(5, "two");
    three.take(&two);
    three.append(6, "three");
    one.append(7, "one, that nobody read");
    three.take(&one);
    let stream = three.state.stream(&part(1)).unwrap();
    let kept = |ends: &[(u8, u64)]| {
        let end = |of: &ActorId| ends.iter().find(|(n, _)| actor(*n) == *of).map(|(_, end)| *end);
        stream.kept_by(end).into_values().collect::<Vec<_>>()
    };
    assert_eq!(kept(&[]), [5, 1, 1]);
    assert_eq!(kept(&[(1, 1)]), [4, 1, 1], "the second had read four of them");
    assert_eq!(kept(&[(1, 1), (2, 0)]), [4, 1, 1], "the third had read the second, which had read them");
    assert_eq!(kept(&[(1, 1), (2, 0), (3, 0)]), [1, 0, 0]);
    assert_eq!(kept(&[(1, 9)]), [5, 1, 1], "there are no more");
}
