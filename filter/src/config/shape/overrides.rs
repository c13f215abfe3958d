//! `quotas[].overrides[]`: keys that are treated otherwise.

use std::net::IpAddr;
use std::num::NonZeroU64;

use serde_json::{Value as Json, json};

use super::super::key::{Absent, Key, Kind, Object, Reads};
use super::super::kind::{Text, Whole, Words};
use super::super::reader::{Value, did_you_mean, words_listed};
use super::super::{KeyPart, Override, Pattern, Treatment};
use super::key_part::PartKind;
use super::name::{ROUTE_NAME, find_route};
use super::route::METHOD;
use super::rule::{Division, PARTS, UNITS, read_burst};
use super::{block, key_part};
use crate::http::path::canonical;

const MATCH: Key<MatchKind> = Key {
    name: "match",
    doc: "which keys: parts of the rule's `by`, each with what it has to be. `client_address` takes an address or a \
          block of them (`203.0.113.0/24`), every other part one exact value. All of them have to match",
    takes: MatchKind,
    absent: Absent::Refused,
};

const LIMIT: Key<Whole<NonZeroU64>> = Key {
    name: "limit",
    doc: "the limit of each of these keys; either this or `action`",
    takes: UNITS,
    absent: Absent::Means("none"),
};

const BURST: Key<Whole<NonZeroU64>> = Key {
    name: "burst",
    doc: "the burst that goes with this limit; for `token_bucket` alone",
    takes: UNITS,
    absent: Absent::Means("as `limit`"),
};

const ACTION: Key<Words<Treatment>> = Key {
    name: "action",
    doc: "`exempt`: the rule is not for these keys; `refuse`: every request of theirs is refused",
    takes: Words(&[("exempt", Treatment::Exempt), ("refuse", Treatment::Refuse)]),
    absent: Absent::Means("none"),
};

pub(super) const OBJECT: Object = Object {
    keys: &[&MATCH, &LIMIT, &BURST, &ACTION],
    between: r#"{
        "oneOf": [{"required": ["limit"]}, {"required": ["action"]}],
        "dependentRequired": {"burst": ["limit"]}
    }"#,
};

/// What the overrides of a rule are read against, as far as it can be read itself.
pub(super) struct Context<'c> {
    pub(super) by: Option<&'c [KeyPart]>,
    pub(super) division: Option<Division>,
    pub(super) route_names: Option<&'c [Option<&'c str>]>,
    pub(super) ipv6_prefix: Option<u8>,
}

