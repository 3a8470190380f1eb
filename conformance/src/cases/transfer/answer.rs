//! Answers that don't come, or break off.

use segue_proto::limits::{ANSWER_TIMEOUT, CHUNK};
use segue_proto::wire::{Message, Range, SessionId, Signed, Want};
use segue_proto::{Code, Event, Rules};
use segue_testkit::device::Command;

use super::{Asked, Fetching, T, V2, answer, at_content, complete, failed, fetching_of, first, range};
use crate::cases::scene::{TIMEOUT, answer_have, slice, stream, take_request, take_want};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, SOON, ensure};

pub(super) const CASES: &[Case] = &[
    works("transfer/answer/broken-off-before-it-says-what-it-is", &["TRANSFER-ANSWER-1"], T, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        let whole = first(&scene, &asked)?;
        lab.send_broken_bulk(scene.link, whole[..3].to_vec());
        let again = asked_again(lab, &scene, &asked)?;
        answer(lab, &scene, &again)?;
        scene.completes(lab)
    }),
    works("transfer/answer/none", &["TRANSFER-ANSWER-1"], T, |lab| {
        let scene = at_content(lab, 3 * CHUNK + 1)?;
        let asked = take_request(lab, scene.link)?;
        let again = asked_again(lab, &scene, &asked)?;
        answer(lab, &scene, &again)?;
        scene.completes(lab)
    }),
    works("transfer/answer/broken-off-in-the-middle", &["TRANSFER-BYTES-3"], T, |lab| {
        // What it was to answer is known, so nothing has to be waited for.
        let scene = at_content(lab, 4 * CHUNK)?;
        let asked = take_request(lab, scene.link)?;
        let whole = first(&scene, &asked)?;
        lab.send_broken_bulk(scene.link, whole[..whole.len() - CHUNK].to_vec());
        let again = take_request(lab, scene.link)?;
        answer(lab, &scene, &again)?;
        scene.completes(lab)
    }),
    works("transfer/answer/broken-off-of-either-of-two-sessions", &["TRANSFER-BYTES-3"], T, |lab| {
        let one = at_content(lab, 4 * CHUNK)?;
        let of_one = take_request(lab, one.link)?;
        let two = fetching_of(lab, one.peer.clone(), one.link, 4 * CHUNK)?;
        let Ok(manifest) = take_request(lab, two.link) else {
            // It fetches one session of a device at a time.
            answer(lab, &one, &of_one)?;
            return one.completes(lab);
        };
        answer(lab, &two, &manifest)?;
        let list = take_request(lab, two.link)?;
        answer(lab, &two, &list)?;
        let of_two = take_request(lab, two.link)?;
        for (scene, asked) in [(&two, of_two), (&one, of_one)] {
            let whole = first(scene, &asked)?;
            lab.send_broken_bulk(scene.link, whole[..whole.len() - CHUNK].to_vec());
            let again = take_request(lab, scene.link)?;
            ensure(again.blob == asked.blob, "a request for the same blob", format!("{:?}", again.blob))?;
            answer(lab, scene, &again)?;
        }
        let mut wanted = [take_want(lab, one.link)?, take_want(lab, one.link)?].map(|(_, want)| session_of(&want));
        let mut sessions = [one.book.id, two.book.id].map(Some);
        wanted.sort_unstable();
        sessions.sort_unstable();
        ensure(wanted == sessions, "a WANT for each of two sessions", format!("{wanted:?}"))
    }),
    works("transfer/answer/one-range-of-two", &["TRANSFER-ANSWER-1", "TRANSFER-RESUME-1"], T, one_of_two).since(V2),
    works("transfer/answer/under-way-is-waited-for", &["TRANSFER-ANSWER-1"], T, |lab| {
        let scene = at_content(lab, 4 * CHUNK)?;
        let asked = take_request(lab, scene.link)?;
        let whole = first(&scene, &asked)?;
        let (begun, rest) = whole.split_at(whole.len() - 2 * CHUNK);
        let stream = lab.begin_bulk(scene.link, begun.to_vec()).unwrap_or_default();
        lab.pass(2 * ANSWER_TIMEOUT);
        lab.none(scene.link, "request while the answer is under way", |message| {
            matches!(message, Message::Get(_) | Message::Ranges(_))
        })?;
        lab.end_bulk(scene.link, stream, rest.to_vec());
        scene.completes(lab)
    }),
    refused("transfer/answer/too-late", &["TRANSFER-BYTES-1", "TRANSFER-ANSWER-1"], T, complete, |lab| {
        let scene = at_content(lab, 1000)?;
        let asked = take_request(lab, scene.link)?;
        let again = asked_again(lab, &scene, &asked)?;
        answer(lab, &scene, &asked)?;
        lab.none(scene.link, "use of an answer that was given up", |message| matches!(message, Message::Want(_)))?;
        answer(lab, &scene, &again)?;
        scene.completes(lab)
    }),
    refused(
        "transfer/answer/refused-counts-for-none",
        &["TRANSFER-BYTES-2", "TRANSFER-ANSWER-1"],
        T,
        complete,
        |lab| {
            let scene = at_content(lab, 1000)?;
            let asked = take_request(lab, scene.link)?;
            lab.send_bulk(scene.link, stream(asked.req, asked.blob, 0, &[0; 1001]));
            lab.none(scene.link, "request before the answer is given up", |message| {
                matches!(message, Message::Get(_))
            })?;
            let again = asked_again(lab, &scene, &asked)?;
            answer(lab, &scene, &again)?;
            scene.completes(lab)
        },
    ),
    works("transfer/answer/missed-by-an-earlier-wish", &["TRANSFER-ANSWER-1"], T, |lab| {
        let scene = at_content(lab, 1000)?;
        take_request(lab, scene.link)?;
        lab.must(Command::CancelHandoff { session: scene.book.id })?;
        failed(lab, scene.book.id, scene.link, Code::HO_CANCELLED)?;
        lab.skip(scene.link);
        lab.must(Command::Request { session: scene.book.id, from: scene.peer.id, timeout_us: TIMEOUT })?;
        answer_have(lab, scene.link, &scene.book);
        lab.pass(ANSWER_TIMEOUT + SOON);
        scene.completes(lab)?;
        lab.no_event("event handoff-resolved", |event| matches!(event, Event::HandoffResolved { .. }))
    }),
];

