//! The keys of a rule: what each takes, value by value, and what is refused.

use std::num::NonZeroU64;
use std::time::Duration;

use meliproxy::config::{Algorithm, Cost, KeyPart, OnStoreFailure, Per, Precision, Rule};
use serde_json::{Value, json};

use super::{assert_each_refused, assert_refused, parse, with, without};

const TOKEN: &str = "1 to 64 characters of a token (RFC 9110 §5.6.2)";

/// The first rule of the full file with one value replaced.
fn rule_with(key: &str, value: Value) -> Rule {
    parse(&with(&format!("/quotas/0/{key}"), value)).rules.swap_remove(0)
}

/// What `by` becomes. The overrides of the full file's rule are by its old key.
fn by(parts: &Value) -> Vec<KeyPart> {
    let mut file = without("/quotas/0/overrides");
    file["quotas"][0]["by"] = parts.clone();
    parse(&file).rules.swap_remove(0).by
}

fn units(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

#[test]
fn every_part_of_a_key_is_taken() {
    let written = json!([
        "client_address",
        "path",
        "route",
        "method",
        "host",
        "header:X-Api-Key",
        "cookie:Session",
        "query:Q a:ß",
    ]);
    let expected = [
        KeyPart::ClientAddress,
        KeyPart::Path,
        KeyPart::Route,
        KeyPart::Method,
        KeyPart::Host,
        KeyPart::Header("x-api-key".into()),
        KeyPart::Cookie("Session".into()),
        KeyPart::Query("Q a:ß".into()),
    ];
    assert_eq!(by(&written), expected);
    let longest = "n".repeat(64);
    let written = ["header", "cookie", "query"].map(|prefix| format!("{prefix}:{longest}"));
    let expected = [
        KeyPart::Header(longest.clone()),
        KeyPart::Cookie(longest.clone()),
        KeyPart::Query(longest),
    ];
    assert_eq!(by(&json!(written)), expected);
    let odd = "!#$%&'*+-.^_`|~09";
    assert_eq!(by(&json!([format!("header:{odd}")])), [KeyPart::Header(odd.into())]);
}

#[test]
fn a_part_of_a_key_that_is_none_is_refused() {
    const PART: &str = "'client_address', 'path', 'route', 'method', 'host', \
                        'header:NAME', 'cookie:NAME' or 'query:NAME'";
    const PSEUDO: &str =
        "no pseudo header ('path', 'method' and 'host' are parts without 'header:')";
    const QUERY: &str = "'query:NAME', NAME the name of a parameter: \
                         1 to 64 bytes, percent-decoded, without control characters";
    let header = format!("'header:NAME', NAME the name of a header field: {TOKEN}, not 'host'");
    let cookie = format!("'cookie:NAME', NAME the name of a cookie: {TOKEN}");
    let longer = "n".repeat(65);
    assert_each_refused(&[
        ("/quotas/0/by", "a list of 1 to 8 parts", "[] | [1,2,3,4,5,6,7,8,9] | 'path' | {}"),
        ("/quotas/0/by/0", PART, "'ip' | '' | 'header' | 'Header:a' | ' path' | 1 | null"),
        ("/quotas/0/by/0", PSEUDO, "'header::path' | 'header:host' | 'header:Host'"),
        ("/quotas/0/by/0", &header, "'header:' | 'header:a b' | 'header:a:b' | 'header:ä'"),
        ("/quotas/0/by/0", &cookie, "'cookie:' | 'cookie:a=b' | 'cookie:a;b' | 'cookie:ä'"),
        ("/quotas/0/by/0", QUERY, "'query:'"),
    ]);
    for (prefix, allowed) in [("header", &*header), ("cookie", &cookie), ("query", QUERY)] {
        let found = format!("{prefix}:{longer}");
        let message = format!(
            "quotas[0].by[0]: found \"{}…\", allowed: {}",
            &found[..64],
            allowed.replace('\'', "\"")
        );
        assert_refused(&with("/quotas/0/by/0", json!(found)), &[&message]);
    }
    let message = format!("quotas[0].by[0]: found \"query:a\\n\", allowed: {QUERY}");
    assert_refused(&with("/quotas/0/by/0", json!("query:a\n")), &[&message.replace('\'', "\"")]);
}

#[test]
fn a_header_is_the_same_in_any_case_and_nothing_else_is() {
    let message = "quotas[0].by[1]: found \"header:X-KEY\" again, allowed: each of the list once";
    assert_refused(&with("/quotas/0/by", json!(["header:x-key", "header:X-KEY"])), &[message]);
    let different = ["header:a", "cookie:a", "cookie:A", "query:a", "query:A"];
    assert_eq!(by(&json!(different)).len(), 5);
}

#[test]
fn limits_are_taken_up_to_the_largest_integer_of_a_header() {
    const LIMIT: &str = "a whole number from 1 to 999999999999999";
    const LIMITS: &str = "0 | -1 | 1.5 | 1e21 | '10' | 1000000000000000 | true | {} | null";
    for limit in [1, 999_999_999_999_999] {
        assert_eq!(rule_with("limit", json!(limit)).limit, units(limit));
    }
    assert_each_refused(&[
        ("/quotas/0/limit", LIMIT, LIMITS),
        ("/quotas/1/burst", LIMIT, LIMITS),
        ("/quotas/0/overrides/0/limit", LIMIT, LIMITS),
        ("/quotas/1/overrides/0/burst", LIMIT, LIMITS),
    ]);
}

#[test]
fn windows_are_spans_days_and_months() {
    const PER: &str = "a whole number of s, m, h or d from 1s to 365d, or 'day' or 'month'";
    const PERS: &str = "'0s' | '366d' | '8761h' | '1000ms' | 'minute' | 'Day' | 'week' | '' | \
                        '99999999999999999999d' | 60 | null";
    let days = |count: u64| Per::Span(Duration::from_secs(count * 24 * 60 * 60));
    for (written, per) in [
        ("1s", Per::Span(Duration::from_secs(1))),
        ("365d", days(365)),
        ("8760h", days(365)),
        ("1d", days(1)),
        ("day", days(1)),
        ("month", Per::Month),
    ] {
        assert_eq!(rule_with("per", json!(written)).per, per, "{written}");
    }
    assert_each_refused(&[("/quotas/0/per", PER, PERS)]);
}

#[test]
fn months_are_for_fixed_windows_alone() {
    const MONTH: &str = "a whole number of s, m, h or d from 1s to 365d, or 'day' \
                         ('month' is for 'fixed_window' alone)";
    assert_each_refused(&[("/quotas/1/per", MONTH, "'month'")]);
    let mut file = with("/quotas/0/algorithm", json!("sliding_window"));
    file["quotas"][0]["per"] = json!("month");
    let message = format!("quotas[0].per: found \"month\", allowed: {}", MONTH.replace('\'', "\""));
    assert_refused(&file, &[&message]);
    file["quotas"][0]["per"] = json!("day");
    parse(&file);
}

#[test]
fn time_is_divided_in_three_ways() {
    const ALGORITHM: &str = "'fixed_window', 'sliding_window' or 'token_bucket'";
    let algorithm = |name: &str| rule_with("algorithm", json!(name)).algorithm;
    assert_eq!(algorithm("fixed_window"), Algorithm::FixedWindow);
    assert_eq!(algorithm("sliding_window"), Algorithm::SlidingWindow);
    // The limit of the full file's rule.
    assert_eq!(algorithm("token_bucket"), Algorithm::TokenBucket { burst: units(10) });
    let given = parse(&with("/quotas/1/burst", json!(1))).rules[1].algorithm;
    assert_eq!(given, Algorithm::TokenBucket { burst: units(1) });
    assert_each_refused(&[("/quotas/0/algorithm", ALGORITHM, "'leaky' | 'Fixed_window' | 1")]);
}

#[test]
fn units_may_be_taken_ahead() {
    let precision = |name: &str| rule_with("precision", json!(name)).precision;
    assert_eq!(precision("exact"), Precision::Exact);
    assert_eq!(precision("leased"), Precision::Leased);
    let allowed = "'exact' or 'leased'";
    assert_each_refused(&[("/quotas/0/precision", allowed, "'lease' | 'Exact' | true")]);
}

#[test]
fn bursts_are_for_buckets_alone() {
    const NONE: &str = "no burst, which is for 'token_bucket' alone";
    assert_each_refused(&[
        ("/quotas/0/burst", NONE, "10 | 0 | null"),
        ("/quotas/0/overrides/0/burst", NONE, "10"),
    ]);
    let mut file = with("/quotas/0/burst", json!(10));
    file["quotas"][0]["algorithm"] = json!("bucket");
    assert_refused(
        &file,
        &["quotas[0].algorithm: found \"bucket\", \
           allowed: \"fixed_window\", \"sliding_window\" or \"token_bucket\""],
    );
}

#[test]
fn a_cost_is_a_number_or_in_a_header() {
    const COST: &str = "a whole number from 1 to 1000000, or an object with 'header'";
    const UNITS: &str = "a whole number from 1 to 1000000";
    let field = format!("the name of a header field: {TOKEN}, not 'host'");
    let header = Some("x-cost".to_owned());
    for (written, cost) in [
        (json!(1), Cost { units: units(1), header: None }),
        (json!(1_000_000), Cost { units: units(1_000_000), header: None }),
        (json!({"header": "X-Cost"}), Cost { units: units(1), header: header.clone() }),
        (json!({"header": "x-cost", "default": 7}), Cost { units: units(7), header }),
    ] {
        assert_eq!(rule_with("cost", written).cost, cost);
    }
    assert_each_refused(&[
        ("/quotas/0/cost", COST, "0 | 1000001 | -1 | 1.5 | '1' | [] | true | null"),
        ("/quotas/0/cost/header", &field, "'' | ':path' | 'a b' | 'host' | 1"),
        ("/quotas/0/cost/default", UNITS, "0 | 1000001 | '1' | null"),
    ]);
}

#[test]
fn who_decides_without_the_store_is_one_of_three() {
    for (written, on_store_failure) in [
        ("local", OnStoreFailure::Local),
        ("allow", OnStoreFailure::Allow),
        ("deny", OnStoreFailure::Deny),
    ] {
        let rule = rule_with("on_store_failure", json!(written));
        assert_eq!(rule.on_store_failure, on_store_failure);
    }
    let allowed = "'local', 'allow' or 'deny'";
    assert_each_refused(&[("/quotas/0/on_store_failure", allowed, "'open' | '' | true | null")]);
}

#[test]
fn a_rule_may_be_a_shadow_to_some_keys_or_all() {
    for shadow in [true, false] {
        assert_eq!(rule_with("shadow", json!(shadow)).shadow, shadow);
    }
    for percent in [0, 1, 99, 100] {
        assert_eq!(rule_with("enforce_percent", json!(percent)).enforce_percent, percent);
    }
    let percent = "a whole number from 0 to 100";
    assert_each_refused(&[
        ("/quotas/0/shadow", "true or false", "'true' | 1 | 0 | null | []"),
        ("/quotas/0/enforce_percent", percent, "101 | -1 | 0.5 | '50%' | 256 | true | null"),
    ]);
}
