//! The shape of a configuration file: which keys there are, what each takes, and what has to hold between them.

mod answers;
mod block;
mod breaker;
mod cache;
mod cache_key;
mod cost;
mod headers;
mod key_part;
mod name;
mod overrides;
mod redis;
mod route;
mod rule;
mod statuses;
mod trip;

use std::ops::RangeInclusive;

use self::name::{read_each, read_names};
use super::error::{ConfigErrors, Problems};
use super::json::Node;
use super::key::{Absent, Key, Object};
use super::kind::{List, Text, Whole};
use super::reader::{Members, Value};
use super::size::{SizeRange, Unit, Written};
use super::{ClientAddress, Config};

/// The version of this shape.
const VERSION: Key<Whole<u64>> = Key {
    name: "version",
    doc: "version of this shape",
    takes: Whole::new(1..=1),
    absent: Absent::Refused,
};

const REDIS: Key<Object> = Key {
    name: "redis",
    doc: "the store that all replicas share",
    takes: redis::OBJECT,
    absent: Absent::Means("each process counts for itself"),
};

const CLIENT_ADDRESS: Key<Object> = Key {
    name: "client_address",
    doc: "how clients are told apart",
    takes: Object { keys: &[&IPV6_PREFIX], between: "{}" },
    absent: Absent::Is("{}"),
};

const DEFAULT_CLIENT_ADDRESS: ClientAddress = ClientAddress { ipv6_prefix: 64 };

const IPV6_PREFIX: Key<Whole<u8>> = Key {
    name: "ipv6_prefix",
    doc: "IPv6 addresses that agree in so many leading bits are one client",
    takes: Whole::new(1..=128),
    absent: Absent::Is("64"),
};

/// Each route, rule, breaker and cache policy has metrics of its own, and every rule of a request is asked of Redis.
const LENGTH: RangeInclusive<usize> = 0..=256;

const ROUTES: Key<List<Object>> = Key {
    name: "routes",
    doc: "kinds of requests, for rules, breakers and cache policies to refer to",
    takes: List { length: LENGTH, of: "routes", item: route::OBJECT },
    absent: Absent::Is("[]"),
};

const QUOTAS: Key<List<Object>> = Key {
    name: "quotas",
    doc: "the rules",
    takes: List { length: LENGTH, of: "rules", item: rule::OBJECT },
    absent: Absent::Is("[]"),
};

const BREAKERS: Key<List<Object>> = Key {
    name: "breakers",
    doc: "when requests are kept from an upstream that fails",
    takes: List { length: LENGTH, of: "breakers", item: breaker::OBJECT },
    absent: Absent::Is("[]"),
};

const CACHE: Key<List<Object>> = Key {
    name: "cache",
    doc: "which responses are stored in Redis for all replicas, and used again",
    takes: List { length: LENGTH, of: "policies", item: cache::OBJECT },
    absent: Absent::Is("[]"),
};

const CACHE_MEMORY: Key<SizeRange> = Key {
    name: "cache_memory",
    doc: "bytes of responses that each worker keeps in its memory beside Redis; with 0 none",
    takes: SizeRange {
        units: &[Unit::Bytes, Unit::Kib, Unit::Mib, Unit::Gib],
        min: Written(0, Unit::Bytes),
        max: Written(1, Unit::Gib),
    },
    absent: Absent::Is(r#""16MiB""#),
};

const DEFAULT_CACHE_MEMORY_BYTES: u64 = 16 << 20;

const SCHEMA: Key<Text> = Key {
    name: "$schema",
    doc: "where an editor finds the schema of this file; read by editors only",
    takes: Text { allowed: "a text", pattern: "", is_allowed: |_| true },
    absent: Absent::Means("none"),
};

/// The whole file.
pub(super) const OBJECT: Object = Object {
    keys: &[
        &VERSION,
        &REDIS,
        &CLIENT_ADDRESS,
        &ROUTES,
        &QUOTAS,
        &BREAKERS,
        &CACHE,
        &CACHE_MEMORY,
        &answers::RESPONSE_FIELDS,
        &SCHEMA,
    ],
    between: r#"{
        "if": {"properties": {"cache": {"minItems": 1}}, "required": ["cache"]},
        "then": {
            "properties": {"redis": {"properties": {"transport": {"const": "stream"}}}},
            "required": ["redis"]
        }
    }"#,
};

/// Reads the configuration out of a whole file.
pub(super) fn read(file: &Node) -> Result<Config, ConfigErrors> {
    let problems = Problems::default();
    let config = OBJECT.read(&Value::root(file, &problems), read_config);
    let errors = problems.into_errors();
    match config {
        Some(config) if errors.problems().is_empty() => Ok(config),
        Some(_) | None => Err(errors),
    }
}

fn read_config(file: &mut Members<'_, '_>) -> Option<Config> {
    let version = VERSION.read(file);
    let redis_value = REDIS.of(file);
    let redis = redis_value.optional(redis::read);
    let client_address = CLIENT_ADDRESS.of(file).or(DEFAULT_CLIENT_ADDRESS, read_client_address);
    let routes = ROUTES.of(file).or(Vec::new(), |list| ROUTES.takes.items(list));
    let rules = QUOTAS.of(file).or(Vec::new(), |list| QUOTAS.takes.items(list));
    let breakers = BREAKERS.of(file).or(Vec::new(), |list| BREAKERS.takes.items(list));
    let cache_value = CACHE.of(file);
    let cache = cache_value.or(Vec::new(), |list| CACHE.takes.items(list));
    let cache_memory_bytes = CACHE_MEMORY.read_or(file, DEFAULT_CACHE_MEMORY_BYTES);
    let response_fields = answers::RESPONSE_FIELDS
        .of(file)
        .or(answers::DEFAULT_FIELDS, answers::read_response_fields);
    let schema = SCHEMA.read_or(file, "");

    let route_names = routes.as_deref().map(read_names);
    let routes = routes.as_deref().and_then(route::read_all);
    let rules = rules.as_deref().and_then(|rules| {
        read_names(rules);
        let ipv6_prefix = client_address.map(|address| address.ipv6_prefix);
        read_each(rules, |rule| rule::read(rule, route_names.as_deref(), ipv6_prefix))
            .into_iter()
            .collect()
    });
    let breakers = breakers.as_deref().and_then(|breakers| {
        read_names(breakers);
        let has_redis = redis_value.is_present();
        read_each(breakers, |breaker| breaker::read(breaker, route_names.as_deref(), has_redis))
            .into_iter()
            .collect()
    });
    let cache = cache.as_deref().and_then(|policies| {
        read_names(policies);
        if !policies.is_empty() {
            cache::refuse_without_stream(&cache_value, &redis_value);
        }
        cache::read_all(policies, route_names.as_deref())
    });

    version?;
    schema?;
    Some(Config {
        redis: redis?,
        client_address: client_address?,
        routes: routes?,
        rules: rules?,
        breakers: breakers?,
        cache: cache?,
        cache_memory_bytes: cache_memory_bytes?,
        response_fields: response_fields?,
    })
}

fn read_client_address(value: &Value<'_>) -> Option<ClientAddress> {
    CLIENT_ADDRESS.takes.read(value, |address| {
        let ipv6_prefix = IPV6_PREFIX.read_or(address, DEFAULT_CLIENT_ADDRESS.ipv6_prefix);
        Some(ClientAddress { ipv6_prefix: ipv6_prefix? })
    })
}
