//! Several workers of one process, and requests that fall under several breakers.

use super::*;
use crate::breaker::policy::PLAIN;
use crate::breaker::record::{self, Outcome};
use crate::breaker::told::Standing;
use crate::key::KeyHash;
use crate::shared::InMemory;
use crate::time::UnixTime;

const SEED: HashSeed = HashSeed([7; 16]);
const FAILED: Ended = Ended::Failure { answered: true, slow: false, retry_after_ms: 0 };
const WELL: Ended = Ended::Success { slow: false };

fn at(millis: u64) -> Now {
    let micros = 1_000_000 + millis * 1000;
    Now { mono: Instant::from_micros(micros), unix: UnixTime::from_micros(micros) }
}

fn key(breaker: usize) -> Key {
    let name = format!("b{breaker}:key").into_bytes();
    Key { breaker, hash: KeyHash::of(&SEED, &name), name: name.into() }
}

fn terms(breaker: usize) -> Terms {
    let prefix = format!("b{breaker}:").into_bytes();
    Terms { policy: PLAIN, is_fleet: false, is_shadow: false, forced: None, prefix }
}

/// Workers of one process.
struct Process {
    boards: Vec<Board>,
    shared: InMemory,
}

impl Process {
    fn new(workers: u64, terms: &[Terms]) -> Self {
        let board = |worker| Board::new(terms.to_vec(), 1, SEED, Rng::with_seed(worker));
        Self { boards: (0..workers).map(board).collect(), shared: InMemory::default() }
    }

    fn admit(&mut self, worker: usize, now: Now, keys: &[Key]) -> Verdict {
        self.boards[worker].admit(now, 1, keys, &mut self.shared)
    }

    fn pass(&mut self, worker: usize, now: Now, keys: &[Key]) -> Vec<Call> {
        let verdict = self.admit(worker, now, keys);
        let Verdict::Pass(calls) = verdict else { panic!("{verdict:?}") };
        calls
    }

    fn end(&mut self, worker: usize, now: Now, calls: &[Call], ended: Ended) {
        for call in calls {
            self.boards[worker].on_end(now, call, ended, &mut self.shared);
        }
    }

    /// A request under the first breaker that ends so.
    fn request(&mut self, worker: usize, now: Now, ended: Ended) {
        let calls = self.pass(worker, now, &[key(0)]);
        self.end(worker, now, &calls, ended);
    }

    fn refuses(&mut self, worker: usize, now: Now) -> bool {
        matches!(self.admit(worker, now, &[key(0)]), Verdict::Refuse(_))
    }

    fn trip(&mut self) {
        (0..5).for_each(|_| self.request(0, at(0), FAILED));
    }
}

#[test]
fn a_row_of_failures_is_that_of_all_workers() {
    let mut process = Process::new(3, &[terms(0)]);
    // What was well before does not end a row that began after it.
    (0..3).for_each(|worker| process.request(worker, at(0), WELL));
    for worker in [0, 1, 2, 0] {
        process.request(worker, at(1), FAILED);
    }
    assert!(!process.refuses(2, at(1)));
    process.request(1, at(1), FAILED);
    (0..3).for_each(|worker| assert!(process.refuses(worker, at(1)), "worker {worker}"));
}

#[test]
fn who_knows_a_breaker_learns_how_it_stands_and_others_say_nothing() {
    let mut process = Process::new(3, &[terms(0)]);
    process.request(1, at(0), WELL);
    process.trip();
    let Process { boards, shared } = &mut process;
    boards.iter_mut().for_each(|board| board.refresh(at(1), shared));
    let states: Vec<_> = boards.iter().map(|board| board.state(0, Scope::Replica)).collect();
    assert_eq!(states, [Some(OPEN), Some(OPEN), None]);
}

#[test]
fn a_success_of_any_worker_ends_the_row() {
    let mut process = Process::new(2, &[terms(0)]);
    for _ in 0..10 {
        (0..4).for_each(|_| process.request(0, at(0), FAILED));
        process.request(1, at(0), WELL);
    }
    assert!(!process.refuses(0, at(0)));
}

#[test]
fn one_worker_makes_the_trial_and_its_result_is_that_of_all() {
    for (ended, refuses) in [(WELL, false), (FAILED, true)] {
        let mut process = Process::new(2, &[terms(0)]);
        process.trip();
        let over = at(PLAIN.open_for_ms);
        assert!(process.refuses(1, at(0)), "its wait begins when it learns of it");
        let probe = process.pass(1, over, &[key(0)]);
        assert!(probe[0].is_probe());
        (0..2).for_each(|worker| assert!(process.refuses(worker, over)));
        process.end(1, over, &probe, ended);
        (0..2).for_each(|worker| assert_eq!(process.refuses(worker, over), refuses));
    }
}

