//! Bytes that no honest device sends.

use segue_crdt::limits::{MAX_LISTED, MAX_UPDATE};
use segue_crdt::{Document, DocumentError, Value, YrsArray, YrsMap, YrsText};

use crate::util::Seeded;

type Mangle = fn(&mut Seeded, &mut Vec<u8>);

const ROUNDS: usize = if cfg!(debug_assertions) { 4_000 } else { 100_000 };

/// The ops of a text, a map and an array.
fn honest() -> [Vec<Vec<u8>>; 3] {
    let mut text = YrsText::with_client(9, None).expect("opens");
    let (mut map, mut array) =
        (YrsMap::with_client(9, None).expect("opens"), YrsArray::with_client(9, None).expect("opens"));
    let (mut texts, mut maps, mut arrays) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..6 {
        text.insert(step, "hé😀llo").expect("inside");
        text.delete(step / 2, 2).expect("inside");
        texts.extend(text.flush());
        map.set(["a", "b"][step % 2], &Value::Int(step as i64)).expect("fits");
        maps.extend(map.flush());
        array.insert(step / 2, &[Value::Text("x".into()), Value::Float(0.5), Value::Bytes(vec![1])]).expect("fits");
        array.delete(0, 1).expect("inside");
        arrays.extend(std::iter::from_fn(|| array.flush()));
    }
    [texts, maps, arrays]
}

/// Gives a document what `mangle` makes of honest ops, in a wild order. It may refuse and it may break; it returns.
fn assail<D: Document>(open: impl Fn() -> D, ops: &[Vec<u8>], mangle: Mangle) -> [u64; 3] {
    let mut seeded = Seeded(ops.len() as u64);
    let mut doc = open();
    let mut counts = [0; 3];
    for round in 0..ROUNDS {
        let mut op = ops[seeded.below(ops.len())].clone();
        mangle(&mut seeded, &mut op);
        match doc.apply(&op) {
            Ok(()) => counts[0] += 1,
            Err(DocumentError::Refused(_)) => counts[1] += 1,
            Err(DocumentError::Broken(why)) => {
                assert_eq!(doc.broken(), Some(why.as_str()));
                counts[2] += 1;
                doc = open();
            }
            Err(other) => panic!("round {round}: {other}"),
        }
        // Also a document that took strange ops does what it is asked to.
        let _ = doc.flush();
        if round % 64 == 0 {
            if let Ok(snapshot) = doc.snapshot() {
                assert!(snapshot.len() > 1);
            }
            doc = open();
        }
    }
    counts
}

fn flip(seeded: &mut Seeded, op: &mut [u8]) {
    for _ in 0..seeded.below(4) {
        let at = seeded.below(op.len());
        op[at] = match seeded.below(3) {
            0 => op[at] ^ (1 << seeded.below(8)),
            1 => seeded.next() as u8,
            _ => [0, 1, 2, 4, 8, 9, 10, 0x7f, 0x80, 0xff][seeded.below(10)],
        };
    }
}

fn cut_and_grow(seeded: &mut Seeded, op: &mut Vec<u8>) {
    let at = seeded.below(op.len());
    match seeded.below(4) {
        0 => op.truncate(at),
        1 => drop(op.remove(at)),
        2 => op.insert(at, seeded.next() as u8),
        _ => {
            let piece = op[at..].to_vec();
            let to = seeded.below(op.len());
            op.splice(to..to, piece);
        }
    }
}

fn noise(seeded: &mut Seeded, op: &mut Vec<u8>) {
    let len = seeded.below(64);
    *op = (0..len).map(|_| [seeded.next() as u8, seeded.below(12) as u8][seeded.below(2)]).collect();
}

#[test]
fn mangled_ops_never_take_the_process_down() {
    let [texts, maps, arrays] = honest();
    let flips: Mangle = |seeded, op| flip(seeded, op);
    for mangle in [flips, cut_and_grow, noise] {
        let watched = || {
            let mut text = YrsText::with_client(3, None).expect("opens");
            text.watch().expect("watched");
            text.remember().expect("remembers");
            text.insert(0, "own").expect("inside");
            text
        };
        let text = assail(watched, &texts, mangle);
        let map = assail(|| YrsMap::with_client(3, None).expect("opens"), &maps, mangle);
        let array = assail(|| YrsArray::with_client(3, None).expect("opens"), &arrays, mangle);
        println!("applied, refused, broken: text {text:?}, map {map:?}, array {array:?}");
    }
}

#[test]
fn claims_are_not_believed() {
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let mut nested = b"\x01\x01\x09\x00\x08\x01\x05array\x01".to_vec();
    nested.extend([117, 1].repeat(8_000));
    let hostile: Vec<(Vec<u8>, &str)> = vec![
        (most.to_vec(), "an update that ends too early"),
        ([&[1][..], &most, &[9, 0]].concat(), "an update that ends too early"),
        ([&[0, 1, 9][..], &most].concat(), "an update that ends too early"),
        (vec![0x80, 0x00, 0x00], "an integer that isn't minimal"),
        (vec![0; MAX_UPDATE + 1], "an op beyond the limit"),
        (vec![0, 0], "an update without edits"),
        (b"\x01\x01\x09\x00\x04\x01\x05other\x01x\x00".to_vec(), "a parent that isn't the document"),
        (nested, "a value of an unknown kind"),
        (vec![1, 1, 9, 0, 0x84, 9, 0, 1, b'x', 0], "a block beside a later one of its own client"),
        ([&[1, 1, 9, 0, 0xc1, 8, 0, 8, 1][..], &most, &[0]].concat(), "a length beyond the limit"),
        (vec![0, 1, 9, 2, 5, 1, 4, 1], "deletions out of order"),
        (vec![1, 1, 9, 0, 10, 1, 0], "a gap"),
    ];
    let mut array = YrsArray::with_client(1, None).expect("opens");
    let mut refused = 0;
    for (op, why) in &hostile {
        let done = array.apply(op);
        if !why.starts_with("a block beside") {
            assert_eq!(done, Err(DocumentError::Refused(why)), "{op:?}");
        }
        refused += u64::from(done.is_err());
    }
    assert_eq!((array.tally().refused, array.tally().applied), (refused, hostile.len() as u64 - refused));
    assert_eq!(array.tally().listed[1].op, 1);
    assert!(array.broken().is_none() && array.is_empty() == Ok(true));
    for _ in 0..2 * MAX_LISTED {
        let _ = array.apply(&[]);
    }
    assert_eq!(array.tally().listed.len(), MAX_LISTED);
    let mut text = YrsText::with_client(1, None).expect("opens");
    let (beside, why) = &hostile[8];
    assert_eq!(text.apply(beside), Err(DocumentError::Refused(why)));
}

#[test]
fn an_op_without_its_past_waits_for_it() {
    let mut writer = YrsText::with_client(9, None).expect("opens");
    let ops: Vec<_> = (0..3)
        .map(|at| {
            writer.insert(at, ["a", "b", "c"][at]).expect("inside");
            writer.flush().expect("an op")
        })
        .collect();
    let mut text = YrsText::with_client(1, None).expect("opens");
    for index in [2, 0, 1] {
        text.apply(&ops[index]).expect("it waits");
    }
    assert_eq!(text.text().as_deref(), Ok("abc"));
}
