//! Devices on which nothing runs: their service starts what takes the session that is handed over to them.

use crate::serve::metric;
use crate::util::*;

/// A service that has devices woken.
struct Serving {
    running: Running,
    by: String,
    metrics: String,
}

fn serve(lab: &Lab, wake_with: &str) -> Serving {
    let line = "serve --state box --listen 127.0.0.1:0 --metrics 127.0.0.1:0";
    let mut command = lab.command(line);
    command.args(["--wake-with", wake_with]);
    let mut running = Running::new(command.spawn().unwrap(), line);
    let addr = running.until("listening on ").split_off("listening on ".len());
    let id = running.until("device ").split_off("device ".len());
    let at = running.until("metrics at ");
    let metrics = at.trim_start_matches("metrics at http://").trim_end_matches("/metrics").to_owned();
    Serving { running, by: format!("--mailbox {addr} --mailbox-device {id}"), metrics }
}

/// Has the command `sh wake.sh` start the device b, for the device a.
fn starts_b(lab: &Lab, [a, b]: [&str; 2], by: &str) {
    let segue = env!("CARGO_BIN_EXE_segue");
    let receive = format!("receive --state b --listen 127.0.0.1:0 --into out --from {a} --yes --once {by}");
    // It ends by itself should the test not get so far.
    let script = format!(
        "test $SEGUE_DEVICE = {b} && test $SEGUE_BY = {a} || exit 1\n\
         timeout 100 {segue} {receive} --on-wake 'echo $SEGUE_NAME $SEGUE_VIEW in $SEGUE_DIRECTORY > woken' > log 2>&1 &\n"
    );
    std::fs::write(lab.path("wake.sh"), script).unwrap();
}

/// What a device does that runs no more: it was at the service once, with the device a known to it.
fn was_there(lab: &Lab, a: &str, by: &str) {
    lab.run(&format!("sync --state b --from {a} {by}")).exits(0);
}

fn is_woken_and_opens_the_session(option: &str) {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let service = serve(&lab, "sh wake.sh");
    let by = &service.by;
    starts_b(&lab, [&a, &b], by);
    was_there(&lab, &a, by);
    lab.run(&format!("send --state a notes --device {b} --view line-7 {by}{option}"))
        .exits(0)
        .says("handed over session");
    let told = || std::fs::read_to_string(lab.path("woken")).unwrap_or_default();
    wait_for(|| !told().is_empty());
    assert_eq!(told(), format!("notes line-7 in {}\n", lab.path("out/notes").display()));
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert_eq!(metric(&service.metrics, "segue_wakes_total"), 1, "once a handoff");
    assert_eq!(metric(&service.metrics, "segue_wakes_failed_total"), 0);
}

#[test]
fn a_device_on_which_nothing_runs_is_woken_takes_the_session_and_opens_it() {
    is_woken_and_opens_the_session("");
}

#[test]
fn a_device_is_woken_for_one_that_takes_no_part_in_introductions() {
    is_woken_and_opens_the_session(" --no-direct");
}

#[test]
fn a_command_that_fails_is_told_to_the_operator_and_holds_nothing_up() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let service = serve(&lab, "exit 3");
    let by = &service.by;
    was_there(&lab, &a, by);
    let sender = lab.start(&format!("send --state a notes --device {b} {by}"));
    wait_for(|| service.running.said().contains("devices weren't woken (--wake-with)"));
    let log = service.running.said();
    assert!(log.contains(&b) && log.contains("exit status: 3") && log.contains("times=1"), "{log}");
    assert_eq!(metric(&service.metrics, "segue_wakes_failed_total"), 1);
    // Its user starts it by hand, and it gets what waits.
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    sender.end().exits(0).says("handed over session");
    receiver.end().exits(0);
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

#[test]
fn a_device_that_is_there_or_that_never_named_the_other_isnt_woken() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    let service = serve(&lab, "touch woken");
    let by = &service.by;
    // It is a member of the session, and was never at the service.
    lab.run(&format!("send --state a notes --device {b} --timeout 1 {by}")).exits(1);
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    lab.run(&format!("send --state a notes --device {b} {by}")).exits(0);
    receiver.end().exits(0);
    assert_eq!(metric(&service.metrics, "segue_wakes_total"), 0);
    assert!(!lab.path("woken").exists());
}