#[test]
fn what_was_under_way_when_it_tripped_says_nothing_afterwards() {
    let mut process = Process::new(1, &[terms(0)]);
    let late = process.pass(0, at(0), &[key(0)]);
    process.trip();
    let over = at(PLAIN.open_for_ms);
    let probe = process.pass(0, over, &[key(0)]);
    process.end(0, over, &late, WELL);
    assert!(process.refuses(0, over));
    process.end(0, over, &probe, WELL);
    process.end(0, over, &late, FAILED);
    assert!(!process.refuses(0, over));
}

#[test]
fn a_trial_that_takes_too_long_has_failed_unless_its_response_has_begun() {
    for (begun, refuses) in [(false, true), (true, false)] {
        let mut process = Process::new(1, &[terms(0)]);
        process.trip();
        let over = at(PLAIN.open_for_ms);
        let probe = process.pass(0, over, &[key(0)]);
        if begun {
            process.boards[0].on_headers(&probe[0], WELL);
        }
        let timeout = u64::try_from(PLAIN.probe_timeout.as_millis()).unwrap();
        let late = at(PLAIN.open_for_ms + timeout);
        assert_eq!(process.boards[0].poll_timeout(), Some(late.mono));
        process.boards[0].on_time(late, &mut process.shared);
        assert_eq!(process.refuses(0, late), refuses);
        // Its end is no news any more.
        process.end(0, late, &probe, FAILED);
        assert_eq!(process.refuses(0, late), refuses);
    }
}

#[test]
fn a_prober_that_died_gives_its_permit_back_after_the_lease() {
    let mut process = Process::new(2, &[terms(0)]);
    process.trip();
    let over = PLAIN.open_for_ms;
    process.pass(0, at(over), &[key(0)]);
    process.boards[0] = Board::new(vec![terms(0)], 1, SEED, Rng::with_seed(9));
    assert!(process.refuses(1, at(over)));
    let lease = u64::try_from(PLAIN.lease().as_millis()).unwrap();
    assert!(process.refuses(1, at(over + lease - 1)));
    assert!(process.pass(1, at(over + lease), &[key(0)])[0].is_probe());
}

#[test]
fn who_is_refused_by_one_breaker_takes_no_permit_of_another() {
    let mut process =
        Process::new(1, &[terms(0), Terms { forced: Some(Forced::Open), ..terms(1) }]);
    process.trip();
    let over = at(PLAIN.open_for_ms);
    let verdict = process.admit(0, over, &[key(0), key(1)]);
    assert!(matches!(verdict, Verdict::Refuse(Refused { breaker: 1, .. })), "{verdict:?}");
    assert!(process.pass(0, over, &[key(0)])[0].is_probe(), "it was given back");
}

#[test]
fn a_shadow_refuses_nothing_and_changes_its_state() {
    let mut process = Process::new(1, &[Terms { is_shadow: true, ..terms(0) }]);
    process.trip();
    assert_eq!(process.pass(0, at(1), &[key(0)]), []);
    assert_eq!(process.boards[0].state(0, Scope::Replica), Some(OPEN));
    let events: Vec<_> = std::iter::from_fn(|| process.boards[0].poll_event()).collect();
    assert!(events.contains(&Event::Shadowed { breaker: 0 }));
}

/// A worker that has joined the fleet, whose first breaker is open.
fn joined() -> Process {
    let mut process = Process::new(1, &[Terms { is_fleet: true, ..terms(0) }]);
    let board = &mut process.boards[0];
    board.on_joined(true);
    let (id, outgoing) = board.poll_outgoing().unwrap();
    assert_eq!(outgoing, Outgoing::Index);
    board.on_said(at(0), id, Said::Index(Vec::new()), &mut process.shared);
    let told = format!("b0:key\n{}", told(5, Standing::Open { wait_ms: 100 }).line());
    board.on_message(at(0), told.as_bytes(), &mut process.shared);
    process
}

fn told(epoch: u64, standing: Standing) -> Told {
    Told { epoch: record::Epoch(epoch), cause: None, against: Default::default(), standing }
}

/// What is said next, which is one op.
fn op(process: &mut Process) -> (OutgoingId, record::Event) {
    let Some((id, Outgoing::Ops(ops))) = process.boards[0].poll_outgoing() else {
        panic!("nothing is said")
    };
    assert_eq!(ops.len(), 1);
    (id, ops[0].event.unwrap())
}

/// With what calls the first asker passes.
fn decided(process: &mut Process) -> Option<Vec<Call>> {
    while let Some(event) = process.boards[0].poll_event() {
        if let Event::Decided { asker: 1, verdict: Verdict::Pass(calls) } = event {
            return Some(calls);
        }
    }
    None
}

fn token_of(event: record::Event) -> Token {
    let (record::Event::Ask { token, .. } | record::Event::Result { token, .. }) = event else {
        panic!("{event:?}")
    };
    token
}

