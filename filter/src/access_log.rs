//! What Envoy's access log can print of a request that a rule applied to: who decided, how, and on what grounds.
//!
//! Envoy keeps it with the request as the filter state `wasm.meliproxy.decision`, one line of five pairs (logfmt):
//!
//! ```text
//! rule=per-origin outcome=allowed source=redis remaining=7 redis_us=412
//! ```
//!
//! | key | is |
//! | --- | --- |
//! | `rule` | the rule that decided: of those that refuse, or would, the one that does so for longest; otherwise the one with the fewest units left; or the breaker that refused |
//! | `outcome` | `allowed`, `denied`, or `shadowed`: allowed, though a shadow would have refused it |
//! | `source` | `redis`; `lease`: taken ahead in Redis; `process`: the counters of this process; `memory`: what Redis said before; `config`: an override; `breaker`: a breaker that is not closed |
//! | `remaining` | units that the rule has left, 0 if it refuses; `-` if nothing was counted for it |
//! | `redis_us` | microseconds for which the request waited for Redis, in vain ones included; 0 if it did not |
//!
//! The words are a closed set, the names come from the configuration (letters, digits, `_` and `-`), the rest are
//! numbers: no client can write into the log.

use std::time::Duration;

#[cfg(doc)]
use crate::metrics::Outcome;

/// What is said of a request that a breaker refuses.
pub const BY_BREAKER: (&str, &str) = ("denied", "breaker");

/// What the line is called among the properties of a request; Envoy puts `wasm.` before it.
pub const FILTER_STATE: &str = "meliproxy.decision";

/// Room for all but the name: the words, and numbers of usual length.
const PAIRS_BYTES: usize = 96;

/// What is told of one request.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Name of the rule, or of the breaker.
    pub rule: &'a str,
    /// What was decided, and what that rested on: see [`Outcome::words`], or [`BY_BREAKER`].
    pub words: (&'static str, &'static str),
    /// Units that are left.
    pub remaining: Option<u64>,
    /// How long the request waited for Redis.
    pub waited: Duration,
}

impl Entry<'_> {
    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { rule, words: (outcome, source), remaining, waited } = self;
        let mut line = String::with_capacity(rule.len().saturating_add(PAIRS_BYTES));
        let mut digits = itoa::Buffer::new();
        let pairs = [("rule=", *rule), (" outcome=", outcome), (" source=", source)];
        for (key, value) in pairs {
            line.push_str(key);
            line.push_str(value);
        }
        line.push_str(" remaining=");
        line.push_str(remaining.map_or("-", |units| digits.format(units)));
        line.push_str(" redis_us=");
        line.push_str(digits.format(waited.as_micros()));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Outcome;

    #[test]
    fn a_line_has_five_pairs() {
        let mut entry = Entry {
            rule: "per-origin",
            words: Outcome::DeniedByRedis.words(),
            remaining: Some(u64::MAX),
            waited: Duration::from_nanos(412_999),
        };
        let most = "remaining=18446744073709551615";
        assert_eq!(
            entry.line(),
            format!("rule=per-origin outcome=denied source=redis {most} redis_us=412")
        );
        entry.words = Outcome::ShadowedByConfig.words();
        entry.remaining = None;
        entry.waited = Duration::ZERO;
        assert_eq!(
            entry.line(),
            "rule=per-origin outcome=shadowed source=config remaining=- redis_us=0"
        );
    }
}
