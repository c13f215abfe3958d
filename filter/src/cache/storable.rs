//! Which responses may be stored (RFC 9111 §3).

use super::directives::Extent;
use super::fields::Fields;
use super::freshness::{Freshness, Source, Times, is_heuristically_cacheable, is_of_one_request};
use super::invalidation;
use super::key::Target;
use super::policy::{Policy, Profile};
use super::request::Request;
use super::targeted;
use super::vary::Names;

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is no final response, a part of one, or one of which more would have to be understood.
    Status,
    /// It says so.
    NoStore,
    /// The request says so.
    RequestNoStore,
    /// It is for one user.
    Private,
    /// The request was authorized, and the response does not say that it is for others too (RFC 9111 §3.5).
    Authorization,
    /// It sets a cookie, and the profile is strict.
    SetCookie,
    /// It varies on what no request tells, or on too much.
    Vary,
    /// It could never be used again: neither fresh for a time, nor with a validator, nor good when stale.
    Unusable,
    /// Its body is too large.
    TooLarge,
    /// Its body was not whole (RFC 9111 §3.3).
    Incomplete,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Status,
        Self::NoStore,
        Self::RequestNoStore,
        Self::Private,
        Self::Authorization,
        Self::SetCookie,
        Self::Vary,
        Self::Unusable,
        Self::TooLarge,
        Self::Incomplete,
    ];

    /// As a label of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::Vary => "vary",
            Self::Unusable => "unusable",
            Self::TooLarge => "too-large",
            Self::Incomplete => "incomplete",
        }
    }
}

/// A response that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storable {
    /// What of its header is stored.
    pub fields: Fields,
    /// For how long it is fresh.
    pub freshness: Freshness,
    /// What it varies on.
    pub vary: Names,
}

/// Fields that are not stored: they are made anew whenever a response is used, or are about one response only.
const NOT_STORED: [&str; 8] = [
    "age",
    "content-length",
    "x-envoy-upstream-service-time",
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// Statuses of which more is understood than that they are final: what `must-understand` asks for (RFC 9111 §5.2.2.3).
const UNDERSTOOD: [u16; 21] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 414, 451, 500, 501,
    502, 503,
];

/// Whether the response to a GET may be stored, as far as its header tells.
///
/// # Errors
///
/// Why not.
pub fn storable(
    policy: &Policy,
    request: &Request,
    status: u16,
    fields: &Fields,
    times: Times,
) -> Result<Storable, Refusal> {
    let freshness = Freshness::of(policy, status, fields, times);
    let directives = &freshness.directives;
    if !(200..600).contains(&status) || is_of_one_request(status) {
        return Err(Refusal::Status);
    }
    if request.directives.no_store {
        return Err(Refusal::RequestNoStore);
    }
    if directives.must_understand {
        if !UNDERSTOOD.contains(&status) {
            return Err(Refusal::Status);
        }
    } else if directives.no_store {
        return Err(Refusal::NoStore);
    }
    if directives.private == Extent::Whole {
        return Err(Refusal::Private);
    }
    let is_for_all = directives.public || directives.s_maxage.is_some();
    if request.fields.has("authorization") && !is_for_all && !directives.must_revalidate {
        return Err(Refusal::Authorization);
    }
    let is_for_caches = is_for_all || targeted::directives(fields).is_some();
    if policy.profile == Profile::Strict && fields.has("set-cookie") && !is_for_caches {
        return Err(Refusal::SetCookie);
    }
    let vary = Names::of(fields).ok_or(Refusal::Vary)?;
    let length = fields.first("content-length").and_then(super::directives::delta_seconds);
    if length.is_some_and(|length| length > policy.max_object_bytes) {
        return Err(Refusal::TooLarge);
    }
    if !is_usable(policy, status, fields, &freshness) {
        return Err(Refusal::Unusable);
    }
    let fields = kept(fields, &freshness);
    Ok(Storable { fields, freshness, vary })
}

/// Whether the response to a POST answers later GETs of its target: it says that it is what is there, and for how long
/// (RFC 9110 §9.3.3).
#[must_use]
pub fn stands_for_target(target: Target<'_>, storable: &Storable) -> bool {
    let location = storable.fields.first("content-location").map(<[u8]>::trim_ascii);
    let path = location.and_then(|location| invalidation::resolve(target, location));
    path.is_some_and(|path| path == target.path) && storable.freshness.source == Source::Explicit
}

