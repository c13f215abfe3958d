//! The response cache of a fleet on virtual time: 3 replicas of 2 workers, a model of the store, connections that are
//! late, stall and break, workers and clients that die, an upstream that fails, is slow and changes, purges at any time.
//!
//! Method: one seed drives everything; a failure prints it, and `SEED=n` replays it; `SEEDS=n` runs more of them. What
//! always has to hold is asserted whenever something happens (`fleet/check.rs`):
//!
//! 1. Every request is decided exactly once, and within [`COLLAPSE_TIMEOUT`] and two seconds.
//! 2. Whatever begins after a purge was answered as done is answered by nothing that was there before the purge began;
//!    after a soft one by no such thing as if it was fresh. A worker without its connection is excepted, for what it
//!    remembers and until the [`LEASE`]; and all are where the store loses writes: there it holds in the end.
//! 3. A storm on one URL makes one request to the upstream; one more once its leader has died and its lease is over, or
//!    at once if its client has gone; and what is not to be stored sets all free at once.
//! 4. In the end nobody waits, nothing is being fetched, no body is on its way, and no purge unanswered; what is
//!    remembered never exceeds its bound.
//! 5. What is served is of the URL and of the language (`Vary`) that were asked for, header and body belong to each
//!    other, and it is as old as its directives and those of the client allow: measured by when the upstream was heard.
//!
//! [`COLLAPSE_TIMEOUT`]: meliproxy::cache::keeper::COLLAPSE_TIMEOUT
//! [`LEASE`]: meliproxy::cache::keeper::LEASE

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    unreachable_pub,
    reason = "a test: a fault of the fleet is its failure"
)]

mod fleet;
#[path = "../common/seeds.rs"]
mod seeds;
mod store;
mod upstream;

use std::time::Duration;

use fleet::{Counts, Fault, Fleet, Scenario};
use meliproxy::cache::keeper::{COLLAPSE_TIMEOUT, FETCH_LEASE};
use upstream::UNCACHEABLE;

/// Seeds of an ordinary run, for each test.
const SEEDS: u64 = 15;

/// What takes two calls to the store, each with all delays there are, and the way to the upstream.
const AT_ONCE_US: u64 = 90_000;

/// Requests and purges, and nothing else.
const CALM: Scenario = Scenario {
    replicas: 3,
    workers: 2,
    requests: 800,
    changes: 40,
    seconds: 20,
    hot: None,
    faults: &[],
};

fn run(scenario: &Scenario) -> Counts {
    let mut total = Counts::default();
    seeds::for_each(SEEDS, |seed| {
        let mut fleet = Fleet::new(seed, scenario);
        fleet.run(scenario);
        total += fleet.counts;
    });
    total
}

#[test]
fn nothing_happens() {
    let counts = run(&CALM);
    let Counts { replies, collapsed, from_memory, stale, purged, refreshes, unanswered } = counts;
    assert!([replies, collapsed, from_memory, stale, purged, refreshes].iter().all(|of| *of > 0));
    assert_eq!(unanswered, 0);
}

/// Many requests for little, which is purged all the time.
#[test]
fn purges_race_with_everything() {
    run(&Scenario { requests: 800, changes: 150, seconds: 2, ..CALM });
    // One that is refreshed in the background.
    run(&Scenario { requests: 800, changes: 150, seconds: 3, hot: Some(1), ..CALM });
}

/// What is fetched is purged before it is there, again and again.
#[test]
fn nobody_waits_for_ever_for_what_is_purged_all_the_time() {
    seeds::for_each(SEEDS / 5, |seed| {
        let scenario = Scenario { changes: 400, seconds: 25, hot: Some(0), ..CALM };
        let mut fleet = Fleet::new(seed, &scenario);
        fleet.upstream.least_us = 400_000;
        fleet.run(&scenario);
    });
}

#[test]
fn connections_break_and_workers_die() {
    const BREAKS: &[Fault] = &[Fault::LinkBreaks; 20];
    const FAULTS: &[Fault] = &[
        Fault::LinkBreaks,
        Fault::LinkStalls,
        Fault::AnswersAreLost,
        Fault::NotTold,
        Fault::WorkerDies,
        Fault::LinkBreaks,
        Fault::LinkStalls,
        Fault::LinkBreaks,
    ];
    run(&Scenario { faults: BREAKS, changes: 150, seconds: 8, hot: Some(0), ..CALM });
    let counts = run(&Scenario { faults: FAULTS, changes: 80, ..CALM });
    assert!(counts.unanswered > 0);
}

#[test]
fn the_upstream_is_ill() {
    const FAULTS: &[Fault] = &[
        Fault::UpstreamFails,
        Fault::UpstreamIsFlaky,
        Fault::UpstreamIsSlow,
        Fault::BreakerOpens,
        Fault::UpstreamIsFlaky,
    ];
    run(&Scenario { faults: FAULTS, ..CALM });
}

#[test]
fn all_of_it_while_clocks_jump() {
    const FAULTS: &[Fault] = &[
        Fault::WallClockJumps,
        Fault::StoreClockJumps,
        Fault::UpstreamFails,
        Fault::UpstreamIsFlaky,
        Fault::UpstreamIsSlow,
        Fault::LinkBreaks,
        Fault::LinkStalls,
        Fault::AnswersAreLost,
        Fault::WorkerDies,
        Fault::WallClockJumps,
    ];
    run(&Scenario { faults: FAULTS, changes: 80, ..CALM });
}

