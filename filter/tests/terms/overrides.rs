//! Keys that are treated otherwise.

use std::net::IpAddr;
use std::rc::Rc;

use meliproxy::config::{Algorithm, KeyPart, Override, Pattern, Rule, Treatment};
use meliproxy::exchange::{Conclusion, Fate};
use meliproxy::metrics::{Metric, Outcome};
use meliproxy::shared::InMemory;
use meliproxy::time::{Instant, Now, UnixTime};
use meliproxy::worker::{Callback, ContextId, Effect, Verdict, Worker};
use proptest::prelude::*;

use crate::request::Request;
use crate::rules::{block, cookie, exact, header, number, open, plan, query, rule};

#[test]
fn another_limit_is_held_against_the_same_counter() {
    let treatment = Treatment::Limit { limit: number(500), burst: number(700) };
    let bucket = |burst| Algorithm::TokenBucket { burst: number(burst) };
    for (algorithm, overridden) in [
        (Algorithm::FixedWindow, Algorithm::FixedWindow),
        (Algorithm::SlidingWindow, Algorithm::SlidingWindow),
        (bucket(20), bucket(700)),
    ] {
        let plain = Rule { algorithm, ..rule(&[header("x-key")]) };
        let matches = vec![exact(header("x-key"), "partner")];
        let with = Rule { overrides: vec![Override { matches, treatment }], ..plain.clone() };
        let partner = Request::to("/").with("x-key", "partner");
        let (before, after) = (open(&plain, &partner), open(&with, &partner));
        let (before, after) = (before.checks.first().unwrap(), after.checks.first().unwrap());
        assert_eq!((&before.name, before.hash), (&after.name, after.hash));
        assert_eq!((before.policy.limit, before.policy.algorithm), (10, algorithm));
        assert_eq!((after.policy.limit, after.policy.algorithm), (500, overridden));
        assert_eq!(before.policy.per, after.policy.per);
        let other = open(&with, &Request::to("/").with("x-key", "other"));
        assert_eq!(other.checks.first().unwrap().policy, before.policy);
    }
}

#[test]
fn the_exempt_have_no_check_and_the_refused_are_named() {
    let rule = Rule {
        overrides: vec![
            Override { matches: vec![block("192.0.2.1", 32)], treatment: Treatment::Exempt },
            Override { matches: vec![block("192.0.2.0", 24)], treatment: Treatment::Refuse },
        ],
        ..rule(&[KeyPart::ClientAddress])
    };
    let outcome = |rule: &Rule, client: &str| {
        let opening = open(rule, &Request::to("/").sent_by(client));
        (opening.checks.len(), opening.refused_by, opening.would_refuse)
    };
    assert_eq!(outcome(&rule, "192.0.2.1"), (0, vec![], vec![]));
    assert_eq!(outcome(&rule, "192.0.2.2"), (0, vec![0], vec![]));
    assert_eq!(outcome(&rule, "192.0.3.1"), (1, vec![], vec![]));
    let shadow = Rule { shadow: true, ..rule.clone() };
    assert_eq!(outcome(&shadow, "192.0.2.2"), (0, vec![], vec![0]));
    let nobody = Rule { enforce_percent: 0, ..rule };
    assert_eq!(outcome(&nobody, "192.0.2.2"), (0, vec![], vec![0]));
}

#[test]
fn blocks_are_compared_with_the_whole_address() {
    let with = |prefix| Rule {
        overrides: vec![Override {
            matches: vec![block("2001:db8::5", prefix)],
            treatment: Treatment::Exempt,
        }],
        ..rule(&[KeyPart::ClientAddress])
    };
    let exempt = |prefix, client: &str| {
        open(&with(prefix), &Request::to("/").sent_by(client)).checks.is_empty()
    };
    assert!(exempt(128, "2001:db8::5"));
    assert!(!exempt(128, "2001:db8::6"));
    assert!(exempt(127, "2001:db8::4"));
    assert!(!exempt(127, "2001:db8::6"));
    assert!(!open(&with(128), &Request::to("/")).checks.is_empty());
}

#[test]
fn a_host_to_match_may_be_written_in_any_case() {
    let matches = vec![exact(KeyPart::Host, "API.Example.com")];
    let overrides = vec![Override { matches, treatment: Treatment::Exempt }];
    let rule = Rule { overrides, ..rule(&[KeyPart::Host]) };
    let request = Request { host: Some("api.example.COM:443".to_owned()), ..Request::to("/") };
    assert!(open(&rule, &request).checks.is_empty());
}

#[test]
fn an_empty_value_is_matched_and_a_missing_one_is_not() {
    let matches = vec![exact(header("x-key"), "")];
    let overrides = vec![Override { matches, treatment: Treatment::Exempt }];
    let rule = Rule { overrides, ..rule(&[header("x-key")]) };
    assert!(open(&rule, &Request::to("/").with("x-key", "")).checks.is_empty());
    assert!(!open(&rule, &Request::to("/")).checks.is_empty());
}

