//! Sessions that go from device to device by way of a service alone, with their content, over `kill -9` of all three.
//!
//! By default a small tree and a kill of each process; with `SEGUE_LARGE=full` 200 MB, and ten of each.

use std::time::Duration;

use crate::mailbox::serve;
use crate::util::*;

/// Which process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
    Service,
}

struct Size {
    rounds: u64,
    files: usize,
    bytes: usize,
    /// About as long as a handoff takes.
    millis: u64,
}

fn size() -> Size {
    match std::env::var("SEGUE_LARGE").as_deref() {
        Ok("full") => Size { rounds: 10, files: 1_000, bytes: 200_000_000, millis: 40_000 },
        _ => Size { rounds: 1, files: 12, bytes: 600_000, millis: 700 },
    }
}

#[test]
fn content_goes_by_the_service_and_comes_back_by_a_pull() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 12, 600_000);
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id} --no-direct", service.addr);
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    let send = format!("send --state a notes --device {b} --view here {by}");
    lab.run(&send).exits(0).says("handed over session").says("by way of the service");
    // Both say how much moved, and how fast.
    let received = receiver.end().exits(0).says("received session").says("notes\" comes from device");
    let received = received.says(&format!("\"notes\" from {a} by service {id}: "));
    assert!(received.out.contains("KiB in ") && received.out.contains("KiB/s)"), "{}", received.out);
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert_eq!(lab.session("a")["role"], "secondary");
    assert_eq!(lab.session("b")["role"], "primary");
    assert_eq!(lab.session("b")["grantor"], id.as_str());
    // The one has a receipt, the other one is told who has.
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    let receipt = format!("--receipt proof --session {session}");
    lab.run(&format!("owner --state a {receipt}")).exits(1).says(&format!("service {id} signed")).says(&b);
    lab.run(&format!("owner --state b {receipt}")).exits(0);
    // The new owner changes it, and the old one asks for it by its name.
    std::fs::write(lab.path("out/notes/more"), noise(100_000, 99)).unwrap();
    let giver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    lab.run(&format!("pull --state a notes --device {b} {by}")).exits(0).says("this device owns");
    giver.end().exits(0).says("gave session");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert_eq!(lab.session("a")["role"], "primary");
    assert_eq!(lab.session("b")["role"], "secondary");
}

#[test]
fn content_goes_directly_between_devices_that_are_introduced_and_the_service_stores_none_of_it() {
    let ([before, after], said) = stored_by("");
    let grown = after.saturating_sub(before);
    assert!(said.contains("directly") && grown < LEN / 2, "the service's store grew by {grown} bytes: {said}");
    // A store has room to spare before it grows, so that its size says more than its growth.
    let ([_, after], said) = stored_by(" --no-direct");
    assert!(said.contains("by way of the service") && after > LEN, "the service stores {after} bytes: {said}");
}

/// Neither takes calls, so neither can dial the other.
#[test]
fn content_goes_over_a_link_that_the_service_passes_on_and_it_stores_none_of_it() {
    let ([_, after], said) = stored_without_calls("", "");
    assert!(said.contains("over a link that the service passed on") && after < LEN, "it stores {after} bytes: {said}");
    // Of a service that passes nothing on, and to a device that has no such links, it goes by the mailbox.
    for (at_service, at_device) in [(" --no-relay", ""), ("", " --no-relay")] {
        let ([_, after], said) = stored_without_calls(at_service, at_device);
        assert!(said.contains("by way of the service") && after > LEN, "it stores {after} bytes: {said}");
    }
}

const LEN: usize = 4_000_000;

/// What the store of a service with this option takes before and after a handoff between devices with that one, which take
/// no calls, and what the source says of it.
fn stored_without_calls(at_service: &str, at_device: &str) -> ([usize; 2], String) {
    let lab = Lab::new();
    let (service, id) = serve(&lab, &format!("127.0.0.1:0{at_service}"));
    let by = format!("--mailbox {} --mailbox-device {id}{at_device}", service.addr);
    stored(&lab, &id, &by, |lab, rest| {
        let mut receiver = lab.start(&format!("receive --state b {rest}"));
        receiver.until("device ");
        receiver
    })
}

/// What the store of a service takes before and after a handoff, in bytes, and what the source says of that.
fn stored_by(option: &str) -> ([usize; 2], String) {
    let lab = Lab::new();
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id}{option}", service.addr);
    stored(&lab, &id, &by, |lab, rest| lab.receive("b", rest))
}

fn stored(lab: &Lab, id: &str, by: &str, receive: impl Fn(&Lab, &str) -> Running) -> ([usize; 2], String) {
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 12, LEN);
    let stored = || read_tree(&lab.path("box")).into_values().flatten().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let before = stored();
    let receiver = receive(lab, &format!("--into out --from {a} --yes --once {by}"));
    let sent = lab.run(&format!("send --state a notes --device {b} {by}")).exits(0).says("handed over session");
    receiver.end().exits(0).says("received session");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert_eq!(lab.session("b")["grantor"], id);
    ([before, stored()], sent.out)
}

#[test]
fn a_delegated_session_is_sent_by_its_service_alone() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 3_000);
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id}", service.addr);
    // Nobody takes it: it stays here, and delegated.
    lab.run(&format!("send --state a notes --device {b} --timeout 1 {by}"))
        .exits(1)
        .says("by way of the service")
        .says("segue reclaim");
    assert_eq!(lab.session("a")["role"], "primary");
    assert_eq!(lab.session("a")["grantor"], id.as_str());
    let direct = format!("send --state a notes --device {b} --to 127.0.0.1:9 --timeout 1");
    lab.run(&direct).exits(1).says("segue reclaim").says(&id);
    lab.run(&format!("send --state a notes --device {b}")).exits(2).says("--to");
}

