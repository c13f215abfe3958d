//! What rules make of requests: keys, overrides, cost, shadows. By table: what each setting does. By property:
//! overrides against a model that tries one after the other, and names against the parts they are made of. The host
//! counts what it is asked.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod overrides;
mod request;
mod rules;

use std::collections::BTreeMap;

use meliproxy::config::template::Segment;
use meliproxy::config::{
    ClientAddress, Config, Cost, KeyPart, Override, ResponseFields, Route, Rule, Template,
    Treatment,
};
use meliproxy::key::HashSeed;
use meliproxy::plan::Plan;
use proptest::prelude::*;

use crate::request::Request;
use crate::rules::{block, cookie, exact, header, number, open, plan, query, rule};

/// The id of the one counter that a request falls on.
fn id(by: &[KeyPart], request: &Request) -> String {
    let opening = open(&rule(by), request);
    let name = String::from_utf8(opening.checks.first().unwrap().name.clone()).unwrap();
    name.strip_prefix("mp:{local}:fw:1:rule:60:").unwrap().to_owned()
}

#[test]
fn each_part_is_written_as_it_came_and_a_missing_one_is_not_an_empty_one() {
    let request = Request {
        host: Some("API.example.com.:8080".to_owned()),
        ..Request::to("/a/./b?k=x%20y&k=2&e").sent_by("2001:db8:1:2:3::4")
    }
    .with("x-key", "A b")
    .with("x-empty", "")
    .with("cookie", "s=\"1\"; t=; s=2");
    for (part, expected) in [
        (KeyPart::ClientAddress, "2001:db8:1:2::/64"),
        (KeyPart::Path, "/a/b"),
        (KeyPart::Route, "!missing"),
        (KeyPart::Method, "GET"),
        (KeyPart::Host, "api.example.com"),
        (header("x-key"), "A%20b"),
        (header("x-empty"), ""),
        (header("x-none"), "!missing"),
        (cookie("s"), "%221%22"),
        (cookie("t"), ""),
        (cookie("u"), "!missing"),
        (query("k"), "x%20y"),
        (query("e"), ""),
        (query("none"), "!missing"),
    ] {
        assert_eq!(id(std::slice::from_ref(&part), &request), expected, "{part:?}");
    }
    let nothing = Request::to("/");
    assert_eq!(
        id(&[cookie("s"), query("k"), KeyPart::Host], &nothing),
        "!missing|!missing|!missing"
    );
    assert_eq!(id(&[], &nothing), "");
}

#[test]
fn the_route_is_a_part() {
    let path = Template { segments: vec![Segment::Fixed("items".into())], takes_rest: true };
    let routes = vec![Route { name: "items".to_owned(), path, methods: None }];
    let client_address = ClientAddress { ipv6_prefix: 64 };
    let rules = vec![rule(&[KeyPart::Route])];
    let response_fields = ResponseFields { ratelimit: true, x_ratelimit: false };
    let config = Config {
        redis: None,
        client_address,
        routes,
        rules,
        breakers: Vec::new(),
        cache: Vec::new(),
        cache_memory_bytes: 0,
        response_fields,
    };
    let opening = Plan::new(config, HashSeed([7; 16])).open(&mut Request::to("/items/1"));
    assert!(opening.checks.first().unwrap().name.ends_with(b":items"));
}

#[test]
fn the_host_is_asked_once_however_many_rules_need_it() {
    let by = [
        KeyPart::ClientAddress,
        KeyPart::Method,
        KeyPart::Host,
        header("x-key"),
        cookie("a"),
        cookie("b"),
        header("cookie"),
        query("k"),
    ];
    let mut rules: Vec<Rule> = (0..3).map(|_| rule(&by)).collect();
    for rule in &mut rules {
        rule.cost.header = Some("x-key".to_owned());
        let matches = vec![block("192.0.2.0", 24), exact(header("x-key"), "no")];
        rule.overrides = vec![Override { matches, treatment: Treatment::Exempt }];
    }
    let plan = plan(rules);
    for mut request in [Request::to("/"), Request::to("/").sent_by("192.0.2.1").with("x-key", "")] {
        assert_eq!(plan.open(&mut request).checks.len(), 3);
        let once = [":authority", ":method", ":path", "cookie", "source.address", "x-key"];
        let once = once.map(|what| (what.to_owned(), 1));
        assert_eq!(request.asked, BTreeMap::from(once));
    }
}

