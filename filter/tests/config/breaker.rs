//! The keys of a breaker: what each takes, value by value, what is refused, and what holds between them.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use meliproxy::config::{Breaker, Config, Content, Force, KeyPart, Refusal, Scope, Statuses, Trip};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{assert_each_refused, assert_refused, full, parse, parse_text, with, without};

/// The first breaker of a file.
fn first(file: &Value) -> Breaker {
    parse(file).breakers.swap_remove(0)
}

/// The first breaker of the full file with one value replaced.
fn breaker_with(key: &str, value: Value) -> Breaker {
    first(&with(&format!("/breakers/0/{key}"), value))
}

/// A breaker that has only a name and these members.
fn bare(members: Value) -> Breaker {
    let mut breaker = members;
    breaker["name"] = json!("a");
    first(&json!({"version": 1, "breakers": [breaker]}))
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn every_key_becomes_what_it_says() {
    let file = with("/breakers/0/by", json!(["route", "path", "host", "method"]));
    let content = Content { content_type: "text/plain".into(), body: "later".into() };
    let expected = Breaker {
        name: "items".into(),
        routes: Some(vec![0]),
        by: vec![KeyPart::Route, KeyPart::Path, KeyPart::Host, KeyPart::Method],
        trip: Trip {
            consecutive_failures: NonZeroU32::new(5),
            failure_percent: NonZeroU8::new(50),
            slow_percent: NonZeroU8::new(80),
            slow_after: Duration::from_secs(2),
            window: Duration::from_secs(10),
            minimum_calls: count(20),
        },
        failure_statuses: (500..=599).collect(),
        open_for: Duration::from_secs(30),
        max_open_for: Duration::from_secs(300),
        obey_retry_after: false,
        probes: count(1),
        probe_timeout: Duration::from_secs(10),
        close_after: count(1),
        ramp: Duration::from_secs(10),
        scope: Scope::Fleet,
        force: Some(Force::Closed),
        shadow: false,
        refusal: Some(Refusal {
            status: 503,
            headers: vec![("x-own".into(), "1".into())],
            content: Some(content),
        }),
    };
    assert_eq!(first(&file), expected);
}

#[test]
fn what_is_left_out_has_its_default() {
    let expected = Breaker {
        name: "a".into(),
        routes: None,
        by: vec![KeyPart::Route],
        trip: Trip {
            consecutive_failures: NonZeroU32::new(5),
            failure_percent: None,
            slow_percent: None,
            slow_after: Duration::ZERO,
            window: Duration::from_secs(10),
            minimum_calls: count(20),
        },
        failure_statuses: (500..=599).collect(),
        open_for: Duration::from_secs(30),
        max_open_for: Duration::from_secs(300),
        obey_retry_after: false,
        probes: count(1),
        probe_timeout: Duration::from_secs(10),
        close_after: count(1),
        ramp: Duration::ZERO,
        scope: Scope::Replica,
        force: None,
        shadow: false,
        refusal: None,
    };
    assert_eq!(bare(json!({})), expected);
    let refusal = Some(Refusal { status: 503, headers: vec![], content: None });
    assert_eq!(bare(json!({"refusal": {}})).refusal, refusal);
}

#[test]
fn breakers_keep_the_order_of_the_file() {
    let names = ["c", "a", "b"];
    let file = json!({"version": 1, "breakers": names.map(|name| json!({"name": name}))});
    let breakers = parse(&file).breakers;
    assert!(breakers.iter().map(|breaker| &*breaker.name).eq(names));
}

#[test]
fn a_trip_has_at_least_one_condition() {
    const NONE: &str = "breakers[0].trip: found no condition, allowed: \
        at least one of \"consecutive_failures\", \"failure_percent\" and \"slow_percent\"";
    for trip in [json!({}), json!({"window": "1m"}), json!({"minimum_calls": 1})] {
        assert_refused(&with("/breakers/0/trip", trip), &[NONE]);
    }
    let slow = json!({"slow_percent": 1, "slow_after": "1ms"});
    for (trip, consecutive, failed, slow) in [
        (json!({"consecutive_failures": 1}), 1, 0, 0),
        (json!({"failure_percent": 100}), 0, 100, 0),
        (slow, 0, 0, 1),
    ] {
        let trip = breaker_with("trip", trip).trip;
        assert_eq!(trip.consecutive_failures, NonZeroU32::new(consecutive));
        assert_eq!(trip.failure_percent, NonZeroU8::new(failed));
        assert_eq!(trip.slow_percent, NonZeroU8::new(slow));
        assert_eq!(trip.slow_after, Duration::from_millis(slow.into()));
    }
}

#[test]
fn what_is_slow_is_said_with_how_many_are() {
    assert_refused(
        &without("/breakers/0/trip/slow_after"),
        &["breakers[0].trip.slow_after: found nothing, \
           allowed: a whole number of ms, s or m from 1ms to 5m"],
    );
    assert_refused(
        &without("/breakers/0/trip/slow_percent"),
        &["breakers[0].trip.slow_percent: found nothing, allowed: a whole number from 1 to 100"],
    );
    // Not also a trip without a condition.
    assert_refused(
        &with("/breakers/0/trip", json!({"slow_after": "1s"})),
        &["breakers[0].trip.slow_percent: found nothing, allowed: a whole number from 1 to 100"],
    );
}

#[test]
fn failures_are_statuses_and_classes_of_them() {
    for (written, expected) in [
        (json!(["5xx"]), (500..=599).collect::<Statuses>()),
        (json!(["4xx"]), (400..=499).collect()),
        (json!(["5xx", "4xx"]), (400..=599).collect()),
        (json!([502, 400, 599]), [400, 502, 599].into_iter().collect()),
        (json!(["5xx", 429, 500]), (500..=599).chain([429]).collect()),
    ] {
        assert_eq!(breaker_with("failure_statuses", written).failure_statuses, expected);
    }
    let of_32: Vec<_> = (500..532).collect();
    breaker_with("failure_statuses", json!(of_32));
    let of_33: Vec<_> = (500..533).collect();
    assert_refused(
        &with("/breakers/0/failure_statuses", json!(of_33)),
        &["breakers[0].failure_statuses: found a list of 33, allowed: a list of 1 to 32 statuses"],
    );
}

#[test]
fn a_breaker_stays_open_at_most_as_long_as_at_first_or_longer() {
    let times = |open_for: &str, max_open_for: Option<&str>| {
        let mut breaker = json!({"open_for": open_for});
        if let Some(max) = max_open_for {
            breaker["max_open_for"] = json!(max);
        }
        let breaker = bare(breaker);
        (breaker.open_for.as_secs(), breaker.max_open_for.as_secs())
    };
    assert_eq!(times("1m", None), (60, 300));
    assert_eq!(times("5m", None), (300, 300));
    assert_eq!(times("6m", None), (360, 360));
    assert_eq!(times("1h", None), (3600, 3600));
    assert_eq!(times("30s", Some("30s")), (30, 30));
    assert_eq!(times("1h", Some("24h")), (3600, 86_400));
    assert_refused(
        &with("/breakers/0/max_open_for", json!("29999ms")),
        &["breakers[0].max_open_for: found \"29999ms\", allowed: no less than \"open_for\""],
    );
    let mut file = with("/breakers/0/max_open_for", json!("1s"));
    file["breakers"][0]["open_for"] = json!("soon");
    assert_refused(
        &file,
        &["breakers[0].open_for: found \"soon\", \
           allowed: a whole number of ms, s, m or h from 100ms to 1h"],
    );
}

#[test]
fn the_fleet_needs_redis() {
    assert_eq!(breaker_with("scope", json!("replica")).scope, Scope::Replica);
    assert_eq!(breaker_with("scope", json!("fleet")).scope, Scope::Fleet);
    assert_eq!(first(&without("/breakers/0/scope")).scope, Scope::Fleet);
    assert_eq!(bare(json!({"scope": "replica"})).scope, Scope::Replica);
    let message = "breakers[0].scope: found \"fleet\", \
                   allowed: \"replica\" (\"fleet\" is for files with \"redis\" alone)";
    let mut file = without("/redis");
    file.as_object_mut().unwrap().remove("cache");
    assert_refused(&file, &[message]);
    // It is there, if not as it should be.
    assert_refused(&with("/redis", json!(1)), &["redis: found 1, allowed: an object"]);
}

#[test]
fn a_breaker_is_a_shadow_or_forced() {
    for (word, force) in [("open", Force::Open), ("closed", Force::Closed)] {
        assert_eq!(breaker_with("force", json!(word)).force, Some(force));
        let mut file = with("/breakers/0/force", json!(word));
        file["breakers"][0]["shadow"] = json!(true);
        let message = format!(
            "breakers[0].force: found \"{word}\", \
             allowed: no state by hand together with \"shadow\""
        );
        assert_refused(&file, &[&message]);
    }
    let mut file = without("/breakers/0/force");
    assert_eq!(first(&file).force, None);
    file["breakers"][0]["shadow"] = json!(true);
    assert!(first(&file).shadow);
}

#[test]
fn both_ends_of_every_range_are_taken() {
    for (key, values) in [
        ("trip/consecutive_failures", json!([1, 1000])),
        ("trip/failure_percent", json!([1, 100])),
        ("trip/slow_percent", json!([1, 100])),
        ("trip/slow_after", json!(["1ms", "5m", "300s"])),
        ("trip/window", json!(["1s", "1000ms", "10m"])),
        ("trip/minimum_calls", json!([1, 1_000_000])),
        ("failure_statuses/0", json!([400, 599])),
        ("open_for", json!(["100ms", "5m"])),
        ("max_open_for", json!(["30s", "24h"])),
        ("obey_retry_after", json!([true, false])),
        ("probes", json!([1, 100])),
        ("probe_timeout", json!(["100ms", "5m"])),
        ("close_after", json!([1, 1000])),
        ("ramp", json!(["100ms", "1h"])),
        ("refusal/status", json!([400, 599])),
        ("by", json!([["path"], ["host", "method"]])),
    ] {
        for value in values.as_array().unwrap() {
            breaker_with(key, value.clone());
        }
    }
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    const NAME: &str = "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    const ROUTE: &str = "the name of a route: 'items' or 'rest'";
    const PART: &str = "'route', 'path', 'host' or 'method'";
    const PARTS: &str = "'client_address' | 'header:a' | 'cookie:a' | 'query:a' | 'Route' | 1";
    const PERCENT: &str = "a whole number from 1 to 100";
    const THOUSAND: &str = "a whole number from 1 to 1000";
    const MILLION: &str = "a whole number from 1 to 1000000";
    const STATUS: &str = "a whole number from 400 to 599, or '4xx' or '5xx'";
    const STATUSES: &str = "399 | 600 | '500' | '3xx' | '5XX' | 65936 | null";
    const HOUR: &str = "a whole number of ms, s, m or h from 100ms to 1h";
    const DAY: &str = "a whole number of ms, s, m or h from 100ms to 24h";
    const MINUTES: &str = "a whole number of ms, s, m or h from 100ms to 5m";
    const WINDOW: &str = "a whole number of ms, s or m from 1s to 10m";
    const SLOW: &str = "a whole number of ms, s or m from 1ms to 5m";
    assert_each_refused(&[
        ("/breakers", "a list of 0 to 256 breakers", "null | {} | 'items'"),
        ("/breakers/0", "an object", "[] | 'items' | null"),
        ("/breakers/0/name", NAME, "'' | '-a' | 'A' | 7 | null"),
        ("/breakers/0/routes", "a list of 1 to 256 routes", "[] | 'items'"),
        ("/breakers/0/routes/0", ROUTE, "'categories' | ''"),
        ("/breakers/0/by", "a list of 1 to 4 parts", "[] | 'route' | [1,2,3,4,5] | null"),
        ("/breakers/0/by/0", PART, PARTS),
        ("/breakers/0/trip", "an object", "5 | null | []"),
        ("/breakers/0/trip/consecutive_failures", THOUSAND, "0 | 1001 | '5' | 4294967297 | null"),
        ("/breakers/0/trip/failure_percent", PERCENT, "0 | 101 | 257 | 0.5 | '50%' | null"),
        ("/breakers/0/trip/slow_percent", PERCENT, "0 | 101 | 257 | null"),
        ("/breakers/0/trip/slow_after", SLOW, "'0ms' | '301s' | '1h' | 2 | null"),
        ("/breakers/0/trip/window", WINDOW, "'999ms' | '601s' | '1h' | 10 | null"),
        ("/breakers/0/trip/minimum_calls", MILLION, "0 | 1000001 | 4294967297 | null"),
        ("/breakers/0/failure_statuses", "a list of 1 to 32 statuses", "[] | '5xx' | 500 | null"),
        ("/breakers/0/failure_statuses/0", STATUS, STATUSES),
        ("/breakers/0/open_for", HOUR, "'99ms' | '3601s' | '1d' | 30 | null"),
        ("/breakers/0/max_open_for", DAY, "'99ms' | '86401s' | '1d' | 300 | null"),
        ("/breakers/0/obey_retry_after", "true or false", "'true' | 1 | null"),
        ("/breakers/0/probes", PERCENT, "0 | 101 | '1' | null"),
        ("/breakers/0/probe_timeout", MINUTES, "'99ms' | '301s' | 10 | null"),
        ("/breakers/0/close_after", THOUSAND, "0 | 1001 | null"),
        ("/breakers/0/ramp", HOUR, "'0s' | '99ms' | '3601s' | 10 | null"),
        ("/breakers/0/scope", "'fleet' or 'replica'", "'worker' | 'Fleet' | true | null"),
        ("/breakers/0/force", "'open' or 'closed'", "'half-open' | 'Open' | true | null"),
        ("/breakers/0/shadow", "true or false", "'true' | 1 | null"),
        ("/breakers/0/refusal", "an object", "503 | null"),
        ("/breakers/0/refusal/status", "a whole number from 400 to 599", "399 | 600 | null"),
    ]);
}

#[test]
fn an_item_given_twice_is_refused() {
    for (key, item, found) in [
        ("by", json!("route"), "\"route\""),
        ("routes", json!("items"), "\"items\""),
        ("failure_statuses", json!("5xx"), "\"5xx\""),
        ("failure_statuses", json!(502), "502"),
    ] {
        let file = with(&format!("/breakers/0/{key}"), json!([item, item]));
        let message =
            format!("breakers[0].{key}[1]: found {found} again, allowed: each of the list once");
        assert_refused(&file, &[&message]);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    const TRIP: &str = r#""consecutive_failures", "failure_percent", "slow_percent", "slow_after", "window" or "minimum_calls""#;
    assert_refused(
        &with("/breakers/0/trip/minimum_call", json!(1)),
        &[&format!(
            "breakers[0].trip.minimum_call: found an unknown key \
             (did you mean \"minimum_calls\"?), allowed: {TRIP}"
        )],
    );
    let errors = parse_text(&with("/breakers/0/open_fro", json!(1)).to_string()).unwrap_err();
    let start = "breakers[0].open_fro: found an unknown key (did you mean \"open_for\"?), \
                 allowed: \"name\", \"routes\", \"by\", \"trip\", ";
    assert!(errors.len() == 1 && errors[0].starts_with(start), "{errors:?}");
    let message = "breakers[0].name: found nothing, \
                   allowed: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    assert_refused(&without("/breakers/0/name"), &[message]);
}

#[test]
fn all_problems_of_a_breaker_are_reported_at_once() {
    let mut file = full();
    file["breakers"][0] = json!({
        "name": "items",
        "by": ["ip"],
        "trip": {"failure_percent": 0, "slow_after": "1h"},
        "open_for": "1d",
        "scope": "all",
        "force": "shut",
        "shadow": true,
    });
    // In the order in which the file's text has the keys, which here is that of the alphabet.
    let mut errors = parse_text(&file.to_string()).unwrap_err();
    for path in ["by[0]", "force", "open_for", "scope", "trip.failure_percent", "trip.slow_after"] {
        let start = format!("breakers[0].{path}: found ");
        let count = errors.len();
        errors.retain(|error| !error.starts_with(&start));
        assert_eq!(errors.len() + 1, count, "{path}: {errors:?}");
    }
    // Missing, because of what is there.
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("breakers[0].trip.slow_percent: found nothing"), "{errors:?}");
}

proptest! {
    /// However a breaker is written, what is taken holds together.
    #[test]
    fn a_breaker_that_is_taken_holds_together(
        open_for in 0_u64..4_000_000,
        max_open_for in prop::option::of(0_u64..90_000_000),
        consecutive in prop::option::of(0_u32..1100),
        failed in prop::option::of(0_u32..110),
        slow in prop::option::of(0_u32..110),
        slow_after in prop::option::of(0_u64..310_000),
        has_redis: bool,
        is_fleet: bool,
        shadow: bool,
        is_forced: bool,
    ) {
        let ms = |ms: u64| json!(format!("{ms}ms"));
        let mut breaker = json!({"name": "a", "open_for": ms(open_for), "shadow": shadow, "trip": {}});
        let conditions = [("consecutive_failures", consecutive), ("failure_percent", failed), ("slow_percent", slow)];
        for (key, condition) in conditions {
            condition.into_iter().for_each(|number| breaker["trip"][key] = json!(number));
        }
        slow_after.into_iter().for_each(|after| breaker["trip"]["slow_after"] = ms(after));
        max_open_for.into_iter().for_each(|max| breaker["max_open_for"] = ms(max));
        breaker["scope"] = json!(if is_fleet { "fleet" } else { "replica" });
        if is_forced {
            breaker["force"] = json!("open");
        }
        let mut file = json!({"version": 1, "breakers": [breaker]});
        if has_redis {
            file["redis"] = json!({});
        }
        let expected = (100..=3_600_000).contains(&open_for)
            && max_open_for.is_none_or(|max| (100..=86_400_000).contains(&max) && open_for <= max)
            && consecutive.is_none_or(|number| (1..=1000).contains(&number))
            && [failed, slow].iter().flatten().all(|percent| (1..=100).contains(percent))
            && slow_after.is_none_or(|after| (1..=300_000).contains(&after))
            && slow.is_some() == slow_after.is_some()
            && (consecutive.is_some() || failed.is_some() || slow.is_some())
            && (has_redis || !is_fleet)
            && !(shadow && is_forced);
        let config = Config::parse(file.to_string().as_bytes());
        prop_assert_eq!(config.is_ok(), expected, "{:?}", config);
        if let Ok(config) = config {
            let breaker = &config.breakers[0];
            prop_assert!(breaker.open_for <= breaker.max_open_for);
            prop_assert_eq!(breaker.trip.slow_percent.is_some(), !breaker.trip.slow_after.is_zero());
        }
    }
}
