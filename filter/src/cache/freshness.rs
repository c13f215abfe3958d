//! For how long a response is fresh, how old it is, and for how long it may be used although it is stale
//! (RFC 9111 §4.2, RFC 5861).

use super::date;
use super::directives::{Extent, Response};
use super::fields::{Fields, members};
use super::policy::{Policy, Profile};
use super::targeted;

/// The part of its age at the origin for which a response is fresh that does not say so (RFC 9111 §4.2.2).
const HEURISTIC_PART: u64 = 10;

/// Statuses that may be stored and used again without having said so (RFC 9110 §15.1), but for 206, which is not
/// stored.
const HEURISTICALLY_CACHEABLE: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Whether a response of this status may be stored without having said so.
#[must_use]
pub fn is_heuristically_cacheable(status: u16) -> bool {
    HEURISTICALLY_CACHEABLE.contains(&status)
}

/// Whether a status is an answer to fields of one request that are part of no key: `Range` and conditions, `Expect`, how
/// large they are. One that says of it that it is fresh would be served to all who ask for the same target.
#[must_use]
pub const fn is_of_one_request(status: u16) -> bool {
    matches!(status, 206 | 304 | 412 | 416 | 417 | 431)
}

/// When a response was asked for and came, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When the request was sent.
    pub requested_ms: u64,
    /// When the response came.
    pub received_ms: u64,
}

/// What a response says of its freshness, all of it in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// What the response says to caches.
    pub directives: Response,
    /// Where the lifetime comes from.
    pub source: Source,
    /// The freshness lifetime (RFC 9111 §4.2.1), at most that of the policy.
    pub lifetime_s: u64,
    /// The age when it came (RFC 9111 §4.2.3: corrected initial age).
    pub initial_age_s: u64,
}

/// Where a freshness lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The response says so.
    Explicit,
    /// The configuration has a default.
    Default,
    /// It is a tenth of how old the content was at the origin.
    Heuristic,
    /// There is none: it is stale at once.
    None,
}

impl Freshness {
    /// Of a response.
    #[must_use]
    pub fn of(policy: &Policy, status: u16, fields: &Fields, times: Times) -> Self {
        let targeted = targeted::directives(fields);
        let is_targeted = targeted.is_some();
        let directives = targeted.unwrap_or_else(|| Response::of(fields));
        let received_s = times.received_ms / 1000;
        let date_s = fields.first("date").and_then(|text| date::parse(text, received_s));
        let date_s = date_s.unwrap_or(received_s);
        let explicit = directives.s_maxage.or(directives.max_age).or_else(|| {
            let expires = fields.has("expires") && !is_targeted;
            expires.then(|| expires_s(fields, received_s).saturating_sub(date_s))
        });
        let may_guess = is_heuristically_cacheable(status) || directives.public;
        let (source, lifetime_s) = match (explicit, policy.default_ttl, policy.profile) {
            (Some(seconds), _, _) => (Source::Explicit, seconds),
            (None, Some(default), _) if may_guess => (Source::Default, default.as_secs()),
            (None, None, Profile::Rfc9111) if may_guess => heuristic(fields, date_s, received_s),
            (None, _, Profile::Rfc9111 | Profile::Strict) => (Source::None, 0),
        };
        let lifetime_s = lifetime_s.min(policy.max_ttl.as_secs());
        let initial_age_s = initial_age_s(fields, date_s, times);
        Self { directives, source, lifetime_s, initial_age_s }
    }

    /// Whether the whole response has to be validated before each use.
    #[must_use]
    pub fn is_no_cache(&self) -> bool {
        self.directives.no_cache == Extent::Whole
    }
}

/// When it expires; one that is no date, or is not alone, is over (RFC 9111 §5.3).
fn expires_s(fields: &Fields, now_s: u64) -> u64 {
    let mut lines = fields.lines("expires");
    match (lines.next(), lines.next()) {
        (Some(text), None) => date::parse(text, now_s).unwrap_or_default(),
        _ => 0,
    }
}

fn heuristic(fields: &Fields, date_s: u64, now_s: u64) -> (Source, u64) {
    let modified_s = fields.first("last-modified").and_then(|text| date::parse(text, now_s));
    let Some(modified_s) = modified_s else { return (Source::None, 0) };
    (Source::Heuristic, date_s.saturating_sub(modified_s) / HEURISTIC_PART)
}

/// RFC 9111 §4.2.3.
fn initial_age_s(fields: &Fields, date_s: u64, times: Times) -> u64 {
    let apparent_s = (times.received_ms / 1000).saturating_sub(date_s);
    let delay_s = times.received_ms.saturating_sub(times.requested_ms) / 1000;
    apparent_s.max(age_s(fields).saturating_add(delay_s))
}

