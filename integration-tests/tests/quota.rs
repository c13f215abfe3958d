//! Quotas over real replicas and a real Redis: exactly the limit passes, whoever is asked, and a refusal costs nothing.
//!
//! Requests go to all replicas at once. What is expected are exact numbers; see `fleet` for what is done about windows
//! that end meanwhile and replicas that a busy machine kept from asking in time.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's helpers fail like the test"
)]

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use integration_tests::client::{Client, Load, Outcome, Request, Response, burst};
use integration_tests::fleet::{CONNECTIONS, Fleet, SOON, from, passed};
use integration_tests::scene::next_origin;
use integration_tests::stack::{ConfigState, wait_until};
use integration_tests::upstream::control::Control;
use serde_json::{Value, json};

/// The configuration that is shipped, with the three rules of the challenge.
const SHIPPED: &str = include_str!("../../envoy/meliproxy.json");

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than any test runs, so that hardly one in a million meets the end of its window.
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Name, limit and window of a rule that counts each origin for itself.
type Rule = (&'static str, u64, &'static str);

/// Rules for `/echo/{route}/…`, by route. The deadline is long, so that a busy machine is no reason to count locally.
fn config(routes: &[(&str, &[Rule])]) -> String {
    let (mut named, mut quotas) = (Vec::new(), Vec::new());
    for (route, rules) in routes {
        named.push(json!({"name": route, "path": format!("/echo/{route}/{{*rest}}")}));
        for (name, limit, per) in *rules {
            let by = ["client_address"];
            quotas.push(
                json!({"name": name, "routes": [route], "by": by, "limit": limit, "per": per}),
            );
        }
    }
    let redis = json!({"namespace": "test", "timeout": "1s"});
    json!({"version": 1, "redis": redis, "routes": named, "quotas": quotas}).to_string()
}

fn refusals(outcomes: &[Outcome]) -> impl Iterator<Item = &Response> {
    outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok()).filter(|it| it.status == 429)
}

/// A refusal says what was exceeded and when to come back (RFC 6585 §4, RFC 9110 §10.2.3, RFC 9457).
#[track_caller]
fn assert_refused_by(rules: &[&str], refusal: &Response, per: Duration) {
    assert_eq!(refusal.status, 429);
    assert_eq!(refusal.header("content-type"), Some("application/problem+json"));
    let retry_after: u64 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=per.as_secs()).contains(&retry_after), "{retry_after}");
    let problem: Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"], json!(rules));
    let (policy, limit) = (refusal.header("ratelimit-policy"), refusal.header("ratelimit"));
    for rule in rules {
        let window = format!(";w={}", per.as_secs());
        assert!(policy.is_some_and(|it| it.contains(&format!("\"{rule}\";q="))), "{policy:?}");
        assert!(policy.is_some_and(|it| it.contains(&window)), "{policy:?}");
        assert!(limit.is_some_and(|it| it.contains(&format!("\"{rule}\";r=0;t="))), "{limit:?}");
    }
}

#[test]
fn a_response_that_passes_tells_how_many_more_may() {
    let fleet = Fleet::start(
        &config(&[("told", &[("wide", 30, "30d"), ("narrow", 5, "30d")])]),
        |options| options,
    );
    let (told, elsewhere) = fleet.undisturbed(MONTH, |origin| {
        let told: Vec<_> = (0..5).flat_map(|_| fleet.burst(origin, "/echo/told/1", 1)).collect();
        (told, fleet.burst(origin, "/echo/elsewhere/1", 1))
    });
    for (sent, outcome) in (1..).zip(&told) {
        let response = outcome.result.as_ref().unwrap();
        let policy = "\"wide\";q=30;w=2592000, \"narrow\";q=5;w=2592000";
        assert_eq!(response.header("ratelimit-policy"), Some(policy));
        let limit = response.header("ratelimit").unwrap();
        assert!(limit.starts_with(&format!("\"wide\";r={};t=", 30 - sent)), "{limit}");
        assert!(limit.contains(&format!(", \"narrow\";r={};t=", 5 - sent)), "{limit}");
    }
    let response = elsewhere.first().unwrap().result.as_ref().unwrap();
    assert_eq!(["ratelimit-policy", "ratelimit"].map(|name| response.header(name)), [None; 2]);
}

