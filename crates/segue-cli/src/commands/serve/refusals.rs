//! What the log is told of what devices refused, or had refused: a stranger may bring about as much of that as it likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use segue_quic::{Code, DeviceId};

/// How much was told of late.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    /// By device and reason: how often it happened since it was told.
    told: BTreeMap<(DeviceId, Code), u64>,
    /// What nothing was told of, for there was too much else.
    others: u64,
}

/// A line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The device, and why; none for those beyond [`MOST`].
    about: Option<(DeviceId, Code)>,
    /// How often.
    times: u64,
}

impl Line {
    /// Writes it.
    pub(super) fn log(self) {
        let Line { about, times } = self;
        match about {
            Some((peer, code)) => tracing::warn!(%peer, ?code, times, "refused"),
            None => tracing::warn!(times, "refused, with other devices or for other reasons"),
        }
    }
}

impl Refusals {
    /// Something was refused: what is told at once.
    pub(super) fn hear(&mut self, peer: DeviceId, code: Code) -> Option<Line> {
        if let Some(times) = self.told.get_mut(&(peer, code)) {
            *times = times.saturating_add(1);
            return None;
        }
        if self.told.len() >= MOST {
            self.others = self.others.saturating_add(1);
            return None;
        }
        self.told.insert((peer, code), 0);
        Some(Line { about: Some((peer, code)), times: 1 })
    }

    /// What is told because a [`WINDOW`] is over: of each how often it happened since. What didn't happen any more is told at
    /// once the next time.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Line> {
        if now.saturating_duration_since(*self.since.get_or_insert(now)) < WINDOW {
            return Vec::new();
        }
        self.since = Some(now);
        self.told.retain(|_, times| *times > 0);
        let counts = self.told.iter_mut().map(|(about, times)| (Some(*about), std::mem::take(times)));
        let others = (None, std::mem::take(&mut self.others));
        let lines = counts.chain([others]).filter(|(_, times)| *times > 0);
        lines.map(|(about, times)| Line { about, times }).collect()
    }
}

/// From: an operator reads a log by the minute; guess.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// The devices and reasons that lines are about within it: with those that sum up, so many and one more lines again. From:
/// a screen half full; guess.
const MOST: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u32) -> DeviceId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        DeviceId::new(id)
    }

    #[test]
    fn a_device_that_is_refused_over_and_over_has_a_line_a_minute_with_how_often() {
        let (mut refusals, start, code) = (Refusals::default(), Instant::now(), Code::WIRE_STATE);
        let line = |times| Line { about: Some((device(1), code)), times };
        assert_eq!(refusals.turn(start), []);
        assert_eq!(refusals.hear(device(1), code), Some(line(1)));
        assert_eq!((0..1_000_000).filter_map(|_| refusals.hear(device(1), code)).count(), 0);
        assert_eq!(refusals.turn(start + WINDOW / 2), []);
        assert_eq!(refusals.turn(start + WINDOW), [line(1_000_000)]);
        // It goes on, and then ends.
        assert_eq!(refusals.hear(device(1), code), None);
        assert_eq!(refusals.turn(start + 2 * WINDOW), [line(1)]);
        assert_eq!(refusals.turn(start + 3 * WINDOW), []);
        assert_eq!(refusals.hear(device(1), code), Some(line(1)));
        // Another reason is told at once.
        let other = Line { about: Some((device(1), Code::LIMIT_REQUESTS)), times: 1 };
        assert_eq!(refusals.hear(device(1), Code::LIMIT_REQUESTS), Some(other));
    }

    #[test]
    fn however_many_devices_there_are_the_lines_and_what_is_kept_for_them_are_bounded() {
        let (mut refusals, start, mut lines, mut told) = (Refusals::default(), Instant::now(), 0, 0);
        refusals.turn(start);
        let (minutes, each) = (5, 20_000);
        for minute in 0..minutes {
            let heard = (0..each).map(|n| device(minute * each + n % 15_000));
            let mut now: Vec<Line> = heard.filter_map(|device| refusals.hear(device, Code::WIRE_STATE)).collect();
            assert!(refusals.told.len() <= MOST);
            now.extend(refusals.turn(start + WINDOW * (minute + 1)));
            lines += now.len();
            told += now.iter().map(|line| line.times).sum::<u64>();
            assert_eq!(told, u64::from(each * (minute + 1)), "none is left out of the count");
        }
        assert!(lines <= minutes as usize * (2 * MOST + 1), "{lines}");
    }
}