/// The field `Age`: of several members the first, and 0 if that is no number (RFC 9111 §5.1).
fn age_s(fields: &Fields) -> u64 {
    let first = fields.first("age").and_then(|line| members(line).next());
    first.and_then(super::directives::delta_seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// 2026-11-24 06:00:00 GMT.
    const NOW: u64 = 1_795_500_000;
    const TIMES: Times = Times { requested_ms: NOW * 1000, received_ms: NOW * 1000 };

    fn date(offset: i64) -> String {
        let at = NOW.saturating_add_signed(offset);
        httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(at))
    }

    fn of(status: u16, fields: &[(&str, &str)]) -> Freshness {
        Freshness::of(&Policy::default(), status, &fields.iter().copied().collect(), TIMES)
    }

    /// RFC 9111 §4.2.1.
    #[test]
    fn s_maxage_before_max_age_before_expires() {
        let (past, future) = (date(-100), date(100));
        for (fields, lifetime) in [
            (vec![("cache-control", "s-maxage=5, max-age=9"), ("expires", &future)], 5),
            (vec![("cache-control", "max-age=9"), ("expires", &past)], 9),
            (vec![("cache-control", "max-age=0"), ("expires", &future)], 0),
            (vec![("cache-control", "max-age=x"), ("expires", &future)], 0),
            (vec![("expires", &future)], 100),
            (vec![("expires", &future), ("date", &past)], 200),
            (vec![("expires", &future), ("date", "nonsense")], 100),
            (vec![("expires", &past)], 0),
            (vec![("expires", "0")], 0),
            (vec![("expires", &future), ("expires", &future)], 0),
        ] {
            let freshness = of(200, &fields);
            assert_eq!(
                (freshness.source, freshness.lifetime_s),
                (Source::Explicit, lifetime),
                "{fields:?}"
            );
        }
    }

    /// RFC 9213 §2.1.
    #[test]
    fn what_is_targeted_takes_the_place_of_the_rest() {
        let future = date(100);
        let fields = [
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=9"),
            ("expires", &future),
        ];
        let freshness = of(200, &fields);
        assert_eq!(freshness.lifetime_s, 9);
        assert!(!freshness.directives.no_store);
        let freshness = of(200, &[("cdn-cache-control", "foo"), ("expires", &future)]);
        assert_eq!(freshness.source, Source::None);
    }

    /// RFC 9111 §4.2.2.
    #[test]
    fn without_a_word_it_is_a_tenth_of_its_age() {
        let modified = date(-1000);
        assert_eq!(of(200, &[("last-modified", &modified)]).lifetime_s, 100);
        assert_eq!(of(200, &[("last-modified", &modified), ("date", &date(-500))]).lifetime_s, 50);
        assert_eq!(of(599, &[("last-modified", &modified)]).source, Source::None);
        let public = [("last-modified", &*modified), ("cache-control", "public")];
        assert_eq!(of(599, &public).lifetime_s, 100);
        assert_eq!(of(200, &[]).source, Source::None);
        assert_eq!(of(200, &[("last-modified", "0")]).source, Source::None);
    }

    #[test]
    fn the_policy_has_a_default_a_maximum_and_a_profile() {
        let modified = date(-1000);
        let fields: Fields = [("last-modified", &modified)].into_iter().collect();
        let strict = Policy { profile: Profile::Strict, ..Policy::default() };
        assert_eq!(Freshness::of(&strict, 200, &fields, TIMES).source, Source::None);
        let default = Policy { default_ttl: Some(Duration::from_secs(7)), ..strict };
        assert_eq!(Freshness::of(&default, 200, &fields, TIMES).lifetime_s, 7);
        assert_eq!(Freshness::of(&default, 500, &fields, TIMES).source, Source::None);
        assert_eq!(of(200, &[("cache-control", "max-age=99999999999")]).lifetime_s, 86_400);
    }

    /// RFC 9111 §4.2.3, §5.1.
    #[test]
    fn the_age_is_what_the_clock_or_the_field_says_whichever_is_more() {
        let past = date(-30);
        for (fields, age) in [
            (vec![], 0),
            (vec![("age", "15")], 15),
            (vec![("age", "015")], 15),
            (vec![("age", "15, 20")], 15),
            (vec![("age", "15"), ("age", "20")], 15),
            (vec![("age", "-15")], 0),
            (vec![("age", "1.5")], 0),
            (vec![("age", "abc, 15")], 0),
            (vec![("age", "99999999999999999999")], u64::MAX),
            (vec![("date", &*past)], 30),
            (vec![("date", &past), ("age", "15")], 30),
            (vec![("date", &past), ("age", "45")], 45),
            (vec![("date", &date(30))], 0),
        ] {
            assert_eq!(of(200, &fields).initial_age_s, age, "{fields:?}");
        }
        let slow = Times { requested_ms: TIMES.requested_ms - 5000, ..TIMES };
        let fields: Fields = [("age", "15")].into_iter().collect();
        assert_eq!(Freshness::of(&Policy::default(), 200, &fields, slow).initial_age_s, 20);
    }
}
