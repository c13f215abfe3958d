//! `cache[].key`: what requests have to agree in to be answered by one stored response.

use super::super::key::{Absent, Key, Object, Reads};
use super::super::kind::{Flag, List, Text};
use super::super::reader::Value;
use super::headers::is_of_connection;
use super::key_part::{COOKIE_NAME, FIELD_NAME};
use crate::cache::policy::KeyOptions;

const DROP_QUERY: Key<List<Text>> = Key {
    name: "drop_query",
    doc: "query parameters that do not count; a name that ends in `*` means all that begin so",
    takes: List { length: 0..=64, of: "parameters", item: PARAMETER },
    absent: Absent::Is("[]"),
};

/// Longest name of a parameter in bytes.
const MAX_PARAMETER_BYTES: usize = 64;

/// What a query can have as a name: it is compared as it stands there, so a name with anything else would never match.
const PARAMETER: Text = Text {
    allowed: "the name of a parameter as it stands in the query: 1 to 64 visible ASCII characters without & = and #, \
              with * only at its end",
    pattern: r##"^([!"$%'-)+-<>-~]{1,64}|[!"$%'-)+-<>-~]{0,63}\*)$"##,
    is_allowed: |text| {
        let name = text.strip_suffix('*').unwrap_or(text);
        (1..=MAX_PARAMETER_BYTES).contains(&text.len())
            && name.bytes().all(|c| matches!(c, b'!'..=b'~') && !b"&=#*".contains(&c))
    },
};

const SORT_QUERY: Key<Flag> = Key {
    name: "sort_query",
    doc: "whether the order of query parameters does not count, but for those of one name",
    takes: Flag,
    absent: Absent::Is("false"),
};

const HEADERS: Key<List<Text>> = Key {
    name: "headers",
    doc: "request header fields that count, in any case; some never do, see below",
    takes: List { length: 0..=16, of: "fields", item: FIELD_NAME },
    absent: Absent::Is("[]"),
};

/// Fields that have a rule of their own, in the key or in RFC 9111: credentials, parts, and what is said to caches. So
/// have those of the connection, and conditions.
const UNKEYED: [&str; 5] = ["authorization", "cookie", "range", "cache-control", "pragma"];

/// What the names of conditions begin with (RFC 9110 §13.1).
const CONDITION_PREFIX: &str = "if-";

const COOKIES: Key<List<Text>> = Key {
    name: "cookies",
    doc: "cookies that count",
    takes: List { length: 0..=16, of: "cookies", item: COOKIE_NAME },
    absent: Absent::Is("[]"),
};

pub(super) const KEY: Key<Object> = Key {
    name: "key",
    doc: "what of a request counts beside scheme, host, path and query",
    takes: Object { keys: &[&DROP_QUERY, &SORT_QUERY, &HEADERS, &COOKIES], between: "{}" },
    absent: Absent::Is("{}"),
};

pub(super) fn read(value: &Value<'_>) -> Option<KeyOptions> {
    KEY.takes.read(value, |key| {
        let drop_query = DROP_QUERY.of(key).or(Vec::new(), |list| read_names(&DROP_QUERY, list));
        let sort_query = SORT_QUERY.read_or(key, false);
        let headers = HEADERS.of(key);
        let headers = headers.or(Vec::new(), |list| HEADERS.takes.distinct(list, read_field));
        let cookies = COOKIES.of(key).or(Vec::new(), |list| read_names(&COOKIES, list));
        Some(KeyOptions {
            drop_query: drop_query?,
            sort_query: sort_query?,
            headers: headers?,
            cookies: cookies?,
        })
    })
}

/// Reads names as they are written.
fn read_names(key: &Key<List<Text>>, list: &Value<'_>) -> Option<Vec<String>> {
    key.takes.distinct(list, |value| key.takes.item.read(value).map(ToOwned::to_owned))
}

/// Reads the name of a field, in lower case.
fn read_field(value: &Value<'_>) -> Option<String> {
    let name = FIELD_NAME.read(value)?.to_ascii_lowercase();
    let is_unkeyed = UNKEYED.contains(&&*name) || name.starts_with(CONDITION_PREFIX);
    if is_unkeyed || is_of_connection(&name) {
        return value.refuse(
            "a field that is not about the connection, caches, conditions, ranges, cookies or \
             authorization",
        );
    }
    Some(name)
}