#[test]
fn who_the_configuration_refuses_is_answered_at_once_and_counted_nowhere() {
    let always = Override { matches: vec![block("192.0.2.0", 24)], treatment: Treatment::Refuse };
    let other = Rule { limit: number(1), name: "other".to_owned(), ..rule(&[]) };
    let refusing = Rule { overrides: vec![always], ..rule(&[KeyPart::ClientAddress]) };
    let plan = Rc::new(plan(vec![other, refusing]));
    let mut worker = Worker::new(1, 1, plan, None);
    let mut shared = InMemory::default();
    let now = Now { mono: Instant::from_micros(1), unix: UnixTime::from_micros(1) };
    let mut verdict = |client: &str| {
        worker.begin_callback(now, Callback::Request);
        let mut request = Request::to("/").sent_by(client);
        let (_, verdict) = worker.on_request(now, ContextId(1), &mut request, &mut shared);
        let effects: Vec<Effect> = std::iter::from_fn(|| worker.poll_effect()).collect();
        (verdict, effects)
    };
    for _ in 0..3 {
        let (Verdict::Conclude(conclusion, _), effects) = verdict("192.0.2.9") else { panic!() };
        let line = "rule=rule outcome=denied source=config remaining=- redis_us=0";
        assert_eq!(conclusion.entry.as_deref(), Some(line));
        let Fate::Refuse(reply) = conclusion.fate else { panic!("not refused") };
        assert_eq!(reply.status, 429);
        assert!(reply.headers.iter().all(|(name, _)| *name != "retry-after"));
        assert!(String::from_utf8(reply.body).unwrap().contains(r#""violated-policies":["rule"]"#));
        let metric = Metric::Decisions { rule: 1, outcome: Outcome::DeniedByConfig };
        let adds: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Add(..))).collect();
        assert_eq!(adds, [&Effect::Add(metric, 1)]);
    }
    // The other rule's one place is still there.
    let passes = |(verdict, _)| match verdict {
        Verdict::Conclude(Conclusion { fate, .. }, _) => matches!(fate, Fate::Pass(_)),
        Verdict::Pause(_) => panic!("paused without Redis"),
    };
    assert!(passes(verdict("198.51.100.1")));
    assert!(!passes(verdict("198.51.100.1")));
}

fn client() -> impl Strategy<Value = IpAddr> {
    proptest::sample::select(vec!["192.0.2.1", "192.0.2.2", "192.0.3.1", "2001:db8::1", "::1"])
        .prop_map(|text| text.parse().unwrap())
}

fn value() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["", "a", "b", "ab"]).prop_map(ToOwned::to_owned)
}

fn matches() -> impl Strategy<Value = Vec<(KeyPart, Pattern)>> {
    let address = (client(), proptest::sample::select(vec![0, 23, 24, 31, 32, 64, 128]))
        .prop_map(|(network, prefix)| (KeyPart::ClientAddress, Pattern::Block(network, prefix)));
    let text = |part: KeyPart| value().prop_map(move |value| (part.clone(), Pattern::Exact(value)));
    let one = prop_oneof![address, text(header("x")), text(cookie("y")), text(query("z")),];
    proptest::collection::vec(one, 1..4)
}

/// Whether all of them match, tried one by one.
fn model(matches: &[(KeyPart, Pattern)], request: &Request, values: &[Option<String>; 3]) -> bool {
    matches.iter().all(|(part, pattern)| match (part, pattern) {
        (KeyPart::Header(_), Pattern::Exact(text)) => values[0].as_ref() == Some(text),
        (KeyPart::Cookie(_), Pattern::Exact(text)) => values[1].as_ref() == Some(text),
        (KeyPart::Query(_), Pattern::Exact(text)) => values[2].as_ref() == Some(text),
        (KeyPart::ClientAddress, Pattern::Block(network, prefix)) => {
            match (network, request.client) {
                (IpAddr::V4(network), Some(IpAddr::V4(client))) => {
                    let bits = |address: std::net::Ipv4Addr| format!("{:032b}", address.to_bits());
                    let length = usize::from(*prefix).min(32);
                    bits(*network).starts_with(bits(client).get(..length).unwrap())
                }
                (IpAddr::V6(network), Some(IpAddr::V6(client))) => {
                    let bits = |address: std::net::Ipv6Addr| format!("{:0128b}", address.to_bits());
                    let length = usize::from(*prefix);
                    bits(*network).starts_with(bits(client).get(..length).unwrap())
                }
                _ => false,
            }
        }
        _ => panic!("not among those that are drawn"),
    })
}

proptest! {
    #[test]
    fn the_first_override_that_matches_counts(
        all in proptest::collection::vec(matches(), 0..12),
        client in proptest::option::of(client()),
        values in [
            proptest::option::of(value()),
            proptest::option::of(value()),
            proptest::option::of(value()),
        ],
    ) {
        // Each has a limit of its own, by which it is known again.
        let overrides: Vec<Override> = all.iter().zip(100..).map(|(matches, limit)| Override {
            matches: matches.clone(),
            treatment: Treatment::Limit { limit: number(limit), burst: number(limit) },
        }).collect();
        let by = [KeyPart::ClientAddress, header("x"), cookie("y"), query("z")];
        let rule = Rule { overrides, ..rule(&by) };
        let mut request = Request { client, ..Request::to("/") };
        if let Some(value) = &values[0] {
            request = request.with("x", value);
        }
        if let Some(value) = &values[1] {
            request = request.with("cookie", &format!("y={value}"));
        }
        if let Some(value) = &values[2] {
            request.path = format!("/?z={value}");
        }
        let expected = all.iter().zip(100..).find(|(matches, _)| model(matches, &request, &values));
        let opening = open(&rule, &request);
        let limit = opening.checks.first().unwrap().policy.limit;
        prop_assert_eq!(limit, expected.map_or(10, |(_, limit)| limit));
    }
}
