//! The file that most tests change, in one place each.

use serde_json::{Value, json};

/// A file in which every setting is present and good.
pub(super) fn full() -> Value {
    json!({
        "version": 1,
        "redis": {"namespace": "meli", "timeout": "20ms", "transport": "stream"},
        "client_address": {"ipv6_prefix": 64},
        "routes": [
            {"name": "items", "path": "/items/{id}", "methods": ["GET", "HEAD"]},
            {"name": "rest", "path": "/{*rest}"},
        ],
        "quotas": [{
            "name": "origin-items",
            "routes": ["items"],
            "by": ["client_address"],
            "limit": 10,
            "per": "1m",
            "algorithm": "fixed_window",
            "cost": {"header": "x-cost", "default": 1},
            "overrides": [
                {"match": {"client_address": "203.0.113.0/24"}, "limit": 20},
                {"match": {"client_address": "2001:db8::/48"}, "action": "exempt"},
            ],
            "on_store_failure": "local",
            "shadow": false,
            "enforce_percent": 100,
            "refusal": {
                "status": 429,
                "headers": {"X-Own": "1"},
                "content_type": "text/plain",
                "body": "later",
            },
        }, {
            "name": "bursts",
            "by": ["header:x-api-key", "cookie:session", "query:q"],
            "limit": 10,
            "per": "1m",
            "algorithm": "token_bucket",
            "precision": "leased",
            "burst": 20,
            "overrides": [{"match": {"header:x-api-key": "partner"}, "limit": 20, "burst": 30}],
        }],
        "breakers": [{
            "name": "items",
            "routes": ["items"],
            "by": ["route"],
            "trip": {
                "consecutive_failures": 5,
                "failure_percent": 50,
                "slow_percent": 80,
                "slow_after": "2s",
                "window": "10s",
                "minimum_calls": 20,
            },
            "failure_statuses": ["5xx"],
            "open_for": "30s",
            "max_open_for": "5m",
            "obey_retry_after": false,
            "probes": 1,
            "probe_timeout": "10s",
            "close_after": 1,
            "ramp": "10s",
            "scope": "fleet",
            "force": "closed",
            "shadow": false,
            "refusal": {
                "status": 503,
                "headers": {"X-Own": "1"},
                "content_type": "text/plain",
                "body": "later",
            },
        }, {
            "name": "bare",
        }],
        "cache": [{
            "name": "items",
            "routes": ["items"],
            "profile": "rfc9111",
            "default_ttl": "60s",
            "max_ttl": "1d",
            "max_object": "1MiB",
            "stale_if_error": "10m",
            "key": {
                "drop_query": ["utm_*", "fbclid"],
                "sort_query": true,
                "headers": ["Accept-Version"],
                "cookies": ["currency"],
            },
        }, {
            "name": "bare",
        }],
        "cache_memory": "16MiB",
        "response_fields": ["ratelimit"],
        "$schema": "meliproxy.schema.json",
    })
}

/// [`full`] with the value at a JSON pointer replaced, or its last member added.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut file = full();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = file.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        _ => parent[key] = value,
    }
    file
}

/// [`full`] without the member at a JSON pointer.
pub(super) fn without(pointer: &str) -> Value {
    let mut file = full();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    file.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    file
}
