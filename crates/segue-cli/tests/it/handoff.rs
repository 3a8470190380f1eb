//! Sending, receiving, pulling, handing back.

use std::fs;

use crate::util::*;

/// A has sent the tree to B, which has written it.
fn moved(lab: &Lab) -> (String, String) {
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 12, 600_000);
    let receiver = lab.receive("b", "--into out --yes --once");
    lab.run(&format!("send --state a notes --to {} --device {b} --view here", receiver.addr))
        .exits(0)
        .says("handed over session");
    receiver.end().exits(0).says("received session");
    (a, b)
}

#[test]
fn a_directory_moves_byte_for_byte_and_a_second_send_names_the_owner() {
    let lab = Lab::new();
    let (_, b) = moved(&lab);
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert_eq!(lab.primaries(&["a", "b"]), 1);
    let (at_a, at_b) = (lab.session("a"), lab.session("b"));
    assert_eq!((&at_a["role"], &at_b["role"]), (&"secondary".into(), &"primary".into()));
    assert_eq!(at_a["chain"], at_b["chain"]);
    assert_eq!(at_b["since"], "0.1");
    assert_eq!(at_b["directory"].as_str(), lab.path("out/notes").to_str());
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 5")).exits(1).says(&b);
    lab.run("owner --state b").exits(0).says("0.1 grant").says(&b);
}

#[test]
fn it_is_handed_back_and_what_was_changed_meanwhile_is_kept_beside() {
    let lab = Lab::new();
    let (a, _) = moved(&lab);
    let (here, there) = (lab.path("notes"), lab.path("out/notes"));
    // At B, which owns it: changed, removed, moved, swapped, new; a directory where a file was, and the other way round.
    fs::write(there.join("d1/file 1"), "changed at b").unwrap();
    fs::remove_file(there.join("d2/file 2")).unwrap();
    fs::remove_file(there.join("d2/file 9")).unwrap();
    fs::remove_dir(there.join("d2")).unwrap();
    fs::rename(there.join("d3/file 3"), there.join("swap")).unwrap();
    fs::rename(there.join("d4/file 4"), there.join("d3/file 3")).unwrap();
    fs::rename(there.join("swap"), there.join("d4/file 4")).unwrap();
    fs::remove_file(there.join("nothing")).unwrap();
    fs::create_dir(there.join("nothing")).unwrap();
    fs::write(there.join("nothing/something"), "new").unwrap();
    fs::remove_dir(there.join("d0/empty")).unwrap();
    fs::write(there.join("d0/empty"), "a file now").unwrap();
    set_executable(&there.join("d5/file 5"));
    // At A, which doesn't.
    fs::write(here.join("d1/file 1"), "changed at a").unwrap();
    fs::write(here.join("d6/file 6"), "changed at a, untouched at b").unwrap();
    fs::write(here.join("mine"), "new at a").unwrap();
    fs::write(here.join("d2/file 9"), "changed at a, removed at b").unwrap();
    // A symbolic link leads out of the directory: nothing is written through it.
    fs::create_dir(lab.path("outside")).unwrap();
    fs::write(lab.path("outside/file 5"), "not a session's").unwrap();
    fs::remove_dir_all(here.join("d5")).unwrap();
    std::os::unix::fs::symlink(lab.path("outside"), here.join("d5")).unwrap();

    let receiver = lab.receive("a", "--into elsewhere --yes --once");
    lab.run(&format!("send --state b out/notes --to {} --device {a}", receiver.addr)).exits(0);
    receiver.end().exits(0).says("kept what you had changed as d1/file 1.segue-copy-");
    assert_eq!(lab.primaries(&["a"]), 1);
    assert_eq!(lab.primaries(&["b"]), 0);

    let copy = |name: &str| here.join(format!("{name}.segue-copy-{}-1", &a[..8]));
    let kept = [
        ("d1/file 1", "changed at a"),
        ("d6/file 6", "changed at a, untouched at b"),
        ("d2/file 9", "changed at a, removed at b"),
    ];
    for (name, content) in kept {
        assert_eq!(fs::read_to_string(copy(name)).unwrap(), content);
        fs::remove_file(copy(name)).unwrap();
    }
    fs::remove_dir(here.join("d2")).unwrap();
    fs::remove_file(copy("d5")).unwrap();
    assert_eq!(fs::read(lab.path("outside/file 5")).unwrap(), b"not a session's");
    assert_eq!(fs::read_dir(lab.path("outside")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(here.join("mine")).unwrap(), "new at a");
    fs::remove_file(here.join("mine")).unwrap();
    assert_same(&here, &there);
}

#[test]
fn a_directory_that_is_empty_all_at_once_is_no_removal_of_what_it_had() {
    let lab = Lab::new();
    let (a, b) = moved(&lab);
    let session = lab.session("b")["session"].as_str().unwrap().to_owned();
    let (there, away) = (lab.path("out/notes"), lab.path("away"));
    fs::rename(&there, &away).unwrap();
    fs::create_dir(&there).unwrap();
    let receiver = lab.receive("a", "--into elsewhere --yes");
    let to = format!("--to {} --device {a}", receiver.addr);
    let send = format!("send --state b out/notes {to}");
    for line in [&send, &format!("handoff --state b --session {session} {to}"), &format!("{send} --dry-run")] {
        let refused = lab.run(line).exits(1).says("out/notes is empty, and had 14 files");
        refused.says("make a directory there");
    }
    assert_eq!(lab.session("b")["role"], "primary");
    assert_same(&lab.path("notes"), &away);
    // The disk is there again.
    fs::remove_dir(&there).unwrap();
    fs::rename(&away, &there).unwrap();
    fs::write(there.join("more"), "more").unwrap();
    lab.run(&send).exits(0);
    receiver.interrupt();
    receiver.end().exits(0);
    assert_same(&lab.path("notes"), &there);
    // Who did remove them all makes something there.
    fs::remove_dir_all(lab.path("notes")).unwrap();
    fs::create_dir_all(lab.path("notes/none")).unwrap();
    let receiver = lab.receive("b", "--into out --yes --once");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(0);
    receiver.end().exits(0);
    assert_eq!(read_tree(&there).into_keys().collect::<Vec<_>>(), ["none"]);
}

#[test]
fn a_directory_that_is_empty_is_no_removal_though_nobody_remembers_what_it_had() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 3_000);
    let send = format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1");
    lab.run(&send).exits(1);
    // As if it had been killed once the files were in the session, and before it wrote down that they are.
    let places = lab.path("a/directories.json");
    let mut places_now: serde_json::Value = serde_json::from_slice(&fs::read(&places).unwrap()).unwrap();
    for place in places_now["sessions"].as_object_mut().unwrap().values_mut() {
        place["applied"] = serde_json::Value::Null;
    }
    fs::write(&places, places_now.to_string()).unwrap();
    fs::remove_dir_all(lab.path("a/known")).unwrap();
    fs::rename(lab.path("notes"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("notes")).unwrap();
    lab.run(&send).exits(1).says("is empty, and had 5 files");
}

