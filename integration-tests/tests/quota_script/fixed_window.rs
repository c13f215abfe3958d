//! Fixed windows by the clock of Redis.
//!
//! The model is told the time that the reply itself implies, which must lie between two looks at the clock of this
//! machine.

use std::collections::BTreeMap;
use std::time::Duration;

use meliproxy::config::{Algorithm, Per};
use meliproxy::key::{HashSeed, KeyHash};
use meliproxy::quota::lease::Exact;
use meliproxy::quota::policy::Policy;
use meliproxy::quota::script::{self, Question};
use meliproxy::quota::{Check, Decision, Standing};
use meliproxy::redis::{Command, Value};
use meliproxy::rng::Rng;

use crate::server::{Connection, Server};
use crate::{seed, unix_ms};

/// Script calls of the random histories.
const CALLS: usize = 100_000;

/// Windows of the counters: the short ones end all the time, the long ones hardly ever.
const WINDOWS_MS: [u64; 4] = [10, 25, 1000, 3_600_000];

/// Counters for each length of window.
const KEYS: u64 = 3;

/// What the script must do, written down as plainly as possible.
#[derive(Default)]
struct Model {
    counters: BTreeMap<Vec<u8>, Counter>,
}

struct Counter {
    end_ms: u64,
    per_ms: u64,
    count: u64,
}

impl Model {
    /// Decides the requests one after the other; all are told how their counters stand after the last.
    fn decide(&mut self, requests: &[Vec<Check>], now_ms: u64) -> Vec<Decision> {
        let verdicts: Vec<_> = requests.iter().map(|checks| self.take(checks, now_ms)).collect();
        let standing = |check: &Check, passed: bool| {
            let (end_ms, count) = self.window(check, now_ms);
            let reset_after = Duration::from_millis(end_ms - now_ms);
            let remaining = check.policy.limit.saturating_sub(count);
            if passed || remaining > 0 {
                Standing::Within { remaining, reset_after }
            } else {
                Standing::Exceeded { remaining, reset_after }
            }
        };
        let decision = |(checks, passed): (&Vec<Check>, bool)| {
            Decision::new(passed, checks.iter().map(|check| standing(check, passed)).collect())
        };
        requests.iter().zip(verdicts).map(decision).collect()
    }

    /// Whether a request passes, and was counted.
    fn take(&mut self, checks: &[Check], now_ms: u64) -> bool {
        let windows: Vec<_> = checks.iter().map(|check| self.window(check, now_ms)).collect();
        let passes =
            checks.iter().zip(&windows).all(|(check, (_, count))| *count < check.policy.limit);
        for (check, (end_ms, count)) in checks.iter().zip(windows).filter(|_| passes) {
            let per_ms = per_ms(check);
            let counter = Counter { end_ms, per_ms, count: count + 1 };
            self.counters.insert(check.name.clone(), counter);
        }
        passes
    }

    /// End and count of the window that `now_ms` lies in.
    fn window(&self, check: &Check, now_ms: u64) -> (u64, u64) {
        let end_ms = end_of_window(check, now_ms);
        match self.counters.get(&check.name) {
            Some(counter) if counter.end_ms == end_ms => (end_ms, counter.count),
            _ => (end_ms, 0),
        }
    }
}

fn per_ms(check: &Check) -> u64 {
    let Per::Span(per) = check.policy.per else { panic!("no month here") };
    per.as_millis() as u64
}

fn end_of_window(check: &Check, now_ms: u64) -> u64 {
    let per_ms = per_ms(check);
    (now_ms / per_ms + 1) * per_ms
}

fn check(window_ms: u64, key: u64, limit: u64) -> Check {
    let name = format!("mp:{{test}}:fw:1:rule:{window_ms}:{key}").into_bytes();
    let hash = KeyHash::of(&HashSeed([0; 16]), &name);
    let per = Per::Span(Duration::from_millis(window_ms));
    let policy = Policy { algorithm: Algorithm::FixedWindow, limit, per };
    Check { rule: 0, policy, cost: 1, name, hash, enforced: true, lease_life: None }
}

/// The clock of the model, checked by every request: only one moment fits the time that is left of its window.
fn clock() -> Check {
    check(3_600_000, KEYS, 999_999_999_999_999)
}

/// What is asked at once: up to eight requests, each for the clock and up to four other counters. Limits change from
/// question to question, as if they were edited all the time.
fn random_requests(rng: &mut Rng) -> Vec<Vec<Check>> {
    let mut limits = BTreeMap::new();
    (0..=rng.up_to(7)).map(|_| random_checks(rng, &mut limits)).collect()
}

