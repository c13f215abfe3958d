//! Clients that obey what they are told are never refused; those that ask too often are served when told to come again.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use integration_tests::client::{Client, Request, Response};
use integration_tests::fleet::Fleet;
use integration_tests::scene::next_origin;
use integration_tests::stack::wait_until;
use serde_json::{Value, json};

use super::rig::start;

/// Far more than one window of each rule.
const LASTING: Duration = Duration::from_secs(7);

const RULES: [&str; 4] = ["fixed", "sliding", "bucket", "several"];

fn rules() -> Vec<Value> {
    let rule = |name: &str, limit, per: &str, algorithm: &str| {
        let by = ["client_address"];
        json!({"name": name, "by": by, "limit": limit, "per": per, "algorithm": algorithm})
    };
    let mut beside = rule("beside", 3, "1s", "fixed_window");
    beside["routes"] = json!(["several"]);
    let mut third = rule("third", 1, "1s", "token_bucket");
    third["burst"] = json!(3);
    third["routes"] = json!(["several"]);
    vec![
        rule("fixed", 4, "2s", "fixed_window"),
        rule("sliding", 4, "2s", "sliding_window"),
        rule("bucket", 2, "1s", "token_bucket"),
        rule("several", 7, "3s", "sliding_window"),
        beside,
        third,
    ]
}

fn rest(seconds: u64) {
    let until = Instant::now() + Duration::from_secs(seconds);
    let outcome = wait_until("the time a client was told to wait", Duration::from_secs(30), || {
        if Instant::now() >= until { Ok(()) } else { Err(String::new()) }
    });
    outcome.unwrap();
}

/// Each rule's client for itself, all at the same time: `client` is given what it needs to send a request.
fn for_each_rule(fleet: &Fleet, client: impl Fn(&str, &mut dyn FnMut() -> Response) + Sync) {
    thread::scope(|scope| {
        for rule in RULES {
            let (origin, client): (Ipv4Addr, _) = (next_origin(), &client);
            let mut connection = Client::new(fleet.edge().http()).from(origin);
            let request = Request::get(format!("/echo/{rule}/x"));
            scope.spawn(move || client(rule, &mut || connection.send(&request).unwrap()));
        }
    });
}

/// How long to wait by `RateLimit`: until each limit that has nothing left has something again.
fn told(response: &Response) -> u64 {
    let number = |member: &str, name: &str| -> u64 {
        member.split(';').find_map(|parameter| parameter.strip_prefix(name)?.parse().ok()).unwrap()
    };
    let members = response.header("ratelimit").unwrap().split(", ");
    let empty = members.filter(|member| number(member, "r=") == 0);
    empty.map(|member| number(member, "t=")).max().unwrap_or_default()
}

#[test]
fn a_client_that_obeys_ratelimit_is_never_refused() {
    let fleet = start(&rules());
    for_each_rule(&fleet, |rule, send| {
        let (start, mut passed, mut rested) = (Instant::now(), 0, 0);
        while start.elapsed() < LASTING {
            let response = send();
            assert_eq!(response.status, 200, "{rule} after {passed}: {response:?}");
            passed += 1;
            let wait = told(&response);
            rested += u32::from(wait > 0);
            rest(wait);
        }
        println!("{rule}: {passed} passed, rested {rested} times");
        assert!(passed > 4 && rested > 1, "{rule}: {passed} passed, rested {rested} times");
    });
}

#[test]
fn who_comes_again_after_retry_after_passes() {
    let fleet = start(&rules());
    for_each_rule(&fleet, |rule, send| {
        let (start, mut refused) = (Instant::now(), 0);
        while start.elapsed() < LASTING {
            let response = send();
            if response.status == 429 {
                refused += 1;
                rest(response.header("retry-after").unwrap().parse().unwrap());
                let again = send();
                assert_eq!(again.status, 200, "{rule}, {refused}: {response:?}, then {again:?}");
            }
        }
        assert!(refused > 1, "{rule} has refused {refused} times");
    });
}
