//! Sizes as they are written in a configuration: bytes, or a whole number and a unit, `0B`, `512KiB`, `8MiB`.

use std::fmt;

use super::measure::{Range, Scale};

pub(super) use super::measure::Written;

/// A unit of size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Kib,
    Mib,
    Gib,
}

/// The smallest is the byte.
impl Scale for Unit {
    const ALL: &'static [Self] = &[Self::Bytes, Self::Kib, Self::Mib, Self::Gib];

    fn name(self) -> &'static str {
        match self {
            Self::Bytes => "B",
            Self::Kib => "KiB",
            Self::Mib => "MiB",
            Self::Gib => "GiB",
        }
    }

    fn factor(self) -> u64 {
        match self {
            Self::Bytes => 1,
            Self::Kib => 1 << 10,
            Self::Mib => 1 << 20,
            Self::Gib => 1 << 30,
        }
    }
}

/// The sizes that a setting takes.
pub(super) type SizeRange = Range<Unit>;

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.units_listed();
        let (min, max) = (self.min, self.max);
        write!(f, "a number of bytes, or a whole number of {units}, from {min} to {max}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SizeRange =
        SizeRange { units: Unit::ALL, min: Written(0, Unit::Bytes), max: Written(64, Unit::Gib) };

    #[test]
    fn each_unit_has_its_size() {
        for (text, bytes) in [
            ("0B", 0),
            ("250B", 250),
            ("3KiB", 3_072),
            ("8MiB", 8_388_608),
            ("1GiB", 1_073_741_824),
            ("64GiB", 68_719_476_736),
            ("007KiB", 7_168),
        ] {
            assert_eq!(ANY.amount(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn only_digits_and_a_unit_are_a_size() {
        for text in [
            "", "B", "1", "1 B", " 1B", "1B ", "+1B", "-1B", "1.5MiB", "1b", "1kib", "1KIB", "1KB",
            "1MB", "1M", "1Ki", "1TiB", "1MiB1B", "١B", "1_0B", "0x1B",
        ] {
            assert_eq!(ANY.amount(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused_not_wrapped() {
        for text in ["18446744073709551616B", "18446744073709551615KiB", "17179869184GiB"] {
            assert_eq!(ANY.amount(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_takes_its_ends_and_its_units_only() {
        let range = SizeRange {
            units: &[Unit::Bytes, Unit::Kib],
            min: Written(2, Unit::Bytes),
            max: Written(1024, Unit::Kib),
        };
        for text in ["2B", "1048576B", "1024KiB"] {
            assert!(range.amount(text).is_some(), "{text}");
        }
        for text in ["1B", "1048577B", "1025KiB", "1MiB"] {
            assert!(range.amount(text).is_none(), "{text}");
        }
        for (bytes, is_taken) in [(1, false), (2, true), (1_048_576, true), (1_048_577, false)] {
            assert_eq!(range.contains(bytes), is_taken, "{bytes}");
        }
        let expected = "a number of bytes, or a whole number of B or KiB, from 2B to 1024KiB";
        assert_eq!(range.to_string(), expected);
    }
}
