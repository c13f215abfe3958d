//! Durations as they are written in a configuration: a whole number and a unit, `250ms`, `1m`, `365d`.

use std::fmt;
use std::time::Duration;

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

impl Unit {
    const ALL: [Self; 5] = [Self::Ms, Self::S, Self::M, Self::H, Self::D];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::S => "s",
            Self::M => "m",
            Self::H => "h",
            Self::D => "d",
        }
    }

    const fn as_ms(self) -> u64 {
        match self {
            Self::Ms => 1,
            Self::S => 1000,
            Self::M => 60 * 1000,
            Self::H => 60 * 60 * 1000,
            Self::D => 24 * 60 * 60 * 1000,
        }
    }
}

/// A duration as it is written.
#[derive(Clone, Copy)]
pub(super) struct Written(pub(super) u64, pub(super) Unit);

impl Written {
    /// Reads digits and a unit, and nothing else.
    fn parse(text: &str) -> Option<Self> {
        let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
        let unit = Unit::ALL.into_iter().find(|candidate| candidate.name() == unit)?;
        Some(Self(digits.parse().ok()?, unit))
    }

    const fn as_ms(self) -> Option<u64> {
        self.0.checked_mul(self.1.as_ms())
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, self.1.name())
    }
}

/// The durations that a setting takes.
pub(super) struct DurationRange {
    pub(super) units: &'static [Unit],
    pub(super) min: Written,
    pub(super) max: Written,
}

impl DurationRange {
    /// The duration that `text` writes, if it is one of these.
    pub(super) fn parse(&self, text: &str) -> Option<Duration> {
        let written = Written::parse(text).filter(|written| self.units.contains(&written.1))?;
        let ms = written.as_ms()?;
        (self.min.as_ms()? <= ms && ms <= self.max.as_ms()?).then(|| Duration::from_millis(ms))
    }
}

impl fmt::Display for DurationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units: Vec<_> = self.units.iter().map(|unit| unit.name()).collect();
        let units = match units.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            Some(_) | None => units.concat(),
        };
        write!(f, "a whole number of {units} from {} to {}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: DurationRange =
        DurationRange { units: &Unit::ALL, min: Written(0, Unit::Ms), max: Written(400, Unit::D) };

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
