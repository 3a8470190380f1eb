//! The editor, at real terminals.

use std::process::Command;

use crate::pty::{Relay, Terminal};
use crate::util::*;

const ENTER: &str = "\r";
const QUIT: &str = "\x11";

fn open(lab: &Lab, line: &str) -> Terminal {
    let mut command: Command = lab.command(line);
    command.env_remove("SEGUE_LOG");
    Terminal::start(command)
}

/// Waits until both show the same, which has all of these.
#[track_caller]
fn agree(a: &Terminal, b: &Terminal, has: &[&str]) {
    for terminal in [a, b] {
        terminal.until(&has.join(", "), |screen| {
            has.iter().all(|text| screen.contains(text)) && !screen.contains("waiting") && screen.contains("online: ")
        });
    }
    wait_for(|| a.text() == b.text());
}

#[test]
fn two_people_type_at_two_terminals_lose_the_network_and_meet_again() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    let mut one = open(&lab, &format!("edit --state a --create notes --listen 127.0.0.1:0 --device {b}"));
    let (session, addr) = (one.line("session "), one.line("listening on "));
    one.until("nobody", |screen| screen.contains("nobody else online") || screen.contains("offline"));
    let relay = Relay::to(addr.parse().unwrap());
    let join = format!("edit --state b {session} --to {} --device {a}", relay.addr);
    let mut two = open(&lab, &join);

    // They see who is there, and each other's typing.
    one.until("b online", |screen| screen.contains(&format!("online: {}", &b[..8])));
    two.until("a online", |screen| screen.contains(&format!("online: {}", &a[..8])) && screen.contains("notes"));
    one.types(&format!("Shopping{ENTER}- milk{ENTER}"));
    two.until("milk", |screen| screen.contains("- milk"));
    two.types("\x1b[6~- bread");
    agree(&one, &two, &["Shopping", "- milk", "- bread"]);

    // The network is gone, and both go on.
    relay.cut(true);
    one.types("- eggs");
    two.types(", two of them");
    one.until("edits waiting", |screen| screen.contains("offline: ") && screen.contains("waiting"));
    two.until("edits waiting", |screen| screen.contains("offline: ") && screen.contains("waiting"));
    assert!(!two.text().contains("eggs") && !one.text().contains("two of them"));
    relay.cut(false);
    agree(&one, &two, &["- eggs", ", two of them"]);

    // One dies, and comes back with all edits.
    two.types(", fresh");
    two.until("saved", |screen| screen.contains(", fresh") && screen.contains("saved"));
    two.kill();
    let two = open(&lab, &join);
    agree(&one, &two, &["- eggs", ", two of them, fresh"]);

    // Quitting leaves what was typed last with the other.
    one.types(&format!(", quickly{QUIT}"));
    assert!(one.end().success());
    two.until("quickly, and offline", |screen| screen.contains(", quickly") && screen.contains("offline"));
}

#[test]
fn what_is_typed_alone_survives_and_waits() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    let mut one = open(&lab, &format!("edit --state a --create notes --listen 127.0.0.1:0 --device {b}"));
    let (session, addr) = (one.line("session "), one.line("listening on "));
    let two = open(&lab, &format!("edit --state b {session} --to {addr} --device {a}"));
    two.until("a online", |screen| screen.contains("online: "));
    one.types(QUIT);
    assert!(one.end().success());
    let mut two = two;
    two.until("offline", |screen| screen.contains("offline"));
    two.types("alone");
    two.until("an edit waiting", |screen| {
        screen.contains("alone") && screen.contains("waiting") && screen.contains("saved")
    });
    two.kill();
    let two = open(&lab, &format!("edit --state b {session} --to {addr} --device {a}"));
    two.until("alone", |screen| screen.contains("alone") && screen.contains("offline"));
    // Another process asks this one.
    lab.run("owner --state b").exits(0).says(&session);
    lab.run("conflicts --state b").exits(0).says("no conflicts");
    lab.run(&format!("close --state b {session}")).exits(1).says("quit the editor");
    let one = open(&lab, &format!("edit --state a {session} --listen {addr} --device {b}"));
    agree(&one, &two, &["alone"]);
}

#[test]
fn the_editor_says_what_it_needs() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.run(&format!("edit --state a --create notes --device {b}")).exits(1).says("needs a terminal");
    lab.run("edit --state a --create notes --to 127.0.0.1:9").exits(2).says("each --to needs a --device");
    lab.run("edit --state a").exits(2).says("SESSION");
    lab.run("edit --help").exits(0).says("Ctrl-Q quits");
    let unknown = "00".repeat(16);
    let lost = open(&lab, &format!("edit --state a {unknown}"));
    lost.until("advice", |screen| screen.contains("--create NAME"));
    assert_eq!(lost.end().code(), Some(1));
}
