//! Breakers: whatever Redis answers and tells, every request that asks is decided once, and all that is kept is bounded.

use std::collections::BTreeSet;
use std::time::Duration;

use meliproxy::breaker::board::{
    Board, Call, Ended, Event, Forced, Key, MOST_OPS, OPEN, Outgoing, OutgoingId, Said, Scope,
    Terms, Verdict,
};
use meliproxy::breaker::policy::Policy;
use meliproxy::breaker::script::said;
use meliproxy::key::{HashSeed, KeyHash};
use meliproxy::redis::Value;
use meliproxy::rng::Rng;
use meliproxy::shared::InMemory;
use meliproxy::time::{Instant, Now, UnixTime};

use crate::input::Input;

const SEED: HashSeed = HashSeed([7; 16]);
const BREAKERS: u8 = 3;
/// Longest time that one step lasts.
const LONGEST_STEP_MS: u64 = 10_000;

/// What happens to the breakers of one worker, and what it is told.
pub fn breaker(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    while !input.is_empty() {
        world.step(&mut input);
        world.drain();
    }
    // Without Redis nobody waits.
    let now = world.now();
    world.board.on_lost(now, &mut world.shared);
    world.drain();
    assert!(world.asking.is_empty(), "{} wait for ever", world.asking.len());
}

struct World {
    board: Board,
    shared: InMemory,
    millis: u64,
    last_asker: u32,
    asking: BTreeSet<u32>,
    calls: Vec<Call>,
    under_way: Vec<OutgoingId>,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let terms = (0..BREAKERS).map(|breaker| terms(breaker, input)).collect();
        Self {
            board: Board::new(terms, 1, SEED, Rng::with_seed(1)),
            shared: InMemory::default(),
            millis: 1,
            last_asker: 0,
            asking: BTreeSet::new(),
            calls: Vec::new(),
            under_way: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let micros = self.millis * 1000;
        Now { mono: Instant::from_micros(micros), unix: UnixTime::from_micros(micros) }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let now = self.now();
        let Self { board, shared, .. } = self;
        match input.up_to(9) {
            0 => self.millis += input.any_number() % LONGEST_STEP_MS,
            1 => board.on_time(now, shared),
            2 => board.on_joined(input.byte() & 1 == 0),
            3 => board.on_lost(now, shared),
            4 => board.on_message(now, input.line(), shared),
            5 => self.answer(input),
            6 => self.end(input),
            7 => {
                if let Some(asker) = self.asking.pop_first() {
                    board.forget(asker);
                }
            }
            _ => self.request(input),
        }
    }

    fn request(&mut self, input: &mut Input<'_>) {
        let keys: Vec<Key> = (0..=input.up_to(2)).map(|_| key(input)).collect();
        let would_refuse = self.board.refuses(self.now(), &keys, &mut self.shared).is_some();
        self.last_asker += 1;
        match self.board.admit(self.now(), self.last_asker, &keys, &mut self.shared) {
            Verdict::Pass(calls) => {
                assert!(!would_refuse, "it was told otherwise");
                self.calls.extend(calls);
            }
            Verdict::Refuse(refused) => assert!(refused.breaker < usize::from(BREAKERS)),
            Verdict::Wait => assert!(self.asking.insert(self.last_asker)),
        }
    }

    fn end(&mut self, input: &mut Input<'_>) {
        let slow = input.byte() & 1 == 0;
        let ended = match input.up_to(3) {
            0 => Ended::Nothing,
            1 => Ended::Success { slow },
            _ => Ended::Failure {
                answered: input.byte() & 1 == 0,
                slow,
                retry_after_ms: input.any_number(),
            },
        };
        if let Some(call) = self.calls.pop() {
            self.board.on_headers(&call, ended);
            self.board.on_end(self.now(), &call, ended, &mut self.shared);
        }
    }

    /// Lines as Redis may send them.
    fn answer(&mut self, input: &mut Input<'_>) {
        let Some(id) = self.under_way.pop() else { return };
        let Some(expected) = self.board.expected(id) else { return };
        let count = usize::from(input.up_to(7));
        let lines = (0..count).map(|_| Value::Bulk(input.line().to_vec())).collect();
        let said = if count == 7 { Said::Nothing } else { said(expected, &Value::Array(lines)) };
        self.board.on_said(self.now(), id, said, &mut self.shared);
    }

    fn drain(&mut self) {
        while let Some((id, outgoing)) = self.board.poll_outgoing() {
            if let Outgoing::Ops(ops) = outgoing {
                assert!((1..=MOST_OPS).contains(&ops.len()));
            }
            self.under_way.push(id);
        }
        while let Some(event) = self.board.poll_event() {
            if let Event::Decided { asker, verdict } = event {
                assert!(self.asking.remove(&asker), "decided twice, or never asked");
                match verdict {
                    Verdict::Pass(calls) => self.calls.extend(calls),
                    Verdict::Refuse(_) => {}
                    Verdict::Wait => panic!("to wait is no decision"),
                }
            }
        }
        for scope in [Scope::Replica, Scope::Fleet] {
            assert!(self.board.state(0, scope).is_none_or(|state| state <= OPEN));
        }
    }
}

fn terms(breaker: u8, input: &mut Input<'_>) -> Terms {
    let choices = input.byte();
    let policy = Policy {
        consecutive_failures: u64::from(input.up_to(3)),
        failure_percent: u64::from(input.up_to(100)),
        slow_percent: u64::from(input.up_to(100)),
        window_ms: 1000,
        minimum_calls: 1 + u64::from(input.up_to(9)),
        open_for_ms: 100,
        max_open_for_ms: 1000,
        probes: 1 + u64::from(input.up_to(2)),
        close_after: 1 + u64::from(input.up_to(2)),
        probe_timeout: Duration::from_millis(100),
        ramp: Duration::from_millis(u64::from(choices & 8) * 100),
    };
    let forced = match choices & 7 {
        0 => Some(Forced::Open),
        1 => Some(Forced::Closed),
        _ => None,
    };
    Terms {
        policy,
        is_fleet: choices & 16 == 0,
        is_shadow: choices & 32 != 0,
        forced,
        prefix: vec![b'a' + breaker, b':'],
    }
}

fn key(input: &mut Input<'_>) -> Key {
    let breaker = input.up_to(BREAKERS - 1);
    let name = [b'a' + breaker, b':', b'0' + input.up_to(3)];
    Key {
        breaker: usize::from(breaker),
        hash: KeyHash::of(&SEED, &name),
        name: name.as_slice().into(),
    }
}
