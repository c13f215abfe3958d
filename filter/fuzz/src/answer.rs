//! Answers: whatever the rules say and the counters hold, clients and the log are told what they can read.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::Duration;

use meliproxy::config::{
    Algorithm, Config, Content, OnStoreFailure, Per, Refusal, ResponseFields, Rule,
};
use meliproxy::exchange::{Conclusion, Exchange, Fate, Tally};
use meliproxy::key::HashSeed;
use meliproxy::metrics::Metric;
use meliproxy::plan::Plan;
use meliproxy::quota::lease::Leases;
use meliproxy::quota::refusals::{Refusals, Shortage};
use meliproxy::quota::{Check, Decision, Standing};
use meliproxy::shared::{Conflict, SharedData, Version};
use meliproxy::time::{Instant, Now, UnixTime};

use crate::headers::assert_well_formed;
use crate::input::Input;
use crate::request::Request;

/// A rule of which all is to be replaced.
const FILE: &[u8] = br#"{"version": 1, "quotas": [{"name": "rule", "limit": 1, "per": "1s"}]}"#;

/// The largest value of `limit` and `burst`.
const MOST: u64 = 999_999_999_999_999;

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::parse(FILE).unwrap());

/// Rules, times, and how each of them stands, by Redis and by what this process shares.
pub fn answer(data: &[u8]) {
    let mut input = Input::new(data);
    let mut config = CONFIG.clone();
    let rules = 1 + input.up_to(3);
    let template = config.rules.remove(0);
    config.rules = (0..rules).map(|_| rule(&template, &mut input)).collect();
    let fields = input.byte();
    config.response_fields =
        ResponseFields { ratelimit: fields & 1 == 0, x_ratelimit: fields & 2 == 0 };
    let plan = Plan::new(config, HashSeed([7; 16]));
    let nothing: &[u8] = b"";
    let mut request = Request {
        path: b"/",
        host: nothing,
        source_address: nothing,
        cookies: nothing,
        field: nothing,
    };
    let checks = plan.open(&mut request).checks;

    let began = now(&mut input);
    let later = Now {
        mono: began.mono.saturating_add(Duration::from_micros(u64::from(input.byte()))),
        ..began
    };
    let exchange = Exchange::new(began, checks.clone(), None);
    let decision = decision(&checks, &mut input);
    let by_redis = exchange.conclude_by_redis(later, &decision, &plan, &mut Nobody);
    assert_well_formed(&plan, &by_redis);
    assert_waits_long_enough(&checks, &decision, &by_redis);
    let mut refusals = Refusals::default();
    for (check, standing) in checks.iter().zip(decision.standings()) {
        let (key, cost, lasts) = (check.hash, check.cost, standing.reset_after());
        refusals.remember(
            later.mono,
            Shortage { key, cost, lasts, known_for: lasts },
            Duration::ZERO,
        );
    }
    let mut leases = Leases::default();
    if let Some(conclusion) =
        exchange.conclude_here(later, &plan, &mut leases, &mut refusals, &mut Nobody)
    {
        assert!(matches!(conclusion.fate, Fate::Refuse(_)), "{conclusion:?}");
        assert_well_formed(&plan, &conclusion);
    }

    let live = input.any_number();
    let mut left_behind = LeftBehind { input, checks: &checks };
    let by_process =
        exchange.conclude_without_store(later, live, &plan, &mut left_behind, &mut Nobody);
    assert_well_formed(&plan, &by_process);
}

