//! The overrides of a rule: which keys they match, and what becomes of those.

use std::net::IpAddr;
use std::num::NonZeroU64;

use meliproxy::config::{KeyPart, Override, Pattern, Treatment};
use serde_json::{Value, json};

use super::{assert_each_refused, assert_refused, full, parse, parse_text, with};

const WHERE: &str = "quotas[0].overrides[0]";

/// A file whose one rule is by all parts that there are, and has these overrides.
fn file(overrides: &Value) -> Value {
    json!({
        "version": 1,
        "routes": [{"name": "items", "path": "/items"}],
        "quotas": [{
            "name": "all",
            "by": ["client_address", "path", "route", "method", "host",
                   "header:X-Key", "cookie:c", "query:q"],
            "limit": 10,
            "per": "1m",
            "overrides": overrides,
        }],
    })
}

/// A file with one override that matches one part.
fn matching(part: &str, value: &Value) -> Value {
    file(&json!([{"match": {part: value}, "action": "exempt"}]))
}

fn overrides(file: &Value) -> Vec<Override> {
    parse(file).rules.swap_remove(0).overrides
}

fn block(address: &str, bits: u8) -> Pattern {
    Pattern::Block(address.parse::<IpAddr>().unwrap(), bits)
}

#[test]
fn every_part_can_be_matched() {
    let exact = |text: &str| Pattern::Exact(text.to_owned());
    let key = || KeyPart::Header("x-key".into());
    for (part, value, expected) in [
        ("path", "/a,b/%7Ec//d", (KeyPart::Path, exact("/a,b/~c/d"))),
        ("route", "items", (KeyPart::Route, exact("items"))),
        ("method", "GET", (KeyPart::Method, exact("GET"))),
        ("host", "example.com", (KeyPart::Host, exact("example.com"))),
        ("host", "[2001:db8::1]", (KeyPart::Host, exact("[2001:db8::1]"))),
        ("header:x-key", "Partner 1", (key(), exact("Partner 1"))),
        ("header:X-KEY", "", (key(), exact(""))),
        ("cookie:c", "é", (KeyPart::Cookie("c".into()), exact("é"))),
        ("query:q", "a&b=c", (KeyPart::Query("q".into()), exact("a&b=c"))),
    ] {
        let expected = Override { matches: vec![expected], treatment: Treatment::Exempt };
        assert_eq!(overrides(&matching(part, &json!(value))), [expected]);
    }
    let longest = json!("v".repeat(1024));
    parse(&matching("header:x-key", &longest));
}

#[test]
fn addresses_and_blocks_are_taken() {
    for (written, expected) in [
        ("203.0.113.7", block("203.0.113.7", 32)),
        ("203.0.113.7/32", block("203.0.113.7", 32)),
        ("203.0.113.0/24", block("203.0.113.0", 24)),
        ("0.0.0.0/0", block("0.0.0.0", 0)),
        ("2001:db8::1", block("2001:db8::1", 128)),
        ("2001:DB8:0:0::/48", block("2001:db8::", 48)),
        ("::/0", block("::", 0)),
    ] {
        let taken = overrides(&matching("client_address", &json!(written)));
        assert_eq!(taken[0].matches, [(KeyPart::ClientAddress, expected)], "{written}");
    }
}

#[test]
fn an_address_that_is_none_is_refused() {
    const BLOCK: &str = "an address or block, such as '203.0.113.7', '203.0.113.0/24' \
                         or '2001:db8::/48'";
    const ADDRESSES: &str = "'' | 'localhost' | '203.0.113' | '203.0.113.7:80' | '[2001:db8::1]' | \
        '203.0.113.0/33' | '2001:db8::/129' | '203.0.113.0/' | '203.0.113.0/024' | \
        '203.0.113.0/+24' | '203.0.113.0/24/8' | '203.0.113.0/255.255.255.0' | \
        '203.0.113.0/256' | ' 203.0.113.7' | '203.0.113.007' | 'fe80::1%eth0' | 7 | null | []";
    assert_each_refused(&[("/quotas/0/overrides/0/match/client_address", BLOCK, ADDRESSES)]);
}

