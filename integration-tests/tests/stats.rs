//! Each metric says what happened, on the replica it happened on; and nobody outside can make another one.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test that meets the unexpected ends here; counts are exact in f64"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::client::{Client, Request, burst};
use integration_tests::scene::{Scene, next_origin, statuses};
use integration_tests::stack::{Envoy, wait_until};
use meliproxy::metrics;

/// Three requests of one origin to `/items/*`. Redis may be slow here without being taken for lost.
const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"namespace": "stats", "timeout": "1s"},
  "routes": [{"name": "items", "path": "/items/{*rest}"}],
  "quotas": [
    {"name": "everyone", "limit": 1000000, "per": "365d"},
    {"name": "origin-items", "routes": ["items"], "by": ["client_address"], "limit": 3, "per": "365d"}
  ]
}"#;

const RULES: [&str; 2] = ["everyone", "origin-items"];

/// Envoy shows histograms anew every 5 s.
const SOON: Duration = Duration::from_secs(20);

fn decisions(replica: &Envoy, rule: &str, outcome: &str, source: &str) -> f64 {
    let labels = [("rule", rule), ("outcome", outcome), ("source", source)];
    replica.metric("meliproxy_quota_decisions_total", &labels).unwrap()
}

fn failures(replica: &Envoy, cause: &str) -> f64 {
    replica.metric("meliproxy_redis_failures_total", &[("cause", cause)]).unwrap()
}

fn plain(replica: &Envoy, name: &str) -> f64 {
    replica.metric(name, &[]).unwrap()
}

fn wait_for(what: &str, probe: impl Fn() -> f64, expected: f64) {
    let look = || {
        let seen = probe();
        if seen == expected { Ok(()) } else { Err(format!("{seen}, not {expected}")) }
    };
    wait_until(what, SOON, look).unwrap();
}