/// Its clock may be ahead of those of the workers; what is made stale is stale nevertheless.
#[test]
fn the_clock_of_the_store_jumps() {
    const FAULTS: &[Fault] = &[Fault::StoreClockJumps, Fault::StoreClockJumps, Fault::LinkBreaks];
    run(&Scenario { faults: FAULTS, changes: 200, ..CALM });
}

/// Answers to POST are stored, and are of what they were asked for. That they are the newest nobody can promise: see
/// `Keeper::on_mutated`.
#[test]
fn answers_to_post_are_stored() {
    const FAULTS: &[Fault] =
        &[Fault::Posts, Fault::LinkBreaks, Fault::LinkStalls, Fault::AnswersAreLost, Fault::Posts];
    run(&Scenario { faults: FAULTS, changes: 200, ..CALM });
}

/// Purges that a failover has lost are repeated by who wanted them.
#[test]
fn what_was_purged_is_so_in_the_end_though_writes_are_lost() {
    const FAULTS: &[Fault] = &[Fault::Failover, Fault::LinkBreaks, Fault::Failover];
    seeds::for_each(SEEDS, |seed| {
        let scenario = Scenario { faults: FAULTS, changes: 100, ..CALM };
        let mut fleet = Fleet::new(seed, &scenario);
        fleet.run_for((scenario.seconds + 3) * 1_000_000);
        fleet.check_purged_in_the_end();
    });
}

#[test]
fn what_was_purged_just_before_a_failover_is_so_in_the_end() {
    seeds::for_each(SEEDS, |seed| {
        // That it loses writes is known beforehand.
        let faults = &[Fault::LosesWrites];
        let scenario = Scenario { faults, changes: 0, hot: Some(0), seconds: 10, ..CALM };
        let mut fleet = Fleet::new(seed, &scenario);
        fleet.run_for(4_000_000);
        fleet.purge_and_forget(0);
        fleet.run_for(3_000_000);
        fleet.check_purged_in_the_end();
    });
}

/// A thousand requests for one URL within 50 ms.
fn storm(seed: u64, url: usize) -> Fleet {
    let mut fleet = Fleet::new(seed, &Scenario { requests: 0, changes: 0, ..CALM });
    fleet.run_for(100_000);
    for number in 0..1000 {
        fleet.ask(number % 6, "GET", url, None);
        fleet.run_for(50);
    }
    fleet
}

#[test]
fn a_storm_makes_one_request() {
    seeds::for_each(SEEDS, |seed| {
        let mut fleet = storm(seed, 0);
        fleet.run_for(500_000);
        assert_eq!((fleet.upstream.requests, fleet.counts.replies), (1, 999));
        fleet.check_end();
    });
}

#[test]
fn who_fetches_for_a_storm_and_dies_is_replaced_after_the_lease() {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap();
    seeds::for_each(SEEDS, |seed| {
        let mut fleet = storm_before_the_answer(seed);
        let died_with_it = fleet.kill_who_fetches();
        fleet.run_for(micros(COLLAPSE_TIMEOUT));
        let requested_at = &fleet.upstream.requested_at;
        assert_eq!(requested_at.len(), 2);
        let after = requested_at[1] - requested_at[0];
        let slack = 1_300_000;
        assert!((micros(FETCH_LEASE) - 10_000..micros(FETCH_LEASE) + slack).contains(&after));
        assert_eq!(fleet.counts.replies + died_with_it, 998);
        fleet.check_end();
    });
}

#[test]
fn who_fetches_for_a_storm_and_leaves_is_replaced_at_once() {
    seeds::for_each(SEEDS, |seed| {
        let mut fleet = storm_before_the_answer(seed);
        let left_at = fleet.now;
        fleet.leave_who_fetches();
        fleet.run_for(500_000);
        let requested_at = &fleet.upstream.requested_at;
        assert_eq!(requested_at.len(), 2);
        assert!(requested_at[1] - left_at <= AT_ONCE_US);
        assert_eq!(fleet.counts.replies, 998);
        fleet.check_end();
    });
}

/// The upstream is asked, and has not answered yet.
fn storm_before_the_answer(seed: u64) -> Fleet {
    let mut fleet = Fleet::new(seed, &Scenario { requests: 0, changes: 0, ..CALM });
    fleet.upstream.least_us = 80_000;
    fleet.run_for(100_000);
    for number in 0..1000 {
        fleet.ask(number % 6, "GET", 0, None);
        fleet.run_for(50);
    }
    fleet
}

#[test]
fn what_is_not_to_be_stored_sets_all_free_at_once() {
    seeds::for_each(SEEDS, |seed| {
        let mut fleet = storm(seed, UNCACHEABLE);
        fleet.run_for(500_000);
        let requested_at = &fleet.upstream.requested_at;
        assert_eq!(requested_at.len(), 1000);
        let answered_at = fleet.upstream.answered_at[0];
        let late = requested_at.iter().filter(|at| **at > answered_at.max(150_000) + AT_ONCE_US);
        assert_eq!(late.count(), 0);
        assert_eq!(fleet.counts.replies, 0);
        fleet.check_end();
    });
}
