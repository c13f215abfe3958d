//! Random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meliproxy::breaker::board::{Expected, Key, Said};
use meliproxy::breaker::evidence::{Context, Report};
use meliproxy::breaker::policy::{Policy, ROLLS};
use meliproxy::breaker::record::{Epoch, Event, Outcome, Record, State, Token};
use meliproxy::breaker::script::said;
use meliproxy::breaker::told::{Standing, Told};
use meliproxy::redis::Command;
use meliproxy::rng::Rng;

use crate::server::Server;
use crate::subscriber::Subscriber;
use crate::{INDEX, PROCESSES, calls, key, say, script_on_made_clock, set_clock, terms};

/// Ops of all histories together.
const OPS: usize = 300_000;
/// Calls that are handed in at once.
const BURST: usize = 200;
/// Keys of each policy.
const KEYS: u64 = 3;
/// 2026 in microseconds since 1970.
const BEGINNING: u64 = 1_780_000_000_000_000;

/// One that is told in the end, so that all others have been heard.
const END: &str = "end";

fn policies() -> Vec<Policy> {
    let plain = Policy {
        consecutive_failures: 5,
        failure_percent: 0,
        slow_percent: 0,
        window_ms: 10_000,
        minimum_calls: 20,
        open_for_ms: 30_000,
        max_open_for_ms: 300_000,
        probes: 1,
        close_after: 1,
        probe_timeout: Duration::from_secs(10),
        ramp: Duration::ZERO,
    };
    vec![
        plain,
        Policy { consecutive_failures: 1, probes: 3, close_after: 2, open_for_ms: 100, ..plain },
        Policy { consecutive_failures: 0, failure_percent: 50, minimum_calls: 4, ..plain },
        Policy { failure_percent: 33, slow_percent: 20, window_ms: 1_003, ..plain },
        Policy { consecutive_failures: 0, slow_percent: 100, minimum_calls: 1, ..plain },
        Policy { open_for_ms: 3_600_000, max_open_for_ms: 86_400_000, probes: 100, ..plain },
    ]
}

struct History {
    rng: Rng,
    now_us: u64,
    live: u64,
    records: BTreeMap<Arc<[u8]>, Record>,
    /// Permits that were ever asked for.
    tokens: Vec<Token>,
    index: BTreeSet<Vec<u8>>,
    published: Vec<String>,
}

impl History {
    fn pass_time(&mut self) {
        self.now_us = match self.rng.up_to(99) {
            0 => BEGINNING + self.rng.up_to(1_000_000_000_000),
            1..=5 => self.now_us.saturating_sub(self.rng.up_to(30_000_000)),
            6..=20 => self.now_us + self.rng.up_to(30_000_000),
            _ => self.now_us + self.rng.up_to(50_000),
        };
    }

    fn token(&mut self) -> Token {
        if self.tokens.is_empty() || self.rng.up_to(1) == 0 {
            self.tokens.push(Token(self.rng.next_u64()));
        }
        let recent = self.tokens.len().saturating_sub(6) as u64;
        let last = self.tokens.len() as u64 - 1;
        self.tokens[(recent + self.rng.up_to(last - recent)) as usize]
    }

    fn event(&mut self, record: &Record) -> Option<Event> {
        // What fits the state more often than what does not.
        let fitting = match record.state {
            State::Closed(_) => 0,
            State::Open { .. } | State::HalfOpen { .. } => 1 + self.rng.up_to(1),
        };
        Some(match if self.rng.up_to(3) > 0 { fitting } else { self.rng.up_to(4) } {
            0 => Event::Report(self.report()),
            1 => {
                let lapsed = (self.rng.up_to(3) == 0).then(|| self.token());
                Event::Ask { token: self.token(), lapsed }
            }
            2 => Event::Result {
                token: self.token(),
                succeeded: [Some(true), Some(false), None][self.rng.up_to(2) as usize],
                retry_after_ms: self.retry_after(),
            },
            3 => Event::Recovered,
            _ => return None,
        })
    }

    fn report(&mut self) -> Report {
        let mut report = Report::default();
        for _ in 0..self.rng.up_to(7) {
            let slow = self.rng.up_to(3) == 0;
            if self.rng.up_to(2) > 0 {
                let (answered, retry_after_ms) = (self.rng.up_to(2) > 0, self.retry_after());
                report.failure(answered, slow, retry_after_ms);
            } else {
                report.success(slow, self.rng.up_to(1) == 0);
            }
        }
        report
    }

    fn retry_after(&mut self) -> u64 {
        if self.rng.up_to(9) == 0 { 1 + self.rng.up_to(1_000_000) } else { 0 }
    }

