//! `certify` as vendors use it: first steps, a debugger, known failures, replays.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::util::*;

/// The adapter of the reference without a clause, or of a null subject.
fn mutant(name: &str) -> String {
    format!("'{}' adapter --mutant {name}", env!("CARGO_BIN_EXE_segue"))
}

/// Runs `certify` with this adapter: the exit code, and what it said.
fn certify(lab: &Lab, adapter: &str, line: &str) -> (Option<i32>, String) {
    let out = lab.command(&format!("certify {line}")).args(["--adapter", adapter]).output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

#[test]
fn smoke_tells_the_adapter_from_the_implementation() {
    let lab = Lab::new();
    lab.run("certify --smoke").exits(0).says("ok   restore").says("the adapter speaks the protocol");
    for (name, first, whose) in [
        ("echo", "OFF  hello", "the adapter is wrong"),
        ("accept-all", "OFF  link-up", "the implementation behind it is wrong"),
        ("LINK-PING-1", "OFF  ping", "the implementation behind it is wrong"),
    ] {
        let (code, said) = certify(&lab, &mutant(name), "--smoke");
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains(first) && said.contains(whose), "{name}: {said}");
        assert!(said.contains("{\"cmd\":\"hello\""), "{name}: no request to paste\n{said}");
        // The adapter's answers have no vectors, the bytes of a step have.
        let step = first.trim_start_matches("OFF  ");
        assert_eq!(said.contains("conformance/vectors/"), step != "hello", "{name}: {said}");
        assert_eq!(said.contains("conformance/vectors/wire/valid/ping-answer.json"), step == "ping", "{name}: {said}");
    }
}

#[test]
fn smoke_walks_tier_b_where_that_is_asked_for_or_all_there_is() {
    let lab = Lab::new();
    let steps = ["new", "inspect", "quic", "hello", "ping", "wait", "create", "dial"];
    let alone = format!("'{}' adapter --quic", env!("CARGO_BIN_EXE_segue"));
    let both = format!("'{}' adapter", env!("CARGO_BIN_EXE_segue"));
    for (adapter, line) in
        [(&both, "--smoke --tier b"), (&alone, "--smoke"), (&both, "--smoke --tier b --generation 1.4")]
    {
        let (code, said) = certify(&lab, adapter, line);
        assert_eq!(code, Some(0), "{line}: {said}");
        let walked: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("ok   ")?.split_once(':')).collect();
        assert_eq!(walked.iter().skip(1).map(|(name, _)| *name).collect::<Vec<_>>(), steps, "{line}: {said}");
    }
    let (code, said) = certify(&lab, &both, "--smoke --tier all");
    assert!(code == Some(0) && said.contains("ok   restore") && said.contains("ok   dial"), "{said}");
    let (code, said) = certify(&lab, &alone, "--smoke --tier a");
    assert!(code == Some(2) && said.contains("doesn't declare tier A"), "{said}");
    let broken = format!("{both} --mutant TRANSPORT-BIND-1");
    let (code, said) = certify(&lab, &broken, "--smoke --tier b");
    assert!(
        code == Some(1) && said.contains("OFF  hello") && said.contains("the implementation behind it is wrong"),
        "{said}"
    );
}

#[test]
fn an_adapter_that_is_started_by_hand_is_waited_for() {
    let lab = Lab::new();
    let place = lab.path("door");
    let mut suite = lab.command(&format!("certify --case link/ping/* --attach unix:{}", place.display()));
    let mut suite = suite.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It says so once there is somewhere to connect to, and goes on writing there.
    let mut told = BufReader::new(suite.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().starts_with("waiting for an adapter to connect")), "it ended");
    let door = UnixStream::connect(&place).unwrap();
    let end = |door: UnixStream| Stdio::from(OwnedFd::from(door));
    let mut adapter = lab.command("adapter").stdin(end(door.try_clone().unwrap())).stdout(end(door)).spawn().unwrap();
    let told: Vec<_> = told.map(Result::unwrap).collect();
    let ended = suite.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}{}", told.join("\n"));
    assert!(
        said.contains("passed in part: everything that was run passed") && said.contains("--case 'link/ping/*'"),
        "{said}"
    );
    adapter.wait().unwrap();
    lab.run("certify --attach tcp:192.0.2.1:7000").exits(2).says("of this machine alone");
    lab.run("certify --attach somewhere").exits(2).says("unix:PATH");
}

