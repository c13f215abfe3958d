//! Whether a stored response answers a request, and with what (RFC 9111 §4, RFC 5861).

use std::time::Duration;

use super::conditional;
use super::fields::Fields;
use super::range::{self, Part};
use super::request::Request;
use super::stored::Stored;

/// What becomes of a request for which there is a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is answered.
    Answer(Answer),
    /// It is answered, and meanwhile the stored response is validated.
    AnswerAndRefresh(Answer),
    /// The upstream is asked, if it may be.
    Forward(Forward),
}

/// The answer to a request from a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header, but for `Cache-Status` and the length.
    pub fields: Fields,
    /// What of the stored body goes with it. For HEAD it is named, and not sent.
    pub part: Part,
    /// For how many seconds it is fresh still; below zero: since when it is not.
    pub ttl_s: i64,
    /// Whether no body goes with it, as the request is HEAD.
    pub is_head: bool,
}

/// How the upstream is asked although there is a stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Whose wish it is.
    pub cause: Cause,
    /// The fields that ask whether the stored response is still good (RFC 9111 §4.3.1); none if that cannot be asked.
    pub conditions: Vec<(&'static str, Vec<u8>)>,
}

/// Why a stored response is not good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is stale, or has to be validated before each use.
    Stale,
    /// The request wants a fresher one.
    Request,
}

/// Why the upstream has given no answer to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered with a status of 500 or more.
    Status(u16),
    /// It did not answer, or was not asked because its breaker is open.
    Unreachable,
}

