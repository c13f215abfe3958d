//! One measured interval of one system.

use std::path::Path;

use serde::Serialize;

use super::Error;
use super::load::{Load, Outcome, PATH};
use super::system::Running;
use super::usage::{Times, resident_bytes};
use crate::stack::{RedisNode, Reply};

/// What one interval showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    /// Answers per second.
    pub throughput: f64,
    /// CPU time of the proxy per request, in microseconds.
    pub proxy_cpu: f64,
    /// CPU time of the Redis primary per request, in microseconds; 0 without Redis.
    pub redis_cpu: f64,
    /// CPU time of Webdis per request, in microseconds; 0 without.
    pub webdis_cpu: f64,
    /// Calls of the quota script per request; 0 without Redis.
    pub redis_calls: f64,
    /// Share of the requests that Redis was to decide and that were decided without it, 0 to 1.
    pub without_redis: f64,
    /// Share of one core that the proxy used, 0 to 1 with one worker: well below 1, something else
    /// was the bottleneck.
    pub busy: f64,
    /// Share of the time in which it could have gone on but something else had its core: how
    /// disturbed the machine was.
    pub waited: f64,
    /// Latency in milliseconds: median.
    pub p50: f64,
    /// Latency in milliseconds: 99th percentile.
    pub p99: f64,
    /// Latency in milliseconds: the longest.
    pub max: f64,
    /// Memory of the proxy in RAM at the end, in bytes.
    pub resident: f64,
}

impl Sample {
    /// CPU time of proxy, Redis primary and Webdis per request, in microseconds.
    #[must_use]
    pub fn cpu(&self) -> f64 {
        self.proxy_cpu + self.redis_cpu + self.webdis_cpu
    }
}

/// Drives `running` for one interval. An answer that it should not give is an error.
///
/// Asking for counters costs the asked some CPU time, so they are read outside of the readings of
/// CPU time.
pub(super) fn measure(running: &Running, wrk: &Path, load: &Load) -> Result<Sample, Error> {
    let redis = running.redis()?;
    let counters = Counters::read(running, redis)?;
    let before = Used::read(running, redis)?;
    let outcome = load.run(wrk, running.address(), PATH, running.system.clients)?;
    running.system.check(&outcome)?;
    let used = Used::read(running, redis)?.since(before);
    let counted = Counters::read(running, redis)?.since(counters);
    // A failover meanwhile: what the new primary did has not been read.
    if running.redis()?.map(RedisNode::address) != redis.map(RedisNode::address) {
        return Err(running.lost("the Redis primary"));
    }
    let resident = resident_bytes(running.proxy()?)?;
    Ok(sample(&outcome, used, counted, resident))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn sample(outcome: &Outcome, used: Used, counted: Counters, resident: u64) -> Sample {
    let requests = outcome.requests as f64;
    let seconds = outcome.duration as f64 / 1e6;
    let share = |nanos: u64| nanos as f64 / 1e9 / seconds;
    let milliseconds = |micros: u64| micros as f64 / 1e3;
    Sample {
        throughput: requests / seconds,
        proxy_cpu: used.proxy.running as f64 / 1e3 / requests,
        redis_cpu: used.redis.running as f64 / 1e3 / requests,
        webdis_cpu: used.webdis.running as f64 / 1e3 / requests,
        redis_calls: counted.redis_calls as f64 / requests,
        without_redis: counted.without_redis / requests,
        busy: share(used.proxy.running),
        waited: share(used.proxy.waiting),
        p50: milliseconds(outcome.p50),
        p99: milliseconds(outcome.p99),
        max: milliseconds(outcome.max),
        resident: resident as f64,
    }
}

#[derive(Debug, Clone, Copy)]
struct Used {
    proxy: Times,
    redis: Times,
    webdis: Times,
}

impl Used {
    fn read(running: &Running, redis: Option<&RedisNode>) -> Result<Self, Error> {
        let of =
            |pid: Option<u32>| Ok::<_, Error>(pid.map(Times::of).transpose()?.unwrap_or_default());
        let redis = of(redis.and_then(|node| node.pid()))?;
        Ok(Self { proxy: Times::of(running.proxy()?)?, redis, webdis: of(running.webdis())? })
    }

    const fn since(self, earlier: Self) -> Self {
        Self {
            proxy: self.proxy.since(earlier.proxy),
            redis: self.redis.since(earlier.redis),
            webdis: self.webdis.since(earlier.webdis),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Counters {
    redis_calls: u64,
    without_redis: f64,
}

impl Counters {
    fn read(running: &Running, redis: Option<&RedisNode>) -> Result<Self, Error> {
        let stats = redis.map(|node| node.ask(&["INFO", "commandstats"])).transpose()?;
        Ok(Self {
            redis_calls: stats.as_ref().and_then(Reply::text).map_or(0, script_calls),
            without_redis: running.without_redis()?,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            redis_calls: self.redis_calls.saturating_sub(earlier.redis_calls),
            without_redis: self.without_redis - earlier.without_redis,
        }
    }
}

/// From lines such as `cmdstat_evalsha:calls=12,usec=34,…`; a script that was never called has
/// none.
fn script_calls(commandstats: &str) -> u64 {
    let calls = |line: &str| {
        let rest = line.strip_prefix("cmdstat_evalsha:calls=")?;
        rest.split(',').next()?.parse().ok()
    };
    commandstats.lines().find_map(calls).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_per_request() {
        let outcome = Outcome {
            requests: 1000,
            duration: 2_000_000,
            p50: 1500,
            p99: 2500,
            max: 9000,
            refused: 0,
            failed: 0,
        };
        let times = |running, waiting| Times { running, waiting };
        let (proxy, redis) = (times(100_000_000, 40_000_000), times(20_000_000, 0));
        let used = Used { proxy, redis, webdis: times(5_000_000, 0) };
        let counted = Counters { redis_calls: 990, without_redis: 10.0 };
        let sample = sample(&outcome, used, counted, 4096);
        assert_eq!(sample.throughput, 500.0);
        assert_eq!((sample.proxy_cpu, sample.redis_cpu, sample.webdis_cpu), (100.0, 20.0, 5.0));
        assert_eq!(sample.cpu(), 125.0);
        assert_eq!((sample.redis_calls, sample.without_redis), (0.99, 0.01));
        assert_eq!((sample.busy, sample.waited), (0.05, 0.02));
        assert_eq!((sample.p50, sample.p99, sample.max), (1.5, 2.5, 9.0));
    }

    #[test]
    fn only_script_calls_count() {
        let stats = "cmdstat_eval:calls=5,usec=1\r\ncmdstat_evalsha:calls=12,usec=34,x=1\r\n";
        assert_eq!(script_calls(stats), 12);
        assert_eq!(script_calls("cmdstat_eval:calls=5,usec=1\r\n"), 0);
    }
}