#[test]
fn nobody_at_the_terminal_means_no() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 2, 100);
    let receiver = lab.receive("b", "--into out");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(1).says("HO_DECLINED");
    receiver.interrupt();
    receiver.end().exits(0).says("--yes");
    assert_eq!(lab.session("a")["role"], "primary");
    assert!(!lab.path("out/notes").exists());
}

#[test]
fn only_devices_that_are_vouched_for_get_through() {
    let lab = Lab::new();
    let (b, c) = (lab.id("b"), lab.id("c"));
    lab.tree("notes", 2, 100);
    let receiver = lab.receive("b", &format!("--into out --yes --from {c}"));
    let done = lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr));
    done.exits(1).says("--from").says(&lab.id("a"));
    // The device at that address isn't the one that was named.
    lab.run(&format!("send --state a notes --to {} --device {c}", receiver.addr)).exits(1).says("--device");
    assert_eq!(lab.primaries(&["a"]), 1);
}

#[test]
fn a_session_is_pulled_with_what_its_directory_holds_by_then() {
    let lab = Lab::new();
    let (_, b) = moved(&lab);
    let session = lab.session("a")["session"].as_str().unwrap().to_owned();
    let owner = lab.receive("b", "--into out --yes --once");
    // The process that has the state open answers.
    assert_eq!(lab.session("b")["role"], "primary");
    fs::write(lab.path("out/notes/late"), "written while it waits").unwrap();
    // No member of the session: it looks as if there were none.
    let refused = lab.run(&format!("pull --state c {session} --from {} --device {b}", owner.addr));
    refused.exits(1).says("HO_UNKNOWN_SESSION");
    lab.run(&format!("pull --state a {session} --from {} --device {b}", owner.addr)).exits(0).says("this device owns");
    owner.end().exits(0).says("gave session");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    assert!(lab.path("notes/late").exists());
    assert_eq!(lab.primaries(&["a", "b"]), 1);
    assert_eq!(lab.session("a")["role"], "primary");
}

#[test]
fn several_sessions_go_to_one_receiver_each_into_a_directory_of_its_own() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("one/notes", 3, 3_000);
    lab.tree("two/notes", 3, 200_000);
    let mut receiver = lab.receive("b", "--into out --yes");
    for name in ["one/notes", "two/notes"] {
        lab.run(&format!("send --state a {name} --to {} --device {b}", receiver.addr)).exits(0);
        receiver.until("received session");
    }
    receiver.interrupt();
    receiver.end().exits(0);
    let report = lab.owner("b");
    for session in report["sessions"].as_array().unwrap() {
        let directory = session["directory"].as_str().unwrap();
        let same =
            ["one/notes", "two/notes"].iter().any(|from| read_tree(&lab.path(from)) == read_tree(directory.as_ref()));
        assert!(same, "{directory}");
    }
}
