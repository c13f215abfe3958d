//! The table entry by entry, and that what it refuses would have been refused, over random histories of one counter.

#![allow(clippy::cast_possible_truncation, reason = "times far below 2^64")]

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;
use crate::config::{Algorithm, Per};
use crate::quota::algorithm::{Counter, State};
use crate::quota::lease::Exact;
use crate::quota::policy::Policy;
use crate::quota::script::Question;
use crate::redis::Value;
use crate::time::UnixTime;

/// A key of the given set: the upper bits of its place choose among 4,096.
fn key(set: u64, tag: u64) -> KeyHash {
    KeyHash::from_parts(set << 52, tag)
}

fn check_of(hash: KeyHash, cost: u64, policy: Policy) -> Check {
    Check { rule: 0, policy, cost, name: Vec::new(), hash, enforced: true, lease_life: None }
}

/// One of a fixed window.
fn check(hash: KeyHash, cost: u64) -> Check {
    let per = Per::Span(Duration::from_secs(60));
    check_of(hash, cost, Policy { algorithm: Algorithm::FixedWindow, limit: 10, per })
}

fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Remembers at 0 s that `key` lacks `cost` units until `until` seconds; Redis took no time to say so.
fn remember(refusals: &mut Refusals, key: KeyHash, cost: u64, until: u64) {
    refusals.remember(
        at(0),
        Shortage { key, cost, lasts: secs(until), known_for: secs(until) },
        Duration::ZERO,
    );
}

#[test]
fn who_may_be_given_units_back_is_asked_for_again_but_told_to_come_late() {
    let mut refusals = Refusals::default();
    let shortage = Shortage { key: key(1, 7), cost: 1, lasts: secs(60), known_for: secs(1) };
    refusals.remember(at(0), shortage, Duration::ZERO);
    assert_eq!(refusals.refuses(at(0), &check(key(1, 7), 1)), Some(secs(60)));
    assert_eq!(refusals.refuses(at(1), &check(key(1, 7), 1)), None);
}

#[test]
fn refused_until_the_moment_and_not_longer() {
    let mut refusals = Refusals::default();
    remember(&mut refusals, key(1, 7), 1, 10);
    assert_eq!(refusals.refuses(at(9), &check(key(1, 7), 1)), Some(secs(1)));
    assert_eq!(refusals.refuses(at(10), &check(key(1, 7), 1)), None);
    assert_eq!(refusals.refuses(at(9), &check(key(1, 8), 1)), None);
    assert_eq!(refusals.refuses(at(9), &check(key(2, 7), 1)), None);
}

#[test]
fn refused_from_when_redis_was_asked_and_told_from_when_it_answered() {
    let mut refusals = Refusals::default();
    let shortage = Shortage { key: key(1, 7), cost: 1, lasts: secs(10), known_for: secs(10) };
    refusals.remember(at(3), shortage, secs(2));
    assert_eq!(refusals.refuses(at(10), &check(key(1, 7), 1)), Some(secs(3)));
    assert_eq!(refusals.refuses(at(11), &check(key(1, 7), 1)), None);
    // It took longer to say so than it lasts.
    refusals.remember(at(20), Shortage { lasts: secs(1), known_for: secs(1), ..shortage }, secs(2));
    assert_eq!(refusals.refuses(at(20), &check(key(1, 7), 1)), None);
}

#[test]
fn who_asks_for_less_than_was_refused_is_not_refused() {
    let mut refusals = Refusals::default();
    let refused = |refusals: &mut Refusals, now, cost| {
        refusals.refuses(at(now), &check(key(1, 7), cost)).is_some()
    };
    remember(&mut refusals, key(1, 7), 5, 30);
    assert!(!refused(&mut refusals, 1, 4));
    assert!(refused(&mut refusals, 1, 5));
    // The least known counts, for as long as it is known.
    remember(&mut refusals, key(1, 7), 2, 10);
    remember(&mut refusals, key(1, 7), 9, 40);
    assert!(refused(&mut refusals, 1, 2));
    assert!(!refused(&mut refusals, 10, 9));
}

