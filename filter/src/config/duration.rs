//! Durations as they are written in a configuration: a whole number and a unit, `250ms`, `1m`, `365d`.

use std::fmt;
use std::time::Duration;

use super::measure::{Range, Scale};

pub(super) use super::measure::Written;

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Ms,
    S,
    M,
    H,
    D,
}

/// Seconds and up.
pub(super) const WHOLE_SECONDS: &[Unit] = &[Unit::S, Unit::M, Unit::H, Unit::D];

/// The smallest is the millisecond.
impl Scale for Unit {
    const ALL: &'static [Self] = &[Self::Ms, Self::S, Self::M, Self::H, Self::D];

    fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::S => "s",
            Self::M => "m",
            Self::H => "h",
            Self::D => "d",
        }
    }

    fn factor(self) -> u64 {
        match self {
            Self::Ms => 1,
            Self::S => 1000,
            Self::M => 60 * 1000,
            Self::H => 60 * 60 * 1000,
            Self::D => 24 * 60 * 60 * 1000,
        }
    }
}

/// The durations that a setting takes.
pub(super) type DurationRange = Range<Unit>;

impl DurationRange {
    /// The duration that `text` writes, if it is one of these.
    pub(super) fn parse(&self, text: &str) -> Option<Duration> {
        self.amount(text).map(Duration::from_millis)
    }
}

impl fmt::Display for DurationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number of {} from {} to {}", self.units_listed(), self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: DurationRange =
        DurationRange { units: Unit::ALL, min: Written(0, Unit::Ms), max: Written(400, Unit::D) };

    #[test]
    fn each_unit_has_its_length() {
        for (text, ms) in [
            ("250ms", 250),
            ("3s", 3_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("365d", 31_536_000_000),
            ("007s", 7_000),
        ] {
            assert_eq!(ANY.parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn only_digits_and_a_unit_are_a_duration() {
        for text in [
            "", "s", "1", "1 s", " 1s", "1s ", "+1s", "-1s", "1.5s", "1S", "1m30s", "1w", "1us",
            "١s", "1_0s", "0x1s",
        ] {
            assert_eq!(ANY.parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused_not_wrapped() {
        for text in ["18446744073709551616s", "18446744073709551615s", "213503982335d"] {
            assert_eq!(ANY.parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_takes_its_ends_and_its_units_only() {
        let range = DurationRange {
            units: WHOLE_SECONDS,
            min: Written(2, Unit::S),
            max: Written(1, Unit::M),
        };
        for text in ["2s", "60s", "1m"] {
            assert!(range.parse(text).is_some(), "{text}");
        }
        for text in ["1s", "61s", "2m", "2000ms"] {
            assert!(range.parse(text).is_none(), "{text}");
        }
        assert_eq!(range.to_string(), "a whole number of s, m, h or d from 2s to 1m");
    }
}
