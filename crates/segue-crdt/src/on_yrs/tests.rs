//! What only the inside can show.

use super::core::Core;
use super::split::split;
use super::wire::{self, Kind, Source};
use crate::document::{Document, DocumentError};
use crate::limits::MAX_WAITING;
use crate::on_yrs::YrsText;
use yrs::{
    ClientID, Doc, GetString, OffsetKind, Options, ReadTxn, Text, TextRef, Transact, Update, updates::decoder::Decode,
};

#[test]
fn a_panic_in_the_library_costs_the_document_only() {
    let mut core = Core::<TextRef>::open(Kind::Text, 1, None).expect("opens");
    core.edit(|root, txn| root.insert(txn, 0, "kept")).expect("lives");
    // Beyond the end the library panics, in the middle of a transaction.
    let done = core.edit(|root, txn| {
        root.insert(txn, 4, " half");
        root.remove_range(txn, 5_000, 1);
    });
    let Err(DocumentError::Broken(why)) = done else { panic!("{done:?}") };
    assert!(why.starts_with("the library panicked at ") && why.contains("text.rs"), "{why}");
    assert_eq!(core.broken(), Some(why.as_str()));

    // What was flushed before is still good; nothing more is taken, and what comes is counted.
    let op = core.next_op().expect("an op");
    assert!(core.next_op().is_none());
    assert_eq!(core.apply(&op).err(), Some(DocumentError::Broken(why.clone())));
    assert_eq!((core.tally().applied, core.tally().broke, core.tally().unread), (0, Some(0), 1));
    assert_eq!(core.snapshot(), Err(DocumentError::Broken(why)));
    let mut again = YrsText::with_client(2, None).expect("opens");
    again.apply(&op).expect("an honest op");
    assert_eq!(again.text().as_deref(), Ok("kept"));
}

#[test]
fn a_panic_while_others_watch_costs_the_document_only() {
    let mut core = Core::<TextRef>::open(Kind::Text, 1, None).expect("opens");
    core.watch().expect("watched");
    let done = core.call(|live| -> Result<(), String> {
        live.doc.transact_mut();
        panic!("seeded")
    });
    assert!(matches!(done, Err(DocumentError::Broken(why)) if why.ends_with("seeded")));
    assert!(core.changes().is_empty() && core.remember().is_err() && core.step_back(false).is_err());
}

#[test]
fn ops_that_never_find_their_past_are_bounded() {
    let mut writer = YrsText::with_client(9, None).expect("opens");
    writer.insert(0, "first").expect("inside");
    writer.flush().expect("an op that is lost");
    let mut text = YrsText::with_client(1, None).expect("opens");
    let mut broke = false;
    for _ in 0..MAX_WAITING / 10_000 {
        writer.insert(5, &"x".repeat(12_000)).expect("inside");
        broke |= text.apply(&writer.flush().expect("an op")).is_err();
    }
    assert!(broke && text.broken().is_some_and(|why| why.contains("without them")));
}

#[test]
fn pieces_amount_to_the_whole() {
    let mut options = Options::with_client_id(ClientID::new(5));
    options.offset_kind = OffsetKind::Utf16;
    let doc = Doc::with_options(options);
    let text = doc.get_or_insert_text("text");
    text.insert(&mut doc.transact_mut(), 0, "some text of before, in one block");
    let before = doc.transact_mut().encode_diff_v1(&Default::default());
    let mut txn = doc.transact_mut();
    for at in 0..30 {
        text.insert(&mut txn, at * 5 % 31, "é日 and more of it");
        text.remove_range(&mut txn, at, 1);
    }
    txn.commit();
    let update = txn.encode_update_v1();
    drop(txn);
    let whole = text.get_string(&doc.transact());
    for most in [140, 200, 300] {
        let pieces = split(Kind::Text, update.clone(), most).expect("an honest update");
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() <= most), "{most}");
        let other = Doc::with_client_id(6);
        let copy = other.get_or_insert_text("text");
        for piece in std::iter::once(&before).chain(&pieces) {
            wire::look(Kind::Text, Source::Op, piece).expect("a piece is an op");
            other.transact_mut().apply_update(Update::decode_v1(piece).expect("decodes")).expect("applies");
        }
        assert_eq!(copy.get_string(&other.transact()), whole, "{most}");
    }
}

