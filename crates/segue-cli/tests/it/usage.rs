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
