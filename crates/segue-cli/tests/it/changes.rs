//! Taking over, closing, and what waits for an acknowledgement.

use std::fs;

use segue_proto::limits::MAX_OFFERS;

use crate::util::*;

fn moved(lab: &Lab) -> (String, String) {
    let b = lab.id("b");
    lab.tree("notes", 4, 4_000);
    let receiver = lab.receive("b", "--into out --yes --once");
    lab.run(&format!("send --state a notes --to {} --device {b} --view one", receiver.addr)).exits(0);
    receiver.end().exits(0);
    (b, lab.session("a")["session"].as_str().unwrap().to_owned())
}

#[test]
fn a_takeover_opens_a_term_and_fences_the_old_owner_once_they_meet() {
    let lab = Lab::new();
    let (b, session) = moved(&lab);
    lab.run(&format!("takeover --state a {session}")).exits(0).says("since epoch 1.2");
    lab.run(&format!("takeover --state a {session}")).exits(1).says("already");
    fs::write(lab.path("notes/after"), "the takeover").unwrap();
    let mut receiver = lab.receive("b", "--into out --yes");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(0);
    receiver.until("received session");
    receiver.interrupt();
    receiver.end().exits(0).says("labelled copies");
    assert_eq!(lab.primaries(&["a", "b"]), 1);
    assert_eq!(lab.session("b")["since"], "1.3");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

#[test]
fn only_the_owner_closes_and_a_closed_session_stays_closed() {
    let lab = Lab::new();
    let (b, session) = moved(&lab);
    lab.run(&format!("close --state a {session}")).exits(1).says(&b);
    lab.run(&format!("close --state b {session}")).exits(0).says("is closed");
    lab.run(&format!("close --state b {session}")).exits(1).says("for good");
    lab.run(&format!("takeover --state b {session}")).exits(1).says("for good");
    let closed = lab.session("b");
    assert_eq!((&closed["closed"], &closed["owner"]), (&true.into(), &serde_json::Value::Null));
    lab.run("owner --state b").exits(0).says("nobody: closed");
}

#[test]
fn a_running_receiver_takes_over_and_closes_when_another_process_asks() {
    let lab = Lab::new();
    let (_, session) = moved(&lab);
    let receiver = lab.receive("a", "--into out --yes");
    lab.run(&format!("takeover --state a {session}")).exits(0).says("since epoch 1.2");
    lab.run(&format!("close --state a {session}")).exits(0);
    lab.run("owner --state a").exits(0).says("nobody: closed");
    receiver.interrupt();
    receiver.end().exits(0);
}

/// The owner collects what its user changed as it is asked: that comes by sync, beside the handoff.
#[test]
fn a_pull_brings_what_the_owner_changed_until_it_was_asked() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 4, 4_000);
    let mut receiver = lab.receive("b", "--into out --yes");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(0);
    receiver.until("received session");
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    fs::write(lab.path("out/notes/film"), noise(20_000_000, 7)).unwrap();
    lab.run(&format!("pull --state a {session} --from {} --device {b}", receiver.addr)).exits(0);
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    receiver.interrupt();
    receiver.end().exits(0);
}

#[test]
fn nobody_answers_in_time() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 10);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1).says("HO_TIMEOUT");
    assert_eq!(lab.session("a")["role"], "primary");
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    lab.run(&format!("pull --state c {session} --from 127.0.0.1:9 --device {b} --timeout 1"))
        .exits(1)
        .says("HO_TIMEOUT");
}

#[test]
fn a_device_that_takes_no_more_offers_is_named_with_its_code_and_when_to_try_again() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 10);
    // Nobody is there to answer, so each offer is rejected.
    let receiver = lab.receive("b", "--into out");
    let send = format!("send --state a notes --to {} --device {b} --timeout 2", receiver.addr);
    for _ in 0..MAX_OFFERS {
        lab.run(&send).exits(1).says("HO_DECLINED");
    }
    let done = lab.run(&send).exits(1).says("(LIMIT_OFFERS)").says("this device still owns it");
    // As the device says, whose minute has just begun, and not as it would be tried again by itself.
    let secs = done.err.split("try again in ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::parse);
    assert!(matches!(secs, Some(Ok(5..=61))), "{}", done.err);
    assert_eq!(lab.session("a")["role"], "primary");
    receiver.interrupt();
    receiver.end().exits(0);
}
