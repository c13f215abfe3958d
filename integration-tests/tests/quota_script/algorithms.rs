//! All algorithms, on a clock that the test sets: months pass in seconds, and every history can be repeated.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use meliproxy::config::{Algorithm, Per};
use meliproxy::quota::algorithm::{Counter, State};
use meliproxy::quota::key::{HashSeed, KeyHash};
use meliproxy::quota::policy::Policy;
use meliproxy::quota::script::{self, Question};
use meliproxy::quota::{Check, Decision, Standing};
use meliproxy::redis::{Command, Request};
use meliproxy::rng::Rng;
use meliproxy::time::UnixTime;

use crate::seed;
use crate::server::Server;

/// Requests of the random histories.
const REQUESTS: usize = 1_000_000;

/// 2100-01-01 UTC in microseconds: so far ahead that Redis itself lets nothing expire during a run.
const BEGINNING: u64 = 4_102_444_800_000_000;

/// Counters for each rule.
const KEYS: u64 = 4;

/// In front of the script: its clock is what the test has set, and what has expired by it is gone.
const MADE_CLOCK: &str = r"
local now_ms = redis.call('GET', 'clock') / 1000
for _, key in ipairs(KEYS) do
  local at = redis.call('PEXPIRETIME', key)
  if at >= 0 and at <= now_ms then redis.call('DEL', key) end
end
";

/// What `redis.call('TIME')` becomes.
const MADE_TIME: &str = "{0, tonumber(redis.call('GET', 'clock'))}";

fn script_on_made_clock() -> &'static str {
    let parts: Vec<&str> = script::SOURCES[0].split("redis.call('TIME')").collect();
    assert_eq!(parts.len(), 2, "the script looks at the clock once");
    Box::leak(format!("{MADE_CLOCK}{}{MADE_TIME}{}", parts[0], parts[1]).into_boxed_str())
}

/// What Redis should hold.
#[derive(Default)]
struct Model {
    counters: BTreeMap<Vec<u8>, (State, u64)>,
}

impl Model {
    fn decide(&mut self, requests: &[Vec<Check>], now: UnixTime) -> Vec<Decision> {
        let now_ms = now.as_millis();
        self.counters.retain(|_, (_, expires_at_ms)| *expires_at_ms > now_ms);
        let mut open = BTreeMap::new();
        for check in requests.iter().flatten() {
            let stored = self.counters.get(&check.name).map(|(state, _)| *state);
            let counter = Counter::new(check.policy, stored, now);
            open.entry(check.name.clone()).or_insert((counter, 1, false));
        }
        let mut verdicts = Vec::new();
        for checks in requests {
            let mut passes = true;
            for check in checks.iter().filter(|check| check.enforced) {
                let (counter, need, _) = open.get_mut(&check.name).unwrap();
                if !counter.has(check.cost) {
                    passes = false;
                    *need = check.cost.max(*need);
                }
            }
            let mut took = Vec::new();
            for check in checks.iter().filter(|_| passes) {
                let (counter, need, taken) = open.get_mut(&check.name).unwrap();
                took.push(counter.has(check.cost));
                if counter.has(check.cost) {
                    counter.take(check.cost);
                    *taken = true;
                } else {
                    *need = check.cost.max(*need);
                }
            }
            verdicts.push((passes, took));
        }
        for (name, (counter, _, _)) in open.iter().filter(|(_, (_, _, taken))| *taken) {
            self.counters.insert(name.clone(), (counter.state(), counter.expires_at_ms()));
        }
        // Of a request that passes each check has taken its units, or is a shadow that had none.
        let standing = |check: &Check, took: Option<bool>| {
            let (counter, need, _) = &open[&check.name];
            let (remaining, reset_after) = (counter.remaining(), counter.reset_after(*need));
            if took.unwrap_or_else(|| counter.has(check.cost)) {
                Standing::Within { remaining, reset_after }
            } else {
                Standing::Exceeded { remaining, reset_after }
            }
        };
        let decision = |(checks, (passed, took)): (&Vec<Check>, (bool, Vec<bool>))| {
            let took = took.into_iter().map(Some).chain(std::iter::repeat(None));
            let standings = checks.iter().zip(took).map(|(check, took)| standing(check, took));
            Decision::new(passed, standings.collect())
        };
        requests.iter().zip(verdicts).map(decision).collect()
    }
}