#[test]
fn of_sixty_requests_for_items_at_once_ten_pass() {
    let fleet = Fleet::start(SHIPPED, |options| options);
    let upstream = Control::new(fleet.stand_in().unwrap().control());
    let outcomes = fleet.undisturbed(MINUTE, |origin| {
        upstream.reset_counts().unwrap();
        fleet.burst(origin, "/items/MLA1", 60)
    });
    assert_eq!(passed(&outcomes), 10);
    assert_eq!(refusals(&outcomes).count(), 50);
    for refusal in refusals(&outcomes) {
        assert_refused_by(&["origin-items"], refusal, MINUTE);
    }
    assert_eq!(upstream.counts().unwrap().total, 10);
    for replica in fleet.replicas() {
        let decisions = replica.metric("meliproxy_quota_decisions_total", &[]).unwrap();
        assert!(decisions > 0.0, "{} was not asked", replica.name());
    }
    assert_eq!(passed(&fleet.burst(next_origin(), "/items/MLA1", 1)), 1, "another origin");
}

#[test]
fn behind_the_edge_an_origin_is_the_address_of_its_connection() {
    let fleet = Fleet::start(SHIPPED, |options| options);
    let edge = [fleet.edge().http()];
    let (outcomes, other) = fleet.undisturbed(MINUTE, |origin| {
        // Somebody else's address, which is believed of nobody.
        let request = Request::get("/items/MLA1").header("X-Forwarded-For", "192.0.2.1");
        let send = |from, count| burst(&edge, from, &request, count, CONNECTIONS).unwrap();
        (send(origin, 60), send(next_origin(), 10))
    });
    assert_eq!((passed(&outcomes), passed(&other)), (10, 10));
}

#[test]
fn of_fifteen_hundred_requests_elsewhere_a_thousand_pass() {
    let fleet = Fleet::start(SHIPPED, |options| options.workers(2));
    let outcomes = fleet.undisturbed(MINUTE, |origin| fleet.burst(origin, "/users/1", 1500));
    assert_eq!(passed(&outcomes), 1000);
    assert_eq!(refusals(&outcomes).count(), 500);
    for refusal in refusals(&outcomes) {
        assert_refused_by(&["per-origin"], refusal, MINUTE);
    }
    assert_eq!(passed(&fleet.burst(next_origin(), "/users/1", 1)), 1, "another origin");
}

#[test]
fn a_rule_for_all_is_shared_by_all_origins() {
    let config = r#"{
        "version": 1,
        "redis": {"namespace": "test", "timeout": "1s"},
        "quotas": [{"name": "all", "limit": 50, "per": "30d"}]
    }"#;
    let fleet = Fleet::start(config, |options| options.workers(2));
    let passed_each: Vec<usize> = thread::scope(|scope| {
        let origin = || fleet.burst(next_origin(), "/echo/all/1", 30);
        let origins: Vec<_> = (0..4).map(|_| scope.spawn(origin)).collect();
        origins.into_iter().map(|origin| passed(&origin.join().unwrap())).collect()
    });
    assert_eq!(passed_each.iter().sum::<usize>(), 50, "{passed_each:?}");
    assert_eq!(fleet.counters(), BTreeMap::from([("mp:{test}:fw:1:all:2592000:".to_owned(), 50)]));
}

#[test]
fn of_a_limit_of_one_exactly_one_passes() {
    let rules = [("one", 1, "30d")];
    let fleet = Fleet::start(&config(&[("one", &rules)]), |options| options.workers(2));
    for _ in 0..20 {
        let outcomes = fleet.undisturbed(MONTH, |origin| fleet.burst(origin, "/echo/one/1", 24));
        assert_eq!(passed(&outcomes), 1);
    }
}

