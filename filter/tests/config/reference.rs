//! `docs/configuration.md` and the schema for editors say what the reader takes.
//!
//! Both are committed, and written anew by `UPDATE_REFERENCE=1 cargo test -p meliproxy --test config`.

use std::fs;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use meliproxy::config::reference;
use serde_json::{Value, json};

use super::{SHIPPED, full, parse, with, without};

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy/meliproxy.schema.json");
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
const HINT: &str = "is not what the reader takes; to write it anew: \
                    UPDATE_REFERENCE=1 cargo test -p meliproxy --test config";

/// Ends what is generated, in the reference.
const END: &str = "<!-- end -->";

/// Compiled once: every file that any test finds good is held against it.
static COMPILED: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
    let schema: Value = serde_json::from_str(&reference::schema()).unwrap();
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.enable_format_assertions();
    compiler.add_resource("schema.json", schema).unwrap();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    (schemas, index)
});

/// What the schema has against a file.
pub(super) fn schema_problems(file: &Value) -> Option<String> {
    let (schemas, index) = &*COMPILED;
    schemas.validate(file, *index).err().map(|error| format!("{file}: {error:#}"))
}

fn is_to_be_updated() -> bool {
    #[allow(clippy::disallowed_methods, reason = "a test is told by its environment")]
    std::env::var("UPDATE_REFERENCE").is_ok()
}

#[test]
fn the_committed_schema_is_the_readers() {
    if is_to_be_updated() {
        fs::write(SCHEMA, reference::schema()).unwrap();
    }
    let committed: Value = serde_json::from_str(&fs::read_to_string(SCHEMA).unwrap()).unwrap();
    let expected: Value = serde_json::from_str(&reference::schema()).unwrap();
    assert!(committed == expected, "envoy/meliproxy.schema.json {HINT}");
}

#[test]
fn the_tables_of_the_reference_are_the_readers() {
    let committed = fs::read_to_string(REFERENCE).unwrap();
    let mut expected = committed.clone();
    for (path, table) in reference::tables() {
        let path = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        let begin = format!("<!-- keys of {path} -->\n");
        let (before, rest) = expected.split_once(&begin).unwrap_or_else(|| {
            panic!("docs/configuration.md lacks a line {begin:?}, with {END:?} somewhere below")
        });
        let (_, after) = rest.split_once(END).unwrap();
        expected = format!("{before}{begin}\n{table}\n{END}{after}");
    }
    if is_to_be_updated() {
        fs::write(REFERENCE, &expected).unwrap();
    } else {
        assert!(committed == expected, "docs/configuration.md {HINT}");
    }
    let count = |text: &str| expected.matches(text).count();
    assert_eq!(count("<!-- keys of "), reference::tables().len(), "a table of no object");
    assert_eq!(count(END), reference::tables().len());
}

/// The pointers of all keys of a file, with the schema of each.
fn keys<'s>(schema: &'s Value, file: &Value, at: &str) -> Vec<(String, &'s Value)> {
    let options = schema["anyOf"].as_array().into_iter().flatten();
    let mut found: Vec<_> = options.flat_map(|option| keys(option, file, at)).collect();
    for (index, item) in file.as_array().into_iter().flatten().enumerate() {
        found.extend(keys(&schema["items"], item, &format!("{at}/{index}")));
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        if let (true, Some(inner)) = (file.is_object(), file.get(key)) {
            found.extend(keys(schema, inner, &at));
            found.push((at, schema));
        }
    }
    found
}

#[test]
fn what_is_called_a_default_is_the_default() {
    let schema: Value = serde_json::from_str(&reference::schema()).unwrap();
    let mut checked = 0;
    for (pointer, schema) in keys(&schema, &full(), "") {
        // Rules refer to routes, and a burst goes with its algorithm: neither is left out alone.
        let is_needed = matches!(&*pointer, "/routes" | "/quotas/1/algorithm");
        if let (Some(default), false) = (schema.get("default"), is_needed) {
            assert_eq!(
                parse(&without(&pointer)),
                parse(&with(&pointer, default.clone())),
                "{pointer}"
            );
            checked += 1;
        }
    }
    assert!(checked >= 14, "only {checked} defaults were found");
}

#[test]
fn every_key_has_a_place_in_the_full_file() {
    let schema: Value = serde_json::from_str(&reference::schema()).unwrap();
    let full = full();
    let present = keys(&schema, &full, "");
    for (path, table) in reference::tables() {
        for row in table.lines().skip(2) {
            let key = row.split('`').nth(1).unwrap();
            let is_present =
                present.iter().any(|(pointer, _)| pointer.ends_with(&format!("/{key}")));
            assert!(is_present, "{path}: {key} is tested nowhere");
        }
    }
}

