//! Linking, listing, revoking; names from the roster.

use crate::util::*;

/// The invitation that a new device prints: the line behind the picture.
#[track_caller]
fn invitation(new: &mut Running) -> String {
    new.until("SEGUE:")
}

/// Starts a device that invites.
pub(crate) fn invites(lab: &Lab, state: &str, rest: &str) -> (Running, String) {
    let mut new = lab.start(&format!("link --state {state} --name {state} --listen 127.0.0.1:0 {rest}"));
    let text = invitation(&mut new);
    (new, text)
}

#[track_caller]
fn check_code(out: &str) -> String {
    let line = out.lines().find(|line| line.starts_with("check code ")).unwrap_or_else(|| panic!("no code in {out}"));
    line.to_owned()
}

/// `by` links the new device `state`.
pub(crate) fn link(lab: &Lab, by: &str, state: &str) {
    let (new, text) = invites(lab, state, "--yes");
    let done = lab.run(&format!("link --state {by} --name {by} --paste {text} --yes")).exits(0);
    let there = new.end().exits(0).says("linked with");
    assert_eq!(check_code(&done.out), check_code(&there.out));
}

#[test]
fn a_picture_links_two_devices_which_show_the_same_code() {
    let lab = Lab::new();
    let (new, _) = invites(&lab, "phone", "--png invite.png --yes");
    let done = lab.run("link --state laptop --name laptop --scan invite.png --yes").exits(0).says("started account");
    let there = new.end().exits(0);
    assert_eq!(check_code(&done.out), check_code(&there.out));
    let (laptop, phone) = (lab.id("laptop"), lab.id("phone"));
    for state in ["laptop", "phone"] {
        let listed = lab.run(&format!("devices --state {state}")).exits(0);
        let listed = listed.says(&laptop).says(&phone).says("\"phone\"").says("linked by \"laptop\"");
        assert!(listed.out.lines().any(|line| line.contains("the first") && line.contains(&laptop)), "{}", listed.out);
    }
}

#[test]
fn a_name_that_turns_the_text_around_it_is_refused_as_such() {
    let lab = Lab::new();
    let line = "link --state phone --name a\u{202e}b --listen 127.0.0.1:0";
    lab.run(line).exits(1).says("direction of the text").says("leave that out");
    lab.run(&line.replace('\u{202e}', &"b".repeat(63))).exits(1).says("larger than its limit");
}

#[test]
fn nobody_at_the_terminal_confirms_nothing() {
    let lab = Lab::new();
    let (new, text) = invites(&lab, "phone", "--yes");
    let done = lab.run(&format!("link --state laptop --paste {text}")).exits(1).says("LINK_DECLINED");
    assert!(done.out.contains("check code"));
    new.end().exits(1).says("not linked").says("said no");
    lab.run("devices --state phone").exits(1).says("no account");
}

#[test]
fn an_invitation_is_used_once() {
    let lab = Lab::new();
    let (new, text) = invites(&lab, "phone", "--yes");
    lab.run(&format!("link --state laptop --paste {text} --yes")).exits(0);
    new.end().exits(0);
    // The phone listens no more; while another invitation lives, the old one isn't taken either.
    let (mut tablet, other) = invites(&lab, "tablet", "--yes");
    lab.run(&format!("link --state thief --paste {}", &text[..text.len() - 1])).exits(1).says("incomplete");
    lab.run("link --state thief --paste hello").exits(1).says("SEGUE:");
    lab.run(&format!("link --state tablet2 --paste {other} --yes")).exits(0);
    assert!(tablet.ends_within(LONG));
    lab.run("link --state phone --listen 127.0.0.1:0").exits(1).says("--scan");
}

#[test]
fn names_from_the_roster_stand_for_ids() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    lab.tree("notes", 3, 3_000);
    // The receiver takes offers from the account's device by its name alone, and from nobody else.
    let receiver = lab.receive("phone", "--into out --yes --once --from laptop");
    lab.run(&format!("send --state laptop notes --to {} --device fone", receiver.addr)).exits(1).says("\"phone\"");
    lab.run(&format!("send --state laptop notes --to {} --device phone", receiver.addr)).exits(0);
    receiver.end().exits(0).says("received session");
    assert_same(&lab.path("notes"), &lab.path("out/notes"));
    let session = lab.session("laptop")["session"].as_str().unwrap().to_owned();
    let receiver = lab.receive("phone", "--into out --yes --once");
    lab.run(&format!("pull --state laptop {session} --from {} --device phone", receiver.addr)).exits(0);
    receiver.end().exits(0);
    assert_eq!(lab.primaries(&["laptop", "phone"]), 1);
    lab.run("send --state alone notes --to 127.0.0.1:9 --device phone").exits(1).says("no account");
    lab.run("receive --state laptop --listen 127.0.0.1:0 --into out --from nobody").exits(1).says("nobody");
}