#[test]
fn a_block_that_does_not_begin_where_it_says_is_refused_with_what_was_meant() {
    for (written, block, address) in [
        ("203.0.113.7/24", "203.0.113.0/24", "203.0.113.7"),
        ("203.0.113.1/31", "203.0.113.0/31", "203.0.113.1"),
        ("1.0.0.0/0", "0.0.0.0/0", "1.0.0.0"),
        ("2001:db8::1/64", "2001:db8::/64", "2001:db8::1"),
    ] {
        let message = format!(
            "{WHERE}.match.client_address: found \"{written}\", \
             allowed: the block from its first address on, \"{block}\", or \"{address}\" alone"
        );
        assert_refused(&matching("client_address", &json!(written)), &[&message]);
    }
    for (written, meant) in [
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.0/120", "203.0.113.0/24"),
        ("::ffff:203.0.113.7/120", "203.0.113.0/24"),
    ] {
        let message = format!(
            "{WHERE}.match.client_address: found \"{written}\", allowed: IPv4 as itself, \"{meant}\""
        );
        assert_refused(&matching("client_address", &json!(written)), &[&message]);
    }
}

#[test]
fn a_value_that_its_part_never_has_is_refused() {
    const PATH: &str = "a path, such as \"/items/1\", without query";
    const HOST: &str = "a host in lower case, without port and final dot, such as \"example.com\"";
    const METHOD: &str = "a method in capitals, such as \"GET\"";
    const EXACT: &str = "a text of at most 1024 bytes without control characters";
    let long = "v".repeat(1025);
    let long_path = format!("/{}", "v".repeat(1024));
    let long_host = "v".repeat(254);
    let cases: &[(&str, &str, &[&str])] = &[
        ("path", PATH, &["", "items", "/a?b", "/a#b", "/a b", "/\u{7f}", &long_path]),
        ("method", METHOD, &["get", "", "GE T"]),
        ("host", HOST, &["", "Example.com", "a:80", "a.", "a b", "[::1]:80", "[a]", &long_host]),
        ("header:x-key", EXACT, &["a\n", "\u{0}", &long]),
        ("cookie:c", EXACT, &["\u{7f}", &long]),
        ("query:q", EXACT, &["\t", &long]),
        ("route", "the name of a route: \"items\"", &["rest", ""]),
    ];
    for (part, allowed, values) in cases {
        for value in *values {
            let errors = parse_text(&matching(part, &json!(value)).to_string()).unwrap_err();
            assert_eq!(errors.len(), 1, "{part}: {value}: {errors:?}");
            assert!(errors[0].starts_with(&format!("{WHERE}.match")), "{errors:?}");
            assert!(errors[0].ends_with(&format!(", allowed: {allowed}")), "{errors:?}");
        }
        for value in [json!(1), json!(null), json!(["a"]), json!({})] {
            parse_text(&matching(part, &value).to_string()).unwrap_err();
        }
    }
    let message = format!(
        "{WHERE}.match.route: found \"itemz\" (did you mean \"items\"?), \
         allowed: the name of a route: \"items\""
    );
    assert_refused(&matching("route", &json!("itemz")), &[&message]);
}

#[test]
fn a_match_is_of_parts_of_the_rules_own_key() {
    const MATCH: &str = "an object of 1 to 8 parts of 'by'";
    assert_each_refused(&[("/quotas/0/overrides/0/match", MATCH, "{} | [] | 'all' | null")]);
    let overrides = "quotas[0].overrides[0].match";
    for (key, path, hint) in [
        ("path", ".path", ""),
        ("", ".", ""),
        ("header:x-key", "[\"header:x-key\"]", ""),
        ("client_adress", ".client_adress", " (did you mean \"client_address\"?)"),
    ] {
        let pointer = "/quotas/0/overrides/0/match";
        let message = format!(
            "{overrides}{path}: found a part that is not in \"by\"{hint}, allowed: \"client_address\""
        );
        assert_refused(&with(pointer, json!({key: "/a"})), &[&message]);
    }
    let mut file = full();
    file["quotas"][0].as_object_mut().unwrap().remove("by");
    file["quotas"][0]["overrides"].as_array_mut().unwrap().truncate(1);
    let message = format!(
        "{overrides}.client_address: found a part that is not in \"by\", \
         allowed: parts of \"by\", which the rule does not have"
    );
    assert_refused(&file, &[&message]);
}

#[test]
fn a_part_is_matched_once() {
    let file = file(&json!([
        {"match": {"header:x-key": "a", "header:X-Key": "b"}, "action": "exempt"},
    ]));
    let message =
        format!("{WHERE}.match[\"header:x-key\"]: found \"a\" again, allowed: each part once");
    // serde_json sorts the keys of an object.
    assert_refused(&file, &[&message]);
}

