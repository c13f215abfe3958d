//! One process: what trips a breaker and what never does, what a refusal is, and what is done by hand.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use integration_tests::client::{Client, Load, Request, burst};
use integration_tests::scene::{next_origin, statuses};
use integration_tests::stack::{ConfigState, StackOptions, wait_until};
use integration_tests::upstream::{Action, Fault};
use serde_json::{Value, json};

use crate::rig::{CATEGORIES, ITEMS, Rig, SOON, config, get, is_refusal, metric};

fn start(breaker: &Value) -> Rig {
    start_with(2, breaker)
}

fn start_with(workers: u32, breaker: &Value) -> Rig {
    let choose = |options: StackOptions| options.replicas(1).workers(workers).redis(false);
    Rig::start(&config(false, breaker), choose)
}

/// Sends requests one after the other until one is refused; how many the upstream has had.
fn trips_after(rig: &Rig, most: u64) -> Option<u64> {
    let before = rig.received();
    for _ in 0..=most {
        if is_refusal(&rig.get(0, ITEMS)) {
            return Some(rig.received() - before);
        }
    }
    None
}

/// The live configuration becomes the one with this breaker; a new one starts closed.
fn change(rig: &Rig, breaker: &Value) {
    let status = rig.write_config(&config(false, breaker)).unwrap();
    assert_eq!(status.state, ConfigState::Published, "{status:?}");
    let name = breaker["name"].as_str().unwrap();
    wait_until("the change", SOON, || {
        // A series is there once the configuration is.
        let page = rig.replica(0).admin_get("/stats/prometheus").unwrap();
        if page.contains(&format!("breaker=\"{name}\"")) { Ok(()) } else { Err(String::new()) }
    })
    .unwrap();
    rig.status(0, CATEGORIES);
}

#[test]
fn five_failures_in_a_row_over_all_workers_trip_it_and_nothing_else() {
    let rig = start(&json!({"open_for": "1h"}));
    rig.fail(&[Fault::status("/items", 500)]);
    assert_eq!(trips_after(&rig, 10), Some(5));
    // All workers know at once, and the other route has a breaker of its own.
    let to = rig.addresses();
    let outcomes = burst(&to, Ipv4Addr::LOCALHOST, &get(ITEMS), 200, 16).unwrap();
    assert_eq!(statuses(&outcomes), [(503, 200)].into());
    assert_eq!(rig.received(), 5);
    assert_eq!(rig.status(0, CATEGORIES), 200);

    let refusal = rig.get(0, ITEMS);
    assert_eq!(refusal.header("content-type"), Some("application/problem+json"));
    let wait: u64 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    let problem: Value = serde_json::from_str(&refusal.text()).unwrap();
    assert_eq!(problem["breaker"], "upstream");

    let replica = rig.replica(0);
    let labels = [("breaker", "upstream"), ("scope", "replica")];
    assert_eq!(metric(replica, "meliproxy_breaker_state", &labels), 2.0);
    let labels = [labels[0], labels[1], ("cause", "consecutive_failures")];
    assert_eq!(metric(replica, "meliproxy_breaker_transitions_total", &labels), 1.0);
    assert_eq!(rig.said("5 failures in a row, 5 of 5 calls failed"), 1);
    assert_eq!(rig.said("key \"items\""), 1);
    let refused = [("breaker", "upstream"), ("outcome", "refused")];
    assert_eq!(metric(replica, "meliproxy_breaker_refused_total", &refused), 202.0);
    let line = "rule=upstream outcome=denied source=breaker remaining=- redis_us=0";
    wait_until("the access log", SOON, || {
        if replica.access_log().contains(line) { Ok(()) } else { Err(String::new()) }
    })
    .unwrap();
    rig.assert_no_crash();
}

#[test]
fn a_success_in_between_begins_the_row_anew() {
    let rig = start(&json!({"open_for": "1h"}));
    for _ in 0..3 {
        rig.fail(&[Fault::status("/items", 500)]);
        for _ in 0..4 {
            assert_eq!(rig.status(0, ITEMS), 500);
        }
        rig.heal();
        assert_eq!(rig.status(0, ITEMS), 200);
    }
    rig.fail(&[Fault::status("/items", 500)]);
    assert_eq!(trips_after(&rig, 10), Some(5));
}