fn session_of(want: &Signed<Want>) -> Option<SessionId> {
    want.clone().open(Rules::ALL).ok().map(|want| want.session)
}

/// Nothing is asked again before its time, and then it is, under another number.
fn asked_again(lab: &mut Lab, scene: &Fetching, asked: &Asked) -> Done<Asked> {
    lab.pass(ANSWER_TIMEOUT - 4 * SOON);
    lab.none(scene.link, "request before the answer is given up", |message| {
        matches!(message, Message::Get(_) | Message::Ranges(_))
    })?;
    lab.pass(4 * SOON);
    let again = take_request(lab, scene.link)?;
    ensure(again.blob == asked.blob, "a request for the same blob", format!("{:?}", again.blob))?;
    ensure(again.req != asked.req, "another request number", again.req)?;
    Ok(again)
}

/// Of the two ranges that are missing one comes; the stream of the other breaks off before its BYTES.
fn one_of_two(lab: &mut Lab) -> Done {
    let scene = at_content(lab, 4 * CHUNK)?;
    let asked = take_request(lab, scene.link)?;
    send(lab, &scene, &asked, &range(CHUNK, CHUNK));
    let asked = take_request(lab, scene.link)?;
    let both = [range(0, CHUNK), range(2 * CHUNK, 2 * CHUNK)];
    ensure(asked.ranges == both, "RANGES of what is missing", format!("{:?}", asked.ranges))?;
    send(lab, &scene, &asked, &both[0]);
    let unsaid = slice(&scene.book, &asked, &both[1]).unwrap_or_default();
    lab.send_broken_bulk(scene.link, unsaid[..2].to_vec());
    let again = asked_again(lab, &scene, &asked)?;
    ensure(again.ranges == both[1..], "RANGES of what is still missing", format!("{:?}", again.ranges))?;
    answer(lab, &scene, &again)?;
    scene.completes(lab)
}

fn send(lab: &mut Lab, scene: &Fetching, asked: &Asked, range: &Range) {
    slice(&scene.book, asked, range).into_iter().for_each(|stream| lab.send_bulk(scene.link, stream));
}
