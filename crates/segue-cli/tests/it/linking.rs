//! Linking where something stands in its way.

use std::net::UdpSocket;

use crate::account::{invites, link};
use crate::pty::Terminal;
use crate::util::*;

/// A device that invites at a terminal of its own, and its invitation.
fn invites_at_a_terminal(lab: &Lab, state: &str) -> (Terminal, String) {
    let line = format!("link --state {state} --name {state} --listen 127.0.0.1:0");
    let new = Terminal::start(lab.command(&line));
    let text = format!("SEGUE:{}", new.line("SEGUE:"));
    (new, text)
}

#[test]
fn of_several_addresses_in_an_invitation_the_right_one_is_found() {
    let lab = Lab::new();
    // Another device answers at the first, and nobody at the second; the third is the phone's.
    let other = lab.receive("other", "--into out");
    let deaf_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let deaf = deaf_socket.local_addr().unwrap();
    let places = format!("--address {} --address {deaf} --address {free}", other.addr);
    let mut new = lab.start(&format!("link --state phone --listen {free} {places} --yes"));
    let text = new.until("SEGUE:");
    lab.run(&format!("link --state laptop --paste {text} --yes")).exits(0).says("linked with");
    new.end().exits(0);
}

#[test]
fn a_linking_that_failed_leaves_no_account_behind() {
    let lab = Lab::new();
    let (new, text) = invites(&lab, "phone", "--yes");
    // Nobody is there to confirm.
    lab.run(&format!("link --state laptop --paste {text}")).exits(1).says("LINK_DECLINED");
    new.end().exits(1);
    lab.run("devices --state laptop").exits(1).says("no account");
    // So it may still be the one that is invited.
    link(&lab, "phone", "laptop");
    let listed = lab.run("devices --state laptop").exits(0);
    assert!(listed.out.lines().any(|line| line.contains("the first") && line.contains(&lab.id("phone"))));
}

#[test]
fn a_device_that_is_killed_before_both_have_confirmed_has_no_account() {
    let lab = Lab::new();
    let (phone, text) = invites_at_a_terminal(&lab, "phone");
    let mut laptop = lab.start(&format!("link --state laptop --paste {text} --yes"));
    laptop.until("check code");
    phone.until("the question", |screen| screen.contains("[y/N]"));
    laptop.kill();
    lab.run("devices --state laptop").exits(1).says("no account");
}

#[test]
fn a_question_ends_with_the_linking_that_it_is_about() {
    let lab = Lab::new();
    // Neither of those who are asked says a word; the other side says no.
    let (phone, text) = invites_at_a_terminal(&lab, "phone");
    lab.run(&format!("link --state laptop --paste {text}")).exits(1).says("LINK_DECLINED");
    phone.until("the end", |screen| screen.contains("user said no (LINK_DECLINED)"));
    assert_eq!(phone.end().code(), Some(1));
    let (new, text) = invites(&lab, "tablet", "");
    let laptop = Terminal::start(lab.command(&format!("link --state laptop --paste {text}")));
    laptop.until("the end", |screen| screen.contains("user said no (LINK_DECLINED)"));
    assert_eq!(laptop.end().code(), Some(1));
    new.end().exits(1);
}

#[test]
fn a_picture_that_cant_be_written_is_told_before_an_invitation_is_shown() {
    let lab = Lab::new();
    let done = lab.run("link --state phone --listen 127.0.0.1:0 --png nodir/x.png").exits(1).says("nodir/x.png");
    assert!(!done.out.contains("SEGUE:"), "{}", done.out);
}

#[test]
fn a_conflict_names_the_devices_of_the_account_whose_versions_they_are() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    lab.tree("notes", 1, 1_000);
    let phone = lab.receive("phone", "--into out --yes --once");
    lab.run(&format!("send --state laptop notes --to {} --device phone", phone.addr)).exits(0);
    phone.end().exits(0);
    std::fs::write(lab.path("notes/run.sh"), "by the laptop").unwrap();
    std::fs::write(lab.path("out/notes/run.sh"), "by the phone").unwrap();
    let phone = lab.receive("phone", "--into out --yes");
    let line = format!("--into back --yes --together --from phone --to {}", phone.addr);
    let laptop = lab.receive("laptop", &line);
    let listed = |state: &str| lab.run(&format!("conflicts --state {state}")).exits(0).out;
    wait_for(|| ["laptop", "phone"].iter().all(|state| listed(state).contains("run.sh")));
    for (state, other) in [("laptop", "phone"), ("phone", "laptop")] {
        let text = listed(state);
        assert!(text.contains("by this device") && text.contains(&format!("by {other:?}")), "{text}");
        let json = lab.run(&format!("conflicts --state {state} --json")).exits(0).out;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let versions = json["conflicts"][0]["versions"].as_array().unwrap();
        let theirs = versions.iter().find(|version| version["this_device"] == false).unwrap();
        assert_eq!((&theirs["device"], &theirs["name"]), (&lab.id(other).as_str().into(), &other.into()));
    }
    drop((laptop, phone));
}
