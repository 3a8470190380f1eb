//! `certify` and `adapter`, through the command line.

use std::io::Write;
use std::process::Stdio;

use crate::util::*;

#[test]
fn mutants_are_listed_one_a_line_and_an_unknown_one_is_a_mistake() {
    let lab = Lab::new();
    let list = lab.run("adapter --list-mutants").exits(0).out;
    assert!(list.lines().count() >= 25, "{list}");
    assert!(list.lines().all(|line| !line.is_empty() && !line.starts_with(' ')), "{list}");
    lab.run("adapter --mutant nobody").exits(2).says("--list-mutants");
}

#[test]
fn the_adapter_answers_a_line_with_a_line() {
    let lab = Lab::new();
    let mut child = lab.command("adapter").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"id\":1,\"do\":\"nothing known\"}\n").unwrap();
    drop(input);
    let out = child.wait_with_output().unwrap();
    let answer = String::from_utf8(out.stdout).unwrap();
    assert_eq!(answer.lines().count(), 1, "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{answer}");
}

#[test]
fn cases_are_listed_one_a_line_and_one_can_be_run_alone() {
    let lab = Lab::new();
    let all = lab.run("certify --list").exits(0).out;
    assert!(all.lines().count() > 50, "{all}");
    let some = lab.run("certify --list --case handoff/grant/*").exits(0).out;
    assert!(some.lines().count() > 1 && some.lines().all(|name| name.starts_with("handoff/grant/")), "{some}");
    lab.run("certify --case handoff/grant/lost-then-resent --report out").exits(0);
    let report = std::fs::read(lab.path("out/report.json")).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&report).is_ok());
    lab.run("certify --case none/such").exits(2);
}

#[test]
fn what_speaks_no_adapter_protocol_is_not_certified() {
    let lab = Lab::new();
    for adapter in ["cat", "true", "yes"] {
        lab.run(&format!("certify --adapter {adapter}")).exits(1);
    }
}

#[test]
fn a_mutant_fails_at_the_intended_case() {
    let lab = Lab::new();
    for (mutant, case) in [("HO-GRANT-1", "handoff/grant/after-the-sync"), ("HO-WANT-1", "handoff/want/stale-parent")] {
        let adapter = format!("'{}' adapter --mutant {mutant}", env!("CARGO_BIN_EXE_segue"));
        let out = lab.command("certify --case handoff/*").args(["--adapter", &adapter]).output().unwrap();
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains(case), "{said}");
    }
}