#[test]
fn what_the_upstream_and_the_way_to_it_do_counts() {
    let rig = start(&json!({"name": "status", "open_for": "1h"}));
    let failing = |action| vec![Fault::new("/items", action)];
    for (name, faults) in [
        ("status", vec![Fault::status("/items", 502)]),
        ("reset", failing(Action::Reset)),
        ("close", failing(Action::Close)),
        ("cut", failing(Action::Cut)),
    ] {
        change(&rig, &json!({"name": name, "open_for": "1h"}));
        rig.fail(&faults);
        let client = || Client::new(rig.address(0)).from(Ipv4Addr::LOCALHOST).get(ITEMS);
        for number in 0..5 {
            let response = client();
            let is_cut = name == "cut" && response.is_err();
            assert!(is_cut || !is_refusal(&response.unwrap()), "{name}: {number}");
        }
        assert!(is_refusal(&rig.get(0, ITEMS)), "{name}");
        rig.heal();
    }
    rig.assert_no_crash();
}

#[test]
fn what_clients_and_the_proxy_itself_do_never_counts() {
    let rig = start(&json!({"open_for": "1h", "trip": {"consecutive_failures": 2}}));
    // Clients that go away.
    rig.fail(&[Fault::new("/items", Action::Hang)]);
    for _ in 0..5 {
        let mut socket = std::net::TcpStream::connect(rig.address(0)).unwrap();
        let before = rig.received();
        std::io::Write::write_all(&mut socket, b"GET /items/1 HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        wait_until("the request to arrive", SOON, || {
            if rig.received() > before { Ok(()) } else { Err(String::new()) }
        })
        .unwrap();
    }
    // Errors of clients, and a limit of the upstream's.
    for status in [400, 404, 429] {
        rig.fail(&[Fault::status("/items", status)]);
        for _ in 0..3 {
            assert_eq!(rig.status(0, ITEMS), status);
        }
    }
    rig.heal();
    assert_eq!(rig.status(0, ITEMS), 200);
    rig.assert_no_crash();
}

#[test]
fn a_429_of_ours_is_no_failure() {
    let text = config(
        false,
        &json!({"failure_statuses": ["4xx", "5xx"], "trip": {"consecutive_failures": 2}}),
    );
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["quotas"] =
        json!([{"name": "one", "by": ["client_address"], "limit": 1, "per": "365d"}]);
    let choose = |options: StackOptions| options.replicas(1).redis(false);
    let rig = Rig::start(&config.to_string(), choose);
    let request = |origin: Ipv4Addr| get(ITEMS).header("X-Forwarded-For", origin.to_string());
    let origin = next_origin();
    let outcomes = burst(&rig.addresses(), Ipv4Addr::LOCALHOST, &request(origin), 20, 1).unwrap();
    assert_eq!(statuses(&outcomes), [(200, 1), (429, 19)].into());
    let other = Client::new(rig.address(0)).send(&request(next_origin())).unwrap();
    assert_eq!(other.status, 200);
}

#[test]
fn shares_of_failures_and_of_slow_calls_trip_it_from_the_minimum_on() {
    let failing = json!({"failure_percent": 50, "minimum_calls": 10, "window": "1m"});
    // One worker, as others may have successes that they have not reported.
    let rig = start_with(1, &json!({"name": "failing", "open_for": "1h", "trip": failing}));
    for _ in 0..4 {
        assert_eq!(rig.status(0, ITEMS), 200);
    }
    rig.fail(&[Fault::status("/items", 500)]);
    // Of ten calls six.
    assert_eq!(trips_after(&rig, 20), Some(6));

    let slow =
        json!({"slow_percent": 50, "slow_after": "50ms", "minimum_calls": 6, "window": "1m"});
    change(&rig, &json!({"name": "slow", "open_for": "1h", "trip": slow}));
    rig.heal();
    assert_eq!(trips_after(&rig, 8), None);
    rig.fail(&[Fault::delay("/items", Duration::from_millis(80))]);
    assert_eq!(trips_after(&rig, 20), Some(9), "as many as were not slow");
    rig.assert_no_crash();
}