fn rule(template: &Rule, input: &mut Input<'_>) -> Rule {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789_-";
    let length = 1 + usize::from(input.up_to(62));
    let mut name: String = (0..length)
        .map(|_| char::from(LETTERS[usize::from(input.byte()) % LETTERS.len()]))
        .collect();
    if name.starts_with(['_', '-']) {
        name.replace_range(..1, "a");
    }
    let algorithm = match input.up_to(2) {
        0 => Algorithm::FixedWindow,
        1 => Algorithm::SlidingWindow,
        _ => Algorithm::TokenBucket { burst: limit(input) },
    };
    let seconds = 1 + input.any_number() % (365 * 24 * 3600);
    let month = algorithm == Algorithm::FixedWindow && input.up_to(3) == 0;
    let per = if month { Per::Month } else { Per::Span(Duration::from_secs(seconds)) };
    let refusal = match input.up_to(3) {
        0 => {
            let status = 400 + u16::from(input.up_to(199));
            Some(Refusal { status, headers: Vec::new(), content: None })
        }
        1 => {
            let content =
                Content { content_type: "text/plain".to_owned(), body: "later".to_owned() };
            let headers =
                ["cache-control", "x-own"].map(|name| (name.to_owned(), "own".to_owned()));
            Some(Refusal { status: 429, headers: headers.to_vec(), content: Some(content) })
        }
        _ => None,
    };
    let on_store_failure = match input.up_to(2) {
        0 => OnStoreFailure::Local,
        1 => OnStoreFailure::Allow,
        _ => OnStoreFailure::Deny,
    };
    let mut rule = Rule { name, algorithm, per, refusal, on_store_failure, ..template.clone() };
    rule.limit = limit(input);
    rule.cost.units = NonZeroU64::new(1 + input.any_number() % 1_000_000).unwrap();
    rule.shadow = input.up_to(3) == 0;
    rule
}

fn limit(input: &mut Input<'_>) -> NonZeroU64 {
    NonZeroU64::new(1 + input.any_number() % MOST).unwrap()
}

fn now(input: &mut Input<'_>) -> Now {
    let mono = Instant::from_micros(input.any_number());
    // Until the year 2255.
    Now { mono, unix: UnixTime::from_micros(input.any_number() >> 11) }
}

/// Whatever a store may make of its counters.
fn decision(checks: &[Check], input: &mut Input<'_>) -> Decision {
    let mut is_allowed = true;
    let standings = checks.iter().map(|check| {
        let (remaining, reset_after) =
            (input.any_number(), Duration::from_millis(input.any_number()));
        if input.up_to(2) == 0 {
            is_allowed &= !check.enforced;
            Standing::Exceeded { remaining, reset_after }
        } else {
            Standing::Within { remaining, reset_after }
        }
    });
    let standings = standings.collect();
    Decision::new(is_allowed, standings)
}

fn assert_waits_long_enough(checks: &[Check], decision: &Decision, conclusion: &Conclusion) {
    let Fate::Refuse(reply) = &conclusion.fate else {
        assert!(decision.is_allowed());
        return;
    };
    assert!(!decision.is_allowed());
    let (_, wait) = reply.headers.iter().find(|(name, _)| *name == "retry-after").unwrap();
    let wait = Duration::from_secs(wait.parse().unwrap());
    for (check, standing) in checks.iter().zip(decision.standings()) {
        if check.enforced && standing.is_exceeded() {
            assert!(wait >= standing.reset_after(), "too early for {standing:?}");
        }
    }
}

struct Nobody;

impl Tally for Nobody {
    fn count(&mut self, _: Metric) {}
}

/// Shared data in which the counters of these checks are as they never should be, and which others write too.
struct LeftBehind<'d> {
    input: Input<'d>,
    checks: &'d [Check],
}

impl SharedData for LeftBehind<'_> {
    fn get(&mut self, _: &str) -> Option<(Vec<u8>, Version)> {
        let mut slot = vec![self.input.up_to(3) ^ 2];
        for check in self.checks.iter().take(usize::from(self.input.up_to(4))) {
            slot.extend(check.hash.tag().to_le_bytes());
            (0..5).for_each(|_| slot.extend(self.input.any_number().to_le_bytes()));
        }
        slot.truncate(slot.len() - usize::from(self.input.up_to(7)).min(slot.len()));
        Some((slot, Version(0)))
    }

    fn set(&mut self, _: &str, _: &[u8], _: Option<Version>) -> Result<(), Conflict> {
        if self.input.up_to(3) == 1 { Err(Conflict) } else { Ok(()) }
    }
}
