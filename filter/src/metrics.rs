//! Every metric, its labels and its meaning, in one place.
//!
//! Envoy cuts labels out of names by the `stats_tags` of its bootstrap: `meliproxy_x.rule=a` is served as
//! `meliproxy_x{rule="a"}`. Label values are closed sets or names from the configuration (which hold no dot), so no
//! client can make a new series.

use crate::breaker::board::{ProbeResult, Scope};
use crate::breaker::record::Cause;
use crate::cache::keeper::{Miss, Series as CacheSeries, Stale, Tier};
use crate::cache::request::Bypass;
use crate::cache::storable::Refusal as StoreRefusal;

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

/// What kept a request from its upstream, or would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A breaker that is not closed.
    Refused,
    /// The same, by a shadow: it passed.
    Shadowed,
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
    /// Of one breaker.
    Breaker {
        /// Index of the breaker.
        breaker: usize,
        /// Which series.
        series: BreakerSeries,
    },
    /// Of one cache policy: `meliproxy_cache_hits_total{cache,tier="l1"|"l2"}`,
    /// `meliproxy_cache_stale_total{cache,cause}`, `meliproxy_cache_misses_total{cache,reason}`,
    /// `meliproxy_cache_bypasses_total{cache,reason}`, `meliproxy_cache_collapsed_total{cache}`,
    /// `meliproxy_cache_stored_total{cache}`, `meliproxy_cache_not_stored_total{cache,reason}` and
    /// `meliproxy_cache_invalidations_total{cache}`: requests, or their responses.
    Cache {
        /// Index of the policy.
        cache: usize,
        /// Which series.
        series: CacheSeries,
    },
    /// `meliproxy_cache_served_bytes_total{cache}`: bytes of bodies that were sent out of stored responses.
    CacheServedBytes {
        /// Index of the policy.
        cache: usize,
    },
    /// `meliproxy_cache_purges_total{outcome="done"|"failed"}`: invalidations by hand.
    CachePurges(Purge),
    /// `meliproxy_cache_memory_bytes`: what the worker that was heard last keeps in its memory.
    CacheMemory,
}

/// What has come of an invalidation by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// All workers know of it.
    Done,
    /// Redis could not be told.
    Failed,
}

/// How many of what has series of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rules.
    pub rules: usize,
    /// Breakers.
    pub breakers: usize,
}

/// One series of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerSeries {
    /// `meliproxy_breaker_state{breaker,scope}`: 0 closed, 1 half-open, 2 open; of several keys the highest.
    State(Scope),
    /// `meliproxy_breaker_open_seconds_total{breaker,scope}`: how long any of its keys has been open.
    OpenSeconds(Scope),
    /// `meliproxy_breaker_transitions_total{breaker,scope,cause}`: once in a process, also of the fleet's.
    Transitions(Scope, Cause),
    /// `meliproxy_breaker_refused_total{breaker,outcome="refused"|"shadowed"}`: requests.
    Refused(Refusal),
    /// `meliproxy_breaker_probes_total{breaker,result}`: trial requests of this process that have ended, and permits of
    /// others that it has found lapsed.
    Probes(ProbeResult),
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

const SCOPES: [(Scope, &str); 2] = [(Scope::Replica, "replica"), (Scope::Fleet, "fleet")];
const REFUSALS: [(Refusal, &str); 2] =
    [(Refusal::Refused, "refused"), (Refusal::Shadowed, "shadowed")];
const RESULTS: [(ProbeResult, &str); 4] = [
    (ProbeResult::Succeeded, "succeeded"),
    (ProbeResult::Failed, "failed"),
    (ProbeResult::GivenUp, "given_up"),
    (ProbeResult::Lapsed, "lapsed"),
];

const PURGES: [(Purge, &str); 2] = [(Purge::Done, "done"), (Purge::Failed, "failed")];

/// Series that do not depend on the configuration; they come first.
const FIXED: usize = 5 + FAILURES.len() + PURGES.len() + 1;
/// Series of one cache policy, in the order of [`cache_place`], and the bytes.
const PER_CACHE: usize = Tier::ALL.len()
    + Stale::ALL.len()
    + Miss::ALL.len()
    + Bypass::ALL.len()
    + StoreRefusal::ALL.len()
    + SINGLE.len()
    + 1;
/// Those without a label of their own.
const SINGLE: [&str; 4] =
    ["collapsed_total", "stored_total", "invalidations_total", "served_bytes_total"];
/// Why else a response is not stored.
const OUTRUN: &str = "outrun";
/// Series of one rule.
const PER_RULE: usize = OUTCOMES.len();
/// Series of one breaker, in the order of [`BreakerSeries`].
const PER_BREAKER: usize =
    2 * SCOPES.len() + SCOPES.len() * Cause::ALL.len() + REFUSALS.len() + RESULTS.len();

