//! Names that the file gives to its routes, rules, breakers and cache policies, and refers to them by.

use super::super::RouteIndex;
use super::super::kind::Text;
use super::super::reader::{Value, did_you_mean, words_listed};

/// Longest such name in bytes: one label of a host name (RFC 1035 §2.3.4), as orchestrators have it.
const MAX_NAME_BYTES: usize = 63;

/// The name of a route, rule, breaker or cache policy.
pub(super) const NAME: Text = Text {
    allowed: "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit",
    pattern: "^[a-z0-9][a-z0-9_-]{0,62}$",
    is_allowed: |text| is_word(text, MAX_NAME_BYTES) && !text.starts_with(['_', '-']),
};

/// A text that names a route.
pub(super) const ROUTE_NAME: Text =
    Text { allowed: "the name of a route", pattern: "", is_allowed: |_| true };

/// Whether `text` is 1 to `max_bytes` lower-case letters, digits, `_` and `-`.
pub(super) fn is_word(text: &str, max_bytes: usize) -> bool {
    let is_allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (1..=max_bytes).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// What `read` makes of each object of a list.
pub(super) fn read_each<'d, T>(
    values: &[Value<'d>],
    read: impl Fn(&Value<'d>) -> Option<T>,
) -> Vec<Option<T>> {
    values.iter().map(read).collect()
}

/// The names that the objects of a list give themselves, whatever else is wrong with them. Repeated ones are refused.
pub(super) fn read_names<'d>(values: &[Value<'d>]) -> Vec<Option<&'d str>> {
    let mut names = Vec::with_capacity(values.len());
    for value in values {
        let member = value.member("name");
        let name = member.as_text();
        let earlier = values.iter().zip(&names).find(|(_, earlier)| **earlier == name);
        if let (Some(_), Some((earlier, _))) = (name, earlier) {
            member.refuse_found::<()>(
                format!("{} as in {}", member.found(), earlier.path()),
                "a name of its own",
            );
        }
        names.push(name);
    }
    names
}

/// The route that `name` names, which `value` is or says.
pub(super) fn find_route(
    value: &Value<'_>,
    name: &str,
    names: &[Option<&str>],
) -> Option<RouteIndex> {
    if let Some(index) = names.iter().position(|candidate| *candidate == Some(name)) {
        return Some(index);
    }
    let known: Vec<_> = names.iter().flatten().copied().collect();
    let found = format!("{}{}", value.found(), did_you_mean(name, &known));
    if known.is_empty() {
        value.refuse_found(found, "the name of a route, of which there are none")
    } else {
        value.refuse_found(found, format!("the name of a route: {}", words_listed(known)))
    }
}
