//! A stack whose counting is tested: requests at once over all replicas, and what Redis and the metrics say of them.
//!
//! Whether exactly the limit passes can be seen only where nothing disturbs: not across the end of a window, and not
//! if a busy machine made a replica wait for Redis beyond its deadline, so that it rightly counted for itself. Such
//! attempts are noticed by the clock of Redis and by the metrics, and made again ([`Fleet::undisturbed`]).

#![allow(clippy::panic, clippy::unwrap_used, reason = "what tests are made of fails like a test")]

mod rules;
mod traffic;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::client::{Outcome, Request, burst};
use crate::scene::{Scene, next_origin};
use crate::stack::{Envoy, Redis, RedisNode, Reply, StackOptions, wait_until};

pub use self::rules::{COUNTED, COUNTED_LIMIT, SHIPPED_DEADLINE, TRAFFIC, reached_by, two_rules};
use self::rules::{COUNTED_PER, TRAFFIC_RULE};
pub use self::traffic::Traffic;

/// How long anything may take that has no limit of its own: only ever reached by what never comes.
pub const SOON: Duration = Duration::from_secs(30);

/// Connections of one burst: each replica decides several requests at once, and two cores are not overrun.
pub const CONNECTIONS: usize = 12;

/// The metric that says what decisions rested on.
const DECISIONS: &str = "meliproxy_quota_decisions_total";

/// A stack, alone on the machine as far as this program is concerned.
pub struct Fleet {
    scene: Scene,
}

impl Fleet {
    /// Starts it, see [`Scene::start`], once no other of this program runs.
    ///
    /// # Panics
    /// If it does not come up, with what it said; as all methods of this type do where what they need fails.
    #[must_use]
    pub fn start(config: &str, choose: impl FnOnce(StackOptions) -> StackOptions) -> Self {
        let scene = Scene::start(config, choose).unwrap_or_else(|error| panic!("{error}"));
        Self { scene }
    }

