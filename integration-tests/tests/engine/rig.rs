//! What the tests of the engine are made of.

use std::time::{SystemTime, UNIX_EPOCH};

use integration_tests::client::{Client, Request, Response};
use integration_tests::fleet::Fleet;
use serde_json::{Value, json};

/// The seed of this run.
pub(super) fn seed() -> u64 {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
    };
    println!("SEED={seed}");
    seed
}

/// A configuration with these rules, each for a route of its own under `/echo/{name}/` unless it says for which. The
/// deadline is long, so that a busy machine is no reason to count locally.
pub(super) fn config(rules: &[Value]) -> Value {
    let (mut routes, mut quotas) = (Vec::new(), Vec::new());
    for rule in rules {
        let mut rule = rule.clone();
        if rule.get("routes").is_none() {
            let name = rule["name"].as_str().unwrap();
            routes.push(json!({"name": name, "path": format!("/echo/{name}/{{*rest}}")}));
            rule["routes"] = json!([name]);
        }
        quotas.push(rule);
    }
    let redis = json!({"namespace": "engine", "timeout": "1s"});
    json!({"version": 1, "redis": redis, "routes": routes, "quotas": quotas})
}

/// Two replicas with these rules.
pub(super) fn start(rules: &[Value]) -> Fleet {
    Fleet::start(&config(rules).to_string(), |options| options.replicas(2))
}

/// One request through the edge.
pub(super) fn send(fleet: &Fleet, request: &Request) -> Response {
    Client::new(fleet.edge().http()).send(request).unwrap()
}

/// The statuses of so many copies of a request through the edge, one after the other.
pub(super) fn statuses(fleet: &Fleet, request: &Request, count: usize) -> Vec<u16> {
    let mut client = Client::new(fleet.edge().http());
    (0..count).map(|_| client.send(request).unwrap().status).collect()
}

/// How many copies of a request pass of so many to the replicas, as from the edge for a client at `address`; the others
/// are refused with 429, and none passes after one that was refused.
#[track_caller]
pub(super) fn passes(fleet: &Fleet, request: &Request, address: &str, count: usize) -> usize {
    let request = request.clone().header("X-Forwarded-For", address);
    let mut clients: Vec<_> = fleet.addresses().into_iter().map(Client::new).collect();
    let senders = clients.len();
    let mut status = |number: usize| clients[number % senders].send(&request).unwrap().status;
    let statuses: Vec<_> = (0..count).map(&mut status).collect();
    let passed = statuses.iter().take_while(|status| **status == 200).count();
    assert!(statuses[passed..].iter().all(|status| *status == 429), "{address}: {statuses:?}");
    passed
}

/// What the rule has decided so, over all replicas.
pub(super) fn decisions(fleet: &Fleet, rule: &str, outcome: &str, source: &str) -> f64 {
    let labels = [("rule", rule), ("outcome", outcome), ("source", source)];
    fleet.total("meliproxy_quota_decisions_total", &labels)
}
