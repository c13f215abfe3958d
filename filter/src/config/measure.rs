//! What is written as a whole number and a unit: `250ms`, `8MiB`.

use std::fmt;

/// Units of one quantity.
pub(super) trait Scale: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// As it is written.
    fn name(self) -> &'static str;

    /// How many of the smallest unit it is.
    fn factor(self) -> u64;
}

/// A quantity as it is written.
#[derive(Clone, Copy)]
pub(super) struct Written<U>(pub(super) u64, pub(super) U);

impl<U: Scale> Written<U> {
    /// Reads digits and a unit, and nothing else.
    fn parse(text: &str) -> Option<Self> {
        let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
        let unit = U::ALL.iter().find(|candidate| candidate.name() == unit)?;
        Some(Self(digits.parse().ok()?, *unit))
    }

    /// In the smallest unit, if 64 bits hold it.
    fn amount(self) -> Option<u64> {
        self.0.checked_mul(self.1.factor())
    }
}

impl<U: Scale> fmt::Display for Written<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, self.1.name())
    }
}

/// The quantities that a setting takes.
pub(super) struct Range<U: 'static> {
    pub(super) units: &'static [U],
    pub(super) min: Written<U>,
    pub(super) max: Written<U>,
}

impl<U: Scale> Range<U> {
    /// The quantity that `text` writes, in the smallest unit, if it is one of these.
    pub(super) fn amount(&self, text: &str) -> Option<u64> {
        let written = Written::parse(text).filter(|written| self.units.contains(&written.1))?;
        written.amount().filter(|amount| self.contains(*amount))
    }

    /// Whether it takes so many of the smallest unit.
    pub(super) fn contains(&self, amount: u64) -> bool {
        let [min, max] = self.ends();
        min.is_some_and(|min| min <= amount) && max.is_some_and(|max| amount <= max)
    }

    /// The smallest and the largest quantity, in the smallest unit.
    pub(super) fn ends(&self) -> [Option<u64>; 2] {
        [self.min, self.max].map(Written::amount)
    }

    /// Its units in words: `s, m or h`.
    pub(super) fn units_listed(&self) -> String {
        let units: Vec<_> = self.units.iter().map(|unit| unit.name()).collect();
        match units.split_last() {
            Some((last, others)) if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            Some(_) | None => units.concat(),
        }
    }

    /// How its texts look, as a regular expression (ECMA-262). It matches any number of these units.
    pub(super) fn pattern(&self) -> String {
        let units: Vec<_> = self.units.iter().map(|unit| unit.name()).collect();
        format!("^[0-9]+({})$", units.join("|"))
    }
}
