//! Traps of the gRPC stream that carries Redis: it belongs to the root context that opened it, and a newer root cannot
//! use it; after the other end has closed it, sends still succeed and are lost; a cluster name that happens to parse as
//! a message aborts Envoy; and timeouts that are right for requests cut a stream without any.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use integration_tests::client::{Load, Request, burst};
use integration_tests::fleet::{COUNTED, COUNTED_LIMIT, Fleet, TRAFFIC};
use integration_tests::scene::{next_origin, statuses};
use integration_tests::stack::{ConfigState, Envoy, wait_until};

use crate::rig::{
    SOON, assert_no_crash, config, connections, ids, wait_for_connections, wait_until_redis_decides,
};

const REPLICAS: usize = 2;
const WORKERS: usize = 2;

fn start() -> Fleet {
    Fleet::start(&config(), |options| options.replicas(2).workers(2))
}

/// Requests that nothing limits, through the edge.
fn load(fleet: &Fleet) -> Load {
    Load::start(&[fleet.edge().http()], 100, 8, |_| Request::get(TRAFFIC)).unwrap()
}

/// With all workers connected, exactly the limit passes of requests at once over all replicas.
fn assert_exact(fleet: &Fleet) {
    wait_until("workers to be ready", SOON, || {
        let ready = fleet.total("meliproxy_redis_connections", &[]);
        if ready == (REPLICAS * WORKERS) as f64 { Ok(()) } else { Err(ready.to_string()) }
    })
    .unwrap();
    let outcomes = fleet.burst(next_origin(), COUNTED, 4 * COUNTED_LIMIT);
    assert_eq!(statuses(&outcomes), [(200, COUNTED_LIMIT), (429, 3 * COUNTED_LIMIT)].into());
}

/// What a replica holds open for its stream, and its VMs.
fn held(replica: &Envoy) -> [f64; 3] {
    let of = |name: &str, cluster: &str| replica.metric(name, &[("envoy_cluster_name", cluster)]);
    [
        of("envoy_cluster_upstream_rq_active", "redis_stream").unwrap(),
        of("envoy_cluster_upstream_cx_active", "redis").unwrap(),
        replica.metric("envoy_wasm_wasm_vm_count", &[]).unwrap(),
    ]
}

#[test]
fn each_reload_replaces_the_streams_and_leaves_none_behind() {
    let fleet = start();
    let held_before: Vec<_> = fleet.replicas().iter().map(held).collect();
    let load = load(&fleet);
    let mut old = BTreeSet::new();
    for edit in 1..=10 {
        old = wait_for_connections(&fleet, REPLICAS * WORKERS, &old);
        let text = config().replace("1000000000", &(1_000_000_000 + edit).to_string());
        let status = fleet.write_config(&text).unwrap();
        assert_eq!(status.state, ConfigState::Published, "{status:?}");
    }
    wait_for_connections(&fleet, REPLICAS * WORKERS, &old);
    let counts = statuses(&load.stop().unwrap());
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert!(counts[&200] > 0, "{counts:?}");
    for (replica, before) in fleet.replicas().iter().zip(held_before) {
        assert_eq!(before[0], WORKERS as f64);
        wait_until("what is held to be as before", SOON, || {
            let now = held(replica);
            if now == before { Ok(()) } else { Err(format!("{now:?}, {before:?} before")) }
        })
        .unwrap();
        assert_no_crash(replica);
    }
    assert_exact(&fleet);
}

