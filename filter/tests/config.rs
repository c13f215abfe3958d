//! The configuration file. Here: what has to hold between its values, and all problems of a file at once. In `values`,
//! `rule`, `overrides`, `breaker`, `cache`, `cache_key` and `answers`: what single values are taken and refused; in
//! `full`: the file that they change; in `mangled`: files that are hardly files; in `reference`: that the reference and
//! the schema for editors say the same as the reader.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]

#[path = "config/answers.rs"]
mod answers;
#[path = "config/breaker.rs"]
mod breaker;
#[path = "config/cache.rs"]
mod cache;
#[path = "config/cache_key.rs"]
mod cache_key;
#[path = "config/full.rs"]
mod full;
#[path = "config/mangled.rs"]
mod mangled;
#[path = "config/overrides.rs"]
mod overrides;
#[path = "config/reference.rs"]
mod reference;
#[path = "config/rule.rs"]
mod rule;
#[path = "config/values.rs"]
mod values;

use std::num::NonZeroU64;
use std::time::Duration;

use meliproxy::config::template::Segment;
use meliproxy::config::{
    Algorithm, Config, Cost, KeyPart, MAX_FILE_BYTES, MAX_PROBLEMS, OnStoreFailure, Per, Precision,
    Problem, Redis, Refusal, ResponseFields, Transport,
};
use serde_json::{Value, json};

use full::{full, with, without};

const SHIPPED: &str = include_str!("../../envoy/meliproxy.json");

/// Whatever is good is good for editors too.
fn parse(file: &Value) -> Config {
    assert_eq!(reference::schema_problems(file), None);
    parse_text(&file.to_string()).unwrap_or_else(|problems| panic!("{file}: {problems:#?}"))
}

fn parse_text(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(text.as_bytes())
        .map_err(|errors| errors.problems().iter().map(Problem::to_string).collect())
}

/// [`full`] with each of these at a pointer is refused for the same reason. The values are in JSON with `'` for `"`,
/// and ` | ` between them.
fn assert_each_refused(cases: &[(&str, &str, &str)]) {
    for (pointer, allowed, values) in cases {
        let path = pointer[1..].replace("/0", "[0]").replace("/1", "[1]").replace('/', ".");
        let (allowed, values) = (allowed.replace('\'', "\""), values.replace('\'', "\""));
        for text in values.split(" | ") {
            let value: Value = serde_json::from_str(text).unwrap();
            let found = match &value {
                Value::Object(_) => "an object".to_owned(),
                Value::Array(items) => format!("a list of {}", items.len()),
                _ => text.to_owned(),
            };
            let message = format!("{path}: found {found}, allowed: {allowed}");
            assert_refused(&with(pointer, value), &[&message]);
        }
    }
}

fn assert_refused(file: &Value, expected: &[&str]) {
    assert_eq!(parse_text(&file.to_string()).unwrap_err(), expected);
}

#[test]
fn the_shipped_file_holds_the_rules_of_the_challenge() {
    let config = parse_text(SHIPPED).unwrap();
    let minute = Per::Span(Duration::from_secs(60));
    let rules: Vec<_> = config
        .rules
        .iter()
        .map(|rule| (&*rule.name, rule.routes.clone(), &*rule.by, rule.limit.get(), rule.per))
        .collect();
    let by_client: &[_] = &[KeyPart::ClientAddress];
    assert_eq!(
        rules,
        [
            ("per-origin", None, by_client, 1000, minute),
            ("categories", Some(vec![0]), &[], 10_000, minute),
            ("origin-items", Some(vec![1]), by_client, 10, minute),
        ]
    );
    for (route, name) in config.routes.iter().zip(["categories", "items"]) {
        assert_eq!(route.name, name);
        assert_eq!(route.path.segments, [Segment::Fixed(name.into())]);
        assert!(route.path.takes_rest);
        assert_eq!(route.methods, None);
    }
    assert_eq!(config.client_address.ipv6_prefix, 64);
    let timeout = Duration::from_millis(20);
    let redis = Redis { namespace: "meli".into(), timeout, transport: Transport::Stream };
    assert_eq!(config.redis, Some(redis));
}

