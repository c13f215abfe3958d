//! Time as a value: nothing in the core reads a clock.
//!
//! Every call that depends on time is handed [`Now`] by its driver: the shim inside Envoy, a test, or a simulation.
//! [`Instant`] never goes back and measures how long something took; [`UnixTime`] may jump either way and only
//! names calendar moments.

use std::time::Duration;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic clock.
    pub mono: Instant,
    /// Wall clock.
    pub unix: UnixTime,
}

/// A moment on the monotonic clock, in microseconds since an arbitrary origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

/// A moment on the wall clock, in microseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(u64);

impl Instant {
    /// The moment `micros` after the clock's origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Time since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `duration` later, or the end of the clock.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

impl UnixTime {
    /// The moment `micros` after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }
}

/// Whole microseconds of a duration, saturating (584,000 years).
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_saturate_at_both_ends() {
        let early = Instant::from_micros(5);
        let late = Instant::from_micros(9);
        assert_eq!(late.saturating_since(early), Duration::from_micros(4));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(late.saturating_add(Duration::MAX), Instant::from_micros(u64::MAX));
    }

    #[test]
    fn unix_time_counts_whole_milliseconds() {
        assert_eq!(UnixTime::from_micros(1_999).as_millis(), 1);
        assert_eq!(UnixTime::from_micros(2_000).as_millis(), 2);
    }
}