#[test]
fn refusing_again_replaces_the_moment() {
    let mut refusals = Refusals::default();
    for until in [10, 20, 15] {
        remember(&mut refusals, key(1, 7), 1, until);
        assert_eq!(refusals.refuses(at(5), &check(key(1, 7), 1)), Some(secs(until - 5)));
    }
}

#[test]
fn a_full_set_gives_up_what_is_over_and_then_the_coldest() {
    let mut refusals = Refusals::default();
    for (tag, until) in [(1, 40), (2, 20), (3, 40), (4, 40)] {
        remember(&mut refusals, key(9, tag), 1, until);
    }
    for (now, tag) in [(1, 3), (2, 1), (3, 2), (4, 4)] {
        assert!(refusals.refuses(at(now), &check(key(9, tag), 1)).is_some());
    }
    let mut crowd_out = |now, tag| {
        let shortage = Shortage { key: key(9, tag), cost: 1, lasts: secs(60), known_for: secs(60) };
        refusals.remember(at(now), shortage, Duration::ZERO);
        let kept = |tag: &u64| refusals.clone().refuses(at(now), &check(key(9, *tag), 1)).is_some();
        (1..=7).filter(kept).collect::<Vec<_>>()
    };
    assert_eq!(crowd_out(20, 5), [1, 3, 4, 5]);
    assert_eq!(crowd_out(21, 6), [1, 4, 5, 6]);
    assert_eq!(crowd_out(22, 7), [4, 5, 6, 7]);
}

#[test]
fn a_flood_of_keys_leaves_the_table_its_size_and_what_is_in_use_its_place() {
    let (mut refusals, busy) = (Refusals::default(), key(0, 1));
    let shortage = |key| Shortage { key, cost: 1, lasts: secs(60), known_for: secs(60) };
    refusals.remember(at(0), shortage(busy), Duration::ZERO);
    for n in 0..1_000_000 {
        let now = Instant::from_micros(10 * n);
        refusals.remember(now, shortage(key(n, n + 2)), Duration::ZERO);
        // It is asked for as seldom as once in 12,000 others.
        assert!(n % 12_000 != 0 || refusals.refuses(now, &check(busy, 1)).is_some(), "{n}");
    }
    assert_eq!(refusals.entries.len(), SETS * WAYS);
}

/// 2027-01-01 UTC in microseconds.
const BEGINNING: u64 = 1_798_761_600_000_000;

/// Redis tells of time in milliseconds, of which the present one has partly passed, and rounds up.
const ROUNDED_US: u64 = 2000;

/// Requests of some costs that are asked about together, so long after the last answer; how long it takes until Redis
/// decides, and until the answer is here.
#[derive(Clone, Debug)]
struct Asked {
    after_us: u64,
    costs: Vec<u64>,
    there_us: u64,
    back_us: u64,
}