#[test]
fn what_is_left_out_has_its_default() {
    let bare = parse(&json!({"version": 1}));
    assert_eq!(bare.redis, None);
    assert_eq!(bare.client_address.ipv6_prefix, 64);
    assert!(bare.routes.is_empty() && bare.rules.is_empty() && bare.breakers.is_empty());
    assert!(bare.cache.is_empty());
    assert_eq!(bare.cache_memory_bytes, 16_777_216);
    assert_eq!(bare.response_fields, ResponseFields { ratelimit: true, x_ratelimit: false });

    let config = parse(&json!({
        "version": 1,
        "redis": {},
        "client_address": {},
        "routes": [{"name": "a", "path": "/"}],
        "quotas": [{"name": "a", "limit": 1, "per": "1s"}],
    }));
    let full = parse(&full());
    assert_eq!(config.redis, full.redis);
    assert_eq!(config.client_address, full.client_address);
    assert_eq!(config.routes[0].methods, None);
    assert_eq!(config.rules[0].routes, None);
    assert_eq!(config.rules[0].by, []);
    assert_eq!(config.rules[0].algorithm, Algorithm::FixedWindow);
    assert_eq!(config.rules[0].precision, Precision::Exact);
    assert_eq!(config.rules[0].cost, Cost { units: NonZeroU64::MIN, header: None });
    assert_eq!(config.rules[0].overrides, []);
    assert_eq!(config.rules[0].on_store_failure, OnStoreFailure::Local);
    assert!(!config.rules[0].shadow);
    assert_eq!(config.rules[0].enforce_percent, 100);
    assert_eq!(config.rules[0].refusal, None);

    let file = with("/quotas/0/refusal", json!({}));
    assert_eq!(
        parse(&file).rules[0].refusal,
        Some(Refusal { status: 429, headers: vec![], content: None })
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    let text = r#"{"version": 1, "version": 1,
                   "quotas": [{"name": "a", "limit": 10, "per": "1s", "limit": 20}],
                   "redis": {"timeout": "5ms", "timeout": "5ms", "timeout": {}}}"#;
    let expected = [
        "version: found 1 again, allowed: each key once",
        "quotas[0].limit: found 20 again, allowed: each key once",
        "redis.timeout: found \"5ms\" again, allowed: each key once",
        "redis.timeout: found an object again, allowed: each key once",
    ];
    assert_eq!(parse_text(text).unwrap_err(), expected);
}

#[test]
fn names_are_unique_in_their_list_only() {
    let mut file = with("/quotas/0/name", json!("items"));
    parse(&file);
    let rule = file["quotas"][0].clone();
    file["quotas"].as_array_mut().unwrap().extend([rule.clone(), rule]);
    file["breakers"][1]["name"] = json!("items");
    file["cache"][1]["name"] = json!("items");
    file["routes"][1]["name"] = json!("items");
    assert_refused(
        &file,
        &[
            "breakers[1].name: found \"items\" as in breakers[0], allowed: a name of its own",
            "cache[1].name: found \"items\" as in cache[0], allowed: a name of its own",
            "quotas[2].name: found \"items\" as in quotas[0], allowed: a name of its own",
            "quotas[3].name: found \"items\" as in quotas[0], allowed: a name of its own",
            "routes[1].name: found \"items\" as in routes[0], allowed: a name of its own",
        ],
    );
}

