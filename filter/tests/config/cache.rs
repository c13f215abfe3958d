//! The keys of the cache, but for those of `key`: what each takes, value by value, what is refused, and what holds
//! between them.

use std::time::Duration;

use meliproxy::cache::policy::{KeyOptions, Policy, Profile};
use meliproxy::config::{Cache, Config};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{assert_each_refused, assert_refused, full, parse, with, without};

/// The first policy of a file.
fn first(file: &Value) -> Cache {
    parse(file).cache.swap_remove(0)
}

/// The first policy of the full file with one value replaced.
fn cache_with(key: &str, value: Value) -> Cache {
    first(&with(&format!("/cache/0/{key}"), value))
}

/// A file whose policies, called `p0` and so on, have these `routes`, or none.
fn policies(routes: &[Option<Value>]) -> Value {
    let policies = routes.iter().enumerate().map(|(index, routes)| {
        let mut policy = json!({"name": format!("p{index}")});
        routes.iter().for_each(|routes| policy["routes"] = routes.clone());
        policy
    });
    with("/cache", policies.collect())
}

#[test]
fn every_key_becomes_what_it_says() {
    let expected = Cache {
        name: "items".into(),
        routes: Some(vec![0]),
        policy: Policy {
            profile: Profile::Rfc9111,
            default_ttl: Some(Duration::from_secs(60)),
            max_ttl: Duration::from_secs(86_400),
            max_object_bytes: 1_048_576,
            stale_if_error: Duration::from_secs(600),
            key: KeyOptions {
                drop_query: vec!["utm_*".into(), "fbclid".into()],
                sort_query: true,
                headers: vec!["accept-version".into()],
                cookies: vec!["currency".into()],
            },
        },
    };
    assert_eq!(first(&full()), expected);
    assert_eq!(cache_with("profile", json!("strict")).policy.profile, Profile::Strict);
    assert_eq!(parse(&with("/cache_memory", json!("3MiB"))).cache_memory_bytes, 3_145_728);
}

#[test]
fn what_is_left_out_has_its_default() {
    let policy = Policy {
        profile: Profile::Rfc9111,
        default_ttl: None,
        max_ttl: Duration::from_secs(86_400),
        max_object_bytes: 1_048_576,
        stale_if_error: Duration::ZERO,
        key: KeyOptions::default(),
    };
    assert_eq!(policy, Policy::default());
    let bare = Cache { name: "a".into(), routes: None, policy };
    let file = json!({"version": 1, "redis": {}, "cache": [{"name": "a"}]});
    assert_eq!(parse(&file).cache, [bare]);
    assert_eq!(parse(&file).cache_memory_bytes, 16_777_216);
    assert_eq!(cache_with("key", json!({})).policy.key, KeyOptions::default());
}

#[test]
fn policies_keep_the_order_of_the_file() {
    let file = policies(&[Some(json!(["rest"])), None, Some(json!(["items"]))]);
    let cache = parse(&file).cache;
    assert!(cache.iter().map(|cache| &*cache.name).eq(["p0", "p1", "p2"]));
    assert!(cache.iter().map(|cache| cache.routes.clone()).eq([
        Some(vec![1]),
        None,
        Some(vec![0])
    ]));
}

#[test]
fn no_route_is_in_two_policies() {
    let (items, both) = (json!(["items"]), json!(["rest", "items"]));
    parse(&policies(&[Some(json!(["rest"])), Some(items.clone())]));
    assert_refused(
        &policies(&[Some(items.clone()), Some(both.clone()), Some(both)]),
        &[
            "cache[1].routes[1]: found \"items\" as in cache[0], \
             allowed: a route that no other policy names",
            "cache[2].routes[0]: found \"rest\" as in cache[1], \
             allowed: a route that no other policy names",
            "cache[2].routes[1]: found \"items\" as in cache[0], \
             allowed: a route that no other policy names",
        ],
    );
    // What is no route is nobody's, and one list is no two policies.
    const ROUTE: &str = "allowed: the name of a route: \"items\" or \"rest\"";
    let unknown = format!("found \"other\", {ROUTE}");
    assert_refused(
        &policies(&[Some(json!(["other"])), Some(json!(["other"]))]),
        &[&format!("cache[0].routes[0]: {unknown}"), &format!("cache[1].routes[0]: {unknown}")],
    );
    assert_refused(
        &policies(&[Some(json!(["items", "items"])), None]),
        &["cache[0].routes[1]: found \"items\" again, allowed: each of the list once"],
    );
    // Whatever else is wrong with a policy.
    let mut file = policies(&[Some(items.clone()), Some(items)]);
    file["cache"][0]["max_ttl"] = json!(5);
    assert_refused(
        &file,
        &[
            "cache[0].max_ttl: found 5, allowed: a whole number of s, m, h or d from 1s to 365d",
            "cache[1].routes[0]: found \"items\" as in cache[0], \
             allowed: a route that no other policy names",
        ],
    );
}