/// A rule of each kind, with limits from one to the largest. They change from question to question, as if edited.
fn random_policy(rng: &mut Rng) -> Policy {
    let limit = match rng.up_to(9) {
        0 => 1,
        1 => 999_999_999_999_999,
        2 => 1 + rng.up_to(1_000_000),
        _ => 1 + rng.up_to(40),
    };
    let spans = [1, 7, 60, 3600, 86_400, 31_536_000];
    let per = Per::Span(Duration::from_secs(spans[rng.up_to(5) as usize]));
    let burst = NonZeroU64::new(if rng.up_to(1) == 0 { limit } else { 1 + rng.up_to(60) }).unwrap();
    let (algorithm, per) = match rng.up_to(3) {
        0 => (Algorithm::FixedWindow, per),
        1 => (Algorithm::FixedWindow, Per::Month),
        2 => (Algorithm::SlidingWindow, per),
        _ => (Algorithm::TokenBucket { burst }, per),
    };
    Policy { algorithm, limit, per }
}

/// The checks of up to eight requests: of each rule at most one, and of a counter always by the same policy.
fn random_requests(rng: &mut Rng) -> Vec<Vec<Check>> {
    let mut policies = BTreeMap::new();
    (0..=rng.up_to(7))
        .map(|_| {
            let mut checks: Vec<Check> = Vec::new();
            for _ in 0..=rng.up_to(3) {
                let rule = rng.up_to(11);
                let policy = *policies.entry(rule).or_insert_with(|| random_policy(rng));
                let kind = (std::mem::discriminant(&policy.algorithm), policy.per);
                let name = format!("{rule}:{kind:?}:{}", rng.up_to(KEYS - 1)).into_bytes();
                let hash = KeyHash::of(&HashSeed([0; 16]), &name);
                let cost = if rng.up_to(4) == 0 { 1 + rng.up_to(9) } else { 1 };
                let enforced = rng.up_to(4) > 0;
                if checks.iter().all(|other| other.rule != rule as usize) {
                    checks.push(Check { rule: rule as usize, policy, cost, name, hash, enforced });
                }
            }
            checks
        })
        .collect()
}

/// How far the clock goes on: hardly at all, within windows, over a few, or far.
fn random_step_us(rng: &mut Rng) -> u64 {
    match rng.up_to(99) {
        0 => rng.up_to(40 * 86_400_000_000),
        1..10 => rng.up_to(100_000_000),
        10..50 => rng.up_to(1_000_000),
        _ => rng.up_to(1000),
    }
}

#[test]
fn every_algorithm_decides_in_redis_as_within_a_process() {
    let scripts: &[&str] = Box::leak(Box::new([script_on_made_clock()]));
    let server = Server::start();
    let mut connection = server.connect(scripts);
    let (mut rng, mut model) = (Rng::with_seed(seed()), Model::default());
    let (mut now_us, mut decided, mut refused) = (BEGINNING, 0, 0);
    while decided < REQUESTS {
        let asked: Vec<_> = (0..20)
            .map(|_| {
                now_us += random_step_us(&mut rng);
                (now_us, random_requests(&mut rng))
            })
            .collect();
        let mut commands: Vec<Request> = Vec::new();
        let mut questions = Vec::new();
        for (now_us, requests) in &asked {
            let (question, call) = Question::of(requests.iter().map(Vec::as_slice));
            let clock = now_us.to_string();
            commands.push(Command::new(b"SET").arg(b"clock").arg(clock.as_bytes()).into());
            commands.push(call);
            questions.push(question);
        }
        let replies = connection.ask(commands);
        for (((now_us, requests), question), reply) in
            asked.iter().zip(questions).zip(replies.iter().skip(1).step_by(2))
        {
            let expected = model.decide(requests, UnixTime::from_micros(*now_us));
            let decisions = question.decisions(reply);
            let decisions = decisions.unwrap_or_else(|| panic!("{reply:?} for {requests:?}"));
            assert_eq!(decisions, expected, "at {now_us}, after {decided}: {requests:#?}");
            decided += requests.len();
            refused += decisions.iter().filter(|decision| !decision.is_allowed()).count();
        }
    }
    println!(
        "{decided} requests, {refused} refused, {} days",
        (now_us - BEGINNING) / 86_400_000_000
    );
    assert!((decided / 20..decided - decided / 20).contains(&refused), "nothing was tried");
}
