//! `breakers[].trip`: what opens a breaker.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use super::super::Trip;
use super::super::duration::{DurationRange, Unit, Written};
use super::super::key::{Absent, Key, Object, Reads};
use super::super::kind::Whole;
use super::super::reader::Value;

const CONSECUTIVE_FAILURES: Key<Whole<NonZeroU32>> = Key {
    name: "consecutive_failures",
    doc: "so many failures in a row",
    takes: Whole::new(1..=1000),
    absent: Absent::Means("none"),
};

const FAILURE_PERCENT: Key<Whole<NonZeroU8>> = Key {
    name: "failure_percent",
    doc: "such a share of the calls in the window failed",
    takes: Whole::new(1..=100),
    absent: Absent::Means("none"),
};

const SLOW_PERCENT: Key<Whole<NonZeroU8>> = Key {
    name: "slow_percent",
    doc: "such a share of the calls in the window was slow; only with `slow_after`",
    takes: Whole::new(1..=100),
    absent: Absent::Means("none"),
};

const SLOW_AFTER: Key<DurationRange> = Key {
    name: "slow_after",
    doc: "a call that takes longer is slow; only with `slow_percent`",
    takes: DurationRange {
        units: &[Unit::Ms, Unit::S, Unit::M],
        min: Written(1, Unit::Ms),
        max: Written(5, Unit::M),
    },
    absent: Absent::Means("none"),
};

const WINDOW: Key<DurationRange> = Key {
    name: "window",
    doc: "the time before now that the two shares are of",
    takes: DurationRange {
        units: &[Unit::Ms, Unit::S, Unit::M],
        min: Written(1, Unit::S),
        max: Written(10, Unit::M),
    },
    absent: Absent::Is(r#""10s""#),
};

const MINIMUM_CALLS: Key<Whole<NonZeroU32>> = Key {
    name: "minimum_calls",
    doc: "with fewer calls in the window the two shares do not count",
    takes: Whole::new(1..=1_000_000),
    absent: Absent::Is("20"),
};

pub(super) const TRIP: Key<Object> = Key {
    name: "trip",
    doc: "what opens it, whichever comes first",
    takes: Object {
        keys: &[
            &CONSECUTIVE_FAILURES,
            &FAILURE_PERCENT,
            &SLOW_PERCENT,
            &SLOW_AFTER,
            &WINDOW,
            &MINIMUM_CALLS,
        ],
        between: r#"{
            "anyOf": [
                {"required": ["consecutive_failures"]},
                {"required": ["failure_percent"]},
                {"required": ["slow_percent"]}
            ],
            "dependentRequired": {"slow_percent": ["slow_after"], "slow_after": ["slow_percent"]}
        }"#,
    },
    absent: Absent::Is(r#"{"consecutive_failures": 5}"#),
};

pub(super) const DEFAULT: Trip = Trip {
    consecutive_failures: NonZeroU32::new(5),
    failure_percent: None,
    slow_percent: None,
    slow_after: Duration::ZERO,
    window: Duration::from_secs(10),
    minimum_calls: NonZeroU32::MIN.saturating_add(19),
};

pub(super) fn read(value: &Value<'_>) -> Option<Trip> {
    TRIP.takes.read(value, |trip| {
        let consecutive_value = CONSECUTIVE_FAILURES.of(trip);
        let consecutive =
            consecutive_value.optional(|value| CONSECUTIVE_FAILURES.takes.read(value));
        let failure_value = FAILURE_PERCENT.of(trip);
        let failure = failure_value.optional(|value| FAILURE_PERCENT.takes.read(value));
        let (slow_value, after_value) = (SLOW_PERCENT.of(trip), SLOW_AFTER.of(trip));
        // Either one makes the other needed.
        let is_slow = slow_value.is_present() || after_value.is_present();
        let slow = if is_slow {
            let (percent, after) =
                (SLOW_PERCENT.takes.read(&slow_value), SLOW_AFTER.takes.read(&after_value));
            percent.zip(after).map(|(percent, after)| (Some(percent), after))
        } else {
            Some((None, Duration::ZERO))
        };
        let window = WINDOW.read_or(trip, DEFAULT.window);
        let minimum_calls = MINIMUM_CALLS.read_or(trip, DEFAULT.minimum_calls);
        if !(consecutive_value.is_present() || failure_value.is_present() || is_slow) {
            let allowed =
                r#"at least one of "consecutive_failures", "failure_percent" and "slow_percent""#;
            return value.refuse_found("no condition".to_owned(), allowed);
        }
        let (slow_percent, slow_after) = slow?;
        Some(Trip {
            consecutive_failures: consecutive?,
            failure_percent: failure?,
            slow_percent,
            slow_after,
            window: window?,
            minimum_calls: minimum_calls?,
        })
    })
}