#[test]
fn one_policy_is_for_all_that_is_left() {
    let left = |index: usize, owner: usize| {
        format!(
            "cache[{index}].routes: found nothing as in cache[{owner}], \
             allowed: routes, in all policies but one"
        )
    };
    assert_refused(&policies(&[None, None]), &[&left(1, 0)]);
    let items = Some(json!(["items"]));
    assert_refused(&policies(&[items.clone(), None, None, None]), &[&left(2, 1), &left(3, 1)]);
    // What is no policy has no routes either.
    let mut file = policies(&[items, None, None]);
    file["cache"][1] = json!("all");
    assert_refused(&file, &["cache[1]: found \"all\", allowed: an object"]);
}

#[test]
fn a_cache_needs_redis_and_its_stream() {
    const NO_REDIS: &str = "cache: found a list of 1, \
        allowed: an empty list (policies are for files with \"redis\" alone)";
    const CALLOUT: &str = "redis.transport: found \"callout\", \
        allowed: \"stream\" (by which \"cache\" hears what is purged)";
    let file = json!({"version": 1, "cache": [{"name": "a"}]});
    assert_refused(&file, &[NO_REDIS]);
    let with_redis = |redis: Value| {
        let mut file = file.clone();
        file["redis"] = redis;
        file
    };
    parse(&with_redis(json!({})));
    parse(&with_redis(json!({"transport": "stream"})));
    assert_refused(&with_redis(json!({"transport": "callout"})), &[CALLOUT]);
    assert_refused(
        &with_redis(json!({"timeout": 5, "transport": "callout"})),
        &["redis.timeout: found 5, allowed: a whole number of ms or s from 1ms to 1s", CALLOUT],
    );
    // It is there, if not as it should be.
    assert_refused(&with_redis(json!(1)), &["redis: found 1, allowed: an object"]);
    // Where nothing is stored, neither is needed.
    parse(&json!({"version": 1, "cache": [], "cache_memory": "1MiB"}));
    parse(&json!({"version": 1, "cache": [], "redis": {"transport": "callout"}}));
}

#[test]
fn no_default_is_cut() {
    let times = |default_ttl: &str, max_ttl: Option<&str>| {
        let mut file = with("/cache/0/default_ttl", json!(default_ttl));
        let policy = file["cache"][0].as_object_mut().unwrap();
        match max_ttl {
            Some(max_ttl) => policy.insert("max_ttl".into(), json!(max_ttl)),
            None => policy.remove("max_ttl"),
        };
        file
    };
    for (default_ttl, max_ttl) in [("24h", None), ("60s", Some("1m")), ("365d", Some("365d"))] {
        parse(&times(default_ttl, max_ttl));
    }
    for (default_ttl, max_ttl) in [("86401s", None), ("61s", Some("1m"))] {
        let message = format!(
            "cache[0].default_ttl: found \"{default_ttl}\", \
             allowed: no more than \"max_ttl\" (\"1d\" by default)"
        );
        assert_refused(&times(default_ttl, max_ttl), &[&message]);
    }
}

