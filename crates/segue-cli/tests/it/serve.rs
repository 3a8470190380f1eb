//! What an operator sees and sets of a service.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::util::*;

/// Asks over HTTP; the whole answer.
fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn metric(addr: &str, name: &str) -> u64 {
    let answer = get(addr, "/metrics");
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
}

#[test]
fn a_service_takes_its_options_from_a_file_tells_metrics_and_ends_in_good_order() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    std::fs::write(lab.path("serve.toml"), "listen = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nlog = \"json\"\n")
        .unwrap();
    let line = "serve --state box --config serve.toml";
    let mut service = Running::new(lab.command(line).env("SEGUE_LOG", "info").spawn().unwrap(), line);
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let at = service.until("metrics at ");
    let at = at.trim_start_matches("metrics at http://").trim_end_matches("/metrics").to_owned();
    assert!(get(&at, "/health").starts_with("HTTP/1.1 200"), "{}", get(&at, "/health"));
    assert!(get(&at, "/other").starts_with("HTTP/1.1 404"));
    assert_eq!(metric(&at, "segue_envelopes_put_total"), 0);
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state a notes --device {b} --timeout 1 --mailbox {addr} --mailbox-device {id}")).exits(1);
    assert!(metric(&at, "segue_envelopes_put_total") > 3);
    assert_eq!(metric(&at, "segue_links_total"), 1);
    service.interrupt();
    let log = service.end().exits(0).err;
    let events =
        log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON, a line an event"));
    let events: Vec<_> = events.map(|event| event["fields"].clone()).collect();
    for message in ["linked", "unlinked"] {
        let told = events.iter().any(|event| event["message"] == message && event["peer"] == a.as_str());
        assert!(told, "the log tells which device was {message}: {log}");
    }
}

#[test]
fn what_an_operator_may_not_set_is_refused() {
    let lab = Lab::new();
    lab.run("serve --state box --listen 127.0.0.1:0 --metrics 0.0.0.0:0").exits(2).says("this computer alone");
    lab.run("serve --state box --listen 127.0.0.1:0 --no-custody --lease 60").exits(2).says("--no-custody");
    std::fs::write(lab.path("serve.toml"), "no-custody = true\nlease = 60\n").unwrap();
    lab.run("serve --state box --listen 127.0.0.1:0 --config serve.toml").exits(2).says("--no-custody");
    std::fs::write(lab.path("serve.toml"), "space = \"much\"\n").unwrap();
    lab.run("serve --state box --listen 127.0.0.1:0 --config serve.toml").exits(2).says("serve.toml");
}

#[test]
fn what_is_wrong_with_an_option_is_told_with_the_place_where_it_stands() {
    let lab = Lab::new();
    let line = "serve --state box --listen 127.0.0.1:0";
    for (file, what) in [
        ("no-custody = \"yes\"", "no-custody is to be true or false"),
        ("log = \"xml\"", "[possible values: text, json]"),
        ("space = -3", "a number of bytes from 0 on"),
        ("rate = 0", "a number of bytes from 1 on"),
        ("lissen = 1", "\"lissen\" is no option"),
    ] {
        std::fs::write(lab.path("serve.toml"), format!("links = 5\n{file}\n")).unwrap();
        lab.run(&format!("{line} --config serve.toml")).exits(2).says("serve.toml, line 2: ").says(what);
    }
    for (variable, value) in [("LEASE", "soon"), ("LOG", "xml"), ("SPACE", "-3"), ("NO_CUSTODY", "perhaps")] {
        let variable = format!("SEGUE_SERVE_{variable}");
        // A file that is right isn't blamed for it.
        std::fs::write(lab.path("serve.toml"), "links = 5\n").unwrap();
        for line in [line.to_owned(), format!("{line} --config serve.toml")] {
            let refused = Running::new(lab.command(&line).env(&variable, value).spawn().unwrap(), &line).end();
            refused.exits(2).says(&format!("{variable} in the environment: "));
        }
    }
    let misspelt = Running::new(lab.command(line).env("SEGUE_SERVE_ACCOUNT", "accounts.toml").spawn().unwrap(), line);
    misspelt.end().exits(2).says("SEGUE_SERVE_ACCOUNT in the environment is no option");
    // What the command line says goes before it, and is told as what it is.
    let line = format!("{line} --lease never");
    let refused = Running::new(lab.command(&line).env("SEGUE_SERVE_LEASE", "soon").spawn().unwrap(), &line).end();
    assert!(!refused.exits(2).says("'never' for '--lease").err.contains("environment"));
}

