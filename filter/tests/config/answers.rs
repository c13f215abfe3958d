//! What clients are told: `response_fields`, and the `refusal` of a rule or breaker.

use meliproxy::config::{Content, Refusal, ResponseFields};
use serde_json::{Value, json};

use super::{assert_each_refused, assert_refused, parse, parse_text, with};

#[test]
fn what_clients_are_told_is_chosen() {
    for (list, ratelimit, x_ratelimit) in [
        (json!([]), false, false),
        (json!(["ratelimit"]), true, false),
        (json!(["x-ratelimit"]), false, true),
        (json!(["x-ratelimit", "ratelimit"]), true, true),
    ] {
        let config = parse(&with("/response_fields", list));
        assert_eq!(config.response_fields, ResponseFields { ratelimit, x_ratelimit });
    }
}

#[test]
fn a_refusal_has_a_content_type_and_a_body_or_neither() {
    let refusal = |refusal: Value| with("/quotas/0/refusal", refusal);
    let of = |file: &Value| parse(file).rules.remove(0).refusal.unwrap();
    assert_eq!(
        of(&refusal(json!({"status": 503}))),
        Refusal { status: 503, headers: vec![], content: None }
    );
    let both = json!({"content_type": "application/json", "body": "{}"});
    let content = Content { content_type: "application/json".into(), body: "{}".into() };
    assert_eq!(
        of(&refusal(both)),
        Refusal { status: 429, headers: vec![], content: Some(content) }
    );
    assert_refused(
        &refusal(json!({"body": "later"})),
        &["quotas[0].refusal.content_type: found nothing, \
           allowed: a media type, such as \"application/json\""],
    );
    assert_refused(
        &refusal(json!({"content_type": "text/plain"})),
        &["quotas[0].refusal.body: found nothing, allowed: a text of at most 4096 bytes"],
    );
}

#[test]
fn the_texts_of_a_refusal_have_bounds_in_bytes() {
    for (pointer, allowed, value) in [
        ("body", "a text of at most 4096 bytes", format!("{}.", "é".repeat(2048))),
        (
            "content_type",
            "a media type, such as \"application/json\"",
            format!("a/{}", "b".repeat(255)),
        ),
    ] {
        let file = with(&format!("/quotas/0/refusal/{pointer}"), json!(value));
        let errors = parse_text(&file.to_string()).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&format!("quotas[0].refusal.{pointer}: found \"")));
        assert!(errors[0].ends_with(&format!("allowed: {allowed}")), "{errors:?}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    const STATUS: &str = "a whole number from 400 to 599";
    const MEDIA_TYPE: &str = "a media type, such as 'application/json'";
    const MEDIA_TYPES: &str = "'' | 'json' | 'text/' | '/plain' | 'a/b/c' | 'text/pla in' | 'té/xt' | \
        'text/plain;\\r\\nx: y' | ' text/plain' | 'text/plain ' | \
        'text/plain;\\t' | 'a/b; c=d ' | 1";
    assert_each_refused(&[
        ("/quotas/0/refusal", "an object", "429 | null | 'no'"),
        ("/quotas/0/refusal/status", STATUS, "399 | 600 | '429' | null"),
        ("/quotas/0/refusal/content_type", MEDIA_TYPE, MEDIA_TYPES),
        ("/quotas/0/refusal/body", "a text of at most 4096 bytes", "{} | 1 | null"),
        ("/response_fields", "a list of 0 to 2 fields", "'ratelimit' | null | [1,2,3]"),
        ("/response_fields/0", "'ratelimit' or 'x-ratelimit'", "'retry-after' | 'RateLimit' | 1"),
    ]);
}

#[test]
fn both_ends_of_every_range_are_taken() {
    let type_of_256 = format!("a/{}", "b".repeat(254));
    for (status, content_type, body) in
        [(400, "a/b", ""), (599, &*type_of_256, &*"é".repeat(2048)), (429, "a/b ; c=\"d\"", "x")]
    {
        let refusal = json!({"status": status, "content_type": content_type, "body": body});
        parse(&with("/quotas/0/refusal", refusal));
    }
}

