//! How much a mailbox takes, of whom, and how fast.

use std::collections::BTreeMap;

use segue_proto::Instant;
use segue_proto::limits::{
    BOX_BYTES, BOX_ENVELOPES, DEVICE_BYTES, DEVICE_ENVELOPES, DEVICE_SESSIONS, ENVELOPE_COST, MAILBOX_BYTES, PUT_BURST,
    PUT_RATE,
};
use segue_proto::wire::DeviceId;

use crate::directory::{Full, Share};

/// What a mailbox takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The bytes in a box.
    pub box_bytes: u64,
    /// The envelopes in a box.
    pub box_envelopes: u64,
    /// The bytes that a device may put.
    pub device_bytes: u64,
    /// The envelopes that a device may put.
    pub device_envelopes: u64,
    /// The sessions that a device may bring into custody.
    pub device_sessions: u64,
    /// The bytes in all.
    pub bytes: u64,
    /// The bytes that a device may put in a second, on average.
    pub rate: u64,
    /// The bytes that a device may put at once.
    pub burst: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            box_bytes: BOX_BYTES,
            box_envelopes: BOX_ENVELOPES,
            device_bytes: DEVICE_BYTES,
            device_envelopes: DEVICE_ENVELOPES,
            device_sessions: DEVICE_SESSIONS,
            bytes: MAILBOX_BYTES,
            rate: PUT_RATE,
            burst: PUT_BURST,
        }
    }
}

/// How much is there: in a box, of one that puts, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The bytes, with ENVELOPE_COST for each envelope.
    pub bytes: u64,
    /// The envelopes.
    pub envelopes: u64,
}

impl Used {
    /// The same, and an envelope of so many bytes.
    #[must_use]
    pub fn with(self, len: usize) -> Used {
        let cost = (len as u64).saturating_add(ENVELOPE_COST);
        Used { bytes: self.bytes.saturating_add(cost), envelopes: self.envelopes.saturating_add(1) }
    }
}

impl Quota {
    /// Whether a box, a share and the whole may come to hold so much (SERVICE-HOST-3).
    ///
    /// # Errors
    /// What has no room; the box before the share, and that before the whole.
    pub fn check(&self, of_box: Used, share: Share, of_share: Used, all: Used) -> Result<(), Full> {
        if of_box.bytes > self.box_bytes || of_box.envelopes > self.box_envelopes {
            Err(Full::Box)
        } else if of_share.bytes > share.bytes || of_share.envelopes > share.envelopes {
            Err(Full::Device)
        } else if all.bytes > self.bytes {
            Err(Full::Mailbox)
        } else {
            Ok(())
        }
    }
}

/// How fast each device puts: a bucket that fills at `rate`, and holds `burst`.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    buckets: BTreeMap<DeviceId, (u64, Instant)>,
}

impl Pace {
    /// Takes bytes out of a device's bucket; the milliseconds to wait if it holds too few.
    pub(crate) fn take(&mut self, now: Instant, quota: &Quota, by: DeviceId, bytes: u64) -> Result<(), u32> {
        if self.buckets.len() >= MAX_BUCKETS {
            self.buckets.retain(|_, (left, at)| refilled(quota, *left, *at, now) < quota.burst);
        }
        let (left, at) = self.buckets.get(&by).copied().unwrap_or((quota.burst, now));
        let left = refilled(quota, left, at, now);
        // What is more than the bucket holds takes all of it.
        let bytes = bytes.min(quota.burst);
        match left.checked_sub(bytes) {
            Some(left) => {
                self.buckets.insert(by, (left, now));
                Ok(())
            }
            None => {
                self.buckets.insert(by, (left, now));
                let wait = (bytes - left).saturating_mul(1_000) / quota.rate.max(1) + 1;
                Err(u32::try_from(wait).unwrap_or(u32::MAX))
            }
        }
    }
}

fn refilled(quota: &Quota, left: u64, at: Instant, now: Instant) -> u64 {
    let more = u128::from(now.since(at)) * u128::from(quota.rate) / 1_000_000;
    left.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)).min(quota.burst)
}

/// Buckets before the full ones are forgotten. From: a few links more than there may be.
const MAX_BUCKETS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_puts_too_fast_is_told_how_long_to_wait() {
        let quota = Quota { rate: 1_000, burst: 2_000, ..Quota::default() };
        let (mut pace, by) = (Pace::default(), DeviceId::new([1; 32]));
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        assert_eq!(pace.take(at(0), &quota, by, 2_000), Ok(()));
        assert_eq!(pace.take(at(0), &quota, by, 500), Err(501));
        assert_eq!(pace.take(at(0), &quota, DeviceId::new([2; 32]), 500), Ok(()), "another's share is its own");
        assert_eq!(pace.take(at(501), &quota, by, 500), Ok(()));
    }
}
