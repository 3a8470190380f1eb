//! A mailbox as a process, and devices that are never online together.

use std::fs;
use std::time::{Duration, Instant};

use crate::pty::Relay;
use crate::together::share;
use crate::util::*;

/// Starts a mailbox, and waits until it listens; its device id.
pub(crate) fn serve(lab: &Lab, addr: &str) -> (Running, String) {
    let mut running = lab.start(&format!("serve --state box --listen {addr}"));
    running.addr = running.until("listening on ").split_off("listening on ".len());
    let id = running.until("device ").split_off("device ".len());
    (running, id)
}

/// Exchanges everything of a device with the mailbox; the roots of its sessions.
pub(crate) fn sync(lab: &Lab, state: &str, from: &str, (mailbox, id): (&Running, &str)) -> Vec<String> {
    let at = &mailbox.addr;
    let done = lab.run(&format!("sync --state {state} --mailbox {at} --mailbox-device {id} --from {from}")).exits(0);
    done.out.lines().filter(|line| line.starts_with("session ")).map(str::to_owned).collect()
}

/// Makes a session on a device: nobody is there to hand it to.
fn session(lab: &Lab, state: &str, name: &str, view: &str, other: &str) {
    let send = format!("send --state {state} {name} --to 127.0.0.1:9 --device {other} --timeout 1 --view {view}");
    lab.run(&send).exits(1);
}

/// Whether these bytes stand in any file of a directory.
fn finds(lab: &Lab, dir: &str, canary: &[u8]) -> bool {
    let files = read_tree(&lab.path(dir)).into_values().flatten();
    files.into_iter().any(|(_, bytes)| bytes.windows(canary.len()).any(|found| found == canary))
}

#[test]
fn two_devices_that_are_never_online_together_converge_though_the_mailbox_is_killed() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    session(&lab, "a", "notes", "the-canary-sings", &b);
    let (mut mailbox, id) = serve(&lab, "127.0.0.1:0");
    let at_a = sync(&lab, "a", &b, (&mailbox, &id));
    mailbox.kill();
    let addr = mailbox.addr.clone();
    let (mut mailbox, same) = serve(&lab, &addr);
    assert_eq!(id, same);
    let at_b = sync(&lab, "b", &a, (&mailbox, &id));
    assert_eq!(at_a, at_b);
    assert_eq!(at_b.len(), 1);
    // The other way, and by now both know the key.
    fs::create_dir(lab.path("more")).unwrap();
    fs::write(lab.path("more/a file"), "x").unwrap();
    session(&lab, "b", "more", "there", &a);
    let at_b = sync(&lab, "b", &a, (&mailbox, &id));
    mailbox.kill();
    let (mailbox, _) = serve(&lab, &addr);
    let at_a = sync(&lab, "a", &b, (&mailbox, &id));
    assert_eq!(at_a, at_b);
    assert_eq!(at_a.len(), 2);
    // Its memory holds who was there, and nothing of what they said.
    #[cfg(target_os = "linux")]
    {
        let memory = mailbox.memory();
        let finds = |what: &[u8]| memory.iter().any(|it| it.windows(what.len()).any(|found| found == what));
        assert!(finds(&blake3::Hash::from_hex(&a).unwrap().as_bytes()[..]));
        assert!(!finds(b"the-canary-sings"));
    }
    mailbox.interrupt();
    mailbox.end().exits(0);
    assert!(finds(&lab, "a", b"the-canary-sings") && finds(&lab, "b", b"the-canary-sings"));
    assert!(!finds(&lab, "box", b"the-canary-sings"));
    // The files came with their content, which the mailbox can't read either.
    let files = read_tree(&lab.path("notes")).into_values().flatten();
    for (_, content) in files.filter(|(_, content)| content.len() > 16) {
        assert!(finds(&lab, "b", &content) && !finds(&lab, "box", &content), "{} bytes", content.len());
    }
}

