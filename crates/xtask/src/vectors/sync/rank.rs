//! Two copies of an exclusive part, and which of them stays.

use segue_proto::Rules;
use segue_proto::data::{NewOp, Part, PartKind, State};
use segue_proto::handoff::Chain;
use segue_proto::sync::outranks;
use segue_proto::wire::codec::encode;
use segue_proto::wire::{Hash, Record, Signed};

use super::op;
use crate::json::Json;
use crate::vectors::cast::{Device, LAPTOP, PHONE, Story, VIEW, story};
use crate::vectors::form::{Book, Vector, bytes, text};
use crate::vectors::wire::signed;

/// Which copy a device has afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stays {
    Held,
    Came,
    /// No copy was held, and the one that came isn't taken in.
    Neither,
}

struct Case<'a> {
    name: &'a str,
    what: &'a str,
    records: &'a [&'a Signed<Record>],
    held: Option<&'a State>,
    came: &'a State,
    stays: Stays,
}

/// Adds the vectors.
pub(super) fn add(book: &mut Book) {
    let story = story();
    let genesis = &story.genesis;
    let delegate = Signed::sign(&story.delegate_body(), &PHONE.key());
    let takeover = Signed::sign(&story.takeover_body(LAPTOP, genesis, 1), &LAPTOP.key());
    let alone: &[&Signed<Record>] = &[genesis];
    let granted: &[&Signed<Record>] = &[genesis, &story.record];
    // The laptop took over, so the phone's records lead nowhere, the delegate with the highest n of all among them.
    let taken: &[&Signed<Record>] = &[genesis, &story.record, &delegate, &takeover];

    let none = State::new(story.session, "");
    let first = wrote(&none, LAPTOP, genesis.id(), &["first"]);
    let later = wrote(&first, LAPTOP, genesis.id(), &["second", "third"]);
    let by_phone = wrote(&first, PHONE, story.record.id(), &["the phone's"]);
    let under_delegate = wrote(&by_phone, PHONE, delegate.id(), &["under the delegate", "and again"]);
    let by_taker = wrote(&first, LAPTOP, takeover.id(), &["the taker's"]);
    let stray = wrote(&first, LAPTOP, Hash::new([0x77; 32]), &["under a record that nobody knows"]);

    let case = |name, what, records, held, came, stays| Case { name, what, records, held, came, stays };
    let cases = [
        case("rank-none-held", "A part of which no copy is held.", alone, None, &first, Stays::Came),
        case("rank-seq", "Under one record the higher seq.", alone, Some(&first), &later, Stays::Came),
        case("rank-seq-lower", "The same the other way round.", alone, Some(&later), &first, Stays::Held),
        case("rank-same", "A copy that comes again changes nothing.", alone, Some(&later), &later, Stays::Held),
        case(
            "rank-record",
            "The one under the higher record, though the other's seq is higher. It is kept whole: of the writer's strand that the other knows further nothing is added.",
            granted,
            Some(&later),
            &by_phone,
            Stays::Came,
        ),
        case("rank-record-lower", "The same the other way round.", granted, Some(&by_phone), &later, Stays::Held),
        case(
            "rank-takeover",
            "A record that the head doesn't follow counts for nothing, whatever its n.",
            taken,
            Some(&under_delegate),
            &by_taker,
            Stays::Came,
        ),
        case(
            "rank-takeover-late",
            "The same the other way round.",
            taken,
            Some(&by_taker),
            &under_delegate,
            Stays::Held,
        ),
        case(
            "rank-outside-against-genesis",
            "Against a copy of the lowest record of the chain, too.",
            taken,
            Some(&first),
            &under_delegate,
            Stays::Held,
        ),
        case(
            "rank-outside-held",
            "A copy that is held, and whose record the head doesn't follow, loses.",
            taken,
            Some(&under_delegate),
            &first,
            Stays::Came,
        ),
        case(
            "rank-outside-none-held",
            "Where no copy is held, one whose record the head doesn't follow isn't taken in either.",
            taken,
            None,
            &under_delegate,
            Stays::Neither,
        ),
        case("rank-unknown", "A record that isn't known.", granted, Some(&first), &stray, Stays::Held),
        case("rank-unknown-none-held", "The same where no copy is held.", granted, None, &stray, Stays::Neither),
        case(
            "rank-outside-both",
            "Neither record is one that the head follows: what is held stays.",
            taken,
            Some(&by_phone),
            &under_delegate,
            Stays::Held,
        ),
    ];
    cases.iter().for_each(|case| one(book, &story, case));
}

fn one(book: &mut Book, story: &Story, case: &Case<'_>) {
    let chain = chain(case.records);
    let (held, came) = (case.held.map(copy), copy(case.came));
    let kept = match case.stays {
        Stays::Held => held,
        Stays::Came => Some(came),
        Stays::Neither => None,
    };
    let line = chain.line().iter().map(|record| bytes(record.id().as_bytes()));
    let n = |part: &Part| {
        let record = part.shown().map(|value| value.op.record);
        let on_line = chain.line().iter().find(|known| Some(known.id()) == record);
        Json::list(on_line.map(|record| Json::from(record.body().n)))
    };
    let mut vector = Vector::valid("sync", "rank", case.name, case.what)
        .clause("SYNC-RANK-1")
        .input("session", bytes(story.session.as_bytes()))
        .input("records", Json::list(case.records.iter().map(|record| signed(record))))
        .input("held", Json::list(held.map(|part| bytes(encode(part)))))
        .input("came", bytes(encode(came)))
        .step("line", Json::list(line));
    if let Some(held) = held {
        vector = vector.step("n_held", n(held));
    }
    let shown = kept.and_then(Part::body).map(|body| text(&String::from_utf8_lossy(body)));
    let vector = vector
        .step("n_came", n(came))
        .expect("kept", Json::list(kept.map(|part| bytes(encode(part)))))
        .expect("part_root", Json::list(kept.map(|part| bytes(part.root().as_bytes()))))
        .expect("value", Json::list(shown));
    let mut state = case.held.cloned().unwrap_or_else(|| State::new(story.session, ""));
    if outranks(Rules::ALL, &chain, came, held) {
        state.merge(Rules::ALL, came).expect("copies of one part");
    }
    book.same(&vector, "the copy that stays", state.part(&VIEW), kept);
    book.add(vector);
}

fn chain(records: &[&Signed<Record>]) -> Chain {
    let prove = |record: &Signed<Record>| record.clone().prove(Rules::ALL, |body| body.signer).expect("signed");
    let (first, rest) = records.split_first().expect("a chain has records");
    let mut chain = Chain::start(Rules::ALL, prove(first)).expect("it starts with a genesis");
    for record in rest {
        chain.admit(Rules::ALL, prove(record)).expect("the story's records follow");
    }
    chain
}

/// The state after `who` wrote these values of the view one after another, under a record.
fn wrote(before: &State, who: Device, record: Hash, bodies: &[&str]) -> State {
    let mut state = before.clone();
    for (ms, body) in (0..).zip(bodies) {
        let new = NewOp { record, ..op(who, VIEW, PartKind::Exclusive, ms, body.as_bytes()) };
        state.write(Rules::ALL, new).expect("the story's writes are good");
    }
    state
}

fn copy(state: &State) -> &Part {
    state.part(&VIEW).expect("the view was written")
}