fn asked() -> impl Strategy<Value = Asked> {
    let after_us = prop_oneof![0..1000_u64, 0..1_000_000_u64, 0..30_000_000_u64];
    let cost = prop_oneof![4 => Just(1), 2 => 1..8_u64, 1 => 1..40_u64];
    let costs = prop::collection::vec(cost, 1..6);
    (after_us, costs, 0..5000_u64, 0..5000_u64).prop_map(|(after_us, costs, there_us, back_us)| {
        Asked { after_us, costs, there_us, back_us }
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    (0..3, 1..20_u64, 1..60_u64, 1..30_u64).prop_map(|(algorithm, limit, secs, burst)| {
        let burst = NonZeroU64::new(burst).unwrap();
        let algorithm = match algorithm {
            0 => Algorithm::FixedWindow,
            1 => Algorithm::SlidingWindow,
            _ => Algorithm::TokenBucket { burst },
        };
        Policy { algorithm, limit, per: Per::Span(Duration::from_secs(secs)) }
    })
}

/// The one counter, as Redis has it.
struct Store {
    policy: Policy,
    stored: Option<State>,
}

impl Store {
    fn at(&self, micros: u64) -> Counter {
        Counter::new(self.policy, self.stored, UnixTime::from_micros(BEGINNING + micros))
    }

    /// What `lua/quota.lua` answers.
    fn answer(&mut self, micros: u64, costs: &[u64]) -> Value {
        let (mut counter, mut need, mut verdicts) = (self.at(micros), 1, Vec::new());
        for cost in costs {
            verdicts.push(u64::from(counter.has(*cost)));
            if counter.has(*cost) {
                counter.take(*cost);
                self.stored = Some(counter.state());
            } else {
                need = need.max(*cost);
            }
        }
        let reset_ms = counter.reset_after(need).as_millis() as u64;
        let integers = [counter.remaining(), reset_ms].into_iter().chain(verdicts);
        Value::Array(integers.map(|integer| Value::Integer(integer as i64)).collect())
    }
}

proptest! {
    #[test]
    fn what_is_refused_here_redis_would_refuse_and_who_waits_as_told_passes(
        policy in policies(), history in prop::collection::vec(asked(), 1..60),
    ) {
        let (mut store, mut refusals) = (Store { policy, stored: None }, Refusals::default());
        let capacity = match policy.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => policy.limit,
            Algorithm::TokenBucket { burst } => burst.get(),
        };
        let (mut now_us, mut told_of, one) = (0, None, key(1, 7));
        for Asked { after_us, costs, there_us, back_us } in history {
            now_us += after_us;
            let mut unknown = Vec::new();
            for cost in costs {
                let known = refusals.refuses(Instant::from_micros(now_us), &check_of(one, cost, policy));
                let Some(wait) = known else {
                    unknown.push(cost);
                    continue;
                };
                let before_us = now_us.saturating_sub(ROUNDED_US);
                prop_assert!(!store.at(before_us).has(cost), "{cost} at {now_us}");
                let told_us = now_us + wait.as_micros() as u64;
                let left = Store { policy, stored: told_of }.at(told_us);
                prop_assert!(cost > capacity || left.has(cost), "{cost} at {told_us}");
            }
            if unknown.is_empty() {
                continue;
            }
            let checks: Vec<_> = unknown.iter().map(|cost| [check_of(one, *cost, policy)]).collect();
            let (question, _) = Question::of(checks.iter().map(<[_; 1]>::as_slice), &mut Exact);
            let answer = store.answer(now_us + there_us, &unknown);
            now_us += there_us + back_us;
            let took = Duration::from_micros(there_us + back_us);
            for shortage in question.shortages(&question.answer(&answer).unwrap().decisions) {
                refusals.remember(Instant::from_micros(now_us), shortage, took);
                // Cheaper ones may take what is left meanwhile, as the clients of other replicas may.
                told_of = store.stored;
            }
        }
    }

    #[test]
    fn an_attack_asks_hardly_more_often_than_units_are_given_back(
        policy in policies(), cost in 1..8_u64,
    ) {
        let (mut store, mut refusals) = (Store { policy, stored: None }, Refusals::default());
        let (mut questions, mut passed, one) = (0_u64, 0, [check_of(key(1, 7), cost, policy)]);
        // A request in each of 100,000 ms.
        for now_ms in 0..100_000 {
            let now = Instant::from_micros(now_ms * 1000);
            if refusals.refuses(now, &one[0]).is_some() {
                continue;
            }
            questions += 1;
            let (question, _) = Question::of([one.as_slice()], &mut Exact);
            let answer = store.answer(now_ms * 1000, &[cost]);
            let decisions = question.answer(&answer).unwrap().decisions;
            passed += u64::from(decisions[0].is_allowed());
            for shortage in question.shortages(&decisions) {
                refusals.remember(now, shortage, Duration::from_micros(500));
            }
        }
        let Per::Span(per) = policy.per else { unreachable!() };
        // Each that passes, and up to three that do not for each of them and for each window.
        let windows = 100_000 / per.as_millis() as u64 + 1;
        prop_assert!(questions <= 4 * (passed + windows), "{questions} for {passed} in {windows}");
    }
}