/// A word typed key by key: its ops are those that the library itself would make, byte for byte.
#[test]
fn what_is_typed_on_makes_the_ops_that_the_library_would_make() {
    let (mut typed_on, mut all) = (0, 0);
    for seed in 1..=40 {
        let mut random = seed;
        let mut below = |bound: u64| {
            random = (random ^ (random << 13) ^ (random >> 7) ^ (random << 17)) % (1 << 61);
            random % bound
        };
        let mut options = Options::with_client_id(ClientID::new(7));
        options.offset_kind = OffsetKind::Utf16;
        let doc = Doc::with_options(options);
        let root = doc.get_or_insert_text("text");
        let mut text = YrsText::with_client(7, None).expect("opens");
        if seed % 2 == 0 {
            text.watch().expect("watched");
        }
        let long = "much at once ".repeat(8);
        let mut other = YrsText::with_client(9, None).expect("opens");
        let (mut at, mut len) = (0, 0);
        for _ in 0..200 {
            if below(8) == 0 {
                // Another device writes, whose edits move the places.
                let there = below(u64::from(len) + 1) as usize;
                let deletes = len > 2 && below(3) == 0;
                match deletes {
                    true => other.delete(there.min(len as usize - 1), 1).expect("inside"),
                    false => other.insert(there, "ü").expect("inside"),
                }
                let op = other.flush().expect("an op");
                text.apply(&op).expect("an honest op");
                let update = Update::decode_v1(&op).expect("an update");
                doc.transact_mut().apply_update(update).expect("fits");
                len = root.len(&doc.transact());
            }
            let (deleted, inserted) = match below(10) {
                0 => ((len - at.min(len)).min(2), ""),
                1 => (0, "xyz"),
                2 => (0, &*long),
                _ => (0, ["a", "é", "bc"][below(3) as usize]),
            };
            if below(6) == 0 {
                at = below(u64::from(len) + 1) as u32;
            }
            at = at.min(len - deleted);
            let mut txn = doc.transact_mut();
            if deleted > 0 {
                root.remove_range(&mut txn, at, deleted);
            }
            if !inserted.is_empty() {
                root.insert(&mut txn, at, inserted);
            }
            txn.commit();
            let expected = txn.encode_update_v1();
            drop(txn);
            text.delete(at as usize, deleted as usize).expect("inside");
            text.insert(at as usize, inserted).expect("inside");
            let before = text.typed.len();
            let op = text.flush();
            assert!(text.flush().is_none());
            all += usize::from(op.is_some());
            typed_on += usize::from(text.typed.len() > before);
            assert_eq!(op.clone().unwrap_or(vec![0, 0]), expected, "seed {seed}");
            if let Some(op) = op {
                other.apply(&op).expect("an honest op");
            }
            at += inserted.encode_utf16().count() as u32;
            len = root.len(&doc.transact());
            if below(20) == 0 {
                assert_eq!(text.text().expect("whole"), root.get_string(&doc.transact()), "seed {seed}");
            }
        }
        assert_eq!(text.text().expect("whole"), root.get_string(&doc.transact()), "seed {seed}");
        assert_eq!(other.text(), text.text(), "seed {seed}");
        assert_eq!(text.snapshot().expect("whole"), doc.transact().encode_state_as_update_v1(&Default::default()));
    }
    assert!(typed_on * 2 > all, "{typed_on} of {all}");
}

/// An op that the library counts otherwise breaks the document, and doesn't go unnoticed.
#[test]
fn what_the_library_counts_otherwise_breaks_the_document() {
    let mut core = Core::<TextRef>::open(Kind::Text, 1, None).expect("opens");
    core.edit(|root, txn| root.insert(txn, 0, "a")).expect("lives");
    core.make_good(3, |root, txn| root.insert(txn, 1, "bc")).expect("two more");
    let done = core.make_good(5, |root, txn| root.insert(txn, 1, "d"));
    assert!(matches!(done, Err(DocumentError::Broken(why)) if why.contains("otherwise")));
}