/// The place of a series in [`definitions`].
#[must_use]
pub const fn index(metric: Metric, layout: Layout) -> usize {
    let breakers = FIXED + layout.rules * PER_RULE;
    let caches = breakers + layout.breakers * PER_BREAKER;
    match metric {
        Metric::RedisLatency => 0,
        Metric::RedisConnects => 1,
        Metric::RedisDisconnects => 2,
        Metric::RedisConnections => 3,
        Metric::Degraded => 4,
        Metric::RedisFailures(cause) => 5 + cause as usize,
        Metric::Decisions { rule, outcome } => FIXED + rule * PER_RULE + outcome as usize,
        Metric::Breaker { breaker, series } => breakers + breaker * PER_BREAKER + series.place(),
        Metric::CachePurges(outcome) => 5 + FAILURES.len() + outcome as usize,
        Metric::CacheMemory => FIXED - 1,
        Metric::Cache { cache, series } => caches + cache * PER_CACHE + cache_place(series),
        Metric::CacheServedBytes { cache } => caches + (cache + 1) * PER_CACHE - 1,
    }
}

const fn cache_place(series: CacheSeries) -> usize {
    const STALE: usize = Tier::ALL.len();
    const MISSES: usize = STALE + Stale::ALL.len();
    const BYPASSES: usize = MISSES + Miss::ALL.len();
    const NOT_STORED: usize = BYPASSES + Bypass::ALL.len();
    const SINGLE: usize = NOT_STORED + StoreRefusal::ALL.len() + 1;
    match series {
        CacheSeries::Hit(tier) => tier as usize,
        CacheSeries::Stale(cause) => STALE + cause as usize,
        CacheSeries::Miss(reason) => MISSES + reason as usize,
        CacheSeries::Bypass(reason) => BYPASSES + reason as usize,
        CacheSeries::NotStored(reason) => NOT_STORED + reason as usize,
        CacheSeries::Outrun => SINGLE - 1,
        CacheSeries::Collapsed => SINGLE,
        CacheSeries::Stored => SINGLE + 1,
        CacheSeries::Invalidated => SINGLE + 2,
    }
}

impl BreakerSeries {
    const fn place(self) -> usize {
        const TRANSITIONS: usize = 2 * SCOPES.len();
        const REFUSED: usize = TRANSITIONS + SCOPES.len() * Cause::ALL.len();
        match self {
            Self::State(scope) => scope as usize,
            Self::OpenSeconds(scope) => SCOPES.len() + scope as usize,
            Self::Transitions(scope, cause) => {
                TRANSITIONS + scope as usize * Cause::ALL.len() + cause as usize
            }
            Self::Refused(outcome) => REFUSED + outcome as usize,
            Self::Probes(result) => REFUSED + REFUSALS.len() + result as usize,
        }
    }
}

/// All series for the names of rules, breakers and cache policies, each with its full name as Envoy is given it.
#[must_use]
pub fn definitions<'a>(
    rules: impl Iterator<Item = &'a str>,
    breakers: impl Iterator<Item = &'a str>,
    caches: impl Iterator<Item = &'a str>,
) -> Vec<(Kind, String)> {
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
    for (_, outcome) in PURGES {
        all.push((Kind::Counter, format!("meliproxy_cache_purges_total.outcome={outcome}")));
    }
    all.push((Kind::Gauge, "meliproxy_cache_memory_bytes".to_owned()));
    for rule in rules {
        for (_, outcome, source) in OUTCOMES {
            let labels = format!("rule={rule}.outcome={outcome}.source={source}");
            let name = format!("meliproxy_quota_decisions_total.{labels}");
            all.push((Kind::Counter, name));
        }
    }
    breakers.for_each(|breaker| define_breaker(breaker, &mut all));
    caches.for_each(|cache| define_cache(cache, &mut all));
    all
}

fn define_cache(cache: &str, all: &mut Vec<(Kind, String)>) {
    let mut define = |series: &str, label: &str, value: &str| {
        let label = if label.is_empty() { String::new() } else { format!(".{label}={value}") };
        all.push((Kind::Counter, format!("meliproxy_cache_{series}.cache={cache}{label}")));
    };
    Tier::ALL.iter().for_each(|(_, tier)| define("hits_total", "tier", tier));
    Stale::ALL.iter().for_each(|(_, cause)| define("stale_total", "cause", cause));
    Miss::ALL.iter().for_each(|(_, reason)| define("misses_total", "reason", reason));
    Bypass::ALL.iter().for_each(|reason| define("bypasses_total", "reason", reason.name()));
    StoreRefusal::ALL.iter().for_each(|reason| define("not_stored_total", "reason", reason.name()));
    define("not_stored_total", "reason", OUTRUN);
    SINGLE.iter().for_each(|series| define(series, "", ""));
}

