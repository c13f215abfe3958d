//! Many that want the same at once, and one request to the upstream; also if who makes it dies.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::client::{Outcome, burst, percentile};
use integration_tests::scene::statuses;
use integration_tests::stack::{Envoy, wait_until};
use integration_tests::upstream::{Action, Fault};
use serde_json::json;

use crate::rig::{Rig, SOON, config, get};

/// The same as in the filter: for how long the fleet waits for one that fetches.
const FETCH_LEASE: Duration = Duration::from_secs(5);

#[test]
fn many_that_want_the_same_are_one_request() {
    let policies = [json!({"name": "items"}), json!({"name": "categories"})];
    let rig = Rig::start(&config(&policies, json!({})));
    a_thousand_misses_at_once_are_one_request(&rig);
    who_fetches_and_is_killed_is_replaced_once_after_the_lease(&rig);
    rig.assert_no_crash();
}

/// Asserts that all were answered with the same.
#[track_caller]
fn assert_alike(outcomes: &[Outcome]) {
    assert_eq!(statuses(outcomes), [(200, outcomes.len())].into());
    let body = |outcome: &Outcome| outcome.result.as_ref().unwrap().body.clone();
    let first = body(&outcomes[0]);
    assert!(first.len() > 100 && outcomes.iter().all(|outcome| body(outcome) == first));
}

fn a_thousand_misses_at_once_are_one_request(rig: &Rig) {
    rig.tell(&[Fault::delay("/items", Duration::from_secs(2))]);
    let to = rig.addresses();
    let outcomes = burst(&to, Ipv4Addr::LOCALHOST, &get("/items/MLA1"), 1000, 1000).unwrap();
    assert_alike(&outcomes);
    assert_eq!(rig.received("/items"), 1);
    rig.wait_until_counted("misses_total", &[("cache", "items"), ("reason", "uri-miss")], 1);
    rig.assert_adds_up("items", 1000);
    let collapsed = rig.total("collapsed_total", &[]);
    // Most came while it was fetched; the rest found it.
    assert!(collapsed >= 500.0, "{collapsed}");
    let [p50, p100] = [0.5, 1.0].map(|share| percentile(&outcomes, share));
    println!("1,000 at once: 1 request, {collapsed} collapsed, p50 {p50:.1?}, most {p100:.1?}");

    // What is not stored nobody is made to wait for in turns.
    rig.tell(&[
        Fault::delay("/items", Duration::from_millis(500)).header("Cache-Control", "no-store")
    ]);
    let start = Instant::now();
    let outcomes = burst(&to, Ipv4Addr::LOCALHOST, &get("/items/MLA2"), 60, 60).unwrap();
    assert_alike(&outcomes);
    assert_eq!(rig.received("/items"), 61, "each for itself");
    let took = start.elapsed();
    println!("60 at once for what may not be stored: {took:.1?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// Requests that a replica has not answered yet.
fn active(replica: &Envoy) -> f64 {
    let labels = [("envoy_http_conn_manager_prefix", "replica")];
    replica.metric("envoy_http_downstream_rq_active", &labels).unwrap()
}

fn who_fetches_and_is_killed_is_replaced_once_after_the_lease(rig: &Rig) {
    let once = NonZeroU64::MIN;
    let faults = [
        Fault::new("/categories", Action::Hang).times(once),
        Fault::delay("/categories", Duration::from_millis(300)),
    ];
    rig.tell(&faults);
    let leader = rig.replica(0).http();
    let one = thread::spawn(move || {
        burst(&[leader], Ipv4Addr::LOCALHOST, &get("/categories/MLA3"), 1, 1).unwrap()
    });
    let received = |count| {
        wait_until("the upstream to be asked", SOON, || {
            let received = rig.received("/categories");
            if received >= count { Ok(()) } else { Err(received.to_string()) }
        })
        .unwrap();
    };
    received(1);
    let led_at = Instant::now();
    let others = rig.addresses().split_off(1);
    let crowd = thread::spawn(move || {
        burst(&others, Ipv4Addr::LOCALHOST, &get("/categories/MLA3"), 400, 400).unwrap()
    });
    wait_until("all to wait", SOON, || {
        let waiting: f64 = rig.replicas()[1..].iter().map(active).sum();
        if waiting == 400.0 { Ok(()) } else { Err(waiting.to_string()) }
    })
    .unwrap();
    assert_eq!(rig.received("/categories"), 1, "all wait for the one");
    rig.replica(0).kill();
    assert_eq!(statuses(&one.join().unwrap()), [(0, 1)].into(), "it died with its replica");

    received(2);
    let replaced_after = led_at.elapsed();
    let outcomes = crowd.join().unwrap();
    assert_alike(&outcomes);
    assert_eq!(rig.received("/categories"), 2, "one more");
    println!(
        "who fetched was killed: replaced after {replaced_after:.1?}, all served after {:.1?}",
        led_at.elapsed()
    );
    // When it is looked again is a second after the last look.
    let allowed = FETCH_LEASE - Duration::from_millis(500)..FETCH_LEASE + Duration::from_secs(3);
    assert!(allowed.contains(&replaced_after), "{replaced_after:?}");
    rig.wait_until_counted("misses_total", &[("cache", "categories"), ("reason", "uri-miss")], 1);
    rig.assert_adds_up("categories", 400);
}
