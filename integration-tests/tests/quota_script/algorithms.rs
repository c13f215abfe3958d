//! All algorithms, on a clock that the test sets: months pass in seconds, and every history can be repeated.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use meliproxy::config::{Algorithm, Per};
use meliproxy::key::{HashSeed, KeyHash};
use meliproxy::quota::algorithm::{Counter, State};
use meliproxy::quota::lease::{Ahead, Unspent};
use meliproxy::quota::policy::Policy;
use meliproxy::quota::script::{self, Question};
use meliproxy::quota::{Check, Decision, Standing};
use meliproxy::redis::Command;
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

fn scripts_on_made_clock() -> &'static [&'static str] {
    let on_made_clock = |source: &&str| -> &'static str {
        let parts: Vec<&str> = source.split("redis.call('TIME')").collect();
        assert_eq!(parts.len(), 2, "a script looks at the clock once");
        Box::leak(format!("{MADE_CLOCK}{}{MADE_TIME}{}", parts[0], parts[1]).into_boxed_str())
    };
    Box::leak(script::SOURCES.iter().map(on_made_clock).collect())
}

/// Takes random amounts ahead, of a random part.
struct RandomAhead<'r> {
    rng: &'r mut Rng,
    part: u64,
    /// By which checks.
    wanted: Vec<(Check, u64)>,
}

impl Ahead for RandomAhead<'_> {
    fn wanted(&mut self, check: &Check) -> u64 {
        let wanted = if self.rng.up_to(5) == 0 { 1 + self.rng.up_to(20) } else { 0 };
        if wanted > 0 {
            self.wanted.push((check.clone(), wanted));
        }
        wanted
    }

    fn part(&self) -> u64 {
        self.part
    }
}

/// What Redis should hold.
#[derive(Default)]
struct Model {
    counters: BTreeMap<Vec<u8>, (State, u64)>,
}

