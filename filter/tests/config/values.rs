//! Value by value: what is refused with exactly which words, and what is taken at each bound.

use meliproxy::config::Transport;
use serde_json::json;

use super::{assert_each_refused, assert_refused, parse, parse_text, with, without};

#[test]
fn both_ends_of_every_range_are_taken() {
    let name_of_63 = "a".repeat(63);
    let namespace_of_32 = "-".repeat(32);
    let template_of_1024 = format!("/{}", "a".repeat(1023));
    let segments_of_32 = "/a".repeat(32);
    let methods_of_16: Vec<_> = (0..16).map(|n| format!("M{n}")).collect();
    for (pointer, value) in [
        ("/redis/namespace", json!(namespace_of_32)),
        ("/redis/namespace", json!("_")),
        ("/redis/timeout", json!("1ms")),
        ("/redis/timeout", json!("1000ms")),
        ("/redis/timeout", json!("1s")),
        ("/redis/transport", json!("stream")),
        ("/client_address/ipv6_prefix", json!(1)),
        ("/client_address/ipv6_prefix", json!(128)),
        ("/routes/1/name", json!(name_of_63)),
        ("/routes/1/name", json!("0_-")),
        ("/routes/1/path", json!(template_of_1024)),
        ("/routes/1/path", json!(segments_of_32)),
        ("/routes/1/methods", json!(methods_of_16)),
        ("/routes/1/methods", json!(["M-SEARCH"])),
        ("/quotas/0/name", json!("a")),
    ] {
        parse(&with(pointer, value));
    }
    let mut file = with("/redis/transport", json!("callout"));
    file["cache"] = json!([]);
    assert_eq!(parse(&file).redis.unwrap().transport, Transport::Callout);
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    const NAME: &str = "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    const NAMES: &str = "'' | '_a' | '-a' | 'a.b' | 'a:b' | 'a b' | 'A' | 'ä' | 7 | null";
    const ROUTE: &str = "the name of a route: 'items' or 'rest'";
    const NAMESPACE: &str = "1 to 32 of a-z, 0-9, _ and -";
    const NAMESPACE_OF_33: &str = "'abcdefghijklmnopqrstuvwxyz_012345'";
    const METHOD: &str = "a method in capitals, such as 'GET'";
    const METHOD_OF_33: &str = "'ABCDEFGHIJKLMNOPQRSTUVWXYZ-012345'";
    const TIMEOUT: &str = "a whole number of ms or s from 1ms to 1s";
    const PREFIX: &str = "a whole number from 1 to 128";
    assert_each_refused(&[
        ("/version", "1", "0 | 2 | '1' | 1.0 | null"),
        ("/redis", "an object", "true | null | [1] | '127.0.0.1:6379'"),
        ("/redis/namespace", NAMESPACE, "'' | 'a:b' | 'a{b' | 'Meli' | 1"),
        ("/redis/namespace", NAMESPACE, NAMESPACE_OF_33),
        ("/redis/timeout", TIMEOUT, "'0ms' | '1001ms' | '2s' | '1m' | 20"),
        ("/redis/transport", "'stream' or 'callout'", "'callouts' | '' | {}"),
        ("/client_address", "an object", "[] | 64"),
        ("/client_address/ipv6_prefix", PREFIX, "0 | 129 | 257 | '64'"),
        ("/routes", "a list of 0 to 256 routes", "{} | null"),
        ("/routes/1", "an object", "'rest' | null"),
        ("/routes/1/name", NAME, NAMES),
        ("/routes/1/methods", "a list of 1 to 16 methods", "[] | 'GET'"),
        ("/routes/0/methods/1", METHOD, "'get' | '' | 'GET ' | 'GÉT' | 1"),
        ("/routes/0/methods/1", METHOD, METHOD_OF_33),
        ("/quotas", "a list of 0 to 256 rules", "null | {}"),
        ("/quotas/0", "an object", "[] | '10/m'"),
        ("/quotas/0/name", NAME, NAMES),
        ("/quotas/0/routes", "a list of 1 to 256 routes", "[] | 'items'"),
        ("/quotas/0/routes/0", "the name of a route", "0 | null"),
        ("/quotas/0/routes/0", ROUTE, "'categories' | ''"),
    ]);
}