fn define_breaker(breaker: &str, all: &mut Vec<(Kind, String)>) {
    let mut define = |kind, series: &str, labels: &str| {
        all.push((kind, format!("meliproxy_breaker_{series}.breaker={breaker}.{labels}")));
    };
    for (_, scope) in SCOPES {
        define(Kind::Gauge, "state", &format!("scope={scope}"));
    }
    for (_, scope) in SCOPES {
        define(Kind::Counter, "open_seconds_total", &format!("scope={scope}"));
    }
    for (_, scope) in SCOPES {
        for cause in Cause::ALL {
            let labels = format!("scope={scope}.cause={}", cause.word());
            define(Kind::Counter, "transitions_total", &labels);
        }
    }
    for (_, outcome) in REFUSALS {
        define(Kind::Counter, "refused_total", &format!("outcome={outcome}"));
    }
    for (_, result) in RESULTS {
        define(Kind::Counter, "probes_total", &format!("result={result}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_has_the_place_of_its_name() {
        let names = [["a", "b"], ["c", "d"], ["e", "f"]].map(<[_; 2]>::into_iter);
        let [rules, breakers, caches] = names;
        let all = definitions(rules, breakers, caches);
        let layout = Layout { rules: 2, breakers: 2 };
        let name = |metric| all[index(metric, layout)].1.as_str();
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
        for (breaker, of) in ["c", "d"].into_iter().enumerate() {
            let name = |series| name(Metric::Breaker { breaker, series });
            let expected = |series: &str, labels: &str| {
                format!("meliproxy_breaker_{series}.breaker={of}.{labels}")
            };
            for (scope, text) in SCOPES {
                let labels = format!("scope={text}");
                assert_eq!(name(BreakerSeries::State(scope)), expected("state", &labels));
                let seconds = expected("open_seconds_total", &labels);
                assert_eq!(name(BreakerSeries::OpenSeconds(scope)), seconds);
                for cause in Cause::ALL {
                    let labels = format!("{labels}.cause={}", cause.word());
                    let transitions = expected("transitions_total", &labels);
                    assert_eq!(name(BreakerSeries::Transitions(scope, cause)), transitions);
                }
            }
            for (outcome, text) in REFUSALS {
                let refused = expected("refused_total", &format!("outcome={text}"));
                assert_eq!(name(BreakerSeries::Refused(outcome)), refused);
            }
            for (result, text) in RESULTS {
                let probes = expected("probes_total", &format!("result={text}"));
                assert_eq!(name(BreakerSeries::Probes(result)), probes);
            }
        }
        for (outcome, text) in PURGES {
            let expected = format!("meliproxy_cache_purges_total.outcome={text}");
            assert_eq!(name(Metric::CachePurges(outcome)), expected);
        }
        assert_eq!(name(Metric::CacheMemory), "meliproxy_cache_memory_bytes");
        for (cache, of) in ["e", "f"].into_iter().enumerate() {
            let expected =
                |series: &str, labels: &str| format!("meliproxy_cache_{series}.cache={of}{labels}");
            let check = |series, expected: String| {
                assert_eq!(name(Metric::Cache { cache, series }), expected);
            };
            for (tier, text) in Tier::ALL {
                check(CacheSeries::Hit(tier), expected("hits_total", &format!(".tier={text}")));
            }
            for (cause, text) in Stale::ALL {
                check(
                    CacheSeries::Stale(cause),
                    expected("stale_total", &format!(".cause={text}")),
                );
            }
            for (reason, text) in Miss::ALL {
                let labels = format!(".reason={text}");
                check(CacheSeries::Miss(reason), expected("misses_total", &labels));
            }
            for reason in Bypass::ALL {
                let labels = format!(".reason={}", reason.name());
                check(CacheSeries::Bypass(reason), expected("bypasses_total", &labels));
            }
            for reason in StoreRefusal::ALL {
                let labels = format!(".reason={}", reason.name());
                check(CacheSeries::NotStored(reason), expected("not_stored_total", &labels));
            }
            check(CacheSeries::Outrun, expected("not_stored_total", ".reason=outrun"));
            check(CacheSeries::Collapsed, expected("collapsed_total", ""));
            check(CacheSeries::Stored, expected("stored_total", ""));
            check(CacheSeries::Invalidated, expected("invalidations_total", ""));
            let bytes = name(Metric::CacheServedBytes { cache });
            assert_eq!(bytes, expected("served_bytes_total", ""));
        }
        assert_eq!(all.len(), FIXED + 2 * PER_RULE + 2 * PER_BREAKER + 2 * PER_CACHE);
    }
}
