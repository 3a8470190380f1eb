//! A directory that two devices keep together.

use std::collections::BTreeSet;
use std::fs;

use crate::mailbox::{serve, sync};
use crate::util::*;

/// The session that `a` made of its directory `notes` and handed to `b`, which has it in `out/notes`.
fn shared(lab: &Lab) -> (String, String, String) {
    share(lab, &["plan", "list", "gone"])
}

/// The same with these files.
pub(crate) fn share(lab: &Lab, names: &[&str]) -> (String, String, String) {
    let (a, b) = (lab.id("a"), lab.id("b"));
    fs::create_dir_all(lab.path("notes")).unwrap();
    for name in names {
        fs::write(lab.path("notes").join(name), format!("{name} of both\n")).unwrap();
    }
    let receiver = lab.receive("b", "--into out --yes --once");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(0);
    receiver.end().exits(0);
    (a, b, lab.session("a")["session"].as_str().unwrap().to_owned())
}

/// The same, kept together by both: the session, and the processes, which have met.
fn both_run(lab: &Lab) -> (String, Running, Running) {
    let (a, b, session) = shared(lab);
    let owner = lab.receive("b", &format!("--into out --yes --together --from {a}"));
    let other = lab.receive("a", &format!("--into back --yes --together --from {b} --to {}", owner.addr));
    fs::write(lab.path("notes/list"), "both run\n").unwrap();
    wait_for(|| read(lab, "out/notes/list").as_deref() == Some("both run\n"));
    (session, owner, other)
}

/// The roots of both.
fn roots(lab: &Lab) -> [String; 2] {
    ["a", "b"].map(|state| lab.session(state)["root"].as_str().unwrap().to_owned())
}

fn are_equal(lab: &Lab) -> bool {
    read_tree(&lab.path("notes")) == read_tree(&lab.path("out/notes"))
}

fn conflicts(lab: &Lab, state: &str) -> String {
    lab.run(&format!("conflicts --state {state}")).exits(0).out
}

/// Both versions of `plan`, as a device that doesn't run saves them.
fn versions(lab: &Lab, state: &str, session: &str) -> [String; 2] {
    ["1", "2"].map(|number| {
        lab.run(&format!("conflicts --state {state} {session} --of plan --take {number} --save {number}")).exits(0);
        read(lab, number).unwrap()
    })
}

fn end(processes: [Running; 2]) {
    for running in processes {
        running.interrupt();
        running.end().exits(0);
    }
}

fn read(lab: &Lab, path: &str) -> Option<String> {
    fs::read_to_string(lab.path(path)).ok()
}

#[test]
fn what_two_devices_change_apart_is_together_when_they_meet_and_both_versions_of_a_file_are_kept() {
    let lab = Lab::new();
    let (_, b, session) = shared(&lab);
    fs::write(lab.path("notes/plan"), "by a\n").unwrap();
    fs::write(lab.path("out/notes/plan"), "by b\n").unwrap();
    fs::write(lab.path("notes/new of a"), "a\n").unwrap();
    fs::write(lab.path("out/notes/new of b"), "b\n").unwrap();
    fs::write(lab.path("out/notes/list"), "longer\n").unwrap();
    fs::remove_file(lab.path("notes/gone")).unwrap();

    let owner = lab.receive("b", "--into out --yes");
    let other = lab.receive("a", &format!("--into back --yes --together --from {b} --to {}", owner.addr));
    let equal = || are_equal(&lab);
    wait_for(|| read(&lab, "notes/new of b").is_some() && read(&lab, "out/notes/new of a").is_some() && equal());
    assert_eq!((read(&lab, "notes/gone"), read(&lab, "notes/list").as_deref()), (None, Some("longer\n")));
    let shown = read(&lab, "notes/plan").unwrap();
    assert!(["by a\n", "by b\n"].contains(&shown.as_str()), "{shown:?}");

    // The processes answer for the states that they have open.
    for state in ["a", "b"] {
        let listed = lab.run(&format!("conflicts --state {state}")).exits(0).says("\"plan\"").says("by this device");
        assert_eq!(listed.out.lines().count(), 4, "{}", listed.out);
    }
    lab.run(&format!("conflicts --state a {session} --take 3")).exits(1).says("there are 2");
    lab.run(&format!("conflicts --state a {session} --of list --take 1")).exits(1).says("no conflict of \"list\"");
    lab.run(&format!("conflicts --state a {session} --of plan")).exits(2).says("--keep-both");
    lab.run(&format!("conflicts --state a {session} --keep-both")).exits(0).says("a file of its own");
    wait_for(|| read_tree(&lab.path("out/notes")).len() == 5 && equal());
    let plans: Vec<_> =
        read_tree(&lab.path("notes")).into_iter().filter(|(name, _)| name.starts_with("plan")).collect();
    let contents: Vec<_> = plans.iter().filter_map(|(_, held)| held.as_ref().map(|(_, bytes)| bytes.clone())).collect();
    assert!(contents.contains(&b"by a\n".to_vec()) && contents.contains(&b"by b\n".to_vec()), "{plans:?}");
    lab.run("conflicts --state b").exits(0).says("no conflicts");
    end([owner, other]);
}

