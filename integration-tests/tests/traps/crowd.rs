//! Trap: what the guest lets go (resumes, local replies) is done by the host after the guest's callback, nested in one
//! another; some 300 at once overflow its stack and kill the VM. And answering another request from the callback of one
//! makes that one hang. So a crowd must be let go in small batches, from callbacks of the root.
//!
//! A thousand requests wait on one worker, then are released together: by a Redis that stops, by one that is too slow,
//! by one whose answers come in one piece; and they end at the upstream, in refusals, or where nothing listens.

use std::thread;

use integration_tests::client::{Load, Outcome, Request, burst};
use integration_tests::fleet::{COUNTED, COUNTED_LIMIT, Fleet, TRAFFIC};
use integration_tests::scene::{next_origin, statuses};

use crate::rig::{assert_no_crash, config, wait_for_unanswered, wait_until_redis_decides};

const CROWD: usize = 1000;

/// How many of them have to have been waiting for the test to mean anything: more than the host could have borne.
const ENOUGH: f64 = 400.0;

/// A replica of one worker, with Redis, and Sentinels that do not interfere.
fn start() -> Fleet {
    let fleet = Fleet::start(&config(), |options| options.replicas(1));
    fleet.redis().sentinels().iter().for_each(|sentinel| sentinel.pause());
    fleet
}

fn send(fleet: &Fleet, target: &str) -> Vec<Outcome> {
    let to = [fleet.replica(0).http()];
    burst(&to, next_origin(), &Request::get(target), CROWD, CROWD).unwrap()
}

/// Three crowds that Redis is silent to, by `silence`; they are let go by what the process has counted itself.
fn survive(fleet: &Fleet, silence: impl Fn(), speak: impl Fn()) {
    let replica = fleet.replica(0);
    let waited = || {
        let failed = |cause| replica.metric("meliproxy_redis_failures_total", &[("cause", cause)]);
        failed("deadline").unwrap() + failed("closed").unwrap()
    };
    let refused = [(200, COUNTED_LIMIT), (429, CROWD - COUNTED_LIMIT)];
    let nowhere = [(503, CROWD)];
    let stand_in = fleet.stand_in().unwrap();
    for (target, listens, expected) in [
        (TRAFFIC, true, &[(200, CROWD)][..]),
        (COUNTED, true, &refused),
        (TRAFFIC, false, &nowhere),
    ] {
        if !listens {
            stand_in.kill();
        }
        let before = waited();
        // One by one while the crowd is let go: these must not be caught in it.
        let passers_by = Load::start(&[replica.http()], 100, 8, |_| Request::get(TRAFFIC)).unwrap();
        silence();
        let outcomes = send(fleet, target);
        assert!(waited() - before >= ENOUGH, "only {} waited", waited() - before);
        assert_eq!(statuses(&outcomes), expected.iter().copied().collect(), "{target}");
        assert_no_crash(replica);
        speak();
        wait_until_redis_decides(replica);
        let passed_by = statuses(&passers_by.stop().unwrap());
        let answered = passed_by.keys().all(|status| *status == 200 || *status == 503 && !listens);
        assert!(answered, "{passed_by:?}");
    }
    stand_in.start().unwrap();
    assert_works(fleet);
}

fn assert_works(fleet: &Fleet) {
    let to = [fleet.replica(0).http()];
    let outcomes = burst(&to, next_origin(), &Request::get(COUNTED), 2 * COUNTED_LIMIT, 4).unwrap();
    assert_eq!(statuses(&outcomes), [(200, COUNTED_LIMIT), (429, COUNTED_LIMIT)].into());
}

#[test]
fn a_crowd_that_waits_for_a_redis_that_hangs_is_answered() {
    let fleet = start();
    let redis = fleet.redis().node(0);
    survive(&fleet, || redis.pause(), || redis.resume());
}

#[test]
fn a_crowd_that_waits_for_a_redis_that_is_too_slow_is_answered() {
    let fleet = start();
    let redis = fleet.redis().node(0);
    let pause = || drop(redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap());
    let unpause = || drop(redis.ask(&["CLIENT", "UNPAUSE"]).unwrap());
    survive(&fleet, pause, unpause);
}

#[test]
fn a_crowd_whose_replies_come_in_one_piece_is_answered_exactly() {
    let fleet = start();
    let (replica, redis) = (fleet.replica(0), fleet.redis().node(0));
    let release_together = |target: &str| {
        redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
        thread::scope(|scope| {
            let sent = scope.spawn(|| send(&fleet, target));
            wait_for_unanswered(replica, CROWD);
            redis.ask(&["CLIENT", "UNPAUSE"]).unwrap();
            statuses(&sent.join().unwrap())
        })
    };
    assert_eq!(release_together(TRAFFIC), [(200, CROWD)].into());
    assert_no_crash(replica);
    assert_eq!(
        release_together(COUNTED),
        [(200, COUNTED_LIMIT), (429, CROWD - COUNTED_LIMIT)].into()
    );
    assert_no_crash(replica);
    fleet.stand_in().unwrap().kill();
    assert_eq!(release_together(TRAFFIC), [(503, CROWD)].into());
    assert_no_crash(replica);
    // All of them were decided by Redis.
    assert_eq!(replica.metric("meliproxy_redis_failures_total", &[]).unwrap(), 0.0);
    fleet.stand_in().unwrap().start().unwrap();
    assert_works(&fleet);
}