#[test]
fn two_routes_never_take_the_same_requests_by_the_same_template() {
    let routes = |first: Value, second: Value| {
        let (mut first, mut second) = (first, second);
        first["name"] = json!("a");
        second["name"] = json!("b");
        json!({"version": 1, "routes": [first, second]})
    };
    for (first, second) in [
        (json!({"path": "/a/{x}"}), json!({"path": "/a/{y}"})),
        (json!({"path": "/a/{*x}"}), json!({"path": "/a/{*y}"})),
        (json!({"path": "/a,b"}), json!({"path": "/%61%2Cb"})),
        (json!({"path": "/a", "methods": ["GET"]}), json!({"path": "/a"})),
        (json!({"path": "/a"}), json!({"path": "/a", "methods": ["GET"]})),
        (
            json!({"path": "/a", "methods": ["PUT", "GET"]}),
            json!({"path": "/a", "methods": ["GET", "POST"]}),
        ),
    ] {
        let message = format!(
            "routes[1].path: found {}, the same requests as {} of routes[0], \
             allowed: a path or methods that no other route has",
            second["path"], first["path"],
        );
        assert_refused(&routes(first, second), &[&message]);
    }
    for (first, second) in [
        (json!({"path": "/a/{x}"}), json!({"path": "/a/{*y}"})),
        (json!({"path": "/a/{x}"}), json!({"path": "/a/x"})),
        (json!({"path": "/a"}), json!({"path": "/a/"})),
        (json!({"path": "/a", "methods": ["GET"]}), json!({"path": "/a", "methods": ["POST"]})),
    ] {
        parse(&routes(first, second));
    }
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_in_its_order() {
    let text = r#"{
        "quotas": [
            {"name": "per origin", "by": ["ip", "path", "path"], "limit": 0, "per": "0s"},
            "a rule",
            {"name": "items", "routes": ["itemz"], "limits": 10, "per": "1m"},
            {"name": "fine", "routes": ["Items"], "limit": 1, "per": "1m"}
        ],
        "version": 2,
        "redis": {"timeout": 20, "transport": "stream", "timeout": "1h"},
        "routes": [
            {"name": "items", "path": "/items/{id", "methods": ["get", "GET", "GET"]},
            {"name": "Items", "path": "/Items"},
            {"name": "other", "path": "/Items"}
        ],
        "client_address": {"ipv6_prefix": 200}
    }"#;
    let expected = r#"
quotas[0].name: found "per origin", allowed: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit
quotas[0].by[0]: found "ip", allowed: "client_address", "path", "route", "method", "host", "header:NAME", "cookie:NAME" or "query:NAME"
quotas[0].by[2]: found "path" again, allowed: each of the list once
quotas[0].limit: found 0, allowed: a whole number from 1 to 999999999999999
quotas[0].per: found "0s", allowed: a whole number of s, m, h or d from 1s to 365d, or "day" or "month"
quotas[1]: found "a rule", allowed: an object
quotas[2].limit: found nothing, allowed: a whole number from 1 to 999999999999999
quotas[2].routes[0]: found "itemz" (did you mean "items"?), allowed: the name of a route: "items", "Items" or "other"
quotas[2].limits: found an unknown key (did you mean "limit"?), allowed: "name", "routes", "by", "limit", "per", "algorithm", "burst", "precision", "cost", "overrides", "on_store_failure", "shadow", "enforce_percent" or "refusal"
version: found 2, allowed: 1
redis.timeout: found 20, allowed: a whole number of ms or s from 1ms to 1s
redis.timeout: found "1h" again, allowed: each key once
routes[0].path: found "/items/{id", allowed: {name} as a whole segment, {*name} as the whole last one, the name of letters, digits and _ (other braces are written %7B and %7D)
routes[0].methods[0]: found "get", allowed: a method in capitals, such as "GET"
routes[0].methods[2]: found "GET" again, allowed: each of the list once
routes[1].name: found "Items", allowed: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit
client_address.ipv6_prefix: found 200, allowed: a whole number from 1 to 128"#;
    let errors = Config::parse(text.as_bytes()).unwrap_err();
    assert_eq!(errors.to_string(), expected.trim_start());
    assert_eq!(errors.more_count(), 0);
}

#[test]
fn references_are_not_blamed_for_routes_that_cannot_be_read() {
    let message = "routes: found 5, allowed: a list of 0 to 256 routes";
    assert_refused(&with("/routes", json!(5)), &[message]);
    let message = |list| {
        format!(
            "{list}[0].routes[0]: found \"items\", \
             allowed: the name of a route, of which there are none"
        )
    };
    let messages = ["breakers", "cache", "quotas"].map(message);
    assert_refused(&with("/routes", json!([])), &messages.each_ref().map(String::as_str));
}

