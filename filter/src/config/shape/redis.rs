//! `redis`: how the store is used.

use std::time::Duration;

use super::super::duration::{DurationRange, Unit, Written};
use super::super::key::{Absent, Key, Object};
use super::super::kind::{Text, Words};
use super::super::reader::Value;
use super::super::{Redis, Transport};
use super::name::is_word;

/// Longest namespace in bytes; it stands in every key.
const MAX_NAMESPACE_BYTES: usize = 32;

const DEFAULT_NAMESPACE: &str = "meli";

const NAMESPACE: Key<Text> = Key {
    name: "namespace",
    doc: "what all keys begin with; replicas of one namespace count together",
    takes: Text {
        allowed: "1 to 32 of a-z, 0-9, _ and -",
        pattern: "^[a-z0-9_-]{1,32}$",
        is_allowed: |text| is_word(text, MAX_NAMESPACE_BYTES),
    },
    absent: Absent::Is(r#""meli""#),
};

/// Long enough for Redis nearby under load, short enough that its loss is not felt.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(20);

const TIMEOUT: Key<DurationRange> = Key {
    name: "timeout",
    doc: "how long a request waits for Redis before it is decided without",
    takes: DurationRange {
        units: &[Unit::Ms, Unit::S],
        min: Written(1, Unit::Ms),
        max: Written(1, Unit::S),
    },
    absent: Absent::Is(r#""20ms""#),
};

pub(super) const TRANSPORT: Key<Words<Transport>> = Key {
    name: "transport",
    doc: "how Redis is reached: `stream` is one long-lived stream of each worker, `callout` a connection for each question",
    takes: Words(&[("stream", Transport::Stream), ("callout", Transport::Callout)]),
    absent: Absent::Is(r#""stream""#),
};

pub(super) const OBJECT: Object =
    Object { keys: &[&NAMESPACE, &TIMEOUT, &TRANSPORT], between: "{}" };

pub(super) fn read(value: &Value<'_>) -> Option<Redis> {
    OBJECT.read(value, |redis| {
        let namespace = NAMESPACE.read_or(redis, DEFAULT_NAMESPACE);
        let timeout = TIMEOUT.read_or(redis, DEFAULT_TIMEOUT);
        let transport = TRANSPORT.read_or(redis, Transport::Stream);
        Some(Redis { namespace: namespace?.to_owned(), timeout: timeout?, transport: transport? })
    })
}
