//! Mistakes on the command line, and what it prints.

use crate::util::*;

#[test]
fn mistakes_exit_2_and_help_tells_the_codes() {
    let lab = Lab::new();
    let b = lab.id("b");
    for line in [
        "",
        "sned",
        "id",
        &format!("send --state a notes --to 127.0.0.1:1 --device {}", &b[1..]),
        "link --state a --paste x --scan y",
        "link --state a --paste x --png y",
        "link --state a --paste x --name=",
        "revoke --state a",
        &format!("send --state a notes --to nowhere --device {b}"),
        &format!("send --state a notes --to 127.0.0.1:1 --device {b} --timeout 0"),
        "receive --state a --listen here --into out",
        &format!("pull --state a xyz --device {b}"),
        "certify --generation 3",
        "takeover --state a",
    ] {
        lab.run(line).exits(2);
    }
    for line in ["--help", "send --help", "receive --help"] {
        lab.run(line).exits(0).says("4  pending");
    }
    lab.run("--version").exits(0).says("segue 0.");
}

#[test]
fn the_id_stands_alone_on_its_line_and_stays() {
    let lab = Lab::new();
    let first = lab.run("id --state a").exits(0).out;
    assert_eq!(first.len(), 65);
    assert_eq!(lab.run("id --state a").out, first);
}

/// Keys of sessions and their views lie in the journal.
#[cfg(unix)]
#[test]
fn a_state_directory_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.id("a");
    let service = crate::mailbox::serve(&lab, "127.0.0.1:0");
    for state in ["a", "box"] {
        let mode = std::fs::metadata(lab.path(state)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{state}");
    }
    drop(service);
}

#[test]
fn questions_make_no_device_and_failures_say_what_to_do() {
    let lab = Lab::new();
    lab.run("owner --state a").exits(1).says("segue id --state");
    assert!(!lab.path("a").exists());
    let b = lab.id("b");
    lab.run(&format!("takeover --state b {}", "ab".repeat(16))).exits(1).says("segue owner");
    lab.run(&format!("send --state a nowhere --to 127.0.0.1:1 --device {b}")).exits(1).says("nowhere");
    lab.run("owner --state b").exits(0).says("no sessions");
}

#[test]
fn a_name_that_not_every_system_writes_is_refused_by_name_and_links_are_left_out() {
    let lab = Lab::new();
    let b = lab.id("b");
    let root = lab.tree("notes", 1, 10);
    std::fs::write(root.join("what?:"), "").unwrap();
    let send = format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1");
    lab.run(&send).exits(1).says("what?:").says("rename it");
    std::fs::remove_file(root.join("what?:")).unwrap();
    std::os::unix::fs::symlink("run.sh", root.join("link")).unwrap();
    lab.run(&send).exits(1).says("link is left out");
}

#[test]
fn what_is_missing_or_wrong_is_named_with_what_to_do() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 10);
    // Two ways lead to the other device, and either does.
    for line in
        [&format!("send --state a notes --device {b}"), "handoff --state a", &format!("pull --state a x --device {b}")]
    {
        lab.run(line).exits(2).says("--mailbox <ADDR>");
    }
    for command in ["receive --into out --state a", "serve --state a", "link --state a"] {
        lab.run(&format!("{command} --listen localhost:0")).exits(2).says("0.0.0.0:4433");
    }
    lab.run(&format!("send --state a nowhere --to 127.0.0.1:1 --device {b}")).exits(1).says("check the path");
    lab.run("id --state notes/nothing").exits(1).says("choose another one");
    lab.run(&format!("pull --state a x --from 127.0.0.1:9 --device {b} --timeout 1"))
        .exits(1)
        .says("no link to device");
    // Not after a run that takes a while.
    lab.run("certify --case link/ping/* --report notes/nothing").exits(2).says("the directory of the report");
    lab.run("--help").exits(0).says("First steps:");
}

#[test]
fn a_view_state_that_is_too_long_is_told_by_its_option_and_limit() {
    let lab = Lab::new();
    let b = lab.id("b");
    let line = format!("send --state a notes --to 127.0.0.1:9 --device {b} --view {}", "x".repeat(16_385));
    lab.run(&line).exits(2).says("--view").says("at most 16384 bytes");
}

#[test]
fn a_service_that_is_told_no_address_says_all_places_where_it_looked() {
    let lab = Lab::new();
    // It may come from the environment and from a file, so that no line has to have it.
    let help = lab.run("serve --help").exits(0);
    assert!(help.out.contains("Usage: segue serve [OPTIONS] --state <DIR>\n"), "{}", help.out);
    let missing = lab.run("serve --state a").exits(2);
    missing.says("--listen").says("SEGUE_SERVE_LISTEN").says("--config").says("0.0.0.0:4433");
    std::fs::write(lab.path("serve.toml"), "lease = 5").unwrap();
    lab.run("serve --state a --config serve.toml").exits(2).says("serve.toml").says("listen = \"0.0.0.0:4433\"");
    assert!(!lab.path("a").exists(), "nothing is made for a command line that is wrong");
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cant_be_written_fails_and_a_reader_that_left_does_not() {
    let lab = Lab::new();
    lab.id("a");
    for line in ["id", "owner", "owner --json", "conflicts", "handoff --list"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = lab.command(&format!("{line} --state a"));
        let done = command.stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.contains("standard output"), "{line}: {said}");
        assert_eq!(done.status.code(), Some(1), "{line}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lab.command(&format!("{line} --state a"));
        let done = command.stdout(writer).output().unwrap();
        assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{line}: {done:?}");
    }
}

#[test]
fn what_is_too_long_or_of_no_use_is_told_without_its_text() {
    let lab = Lab::new();
    let b = lab.id("b");
    std::fs::create_dir(lab.path("notes")).unwrap();
    let send = format!("send --state a notes --device {b} --to 127.0.0.1:9 --timeout 1");
    let long = "v".repeat(17_000);
    let done = lab.run(&format!("{send} --view {long}")).exits(2).says("at most 16384 bytes").says("17000");
    assert!(!done.err.contains("vvvv"), "{}", done.err);
    lab.run("receive --state a --listen 127.0.0.1:0 --into out --token t").exits(2).says("--mailbox");
    std::fs::write(lab.path("token"), "t".repeat(200_000)).unwrap();
    let login = format!("login --state a --mailbox 127.0.0.1:9 --mailbox-device {b} --token token --timeout 1");
    lab.run(&login).exits(1).says("200000 bytes").says("8192");
    std::fs::write(lab.path("notes/plan"), "x").unwrap();
    std::fs::create_dir(lab.path("notes/docs")).unwrap();
    std::fs::write(lab.path("notes/docs/a"), "abc").unwrap();
    // As a shell completes it.
    lab.run(&format!("{send} --only docs/")).exits(1).says("1 file of 1 bytes stays here");
    lab.run(&format!("{send} --only nosuch")).exits(1).says("name folders of");
}

#[test]
fn a_pull_of_what_is_ones_own_says_so() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 1, 100);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let pull = format!("pull --state a notes --device {b} --from 127.0.0.1:9 --timeout 1");
    let done = lab.run(&pull).exits(0).says("already, in").says(lab.path("notes").to_str().unwrap());
    assert!(!done.out.contains("earlier run"), "{}", done.out);
    std::fs::rename(lab.path("notes"), lab.path("elsewhere")).unwrap();
    lab.run(&pull).exits(0).says("owns session").says("isn't there");
}
