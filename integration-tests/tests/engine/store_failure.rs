//! Redis is gone: each rule decides as it says.

use integration_tests::client::{Client, Load, Request};
use integration_tests::fleet::{Fleet, SOON};
use integration_tests::scene::statuses as counts;
use integration_tests::stack::{Reply, wait_until};
use serde_json::{Value, json};

use super::rig::{decisions, passes, send, start, statuses};

/// What rules can say of that.
const KINDS: [&str; 3] = ["local", "allow", "deny"];

fn rule(name: &str, by: &str, limit: u64, on_store_failure: &str) -> Value {
    let by = [by];
    json!({"name": name, "by": by, "limit": limit, "per": "365d", "on_store_failure": on_store_failure})
}

/// Waits until every replica has learnt of every other one: by it what one may pass alone is divided.
fn wait_for_leases(fleet: &Fleet) {
    let primary = fleet.primary();
    let wait = |what, condition: &dyn Fn() -> (u64, u64)| {
        let outcome = wait_until(what, SOON, || match condition() {
            (seen, enough) if seen >= enough => Ok(()),
            (seen, enough) => Err(format!("{seen} of {enough}")),
        });
        outcome.unwrap();
    };
    let replicas = fleet.replicas().len() as u64;
    let leases = || {
        let all = primary.ask(&["ZRANGE", "mp:{engine}:processes", "0", "-1"]).unwrap();
        (if let Reply::Array(all) = all { all.len() as u64 } else { 0 }, replicas)
    };
    wait("all to hold a lease", &leases);
    let asked = || {
        let stats = primary.ask(&["INFO", "commandstats"]).unwrap().to_string();
        let calls = stats.split_once("cmdstat_zcard:calls=").map_or("0", |(_, calls)| calls);
        calls.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    // Each asks once in a second how many there are.
    let enough = asked() + 2 * replicas;
    wait("all to count the leases", &|| (asked(), enough));
}

fn lose_redis(fleet: &Fleet) {
    // The replica first, or it would take over.
    fleet.redis().node(1).kill();
    fleet.redis().node(0).kill();
    fleet.wait_until_degraded("the loss to be noticed", |degraded| degraded == 1.0);
}

#[test]
fn each_rule_says_what_decides_without_redis() {
    let by = "client_address";
    let mut quiet = rule("quiet", by, 1000, "deny");
    quiet["shadow"] = json!(true);
    let mut counted = rule("counted", by, 6, "local");
    counted["routes"] = json!(["mixed"]);
    let mut denied = rule("denied", by, 1000, "deny");
    denied["routes"] = json!(["strict"]);
    let (mixed, strict) = (rule("mixed", by, 1, "allow"), rule("strict", by, 1000, "allow"));
    let mut rules = KINDS.map(|kind| rule(kind, by, 6, kind)).to_vec();
    rules.extend([quiet, counted, mixed, denied, strict]);
    let fleet = start(&rules);
    let get = |rule: &str| Request::get(format!("/echo/{rule}/x"));
    let redis_decides = |address| {
        for kind in KINDS {
            assert_eq!(passes(&fleet, &get(kind), address, 9), 6, "{kind}");
        }
    };
    redis_decides("203.0.113.1");
    wait_for_leases(&fleet);
    lose_redis(&fleet);

    let status = |rule| statuses(&fleet, &get(rule), 20);
    assert_eq!(status("allow"), [200; 20]);
    assert_eq!(status("deny"), [429; 20]);
    let refusal = send(&fleet, &get("deny"));
    assert_eq!(refusal.header("retry-after"), Some("1"));
    assert_eq!(refusal.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!(problem["violated-policies"], json!(["deny"]));
    assert_eq!(decisions(&fleet, "deny", "denied", "process"), 21.0);
    // One that denies is enough, unless it is a shadow.
    assert_eq!(status("strict"), [429; 20]);
    assert_eq!(status("quiet"), [200; 20]);
    // Each process counts what it sees itself against its half, where a rule beside allows whatever comes too.
    for rule in ["local", "mixed"] {
        for replica in fleet.replicas() {
            let mut client = Client::new(replica.http());
            let request = get(rule).header("X-Forwarded-For", "203.0.113.3");
            let statuses: Vec<_> = (0..5).map(|_| client.send(&request).unwrap().status).collect();
            assert_eq!(statuses, [200, 200, 200, 429, 429], "{rule}");
        }
    }

    fleet.redis().node(0).start().unwrap();
    fleet.redis().node(1).start().unwrap();
    fleet.wait_until_degraded("Redis to be back", |degraded| degraded == 0.0);
    redis_decides("203.0.113.4");
}

#[test]
fn whoever_asks_while_redis_goes_is_allowed_or_denied_and_never_failed() {
    // Each request has a key of its own, so that none is over its limit.
    let rules = ["allow", "deny"].map(|kind| rule(kind, "header:x-key", 1, kind));
    let fleet = start(&rules);
    let load = Load::start(&[fleet.edge().http()], 300, 60, |number| {
        let rule = if number % 2 == 0 { "allow" } else { "deny" };
        Request::get(format!("/echo/{rule}/x")).header("X-Key", number.to_string())
    });
    let load = load.unwrap();
    let wait_for_answers = |enough| {
        let outcome = wait_until("requests to be answered", SOON, || match load.answered() {
            answered if answered >= enough => Ok(()),
            answered => Err(format!("{answered} of {enough}")),
        });
        outcome.unwrap();
    };
    wait_for_answers(100);
    lose_redis(&fleet);
    wait_for_answers(load.answered() + 100);
    let outcomes = load.stop().unwrap();
    let (allow, deny): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|outcome| outcome.number % 2 == 0);
    let (allow, deny) = (counts(allow), counts(deny));
    println!("allow: {allow:?}, deny: {deny:?}");
    assert!(allow.keys().all(|status| *status == 200), "{allow:?}");
    assert!(deny.keys().all(|status| matches!(status, 200 | 429)), "{deny:?}");
    assert!(deny.contains_key(&200) && deny.contains_key(&429), "{deny:?}");
}