#[test]
fn one_request_at_a_time_asks_the_fleet() {
    let mut process = joined();
    assert!(process.refuses(0, at(99)));
    assert_eq!(process.admit(0, at(100), &[key(0)]), Verdict::Wait);
    assert!(process.refuses(0, at(100)), "another one has asked");
    let (id, event) = op(&mut process);
    let permits = vec![token_of(event)];
    let granted = (Outcome::Granted, told(6, Standing::HalfOpen { permits }));
    process.boards[0].on_said(at(101), id, Said::Ops(vec![Some(granted)]), &mut process.shared);
    let calls = decided(&mut process).unwrap();
    assert_eq!(calls[0].fleet_permit(), Some(token_of(event)));
    process.end(0, at(102), &calls, WELL);
    let (_, result) = op(&mut process);
    assert_eq!(token_of(result), token_of(event));
}

#[test]
fn a_permit_is_given_back_if_who_asked_has_gone() {
    let mut process = joined();
    process.admit(0, at(100), &[key(0)]);
    let (id, event) = op(&mut process);
    process.boards[0].forget(1);
    let permits = vec![token_of(event)];
    let granted = (Outcome::Granted, told(6, Standing::HalfOpen { permits }));
    process.boards[0].on_said(at(101), id, Said::Ops(vec![Some(granted)]), &mut process.shared);
    let (_, result) = op(&mut process);
    let given_back =
        record::Event::Result { token: token_of(event), succeeded: None, retry_after_ms: 0 };
    assert_eq!(result, given_back);
    assert_eq!(decided(&mut process), None);
}

#[test]
fn a_permit_that_nobody_knows_was_granted_is_given_back_once_it_is_seen() {
    let mut process = joined();
    process.admit(0, at(100), &[key(0)]);
    let (id, event) = op(&mut process);
    process.boards[0].on_said(at(120), id, Said::Nothing, &mut process.shared);
    let permits = vec![token_of(event)];
    let line = told(6, Standing::HalfOpen { permits }).line();
    let message = format!("b0:key\n{line}");
    process.boards[0].on_message(at(121), message.as_bytes(), &mut process.shared);
    let (_, result) = op(&mut process);
    assert_eq!(token_of(result), token_of(event));
}

#[test]
fn an_open_breaker_stays_open_however_often_redis_is_lost() {
    let mut process = joined();
    for time in [10, 20, 30] {
        process.boards[0].on_lost(at(time), &mut process.shared);
        assert!(process.refuses(0, at(time)), "lost at {time} ms");
        rejoin(&mut process, at(time), &told(5, Standing::Open { wait_ms: 100 }));
        assert!(process.refuses(0, at(time)), "joined at {time} ms");
        assert_eq!(
            process.boards[0].state(0, Scope::Replica),
            Some(CLOSED),
            "one breaker is enough"
        );
    }
}

#[test]
fn who_found_the_upstream_well_alone_tells_the_fleet() {
    let mut process = joined();
    process.boards[0].on_lost(at(10), &mut process.shared);
    process.request(0, at(100), WELL);
    assert_eq!(process.boards[0].state(0, Scope::Replica), Some(CLOSED));
    rejoin(&mut process, at(200), &told(5, Standing::Open { wait_ms: 100 }));
    assert_eq!(op(&mut process).1, record::Event::Recovered);
}

#[test]
fn a_worker_that_was_not_there_waits_with_the_others() {
    let mut process = joined();
    process.boards[0].on_lost(at(10), &mut process.shared);
    let terms = Terms { is_fleet: true, ..terms(0) };
    process.boards[0] = Board::new(vec![terms], 1, SEED, Rng::with_seed(9));
    rejoin(&mut process, at(20), &told(5, Standing::Open { wait_ms: 100 }));
    assert!(process.refuses(0, at(109)));
}

/// Redis is back, and the first breaker stands so.
fn rejoin(process: &mut Process, now: Now, told: &Told) {
    let Process { boards, shared } = process;
    boards[0].on_joined(true);
    let (id, _) = boards[0].poll_outgoing().unwrap();
    boards[0].on_said(now, id, Said::Index(vec![key(0).name.to_vec()]), shared);
    let (id, _) = boards[0].poll_outgoing().unwrap();
    let answer = Some((Outcome::Noted, told.clone()));
    boards[0].on_said(now, id, Said::Ops(vec![answer]), shared);
}

#[test]
fn messages_of_breakers_that_are_not_known_here_are_ignored() {
    let mut process = joined();
    for message in ["", "\n", "b9:key\n5 open - 1 0 0 0 0 ", "b0:key", "b0:key\nnonsense"] {
        process.boards[0].on_message(at(0), message.as_bytes(), &mut process.shared);
    }
    assert_eq!(process.boards[0].table.iter().count(), 1);
}
