//! What the access log is told of each way to conclude an exchange.

use super::*;
use crate::config::Config;
use crate::key::HashSeed;
use crate::quota::refusals::Shortage;
use crate::shared::InMemory;
use crate::time::UnixTime;

/// Rules by what becomes of them without Redis, and of a shadow.
const FILE: &str = r#"{"version": 1, "redis": {"namespace": "log"}, "quotas": [
    {"name": "local", "limit": 5, "per": "1m"},
    {"name": "shadow", "limit": 5, "per": "1m", "shadow": true},
    {"name": "allow", "limit": 5, "per": "1m", "on_store_failure": "allow"},
    {"name": "deny", "limit": 5, "per": "1m", "on_store_failure": "deny"}
]}"#;
const LOCAL: usize = 0;
const SHADOW: usize = 1;
const ALLOW: usize = 2;
const DENY: usize = 3;

struct NoTally;

impl Tally for NoTally {
    fn count(&mut self, _metric: Metric) {}
}

/// A request to `/`, of which nothing else is read.
struct Root;

impl crate::http::RequestView for Root {
    fn path(&mut self) -> Option<Vec<u8>> {
        Some(b"/".to_vec())
    }

    fn method(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn host(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn header(&mut self, _name: &str) -> Option<Vec<u8>> {
        None
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        None
    }

    fn lines(&mut self) -> crate::http::header::Fields {
        crate::http::header::Fields::default()
    }

    fn is_over(&self) -> bool {
        true
    }
}

fn plan() -> Plan {
    Plan::new(Config::parse(FILE.as_bytes()).unwrap(), HashSeed([7; 16]))
}

fn at(micros: u64) -> Now {
    Now { mono: Instant::from_micros(micros), unix: UnixTime::from_micros(micros) }
}

/// One that began at 1 s and is held against these `rules`.
fn exchange(plan: &Plan, rules: &[usize], would_refuse: Option<usize>) -> Exchange {
    let mut checks = plan.open(&mut Root).checks;
    checks.retain(|check| rules.contains(&check.rule));
    Exchange::new(at(1_000_000), checks, would_refuse)
}

const fn within(remaining: u64, secs: u64) -> Standing {
    Standing::Within { remaining, reset_after: Duration::from_secs(secs) }
}

const fn exceeded(remaining: u64, secs: u64) -> Standing {
    Standing::Exceeded { remaining, reset_after: Duration::from_secs(secs) }
}

/// What is told when Redis has decided so 250 µs after the request came.
fn told_of_redis(exchange: &Exchange, is_allowed: bool, standings: Vec<Standing>) -> String {
    let decision = Decision::new(is_allowed, standings);
    let now = at(1_000_250);
    exchange.conclude_by_redis(now, &decision, &plan(), &mut NoTally).entry.unwrap()
}

fn without_store(exchange: Exchange, now: Now) -> Option<String> {
    exchange.conclude_without_store(now, 1, &plan(), &mut InMemory::default(), &mut NoTally).entry
}

#[test]
fn of_rules_that_allow_the_tightest_is_told() {
    let rules = exchange(&plan(), &[LOCAL, ALLOW, DENY], None);
    let told = |standings: [Standing; 3]| told_of_redis(&rules, true, standings.to_vec());
    assert_eq!(
        told([within(4, 1), within(2, 1), within(3, 9)]),
        "rule=allow outcome=allowed source=redis remaining=2 redis_us=250"
    );
    // Of equals the one that lasts longest, then the first.
    assert!(told([within(2, 1), within(2, 1), within(2, 9)]).starts_with("rule=deny "));
    assert!(told([within(2, 1), within(2, 1), within(2, 1)]).starts_with("rule=local "));
}

#[test]
fn of_rules_that_refuse_the_one_that_does_for_longest_is_told() {
    let rules = exchange(&plan(), &[LOCAL, SHADOW, ALLOW, DENY], None);
    let standings = vec![exceeded(0, 3), exceeded(0, 60), exceeded(2, 5), within(0, 60)];
    assert_eq!(
        told_of_redis(&rules, false, standings),
        "rule=allow outcome=denied source=redis remaining=0 redis_us=250"
    );
}

#[test]
fn a_shadow_is_told_of_only_where_it_would_refuse() {
    let rules = exchange(&plan(), &[LOCAL, SHADOW], None);
    assert_eq!(
        told_of_redis(&rules, true, vec![within(0, 60), exceeded(0, 3)]),
        "rule=shadow outcome=shadowed source=redis remaining=0 redis_us=250"
    );
    assert!(
        told_of_redis(&rules, true, vec![within(3, 60), within(4, 3)]).starts_with("rule=local ")
    );
}

#[test]
fn an_override_that_would_refuse_is_told_of_unless_another_rule_refuses() {
    let rules = exchange(&plan(), &[LOCAL], Some(SHADOW));
    assert_eq!(
        told_of_redis(&rules, true, vec![within(0, 60)]),
        "rule=shadow outcome=shadowed source=config remaining=- redis_us=250"
    );
    assert!(told_of_redis(&rules, false, vec![exceeded(0, 3)]).starts_with("rule=local "));
    let alone = exchange(&plan(), &[], Some(SHADOW));
    let told = alone.conclude_here(
        at(1_000_000),
        &plan(),
        &mut Leases::default(),
        &mut Refusals::default(),
        &mut NoTally,
    );
    assert_eq!(
        told.unwrap().entry.unwrap(),
        "rule=shadow outcome=shadowed source=config remaining=- redis_us=0"
    );
}

#[test]
fn nothing_is_told_where_no_rule_applies() {
    let free = exchange(&plan(), &[], None);
    let told = free.conclude_here(
        at(1_000_000),
        &plan(),
        &mut Leases::default(),
        &mut Refusals::default(),
        &mut NoTally,
    );
    assert_eq!(told.unwrap().entry, None);
}

#[test]
fn what_is_remembered_is_told_as_such() {
    let rules = exchange(&plan(), &[LOCAL, ALLOW], None);
    let mut refusals = Refusals::default();
    let key = rules.checks()[1].hash;
    let shortage =
        Shortage { key, cost: 1, lasts: Duration::from_secs(3), known_for: Duration::from_secs(3) };
    refusals.remember(at(999_000).mono, shortage, Duration::from_micros(250));
    let told = rules.conclude_here(
        at(1_000_000),
        &plan(),
        &mut Leases::default(),
        &mut refusals,
        &mut NoTally,
    );
    assert_eq!(
        told.unwrap().entry.unwrap(),
        "rule=allow outcome=denied source=memory remaining=0 redis_us=0"
    );
}

#[test]
fn without_redis_each_rule_tells_what_it_has_decided() {
    let (at_once, late) = (at(1_000_000), at(1_020_000));
    let told = |rules: &[usize], now| without_store(exchange(&plan(), rules, None), now).unwrap();
    assert_eq!(
        told(&[LOCAL, ALLOW], late),
        "rule=local outcome=allowed source=process remaining=4 redis_us=20000"
    );
    assert_eq!(
        told(&[LOCAL, ALLOW, DENY], at_once),
        "rule=deny outcome=denied source=process remaining=0 redis_us=0"
    );
    // It counts nothing.
    assert_eq!(
        told(&[ALLOW], at_once),
        "rule=allow outcome=allowed source=process remaining=- redis_us=0"
    );
}
