//! Response header fields that tell clients how they stand.
//!
//! `RateLimit-Policy` and `RateLimit` have the form of draft-ietf-httpapi-ratelimit-headers-11: lists of structured
//! fields (RFC 9651), one member for each rule, called by its name.
//!
//! ```text
//! RateLimit-Policy: "per-origin";q=1000;w=60, "items";q=10;w=60
//! RateLimit: "per-origin";r=999;t=12, "items";r=9;t=12
//! ```
//!
//! | parameter | is | unit |
//! | --- | --- | --- |
//! | `q` | the limit; an override's, for keys that have one | units |
//! | `w` | `per`; left out for months, whose lengths differ | seconds |
//! | `meliproxy-burst` | `burst` of a token bucket, where it is not the limit: the draft (§3.1) takes parameters of one's own, under a name of one's own | units |
//! | `r` | what is left; 0 for a rule that refuses | units |
//! | `t` | time until the rule has more to give, rounded up, so that who waits for it is not early | seconds |
//!
//! The partition key `pk` is left out: it would repeat to clients what they have sent. Rules that are shadows are not
//! told of, as they keep nobody from anything.
//!
//! `X-RateLimit-Limit`, `-Remaining` and `-Reset` are no standard and no lists: they tell of one rule, that with the
//! fewest units left, and reset is in seconds from now, as Envoy's own filters have it.

use std::fmt::Write;

use crate::config::{Algorithm, Config, Per, ResponseFields, Rule};
use crate::http::Fields;
use crate::quota::policy::Policy;
use crate::quota::{Check, Standing};
use crate::refusal::delay_seconds;

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";
const X_LIMIT: &str = "x-ratelimit-limit";
const X_REMAINING: &str = "x-ratelimit-remaining";
const X_RESET: &str = "x-ratelimit-reset";

/// The largest integer (RFC 9651 §3.3.1). Limits are not larger; what a store makes of its counters might be.
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// Room for a list of four members of usual length.
const LIST_BYTES: usize = 160;

/// Whether a field is a list, which may be continued in a further line (RFC 9110 §5.3); of the others there is one.
#[must_use]
pub fn is_list(name: &str) -> bool {
    matches!(name, POLICY | LIMIT)
}

/// Tells how requests stand; what is the same for all of them is prepared.
#[derive(Debug)]
pub struct Announcer {
    fields: ResponseFields,
    /// By rule.
    rules: Vec<Announced>,
}

/// What there is to tell of a rule before any request.
#[derive(Debug)]
struct Announced {
    policy: Policy,
    /// The member in `RateLimit-Policy`, of keys without an override.
    member: String,
    /// Bytes of the name in it, quotes included.
    name_bytes: usize,
}

impl Announcer {
    /// One for the rules of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let rules = config.rules.iter().map(Announced::new).collect();
        Self { fields: config.response_fields, rules }
    }

    /// The fields of a request that is held against `checks`, some or all of which stand as in `standings`. None if
    /// no rule is to be told of.
    pub fn fields<'c>(
        &self,
        checks: &'c [Check],
        standings: impl Iterator<Item = (&'c Check, Standing)> + Clone,
    ) -> Fields {
        let mut fields = Vec::new();
        if self.fields.ratelimit {
            let policy =
                self.list(checks.iter().map(|check| (check, ())), |rule, check, (), list| {
                    rule.push_policy(&check.policy, list);
                });
            let limit = self.list(standings.clone(), |rule, _, standing, list| {
                rule.push_limit(standing, list);
            });
            fields.extend([(POLICY, policy), (LIMIT, limit)]);
            fields.retain(|(_, list)| !list.is_empty());
        }
        if self.fields.x_ratelimit {
            let announced = standings.filter(|(check, _)| self.rule(check).is_some());
            if let Some((check, standing)) = tightest(announced) {
                fields.extend([
                    (X_LIMIT, check.policy.limit.to_string()),
                    (X_REMAINING, remaining(standing).to_string()),
                    (X_RESET, delay_seconds(standing.reset_after()).to_string()),
                ]);
            }
        }
        fields
    }

    /// What there is to tell of a check; nothing of a shadow.
    fn rule(&self, check: &Check) -> Option<&Announced> {
        self.rules.get(check.rule).filter(|_| check.enforced)
    }

    /// A list with what `push` writes for each item whose rule is told of.
    fn list<'c, T>(
        &self,
        items: impl Iterator<Item = (&'c Check, T)>,
        push: impl Fn(&Announced, &Check, T, &mut String),
    ) -> String {
        let mut list = String::with_capacity(LIST_BYTES);
        for (check, item) in items {
            let Some(rule) = self.rule(check) else { continue };
            if !list.is_empty() {
                list.push_str(", ");
            }
            push(rule, check, item, &mut list);
        }
        list
    }
}

impl Announced {
    fn new(rule: &Rule) -> Self {
        let policy = Policy::of(rule);
        // A name is made of letters, digits, `_` and `-`: a string of RFC 9651 §3.3.3 with nothing to escape.
        let mut member = format!("\"{}\"", rule.name);
        let name_bytes = member.len();
        push_parameters(&policy, &mut member);
        Self { policy, member, name_bytes }
    }

    fn name(&self) -> &str {
        self.member.get(..self.name_bytes).unwrap_or_default()
    }

    fn push_policy(&self, policy: &Policy, list: &mut String) {
        if *policy == self.policy {
            list.push_str(&self.member);
        } else {
            list.push_str(self.name());
            push_parameters(policy, list);
        }
    }

    fn push_limit(&self, standing: Standing, list: &mut String) {
        let r = remaining(standing).min(MAX_INTEGER);
        let t = delay_seconds(standing.reset_after()).min(MAX_INTEGER);
        let mut digits = itoa::Buffer::new();
        list.push_str(self.name());
        list.push_str(";r=");
        list.push_str(digits.format(r));
        list.push_str(";t=");
        list.push_str(digits.format(t));
    }
}

/// Appends what `RateLimit-Policy` says of a policy.
fn push_parameters(policy: &Policy, member: &mut String) {
    let _ = write!(member, ";q={}", policy.limit);
    if let Per::Span(span) = policy.per {
        let _ = write!(member, ";w={}", span.as_secs());
    }
    match policy.algorithm {
        Algorithm::TokenBucket { burst } if burst.get() != policy.limit => {
            let _ = write!(member, ";meliproxy-burst={burst}");
        }
        Algorithm::TokenBucket { .. } | Algorithm::FixedWindow | Algorithm::SlidingWindow => {}
    }
}

/// The check with the fewest units left to tell of; of equals the one that lasts longest.
pub fn tightest<'c>(
    standings: impl Iterator<Item = (&'c Check, Standing)>,
) -> Option<(&'c Check, Standing)> {
    standings.min_by(|(_, a), (_, b)| {
        let order = remaining(*a).cmp(&remaining(*b));
        order.then_with(|| b.reset_after().cmp(&a.reset_after()))
    })
}

/// What is told to be left: nothing by a rule that refuses, though something cheaper might still pass.
#[must_use]
pub const fn remaining(standing: Standing) -> u64 {
    if standing.is_exceeded() { 0 } else { standing.remaining() }
}
#[cfg(test)]
mod tests;