#[test]
fn a_long_list_of_names_is_cut() {
    let routes: Vec<_> =
        (0..20).map(|n| json!({"name": format!("r{n}"), "path": format!("/{n}")})).collect();
    let errors = parse_text(&with("/routes", json!(routes)).to_string()).unwrap_err();
    assert_eq!(errors.len(), 3);
    assert!(errors.iter().all(|e| e.ends_with(r#""r14", "r15" or 4 more"#)), "{errors:?}");
}

#[test]
fn what_is_not_json_is_reported_with_line_and_column() {
    for (text, place, reason) in [
        ("", "line 1, column 0", "EOF while parsing a value"),
        ("{\"version\": 1,\n}", "line 2, column 1", "trailing comma"),
        ("{\n  \"version\": 1 // one\n}", "line 2, column 16", "expected `,` or `}`"),
        ("{\"version\": 01}", "line 1, column 14", "invalid number"),
        ("{\"version\": 1} {}", "line 1, column 16", "trailing characters"),
        ("{\"version\"", "line 1, column 10", "EOF while parsing an object"),
        ("\u{feff}{}", "line 1, column 1", "expected value"),
    ] {
        let message = format!(
            "{place}: found what is not JSON ({reason}), \
             allowed: JSON without comments and trailing commas (RFC 8259)"
        );
        assert_eq!(parse_text(text).unwrap_err(), [message]);
    }
    assert!(Config::parse(b"{\"version\": \"\xff\"}").is_err());
    assert_eq!(parse_text("[1]").unwrap_err(), ["the file: found a list of 1, allowed: an object"]);
}

#[test]
fn a_file_is_bounded_in_size_and_depth() {
    let padded = |length: usize| format!("{SHIPPED}{}", " ".repeat(length - SHIPPED.len()));
    assert!(parse_text(&padded(MAX_FILE_BYTES)).is_ok());
    assert_eq!(
        parse_text(&padded(MAX_FILE_BYTES + 1)).unwrap_err(),
        ["the file: found 1048577 bytes, allowed: at most 1048576 bytes"]
    );
    let deep = parse_text(&"[".repeat(MAX_FILE_BYTES)).unwrap_err();
    assert!(deep[0].contains("recursion limit"), "{deep:?}");
}

#[test]
fn lists_are_bounded_in_length() {
    let routes = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"name": format!("r{n}"), "path": format!("/{n}")})).collect()
    };
    let rules = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"name": format!("q{n}"), "limit": 1, "per": "1s"})).collect()
    };
    let named = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"name": format!("n{n}"), "routes": [format!("r{n}")]})).collect()
    };
    let file = |count: usize| {
        json!({
            "version": 1,
            "redis": {},
            "routes": routes(count),
            "quotas": rules(count),
            "breakers": named(count),
            "cache": named(count),
        })
    };
    let config = parse(&file(256));
    assert_eq!((config.routes.len(), config.rules.len()), (256, 256));
    assert_eq!((config.breakers.len(), config.cache.len()), (256, 256));
    assert_refused(
        &file(257),
        &[
            "breakers: found a list of 257, allowed: a list of 0 to 256 breakers",
            "cache: found a list of 257, allowed: a list of 0 to 256 policies",
            "quotas: found a list of 257, allowed: a list of 0 to 256 rules",
            "routes: found a list of 257, allowed: a list of 0 to 256 routes",
        ],
    );
}

#[test]
fn problems_beyond_the_first_hundred_are_counted() {
    let file = |count: usize| json!({"version": 1, "quotas": vec![json!(1); count]}).to_string();
    let errors = Config::parse(file(MAX_PROBLEMS).as_bytes()).unwrap_err();
    assert_eq!((errors.problems().len(), errors.more_count()), (MAX_PROBLEMS, 0));
    let errors = Config::parse(file(MAX_PROBLEMS + 1).as_bytes()).unwrap_err();
    assert_eq!((errors.problems().len(), errors.more_count()), (MAX_PROBLEMS, 1));
    assert!(errors.to_string().ends_with("\nand 1 more"));
}
