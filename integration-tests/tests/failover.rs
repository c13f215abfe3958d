//! Another Redis node takes over: found by itself within seconds, unnoticed by clients, and then exact again.
//!
//! Followed is a failover once every worker counts with the new primary and none with the old one.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail like the test")]

use std::ops::Range;
use std::time::{Duration, Instant};

use integration_tests::fleet::{Fleet, SHIPPED_DEADLINE, SOON, Traffic, two_rules};
use integration_tests::stack::{PRIMARY_NAME, RedisNode, wait_until};

/// Until Sentinel is sure (1 s), has promoted, Envoy has looked (each 0.5 s) and all have connected again.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);

/// On request the old primary lives on, and is told that it is a replica only after Sentinel has looked for 8 to 11 s.
/// Until then all workers count with it.
const FOLLOWED_ON_REQUEST_WITHIN: Duration = Duration::from_secs(15);

fn start() -> Fleet {
    Fleet::start(&two_rules(SHIPPED_DEADLINE), |options| options.workers(2))
}

/// Workers of all replicas that are connected to `node`.
fn workers_at(node: &RedisNode) -> usize {
    ask_for_workers(node).unwrap()
}

/// The same of a node whose role may change: then Sentinel has it drop all clients, the one that asks among them.
fn ask_for_workers(node: &RedisNode) -> Result<usize, String> {
    let clients = node.ask(&["CLIENT", "LIST", "TYPE", "normal"]);
    let clients = clients.map_err(|error| error.to_string())?.to_string();
    Ok(clients.matches("name=meliproxy ").count())
}

fn role(node: &RedisNode) -> String {
    let role = node.ask(&["ROLE"]).unwrap().to_string();
    role.lines().next().unwrap_or_default().to_owned()
}

/// Waits until most Sentinels know the new primary. Envoy, which asks the nodes, may know it first.
fn wait_until_named(fleet: &Fleet) {
    let new = fleet.redis().node(1).name();
    let named =
        wait_until("the Sentinels to name another", SOON, || match fleet.primary().name() {
            name if name == new => Ok(()),
            name => Err(name.to_owned()),
        });
    named.unwrap();
}

fn wait_until_followed(fleet: &Fleet, began_at: Instant, within: Duration) -> Duration {
    let all = fleet.replicas().len() * 2;
    let outcome =
        wait_until("all workers to be at the new primary", SOON, || {
            match ask_for_workers(fleet.redis().node(1))? {
                workers if workers == all => Ok(()),
                workers => Err(format!("{workers} of {all}")),
            }
        });
    outcome.unwrap();
    let took = began_at.elapsed();
    wait_until_named(fleet);
    println!("followed after {took:.1?}");
    assert!(took < within, "followed after {took:?}");
    took
}

/// Brings about a failover by `cause` while traffic flows, and returns both: the traffic that still flows, and from when
/// until when the failover went on.
fn fail_over(fleet: &Fleet, within: Duration, cause: impl FnOnce()) -> (Traffic, Range<Instant>) {
    let traffic = Traffic::start(fleet);
    let began_at = Instant::now();
    cause();
    let took = wait_until_followed(fleet, began_at, within);
    (traffic, began_at..began_at + took)
}

#[test]
fn of_a_primary_that_is_killed() {
    let fleet = start();
    let (old, new) = (fleet.redis().node(0), fleet.redis().node(1));
    let (traffic, failover) = fail_over(&fleet, FOLLOWED_WITHIN, || {
        assert_eq!((workers_at(old), workers_at(new)), (6, 0));
        old.kill();
    });
    fleet.wait_until_degraded("all workers to say so", |degraded| degraded == 0.0);
    fleet.assert_counts_over_all_replicas();

    old.start().unwrap();
    assert_eq!((role(old).as_str(), role(new).as_str()), ("slave", "master"));
    traffic.flow(Duration::from_secs(1));
    assert_eq!((workers_at(old), workers_at(new)), (0, 6));
    fleet.assert_counts_over_all_replicas();
    traffic.stop_unharmed(failover.start, failover.end);
}

#[test]
fn of_a_primary_that_hangs_and_does_no_harm_when_it_goes_on() {
    let fleet = start();
    let (old, new) = (fleet.redis().node(0), fleet.redis().node(1));
    let (traffic, failover) = fail_over(&fleet, FOLLOWED_WITHIN, || old.pause());
    fleet.assert_counts_over_all_replicas();

    old.resume();
    assert_eq!(role(old), "master", "it does not know yet");
    let corrected = wait_until("Sentinel to correct it", SOON, || {
        // Nobody may count there, for as long as it takes itself for the primary.
        fleet.assert_counts_over_all_replicas();
        assert_eq!((workers_at(old), workers_at(new)), (0, 6));
        match role(old).as_str() {
            "slave" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    corrected.unwrap();
    fleet.assert_counts_over_all_replicas();
    traffic.stop_unharmed(failover.start, failover.end);
}

#[test]
fn on_request() {
    let fleet = start();
    let (old, new) = (fleet.redis().node(0), fleet.redis().node(1));
    let (traffic, failover) = fail_over(&fleet, FOLLOWED_ON_REQUEST_WITHIN, || {
        let sentinel = fleet.redis().sentinels().first().unwrap();
        sentinel.ask(&["SENTINEL", "FAILOVER", PRIMARY_NAME]).unwrap();
    });
    fleet.assert_counts_over_all_replicas();
    assert_eq!((workers_at(old), workers_at(new)), (0, 6));
    traffic.stop_unharmed(failover.start, failover.end);
}