#[test]
fn a_refused_request_raises_no_counter() {
    let first = [("narrow-first", 5, "30d"), ("wide-second", 30, "30d")];
    let second = [("wide-first", 30, "30d"), ("narrow-second", 5, "30d")];
    let fleet = Fleet::start(&config(&[("first", &first), ("second", &second)]), |options| options);
    for (route, narrow, wide) in
        [("first", "narrow-first", "wide-second"), ("second", "narrow-second", "wide-first")]
    {
        let (origin, outcomes) = fleet.undisturbed(MONTH, |origin| {
            (origin, fleet.burst(origin, &format!("/echo/{route}/1"), 100))
        });
        assert_eq!(passed(&outcomes), 5);
        refusals(&outcomes).for_each(|refusal| assert_refused_by(&[narrow], refusal, MONTH));
        let counters = fleet.counters();
        for rule in [narrow, wide] {
            let name = format!("mp:{{test}}:fw:1:{rule}:2592000:{origin}");
            assert_eq!(counters.get(&name), Some(&5), "{name} in {counters:?}");
        }
    }
}

#[test]
fn a_counter_lives_as_long_as_its_window() {
    let rules = [("monthly", 5, "30d")];
    let fleet = Fleet::start(&config(&[("monthly", &rules)]), |options| options);
    let origin = next_origin();
    let _ = fleet.burst(origin, "/echo/monthly/1", 7);
    let name = format!("mp:{{test}}:fw:1:monthly:2592000:{origin}");
    let expires_at = fleet.primary().ask(&["PEXPIRETIME", &name]).unwrap().to_string();
    let expires_at: u64 = expires_at.parse().unwrap();
    let left = Duration::from_millis(expires_at) - Duration::from_micros(fleet.redis_time_us());
    assert!(expires_at.is_multiple_of(2_592_000_000) && left <= MONTH, "{expires_at} {left:?}");
}

#[test]
fn redis_is_asked_once_for_what_passes_and_hardly_for_what_is_refused() {
    let rules = [("a", 10, "30d"), ("b", 1000, "30d")];
    let fleet = Fleet::start(&config(&[("both", &rules)]), |options| options);
    let target = "/echo/both/1";
    let origin = next_origin();
    let before = fleet.script_calls();
    for (replica, allowed) in fleet.addresses().iter().cycle().zip(1..=10) {
        assert_eq!(Client::new(*replica).send(&from(origin, target)).unwrap().status, 200);
        assert_eq!(fleet.script_calls() - before, allowed);
    }
    assert_eq!(passed(&fleet.burst(origin, target, 5000)), 0);
    let calls = fleet.script_calls() - before - 10;
    assert!((2..20).contains(&calls), "{calls} calls for 5000 refusals");
    let refused = |source| {
        let labels = [("rule", "a"), ("outcome", "denied"), ("source", source)];
        fleet.total("meliproxy_quota_decisions_total", &labels)
    };
    assert_eq!(refused("memory") + refused("redis"), 5000.0);
}

