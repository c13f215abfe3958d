use std::collections::VecDeque;

use super::*;
use crate::quota::algorithm::{Counter, State};
use crate::rng::Rng;
use crate::time::UnixTime;

/// Where the clocks start: monotonic, and that of Redis at the beginning of a day.
const STARTED_AT: u64 = 5_000_000;
const EPOCH: u64 = 1_800_057_600_000_000;

fn at(micros: u64) -> Instant {
    Instant::from_micros(STARTED_AT + micros)
}

fn policy(algorithm: Algorithm, limit: u64, secs: u64) -> Policy {
    Policy { algorithm, limit, per: Per::Span(Duration::from_secs(secs)) }
}

fn bucket(burst: u64) -> Algorithm {
    Algorithm::TokenBucket { burst: NonZeroU64::new(burst).unwrap() }
}

fn check(set: u64, tag: u64, cost: u64, policy: Policy) -> Check {
    let (policy, lease_life) = policy.leased();
    // The upper bits of the place choose among the sets.
    let hash = KeyHash::from_parts(set << 55, tag);
    let name = format!("{set}:{tag}").into_bytes();
    Check { rule: 0, policy, cost, name, hash, enforced: true, lease_life }
}

fn hot(tag: u64) -> Check {
    check(1, tag, 1, policy(Algorithm::FixedWindow, 1000, 60))
}

/// Gives units of a window that has 60 s left.
fn put(leases: &mut Leases, now: u64, check: &Check, units: u64) {
    let window_left = Duration::from_secs(60);
    let standing = Standing::Within { remaining: 100, reset_after: window_left };
    let grant = Grant { request: 0, check: 0, units, window_left, window_end_ms: 7 };
    leases.put(at(now), check, &standing, &grant);
}

#[test]
fn what_is_asked_for_seldom_is_asked_for_one_by_one() {
    let mut leases = Leases::default();
    for second in 0..10 {
        let now = at(second * 1_100_000);
        assert_eq!(leases.asking(now, 1).wanted(&hot(1)), 0);
    }
}

#[test]
fn as_much_is_wanted_as_was_needed_lately() {
    let mut leases = Leases::default();
    let wanted: Vec<u64> =
        (0..=6).map(|n| leases.asking(at(n * 1000), 1).wanted(&hot(1))).collect();
    // Six in 5 ms after the first: seven, for 250 ms. Then it is measured anew.
    assert_eq!(wanted, [0, 0, 0, 0, 0, 300, 0]);
    put(&mut leases, 6000, &hot(1), 300);
    assert_eq!(leases.asking(at(100_000), 1).wanted(&hot(1)), 0, "there is some");
    let mut exact = hot(1);
    exact.lease_life = None;
    assert_eq!(leases.asking(at(200_000), 1).wanted(&exact), 0);
}

#[test]
fn the_part_is_shared_by_all_holders() {
    let mut leases = Leases::default();
    let parts = [0, 1, 6].map(|holders| leases.asking(at(0), holders).part());
    assert_eq!(parts, [4, 4, 24]);
}

#[test]
fn a_request_is_paid_for_on_all_checks_or_on_none() {
    let mut leases = Leases::default();
    put(&mut leases, 0, &hot(1), 2);
    put(&mut leases, 0, &hot(2), 1);
    let both = [hot(1), hot(2)];
    let left = |standings: Vec<Standing>| standings.iter().map(Standing::remaining).collect();
    let paid: Option<Vec<u64>> = leases.pay(at(1), &both).map(left);
    // 100 were there with the units; what is not spent of them is still there.
    assert_eq!(paid, Some(vec![99, 99]));
    assert_eq!(leases.pay(at(1), &both), None);
    assert!(leases.pay(at(1), &both[..1]).is_some());
    assert_eq!(leases.pay(at(1), &both[..1]), None);
    let mut exact = hot(3);
    exact.lease_life = None;
    put(&mut leases, 0, &hot(4), 2);
    assert_eq!(leases.pay(at(1), &[hot(4), exact]), None);
    let dear = Check { cost: 3, ..hot(4) };
    assert_eq!(leases.pay(at(1), &[dear]), None);
}

#[test]
fn what_is_not_spent_in_time_is_given_back_once() {
    let mut leases = Leases::default();
    put(&mut leases, 0, &hot(1), 5);
    assert!(leases.pay(at(999_999), &[hot(1)]).is_some());
    assert_eq!(leases.take_unspent(at(999_999)), []);
    assert_eq!(leases.pay(at(1_000_000), &[hot(1)]), None);
    let unspent = leases.take_unspent(at(1_000_000));
    let expected = Unspent {
        name: b"1:1".to_vec(),
        policy: policy(Algorithm::FixedWindow, 1000, 60),
        units: 4,
        window_end_ms: 7,
    };
    assert_eq!(unspent, [expected]);
    assert_eq!(leases.take_unspent(at(1_000_000)), []);
}

