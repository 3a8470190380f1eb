//! How much has moved, and how fast.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Measures a count that only grows. Neither what was counted before the first look counts, nor the time before something
/// moved.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The count at the first look.
    base: u64,
    /// The count at the last look.
    count: u64,
    /// The last look before something moved.
    since: Instant,
    /// The last look at which something had moved.
    until: Instant,
    /// Looks of the last while.
    recent: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// The first look.
    pub(crate) fn new(now: Instant, count: u64) -> Meter {
        Meter { base: count, count, since: now, until: now, recent: [(now, count)].into() }
    }

    /// A further look.
    pub(crate) fn look(&mut self, now: Instant, count: u64) {
        if count > self.count {
            (self.count, self.until) = (count, now);
        }
        if self.count == self.base {
            (self.since, self.until) = (now, now);
            self.recent.clear();
        }
        // Looks that come close upon one another say no more than one of them.
        if self.recent.back().is_none_or(|(at, _)| now - *at >= APART) {
            self.recent.push_back((now, self.count));
        }
        // What stays is at least as old as the while is long.
        while self.recent.get(1).is_some_and(|(at, _)| now - *at >= RECENT) {
            self.recent.pop_front();
        }
    }

    /// What has moved, in bytes.
    pub(crate) fn moved(&self) -> u64 {
        self.count - self.base
    }

    /// From before the first byte to the last one.
    pub(crate) fn took(&self) -> Duration {
        self.until - self.since
    }

    /// Bytes a second over the last while; none if that can't be told yet.
    pub(crate) fn rate(&self, now: Instant) -> Option<u64> {
        let (at, count) = self.recent.front()?;
        let time = now.saturating_duration_since(*at);
        (self.moved() > 0 && time >= APART).then(|| ((self.count - count) as f64 / time.as_secs_f64()) as u64)
    }
}

/// The while over which the rate is shown. From: guess; one sees a change soon, and no jitter.
const RECENT: Duration = Duration::from_secs(5);

/// How far apart looks are that are remembered. From: how often bars are looked at.
const APART: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_there_before_the_first_look_has_not_moved() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 1_000_000);
        meter.look(start + SECOND, 1_000_000);
        assert_eq!((meter.moved(), meter.rate(start + SECOND)), (0, None));
        meter.look(start + 2 * SECOND, 1_000_500);
        assert_eq!((meter.moved(), meter.took()), (500, SECOND));
        assert_eq!(meter.rate(start + 2 * SECOND), Some(500));
    }

    #[test]
    fn the_time_before_the_first_byte_and_behind_the_last_one_does_not_count() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 0);
        // A minute in which the other side's user thinks.
        (1..=60).for_each(|at| meter.look(start + at * SECOND, 0));
        meter.look(start + 61 * SECOND, 1_000);
        assert_eq!(meter.rate(start + 61 * SECOND), Some(1_000));
        meter.look(start + 62 * SECOND, 2_000);
        (63..=70).for_each(|at| meter.look(start + at * SECOND, 2_000));
        assert_eq!((meter.moved(), meter.took()), (2_000, 2 * SECOND));
        assert_eq!(meter.rate(start + 70 * SECOND), Some(0));
    }

    #[test]
    fn the_rate_is_that_of_the_last_while_and_what_is_kept_for_it_is_bounded() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 0);
        let at = |millis| start + Duration::from_millis(millis);
        // Ten seconds of 100 bytes a millisecond, then ten of one.
        (1..=10_000).for_each(|millis| meter.look(at(millis), millis * 100));
        assert_eq!(meter.rate(at(10_000)), Some(100_000));
        (1..=10_000).for_each(|millis| meter.look(at(10_000 + millis), 1_000_000 + millis));
        assert_eq!(meter.rate(at(20_000)), Some(1_000));
        assert!(meter.recent.len() <= 52, "{}", meter.recent.len());
        assert_eq!(meter.moved(), 1_010_000);
    }

    #[test]
    fn a_single_look_tells_no_rate() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 0);
        meter.look(start, 1_000_000);
        assert_eq!((meter.moved(), meter.took(), meter.rate(start)), (1_000_000, Duration::ZERO, None));
    }
}
