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
    lab.run("certify --list --case none/such").exits(2);
    let count = |options: &str| lab.run(&format!("certify --list {options}")).exits(0).out.lines().count();
    assert!(count("--generation 1.4 --case handoff/*") < count("--case handoff/*"));
    let [one, other, both] = ["wire/*", "link/*", "wire/*,link/*"].map(|glob| count(&format!("--case {glob}")));
    assert_eq!(one + other, both);
    for how in ["--adapter no-such-program", "--adapter no-such-program --smoke", "--adapter ./no/such"] {
        lab.run(&format!("certify {how}")).exits(2).says("there is no program");
    }
}

#[test]
fn a_certificate_is_verified_offline_and_a_changed_byte_is_noticed() {
    let lab = Lab::new();
    lab.run("certify --case link/ping/* --report out --seed 5").exits(0);
    lab.run("certify --case link/ping/* --report again --seed 5").exits(0);
    for name in ["report.html", "report.json", "junit.xml", "badge.svg", "certificate.json", "transcripts.gz"] {
        let [one, two] = ["out", "again"].map(|at| std::fs::read(lab.path(&format!("{at}/{name}"))).unwrap());
        assert!(one == two && !one.is_empty(), "{name}");
    }
    let said = lab.run("verify out/certificate.json").exits(0).out;
    assert!(said.contains("passed in part") && said.ends_with("the certificate holds\n"), "{said}");
    // Whoever reads only the beginning, as `head` does, gets the same exit code.
    let unread = lab.command("verify out/certificate.json").stdout(Stdio::piped()).spawn();
    let mut unread = unread.unwrap();
    drop(unread.stdout.take());
    assert_eq!(unread.wait().unwrap().code(), Some(0));
    let path = lab.path("out/transcripts.gz");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    lab.run("verify out/certificate.json").exits(1).says("link/ping/");
    std::fs::remove_file(&path).unwrap();
    lab.run("verify out/certificate.json").exits(2).says("transcripts.gz");
    lab.run("verify none.json").exits(2).says("none.json");
    lab.run("certify --case link/ping/* --report out --sign-key none.pem").exits(2).says("none.pem");
    lab.run("certify --case link/ping/* --sign-key none.pem").exits(2).says("--report");
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

#[test]
fn misbehaviours_are_listed_with_clause_and_code() {
    let lab = Lab::new();
    let all = lab.run("certify --tier b --list").exits(0).out;
    let signs = ["close ", "handshake ", "stop ", "message ", "event "];
    let bad = all.lines().filter(|line| signs.iter().any(|sign| line.contains(sign))).count();
    assert!(bad >= 60, "{bad} misbehaviours\n{all}");
}

#[test]
fn one_case_on_real_sockets_can_be_run_alone() {
    let lab = Lab::new();
    lab.run("certify --tier b --case transport/bind/* --report out").exits(0).says("passed in part");
    let report = std::fs::read(lab.path("out/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["tiers"], serde_json::json!(["B"]), "{report:#}");
    let adapter = format!("'{}' adapter --quic --mutant TRANSPORT-BIND-1", env!("CARGO_BIN_EXE_segue"));
    let out = lab.command("certify --case transport/bind/exporter").args(["--adapter", &adapter]).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn each_generation_is_certified_over_quic_and_each_piece_is_timed() {
    let lab = Lab::new();
    let said = lab.run("certify --tier b --case transport/bind/exporter --report out --time").exits(0).out;
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.path("out/report.json")).unwrap()).unwrap();
    let of = |case: &serde_json::Value| case["generation"].as_str().unwrap().to_owned();
    let generations: Vec<_> = report["cases"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(generations, ["1.4", "1.7", "2", "7"]);
    assert!(said.contains("4 pieces took ") && !said.contains("took 0.0 s"), "{said}");
    for generation in generations {
        let line = said.lines().find(|line| line.ends_with(&format!("  transport/bind/exporter at {generation}")));
        let millis = line.and_then(|line| line.trim().split_once(" ms")?.0.parse::<f64>().ok());
        assert!(millis.is_some_and(|millis| millis > 0.0), "{said}");
    }
    let one = lab.run("certify --tier b --case transport/bind/exporter --generation 1.7 --time").exits(0).out;
    assert!(one.contains("1 pieces took "), "{one}");
}

#[test]
fn what_is_declared_for_tier_b_is_offered_there() {
    let lab = Lab::new();
    // As an adapter says that offers the same in both tiers.
    let adapter = format!("sh -c \"'{}' adapter | sed -u s/commands_b/choices_b/\"", env!("CARGO_BIN_EXE_segue"));
    let out = lab.command("certify --tier b --case transport/bind/exporter").args(["--adapter", &adapter]).output();
    let out = out.unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("wrong: the adapter declares 'write' for tier B"), "{said}");
    assert!(!said.contains("'create' for tier B"), "{said}");
}

#[test]
fn a_service_that_runs_is_certified_from_outside() {
    let lab = Lab::new();
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let done = lab.run(&format!("certify --connect {addr} --device {id} --service")).exits(0);
    done.says("passed in part");
    // What isn't there can't be certified, nor can somebody else's key.
    let other = lab.id("other");
    lab.run(&format!("certify --connect {addr} --device {other} --service")).exits(2).says("doesn't prove");
}

#[test]
fn a_service_that_lets_the_suite_in_under_no_account_is_not_judged() {
    let lab = Lab::new();
    std::fs::write(lab.path("accounts.toml"), "").unwrap();
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --accounts accounts.toml");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let line = format!("certify --connect {addr} --device {id} --service --case transport/mailbox/*");
    let refused = lab.run(&line).exits(2).says("doesn't let the suite in").says("SVC_LOGIN").says("--accounts");
    let caller = refused.out.split_whitespace().skip_while(|word| *word != "device").nth(1).unwrap();
    let account = format!("[accounts.suite]\ndevices = [\"{}\"]\n", caller.trim_end_matches(';'));
    std::fs::write(lab.path("accounts.toml"), account).unwrap();
    // The file is read again once somebody comes.
    wait_for(|| lab.run(&line).code == Some(0));
}

#[test]
fn a_device_that_runs_is_certified_from_outside_once_it_lets_the_suite_in() {
    let lab = Lab::new();
    let id = lab.id("b");
    let other = lab.id("other");
    let closed = lab.receive("b", &format!("--into got --from {other}"));
    let refused =
        lab.run(&format!("certify --connect {} --device {id}", closed.addr)).exits(2).says("refuses the suite");
    let caller = refused.out.split_whitespace().skip_while(|word| *word != "device").nth(1).unwrap().to_owned();
    drop(closed);
    let open = lab.receive("b", &format!("--into got --from {other} --from {}", caller.trim_end_matches(';')));
    lab.run(&format!("certify --connect {} --device {id}", open.addr)).exits(0).says("passed in part");
}

#[test]
fn what_was_run_on_real_sockets_beside_is_told_and_not_derived() {
    let lab = Lab::new();
    lab.run("certify --tier all --case */canon/long-varint --report out").exits(0);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.path("out/report.json")).unwrap()).unwrap();
    assert_eq!(report["tiers"], serde_json::json!(["A", "B"]));
    let said = lab.run("verify out/certificate.json").exits(0).out;
    assert!(said.contains("told:      4 verdicts of tier B, 4 passed, by the signer's word"), "{said}");
    assert!(said.ends_with("the certificate holds, for tier A; for tier B it is the signer's word\n"), "{said}");
    std::fs::write(lab.path("out/badge.svg"), "green").unwrap();
    lab.run("verify out/certificate.json").exits(1).says("badge.svg");
    lab.run("certify --tier b --case transport/bind/exporter --report b").exits(0);
    assert!(lab.path("b/report.html").exists() && !lab.path("b/certificate.json").exists());
}
