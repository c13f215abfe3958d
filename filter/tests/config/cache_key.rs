//! The keys of `key` of a cache policy: what each takes, value by value, and what is refused.

use meliproxy::cache::policy::KeyOptions;
use serde_json::{Value, json};

use super::{assert_each_refused, assert_refused, parse, parse_text, with};

/// The full file with one value of the first policy's key replaced.
fn file_with(key: &str, value: Value) -> Value {
    with(&format!("/cache/0/key/{key}"), value)
}

/// What becomes of it.
fn key_with(key: &str, value: Value) -> KeyOptions {
    parse(&file_with(key, value)).cache.swap_remove(0).policy.key
}

/// So many names.
fn names(count: usize) -> Value {
    (0..count).map(|n| format!("a{n}")).collect()
}

#[test]
fn both_ends_of_every_range_are_taken() {
    const VISIBLE: &str = "!\"$%'()+,-./:;<>?@[\\]^_`{|}~";
    let name_of_64 = "a".repeat(64);
    let prefix_of_64 = format!("{}*", "a".repeat(63));
    for (key, values) in [
        ("drop_query", json!([[], names(64), ["*"], ["%5B0]", VISIBLE]])),
        ("drop_query/0", json!(["a", name_of_64, prefix_of_64])),
        ("sort_query", json!([true, false])),
        ("headers", json!([[], names(16)])),
        ("headers/0", json!(["a", name_of_64, "x-forwarded-host", "te-a", "ifa", "cookies"])),
        ("cookies", json!([[], names(16), ["a", "A"]])),
        ("cookies/0", json!(["a", name_of_64, "host", "Cookie"])),
    ] {
        for value in values.as_array().unwrap() {
            key_with(key, value.clone());
        }
    }
}

#[test]
fn only_header_fields_are_named_in_any_case() {
    let name = json!(["X-Own"]);
    assert_eq!(key_with("drop_query", name.clone()).drop_query, ["X-Own"]);
    assert_eq!(key_with("headers", name.clone()).headers, ["x-own"]);
    assert_eq!(key_with("cookies", name).cookies, ["X-Own"]);
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    const PARAMETER: &str = "the name of a parameter as it stands in the query: \
        1 to 64 visible ASCII characters without & = and #, with * only at its end";
    const PARAMETERS: &str = "'' | 'a&b' | 'a=' | '#' | 'a b' | 'a*b' | '**' | '*a' | 'ä' | 1";
    const FIELD: &str = "the name of a header field: 1 to 64 characters of a token \
        (RFC 9110 §5.6.2), not 'host'";
    const COOKIE: &str = "the name of a cookie: 1 to 64 characters of a token (RFC 9110 §5.6.2)";
    const TAKEN: &str = "a field that is not about the connection, caches, conditions, ranges, \
        cookies or authorization";
    assert_each_refused(&[
        ("/cache/0/key", "an object", "[] | 'path' | null"),
        ("/cache/0/key/drop_query", "a list of 0 to 64 parameters", "'a' | {} | null"),
        ("/cache/0/key/drop_query/0", PARAMETER, PARAMETERS),
        ("/cache/0/key/drop_query/0", PARAMETER, "'a\\n' | 'a\u{7f}' | null"),
        ("/cache/0/key/sort_query", "true or false", "'true' | 1 | null"),
        ("/cache/0/key/headers", "a list of 0 to 16 fields", "'a' | {} | null"),
        ("/cache/0/key/headers/0", FIELD, "'' | 'a b' | ':path' | 'a:' | 'Host' | 'ä' | 1 | null"),
        ("/cache/0/key/headers/0", TAKEN, "'cookie' | 'Authorization' | 'RANGE' | 'cache-control'"),
        ("/cache/0/key/headers/0", TAKEN, "'Pragma' | 'if-match' | 'If-None-Match' | 'if-range'"),
        ("/cache/0/key/headers/0", TAKEN, "'If-Modified-Since' | 'if-unmodified-since'"),
        ("/cache/0/key/headers/0", TAKEN, "'Connection' | 'keep-alive' | 'TE' | 'trailer'"),
        ("/cache/0/key/headers/0", TAKEN, "'transfer-encoding' | 'Upgrade' | 'content-length'"),
        ("/cache/0/key/headers/0", TAKEN, "'proxy-connection' | 'Proxy-Authorization'"),
        ("/cache/0/key/cookies", "a list of 0 to 16 cookies", "'a' | {} | null"),
        ("/cache/0/key/cookies/0", COOKIE, "'' | 'a=b' | 'a;b' | 'a b' | 'ä' | 1 | null"),
    ]);
}

#[test]
fn names_are_bounded_in_number_and_length() {
    for (key, most, of) in
        [("drop_query", 64, "parameters"), ("headers", 16, "fields"), ("cookies", 16, "cookies")]
    {
        let message = format!(
            "cache[0].key.{key}: found a list of {}, allowed: a list of 0 to {most} {of}",
            most + 1
        );
        assert_refused(&file_with(key, names(most + 1)), &[&message]);
        for name in ["a".repeat(65), format!("{}*", "a".repeat(64))] {
            let start = format!("cache[0].key.{key}[0]: found \"aaa");
            let errors = parse_text(&file_with(key, json!([name])).to_string()).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(&start), "{errors:?}");
        }
    }
}

#[test]
fn an_item_given_twice_is_refused() {
    for (key, first, again) in
        [("drop_query", "utm_*", "utm_*"), ("headers", "x-a", "X-A"), ("cookies", "a", "a")]
    {
        let message = format!(
            "cache[0].key.{key}[1]: found \"{again}\" again, allowed: each of the list once"
        );
        assert_refused(&file_with(key, json!([first, again])), &[&message]);
    }
    key_with("drop_query", json!(["utm_*", "utm_a", "utm_", "UTM_*"]));
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    const KEY: &str = r#""drop_query", "sort_query", "headers" or "cookies""#;
    for (key, hint) in [("header", " (did you mean \"headers\"?)"), ("keep_query", "")] {
        let message = format!("cache[0].key.{key}: found an unknown key{hint}, allowed: {KEY}");
        assert_refused(&file_with(key, json!(1)), &[&message]);
    }
}
