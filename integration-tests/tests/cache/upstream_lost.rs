//! The upstream fails, or its breaker is open: what is stored stands in for it, for as long as that is allowed.

use std::time::{Duration, Instant};

use integration_tests::client::Response;
use integration_tests::stack::wait_until;
use integration_tests::upstream::{Action, Fault};
use serde_json::json;

use crate::rig::{Rig, SOON, config, detail, told, wait_for_age};

fn fresh_for(prefix: &str, control: &str) -> Fault {
    Fault::new(prefix, Action::Headers).header("Cache-Control", control)
}

#[track_caller]
fn age(response: &Response) -> u64 {
    response.header("age").unwrap().parse().unwrap()
}

/// Asks all replicas in turn from `start` on until so much time has passed; when each asked, and what it got.
fn watch(rig: &Rig, target: &str, start: Instant, until: Duration) -> Vec<(Duration, Response)> {
    let (mut seen, mut replica) = (Vec::new(), 0);
    wait_until("time to pass", until + SOON, || {
        replica = (replica + 1) % 3;
        let at = start.elapsed();
        seen.push((at, rig.get(replica, target)));
        if at > until { Ok(()) } else { Err(String::new()) }
    })
    .unwrap();
    seen
}

#[test]
fn an_upstream_lost_is_no_outage_of_what_is_stored() {
    let breaker = json!({"name": "upstream", "routes": ["categories"], "open_for": "1h",
                         "trip": {"consecutive_failures": 3}});
    let rig = Rig::start(&config(
        &[
            json!({"name": "items", "stale_if_error": "4s"}),
            json!({"name": "versions"}),
            json!({"name": "categories", "stale_if_error": "10m"}),
        ],
        json!({"breakers": [breaker]}),
    ));
    what_is_stored_stands_in_for_an_upstream_that_is_gone(&rig);
    what_is_stored_stands_in_while_the_breaker_is_open(&rig);
    rig.assert_no_crash();
}

fn what_is_stored_stands_in_for_an_upstream_that_is_gone(rig: &Rig) {
    const FRESH: Duration = Duration::from_secs(2);
    const STALE: Duration = Duration::from_secs(4);
    rig.tell(&[
        fresh_for("/items", "max-age=2"),
        fresh_for("/versions/a", "max-age=1, stale-if-error=60"),
        fresh_for("/versions/b", "max-age=1"),
    ]);
    for target in ["/items/MLA1", "/versions/a", "/versions/b"] {
        let stored = rig.get(0, target);
        assert_eq!(told(&stored), "meliproxy; fwd=uri-miss; stored", "{target}");
    }
    let start = Instant::now();
    rig.stand_in().unwrap().kill();
    let second = Duration::from_secs(1);
    let seen = watch(rig, "/items/MLA1", start, FRESH + STALE + 2 * second);
    let [mut fresh, mut stale, mut refused] = [0; 3];
    for (at, response) in &seen {
        match (response.status, detail(response)) {
            (200, Some("l1" | "l2")) => {
                fresh += 1;
                assert!(*at < FRESH + second, "{at:?}");
            }
            (200, Some("unreachable")) => {
                stale += 1;
                assert!(*at > FRESH - second && *at < FRESH + STALE + second, "{at:?}");
                assert!(age(response) >= FRESH.as_secs(), "{response:?}");
            }
            (503, _) => {
                refused += 1;
                assert!(*at > FRESH + STALE - second, "{at:?}");
            }
            _ => panic!("{at:?}: {response:?}"),
        }
    }
    println!("upstream killed: {fresh} fresh, {stale} stale, then {refused} times 503");
    assert!(fresh > 10 && stale > 10 && refused > 10);

    // What says so itself may be used for longer; what says nothing, and has no policy for it, not at all.
    for replica in 0..3 {
        let response = rig.get(replica, "/versions/a");
        assert_eq!((response.status, detail(&response)), (200, Some("unreachable")));
        assert!(age(&response) >= 7);
        assert_eq!(rig.get(replica, "/versions/b").status, 503);
        assert_eq!(rig.get(replica, "/versions/never").status, 503);
    }
    // An upstream that answers with an error is not gone.
    rig.stand_in().unwrap().start().unwrap();
    rig.tell(&[Fault::status("/versions", 500), Fault::status("/items", 502)]);
    for replica in 0..3 {
        let response = rig.get(replica, "/versions/a");
        assert_eq!((response.status, detail(&response)), (200, Some("stale-if-error")));
        assert!(told(&response).contains("fwd-status=500"), "{}", told(&response));
        assert_eq!(rig.get(replica, "/versions/b").status, 500);
        assert_eq!(rig.get(replica, "/items/MLA1").status, 502);
    }
    for (cause, sum) in [("unreachable", 3), ("stale-if-error", 3), ("breaker-open", 0)] {
        rig.wait_until_counted("stale_total", &[("cache", "versions"), ("cause", cause)], sum);
    }
    rig.wait_until_counted("stale_total", &[("cache", "items"), ("cause", "unreachable")], stale);
}

fn what_is_stored_stands_in_while_the_breaker_is_open(rig: &Rig) {
    rig.tell(&[
        fresh_for("/categories/stale", "max-age=1"),
        fresh_for("/categories/fresh", "max-age=600"),
        Fault::status("/categories", 500),
    ]);
    for target in ["/categories/stale", "/categories/fresh"] {
        assert_eq!(told(&rig.get(0, target)), "meliproxy; fwd=uri-miss; stored");
    }
    let stored_at = Instant::now();
    let is_refusal =
        |response: &Response| response.status == 503 && response.text().contains("\"breaker\":");
    for replica in 0..3 {
        wait_until("the breaker to open", SOON, || {
            let response = rig.get(replica, "/categories/never");
            if is_refusal(&response) { Ok(()) } else { Err(format!("{response:?}")) }
        })
        .unwrap();
    }
    wait_for_age(stored_at, Duration::from_millis(2100));
    let before = rig.received("/categories");
    for replica in 0..3 {
        let stale = rig.get(replica, "/categories/stale");
        assert_eq!((stale.status, detail(&stale)), (200, Some("breaker-open")), "{stale:?}");
        assert!(age(&stale) >= 2);
        let fresh = rig.get(replica, "/categories/fresh");
        assert_eq!(fresh.status, 200);
        assert!(matches!(detail(&fresh), Some("l1" | "l2")), "{}", told(&fresh));
        assert!(is_refusal(&rig.get(replica, "/categories/never")));
    }
    assert_eq!(rig.received("/categories"), before, "the upstream is left alone");
    let labels = [("cache", "categories"), ("cause", "breaker-open")];
    rig.wait_until_counted("stale_total", &labels, 3);
}
