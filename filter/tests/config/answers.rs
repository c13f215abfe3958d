//! What clients are told: `response_fields`, and the `refusal` of a rule.

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
    assert_eq!(of(&refusal(json!({"status": 503}))), Refusal { status: 503, content: None });
    let both = json!({"content_type": "application/json", "body": "{}"});
    let content = Content { content_type: "application/json".into(), body: "{}".into() };
    assert_eq!(of(&refusal(both)), Refusal { status: 429, content: Some(content) });
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
