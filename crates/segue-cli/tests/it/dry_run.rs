//! `segue send --dry-run`.

use std::fs;

use crate::util::*;

fn report(done: &Done) -> serde_json::Value {
    serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error} in:\n{}\n{}", done.out, done.err))
}

#[test]
fn it_tells_what_would_move_and_leaves_both_sides_as_they_were() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    let tree = lab.tree("notes", 4, 400_000);
    std::os::unix::fs::symlink("nothing", tree.join("link")).unwrap();
    // A directory that is no session yet.
    let receiver = lab.receive("b", "--into out --yes --once");
    let line = format!("send --state a notes --to {} --device {b}", receiver.addr);
    let first = report(&lab.run(&format!("{line} --dry-run --json")).exits(0));
    assert_eq!((&first["session"], &first["refused"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert_eq!((&first["unsent_files"], &first["generation"]), (&6.into(), &"7".into()), "{first:#}");
    let bytes = first["bytes"].as_u64().unwrap();
    assert!((400_000..402_000).contains(&bytes), "{first:#}");
    assert!(first["at_least_us"].as_u64() >= first["round_trip_us"].as_u64(), "{first:#}");
    assert!(first["stays"][0].as_str().unwrap().contains("symbolic link"), "{first:#}");
    for state in ["a", "b"] {
        assert!(lab.owner(state)["sessions"].as_array().is_some_and(Vec::is_empty));
    }
    assert!(!lab.path("out/notes").exists());
    fs::remove_file(tree.join("link")).unwrap();
    lab.run(&line).exits(0);
    receiver.end().exits(0);

    // At its new owner, with a change that the session doesn't have yet.
    fs::write(lab.path("out/notes/d1/file 1"), "changed").unwrap();
    fs::remove_file(lab.path("out/notes/nothing")).unwrap();
    let before = lab.session("b");
    let receiver = lab.receive("a", "--into elsewhere --yes --once");
    let line = format!("send --state b out/notes --to {} --device {a}", receiver.addr);
    let second = report(&lab.run(&format!("{line} --dry-run --json")).exits(0));
    assert_eq!((&second["unsent_files"], &second["unsent_removed"]), (&1.into(), &1.into()), "{second:#}");
    // A device that was opened anew knows that all but the change came from there.
    let most = second["bytes"].as_u64().unwrap();
    assert!((7..10_000).contains(&most), "{second:#}");
    assert_eq!(second["session"], before["session"]);
    lab.run(&format!("{line} --dry-run")).exits(0).says("moves     at most ").says("asks the other device's user");
    assert_eq!(lab.session("b"), before);
    lab.run(&line).exits(0);
    receiver.end().exits(0);
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

#[test]
fn it_tells_why_it_would_be_refused() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 2, 100);
    // Nothing is made for a question.
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --dry-run"))
        .exits(1)
        .says("there is no device");
    let a = lab.id("a");
    let line = "send --state a notes --to 127.0.0.1:9 --timeout 1 --dry-run --json --device";
    let offline = report(&lab.run(&format!("{line} {b}")).exits(1));
    assert_eq!(offline["refused"]["code"], "HO_TIMEOUT", "{offline:#}");
    assert!(offline["refused"]["text"].as_str().unwrap().contains("offline"), "{offline:#}");
    assert!(offline["at_least_us"].is_null(), "{offline:#}");
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --timeout 1 --dry-run --device {b}"))
        .exits(1)
        .says("takes     not known");
    let own = report(&lab.run(&format!("{line} {a}")).exits(1));
    assert!(own["refused"]["text"].as_str().unwrap().contains("this device"), "{own:#}");
    let receiver = lab.receive("b", "--into out --yes --once");
    lab.run(&format!("send --state a notes --to {} --device {b}", receiver.addr)).exits(0);
    receiver.end().exits(0);
    let moved = report(&lab.run(&format!("{line} {b}")).exits(1));
    assert_eq!(moved["refused"]["code"], "HO_NOT_OWNER", "{moved:#}");
    assert!(moved["refused"]["text"].as_str().unwrap().contains(&b), "{moved:#}");
    lab.run("send --state a notes --to 127.0.0.1:9 --json --device x").exits(2);
}