#[test]
fn the_first_example_of_the_reference_is_the_shipped_file_and_a_breaker() {
    let reference = fs::read_to_string(REFERENCE).unwrap();
    let example = reference.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let mut example: Value = serde_json::from_str(example).unwrap();
    assert_eq!(parse(&example).breakers.len(), 1);
    example.as_object_mut().unwrap().remove("breakers");
    assert_eq!(example, serde_json::from_str::<Value>(SHIPPED).unwrap());
}

#[test]
fn an_editor_sees_most_mistakes() {
    assert_eq!(schema_problems(&full()), None);
    for (pointer, value) in [
        ("/quota", json!([])),
        ("/version", json!(2)),
        ("/redis/timeout", json!(20)),
        ("/redis/timeout", json!("1m")),
        ("/redis/transport", json!("callouts")),
        ("/client_address/ipv6_prefix", json!(129)),
        ("/routes/0/name", json!("Items")),
        ("/routes/0/path", json!("items")),
        ("/routes/0/methods", json!(["get"])),
        ("/quotas/0/limits", json!(1)),
        ("/quotas/0/by", json!(["ip"])),
        ("/quotas/0/by", json!(["header:a b"])),
        ("/quotas/0/by", json!(["query:"])),
        ("/quotas/0/by", json!([])),
        ("/quotas/0/limit", json!(0)),
        ("/quotas/0/per", json!("minute")),
        ("/quotas/0/algorithm", json!("leaky")),
        ("/quotas/0/burst", json!(10)),
        ("/quotas/0/precision", json!("lease")),
        ("/quotas/1/per", json!("month")),
        ("/quotas/0/cost", json!(0)),
        ("/quotas/0/cost", json!({"default": 1})),
        ("/quotas/0/overrides/0/match", json!({})),
        ("/quotas/0/overrides/0/match", json!({"ip": "203.0.113.7"})),
        ("/quotas/0/overrides/0/action", json!("exempt")),
        ("/quotas/0/overrides/1/burst", json!(5)),
        ("/quotas/0/on_store_failure", json!("open")),
        ("/quotas/0/shadow", json!("true")),
        ("/quotas/0/enforce_percent", json!(101)),
        ("/quotas/0/refusal/headers", json!({"a b": "c"})),
        ("/quotas/0/refusal/headers", json!({"a": " b"})),
        ("/breakers/0/by", json!(["client_address"])),
        ("/breakers/0/trip", json!({})),
        ("/breakers/0/trip", json!({"slow_percent": 1})),
        ("/breakers/0/trip", json!({"consecutive_failures": 1, "slow_after": "1s"})),
        ("/breakers/0/trip/failure_percent", json!(0)),
        ("/breakers/0/failure_statuses", json!(["3xx"])),
        ("/breakers/0/failure_statuses", json!([200])),
        ("/breakers/0/failure_statuses", json!([])),
        ("/breakers/0/open_for", json!("1d")),
        ("/breakers/0/probes", json!(0)),
        ("/breakers/0/shadow", json!(true)),
        ("/breakers/0/scope", json!("worker")),
        ("/redis/transport", json!("callout")),
        ("/cache/0/profile", json!("rfc7234")),
        ("/cache/0/default_ttl", json!(60)),
        ("/cache/0/default_ttl", json!("60000ms")),
        ("/cache/0/max_object", json!("1GiB")),
        ("/cache/0/max_object", json!("1MB")),
        ("/cache/0/max_object", json!(0)),
        ("/cache/0/max_object", json!(8_388_609)),
        ("/cache/0/key", json!({"query": []})),
        ("/cache/0/key/drop_query", json!(["a*b"])),
        ("/cache/0/key/drop_query", json!([""])),
        ("/cache/0/key/drop_query", json!(["a".repeat(65)])),
        ("/cache/0/key/headers", json!(["a b"])),
        ("/cache/0/key/cookies", json!(["a;b"])),
        ("/cache_memory", json!("16")),
    ] {
        assert!(schema_problems(&with(pointer, value.clone())).is_some(), "{pointer}: {value}");
    }
    for pointer in [
        "/version",
        "/redis",
        "/routes/0/path",
        "/quotas/0/limit",
        "/quotas/0/overrides/0/match",
        "/cache/0/name",
    ] {
        assert!(schema_problems(&without(pointer)).is_some(), "{pointer}");
    }
}
