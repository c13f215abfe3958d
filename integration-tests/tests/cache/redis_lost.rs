//! Redis is lost under load: every request is answered all the same, nothing is used from memory for longer than its
//! lease, and once Redis is back responses are stored again.

use std::time::{Duration, Instant};

use integration_tests::client::{Load, Outcome, percentile};
use integration_tests::scene::statuses;
use integration_tests::stack::wait_until;
use serde_json::json;

use crate::rig::{Rig, SOON, config, detail, get, purge, told, wait_for_age};

/// The same as in the filter: for how long a silent store is trusted.
const LEASE: Duration = Duration::from_secs(2);

/// For what a busy machine is late.
const SLACK: Duration = Duration::from_millis(500);

const URLS: u32 = 10;

/// Which of these were answered from memory.
fn is_from_memory(outcome: &&Outcome) -> bool {
    detail(outcome.result.as_ref().unwrap()) == Some("l1")
}

/// Loses Redis and gets it back, under load on what one policy is for.
fn survive(
    rig: &Rig,
    (what, policy): (&str, &'static str),
    lose: impl FnOnce(),
    restore: impl FnOnce(),
) {
    let request = move |number: u32| get(&format!("/{policy}/MLA{}", number % URLS));
    let prefix = format!("/{policy}");
    let load = Load::start(&rig.addresses(), 300, 60, request).unwrap();
    let flow = |count: usize| {
        let enough = load.answered() + count;
        wait_until("requests to be answered", SOON, || {
            let answered = load.answered();
            if answered >= enough { Ok(()) } else { Err(format!("{answered} of {enough}")) }
        })
        .unwrap();
    };
    flow(600);
    let before = rig.received(&prefix);
    assert_eq!(before, u64::from(URLS), "all of it is cached");

    let lost_at = Instant::now();
    lose();
    wait_for_age(lost_at, LEASE + 2 * SLACK);
    flow(300);
    // Nobody knows whether that would be seen everywhere.
    let refused = rig.order(1, &purge(&format!("{prefix}/MLA0"), &[]));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let restored_at = Instant::now();
    restore();

    let is_back = |replica| {
        let target = format!("{prefix}/back-{replica}");
        wait_until("responses to be stored again", SOON, || {
            let response = rig.get(replica, &target);
            match detail(&response) {
                Some("l1" | "l2") => Ok(()),
                _ => Err(told(&response).to_owned()),
            }
        })
        .unwrap();
    };
    (0..3).for_each(is_back);
    let back_after = restored_at.elapsed();
    rig.wait_until_joined();
    flow(300);
    let settled_at = Instant::now();
    let received = rig.received(&prefix);
    flow(300);
    let outcomes = load.stop().unwrap();

    assert_eq!(statuses(&outcomes), [(200, outcomes.len())].into(), "{what}");
    let due = |from: Instant, to: Instant| {
        outcomes.iter().filter(move |it| (from..to).contains(&it.due_at)).collect::<Vec<_>>()
    };
    let within = due(lost_at, lost_at + LEASE);
    let after = due(lost_at + LEASE + SLACK, restored_at);
    let used = within.iter().copied().filter(is_from_memory).count();
    let used_late = after.iter().copied().filter(is_from_memory).count();
    println!(
        "{what}: of {} requests within the lease {used} from memory, of {} after it {used_late}; p50 {:.1?}, p99 \
         {:.1?}, most {:.1?}; cached again after {back_after:.1?}",
        within.len(),
        after.len(),
        percentile(within.iter().chain(&after).copied(), 0.5),
        percentile(within.iter().chain(&after).copied(), 0.99),
        percentile(within.iter().chain(&after).copied(), 1.0),
    );
    assert!(used > 50, "{used}");
    assert_eq!(used_late, 0);
    assert!(after.len() > 100, "{}", after.len());
    let unavailable = rig.total("misses_total", &[("cache", policy), ("reason", "no-store")]);
    assert!(unavailable >= after.len() as f64, "{unavailable}");
    // From memory or Redis, but for what is stale by now.
    assert_eq!(rig.received(&prefix), received, "all of it is cached again");
    let hits = due(settled_at, Instant::now());
    assert!(hits.iter().all(|it| detail(it.result.as_ref().unwrap()).is_some()));
}

#[test]
fn redis_lost_is_no_outage() {
    let policies = [json!({"name": "items"}), json!({"name": "categories"})];
    // Requests wait for a Redis that says nothing ten times as long: more than a busy machine makes it take.
    let redis = json!({"redis": {"namespace": "cached", "timeout": "100ms"}});
    let rig = Rig::start(&config(&policies, redis));
    let redis = rig.redis().unwrap();
    // The replica first, or it would take over.
    let nodes = |order: [usize; 2], act: &dyn Fn(usize)| order.into_iter().for_each(act);
    survive(
        &rig,
        ("killed", "items"),
        || nodes([1, 0], &|node| redis.node(node).kill()),
        || nodes([0, 1], &|node| redis.node(node).start().unwrap()),
    );
    survive(
        &rig,
        ("stopped without a sign", "categories"),
        || nodes([1, 0], &|node| redis.node(node).pause()),
        || nodes([0, 1], &|node| redis.node(node).resume()),
    );
    rig.assert_no_crash();
}
