//! Conditional requests: what the client has already (RFC 9110 §13, RFC 9111 §4.3.2).

use super::date;
use super::fields::{Fields, members};

/// Whether the client has what would be sent: its condition is false.
///
/// `If-None-Match` comes before `If-Modified-Since`, which is held against `Last-Modified`, without that against `Date`,
/// and without that against when the response came.
#[must_use]
pub fn has_it(request: &Fields, response: &Fields, received_s: u64) -> bool {
    if request.has("if-none-match") {
        let stored = response.first("etag");
        let matches = |line| matches_any(line, stored);
        return request.lines("if-none-match").any(matches);
    }
    let since = request.first("if-modified-since").and_then(|text| date::parse(text, received_s));
    let Some(since) = since else { return false };
    let date_of = |name| response.first(name).and_then(|text| date::parse(text, received_s));
    let modified = if response.has("last-modified") {
        date_of("last-modified")
    } else {
        date_of("date").or(Some(received_s))
    };
    modified.is_some_and(|modified| modified <= since)
}

/// Whether a line of entity-tags has this one, by the weak comparison (RFC 9110 §8.8.3.2).
fn matches_any(line: &[u8], stored: Option<&[u8]>) -> bool {
    members(line).any(|tag| {
        tag == b"*" || stored.is_some_and(|stored| opaque(tag) == opaque(stored.trim_ascii()))
    })
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Whether two entity-tags are the same to the byte (RFC 9110 §8.8.3.2).
#[must_use]
pub fn is_same_strong(one: &[u8], other: &[u8]) -> bool {
    one == other && one.starts_with(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    /// Of `LATE`.
    const RECEIVED: u64 = 784_111_778;

    fn has(request: &[(&str, &str)], response: &[(&str, &str)]) -> bool {
        let fields = |lines: &[(&str, &str)]| lines.iter().copied().collect::<Fields>();
        has_it(&fields(request), &fields(response), RECEIVED)
    }

    /// RFC 9110 §13.1.2.
    #[test]
    fn entity_tags_are_compared_weakly() {
        for (condition, etag) in [
            ("\"a\"", "\"a\""),
            ("W/\"a\"", "\"a\""),
            ("\"a\"", "W/\"a\""),
            ("\"x\", \"a\"", "\"a\""),
            ("\"x\", W/\"a\", \"y\"", "\"a\""),
            ("*", "\"a\""),
            ("\"a,b\"", "\"a,b\""),
            ("\"abcdef\u{fc}\"", "\"abcdef\u{fc}\""),
            ("abcdef", "abcdef"),
        ] {
            assert!(has(&[("if-none-match", condition)], &[("etag", etag)]), "{condition} {etag}");
        }
        for (condition, etag) in
            [("\"b\"", "\"a\""), ("w/\"a\"", "\"a\""), ("a", "\"a\""), ("\"a", "\"a\"")]
        {
            assert!(!has(&[("if-none-match", condition)], &[("etag", etag)]), "{condition} {etag}");
        }
        assert!(!has(&[("if-none-match", "\"a\"")], &[]));
    }

    /// RFC 9110 §13.1.3.
    #[test]
    fn dates_are_held_against_what_there_is() {
        let since = |text| ("if-modified-since", text);
        assert!(has(&[since(EARLY)], &[("last-modified", EARLY)]));
        assert!(has(&[since(LATE)], &[("last-modified", EARLY)]));
        assert!(!has(&[since(EARLY)], &[("last-modified", LATE)]));
        assert!(has(&[since("Sunday, 06-Nov-94 08:49:37 GMT")], &[("last-modified", EARLY)]));
        assert!(has(&[since("Sun Nov  6 08:49:37 1994")], &[("last-modified", EARLY)]));
        assert!(has(&[since(EARLY)], &[("date", EARLY)]), "without Last-Modified");
        assert!(!has(&[since(EARLY)], &[("date", LATE)]));
        assert!(has(&[since(LATE)], &[]), "without both");
        assert!(!has(&[since(EARLY)], &[]));
        assert!(!has(&[since("yesterday")], &[("last-modified", EARLY)]));
        assert!(!has(&[since(LATE)], &[("last-modified", "yesterday")]));
        assert!(!has(&[], &[("last-modified", EARLY)]));
    }

    /// RFC 9110 §13.2.2.
    #[test]
    fn tags_come_before_dates() {
        let stored = [("etag", "\"a\""), ("last-modified", LATE)];
        assert!(has(&[("if-none-match", "\"a\""), ("if-modified-since", EARLY)], &stored));
        assert!(!has(&[("if-none-match", "\"b\""), ("if-modified-since", LATE)], &stored));
    }
}