#[test]
fn where_the_schema_is_may_be_any_text() {
    parse(&with("/$schema", json!("")));
    assert_refused(&with("/$schema", json!(1)), &["[\"$schema\"]: found 1, allowed: a text"]);
}

#[test]
fn long_values_are_cut_in_messages() {
    let errors = |length: usize| {
        parse_text(&with("/routes/1/name", json!("a".repeat(length))).to_string()).unwrap_err()
    };
    assert!(errors(64)[0].contains(&format!("found \"{}\",", "a".repeat(64))));
    assert!(errors(65)[0].contains(&format!("found \"{}…\",", "a".repeat(64))));
}

#[test]
fn an_item_given_twice_is_refused() {
    for (pointer, path, item) in [
        ("/quotas/0/by", "quotas[0].by", "client_address"),
        ("/quotas/0/routes", "quotas[0].routes", "items"),
        ("/routes/1/methods", "routes[1].methods", "GET"),
        ("/response_fields", "response_fields", "ratelimit"),
    ] {
        let message = format!("{path}[1]: found \"{item}\" again, allowed: each of the list once");
        assert_refused(&with(pointer, json!([item, item])), &[&message]);
    }
}

#[test]
fn a_route_that_is_misspelt_is_suggested() {
    let message = "quotas[0].routes[0]: found \"item\" (did you mean \"items\"?), \
                   allowed: the name of a route: \"items\" or \"rest\"";
    assert_refused(&with("/quotas/0/routes/0", json!("item")), &[message]);
}

#[test]
fn a_template_that_can_match_nothing_or_not_what_it_seems_is_refused() {
    const BRACES: &str = "{name} as a whole segment, {*name} as the whole last one, \
                          the name of letters, digits and _ (other braces are written %7B and %7D)";
    const SLASH: &str = "no \\, %5C or %2F (a request's are read as /)";
    const DOTS: &str = "no . and .. segments (a request's are resolved)";
    const SPACE: &str = "no spaces and control characters (a space is written %20)";
    const QUERY: &str = "a path without query (?) and fragment (#)";
    let long = format!("/{}", "a".repeat(1024));
    let deep = "/a".repeat(33);
    let cases: &[(&str, &[&str])] = &[
        ("a path that starts with /", &["", "*", "items/{id}", "https://example.com/"]),
        (QUERY, &["/a?b=c", "/a#b"]),
        (SPACE, &["/a b", "/a\n", "/\u{7f}"]),
        ("no // (a request's are read as /)", &["//a", "/a//", "/a//{*rest}"]),
        (DOTS, &["/a/../b", "/.", "/%2e"]),
        (SLASH, &["/a%2Fb", "/a\\b", "/a%5cb"]),
        (BRACES, &["/{}", "/{*}", "/{id", "/id}", "/{a}{b}", "/img-{id}.png", "/{a-b}", "/{{a}}"]),
        (BRACES, &["/{*rest}/a", "/{*rest}/", "/a{*rest}", "/{**rest}"]),
        ("at most 32 segments", &[&deep]),
        ("at most 1024 bytes", &[&long]),
    ];
    for (allowed, templates) in cases {
        for template in *templates {
            let errors = parse_text(&with("/routes/1/path", json!(template)).to_string());
            let errors = errors.unwrap_err();
            assert_eq!(errors.len(), 1, "{template}: {errors:?}");
            assert!(errors[0].starts_with("routes[1].path: found \""), "{errors:?}");
            assert!(errors[0].ends_with(&format!("\", allowed: {allowed}")), "{errors:?}");
        }
    }
    assert_refused(
        &with("/routes/1/path", json!(5)),
        &["routes[1].path: found 5, \
           allowed: a path, such as \"/items/{id}\" or \"/items/{*rest}\""],
    );
}