#[test]
fn it_half_opens_after_its_time_and_closes_by_exactly_so_many_probes() {
    let rig = start(&json!({"open_for": "500ms", "max_open_for": "500ms", "close_after": 3}));
    rig.fail(&[Fault::status("/items", 500)]);
    assert_eq!(trips_after(&rig, 10), Some(5));
    // Two of its probes fail.
    let tried = rig.received() + 2;
    wait_until("two probes", SOON, || {
        rig.get(0, ITEMS);
        if rig.received() >= tried { Ok(()) } else { Err(String::new()) }
    })
    .unwrap();
    rig.heal();
    rig.wait_until_refused(0, ITEMS, false);
    assert!(rig.said("probe_failed") >= 2);
    assert_eq!(rig.total("meliproxy_breaker_probes_total", &[("result", "succeeded")]), 1.0);
    rig.wait_until_refused(0, ITEMS, false);
    rig.wait_until_refused(0, ITEMS, false);
    assert_eq!(rig.total("meliproxy_breaker_probes_total", &[("result", "succeeded")]), 3.0);
    wait_until("the log", SOON, || match rig.said("probes_succeeded") {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .unwrap();
    let outcomes = burst(&rig.addresses(), Ipv4Addr::LOCALHOST, &get(ITEMS), 100, 8).unwrap();
    assert_eq!(statuses(&outcomes), [(200, 100)].into());
    rig.assert_no_crash();
}

#[test]
fn under_load_no_more_probes_than_configured() {
    let rig = start(&json!({"open_for": "300ms", "max_open_for": "300ms", "probes": 2}));
    rig.fail(&[Fault::status("/items", 500)]);
    assert_eq!(trips_after(&rig, 10), Some(5));
    // Trial requests that hang keep their permits until their time is over.
    rig.fail(&[Fault::new("/items", Action::Hang)]);
    let before = rig.received();
    let load = Load::start(&rig.addresses(), 1000, 40, |_| get(ITEMS)).unwrap();
    wait_until("2,000 answers", SOON, || {
        if load.answered() >= 2000 { Ok(()) } else { Err(load.answered().to_string()) }
    })
    .unwrap();
    assert_eq!(rig.received() - before, 2);
    rig.heal();
    drop(load.stop());
    rig.assert_no_crash();
}

#[test]
fn by_hand_it_is_open_or_closed_or_a_shadow() {
    let rig = start(&json!({"name": "open", "force": "open"}));
    assert!(is_refusal(&rig.get(0, ITEMS)));
    assert!(is_refusal(&rig.get(0, CATEGORIES)));
    assert_eq!(rig.received(), 0);

    let trip = json!({"consecutive_failures": 2});
    change(&rig, &json!({"name": "closed", "force": "closed", "trip": trip}));
    rig.fail(&[Fault::status("/items", 500)]);
    for _ in 0..10 {
        assert_eq!(rig.status(0, ITEMS), 500);
    }
    assert!(!is_refusal(&rig.get(0, ITEMS)));

    change(&rig, &json!({"name": "shadow", "shadow": true, "trip": trip, "open_for": "1h"}));
    for _ in 0..10 {
        assert!(!is_refusal(&rig.get(0, ITEMS)));
    }
    let labels = [("breaker", "shadow"), ("outcome", "shadowed")];
    assert_eq!(rig.total("meliproxy_breaker_refused_total", &labels), 8.0);
    let labels = [("breaker", "shadow"), ("scope", "replica")];
    assert_eq!(rig.total("meliproxy_breaker_state", &labels), 2.0);
    // All workers tell of it for as long as it lasts, and each second is counted once.
    let since = Instant::now();
    let seconds = || rig.total("meliproxy_breaker_open_seconds_total", &labels);
    let before = seconds();
    wait_until("three seconds to be counted", SOON, || {
        assert_eq!(rig.total("meliproxy_breaker_state", &labels), 2.0);
        let counted = seconds() - before;
        if counted >= 3.0 { Ok(()) } else { Err(counted.to_string()) }
    })
    .unwrap();
    let most = since.elapsed().as_secs_f64() + 2.0;
    assert!(seconds() - before <= most, "{} of {most}", seconds() - before);
    rig.assert_no_crash();
}

#[test]
fn a_refusal_is_as_configured() {
    let refusal = json!({"status": 502, "content_type": "text/plain", "body": "later",
                         "headers": {"X-Why": "breaker"}});
    let rig = start(&json!({"force": "open", "refusal": refusal}));
    let response = rig.get(0, ITEMS);
    assert_eq!((response.status, response.text().as_str()), (502, "later"));
    assert_eq!(response.header("x-why"), Some("breaker"));
    assert!(response.header("retry-after").is_some());
    let head = Client::new(rig.address(0)).send(&Request::new("HEAD", ITEMS)).unwrap();
    assert_eq!((head.status, head.body.len()), (502, 0));
}

#[test]
fn the_upstream_says_how_long_it_wants_to_be_left_alone() {
    let rig = start(&json!({"obey_retry_after": true, "open_for": "100ms"}));
    rig.fail(&[Fault::status("/items", 429).header("Retry-After", "100")]);
    assert_eq!(trips_after(&rig, 10), Some(5));
    let wait: u64 = rig.get(0, ITEMS).header("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
}
