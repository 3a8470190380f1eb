//! A `ttl`, as WANT and OFFER have it: milliseconds, 0 for no limit of the sender's own.

use crate::limits::MAX_TTL;

/// What to say of so many microseconds: milliseconds, rounded up, and at least one, for 0 would mean no limit.
pub(crate) fn millis(micros: u64) -> u32 {
    u32::try_from(micros.div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// For how many microseconds a `ttl` is honoured: MAX_TTL at most.
pub(crate) fn honoured(ttl: u32) -> u64 {
    match ttl {
        0 => MAX_TTL,
        ttl => (u64::from(ttl) * 1000).min(MAX_TTL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_never_said_to_be_without_limit() {
        assert_eq!([0, 1, 1_000, 1_001].map(millis), [1, 1, 1, 2]);
        assert_eq!(millis(u64::MAX), u32::MAX);
    }

    #[test]
    fn a_ttl_of_0_is_as_long_as_the_longest() {
        assert_eq!([0, 1, u32::MAX].map(honoured), [MAX_TTL, 1_000, MAX_TTL]);
    }
}
