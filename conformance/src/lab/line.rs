//! The transcript of a case: what happened, a line each, with the message if there was one.

use std::fmt;

use segue_proto::Instant;
use segue_proto::wire::Message;

/// Whose doing a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The subject sent something to a peer.
    Subject,
    /// A peer sent something to the subject.
    Peer,
    /// The subject told its application something.
    Event,
    /// The subject's application asked for something.
    Application,
    /// The bench did something: the network, the disk, the clock.
    Bench,
}

impl By {
    /// Its words in reports.
    pub const fn name(self) -> &'static str {
        match self {
            By::Subject => "subject → peer",
            By::Peer => "peer → subject",
            By::Event => "subject → application",
            By::Application => "application → subject",
            By::Bench => "bench",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            By::Subject => "subject → ",
            By::Peer => "peer → ",
            By::Event => "subject: ",
            By::Application => "subject ! ",
            By::Bench => "",
        }
    }
}

/// A line of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When, in virtual time.
    pub at: Instant,
    /// Whose doing it is.
    pub by: By,
    /// What happened, in words.
    pub text: String,
    /// The message that was sent, if it is one.
    pub message: Option<Box<Message>>,
}

impl Line {
    /// A line of a simulated world's trace, which holds its time as text.
    pub fn traced(line: &str) -> Line {
        let parts = line.strip_prefix("t=").and_then(|rest| rest.split_once(' '));
        let micros = |time: &str| {
            let (seconds, micros) = time.split_once('.')?;
            Some(seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?)
        };
        let read = parts.and_then(|(time, text)| Some((micros(time)?, text)));
        let (at, text) = read.unwrap_or((0, line));
        Line { at: Instant::from_micros(at), by: By::Bench, text: text.into(), message: None }
    }

    /// The time in seconds, with all digits.
    pub fn time(&self) -> String {
        let micros = self.at.micros();
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={} {}{}", self.time(), self.by.mark(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_trace_keeps_its_time_and_its_words() {
        for line in ["t=12.000345 a → b HELLO generation 4", "without a time"] {
            let read = Line::traced(line);
            assert!(read.to_string().ends_with(line.trim_start_matches("t=12.000345 ")), "{read}");
        }
        assert_eq!(Line::traced("t=12.000345 x").to_string(), "t=12.000345 x");
    }
}
