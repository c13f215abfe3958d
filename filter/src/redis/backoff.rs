//! How long to wait before the next attempt to connect: exponential, with full jitter.
//!
//! A fleet that lost its Redis must not come back all at once; full jitter spreads the attempts
//! best (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog).

use std::time::Duration;

use crate::rng::Rng;

/// Upper bound of the first wait: a connection that broke by chance is back before anyone notices.
pub(super) const FIRST: Duration = Duration::from_millis(10);
/// Upper bound of every wait: how late a worker may notice that Redis is back.
pub(super) const CAP: Duration = Duration::from_secs(1);
/// Doublings after which the cap is reached for certain.
const MOST_DOUBLINGS: u32 = 16;

/// Counts failures in a row and turns them into waits.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    rng: Rng,
    failures: u32,
}

impl Backoff {
    /// No failure so far.
    pub(super) const fn new(rng: Rng) -> Self {
        Self { rng, failures: 0 }
    }

    /// The wait after one more failure: anything up to twice the bound of the one before.
    pub(super) fn next_wait(&mut self) -> Duration {
        let doublings = self.failures.min(MOST_DOUBLINGS);
        self.failures = self.failures.saturating_add(1);
        let bound = FIRST.saturating_mul(2u32.saturating_pow(doublings)).min(CAP);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.rng.up_to(micros))
    }

    /// Forgets the failures: the connection has proved itself.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest wait after that many failures, over many seeds.
    fn longest(failures: usize) -> Duration {
        let wait = |seed| {
            let mut backoff = Backoff::new(Rng::with_seed(seed));
            (0..=failures).map(|_| backoff.next_wait()).last().unwrap()
        };
        (0..200).map(wait).max().unwrap()
    }

    #[test]
    fn waits_double_up_to_the_cap_and_use_their_bound() {
        for (failures, bound) in [(0, FIRST), (1, FIRST * 2), (3, FIRST * 8), (7, CAP), (100, CAP)]
        {
            let most = longest(failures);
            assert!(most <= bound && most > bound * 8 / 10, "{failures}: {most:?} of {bound:?}");
        }
    }

    #[test]
    fn after_a_success_the_first_wait_is_short_again() {
        let mut backoff = Backoff::new(Rng::with_seed(1));
        let grown: Duration = (0..10).map(|_| backoff.next_wait()).sum();
        assert!(grown > FIRST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
