//! Random rules, and random requests under them.

use std::time::Duration;

use integration_tests::client::Request;
use meliproxy::rng::Rng;
use serde_json::{Value, json};

use super::model::{Algorithm, COST, Cost, PARTS, Rule, Sent, TENANT};

/// Rules of all scenarios together: the most that a configuration may have.
const RULES: usize = 256;

/// Rules of one request, at most.
const RULES_OF_ONE: u64 = 6;

/// Some requests of a route of their own, and the rules that they meet.
#[derive(Debug)]
pub(super) struct Scenario {
    route: String,
    pub(super) rules: Vec<Rule>,
    /// When each is due, and what it is; hosts are still to be put in.
    pub(super) requests: Vec<(Duration, Sent)>,
}

/// So many scenarios, and a configuration that has the rules of all of them.
pub(super) fn random(rng: &mut Rng, count: usize) -> (Vec<Scenario>, String) {
    let rules: Vec<_> = (0..RULES).map(|number| random_rule(rng, number)).collect();
    let mut routes_of = vec![Vec::new(); RULES];
    let mut scenarios = Vec::new();
    for number in 0..count {
        let route = format!("s{number}");
        // In the order of the file, as answers name them.
        let mut chosen: Vec<_> =
            (0..=below(rng, RULES_OF_ONE)).map(|_| below(rng, RULES as u64)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen.iter().for_each(|rule| routes_of[*rule].push(route.clone()));
        let rules = chosen.iter().map(|rule| rules[*rule].clone()).collect();
        scenarios.push(Scenario { route, rules, requests: random_requests(rng) });
    }
    let used = rules.iter().zip(&routes_of).filter(|(_, routes)| !routes.is_empty());
    let quotas: Vec<_> = used.map(|(rule, routes)| rule.config(routes)).collect();
    let route = |scenario: &Scenario| -> Value {
        json!({"name": scenario.route, "path": format!("/echo/{}/{{*rest}}", scenario.route)})
    };
    let routes: Vec<_> = scenarios.iter().map(route).collect();
    // The deadline is long, so that a busy machine is no reason to count locally.
    let redis = json!({"namespace": "exact", "timeout": "1s"});
    let config = json!({"version": 1, "redis": redis, "routes": routes, "quotas": quotas});
    (scenarios, config.to_string())
}

impl Scenario {
    /// A request as it goes out, as from the edge.
    pub(super) fn request(&self, sent: &Sent) -> Request {
        let [host, client, path, tenant, session] = &sent.parts;
        let target = format!("/echo/{}/{}", self.route, path.as_deref().unwrap_or_default());
        let fields = [
            ("Host", host.clone()),
            ("X-Forwarded-For", client.clone()),
            ("X-Tenant", tenant.clone()),
            ("Cookie", session.as_ref().map(|session| format!("session={session}"))),
            (COST, sent.cost.map(|units| units.to_string())),
        ];
        let add = |request: Request, (name, value): (&str, Option<String>)| match value {
            Some(value) => request.header(name, value),
            None => request,
        };
        fields.into_iter().fold(Request::get(target), add)
    }
}

/// Capacities are about what the requests of a scenario ask for, some far less, some more.
fn random_rule(rng: &mut Rng, number: usize) -> Rule {
    let others = 1..PARTS.len();
    let by = [0].into_iter().chain(others.filter(|_| below(rng, 3) == 0)).collect::<Vec<_>>();
    let algorithm = match below(rng, 3) {
        0 => Algorithm::FixedWindow,
        1 => Algorithm::SlidingWindow,
        _ => Algorithm::TokenBucket { burst: 1 + rng.up_to(40) },
    };
    let limit = match algorithm {
        // All of them together do not make a unit during a test.
        Algorithm::TokenBucket { .. } => 1 + rng.up_to(99),
        Algorithm::FixedWindow | Algorithm::SlidingWindow => 1 + rng.up_to(40),
    };
    let spans = ["30d", "90d", "365d", "month"];
    let per = match algorithm {
        Algorithm::FixedWindow => spans[below(rng, 4)],
        Algorithm::SlidingWindow => spans[below(rng, 3)],
        Algorithm::TokenBucket { .. } => "365d",
    };
    let cost = match below(rng, 6) {
        0 => Cost::Units(2 + rng.up_to(2)),
        1 => Cost::Said(1 + rng.up_to(2)),
        _ => Cost::Units(1),
    };
    let treatment = (below(rng, 4) > 0).then(|| 1 + rng.up_to(60));
    let is_special = by.contains(&TENANT) && below(rng, 2) == 0;
    let tenant = is_special.then(|| (["a", ""][below(rng, 2)], treatment));
    let shadow = below(rng, 8) == 0;
    Rule { name: format!("r{number}"), by, algorithm, limit, per, cost, tenant, shadow }
}

fn random_requests(rng: &mut Rng) -> Vec<(Duration, Sent)> {
    // All at once, or one after the other on the whole.
    let most_us = [0, 500, 5000][below(rng, 3)];
    let mut due = Duration::from_micros(rng.up_to(100_000));
    let count = 10 + rng.up_to(50);
    let mut random = |_| {
        due += Duration::from_micros(rng.up_to(most_us));
        let client = format!("203.0.113.{}", rng.up_to(2));
        let path = ["", "x", "y/z"][below(rng, 3)].to_owned();
        let tenant = [None, Some(""), Some("a"), Some("b")][below(rng, 4)];
        let session = [None, Some("1"), Some("2")][below(rng, 3)];
        let cost = [None, Some(1), Some(2), Some(5)][below(rng, 4)];
        let owned = |value: Option<&str>| value.map(str::to_owned);
        (due, Sent { parts: [None, Some(client), Some(path), owned(tenant), owned(session)], cost })
    };
    (0..count).map(&mut random).collect()
}

/// A number below `count`.
fn below(rng: &mut Rng, count: u64) -> usize {
    usize::try_from(rng.up_to(count - 1)).unwrap()
}
