//! What a request takes of a limit: what the rule says, or what the request says of itself.

use integration_tests::client::Request;
use serde_json::json;

use super::rig::{passes, send, start};

const ADDRESS: &str = "203.0.113.1";

#[test]
fn a_request_takes_all_its_units_or_none() {
    let said = json!({"header": "X-Cost", "default": 3});
    let rule = |name: &str, algorithm: &str, cost: &serde_json::Value| {
        let (by, limit) = (["client_address"], 10);
        json!({"name": name, "by": by, "limit": limit, "per": "365d", "algorithm": algorithm, "cost": cost})
    };
    let algorithms = ["fixed_window", "sliding_window", "token_bucket"];
    let name = |kind: &str, algorithm: &str| format!("{kind}-{algorithm}");
    let rules: Vec<_> = algorithms
        .iter()
        .flat_map(|algorithm| {
            let fixed = rule(&name("fixed", algorithm), algorithm, &json!(3));
            [fixed, rule(&name("said", algorithm), algorithm, &said)]
        })
        .collect();
    let fleet = start(&rules);
    for algorithm in algorithms {
        let get = |kind| Request::get(format!("/echo/{}/x", name(kind, algorithm)));
        assert_eq!(passes(&fleet, &get("fixed"), ADDRESS, 8), 3, "{algorithm}");
        // The default likewise, so one unit is left.
        assert_eq!(passes(&fleet, &get("said"), ADDRESS, 8), 3, "{algorithm}");
        let costs = |units| get("said").header("X-Cost", units);
        assert_eq!(passes(&fleet, &costs("2"), ADDRESS, 2), 0, "{algorithm}");
        assert_eq!(passes(&fleet, &costs("1"), ADDRESS, 2), 1, "{algorithm}");

        let statuses = ["4", "4", "4", "11", "3", "2", "1"].map(|units| {
            let request = costs(units).header("X-Forwarded-For", "203.0.113.2");
            integration_tests::client::Client::new(fleet.replica(0).http())
                .send(&request)
                .unwrap()
                .status
        });
        assert_eq!(statuses, [200, 200, 429, 429, 429, 200, 429], "{algorithm}");
    }
}

#[test]
fn what_is_no_cost_counts_as_the_default() {
    let cost = json!({"header": "x-cost", "default": 3});
    let by = ["header:x-key"];
    let fleet = start(&[
        json!({"name": "said", "by": by, "limit": 2_000_000, "per": "365d", "cost": cost}),
    ]);
    let left = |request: Request| -> u64 {
        let response = send(&fleet, &request);
        let limit = response.header("ratelimit").unwrap();
        limit.split_once(";r=").unwrap().1.split_once(';').unwrap().0.parse().unwrap()
    };
    let of = |key: &str| Request::get("/echo/said/x").header("X-Key", key);
    assert_eq!(2_000_000 - left(of("none")), 3);
    for (units, taken) in [
        ("1", 1),
        ("007", 7),
        ("1000000", 1_000_000),
        ("1000001", 3),
        ("0", 3),
        ("-1", 3),
        ("+1", 3),
        ("1.5", 3),
        ("1e3", 3),
        ("0x10", 3),
        ("", 3),
        ("many", 3),
        ("18446744073709551617", 3),
    ] {
        assert_eq!(2_000_000 - left(of(units).header("X-Cost", units)), taken, "{units:?}");
    }
    let twice = of("twice").header("X-Cost", "1").header("X-Cost", "1");
    assert_eq!(2_000_000 - left(twice), 3, "two lines are no number");
}