impl Model {
    /// The decisions, and for each lease that is wanted the units that are taken and when the window ends.
    fn decide(
        &mut self,
        requests: &[Vec<Check>],
        (wanted, part): (&[(Check, u64)], u64),
        now: UnixTime,
    ) -> (Vec<Decision>, Vec<(u64, u64)>) {
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
            let has_room = |check: &Check| !check.enforced || open[&check.name].0.has(check.cost);
            let passes = checks.iter().all(has_room);
            for check in checks.iter().filter(|_| !passes) {
                let (_, need, _) = open.get_mut(&check.name).unwrap();
                *need = check.cost.max(*need);
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
        let (mut ahead, mut grants) = (BTreeMap::new(), Vec::new());
        for (check, wanted) in wanted {
            let (counter, _, taken) = open.get_mut(&check.name).unwrap();
            let units = (counter.remaining() / part).min(*wanted);
            counter.take(units);
            *taken |= units > 0;
            *ahead.entry(check.name.as_slice()).or_insert(0) += units;
            let window_end_ms = match (check.policy.algorithm, check.policy.per) {
                (Algorithm::TokenBucket { .. }, _) => 0,
                (Algorithm::SlidingWindow, Per::Span(span)) => {
                    counter.expires_at_ms() - span.as_millis() as u64
                }
                _ => counter.expires_at_ms(),
            };
            grants.push((units, window_end_ms));
        }
        for (name, (counter, _, _)) in open.iter().filter(|(_, (_, _, taken))| *taken) {
            self.counters.insert(name.clone(), (counter.state(), counter.expires_at_ms()));
        }
        // Of a request that passes each check has taken its units, or is a shadow that had none.
        let standing = |check: &Check, took: Option<bool>| {
            let (counter, need, _) = &open[&check.name];
            let ahead = ahead.get(check.name.as_slice()).copied().unwrap_or(0);
            let (remaining, reset_after) =
                (counter.remaining() + ahead, counter.reset_after(*need));
            if took.unwrap_or(remaining >= check.cost) {
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
        (requests.iter().zip(verdicts).map(decision).collect(), grants)
    }

    /// Gives back to the window that the units were taken in, if it is not over.
    fn give_back(&mut self, unspent: &Unspent, now: UnixTime) {
        let stored = self.counters.get_mut(&unspent.name);
        if let Some((state, _)) = stored
            && now.as_millis() < unspent.window_end_ms
            && state.at == unspent.window_end_ms
        {
            state.held -= unspent.units;
        }
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
                    checks.push(Check {
                        rule: rule as usize,
                        policy,
                        cost,
                        name,
                        hash,
                        enforced,
                        lease_life: None,
                    });
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

/// One step of a history: when it is, what is asked and taken ahead, and what is given back then.
struct Step {
    now: UnixTime,
    requests: Vec<Vec<Check>>,
    question: Question,
    ahead: (Vec<(Check, u64)>, u64),
}

#[test]
fn every_algorithm_decides_in_redis_as_within_a_process() {
    let server = Server::start();
    let mut connection = server.connect(scripts_on_made_clock());
    let (mut rng, mut model) = (Rng::with_seed(seed()), Model::default());
    let (mut now_us, mut decided, mut refused) = (BEGINNING, 0, 0);
    let (mut held, mut leased, mut given_back) = (Vec::new(), 0, 0);
    while decided < REQUESTS {
        let (mut commands, mut steps) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            now_us += random_step_us(&mut rng);
            let requests = random_requests(&mut rng);
            let part = 1 + rng.up_to(7);
            let mut ahead = RandomAhead { rng: &mut rng, part, wanted: Vec::new() };
            let (question, call) = Question::of(requests.iter().map(Vec::as_slice), &mut ahead);
            let ahead = (ahead.wanted, part);
            let clock = now_us.to_string();
            commands.push(Command::new(b"SET").arg(b"clock").arg(clock.as_bytes()).into());
            commands.push(call);
            let now = UnixTime::from_micros(now_us);
            steps.push(Step { now, requests, question, ahead });
        }
        // What is held for longer than a few windows goes back to windows that are over.
        let returned: Vec<Unspent> =
            held.extract_if(.., |_: &mut Unspent| rng.up_to(2) == 0).take(60).collect();
        if !returned.is_empty() {
            commands.push(script::give_back(&returned));
        }
        let replies = connection.ask(commands);
        for (step, reply) in steps.iter().zip(replies.iter().skip(1).step_by(2)) {
            let Step { now, requests, question, ahead } = step;
            let (expected, grants) = model.decide(requests, (&ahead.0, ahead.1), *now);
            let answer = question.answer(reply);
            let answer = answer.unwrap_or_else(|| panic!("{reply:?} for {requests:?}"));
            assert_eq!(answer.decisions, expected, "at {now:?}, after {decided}: {requests:#?}");
            let told = answer.grants.iter().map(|grant| (grant.units, grant.window_end_ms));
            assert_eq!(told.collect::<Vec<_>>(), grants, "at {now:?}: {:?}", ahead.0);
            for ((check, _), (units, window_end_ms)) in ahead.0.iter().zip(grants) {
                leased += units;
                if units > 0 && window_end_ms > 0 {
                    let (name, policy) = (check.name.clone(), check.policy);
                    held.push(Unspent { name, policy, units, window_end_ms });
                }
            }
            decided += requests.len();
            let is_refused = |decision: &&Decision| !decision.is_allowed();
            refused += answer.decisions.iter().filter(is_refused).count();
        }
        for unspent in &returned {
            given_back += 1;
            model.give_back(unspent, UnixTime::from_micros(now_us));
        }
    }
    let days = (now_us - BEGINNING) / 86_400_000_000;
    println!("{decided} requests, {refused} refused, {leased} units leased, {days} days");
    assert!((decided / 20..decided - decided / 20).contains(&refused), "nothing was tried");
    assert!(given_back > decided / 100, "nothing was given back");
}
