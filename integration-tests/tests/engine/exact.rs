//! What a fleet admits is what the algorithms admit, off by none, whatever arrives where and when.
//!
//! Which of many requests at once are admitted depends on who comes first. But in one window counters only grow, so what
//! was admitted is what a model admits in some order exactly if the model admits all of it, and then, with all of that
//! counted, nothing of what was refused.

use std::net::Ipv4Addr;
use std::time::Duration;

use integration_tests::client::{Outcome, arrivals};
use integration_tests::fleet::{Fleet, reached_by};
use meliproxy::rng::Rng;
use serde_json::Value;

use super::model::{Algorithm, Model, Sent};
use super::rig::seed;
use super::scenario::{self, Scenario};

const SCENARIOS: usize = 200;

/// Scenarios that happen at the same time.
const AT_ONCE: usize = 10;

/// All windows end with a day in UTC; and a bucket that takes a year for 100 units has not one more within a day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Connections to each of three replicas of two workers: some carry several scenarios at once.
const CONNECTIONS: usize = 24;

/// A request of scenario `.0`, due at `.1`.
type Due = (usize, Duration, Sent);

#[test]
fn three_replicas_of_two_workers_admit_what_the_algorithms_do() {
    admit_what_the_algorithms_do("stream", SCENARIOS);
}

#[test]
fn so_they_do_where_redis_is_reached_by_calls() {
    admit_what_the_algorithms_do("callout", SCENARIOS / 2);
}

fn admit_what_the_algorithms_do(transport: &str, count: usize) {
    let mut rng = Rng::with_seed(seed());
    let (scenarios, config) = scenario::random(&mut rng, count);
    let fleet =
        Fleet::start(&reached_by(transport, &config), |options| options.replicas(3).workers(2));
    let (mut sent, mut refused, mut tries) = (0, [0; 3], 0);
    for group in scenarios.chunks(AT_ONCE) {
        let (requests, outcomes) = fleet.undisturbed(DAY, |origin| {
            tries += 1;
            play(&fleet, group, origin)
        });
        for (number, scenario) in group.iter().enumerate() {
            let own: Vec<_> = requests
                .iter()
                .zip(&outcomes)
                .filter(|((of, ..), _)| *of == number)
                .map(|((_, _, sent), outcome)| (sent, outcome))
                .collect();
            check(scenario, &own, &mut refused);
            sent += own.len();
        }
    }
    println!(
        "{count} scenarios, {sent} requests in {tries} tries; refused by each algorithm: {refused:?}"
    );
    assert!(refused.iter().all(|refused| *refused > 100), "nothing was tried: {refused:?}");
}

/// Sends all requests of some scenarios, to hosts named after `origin` so that nobody has asked for them before, and
/// returns them with what became of them.
fn play(fleet: &Fleet, group: &[Scenario], origin: Ipv4Addr) -> (Vec<Due>, Vec<Outcome>) {
    let of = |(number, scenario): (usize, &Scenario)| -> Vec<Due> {
        let sent = |(due, sent): &(Duration, Sent)| {
            let mut sent = sent.clone();
            sent.parts[0] = Some(format!("{origin}.{number}"));
            (number, *due, sent)
        };
        scenario.requests.iter().map(sent).collect()
    };
    let mut all: Vec<Due> = group.iter().enumerate().flat_map(of).collect();
    all.sort_by_key(|(_, due, _)| *due);
    let requests =
        all.iter().map(|(number, due, sent)| (*due, group[*number].request(sent))).collect();
    let addresses = fleet.addresses();
    let mut outcomes = arrivals(&addresses, Ipv4Addr::LOCALHOST, requests, CONNECTIONS).unwrap();
    outcomes.sort_by_key(|outcome| outcome.number);
    (all, outcomes)
}

/// Holds what became of the requests of a scenario against the model, and adds up who refused.
fn check(scenario: &Scenario, all: &[(&Sent, &Outcome)], refused: &mut [usize; 3]) {
    let (mut model, rules) = (Model::default(), &scenario.rules);
    let explain = |problem: String| -> ! {
        let history: Vec<_> =
            all.iter().map(|(sent, outcome)| format!("{} {sent:?}", outcome.status())).collect();
        let rules: Vec<_> = rules.iter().map(|rule| format!("{rule:?}")).collect();
        panic!("{problem}\nrules:\n{}\nrequests:\n{}", rules.join("\n"), history.join("\n"));
    };
    for (sent, _) in all.iter().filter(|(_, outcome)| outcome.status() == 200) {
        let full = model.full(rules, sent);
        if !full.is_empty() {
            explain(format!("{full:?} admitted too much: {sent:?}"));
        }
        model.take(rules, sent);
    }
    for (sent, outcome) in all.iter().filter(|(_, outcome)| outcome.status() != 200) {
        assert_eq!(outcome.status(), 429, "{outcome:?}");
        let full = model.full(rules, sent);
        let violated = violated_policies(outcome);
        assert!(!violated.is_empty(), "{outcome:?}");
        for name in violated {
            if !full.contains(&name.as_str()) {
                explain(format!("{name} has refused what it has room for: {sent:?}"));
            }
            let rule = rules.iter().find(|rule| rule.name == name).unwrap();
            refused[match rule.algorithm {
                Algorithm::FixedWindow => 0,
                Algorithm::SlidingWindow => 1,
                Algorithm::TokenBucket { .. } => 2,
            }] += 1;
        }
    }
}

/// The rules that refused, by the problem description.
fn violated_policies(refusal: &Outcome) -> Vec<String> {
    let problem: Value = serde_json::from_slice(&refusal.result.as_ref().unwrap().body).unwrap();
    serde_json::from_value(problem["violated-policies"].clone()).unwrap()
}