#[test]
fn a_worker_gives_back_what_a_former_one_has_left() {
    let (mut former, mut next) = (Leases::default(), Leases::default());
    for tag in 1..=100 {
        put(&mut former, 0, &check(tag, tag, 1, hot(1).policy), tag);
    }
    next.inherit(former.bequeath(at(1)));
    assert_eq!(former.bequeath(at(1)), []);
    let groups: Vec<Vec<u64>> = (0..3)
        .map(|_| next.take_unspent(at(2)).iter().map(|unspent| unspent.units).collect())
        .collect();
    assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [64, 36, 0]);
    assert_eq!(groups.concat().iter().sum::<u64>(), 5050);
}

#[test]
fn units_end_with_their_window() {
    let mut leases = Leases::default();
    let standing = Standing::Within { remaining: 9, reset_after: Duration::from_millis(300) };
    let window_left = Duration::from_millis(300);
    let grant = Grant { request: 0, check: 0, units: 5, window_left, window_end_ms: 7 };
    leases.put(at(0), &hot(1), &standing, &grant);
    assert!(leases.pay(at(299_999), &[hot(1)]).is_some());
    assert_eq!(leases.pay(at(300_000), &[hot(1)]), None);
    assert_eq!(leases.take_unspent(at(300_000)), [], "there is nothing to give back to");
}

#[test]
fn a_flood_of_keys_pushes_out_no_units_and_does_not_grow_the_table() {
    let mut leases = Leases::default();
    for tag in 1..=3 {
        put(&mut leases, 0, &hot(tag), 1);
    }
    for tag in 10..100_000 {
        leases.asking(at(tag), 1).wanted(&hot(tag));
    }
    // The fourth place is taken, too: whoever comes then is asked for one by one.
    put(&mut leases, 0, &hot(4), 1);
    put(&mut leases, 0, &hot(5), 1);
    let paid: Vec<u64> = (1..=5).filter(|tag| leases.pay(at(1), &[hot(*tag)]).is_some()).collect();
    assert_eq!(paid, [1, 2, 3, 4]);
    assert_eq!(leases.entries.len(), SETS * WAYS);
}

#[test]
fn a_bucket_is_smaller_by_what_flows_in_while_units_are_held() {
    for (limit, secs, burst, expected, life_ms) in [
        (1000, 60, 1000, 983, 1000),
        (100, 1, 100, 87, 120),
        (1_000_000, 1, 1_000_000, 874_999, 125),
        (60, 60, 60, 58, 1000),
    ] {
        let (policy, life) = policy(bucket(burst), limit, secs).leased();
        let expected = (bucket(expected), Some(Duration::from_millis(life_ms)));
        assert_eq!((policy.algorithm, life), expected, "{limit} per {secs} s, {burst}");
    }
    // Where that would be more than an eighth, or nothing, each request is asked for.
    for (limit, burst) in [(1000, 7), (1_000_000, 1000), (1, 1)] {
        let exact = policy(bucket(burst), limit, 1);
        assert_eq!(exact.leased(), (exact, None));
    }
}

/// Some workers, one counter, and a Redis that takes and gives late or never, on one line of time.
struct World {
    rng: Rng,
    now: u64,
    rule: Policy,
    check: Check,
    /// What Redis holds, and what really passed, by the rule as it is written.
    stored: Option<State>,
    audit: Option<State>,
    holders: Vec<Leases>,
    answers: VecDeque<(u64, usize, Instant, Standing, Grant)>,
    returns: VecDeque<(u64, Unspent)>,
    looks_at: u64,
    lost_percent: u64,
    passed: u64,
    asked: u64,
}

