//! One rule, ready for requests: which of its counters a request falls on, and on what terms.

use std::num::NonZeroU64;

use super::Check;
use super::overrides::Overrides;
use super::policy::Policy;
use crate::config::{Algorithm, KeyPart, Per, Precision, Rule, Treatment};
use crate::key::{self, HashSeed, KeyHash, PartList, PartPlace, Parts};

/// Most units that a request can say it takes.
const MOST_UNITS: u64 = 1_000_000;

/// What follows from one rule alone.
#[derive(Clone, Debug)]
pub struct Terms {
    prefix: Vec<u8>,
    by: Vec<PartPlace>,
    policy: Policy,
    precision: Precision,
    units: u64,
    /// The field that says the cost instead.
    units_field: Option<PartPlace>,
    overrides: Overrides,
    /// 0 for a shadow.
    enforce_percent: u8,
}

/// What a rule has to say of a request.
#[derive(Debug)]
pub enum Application {
    /// It is held against a counter.
    Check(Check),
    /// It is refused, whatever was counted.
    Refuse {
        /// Whether that is done, or only would be.
        enforced: bool,
    },
    /// The rule is not for it.
    Exempt,
}

impl Terms {
    /// The terms of `rule`; the parts that they need of requests are added to `parts`.
    #[must_use]
    pub fn new(namespace: &str, rule: &Rule, parts: &mut PartList) -> Self {
        let units_field = rule.cost.header.as_ref();
        Self {
            prefix: prefix(namespace, rule),
            by: rule.by.iter().map(|part| parts.add(part)).collect(),
            policy: Policy::of(rule),
            precision: rule.precision,
            units: rule.cost.units.get(),
            units_field: units_field.map(|name| parts.add(&KeyPart::Header(name.clone()))),
            overrides: Overrides::new(&rule.overrides, parts),
            enforce_percent: if rule.shadow { 0 } else { rule.enforce_percent },
        }
    }

    /// Applies the rule, which is number `rule`, to a request with these `parts`.
    pub fn apply(&self, rule: usize, parts: &mut Parts<'_>, seed: &HashSeed) -> Application {
        let treatment = self.overrides.find(parts);
        if treatment == Some(Treatment::Exempt) {
            return Application::Exempt;
        }
        let name = parts.name(&self.prefix, &self.by);
        let enforced = key::is_enforced(&name, self.enforce_percent);
        let policy = match treatment {
            Some(Treatment::Refuse) => return Application::Refuse { enforced },
            Some(Treatment::Limit { limit, burst }) => self.policy_with(limit, burst),
            Some(Treatment::Exempt) | None => self.policy,
        };
        let (policy, lease_life) = match self.precision {
            Precision::Exact => (policy, None),
            Precision::Leased => policy.leased(),
        };
        let (hash, cost) = (KeyHash::of(seed, &name), self.cost(parts));
        Application::Check(Check { rule, policy, cost, name, hash, enforced, lease_life })
    }

    /// The rule's policy with other numbers.
    const fn policy_with(&self, limit: NonZeroU64, burst: NonZeroU64) -> Policy {
        let algorithm = match self.policy.algorithm {
            Algorithm::TokenBucket { .. } => Algorithm::TokenBucket { burst },
            other @ (Algorithm::FixedWindow | Algorithm::SlidingWindow) => other,
        };
        Policy { algorithm, limit: limit.get(), ..self.policy }
    }

    /// The units that a request takes: what its field says, where that is a number that may be said.
    fn cost(&self, parts: &mut Parts<'_>) -> u64 {
        let said = self.units_field.and_then(|place| units(parts.value(place)?));
        said.unwrap_or(self.units)
    }
}

/// What the names of all counters of one rule begin with: `mp:{<namespace>}:<kind>:1:<rule>:<per>:`, before the id of
/// the key.
///
/// The kind is `fw`, `sw` or `tb` (fixed window, sliding window, token bucket), `1` the version of what is stored
/// there, and `per` in seconds or `month`: a rule whose algorithm or `per` was edited must start a counter of its own.
/// The braces keep all counters of one namespace in one Redis Cluster slot, as one script call touches several of them.
fn prefix(namespace: &str, rule: &Rule) -> Vec<u8> {
    let kind = match rule.algorithm {
        Algorithm::FixedWindow => "fw",
        Algorithm::SlidingWindow => "sw",
        Algorithm::TokenBucket { .. } => "tb",
    };
    let per = match rule.per {
        Per::Span(span) => span.as_secs().to_string(),
        Per::Month => "month".to_owned(),
    };
    format!("mp:{{{namespace}}}:{kind}:1:{}:{per}:", rule.name).into_bytes()
}

/// Decimal digits that make a number from 1 to [`MOST_UNITS`].
fn units(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (1..=MOST_UNITS).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_whole_numbers_in_range() {
        for (text, expected) in [
            ("1", Some(1)),
            ("0042", Some(42)),
            ("1000000", Some(MOST_UNITS)),
            ("1000001", None),
            ("0", None),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1.0", None),
            (" 1", None),
            ("1,2", None),
            ("18446744073709551617", None),
        ] {
            assert_eq!(units(text.as_bytes()), expected, "{text:?}");
        }
    }
}
