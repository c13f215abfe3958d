//! The reference: what rules admit in one window, as plainly as it can be said.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A rule of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Which parts of a [`Sent`] make its key, by their places.
    pub(super) by: Vec<usize>,
    pub(super) algorithm: Algorithm,
    pub(super) limit: u64,
    pub(super) per: &'static str,
    pub(super) cost: Cost,
    /// For requests of this tenant: another limit, or none at all.
    pub(super) tenant: Option<(&'static str, Option<u64>)>,
    pub(super) shadow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    FixedWindow,
    SlidingWindow,
    TokenBucket { burst: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    Units(u64),
    /// As the field says, or so many.
    Said(u64),
}

/// What rules can look at in a request.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// In the order of [`PARTS`]; the host is in every key, so that each try has counters of its own.
    pub(super) parts: [Option<String>; PARTS.len()],
    pub(super) cost: Option<u64>,
}

/// The parts of keys that scenarios use.
pub(super) const PARTS: [&str; 5] =
    ["host", "client_address", "path", "header:x-tenant", "cookie:session"];

/// Place of the tenant in [`PARTS`].
pub(super) const TENANT: usize = 3;

/// The field that says a cost.
pub(super) const COST: &str = "x-cost";

impl Rule {
    /// As the configuration has it, for requests of `routes`.
    pub(super) fn config(&self, routes: &[String]) -> Value {
        let by: Vec<_> = self.by.iter().map(|place| PARTS[*place]).collect();
        let mut rule = json!({
            "name": self.name, "routes": routes, "by": by, "limit": self.limit, "per": self.per, "shadow": self.shadow,
        });
        match self.algorithm {
            Algorithm::FixedWindow => rule["algorithm"] = json!("fixed_window"),
            Algorithm::SlidingWindow => rule["algorithm"] = json!("sliding_window"),
            Algorithm::TokenBucket { burst } => {
                rule["algorithm"] = json!("token_bucket");
                rule["burst"] = json!(burst);
            }
        }
        rule["cost"] = match self.cost {
            Cost::Units(units) => json!(units),
            Cost::Said(default) => json!({"header": COST, "default": default}),
        };
        if let Some((tenant, limit)) = self.tenant {
            let treatment = match limit {
                Some(limit) => ("limit", json!(limit)),
                None => ("action", json!("exempt")),
            };
            let found = json!({PARTS[TENANT]: tenant});
            rule["overrides"] = json!([{"match": found, treatment.0: treatment.1}]);
        }
        rule
    }

    /// Units that requests like this one have all together, if the rule is for them.
    fn capacity(&self, sent: &Sent) -> Option<u64> {
        match self.tenant {
            Some((tenant, limit)) if sent.parts[TENANT].as_deref() == Some(tenant) => limit,
            _ => Some(match self.algorithm {
                Algorithm::TokenBucket { burst } => burst,
                Algorithm::FixedWindow | Algorithm::SlidingWindow => self.limit,
            }),
        }
    }

    fn cost(&self, sent: &Sent) -> u64 {
        match self.cost {
            Cost::Units(units) => units,
            Cost::Said(default) => sent.cost.unwrap_or(default),
        }
    }
}

/// Counters, by rule and key.
#[derive(Debug, Default)]
pub(super) struct Model {
    taken: BTreeMap<(String, Vec<Option<String>>), u64>,
}

impl Model {
    /// The rules that have no room for a request.
    pub(super) fn full<'a>(&self, rules: &'a [Rule], sent: &Sent) -> Vec<&'a str> {
        let is_full = |rule: &&Rule| {
            let taken = self.taken.get(&key(rule, sent)).copied().unwrap_or_default();
            let fits = |capacity| taken + rule.cost(sent) <= capacity;
            !rule.shadow && !rule.capacity(sent).is_none_or(fits)
        };
        rules.iter().filter(is_full).map(|rule| rule.name.as_str()).collect()
    }

    /// Counts a request on all rules that are for it.
    pub(super) fn take(&mut self, rules: &[Rule], sent: &Sent) {
        for rule in rules.iter().filter(|rule| rule.capacity(sent).is_some()) {
            *self.taken.entry(key(rule, sent)).or_default() += rule.cost(sent);
        }
    }
}

fn key(rule: &Rule, sent: &Sent) -> (String, Vec<Option<String>>) {
    (rule.name.clone(), rule.by.iter().map(|place| sent.parts[*place].clone()).collect())
}