/// Fields of a request that are not sent when the stored response is validated: what they are about is looked at
/// afterwards (RFC 9111 §4.3.2).
pub const SET_ASIDE: [&str; 6] =
    ["if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "range", "if-range"];

/// Fields of a 304 (RFC 9110 §15.4.5), and what caches say of themselves.
const OF_NOT_MODIFIED: [&[u8]; 9] = [
    b"cache-control",
    b"content-location",
    b"date",
    b"etag",
    b"expires",
    b"vary",
    b"age",
    b"cache-status",
    b"last-modified",
];

/// What a stored response, which matches the request in key and `Vary`, is for it.
#[must_use]
pub fn reuse(stored: &Stored, request: &Request, now_ms: u64) -> Reuse {
    let directives = &request.directives;
    let (age_s, stale_for_s) = (stored.age_s(now_ms), stored.stale_for_s(now_ms));
    let left_s = stored.lifetime_s.saturating_sub(age_s);
    let is_fresh = stored.is_fresh(now_ms);
    let is_wanted_fresher = directives.no_cache
        || directives.max_age.is_some_and(|most| age_s > most)
        || directives.min_fresh.is_some_and(|least| left_s < least);
    if is_wanted_fresher {
        return Reuse::Forward(forward(stored, Cause::Request));
    }
    if stored.no_cache {
        return Reuse::Forward(forward(stored, Cause::Stale));
    }
    if is_fresh {
        return Reuse::Answer(answer(stored, request, now_ms));
    }
    if stored.forbids_stale {
        return Reuse::Forward(forward(stored, Cause::Stale));
    }
    if stale_for_s < stored.stale_while_revalidate_s {
        return Reuse::AnswerAndRefresh(answer(stored, request, now_ms));
    }
    if directives.max_stale.is_some_and(|most| stale_for_s <= most) {
        return Reuse::Answer(answer(stored, request, now_ms));
    }
    Reuse::Forward(forward(stored, Cause::Stale))
}

/// The answer from a stale response if the upstream has failed, and if that is allowed: by the response for so long, or
/// without a word of it for `grace` if there was no answer at all (RFC 9111 §4.2.4).
#[must_use]
pub fn after_failure(
    stored: &Stored,
    request: &Request,
    now_ms: u64,
    failure: Failure,
    grace: Duration,
) -> Option<Answer> {
    let window_s = match (stored.stale_if_error_s, failure) {
        (Some(seconds), _) => seconds,
        (None, Failure::Unreachable) => grace.as_secs(),
        (None, Failure::Status(_)) => 0,
    };
    let is_error = !matches!(failure, Failure::Status(..500));
    let is_fresh = stored.is_fresh(now_ms) && !stored.no_cache;
    let is_allowed = is_fresh || (!stored.forbids_stale && stored.stale_for_s(now_ms) < window_s);
    (is_error && is_allowed).then(|| answer(stored, request, now_ms))
}

/// The answer from a stored response, whether or not it may be used.
#[must_use]
pub fn answer(stored: &Stored, request: &Request, now_ms: u64) -> Answer {
    let (age_s, is_head) = (stored.age_s(now_ms), request.is_head);
    let received_s = stored.received_ms / 1000;
    let mut fields = stored.fields.clone();
    fields.set("age", age_s.to_string().as_bytes());
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let ttl_s = signed(stored.lifetime_s).saturating_sub(signed(age_s));
    let is_ok = stored.status == 200;
    if is_ok && conditional::has_it(&request.fields, &fields, received_s) {
        fields.retain(|name| OF_NOT_MODIFIED.contains(&name));
        return Answer { status: 304, fields, part: Part::Whole, ttl_s, is_head };
    }
    let part = if is_ok && !is_head {
        range::part(&request.fields, &fields, stored.body_bytes, received_s)
    } else {
        Part::Whole
    };
    let length = stored.body_bytes;
    let (status, content_range) = match part {
        Part::Whole => (stored.status, None),
        Part::Bytes(first, last) => (206, Some(format!("bytes {first}-{last}/{length}"))),
        Part::Unsatisfiable => (416, Some(format!("bytes */{length}"))),
    };
    if let Some(content_range) = content_range {
        fields.set("content-range", content_range.as_bytes());
    }
    Answer { status, fields, part, ttl_s, is_head }
}

/// How a stored response is validated.
#[must_use]
pub fn forward(stored: &Stored, cause: Cause) -> Forward {
    let condition =
        |(name, of): (&'static str, &str)| Some((name, stored.fields.first(of)?.to_vec()));
    let fields = [("if-none-match", "etag"), ("if-modified-since", "last-modified")];
    let conditions = fields.into_iter().filter_map(condition).collect();
    Forward { cause, conditions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::stored::tests::{NOW_MS, stored};

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn request(method: &str, fields: &[(&str, &str)]) -> Request {
        let fields = fields.iter().copied().collect();
        Request::of(method.as_bytes(), b"/a", fields, true, &[]).unwrap()
    }

    fn get(fields: &[(&str, &str)]) -> Request {
        request("GET", fields)
    }

    fn after(seconds: u64) -> u64 {
        NOW_MS + seconds * 1000
    }

    fn kind(reuse: &Reuse) -> &'static str {
        match reuse {
            Reuse::Answer(_) => "answer",
            Reuse::AnswerAndRefresh(_) => "refresh",
            Reuse::Forward(Forward { cause: Cause::Stale, .. }) => "stale",
            Reuse::Forward(Forward { cause: Cause::Request, .. }) => "request",
        }
    }

    fn answered(reuse: Reuse) -> Answer {
        match reuse {
            Reuse::Answer(answer) | Reuse::AnswerAndRefresh(answer) => answer,
            Reuse::Forward(forward) => panic!("{forward:?}"),
        }
    }

    /// RFC 9111 §4.2, §4.2.4, §5.2.2; RFC 5861 §3.
    #[test]
    fn what_the_response_allows() {
        for (control, after_s, expected) in [
            ("max-age=60", 59, "answer"),
            ("max-age=60", 60, "stale"),
            ("max-age=60, no-cache", 0, "stale"),
            ("max-age=60, no-cache=\"a\"", 0, "answer"),
            ("max-age=60, must-revalidate", 59, "answer"),
            ("max-age=60, stale-while-revalidate=30", 89, "refresh"),
            ("max-age=60, stale-while-revalidate=30", 90, "stale"),
            ("max-age=60, stale-while-revalidate=30, must-revalidate", 89, "stale"),
            ("s-maxage=60, stale-while-revalidate=30", 89, "stale"),
            ("max-age=60, immutable", 60, "stale"),
        ] {
            let stored = stored(200, &[("cache-control", control), ("etag", "\"a\"")]);
            assert_eq!(
                kind(&reuse(&stored, &get(&[]), after(after_s))),
                expected,
                "{control} after {after_s} s"
            );
        }
    }

    /// RFC 9111 §5.2.1.
    #[test]
    fn what_the_request_wants() {
        let fresh = stored(200, &[("cache-control", "max-age=60"), ("age", "30")]);
        for (control, after_s, expected) in [
            ("max-age=30", 0, "answer"),
            ("max-age=29", 0, "request"),
            ("max-age=0", 0, "request"),
            ("min-fresh=30", 0, "answer"),
            ("min-fresh=31", 0, "request"),
            ("no-cache", 0, "request"),
            ("no-store", 0, "answer"),
            ("max-stale=5", 35, "answer"),
            ("max-stale=5", 36, "stale"),
            ("max-stale", 10_000, "answer"),
        ] {
            let request = get(&[("cache-control", control)]);
            assert_eq!(
                kind(&reuse(&fresh, &request, after(after_s))),
                expected,
                "{control} after {after_s} s"
            );
        }
        let strict = stored(200, &[("cache-control", "max-age=60, must-revalidate")]);
        assert_eq!(
            kind(&reuse(&strict, &get(&[("cache-control", "max-stale")]), after(61))),
            "stale"
        );
        assert_eq!(kind(&reuse(&fresh, &get(&[("pragma", "no-cache")]), NOW_MS)), "request");
    }

    /// RFC 9111 §4, §5.1.
    #[test]
    fn the_answer_is_what_was_stored_with_its_age() {
        let fields = [
            ("cache-control", "max-age=60"),
            ("date", "Tue, 24 Nov 2026 06:00:00 GMT"),
            ("x", "y"),
        ];
        let stored = stored(299, &fields);
        let answer = answered(reuse(&stored, &get(&[("if-none-match", "*")]), after(5)));
        assert_eq!(
            (answer.status, answer.part, answer.ttl_s),
            (299, Part::Whole, 60 - i64::try_from(stored.age_s(after(5))).unwrap())
        );
        for (name, value) in [("x", "y"), fields[1]] {
            assert_eq!(answer.fields.first(name), Some(value.as_bytes()));
        }
        assert_eq!(answer.fields.first("age"), Some(stored.age_s(after(5)).to_string().as_bytes()));
    }

    /// RFC 9111 §4.3.2, RFC 9110 §15.4.5.
    #[test]
    fn who_has_it_is_told_so() {
        let stored = stored(
            200,
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("vary", "b"),
                ("content-location", "/a.en"),
                ("expires", "0"),
                ("date", "Tue, 24 Nov 2026 06:00:00 GMT"),
                ("content-type", "text/plain"),
                ("set-cookie", "a=b"),
            ],
        );
        for method in ["GET", "HEAD"] {
            let answer =
                answered(reuse(&stored, &request(method, &[("if-none-match", "\"a\"")]), NOW_MS));
            assert_eq!(answer.status, 304);
            let names: Vec<_> = answer.fields.iter().map(|(name, _)| name).collect();
            let expected: [&[u8]; 7] = [
                b"cache-control",
                b"etag",
                b"vary",
                b"content-location",
                b"expires",
                b"date",
                b"age",
            ];
            assert_eq!(names, expected);
        }
        let answer = answered(reuse(&stored, &get(&[("if-none-match", "\"b\"")]), NOW_MS));
        assert_eq!(answer.status, 200);
    }

    /// RFC 9110 §14, §9.3.2.
    #[test]
    fn parts_of_a_whole_one() {
        let stored = stored(200, &[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
        let of =
            |method, range| answered(reuse(&stored, &request(method, &[("range", range)]), NOW_MS));
        let part = of("GET", "bytes=0-1");
        assert_eq!((part.status, part.part), (206, Part::Bytes(0, 1)));
        assert_eq!(part.fields.first("content-range"), Some(&b"bytes 0-1/11"[..]));
        assert_eq!(part.fields.first("etag"), Some(&b"\"a\""[..]));
        let none = of("GET", "bytes=11-");
        assert_eq!((none.status, none.part), (416, Part::Unsatisfiable));
        assert_eq!(none.fields.first("content-range"), Some(&b"bytes */11"[..]));
        assert_eq!(of("GET", "bytes=0-1,3-4").status, 200);
        assert_eq!(of("HEAD", "bytes=0-1").status, 200);
    }

    /// RFC 9111 §4.3.1.
    #[test]
    fn the_upstream_is_asked_by_all_validators() {
        let conditions = |fields: &[(&str, &str)]| {
            let fields = [fields, &[("cache-control", "no-cache, max-age=60")]].concat();
            match reuse(&stored(200, &fields), &get(&[]), NOW_MS) {
                Reuse::Forward(forward) => forward.conditions,
                Reuse::Answer(_) | Reuse::AnswerAndRefresh(_) => panic!(),
            }
        };
        let tag = ("if-none-match", b"W/\"a\"".to_vec());
        let date = ("if-modified-since", MODIFIED.as_bytes().to_vec());
        assert_eq!(conditions(&[("etag", "W/\"a\"")]), std::slice::from_ref(&tag));
        assert_eq!(conditions(&[("last-modified", MODIFIED)]), std::slice::from_ref(&date));
        assert_eq!(conditions(&[("etag", "W/\"a\""), ("last-modified", MODIFIED)]), [tag, date]);
    }

    /// RFC 5861 §4, RFC 9111 §4.2.4.
    #[test]
    fn a_failure_is_bridged_for_as_long_as_allowed() {
        const UNREACHABLE: Failure = Failure::Unreachable;
        const UNAVAILABLE: Failure = Failure::Status(503);
        for (control, after_s, failure, grace_s, is_bridged) in [
            ("max-age=60, stale-if-error=30", 89, UNAVAILABLE, 0, true),
            ("max-age=60, stale-if-error=30", 90, UNAVAILABLE, 0, false),
            ("max-age=60, stale-if-error=30", 89, UNREACHABLE, 0, true),
            ("max-age=60, stale-if-error=30", 90, UNREACHABLE, 100, false),
            ("max-age=60", 61, UNAVAILABLE, 100, false),
            ("max-age=60", 61, UNREACHABLE, 100, true),
            ("max-age=60", 160, UNREACHABLE, 100, false),
            ("max-age=60", 61, UNREACHABLE, 0, false),
            ("max-age=60", 59, UNAVAILABLE, 0, true),
            ("max-age=60, stale-if-error=30", 61, Failure::Status(404), 0, false),
            ("max-age=60, must-revalidate, stale-if-error=30", 61, UNREACHABLE, 100, false),
            ("max-age=60, proxy-revalidate", 61, UNREACHABLE, 100, false),
            ("s-maxage=60", 61, UNREACHABLE, 100, false),
            ("max-age=60, no-cache", 1, UNREACHABLE, 100, false),
        ] {
            let stored = stored(200, &[("cache-control", control), ("etag", "\"a\"")]);
            let grace = Duration::from_secs(grace_s);
            let answer = after_failure(&stored, &get(&[]), after(after_s), failure, grace);
            assert_eq!(answer.is_some(), is_bridged, "{control} after {after_s} s, {failure:?}");
        }
    }
}
