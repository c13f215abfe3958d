//! Breakers of a fleet of 50 replicas on virtual time, with a Redis that fails over, messages that are lost, late and
//! doubled, clocks that jump, workers that die, and an upstream that fails.
//!
//! Goal: never more trial requests at a time than configured, nothing late changes what is newer, and nothing stays open
//! or half-open once all is well. Method: one seed drives everything; a failure prints it, and `SEED=n` replays it;
//! `SEEDS=n` runs more of them.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    unreachable_pub,
    reason = "a test: a fault of the fleet is its failure"
)]

mod fleet;
mod redis;
#[path = "../common/seeds.rs"]
mod seeds;

use fleet::{Fault, Fleet, Scenario};

/// Seeds of an ordinary run, for each test.
const SEEDS: u64 = 300;

/// Some replicas, an upstream that fails for a while, and nothing else.
const CALM: Scenario = Scenario {
    replicas: 50,
    workers: 1,
    probes: 1,
    requests: 2000,
    to_cut_off_percent: 0,
    faults: &[],
};

fn run(scenario: &Scenario) {
    seeds::for_each(SEEDS, |seed| {
        let mut fleet = Fleet::new(seed, scenario);
        fleet.run();
        fleet.check_all_is_well_again();
    });
}

#[test]
fn it_opens_for_all_and_closes_for_all() {
    seeds::for_each(SEEDS / 3, |seed| {
        let mut fleet = Fleet::new(seed, &Scenario { faults: &[Fault::UpstreamFails], ..CALM });
        fleet.run();
        fleet.check_all_is_well_again();
        assert!(fleet.redis.opened > 0 && fleet.refused > 0, "nothing happened");
        assert!(fleet.probes_made > 0);
    });
}

#[test]
fn whatever_happens_it_closes_in_the_end() {
    const FAULTS: &[Fault] = &[
        Fault::UpstreamFails,
        Fault::Failover,
        Fault::RedisClockJumps,
        Fault::WallClockJumps,
        Fault::WorkerDies,
        Fault::LinkBreaks,
        Fault::LinkBreaks,
        Fault::Flaky,
        Fault::UpstreamFails,
        Fault::Failover,
    ];
    run(&Scenario { faults: FAULTS, ..CALM });
    run(&Scenario { faults: FAULTS, probes: 3, workers: 2, replicas: 25, ..CALM });
}

/// What was well before is no answer to failures that began after it, in whatever order workers report.
#[test]
fn five_failures_in_a_row_of_one_replica_open_it_for_all() {
    seeds::for_each(SEEDS, |seed| {
        let scenario = Scenario { replicas: 3, workers: 2, requests: 60, ..CALM };
        let mut fleet = Fleet::new(seed, &scenario);
        fleet.run();
        fleet.fail_in_a_row(5);
        fleet.run();
        assert_eq!(fleet.redis.opened, 1);
    });
}

/// Failovers to a replica that lags behind, while breakers open and close.
#[test]
fn whichever_history_is_left_is_the_one_that_counts() {
    const FAULTS: &[Fault] = &[
        Fault::UpstreamFails,
        Fault::Failover,
        Fault::UpstreamFails,
        Fault::Failover,
        Fault::RedisClockJumps,
        Fault::Failover,
    ];
    run(&Scenario { faults: FAULTS, replicas: 10, ..CALM });
}

/// Of the requests most go to it, so that failures in a row are its own.
#[test]
fn who_alone_is_cut_off_is_the_only_one_that_refuses() {
    seeds::for_each(SEEDS / 3, |seed| {
        let faults = &[Fault::CutOff, Fault::LinkBreaks, Fault::Flaky, Fault::WorkerDies];
        let mut fleet = Fleet::new(seed, &Scenario { faults, to_cut_off_percent: 90, ..CALM });
        fleet.run();
        assert_eq!(fleet.refused_by_others, 0);
        assert_eq!(fleet.redis.opened, 0);
        fleet.check_all_is_well_again();
    });
}

#[test]
fn without_redis_each_replica_goes_on_from_what_it_knew() {
    let mut taken_over = 0;
    let seeds = seeds::for_each(SEEDS / 3, |seed| {
        let faults = &[Fault::RedisGone, Fault::UpstreamFails];
        let mut fleet = Fleet::new(seed, &Scenario { faults, replicas: 5, ..CALM });
        fleet.run();
        fleet.check_all_is_well_again();
        taken_over += fleet.taken_over;
    });
    assert!(seeds == 1 || taken_over > 0, "nothing happened");
}

#[test]
fn late_messages_change_nothing() {
    let mut late = 0;
    let seeds = seeds::for_each(SEEDS / 3, |seed| {
        let faults = &[Fault::UpstreamFails, Fault::Flaky, Fault::UpstreamFails];
        let mut fleet = Fleet::new(seed, &Scenario { faults, ..CALM });
        fleet.run();
        fleet.check_all_is_well_again();
        late += fleet.late_messages;
    });
    assert!(seeds == 1 || late > 0, "nothing happened");
}
