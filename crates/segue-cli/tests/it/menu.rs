//! The menu for handing over, as scripts use it.

use crate::mailbox::serve;
use crate::pty::Terminal;
use crate::util::*;

#[test]
fn a_handoff_is_chosen_from_a_list_and_goes_by_the_service() {
    let lab = Lab::new();
    let (a, b, c) = (lab.id("a"), lab.id("b"), lab.id("c"));
    lab.run("handoff --state a --mailbox 127.0.0.1:9 --mailbox-device x").exits(1);
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    lab.tree("more", 3, 3_000);
    lab.run(&format!("send --state a more --to 127.0.0.1:9 --device {c} --timeout 1")).exits(1);
    let list: serde_json::Value =
        serde_json::from_str(&lab.run("handoff --state a --list").exits(0).out).expect("the list is JSON");
    let rows = list["sessions"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let notes = rows.iter().find(|row| row["name"] == "notes").unwrap();
    assert_eq!((&notes["devices"][0]["device"], &notes["devices"][0]["linked"]), (&b.as_str().into(), &false.into()));
    assert!(notes["bytes"].as_u64().unwrap() >= 3_000, "{notes}");
    let types = notes["types"].as_array().unwrap();
    assert!(types.iter().any(|it| it["name"] == "d0" && it["files"] == 1), "{notes}");
    let session = notes["session"].as_str().unwrap();
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let by = format!("--mailbox {} --mailbox-device {id}", service.addr);
    // Nobody is there to be asked which.
    lab.run(&format!("handoff --state a {by}")).exits(2).says("--session");
    let woken = lab.path("woken");
    let mut receive =
        lab.command(&format!("receive --state b --listen 127.0.0.1:0 --into out --from {a} --yes --once {by}"));
    let tells = format!("echo $SEGUE_NAME $SEGUE_VIEW in $SEGUE_DIRECTORY $SEGUE_TOKEN > {}", woken.display());
    receive.args(["--on-wake", &tells]).env("SEGUE_TOKEN", "the-canary-sings");
    let receiver = Running::new(receive.spawn().unwrap(), "receive");
    let line = format!("handoff --state a --session {session} --view line-7 {by}");
    lab.run(&line).exits(2).says("--yes");
    lab.run(&format!("{line} --yes")).exits(0).says("handed over session");
    receiver.end().exits(0);
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    let told = || std::fs::read_to_string(&woken).unwrap_or_default();
    wait_for(|| !told().is_empty());
    assert_eq!(told(), format!("notes line-7 in {}\n", lab.path("out/notes").display()));
}

#[test]
fn who_hands_over_is_shown_what_goes_to_whom_and_agrees_first() {
    let lab = Lab::new();
    let b = lab.id("b");
    std::fs::create_dir(lab.path("notes")).unwrap();
    std::fs::write(lab.path("notes/plan"), "a plan").unwrap();
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let receiver = lab.receive("b", "--into out --yes --once");
    let line = format!("handoff --state a --to {}", receiver.addr);
    let answered = |answer: &str| {
        let mut menu = Terminal::start(lab.command(&line));
        let screen = menu.until("the question", |screen| screen.contains("Hand it over?"));
        assert!(screen.contains("session \"notes\"") && screen.contains("1 file, 6 bytes"), "{screen}");
        assert!(screen.contains(&format!("goes to unnamed ({b})")), "{screen}");
        menu.types(answer);
        menu.end().code()
    };
    assert_eq!(answered("\r"), Some(1));
    assert_eq!(lab.session("a")["role"], "primary");
    assert_eq!(answered("y\r"), Some(0));
    receiver.end().exits(0).says("received session");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

#[test]
fn a_session_whose_directory_is_gone_is_told_and_not_offered() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.id("a");
    lab.run("handoff --state a --to 127.0.0.1:9").exits(1).says("segue send --state").says("begins one");
    for name in ["notes", "more"] {
        lab.tree(name, 3, 3_000);
        lab.run(&format!("send --state a {name} --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    }
    std::fs::rename(lab.path("more"), lab.path("elsewhere")).unwrap();
    let list = lab.run("handoff --state a --list").exits(0).says("\"more\" is left out").out;
    let list: serde_json::Value = serde_json::from_str(&list).expect("the list is JSON");
    let names: Vec<_> = list["sessions"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["notes"]);
    std::fs::remove_dir_all(lab.path("notes")).unwrap();
    lab.run("handoff --state a --to 127.0.0.1:9").exits(1).says("\"notes\" is left out").says("has no directory");
}

#[test]
fn the_menu_says_who_is_online_at_the_service_and_when_others_were() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 1, 100);
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let addr = service.addr.clone();
    let device = || {
        let list = lab.run(&format!("handoff --state a --list --mailbox {addr} --mailbox-device {id}")).exits(0);
        let list: serde_json::Value = serde_json::from_str(&list.out).expect("the list is JSON");
        list["sessions"][0]["devices"][0].clone()
    };
    let presence = || device()["presence"].clone();
    let never = device();
    assert!(never["presence"].is_null() && never["abilities"].is_null(), "the service has never met it: {never}");
    let receive = "receive --state b --listen 127.0.0.1:0 --into out";
    let receiver = lab.start(&format!("{receive} --from {a} --mailbox {addr} --mailbox-device {id}"));
    let online = serde_json::json!({ "online": true, "generation": "7", "ago_ms": 0 });
    wait_for(|| presence() == online);
    let able = ["sync", "requests", "resuming", "consent", "choice", "service"];
    assert_eq!(device()["abilities"], serde_json::json!(able), "what generation 7 is able to do");
    receiver.interrupt();
    receiver.end().exits(0);
    wait_for(|| presence()["online"] == false);
    assert!(device()["abilities"].is_null(), "its next link may be of another generation");
    service.interrupt();
    service.end().exits(0);
    let (_service, _) = serve(&lab, &addr);
    let ago = presence()["ago_ms"].as_u64().expect("the service remembers it over its own restart");
    assert!((1..60_000).contains(&ago), "{ago} ms");
}
