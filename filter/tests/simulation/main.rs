//! A fleet on virtual time: replicas of several workers, a model of Redis, clients, and faults.
//!
//! Goal: whatever the network and Redis do, every request is concluded exactly once and in time, and as long as nothing
//! fails exactly the limit passes. Method: one seed drives everything; a failure prints it, and `SEED=n` replays it.
//! `SEEDS=n` runs more of them.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "a test: a fault of the fleet is its failure"
)]

mod calls;
mod fleet;
mod link;
mod model_redis;
mod request;
mod scenario;
#[path = "../common/seeds.rs"]
mod seeds;
mod streams;

use std::time::Duration;

use fleet::{CONFIG, Fleet, LEASED};
use meliproxy::config::Transport;
use meliproxy::worker::MOST_RELEASES;
use scenario::{Fault, Scenario};

/// Seeds of an ordinary run, for each test and transport.
const SEEDS: u64 = 150;

/// Each seed by every transport.
fn for_each_seed(count: u64, scenario: &Scenario, check: impl Fn(Fleet)) {
    for transport in [Transport::Stream, Transport::Callout] {
        let scenario = Scenario { transport, ..*scenario };
        seeds::for_each(count, |seed| check(Fleet::new(seed, &scenario)));
    }
}

fn run(scenario: &Scenario, check: impl Fn(&Fleet)) {
    for_each_seed(SEEDS, scenario, |mut fleet| {
        fleet.run();
        fleet.check_every_request_was_concluded_once_and_in_time();
        fleet.check_nothing_is_left_behind();
        check(&fleet);
    });
}

const FAULTS: &[Fault] = &[
    Fault::CloseLinks,
    Fault::CloseMidReply,
    Fault::Stall(Duration::from_millis(100)),
    Fault::Stall(Duration::from_millis(3000)),
    Fault::ForgetScripts,
    Fault::ReadOnly(Duration::from_millis(200)),
    Fault::Refuse(Duration::from_millis(500)),
    Fault::RefusePassword(Duration::from_millis(300)),
    Fault::Garbage,
];

const CALM: Scenario = Scenario {
    config: CONFIG,
    transport: Transport::Stream,
    replicas: 3,
    workers: 2,
    requests: 400,
    arrival: Duration::from_micros(500),
    latency: Duration::from_millis(2),
    client_leaves_percent: 0,
    faults: &[],
};

#[test]
fn without_faults_exactly_the_limit_passes() {
    run(&CALM, |fleet| {
        assert_eq!(fleet.decided_alone, 0);
        assert_eq!(fleet.passed_count("narrow"), 50);
        assert_eq!(fleet.passed_count("wide"), 260);
        assert_eq!(fleet.refused_by_both(), 0, "a refused request was counted on another rule");
    });
}

#[test]
fn clients_that_leave_take_nothing_of_others() {
    let scenario = Scenario { client_leaves_percent: 30, ..CALM };
    run(&scenario, |fleet| {
        assert!(fleet.passed_count("narrow") <= 50);
        assert!(fleet.counted_in_redis("narrow") == 50);
    });
}

#[test]
fn with_faults_no_process_admits_more_than_the_limit_on_its_own() {
    let scenario = Scenario { requests: 600, client_leaves_percent: 5, faults: FAULTS, ..CALM };
    // Redis admits the limit, and so does each process for itself while it has no Redis. A model that restarts keeps
    // its counts, as Redis does when a failover loses nothing.
    run(&scenario, |fleet| {
        assert!(fleet.passed_count("narrow") <= 50 * (1 + scenario.replicas));
        // Less than the limit only by those that left after they had been counted.
        assert!(fleet.passed_count("narrow") >= 40);
    });
}

#[test]
fn what_is_taken_ahead_is_never_more_than_the_limit_and_comes_back() {
    let arrival = Duration::from_millis(1);
    let scenario = Scenario { config: LEASED, requests: 1000, arrival, ..CALM };
    // In half a second the fleet takes ahead; what is left then comes back and passes, too.
    for_each_seed(20, &scenario, |mut fleet| {
        fleet.run();
        assert!(fleet.passed_count("narrow") <= 500);
        assert!(fleet.paid_ahead > 200, "{} of 1000 were paid for ahead", fleet.paid_ahead);
        fleet.calm_down();
        let passed =
            [("narrow", fleet.passed_count("narrow")), ("wide", fleet.passed_count("wide"))];
        for (rule, passed) in passed {
            assert_eq!(fleet.counted_in_redis(rule), passed as u64, "{rule}: all came back");
        }
        fleet.send(8000, arrival);
        fleet.run();
        assert_eq!(fleet.passed_count("narrow"), 500);
        assert_eq!(fleet.passed_count("wide"), 2600);
    });
}

#[test]
fn what_is_taken_ahead_survives_faults_without_passing_more() {
    let arrival = Duration::from_millis(1);
    let scenario = Scenario { config: LEASED, requests: 6000, arrival, faults: FAULTS, ..CALM };
    for_each_seed(20, &scenario, |mut fleet| {
        fleet.run();
        fleet.check_every_request_was_concluded_once_and_in_time();
        fleet.check_nothing_is_left_behind();
        assert!(fleet.passed_count("narrow") <= 500 * (1 + scenario.replicas));
        assert!(fleet.passed_count("narrow") >= 400);
    });
}

#[test]
fn a_slow_redis_holds_nobody_beyond_the_deadline() {
    let scenario = Scenario { latency: Duration::from_millis(60), ..CALM };
    run(&scenario, |fleet| {
        assert!(fleet.passed_count("narrow") <= 50 * (1 + scenario.replicas));
        assert!(fleet.decided_alone > 0);
    });
}

#[test]
fn exact_again_after_the_faults() {
    const FAULTS: &[Fault] =
        &[Fault::CloseLinks, Fault::Stall(Duration::from_millis(3000)), Fault::CloseLinks];
    let scenario = Scenario { faults: FAULTS, ..CALM };
    for_each_seed(50, &scenario, |mut fleet| {
        fleet.run();
        fleet.calm_down();
        assert!(fleet.all_connected(), "some worker did not find back");
        assert_eq!(fleet.redis.leases(), scenario.replicas, "leases of processes");
        fleet.next_window();
        let before = fleet.passed_count("narrow");
        fleet.send(210, Duration::from_micros(500));
        fleet.run();
        assert_eq!(fleet.passed_count("narrow") - before, 50);
    });
}

#[test]
fn without_redis_the_processes_share_the_limit() {
    for_each_seed(50, &Scenario { requests: 0, ..CALM }, |mut fleet| {
        fleet.calm_down();
        fleet.fault(Fault::ReadOnly(Duration::from_secs(10)));
        fleet.send(CALM.requests, CALM.arrival);
        fleet.run();
        assert!(fleet.decided_alone > 0);
        // Each of the three admits a third of 50, rounded down.
        assert_eq!(fleet.passed_count("narrow"), 48);
    });
}

#[test]
fn a_crowd_that_waits_is_let_go_in_small_groups() {
    let scenario = Scenario {
        replicas: 1,
        workers: 1,
        requests: 1000,
        arrival: Duration::from_micros(1),
        latency: Duration::from_millis(200),
        ..CALM
    };
    // Their deadlines pass together. How many go in one callback is asserted by the fleet itself, at every callback.
    run(&scenario, |fleet| assert_eq!(fleet.largest_group(), MOST_RELEASES));
}
