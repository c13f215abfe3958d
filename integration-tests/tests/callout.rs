//! Redis reached by calls: as exact as by streams, changed from one to the other while it serves, with as many
//! connections as there are calls, and on an Envoy that has no internal listener.
//!
//! What happens when Redis is lost is tested in `redis_lost`, random rules in `engine`, both by either transport.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test that meets the unexpected ends here; counts are exact in f64"
)]

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use integration_tests::client::{Load, Request, burst};
use integration_tests::fleet::{
    COUNTED, COUNTED_LIMIT, Fleet, SOON, TRAFFIC, from, passed, reached_by, two_rules,
};
use integration_tests::scene::{next_origin, statuses};
use integration_tests::stack::{ConfigState, Envoy, wait_until};

const REPLICAS: usize = 3;
const WORKERS: usize = 2;

fn config(transport: &str) -> String {
    reached_by(transport, &two_rules("1s"))
}

fn start() -> Fleet {
    Fleet::start(&config("callout"), |options| options.replicas(3).workers(2))
}

#[track_caller]
fn assert_no_crash(fleet: &Fleet) {
    for replica in fleet.replicas() {
        let log = replica.log();
        assert!(!log.contains("in-VM backtrace") && !log.contains("panicked at"), "{log}");
    }
}

fn of_cluster(replica: &Envoy, metric: &str, cluster: &str) -> f64 {
    let name = format!("envoy_cluster_{metric}");
    replica.metric(&name, &[("envoy_cluster_name", cluster)]).unwrap()
}

#[test]
fn the_transport_changes_while_it_serves() {
    let fleet = start();
    let load = Load::start(&[fleet.edge().http()], 100, 8, |_| Request::get(TRAFFIC)).unwrap();
    fleet.assert_counts_over_all_replicas();
    for (transport, streams) in [("stream", WORKERS), ("callout", 0), ("stream", WORKERS)] {
        let status = fleet.write_config(&config(transport)).unwrap();
        assert_eq!(status.state, ConfigState::Published, "{status:?}");
        wait_until("streams to be opened, or to end", SOON, || {
            let of = |replica| of_cluster(replica, "upstream_rq_active", "redis_stream");
            let open: Vec<f64> = fleet.replicas().iter().map(of).collect();
            if open == [streams as f64; REPLICAS] { Ok(()) } else { Err(format!("{open:?}")) }
        })
        .unwrap();
        fleet.assert_counts_over_all_replicas();
    }
    let outcomes = load.stop().unwrap();
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    assert_no_crash(&fleet);
}

#[test]
fn a_worker_makes_one_call_at_a_time_for_all_who_wait() {
    let fleet = start();
    let load = Load::start(&fleet.addresses(), 1500, 60, |_| Request::get(TRAFFIC)).unwrap();
    let calls_before = fleet.script_calls();
    let (mut most, end) = (0.0, Instant::now() + Duration::from_secs(3));
    while Instant::now() < end {
        for replica in fleet.replicas() {
            most = of_cluster(replica, "upstream_cx_active", "redis").max(most);
        }
    }
    let outcomes = load.stop().unwrap();
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    let calls = fleet.script_calls() - calls_before;
    println!("{} requests in {calls} script calls; connections at once: {most}", outcomes.len());
    assert!(calls < outcomes.len() as u64);
    // Envoy's main thread calls too, and beside the calls there is the health check of each node.
    assert!(most <= (WORKERS + 1) as f64, "{most}");
    assert_eq!(fleet.total("meliproxy_redis_connections", &[]), (REPLICAS * WORKERS) as f64);
    wait_until("connections to end", SOON, || {
        let of = |replica| of_cluster(replica, "upstream_cx_active", "redis");
        let left: f64 = fleet.replicas().iter().map(of).sum();
        if left == 0.0 { Ok(()) } else { Err(left.to_string()) }
    })
    .unwrap();
    assert_no_crash(&fleet);
}

#[test]
fn no_internal_listener_is_needed() {
    let fleet = Fleet::start(&config("callout"), |options| options.replicas(1));
    let replica = fleet.replica(0);
    let bootstrap = fleet.endpoints().config.with_file_name("replica-1.yaml");
    let text = fs::read_to_string(&bootstrap).unwrap();
    let text = without(&text, "bootstrap_extensions:\n", "admin:\n");
    let text =
        without(&text, "  - name: redis\n    internal_listener", "  - name: redis_callout\n");
    let text = without(&text, "  - name: redis_stream\n", "  - name: redis_callout\n    type");
    assert!(!text.contains("internal_listener") && !text.contains("envoy_internal_address"));
    fs::write(&bootstrap, text).unwrap();
    replica.kill();
    replica.start().unwrap();
    let to = [replica.http()];
    let outcomes = wait_until("Redis to decide", SOON, || {
        let request = from(next_origin(), COUNTED);
        let outcomes = burst(&to, Ipv4Addr::LOCALHOST, &request, 2 * COUNTED_LIMIT, 4).unwrap();
        let labels = [("rule", "counted"), ("outcome", "allowed"), ("source", "redis")];
        let decided = replica.metric("meliproxy_quota_decisions_total", &labels).unwrap();
        if decided >= COUNTED_LIMIT as f64 { Ok(outcomes) } else { Err(decided.to_string()) }
    })
    .unwrap();
    assert_eq!(passed(&outcomes), COUNTED_LIMIT);
    assert_no_crash(&fleet);
}

/// `text` without what stands from `begin` up to `end`.
#[track_caller]
fn without(text: &str, begin: &str, end: &str) -> String {
    let (before, rest) = text.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    format!("{before}{end}{after}")
}
