//! Rules that only tell what they would have done, for all keys or for a share of them.

use integration_tests::client::Request;
use integration_tests::fleet::passed;
use integration_tests::scene::next_origin;
use serde_json::json;

use super::rig::{decisions, passes, send, start};

#[test]
fn a_shadow_counts_and_refuses_nothing() {
    let refuse = json!([{"match": {"client_address": "192.0.2.1"}, "action": "refuse"}]);
    let by = ["client_address"];
    let rules = [
        json!({"name": "alone", "by": by, "limit": 4, "per": "365d", "shadow": true, "overrides": refuse}),
        json!({"name": "shadow", "routes": ["real"], "by": by, "limit": 2, "per": "365d", "shadow": true}),
        json!({"name": "real", "by": by, "limit": 6, "per": "365d"}),
    ];
    let fleet = start(&rules);
    let count = |rule, outcome, source| decisions(&fleet, rule, outcome, source);

    let outcomes = fleet.burst(next_origin(), "/echo/alone/x", 30);
    assert_eq!(passed(&outcomes), 30);
    assert_eq!(
        (count("alone", "allowed", "redis"), count("alone", "shadowed", "redis")),
        (4.0, 26.0)
    );
    let told = send(&fleet, &Request::get("/echo/alone/x"));
    assert_eq!(["ratelimit", "ratelimit-policy"].map(|name| told.header(name)), [None; 2]);
    assert_eq!(passes(&fleet, &Request::get("/echo/alone/x"), "192.0.2.1", 5), 5);
    assert_eq!(count("alone", "shadowed", "config"), 5.0);

    // Beside a rule that refuses, it neither holds that up nor counts what that refuses.
    let outcomes = fleet.burst(next_origin(), "/echo/real/x", 20);
    assert_eq!(passed(&outcomes), 6);
    assert_eq!(
        (count("shadow", "allowed", "redis"), count("shadow", "shadowed", "redis")),
        (2.0, 4.0)
    );
    assert_eq!(count("real", "allowed", "redis"), 6.0);
    assert_eq!(count("real", "denied", "redis") + count("real", "denied", "memory"), 14.0);
    for rule in ["alone", "shadow"] {
        for source in ["redis", "memory", "process", "config"] {
            assert_eq!(count(rule, "denied", source), 0.0, "{rule} by {source}");
        }
    }
}

#[test]
fn a_share_of_keys_is_the_same_on_all_replicas() {
    let rule = |name: &str, percent: u8| json!({"name": name, "by": ["client_address"], "limit": 1, "per": "365d", "enforce_percent": percent});
    let fleet = start(&[rule("none", 0), rule("some", 30), rule("all", 100)]);
    let enforced = |rule: &str| {
        let request = Request::get(format!("/echo/{rule}/x"));
        // The first passes in any case; that further ones all pass or none is asserted there.
        let passes = |number| passes(&fleet, &request, &format!("203.0.113.{number}"), 4);
        let passes: Vec<_> = (0..100).map(passes).collect();
        assert!(passes.iter().all(|passes| [1, 4].contains(passes)), "{passes:?}");
        passes.iter().filter(|passes| **passes == 1).count()
    };
    assert_eq!((enforced("none"), enforced("all")), (0, 100));
    // Which keys those are follows from their names alone: it is no chance.
    let some = enforced("some");
    assert!((15..45).contains(&some), "{some} of 100");
    let told = |outcome| decisions(&fleet, "some", outcome, "redis");
    assert_eq!(told("shadowed"), 3.0 * (100 - some) as f64);
}
