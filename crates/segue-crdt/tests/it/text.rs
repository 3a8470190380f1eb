//! Texts.

use segue_crdt::limits::MAX_UPDATE;
use segue_crdt::{Document, DocumentError, Patch, YrsText};

use crate::util::{Pair, Seeded};

fn open(client: u64) -> YrsText {
    let mut text = YrsText::with_client(client, None).expect("opens");
    text.watch().expect("watched");
    text
}

#[test]
fn positions_are_code_points() {
    let mut pair = Pair::new([open(1), open(2)]);
    pair.docs[0].insert(0, "a😀b").expect("inside");
    pair.docs[0].insert(2, "é").expect("inside");
    pair.docs[0].delete(1, 1).expect("inside");
    assert_eq!(pair.docs[0].insert(4, "x"), Err(DocumentError::Edit("the position lies outside the text")));
    assert!(pair.docs[0].delete(3, 1).is_err() && pair.docs[0].delete(1, usize::MAX).is_err());
    pair.flush(0);
    pair.meet();
    assert_eq!(pair.docs[1].text().as_deref(), Ok("aéb"));
    assert_eq!(pair.docs[1].patches(), [Patch { at: 0, deleted: 0, inserted: "aéb".into() }]);
    pair.docs[1].insert(1, "👩‍🚀").expect("inside");
    pair.docs[1].delete(4, 1).expect("inside");
    pair.flush(1);
    pair.meet();
    assert_eq!(pair.docs[0].text().as_deref(), Ok("a👩‍🚀b"));
}

#[test]
fn patches_lead_to_the_text() {
    for seed in 0..20 {
        let mut seeded = Seeded(seed);
        let mut pair = Pair::new([open(1), open(2)]);
        let mut shown = [segue_crdt::Rope::new(), segue_crdt::Rope::new()];
        for _ in 0..300 {
            let who = seeded.below(2);
            let len = shown[who].len_chars();
            let at = seeded.below(len + 1);
            if seeded.below(3) == 0 {
                let count = seeded.below((len - at).min(5) + 1);
                pair.docs[who].delete(at, count).expect("inside");
                shown[who].remove(at..at + count);
            } else {
                let typed = ["a", "é", "😀", "\n", "word "][seeded.below(5)];
                pair.docs[who].insert(at, typed).expect("inside");
                shown[who].insert(at, typed);
            }
            if seeded.below(3) == 0 {
                pair.flush(who);
            }
            if seeded.below(10) == 0 {
                pair.meet();
                follow(&mut pair, &mut shown);
            }
        }
        pair.flush(0);
        pair.flush(1);
        pair.meet();
        follow(&mut pair, &mut shown);
        assert_eq!(shown[0], shown[1], "seed {seed}");
        assert_eq!(pair.docs[0].text().expect("whole"), shown[0].to_string(), "seed {seed}");
        assert_eq!(pair.docs[1].rope(), Some(&shown[1]), "seed {seed}");
        let snapshot = pair.docs[1].snapshot().expect("whole");
        let fresh = YrsText::with_client(3, Some(&snapshot)).expect("opens").text();
        assert_eq!(fresh, pair.docs[1].text(), "seed {seed}");
    }
}

fn follow(pair: &mut Pair<YrsText>, shown: &mut [segue_crdt::Rope; 2]) {
    for (doc, shown) in pair.docs.iter_mut().zip(shown) {
        for patch in doc.patches() {
            shown.remove(patch.at..patch.at + patch.deleted);
            shown.insert(patch.at, &patch.inserted);
        }
    }
}

#[test]
fn a_long_edit_becomes_several_ops() {
    let mut pair = Pair::new([open(1), open(2)]);
    let page: String = (0..60_000).map(|i| ['a', 'é', '😀', '\n'][i % 4]).collect();
    pair.docs[0].insert(0, "<>").expect("inside");
    pair.flush(0);
    pair.docs[0].insert(1, &page).expect("inside");
    pair.flush(0);
    assert!(pair.ops > page.len() / MAX_UPDATE, "{} ops", pair.ops);
    pair.meet();
    assert_eq!(pair.docs[1].text().expect("whole"), format!("<{page}>"));

    // Many fragments, deleted at once, and brought back at once.
    pair.docs[1].remember().expect("remembers");
    for at in 0..5_000 {
        pair.docs[0].insert(at * 11, "-").expect("inside");
    }
    pair.flush(0);
    pair.meet();
    let whole = pair.docs[0].text().expect("whole");
    let len = whole.chars().count();
    pair.docs[1].delete(0, len).expect("inside");
    pair.flush(1);
    pair.meet();
    assert_eq!(pair.docs[0].text().as_deref(), Ok(""));
    assert_eq!(pair.docs[1].undo(), Ok(true));
    pair.flush(1);
    pair.meet();
    assert_eq!(pair.docs[0].text(), Ok(whole.clone()));
    assert_eq!(pair.docs[1].text(), Ok(whole));
}