    /// Redis, which the stack was not started without.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        self.scene.redis().unwrap()
    }

    /// The Redis node that counts, once the Sentinels agree on it.
    #[must_use]
    pub fn primary(&self) -> &RedisNode {
        let primary = || self.redis().primary().ok_or_else(String::new);
        wait_until("the Sentinels to agree on a primary", SOON, primary).unwrap()
    }

    /// Where the replicas serve.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas().iter().map(Envoy::http).collect()
    }

    /// The sum of a metric over all replicas, see [`Envoy::metric`].
    #[must_use]
    pub fn total(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let of = |replica: &Envoy| replica.metric(metric, labels).unwrap();
        self.replicas().iter().map(of).sum()
    }

    /// Sends `count` requests of `origin` at once, spread over all replicas, which take its address from where the edge
    /// would have written it.
    #[must_use]
    pub fn burst(&self, origin: Ipv4Addr, target: &str, count: usize) -> Vec<Outcome> {
        let request = from(origin, target);
        burst(&self.addresses(), Ipv4Addr::LOCALHOST, &request, count, CONNECTIONS).unwrap()
    }

    /// What `attempt` returns for an origin of its own when all of it lay within one window of length `per`, and was
    /// decided by Redis if there is one. An attempt that was disturbed is made again, with another origin.
    #[must_use]
    pub fn undisturbed<T>(&self, per: Duration, mut attempt: impl FnMut(Ipv4Addr) -> T) -> T {
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            let conditions = || (self.window(per), self.decided_without_redis());
            let before = conditions();
            let outcome = attempt(next_origin());
            let after = conditions();
            if after == before {
                return outcome;
            }
            eprintln!("disturbed: window and decisions without Redis: {before:?}, then {after:?}");
        }
        panic!(
            "every attempt of {SOON:?} was disturbed: decisions without Redis, which never ends or comes of a machine \
             too busy to answer within the deadline"
        );
    }

    /// Decisions of a process that should have been those of Redis; traffic that only flows beside a test is left out.
    fn decided_without_redis(&self) -> f64 {
        let decided = |replica: &Envoy| -> f64 {
            let stats = replica.admin_get("/stats/prometheus").unwrap();
            let series = stats.lines().filter(|line| line.starts_with(DECISIONS));
            let by_process = series.filter(|series| series.contains(r#"source="process""#));
            let counted = by_process.filter(|series| !series.contains(TRAFFIC_RULE));
            counted.filter_map(|series| series.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let redis = self.scene.redis();
        redis.map_or(0.0, |_| self.replicas().iter().map(decided).sum())
    }

    /// Asserts that of requests at once over all replicas exactly the limit passes, under [`two_rules`]. Returns whose
    /// they were.
    #[track_caller]
    pub fn assert_counts_over_all_replicas(&self) -> Ipv4Addr {
        let attempt = |origin| (origin, self.burst(origin, COUNTED, 60));
        let (origin, outcomes) = self.undisturbed(COUNTED_PER, attempt);
        assert_eq!(passed(&outcomes), COUNTED_LIMIT);
        origin
    }

    /// Waits until the gauge `meliproxy_degraded` of each replica is as `expected`; returns how long that took.
    pub fn wait_until_degraded(&self, what: &str, expected: impl Fn(f64) -> bool) -> Duration {
        let start = Instant::now();
        let outcome = wait_until(what, SOON, || {
            let degraded = |replica: &Envoy| replica.metric("meliproxy_degraded", &[]).unwrap();
            let all: Vec<_> = self.replicas().iter().map(degraded).collect();
            if all.iter().all(|degraded| expected(*degraded)) {
                Ok(())
            } else {
                Err(format!("{all:?}"))
            }
        });
        outcome.unwrap();
        start.elapsed()
    }

    /// The time of Redis in microseconds since 1970.
    #[must_use]
    pub fn redis_time_us(&self) -> u64 {
        let Reply::Array(parts) = self.primary().ask(&["TIME"]).unwrap() else { panic!("no TIME") };
        let number = |part: &Reply| part.text().unwrap().parse::<u64>().unwrap();
        let [secs, micros] = &parts[..] else { panic!("{parts:?}") };
        number(secs) * 1_000_000 + number(micros)
    }

    /// By the clock that counters go by: of Redis, or of this machine.
    fn window(&self, per: Duration) -> u128 {
        let local = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let redis = |_| Duration::from_micros(self.redis_time_us());
        let now = self.scene.redis().map_or_else(local, redis);
        now.as_micros() / per.as_micros()
    }

    /// What all counters of quotas in Redis have counted in their present windows, by their names.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let primary = self.primary();
        let Reply::Array(keys) = primary.ask(&["KEYS", "mp:*:1:*"]).unwrap() else {
            panic!("no KEYS")
        };
        let count = |key: &Reply| {
            let key = key.text().unwrap();
            let stored: u64 = primary.ask(&["GET", key]).unwrap().text()?.parse().unwrap();
            // The last digit stands for the window.
            Some((key.to_owned(), stored / 10))
        };
        keys.iter().filter_map(count).collect()
    }

    /// How many scripts the primary has run, by its `INFO commandstats`.
    #[must_use]
    pub fn script_calls(&self) -> u64 {
        let stats = self.primary().ask(&["INFO", "commandstats"]).unwrap().to_string();
        let calls = |line: &str| -> Option<u64> {
            let (command, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let is_script = matches!(command, "eval" | "evalsha" | "fcall");
            is_script.then(|| numbers.split(',').next()?.parse().ok())?
        };
        stats.lines().filter_map(calls).sum()
    }
}

impl Deref for Fleet {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// `GET target` as the edge hands it on for a client at `origin`.
#[must_use]
pub fn from(origin: Ipv4Addr, target: &str) -> Request {
    Request::get(target).header("X-Forwarded-For", origin.to_string())
}

/// How many passed; the others must have been refused by a quota, nothing else.
///
/// # Panics
/// If a request failed, or was answered by anything but 200 or 429.
#[must_use]
#[track_caller]
pub fn passed(outcomes: &[Outcome]) -> usize {
    let of = |status| outcomes.iter().filter(|outcome| outcome.status() == status).count();
    let other = outcomes.iter().find(|outcome| !matches!(outcome.status(), 200 | 429));
    assert!(other.is_none(), "{other:?}");
    of(200)
}