/// What stands in a log of bytes: as they are, and in the ways in which they are written there.
fn is_told(log: &str, bytes: &[u8]) -> bool {
    let each = |form: fn(&u8) -> String, between: &str| bytes.iter().map(form).collect::<Vec<_>>().join(between);
    let hex = each(|byte| format!("{byte:02x}"), "");
    let forms = [
        String::from_utf8_lossy(bytes).into_owned(),
        hex.to_uppercase(),
        each(ToString::to_string, ", "),
        each(|byte| format!("{byte:#x}"), ", "),
        hex,
    ];
    forms.iter().any(|form| log.contains(form.as_str()))
}

#[test]
fn a_log_is_searched_for_bytes_however_it_writes_them() {
    let canary = b"the canary";
    for log in [
        format!("TRACE got {:?}", String::from_utf8_lossy(canary)),
        format!("TRACE got {canary:?}"),
        format!("TRACE got {canary:x?}").replace("[", "").replace(", ", ""),
        format!("TRACE got {canary:#x?}").replace(['\n', ' '], "").replace(',', ", "),
    ] {
        assert!(is_told(&log, canary), "{log}");
    }
    assert!(!is_told("TRACE got nothing", canary));
}

#[test]
fn the_log_of_a_service_tells_all_that_it_does_and_nothing_of_what_is_said() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    let canary = "thecanarysings";
    fs::create_dir_all(lab.path("notes").join(canary)).unwrap();
    fs::write(lab.path("notes").join(canary).join(format!("{canary}.txt")), canary.repeat(20_000)).unwrap();
    let mut service = lab.command("serve --state box --listen 127.0.0.1:0");
    let mut service = Running::new(service.env("SEGUE_LOG", "trace").spawn().unwrap(), "serve");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    // By letters, by a handoff that it signs, and back.
    let by = format!("--mailbox {addr} --mailbox-device {id} --no-direct");
    let receiver = lab.receive("b", &format!("--into out --from {a} --yes --once {by}"));
    let send = format!("send --state a notes --name {canary} --device {b} --view {canary} {by}");
    lab.run(&send).exits(0).says("by way of the service");
    receiver.end().exits(0).says("received session");
    assert_same(&lab.path("notes"), &lab.path("out").join(canary));
    for (state, from) in [("b", &a), ("a", &b)] {
        lab.run(&format!("sync --state {state} --from {from} --mailbox {addr} --mailbox-device {id}")).exits(0);
    }
    service.interrupt();
    let done = service.end().exits(0);
    let log = done.out + &done.err;
    assert!(finds(&lab, "a", canary.as_bytes()) && finds(&lab, "b", canary.as_bytes()));
    assert!(log.contains("TRACE") && is_told(&log, &blake3::Hash::from_hex(&a).unwrap().as_bytes()[..]), "{log}");
    assert!(!is_told(&log, canary.as_bytes()));
}

#[test]
fn what_a_sync_brought_gets_a_directory_once_it_is_kept_together() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    session(&lab, "a", "notes", "here", &b);
    let (mailbox, id) = serve(&lab, "127.0.0.1:0");
    sync(&lab, "a", &b, (&mailbox, &id));
    sync(&lab, "b", &a, (&mailbox, &id));
    let by = format!("--mailbox {} --mailbox-device {id}", mailbox.addr);
    let _receiver = lab.receive("b", &format!("--into out --yes --together --from {a} {by}"));
    wait_for(|| lab.path("out/notes/run.sh").exists());
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
}

