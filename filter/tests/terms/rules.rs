//! Rules, and what they make of a request.

use std::num::NonZeroU64;
use std::time::Duration;

use meliproxy::config::{
    Algorithm, ClientAddress, Config, Cost, KeyPart, OnStoreFailure, Pattern, Per, Precision,
    ResponseFields, Rule,
};
use meliproxy::key::HashSeed;
use meliproxy::plan::{Opening, Plan};

use crate::request::Request;

pub(crate) fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

pub(crate) fn rule(by: &[KeyPart]) -> Rule {
    Rule {
        name: "rule".to_owned(),
        routes: None,
        by: by.to_vec(),
        limit: number(10),
        per: Per::Span(Duration::from_secs(60)),
        algorithm: Algorithm::FixedWindow,
        precision: Precision::Exact,
        cost: Cost { units: number(1), header: None },
        overrides: Vec::new(),
        on_store_failure: OnStoreFailure::Local,
        shadow: false,
        enforce_percent: 100,
        refusal: None,
    }
}

pub(crate) fn plan(rules: Vec<Rule>) -> Plan {
    let client_address = ClientAddress { ipv6_prefix: 64 };
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
    Plan::new(config, HashSeed([7; 16]))
}

pub(crate) fn open(rule: &Rule, request: &Request) -> Opening {
    plan(vec![rule.clone()]).open(&mut request.clone())
}

pub(crate) fn header(name: &str) -> KeyPart {
    KeyPart::Header(name.to_owned())
}

pub(crate) fn cookie(name: &str) -> KeyPart {
    KeyPart::Cookie(name.to_owned())
}

pub(crate) fn query(name: &str) -> KeyPart {
    KeyPart::Query(name.to_owned())
}

pub(crate) fn exact(part: KeyPart, value: &str) -> (KeyPart, Pattern) {
    (part, Pattern::Exact(value.to_owned()))
}

pub(crate) fn block(network: &str, prefix: u8) -> (KeyPart, Pattern) {
    (KeyPart::ClientAddress, Pattern::Block(network.parse().unwrap(), prefix))
}
