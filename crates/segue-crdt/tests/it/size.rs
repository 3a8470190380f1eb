//! What a keystroke costs.

use segue_crdt::{Document, YrsText};
use yrs::{Doc, Text, Transact};

/// Keystrokes one by one in a text of some size: a line at its end, and words within.
fn keys() -> Vec<(usize, char)> {
    let line = (0..60).map(|i| (5_000 + i, 'x'));
    let words = (0..60).map(|i| (700 * (i / 12) + i % 12, 'y'));
    line.chain(words).collect()
}

/// The mean bytes of a keystroke's update in the library's two encodings, under a client id.
fn plain(client: u64) -> [f64; 2] {
    let doc = Doc::with_client_id(client);
    let text = doc.get_or_insert_text("text");
    text.push(&mut doc.transact_mut(), &"z".repeat(5_000));
    let mut bytes = [0; 2];
    for (at, key) in keys() {
        let mut txn = doc.transact_mut();
        text.insert(&mut txn, at as u32, &key.to_string());
        txn.commit();
        bytes[0] += txn.encode_update_v1().len();
        bytes[1] += txn.encode_update_v2().len();
    }
    bytes.map(|bytes| bytes as f64 / keys().len() as f64)
}

#[test]
fn a_keystroke_takes_few_bytes() {
    let mut text = YrsText::with_client(1 << 34, None).expect("opens");
    text.insert(0, &"z".repeat(5_000)).expect("inside");
    while text.flush().is_some() {}
    let mut bytes = 0;
    for (at, key) in keys() {
        text.insert(at, &key.to_string()).expect("inside");
        bytes += text.flush().expect("an op").len();
    }
    let own = bytes as f64 / keys().len() as f64;
    let ([short, short_second], [long, long_second]) = (plain(1 << 34), plain(1 << 52));
    println!("bytes a keystroke: {own:.1}; yrs alone, first and second encoding:");
    println!("client ids of 35 bits {short:.1} and {short_second:.1}, of 53 bits {long:.1} and {long_second:.1}");
    assert!(own <= 24.0 && own <= short, "{own}");
    assert!(short < short_second && short < long && short < long_second);
}

#[test]
fn a_word_typed_between_two_flushes_is_one_block() {
    let mut text = YrsText::with_client(1 << 34, None).expect("opens");
    for (at, key) in "keystroke".chars().enumerate() {
        text.insert(at, &key.to_string()).expect("inside");
    }
    text.delete(8, 1).expect("inside");
    text.insert(8, "es").expect("inside");
    let op = text.flush().expect("an op");
    // Counts, client, clock, the root by name, and the text once.
    assert_eq!(op.len(), 17 + "keystrokes".len());
    assert_eq!(text.flush(), None);
}
