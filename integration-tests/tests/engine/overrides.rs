//! Keys that a rule treats otherwise: more room, none needed, or none at all.

use integration_tests::client::Request;
use integration_tests::upstream::control::Control;
use serde_json::json;

use super::rig::{decisions, passes, send, start};

#[test]
fn an_address_in_a_block_is_treated_as_the_first_match_says() {
    let overrides = json!([
        {"match": {"client_address": "203.0.113.128/25"}, "limit": 6},
        {"match": {"client_address": "203.0.113.0/24"}, "limit": 4},
        {"match": {"client_address": "198.51.100.7"}, "action": "exempt"},
        {"match": {"client_address": "192.0.2.0/24"}, "action": "refuse"},
        {"match": {"client_address": "2001:db8:1::/48"}, "limit": 5},
        {"match": {"client_address": "2001:db8:2::/64"}, "limit": 3},
        {"match": {"client_address": "2001:db8:3::7"}, "action": "exempt"},
    ]);
    let rule = json!({"name": "blocks", "by": ["client_address"], "limit": 2, "per": "365d", "overrides": overrides});
    let fleet = start(&[rule]);
    let request = Request::get("/echo/blocks/x");
    for (address, expected) in [
        ("203.0.112.255", 2),
        ("203.0.113.0", 4),
        ("203.0.113.127", 4),
        ("203.0.113.128", 6),
        ("203.0.113.255", 6),
        ("203.0.114.0", 2),
        ("198.51.100.6", 2),
        ("198.51.100.7", 20),
        ("198.51.100.8", 2),
        ("192.0.1.255", 2),
        ("192.0.2.0", 0),
        ("192.0.2.255", 0),
        ("192.0.3.0", 2),
        ("2001:db8:1::1", 5),
        ("2001:db8:1:ffff::1", 5),
        ("2001:db8:0:ffff::1", 2),
        ("2001:db8:2::7", 3),
        ("2001:db8:2:1::7", 2),
        ("2001:db8:3::7", 20),
        ("2001:db8:3::8", 2),
    ] {
        assert_eq!(passes(&fleet, &request, address, 20), expected, "{address}");
    }
    assert_eq!(decisions(&fleet, "blocks", "denied", "config"), 40.0);
    // Nothing is counted of whom the rule is not for, nor of whom it never lets in.
    let counters = fleet.counters();
    let of = |address: &str| {
        counters.get(&format!("mp:{{engine}}:fw:1:blocks:31536000:{address}")).copied()
    };
    let counted = ["203.0.113.128", "198.51.100.6", "198.51.100.7", "192.0.2.0"].map(of);
    assert_eq!(counted, [Some(6), Some(2), None, None], "{counters:?}");
}

#[test]
fn who_is_always_refused_is_not_told_to_come_again() {
    let overrides = json!([{"match": {"header:x-key": "stolen"}, "action": "refuse"}]);
    let rules = [
        json!({"name": "all", "routes": ["keys"], "limit": 3, "per": "365d"}),
        json!({"name": "keys", "by": ["header:x-key"], "limit": 100, "per": "365d", "overrides": overrides}),
    ];
    let fleet = start(&rules);
    let upstream = Control::new(fleet.stand_in().unwrap().control());
    let with_key = |key| Request::get("/echo/keys/x").header("X-Key", key);
    for _ in 0..5 {
        let refusal = send(&fleet, &with_key("stolen"));
        assert_eq!(refusal.status, 429);
        assert_eq!(refusal.header("retry-after"), None);
        assert_eq!(refusal.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
        assert_eq!(problem["violated-policies"], json!(["keys"]));
    }
    assert_eq!(upstream.counts().unwrap().total, 0);
    // That took nothing from the others.
    let statuses: Vec<_> = (0..4).map(|_| send(&fleet, &with_key("good")).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    // Not even by a second line beside the key.
    let hidden = with_key("stolen").header("X-Key", "good");
    let refused = send(&fleet, &hidden);
    assert!(refused.header("retry-after").is_some(), "refused by the other rule: {refused:?}");
}

#[test]
fn all_parts_of_a_match_have_to_match_and_every_kind_of_part_can() {
    let rule = |name: &str, by: serde_json::Value, found: serde_json::Value| {
        let overrides = json!([{"match": found, "limit": 4}]);
        json!({"name": name, "by": by, "limit": 2, "per": "365d", "overrides": overrides})
    };
    let rules = [
        rule(
            "both",
            json!(["header:x-key", "client_address"]),
            json!({"header:X-Key": "a", "client_address": "203.0.113.0/24"}),
        ),
        rule("empty", json!(["header:x-key"]), json!({"header:x-key": ""})),
        rule("cookie", json!(["cookie:id"]), json!({"cookie:id": "vip"})),
        rule("query", json!(["query:key"]), json!({"query:key": "a b"})),
        rule("host", json!(["host"]), json!({"host": "shop.example"})),
        rule("path", json!(["path"]), json!({"path": "/echo/path/%61"})),
        rule("method", json!(["method"]), json!({"method": "PUT"})),
        json!({
            "name": "bucket", "by": ["header:x-key"], "limit": 2, "per": "365d", "algorithm": "token_bucket", "burst": 3,
            "overrides": [
                {"match": {"header:x-key": "a"}, "limit": 7},
                {"match": {"header:x-key": "b"}, "limit": 1, "burst": 5},
            ],
        }),
    ];
    let fleet = start(&rules);
    let get = |target: &str| Request::get(format!("/echo/{target}"));
    let (inside, outside) = ("203.0.113.9", "203.0.114.9");
    for (request, address, expected) in [
        (get("both/x").header("X-Key", "a"), inside, 4),
        (get("both/x").header("X-Key", "a"), outside, 2),
        (get("both/x").header("X-Key", "b"), inside, 2),
        (get("both/x"), inside, 2),
        (get("empty/x").header("X-Key", ""), inside, 4),
        (get("empty/x"), inside, 2),
        (get("cookie/x").header("Cookie", "a=1; id=vip"), inside, 4),
        (get("cookie/x").header("Cookie", "a=1; id=VIP"), inside, 2),
        (get("query/x?key=a%20b"), inside, 4),
        (get("query/x?key=a%2520b"), inside, 2),
        (get("host/x").header("Host", "shop.EXAMPLE:80"), inside, 4),
        (get("host/x").header("Host", "shop.example.com"), inside, 2),
        (get("path/a"), inside, 4),
        (get("path/A"), inside, 2),
        (Request::new("PUT", "/echo/method/x"), inside, 4),
        (get("method/x"), inside, 2),
        (get("bucket/x"), inside, 3),
        (get("bucket/x").header("X-Key", "a"), inside, 7),
        (get("bucket/x").header("X-Key", "b"), inside, 5),
    ] {
        assert_eq!(passes(&fleet, &request, address, 10), expected, "{request:?}");
    }
}