#[test]
fn a_failure_that_is_known_is_exempt_until_it_passes_or_fails_otherwise() {
    let lab = Lab::new();
    let (adapter, cases) = (mutant("WIRE-CANON-2"), "--generation 7 --case wire/canon/* --report out");
    assert_eq!(certify(&lab, &adapter, cases).0, Some(1));
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.path("out/report.json")).unwrap()).unwrap();
    let failed = report["cases"].as_array().unwrap().iter().filter(|case| case["verdict"] == "fail");
    let entries: Vec<_> = failed
        .map(|case| {
            let came = &case["reason"]["class"];
            serde_json::json!({ "case": case["case"], "verdict": "fail", "came": came, "reason": "ticket 311" })
        })
        .collect();
    assert!(!entries.is_empty(), "{report}");
    let write = |text: String| std::fs::write(lab.path("known.json"), text).unwrap();
    let list = serde_json::json!({ "exemptions": entries }).to_string();
    let with = format!("{cases} --exemptions known.json");

    write(list.clone());
    let (code, said) = certify(&lab, &adapter, &with);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ticket 311"), "{said}");
    let report = std::fs::read_to_string(lab.path("out/report.json")).unwrap();
    assert!(report.contains("\"exempt\": \"ticket 311\""), "{report}");

    let (code, said) = certify(&lab, &format!("'{}' adapter", env!("CARGO_BIN_EXE_segue")), &with);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is stale"), "{said}");

    write(list.replace("ticket 311", " "));
    assert_eq!(certify(&lab, &adapter, &with).0, Some(2));
    write(list.replace("wire/canon/", "wire/cannon/"));
    let (code, said) = certify(&lab, &adapter, &with);
    assert!(code == Some(1) && said.contains("matches no case"), "{said}");
}

#[test]
fn a_property_that_fails_ends_in_a_token_that_shows_it_again() {
    let lab = Lab::new();
    let adapter = mutant("HO-GRANT-2");
    let (code, said) = certify(&lab, &adapter, "--generation 7 --case properties/ownership/handoffs --sequences 200");
    assert_eq!(code, Some(1), "{said}");
    let token = said.lines().find_map(|line| line.split("--replay ").nth(1)).unwrap_or_else(|| panic!("{said}"));
    let (code, again) = certify(&lab, &adapter, &format!("--replay {token}"));
    assert_eq!(code, Some(1), "{again}");
    assert!(again.contains("fails:") && again.contains("the owner"), "{again}");
    lab.run(&format!("certify --replay {token}")).exits(0).says("passes");
    lab.run(&format!("certify --replay 9{}", &token[1..])).exits(2).says("the suite that printed it");
}

#[test]
fn a_frozen_set_of_requirements_can_be_asked_for() {
    let lab = Lab::new();
    lab.run("certify --requirements 1.4-1 --case link/ping/* --time").exits(0).says("pieces took");
    lab.run("certify --requirements 99").exits(2).says("1.4-1");
}

#[test]
fn a_peer_is_asked_for_nothing_of_a_generation_that_it_doesnt_declare() {
    let lab = Lab::new();
    let peer = format!("'{}' adapter --generation 1.7", env!("CARGO_BIN_EXE_segue"));
    let pairs = |cases: &str| {
        let line = format!("certify --case {cases} --report out");
        let out = lab.command(&line).args(["--peer", &peer]).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let (code, said) = pairs("pairs/7-to-7/push,pairs/7-to-1.7/push");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the peer declares generations 1.7"), "{said}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.path("out/report.json")).unwrap()).unwrap();
    let targets: Vec<_> = report["pairs"].as_array().unwrap().iter().map(|pair| &pair["target"]).collect();
    assert_eq!(targets, ["1.7"], "{report}");
    // What was left out follows from what the peer said, and that is in the transcripts.
    lab.run("verify out/certificate.json").exits(0).says("the certificate holds");

    let (code, said) = pairs("pairs/7-to-7/push");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the peer declares generations 1.7"), "{said}");
}

#[test]
fn the_guide_is_short_and_names_no_option_that_isnt_there() {
    let guide = include_str!("../../../../conformance/GUIDE.md");
    assert!(guide.lines().count() <= 300);
    let help = Lab::new().run("certify --help").exits(0).out;
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `--")?.split([' ', '`']).next());
    let rows: Vec<&str> = rows.collect();
    assert!(rows.len() >= 10, "{rows:?}");
    for option in rows {
        assert!(help.contains(&format!("--{option}")), "--{option} isn't in:\n{help}");
    }
}