/// Reads all overrides of a rule. No two of them may be for the same keys.
pub(super) fn read_all(values: &[Value<'_>], context: &Context<'_>) -> Option<Vec<Override>> {
    let overrides: Vec<_> = values.iter().map(|value| read(value, context)).collect();
    for (index, (value, over)) in values.iter().zip(&overrides).enumerate() {
        let is_same = |earlier: &Option<Override>| {
            over.as_ref().zip(earlier.as_ref()).is_some_and(|(a, b)| a.matches == b.matches)
        };
        let earlier = values.iter().zip(&overrides).take(index).find(|(_, o)| is_same(o));
        if let Some((earlier, _)) = earlier {
            value.member(MATCH.name).refuse_found::<()>(
                format!("the same as in {}", earlier.path()),
                "keys that no override above matches already",
            );
        }
    }
    overrides.into_iter().collect()
}

fn read(value: &Value<'_>, context: &Context<'_>) -> Option<Override> {
    OBJECT.read(value, |over| {
        let match_value = MATCH.of(over);
        let matches = read_match(&match_value, context);
        let limit_value = LIMIT.of(over);
        let limit = limit_value.optional(|limit| LIMIT.takes.read(limit));
        let burst_value = BURST.of(over);
        let burst = read_burst(&burst_value, context.division);
        let action_value = ACTION.of(over);
        let action = action_value.optional(|action| ACTION.takes.read(action));
        match (limit_value.is_present(), action_value.is_present()) {
            (true, true) => {
                return value.refuse_found(r#""limit" and "action""#.to_owned(), "one of them");
            }
            (false, false) => {
                return value
                    .refuse_found(r#"no "limit" and no "action""#.to_owned(), "one of them");
            }
            (false, true) if burst_value.is_present() => {
                return burst_value.refuse("no burst without a limit");
            }
            (true, false) | (false, true) => {}
        }
        let (limit, burst, action) = (limit?, burst?, action?);
        let limit = limit.map(|limit| Treatment::Limit { limit, burst: burst.unwrap_or(limit) });
        let matches = matches?;
        if limit.is_some() {
            refuse_part_of_a_client(&match_value, &matches, context.ipv6_prefix)?;
        }
        Some(Override { matches, treatment: limit.or(action)? })
    })
}

/// Refuses a limit for a part of those addresses that are counted as one client: a counter has one limit.
fn refuse_part_of_a_client(
    value: &Value<'_>,
    matches: &[(KeyPart, Pattern)],
    ipv6_prefix: Option<u8>,
) -> Option<()> {
    let ipv6_prefix = ipv6_prefix?;
    let is_part = |pattern: &Pattern| matches!(pattern, Pattern::Block(IpAddr::V6(_), bits) if *bits > ipv6_prefix);
    if matches.iter().any(|(_, pattern)| is_part(pattern)) {
        let address = value.member("client_address");
        return address.refuse(format!(
            "with a limit, an IPv6 block of at most {ipv6_prefix} bits, which \
             client_address.ipv6_prefix counts as one client"
        ));
    }
    Some(())
}

/// The parts of a key, and what each has to be.
struct MatchKind;

impl Kind for MatchKind {
    fn allowed(&self) -> String {
        format!("an object of {} to {} parts of \"by\"", PARTS.start(), PARTS.end())
    }

    fn schema(&self) -> Json {
        json!({
            "type": "object",
            "propertyNames": PartKind.schema(),
            "additionalProperties": {"type": "string"},
            "minProperties": PARTS.start(),
            "maxProperties": PARTS.end(),
        })
    }
}

fn read_match(value: &Value<'_>, context: &Context<'_>) -> Option<Vec<(KeyPart, Pattern)>> {
    let members: Vec<_> = value.as_object().iter().flat_map(|members| members.all()).collect();
    if !PARTS.contains(&members.len()) {
        return value.refuse(MATCH.takes.allowed());
    }
    // In the order of `by`, so that equal matches are equal lists.
    let by = context.by?;
    let mut patterns: Vec<Option<Option<Pattern>>> = vec![None; by.len()];
    let mut is_good = true;
    for (key, pattern) in members {
        let part = key_part::parse(key).ok();
        let slot =
            by.iter().zip(&mut patterns).find(|(candidate, _)| Some(*candidate) == part.as_ref());
        is_good &= match slot {
            Some((_, Some(_))) => pattern
                .refuse_found::<()>(format!("{} again", pattern.found()), "each part once")
                .is_some(),
            Some((part, slot)) => {
                let read = read_pattern(&pattern, part, context);
                slot.insert(read).is_some()
            }
            None => refuse_part(&pattern, key, by).is_some(),
        };
    }
    let matches = by.iter().zip(patterns);
    let matches = matches.filter_map(|(part, pattern)| Some((part.clone(), pattern??)));
    is_good.then(|| matches.collect())
}

fn refuse_part(value: &Value<'_>, key: &str, by: &[KeyPart]) -> Option<()> {
    let parts: Vec<_> = by.iter().map(key_part::written).collect();
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let found = format!("a part that is not in \"by\"{}", did_you_mean(key, &parts));
    if parts.is_empty() {
        value.refuse_found(found, "parts of \"by\", which the rule does not have")
    } else {
        value.refuse_found(found, words_listed(parts))
    }
}

fn read_pattern(value: &Value<'_>, part: &KeyPart, context: &Context<'_>) -> Option<Pattern> {
    let text = match part {
        KeyPart::ClientAddress => return block::read(value),
        KeyPart::Path => read_path(value),
        KeyPart::Route => {
            let name = ROUTE_NAME.read(value)?;
            find_route(value, name, context.route_names?).map(|_| name.to_owned())
        }
        KeyPart::Method => METHOD.read(value).map(ToOwned::to_owned),
        KeyPart::Host => HOST.read(value).map(ToOwned::to_owned),
        KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Query(_) => {
            EXACT.read(value).map(ToOwned::to_owned)
        }
    };
    text.map(Pattern::Exact)
}

/// Longest exact value in bytes: room for any credential that is compared as a whole.
const MAX_EXACT_BYTES: usize = 1024;

const EXACT: Text = Text {
    allowed: "a text of at most 1024 bytes without control characters",
    pattern: "",
    is_allowed: |text| {
        text.len() <= MAX_EXACT_BYTES && !text.contains(|c: char| c.is_ascii_control())
    },
};

/// As hosts are counted. Longest in bytes as a host name (RFC 1035 §2.3.4).
const HOST: Text = Text {
    allowed: "a host in lower case, without port and final dot, such as \"example.com\"",
    pattern: "",
    is_allowed: |text| {
        let is_plain = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        let is_ipv6 = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_ipv6 = is_ipv6.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        let is_name = (1..=253).contains(&text.len()) && text.bytes().all(is_plain);
        is_ipv6 || is_name && !text.ends_with('.')
    },
};

const PATH: Text = Text {
    allowed: "a path, such as \"/items/1\", without query",
    pattern: "",
    is_allowed: |text| {
        text.starts_with('/')
            && text.len() <= MAX_EXACT_BYTES
            && !text.contains(|c: char| matches!(c, '?' | '#') || c.is_ascii_whitespace())
            && !text.contains(|c: char| c.is_ascii_control())
    },
};

/// Reads a path in any spelling, as the one that is counted.
fn read_path(value: &Value<'_>) -> Option<String> {
    let text = PATH.read(value)?;
    String::from_utf8(canonical(text.as_bytes()).into_owned())
        .or_else(|_| value.refuse(PATH.allowed).ok_or(()))
        .ok()
}
