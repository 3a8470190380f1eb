//! Time, as the caller tells it.

use core::fmt;

/// A point in time, in microseconds since an origin that the caller chooses and keeps while the endpoint lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Instant = Instant(0);

    /// The instant this many microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Instant {
        Instant(micros)
    }

    /// Microseconds since the origin.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The instant this many microseconds later.
    #[must_use]
    pub const fn after(self, micros: u64) -> Instant {
        Instant(self.0.saturating_add(micros))
    }

    /// How many microseconds it lies after `earlier`; 0 if it doesn't.
    pub const fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How many milliseconds, rounded up, are left now of `window` microseconds from `since` on.
    pub fn left_ms(self, since: Instant, window: u64) -> u32 {
        u32::try_from(window.saturating_sub(self.since(since)).div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