/// The header fields of the first rule's refusal, and of the first breaker's, which are read alike.
fn headers(written: &Value) -> Vec<(String, String)> {
    let mut file = with("/quotas/0/refusal/headers", written.clone());
    file["breakers"][0]["refusal"]["headers"] = written.clone();
    let mut config = parse(&file);
    let headers = config.rules.remove(0).refusal.unwrap().headers;
    assert_eq!(config.breakers.remove(0).refusal.unwrap().headers, headers);
    headers
}

#[test]
fn a_refusal_may_have_header_fields_of_its_own() {
    assert_eq!(headers(&json!({})), []);
    let (longest_name, longest_value) = ("n".repeat(64), "v".repeat(1024));
    for (name, value) in [
        ("x-own", "1"),
        ("!#$%&'*+-.^_`|~09az", "!~"),
        ("cache-control", "max-age=5, public"),
        ("access-control-allow-origin", "*"),
        ("proxy", "a"),
        ("teapot", "a"),
        (&longest_name, &longest_value),
    ] {
        assert_eq!(headers(&json!({name: value})), [(name.to_owned(), value.to_owned())]);
    }
    let name = |n: usize| format!("x-{n}");
    let fields = |count: usize| -> Value { (0..count).map(|n| (name(n), json!("a"))).collect() };
    assert_eq!(headers(&fields(16)).len(), 16);
    assert_refused(
        &with("/quotas/0/refusal/headers", fields(17)),
        &["quotas[0].refusal.headers: found an object, \
           allowed: an object of 0 to 16 header fields"],
    );
}

#[test]
fn names_of_header_fields_are_the_same_in_any_case() {
    assert_eq!(headers(&json!({"X-Own": "A"})), [("x-own".to_owned(), "A".to_owned())]);
    assert_refused(
        &with("/quotas/0/refusal/headers", json!({"X-Own": "1", "x-own": "2"})),
        &["quotas[0].refusal.headers.x-own: found \"2\" again, \
           allowed: each field once, whatever the case of its name"],
    );
}

#[test]
fn header_fields_that_are_set_otherwise_are_refused() {
    for name in [
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-connection",
        "content-length",
        "content-type",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "date",
        "server",
        "host",
    ] {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            let message = format!(
                "quotas[0].refusal.headers.{name}: \
                 found a field of the connection, or one that is set anyway, \
                 allowed: any other field"
            );
            assert_refused(&with("/quotas/0/refusal/headers", json!({name: "1"})), &[&message]);
        }
    }
}

#[test]
fn what_is_no_header_field_is_refused() {
    const NAME: &str =
        "the name of a header field: 1 to 64 characters of a token (RFC 9110 §5.6.2)";
    const VALUE: &str = "1 to 1024 visible ASCII characters, with spaces only between them";
    const VALUES: &str = "'' | ' ' | ' a' | 'a ' | 'a\\tb' | 'a\\r\\nb: c' | 'é' | 'a\\u0000' | \
                          '\u{7f}' | 1 | null | [] | {}";
    assert_each_refused(&[
        ("/quotas/0/refusal/headers", "an object of 0 to 16 header fields", "[] | null | 'a: b'"),
        ("/quotas/0/refusal/headers/x-other", VALUE, VALUES),
    ]);
    let long = "n".repeat(65);
    for name in ["", ":status", "a b", "a:", "é", "a\r\n", &long] {
        let file = with("/quotas/0/refusal/headers", json!({name: "1"}));
        let errors = parse_text(&file.to_string()).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("quotas[0].refusal.headers"), "{errors:?}");
        let end = format!(": found no name of a header field, allowed: {NAME}");
        assert!(errors[0].ends_with(&end), "{errors:?}");
    }
    let file = with("/quotas/0/refusal/headers", json!({"a": "v".repeat(1025)}));
    let errors = parse_text(&file.to_string()).unwrap_err();
    assert!(errors[0].ends_with(VALUE), "{errors:?}");
}