#[test]
fn what_is_needed_and_missing_is_named() {
    const NAME: &str = "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    const TEMPLATE: &str = "a path, such as \"/items/{id}\" or \"/items/{*rest}\"";
    const PER: &str = "a whole number of s, m, h or d from 1s to 365d, or \"day\" or \"month\"";
    const FIELD: &str =
        "the name of a header field: 1 to 64 characters of a token (RFC 9110 §5.6.2), not \"host\"";
    for (pointer, path, allowed) in [
        ("/version", "version", "1"),
        ("/routes/1/name", "routes[1].name", NAME),
        ("/routes/1/path", "routes[1].path", TEMPLATE),
        ("/quotas/0/name", "quotas[0].name", NAME),
        ("/quotas/0/limit", "quotas[0].limit", "a whole number from 1 to 999999999999999"),
        ("/quotas/0/per", "quotas[0].per", PER),
        ("/quotas/0/cost/header", "quotas[0].cost.header", FIELD),
        (
            "/quotas/0/overrides/0/match",
            "quotas[0].overrides[0].match",
            "an object of 1 to 8 parts of \"by\"",
        ),
    ] {
        let message = format!("{path}: found nothing, allowed: {allowed}");
        assert_refused(&without(pointer), &[&message]);
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    const TOP: &str = r#""version", "redis", "client_address", "routes", "quotas", "breakers", "cache", "cache_memory", "response_fields" or "$schema""#;
    const RULE: &str = "\"name\", \"routes\", \"by\", \"limit\", \"per\", \"algorithm\", \"burst\", \
                        \"precision\", \"cost\", \"overrides\", \"on_store_failure\", \"shadow\", \
                        \"enforce_percent\" or \"refusal\"";
    const COST: &str = r#""header" or "default""#;
    const OVERRIDE: &str = r#""match", "limit", "burst" or "action""#;
    const ROUTE: &str = r#""name", "path" or "methods""#;
    const REDIS: &str = r#""namespace", "timeout" or "transport""#;
    let long = "k".repeat(65);
    for (pointer, path, hint, allowed) in [
        ("/quota", "quota", " (did you mean \"quotas\"?)", TOP),
        ("/breaker", "breaker", " (did you mean \"breakers\"?)", TOP),
        ("/caches", "caches", " (did you mean \"cache\"?)", TOP),
        ("/$id", "[\"$id\"]", "", TOP),
        ("/a b\n", "[\"a b\\n\"]", "", TOP),
        ("/redis/time_out", "redis.time_out", " (did you mean \"timeout\"?)", REDIS),
        ("/redis/password", "redis.password", "", REDIS),
        ("/routes/0/method", "routes[0].method", " (did you mean \"methods\"?)", ROUTE),
        ("/quotas/0/limits", "quotas[0].limits", " (did you mean \"limit\"?)", RULE),
        ("/quotas/0/Limit", "quotas[0].Limit", " (did you mean \"limit\"?)", RULE),
        ("/quotas/0/pe", "quotas[0].pe", " (did you mean \"per\"?)", RULE),
        ("/quotas/0/priority", "quotas[0].priority", "", RULE),
        ("/quotas/0/cost/Header", "quotas[0].cost.Header", " (did you mean \"header\"?)", COST),
        ("/quotas/0/overrides/0/per", "quotas[0].overrides[0].per", "", OVERRIDE),
        (&*format!("/quotas/0/{long}"), &*format!("quotas[0][\"{}…\"]", &long[..64]), "", RULE),
    ] {
        assert_refused(
            &with(pointer, json!({"any": ["thing"]})),
            &[&format!("{path}: found an unknown key{hint}, allowed: {allowed}")],
        );
    }
    let file = with("/client_address/ipv4_prefix", json!(24));
    let message = "client_address.ipv4_prefix: found an unknown key (did you mean \"ipv6_prefix\"?), \
                   allowed: \"ipv6_prefix\"";
    assert_refused(&file, &[message]);
}
