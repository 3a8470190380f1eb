//! Receipts: one that holds, and what is wrong with those that don't.

use segue_proto::handoff::Handed;
use segue_proto::wire::{Ack, List, Receipt, Signed, Statement, Tally};
use segue_proto::{Rules, Violation};

use crate::vectors::cast::{Device, LAPTOP, PHONE, STRANGER, Story, TABLET, story};
use crate::vectors::form::{Book, Vector, bytes};
use crate::vectors::wire::sign;

/// Adds the vectors.
pub(crate) fn add(book: &mut Book) {
    let story = story();
    let what = "The laptop says what went along to the phone, and what was left behind.";
    let vector = sign(book, "handoff", "statement", what, &statement(&story, LAPTOP), LAPTOP);
    book.add(vector.clause("HO-RECEIPT-1"));
    accepted(book, "receipt", "The laptop says that it handed the session to the phone.", &receipt(&story, LAPTOP));
    accepted(book, "receipt-by-target", "The phone says so itself.", &receipt(&story, PHONE));
    refused(book, &story);
}

fn accepted(book: &mut Book, name: &str, what: &str, receipt: &Receipt) {
    let handed: Result<Handed, Violation> = Receipt::verify(Rules::ALL, &receipt.to_bytes());
    let vector = Vector::valid("handoff", "receipt", name, what)
        .clause("HO-RECEIPT-1")
        .clause("HO-RECEIPT-2")
        .input("bytes", bytes(receipt.to_bytes()));
    book.same(&vector, "whether it holds", handed.as_ref().err(), None);
    let Ok(handed) = handed else { return };
    let vector = vector
        .expect("record", bytes(handed.record.as_bytes()))
        .expect("source", bytes(handed.source.as_bytes()))
        .expect("target", bytes(handed.target.as_bytes()))
        .expect("by", bytes(handed.by.as_bytes()));
    book.same(&vector, "the devices", (handed.source, handed.target), (LAPTOP.id(), PHONE.id()));
    book.add(vector);
}

fn refused(book: &mut Book, story: &Story) {
    let good = || receipt(story, LAPTOP);
    let by_stranger = receipt(story, STRANGER);
    let other_ack = Receipt { ack: Some(ack(story, TABLET)).into(), ..good() };
    let unacknowledged = Receipt { ack: None.into(), ..good() };
    let mut headless = good();
    headless.chain = List::new(vec![story.record.clone()]).unwrap_or_default();
    let statement = statement(story, LAPTOP);
    let forged = Receipt { statement: Signed::sign(&statement, &STRANGER.key()), ..good() };
    for (name, what, receipt, clause, code) in [
        (
            "receipt-by-stranger",
            "A device that had no part in it says so.",
            by_stranger,
            "HO-RECEIPT-2",
            "HO_NOT_OWNER",
        ),
        ("receipt-ack-by-another", "Another device acknowledged.", other_ack, "HO-RECEIPT-1", "AUTH_SIGNATURE"),
        ("receipt-no-ack", "Nothing says that the phone has it.", unacknowledged, "HO-RECEIPT-1", "DATA_INCOMPLETE"),
        ("receipt-no-genesis", "The chain doesn't start with its genesis.", headless, "HO-RECEIPT-1", "HO_CHAIN"),
        ("receipt-statement-forged", "The statement bears another signature.", forged, "WIRE-SIGN-1", "AUTH_SIGNATURE"),
    ] {
        let vector =
            Vector::invalid("handoff", "receipt", name, what, (clause, code)).input("bytes", bytes(receipt.to_bytes()));
        let found = Receipt::verify(Rules::ALL, &receipt.to_bytes()).map(|_| "accepted").map_err(|why| why.code.name());
        book.same(&vector, "the verdict", found, Err(code));
        book.add(vector);
    }
}

/// The receipt of the story's handoff, given by this device.
fn receipt(story: &Story, by: Device) -> Receipt {
    Receipt {
        chain: List::new(vec![story.genesis.clone(), story.record.clone()]).unwrap_or_default(),
        want: story.want.clone(),
        end: story.end.clone(),
        ack: Some(ack(story, PHONE)).into(),
        statement: Signed::sign(&statement(story, by), &by.key()),
    }
}

fn statement(story: &Story, by: Device) -> Statement {
    let tally = |kind, parts, bytes| Tally { kind, parts, bytes };
    Statement {
        session: story.session,
        record: story.record.id(),
        by: by.id(),
        moved: List::new(vec![tally(3, 3, 70_015), tally(5, 1, 9)]).unwrap_or_default(),
        left: List::new(vec![tally(1, 1, 12)]).unwrap_or_default(),
    }
}

fn ack(story: &Story, by: Device) -> Ack {
    let record = story.record.id();
    let message = segue_proto::handoff::ack_message(&record);
    let sig = segue_proto::wire::sign_message(&message, &by.key());
    Ack { record, sig }
}
