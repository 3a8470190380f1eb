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
