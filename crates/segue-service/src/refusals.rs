//! What an operator's log is told of tokens that aren't valid: whoever has a key may come with some, as often as it likes.

use segue_proto::Instant;

/// How much was told of late.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Refusals {
    /// What the log gets of a refusal, if anything: why, and how many were left out before.
    pub(crate) fn tell(&mut self, now: Instant, why: &str) -> Option<String> {
        if self.since.is_none_or(|since| since.after(WINDOW) <= now) {
            (self.since, self.told) = (Some(now), 0);
        }
        if self.told >= MOST {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.told += 1;
        // Whoever comes with a token chooses what its parts are called.
        let why: String = why.chars().take(MAX_WHY).collect();
        Some(match core::mem::take(&mut self.left_out) {
            0 => why,
            before => format!("{why} ({before} more were refused before)"),
        })
    }
}

/// In microseconds. From: an operator reads a log by the minute; guess.
const WINDOW: u64 = 60_000_000;
/// The refusals that are told within it. From: a screen half full; guess.
const MOST: u32 = 10;
/// The characters of a reason. From: a line.
const MAX_WHY: usize = 200;