    /// What has to come of it, by the record.
    fn decide(
        &mut self,
        key: &Key,
        policy: &Policy,
        context: &Context,
        (epoch, event): (Epoch, Option<Event>),
    ) -> (Outcome, Told) {
        let now_ms = context.now_us / 1000;
        let record = self.records.entry(Arc::clone(&key.name)).or_default();
        let news = |record: &Record| {
            let told = Told::of(record, policy, now_ms);
            let renewed = match &record.state {
                State::Closed(evidence) => evidence.suspect_ms,
                State::Open { .. } | State::HalfOpen { .. } => 0,
            };
            (told.epoch, told.standing, told.against.streak > 0, renewed)
        };
        let streak_only = |record: &Record| matches!(record.state, State::Closed(_));
        let before = (news(record), streak_only(record));
        let outcome = match event {
            None => Outcome::Noted,
            Some(event) => record.on_event(policy, context, epoch, event),
        };
        let told = Told::of(record, policy, now_ms);
        let after = (news(record), streak_only(record));
        let differs = before.0.0 != after.0.0
            || before.0.1 != after.0.1
            || before.0.3 != after.0.3
            || (before.1 && after.1 && before.0.2 != after.0.2);
        let name = String::from_utf8(key.name.to_vec()).unwrap();
        if event.is_some() && outcome != Outcome::Ignored && differs {
            self.published.push(format!("{name}\n{}", told.line()));
        }
        if matches!(told.standing, Standing::Closed { .. }) {
            self.index.remove(&*key.name);
        } else {
            self.index.insert(key.name.to_vec());
        }
        (outcome, told)
    }
}

#[test]
fn script_and_record_come_to_the_same() {
    let seed = std::env::var("SEED").map_or_else(|_| rand_seed(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let server = Server::start();
    let mut connection = server.connect(script_on_made_clock());
    let mut subscriber = Subscriber::new(&server.socket(), std::str::from_utf8(INDEX).unwrap());
    let all: Vec<_> = policies().into_iter().map(terms).collect();
    let processes: Vec<_> = (1..=3).map(|process| calls(process, &all)).collect();
    let mut history = History {
        rng: Rng::with_seed(seed),
        now_us: BEGINNING,
        live: 0,
        records: BTreeMap::new(),
        tokens: Vec::new(),
        index: BTreeSet::new(),
        published: Vec::new(),
    };
    let (mut done, mut outcomes) = (0, BTreeMap::new());
    while done < OPS {
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for _ in 0..BURST {
            history.pass_time();
            if history.rng.up_to(50) == 0 {
                history.live = history.rng.up_to(3);
                requests.push(Command::new(b"DEL").arg(PROCESSES).into());
                expected.push(None);
                for member in 0..history.live {
                    let add = Command::new(b"ZADD").arg(PROCESSES).arg_u64(1).arg_u64(member);
                    requests.push(add.into());
                    expected.push(None);
                }
            }
            requests.push(set_clock(history.now_us));
            expected.push(None);
            let process = history.rng.up_to(2);
            let mut rng = history.rng.clone();
            let roll = rng.clone().up_to(ROLLS);
            history.rng.next_u64();
            let live = history.live.max(1);
            let context = Context { now_us: history.now_us, process: process + 1, live, roll };
            let (mut ops, mut decided) = (Vec::new(), Vec::new());
            for _ in 0..=history.rng.up_to(3) {
                let breaker = history.rng.up_to(all.len() as u64 - 1) as usize;
                let key = key(breaker, history.rng.up_to(KEYS - 1));
                let record = history.records.get(&key.name).cloned().unwrap_or_default();
                let stale = history.rng.up_to(19) == 0;
                let epoch = if stale { Epoch(history.rng.next_u64() >> 12) } else { record.epoch };
                let event = history.event(&record);
                let policy = &all[breaker].policy;
                decided.push(history.decide(&key, policy, &context, (epoch, event)));
                ops.push((key, epoch, event));
            }
            done += ops.len();
            requests.push(say(&processes[process as usize], &mut rng, ops));
            expected.push(Some(decided));
        }
        for (reply, expected) in connection.ask(requests).iter().zip(expected) {
            let Some(expected) = expected else { continue };
            let Said::Ops(found) = said(Expected::Ops(expected.len()), reply) else {
                panic!("{reply:?}")
            };
            for (found, (outcome, told)) in found.into_iter().zip(expected) {
                let (found_outcome, found_told) = found.unwrap();
                assert_eq!((found_outcome, found_told.line()), (outcome, told.line()));
                *outcomes.entry(format!("{outcome:?}")).or_insert(0) += 1;
            }
        }
        let members = connection.command(&[b"SMEMBERS", INDEX]);
        let Said::Index(names) = said(Expected::Index, &members) else { panic!("{members:?}") };
        assert_eq!(BTreeSet::from_iter(names), history.index);
    }
    println!("{done} ops: {outcomes:?}; {} messages", history.published.len());
    assert_eq!(outcomes.len(), 6, "each outcome has to come: {outcomes:?}");
    assert!(outcomes.values().all(|count| *count > 1000), "{outcomes:?}");
    connection.command(&[b"PUBLISH", INDEX, END.as_bytes()]);
    for expected in history.published.iter().map(String::as_str).chain([END]) {
        assert_eq!(subscriber.hear(), expected);
    }
}

fn rand_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}