#[test]
fn what_is_changed_while_both_run_is_seen_on_the_other() {
    let lab = Lab::new();
    let (_, owner, other) = both_run(&lab);
    for version in 0..3 {
        let text = format!("changed by a: {version}\n");
        fs::write(lab.path("notes/plan"), &text).unwrap();
        wait_for(|| read(&lab, "out/notes/plan").as_ref() == Some(&text));
    }
    fs::write(lab.path("out/notes/plan"), "then by b\n").unwrap();
    fs::write(lab.path("out/notes/new of b"), "b\n").unwrap();
    fs::remove_file(lab.path("out/notes/gone")).unwrap();
    let equal = || are_equal(&lab);
    wait_for(|| read(&lab, "notes/new of b").is_some() && equal());
    assert_eq!((read(&lab, "notes/plan").as_deref(), read(&lab, "notes/gone")), (Some("then by b\n"), None));
    // Others change something while a directory can't be read; then it can be.
    let roots = || roots(&lab);
    let before = roots();
    fs::write(lab.path("notes/a:b"), "no name for every system\n").unwrap();
    fs::write(lab.path("out/notes/plan"), "by b, unread\n").unwrap();
    wait_for(|| roots()[0] != before[0] && roots()[0] == roots()[1]);
    fs::remove_file(lab.path("notes/a:b")).unwrap();
    wait_for(|| read(&lab, "notes/plan").as_deref() == Some("by b, unread\n"));
    fs::write(lab.path("notes/list"), "by a\n").unwrap();
    wait_for(|| read(&lab, "out/notes/list").as_deref() == Some("by a\n"));
    lab.run("conflicts --state a").exits(0).says("no conflicts");
    end([owner, other]);
}

/// The directory of one device can't be read for a while.
#[test]
fn what_both_change_before_a_directory_is_read_has_two_versions_and_nothing_is_put_aside() {
    let lab = Lab::new();
    let (session, owner, other) = both_run(&lab);
    let roots = || roots(&lab);
    let before = roots();
    fs::write(lab.path("notes/a:b"), "no name for every system\n").unwrap();
    fs::write(lab.path("out/notes/plan"), "by b\n").unwrap();
    fs::write(lab.path("out/notes/new"), "of b\n").unwrap();
    fs::remove_file(lab.path("out/notes/gone")).unwrap();
    wait_for(|| roots()[0] != before[0] && roots()[0] == roots()[1] && read(&lab, "notes/new").is_none());
    fs::write(lab.path("notes/plan"), "by a\n").unwrap();
    fs::write(lab.path("notes/new"), "of a\n").unwrap();
    fs::write(lab.path("notes/gone"), "kept by a\n").unwrap();
    fs::remove_file(lab.path("notes/a:b")).unwrap();
    let equal = || are_equal(&lab);
    let conflicts = |state: &str| conflicts(&lab, state);
    wait_for(|| ["a", "b"].iter().all(|state| conflicts(state).contains("\"new\"")) && equal());
    for state in ["a", "b"] {
        let listed = conflicts(state);
        assert!(listed.contains("\"plan\"") && !listed.contains("\"gone\""), "{listed}");
    }
    assert_eq!(read(&lab, "out/notes/gone").as_deref(), Some("kept by a\n"));
    // An edit of a file whose other version is this device's own waits for its user, and nothing else waits for it.
    assert_eq!(read(&lab, "out/notes/plan").as_deref(), Some("by a\n"), "the later one is shown");
    fs::write(lab.path("out/notes/plan"), "by b, again\n").unwrap();
    wait_for(|| owner.said().contains("\"plan\", which you changed, has several versions"));
    fs::write(lab.path("notes/list"), "while that waits\n").unwrap();
    wait_for(|| read(&lab, "out/notes/list").as_deref() == Some("while that waits\n"));
    assert_eq!(read(&lab, "out/notes/plan").as_deref(), Some("by b, again\n"));
    fs::write(lab.path("out/notes/plan"), "by a\n").unwrap();
    wait_for(equal);
    let tree = read_tree(&lab.path("notes"));
    assert!(tree.keys().all(|name| !name.contains("segue-copy")), "{tree:?}");
    end([owner, other]);
    assert_eq!(BTreeSet::from(versions(&lab, "a", &session)), ["by a\n".to_owned(), "by b\n".to_owned()].into());
}

