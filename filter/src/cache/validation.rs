//! What the upstream says to the question whether a stored response is still good (RFC 9111 §4.3.3, §4.3.4).

use super::fields::Fields;
use super::freshness::Times;
use super::policy::Policy;
use super::request::Request;
use super::storable::{Refusal, storable};
use super::stored::Stored;

/// Fields of a 304 that do not take the place of stored ones: they are about the content, which it does not have.
const OF_CONTENT: [&str; 3] = ["content-length", "content-encoding", "content-range"];

/// A stored response that is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshened {
    /// It, with the fields of the 304 in the place of its own. It answers the request that it was asked for.
    pub stored: Stored,
    /// Why it must not be stored any more, if so.
    pub refusal: Option<Refusal>,
}

/// The stored response, after a 304 that was asked for.
#[must_use]
pub fn freshen(
    policy: &Policy,
    request: &Request,
    stored: &Stored,
    not_modified: &Fields,
    times: Times,
) -> Freshened {
    let mut news = not_modified.clone();
    news.leave_connection();
    OF_CONTENT.iter().for_each(|name| news.remove(name.as_bytes()));
    let mut fields = stored.fields.clone();
    fields.retain(|name| !news.iter().any(|(of, _)| of == name));
    for (name, value) in news.iter() {
        fields.push(name, value);
    }
    let mut stored = stored.clone();
    match storable(policy, request, stored.status, &fields, times) {
        Ok(storable) => {
            stored.renew(storable, times);
            Freshened { stored, refusal: None }
        }
        Err(refusal) => {
            fields.remove(b"age");
            stored.fields = fields;
            (stored.received_ms, stored.initial_age_s) = (times.received_ms, 0);
            Freshened { stored, refusal: Some(refusal) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::stored::tests::{NOW_MS, stored};

    const LATER: Times = Times { requested_ms: NOW_MS + 61_000, received_ms: NOW_MS + 61_000 };

    fn freshened(before: &[(&str, &str)], news: &[(&str, &str)]) -> (Stored, Option<Refusal>) {
        let request = Request::of(b"GET", b"/a", Fields::default(), true, &[]).unwrap();
        let news = news.iter().copied().collect();
        let Freshened { stored, refusal } =
            freshen(&Policy::default(), &request, &stored(200, before), &news, LATER);
        (stored, refusal)
    }

    #[test]
    fn what_is_sent_replaces_what_was_stored() {
        let (after, refusal) = freshened(
            &[
                ("cache-control", "max-age=60"),
                ("etag", "\"a\""),
                ("content-type", "text/plain"),
                ("content-encoding", "gzip"),
                ("x-kept", "1"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=1"),
            ],
            &[
                ("cache-control", "max-age=3600"),
                ("etag", "\"a\""),
                ("content-type", "text/plain;charset=utf-8"),
                ("content-encoding", "br"),
                ("content-length", "0"),
                ("set-cookie", "a=2"),
                ("x-new", "1"),
                ("connection", "x-hop"),
                ("x-hop", "1"),
            ],
        );
        assert_eq!(refusal, None);
        let all = |name| after.fields.lines(name).collect::<Vec<_>>();
        assert_eq!(all("content-type"), [b"text/plain;charset=utf-8"]);
        assert_eq!(all("content-encoding"), [b"gzip"]);
        assert_eq!(all("set-cookie"), [b"a=2"]);
        assert_eq!(all("x-kept"), [b"1"]);
        assert_eq!(all("x-new"), [b"1"]);
        assert!(!after.fields.has("x-hop") && !after.fields.has("content-length"));
        assert_eq!((after.lifetime_s, after.age_s(LATER.received_ms)), (3600, 0));
        assert!(after.is_fresh(LATER.received_ms));
        assert_eq!(after.body_bytes, 11, "the body is the one that was stored");
    }

    #[test]
    fn without_a_word_about_it_the_freshness_is_that_of_before() {
        let (after, _) = freshened(&[("cache-control", "max-age=60"), ("etag", "\"a\"")], &[]);
        assert_eq!((after.lifetime_s, after.age_s(LATER.received_ms)), (60, 0));
    }

    #[test]
    fn it_may_forbid_to_store_it_any_more() {
        let before = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
        let (answers, refusal) = freshened(&before, &[("cache-control", "no-store")]);
        assert_eq!(refusal, Some(Refusal::NoStore));
        assert_eq!(answers.fields.first("cache-control"), Some(&b"no-store"[..]));
        assert_eq!(answers.age_s(LATER.received_ms), 0);
    }
}
