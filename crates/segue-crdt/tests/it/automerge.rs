//! Automerge.

use segue_crdt::{AutomergeMap, AutomergeText, Document, DocumentError, MapChange, Patch, Value};

use crate::util::{Pair, Seeded};

fn texts() -> Pair<AutomergeText> {
    Pair::new([1, 2].map(|actor| AutomergeText::with_actor([actor; 16], None).expect("opens")))
}

#[test]
fn texts_edited_at_once_end_alike() {
    for seed in 0..10 {
        let mut seeded = Seeded(seed);
        let mut pair = texts();
        let mut shown = [String::new(), String::new()];
        for _ in 0..100 {
            let who = seeded.below(2);
            let len = pair.docs[who].rope().len_chars();
            let at = seeded.below(len + 1);
            if seeded.below(3) == 0 {
                pair.docs[who].delete(at, seeded.below((len - at).min(5) + 1)).expect("inside");
            } else {
                pair.docs[who].insert(at, ["a", "é", "😀", "word "][seeded.below(4)]).expect("inside");
            }
            pair.flush(who);
            if seeded.below(10) == 0 {
                pair.meet();
            }
        }
        pair.meet();
        for (doc, shown) in pair.docs.iter_mut().zip(&mut shown) {
            let snapshot = doc.snapshot().expect("whole");
            let fresh = AutomergeText::with_actor([9; 16], Some(&snapshot)).expect("opens");
            assert_eq!(fresh.rope(), doc.rope(), "seed {seed}");
            *shown = doc.rope().to_string();
        }
        assert_eq!(shown[0], shown[1], "seed {seed}");
    }
}

#[test]
fn a_long_edit_becomes_several_ops() {
    let mut pair = texts();
    pair.docs[0].insert(0, &"é😀a".repeat(10_000)).expect("inside");
    pair.flush(0);
    pair.meet();
    assert_eq!(pair.docs[1].rope().len_chars(), 30_000);
    assert_eq!(pair.docs[1].patches().iter().map(|patch| patch.inserted.chars().count()).sum::<usize>(), 30_000);
    pair.docs[1].delete(1, 29_998).expect("inside");
    pair.flush(1);
    pair.meet();
    assert_eq!(pair.docs[0].rope(), "éa");
    pair.docs[1].insert(1, "x").expect("inside");
    let key = pair.docs[1].flush().expect("an op").len();
    println!("{key} bytes a keystroke");
    assert!(key < 150, "{key}");
}

#[test]
fn maps_written_at_once_end_alike() {
    let mut pair = Pair::new([1, 2].map(|actor| AutomergeMap::with_actor([actor; 16], None).expect("opens")));
    let values = [Value::Null, Value::Int(i64::MIN), Value::Float(3.0), Value::Text("é".into()), Value::Bytes(vec![0])];
    for (who, value) in values.iter().enumerate() {
        pair.docs[who % 2].set("same", value).expect("fits");
        pair.docs[who % 2].set(&format!("key {who}"), value).expect("fits");
        pair.flush(who % 2);
    }
    pair.meet();
    assert_eq!(pair.docs[0].entries(), pair.docs[1].entries());
    assert_eq!(pair.docs[1].entries()["key 2"], Value::Float(3.0));
    pair.docs[0].changes();
    pair.docs[1].remove("key 0").expect("lives");
    pair.flush(1);
    pair.meet();
    assert_eq!(pair.docs[0].changes(), [MapChange { key: "key 0".into(), value: None }]);
}

#[test]
fn mangled_changes_never_take_the_process_down() {
    let mut writer = AutomergeText::with_actor([7; 16], None).expect("opens");
    writer.insert(0, "some words").expect("inside");
    writer.delete(2, 3).expect("inside");
    let ops: Vec<Vec<u8>> = std::iter::from_fn(|| writer.flush()).collect();
    let mut seeded = Seeded(3);
    let mut text = AutomergeText::with_actor([1; 16], None).expect("opens");
    for _ in 0..1_000 {
        let mut op = ops[seeded.below(ops.len())].clone();
        let at = seeded.below(op.len());
        op[at] ^= 1 << seeded.below(8);
        assert!(matches!(text.apply(&op), Err(DocumentError::Refused(_))), "a change has a checksum");
    }
    for op in &ops {
        text.apply(op).expect("an honest op");
    }
    assert_eq!(text.rope(), "sowords");
    assert_eq!(text.patches().last(), Some(&Patch { at: 2, deleted: 3, inserted: String::new() }));
    assert_eq!(text.tally().refused, 1_000);
}