/// Names and labels of all series on the page, without their values.
fn series(replica: &Envoy) -> BTreeSet<String> {
    let page = replica.admin_get("/stats/prometheus").unwrap();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// As Envoy shows what the filter calls `name.label=value…`.
fn shown(name: &str) -> String {
    let mut parts = name.split('.');
    let name = parts.next().unwrap();
    let labels = parts.map(|part| {
        let (label, value) = part.split_once('=').unwrap();
        format!("{label}=\"{value}\"")
    });
    format!("{name}{{{}}}", labels.collect::<Vec<_>>().join(","))
}

#[test]
fn decisions_and_the_state_of_redis_are_counted_where_they_happen() {
    let scene = Scene::start(CONFIG, |options| options.replicas(2)).unwrap();
    let (first, second) = (scene.replica(0), scene.replica(1));
    let redis = scene.redis().unwrap();
    let origin = next_origin();
    let send = |replica: &Envoy, target: &str, count| {
        statuses(&burst(&[replica.http()], origin, &Request::get(target), count, 1).unwrap())
    };

    // Every metric is there from the start, not only once it counts something.
    let page = series(first);
    for (kind, name) in metrics::definitions(RULES.into_iter(), [].into_iter(), [].into_iter()) {
        let name = match kind {
            metrics::Kind::Histogram => format!("{name}_count{{}}"),
            metrics::Kind::Counter | metrics::Kind::Gauge => shown(&name),
        };
        assert!(page.contains(&name), "{name} is not in {page:#?}");
    }

    // An allowed request counts for each of its rules, a refused one for those that refused it.
    assert_eq!(send(first, "/items/x", 3), [(200, 3)].into());
    assert_eq!(send(second, "/items/x", 3), [(429, 3)].into());
    assert_eq!(send(second, "/echo/x", 4), [(200, 4)].into());
    for (replica, rule, allowed, denied) in [
        (first, "everyone", 3.0, [0.0, 0.0]),
        (first, "origin-items", 3.0, [0.0, 0.0]),
        (second, "everyone", 4.0, [0.0, 0.0]),
        // Redis refused the first; that was remembered.
        (second, "origin-items", 0.0, [1.0, 2.0]),
    ] {
        assert_eq!(decisions(replica, rule, "allowed", "redis"), allowed, "{rule}");
        assert_eq!(decisions(replica, rule, "denied", "redis"), denied[0], "{rule}");
        assert_eq!(decisions(replica, rule, "denied", "memory"), denied[1], "{rule}");
        for (outcome, source) in
            [("allowed", "memory"), ("allowed", "process"), ("denied", "process")]
        {
            assert_eq!(decisions(replica, rule, outcome, source), 0.0, "{rule}");
        }
    }

    // One latency for each answer of Redis, in microseconds.
    wait_for("the histogram", || plain(second, "meliproxy_redis_latency_us_count"), 5.0);
    let bucket =
        |le: &str| second.metric("meliproxy_redis_latency_us_bucket", &[("le", le)]).unwrap();
    let bounds = ["50", "100", "250", "500", "1000", "2500", "5000", "10000", "20000", "50000"];
    let bounds = bounds.into_iter().chain(["250000", "1000000", "+Inf"]);
    let buckets: Vec<_> = bounds.map(bucket).collect();
    assert!(buckets.is_sorted() && buckets[12] == 5.0, "{buckets:?}");
    let sum = plain(second, "meliproxy_redis_latency_us_sum");
    assert!((5.0 * 50.0..5.0 * 1_000_000.0).contains(&sum), "{sum}");

    // Why a request was decided without Redis: an error, no answer in time, no connection.
    assert_eq!(failures(first, "error"), 0.0);
    redis.node(0).ask(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    assert_eq!(send(first, "/echo/x", 1), [(200, 1)].into());
    redis.node(0).ask(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert_eq!((failures(first, "error"), failures(first, "deadline")), (1.0, 0.0));
    redis.node(0).ask(&["CLIENT", "PAUSE", "10000", "WRITE"]).unwrap();
    assert_eq!(send(first, "/echo/x", 1), [(200, 1)].into());
    redis.node(0).ask(&["CLIENT", "UNPAUSE"]).unwrap();
    assert_eq!(failures(first, "deadline"), 1.0);
    assert_eq!(decisions(first, "everyone", "allowed", "process"), 2.0);

    let state = |replica| {
        ["meliproxy_redis_connections", "meliproxy_degraded", "meliproxy_redis_connects_total"]
            .map(|name| plain(replica, name))
    };
    assert_eq!(state(second), [1.0, 0.0, 1.0]);
    assert_eq!(plain(second, "meliproxy_redis_disconnects_total"), 0.0);
    redis.nodes().iter().for_each(|node| node.kill());
    wait_for("the loss", || plain(second, "meliproxy_degraded"), 1.0);
    assert_eq!(state(second), [0.0, 1.0, 1.0]);
    assert_eq!(send(second, "/echo/x", 2), [(200, 2)].into());
    // For want of a connection, or with the attempt to get one.
    assert_eq!(plain(second, "meliproxy_redis_failures_total"), 2.0);
    assert_eq!(decisions(second, "everyone", "allowed", "process"), 2.0);
    redis.node(0).start().unwrap();
    wait_for("the return", || plain(second, "meliproxy_redis_connections"), 1.0);
    assert_eq!(state(second), [1.0, 0.0, 2.0]);
    assert!(plain(second, "meliproxy_redis_disconnects_total") >= 1.0);
}

#[test]
fn clients_paths_and_hosts_make_no_series() {
    let scene = Scene::start(CONFIG, |options| options.replicas(1).redis(false)).unwrap();
    let replica = scene.replica(0);
    let mut client = Client::new(replica.http());
    let mut send = |number: u32| {
        let methods = ["GET", "POST", "PUT", "PROPFIND"];
        let method = methods[number as usize % methods.len()];
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        let request = Request::new(method, format!("/items/{number}?{number}"))
            .header("Host", format!("{number}.example"))
            .header("X-Forwarded-For", address.to_string());
        client.send(&request).unwrap();
    };
    // What there is one of for each status and method is there after a few.
    (0..20).for_each(&mut send);
    let before = series(replica);
    (20..1020).for_each(&mut send);
    let after = series(replica);
    let made: Vec<_> = after.difference(&before).collect();
    assert!(made.is_empty(), "{made:?}");
    assert_eq!(decisions(replica, "everyone", "allowed", "process"), 1020.0);
}
