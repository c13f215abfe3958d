//! Every metric, its labels and its meaning, in one place.
//!
//! Envoy cuts labels out of names by the `stats_tags` of its bootstrap: `meliproxy_x.rule=a` is served as
//! `meliproxy_x{rule="a"}`. Label values are closed sets or names from the configuration (which hold no dot), so no
//! client can make a new series.

/// What was decided, and what the decision rested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Redis was asked.
    AllowedByRedis,
    /// Counted by this process.
    AllowedByProcess,
    /// Paid for out of what was taken ahead of Redis' counters.
    AllowedByLease,
    /// Redis was asked.
    DeniedByRedis,
    /// Counted by this process.
    DeniedByProcess,
    /// Refused from what Redis said before, until the time it named.
    DeniedFromMemory,
    /// Refused by an override, whatever was counted.
    DeniedByConfig,
    /// Allowed, though a shadow of a rule would have refused it: Redis was asked.
    ShadowedByRedis,
    /// The same, counted by this process.
    ShadowedByProcess,
    /// The same, by an override that refuses its key always.
    ShadowedByConfig,
}

impl Outcome {
    /// What it is called, and what the decision rested on.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        OUTCOMES.get(self as usize).map_or(("", ""), |(_, outcome, source)| (*outcome, *source))
    }
}

/// Why a question to Redis had no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer within the command's deadline.
    Deadline,
    /// The connection was lost while the question was under way.
    Closed,
    /// No connection at the time of the request.
    Unavailable,
    /// Too much under way already.
    Overloaded,
    /// Redis answered with an error, or with what the script never returns.
    Error,
}

/// One series that the filter writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `meliproxy_quota_decisions_total{rule,outcome="allowed"|"denied",source}`, the source being `redis`, `process`,
    /// `lease`, `memory` or `config`: an allowed request counts once for each of its rules, a refused one for
    /// each rule that refused it.
    Decisions {
        /// Index of the rule.
        rule: usize,
        /// What was decided.
        outcome: Outcome,
    },
    /// `meliproxy_redis_latency_us`: histogram of the time from asking Redis to its answer, in microseconds.
    RedisLatency,
    /// `meliproxy_redis_failures_total{cause}`: requests that had to be decided without Redis.
    RedisFailures(Failure),
    /// `meliproxy_redis_connects_total`: connections to Redis that became ready.
    RedisConnects,
    /// `meliproxy_redis_disconnects_total`: ready connections that were lost, and attempts that failed.
    RedisDisconnects,
    /// `meliproxy_redis_connections`: workers of this process whose connection is ready now.
    RedisConnections,
    /// `meliproxy_degraded`: workers of this process that have a Redis configured and count without it now.
    Degraded,
}

/// What kind of series the host keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Is set.
    Gauge,
    /// Collects values in buckets.
    Histogram,
}

/// With what its labels `outcome` and `source` say.
const OUTCOMES: [(Outcome, &str, &str); 10] = [
    (Outcome::AllowedByRedis, "allowed", "redis"),
    (Outcome::AllowedByProcess, "allowed", "process"),
    (Outcome::AllowedByLease, "allowed", "lease"),
    (Outcome::DeniedByRedis, "denied", "redis"),
    (Outcome::DeniedByProcess, "denied", "process"),
    (Outcome::DeniedFromMemory, "denied", "memory"),
    (Outcome::DeniedByConfig, "denied", "config"),
    (Outcome::ShadowedByRedis, "shadowed", "redis"),
    (Outcome::ShadowedByProcess, "shadowed", "process"),
    (Outcome::ShadowedByConfig, "shadowed", "config"),
];
const FAILURES: [(Failure, &str); 5] = [
    (Failure::Deadline, "deadline"),
    (Failure::Closed, "closed"),
    (Failure::Unavailable, "unavailable"),
    (Failure::Overloaded, "overloaded"),
    (Failure::Error, "error"),
];

/// Series that do not depend on the rules; they come first.
const FIXED: usize = 5 + FAILURES.len();
/// Series of one rule.
const PER_RULE: usize = OUTCOMES.len();

/// The place of a series in [`definitions`].
#[must_use]
pub const fn index(metric: Metric) -> usize {
    match metric {
        Metric::RedisLatency => 0,
        Metric::RedisConnects => 1,
        Metric::RedisDisconnects => 2,
        Metric::RedisConnections => 3,
        Metric::Degraded => 4,
        Metric::RedisFailures(cause) => 5 + cause as usize,
        Metric::Decisions { rule, outcome } => FIXED + rule * PER_RULE + outcome as usize,
    }
}

/// All series for a list of rules, each with its full name as Envoy is given it.
#[must_use]
pub fn definitions<'a>(rules: impl Iterator<Item = &'a str>) -> Vec<(Kind, String)> {
    let mut all = vec![
        (Kind::Histogram, "meliproxy_redis_latency_us".to_owned()),
        (Kind::Counter, "meliproxy_redis_connects_total".to_owned()),
        (Kind::Counter, "meliproxy_redis_disconnects_total".to_owned()),
        (Kind::Gauge, "meliproxy_redis_connections".to_owned()),
        (Kind::Gauge, "meliproxy_degraded".to_owned()),
    ];
    for (_, cause) in FAILURES {
        all.push((Kind::Counter, format!("meliproxy_redis_failures_total.cause={cause}")));
    }
    for rule in rules {
        for (_, outcome, source) in OUTCOMES {
            let labels = format!("rule={rule}.outcome={outcome}.source={source}");
            let name = format!("meliproxy_quota_decisions_total.{labels}");
            all.push((Kind::Counter, name));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_the_place_of_its_name() {
        let all = definitions(["a", "b"].into_iter());
        let name = |metric| all[index(metric)].1.as_str();
        assert_eq!(name(Metric::RedisLatency), "meliproxy_redis_latency_us");
        assert_eq!(name(Metric::RedisConnects), "meliproxy_redis_connects_total");
        assert_eq!(name(Metric::RedisDisconnects), "meliproxy_redis_disconnects_total");
        assert_eq!(name(Metric::RedisConnections), "meliproxy_redis_connections");
        assert_eq!(name(Metric::Degraded), "meliproxy_degraded");
        for (cause, text) in FAILURES {
            let expected = format!("meliproxy_redis_failures_total.cause={text}");
            assert_eq!(name(Metric::RedisFailures(cause)), expected);
        }
        for (rule, rule_name) in ["a", "b"].into_iter().enumerate() {
            for (outcome, decided, source) in OUTCOMES {
                let labels = format!("rule={rule_name}.outcome={decided}.source={source}");
                let expected = format!("meliproxy_quota_decisions_total.{labels}");
                assert_eq!(name(Metric::Decisions { rule, outcome }), expected);
                assert_eq!(outcome.words(), (decided, source));
            }
        }
        assert_eq!(all.len(), FIXED + 2 * PER_RULE);
    }
}