#[test]
fn undo_takes_back_own_edits_only() {
    let mut pair = Pair::new([open(1), open(2)]);
    pair.docs[0].remember().expect("remembers");
    pair.docs[0].insert(0, "one").expect("inside");
    pair.docs[0].part_groups().expect("lives");
    pair.docs[0].insert(3, " two").expect("inside");
    pair.flush(0);
    pair.meet();
    pair.docs[1].insert(3, " and").expect("inside");
    pair.flush(1);
    pair.meet();
    assert_eq!(pair.docs[0].undo(), Ok(true));
    assert_eq!(pair.docs[0].text().as_deref(), Ok("one and"));
    assert_eq!(pair.docs[0].patches().last(), Some(&Patch { at: 7, deleted: 4, inserted: String::new() }));
    assert_eq!(pair.docs[0].redo(), Ok(true));
    assert_eq!(pair.docs[0].undo(), Ok(true));
    assert_eq!(pair.docs[0].undo(), Ok(true));
    assert_eq!(pair.docs[0].undo(), Ok(false));
    pair.flush(0);
    pair.meet();
    assert_eq!(pair.docs[0].text().as_deref(), Ok(" and"));
    assert_eq!(pair.docs[1].text().as_deref(), Ok(" and"));
}

#[test]
fn a_snapshot_opens_to_the_same_text_and_goes_on() {
    let mut pair = Pair::new([open(1), open(2)]);
    pair.docs[0].insert(0, "shared").expect("inside");
    pair.flush(0);
    pair.meet();
    pair.docs[0].delete(0, 2).expect("inside");
    let snapshot = pair.docs[0].snapshot().expect("whole");
    // The same client id as one that wrote already: it takes another.
    let mut late = YrsText::with_client(1, Some(&snapshot)).expect("opens");
    assert_eq!(late.text().as_deref(), Ok("ared"));
    late.insert(4, "!").expect("inside");
    pair.flush(0);
    pair.meet();
    pair.docs[1].apply(&late.flush().expect("an op")).expect("an honest op");
    assert_eq!(pair.docs[1].text().as_deref(), Ok("ared!"));
}

#[test]
fn a_client_id_that_another_device_has_is_given_up_or_breaks() {
    let mut other = open(5);
    other.insert(0, "theirs").expect("inside");
    let op = other.flush().expect("an op");
    let mut unwritten = open(5);
    unwritten.apply(&op).expect("it takes another id");
    unwritten.insert(6, "!").expect("inside");
    other.apply(&unwritten.flush().expect("an op")).expect("an honest op");
    assert_eq!(other.text().as_deref(), Ok("theirs!"));

    let mut written = open(5);
    written.insert(0, "mine").expect("inside");
    let own = written.flush().expect("an op");
    assert!(matches!(written.apply(&op), Err(DocumentError::Broken(_))));
    assert_eq!(written.text().as_deref(), Ok("mine"), "what was shown can still be read");
    let mut again = YrsText::open(None).expect("opens");
    again.apply(&own).expect("an honest op");
    assert_eq!(again.text().as_deref(), Ok("mine"));
}

#[test]
fn ops_in_any_causal_order_lead_to_one_text() {
    let mut writers: Vec<YrsText> = (1..=4).map(open).collect();
    let mut ops = Vec::new();
    for (index, writer) in writers.iter_mut().enumerate() {
        for word in ["x", "y", "z"] {
            writer.insert(0, &format!("{word}{index}")).expect("inside");
            ops.push((index, writer.flush().expect("an op")));
        }
    }
    let mut texts = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut seeded = Seeded(seed);
        let mut strands: Vec<Vec<&Vec<u8>>> =
            (0..4).map(|writer| ops.iter().filter(|op| op.0 == writer).map(|op| &op.1).rev().collect()).collect();
        let mut doc = open(99);
        while strands.iter().any(|strand| !strand.is_empty()) {
            if let Some(op) = strands[seeded.below(4)].pop() {
                doc.apply(op).expect("an honest op");
            }
        }
        texts.insert(doc.text().expect("whole"));
    }
    assert_eq!(texts.len(), 1);
}