#[test]
fn both_ends_of_every_range_are_taken() {
    for (key, values) in [
        ("profile", json!(["rfc9111", "strict"])),
        ("default_ttl", json!(["1s", "24h"])),
        ("max_ttl", json!(["60s", "365d"])),
        ("max_object", json!([1, "1B", 8_388_608, "8388608B", "8192KiB", "8MiB"])),
        ("stale_if_error", json!(["0s", "0d", "1s", "365d"])),
    ] {
        for value in values.as_array().unwrap() {
            cache_with(key, value.clone());
        }
    }
    // The smallest, which a default would be above.
    let mut file = without("/cache/0/default_ttl");
    file["cache"][0]["max_ttl"] = json!("1s");
    assert_eq!(first(&file).policy.max_ttl, Duration::from_secs(1));
    for (memory, bytes) in [
        (json!(0), 0),
        (json!("0B"), 0),
        (json!("0GiB"), 0),
        (json!(1_073_741_824), 1 << 30),
        (json!("1GiB"), 1 << 30),
        (json!("1073741824B"), 1 << 30),
    ] {
        assert_eq!(parse(&with("/cache_memory", memory)).cache_memory_bytes, bytes);
    }
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    const NAME: &str = "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    const ROUTE: &str = "the name of a route: 'items' or 'rest'";
    const TTL: &str = "a whole number of s, m, h or d from 1s to 365d";
    const TTLS: &str = "'0s' | '1000ms' | '366d' | '31536001s' | 60 | null";
    const GRACE: &str = "a whole number of s, m, h or d from 0s to 365d";
    const OBJECT: &str = "a number of bytes, or a whole number of B, KiB or MiB, from 1B to 8MiB";
    const OBJECTS: &str =
        "0 | '0B' | 8388609 | '8388609B' | '9MiB' | '1GiB' | '1' | '1MB' | 1.0 | -1 | true | null";
    const MEMORY: &str =
        "a number of bytes, or a whole number of B, KiB, MiB or GiB, from 0B to 1GiB";
    const MEMORIES: &str =
        "1073741825 | '1073741825B' | '1025MiB' | '2GiB' | '0' | '16 MiB' | 0.5 | null | {}";
    assert_each_refused(&[
        ("/cache", "a list of 0 to 256 policies", "null | {} | 'items' | true"),
        ("/cache/0", "an object", "[] | 'items' | null"),
        ("/cache/0/name", NAME, "'' | '-a' | 'A' | 7 | null"),
        ("/cache/0/routes", "a list of 1 to 256 routes", "[] | 'items' | null"),
        ("/cache/0/routes/0", ROUTE, "'categories' | ''"),
        ("/cache/0/profile", "'rfc9111' or 'strict'", "'RFC9111' | 'Strict' | 9111 | null"),
        ("/cache/0/default_ttl", TTL, TTLS),
        ("/cache/0/max_ttl", TTL, TTLS),
        ("/cache/0/max_object", OBJECT, OBJECTS),
        ("/cache/0/stale_if_error", GRACE, "'0ms' | '0' | 0 | '366d' | '31536001s' | null"),
        ("/cache_memory", MEMORY, MEMORIES),
    ]);
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    const CACHE: &str = r#""name", "routes", "profile", "default_ttl", "max_ttl", "max_object", "stale_if_error" or "key""#;
    for (key, hint) in
        [("max_objects", " (did you mean \"max_object\"?)"), ("stale_while_revalidate", "")]
    {
        let message = format!("cache[0].{key}: found an unknown key{hint}, allowed: {CACHE}");
        assert_refused(&with(&format!("/cache/0/{key}"), json!(1)), &[&message]);
    }
    let message = "cache[0].name: found nothing, \
                   allowed: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    assert_refused(&without("/cache/0/name"), &[message]);
}

#[test]
fn all_problems_of_a_cache_are_reported_at_once() {
    let text = r#"{
        "version": 1,
        "redis": {"transport": "callout"},
        "routes": [{"name": "items", "path": "/items"}],
        "cache": [
            {"name": "a b", "routes": ["items", "itemz"], "profile": "lax", "default_ttl": "0s", "max_ttl": "1d"},
            {"name": "a", "default_ttl": "2d", "max_object": "8MB", "stale_if_error": "-1s"},
            {"name": "a", "key": {"drop_query": ["a b"], "sort_query": 1, "headers": ["Cookie"], "cookies": 5}},
            {"routes": ["items"], "ttl": "1m"}
        ],
        "cache_memory": "2GiB"
    }"#;
    let expected = r#"