fn random_checks(rng: &mut Rng, limits: &mut BTreeMap<(u64, u64), u64>) -> Vec<Check> {
    let mut checks = vec![clock()];
    for _ in 0..rng.up_to(4) {
        let counter = (WINDOWS_MS[rng.up_to(3) as usize], rng.up_to(KEYS - 1));
        let limit = *limits.entry(counter).or_insert_with(|| match rng.up_to(29) {
            0 => 1,
            1 => 999_999_999_999_999,
            _ if counter.0 < 1000 => 1 + rng.up_to(200),
            _ => 1 + rng.up_to(100_000),
        });
        let check = check(counter.0, counter.1, limit);
        if checks.iter().all(|other| other.name != check.name) {
            checks.insert(rng.up_to(checks.len() as u64) as usize, check);
        }
    }
    checks
}

/// The moment at which decisions were made, by the times they say are left: the only one between two looks that fits.
fn time_of(decisions: &[Decision], requests: &[Vec<Check>], looks_ms: (u64, u64)) -> u64 {
    let left = |check: &Check, now_ms| Duration::from_millis(end_of_window(check, now_ms) - now_ms);
    let fits = |now_ms: &u64| {
        requests.iter().zip(decisions).all(|(checks, decision)| {
            let mut standings = checks.iter().zip(decision.standings());
            standings.all(|(check, standing)| standing.reset_after() == left(check, *now_ms))
        })
    };
    let fitting: Vec<u64> = (looks_ms.0..=looks_ms.1).filter(fits).collect();
    let [now_ms] = fitting[..] else { panic!("{fitting:?} fit {decisions:?} for {requests:?}") };
    now_ms
}

#[test]
fn random_histories_are_decided_as_by_the_model() {
    let server = Server::start();
    let mut connection = server.connect(&script::SOURCES);
    let (mut rng, mut model) = (Rng::with_seed(seed()), Model::default());
    let (mut calls, mut decided, mut refused, mut flushes) = (0, 0, 0, 0);
    while calls < CALLS {
        let asked: Vec<_> = (0..=rng.up_to(7)).map(|_| random_requests(&mut rng)).collect();
        let ask = |requests: &Vec<Vec<Check>>| {
            Question::of(requests.iter().map(Vec::as_slice), &mut Exact)
        };
        let (questions, mut commands): (Vec<_>, Vec<_>) = asked.iter().map(ask).unzip();
        if rng.up_to(99) == 0 {
            // What a failover, a restart or an operator does to scripts, between two calls.
            let flush = Command::new(b"SCRIPT").arg(b"FLUSH");
            commands.insert(0, flush.into());
            flushes += 1;
        }
        let before_ms = unix_ms();
        let replies = connection.ask(commands);
        let looks_ms = (before_ms, unix_ms());
        let flushed = replies.len() - asked.len();
        for ((requests, question), value) in asked.iter().zip(questions).zip(&replies[flushed..]) {
            let decisions = question.answer(value).unwrap().decisions;
            let now_ms = time_of(&decisions, requests, looks_ms);
            let expected = model.decide(requests, now_ms);
            assert_eq!(decisions, expected, "call {calls} at {now_ms}: {value:?} for {requests:?}");
            decided += requests.len();
            refused += decisions.iter().filter(|decision| !decision.is_allowed()).count();
            calls += 1;
        }
        if rng.up_to(99) == 0 {
            assert_stored(&mut connection, &model);
        }
    }
    println!(
        "{calls} calls for {decided} requests, {refused} refused, {flushes} times all scripts were forgotten"
    );
    let often = decided / 20;
    assert!((often..decided - often).contains(&refused) && flushes > 10, "nothing was tried");
}

/// Redis holds the counters of windows that are not over, until they are over.
fn assert_stored(connection: &mut Connection, model: &Model) {
    for (name, Counter { end_ms, per_ms, count }) in &model.counters {
        let before_ms = unix_ms();
        let stored = connection.command(&[b"GET", name]);
        let expires_at_ms = connection.integer(&[b"PEXPIRETIME", name]);
        let name = String::from_utf8_lossy(name);
        // A window that ends just now is neither to be expected nor to be missed.
        if before_ms > *end_ms {
            assert_eq!((stored, expires_at_ms), (Value::Null, -2), "{name}");
        } else if unix_ms() < *end_ms {
            let last_digit_of_window = (end_ms / per_ms - 1) % 10;
            let expected = count * 10 + last_digit_of_window;
            assert_eq!(stored.as_bytes(), Some(expected.to_string().as_bytes()), "{name}");
            assert_eq!(expires_at_ms, end_ms.cast_signed(), "{name}");
        }
    }
}
