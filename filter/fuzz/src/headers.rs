//! What is told to clients and to the log: nothing in it may be taken for anything else.

use meliproxy::exchange::{Conclusion, Fate};
use meliproxy::http::LocalReply;
use meliproxy::plan::Plan;
use sfv::{BareItem, Item, List, ListEntry, Parser};

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const MOST: i64 = 999_999_999_999_999;

/// Asserts that a request of `plan` was concluded in words that its client and the log can read.
pub(crate) fn assert_well_formed(plan: &Plan, conclusion: &Conclusion) {
    match &conclusion.fate {
        Fate::Pass(fields) => {
            assert_fields(plan, fields.iter().map(|(name, value)| (*name, &**value)));
        }
        Fate::Refuse(reply) => assert_reply(plan, reply),
        Fate::Serve(_) => panic!("nothing is served before the cache was asked"),
    }
    if let Some(entry) = &conclusion.entry {
        assert!(entry.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{entry:?}");
        let keys: Vec<_> = entry.split(' ').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert_eq!(keys, ["rule", "outcome", "source", "remaining", "redis_us"], "{entry}");
    }
}

pub(crate) fn assert_reply(plan: &Plan, reply: &LocalReply) {
    assert!((400..600).contains(&reply.status), "status {}", reply.status);
    assert_fields(plan, reply.headers.iter().map(|(name, value)| (&**name, &**value)));
    let rules = &plan.config().rules;
    if !rules.iter().any(|rule| rule.refusal.as_ref().is_some_and(|own| own.content.is_some())) {
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(problem["status"], reply.status);
        for name in problem["violated-policies"].as_array().unwrap() {
            assert!(rules.iter().any(|rule| *name == rule.name), "{name} is no rule");
        }
    }
}

fn assert_fields<'f>(plan: &Plan, fields: impl Iterator<Item = (&'f str, &'f str)> + Clone) {
    for (name, value) in fields.clone() {
        // RFC 9110 §5.5: visible characters, with spaces and tabs between them.
        let allowed = |c: char| c.is_ascii_graphic() || matches!(c, ' ' | '\t');
        assert!(!value.is_empty() && value.chars().all(allowed), "{name}: {value:?}");
        assert_eq!(value.trim(), value, "{name}");
        match name {
            "ratelimit" => assert_list(plan, value, &["r", "t"]),
            "ratelimit-policy" => assert_list(plan, value, &["q", "w", "meliproxy-burst"]),
            "retry-after" | "x-ratelimit-limit" | "x-ratelimit-remaining" | "x-ratelimit-reset" => {
                value.parse::<u64>().unwrap();
            }
            "content-type" | "cache-control" => {}
            other => assert!(is_configured(plan, other), "{other} is no field of ours"),
        }
        assert_eq!(fields.clone().filter(|(other, _)| *other == name).count(), 1, "{name} twice");
    }
}

/// Whether a rule has a field of that name in its refusal.
fn is_configured(plan: &Plan, field: &str) -> bool {
    let refusals = plan.config().rules.iter().filter_map(|rule| rule.refusal.as_ref());
    refusals.flat_map(|refusal| &refusal.headers).any(|(name, _)| name == field)
}

/// A list of names of rules, each with some of these parameters in their order.
fn assert_list(plan: &Plan, list: &str, known: &[&str]) {
    let parsed: List = Parser::new(list).parse().unwrap_or_else(|error| panic!("{list}: {error}"));
    assert!(!parsed.is_empty());
    for entry in parsed {
        let ListEntry::Item(Item { bare_item: BareItem::String(name), params }) = entry else {
            panic!("{entry:?} is no string");
        };
        assert!(plan.config().rules.iter().any(|rule| rule.name == name.as_str()), "{name:?}");
        let mut expected = known.iter();
        for (key, value) in &params {
            assert!(expected.any(|known| *known == key.as_str()), "{list}");
            let BareItem::Integer(integer) = value else { panic!("{key:?}: {value:?}") };
            assert!((0..=MOST).contains(&i64::from(*integer)), "{list}");
        }
    }
}
