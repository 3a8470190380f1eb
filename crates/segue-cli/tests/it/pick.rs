//! Of a session's files some folders come, and the rest stays where it is.

use std::fs;

use crate::mailbox::serve;
use crate::util::*;

/// A directory of letters, photos and a list, of which `b` has sent the session to nobody yet.
fn written(lab: &Lab) {
    for (path, content) in [("letters/first", "Dear all"), ("photos/beach", "sea"), ("list", "to do")] {
        let at = lab.path("trip").join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, content).unwrap();
    }
}

fn read(lab: &Lab, path: &str) -> Option<String> {
    fs::read_to_string(lab.path(path)).ok()
}

#[test]
fn what_is_left_out_is_no_edit_and_comes_when_it_is_asked_for() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    written(&lab);
    let receiver = lab.receive("b", "--into out --yes --once --only letters,.");
    lab.run(&format!("send --state a trip --to {} --device {b}", receiver.addr)).exits(0);
    receiver.end().exits(0);
    assert_eq!(read(&lab, "out/trip/letters/first").as_deref(), Some("Dear all"));
    assert_eq!(read(&lab, "out/trip/list").as_deref(), Some("to do"));
    assert!(!lab.path("out/trip/photos/beach").exists());
    let owned = lab.session("b");
    let [file] = &owned["elsewhere"].as_array().unwrap()[..] else { panic!("{owned:#}") };
    assert_eq!((file["path"].as_str(), file["bytes"].as_u64()), (Some("photos/beach"), Some(3)));
    assert_eq!(file["holders"][0].as_str(), Some(a.as_str()));
    lab.run("owner --state b").exits(0).says("elsewhere \"photos/beach\", 3 bytes").says("not picked here");
    let session = owned["session"].as_str().unwrap().to_owned();

    // What isn't in the directory wasn't removed, and a change of the rest goes back.
    fs::write(lab.path("out/trip/list"), "done").unwrap();
    let owner = lab.receive("b", "--into out --yes");
    lab.run(&format!("pull --state a {session} --from {} --device {b}", owner.addr)).exits(0).says("this device owns");
    owner.interrupt();
    owner.end().exits(0);
    assert_eq!(read(&lab, "trip/photos/beach").as_deref(), Some("sea"));
    assert_eq!(read(&lab, "trip/list").as_deref(), Some("done"));

    // Again to b, which gets the photos once it wants them.
    let owner = lab.receive("a", "--into back --yes");
    let pulled =
        lab.run(&format!("pull --state b {session} --from {} --device {a} --only letters --into out", owner.addr));
    pulled.exits(0).says("stays elsewhere");
    assert!(!lab.path("out/trip/photos/beach").exists());
    lab.run(&format!("pull --state b {session} --from {} --device {a} --into out", owner.addr)).exits(0);
    assert_eq!(read(&lab, "out/trip/photos/beach").as_deref(), Some("sea"));
    assert_eq!(lab.session("b")["elsewhere"].as_array().map(Vec::len), Some(0));
    owner.interrupt();
    owner.end().exits(0);
}

#[test]
fn what_the_sender_leaves_behind_comes_by_the_service_later() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    written(&lab);
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id} --no-direct", service.addr);
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    let sent = lab.run(&format!("send --state a trip --device {b} --only letters,.,films {by}")).exits(0);
    sent.says("1 file of 3 bytes stays here for now, such as \"photos/beach\"")
        .says("--only films: the session has no");
    receiver.end().exits(0);
    assert_eq!(read(&lab, "out/trip/letters/first").as_deref(), Some("Dear all"));
    assert_eq!(read(&lab, "out/trip/list").as_deref(), Some("to do"));
    // It is neither removed nor empty, on either side; the sender puts it once the handoff is over, so it may be here.
    assert!(read(&lab, "out/trip/photos/beach").is_none_or(|beach| beach == "sea"));
    let owned = lab.session("b");
    match &owned["elsewhere"].as_array().unwrap()[..] {
        [] => {}
        [file] => {
            assert_eq!((file["path"].as_str(), file["bytes"].as_u64()), (Some("photos/beach"), Some(3)));
            assert_eq!(file["holders"][0].as_str(), Some(a.as_str()));
        }
        _ => panic!("{owned:#}"),
    }
    assert_eq!(read(&lab, "trip/photos/beach").as_deref(), Some("sea"));
    lab.run(&format!("sync --state a {by}")).exits(0);
    lab.run(&format!("sync --state b --from {a} {by}")).exits(0);
    assert_eq!(lab.session("b")["elsewhere"].as_array().map(Vec::len), Some(0));
}

#[test]
fn folders_are_counted_and_end_where_the_session_stands() {
    let lab = Lab::new();
    let b = lab.id("b");
    let many = (0..65).map(|n| format!("f{n}")).collect::<Vec<_>>().join(",");
    lab.tree("notes", 1, 100);
    let (receive, send) =
        ("receive --state a --listen 127.0.0.1:0 --into out", "send --state a notes --to 127.0.0.1:9");
    let pull = format!("pull --state a x --from 127.0.0.1:9 --device {b}");
    for line in [receive, &format!("{send} --device {b}"), &pull] {
        lab.run(&format!("{line} --only {many}")).exits(2).says("64 folders at most, and these are 65");
    }
    // What stands behind the folders is the session.
    lab.id("a");
    let line = format!("pull --state a --from 127.0.0.1:9 --device {b} --timeout 1 --only photos --only letters,. x");
    lab.run(&line).exits(1).says("127.0.0.1:9");
}

#[test]
fn a_folder_that_cant_be_is_refused_with_what_to_write_instead() {
    let lab = Lab::new();
    let line = "pull --state a x --from 127.0.0.1:9 --device phone --only";
    lab.run(&format!("{line} /photos")).exits(2).says("photos/2024");
    lab.run(&format!("{line} a/../b")).exits(2).says("photos/2024");
}
