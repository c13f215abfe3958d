//! What each algorithm promises, over random histories of one counter.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::*;

/// 2027-01-01 UTC in microseconds.
const BEGINNING: u64 = 1_798_761_600_000_000;

#[derive(Clone, Copy, Debug)]
struct Arrival {
    after_us: u64,
    cost: u64,
}

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let after_us = prop_oneof![0..1000_u64, 0..1_000_000_u64, 0..30_000_000_u64];
    let arrival = (after_us, prop_oneof![4 => Just(1), 1 => 1..8_u64])
        .prop_map(|(after_us, cost)| Arrival { after_us, cost });
    prop::collection::vec(arrival, 1..200)
}

fn policy(algorithm: Algorithm, limit: u64, secs: u64) -> Policy {
    Policy { algorithm, limit, per: Per::Span(Duration::from_secs(secs)) }
}

/// Plays the arrivals; the times in microseconds and costs of those that passed.
fn play(policy: Policy, arrivals: &[Arrival]) -> Vec<(u64, u64)> {
    let (mut now_us, mut stored, mut passed) = (BEGINNING, None, Vec::new());
    for arrival in arrivals {
        now_us += arrival.after_us;
        let now = UnixTime::from_micros(now_us);
        let mut counter = Counter::new(policy, stored, now);
        let passes = counter.has(arrival.cost);
        assert_eq!(passes, counter.remaining() >= arrival.cost);
        check_promise(policy, stored, now, arrival.cost, passes);
        if passes {
            counter.take(arrival.cost);
            stored = Some(counter.state());
            passed.push((now_us, arrival.cost));
        }
        if counter.expires_at_ms() <= now.as_millis() {
            stored = None;
        }
    }
    passed
}

/// A client that comes back when it was told to passes, and up to a moment before it would not.
fn check_promise(policy: Policy, stored: Option<State>, now: UnixTime, cost: u64, passes: bool) {
    let capacity = match policy.algorithm {
        Algorithm::FixedWindow | Algorithm::SlidingWindow => policy.limit,
        Algorithm::TokenBucket { burst } => burst.get(),
    };
    if passes || cost > capacity {
        return;
    }
    let wait_us = Counter::new(policy, stored, now).reset_after(cost).as_micros() as u64;
    let at = |us: u64| UnixTime::from_micros(now.as_micros() + us);
    // Windows and waits are told in milliseconds, of which the present one has partly passed.
    assert!(Counter::new(policy, stored, at(wait_us)).has(cost), "{policy:?} {stored:?} {now:?}");
    let before = at(wait_us.saturating_sub(2000));
    assert!(!Counter::new(policy, stored, before).has(cost), "{policy:?} {stored:?} {now:?}");
}

fn sum(passed: &[(u64, u64)], from_us: u64, to_us: u64) -> u64 {
    let within = passed.iter().filter(|(at, _)| (from_us..to_us).contains(at));
    within.map(|(_, cost)| cost).sum()
}

proptest! {
    #[test]
    fn a_fixed_window_admits_its_limit(arrivals in arrivals(), limit in 1..20_u64, secs in 1..60_u64) {
        let passed = play(policy(Algorithm::FixedWindow, limit, secs), &arrivals);
        let per_us = secs * 1_000_000;
        for (at, _) in &passed {
            let start = at / per_us * per_us;
            prop_assert!(sum(&passed, start, start + per_us) <= limit);
        }
    }

    #[test]
    fn a_sliding_window_weighs_the_one_before(
        arrivals in arrivals(), limit in 1..20_u64, secs in 1..60_u64,
    ) {
        let passed = play(policy(Algorithm::SlidingWindow, limit, secs), &arrivals);
        let per_us = secs * 1_000_000;
        for (index, (at, _)) in passed.iter().enumerate() {
            let start = at / per_us * per_us;
            let so_far = &passed[..=index];
            let (here, before) =
                (sum(so_far, start, at + 1), sum(so_far, start.saturating_sub(per_us), start));
            // before × left / per + here <= limit, in whole numbers and milliseconds.
            let left_ms = (start + per_us) / 1000 - at / 1000;
            prop_assert!(before * left_ms + here * secs * 1000 <= limit * secs * 1000);
        }
    }

    #[test]
    fn a_bucket_admits_what_it_holds_and_what_flows_in(
        arrivals in arrivals(), limit in 1..20_u64, secs in 1..60_u64, burst in 1..30_u64,
    ) {
        let algorithm = Algorithm::TokenBucket { burst: NonZeroU64::new(burst).unwrap() };
        let passed = play(policy(algorithm, limit, secs), &arrivals);
        for (index, (from, _)) in passed.iter().enumerate() {
            for (to, _) in &passed[index..] {
                let flowed = (to - from) as f64 * limit as f64 / (secs * 1_000_000) as f64;
                let admitted = sum(&passed, *from, to + 1) as f64;
                prop_assert!(admitted <= burst as f64 + flowed + 1e-6, "{admitted} {flowed}");
            }
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again(cost in 1..20_u64, burst in 1..30_u64) {
        let burst = NonZeroU64::new(burst).unwrap();
        for algorithm in
            [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket { burst }]
        {
            let policy = policy(algorithm, 20, 60);
            let mut counter = Counter::new(policy, None, UnixTime::from_micros(BEGINNING));
            let before = counter.remaining();
            counter.take(cost.min(before));
            counter.give_back(cost.min(before));
            prop_assert_eq!(counter.remaining(), before);
        }
    }
}

#[test]
fn a_month_ends_with_the_calendar() {
    let policy = Policy { algorithm: Algorithm::FixedWindow, limit: 1, per: Per::Month };
    let day_us = 86_400_000_000;
    let mut counter = Counter::new(policy, None, UnixTime::from_micros(BEGINNING));
    assert_eq!(counter.reset_after(1), Duration::from_secs(31 * 86_400));
    counter.take(1);
    let stored = Some(counter.state());
    let at = |us| Counter::new(policy, stored, UnixTime::from_micros(BEGINNING + us));
    assert!(!at(31 * day_us - 1).has(1));
    assert!(at(31 * day_us).has(1));
    assert_eq!(at(31 * day_us).reset_after(1), Duration::from_secs(28 * 86_400));
}