#[test]
fn directories_of_devices_that_are_never_online_together_come_to_hold_the_same() {
    let lab = Lab::new();
    let (a, b, session) = share(&lab, &["both", "gone", "kept"]);

    for (at, by) in [("notes", "a"), ("out/notes", "b")] {
        for name in ["both", &format!("new of {by}")] {
            fs::write(lab.path(at).join(name), format!("by {by}\n")).unwrap();
        }
    }
    fs::remove_file(lab.path("notes/gone")).unwrap();
    let (mailbox, id) = serve(&lab, "127.0.0.1:0");
    let at_a = sync(&lab, "a", &b, (&mailbox, &id));
    assert_ne!(sync(&lab, "b", &a, (&mailbox, &id)), at_a);
    sync(&lab, "a", &b, (&mailbox, &id));
    assert_eq!(read_tree(&lab.path("notes")), read_tree(&lab.path("out/notes")));
    let names: Vec<_> = read_tree(&lab.path("notes")).into_keys().collect();
    assert_eq!(names, ["both", "kept", "new of a", "new of b"]);
    // What both changed has two versions, of which one is shown.
    for state in ["a", "b"] {
        let listed = lab.run(&format!("conflicts --state {state}")).exits(0).says("\"both\"").says("by this device");
        assert_eq!(listed.out.lines().count(), 4, "{}", listed.out);
    }
    lab.run(&format!("conflicts --state a {session} --keep-both")).exits(0);
    sync(&lab, "a", &b, (&mailbox, &id));

    // A directory that is empty all at once: as if its disk weren't there.
    fs::rename(lab.path("notes"), lab.path("elsewhere")).unwrap();
    fs::create_dir(lab.path("notes")).unwrap();
    let at = &mailbox.addr;
    let to = format!("sync --state a --mailbox {at} --mailbox-device {id} --from {b}");
    lab.run(&to).exits(0).says("is empty, and had 5 files");
    sync(&lab, "b", &a, (&mailbox, &id));
    assert_eq!(read_tree(&lab.path("out/notes")), read_tree(&lab.path("elsewhere")));
    fs::write(lab.path("notes/only"), "by a\n").unwrap();
    sync(&lab, "a", &b, (&mailbox, &id));
    sync(&lab, "b", &a, (&mailbox, &id));
    assert_eq!(read_tree(&lab.path("out/notes")).into_keys().collect::<Vec<_>>(), ["only"]);
    mailbox.interrupt();
    mailbox.end().exits(0);
}

#[test]
fn what_is_written_though_something_else_is_refused_is_no_change_of_others() {
    let lab = Lab::new();
    let (a, b, session) = share(&lab, &["list", "plan", "zoo"]);
    fs::write(lab.path("notes/plan"), "by a\n").unwrap();
    fs::write(lab.path("out/notes/plan"), "by b\n").unwrap();
    let (mailbox, id) = serve(&lab, "127.0.0.1:0");
    let both = || {
        for (state, from) in [("a", &b), ("b", &a), ("a", &b)] {
            sync(&lab, state, from, (&mailbox, &id));
        }
        ["list", "plan", "zoo"].map(|name| fs::read_to_string(lab.path("out/notes").join(name)).unwrap())
    };
    both();
    // The plan has two versions now, so what the user makes of it isn't taken; what else is changed is, again and again.
    for version in ["1\n", "2\n", "3\n"] {
        for name in ["list", "plan", "zoo"] {
            fs::write(lab.path("notes").join(name), version).unwrap();
        }
        let [list, plan, zoo] = both();
        assert_eq!([list.as_str(), zoo.as_str()], [version; 2]);
        assert!(plan.starts_with("by "), "{plan}");
        assert_eq!(fs::read_to_string(lab.path("notes/plan")).unwrap(), version);
    }
    // That a file can be run goes along, and stays.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        lab.run(&format!("conflicts --state b {session} --take 1")).exits(0);
        fs::write(lab.path("notes/plan"), fs::read(lab.path("out/notes/plan")).unwrap()).unwrap();
        fs::set_permissions(lab.path("notes/zoo"), fs::Permissions::from_mode(0o755)).unwrap();
        both();
        let runs = |path: &str| lab.path(path).metadata().unwrap().permissions().mode() & 0o100 != 0;
        assert!(runs("out/notes/zoo") && runs("notes/zoo") && !runs("out/notes/list"));
        let roots = || [("a", &b), ("b", &a)].map(|(state, from)| sync(&lab, state, from, (&mailbox, &id)));
        let [at_a, at_b] = roots();
        assert_eq!((&at_a, roots()), (&at_b, [at_a.clone(), at_b.clone()]));
    }
    mailbox.interrupt();
    mailbox.end().exits(0);
}

