//! The cache: whatever a client asks, an upstream answers and Redis keeps, what is sent is a header, and what must not be
//! used again is not.

use std::time::Duration;

use meliproxy::cache::fields::Fields;
use meliproxy::cache::freshness::Times;
use meliproxy::cache::key::{self, Target};
use meliproxy::cache::policy::{Policy, Profile};
use meliproxy::cache::range::Part;
use meliproxy::cache::request::Request;
use meliproxy::cache::reuse::{self, Answer, Failure, Reuse};
use meliproxy::cache::storable::storable;
use meliproxy::cache::stored::{BodyId, Stored};
use meliproxy::cache::validation::{Freshened, freshen};
use meliproxy::cache::{groups, invalidation};

use crate::input::Input;

/// 2026-11-24.
const NOW_MS: u64 = 1_795_500_000_000;

/// A request, a response, a second request, and a 304, each of them lines up to an empty one; or bytes out of Redis.
pub fn cache(data: &[u8]) {
    let mut input = Input::new(data);
    if input.up_to(7) == 0 {
        if let Some(stored) = Stored::read(input.rest()) {
            assert_answers(&stored, &get(Fields::default()), NOW_MS);
        }
        return;
    }
    let policy = policy(&mut input);
    let times = Times { requested_ms: NOW_MS - u64::from(input.byte()), received_ms: NOW_MS };
    let status = 100 + u16::from(input.byte()) * 2;
    let later = NOW_MS + input.any_number() % 10_000_000_000;
    let path = input.line().to_vec();
    let [asked, answered, again, news] = [(); 4].map(|()| fields(&mut input));
    let target = Target { scheme: b"http", authority: b"example.com", path: &path };
    let _ = invalidation::paths(target, &answered);
    let _ = groups::invalidated(&answered, b"http\nexample.com");
    let Ok(request) = Request::of(b"GET", &path, asked, true, &[]) else { return };
    let Some(key) = key::primary(&policy.key, target, &request.fields) else { return };
    let Ok(storable) = storable(&policy, &request, status, &answered, times) else { return };
    let is_private = answered.members("cache-control").any(|member| member == b"private");
    assert!(!is_private || answered.has("cdn-cache-control"));
    let vary = storable.vary.values(&request.fields);
    assert!(vary.matches(&request.fields));
    let body = (BodyId(1), u64::from(input.byte()));
    let stored = Stored::new(key, vary, status, storable, times, body);
    if let Some(written) = stored.write() {
        // What is sent through HTTP has no such bytes; what a test makes up may.
        if let Some(read) = Stored::read(&written) {
            assert_eq!(read, stored);
        }
    }
    let Ok(request) = Request::of(b"GET", &path, again, true, &[]) else { return };
    assert_answers(&stored, &request, later);
    let Freshened { stored: fresh, refusal } = freshen(&policy, &request, &stored, &news, times);
    assert_eq!((fresh.body, fresh.status), (stored.body, stored.status));
    if refusal.is_none() {
        assert_answers(&fresh, &request, later);
    }
}

fn assert_answers(stored: &Stored, request: &Request, now_ms: u64) {
    let is_stale = !stored.is_fresh(now_ms);
    match reuse::reuse(stored, request, now_ms) {
        Reuse::Answer(answer) => {
            assert!(!stored.no_cache);
            assert!(!is_stale || !stored.forbids_stale);
            assert!(!is_stale || request.directives.max_stale.is_some());
            assert_well_formed(stored, &answer);
        }
        Reuse::AnswerAndRefresh(answer) => {
            assert!(is_stale && !stored.forbids_stale && !stored.no_cache);
            assert_well_formed(stored, &answer);
        }
        Reuse::Forward(forward) => {
            assert_eq!(forward.conditions.is_empty(), !stored.has_validator());
        }
    }
    for failure in [Failure::Unreachable, Failure::Status(503)] {
        let grace = Duration::from_secs(10);
        if let Some(answer) = reuse::after_failure(stored, request, now_ms, failure, grace) {
            assert!(!(is_stale && stored.forbids_stale));
            assert_well_formed(stored, &answer);
        }
    }
}

fn assert_well_formed(stored: &Stored, answer: &Answer) {
    let age = answer.fields.first("age").unwrap();
    assert!(!age.is_empty() && age.iter().all(u8::is_ascii_digit));
    assert_eq!(answer.fields.lines("age").count(), 1);
    match answer.part {
        Part::Bytes(first, last) => {
            assert!(answer.status == 206 && first <= last && last < stored.body_bytes);
        }
        Part::Unsatisfiable => assert_eq!(answer.status, 416),
        Part::Whole => assert!(answer.status == 304 || answer.status == stored.status),
    }
}

fn get(fields: Fields) -> Request {
    Request::of(b"GET", b"/", fields, true, &[]).unwrap()
}

fn policy(input: &mut Input<'_>) -> Policy {
    let choices = input.byte();
    Policy {
        profile: if choices & 1 == 0 { Profile::Rfc9111 } else { Profile::Strict },
        default_ttl: (choices & 2 != 0).then(|| Duration::from_secs(60)),
        stale_if_error: Duration::from_secs(u64::from(choices & 4) * 100),
        ..Policy::default()
    }
}

fn fields(input: &mut Input<'_>) -> Fields {
    let mut fields = Fields::default();
    while let line @ [_, ..] = input.line() {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        fields.push(name, value.strip_prefix(b":").unwrap_or_default().trim_ascii());
    }
    fields
}
