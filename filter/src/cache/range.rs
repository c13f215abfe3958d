//! Part of a stored response (RFC 9110 §14).

use super::conditional::is_same_strong;
use super::date;
use super::fields::Fields;

/// What of a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From the first byte to the last one, both included.
    Bytes(u64, u64),
    /// Nothing: there is nothing where the client wants some.
    Unsatisfiable,
}

/// What a request wants of a body of `length` bytes. Of several ranges, and of what is no range, all is sent, as a
/// server may.
#[must_use]
pub fn part(request: &Fields, response: &Fields, length: u64, now_s: u64) -> Part {
    let mut lines = request.lines("range");
    let (Some(line), None) = (lines.next(), lines.next()) else { return Part::Whole };
    if !is_allowed(request, response, now_s) {
        return Part::Whole;
    }
    let Some((first, last)) = bytes_unit(line).and_then(parse) else { return Part::Whole };
    let end = length.checked_sub(1);
    match (first, last, end) {
        (None, Some(0), _) | (_, _, None) => Part::Unsatisfiable,
        (None, Some(suffix), Some(end)) => Part::Bytes(length.saturating_sub(suffix), end),
        (Some(first), _, Some(end)) if first > end => Part::Unsatisfiable,
        (Some(first), last, Some(end)) => Part::Bytes(first, last.unwrap_or(end).min(end)),
        (None, None, Some(_)) => Part::Whole,
    }
}

fn bytes_unit(line: &[u8]) -> Option<&[u8]> {
    let (unit, rest) = line.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(rest)
}

/// First and last of one range; of a suffix range only the length, as the last.
fn parse(range: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let mut halves = range.split(|byte| *byte == b'-');
    let (first, last) = (halves.next()?.trim_ascii(), halves.next()?.trim_ascii());
    if halves.next().is_some() || (first.is_empty() && last.is_empty()) {
        return None;
    }
    let number = |text: &[u8]| {
        if text.is_empty() { Some(None) } else { super::directives::delta_seconds(text).map(Some) }
    };
    let (first, last) = (number(first)?, number(last)?);
    let is_backwards = matches!((first, last), (Some(first), Some(last)) if first > last);
    (!is_backwards).then_some((first, last))
}

/// Whether the client has the same response of which it wants a part: by a strong entity-tag, or a date that was long
/// over when the response was made (RFC 9110 §13.1.5, §8.8.2.2).
fn is_allowed(request: &Fields, response: &Fields, now_s: u64) -> bool {
    let Some(condition) = request.first("if-range") else { return true };
    if condition.contains(&b'"') {
        return response.first("etag").is_some_and(|etag| is_same_strong(condition, etag));
    }
    let dates = [Some(condition), response.first("last-modified"), response.first("date")];
    let [Some(condition), Some(modified), Some(date)] =
        dates.map(|text| text.and_then(|text| date::parse(text, now_s)))
    else {
        return false;
    };
    condition == modified && date.saturating_sub(modified) >= STRONG_AFTER_S
}

/// How much older than its response a `Last-Modified` has to be to tell any two versions apart.
const STRONG_AFTER_S: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    fn wanted(range: &str, length: u64) -> Part {
        let request = [("range", range)].into_iter().collect();
        part(&request, &Fields::default(), length, 0)
    }

    #[test]
    fn one_range_of_bytes_is_sent() {
        for (range, expected) in [
            ("bytes=0-1", Part::Bytes(0, 1)),
            ("Bytes=0-0", Part::Bytes(0, 0)),
            ("bytes=1-", Part::Bytes(1, 10)),
            ("bytes=10-10", Part::Bytes(10, 10)),
            ("bytes=5-99999999999999999999", Part::Bytes(5, 10)),
            ("bytes=-1", Part::Bytes(10, 10)),
            ("bytes=-99", Part::Bytes(0, 10)),
            ("bytes=11-", Part::Unsatisfiable),
            ("bytes=11-12", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
        ] {
            assert_eq!(wanted(range, 11), expected, "{range}");
        }
        assert_eq!(wanted("bytes=0-1", 0), Part::Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Part::Unsatisfiable);
    }

    #[test]
    fn of_anything_else_all_is_sent() {
        for range in [
            "bytes=0-1,3-4",
            "bytes=1-0",
            "bytes=-",
            "bytes=a-b",
            "bytes=--1",
            "items=0-1",
            "bytes",
            "",
        ] {
            assert_eq!(wanted(range, 11), Part::Whole, "{range}");
        }
        assert_eq!(part(&Fields::default(), &Fields::default(), 11, 0), Part::Whole);
        let twice = [("range", "bytes=0-1"), ("range", "bytes=0-1")].into_iter().collect();
        assert_eq!(part(&twice, &Fields::default(), 11, 0), Part::Whole);
    }

    /// RFC 9110 §13.1.5.
    #[test]
    fn only_of_the_response_that_the_client_has() {
        let response = [("etag", "\"a\""), ("last-modified", MODIFIED), ("date", LATER)];
        let of = |condition: &str, response: &[(&str, &str)]| {
            let request = [("range", "bytes=0-1"), ("if-range", condition)].into_iter().collect();
            part(&request, &response.iter().copied().collect(), 11, 0) != Part::Whole
        };
        assert!(of("\"a\"", &response));
        assert!(of(MODIFIED, &response));
        assert!(!of("\"b\"", &response));
        assert!(!of("W/\"a\"", &response));
        assert!(!of("W/\"a\"", &[("etag", "W/\"a\"")]));
        assert!(!of(LATER, &response));
        assert!(!of(MODIFIED, &[("last-modified", MODIFIED), ("date", MODIFIED)]), "a weak one");
        assert!(!of("nonsense", &response));
    }
}