/// One makes a file executable, and the other changes its content: that was all that the other had of the first's version.
#[test]
fn a_version_whose_content_was_changed_under_it_comes_again() {
    let lab = Lab::new();
    let (session, owner, other) = both_run(&lab);
    let roots = || roots(&lab);
    let before = roots();
    fs::write(lab.path("out/notes/a:b"), "no name for every system\n").unwrap();
    let executable = |path: &str| {
        let (path, mode) = (lab.path(path), std::os::unix::fs::PermissionsExt::from_mode(0o755));
        fs::set_permissions(path, mode).unwrap();
    };
    executable("notes/plan");
    wait_for(|| roots()[0] != before[0] && roots()[0] == roots()[1]);
    fs::write(lab.path("out/notes/plan"), "by b\n").unwrap();
    fs::remove_file(lab.path("out/notes/a:b")).unwrap();
    let conflicts = |state: &str| conflicts(&lab, state);
    wait_for(|| ["a", "b"].iter().all(|state| conflicts(state).contains("\"plan\"")));
    fs::write(lab.path("notes/list"), "goes on\n").unwrap();
    wait_for(|| read(&lab, "out/notes/list").as_deref() == Some("goes on\n"));
    wait_for(|| are_equal(&lab));
    end([owner, other]);
    assert_eq!(
        BTreeSet::from(versions(&lab, "b", &session)),
        ["plan of both\n".to_owned(), "by b\n".to_owned()].into()
    );
}

#[test]
fn an_edit_that_waits_for_its_user_isnt_left_behind_by_a_handoff() {
    let lab = Lab::new();
    let (a, b, session) = shared(&lab);
    fs::write(lab.path("notes/plan"), "by a\n").unwrap();
    fs::write(lab.path("out/notes/plan"), "by b\n").unwrap();
    // The one that reads its directory later is the one that is shown. Each looks once.
    let (mailbox, id) = serve(&lab, "127.0.0.1:0");
    for (state, from) in [("b", &a), ("a", &b), ("b", &a)] {
        sync(&lab, state, from, (&mailbox, &id));
    }
    assert_eq!(read(&lab, "out/notes/plan").as_deref(), Some("by a\n"));
    fs::write(lab.path("out/notes/plan"), "by b, again\n").unwrap();
    let other = lab.receive("a", &format!("--into back --yes --from {b}"));
    let send = format!("send --state b out/notes --device {a} --to {}", other.addr);
    for _ in 0..2 {
        lab.run(&send).exits(1).says("\"plan\", which you changed, has several versions");
        assert_eq!(read(&lab, "out/notes/plan").as_deref(), Some("by b, again\n"));
    }
    assert_eq!(versions(&lab, "b", &session), ["by a\n", "by b\n"]);
    lab.run(&format!("conflicts --state b {session} --of plan --take 1")).exits(0);
    lab.run(&send).exits(0);
    wait_for(|| read(&lab, "notes/plan").as_deref() == Some("by b, again\n"));
    end([other, mailbox]);
}

#[test]
fn one_version_stands_for_all_and_the_other_is_saved_first() {
    let lab = Lab::new();
    let (_, b, session) = shared(&lab);
    fs::write(lab.path("notes/plan"), "by a\n").unwrap();
    fs::write(lab.path("out/notes/plan"), "by b\n").unwrap();
    let owner = lab.receive("b", "--into out --yes");
    let other = lab.receive("a", &format!("--into back --yes --together --from {b} --to {}", owner.addr));
    let conflicts = |state: &str| lab.run(&format!("conflicts --state {state} --json")).exits(0).out;
    wait_for(|| conflicts("a").contains("plan") && conflicts("b").contains("plan"));
    other.interrupt();
    other.end().exits(0);
    lab.run(&format!("conflicts --state a {session} --take 2 --save lost")).exits(0).says("wrote 5 bytes");
    lab.run(&format!("conflicts --state a {session} --take 2 --save lost")).exits(1).says("can't write");
    let lost = read(&lab, "lost").unwrap();
    lab.run(&format!("conflicts --state a {session} --take 2")).exits(0).says("stands for all");
    let other = lab.receive("a", &format!("--into back --yes --together --from {b} --to {}", owner.addr));
    wait_for(|| ["notes/plan", "out/notes/plan"].iter().all(|path| read(&lab, path).as_ref() == Some(&lost)));
    drop((owner, other));
}

#[test]
fn a_session_that_has_moved_is_refused_before_anything_is_written() {
    let lab = Lab::new();
    let (_, b, _) = shared(&lab);
    let before = lab.session("a")["root"].clone();
    fs::write(lab.path("notes/late"), "too late").unwrap();
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1"))
        .exits(1)
        .says("has moved")
        .says(&b);
    assert_eq!(lab.session("a")["root"], before);
}
