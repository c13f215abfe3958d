//! Steady traffic through the edge while something happens to Redis: who only wants to be served must not notice.

use std::fmt;
use std::ops::RangeBounds;
use std::time::{Duration, Instant};

use super::rules::{TRAFFIC, UNRULED};
use super::{Fleet, SOON};
use crate::client::{Load, Outcome, Request, percentile};
use crate::stack::wait_until;

/// Requests per second; every second one meets no rule.
const PER_SECOND: u32 = 400;

/// Enough that requests which have to wait do not keep those from being sent that are due.
const CONNECTIONS: u32 = 200;

/// What the loss of Redis may add to the 99th percentile of latency: the deadline of a command, and some.
const ADDED_P99: Duration = Duration::from_millis(25);

/// Traffic that flows.
#[derive(Debug)]
pub struct Traffic {
    load: Load,
}

impl Traffic {
    /// Begins, on a stack with [`two_rules`](super::two_rules), and returns once there is enough of it to compare with.
    ///
    /// # Panics
    /// If the requests are not answered, as [`Self::flow`].
    #[must_use]
    pub fn start(fleet: &Fleet) -> Self {
        let request = |number| Request::get(if is_ruled(number) { TRAFFIC } else { UNRULED });
        let load = Load::start(&[fleet.edge().http()], PER_SECOND, CONNECTIONS, request).unwrap();
        let traffic = Self { load };
        traffic.flow(Duration::from_secs(2));
        traffic
    }

    /// Waits until as many requests more are answered as are due in `time`.
    ///
    /// # Panics
    /// If that takes much longer.
    pub fn flow(&self, time: Duration) {
        let enough = self.load.answered() + time.as_millis() as usize * PER_SECOND as usize / 1000;
        let outcome = wait_until("requests to be answered", time + SOON, || {
            let answered = self.load.answered();
            if answered >= enough { Ok(()) } else { Err(format!("{answered} of {enough}")) }
        });
        outcome.unwrap();
    }

    /// Ends it. Every request must have passed, and between `from` and `to` those that meet a rule hardly later than
    /// before, or than those that meet none: on a busy machine all are late at times.
    ///
    /// # Panics
    /// If not.
    pub fn stop_unharmed(self, from: Instant, to: Instant) {
        let outcomes = self.load.stop().unwrap();
        let failed = outcomes.iter().filter(|outcome| outcome.status() != 200).count();
        let example = outcomes.iter().find(|outcome| outcome.status() != 200);
        assert_eq!(failed, 0, "of {}, such as {example:?}", outcomes.len());

        let before = Latencies::of(&outcomes, true, ..from);
        let (during, unruled) =
            (Latencies::of(&outcomes, true, from..to), Latencies::of(&outcomes, false, from..to));
        println!("before {before}; during {during}; without rules {unruled}");
        // On a busy machine chance alone makes one half of the requests that much slower than the other.
        let most = before.p99.max(unruled.p99) * 3 / 2 + ADDED_P99;
        assert!(
            during.p99 < most,
            "the 99th percentile was {:?}, became {:?}",
            before.p99,
            during.p99
        );
    }
}

const fn is_ruled(number: u32) -> bool {
    number.is_multiple_of(2)
}

struct Latencies {
    p50: Duration,
    p99: Duration,
    most: Duration,
}

impl Latencies {
    /// Of the requests with or without rule that were due in a time.
    fn of(outcomes: &[Outcome], ruled: bool, due: impl RangeBounds<Instant>) -> Self {
        let chosen = outcomes
            .iter()
            .filter(|outcome| due.contains(&outcome.due_at) && is_ruled(outcome.number) == ruled);
        let at = |share| percentile(chosen.clone(), share);
        Self { p50: at(0.5), p99: at(0.99), most: at(1.0) }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, most } = self;
        write!(f, "p50 {p50:.1?}, p99 {p99:.1?}, most {most:.1?}")
    }
}
