//! The head: what is higher, what an old primary does, what is answered.

use segue_proto::wire::{Exts, Hash, Have, Message, Record, Signed};
use segue_proto::{Code, Event, SessionRole};
use segue_testkit::device::Command;

use crate::cases::scene::{Owning, alone, ask, create, linked, owning, session_of, take_head, wanting};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, head};

const E: Part = Part::End;
const S: Part = Part::Source;

pub(super) const CASES: &[Case] = &[
    works("handoff/head/takeover-fences-the-primary", &["HO-HEAD-1", "HO-WRITE-2"], S, fenced),
    works("handoff/head/takeover-fences-a-grant", &["HO-WRITE-2", "HO-GRANT-8"], S, |lab| {
        let own = owning(lab)?;
        own.granted(lab)?;
        overtake(lab, &own);
        let copies = lab.event("the event fenced", |event| match event {
            Event::Fenced { copies, .. } => Some(*copies),
            _ => None,
        })?;
        ensure(copies > 0, "a labelled copy of what was written before the GRANT", copies)
    }),
    works("handoff/head/fenced-primary-writes-nothing", &["HO-WRITE-1", "HO-HEAD-1"], S, |lab| {
        let own = owning(lab)?;
        overtake(lab, &own);
        lab.must_not(Command::WriteExclusive { session: own.session, bytes: b"late".to_vec() })
    }),
    works("handoff/head/told-on-meeting", &["HO-HEAD-7"], S, |lab| {
        let own = owning(lab)?;
        lab.link_down(own.link);
        let link = lab.connect(&own.peer)?;
        let have = lab.take(link, "a HAVE of the head", |message| match message {
            Message::Have(have) if have.session == own.session && have.req == 0 => Some(have.clone()),
            _ => None,
        })?;
        ensure(have.head == own.book.head() && have.data.get().is_none(), "the head alone", format!("{have:?}"))
    }),
    works("handoff/head/told-of-a-new-session", &["HO-HEAD-8"], S, |lab| {
        let (peer, link) = linked(lab)?;
        let session = create(lab, &peer)?;
        let have = lab.take(link, "a HAVE of the new session", |message| match message {
            Message::Have(have) if have.session == session && have.req == 0 => Some(have.clone()),
            _ => None,
        })?;
        let head = lab.known(session)?.head;
        ensure(have.head == head && have.data.get().is_none(), "the head alone", format!("{have:?}"))
    }),
    works("handoff/head/asks-for-one-that-it-does-not-know", &["HO-HEAD-7"], S, |lab| {
        let own = owning(lab)?;
        let have = Have { head: Hash::new([9; 32]), ..own.book.have(None) };
        lab.skip(own.link);
        lab.send(own.link, have);
        lab.take(own.link, "a HAVE that asks", |message| match message {
            Message::Have(have) if have.session == own.session && have.req != 0 => Some(()),
            _ => None,
        })
    }),
    works("handoff/head/survives-a-restart", &["HO-HEAD-1"], S, |lab| {
        let own = owning(lab)?;
        let taken = overtake(lab, &own);
        lab.reboot()?;
        let state = lab.known(own.session)?;
        ensure(
            state.head == taken.id() && state.role == SessionRole::Secondary,
            "the head as it was",
            format!("{state:?}"),
        )
    }),
    works("handoff/head/smaller-takeover-changes-nothing", &["HO-HEAD-1", "HO-HEAD-2"], E, |lab| rivals(lab, true)),
    works("handoff/head/greater-takeover-leads", &["HO-HEAD-1"], E, |lab| rivals(lab, false)),
    works("handoff/head/lower-is-answered", &["HO-HEAD-2"], S, |lab| {
        let own = owning(lab)?;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        let taken = overtake(lab, &own);
        let other = lab.connect(&own.peer)?;
        lab.skip(other);
        lab.send(other, own.book.whole());
        leads_to(lab, other, &own, &taken)
    }),
    works("handoff/head/equivocation-is-reported-once", &["HO-EQUIV-1", "HO-HEAD-1"], E, |lab| {
        let own = owning(lab)?;
        let records = two_takeovers(&own);
        for record in [&records[0], &records[1], &records[1]] {
            lab.send(own.link, head(own.session, vec![record.clone()], None));
        }
        let mut ids = [records[0].id(), records[1].id()];
        ids.sort_unstable();
        lab.event("the event equivocation", |event| match event {
            Event::Equivocation { key, records, .. } => {
                let mut named = *records;
                named.sort_unstable();
                (*key == own.peer.id && named == ids).then_some(())
            }
            _ => None,
        })?;
        lab.no_event("second event equivocation", |event| matches!(event, Event::Equivocation { .. }))
    }),
    works("handoff/head/have-is-answered", &["HO-HAVE-1"], S, |lab| {
        let own = owning(lab)?;
        lab.send(own.link, have(&own, own.book.head(), 903));
        let answer = lab.take(own.link, "a HAVE that answers", |message| match message {
            Message::Have(have) => Some(have.clone()),
            _ => None,
        })?;
        ensure(answer.head == own.book.head() && answer.req == 0, "the head, with req 0", format!("{answer:?}"))?;
        ensure(answer.data.get().is_some(), "the primary's manifest", "none")?;
        lab.none(own.link, "HEAD for a peer that has it", |message| matches!(message, Message::Head(_)))
    }),
    works("handoff/head/have-of-a-secondary", &["HO-HAVE-1"], S, |lab| {
        let own = owning(lab)?;
        let taken = overtake(lab, &own);
        lab.skip(own.link);
        let (book, data) = ask(lab, own.link, own.session)?;
        ensure(book.head() == taken.id() && book.chain.len() == 2, "the whole chain", book.chain.len())?;
        ensure(data.is_none(), "no manifest of a device that isn't primary", format!("{data:?}"))
    }),
    refused("handoff/head/have-by-a-stranger", &["HO-MEMBER-1"], S, owner_answers, |lab| {
        lab.setup.accept_unknown = true;
        let own = owning(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = lab.connect(&stranger)?;
        lab.send(link, have(&own, Hash::ZERO, 904));
        lab.refuses(link, 904, Code::HO_UNKNOWN_SESSION)?;
        lab.none(link, "word of the session", |message| !matches!(message, Message::Ping(_)))
    }),
    refused("handoff/head/have-of-an-unknown-session", &["HO-HAVE-1", "HO-MEMBER-1"], E, owner_answers, |lab| {
        let (peer, link) = linked(lab)?;
        let book = session_of(lab, &peer);
        let ask = Have { req: 905, session: book.id, head: Hash::ZERO, data: None.into(), ext: Exts::empty() };
        lab.send(link, ask);
        lab.refuses(link, 905, Code::HO_UNKNOWN_SESSION)
    }),
    works("handoff/head/takeover-by-the-subject", &["HO-CHAIN-4", "HO-CHAIN-5", "HO-TAKE-1", "HO-HEAD-6"], E, |lab| {
        let (record, own_head) = takes_over(lab, true)?;
        ensure(
            record.n == own_head.n + 1 && record.term == own_head.term + 1,
            "n and term one more",
            format!("{record:?}"),
        )?;
        let me = lab.id();
        ensure(
            record.owner == me && record.grantor == me && record.signer == me,
            "a takeover for itself",
            format!("{record:?}"),
        )?;
        ensure(!record.want.is_zero() && record.kind == 3, "a takeover with an actor", format!("{record:?}"))
    })
    .needs(&["takeover"]),
    works("handoff/head/takeover-waits-for-the-sync", &["HO-HEAD-4", "HO-TAKE-1"], E, |lab| {
        takes_over(lab, false).map(|_| ())
    })
    .needs(&["takeover"]),
    refused(
        "handoff/head/takeover-of-an-unknown-session",
        &["HO-TAKE-1"],
        E,
        |lab| takes_over(lab, true).map(|_| ()),
        |lab| {
            let (peer, _) = linked(lab)?;
            let book = session_of(lab, &peer);
            lab.must_not(Command::Takeover { session: book.id })
        },
    )
    .needs(&["takeover"]),
    refused(
        "handoff/head/takeover-by-the-primary",
        &["HO-TAKE-1"],
        E,
        |lab| takes_over(lab, true).map(|_| ()),
        |lab| {
            let peer = alone(lab)?;
            let session = create(lab, &peer)?;
            lab.must_not(Command::Takeover { session })
        },
    )
    .needs(&["takeover"]),
    works("handoff/head/closed-by-the-subject", &["HO-CLOSE-1", "HO-HEAD-6", "HO-CHAIN-8"], S, |lab| {
        let own = owning(lab)?;
        lab.must(Command::Close { session: own.session })?;
        let told = take_head(lab, own.link, own.session)?;
        let record = last(&told.records)?;
        let empty = record.owner.is_zero() && record.grantor.is_zero() && record.want.is_zero();
        ensure(record.kind == 4 && empty, "a close without owner", format!("{record:?}"))?;
        lab.is(own.session, SessionRole::Closed)?;
        lab.must_not(Command::WriteExclusive { session: own.session, bytes: b"late".to_vec() })
    })
    .needs(&["close"]),
    refused("handoff/head/want-after-a-close", &["HO-CLOSE-1", "HO-WANT-6"], S, super::want::granted, |lab| {
        let own = owning(lab)?;
        lab.must(Command::Close { session: own.session })?;
        let want = own.want(lab);
        own.send_want(lab, 42, &want);
        lab.refuses(own.link, 42, Code::HO_NOT_OWNER)
    })
    .needs(&["close"]),
];

pub(super) fn have(own: &Owning, known: Hash, req: u32) -> Have {
    Have { req, session: own.session, head: known, data: None.into(), ext: Exts::empty() }
}

fn owner_answers(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    lab.send(own.link, have(&own, Hash::ZERO, 904));
    take_head(lab, own.link, own.session).map(|_| ())
}

/// The peer, a member, takes the subject's session over.
pub(super) fn overtake(lab: &mut Lab, own: &Owning) -> Signed<Record> {
    let taken = own.peer.sign(&own.book.takeover(&own.peer));
    lab.send(own.link, head(own.session, vec![taken.clone()], None));
    taken
}

fn fenced(lab: &mut Lab) -> Done {
    let own = owning(lab)?;
    let taken = overtake(lab, &own);
    lab.is(own.session, SessionRole::Secondary)?;
    let (told, copies) = lab.event("the event fenced", |event| match event {
        Event::Fenced { head, copies, .. } => Some((*head, *copies)),
        _ => None,
    })?;
    ensure(told == taken.id(), "the takeover as the head", format!("{told:?}"))?;
    ensure(copies > 0, "a labelled copy of what was written", copies)?;
    let state = lab.known(own.session)?;
    ensure(state.copies == copies && state.owner == Some(own.peer.id), "the copy kept", format!("{state:?}"))
}

/// Two takeovers by the peer under the genesis; the first has the smaller id.
fn two_takeovers(own: &Owning) -> [Signed<Record>; 2] {
    let make = |want: u8| own.peer.sign(&Record { want: Hash::new([want; 32]), ..own.book.takeover(&own.peer) });
    let mut records = [make(1), make(2)];
    records.sort_by_key(Signed::id);
    records
}

/// Of two takeovers in one term the one with the greater id leads, whichever comes first.
fn rivals(lab: &mut Lab, greater_first: bool) -> Done {
    let own = owning(lab)?;
    let [small, great] = two_takeovers(&own);
    let order = if greater_first { [&great, &small] } else { [&small, &great] };
    for record in order {
        lab.send(own.link, head(own.session, vec![record.clone()], None));
    }
    let state = lab.known(own.session)?;
    ensure(state.head == great.id(), "the greater takeover as the head", format!("{:?}", state.head))?;
    if greater_first { leads_to(lab, own.link, &own, &great) } else { Ok(()) }
}

/// The subject answers with a HEAD that leads to this record.
fn leads_to(lab: &mut Lab, link: segue_proto::LinkId, own: &Owning, record: &Signed<Record>) -> Done {
    let told = take_head(lab, link, own.session)?;
    let last = told.records.last().map(Signed::id);
    ensure(last == Some(record.id()), "a HEAD that leads to the head", format!("{last:?}"))
}

fn last(records: &[Signed<Record>]) -> Done<Record> {
    let opened = records.last().and_then(|record| record.open(segue_proto::Rules::ALL).ok());
    opened.ok_or_else(|| crate::verdict::Fault::fail("a HEAD with a record", "an empty one"))
}

/// The subject, a member of a peer's session, takes it over by its user's word; the record, and the one before it.
fn takes_over(lab: &mut Lab, at_once: bool) -> Done<(Record, Record)> {
    let scene = wanting(lab)?;
    let book: &Book = &scene.book;
    lab.skip(scene.link);
    lab.syncs = at_once;
    lab.must(Command::Takeover { session: book.id })?;
    if !at_once {
        lab.none(scene.link, "HEAD before the takeover is durable", |message| matches!(message, Message::Head(_)))?;
        lab.sync();
    }
    let told = take_head(lab, scene.link, book.id)?;
    lab.is(book.id, SessionRole::Primary)?;
    let before = book.last().ok_or_else(|| crate::verdict::Fault::fail("a chain", "none"))?;
    Ok((last(&told.records)?, before))
}
