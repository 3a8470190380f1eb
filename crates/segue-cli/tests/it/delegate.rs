//! A service as a process that signs for a device, over `kill -9` of it.

use crate::mailbox::serve;
use crate::util::*;

#[test]
fn a_service_is_delegated_to_killed_and_signs_the_session_back() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let (mut service, id) = serve(&lab, "127.0.0.1:0");
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    let by = format!("--state a {session} --mailbox {} --mailbox-device {id}", service.addr);
    lab.run(&format!("delegate {by}")).exits(0).says("signs who owns");
    assert_eq!(lab.session("a")["grantor"], id.as_str());
    assert_eq!(lab.session("a")["role"], "primary");
    // Handing it over is for the service to sign now.
    lab.run(&format!("delegate {by}")).exits(0).says("signs who owns").says("already").says(&id);
    lab.run(&format!("close --state a {session}")).exits(1).says("segue reclaim").says(&id);
    service.kill();
    let addr = service.addr.clone();
    let (service, _) = serve(&lab, &addr);
    lab.run(&format!("reclaim {by}")).exits(0).says("this device signs");
    assert_eq!(lab.session("a")["grantor"], lab.id("a").as_str());
    assert_eq!(lab.session("a")["role"], "primary");
    lab.run(&format!("reclaim {by}")).exits(0).says("this device signs").says("already");
    service.interrupt();
    service.end().exits(0);
}

#[test]
fn an_owner_whose_service_is_gone_for_good_takes_its_session_back_by_name() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let (mut service, id) = serve(&lab, "127.0.0.1:0");
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    let by = format!("--state a {session} --mailbox {} --mailbox-device {id} --timeout 1", service.addr);
    lab.run(&format!("delegate {by}")).exits(0);
    service.kill();
    let silent = lab.run(&format!("reclaim {by}")).exits(1).says("segue takeover").says("didn't answer in time");
    assert!(!silent.err.contains("GRANT"), "{}", silent.err);
    lab.run(&format!("takeover --state a {session}")).exits(0).says("this device owns");
    assert_eq!(lab.session("a")["grantor"], lab.id("a").as_str());
    assert_eq!(lab.session("a")["role"], "primary");
    lab.run(&format!("takeover --state a {session}")).exits(1).says("already");
}

#[test]
fn a_service_without_custody_is_named_in_the_refusal() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --no-custody");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    let by = format!("--state a {session} --mailbox {addr} --mailbox-device {id}");
    lab.run(&format!("delegate {by}")).exits(1).says(&id).says("without --no-custody");
    assert_eq!(lab.session("a")["grantor"], lab.id("a").as_str());
}

#[test]
fn another_service_than_the_one_that_signs_is_told_from_it() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    lab.run(&format!("delegate --state a {session} --mailbox {} --mailbox-device {id}", service.addr)).exits(0);
    let mut other = lab.start("serve --state other --listen 127.0.0.1:0");
    let addr = other.until("listening on ").split_off("listening on ".len());
    let at = other.until("device ").split_off("device ".len());
    for command in ["reclaim", "delegate"] {
        let wrong =
            lab.run(&format!("{command} --state a {session} --mailbox {addr} --mailbox-device {at} --timeout 1"));
        let wrong = wrong.exits(1).says(&format!("service {id} signs who owns session {session} next"));
        assert!(!wrong.err.contains("takeover"), "{}", wrong.err);
    }
}
