//! What the user sees: results on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use crate::failure::Failure;

/// Prints a line of results. If nobody reads them any more, the work goes on without.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line beside the results.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints why the command failed.
pub(crate) fn complain(text: &str) {
    note(format_args!("segue: {text}"));
}

/// A bar of bytes, hidden if standard error is no terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    since: Instant,
    last: Instant,
    /// When something moved last.
    until: Instant,
    done: u64,
}

impl Bar {
    /// `total` is 0 as long as it isn't known.
    pub(crate) fn new(total: u64, verb: &'static str) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let style = "{msg} [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(verb);
        let now = Instant::now();
        Bar { bar, since: now, last: now, until: now, done: 0 }
    }

    /// So many bytes are done, of so many.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        if self.done == 0 && done > 0 {
            // The wait for the other side's user isn't part of the throughput.
            self.since = self.last;
        }
        self.last = Instant::now();
        if self.done != done {
            self.until = self.last;
        }
        self.done = done;
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Takes the bar away; what moved while it was shown, in words.
    pub(crate) fn finish(&self) -> String {
        self.bar.finish_and_clear();
        throughput(self.done, self.until - self.since)
    }

    /// A line above the bar.
    pub(crate) fn note(&self, line: impl Display) {
        self.bar.suspend(|| note(line));
    }
}

/// Bytes, time, and bytes a second.
pub(crate) fn throughput(bytes: u64, took: Duration) -> String {
    let rate = (bytes as f64 / took.as_secs_f64().max(1e-6)) as u64;
    format!("{} in {:.2} s ({}/s)", HumanBytes(bytes), took.as_secs_f64(), HumanBytes(rate))
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
        let number: usize = self.lines.recv().await?.trim().parse().ok()?;
        (1..=of).contains(&number).then(|| number - 1)
    }

    /// The next line; none at the end of input.
    pub(crate) async fn line(&mut self) -> Option<String> {
        self.lines.recv().await
    }

    /// The next answer; at the end of input it is no.
    pub(crate) async fn next(&mut self) -> bool {
        let line = self.lines.recv().await.unwrap_or_default();
        matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}

/// Asks; the answer comes by [`Answers::next`].
pub(crate) fn ask(question: impl Display) {
    let mut out = std::io::stderr();
    let _ = write!(out, "{question} [y/N] ").and_then(|()| out.flush());
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