/// The laptop makes a session of a tree and hands it to the phone, which writes it to `out`.
fn hand_notes_to_the_phone(lab: &Lab) {
    lab.tree("notes", 3, 3_000);
    let phone = lab.receive("phone", "--into out --yes --once");
    lab.run(&format!("send --state laptop notes --to {} --device phone", phone.addr)).exits(0);
    phone.end().exits(0);
}

#[test]
fn a_session_begun_after_the_devices_met_comes_to_all_and_is_pulled_by_its_name() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    link(&lab, "phone", "tablet");
    let phone = lab.receive("phone", "--into out --yes");
    let tablet = lab.receive("tablet", &format!("--into tab --yes --together --from phone --to {}", phone.addr));
    // The laptop hands the phone a session that the tablet has never heard of.
    lab.tree("notes", 3, 3_000);
    lab.run(&format!("send --state laptop notes --to {} --device phone", phone.addr)).exits(0);
    let came = || lab.path("tab/notes").is_dir() && read_tree(&lab.path("tab/notes")) == read_tree(&lab.path("notes"));
    wait_for(came);
    tablet.interrupt();
    tablet.end().exits(0);
    lab.run(&format!("pull --state laptop other --from {} --device phone --timeout 2", phone.addr))
        .exits(1)
        .says("didn't tell of a session \"other\"");
    lab.run(&format!("pull --state tablet notes --from {} --device phone", phone.addr)).exits(0).says("owns session");
    assert_eq!(lab.primaries(&["tablet", "laptop"]), 1);
    phone.interrupt();
    phone.end().exits(0);
}

#[test]
fn a_device_that_was_told_of_a_session_as_it_linked_pulls_it_by_its_name() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    hand_notes_to_the_phone(&lab);
    link(&lab, "phone", "tablet");
    let phone = lab.receive("phone", "--into out --yes --once");
    lab.run(&format!("pull --state tablet notes --from {} --device phone --into tab", phone.addr)).exits(0);
    phone.end().exits(0);
    assert_same(&lab.path("notes"), &lab.path("tab/notes"));
}

#[test]
fn a_name_that_two_devices_bear_lists_both() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    let mut new = lab.start("link --state other --name phone --listen 127.0.0.1:0 --yes");
    let text = invitation(&mut new);
    lab.run(&format!("link --state laptop --paste {text} --yes")).exits(0);
    new.end().exits(0);
    let (one, two) = (lab.id("phone"), lab.id("other"));
    lab.run("revoke --state laptop phone").exits(1).says(&one).says(&two);
    lab.run(&format!("revoke --state laptop {two}")).exits(0).says(&two);
    lab.run("devices --state laptop").exits(0).says("revoked").says(&two);
    lab.run(&format!("revoke --state laptop {two}")).exits(1).says("never returns");
}

#[test]
fn a_revoked_device_is_shut_out_and_its_sessions_come_home() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    link(&lab, "laptop", "tablet");
    hand_notes_to_the_phone(&lab);
    assert_eq!(lab.session("laptop")["role"], "secondary");
    let phone = lab.id("phone");
    lab.run("revoke --state laptop phone").exits(0).says(&phone);
    assert_eq!(lab.session("laptop")["role"], "primary");
    // It is refused by the device that revoked it, and by the one that hears of it.
    let session = lab.session("laptop")["session"].as_str().unwrap().to_owned();
    let owner = lab.receive("laptop", "--into back --yes");
    let back = format!("send --state phone out/notes --timeout 5 --to {}", owner.addr);
    lab.run(&format!("{back} --device laptop")).exits(1).says("AUTH_FAILED");
    // While the receiver has the state open, it answers.
    lab.run("devices --state laptop").exits(0).says("revoked");
    lab.run(&format!("pull --state tablet {session} --from {} --device laptop", owner.addr)).exits(0);
    lab.run("devices --state tablet").exits(0).says("revoked").says(&phone);
    owner.interrupt();
    owner.end().exits(0);
}

#[test]
fn a_receiver_that_runs_revokes_when_asked() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    let receiver = lab.receive("laptop", "--into out --yes");
    lab.run("revoke --state laptop phone").exits(0).says("revoked phone");
    lab.run("revoke --state laptop phone").exits(1).says("was revoked");
    receiver.interrupt();
    receiver.end().exits(0);
}

#[test]
fn a_device_that_is_revoked_while_it_runs_says_so() {
    let lab = Lab::new();
    link(&lab, "laptop", "phone");
    link(&lab, "laptop", "tablet");
    let laptop = lab.receive("laptop", "--into out --yes");
    let phone = lab.receive("phone", &format!("--into po --yes --from laptop --to {}", laptop.addr));
    // It has a link once it has heard of another's end.
    lab.run("revoke --state laptop tablet").exits(0);
    wait_for(|| phone.said().contains("revoked device"));
    assert!(!phone.said().contains("this device was revoked"));
    lab.run("revoke --state laptop phone").exits(0);
    wait_for(|| phone.said().contains("this device was revoked"));
    for running in [phone, laptop] {
        running.interrupt();
        running.end().exits(0);
    }
}