#[test]
fn what_no_rule_needs_is_not_asked_for() {
    let mut request = Request::to("/?k=1");
    plan(vec![rule(&[]), rule(&[query("k"), KeyPart::Path])]).open(&mut request);
    assert_eq!(request.asked, BTreeMap::from([(":path".to_owned(), 1)]));
}

#[test]
fn a_header_can_say_the_cost() {
    let rule =
        Rule { cost: Cost { units: number(5), header: Some("x-cost".to_owned()) }, ..rule(&[]) };
    let cost = |request: &Request| open(&rule, request).checks.first().unwrap().cost;
    assert_eq!(cost(&Request::to("/")), 5);
    for (value, expected) in
        [("1", 1), ("7", 7), ("1000000", 1_000_000), ("1000001", 5), ("0", 5), ("1,2", 5), ("", 5)]
    {
        assert_eq!(cost(&Request::to("/").with("x-cost", value)), expected, "{value:?}");
    }
}

#[test]
fn a_shadow_is_enforced_for_nobody_and_a_share_for_as_many_as_it_says() {
    let enforced = |rule: &Rule| {
        let plan = plan(vec![rule.clone()]);
        let clients = (0..1000).map(|number| format!("client-{number}"));
        clients
            .filter(|client| {
                let mut request = Request::to("/").with("x-key", client);
                plan.open(&mut request).checks.first().unwrap().enforced
            })
            .count()
    };
    let all = rule(&[header("x-key")]);
    assert_eq!(enforced(&all), 1000);
    assert_eq!(enforced(&Rule { shadow: true, ..all.clone() }), 0);
    assert_eq!(enforced(&Rule { enforce_percent: 0, ..all.clone() }), 0);
    let some = enforced(&Rule { enforce_percent: 30, ..all.clone() });
    assert!((240..=360).contains(&some), "{some} of 1000 for 30 %");
    // A process of its own, with its own seed, chooses the same.
    let rule = Rule { enforce_percent: 50, ..all };
    let of = |seed| {
        let client_address = ClientAddress { ipv6_prefix: 64 };
        let rules = vec![rule.clone()];
        let response_fields = ResponseFields { ratelimit: true, x_ratelimit: false };
        let config = Config {
            redis: None,
            client_address,
            routes: Vec::new(),
            rules,
            breakers: Vec::new(),
            cache: Vec::new(),
            cache_memory_bytes: 0,
            response_fields,
        };
        let plan = Plan::new(config, HashSeed([seed; 16]));
        let open = |number| plan.open(&mut Request::to("/").with("x-key", &format!("{number}")));
        (0..100).map(|number| open(number).checks.first().unwrap().enforced).collect::<Vec<_>>()
    };
    assert_eq!(of(1), of(2));
}

proptest! {
    #[test]
    fn requests_share_a_counter_if_all_parts_agree(
        a in [proptest::option::of("[ab|!%]{0,3}"), proptest::option::of("[ab|!%]{0,3}")],
        b in [proptest::option::of("[ab|!%]{0,3}"), proptest::option::of("[ab|!%]{0,3}")],
    ) {
        let name = |values: &[Option<String>; 2]| {
            let mut request = Request::to("/");
            for (header, value) in ["x", "y"].into_iter().zip(values) {
                if let Some(value) = value {
                    request = request.with(header, value);
                }
            }
            id(&[header("x"), header("y")], &request)
        };
        prop_assert_eq!(name(&a) == name(&b), a == b);
    }
}