#[test]
fn overrides_are_not_blamed_for_a_key_that_cannot_be_read() {
    assert_refused(
        &with("/quotas/0/by", json!(5)),
        &["quotas[0].by: found 5, allowed: a list of 1 to 8 parts"],
    );
}

#[test]
fn a_key_has_other_numbers_or_is_exempt_or_refused() {
    let units = |number: u64| NonZeroU64::new(number).unwrap();
    let matches = json!({"header:x-api-key": "partner"});
    for (treatment, expected) in [
        (json!({"limit": 5}), Treatment::Limit { limit: units(5), burst: units(5) }),
        (json!({"limit": 5, "burst": 6}), Treatment::Limit { limit: units(5), burst: units(6) }),
        (json!({"action": "exempt"}), Treatment::Exempt),
        (json!({"action": "refuse"}), Treatment::Refuse),
    ] {
        let mut over = treatment;
        over["match"] = matches.clone();
        let config = parse(&with("/quotas/1/overrides/0", over));
        assert_eq!(config.rules[1].overrides[0].treatment, expected);
    }
    assert_each_refused(&[
        ("/quotas/0/overrides", "a list of 0 to 256 overrides", "{} | null"),
        ("/quotas/0/overrides/0", "an object", "[] | 5"),
        ("/quotas/0/overrides/1/action", "'exempt' or 'refuse'", "'allow' | '' | true | null"),
    ]);
}

#[test]
fn an_override_says_exactly_one_thing() {
    let matches = json!({"header:x-api-key": "partner"});
    let place = "quotas[1].overrides[0]";
    for (over, message) in [
        (json!({}), ": found no \"limit\" and no \"action\", allowed: one of them"),
        (json!({"burst": 5}), ": found no \"limit\" and no \"action\", allowed: one of them"),
        (
            json!({"limit": 5, "action": "exempt"}),
            ": found \"limit\" and \"action\", allowed: one of them",
        ),
        (
            json!({"burst": 5, "action": "exempt"}),
            ".burst: found 5, allowed: no burst without a limit",
        ),
    ] {
        let mut over = over;
        over["match"] = matches.clone();
        assert_refused(&with("/quotas/1/overrides/0", over), &[&format!("{place}{message}")]);
    }
}

#[test]
fn keys_that_an_override_above_matches_are_refused() {
    let first = json!({"match": {"cookie:c": "1", "query:q": "2"}, "limit": 5});
    let same = json!({"match": {"query:q": "2", "cookie:c": "1"}, "action": "exempt"});
    let less = json!({"match": {"query:q": "2"}, "action": "exempt"});
    let message = "quotas[0].overrides[1].match: found the same as in quotas[0].overrides[0], \
                   allowed: keys that no override above matches already";
    assert_refused(&file(&json!([first, same])), &[message]);
    let taken = overrides(&file(&json!([first, less])));
    assert_eq!(taken.len(), 2);
}

#[test]
fn a_rule_has_at_most_256_overrides() {
    let list = |count: usize| -> Value {
        (0..count)
            .map(|n| json!({"match": {"query:q": n.to_string()}, "action": "exempt"}))
            .collect()
    };
    assert_eq!(overrides(&file(&list(256))).len(), 256);
    let message = "quotas[0].overrides: found a list of 257, allowed: a list of 0 to 256 overrides";
    assert_refused(&file(&list(257)), &[message]);
}

#[test]
fn a_limit_is_for_a_whole_client() {
    let file = |address: &str, treatment: (&str, Value)| {
        let over = json!({"match": {"client_address": address}, treatment.0: treatment.1});
        with("/quotas/0/overrides", json!([over]))
    };
    for (address, treatment) in [
        ("2001:db8::/64", ("limit", json!(5))),
        ("2001:db8::1", ("action", json!("exempt"))),
        ("2001:db8::1", ("action", json!("refuse"))),
        ("203.0.113.7", ("limit", json!(5))),
    ] {
        parse(&file(address, treatment));
    }
    assert_refused(
        &file("2001:db8::/65", ("limit", json!(5))),
        &[
            "quotas[0].overrides[0].match.client_address: found \"2001:db8::/65\", allowed: with a limit, an IPv6 block \
           of at most 64 bits, which client_address.ipv6_prefix counts as one client",
        ],
    );
}
