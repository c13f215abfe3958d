//! What the file says of breakers.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use super::{KeyPart, Refusal, RouteIndex};

/// One entry of `breakers`: when requests are kept from an upstream that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// `name`: what refusals and metrics call it, and part of its Redis keys. Written as a route's; unique among
    /// breakers.
    pub name: String,
    /// `routes`: which requests it is about, at least one route. Absent: every request, also those of no route.
    pub routes: Option<Vec<RouteIndex>>,
    /// `by`: what requests have to agree in to share one state: 1 to 4 of [`KeyPart::Route`], [`KeyPart::Path`],
    /// [`KeyPart::Host`] and [`KeyPart::Method`]. Never who the client is: clients do not break an upstream for one
    /// another. Default: the route.
    pub by: Vec<KeyPart>,
    /// `trip`: what opens it. Default: 5 failures in a row.
    pub trip: Trip,
    /// `failure_statuses`: with which statuses the upstream has failed. Default: 500 to 599.
    pub failure_statuses: Statuses,
    /// `open_for`: how long it stays open the first time, 100 ms to 1 h. Default: 30 s.
    pub open_for: Duration,
    /// `max_open_for`: how long it stays open at most, 100 ms to 24 h and not below `open_for`. Default: 5 min, or
    /// `open_for` if that is longer.
    pub max_open_for: Duration,
    /// `obey_retry_after`: whether a 429 or 503 of the upstream that says when to come again is a failure, and says
    /// how long to stay open. Default: `false`.
    pub obey_retry_after: bool,
    /// `probes`: trial requests that may be on their way at a time while half-open, 1 to 100. Default: 1.
    pub probes: NonZeroU32,
    /// `probe_timeout`: a probe without a response by then has failed, 100 ms to 5 min. Default: 10 s.
    pub probe_timeout: Duration,
    /// `close_after`: successful probes that close it, 1 to 1000. Default: 1.
    pub close_after: NonZeroU32,
    /// `ramp`: how long after it closed until all requests pass again, 100 ms to 1 h. Absent: zero, all at once.
    pub ramp: Duration,
    /// `scope`: who shares its state. Default: the fleet if there is [`Config::redis`](super::Config::redis),
    /// otherwise the replica.
    pub scope: Scope,
    /// `force`: its state by hand. Absent: what its evidence makes of it. Never together with `shadow`.
    pub force: Option<Force>,
    /// `shadow`: it changes its state and tells what it would have done, and refuses nothing. Default: `false`.
    pub shadow: bool,
    /// `refusal`: what is answered while it is open. Absent: a problem description (RFC 9457) with status 503.
    pub refusal: Option<Refusal>,
}

/// What opens a breaker: whichever of its conditions is met first. At least one of the three is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// `consecutive_failures`: so many failures in a row, 1 to 1000.
    pub consecutive_failures: Option<NonZeroU32>,
    /// `failure_percent`: such a share of the calls in the window failed, in percent, 1 to 100.
    pub failure_percent: Option<NonZeroU8>,
    /// `slow_percent`: such a share of the calls in the window was slow, in percent, 1 to 100.
    pub slow_percent: Option<NonZeroU8>,
    /// `slow_after`: a call that takes longer is slow, 1 ms to 5 min. Zero without `slow_percent`.
    pub slow_after: Duration,
    /// `window`: sampling window of the two shares, 1 s to 10 min. Default: 10 s.
    pub window: Duration,
    /// `minimum_calls`: with fewer calls in the window the two shares do not count, 1 to 1,000,000. Default: 20.
    pub minimum_calls: NonZeroU32,
}

/// Statuses with which an upstream has failed: any of 400 to 599.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    /// One bit for each status from [`FIRST_STATUS`] on.
    words: [u64; 4],
}

/// Below are the statuses that are no error (RFC 9110 §15).
const FIRST_STATUS: u16 = 400;

/// The last status that HTTP has (RFC 9110 §15).
const LAST_STATUS: u16 = 599;

impl Statuses {
    /// Whether `status` is one of them. Cost: one look at a bit.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        let place = Self::place(status).and_then(|(word, bit)| Some((self.words.get(word)?, bit)));
        place.is_some_and(|(word, bit)| word & bit != 0)
    }

    /// Where a status is noted, if it is an error at all.
    fn place(status: u16) -> Option<(usize, u64)> {
        let index = status.checked_sub(FIRST_STATUS).filter(|_| status <= LAST_STATUS)?;
        Some((usize::from(index / 64), 1 << (index % 64)))
    }
}

/// Statuses that are no error are left out.
impl FromIterator<u16> for Statuses {
    fn from_iter<I: IntoIterator<Item = u16>>(statuses: I) -> Self {
        let mut all = Self::default();
        for (word, bit) in statuses.into_iter().filter_map(Self::place) {
            if let Some(word) = all.words.get_mut(word) {
                *word |= bit;
            }
        }
        all
    }
}

/// Who shares the state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `fleet`: all replicas, by way of Redis; where Redis is lost, each process by itself.
    Fleet,
    /// `replica`: the workers of one process.
    Replica,
}

/// The state of a breaker by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// `open`: everything is refused.
    Open,
    /// `closed`: nothing is refused.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_given_statuses_are_contained() {
        let some: Statuses = [400, 463, 464, 500, 599].into_iter().collect();
        for status in 0..=u16::MAX {
            let is_given = matches!(status, 400 | 463 | 464 | 500 | 599);
            assert_eq!(some.contains(status), is_given, "{status}");
        }
    }

    #[test]
    fn what_is_no_error_is_never_a_failure() {
        let all: Statuses = (0..=u16::MAX).collect();
        for status in 0..=u16::MAX {
            assert_eq!(all.contains(status), (400..=599).contains(&status), "{status}");
        }
        assert!((0..=u16::MAX).all(|status| !Statuses::default().contains(status)));
    }
}