fn is_usable(policy: &Policy, status: u16, fields: &Fields, freshness: &Freshness) -> bool {
    let directives = &freshness.directives;
    let is_allowed = freshness.source == Source::Explicit
        || directives.public
        || is_heuristically_cacheable(status);
    let has_validator = fields.has("etag") || fields.has("last-modified");
    let is_fresh = freshness.lifetime_s > freshness.initial_age_s && !freshness.is_no_cache();
    let windows = [directives.stale_while_revalidate, directives.stale_if_error];
    let grace = windows.into_iter().flatten().any(|seconds| seconds > 0)
        || (!policy.stale_if_error.is_zero() && freshness.source != Source::None);
    is_allowed && (is_fresh || has_validator || (grace && !directives.forbids_stale()))
}

/// What of a header is stored: not what is about the connection, nor what the response wants to be kept out of caches.
pub(super) fn kept(fields: &Fields, freshness: &Freshness) -> Fields {
    let mut kept = fields.clone();
    kept.leave_connection();
    let directives = &freshness.directives;
    let named = [directives.no_cache.fields(), directives.private.fields()].concat();
    kept.space("cache-control");
    kept.retain(|name| {
        !NOT_STORED.iter().any(|of| of.as_bytes() == name) && !named.iter().any(|of| of == name)
    });
    kept
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::directives;

    const TIMES: Times = Times { requested_ms: 1_795_500_000_000, received_ms: 1_795_500_000_000 };

    fn get(fields: &[(&str, &str)]) -> Request {
        let fields: Fields = fields.iter().copied().collect();
        let directives = directives::Request::of(&fields);
        Request { is_head: false, directives, fields }
    }

    fn of(status: u16, fields: &[(&str, &str)]) -> Result<Storable, Refusal> {
        judge(&Policy::default(), &[], status, fields)
    }

    fn judge(
        policy: &Policy,
        request: &[(&str, &str)],
        status: u16,
        fields: &[(&str, &str)],
    ) -> Result<Storable, Refusal> {
        storable(policy, &get(request), status, &fields.iter().copied().collect(), TIMES)
    }

    fn refusal(result: Result<Storable, Refusal>) -> Refusal {
        result.map(|storable| storable.fields).unwrap_err()
    }

    /// RFC 9111 §3: any final status, if the response says for how long.
    #[test]
    fn any_final_status_with_explicit_freshness() {
        for status in [
            200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504,
            599,
        ] {
            assert!(of(status, &[("cache-control", "max-age=60")]).is_ok(), "{status}");
        }
        for status in [100, 102, 103, 199, 206, 304, 412, 416, 417, 431, 600, 0] {
            assert_eq!(
                refusal(of(status, &[("cache-control", "max-age=60")])),
                Refusal::Status,
                "{status}"
            );
        }
    }

    /// RFC 9111 §4.2.2, RFC 9110 §15.1.
    #[test]
    fn without_it_those_that_are_cacheable_by_heuristics() {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
            assert!(of(status, &[modified]).is_ok(), "{status}");
        }
        for status in [201, 302, 307, 400, 403, 500, 503, 599] {
            assert_eq!(refusal(of(status, &[modified])), Refusal::Unusable, "{status}");
            assert!(
                of(status, &[modified, ("cache-control", "public")]).is_ok(),
                "{status}, public"
            );
        }
    }

    #[test]
    fn what_could_never_be_used_is_not_stored() {
        for fields in [
            &[][..],
            &[("cache-control", "max-age=0")],
            &[("cache-control", "max-age=60"), ("age", "60")],
            &[("cache-control", "no-cache, max-age=60")],
            &[("cache-control", "max-age=0, stale-if-error=60, must-revalidate")],
            &[("expires", "0")],
        ] {
            assert_eq!(refusal(of(200, fields)), Refusal::Unusable, "{fields:?}");
        }
        for fields in [
            &[("etag", "\"a\"")][..],
            &[("cache-control", "no-cache"), ("etag", "\"a\"")],
            &[("cache-control", "max-age=0"), ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            &[("cache-control", "max-age=0, stale-if-error=60")],
            &[("cache-control", "max-age=0, stale-while-revalidate=60")],
        ] {
            assert!(of(200, fields).is_ok(), "{fields:?}");
        }
        let graceful = Policy { stale_if_error: Duration::from_secs(60), ..Policy::default() };
        assert!(judge(&graceful, &[], 200, &[("cache-control", "max-age=0")]).is_ok());
        assert!(judge(&graceful, &[], 200, &[]).is_err());
    }

    /// RFC 9111 §5.2.2.
    #[test]
    fn the_response_may_refuse() {
        for (control, expected) in [
            ("no-store", Refusal::NoStore),
            ("max-age=60, No-StOrE", Refusal::NoStore),
            ("private, max-age=60", Refusal::Private),
            ("private=\"a\", private, max-age=60", Refusal::Private),
        ] {
            assert_eq!(refusal(of(200, &[("cache-control", control)])), expected, "{control}");
        }
        let targeted = [("cache-control", "max-age=60"), ("cdn-cache-control", "no-store")];
        assert_eq!(refusal(of(200, &targeted)), Refusal::NoStore);
        assert!(
            of(200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")]).is_ok()
        );
        assert_eq!(
            refusal(judge(
                &Policy::default(),
                &[("cache-control", "no-store")],
                200,
                &[("cache-control", "max-age=60")]
            )),
            Refusal::RequestNoStore
        );
    }

    /// RFC 9111 §5.2.2.3.
    #[test]
    fn what_has_to_be_understood_is_stored_if_it_is() {
        let control = [("cache-control", "no-store, must-understand, max-age=60")];
        assert!(of(200, &control).is_ok());
        assert_eq!(refusal(of(299, &control)), Refusal::Status);
        assert_eq!(
            refusal(of(299, &[("cache-control", "must-understand, max-age=60")])),
            Refusal::Status
        );
    }

    /// RFC 9111 §3.5.
    #[test]
    fn what_was_authorized_is_stored_if_it_is_for_others_too() {
        let authorized = [("authorization", "Basic eDp5")];
        for (control, is_stored) in [
            ("max-age=60", false),
            ("max-age=60, no-cache", false),
            ("max-age=60, public", true),
            ("max-age=60, must-revalidate", true),
            ("s-maxage=60", true),
        ] {
            let result = judge(&Policy::default(), &authorized, 200, &[("cache-control", control)]);
            assert_eq!(result.is_ok(), is_stored, "{control}");
        }
    }

    #[test]
    fn strict_is_stricter_about_cookies_and_guesses() {
        let strict = Policy { profile: Profile::Strict, ..Policy::default() };
        let cookie = ("set-cookie", "a=b");
        let control = |text| ("cache-control", text);
        assert!(of(200, &[control("max-age=60"), cookie]).is_ok());
        assert_eq!(
            refusal(judge(&strict, &[], 200, &[control("max-age=60"), cookie])),
            Refusal::SetCookie
        );
        assert!(judge(&strict, &[], 200, &[control("s-maxage=60"), cookie]).is_ok());
        assert!(judge(&strict, &[], 200, &[("cdn-cache-control", "max-age=60"), cookie]).is_ok());
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let guessed = judge(&strict, &[], 200, &[modified]).unwrap();
        assert_eq!(guessed.freshness.lifetime_s, 0, "it has to be validated each time");
    }

    /// RFC 9110 §9.3.3.
    #[test]
    fn a_post_may_tell_what_is_there() {
        let target = Target { scheme: b"http", authority: b"example.com", path: b"/a?b" };
        for (location, control, stands) in [
            ("/a?b", "max-age=60", true),
            ("http://example.com/a?b", "max-age=60", true),
            ("?b", "max-age=60", true),
            ("/a", "max-age=60", false),
            ("http://other.example/a?b", "max-age=60", false),
            ("/a?b", "public", false),
        ] {
            let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
            let fields = [("content-location", location), ("cache-control", control), modified];
            let storable = of(200, &fields).unwrap();
            assert_eq!(stands_for_target(target, &storable), stands, "{location} {control}");
        }
    }

    #[test]
    fn vary_and_size_have_bounds() {
        let control = ("cache-control", "max-age=60");
        assert_eq!(refusal(of(200, &[control, ("vary", "a, *")])), Refusal::Vary);
        assert_eq!(refusal(of(200, &[control, ("content-length", "1048577")])), Refusal::TooLarge);
        assert!(of(200, &[control, ("content-length", "1048576")]).is_ok());
    }

    /// RFC 9111 §3.1.
    #[test]
    fn what_is_kept_of_a_header() {
        let storable = of(
            200,
            &[
                ("cache-control", "max-age=60, no-cache=\"a, B\", private=\"c\""),
                ("connection", "d"),
                ("d", "1"),
                ("a", "1"),
                ("b", "1"),
                ("c", "1"),
                ("age", "5"),
                ("content-length", "5"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("x-unknown", "kept"),
                ("ratelimit", "not ours to keep"),
            ],
        )
        .unwrap();
        let kept: Vec<_> = storable.fields.iter().map(|(name, _)| name).collect();
        assert_eq!(kept, [&b"cache-control"[..], b"set-cookie", b"set-cookie", b"x-unknown"]);
    }
}
