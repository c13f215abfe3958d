//! What one breaker is held to, in the numbers that a process and the script in Redis work with alike.

use std::time::Duration;

use crate::config::Breaker;

/// Added to `probe_timeout` for the lease of a trial request: by then whoever makes it has given its result, or is gone.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// The numbers of one breaker of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row that trip it; 0: they do not.
    pub consecutive_failures: u64,
    /// Share of failures in the window that trips it, in percent; 0: it does not.
    pub failure_percent: u64,
    /// Share of slow calls in the window that trips it, in percent; 0: it does not.
    pub slow_percent: u64,
    /// Length of the window in milliseconds.
    pub window_ms: u64,
    /// Calls in the window below which its shares do not count.
    pub minimum_calls: u64,
    /// How long it is open first, in milliseconds.
    pub open_for_ms: u64,
    /// How long it is open at most, in milliseconds.
    pub max_open_for_ms: u64,
    /// Trial requests at a time while it is half-open.
    pub probes: u64,
    /// Successes of trial requests that close it.
    pub close_after: u64,
    /// How long a trial request may take to have a response.
    pub probe_timeout: Duration,
    /// For how long after it has closed a share of requests is still refused.
    pub ramp: Duration,
}

impl Policy {
    /// The numbers of `breaker`.
    #[must_use]
    pub fn of(breaker: &Breaker) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let trip = &breaker.trip;
        Self {
            consecutive_failures: trip.consecutive_failures.map_or(0, |count| count.get().into()),
            failure_percent: trip.failure_percent.map_or(0, |share| share.get().into()),
            slow_percent: trip.slow_percent.map_or(0, |share| share.get().into()),
            window_ms: millis(trip.window),
            minimum_calls: trip.minimum_calls.get().into(),
            open_for_ms: millis(breaker.open_for),
            max_open_for_ms: millis(breaker.max_open_for),
            probes: breaker.probes.get().into(),
            close_after: breaker.close_after.get().into(),
            probe_timeout: breaker.probe_timeout,
            ramp: breaker.ramp,
        }
    }

    /// How long others leave the permit of a trial request alone.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.probe_timeout.saturating_add(LEASE_MARGIN)
    }

    /// For how long a breaker stays open that opens for the `trips`-th time in a row, 1 and more, in milliseconds.
    ///
    /// The first time `open_for`. Then exponential back-off with full jitter above it: `roll`, 0 to [`ROLLS`], chooses
    /// between `open_for` and twice as much with each time, but not more than `max_open_for`.
    #[must_use]
    pub fn wait_ms(&self, trips: u64, roll: u64) -> u64 {
        let doublings = u32::try_from(trips.saturating_sub(1).min(MOST_DOUBLINGS)).unwrap_or(0);
        let ceiling = self.open_for_ms.saturating_mul(1 << doublings).min(self.max_open_for_ms);
        let above = ceiling.saturating_sub(self.open_for_ms);
        self.open_for_ms.saturating_add(above.saturating_mul(roll.min(ROLLS)) / ROLLS)
    }
}

/// The largest number that chance gives to [`Policy::wait_ms`]: small enough that the script, which counts in floating
/// point, comes to the same.
pub const ROLLS: u64 = 1000;

/// More doublings than any range of the configuration has room for.
const MOST_DOUBLINGS: u64 = 20;

#[cfg(test)]
pub(super) const PLAIN: Policy = Policy {
    consecutive_failures: 5,
    failure_percent: 0,
    slow_percent: 0,
    window_ms: 10_000,
    minimum_calls: 20,
    open_for_ms: 30_000,
    max_open_for_ms: 300_000,
    probes: 1,
    close_after: 1,
    probe_timeout: Duration::from_secs(10),
    ramp: Duration::ZERO,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wait_is_as_configured_and_further_ones_grow_up_to_the_most() {
        for (trips, shortest, longest) in [
            (1, 30_000, 30_000),
            (2, 30_000, 60_000),
            (3, 30_000, 120_000),
            (4, 30_000, 240_000),
            (5, 30_000, 300_000),
            (u64::MAX, 30_000, 300_000),
        ] {
            assert_eq!(PLAIN.wait_ms(trips, 0), shortest, "{trips}");
            assert_eq!(PLAIN.wait_ms(trips, ROLLS), longest, "{trips}");
            assert_eq!(PLAIN.wait_ms(trips, ROLLS / 2), (shortest + longest) / 2, "{trips}");
            assert_eq!(PLAIN.wait_ms(trips, u64::MAX), longest, "{trips}");
        }
    }
}
