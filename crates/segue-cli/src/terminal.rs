//! What the user sees: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use crate::failure::{Exit, Failure};

/// All bars that are shown: whatever else is printed has them taken away meanwhile.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Why a line of results couldn't be printed, the first time.
static UNSAID: OnceLock<String> = OnceLock::new();

/// Prints a line of results. If nobody reads them any more, the work goes on without; if they can't be written, it does,
/// too, and [`unsaid`] tells at the end.
pub(crate) fn say(line: impl Display) {
    let written = BARS.suspend(|| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    });
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = UNSAID.set(error.to_string());
    }
}

/// How a command ends that has done its work: it failed if its results couldn't be printed.
pub(crate) fn unsaid(exit: Exit) -> Result<Exit, Failure> {
    match UNSAID.get() {
        Some(why) if exit == Exit::Resolved => Err(Failure::failed(format!(
            "the results couldn't all be written to standard output: {why}; what the command did is done"
        ))),
        _ => Ok(exit),
    }
}

/// Prints a line beside the results.
pub(crate) fn note(line: impl Display) {
    BARS.suspend(|| {
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}

/// So many of them, in words.
pub(crate) fn count(number: impl Display + PartialEq + From<u8>, what: &str) -> String {
    let plural = if number == 1.into() { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Prints why the command failed.
pub(crate) fn complain(text: &str) {
    note(format_args!("segue: {text}"));
}

/// A bar of bytes, hidden if standard error is no terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// `total` is 0 as long as it isn't known.
    pub(crate) fn new(total: u64, verb: &'static str) -> Bar {
        let bar = BARS.add(ProgressBar::new(total));
        let style = "{msg} [{bar:30}] {bytes}/{total_bytes}{prefix}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(verb);
        Bar(bar)
    }

    /// What is done.
    pub(crate) fn set_verb(&self, verb: &'static str) {
        if self.0.message() != verb {
            self.0.set_message(verb);
        }
    }

    /// So many bytes are there, of so many.
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// So many move a second, if that can be told.
    pub(crate) fn set_rate(&self, rate: Option<u64>) {
        self.0.set_prefix(rate.map(|rate| self.pace(rate)).unwrap_or_default());
    }

    fn pace(&self, rate: u64) -> String {
        let left = self.0.length().unwrap_or_default().saturating_sub(self.0.position());
        match left.checked_div(rate) {
            Some(secs) => format!(", {}/s, {} left", HumanBytes(rate), HumanDuration(Duration::from_secs(secs))),
            None => format!(", {}/s", HumanBytes(rate)),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
        BARS.remove(&self.0);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bytes, time, and bytes a second, unless the time is too short to tell.
pub(crate) fn throughput(bytes: u64, took: Duration) -> String {
    let moved = format!("{} in {:.2} s", HumanBytes(bytes), took.as_secs_f64());
    match took >= Duration::from_millis(1) {
        true => format!("{moved} ({}/s)", HumanBytes((bytes as f64 / took.as_secs_f64()) as u64)),
        false => moved,
    }
}

/// Lines that the user types.
pub(crate) struct Answers {
    lines: mpsc::Receiver<String>,
}

impl Answers {
    /// None if standard input is no terminal: there is nobody to ask.
    pub(crate) fn open() -> Option<Answers> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let (typed, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if typed.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Some(Answers { lines })
    }

    /// Has the user choose one of so many, from 1; none at the end of input, or if that isn't a choice.
    pub(crate) async fn choice(&mut self, of: usize) -> Option<usize> {
        let number: usize = self.line().await?.trim().parse().ok()?;
        (1..=of).contains(&number).then(|| number - 1)
    }

    /// The next line; none at the end of input.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = self.lines.recv().await;
        unask();
        line
    }

    /// The next answer; at the end of input it is no.
    pub(crate) async fn next(&mut self) -> bool {
        let line = self.line().await.unwrap_or_default();
        matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

/// Asks; the answer comes by [`Answers::next`]. No bar is shown before that, or before [`unask`].
pub(crate) fn ask(question: impl Display) {
    let _ = BARS.clear();
    BARS.set_draw_target(ProgressDrawTarget::hidden());
    let mut out = std::io::stderr();
    let _ = write!(out, "{question} [y/N] ").and_then(|()| out.flush());
}

/// No question stands any more: bars are shown again.
pub(crate) fn unask() {
    if BARS.is_hidden() {
        BARS.set_draw_target(ProgressDrawTarget::stderr());
    }
}

/// Ctrl-C, or the request to end.
pub(crate) struct Interrupt {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Interrupt {
    /// From here on none is missed.
    pub(crate) fn open() -> Result<Interrupt, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let open = |kind| signal(kind).map_err(|error| Failure::failed(format!("can't wait for signals: {error}")));
            Ok(Interrupt { signals: [open(SignalKind::interrupt())?, open(SignalKind::terminate())?] })
        }
        #[cfg(not(unix))]
        Ok(Interrupt {})
    }

    /// Waits for it.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