#[test]
fn paths_in_a_file_are_relative_to_its_directory() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("etc")).unwrap();
    std::fs::write(lab.path("etc/serve.toml"), "accounts = \"accounts.toml\"\n").unwrap();
    let line = "serve --state box --listen 127.0.0.1:0 --config etc/serve.toml";
    lab.run(line).exits(1).says("etc/accounts.toml");
    std::fs::write(lab.path("etc/accounts.toml"), "= 1").unwrap();
    lab.run(line).exits(2).says("etc/accounts.toml: TOML");
    lab.run("serve --help").exits(0).says("relative");
}

#[test]
fn a_device_that_was_away_opens_what_was_handed_over_meanwhile() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --metrics 127.0.0.1:0");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let at = service.until("metrics at ");
    let at = at.trim_start_matches("metrics at http://").trim_end_matches("/metrics").to_owned();
    let by = format!("--mailbox {addr} --mailbox-device {id}");
    let sender = lab.start(&format!("send --state a notes --device {b} --view line-7 {by}"));
    // The service has the session, and whoever it goes to isn't there.
    wait_for(|| metric(&at, "segue_session_changes") > 0);
    let woken = lab.path("woken");
    let line = format!("receive --state b --listen 127.0.0.1:0 --into out --from {a} --yes --once {by}");
    let mut receive = lab.command(&line);
    receive.args(["--on-wake", &format!("echo $SEGUE_NAME $SEGUE_VIEW > {}", woken.display())]);
    let receiver = Running::new(receive.spawn().unwrap(), &line);
    sender.end().exits(0).says("handed over session");
    receiver.end().exits(0);
    wait_for(|| std::fs::read_to_string(&woken).is_ok_and(|told| told == "notes line-7\n"));
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

#[test]
fn a_command_that_was_to_open_a_session_and_failed_is_told() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 100);
    let line = "receive --state b --listen 127.0.0.1:0 --into out --yes";
    let mut receive = lab.command(line);
    receive.args(["--on-wake", "exit 7"]);
    let mut receiver = Running::new(receive.spawn().unwrap(), line);
    let addr = receiver.until("listening on ").split_off("listening on ".len());
    lab.run(&format!("send --state a notes --device {b} --to {addr}")).exits(0);
    wait_for(|| receiver.said().contains("(--on-wake) ended with 7"));
}

#[test]
fn a_service_whose_key_or_journal_is_lost_says_so() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 100);
    let (service, id) = crate::mailbox::serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id}", service.addr);
    lab.run(&format!("send --state a notes --device {b} --timeout 1 {by}")).exits(1);
    service.interrupt();
    service.end().exits(0);
    std::fs::rename(lab.path("box/device.key"), lab.path("key")).unwrap();
    let line = "serve --state box --listen 127.0.0.1:0";
    lab.run(line).exits(1).says("no device.key").says("Restore it").says("--state of a new directory");
    assert!(!lab.path("box/device.key").exists());
    std::fs::rename(lab.path("key"), lab.path("box/device.key")).unwrap();
    std::fs::remove_file(lab.path("box/journal.redb")).unwrap();
    let (service, same) = crate::mailbox::serve(&lab, "127.0.0.1:0");
    assert_eq!(id, same);
    service.interrupt();
    service.end().exits(0).says("the journal is lost");
}

#[test]
fn a_mistake_in_the_accounts_is_told_though_no_device_asks() {
    let lab = Lab::new();
    std::fs::write(lab.path("accounts.toml"), "[default]\nspace = 7\n").unwrap();
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --accounts accounts.toml");
    service.until("device ");
    std::fs::write(lab.path("accounts.toml"), "[default]\nspaces = 7\n").unwrap();
    wait_for(|| service.said().contains("accounts stay as they were"));
    assert!(service.said().contains("accounts.toml, line 2"), "{}", service.said());
}