#[test]
fn at_the_end_of_a_window_the_key_passes_again_at_once() {
    const LIMIT: usize = 7;
    const PER: Duration = Duration::from_secs(2);
    const WINDOWS: u128 = 4;
    /// What a busy machine may add before the first request of a window has its answer.
    const SLACK: Duration = Duration::from_millis(250);
    let rules = [("short", 7, "2s")];
    let fleet = Fleet::start(&config(&[("short", &rules)]), |options| options);
    let now_us = || u128::from(fleet.redis_time_us());
    let (per_us, origin) = (PER.as_micros(), next_origin());
    let wait_for = |what: &str, condition: &dyn Fn(u128) -> bool| {
        let outcome = wait_until(what, SOON, || {
            let now = now_us();
            if condition(now) { Ok(now / per_us) } else { Err(now.to_string()) }
        });
        outcome.unwrap()
    };
    // Begun and ended in the middle of a window, so that each window it touches has time to be used up.
    let is_in_the_middle = |now: u128| (per_us / 4..per_us / 2).contains(&(now % per_us));
    let first = wait_for("the middle of a window", &is_in_the_middle);
    let load = Load::start(&fleet.addresses(), 200, 12, move |_| from(origin, "/echo/short/1"));
    let last =
        wait_for("some windows", &|now| now / per_us >= first + WINDOWS && is_in_the_middle(now));
    let outcomes = load.unwrap().stop().unwrap();
    assert_eq!(now_us() / per_us, last, "the machine was too busy to stop within the window");

    let windows = usize::try_from(last - first + 1).unwrap();
    assert_eq!(passed(&outcomes), LIMIT * windows);
    // This machine's clock is the clock of Redis too.
    let (unix, mono) = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap(), Instant::now());
    let answered_at = |outcome: &Outcome| unix - (mono - outcome.due_at) + outcome.latency;
    let mut first_passes = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.status() == 200) {
        let at = answered_at(outcome).as_micros();
        let earliest = first_passes.entry(at / per_us).or_insert(at);
        *earliest = at.min(*earliest);
    }
    for (window, at) in first_passes.iter().skip(1) {
        let late_us = at - window * per_us;
        assert!(late_us < SLACK.as_micros(), "window {window}: first pass after {late_us} us");
    }
    assert_eq!(first_passes.len(), windows);
}

#[test]
fn an_edited_limit_takes_effect_also_for_keys_that_were_refused() {
    let with_limit = |limit| config(&[("edited", &[("edited", limit, "30d")])]);
    let fleet = Fleet::start(&with_limit(5), |options| options);
    let target = "/echo/edited/1";
    let edit = |limit| {
        let status = fleet.write_config(&with_limit(limit)).unwrap();
        assert_eq!(status.state, ConfigState::Published, "{status:?}");
    };
    let origin = next_origin();
    let passes = |origin| passed(&fleet.burst(origin, target, 24));
    assert_eq!(passes(origin), 5);

    edit(8);
    let mut since = 0;
    let raised = wait_until("the raised limit", SOON, || {
        since += passes(origin);
        if since >= 3 { Ok(()) } else { Err(since.to_string()) }
    });
    raised.unwrap();
    assert_eq!((since, passes(origin)), (3, 0));

    edit(2);
    // Counted further, not anew: the key is over its new limit at once.
    assert_eq!(passes(origin), 0);
    let lowered = wait_until("the lowered limit", SOON, || match passes(next_origin()) {
        2 => Ok(()),
        other => Err(other.to_string()),
    });
    lowered.unwrap();
    assert_eq!(passes(next_origin()), 2);
}

#[test]
fn without_redis_a_process_counts_exactly_over_its_workers() {
    let both = [("wide", 30, "30d"), ("narrow", 10, "30d")];
    let one = [("one", 1, "30d")];
    let fleet = Fleet::start(&config(&[("both", &both), ("one", &one)]), |options| {
        options.redis(false).replicas(1).workers(2)
    });
    for _ in 0..10 {
        let passes = fleet.undisturbed(MONTH, |origin| {
            let passes = |target| passed(&fleet.burst(origin, target, 60));
            (passes("/echo/both/1"), passes("/echo/one/1"), passes("/echo/both/1"))
        });
        assert_eq!(passes, (10, 1, 0));
    }
    let decided = |source| fleet.total("meliproxy_quota_decisions_total", &[("source", source)]);
    assert!(decided("process") > 0.0 && decided("redis") + decided("memory") == 0.0);
    assert_eq!(fleet.total("meliproxy_degraded", &[]), 0.0, "nothing is lost that never was");
}
