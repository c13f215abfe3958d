//! The rules that most tests of a fleet run under, and the paths that meet them.

use std::time::Duration;

use serde_json::Value;

/// The deadline of a Redis command that is shipped.
pub const SHIPPED_DEADLINE: &str = "20ms";

/// Two rules: one that traffic never exceeds, although Redis is asked about every request of it, and one to count with.
/// What else there is under `/echo` meets no rule. Redis has to answer within `deadline`.
#[must_use]
pub fn two_rules(deadline: &str) -> String {
    format!(
        r#"{{
  "version": 1,
  "redis": {{"namespace": "test", "timeout": "{deadline}"}},
  "routes": [
    {{"name": "traffic", "path": "/echo/traffic/{{*rest}}"}},
    {{"name": "counted", "path": "/echo/counted/{{*rest}}"}}
  ],
  "quotas": [
    {{"name": "traffic", "routes": ["traffic"], "limit": 1000000000, "per": "365d"}},
    {{"name": "counted", "routes": ["counted"], "by": ["client_address"], "limit": 10, "per": "365d"}}
  ]
}}"#
    )
}

/// A configuration with Redis reached by `transport`.
///
/// # Panics
/// If it is none, or without Redis.
#[must_use]
pub fn reached_by(transport: &str, config: &str) -> String {
    let mut config: Value = serde_json::from_str(config).unwrap();
    let redis = config.get_mut("redis").and_then(Value::as_object_mut).unwrap();
    redis.insert("transport".to_owned(), transport.into());
    config.to_string()
}

/// The path under the rule for what only flows.
pub const TRAFFIC: &str = "/echo/traffic/1";

/// The label of that rule.
pub(super) const TRAFFIC_RULE: &str = r#"rule="traffic""#;

/// The path under the rule to count with.
pub const COUNTED: &str = "/echo/counted/1";

/// Its limit.
pub const COUNTED_LIMIT: usize = 10;

/// Its window.
pub(super) const COUNTED_PER: Duration = Duration::from_secs(365 * 24 * 3600);

/// A path that meets no rule.
pub(super) const UNRULED: &str = "/echo/free/1";