#[test]
fn a_stream_that_redis_closes_is_replaced_and_no_request_is_lost() {
    let fleet = start();
    let load = load(&fleet);
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let old = wait_for_connections(&fleet, REPLICAS * WORKERS, &BTreeSet::new());
        let cut_at = Instant::now();
        for id in &old {
            fleet.redis().node(0).ask(&["CLIENT", "KILL", "ID", id]).unwrap();
        }
        wait_for_connections(&fleet, REPLICAS * WORKERS, &old);
        slowest = slowest.max(cut_at.elapsed());
    }
    let outcomes = load.stop().unwrap();
    let latest = outcomes.iter().map(|outcome| outcome.latency).max().unwrap();
    eprintln!("slowest reconnect {slowest:?}, slowest of {} requests {latest:?}", outcomes.len());
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    let total = |source| {
        let labels = [("rule", "traffic"), ("outcome", "allowed"), ("source", source)];
        fleet.total("meliproxy_quota_decisions_total", &labels)
    };
    assert_eq!(total("redis") + total("process"), outcomes.len() as f64);
    // A command that was lost with its connection is known to be lost: nobody waited for the deadline.
    assert_eq!(fleet.total("meliproxy_redis_failures_total", &[("cause", "deadline")]), 0.0);
    // Redis has counted what it decided, and at most those commands beside it whose replies were lost.
    let counters = fleet.counters();
    let (_, counted) = counters.iter().find(|(name, _)| name.contains(":traffic:")).unwrap();
    let lost = fleet.total("meliproxy_redis_failures_total", &[("cause", "closed")]);
    let decided = total("redis");
    assert!(
        (decided..=decided + lost).contains(&(*counted as f64)),
        "{counted}, {decided}, {lost}"
    );
    fleet.replicas().iter().for_each(assert_no_crash);
    assert_exact(&fleet);
}

#[test]
fn a_stream_without_requests_stays_open() {
    let fleet = start();
    let before = ids(&fleet);
    wait_until("connections to have lived a while", SOON, || {
        let now = connections(&fleet);
        if now.iter().all(|(_, age)| *age >= 5) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .unwrap();
    assert_exact(&fleet);
    assert_eq!(ids(&fleet), before);
    // Nor will it be cut later: none of Envoy's timeouts applies to it.
    let dump = fleet.replica(0).admin_get("/config_dump?resource=static_listeners").unwrap();
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    let listeners = dump["configs"].as_array().unwrap().iter().map(|it| &it["listener"]);
    let bridge = listeners.clone().find(|listener| listener["name"] == "redis").unwrap();
    let manager = &bridge["filter_chains"][0]["filters"][0]["typed_config"];
    let route = &manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"];
    let timeouts = [&manager["stream_idle_timeout"], &route["timeout"], &route["idle_timeout"]];
    assert_eq!(timeouts, ["0s", "0s", "0s"]);
    assert!(manager["common_http_protocol_options"]["max_stream_duration"].is_null());
}

#[test]
fn without_the_streams_cluster_each_process_counts_and_nothing_aborts() {
    let fleet = Fleet::start(&config(), |options| options.replicas(1));
    let replica = fleet.replica(0);
    let bootstrap = fleet.endpoints().config.with_file_name("replica-1.yaml");
    let text = fs::read_to_string(&bootstrap).unwrap();
    fs::write(&bootstrap, text.replace("redis_stream", "other_cluster")).unwrap();
    replica.kill();
    replica.start().unwrap();
    let pid = replica.pid();
    for _ in 0..2 {
        let to = [replica.http()];
        let outcomes =
            burst(&to, next_origin(), &Request::get(COUNTED), 2 * COUNTED_LIMIT, 4).unwrap();
        assert_eq!(statuses(&outcomes), [(200, COUNTED_LIMIT), (429, COUNTED_LIMIT)].into());
    }
    wait_until("the filter to notice", SOON, || {
        let degraded = replica.metric("meliproxy_degraded", &[]).unwrap();
        if degraded == 1.0 { Ok(()) } else { Err(degraded.to_string()) }
    })
    .unwrap();
    assert_eq!(replica.pid(), pid);
    assert_no_crash(replica);
    // With the cluster back the same file serves exactly again.
    fs::write(&bootstrap, text).unwrap();
    replica.kill();
    replica.start().unwrap();
    wait_until_redis_decides(replica);
}