#[test]
fn a_primary_that_is_gone_for_good_is_replaced_and_its_files_are_written() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --lease 1");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let by = format!("--mailbox {addr} --mailbox-device {id} --no-direct");
    // It delegates, offers, and is never seen again.
    lab.run(&format!("send --state a notes --device {b} --timeout 1 {by}")).exits(1);
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    lab.run(&format!("pull --state b --device {a} --into out {by} {session}"))
        .exits(0)
        .says("this device owns")
        .says(&format!("device {a} was silent for too long, and didn't agree"));
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert_eq!(lab.session("b")["role"], "primary");
    // It comes back after all, and knows at once.
    let told = format!("\"notes\" isn't this device's any more: device {b} owns it now");
    lab.run(&format!("sync --state a {by}")).exits(0).says(&told);
    assert_eq!(lab.session("a")["role"], "secondary");
    lab.run(&format!("send --state a notes --device {b} {by}")).exits(1).says("has moved");
}

#[test]
fn a_service_that_isnt_reached_or_is_another_is_told_as_such() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let (mut service, id) = serve(&lab, "127.0.0.1:0");
    let at = service.addr.clone();
    let wrong = format!("--mailbox {at} --mailbox-device {a}");
    let other = lab.id("c");
    let wrong = wrong.replace(&a, &other);
    let another = format!("another device than {other} answers at {at}");
    lab.run(&format!("send --state a notes --device {b} {wrong} --timeout 5")).exits(1).says(&another);
    lab.run(&format!("handoff --state a --list {wrong}")).exits(1).says(&another);
    let by = format!("--mailbox {at} --mailbox-device {id}");
    lab.run(&format!("send --state a notes --device {b} {by} --timeout 1")).exits(1);
    lab.run(&format!("sync --state b --from {a} {by}")).exits(0);
    service.kill();
    let pull = format!("pull --state b notes --device {a} --into out {by} --timeout 2");
    lab.run(&pull).exits(1).says(&format!("service {id} wasn't reached at {at}"));
}

#[test]
fn a_session_whose_owner_gave_the_handoff_up_is_its_own_still() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    std::fs::create_dir(lab.path("notes")).unwrap();
    std::fs::write(lab.path("notes/film"), noise(2_000_000, 1)).unwrap();
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --device-space 1000000");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let by = format!("--mailbox {addr} --mailbox-device {id} --no-direct");
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes {by}"));
    let sent = lab.run(&format!("send --state a notes --device {b} {by} --timeout 10"));
    assert_ne!(sent.code, Some(0), "{sent:?}");
    wait_for(|| lab.run(&format!("sync --state a {by}")).out.contains("exchanged"));
    wait_for(|| receiver.said().contains("came to nothing") || receiver.said().contains("withdrawn"));
    assert!(!receiver.said().contains("has another owner by now"), "{}", receiver.said());
}

#[test]
fn a_file_that_is_too_long_for_the_service_is_refused_before_anything_begins() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 100);
    std::fs::File::create(lab.path("notes/film")).unwrap().set_len(201_326_593).unwrap();
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id} --no-direct", service.addr);
    let send = format!("send --state a notes --device {b} {by} --timeout 1");
    lab.run(&send).exits(1).says("\"film\" has 201326593 bytes").says("--only leave the file behind");
    assert_eq!(lab.session("a")["grantor"], lab.id("a").as_str(), "nothing was delegated");
}

#[test]
fn nothing_is_lost_though_the_source_is_killed() {
    rounds(Victim::Source);
}

#[test]
fn nothing_is_lost_though_the_target_is_killed() {
    rounds(Victim::Target);
}

#[test]
fn nothing_is_lost_though_the_service_is_killed() {
    rounds(Victim::Service);
}

fn rounds(victim: Victim) {
    let size = size();
    for round in 0..size.rounds {
        let random = u64::from_be_bytes(noise(8, round * 5 + victim as u64).try_into().unwrap());
        let moment = Duration::from_millis(random % size.millis);
        eprintln!("{victim:?}, round {round}: killed after {moment:?}");
        run(victim, &size, moment);
    }
}

fn run(victim: Victim, size: &Size, moment: Duration) {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", size.files, size.bytes);
    let (mut service, id) = serve(&lab, "127.0.0.1:0");
    let addr = service.addr.clone();
    // The killed service's devices have nobody else; those of the others are introduced, and go back to it.
    let direct = if victim == Victim::Service { " --no-direct" } else { "" };
    let by = format!("--mailbox {addr} --mailbox-device {id}{direct}");
    let receive = format!("--into out --from {a} --yes --once {by}");
    let mut receiver = lab.receive("b", &receive);
    let send = format!("send --state a notes --device {b} {by}");
    let mut sender = lab.start(&send);
    sender.ends_within(moment);
    let mut received = false;
    match victim {
        Victim::Source => {
            sender.kill();
            sender = lab.start(&send);
        }
        Victim::Target => {
            received = !lab.kill_receiver(&mut receiver, "b");
            if !received {
                receiver = lab.receive("b", &receive);
            }
        }
        Victim::Service => {
            service.kill();
            (service, _) = serve(&lab, &addr);
        }
    }
    let mut sent = sender.end();
    // Given up while the other device hadn't confirmed: the same command again waits for it.
    while sent.code == Some(4) {
        sent = lab.run(&send);
    }
    if !received {
        receiver.end().exits(0);
    }
    // A sender that had reported before it was killed finds the session moved, and says so.
    if sent.code != Some(0) {
        assert_eq!(victim, Victim::Source, "{sent:?}");
        sent.exits(1).says("has moved").says(&b);
    }
    assert_eq!(lab.primaries(&["a", "b"]), 1);
    assert_eq!(lab.session("b")["role"], "primary");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    drop(service);
}
