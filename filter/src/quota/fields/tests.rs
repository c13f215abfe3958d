//! The fields are read back by a parser of structured fields that is not ours.

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use sfv::{BareItem, Item, List, ListEntry, Parser};

use super::*;
use crate::key::KeyHash;

/// The largest value of `limit` and `burst`.
const MOST: u64 = 999_999_999_999_999;

const THREE: &str = r#"{"version": 1, "response_fields": ["ratelimit", "x-ratelimit"], "quotas": [
    {"name": "per-origin", "limit": 1000, "per": "1m"},
    {"name": "items", "limit": 10, "per": "1m"},
    {"name": "all", "limit": 50, "per": "1h"}
]}"#;

fn config(text: &str) -> Config {
    Config::parse(text.as_bytes()).unwrap()
}

/// A check of each rule, for keys without an override.
fn checks(config: &Config) -> Vec<Check> {
    let check = |(rule, of): (usize, &Rule)| Check {
        rule,
        policy: Policy::of(of),
        cost: 1,
        name: Vec::new(),
        hash: KeyHash::from_parts(0, 0),
        enforced: !of.shadow,
        lease_life: None,
    };
    config.rules.iter().enumerate().map(check).collect()
}

const fn within(remaining: u64, seconds: u64) -> Standing {
    Standing::Within { remaining, reset_after: Duration::from_secs(seconds) }
}

const fn exceeded(seconds: u64) -> Standing {
    Standing::Exceeded { remaining: 0, reset_after: Duration::from_secs(seconds) }
}

/// The fields of a request whose checks stand like this, in their order.
fn fields(config: &Config, checks: &[Check], standings: &[Standing]) -> Fields {
    let standings = checks.iter().zip(standings.iter().copied());
    Announcer::new(config).fields(checks, standings)
}

fn value<'f>(fields: &'f Fields, name: &str) -> &'f str {
    let mut values = fields.iter().filter(|(of, _)| *of == name).map(|(_, value)| value);
    let value = values.next().unwrap();
    assert_eq!(values.next(), None, "{name} twice");
    value
}

/// A member of a list: its name, and its parameters in their order.
type Member = (String, Vec<(String, u64)>);

/// A list of strings with parameters that are integers.
fn parsed(list: &str) -> Vec<Member> {
    let list: List = Parser::new(list).parse().unwrap();
    let member = |entry: ListEntry| {
        let ListEntry::Item(Item { bare_item: BareItem::String(name), params }) = entry else {
            panic!("{entry:?} is no string");
        };
        let parameter = |(key, value): (sfv::Key, BareItem)| {
            let BareItem::Integer(integer) = value else { panic!("{key:?}: {value:?}") };
            (key.as_str().to_owned(), u64::try_from(i64::from(integer)).unwrap())
        };
        (name.as_str().to_owned(), params.into_iter().map(parameter).collect())
    };
    list.into_iter().map(member).collect()
}

fn member(name: &str, parameters: &[(&str, u64)]) -> Member {
    let parameter = |(key, value): &(&str, u64)| ((*key).to_owned(), *value);
    (name.to_owned(), parameters.iter().map(parameter).collect())
}

#[test]
fn every_rule_of_the_request_is_a_member_of_both_lists() {
    let config = config(THREE);
    let checks = checks(&config);
    let told = fields(&config, &checks[..2], &[within(999, 12), within(9, 12)]);
    assert_eq!(value(&told, POLICY), r#""per-origin";q=1000;w=60, "items";q=10;w=60"#);
    assert_eq!(value(&told, LIMIT), r#""per-origin";r=999;t=12, "items";r=9;t=12"#);
}

#[test]
fn of_a_refusal_only_the_rules_that_refuse_are_told_but_the_policies_of_all() {
    let config = config(THREE);
    let checks = checks(&config);
    let announcer = Announcer::new(&config);
    let told = announcer.fields(&checks, [(&checks[1], exceeded(7))].into_iter());
    assert_eq!(parsed(value(&told, POLICY)).len(), 3);
    assert_eq!(parsed(value(&told, LIMIT)), [member("items", &[("r", 0), ("t", 7)])]);
}

#[test]
fn a_wait_is_rounded_up() {
    let config = config(THREE);
    let checks = checks(&config);
    for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_001, 60)] {
        let standing =
            Standing::Within { remaining: 5, reset_after: Duration::from_millis(millis) };
        let told = fields(&config, &checks[..1], &[standing]);
        assert_eq!(parsed(value(&told, LIMIT))[0].1[1], ("t".to_owned(), seconds), "{millis} ms");
        assert_eq!(value(&told, X_RESET), seconds.to_string());
    }
}

#[test]
fn the_triple_is_about_the_rule_with_the_fewest_left() {
    let config = config(THREE);
    let checks = checks(&config);
    for (standings, triple) in [
        ([within(999, 12), within(9, 13), within(49, 14)], ["10", "9", "13"]),
        ([within(8, 12), within(9, 13), within(49, 14)], ["1000", "8", "12"]),
        // Of equals the one that lasts longest.
        ([within(9, 12), within(9, 13), within(9, 14)], ["50", "9", "14"]),
        ([within(0, 12), exceeded(11), within(49, 14)], ["1000", "0", "12"]),
    ] {
        let told = fields(&config, &checks, &standings);
        assert_eq!([X_LIMIT, X_REMAINING, X_RESET].map(|name| value(&told, name)), triple);
    }
}