#[test]
fn a_sync_goes_on_for_as_long_as_something_moves() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    fs::create_dir(lab.path("notes")).unwrap();
    fs::write(lab.path("notes/film"), noise(6_000_000, 1)).unwrap();
    session(&lab, "a", "notes", "here", &b);
    let (mailbox, id) = serve(&lab, "127.0.0.1:0");
    let network = Relay::slow(mailbox.addr.parse().unwrap(), 1_000_000);
    let patience = Duration::from_secs(3);
    for (state, from) in [("a", &b), ("b", &a)] {
        let began = Instant::now();
        let at = format!("--mailbox {} --mailbox-device {id} --from {from} --timeout 3", network.addr);
        lab.run(&format!("sync --state {state} {at}")).exits(0).says("exchanged 1 session with");
        assert!(began.elapsed() > patience, "{state} was done in {:?}", began.elapsed());
    }
}

/// A mailbox that was put back from a backup since device `a` put something there; its device id.
fn put_back(lab: &Lab) -> (Running, String) {
    let (_, b) = (lab.id("a"), lab.id("b"));
    lab.tree("notes", 3, 3_000);
    session(lab, "a", "notes", "here", &b);
    let (mailbox, id) = serve(lab, "127.0.0.1:0");
    let addr = mailbox.addr.clone();
    let exchange = |mailbox: &Running| sync(lab, "a", &b, (mailbox, &id));
    let end = |mailbox: Running| {
        mailbox.interrupt();
        mailbox.end().exits(0);
    };
    exchange(&mailbox);
    end(mailbox);
    let copy = |from: &str, to: &str| {
        for (name, entry) in read_tree(&lab.path(from)) {
            let at = lab.path(to).join(name);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            entry.into_iter().for_each(|(_, bytes)| fs::write(&at, bytes).unwrap());
        }
    };
    copy("box", "backup");
    let (mailbox, _) = serve(lab, &addr);
    fs::write(lab.path("notes/more"), "more").unwrap();
    exchange(&mailbox);
    end(mailbox);
    fs::remove_dir_all(lab.path("box")).unwrap();
    copy("backup", "box");
    (serve(lab, &addr).0, id)
}

#[test]
fn a_mailbox_that_was_put_back_is_told_by_whoever_uses_it() {
    let lab = Lab::new();
    let (mailbox, id) = put_back(&lab);
    let receiver = lab.receive("a", &format!("--into out --yes --mailbox {} --mailbox-device {id}", mailbox.addr));
    wait_for(|| receiver.said().contains("SERVICE_LOST"));
    receiver.interrupt();
    let told = receiver.end().exits(0).err;
    assert_eq!(told.matches("SERVICE_LOST").count(), 1, "{told}");
    assert!(told.contains(&format!("mailbox {id} holds less than it did")), "{told}");
}

#[test]
fn a_mailbox_that_was_put_back_is_told_of_by_whatever_command_uses_it_next() {
    for command in ["login --state a", "delegate --state a SESSION", "handoff --state a --list"] {
        let lab = Lab::new();
        let (mailbox, id) = put_back(&lab);
        let session = lab.session("a")["session"].as_str().unwrap().to_owned();
        let line = format!("{command} --mailbox {} --mailbox-device {id}", mailbox.addr).replace("SESSION", &session);
        // It may be done before it has looked into its boxes; then the next one finds it.
        wait_for(|| {
            let told = lab.run(&line).err;
            assert!(told.matches("SERVICE_LOST").count() <= 1, "{command}: {told}");
            told.contains(&format!("mailbox {id} holds less than it did"))
        });
        assert!(!lab.run(&line).err.contains("SERVICE_LOST"), "{command}");
    }
}

#[test]
fn a_mailbox_without_room_is_told_of_once() {
    let lab = Lab::new();
    let b = lab.id("b");
    lab.tree("notes", 3, 600_000);
    session(&lab, "a", "notes", "here", &b);
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --space 100000");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let receiver = lab.receive("a", &format!("--into out --yes --mailbox {addr} --mailbox-device {id} --from {b}"));
    let told = format!("mailbox {id} has no room for all that this device puts (LIMIT_QUOTA)");
    wait_for(|| receiver.said().contains(&told));
    receiver.interrupt();
    let said = receiver.end().exits(0).err;
    assert_eq!(said.matches(&told).count(), 1, "{said}");
}

