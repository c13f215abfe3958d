//! What clients are told behind the edge: fields on what passes and on what is refused, and refusals of a rule's own.

use std::net::Ipv4Addr;

use integration_tests::client::{Client, Request, Response};
use integration_tests::fleet::Fleet;
use integration_tests::scene::next_origin;
use integration_tests::upstream::control::Control;
use serde_json::{Value, json};

use super::rig::{config, start};

/// So many requests of one origin, one after the other.
fn responses(fleet: &Fleet, origin: Ipv4Addr, request: &Request, count: usize) -> Vec<Response> {
    let mut client = Client::new(fleet.edge().http()).from(origin);
    (0..count).map(|_| client.send(request).unwrap()).collect()
}

/// A list of `"name";parameter=…` without its times, which go on.
fn without_times(list: Option<&str>) -> Option<String> {
    let members = list?.split(", ").map(|member| match member.split_once(";t=") {
        Some((before, time)) => {
            assert!(time.parse::<u64>().unwrap() > 0, "{member}");
            before.to_owned()
        }
        None => member.to_owned(),
    });
    Some(members.collect::<Vec<_>>().join(", "))
}

#[test]
fn each_algorithm_tells_how_a_client_stands() {
    let by = ["client_address"];
    let rule = |name: &str, limit, per: &str, algorithm: &str| {
        let routes = ["told"];
        json!({"name": name, "routes": routes, "by": by, "limit": limit, "per": per, "algorithm": algorithm})
    };
    let mut bucket = rule("bucket", 10, "365d", "token_bucket");
    bucket["burst"] = json!(3);
    let rules = [
        rule("month", 4, "month", "fixed_window"),
        rule("slides", 9, "30d", "sliding_window"),
        bucket,
        rule("day", 1_000_000, "day", "fixed_window"),
    ];
    let mut config = config(&rules);
    config["routes"] = json!([{"name": "told", "path": "/echo/told/{*rest}"}]);
    config["response_fields"] = json!(["ratelimit", "x-ratelimit"]);
    let fleet = Fleet::start(&config.to_string(), |options| options.replicas(2));

    let responses = responses(&fleet, next_origin(), &Request::get("/echo/told/x"), 4);
    let policy = concat!(
        r#""month";q=4, "slides";q=9;w=2592000, "#,
        r#""bucket";q=10;w=31536000;meliproxy-burst=3, "day";q=1000000;w=86400"#
    );
    for (sent, response) in (1..).zip(&responses[..3]) {
        assert_eq!(response.status, 200);
        assert_eq!(response.header("ratelimit-policy"), Some(policy));
        let (month, slides, bucket, day) = (4 - sent, 9 - sent, 3 - sent, 1_000_000 - sent);
        let limit = format!(
            r#""month";r={month}, "slides";r={slides}, "bucket";r={bucket}, "day";r={day}"#
        );
        assert_eq!(without_times(response.header("ratelimit")), Some(limit));
        let x = ["limit", "remaining"].map(|name| response.header(&format!("x-ratelimit-{name}")));
        assert_eq!(x, [Some("10"), Some(&*bucket.to_string())]);
    }
    let refusal = &responses[3];
    assert_eq!(refusal.status, 429);
    assert_eq!(refusal.header("ratelimit-policy"), Some(policy));
    assert_eq!(without_times(refusal.header("ratelimit")).as_deref(), Some(r#""bucket";r=0"#));
    let retry_after: u64 = refusal.header("retry-after").unwrap().parse().unwrap();
    // A token takes a tenth of a year, less what has passed since the last one was taken.
    assert!((3_153_500..=3_153_600).contains(&retry_after), "{retry_after}");
    let x =
        ["limit", "remaining", "reset"].map(|name| refusal.header(&format!("x-ratelimit-{name}")));
    assert_eq!(x, [Some("10"), Some("0"), Some(&*retry_after.to_string())]);
}

#[test]
fn a_rule_refuses_as_it_says_and_the_first_that_says_decides() {
    let by = ["client_address"];
    let rule = |name: &str, routes: Value, limit, refusal: Value| {
        let mut rule =
            json!({"name": name, "by": by, "limit": limit, "per": "365d", "refusal": refusal});
        if !routes.is_null() {
            rule["routes"] = routes;
        }
        if rule["refusal"].is_null() {
            rule.as_object_mut().unwrap().remove("refusal");
        }
        rule
    };
    let text =
        |status, body: &str| json!({"status": status, "content_type": "text/plain", "body": body});
    let rules = [
        rule("plain", json!(["own", "late"]), 5, Value::Null),
        rule("own", Value::Null, 2, text(503, "come back later\n")),
        rule("late", Value::Null, 5, text(418, "no coffee")),
        rule("second", json!(["late"]), 5, text(420, "second")),
        rule("bare", Value::Null, 1, json!({"status": 403})),
    ];
    let fleet = start(&rules);
    let upstream = Control::new(fleet.stand_in().unwrap().control());
    let get = |name: &str| Request::get(format!("/echo/{name}/x"));
    let origin = next_origin();
    for (request, passes, status, content_type, body) in [
        (get("own"), 2, 503, "text/plain", "come back later\n"),
        // Of `plain`, two units are gone already: it refuses alone, and says nothing.
        (get("late"), 3, 429, "application/problem+json", ""),
        (get("bare"), 1, 403, "application/problem+json", ""),
    ] {
        upstream.reset_counts().unwrap();
        let responses = responses(&fleet, origin, &request, passes + 3);
        for (number, response) in responses.iter().enumerate() {
            let expected = if number < passes { 200 } else { status };
            assert_eq!(response.status, expected, "{number} of {request:?}");
        }
        for refusal in &responses[passes..] {
            assert_eq!(refusal.header("content-type"), Some(content_type));
            assert_eq!(refusal.header("cache-control"), Some("no-store"));
            assert!(
                refusal.header("retry-after").is_some() && refusal.header("ratelimit").is_some()
            );
            if body.is_empty() {
                let problem: Value = serde_json::from_slice(&refusal.body).unwrap();
                assert_eq!(problem["status"], status);
            } else {
                assert_eq!(refusal.text(), body);
            }
        }
        // The edge makes no second try of a refusal, whatever its status.
        assert_eq!(upstream.counts().unwrap().total, passes as u64);
    }
    let late = responses(&fleet, next_origin(), &get("late"), 7);
    let own: Vec<_> = late.iter().map(|response| (response.status, response.text())).collect();
    assert!(own[..5].iter().all(|(status, _)| *status == 200), "{own:?}");
    assert!(own[5..].iter().all(|refusal| *refusal == (418, "no coffee".to_owned())), "{own:?}");
    let head = Request::new("HEAD", "/echo/late/x");
    let head = Client::new(fleet.edge().http()).from(origin).send(&head).unwrap();
    assert_eq!((head.status, head.body.len()), (429, 0));
}
