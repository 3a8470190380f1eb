//! How long peers that refused something want it not to be asked for again.

use alloc::collections::BTreeMap;

use super::Endpoint;
use crate::clock::Instant;
use crate::wire::{DeviceId, SessionId};

/// What this device asks others for, and may be refused for the time being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asked {
    /// A handoff of this session, or another grantor of it.
    Session(SessionId),
    /// Which devices are there, of this service.
    Presence(DeviceId),
    /// To be let in, of this service.
    Login(DeviceId),
    /// To have devices woken, of this service.
    Wake(DeviceId),
}

/// Until when each is not to be asked for again. Only what this device asked for has an entry, and only until then.
#[derive(Debug, Default)]
pub(super) struct Pauses(BTreeMap<Asked, Instant>);

impl Pauses {
    /// It was refused, to be tried again after so many milliseconds; 0 says nothing.
    pub(super) fn refused(&mut self, now: Instant, asked: Asked, retry_after_ms: u32) {
        self.0.retain(|_, until| *until > now);
        if retry_after_ms > 0 {
            self.0.insert(asked, now.after(u64::from(retry_after_ms) * 1_000));
        } else {
            self.0.remove(&asked);
        }
    }
}

impl Endpoint {
    /// For how many microseconds from now this is not to be asked for again, as who refused it last said in
    /// `retry_after_ms`; 0 if it said nothing, or that time is over.
    pub fn retry_after(&self, now: Instant, asked: Asked) -> u64 {
        self.pauses.0.get(&asked).map_or(0, |until| until.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_nothing_is_kept_beyond_its_time() {
        let (one, other) = (Asked::Session(SessionId::new([1; 16])), Asked::Session(SessionId::new([2; 16])));
        let mut pauses = Pauses::default();
        pauses.refused(Instant::ZERO, one, 1_500);
        assert_eq!(pauses.0.get(&one), Some(&Instant::from_micros(1_500_000)));
        pauses.refused(Instant::from_micros(1_499_999), other, 1);
        assert_eq!(pauses.0.len(), 2);
        pauses.refused(Instant::from_micros(1_499_999), one, 0);
        assert_eq!(pauses.0.len(), 1);
        pauses.refused(Instant::from_micros(1_501_000), one, 0);
        assert!(pauses.0.is_empty());
    }
}