redis.transport: found "callout", allowed: "stream" (by which "cache" hears what is purged)
cache[0].name: found "a b", allowed: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit
cache[0].routes[1]: found "itemz" (did you mean "items"?), allowed: the name of a route: "items"
cache[0].profile: found "lax", allowed: "rfc9111" or "strict"
cache[0].default_ttl: found "0s", allowed: a whole number of s, m, h or d from 1s to 365d
cache[1].default_ttl: found "2d", allowed: no more than "max_ttl" ("1d" by default)
cache[1].max_object: found "8MB", allowed: a number of bytes, or a whole number of B, KiB or MiB, from 1B to 8MiB
cache[1].stale_if_error: found "-1s", allowed: a whole number of s, m, h or d from 0s to 365d
cache[2].routes: found nothing as in cache[1], allowed: routes, in all policies but one
cache[2].name: found "a" as in cache[1], allowed: a name of its own
cache[2].key.drop_query[0]: found "a b", allowed: the name of a parameter as it stands in the query: 1 to 64 visible ASCII characters without & = and #, with * only at its end
cache[2].key.sort_query: found 1, allowed: true or false
cache[2].key.headers[0]: found "Cookie", allowed: a field that is not about the connection, caches, conditions, ranges, cookies or authorization
cache[2].key.cookies: found 5, allowed: a list of 0 to 16 cookies
cache[3].name: found nothing, allowed: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit
cache[3].routes[0]: found "items" as in cache[0], allowed: a route that no other policy names
cache[3].ttl: found an unknown key, allowed: "name", "routes", "profile", "default_ttl", "max_ttl", "max_object", "stale_if_error" or "key"
cache_memory: found "2GiB", allowed: a number of bytes, or a whole number of B, KiB, MiB or GiB, from 0B to 1GiB"#;
    let errors = Config::parse(text.as_bytes()).unwrap_err();
    assert_eq!(errors.to_string(), expected.trim_start());
}

proptest! {
    /// However policies are written, what is taken holds together.
    #[test]
    fn policies_that_are_taken_hold_together(
        default_ttl in prop::option::of(0_u64..40_000_000),
        max_ttl in prop::option::of(0_u64..40_000_000),
        max_object in prop::option::of(0_u64..10_000_000),
        unit in prop::sample::select(vec![("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)]),
        shares in prop::collection::vec(prop::option::of(prop::collection::btree_set(0..4_usize, 1..3)), 0..3),
        transport in prop::option::of(prop::sample::select(vec!["stream", "callout"])),
    ) {
        let mut policies = shares.iter().enumerate().map(|(index, routes)| {
            let mut policy = json!({"name": format!("p{index}")});
            if let Some(routes) = routes {
                policy["routes"] = routes.iter().map(|route| json!(format!("r{route}"))).collect();
            }
            policy
        }).collect::<Vec<_>>();
        if let Some(policy) = policies.first_mut() {
            default_ttl.into_iter().for_each(|ttl| policy["default_ttl"] = json!(format!("{ttl}s")));
            max_ttl.into_iter().for_each(|ttl| policy["max_ttl"] = json!(format!("{ttl}s")));
            max_object.into_iter().for_each(|size| {
                let number = size / unit.1;
                policy["max_object"] =
                    if unit.0.is_empty() { json!(number) } else { json!(format!("{number}{}", unit.0)) };
            });
        }
        let routes: Vec<_> =
            (0..4).map(|n| json!({"name": format!("r{n}"), "path": format!("/{n}")})).collect();
        let mut file = json!({"version": 1, "routes": routes, "cache": policies});
        transport.into_iter().for_each(|transport| file["redis"] = json!({"transport": transport}));

        let year = 31_536_000;
        let is_good = default_ttl.is_none_or(|ttl| (1..=max_ttl.unwrap_or(86_400)).contains(&ttl))
            && max_ttl.is_none_or(|ttl| (1..=year).contains(&ttl))
            && max_object.is_none_or(|size| (1..=8 << 20).contains(&(size / unit.1 * unit.1)));
        let named: Vec<_> = shares.iter().flatten().flatten().collect();
        let mut distinct = named.clone();
        distinct.sort();
        distinct.dedup();
        let expected = shares.is_empty()
            || (is_good
                && distinct.len() == named.len()
                && shares.iter().filter(|routes| routes.is_none()).count() <= 1
                && transport == Some("stream"));
        let config = Config::parse(file.to_string().as_bytes());
        prop_assert_eq!(config.is_ok(), expected, "{:?}", config);
        if let Some(first) = config.ok().and_then(|config| config.cache.into_iter().next()) {
            let policy = first.policy;
            prop_assert!(policy.default_ttl.is_none_or(|ttl| ttl <= policy.max_ttl));
            let bytes = max_object.map_or(1 << 20, |size| size / unit.1 * unit.1);
            prop_assert_eq!(policy.max_object_bytes, bytes);
        }
    }
}
