//! What a counter is held against: a limit, a stretch of time, and how time is divided.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::config::{Algorithm, Per, Rule};

/// Limit, time and algorithm of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    /// How time is divided.
    pub algorithm: Algorithm,
    /// Units that may pass in one window.
    pub limit: u64,
    /// Length of the window.
    pub per: Per,
}

impl Policy {
    /// The policy of a rule for keys without an override.
    #[must_use]
    pub const fn of(rule: &Rule) -> Self {
        Self { algorithm: rule.algorithm, limit: rule.limit.get(), per: rule.per }
    }

    /// The share of one of `processes` that count each for itself: of limit and burst, rounded down, at least one. So
    /// all of them together admit the limit, or one each if they are more than that.
    #[must_use]
    pub fn shared_by(self, processes: u64) -> Self {
        let share = |units: u64| (units / processes.max(1)).max(1);
        let algorithm = match self.algorithm {
            Algorithm::TokenBucket { burst } => {
                let burst = NonZeroU64::new(share(burst.get())).unwrap_or(NonZeroU64::MIN);
                Algorithm::TokenBucket { burst }
            }
            other @ (Algorithm::FixedWindow | Algorithm::SlidingWindow) => other,
        };
        Self { algorithm, limit: share(self.limit), ..self }
    }

    /// The longest that it takes from when there is room for some units until there is for so many `more`, if nobody
    /// takes any and there ever is.
    #[must_use]
    pub fn longest_wait_for(&self, more: u64) -> Duration {
        let (Per::Span(span), true) = (self.per, more > 0) else { return Duration::ZERO };
        match self.algorithm {
            // The next window has room for all.
            Algorithm::FixedWindow => Duration::ZERO,
            // What this window has taken counts until the next one ends.
            Algorithm::SlidingWindow => span.saturating_mul(2),
            Algorithm::TokenBucket { .. } => {
                let millis = span.as_millis().saturating_mul(more.into());
                let millis = millis.div_ceil(u128::from(self.limit.max(1)));
                Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_limit_or_are_one_each() {
        let burst = NonZeroU64::new(7).unwrap();
        let policy =
            Policy { algorithm: Algorithm::TokenBucket { burst }, limit: 10, per: Per::Month };
        for (processes, limit, share) in [(0, 10, 7), (1, 10, 7), (3, 3, 2), (7, 1, 1), (20, 1, 1)]
        {
            let burst = NonZeroU64::new(share).unwrap();
            let expected =
                Policy { algorithm: Algorithm::TokenBucket { burst }, limit, per: Per::Month };
            assert_eq!(policy.shared_by(processes), expected, "{processes}");
        }
    }
}
