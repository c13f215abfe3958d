//! Redis lost: each process decides alone, says so, and joins the others again without flapping.

use std::time::Duration;

use integration_tests::client::Load;
use integration_tests::scene::statuses;
use integration_tests::stack::wait_until;
use integration_tests::upstream::Fault;
use serde_json::json;

use crate::rig::{ITEMS, Rig, SOON, config, get, is_refusal};

fn start(breaker: &serde_json::Value) -> Rig {
    Rig::start(&config(true, breaker), |options| options.replicas(2).workers(2))
}

fn wait_until_degraded(rig: &Rig, expected: f64) {
    wait_until("Redis to be lost, or to be back", SOON, || {
        let degraded = rig.total("meliproxy_degraded", &[]);
        if degraded == expected { Ok(()) } else { Err(degraded.to_string()) }
    })
    .unwrap();
}

fn kill_redis(rig: &Rig) {
    // Both, or the other would take over.
    [1, 0].into_iter().for_each(|node| rig.redis().unwrap().node(node).kill());
    wait_until_degraded(rig, 4.0);
}

fn start_redis(rig: &Rig) {
    [0, 1].into_iter().for_each(|node| rig.redis().unwrap().node(node).start().unwrap());
    wait_until_degraded(rig, 0.0);
}

#[test]
fn without_redis_each_process_opens_and_closes_for_itself() {
    let rig = start(&json!({"open_for": "500ms"}));
    kill_redis(&rig);
    rig.fail(&[Fault::status("/items", 500)]);
    for _ in 0..5 {
        assert!(!is_refusal(&rig.get(0, ITEMS)));
    }
    assert!(is_refusal(&rig.get(0, ITEMS)));
    assert!(!is_refusal(&rig.get(1, ITEMS)), "the other one has seen no failure");
    rig.heal();
    rig.wait_until_refused(0, ITEMS, false);
    start_redis(&rig);
    assert_no_flapping(&rig);
}

#[test]
fn what_was_open_is_taken_over_and_what_was_closed_meanwhile_stays_closed() {
    let rig = start(&json!({"open_for": "2s"}));
    rig.fail(&[Fault::status("/items", 500)]);
    for _ in 0..5 {
        (0..2).for_each(|replica| drop(rig.get(replica, ITEMS)));
    }
    let labels = [("breaker", "upstream"), ("scope", "fleet")];
    wait_until("the fleet's breaker to open", SOON, || {
        let open = rig.total("meliproxy_breaker_state", &labels);
        if open == 4.0 { Ok(()) } else { Err(open.to_string()) }
    })
    .unwrap();
    // Redis is there again with what it knew.
    [1, 0].into_iter().for_each(|node| rig.redis().unwrap().node(node).pause());
    wait_until_degraded(&rig, 4.0);
    assert!(is_refusal(&rig.get(0, ITEMS)) && is_refusal(&rig.get(1, ITEMS)));
    rig.heal();
    for replica in 0..2 {
        rig.wait_until_refused(replica, ITEMS, false);
    }
    [0, 1].into_iter().for_each(|node| rig.redis().unwrap().node(node).resume());
    wait_until_degraded(&rig, 0.0);
    assert_no_flapping(&rig);
    wait_until("the fleet's breaker to close", SOON, || {
        let open = rig.total("meliproxy_breaker_state", &labels);
        if open == 0.0 { Ok(()) } else { Err(open.to_string()) }
    })
    .unwrap();
    assert!(rig.said("recovered") > 0);
}

/// Nothing is refused for a while, and no breaker changes its state any more.
fn assert_no_flapping(rig: &Rig) {
    let load = Load::start(&rig.addresses(), 200, 16, |_| get(ITEMS)).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(3);
    wait_until("some seconds to pass", SOON, || {
        if std::time::Instant::now() > end { Ok(()) } else { Err(String::new()) }
    })
    .unwrap();
    let outcomes = load.stop().unwrap();
    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into());
    rig.assert_no_crash();
}
