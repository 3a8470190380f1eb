//! How often each device did something of late.

use std::collections::{BTreeMap, VecDeque};

use segue_proto::Instant;
use segue_proto::wire::DeviceId;

/// When each device did it within the window, the newest last.
#[derive(Debug)]
pub(crate) struct Often {
    /// In microseconds.
    window: u64,
    most: usize,
    done: BTreeMap<DeviceId, VecDeque<Instant>>,
}

impl Often {
    /// At most so often within so many microseconds.
    pub(crate) fn new(most: usize, window: u64) -> Often {
        Often { window, most, done: BTreeMap::new() }
    }

    /// Whether a device may do it once more; if not, in how many milliseconds it may.
    pub(crate) fn may(&mut self, now: Instant, device: &DeviceId) -> Result<(), u32> {
        let window = self.window;
        self.done.retain(|_, at| at.back().is_some_and(|at| now.since(*at) < window));
        let Some(done) = self.done.get_mut(device) else { return Ok(()) };
        while done.front().is_some_and(|at| now.since(*at) >= window) {
            done.pop_front();
        }
        match done.front().filter(|_| done.len() >= self.most) {
            Some(first) => Err(now.left_ms(*first, window)),
            None => Ok(()),
        }
    }

    /// A device did it.
    pub(crate) fn did(&mut self, now: Instant, device: DeviceId) {
        self.done.entry(device).or_default().push_back(now);
    }
}