impl World {
    fn new(seed: u64, rule: Policy, lost_percent: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            now: 0,
            rule,
            check: check(1, 1, 1, rule),
            stored: None,
            audit: None,
            holders: vec![Leases::default(), Leases::default(), Leases::default()],
            answers: VecDeque::new(),
            returns: VecDeque::new(),
            looks_at: 0,
            lost_percent,
            passed: 0,
            asked: 0,
        }
    }

    fn unix(&self) -> UnixTime {
        UnixTime::from_micros(EPOCH + self.now)
    }

    /// Passes one: no rule may have been broken by it.
    fn pass(&mut self, cost: u64) {
        let mut counter = Counter::new(self.rule, self.audit, self.unix());
        assert!(counter.has(cost), "more than the limit at {}", self.now);
        counter.take(cost);
        self.audit = Some(counter.state());
        self.passed += cost;
    }

    fn request(&mut self, holder: usize) {
        let check = Check { cost: 1 + self.rng.up_to(1), ..self.check.clone() };
        if self.holders[holder].pay(at(self.now), std::slice::from_ref(&check)).is_some() {
            return self.pass(check.cost);
        }
        self.asked += 1;
        // The question was asked a while ago; Redis takes now, and its answer comes later.
        let asked_at = at(self.now.saturating_sub(self.rng.up_to(3000)));
        let mut asking = self.holders[holder].asking(asked_at, 3);
        let (wanted, part) = (asking.wanted(&check), asking.part());
        let mut counter = Counter::new(check.policy, self.stored, self.unix());
        if counter.has(check.cost) {
            counter.take(check.cost);
            self.pass(check.cost);
        }
        let units = wanted.min(counter.remaining() / part);
        counter.take(units);
        self.stored = Some(counter.state());
        let is_window = !matches!(check.policy.algorithm, Algorithm::TokenBucket { .. });
        let left = counter.reset_after(0);
        let grant = Grant {
            request: 0,
            check: 0,
            units,
            window_left: left,
            window_end_ms: if is_window { counter.state().at } else { 0 },
        };
        let standing =
            Standing::Within { remaining: counter.remaining() + units, reset_after: left };
        if self.rng.up_to(99) >= self.lost_percent {
            let comes_at = self.now + self.rng.up_to(3000);
            self.answers.push_back((comes_at, holder, asked_at, standing, grant));
        }
    }

    fn step(&mut self, longest_us: u64) {
        self.now += self.rng.up_to(longest_us);
        while let Some((_, holder, asked_at, standing, grant)) =
            self.answers.pop_front_if(|(comes_at, ..)| *comes_at <= self.now)
        {
            self.holders[holder].put(asked_at, &self.check, &standing, &grant);
        }
        while let Some((_, unspent)) = self.returns.pop_front_if(|(at, _)| *at <= self.now) {
            let in_time = self.unix().as_millis() < unspent.window_end_ms;
            let state = self.stored.as_mut().filter(|state| state.at == unspent.window_end_ms);
            if let Some(state) = state.filter(|_| in_time) {
                state.held -= unspent.units;
            }
        }
        // As often as a worker looks.
        if self.now < self.looks_at {
            return;
        }
        self.looks_at = self.now + 100_000;
        for holder in &mut self.holders {
            for unspent in holder.take_unspent(at(self.now)) {
                if self.rng.up_to(99) >= self.lost_percent {
                    self.returns.push_back((self.now + self.rng.up_to(3000), unspent));
                }
            }
        }
    }
}

#[test]
fn never_does_more_pass_than_the_limit() {
    let rules = [
        policy(Algorithm::FixedWindow, 900, 2),
        policy(Algorithm::SlidingWindow, 900, 2),
        policy(bucket(1000), 500, 1),
        policy(bucket(200), 3000, 10),
    ];
    let mut paid_ahead = 0;
    for seed in 0..60 {
        for rule in rules {
            let mut world = World::new(seed, rule, 10);
            for _ in 0..6000 {
                let holder = usize::try_from(world.rng.up_to(2)).unwrap();
                world.request(holder);
                // Now and then all is quiet for a while.
                let longest_us = if world.rng.up_to(499) == 0 { 2_000_000 } else { 1500 };
                world.step(longest_us);
            }
            paid_ahead += 6000 - world.asked;
        }
    }
    assert!(paid_ahead > 60 * 4 * 600, "hardly anything was taken ahead: {paid_ahead}");
}

#[test]
fn whoever_goes_on_asking_gets_the_limit_of_each_window() {
    for seed in 0..20 {
        for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
            let mut world = World::new(seed, policy(algorithm, 4000, 10), 0);
            // All ask for half of a second, then one alone, which finds what the others give back.
            while world.now < 9_900_000 {
                let last = if world.now < 500_000 { 2 } else { 0 };
                let holder = usize::try_from(world.rng.up_to(last)).unwrap();
                world.request(holder);
                world.step(1000);
            }
            assert_eq!(world.passed, 4000, "seed {seed}, {algorithm:?}");
            assert!(world.asked > 4000, "the rest was refused");
        }
    }
}
