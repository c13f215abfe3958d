//! What attacks cost: a key over its limit is refused without asking Redis, and however many clients there are, neither
//! the memory of Envoy grows nor is a key in use forgotten for them.

use std::path::Path;
use std::thread;

use integration_tests::bench::{Load, Outcome, resident_bytes};
use integration_tests::client::{self, Request};
use integration_tests::fleet::Fleet;
use integration_tests::stack::{Reply, StackOptions};
use serde_json::{Value, json};

use super::rig::{config, decisions, passes};

/// How long an attack lasts.
const SECONDS: u32 = 3;

/// Rules that are attacked, with the units that each gives back in a second.
const RULES: [(&str, u64); 6] = [
    ("fixed", 0),
    ("said", 0),
    ("sliding", 10),
    ("bucket", 1),
    ("fast-sliding", 100),
    ("fast-bucket", 100),
];

fn rules() -> Vec<Value> {
    let rule = |name: &str, algorithm: &str, limit: u64, per: &str| {
        let by = ["client_address"];
        json!({"name": name, "by": by, "limit": limit, "per": per, "algorithm": algorithm})
    };
    let mut said = rule("said", "fixed_window", 50, "365d");
    said["cost"] = json!({"header": "x-cost", "default": 3});
    let rules = vec![
        rule("fixed", "fixed_window", 50, "365d"),
        said,
        rule("sliding", "sliding_window", 20, "2s"),
        rule("bucket", "token_bucket", 60, "1m"),
        rule("fast-sliding", "sliding_window", 100, "1s"),
        rule("fast-bucket", "token_bucket", 100, "1s"),
    ];
    assert!(rules.iter().zip(RULES).all(|(rule, (name, _))| rule["name"] == name));
    rules
}

/// All replicas at once, each over so many connections.
fn attack(fleet: &Fleet, load: Load, path: &str, clients: u32) -> Vec<Outcome> {
    let wrk = StackOptions::new(Path::new("")).tool("wrk");
    let of = |address| load.run(&wrk, address, path, clients).unwrap();
    thread::scope(|scope| {
        let attacks = fleet.addresses().into_iter().map(|address| scope.spawn(move || of(address)));
        let attacks: Vec<_> = attacks.collect();
        attacks.into_iter().map(|attack| attack.join().unwrap()).collect()
    })
}

#[test]
fn a_key_over_its_limit_costs_redis_next_to_nothing_at_any_rate() {
    for replicas in [1, 3] {
        let fleet =
            Fleet::start(&config(&rules()).to_string(), |options| options.replicas(replicas));
        for (rule, given_back) in RULES {
            let path = format!("/echo/{rule}/x");
            let load = |seconds| Load { threads: 1, connections: 32, seconds };
            attack(&fleet, load(1), &path, 1);
            let (before, denied) =
                (fleet.script_calls(), decisions(&fleet, rule, "denied", "process"));
            let outcomes = attack(&fleet, load(SECONDS), &path, 1);
            let calls = fleet.script_calls() - before;
            assert_eq!(decisions(&fleet, rule, "denied", "process"), denied, "Redis was there");

            let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
            let (sent, refused) = (sum(|it| it.requests), sum(|it| it.refused));
            println!(
                "{rule}, {replicas} replicas: {sent} requests, {} passed, {calls} calls",
                sent - refused
            );
            assert_eq!(sum(|it| it.failed), 0);
            // A little more time passes than the attack is to last.
            let seconds = u64::from(SECONDS) + 1;
            assert!(sent - refused <= given_back * seconds, "{rule}: what is given back passes");
            // All replicas ask for each unit that is given back, and some a second time, a little early.
            let most = u64::from(replicas) * seconds * (9 + 3 * given_back);
            assert!(calls <= most, "{rule}: {calls} calls for {sent} requests, at most {most}");
        }
    }
}

/// How long a flood lasts in seconds, and addresses that are more than it gets through; with `MELIPROXY_LONG=1` of
/// 10^6 and more.
fn flood() -> (u32, u32) {
    let long = std::env::var_os("MELIPROXY_LONG").is_some();
    if long { (180, 12_000_000) } else { (15, 1_000_000) }
}

/// What a flood of any length may add to the memory of an Envoy, in bytes: of 10^6 addresses it is 8 bytes each.
const GROWTH: u64 = 8_000_000;

/// A client that no flood pretends to be.
const HOT: &str = "203.0.113.1";

/// Most that one counter may take of the memory of Redis, in bytes.
const COUNTER: u64 = 300;

/// Floods a replica with addresses, each of which is over its limit at once, while one client that is refused goes on
/// asking. Returns how many there were.
fn survive_flood(fleet: &Fleet, source: &str) -> u64 {
    let pid = || fleet.replica(0).pid().unwrap();
    let (seconds, clients) = flood();
    let load = |seconds| Load { threads: 1, connections: 32, seconds };
    // What is allocated once is there after this.
    attack(fleet, load(5), "/echo/warm/x", clients);
    let hot = Request::get("/echo/hot/x");
    assert_eq!(passes(fleet, &hot, HOT, 6), 5);
    let hot = hot.header("X-Forwarded-For", HOT);
    let (asked, before) =
        (decisions(fleet, "hot", "denied", source), resident_bytes(pid()).unwrap());

    let asks = client::Load::start(&fleet.addresses(), 20, 2, move |_| hot.clone()).unwrap();
    let outcomes = attack(fleet, load(seconds), "/echo/flood/x", clients);
    let refused = asks.stop().unwrap();
    let after = resident_bytes(pid()).unwrap();
    let [Outcome { requests, refused: others, failed, .. }] = outcomes[..] else { panic!() };
    println!(
        "{requests} addresses, {} asked in between; RSS {before}, then {after}",
        refused.len()
    );
    assert!(requests < clients.into() && (others, failed) == (0, 0), "{outcomes:?}");
    assert!(after < before + GROWTH, "RSS was {before}, became {after}");
    assert!(refused.len() > 200 && refused.iter().all(|outcome| outcome.status() == 429));
    if source == "redis" {
        assert_eq!(decisions(fleet, "hot", "denied", source), asked, "it was not forgotten");
    }
    requests
}

fn flooded() -> String {
    let rule = |(name, limit)| json!({"name": name, "by": ["client_address"], "limit": limit, "per": "365d"});
    config(&[("warm", 1), ("hot", 5), ("flood", 1)].map(rule)).to_string()
}

#[test]
fn a_flood_of_addresses_neither_grows_envoy_nor_crowds_out_who_is_refused() {
    let fleet = Fleet::start(&flooded(), |options| options.replicas(1));
    let used = || -> u64 {
        let memory = fleet.primary().ask(&["INFO", "memory"]).unwrap().to_string();
        let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:"));
        used.unwrap().trim().parse().unwrap()
    };
    let counters = || {
        let Reply::Integer(counters) = fleet.primary().ask(&["DBSIZE"]).unwrap() else { panic!() };
        u64::try_from(counters).unwrap()
    };
    let (used_before, counters_before) = (used(), counters());
    let addresses = survive_flood(&fleet, "redis");
    let made = counters() - counters_before;
    let each = (used() - used_before) / made;
    println!("{made} counters of {each} bytes each in Redis");
    assert!(made > addresses && each < COUNTER, "{each} bytes each");
}

#[test]
fn nor_does_it_without_redis() {
    let fleet = Fleet::start(&flooded(), |options| options.replicas(1).redis(false));
    survive_flood(&fleet, "process");
}
