//! What the tests here ask of a fleet beyond its counting: its connections to Redis, and the health of its VMs.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::client::Client;
use integration_tests::fleet::{Fleet, TRAFFIC, two_rules};
use integration_tests::stack::{Envoy, wait_until};

/// After it a test fails instead of waiting on.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// With a deadline that leaves a test time to do something before Redis replies.
pub(crate) fn config() -> String {
    two_rules("1s")
}

/// A connection of a worker to Redis, by the number that Redis gave it.
pub(crate) type ConnectionId = String;

/// The filter's connections, as the primary lists them, with their ages in seconds.
pub(crate) fn connections(fleet: &Fleet) -> Vec<(ConnectionId, u64)> {
    let list = fleet.redis().node(0).ask(&["CLIENT", "LIST"]).unwrap().to_string();
    let connection = |line: &str| {
        let field = |name: &str| {
            let mut fields = line.split(' ');
            fields.find_map(|field| Some(field.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
        };
        let is_filter = field("name").as_deref() == Some("meliproxy");
        is_filter.then(|| (field("id").unwrap(), field("age").unwrap().parse().unwrap()))
    };
    list.lines().filter_map(connection).collect()
}

pub(crate) fn ids(fleet: &Fleet) -> BTreeSet<ConnectionId> {
    connections(fleet).into_iter().map(|(id, _)| id).collect()
}

/// Waits until there are so many connections, none of them among `old`.
pub(crate) fn wait_for_connections(
    fleet: &Fleet,
    count: usize,
    old: &BTreeSet<ConnectionId>,
) -> BTreeSet<ConnectionId> {
    wait_until("connections to Redis", SOON, || {
        let now = ids(fleet);
        if now.len() == count && now.is_disjoint(old) {
            Ok(now)
        } else {
            Err(format!("{now:?}, with {old:?} before"))
        }
    })
    .unwrap()
}

/// Waits until the replica counts in Redis: requests are sent until one is decided there.
pub(crate) fn wait_until_redis_decides(replica: &Envoy) {
    let decided = || {
        let labels = [("rule", "traffic"), ("source", "redis")];
        replica.metric("meliproxy_quota_decisions_total", &labels).unwrap()
    };
    let before = decided();
    wait_until("Redis to decide", SOON, || {
        Client::new(replica.http()).get(TRAFFIC).map_err(|error| error.to_string())?;
        if decided() > before { Ok(()) } else { Err(format!("{before} decisions, as before")) }
    })
    .unwrap();
}

/// Waits until the replica has so many requests that it has not answered.
pub(crate) fn wait_for_unanswered(replica: &Envoy, expected: usize) {
    let expected = expected as f64;
    wait_until("requests to wait", SOON, || {
        let labels = [("envoy_http_conn_manager_prefix", "replica")];
        let seen = replica.metric("envoy_http_downstream_rq_active", &labels).unwrap();
        // The edge's health check comes and goes.
        if (expected..=expected + 1.0).contains(&seen) { Ok(()) } else { Err(seen.to_string()) }
    })
    .unwrap();
}

/// No VM of the replica has crashed: neither was one replaced, nor has one left a backtrace.
#[track_caller]
pub(crate) fn assert_no_crash(replica: &Envoy) {
    assert_eq!(reloads(replica), 0.0);
    let log = replica.log();
    for trace in ["in-VM backtrace", "RangeError", "panicked at"] {
        assert!(!log.contains(trace), "{log}");
    }
}

/// How often a VM of filter or bridge was to be replaced because it had crashed.
pub(crate) fn reloads(replica: &Envoy) -> f64 {
    let outcomes = ["vm_reload_success", "vm_reload_backoff", "vm_reload_failure"];
    let count = |plugin: &str, outcome: &str| {
        replica.metric(&format!("envoy_wasm_{plugin}_{outcome}"), &[]).unwrap()
    };
    outcomes.iter().map(|outcome| count("meliproxy", outcome) + count("bridge", outcome)).sum()
}