#[test]
fn only_the_fields_that_are_configured_are_told() {
    for (list, names) in [
        (r#"[]"#, &[] as &[&str]),
        (r#"["ratelimit"]"#, &[POLICY, LIMIT]),
        (r#"["x-ratelimit"]"#, &[X_LIMIT, X_REMAINING, X_RESET]),
        (r#"["x-ratelimit", "ratelimit"]"#, &[POLICY, LIMIT, X_LIMIT, X_REMAINING, X_RESET]),
    ] {
        let config = config(&THREE.replace(r#"["ratelimit", "x-ratelimit"]"#, list));
        let told = fields(&config, &checks(&config), &[within(1, 1); 3]);
        assert_eq!(told.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        assert_eq!(fields(&config, &[], &[]), [], "without rules");
    }
}

#[test]
fn shadows_are_not_told_of() {
    let mut config = config(THREE);
    config.rules[1].shadow = true;
    let checks = checks(&config);
    let told = fields(&config, &checks, &[within(5, 1), exceeded(1), within(4, 2)]);
    let names = |list| parsed(list).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(value(&told, POLICY)), ["per-origin", "all"]);
    assert_eq!(names(value(&told, LIMIT)), ["per-origin", "all"]);
    assert_eq!(value(&told, X_REMAINING), "4");
    assert_eq!(fields(&config, &checks[1..2], &[exceeded(1)]), []);
}

#[test]
fn a_key_with_an_override_is_told_its_own_limit() {
    let config = config(THREE);
    let mut checks = checks(&config);
    checks[1].policy.limit = 77;
    let told = fields(&config, &checks, &[within(9, 1), within(3, 1), within(9, 1)]);
    assert_eq!(
        value(&told, POLICY),
        r#""per-origin";q=1000;w=60, "items";q=77;w=60, "all";q=50;w=3600"#
    );
    assert_eq!(value(&told, X_LIMIT), "77");
}

#[test]
fn a_month_has_no_length_in_seconds() {
    let mut config = config(THREE);
    config.rules[0].per = Per::Month;
    let told = fields(&config, &checks(&config)[..1], &[within(9, 1)]);
    assert_eq!(value(&told, POLICY), r#""per-origin";q=1000"#);
}

#[test]
fn the_burst_of_a_bucket_is_a_parameter_of_our_own_where_it_is_not_the_limit() {
    let mut config = config(THREE);
    for (burst, expected) in [
        (1000, r#""per-origin";q=1000;w=60"#),
        (5, r#""per-origin";q=1000;w=60;meliproxy-burst=5"#),
    ] {
        let burst = NonZeroU64::new(burst).unwrap();
        config.rules[0].algorithm = Algorithm::TokenBucket { burst };
        let told = fields(&config, &checks(&config)[..1], &[within(4, 1)]);
        assert_eq!(value(&told, POLICY), expected);
    }
}

/// A rule, how its key's limit differs, and how it stands.
type Case = (Rule, Option<u64>, Standing);

fn any_case() -> impl Strategy<Value = Case> {
    let number = || prop_oneof![1..=MOST, 1..=3_u64, Just(MOST)];
    let per = prop_oneof![
        (1_u64..=31_536_000).prop_map(|seconds| Per::Span(Duration::from_secs(seconds))),
        Just(Per::Month),
    ];
    let algorithm = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::SlidingWindow),
        number()
            .prop_map(|burst| Algorithm::TokenBucket { burst: NonZeroU64::new(burst).unwrap() }),
    ];
    // Whatever the store makes of its counters.
    let standing = (any::<Option<u64>>(), any::<u64>()).prop_map(|(remaining, millis)| {
        let reset_after = Duration::from_millis(millis);
        remaining.map_or(Standing::Exceeded { remaining: 0, reset_after }, |remaining| {
            Standing::Within { remaining, reset_after }
        })
    });
    let its_own = proptest::option::of(0..=MOST);
    ("[a-z0-9][a-z0-9_-]{0,62}", number(), per, algorithm, its_own, standing).prop_map(
        |(name, limit, per, algorithm, its_own, standing)| {
            let mut rule = config(THREE).rules.remove(0);
            rule.name = name;
            rule.limit = NonZeroU64::new(limit).unwrap();
            rule.per = per;
            rule.algorithm = algorithm;
            (rule, its_own, standing)
        },
    )
}

proptest! {
    #[test]
    fn whatever_the_rules_the_lists_say_what_holds(
        cases in proptest::collection::vec(any_case(), 1..5),
    ) {
        let mut config = config(THREE);
        config.rules = cases.iter().map(|(rule, _, _)| rule.clone()).collect();
        let mut checks = checks(&config);
        for (check, (_, its_own, _)) in checks.iter_mut().zip(&cases) {
            check.policy.limit = its_own.unwrap_or(check.policy.limit);
        }
        let standings: Vec<_> = cases.iter().map(|(_, _, standing)| *standing).collect();
        let told = fields(&config, &checks, &standings);

        let (mut policies, mut limits) = (Vec::new(), Vec::new());
        for (check, (rule, _, standing)) in checks.iter().zip(&cases) {
            let mut parameters = vec![("q", check.policy.limit)];
            if let Per::Span(span) = rule.per {
                parameters.push(("w", span.as_secs()));
            }
            if let Algorithm::TokenBucket { burst } = rule.algorithm
                && burst.get() != check.policy.limit
            {
                parameters.push(("meliproxy-burst", burst.get()));
            }
            policies.push(member(&rule.name, &parameters));
            let (left, wait) = match standing {
                Standing::Within { remaining, reset_after } => (*remaining, reset_after),
                Standing::Exceeded { reset_after, .. } => (0, reset_after),
            };
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000).max(1)).unwrap();
            limits.push(member(&rule.name, &[("r", left.min(MOST)), ("t", seconds.min(MOST))]));
        }
        prop_assert_eq!(parsed(value(&told, POLICY)), policies);
        prop_assert_eq!(parsed(value(&told, LIMIT)), limits);
    }
}
