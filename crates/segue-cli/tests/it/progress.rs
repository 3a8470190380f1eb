//! Bars of content that goes by a service, as users see them at a terminal.

use crate::mailbox::serve;
use crate::pty::{Relay, Terminal};
use crate::util::*;

const FILM: usize = 6_000_000;
/// The bytes a second that the way to the service takes.
const RATE: u32 = 3_000_000;

/// How much of how much each bar with this verb showed, in bytes, as far as two decimals tell.
fn bars(text: &str, verb: &str) -> Vec<(f64, f64)> {
    let bytes = |text: &str| {
        let (number, unit) = text.trim().split_once(' ')?;
        let unit = ["B", "KiB", "MiB"].iter().position(|it| *it == unit)?;
        Some(number.parse::<f64>().ok()? * 1024_f64.powi(unit as i32))
    };
    let bar = |rest: &str| {
        let (_, numbers) = rest.split_once("] ")?;
        let end = numbers.find([',', '\r', '\n', '\u{1b}']).unwrap_or(numbers.len());
        let (done, total) = numbers[..end].split_once('/')?;
        Some((bytes(done)?, bytes(total)?))
    };
    text.split(&format!("{verb} [")).skip(1).filter_map(bar).collect()
}

/// A bar that is some of the way.
fn moves(text: &str, verb: &str) -> bool {
    bars(text, verb).iter().any(|(done, total)| *done > 0.0 && done < total && *total > 5_000_000.0)
}

#[test]
fn what_the_service_confirmed_is_shown_and_after_a_kill_it_goes_on_from_there() {
    let lab = Lab::new();
    let b = lab.id("b");
    std::fs::create_dir(lab.path("notes")).unwrap();
    std::fs::write(lab.path("notes/film"), noise(FILM, 1)).unwrap();
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let network = Relay::slow(service.addr.parse().unwrap(), RATE);
    let send = format!("send --state a notes --device {b} --mailbox {} --mailbox-device {id}", network.addr);
    let mut first = Terminal::start(lab.command(&send));
    let third = |text: &str| bars(text, "sending").iter().any(|(done, _)| *done > FILM as f64 / 3.0);
    first.until("a third of the bar", third);
    first.kill();
    let highest = bars(&first.written(), "sending").iter().map(|(done, _)| *done).fold(0.0, f64::max);
    assert!(highest < FILM as f64 * 0.9, "there is something left: {highest}");
    let second = Terminal::start(lab.command(&send));
    second
        .until("the whole bar", |text| bars(text, "sending").iter().any(|(done, total)| *done > 0.0 && done == total));
    let shown = bars(&second.written(), "sending");
    let begun = shown.iter().find(|(done, _)| *done > 0.0).unwrap().0;
    // Two decimals of a MiB.
    assert!(begun > highest - 10_486.0, "it went on at {begun}, and had shown {highest}");
    assert!(shown.iter().all(|(done, total)| done <= total), "{shown:?}");
}

#[test]
fn sync_and_receive_show_what_goes_to_the_service_and_what_comes() {
    let lab = Lab::new();
    let (a, b) = (lab.id("a"), lab.id("b"));
    std::fs::create_dir(lab.path("notes")).unwrap();
    std::fs::write(lab.path("notes/film"), noise(FILM, 1)).unwrap();
    // Nobody is there to hand it to.
    lab.run(&format!("send --state a notes --to 127.0.0.1:9 --device {b} --timeout 1")).exits(1);
    let (service, id) = serve(&lab, "127.0.0.1:0");
    let network = Relay::slow(service.addr.parse().unwrap(), RATE);
    let by = format!("--mailbox {} --mailbox-device {id}", network.addr);
    let sends = Terminal::start(lab.command(&format!("sync --state a --from {b} {by}")));
    sends.until("a bar of what goes", |text| moves(text, "sending"));
    assert!(sends.end().success());
    let gets = Terminal::start(lab.command(&format!("sync --state b --from {a} {by}")));
    gets.until("a bar of what comes", |text| moves(text, "receiving"));
    assert!(gets.end().success());
    let keeps = format!("receive --state a --listen 127.0.0.1:0 --into back --yes --together --from {b} {by}");
    let keeps = Terminal::start(lab.command(&keeps));
    keeps.line("listening on ");
    std::fs::write(lab.path("notes/second"), noise(FILM, 2)).unwrap();
    keeps.until("a bar of what goes", |text| moves(text, "sending"));
}

#[test]
fn no_bar_covers_a_question_while_content_comes() {
    for columns in [80, 20] {
        let lab = Lab::new();
        let (a, b) = (lab.id("a"), lab.id("b"));
        std::fs::create_dir(lab.path("notes")).unwrap();
        std::fs::write(lab.path("notes/film"), noise(FILM, 1)).unwrap();
        let (service, id) = serve(&lab, "127.0.0.1:0");
        let network = Relay::slow(service.addr.parse().unwrap(), RATE / 2);
        let by = |addr: &str| format!("--mailbox {addr} --mailbox-device {id} --no-direct");
        let sender = lab.start(&format!("send --state a notes --device {b} {}", by(&service.addr)));
        let line = format!("receive --state b --listen 127.0.0.1:0 --into out --from {a} --once");
        let mut asks = Terminal::wide(lab.command(&format!("{line} {}", by(&network.addr.to_string()))), columns);
        let asked = || asks.written().contains("Accept? [y/N] ");
        wait_for(asked);
        let held = || read_tree(&lab.path("b")).into_values().flatten().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let before = held();
        wait_for(|| held() > FILM);
        let written = asks.written();
        let (_, below) = written.rsplit_once("Accept? [y/N] ").unwrap();
        assert!(before < FILM, "all had come before the question: {before} bytes");
        assert_eq!(below, "", "at {columns} columns something was drawn over the question: {written:?}");
        asks.types("y\r");
        assert!(asks.end().success());
        sender.end().exits(0);
        assert_same(&lab.path("notes"), &lab.path("out/notes"));
    }
}
