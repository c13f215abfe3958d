//! Configuration files: each is taken as a whole or refused with reasons, and what was taken serves requests.

use std::sync::LazyLock;

use meliproxy::cache::key::{self, Target};
use meliproxy::config::{Config, MAX_PROBLEMS};
use meliproxy::exchange::{Exchange, Fate, Tally, conclude_by_config};
use meliproxy::key::HashSeed;
use meliproxy::metrics::{self, Layout, Metric};
use meliproxy::plan::Plan;
use meliproxy::quota::lease::Leases;
use meliproxy::quota::refusals::Refusals;
use meliproxy::shared::InMemory;
use meliproxy::time::{Instant, Now, UnixTime};
use serde_json::Value;

use crate::headers::{assert_reply, assert_well_formed};
use crate::input::Input;
use crate::request::Request;

/// Changes to a good file, at most.
const CHANGES: usize = 8;

/// Requests to be held against each: more than the smallest limits let through.
const REQUESTS: usize = 3;

/// A file in which every setting is present and good.
static GOOD: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_slice(include_bytes!("../corpus/config/full")).unwrap());

/// The text of a file. With `@` in front: changes to a good one, a line for each.
pub fn config(data: &[u8]) {
    match data.split_first() {
        Some((b'@', changes)) => read(changed(changes).to_string().as_bytes()),
        Some(_) | None => read(data),
    }
}

/// The first byte of each line says which value is replaced, the others by what: JSON, or else a text.
fn changed(changes: &[u8]) -> Value {
    let (mut file, mut input) = (GOOD.clone(), Input::new(changes));
    for _ in 0..CHANGES {
        if input.is_empty() {
            break;
        }
        let place = usize::from(input.byte());
        let text = String::from_utf8_lossy(input.line());
        let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into()));
        replace(&mut file, place, &value);
    }
    file
}

/// Replaces the value at that place in the order of the file, if there are so many.
fn replace(within: &mut Value, mut place: usize, value: &Value) {
    if place == 0 {
        return within.clone_from(value);
    }
    place -= 1;
    let inner: Vec<&mut Value> = match within {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => return,
    };
    for value_inside in inner {
        let size = size(value_inside);
        if place < size {
            return replace(value_inside, place, value);
        }
        place -= size;
    }
}

/// How many values there are in a value, itself included.
fn size(value: &Value) -> usize {
    let inner: usize = match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.values().map(size).sum(),
        _ => 0,
    };
    inner + 1
}

fn read(text: &[u8]) {
    match Config::parse(text) {
        Ok(config) => serve(config),
        Err(errors) => {
            let problems = errors.problems();
            assert!(!problems.is_empty() && problems.len() <= MAX_PROBLEMS);
            assert!(errors.more_count() == 0 || problems.len() == MAX_PROBLEMS);
            for problem in problems {
                for text in [&problem.path, &problem.found, &problem.allowed] {
                    assert!(!text.is_empty(), "{problem:?}");
                    assert!(!text.contains(['\n', '\r', '\0']), "not one line: {problem:?}");
                }
            }
            assert_eq!(
                errors.to_string().lines().count(),
                problems.len() + usize::from(errors.more_count() > 0)
            );
        }
    }
}

/// Counts nothing, but only what there is: so many series in this layout.
struct Known(usize, Layout);

impl Tally for Known {
    fn count(&mut self, metric: Metric) {
        assert!(metrics::index(metric, self.1) < self.0, "{metric:?} has no counter");
    }
}

fn serve(config: Config) {
    let rules = config.rules.iter().map(|rule| rule.name.as_str());
    let breakers = config.breakers.iter().map(|breaker| breaker.name.as_str());
    let caches = config.cache.iter().map(|cache| cache.name.as_str());
    let layout = Layout { rules: config.rules.len(), breakers: config.breakers.len() };
    let mut tally = Known(metrics::definitions(rules, breakers, caches).len(), layout);
    let plan = Plan::new(config, HashSeed([7; 16]));
    for rule in 0..plan.config().rules.len() {
        assert_reply(&plan, &plan.refuse_by_config(&[rule]));
    }
    let path = b"/items/1?utm_a=1&b=2&a=3";
    let target = Target { scheme: b"http", authority: b"example.com:80", path };
    let fields = [("cookie", "session=1"), ("x-cost", "2")].into_iter().collect();
    for cache in &plan.config().cache {
        assert!(key::primary(&cache.policy.key, target, &fields).is_some(), "no key: {cache:?}");
    }
    let now = Now {
        mono: Instant::from_micros(1_000_000),
        unix: UnixTime::from_micros(1_700_000_000_000_000),
    };
    let mut shared = InMemory::default();
    for number in 0..REQUESTS {
        let mut request = Request {
            path: b"/items/../items/%4D?q=1",
            host: b"example.com:80",
            source_address: b"[2001:db8::1]:1234",
            field: if number == 1 { b"2" } else { b"3" },
            cookies: b"session=1",
        };
        let opening = plan.open(&mut request);
        if let Some(conclusion) = conclude_by_config(&opening, &plan, &mut tally) {
            assert!(matches!(conclusion.fate, Fate::Refuse(_)));
            assert_well_formed(&plan, &conclusion);
            continue;
        }
        let would_refuse = opening.would_refuse.first().copied();
        let exchange = Exchange::new(now, opening.checks, would_refuse);
        let here = exchange.conclude_here(
            now,
            &plan,
            &mut Leases::default(),
            &mut Refusals::default(),
            &mut tally,
        );
        let conclusion = here.unwrap_or_else(|| {
            let live = number as u64;
            exchange.conclude_without_store(now, live, &plan, &mut shared, &mut tally)
        });
        assert_well_formed(&plan, &conclusion);
    }
}
