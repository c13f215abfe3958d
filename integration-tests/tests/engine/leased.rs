//! Units taken ahead of need: far fewer calls for a hot key, never more than the limit, and nothing is kept.

use std::net::Ipv4Addr;

use integration_tests::client::{Request, burst};
use integration_tests::fleet::{CONNECTIONS, Fleet, SOON, passed};
use integration_tests::stack::{ConfigState, wait_until};
use serde_json::{Value, json};

use super::rig::{config, decisions};

/// Three replicas of two workers with a leased rule named `hot`.
fn start(limit: usize, algorithm: &str) -> (Fleet, Value) {
    let rule = json!({
        "name": "hot", "limit": limit, "per": "365d", "algorithm": algorithm, "precision": "leased"
    });
    let config = config(&[rule]);
    let fleet = Fleet::start(&config.to_string(), |options| options.replicas(3).workers(2));
    (fleet, config)
}

/// How many pass of so many at once.
fn passes(fleet: &Fleet, count: usize) -> usize {
    let request = Request::get("/echo/hot/x");
    let to = fleet.addresses();
    passed(&burst(&to, Ipv4Addr::LOCALHOST, &request, count, 2 * CONNECTIONS).unwrap())
}

/// Waits until Redis has counted what has passed, and no more.
fn wait_for_what_was_not_spent(fleet: &Fleet, passed: usize) {
    wait_until("what was not spent to come back", SOON, || {
        let counted: u64 = fleet.counters().values().sum();
        if counted == passed as u64 { Ok(()) } else { Err(format!("{counted}, {passed} passed")) }
    })
    .unwrap();
}

#[test]
fn a_hot_key_costs_a_twentieth_of_the_calls_and_gets_exactly_its_limit() {
    const LIMIT: usize = 12_000;
    for algorithm in ["fixed_window", "sliding_window"] {
        let (fleet, _) = start(LIMIT, algorithm);
        let calls_before = fleet.script_calls();
        let mut sum = 0;
        while sum < LIMIT * 3 / 4 {
            sum += passes(&fleet, LIMIT / 4);
        }
        let calls = fleet.script_calls() - calls_before;
        println!("{algorithm}: {calls} calls for {sum} requests");
        assert!(calls * 20 < sum as u64, "{calls} calls for {sum} requests");
        // The last units are in the hands of whoever took them ahead, until they are spent or given back.
        wait_until("the limit to be used up", SOON, || {
            sum += passes(&fleet, 1000);
            assert!(sum <= LIMIT, "{sum} passed");
            if sum == LIMIT { Ok(()) } else { Err(sum.to_string()) }
        })
        .unwrap();
        assert_eq!(passes(&fleet, 1000), 0);
        let ahead = decisions(&fleet, "hot", "allowed", "lease");
        assert!(ahead > (LIMIT / 2) as f64, "{ahead} were paid for ahead");
    }
}

#[test]
fn what_is_not_spent_comes_back_also_from_a_configuration_that_is_replaced() {
    let (fleet, mut config) = start(100_000, "fixed_window");
    let mut sum = passes(&fleet, 3000);
    assert!(decisions(&fleet, "hot", "allowed", "lease") > 0.0, "nothing was taken ahead");
    wait_for_what_was_not_spent(&fleet, sum);
    sum += passes(&fleet, 3000);
    config["quotas"][0]["refusal"] = json!({"status": 503});
    let status = fleet.write_config(&config.to_string()).unwrap();
    assert_eq!(status.state, ConfigState::Published, "{status:?}");
    wait_for_what_was_not_spent(&fleet, sum);
}

#[test]
fn a_leased_bucket_lets_no_more_pass_than_it_may_hold() {
    const BURST: usize = 2000;
    let (fleet, _) = start(BURST, "token_bucket");
    // In a year one bucket flows in; so hardly anything is held back for what flows in within a second.
    let sum = passes(&fleet, 2 * BURST);
    assert!((BURST * 3 / 4..=BURST).contains(&sum), "{sum} passed");
}
