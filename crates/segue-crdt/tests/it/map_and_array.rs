//! Maps and arrays.

use segue_crdt::limits::{MAX_KEY, MAX_VALUE};
use segue_crdt::{ArrayPatch, Document, MapChange, Value, YrsArray, YrsMap};

use crate::util::{Pair, Seeded};

fn values() -> Vec<Value> {
    vec![
        Value::Null,
        Value::Bool(true),
        Value::Int(-7),
        Value::Int(0x7fff_ffff),
        Value::Int(-0x8000_0000),
        Value::Int(1 << 40),
        Value::Int(i64::MAX),
        Value::Int(i64::MIN),
        Value::Float(3.0),
        Value::Float(0.1),
        Value::Float(f64::NEG_INFINITY),
        Value::Text("é😀".into()),
        Value::Text(String::new()),
        Value::Bytes(vec![1; MAX_VALUE]),
        Value::Bytes(Vec::new()),
    ]
}

#[test]
fn values_arrive_as_they_were_written() {
    let mut maps = Pair::new([1, 2].map(|client| YrsMap::with_client(client, None).expect("opens")));
    let mut arrays = Pair::new([1, 2].map(|client| YrsArray::with_client(client, None).expect("opens")));
    for (index, value) in values().iter().enumerate() {
        maps.docs[0].set(&format!("key {index}"), value).expect("fits");
        maps.docs[0].set(&"k".repeat(MAX_KEY), value).expect("fits");
    }
    arrays.docs[0].insert(0, &values()).expect("fits");
    maps.flush(0);
    arrays.flush(0);
    maps.meet();
    arrays.meet();
    assert_eq!(maps.docs[0].entries(), maps.docs[1].entries());
    for (index, value) in values().into_iter().enumerate() {
        assert_eq!(maps.docs[1].get(&format!("key {index}")), Ok(Some(value)));
    }
    assert_eq!(arrays.docs[1].values(), Ok(values()));
    assert_eq!(arrays.docs[1].patches(), [ArrayPatch { at: 0, deleted: 0, inserted: values() }]);
}

#[test]
fn what_is_too_long_is_the_callers_mistake() {
    let mut map = YrsMap::open(None).expect("opens");
    assert!(map.set(&"k".repeat(MAX_KEY + 1), &Value::Null).is_err());
    assert!(map.set("k", &Value::Text("v".repeat(MAX_VALUE + 1))).is_err());
    let mut array = YrsArray::open(None).expect("opens");
    assert!(array.insert(1, &[Value::Null]).is_err() && array.delete(0, 1).is_err());
    assert!(map.flush().is_none() && array.flush().is_none() && map.broken().is_none());
}

#[test]
fn concurrent_writes_of_a_key_end_alike() {
    for seed in 0..20 {
        let mut seeded = Seeded(seed);
        let mut pair = Pair::new([1, 2].map(|client| YrsMap::with_client(client, None).expect("opens")));
        let mut shown = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
        for step in 0..200 {
            let who = seeded.below(2);
            let key = ["a", "b", "c"][seeded.below(3)];
            if seeded.below(4) == 0 {
                pair.docs[who].remove(key).expect("lives");
                shown[who].remove(key);
            } else {
                let value = Value::Int(step);
                pair.docs[who].set(key, &value).expect("fits");
                shown[who].insert(key.to_owned(), value);
            }
            pair.flush(who);
            if seeded.below(8) == 0 || step == 199 {
                pair.meet();
                for (doc, shown) in pair.docs.iter_mut().zip(&mut shown) {
                    for MapChange { key, value } in doc.changes() {
                        match value {
                            Some(value) => shown.insert(key, value),
                            None => shown.remove(&key),
                        };
                    }
                }
                assert_eq!(pair.docs[0].entries(), pair.docs[1].entries(), "seed {seed}");
                assert_eq!(pair.docs[0].entries().as_ref(), Ok(&shown[0]), "seed {seed}");
                assert_eq!(shown[0], shown[1], "seed {seed}");
            }
        }
    }
}

#[test]
fn arrays_edited_at_once_end_alike() {
    for seed in 0..20 {
        let mut seeded = Seeded(seed);
        let mut pair = Pair::new([1, 2].map(|client| YrsArray::with_client(client, None).expect("opens")));
        for step in 0..200 {
            let who = seeded.below(2);
            let len = pair.docs[who].len().expect("lives");
            let at = seeded.below(len + 1);
            if seeded.below(3) == 0 {
                pair.docs[who].delete(at, seeded.below((len - at).min(3) + 1)).expect("inside");
            } else {
                pair.docs[who].insert(at, &[Value::Int(step), Value::Text("x".into())]).expect("inside");
            }
            pair.flush(who);
            if seeded.below(8) == 0 {
                pair.meet();
            }
        }
        pair.meet();
        assert_eq!(pair.docs[0].values(), pair.docs[1].values(), "seed {seed}");
    }
}

#[test]
fn many_elements_become_several_ops() {
    let mut pair = Pair::new([1, 2].map(|client| YrsArray::with_client(client, None).expect("opens")));
    let many: Vec<Value> = (0..50_000).map(Value::Int).collect();
    pair.docs[0].insert(0, &many).expect("fits");
    pair.docs[0].insert(0, &vec![Value::Bytes(vec![7; MAX_VALUE]); 5]).expect("fits");
    pair.flush(0);
    assert!(pair.ops > 10, "{} ops", pair.ops);
    pair.meet();
    assert_eq!(pair.docs[0].values(), pair.docs[1].values());
    let snapshot = pair.docs[1].snapshot().expect("whole");
    assert_eq!(YrsArray::open(Some(&snapshot)).expect("opens").values(), pair.docs[0].values());
}