#[test]
fn another_device_at_the_mailboxs_address_is_told_at_once() {
    let lab = Lab::new();
    let (_, b) = (lab.id("a"), lab.id("b"));
    let (mailbox, _) = serve(&lab, "127.0.0.1:0");
    for command in ["sync", "login"] {
        let line = format!("{command} --state a --mailbox {} --mailbox-device {b} --timeout 20", mailbox.addr);
        let told = lab.run(&line).exits(1).says(&format!("another device than {b} answers at {}", mailbox.addr));
        assert!(!told.err.contains("Local:"), "{}", told.err);
    }
}

#[test]
fn a_mailbox_for_some_refuses_others() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    let mut mailbox = lab.start(&format!("serve --state box --listen 127.0.0.1:0 --only {a}"));
    let addr = mailbox.until("listening on ").split_off("listening on ".len());
    let id = mailbox.until("device ").split_off("device ".len());
    let sync =
        |state: &str| lab.run(&format!("sync --state {state} --mailbox {addr} --mailbox-device {id} --timeout 2"));
    sync("a").exits(0).says("exchanged 0 sessions");
    sync("b").exits(1).says("the same command goes on");
    assert!(b != a);
}

#[test]
fn a_device_that_hosts_no_mailbox_says_so() {
    let lab = Lab::new();
    let id = lab.id("b");
    let receiver = lab.receive("b", "--into out");
    lab.id("a");
    let addr = &receiver.addr;
    lab.run(&format!("sync --state a --mailbox {addr} --mailbox-device {id} --timeout 2"))
        .exits(1)
        .says("hosts no mailbox");
    lab.run(&format!("sync --state a --mailbox {addr}")).exits(2);
    lab.run(&format!("sync --state a --mailbox 127.0.0.1:9 --mailbox-device {id} --timeout 1"))
        .exits(1)
        .says("wasn't reached")
        .says("127.0.0.1:9");
    lab.run("serve --state a").exits(2);
}

#[test]
fn a_sync_that_puts_less_than_all_names_what_is_left_and_fails() {
    let lab = Lab::new();
    let b = lab.id("b");
    fs::create_dir_all(lab.path("notes/media")).unwrap();
    fs::write(lab.path("notes/media/m.bin"), noise(8_000_000, 1)).unwrap();
    session(&lab, "a", "notes", "here", &b);
    let mut service = lab.start("serve --state box --listen 127.0.0.1:0 --device-space 5000000");
    let addr = service.until("listening on ").split_off("listening on ".len());
    let id = service.until("device ").split_off("device ".len());
    let left = lab.run(&format!("sync --state a --mailbox {addr} --mailbox-device {id}"));
    left.exits(1).says("\"notes\": 1 file of 8000000 bytes wasn't put there").says("\"media/m.bin\"");
}

#[test]
fn a_receiver_says_once_that_its_mailbox_cant_be_reached_and_that_it_is_there_again() {
    let lab = Lab::new();
    let (mut service, id) = serve(&lab, "127.0.0.1:0");
    let addr = service.addr.clone();
    let receiver = lab.receive("b", &format!("--into out --yes --mailbox {addr} --mailbox-device {id}"));
    wait_for(|| lab.run(&format!("sync --state c --mailbox {addr} --mailbox-device {id}")).code == Some(0));
    service.kill();
    let told = |what: &str| receiver.said().matches(what).count();
    let lost = format!("no link with mailbox {id} at {addr}");
    wait_for(|| told(&lost) > 0);
    let (mut service, _) = serve(&lab, &addr);
    let again = format!("linked with mailbox {id} again");
    wait_for(|| told(&again) > 0);
    service.kill();
    wait_for(|| told(&lost) > 1);
    assert_eq!((told(&lost), told(&again)), (2, 1), "{}", receiver.said());
}
